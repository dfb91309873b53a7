//! Pure: what an origin is asked, built from the request, the policies and the reason for asking.

use std::sync::Arc;

use http::Method;
use http::header::{self, HeaderName};

use crate::access::{bucket, websocket};
use crate::base::spare::{Spare, Text};
use crate::body::Body;
use crate::cache::ask::{CacheRequest, MethodIntent};
use crate::crypto::s3;
use crate::distribution::cache_policy::{Listed, Semantics};
use crate::distribution::origin::{AccessControl, HostRule, Origin, OriginKind};
use crate::message::connection::Asker;
use crate::message::forwarding;
use crate::message::interim::InterimSink;
use crate::message::own_fields::{EDGE, EDGE_TOKEN, NAME, NODE_PREFIX, VIA};
use crate::message::request::{Known, RequestHead};
use crate::message::stored::Stored;
use crate::message::verdict::PassReason;
use crate::semantics::fields::{By, FieldSection, Marks, Name, WriteValue};
use crate::semantics::lists::{is_token, members};
use crate::semantics::{hop_by_hop, ranges, trailers};
use crate::trace::live::Within;

/// Why an origin is asked.
#[derive(Clone)]
pub enum FetchKind {
    /// For the store: the whole response, without the viewer's conditions and ranges.
    Fill,
    /// Whether a stored response still holds.
    Revalidate(Arc<Stored>),
    /// For one viewer, as it asked.
    Pass,
    /// With the viewer's conditions and range, because what this key brought before was not kept; a
    /// whole that may be kept is.
    Unkept,
}

/// A request on its way to an origin.
#[derive(Default)]
pub struct OriginRequest {
    pub method: Method,
    /// Path and query, or `*`.
    pub target: Text,
    pub fields: FieldSection,
    pub body: Body,
    /// The key of a WebSocket's handshake, where this is one.
    pub upgrade: Option<Box<[u8]>>,
    pub carrier: Carrier,
    /// Where interim responses go.
    pub interim: Option<InterimSink>,
    /// The span of this call, where spans are kept.
    pub trace: Option<Within>,
}

/// Which versions of HTTP can carry a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Carrier {
    #[default]
    Any,
    /// HTTP/2 alone: a call of gRPC.
    Http2,
}

/// Facts of this node that go into requests.
#[derive(Clone, Copy)]
pub struct Node<'a> {
    pub id: &'a str,
    /// Whether the viewer's own X-Forwarded-For is believed.
    pub keeps_forwarded_for: bool,
}

/// Builds the request to an origin, body excepted.
pub fn build(
    asked: &CacheRequest<'_>,
    asking: &FetchKind,
    origin: &Origin,
    node: Node<'_>,
) -> OriginRequest {
    let (head, behavior) = (asked.head(), asked.routed.behavior);
    let mut target = Spare::new();
    // `*` is the server as a whole: no folder of it.
    if asked.routed.path != "*" {
        target.extend_from_slice(origin.path.as_bytes());
    }
    forwarding::write_origin_url(&mut target, behavior, asked.routed.path, head.query);
    let mut fields = match behavior.semantics() {
        Semantics::Rfc9111 => every_field(asked),
        Semantics::CloudFront => chosen_fields(asked),
    };
    set_codings(asked, &mut fields);
    match asking {
        FetchKind::Pass => pass_fields(asked, &mut fields),
        // A condition on a POST would be one on doing it, not on its answer.
        FetchKind::Fill | FetchKind::Revalidate(_) if asked.wants.method == MethodIntent::Post => {
            post_fields(asked, &mut fields)
        }
        // Nor one on OPTIONS, which selects no representation (RFC 9110 §13.2.1).
        FetchKind::Revalidate(_) if asked.wants.method == MethodIntent::Options => {}
        FetchKind::Fill => {}
        FetchKind::Unkept => copy_fields(asked, CONDITIONS.iter(), &mut fields),
        FetchKind::Revalidate(stored) => condition_fields(stored, &mut fields),
    }
    if let Some(span) = asked.slice {
        fields.insert(&header::RANGE, format!("bytes={}-{}", span.start, span.end - 1));
    }
    if let Some(access) = &origin.access {
        signed_fields(asked, asking, access, &mut fields);
    }
    set_host(asked, origin, &mut fields);
    trace_fields(asked, node, &mut fields);
    for (name, secret) in &origin.headers {
        fields.insert(name, secret.expose());
    }
    let upgrade = upgrade_fields(asked, &mut fields);
    let carrier = if asked.wants.is_call() { Carrier::Http2 } else { Carrier::Any };
    let method = match asking {
        FetchKind::Pass => head.method.clone(),
        FetchKind::Fill | FetchKind::Revalidate(_) if asked.wants.method == MethodIntent::Post => {
            Method::POST
        }
        FetchKind::Fill | FetchKind::Revalidate(_)
            if asked.wants.method == MethodIntent::Options =>
        {
            Method::OPTIONS
        }
        FetchKind::Fill | FetchKind::Revalidate(_) | FetchKind::Unkept => Method::GET,
    };
    OriginRequest {
        method,
        target: Text::from_octets(target),
        fields,
        body: Body::Empty,
        upgrade,
        carrier,
        interim: None,
        trace: None,
    }
}

