//! What all members keep alike, as a member changes it and follows it. Where the log no longer tells
//! all of it, it is learnt (`learn`).

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::timeout;

use super::keeper::{Keeper, Untaken};
use super::ledger::Placed;
use super::node::Node;
use super::protocol::{FleetNumber, Kept, KeptEntry, Payload, Record, Refusal};
use super::sequence::CallError;
use super::sequencer::Roster;
use super::wire::{Call, Reply};
use crate::invalidation::chain::RecordId;

/// A change is said so often to a sequencer that does not answer.
const ATTEMPTS: usize = 2;
/// A caller whose decision was overtaken waits so long for what came first.
const PATIENCE: Duration = Duration::from_secs(2);

/// Why a change was not made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unkept {
    /// Another change came first: it is to be decided anew.
    Overtaken,
    /// It has more octets than a record may have.
    TooLarge,
    /// The fleet keeps as much as it may.
    Full,
    /// It cannot be said now whether it may be made; and why.
    Away(String),
}

impl Node {
    /// Has a keeper of what all members keep alike follow the log. Before `run`.
    pub fn keep_by(&self, keeper: Arc<dyn Keeper>) {
        let _ = self.keeper.set(keeper);
    }

    /// The number of the last record of this kind that is in force here.
    pub fn last_kept(&self) -> FleetNumber {
        self.ledger.lock().last()
    }

    /// Appends a change that was decided by what is in force here, while nothing else can change
    /// that. Once it has its place it is to be put in force here, and then `was_kept` be told.
    pub async fn keep(
        &self,
        kind: fn(Kept) -> Payload,
        entries: Vec<KeptEntry>,
    ) -> Result<Placed, Unkept> {
        let (epoch, is_proven) = {
            let (member, now) = (self.member.lock(), self.now());
            (member.epoch(), member.usable_until(now) > now)
        };
        if !is_proven {
            return Err(away("the fleet's sequencer is not in reach"));
        }
        let after = {
            let ledger = self.ledger.lock();
            ledger.is_learnt(epoch).then(|| ledger.last())
        };
        let after = after.ok_or_else(|| {
            away("it is not known yet what the fleet keeps, or its sequencer is of an older version that keeps nothing")
        })?;
        self.all_can_follow().await?;
        let payload = kind(Kept { after, entries });
        let id = RecordId::random();
        let mut told = Err(CallError::Failed(String::new()));
        // What an attempt without an answer has done is not known, whatever the next one is told.
        let mut may_be_done = "";
        for _ in 0..ATTEMPTS {
            let (epoch, payload) = (epoch, payload.clone());
            told = self.call(Call::Append { epoch, id, payload }).await;
            if !matches!(told, Err(CallError::Failed(_))) {
                break;
            }
            may_be_done = "; the change may take effect all the same";
        }
        match told {
            Ok(Reply::Appended(place)) => {
                self.kept.appended.fetch_add(1, Ordering::Relaxed);
                Ok(Placed { id, number: place.number })
            }
            Ok(_) => Err(away("the fleet's sequencer answered another question")),
            Err(CallError::Refused(Refusal::Overtaken)) => {
                self.kept.overtaken.fetch_add(1, Ordering::Relaxed);
                Err(Unkept::Overtaken)
            }
            Err(CallError::Refused(Refusal::TooLarge)) => Err(Unkept::TooLarge),
            Err(CallError::Refused(Refusal::Full)) => Err(Unkept::Full),
            Err(CallError::Refused(Refusal::OtherEpoch)) => {
                self.report.notify_one();
                Err(away(&format!("a new epoch of the fleet's log begins{may_be_done}")))
            }
            Err(CallError::Refused(refusal)) => {
                Err(away(&format!("the fleet's sequencer refused it as {}", refusal.name())))
            }
            Err(CallError::Failed(why)) => Err(away(&format!("{why}{may_be_done}"))),
        }
    }

    /// Notes a change of this member that is in force here.
    pub fn was_kept(&self, placed: Placed, entries: &[KeptEntry]) {
        let epoch = self.member.lock().epoch();
        {
            let mut ledger = self.ledger.lock();
            // It had to be learnt for the change to be made, and is learnt anew in a new epoch, where
            // another record may have the number.
            if !ledger.is_learnt(epoch) {
                return ledger.note_lost(placed.id, entries);
            }
            ledger.note(placed, entries);
        }
        self.confirm(placed.id, epoch, placed.number);
    }

    /// What is kept here may have been changed by something else than the log, and nothing can change
    /// it now: it is compared with the log again, and no change is made before that.
    pub fn doubt_kept(&self) {
        self.ledger.lock().doubt();
        self.unlearnt.notify_one();
    }

