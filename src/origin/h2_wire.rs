//! What HTTP/2 to origins runs on: a connection that is watched for whether anything comes, and the
//! settings that bound what an origin can make this edge hold.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use ::h2::client::Builder;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connect::Stream;
use super::h2_head::list_max;

/// Most requests at a time over one connection, where the origin takes as many.
pub const STREAMS_MAX: usize = 100;

/// Octets of one answer that may wait here for their reader.
const STREAM_WINDOW: u32 = 512 << 10;
/// The same over all answers of a connection: as many as all may, so that no reader that takes its
/// time holds up another.
const CONNECTION_WINDOW: u32 = STREAM_WINDOW * STREAMS_MAX as u32;
/// Octets of one request's body that have left their source and not this machine.
const SEND_BUFFER: usize = 128 << 10;

/// The settings of our side.
pub fn builder(head_bytes: usize) -> Builder {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(list_max(head_bytes))
        .max_send_buffer_size(SEND_BUFFER)
        .max_concurrent_reset_streams(STREAMS_MAX)
        // Until the origin has said how many it takes.
        .initial_max_send_streams(1);
    builder
}

/// How much has come over a connection.
#[derive(Debug, Default)]
pub struct Heard(AtomicU64);

impl Heard {
    /// Octets since it was made.
    pub fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection whose octets are counted as they come.
pub struct Watched {
    stream: Stream,
    heard: Arc<Heard>,
}

impl Watched {
    /// Counts what comes into `heard`.
    pub const fn new(stream: Stream, heard: Arc<Heard>) -> Self {
        Self { stream, heard }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut this.stream).poll_read(cx, buf);
        let came = buf.filled().len() - before;
        this.heard.0.fetch_add(came as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(cx)
    }
}
