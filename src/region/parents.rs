//! What this edge thinks of each of its parents: how it is, whether it is ejected, and what is said
//! of it to the operator.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::checked::{Checked, Found};
use super::condition::Condition;
use super::health::Terms;
use super::outliers::{Outcome, may_eject, verdict};
use super::{Parent, Region};
use crate::distribution::region::{AdminUrl, Checks, Parents, Weight};
use crate::origin::rank::{Candidate, Takes};
use crate::semantics::time::Timestamp;

/// What is counted of one parent, whatever site is in force.
#[derive(Debug, Default)]
pub struct ParentCounts {
    /// Requests that it was asked, without probes.
    pub asked: AtomicU64,
    /// Of these, those that failed, came late, or could not be answered for want of the origin.
    pub bad: AtomicU64,
    /// Checks that failed.
    pub checks_failed: AtomicU64,
    /// Times that it was ejected.
    pub ejections: AtomicU64,
}

impl ParentCounts {
    fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the operator is told of a parent.
#[derive(Clone, Debug)]
pub struct View<'r> {
    pub name: &'r str,
    pub weight: Weight,
    pub condition: Condition,
    pub counts: &'r ParentCounts,
}

impl Parent {
    /// How it is, by what was found by checks, where there are any, and by its answers.
    pub(super) fn condition(&self, checks: &Checks) -> Condition {
        let (checked, failed) = match checks.interval.is_zero() {
            true => (Checked::Unknown, 0),
            false => (self.checks.is(), self.checks.failed_in_a_row()),
        };
        Condition::of(checked, failed, self.health.pause())
    }
}

impl Region {
    /// The parents, in the order in which they are configured, each with its right to keys.
    pub fn candidates(&self) -> impl Iterator<Item = Candidate<'_>> {
        self.parents.iter().map(|parent| Candidate {
            name: &parent.name,
            weight: parent.weight,
            takes: parent.condition(&self.configured.checks).takes(),
        })
    }

    /// What is thought of each parent, in the order in which they are configured.
    pub fn views(&self) -> impl Iterator<Item = View<'_>> {
        self.parents.iter().map(|parent| View {
            name: &parent.name,
            weight: parent.weight,
            condition: parent.condition(&self.configured.checks),
            counts: &parent.counts,
        })
    }

    /// The tier as it is configured.
    pub(super) const fn configured(&self) -> &Parents {
        &self.configured
    }

    pub(super) fn parent(&self, name: &str) -> Option<&Parent> {
        self.parents.iter().find(|parent| parent.name == name)
    }

    /// The names of the parents, unless none is to be checked.
    pub(super) fn names_to_check(&self) -> impl Iterator<Item = &str> {
        let is_checked = !self.configured.checks.interval.is_zero();
        self.parents.iter().filter(move |_| is_checked).map(|parent| parent.name.as_str())
    }

    /// The admin listener of a parent.
    pub(super) fn admin_of(&self, name: &str) -> Option<&AdminUrl> {
        let at = self.parents.iter().position(|parent| parent.name == name)?;
        self.configured.all.get(at).map(|parent| &parent.admin)
    }

    /// How long to wait for a parent's next check.
    pub(super) fn rest_of(&self, name: &str, turn: u64) -> Duration {
        let Checks { interval, jitter, .. } = self.configured.checks;
        self.parent(name).map_or(interval, |parent| parent.spread.shorten(interval, jitter, turn))
    }

    /// Notes what a check of a parent found.
    pub fn checked(&self, name: &str, found: Found) {
        let Some(parent) = self.parent(name) else { return };
        if found == Found::Failed {
            ParentCounts::add(&parent.counts.checks_failed);
        }
        let (before, now) = parent.checks.found(found, &self.configured.checks);
        if before == now {
            return;
        }
        match now {
            Checked::Unhealthy => tracing::warn!(
                parent = name,
                "a parent failed its checks and is asked nothing until it passes them again"
            ),
            Checked::Draining => {
                tracing::info!(parent = name, "a parent drains and is asked nothing new")
            }
            Checked::Ready if before != Checked::Unknown => {
                tracing::info!(parent = name, "a parent passes its checks again")
            }
            Checked::Ready | Checked::Unknown => {}
        }
    }

    /// Notes what became of a request that a parent was asked, and ejects it if it is an outlier by
    /// now.
    pub(super) fn note(&self, parent: &Parent, now: Timestamp, outcome: Outcome) {
        let terms = &self.configured.ejection;
        ParentCounts::add(&parent.counts.asked);
        parent.record.note(now, outcome, terms.window);
        if outcome == Outcome::Good {
            return;
        }
        ParentCounts::add(&parent.counts.bad);
        let peers = self.parents.iter().filter(|other| other.name != parent.name);
        let sums = peers.clone().map(|other| other.record.sum(now, terms.window));
        let Some(verdict) = verdict(parent.record.sum(now, terms.window), sums, terms) else {
            return;
        };
        let is_out =
            |other: &&Parent| other.condition(&self.configured.checks).takes() == Takes::Nothing;
        if !may_eject(peers.filter(is_out).count(), self.parents.len(), terms) {
            return;
        }
        let by = Terms { ejection: *terms, spread: parent.spread };
        if let Some(until) = parent.health.eject(now, verdict, by) {
            parent.record.clear();
            ParentCounts::add(&parent.counts.ejections);
            tracing::warn!(
                parent = parent.name,
                seconds = until.millis_since(now) / 1000,
                why = %verdict,
                "a parent is ejected: its answers are worse than the others'"
            );
        }
    }
}
