//! Walks the hops of a request: the tier that the fleet shares, a parent, then the origin and its
//! stand-ins.

use std::pin::pin;
use std::sync::Arc;

use super::Proxy;
use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use super::hooks;
use super::lambdas::Sent;
use super::resume::Rest;
use super::shared_tier::TierAnswer;
use crate::body::{Body, collect};
use crate::cache::arrival::{is_origin_failure, show_vary};
use crate::cache::lookup::may_stand_in;
use crate::deliver::{CACHE_STATUS, compat};
use crate::distribution::origin::{Origin, OriginKind};
use crate::message::connection::Asker;
use crate::message::failure::{Failure, FailureKind};
use crate::message::own_fields;
use crate::message::response::Reply;
use crate::origin::itinerary::{Failover, Itinerary, SharedTier, itinerary};
use crate::origin::request::{FetchKind, Node, OriginRequest, build, is_unasked};
use crate::origin::{signed, traced};
use crate::region::AskContext;
use crate::semantics::freshness::date_value;
use crate::trace::span::SpanKind;

/// Bodies up to here are held until they are whole, where a signature has to cover them because
/// nothing else protects them.
const HELD: u64 = 1 << 20;

// What is longer goes on as it comes, and is not covered.
async fn hold_small(body: Body) -> Body {
    match collect::collect(body, HELD).await {
        Ok(bytes) if bytes.is_empty() => Body::Empty,
        Ok(bytes) => Body::Bytes(bytes),
        Err(rest) => rest,
    }
}

#[cold]
fn unasked(status: u16) -> Failure {
    let why = format!("a {status} to a request that did not ask for one");
    Failure::new(FailureKind::ResponseMalformed, why)
}

#[cold]
fn broke_off(origin: &Origin) -> Failure {
    let why = format!("origin {:?}: the answer broke off before its first octet", origin.id);
    Failure::new(FailureKind::ConnectionTerminated, why)
}

/// A fetch with the hops that are planned for it.
struct Planned<'f> {
    fetch: &'f FetchRequest<'f>,
    plan: Itinerary<'f>,
}

/// What came of a hop.
enum Hop {
    Answered(Reply),
    /// The next one is to be asked; with an answer for when all others fail.
    Passed(Option<Reply>),
}

impl Proxy {
    /// Asks the hops and notes how long the answer took. Whoever is asked first takes the body.
    pub(super) async fn fetch_from_hops(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        body: &mut Body,
    ) -> Result<Reply, Failure> {
        let FetchRequest { exchange, asked, kind } = fetch;
        let (tier, region) = (&exchange.running.tier, &exchange.running.region);
        let came = match tier.is_none() && region.is_none() {
            true => pin!(self.ask_the_origins(fetch, body)).await,
            // Boxed: most edges have neither, and would carry the size of both about.
            false => Box::pin(self.walk_the_hops(fetch, body)).await,
        };
        let mut reply = came?;
        if is_unasked(asked, kind, reply.status, &reply.fields) {
            return Err(unasked(reply.status));
        }
        // It was made what it is by the edge that put it there, and no origin was asked.
        if reply.shared().is_some() {
            return Ok(reply);
        }
        show_vary(asked, &mut reply.fields);
        compat::set_via(&asked.routed.distribution.compat, &mut reply.fields);
        let millis = reply.arrived_at.millis_since(reply.asked_at);
        exchange.request.notes.note_upstream(millis);
        exchange
            .running
            .counts
            .core(self.index)
            .count_origin(asked.routed.behavior.ordinal, millis);
        Ok(reply)
    }

    // Asks the shared tier, then parents, and the origin where neither has an answer, or one only
    // for when the origin fails. Where there is neither tier nor parent nothing has to be planned.
    async fn walk_the_hops(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        body: &mut Body,
    ) -> Result<Reply, Failure> {
        let running = &fetch.exchange.running;
        let plan = itinerary(
            fetch.asked,
            &fetch.kind,
            running.tier.as_ref().map_or(SharedTier::Absent, |_| SharedTier::Configured),
            running.region.iter().flat_map(|region| region.candidates()),
        );
        let planned = Planned { fetch, plan };
        let (hop, said) = match planned.plan.tier.is_ok() {
            true => self.through_the_tier(fetch).await,
            false => (Hop::Passed(None), None),
        };
        let mut came = match hop {
            Hop::Answered(reply) => Ok(reply),
            Hop::Passed(kept) => self.walk_on(&planned, body, kept).await,
        };
        if let (Ok(reply), Some(said)) = (&mut came, said) {
            reply.fields.append(&CACHE_STATUS, said);
        }
        came
    }

