//! Pure: why a tier gave no answer, by name, and how often each reason came up.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why a tier gave no answer. None of them is an error for a viewer: the request goes on to the
/// next hop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Miss {
    /// There is nothing under the key.
    Absent,
    /// The entry is of another cache key with the same digest.
    Foreign,
    /// The entry is of a request that chooses another variant.
    OtherVariant,
    /// The entry has a format that this version does not know.
    Newer,
    /// The value ends before its parts do.
    Truncated,
    /// The value is longer than any of ours.
    Oversized,
    /// The value is none of ours, or is damaged.
    Malformed,
    /// The entry is in clear, and this edge has a key.
    Unsealed,
    /// The entry is sealed, and this edge has no key.
    Sealed,
    /// The entry was not sealed with one of our keys, or not for this cache key.
    WrongSeal,
    /// The piece is missing.
    PieceMissing,
    /// The piece is of another response than the meta.
    OtherGeneration,
    /// The key has no lifetime in the engine: it is not of our writing.
    Unlimited,
    /// The entry was written in another epoch of the fleet's log, or before what this edge knows
    /// of it: whether anything covers it is not known.
    Outdated,
    /// Something that is in effect here covers the entry.
    Invalidated,
    /// The entry may not be served any more, at its age.
    Expired,
    /// The body is long, and no strong tag says that another hop could go on with it.
    NoWayOn,
    /// The node's breaker is open.
    Paused,
    /// The deadline came first.
    TimedOut,
    /// No connection, or one that broke.
    Unreachable,
    /// As many calls wait for this node as may.
    Busy,
    /// The engine does not know us, or does not let us.
    Denied,
    /// The engine has no room.
    Full,
    /// The engine refused for another reason, or answered what we do not understand.
    Refused,
}

impl Miss {
    /// All of them, in the order in which they are counted.
    pub const ALL: [Self; 24] = [
        Self::Absent,
        Self::Foreign,
        Self::OtherVariant,
        Self::Newer,
        Self::Truncated,
        Self::Oversized,
        Self::Malformed,
        Self::Unsealed,
        Self::Sealed,
        Self::WrongSeal,
        Self::PieceMissing,
        Self::OtherGeneration,
        Self::Unlimited,
        Self::Outdated,
        Self::Invalidated,
        Self::Expired,
        Self::NoWayOn,
        Self::Paused,
        Self::TimedOut,
        Self::Unreachable,
        Self::Busy,
        Self::Denied,
        Self::Full,
        Self::Refused,
    ];

    /// Its name in metrics, status and Cache-Status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Absent => "absent",
            Self::Foreign => "foreign",
            Self::OtherVariant => "other-variant",
            Self::Newer => "newer-format",
            Self::Truncated => "truncated",
            Self::Oversized => "oversized",
            Self::Malformed => "malformed",
            Self::Unsealed => "unsealed",
            Self::Sealed => "sealed",
            Self::WrongSeal => "wrong-seal",
            Self::PieceMissing => "piece-missing",
            Self::OtherGeneration => "other-generation",
            Self::Unlimited => "no-lifetime",
            Self::Outdated => "outdated",
            Self::Invalidated => "invalidated",
            Self::Expired => "expired",
            Self::NoWayOn => "no-strong-tag",
            Self::Paused => "paused",
            Self::TimedOut => "timed-out",
            Self::Unreachable => "unreachable",
            Self::Busy => "busy",
            Self::Denied => "denied",
            Self::Full => "full",
            Self::Refused => "refused",
        }
    }

    /// Says whether it tells that the node is in trouble, and not only that it has no such entry.
    pub const fn is_trouble(self) -> bool {
        matches!(self, Self::TimedOut | Self::Unreachable | Self::Denied)
    }
}

/// How often each reason came up.
#[derive(Debug, Default)]
pub struct Misses([AtomicU64; Miss::ALL.len()]);

impl Misses {
    /// Counts one.
    pub fn count(&self, miss: Miss) {
        // The variants are declared in the order of `ALL`; a test holds them to it.
        if let Some(counter) = self.0.get(miss as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Each reason with how often it came up.
    pub fn read(&self) -> impl Iterator<Item = (Miss, u64)> + '_ {
        Miss::ALL.into_iter().zip(self.0.iter().map(|counter| counter.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn each_reason_has_a_name_and_a_counter_of_its_own() {
        let names: BTreeSet<&str> = Miss::ALL.iter().map(|miss| miss.name()).collect();
        assert_eq!(names.len(), Miss::ALL.len());
        let misses = Misses::default();
        for (at, miss) in Miss::ALL.into_iter().enumerate() {
            assert_eq!(miss as usize, at, "{miss:?}");
            (0..=at).for_each(|_| misses.count(miss));
        }
        for (at, (miss, count)) in misses.read().enumerate() {
            assert_eq!((miss, count), (Miss::ALL[at], at as u64 + 1));
        }
    }
}
