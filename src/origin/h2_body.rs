//! The bodies of an exchange over HTTP/2: the request's on its way out, the answer's on its way in.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ::h2::{Reason, RecvStream, SendStream};
use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::h2_head;
use super::h2_pool::Lease;
use super::patience::Patience;
use super::request_writer::NotSent;
use crate::body::{Body, BodyError, Source};
use crate::semantics::fields::FieldSection;
use crate::semantics::trailers::{self, TRAILERS_MAX};

/// Most octets of a request's body that room is asked for at a time.
const RESERVE: usize = 64 << 10;

/// How long the end of a stream may take whose octets have all come.
const END: Duration = Duration::from_secs(1);

/// A request's body on its way out, as fast as the origin's window opens.
pub struct Upload {
    stream: SendStream<Bytes>,
    piece: Bytes,
    is_done: bool,
    has_taken: bool,
    moved: bool,
}

impl Upload {
    /// What is to be sent on a stream; nothing if it `has_ended`.
    pub const fn new(stream: SendStream<Bytes>, has_ended: bool) -> Self {
        Self { stream, piece: Bytes::new(), is_done: has_ended, has_taken: false, moved: false }
    }

    /// True once everything has left.
    pub const fn is_done(&self) -> bool {
        self.is_done
    }

    /// Whether anything of the body was taken.
    pub const fn has_taken(&self) -> bool {
        self.has_taken
    }

    /// Whether anything left since this was last asked.
    pub fn take_moved(&mut self) -> bool {
        std::mem::take(&mut self.moved)
    }

    /// Sends as much as goes.
    pub fn poll(&mut self, body: &mut Body, cx: &mut Context<'_>) -> Poll<Result<(), NotSent>> {
        while !self.is_done {
            if self.piece.is_empty() {
                match ready!(body.poll_piece(cx)) {
                    Some(Ok(piece)) => {
                        self.has_taken = true;
                        self.piece = piece;
                    }
                    Some(Err(why)) => {
                        self.stream.send_reset(Reason::CANCEL);
                        return Poll::Ready(Err(NotSent::Body(why)));
                    }
                    None => {
                        self.end(&body.take_trailers())?;
                        self.is_done = true;
                    }
                }
                continue;
            }
            let room = ready!(self.poll_room(cx))?;
            let part = self.piece.split_to(room.min(self.piece.len()));
            self.send(part, false)?;
        }
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, part: Bytes, ends: bool) -> Result<(), NotSent> {
        self.moved = true;
        self.stream.send_data(part, ends).map_err(|_| NotSent::Closed)
    }

    // The end, with the trailers that the viewer sent.
    fn end(&mut self, trailers: &FieldSection) -> Result<(), NotSent> {
        if trailers.is_empty() {
            return self.send(Bytes::new(), true);
        }
        self.moved = true;
        self.stream.send_trailers(h2_head::map(trailers)).map_err(|_| NotSent::Closed)
    }

    // Octets that may leave now, more than none.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, NotSent>> {
        self.stream.reserve_capacity(self.piece.len().min(RESERVE));
        loop {
            let room = self.stream.capacity();
            if room > 0 {
                return Poll::Ready(Ok(room));
            }
            if !matches!(ready!(self.stream.poll_capacity(cx)), Some(Ok(_))) {
                return Poll::Ready(Err(NotSent::Closed));
            }
        }
    }
}

/// An answer's body, from the stream that it comes by.
pub struct H2Body {
    open: Option<Open>,
    /// Octets that were announced and have not come.
    left: Option<u64>,
    trailers: FieldSection,
    deadline: Option<Pin<Box<Sleep>>>,
    patience: Patience,
}

/// A stream in use. What goes first stands first: the room is given back last.
struct Open {
    recv: RecvStream,
    upload: Upload,
    /// The request's own body, where the origin began to answer before it had all of it.
    body: Body,
    /// Why that broke off; then it is why the answer does.
    broken: Option<BodyError>,
    lease: Lease,
}

