//! A fleet of edges that follow one log of invalidations, as configured.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::origin::OriginTls;
use super::region::AdminUrl;
use crate::base::secret::Secret;

/// `[fleet]`: which fleet this edge is a member of, and by which terms.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// All members have the same; calls of another fleet are refused.
    pub name: String,
    /// This member's own name; no two members have the same.
    pub member: String,
    pub sequencer: SequencerAt,
    pub prefer: Prefer,
    /// How long a member may answer from its store after it last knew that it had missed nothing.
    /// The same for all members.
    pub lease: Duration,
    /// How long a call that invalidates waits for the fleet, unless it says otherwise.
    pub wait: Duration,
    /// Under which the members share ticket keys; without it each edge has its own.
    pub tickets: Option<TicketSecrets>,
}

impl Fleet {
    /// Says whether two of them come to the same membership.
    pub fn is_like(&self, other: &Self) -> bool {
        let of =
            |one: &Self| (one.name.clone(), one.member.clone(), one.prefer, one.lease, one.wait);
        let is_same_sequencer = match (&self.sequencer, &other.sequencer) {
            (SequencerAt::Here, SequencerAt::Here) | (SequencerAt::Tier, SequencerAt::Tier) => true,
            (SequencerAt::Parent(own), SequencerAt::Parent(other)) => own.is_like(other),
            _ => false,
        };
        let are_same_secrets = match (&self.tickets, &other.tickets) {
            (Some(own), Some(other)) => own.is_like(other),
            (None, None) => true,
            _ => false,
        };
        of(self) == of(other) && is_same_sequencer && are_same_secrets
    }
}

/// The keys under which a fleet's ticket keys travel, of 32 octets or more.
#[derive(Clone, Debug)]
pub struct TicketSecrets {
    pub wraps: Secret<Vec<u8>>,
    /// Opens what others wrap, while the members go from one to the other.
    pub before: Option<Secret<Vec<u8>>>,
}

impl TicketSecrets {
    fn is_like(&self, other: &Self) -> bool {
        let is_same_before = match (&self.before, &other.before) {
            (Some(own), Some(other)) => own.is_same(other),
            (None, None) => true,
            _ => false,
        };
        self.wraps.is_same(&other.wraps) && is_same_before
    }
}

/// Who gives the numbers of the fleet's log.
#[derive(Clone, Debug)]
pub enum SequencerAt {
    /// This process, for the edges that it trusts.
    Here,
    /// Another Foreshore, over its admin listener.
    Parent(SequencerParent),
    /// The Redis or Valkey of the shared tier.
    Tier,
}

impl std::fmt::Display for SequencerAt {
    /// `here`, `tier`, or the address of the parent's admin listener.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Here => f.write_str("here"),
            Self::Tier => f.write_str("tier"),
            Self::Parent(parent) => write!(f, "{}", parent.admin),
        }
    }
}

/// The Foreshore that gives the numbers, and how this edge proves itself to it.
#[derive(Clone, Debug)]
pub struct SequencerParent {
    pub admin: AdminUrl,
    /// The name by which the parent trusts this edge (`[[trusted_edge]]`).
    pub edge_id: String,
    pub token: Secret<String>,
    pub tls: OriginTls,
}

impl SequencerParent {
    fn is_like(&self, other: &Self) -> bool {
        self.admin == other.admin
            && self.edge_id == other.edge_id
            && self.token.is_same(&other.token)
            && self.tls.proves_like(&other.tls)
    }
}

/// What a member does with its store once its lease is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prefer {
    /// Everything stored is validated before use.
    Freshness,
    /// It is served, marked and counted, and the member is reported as unproven.
    Availability,
}
