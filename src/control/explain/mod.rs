//! `foreshore explain` and `/v1/explain`: a request's story, told by the functions that serve
//! requests. No socket is opened.

mod keeping;
mod question;
mod upstream;

use std::sync::Arc;

use keeping::{arrived, keeping_lines};
use question::{Answer, answer, request};
pub use question::{Question, fields, somewhere};
use upstream::{hops, moves_on, request_lines};

use crate::access::{self, Replaces, Routed};
use crate::cache::ask::{self, CacheIntent, CacheRequest, MethodIntent};
use crate::cache::invalidations::{Invalidations, Severity};
use crate::cache::lookup::{Lookup, lookup};
use crate::cache::purged::{Purged, purged};
use crate::cache::slice;
use crate::distribution::behavior::{Behavior, Unauthorised};
use crate::distribution::cache_policy::Semantics;
use crate::distribution::functions::Attached;
use crate::distribution::origin::Origin;
use crate::distribution::site::Site;
use crate::message::connection::Asker;
use crate::message::key::readable;
use crate::message::refusal::Refusal;
use crate::message::request::{Known, ViewerRequest};
use crate::message::verdict::PassReason;
use crate::origin::request::{FetchKind, OriginRequest};
use crate::proxy::rehearsal::{AtOrigin, Rehearsed, rehearse};
use crate::semantics::lists::parse_digits;
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;

/// Runs the lambdas of a story, where they are run.
pub trait Runner {
    /// The one at the viewer's request; `None` if there is none.
    fn viewer_request(&self, request: ViewerRequest) -> Option<Rehearsed>;

    /// The one at the origin's request; `None` if there is none. `left` is what code at the
    /// viewer's made of the request, where it made another.
    fn origin_request(
        &self,
        arrived: ViewerRequest,
        left: Option<Arc<ViewerRequest>>,
        origin: &Arc<Origin>,
        built: OriginRequest,
    ) -> Option<AtOrigin>;
}

/// A request as code at the viewer left it, for what runs at the origin.
struct Running<'s> {
    runner: &'s dyn Runner,
    arrived: &'s ViewerRequest,
    left: Option<Arc<ViewerRequest>>,
}

impl Running<'_> {
    fn origin_request(&self, origin: &Arc<Origin>, built: OriginRequest) -> Option<AtOrigin> {
        let arrived = self.arrived.arriving_at(self.arrived.arrived_number);
        self.runner.origin_request(arrived, self.left.clone(), origin, built)
    }
}

/// Tells the story of a request under a site, or what is wrong with the question. Lambdas run only
/// by a runner; functions run anyway.
pub fn explain(
    site: &Arc<Site>,
    question: &Question,
    now: Timestamp,
    runner: Option<&dyn Runner>,
) -> Result<String, String> {
    if question.status.is_some_and(|status| !(200..=599).contains(&status)) {
        return Err("the status of an answer is 200 to 599".into());
    }
    let request = request(question, site, now)?;
    let answer = answer(question, now)?;
    Ok(story(site, &request, answer.as_ref(), runner))
}

// The story, station by station.
fn story(
    site: &Arc<Site>,
    request: &ViewerRequest,
    answer: Option<&Answer>,
    runner: Option<&dyn Runner>,
) -> String {
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
    let wants = ask::wants(&routed, request.arrived_at);
    match purges.unwrap_or_else(|| admit(&routed, wants, request.arrived_at)) {
        Ok(()) => line("viewer", format!("{address}  may ask: {}", admitted(&routed))),
        Err(refusal) => {
            line("viewer", format!("{address}  {}", refused(&refusal)));
            if let Some(words) = page(&routed, wants, refusal.status()) {
                line("answer", words);
            }
            return out;
        }
    }
    policy_lines(behavior, &mut line);
    let Some(left) = by_code(site, request, behavior, runner, &mut line) else { return out };
    let running = runner.map(|runner| Running { runner, arrived: request, left: left.clone() });
    let request = left.as_deref().unwrap_or(request);
    let head = request.head();
    let routed = routed.route.on(site, &head);
    if !form_is_taken(&routed, &mut line) {
        return out;
    }
    let (key, wants) = key(&routed, ask::still_wants(&routed, wants, request.arrived_at));
    let whole = CacheRequest { routed, key: &key, wants, slice: None };
    keeping_lines(&whole, &mut line);
    let part = first_slice(&whole);
    let asked = match &part {
        Some((key, span)) => CacheRequest { key, slice: Some(*span), ..whole },
        None => whole,
    };
    if let Some((key, span)) = &part {
        line("slices", slice_words(key, *span));
    }
    let Some(asking) = asking(&asked, request.arrived_at, &mut line) else { return out };
    line("ask", hops(site, &asked, &asking));
    request_lines(&asked, &asking, request.arrived_at, running.as_ref(), &mut line);
    if let Some(answer) = answer {
        answer_lines(&whole, &asked, answer, request.arrived_at, &mut line);
    }
    out
}

