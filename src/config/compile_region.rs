//! The regional tier: the parents that an edge asks, and the edges that a parent trusts.

use std::path::Path;
use std::time::Duration;

use super::compile_tls::read_identity;
use super::reader::Table;
use super::scope::Scope;
use super::{compile_origin, credentials};
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{Identity, OriginTls, Roots, TlsVersion};
use crate::distribution::region::{
    AdminUrl, Checks, Ejection, ParentAt, ParentUrl, Parents, Region, TrustedEdge, Weight,
};
use crate::distribution::site::{Admin, Listen, Transport};

/// `[region]`: the regional tier that is asked before origins.
pub fn region(main: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Region> {
    let mut table = main.table("region")?;
    let folder = scope.folder(table.source());
    table.parsed("kind", |kind| match kind {
        "parent" => Ok(()),
        "redis" | "memcached" => {
            Err("this kind of regional tier is not built yet; known: \"parent\"".into())
        }
        _ => Err("known: \"parent\"".into()),
    });
    let all = parents(&mut table);
    let own = own_url(&mut table, &all);
    if all.is_empty() {
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
    let timeout = table.duration("timeout").map_or(Duration::from_secs(2), |found| found.value);
    let identity = table.table("identity").and_then(|table| identity(table, &folder, scope));
    let checks = table.table("health").map_or(Checks::DEFAULT, checks);
    let ejection = table.table("ejection").map_or(Ejection::DEFAULT, ejection);
    if edge_id.is_none() {
        table.missing("edge_id", "edge_id = \"edge-1\"");
    }
    if token.is_none() && !table.has("token") {
        table.missing("token", "token = { file = \"secrets/region\" }");
    }
    table.finish();
    let tls = OriginTls {
        roots: ca,
        server_name,
        identity,
        min: TlsVersion::V1_2,
        more_names: Vec::new(),
    };
    Some(Region::Parents(Parents {
        all,
        own,
        edge_id: edge_id?.value,
        token: token?,
        tls,
        timeout,
        checks,
        ejection,
    }))
}

// Every `[[region.parent]]` that can be used.
fn parents(table: &mut Table<'_>) -> Vec<ParentAt> {
    let mut all: Vec<ParentAt> = Vec::new();
    let mut last = None;
    for mut parent in table.tables("parent") {
        let url = parent.parsed("url", ParentUrl::parse);
        let admin = parent.parsed("admin", admin_url);
        let weight = parent
            .number("weight", 0, Weight::MOST.into())
            .map_or_else(Weight::default, |found| Weight(found.value as u16));
        if url.is_none() && !parent.has("url") {
            parent.missing("url", "url = \"https://parent-1.internal:8443\"");
        }
        if admin.is_none() && !parent.has("admin") {
            parent.missing("admin", "admin = \"https://parent-1.internal:9080\"");
        }
        if let (Some(url), Some(admin)) = (url, admin) {
            if all.iter().any(|known| known.url == url.value) {
                let help = "give it more weight, or strike one of the two";
                parent.problem(&url.span, "this parent is listed twice", Some(help.into()));
            }
            all.push(ParentAt { url: url.value, admin: admin.value, weight });
        }
        last = Some(parent.span());
        parent.finish();
    }
    if let Some(last) = last
        && !all.is_empty()
        && all.iter().all(|one| one.weight == Weight(0))
    {
        let help = "leave weight out where each is to take its share";
        table.problem(&last, "every parent has the weight 0, and is a spare", Some(help.into()));
    }
    all
}

fn own_url(table: &mut Table<'_>, all: &[ParentAt]) -> Option<ParentUrl> {
    let own = table.parsed("own_url", ParentUrl::parse)?;
    if all.iter().any(|parent| parent.url == own.value) {
        let help = "strike its [[region.parent]], or own_url if it is another node";
        table.problem(&own.span, "a node is no parent of its own", Some(help.into()));
    }
    Some(own.value)
}

/// The parents that origins may have as their shield here: those that are asked, and this node
/// itself. `None` where no parent is asked: then which node is a shield need not be known.
pub fn shields(region: Option<&Region>) -> Option<Vec<ParentUrl>> {
    let Region::Parents(parents) = region?;
    Some(parents.all.iter().map(|parent| &parent.url).chain(&parents.own).cloned().collect())
}

/// The most checks in a row, and the most requests of a window, that one may wait for.
const ROW: u64 = 1_000;
const REQUESTS: u64 = 1_000_000;

// `[region.health]`: how parents are checked.
fn checks(mut table: Table<'_>) -> Checks {
    let default = Checks::DEFAULT;
    let interval = table.duration("interval").map_or(default.interval, |found| found.value);
    let timeout = above_zero(&mut table, "timeout", default.timeout);
    let unhealthy_after = count(&mut table, "unhealthy_after", ROW, default.unhealthy_after);
    let healthy_after = count(&mut table, "healthy_after", ROW, default.healthy_after);
    let jitter = percent(&mut table, "jitter", default.jitter);
    table.finish();
    Checks { interval, timeout, unhealthy_after, healthy_after, jitter }
}

// `[region.ejection]`: when a parent is an outlier.
fn ejection(mut table: Table<'_>) -> Ejection {
    let default = Ejection::DEFAULT;
    let window = above_zero(&mut table, "window", default.window);
    let requests = count(&mut table, "requests", REQUESTS, default.requests);
    let failures = percent(&mut table, "failures", default.failures);
    let in_a_row = count(&mut table, "in_a_row", REQUESTS, default.in_a_row);
    let first = above_zero(&mut table, "first", default.first);
    let longest = table.duration("longest");
    if let Some(found) = &longest
        && found.value < first
    {
        let help = format!("the first ejection lasts {} s", first.as_secs());
        table.problem(&found.span, "region.ejection.longest is shorter than first", Some(help));
    }
    let longest = longest.map_or(default.longest.max(first), |found| found.value);
    let most = percent(&mut table, "most", default.most);
    table.finish();
    Ejection { window, requests, failures, in_a_row, first, longest, most }
}

fn above_zero(table: &mut Table<'_>, key: &'static str, default: Duration) -> Duration {
    let Some(found) = table.duration(key) else { return default };
    if found.value.is_zero() {
        table.problem(&found.span, format!("{key} is zero"), None);
    }
    found.value
}

fn count(table: &mut Table<'_>, key: &'static str, most: u64, default: u32) -> u32 {
    table.number(key, 1, most).map_or(default, |found| found.value as u32)
}

fn percent(table: &mut Table<'_>, key: &'static str, default: u8) -> u8 {
    table.number(key, 0, 100).map_or(default, |found| found.value as u8)
}

/// An admin listener: https, or http on loopback.
pub fn admin_url(text: &str) -> Result<AdminUrl, String> {
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

// The certificate that this edge shows its parents.
fn identity(mut table: Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<Identity> {
    let (chain, key) = (table.string("chain"), table.string("key"));
    let (Some(chain), Some(key)) = (chain, key) else {
        table.problem(&table.span(), "a client certificate needs both chain and key", None);
        table.finish();
        return None;
    };
    let (chain_at, key_at) = (super::at(folder, &chain.value), super::at(folder, &key.value));
    scope.files.extend([chain_at.clone(), key_at.clone()]);
    let read = read_identity(&chain_at, &key_at).and_then(|identity| {
        let (roots, server_name, min) = (Roots::Given(Vec::new()), None, TlsVersion::V1_2);
        let tls = OriginTls {
            roots,
            server_name,
            identity: Some(identity.clone()),
            min,
            more_names: Vec::new(),
        };
        crate::tls::client::client_config(&tls).map(|_| identity)
    });
    let read = read.map_err(|why| table.problem(&chain.span, why, None)).ok();
    table.finish();
    read
}

// The name that an edge's certificate has to have, and what it takes to see one.
fn client_san(table: &mut Table<'_>, listen: &Listen, admin: &Admin) -> Option<String> {
    let found = table.string("client_san")?;
    if listen.client_roots.is_empty() {
        let help = "set listen.client_ca to a file of the authorities that edges are known by";
        table.problem(&found.span, "no certificate is asked for", Some(help.into()));
    }
    if admin.transport == Transport::Clear {
        let help = "set admin.transport = \"tls\"";
        let title = "edges speak to the admin listener too, where no certificate is seen";
        table.problem(&found.span, title, Some(help.into()));
    }
    let is_uri = found.value.contains("://");
    Some(if is_uri { found.value } else { found.value.to_ascii_lowercase() })
}

/// `[[trusted_edge]]`: the edges that this node is a parent of.
pub fn trusted_edges(
    main: &mut Table<'_>,
    scope: &mut Scope<'_>,
    (listen, admin): (&Listen, &Admin),
) -> Vec<TrustedEdge> {
    let mut all = Vec::new();
    for mut table in main.tables("trusted_edge") {
        let folder = scope.folder(table.source());
        let id = table.string("id");
        let token = table
            .table("token")
            .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
        let client_san = client_san(&mut table, listen, admin);
        match (id, token) {
            (Some(id), Some(token)) => all.push(TrustedEdge { id: id.value, token, client_san }),
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
