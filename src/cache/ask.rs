//! An admitted request becomes a question to the cache: it gets its key and says what it wants.

use http::Method;
use smallvec::SmallVec;

use crate::access::{Caching, Replaces, Routed, grpc, replaces, still_replaces, websocket};
use crate::distribution::behavior::{PostBody, PostCaching};
use crate::distribution::cache_policy::{Listed, Semantics};
use crate::distribution::names::FieldNames;
use crate::message::forwarding;
use crate::message::request::{Known, RequestHead};
use crate::message::verdict::PassReason;
use crate::semantics::cache_control::{CacheControl, Directive};
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;

/// A request with its key.
#[derive(Clone, Copy)]
pub struct CacheRequest<'r> {
    pub routed: Routed<'r>,
    pub key: &'r [u8],
    pub wants: CacheIntent,
    /// The part that is asked for, where a behavior keeps objects in slices.
    pub slice: Option<Span>,
}

impl<'r> CacheRequest<'r> {
    /// The request head.
    pub const fn head(&self) -> &'r RequestHead<'r> {
        self.routed.head
    }
}

/// What a request wants of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheIntent {
    pub method: MethodIntent,
    pub answer: Answer,
    /// Whether the caller asks to replace what is stored, and may.
    pub replaces: Replaces,
}

impl CacheIntent {
    /// Whether the answer may be kept, as the checks on viewers ask.
    pub const fn caching(self) -> Caching {
        match self.method {
            MethodIntent::Get | MethodIntent::Head | MethodIntent::Post | MethodIntent::Options => {
                Caching::Kept
            }
            MethodIntent::Pass(_) => Caching::Passed,
        }
    }

    /// Says whether the request is a call of gRPC.
    pub const fn is_call(self) -> bool {
        matches!(self.method, MethodIntent::Pass(PassReason::Grpc))
    }
}

/// Whether the store may speak at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MethodIntent {
    Get,
    Head,
    /// A POST that its behavior takes for a query.
    Post,
    /// An OPTIONS whose answers its behavior keeps.
    Options,
    /// The cache neither answers nor keeps it.
    Pass(PassReason),
}

/// Which answers will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    Any,
    /// `only-if-cached`, heard under RFC 9111 rules only: a public CDN does not take orders from
    /// viewers.
    StoredOnly,
    /// None that is stored anywhere: the caller may replace what is stored, and asks to.
    Anew,
}

/// Says what a routed request wants; `now` is by the system's clock, as those have it who sign.
#[inline]
pub fn wants(routed: &Routed<'_>, now: Timestamp) -> CacheIntent {
    intent(routed, replaces(routed, now))
}

/// The same of a request that code at the edge has changed; `before` is what it wanted as its viewer
/// sent it.
pub fn still_wants(routed: &Routed<'_>, before: CacheIntent, now: Timestamp) -> CacheIntent {
    intent(routed, still_replaces(routed, before.replaces, now))
}

fn intent(routed: &Routed<'_>, replaces: Replaces) -> CacheIntent {
    let policy = &routed.behavior.cache;
    let method = match *routed.head.method {
        _ if websocket::is_asked(routed.head) => MethodIntent::Pass(PassReason::Upgrade),
        _ if grpc::is_asked(routed) => MethodIntent::Pass(PassReason::Grpc),
        _ if policy.ttl.is_off() => MethodIntent::Pass(PassReason::CachingDisabled),
        Method::GET => MethodIntent::Get,
        Method::HEAD => MethodIntent::Head,
        Method::POST if routed.behavior.cache_post.is_some() => MethodIntent::Post,
        // `*` is the server as a whole: no path makes what is said of it old.
        Method::OPTIONS if routed.behavior.cache_options && routed.path != "*" => {
            MethodIntent::Options
        }
        _ => MethodIntent::Pass(PassReason::Method),
    };
    let stored_only = policy.semantics == Semantics::Rfc9111
        && routed.head.known.get(Known::CacheControl).is_some()
        && CacheControl::parse(routed.head.fields.get_all("cache-control"))
            .has(Directive::OnlyIfCached);
    let answer = if stored_only {
        Answer::StoredOnly
    } else if replaces == Replaces::Yes {
        Answer::Anew
    } else {
        Answer::Any
    };
    CacheIntent { method, answer, replaces }
}

