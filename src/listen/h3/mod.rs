//! One HTTP/3 connection (RFC 9114) over a QUIC connection that its core drives.
//!
//! Nothing here waits: the driver hands over what has come, calls [`Session::act`], and sends what
//! the connection then has for the viewer. A fresh hit is parsed, looked up and written in the pass
//! that read it; every other request is a future that is polled here when it has something to do,
//! as in HTTP/2.

mod answers;
mod control;
pub mod frame;
mod noise;
pub mod qpack;
mod requests;
mod stream;
mod time;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use bytes::{Buf, Bytes};
use hashbrown::HashMap;
use quinn_proto::{Dir, Event, ReadError, Side, StreamEvent, StreamId, VarInt, WriteError};
use smallvec::SmallVec;
use tokio::time::{Duration, Instant};

use self::control::Control;
use self::frame::{Code, Fatal, Frames, Stage};
use self::noise::Noise;
use self::stream::{Begun, Request, Taken, TakenEnd};
use super::exchange_log::{ExchangeRecord, record_hit, record_refused};
use super::h1::write::SendEnd;
use super::h2::head::{self, NoHead, Parts, Purpose};
use super::h2::stream::{Phase, Ready, Sending, Shared, StreamBody, WASTE, WASTE_TIME};
use super::places::Place;
use super::{Buffers, Counted, Gauges, Worker, message};
use crate::body::{Body, BodyError};
use crate::distribution::limits::Limits;
use crate::distribution::site::Site;
use crate::message::connection::{Connection, Scheme, TlsFacts, Version};
use crate::message::refusal::Rule;
use crate::message::response::ViewerResponse;
use crate::proxy::hit::{self, Declined, Hit};
use crate::record::LINE_MAX;
use crate::semantics::hop_by_hop::is_hop_by_hop;
use crate::semantics::time::Timestamp;

/// Octets that a viewer may send of a request body before serving reads it: on a stream, on all of
/// them.
pub const STREAM_WINDOW: u32 = 256 * 1024;
pub const CONNECTION_WINDOW: u32 = 1024 * 1024;
/// Octets of a connection that wait to be sent or acknowledged, at most: of one, and of all of them
/// together, of which each has a share, but not less than the least.
pub const SEND_WINDOW: u64 = 1024 * 1024;
const SEND_ALL: u64 = 1024 * 1024 * 1024;
const SEND_LEAST: u64 = 64 * 1024;
/// Streams of one direction that a viewer may have open: three are needed, others are stopped.
pub const UNI_STREAMS: u32 = 16;
/// Octets of a request body that wait for serving, at most; the rest stays in QUIC's window.
const OWED: usize = 64 * 1024;
/// Octets that are read of a stream at a time.
const READ: usize = 64 * 1024;
/// Octets that one stream writes before the next has its turn.
const TURN: usize = 64 * 1024;
/// Bodies up to here are written beside their head, without becoming a stream.
const INLINE: u64 = 16 * 1024;
/// Whole bodies from here on are lent to QUIC; smaller ones cost less to copy.
const SHARED: u64 = 512;
/// A field section may have so many coded octets more than `limits.head_bytes`.
const SECTION_MORE: u64 = 16 * 1024;
/// Streams that a viewer may end early, or break, beyond those it lets us answer.
const RESETS: u32 = 200;
/// Frames without a request or an octet in them, between two that have some.
const IDLE_FRAMES: u32 = 1_000;
/// Between the word that a connection will end and its end, a round trip for requests that were on
/// their way.
const LAST_CALL: Duration = Duration::from_secs(1);
/// How often it is looked at what QUIC has received that brings nothing further.
const LISTEN: Duration = Duration::from_millis(100);
/// Streams that are worked on before the driver looks at other connections again.
const WORK: usize = 256;

/// How far a connection is on its way out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaving {
    No,
    /// It has been said that no more requests are wanted; those under way still come.
    Said(Instant),
    /// Requests from this stream on are not answered.
    From(u64),
}

/// How far the connection has come.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Life {
    /// Until the handshake is done, which has a deadline.
    Handshake(Instant),
    Open,
    /// Closed by one side; QUIC alone has something to do.
    Closed,
}

/// The head of a request that is not whole yet.
struct Heading {
    frames: Frames,
    since: Instant,
}

/// What a connection is made of.
pub struct Setting {
    pub worker: Arc<Worker>,
    pub site: Arc<Site>,
    /// What it is served with until the handshake says more.
    pub connection: Connection,
    pub place: Place,
    /// Wakes the connection's core, and says that this connection has something to do.
    pub waker: Waker,
}

