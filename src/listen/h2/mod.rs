//! One HTTP/2 connection (RFC 9113), as a server of cached answers wants it.
//!
//! Everything a connection does happens in one poll: frames are read as long as there are any,
//! fresh hits are framed at once without becoming a stream, what else there is to send follows in
//! turns, and all of it leaves in one write. The connection stops reading while much waits to be
//! written, so a viewer cannot make it hold more than it takes.

mod answers;
mod frame;
mod frames;
pub mod head;
pub mod hpack;
mod requests;
pub mod stream;
mod time;
mod tunnel;

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Buf, Bytes, BytesMut};
use hashbrown::HashMap;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Duration, Instant, Sleep};

use self::frame::{Code, FrameHead, PeerSettings, flag, kind};
use self::head::{NoHead, Parts};
use self::hpack::decode::Decoder;
use self::hpack::encode;
use self::stream::{Phase, Ready, Sending, Shared, Stream, StreamBody, WASTE, WASTE_TIME};
use super::exchange_log::{ExchangeRecord, record_hit, record_refused};
use super::h1::write::SendEnd;
use super::places::Place;
use super::{Buffers, Gauges, Worker};
use crate::body::{Body, BodyError};
use crate::distribution::limits::Limits;
use crate::message::connection::{Connection, Version};
use crate::message::refusal::Rule;
use crate::message::response::ViewerResponse;
use crate::proxy::hit::{self, Declined, Hit};
use crate::record::LINE_MAX;
use crate::semantics::hop_by_hop::is_hop_by_hop;
use crate::semantics::time::Timestamp;

/// The table we allow viewers for their fields.
const TABLE: usize = 4_096;
/// Octets that a viewer may send of a request body before serving reads it: on a stream, on all of
/// them.
const STREAM_WINDOW: u32 = 256 * 1024;
const CONNECTION_WINDOW: i64 = 1024 * 1024;
/// Frames composed beyond this are written before more are.
const OUT_MAX: usize = 64 * 1024;
/// Bodies up to here are framed beside their head, without becoming a stream.
const INLINE: u64 = frame::FRAME_MAX as u64;
/// Room to read into.
const READ: usize = 32 * 1024;
/// Streams that a viewer may end early, or break, beyond those it lets us answer.
const RESETS: u32 = 200;
/// Frames without a request or an octet in them, between two that have some.
const IDLE_FRAMES: u32 = 1_000;
/// Window updates that a viewer may save up for.
const UPDATES: u32 = 1 << 20;
/// How long a peer may take to answer a PING.
const PONG: Duration = Duration::from_secs(20);
/// Between the word that a connection will end and its end, a round trip for requests that were on
/// their way.
const LAST_CALL: Duration = Duration::from_secs(1);

/// A connection's end that it owes to the peer.
#[derive(Debug)]
struct Fatal(Code, &'static str);

/// How far a connection is on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It has been said that no more requests are wanted; those under way still come.
    Said(Instant),
    /// Requests beyond this stream are not answered.
    Last(u32),
}

/// A header block that is not whole yet.
struct Block {
    stream: u32,
    ends_stream: bool,
    octets: Vec<u8>,
    since: Instant,
}

struct Session<'w, S> {
    io: S,
    worker: &'w Arc<Worker>,
    connection: Arc<Connection>,
    limits: Limits,
    input: BytesMut,
    out: Vec<u8>,
    written: usize,
    scratch: Buffers,
    decoder: Decoder,
    has_encoded: bool,
    preface_read: bool,
    settings_read: bool,
    block: Option<Block>,
    peer: PeerSettings,
    window: i64,
    receive: i64,
    credit: usize,
    streams: HashMap<u32, Stream>,
    sendable: VecDeque<u32>,
    ready: Arc<Ready>,
    /// The last stream that is answered, and the last that was seen.
    last: u32,
    highest: u32,
    /// Streams that were reset of late: frames sent before the viewer knew are not its fault.
    reset: VecDeque<u32>,
    resets: u32,
    idle_frames: u32,
    /// Window updates that octets we sent have paid for.
    updates: u32,
    leaving: Leaving,
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    sleep: Pin<Box<Sleep>>,
    idle_since: Instant,
    read_at: Instant,
    wrote_at: Instant,
    /// Since when the viewer takes nothing of what is composed.
    unwritten_since: Option<Instant>,
    /// Since when part of a frame waits for its rest.
    partial_since: Option<Instant>,
    /// Since when the connection's window alone keeps streams from sending.
    blocked_since: Option<Instant>,
    ping_at: Option<Instant>,
}

