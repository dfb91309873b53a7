//! One HTTP/2 stream: what its connection holds of it, and the body of its request on the way to
//! serving.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Duration, Instant};

use crate::body::tunnel::TunnelEnd;
use crate::body::{Body, BodyError, Source};
use crate::listen::exchange_log::ExchangeRecord;
use crate::message::interim::{Interim, TakesInterims};
use crate::message::response::ViewerResponse;
use crate::semantics::fields::FieldSection;

/// Pieces of a request body below this are joined.
const SMALL: usize = 4 * 1024;
/// Octets of a tunnel that wait to be framed, at most, and one write more.
const OUTGOING: usize = 16 * 1024;

/// The streams of a connection that have something to do.
#[derive(Default)]
pub struct Ready {
    queue: Mutex<VecDeque<u32>>,
    connection: Mutex<Option<Waker>>,
}

impl Ready {
    /// Sets the waker of the connection's task, for when a stream has something to do.
    pub fn register(&self, waker: &Waker) {
        let mut slot = self.connection.lock();
        match &mut *slot {
            Some(known) if known.will_wake(waker) => {}
            slot => *slot = Some(waker.clone()),
        }
    }

    /// Says whether no stream has anything to do.
    pub fn is_empty(&self) -> bool {
        self.queue.lock().is_empty()
    }

    /// The next stream.
    pub fn pop(&self) -> Option<u32> {
        self.queue.lock().pop_front()
    }
}

/// What a stream shares with the body that serving reads and with the sender of interim responses.
pub struct Shared {
    id: u32,
    ready: Arc<Ready>,
    is_queued: AtomicBool,
    incoming: Mutex<Incoming>,
    outgoing: Mutex<Outgoing>,
}

/// What a tunnel has for the viewer.
#[derive(Default)]
struct Outgoing {
    pieces: VecDeque<Bytes>,
    /// Octets in them.
    len: usize,
    /// The tunnel found no room.
    is_waited_for: bool,
    is_shut: bool,
}

#[derive(Default)]
struct Incoming {
    pieces: VecDeque<Bytes>,
    /// Small pieces behind those, joined: each octet might come in a frame of its own.
    small: Vec<u8>,
    /// How the body ended; its pieces come first.
    end: Option<Result<(), BodyError>>,
    /// What stands behind it.
    trailers: FieldSection,
    reader: Option<Waker>,
    /// Since when the reader waits for more.
    waits_since: Option<Instant>,
    /// Serving has asked for the body, once.
    is_wanted: bool,
    is_dropped: bool,
    /// Octets read and not yet given back to the viewer as window.
    taken: usize,
    interims: VecDeque<Interim>,
}

/// What a stream's helpers have done since the last look.
pub struct News {
    pub interims: VecDeque<Interim>,
    pub taken: usize,
    pub is_wanted: bool,
}

impl TakesInterims for Shared {
    fn take(&self, interim: Interim) {
        let mut incoming = self.incoming.lock();
        if incoming.interims.len() < crate::listen::message::INTERIMS {
            incoming.interims.push_back(interim);
            drop(incoming);
            self.queue();
        }
    }
}

impl Shared {
    /// Of a new stream.
    pub fn new(id: u32, ready: Arc<Ready>) -> Arc<Self> {
        Arc::new(Self {
            id,
            ready,
            is_queued: AtomicBool::new(false),
            incoming: Mutex::default(),
            outgoing: Mutex::default(),
        })
    }

    /// Looks at what happened; from here on the next event wakes the connection again.
    pub fn news(&self) -> News {
        self.is_queued.store(false, Ordering::Release);
        let mut incoming = self.incoming.lock();
        News {
            interims: std::mem::take(&mut incoming.interims),
            taken: std::mem::take(&mut incoming.taken),
            is_wanted: incoming.is_wanted,
        }
    }

