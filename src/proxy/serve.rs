//! The order of a request's steps: admit, ask, find, look up, and then hit, refresh, fetch or pass.
//!
//! Anything with a rule in it is a call into another room. A request is judged at the moment it
//! arrived.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header;

use super::exchange::{Begun, Exchange};
use super::fetch_request::FetchRequest;
use super::functions;
use super::grpc::stopped_call;
use super::stop::Stop;
use super::{Proxy, Tally};
use crate::access::{self, Replaces, Routed};
use crate::base::spare::Spare;
use crate::body::{Body, collect};
use crate::cache::ask::{self, CacheIntent, CacheRequest, MethodIntent};
use crate::cache::lookup::{Lookup, lookup, may_stand_in};
use crate::deliver::status_fields::tell;
use crate::deliver::{self, error_response};
use crate::distribution::behavior::Unauthorised;
use crate::message::connection::Asker;
use crate::message::failure::{Failure, FailureKind};
use crate::message::refusal::Refusal;
use crate::message::request::RequestHead;
use crate::message::response::ViewerResponse;
use crate::message::stored::Stored;
use crate::message::tier::TierFacts;
use crate::message::verdict::{MissReason, Outcome, PassReason, Reason, Verdict};
use crate::origin::request::FetchKind;
use crate::semantics::fields::FieldSection;
use crate::semantics::time::Timestamp;
use crate::store::memory::Found;

/// The API Gateway's words to a caller whose `max-age=0` was not heard.
const NOT_ALLOWED: &str =
    "199 Cache-control headers were ignored because the caller was unauthorized.";

/// An edge whose answer takes longer than this is sent a sign that this node runs: a stopped node
/// looks else like a slow origin.
const SIGN_AFTER: Duration = Duration::from_millis(25);

/// What goes along with a request until it is known where its answer comes from.
#[derive(Default)]
pub(super) struct Sought {
    body: Body,
    /// What memory holds under its key, if the hit step has looked.
    found: Option<Found>,
}

impl Proxy {
    /// Serves one request, whatever happens to it. It is lent, and stays where it is: it is large.
    pub async fn serve(self: &Arc<Self>, begun: &mut Begun, mut body: Body) -> ViewerResponse {
        let exchange = match begun {
            Ok(exchange) => exchange,
            Err(unrouted) => return unrouted.refused(&self.edge.node),
        };
        let came = pin!(self.answer(exchange, &mut body)).await;
        // What nobody took of it is read no more.
        drop(body);
        // What is bound here is gone before anything else is waited for, so that the future has no
        // place for it.
        let unfinished = match self.finished(exchange, came) {
            Ok(response) => return response,
            Err(unfinished) => unfinished,
        };
        // Boxed: most answers have no page, and most behaviors no code.
        Box::pin(self.finished_by_others(exchange, *unfinished)).await
    }

    // The answer as it goes out; or the same unfinished, where the distribution's page or code at
    // the edge has a say in it.
    fn finished(
        &self,
        exchange: &Exchange,
        came: Result<ViewerResponse, Stop>,
    ) -> Result<ViewerResponse, Box<ViewerResponse>> {
        let mut response = match came {
            Ok(response) => response,
            Err(Stop::Answered(mut response)) => {
                tell(&mut response, exchange.compat(), exchange.request.id);
                return Ok(*response);
            }
            Err(stop) => self.stopped(exchange, stop),
        };
        if exchange.chosen().1.hooks.is_some() || exchange.has_page(&response) {
            return Err(Box::new(response));
        }
        self.apply_policy(exchange, &mut response);
        self.finish(exchange, &mut response);
        Ok(response)
    }

    // The answer once its page and the code had their say.
    async fn finished_by_others(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        mut response: ViewerResponse,
    ) -> ViewerResponse {
        let has_code = exchange.chosen().1.hooks.is_some();
        if has_code {
            exchange.note_code();
            response.verdict.failed = exchange.failed_for(&response);
        }
        let mut is_page = false;
        if exchange.has_page(&response) {
            is_page = Box::pin(self.error_response(exchange, &mut response)).await;
        }
        self.apply_policy(exchange, &mut response);
        if has_code {
            response = Box::pin(self.shown_to_code(exchange, response, is_page)).await;
        }
        self.finish(exchange, &mut response);
        response
    }

    // What stands for the answer of a request that stopped on its way.
    fn stopped(&self, exchange: &Exchange, stop: Stop) -> ViewerResponse {
        let (compat, id) = (exchange.compat(), exchange.request.id);
        match stop {
            Stop::Answered(response) | Stop::Made(response) => *response,
            stop if exchange.is_call() => {
                Tally::add(&self.edge.tally.grpc_errors);
                stopped_call(exchange, stop)
            }
            Stop::Refused(refusal) => error_response::refusal(&refusal, compat, id),
            Stop::Failed(failure) => error_response::failure(failure, compat, id),
        }
    }

