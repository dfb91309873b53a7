//! What loads and is likely not to be meant: said when a configuration is checked, taken at start,
//! and taken again.

use std::sync::Arc;

use crate::distribution::behavior::Behavior;
use crate::distribution::cache_policy::{ForwardHeaders, Listed, Semantics};
use crate::distribution::functions::{Attached, Function, FunctionSettings, OriginInKey};
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

/// A line for each behavior that is meant for WebSockets, by its policies or its path, and whose
/// policies keep the handshake back. They open here all the same (`origin/request.rs`); at
/// CloudFront they would not (AWS, "Use WebSockets with CloudFront distributions"). Of any other
/// behavior nothing is said: most are for pages, and their policies are right.
pub fn without_handshake(distribution: &Distribution) -> Vec<String> {
    let line = |behavior: &Behavior| {
        let missing = handshake_kept_back(behavior);
        let is_meant = names_handshake(behavior) || is_socket_path(behavior.pattern.as_str());
        (is_meant && !missing.is_empty()).then(|| {
            format!(
                "distribution {:?}, behavior {:?}: WebSockets open here, and CloudFront would open none: no policy forwards {} (origin_request_policy {:?}, \
                 cache_policy {:?}). For the same behavior there, forward them, as AllViewer does",
                distribution.id,
                behavior.pattern.as_str(),
                missing.join(" and "),
                behavior.origin_request.name,
                behavior.cache.name
            )
        })
    };
    distribution.behaviors.iter().filter_map(line).collect()
}

/// A line for each behavior whose calls of gRPC reach the origin without their metadata.
pub fn without_metadata(distribution: &Distribution) -> Vec<String> {
    let line = |behavior: &Behavior| {
        let is_kept_back = behavior.semantics() == Semantics::CloudFront
            && behavior.origin_request.headers == ForwardHeaders::None;
        (behavior.grpc && is_kept_back).then(|| {
            format!(
                "distribution {:?}, behavior {:?}: calls of gRPC reach the origin without their metadata: no policy forwards it \
                 (origin_request_policy {:?}). AllViewerExceptHostHeader does",
                distribution.id,
                behavior.pattern.as_str(),
                behavior.origin_request.name
            )
        })
    };
    distribution.behaviors.iter().filter_map(line).collect()
}

/// A line for each behavior that keeps answers while its viewer-request function chooses origins
/// that are in no key: as at CloudFront, viewers who were sent to different origins share an answer.
pub fn unkeyed_choice(
    distribution: &Distribution,
    functions: &[Arc<Function>],
    settings: &FunctionSettings,
) -> Vec<String> {
    const CALLS: [&str; 3] =
        ["updateRequestOrigin", "selectRequestOriginById", "createRequestOriginGroup"];
    let line = |behavior: &Behavior| {
        let Some(Attached::Function(at)) = behavior.hooks.as_ref()?.viewer_request else {
            return None;
        };
        let function = functions.get(at)?;
        let call = CALLS.iter().find(|call| function.source.contains(**call))?;
        let is_shared = settings.origin_in_key == OriginInKey::No && !behavior.cache.ttl.is_off();
        is_shared.then(|| {
            format!(
                "distribution {:?}, behavior {:?}: answers are kept, and function {} chooses their origin ({call}), which is not in their key. Put what it \
                 chooses by into the key, set functions.origin_in_key = \"yes\", or cache_policy = \"CachingDisabled\"",
                distribution.id,
                behavior.pattern.as_str(),
                function.name
            )
        })
    };
    distribution.behaviors.iter().filter_map(line).collect()
}

// What an origin needs of a handshake and does not get by any policy.
fn handshake_kept_back(behavior: &Behavior) -> Vec<&'static str> {
    if behavior.semantics() == Semantics::Rfc9111 {
        return Vec::new();
    }
    let (key, more) = (&behavior.cache.key.headers, &behavior.origin_request.headers);
    let mut names = vec!["sec-websocket-key", "sec-websocket-version"];
    names.retain(|name| !key.contains(*name) && !more.includes(*name));
    names
}

fn names_handshake(behavior: &Behavior) -> bool {
    let listed = match &behavior.origin_request.headers {
        ForwardHeaders::Only(names) => names.texts(),
        _ => Vec::new(),
    };
    let keyed = behavior.cache.key.headers.texts();
    listed.iter().chain(&keyed).any(|name| name.to_ascii_lowercase().starts_with("sec-websocket-"))
}

// Says whether a word of a path pattern speaks of sockets: `/ws/*`, `/socket.io/*`.
fn is_socket_path(pattern: &str) -> bool {
    const WORDS: [&str; 6] = ["ws", "wss", "websocket", "websockets", "socket", "sockets"];
    pattern
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| WORDS.iter().any(|known| word.eq_ignore_ascii_case(known)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_speak_of_sockets() {
        for path in ["ws", "/ws/*", "/api/WS", "/socket.io/*", "*/websocket", "/chat-ws?*"] {
            assert!(is_socket_path(path), "{path}");
        }
        for path in ["*", "/news/*", "/aws/*", "/rockets/*", "/wsdl", "/*.wsx"] {
            assert!(!is_socket_path(path), "{path}");
        }
    }
}
