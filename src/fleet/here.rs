//! The sequencer of this process: what a member asks of it, and calls that are held until there is
//! something to answer. Renewals and readings touch no file and wait for none; what changes the log
//! goes to `writer`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use super::journal::Journal;
use super::protocol::{Epoch, FleetNumber, Name, Place, Record, Refusal};
use super::sequence::{Answered, CallError, Sequence};
use super::sequencer::Sequencer;
use super::wire::{self, Call, Reply};
use super::writer::{Seen, Told, Work, Writer};
use crate::clock::Clock;
use crate::invalidation::chain::RecordId;

/// Calls that are held at once; more are answered at once.
const HELD_MAX: usize = 4000;

/// Leases where none are given.
const LEASE: Duration = Duration::from_secs(10);

/// Records that are kept for members that were away, and how often older ones are let go.
const KEPT: u64 = 100_000;
const TRIMMED: Duration = Duration::from_secs(60);

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
    fleet: Name,
    /// Where the log lies, if it is a file.
    folder: Option<PathBuf>,
    /// How long all members' leases are.
    lease: Duration,
    writer: Arc<Writer>,
    held: Semaphore,
    tally: Tally,
}

impl Here {
    /// The sequencer of a fleet, whose log lies in `folder`.
    pub fn open(folder: &Path, fleet: &Name, lease: Duration, clock: Clock) -> io::Result<Self> {
        let (journal, sequencer) = Journal::open(folder, fleet)?;
        let here = Self::over(journal, sequencer, fleet, clock);
        Ok(Self { lease, folder: Some(folder.to_path_buf()), ..here })
    }

    /// The same over an open log, with what it says.
    pub fn over(journal: Journal, sequencer: Sequencer, fleet: &Name, clock: Clock) -> Self {
        Self {
            fleet: fleet.clone(),
            folder: None,
            lease: LEASE,
            writer: Writer::new(journal, sequencer, clock),
            held: Semaphore::new(HELD_MAX),
            tally: Tally::default(),
        }
    }

    /// Whose log it is.
    pub const fn fleet(&self) -> &Name {
        &self.fleet
    }

    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Says whether a caller's leases are as long as all members' are: callers that wait for a member
    /// count on that. Versions that do not say it yet are believed.
    pub fn has_lease(&self, said: Option<&[u8]>) -> bool {
        let millis = self.lease.as_millis().to_string();
        said.is_none_or(|said| said == millis.as_bytes())
    }

    /// The epoch, and where the log ends.
    pub fn head(&self) -> (Epoch, Place) {
        self.writer.look(|sequencer| (sequencer.epoch(), sequencer.head()))
    }

    /// How many members the roster has.
    pub fn members(&self) -> usize {
        self.writer.look(|sequencer| sequencer.roster().len())
    }

    /// Changes of the log that wait to be written down.
    pub fn waiting(&self) -> usize {
        self.writer.waiting().0
    }

    /// Calls that are held now.
    pub fn held(&self) -> usize {
        HELD_MAX - self.held.available_permits()
    }

    /// Ends in order: what came before is written down, and then that nothing follows. From now on
    /// every call fails, and held ones end.
    pub async fn close(&self) -> Result<(), CallError> {
        self.queued(Work::Close).await.map(drop)
    }

    /// Goes on after the end: the log is read again, which another process may have written to.
    /// Blocks.
    pub fn reopen(&self) -> io::Result<()> {
        let folder = self.folder.as_ref().ok_or_else(|| io::Error::other("it lies in memory"))?;
        self.writer.reopen(|| Journal::open(folder, &self.fleet))
    }

    /// Lets go of what no member has to read any more, again and again, for as long as the process
    /// lives.
    pub async fn keep_short(self: Arc<Self>) {
        let mut tick = tokio::time::interval(TRIMMED);
        loop {
            tick.tick().await;
            let (epoch, head) = self.head();
            let upto = head.number.0.saturating_sub(KEPT);
            if upto > 0
                && let Err(error) = self.call(Call::Trim { epoch, upto }).await
            {
                tracing::debug!(?error, "the fleet's log was not trimmed");
            }
        }
    }

    async fn answer(&self, call: Call) -> Told {
        if !wire::is_bounded(&call) {
            return Err(CallError::Refused(Refusal::TooLarge));
        }
        self.writer.write_out_the_absent();
        match call {
            Call::Append { epoch, id, payload } => {
                let octets = wire::octets(&payload);
                // It has to fit a message as a part of an answer, too.
                if octets > wire::MESSAGE_MAX {
                    return Err(CallError::Refused(Refusal::TooLarge));
                }
                self.queued(Work::Append { epoch, id, payload, octets }).await
            }
            Call::Renew(renew) => self.writer.renew(&renew),
            Call::Read { from, most, wait } => self.read(from, most, wait).await,
            Call::Roster { id, wait } => self.roster(id, wait).await,
            Call::Trim { epoch, upto } => {
                self.queued(Work::Trim { epoch, upto: FleetNumber(upto) }).await
            }
            Call::Fence { old } => self.queued(Work::Fence { old }).await,
            Call::Kept { after } => {
                self.writer.answer(|sequencer| Ok(sequencer.kept_after(&after))).map(Reply::Kept)
            }
        }
    }

    async fn queued(&self, work: Work) -> Told {
        let heard: oneshot::Receiver<Told> = self.writer.enqueue(work)?;
        let ended = |_| Err(CallError::Failed("the sequencer's writer ended".into()));
        heard.await.unwrap_or_else(ended)
    }

