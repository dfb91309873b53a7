//! Bodies: what flows to a viewer, to an origin and into the store.
//!
//! One type, polled for pieces. It knows neither HTTP framing nor policy; the writer that frames it
//! asks for its exact length, and a body that ends early is an error, never an end.

pub mod arena;
pub mod collect;
pub mod compress;
pub mod content;
pub mod framing;
mod growing;
pub mod multipart;
pub mod reads;
pub mod tunnel;
mod whole;

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;

use crate::semantics::fields::FieldSection;
pub use arena::Arena;
pub use content::{Content, Reader, Writer};
pub use multipart::Multipart;
pub use tunnel::Tunnel;

/// Why a body stopped before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// The sender closed or broke its framing before the end.
    Truncated,
    /// Nothing came for longer than the deadline allows.
    Stalled,
    /// It was not whole when all of it had to be there.
    Late,
    /// This reader fell too far behind one that is not kept.
    Overrun,
    /// Longer than a limit allows.
    TooLarge,
    /// Its producer stopped.
    Abandoned,
    /// Reading from the disk failed.
    Unreadable,
    /// The sender called it off, where its protocol has a word for that (RST_STREAM with CANCEL).
    Cancelled,
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncated => "the body ended before its announced end",
            Self::Stalled => "no octet came in time",
            Self::Late => "the body was not whole in time",
            Self::Overrun => "the reader fell too far behind",
            Self::TooLarge => "the body is longer than the limit",
            Self::Abandoned => "the sender gave up",
            Self::Unreadable => "reading the stored body failed",
            Self::Cancelled => "the sender called it off",
        })
    }
}

impl std::error::Error for BodyError {}

/// Something that yields the pieces of a body.
pub trait Source: Send {
    /// The next piece; `None` is the true end.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>>;

    /// The fields behind the body (RFC 9110 §6.5), once its end has come. Most have none.
    fn take_trailers(&mut self) -> FieldSection {
        FieldSection::new()
    }

    /// Goes on with what happens beside the body ([`Body::poll_beside`]). Most have nothing there.
    fn poll_beside(&mut self, _cx: &mut Context<'_>) {}
}

/// A body on its way.
#[derive(Default)]
pub enum Body {
    #[default]
    Empty,
    Bytes(Bytes),
    /// A stored response or a part of one, perhaps still growing.
    Stored(Reader),
    Multipart(Box<Multipart>),
    /// Straight from a socket or a file; the length if it was announced.
    Wire(Box<dyn Source>, Option<u64>),
    /// No body: behind this head the connection carries another protocol. Nothing but the
    /// viewer's own connection has a use for it.
    Tunnel(Box<Tunnel>),
}

impl Body {
    /// The exact length in octets, where it is known.
    pub fn length(&self) -> Option<u64> {
        match self {
            Self::Empty | Self::Tunnel(_) => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Stored(reader) => reader.remaining(),
            Self::Multipart(parts) => Some(parts.remaining()),
            Self::Wire(_, length) => *length,
        }
    }

    /// The same body, broken if it has not this length.
    #[must_use]
    pub fn held_to(self, length: u64) -> Self {
        match self {
            Self::Wire(source, None) => Self::Wire(source, Some(length)),
            other => other,
        }
    }

    /// All of it, where it lies in one piece of memory and can be copied from there.
    pub fn at_hand(&self) -> Option<&[u8]> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Stored(reader) => reader.at_hand(),
            Self::Empty | Self::Multipart(_) | Self::Wire(..) | Self::Tunnel(_) => None,
        }
    }

    /// The next piece, never empty; `None` is the true end.
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self {
            Self::Empty | Self::Tunnel(_) => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then_some(Ok(bytes)))
            }
            Self::Stored(reader) => reader.poll_piece(cx),
            Self::Multipart(parts) => parts.poll_piece(cx),
            Self::Wire(source, left) => {
                let piece = std::task::ready!(source.poll_piece(cx));
                Poll::Ready(hold_to_length(piece, left))
            }
        }
    }

    /// The fields behind the body, once its end has come. They are for the viewer whose request it
    /// was: what is stored has lost them, and so has a body of announced length.
    pub fn take_trailers(&mut self) -> FieldSection {
        match self {
            Self::Wire(source, None) => source.take_trailers(),
            _ => FieldSection::new(),
        }
    }

    /// Goes on with what happens beside this body and does not wait for its reader: the rest of a
    /// request whose answer it is. For a reader that has no room for another piece; one that asks
    /// for pieces has this done as well.
    pub fn poll_beside(&mut self, cx: &mut Context<'_>) {
        if let Self::Wire(source, _) = self {
            source.poll_beside(cx);
        }
    }

    /// The same body without a length that was announced: it ends where it ends, and has its
    /// trailers.
    #[must_use]
    pub fn unmeasured(self) -> Self {
        match self {
            Self::Wire(source, Some(_)) => Self::Wire(source, None),
            other => other,
        }
    }

    /// Waits for the next piece.
    pub async fn piece(&mut self) -> Option<Result<Bytes, BodyError>> {
        std::future::poll_fn(|cx| self.poll_piece(cx)).await
    }
}

// A source that announced a length is held to it: less is truncation, more is cut and reported.
fn hold_to_length(
    piece: Option<Result<Bytes, BodyError>>,
    left: &mut Option<u64>,
) -> Option<Result<Bytes, BodyError>> {
    let Some(expected) = left else { return piece };
    match piece {
        Some(Ok(bytes)) => match expected.checked_sub(bytes.len() as u64) {
            Some(rest) => {
                *expected = rest;
                Some(Ok(bytes))
            }
            None => Some(Err(BodyError::TooLarge)),
        },
        None if *expected > 0 => Some(Err(BodyError::Truncated)),
        other => other,
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Body({:?})", self.length())
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<http_body::Frame<Bytes>, BodyError>>> {
        self.get_mut()
            .poll_piece(cx)
            .map(|piece| piece.map(|result| result.map(http_body::Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.length() == Some(0)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.length().map_or_else(http_body::SizeHint::default, http_body::SizeHint::with_exact)
    }
}
