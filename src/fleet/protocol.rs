//! Pure: the nouns of a fleet's log: epochs, places, records and their kinds, leases, refusals.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::cache::invalidations::{Matcher, Severity};
use crate::distribution::fleet::Prefer;
use crate::invalidation::chain::{Incarnation, RecordId};

/// Most characters of a fleet's or a member's name.
pub const NAME_MAX: usize = 64;

/// A moment of one process's own monotonic clock, in milliseconds. A lease
/// outlives its time on a machine that sleeps while that clock stands still. Never sent anywhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Moment(pub u64);

impl Moment {
    /// So many milliseconds later.
    pub const fn plus(self, millis: u64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// The same moment told from `now`: what is left until then, zero if it is over.
    pub const fn seen_from(self, now: Self) -> Self {
        Self(self.0.saturating_sub(now.0))
    }
}

/// One history of a fleet's log. Each has an id of its own, so that a sequencer which lost its disk
/// cannot give an old one again.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Epoch(pub RecordId);

/// A number of the fleet's log: dense from 1 within an epoch; 0 is before the first record.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct FleetNumber(pub u64);

impl FleetNumber {
    /// Whether it is before the first record.
    pub const fn is_start(&self) -> bool {
        self.0 == 0
    }

    /// The one after it.
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

/// The id of a whole history: a digest over the ids of all records up to a place, in their order.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct ChainId(RecordId);

impl ChainId {
    /// Of no history.
    pub const START: Self = Self(RecordId::NONE);

    /// Reads what `record_id` gave.
    pub const fn from_record_id(id: RecordId) -> Self {
        Self(id)
    }

    /// As it is written down.
    pub const fn record_id(self) -> RecordId {
        self.0
    }

    /// The history that goes on with one more record.
    pub fn after(self, id: RecordId) -> Self {
        Self(RecordId::of_octets(format!("{}{id}", self.0).as_bytes()))
    }
}

/// A place in a fleet's log. Two logs that share one have the same records up to there.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub number: FleetNumber,
    pub chain: ChainId,
}

impl Place {
    /// Before the first record.
    pub const START: Self = Self { number: FleetNumber(0), chain: ChainId::START };

    /// The place of the record with this id that follows here.
    pub fn after(self, id: RecordId) -> Self {
        Self { number: self.number.next(), chain: self.chain.after(id) }
    }
}

/// Up to where the log was in effect when the request for a stored response began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stamp {
    pub epoch: Epoch,
    pub number: FleetNumber,
}

impl Stamp {
    /// Reads what `Display` writes: `epoch/number`.
    pub fn parse(text: &str) -> Option<Self> {
        let (epoch, number) = text.split_once('/')?;
        let number = crate::semantics::lists::parse_digits(number.as_bytes())?;
        Some(Self { epoch: Epoch(RecordId::parse(epoch)?), number: FleetNumber(number) })
    }
}

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.epoch.0, self.number.0)
    }
}

/// The name of a fleet or of a member: 1 to 64 of `a-z`, `0-9`, `-`, `.` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        let is_plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b);
        let fits = !text.is_empty() && text.len() <= NAME_MAX && text.bytes().all(is_plain);
        fits.then(|| Self(text.into()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("a name has 1 to 64 of a-z, 0-9, \"-\", \".\" and \"_\"")
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().into()
    }
}

/// The version of this program, as a member tells it.
pub fn own_program() -> Option<Name> {
    Name::parse(env!("CARGO_PKG_VERSION"))
}

/// A member in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberId {
    pub name: Name,
    pub incarnation: Incarnation,
}

/// How a roster changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    Join,
    Leave,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Payload {
    Invalidation {
        /// What its caller was told to ask for it by; empty for what follows from a viewer's
        /// write.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
        distribution: String,
        matchers: Vec<Matcher>,
        severity: Severity,
    },
    Member {
        change: Change,
        member: MemberId,
        prefer: Prefer,
        /// The version of the program that it runs; absent where it leaves.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<Name>,
    },
    /// Ticket keys, wrapped under the configured key, in base64.
    TicketKeys { wrapped: String },
    /// What members tell each other of certificates that one of them orders, wrapped as well.
    Issuing { wrapped: String },
    /// Documents of the API.
    Document(Kept),
    /// Key value stores, and what is in them.
    Value(Kept),
}

impl Payload {
    /// What all members keep alike by it, if it is about such.
    pub const fn kept(&self) -> Option<&Kept> {
        match self {
            Self::Document(kept) | Self::Value(kept) => Some(kept),
            Self::Invalidation { .. }
            | Self::Member { .. }
            | Self::TicketKeys { .. }
            | Self::Issuing { .. } => None,
        }
    }
}

/// A change of what all members keep alike: all of it, or nothing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// The number of the last record of this kind that its writer had seen. If there is a later
    /// one, the writer has decided about what is no longer so, and the record is refused.
    pub after: FleetNumber,
    pub entries: Vec<KeptEntry>,
}

impl Kept {
    /// Octets of what it says.
    pub fn octets(&self) -> usize {
        self.entries.iter().map(KeptEntry::octets).sum()
    }
}

