//! Requests to origins: a pool per core and origin, in it connections by name, limits over all
//! cores, deadlines on everything. HTTP/1.1 is spoken here; where an origin wants HTTP/2, `h2` does.
//!
//! A pool belongs to the origin's value, not to the configuration it stands in: a reload that
//! leaves alone how an origin is reached leaves its connections alone.
//!
//! A connection goes back to the pool only when the whole answer was read, the whole request was
//! sent, and neither side meant to close; whatever else happened to it, it is closed.

use std::any::Any;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use http::Method;
use parking_lot::Mutex;

use super::connect::{Effort, Endpoint, Resolver, permit};
use super::connection::{Deadlines, ExchangeError, Wire};
use super::counts::OriginCounts;
use super::h2::{self, Asked};
use super::h2_pool::{H2Pool, Reached};
use super::patience::Patience;
use super::peer;
use super::pool::{ConnectionLimits, Pool};
use super::request::{Carrier, OriginRequest, receive, spelled};
use super::request_writer::Sending;
use super::response_head::AnswerHead;
use super::wire_body::{Leased, WireBody};
use crate::base::boxed::boxed;
use crate::body::framing::Framing;
use crate::body::{Body, Tunnel};
use crate::clock::Clock;
use crate::distribution::origin::{HttpOrigin, HttpVersion, Origin};
use crate::message::failure::{Failure, FailureKind};
use crate::message::response::{Reply, ReplyFrom};
use crate::semantics::fields::FieldSection;
use crate::tls::client as tls;
use crate::trace::live::Within;
use crate::trace::span::SpanKind;

/// An origin of a configuration, and its pool, which others like it may have too. Holding the
/// origin keeps its address from being another's.
struct Known {
    origin: Arc<Origin>,
    pool: Arc<Pool>,
}

/// The client of one core.
pub struct Client {
    resolver: Arc<Resolver>,
    /// By the origin's address.
    pools: Mutex<BTreeMap<usize, Known>>,
    gates: Arc<ConnectionLimits>,
    clock: Clock,
    head_bytes: usize,
}

impl Client {
    /// A client without connections.
    pub fn new(gates: Arc<ConnectionLimits>, clock: Clock, head_bytes: usize) -> Self {
        Self { resolver: Arc::default(), pools: Mutex::default(), gates, clock, head_bytes }
    }

    /// The clock it stamps replies with.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks an origin and waits for the head of its answer. Takes the body of the request, and its
    /// fields once they are written.
    pub async fn ask(
        &self,
        origin: &Arc<Origin>,
        http: &HttpOrigin,
        request: &mut OriginRequest,
    ) -> Result<Reply, Failure> {
        let pool = self.pool(origin, http)?;
        let name = pool.name(&peer::name(http, &request.fields));
        if let Some(h2) = &pool.h2
            && request.upgrade.is_none()
            && request.method != Method::CONNECT
        {
            // Boxed: seldom needed, and large.
            let owned = std::mem::take(request);
            match boxed(|| h2::ask(h2, &name, origin, owned, &self.clock)).await? {
                Asked::Answer(reply) => return Ok(reply),
                Asked::Http1(back, made) => {
                    *request = back;
                    if let Some(stream) = made {
                        pool.give_back(&name, Wire::new(stream));
                    }
                }
            }
        }
        if request.carrier == Carrier::Http2 {
            return Err(carries_no_grpc(origin));
        }
        let asked_at = self.clock.now();
        let permit = permit(&pool.gate, origin).await?;
        let to_head = request.method == Method::HEAD;
        // A request without a body and without consequences may be asked again if its connection
        // died.
        let is_repeatable = request.method.is_safe() && matches!(request.body, Body::Empty);
        let body = std::mem::take(&mut request.body);
        let mut sending =
            Sending::new(&request.method, &spelled(&request.target), &request.fields, body);
        // Their memory serves other requests while this one waits.
        request.fields = FieldSection::new();
        let mut patience = None;
        let (wire, head, patience) = loop {
            let (mut wire, is_used) = match pool.take(&name) {
                Some(wire) => (wire, true),
                // Boxed: seldom needed, and large.
                None => {
                    let trace = request.trace.as_ref();
                    let connecting = boxed(|| self.connect(&pool, origin, &name, trace));
                    (connecting.await?, false)
                }
            };
            // The time of the whole goes on where the request is sent again.
            let patience = *patience.get_or_insert_with(|| Patience::begin(&origin.timeouts));
            let deadlines = Deadlines { patience, head_bytes: self.head_bytes };
            let came = pin!(wire.exchange(
                &mut sending,
                &deadlines,
                to_head,
                request.interim.as_ref(),
                request.upgrade.as_deref()
            ))
            .await;
            match came {
                Ok(head) => break (wire, head, patience),
                // A connection from the pool may be closed as we begin to speak: the request goes
                // over another, if the origin has seen nothing of it, or if seeing it twice is as
                // seeing it once (RFC 9110 §9.2.2).
                Err(lost)
                    if is_used && lost.is_silent && (is_repeatable || sending.is_untouched()) =>
                {
                    sending.rewind()
                }
                Err(ExchangeError { failure, .. }) => return Err(said_of(origin, failure)),
            }
        };
        let arrived_at = self.clock.now();
        let (mut fields, status, body) = if head.status == 101 {
            let (stream, early) = wire.into_tunnel();
            let held: Vec<Box<dyn Any + Send>> = vec![Box::new(permit)];
            let tunnel = Tunnel { far: Box::new(stream), early, held };
            (head.fields, head.status, Body::Tunnel(Box::new(tunnel)))
        } else {
            take_body(Leased { wire, pool, name, permit, patience }, head, sending)
        };
        receive(&mut fields);
        Ok(Reply { status, fields, body, asked_at, arrived_at, from: ReplyFrom::Origin })
    }

