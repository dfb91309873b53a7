//! Walks the hops of a request: the tier that the fleet shares, a parent, then the origin and its
//! stand-ins.

use std::sync::Arc;

use super::Proxy;
use super::exchange::Exchange;
use super::hooks;
use super::lambdas::Sent;
use super::resume::Rest;
use super::shared_tier::TierAnswer;
use crate::body::{Body, collect};
use crate::cache::arrival::{is_origin_failure, show_vary};
use crate::cache::ask::CacheRequest;
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

/// What came of a hop.
enum Hop {
    Answered(Reply),
    /// The next one is to be asked; with an answer for when all others fail.
    Passed(Option<Reply>),
}

impl Proxy {
    /// Asks the hops and notes how long the answer took.
    pub(super) async fn fetch_from_hops(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        body: Body,
    ) -> Result<Reply, Failure> {
        let mut reply = self.walk_the_hops(exchange, asked, asking, body).await?;
        if is_unasked(asked, asking, reply.status, &reply.fields) {
            let status = reply.status;
            return Err(Failure::new(
                FailureKind::ResponseMalformed,
                format!("a {status} to a request that did not ask for one"),
            ));
        }
        // It was made what it is by the edge that put it there, and no origin was asked.
        if reply.shared().is_some() {
            return Ok(reply);
        }
        show_vary(asked, &mut reply.fields);
        compat::set_via(&asked.routed.distribution.compat, &mut reply.fields);
        let millis = reply.arrived_at.millis_since(reply.asked_at);
        exchange.request.upstream.note(millis);
        exchange
            .running
            .counts
            .core(self.index)
            .count_origin(asked.routed.behavior.ordinal, millis);
        Ok(reply)
    }

    // Asks the shared tier, then parents, and the origin where neither has an answer, or one only
    // for when the origin fails.
    async fn walk_the_hops(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        body: Body,
    ) -> Result<Reply, Failure> {
        let plan = itinerary(
            asked,
            asking,
            exchange.running.tier.as_ref().map_or(SharedTier::Absent, |_| SharedTier::Configured),
            exchange.running.region.iter().flat_map(|region| region.candidates()),
        );
        if plan.tier.is_err() && exchange.running.region.is_none() {
            return self.ask_the_origins(exchange, asked, asking, body, &plan).await;
        }
        // Boxed: most edges have neither, and would carry the size of both about.
        Box::pin(self.walk_the_tiers(exchange, asked, asking, body, &plan)).await
    }

    async fn walk_the_tiers(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        body: Body,
        plan: &Itinerary<'_>,
    ) -> Result<Reply, Failure> {
        let (hop, said) = match plan.tier.is_ok() {
            true => self.through_the_tier(exchange, asked, asking).await,
            false => (Hop::Passed(None), None),
        };
        let mut came = match hop {
            Hop::Answered(reply) => Ok(reply),
            Hop::Passed(kept) => self.walk_on(exchange, asked, asking, body, plan, kept).await,
        };
        if let (Ok(reply), Some(said)) = (&mut came, said) {
            reply.fields.append(&CACHE_STATUS, said);
        }
        came
    }

    // What came of the shared tier, and what Cache-Status is to say of it.
    async fn through_the_tier(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
    ) -> (Hop, Option<String>) {
        let trace = exchange.request.trace.as_ref();
        let mut span = trace.and_then(|trace| trace.open("tier", SpanKind::Client));
        let answer = self.ask_shared_tier(exchange, asked, asking).await;
        if let (Some(span), Some(answer)) = (&mut span, &answer) {
            span.say("foreshore.tier", answer.said.clone());
        }
        drop(span);
        match answer {
            Some(TierAnswer { reply: Some(reply), said, .. }) => {
                (self.begun(exchange, asked, reply).await, Some(said))
            }
            Some(TierAnswer { reply: None, said, .. }) => (Hop::Passed(None), Some(said)),
            None => (Hop::Passed(None), None),
        }
    }

    // An answer counts once its body has begun; one for when the origin fails waits.
    async fn begun(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        reply: Reply,
    ) -> Hop {
        if reply.is_stale() {
            return Hop::Passed(Some(reply));
        }
        match self.resumed(exchange, asked, reply, 0).await {
            Some(reply) => Hop::Answered(reply),
            None => Hop::Passed(None),
        }
    }

    // Asks the hops behind the shared tier. `kept` is what the tier has for when they fail.
    async fn walk_on(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        body: Body,
        plan: &Itinerary<'_>,
        kept: Option<Reply>,
    ) -> Result<Reply, Failure> {
        // A parent would ask the origin that its own configuration names.
        let has_parents = exchange.running.region.is_some() && exchange.chosen_origins().is_none();
        let from_parent = match has_parents {
            true => Box::pin(self.ask_the_parents(exchange, asked, asking, plan)).await,
            false => None,
        };
        let stale = match from_parent {
            Some(reply) => match Box::pin(self.begun(exchange, asked, reply)).await {
                Hop::Answered(reply) => return Ok(reply),
                Hop::Passed(stale) => stale.or(kept),
            },
            None => kept,
        };
        let came = self.ask_the_origins(exchange, asked, asking, body, plan).await;
        let failed = came.as_ref().map_or(true, |reply| is_origin_failure(reply.status));
        match stale.filter(|stale| failed && !self.has_as_good(asking, stale)) {
            Some(stale) => Ok(stale),
            None => came,
        }
    }

