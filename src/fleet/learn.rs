//! What all members keep alike, as a member learns it where the log no longer tells all of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::keep::kind_of;
use super::keeper::Keeper;
use super::ledger::{Differences, Placed, Snapshot};
use super::node::Node;
use super::protocol::{Epoch, FleetNumber, Kept, KeptEntry, Payload, Refusal};
use super::sequence::CallError;
use super::wire::{Call, Reply};
use crate::invalidation::chain::RecordId;

/// What the log keeps is asked for anew so often while others change it.
const LOOKS: usize = 20;
/// What the log keeps is asked for again after a failure, and where the sequencer tells nothing.
const AGAIN: Duration = Duration::from_secs(1);
const LATER: Duration = Duration::from_secs(60);

/// What becomes of things that this member keeps and the log does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubtful {
    /// They stay: another member may be about to put them back.
    Stay,
    Go,
}

impl Node {
    // Learns again what the log keeps whenever that may not be known.
    pub(super) async fn keep_learning(&self) {
        if self.keeper.get().is_none() {
            return;
        }
        let lease = Duration::from_millis(self.terms.lease);
        loop {
            let epoch = self.member.lock().epoch();
            if epoch == Epoch::default() {
                sleep(AGAIN).await;
                continue;
            }
            match self.learn(Doubtful::Stay).await {
                Ok(true) => {}
                // The time that others have to put back what the log has lost.
                Ok(false) => {
                    sleep(lease).await;
                    // In a new one they have it anew.
                    if self.member.lock().epoch() != epoch {
                        continue;
                    }
                    if let Err(why) = self.learn(Doubtful::Go).await {
                        self.failed(&why);
                        sleep(AGAIN).await;
                        continue;
                    }
                }
                Err(why) => {
                    self.failed(&why);
                    sleep(AGAIN).await;
                    continue;
                }
            }
            self.wait_until_unlearnt().await;
        }
    }

    // A sequencer that told nothing is asked again: it may have been updated.
    async fn wait_until_unlearnt(&self) {
        loop {
            let is_told = timeout(LATER, self.unlearnt.notified()).await.is_ok();
            let epoch = self.member.lock().epoch();
            let is_learnt = self.ledger.lock().is_learnt(epoch);
            if is_told || !is_learnt {
                return;
            }
        }
    }

    /// Takes over what the log keeps, for a member that goes on from a place that it was told.
    pub(super) async fn learn_first(&self) -> Result<(), CallError> {
        self.learn(Doubtful::Stay).await.map(drop)
    }

    // Whether nothing is in doubt here afterwards.
    async fn learn(&self, doubtful: Doubtful) -> Result<bool, CallError> {
        let Some(keeper) = self.keeper.get().cloned() else { return Ok(true) };
        let _turn = self.learning.lock().await;
        for _ in 0..LOOKS {
            let seen = self.ledger.lock().changes();
            let epoch = self.member.lock().epoch();
            let Some(there) = self.kept_there(epoch).await? else { return Ok(true) };
            let awake = self.awake.read().await;
            let turn = self.applying.lock().await;
            if self.ledger.lock().changes() != seen {
                continue;
            }
            let asked = Arc::clone(&keeper);
            let own = tokio::task::spawn_blocking(move || asked.own()).await;
            let own = own.map_err(|error| CallError::Failed(error.to_string()))?;
            let mut differences = self.ledger.lock().compare(&own, &there);
            self.leave_removed(&there, &mut differences).await?;
            // A log that was followed since has lost nothing that another would put back.
            let is_sure = doubtful == Doubtful::Go || self.ledger.lock().is_settled(epoch);
            let is_settled = differences.doubtful.is_empty() || is_sure;
            if is_sure {
                resolve(&*keeper, &own, &mut differences);
            }
            if !differences.take.is_empty() {
                let ledger = Arc::clone(&self.ledger);
                let is_due = move || ledger.lock().changes() == seen;
                let taken = self.have_taken(differences.take, is_due).await;
                taken.map_err(|error| CallError::Failed(error.to_string()))?;
            }
            let left = &differences.put_back;
            if !self.ledger.lock().learn(seen, &there, left, is_settled) {
                continue;
            }
            drop((turn, awake));
            self.moved.send_modify(|count| *count += 1);
            return self.put_back(differences.put_back).await.map(|()| is_settled);
        }
        Err(CallError::Failed("what the fleet keeps changes all the time".into()))
    }

