//! HTTP/1.1 to origins: a pool per core and origin, limits over all cores, deadlines on everything.
//!
//! A connection goes back to the pool only when the whole answer was read and hyper still calls it ready;
//! whatever else happened to it, it is closed.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, Sleep};

use super::connect::{Place, Resolver};
use super::request::{OriginRequest, receive};
use super::tls;
use crate::body::{Body, BodyError, Source};
use crate::clock::Clock;
use crate::distribution::origin::{HttpOrigin, Origin};
use crate::exchange::failure::{Failure, FailureKind};
use crate::exchange::response::{Reply, ReplyFrom};

/// Connection counts of all origins, shared by the cores.
#[derive(Default)]
pub struct Gates {
    gates: Mutex<HashMap<String, (usize, Arc<Semaphore>)>>,
}

impl Gates {
    // The gate of an origin; a reload that changes its size makes a new one.
    fn gate(&self, place: &str, size: usize) -> Arc<Semaphore> {
        let mut gates = self.gates.lock();
        let known = gates.entry(place.to_string()).or_insert_with(|| (size, Arc::new(Semaphore::new(size))));
        if known.0 != size {
            *known = (size, Arc::new(Semaphore::new(size)));
        }
        Arc::clone(&known.1)
    }
}

/// The client of one core.
pub struct Client {
    resolver: Resolver,
    pools: Mutex<HashMap<usize, Arc<Pool>>>,
    gates: Arc<Gates>,
    clock: Clock,
    head_bytes: usize,
}

/// Idle connections to one origin as one configuration knows it.
struct Pool {
    origin: Arc<Origin>,
    place: Place,
    gate: Arc<Semaphore>,
    idle: Mutex<Vec<Idle>>,
}

/// Holds no permit: a quiet core must not keep the others from connecting.
struct Idle {
    sender: SendRequest<Body>,
    since: Instant,
}

impl Client {
    /// A client without connections.
    pub fn new(gates: Arc<Gates>, clock: Clock, head_bytes: usize) -> Self {
        Self { resolver: Resolver::default(), pools: Mutex::default(), gates, clock, head_bytes }
    }

    /// The clock it stamps replies with.
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Asks an origin and waits for the head of its answer.
    pub async fn ask(&self, origin: &Arc<Origin>, http: &HttpOrigin, request: OriginRequest) -> Result<Reply, Failure> {
        let pool = self.pool(origin, http)?;
        let asked_at = self.clock.now();
        let sent_at = Arc::new(Mutex::new(Instant::now()));
        let mut request = into_http(request, &sent_at)?;
        // A request without a body and without consequences may be asked again if its connection died.
        let again = is_repeatable(&request).then(|| copy_head(&request));
        // A connection from the pool may have been closed under our hands; then another is tried, as long as
        // the request was not sent. hyper gives such a request back.
        let mut permit = self.permit(&pool).await?;
        loop {
            let Some(idle) = pool.take() else { break };
            match self.send(&pool, idle.sender, permit, request, &sent_at, asked_at).await {
                Ok(reply) => return Ok(reply),
                Err(Sent::NotAtAll(back)) => request = *back,
                Err(Sent::Failed(failure)) => match again {
                    // The origin closed it as we began to speak.
                    Some(copy) if failure.kind == FailureKind::ConnectionTerminated => {
                        request = copy;
                        permit = self.permit(&pool).await?;
                        break;
                    }
                    _ => return Err(failure),
                },
            }
            permit = self.permit(&pool).await?;
        }
        let sender = self.connect(&pool).await?;
        match self.send(&pool, sender, permit, request, &sent_at, asked_at).await {
            Ok(reply) => Ok(reply),
            Err(Sent::NotAtAll(_)) => Err(Failure::new(FailureKind::ConnectionTerminated, "the origin closed a new connection at once")),
            Err(Sent::Failed(failure)) => Err(failure),
        }
    }

    fn pool(&self, origin: &Arc<Origin>, http: &HttpOrigin) -> Result<Arc<Pool>, Failure> {
        let mut pools = self.pools.lock();
        let key = Arc::as_ptr(origin) as usize;
        if let Some(pool) = pools.get(&key)
            && Arc::ptr_eq(&pool.origin, origin)
        {
            return Ok(Arc::clone(pool));
        }
        // Pools of origins that a reload has dropped go here: nobody else holds their origin.
        pools.retain(|_, pool| Arc::strong_count(&pool.origin) > 1);
        let tls = match &http.tls {
            None => None,
            Some(settings) => {
                let config = tls::client_config(settings).map_err(|why| Failure::new(FailureKind::TlsError, why))?;
                Some((config, settings.server_name.clone().unwrap_or_else(|| http.host.clone())))
            }
        };
        let place = Place { host: http.host.clone(), port: http.port, tls };
        let gate = self.gates.gate(&format!("{}:{}", place.host, place.port), origin.connections);
        let pool = Arc::new(Pool { origin: Arc::clone(origin), place, gate, idle: Mutex::default() });
        pools.insert(key, Arc::clone(&pool));
        Ok(pool)
    }

