//! Writing HTTP/1 responses: heads from types, one framing each, and a deadline on every wait for a
//! viewer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncWrite, AsyncWriteExt, Interest};
use tokio::net::TcpStream;

use super::head::After;
use crate::base::digits::decimal;
use crate::body::BodyError;
use crate::deliver::sink::Http1Lines;
use crate::listen::message;
use crate::message::connection::Version;
use crate::message::refusal::Rule;
use crate::message::response::ViewerResponse;
use crate::message::verdict::Reason;
use crate::semantics::fields::FieldSection;
use crate::semantics::time::Timestamp;

/// Pieces up to here are copied beside what is composed: cheaper than a call of their own.
const SMALL: usize = 8 << 10;

/// How sending went, as far as it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    /// Octets of body.
    pub bytes: u64,
    /// The Content-Length that was announced.
    pub length: Option<u64>,
    pub end: SendEnd,
}

impl Sent {
    /// Nothing, yet.
    pub const NOTHING: Self = Self { bytes: 0, length: None, end: SendEnd::Broken };
}

/// Whether the connection may go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendEnd {
    Whole,
    /// Whole, but the end was said by closing.
    WholeByClose,
    /// Broke off, because the viewer is gone or takes nothing.
    Broken,
    /// Broke off, because the body did: the viewer must see that.
    Failed,
}

impl SendEnd {
    /// Says whether the viewer got less than it was to get.
    pub const fn is_cut(self) -> bool {
        matches!(self, Self::Broken | Self::Failed)
    }
}

/// Status line: the reason phrase is for people only.
#[inline]
pub fn write_status(out: &mut Vec<u8>, status: u16) {
    // Most are this one, and what is known beforehand is a few moves.
    if status == 200 {
        return out.extend_from_slice(b"HTTP/1.1 200 OK\r\n");
    }
    write_other_status(out, status);
}

fn write_other_status(out: &mut Vec<u8>, status: u16) {
    out.extend_from_slice(b"HTTP/1.1 ");
    decimal(out, u64::from(status));
    out.push(b' ');
    let reason = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|s| s.canonical_reason())
        .unwrap_or("Unknown");
    out.extend_from_slice(reason.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes an interim response, whole.
pub fn write_interim(out: &mut Vec<u8>, (status, fields): &(u16, FieldSection)) {
    write_status(out, *status);
    fields.write_lines(out);
    out.extend_from_slice(b"\r\n");
}

/// Says what happens to the connection, where that is not the version's default, and ends the head.
pub fn write_end(out: &mut Vec<u8>, version: Version, after: After) {
    match (version, after) {
        (_, After::Close) => out.extend_from_slice(b"Connection: close\r\n"),
        (Version::Http10, After::KeepAlive) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
        (Version::Http11 | Version::Http2 | Version::Http3, After::KeepAlive) => {}
    }
    out.extend_from_slice(b"\r\n");
}

enum Delimited {
    Length(u64),
    Chunked,
    Close,
    NoBody,
}

/// A way to a viewer that may tell when the viewer is gone for good.
pub trait Watched {
    /// The socket, where it can be looked at while nothing is written.
    fn tcp(&self) -> Option<&TcpStream>;
}

impl Watched for TcpStream {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self)
    }
}

impl Watched for tokio_rustls::server::TlsStream<TcpStream> {
    fn tcp(&self) -> Option<&TcpStream> {
        Some(self.get_ref().0)
    }
}

/// Returns once the viewer has reset the connection. A viewer that has only ended its own side
/// still reads, and what it has sent meanwhile stays where it is.
pub async fn reset(io: &impl Watched) {
    match io.tcp() {
        Some(tcp) => drop(tcp.ready(Interest::ERROR).await),
        None => std::future::pending().await,
    }
}

