//! `[tier]`: a regional tier on Redis, Valkey or memcached.

use std::path::Path;
use std::time::Duration;

use super::reader::{Found, Table};
use super::scope::Scope;
use super::{compile_keys, compile_origin, credentials};
use crate::distribution::fleet::Fleet;
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::distribution::tier::{
    AuthMethod, Engine, IAM_AGAIN, Iam, MemcachedMode, Password, ReadFrom, RedisMode, Tier,
    TierAuth, TierKey, TierNode, TierTimeouts,
};

/// Octets of bodies that may wait to be written, where nothing is said.
const QUEUE: u64 = 16 << 20;
/// What the engine's list of clients calls an edge, before its name in the fleet.
const CLIENT: &str = "foreshore";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Redis,
    Memcached,
}

impl Kind {
    const fn schemes(self) -> (&'static [&'static str], &'static [&'static str]) {
        match self {
            Self::Redis => (&["redis://", "valkey://"], &["rediss://", "valkeys://"]),
            Self::Memcached => (&["memcached://"], &["memcacheds://"]),
        }
    }

    const fn port(self) -> u16 {
        match self {
            Self::Redis => 6379,
            Self::Memcached => 11_211,
        }
    }
}

/// A word of `mode`; each kind knows some of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Single,
    Sentinel,
    Cluster,
    Fixed,
    Discovery,
}

/// Where a URL leads.
struct Place {
    node: TierNode,
    is_tls: bool,
}

/// Reads `[tier]`; `None` without it, or where it cannot be used.
pub fn read(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Tier> {
    let mut table = main.table("tier")?;
    if !main.has("fleet") {
        needs_a_fleet(&table);
    }
    let folder = scope.folder(table.source());
    let has_kind = table.has("kind");
    let kind = table.word("kind", &[("redis", Kind::Redis), ("memcached", Kind::Memcached)]);
    if !has_kind {
        table.missing("kind", "kind = \"redis\" (Valkey too), or \"memcached\"");
    }
    if let Some(found) = kind.as_ref().filter(|kind| kind.value == Kind::Redis)
        && !cfg!(feature = "redis")
    {
        table.problem(&found.span, "this build has no Redis (Cargo feature `redis`)", None);
    }
    let kind = kind.map(|found| found.value);
    let places = places(&mut table, kind);
    let read = read_from(&mut table, kind);
    let engine = engine(&mut table, kind, places.len(), read);
    let is_tls = places.iter().any(|place| place.is_tls);
    let tls = tls(&mut table, &folder, scope, is_tls);
    let auth = auth(&mut table, &folder, scope, kind, &places);
    let is_binary = matches!(&auth, Ok(Some(auth)) if auth.method == AuthMethod::Sasl);
    if is_binary && engine == Some(Engine::Memcached(MemcachedMode::Discovery)) {
        let title = "nodes are discovered in text, and SASL is spoken in the binary protocol alone";
        table.problem(&table.span(), title, None);
    }
    let timeouts = timeouts(&mut table);
    let key = key(&mut table, &folder, scope);
    let queue = table.size("queue").map_or(QUEUE, |found| found.value);
    table.finish();
    let (engine, auth, key) = (engine?, auth.ok()?, key.ok()?);
    let nodes: Vec<TierNode> = places.into_iter().map(|place| place.node).collect();
    let client = CLIENT.to_string();
    let tier = Tier { engine, nodes, tls, auth, timeouts, key, queue, read, client };
    (!tier.nodes.is_empty()).then_some(tier)
}

/// Calls the edge by its name in the fleet, in the engine's list of clients.
pub fn name(tier: &mut Tier, fleet: Option<&Fleet>) {
    if let Some(fleet) = fleet {
        tier.client = format!("{CLIENT}-{}", fleet.member);
    }
}

fn read_from(table: &mut Table<'_>, kind: Option<Kind>) -> ReadFrom {
    let words = [("primary", ReadFrom::Primary), ("replica", ReadFrom::Replica)];
    let found = table.word("read", &words);
    if let (Some(found), Some(Kind::Memcached)) = (&found, kind) {
        table.problem(&found.span, "tier.read is for Redis: memcached has no replicas", None);
    }
    found.map_or(ReadFrom::Primary, |found| found.value)
}

// What lies in a tier is believed by its place in the fleet's log.
fn needs_a_fleet(table: &Table<'_>) {
    table.problem(
        &table.span(),
        "[tier] without [fleet]: an edge could not tell whether an entry was purged",
        Some(
            "add [fleet] with name, member and sequencer, the same name for all edges that share the tier"
                .into(),
        ),
    );
}

fn places(table: &mut Table<'_>, kind: Option<Kind>) -> Vec<Place> {
    if !table.has("urls") {
        table.missing("urls", "urls = [\"rediss://cache-1.internal:6379\"]");
    }
    let (Some(urls), Some(kind)) = (table.strings("urls"), kind) else { return Vec::new() };
    if urls.value.is_empty() {
        table.problem(&urls.span, "tier.urls names no node", None);
    }
    let mut all: Vec<Place> = Vec::new();
    for url in urls.value {
        match place(kind, &url.value) {
            Ok(place) => {
                if all.first().is_some_and(|first| first.is_tls != place.is_tls) {
                    let title = format!("{:?}: TLS is for all nodes or for none", url.value);
                    table.problem(&url.span, title, None);
                }
                if all.iter().any(|other| other.node == place.node) {
                    let title = format!("{:?} is named twice", url.value);
                    table.problem(&url.span, title, None);
                }
                all.push(place);
            }
            Err(why) => table.problem(&url.span, format!("{:?}: {why}", shown(&url.value)), None),
        }
    }
    all
}

// A URL with a password in it is not repeated.
fn shown(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}://…{}", &url[..scheme], &url[at..]),
        _ => url.to_string(),
    }
}

