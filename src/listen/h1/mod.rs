//! One HTTP/1 connection: head, hit step, or serving; then perhaps again.
//!
//! A connection is used again only if request and response were both whole, neither side asked to
//! close, and the edge is not draining. That is decided in `Next::of` and nowhere else.

mod file;
mod half;
pub mod head;
pub mod write;

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, Sleep, timeout};

use self::half::Half;
use self::head::{After, Head, NoHead};
use self::write::{SendEnd, Sent, To, Watched};
use super::exchange_log::{ExchangeRecord, LoggedHead, record_hit, record_refused};
use super::message;
use super::places::Place;
use super::{Gauges, Worker, tunnels};
use crate::body::arena::LARGE;
use crate::body::framing::{Decoded, Decoder, Framing};
use crate::body::tunnel::{TunnelEnd, carry};
use crate::body::{Body, BodyError, Source};
use crate::deliver::sink::Http1Lines;
use crate::distribution::limits::FIELDS_MAX;
use crate::distribution::limits::Limits;
use crate::message::connection::{Connection, Version};
use crate::message::interim::{Interim, TakesInterims};
use crate::message::refusal::Rule;
use crate::message::request::{Known, ViewerRequest};
use crate::message::response::ViewerResponse;
use crate::message::stored::Stored;
use crate::proxy::exchange::{Begun, request_of};
use crate::proxy::hit::{self, Hit};
use crate::semantics::fields::FieldSection;
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;
use crate::semantics::trailers::{TRAILERS_MAX, keep_allowed};

/// Composed answers to pipelined requests are written at the latest at this size.
const OUT_MAX: usize = 64 * 1024;
/// Bodies up to here are copied beside their head, so that both leave in one write and one TLS
/// record.
const INLINE: usize = 16 * 1024;
/// From here on a body in memory is copied into the socket: sendfile of so much costs anything
/// between half and double (tests/bench/README.md).
const COPIED: u64 = 512 * 1024;
/// Octets read at a time.
const READ: usize = 16 * 1024;

/// What a connection waits for beside octets. Made once: a timer or a place in a queue for each
/// request would cost more than answering it from the store.
struct Waits {
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Runs out at the latest when the wait does; until then it is left alone.
    sleep: Pin<Box<Sleep>>,
    /// Both have been polled: each wakes our task.
    is_armed: bool,
    /// Has changed once the edge drains.
    seen: tokio::sync::watch::Receiver<bool>,
}

enum Woke {
    Read(std::io::Result<usize>),
    TimedOut,
    Drained,
}

impl Waits {
    fn new(mut draining: tokio::sync::watch::Receiver<bool>, first: Duration) -> Self {
        let seen = draining.clone();
        let drained = Box::pin(async move {
            let _ = draining.wait_for(|draining| *draining).await;
        });
        Self { drained, sleep: Box::pin(tokio::time::sleep(first)), is_armed: false, seen }
    }

    // Looks at the clock only if it may have been the clock that woke us: a wait that has just
    // begun cannot be over, and both are awake to our task since they were first polled.
    fn begin(&self, until: Instant) -> bool {
        // What ran out, or was said, while we were busy has woken us already and will not do so
        // again.
        let is_over = self.sleep.is_elapsed() || self.seen.has_changed().unwrap_or(true);
        if is_over || self.sleep.deadline() > until {
            return false;
        }
        self.is_armed
    }

    fn poll(&mut self, cx: &mut Context<'_>, until: Instant, is_idle: bool) -> Poll<Woke> {
        if is_idle {
            if self.drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woke::Drained);
            }
            // Only now is each of them awake to our task: a wait whose octets were there already
            // has asked neither.
            self.is_armed = true;
        }
        if self.sleep.deadline() > until {
            self.sleep.as_mut().reset(until);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(Woke::TimedOut);
            }
            self.sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}

/// A tunnel's octets, on their way into its record, however it ends.
struct Carrying<'f> {
    counted: tunnels::Counted,
    finish: &'f mut ExchangeRecord,
}

