//! May this viewer ask? Host and path are routed first, then the checks run in the order that leaks
//! least.
//!
//! Pure: a borrowed head and a site go in, a `Routed` or a `Refusal` comes out.

pub mod bucket;
pub mod form;
pub mod grpc;
pub mod prepare;
pub mod rate;
pub mod staging;
pub mod websocket;

use std::net::IpAddr;
use std::sync::Arc;

use http::Method;

use self::rate::Buckets;
use self::staging::Session;
use crate::base::network::Network;
use crate::crypto::memory::VerifiedSignatures;
use crate::crypto::sigv4::{self, Credentials, Payload};
use crate::crypto::url::{self, SignedRequest, TrustedKeys, Unsigned};
use crate::distribution::behavior::{
    Behavior, ClientInvalidation, MayReplace, Unauthorised, ViewerProtocol,
};
use crate::distribution::certificate::covers;
use crate::distribution::site::{Distribution, Serving, Site};
use crate::distribution::staging::Chosen;
use crate::distribution::viewer_tls::{Mode, is_same_rule};
use crate::message::connection::{Asker, Forwarder, Scheme, Version};
use crate::message::own_fields::NODE_PREFIX;
use crate::message::path::other_reading;
use crate::message::refusal::{Misdirection, Refusal};
use crate::message::request::{Known, RequestHead};
use crate::semantics::cache_control::CacheControl;
use crate::semantics::time::Timestamp;

/// What host and path chose, as indexes into the site that routed the request. It outlives the
/// head: every later step of the request goes by the same route, whatever has become of its URI (as
/// CloudFront keeps the behavior that the viewer's path chose).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// Index into `Site::distributions`.
    pub distribution: usize,
    /// Index into `Distribution::behaviors`.
    pub behavior: usize,
    /// Which side of a continuous deployment the viewer is on, where that is to be remembered.
    pub session: Option<Session>,
}

impl Route {
    /// The distribution and the behavior that answer.
    pub fn of(self, site: &Site) -> (&Arc<Distribution>, &Behavior) {
        let distribution = &site.distributions[self.distribution];
        (distribution, &distribution.behaviors[self.behavior])
    }

    /// The request with everything that answers it, as decisions see it. `site` is the one that
    /// routed it.
    pub fn on<'r>(self, site: &'r Site, head: &'r RequestHead<'r>) -> Routed<'r> {
        let (distribution, behavior) = self.of(site);
        Routed {
            head,
            site,
            distribution,
            behavior,
            route: self,
            path: rooted(distribution, head.path),
        }
    }
}

/// A request that has found its distribution and behavior.
#[derive(Clone, Copy)]
pub struct Routed<'r> {
    pub head: &'r RequestHead<'r>,
    /// The configuration that routed it.
    pub site: &'r Site,
    pub distribution: &'r Arc<Distribution>,
    pub behavior: &'r Behavior,
    /// The same, for a step that outlives the head.
    pub route: Route,
    /// The viewer's path, or the default root object in the place of `/`.
    pub path: &'r str,
}

impl Routed<'_> {
    /// Whether what this request says in the name of a proxy is believed.
    pub fn forwarder(&self) -> Forwarder {
        let connection = self.head.connection;
        let is_near = || {
            self.site
                .listen
                .forwarded_for_from
                .iter()
                .any(|network| network.contains(connection.peer.ip()))
        };
        if connection.asker == Asker::Edge || is_near() {
            Forwarder::Trusted
        } else {
            Forwarder::Unknown
        }
    }

    /// Whether what any peer says in the name of a proxy is believed: then another request for the
    /// same may have sent what this one could not.
    pub fn any_forwarder(&self) -> Forwarder {
        let is_nobody =
            self.site.listen.forwarded_for_from.is_empty() && self.site.trusted_edges.is_empty();
        if is_nobody { Forwarder::Unknown } else { Forwarder::Trusted }
    }
}

