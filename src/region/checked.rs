//! Pure: what a parent's answers to checks make of it.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::distribution::region::Checks;

/// What one check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    Ready,
    /// It is about to leave, and says so.
    Draining,
    /// It gave no answer, or none that says either.
    Failed,
}

/// What all checks so far make of a parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Checked {
    /// Too few have come to an end to say.
    #[default]
    Unknown,
    Ready,
    Draining,
    /// Checks failed one after the other.
    Unhealthy,
}

/// The checks of one parent. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct CheckRecord(Arc<Mutex<State>>);

#[derive(Clone, Copy, Debug, Default)]
struct State {
    is: Checked,
    /// In a row, each ended by the other.
    failed: u32,
    answered: u32,
}

impl State {
    fn found(&mut self, found: Found, terms: &Checks) {
        if found == Found::Failed {
            self.failed = self.failed.saturating_add(1);
            self.answered = 0;
            if self.failed >= terms.unhealthy_after {
                self.is = Checked::Unhealthy;
            }
            return;
        }
        self.failed = 0;
        self.answered = self.answered.saturating_add(1);
        if self.is != Checked::Unhealthy || self.answered >= terms.healthy_after {
            self.is = if found == Found::Ready { Checked::Ready } else { Checked::Draining };
        }
    }
}

impl CheckRecord {
    /// Notes what a check found. Gives what the parent was before and what it is now.
    pub fn found(&self, found: Found, terms: &Checks) -> (Checked, Checked) {
        let mut state = self.0.lock();
        let before = state.is;
        state.found(found, terms);
        (before, state.is)
    }

    /// What all checks so far make of the parent.
    pub fn is(&self) -> Checked {
        self.0.lock().is
    }

    /// Checks that failed one after the other until now.
    pub fn failed_in_a_row(&self) -> u32 {
        self.0.lock().failed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Checks = Checks { unhealthy_after: 3, healthy_after: 2, ..Checks::DEFAULT };

    // What a parent is after each of these checks: `r`eady, `d`raining, `f`ailed.
    fn after(checks: &str) -> String {
        let record = CheckRecord::default();
        let one = |check: char| {
            let found = match check {
                'r' => Found::Ready,
                'd' => Found::Draining,
                _ => Found::Failed,
            };
            match record.found(found, &TERMS).1 {
                Checked::Unknown => '?',
                Checked::Ready => 'R',
                Checked::Draining => 'D',
                Checked::Unhealthy => 'U',
            }
        };
        checks.chars().map(one).collect()
    }

    #[test]
    fn it_takes_some_in_a_row_each_way() {
        for (checks, want) in [
            ("rrff", "RRRR"),
            ("rfff", "RRRU"),
            ("ffrff", "??RRR"),
            ("fff", "??U"),
            ("rfffr", "RRRUU"),
            ("rfffrr", "RRRUUR"),
            ("rfffrfrr", "RRRUUUUR"),
        ] {
            assert_eq!(after(checks), want, "{checks}");
        }
    }

    #[test]
    fn one_that_drains_says_so_at_once_and_is_back_at_once() {
        for (checks, want) in [
            ("rd", "RD"),
            ("d", "D"),
            ("rddr", "RDDR"),
            // It left: that its listener is gone then is no news until it stays away.
            ("rdff", "RDDD"),
            ("rdfff", "RDDDU"),
            ("rdfffrr", "RDDDUUR"),
            ("fffdd", "??UUD"),
        ] {
            assert_eq!(after(checks), want, "{checks}");
        }
    }
}