impl Drop for Carrying<'_> {
    fn drop(&mut self) {
        let carried = self.counted.carried;
        (self.finish.sent.bytes, self.finish.received) = (carried.to_near, carried.to_far);
    }
}

struct Session<'w, S> {
    io: S,
    worker: &'w Arc<Worker>,
    connection: Arc<Connection>,
    place: &'w Place,
    limits: Limits,
    buffer: BytesMut,
    out: Vec<u8>,
    key: Vec<u8>,
    /// The request that is to be served: it lies here so that it is moved once.
    full: Option<Full>,
    /// Where interim responses come together, from the request before.
    waiting: Option<Arc<Waiting>>,
    /// An answer broke off: the connection must not end as if it had been whole.
    cut: bool,
}

/// What a connection can do beside reading and writing.
pub trait Socket: Watched {
    /// Makes the coming close a reset: the other side sees that it was not meant to end.
    fn abort(&self);
    /// The socket itself, where octets go out as they are.
    fn plain(&self) -> Option<&tokio::net::TcpStream>;
}

impl Socket for tokio::net::TcpStream {
    fn abort(&self) {
        let _ = socket2::SockRef::from(self).set_linger(Some(Duration::ZERO));
    }

    fn plain(&self) -> Option<&tokio::net::TcpStream> {
        Some(self)
    }
}

impl Socket for tokio_rustls::server::TlsStream<tokio::net::TcpStream> {
    fn abort(&self) {
        self.get_ref().0.abort();
    }

    fn plain(&self) -> Option<&tokio::net::TcpStream> {
        None
    }
}

/// What comes after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    Again,
    Close,
}

impl Next {
    /// The one place that says a connection may be used again.
    fn of(after: After, request_read: bool, end: SendEnd, draining: bool) -> Self {
        let whole = end == SendEnd::Whole && request_read;
        if after == After::KeepAlive && whole && !draining { Self::Again } else { Self::Close }
    }
}

/// Serves a connection until it ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Socket + Unpin + Send + Sync>(
    io: S,
    worker: &Arc<Worker>,
    connection: Arc<Connection>,
    place: &Place,
) {
    let limits = worker.core.edge.running().site.limits.clone();
    let mut session = Session {
        io,
        worker,
        connection,
        place,
        limits,
        buffer: BytesMut::new(),
        out: Vec::new(),
        key: Vec::new(),
        full: None,
        waiting: None,
        cut: false,
    };
    session.run().await;
    if session.cut {
        session.io.abort();
    } else {
        Box::pin(super::linger(&mut session.io)).await;
    }
}

