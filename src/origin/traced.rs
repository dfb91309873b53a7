//! The span of one call of an origin or a parent, and the fields that tell it of the trace.

use std::sync::Arc;

use super::request::OriginRequest;
use crate::distribution::origin::{Origin, OriginKind};
use crate::message::failure::Failure;
use crate::trace::live::{OpenSpan, Trace};
use crate::trace::span::SpanKind;

/// Tells the request of its trace, and begins the span of the call, if spans are kept. Without a
/// trace the request goes out as it is. To be called once it is signed: what stands on the way may
/// change these fields.
pub fn call(
    trace: Option<&Arc<Trace>>,
    name: &'static str,
    origin: &Origin,
    request: &mut OriginRequest,
) -> Option<OpenSpan> {
    let trace = trace?;
    let mut span = trace.open(name, SpanKind::Client);
    if let OriginKind::Http(_) = &origin.kind {
        trace.tell(span.as_ref(), &mut request.fields);
    }
    request.trace = span.as_ref().and_then(OpenSpan::within);
    if let Some(span) = &mut span {
        span.say("foreshore.origin", origin.id.clone());
        span.say("http.request.method", request.method.as_str().to_string());
        if let OriginKind::Http(http) = &origin.kind {
            span.say("server.address", http.host.clone());
            span.say("server.port", u64::from(http.port));
        }
    }
    span
}

/// Notes what came of it: the status of the head, or why there is none.
pub fn came(span: Option<&mut OpenSpan>, came: Result<u16, &Failure>) {
    let Some(span) = span else { return };
    match came {
        Ok(status) => {
            span.say("http.response.status_code", u64::from(status));
            if status >= 500 {
                span.fail(status.to_string());
            }
        }
        Err(failure) => span.fail(failure.kind.token()),
    }
}
