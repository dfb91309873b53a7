//! What keeps the things here that all members of a fleet keep alike, as the fleet sees it, and what
//! of them is refused and counted.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use super::protocol::KeptEntry;

/// Keeps what all members keep alike, and has it take effect.
pub trait Keeper: Send + Sync {
    /// Has a change take effect here, and be there after a crash. `is_due` is asked once nothing
    /// else can change what is kept, and says whether it still has to be done. May wait for disks.
    fn take(&self, entries: &[KeptEntry], is_due: &dyn Fn() -> bool) -> Result<(), Untaken>;

    /// All that is kept here, by name. May wait for disks.
    fn own(&self) -> BTreeMap<String, String>;

    /// Whether something is there whatever the log says, and is told to a log that does not know it.
    fn stays(&self, name: &str) -> bool;
}

/// Why a change is not in force here.
#[derive(Debug)]
pub enum Untaken {
    /// It never will be as it is: it is passed over.
    Refused(KeptRefusal),
    /// It is to be tried again.
    NotWritten(io::Error),
}

impl From<io::Error> for Untaken {
    fn from(error: io::Error) -> Self {
        Self::NotWritten(error)
    }
}

/// Why something of the log is not in force here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptRefusal {
    /// It is not of the form of its kind.
    Malformed,
    /// A kind of a later version.
    UnknownKind,
    /// It is kept, and this member's own configuration does not go with it.
    Unfit,
}

impl KeptRefusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 3] = [Self::Malformed, Self::UnknownKind, Self::Unfit];

    /// Its name, in messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::UnknownKind => "unknown_kind",
            Self::Unfit => "unfit",
        }
    }
}

/// What is counted of it.
#[derive(Default)]
pub struct KeptTally {
    /// Records that took effect here.
    pub taken: AtomicU64,
    /// Changes of this member that the log took.
    pub appended: AtomicU64,
    /// Changes of this member before which another one came.
    pub overtaken: AtomicU64,
    refused: [AtomicU64; KeptRefusal::ALL.len()],
}

impl KeptTally {
    /// Notes what was refused.
    pub fn refuse(&self, refusal: KeptRefusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were refused, by name.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        KeptRefusal::ALL.into_iter().map(KeptRefusal::name).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_counted_by_name() {
        let tally = KeptTally::default();
        for (at, refusal) in KeptRefusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
            tally.refuse(refusal);
        }
        tally.refuse(KeptRefusal::Unfit);
        let counted: Vec<_> = tally.refused().collect();
        assert_eq!(counted, [("malformed", 1), ("unknown_kind", 1), ("unfit", 2)]);
    }
}