    /// Waits, for a while, until what came first is in force here.
    pub async fn wait_for_first(&self, seen: FleetNumber) {
        let mut moved = self.moved.subscribe();
        let waiting = async {
            loop {
                moved.mark_unchanged();
                let last = self.last_kept();
                if last > seen || moved.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = timeout(PATIENCE, waiting).await;
    }

    // A member that cannot read such a record would not get past it.
    async fn all_can_follow(&self) -> Result<(), Unkept> {
        match self.call(Call::Roster { id: RecordId::NONE, wait: 0 }).await {
            Ok(Reply::Roster(roster)) => match too_old(&roster) {
                Some(name) => Err(away(&format!(
                    "{name} runs a version that cannot follow such a change; update it first"
                ))),
                None => Ok(()),
            },
            Ok(_) => Err(away("the fleet's sequencer answered another question")),
            Err(CallError::Failed(why)) => Err(away(&why)),
            Err(CallError::Refused(refusal)) => Err(away(refusal.name())),
        }
    }

    // Has a record of the log take effect here.
    pub(super) async fn take_kept(&self, record: &Record, kept: &Kept) -> io::Result<()> {
        let placed = Placed { id: record.id, number: record.place().number };
        let ledger = Arc::clone(&self.ledger);
        let is_due = move || ledger.lock().is_due(placed.number);
        // Else it could be put in force after something newer that was learnt meanwhile.
        let _turn = self.applying.lock().await;
        if is_due() {
            self.have_taken(kept.entries.clone(), is_due).await?;
            self.kept.taken.fetch_add(1, Ordering::Relaxed);
        }
        self.ledger.lock().note(placed, &kept.entries);
        Ok(())
    }

    // What is refused is counted by name, and the log goes on.
    pub(super) async fn have_taken(
        &self,
        entries: Vec<KeptEntry>,
        is_due: impl Fn() -> bool + Send + 'static,
    ) -> io::Result<()> {
        let Some(keeper) = self.keeper.get().cloned() else { return Ok(()) };
        let taking = tokio::task::spawn_blocking(move || keeper.take(&entries, &is_due));
        match taking.await.unwrap_or_else(|error| Err(io::Error::other(error).into())) {
            Ok(()) => Ok(()),
            Err(Untaken::Refused(refusal)) => {
                self.kept.refuse(refusal);
                Ok(())
            }
            Err(Untaken::NotWritten(error)) => Err(error),
        }
    }
}

fn away(why: &str) -> Unkept {
    Unkept::Away(why.to_string())
}

/// Which kind of a record says something by its name.
pub fn kind_of(name: &str) -> fn(Kept) -> Payload {
    if name.starts_with("document/") { Payload::Document } else { Payload::Value }
}

// A member that does not say what it runs is older than such records.
fn too_old(roster: &Roster) -> Option<&str> {
    let mut members = roster.members.iter();
    members.find(|(_, listed)| listed.program.is_none()).map(|(name, _)| name.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::sync::atomic::AtomicBool;

    use parking_lot::Mutex;
    use tokio::time::sleep;

    use super::super::here::Here;
    use super::super::keeper::KeptRefusal;
    use super::super::node::NodeContext;
    use super::*;
    use crate::clock::Clock;
    use crate::semantics::time::Timestamp;

    const FLEET: &str = "own";

    // What a process keeps, in memory.
    #[derive(Default)]
    struct Shelf {
        all: Mutex<BTreeMap<String, String>>,
        refuses: Mutex<BTreeSet<String>>,
        fails: AtomicBool,
    }

    impl Keeper for Shelf {
        fn take(&self, entries: &[KeptEntry], is_due: &dyn Fn() -> bool) -> Result<(), Untaken> {
            let mut all = self.all.lock();
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("the disk is full").into());
            }
            if !is_due() {
                return Ok(());
            }
            for entry in entries {
                if self.refuses.lock().contains(&entry.name) {
                    return Err(Untaken::Refused(KeptRefusal::Malformed));
                }
                match &entry.content {
                    Some(content) => all.insert(entry.name.clone(), content.clone()),
                    None => all.remove(&entry.name),
                };
            }
            Ok(())
        }

        fn own(&self) -> BTreeMap<String, String> {
            self.all.lock().clone()
        }

        fn stays(&self, name: &str) -> bool {
            name == "value/named"
        }
    }

    struct Joined {
        node: Arc<Node>,
        shelf: Arc<Shelf>,
        _folder: tempfile::TempDir,
    }

    impl Joined {
        fn get(&self, name: &str) -> Option<String> {
            self.shelf.all.lock().get(name).cloned()
        }

        async fn put(&self, name: &str, content: Option<&str>) -> Result<(), Unkept> {
            let (name, content) = (name.to_string(), content.map(String::from));
            let entries = vec![KeptEntry { name, content }];
            let placed = self.node.keep(Payload::Document, entries.clone()).await?;
            self.shelf.take(&entries, &|| true).unwrap();
            self.node.was_kept(placed, &entries);
            Ok(())
        }
    }

    fn join(here: &Arc<Here>, name: &str, clock: &Clock, kept: &[(&str, &str)]) -> Joined {
        let folder = tempfile::tempdir().unwrap();
        let (context, records) = NodeContext::newcomer(here, name, clock, folder.path());
        let node = Node::new(context, &records);
        let shelf = Arc::new(Shelf::default());
        let kept = kept.iter().map(|(name, content)| (name.to_string(), content.to_string()));
        shelf.all.lock().extend(kept);
        node.keep_by(Arc::<Shelf>::clone(&shelf));
        tokio::spawn(Arc::clone(&node).run());
        Joined { node, shelf, _folder: folder }
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_reaches_all_and_those_that_come_later() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory(FLEET, &clock);
        let a = join(&here, "a", &clock, &[]);
        assert!(matches!(a.put("document/d/1", Some("x")).await, Err(Unkept::Away(_))));
        let b = join(&here, "b", &clock, &[]);
        sleep(Duration::from_secs(30)).await;
        a.put("document/d/1", Some("x")).await.unwrap();
        a.put("document/d/2", Some("y")).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(
            (b.get("document/d/1"), b.get("document/d/2")),
            (Some("x".into()), Some("y".into()))
        );
        b.put("document/d/1", None).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_eq!(a.get("document/d/1"), None);
        // With things of its own that the fleet does not keep: they go, after a while.
        let c = join(&here, "c", &clock, &[("document/d/1", "x"), ("document/d/2", "old")]);
        sleep(Duration::from_secs(5)).await;
        assert_eq!(c.get("document/d/2"), Some("y".into()));
        sleep(Duration::from_secs(30)).await;
        assert_eq!(c.get("document/d/1"), None);
        // What its configuration names is told to the others.
        let d = join(&here, "d", &clock, &[("value/named", "{}")]);
        sleep(Duration::from_secs(30)).await;
        for member in [&a, &b, &c, &d] {
            assert_eq!(member.get("value/named"), Some("{}".into()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn of_two_that_decide_at_once_one_decides_anew() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory(FLEET, &clock);
        let (a, b) = (join(&here, "a", &clock, &[]), join(&here, "b", &clock, &[]));
        sleep(Duration::from_secs(30)).await;
        let (one, other) =
            tokio::join!(a.put("document/d/1", Some("a")), b.put("document/d/1", Some("b")));
        let won = [&one, &other].into_iter().filter(|told| told.is_ok()).count();
        assert_eq!(won, 1, "{one:?} {other:?}");
        let (winner, loser, wanted) = if one.is_ok() { (&a, &b, "a") } else { (&b, &a, "b") };
        assert!([one, other].contains(&Err(Unkept::Overtaken)));
        loser.node.wait_for_first(FleetNumber(0)).await;
        for member in [winner, loser] {
            assert_eq!(member.get("document/d/1").as_deref(), Some(wanted));
        }
        loser.put("document/d/1", Some("again")).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_bad_is_counted_and_what_cannot_be_written_is_tried_again() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory(FLEET, &clock);
        let (a, b) = (join(&here, "a", &clock, &[]), join(&here, "b", &clock, &[]));
        sleep(Duration::from_secs(30)).await;
        b.shelf.refuses.lock().insert("document/d/1".into());
        a.put("document/d/1", Some("x")).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        let counted: Vec<_> = b.node.kept.refused().filter(|(_, count)| *count > 0).collect();
        assert_eq!((counted, b.get("document/d/1")), (vec![("malformed", 1)], None));
        assert_eq!(b.node.member.lock().applied(), here.head().1);
        b.shelf.fails.store(true, Ordering::Relaxed);
        a.put("document/d/2", Some("y")).await.unwrap();
        sleep(Duration::from_secs(5)).await;
        assert_ne!(b.node.member.lock().applied(), here.head().1);
        b.shelf.fails.store(false, Ordering::Relaxed);
        sleep(Duration::from_secs(10)).await;
        assert_eq!(b.get("document/d/2"), Some("y".into()));
        assert_eq!(b.node.member.lock().applied(), here.head().1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_fleet_is_told_what_its_first_members_keep() {
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let here = Here::in_memory(FLEET, &clock);
        let a = join(&here, "a", &clock, &[("document/d/1", "x"), ("value/s/k", "1")]);
        let b = join(&here, "b", &clock, &[]);
        sleep(Duration::from_secs(40)).await;
        for member in [&a, &b] {
            assert_eq!(member.get("document/d/1"), Some("x".into()));
            assert_eq!(member.get("value/s/k"), Some("1".into()));
        }
        a.put("document/d/1", Some("y")).await.unwrap();
    }
}
