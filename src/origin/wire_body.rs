//! The body of an origin's answer, from the connection that it comes by; at its true end the
//! connection goes back to its pool.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Sleep;

use super::connection::Wire;
use super::patience::Patience;
use super::pool::Pool;
use super::request_writer::Sending;
use super::response_head::AnswerHead;
use crate::body::framing::{Decoded, Decoder};
use crate::body::{BodyError, Source};
use crate::semantics::fields::FieldSection;
use crate::semantics::trailers::{self, TRAILERS_MAX};

/// Room for one read of a body.
const READ: usize = 64 << 10;

/// A connection that is in use, and the place it goes back to.
pub struct Leased {
    pub wire: Wire,
    pub pool: Arc<Pool>,
    /// What it was made for.
    pub name: Arc<str>,
    pub permit: OwnedSemaphorePermit,
    /// How long the origin may be silent between two pieces of the body, and how long it has for
    /// the whole.
    pub patience: Patience,
}

impl Leased {
    /// Gives the connection back for the next request.
    pub fn give_back(self) {
        drop(self.permit);
        self.pool.give_back(&self.name, self.wire);
    }
}

/// An answer's body from the wire; its connection goes back to the pool at the true end.
pub struct WireBody {
    leased: Option<Leased>,
    decoder: Decoder,
    /// The request's own body, where the origin began to answer before it had all of it.
    sending: Option<Sending>,
    keeps: bool,
    deadline: Option<Pin<Box<Sleep>>>,
    patience: Patience,
}

impl WireBody {
    /// The body behind `head`.
    pub fn new(leased: Leased, head: &AnswerHead, sending: Sending) -> Self {
        let patience = leased.patience;
        let sending = (!sending.is_done()).then_some(sending);
        Self {
            leased: Some(leased),
            decoder: Decoder::new(head.framing),
            sending,
            keeps: head.keeps,
            deadline: None,
            patience,
        }
    }

    fn end(&mut self) {
        if let Some(leased) = self.leased.take()
            && self.keeps
            && self.sending.is_none()
        {
            leased.give_back();
        }
    }

    fn break_off(&mut self, why: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.leased = None;
        Poll::Ready(Some(Err(why)))
    }

    fn poll_sending(&mut self, cx: &mut Context<'_>) {
        if let (Some(sending), Some(leased)) = (&mut self.sending, &mut self.leased)
            && let Poll::Ready(sent) = sending.poll(&mut leased.wire.stream, cx)
        {
            self.keeps &= sent.is_ok();
            self.sending = None;
        }
    }
}

impl Source for WireBody {
    fn take_trailers(&mut self) -> FieldSection {
        let mut fields = self.decoder.take_trailers();
        trailers::keep_allowed(&mut fields, TRAILERS_MAX);
        fields
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        self.poll_sending(cx);
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.poll_sending(cx);
        loop {
            let Some(leased) = &mut self.leased else { return Poll::Ready(None) };
            match self.decoder.decode(&mut leased.wire.buffer) {
                Decoded::Data(data) => {
                    // A reader that knows the length does not ask for the end.
                    if self.decoder.is_done() {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Decoded::Done => {
                    self.end();
                    return Poll::Ready(None);
                }
                Decoded::Broken(_) => return self.break_off(BodyError::Truncated),
                Decoded::More => {}
            }
            // An origin that is never silent may still take too long.
            if self.patience.is_over() {
                return self.break_off(BodyError::Late);
            }
            match leased.wire.poll_fill(READ, cx) {
                Poll::Ready(Ok(0)) if self.decoder.ends_by_close() => {
                    self.leased = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(n)) if n > 0 => self.deadline = None,
                Poll::Ready(_) => return self.break_off(BodyError::Truncated),
                Poll::Pending => {
                    // The timer is made only when there is something to wait for.
                    let patience = self.patience;
                    let deadline = self
                        .deadline
                        .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(patience.next())));
                    ready!(deadline.as_mut().poll(cx));
                    return self.break_off(patience.why());
                }
            }
        }
    }
}