    // Our own stored response stands in rather than one that is no newer.
    fn has_as_good(&self, asking: &FetchKind, stale: &Reply) -> bool {
        let FetchKind::Revalidate(stored) = asking else { return false };
        let is_newer =
            stale.status != 304 && date_value(&stale.fields, stale.arrived_at) > stored.date;
        !is_newer && may_stand_in(stored, &self.edge.invalidations, self.edge.clock.now())
    }

    async fn ask_the_parents(
        &self,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        plan: &Itinerary<'_>,
    ) -> Option<Reply> {
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
        region.ask(&around, asked, asking, plan).await
    }

    // Asks one origin after the other until one gives an answer that need not be asked for
    // elsewhere.
    async fn ask_the_origins(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: &FetchKind,
        body: Body,
        plan: &Itinerary<'_>,
    ) -> Result<Reply, Failure> {
        let node = self.node(exchange);
        let members = exchange.members();
        let failover = match exchange.chosen_origins() {
            Some(chosen) => Failover::of(asked.head().method, members, &chosen.failover),
            None => plan.failover,
        };
        let mut body = body;
        let mut last = None;
        for at in 0..members {
            let Some(origin) = exchange.member(at) else { break };
            let mut request = build(asked, asking, origin, node);
            request.body = std::mem::take(&mut body);
            request.interim = exchange.request.interim.clone();
            let (mut came, sent) = self.ask_origin(exchange, origin, request).await;
            if members > 1
                && let Ok(reply) = came
            {
                came =
                    Box::pin(self.resumed(exchange, asked, reply, at + 1)).await.ok_or_else(|| {
                        let why = format!(
                            "origin {:?}: the answer broke off before its first octet",
                            origin.id
                        );
                        Failure::new(FailureKind::ConnectionTerminated, why)
                    });
            }
            if !failover
                .moves_on(came.as_ref().map(|reply| reply.status).map_err(|failure| failure.kind))
            {
                return self.as_code_leaves_it(exchange, sent, came).await;
            }
            last = Some((came, sent));
        }
        match last {
            Some((came, sent)) => self.as_code_leaves_it(exchange, sent, came).await,
            None => Err(Failure::internal("a behavior without origins")),
        }
    }

    async fn ask_origin(
        &self,
        exchange: &Exchange,
        origin: &Arc<Origin>,
        request: OriginRequest,
    ) -> (Result<Reply, Failure>, Option<Box<Sent>>) {
        let going = hooks::origin_request(self, exchange, origin, request).await;
        let (origin, mut request) = match going {
            Ok(going) => going,
            Err(made) => return (Ok(*made), None),
        };
        let sent = hooks::kept(exchange, &origin, &request);
        if let (Some(access), OriginKind::Http(http)) = (&origin.access, &origin.kind) {
            if http.tls.is_none() {
                request.body = hold_small(request.body).await;
            }
            signed::sign(&mut request, access, self.edge.clock.now());
        }
        let trace = exchange.request.trace.as_ref();
        let mut span = traced::call(trace, "origin", &origin, &mut request);
        let came = self.upstream.ask(&origin, request).await;
        traced::came(span.as_mut(), came.as_ref().map(|reply| reply.status));
        drop(span);
        let came = came.map(|mut reply| {
            // Only tiers say these.
            reply.fields.retain(|name, _| name != own_fields::TIER && name != own_fields::APPLIED);
            reply
        });
        (came, sent)
    }

    // What an origin answered, as the distribution's own code leaves it. `sent` is there if there is
    // such code and an origin was asked.
    async fn as_code_leaves_it(
        &self,
        exchange: &Exchange,
        sent: Option<Box<Sent>>,
        came: Result<Reply, Failure>,
    ) -> Result<Reply, Failure> {
        match (came, sent) {
            (Ok(reply), Some(sent)) => {
                Ok(hooks::origin_response(self, exchange, &sent, reply).await)
            }
            (came, _) => came,
        }
    }

    /// Asks an origin for what is left of a body that broke off elsewhere.
    pub(super) async fn ask_for_rest(
        &self,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        origin: &Arc<Origin>,
        rest: &Rest,
    ) -> Result<Reply, Failure> {
        let mut request = build(asked, &FetchKind::Fill, origin, self.node(exchange));
        rest.ask_for(&mut request.fields);
        self.ask_origin(exchange, origin, request).await.0
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