enum End {
    /// Everything owed was written.
    Closed,
    /// The peer is gone, or takes nothing.
    Lost,
}

/// Serves a connection until it ends.
pub async fn serve<S: AsyncRead + AsyncWrite + Unpin + Send>(
    io: S,
    worker: &Arc<Worker>,
    connection: Arc<Connection>,
    place: &Place,
) {
    let mut session = Session::new(io, worker, connection);
    let poll = std::future::poll_fn(|cx| {
        if !place.busy() {
            return Poll::Ready(End::Lost);
        }
        let end = session.poll(cx);
        if end.is_pending() && session.streams.is_empty() && session.out.is_empty() {
            place.idle(session.idle_since.into_std());
        }
        end
    });
    let end = poll.await;
    session.streams.clear();
    if matches!(end, End::Closed) {
        super::linger(&mut session.io).await;
    }
}

impl<'w, S: AsyncRead + AsyncWrite + Unpin + Send> Session<'w, S> {
    fn new(io: S, worker: &'w Arc<Worker>, connection: Arc<Connection>) -> Self {
        let limits = worker.core.edge.running_cell().load().site.limits.clone();
        let mut draining = worker.draining.clone();
        let drained = Box::pin(async move {
            let _ = draining.wait_for(|draining| *draining).await;
        });
        let now = Instant::now();
        let mut out = Vec::new();
        let settings = [
            (1, TABLE as u32),
            (3, limits.streams),
            (4, STREAM_WINDOW),
            (6, u32::try_from(limits.head_bytes).unwrap_or(u32::MAX)),
            // WebSockets come as extended CONNECT (RFC 8441 §3).
            (8, u32::from(limits.tunnels > 0)),
            // No priorities of RFC 7540 (RFC 9218 §2.1).
            (9, 1),
        ];
        frame::write(&mut out, kind::SETTINGS, 0, 0, &frame::settings(&settings));
        let more = (CONNECTION_WINDOW - frame::WINDOW_START) as u32;
        frame::write(&mut out, kind::WINDOW_UPDATE, 0, 0, &more.to_be_bytes());
        let first = limits.head_time;
        Self {
            io,
            worker,
            connection,
            limits,
            input: BytesMut::new(),
            out,
            written: 0,
            scratch: Buffers::default(),
            decoder: Decoder::new(TABLE),
            has_encoded: false,
            preface_read: false,
            settings_read: false,
            block: None,
            peer: PeerSettings { window: frame::WINDOW_START },
            window: frame::WINDOW_START,
            receive: CONNECTION_WINDOW,
            credit: 0,
            streams: HashMap::new(),
            sendable: VecDeque::new(),
            ready: Arc::default(),
            last: 0,
            highest: 0,
            reset: VecDeque::new(),
            resets: 0,
            idle_frames: 0,
            updates: 0,
            leaving: Leaving::No,
            drained,
            sleep: Box::pin(tokio::time::sleep(first)),
            idle_since: now,
            read_at: now,
            wrote_at: now,
            unwritten_since: None,
            partial_since: Some(now),
            blocked_since: None,
            ping_at: None,
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.ready.register(cx.waker());
        loop {
            if let Err(Fatal(code, why)) = self.act(cx) {
                tracing::debug!(peer = %self.connection.peer, ?code, why, "HTTP/2 connection refused");
                Gauges::add(&self.worker.gauges.bad_requests);
                return self.poll_last_words(cx, code);
            }
            if self.poll_time(cx) {
                return Poll::Ready(End::Lost);
            }
            let had_much = !self.out.is_empty();
            let has_room = match self.poll_write(cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(End::Lost),
                Poll::Ready(Ok(())) if self.is_over() => return Poll::Ready(End::Closed),
                Poll::Ready(Ok(())) => true,
                Poll::Pending => false,
            };
            let can_send = !self.sendable.is_empty() && self.window > 0;
            let has_more = has_room
                && had_much
                && (!self.input.is_empty() || can_send || !self.ready.is_empty());
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => return Poll::Ready(End::Lost),
                Poll::Pending if !has_more => return Poll::Pending,
                Poll::Ready(Ok(_)) | Poll::Pending => {}
            }
        }
    }

