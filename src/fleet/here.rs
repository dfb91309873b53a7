//! The sequencer of this process: the rules of `sequencer` under one lock, their log in `journal`,
//! and calls that are held until there is something to answer.
//!
//! What changes the log goes through one queue. A blocking thread empties it, takes what came
//! meanwhile together, and syncs it once. Renewals and readings touch no file and wait for none.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, oneshot, watch};

use super::journal::{Entry, Journal, OCTETS_MAX};
use super::protocol::{
    Change, Epoch, FleetNumber, MemberId, Name, Payload, Place, Record, Refusal,
};
use super::sequence::{Answered, CallError, Sequence};
use super::sequencer::{Listed, Proposal, Renew, Sequencer};
use super::wire::{self, Call, Reply};
use crate::clock::Clock;
use crate::invalidation::chain::RecordId;
use crate::semantics::time::Timestamp;

/// Calls that are held at once; more are answered at once.
const HELD_MAX: usize = 4000;
/// Changes of the log that wait to be written down; more are refused.
const QUEUE_MAX: usize = 4096;
/// Records that are written down together.
const GROUP: usize = 512;
/// A member that has not renewed for so long, in milliseconds, is written out.
const ABSENT_AFTER: u64 = 60 * 60 * 1000;
/// How often such members are looked for, in milliseconds.
const LOOK_EVERY: u64 = 60 * 1000;

/// What is counted of calls.
#[derive(Default)]
pub struct Tally {
    refused: [AtomicU64; Refusal::ALL.len()],
    /// Calls that were not held, because too many were.
    pub unheld: AtomicU64,
}

impl Tally {
    /// Notes a call that was refused.
    pub fn refuse(&self, refusal: Refusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls were refused, by name.
    pub fn refused(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        let count = move |refusal: Refusal| self.refused[refusal as usize].load(Ordering::Relaxed);
        Refusal::ALL.into_iter().map(move |refusal| (refusal.name(), count(refusal)))
    }
}

/// The sequencer of this process.
pub struct Here {
    inner: Arc<Inner>,
}

struct Inner {
    fleet: Name,
    clock: Clock,
    state: Mutex<State>,
    /// Its lock is held for as long as something is written. Always taken before the state's.
    journal: Mutex<Journal>,
    /// Where the log ends.
    head: watch::Sender<Seen>,
    /// Up to where all members have applied it.
    lowest: watch::Sender<Seen>,
    held: Semaphore,
    tally: Tally,
}

/// What a held call waits to see rise.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Seen {
    epoch: Epoch,
    number: FleetNumber,
    is_over: bool,
}

struct State {
    sequencer: Sequencer,
    queue: VecDeque<Job>,
    /// A thread is at the queue and looks at it again before it ends.
    is_writing: bool,
    /// The process ends in order: nothing is answered any more.
    is_over: bool,
    /// When each member last renewed, or joined.
    seen: BTreeMap<Name, Timestamp>,
    /// When absent members were last looked for.
    looked_at: Timestamp,
}

type Told = Result<Reply, CallError>;

struct Job {
    work: Work,
    tell: oneshot::Sender<Told>,
}

enum Work {
    Append { epoch: Epoch, id: RecordId, payload: Payload },
    Trim { epoch: Epoch, upto: FleetNumber },
    Fence { old: Epoch },
    Close,
}

/// Records that are written down together, and who is told of which.
#[derive(Default)]
struct Group {
    records: Vec<Arc<Record>>,
    told: Vec<(oneshot::Sender<Told>, Place)>,
}

enum Next {
    Group(Group),
    /// Anything else goes alone.
    Alone(Job),
}

impl Here {
    /// The sequencer of a fleet, whose log lies in `folder`.
    pub fn open(folder: &Path, fleet: &Name, clock: Clock) -> io::Result<Self> {
        let (journal, sequencer) = Journal::open(folder, fleet)?;
        Ok(Self::over(journal, sequencer, fleet, clock))
    }

