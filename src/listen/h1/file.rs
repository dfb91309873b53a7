//! Bodies that the kernel sends by itself, from where they lie into a socket in clear text.

use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::SendFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::message::stored::Stored;
use crate::semantics::ranges::Span;

/// At most this much at a time, so that one fast viewer does not keep a core to itself.
const TURN: u64 = 1 << 20;
/// How far apart it is looked whether a file's octets are in memory.
const LOOK: usize = 16 << 10;
/// How much is looked at, and then sent.
const LOOKED: u64 = 256 << 10;

/// Sends a head and says that more follows, so that both can share a segment.
pub async fn send_head(tcp: &TcpStream, head: &[u8], stall: Duration) -> io::Result<()> {
    let mut rest = head;
    while !rest.is_empty() {
        let sent = when_writable(tcp, stall, || {
            Ok(rustix::net::send(tcp, rest, SendFlags::MORE | SendFlags::NOSIGNAL)?)
        })
        .await?;
        rest = &rest[sent..];
    }
    Ok(())
}

/// Sends a part of a stored body from where it lies, and counts what was taken in `total`. The
/// caller holds the body, so the range of the file stays that body's until this returns.
///
/// TCP_CORK and TCP_NOTSENT_LOWAT were measured and cost more than they save
/// (tests/bench/README.md).
pub async fn send_file(
    tcp: &TcpStream,
    stored: &Arc<Stored>,
    span: Span,
    stall: Duration,
    total: &mut u64,
) -> io::Result<()> {
    let (file, start) = stored.content.sendfile_range(span).ok_or(io::ErrorKind::Unsupported)?;
    let may_wait = stored.content.is_filed();
    let (mut at, end) = (start + span.start, start + span.end);
    while at < end {
        let len = usize::try_from((end - at).min(if may_wait { LOOKED } else { TURN }))
            .unwrap_or(usize::MAX);
        // Looked at anew each time: while a slow viewer is waited for, memory is used for something
        // else.
        if may_wait && !is_at_hand(file, at, at + len as u64) {
            read_ahead(stored, span, at..at + len as u64).await?;
        }
        let mut offset = at;
        let sent = when_writable(tcp, stall, || {
            Ok(rustix::fs::sendfile(tcp, file, Some(&mut offset), len)?)
        })
        .await?;
        if sent == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        at += sent as u64;
        *total += sent as u64;
        if at < end {
            tokio::task::consume_budget().await;
        }
    }
    Ok(())
}

// Looks, without waiting, whether the kernel has these octets of a file in memory: a core must not
// wait for a disk. It looks at one octet in each of its read-ahead windows, and at the last.
fn is_at_hand(file: BorrowedFd<'_>, from: u64, to: u64) -> bool {
    let mut octet = [0u8; 1];
    let mut is_there = |at: u64| {
        let buffers = &mut [io::IoSliceMut::new(&mut octet)];
        matches!(rustix::io::preadv2(file, buffers, at, rustix::io::ReadWriteFlags::NOWAIT), Ok(1))
    };
    (from..to).step_by(LOOK).all(&mut is_there) && is_there(to - 1)
}

// Brings octets of a file into memory, on a thread that may wait.
async fn read_ahead(
    stored: &Arc<Stored>,
    span: Span,
    octets: std::ops::Range<u64>,
) -> io::Result<()> {
    let stored = Arc::clone(stored);
    let reading = tokio::task::spawn_blocking(move || {
        let (file, _) = stored.content.sendfile_range(span).ok_or(io::ErrorKind::Unsupported)?;
        let mut buffer = vec![0; (octets.end - octets.start).min(TURN) as usize];
        let mut at = octets.start;
        while at < octets.end {
            match rustix::io::pread(file, &mut buffer, at)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => at += read as u64,
            }
        }
        Ok(())
    });
    reading.await.map_err(io::Error::other)?
}

// Does it at once if the socket takes it, and waits for the viewer otherwise, for `stall` at most.
async fn when_writable(
    tcp: &TcpStream,
    stall: Duration,
    mut act: impl FnMut() -> io::Result<usize>,
) -> io::Result<usize> {
    loop {
        match tcp.try_io(Interest::WRITABLE, &mut act) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            done => return done,
        }
        timeout(stall, tcp.writable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
    }
}