    // The log may have what seemed lost, and have said since that it is gone.
    async fn leave_removed(
        &self,
        there: &Snapshot,
        differences: &mut Differences,
    ) -> Result<(), CallError> {
        for entry in std::mem::take(&mut differences.put_back) {
            let id = self.ledger.lock().lost(&entry.name);
            let id = id.filter(|_| !there.held.contains_key(&entry.name));
            let is_there = match id {
                Some(id) => {
                    let told = self.call(Call::Roster { id, wait: 0 }).await?;
                    matches!(told, Reply::Roster(roster) if roster.number.is_some())
                }
                None => false,
            };
            if is_there {
                differences.take.push(KeptEntry { name: entry.name, content: None });
            } else {
                differences.put_back.push(entry);
            }
        }
        Ok(())
    }

    // One change each: what another member has put back meanwhile is not said twice.
    async fn put_back(&self, entries: Vec<KeptEntry>) -> Result<(), CallError> {
        for entry in entries {
            let name = entry.name.clone();
            let entries = vec![entry];
            let kind = kind_of(&name);
            match self.keep_unproven(kind, entries.clone()).await? {
                Some(placed) => {
                    tracing::info!(name, "put back into the fleet's log");
                    self.was_kept(placed, &entries);
                }
                // What came first is learnt, and the rest compared with it.
                None => {
                    self.unlearnt.notify_one();
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    // Without a lease: what was lost is put back before there is any.
    async fn keep_unproven(
        &self,
        kind: fn(Kept) -> Payload,
        entries: Vec<KeptEntry>,
    ) -> Result<Option<Placed>, CallError> {
        let epoch = self.member.lock().epoch();
        let (after, id) = (self.last_kept(), RecordId::random());
        let payload = kind(Kept { after, entries });
        match self.call(Call::Append { epoch, id, payload }).await {
            Ok(Reply::Appended(place)) => Ok(Some(Placed { id, number: place.number })),
            Ok(_) => Err(CallError::Failed("an answer to another question".into())),
            Err(CallError::Refused(Refusal::Overtaken)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    // All that the log keeps, at one moment; `None` where a sequencer knows nothing of such.
    async fn kept_there(&self, epoch: Epoch) -> Result<Option<Snapshot>, CallError> {
        let mut snapshot = Snapshot { epoch, last: FleetNumber(0), held: BTreeMap::new() };
        let mut after = String::new();
        loop {
            let page = match self.call(Call::Kept { after: after.clone() }).await {
                Ok(Reply::Kept(page)) => page,
                Ok(_) => return Err(CallError::Failed("an answer to another question".into())),
                Err(CallError::Refused(Refusal::Unknown | Refusal::Malformed)) => return Ok(None),
                Err(error) => return Err(error),
            };
            if page.epoch != epoch {
                return Err(CallError::Refused(Refusal::OtherEpoch));
            }
            if !snapshot.held.is_empty() && page.last != snapshot.last {
                snapshot.held.clear();
                after.clear();
                continue;
            }
            snapshot.last = page.last;
            let is_end = page.is_end || page.held.is_empty();
            snapshot.held.extend(page.held);
            if is_end {
                return Ok(Some(snapshot));
            }
            after =
                snapshot.held.last_key_value().map_or_else(String::new, |(name, _)| name.clone());
        }
    }
}

// Whatever is in doubt goes, or is told to the log.
fn resolve(keeper: &dyn Keeper, own: &BTreeMap<String, String>, differences: &mut Differences) {
    for name in std::mem::take(&mut differences.doubtful) {
        let content = own.get(&name).filter(|_| keeper.stays(&name)).cloned();
        if content.is_some() {
            differences.put_back.push(KeptEntry { name, content });
        } else {
            tracing::warn!(name, "the fleet does not keep this any more; it is removed here");
            differences.take.push(KeptEntry { name, content });
        }
    }
}