/// Something that all members keep alike, by its name. What it says may be secret.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptEntry {
    /// A kind, a slash, and what tells it from others of the kind.
    pub name: String,
    /// Without any it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
}

impl KeptEntry {
    /// Whether it is something whole: with it goes all that is named below it.
    pub fn is_whole(&self) -> bool {
        self.name.matches('/').count() == 1
    }

    fn octets(&self) -> usize {
        self.name.len() + self.content.as_ref().map_or(0, String::len)
    }
}

impl std::fmt::Debug for KeptEntry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let octets = self.content.as_ref().map(String::len);
        f.debug_struct("KeptEntry").field("name", &self.name).field("octets", &octets).finish()
    }
}

/// A record of the log, in its place.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    pub epoch: Epoch,
    pub id: RecordId,
    /// The place that it follows.
    pub prev: Place,
    pub payload: Payload,
}

impl Record {
    /// Its own place.
    pub fn place(&self) -> Place {
        self.prev.after(self.id)
    }
}

/// The times of a fleet, in milliseconds, the same for all members.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Terms {
    /// How long a lease lasts, from when it was asked for.
    pub lease: u64,
    /// How long a caller waits for a member that says nothing, on its own clock.
    pub fence: u64,
}

impl Terms {
    /// Clocks may be one in a hundred fast or slow each: a fast caller waits 101/99 of a slow
    /// member's lease, which is a 49th longer, and the millisecond by which moments are cut off.
    pub const fn of_lease(lease: u64) -> Self {
        Self { lease, fence: lease.saturating_add(lease.div_ceil(49) + 1) }
    }
}

/// Why a call or an answer was refused. Whatever is refused has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    Malformed,
    Unknown,
    TooLarge,
    OlderVersion,
    NewerVersion,
    ForeignFleet,
    /// An edge speaks as a member that is not itself.
    ForeignMember,
    OtherEpoch,
    NotListed,
    Superseded,
    Replayed,
    /// A record that does not follow on where the member stands.
    OutOfOrder,
    Trimmed,
    /// A place that is not in this log.
    UnknownPlace,
    Full,
    /// Another change of what all keep alike came first, and its writer had not seen it.
    Overtaken,
    /// The caller's leases are of another length: whoever waits for it would not wait long enough.
    OtherLease,
}

impl Refusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 17] = [
        Self::Malformed,
        Self::Unknown,
        Self::TooLarge,
        Self::OlderVersion,
        Self::NewerVersion,
        Self::ForeignFleet,
        Self::ForeignMember,
        Self::OtherEpoch,
        Self::NotListed,
        Self::Superseded,
        Self::Replayed,
        Self::OutOfOrder,
        Self::Trimmed,
        Self::UnknownPlace,
        Self::Full,
        Self::Overtaken,
        Self::OtherLease,
    ];

    /// Its name, in messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::TooLarge => "too_large",
            Self::OlderVersion => "older_version",
            Self::NewerVersion => "newer_version",
            Self::ForeignFleet => "foreign_fleet",
            Self::ForeignMember => "foreign_member",
            Self::OtherEpoch => "other_epoch",
            Self::NotListed => "not_listed",
            Self::Superseded => "superseded",
            Self::Replayed => "replayed",
            Self::OutOfOrder => "out_of_order",
            Self::Trimmed => "trimmed",
            Self::UnknownPlace => "unknown_place",
            Self::Full => "full",
            Self::Overtaken => "overtaken",
            Self::OtherLease => "other_lease",
        }
    }

    /// Whether it meets a member again and again, until its settings or its version are others.
    pub const fn lasts(self) -> bool {
        matches!(
            self,
            Self::OlderVersion
                | Self::NewerVersion
                | Self::ForeignFleet
                | Self::ForeignMember
                | Self::OtherLease
        )
    }

    /// What it says to whoever looks after the member that was refused, and what helps.
    pub const fn said(self) -> &'static str {
        match self {
            Self::OlderVersion => {
                "this version of Foreshore is older than the sequencer's takes: update this edge"
            }
            Self::NewerVersion => {
                "this version of Foreshore is newer than the sequencer's: update the sequencer"
            }
            Self::ForeignFleet => {
                "the sequencer is another fleet's: fleet.name has to be the same on all members"
            }
            Self::ForeignMember => {
                "the edge that this one's token proves has another name: fleet.member has to be the \
                 id of its [[trusted_edge]] there"
            }
            Self::OtherLease => {
                "the sequencer's lease is another: fleet.lease has to be the same on all members"
            }
            other => other.name(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fastest_caller_waits_for_the_slowest_member() {
        for lease in [1, 49, 1000, 3333, 10_000, 60_000] {
            let fence = Terms::of_lease(lease).fence;
            // A moment that is cut off may be a millisecond early.
            assert!((fence - 1) * 99 >= lease * 101, "{lease}: {fence}");
        }
    }

    #[test]
    fn refusals_are_named_as_they_are_written() {
        for (at, refusal) in Refusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
            let written = serde_json::to_string(&refusal).unwrap();
            assert_eq!(written, format!("\"{}\"", refusal.name()));
            // What does not pass by itself says what helps.
            assert_eq!(refusal.lasts(), refusal.said() != refusal.name(), "{refusal:?}");
        }
    }
}
