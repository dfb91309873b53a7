//! One `[[distribution]]`: hosts, origins, groups, behaviors, each resolved against the others.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::compile::{HostAt, Scope, networks};
use super::compile_keys;
use super::compile_policy;
use super::compile_response;
use super::compile_tls::read_identity;
use super::credentials;
use super::reader::{Found, Table};
use super::report::nearest;
use crate::distribution::behavior::{
    Behavior, ClientInvalidation, Derived, ErrorResponse, MAPPABLE, Methods, PostBody, PostCaching, Target, Unauthorised, ViewerProtocol,
};
use crate::distribution::cache_policy::{CachePolicy, OriginRequestPolicy, Semantics};
use crate::distribution::face::{CloudFront, Face};
use crate::distribution::geo::GeoRestriction;
use crate::distribution::host::{HostPattern, parse_authority};
use crate::distribution::origin::{HostRule, HttpOrigin, Origin, OriginGroup, OriginKind, OriginTls, Roots, Signing, Timeouts, TlsVersion};
use crate::distribution::pattern::PathPattern;
use crate::distribution::response_policy::ResponsePolicy;
use crate::distribution::secret::Secret;
use crate::distribution::site::{Distribution, Network, ORIGINS_MAX};
use crate::distribution::staging::{Chosen, Sticky};
use crate::gate::rate::RateLimit;
use crate::signature::url::Signers;

/// A distribution, and where its names stand in the file.
pub struct Made {
    pub distribution: Distribution,
    pub hosts: Vec<HostAt>,
    pub id_span: Range<usize>,
    pub source: usize,
    /// It is tried out on another's viewers: whose, and on which.
    pub staging: Option<StagingOf>,
}

/// `staging` of a distribution.
pub struct StagingOf {
    pub of: Found<String>,
    pub chosen: Chosen,
}

/// Reads one.
pub fn read(mut table: Table<'_>, scope: &mut Scope<'_>, ordinal: &mut usize) -> Option<Made> {
    let id = table.parsed("id", |id| {
        let plain = !id.is_empty() && id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        plain.then(|| id.to_string()).ok_or_else(|| "an id has 1 to 64 letters, digits, - or _".into())
    });
    let staging = staging(&mut table);
    let hosts = if staging.is_some() { Vec::new() } else { hosts(&mut table) };
    let default_root_object = table.parsed("default_root_object", |name| {
        if name.starts_with('/') || name.is_empty() {
            Err("a default root object is named without a slash in front, such as \"index.html\"".into())
        } else {
            Ok(format!("/{name}"))
        }
    });
    let tag_header = table.parsed("tag_header", |name| HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is no field name".into()));
    let (x_cache, compat) = (table.word("x_cache", &FACES), table.word("compat", &FACES));
    let purge = purge(&mut table, scope);
    let geo_restriction = geo_restriction(&mut table);
    let origins = origins(&mut table, scope);
    let groups = groups(&mut table, &origins);
    let error_responses = error_responses(&mut table);
    let behaviors = behaviors(&mut table, scope, &origins, &groups, ordinal);
    if id.is_none() && !table.has("id") {
        table.missing("id", "id = \"EDEMO\"");
    }
    let source = table.source();
    let span = table.span();
    table.finish();
    let id = id?;
    let compat = compat.map_or("foreshore", |found| found.value);
    let name = x_cache.map_or(compat, |found| found.value);
    let face = Face { name: name.into(), cloudfront: (compat == "cloudfront").then(|| cloudfront(&id.value, &scope.pop)) };
    let distribution = Distribution {
        id: id.value,
        hosts: hosts.iter().map(|host| host.value.to_string()).collect(),
        default_root_object: default_root_object.map(|found| found.value),
        origins: origins.into_iter().map(|(_, origin)| Arc::new(origin)).collect(),
        groups,
        behaviors,
        error_responses,
        tag_header: tag_header.map_or(HeaderName::from_static("cache-tag"), |found| found.value),
        purge,
        geo_restriction,
        is_deploying: false,
        staging: None,
        face,
    };
    Some(Made { distribution, hosts, id_span: if id.span.is_empty() { span } else { id.span }, source, staging })
}

const FACES: [(&str, &str); 2] = [("foreshore", "foreshore"), ("cloudfront", "cloudfront")];

// The host in Via is made of the distribution's id, so that it is the same on every edge.
fn cloudfront(id: &str, pop: &str) -> CloudFront {
    let host = &crate::signature::sigv4::sha256(id.as_bytes())[..32];
    CloudFront { via: format!("1.1 {host}.cloudfront.net (CloudFront)"), pop: pop.to_string() }
}

// A staging distribution has no hosts of its own: it shares those of the one it is for.
fn staging(table: &mut Table<'_>) -> Option<StagingOf> {
    let mut one = table.table("staging")?;
    let span = one.span();
    let of = one.string("of");
    if of.is_none() {
        one.missing("of", "of = \"EDEMO\"");
    }
    let percent = one.number("percent", 0, 100).map(|found| found.value as u8);
    let sticky = one.table("sticky").map(|mut sticky| {
        let mut seconds = |key: &'static str, usual: u64| sticky.duration(key).map_or(usual, |found| found.value.as_secs());
        let (idle, most) = (seconds("idle", 300), seconds("max", 3600));
        if idle == 0 || idle > most {
            sticky.problem(&sticky.span(), "a session is idle for at least a second, and no longer than it lasts", None);
        }
        sticky.finish();
        Sticky { idle, most }
    });
    let header = one.table("header").and_then(|mut header| {
        let name = header.parsed("name", |name| match http::HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) if name.as_str().starts_with("aws-cf-cd-") => Ok(name),
            _ => Err("as at CloudFront, the name begins with \"aws-cf-cd-\"".to_string()),
        });
        let value = header.string("value");
        if value.is_none() {
            header.missing("value", "value = \"try\"");
        }
        header.finish();
        Some((name?.value, value?.value))
    });
    let chosen = match (percent, header) {
        (Some(percent), None) => Some(Chosen::ByWeight { percent, sticky }),
        (None, Some((name, value))) => Some(Chosen::ByHeader { name, value }),
        _ => {
            let help = "percent = 5, or header = { name = \"aws-cf-cd-try\", value = \"1\" }";
            one.problem(&span, "say who sees it: a share of the viewers, or those with a header", Some(help.into()));
            None
        }
    };
    one.finish();
    Some(StagingOf { of: of?, chosen: chosen? })
}

