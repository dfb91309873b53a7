//! What loads and is likely not to be meant: said when a configuration is checked, taken at start,
//! and taken again.

use crate::distribution::behavior::Behavior;
use crate::distribution::cache_policy::{ForwardHeaders, Listed, Semantics};
use crate::distribution::site::Distribution;

/// A line for each behavior that keeps answers while its origin sees more of the viewer than is in
/// the key.
///
/// Under the rules of RFC 9111 there is none: there an origin sees everything, and says by Vary
/// what mattered.
pub fn unkeyed(distribution: &Distribution) -> Vec<String> {
    let line = |behavior: &Behavior| {
        if behavior.cache.ttl.is_off() || behavior.semantics() == Semantics::Rfc9111 {
            return None;
        }
        let seen = seen_beside_the_key(behavior);
        (!seen.is_empty()).then(|| {
            format!(
                "distribution {:?}, behavior {:?}: answers are kept, and the origin sees what is not in their key: {} (origin_request_policy {:?}, \
                 cache_policy {:?}). One viewer's words may shape what others get. Put into the key what matters, send less, or set \
                 cache_policy = \"CachingDisabled\"",
                distribution.id,
                behavior.pattern.as_str(),
                seen.join("; "),
                behavior.origin_request.name,
                behavior.cache.name
            )
        })
    };
    distribution.behaviors.iter().filter_map(line).collect()
}

fn seen_beside_the_key(behavior: &Behavior) -> Vec<String> {
    let (key, more) = (&behavior.cache.key, &behavior.origin_request);
    let fields = fields_beside_the_key(behavior);
    let cookies = beyond(&more.cookies, &key.cookies).map(|which| format!("cookies: {which}"));
    let query = beyond(&more.query, &key.query).map(|which| format!("query parameters: {which}"));
    fields.into_iter().chain(cookies).chain(query).collect()
}

// Host and scheme are in the key wherever they reach an origin, and X-Forwarded-For is always of
// this edge's making.
fn fields_beside_the_key(behavior: &Behavior) -> Option<String> {
    const NEVER_UNKEYED: [&str; 3] = ["host", "cloudfront-forwarded-proto", "x-forwarded-for"];
    let keyed = behavior.cache.key.headers.texts();
    let codings = !behavior.cache.compress.is_empty();
    let beside = |name: &&str| {
        !(NEVER_UNKEYED.contains(name)
            || keyed.contains(name)
            || codings && *name == http::header::ACCEPT_ENCODING.as_str())
    };
    let all = "fields: all of the viewer's";
    match &behavior.origin_request.headers {
        ForwardHeaders::None => None,
        ForwardHeaders::AllViewer | ForwardHeaders::AllViewerAnd(_) => Some(all.into()),
        ForwardHeaders::AllViewerExcept(names) => {
            Some(format!("{all} but {}", names.texts().join(", ")))
        }
        ForwardHeaders::Only(names) => {
            let left: Vec<&str> = names.texts().into_iter().filter(beside).collect();
            (!left.is_empty()).then(|| format!("fields: {}", left.join(", ")))
        }
    }
}

// What one choice has beyond another, in words.
fn beyond(more: &Listed, key: &Listed) -> Option<String> {
    match (more, key) {
        (Listed::None, _) | (_, Listed::All) => None,
        (more, key) if more == key => None,
        (Listed::All, Listed::None) => Some("all".into()),
        (Listed::All, Listed::Only(names)) => Some(format!("all but {}", names.texts().join(", "))),
        (Listed::All, Listed::Except(names)) => Some(names.texts().join(", ")),
        (Listed::Except(names), _) => {
            Some(format!("all but {}, as far as the key has them not", names.texts().join(", ")))
        }
        (Listed::Only(names), key) => {
            let left: Vec<&str> =
                names.texts().into_iter().filter(|name| !key.includes(name)).collect();
            (!left.is_empty()).then(|| left.join(", "))
        }
    }
}
