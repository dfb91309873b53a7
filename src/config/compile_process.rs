//! Settings of the process: listeners for viewers and for operators, the store, limits, databases
//! of places.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::Path;
use std::sync::LazyLock;

use super::compile_keys::origin_credentials;
use super::credentials;
use super::decode;
use super::read_files::stamps;
use super::reader::Table;
use super::scope::{Scope, networks};
use crate::cloudfront::model::CALLS;
use crate::crypto::sigv4::Credentials;
use crate::distribution::geo::Geo;
use crate::distribution::host::HostPattern;
use crate::distribution::limits::Limits;
use crate::distribution::site::{
    AccessKey, Admin, Api, ApiCertificates, Dashboard, DiskSettings, Gso, Http3,
    INVALIDATION_ACTIONS, Listen, MetricsBy, StoreSettings, TlsPolicy, Transport, UnknownSni,
    Unsigned, WebAcl,
};
use crate::distribution::stores::ACCOUNT;
use crate::tls::clients::verifier;

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

/// How many cores this process may use. They are counted once: it takes reading what the system
/// says of the process, and a change of it needs a restart anyway.
pub fn cores() -> usize {
    static CORES: LazyLock<usize> =
        LazyLock::new(|| std::thread::available_parallelism().map_or(1, NonZero::get));
    *CORES
}

