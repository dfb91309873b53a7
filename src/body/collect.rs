//! A body read whole, as long as it is short.

use std::collections::VecDeque;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::{Body, BodyError, Source};
use crate::semantics::fields::FieldSection;

/// Reads a body of at most `max` octets. One that is longer, or breaks off, comes back with nothing
/// of it lost.
pub async fn collect(mut body: Body, max: u64) -> Result<Bytes, Body> {
    let length = body.length();
    if length.is_some_and(|len| len > max) {
        return Err(body);
    }
    let (mut read, mut len) = (VecDeque::new(), 0);
    while let Some(piece) = body.piece().await {
        len += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        let is_broken = piece.is_err();
        read.push_back(piece);
        if len > max || is_broken {
            return Err(Body::Wire(Box::new(Prefixed { read, rest: body }), length));
        }
    }
    let mut whole = Vec::with_capacity(len as usize);
    read.into_iter().flatten().for_each(|piece| whole.extend_from_slice(&piece));
    Ok(Bytes::from(whole))
}

/// Reads the first octets of a body: them, whether there is more, and the body with nothing of it
/// lost.
pub async fn peek(mut body: Body, max: u64) -> (Bytes, bool, Body) {
    let length = body.length();
    let (mut read, mut len, mut is_cut) = (VecDeque::new(), 0, false);
    while let Some(piece) = body.piece().await {
        len += piece.as_ref().map_or(0, |piece| piece.len() as u64);
        is_cut = piece.is_err() || len > max;
        read.push_back(piece);
        if is_cut {
            break;
        }
    }
    let mut first = Vec::with_capacity(len.min(max) as usize);
    for piece in read.iter().filter_map(|piece| piece.as_ref().ok()) {
        let room = max as usize - first.len();
        first.extend_from_slice(&piece[..piece.len().min(room)]);
    }
    let first = Bytes::from(first);
    let whole = match (is_cut, first.is_empty()) {
        (true, _) => Body::Wire(Box::new(Prefixed { read, rest: body }), length),
        (false, true) => Body::Empty,
        (false, false) => Body::Bytes(first.clone()),
    };
    (first, is_cut, whole)
}

/// A body of which the first pieces were read already.
struct Prefixed {
    read: VecDeque<Result<Bytes, BodyError>>,
    rest: Body,
}

impl Source for Prefixed {
    fn take_trailers(&mut self) -> FieldSection {
        self.rest.take_trailers()
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        match self.read.pop_front() {
            Some(piece) => Poll::Ready(Some(piece)),
            None => self.rest.poll_piece(cx),
        }
    }
}
