//! Bodies that the kernel sends by itself, from where they lie into a socket in clear text.

use std::io;
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::body::arena::Place;
use crate::semantics::ranges::Span;

/// At most this much at a time, so that one fast viewer does not keep a core to itself.
const TURN: u64 = 1 << 20;

/// Sends a head and says that more follows, so that both can share a segment.
pub async fn send_head(tcp: &TcpStream, head: &[u8], stall: Duration) -> io::Result<()> {
    let mut rest = head;
    while !rest.is_empty() {
        let sent = when_writable(tcp, stall, || Ok(rustix::net::send(tcp, rest, SendFlags::MORE | SendFlags::NOSIGNAL)?)).await?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Sends a part of what lies at a place. Whoever calls holds the octets, so that the place stays theirs.
///
/// TCP_CORK and TCP_NOTSENT_LOWAT were measured and cost more than they save (tests/bench/README.md).
pub async fn send_file(tcp: &TcpStream, place: &Place, span: Span, stall: Duration) -> io::Result<()> {
    let (mut at, end) = (place.at + span.start, place.at + span.end);
    while at < end {
        let len = usize::try_from((end - at).min(TURN)).unwrap_or(usize::MAX);
        let mut offset = at;
        let sent = when_writable(tcp, stall, || Ok(rustix::fs::sendfile(tcp, place.arena.file(), Some(&mut offset), len)?)).await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += sent as u64;
        if at < end {
            tokio::task::consume_budget().await;
        }
    }
    Ok(())
}

// Does it at once if the socket takes it, and waits for the viewer otherwise, for `stall` at most.
async fn when_writable(tcp: &TcpStream, stall: Duration, mut act: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match tcp.try_io(Interest::WRITABLE, &mut act) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        timeout(stall, tcp.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}
