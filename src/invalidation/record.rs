//! Pure: a record of the log of invalidations, and what it says of other logs.

use serde::{Deserialize, Serialize};

use super::chain::{Incarnation, Mark, RecordId};
use crate::cache::invalidations::{Matcher, Severity};

/// One accepted invalidation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidationRecord {
    pub number: u64,
    pub id: String,
    pub distribution: String,
    pub matchers: Vec<Matcher>,
    pub severity: Severity,
    /// Milliseconds since the epoch; for people, decides nothing.
    pub at: u64,
    /// The edge it came from, where an edge passed it on, and how far that edge's log is in effect
    /// with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Passed>,
    /// How it was asked for through CloudFront's API, where it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub batch: Option<Batch>,
    /// What tells this record from every other, whatever their numbers. The log gives it.
    #[serde(default, skip_serializing_if = "RecordId::is_none")]
    pub identity: RecordId,
}

/// How far the log of an edge is in effect here, as written down with a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Passed {
    Marked(Passage),
    Fleet(FleetPassage),
    /// As it was written before records had an identity: the edge's log and a number, which proves
    /// nothing.
    Numbered(String, u64),
}

/// Up to which record the log of an edge is in effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Passage {
    /// `edge-id/node-id`.
    pub log: String,
    /// Which life of its holder.
    pub incarnation: Incarnation,
    pub mark: Mark,
    /// The holder said that this is its last record and that it gives no other.
    #[serde(default, skip_serializing_if = "is_open")]
    pub is_sealed: bool,
}

/// Up to which place a fleet's log is in effect here with a record, and which record of that log it
/// is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetPassage {
    pub epoch: RecordId,
    pub number: u64,
    /// Of the whole history up to there.
    pub chain: RecordId,
    /// The record's id in the fleet's log; none if it only says how far that is in effect.
    pub id: RecordId,
    /// Of what was published here, everything up to this local number has its place in that log.
    pub own: u64,
    /// Lost records of the epoch may still be put back.
    #[serde(default, skip_serializing_if = "is_open")]
    pub is_settling: bool,
}

fn is_open(is_sealed: &bool) -> bool {
    !*is_sealed
}

/// CloudFront's InvalidationBatch, as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// The caller's own name for it: said again, it is the same invalidation.
    pub reference: String,
    pub paths: Vec<String>,
}

impl InvalidationRecord {
    /// A record that has no number yet, and no identity.
    pub fn new(
        id: String,
        distribution: String,
        matchers: Vec<Matcher>,
        severity: Severity,
        at: u64,
    ) -> Self {
        Self {
            number: 0,
            id,
            distribution,
            matchers,
            severity,
            at,
            from: None,
            batch: None,
            identity: RecordId::NONE,
        }
    }

    /// Its place in the log.
    pub const fn mark(&self) -> Mark {
        Mark { number: self.number, id: self.identity }
    }
}