// CloudFront's geographic restriction, for a whole distribution.
fn geo_restriction(table: &mut Table<'_>) -> Option<GeoRestriction> {
    let mut one = table.table("geo_restriction")?;
    let span = one.span();
    let mut countries = |key: &'static str| {
        let list = one.strings(key)?;
        let mut all = Vec::new();
        for item in list.value {
            if item.value.len() != 2 || !item.value.bytes().all(|b| b.is_ascii_uppercase()) {
                one.problem(
                    &item.span,
                    format!("{:?} is no country", item.value),
                    Some("two capitals of ISO 3166-1, such as \"DE\"".into()),
                );
            }
            all.push(item.value);
        }
        Some(all)
    };
    let made = match (countries("only"), countries("except")) {
        (Some(list), None) => Some(GeoRestriction::Only(list)),
        (None, Some(list)) => Some(GeoRestriction::AllBut(list)),
        _ => {
            one.problem(
                &span,
                "name either the countries that are served or those that are not",
                Some("only = [\"DE\"] or except = [\"DE\"]".into()),
            );
            None
        }
    };
    one.finish();
    made
}

// A bucket of tokens for each address.
fn rate_limit(table: &mut Table<'_>) -> Option<RateLimit> {
    let mut one = table.table("rate_limit")?;
    let requests = one.number("requests", 1, 1_000_000);
    let per = one.duration("per").map_or(std::time::Duration::from_secs(1), |found| found.value);
    let burst = one.number("burst", 1, 10_000_000).map(|found| found.value);
    if requests.is_none() && !one.has("requests") {
        one.missing("requests", "requests = 100");
    }
    let requests = requests.map(|found| found.value);
    let every =
        requests.and_then(|requests| u64::try_from(per.as_micros()).ok().map(|micros| micros / requests)).filter(|every| *every > 0);
    if requests.is_some() && every.is_none() {
        one.problem(&one.span(), "this is more than a request in a microsecond: no limit at all", None);
    }
    one.finish();
    Some(RateLimit { every: every?, burst: burst.or(requests)? })
}

