//! What a connection becomes once both sides have agreed on another protocol (RFC 9110 §15.2.2):
//! octets both ways, until either side ends.
//!
//! One buffer for each way paces the side that sends: it is read again once what it sent has left,
//! and there is none while nothing is sent. Frames are followed, not read, so that a WebSocket
//! which ends otherwise than by its two sides is told so where a frame may stand.

use std::any::Any;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep};

use crate::semantics::websocket::{CloseCode, FrameTracker, close, masked_close};

/// Octets of each way that are held at most.
const BUFFER: usize = 16 << 10;
/// How long a side that was told of the end may take to end its own.
const PARTING: Duration = Duration::from_secs(1);
/// Octets that are read and dropped meanwhile.
const WASTE: usize = 1 << 20;

/// A connection whose octets mean nothing here.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The far end of a tunnel.
pub struct Tunnel {
    pub far: Box<dyn Stream>,
    /// What the far end sent behind its head.
    pub early: Bytes,
    /// What is given back when the tunnel ends: places under limits.
    pub held: Vec<Box<dyn Any + Send>>,
}

/// How a tunnel ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TunnelEnd {
    /// Both sides ended their own direction.
    Whole,
    /// The near side broke off.
    Near,
    /// The far side broke off.
    Far,
    /// The same, and the near side was told so by a Close frame, with an end in order behind it.
    FarTold,
    /// No octet came for as long as may be.
    Idle,
    /// The edge is on its way out.
    Left,
}

/// Octets that were carried each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub to_far: u64,
    pub to_near: u64,
}

/// What may end a tunnel beside its two sides.
pub struct Terms<L> {
    /// How long no octet may come.
    pub idle: Duration,
    /// Ready once what is still open has to end.
    pub leaving: L,
    /// Drawn by chance, for one frame to the far side (RFC 6455 §5.3).
    pub mask: [u8; 4],
}

/// Carries octets both ways until both sides have ended, one breaks off, or the terms end it.
/// `ahead` are those that the near side has sent already.
pub async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    near: &mut S,
    ahead: Vec<u8>,
    tunnel: &mut Tunnel,
    terms: Terms<impl Future<Output = ()>>,
    carried: &mut Carried,
) -> TunnelEnd {
    let Terms { idle, leaving, mask } = terms;
    let mut leaving = pin!(leaving);
    let mut timer = pin!(tokio::time::sleep(idle));
    let early = std::mem::take(&mut tunnel.early).to_vec();
    let mut ways = Ways { up: Way::new(ahead), down: Way::new(early), parting: None };
    let far = &mut tunnel.far;
    std::future::poll_fn(|cx| {
        if ways.parting.is_none() && leaving.as_mut().poll(cx).is_ready() {
            ways.leave(mask, timer.as_mut());
        }
        let before = (ways.up.taken, ways.down.taken);
        let end = ways.poll(near, far, timer.as_mut(), cx);
        (carried.to_far, carried.to_near) = (ways.up.taken, ways.down.taken);
        if end.is_ready() {
            return end;
        }
        let parting = ways.parting;
        if parting.is_none() && before != (ways.up.taken, ways.down.taken) {
            timer.as_mut().reset(Instant::now() + idle);
        }
        timer.as_mut().poll(cx).map(|()| parting.unwrap_or(TunnelEnd::Idle))
    })
    .await
}

/// Both directions.
struct Ways {
    /// From the near side to the far one.
    up: Way,
    down: Way,
    /// The end that has begun, while the sides may still hear of it.
    parting: Option<TunnelEnd>,
}

