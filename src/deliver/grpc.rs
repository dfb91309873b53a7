//! Pure: what a caller of gRPC is told where any other viewer would get an error page: an answer
//! that is nothing but a head, with the status and a message in it (gRPC over HTTP/2,
//! "Trailers-Only").

use http::header::{CONTENT_TYPE, RETRY_AFTER};

use super::error_response;
use crate::body::{Body, BodyError};
use crate::distribution::compat::Compat;
use crate::message::failure::{Failure, FailureKind};
use crate::message::refusal::Refusal;
use crate::message::request::RequestId;
use crate::message::response::ViewerResponse;
use crate::semantics::fields::FieldSection;
use crate::semantics::grpc::{Status, message};

/// The answer to a caller that may not have what it asks for.
pub fn refusal(refusal: &Refusal, compat: &Compat, id: RequestId) -> ViewerResponse {
    let status = Status::of_http(refusal.status());
    in_place_of(error_response::refusal(refusal, compat, id), status, &refusal.words())
}

/// The answer when no origin gave one.
pub fn failure(failure: Failure, compat: &Compat, id: RequestId) -> ViewerResponse {
    let kind = failure.kind;
    let status = match kind {
        FailureKind::Deadline => Status::DeadlineExceeded,
        FailureKind::Cancelled => Status::Cancelled,
        FailureKind::Internal | FailureKind::Storage => Status::Internal,
        other => Status::of_http(other.status()),
    };
    let sentence = error_response::sentence(kind.status());
    in_place_of(error_response::failure(failure, compat, id), status, sentence)
}

/// The trailers of an answer whose origin broke it off.
pub fn broken(why: BodyError) -> FieldSection {
    match why {
        BodyError::TooLarge => told(Status::ResourceExhausted, error_response::sentence(413)),
        BodyError::Cancelled => told(Status::Cancelled, "The origin called it off."),
        BodyError::Late => late(),
        _ => told(Status::Unavailable, "The call broke off."),
    }
}

/// The trailers of an answer whose time is over.
pub fn late() -> FieldSection {
    told(Status::DeadlineExceeded, "The time of the call is over.")
}

fn told(status: Status, sentence: &str) -> FieldSection {
    let mut fields = FieldSection::new();
    fields.append("grpc-status", status.number());
    fields.append("grpc-message", message(sentence));
    fields
}

// Verdict and failure stay: log and metrics tell of what happened.
fn in_place_of(plain: ViewerResponse, status: Status, sentence: &str) -> ViewerResponse {
    let mut fields = FieldSection::new();
    fields.append(&CONTENT_TYPE, "application/grpc");
    fields.extend(&told(status, sentence));
    // Retry-After in gRPC's own words.
    let after: Option<u64> =
        plain.fields.get(&RETRY_AFTER).and_then(|after| after.to_str().ok()?.parse().ok());
    if let Some(seconds) = after {
        fields.append("grpc-retry-pushback-ms", u64::saturating_mul(seconds, 1000));
    }
    ViewerResponse { status: 200, fields, body: Body::Empty, ..plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(response: &ViewerResponse) -> (u16, String) {
        let mut lines = Vec::new();
        response.fields.write_lines(&mut lines);
        (response.status, String::from_utf8(lines).unwrap().to_ascii_lowercase())
    }

    #[test]
    fn a_refusal_is_a_status_and_a_message() {
        let refused =
            refusal(&Refusal::TooMany { retry_after: 3 }, &Compat::default(), RequestId::default());
        let (status, lines) = said(&refused);
        assert_eq!(status, 200);
        assert_eq!(
            lines,
            "content-type: application/grpc\r\ngrpc-status: 14\r\n\
             grpc-message: too many requests; try again later.\r\ngrpc-retry-pushback-ms: 3000\r\n"
        );
        assert_eq!(refused.body.length(), Some(0));
    }

    #[test]
    fn each_failure_has_its_status() {
        for (kind, expected) in [
            (FailureKind::ConnectionRefused, 14),
            (FailureKind::ResponseTimeout, 14),
            (FailureKind::Deadline, 4),
            (FailureKind::Cancelled, 1),
            (FailureKind::RequestTooLarge, 8),
            (FailureKind::RequestBroken, 13),
            (FailureKind::Internal, 13),
        ] {
            let failed = failure(Failure::new(kind, "x"), &Compat::default(), RequestId::default());
            let (_, lines) = said(&failed);
            assert!(lines.contains(&format!("grpc-status: {expected}\r\n")), "{kind:?} {lines}");
            assert!(failed.failure.is_some());
        }
    }
}
