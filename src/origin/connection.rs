//! One connection to an origin, and an exchange of heads over it. The body behind the answer's is
//! `wire_body`'s.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use super::connect::Stream;
use super::patience::Patience;
use super::request_writer::{NotSent, Sending};
use super::response_head::{self, AnswerHead};
use crate::body::{BodyError, reads};
use crate::message::failure::{Failure, FailureKind};
use crate::message::interim::InterimSink;
use crate::semantics::fields::{FieldSection, Value};
use crate::semantics::lists::members;
use crate::semantics::websocket;

/// Room for one read of a head.
const READ: usize = 8 << 10;

/// Interim responses to one request; more break the exchange off.
pub(super) const INTERIMS_MAX: usize = 32;

const TOO_LONG: &str = "a head longer than limits.origin_head_bytes";

/// A connection.
pub struct Wire {
    pub(super) stream: Stream,
    /// What came and was not taken yet.
    pub(super) buffer: BytesMut,
    idle_for: Option<Duration>,
}

/// An exchange that gave no answer.
pub struct ExchangeError {
    pub failure: Failure,
    /// Not an octet came back: the origin may not have begun.
    pub is_silent: bool,
}

/// What one exchange is held to.
pub struct Deadlines {
    /// From the last octet sent to the last of the head, and for the whole.
    pub patience: Patience,
    /// Octets of one head, the empty line at its end included; more are refused.
    pub head_bytes: usize,
}

impl Wire {
    /// A fresh connection.
    pub fn new(stream: Stream) -> Self {
        Self { stream, buffer: BytesMut::new(), idle_for: None }
    }

    /// How long it may lie idle, where the origin's last answer said so.
    pub const fn idle_for(&self) -> Option<Duration> {
        self.idle_for
    }

    /// False if the other side closed it, or sent octets without a request.
    pub fn is_quiet(&mut self) -> bool {
        let mut octet = [0; 1];
        let mut cx = Context::from_waker(Waker::noop());
        self.buffer.is_empty()
            && Pin::new(&mut self.stream)
                .poll_read(&mut cx, &mut ReadBuf::new(&mut octet))
                .is_pending()
    }

    /// Reads into the buffer; the octets that came, 0 at the end.
    pub(super) fn poll_fill(
        &mut self,
        room: usize,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        self.buffer.reserve(room);
        pin!(self.stream.read_buf(&mut self.buffer)).poll(cx)
    }

