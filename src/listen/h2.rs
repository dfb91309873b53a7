//! HTTP/2 connections: hyper's framing, our limits, the hit step before anything waits.

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Duration, Instant, interval};

use super::h1::{Facts, record_hit, record_refused};
use super::h1_write::{SendEnd, Sent};
use super::{Gauges, Worker};
use crate::body::{Body, BodyError, Source};
use crate::deliver::answer::Answer;
use crate::distribution::host::parse_authority;
use crate::exchange::connection::{Connection, Version};
use crate::exchange::key::LogNumber;
use crate::exchange::path::is_safe_path;
use crate::exchange::request::{Fields, Known, KnownFields, RequestHead, ViewerRequest, split_target};
use crate::exchange::response::ViewerResponse;
use crate::exchange::verdict::{Outcome, Reason};
use crate::flow::hit;
use crate::semantics::time::{Timestamp, format_http_date};

/// Octets of a stream that may wait to be sent, and of its receive window.
const STREAM_BUFFER: usize = 64 * 1024;
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// What the streams of a connection tell its watchman.
struct Activity {
    start: Instant,
    open: AtomicUsize,
    /// Streams that wait for us, not we for the viewer.
    waiting: AtomicUsize,
    last_millis: AtomicU64,
    /// When each answer under way last moved.
    sending: Mutex<HashMap<u64, Instant>>,
    next: AtomicU64,
}

impl Activity {
    fn note(&self) {
        self.last_millis.store(u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    // How long the answer that has not moved longest has been standing still.
    fn stuck_for(&self) -> Duration {
        self.sending.lock().values().map(Instant::elapsed).max().unwrap_or(Duration::ZERO)
    }

    fn quiet_for(&self) -> Duration {
        self.start.elapsed().saturating_sub(Duration::from_millis(self.last_millis.load(Ordering::Relaxed)))
    }
}

/// Serves a connection until it ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(io: S, worker: &Arc<Worker>, connection: Arc<Connection>) {
    let limits = worker.core.edge.running().site.limits.clone();
    let activity = Arc::new(Activity {
        start: Instant::now(),
        open: AtomicUsize::new(0),
        waiting: AtomicUsize::new(0),
        last_millis: AtomicU64::new(0),
        sending: Mutex::default(),
        next: AtomicU64::new(0),
    });
    let service = {
        let (worker, connection, activity) = (Arc::clone(worker), Arc::clone(&connection), Arc::clone(&activity));
        hyper::service::service_fn(move |request: Request<Incoming>| {
            let stream = Stream { worker: Arc::clone(&worker), connection: Arc::clone(&connection), activity: Arc::clone(&activity) };
            async move { Ok::<_, Infallible>(stream.answer(request).await) }
        })
    };
    let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(STREAM_BUFFER)
        // Rapid reset and its reverse: both limits are set, because an unset one once switched off the other.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(Duration::from_secs(20))
        .serve_connection(TokioIo::new(io), service);
    let mut serving = std::pin::pin!(serving);
    let mut draining = worker.draining.clone();
    let mut leaving = false;
    // A viewer that takes nothing of an answer for this long is not coming back. Streams that wait for an origin
    // have that origin's deadlines.
    let dead = limits.stall * 2 + Duration::from_secs(5);
    let mut watch = interval(Duration::from_secs(5).min(limits.idle));
    loop {
        tokio::select! {
            _ = &mut serving => return,
            _ = draining.wait_for(|draining| *draining), if !leaving => {
                leaving = true;
                serving.as_mut().graceful_shutdown();
            }
            _ = watch.tick() => {
                let (open, quiet) = (activity.open.load(Ordering::Relaxed), activity.quiet_for());
                if open == 0 && quiet >= limits.idle && !leaving {
                    leaving = true;
                    serving.as_mut().graceful_shutdown();
                } else if activity.stuck_for() >= dead || (quiet >= dead && activity.waiting.load(Ordering::Relaxed) == 0) {
                    Gauges::add(&worker.gauges.timeouts);
                    return;
                }
            }
        }
    }
}

struct Stream {
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    activity: Arc<Activity>,
}

impl Stream {
    async fn answer(self, request: Request<Incoming>) -> Response<Outgoing> {
        self.activity.open.fetch_add(1, Ordering::Relaxed);
        self.activity.note();
        let open = Open(Arc::clone(&self.activity));
        let (parts, incoming) = request.into_parts();
        let edge = &self.worker.core.edge;
        let now = edge.clock.now();
        let (authority, target) = match address(&parts, &edge.running_cell().load().site.limits) {
            Ok(found) => found,
            Err(status) => {
                Gauges::add(&self.worker.gauges.bad_requests);
                record_refused(&self.worker, &self.connection, Version::Http2, status);
                return plain(status, open);
            }
        };
        let is_plain = incoming.is_end_stream();
        if is_plain && let Some(response) = self.hit(&parts, &authority, &target, now, &open) {
            return response;
        }
        let mut fields = parts.headers;
        // HTTP/2 lets a cookie be split over lines (RFC 9113 §8.2.3).
        join_cookies(&mut fields);
        fields.remove(http::header::HOST);
        let request = ViewerRequest {
            method: parts.method,
            version: Version::Http2,
            scheme: self.connection.scheme,
            authority,
            target,
            fields,
            connection: Arc::clone(&self.connection),
            arrived_at: now,
            arrived_number: number(edge),
            interim: None,
        };
        let began = Instant::now();
        let facts = Facts::of(&request);
        let is_head = request.method == http::Method::HEAD;
        let body = if is_plain {
            Body::Empty
        } else {
            request_body(incoming, edge.running_cell().load().site.limits.request_body, Arc::clone(&self.activity))
        };
        // Its record is written even if the viewer resets the stream while we wait.
        let mut finish = Box::new(Finish { facts, worker: Arc::clone(&self.worker), began, response: gone(), sent: 0, ended: false });
        let waiting = Waiting::begin(&self.activity);
        finish.response = self.worker.core.serve(request, body).await;
        drop(waiting);
        let body = std::mem::take(&mut finish.response.body);
        let head = finish.response.status;
        let fields = finish.response.fields.clone();
        respond(head, fields, body, is_head, now, Outgoing::new(Some(finish), open))
    }