impl<S: AsyncRead + AsyncWrite + Socket + Unpin + Send + Sync> Session<'_, S> {
    async fn run(&mut self) {
        let mut waits = Waits::new(self.worker.draining.clone(), self.limits.idle);
        loop {
            let Some(len) = self.next_head(&mut waits).await else { return };
            let next = match self.on_head(len) {
                Step::Answered(next) => next,
                Step::Large(next, body, mut finish) => {
                    Box::pin(self.send_large(body, &mut finish.sent)).await;
                    self.after_large(next, *finish)
                }
                Step::Mapped(next, stored, span, mut finish) => {
                    Box::pin(self.send_lying(&stored, span, &mut finish.sent)).await;
                    self.after_large(next, *finish)
                }
                Step::Refused(rule) => return Box::pin(self.refuse(rule)).await,
                Step::Full(framing, after) => Box::pin(self.exchange(framing, after)).await,
            };
            if next == Next::Close {
                let _ = write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await;
                return;
            }
            if self.out.len() > OUT_MAX
                && write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await.is_err()
            {
                return;
            }
        }
    }

    // Waits for a whole head. Before its first octet the idle limit counts, after it one absolute
    // deadline.
    async fn next_head(&mut self, waits: &mut Waits) -> Option<usize> {
        let mut deadline: Option<Instant> = None;
        loop {
            if !self.buffer.is_empty() {
                match head::find_end(&self.buffer, &self.limits) {
                    Ok(len) => return Some(len),
                    Err(NoHead::Refused(rule)) => {
                        Box::pin(self.refuse(rule)).await;
                        return None;
                    }
                    Err(NoHead::Partial) => {}
                }
            }
            // Answers composed so far go out before we wait.
            write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await.ok()?;
            let is_idle = self.buffer.is_empty();
            let until = match deadline {
                Some(until) => until,
                None if is_idle => Instant::now() + self.limits.idle,
                None => *deadline.insert(Instant::now() + self.limits.head_time),
            };
            let mut is_fresh = is_idle && waits.begin(until);
            let woke = std::future::poll_fn(|cx| {
                self.take_buffers();
                match std::pin::pin!(self.io.read_buf(&mut self.buffer)).poll(cx) {
                    Poll::Ready(read) => Poll::Ready(Woke::Read(read)),
                    Poll::Pending => {
                        if is_idle {
                            self.place.idle((until - self.limits.idle).into_std());
                        }
                        self.give_back_buffers();
                        if std::mem::take(&mut is_fresh) {
                            return Poll::Pending;
                        }
                        // Only an idle connection is ended by a drain; nothing is lost with the
                        // read.
                        waits.poll(cx, until, is_idle)
                    }
                }
            });
            match woke.await {
                Woke::Read(Ok(n)) if n > 0 && (!is_idle || self.place.busy()) => {}
                Woke::Read(_) | Woke::Drained => return None,
                Woke::TimedOut => {
                    Gauges::add(&self.worker.gauges.timeouts);
                    if !self.buffer.is_empty() {
                        Box::pin(self.refuse(Rule::SlowHead)).await;
                    }
                    return None;
                }
            }
        }
    }

    fn take_buffers(&mut self) {
        if self.buffer.capacity() == 0 && self.out.capacity() == 0 {
            let buffers = self.worker.buffers();
            (self.buffer, self.out, self.key) = (buffers.read, buffers.out, buffers.key);
        }
        self.buffer.reserve(READ.min(self.limits.head_bytes));
    }

    // An idle connection holds no buffer.
    fn give_back_buffers(&mut self) {
        if self.buffer.is_empty() && self.out.is_empty() {
            let (read, out, key) = (
                std::mem::take(&mut self.buffer),
                std::mem::take(&mut self.out),
                std::mem::take(&mut self.key),
            );
            self.worker.give_back(super::Buffers { read, out, key, ..super::Buffers::default() });
        }
    }

    // The synchronous part: parse, try the hit step, or make an owned request of it.
    fn on_head(&mut self, len: usize) -> Step {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let edge = &self.worker.core.edge;
        let now = edge.clock.now();
        let mut head = match head::read(
            &self.buffer,
            len,
            &mut lines,
            &mut method,
            &self.connection,
            &self.limits,
        ) {
            Ok(head) => head,
            Err(NoHead::Refused(rule)) => return Step::Refused(rule),
            Err(NoHead::Partial) => return Step::Refused(Rule::Malformed),
        };
        head.request.id = self.worker.next_id();
        let running = edge.running_cell().load();
        let step = match hit::hit(edge, &running, &head.request, &mut self.key, now) {
            Ok(hit) => {
                let later = || {
                    Box::new(ExchangeRecord::of_hit(
                        self.worker,
                        &running,
                        (&head.request, &self.connection),
                        &hit,
                        now,
                    ))
                };
                let step = answer_hit(
                    self.worker,
                    &mut self.out,
                    &head,
                    &hit,
                    now,
                    self.io.plain().is_some(),
                    later,
                );
                if matches!(step, Step::Answered(_)) {
                    record_hit(self.worker, &running, &head.request, &hit, now);
                }
                step
            }
            Err(declined) => {
                let number = edge.invalidations.head();
                let mut request = ViewerRequest::from_head(
                    &head.request,
                    &self.connection,
                    now,
                    number,
                    running.site.observes,
                );
                let interims = Interims::listen(&mut request, &mut self.waiting);
                let told = LoggedHead::of(&head.request, self.worker);
                let begun = edge.begin(Arc::clone(&running), request, declined);
                let expects = head.request.known.has(Known::Expect)
                    && head.request.version == Version::Http11;
                self.full = Some(Full { begun, interims, told, expects });
                Step::Full(head.framing, head.after)
            }
        };
        self.buffer.advance(len);
        step
    }

    // A large hit was sent, or broke off; only now its record is known.
    fn after_large(&mut self, next: Next, finish: ExchangeRecord) -> Next {
        let is_cut = finish.sent.end.is_cut();
        self.cut |= is_cut;
        if is_cut { Next::Close } else { next }
    }

    // Has the kernel send a body from where it lies, behind its head.
    async fn send_lying(&mut self, stored: &Arc<Stored>, span: Span, sent: &mut Sent) {
        let stall = self.limits.stall;
        let done = match self.io.plain() {
            Some(tcp) => match file::send_head(tcp, &self.out, stall).await {
                Ok(()) => file::send_file(tcp, stored, span, stall, &mut sent.bytes).await,
                Err(error) => Err(error),
            },
            None => Err(std::io::ErrorKind::Unsupported.into()),
        };
        self.out.clear();
        if done.is_ok() {
            sent.end = SendEnd::Whole;
        }
    }

    // Sends a stored body behind its head.
    async fn send_large(&mut self, mut body: Body, sent: &mut Sent) {
        while let Some(piece) = body.piece().await {
            let Ok(piece) = piece else {
                sent.end = SendEnd::Failed;
                return self.out.clear();
            };
            if write::send_behind(
                &mut self.io,
                &mut self.out,
                &piece,
                b"",
                self.limits.stall,
                &mut sent.bytes,
            )
            .await
            .is_err()
            {
                return;
            }
        }
        sent.end = SendEnd::Whole;
    }

    // Serving, the request's body beside it.
    async fn exchange(&mut self, framing: Framing, after: After) -> Next {
        let Some(Full { begun, mut interims, told, expects }) = self.full.take() else {
            return Next::Close;
        };
        // Answers composed before are not held back by a slow origin, nor overtaken by a 100.
        if write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await.is_err() {
            return Next::Close;
        }
        let mut finish = ExchangeRecord::new(&begun, told, self.worker);
        let draining = self.worker.is_draining();
        let after = if draining { After::Close } else { after };
        let request = request_of(&begun);
        let to = To {
            version: request.version,
            after,
            is_head: request.method == Method::HEAD,
            takes_trailers: message::takes_trailers(&request.fields),
            stall: self.limits.stall,
            now: request.arrived_at,
        };
        let core = Arc::clone(&self.worker.core);
        let read = if framing == Framing::None {
            let serving = std::pin::pin!(core.serve(begun, Body::Empty));
            match interims.pass_on(&mut self.io, &mut self.out, to.stall, serving).await {
                Some(response) => {
                    finish.answered(response);
                    if matches!(finish.response.body, Body::Tunnel(_)) {
                        Box::pin(self.tunnel(&mut finish)).await;
                        return Next::Close;
                    }
                    write::send(
                        &mut self.io,
                        &mut self.out,
                        to,
                        &mut finish.response,
                        &mut finish.sent,
                    )
                    .await;
                    true
                }
                None => false,
            }
        } else {
            // Boxed: it is the larger by far, and every other request would carry its size about.
            Box::pin(self.exchange_with_body(
                core,
                begun,
                (framing, &mut finish),
                to,
                expects,
                interims,
            ))
            .await
        };
        let end = finish.sent.end;
        drop(finish);
        self.cut |= end.is_cut();
        Next::of(after, read, end, draining)
    }

    // The origin has agreed to another protocol: its head goes out, and then octets go both ways.
    // Those that the viewer has sent behind its request are the first.
    async fn tunnel(&mut self, finish: &mut ExchangeRecord) {
        let Body::Tunnel(mut tunnel) = std::mem::take(&mut finish.response.body) else { return };
        write::write_status(&mut self.out, finish.response.status);
        let (now, mut lines) = (self.worker.core.edge.clock.now(), Http1Lines(&mut self.out));
        message::write_fields(&finish.response, false, now, &mut lines);
        self.out.extend_from_slice(b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
        if write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await.is_err() {
            return;
        }
        let ahead = self.buffer.split().to_vec();
        self.give_back_buffers();
        let terms = tunnels::terms(self.worker, self.limits.tunnel_idle);
        let mut carrying = Carrying { counted: tunnels::Counted::new(self.worker), finish };
        let carried = &mut carrying.counted.carried;
        let end = carry(&mut self.io, ahead, &mut tunnel, terms, carried).await;
        carrying.finish.sent.end = tunnels::sent(end);
        self.cut |= end == TunnelEnd::Far;
    }

    async fn exchange_with_body(
        &mut self,
        core: Arc<crate::proxy::Proxy>,
        begun: Begun,
        (framing, finish): (Framing, &mut ExchangeRecord),
        to: To,
        expects: bool,
        mut interims: Interims,
    ) -> bool {
        let io = parking_lot::Mutex::new(&mut self.io);
        let (mut reading, mut writing) = (Half(&io), Half(&io));
        let (tx, rx) = mpsc::channel(2);
        let wanted = Arc::new(Notify::new());
        let length = match framing {
            Framing::Length(len) => Some(len),
            Framing::Chunked | Framing::Close | Framing::None => None,
        };
        let (whole, received) = (Arc::<Whole>::default(), Arc::new(AtomicU64::new(0)));
        let counted = Arc::clone(&received);
        let body = Body::Wire(
            Box::new(ViewerBody {
                pieces: rx,
                wanted: Arc::clone(&wanted),
                asked: false,
                whole: Arc::clone(&whole),
            }),
            length,
        );
        let out = &mut self.out;
        let is_again = {
            let mut respond = std::pin::pin!(async {
                let mut serving = std::pin::pin!(core.serve(begun, body));
                let mut to = to;
                let response = if expects {
                    tokio::select! {
                        response = &mut serving => {
                            // We sent no "100 Continue": the viewer may rightly skip the body, and
                            // then what comes next is a request to it and a body to us. So the
                            // connection closes.
                            to.after = After::Close;
                            Some(response)
                        }
                        // Serving wants the body: the viewer may send it (RFC 9110 §10.1.1).
                        () = wanted.notified() => {
                            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
                            let _ = write::write_parts(&mut writing, [go_on, b"", b""], to.stall, None).await;
                            interims.pass_on(&mut writing, out, to.stall, serving).await
                        }
                    }
                } else {
                    interims.pass_on(&mut writing, out, to.stall, serving).await
                };
                let Some(response) = response else { return After::Close };
                finish.answered(response);
                write::send(&mut writing, out, to, &mut finish.response, &mut finish.sent).await;
                to.after
            });
            let mut gone = std::pin::pin!(half::reset(&io));
            let mut pump = std::pin::pin!(pump(
                &mut reading,
                &mut self.buffer,
                Decoder::new(framing),
                Pieces { tx, whole, received },
                &self.limits
            ));
            let mut read = None;
            let after = loop {
                tokio::select! {
                    done = &mut respond => break done,
                    whole = &mut pump, if read.is_none() => read = Some(whole),
                    // The viewer is gone: serving, and the fetch it waits for, are dropped with
                    // this.
                    () = &mut gone => break After::Close,
                }
            };
            // A viewer that is about to send the rest gets a moment to do so; then the connection
            // is closed.
            let read = match read {
                Some(whole) => whole,
                None if after == After::Close => false,
                None => timeout(Duration::from_millis(500), &mut pump).await.unwrap_or(false),
            };
            read && after == After::KeepAlive
        };
        finish.received = counted.load(Ordering::Relaxed);
        is_again
    }

    // The head lies at the buffer's front.
    async fn refuse(&mut self, rule: Rule) {
        Gauges::add(&self.worker.gauges.bad_requests);
        record_refused(self.worker, &self.connection, Version::Http11, rule, &self.buffer);
        write::write_status(&mut self.out, rule.status());
        let text = message::write_refusal(rule.status(), &mut Http1Lines(&mut self.out));
        write::write_end(&mut self.out, Version::Http11, After::Close);
        self.out.extend_from_slice(text.as_bytes());
        let _ = write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await;
    }
}

