//! How far an invalidation has come in the fleet, for a caller that waits: Completed when every
//! member has applied it, or is fenced so that it cannot serve what it missed.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::member::{Proof, Publication};
use super::node::{Confirmed, Node, millis};
use super::protocol::Name;
use super::sequencer::Roster;
use super::status::MemberProof;
use super::wire::{Call, Reply, WAIT_MAX};
use crate::invalidation::chain::RecordId;

/// After a failure the sequencer is asked again so much later.
const AGAIN: Duration = Duration::from_millis(100);

/// A caller that does not wait is answered within this.
const AT_ONCE: Duration = Duration::from_secs(1);

/// How far an invalidation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In effect at every member, or the member cannot serve what it missed.
    Completed,
    /// In effect here; some member may still serve what it covers.
    InProgress,
}

/// What a caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub progress: Progress,
    /// Empty while the record has no place in the fleet's log.
    pub members: Vec<MemberProof>,
}

impl Settled {
    const fn unplaced() -> Self {
        Self { progress: Progress::InProgress, members: Vec::new() }
    }
}

// When each member was first known to be done, in milliseconds of a caller's wait.
#[derive(Default)]
struct Lags(BTreeMap<Name, u64>);

impl Node {
    /// Waits until a record that was published here has come everywhere, at most so long.
    pub async fn settle(&self, id: RecordId, wait: Duration) -> Settled {
        let (begun, mut lags) = (Instant::now(), Lags::default());
        let until = begun + wait;
        let mut last = Settled::unplaced();
        loop {
            let Some(confirmed) = self.wait_for_place(id, until).await else { return last };
            let over = self.fenced_in(&confirmed);
            let left = until.saturating_duration_since(Instant::now());
            let held = left.min(over).min(Duration::from_millis(WAIT_MAX));
            let held = millis(held);
            if let Ok(Reply::Roster(roster)) = self.call(Call::Roster { id, wait: held }).await {
                let judged = self.judge(&confirmed, &roster);
                match judged.map(|proofs| Settled::of(&proofs, &roster, begun, &mut lags)) {
                    Some(settled) if settled.progress == Progress::Completed => return settled,
                    Some(settled) => last = settled,
                    // The log has lost it; the outbox has it again.
                    None => last = Settled::unplaced(),
                }
            }
            if Instant::now() >= until {
                return last;
            }
            // What has to go by is a lease, or the time in which an unlisted member had one.
            let next = match self.fenced_in(&confirmed) {
                left if left.is_zero() => AGAIN,
                left => left.min(AGAIN * 5),
            };
            sleep_until(until.min(Instant::now() + next)).await;
        }
    }

    /// Waits until all that was published here by now has come everywhere, at most so long.
    pub async fn settle_outbox(&self, wait: Duration) {
        let last = self.member.lock().outbox().last();
        if let Some((id, _)) = last {
            self.settle(id, wait).await;
        }
    }

    // How long until every lease of before the record is over.
    fn fenced_in(&self, confirmed: &Confirmed) -> Duration {
        let fenced_at = confirmed.at.plus(self.terms.fence);
        Duration::from_millis(fenced_at.seen_from(self.now()).0)
    }

    async fn wait_for_place(&self, id: RecordId, until: Instant) -> Option<Confirmed> {
        let mut moved = self.moved.subscribe();
        loop {
            moved.mark_unchanged();
            if let Some(confirmed) = self.confirmed(id) {
                return Some(confirmed);
            }
            timeout_at(until, moved.changed()).await.ok()?.ok()?;
        }
    }

    fn judge(&self, confirmed: &Confirmed, roster: &Roster) -> Option<Vec<Proof>> {
        let publication = Publication {
            epoch: confirmed.epoch,
            id: confirmed.id,
            number: confirmed.number,
            fenced_at: confirmed.at.plus(self.terms.fence),
        };
        publication.judge(roster, &self.member.lock(), self.now())
    }

    /// How far each of these records has come by now; one question to the sequencer for all.
    pub async fn progress(&self, ids: &[RecordId]) -> Vec<Progress> {
        let none = || vec![Progress::InProgress; ids.len()];
        let Some(first) = ids.first() else { return Vec::new() };
        let call = Call::Roster { id: *first, wait: 0 };
        let Ok(Ok(Reply::Roster(roster))) = timeout(AT_ONCE, self.call(call)).await else {
            return none();
        };
        ids.iter().map(|id| self.progress_of(*id, &roster)).collect()
    }

    /// How far the last change of each of these has come, of what all members keep alike; one
    /// question to the sequencer for all.
    pub async fn progress_of_kept(&self, names: &[String]) -> Vec<Progress> {
        let call = Call::Roster { id: RecordId::NONE, wait: 0 };
        let Ok(Ok(Reply::Roster(roster))) = timeout(AT_ONCE, self.call(call)).await else {
            return vec![Progress::InProgress; names.len()];
        };
        names.iter().map(|name| self.progress_of_one(name, &roster)).collect()
    }

    fn progress_of_one(&self, name: &str, roster: &Roster) -> Progress {
        let epoch = self.member.lock().epoch();
        let (placed, is_learnt) = {
            let ledger = self.ledger.lock();
            (ledger.placed(name), ledger.is_learnt(epoch))
        };
        match placed {
            Some(placed) => {
                let roster = Roster { number: Some(placed.number), ..roster.clone() };
                let (id, number) = (placed.id, placed.number);
                let now = Confirmed { id, epoch, number, at: self.now() };
                let judged = |confirmed: &Confirmed| {
                    let proofs = self.judge(confirmed, &roster);
                    proofs.map_or(Progress::InProgress, |proofs| of_all(&proofs))
                };
                // What all have reported need not be remembered.
                if judged(&now) == Progress::Completed {
                    return Progress::Completed;
                }
                let known = self.confirmed(id);
                judged(&known.unwrap_or_else(|| self.confirm(id, epoch, number)))
            }
            // The log has not told of it yet.
            None if !is_learnt => Progress::InProgress,
            None => Progress::Completed,
        }
    }

    fn progress_of(&self, id: RecordId, roster: &Roster) -> Progress {
        let is_pending = self.member.lock().is_in_effect(id);
        let Some(confirmed) = self.confirmed(id) else {
            // Behind the first place that is remembered: older than any lease, unless it was
            // appended just before this life began.
            let is_old = self.now() >= self.started.plus(self.terms.fence);
            return if is_old && !is_pending { Progress::Completed } else { Progress::InProgress };
        };
        // The roster is of a question about another record; what it says of members holds.
        let roster = Roster { number: Some(confirmed.number), ..roster.clone() };
        match self.judge(&confirmed, &roster) {
            Some(proofs) => of_all(&proofs),
            None => Progress::InProgress,
        }
    }
}

fn of_all(proofs: &[Proof]) -> Progress {
    let is_done = |proof: &Proof| matches!(proof, Proof::Applied | Proof::Fenced);
    if proofs.iter().all(is_done) { Progress::Completed } else { Progress::InProgress }
}

impl Settled {
    fn of(proofs: &[Proof], roster: &Roster, begun: Instant, lags: &mut Lags) -> Self {
        let now = millis(begun.elapsed());
        let members = roster.members.keys().zip(proofs).map(|(name, proof)| {
            let lag_ms = match proof {
                Proof::Waiting => now,
                _ => *lags.0.entry(name.clone()).or_insert(now),
            };
            MemberProof { member: name.clone(), state: *proof, lag_ms }
        });
        let members = members.collect();
        Self { progress: of_all(proofs), members }
    }
}