/// One connection, with all its streams.
pub struct Session {
    /// The driver hands datagrams in and takes others out.
    pub quic: quinn_proto::Connection,
    worker: Arc<Worker>,
    connection: Arc<Connection>,
    limits: Limits,
    life: Life,
    control: Control,
    heads: HashMap<u32, Heading>,
    streams: HashMap<u32, Request>,
    /// Streams that have octets to send, each once.
    sendable: VecDeque<u32>,
    may_send: bool,
    ready: Arc<Ready>,
    /// One more than the index of the last request stream that is answered.
    answered: u64,
    resets: u32,
    idle_frames: u32,
    noise: Noise,
    noise_at: Instant,
    leaving: Leaving,
    now: Instant,
    /// What the clock said when a request of this pass was first read.
    read_at: Option<Timestamp>,
    idle_since: Instant,
    looked_at: Instant,
    pinged_at: Instant,
    look_at: Option<Instant>,
    /// Free for others once the connection is closed.
    held: Option<(Place, Counted)>,
}

impl Session {
    /// A connection that was accepted just now.
    pub fn new(quic: quinn_proto::Connection, setting: Setting, now: Instant) -> Self {
        let Setting { worker, site, connection, place, waker } = setting;
        let ready = Arc::<Ready>::default();
        ready.register(&waker);
        let counted = Counted::new(&worker);
        Gauges::add(&worker.gauges.accepted);
        let limits = site.limits.clone();
        let handshake = now + limits.handshake;
        let mut this = Self {
            quic,
            worker,
            connection: Arc::new(connection),
            limits,
            life: Life::Handshake(handshake),
            control: Control::default(),
            heads: HashMap::new(),
            streams: HashMap::new(),
            sendable: VecDeque::new(),
            may_send: false,
            ready,
            answered: 0,
            resets: 0,
            idle_frames: 0,
            noise: Noise::default(),
            noise_at: now,
            leaving: Leaving::No,
            now,
            read_at: None,
            idle_since: now,
            looked_at: now,
            pinged_at: now,
            look_at: Some(handshake),
            held: Some((place, counted)),
        };
        this.share_window();
        this
    }

    // Viewers that take nothing hold what is to be sent to them: the more connections there are,
    // the less each may hold.
    fn share_window(&mut self) {
        let connections = self.worker.gauges.connections.load(Ordering::Relaxed);
        self.quic.set_send_window(send_window(connections as u64));
    }

    /// Says whether the handshake is not done yet.
    pub const fn is_handshaking(&self) -> bool {
        matches!(self.life, Life::Handshake(_))
    }

    /// Says whether nothing is left to do but what QUIC does by itself.
    pub const fn is_closed(&self) -> bool {
        matches!(self.life, Life::Closed)
    }

    /// Does all that can be done without waiting. `facts` is asked once, when the handshake is
    /// done, what it settled. True if there is more to do.
    pub fn act(
        &mut self,
        now: Instant,
        scratch: &mut Buffers,
        facts: impl FnOnce(&quinn_proto::Connection) -> Option<TlsFacts>,
    ) -> bool {
        (self.now, self.read_at) = (now, None);
        if self.held.as_ref().is_some_and(|(place, _)| !place.busy()) {
            // Others need its place more: nothing was asked here for long.
            self.close(Code::NoError);
        }
        let acted = self.try_act(scratch, facts);
        scratch.out.clear();
        if let Err(Fatal(code, why)) = acted {
            tracing::debug!(peer = %self.connection.peer, ?code, why, "HTTP/3 connection refused");
            Gauges::add(&self.worker.gauges.bad_requests);
            self.close(code);
        }
        self.note_idle();
        !self.is_closed() && !self.ready.is_empty()
    }

    // A connection may be ended for others while it waits for its viewer: nothing is asked, and all
    // that was answered has arrived.
    fn note_idle(&mut self) {
        if self.streams.is_empty()
            && self.heads.is_empty()
            && self.is_all_sent()
            && let Some((place, _)) = &self.held
        {
            place.idle(self.idle_since.into_std());
        }
    }