// The token that the method PURGE needs.
fn purge(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Secret<String>> {
    let mut one = table.table("purge")?;
    let folder = scope.folder(one.source());
    let token = one.table("token").and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    if token.is_none() && !one.has("token") {
        one.missing("token", "token = { file = \"secrets/purge\" }");
    }
    one.finish();
    token
}

fn hosts(table: &mut Table<'_>) -> Vec<HostAt> {
    let Some(list) = table.strings("hosts") else {
        table.missing("hosts", "hosts = [\"www.example.com\"], or [\"*\"] for every host");
        return Vec::new();
    };
    let mut all = Vec::new();
    for item in list.value {
        match HostPattern::parse(&item.value) {
            Ok(value) => all.push(Found { value, span: item.span }),
            Err(why) => table.problem(&item.span, format!("{:?}: {why}", item.value), None),
        }
    }
    all
}

type Origins = Vec<(String, Origin)>;

fn origins(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Origins {
    let mut all: Origins = Vec::new();
    let tables = table.tables("origin");
    if tables.is_empty() {
        table.missing("origin", "[[distribution.origin]] with id and url");
    }
    for mut one in tables {
        let span = one.span();
        let made = origin(&mut one, scope);
        if let Some(origin) = made {
            if all.iter().any(|(id, _)| *id == origin.id) {
                one.problem(&span, format!("there are two origins with the id {:?}", origin.id), None);
            }
            all.push((origin.id.clone(), origin));
        }
        one.finish();
    }
    if all.len() > ORIGINS_MAX {
        table.problem(&table.span(), format!("a distribution has at most {ORIGINS_MAX} origins"), None);
    }
    all
}

fn origin(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Origin> {
    let folder = scope.folder(table.source());
    let id = table.string("id");
    let url = table.string("url");
    let headers = headers(table, &folder, scope);
    let timeouts = timeouts(table);
    let attempts = table.number("attempts", 1, 3).map_or(3, |found| found.value as u32);
    let connections = table.number("connections", 1, 100_000).map_or(512, |found| found.value as usize);
    let host_rule = table.parsed("host", |word| match word {
        "origin" => Ok(HostRule::Origin),
        "viewer" => Ok(HostRule::Viewer),
        name => {
            parse_authority(name).map(|_| HostRule::Fixed(name.to_string())).ok_or_else(|| "\"origin\", \"viewer\", or a host name".into())
        }
    });
    let tls = table.table("tls").and_then(|tls| origin_tls(tls, &folder, scope));
    let access = table.table("access_control").and_then(|access| compile_keys::access_control(access, &folder, scope));
    if id.is_none() {
        table.missing("id", "id = \"app\"");
    }
    let Some(url) = url else {
        table.missing("url", "url = \"https://app.internal\", \"http://127.0.0.1:3000\" or \"file:../public\"");
        return None;
    };
    let (kind, path) = match origin_url(&url.value, &folder, host_rule.map_or(HostRule::Origin, |found| found.value), tls) {
        Ok(made) => made,
        Err(why) => {
            table.problem(
                &url.span,
                format!("url = {:?}: {why}", url.value),
                Some("https://HOST[:PORT][/PATH], http://…, or file:FOLDER".into()),
            );
            return None;
        }
    };
    if let (Some(access), OriginKind::Http(http)) = (&access, &kind)
        && access.signing != Signing::Never
        && http.host_rule != HostRule::Origin
    {
        table.problem(&url.span, "a signed request must be for the origin's own host", Some("leave out host = …".into()));
    }
    Some(Origin { id: id?.value, kind, path, headers, timeouts, attempts, connections, access })
}

fn origin_url(url: &str, folder: &Path, host_rule: HostRule, tls: Option<OriginTls>) -> Result<(OriginKind, String), String> {
    if let Some(path) = url.strip_prefix("file:") {
        let root = super::at(folder, path.trim_start_matches("//"));
        if !root.is_dir() {
            return Err(format!("{} is not a folder", root.display()));
        }
        return Ok((OriginKind::Directory(root), String::new()));
    }
    let (rest, is_https) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
        (Some(rest), _) => (rest, true),
        (_, Some(rest)) => (rest, false),
        _ => return Err("the scheme is not one of https, http, file".into()),
    };
    let cut = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    let authority = parse_authority(authority).ok_or("this is no host")?;
    if path.contains(['?', '#', ' ']) || !crate::exchange::path::is_safe_path(path) {
        return Err("an origin path is plain: no query, no dot segments".into());
    }
    let tls = match (is_https, tls) {
        (true, tls) => Some(tls.unwrap_or(OriginTls { roots: Roots::System, server_name: None, identity: None, min: TlsVersion::V1_2 })),
        (false, None) => None,
        (false, Some(_)) => return Err("tls settings on an http origin".into()),
    };
    let port = authority.port.unwrap_or(if is_https { 443 } else { 80 });
    let http = HttpOrigin { host: authority.host.to_string(), port, tls, host_rule };
    Ok((OriginKind::Http(http), path.trim_end_matches('/').to_string()))
}

fn origin_tls(mut table: Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<OriginTls> {
    let roots = roots(&mut table, folder, &mut scope.files);
    let server_name = table.string("server_name").map(|found| found.value);
    let min = table.word("min", &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)]).map_or(TlsVersion::V1_2, |found| found.value);
    let (chain, key) = (table.string("chain"), table.string("key"));
    let identity = match (chain, key) {
        (None, None) => None,
        (Some(chain), Some(key)) => {
            scope.files.extend([super::at(folder, &chain.value), super::at(folder, &key.value)]);
            read_identity(&super::at(folder, &chain.value), &super::at(folder, &key.value))
                .map_err(|why| table.problem(&chain.span, why, None))
                .ok()
        }
        _ => {
            table.problem(&table.span(), "a client certificate needs both chain and key", None);
            None
        }
    };
    let tls = OriginTls { roots: roots.unwrap_or(Roots::System), server_name, identity, min };
    if let Err(why) = crate::origin::tls::client_config(&tls) {
        table.problem(&table.span(), why, None);
    }
    table.finish();
    Some(tls)
}

/// Reads `ca = "system"` or a PEM file.
pub fn roots(table: &mut Table<'_>, folder: &Path, files: &mut Vec<PathBuf>) -> Option<Roots> {
    let ca = table.string("ca")?;
    if ca.value == "system" {
        return Some(Roots::System);
    }
    let path = super::at(folder, &ca.value);
    files.push(path.clone());
    let all: Result<Vec<_>, _> = CertificateDer::pem_file_iter(&path).and_then(Iterator::collect);
    match all {
        Ok(all) if !all.is_empty() => Some(Roots::Given(all.into_iter().map(|der| der.to_vec()).collect())),
        Ok(_) => {
            table.problem(&ca.span, format!("{} holds no certificate", path.display()), None);
            None
        }
        Err(error) => {
            table.problem(&ca.span, format!("{}: {error}", path.display()), Some("\"system\", or a file of PEM certificates".into()));
            None
        }
    }
}

fn headers(table: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Vec<(HeaderName, Secret<HeaderValue>)> {
    let mut all = Vec::new();
    let Some(inner) = table.table("headers") else { return all };
    for (name, value) in inner.rest() {
        let Ok(header) = HeaderName::from_bytes(name.value.as_bytes()) else {
            table.problem(&name.span, format!("{:?} is no field name", name.value), None);
            continue;
        };
        if is_reserved(&header) {
            table.problem(&name.span, format!("{header} may not be set on an origin"), Some("CloudFront does not allow it either".into()));
            continue;
        }
        let text = match value {
            Ok(found) => Some(found.value),
            Err(secret) => credentials::secret(secret, folder, &mut scope.files).map(|secret| secret.expose().clone()),
        };
        let Some(text) = text else { continue };
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                all.push((header, Secret::new(value)));
            }
            Err(_) => table.problem(&name.span, format!("the value of {header} has characters that a field cannot have"), None),
        }
    }
    all
}

