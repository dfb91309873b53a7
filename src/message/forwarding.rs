//! What of a request its policies choose: the parts that make the key, and the parts that reach the
//! origin.
//!
//! Key and origin request are both written by these functions and by nothing else, so that what
//! shapes an answer and what tells answers apart cannot drift (src/DECISIONS.md, "One function
//! writes key and origin request").

use http::HeaderName;

use super::connection::{Asker, Connection, Forwarder, Version};
use super::request::{Known, RequestHead};
use crate::crypto::url::signs;
use crate::distribution::behavior::Behavior;
use crate::distribution::cache_policy::{Codings, ForwardHeaders, Listed, Semantics};
use crate::semantics::device::Device;
use crate::semantics::fields::Name;
use crate::semantics::forwarded::{is_client_cert, speaks_as_proxy};
use crate::semantics::hop_by_hop::is_hop_by_hop;
use crate::semantics::lists::{members, trim};
use crate::semantics::vary::is_ours;
use crate::semantics::vary::weight;

/// Appends `?` and the chosen query parameters, in the viewer's order and spelling.
fn write_query(
    out: &mut Vec<u8>,
    behavior: &Behavior,
    query: Option<&str>,
    chosen: impl Fn(&str) -> bool,
    all: bool,
) {
    let Some(query) = query else { return };
    // What signs a URL tells viewers apart and not what they see: it is in no key, and no origin
    // sees it.
    let is_signed = behavior.signers.is_some();
    if all && !is_signed {
        out.push(b'?');
        out.extend_from_slice(query.as_bytes());
        return;
    }
    let mut mark = b'?';
    for parameter in query.split('&').filter(|p| !p.is_empty()) {
        let name = parameter.split_once('=').map_or(parameter, |(name, _)| name);
        if (all || chosen(name)) && !is_signature(behavior, name) {
            out.push(mark);
            out.extend_from_slice(parameter.as_bytes());
            mark = b'&';
        }
    }
}

/// Appends path and query as the key holds them.
pub fn write_keyed_url(out: &mut Vec<u8>, behavior: &Behavior, path: &str, query: Option<&str>) {
    out.extend_from_slice(path.as_bytes());
    let listed = &behavior.cache.key.query;
    write_query(out, behavior, query, |name| listed.includes(name), *listed == Listed::All);
}

/// Appends path and query as the origin sees them: the key's, and what an origin request policy
/// adds.
pub fn write_origin_url(out: &mut Vec<u8>, behavior: &Behavior, path: &str, query: Option<&str>) {
    out.extend_from_slice(path.as_bytes());
    let (keyed, more) = (&behavior.cache.key.query, &behavior.origin_request.query);
    let all = *keyed == Listed::All || *more == Listed::All;
    write_query(out, behavior, query, |name| keyed.includes(name) || more.includes(name), all);
}

/// Says whether a parameter of this name, as it is spelled, signs the URL for us.
pub fn is_signature(behavior: &Behavior, name: &str) -> bool {
    behavior.signers.is_some() && signs(name)
}

/// Says whether a parameter of this name, as it is spelled, is one that `write_origin_url` writes.
pub fn parameter_reaches_origin(behavior: &Behavior, name: &str) -> bool {
    let (keyed, more) = (&behavior.cache.key.query, &behavior.origin_request.query);
    (keyed.includes(name) || more.includes(name)) && !is_signature(behavior, name)
}

/// Appends the chosen cookies as one Cookie value, without those that are between the viewer and
/// us; false if there are none.
pub fn write_cookies(
    out: &mut Vec<u8>,
    head: &RequestHead<'_>,
    chosen: impl Fn(&str) -> bool,
) -> bool {
    let start = out.len();
    let lines = head
        .known
        .get(Known::Cookie)
        .is_some()
        .then(|| head.fields.get_all("cookie"))
        .into_iter()
        .flatten();
    for pair in
        lines.flat_map(|line| line.split(|b| *b == b';')).map(trim).filter(|pair| !pair.is_empty())
    {
        let name = pair.split(|b| *b == b'=').next().unwrap_or(b"");
        if std::str::from_utf8(name).is_ok_and(|name| chosen(name) && !is_ours(name.as_bytes())) {
            if out.len() > start {
                out.extend_from_slice(b"; ");
            }
            out.extend_from_slice(pair);
        }
    }
    out.len() > start
}