impl Ways {
    fn poll<N, F>(
        &mut self,
        near: &mut N,
        far: &mut F,
        timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<TunnelEnd>
    where
        N: AsyncRead + AsyncWrite + Unpin,
        F: AsyncRead + AsyncWrite + Unpin,
    {
        if let Some(end) = self.parting {
            return self.poll_parting(near, far, end, cx);
        }
        self.down.at_end = if self.may_say() { AtEnd::Say } else { AtEnd::PassOn };
        // What the far side sent before it was gone comes before word of that.
        let came = self.down.poll(far, near, cx);
        if self.down.at_end == AtEnd::Said {
            return self.far_is_gone(near, far, timer, cx);
        }
        match (self.up.poll(near, far, cx), came) {
            (Poll::Ready(Err(Side::From)), _) | (_, Poll::Ready(Err(Side::To))) => {
                Poll::Ready(TunnelEnd::Near)
            }
            (_, Poll::Ready(Err(Side::From))) => Poll::Ready(TunnelEnd::Far),
            (Poll::Ready(Err(Side::To)), _) => {
                if self.may_say() && self.down.part(&close(CloseCode::InternalError)) {
                    self.far_is_gone(near, far, timer, cx)
                } else {
                    Poll::Ready(TunnelEnd::Far)
                }
            }
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => Poll::Ready(TunnelEnd::Whole),
            _ => Poll::Pending,
        }
    }

    // The near side's Close frame is composed.
    fn far_is_gone<N, F>(
        &mut self,
        near: &mut N,
        far: &mut F,
        timer: Pin<&mut Sleep>,
        cx: &mut Context<'_>,
    ) -> Poll<TunnelEnd>
    where
        N: AsyncRead + AsyncWrite + Unpin,
        F: AsyncRead + AsyncWrite + Unpin,
    {
        self.up.abandon();
        self.part(TunnelEnd::FarTold, timer);
        self.poll_parting(near, far, TunnelEnd::FarTold, cx)
    }

    fn poll_parting<N, F>(
        &mut self,
        near: &mut N,
        far: &mut F,
        end: TunnelEnd,
        cx: &mut Context<'_>,
    ) -> Poll<TunnelEnd>
    where
        N: AsyncRead + AsyncWrite + Unpin,
        F: AsyncRead + AsyncWrite + Unpin,
    {
        // A side that breaks off now has only not waited for the end.
        let came = self.down.poll(far, near, cx);
        let sent = self.up.poll(near, far, cx);
        if came.is_ready() && sent.is_ready() { Poll::Ready(end) } else { Poll::Pending }
    }

    // Says whether the end of the far side would come as a surprise to the near one.
    fn may_say(&self) -> bool {
        self.up.input == Input::Carried
            && !self.up.frames.has_closed()
            && !self.down.frames.has_closed()
    }

    fn leave(&mut self, mask: [u8; 4], timer: Pin<&mut Sleep>) {
        self.up.part(&masked_close(CloseCode::GoingAway, mask));
        self.down.part(&close(CloseCode::GoingAway));
        self.part(TunnelEnd::Left, timer);
    }

    fn part(&mut self, end: TunnelEnd, timer: Pin<&mut Sleep>) {
        self.parting = Some(end);
        timer.reset(Instant::now() + PARTING);
    }
}

/// Which side of a way broke off.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    From,
    To,
}

/// What a way still does with what comes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Input {
    Carried,
    Ended,
    /// It is read for a while, so that the sender hears our last words before it hears a reset.
    Dropped,
}

/// What the end of the side that sends means.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AtEnd {
    /// The same for the other one; the other direction goes on.
    PassOn,
    /// The other one is to hear that it came too early (RFC 6455 §7.1.5).
    Say,
    Said,
}

/// One direction.
struct Way {
    buffer: Vec<u8>,
    at: usize,
    /// Octets that the other side has taken.
    taken: u64,
    /// Where all that was read so far ends.
    frames: FrameTracker,
    input: Input,
    at_end: AtEnd,
    is_shut: bool,
    dropped: usize,
}

impl Way {
    fn new(ahead: Vec<u8>) -> Self {
        let mut frames = FrameTracker::default();
        frames.follow(&ahead);
        Self {
            buffer: ahead,
            at: 0,
            taken: 0,
            frames,
            input: Input::Carried,
            at_end: AtEnd::PassOn,
            is_shut: false,
            dropped: 0,
        }
    }

    // Ready once its end has been passed on.
    fn poll<R: AsyncRead + Unpin, W: AsyncWrite + Unpin>(
        &mut self,
        from: &mut R,
        to: &mut W,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), Side>> {
        loop {
            while self.at < self.buffer.len() {
                let wrote = Pin::new(&mut *to).poll_write(cx, &self.buffer[self.at..]);
                match ready!(wrote) {
                    Ok(wrote @ 1..) => {
                        self.at += wrote;
                        self.taken += wrote as u64;
                    }
                    Ok(_) | Err(_) => return Poll::Ready(Err(Side::To)),
                }
            }
            if self.is_shut {
                return self.poll_dropping(from, cx).map(Ok);
            }
            if self.input != Input::Carried {
                // The other direction goes on (RFC 6455 §7.1.1: either side may close first).
                if ready!(Pin::new(&mut *to).poll_shutdown(cx)).is_err() {
                    return Poll::Ready(Err(Side::To));
                }
                self.is_shut = true;
                (self.buffer, self.at) = (Vec::new(), 0);
                continue;
            }
            // What was written must not wait in a layer below while nothing more comes.
            if !self.buffer.is_empty() {
                if Pin::new(&mut *to).poll_flush(cx).map_err(|_| Side::To)?.is_pending() {
                    return Poll::Pending;
                }
                self.at = 0;
                self.buffer.clear();
            }
            match ready!(self.fill(from, cx)) {
                Ok(1..) => self.frames.follow(&self.buffer),
                end => {
                    if let Err(side) = self.end(end.is_ok()) {
                        return Poll::Ready(Err(side));
                    }
                }
            }
        }
    }

