//! What changes a sequencer's log goes through one queue. A blocking thread empties it, takes
//! together what came meanwhile, and syncs it once; callers are told after that.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Display;
use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::journal::{Entry, Journal, OCTETS_MAX};
use super::protocol::{
    Change, Epoch, FleetNumber, MemberId, Name, Payload, Place, Record, Refusal,
};
use super::sequence::CallError;
use super::sequencer::{Listed, Proposal, Renew, Roster, Sequencer};
use super::wire::{self, Reply};
use crate::clock::Clock;
use crate::invalidation::chain::RecordId;
use crate::semantics::time::Timestamp;

/// Changes of the log that wait to be written down; more are refused.
const QUEUE_MAX: usize = 4096;
/// And octets of them.
const QUEUED_OCTETS_MAX: usize = 64 << 20;
/// Records that are written down together.
const GROUP: usize = 512;
/// A member that has not renewed for so long, in milliseconds, is written out.
const ABSENT_AFTER: u64 = 60 * 60 * 1000;
/// How often such members are looked for, in milliseconds.
const LOOK_EVERY: u64 = 60 * 1000;

/// What a held call waits to see rise.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    pub epoch: Epoch,
    pub number: FleetNumber,
    /// The sequencer is leaving.
    pub is_over: bool,
}

/// What becomes of a call.
pub type Told = Result<Reply, CallError>;

/// A change of the log.
pub enum Work {
    Append {
        epoch: Epoch,
        id: RecordId,
        payload: Payload,
        /// What the payload takes in a message.
        octets: usize,
    },
    Trim {
        epoch: Epoch,
        upto: FleetNumber,
    },
    Fence {
        old: Epoch,
    },
    /// The orderly end, after all that came before. Its answer is the epoch that stays.
    Close,
}

/// A sequencer and its log.
pub struct Writer {
    clock: Clock,
    state: Mutex<State>,
    /// Its lock is held for as long as something is written. Always taken before the state's.
    journal: Mutex<Journal>,
    /// Where the log ends.
    pub head: watch::Sender<Seen>,
    /// Up to where all members have applied it.
    pub lowest: watch::Sender<Seen>,
}

struct State {
    sequencer: Sequencer,
    queue: VecDeque<Job>,
    /// Octets that wait in it.
    queued: usize,
    /// A thread is at the queue and looks at it again before it ends.
    is_writing: bool,
    /// The process ends in order: nothing is answered any more.
    is_over: bool,
    /// When each member last renewed, or joined.
    seen: BTreeMap<Name, Timestamp>,
    /// When absent members were last looked for.
    looked_at: Timestamp,
}

struct Job {
    work: Work,
    tell: oneshot::Sender<Told>,
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

fn failed(why: impl Display) -> CallError {
    CallError::Failed(why.to_string())
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
            Payload::Member { change: Change::Leave, member, prefer: listed.prefer, program: None }
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
            Ok(Proposal::New(record)) if is_full && !sequencer.frees(&record.payload) => {
                Err(CallError::Refused(Refusal::Full))
            }
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

impl Writer {
    /// A writer over an open log, with what it says.
    pub fn new(journal: Journal, sequencer: Sequencer, clock: Clock) -> Arc<Self> {
        let now = clock.now();
        let seen = sequencer.roster().keys().map(|name| (name.clone(), now)).collect();
        let epoch = sequencer.epoch();
        let watched = |number| watch::Sender::new(Seen { epoch, number, is_over: false });
        let (head, lowest) = (watched(sequencer.head().number), watched(sequencer.lowest()));
        let state = State {
            sequencer,
            queue: VecDeque::new(),
            queued: 0,
            is_writing: false,
            is_over: false,
            seen,
            looked_at: now,
        };
        let (state, journal) = (Mutex::new(state), Mutex::new(journal));
        Arc::new(Self { clock, state, journal, head, lowest })
    }

    /// The roster, with how long ago each member renewed.
    pub fn roster(&self, id: RecordId) -> Result<Roster, CallError> {
        let roster = self.answer(|sequencer| Ok(sequencer.roster_about(id)))?;
        let now = self.clock.now();
        let seen = self.state.lock().seen.clone();
        let silent_for = seen.into_iter().map(|(name, at)| (name, now.millis_since(at))).collect();
        Ok(Roster { silent_for, ..roster })
    }

    /// Looks at the log as it is now.
    pub fn look<T>(&self, at: impl FnOnce(&Sequencer) -> T) -> T {
        at(&self.state.lock().sequencer)
    }

    /// The same for a call, which fails once the sequencer is leaving.
    pub fn answer<T>(
        &self,
        at: impl FnOnce(&Sequencer) -> Result<T, Refusal>,
    ) -> Result<T, CallError> {
        let state = self.state.lock();
        state.is_there()?;
        at(&state.sequencer).map_err(CallError::Refused)
    }

    /// Answers a renewal.
    pub fn renew(&self, renew: &Renew) -> Told {
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.is_there()?;
        let renewal = state.sequencer.renew(renew).map_err(CallError::Refused)?;
        if renewal.is_listed {
            state.seen.insert(renew.member.name.clone(), now);
        }
        self.publish(&state);
        Ok(Reply::Renewed(renewal))
    }

    /// Has something done, and says where its outcome is told. It is done whether or not the caller
    /// stays for it.
    pub fn enqueue(self: &Arc<Self>, work: Work) -> Result<oneshot::Receiver<Told>, CallError> {
        let mut state = self.state.lock();
        state.is_there()?;
        if matches!(work, Work::Close) {
            state.is_over = true;
            self.publish(&state);
        } else if state.queue.len() >= QUEUE_MAX || state.queued >= QUEUED_OCTETS_MAX {
            return Err(CallError::Refused(Refusal::Full));
        }
        if let Work::Append { octets, .. } = &work {
            state.queued += octets;
        }
        let (tell, heard) = oneshot::channel();
        state.queue.push_back(Job { work, tell });
        if !std::mem::replace(&mut state.is_writing, true) {
            let this = Arc::clone(self);
            tokio::task::spawn_blocking(move || this.write_all());
        }
        Ok(heard)
    }

    /// Goes on after the orderly end, with the log as `open` finds it.
    pub fn reopen(
        &self,
        open: impl FnOnce() -> io::Result<(Journal, Sequencer)>,
    ) -> io::Result<()> {
        let mut journal = self.journal.lock();
        let (fresh, sequencer) = open()?;
        *journal = fresh;
        let now = self.clock.now();
        let mut state = self.state.lock();
        state.seen = sequencer.roster().keys().map(|name| (name.clone(), now)).collect();
        state.sequencer = sequencer;
        state.is_over = false;
        self.publish(&state);
        Ok(())
    }

    /// Has members written out that have not renewed for an hour. Whichever call comes looks for
    /// them: while none does, no roster is asked for either.
    pub fn write_out_the_absent(self: &Arc<Self>) {
        let (epoch, absent) = {
            let mut state = self.state.lock();
            (state.sequencer.epoch(), state.absent(self.clock.now()))
        };
        for payload in absent {
            // One that cannot be queued is found again a minute later.
            let (id, octets) = (RecordId::random(), wire::octets(&payload));
            drop(self.enqueue(Work::Append { epoch, id, payload, octets }));
        }
    }

    /// How many changes wait, and whether a thread is at them.
    pub fn waiting(&self) -> (usize, bool) {
        let state = self.state.lock();
        (state.queue.len(), state.is_writing)
    }

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
                Some(Job { work: Work::Append { epoch, id, payload, octets: taken }, tell }) => {
                    state.queued -= taken;
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
