//! What a viewer is told when there is no response to deliver: refusals and failures, in a few
//! plain words.

use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER, WWW_AUTHENTICATE};

use super::no_cache;
use crate::body::Body;
use crate::distribution::compat::Compat;
use crate::message::failure::{Failure, FailureKind};
use crate::message::refusal::Refusal;
use crate::message::request::RequestId;
use crate::message::response::{Told, ViewerResponse};
use crate::message::verdict::{FunctionEnd, Outcome, Reason};
use crate::semantics::fields::FieldSection;
use crate::semantics::websocket::HandshakeError;

/// The answer to a viewer that may not have what it asks for.
pub fn refusal(refusal: &Refusal, compat: &Compat, id: RequestId) -> ViewerResponse {
    let outcome = match refusal {
        Refusal::RedirectToHttps { .. } => Outcome::Redirect,
        _ => Outcome::Error,
    };
    let mut response = plain(
        refusal.status(),
        &refusal.words(),
        outcome,
        Reason::Refused(refusal.rule()),
        (compat, id),
        None,
    );
    response.failure = refusal.failure();
    match refusal {
        Refusal::RedirectToHttps { location, .. } => {
            response.fields.insert(&LOCATION, location.clone());
        }
        Refusal::MayNotPurge => {
            response.fields.insert(&WWW_AUTHENTICATE, "Bearer");
        }
        Refusal::Upgrade(HandshakeError::Version) => {
            response.fields.insert("sec-websocket-version", "13");
        }
        Refusal::TooMany { retry_after } => {
            response.fields.insert(&RETRY_AFTER, *retry_after);
        }
        // In CloudFront's words: programs read them.
        Refusal::Unsigned(why) => {
            let (code, message) = why.words();
            response.fields.insert(&CONTENT_TYPE, "text/xml");
            response.body = Body::Bytes(
                format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code><Message>{message}</Message></Error>").into(),
            );
        }
        _ => {}
    }
    response
}

/// The answer when no hop (parent, origin, directory) gave one. The reason goes into fields and
/// log, as a word.
pub fn failure(failure: Failure, compat: &Compat, id: RequestId) -> ViewerResponse {
    let status = failure.kind.status();
    let mut response = plain(
        status,
        sentence(status),
        Outcome::Error,
        Reason::Failed,
        (compat, id),
        Some(&failure),
    );
    response.failure = Some(failure);
    response
}

/// What a failure is called that has a status.
pub const fn sentence(status: u16) -> &'static str {
    match status {
        502 => "The origin could not be reached or gave no valid answer.",
        503 => "The edge or its origin is at its limit; try again shortly.",
        504 => "The origin did not answer in time.",
        400 => "The request broke off.",
        413 => "The request body is larger than allowed.",
        _ => "The edge could not answer this request.",
    }
}

/// The answer where code at the edge gave nothing usable. `sentence` is for the viewer.
pub fn function_failed(
    end: FunctionEnd,
    sentence: &str,
    compat: &Compat,
    id: RequestId,
) -> ViewerResponse {
    let is_invalid = matches!(end, FunctionEnd::Validation | FunctionEnd::LambdaValidation);
    let status = if is_invalid { 502 } else { 503 };
    let reason = Reason::Function(end);
    let mut response = plain(status, sentence, Outcome::Error, reason, (compat, id), None);
    response.told.detail = Some(FailureKind::Internal);
    response
}

/// What a purge came to, and how far it has come.
pub fn purged(id: &str, number: u64, status: &str) -> ViewerResponse {
    let mut response = plain(
        200,
        "",
        Outcome::Miss,
        Reason::Purged,
        (&Compat::default(), RequestId::default()),
        None,
    );
    response.fields.insert(&CONTENT_TYPE, "application/json");
    response.body = Body::Bytes(
        format!("{{\"id\": \"{id}\", \"number\": {number}, \"status\": \"{status}\"}}\n").into(),
    );
    response
}

fn plain(
    status: u16,
    sentence: &str,
    outcome: Outcome,
    reason: Reason,
    (compat, id): (&Compat, RequestId),
    failure: Option<&Failure>,
) -> ViewerResponse {
    let mut fields = FieldSection::new();
    fields.insert(&CONTENT_TYPE, "text/plain; charset=utf-8");
    fields.insert(&http::header::CACHE_CONTROL, "no-store");
    let verdict = no_cache(outcome, reason);
    let word = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Error");
    let page = super::compat::error_page(compat, id, status, sentence, &mut fields);
    let body = Body::Bytes(page.unwrap_or_else(|| format!("{status} {word}\n{sentence}\n")).into());
    ViewerResponse {
        status,
        fields,
        body,
        verdict,
        told: Told { detail: failure.map(|failure| failure.kind), ..Told::default() },
        failure: None,
        behavior: None,
        origin_millis: None,
        ran: None,
    }
}
