//! The viewer's sentence: route, admit, ask, find, look up, and then hit, refresh, fetch or pass.
//!
//! Anything with a rule in it is a call into another room. A request is judged at the moment it arrived.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, header};
use tokio::sync::oneshot;

use super::unanswered::Unanswered;
use super::{Core, Running};
use crate::body::{Body, collect};
use crate::cache::arrival::{self, HeadNews};
use crate::cache::ask::{self, Asked, Wanted};
use crate::cache::invalidations::Validity;
use crate::cache::lookup::{Lookup, choose, lookup, may_stand_in};
use crate::cache::written;
use crate::deliver::{self, page};
use crate::distribution::behavior::Unauthorised;
use crate::distribution::face::Face;
use crate::exchange::connection::Asker;
use crate::exchange::failure::{Failure, FailureKind};
use crate::exchange::key::LogNumber;
use crate::exchange::refusal::Refusal;
use crate::exchange::request::ViewerRequest;
use crate::exchange::response::{Reply, ViewerResponse};
use crate::exchange::stored::Stored;
use crate::exchange::tier::TierFacts;
use crate::exchange::verdict::{MissReason, Outcome, PassReason, Reason, Verdict};
use crate::gate::{self, Replaces};
use crate::origin::request::Asking;
use crate::region;
use crate::semantics::coding::{note_coding, vary_on_coding};
use crate::semantics::freshness::Exchanged;
use crate::semantics::time::Timestamp;
use crate::store::chain::Mark;

/// The API Gateway's words to a caller whose `max-age=0` was not heard.
const NOT_ALLOWED: &str = "199 Cache-control headers were ignored because the caller was unauthorized.";

/// An edge whose answer takes longer than this is told that somebody is here: a stopped node looks else like a slow origin.
const SIGN_AFTER: Duration = Duration::from_millis(25);

/// So long an answer that replaces what is stored waits for the parents to hear of it.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

/// What the steps of one request share.
pub(super) struct Errand {
    pub running: Arc<Running>,
    pub request: Arc<ViewerRequest>,
    /// The body of a POST that may be answered from the store, whole.
    pub content: Option<Bytes>,
}

impl Errand {
    /// The same errand for somebody else to run.
    pub fn again(&self) -> Self {
        Self { running: Arc::clone(&self.running), request: Arc::clone(&self.request), content: self.content.clone() }
    }

    /// What is sent along with a request for the store.
    pub fn body(&self) -> Body {
        self.content.clone().map_or(Body::Empty, Body::Bytes)
    }
}

impl Core {
    /// Serves one request, whatever happens to it.
    pub async fn serve(self: &Arc<Self>, request: ViewerRequest, body: Body) -> ViewerResponse {
        let mut request = request;
        let running = self.edge.running();
        let claim = gate::prepare::prepare(&mut request, &running.site);
        let from_edge = claim.map(|claim| self.applied_of(&claim, &mut request));
        let mut errand = Errand { running, request: Arc::new(request), content: None };
        let head = errand.request.head();
        let site = &*errand.running.site;
        let routed = match gate::route(site, &head, errand.request.arrived_at) {
            Ok(routed) => routed,
            Err(refusal) => {
                let mut refused = page::refusal(&refusal, &Face::default(), head.id);
                if from_edge.is_some() {
                    region::name_node(&self.edge.node, &mut refused.fields);
                }
                return refused;
            }
        };
        let face = &routed.distribution.face;
        if let Some(may) = gate::purges(site, &routed) {
            let mut response = match may {
                Ok(()) => self.purge(site, &routed).await,
                Err(refusal) => page::refusal(&refusal, face, head.id),
            };
            response.behavior = Some(routed.behavior.ordinal);
            return response;
        }
        let mut key = Vec::with_capacity(128);
        let around = self.edge.around(&errand.running, errand.request.arrived_at);
        let mut response = match gate::admit(&routed, around).and_then(|()| gate::spend(&routed, around)) {
            Err(refusal) => {
                let refused = page::refusal(&refusal, face, head.id);
                let asked = Asked { routed, key: &key, wants: ask::wants(&routed), slice: None };
                match self.error_page(&errand, &asked, refused.status).await {
                    // The log says what was refused, whatever the viewer sees.
                    Some(page) => ViewerResponse { failure: refused.failure, ..page },
                    None => refused,
                }
            }
            Ok(()) if body.length().is_some_and(|len| len > site.limits.request_body) => page::refusal(&Refusal::TooLarge, face, head.id),
            Ok(()) => {
                ask::write_key(&mut key, &routed);
                let mut wants = ask::wants(&routed);
                let mut body = body;
                if let (Wanted::Post, Some(post)) = (wants.method, &routed.behavior.cache_post) {
                    match collect::collect(body, post.max_body).await {
                        Ok(content) => {
                            ask::write_post_key(&mut key, &routed, post, &content);
                            errand.content = Some(content);
                            body = Body::Empty;
                        }
                        Err(rest) => {
                            wants.method = Wanted::Pass(PassReason::Body);
                            body = rest;
                        }
                    }
                }
                let asked = Asked { routed, key: &key, wants, slice: None };
                let response = self.answer_in_sight(&errand, &asked, body).await;
                self.error_page(&errand, &asked, response.status).await.unwrap_or(response)
            }
        };
        response.behavior = Some(routed.behavior.ordinal);
        // A fill of its own was waited for; a refresh behind it, or somebody else's fill, was not.
        if response.verdict.reason.forward().is_some() && !response.verdict.collapsed {
            response.origin_millis = response.origin_millis.or_else(|| errand.request.upstream.millis());
        }
        let came = (response.verdict.outcome, response.status);
        deliver::face::dress(face, head.id, came, &mut response.fields);
        // An edge applies it for its own viewers.
        if let Some(policy) = routed.behavior.response.as_deref().filter(|_| from_edge.is_none()) {
            deliver::policy::apply(policy, &head, &mut response.fields);
            let (outcome, millis) = (response.verdict.outcome, response.origin_millis);
            if let Some(timing) = deliver::policy::server_timing(policy, &head, outcome, millis, &site.pop) {
                response.fields.append("server-timing", deliver::value(timing));
            }
        }
        if let Some(cookie) = gate::session_cookie(site, &routed, errand.request.arrived_at) {
            response.fields.append(header::SET_COOKIE, deliver::value(cookie));
        }
        if let Some(applied) = from_edge {
            if let Some(mark) = applied {
                response.fields.insert(region::APPLIED, deliver::value(mark.to_string()));
            }
            region::name_node(&self.edge.node, &mut response.fields);
        }
        response
    }

