//! The order in which a configuration is resolved: settings of the process, certificates, policies,
//! distributions. Each step reports what it cannot use and goes on.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reader::{Collector, Found, Table};
use super::{
    MissingCertificates, Text, compile_distribution, compile_keys, compile_log, compile_origin,
    compile_policy, compile_tier, compile_tls, credentials, warnings,
};
use crate::base::network::Network;
use crate::crypto::sigv4::Credentials;
use crate::distribution::compat::parse_pop;
use crate::distribution::geo::Geo;
use crate::distribution::host::{HostPattern, HostTable, parse_authority};
use crate::distribution::limits::Limits;
use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::distribution::region::{AdminUrl, ParentUrl, Parents, Region, TrustedEdge};
use crate::distribution::site::{
    AccessKey, Admin, DiskSettings, Listen, Observes, Site, StoreSettings, TlsPolicy, Transport,
    Unsigned,
};
use crate::distribution::staging::{Chosen, Staging};
use crate::message::forwarding::added_names;
use crate::semantics::time::Timestamp;

/// What the steps share.
pub struct Scope<'s> {
    pub texts: &'s [Text],
    pub now: Timestamp,
    pub making: MissingCertificates,
    pub files: Vec<PathBuf>,
    pub remarks: Vec<String>,
    pub warnings: Vec<String>,
    pub policies: compile_policy::Policies,
    pub keys: compile_keys::Keys,
    pub pop: String,
}

impl Scope<'_> {
    /// The folder that relative paths of a file start from.
    pub fn folder(&self, source: usize) -> PathBuf {
        self.texts
            .get(source)
            .and_then(|(path, _)| path.parent())
            .unwrap_or(Path::new("."))
            .to_path_buf()
    }
}

/// Compiles all files together. `None` only if there is nothing to compile.
pub fn compile(
    mut roots: Vec<Table<'_>>,
    texts: &[Text],
    collector: &Collector,
    now: Timestamp,
    making: MissingCertificates,
) -> Option<Site> {
    let files = texts.iter().map(|(path, _)| path.clone()).collect();
    let mut scope = Scope {
        texts,
        now,
        making,
        files,
        remarks: Vec::new(),
        warnings: Vec::new(),
        policies: compile_policy::Policies::default(),
        keys: compile_keys::Keys::default(),
        pop: "LOC1-C1".into(),
    };
    let main = roots.first_mut()?;
    let folder = scope.folder(0);
    let _ = main.strings("include");
    let data = main.string("data").map_or_else(
        || super::at(&folder, "../.foreshore"),
        |found| super::at(&folder, found.value),
    );
    if let Some(found) = main.parsed("pop", parse_pop) {
        scope.pop = found.value;
    }
    let listen = listen(main);
    let admin = admin(main, &mut scope);
    let store = store(main, &data, &mut scope);
    let tls_policy = tls_policy(main);
    let region = region(main, &mut scope);
    let tier = compile_tier::read(main, &mut scope);
    let trusted_edges = trusted_edges(main, &mut scope);
    let limits = limits(main);
    let (log, more_logs) = compile_log::read(main, &folder);
    let geo = geo(main, &folder, &mut scope);
    let mut certificates = Vec::new();
    for root in &mut roots {
        certificates.append(&mut compile_tls::certificates(root, &mut scope));
    }
    for root in &mut roots {
        compile_policy::read(root, &mut scope);
        compile_keys::read_keys(root, &mut scope);
    }
    // A group may name keys of another file.
    for root in &mut roots {
        compile_keys::read_groups(root, &mut scope);
    }
    let mut distributions = Vec::new();
    let mut ordinal = 0;
    for root in &mut roots {
        for table in root.tables("distribution") {
            distributions.extend(compile_distribution::read(table, &mut scope, &mut ordinal));
        }
    }
    scope
        .warnings
        .extend(distributions.iter().flat_map(|made| warnings::unkeyed(&made.distribution)));
    link_staging(&roots, &mut distributions, &data);
    let hosts = hosts(&roots, &distributions);
    check_whole(&roots, &listen, &certificates, &distributions);
    roots.into_iter().for_each(Table::finish);
    if !collector.report.borrow().problems.is_empty() {
        return None;
    }
    Some(Site {
        listen,
        admin,
        data,
        store,
        certificates: certificates.into_iter().map(Arc::new).collect(),
        tls_policy,
        region,
        tier,
        trusted_edges,
        limits,
        log,
        more_logs,
        observes: observes(&distributions),
        distributions: distributions.into_iter().map(|made| Arc::new(made.distribution)).collect(),
        hosts,
        pop: scope.pop,
        geo,
        files: scope.files,
        remarks: scope.remarks,
        warnings: scope.warnings,
        behaviors: ordinal,
    })
}