// shared/spec/CLOUDFRONT.md §8.
fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "cache-control"
            | "connection"
            | "content-length"
            | "cookie"
            | "host"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "max-forwards"
            | "pragma"
            | "proxy-authorization"
            | "proxy-connection"
            | "range"
            | "request-range"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
            | "x-real-ip"
    ) || name.starts_with("x-amz-")
        || name.starts_with("x-edge-")
}

fn timeouts(table: &mut Table<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(mut inner) = table.table("timeouts") else { return timeouts };
    for (key, slot) in [("connect", &mut timeouts.connect), ("response", &mut timeouts.response), ("idle", &mut timeouts.idle)] {
        if let Some(found) = inner.duration(key) {
            if found.value.is_zero() {
                inner.problem(&found.span, format!("timeouts.{key} is zero"), None);
            } else {
                *slot = found.value;
            }
        }
    }
    inner.finish();
    timeouts
}

fn groups(table: &mut Table<'_>, origins: &Origins) -> Vec<OriginGroup> {
    let mut all = Vec::new();
    for mut one in table.tables("origin_group") {
        let id = one.string("id");
        let mut members = Vec::new();
        for item in one.strings("members").map(|list| list.value).unwrap_or_default() {
            match origins.iter().position(|(id, _)| *id == item.value) {
                Some(at) => members.push(at),
                None => unknown_origin(&one, &item, origins),
            }
        }
        let failover = one
            .numbers("failover", 400, 599)
            .map_or_else(|| vec![500, 502, 503, 504], |found| found.value.iter().map(|n| *n as u16).collect());
        if members.len() < 2 {
            one.problem(&one.span(), "an origin group has at least two members that exist", None);
        }
        match id {
            Some(id) => all.push(OriginGroup { id: id.value, members, failover }),
            None => one.missing("id", "id = \"app-or-standby\""),
        }
        one.finish();
    }
    all
}

