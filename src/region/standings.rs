//! Where each parent stands, as this edge knows it: the one place that says whether an invalidation
//! is in effect everywhere, and whether a parent is worth asking.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;
use serde::Serialize;
use tokio::sync::watch;

use super::confirm::Standing;
use crate::fleet::settle::Progress;
use crate::invalidation::chain::{Incarnation, Mark};

/// How far an invalidation has come, in CloudFront's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Status {
    /// In effect here and at every parent.
    Completed,
    /// In effect here; some parent has yet to apply it.
    InProgress,
}

impl Status {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "Completed",
            Self::InProgress => "InProgress",
        }
    }
}

impl From<Progress> for Status {
    fn from(progress: Progress) -> Self {
        match progress {
            Progress::Completed => Self::Completed,
            Progress::InProgress => Self::InProgress,
        }
    }
}

/// How far one parent has come.
#[derive(Clone, Debug, Serialize)]
pub struct ParentState {
    pub parent: String,
    /// `applied`, `behind`, or `unconfirmed`: it has not confirmed this edge's log, and no answer
    /// of it is taken.
    pub state: &'static str,
    pub applied: u64,
    /// Another process runs on a copy of this edge's data folder, and speaks to this parent too.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub contested: bool,
}

/// All parents of the site in force.
pub struct Standings {
    parents: RwLock<Vec<Known>>,
    /// Which life of the log's holder the parents stand to.
    incarnation: RwLock<Incarnation>,
    changes: watch::Sender<()>,
    /// Times that another process was found to speak for this log.
    pub contests: AtomicU64,
    /// Times that records of this log were found to be lost.
    pub losses: AtomicU64,
}

#[derive(Clone)]
struct Known {
    name: String,
    standing: Standing,
    /// Up to here it was told, or telling it failed.
    tried: u64,
    is_contested: bool,
}

impl Known {
    fn has_applied(&self, number: u64) -> bool {
        matches!(self.standing, Standing::At(mark) if mark.number >= number)
    }
}

impl Default for Standings {
    fn default() -> Self {
        Self {
            parents: RwLock::default(),
            incarnation: RwLock::new(Incarnation::random()),
            changes: watch::Sender::new(()),
            contests: AtomicU64::new(0),
            losses: AtomicU64::new(0),
        }
    }
}

impl Standings {
    /// These are the parents now. What is known of those that stay is kept.
    pub fn keep(&self, names: &[String]) {
        let mut parents = self.parents.write();
        if parents.iter().map(|known| &known.name).eq(names) {
            return;
        }
        let known = |name: &String| parents.iter().find(|known| known.name == *name).cloned();
        let fresh = |name: &String| Known {
            name: name.clone(),
            standing: Standing::Unconfirmed,
            tried: 0,
            is_contested: false,
        };
        *parents = names.iter().map(|name| known(name).unwrap_or_else(|| fresh(name))).collect();
    }

    /// Where a parent stands.
    pub fn of(&self, name: &str) -> Standing {
        self.parents
            .read()
            .iter()
            .find(|known| known.name == name)
            .map_or(Standing::Unconfirmed, |known| known.standing)
    }

    /// Notes where a parent stands.
    pub fn set(&self, name: &str, standing: Standing) {
        self.change(name, |known| known.standing = standing);
    }

    /// Notes that a parent was told everything up to a number, or that it could not be.
    pub fn set_tried(&self, name: &str, number: u64) {
        self.change(name, |known| known.tried = known.tried.max(number));
    }

    /// Notes whether a parent hears two of us. True if that begins now, for this edge.
    pub fn set_contested(&self, name: &str, is_contested: bool) -> bool {
        let was = self.is_contested();
        self.change(name, |known| known.is_contested = is_contested);
        let begins = is_contested && !was;
        if begins {
            self.contests.fetch_add(1, Ordering::Relaxed);
        }
        begins
    }

    fn change(&self, name: &str, change: impl FnOnce(&mut Known)) {
        if let Some(known) = self.parents.write().iter_mut().find(|known| known.name == name) {
            change(known);
        }
        self.changes.send_replace(());
    }

    /// Which life of the log's holder this is.
    pub fn incarnation(&self) -> Incarnation {
        *self.incarnation.read()
    }

