//! CloudFront Functions are asked: what they are told, how often they failed, and what is written
//! down of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use smallvec::SmallVec;

use super::{Edge, Running, engines};
use crate::access::Route;
use crate::distribution::site::Site;
use crate::functions::event::{
    CallFailure, EdgeFacts, Event, IdFacts, Place, Remembered, RequestFacts, ResponseFacts,
};
use crate::functions::rules::{self, Change};
use crate::message::forwarding;
use crate::message::path::has_needless_escape;
use crate::message::ran::Ran;
use crate::message::request::{Fields, Known, RequestHead};
use crate::message::verdict::FunctionEnd;
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
#[derive(Clone)]
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
    /// At a viewer's response it does what the hit step cannot, and is not asked there.
    leaves_hits: AtomicBool,
}

impl States {
    /// Of a site that follows another, or of the first one.
    pub fn for_site(site: &Site, before: Option<&Self>) -> Self {
        let known = before.map_or(&[][..], |before| &before.all[..]);
        let of = |digest: [u8; 32]| match known.iter().find(|state| state.digest == digest) {
            Some(state) => Arc::clone(state),
            None => Arc::new(State::new(digest)),
        };
        let all = site.functions.iter().map(|function| of(function.digest)).collect();
        let known = before.map_or(&[][..], |before| &before.counts[..]);
        Self { all, counts: function_counts::for_site(site, site.listen.workers, known) }
    }

    /// Has a function run again that failed too often, once it was published anew.
    pub fn forgive(&self, at: usize) {
        if let Some(state) = self.all.get(at) {
            state.failures.store(0, Ordering::Relaxed);
            state.until.store(0, Ordering::Relaxed);
            state.leaves_hits.store(false, Ordering::Relaxed);
        }
    }

    /// Says whether the hit step leaves the answers to serving at which this function stands.
    pub fn leaves_hits(&self, at: usize) -> bool {
        self.all.get(at).is_some_and(|state| state.leaves_hits.load(Ordering::Relaxed))
    }

    /// Has the hit step leave them to serving, for as long as the code stays.
    pub fn leave_hits(&self, at: usize) {
        if let Some(state) = self.all.get(at) {
            state.leaves_hits.store(true, Ordering::Relaxed);
        }
    }

    /// What is counted of them.
    pub fn counts(&self) -> &[Arc<FunctionCounts>] {
        &self.counts
    }
}

impl State {
    const fn new(digest: [u8; 32]) -> Self {
        Self {
            digest,
            failures: AtomicU32::new(0),
            until: AtomicU64::new(0),
            leaves_hits: AtomicBool::new(false),
        }
    }

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
#[derive(Clone)]
pub struct Failed {
    pub end: FunctionEnd,
    /// For the viewer.
    pub sentence: String,
    /// For the log.
    pub detail: String,
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

    /// A value that breaks a rule.
    pub fn invalid(invalid: &rules::Invalid) -> Self {
        let (sentence, detail) = (invalid.sentence(), invalid.detail());
        Self { end: FunctionEnd::Validation, sentence, detail }
    }
}

/// What viewer-request code said before it was known whether the hit step answers.
#[derive(Clone)]
pub struct Spoken {
    pub judged: Result<Change, Failed>,
    pub ran: Box<Ran>,
}

impl Spoken {
    /// Where nothing stands at a viewer's request: all it says is that the address's rate was taken
    /// from.
    pub fn nothing() -> Self {
        Self { judged: Ok(Change::Nothing), ran: Box::default() }
    }

    /// Asks the code at a place of the site, on the core that this thread is.
    pub fn of(
        edge: &Edge,
        running: &Running,
        route: Route,
        head: &RequestHead<'_>,
        at: usize,
    ) -> Self {
        let (mut ran, core) = (None, engines::core());
        let judged = tell(running, route, head, None, |event| {
            run((edge, core), running, at, event, &mut ran)
        });
        Self { judged, ran: ran.unwrap_or_default() }
    }