    /// Adds a piece that the viewer sent; false if serving has dropped the body, or it has ended.
    pub fn push(&self, piece: &[u8]) -> bool {
        let mut incoming = self.incoming.lock();
        if incoming.is_dropped || incoming.end.is_some() {
            return false;
        }
        if piece.len() < SMALL {
            incoming.small.extend_from_slice(piece);
        }
        if piece.len() >= SMALL || incoming.small.len() >= 4 * SMALL {
            incoming.join();
        }
        if piece.len() >= SMALL {
            incoming.pieces.push_back(Bytes::copy_from_slice(piece));
        }
        incoming.wake();
        true
    }

    /// Ends the body; the first end counts.
    pub fn end(&self, how: Result<(), BodyError>) {
        let mut incoming = self.incoming.lock();
        if incoming.end.is_none() {
            incoming.end = Some(how);
            incoming.wake();
        }
    }

    /// Sets what stands behind the body, which is about to end.
    pub fn trail(&self, trailers: FieldSection) {
        self.incoming.lock().trailers = trailers;
    }

    /// Since when the reader of the body waits for the viewer.
    pub fn waits_since(&self) -> Option<Instant> {
        self.incoming.lock().waits_since
    }

    /// Ends what a tunnel has for the viewer, behind what it has given already.
    pub fn shut(&self) {
        self.outgoing.lock().is_shut = true;
    }