    async fn read(&self, from: Place, most: usize, wait: u64) -> Told {
        let mut head = self.writer.head.subscribe();
        let before = head.borrow_and_update().epoch;
        let mut records = self.writer.answer(|sequencer| sequencer.read(from, most))?;
        if records.is_empty() {
            let is_news =
                |now: &Seen| now.number > from.number || now.epoch != before || now.is_over;
            self.hold(wait, head.wait_for(is_news)).await;
            records = self.writer.answer(|sequencer| sequencer.read(from, most))?;
        }
        Ok(Reply::Records(cut(&records)))
    }

    async fn roster(&self, id: RecordId, wait: u64) -> Told {
        let mut lowest = self.writer.lowest.subscribe();
        let before = lowest.borrow_and_update().epoch;
        // Of a record that the log does not have there is nothing to wait for.
        if let Some(number) = self.writer.look(|sequencer| sequencer.number_of(id)) {
            let is_news = |now: &Seen| now.number >= number || now.epoch != before || now.is_over;
            self.hold(wait, lowest.wait_for(is_news)).await;
        }
        self.writer.roster(id).map(Reply::Roster)
    }

    // Waits for that long, or until there is news; not at all where too many wait.
    async fn hold<F: Future>(&self, wait: u64, news: F) {
        if wait == 0 {
            return;
        }
        let Ok(_place) = self.held.try_acquire() else {
            self.tally.unheld.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let _ = tokio::time::timeout(Duration::from_millis(wait), news).await;
    }
}

impl Sequence for Here {
    fn call(&self, call: Call) -> Answered<'_> {
        Box::pin(self.answer(call))
    }
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

#[cfg(test)]
impl Here {
    /// The sequencer of a new fleet, whose log lies in memory.
    pub(super) fn in_memory(fleet: &str, clock: &Clock) -> Arc<Self> {
        let fleet = Name::parse(fleet).unwrap();
        let disk = crate::invalidation::frames::disk::Disk::default();
        let (journal, sequencer) = Journal::over(Box::new(disk), &fleet).unwrap();
        Arc::new(Self::over(journal, sequencer, &fleet, clock.clone()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::task::JoinHandle;
    use tokio::time::Instant;

    use super::super::protocol::{Change, MemberId, Payload};
    use super::super::sequencer::Renew;
    use super::*;
    use crate::distribution::fleet::Prefer;
    use crate::invalidation::chain::Incarnation;
    use crate::invalidation::frames::LogFile;
    use crate::invalidation::frames::disk::Disk;
    use crate::semantics::time::Timestamp;

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
        let payload = Payload::Member { change, member: member.clone(), prefer, program: None };
        here.call(append(here, payload)).await.unwrap();
        member
    }

    async fn renew(here: &Here, member: &MemberId) {
        let (epoch, applied) = here.head();
        here.call(Call::Renew(Renew { member: member.clone(), epoch, applied })).await.unwrap();
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
        assert!(roster.silent_for.into_values().eq([1000, 0]), "one renewed a second ago");
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

    // As the process does whose place another one could not take.
    #[tokio::test(start_paused = true)]
    async fn a_sequencer_that_ended_goes_on_with_its_log() {
        let folder = tempfile::tempdir().unwrap();
        let (fleet, clock) = (Name::parse("own").unwrap(), Clock::starting_at(Timestamp(0)));
        let here = Arc::new(Here::open(folder.path(), &fleet, LEASE, clock.clone()).unwrap());
        let a = join(&here, "a").await;
        here.close().await.unwrap();
        assert!(here.call(ticket(&here)).await.is_err());
        let ended = here.head();
        here.reopen().unwrap();
        assert_eq!((here.head(), here.members()), (ended, 1), "nothing was lost");
        renew(&here, &a).await;
        here.call(ticket(&here)).await.unwrap();
        // Where the other one has written by then, and not ended in order, an epoch is over.
        here.close().await.unwrap();
        let ended = here.head();
        let other = Arc::new(Here::open(folder.path(), &fleet, LEASE, clock).unwrap());
        other.call(ticket(&other)).await.unwrap();
        let last = other.head();
        drop(other);
        here.reopen().unwrap();
        assert_eq!(here.head().1, last.1);
        assert!(last.0 == ended.0 && here.head().0 != ended.0);
        here.call(ticket(&here)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn more_than_are_held_are_answered_at_once() {
        let here = over(Box::new(Disk::default()));
        let (_, from) = here.head();
        let call = Call::Read { from, most: 1, wait: 30_000 };
        let held: Vec<_> = (0..HELD_MAX).map(|_| asked(&here, call.clone())).collect();
        while here.held() < HELD_MAX {
            tokio::task::yield_now().await;
        }
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
        assert_eq!(here.members(), 2);
        tokio::time::advance(Duration::from_secs(120)).await;
        renew(&here, &a).await;
        // Whatever is queued behind the record is written after it.
        here.call(ticket(&here)).await.unwrap();
        assert_eq!(here.members(), 1);
        let stays = here.writer.look(|sequencer| sequencer.roster().contains_key(&a.name));
        assert!(stays);
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
        while here.writer.waiting() != (0, true) {
            tokio::task::yield_now().await;
        }
        told.extend((1..500).map(|_| asked(&here, ticket(&here))));
        // Said twice in one group, it is one record.
        let twice = ticket(&here);
        told.extend([asked(&here, twice.clone()), asked(&here, twice)]);
        while here.writer.waiting() != (501, true) {
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