// What the rest of a request says anew, or what only a request for one viewer may say.
fn is_own(name: Name<'_>) -> bool {
    let is_said_anew = match name.octets().len() {
        3 => name == header::VIA,
        4 => name == header::HOST,
        6 => name == header::EXPECT,
        8 => name == "cdn-loop",
        14 => name == header::CONTENT_LENGTH || name == EDGE,
        15 => name == "x-forwarded-for",
        20 => name == EDGE_TOKEN,
        _ => false,
    };
    is_said_anew || forwarding::is_condition(name)
}

// Everything end-to-end that is wanted; what a fill must not ask for is left out. What Connection
// lists has left the request before.
fn end_to_end(asked: &CacheRequest<'_>, is_wanted: impl Fn(Name<'_>) -> bool) -> FieldSection {
    let mut fields = FieldSection::new();
    let (behavior, forwarder) = (asked.routed.behavior, asked.routed.forwarder());
    for (name, value) in asked.head().fields.named() {
        let is_ours = is_own(name);
        let is_claimed = forwarding::is_claimed(asked.head().connection, name);
        let is_left_out =
            is_ours || is_claimed || forwarding::goes_no_further(behavior, forwarder, name);
        if !is_left_out && !hop_by_hop::is_hop_by_hop(name) && is_wanted(name) {
            fields.push(name, value);
        }
    }
    fields
}

// All of them; but no origin sees the cookies that are between the viewer and us.
fn every_field(asked: &CacheRequest<'_>) -> FieldSection {
    let head = asked.head();
    let mut fields = end_to_end(asked, |name| name != header::COOKIE);
    let mut cookies = Vec::new();
    if head.known.has(Known::Cookie) && forwarding::write_cookies(&mut cookies, head, |_| true) {
        fields.insert(&header::COOKIE, &cookies);
    }
    fields
}

// What the policies name, and CloudFront's own additions.
fn chosen_fields(asked: &CacheRequest<'_>) -> FieldSection {
    let (head, behavior, forwarder) =
        (asked.head(), asked.routed.behavior, asked.routed.forwarder());
    // Codings are said as the key has them, where it has them.
    let has_codings = !behavior.cache.compress.is_empty();
    let mut fields = end_to_end(asked, |name| {
        name != header::COOKIE
            && !(has_codings && name == header::ACCEPT_ENCODING)
            && forwarding::reaches_origin(behavior, forwarder, name)
    });
    let mut cookies = Vec::new();
    let (keyed, more) = (&behavior.cache.key.cookies, &behavior.origin_request.cookies);
    if (*keyed != Listed::None || *more != Listed::None)
        && forwarding::write_cookies(&mut cookies, head, |name| {
            keyed.includes(name) || more.includes(name)
        })
    {
        fields.insert(&header::COOKIE, &cookies);
    }
    for name in forwarding::added_names(behavior) {
        if let Some(text) = forwarding::added_field(head, name.as_str()) {
            fields.insert(name, text);
        }
    }
    if !fields.contains(&header::USER_AGENT) {
        let agent = if asked.routed.distribution.compat.name == "cloudfront" {
            "Amazon CloudFront"
        } else {
            "Foreshore"
        };
        fields.put("User-Agent", agent);
    }
    fields
}