fn unknown_origin(table: &Table<'_>, found: &Found<String>, origins: &Origins) {
    let known = || origins.iter().map(|(id, _)| id.as_str());
    let help = nearest(&found.value, known())
        .map_or_else(|| format!("known: {}", known().collect::<Vec<_>>().join(", ")), |near| format!("did you mean {near:?}?"));
    table.problem(&found.span, format!("there is no origin {:?}", found.value), Some(help));
}

fn behaviors(
    table: &mut Table<'_>,
    scope: &mut Scope<'_>,
    origins: &Origins,
    groups: &[OriginGroup],
    ordinal: &mut usize,
) -> Vec<Behavior> {
    let tables = table.tables("behavior");
    let count = tables.len();
    if count == 0 {
        // The smallest useful file: one origin, everything cached from it.
        let pattern = PathPattern::parse("*").ok().into_iter();
        let made = pattern.map(|pattern| assemble(pattern, Target::Origin(0), Rules::default(), origins, groups, ordinal));
        return if origins.is_empty() { Vec::new() } else { made.collect() };
    }
    let mut all = Vec::new();
    for (at, mut one) in tables.into_iter().enumerate() {
        let pattern = one.parsed("path", PathPattern::parse);
        let origin = one.string("origin");
        let target = match &origin {
            None => {
                one.missing("origin", "origin = \"app\"");
                None
            }
            Some(found) => target(&one, found, origins, groups),
        };
        let rules = rules(&mut one, scope);
        if let Some(found) = &pattern {
            let is_any = found.value.as_str() == "*";
            if at + 1 == count && !is_any {
                one.problem(
                    &found.span,
                    "the last behavior must have path = \"*\"",
                    Some("CloudFront's default behavior: it takes what no other took".into()),
                );
            } else if at + 1 < count && is_any {
                one.problem(
                    &found.span,
                    "a behavior with path = \"*\" takes everything, so those after it are never reached",
                    Some("put it last".into()),
                );
            }
        } else if !one.has("path") {
            one.missing("path", "path = \"/img/*\"");
        }
        one.finish();
        if let (Some(pattern), Some(target)) = (pattern, target) {
            all.push(assemble(pattern.value, target, rules, origins, groups, ordinal));
        }
    }
    all
}

fn target(table: &Table<'_>, found: &Found<String>, origins: &Origins, groups: &[OriginGroup]) -> Option<Target> {
    if let Some(at) = origins.iter().position(|(id, _)| *id == found.value) {
        return Some(Target::Origin(at));
    }
    if let Some(at) = groups.iter().position(|group| group.id == found.value) {
        return Some(Target::Group(at));
    }
    unknown_origin(table, found, origins);
    None
}