/// Host to distribution, path to the first matching behavior (CloudFront: "Cache behavior
/// settings").
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
/// use foreshore::message::request::ViewerRequest;
///
/// let request = ViewerRequest::get("http://h.test/a?x=1");
/// let head = request.head();
/// let routed = access::route(&site, &head, now).unwrap();
/// assert_eq!((routed.distribution.id.as_str(), routed.path), ("E1", "/a"));
/// assert_eq!(routed.behavior.pattern.as_str(), "*");
/// ```
pub fn route<'r>(
    site: &'r Site,
    head: &'r RequestHead<'r>,
    now: Timestamp,
) -> Result<Routed<'r>, Refusal> {
    // An edge connects by this node's own name and asks for its viewers' hosts.
    if let Some(tls) = &head.connection.tls
        && head.connection.asker == Asker::Viewer
        && !covers(&tls.names, head.host)
        && let Some(why) = misdirection(site, &tls.names, head.host)
    {
        return Err(Refusal::Misdirected(why));
    }
    let mut at = site.hosts.find(head.host).ok_or(Refusal::UnknownHost)?;
    let mut distribution = &site.distributions[at];
    if let Some(tls) = &head.connection.tls
        && head.connection.asker == Asker::Viewer
        && !is_same_rule(tls.rule.as_ref(), distribution.client_certificates.as_ref())
    {
        return Err(Refusal::Misdirected(Misdirection::OtherRule));
    }
    // Which one is spoken was chosen in the handshake, before a side is.
    if head.version == Version::Http2
        && head.connection.asker == Asker::Viewer
        && !distribution.versions.has_http2()
    {
        return Err(Refusal::Misdirected(Misdirection::Version));
    }
    let mut session = None;
    if let Some(staging) = &distribution.staging {
        let (is_staging, remembered) = staging::choose(staging, head, now);
        session = remembered.filter(|_| head.connection.asker == Asker::Viewer);
        if is_staging {
            at = staging.distribution;
            distribution = &site.distributions[at];
        }
    }
    if head.version == Version::Http3 && !distribution.versions.has_http3() {
        return Err(Refusal::Misdirected(Misdirection::Version));
    }
    let path = rooted(distribution, head.path);
    let chosen = distribution.behavior_at(path);
    let behavior = &distribution.behaviors[chosen];
    // Under two readings two behaviors: their rules would be a matter of spelling. A pattern with
    // `//` in it means it.
    if distribution.behaviors.len() > 1
        && let Some(other) = other_reading(path)
        && !behavior.pattern.as_str().contains("//")
        && distribution.behavior(&other).ordinal != behavior.ordinal
    {
        return Err(Refusal::BadPath);
    }
    let route = Route { distribution: at, behavior: chosen, session };
    Ok(Routed { head, site, distribution, behavior, route, path })
}

// A path, or the default root object in the place of `/`.
fn rooted<'r>(distribution: &'r Distribution, path: &'r str) -> &'r str {
    match &distribution.default_root_object {
        Some(object) if path == "/" => object.as_str(),
        _ => path,
    }
}

// A host that only `*` takes has no certificate of its own to be shown: whatever was shown will do,
// unless it is another site's.
fn misdirection(site: &Site, certified: &[String], host: &str) -> Option<Misdirection> {
    let by_name = site.hosts.find_named(host);
    let Some(at) = by_name.or_else(|| site.hosts.find(host)) else {
        return Some(Misdirection::NotCovered);
    };
    if certified.iter().any(|name| site.hosts.is_of_another(name, at)) {
        return Some(Misdirection::OtherSite);
    }
    by_name.map(|_| Misdirection::NotCovered)
}

/// The cookie that keeps a viewer on its side of a continuous deployment, if it is to be sent now.
pub fn session_cookie(site: &Site, routed: &Routed<'_>, now: Timestamp) -> Option<String> {
    let session = routed.route.session.filter(|session| session.is_news)?;
    let staging = site.distributions[site.hosts.find(routed.head.host)?].staging.as_ref()?;
    match &staging.chosen {
        Chosen::ByWeight { sticky: Some(sticky), .. } => {
            Some(staging::cookie(session, staging, *sticky, now))
        }
        _ => None,
    }
}

/// What is known beside the request when it is judged.
#[derive(Clone, Copy)]
pub struct AdmitContext<'k> {
    /// This node's id.
    pub node: &'k str,
    /// Signatures that were found good.
    pub signatures: &'k VerifiedSignatures,
    /// How often each address asked of late.
    pub rates: &'k Buckets,
    /// By the system's clock, as those have it who sign.
    pub now: Timestamp,
}

/// Whether the answer to a request may be kept for others, as was decided before it is judged
/// (`cache::ask::wants`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caching {
    /// Under a key: what shapes the answer has to be in it.
    Kept,
    /// It is this viewer's alone.
    Passed,
}