    /// The same over an open log, with what it says.
    pub fn over(journal: Journal, sequencer: Sequencer, fleet: &Name, clock: Clock) -> Self {
        let now = clock.now();
        let seen = sequencer.roster().keys().map(|name| (name.clone(), now)).collect();
        let epoch = sequencer.epoch();
        let watched = |number| watch::Sender::new(Seen { epoch, number, is_over: false });
        let (head, lowest) = (watched(sequencer.head().number), watched(sequencer.lowest()));
        let state = State {
            sequencer,
            queue: VecDeque::new(),
            is_writing: false,
            is_over: false,
            seen,
            looked_at: now,
        };
        let inner = Inner {
            fleet: fleet.clone(),
            clock,
            state: Mutex::new(state),
            journal: Mutex::new(journal),
            head,
            lowest,
            held: Semaphore::new(HELD_MAX),
            tally: Tally::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Whose log it is.
    pub fn fleet(&self) -> &Name {
        &self.inner.fleet
    }

    pub fn tally(&self) -> &Tally {
        &self.inner.tally
    }

    /// The epoch, and where the log ends.
    pub fn head(&self) -> (Epoch, Place) {
        let state = self.inner.state.lock();
        (state.sequencer.epoch(), state.sequencer.head())
    }

    /// Calls that are held now.
    pub fn held(&self) -> usize {
        HELD_MAX - self.inner.held.available_permits()
    }

    /// Ends in order: what came before is written down, and then that nothing follows. From now on
    /// every call fails, and held ones end.
    pub async fn close(&self) -> Result<(), CallError> {
        self.queued(Work::Close).await.map(drop)
    }

    async fn answer(&self, call: Call) -> Told {
        if !wire::is_bounded(&call) {
            return Err(CallError::Refused(Refusal::TooLarge));
        }
        self.write_out_the_absent();
        match call {
            // In the log it takes as much as in a message, and has to fit an answer.
            Call::Append { payload, .. } if wire::octets(&payload) > wire::MESSAGE_MAX => {
                Err(CallError::Refused(Refusal::TooLarge))
            }
            Call::Append { epoch, id, payload } => {
                self.queued(Work::Append { epoch, id, payload }).await
            }
            Call::Renew(renew) => self.renew(&renew),
            Call::Read { from, most, wait } => self.read(from, most, wait).await,
            Call::Roster { id, wait } => self.roster(id, wait).await,
            Call::Trim { epoch, upto } => {
                self.queued(Work::Trim { epoch, upto: FleetNumber(upto) }).await
            }
            Call::Fence { old } => self.queued(Work::Fence { old }).await,
        }
    }

    async fn queued(&self, work: Work) -> Told {
        let heard = self.enqueue(work)?;
        heard.await.unwrap_or_else(|_| Err(failed("the sequencer's writer ended")))
    }

    fn enqueue(&self, work: Work) -> Result<oneshot::Receiver<Told>, CallError> {
        let mut state = self.inner.state.lock();
        state.is_there()?;
        if matches!(work, Work::Close) {
            state.is_over = true;
            self.inner.publish(&state);
        } else if state.queue.len() >= QUEUE_MAX {
            return Err(CallError::Refused(Refusal::Full));
        }
        let (tell, heard) = oneshot::channel();
        state.queue.push_back(Job { work, tell });
        if !std::mem::replace(&mut state.is_writing, true) {
            let inner = Arc::clone(&self.inner);
            tokio::task::spawn_blocking(move || inner.write_all());
        }
        Ok(heard)
    }

    fn renew(&self, renew: &Renew) -> Told {
        let now = self.inner.clock.now();
        let mut state = self.inner.state.lock();
        state.is_there()?;
        let renewal = state.sequencer.renew(renew).map_err(CallError::Refused)?;
        if renewal.is_listed {
            state.seen.insert(renew.member.name.clone(), now);
        }
        self.inner.publish(&state);
        Ok(Reply::Renewed(renewal))
    }

    async fn read(&self, from: Place, most: usize, wait: u64) -> Told {
        let mut head = self.inner.head.subscribe();
        let before = head.borrow_and_update().epoch;
        let mut records = self.records_after(from, most)?;
        if records.is_empty() {
            let is_news =
                |now: &Seen| now.number > from.number || now.epoch != before || now.is_over;
            self.hold(wait, head.wait_for(is_news)).await;
            records = self.records_after(from, most)?;
        }
        Ok(Reply::Records(cut(&records)))
    }

    fn records_after(&self, from: Place, most: usize) -> Result<Vec<Arc<Record>>, CallError> {
        let state = self.inner.state.lock();
        state.is_there()?;
        state.sequencer.read(from, most).map_err(CallError::Refused)
    }

    async fn roster(&self, id: RecordId, wait: u64) -> Told {
        let mut lowest = self.inner.lowest.subscribe();
        let before = lowest.borrow_and_update().epoch;
        let number = self.inner.state.lock().sequencer.number_of(id);
        // Of a record that the log does not have there is nothing to wait for.
        if let Some(number) = number {
            let is_news = |now: &Seen| now.number >= number || now.epoch != before || now.is_over;
            self.hold(wait, lowest.wait_for(is_news)).await;
        }
        let state = self.inner.state.lock();
        state.is_there()?;
        Ok(Reply::Roster(state.sequencer.roster_about(id)))
    }

    // Waits for that long, or until there is news; not at all where too many wait.
    async fn hold<F: Future>(&self, wait: u64, news: F) {
        if wait == 0 {
            return;
        }
        let Ok(_place) = self.inner.held.try_acquire() else {
            self.inner.tally.unheld.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let _ = tokio::time::timeout(Duration::from_millis(wait), news).await;
    }

    // Looked at by whichever call comes: while none does, no roster is asked for either.
    fn write_out_the_absent(&self) {
        let (epoch, absent) = {
            let mut state = self.inner.state.lock();
            (state.sequencer.epoch(), state.absent(self.inner.clock.now()))
        };
        for payload in absent {
            // One that cannot be queued is found again a minute later.
            drop(self.enqueue(Work::Append { epoch, id: RecordId::random(), payload }));
        }
    }
}

impl Sequence for Here {
    fn call(&self, call: Call) -> Answered<'_> {
        Box::pin(self.answer(call))
    }
}

fn failed(why: impl std::fmt::Display) -> CallError {
    CallError::Failed(why.to_string())
}

// As many records as fit one answer.
fn cut(records: &[Arc<Record>]) -> Vec<Record> {
    let mut octets = 0;
    let fits = |record: &&Arc<Record>| {
        let is_first = octets == 0;
        octets += wire::octets(&***record);
        is_first || octets <= wire::READ_OCTETS
    };
    records.iter().take_while(fits).map(|record| Record::clone(record)).collect()
}

impl State {
    fn is_there(&self) -> Result<(), CallError> {
        if self.is_over { Err(failed("the sequencer is leaving")) } else { Ok(()) }
    }

    // The records by which members that were not seen for long leave.
    fn absent(&mut self, now: Timestamp) -> Vec<Payload> {
        if now.millis_since(self.looked_at) < LOOK_EVERY {
            return Vec::new();
        }
        self.looked_at = now;
        let is_absent = |name: &Name| {
            self.seen.get(name).is_none_or(|seen| now.millis_since(*seen) >= ABSENT_AFTER)
        };
        let leaves = |(name, listed): (&Name, &Listed)| {
            let member = MemberId { name: name.clone(), incarnation: listed.incarnation };
            Payload::Member { change: Change::Leave, member, prefer: listed.prefer }
        };
        self.sequencer.roster().iter().filter(|(name, _)| is_absent(name)).map(leaves).collect()
    }

    fn commit(&mut self, record: Arc<Record>, now: Timestamp) {
        let name = match &record.payload {
            Payload::Member { member, .. } => Some(member.name.clone()),
            _ => None,
        };
        if let Err(refusal) = self.sequencer.commit(record) {
            tracing::error!(?refusal, "a record that was written down does not follow the log");
        }
        match name {
            Some(name) if self.sequencer.roster().contains_key(&name) => {
                self.seen.insert(name, now);
            }
            Some(name) => {
                self.seen.remove(&name);
            }
            None => {}
        }
    }
}

impl Group {
    fn take(&mut self, sequencer: &Sequencer, work: Proposed, tell: oneshot::Sender<Told>) {
        let (epoch, id, payload, is_full) = work;
        let told = match sequencer.propose_behind(&self.records, epoch, id, payload) {
            Ok(Proposal::New(_)) if is_full => Err(CallError::Refused(Refusal::Full)),
            Ok(Proposal::New(record)) => {
                self.told.push((tell, record.place()));
                self.records.push(Arc::new(record));
                return;
            }
            // One of this group: it has no place before it is written down.
            Ok(Proposal::Known(place)) if place.number > sequencer.head().number => {
                self.told.push((tell, place));
                return;
            }
            Ok(Proposal::Known(place)) => Ok(Reply::Appended(place)),
            Err(refusal) => Err(CallError::Refused(refusal)),
        };
        // A caller that has left is told nothing.
        let _ = tell.send(told);
    }
}

/// An append, and whether the log is too long for one more.
type Proposed = (Epoch, RecordId, Payload, bool);

impl Inner {
    // Tells held calls what has changed.
    fn publish(&self, state: &State) {
        let (epoch, is_over) = (state.sequencer.epoch(), state.is_over);
        for (watched, number) in
            [(&self.head, state.sequencer.head().number), (&self.lowest, state.sequencer.lowest())]
        {
            let now = Seen { epoch, number, is_over };
            watched.send_if_modified(|seen| std::mem::replace(seen, now) != now);
        }
    }

    // Empties the queue. Runs on a thread that may wait for the disk, once at a time.
    fn write_all(&self) {
        let mut journal = self.journal.lock();
        while let Some(next) = self.next(journal.octets()) {
            match next {
                Next::Group(group) => self.write(&mut journal, group),
                Next::Alone(Job { work, tell }) => {
                    let _ = tell.send(self.work(&mut journal, work));
                }
            }
        }
    }

    fn next(&self, octets: u64) -> Option<Next> {
        let mut state = self.state.lock();
        let mut group = Group::default();
        while group.records.len() < GROUP {
            match state.queue.pop_front() {
                Some(Job { work: Work::Append { epoch, id, payload }, tell }) => {
                    let work = (epoch, id, payload, octets >= OCTETS_MAX);
                    group.take(&state.sequencer, work, tell);
                }
                Some(job) if group.records.is_empty() => return Some(Next::Alone(job)),
                Some(job) => {
                    state.queue.push_front(job);
                    break;
                }
                None => break,
            }
        }
        if group.records.is_empty() {
            state.is_writing = false;
            return None;
        }
        Some(Next::Group(group))
    }

    fn write(&self, journal: &mut Journal, group: Group) {
        let entries = group.records.iter().map(|record| Entry::Record(&**record));
        let written = journal.append(entries);
        if let Err(error) = &written {
            tracing::error!(%error, "the fleet's log could not be written");
        } else {
            let now = self.clock.now();
            let mut state = self.state.lock();
            group.records.into_iter().for_each(|record| state.commit(record, now));
            self.publish(&state);
        }
        for (tell, place) in group.told {
            let told = written.as_ref().map(|_| Reply::Appended(place)).map_err(failed);
            let _ = tell.send(told);
        }
    }

    fn work(&self, journal: &mut Journal, work: Work) -> Told {
        match work {
            Work::Trim { epoch, upto } => self.trim(journal, epoch, upto),
            Work::Fence { old } => self.fence(journal, old),
            Work::Close => {
                journal.close().map_err(failed)?;
                Ok(Reply::Fenced(self.state.lock().sequencer.epoch()))
            }
            Work::Append { .. } => Err(failed("an append goes with others")),
        }
    }

    fn trim(&self, journal: &mut Journal, epoch: Epoch, upto: FleetNumber) -> Told {
        let (before, floor) = {
            let mut state = self.state.lock();
            if state.sequencer.epoch() != epoch {
                return Err(CallError::Refused(Refusal::OtherEpoch));
            }
            (state.sequencer.floor(), state.sequencer.trim(upto))
        };
        if floor != before {
            // A log that does not know has the records again at the next start, which hurts no
            // member.
            let noted = journal.append([Entry::Trimmed(floor.number)]);
            if let Err(error) = noted.and_then(|()| self.rewrite_if_trimmed(journal)) {
                tracing::warn!(%error, "the fleet's log could not be shortened; it goes on as it is");
            }
        }
        Ok(Reply::Trimmed(floor))
    }

    fn rewrite_if_trimmed(&self, journal: &mut Journal) -> io::Result<()> {
        let (epoch, past, kept) = {
            let state = self.state.lock();
            if !journal.is_mostly_trimmed(state.sequencer.count()) {
                return Ok(());
            }
            (state.sequencer.epoch(), state.sequencer.past(), state.sequencer.kept())
        };
        journal.rewrite(epoch, past, &kept)
    }

    fn fence(&self, journal: &mut Journal, old: Epoch) -> Told {
        if self.state.lock().sequencer.epoch() != old {
            return Err(CallError::Refused(Refusal::OtherEpoch));
        }
        let new = Epoch(RecordId::random());
        journal.append([Entry::Epoch(new)]).map_err(failed)?;
        let mut state = self.state.lock();
        let fenced = state.sequencer.fence(old, new);
        self.publish(&state);
        tracing::warn!("a member saw that the fleet's log has lost records; a new epoch begins");
        fenced.map(|()| Reply::Fenced(new)).map_err(CallError::Refused)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::*;
    use crate::distribution::fleet::Prefer;
    use crate::invalidation::chain::Incarnation;
    use crate::invalidation::frames::LogFile;
    use crate::invalidation::frames::disk::Disk;

    fn over(file: Box<dyn LogFile>) -> Arc<Here> {
        let fleet = Name::parse("own").unwrap();
        let (journal, sequencer) = Journal::over(file, &fleet).unwrap();
        Arc::new(Here::over(journal, sequencer, &fleet, Clock::starting_at(Timestamp(0))))
    }

    fn asked(here: &Arc<Here>, call: Call) -> JoinHandle<Told> {
        let here = Arc::clone(here);
        tokio::spawn(async move { here.call(call).await })
    }

    fn append(here: &Here, payload: Payload) -> Call {
        Call::Append { epoch: here.head().0, id: RecordId::random(), payload }
    }

    fn ticket(here: &Here) -> Call {
        append(here, Payload::TicketKeys { wrapped: "k".into() })
    }

    async fn join(here: &Here, name: &str) -> MemberId {
        let member =
            MemberId { name: Name::parse(name).unwrap(), incarnation: Incarnation::random() };
        let (change, prefer) = (Change::Join, Prefer::Freshness);
        let payload = Payload::Member { change, member: member.clone(), prefer };
        here.call(append(here, payload)).await.unwrap();
        member
    }

    async fn renew(here: &Here, member: &MemberId) {
        let (epoch, applied) = here.head();
        here.call(Call::Renew(Renew { member: member.clone(), epoch, applied })).await.unwrap();
    }

    fn members(here: &Here) -> usize {
        here.inner.state.lock().sequencer.roster().len()
    }

    #[tokio::test(start_paused = true)]
    async fn a_reading_is_held_until_there_is_a_record() {
        let here = over(Box::new(Disk::default()));
        let (_, from) = here.head();
        let reading = asked(&here, Call::Read { from, most: 10, wait: 30_000 });
        tokio::time::advance(Duration::from_secs(20)).await;
        tokio::task::yield_now().await;
        assert!(!reading.is_finished() && here.held() == 1);
        here.call(ticket(&here)).await.unwrap();
        let Ok(Reply::Records(records)) = reading.await.unwrap() else { panic!("records") };
        assert_eq!((records.len(), here.held()), (1, 0));
        let began = Instant::now();
        let (_, from) = here.head();
        let empty = here.call(Call::Read { from, most: 10, wait: 5000 }).await;
        assert_eq!(empty, Ok(Reply::Records(Vec::new())));
        assert_eq!(began.elapsed().as_secs(), 5);
    }

    #[tokio::test(start_paused = true)]
    async fn a_roster_is_held_until_all_have_applied() {
        let here = over(Box::new(Disk::default()));
        let (a, b) = (join(&here, "a").await, join(&here, "b").await);
        let call = ticket(&here);
        let Call::Append { id, .. } = call else { panic!("an append") };
        here.call(call).await.unwrap();
        let waiting = asked(&here, Call::Roster { id, wait: 30_000 });
        for member in [&a, &b] {
            tokio::time::advance(Duration::from_secs(1)).await;
            tokio::task::yield_now().await;
            assert!(!waiting.is_finished());
            renew(&here, member).await;
        }
        let Ok(Reply::Roster(roster)) = waiting.await.unwrap() else { panic!("a roster") };
        let number = roster.number.unwrap();
        assert!(roster.members.len() == 2 && number == here.head().1.number);
        assert!(roster.members.values().all(|listed| listed.applied == number));
        // Of an unknown record at once; and a new epoch ends a wait.
        let began = Instant::now();
        let unknown = Call::Roster { id: RecordId::random(), wait: 30_000 };
        assert!(matches!(here.call(unknown).await, Ok(Reply::Roster(r)) if r.number.is_none()));
        here.call(ticket(&here)).await.unwrap();
        let waiting = asked(&here, Call::Read { from: here.head().1, most: 1, wait: 30_000 });
        tokio::task::yield_now().await;
        here.call(Call::Fence { old: here.head().0 }).await.unwrap();
        assert_eq!(waiting.await.unwrap(), Ok(Reply::Records(Vec::new())));
        assert_eq!(began.elapsed().as_secs(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_are_held_are_answered_at_once() {
        let here = over(Box::new(Disk::default()));
        let (_, from) = here.head();
        let call = Call::Read { from, most: 1, wait: 30_000 };
        let held: Vec<_> = (0..HELD_MAX).map(|_| asked(&here, call.clone())).collect();
        tokio::task::yield_now().await;
        assert_eq!(here.held(), HELD_MAX);
        assert_eq!(here.call(call).await, Ok(Reply::Records(Vec::new())));
        assert_eq!(here.tally().unheld.load(Ordering::Relaxed), 1);
        here.call(ticket(&here)).await.unwrap();
        for reading in held {
            assert!(matches!(reading.await.unwrap(), Ok(Reply::Records(r)) if r.len() == 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_was_not_seen_for_an_hour_leaves() {
        let here = over(Box::new(Disk::default()));
        let (a, _) = (join(&here, "a").await, join(&here, "b").await);
        for minutes in [50, 9] {
            tokio::time::advance(Duration::from_secs(minutes * 60)).await;
            renew(&here, &a).await;
        }
        assert_eq!(members(&here), 2);
        tokio::time::advance(Duration::from_secs(120)).await;
        renew(&here, &a).await;
        // Whatever is queued behind the record is written after it.
        here.call(ticket(&here)).await.unwrap();
        assert_eq!(members(&here), 1);
        let unseen: Vec<Name> = here.inner.state.lock().seen.keys().cloned().collect();
        assert_eq!(unseen, [a.name]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_orderly_end_comes_after_all_that_was_queued() {
        let disk = Disk::default();
        let here = over(Box::new(disk.clone()));
        let (epoch, from) = here.head();
        let held =
            asked(&here, Call::Read { from: from.after(RecordId::random()), most: 1, wait: 0 });
        assert_eq!(held.await.unwrap(), Err(CallError::Refused(Refusal::UnknownPlace)));
        let last = asked(&here, ticket(&here));
        tokio::task::yield_now().await;
        here.close().await.unwrap();
        assert!(matches!(last.await.unwrap(), Ok(Reply::Appended(_))));
        assert!(matches!(here.call(ticket(&here)).await, Err(CallError::Failed(_))));
        assert!(matches!(here.close().await, Err(CallError::Failed(_))));
        let again = over(Box::new(disk));
        assert_eq!((again.head().0, again.head().1.number), (epoch, FleetNumber(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_written_is_told_and_leaves_nothing() {
        let disk = Disk::default();
        let here = over(Box::new(disk.clone()));
        disk.0.lock().fail = true;
        assert!(matches!(here.call(ticket(&here)).await, Err(CallError::Failed(_))));
        let before = here.head();
        assert!(matches!(
            here.call(Call::Fence { old: before.0 }).await,
            Err(CallError::Failed(_))
        ));
        disk.0.lock().fail = false;
        assert_eq!(here.head(), before);
        here.call(ticket(&here)).await.unwrap();
    }

    /// A disk whose syncs wait until they are let go on.
    struct Slow(Disk, mpsc::Receiver<()>);

    impl LogFile for Slow {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.0.append(bytes)
        }
        fn sync(&mut self) -> io::Result<()> {
            self.1.recv().map_err(io::Error::other)?;
            self.0.sync()
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.0.truncate(len)
        }
        fn read_all(&mut self) -> io::Result<Vec<u8>> {
            self.0.read_all()
        }
    }

    #[tokio::test]
    async fn appends_that_come_during_a_sync_share_the_next() {
        let (go, gate) = mpsc::channel();
        let disk = Disk::default();
        // The first sync is that of opening.
        go.send(()).unwrap();
        let here = over(Box::new(Slow(disk.clone(), gate)));
        let before = disk.0.lock().syncs;
        let mut told = vec![asked(&here, ticket(&here))];
        let is_at_the_disk = |state: &State| state.is_writing && state.queue.is_empty();
        while !is_at_the_disk(&here.inner.state.lock()) {
            tokio::task::yield_now().await;
        }
        told.extend((1..500).map(|_| asked(&here, ticket(&here))));
        // Said twice in one group, it is one record.
        let twice = ticket(&here);
        told.extend([asked(&here, twice.clone()), asked(&here, twice)]);
        while here.inner.state.lock().queue.len() < 501 {
            tokio::task::yield_now().await;
        }
        (0..2).for_each(|_| go.send(()).unwrap());
        let mut numbers = Vec::new();
        for told in told {
            let Ok(Reply::Appended(place)) = told.await.unwrap() else { panic!("a place") };
            numbers.push(place.number.0);
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=501).chain([501]).collect::<Vec<_>>());
        assert_eq!(disk.0.lock().syncs - before, 2);
    }
}
