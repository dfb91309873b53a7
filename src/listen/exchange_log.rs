//! What a connection writes down of each request, whichever protocol it came by.

use std::sync::Arc;

use http::header;
use tokio::time::{Duration, Instant};

use super::h1::write::{SendEnd, Sent};
use super::{Worker, traced};
use crate::base::digits::decimal;
use crate::body::Body;
use crate::deliver::no_cache;
use crate::message::connection::{Connection, Version};
use crate::message::key::InvalidationNumber;
use crate::message::refusal::Rule;
use crate::message::request::{Known, RequestHead, ViewerRequest, split_target};
use crate::message::response::{Told, ViewerResponse};
use crate::message::timeline::Timeline;
use crate::message::verdict::{Outcome, Reason};
use crate::proxy::Running;
use crate::proxy::exchange::{Begun, request_of, running_of};
use crate::proxy::hit::{self, Hit, lists_more};
use crate::record::cloudfront_fields::{Answered, Asked};
use crate::record::{Cut, GONE, Record, request_line};
use crate::semantics::fields::{By, FieldSection, Value};
use crate::semantics::time::Timestamp;

/// Writes a hit down that goes out with the next write; its time is that of the step itself, so
/// none is measured.
pub fn record_hit(
    worker: &Worker,
    running: &Running,
    head: &RequestHead<'_>,
    hit: &Hit<'_>,
    now: Timestamp,
) {
    let trace = worker.core.edge.trace_hit(running, head, now);
    let record = Record {
        timeline: Timeline::at(worker.core.edge.clock.wall(now)),
        peer: head.connection.peer,
        connection: head.connection.id,
        client: head.connection.certificate(),
        method: head.method.as_str(),
        scheme: head.scheme,
        version: head.version,
        host: head.authority,
        path: head.path,
        query: head.query,
        request_line: None,
        status: hit.status(),
        bytes: hit.span.map_or(0, |span| span.len()),
        received: 0,
        verdict: hit::HIT,
        distribution: Some(hit.distribution),
        behavior: Some(hit.pattern),
        ordinal: Some(hit.behavior),
        referer: head.known.get(Known::Referer),
        user_agent: head.known.get(Known::UserAgent),
        failure: None,
        cut: None,
        ran: hit.ran.as_deref(),
        trace: trace.as_ref().map(|trace| trace.own()),
    };
    worker.record(running, &record);
    if let Some(trace) = trace {
        traced::end(&trace, &record);
    }
    if let Some(wanted) = worker.more_logs() {
        let answered = Answered {
            octets: head_octets(hit),
            content_type: said(hit, "content-type"),
            content_len: hit.announced(),
            range: hit.span.filter(|_| hit.status() == 206).map(|span| (span.start, span.end - 1)),
            encryption: None,
        };
        worker.record_more(running, &wanted, &record, &Asked::of(head, &wanted), &answered);
    }
}

// What is added to the stored lines differs by a few digits only.
fn head_octets(hit: &Hit<'_>) -> u64 {
    (hit.stored.head.lines().len() + 150) as u64
}

fn said<'h>(hit: &'h Hit<'_>, name: &str) -> Option<&'h [u8]> {
    hit.stored
        .head
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
        .map(|(_, value)| value)
}

/// Writes down a request whose head was refused: by which rule, and how it began. Nothing of it was
/// believed, so all else is a dash.
pub fn record_refused(
    worker: &Worker,
    connection: &Connection,
    version: Version,
    rule: Rule,
    head: &[u8],
) {
    let edge = &worker.core.edge;
    let line = request_line(head);
    let record = Record {
        timeline: Timeline::at(edge.clock.wall(edge.clock.now())),
        peer: connection.peer,
        connection: connection.id,
        client: connection.certificate(),
        method: "-",
        scheme: connection.scheme,
        version,
        host: "-",
        path: "-",
        query: None,
        request_line: Some(&line),
        status: rule.status(),
        bytes: 0,
        received: 0,
        verdict: no_cache(Outcome::Error, Reason::Refused(rule)),
        distribution: None,
        behavior: None,
        ordinal: None,
        referer: None,
        user_agent: None,
        failure: None,
        cut: None,
        ran: None,
        trace: None,
    };
    worker.record(&edge.running_cell().load(), &record);
}

/// What a record tells of a head that the request may have lost by then: fields that Connection
/// names are dropped.
#[derive(Default)]
pub struct LoggedHead {
    referer: Option<Vec<u8>>,
    user_agent: Option<Vec<u8>>,
    /// What the logs beside the access log want, where there are any.
    asked: Option<Asked<'static>>,
}