    // Answers, and shows an edge a sign of life meanwhile (RFC 2518 §10.1).
    async fn answer_in_sight(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>, body: Body) -> ViewerResponse {
        let sink = errand.request.interim.as_ref().filter(|_| errand.request.connection.asker == Asker::Edge);
        let Some(sink) = sink else { return self.answer(errand, asked, body).await };
        let mut answering = Box::pin(self.answer(errand, asked, body));
        match tokio::time::timeout(SIGN_AFTER, &mut answering).await {
            Ok(response) => response,
            Err(_) => {
                sink.take((102, HeaderMap::new()));
                answering.await
            }
        }
    }

    // Asks, or replaces what is stored if the viewer may have that.
    async fn answer(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>, body: Body) -> ViewerResponse {
        let face = &asked.routed.distribution.face;
        let replaces = gate::replaces(&asked.routed);
        let came = match replaces {
            Replaces::MayNot(Unauthorised::FailWith403) => return page::refusal(&Refusal::MayNotReplace, face, asked.head().id),
            Replaces::Yes if matches!(asked.wants.method, Wanted::Get | Wanted::Post) => self.replace_everywhere(errand, asked).await,
            Replaces::No | Replaces::Yes | Replaces::MayNot(_) => match self.try_slices(errand, asked).await {
                Some(came) => came,
                None => self.travel(errand, asked, body).await,
            },
        };
        let mut response = came.unwrap_or_else(|failure| page::failure(failure, face, asked.head().id));
        if replaces == Replaces::MayNot(Unauthorised::SucceedWithResponseHeader) {
            response.fields.append(http::header::WARNING, http::HeaderValue::from_static(NOT_ALLOWED));
        }
        response
    }

    // Alone: a fetch under way may have begun before the change that the caller knows of. Once the caller has its answer, no tier that
    // can be reached goes on giving what it had.
    async fn replace_everywhere(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>) -> Result<ViewerResponse, Failure> {
        let heard = self.outdate(errand, asked).await;
        let came = match self.replace_slices(errand, asked).await {
            Some(came) => came,
            None => self.replace(errand, asked, Asking::Fill, Reason::Miss(MissReason::Invalidated)).await,
        };
        if let Some(heard) = heard {
            let _ = tokio::time::timeout(HEARD_WITHIN, heard).await;
        }
        came
    }

    // Slices are replaced one by one, as they are asked for; none of them by a fetch that is under way.
    async fn replace_slices(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>) -> Option<Result<ViewerResponse, Failure>> {
        asked.routed.behavior.slice?;
        let request = Arc::new(errand.request.arriving_at(self.edge.invalidations.head()));
        let later = Errand { request, ..errand.again() };
        self.try_slices(&later, asked).await
    }

    // What the origin is known to have anew, no other tier may go on giving, nor may the slices of the object. Says when the parents
    // have heard.
    async fn outdate(&self, errand: &Errand, asked: &Asked<'_>) -> Option<oneshot::Receiver<()>> {
        let has_parents = errand.running.region.is_some();
        if (has_parents || asked.routed.behavior.slice.is_some())
            && let Some(url) = written::own_url(asked)
        {
            self.edge.outdated(asked.routed.distribution.id.clone(), url).await;
        }
        if has_parents { self.edge.tell_parents() } else { None }
    }

