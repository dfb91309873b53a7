//! What a viewer's own write makes old: the URL it went to, and what the answer points at (RFC 9111
//! §4.4).

use http::Method;
use http::header::{CONTENT_LOCATION, LOCATION};

use super::ask::CacheRequest;
use super::invalidations::{Matcher, canonical};
use crate::distribution::host::parse_authority;
use crate::message::connection::Scheme;
use crate::message::forwarding;
use crate::message::request::split_target;
use crate::semantics::fields::FieldSection;

/// The invalidations that follow from an answer; none unless an unsafe method succeeded.
///
/// A method that is not known counts as unsafe, a POST that a behavior takes for a query does not,
/// nor a call of gRPC, whose URL names a procedure; a failure changes nothing.
pub fn invalidates(asked: &CacheRequest<'_>, status: u16, fields: &FieldSection) -> Vec<Matcher> {
    let head = asked.head();
    let is_query = *head.method == Method::POST && asked.routed.behavior.cache_post.is_some();
    let is_no_write = is_query || asked.wants.is_call();
    if is_no_write || is_safe(head.method) || !(200..400).contains(&status) {
        return Vec::new();
    }
    let mut all: Vec<Matcher> = own_url(asked).into_iter().collect();
    for name in [LOCATION, CONTENT_LOCATION] {
        let target = fields
            .get(&name)
            .and_then(|value| value.to_str().ok())
            .and_then(|text| same_origin(asked, text));
        if let Some(target) = target {
            let (path, query) = split_target(&target);
            all.extend(matcher(asked, path, query).filter(|more| !all.contains(more)));
        }
    }
    all
}

/// The URL that is asked for, in all its variants; `None` where nothing can be stored under it.
pub fn own_url(asked: &CacheRequest<'_>) -> Option<Matcher> {
    matcher(asked, asked.routed.path, asked.head().query)
}

// Those that the method registry calls safe and http does not know.
fn is_safe(method: &Method) -> bool {
    method.is_safe()
        || matches!(method.as_str(), "PROPFIND" | "REPORT" | "SEARCH" | "QUERY" | "PRI")
}

// Host and port of an authority, the port being the scheme's own where none is named.
fn place(authority: &str, scheme: Scheme) -> Option<(String, u16)> {
    let usual = if scheme == Scheme::Https { 443 } else { 80 };
    let found = parse_authority(authority)?;
    Some((found.host.to_ascii_lowercase(), found.port.unwrap_or(usual)))
}

// The URL as keys of its own behavior hold it; none where nothing can be stored under it, on
// neither side of a deployment.
fn matcher(asked: &CacheRequest<'_>, path: &str, query: Option<&str>) -> Option<Matcher> {
    let distribution = asked.routed.distribution;
    let behavior = distribution.behavior(path);
    if behavior.cache.ttl.is_off() && !distribution.is_deploying {
        return None;
    }
    let mut url = Vec::new();
    forwarding::write_keyed_url(&mut url, behavior, path, query);
    Some(Matcher::Path(canonical(&url).into_owned()))
}

/// A reference resolved against the request's URL: path and query, if it stays with the same host.
pub fn same_origin(asked: &CacheRequest<'_>, reference: &str) -> Option<String> {
    let head = asked.head();
    let reference = reference.split('#').next().unwrap_or("");
    let (scheme, without_scheme) =
        match (reference.strip_prefix("https:"), reference.strip_prefix("http:")) {
            (Some(rest), _) => (Scheme::Https, rest),
            (_, Some(rest)) => (Scheme::Http, rest),
            _ => (head.scheme, reference),
        };
    let local = match without_scheme.strip_prefix("//") {
        Some(rest) => {
            let cut = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, path) = rest.split_at(cut);
            if place(authority, scheme) != place(head.authority, head.scheme) {
                return None;
            }
            if path.starts_with('/') { path.to_string() } else { format!("/{path}") }
        }
        None if without_scheme.starts_with('/') => without_scheme.to_string(),
        None if without_scheme.starts_with('?') => format!("{}{without_scheme}", asked.routed.path),
        None if without_scheme.is_empty() => return None,
        None => {
            let folder = asked.routed.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            format!("{folder}/{without_scheme}")
        }
    };
    Some(without_dots(&local))
}

// Dot segments resolved (RFC 3986 §5.2.4).
fn without_dots(target: &str) -> String {
    let (path, query) = split_target(target);
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(kept.pop()),
            other => kept.push(other),
        }
    }
    if matches!(path.rsplit('/').next(), Some("." | "..")) {
        kept.push("");
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", kept.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dot_segments_are_resolved() {
        for (target, expected) in [
            ("/a/b/../c?x=..", "/a/c?x=.."),
            ("/a/./b", "/a/b"),
            ("/../a", "/a"),
            ("/a/..", "/"),
            ("/", "/"),
        ] {
            assert_eq!(without_dots(target), expected, "{target}");
        }
    }
}