/// Sends a response: head, then body piece by piece. `out` is a buffer to compose in.
pub async fn send<W: AsyncWrite + Watched + Unpin>(
    io: &mut W,
    out: &mut Vec<u8>,
    to: To,
    response: &mut ViewerResponse,
    sent: &mut Sent,
) {
    let delimited = write_head(out, to, response);
    sent.length = match delimited {
        Delimited::Length(len) => Some(len),
        Delimited::NoBody => response.said_length(),
        Delimited::Chunked | Delimited::Close => None,
    };
    if matches!(delimited, Delimited::NoBody) {
        if flush_out(io, out, to.stall).await.is_ok() {
            sent.end = SendEnd::Whole;
        }
        return;
    }
    let is_copied = copy_small(out, &delimited, &response.body, &mut sent.bytes);
    loop {
        if is_copied {
            break;
        }
        // What is composed goes out before we wait for more.
        let next = poll_once(&mut response.body);
        let piece = match next {
            Poll::Ready(piece) => piece,
            Poll::Pending => {
                if flush_out(io, out, to.stall).await.is_err() {
                    return;
                }
                // A viewer that has reset takes no more octets: the body, and with it a place at
                // the origin, is let go of.
                tokio::select! {
                    biased;
                    piece = response.body.piece() => piece,
                    () = reset(&*io) => return,
                }
            }
        };
        let is_last = piece.is_none();
        if is_last && matches!(delimited, Delimited::Chunked) {
            end_chunks(out, to.takes_trailers, &mut response.body);
            break;
        }
        if let Err(end) = send_piece(io, out, to.stall, &delimited, piece, &mut sent.bytes).await {
            sent.end = end;
            return;
        }
        if is_last {
            break;
        }
    }
    let is_short = matches!(delimited, Delimited::Length(announced) if announced != sent.bytes);
    let is_out = flush_out(io, out, to.stall).await.is_ok();
    sent.end = match delimited {
        _ if is_short => SendEnd::Failed,
        _ if !is_out => SendEnd::Broken,
        Delimited::Close => SendEnd::WholeByClose,
        _ => SendEnd::Whole,
    };
}

// A short body that is all there is copied beside its head from where it lies: true if so.
fn copy_small(
    out: &mut Vec<u8>,
    delimited: &Delimited,
    body: &crate::body::Body,
    total: &mut u64,
) -> bool {
    let (Delimited::Length(len), Some(octets)) = (delimited, body.at_hand()) else { return false };
    if octets.len() as u64 != *len || out.len() + octets.len() > SMALL {
        return false;
    }
    out.extend_from_slice(octets);
    *total += *len;
    true
}

// One look without waiting; the waker is thrown away, because a pending body is polled again at
// once.
fn poll_once(body: &mut crate::body::Body) -> Poll<Option<Result<Bytes, BodyError>>> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    body.poll_piece(&mut cx)
}

/// The viewer's side of a response: what its request said and what follows on the connection.
#[derive(Clone, Copy)]
pub struct To {
    pub version: Version,
    pub after: After,
    pub is_head: bool,
    /// The viewer said `TE: trailers`.
    pub takes_trailers: bool,
    pub stall: Duration,
    pub now: Timestamp,
}

fn write_head(out: &mut Vec<u8>, to: To, response: &ViewerResponse) -> Delimited {
    write_status(out, response.status);
    let bodiless = message::is_bodiless(to.is_head, response.status);
    message::write_fields(response, to.is_head, to.now, &mut Http1Lines(out));
    // A 426 of our own names the protocol (RFC 9110 §15.5.22).
    if response.status == 426 && response.verdict.reason == Reason::Refused(Rule::Upgrade) {
        out.extend_from_slice(b"Upgrade: websocket\r\nConnection: Upgrade\r\n");
    }
    let delimited = match response.body.length() {
        _ if bodiless => Delimited::NoBody,
        Some(len) => {
            out.extend_from_slice(b"Content-Length: ");
            decimal(out, len);
            out.extend_from_slice(b"\r\n");
            Delimited::Length(len)
        }
        None if to.version == Version::Http10 => Delimited::Close,
        None => {
            out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            Delimited::Chunked
        }
    };
    let after = if matches!(delimited, Delimited::Close) { After::Close } else { to.after };
    write_end(out, to.version, after);
    delimited
}

// The last chunk, and behind it the trailers, for a viewer that said it takes some (RFC 9110
// §6.5.1).
fn end_chunks(out: &mut Vec<u8>, takes_trailers: bool, body: &mut crate::body::Body) {
    out.extend_from_slice(b"0\r\n");
    if takes_trailers {
        body.take_trailers().write_lines(out);
    }
    out.extend_from_slice(b"\r\n");
}

