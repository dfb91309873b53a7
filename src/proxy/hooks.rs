//! The four places where a distribution's own code sees a request or a response (CloudFront's edge
//! functions). CloudFront Functions stand at the viewer's two.
//!
//! What is attached must say in `config` what it means for hits (`Derived::may_hit`): the hit step
//! asks functions at the viewer's two places itself (`proxy/hit.rs`), and passes no other. Only viewers
//! come by: an edge has run its own code for the viewer that it asks for.

use super::Proxy;
use super::exchange::Exchange;
use super::functions;
use super::stop::Stop;
use crate::body::Body;
use crate::distribution::functions::Attached;
use crate::message::connection::Asker;
use crate::message::response::{Reply, ViewerResponse};
use crate::message::verdict::Reason;
use crate::origin::request::OriginRequest;

impl Proxy {
    /// Before the cache is asked, once the viewer was admitted. May change the request, whose route
    /// stays as it is, or answer.
    pub(super) fn viewer_request(&self, exchange: &mut Exchange) -> Result<(), Stop> {
        if exchange.request.connection.asker == Asker::Edge {
            return Ok(());
        }
        let hooks = exchange.chosen().1.hooks.as_deref();
        match hooks.and_then(|hooks| hooks.viewer_request) {
            Some(Attached::Function(at)) => functions::on_request(self, exchange, at),
            // Workers of lambdas are not started yet; the configuration says so.
            Some(Attached::Lambda { .. }) | None => Ok(()),
        }
    }

    /// Before an answer gets the fields that every answer gets, and once those of its policy are
    /// there. `is_page` says that it is the distribution's page in the place of an error. An error
    /// is what the viewer gets in its place. What stops as [`Stop::Answered`] does not come by here.
    pub(super) fn viewer_response(
        &self,
        exchange: &mut Exchange,
        response: ViewerResponse,
        is_page: bool,
    ) -> Result<ViewerResponse, Box<ViewerResponse>> {
        if exchange.request.connection.asker == Asker::Edge || is_page || !is_shown(&response) {
            return Ok(response);
        }
        let hooks = exchange.chosen().1.hooks.as_deref();
        match hooks.and_then(|hooks| hooks.viewer_response) {
            Some(Attached::Function(at)) => functions::on_response(self, exchange, at, response),
            Some(Attached::Lambda { .. }) | None => Ok(response),
        }
    }
}

// Code sees no errors, wherever they come from, nothing that was answered without a cache or an
// origin, and no tunnels (CloudFront: "Restrictions on all edge functions").
fn is_shown(response: &ViewerResponse) -> bool {
    let is_ours = matches!(
        response.verdict.reason,
        Reason::Refused(_) | Reason::Purged | Reason::Function(_) | Reason::Failed
    );
    !is_ours && (200..400).contains(&response.status) && !matches!(response.body, Body::Tunnel(_))
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