    // The side that sends has ended, in order or not. Behind a Close frame nothing is missing: many
    // then leave without a word of TLS.
    fn end(&mut self, is_orderly: bool) -> Result<(), Side> {
        if !self.frames.has_closed() {
            if self.at_end == AtEnd::Say {
                // In the midst of a frame nothing can be said.
                if !self.part(&close(CloseCode::InternalError)) {
                    return Err(Side::From);
                }
                self.at_end = AtEnd::Said;
            } else if !is_orderly {
                return Err(Side::From);
            }
        }
        self.input = Input::Ended;
        Ok(())
    }

    // Nothing more is carried. True if a Close frame may stand here, and does.
    fn part(&mut self, words: &[u8]) -> bool {
        if self.input != Input::Carried {
            return false;
        }
        self.input = Input::Dropped;
        let may_stand = self.frames.takes_close();
        if may_stand {
            self.buffer.extend_from_slice(words);
        }
        may_stand
    }

    // Whoever would take it is gone.
    fn abandon(&mut self) {
        (self.buffer, self.at) = (Vec::new(), 0);
        self.input = Input::Dropped;
        self.is_shut = true;
    }

    fn poll_dropping<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        while self.input == Input::Dropped && self.dropped < WASTE {
            match ready!(self.fill(from, cx)) {
                Ok(len @ 1..) => self.dropped += len,
                Ok(_) | Err(_) => self.input = Input::Ended,
            }
            self.buffer.clear();
        }
        Poll::Ready(())
    }

    // A tunnel in which nothing moves holds no buffer.
    fn fill<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.reserve(BUFFER);
        let read = pin!(from.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() {
            self.buffer = Vec::new();
        }
        read
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;
    use tokio::io::{AsyncWriteExt as _, DuplexStream, duplex};

    fn tunnel(far: impl Stream + 'static, early: &'static [u8]) -> Tunnel {
        Tunnel { far: Box::new(far), early: Bytes::from_static(early), held: Vec::new() }
    }

    async fn run(
        near: &mut (impl AsyncRead + AsyncWrite + Unpin),
        mut tunnel: Tunnel,
    ) -> (TunnelEnd, Carried) {
        let mut carried = Carried::default();
        let end =
            carry(near, b"ahead ".to_vec(), &mut tunnel, terms(pending()), &mut carried).await;
        (end, carried)
    }

    fn terms<L>(leaving: L) -> Terms<L> {
        Terms { idle: Duration::from_secs(600), leaving, mask: [1, 2, 3, 4] }
    }

    #[tokio::test(start_paused = true)]
    async fn octets_go_both_ways_and_each_side_ends_its_own() {
        let (mut viewer, mut near) = duplex(8);
        let (far, mut origin) = duplex(8);
        let running = tokio::spawn(async move { run(&mut near, tunnel(far, b"early ")).await });
        let origin_side = tokio::spawn(async move {
            let mut got = Vec::new();
            origin.read_to_end(&mut got).await.unwrap();
            // The viewer has ended; the origin still answers.
            origin.write_all(b"last words").await.unwrap();
            drop(origin);
            got
        });
        viewer.write_all(b"of the viewer").await.unwrap();
        viewer.shutdown().await.unwrap();
        let mut got = Vec::new();
        viewer.read_to_end(&mut got).await.unwrap();
        assert_eq!(origin_side.await.unwrap(), b"ahead of the viewer");
        assert_eq!(got, b"early last words");
        assert_eq!(running.await.unwrap(), (TunnelEnd::Whole, Carried { to_far: 19, to_near: 16 }));
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_side_holds_the_other_back() {
        let (mut viewer, mut near) = duplex(1 << 10);
        let (far, origin) = duplex(1 << 10);
        let running = tokio::spawn(async move { run(&mut near, tunnel(far, b"")).await });
        // The origin takes nothing: what fits into pipes and one buffer leaves, and no more.
        let mut sent = 0;
        let pieces = [0u8; 1 << 10];
        while let Ok(Ok(n)) =
            tokio::time::timeout(Duration::from_secs(1), viewer.write(&pieces)).await
        {
            sent += n;
        }
        assert!(sent <= BUFFER + (3 << 10), "{sent}");
        drop(origin);
        assert_eq!(running.await.unwrap().0, TunnelEnd::FarTold);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_ends_it() {
        let (_viewer, mut near) = duplex(8);
        let (far, mut origin) = duplex(64);
        let began = Instant::now();
        let running = tokio::spawn(async move { run(&mut near, tunnel(far, b"")).await });
        tokio::time::sleep(Duration::from_secs(500)).await;
        origin.write_all(b"x").await.unwrap();
        assert_eq!(running.await.unwrap().0, TunnelEnd::Idle);
        assert_eq!(began.elapsed().as_secs(), 1100);
    }

    // A WebSocket in which `sent` and `came` have gone each way, on terms of the test's own.
    async fn between(
        sent: &[u8],
        came: &[u8],
        leaving: impl Future<Output = ()> + Send + 'static,
    ) -> (DuplexStream, DuplexStream, tokio::task::JoinHandle<TunnelEnd>) {
        let (mut viewer, mut near) = duplex(1 << 10);
        let (far, mut origin) = duplex(1 << 10);
        let running = tokio::spawn(async move {
            let (mut tunnel, mut carried) = (tunnel(far, b""), Carried::default());
            carry(&mut near, Vec::new(), &mut tunnel, terms(leaving), &mut carried).await
        });
        viewer.write_all(sent).await.unwrap();
        origin.write_all(came).await.unwrap();
        let mut room = [0; 64];
        origin.read_exact(&mut room[..sent.len()]).await.unwrap();
        viewer.read_exact(&mut room[..came.len()]).await.unwrap();
        (viewer, origin, running)
    }

    async fn rest(mut side: DuplexStream) -> Vec<u8> {
        let mut rest = Vec::new();
        side.read_to_end(&mut rest).await.unwrap();
        rest
    }

    fn soon() -> impl Future<Output = ()> + Send + 'static {
        tokio::time::sleep(Duration::from_secs(5))
    }

    #[tokio::test(start_paused = true)]
    async fn an_edge_that_leaves_says_so_to_both_sides() {
        let (viewer, origin, running) = between(b"\x81\x82abcd..", b"\x81\x02hi", soon()).await;
        assert_eq!(rest(origin).await, masked_close(CloseCode::GoingAway, [1, 2, 3, 4]));
        assert_eq!(rest(viewer).await, close(CloseCode::GoingAway));
        assert_eq!(running.await.unwrap(), TunnelEnd::Left);
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_said_within_a_frame_or_behind_a_close() {
        let (viewer, origin, running) = between(b"\x81", b"\x88\x00", soon()).await;
        assert_eq!((rest(origin).await, rest(viewer).await), (vec![], vec![]));
        assert_eq!(running.await.unwrap(), TunnelEnd::Left);
    }

    #[tokio::test(start_paused = true)]
    async fn sides_that_do_not_answer_are_not_waited_for() {
        let (viewer, origin, running) = between(b"", b"", soon()).await;
        let began = Instant::now();
        assert_eq!(running.await.unwrap(), TunnelEnd::Left);
        assert_eq!(began.elapsed().as_secs(), 6);
        drop((viewer, origin));
    }

    #[tokio::test(start_paused = true)]
    async fn an_origin_that_is_gone_is_said_to_be() {
        let (viewer, origin, running) = between(b"", b"\x81\x02hi", pending()).await;
        drop(origin);
        assert_eq!(rest(viewer).await, close(CloseCode::InternalError));
        assert_eq!(running.await.unwrap(), TunnelEnd::FarTold);

        let (viewer, origin, running) = between(b"", b"\x81\x05hi", pending()).await;
        drop(origin);
        assert_eq!(running.await.unwrap(), TunnelEnd::Far, "in the midst of a frame");
        assert_eq!(rest(viewer).await, b"");
    }

    #[tokio::test(start_paused = true)]
    async fn an_end_behind_a_close_is_no_surprise() {
        for (sent, came) in [(&b"\x88\x80abcd"[..], &b""[..]), (&b""[..], &b"\x88\x00"[..])] {
            let (viewer, origin, running) = between(sent, came, pending()).await;
            drop(origin);
            assert_eq!(rest(viewer).await, b"");
            assert_eq!(running.await.unwrap(), TunnelEnd::Whole);
        }
        // Both at once.
        let (viewer, mut origin, running) = between(b"", b"", pending()).await;
        origin.write_all(b"\x88\x00").await.unwrap();
        drop(origin);
        assert_eq!(rest(viewer).await, b"\x88\x00");
        assert_eq!(running.await.unwrap(), TunnelEnd::Whole);
    }
}
