//! What a connection holds of one request, and what has been read of a stream.

use std::sync::Arc;
use std::task::Waker;

use bytes::{Bytes, BytesMut};
use smallvec::SmallVec;
use tokio::time::Instant;

use super::frame::Frames;
use crate::body::BodyError;
use crate::listen::exchange_log::ExchangeRecord;
use crate::listen::h2::stream::{Phase, Shared};

/// How far a stream has been read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TakenEnd {
    /// More will come.
    Open,
    /// More has come already.
    More,
    Fin,
    Reset,
    /// There is no such stream any more.
    Gone,
}

/// What became of a request whose head was read.
pub enum Begun {
    /// It is a hit, and QUIC has all of its answer.
    Answered,
    /// It is among the streams, and has something to do.
    TakenUp,
    /// The viewer wants no answer, or has none any more.
    Gone,
    /// What is stored cannot be read.
    Broken,
}

/// What was read of a stream.
pub struct Taken {
    pub pieces: SmallVec<[Bytes; 4]>,
    pub end: TakenEnd,
}

/// A request that is served, or whose answer is being sent.
pub struct Request {
    pub shared: Arc<Shared>,
    pub waker: Waker,
    pub phase: Phase,
    pub frames: Frames,
    pub is_head: bool,
    /// Framed octets that wait to be written, before whatever the phase has.
    pub unsent: BytesMut,
    /// The answer ends behind what is unsent.
    pub is_last: bool,
    /// It is in the queue of those that have octets to send.
    pub is_sendable: bool,
    /// Since when only the viewer keeps it from sending.
    pub blocked_since: Option<Instant>,
    /// Octets of the body that serving has not read.
    pub owed: usize,
    /// Serving reads no more of it.
    pub is_wasted: bool,
    /// The viewer has said all.
    pub viewer_done: bool,
    pub got: u64,
    pub announced: Option<u64>,
    /// It waits for `100 Continue`.
    pub expects: bool,
    pub answered_at: Option<Instant>,
    /// What is written down when the stream is gone.
    pub finish: Option<Box<ExchangeRecord>>,
}

impl Request {
    /// A request that has just begun.
    pub fn new(shared: Arc<Shared>, phase: Phase) -> Self {
        Self {
            waker: Waker::from(Arc::clone(&shared)),
            shared,
            phase,
            frames: Frames::default(),
            is_head: false,
            unsent: BytesMut::new(),
            is_last: false,
            is_sendable: false,
            blocked_since: None,
            owed: 0,
            is_wasted: false,
            viewer_done: true,
            got: 0,
            announced: None,
            expects: false,
            answered_at: None,
            finish: None,
        }
    }
}

impl Request {
    /// Says whether nothing more is to be read of it for now: it has ended, serving has enough to
    /// read, or what comes is not wanted, beyond what is stepped over.
    pub const fn is_full(&self, owed: usize, waste: u64) -> bool {
        self.viewer_done || self.owed >= owed || (self.is_wasted && self.got > waste)
    }
}

// However a stream ends, the reader of its body is told; the first end counts.
impl Drop for Request {
    fn drop(&mut self) {
        self.shared.end(Err(BodyError::Truncated));
    }
}
