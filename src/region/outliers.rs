//! Pure: which parent's answers are markedly worse than those of the other parents.
//!
//! What ails all of them, an origin that is down above all, makes none of them an outlier.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::distribution::region::Ejection;
use crate::semantics::time::Timestamp;

/// What became of a request that a parent was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Good,
    /// Its first sign came late, by the parent's own measure: one that is far away is not late.
    Late,
    /// The parent could not reach the origin.
    Gateway,
    /// No answer came, or not all of it.
    Failed,
}

/// The outcomes of one parent, of late. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Record(Arc<Mutex<Window>>);

// Two halves: the older one is dropped when a third begins.
#[derive(Clone, Copy, Debug, Default)]
struct Window {
    /// When the younger half began, in milliseconds since the epoch.
    began: u64,
    young: Counted,
    old: Counted,
    in_a_row: u32,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    asked: u32,
    bad: u32,
}

/// The outcomes of one parent within a window, summed up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    pub asked: u32,
    /// Of these, all that were not good.
    pub bad: u32,
    /// How many of these came last, one after the other.
    pub in_a_row: u32,
}

impl Window {
    fn roll(&mut self, now: Timestamp, window: Duration) {
        let half = (window.as_millis() as u64 / 2).max(1);
        let behind = now.millis_since(Timestamp(self.began));
        if behind >= 2 * half {
            *self = Self { began: now.0, ..Self::default() };
        } else if behind >= half {
            self.old = std::mem::take(&mut self.young);
            self.began += half;
        }
    }

    fn sum(&self) -> Sum {
        Sum {
            asked: self.young.asked.saturating_add(self.old.asked),
            bad: self.young.bad.saturating_add(self.old.bad),
            in_a_row: self.in_a_row,
        }
    }
}

impl Record {
    /// Notes what became of a request.
    pub fn note(&self, now: Timestamp, outcome: Outcome, window: Duration) {
        let mut state = self.0.lock();
        state.roll(now, window);
        state.young.asked = state.young.asked.saturating_add(1);
        if outcome == Outcome::Good {
            state.in_a_row = 0;
        } else {
            state.young.bad = state.young.bad.saturating_add(1);
            state.in_a_row = state.in_a_row.saturating_add(1);
        }
    }

    /// Notes that an answer that was good so far has a body that was not.
    pub fn turned_bad(&self, now: Timestamp, window: Duration) {
        let mut state = self.0.lock();
        state.roll(now, window);
        state.young.bad = state.young.bad.saturating_add(1).min(state.young.asked);
    }

    /// The outcomes within the window that ends now.
    pub fn sum(&self, now: Timestamp, window: Duration) -> Sum {
        let mut state = self.0.lock();
        state.roll(now, window);
        state.sum()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        *self.0.lock() = Window::default();
    }
}

/// Why a parent is an outlier: its figures beside those of all others together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    pub own: Sum,
    pub others: Sum,
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { own, others } = self;
        write!(
            f,
            "{} of its last {} answers were failures or late ({} in a row), of the others' {} of {}",
            own.bad, own.asked, own.in_a_row, others.bad, others.asked
        )
    }
}

/// Says whether a parent is an outlier among its peers: by the share of what was bad, where there
/// was enough of it, or by how many came in a row. Its share must be more than twice that of the
/// others, and no other may be in such a row.
pub fn verdict(own: Sum, peers: impl Iterator<Item = Sum>, terms: &Ejection) -> Option<Verdict> {
    let others = peers.fold(Sum::default(), |all, peer| Sum {
        asked: all.asked.saturating_add(peer.asked),
        bad: all.bad.saturating_add(peer.bad),
        in_a_row: all.in_a_row.max(peer.in_a_row),
    });
    let is_worse = others.asked == 0
        || u64::from(own.bad) * u64::from(others.asked)
            > 2 * u64::from(others.bad) * u64::from(own.asked);
    let is_above = u64::from(own.bad) * 100 > u64::from(own.asked) * u64::from(terms.failures);
    let by_share = own.asked >= terms.requests && is_above && is_worse;
    let by_row = own.in_a_row >= terms.in_a_row && others.in_a_row == 0;
    (by_share || by_row).then_some(Verdict { own, others })
}

/// Says whether one more of `all` parents may be ejected where so many others are out, for whatever
/// reason.
pub fn may_eject(others_out: usize, all: usize, terms: &Ejection) -> bool {
    (others_out + 1) * 100 <= all * usize::from(terms.most)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Ejection = Ejection::DEFAULT;

    fn sum(asked: u32, bad: u32, in_a_row: u32) -> Sum {
        Sum { asked, bad, in_a_row }
    }

    #[test]
    fn an_outlier_is_much_worse_than_its_peers() {
        let well = sum(100, 2, 0);
        for (own, peers, want) in [
            (sum(20, 11, 0), &[well, well][..], true),
            (sum(20, 10, 0), &[well, well], false),
            (sum(19, 19, 9), &[well, well], false),
            (sum(19, 19, 10), &[well, well], true),
            (sum(19, 19, 10), &[well, sum(3, 1, 1)], false),
            (sum(20, 20, 20), &[], true),
            (sum(20, 20, 20), &[Sum::default()], true),
            // All of them suffer: it is the origin.
            (sum(40, 40, 40), &[sum(30, 30, 30), sum(50, 50, 50)], false),
            (sum(40, 24, 0), &[sum(40, 12, 0)], false),
            (sum(40, 24, 0), &[sum(40, 11, 0)], true),
        ] {
            let got = verdict(own, peers.iter().copied(), &TERMS);
            assert_eq!(got.is_some(), want, "{own:?} beside {peers:?}");
        }
    }

    #[test]
    fn never_more_than_the_share_that_is_allowed() {
        let allowed = |all: usize, most: u8| {
            let terms = Ejection { most, ..TERMS };
            (0..all).take_while(|out| may_eject(*out, all, &terms)).count()
        };
        let half: Vec<usize> = (1..8).map(|all| allowed(all, 50)).collect();
        assert_eq!(half, [0, 1, 1, 2, 2, 3, 3], "a single one never");
        assert_eq!((allowed(5, 0), allowed(5, 100), allowed(10, 30)), (0, 5, 3));
    }

    #[test]
    fn only_what_is_recent_counts() {
        let (record, window) = (Record::default(), Duration::from_secs(10));
        let at = |secs: u64| Timestamp::from_secs(1_000 + secs);
        let note = |secs, outcome| record.note(at(secs), outcome, window);
        (0..10).for_each(|_| note(0, Outcome::Failed));
        (0..10).for_each(|_| note(4, Outcome::Gateway));
        assert_eq!(record.sum(at(4), window), sum(20, 20, 20));
        note(6, Outcome::Late);
        assert_eq!(record.sum(at(9), window), sum(21, 21, 21), "the half before still counts");
        note(9, Outcome::Good);
        assert_eq!(record.sum(at(9), window), sum(22, 21, 0));
        assert_eq!(record.sum(at(11), window), sum(2, 1, 0), "a third half began");
        record.turned_bad(at(11), window);
        assert_eq!(record.sum(at(11), window), sum(2, 1, 0), "nothing was asked in this one yet");
        note(11, Outcome::Good);
        record.turned_bad(at(11), window);
        assert_eq!(record.sum(at(11), window), sum(3, 2, 0));
        assert_eq!(record.sum(at(40), window), Sum::default());
        note(40, Outcome::Failed);
        record.clear();
        assert_eq!(record.sum(at(40), window), Sum::default());
    }
}