fn place(kind: Kind, url: &str) -> Result<Place, String> {
    let (clear, tls) = kind.schemes();
    let strip = |schemes: &[&str]| schemes.iter().find_map(|scheme| url.strip_prefix(*scheme));
    let (rest, is_tls) = match (strip(clear), strip(tls)) {
        (Some(rest), _) => (rest, false),
        (_, Some(rest)) => (rest, true),
        _ => {
            let known: Vec<&str> = clear.iter().chain(tls).copied().collect();
            return Err(format!("the scheme is not one of {}", known.join(", ")));
        }
    };
    if rest.contains('@') {
        return Err("name and password stand in tier.auth, not in a url".into());
    }
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.contains('/') {
        return Err("there is no path: a tier lies in database 0".into());
    }
    let authority = parse_authority(rest).ok_or("this is no host")?;
    let host = authority.host.trim_matches(['[', ']']).to_string();
    let port = authority.port.unwrap_or(kind.port());
    Ok(Place { node: TierNode { host, port }, is_tls })
}

fn engine(
    table: &mut Table<'_>,
    kind: Option<Kind>,
    nodes: usize,
    read: ReadFrom,
) -> Option<Engine> {
    let redis =
        [("single", Mode::Single), ("sentinel", Mode::Sentinel), ("cluster", Mode::Cluster)];
    let memcached = [("fixed", Mode::Fixed), ("discovery", Mode::Discovery)];
    let words: &[(&str, Mode)] = if kind == Some(Kind::Memcached) { &memcached } else { &redis };
    let has_mode = table.has("mode");
    let mode = table.word("mode", words);
    let primary = table.string("primary");
    if has_mode && mode.is_none() {
        return None;
    }
    let word = mode.as_ref().map(|found| found.value);
    if let (Some(found), true) = (&primary, word != Some(Mode::Sentinel)) {
        table.problem(
            &found.span,
            "tier.primary is the name that sentinels know a primary by",
            Some("it goes with mode = \"sentinel\"".into()),
        );
    }
    match (kind?, word) {
        (Kind::Redis, None | Some(Mode::Single)) => {
            one_node(table, mode.as_ref(), nodes, read);
            Some(Engine::Redis(RedisMode::Single))
        }
        (Kind::Redis, Some(Mode::Sentinel)) => match primary {
            Some(found) => Some(Engine::Redis(RedisMode::Sentinel { primary: found.value })),
            None => {
                table.missing("primary", "primary = \"mymaster\"");
                None
            }
        },
        (Kind::Redis, Some(_)) => Some(Engine::Redis(RedisMode::Cluster)),
        (Kind::Memcached, Some(Mode::Discovery)) => {
            Some(Engine::Memcached(MemcachedMode::Discovery))
        }
        (Kind::Memcached, _) => Some(Engine::Memcached(MemcachedMode::Fixed)),
    }
}