    // The same hit step as for HTTP/1, on a parsed head.
    fn hit(&self, parts: &http::request::Parts, authority: &str, target: &str, now: Timestamp, open: &Open) -> Option<Response<Outgoing>> {
        let edge = &self.worker.core.edge;
        let (path, query) = split_target(target);
        let fields = Fields::Map(&parts.headers);
        let head = RequestHead {
            method: &parts.method,
            version: Version::Http2,
            scheme: self.connection.scheme,
            authority,
            host: parse_authority(authority)?.host,
            path,
            query,
            fields,
            known: KnownFields::find(fields),
            connection: &self.connection,
        };
        if head.known.is_repeated(Known::Cookie) {
            return None;
        }
        let running = edge.running_cell().load();
        let mut key = Vec::with_capacity(128);
        let hit = hit::hit(edge, &running, &head, &mut key, now)?;
        record_hit(&self.worker, &head, &hit, now);
        let mut lines = Vec::with_capacity(256);
        hit.write_lines(&mut lines, now);
        let fields = lines_to_map(&lines);
        let body = match (hit.span, hit.stored.content.whole()) {
            (None, _) => Body::Empty,
            (Some(span), Some(whole)) => Body::Bytes(whole.slice(span.start as usize..span.end as usize)),
            (Some(span), None) => Body::Stored(hit.stored.content.read(Some(span))?),
        };
        let is_head = parts.method == http::Method::HEAD && !matches!(hit.answer, Answer::NotModified);
        let outgoing = Outgoing::new(None, open.again());
        Some(respond(hit.status(), fields, body, is_head, now, outgoing))
    }
}

fn number(edge: &crate::flow::Edge) -> LogNumber {
    edge.invalidations.head()
}

// `:authority` rules; a Host beside it must agree (RFC 9113 §8.3.1).
fn address(parts: &http::request::Parts, limits: &crate::distribution::limits::Limits) -> Result<(String, String), u16> {
    let host = parts.headers.get(http::header::HOST).map(http::HeaderValue::as_bytes);
    let authority = match (parts.uri.authority(), host) {
        (Some(authority), Some(host)) if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) => return Err(400),
        (Some(authority), _) => authority.as_str().to_string(),
        (None, Some(host)) => std::str::from_utf8(host).map_err(|_| 400u16)?.to_string(),
        (None, None) => return Err(400),
    };
    parse_authority(&authority).ok_or(400u16)?;
    let target = parts.uri.path_and_query().map_or("/", |target| target.as_str());
    let target = if target == "*" { "/*" } else { target };
    if target.len() > limits.url_bytes {
        return Err(414);
    }
    if parts.headers.len() > limits.fields {
        return Err(431);
    }
    let visible = target.bytes().all(|b| (0x21..=0x7e).contains(&b));
    if !target.starts_with('/') || !visible || !is_safe_path(split_target(target).0) {
        return Err(400);
    }
    if parts.headers.get_all(http::header::CONTENT_LENGTH).iter().count() > 1 {
        return Err(400);
    }
    Ok((authority, target.to_string()))
}