/// Writes the key of a routed request into `out`, which is emptied first.
///
/// Parts are separated by NUL, which no checked head contains: distribution, URL, then what the
/// policy names.
///
/// ```
/// # use std::fs;
/// # use foreshore::config::{self, MissingCertificates};
/// # use foreshore::semantics::time::Timestamp;
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("edge.toml");
/// # let text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n\
/// #     [[distribution]]\nid = \"E1\"\nhosts = [\"h.test\"]\n\
/// #     [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n\
/// #     [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n";
/// # fs::write(&path, text).unwrap();
/// # let now = Timestamp::from_secs(1_800_000_000);
/// # let site = config::load(&path, now, MissingCertificates::Done)
/// #     .unwrap_or_else(|report| panic!("{}", report.render(false)))
/// #     .site;
/// use foreshore::access;
/// use foreshore::cache::ask::write_key;
/// use foreshore::message::request::ViewerRequest;
///
/// let request = ViewerRequest::get("http://h.test/a?x=1");
/// let head = request.head();
/// let routed = access::route(&site, &head, now).unwrap();
/// let mut key = Vec::new();
/// write_key(&mut key, &routed);
/// assert!(key.starts_with(b"E1\0/a?x=1"));
/// ```
pub fn write_key(out: &mut Vec<u8>, routed: &Routed<'_>) {
    let (head, behavior) = (routed.head, routed.behavior);
    let key = &behavior.cache.key;
    out.clear();
    out.extend_from_slice(routed.distribution.id.as_bytes());
    out.push(0);
    forwarding::write_keyed_url(out, behavior, routed.path, head.query);
    if behavior.derived.host_in_key {
        out.extend_from_slice(b"\0host=");
        let start = out.len();
        out.extend_from_slice(head.authority.as_bytes());
        out[start..].make_ascii_lowercase();
    }
    if behavior.derived.scheme_in_key {
        out.extend_from_slice(b"\0scheme=");
        out.extend_from_slice(head.scheme.as_str().as_bytes());
    }
    for name in key.headers.iter().filter(|name| **name != http::header::HOST) {
        write_field(out, head, name);
    }
    if key.headers.has_patterns() {
        write_matching_fields(out, head, &key.headers);
    }
    if key.cookies != Listed::None {
        out.extend_from_slice(b"\0cookie=");
        forwarding::write_cookies(out, head, |name| key.cookies.includes(name));
    }
    if !behavior.cache.compress.is_empty() {
        out.extend_from_slice(b"\0coding=");
        forwarding::write_codings(out, head, behavior.cache.compress);
    }
}

/// Adds to a key what tells POSTs apart: method, Content-Type, the fields that the behavior names,
/// and the body's SHA-256 where it is keyed.
pub fn write_post_key(out: &mut Vec<u8>, routed: &Routed<'_>, post: &PostCaching, content: &[u8]) {
    out.extend_from_slice(b"\0method=POST");
    for name in std::iter::once(&http::header::CONTENT_TYPE).chain(&post.headers) {
        write_field(out, routed.head, name);
    }
    if post.body == PostBody::Keyed {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, content);
        out.extend_from_slice(b"\0body=");
        for byte in digest.as_ref() {
            out.extend(
                [byte >> 4, byte & 15].map(|nibble| b"0123456789abcdef"[usize::from(nibble)]),
            );
        }
    }
}

/// Adds to a key what tells answers to OPTIONS apart: the method, and what a preflight is about,
/// where that reaches the origin and is in no key yet.
pub fn write_options_key(out: &mut Vec<u8>, routed: &Routed<'_>) {
    use http::header;
    const PREFLIGHT: [http::HeaderName; 3] = [
        header::ORIGIN,
        header::ACCESS_CONTROL_REQUEST_METHOD,
        header::ACCESS_CONTROL_REQUEST_HEADERS,
    ];
    out.extend_from_slice(b"\0method=OPTIONS");
    let (behavior, forwarder) = (routed.behavior, routed.forwarder());
    for name in &PREFLIGHT {
        if !forwarding::is_keyed(behavior, name)
            && forwarding::reaches_origin(behavior, forwarder, name)
        {
            write_field(out, routed.head, name);
        }
    }
}

// Fields that patterns take in, by name: the order in which they come makes no key of its own. A
// colon stands in no name and no other part begins with one.
fn write_matching_fields(out: &mut Vec<u8>, head: &RequestHead<'_>, names: &FieldNames) {
    let mut found: SmallVec<[(&str, &[u8]); 8]> =
        head.fields.iter().filter(|(name, _)| names.takes_in(name)).collect();
    found.sort_by_cached_key(|(name, _)| lower_case(name));
    let mut last: Option<&str> = None;
    for (name, value) in found {
        if last.is_some_and(|last| last.eq_ignore_ascii_case(name)) {
            out.push(b',');
        } else {
            out.extend_from_slice(b"\0:");
            out.extend_from_slice(&lower_case(name));
            out.push(b'=');
        }
        out.extend_from_slice(value);
        last = Some(name);
    }
}

fn lower_case(name: &str) -> SmallVec<[u8; 32]> {
    name.bytes().map(|octet| octet.to_ascii_lowercase()).collect()
}

fn write_field(out: &mut Vec<u8>, head: &RequestHead<'_>, name: &http::HeaderName) {
    if name.as_str().starts_with("cloudfront-") {
        if let Some(value) = forwarding::added_field(head, name.as_str()) {
            out.push(0);
            out.extend_from_slice(name.as_str().as_bytes());
            out.push(b'=');
            out.extend_from_slice(value.as_bytes());
        }
        return;
    }
    let mut separator: &[u8] = b"=";
    for value in head.fields.get_all(name.as_str()) {
        if separator == b"=" {
            out.push(0);
            out.extend_from_slice(name.as_str().as_bytes());
        }
        out.extend_from_slice(separator);
        out.extend_from_slice(value);
        separator = b",";
    }
}
