//! Responses: as an origin sent them, and as a viewer gets them.

use crate::semantics::fields::FieldSection;

use super::failure::{Failure, FailureKind};
use super::key::InvalidationNumber;
use super::ran::Ran;
use super::tier::{Standing, TierFacts};
use super::verdict::Verdict;
use crate::body::Body;
use crate::semantics::time::Timestamp;

/// What a hop sent back: a final head and a body on its way.
pub struct Reply {
    pub status: u16,
    pub fields: FieldSection,
    pub body: Body,
    pub asked_at: Timestamp,
    pub arrived_at: Timestamp,
    /// What answered, for log and metrics.
    pub from: ReplyFrom,
}

/// Where a reply came from. What is known of the few that came from a tier lies elsewhere: a reply
/// passes through many functions, and is to stay small.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReplyFrom {
    Origin,
    /// A parent, and what it said of an answer from its store.
    Parent(Box<(String, Option<TierFacts>)>),
    /// A store that the fleet shares.
    Shared(Box<TakenFrom>),
}

/// What is known of a response that was taken from a store that the fleet shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenFrom {
    /// Which node gave it.
    pub node: String,
    pub facts: TierFacts,
    /// The local number under which it may be kept: what its stamp is here.
    pub number: InvalidationNumber,
    /// Hashes of its tags.
    pub tags: Box<[u64]>,
}

impl Reply {
    /// What the tier that gave it said of it; `None` if it came from an origin, at first or second
    /// hand.
    pub fn tier(&self) -> Option<TierFacts> {
        match &self.from {
            ReplyFrom::Origin => None,
            ReplyFrom::Parent(said) => said.1,
            ReplyFrom::Shared(taken) => Some(taken.facts),
        }
    }

    /// What is known of it if it was taken from a store that the fleet shares.
    pub fn shared(&self) -> Option<&TakenFrom> {
        match &self.from {
            ReplyFrom::Shared(taken) => Some(&**taken),
            ReplyFrom::Origin | ReplyFrom::Parent(_) => None,
        }
    }

    /// Says whether a tier gave it only because it could not reach the origin.
    pub fn is_stale(&self) -> bool {
        self.tier().is_some_and(|facts| facts.standing == Standing::Stale)
    }
}

/// What Cache-Status and Proxy-Status are to say of an answer beside its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// Seconds of freshness left, negative when stale.
    pub ttl: i64,
    /// The status that came from upstream.
    pub upstream: Option<u16>,
    /// What went wrong.
    pub detail: Option<FailureKind>,
    /// It is from the store of a fleet's member that may have missed an invalidation, and whose
    /// operator prefers that to a question.
    pub is_unproven: bool,
    /// It answers a write that was to be in effect everywhere, and is not known to be.
    pub is_unspread: bool,
}

/// What a viewer gets.
pub struct ViewerResponse {
    pub status: u16,
    pub fields: FieldSection,
    pub body: Body,
    pub verdict: Verdict,
    /// What its own fields are to say; they are written last.
    pub told: Told,
    /// What went wrong, for the log.
    pub failure: Option<Failure>,
    /// The behavior that answered, for the counters; `None` if none was reached.
    pub behavior: Option<usize>,
    /// Milliseconds the origin took until its head came, where one was asked.
    pub origin_millis: Option<u64>,
    /// The code at the edge that ran for it, if any did.
    pub ran: Option<Box<Ran>>,
}

impl ViewerResponse {
    /// The Content-Length among its fields: of an answer without a body, what it would be with one.
    pub fn said_length(&self) -> Option<u64> {
        self.fields.get(&http::header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
    }
}
