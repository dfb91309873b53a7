//! The four places where a distribution's own code sees a request or a response (CloudFront's edge
//! functions). CloudFront Functions stand at the viewer's two, lambdas at all.
//!
//! What is attached must say in `config` what it means for hits (`Derived::may_hit`): the hit step
//! asks functions at the viewer's two places itself (`proxy/hit.rs`), and passes no other. Only viewers
//! come by: an edge has run its own code for the viewer that it asks for.

use std::sync::Arc;

use super::Proxy;
use super::exchange::Exchange;
use super::functions;
use super::lambdas::{self, Sent};
use super::stop::Stop;
use crate::body::Body;
use crate::distribution::functions::Attached;
use crate::distribution::origin::Origin;
use crate::message::connection::Asker;
use crate::message::response::{Reply, ViewerResponse};
use crate::message::verdict::Reason;
use crate::origin::request::OriginRequest;

impl Proxy {
    /// Before the cache is asked, once the viewer was admitted. May change the request, whose route
    /// stays as it is, or answer.
    pub(super) async fn viewer_request(
        &self,
        exchange: &mut Exchange,
        body: &mut Body,
    ) -> Result<(), Stop> {
        if exchange.request.connection.asker == Asker::Edge {
            return Ok(());
        }
        let hooks = exchange.chosen().1.hooks.as_deref();
        match hooks.and_then(|hooks| hooks.viewer_request) {
            Some(Attached::Function(at)) => functions::on_request(self, exchange, at),
            Some(Attached::Lambda { at, with_body }) => {
                let (attached, request) = ((at, with_body), Arc::clone(&exchange.request));
                let came =
                    Box::pin(lambdas::on_viewer_request(self, exchange, attached, body)).await;
                // The exchange may have another request now.
                exchange.note_code_of(&request);
                came
            }
            None => Ok(()),
        }
    }

    /// Before an answer gets the fields that every answer gets, and once those of its policy are
    /// there. `is_page` says that it is the distribution's page in the place of an error. An error
    /// is what the viewer gets in its place. What stops as [`Stop::Answered`] does not come by
    /// here.
    pub(super) async fn viewer_response(
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
            Some(Attached::Lambda { at, .. }) => {
                Box::pin(lambdas::on_viewer_response(self, exchange, at, response)).await
            }
            None => Ok(response),
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

/// Before a request is signed and sent to an origin: the request and where it goes, or an answer
/// that no origin is asked for.
pub(super) async fn origin_request(
    core: &Proxy,
    exchange: &Exchange,
    origin: &Arc<Origin>,
    request: OriginRequest,
) -> Result<(Arc<Origin>, OriginRequest), Box<Reply>> {
    let hooks = exchange.chosen().1.hooks.as_deref();
    match hooks.and_then(|hooks| hooks.origin_request) {
        Some(Attached::Lambda { at, with_body }) => {
            let attached = (at, with_body);
            Box::pin(lambdas::on_origin_request(core, exchange, attached, origin, request)).await
        }
        // The configuration lets none stand here.
        Some(Attached::Function(_)) | None => Ok((Arc::clone(origin), request)),
    }
}

/// What code at the way back is to be told of a request that goes to an origin now.
pub(super) fn kept(
    exchange: &Exchange,
    origin: &Origin,
    request: &OriginRequest,
) -> Option<Box<Sent>> {
    exchange.chosen().1.hooks.as_deref()?.origin_response?;
    Some(Box::new(Sent::to_origin(exchange, origin, request)))
}

/// When an origin has answered, before anything is decided about what came but whether another
/// origin is asked.
pub(super) async fn origin_response(
    core: &Proxy,
    exchange: &Exchange,
    sent: &Sent,
    reply: Reply,
) -> Reply {
    let hooks = exchange.chosen().1.hooks.as_deref();
    match hooks.and_then(|hooks| hooks.origin_response) {
        Some(Attached::Lambda { at, .. }) => {
            Box::pin(lambdas::on_origin_response(core, exchange, at, sent, reply)).await
        }
        Some(Attached::Function(_)) | None => reply,
    }
}
