//! A request on its way out: head first, then its body, framed; polled beside the reading of the
//! answer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Method;
use tokio::io::AsyncWrite;

use super::connect::Stream;
use crate::base::digits::decimal;
use crate::base::spare::Spare;
use crate::body::{Body, BodyError};
use crate::semantics::fields::FieldSection;

/// What is left to send.
pub struct Sending {
    /// The head, or the line before a chunk; then a piece; then what ends a chunk.
    out: Spare,
    piece: Bytes,
    tail: &'static [u8],
    /// Octets of the three that are written.
    at: usize,
    body: Body,
    is_chunked: bool,
    left: Left,
    /// Whether any octet left since this was last asked.
    moved: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// Nothing has left yet.
    All,
    /// The body, from here on.
    Rest,
    /// What is composed, and then nothing.
    Last,
    Nothing,
}

/// Why sending stopped.
#[derive(Debug)]
pub enum NotSent {
    /// The origin takes no more. It may still have answered.
    Closed,
    /// The request's own body broke off.
    Body(BodyError),
}

impl Sending {
    /// A request to `target`, which is written as it is.
    pub fn new(method: &Method, target: &str, fields: &FieldSection, body: Body) -> Self {
        let mut out = Spare::new();
        for part in [method.as_str(), " ", target, " HTTP/1.1\r\n"] {
            out.extend_from_slice(part.as_bytes());
        }
        fields.write_lines(&mut out);
        let length = body.length();
        match length {
            // Methods for which a body means something say that there is none (RFC 9110 §8.6).
            Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
            Some(len) => {
                out.extend_from_slice(b"Content-Length: ");
                decimal(&mut out, len);
                out.extend_from_slice(b"\r\n");
            }
            None => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        }
        out.extend_from_slice(b"\r\n");
        Self {
            out,
            piece: Bytes::new(),
            tail: b"",
            at: 0,
            body,
            is_chunked: length.is_none(),
            left: Left::All,
            moved: false,
        }
    }

    /// True once everything has left.
    pub fn is_done(&self) -> bool {
        self.left == Left::Nothing
    }

    /// Whether anything left since this was last asked.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// True if the origin can have seen none of it.
    pub fn is_untouched(&self) -> bool {
        self.left == Left::All && self.at == 0
    }

    /// Begins from the start; only for a request without a body, or untouched.
    pub fn rewind(&mut self) {
        debug_assert!(self.is_untouched() || matches!(self.body, Body::Empty));
        self.at = 0;
        self.left = Left::All;
    }

    /// Sends as much as goes.
    pub fn poll(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<Result<(), NotSent>> {
        while self.left != Left::Nothing {
            let wrote = ready!(self.poll_write(stream, cx)).map_err(|_| NotSent::Closed)?;
            if wrote {
                continue;
            }
            if self.left == Left::Last || matches!(self.body, Body::Empty) {
                self.left = Left::Nothing;
                break;
            }
            self.left = Left::Rest;
            match self.body.poll_piece(cx) {
                Poll::Ready(piece) => self.take_piece(piece).map_err(NotSent::Body)?,
                Poll::Pending => {
                    // What the origin is to work on must not wait for the rest.
                    let _ = Pin::new(stream).poll_flush(cx);
                    return Poll::Pending;
                }
            }
        }
        ready!(Pin::new(stream).poll_flush(cx)).map_err(|_| NotSent::Closed)?;
        Poll::Ready(Ok(()))
    }

    // True if something was written, false if nothing is left of what is composed.
    fn poll_write(&mut self, stream: &mut Stream, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut skip = self.at;
        let parts = [&self.out[..], &self.piece[..], self.tail].map(|part| {
            let cut = skip.min(part.len());
            skip -= cut;
            &part[cut..]
        });
        if parts.iter().all(|part| part.is_empty()) {
            return Poll::Ready(Ok(false));
        }
        let stream = Pin::new(stream);
        let wrote = if parts[1].is_empty() {
            ready!(stream.poll_write(cx, if parts[0].is_empty() { parts[2] } else { parts[0] }))?
        } else {
            ready!(stream.poll_write_vectored(cx, &parts.map(IoSlice::new)))?
        };
        if wrote == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.at += wrote;
        self.moved = true;
        Poll::Ready(Ok(true))
    }

    fn take_piece(&mut self, piece: Option<Result<Bytes, BodyError>>) -> Result<(), BodyError> {
        use std::io::Write as _;
        self.out.clear();
        (self.piece, self.tail, self.at) = (Bytes::new(), b"", 0);
        match piece.transpose()? {
            Some(piece) => {
                if self.is_chunked {
                    let _ = write!(self.out, "{:x}\r\n", piece.len());
                    self.tail = b"\r\n";
                }
                self.piece = piece;
            }
            None => {
                self.left = Left::Last;
                if self.is_chunked {
                    self.out.extend_from_slice(b"0\r\n");
                    self.body.take_trailers().write_lines(&mut self.out);
                    self.out.extend_from_slice(b"\r\n");
                }
            }
        }
        Ok(())
    }
}