    /// Puts the stream among those that have something to do.
    pub fn queue(&self) {
        if !self.is_queued.swap(true, Ordering::AcqRel) {
            self.ready.queue.lock().push_back(self.id);
            let waker = self.ready.connection.lock().clone();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Incoming {
    fn join(&mut self) {
        if !self.small.is_empty() {
            self.pieces.push_back(Bytes::from(std::mem::take(&mut self.small)));
        }
    }

    fn wake(&mut self) {
        self.waits_since = None;
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.queue();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.queue();
    }
}

/// The body of a stream's request, as serving reads it.
pub struct StreamBody(pub Arc<Shared>);

impl Source for StreamBody {
    fn take_trailers(&mut self) -> FieldSection {
        std::mem::take(&mut self.0.incoming.lock().trailers)
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut incoming = self.0.incoming.lock();
        let is_first = !std::mem::replace(&mut incoming.is_wanted, true);
        if incoming.pieces.is_empty() {
            incoming.join();
        }
        let polled = match (incoming.pieces.pop_front(), incoming.end) {
            (Some(piece), _) => {
                incoming.taken += piece.len();
                Poll::Ready(Some(Ok(piece)))
            }
            (None, Some(Ok(()))) => Poll::Ready(None),
            (None, Some(Err(error))) => Poll::Ready(Some(Err(error))),
            (None, None) => {
                incoming.reader = Some(cx.waker().clone());
                incoming.waits_since.get_or_insert_with(Instant::now);
                Poll::Pending
            }
        };
        let has_news = is_first || incoming.taken > 0;
        drop(incoming);
        if has_news {
            self.0.queue();
        }
        polled
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let mut incoming = self.0.incoming.lock();
        incoming.is_dropped = true;
        incoming.join();
        let unread: usize = incoming.pieces.drain(..).map(|piece| piece.len()).sum();
        incoming.taken += unread;
        drop(incoming);
        self.0.queue();
    }
}

/// A stream as a connection of its own: the near side of a tunnel. Octets that the viewer sends are
/// given back to it as window once they are read here; those written here wait for its window.
pub struct StreamIo(StreamBody);

impl StreamIo {
    /// Reads from `body` what the viewer sends.
    pub const fn new(body: StreamBody) -> Self {
        Self(body)
    }

    const fn shared(&self) -> &Arc<Shared> {
        &self.0.0
    }
}

impl AsyncRead for StreamIo {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let shared = self.shared();
        let mut incoming = shared.incoming.lock();
        if incoming.pieces.is_empty() {
            incoming.join();
        }
        let Some(mut piece) = incoming.pieces.pop_front() else {
            let end = incoming.end;
            return match end {
                Some(Ok(())) => Poll::Ready(Ok(())),
                Some(Err(_)) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
                // Silence has the tunnel's limit, not that of a request's body.
                None => {
                    incoming.reader = Some(cx.waker().clone());
                    Poll::Pending
                }
            };
        };
        let taken = piece.split_to(piece.len().min(room.remaining()));
        room.put_slice(&taken);
        incoming.taken += taken.len();
        if !piece.is_empty() {
            incoming.pieces.push_front(piece);
        }
        drop(incoming);
        shared.queue();
        Poll::Ready(Ok(()))
    }
}

// Nothing here wakes the writer by its waker: the stream's own task is what carries the tunnel, and
// it is queued when there is room again.
impl AsyncWrite for StreamIo {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut outgoing = self.shared().outgoing.lock();
        if outgoing.is_shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if outgoing.len >= OUTGOING {
            outgoing.is_waited_for = true;
            return Poll::Pending;
        }
        let piece = Bytes::copy_from_slice(&octets[..octets.len().min(OUTGOING)]);
        let len = piece.len();
        outgoing.len += len;
        outgoing.pieces.push_back(piece);
        Poll::Ready(Ok(len))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.shared().shut();
        Poll::Ready(Ok(()))
    }
}

/// What a tunnel has for the viewer, as a body to be framed. Whoever carries the tunnel has it
/// framed when there is something.
pub struct TunnelBody(pub Arc<Shared>);

impl Source for TunnelBody {
    fn poll_piece(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let mut outgoing = self.0.outgoing.lock();
        let Some(piece) = outgoing.pieces.pop_front() else {
            return if outgoing.is_shut { Poll::Ready(None) } else { Poll::Pending };
        };
        outgoing.len -= piece.len();
        let is_waited_for = outgoing.len < OUTGOING && std::mem::take(&mut outgoing.is_waited_for);
        drop(outgoing);
        if is_waited_for {
            self.0.queue();
        }
        Poll::Ready(Some(Ok(piece)))
    }
}

/// What carries octets between a stream and an origin.
#[derive(Default)]
pub enum Tunnelling {
    /// This is a request with an answer.
    #[default]
    No,
    /// The origin has not agreed yet; what the viewer sends ahead waits.
    Asked(StreamIo),
    Open(Pin<Box<dyn Future<Output = TunnelEnd> + Send>>),
}

/// What a stream is doing.
pub enum Phase {
    Serving(Pin<Box<dyn Future<Output = ViewerResponse> + Send>>),
    Sending(Sending),
    /// Answered, while the viewer has not ended its request.
    Answered,
}

/// A body on its way to the viewer.
pub struct Sending {
    pub body: Body,
    /// Taken from the body, not yet framed.
    pub piece: Bytes,
    /// Octets still to be framed, if they are known.
    pub left: Option<u64>,
}

/// A stream, as its connection holds it.
pub struct Stream {
    pub shared: Arc<Shared>,
    pub waker: Waker,
    pub phase: Phase,
    pub is_head: bool,
    /// Octets the viewer takes now.
    pub window: i64,
    /// It is in the queue of those that have octets to send.
    pub is_sendable: bool,
    /// Since when only the viewer's window keeps it from sending.
    pub blocked_since: Option<Instant>,
    /// Octets the viewer may still send.
    pub receive: i64,
    /// Octets received and not yet given back to the connection's window.
    pub owed: usize,
    /// Octets taken and not yet given back to the stream's window.
    pub credit: usize,
    pub viewer_done: bool,
    pub got: u64,
    pub announced: Option<u64>,
    /// It waits for `100 Continue`.
    pub expects: bool,
    pub answered_at: Option<Instant>,
    /// It is a call of gRPC: its viewer may say nothing for as long as the origin bears with it.
    pub is_call: bool,
    pub tunnel: Tunnelling,
    /// What is written down when the stream is gone.
    pub finish: Option<Box<ExchangeRecord>>,
}

impl Stream {
    /// A stream that has just begun.
    pub fn new(shared: Arc<Shared>, phase: Phase, window: i64, receive: i64) -> Self {
        Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            phase,
            is_head: false,
            window,
            is_sendable: false,
            blocked_since: None,
            receive,
            owed: 0,
            credit: 0,
            viewer_done: true,
            got: 0,
            announced: None,
            expects: false,
            answered_at: None,
            is_call: false,
            tunnel: Tunnelling::No,
            finish: None,
        }
    }

