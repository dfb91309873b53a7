//! CloudFront Functions in the sentence of a request: what they are told, what their answers come
//! to, and what becomes of those that fail.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use super::exchange::{ChosenOrigins, Exchange, Shaped};
use super::stop::Stop;
use super::{Proxy, Running, engines};
use crate::access::{self, Route, Routed};
use crate::base::spare::Spare;
use crate::body::Body;
use crate::cache::ask;
use crate::deliver::{self, error_response};
use crate::distribution::functions::OriginInKey;
use crate::distribution::site::Site;
use crate::functions::event::{CallFailure, EdgeFacts, Event, Place, RequestFacts, ResponseFacts};
use crate::functions::origins::{self, Around};
use crate::functions::rules::{self, Change, RequestChange, ResponseChange};
use crate::message::forwarding;
use crate::message::request::{Fields, RequestHead, ViewerRequest};
use crate::message::response::{Ran, Told, ViewerResponse};
use crate::message::verdict::{FunctionEnd, Outcome, Reason};
use crate::record::function_counts::{self, FunctionCounts};
use crate::semantics::fields::{FieldSection, Name};
use crate::semantics::time::Timestamp;

/// So many failures in a row have a function left alone for `[functions] throttle`.
const FAILURES_MAX: u32 = 10;
/// Octets of lines that one call may write (CloudFront cuts them off there, too).
const LINES_MAX: usize = 10 << 10;
/// CloudFront's words for a function that gave no answer.
const NOT_RUN: &str = "The CloudFront function associated with the CloudFront distribution is invalid or could not run.";
/// What code is told of the region that it runs in, as lambdas are.
const REGION: &str = "us-east-1";

/// How the functions of a site fared of late, in the site's order.
pub struct States {
    all: Vec<Arc<State>>,
    counts: Vec<Arc<FunctionCounts>>,
}

/// How one function fared of late. A reload keeps it for as long as the code stays.
struct State {
    digest: [u8; 32],
    /// In a row, by time, memory or compiling.
    failures: AtomicU32,
    /// It is not run before this moment.
    until: AtomicU64,
}

impl States {
    /// Of a site that follows another, or of the first one.
    pub fn for_site(site: &Site, before: Option<&Self>) -> Self {
        let known = before.map_or(&[][..], |before| &before.all[..]);
        let of = |digest: [u8; 32]| match known.iter().find(|state| state.digest == digest) {
            Some(state) => Arc::clone(state),
            None => {
                Arc::new(State { digest, failures: AtomicU32::new(0), until: AtomicU64::new(0) })
            }
        };
        let all = site.functions.iter().map(|function| of(function.digest)).collect();
        let known = before.map_or(&[][..], |before| &before.counts[..]);
        Self { all, counts: function_counts::for_site(site, site.listen.workers, known) }
    }

    /// What is counted of them.
    pub fn counts(&self) -> &[Arc<FunctionCounts>] {
        &self.counts
    }
}

impl State {
    fn is_throttled(&self, now: Timestamp) -> bool {
        now.0 < self.until.load(Ordering::Relaxed)
    }

    // Notes what came of a call; what code threw says nothing of its costs.
    fn note(&self, failure: Option<&CallFailure>, now: Timestamp, throttle: Duration) {
        match failure {
            None if self.failures.load(Ordering::Relaxed) > 0 => {
                self.failures.store(0, Ordering::Relaxed);
            }
            Some(
                CallFailure::NotCompiled(_) | CallFailure::TooLong | CallFailure::TooMuchMemory,
            ) if self.failures.fetch_add(1, Ordering::Relaxed) + 1 >= FAILURES_MAX
                && !throttle.is_zero() =>
            {
                self.failures.store(0, Ordering::Relaxed);
                self.until.store(now.plus(throttle).0, Ordering::Relaxed);
            }
            _ => {}
        }
    }
}

/// Why a call gave nothing usable.
struct Failed {
    end: FunctionEnd,
    /// For the viewer.
    sentence: String,
    /// For the log.
    detail: String,
}

impl Failed {
    fn new(failure: CallFailure) -> Self {
        let (end, detail) = match failure {
            CallFailure::NotCompiled(why) => (FunctionEnd::Throttled, why),
            CallFailure::Threw(why) => (FunctionEnd::Execution, why),
            CallFailure::NeverSettles => {
                (FunctionEnd::Execution, "its promise never settles".to_string())
            }
            CallFailure::TooLong => {
                (FunctionEnd::Execution, "it took longer than functions.stop".to_string())
            }
            CallFailure::TooMuchMemory => {
                (FunctionEnd::Execution, "it took more than functions.memory".to_string())
            }
            CallFailure::WrongShape { path, wanted, found } => {
                let invalid = rules::Invalid::new(path, format!("must be {wanted}"), &found);
                return Self::invalid(&invalid);
            }
        };
        Self { end, sentence: NOT_RUN.to_string(), detail }
    }

