//! This process as a member of a fleet: its state, what it says of it to the store, and how a
//! record of the fleet's log takes effect here. What it does all day is in `follow`.

use std::collections::{HashSet, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedRwLockWriteGuard, RwLock, watch};

use super::issuing::SharedIssuing;
use super::keeper::{Keeper, KeptTally};
use super::ledger::Ledger;
use super::member::Member;
use super::protocol::{
    Change, Epoch, FleetNumber, MemberId, Moment, Name, Payload, Place, Record, Stamp, Terms,
};
use super::restore::{is_published_here, passage_of};
use super::sequence::Sequence;
use super::status::{FleetStatus, MemberState, MemberStatus, SequencerStatus, lag};
use super::ticket_keys::SharedTickets;
use super::wire::{Call, Reply};
use crate::cache::invalidations::{Invalidations, Matcher, Severity};
use crate::clock::Clock;
use crate::distribution::fleet::Prefer;
use crate::distribution::tier::Tier;
use crate::invalidation::chain::RecordId;
use crate::invalidation::log::{FleetPassage, InvalidationLog, InvalidationRecord, Passed};
use crate::invalidation::service::{Durability, Invalidator};
use crate::message::key::InvalidationNumber;
use crate::semantics::time::Timestamp;

/// Appended records whose confirmation is remembered for callers that wait.
const CONFIRMED: usize = 10_000;

/// What a member is made of.
pub struct NodeContext {
    pub fleet: Name,
    pub id: MemberId,
    pub prefer: Prefer,
    pub lease: Duration,
    pub sequence: Arc<dyn Sequence>,
    pub table: Arc<Invalidations>,
    pub invalidation: Arc<Invalidator>,
    pub log: Arc<InvalidationLog>,
    pub clock: Clock,
    /// Gives the ids of the distributions of the site in force.
    pub ids: Box<dyn Fn() -> Vec<String> + Send + Sync>,
    /// The ticket keys that the fleet shares, where a key to wrap them under is configured.
    pub tickets: Option<SharedTickets>,
    /// What is told of ordered certificates, under the same condition.
    pub issuing: Option<SharedIssuing>,
}

#[cfg(test)]
impl NodeContext {
    /// A member of a sequencer's fleet that has an empty data folder and shares nothing, and what
    /// its own log has.
    pub(super) fn newcomer(
        here: &Arc<super::here::Here>,
        name: &str,
        clock: &Clock,
        folder: &std::path::Path,
    ) -> (Self, Vec<InvalidationRecord>) {
        let table = Arc::new(Invalidations::new(100));
        let memory = Arc::new(crate::store::Memory::new(1 << 20, 4));
        let invalidation = Invalidator::new(Arc::clone(&table), memory, clock.clone());
        let (log, records) = InvalidationLog::open(folder).unwrap();
        let log = Arc::new(log);
        invalidation.keep_log(Arc::clone(&log), &records);
        let name = Name::parse(name).unwrap();
        let incarnation = crate::invalidation::chain::Incarnation::random();
        let context = Self {
            fleet: here.fleet().clone(),
            id: MemberId { name, incarnation },
            prefer: Prefer::Freshness,
            lease: Duration::from_secs(10),
            sequence: Arc::clone(here) as Arc<dyn Sequence>,
            table,
            invalidation,
            log,
            clock: clock.clone(),
            ids: Box::new(Vec::new),
            tickets: None,
            issuing: None,
        };
        (context, records)
    }
}

/// A record that has a place in the fleet's log, and when this process heard so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Confirmed {
    pub id: RecordId,
    pub epoch: Epoch,
    pub number: FleetNumber,
    pub at: Moment,
}

/// How the sequencer is reached.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// When it last answered.
    pub heard_at: Option<Timestamp>,
    /// Why it did not, since then, or why it refuses whatever this member asks.
    pub failure: Option<String>,
    /// It refuses this member whatever it asks, until a lease is given again.
    pub is_refused: bool,
}

/// What is counted.
#[derive(Default)]
pub struct Tally {
    pub renewals: AtomicU64,
    pub failures: AtomicU64,
    /// Records of other members that took effect here.
    pub applied: AtomicU64,
    /// Records of this member that the log took.
    pub appended: AtomicU64,
    /// Times that everything was invalidated because the thread was lost.
    pub forgotten: AtomicU64,
    /// Times that another process took this member's name.
    pub superseded: AtomicU64,
    /// Answers of a shared tier that were older than what this member knows.
    pub outdated: AtomicU64,
    /// Answers from the store while nothing was proven.
    pub unproven: AtomicU64,
}

