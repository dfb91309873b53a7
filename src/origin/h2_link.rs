//! One connection over HTTP/2 to an origin, as whoever hands out its streams sees it.

use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::h2::client::SendRequest;
use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::h2_wire::STREAMS_MAX;

/// After so many requests that were given up half-way a connection takes no more: an origin may
/// take them for an attack (CVE-2023-44487) and end it for all.
const CUT_MAX: u32 = 100;

/// An open connection.
pub struct Link {
    pub id: u64,
    pub send: SendRequest<Bytes>,
    /// Requests that it carries.
    pub open: usize,
    /// Its place among the connections in use. One at rest has none: a quiet core must not keep the
    /// others from connecting.
    pub place: Option<OwnedSemaphorePermit>,
    pub is_used: bool,
    /// Requests that were given up half-way.
    pub cut: u32,
    pub idle_since: Instant,
}

impl Link {
    /// A connection that carries nothing yet.
    pub fn new(id: u64, send: SendRequest<Bytes>, place: OwnedSemaphorePermit) -> Self {
        let (place, idle_since) = (Some(place), Instant::now());
        Self { id, send, open: 0, place, is_used: false, cut: 0, idle_since }
    }

    /// False once it takes no more requests: it ended, or either side said that it will.
    pub fn is_good(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.cut < CUT_MAX && matches!(self.send.poll_ready(&mut cx), Poll::Ready(Ok(())))
    }

    /// Says whether it takes one more request.
    pub fn has_room(&mut self) -> bool {
        self.open < STREAMS_MAX.min(self.send.current_max_send_streams()) && self.is_good()
    }

    /// Takes a place among those in use, unless it has one; false if there is none.
    pub fn take_place(&mut self, gate: &Arc<Semaphore>) -> bool {
        if self.place.is_none() {
            self.place = Arc::clone(gate).try_acquire_owned().ok();
        }
        self.place.is_some()
    }

    /// Says whether it could carry requests and carries none.
    pub fn rests(&mut self) -> bool {
        self.open == 0 && self.has_room()
    }

    /// Says whether it is kept: at rest for `patience` at most.
    pub fn stays(&mut self, patience: Duration) -> bool {
        self.open > 0 || (self.idle_since.elapsed() < patience && self.is_good())
    }
}