    // Everything that needs no waiting: frames, streams, bodies.
    fn act(&mut self, cx: &mut Context<'_>) -> Result<(), Fatal> {
        if self.leaving == Leaving::No && self.drained.as_mut().poll(cx).is_ready() {
            self.leave();
        }
        self.read_frames()?;
        while self.has_room()
            && let Some(id) = self.ready.pop()
        {
            self.work_on(id);
        }
        self.send_bodies();
        self.give_back();
        Ok(())
    }

    // Little enough waits to be written that more may be composed.
    fn has_room(&self) -> bool {
        self.out.len() - self.written < OUT_MAX
    }

    fn is_over(&self) -> bool {
        matches!(self.leaving, Leaving::Last(_)) && self.streams.is_empty() && self.out.is_empty()
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while self.written < self.out.len() {
            match Pin::new(&mut self.io).poll_write(cx, &self.out[self.written..]) {
                Poll::Pending => {
                    // What has left is let go of, or a viewer that always takes a little would make
                    // the rest grow.
                    if self.written >= OUT_MAX / 2 {
                        self.out.drain(..self.written);
                        self.written = 0;
                    }
                    return self.blocked();
                }
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(wrote)) => {
                    self.written += wrote;
                    self.wrote_at = Instant::now();
                    self.unwritten_since = None;
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            }
        }
        if Pin::new(&mut self.io).poll_flush(cx)?.is_pending() {
            return self.blocked();
        }
        self.unwritten_since = None;
        self.out.clear();
        self.written = 0;
        Poll::Ready(Ok(()))
    }

    fn blocked(&mut self) -> Poll<io::Result<()>> {
        self.unwritten_since.get_or_insert_with(Instant::now);
        self.look_soon();
        Poll::Pending
    }

    // Nothing more is read while much waits to be written.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if !self.has_room() {
            return Poll::Pending;
        }
        self.take_buffers();
        if self.input.capacity() - self.input.len() < READ / 2 {
            self.input.reserve(READ);
        }
        let Poll::Ready(read) = std::pin::pin!(self.io.read_buf(&mut self.input)).poll(cx) else {
            self.give_back_buffers();
            return Poll::Pending;
        };
        self.read_at = Instant::now();
        Poll::Ready(read)
    }

    fn take_buffers(&mut self) {
        if self.input.capacity() == 0 {
            self.scratch = self.worker.buffers();
            std::mem::swap(&mut self.input, &mut self.scratch.read);
            if self.out.capacity() == 0 {
                std::mem::swap(&mut self.out, &mut self.scratch.out);
            }
        }
    }

    // A connection that waits for its viewer holds no buffer.
    fn give_back_buffers(&mut self) {
        if self.input.is_empty() && self.out.is_empty() {
            let mut buffers = std::mem::take(&mut self.scratch);
            (buffers.read, buffers.out) =
                (std::mem::take(&mut self.input), std::mem::take(&mut self.out));
            self.worker.give_back(buffers);
        }
    }

    // Says why, and ends. A peer that does not take it gets no second chance.
    fn poll_last_words(&mut self, cx: &mut Context<'_>, code: Code) -> Poll<End> {
        self.goaway(self.last, code);
        self.leaving = Leaving::Last(self.last);
        self.streams.clear();
        self.sendable.clear();
        match self.poll_write(cx) {
            Poll::Ready(Ok(())) => Poll::Ready(End::Closed),
            _ => Poll::Ready(End::Lost),
        }
    }
}