impl LoggedHead {
    /// Reads a head as it came. Where nothing is logged, counters do without.
    pub fn of(head: &RequestHead<'_>, worker: &Worker) -> Self {
        // Most requests lose nothing on the way.
        if !worker.is_logging() || !lists_more(head) {
            return Self { asked: asked(worker, head), ..Self::default() };
        }
        Self::whole(head, worker)
    }

    /// The same, where the record has no other part of the request.
    pub fn whole(head: &RequestHead<'_>, worker: &Worker) -> Self {
        let field = |name: &str| head.fields.get_all(name).next().map(<[u8]>::to_vec);
        Self {
            referer: field("referer"),
            user_agent: field("user-agent"),
            asked: asked(worker, head),
        }
    }
}

fn asked(worker: &Worker, head: &RequestHead<'_>) -> Option<Asked<'static>> {
    worker.more_logs().map(|wanted| Asked::of(head, &wanted).into_owned())
}

// What a request says under a name.
fn said_in<'r>(request: &'r ViewerRequest, name: &str) -> Option<&'r [u8]> {
    request.fields.get(name).map(Value::as_bytes)
}

// As much of a hit's request as its record tells.
fn request_of_hit(
    worker: &Worker,
    running: &Running,
    head: &RequestHead<'_>,
    connection: &Arc<Connection>,
    now: Timestamp,
) -> ViewerRequest {
    let is_told = worker.is_logging();
    let target = match head.query.filter(|_| is_told) {
        Some(query) => [head.path, "?", query].concat().into(),
        None if is_told => head.path.into(),
        None => "".into(),
    };
    ViewerRequest {
        id: head.id,
        method: head.method.clone(),
        version: head.version,
        scheme: head.scheme,
        authority: if is_told { head.authority } else { "" }.into(),
        target,
        spelled: None,
        fields: FieldSection::new(),
        order: None,
        connection: Arc::clone(connection),
        arrived_at: now,
        arrived_number: InvalidationNumber(0),
        interim: None,
        notes: Default::default(),
        trace: worker.core.edge.trace_hit(running, head, now),
        known: Default::default(),
    }
}

// What a record will want of a hit's answer.
fn response_of_hit(worker: &Worker, hit: &Hit<'_>) -> ViewerResponse {
    let mut fields = FieldSection::new();
    if worker.more_logs().is_some() {
        if let Some(content_type) = said(hit, "content-type") {
            fields.append(&header::CONTENT_TYPE, content_type);
        }
        if let Some(span) = hit.span.filter(|_| hit.status() == 206) {
            let value = |out: &mut Vec<u8>| {
                out.extend_from_slice(b"bytes ");
                decimal(out, span.start);
                out.push(b'-');
                decimal(out, span.end - 1);
                out.extend_from_slice(b"/*");
            };
            fields.insert(&header::CONTENT_RANGE, By(value));
        }
    }
    ViewerResponse {
        status: hit.status(),
        fields,
        body: Body::Empty,
        verdict: hit::HIT,
        told: Told::default(),
        failure: None,
        behavior: Some(hit.behavior),
        origin_millis: None,
        ran: hit.ran.clone(),
    }
}

/// One exchange on its way. When it is dropped, it is written down, however it ended.
pub struct ExchangeRecord {
    /// What it is answered under: a behavior has its number there.
    running: Arc<Running>,
    request: Arc<ViewerRequest>,
    told: LoggedHead,
    /// The ordinal of the behavior that host and path chose, if they chose one.
    behavior: Option<usize>,
    /// Octets of the answer's head, where they are not those of its fields.
    head_octets: Option<u64>,
    worker: Arc<Worker>,
    /// What the moments of `timeline` are told by, once they have come.
    began: Instant,
    timeline: Timeline,
    pub response: ViewerResponse,
    pub sent: Sent,
    /// Octets of the request's body.
    pub received: u64,
}