    // From admission to an answer, or to where the request stops.
    async fn answer(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        body: &mut Body,
    ) -> Result<ViewerResponse, Stop> {
        if exchange.chosen().1.hooks.is_some() {
            // Boxed: most behaviors have no code, and would carry its size about.
            return Box::pin(self.answer_with_code(exchange, body)).await;
        }
        let request = Arc::clone(&exchange.request);
        let head = request.head();
        self.admit(exchange, &head, body.length()).await?;
        pin!(self.answer_admitted(exchange, &head, body)).await
    }

    // The same where code at the edge stands between admission and the key.
    async fn answer_with_code(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        body: &mut Body,
    ) -> Result<ViewerResponse, Stop> {
        let request = Arc::clone(&exchange.request);
        self.admit(exchange, &request.head(), body.length()).await?;
        self.viewer_request(exchange, body).await?;
        // Perhaps another one; the route stays.
        let request = Arc::clone(&exchange.request);
        let head = request.head();
        Box::pin(self.answer_admitted(exchange, &head, body)).await
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

    // From the key to an answer.
    async fn answer_admitted(
        self: &Arc<Self>,
        exchange: &mut Exchange,
        head: &RequestHead<'_>,
        body: &mut Body,
    ) -> Result<ViewerResponse, Stop> {
        if exchange.chosen().1.field_encryption.is_some() {
            // Before the key: nothing behind this line has the plain text.
            let plain = std::mem::take(body);
            *body = Box::pin(self.encrypt_form(exchange, head, plain)).await?;
        }
        let routed = exchange.route.on(&exchange.running.site, head);
        let mut key = Spare::new();
        ask::write_key(&mut key, &routed);
        if matches!(exchange.wants.method, MethodIntent::Options | MethodIntent::Post) {
            // Boxed: most requests have nothing of a body in their key.
            let (wants, content) = (&mut exchange.wants, &mut exchange.content);
            let whole = std::mem::take(body);
            *body = Box::pin(write_body_key(&mut key, &routed, wants, content, whole)).await;
        }
        if let Some(shaped) = &exchange.shaped {
            functions::write_key(&mut key, &exchange.running.site, shaped);
        }
        let asked = CacheRequest { routed, key: &key, wants: exchange.wants, slice: None };
        let mut sought = Sought { body: std::mem::take(body), found: exchange.found.take() };
        let exchange = &*exchange;
        if let Replaces::MayNot(unauthorised) = exchange.wants.replaces {
            // Boxed, as all that most requests do not need.
            let answering = self.answer_unauthorised(exchange, &asked, &mut sought, unauthorised);
            return Box::pin(answering).await;
        }
        let came = match exchange.request.connection.asker == Asker::Edge {
            true => Box::pin(self.answer_in_sight(exchange, &asked, &mut sought)).await,
            false => pin!(self.answer_asked(exchange, &asked, &mut sought)).await,
        };
        came.map_err(Stop::Failed)
    }

    // The same to a viewer that may not replace what is stored, and wanted that.
    async fn answer_unauthorised(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: &mut Sought,
        unauthorised: Unauthorised,
    ) -> Result<ViewerResponse, Stop> {
        if unauthorised == Unauthorised::FailWith403 {
            return Err(Stop::Refused(Refusal::MayNotReplace));
        }
        let came = self.answer_in_sight(exchange, asked, sought).await;
        if unauthorised == Unauthorised::SucceedWithoutResponseHeader {
            return came.map_err(Stop::Failed);
        }
        let mut response = came.unwrap_or_else(|failure| {
            error_response::failure(failure, exchange.compat(), exchange.request.id)
        });
        response.fields.append(&header::WARNING, NOT_ALLOWED);
        Ok(response)
    }

    // Answers, and shows an edge a sign of life meanwhile (RFC 2518 §10.1).
    async fn answer_in_sight(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: &mut Sought,
    ) -> Result<ViewerResponse, Failure> {
        let is_edge = exchange.request.connection.asker == Asker::Edge;
        let mut answering = Box::pin(self.answer_asked(exchange, asked, sought));
        let Some(sink) = exchange.request.interim.as_ref().filter(|_| is_edge) else {
            return answering.await;
        };
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
        self.answer_asked(exchange, asked, &mut Sought::default()).await
    }

    // Replaces what is stored, where the viewer may have that; puts the answer together from
    // slices, or takes the one way of all others.
    async fn answer_asked(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: &mut Sought,
    ) -> Result<ViewerResponse, Failure> {
        if asked.wants.replaces == Replaces::Yes
            && matches!(
                asked.wants.method,
                MethodIntent::Get | MethodIntent::Post | MethodIntent::Options
            )
        {
            // Boxed, as all that most requests do not need: each would carry its size about.
            return Box::pin(self.replace_everywhere(exchange, asked)).await;
        }
        if asked.routed.behavior.slice.is_some()
            && let Some(came) = Box::pin(self.try_slices(exchange, asked)).await
        {
            return came;
        }
        pin!(self.answer_by_lookup(exchange, asked, sought)).await
    }

    /// Puts the answer together from slices, where the behavior keeps any.
    pub(super) async fn try_slices(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<Result<ViewerResponse, Failure>> {
        let size = asked.routed.behavior.slice?;
        match asked.wants.method {
            MethodIntent::Get => self.sliced(exchange, asked, size).await,
            MethodIntent::Head => self.head_of_slices(exchange, asked, size).await,
            MethodIntent::Post | MethodIntent::Options | MethodIntent::Pass(_) => None,
        }
    }

    /// Answers from what is stored, or from what has to be fetched, whatever the lookup says.
    pub(super) async fn answer_by_lookup(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        sought: &mut Sought,
    ) -> Result<ViewerResponse, Failure> {
        let now = exchange.request.arrived_at;
        let mut found = sought.found.take().unwrap_or_else(|| self.edge.store.find(asked.key));
        if self.edge.disk().is_some() {
            found = self.find(asked, Some(found)).await;
        }
        let (kind, reason) = match lookup(asked, &found, &self.edge.invalidations, now) {
            Lookup::Fresh(stored) => {
                match self.open(asked, stored, verdict(Outcome::Hit, Reason::Fresh), now) {
                    // It outgrew the store between being found and being opened.
                    Err(_) => (FetchKind::Fill, Reason::Miss(MissReason::Absent)),
                    opened => return opened,
                }
            }
            Lookup::Stale(stored) => {
                self.refresh_behind(exchange, asked, stored);
                let told = verdict(Outcome::Hit, Reason::StaleWhileRevalidate);
                return self.open(asked, stored, told, now);
            }
            Lookup::Revalidate(stored, _) if self.is_stale_on_error(stored, now) => {
                let told = verdict(Outcome::Hit, Reason::StaleOnError);
                return self.open(asked, stored, told, now);
            }
            Lookup::Revalidate(stored, why) => {
                (FetchKind::Revalidate(Arc::clone(stored)), Reason::Revalidated(why))
            }
            Lookup::Miss(why) => (FetchKind::Fill, Reason::Miss(why)),
            Lookup::Pass(why) => {
                return pin!(self.pass(exchange, asked, why, std::mem::take(&mut sought.body)))
                    .await;
            }
            Lookup::Unavailable => {
                return Err(Failure::new(
                    FailureKind::NotStored,
                    "only-if-cached, and nothing usable is stored",
                ));
            }
        };
        let fetch = FetchRequest::of(exchange, asked, kind);
        if self.may_take_part(&fetch) {
            // Boxed: most requests are for no range, and would carry its size about.
            return Box::pin(self.part_or_fetch(fetch, reason, &found)).await;
        }
        pin!(self.fetch(fetch, reason, &found)).await
    }

    /// Makes the answer from a stored response.
    pub(super) fn open(
        &self,
        asked: &CacheRequest<'_>,
        stored: &Arc<Stored>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<ViewerResponse, Failure> {
        stored.flags.used();
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
    fn is_stale_on_error(&self, stored: &Stored, now: Timestamp) -> bool {
        now.0 < stored.live.stale_on_error_until.load(Ordering::Relaxed)
            && may_stand_in(stored, &self.edge.invalidations, now)
    }
}

// What of the body is in the key: that of a POST that may be answered from the store. Gives back
// what of the body is still to be sent.
async fn write_body_key(
    key: &mut Spare,
    routed: &Routed<'_>,
    wants: &mut CacheIntent,
    content: &mut Option<Bytes>,
    body: Body,
) -> Body {
    if wants.method == MethodIntent::Options {
        // What is asked with a body is in no key.
        if body.length() != Some(0) {
            wants.method = MethodIntent::Pass(PassReason::Method);
            return body;
        }
        ask::write_options_key(key, routed);
        return Body::Empty;
    }
    let (MethodIntent::Post, Some(post)) = (wants.method, &routed.behavior.cache_post) else {
        return body;
    };
    match collect::collect(body, post.max_body).await {
        Ok(whole) => {
            ask::write_post_key(key, routed, post, &whole);
            *content = Some(whole);
            Body::Empty
        }
        Err(rest) => {
            wants.method = MethodIntent::Pass(PassReason::Body);
            rest
        }
    }
}

/// A verdict without a collapse.
pub(super) const fn verdict(outcome: Outcome, reason: Reason) -> Verdict {
    deliver::no_cache(outcome, reason)
}
