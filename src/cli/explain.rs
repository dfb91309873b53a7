//! `foreshore explain`: a request's story, told by the functions that serve requests. No socket is
//! opened.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use http::{HeaderName, HeaderValue, Method};

use super::{ConfigArgs, fail};
use crate::access::prepare::prepare;
use crate::access::{self, Replaces, Routed};
use crate::cache::arrival::{Arrived, StorePlan, on_arrival};
use crate::cache::ask::{self, CacheIntent, CacheRequest, MethodIntent};
use crate::cache::invalidations::{Invalidations, Severity};
use crate::cache::lookup::{Lookup, lookup};
use crate::cache::purged::{Purged, purged};
use crate::cache::slice;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::distribution::behavior::{Behavior, Unauthorised};
use crate::distribution::cache_policy::Semantics;
use crate::distribution::functions::Attached;
use crate::distribution::origin::{Origin, OriginKind};
use crate::distribution::region::Region;
use crate::distribution::site::Site;
use crate::distribution::tier::Engine;
use crate::message::connection::{Asker, Connection, Forwarder, Scheme, Version};
use crate::message::key::{InvalidationNumber, readable};
use crate::message::path::is_safe_path;
use crate::message::refusal::Refusal;
use crate::message::request::{Known, ViewerRequest, split_target};
use crate::message::stored::Reuse;
use crate::message::verdict::PassReason;
use crate::origin::itinerary::{Failover, NoParent, NoTier, SharedTier, itinerary};
use crate::origin::peer;
use crate::origin::rank::{Candidate, Takes};
use crate::origin::request::{FetchKind, Node, build};
use crate::origin::signed;
use crate::proxy::rehearsal::{Rehearsed, rehearse};
use crate::semantics::fields::FieldSection;
use crate::semantics::freshness::{self, Exchanged};
use crate::semantics::lists::parse_digits;
use crate::semantics::ranges::Span;
use crate::semantics::time::{Timestamp, format_http_date};

#[derive(Args)]
pub(super) struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// The URL a viewer would ask for.
    url: String,
    /// A field of the request, `Name: value`; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The request's method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// The status of an answer of the origin's: what would become of it is told too.
    #[arg(long, value_name = "STATUS", value_parser = clap::value_parser!(u16).range(200..=599))]
    status: Option<u16>,
    /// A field of that answer, `Name: value`; may be given several times. Without --status it is a
    /// 200.
    #[arg(short = 'A', long = "answer", value_name = "FIELD")]
    answer: Vec<String>,
    /// The viewer's address.
    #[arg(long, default_value = "192.0.2.1")]
    from: std::net::IpAddr,
}