/// Says whether a routed request may go on.
pub fn admit(
    routed: &Routed<'_>,
    caching: Caching,
    around: AdmitContext<'_>,
) -> Result<(), Refusal> {
    let head = routed.head;
    if routed.distribution.serving == Serving::Off {
        return Err(Refusal::Disabled);
    }
    if head.scheme == Scheme::Http {
        check_protocol(routed)?;
    }
    if !routed.behavior.methods.allows(head.method) {
        return Err(Refusal::Method);
    }
    websocket::judge(head)?;
    if has_body(head) && matches!(*head.method, Method::GET | Method::HEAD) {
        return Err(Refusal::BodyOnGet);
    }
    if head.known.has(Known::Expect)
        && !head.known.get(Known::Expect).is_some_and(|e| e.eq_ignore_ascii_case(b"100-continue"))
    {
        return Err(Refusal::Expectation);
    }
    if head.known.has(Known::CdnLoop)
        && head.fields.get_all("cdn-loop").any(|line| names_node(line, around.node))
    {
        return Err(Refusal::Loop);
    }
    // An edge has judged its viewer already.
    match head.connection.asker {
        Asker::Viewer => admit_viewer(routed, around)?,
        Asker::Edge => {}
    }
    // From viewers and edges alike: a bucket gets no other order than was given.
    if routed.behavior.derived.is_bucket { bucket::judge(routed, caching) } else { Ok(()) }
}

// From the cheapest to the dearest.
fn admit_viewer(routed: &Routed<'_>, around: AdmitContext<'_>) -> Result<(), Refusal> {
    let (connection, behavior) = (routed.head.connection, routed.behavior);
    // In clear text there is no handshake to show one in.
    if let Some(rule) = &routed.distribution.client_certificates
        && rule.mode == Mode::Required
        && connection.scheme == Scheme::Http
    {
        return Err(Refusal::HttpsOnly);
    }
    let address = connection.peer.ip();
    let country = connection.place.as_ref().and_then(|place| place.country.as_deref());
    if let (Some(rule), Some(country)) = (&routed.distribution.geo_restriction, country)
        && !rule.allows(country)
    {
        return Err(Refusal::Country);
    }
    if !may_ask_from(behavior, address) {
        return Err(Refusal::Address);
    }
    match &behavior.signers {
        Some(signers) => check_signature(routed.head, signers, around.signatures, around.now)
            .map_err(Refusal::Unsigned),
        None => Ok(()),
    }
}

fn may_ask_from(behavior: &Behavior, address: IpAddr) -> bool {
    let is_in = |networks: &[Network]| networks.iter().any(|network| network.contains(address));
    !is_in(&behavior.deny_from) && (behavior.allow_from.is_empty() || is_in(&behavior.allow_from))
}

/// Says whether what a behavior has may be the page of an error for a viewer at this address. A
/// signature that the viewer lacks is what many of these pages are about, and no matter; what no
/// viewer is let in to, or none from there, stays closed.
pub fn may_be_page(behavior: &Behavior, address: IpAddr) -> bool {
    let is_closed = behavior.signers.as_ref().is_some_and(|signers| signers.keys.is_empty());
    !is_closed && may_ask_from(behavior, address)
}

/// Says whether a request shows a signature of one of `signers` for its URL, in the URL or in
/// cookies. `signatures` are those that were found good before.
pub fn check_signature(
    head: &RequestHead<'_>,
    signers: &TrustedKeys,
    signatures: &VerifiedSignatures,
    now: Timestamp,
) -> Result<(), Unsigned> {
    let request = SignedRequest {
        scheme: head.scheme.as_str(),
        authority: head.authority,
        path: head.spelled,
        query: head.query,
        viewer: head.connection.peer.ip(),
    };
    let has_cookies = head.known.has(Known::Cookie);
    let cookies = has_cookies.then(|| head.fields.get_all("cookie")).into_iter().flatten();
    url::judge(&request, cookies, signers, signatures, now)
}

/// Counts an admitted request against what its address may ask for: once, when it is sure to be
/// answered here. A viewer that may not ask at all takes no token.
pub fn spend(routed: &Routed<'_>, around: AdmitContext<'_>) -> Result<(), Refusal> {
    let (connection, behavior) = (routed.head.connection, routed.behavior);
    match behavior.rate_limit.filter(|_| connection.asker == Asker::Viewer) {
        Some(limit) => {
            let taken =
                around.rates.take(behavior.ordinal, connection.peer.ip(), limit, around.now);
            taken.map_err(|retry_after| Refusal::TooMany { retry_after })
        }
        None => Ok(()),
    }
}

/// Whether a request is to replace what is stored (the API Gateway cache's `Cache-Control:
/// max-age=0`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replaces {
    No,
    Yes,
    /// It asks to, and may not.
    MayNot(Unauthorised),
}

/// Says whether a routed request asks to replace what is stored, and may.
#[inline]
pub fn replaces(routed: &Routed<'_>, now: Timestamp) -> Replaces {
    let Some(rule) = asks_to_replace(routed) else { return Replaces::No };
    let head = routed.head;
    let given = head.known.get(Known::Authorization);
    let allowed = match &rule.allow {
        MayReplace::Anyone => true,
        MayReplace::Token(token) => given.is_some_and(|given| token.is_borne_by(given)),
        MayReplace::Signed(keys) => given.is_some_and(|given| is_signed(head, given, keys, now)),
    };
    if allowed { Replaces::Yes } else { Replaces::MayNot(rule.unauthorised) }
}