struct Rules {
    cache: Arc<CachePolicy>,
    origin_request: Arc<OriginRequestPolicy>,
    response: Option<Arc<ResponsePolicy>>,
    viewer_protocol: ViewerProtocol,
    methods: Methods,
    error_responses: Vec<ErrorResponse>,
    client_invalidation: Option<ClientInvalidation>,
    cache_post: Option<PostCaching>,
    slice: Option<u64>,
    signers: Option<Signers>,
    allow_from: Vec<Network>,
    deny_from: Vec<Network>,
    rate_limit: Option<RateLimit>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            cache: Arc::new(CachePolicy::unnamed()),
            origin_request: Arc::new(OriginRequestPolicy::nothing()),
            response: None,
            viewer_protocol: ViewerProtocol::AllowAll,
            methods: Methods::GetHead,
            error_responses: Vec::new(),
            client_invalidation: None,
            cache_post: None,
            slice: None,
            signers: None,
            allow_from: Vec::new(),
            deny_from: Vec::new(),
            rate_limit: None,
        }
    }
}

fn rules(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Rules {
    let protocols = [
        ("allow-all", ViewerProtocol::AllowAll),
        ("https-only", ViewerProtocol::HttpsOnly),
        ("redirect-to-https", ViewerProtocol::RedirectToHttps),
    ];
    let viewer_protocol = table.word("viewer_protocol", &protocols).map_or(ViewerProtocol::AllowAll, |found| found.value);
    let methods = methods(table);
    Rules {
        methods,
        cache: compile_policy::cache(table, scope),
        origin_request: compile_policy::origin_request(table, scope),
        response: compile_response::response(table, scope),
        viewer_protocol,
        error_responses: error_responses(table),
        client_invalidation: client_invalidation(table, scope),
        cache_post: cache_post(table, methods),
        slice: slice(table),
        signers: compile_keys::signers(table, scope),
        allow_from: networks(table, "allow_from"),
        deny_from: networks(table, "deny_from"),
        rate_limit: rate_limit(table),
    }
}

fn slice(table: &mut Table<'_>) -> Option<u64> {
    let found = table.size("slice")?;
    if !(64 << 10..=64 << 20).contains(&found.value) {
        table.problem(&found.span, "a slice has 64KiB to 64MiB", None);
    }
    Some(found.value)
}

// Answers to POST in the store, where a behavior says that a POST is a query.
fn cache_post(table: &mut Table<'_>, methods: Methods) -> Option<PostCaching> {
    let mut one = table.table("cache_post")?;
    let span = one.span();
    let body = one.word("body", &[("keyed", PostBody::Keyed), ("ignored", PostBody::Ignored)]).map_or(PostBody::Keyed, |found| found.value);
    let headers = one.strings("headers").map(|found| compile_policy::header_names(&one, found.value)).unwrap_or_default();
    let max_body = one.size("max_body");
    if let Some(found) = &max_body
        && !(1..=16 << 20).contains(&found.value)
    {
        one.problem(&found.span, "a body in a key has 1B to 16MiB", None);
    }
    if !methods.allows(&http::Method::POST) {
        one.problem(&span, "this behavior does not allow POST", Some("methods = \"all\"".to_string()));
    }
    one.finish();
    Some(PostCaching { body, headers, max_body: max_body.map_or(64 << 10, |found| found.value) })
}

// CloudFront's custom error responses, for a distribution or for a behavior.
fn error_responses(table: &mut Table<'_>) -> Vec<ErrorResponse> {
    let mut all: Vec<ErrorResponse> = Vec::new();
    for mut one in table.tables("error_response") {
        let span = one.span();
        let status = one.number("status", 400, 599);
        let page = one.string("page");
        let respond_with = one.number("respond_with", 200, 599);
        let ttl = one.duration("ttl").map(|found| found.value);
        let known = |n: u64| MAPPABLE.iter().any(|m| u64::from(*m) == n);
        if let Some(found) = &status
            && !known(found.value)
        {
            one.problem(&found.span, format!("{} cannot be mapped", found.value), Some(format!("known: {MAPPABLE:?}")));
        }
        if let Some(found) = &respond_with
            && found.value != 200
            && !known(found.value)
        {
            one.problem(&found.span, format!("a page cannot go out with {}", found.value), Some(format!("200, or one of {MAPPABLE:?}")));
        }
        if let Some(found) = &page
            && !found.value.starts_with('/')
        {
            one.problem(&found.span, "a page is a path of this distribution and begins with /", None);
        }
        if page.is_some() != respond_with.is_some() {
            one.problem(&span, "page and respond_with come together or not at all", None);
        }
        match status {
            Some(status) => {
                let page = page.zip(respond_with).map(|(page, status)| (page.value, status.value as u16));
                all.push(ErrorResponse { status: status.value as u16, page, ttl });
            }
            None if !one.has("status") => one.missing("status", "status = 404"),
            None => {}
        }
        one.finish();
    }
    all
}

// The API Gateway cache's way of letting callers invalidate.
fn client_invalidation(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<ClientInvalidation> {
    let mut one = table.table("client_invalidation")?;
    let folder = scope.folder(one.source());
    let allow = one.word("allow", &[("token", true), ("anyone", false)]);
    let token = one.table("token").and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
    let strategies = [
        ("FAIL_WITH_403", Unauthorised::FailWith403),
        ("SUCCEED_WITH_RESPONSE_HEADER", Unauthorised::SucceedWithResponseHeader),
        ("SUCCEED_WITHOUT_RESPONSE_HEADER", Unauthorised::SucceedWithoutResponseHeader),
    ];
    let unauthorised = one.word("unauthorised", &strategies).map_or(Unauthorised::SucceedWithResponseHeader, |found| found.value);
    let wants_token = allow.is_none_or(|found| found.value);
    if wants_token && token.is_none() {
        one.missing("token", "token = { file = \"secrets/invalidate\" }");
    }
    one.finish();
    (!wants_token || token.is_some()).then_some(ClientInvalidation { token: token.filter(|_| wants_token), unauthorised })
}

fn methods(table: &mut Table<'_>) -> Methods {
    let Some(found) = table.string_or_strings("methods") else { return Methods::GetHead };
    let set = match found.value {
        Ok(word) if word == "all" => Some(Methods::Seven),
        Ok(word) if word == "any" => Some(Methods::Any),
        Ok(_) => None,
        Err(items) => {
            let mut names: Vec<String> = items.into_iter().map(|item| item.value).collect();
            names.sort_unstable();
            match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                ["GET", "HEAD"] => Some(Methods::GetHead),
                ["GET", "HEAD", "OPTIONS"] => Some(Methods::GetHeadOptions),
                ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"] => Some(Methods::Seven),
                _ => None,
            }
        }
    };
    set.unwrap_or_else(|| {
        let help = "[\"GET\", \"HEAD\"], [\"GET\", \"HEAD\", \"OPTIONS\"], \"all\" (CloudFront's seven) or \"any\"";
        table.problem(&found.span, "these methods are not one of CloudFront's sets", Some(help.into()));
        Methods::GetHead
    })
}

fn assemble(
    pattern: PathPattern,
    target: Target,
    rules: Rules,
    origins: &Origins,
    groups: &[OriginGroup],
    ordinal: &mut usize,
) -> Behavior {
    let asked: Vec<&Origin> = match target {
        Target::Origin(at) => origins.get(at).map(|(_, origin)| origin).into_iter().collect(),
        Target::Group(at) => groups[at].members.iter().map(|at| &origins[*at].1).collect(),
    };
    let viewer_host = asked.iter().any(|origin| matches!(&origin.kind, OriginKind::Http(http) if http.host_rule == HostRule::Viewer));
    let host = http::header::HOST;
    let host_in_key = viewer_host || rules.cache.key.headers.contains(&host) || rules.origin_request.headers.includes(&host);
    let proto = HeaderName::from_static("cloudfront-forwarded-proto");
    let scheme_in_key = rules.cache.key.headers.contains(&proto) || rules.origin_request.headers.adds(proto.as_str());
    let is_bucket = asked.iter().any(|origin| origin.access.as_ref().is_some_and(|access| access.service == "s3"));
    let rfc = rules.cache.semantics == Semantics::Rfc9111;
    let derived = Derived { host_in_key: host_in_key || (rfc && viewer_host), scheme_in_key, is_bucket };
    let behavior = Behavior {
        pattern,
        target,
        cache: rules.cache,
        origin_request: rules.origin_request,
        response: rules.response,
        viewer_protocol: rules.viewer_protocol,
        methods: rules.methods,
        error_responses: rules.error_responses,
        client_invalidation: rules.client_invalidation,
        cache_post: rules.cache_post,
        slice: rules.slice,
        signers: rules.signers,
        allow_from: rules.allow_from,
        deny_from: rules.deny_from,
        rate_limit: rules.rate_limit,
        derived,
        ordinal: *ordinal,
    };
    *ordinal += 1;
    behavior
}