fn check_whole(
    roots: &[Table<'_>],
    listen: &Listen,
    certificates: &[crate::distribution::certificate::Certificate],
    distributions: &[compile_distribution::Made],
) {
    let main = &roots[0];
    if distributions.is_empty()
        && !roots.iter().any(|root| root.has("distribution"))
        && !main.has("distribution")
    {
        let known = main.span();
        if main.span().is_empty() || distributions.is_empty() {
            main.problem(
                &(known.start..known.start),
                "there is no [[distribution]]",
                Some("a file needs at least one: id, hosts, an origin".into()),
            );
        }
    }
    if !listen.https.is_empty() && certificates.is_empty() {
        let place = main.span();
        main.problem(
            &(place.start..place.start),
            "listen.https is set and there is no usable [[certificate]]",
            Some("add [[certificate]] with chain and key; make_for = [\"localhost\"] makes one for trying things out".into()),
        );
    }
}

fn hosts(roots: &[Table<'_>], distributions: &[compile_distribution::Made]) -> HostTable {
    let mut table = HostTable::default();
    for (at, made) in distributions.iter().enumerate() {
        for Found { value, span } in &made.hosts {
            if let Err(taken) = table.insert(value.clone(), at) {
                let other = &distributions[taken].distribution.id;
                roots[made.source].problem(
                    span,
                    format!("this host belongs to distribution {other:?} already"),
                    None,
                );
            }
        }
    }
    let mut ids: HashMap<&str, usize> = HashMap::new();
    for made in distributions {
        if ids.insert(&made.distribution.id, 0).is_some() {
            roots[made.source].problem(
                &made.id_span,
                format!("there are two distributions with the id {:?}", made.distribution.id),
                None,
            );
        }
    }
    table
}

/// The file in the data folder that names promoted distributions, a line each.
pub const PROMOTED: &str = "promoted";

// A staging distribution is found through the one it is for.
fn link_staging(
    roots: &[Table<'_>],
    distributions: &mut [compile_distribution::Made],
    data: &Path,
) {
    let promoted = std::fs::read_to_string(data.join(PROMOTED)).unwrap_or_default();
    for at in 0..distributions.len() {
        let made = &mut distributions[at];
        let (id, source) = (made.distribution.id.clone(), made.source);
        let Some(staging) = made.staging.take() else { continue };
        let problem = |title: String| roots[source].problem(&staging.of.span, title, None);
        let Some(of) = distributions
            .iter()
            .position(|known| known.distribution.id == staging.of.value && !known.hosts.is_empty())
        else {
            problem(format!("there is no distribution {:?} with hosts", staging.of.value));
            continue;
        };
        let primary = &mut distributions[of].distribution;
        if primary.staging.is_some() {
            problem(format!("{:?} has a staging distribution already", staging.of.value));
            continue;
        }
        let chosen =
            if promoted.lines().any(|line| line == id) { Chosen::Promoted } else { staging.chosen };
        let mark = crate::crypto::sigv4::sha256(id.as_bytes())[..8].to_string();
        primary.staging = Some(Staging { distribution: at, chosen, mark });
        primary.is_deploying = true;
        distributions[at].distribution.is_deploying = true;
    }
}

fn addresses(table: &mut Table<'_>, key: &'static str) -> Vec<SocketAddr> {
    let Some(list) = table.strings(key) else { return Vec::new() };
    let mut all = Vec::new();
    for item in list.value {
        match item.value.parse::<SocketAddr>() {
            Ok(address) => all.push(address),
            Err(_) => table.problem(
                &item.span,
                format!("{:?} is no address with a port", item.value),
                Some("such as \"0.0.0.0:443\" or \"[::]:443\"".into()),
            ),
        }
    }
    all
}

pub(super) fn networks(table: &mut Table<'_>, key: &'static str) -> Vec<Network> {
    let Some(list) = table.strings(key) else { return Vec::new() };
    let mut all = Vec::new();
    for item in list.value {
        match Network::parse(&item.value) {
            Some(network) => all.push(network),
            None => table.problem(
                &item.span,
                format!("{:?} is no network", item.value),
                Some("such as \"10.0.0.0/8\" or \"::1/128\"".into()),
            ),
        }
    }
    all
}

fn listen(main: &mut Table<'_>) -> Listen {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let empty = Listen {
        http: vec![],
        https: vec![],
        proxy_protocol_from: vec![],
        forwarded_for_from: vec![],
        workers: cores,
    };
    let Some(mut table) = main.table("listen") else {
        main.missing("listen", "[listen] with http = [\"127.0.0.1:8080\"]");
        return empty;
    };
    let (http, https) = (addresses(&mut table, "http"), addresses(&mut table, "https"));
    let proxy_protocol_from = networks(&mut table, "proxy_protocol_from");
    let forwarded_for_from = networks(&mut table, "forwarded_for_from");
    let workers = table.number("workers", 1, 256).map_or(cores, |n| n.value as usize);
    if let Some(twice) = http.iter().find(|address| address.port() != 0 && https.contains(address))
    {
        table.problem(
            &table.span(),
            format!("{twice} is in listen.http and in listen.https"),
            None,
        );
    }
    if http.is_empty() && https.is_empty() {
        table.problem(
            &table.span(),
            "nothing is listened on",
            Some("set listen.http, listen.https or both".into()),
        );
    }
    table.finish();
    Listen { http, https, proxy_protocol_from, forwarded_for_from, workers }
}

fn admin(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Admin {
    let default = SocketAddr::from(([127, 0, 0, 1], 9080));
    let usual = Admin {
        listen: default,
        token: None,
        transport: Transport::Clear,
        access_keys: Vec::new(),
        unsigned: Unsigned::Refused,
    };
    let Some(mut table) = main.table("admin") else { return usual };
    let folder = scope.folder(table.source());
    let listen = table.parsed("listen", |text| {
        text.parse::<SocketAddr>().map_err(|_| "this is no address with a port".to_string())
    });
    let token = table
        .table("token")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    let transport = table
        .word("transport", &[("clear", Transport::Clear), ("tls", Transport::Tls)])
        .map_or(Transport::Clear, |found| found.value);
    let address = listen.as_ref().map_or(default, |found| found.value);
    if let Some(found) = &listen
        && !found.value.ip().is_loopback()
        && transport == Transport::Clear
    {
        table.problem(
            &found.span,
            "the admin listener would take its token in clear text from the network",
            Some("listen on loopback, or set admin.transport = \"tls\"".into()),
        );
    }
    let access_keys = access_keys(&mut table, &folder, scope);
    let unsigned =
        table.word("unsigned", &[("refuse", Unsigned::Refused), ("allow", Unsigned::Allowed)]);
    if let Some(found) = &unsigned
        && found.value == Unsigned::Allowed
        && !address.ip().is_loopback()
    {
        table.problem(
            &found.span,
            "whoever reaches this address could invalidate everything",
            Some("listen on loopback to allow it".into()),
        );
    }
    table.finish();
    Admin {
        listen: address,
        token,
        transport,
        access_keys,
        unsigned: unsigned.map_or(Unsigned::Refused, |found| found.value),
    }
}

/// The actions that a key may be allowed.
const ACTIONS: [&str; 4] = [
    "cloudfront:CreateInvalidation",
    "cloudfront:GetInvalidation",
    "cloudfront:ListInvalidations",
    "cloudfront:*",
];

fn access_keys(admin: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Vec<AccessKey> {
    let mut all: Vec<AccessKey> = Vec::new();
    for mut table in admin.tables("access_key") {
        let id = table.string("id");
        let secret = table
            .table("secret")
            .and_then(|secret| credentials::secret(secret, folder, &mut scope.files));
        let mut allow = Vec::new();
        for item in table.strings("allow").map_or_else(Vec::new, |list| list.value) {
            if !ACTIONS.contains(&item.value.as_str()) {
                table.problem(
                    &item.span,
                    format!("{:?} is no action here", item.value),
                    Some(format!("known: {}", ACTIONS.join(", "))),
                );
            }
            allow.push(item.value);
        }
        if allow.is_empty() {
            allow.push("cloudfront:*".into());
        }
        match (id, secret) {
            (Some(id), Some(_)) if all.iter().any(|known| known.credentials.id == id.value) => {
                table.problem(
                    &id.span,
                    format!("there are two access keys with the id {:?}", id.value),
                    None,
                );
            }
            (Some(id), Some(secret)) => {
                all.push(AccessKey {
                    credentials: Credentials { id: id.value, secret, session_token: None },
                    allow,
                });
            }
            (None, _) => table.missing("id", "id = \"AKIDEXAMPLE\""),
            (_, None) if !table.has("secret") => {
                table.missing("secret", "secret = { env = \"FORESHORE_ADMIN_SECRET\" }")
            }
            _ => {}
        }
        table.finish();
    }
    all
}

fn store(main: &mut Table<'_>, data: &Path, scope: &mut Scope<'_>) -> StoreSettings {
    let usual = StoreSettings { memory: 256 << 20, max_object: 32 << 20, disk: None };
    let Some(mut table) = main.table("store") else { return usual };
    let memory = table.size("memory").map_or(usual.memory, |found| found.value);
    let max_object = table.size("max_object");
    if let Some(found) = &max_object
        && found.value > memory
    {
        table.problem(
            &found.span,
            "store.max_object lies above store.memory",
            Some("an object that fills the store would evict everything else".into()),
        );
    }
    let disk = table.table("disk").and_then(|disk| disk_tier(disk, data, scope));
    table.finish();
    StoreSettings { memory, max_object: max_object.map_or(memory / 8, |found| found.value), disk }
}

/// Less than this is no room for a disk tier.
const DISK_MIN: u64 = 16 << 20;

fn disk_tier(mut table: Table<'_>, data: &Path, scope: &mut Scope<'_>) -> Option<DiskSettings> {
    let folder = scope.folder(table.source());
    let path = table
        .string("path")
        .map_or_else(|| data.join("store"), |found| super::at(&folder, found.value));
    let size = table.size("size");
    match &size {
        None => table.missing("size", "10GiB"),
        Some(found) if found.value < DISK_MIN => {
            table.problem(
                &found.span,
                "store.disk.size is too small to be of use",
                Some("the least is \"16MiB\"".into()),
            );
        }
        Some(_) => {}
    }
    let queue = table.size("queue").map_or(64 << 20, |found| found.value);
    let scrub = table.size("scrub").map_or(8 << 20, |found| found.value);
    let objects =
        table.number("objects", 1000, u64::from(u32::MAX)).map_or(10_000_000, |found| found.value);
    let has_key = table.has("key");
    let key = table
        .table("key")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    table.finish();
    // Without its key nothing may be written: it would lie there in clear.
    let size = size.filter(|found| found.value >= DISK_MIN)?.value;
    (key.is_some() == has_key).then_some(DiskSettings { path, size, queue, scrub, objects, key })
}

fn tls_policy(main: &mut Table<'_>) -> TlsPolicy {
    let Some(mut table) = main.table("tls") else { return TlsPolicy::Tls12_2021 };
    let policy = table.parsed("policy", |name| match name {
        "TLSv1.2_2021" => Ok(TlsPolicy::Tls12_2021),
        "TLSv1.2_2025" => Ok(TlsPolicy::Tls12_2025),
        "TLSv1.3_2025" => Ok(TlsPolicy::Tls13_2025),
        "SSLv3" | "TLSv1" | "TLSv1_2016" | "TLSv1.1_2016" => {
            Err("this policy allows protocols older than TLS 1.2, which are broken and not spoken here; use TLSv1.2_2021".into())
        }
        "TLSv1.2_2018" | "TLSv1.2_2019" => {
            Err("this policy asks for CBC and RSA key exchange suites, which are not spoken here; use TLSv1.2_2021".into())
        }
        _ => Err("not a CloudFront security policy; known: TLSv1.2_2021, TLSv1.2_2025, TLSv1.3_2025".into()),
    });
    table.finish();
    policy.map_or(TlsPolicy::Tls12_2021, |found| found.value)
}

fn region(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Region> {
    let mut table = main.table("region")?;
    let folder = scope.folder(table.source());
    table.parsed("kind", |kind| match kind {
        "parent" => Ok(()),
        "redis" | "memcached" => {
            Err("parents stand in [region]; Redis and memcached in [tier]".into())
        }
        _ => Err("known: \"parent\"".into()),
    });
    let (mut urls, mut admins) = (Vec::new(), Vec::new());
    for mut parent in table.tables("parent") {
        let url = parent.parsed("url", parent_url);
        let admin = parent.parsed("admin", admin_url);
        if url.is_none() && !parent.has("url") {
            parent.missing("url", "url = \"https://parent-1.internal:8443\"");
        }
        if admin.is_none() && !parent.has("admin") {
            parent.missing("admin", "admin = \"https://parent-1.internal:9080\"");
        }
        if let (Some(url), Some(admin)) = (url, admin) {
            urls.push(url.value);
            admins.push(admin.value);
        }
        parent.finish();
    }
    if urls.is_empty() {
        table.problem(
            &table.span(),
            "region.kind = \"parent\" without a usable [[region.parent]]",
            Some("add [[region.parent]] with url and admin".into()),
        );
    }
    let edge_id = table.string("edge_id");
    let token = table
        .table("token")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    let ca = compile_origin::roots(&mut table, &folder, &mut scope.files).unwrap_or(Roots::System);
    let server_name = compile_origin::server_name(&mut table);
    let timeout =
        table.duration("timeout").map_or(std::time::Duration::from_secs(2), |found| found.value);
    if edge_id.is_none() {
        table.missing("edge_id", "edge_id = \"edge-1\"");
    }
    if token.is_none() && !table.has("token") {
        table.missing("token", "token = { file = \"secrets/region\" }");
    }
    table.finish();
    let tls = OriginTls { roots: ca, server_name, identity: None, min: TlsVersion::V1_2 };
    Some(Region::Parents(Parents {
        urls,
        admins,
        edge_id: edge_id?.value,
        token: token?,
        tls,
        timeout,
    }))
}

fn parent_url(text: &str) -> Result<ParentUrl, String> {
    let rest = text.strip_prefix("https://").ok_or("a parent is asked over https only")?;
    let authority =
        parse_authority(rest.trim_end_matches('/')).ok_or("this is no host, or it has a path")?;
    Ok(ParentUrl { host: authority.host.to_string(), port: authority.port.unwrap_or(443) })
}

fn admin_url(text: &str) -> Result<AdminUrl, String> {
    let (rest, is_tls) = match (text.strip_prefix("https://"), text.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Err("an admin address is an https URL, or http on loopback".into()),
    };
    let authority =
        parse_authority(rest.trim_end_matches('/')).ok_or("this is no host, or it has a path")?;
    let host = authority.host.to_string();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let loopback =
        bare == "localhost" || bare.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_tls && !loopback {
        return Err("the edge's token would go over the network in clear text; use https".into());
    }
    Ok(AdminUrl { port: authority.port.unwrap_or(9080), host, is_tls })
}

fn trusted_edges(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Vec<TrustedEdge> {
    let mut all = Vec::new();
    for mut table in main.tables("trusted_edge") {
        let folder = scope.folder(table.source());
        let id = table.string("id");
        let token = table
            .table("token")
            .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
        match (id, token) {
            (Some(id), Some(token)) => all.push(TrustedEdge { id: id.value, token }),
            (None, _) => table.missing("id", "id = \"edge-1\""),
            (_, None) if !table.has("token") => {
                table.missing("token", "token = { file = \"secrets/edge-1\" }")
            }
            _ => {}
        }
        table.finish();
    }
    all
}

fn limits(main: &mut Table<'_>) -> Limits {
    let mut limits = Limits::default();
    let Some(mut table) = main.table("limits") else { return limits };
    let mut number = |key: &'static str, slot: &mut usize, least: u64, most: u64| {
        if let Some(found) = table.number(key, least, most) {
            *slot = found.value as usize;
        }
    };
    number("connections", &mut limits.connections, 1, 1_000_000);
    number("fields", &mut limits.fields, 8, crate::distribution::limits::FIELDS_MAX as u64);
    number("fills", &mut limits.fills, 1, 1_000_000);
    number("followers", &mut limits.followers, 1, 1_000_000);
    number("variants", &mut limits.variants, 1, 1000);
    number("pass_marks", &mut limits.pass_marks, 32, 10_000_000);
    number("invalidations", &mut limits.invalidations, 16, 100_000_000);
    if let Some(found) = table.number("streams", 1, 10_000) {
        limits.streams = found.value as u32;
    }
    let mut size = |key: &'static str, slot: &mut usize| {
        if let Some(found) = table.size(key) {
            *slot = found.value as usize;
        }
    };
    size("head_bytes", &mut limits.head_bytes);
    size("url_bytes", &mut limits.url_bytes);
    size("relay_window", &mut limits.relay_window);
    size("admin_body", &mut limits.admin_body);
    size("log_queue", &mut limits.log_queue);
    if let Some(found) = table.size("origin_head_bytes") {
        if found.value == 0 {
            table.problem(
                &found.span,
                "limits.origin_head_bytes is zero: no origin could answer",
                None,
            );
        } else {
            limits.origin_head_bytes = usize::try_from(found.value).unwrap_or(usize::MAX);
        }
    }
    if let Some(found) = table.size("request_body") {
        limits.request_body = found.value;
    }
    let mut time = |key: &'static str, slot: &mut std::time::Duration| {
        if let Some(found) = table.duration(key) {
            if found.value.is_zero() {
                table.problem(
                    &found.span,
                    format!("limits.{key} is zero: nothing could ever be in time"),
                    None,
                );
            } else {
                *slot = found.value;
            }
        }
    };
    time("handshake", &mut limits.handshake);
    time("head_time", &mut limits.head_time);
    time("idle", &mut limits.idle);
    time("stall", &mut limits.stall);
    time("follower_wait", &mut limits.follower_wait);
    time("pass_mark_time", &mut limits.pass_mark_time);
    time("drain", &mut limits.drain);
    table.finish();
    limits
}

// Databases of MaxMind's format; changed files are read anew with the configuration.
fn geo(main: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Geo> {
    let mut table = main.table("geo")?;
    let mut files = Vec::new();
    let mut span = table.span();
    for item in table.strings("databases").map(|list| list.value).unwrap_or_default() {
        let path = super::at(folder, &item.value);
        scope.files.push(path.clone());
        match std::fs::read(&path) {
            Ok(file) => files.push(file),
            Err(error) => table.problem(&item.span, format!("{}: {error}", path.display()), None),
        }
        span = item.span;
    }
    if files.is_empty() && !table.has("databases") {
        table.problem(
            &span,
            "no database is named",
            Some("databases = [\"GeoLite2-City.mmdb\"]".into()),
        );
    }
    let geo = Geo::new(files).map_err(|why| table.problem(&span, why, None)).ok();
    table.finish();
    geo
}

// What of viewers is looked at because somebody names it.
fn observes(distributions: &[compile_distribution::Made]) -> Observes {
    let mut observes = Observes::default();
    for behavior in distributions.iter().flat_map(|made| &made.distribution.behaviors) {
        for name in added_names(behavior) {
            match name.as_str() {
                "cloudfront-viewer-header-order" => observes.header_order = true,
                "cloudfront-viewer-ja3-fingerprint" | "cloudfront-viewer-ja4-fingerprint" => {
                    observes.fingerprints = true
                }
                _ => {}
            }
        }
    }
    observes
}

/// Names known for a kind of thing, for suggestions.
pub fn names<T>(map: &BTreeMap<String, T>) -> impl Iterator<Item = &str> {
    map.keys().map(String::as_str)
}

/// A host of a distribution.
pub type HostAt = Found<HostPattern>;
