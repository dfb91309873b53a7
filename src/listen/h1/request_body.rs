//! The body of a request over HTTP/1: read from the connection beside serving, which asks for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{Notify, mpsc};
use tokio::time::timeout;

use super::READ;
use crate::body::framing::{Decoded, Decoder, Framing};
use crate::body::{Body, BodyError, Source};
use crate::distribution::limits::Limits;
use crate::semantics::fields::FieldSection;
use crate::semantics::trailers::{TRAILERS_MAX, keep_allowed};

/// Set once a body was read to its end: the trailers behind it.
type Whole = parking_lot::Mutex<Option<FieldSection>>;

/// A request body as serving reads it.
pub struct ViewerBody {
    pieces: mpsc::Receiver<Result<Bytes, BodyError>>,
    wanted: Arc<Notify>,
    asked: bool,
    /// Without this, the end of the pieces is not the body's.
    whole: Arc<Whole>,
}

/// Where the pieces of a request body go.
pub struct Pieces {
    tx: mpsc::Sender<Result<Bytes, BodyError>>,
    whole: Arc<Whole>,
    /// Octets so far.
    pub received: Arc<AtomicU64>,
}

impl ViewerBody {
    /// A body, what is notified once it is wanted, and where its pieces go.
    pub fn begin(framing: Framing) -> (Body, Arc<Notify>, Pieces) {
        let (tx, pieces) = mpsc::channel(2);
        let (wanted, whole) = (Arc::new(Notify::new()), Arc::<Whole>::default());
        let length = match framing {
            Framing::Length(len) => Some(len),
            Framing::Chunked | Framing::Close | Framing::None => None,
        };
        let to = Pieces { tx, whole: Arc::clone(&whole), received: Arc::default() };
        let body = Self { pieces, wanted: Arc::clone(&wanted), asked: false, whole };
        (Body::Wire(Box::new(body), length), wanted, to)
    }
}

impl Source for ViewerBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if !self.asked {
            self.asked = true;
            self.wanted.notify_one();
        }
        let piece = std::task::ready!(self.pieces.poll_recv(cx));
        if piece.is_none() && self.whole.lock().is_none() {
            return Poll::Ready(Some(Err(BodyError::Truncated)));
        }
        Poll::Ready(piece)
    }

    fn take_trailers(&mut self) -> FieldSection {
        self.whole.lock().as_mut().map(std::mem::take).unwrap_or_default()
    }
}

/// Reads a request body from the connection and hands it on, at the reader's pace. True if it was
/// read whole.
pub async fn pump<R: AsyncRead + Unpin>(
    io: &mut R,
    buffer: &mut BytesMut,
    mut decoder: Decoder,
    pieces: Pieces,
    limits: &Limits,
) -> bool {
    let Pieces { tx, whole, received } = pieces;
    let mut total = 0u64;
    let broken = loop {
        match decoder.decode(buffer) {
            Decoded::Done => {
                let mut trailers = decoder.take_trailers();
                keep_allowed(&mut trailers, TRAILERS_MAX);
                *whole.lock() = Some(trailers);
                return true;
            }
            Decoded::Broken(why) => break why,
            Decoded::Data(data) => {
                total += data.len() as u64;
                received.store(total, Ordering::Relaxed);
                if total > limits.request_body {
                    break BodyError::TooLarge;
                }
                // An error says that serving dropped the body: the rest is read and thrown away,
                // for as long as the caller waits.
                let _ = tx.send(Ok(data)).await;
            }
            Decoded::More => {
                buffer.reserve(READ);
                match timeout(limits.stall, io.read_buf(buffer)).await {
                    Ok(Ok(n)) if n > 0 => {}
                    Ok(_) => break BodyError::Truncated,
                    Err(_) => break BodyError::Stalled,
                }
            }
        }
    };
    let _ = tx.send(Err(broken)).await;
    false
}
