//! What loads and is likely not to be meant: said when a configuration is checked, taken at start,
//! and taken again.

use std::sync::Arc;

use crate::distribution::acme::{Acme, Challenge, Folder, Orders};
use crate::distribution::behavior::{Behavior, ViewerProtocol};
use crate::distribution::cache_policy::{ForwardHeaders, Listed, Semantics};
use crate::distribution::functions::{Attached, Function, FunctionSettings, OriginInKey};
use crate::distribution::host::HostTable;
use crate::distribution::site::{Distribution, Listen, Observes};
use crate::message::forwarding::added_names;

/// What is found in a distribution by itself, whatever stands beside it.
pub struct Findings {
    pub unkeyed: Vec<String>,
    pub plain_text: Vec<String>,
    pub without_handshake: Vec<String>,
    pub without_metadata: Vec<String>,
    /// What is looked at of its viewers because a policy or a log names it.
    pub observes: Observes,
}

impl Findings {
    /// Looks through the behaviors of a distribution.
    pub fn of(distribution: &Distribution) -> Self {
        Self {
            unkeyed: unkeyed(distribution),
            plain_text: plain_text(distribution),
            without_handshake: without_handshake(distribution),
            without_metadata: without_metadata(distribution),
            observes: observes(distribution),
        }
    }
}

/// A line for each behavior that keeps answers while its origin sees more of the viewer than is in
/// the key.
///
/// Under the rules of RFC 9111 there is none: there an origin sees everything, and says by Vary
/// what mattered.
fn unkeyed(distribution: &Distribution) -> Vec<String> {
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

/// Lines for certificates that are ordered and may not come, or may come to be of no use.
pub fn ordered(all: &[Acme], listen: &Listen, hosts: &HostTable, has_fleet: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for acme in all {
        let first = acme.names.first().map_or("", String::as_str);
        let unserved = acme.names.iter().filter(|name| !name.starts_with("*."));
        for name in unserved.filter(|name| hosts.find(name).is_none()) {
            lines.push(format!(
                "a certificate is ordered for {name:?}, and no distribution has this host"
            ));
        }
        let is_own = matches!(acme.folder, Folder::Own(_)) && acme.orders == Orders::Here;
        if has_fleet && is_own && !matches!(acme.challenge, Challenge::Dns01(_)) {
            lines.push(format!(
                "the certificate for {first:?}: each edge of the fleet orders its own, and only the one that did can answer the CA; \
                 set acme.orderer to the member that orders for all, or challenge = \"dns-01\""
            ));
        }
        let (missing, key) = match acme.challenge {
            Challenge::Http01 => (listen.http.is_empty(), "listen.http"),
            Challenge::TlsAlpn01 => (listen.https.is_empty(), "listen.https"),
            Challenge::Dns01(_) => (false, ""),
        };
        if missing {
            lines.push(format!(
                "the certificate for {first:?} is proved by {}, and {key} is empty: the CA will find no answer here",
                acme.challenge.word()
            ));
        }
    }
    lines
}

/// A line for each behavior that is meant for WebSockets, by its policies or its path, and whose
/// policies keep the handshake back. They open here all the same (`origin/request.rs`); at
/// CloudFront they would not (AWS, "Use WebSockets with CloudFront distributions"). Of any other
/// behavior nothing is said: most are for pages, and their policies are right.
fn without_handshake(distribution: &Distribution) -> Vec<String> {
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
fn without_metadata(distribution: &Distribution) -> Vec<String> {
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

/// A line for each behavior with field-level encryption whose forms are seen in plain text
/// somewhere, beyond what CloudFront allows, or by its own code.
fn plain_text(distribution: &Distribution) -> Vec<String> {
    let line = |behavior: &Behavior| {
        let known = behavior.field_encryption.as_ref()?;
        let viewer_request = behavior.hooks.as_ref().and_then(|hooks| hooks.viewer_request);
        let reads = matches!(viewer_request, Some(Attached::Lambda { with_body: true, .. }));
        let whys: Vec<&str> = [
            (
                behavior.viewer_protocol == ViewerProtocol::AllowAll,
                "viewers may send forms without TLS; viewer_protocol = \"https-only\" keeps them from it",
            ),
            (reads, "its lambda at viewer_request reads bodies before they are encrypted"),
        ]
        .into_iter()
        .filter_map(|(is_so, why)| is_so.then_some(why))
        .collect();
        (!whys.is_empty()).then(|| {
            format!(
                "distribution {:?}, behavior {:?}: field_encryption = {:?}, and {}",
                distribution.id,
                behavior.pattern.as_str(),
                known.name,
                whys.join("; ")
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

fn observes(distribution: &Distribution) -> Observes {
    let mut observes = Observes::default();
    for name in distribution.behaviors.iter().flat_map(added_names) {
        match name.as_str() {
            "cloudfront-viewer-header-order" => observes.header_order = true,
            "cloudfront-viewer-ja3-fingerprint" | "cloudfront-viewer-ja4-fingerprint" => {
                observes.fingerprints = true;
            }
            _ => {}
        }
    }
    observes
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