enum Step {
    /// The answer is composed.
    Answered(Next),
    /// The head is composed; this body follows it.
    Large(Next, Body, Box<ExchangeRecord>),
    /// The head is composed; the body lies where the kernel can take it from.
    Mapped(Next, Arc<Stored>, Span, Box<ExchangeRecord>),
    Refused(Rule),
    /// The request lies in `Session::full`.
    Full(Framing, After),
}

/// A request that is to be served.
struct Full {
    begun: Begun,
    interims: Interims,
    told: LoggedHead,
    /// It waits for `100 Continue` with its body.
    expects: bool,
}

fn answer_hit(
    worker: &Worker,
    out: &mut Vec<u8>,
    head: &Head<'_>,
    hit: &Hit<'_>,
    now: Timestamp,
    is_plain: bool,
    later: impl FnOnce() -> Box<ExchangeRecord>,
) -> Step {
    let after = if worker.is_draining() { After::Close } else { head.after };
    write::write_status(out, hit.status());
    hit.write(&mut Http1Lines(out), now);
    write::write_end(out, head.request.version, after);
    let next = Next::of(after, true, SendEnd::Whole, false);
    let Some(span) = hit.span else { return Step::Answered(next) };
    let is_sent = (LARGE..COPIED).contains(&span.len()) || hit.stored.content.is_filed();
    if is_plain && is_sent && hit.stored.content.sendfile_range(span).is_some() {
        return Step::Mapped(next, Arc::clone(&hit.stored), span, later());
    }
    match hit.stored.content.whole() {
        Some(whole) if span.len() <= INLINE as u64 => {
            let (start, end) = (span.start as usize, span.end as usize);
            out.extend_from_slice(&whole[start..end]);
            Step::Answered(next)
        }
        _ => match hit.stored.content.read(Some(span)) {
            Some(reader) if !span.is_empty() => Step::Large(next, Body::Stored(reader), later()),
            _ => Step::Answered(next),
        },
    }
}