    fn try_act(
        &mut self,
        scratch: &mut Buffers,
        facts: impl FnOnce(&quinn_proto::Connection) -> Option<TlsFacts>,
    ) -> Result<(), Fatal> {
        self.count_noise()?;
        let mut facts = Some(facts);
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected if !self.is_closed() => {
                    if let Some(facts) = facts.take() {
                        self.begin_session(facts)?;
                    }
                }
                Event::ConnectionLost { reason } => {
                    if self.is_handshaking() {
                        Gauges::add(&self.worker.gauges.handshakes_failed);
                    }
                    tracing::debug!(peer = %self.connection.peer, %reason, "HTTP/3 connection lost");
                    self.let_go();
                }
                Event::Stream(event) if !self.is_closed() => self.on_event(event, scratch)?,
                Event::Stream(_)
                | Event::Connected
                | Event::HandshakeDataReady
                | Event::DatagramReceived
                | Event::DatagramsUnblocked => {}
            }
        }
        for _ in 0..WORK {
            let Some(id) = self.ready.pop() else { break };
            self.work_on(id, scratch)?;
        }
        if !self.is_closed() {
            self.look_at_time();
            self.send_waiting();
        }
        Ok(())
    }

    fn begin_session(
        &mut self,
        facts: impl FnOnce(&quinn_proto::Connection) -> Option<TlsFacts>,
    ) -> Result<(), Fatal> {
        let Some(facts) = facts(&self.quic) else {
            return Err(Fatal(Code::Internal, "no certificate to have shown"));
        };
        let connection =
            Connection { scheme: Scheme::Https, tls: Some(facts), ..(*self.connection).clone() };
        self.connection = Arc::new(connection);
        self.life = Life::Open;
        self.idle_since = self.now;
        self.look_soon();
        self.open_control()
    }

    fn on_event(&mut self, event: StreamEvent, scratch: &mut Buffers) -> Result<(), Fatal> {
        match event {
            StreamEvent::Opened { dir: Dir::Bi } => {
                while let Some(id) = self.quic.streams().accept(Dir::Bi) {
                    self.on_new_request(id, scratch)?;
                }
                Ok(())
            }
            StreamEvent::Opened { dir: Dir::Uni } => {
                while let Some(id) = self.quic.streams().accept(Dir::Uni) {
                    self.read_uni(id)?;
                }
                Ok(())
            }
            StreamEvent::Readable { id } if id.dir() == Dir::Uni => self.read_uni(id),
            StreamEvent::Readable { id } => match index_of(id) {
                Some(index) => self.read_request(index, scratch),
                None => Ok(()),
            },
            StreamEvent::Writable { id } if id.dir() == Dir::Uni => Ok(()),
            StreamEvent::Writable { .. } => {
                self.may_send = true;
                Ok(())
            }
            StreamEvent::Stopped { id, .. } if id.dir() == Dir::Uni => {
                Err(Fatal(Code::ClosedCriticalStream, "our control stream is not wanted"))
            }
            StreamEvent::Stopped { id, .. } => match index_of(id) {
                Some(index) => self.viewer_left(index),
                None => Ok(()),
            },
            StreamEvent::Finished { .. } | StreamEvent::Available { .. } => Ok(()),
        }
    }

    /// Ends the connection; what it still owes is dropped.
    pub fn close(&mut self, code: Code) {
        self.quic.close(self.now.into_std(), varint(code), Bytes::new());
        self.let_go();
    }

    // Nothing of HTTP is left.
    fn let_go(&mut self) {
        self.life = Life::Closed;
        self.streams.clear();
        self.heads.clear();
        self.sendable.clear();
        self.look_at = None;
        self.held = None;
    }

    // Reads of a stream what has come, some of it at a time.
    fn take(&mut self, id: StreamId) -> Taken {
        let mut taken = Taken { pieces: SmallVec::new(), end: TakenEnd::Gone };
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return taken };
        let mut room = READ;
        taken.end = loop {
            match chunks.next(room) {
                Ok(Some(chunk)) => {
                    room -= chunk.bytes.len();
                    taken.pieces.push(chunk.bytes);
                    if room == 0 {
                        break TakenEnd::More;
                    }
                }
                Ok(None) => break TakenEnd::Fin,
                Err(ReadError::Blocked) => break TakenEnd::Open,
                Err(ReadError::Reset(_)) => break TakenEnd::Reset,
            }
        };
        // The driver asks for what there is to send in any case.
        let _ = chunks.finalize();
        taken
    }

    fn count_idle(&mut self, more: u32) -> Result<(), Fatal> {
        self.idle_frames = self.idle_frames.saturating_add(more);
        if self.idle_frames > IDLE_FRAMES {
            return Err(Fatal(Code::ExcessiveLoad, "too many frames that ask for nothing"));
        }
        Ok(())
    }

    fn count_noise(&mut self) -> Result<(), Fatal> {
        let passed = self.now - self.noise_at;
        if passed < LISTEN || self.is_closed() {
            return Ok(());
        }
        self.noise_at = self.now;
        if self.noise.note(&self.quic.stats().frame_rx, passed) {
            return Ok(());
        }
        Err(Fatal(Code::ExcessiveLoad, "too many packets that bring nothing"))
    }

    fn count_reset(&mut self) -> Result<(), Fatal> {
        self.resets += 1;
        if self.resets > RESETS {
            return Err(Fatal(Code::ExcessiveLoad, "too many streams reset"));
        }
        Ok(())
    }
}

// What a connection of so many may hold of what it sends.
fn send_window(connections: u64) -> u64 {
    (SEND_ALL / connections.max(1)).clamp(SEND_LEAST, SEND_WINDOW)
}

// A request stream by its index: they are the viewer's own, of both directions.
fn stream_of(index: u32) -> StreamId {
    StreamId::new(Side::Client, Dir::Bi, u64::from(index))
}

// None beyond what a connection is kept for.
fn index_of(id: StreamId) -> Option<u32> {
    u32::try_from(id.index()).ok()
}

fn varint(code: Code) -> VarInt {
    VarInt::from_u32(code as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_all_connections_may_hold_is_bounded() {
        for connections in [0, 1, 1_000] {
            assert_eq!(send_window(connections), SEND_WINDOW);
        }
        for connections in [1_025, 5_000, 16_384] {
            assert!(send_window(connections) < SEND_WINDOW);
            assert!(send_window(connections) * connections <= SEND_ALL);
        }
        assert_eq!(send_window(1_000_000), SEND_LEAST, "an answer still goes on");
    }
}