/// While this is held nothing of the fleet's log takes effect at a member.
pub type Rest = OwnedRwLockWriteGuard<()>;

/// A member of a fleet.
pub struct Node {
    pub(super) context: NodeContext,
    pub(super) terms: Terms,
    pub(super) member: Mutex<Member>,
    /// Of what was published here, everything up to this local number has its place.
    own: AtomicU64,
    confirmed: Mutex<VecDeque<Confirmed>>,
    /// What was appended in this epoch and not read back yet.
    pub(super) sent: Mutex<HashSet<RecordId>>,
    /// Woken when there is something to append.
    pub(super) outbox: Notify,
    /// Woken when the place is to be reported, or a lease to be asked for.
    pub(super) report: Notify,
    /// Changes when the place to read from has.
    pub(super) position: watch::Sender<u64>,
    /// Changes when a record was confirmed, or the member's place has moved.
    pub(super) moved: watch::Sender<u64>,
    pub(super) turn: AtomicU64,
    pub(super) reach: Mutex<Reach>,
    pub(super) is_failing: AtomicBool,
    /// Nothing stored is used any more, and the roster is not joined again.
    pub(super) has_left: AtomicBool,
    pub(super) started: Moment,
    /// What keeps here what all members keep alike.
    pub(super) keeper: OnceLock<Arc<dyn Keeper>>,
    /// Where that stands in the log.
    pub(super) ledger: Arc<Mutex<Ledger>>,
    /// Held while it is learnt what the log keeps.
    pub(super) learning: tokio::sync::Mutex<()>,
    /// Held while something that the log says is put in force and noted; taken after `learning`.
    pub(super) applying: tokio::sync::Mutex<()>,
    /// Woken when that may not be known any more.
    pub(super) unlearnt: Notify,
    /// Read while something of the log takes effect here, and before anything else is taken.
    pub(super) awake: Arc<RwLock<()>>,
    /// Another process has this one's place: nothing takes effect here any more.
    pub(super) retired: Mutex<Option<Rest>>,
    pub tally: Tally,
    pub kept: KeptTally,
}

impl Node {
    /// A member that goes on where `records`, its own log, left off. From here on nothing stored
    /// is used without a lease.
    pub fn new(context: NodeContext, records: &[InvalidationRecord]) -> Arc<Self> {
        let known = super::restore::restored(records);
        let now = moment(context.clock.now());
        let terms = Terms::of_lease(millis(context.lease));
        let who = (context.id.clone(), context.prefer);
        let own = records.iter().filter_map(passage_of).map(|passage| passage.own).max();
        // What was published here before there was a fleet is not for it.
        let own = own.or_else(|| records.last().map(|record| record.number)).unwrap_or(0);
        let is_new = known.is_none();
        let member = match known {
            Some(known) => Member::restored(who, terms, known, now),
            None => Member::new(who, terms, now),
        };
        let node = Arc::new(Self {
            terms,
            member: Mutex::new(member),
            own: AtomicU64::new(own),
            confirmed: Mutex::default(),
            sent: Mutex::default(),
            outbox: Notify::new(),
            report: Notify::new(),
            position: watch::Sender::new(0),
            moved: watch::Sender::new(0),
            turn: AtomicU64::new(0),
            reach: Mutex::default(),
            is_failing: AtomicBool::new(false),
            has_left: AtomicBool::new(false),
            started: now,
            keeper: OnceLock::new(),
            ledger: Arc::default(),
            learning: tokio::sync::Mutex::default(),
            applying: tokio::sync::Mutex::default(),
            unlearnt: Notify::new(),
            awake: Arc::default(),
            retired: Mutex::default(),
            tally: Tally::default(),
            kept: KeptTally::default(),
            context,
        });
        node.say_usable(&node.member.lock());
        if is_new {
            node.note_beginning(own);
        }
        let publisher = Arc::downgrade(&node);
        node.context.invalidation.keep_publisher(Box::new(move |record| {
            if let Some(node) = publisher.upgrade() {
                node.publish(record);
            }
        }));
        node
    }