fn one_node(table: &Table<'_>, mode: Option<&Found<Mode>>, nodes: usize, read: ReadFrom) {
    let span = mode.map_or_else(|| table.span(), |found| found.span.clone());
    match (nodes, read) {
        (0 | 1, ReadFrom::Primary) | (0 | 2.., ReadFrom::Replica) => {}
        (_, ReadFrom::Primary) => table.problem(
            &span,
            format!("mode \"single\" takes one url, and there are {nodes}"),
            Some(
                "for several: mode = \"cluster\" or \"sentinel\", or read = \"replica\" where all but the first are its replicas"
                    .into(),
            ),
        ),
        (_, ReadFrom::Replica) => table.problem(
            &span,
            "read = \"replica\", and tier.urls names no replica",
            Some("of mode \"single\" the first url is the primary, and the others are its replicas".into()),
        ),
    }
}

fn tls(
    table: &mut Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
    is_tls: bool,
) -> Option<OriginTls> {
    let given = table.table("tls").and_then(|inner| {
        if !is_tls {
            inner.problem(
                &inner.span(),
                "tls settings for nodes that are reached in clear text",
                Some("the schemes with TLS: rediss://, valkeys://, memcacheds://".into()),
            );
        }
        compile_origin::origin_tls(inner, folder, scope)
    });
    is_tls.then(|| {
        given.unwrap_or(OriginTls {
            roots: Roots::System,
            server_name: None,
            identity: None,
            min: TlsVersion::V1_2,
            more_names: Vec::new(),
        })
    })
}

/// A setting that is wrong, which has been said.
struct Unusable;

fn auth(
    table: &mut Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
    kind: Option<Kind>,
    places: &[Place],
) -> Result<Option<TierAuth>, Unusable> {
    let is_there = table.has("auth");
    let Some(mut inner) = table.table("auth") else {
        return if is_there { Err(Unusable) } else { Ok(None) };
    };
    let user = inner.string("user");
    let method = inner.word("method", &[("text", AuthMethod::Text), ("sasl", AuthMethod::Sasl)]);
    if let (Some(found), Some(Kind::Redis)) = (&method, kind) {
        inner.problem(&found.span, "tier.auth.method is for memcached: Redis has one way", None);
    }
    let (has_password, has_iam) = (inner.has("password"), inner.has("iam"));
    if has_iam {
        return by_iam(inner, folder, scope, (kind, places, user.is_some() || has_password));
    }
    let password = inner
        .table("password")
        .and_then(|secret| credentials::secret(secret, folder, &mut scope.files));
    if !has_password {
        inner.missing("password", "password = { file = \"secrets/tier-password\" }");
    }
    if kind == Some(Kind::Memcached) {
        match &user {
            None => inner.missing("user", "user = \"edge\""),
            Some(found) if found.value.contains(char::is_whitespace) => {
                inner.problem(&found.span, "a memcached user has no space in its name", None);
            }
            Some(_) => {}
        }
    }
    let is_heard = |place: &Place| !place.is_tls && !is_loopback(&place.node.host);
    if places.iter().any(is_heard) {
        inner.problem(
            &inner.span(),
            "the password would go over the network in clear text",
            Some("use a url with TLS: rediss://, valkeys://, memcacheds://".into()),
        );
    }
    inner.finish();
    let user = user.map(|found| found.value);
    let method = method.map_or(AuthMethod::Text, |found| found.value);
    let password = password.map(Password::Given).ok_or(Unusable)?;
    Ok(Some(TierAuth { user, password, method }))
}

