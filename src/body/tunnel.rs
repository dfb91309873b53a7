//! What a connection becomes once both sides have agreed on another protocol (RFC 9110 §15.2.2):
//! octets both ways, until either side ends.
//!
//! One buffer for each way paces the side that sends: it is read again once what it sent has left.

use std::any::Any;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// Octets of each way that are held at most.
const BUFFER: usize = 16 << 10;

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
    /// No octet came for as long as may be.
    Idle,
}

/// Octets that were carried each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub to_far: u64,
    pub to_near: u64,
}

/// Carries octets both ways until both sides have ended, one breaks off, or none comes for `idle`.
/// `ahead` are those that the near side has sent already.
pub async fn carry<S: AsyncRead + AsyncWrite + Unpin>(
    near: &mut S,
    ahead: &[u8],
    tunnel: &mut Tunnel,
    idle: Duration,
    carried: &mut Carried,
) -> TunnelEnd {
    let (mut up, mut down) = (Way::new(ahead), Way::new(&tunnel.early));
    let mut timer = std::pin::pin!(tokio::time::sleep(idle));
    std::future::poll_fn(|cx| {
        let before = (up.taken, down.taken);
        let far = &mut tunnel.far;
        let sent = up.poll(near, far, cx).map_err(|side| side.of(TunnelEnd::Near, TunnelEnd::Far));
        let came =
            down.poll(far, near, cx).map_err(|side| side.of(TunnelEnd::Far, TunnelEnd::Near));
        (carried.to_far, carried.to_near) = (up.taken, down.taken);
        match (sent, came) {
            (Poll::Ready(Err(end)), _) | (_, Poll::Ready(Err(end))) => return Poll::Ready(end),
            (Poll::Ready(Ok(())), Poll::Ready(Ok(()))) => return Poll::Ready(TunnelEnd::Whole),
            _ => {}
        }
        if before != (up.taken, down.taken) {
            timer.as_mut().reset(Instant::now() + idle);
        }
        timer.as_mut().poll(cx).map(|()| TunnelEnd::Idle)
    })
    .await
}

/// Which side of a way broke off.
enum Side {
    From,
    To,
}

impl Side {
    const fn of(self, from: TunnelEnd, to: TunnelEnd) -> TunnelEnd {
        match self {
            Self::From => from,
            Self::To => to,
        }
    }
}

/// One direction.
struct Way {
    buffer: Vec<u8>,
    at: usize,
    /// Octets that the other side has taken.
    taken: u64,
    has_ended: bool,
    is_shut: bool,
}

impl Way {
    fn new(ahead: &[u8]) -> Self {
        Self { buffer: ahead.to_vec(), at: 0, taken: 0, has_ended: false, is_shut: false }
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
                return Poll::Ready(Ok(()));
            }
            if self.has_ended {
                // The other direction goes on (RFC 6455 §7.1.1: either side may close first).
                self.is_shut = ready!(Pin::new(&mut *to).poll_shutdown(cx)).is_ok();
                return Poll::Ready(if self.is_shut { Ok(()) } else { Err(Side::To) });
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
                Ok(0) => self.has_ended = true,
                Ok(_) => {}
                Err(_) => return Poll::Ready(Err(Side::From)),
            }
        }
    }

    fn fill<R: AsyncRead + Unpin>(
        &mut self,
        from: &mut R,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.resize(BUFFER, 0);
        let mut room = ReadBuf::new(&mut self.buffer);
        let read = Pin::new(from).poll_read(cx, &mut room);
        let len = room.filled().len();
        self.buffer.truncate(len);
        read.map_ok(|()| len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    fn tunnel(far: impl Stream + 'static, early: &'static [u8]) -> Tunnel {
        Tunnel { far: Box::new(far), early: Bytes::from_static(early), held: Vec::new() }
    }

    async fn run(
        near: &mut (impl AsyncRead + AsyncWrite + Unpin),
        mut tunnel: Tunnel,
    ) -> (TunnelEnd, Carried) {
        let mut carried = Carried::default();
        let idle = Duration::from_secs(600);
        let end = carry(near, b"ahead ", &mut tunnel, idle, &mut carried).await;
        (end, carried)
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
        assert_eq!(running.await.unwrap().0, TunnelEnd::Far);
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
}