// What an answer of the origin's leads to. `asked` is what is asked for first of the whole.
fn answer_lines(
    whole: &CacheRequest<'_>,
    asked: &CacheRequest<'_>,
    answer: &Answer,
    now: Timestamp,
    line: &mut impl FnMut(&str, String),
) {
    let status = answer.0;
    // What comes instead of a slice is judged as the whole that is asked for next.
    let judged = if status == 206 { asked } else { whole };
    moves_on(asked, status)
        .into_iter()
        .chain(arrived(judged, answer, now))
        .chain(page(&whole.routed, whole.wants, status))
        .for_each(|words| line("answer", words));
}

// What viewers get in the place of an answer with this status; edges and callers of gRPC get none.
fn page(routed: &Routed<'_>, wants: CacheIntent, status: u16) -> Option<String> {
    if wants.is_call() || routed.head.connection.asker == Asker::Edge {
        return None;
    }
    let rule = routed.distribution.error_response(routed.behavior, status)?;
    let (page, shown) = rule.page.as_ref()?;
    let of_page = &routed.distribution.behaviors[routed.distribution.behavior_at(page)];
    if !access::may_be_page(of_page, routed.head.connection.peer.ip()) {
        return None;
    }
    Some(format!("{status}  viewers get {page} in its place, with status {shown}"))
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
    runner: Option<&dyn Runner>,
    line: &mut impl FnMut(&str, String),
) -> Option<Option<Arc<ViewerRequest>>> {
    let Some(hooks) = &behavior.hooks else { return Some(None) };
    let named = |at: Attached| match at {
        Attached::Function(at) => format!("function {}", site.functions[at].name),
        Attached::Lambda { at, .. } if runner.is_some() => {
            format!("lambda {}", site.lambdas[at].name)
        }
        Attached::Lambda { at, .. } => {
            format!("lambda {}, not run without --run", site.lambdas[at].name)
        }
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
    let again = request.arriving_at(request.arrived_number);
    let came = match (at, runner) {
        (Attached::Lambda { .. }, Some(runner)) => runner.viewer_request(again),
        (Attached::Lambda { .. } | Attached::Function(_), _) => rehearse(site, again),
    };
    match came {
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

// What becomes of the fields of its form; false if the request goes no further. What safe methods
// carry is not looked at.
fn form_is_taken(routed: &Routed<'_>, line: &mut impl FnMut(&str, String)) -> bool {
    let plan = access::form::plan(routed).filter(|_| !routed.head.method.is_safe());
    match plan {
        None => true,
        Some(Ok(plan)) => {
            line("form", plan.words());
            true
        }
        Some(Err(status)) => {
            line("form", format!("refused: 400 {} {}", status.word(), status.sentence()));
            false
        }
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

// The key by which the cache is asked, and what is wanted of it: a body that is announced as too long
// for its key is passed on.
fn key(routed: &Routed<'_>, mut wants: CacheIntent) -> (Vec<u8>, CacheIntent) {
    let mut key = Vec::new();
    ask::write_key(&mut key, routed);
    if let (MethodIntent::Post, Some(post)) = (wants.method, &routed.behavior.cache_post) {
        let announced = routed.head.known.get(Known::ContentLength).and_then(parse_digits);
        if announced.is_some_and(|length| length > post.max_body) {
            wants.method = MethodIntent::Pass(PassReason::Body);
        }
        ask::write_post_key(&mut key, routed, post, b"");
    }
    if wants.method == MethodIntent::Options {
        ask::write_options_key(&mut key, routed);
    }
    (key, wants)
}

// The slice that is asked for first, and its key, where a behavior keeps objects in slices.
fn first_slice(asked: &CacheRequest<'_>) -> Option<(Vec<u8>, Span)> {
    let size = asked.routed.behavior.slice.filter(|_| asked.wants.method == MethodIntent::Get)?;
    let (_, index) = slice::first(asked.head(), size);
    Some((slice::key(asked.key, index), slice::span(index, size)))
}

fn slice_words(key: &[u8], span: Span) -> String {
    format!(
        "of {}; the first that is asked for: octets {} to {}, {}",
        words_of_octets(span.len()),
        span.start,
        span.end - 1,
        readable(key)
    )
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

// Whole units where they are.
fn words_of_octets(octets: u64) -> String {
    match octets {
        n if n > 0 && n % (1 << 20) == 0 => format!("{} MiB", n >> 20),
        n if n > 0 && n % (1 << 10) == 0 => format!("{} KiB", n >> 10),
        n => format!("{n} octets"),
    }
}