    fn invalid(invalid: &rules::Invalid) -> Self {
        let (sentence, detail) = (invalid.sentence(), invalid.detail());
        Self { end: FunctionEnd::Validation, sentence, detail }
    }
}

/// Runs viewer-request code: the exchange has the request that it left, or stops with its answer.
pub(super) fn on_request(core: &Proxy, exchange: &mut Exchange, at: usize) -> Result<(), Stop> {
    let (running, request) = (Arc::clone(&exchange.running), Arc::clone(&exchange.request));
    let (route, ran) = (exchange.route, &mut exchange.ran);
    let judged =
        tell(&running, route, &request.head(), None, |event| run(core, &running, at, event, ran));
    let failed = match judged {
        Ok(Change::Nothing) => return Ok(()),
        Ok(Change::Response(made)) => return Err(Stop::Made(Box::new(generated(*made)))),
        Ok(Change::Request(change)) => match choose(exchange, &change) {
            Ok(origins) => return apply(exchange, *change, origins),
            Err(invalid) => {
                let failed = Failed::invalid(&invalid);
                running.functions.counts[at].count_error(core.index, failed.end);
                exchange.ran.get_or_insert_default().error = Some(failed.detail.clone());
                failed
            }
        },
        Err(failed) => failed,
    };
    Err(Stop::Made(Box::new(refused(exchange, at, &failed))))
}

/// Runs viewer-response code; an error is what the viewer gets in the place of the answer.
pub(super) fn on_response(
    core: &Proxy,
    exchange: &mut Exchange,
    at: usize,
    response: ViewerResponse,
) -> Result<ViewerResponse, Box<ViewerResponse>> {
    let (running, request) = (Arc::clone(&exchange.running), Arc::clone(&exchange.request));
    let (route, ran) = (exchange.route, &mut exchange.ran);
    let facts =
        ResponseFacts { status: response.status, fields: Fields::Section(&response.fields) };
    let judged = tell(&running, route, &request.head(), Some(facts), |event| {
        run(core, &running, at, event, ran)
    });
    match judged {
        Ok(Change::Response(change)) => Ok(with(response, *change)),
        // The rules let no request through here.
        Ok(Change::Nothing | Change::Request(_)) => Ok(response),
        Err(failed) => Err(Box::new(refused(exchange, at, &failed))),
    }
}

/// Makes a chosen origin a part of the key, where that is wanted.
pub(super) fn write_key(key: &mut Spare, site: &Site, shaped: &Shaped) {
    if let Some(origins) = &shaped.origins
        && site.function_settings.origin_in_key == OriginInKey::Yes
    {
        for origin in &origins.members {
            key.extend_from_slice(b"\0origin=");
            key.extend_from_slice(origin.id.as_bytes());
        }
    }
}