    // Writes down that the fleet is followed from here on: what is published before it is first
    // reached goes out even if the process ends before that.
    fn note_beginning(&self, own: u64) {
        let nothing = RecordId::NONE;
        let passage = FleetPassage {
            epoch: nothing,
            number: 0,
            chain: nothing,
            id: nothing,
            own,
            is_settling: true,
        };
        let record = InvalidationRecord { from: Some(Passed::Fleet(passage)), ..self.blank() };
        if let Err(error) = self.context.invalidation.accept(record, Durability::Synced) {
            tracing::warn!(%error, "that the fleet is followed from here on could not be written down");
        }
    }

    // A record that invalidates nothing.
    fn blank(&self) -> InvalidationRecord {
        let (name, distribution) = (String::new(), String::new());
        let at = self.context.clock.now().0;
        InvalidationRecord::new(name, distribution, Vec::new(), Severity::Hard, at)
    }

    // An invalidation is about to take effect here, and has no place in the fleet's log.
    fn publish(&self, record: &InvalidationRecord) {
        if is_published_here(record) {
            let local = InvalidationNumber(record.number);
            self.member.lock().publish(record.identity, local);
            self.outbox.notify_one();
        }
    }

    pub(super) fn now(&self) -> Moment {
        moment(self.context.clock.now())
    }

    /// What a request that begins now writes on its response.
    pub fn stamp(&self) -> Stamp {
        self.member.lock().stamp()
    }

    /// The local number under which a response of a shared tier or of a parent may be taken in;
    /// `None` if it proves nothing here.
    pub fn adopt(&self, stamp: Stamp) -> Option<InvalidationNumber> {
        let number = self.member.lock().adopt(stamp);
        if number.is_none() {
            self.tally.outdated.fetch_add(1, Ordering::Relaxed);
        }
        number
    }

    // Tells every lookup until when what is stored may be used.
    pub(super) fn say_usable(&self, member: &Member) {
        if self.has_left.load(Ordering::Relaxed) {
            return self.context.table.use_until(Timestamp(0));
        }
        let until = Timestamp(member.usable_until(self.now()).0);
        match self.context.prefer {
            Prefer::Freshness => self.context.table.use_until(until),
            Prefer::Availability => self.context.table.prove_until(until),
        }
    }

    // Notes that a record has its place, as of now.
    pub(super) fn confirm(&self, id: RecordId, epoch: Epoch, number: FleetNumber) -> Confirmed {
        let new = Confirmed { id, epoch, number, at: self.now() };
        let mut confirmed = self.confirmed.lock();
        confirmed.push_back(new);
        if confirmed.len() > CONFIRMED {
            confirmed.pop_front();
        }
        drop(confirmed);
        self.moved.send_modify(|count| *count += 1);
        new
    }

    // Where a record stands in the log of this epoch, if it does.
    pub(super) fn confirmed(&self, id: RecordId) -> Option<Confirmed> {
        let (epoch, place) = {
            let member = self.member.lock();
            (member.epoch(), member.place_of(id))
        };
        let is_it = |known: &&Confirmed| known.id == id && known.epoch == epoch;
        let known = self.confirmed.lock().iter().rev().find(is_it).copied();
        // Of one whose confirmation was lost, or is of an earlier life or epoch, it is not known
        // when it was appended: a member that has not heard of it may have a lease from just before.
        known.or_else(|| place.map(|number| self.confirm(id, epoch, number)))
    }

