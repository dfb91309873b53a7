//! Pure: which requests are calls of gRPC, and whether they came by a protocol that can carry one.

use super::Routed;
use crate::message::connection::Version;
use crate::message::refusal::Refusal;
use crate::message::request::RequestHead;
use crate::semantics::grpc;

/// Says whether a request is a call: its behavior lets some pass, and its content type is gRPC's.
/// Whatever else comes to such a behavior goes the way of any request.
#[inline]
pub fn is_asked(routed: &Routed<'_>) -> bool {
    routed.behavior.grpc && is_call(routed.head)
}

/// Refuses a call that came over HTTP/1: it has no trailers that every hop passes on, and no
/// messages both ways at once.
pub fn judge(routed: &Routed<'_>) -> Result<(), Refusal> {
    if is_asked(routed) && routed.head.version != Version::Http2 {
        return Err(Refusal::Grpc);
    }
    Ok(())
}

fn is_call(head: &RequestHead<'_>) -> bool {
    head.fields.get_all("content-type").next().is_some_and(grpc::is_content_type)
}