/// Interim responses on their way to an HTTP/1.1 viewer.
struct Interims(Option<Arc<Waiting>>);

/// Those that came and were not sent yet, and the waker of the task that sends them.
#[derive(Default)]
struct Waiting(parking_lot::Mutex<(VecDeque<Interim>, Option<Waker>)>);

impl TakesInterims for Waiting {
    fn take(&self, interim: Interim) {
        let mut waiting = self.0.lock();
        if waiting.0.len() < message::INTERIMS {
            waiting.0.push_back(interim);
            if let Some(waker) = waiting.1.take() {
                waker.wake();
            }
        }
    }
}

impl Interims {
    // HTTP/1.0 knows none (RFC 9110 §15.2).
    fn listen(request: &mut ViewerRequest, last: &mut Option<Arc<Waiting>>) -> Self {
        if request.version == Version::Http10 {
            return Self(None);
        }
        // The one before serves again, unless its request is still held by a fetch.
        match last.as_mut().and_then(Arc::get_mut) {
            Some(last) => *last = Waiting::default(),
            None => *last = Some(Arc::default()),
        }
        let waiting = last.clone();
        request.interim = waiting.clone().map(|waiting| waiting as _);
        Self(waiting)
    }

    /// Writes each as it comes, until the final answer is there; `None` once the viewer has reset
    /// the connection.
    async fn pass_on<W: AsyncWrite + Watched + Unpin>(
        &mut self,
        io: &mut W,
        out: &mut Vec<u8>,
        stall: Duration,
        mut serving: Pin<&mut impl Future<Output = ViewerResponse>>,
    ) -> Option<ViewerResponse> {
        loop {
            // Pending: there are interim responses to pass on.
            let came: Poll<Option<ViewerResponse>> = {
                let mut gone = std::pin::pin!(write::reset(&*io));
                let next = std::future::poll_fn(|cx| {
                    if let Poll::Ready(response) = serving.as_mut().poll(cx) {
                        return Poll::Ready(Poll::Ready(Some(response)));
                    }
                    if let Some(waiting) = &self.0 {
                        let mut waiting = waiting.0.lock();
                        if !waiting.0.is_empty() {
                            return Poll::Ready(Poll::Pending);
                        }
                        waiting.1 = Some(cx.waker().clone());
                    }
                    gone.as_mut().poll(cx).map(|()| Poll::Ready(None))
                });
                next.await
            };
            let interims = self.0.as_ref().map(|waiting| std::mem::take(&mut waiting.0.lock().0));
            for interim in interims.into_iter().flatten() {
                write::write_interim(out, &interim);
            }
            if let Poll::Ready(response) = came {
                return response;
            }
            let _ = write::flush_out(io, out, stall).await;
        }
    }
}