impl H2Body {
    /// The body behind a head that announced `length`, for which the origin has `patience`.
    pub fn new(
        recv: RecvStream,
        upload: Upload,
        body: Body,
        lease: Lease,
        length: Option<u64>,
        patience: Patience,
    ) -> Self {
        let open = Some(Open { recv, upload, body, broken: None, lease });
        Self { open, left: length, trailers: FieldSection::new(), deadline: None, patience }
    }

    fn end(&mut self) {
        if let Some(mut open) = self.open.take() {
            open.lease.finish();
        }
    }

    fn break_off(&mut self, why: BodyError) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.open = None;
        Poll::Ready(Some(Err(why)))
    }
}

impl Open {
    fn poll_upload(&mut self, cx: &mut Context<'_>) {
        if !self.upload.is_done()
            && let Poll::Ready(Err(stopped)) = self.upload.poll(&mut self.body, cx)
        {
            // The origin takes no more, or there is none. What it answers is read all the same.
            self.upload.is_done = true;
            if let NotSent::Body(why) = stopped {
                self.broken = Some(why);
            }
        }
    }

    // Why an answer ends before its end.
    fn why(&self, error: &::h2::Error) -> BodyError {
        let theirs = if is_called_off(error) { BodyError::Cancelled } else { BodyError::Truncated };
        self.broken.unwrap_or(theirs)
    }

    // The end of a stream may come behind its last octet, which is all that a reader waits for that
    // knows the length.
    async fn drain(mut self) {
        let to_the_end = async {
            while let Some(Ok(_)) = self.recv.data().await {}
            self.recv.is_end_stream()
        };
        if tokio::time::timeout(END, to_the_end).await == Ok(true) {
            self.lease.finish();
        }
    }
}

impl Source for H2Body {
    fn take_trailers(&mut self) -> FieldSection {
        let mut fields = std::mem::take(&mut self.trailers);
        trailers::keep_allowed(&mut fields, TRAILERS_MAX);
        fields
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) {
        if let Some(open) = &mut self.open {
            open.poll_upload(cx);
        }
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let Some(open) = &mut self.open else { return Poll::Ready(None) };
            open.poll_upload(cx);
            // An origin is not silent that is still being told something.
            if open.upload.take_moved() {
                self.deadline = None;
            }
            // An origin that is never silent may still take too long.
            if self.patience.is_over() {
                return self.break_off(BodyError::Late);
            }
            match open.recv.poll_data(cx) {
                // An end that came in a frame of its own.
                Poll::Ready(Some(Ok(data))) if data.is_empty() => {}
                Poll::Ready(Some(Ok(data))) => {
                    // The window opens as far as its reader has come.
                    let _ = open.recv.flow_control().release_capacity(data.len());
                    let has_ended = open.recv.is_end_stream();
                    self.deadline = None;
                    self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                    // Whoever knows the length does not ask for the end.
                    if has_ended {
                        self.end();
                    }
                    return Poll::Ready(Some(Ok(data)));
                }
                Poll::Ready(Some(Err(error))) => {
                    let why = open.why(&error);
                    return self.break_off(why);
                }
                Poll::Ready(None) => match ready!(open.recv.poll_trailers(cx)) {
                    Ok(trailers) => {
                        self.trailers =
                            trailers.map_or_else(FieldSection::new, |map| h2_head::section(&map));
                        self.end();
                        return Poll::Ready(None);
                    }
                    Err(error) => {
                        let why = open.why(&error);
                        return self.break_off(why);
                    }
                },
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

/// Says whether the origin has called off this one exchange.
pub fn is_called_off(error: &::h2::Error) -> bool {
    error.is_reset() && error.is_remote() && error.reason() == Some(Reason::CANCEL)
}

impl Drop for H2Body {
    fn drop(&mut self) {
        if self.left == Some(0)
            && let Some(open) = self.open.take()
            && open.upload.is_done()
            && let Ok(core) = Handle::try_current()
        {
            core.spawn(open.drain());
        }
    }
}