// Where codings are in the key, the origin sees them exactly as the key has them.
fn set_codings(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    let enabled = asked.routed.behavior.cache.compress;
    // Messages of gRPC have codings of their own.
    if enabled.is_empty() || asked.wants.is_call() {
        return;
    }
    let mut codings = Vec::new();
    forwarding::write_codings(&mut codings, asked.head(), enabled);
    let codings = if codings.is_empty() { &b"identity"[..] } else { &codings };
    fields.insert("Accept-Encoding", codings);
}

/// What a viewer says of the version or the part that it wants.
const CONDITIONS: [HeaderName; 6] = [
    header::RANGE,
    header::IF_RANGE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    header::IF_MODIFIED_SINCE,
    header::IF_UNMODIFIED_SINCE,
];

/// What describes a body.
const CONTENT: [HeaderName; 4] = [
    header::CONTENT_TYPE,
    header::CONTENT_ENCODING,
    header::CONTENT_LANGUAGE,
    header::CONTENT_LOCATION,
];

// A POST that is kept says what its body is, and what its behavior keys.
fn post_fields(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    let keyed = asked.routed.behavior.cache_post.iter().flat_map(|post| &post.headers);
    copy_fields(asked, CONTENT.iter().chain(keyed), fields);
}

// A request for one viewer alone keeps its conditions, its range, and what describes its body.
fn pass_fields(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    let keyed = asked.routed.behavior.cache_post.iter().flat_map(|post| &post.headers);
    copy_fields(asked, CONDITIONS.iter().chain(&CONTENT).chain(keyed), fields);
    if !matches!(*asked.head().method, Method::GET | Method::HEAD) {
        copy_fields(asked, asked.routed.behavior.origin_request.of_writes.iter(), fields);
        announce_trailers(asked, fields);
    }
    if asked.wants.is_call() {
        call_fields(asked, fields);
    }
}

// What gRPC itself says of a call goes on whatever the policies name: without these fields it is
// another call, or none. What its caller adds is the policies' matter. It is asked for in the codings
// that the caller names and in no others.
fn call_fields(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    fields.retain(|name, _| !name.begins("grpc-"));
    for (name, value) in asked.head().fields.iter() {
        if Name::from(name).begins("grpc-") {
            fields.push(name, value);
        }
    }
    copy_fields(asked, [header::ACCEPT_ENCODING].iter(), fields);
}

// Which trailers are to come behind the body, those that may (RFC 9110 §6.6.2). They are known only
// once it has ended, so the viewer's word is taken for it; a body with a length has none.
fn announce_trailers(asked: &CacheRequest<'_>, fields: &mut FieldSection) {
    if asked.head().known.has(Known::ContentLength) {
        return;
    }
    let mut names: Vec<u8> = Vec::new();
    for name in asked.head().fields.get_all("trailer").flat_map(members) {
        if is_token(name) && trailers::may_trail(Name::of(name)) {
            names.extend_from_slice(if names.is_empty() { b"" } else { b", " });
            names.extend_from_slice(name);
        }
    }
    if !names.is_empty() {
        fields.insert(&header::TRAILER, names);
    }
}

// Signed fields are orders: those that the viewer may give with our credentials go on, and with a
// write whatever describes its body; `access::bucket` has refused a write with any other. Reads do
// without.
fn signed_fields(
    asked: &CacheRequest<'_>,
    asking: &FetchKind,
    access: &AccessControl,
    fields: &mut FieldSection,
) {
    let head = asked.head();
    let is_write = s3::writes(head.method);
    let is_own = access.is_bucket() && bucket::is_own(asked.routed.behavior, head, access);
    let is_for_one = access.is_bucket() && (is_write || matches!(asking, FetchKind::Pass));
    let stays = |name: &str| match s3::field(name) {
        s3::Field::Hop => is_own,
        s3::Field::Describes | s3::Field::Order => {
            is_for_one && (is_own || access.subresources.includes(name))
        }
    };
    fields.retain(|name, _| {
        !name.begins("x-amz-") || {
            let name = name.spelled().to_ascii_lowercase();
            !s3::is_amz(&name) || stays(&name)
        }
    });
    if is_write {
        let describes = |name: &str| {
            name == s3::CONTENT_HASH
                || access.is_bucket() && s3::field(name) == s3::Field::Describes
        };
        let said: Vec<HeaderName> = asked
            .head()
            .fields
            .iter()
            .filter_map(|(name, _)| Name::from(name).to_header())
            .filter(|name| s3::is_amz(name.as_str()) && describes(name.as_str()))
            .collect();
        copy_fields(asked, said.iter(), fields);
    }
}

