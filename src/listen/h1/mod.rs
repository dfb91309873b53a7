//! One HTTP/1 connection: head, hit step, or serving; then perhaps again.
//!
//! A connection is used again only if request and response were both whole, neither side asked to
//! close, and the edge is not draining. That is decided in `Next::of` and nowhere else.

mod buffers;
mod file;
mod half;
pub mod head;
mod interims;
mod request_body;
mod waits;
pub mod write;

use std::mem::MaybeUninit;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, timeout};

use self::buffers::{Buffers, consume};
use self::half::Half;
use self::head::{After, Head, NoHead};
use self::interims::{Interims, Waiting};
use self::request_body::{ViewerBody, pump};
use self::waits::{Waits, Woke};
use self::write::{SendEnd, Sent, To, Watched};
use super::exchange_log::{ExchangeRecord, LoggedHead, record_hit, record_refused};
use super::message;
use super::places::Place;
use super::{Gauges, Worker, tunnels};
use crate::acme::Issuing;
use crate::acme::board::Board;
use crate::base::boxed::{Reused, boxed};
use crate::body::Body;
use crate::body::arena::LARGE;
use crate::body::framing::{Decoder, Framing};
use crate::body::tunnel::{TunnelEnd, carry};
use crate::deliver::sink::Http1Lines;
use crate::distribution::limits::FIELDS_MAX;
use crate::distribution::limits::Limits;
use crate::message::connection::{Connection, Scheme, Version};
use crate::message::refusal::Rule;
use crate::message::request::{Known, RequestHead, ViewerRequest};
use crate::message::stored::Stored;
use crate::proxy::exchange::{Begun, request_of};
use crate::proxy::hit::{self, Hit};
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;

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
        let mut waits = Waits::new(self.worker, self.limits.idle);
        loop {
            let Some(len) = self.next_head(&mut waits).await else { return };
            let next = match self.on_head(len) {
                Step::Answered(next) => next,
                Step::Large(next, body, mut finish) => {
                    Box::pin(self.send_large(body, &mut finish.sent)).await;
                    self.after_large(next, *finish)
                }
                Step::Mapped(next, stored, span, mut finish) => {
                    Box::pin(self.send_mapped(&stored, span, &mut finish.sent)).await;
                    self.after_large(next, *finish)
                }
                Step::Refused(rule) => return Box::pin(self.refuse(rule)).await,
                Step::Full(framing, after) => Reused::new(|| self.exchange(framing, after)).await,
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

    // Waits for a whole head, and says within how many octets it lies. Before its first octet the
    // idle limit counts, after it one absolute deadline.
    async fn next_head(&mut self, waits: &mut Waits) -> Option<usize> {
        let mut deadline: Option<Instant> = None;
        loop {
            if !self.buffer.is_empty() {
                match head::reach(&self.buffer, &self.limits) {
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
                self.buffer.reserve(READ.min(self.limits.head_bytes));
                match pin!(self.io.read_buf(&mut self.buffer)).poll(cx) {
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
            let Buffers { read, out, key } = Buffers::take();
            (self.buffer, self.out, self.key) = (read, out, key);
        }
    }

    // A connection that waits holds no buffer.
    fn give_back_buffers(&mut self) {
        if self.buffer.is_empty() && self.out.is_empty() {
            let (read, out, key) = (
                std::mem::take(&mut self.buffer),
                std::mem::take(&mut self.out),
                std::mem::take(&mut self.key),
            );
            Buffers { read, out, key }.give_back();
        }
    }

    // The synchronous part: parse, try the hit step, or make an owned request of it.
    fn on_head(&mut self, within: usize) -> Step {
        let mut lines = [const { MaybeUninit::uninit() }; FIELDS_MAX];
        let mut method = Method::GET;
        let edge = &self.worker.core.edge;
        let now = edge.clock.now();
        let (connection, limits) = (&self.connection, &self.limits);
        let read = head::read(&self.buffer, within, &mut lines, &mut method, connection, limits);
        let mut head = match read {
            Ok(head) => head,
            Err(NoHead::Refused(rule)) => return Step::Refused(rule),
            Err(NoHead::Partial) => return Step::Refused(Rule::Malformed),
        };
        let len = head.len;
        head.request.id = self.worker.next_id();
        // While an order is open; before routing, whatever the host.
        if edge.issuing.challenges.is_pending()
            && let Some(answer) = proof_shown(&edge.issuing, &head.request)
        {
            self.out.extend_from_slice(answer.as_bytes());
            consume(&mut self.buffer, len);
            return Step::Answered(Next::Close);
        }
        let running = edge.running_cell().load();
        let step = match hit::hit(edge, &running, &head.request, &mut self.key, now) {
            Ok(hit) => {
                let told = (&head.request, connection);
                let later =
                    || Box::new(ExchangeRecord::of_hit(self.worker, &running, told, &hit, now));
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
                    &self.buffer[..len],
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
        consume(&mut self.buffer, len);
        step
    }

    // A large hit was sent, or broke off; only now its record is known.
    fn after_large(&mut self, next: Next, finish: ExchangeRecord) -> Next {
        let is_cut = finish.sent.end.is_cut();
        self.cut |= is_cut;
        if is_cut { Next::Close } else { next }
    }

    // Has the kernel send a body from where it lies, behind its head.
    async fn send_mapped(&mut self, stored: &Arc<Stored>, span: Span, sent: &mut Sent) {
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
        // Answers composed before are not held back by a slow origin, nor overtaken by a 100.
        if !self.out.is_empty()
            && write::flush_out(&mut self.io, &mut self.out, self.limits.stall).await.is_err()
        {
            return Next::Close;
        }
        if framing == Framing::None {
            self.give_back_buffers();
        }
        let (worker, full) = (self.worker, &mut self.full);
        let Some(full) = full else { return Next::Close };
        let mut finish = ExchangeRecord::new(&full.begun, std::mem::take(&mut full.told), worker);
        let draining = worker.is_draining();
        let after = if draining { After::Close } else { after };
        let request = request_of(&full.begun);
        let to = To {
            version: request.version,
            after,
            is_head: request.method == Method::HEAD,
            takes_trailers: message::takes_trailers(&request.fields),
            stall: self.limits.stall,
            now: request.arrived_at,
        };
        let read = if framing == Framing::None {
            // In a scope of its own: what is waited for behind it lies where serving lay.
            let is_answered = {
                let serving = pin!(worker.core.serve(&mut full.begun, Body::Empty));
                let (io, out) = (&mut self.io, &mut self.out);
                pin!(full.interims.pass_on(io, out, to.stall, serving, &mut finish)).await
            };
            self.full = None;
            self.take_buffers();
            if matches!(finish.response.body, Body::Tunnel(_)) {
                Box::pin(self.tunnel(&mut finish)).await;
                return Next::Close;
            }
            if is_answered {
                let (io, out) = (&mut self.io, &mut self.out);
                write::send(io, out, to, &mut finish.response, &mut finish.sent).await;
            }
            is_answered
        } else {
            let Some(Full { begun, interims, expects, .. }) = self.full.take() else {
                return Next::Close;
            };
            let core = Arc::clone(&worker.core);
            // Boxed: it is the larger by far, and every other request would carry its size about.
            let finish = (framing, &mut finish);
            boxed(|| self.exchange_with_body(core, begun, finish, to, expects, interims)).await
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
        mut begun: Begun,
        (framing, finish): (Framing, &mut ExchangeRecord),
        to: To,
        expects: bool,
        mut interims: Interims,
    ) -> bool {
        let io = parking_lot::Mutex::new(&mut self.io);
        let (mut reading, mut writing) = (Half(&io), Half(&io));
        let (body, wanted, pieces) = ViewerBody::begin(framing);
        let counted = Arc::clone(&pieces.received);
        let out = &mut self.out;
        let is_again = {
            let mut respond = pin!(async {
                let mut serving = pin!(core.serve(&mut begun, body));
                let mut to = to;
                let is_answered = if expects {
                    tokio::select! {
                        response = &mut serving => {
                            // We sent no "100 Continue": the viewer may rightly skip the body, and
                            // then what comes next is a request to it and a body to us. So the
                            // connection closes.
                            to.after = After::Close;
                            finish.answered(response);
                            true
                        }
                        // Serving wants the body: the viewer may send it (RFC 9110 §10.1.1).
                        () = wanted.notified() => {
                            let go_on = b"HTTP/1.1 100 Continue\r\n\r\n";
                            let _ = write::write_parts(&mut writing, [go_on, b"", b""], to.stall, None).await;
                            interims.pass_on(&mut writing, out, to.stall, serving, finish).await
                        }
                    }
                } else {
                    interims.pass_on(&mut writing, out, to.stall, serving, finish).await
                };
                if !is_answered {
                    return After::Close;
                }
                write::send(&mut writing, out, to, &mut finish.response, &mut finish.sent).await;
                to.after
            });
            let mut gone = pin!(half::reset(&io));
            let (decoder, limits) = (Decoder::new(framing), &self.limits);
            let mut pump = pin!(pump(&mut reading, &mut self.buffer, decoder, pieces, limits));
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

// What a CA is answered that looks for a proof.
#[cold]
fn proof_shown(issuing: &Issuing, request: &RequestHead<'_>) -> Option<String> {
    if request.scheme != Scheme::Http || *request.method != Method::GET {
        return None;
    }
    let text = issuing.challenges.text(request.path)?;
    Board::count(&issuing.board.proofs_shown);
    Some(format!(
        "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}",
        text.len()
    ))
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