    async fn try_slices(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>) -> Option<Result<ViewerResponse, Failure>> {
        let size = asked.routed.behavior.slice?;
        match asked.wants.method {
            Wanted::Get => self.sliced(errand, asked, size).await,
            Wanted::Head => self.head_of_slices(errand, asked, size).await,
            Wanted::Post | Wanted::Pass(_) => None,
        }
    }

    // CloudFront's custom error response: a request of its own for the page, whose first matching behavior picks the
    // origin. If the page cannot be had, the error itself is sent.
    async fn error_page(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>, status: u16) -> Option<ViewerResponse> {
        // An edge has pages of its own, and keeps what it is answered under the URL that it asked for.
        if errand.request.connection.asker == Asker::Edge {
            return None;
        }
        let rule = asked.routed.distribution.error_response(asked.routed.behavior, status)?;
        let (target, respond_with) = rule.page.as_ref()?;
        let own = &errand.request;
        let mut fields = own.fields.clone();
        for name in [
            header::RANGE,
            header::IF_RANGE,
            header::IF_NONE_MATCH,
            header::IF_MODIFIED_SINCE,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
        ] {
            fields.remove(name);
        }
        let method = if own.method == Method::HEAD { Method::HEAD } else { Method::GET };
        let request = ViewerRequest {
            id: own.id,
            method,
            version: own.version,
            scheme: own.scheme,
            authority: own.authority.clone(),
            target: target.clone(),
            spelled: None,
            fields,
            order: own.order.clone(),
            connection: Arc::clone(&own.connection),
            arrived_at: own.arrived_at,
            arrived_number: own.arrived_number,
            interim: None,
            upstream: Default::default(),
        };
        let errand = Errand { running: Arc::clone(&errand.running), request: Arc::new(request), content: None };
        let head = errand.request.head();
        let routed = gate::route(&errand.running.site, &head, errand.request.arrived_at).ok()?;
        let mut key = Vec::new();
        ask::write_key(&mut key, &routed);
        let page = Asked { routed, key: &key, wants: ask::wants(&routed), slice: None };
        // Boxed: a page's own errors have no pages, but the compiler does not know that.
        let mut response = Box::pin(self.travel(&errand, &page, Body::Empty)).await.ok().filter(|response| response.status == 200)?;
        let name = &asked.routed.distribution.face.name;
        response.status = *respond_with;
        response.verdict.outcome = Outcome::Error;
        response.fields.insert(deliver::X_CACHE, deliver::value(format!("{} from {name}", Outcome::Error.word())));
        Some(response)
    }

    // An edge that proves itself is told how far its log was in effect when it asked, never how far it is
    // when the answer leaves: a response found in between could be older. One whose log is not known here is told nothing.
    fn applied_of(&self, claim: &str, request: &mut ViewerRequest) -> Option<Mark> {
        let applied = self.edge.applied.of(claim, request.arrived_at);
        // After `applied`: it must not join a fetch older than what we claim.
        request.arrived_number = self.edge.invalidations.head();
        applied
    }

    async fn travel(self: &Arc<Self>, errand: &Errand, asked: &Asked<'_>, body: Body) -> Result<ViewerResponse, Failure> {
        let now = errand.request.arrived_at;
        let found = self.find(asked).await;
        match lookup(asked, &found, &self.edge.invalidations, now) {
            Lookup::Fresh(stored) => match self.open(asked, stored, verdict(Outcome::Hit, Reason::Fresh), now) {
                // It outgrew the store between being found and being opened.
                Err(_) => self.fetch(errand, asked, Asking::Fill, Reason::Miss(MissReason::Absent)).await,
                opened => opened,
            },
            Lookup::Stale(stored) => {
                self.refresh_behind(errand, asked, stored);
                self.open(asked, stored, verdict(Outcome::Hit, Reason::StaleWhileRevalidate), now)
            }
            Lookup::Revalidate(stored, _) if self.stands_in(stored, now) => {
                self.open(asked, stored, verdict(Outcome::Hit, Reason::StandsIn), now)
            }
            Lookup::Revalidate(stored, why) => {
                self.fetch(errand, asked, Asking::Revalidate(Arc::clone(stored)), Reason::Revalidated(why)).await
            }
            Lookup::Miss(why) => self.fetch(errand, asked, Asking::Fill, Reason::Miss(why)).await,
            Lookup::Pass(why) => self.relay(errand, asked, why, body).await,
            Lookup::Unavailable => Err(Failure::new(FailureKind::NotStored, "only-if-cached, and nothing usable is stored")),
        }
    }

