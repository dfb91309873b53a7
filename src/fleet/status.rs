//! Pure: how a fleet stands as one member sees it: what `GET /v1/fleet` answers and
//! `foreshore fleet` prints, and what a caller is told of each member in regard to an invalidation.

use serde::{Deserialize, Serialize};

use super::member::Proof;
use super::protocol::{Epoch, FleetNumber, Name};
use crate::distribution::fleet::Prefer;

/// The fleet, seen from the member that is asked. Times are in milliseconds of its own clock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FleetStatus {
    pub fleet: Name,
    /// The member that answers.
    pub member: Name,
    pub epoch: Epoch,
    /// The last number of the log, as the sequencer told it last.
    pub head: FleetNumber,
    /// The last number that is in effect here.
    pub applied: FleetNumber,
    /// Records of the log that are not in effect here yet.
    pub lag: u64,
    /// How long what is stored may still be used here without another renewal; 0 once the lease is
    /// over.
    pub lease_left_ms: u64,
    /// How long a whole lease lasts.
    pub lease_ms: u64,
    pub prefer: Prefer,
    /// Invalidations that are in effect here and have no number in the fleet's log yet.
    pub outbox: usize,
    pub sequencer: SequencerStatus,
    /// All members of the roster, this one too, by name.
    pub members: Vec<MemberStatus>,
    /// The parents that this member asks, and what it thinks of each.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parents: Vec<ParentStatus>,
    /// The nodes of the shared tier that this member has asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tier: Vec<TierNode>,
}

/// A parent as this member sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParentStatus {
    pub parent: String,
    pub weight: u32,
    /// `healthy`, or what is wrong, in a word.
    pub condition: String,
    /// Why it is not asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// When it is tried again (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
}

/// A node of the shared tier, seen from the member that is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierNode {
    pub node: String,
    /// Its breaker: `closed` while it is asked.
    pub state: String,
    /// The last trouble that it gave, until it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// What it does once its memory is full (`maxmemory-policy`), where it says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<String>,
    /// What is wrong with that for a cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong: Option<String>,
}

/// What gives the numbers, and whether it answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequencerStatus {
    /// `here`, `tier`, or the address of the parent's admin listener.
    pub at: String,
    /// How long ago it answered last; absent if it never did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered_ms_ago: Option<u64>,
    /// Why the last call had no answer, or why it is refused; absent while calls are taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<String>,
}

/// A member as the roster has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    pub name: Name,
    pub applied: FleetNumber,
    /// Records of the log that it has not reported yet.
    pub lag: u64,
    /// How long ago it was heard of last; absent if the sequencer does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seen_ms_ago: Option<u64>,
    pub state: MemberState,
    pub prefer: Prefer,
    /// The version of the program that it joined with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Name>,
}

/// How a member stands to the log's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MemberState {
    /// It has reported everything.
    Applied,
    /// It is heard of, and has something left to apply.
    Behind,
    /// It was not heard of for longer than a lease.
    Silent,
}

impl MemberState {
    /// What a position and a silence come to.
    pub fn new(lag: u64, seen_ms_ago: Option<u64>, lease_ms: u64) -> Self {
        match seen_ms_ago {
            Some(silence) if silence > lease_ms => Self::Silent,
            _ if lag == 0 => Self::Applied,
            _ => Self::Behind,
        }
    }
}

/// Records between a place and the log's head.
pub const fn lag(applied: FleetNumber, head: FleetNumber) -> u64 {
    head.0.saturating_sub(applied.0)
}

/// What a caller knows of one member in regard to its invalidation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberProof {
    pub member: Name,
    pub state: Proof,
    /// Milliseconds from the call until that was known of it; of one that is waited for, until now.
    pub lag_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_silent_only_once_a_lease_has_gone_by() {
        for (lag, seen, state) in [
            (0, Some(0), MemberState::Applied),
            (0, None, MemberState::Applied),
            (3, None, MemberState::Behind),
            (3, Some(10_000), MemberState::Behind),
            (3, Some(10_001), MemberState::Silent),
            (0, Some(10_001), MemberState::Silent),
        ] {
            assert_eq!(MemberState::new(lag, seen, 10_000), state, "{lag} {seen:?}");
        }
        assert_eq!(lag(FleetNumber(7), FleetNumber(9)), 2);
        assert_eq!(lag(FleetNumber(9), FleetNumber(7)), 0);
    }

    #[test]
    fn what_is_written_is_read_again_and_more_than_is_known_is_passed_over() {
        let name = |text| Name::parse(text).unwrap();
        let status = FleetStatus {
            fleet: name("shop"),
            member: name("edge-1"),
            epoch: Epoch::default(),
            head: FleetNumber(9),
            applied: FleetNumber(7),
            lag: 2,
            lease_left_ms: 1500,
            lease_ms: 10_000,
            prefer: Prefer::Freshness,
            outbox: 1,
            sequencer: SequencerStatus {
                at: "here".into(),
                answered_ms_ago: None,
                failure: Some("refused".into()),
            },
            members: vec![MemberStatus {
                name: name("edge-2"),
                applied: FleetNumber(9),
                lag: 0,
                seen_ms_ago: Some(40),
                state: MemberState::Applied,
                prefer: Prefer::Availability,
                program: Some(name("0.1.0")),
            }],
            parents: vec![ParentStatus {
                parent: "https://parent.test".into(),
                weight: 1,
                condition: "ejected".into(),
                why: Some("5 failures in a row".into()),
                until: None,
            }],
            tier: Vec::new(),
        };
        let mut written = serde_json::to_value(&status).unwrap();
        written["of a later version"] = true.into();
        assert_eq!(written["members"][0]["state"], "applied");
        assert_eq!(serde_json::from_value::<FleetStatus>(written).unwrap(), status);
        let proof = MemberProof { member: name("edge-2"), state: Proof::Fenced, lag_ms: 10_200 };
        let written = serde_json::to_string(&proof).unwrap();
        assert_eq!(written, r#"{"member":"edge-2","state":"fenced","lag_ms":10200}"#);
    }
}