    /// Takes another incarnation, which no parent knows: none has confirmed its log.
    pub fn reincarnate(&self) {
        *self.incarnation.write() = Incarnation::random();
        self.parents.write().iter_mut().for_each(|known| known.standing = Standing::Unconfirmed);
    }

    /// Says whether some parent hears two processes that speak for this log.
    pub fn is_contested(&self) -> bool {
        self.parents.read().iter().any(|known| known.is_contested)
    }

    /// How far the invalidation with this number has come.
    pub fn status(&self, number: u64) -> Status {
        let is_everywhere = self.parents.read().iter().all(|known| known.has_applied(number));
        if is_everywhere { Status::Completed } else { Status::InProgress }
    }

    /// Each parent, as it stands to an invalidation.
    pub fn states(&self, number: u64) -> Vec<ParentState> {
        let state = |known: &Known| {
            let applied = match known.standing {
                Standing::At(Mark { number, .. }) => number,
                Standing::Unconfirmed => 0,
            };
            let state = match known.standing {
                Standing::Unconfirmed => "unconfirmed",
                Standing::At(_) if applied >= number => "applied",
                Standing::At(_) => "behind",
            };
            ParentState {
                parent: known.name.clone(),
                state,
                applied,
                contested: known.is_contested,
            }
        };
        self.parents.read().iter().map(state).collect()
    }

    // Each parent has applied it, or an attempt to tell it came to an end.
    fn is_settled(&self, number: u64) -> bool {
        self.parents.read().iter().all(|known| known.has_applied(number) || known.tried >= number)
    }

    /// Waits until every parent has applied an invalidation or could not be told, all of them under
    /// one bound.
    pub async fn settle(&self, number: u64, patience: Duration) -> Status {
        let mut changes = self.changes.subscribe();
        // Err is the bound: by then some parent has neither taken it nor failed.
        let _ = tokio::time::timeout(patience, changes.wait_for(|_| self.is_settled(number))).await;
        self.status(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::chain::RecordId;

    fn at(number: u64) -> Standing {
        Standing::At(Mark { number, id: RecordId::NONE })
    }

    #[test]
    fn completed_means_everywhere() {
        let standings = Standings::default();
        assert_eq!(standings.status(7), Status::Completed, "nobody else has to know");
        let names = ["a".to_string(), "b".to_string()];
        standings.keep(&names);
        standings.set("a", at(7));
        let states =
            |number| standings.states(number).iter().map(|state| state.state).collect::<Vec<_>>();
        assert_eq!(
            (standings.status(7), states(7)),
            (Status::InProgress, vec!["applied", "unconfirmed"])
        );
        standings.set("b", at(6));
        assert_eq!(
            (standings.status(6), standings.status(7), states(7)),
            (Status::Completed, Status::InProgress, vec!["applied", "behind"])
        );
        standings.keep(&names[..1]);
        assert_eq!(standings.status(7), Status::Completed);
        standings.keep(&names);
        assert_eq!(
            (standings.of("a"), standings.of("b")),
            (at(7), Standing::Unconfirmed),
            "who comes back begins anew"
        );
        assert!(
            standings.set_contested("a", true)
                && !standings.set_contested("b", true)
                && standings.is_contested()
        );
        let before = standings.incarnation();
        standings.reincarnate();
        assert_eq!(standings.of("a"), Standing::Unconfirmed);
        assert_ne!(standings.incarnation(), before);
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_is_told_once_everybody_was_tried() {
        let standings = Standings::default();
        standings.keep(&["a".to_string(), "b".to_string()]);
        let patience = Duration::from_secs(2);
        let began = tokio::time::Instant::now();
        assert_eq!(standings.settle(1, patience).await, Status::InProgress);
        let waited = began.elapsed();
        assert!(
            waited >= patience && waited < patience * 2,
            "two that do not answer cost one bound: {waited:?}"
        );
        standings.set("a", at(1));
        standings.set_tried("b", 1);
        assert_eq!(standings.settle(1, patience).await, Status::InProgress);
        assert_eq!(began.elapsed(), waited, "one that cannot be reached is not waited for");
        let applied = async {
            tokio::time::sleep(Duration::from_millis(10)).await;
            standings.set("a", at(2));
            standings.set("b", at(2));
        };
        let (status, ()) = tokio::join!(standings.settle(2, patience), applied);
        assert_eq!((status, began.elapsed() < patience * 2), (Status::Completed, true));
    }
}