fn copy_fields<'n>(
    asked: &CacheRequest<'_>,
    names: impl Iterator<Item = &'n HeaderName>,
    fields: &mut FieldSection,
) {
    for name in names {
        if fields.contains(name) {
            continue;
        }
        for line in asked.head().fields.get_all(name.as_str()) {
            fields.append(name, line);
        }
    }
}

// The stored validators and no others: a 304 must speak of our copy (RFC 9111 §4.3.1).
fn condition_fields(stored: &Stored, fields: &mut FieldSection) {
    if let Some(etag) = stored.head.etag() {
        // As the origin gave it, before it was encoded here: some compare octet for octet.
        let weakened = etag.strip_prefix(b"W/").filter(|_| stored.flags.own_tag_is_strong);
        fields.insert(&header::IF_NONE_MATCH, weakened.unwrap_or(etag));
    }
    if let Some(modified) = stored.head.last_modified() {
        fields.insert(&header::IF_MODIFIED_SINCE, modified);
    }
}

fn set_host(asked: &CacheRequest<'_>, origin: &Origin, fields: &mut FieldSection) {
    let OriginKind::Http(http) = &origin.kind else { return };
    let own = |out: &mut Vec<u8>| {
        out.extend_from_slice(http.host.as_bytes());
        if http.port != if http.tls.is_some() { 443 } else { 80 } {
            out.push(b':');
            u64::from(http.port).write_value(out);
        }
    };
    let viewer = |out: &mut Vec<u8>| {
        out.extend(asked.head().authority.bytes().map(|octet| octet.to_ascii_lowercase()));
    };
    match &http.host_rule {
        HostRule::Fixed(name) => fields.put("Host", name),
        HostRule::Viewer => fields.put("Host", By(viewer)),
        // What is signed is signed for the origin's own name.
        HostRule::Origin | HostRule::Named(_)
            if origin.access.is_none()
                && forwarding::is_keyed(asked.routed.behavior, &header::HOST) =>
        {
            fields.put("Host", By(viewer))
        }
        HostRule::Named(name) => fields.put("Host", name),
        HostRule::Origin => fields.put("Host", By(own)),
    };
}

// A handshake goes on whatever the policies name: without these fields it is none. They are said of
// this connection anew; the origin's answer is held against the key.
fn upgrade_fields(asked: &CacheRequest<'_>, fields: &mut FieldSection) -> Option<Box<[u8]>> {
    if asked.wants.method != MethodIntent::Pass(PassReason::Upgrade) {
        return None;
    }
    let key = websocket::key(asked.head()).ok()?;
    fields.retain(|name, _| !name.begins("sec-websocket-"));
    for (name, value) in asked.head().fields.iter() {
        if Name::from(name).begins("sec-websocket-") {
            fields.push(name, value);
        }
    }
    fields.append(&header::CONNECTION, "Upgrade");
    fields.append(&header::UPGRADE, "websocket");
    Some(key.into())
}