    // Has a record of the fleet's log take effect here, synced, and notes its place.
    pub(super) async fn apply(&self, record: &Record) -> io::Result<()> {
        let _awake = self.awake.read().await;
        let is_in_effect = {
            let member = self.member.lock();
            if let Err(refusal) = member.check(record) {
                return Err(io::Error::other(format!("it does not follow: {refusal:?}")));
            }
            member.is_in_effect(record.id)
        };
        if let Some(kept) = record.payload.kept() {
            self.take_kept(record, kept).await?;
        }
        let own = is_in_effect.then(|| self.own_number(record.id)).flatten();
        let local = match &record.payload {
            Payload::Invalidation { name, distribution, matchers, severity } if !is_in_effect => {
                let at = self.context.clock.now().0;
                let (name, distribution) = (name.clone(), distribution.clone());
                let taken =
                    InvalidationRecord::new(name, distribution, matchers.clone(), *severity, at);
                let from = Some(Passed::Fleet(self.passage(record.place(), record.id)));
                let taken = InvalidationRecord { from, ..taken };
                let taken = self.context.invalidation.submit(taken, Durability::Synced).await?;
                self.tally.applied.fetch_add(1, Ordering::Relaxed);
                InvalidationNumber(taken.number)
            }
            // Once this is written down a restart does not take it, or what came before, again.
            Payload::Document(_) | Payload::Value(_) => {
                let from = Some(Passed::Fleet(self.passage(record.place(), record.id)));
                let place = InvalidationRecord { from, ..self.blank() };
                self.context.invalidation.submit(place, Durability::Synced).await?;
                self.context.table.head()
            }
            _ => self.context.table.head(),
        };
        let mut member = self.member.lock();
        let now = self.now();
        member
            .note(record, local, now)
            .map_err(|refusal| io::Error::other(format!("it does not follow: {refusal:?}")))?;
        self.say_usable(&member);
        drop(member);
        if let (Payload::TicketKeys { wrapped }, Some(shared)) = (&record.payload, self.tickets()) {
            shared.take(wrapped);
        }
        if let (Payload::Issuing { wrapped }, Some(shared)) = (&record.payload, self.issuing()) {
            shared.take(wrapped);
        }
        if let Some(own) = own {
            self.own.fetch_max(own.0, Ordering::Relaxed);
        }
        self.sent.lock().remove(&record.id);
        // If its confirmation was lost, this is one.
        if is_in_effect {
            self.confirmed(record.id);
        }
        self.moved.send_modify(|count| *count += 1);
        Ok(())
    }

    // The local number of something in the outbox, if everything before it has its place.
    fn own_number(&self, id: RecordId) -> Option<InvalidationNumber> {
        let member = self.member.lock();
        let first = member.outbox().next();
        first.filter(|(first, _)| *first == id).map(|(_, local)| local)
    }

    fn passage(&self, place: Place, id: RecordId) -> FleetPassage {
        let member = self.member.lock();
        FleetPassage {
            epoch: member.epoch().0,
            number: place.number.0,
            chain: place.chain.record_id(),
            id,
            own: self.own.load(Ordering::Relaxed),
            is_settling: self.now() < member.grace_until(),
        }
    }

    // The log has no place in common with what is known here, or no longer has what comes next:
    // everything stored may be old. Goes on from `head`.
    pub(super) async fn forget(&self, head: Place) -> io::Result<()> {
        let _awake = self.awake.read().await;
        self.tally.forgotten.fetch_add(1, Ordering::Relaxed);
        let passage = || Some(Passed::Fleet(self.passage(head, RecordId::NONE)));
        for record in self.everything() {
            let record = InvalidationRecord { from: passage(), ..record };
            self.context.invalidation.submit(record, Durability::Synced).await?;
        }
        let mark = self.context.table.head();
        // Says how far the fleet's log is in effect here, where there is nothing to invalidate.
        let last = InvalidationRecord { from: passage(), ..self.blank() };
        self.context.invalidation.submit(last, Durability::Synced).await?;
        let mut member = self.member.lock();
        member.forgot(head, mark);
        self.say_usable(&member);
        drop(member);
        // What was sent and lies before that place is not read back: to be asked for again.
        self.sent.lock().clear();
        self.outbox.notify_one();
        self.position.send_modify(|count| *count += 1);
        Ok(())
    }

    // If something is in effect here that the fleet will never hear of, everything is invalidated
    // in its stead, here and everywhere. Says whether it was.
    pub(super) async fn pay_debt(&self) -> io::Result<bool> {
        if !self.member.lock().owes_everything() {
            return Ok(false);
        }
        let _awake = self.awake.read().await;
        tracing::error!("more was invalidated than the fleet could be told of; everything is");
        for record in self.everything() {
            self.context.invalidation.submit(record, Durability::Synced).await?;
        }
        self.member.lock().has_paid();
        Ok(true)
    }

    // A record for each distribution, by which all of it is gone.
    fn everything(&self) -> Vec<InvalidationRecord> {
        let at = self.context.clock.now().0;
        let all = |distribution| {
            let everything = vec![Matcher::Prefix("/".into())];
            InvalidationRecord::new(String::new(), distribution, everything, Severity::Hard, at)
        };
        (self.context.ids)().into_iter().map(all).collect()
    }