/// The viewer's Accept-Encoding, reduced to the codings a policy tells apart, in CloudFront's
/// order.
///
/// `br,gzip`, one of them, or nothing; zstd, an extra of ours, comes last.
pub fn write_codings(out: &mut Vec<u8>, head: &RequestHead<'_>, enabled: Codings) {
    let accepted = accepted_codings(head, enabled);
    let start = out.len();
    for (bit, name) in [(Codings::BR, "br"), (Codings::GZIP, "gzip"), (Codings::ZSTD, "zstd")] {
        if accepted.has(bit) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(name.as_bytes());
        }
    }
}

/// The enabled codings that the viewer accepts. In HTTP/1.0 there are none, whatever it says
/// (CloudFront: "Serve compressed files"); its answers have keys of their own, and are asked for as
/// they are.
pub fn accepted_codings(head: &RequestHead<'_>, enabled: Codings) -> Codings {
    let mut accepted = Codings::default();
    let is_said = head.known.has(Known::AcceptEncoding) && head.version != Version::Http10;
    if enabled.is_empty() || !is_said {
        return accepted;
    }
    for member in head.known.all(Known::AcceptEncoding).flat_map(members) {
        let name = trim(member.split(|b| *b == b';').next().unwrap_or(b""));
        let bit = match () {
            () if name.eq_ignore_ascii_case(b"br") => Codings::BR,
            () if name.eq_ignore_ascii_case(b"gzip") || name.eq_ignore_ascii_case(b"x-gzip") => {
                Codings::GZIP
            }
            () if name.eq_ignore_ascii_case(b"zstd") => Codings::ZSTD,
            () => continue,
        };
        if enabled.has(bit) && weight(member) > 0 {
            accepted = accepted.with(bit);
        }
    }
    accepted
}

/// Says whether a field of the viewer's is part of the key, by name.
pub fn is_keyed<'n>(behavior: &Behavior, name: impl Into<Name<'n>>) -> bool {
    let (key, name) = (&behavior.cache.key, name.into());
    key.headers.contains(name)
        || (name == http::header::COOKIE && key.cookies == Listed::All)
        || (name == http::header::HOST && behavior.derived.host_in_key)
        || (name == http::header::ACCEPT_ENCODING && !behavior.cache.compress.is_empty())
}

/// Says whether a field of the viewer's reaches the origin on a request that may be kept.
///
/// Under RFC 9111 rules every end-to-end field does; under CloudFront's only those the policies
/// name. What is said in the name of a proxy does only as [`goes_no_further`] has it. Ranges and
/// conditions never do: the store answers them.
pub fn reaches_origin<'n>(
    behavior: &Behavior,
    forwarder: Forwarder,
    name: impl Into<Name<'n>>,
) -> bool {
    use http::header;
    let name = name.into();
    if is_condition(name) || goes_no_further(behavior, forwarder, name) {
        return false;
    }
    match behavior.semantics() {
        Semantics::Rfc9111 => name != header::HOST || behavior.derived.host_in_key,
        Semantics::CloudFront if name == header::COOKIE => {
            !behavior.cache.key.cookies.is_none() || !behavior.origin_request.cookies.is_none()
        }
        Semantics::CloudFront => {
            is_keyed(behavior, name) || behavior.origin_request.headers.includes(name)
        }
    }
}