// Via, CDN-Loop and X-Forwarded-For: the way a request has come.
fn trace_fields(asked: &CacheRequest<'_>, node: Node<'_>, fields: &mut FieldSection) {
    let head = asked.head();
    let compat = asked.routed.distribution.compat.cloudfront.as_ref();
    // The version is the one that the viewer spoke.
    let version = head.version.number();
    let via = match compat.and_then(|compat| compat.via.split_once(' ')) {
        Some((_, host)) => [version, " ", host, ""],
        // The edge before this parent goes by the plain name.
        None if head.connection.asker == Asker::Edge => [version, " ", NODE_PREFIX, node.id],
        None => [version, " ", NAME, ""],
    };
    if compat.is_some() {
        fields.insert("X-Amz-Cf-Id", By(|out: &mut Vec<u8>| head.id.write(out)));
    }
    let address = head.connection.peer.ip().to_canonical();
    // Spelled as they go out: nothing is to be done about a name then.
    fields.put("Via", Joined("via", head, via));
    fields.put("Cdn-Loop", Joined("cdn-loop", head, [NODE_PREFIX, node.id]));
    if node.keeps_forwarded_for {
        fields.put("X-Forwarded-For", Joined("x-forwarded-for", head, address));
    } else {
        fields.put("X-Forwarded-For", address);
    }
}

// What the request says under a name, and ours behind it.
struct Joined<'a, V>(&'static str, &'a RequestHead<'a>, V);

impl<V: WriteValue> WriteValue for Joined<'_, V> {
    fn write_value(&self, out: &mut Vec<u8>) {
        for earlier in self.1.fields.get_all(self.0) {
            out.extend_from_slice(earlier);
            out.extend_from_slice(b", ");
        }
        self.2.write_value(out);
    }
}

/// Says whether an answer is a 206 or a 304 to a request that had no such range or condition. A
/// viewer that is given it would have a part that looks whole to many a client, or nothing at all.
/// A part that is exactly what the viewer wants will do, though the whole was asked for.
pub fn is_unasked(
    asked: &CacheRequest<'_>,
    asking: &FetchKind,
    status: u16,
    fields: &FieldSection,
) -> bool {
    let known = &asked.head().known;
    let is_as_viewer = matches!(asking, FetchKind::Pass | FetchKind::Unkept);
    match status {
        206 if asked.slice.is_some() => false,
        206 => known.get(Known::Range).is_none_or(|range| !is_as_viewer && !is_part(range, fields)),
        304 if matches!(asking, FetchKind::Revalidate(_)) => false,
        304 => !(known.has(Known::IfNoneMatch) || known.has(Known::IfModifiedSince)),
        _ => false,
    }
}

// The part that a Range field names, as far as that can be told.
fn is_part(range: &[u8], fields: &FieldSection) -> bool {
    let came = || ranges::parse_content_range(fields.get(&header::CONTENT_RANGE)?.as_bytes());
    match ranges::parse(range) {
        ranges::Asked::One(spec) => came().is_some_and(|came| {
            came.complete.is_none_or(|len| spec.resolve(len) == Some(came.span))
        }),
        ranges::Asked::Several(_) => !fields.contains(&header::CONTENT_RANGE),
        ranges::Asked::Whole => true,
    }
}

/// A target as it is sent. A few visible characters that viewers do send are none of a URI's, and
/// some origins refuse them; they go escaped.
pub fn spelled(target: &str) -> std::borrow::Cow<'_, str> {
    if target
        .bytes()
        .all(|b| (0x21..=0x7e).contains(&b) && !matches!(b, b'<' | b'>' | b'\\' | b'^' | b'`'))
    {
        target.into()
    } else {
        crate::cache::invalidations::canonical(target.as_bytes())
    }
}

/// Makes an origin's head ours: what was about its connection goes, Via says where it has been.
pub fn receive(fields: &mut FieldSection) {
    strip_connection(fields);
    fields.put("Via", VIA);
}

/// Takes out what an origin says of its connection to us: hop-by-hop fields, and where else it can
/// be reached (Alt-Svc). A viewer would look for that at our address, and from a store it would do
/// so for a day.
pub fn strip_connection(fields: &mut FieldSection) {
    const ABOUT_IT: Marks = hop_by_hop::MARKS.and(Marks::of(&["alt-svc"]));
    // Most heads say nothing of the kind.
    if !fields.may_have(ABOUT_IT) {
        return;
    }
    hop_by_hop::strip_listed(fields);
    fields.retain(|name, _| !hop_by_hop::is_hop_by_hop(name) && name != header::ALT_SVC);
}