pub(super) fn explain(args: &ExplainArgs) -> ExitCode {
    let now = Clock::system().now();
    let site = match config::load(&args.config.config, now, MissingCertificates::Pending) {
        Ok(loaded) => loaded.site,
        Err(report) => {
            eprint!("{}", report.render(false));
            return ExitCode::FAILURE;
        }
    };
    let asked = request(args, &site, now).and_then(|request| Ok((request, answer(args, now)?)));
    match asked {
        Ok((request, answer)) => {
            print!("{}", story(&site, &request, answer.as_ref()));
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

/// An answer of the origin's, as far as its head.
type Answer = (u16, FieldSection);

fn answer(args: &ExplainArgs, now: Timestamp) -> Result<Option<Answer>, String> {
    if args.status.is_none() && args.answer.is_empty() {
        return Ok(None);
    }
    let mut fields = fields(&args.answer)?;
    if !fields.contains(&http::header::DATE) {
        fields.insert(&http::header::DATE, format_http_date(now));
    }
    Ok(Some((args.status.unwrap_or(200), fields)))
}

/// Fields from lines of `Name: value`.
pub(super) fn fields(lines: &[String]) -> Result<FieldSection, String> {
    let mut fields = FieldSection::new();
    for line in lines {
        let (name, value) =
            line.split_once(':').ok_or_else(|| format!("{line:?} is not `Name: value`"))?;
        let name = HeaderName::from_bytes(name.trim().as_bytes())
            .map_err(|error| format!("{line:?}: {error}"))?;
        fields.append(
            &name,
            HeaderValue::from_str(value.trim()).map_err(|error| format!("{line:?}: {error}"))?,
        );
    }
    Ok(fields)
}

fn request(args: &ExplainArgs, site: &Site, now: Timestamp) -> Result<ViewerRequest, String> {
    let (scheme, rest) = match args.url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err(format!("{:?} is not an http or https URL", args.url)),
    };
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(cut);
    // Clients keep a fragment to themselves.
    let target = target.split('#').next().unwrap_or("");
    let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
    let visible = target.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if !visible || !is_safe_path(split_target(&target).0) {
        return Err(format!(
            "refused: 400 {target:?} has dot segments, or characters that must be escaped"
        ));
    }
    let fields = fields(&args.headers)?;
    let local = SocketAddr::from(([127, 0, 0, 1], 0));
    let place = site.geo.as_ref().map(|geo| Arc::new(geo.place(args.from)));
    let connection = Connection {
        peer: SocketAddr::new(args.from, 50_000),
        local,
        scheme,
        tls: None,
        place,
        asker: Asker::Viewer,
    };
    let mut request = ViewerRequest {
        id: Default::default(),
        method: Method::from_bytes(args.method.as_bytes())
            .map_err(|_| format!("{:?} is no method", args.method))?,
        version: Version::Http11,
        scheme,
        authority: authority.into(),
        target: target.into(),
        spelled: None,
        order: None,
        fields,
        connection: Arc::new(connection),
        arrived_at: now,
        arrived_number: InvalidationNumber(0),
        interim: None,
        upstream: Default::default(),
        known: Default::default(),
    };
    prepare(&mut request, site);
    Ok(request)
}

/// The story, station by station.
pub(super) fn story(site: &Arc<Site>, request: &ViewerRequest, answer: Option<&Answer>) -> String {
    let head = request.head();
    let mut out = String::new();
    let mut line = |station: &str, words: String| out.push_str(&format!("{station:<10}{words}\n"));
    let refused = |refusal: &Refusal| format!("refused: {} {}", refusal.status(), refusal.words());
    let routed = match access::route(site, &head, request.arrived_at) {
        Ok(routed) => routed,
        Err(refusal) => {
            line("host", format!("{}  {}", head.host, refused(&refusal)));
            return out;
        }
    };
    let behavior = routed.behavior;
    route_lines(&routed, &mut line);
    let address = head.connection.peer.ip();
    let purges = access::purges(site, &routed);
    if let Some(Ok(())) = purges {
        line("viewer", format!("{address}  may purge"));
        line("purge", purging(site, &routed));
        return out;
    }
    let wants = ask::wants(&routed);
    match purges.unwrap_or_else(|| admit(&routed, wants, request.arrived_at)) {
        Ok(()) => line("viewer", format!("{address}  may ask: {}", admitted(&routed))),
        Err(refusal) => {
            line("viewer", format!("{address}  {}", refused(&refusal)));
            return out;
        }
    }
    policy_lines(behavior, &mut line);
    let Some(left) = by_code(site, request, behavior, &mut line) else { return out };
    let request = left.as_deref().unwrap_or(request);
    let head = request.head();
    let routed = routed.route.on(site, &head);
    let mut wants = ask::wants(&routed);
    let mut key = Vec::new();
    ask::write_key(&mut key, &routed);
    if let (MethodIntent::Post, Some(post)) = (wants.method, &behavior.cache_post) {
        let announced = head.known.get(Known::ContentLength).and_then(parse_digits);
        if announced.is_some_and(|length| length > post.max_body) {
            wants.method = MethodIntent::Pass(PassReason::Body);
        }
        ask::write_post_key(&mut key, &routed, post, b"");
    }
    let whole = CacheRequest { routed, key: &key, wants, slice: None };
    keeping_lines(&whole, &mut line);
    let part = first_slice(&whole);
    let asked = match &part {
        Some((key, span)) => CacheRequest { key, slice: Some(*span), ..whole },
        None => whole,
    };
    if let Some((key, span)) = &part {
        let size = words_of_octets(span.len());
        line(
            "slices",
            format!(
                "of {size}; the first that is asked for: octets {} to {}, {}",
                span.start,
                span.end - 1,
                readable(key)
            ),
        );
    }
    let Some(asking) = asking(&asked, request.arrived_at, &mut line) else { return out };
    line("ask", hops(site, &asked, &asking));
    request_lines(&asked, &asking, request.arrived_at, &mut line);
    if let Some(answer) = answer {
        // What comes instead of a slice is judged as the whole that is asked for next.
        let judged = if answer.0 == 206 { &asked } else { &whole };
        arrived(judged, answer, request.arrived_at)
            .into_iter()
            .for_each(|words| line("answer", words));
    }
    out
}

// Which distribution and behavior the request finds.
fn route_lines(routed: &Routed<'_>, line: &mut impl FnMut(&str, String)) {
    let pattern = routed.behavior.pattern.as_str();
    line("host", format!("{}  distribution {:?}", routed.head.host, routed.distribution.id));
    let passed: Vec<&str> = routed
        .distribution
        .behaviors
        .iter()
        .map(|b| b.pattern.as_str())
        .take_while(|p| *p != pattern)
        .collect();
    let others =
        if passed.is_empty() { String::new() } else { format!("  (not {})", passed.join(", ")) };
    line("path", format!("{}  behavior {pattern:?}{others}", routed.path));
}

// What the behavior's own code makes of the request: `None` if it ends there, and within it another
// request, if it is one now.
fn by_code(
    site: &Arc<Site>,
    request: &ViewerRequest,
    behavior: &Behavior,
    line: &mut impl FnMut(&str, String),
) -> Option<Option<Arc<ViewerRequest>>> {
    let Some(hooks) = &behavior.hooks else { return Some(None) };
    let named = |at: Attached| match at {
        Attached::Function(at) => format!("function {}", site.functions[at].name),
        Attached::Lambda { at, .. } => format!("lambda {}, not run here", site.lambdas[at].name),
    };
    for (event, at) in [
        ("origin-request", hooks.origin_request),
        ("origin-response", hooks.origin_response),
        ("viewer-response", hooks.viewer_response),
    ] {
        if let Some(at) = at {
            line("code", format!("{event}  {}", named(at)));
        }
    }
    let Some(at) = hooks.viewer_request else { return Some(None) };
    let name = named(at);
    match rehearse(site, request.arriving_at(request.arrived_number)) {
        None => {
            line("code", format!("viewer-request  {name}"));
            Some(None)
        }
        Some(Rehearsed::Answer { status, word, why }) => {
            let why = why.map(|why| format!(": {why}")).unwrap_or_default();
            line("code", format!("viewer-request  {name}  answers {status} {word}{why}"));
            None
        }
        Some(Rehearsed::Request { request, origins }) => {
            let to = match origins.is_empty() {
                true => String::new(),
                false => format!("  sent to {} (no parent is asked)", origins.join(", ")),
            };
            line("code", format!("viewer-request  {name}  goes on as {}{to}", request.target));
            Some(Some(request))
        }
    }
}

// What the behavior goes by.
fn policy_lines(behavior: &Behavior, line: &mut impl FnMut(&str, String)) {
    let semantics =
        if behavior.semantics() == Semantics::CloudFront { "cloudfront" } else { "rfc9111" };
    line("policy", format!("{}, semantics {semantics}", behavior.cache.name));
    if let Some(policy) = &behavior.response {
        line("response", format!("headers as {:?} has them", policy.name));
    }
}

// By `access::admit`, under rates of which nothing is spent; and whether the caller insists on what
// it may not do.
fn admit(routed: &Routed<'_>, wants: CacheIntent, now: Timestamp) -> Result<(), Refusal> {
    let (signatures, rates) =
        (crate::crypto::memory::VerifiedSignatures::default(), access::rate::Buckets::default());
    access::admit(
        routed,
        wants.caching(),
        access::AdmitContext { node: "explain", signatures: &signatures, rates: &rates, now },
    )?;
    match wants.replaces {
        Replaces::MayNot(Unauthorised::FailWith403) => Err(Refusal::MayNotReplace),
        Replaces::No | Replaces::Yes | Replaces::MayNot(_) => Ok(()),
    }
}

// What a PURGE would do.
fn purging(site: &Site, routed: &Routed<'_>) -> String {
    let Purged { distribution, matcher, severity } = purged(site, routed);
    let what = match severity {
        Severity::Hard => "is never served again",
        Severity::Soft => "is validated before it is served again",
    };
    format!("what is stored of {matcher} of distribution {:?} {what}", distribution.id)
}

// What the cache goes by.
fn keeping_lines(asked: &CacheRequest<'_>, line: &mut impl FnMut(&str, String)) {
    let digest = match asked.wants.method {
        MethodIntent::Pass(_) => return,
        MethodIntent::Post => " (the digest is an empty body's)",
        MethodIntent::Get | MethodIntent::Head => "",
    };
    line("key", format!("{}{digest}", readable(asked.key)));
    line("keep", keep(&asked.routed));
}

// The slice that is asked for first, and its key, where a behavior keeps objects in slices.
fn first_slice(asked: &CacheRequest<'_>) -> Option<(Vec<u8>, Span)> {
    let size = asked.routed.behavior.slice.filter(|_| asked.wants.method == MethodIntent::Get)?;
    let (_, index) = slice::first(asked.head(), size);
    Some((slice::key(asked.key, index), slice::span(index, size)))
}

// For what reason the hops are asked while nothing is stored; `None` if they are not asked.
fn asking(
    asked: &CacheRequest<'_>,
    now: Timestamp,
    line: &mut impl FnMut(&str, String),
) -> Option<FetchKind> {
    match lookup(asked, &[], &Invalidations::new(1), now) {
        Lookup::Pass(why) => {
            let asks = if let MethodIntent::Pass(_) = asked.wants.method {
                "not asked"
            } else {
                "cannot answer"
            };
            line("cache", format!("{asks}: {}", why.cites()));
            Some(FetchKind::Pass)
        }
        Lookup::Unavailable => {
            line(
                "ask",
                "nobody: only-if-cached (RFC 9111 §5.2.1.7), and nothing is stored".to_string(),
            );
            None
        }
        Lookup::Fresh(_) | Lookup::Stale(_) | Lookup::Revalidate(..) | Lookup::Miss(_) => {
            Some(FetchKind::Fill)
        }
    }
}

// The request that the first origin would see.
fn request_lines(
    asked: &CacheRequest<'_>,
    asking: &FetchKind,
    now: Timestamp,
    line: &mut impl FnMut(&str, String),
) {
    let routed = asked.routed;
    let (members, _) = routed.distribution.members(routed.behavior.target);
    let Some(first) = members.first() else { return };
    let origin = &routed.distribution.origins[*first];
    let mut built = build(
        asked,
        asking,
        origin,
        Node { id: "NODE", keeps_forwarded_for: routed.forwarder() == Forwarder::Trusted },
    );
    if let Some(access) = &origin.access {
        signed::sign(&mut built, access, now);
    }
    line("request", format!("{} {}", built.method, built.target));
    for (name, value) in built.fields.iter().filter(|(_, value)| !value.is_secret()) {
        line(
            "",
            format!(
                "{}: {}",
                name.spelled().to_ascii_lowercase(),
                String::from_utf8_lossy(value.as_bytes())
            ),
        );
    }
    if let Some(words) = proof(origin, &built.fields) {
        line("tls", words);
    }
    if let Some(access) = &origin.access {
        line("", format!("authorization: signed for {} in {}", access.service, access.region));
    }
}

// Which name the origin's certificate has to be for, over TLS.
fn proof(origin: &Origin, fields: &FieldSection) -> Option<String> {
    let OriginKind::Http(http) = &origin.kind else { return None };
    http.tls.as_ref()?;
    let name = peer::name(http, fields);
    let sni = if name.parse::<std::net::IpAddr>().is_ok() {
        "no SNI for an address".to_string()
    } else {
        format!("SNI {name}")
    };
    Some(match peer::own(http).filter(|own| *own != name) {
        Some(own) => format!("{sni}; a certificate for {name} or for {own}"),
        None => format!("{sni}; a certificate for {name}"),
    })
}

// What let the viewer in, beside that nothing keeps it out.
fn admitted(routed: &Routed<'_>) -> String {
    let (head, behavior) = (routed.head, routed.behavior);
    let mut all = vec![head.scheme.as_str().to_string(), head.method.to_string()];
    if let Some(country) = head.connection.place.as_ref().and_then(|place| place.country.as_ref()) {
        all.push(format!("from {country}"));
    }
    if behavior.signers.is_some() {
        all.push("with a signature that holds".into());
    }
    if let Some(limit) = behavior.rate_limit {
        all.push(format!(
            "{} at once, then one in {:?}",
            limit.burst,
            std::time::Duration::from_micros(limit.every)
        ));
    }
    if routed.distribution.is_deploying {
        all.push(format!("and sees {:?} of a continuous deployment", routed.distribution.id));
    }
    all.join(", ")
}

// What an answer would be worth, by the function that judges answers.
fn arrived(asked: &CacheRequest<'_>, (status, fields): &Answer, now: Timestamp) -> Vec<String> {
    if let MethodIntent::Pass(_) = asked.wants.method {
        return vec![format!("{status}  goes to this viewer alone: the cache was not asked")];
    }
    let when = Exchanged { asked_at: now, arrived_at: now };
    match on_arrival(asked, None, *status, fields, when, &Invalidations::new(1)) {
        Arrived::Store(keeping) => {
            let withheld: Vec<String> =
                freshness::withheld(fields).iter().map(ToString::to_string).collect();
            let without = format!(
                "without {}, which this viewer alone gets (RFC 9111 §5.2.2.4, §5.2.2.7)",
                withheld.join(", ")
            );
            kept(*status, &keeping, now)
                .into_iter()
                .chain((!withheld.is_empty()).then_some(without))
                .collect()
        }
        Arrived::Pass(why) => vec![format!("{status}  not kept: {}", why.cites())],
        Arrived::Freshen(..) | Arrived::Reuse(_) | Arrived::AskAgain => {
            vec![format!("{status}  confirms nothing that is stored")]
        }
    }
}

fn kept(status: u16, keeping: &StorePlan, now: Timestamp) -> Vec<String> {
    let life = &keeping.life;
    let left = life.fresh.saturating_sub(now.millis_since(keeping.born));
    let secs = |millis: u64| words(std::time::Duration::from_secs(millis / 1000));
    let mut lines = vec![match life.reuse {
        Reuse::WhileFresh if left == 0 => {
            format!("{status}  kept, stale on arrival: {}", life.rule.cites())
        }
        Reuse::WhileFresh => {
            format!("{status}  kept, fresh for {}: {}", secs(left), life.rule.cites())
        }
        Reuse::AfterValidation => {
            format!("{status}  kept, and validated before each use: no-cache (RFC 9111 §5.2.2.4)")
        }
    }];
    if life.stale_while_revalidate > 0 {
        lines.push(format!(
            "then served stale for {} while it is refreshed (RFC 5861 §3)",
            secs(life.stale_while_revalidate)
        ));
    }
    if life.stale_if_error > 0 {
        lines.push(format!(
            "then served stale for {} while the origin fails (RFC 5861 §4, RFC 9111 §4.2.4)",
            secs(life.stale_if_error)
        ));
    }
    if !keeping.selector.0.is_empty() {
        let names: Vec<&str> = keeping.selector.0.iter().map(|(name, _)| name.as_str()).collect();
        lines.push(format!("one variant for each value of {} (RFC 9111 §4.1)", names.join(", ")));
    }
    if let Some(coding) = keeping.coding {
        lines.push(format!(
            "compressed with {} when stored, if type and size are CloudFront's",
            coding.name()
        ));
    }
    lines
}

fn keep(routed: &Routed<'_>) -> String {
    let (policy, ttl) = (&routed.behavior.cache, routed.behavior.cache.ttl);
    match policy.semantics {
        Semantics::CloudFront => format!(
            "{} unless the origin says; never under {}, never over {}; errors at least {} (CloudFront's table)",
            words(ttl.default()),
            words(ttl.min()),
            words(ttl.max()),
            words(policy.error_ttl)
        ),
        Semantics::Rfc9111 if ttl.default().is_zero() => {
            format!(
                "as the origin says, or a tenth of Date - Last-Modified (RFC 9111 §4.2); never over {}",
                words(ttl.max())
            )
        }
        Semantics::Rfc9111 => format!(
            "as the origin says, else {}; never over {}",
            words(ttl.default()),
            words(ttl.max())
        ),
    }
}

fn words(duration: std::time::Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0 => "0 s".into(),
        s if s % 86_400 == 0 => format!("{} d", s / 86_400),
        s if s % 3600 == 0 => format!("{} h", s / 3600),
        s => format!("{s} s"),
    }
}

// Whole units where they are.
fn words_of_octets(octets: u64) -> String {
    match octets {
        n if n > 0 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n > 0 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} octets"),
    }
}

