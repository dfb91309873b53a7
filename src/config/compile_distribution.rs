//! One `[[distribution]]`: its hosts, its side of a deployment, which viewers may see it; origins
//! and behaviors are their own files'.

use std::ops::Range;
use std::sync::Arc;

use http::HeaderName;

use super::compile_behavior::{behaviors, error_responses};
use super::compile_origin::{groups, origins};
use super::compile_viewer_tls::{Side, client_certificates};
use super::credentials;
use super::reader::{Found, Table};
use super::scope::{HostAt, Scope};
use super::warnings::Findings;
use crate::base::secret::Secret;
use crate::distribution::compat::{CloudFront, Compat};
use crate::distribution::geo::GeoRestriction;
use crate::distribution::host::HostPattern;
use crate::distribution::site::{Distribution, HttpVersions, Serving};
use crate::distribution::staging::{Chosen, Sticky};

/// A distribution, and where its names stand in the file.
pub struct Made {
    pub distribution: Arc<Distribution>,
    pub hosts: Arc<[HostAt]>,
    pub id_span: Range<usize>,
    pub source: usize,
    /// It is tried out on another distribution's viewers: which distribution's, and which of them.
    pub staging: Option<StagingOf>,
    pub findings: Arc<Findings>,
}

/// `staging` of a distribution.
pub struct StagingOf {
    pub of: Found<String>,
    pub chosen: Chosen,
}

/// Reads one `[[distribution]]`; `None` if it cannot be used, each mistake being reported.
pub fn read(mut table: Table<'_>, scope: &mut Scope<'_>) -> Option<Made> {
    let id = table.parsed("id", plain_id);
    let comment = table.string("comment").map(|found| found.value);
    let serving = match table.truth("enabled") {
        Some(Found { value: false, .. }) => Serving::Off,
        _ => Serving::On,
    };
    let tags = tags(&mut table);
    let staging = staging(&mut table);
    let hosts = if staging.is_some() { Vec::new() } else { hosts(&mut table) };
    let default_root_object = table.parsed("default_root_object", root_object);
    let tag_header = table.parsed("tag_header", |name| {
        HeaderName::from_bytes(name.as_bytes()).map_err(|_| "this is no field name".into())
    });
    let (x_cache, compat) = (table.word("x_cache", &FACES), table.word("compat", &FACES));
    let versions = http_versions(&mut table);
    let purge = purge(&mut table, scope);
    let geo_restriction = geo_restriction(&mut table);
    let side = if staging.is_some() { Side::Staging } else { Side::Primary };
    let client_certificates = client_certificates(&mut table, scope, side);
    let origins = origins(&mut table, scope);
    let groups = groups(&mut table, &origins);
    let error_responses = error_responses(&mut table);
    let behaviors = behaviors(&mut table, scope, &origins, &groups);
    if id.is_none() && !table.has("id") {
        table.missing("id", "id = \"EDEMO\"");
    }
    let source = table.source();
    let span = table.span();
    table.finish();
    let id = id?;
    let compat = compat.map_or("foreshore", |found| found.value);
    let name = x_cache.map_or(compat, |found| found.value);
    let compat = Compat {
        name: name.into(),
        cloudfront: (compat == "cloudfront").then(|| cloudfront(&id.value, &scope.pop)),
    };
    let distribution = Distribution {
        id: id.value,
        comment,
        serving,
        tags,
        hosts: hosts.iter().map(|host| host.value.to_string()).collect(),
        default_root_object: default_root_object.map(|found| found.value),
        origins: origins.into_iter().map(|(_, origin)| Arc::new(origin)).collect(),
        groups,
        behaviors,
        error_responses,
        tag_header: tag_header.map_or(HeaderName::from_static("cache-tag"), |found| found.value),
        purge,
        geo_restriction,
        versions: versions.map_or(HttpVersions::Spoken, |found| found.value),
        client_certificates,
        is_deploying: false,
        staging: None,
        compat,
    };
    Some(Made {
        findings: Arc::new(Findings::of(&distribution)),
        distribution: Arc::new(distribution),
        hosts: hosts.into(),
        id_span: if id.span.is_empty() { span } else { id.span },
        source,
        staging,
    })
}

fn plain_id(id: &str) -> Result<String, String> {
    let is_plain = !id.is_empty()
        && id.len() <= 64
        && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    is_plain
        .then(|| id.to_string())
        .ok_or_else(|| "an id has 1 to 64 letters, digits, - or _".into())
}

// Its path.
fn root_object(name: &str) -> Result<String, String> {
    if name.starts_with('/') || name.is_empty() {
        Err("a default root object is named without a slash in front, such as \"index.html\""
            .into())
    } else {
        Ok(format!("/{name}"))
    }
}

// CloudFront's `HttpVersion`.
fn http_versions(table: &mut Table<'_>) -> Option<Found<HttpVersions>> {
    table.parsed("http_version", |word| match word {
        "http1.1" => Ok(HttpVersions::Http1),
        "http2" => Ok(HttpVersions::Http2),
        "http3" => Ok(HttpVersions::Http3),
        "http2and3" => Ok(HttpVersions::Http2And3),
        _ => Err("known are \"http1.1\", \"http2\", \"http3\" and \"http2and3\"".into()),
    })
}

// The operator's words for a distribution, as the API has them.
fn tags(table: &mut Table<'_>) -> Vec<(String, String)> {
    let Some(inner) = table.table("tags") else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in inner.rest() {
        match value {
            Ok(found) => all.push((name.value, found.value)),
            Err(other) => other.problem(
                &name.span,
                format!("the tag {:?} is a table", name.value),
                Some("a tag is a text: team = \"edge\"".to_string()),
            ),
        }
    }
    all
}

const FACES: [(&str, &str); 2] = [("foreshore", "foreshore"), ("cloudfront", "cloudfront")];

// The host in Via is made of the distribution's id, so that it is the same on every edge.
fn cloudfront(id: &str, pop: &str) -> CloudFront {
    let host = &crate::crypto::sigv4::sha256(id.as_bytes())[..32];
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
    let share = one.percent("percent").map(|found| found.value);
    let sticky = one.table("sticky").map(|mut sticky| {
        let mut seconds = |key: &'static str, usual: u64| {
            sticky.duration(key).map_or(usual, |found| found.value.as_secs())
        };
        let (idle, most) = (seconds("idle", 300), seconds("max", 3600));
        if idle == 0 || idle > most {
            sticky.problem(
                &sticky.span(),
                "a session is idle for at least a second, and no longer than it lasts",
                None,
            );
        }
        sticky.finish();
        Sticky { idle, most }
    });
    let header = one.table("header").and_then(|mut header| {
        let name =
            header.parsed("name", |name| match http::HeaderName::from_bytes(name.as_bytes()) {
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
    let chosen = match (share, header) {
        (Some(share), None) => Some(Chosen::ByWeight { share, sticky }),
        (None, Some((name, value))) => Some(Chosen::ByHeader { name, value }),
        _ => {
            let help = "percent = 5, or header = { name = \"aws-cf-cd-try\", value = \"1\" }";
            one.problem(
                &span,
                "say who sees it: a share of the viewers, or those with a header",
                Some(help.into()),
            );
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

// The token that the method PURGE needs.
fn purge(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Secret<String>> {
    let mut one = table.table("purge")?;
    let folder = scope.folder(one.source());
    let token = one
        .table("token")
        .and_then(|secret| credentials::secret(secret, &folder, &mut scope.files));
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