    async fn permit(&self, pool: &Pool) -> Result<OwnedSemaphorePermit, Failure> {
        let waited = tokio::time::timeout(pool.origin.timeouts.connect, Arc::clone(&pool.gate).acquire_owned()).await;
        waited.ok().and_then(Result::ok).ok_or_else(|| {
            let most = pool.origin.connections;
            Failure::new(FailureKind::ConnectionLimit, format!("all {most} connections to origin {:?} are busy", pool.origin.id))
        })
    }

    async fn connect(&self, pool: &Pool) -> Result<SendRequest<Body>, Failure> {
        let mut tried = 1;
        let stream = loop {
            match self.resolver.connect(&pool.place, pool.origin.timeouts.connect).await {
                Ok(stream) => break stream,
                // A certificate does not get better by asking again.
                Err(failure) if tried >= pool.origin.attempts || failure.kind == FailureKind::CertificateError => return Err(failure),
                Err(failure) => tracing::debug!(origin = pool.origin.id, detail = failure.detail, "connecting failed, trying again"),
            }
            tried += 1;
        };
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(self.head_bytes.max(8192))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| Failure::new(FailureKind::ConnectionTerminated, error.to_string()))?;
        tokio::spawn(async move {
            // Errors reach whoever waits for the answer; here they have nobody to tell.
            let _ = connection.await;
        });
        Ok(sender)
    }

    async fn send(
        &self,
        pool: &Arc<Pool>,
        mut sender: SendRequest<Body>,
        permit: OwnedSemaphorePermit,
        request: Request<Body>,
        sent_at: &Mutex<Instant>,
        asked_at: crate::semantics::time::Timestamp,
    ) -> Result<Reply, Sent> {
        let patience = pool.origin.timeouts.response;
        let is_head = request.method() == http::Method::HEAD;
        let mut asking = std::pin::pin!(sender.try_send_request(request));
        // Patience begins anew with each piece of a request body that leaves.
        let came = loop {
            let until = *sent_at.lock() + patience;
            match tokio::time::timeout_at(until, &mut asking).await {
                Err(_) if *sent_at.lock() + patience > Instant::now() => {}
                came => break came,
            }
        };
        let answer = match came {
            Ok(Ok(answer)) => answer,
            Ok(Err(mut error)) => {
                return Err(match error.take_message() {
                    Some(back) => Sent::NotAtAll(Box::new(back)),
                    None => Sent::Failed(send_failure(error.error())),
                });
            }
            Err(_) => {
                let why = format!("origin {:?} sent no head in {patience:?}", pool.origin.id);
                return Err(Sent::Failed(Failure::new(FailureKind::ResponseTimeout, why)));
            }
        };
        let arrived_at = self.clock.now();
        let (head, incoming) = answer.into_parts();
        check_head(head.status, &head.headers)?;
        let mut fields = head.headers;
        receive(&mut fields);
        let status = head.status.as_u16();
        let length = incoming.size_hint().exact();
        let body = if is_head || length == Some(0) {
            drop(permit);
            pool.give_back(sender);
            Body::Empty
        } else {
            let wire = WireBody { incoming, idle: Some((Arc::clone(pool), sender, permit)), deadline: None, patience };
            Body::Wire(Box::new(wire), length)
        };
        Ok(Reply { status, fields, body, asked_at, arrived_at, from: ReplyFrom::Origin(pool.origin.id.clone()) })
    }
}

enum Sent {
    /// Not a byte of the request left; it may go over another connection.
    NotAtAll(Box<Request<Body>>),
    Failed(Failure),
}

fn into_http(request: OriginRequest, sent_at: &Arc<Mutex<Instant>>) -> Result<Request<Body>, Failure> {
    let length = request.body.length();
    let body = match request.body {
        Body::Wire(inner, _) => Body::Wire(Box::new(Stamped { inner, sent_at: Arc::clone(sent_at) }), length),
        other => other,
    };
    *sent_at.lock() = Instant::now();
    let mut built = Request::new(body);
    *built.method_mut() = request.method;
    // A few visible characters that viewers do send are none of a URI's; they go escaped.
    let uri = request.target.parse().or_else(|_| crate::cache::invalidations::canonical(request.target.as_bytes()).parse());
    *built.uri_mut() = uri.map_err(|_| Failure::new(FailureKind::Internal, "the target is no URI"))?;
    *built.headers_mut() = request.fields;
    if let Some(sink) = request.interim {
        hyper::ext::on_informational(&mut built, move |interim| {
            let status = interim.status().as_u16();
            // 100 is between us and the origin, 101 nobody asked for.
            if status > 101 {
                let mut fields = interim.headers().clone();
                crate::semantics::hop_by_hop::strip(&mut fields);
                sink((status, fields));
            }
        });
    }
    Ok(built)
}

fn is_repeatable(request: &Request<Body>) -> bool {
    request.method().is_safe() && matches!(request.body(), Body::Empty)
}

fn copy_head(request: &Request<Body>) -> Request<Body> {
    let mut copy = Request::new(Body::Empty);
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    *copy.extensions_mut() = request.extensions().clone();
    copy
}

