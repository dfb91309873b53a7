//! The viewer's sentence: admit, ask, find, look up, and then hit, refresh, fetch or pass.
//!
//! Anything with a rule in it is a call into another room. A request is judged at the moment it
//! arrived.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use tokio::sync::oneshot;

use super::exchange::{Begun, Exchange};
use super::functions;
use super::stop::Stop;
use super::tunnels::TunnelPlace;
use super::unanswered::Unanswered;
use super::{Proxy, Tally};
use crate::access::{self, Replaces, Routed};
use crate::base::spare::Spare;
use crate::body::{Body, collect};
use crate::cache::arrival::{self, HeadNews};
use crate::cache::ask::{self, CacheIntent, CacheRequest, MethodIntent};
use crate::cache::invalidations::Validity;
use crate::cache::lookup::{Lookup, choose, lookup, may_stand_in};
use crate::cache::unsafe_methods;
use crate::deliver::status_fields::tell;
use crate::deliver::{self, error_response};
use crate::distribution::behavior::Unauthorised;
use crate::message::connection::Asker;
use crate::message::failure::{Failure, FailureKind};
use crate::message::key::InvalidationNumber;
use crate::message::own_fields::APPLIED;
use crate::message::refusal::Refusal;
use crate::message::request::{RequestHead, ViewerRequest};
use crate::message::response::{Reply, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::tier::TierFacts;
use crate::message::verdict::{MissReason, Outcome, PassReason, Reason, Verdict};
use crate::origin::request::FetchKind;
use crate::region;
use crate::semantics::coding::{note_coding, vary_on_coding};
use crate::semantics::fields::FieldSection;
use crate::semantics::freshness::Exchanged;
use crate::semantics::time::Timestamp;
use crate::store::memory::Found;

/// The API Gateway's words to a caller whose `max-age=0` was not heard.
const NOT_ALLOWED: &str =
    "199 Cache-control headers were ignored because the caller was unauthorized.";

/// An edge whose answer takes longer than this is sent a sign that this node runs: a stopped node
/// looks else like a slow origin.
const SIGN_AFTER: Duration = Duration::from_millis(25);

/// So long an answer that replaces what is stored waits for the parents to hear of it.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What goes along with a request until it is known where its answer comes from.
#[derive(Default)]
struct Sought {
    body: Body,
    /// What memory holds under its key, if the hit step has looked.
    found: Option<Found>,
}

impl Proxy {
    /// Serves one request, whatever happens to it.
    pub async fn serve(self: &Arc<Self>, begun: Begun, body: Body) -> ViewerResponse {
        let mut exchange = match begun {
            Ok(exchange) => exchange,
            Err(unrouted) => return unrouted.refused(&self.edge.node),
        };
        let response = match self.answer(&mut exchange, body).await {
            Ok(response) => response,
            Err(Stop::Answered(response)) => {
                let mut response = *response;
                tell(&mut response, exchange.compat(), exchange.request.id);
                return response;
            }
            Err(Stop::Made(response)) => *response,
            Err(stop) if exchange.is_call() => {
                Tally::add(&self.edge.tally.grpc_errors);
                stopped_call(&exchange, stop)
            }
            Err(Stop::Refused(refusal)) => {
                error_response::refusal(&refusal, exchange.compat(), exchange.request.id)
            }
            Err(Stop::Failed(failure)) => {
                error_response::failure(failure, exchange.compat(), exchange.request.id)
            }
        };
        let (response, is_page) = self.error_response(&exchange, response).await;
        let response = self.dress(&exchange, response);
        let has_code = exchange.chosen().1.hooks.is_some();
        let response = match has_code {
            // Boxed: most behaviors have no code, and would carry its size about.
            true => Box::pin(self.shown_to_code(&mut exchange, response, is_page)).await,
            false => response,
        };
        self.finish(&exchange, response)
    }

    // Viewer-response code sees what the viewer would get. Where it fails, the viewer gets that in
    // the place of the answer.
    async fn shown_to_code(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        response: ViewerResponse,
        is_page: bool,
    ) -> ViewerResponse {
        let mut response = match self.viewer_response(exchange, response, is_page).await {
            Ok(response) => response,
            Err(failed) => {
                let (page, _) = self.error_response(exchange, *failed).await;
                self.dress(exchange, page)
            }
        };
        response.ran = exchange.ran.take();
        response
    }

    // From the gate to an answer, or to where the request stops.
    async fn answer(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        body: Body,
    ) -> Result<ViewerResponse, Stop> {
        let request = Arc::clone(&exchange.request);
        let head = request.head();
        self.admit(exchange, &head, body.length()).await?;
        if exchange.chosen().1.hooks.is_none() {
            return self.answer_admitted(exchange, &head, body).await;
        }
        let mut body = body;
        self.viewer_request(exchange, &mut body).await?;
        // Perhaps another one; the route stays.
        let request = Arc::clone(&exchange.request);
        let head = request.head();
        Box::pin(self.answer_admitted(exchange, &head, body)).await
    }

    // From the key to an answer.
    async fn answer_admitted(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        head: &RequestHead<'_>,
        body: Body,
    ) -> Result<ViewerResponse, Stop> {
        let routed = exchange.route.on(&exchange.running.site, head);
        let (mut key, body) =
            write_key(&routed, &mut exchange.wants, &mut exchange.content, body).await;
        if let Some(shaped) = &exchange.shaped {
            functions::write_key(&mut key, &exchange.running.site, shaped);
        }
        let asked = CacheRequest { routed, key: &key, wants: exchange.wants, slice: None };
        let sought = Sought { body, found: exchange.found.take() };
        let exchange = &*exchange;
        match exchange.wants.replaces {
            Replaces::MayNot(Unauthorised::FailWith403) => {
                Err(Stop::Refused(Refusal::MayNotReplace))
            }
            Replaces::MayNot(Unauthorised::SucceedWithResponseHeader) => {
                let came = self.answer_in_sight(exchange, &asked, sought).await;
                let mut response = came.unwrap_or_else(|failure| {
                    error_response::failure(failure, exchange.compat(), exchange.request.id)
                });
                response.fields.append(&header::WARNING, NOT_ALLOWED);
                Ok(response)
            }
            _ => self.answer_in_sight(exchange, &asked, sought).await.map_err(Stop::Failed),
        }
    }

    // Whether the viewer may ask. A PURGE ends here: it asks for no response.
    async fn admit(
        self: &Arc<Self>,
        exchange: &Exchange,
        head: &RequestHead<'_>,
        length: Option<u64>,
    ) -> Result<(), Stop> {
        let site = &*exchange.running.site;
        let routed = exchange.routed(head);
        if let Some(may) = access::purges(site, &routed) {
            let mut response = match may {
                Ok(()) => self.purge(site, &routed).await,
                Err(refusal) => error_response::refusal(&refusal, exchange.compat(), head.id),
            };
            response.behavior = Some(routed.behavior.ordinal);
            return Err(Stop::Answered(Box::new(response)));
        }
        let around = self.edge.around(&exchange.running, exchange.request.arrived_at);
        access::admit(&routed, exchange.wants.caching(), around)?;
        access::grpc::judge(&routed)?;
        // Before code was asked, the hit step has taken from the rate.
        if exchange.spoken.is_none() {
            access::spend(&routed, around)?;
        }
        let is_too_large = length.is_some_and(|length| length > site.limits.request_body);
        if is_too_large { Err(Stop::Refused(Refusal::TooLarge)) } else { Ok(()) }
    }

    // The error page of the distribution in the place of an error, if there is one; and whether
    // that is what is given back. What code answered stays as it is.
    async fn error_response(
        self: &Arc<Self>,
        exchange: &Exchange,
        response: ViewerResponse,
    ) -> (ViewerResponse, bool) {
        let (distribution, behavior) = exchange.chosen();
        // No caller of gRPC has a use for a page.
        if distribution.error_response(behavior, response.status).is_none()
            || exchange.is_call()
            || matches!(response.verdict.reason, Reason::Function(end) if end.is_generated())
        {
            return (response, false);
        }
        match Box::pin(self.error_page(exchange, response.status)).await {
            // The log says what was refused, whatever the viewer sees.
            Some(page) if matches!(response.verdict.reason, Reason::Refused(_)) => {
                (ViewerResponse { failure: response.failure, ..page }, true)
            }
            Some(page) if matches!(response.verdict.reason, Reason::Function(_)) => {
                (ViewerResponse { verdict: response.verdict, ..page }, true)
            }
            Some(page) => (page, true),
            None => (response, false),
        }
    }

    // What is said of every answer by its behavior.
    fn dress(&self, exchange: &Exchange, mut response: ViewerResponse) -> ViewerResponse {
        let behavior = exchange.chosen().1;
        let (site, request) = (&*exchange.running.site, &*exchange.request);
        response.behavior = Some(behavior.ordinal);
        // A fill of its own was waited for; a refresh behind it, or another's fill, was not.
        if response.verdict.reason.forward().is_some() && !response.verdict.collapsed {
            response.origin_millis = response.origin_millis.or_else(|| request.upstream.millis());
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
        response
    }

    // What is said of every answer, whatever it is: by the compatibility fields, to an edge.
    fn finish(&self, exchange: &Exchange, mut response: ViewerResponse) -> ViewerResponse {
        let distribution = exchange.chosen().0;
        let (site, request) = (&*exchange.running.site, &*exchange.request);
        tell(&mut response, &distribution.compat, request.id);
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
        response
    }

    // Answers, and shows an edge a sign of life meanwhile (RFC 2518 §10.1).
    async fn answer_in_sight(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: Sought,
    ) -> Result<ViewerResponse, Failure> {
        let sink = exchange
            .request
            .interim
            .as_ref()
            .filter(|_| exchange.request.connection.asker == Asker::Edge);
        let Some(sink) = sink else {
            return self.answer_asked(exchange, asked, sought).await;
        };
        let mut answering = Box::pin(self.answer_asked(exchange, asked, sought));
        match tokio::time::timeout(SIGN_AFTER, &mut answering).await {
            Ok(response) => response,
            Err(_) => {
                sink.take((102, FieldSection::new()));
                answering.await
            }
        }
    }

    /// The answer to a request that no viewer has made: nobody is refused it, and nobody hears of
    /// it.
    pub(super) async fn answer_unasked(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Result<ViewerResponse, Failure> {
        self.answer_asked(exchange, asked, Sought::default()).await
    }

    // Replaces what is stored, where the viewer may have that; puts the answer together from
    // slices, or takes the one way of all others.
    async fn answer_asked(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: Sought,
    ) -> Result<ViewerResponse, Failure> {
        if asked.wants.replaces == Replaces::Yes
            && matches!(asked.wants.method, MethodIntent::Get | MethodIntent::Post)
        {
            // Boxed, as all that most requests do not need: each would carry its size about.
            return Box::pin(self.replace_everywhere(exchange, asked)).await;
        }
        if asked.routed.behavior.slice.is_some()
            && let Some(came) = Box::pin(self.try_slices(exchange, asked)).await
        {
            return came;
        }
        self.answer_by_lookup(exchange, asked, sought).await
    }

    // Alone: a fetch under way may have begun before the change that the caller knows of. Once the
    // caller has its answer, no tier that can be reached goes on giving what it had.
    async fn replace_everywhere(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Result<ViewerResponse, Failure> {
        let heard = self.outdate(exchange, asked).await;
        let came = match self.replace_slices(exchange, asked).await {
            Some(came) => came,
            None => {
                self.replace(
                    exchange,
                    asked,
                    FetchKind::Fill,
                    Reason::Miss(MissReason::Invalidated),
                )
                .await
            }
        };
        if let Some(heard) = heard {
            let _ = tokio::time::timeout(HEARD_WITHIN, heard).await;
        }
        came
    }

    // Slices are replaced one by one, as they are asked for; none of them by a fetch that is under
    // way.
    async fn replace_slices(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<Result<ViewerResponse, Failure>> {
        asked.routed.behavior.slice?;
        let request = Arc::new(exchange.request.arriving_at(self.edge.invalidations.head()));
        let later = Exchange { request, ..exchange.clone() };
        self.try_slices(&later, asked).await
    }

    // What the origin is known to have anew, no other tier may go on giving, nor may the slices of
    // the object. Says when the parents have heard.
    async fn outdate(
        &self,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<oneshot::Receiver<()>> {
        let has_parents = exchange.running.region.is_some();
        if (has_parents || asked.routed.behavior.slice.is_some())
            && let Some(url) = unsafe_methods::own_url(asked)
        {
            self.edge.invalidation.outdated(asked.routed.distribution.id.clone(), url).await;
        }
        if has_parents { self.edge.invalidation.tell_parents() } else { None }
    }

    async fn try_slices(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<Result<ViewerResponse, Failure>> {
        let size = asked.routed.behavior.slice?;
        match asked.wants.method {
            MethodIntent::Get => self.sliced(exchange, asked, size).await,
            MethodIntent::Head => self.head_of_slices(exchange, asked, size).await,
            MethodIntent::Post | MethodIntent::Pass(_) => None,
        }
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
            upstream: Default::default(),
            trace: own.trace.clone(),
            known: Default::default(),
        };
        let own = exchange.aside(request)?;
        let head = own.request.head();
        let routed = own.routed(&head);
        let mut key = Vec::new();
        ask::write_key(&mut key, &routed);
        let page = CacheRequest { routed, key: &key, wants: own.wants, slice: None };
        // Boxed: a page's own errors have no pages, but the compiler does not know that.
        let mut response = Box::pin(self.answer_by_lookup(&own, &page, Sought::default()))
            .await
            .ok()
            .filter(|response| response.status == 200)?;
        response.status = *respond_with;
        response.verdict.outcome = Outcome::Error;
        Some(response)
    }

    async fn answer_by_lookup(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: Sought,
    ) -> Result<ViewerResponse, Failure> {
        let now = exchange.request.arrived_at;
        let found = self.find(asked, sought.found).await;
        match lookup(asked, &found, &self.edge.invalidations, now) {
            Lookup::Fresh(stored) => {
                match self.open(asked, stored, verdict(Outcome::Hit, Reason::Fresh), now) {
                    // It outgrew the store between being found and being opened.
                    Err(_) => {
                        self.fetch(
                            exchange,
                            asked,
                            FetchKind::Fill,
                            Reason::Miss(MissReason::Absent),
                            &found,
                        )
                        .await
                    }
                    opened => opened,
                }
            }
            Lookup::Stale(stored) => {
                self.refresh_behind(exchange, asked, stored);
                self.open(asked, stored, verdict(Outcome::Hit, Reason::StaleWhileRevalidate), now)
            }
            Lookup::Revalidate(stored, _) if self.stands_in(stored, now) => {
                self.open(asked, stored, verdict(Outcome::Hit, Reason::StaleOnError), now)
            }
            Lookup::Revalidate(stored, why) => {
                self.fetch(
                    exchange,
                    asked,
                    FetchKind::Revalidate(Arc::clone(stored)),
                    Reason::Revalidated(why),
                    &found,
                )
                .await
            }
            Lookup::Miss(why) => {
                self.fetch(exchange, asked, FetchKind::Fill, Reason::Miss(why), &found).await
            }
            Lookup::Pass(why) => self.pass(exchange, asked, why, sought.body).await,
            Lookup::Unavailable => Err(Failure::new(
                FailureKind::NotStored,
                "only-if-cached, and nothing usable is stored",
            )),
        }
    }

    /// Makes the answer from a stored response.
    pub(super) fn open(
        &self,
        asked: &CacheRequest<'_>,
        stored: &Arc<Stored>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<ViewerResponse, Failure> {
        stored.live.used();
        let mut response =
            deliver::from_stored(asked.head(), stored, verdict, now).ok_or_else(|| {
                Failure::new(
                    FailureKind::Internal,
                    "the stored response can no longer be read from its start",
                )
            })?;
        if verdict.outcome == Outcome::Hit {
            response.told.is_unproven = self.edge.is_unproven(now);
        }
        self.tell_edge(asked, stored, verdict.reason, &mut response.fields);
        Ok(response)
    }

    /// Tells an edge what a stored response is worth that it is given; viewers hear nothing of it.
    pub(super) fn tell_edge(
        &self,
        asked: &CacheRequest<'_>,
        stored: &Stored,
        reason: Reason,
        fields: &mut FieldSection,
    ) {
        if asked.head().connection.asker == Asker::Edge {
            TierFacts::of(stored, reason, self.edge.clock.now()).write(fields);
        }
    }

    // The origin failed a moment ago: it is left in peace for the error caching minimum TTL.
    fn stands_in(&self, stored: &Stored, now: Timestamp) -> bool {
        now.0 < stored.live.stands_in_until.load(Ordering::Relaxed)
            && may_stand_in(stored, &self.edge.invalidations, now)
    }

    fn tunnel_place(&self, exchange: &Exchange) -> Result<TunnelPlace, Failure> {
        let most = exchange.running.site.limits.tunnels;
        TunnelPlace::take(&self.edge, most).ok_or_else(|| {
            Failure::new(FailureKind::ConnectionLimit, "limits.tunnels are open already")
        })
    }

    /// Fetches for this viewer alone. What is stored learns from it: a write makes old, a HEAD may
    /// confirm.
    pub(super) async fn pass(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        why: PassReason,
        body: Body,
    ) -> Result<ViewerResponse, Failure> {
        let place = match why {
            PassReason::Upgrade => Some(self.tunnel_place(exchange)?),
            _ => None,
        };
        let number = self.edge.invalidations.head();
        let unanswered = Unanswered::of(&self.edge.invalidation, asked);
        let came = match why {
            PassReason::Grpc => Box::pin(self.call(exchange, asked, body)).await,
            _ => self.fetch_from_hops(exchange, asked, &FetchKind::Pass, body).await,
        };
        unanswered.ended();
        if asked.wants.method == MethodIntent::Head
            && came.as_ref().map_or(true, |reply| arrival::is_origin_failure(reply.status))
            && let Some(stored) = self.stand_in_for_head(asked)
        {
            return self.open(
                asked,
                &stored,
                verdict(Outcome::Hit, Reason::StaleIfError),
                self.edge.clock.now(),
            );
        }
        let mut reply = came?;
        if let (Body::Tunnel(tunnel), Some(place)) = (&mut reply.body, place) {
            Tally::add(&self.edge.tally.tunnels);
            tunnel.held.push(Box::new(place));
        }
        let status = reply.status;
        let when = Exchanged { asked_at: reply.asked_at, arrived_at: reply.arrived_at };
        let matchers = unsafe_methods::invalidates(asked, status, &reply.fields);
        // Boxed, as all that most requests do not need.
        let is_unspread =
            !matchers.is_empty() && Box::pin(self.written(exchange, asked, matchers)).await;
        if let Some(keeping) = arrival::keeping_of_post(asked, status, &reply.fields, when) {
            let mut response = self
                .store_post_response(exchange, asked, keeping, reply, Reason::Pass(why))
                .await?;
            response.told.is_unspread = is_unspread;
            return Ok(response);
        }
        if asked.wants.method == MethodIntent::Head {
            if self.learn_from_head(asked, &reply, when, number) {
                // The tiers above would confirm what they have.
                drop(self.outdate(exchange, asked).await);
            }
            if let Some(coding) = arrival::coding_of_get(asked, status, &reply.fields, when) {
                note_coding(&mut reply.fields, coding);
            } else if arrival::is_encoded_for_others(asked, status, &reply.fields) {
                vary_on_coding(&mut reply.fields);
            }
        }
        let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
        let mut response =
            deliver::from_reply(asked.head(), reply, verdict(outcome, Reason::Pass(why)));
        response.told.is_unspread = is_unspread;
        Ok(response)
    }

    // What a GET would be answered with while the origin fails.
    fn stand_in_for_head(&self, asked: &CacheRequest<'_>) -> Option<Arc<Stored>> {
        let found = self.edge.store.find(asked.key);
        let stored = choose(asked.head().fields, &found)?;
        may_stand_in(stored, &self.edge.invalidations, self.edge.clock.now())
            .then(|| Arc::clone(stored))
    }

    // True if what is stored turns out to be old, which is said once.
    fn learn_from_head(
        &self,
        asked: &CacheRequest<'_>,
        reply: &Reply,
        when: Exchanged,
        number: InvalidationNumber,
    ) -> bool {
        let found = self.edge.store.find(asked.key);
        let Some(stored) = choose(asked.head().fields, &found) else { return false };
        if self.edge.invalidations.validity(stored) != Validity::Valid {
            return false;
        }
        match arrival::on_head(asked, stored, reply.status, &reply.fields, when) {
            HeadNews::Freshen(keeping, mut fields) => {
                arrival::strip_for_storage(asked, &mut fields);
                self.freshen(&stored.key, stored, keeping, &fields, number);
                false
            }
            HeadNews::Differs => !stored.live.suspect.swap(true, Ordering::Relaxed),
            HeadNews::Nothing => false,
        }
    }
}

// What a caller of gRPC is told in the place of an error page.
fn stopped_call(exchange: &Exchange, stop: Stop) -> ViewerResponse {
    let (compat, id) = (exchange.compat(), exchange.request.id);
    match stop {
        Stop::Refused(refusal) => deliver::grpc::refusal(&refusal, compat, id),
        Stop::Failed(failure) => deliver::grpc::failure(failure, compat, id),
        Stop::Answered(response) | Stop::Made(response) => *response,
    }
}

// The key; with the body of a POST in it, where that may be answered from the store. Gives back
// what of the body is still to be sent.
async fn write_key(
    routed: &Routed<'_>,
    wants: &mut CacheIntent,
    content: &mut Option<Bytes>,
    body: Body,
) -> (Spare, Body) {
    let mut key = Spare::new();
    ask::write_key(&mut key, routed);
    let (MethodIntent::Post, Some(post)) = (wants.method, &routed.behavior.cache_post) else {
        return (key, body);
    };
    match collect::collect(body, post.max_body).await {
        Ok(whole) => {
            ask::write_post_key(&mut key, routed, post, &whole);
            *content = Some(whole);
            (key, Body::Empty)
        }
        Err(rest) => {
            wants.method = MethodIntent::Pass(PassReason::Body);
            (key, rest)
        }
    }
}

/// A verdict without a collapse.
pub(super) const fn verdict(outcome: Outcome, reason: Reason) -> Verdict {
    deliver::no_cache(outcome, reason)
}
