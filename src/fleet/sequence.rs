//! What a member asks of whatever gives the numbers: a log in this process, a parent's, or an
//! engine's. A call that was refused has changed nothing; of one that failed that is not known,
//! and it may be made again: an append has an id, and everything else may be said twice.

use std::pin::Pin;

use super::protocol::Refusal;
use super::wire::{Call, Reply};
use crate::distribution::tier::Tier;

/// Why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The sequencer refused it.
    Refused(Refusal),
    /// It cannot be reached, did not answer in time, or answered what is no answer; and why.
    Failed(String),
}

/// An answer that is waited for.
pub type Answered<'s> = Pin<Box<dyn Future<Output = Result<Reply, CallError>> + Send + 's>>;

/// Gives the numbers of a fleet's log.
pub trait Sequence: Send + Sync {
    /// Makes a call. The answer is of the call's own kind, and never `Reply::Refused`.
    fn call(&self, call: Call) -> Answered<'_>;

    /// Reaches the engine of the tier that the log is on by these settings from now on, which a
    /// reload has put in force. Of no meaning where the log is elsewhere.
    fn follow_tier(&self, _tier: &Tier) {}
}