/// Says whether a field asks for a part or a version: the store answers these.
pub fn is_condition(name: Name<'_>) -> bool {
    // By length first: most names are turned away by that.
    match name.octets().len() {
        5 => name == "range",
        8 => name == "if-range" || name == "if-match",
        13 => name == "if-none-match",
        17 => name == "if-modified-since",
        19 => name == "if-unmodified-since",
        _ => false,
    }
}

/// Says whether a field is one in which proxies speak of their viewers, from a peer that is not
/// believed in it, and under policies that do not name it. A pattern names nothing.
pub fn goes_no_further<'n>(
    behavior: &Behavior,
    forwarder: Forwarder,
    name: impl Into<Name<'n>>,
) -> bool {
    let name = name.into();
    forwarder == Forwarder::Unknown
        && speaks_as_proxy(name)
        && !behavior.cache.key.headers.names(name)
        && !behavior.origin_request.headers.names(name)
}

/// Says whether a field claims what only this edge says: in CloudFront's name, or of a certificate
/// where viewers are asked for theirs (RFC 9440 §2.4).
pub fn is_claimed<'n>(connection: &Connection, name: impl Into<Name<'n>>) -> bool {
    let name = name.into();
    let asks = || connection.tls.as_ref().is_some_and(|tls| tls.rule.is_some());
    name.begins("cloudfront-") || is_client_cert(name) && asks()
}

/// Says whether the request lets the origin see which viewer asks, outside the key: by a cookie,
/// credentials, a field or a parameter that an origin request policy adds.
///
/// Then CloudFront's "minimum TTL over private" would show one viewer another's content, and safety
/// wins.
pub fn shows_identity_unkeyed(behavior: &Behavior, head: &RequestHead<'_>) -> bool {
    let cookies_pass = behavior.semantics() == Semantics::Rfc9111
        || behavior.origin_request.cookies != Listed::None;
    let cookie =
        head.known.has(Known::Cookie) && behavior.cache.key.cookies != Listed::All && cookies_pass;
    let more = &behavior.origin_request;
    let fields = match &more.headers {
        ForwardHeaders::None => false,
        // CloudFront's legacy settings come as such a list. A request that brings nothing of its
        // own shows no identity.
        ForwardHeaders::AllViewerExcept(_) => {
            head.fields.iter().any(|(name, _)| tells_who(behavior, name))
        }
        ForwardHeaders::Only(_) | ForwardHeaders::AllViewer | ForwardHeaders::AllViewerAnd(_) => {
            true
        }
    };
    let fields =
        fields || more.of_writes.iter().any(|name| comes_with_writes(behavior, head, name));
    let query = more.query != Listed::None && behavior.cache.key.query != Listed::All;
    cookie || fields || query || authorization_unkeyed(behavior, head)
}

// Says whether a field came that reaches the origin because of the method alone
// (`headers_of_writes`).
fn comes_with_writes(behavior: &Behavior, head: &RequestHead<'_>, name: &HeaderName) -> bool {
    let is_write = !matches!(*head.method, http::Method::GET | http::Method::HEAD);
    is_write
        && behavior.origin_request.of_writes.contains(name)
        && head.fields.get_all(name.as_str()).next().is_some()
}

// Says whether a field that this viewer sent reaches the origin, is in no key, and may say which
// viewer asks. Those that are not counted say how a page came to ask, or are written anew on the
// way.
fn tells_who(behavior: &Behavior, name: &str) -> bool {
    const HARMLESS: [&str; 16] = [
        "accept",
        "accept-encoding",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "date",
        "dnt",
        "host",
        "max-forwards",
        "origin",
        "pragma",
        "priority",
        "upgrade-insecure-requests",
        "via",
    ];
    let name = Name::from(name);
    let is_harmless = HARMLESS.iter().any(|known| name == *known)
        || name.begins("sec-fetch-")
        || name.begins("cloudfront-")
        || is_hop_by_hop(name);
    !is_harmless && reaches_origin(behavior, Forwarder::Trusted, name) && !is_keyed(behavior, name)
}

