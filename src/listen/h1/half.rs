//! An HTTP/1 connection that is read and written at once by one task, while it is looked at for a
//! reset.
//!
//! A task that reads and writes by turns has the socket to itself and waits until the kernel tells
//! of the reset (`write::reset`). Here the socket is behind a lock that neither half may hold while
//! it waits, so it is looked at from time to time.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::write::Watched;

/// How long the request of a viewer that is gone goes on at most.
const LOOK: Duration = Duration::from_millis(500);

/// One of the two directions.
pub struct Half<'h, 's, S>(pub &'h Mutex<&'s mut S>);

impl<S: AsyncRead + Unpin> AsyncRead for Half<'_, '_, S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut io = self.0.lock();
        Pin::new(&mut **io).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Half<'_, '_, S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let mut io = self.0.lock();
        Pin::new(&mut **io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut io = self.0.lock();
        Pin::new(&mut **io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.lock().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.0.lock();
        Pin::new(&mut **io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut io = self.0.lock();
        Pin::new(&mut **io).poll_shutdown(cx)
    }
}

/// The socket is not to be had for as long as a wait takes.
impl<S> Watched for Half<'_, '_, S> {
    fn tcp(&self) -> Option<&TcpStream> {
        None
    }
}

/// Returns once the viewer has reset the connection: then, and only then, does a connected socket
/// have no peer. Unlike the error that stands in a socket, that is still true after a read or a
/// write has taken the error.
pub async fn reset<S: Watched>(io: &Mutex<&mut S>) {
    loop {
        tokio::time::sleep(LOOK).await;
        if io.lock().tcp().is_some_and(|tcp| tcp.peer_addr().is_err()) {
            return;
        }
    }
}