    /// Says whether its octets are those of a tunnel: the limits of bodies are none of theirs.
    pub const fn is_tunnel(&self) -> bool {
        !matches!(self.tunnel, Tunnelling::No)
    }

    /// Says whether octets still go between the viewer and an origin.
    pub const fn is_open(&self) -> bool {
        matches!(self.tunnel, Tunnelling::Open(_))
    }
}

// However a stream ends, the reader of its body is told; the first end counts.
impl Drop for Stream {
    fn drop(&mut self) {
        self.shared.end(Err(BodyError::Truncated));
    }
}

/// Octets, and time, for which the rest of a body is read that serving does not want: common
/// clients throw an answer away that is followed by a reset while they still send.
pub const WASTE: u64 = 1 << 20;
pub const WASTE_TIME: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn stream() -> (Arc<Shared>, StreamIo) {
        let shared = Shared::new(1, Arc::default());
        (Arc::clone(&shared), StreamIo::new(StreamBody(shared)))
    }

    fn read(io: &mut StreamIo, len: usize) -> Poll<Option<Vec<u8>>> {
        let (mut octets, mut cx) = (vec![0; len], Context::from_waker(Waker::noop()));
        let mut room = ReadBuf::new(&mut octets);
        let read = Pin::new(io).poll_read(&mut cx, &mut room);
        read.map(|read| read.ok().map(|()| room.filled().to_vec()))
    }

    fn write(io: &mut StreamIo, len: usize) -> Poll<Option<usize>> {
        let mut cx = Context::from_waker(Waker::noop());
        Pin::new(io).poll_write(&mut cx, &vec![7; len]).map(Result::ok)
    }

    #[test]
    fn what_a_viewer_sends_is_its_window_again_once_it_is_read() {
        let (shared, mut io) = stream();
        assert!(shared.push(b"hello") && shared.push(&[9; SMALL]));
        assert_eq!(shared.news().taken, 0);
        assert_eq!(read(&mut io, 3), Poll::Ready(Some(b"hel".to_vec())));
        assert_eq!(read(&mut io, 3), Poll::Ready(Some(b"lo".to_vec())));
        assert_eq!(shared.news().taken, 5);
        assert_eq!(read(&mut io, SMALL), Poll::Ready(Some(vec![9; SMALL])));
        assert_eq!(read(&mut io, 3), Poll::Pending);
        assert!(shared.waits_since().is_none(), "a tunnel may be silent for longer than a body");
        shared.end(Ok(()));
        assert_eq!(read(&mut io, 3), Poll::Ready(Some(vec![])));
        shared.push(b"behind the end");
        drop(io);
        assert_eq!(shared.news().taken, SMALL);
    }

    #[test]
    fn a_stream_that_is_reset_reads_as_one() {
        let (shared, mut io) = stream();
        shared.push(b"last");
        shared.end(Err(BodyError::Truncated));
        assert_eq!(read(&mut io, 9), Poll::Ready(Some(b"last".to_vec())));
        assert_eq!(read(&mut io, 9), Poll::Ready(None));
    }

    #[test]
    fn a_tunnel_that_found_no_room_is_worked_on_once_there_is_some() {
        let (shared, mut io) = stream();
        let mut body = TunnelBody(Arc::clone(&shared));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(body.poll_piece(&mut cx).is_pending());
        assert_eq!(write(&mut io, 1), Poll::Ready(Some(1)));
        assert_eq!(write(&mut io, 2 * OUTGOING), Poll::Ready(Some(OUTGOING)));
        assert_eq!(write(&mut io, 1), Poll::Pending);
        let mut piece = || match body.poll_piece(&mut cx) {
            Poll::Ready(Some(Ok(piece))) => piece.len(),
            _ => 0,
        };
        assert_eq!(piece(), 1);
        assert_eq!(shared.ready.pop(), None, "it is still full");
        assert_eq!(piece(), OUTGOING);
        assert_eq!(shared.ready.pop(), Some(1));
        shared.shut();
        assert_eq!(write(&mut io, 1), Poll::Ready(None));
        assert!(matches!(body.poll_piece(&mut cx), Poll::Ready(None)));
    }
}