/// Says whether Authorization reaches the origin without being in the key (RFC 9111 §3.5).
pub fn authorization_unkeyed(behavior: &Behavior, head: &RequestHead<'_>) -> bool {
    let name = &http::header::AUTHORIZATION;
    head.known.has(Known::Authorization)
        && !is_keyed(behavior, name)
        && (reaches_origin(behavior, Forwarder::Unknown, name)
            || comes_with_writes(behavior, head, name))
}

// Where a distribution asks its viewers for certificates, fields that begin so tell of them.
const VIEWER_CERT: &str = "cloudfront-viewer-cert-";

/// The CloudFront-* fields that a policy may ask for and this edge can give. What a viewer says
/// under these names is not believed; what an edge says of its viewer is taken.
pub fn added_field(head: &RequestHead<'_>, name: &str) -> Option<String> {
    let connection = head.connection;
    if connection.asker == Asker::Edge {
        return head
            .fields
            .get_all(name)
            .next()
            .and_then(|line| std::str::from_utf8(line).ok())
            .map(str::to_string);
    }
    if let Some(said) = connection.place.as_ref().and_then(|place| place.field(name)) {
        return Some(
            percent_encoding::utf8_percent_encode(said, percent_encoding::CONTROLS).to_string(),
        );
    }
    match name {
        "cloudfront-forwarded-proto" => Some(head.scheme.as_str().to_string()),
        "cloudfront-viewer-address" => {
            Some(format!("{}:{}", connection.peer.ip().to_canonical(), connection.peer.port()))
        }
        "cloudfront-viewer-http-version" => Some(head.version.number().to_string()),
        "cloudfront-viewer-header-order" => {
            Some(head.order.map_or_else(|| head.fields.order(), str::to_string))
        }
        "cloudfront-viewer-ja3-fingerprint" => {
            Some(connection.tls.as_ref()?.hello.as_ref()?.ja3.clone())
        }
        "cloudfront-viewer-ja4-fingerprint" => {
            Some(connection.tls.as_ref()?.hello.as_ref()?.ja4.clone())
        }
        "cloudfront-viewer-header-count" => Some(head.fields.iter().count().to_string()),
        "cloudfront-viewer-tls" => {
            let tls = connection.tls.as_ref()?;
            let kind = if tls.is_resumed { "sessionResumed" } else { "fullHandshake" };
            Some(format!("{}:{}:{kind}", tls.version, tls.cipher))
        }
        _ if name.starts_with(VIEWER_CERT) => {
            let tls = connection.tls.as_ref()?;
            tls.rule.as_ref()?;
            let shown = tls.certificate.as_ref();
            match &name[VIEWER_CERT.len()..] {
                "present" => Some(if shown.is_some() { "1" } else { "0" }.to_string()),
                part => shown?.field(part),
            }
        }
        _ if is_client_cert(name) => connection.certificate()?.client_cert(name),
        _ if name.starts_with("cloudfront-is-") => {
            let agent = head.fields.get_all("user-agent").next().unwrap_or_default();
            Device::of(agent).is(name).map(|is_one| is_one.to_string())
        }
        _ => None,
    }
}

/// The CloudFront-* names of an origin request policy and of the key's fields, and those by which
/// an origin is told of a certificate that it verifies itself.
pub fn added_names(behavior: &Behavior) -> impl Iterator<Item = &HeaderName> {
    let more: &[HeaderName] = match &behavior.origin_request.headers {
        ForwardHeaders::Only(names) => names.exact(),
        ForwardHeaders::AllViewerAnd(names) => names,
        ForwardHeaders::None | ForwardHeaders::AllViewer | ForwardHeaders::AllViewerExcept(_) => {
            &[]
        }
    };
    behavior
        .cache
        .key
        .headers
        .iter()
        .chain(more)
        .filter(|name| name.as_str().starts_with("cloudfront-") || is_client_cert(name.as_str()))
}
