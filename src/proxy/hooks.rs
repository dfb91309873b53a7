//! The four places where a distribution's own code will see a request or a response (CloudFront's
//! edge functions). Nothing is attached today: each gives back what it was given.
//!
//! What is to be attached must say in `config` what it means for hits (`Derived::may_hit`): the hit
//! step passes none of these places.

use super::exchange::Exchange;
use super::stop::Stop;
use crate::body::Body;
use crate::message::response::{Reply, ViewerResponse};
use crate::origin::request::OriginRequest;

/// Before the cache is asked, once the viewer was admitted. May change the request, whose route
/// stays as it is, or answer.
#[inline]
pub(super) fn viewer_request(_exchange: &mut Exchange, body: Body) -> Result<Body, Stop> {
    Ok(body)
}

/// Before a request is signed and sent to an origin.
#[inline]
pub(super) fn origin_request(_exchange: &Exchange, request: OriginRequest) -> OriginRequest {
    request
}

/// When an origin has answered, before anything is decided about what came.
#[inline]
pub(super) fn origin_response(_exchange: &Exchange, reply: Reply) -> Reply {
    reply
}

/// Before an answer gets the fields that every answer gets. What stops as [`Stop::Answered`] does
/// not come by here.
#[inline]
pub(super) fn viewer_response(_exchange: &Exchange, response: ViewerResponse) -> ViewerResponse {
    response
}
