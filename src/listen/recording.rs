//! What a connection writes down of each request, whichever protocol it came by.

use std::sync::Arc;

use http::Method;

use super::Worker;
use super::h1_write::{SendEnd, Sent};
use crate::distribution::site::{Cookies, StandardLog};
use crate::exchange::connection::{Connection, Version};
use crate::exchange::request::{RequestHead, RequestId, ViewerRequest};
use crate::exchange::response::ViewerResponse;
use crate::flow::hit::{self, Hit};
use crate::record::Record;
use crate::record::standard_log::{self, More};
use crate::semantics::time::Timestamp;

/// Writes a hit down; its time is that of the step itself, so none is measured.
pub fn record_hit(worker: &Worker, head: &RequestHead<'_>, hit: &Hit<'_>, now: Timestamp) {
    let record = Record {
        at: now,
        peer: head.connection.peer,
        method: head.method.as_str(),
        scheme: head.scheme,
        version: head.version,
        host: head.host,
        path: head.path,
        query: head.query,
        status: hit.status(),
        bytes: hit.span.map_or(0, |span| span.len()),
        micros: 0,
        verdict: hit::HIT,
        distribution: Some(hit.distribution),
        behavior: Some(hit.pattern),
        ordinal: Some(hit.behavior),
        referer: head.fields.get_all("referer").next(),
        user_agent: head.fields.get_all("user-agent").next(),
        origin_millis: None,
        failure: None,
        aborted: false,
    };
    worker.record(&record);
    if let Some(wanted) = worker.standard_log() {
        let stored = &hit.stored;
        let said = |name: &str| stored.head.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.as_bytes())).map(|(_, value)| value);
        let more = More {
            // What is added to the stored lines differs by a few digits only.
            answered: (stored.head.lines().len() + 150) as u64,
            content_type: said("content-type"),
            content_len: hit.span.map(|span| span.len()),
            range: hit.span.filter(|_| hit.status() == 206).map(|span| (span.start, span.end - 1)),
            ..of_request(head, &wanted)
        };
        worker.record_standard(&record, &more);
    }
}

// What the request itself has for the standard log.
fn of_request<'r>(head: &RequestHead<'r>, wanted: &StandardLog) -> More<'r> {
    let first = |name: &str| head.fields.get_all(name).next();
    More {
        id: head.id,
        asked: standard_log::asked(head.method.as_str(), head.path, head.query, head.fields.iter()),
        cookie: first("cookie").filter(|_| wanted.cookies == Cookies::Included),
        forwarded_for: first("x-forwarded-for"),
        tls: head.connection.tls.as_ref().map(|tls| (tls.version, tls.cipher)),
        ..More::default()
    }
}

/// Writes down a request whose head was refused: nothing of it was believed, so nothing of it is repeated.
pub fn record_refused(worker: &Worker, connection: &Connection, version: Version, status: u16) {
    worker.record(&Record {
        at: worker.core.edge.clock.now(),
        peer: connection.peer,
        method: "-",
        scheme: connection.scheme,
        version,
        host: "-",
        path: "-",
        query: None,
        status,
        bytes: 0,
        micros: 0,
        verdict: crate::deliver::no_cache(crate::exchange::verdict::Outcome::Error, crate::exchange::verdict::Reason::Refused),
        distribution: None,
        behavior: None,
        ordinal: None,
        referer: None,
        user_agent: None,
        origin_millis: None,
        failure: None,
        aborted: false,
    });
}

/// What of a request its record needs, after the request is gone.
pub struct Facts {
    at: Timestamp,
    connection: Arc<Connection>,
    method: Method,
    scheme: crate::exchange::connection::Scheme,
    version: Version,
    authority: String,
    target: String,
    referer: Option<Vec<u8>>,
    user_agent: Option<Vec<u8>>,
    more: Option<Kept>,
}

/// What of a request only the standard log wants.
struct Kept {
    id: RequestId,
    asked: u64,
    cookie: Option<Vec<u8>>,
    forwarded_for: Option<Vec<u8>>,
}

impl Facts {
    /// Copies them out.
    pub fn of(request: &ViewerRequest, worker: &Worker) -> Self {
        let field = |name: http::HeaderName| request.fields.get(name).map(|value| value.as_bytes().to_vec());
        Self {
            at: request.arrived_at,
            connection: Arc::clone(&request.connection),
            method: request.method.clone(),
            scheme: request.scheme,
            version: request.version,
            authority: request.authority.clone(),
            target: request.target.clone(),
            referer: field(http::header::REFERER),
            user_agent: field(http::header::USER_AGENT),
            more: worker.standard_log().map(|wanted| {
                let head = request.head();
                let more = of_request(&head, &wanted);
                Kept {
                    id: more.id,
                    asked: more.asked,
                    cookie: more.cookie.map(<[u8]>::to_vec),
                    forwarded_for: more.forwarded_for.map(<[u8]>::to_vec),
                }
            }),
        }
    }

    /// Writes the record of a response that was sent, or broke off.
    pub fn record(&self, worker: &Worker, response: &mut ViewerResponse, sent: Sent, micros: u64) {
        let site = Arc::clone(&worker.core.edge.running_cell().load().site);
        let behavior = response
            .behavior
            .and_then(|at| site.distributions.iter().flat_map(|d| d.behaviors.iter().map(move |b| (d, b))).find(|(_, b)| b.ordinal == at));
        let (path, query) = crate::exchange::request::split_target(&self.target);
        let record = Record {
            at: self.at,
            peer: self.connection.peer,
            method: self.method.as_str(),
            scheme: self.scheme,
            version: self.version,
            host: &self.authority,
            path,
            query,
            status: response.status,
            bytes: sent.bytes,
            micros,
            verdict: response.verdict,
            distribution: behavior.map(|(d, _)| d.id.as_str()),
            behavior: behavior.map(|(_, b)| b.pattern.as_str()),
            ordinal: response.behavior,
            referer: self.referer.as_deref(),
            user_agent: self.user_agent.as_deref(),
            origin_millis: response.origin_millis,
            failure: response.failure.as_ref(),
            aborted: sent.end == SendEnd::Broken,
        };
        worker.record(&record);
        let Some(kept) = &self.more else { return };
        let range = response.fields.get(http::header::CONTENT_RANGE).and_then(|value| span_of(value.as_bytes()));
        let more = More {
            id: kept.id,
            asked: kept.asked,
            answered: response.fields.iter().map(|(name, value)| (name.as_str().len() + value.len() + 4) as u64).sum::<u64>() + 19,
            cookie: kept.cookie.as_deref(),
            forwarded_for: kept.forwarded_for.as_deref(),
            tls: self.connection.tls.as_ref().map(|tls| (tls.version, tls.cipher)),
            content_type: response.fields.get(http::header::CONTENT_TYPE).map(|value| value.as_bytes()),
            content_len: (sent.end == SendEnd::Whole).then_some(sent.bytes),
            range,
        };
        worker.record_standard(&record, &more);
    }
}

// First and last octet of `bytes 1-2/3`.
fn span_of(value: &[u8]) -> Option<(u64, u64)> {
    let text = std::str::from_utf8(value).ok()?.strip_prefix("bytes ")?;
    let (first, last) = text.split_once('/')?.0.split_once('-')?;
    Some((first.parse().ok()?, last.parse().ok()?))
}