fn join_cookies(fields: &mut HeaderMap) {
    let lines: Vec<&[u8]> = fields.get_all(http::header::COOKIE).iter().map(http::HeaderValue::as_bytes).collect();
    if lines.len() > 1
        && let Ok(joined) = http::HeaderValue::from_bytes(&lines.join(&b"; "[..]))
    {
        fields.insert(http::header::COOKIE, joined);
    }
}

fn lines_to_map(lines: &[u8]) -> HeaderMap {
    let mut fields = HeaderMap::with_capacity(16);
    for line in lines.split(|b| *b == b'\n').filter_map(|line| line.strip_suffix(b"\r")) {
        let Some(colon) = memchr::memchr(b':', line) else { continue };
        if let (Ok(name), Ok(value)) = (http::HeaderName::from_bytes(&line[..colon]), http::HeaderValue::from_bytes(&line[colon + 2..])) {
            fields.append(name, value);
        }
    }
    fields
}

fn respond(status: u16, mut fields: HeaderMap, body: Body, is_head: bool, now: Timestamp, mut outgoing: Outgoing) -> Response<Outgoing> {
    crate::semantics::hop_by_hop::strip(&mut fields);
    let bodiless = status < 200 || matches!(status, 204 | 304);
    match body.length() {
        _ if bodiless => drop(fields.remove(http::header::CONTENT_LENGTH)),
        _ if is_head => {}
        Some(len) => drop(fields.insert(http::header::CONTENT_LENGTH, len.into())),
        None => drop(fields.remove(http::header::CONTENT_LENGTH)),
    }
    fields.entry(http::header::DATE).or_insert_with(|| crate::deliver::value(format_http_date(now)));
    if !bodiless && !is_head {
        outgoing.body = body;
    }
    let mut response = Response::new(outgoing);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    *response.headers_mut() = fields;
    response
}

fn plain(status: u16, open: Open) -> Response<Outgoing> {
    let word = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason()).unwrap_or("Bad Request");
    let body = Body::Bytes(Bytes::from(format!("{status} {word}\n")));
    let mut fields = HeaderMap::new();
    fields.insert(http::header::CONTENT_LENGTH, body.length().unwrap_or(0).into());
    fields.insert(crate::deliver::X_CACHE, http::HeaderValue::from_static("Error from foreshore"));
    let mut outgoing = Outgoing::new(None, open);
    outgoing.body = body;
    let mut response = Response::new(outgoing);
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    *response.headers_mut() = fields;
    response
}

/// A stream that is not over yet.
struct Open(Arc<Activity>);

impl Open {
    // A second hold on the same stream, counted too.
    fn again(&self) -> Self {
        self.0.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.note();
    }
}