/// `iam = { user, cache, region, serverless, credentials }`: ElastiCache's users with IAM
/// authentication; with the kind, where it leads, and whether a name or password stands beside it.
fn by_iam(
    mut auth: Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
    (kind, places, has_other): (Option<Kind>, &[Place], bool),
) -> Result<Option<TierAuth>, Unusable> {
    let Some(mut inner) = auth.table("iam") else {
        auth.finish();
        return Err(Unusable);
    };
    let span = inner.span();
    if has_other {
        let title = "tier.auth.iam makes the password: user and password do not stand beside it";
        inner.problem(&span, title, None);
    }
    if kind == Some(Kind::Memcached) {
        inner.problem(&span, "ElastiCache has IAM users for Redis and Valkey alone", None);
    }
    if places.iter().any(|place| !place.is_tls && !is_loopback(&place.node.host)) {
        let help = "use a url with TLS: rediss://, valkeys://";
        inner.problem(&span, "ElastiCache takes IAM passwords only over TLS", Some(help.into()));
    }
    let mut text = |key: &'static str, example: &str| {
        if !inner.has(key) {
            inner.missing(key, example);
        }
        inner.string(key).map(|found| found.value)
    };
    let user = text("user", "user = \"edge\"");
    let cache = text("cache", "cache = \"shop-cache\", the name of the cache in ElastiCache");
    let region = text("region", "region = \"eu-central-1\"");
    let is_serverless = inner.flag("serverless").is_some_and(|found| found.value);
    if !inner.has("credentials") {
        inner.missing("credentials", "credentials = { env_prefix = \"AWS_\" }");
    }
    let credentials = inner
        .table("credentials")
        .and_then(|table| compile_keys::origin_credentials(table, folder, scope));
    inner.finish();
    auth.finish();
    let (Some(_), Some(cache), Some(region), Some(credentials)) =
        (&user, cache, region, credentials)
    else {
        return Err(Unusable);
    };
    let cache = cache.to_ascii_lowercase();
    let iam = Iam { cache, region, is_serverless, credentials, again: IAM_AGAIN };
    Ok(Some(TierAuth { user, password: Password::Iam(Box::new(iam)), method: AuthMethod::Text }))
}

fn is_loopback(host: &str) -> bool {
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn timeouts(table: &mut Table<'_>) -> TierTimeouts {
    let mut timeouts = TierTimeouts::default();
    let Some(mut inner) = table.table("timeouts") else { return timeouts };
    let (first, total, connect) =
        (inner.duration("first"), inner.duration("total"), inner.duration("connect"));
    for found in [&first, &total, &connect].into_iter().flatten() {
        if found.value.is_zero() || found.value > Duration::from_secs(60) {
            inner.problem(&found.span, "a timeout of the tier lies between 1ms and 60s", None);
        }
    }
    let value = |found: &Option<Found<Duration>>, default| {
        found.as_ref().map_or(default, |found| found.value)
    };
    timeouts.total = value(&total, timeouts.total);
    timeouts.first = value(&first, timeouts.first);
    timeouts.connect = value(&connect, timeouts.connect);
    if let Some(found) = inner.duration("follow") {
        if found.value > Duration::from_secs(60) {
            let title = "tier.timeouts.follow is at most 60s; \"0s\" waits for no other edge";
            inner.problem(&found.span, title, None);
        }
        timeouts.follow = found.value;
    }
    if timeouts.first > timeouts.total {
        let span = first.or(total).map_or_else(|| inner.span(), |found| found.span);
        inner.problem(&span, "tier.timeouts.first is longer than tier.timeouts.total", None);
    }
    inner.finish();
    timeouts
}

fn key(
    table: &mut Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
) -> Result<Option<TierKey>, Unusable> {
    let has = (table.has("key"), table.has("previous_key"));
    let current =
        table.table("key").and_then(|secret| credentials::secret(secret, folder, &mut scope.files));
    let previous = table
        .table("previous_key")
        .and_then(|secret| credentials::secret(secret, folder, &mut scope.files));
    // Without its key nothing may be written: it would lie there in clear.
    if has != (current.is_some(), previous.is_some()) {
        return Err(Unusable);
    }
    match (current, previous) {
        (Some(current), previous) => Ok(Some(TierKey { current, previous })),
        (None, None) => {
            scope.warnings.push(
                "[tier] has no key: a program that can write to the engine can put answers there, and one that can read it can read them; set tier.key"
                    .into(),
            );
            Ok(None)
        }
        (None, Some(_)) => {
            table.problem(
                &table.span(),
                "tier.previous_key without tier.key",
                Some("previous_key still opens what was sealed before the key was changed".into()),
            );
            Err(Unusable)
        }
    }
}