// Sends one piece or the end, and counts the octets of bodies that were taken; `Err` says how it
// broke off.
async fn send_piece<W: AsyncWrite + Unpin>(
    io: &mut W,
    out: &mut Vec<u8>,
    stall: Duration,
    delimited: &Delimited,
    piece: Option<Result<Bytes, BodyError>>,
    total: &mut u64,
) -> Result<(), SendEnd> {
    match piece {
        None => Ok(()),
        Some(Err(_)) => {
            // What came before goes out, and then the connection ends where a length or a last
            // chunk was due.
            let _ = flush_out(io, out, stall).await;
            Err(SendEnd::Failed)
        }
        Some(Ok(bytes)) => {
            if matches!(delimited, Delimited::Chunked) {
                use std::io::Write as _;
                let _ = write!(out, "{:x}\r\n", bytes.len());
            }
            let tail: &[u8] = if matches!(delimited, Delimited::Chunked) { b"\r\n" } else { b"" };
            if out.len() + bytes.len() <= SMALL {
                // One call for head and body; what is composed is sent before we wait for the next
                // piece.
                out.extend_from_slice(&bytes);
                out.extend_from_slice(tail);
                *total += bytes.len() as u64;
                return Ok(());
            }
            send_behind(io, out, &bytes, tail, stall, total).await.map_err(|_| SendEnd::Broken)
        }
    }
}

/// Writes a piece of a body behind what is composed, and empties that in any case: what is left of
/// a broken write must never be sent again. Counts the octets of the piece that were taken.
pub async fn send_behind<W: AsyncWrite + Unpin>(
    io: &mut W,
    out: &mut Vec<u8>,
    piece: &[u8],
    tail: &[u8],
    stall: Duration,
    total: &mut u64,
) -> io::Result<()> {
    let mut count = Count { ahead: out.len(), left: piece.len(), total };
    let wrote = write_parts(io, [&out[..], piece, tail], stall, Some(&mut count)).await;
    out.clear();
    wrote
}

/// Writes what is composed and empties it.
pub async fn flush_out<W: AsyncWrite + Unpin>(
    io: &mut W,
    out: &mut Vec<u8>,
    stall: Duration,
) -> io::Result<()> {
    if !out.is_empty() {
        let wrote = write_parts(io, [&out[..], b"", b""], stall, None).await;
        out.clear();
        wrote?;
    }
    Ok(())
}

/// Counts what is taken of a piece, as it is taken: the task that writes may be dropped while it
/// waits.
pub struct Count<'t> {
    /// Octets before the piece.
    ahead: usize,
    /// Octets of it that are still to be taken.
    left: usize,
    total: &'t mut u64,
}

impl Count<'_> {
    fn add(&mut self, wrote: usize) {
        let taken = wrote.saturating_sub(self.ahead).min(self.left);
        self.ahead = self.ahead.saturating_sub(wrote);
        self.left -= taken;
        *self.total += taken as u64;
    }
}

/// Writes three parts in as few calls as possible; waits at most `stall` for each bit of progress.
pub async fn write_parts<W: AsyncWrite + Unpin>(
    io: &mut W,
    mut parts: [&[u8]; 3],
    stall: Duration,
    mut count: Option<&mut Count<'_>>,
) -> io::Result<()> {
    loop {
        if parts.iter().all(|part| part.is_empty()) {
            break;
        }
        let slices = parts.map(IoSlice::new);
        // One part is most often all there is, and a plain write is the cheaper call.
        let single = (parts[1].is_empty() && parts[2].is_empty()).then_some(parts[0]);
        let mut write = std::pin::pin!(std::future::poll_fn(|cx| match single {
            Some(part) => Pin::new(&mut *io).poll_write(cx, part),
            None => Pin::new(&mut *io).poll_write_vectored(cx, &slices),
        }));
        // The timer is made only if the viewer is not ready at once.
        let first = std::future::poll_fn(|cx| Poll::Ready(write.as_mut().poll(cx))).await;
        let mut wrote = match first {
            Poll::Ready(wrote) => wrote?,
            Poll::Pending => {
                tokio::time::timeout(stall, write).await.map_err(|_| io::ErrorKind::TimedOut)??
            }
        };
        if wrote == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        if let Some(count) = &mut count {
            count.add(wrote);
        }
        for part in &mut parts {
            let take = wrote.min(part.len());
            *part = &part[take..];
            wrote -= take;
        }
    }
    // TLS buffers: what is written is not on its way until it is flushed.
    let mut flush = std::pin::pin!(io.flush());
    match std::future::poll_fn(|cx| Poll::Ready(flush.as_mut().poll(cx))).await {
        Poll::Ready(done) => done,
        Poll::Pending => {
            tokio::time::timeout(stall, flush).await.map_err(|_| io::ErrorKind::TimedOut)?
        }
    }
}