/// A response body on its way; its record is written when it ends, or is dropped before.
struct Outgoing {
    body: Body,
    finish: Option<Box<Finish>>,
    open: Open,
    number: u64,
}

impl Outgoing {
    fn new(finish: Option<Box<Finish>>, open: Open) -> Self {
        let number = open.0.next.fetch_add(1, Ordering::Relaxed);
        open.0.sending.lock().insert(number, Instant::now());
        Self { body: Body::Empty, finish, open, number }
    }
}

/// Counts a stream that waits for an answer of ours.
struct Waiting(Arc<Activity>);

impl Waiting {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.waiting.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
        self.0.note();
    }
}

// What is written down of a request whose viewer left before there was an answer; 499 as the field has it.
fn gone() -> ViewerResponse {
    let verdict = crate::deliver::no_cache(Outcome::Error, Reason::Failed);
    ViewerResponse { status: 499, fields: HeaderMap::new(), body: Body::Empty, verdict, failure: None, behavior: None, origin_millis: None }
}

struct Finish {
    facts: Facts,
    worker: Arc<Worker>,
    began: Instant,
    response: ViewerResponse,
    sent: u64,
    ended: bool,
}

impl Drop for Finish {
    fn drop(&mut self) {
        let end = if self.ended { SendEnd::Whole } else { SendEnd::Broken };
        let micros = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.facts.record(&self.worker, &mut self.response, Sent { bytes: self.sent, end }, micros);
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let piece = ready!(this.body.poll_piece(cx));
        this.open.0.note();
        this.open.0.sending.lock().insert(this.number, Instant::now());
        if let Some(finish) = &mut this.finish {
            match &piece {
                Some(Ok(bytes)) => finish.sent += bytes.len() as u64,
                Some(Err(_)) => {}
                None => finish.ended = true,
            }
        }
        Poll::Ready(piece.map(|piece| piece.map(http_body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.length() == Some(0)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Outgoing {
    fn drop(&mut self) {
        self.open.0.sending.lock().remove(&self.number);
        // hyper does not poll a body whose length says that it is over.
        if let Some(finish) = &mut self.finish
            && self.body.length() == Some(0)
        {
            finish.ended = true;
        }
    }
}

fn request_body(incoming: Incoming, limit: u64, activity: Arc<Activity>) -> Body {
    let length = incoming.size_hint().exact();
    Body::Wire(Box::new(StreamBody { incoming: Some(incoming), left: limit, activity }), length)
}

struct StreamBody {
    incoming: Option<Incoming>,
    left: u64,
    activity: Arc<Activity>,
}

impl Source for StreamBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Some(incoming) = &mut self.incoming else { return Poll::Ready(Some(Err(BodyError::Abandoned))) };
            let frame = ready!(Pin::new(&mut *incoming).poll_frame(cx));
            self.activity.note();
            return Poll::Ready(match frame {
                // hyper tells a stream that was reset without an error as an end.
                None if !incoming.is_end_stream() => Some(Err(BodyError::Truncated)),
                None => None,
                Some(Err(_)) => Some(Err(BodyError::Truncated)),
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) => match self.left.checked_sub(data.len() as u64) {
                        Some(left) => {
                            self.left = left;
                            Some(Ok(data))
                        }
                        None => Some(Err(BodyError::TooLarge)),
                    },
                    Err(_) => continue,
                },
            });
        }
    }
}

/// Octets, and time, for which the rest of a body is read that nobody wants.
const WASTE: u64 = 1 << 20;
const WASTE_TIME: Duration = Duration::from_secs(2);

impl Drop for StreamBody {
    // Letting go of a body resets its stream, and common clients then throw the answer away that came before the
    // reset. So what they still send is read for a moment.
    fn drop(&mut self) {
        let Some(mut incoming) = self.incoming.take().filter(|incoming| !incoming.is_end_stream()) else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(WASTE_TIME, async move {
            let mut read = 0;
            while read < WASTE
                && let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await
            {
                read += frame.data_ref().map_or(0, |data| data.len() as u64);
            }
        }));
    }
}