// Tells code of a request, and of the response to it where there is one.
fn tell<R>(
    running: &Running,
    route: Route,
    head: &RequestHead<'_>,
    response: Option<ResponseFacts<'_>>,
    call: impl FnOnce(&Event<'_>) -> R,
) -> R {
    let site = &*running.site;
    let (distribution, behavior) = route.of(site);
    let cleaned = cleaned(head.fields);
    let added: Vec<(&str, String)> = match response {
        None => forwarding::added_names(behavior)
            .filter_map(|name| Some((name.as_str(), forwarding::added_field(head, name.as_str())?)))
            .collect(),
        Some(_) => Vec::new(),
    };
    let extra: Vec<(&str, &[u8])> =
        added.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    let id = head.id.text();
    let edge = EdgeFacts {
        name: site.pop.get(..3).unwrap_or(&site.pop),
        server: head.connection.local.ip(),
        region: REGION,
    };
    call(&Event {
        place: if response.is_some() { Place::ViewerResponse } else { Place::ViewerRequest },
        domain_name: distribution.hosts.iter().map(String::as_str).find(|host| !host.contains('*')),
        distribution_id: &distribution.id,
        request_id: &id,
        viewer: head.connection.peer.ip().to_canonical(),
        request: RequestFacts {
            method: head.method.as_str(),
            uri: head.spelled.as_bytes(),
            query: head.query.map(str::as_bytes),
            fields: cleaned.as_ref().map_or(head.fields, Fields::Section),
            extra: &extra,
        },
        response,
        edge: response.is_none().then_some(edge),
    })
}

// Only we say what CloudFront's fields say: a viewer that sends some is not believed.
fn cleaned(fields: Fields<'_>) -> Option<FieldSection> {
    let is_ours = |name: &str| Name::from(name).begins("cloudfront-");
    if !fields.iter().any(|(name, _)| is_ours(name)) {
        return None;
    }
    let mut all = fields.to_section();
    all.retain(|name, _| !is_ours(name.spelled()));
    Some(all)
}

// One call, judged by the rules, counted and noted.
fn run(
    core: &Proxy,
    running: &Running,
    at: usize,
    event: &Event<'_>,
    ran: &mut Option<Box<Ran>>,
) -> Result<Change, Failed> {
    let (site, functions) = (&*running.site, &running.functions);
    let (function, state, counts) =
        (&site.functions[at], &functions.all[at], &functions.counts[at]);
    let now = core.edge.clock.now();
    let mut nanos = 0;
    let judged = if state.is_throttled(now) {
        let detail = "it failed too often of late and is not run for functions.throttle";
        let (sentence, detail) = (NOT_RUN.to_string(), detail.to_string());
        Err(Failed { end: FunctionEnd::Throttled, sentence, detail })
    } else {
        let mut lines = Vec::new();
        let log = core.edge.function_log.get().filter(|log| log.wants_functions());
        let (returned, spent) = engines::call(running, function, event, now, &mut |line| {
            if log.is_some() {
                add_line(&mut lines, event, line);
            }
        });
        if let Some(log) = log.filter(|_| !lines.is_empty()) {
            log.add_functions(framed(&lines, event));
        }
        nanos = spent.nanos;
        counts.count_call(core.index, nanos, spent.utilisation);
        state.note(returned.as_ref().err(), now, site.function_settings.limits.throttle);
        match returned {
            Ok(returned) => rules::judge(event, &returned).map_err(|why| Failed::invalid(&why)),
            Err(failure) => Err(Failed::new(failure)),
        }
    };
    let ran = ran.get_or_insert_default();
    ran.add(&function.name, nanos);
    ran.error = judged.as_ref().err().map(|failed| failed.detail.clone());
    if let Err(failed) = &judged {
        counts.count_error(core.index, failed.end);
    }
    judged
}

// A line as CloudWatch has it, and as no viewer can forge one.
fn add_line(lines: &mut Vec<u8>, event: &Event<'_>, line: &str) {
    if lines.len() >= LINES_MAX {
        return;
    }
    lines.extend_from_slice(event.request_id.as_bytes());
    lines.push(b' ');
    let start = lines.len();
    for letter in line.chars() {
        if lines.len() - start >= LINES_MAX {
            break;
        }
        if letter.is_control() && letter != '\t' {
            lines.extend(letter.escape_default().map(|plain| plain as u8));
        } else {
            lines.extend_from_slice(letter.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
    lines.push(b'\n');
}

// The lines of a call between those that CloudWatch has around them.
fn framed(lines: &[u8], event: &Event<'_>) -> Vec<u8> {
    let (id, distribution) = (event.request_id, event.distribution_id);
    let mut all = format!("{id} START DistributionID: {distribution}\n").into_bytes();
    all.extend_from_slice(lines);
    all.extend_from_slice(format!("{id} END\n").as_bytes());
    all
}

// The answer that viewer-request code made.
pub(super) fn generated(made: ResponseChange) -> ViewerResponse {
    let status = made.status.unwrap_or(200);
    let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
    let body = made.body.filter(|body| !body.is_empty());
    ViewerResponse {
        status,
        fields: made.fields.unwrap_or_default(),
        body: body.map_or(Body::Empty, Body::Bytes),
        verdict: deliver::no_cache(outcome, Reason::Function(FunctionEnd::Generated)),
        told: Told::default(),
        failure: None,
        behavior: None,
        origin_millis: None,
        ran: None,
    }
}

// What the viewer gets where code gave nothing usable; what stood there is for the log alone.
fn refused(exchange: &Exchange, at: usize, failed: &Failed) -> ViewerResponse {
    let (id, detail) = (exchange.request.id, &failed.detail);
    let function = &*exchange.running.site.functions[at].name;
    tracing::warn!(function, kind = failed.end.word(), detail, id = id.text(), "a function failed");
    error_response::function_failed(failed.end, &failed.sentence, exchange.compat(), id)
}

fn choose(
    exchange: &Exchange,
    change: &RequestChange,
) -> Result<Option<ChosenOrigins>, rules::Invalid> {
    let Some(choice) = &change.origin else { return Ok(None) };
    let site = &exchange.running.site;
    let (distribution, behavior) = exchange.chosen();
    let around = Around {
        distribution,
        target: behavior.target,
        names: &site.origin_names,
        choosable: site.function_settings.origins,
        admin: site.admin.listen,
    };
    let (members, failover) = origins::choose(choice, &around)?;
    Ok(Some(ChosenOrigins { members, failover }))
}

// The exchange goes on with another request, or to other origins. A bucket gets no order that it
// would not have been given by the viewer.
pub(super) fn apply(
    exchange: &mut Exchange,
    change: RequestChange,
    origins: Option<ChosenOrigins>,
) -> Result<(), Stop> {
    let viewer = Arc::clone(&exchange.request);
    if change.uri.is_some() || change.query.is_some() || change.fields.is_some() {
        exchange.request = Arc::new(changed(&viewer, change));
        exchange.found = None;
    }
    exchange.shaped = Some(Arc::new(Shaped { viewer, origins }));
    let request = Arc::clone(&exchange.request);
    let head = request.head();
    let routed: Routed<'_> = exchange.routed(&head);
    let wants = ask::wants(&routed);
    let members = (0..exchange.members()).filter_map(|at| exchange.member(at));
    let signed = members.filter_map(|origin| origin.access.as_ref());
    access::bucket::judge_for(&routed, wants.caching(), signed)?;
    exchange.wants = wants;
    Ok(())
}

// The request as code left it.
fn changed(viewer: &ViewerRequest, change: RequestChange) -> ViewerRequest {
    let mut request = viewer.arriving_at(viewer.arrived_number);
    let is_elsewhere = change.uri.is_some();
    if is_elsewhere || change.query.is_some() {
        let head = viewer.head();
        let path = change.uri.as_deref().unwrap_or(head.path);
        let query = match &change.query {
            Some(query) => query.as_deref(),
            None => head.query,
        };
        request.target = match query {
            Some(query) => [path, "?", query].concat().into(),
            None => path.into(),
        };
    }
    if is_elsewhere {
        request.spelled = None;
        request.spell_plainly();
    }
    if let Some(fields) = change.fields {
        request.fields = fields;
        request.fields_changed();
    }
    request
}

// The response as code left it. What describes the octets of a body that is replaced is gone from
// its fields by the rules.
pub(super) fn with(response: ViewerResponse, change: ResponseChange) -> ViewerResponse {
    let mut response = response;
    if let Some(fields) = change.fields {
        response.fields = fields;
    }
    let before = response.status;
    response.status = change.status.unwrap_or(before);
    match change.body {
        Some(body) if body.is_empty() => response.body = Body::Empty,
        Some(body) => response.body = Body::Bytes(body),
        // Such a response has no body, whatever there was.
        None if matches!(response.status, 204 | 304) && before != response.status => {
            response.body = Body::Empty;
            response.fields.remove(&http::header::CONTENT_LENGTH);
        }
        None => {}
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State { digest: [0; 32], failures: AtomicU32::new(0), until: AtomicU64::new(0) }
    }

    #[test]
    fn ten_costly_failures_in_a_row_leave_a_function_alone_for_a_while() {
        let (state, second) = (state(), Duration::from_secs(1));
        let (now, later) = (Timestamp::from_secs(10), Timestamp::from_secs(11));
        let slow = Some(&CallFailure::TooLong);
        (0..9).for_each(|_| state.note(slow, now, second));
        state.note(None, now, second);
        (0..9).for_each(|_| state.note(slow, now, second));
        assert!(!state.is_throttled(now), "not in a row");
        let threw = CallFailure::Threw("x".into());
        (0..20).for_each(|_| state.note(Some(&threw), now, second));
        assert!(!state.is_throttled(now), "what code throws costs nothing");
        state.note(slow, now, second);
        assert!(state.is_throttled(now) && !state.is_throttled(later));
    }

    #[test]
    fn zero_never_leaves_a_function_alone() {
        let state = state();
        let now = Timestamp::from_secs(10);
        (0..99).for_each(|_| state.note(Some(&CallFailure::TooMuchMemory), now, Duration::ZERO));
        assert!(!state.is_throttled(now));
    }

    #[test]
    fn a_changed_request_has_one_spelling_and_keeps_what_was_not_changed() {
        let viewer = ViewerRequest::get("http://h.test/a?x=1").with_field("accept", "*/*");
        let uri = Some("/b/%7Ec".to_string());
        let moved = changed(&viewer, RequestChange { uri, ..RequestChange::default() });
        let head = moved.head();
        assert_eq!((head.path, head.spelled, head.query), ("/b/~c", "/b/%7Ec", Some("x=1")));
        let query = Some(None);
        let moved = changed(&viewer, RequestChange { query, ..RequestChange::default() });
        let head = moved.head();
        assert_eq!((head.path, head.query), ("/a", None));
        assert!(head.fields.get_all("accept").next().is_some());
    }
}