/// Set once a body was read to its end: the trailers behind it.
type Whole = parking_lot::Mutex<Option<FieldSection>>;

/// A request body as serving reads it.
struct ViewerBody {
    pieces: mpsc::Receiver<Result<Bytes, BodyError>>,
    wanted: Arc<Notify>,
    asked: bool,
    /// Without this, the end of the pieces is not the body's.
    whole: Arc<Whole>,
}

/// Where the pieces of a request body go.
struct Pieces {
    tx: mpsc::Sender<Result<Bytes, BodyError>>,
    whole: Arc<Whole>,
    /// Octets so far.
    received: Arc<AtomicU64>,
}

impl Source for ViewerBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if !self.asked {
            self.asked = true;
            self.wanted.notify_one();
        }
        let piece = std::task::ready!(self.pieces.poll_recv(cx));
        if piece.is_none() && self.whole.lock().is_none() {
            return Poll::Ready(Some(Err(BodyError::Truncated)));
        }
        Poll::Ready(piece)
    }

    fn take_trailers(&mut self) -> FieldSection {
        self.whole.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

// Reads a request body from the connection and hands it on, at the reader's pace. True if it was
// read whole.
async fn pump<R: AsyncRead + Unpin>(
    io: &mut R,
    buffer: &mut BytesMut,
    mut decoder: Decoder,
    pieces: Pieces,
    limits: &Limits,
) -> bool {
    let Pieces { tx, whole, received } = pieces;
    let mut total = 0u64;
    let broken = loop {
        match decoder.decode(buffer) {
            Decoded::Done => {
                let mut trailers = decoder.take_trailers();
                keep_allowed(&mut trailers, TRAILERS_MAX);
                *whole.lock() = Some(trailers);
                return true;
            }
            Decoded::Broken(why) => break why,
            Decoded::Data(data) => {
                total += data.len() as u64;
                received.store(total, Ordering::Relaxed);
                if total > limits.request_body {
                    break BodyError::TooLarge;
                }
                // An error says that serving dropped the body: the rest is read and thrown away,
                // for as long as the caller waits.
                let _ = tx.send(Ok(data)).await;
            }
            Decoded::More => {
                buffer.reserve(READ);
                match timeout(limits.stall, io.read_buf(buffer)).await {
                    Ok(Ok(n)) if n > 0 => {}
                    Ok(_) => break BodyError::Truncated,
                    Err(_) => break BodyError::Stalled,
                }
            }
        }
    };
    let _ = tx.send(Err(broken)).await;
    false
}
