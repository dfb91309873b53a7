//! What this viewer sees of a response: 304, a range, the whole, or an error page, with our own
//! fields.
//!
//! Pure. The hit step writes HTTP/1 bytes from `answer` and `about`; the full sentence makes a
//! `ViewerResponse` from the same two.

pub mod compat;
pub mod error_response;
pub mod form;
pub mod policy;
pub mod status_fields;

use std::sync::Arc;

use crate::semantics::fields::FieldSection;
use http::header::{AGE, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderName};

use crate::body::{Body, Multipart};
use crate::message::request::RequestHead;
use crate::message::response::{Reply, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::verdict::{Outcome, Reason, Verdict};
use crate::semantics::digests::{self, Change};
use crate::semantics::time::Timestamp;
use form::ResponseForm;
use status_fields::StatusFields;

/// The name and path by which this edge goes in fields of its own.
pub const VIA: &str = "1.1 foreshore";

/// Makes the answer to a viewer from a stored response.
///
/// `None` if the content can no longer be read from where the answer begins.
pub fn from_stored(
    head: &RequestHead<'_>,
    stored: &Arc<Stored>,
    verdict: Verdict,
    name: &str,
    now: Timestamp,
) -> Option<ViewerResponse> {
    let answer = form::answer(head, stored, now);
    let mut fields = stored.head.to_section();
    let is_head = *head.method == http::Method::HEAD;
    let (status, body) = match &answer {
        ResponseForm::NotModified => {
            form::keep_for_304(&mut fields);
            (304, Body::Empty)
        }
        ResponseForm::Whole if is_head => {
            set_length(&mut fields, stored.content.length());
            (stored.status, Body::Empty)
        }
        ResponseForm::Whole => (stored.status, Body::Stored(stored.content.read(None)?)),
        ResponseForm::Part(span) => {
            let complete = stored.content.length()?;
            digests::strip(&mut fields, Change::Extent);
            fields.insert(
                &CONTENT_RANGE,
                format!("bytes {}-{}/{complete}", span.start, span.end - 1),
            );
            (206, Body::Stored(stored.content.read(Some(*span))?))
        }
        ResponseForm::Parts(spans) => {
            (206, Body::Multipart(Box::new(multipart(stored, spans, &mut fields)?)))
        }
        ResponseForm::Unsatisfiable(complete) => {
            // It says nothing of the content but its length.
            keep_for_refusal(&mut fields);
            fields.insert(&CONTENT_RANGE, format!("bytes */{complete}"));
            (416, Body::Empty)
        }
        ResponseForm::PreconditionFailed => {
            keep_for_refusal(&mut fields);
            (412, Body::Empty)
        }
    };
    let age = stored.age(now) / 1000;
    // A first answer has no Age unless it came with one.
    let is_first = verdict.stored && matches!(verdict.outcome, Outcome::Miss | Outcome::Error);
    if !is_first || stored.came_aged {
        fields.insert(&AGE, age);
    }
    let remaining = stored.life.fresh as i64 / 1000 - age as i64;
    // What the next hop sent: nothing if it failed, 304 if it confirmed.
    let upstream = match verdict.reason {
        Reason::StaleIfError | Reason::StaleOnError => None,
        Reason::Revalidated(_) if verdict.outcome == Outcome::RefreshHit => Some(304),
        _ => Some(stored.status),
    };
    StatusFields { verdict, name, ttl: remaining, status: upstream, detail: None }
        .write(&mut fields);
    Some(ViewerResponse {
        status,
        fields,
        body,
        verdict,
        failure: None,
        behavior: None,
        origin_millis: None,
    })
}

/// Takes out of a stored head what is not said where its content is refused.
pub fn keep_for_refusal(fields: &mut FieldSection) {
    fields.retain(|name, _| name.is_any(&[http::header::DATE, http::header::VIA]));
}

fn multipart(
    stored: &Arc<Stored>,
    spans: &[crate::semantics::ranges::Span],
    fields: &mut FieldSection,
) -> Option<Multipart> {
    let complete = stored.content.length()?;
    // The boundary need not be random, only absent from the parts' heads; the content is
    // length-delimited for us.
    let boundary = format!("foreshore-{:016x}-{complete:x}", stored.born.0 ^ 0x9e37_79b9_7f4a_7c15);
    fields.remove(&CONTENT_RANGE);
    digests::strip(fields, Change::Extent);
    let kind = fields
        .get(&CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .unwrap_or("application/octet-stream")
        .to_string();
    let mut parts = Vec::with_capacity(spans.len());
    for span in spans {
        let head = format!(
            "Content-Type: {kind}\r\nContent-Range: bytes {}-{}/{complete}\r\n",
            span.start,
            span.end - 1
        );
        parts.push((stored.content.read(Some(*span))?, span.len(), head));
    }
    fields.insert(&CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"));
    Some(Multipart::new(&boundary, parts))
}

/// Passes a reply on that is not kept.
pub fn from_reply(
    head: &RequestHead<'_>,
    reply: Reply,
    verdict: Verdict,
    name: &str,
) -> ViewerResponse {
    let mut fields = reply.fields;
    let status = reply.status;
    StatusFields { verdict, name, ttl: 0, status: Some(status), detail: None }.write(&mut fields);
    let body = if *head.method == http::Method::HEAD { Body::Empty } else { reply.body };
    let origin_millis = Some(reply.arrived_at.millis_since(reply.asked_at));
    ViewerResponse { status, fields, body, verdict, failure: None, behavior: None, origin_millis }
}

fn set_length(fields: &mut FieldSection, length: Option<u64>) {
    if let Some(length) = length {
        fields.insert(&CONTENT_LENGTH, length);
    }
}

/// A verdict for an answer that no cache had part in.
pub const fn no_cache(outcome: Outcome, reason: Reason) -> Verdict {
    Verdict { outcome, reason, collapsed: false, stored: false }
}

/// Field names of ours that http has no constant for.
pub const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// RFC 9211.
pub const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");
/// RFC 9209.
pub const PROXY_STATUS: HeaderName = HeaderName::from_static("proxy-status");