    /// Makes the answer from a stored response.
    pub(super) fn open(
        &self,
        asked: &Asked<'_>,
        stored: &Arc<Stored>,
        verdict: Verdict,
        now: Timestamp,
    ) -> Result<ViewerResponse, Failure> {
        stored.live.used();
        let name = &asked.routed.distribution.face.name;
        let mut response = deliver::from_stored(asked.head(), stored, verdict, name, now)
            .ok_or_else(|| Failure::new(FailureKind::Internal, "the stored response can no longer be read from its start"))?;
        self.tell_edge(asked, stored, verdict.reason, &mut response.fields);
        Ok(response)
    }

    /// Tells an edge what a stored response is worth that it is given; viewers hear nothing of it.
    pub(super) fn tell_edge(&self, asked: &Asked<'_>, stored: &Stored, reason: Reason, fields: &mut HeaderMap) {
        if asked.head().connection.asker == Asker::Edge {
            TierFacts::of(stored, reason, self.edge.clock.now()).write(fields);
        }
    }

    // The origin failed a moment ago: it is left in peace for the error caching minimum TTL.
    fn stands_in(&self, stored: &Stored, now: Timestamp) -> bool {
        now.0 < stored.live.stands_in_until.load(Ordering::Relaxed) && may_stand_in(stored, &self.edge.invalidations, now)
    }

    /// Fetches for this viewer alone. What is stored learns from it: a write makes old, a HEAD may confirm.
    pub(super) async fn relay(
        self: &Arc<Self>,
        errand: &Errand,
        asked: &Asked<'_>,
        why: PassReason,
        body: Body,
    ) -> Result<ViewerResponse, Failure> {
        let number = self.edge.invalidations.head();
        let unanswered = Unanswered::of(&self.edge, asked);
        let came = self.ask_the_hops(errand, asked, &Asking::Pass, body).await;
        unanswered.ended();
        if asked.wants.method == Wanted::Head
            && came.as_ref().map_or(true, |reply| arrival::is_origin_failure(reply.status))
            && let Some(stored) = self.stand_in_for_head(asked)
        {
            return self.open(asked, &stored, verdict(Outcome::Hit, Reason::StaleIfError), self.edge.clock.now());
        }
        let mut reply = came?;
        let name = &asked.routed.distribution.face.name;
        let status = reply.status;
        let when = Exchanged { asked_at: reply.asked_at, arrived_at: reply.arrived_at };
        let matchers = written::matchers(asked, status, &reply.fields);
        if !matchers.is_empty() {
            self.edge.written(asked.routed.distribution.id.clone(), matchers).await;
        }
        if let Some(keeping) = arrival::keeping_of_post(asked, status, &reply.fields, when) {
            return self.adopt(errand, asked, keeping, reply, Reason::Pass(why)).await;
        }
        if asked.wants.method == Wanted::Head {
            if self.learn_from_head(asked, &reply, when, number) {
                // The tiers above would confirm what they have.
                drop(self.outdate(errand, asked).await);
            }
            if let Some(coding) = arrival::coding_of_get(asked, status, &reply.fields, when) {
                note_coding(&mut reply.fields, coding);
            } else if arrival::is_encoded_for_others(asked, status, &reply.fields) {
                vary_on_coding(&mut reply.fields);
            }
        }
        let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
        Ok(deliver::from_reply(asked.head(), reply, verdict(outcome, Reason::Pass(why)), name))
    }

    // What a GET would be answered with while the origin fails.
    fn stand_in_for_head(&self, asked: &Asked<'_>) -> Option<Arc<Stored>> {
        let found = self.edge.store.find(asked.key);
        let stored = choose(asked.head().fields, &found)?;
        may_stand_in(stored, &self.edge.invalidations, self.edge.clock.now()).then(|| Arc::clone(stored))
    }

    // True if what is stored turns out to be old, which is said once.
    fn learn_from_head(&self, asked: &Asked<'_>, reply: &Reply, when: Exchanged, number: LogNumber) -> bool {
        let found = self.edge.store.find(asked.key);
        let Some(stored) = choose(asked.head().fields, &found) else { return false };
        if self.edge.invalidations.validity(stored) != Validity::Valid {
            return false;
        }
        match arrival::on_head(asked, stored, reply.status, &reply.fields, when) {
            HeadNews::Freshen(keeping, mut fields) => {
                arrival::strip_for_storage(asked, &mut fields);
                self.freshen(&stored.key, stored, *keeping, &fields, number);
                false
            }
            HeadNews::Differs => !stored.live.suspect.swap(true, Ordering::Relaxed),
            HeadNews::Nothing => false,
        }
    }
}

/// A verdict without a collapse.
pub(super) const fn verdict(outcome: Outcome, reason: Reason) -> Verdict {
    deliver::no_cache(outcome, reason)
}
