//! Origins and their groups: where they are, how they are asked, how they prove their name.

use std::net::IpAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http::{HeaderName, HeaderValue};

use super::compile_identities;
use super::compile_keys;
use super::credentials;
use super::decode;
use super::reader::{Found, Table};
use super::report::nearest;
use super::scope::Scope;
use crate::base::secret::Secret;
use crate::distribution::behavior::Target;
use crate::distribution::host::parse_authority;
use crate::distribution::origin::{
    AccessControl, Family, HostRule, HttpOrigin, HttpVersion, Origin, OriginGroup, OriginKind,
    OriginTls, Reach, Roots, Signing, Timeouts, TlsVersion, is_reserved,
};
use crate::distribution::region::ParentUrl;
use crate::distribution::site::ORIGINS_MAX;

/// Origins by their ids, in order.
pub type Origins = Vec<(String, Origin)>;

/// Every `[[distribution.origin]]`.
pub fn origins(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Origins {
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
                one.problem(
                    &span,
                    format!("there are two origins with the id {:?}", origin.id),
                    None,
                );
            }
            all.push((origin.id.clone(), origin));
        }
        one.finish();
    }
    if all.len() > ORIGINS_MAX {
        table.problem(
            &table.span(),
            format!("a distribution has at most {ORIGINS_MAX} origins"),
            None,
        );
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
    let connections =
        table.number("connections", 1, 100_000).map_or(512, |found| found.value as usize);
    let host_rule = table.parsed("host", host_rule);
    let version = table
        .word("http_version", &[("http1.1", HttpVersion::Http1), ("http2", HttpVersion::Http2)]);
    let family = table.word("ip", &Family::ALL);
    let tls = table.table("tls").and_then(|tls| origin_tls(tls, &folder, scope));
    let access = table
        .table("access_control")
        .and_then(|access| compile_keys::access_control(access, &folder, scope));
    let shield = shield(table, scope);
    let bucket = table.string("bucket").map(|found| found.value);
    let matching = Matching::read(table);
    if id.is_none() {
        table.missing("id", "id = \"app\"");
    }
    let Some(url) = url else {
        table.missing(
            "url",
            "url = \"https://app.internal\", \"http://127.0.0.1:3000\" or \"file:../public\"",
        );
        return None;
    };
    let asked = How {
        host_rule: host_rule.map_or(HostRule::Origin, |found| found.value),
        version: version.as_ref().map_or(HttpVersion::Http1, |found| found.value),
        family: family.as_ref().map_or(Family::Both, |found| found.value),
        tls,
    };
    let (kind, path) = match origin_url(&url.value, &folder, asked) {
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
    check_version(table, version.as_ref(), &kind);
    if let Some(family) = &family {
        check_family(table, family, &kind);
    }
    check_signed(table, &url, access.as_ref(), &kind);
    let mut origin = Origin {
        id: id?.value,
        kind,
        path,
        headers,
        timeouts,
        attempts,
        connections,
        access,
        shield,
        bucket,
        clear: None,
    };
    origin.clear = matching.clear(table, &origin).map(Arc::new);
    Some(origin)
}

fn host_rule(word: &str) -> Result<HostRule, String> {
    match word {
        "origin" => Ok(HostRule::Origin),
        "viewer" => Ok(HostRule::Viewer),
        name => parse_authority(name)
            .map(|_| HostRule::Fixed(name.to_string()))
            .ok_or_else(|| "\"origin\", \"viewer\", or a host name".into()),
    }
}

fn check_version(table: &Table<'_>, version: Option<&Found<HttpVersion>>, kind: &OriginKind) {
    if let (Some(version), OriginKind::Directory(_)) = (version, kind) {
        table.problem(
            &version.span,
            "http_version is of no meaning for a folder",
            Some("leave it out".into()),
        );
    }
}

fn check_signed(
    table: &Table<'_>,
    url: &Found<String>,
    access: Option<&AccessControl>,
    kind: &OriginKind,
) {
    if let (Some(access), OriginKind::Http(http)) = (access, kind)
        && access.signing != Signing::Never
        && http.host_rule != HostRule::Origin
    {
        table.problem(
            &url.span,
            "a signed request must be for the origin's own host",
            Some("leave out host = …".into()),
        );
    }
}

/// What says that an origin is asked by the scheme that the viewer came by.
struct Matching {
    wished: Option<Range<usize>>,
    port: Option<Found<u64>>,
}

impl Matching {
    fn read(table: &mut Table<'_>) -> Self {
        let wished = table.flag("match_viewer").filter(|found| found.value);
        let port = table.number("http_port", 1, 65_535);
        Self { wished: wished.map(|found| found.span), port }
    }

    // The origin in clear text, where there is to be one.
    fn clear(self, table: &Table<'_>, origin: &Origin) -> Option<Origin> {
        let Some(wished) = self.wished else {
            if let Some(port) = &self.port {
                let title = "http_port is of no meaning without match_viewer = true";
                table.problem(&port.span, title, Some("an http url has its port in it".into()));
            }
            return None;
        };
        let OriginKind::Http(http @ HttpOrigin { tls: Some(_), .. }) = &origin.kind else {
            let title = "match_viewer needs an https url: there viewers over https are asked for";
            let help = "url = \"https://…\", and http_port where it is not 80";
            table.problem(&wished, title, Some(help.into()));
            return None;
        };
        let port = self.port.map_or(80, |found| found.value as u16);
        // As at CloudFront, HTTP/2 is for TLS.
        let http = HttpOrigin { port, tls: None, version: HttpVersion::Http1, ..http.clone() };
        Some(Origin { kind: OriginKind::Http(http), ..origin.clone() })
    }
}

// The parent that is asked last before an origin, by its URL.
fn shield(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<String> {
    let found = table.parsed("shield", ParentUrl::parse)?;
    if scope.shields.as_ref().is_some_and(|known| !known.contains(&found.value)) {
        table.problem(
            &found.span,
            format!("the shield {} is no parent of this node", found.value),
            Some("add its [[region.parent]], or, if it is this node, set region.own_url".into()),
        );
    }
    Some(found.value.to_string())
}

// Where nothing is resolved, a kind of addresses is a mistake or says nothing.
fn check_family(table: &Table<'_>, family: &Found<Family>, kind: &OriginKind) {
    let why = match kind {
        OriginKind::Directory(_) => "ip is of no meaning for a folder".to_string(),
        OriginKind::Http(http) => {
            let bare = http.host.trim_start_matches('[').trim_end_matches(']');
            match bare.parse::<IpAddr>() {
                Ok(address) if !family.value.takes(address) => {
                    format!("ip = {:?}, and url has the address {address}", family.value.word())
                }
                _ => return,
            }
        }
    };
    table.problem(&family.span, why, Some("leave it out".into()));
}

/// How an origin is asked, wherever it is.
struct How {
    host_rule: HostRule,
    version: HttpVersion,
    family: Family,
    tls: Option<OriginTls>,
}

fn origin_url(url: &str, folder: &Path, how: How) -> Result<(OriginKind, String), String> {
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
    if path.contains(['?', '#', ' ']) || !crate::message::path::is_safe_path(path) {
        return Err("an origin path is plain: no query, no dot segments".into());
    }
    let How { host_rule, version, family, tls } = how;
    let tls = match (is_https, tls) {
        (true, tls) => Some(tls.unwrap_or(OriginTls {
            roots: Roots::System,
            server_name: None,
            identity: None,
            min: TlsVersion::V1_2,
            more_names: Vec::new(),
        })),
        (false, None) => None,
        (false, Some(_)) => return Err("tls settings on an http origin".into()),
    };
    let port = authority.port.unwrap_or(if is_https { 443 } else { 80 });
    let (host, reach) = (authority.host.to_string(), Reach::Anywhere);
    let http = HttpOrigin { host, port, tls, host_rule, version, family, reach };
    Ok((OriginKind::Http(http), path.trim_end_matches('/').to_string()))
}

/// Reads TLS settings: whose certificates count, for which name, and our own.
pub fn origin_tls(mut table: Table<'_>, folder: &Path, scope: &mut Scope<'_>) -> Option<OriginTls> {
    let roots = roots(&mut table, folder, &mut scope.files);
    let server_name = server_name(&mut table);
    let min = table
        .word("min", &[("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)])
        .map_or(TlsVersion::V1_2, |found| found.value);
    let (chain, key) = (table.string("chain"), table.string("key"));
    let identity = match (chain, key, table.string("certificate_id")) {
        (None, None, None) => None,
        (None, None, Some(id)) => compile_identities::named(&table, &id, scope),
        (Some(chain), Some(key), None) => {
            compile_identities::of_files(&table, folder, (&chain, &key), scope)
        }
        (_, _, Some(id)) => {
            let title = "a client certificate is that of chain and key or of an id, not of both";
            table.problem(&id.span, title, None);
            None
        }
        _ => {
            table.problem(&table.span(), "a client certificate needs both chain and key", None);
            None
        }
    };
    let tls = OriginTls {
        roots: roots.unwrap_or(Roots::System),
        server_name,
        identity,
        min,
        more_names: Vec::new(),
    };
    if let Err(why) = crate::tls::client::client_config(&tls) {
        table.problem(&table.span(), why, None);
    }
    table.finish();
    Some(tls)
}

/// Reads `server_name`: a name, or an address, that a certificate can be for.
pub fn server_name(table: &mut Table<'_>) -> Option<String> {
    let found = table.string("server_name")?;
    if let Err(failure) = crate::tls::client::server_name(&found.value) {
        table.problem(
            &found.span,
            failure.detail,
            Some("a name as in a certificate, without port: \"app.example.com\"".into()),
        );
    }
    Some(found.value)
}

/// Reads `ca = "system"` or a PEM file.
pub fn roots(table: &mut Table<'_>, folder: &Path, files: &mut Vec<PathBuf>) -> Option<Roots> {
    let ca = table.string("ca")?;
    if ca.value == "system" {
        return Some(Roots::System);
    }
    let path = super::at(folder, &ca.value);
    files.push(path.clone());
    match decode::certificates(&path) {
        Ok(all) if !all.is_empty() => {
            Some(Roots::Given(all.into_iter().map(|der| der.to_vec()).collect()))
        }
        Ok(_) => {
            table.problem(&ca.span, format!("{} holds no certificate", path.display()), None);
            None
        }
        Err(error) => {
            table.problem(
                &ca.span,
                format!("{}: {error}", path.display()),
                Some("\"system\", or a file of PEM certificates".into()),
            );
            None
        }
    }
}

/// `headers`: fields of each request, whose values may be secrets.
pub fn headers(
    table: &mut Table<'_>,
    folder: &Path,
    scope: &mut Scope<'_>,
) -> Vec<(HeaderName, Secret<HeaderValue>)> {
    let mut all = Vec::new();
    let Some(inner) = table.table("headers") else { return all };
    for (name, value) in inner.rest() {
        let Ok(header) = HeaderName::from_bytes(name.value.as_bytes()) else {
            table.problem(&name.span, format!("{:?} is no field name", name.value), None);
            continue;
        };
        if is_reserved(&header) {
            table.problem(
                &name.span,
                format!("{header} may not be set on an origin"),
                Some("CloudFront does not allow it either".into()),
            );
            continue;
        }
        let text = match value {
            Ok(found) => Some(found.value),
            Err(secret) => credentials::secret(secret, folder, &mut scope.files)
                .map(|secret| secret.expose().clone()),
        };
        let Some(text) = text else { continue };
        match HeaderValue::from_str(&text) {
            Ok(mut value) => {
                value.set_sensitive(true);
                all.push((header, Secret::new(value)));
            }
            Err(_) => table.problem(
                &name.span,
                format!("the value of {header} has characters that a field cannot have"),
                None,
            ),
        }
    }
    all
}

fn timeouts(table: &mut Table<'_>) -> Timeouts {
    let mut timeouts = Timeouts::default();
    let Some(mut inner) = table.table("timeouts") else { return timeouts };
    for (key, slot) in [
        ("connect", &mut timeouts.connect),
        ("response", &mut timeouts.response),
        ("idle", &mut timeouts.idle),
    ] {
        if let Some(found) = inner.duration(key) {
            if found.value.is_zero() {
                inner.problem(&found.span, format!("timeouts.{key} is zero"), None);
            } else {
                *slot = found.value;
            }
        }
    }
    if let Some(found) = inner.duration("complete") {
        timeouts.complete = Some(found.value);
        if found.value < timeouts.response {
            let title = "timeouts.complete is shorter than timeouts.response";
            let help = "CloudFront wants it to be as long at least";
            inner.problem(&found.span, title, Some(help.into()));
        }
    }
    inner.finish();
    timeouts
}

/// Every `[[distribution.origin_group]]`.
pub fn groups(table: &mut Table<'_>, origins: &Origins) -> Vec<OriginGroup> {
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
        let failover = one.numbers("failover", 400, 599).map_or_else(
            || vec![500, 502, 503, 504],
            |found| found.value.iter().map(|n| *n as u16).collect(),
        );
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
    // Why none could be read is told where they stand.
    if origins.is_empty() {
        return;
    }
    let known = || origins.iter().map(|(id, _)| id.as_str());
    let help = match nearest(&found.value, known()) {
        Some(near) => format!("did you mean {near:?}?"),
        None => format!("known: {}", known().collect::<Vec<_>>().join(", ")),
    };
    table.problem(&found.span, format!("there is no origin {:?}", found.value), Some(help));
}

/// Which origin or group a behavior names.
pub fn target(
    table: &Table<'_>,
    found: &Found<String>,
    origins: &Origins,
    groups: &[OriginGroup],
) -> Option<Target> {
    if let Some(at) = origins.iter().position(|(id, _)| *id == found.value) {
        return Some(Target::Origin(at));
    }
    if let Some(at) = groups.iter().position(|group| group.id == found.value) {
        return Some(Target::Group(at));
    }
    unknown_origin(table, found, origins);
    None
}