    fn pool(&self, origin: &Arc<Origin>, http: &HttpOrigin) -> Result<Arc<Pool>, Failure> {
        let mut pools = self.pools.lock();
        let address = Arc::as_ptr(origin) as usize;
        if let Some(known) = pools.get(&address) {
            return Ok(Arc::clone(&known.pool));
        }
        // After a reload the same origin lies elsewhere.
        let pool = match pools.values().find(|known| known.pool.serves(origin, http)) {
            Some(known) => Arc::clone(&known.pool),
            None => Arc::new(self.new_pool(origin, http)?),
        };
        // An origin that no configuration has any more is held by this table alone. They go where
        // their pool has found its next origin, or has no connections left to give to one: those of
        // an origin that left are closed like any that lie idle for too long.
        pools.retain(|_, known| {
            let is_left = Arc::strong_count(&known.origin) == 1;
            !(is_left && (Arc::ptr_eq(&known.pool, &pool) || known.pool.is_empty()))
        });
        pools.insert(address, Known { origin: Arc::clone(origin), pool: Arc::clone(&pool) });
        Ok(pool)
    }

    fn new_pool(&self, origin: &Origin, http: &HttpOrigin) -> Result<Pool, Failure> {
        let tls = match &http.tls {
            None => None,
            Some(settings) => {
                let own = peer::own(http);
                let config = tls::config_for(settings, own.as_deref())
                    .map_err(|why| Failure::new(FailureKind::TlsError, why))?;
                Some((config, settings.server_name.clone().unwrap_or_else(|| http.host.clone())))
            }
        };
        let (host, family, reach) = (http.host.clone(), http.family, http.reach);
        let place = Endpoint { host, port: http.port, tls, family, reach };
        let gate = self.gates.gate(&format!("{}:{}", place.host, place.port), origin.connections);
        let h2 = (http.version == HttpVersion::Http2).then(|| {
            let mut place = place.clone();
            if let Some((config, _)) = &mut place.tls {
                *config = tls::offering_h2(config);
            }
            let (gate, resolver) = (Arc::clone(&gate), Arc::clone(&self.resolver));
            let (counts, head_bytes) = (Arc::clone(&self.gates.counts), self.head_bytes);
            H2Pool::new(origin, Reached { place, gate, resolver, counts, head_bytes })
        });
        Ok(Pool::new(origin, http.clone(), place, gate, h2))
    }

    async fn connect(
        &self,
        pool: &Pool,
        origin: &Origin,
        name: &str,
        trace: Option<&Within>,
    ) -> Result<Wire, Failure> {
        let effort = Effort { attempts: origin.attempts, patience: origin.timeouts.connect };
        let place = pool.place_for(name);
        let mut span = trace.and_then(|trace| trace.open("connect", SpanKind::Client));
        let reached = self.resolver.reach(&place, effort).await;
        if let Some(span) = &mut span {
            span.say("tls", if place.tls.is_some() { "yes" } else { "no" });
            if let Err(failure) = &reached {
                span.fail(failure.kind.token());
            }
        }
        let stream = reached?;
        OriginCounts::add(&self.gates.counts.connections);
        Ok(Wire::new(stream))
    }
}

#[cold]
fn carries_no_grpc(origin: &Origin) -> Failure {
    let why = format!("origin {:?} speaks HTTP/1.1, which carries no gRPC", origin.id);
    Failure::new(FailureKind::ResponseMalformed, why)
}

#[cold]
fn said_of(origin: &Origin, failure: Failure) -> Failure {
    let detail = format!("origin {:?}: {}", origin.id, failure.detail);
    Failure { detail, ..failure }
}

// Most answers are short and came with their head; then the connection is free again at once.
fn take_body(mut leased: Leased, head: AnswerHead, sending: Sending) -> (FieldSection, u16, Body) {
    let whole = match head.framing {
        _ if !sending.is_done() => None,
        Framing::None => Some(Body::Empty),
        Framing::Length(len) => leased.wire.take_whole(len).map(Body::Bytes),
        Framing::Chunked | Framing::Close => None,
    };
    let body = match whole {
        Some(body) => {
            if head.keeps {
                leased.give_back();
            }
            body
        }
        None => {
            let length = match head.framing {
                Framing::None => Some(0),
                Framing::Length(len) => Some(len),
                Framing::Chunked | Framing::Close => None,
            };
            Body::Wire(Box::new(WireBody::new(leased, &head, sending)), length)
        }
    };
    (head.fields, head.status, body)
}