// What hyper lets pass and a proxy must not: two framings, a coding we do not undo, a switch nobody asked for.
fn check_head(status: http::StatusCode, fields: &http::HeaderMap) -> Result<(), Sent> {
    let codings: Vec<&[u8]> = fields.get_all(http::header::TRANSFER_ENCODING).iter().map(http::HeaderValue::as_bytes).collect();
    let lengths = fields.get_all(http::header::CONTENT_LENGTH).iter().count();
    // Only a last chunked delimits; anything else is read until the connection closes (RFC 9112 §6.3).
    let last = codings.last().and_then(|line| crate::semantics::lists::members(line).last());
    let chunked = last.is_some_and(|coding| coding.to_ascii_lowercase().starts_with(b"chunked"));
    let plain = codings.len() == 1 && codings[0].eq_ignore_ascii_case(b"chunked");
    let wrong = if status.is_informational() {
        "an interim status as the final one"
    } else if lengths > 1 || (lengths > 0 && !codings.is_empty()) {
        "more than one length"
    } else if chunked && !plain {
        "a transfer coding that is not exactly chunked"
    } else {
        return Ok(());
    };
    Err(Sent::Failed(Failure::new(FailureKind::ResponseMalformed, format!("the answer has {wrong}"))))
}

/// A request body that notes when its last piece left.
struct Stamped {
    inner: Box<dyn Source>,
    sent_at: Arc<Mutex<Instant>>,
}

impl Source for Stamped {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let piece = ready!(self.inner.poll_piece(cx));
        *self.sent_at.lock() = Instant::now();
        Poll::Ready(piece)
    }
}

fn send_failure(error: &hyper::Error) -> Failure {
    let mut words = error.to_string();
    let mut cause = std::error::Error::source(error);
    let mut ours = None;
    while let Some(inner) = cause {
        ours = ours.or_else(|| inner.downcast_ref::<BodyError>().copied());
        words = format!("{words}: {inner}");
        cause = inner.source();
    }
    let kind = if ours == Some(BodyError::TooLarge) {
        FailureKind::RequestTooLarge
    } else if ours.is_some() || error.is_user() {
        FailureKind::RequestBroken
    } else if error.is_parse() || error.is_parse_status() || error.is_parse_too_large() {
        FailureKind::ResponseMalformed
    } else {
        FailureKind::ConnectionTerminated
    };
    Failure::new(kind, words)
}

impl Pool {
    // The connection used last is the likeliest to be alive.
    fn take(&self) -> Option<Idle> {
        let mut idle = self.idle.lock();
        while let Some(candidate) = idle.pop() {
            if candidate.since.elapsed() < self.origin.timeouts.idle && candidate.sender.is_ready() {
                return Some(candidate);
            }
        }
        None
    }

    fn give_back(self: &Arc<Self>, sender: SendRequest<Body>) {
        if sender.is_closed() {
            return;
        }
        let mut idle = self.idle.lock();
        let patience = self.origin.timeouts.idle;
        idle.retain(|one| one.since.elapsed() < patience && !one.sender.is_closed());
        if idle.len() < self.origin.connections {
            idle.push(Idle { sender, since: Instant::now() });
        }
        if idle.len() == 1 {
            // A quiet pool closes its connections too.
            let pool = Arc::downgrade(self);
            tokio::spawn(async move {
                loop {
                    tokio::time::sleep(patience).await;
                    let Some(pool) = pool.upgrade() else { return };
                    let mut idle = pool.idle.lock();
                    idle.retain(|one| one.since.elapsed() < patience && !one.sender.is_closed());
                    if idle.is_empty() {
                        return;
                    }
                }
            });
        }
    }
}

/// An answer's body from the wire; its connection goes back to the pool at the true end.
struct WireBody {
    incoming: Incoming,
    idle: Option<(Arc<Pool>, SendRequest<Body>, OwnedSemaphorePermit)>,
    deadline: Option<Pin<Box<Sleep>>>,
    patience: Duration,
}

impl Source for WireBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
                // The timer is made only when there is something to wait for.
                let patience = self.patience;
                let deadline = self.deadline.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
                ready!(deadline.as_mut().poll(cx));
                self.idle = None;
                return Poll::Ready(Some(Err(BodyError::Stalled)));
            };
            self.deadline = None;
            return Poll::Ready(match frame {
                None => {
                    if let Some((pool, sender, permit)) = self.idle.take() {
                        drop(permit);
                        pool.give_back(sender);
                    }
                    None
                }
                Some(Err(_)) => {
                    self.idle = None;
                    Some(Err(BodyError::Truncated))
                }
                // Trailers are not passed on: no viewer asked for them (RFC 9110 §6.5.1).
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(bytes) if bytes.is_empty() => continue,
                    Ok(bytes) => {
                        // Whoever knows the length does not ask for the end.
                        if self.incoming.is_end_stream()
                            && let Some((pool, sender, permit)) = self.idle.take()
                        {
                            drop(permit);
                            pool.give_back(sender);
                        }
                        Some(Ok(bytes))
                    }
                    Err(_) => continue,
                },
            });
        }
    }
}
