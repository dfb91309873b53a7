//! What this viewer sees of a response: 304, a range, the whole, or an error page, with our own
//! fields.
//!
//! Pure. The hit step writes an answer's fields into a sink; serving makes a `ViewerResponse` by
//! the same functions.

pub mod alt_svc;
pub mod compat;
pub mod error_response;
pub mod form;
pub mod grpc;
pub mod policy;
pub mod sink;
pub mod status_fields;

use std::sync::Arc;

use http::header::{AGE, CONTENT_LENGTH, CONTENT_TYPE, HeaderName};

use crate::body::{Body, Multipart};
use crate::message::request::RequestHead;
use crate::message::response::{Reply, Told, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::verdict::{Outcome, Reason, Verdict};
use crate::semantics::fields::FieldSection;
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;
use form::ResponseForm;

/// Makes the answer to a viewer from a stored response.
///
/// `None` if the content can no longer be read from where the answer begins.
pub fn from_stored(
    head: &RequestHead<'_>,
    stored: &Arc<Stored>,
    verdict: Verdict,
    now: Timestamp,
) -> Option<ViewerResponse> {
    let answer = form::answer(head, stored, now);
    let mut fields = FieldSection::new();
    let complete = stored.content.length().unwrap_or(0);
    form::write_stored(stored, &answer, complete, None, &mut fields);
    let is_head = *head.method == http::Method::HEAD;
    let body = match &answer {
        ResponseForm::Whole if is_head => {
            if let Some(length) = stored.content.length().filter(|_| stored.status != 204) {
                fields.insert(&CONTENT_LENGTH, length);
            }
            Body::Empty
        }
        ResponseForm::Whole => Body::Stored(stored.content.read(None)?),
        ResponseForm::Part(span) => {
            stored.content.length()?;
            Body::Stored(stored.content.read(Some(*span))?)
        }
        ResponseForm::Parts(spans) => {
            let complete = stored.content.length()?;
            let read = |span: &Span| Some(Body::Stored(stored.content.read(Some(*span))?));
            let bodies = spans.iter().map(read).collect::<Option<Vec<Body>>>()?;
            Body::Multipart(Box::new(multipart(stored, spans, bodies, complete, &mut fields)))
        }
        ResponseForm::NotModified
        | ResponseForm::Unsatisfiable(_)
        | ResponseForm::PreconditionFailed => Body::Empty,
    };
    Some(formed(stored, &answer, fields, body, verdict, now))
}

/// Makes the answer in a form from a response whose content lies elsewhere: `bodies` has the octets
/// of each part that the form has, and `complete` is how many there are in all.
pub fn from_elsewhere(
    stored: &Stored,
    answer: &ResponseForm,
    bodies: Vec<Body>,
    complete: u64,
    verdict: Verdict,
    now: Timestamp,
) -> ViewerResponse {
    let mut fields = FieldSection::new();
    form::write_stored(stored, answer, complete, None, &mut fields);
    let body = match answer {
        ResponseForm::Parts(spans) => {
            Body::Multipart(Box::new(multipart(stored, spans, bodies, complete, &mut fields)))
        }
        _ => bodies.into_iter().next().unwrap_or_default(),
    };
    formed(stored, answer, fields, body, verdict, now)
}

// With its age, and what its own fields are to say.
fn formed(
    stored: &Stored,
    answer: &ResponseForm,
    mut fields: FieldSection,
    body: Body,
    verdict: Verdict,
    now: Timestamp,
) -> ViewerResponse {
    let age = stored.age(now) / 1000;
    // A first answer has no Age unless it came with one.
    let is_first = verdict.stored && matches!(verdict.outcome, Outcome::Miss | Outcome::Error);
    if !is_first || stored.came_aged {
        fields.append(&AGE, age);
    }
    // What the next hop sent: nothing if it failed, 304 if it confirmed.
    let upstream = match verdict.reason {
        Reason::StaleIfError | Reason::StaleOnError => None,
        Reason::Revalidated(_) if verdict.outcome == Outcome::RefreshHit => Some(304),
        _ => Some(stored.status),
    };
    let told = Told { ttl: remaining(stored, age), upstream, ..Told::default() };
    ViewerResponse {
        status: answer.status(stored.status),
        fields,
        body,
        verdict,
        told,
        failure: None,
        behavior: None,
        origin_millis: None,
        ran: None,
    }
}

/// Seconds of freshness that a response of this age has left.
pub const fn remaining(stored: &Stored, age: u64) -> i64 {
    (stored.life.fresh / 1000) as i64 - age as i64
}

// A part for each span, whose octets are the body at its place.
fn multipart(
    stored: &Stored,
    spans: &[Span],
    bodies: Vec<Body>,
    complete: u64,
    fields: &mut FieldSection,
) -> Multipart {
    // The boundary need not be random, only absent from the parts' heads; the content is
    // length-delimited for us.
    let boundary = format!("foreshore-{:016x}-{complete:x}", stored.born.0 ^ 0x9e37_79b9_7f4a_7c15);
    let kind = stored
        .head
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case(b"content-type"))
        .and_then(|(_, kind)| std::str::from_utf8(kind).ok())
        .unwrap_or("application/octet-stream");
    let mut parts = Vec::with_capacity(spans.len());
    for (span, body) in spans.iter().zip(bodies) {
        let head = format!(
            "Content-Type: {kind}\r\nContent-Range: bytes {}-{}/{complete}\r\n",
            span.start,
            span.end - 1
        );
        parts.push((body, span.len(), head));
    }
    fields.append(&CONTENT_TYPE, ["multipart/byteranges; boundary=", &boundary]);
    Multipart::new(&boundary, parts)
}

/// Passes a reply on that is not kept.
pub fn from_reply(head: &RequestHead<'_>, reply: Reply, verdict: Verdict) -> ViewerResponse {
    let status = reply.status;
    let body = if *head.method == http::Method::HEAD { Body::Empty } else { reply.body };
    ViewerResponse {
        status,
        fields: reply.fields,
        body,
        verdict,
        told: Told { upstream: Some(status), ..Told::default() },
        failure: None,
        behavior: None,
        origin_millis: Some(reply.arrived_at.millis_since(reply.asked_at)),
        ran: None,
    }
}

/// A verdict for an answer that no cache had part in.
pub const fn no_cache(outcome: Outcome, reason: Reason) -> Verdict {
    Verdict { outcome, reason, collapsed: false, stored: false, failed: None }
}

/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// RFC 9209.
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