    // The same for a head. While none comes, its memory is lent to others.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        reads::lend(&mut self.buffer, READ);
        let read = pin!(self.stream.read_buf(&mut self.buffer)).poll(cx);
        if read.is_pending() {
            reads::take_back(&mut self.buffer);
        }
        read
    }

    /// Holds no memory to read into while it lies idle.
    pub(super) fn rest(&mut self) {
        reads::take_back(&mut self.buffer);
    }

    /// Sends a request and reads the head of its answer. The body may still be on its way when the
    /// answer comes.
    pub async fn exchange(
        &mut self,
        sending: &mut Sending,
        deadlines: &Deadlines,
        to_head: bool,
        interim: Option<&InterimSink>,
        upgrade: Option<&[u8]>,
    ) -> Result<AnswerHead, ExchangeError> {
        let patience = &deadlines.patience;
        // Sending that failed is no answer: the origin may have refused the body and said why.
        let mut takes = true;
        // What leaves at once, most often all of it, leaves before the clock is read.
        let sent = std::future::poll_fn(|cx| Poll::Ready(sending.poll(&mut self.stream, cx))).await;
        match sent {
            Poll::Ready(Err(NotSent::Body(why))) => return Err(ExchangeError::of_body(why)),
            Poll::Ready(Err(NotSent::Closed)) => takes = false,
            Poll::Ready(Ok(())) | Poll::Pending => {}
        }
        sending.take_moved();
        let mut timer = pin!(tokio::time::sleep_until(patience.next()));
        let (mut looked, mut interims, mut is_silent) = (0, 0, true);
        loop {
            if let Some(len) = response_head::find_end(&self.buffer, looked) {
                if len > deadlines.head_bytes {
                    return Err(ExchangeError::malformed(TOO_LONG, is_silent));
                }
                looked = 0;
                let head = response_head::read(&self.buffer[..len], to_head)
                    .map_err(|why| ExchangeError::malformed(why, is_silent))?;
                self.buffer.advance(len);
                match head.status {
                    // 100 is between us and the origin.
                    100 => {}
                    101 if upgrade.is_some_and(|key| agrees(key, &head)) => return Ok(head),
                    101 => {
                        return Err(ExchangeError::malformed(
                            "a 101 that answers no handshake of ours",
                            is_silent,
                        ));
                    }
                    102..200 => interim.into_iter().for_each(|sink| {
                        pass_on(sink, head.status, head.fields.clone());
                    }),
                    _ => {
                        self.idle_for = head.idle_for;
                        return Ok(head);
                    }
                }
                interims += 1;
                if interims > INTERIMS_MAX {
                    return Err(ExchangeError::malformed("too many interim answers", is_silent));
                }
                continue;
            }
            looked = self.buffer.len();
            if let Some(why) = response_head::foreign(&self.buffer) {
                return Err(ExchangeError::malformed(why, is_silent));
            }
            // Its end is still to come: it is longer than what is here.
            if looked >= deadlines.head_bytes {
                return Err(ExchangeError::malformed(TOO_LONG, is_silent));
            }
            let woke = std::future::poll_fn(|cx| {
                if takes && !sending.is_done() {
                    match sending.poll(&mut self.stream, cx) {
                        Poll::Ready(Err(NotSent::Body(why))) => {
                            return Poll::Ready(Woke::BodyBroke(why));
                        }
                        Poll::Ready(Err(NotSent::Closed)) => takes = false,
                        Poll::Ready(Ok(())) | Poll::Pending => {}
                    }
                    // The deadline begins anew with each piece of a request body that leaves.
                    if sending.take_moved() {
                        timer.as_mut().reset(patience.next());
                    }
                }
                match self.poll_head(cx) {
                    Poll::Ready(read) => Poll::Ready(Woke::Read(read)),
                    Poll::Pending => timer.as_mut().poll(cx).map(|()| Woke::TooLate),
                }
            });
            match woke.await {
                Woke::Read(Ok(n)) if n > 0 => is_silent = false,
                Woke::Read(Ok(_)) => {
                    return Err(ExchangeError::closed(
                        "the origin closed the connection",
                        is_silent,
                    ));
                }
                Woke::Read(Err(error)) => return Err(ExchangeError::broken(&error, is_silent)),
                Woke::BodyBroke(why) => return Err(ExchangeError::of_body(why)),
                Woke::TooLate => return Err(ExchangeError::late(patience)),
            }
        }
    }

    /// The connection itself, and what came behind the head: it speaks another protocol now.
    pub fn into_tunnel(self) -> (Stream, Bytes) {
        (self.stream, self.buffer.freeze())
    }

    /// The whole body, if it came with the head.
    pub fn take_whole(&mut self, length: u64) -> Option<Bytes> {
        let length = usize::try_from(length).ok().filter(|len| *len <= self.buffer.len())?;
        Some(self.buffer.split_to(length).freeze())
    }
}

enum Woke {
    Read(io::Result<usize>),
    BodyBroke(BodyError),
    TooLate,
}

// Out of the way of an exchange that goes well.
impl ExchangeError {
    #[cold]
    fn of_body(why: BodyError) -> Self {
        let kind = match why {
            BodyError::TooLarge => FailureKind::RequestTooLarge,
            _ => FailureKind::RequestBroken,
        };
        Self { failure: Failure::new(kind, why.to_string()), is_silent: false }
    }

    #[cold]
    fn late(patience: &Patience) -> Self {
        let failure = Failure::new(FailureKind::ResponseTimeout, patience.said_of_head());
        Self { failure, is_silent: false }
    }

    #[cold]
    fn broken(error: &io::Error, is_silent: bool) -> Self {
        Self::closed(&error.to_string(), is_silent)
    }

    #[cold]
    fn malformed(why: &str, is_silent: bool) -> Self {
        Self {
            failure: Failure::new(FailureKind::ResponseMalformed, format!("the answer has {why}")),
            is_silent,
        }
    }

    #[cold]
    fn closed(why: &str, is_silent: bool) -> Self {
        Self { failure: Failure::new(FailureKind::ConnectionTerminated, why), is_silent }
    }
}

// Says whether a 101 agrees to the handshake with this key (RFC 6455 §4.1).
fn agrees(key: &[u8], head: &AnswerHead) -> bool {
    let lines = |name: &'static str| head.fields.get_all(name).map(Value::as_bytes);
    let says = |name, word: &[u8]| {
        lines(name).flat_map(members).any(|member| member.eq_ignore_ascii_case(word))
    };
    says("upgrade", b"websocket")
        && says("connection", b"upgrade")
        && websocket::accepted(key, lines("sec-websocket-accept"))
}

/// Passes an interim response on, without what it says of the connection it came by.
pub(super) fn pass_on(sink: &InterimSink, status: u16, mut fields: FieldSection) {
    super::request::strip_connection(&mut fields);
    sink.take((status, fields));
}
