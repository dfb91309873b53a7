//! How far an invalidation has come in the fleet, for a caller that waits: Completed when every
//! member has applied it, or is fenced so that it cannot serve what it missed.

use std::time::Duration;

use tokio::time::{Instant, sleep_until, timeout_at};

use super::member::{Proof, Publication};
use super::node::{Confirmed, Node, millis};
use super::protocol::{FleetNumber, Name};
use super::sequencer::Roster;
use super::wire::{Call, Reply, WAIT_MAX};
use crate::invalidation::chain::RecordId;

/// After a failure the sequencer is asked again so much later.
const AGAIN: Duration = Duration::from_millis(100);

/// How far an invalidation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// In effect at every member, or the member cannot serve what it missed.
    Completed,
    /// In effect here; some member may still serve what it covers.
    InProgress,
}

/// How far it has come at one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberProgress {
    pub member: Name,
    pub proof: Proof,
    /// Records by which the member is behind it.
    pub behind: u64,
}

/// What a caller is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settled {
    pub progress: Progress,
    /// Empty while the record has no place in the fleet's log.
    pub members: Vec<MemberProgress>,
}

impl Settled {
    const fn unplaced() -> Self {
        Self { progress: Progress::InProgress, members: Vec::new() }
    }
}

impl Node {
    /// Waits until a record that was published here has come everywhere, at most so long.
    pub async fn settle(&self, id: RecordId, wait: Duration) -> Settled {
        let until = Instant::now() + wait;
        let mut last = Settled::unplaced();
        loop {
            let Some(confirmed) = self.wait_for_place(id, until).await else { return last };
            let over = self.fenced_in(&confirmed);
            let left = until.saturating_duration_since(Instant::now());
            let held = left.min(over).min(Duration::from_millis(WAIT_MAX));
            let held = millis(held);
            if let Ok(Reply::Roster(roster)) = self.call(Call::Roster { id, wait: held }).await {
                match self.judge(&confirmed, &roster) {
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

    fn judge(&self, confirmed: &Confirmed, roster: &Roster) -> Option<Settled> {
        let publication = Publication {
            epoch: confirmed.epoch,
            id: confirmed.id,
            number: confirmed.number,
            fenced_at: confirmed.at.plus(self.terms.fence),
        };
        let proofs = publication.judge(roster, &self.member.lock(), self.now())?;
        Some(Settled::of(confirmed.number, &proofs, roster))
    }
}

impl Settled {
    fn of(number: FleetNumber, proofs: &[Proof], roster: &Roster) -> Self {
        let is_done = |proof: &Proof| matches!(proof, Proof::Applied | Proof::Fenced);
        let progress =
            if proofs.iter().all(is_done) { Progress::Completed } else { Progress::InProgress };
        let members = roster.members.iter().zip(proofs).map(|((name, listed), proof)| {
            let behind = number.0.saturating_sub(listed.applied.0);
            MemberProgress { member: name.clone(), proof: *proof, behind }
        });
        Self { progress, members: members.collect() }
    }
}
