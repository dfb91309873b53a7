//! What is made of an answer before its viewer gets it: the distribution's page in the place of an
//! error, what the behavior's policy says, what code at the edge says, and what every answer says.

use std::sync::Arc;

use http::{Method, header};

use super::Proxy;
use super::exchange::Exchange;
use super::serve::Sought;
use crate::access;
use crate::cache::ask::{self, CacheRequest};
use crate::deliver;
use crate::deliver::status_fields::tell;
use crate::message::connection::Asker;
use crate::message::own_fields::APPLIED;
use crate::message::request::ViewerRequest;
use crate::message::response::ViewerResponse;
use crate::message::verdict::{Outcome, Reason};
use crate::region;

impl Proxy {
    /// The error page of the distribution in the place of an error that has one; false if it
    /// cannot be had.
    pub(super) async fn error_response(
        self: &Arc<Self>,
        exchange: &Exchange,
        response: &mut ViewerResponse,
    ) -> bool {
        let Some(mut page) = self.error_page(exchange, response.status).await else {
            return false;
        };
        // The log says what was refused, whatever the viewer sees.
        if matches!(response.verdict.reason, Reason::Refused(_)) {
            page.failure = response.failure.take();
        } else if response.verdict.by_code().is_some() {
            page.verdict = response.verdict;
        }
        *response = page;
        true
    }

    /// What is said of every answer by its behavior.
    pub(super) fn apply_policy(&self, exchange: &Exchange, response: &mut ViewerResponse) {
        let behavior = exchange.chosen().1;
        let (site, request) = (&*exchange.running.site, &*exchange.request);
        response.behavior = Some(behavior.ordinal);
        // A fill of its own was waited for; a refresh behind it, or another's fill, was not.
        if response.verdict.reason.forward().is_some() && !response.verdict.collapsed {
            response.origin_millis =
                response.origin_millis.or_else(|| request.notes.upstream_millis());
        }
        // An edge applies it for its own viewers.
        if let Some(policy) = behavior.response.as_deref().filter(|_| exchange.from_edge.is_none())
        {
            let head = request.head();
            deliver::policy::apply(policy, &head, &mut response.fields);
            let (outcome, millis) = (response.verdict.outcome, response.origin_millis);
            if let Some(timing) =
                deliver::policy::server_timing(policy, &head, outcome, millis, &site.pop)
            {
                response.fields.append("server-timing", timing);
            }
        }
    }

    /// What is said of every answer, whatever it is: by the compatibility fields, to an edge.
    pub(super) fn finish(&self, exchange: &Exchange, response: &mut ViewerResponse) {
        let distribution = exchange.chosen().0;
        let (site, request) = (&*exchange.running.site, &*exchange.request);
        tell(response, &distribution.compat, request.id);
        if let Some(alt_svc) =
            self.edge.alt_svc(site, distribution, &request.connection, request.version)
        {
            response.fields.append("alt-svc", alt_svc);
        }
        if exchange.route.session.is_some()
            && let Some(cookie) =
                access::session_cookie(site, &exchange.routed(&request.head()), request.arrived_at)
        {
            response.fields.append(&header::SET_COOKIE, cookie);
        }
        if let Some(applied) = exchange.from_edge {
            if let Some(mark) = applied {
                response.fields.insert(&APPLIED, mark.to_string());
            }
            region::name_node(&self.edge.node, &mut response.fields);
        }
    }

    /// Viewer-response code sees what the viewer would get. Where it fails, the viewer gets that in
    /// the place of the answer.
    pub(super) async fn shown_to_code(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        response: ViewerResponse,
        is_page: bool,
    ) -> ViewerResponse {
        let mut response = match self.viewer_response(exchange, response, is_page).await {
            Ok(response) => response,
            Err(failed) => {
                let mut response = *failed;
                if exchange.has_page(&response) {
                    Box::pin(self.error_response(exchange, &mut response)).await;
                }
                self.apply_policy(exchange, &mut response);
                response
            }
        };
        exchange.note_code();
        response.ran = exchange.ran.take();
        response
    }

    // CloudFront's custom error response: a request of its own for the page, whose first matching
    // behavior picks the origin. If the page cannot be had, the error itself is sent.
    async fn error_page(
        self: &Arc<Self>,
        exchange: &Exchange,
        status: u16,
    ) -> Option<ViewerResponse> {
        // An edge has pages of its own, and keeps what it is answered under the URL that it asked
        // for.
        if exchange.request.connection.asker == Asker::Edge {
            return None;
        }
        let (distribution, behavior) = exchange.chosen();
        let rule = distribution.error_response(behavior, status)?;
        let (target, respond_with) = rule.page.as_ref()?;
        let own = &exchange.request;
        let mut fields = own.fields.clone();
        let of_the_first = [
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
        ];
        fields.retain(|name, _| !name.is_any(&of_the_first));
        let method = if own.method == Method::HEAD { Method::HEAD } else { Method::GET };
        let request = ViewerRequest {
            id: own.id,
            method,
            version: own.version,
            scheme: own.scheme,
            authority: own.authority.clone(),
            target: target.as_str().into(),
            spelled: None,
            fields,
            order: own.order.clone(),
            connection: Arc::clone(&own.connection),
            arrived_at: own.arrived_at,
            arrived_number: own.arrived_number,
            interim: None,
            notes: Default::default(),
            trace: own.trace.clone(),
            known: Default::default(),
        };
        let own = exchange.aside(request)?;
        let head = own.request.head();
        let routed = own.routed(&head);
        if !access::may_be_page(routed.behavior, own.request.connection.peer.ip()) {
            return None;
        }
        let mut key = Vec::new();
        ask::write_key(&mut key, &routed);
        let page = CacheRequest { routed, key: &key, wants: own.wants, slice: None };
        // Boxed: a page's own errors have no pages, but the compiler does not know that.
        let mut response = Box::pin(self.answer_by_lookup(&own, &page, &mut Sought::default()))
            .await
            .ok()
            .filter(|response| response.status == 200)?;
        response.status = *respond_with;
        response.verdict.outcome = Outcome::Error;
        Some(response)
    }
}