    // What came of the shared tier, and what Cache-Status is to say of it.
    async fn through_the_tier(self: &Arc<Self>, fetch: &FetchRequest<'_>) -> (Hop, Option<String>) {
        // One that was asked before the fetch began has its span already.
        let exchange = fetch.exchange;
        let trace = exchange.request.trace.as_ref().filter(|_| exchange.in_vain.is_none());
        let mut span = trace.and_then(|trace| trace.open("tier", SpanKind::Client));
        let answer = self.ask_shared_tier(fetch).await;
        if let (Some(span), Some(answer)) = (&mut span, &answer) {
            span.say("foreshore.tier", answer.said.clone());
        }
        drop(span);
        match answer {
            Some(TierAnswer { reply: Some(reply), said, .. }) => {
                (self.begun(fetch, reply).await, Some(said))
            }
            Some(TierAnswer { reply: None, said, .. }) => (Hop::Passed(None), Some(said)),
            None => (Hop::Passed(None), None),
        }
    }

    // An answer counts once its body has begun; one for when the origin fails waits.
    async fn begun(self: &Arc<Self>, fetch: &FetchRequest<'_>, reply: Reply) -> Hop {
        if reply.is_stale() {
            return Hop::Passed(Some(reply));
        }
        match self.resumed(fetch, reply, 0).await {
            Some(reply) => Hop::Answered(reply),
            None => Hop::Passed(None),
        }
    }

    // Asks the hops behind the shared tier. `kept` is what the tier has for when they fail.
    async fn walk_on(
        self: &Arc<Self>,
        planned: &Planned<'_>,
        body: &mut Body,
        kept: Option<Reply>,
    ) -> Result<Reply, Failure> {
        let FetchRequest { exchange, kind, .. } = planned.fetch;
        // A parent would ask the origin that its own configuration names.
        let has_parents = exchange.running.region.is_some() && exchange.chosen_origins().is_none();
        let from_parent = match has_parents {
            true => Box::pin(self.ask_the_parents(planned)).await,
            false => None,
        };
        let stale = match from_parent {
            Some(reply) => match Box::pin(self.begun(planned.fetch, reply)).await {
                Hop::Answered(reply) => return Ok(reply),
                Hop::Passed(stale) => stale.or(kept),
            },
            None => kept,
        };
        let came = self.ask_the_origins(planned.fetch, body).await;
        let failed = came.as_ref().map_or(true, |reply| is_origin_failure(reply.status));
        match stale.filter(|stale| failed && !self.has_as_good(kind, stale)) {
            Some(stale) => Ok(stale),
            None => came,
        }
    }

    // Our own stored response stands in rather than one that is no newer.
    fn has_as_good(&self, kind: &FetchKind, stale: &Reply) -> bool {
        let FetchKind::Revalidate(stored) = kind else { return false };
        let is_newer =
            stale.status != 304 && date_value(&stale.fields, stale.arrived_at) > stored.date;
        !is_newer && may_stand_in(stored, &self.edge.invalidations, self.edge.clock.now())
    }

    async fn ask_the_parents(&self, planned: &Planned<'_>) -> Option<Reply> {
        let Planned { fetch: FetchRequest { exchange, asked, kind }, plan } = planned;
        let (Some(region), Ok(_)) = (&exchange.running.region, &plan.parents) else {
            return None;
        };
        let edge = &*self.edge;
        let around = AskContext {
            upstream: &self.upstream,
            clock: &edge.clock,
            invalidations: &edge.invalidations,
            standings: &edge.standings,
            log: edge.invalidation.log(),
            counts: &edge.parent_counts,
            fleet: edge.fleet.get().map(|member| &**member),
            node: self.node(exchange),
            trace: exchange.request.trace.as_ref(),
        };
        region.ask(&around, asked, kind, plan).await
    }

    // Asks the origin; where there are others beside it, each in its turn.
    async fn ask_the_origins(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        body: &mut Body,
    ) -> Result<Reply, Failure> {
        let FetchRequest { exchange, asked, kind } = fetch;
        let (1, Some(origin)) = (exchange.members(), exchange.member(0)) else {
            // Boxed: most behaviors have one, and would carry about the place of an answer that is
            // kept while another is asked.
            return Box::pin(self.ask_in_turn(fetch, body)).await;
        };
        let mut request = build(asked, kind, origin, self.node(exchange));
        request.body = std::mem::take(body);
        request.interim = exchange.request.interim.clone();
        let (came, sent) = pin!(self.ask_origin(exchange, origin, &mut request)).await;
        let Some(sent) = sent else { return came };
        Box::pin(self.as_code_leaves_it(exchange, &sent, came)).await
    }