/// `[listen]`: where viewers connect, and which networks are believed when they speak of viewers.
pub fn listen(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Listen {
    let cores = cores();
    let empty = Listen {
        http: vec![],
        https: vec![],
        proxy_protocol_from: vec![],
        forwarded_for_from: vec![],
        workers: cores,
        http3: Http3::Off,
        client_roots: vec![],
        unknown_sni: UnknownSni::Default,
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
    let client_roots = client_roots(&mut table, scope);
    let http3 = http3(&mut table, &https);
    let unknown_sni = table
        .word("unknown_sni", &[("default", UnknownSni::Default), ("refuse", UnknownSni::Refuse)])
        .map_or(UnknownSni::Default, |found| found.value);
    table.finish();
    Listen {
        http,
        https,
        proxy_protocol_from,
        forwarded_for_from,
        workers,
        http3,
        client_roots,
        unknown_sni,
    }
}

// `listen.http3`, the port that viewers are told, and how datagrams are sent.
fn http3(table: &mut Table<'_>, https: &[SocketAddr]) -> Http3 {
    let told_port = table.number("alt_svc_port", 1, 65_535);
    let gso = table.truth("gso");
    let Some(found) = table.truth("http3").filter(|found| found.value) else {
        if let Some(port) = told_port {
            let title = "listen.alt_svc_port tells viewers of HTTP/3, which is not spoken";
            table.problem(&port.span, title, Some("http3 = true beside it".into()));
        }
        if let Some(gso) = gso {
            let title = "listen.gso is how HTTP/3 is sent, which is not spoken";
            table.problem(&gso.span, title, Some("http3 = true beside it".into()));
        }
        return Http3::Off;
    };
    if !cfg!(feature = "http3") {
        table.problem(&found.span, "this build has no HTTP/3 (Cargo feature `http3`)", None);
    }
    if https.is_empty() {
        let help = "set listen.https: the same addresses are bound for UDP";
        table.problem(&found.span, "HTTP/3 wants an address for HTTPS", Some(help.into()));
    }
    let gso = if gso.is_none_or(|found| found.value) { Gso::On } else { Gso::Off };
    Http3::On { told_port: told_port.map(|port| port.value as u16), gso }
}

// `listen.client_ca`: the authorities whose certificates a client may show.
fn client_roots(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Vec<Vec<u8>> {
    let Some(found) = table.string("client_ca") else { return Vec::new() };
    let path = super::at(scope.folder(table.source()), &found.value);
    scope.files.push(path.clone());
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let read = decode::certificates(&path).and_then(|all| {
        let roots: Vec<Vec<u8>> = all.into_iter().map(|der| der.to_vec()).collect();
        if roots.is_empty() {
            return Err("holds no certificate".into());
        }
        verifier(&roots, provider).map(|_| roots)
    });
    read.unwrap_or_else(|why| {
        let help = "a file of PEM certificates, of authorities that name edges and nothing else";
        table.problem(&found.span, format!("{}: {why}", path.display()), Some(help.into()));
        Vec::new()
    })
}

/// `[admin]`: where operators connect, and what they show.
pub fn admin(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Admin {
    let default = SocketAddr::from(([127, 0, 0, 1], 9080));
    let usual = Admin {
        listen: default,
        token: None,
        transport: Transport::Clear,
        access_keys: Vec::new(),
        account: ACCOUNT.into(),
        unsigned: Unsigned::Refused,
        dashboard: Dashboard::On,
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
    let account = table.parsed("account", |text| {
        let is_account = text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit());
        is_account.then(|| text.to_string()).ok_or_else(|| "an account has twelve digits".into())
    });
    let unsigned =
        table.word("unsigned", &[("refuse", Unsigned::Refused), ("allow", Unsigned::Allowed)]);
    if let Some(found) = &unsigned
        && found.value == Unsigned::Allowed
        && !address.ip().is_loopback()
    {
        table.problem(
            &found.span,
            "any client that reaches this address could invalidate everything",
            Some("listen on loopback to allow it".into()),
        );
    }
    let dashboard = table.word("dashboard", &[("on", Dashboard::On), ("off", Dashboard::Off)]);
    table.finish();
    Admin {
        listen: address,
        token,
        transport,
        access_keys,
        account: account.map_or_else(|| ACCOUNT.into(), |found| found.value),
        unsigned: unsigned.map_or(Unsigned::Refused, |found| found.value),
        dashboard: dashboard.map_or(Dashboard::On, |found| found.value),
    }
}

/// The calls about key value stores: of CloudFront's own service, and of the one for values.
const STORE_CALLS: [&str; 5] = [
    "CreateKeyValueStore",
    "DescribeKeyValueStore",
    "UpdateKeyValueStore",
    "DeleteKeyValueStore",
    "ListKeyValueStores",
];
/// The calls about functions.
const FUNCTION_CALLS: [&str; 8] = [
    "CreateFunction",
    "UpdateFunction",
    "DescribeFunction",
    "GetFunction",
    "ListFunctions",
    "PublishFunction",
    "TestFunction",
    "DeleteFunction",
];
/// The lists of what there is none of.
const EMPTY_LISTS: [&str; 8] = [
    "ListStreamingDistributions",
    "ListVpcOrigins",
    "ListAnycastIpLists",
    "ListDistributionsByConnectionFunction",
    "ListConnectionFunctions",
    "ListConnectionGroups",
    "ListDistributionTenants",
    "ListDistributionTenantsByCustomization",
];
const VALUE_CALLS: [&str; 6] =
    ["DescribeKeyValueStore", "ListKeys", "GetKey", "PutKey", "DeleteKey", "UpdateKeys"];

// Says whether an action, or a pattern of actions, can mean any call that is answered.
fn is_action(text: &str) -> bool {
    let Some((service, name)) = text.split_once(':') else { return false };
    let means = |call: &&str| match name.strip_suffix('*') {
        Some(start) => call.starts_with(start),
        None => *call == name,
    };
    let invalidations =
        INVALIDATION_ACTIONS.iter().filter_map(|name| name.strip_prefix("cloudfront:"));
    match service {
        "cloudfront" => {
            let known = CALLS.iter().chain(&STORE_CALLS).chain(&FUNCTION_CALLS);
            let known = known.chain(&EMPTY_LISTS).copied();
            known.chain(invalidations).any(|call| means(&call))
        }
        "cloudfront-keyvaluestore" => VALUE_CALLS.iter().any(means),
        // A flush, as IAM names calls of API Gateway.
        "apigateway" => means(&"DELETE"),
        // A viewer replaces what is stored (`client_invalidation`).
        "execute-api" => means(&"InvalidateCache"),
        _ => false,
    }
}

/// `[api]`: distributions that are made and changed by CloudFront's API.
pub fn api(main: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Api> {
    let mut table = main.table("api")?;
    let domain = table.parsed("domain", |text| match HostPattern::parse(text) {
        Ok(HostPattern::Exact(name)) => Ok(name),
        _ => Err("this is no plain domain name".to_string()),
    });
    let web_acl =
        table.word("web_acl", &[("refuse", WebAcl::Refused), ("ignore", WebAcl::Ignored)]);
    let words = [
        ("named", ApiCertificates::Named),
        ("any", ApiCertificates::Any),
        ("development", ApiCertificates::Made),
    ];
    let certificates = table.word("certificates", &words);
    if let Some(credentials) = table.table("s3_credentials") {
        scope.credentials = origin_credentials(credentials, folder, scope);
    }
    table.finish();
    Some(Api {
        domain: domain.map_or_else(|| "cloudfront.net".into(), |found| found.value),
        web_acl: web_acl.map_or(WebAcl::Refused, |found| found.value),
        certificates: certificates.map_or(ApiCertificates::Named, |found| found.value),
    })
}

/// `[metrics]`: how finely requests are counted.
pub fn metrics(main: &mut Table<'_>) -> MetricsBy {
    let Some(mut table) = main.table("metrics") else { return MetricsBy::default() };
    let words = [("behavior", MetricsBy::Behavior), ("distribution", MetricsBy::Distribution)];
    let by = table.word("by", &words).map_or(MetricsBy::default(), |found| found.value);
    table.finish();
    by
}

fn access_keys(admin: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Vec<AccessKey> {
    let mut all: Vec<AccessKey> = Vec::new();
    for mut table in admin.tables("access_key") {
        let id = table.string("id");
        let secret = table
            .table("secret")
            .and_then(|secret| credentials::secret(secret, folder, &mut scope.files));
        let mut allow = Vec::new();
        for item in table.strings("allow").map_or_else(Vec::new, |list| list.value) {
            if !is_action(&item.value) {
                let help = "such as \"cloudfront:CreateInvalidation\", \"cloudfront:Get*\" or \"cloudfront:*\"";
                table.problem(
                    &item.span,
                    format!("{:?} is no action here", item.value),
                    Some(help.into()),
                );
            }
            allow.push(item.value);
        }
        // Whatever changes distributions has to be named.
        if allow.is_empty() {
            allow.extend(INVALIDATION_ACTIONS.map(String::from));
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

/// `[store]`: what both tiers may take; `data` is the data folder.
pub fn store(main: &mut Table<'_>, data: &Path, scope: &mut Scope<'_>) -> StoreSettings {
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

/// `[tls]`: which protocols and suites viewers are spoken to in.
pub fn tls_policy(main: &mut Table<'_>) -> TlsPolicy {
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

/// `[limits]`: the bounds of everything that could grow.
pub fn limits(main: &mut Table<'_>) -> Limits {
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
    number("tunnels", &mut limits.tunnels, 0, 1_000_000);
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
    time("tunnel_idle", &mut limits.tunnel_idle);
    time("stall", &mut limits.stall);
    time("follower_wait", &mut limits.follower_wait);
    time("pass_mark_time", &mut limits.pass_mark_time);
    time("drain", &mut limits.drain);
    table.finish();
    limits
}

/// `[geo]`: databases of MaxMind's format; changed files are read anew with the configuration.
pub fn geo(main: &mut Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Geo> {
    let mut table = main.table("geo")?;
    let mut files = Vec::new();
    let mut span = table.span();
    let named = table.strings("databases").map(|list| list.value).unwrap_or_default();
    let paths = named.iter().map(|item| super::at(folder, &item.value));
    let stamped = stamps(paths.collect());
    scope.files.extend(stamped.iter().map(|(path, _)| path.clone()));
    if let Some(known) = scope.read.databases.find(&stamped) {
        table.finish();
        return Some(known);
    }
    for (item, (path, _)) in named.into_iter().zip(&stamped) {
        match std::fs::read(path) {
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
    let is_whole = !files.is_empty() && files.len() == stamped.len();
    let geo = Geo::new(files).map_err(|why| table.problem(&span, why, None)).ok();
    if let Some(geo) = geo.as_ref().filter(|_| is_whole) {
        scope.read.databases.keep(stamped, geo);
    }
    table.finish();
    geo
}