impl ExchangeRecord {
    /// Of a request that has no answer yet.
    pub fn new(begun: &Begun, told: LoggedHead, worker: &Arc<Worker>) -> Self {
        let response = ViewerResponse {
            status: GONE,
            fields: FieldSection::new(),
            body: Body::Empty,
            verdict: no_cache(Outcome::Error, Reason::Failed),
            told: Told::default(),
            failure: None,
            behavior: None,
            origin_millis: None,
            ran: None,
        };
        Self {
            running: Arc::clone(running_of(begun)),
            request: Arc::clone(request_of(begun)),
            told,
            behavior: begun.as_ref().ok().map(|exchange| exchange.chosen().1.ordinal),
            head_octets: None,
            worker: Arc::clone(worker),
            began: Instant::now(),
            timeline: Timeline::at(worker.core.edge.clock.wall(request_of(begun).arrived_at)),
            response,
            sent: Sent::NOTHING,
            received: 0,
        }
    }

    /// Of a hit that takes a while to send.
    pub fn of_hit(
        worker: &Arc<Worker>,
        running: &Arc<Running>,
        (head, connection): (&RequestHead<'_>, &Arc<Connection>),
        hit: &Hit<'_>,
        now: Timestamp,
    ) -> Self {
        Self {
            running: Arc::clone(running),
            request: Arc::new(request_of_hit(worker, running, head, connection, now)),
            told: LoggedHead::whole(head, worker),
            behavior: Some(hit.behavior),
            head_octets: Some(head_octets(hit)),
            worker: Arc::clone(worker),
            began: Instant::now(),
            timeline: Timeline {
                answered: Some(0),
                ..Timeline::at(worker.core.edge.clock.wall(now))
            },
            response: response_of_hit(worker, hit),
            sent: Sent { length: hit.announced(), ..Sent::NOTHING },
            received: 0,
        }
    }

    /// There is an answer.
    pub fn answered(&mut self, response: ViewerResponse) {
        self.timeline.answered = Some(micros(self.began.elapsed()));
        self.timeline.upstream_millis = response.origin_millis;
        self.response = response;
    }
}

impl ExchangeRecord {
    // Of a response that was sent, or broke off.
    fn record(&self) {
        let (request, response, sent) = (&*self.request, &self.response, self.sent);
        let ordinal = response.behavior.or(self.behavior.filter(|_| response.status == GONE));
        let behavior = ordinal.and_then(|ordinal| self.running.site.behavior(ordinal));
        let (plain, query) = split_target(&request.target);
        let record = Record {
            timeline: self.timeline,
            peer: request.connection.peer,
            connection: request.connection.id,
            client: request.connection.certificate(),
            method: request.method.as_str(),
            scheme: request.scheme,
            version: request.version,
            host: &request.authority,
            path: request.spelled.as_deref().unwrap_or(plain),
            query,
            request_line: None,
            status: response.status,
            bytes: sent.bytes,
            received: self.received,
            verdict: response.verdict,
            distribution: behavior.map(|(d, _)| d.id.as_str()),
            behavior: behavior.map(|(_, b)| b.pattern.as_str()),
            ordinal,
            referer: self.told.referer.as_deref().or_else(|| said_in(request, "referer")),
            user_agent: self.told.user_agent.as_deref().or_else(|| said_in(request, "user-agent")),
            failure: response.failure.as_ref(),
            cut: match sent.end {
                SendEnd::Broken => Some(Cut::ByViewer),
                SendEnd::Failed => Some(Cut::ByOrigin),
                SendEnd::Whole | SendEnd::WholeByClose => None,
            },
            ran: response.ran.as_deref(),
            trace: request.trace.as_ref().map(|trace| trace.own()),
        };
        self.worker.record(&self.running, &record);
        if let Some(trace) = &request.trace {
            traced::end(trace, &record);
        }
        let (Some(asked), Some(wanted)) = (&self.told.asked, self.worker.more_logs()) else {
            return;
        };
        let octets = || response.fields.lines_len() as u64 + 19;
        let answered = Answered {
            octets: self.head_octets.unwrap_or_else(octets),
            content_type: response.fields.get(&header::CONTENT_TYPE).map(|value| value.as_bytes()),
            content_len: sent.length,
            range: response
                .fields
                .get(&header::CONTENT_RANGE)
                .and_then(|value| span_of(value.as_bytes())),
            encryption: request.notes.encryption(),
        };
        self.worker.record_more(&self.running, &wanted, &record, asked, &answered);
    }
}

impl Drop for ExchangeRecord {
    fn drop(&mut self) {
        self.timeline.finished = micros(self.began.elapsed());
        self.record();
        ViewerRequest::let_go(&mut self.request);
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

// First and last octet of `bytes 1-2/3`.
fn span_of(value: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(value).ok()?.strip_prefix("bytes ")?;
    let (first, last) = text.split_once('/')?.0.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