    // Asks one origin after the other until one gives an answer that need not be asked for
    // elsewhere.
    async fn ask_in_turn(
        self: &Arc<Self>,
        fetch: &FetchRequest<'_>,
        body: &mut Body,
    ) -> Result<Reply, Failure> {
        let FetchRequest { exchange, asked, kind } = fetch;
        let node = self.node(exchange);
        let members = exchange.members();
        let failover = match exchange.chosen_origins() {
            Some(chosen) => Failover::of(asked.head().method, members, &chosen.failover),
            None => Failover::of_target(asked),
        };
        let mut last = None;
        for at in 0..members {
            let Some(origin) = exchange.member(at) else { break };
            let mut request = build(asked, kind, origin, node);
            request.body = std::mem::take(body);
            request.interim = exchange.request.interim.clone();
            let (mut came, sent) = pin!(self.ask_origin(exchange, origin, &mut request)).await;
            if let Ok(reply) = came {
                came = Box::pin(self.resumed(fetch, reply, at + 1))
                    .await
                    .ok_or_else(|| broke_off(origin));
            }
            if !failover
                .moves_on(came.as_ref().map(|reply| reply.status).map_err(|failure| failure.kind))
            {
                let Some(sent) = sent else { return came };
                return Box::pin(self.as_code_leaves_it(exchange, &sent, came)).await;
            }
            last = Some((came, sent));
        }
        match last {
            Some((came, None)) => came,
            Some((came, Some(sent))) => {
                Box::pin(self.as_code_leaves_it(exchange, &sent, came)).await
            }
            None => Err(Failure::internal("a behavior without origins")),
        }
    }

    async fn ask_origin(
        &self,
        exchange: &Exchange,
        origin: &Arc<Origin>,
        request: &mut OriginRequest,
    ) -> (Result<Reply, Failure>, Option<Box<Sent>>) {
        let mut chosen = None;
        if exchange.chosen().1.hooks.is_some() {
            // Boxed: most behaviors have no code, and would carry its size about.
            let built = std::mem::take(request);
            match Box::pin(hooks::origin_request(self, exchange, origin, built)).await {
                Ok((other, changed)) => (chosen, *request) = (Some(other), changed),
                Err(made) => return (Ok(*made), None),
            }
        }
        let origin = chosen.as_ref().unwrap_or(origin);
        let sent = hooks::kept(exchange, origin, request);
        if let (Some(access), OriginKind::Http(http)) = (&origin.access, &origin.kind) {
            if http.tls.is_none() {
                let body = std::mem::take(&mut request.body);
                request.body = Box::pin(hold_small(body)).await;
            }
            let clock = &self.edge.clock;
            signed::sign(request, access, clock.wall(clock.now()));
        }
        let trace = exchange.request.trace.as_ref();
        let mut span = traced::call(trace, "origin", origin, request);
        let mut came = match (self.upstream.live(), &origin.kind) {
            (Some(live), OriginKind::Http(http)) => {
                pin!(live.client.ask(origin, http, request)).await
            }
            _ => self.upstream.ask(origin, std::mem::take(request)).await,
        };
        traced::came(span.as_mut(), came.as_ref().map(|reply| reply.status));
        drop(span);
        if let Ok(reply) = &mut came
            && reply.fields.may_have(own_fields::OF_TIERS)
        {
            // Only tiers say these.
            reply.fields.remove(&own_fields::TIER);
            reply.fields.remove(&own_fields::APPLIED);
        }
        (came, sent)
    }

    // What an origin answered, as the distribution's own code leaves it.
    async fn as_code_leaves_it(
        &self,
        exchange: &Exchange,
        sent: &Sent,
        came: Result<Reply, Failure>,
    ) -> Result<Reply, Failure> {
        Ok(hooks::origin_response(self, exchange, sent, came?).await)
    }

    /// Asks an origin for what is left of a body that broke off elsewhere.
    pub(super) async fn ask_for_rest(
        &self,
        fetch: &FetchRequest<'_>,
        origin: &Arc<Origin>,
        rest: &Rest,
    ) -> Result<Reply, Failure> {
        let FetchRequest { exchange, asked, kind } = fetch;
        let mut request = build(asked, kind, origin, self.node(exchange));
        rest.ask_for(&mut request.fields);
        self.ask_origin(exchange, origin, &mut request).await.0
    }

    /// What a request says of this node.
    pub(super) fn node<'a>(&'a self, exchange: &Exchange) -> Node<'a> {
        let peer = exchange.request.connection.peer.ip();
        let is_edge = exchange.request.connection.asker == Asker::Edge;
        let believed = is_edge
            || exchange
                .running
                .site
                .listen
                .forwarded_for_from
                .iter()
                .any(|network| network.contains(peer));
        Node { id: &self.edge.node, keeps_forwarded_for: believed }
    }
}