/// The same of a request that code at the edge has changed. A signature is over the request that the
/// viewer sent: what was said of that one (`before`) stays.
pub fn still_replaces(routed: &Routed<'_>, before: Replaces, now: Timestamp) -> Replaces {
    match asks_to_replace(routed).map(|rule| &rule.allow) {
        Some(MayReplace::Signed(_)) => before,
        _ => replaces(routed, now),
    }
}

// The rule for a request that asks to replace what is stored.
#[inline]
fn asks_to_replace<'r>(routed: &Routed<'r>) -> Option<&'r ClientInvalidation> {
    let rule = routed.behavior.client_invalidation.as_ref()?;
    let head = routed.head;
    // An edge has judged its viewer already, and asks the origin itself where the viewer may
    // replace.
    if head.connection.asker == Asker::Edge || !head.known.has(Known::CacheControl) {
        return None;
    }
    let asked = CacheControl::parse(head.fields.get_all("cache-control")).max_age;
    (asked == Some(0)).then_some(rule)
}

// Whether a head is signed under one of the keys, as callers of API Gateway sign (IAM
// authorization). No body was read yet: the signature of a request that has one must name its hash.
#[inline(never)]
fn is_signed(head: &RequestHead<'_>, given: &[u8], keys: &[Credentials], now: Timestamp) -> bool {
    let claim = std::str::from_utf8(given).ok().and_then(sigv4::Claim::parse);
    let known = claim.and_then(|claim| {
        let key = keys.iter().find(|key| key.id == claim.id)?;
        Some((claim, key))
    });
    let Some((claim, key)) = known else { return false };
    let field = |name: &str| {
        // HTTP/2 and HTTP/3 have no Host field.
        if name == "host" {
            return Some(head.authority.to_string());
        }
        let lines: Vec<String> = head
            .fields
            .get_all(name)
            .map(|line| String::from_utf8_lossy(line).into_owned())
            .collect();
        (!lines.is_empty()).then(|| lines.join(","))
    };
    let body = if has_body(head) { Payload::Unread } else { Payload::Here(b"") };
    let target = (head.spelled, head.query);
    let against = ("execute-api", &key.secret, now);
    sigv4::verify_with(&claim, head.method.as_str(), target, field, body, against).is_ok()
}

/// Says whether a request purges, and may: the method PURGE with the distribution's token. `None`:
/// it does not.
///
/// Where no token is set it is a method like any other, and no behavior allows it.
pub fn purges(site: &Site, routed: &Routed<'_>) -> Option<Result<(), Refusal>> {
    // Whichever side of a deployment this request would see: the host is the primary's.
    let owner = &site.distributions[site.hosts.find(routed.head.host)?];
    let token = owner.purge.as_ref().filter(|_| routed.head.method.as_str() == "PURGE")?;
    let given = routed.head.known.get(Known::Authorization).unwrap_or_default();
    Some(if token.is_borne_by(given) { Ok(()) } else { Err(Refusal::MayNotPurge) })
}

fn check_protocol(routed: &Routed<'_>) -> Result<(), Refusal> {
    let head = routed.head;
    match routed.behavior.viewer_protocol {
        ViewerProtocol::AllowAll => Ok(()),
        ViewerProtocol::HttpsOnly => Err(Refusal::HttpsOnly),
        ViewerProtocol::RedirectToHttps => {
            let keeps_method = !matches!(*head.method, Method::GET | Method::HEAD);
            if keeps_method && head.version == Version::Http10 {
                return Err(Refusal::HttpsOnly);
            }
            let query = head.query.map(|query| format!("?{query}")).unwrap_or_default();
            // A URL names the server as a whole by having no path.
            let path = if head.spelled == "*" { "" } else { head.spelled };
            Err(Refusal::RedirectToHttps {
                location: format!("https://{}{path}{query}", head.host),
                keeps_method,
            })
        }
    }
}

fn has_body(head: &RequestHead<'_>) -> bool {
    head.known.has(Known::TransferEncoding)
        || head.known.get(Known::ContentLength).is_some_and(|len| len.iter().any(|b| *b != b'0'))
}

// RFC 8586 §2: a list of cdn-ids with parameters. Only our own id ends the request.
fn names_node(line: &[u8], node: &str) -> bool {
    crate::semantics::lists::members(line).any(|member| {
        let id = crate::semantics::lists::trim(member.split(|b| *b == b';').next().unwrap_or(b""));
        id.strip_prefix(NODE_PREFIX.as_bytes()) == Some(node.as_bytes())
    })
}