    /// The path and the query that the request has now, where nothing else of it changed and the
    /// path has its one spelling.
    pub fn url<'u>(&'u self, head: &RequestHead<'u>) -> Option<(&'u str, Option<&'u str>)> {
        match &self.judged {
            Ok(Change::Nothing) => Some((head.path, head.query)),
            Ok(Change::Request(change)) if change.fields.is_none() && change.origin.is_none() => {
                let path = change.uri.as_deref().unwrap_or(head.path);
                let query = match &change.query {
                    Some(query) => query.as_deref(),
                    None => head.query,
                };
                (!has_needless_escape(path)).then_some((path, query))
            }
            Ok(Change::Request(_) | Change::Response(_)) | Err(_) => None,
        }
    }
}

/// Tells code of a request, and of the response to it where there is one.
pub fn tell<R>(
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
        // What is long is for origins alone.
        None => forwarding::added_names(behavior)
            .filter(|name| name.as_str().starts_with("cloudfront-"))
            .filter_map(|name| Some((name.as_str(), forwarding::added_field(head, name.as_str())?)))
            .collect(),
        Some(_) => Vec::new(),
    };
    let mut extra: SmallVec<[(&str, &[u8]); 4]> =
        added.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
    // HTTP/2 has it beside the fields; code looks for it among them.
    if !head.known.has(Known::Host) {
        extra.push(("host", head.authority.as_bytes()));
    }
    let edge = EdgeFacts {
        name: site.pop.get(..3).unwrap_or(&site.pop),
        server: head.connection.local.ip(),
        region: REGION,
    };
    call(&Event {
        place: if response.is_some() { Place::ViewerResponse } else { Place::ViewerRequest },
        domain_name: distribution.hosts.iter().map(String::as_str).find(|host| !host.contains('*')),
        distribution_id: &distribution.id,
        request_id: IdFacts::Id(head.id),
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

/// One call on a core, judged by the rules, counted and noted.
pub fn run(
    (edge, core): (&Edge, usize),
    running: &Running,
    at: usize,
    event: &Event<'_>,
    ran: &mut Option<Box<Ran>>,
) -> Result<Change, Failed> {
    let (site, functions) = (&*running.site, &running.functions);
    let (function, state, counts) =
        (&site.functions[at], &functions.all[at], &functions.counts[at]);
    let now = edge.clock.now();
    let mut nanos = 0;
    let judged = if state.is_throttled(now) {
        let detail = "it failed too often of late and is not run for functions.throttle";
        let (sentence, detail) = (NOT_RUN.to_string(), detail.to_string());
        Err(Failed { end: FunctionEnd::Throttled, sentence, detail })
    } else {
        let mut lines = Vec::new();
        let log = edge.function_log.get().filter(|log| log.wants_functions());
        let called = engines::call(running, function, event, now, &mut |line| {
            add_line(&mut lines, event, line);
        });
        if !lines.is_empty() {
            let lines = framed(&lines, event);
            edge.function_tail.add(&function.name, &lines);
            if let Some(log) = log {
                log.add_functions(lines);
            }
        }
        nanos = called.spent.nanos;
        counts.count_call(core, nanos, called.spent.utilisation);
        match called.kept {
            Some(Remembered { results, octets, rests, differences }) => {
                counts.note_kept(core, [results, octets], [rests, differences]);
            }
            None => counts.count_remembered(core),
        }
        state.note(called.judged.as_ref().err(), now, site.function_settings.limits.throttle);
        match called.judged {
            Ok(judged) => judged.map_err(|why| Failed::invalid(&why)),
            Err(failure) => Err(Failed::new(failure)),
        }
    };
    let ran = ran.get_or_insert_default();
    ran.add(&function.name, nanos);
    if let Err(failed) = &judged {
        ran.error = Some(failed.detail.clone());
        counts.count_error(core, failed.end);
    }
    judged
}

// A line as CloudWatch has it, and as no viewer can forge one.
fn add_line(lines: &mut Vec<u8>, event: &Event<'_>, line: &str) {
    if lines.len() >= LINES_MAX {
        return;
    }
    lines.extend_from_slice(event.request_id.text().as_bytes());
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
    let (id, distribution) = (event.request_id.text(), event.distribution_id);
    let mut all = format!("{id} START DistributionID: {distribution}\n").into_bytes();
    all.extend_from_slice(lines);
    all.extend_from_slice(format!("{id} END\n").as_bytes());
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State::new([0; 32])
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
}