    /// Whether a record is in effect here and has no place in the fleet's log yet.
    pub fn is_unplaced(&self, id: RecordId) -> bool {
        self.member.lock().is_in_effect(id)
    }

    /// How the fleet stands, as this member sees it.
    pub async fn status(&self, sequencer: String) -> FleetStatus {
        let call = Call::Roster { id: RecordId::NONE, wait: 0 };
        let asked = tokio::time::timeout(Duration::from_secs(1), self.call(call)).await;
        let roster = match asked {
            Ok(Ok(Reply::Roster(roster))) => Some(roster),
            _ => None,
        };
        let reach = self.reach.lock().clone();
        let now = self.context.clock.now();
        let member = self.member.lock();
        let applied = member.applied().number;
        let heads = roster.iter().flat_map(|roster| roster.members.values());
        let head = heads.map(|listed| listed.applied).chain([applied, member.head()]).max();
        let head = head.unwrap_or_default();
        let lease_left_ms = member.usable_until(moment(now)).seen_from(moment(now)).0;
        let lease_ms = self.terms.lease;
        let (listed, silent_for) =
            roster.map(|roster| (roster.members, roster.silent_for)).unwrap_or_default();
        let members = listed.into_iter().map(|(name, listed)| {
            let behind = lag(listed.applied, head);
            let seen_ms_ago = silent_for.get(&name).copied();
            MemberStatus {
                name,
                applied: listed.applied,
                lag: behind,
                seen_ms_ago,
                state: MemberState::new(behind, seen_ms_ago, lease_ms),
                prefer: listed.prefer,
                program: listed.program,
            }
        });
        FleetStatus {
            fleet: self.context.fleet.clone(),
            member: self.context.id.name.clone(),
            epoch: member.epoch(),
            head,
            applied,
            lag: lag(applied, head),
            lease_left_ms,
            lease_ms,
            prefer: self.context.prefer,
            outbox: member.outbox().len(),
            sequencer: SequencerStatus {
                at: sequencer,
                answered_ms_ago: reach.heard_at.map(|at| now.millis_since(at)),
                failure: reach.failure,
            },
            members: members.collect(),
            parents: Vec::new(),
            tier: Vec::new(),
        }
    }

    /// Up to which moment what is stored may be used, the outbox and the last applied number, for
    /// metrics.
    pub fn gauges(&self) -> (u64, usize, u64) {
        let member = self.member.lock();
        let left = member.usable_until(self.now()).seen_from(self.now()).0;
        (left, member.outbox().len(), member.applied().number.0)
    }

    /// The ticket keys that the fleet shares, where it does.
    pub const fn tickets(&self) -> Option<&SharedTickets> {
        self.context.tickets.as_ref()
    }

    /// What is told of ordered certificates, where the fleet does.
    pub const fn issuing(&self) -> Option<&SharedIssuing> {
        self.context.issuing.as_ref()
    }

    /// Has the log be reached by these settings of the tier from now on, where it is on one.
    pub fn follow_tier(&self, tier: &Tier) {
        self.context.sequence.follow_tier(tier);
    }

    /// Leaves the roster, so that no caller waits for this process any more. Nothing stored may be
    /// used afterwards.
    pub async fn leave(&self) {
        let epoch = {
            let member = self.member.lock();
            self.has_left.store(true, Ordering::Relaxed);
            self.say_usable(&member);
            member.epoch()
        };
        let (member, prefer) = (self.context.id.clone(), self.context.prefer);
        let payload = Payload::Member { change: Change::Leave, member, prefer, program: None };
        let call = Call::Append { epoch, id: RecordId::random(), payload };
        let _ = tokio::time::timeout(Duration::from_secs(1), self.call(call)).await;
    }

    /// The record at a local number, if the log still shows it.
    pub(super) fn record_at(&self, local: InvalidationNumber) -> Option<InvalidationRecord> {
        let before = InvalidationNumber(local.0.checked_sub(1)?);
        let found = self.context.log.after(before, 1)?.into_iter().next();
        found.filter(|record| record.number == local.0)
    }
}

pub(super) const fn moment(at: Timestamp) -> Moment {
    Moment(at.0)
}

pub(super) fn millis(of: Duration) -> u64 {
    u64::try_from(of.as_millis()).unwrap_or(u64::MAX)
}