// The hops in their order, by the function that serving goes by.
fn hops(site: &Site, asked: &CacheRequest<'_>, asking: &FetchKind) -> String {
    let all = match &site.region {
        Some(Region::Parents(parents)) => &parents.all[..],
        None => &[],
    };
    let shared = site.tier.as_ref().map_or(SharedTier::Absent, |_| SharedTier::Configured);
    let names: Vec<String> = all.iter().map(|parent| parent.url.to_string()).collect();
    let candidates = names.iter().zip(all).map(|(name, parent)| Candidate {
        name,
        weight: parent.weight,
        takes: Takes::Keys,
    });
    let plan = itinerary(asked, asking, shared, candidates);
    let tier = plan.tier.is_ok().then(|| tier_words(site)).into_iter();
    let parents = plan.parents.iter().flatten().map(|at| format!("parent {:?}", names[*at]));
    let origins =
        plan.asked_members().iter().map(|at| origin_words(&asked.routed.distribution.origins[*at]));
    let mut words = tier.chain(parents).chain(origins).collect::<Vec<_>>().join(", then ");
    match plan.failover {
        Failover::On(statuses) => {
            let statuses: Vec<String> = statuses.iter().map(ToString::to_string).collect();
            words.push_str(&format!(
                "; the next on {} or when it cannot be reached",
                statuses.join(" ")
            ));
        }
        Failover::NotRepeatable => {
            words.push_str(&format!("; no other origin: {} is asked once", asked.head().method))
        }
        Failover::OneMember => {}
    }
    match plan.parents {
        Ok(_) | Err(NoParent::NoneConfigured) => {}
        Err(why) => words.push_str(&format!("; no parent: {}", why.words())),
    }
    match plan.tier {
        Ok(()) | Err(NoTier::NoneConfigured) => {}
        Err(why) => words.push_str(&format!("; not the shared tier: {}", why.words())),
    }
    words
}

fn tier_words(site: &Site) -> String {
    let engine = site.tier.as_ref().map(|tier| &tier.engine);
    match engine {
        Some(Engine::Memcached(_)) => "the shared tier (memcached)".into(),
        Some(Engine::Redis(_)) | None => "the shared tier (Redis)".into(),
    }
}

fn origin_words(origin: &Origin) -> String {
    match &origin.kind {
        OriginKind::Http(http) => {
            let scheme = if http.tls.is_some() { "https" } else { "http" };
            format!(
                "origin {:?} ({scheme}://{}:{}{})",
                origin.id, http.host, http.port, origin.path
            )
        }
        OriginKind::Directory(root) => {
            format!("origin {:?} (folder {})", origin.id, root.display())
        }
    }
}
