//! Pure: one member of a fleet: what it may answer from its store at a moment of its own clock, how
//! it follows the log, and when a caller may say that every member has followed.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::protocol::{
    Epoch, FleetNumber, MemberId, Moment, Payload, Place, Record, Refusal, Stamp, Terms,
};
use super::sequencer::{Listed, Renew, Renewal, Roster};
use crate::distribution::fleet::Prefer;
use crate::invalidation::chain::RecordId;
use crate::message::key::InvalidationNumber;

/// Places that a member remembers.
const REMEMBERED: usize = 10_000;
/// Invalidations that may wait for a place in the log. With one more the oldest is let go, and
/// everything is to be invalidated in its stead.
pub const OUTBOX_MAX: usize = 10_000;

/// What a member may do with what is stored, here or in a shared tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leave {
    Use,
    /// The lease is over: to be validated before use.
    Validate,
    /// The lease is over and the operator prefers availability: used, marked and counted.
    Unproven,
}

/// What a member does next after an answer to its renewal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing: it has a lease.
    Go,
    /// Read the log from its place, then renew.
    Read,
    /// Append a record of joining, then renew.
    Join,
    /// The log has lost records: ask for a new epoch in the place of this one.
    Fence(Epoch),
    /// No place of the log is known here, or no longer: everything of every distribution is
    /// invalidated locally first, and `forgot` is told the number of that.
    Forget,
}

/// A renewal that is under way: its turn, and when the lease would end that it asks for; zero if it
/// asks for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Asked {
    turn: u64,
    applied: Place,
    until: Moment,
}

/// A place of the log that is in effect here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Applied {
    pub place: Place,
    /// The invalidation there; `None` for a record of another kind, and for what was before.
    pub id: Option<RecordId>,
    /// Up to this local number everything is of the log up to that place.
    pub local: InvalidationNumber,
    /// The local number of that invalidation.
    pub own: InvalidationNumber,
}

/// What a member knows of an earlier life, from its own log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    pub epoch: Epoch,
    pub place: Place,
    pub local: InvalidationNumber,
    /// What it published since and found no place for, in order.
    pub pending: Vec<(RecordId, InvalidationNumber)>,
    /// The epoch was so new that its lost records could still be put back.
    pub is_settling: bool,
}

/// The member's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    id: MemberId,
    terms: Terms,
    prefer: Prefer,
    epoch: Epoch,
    /// The places that are in effect here, the last one last.
    history: VecDeque<Applied>,
    /// Stamps below this number are of before the member lost the thread.
    since: FleetNumber,
    /// What is in effect here but has no place in the fleet's log: published here and not appended
    /// yet, or lost by the log. The outbox, in the order of the local numbers.
    pending: VecDeque<(RecordId, InvalidationNumber)>,
    /// Something was let go that is in effect here alone.
    owes_everything: bool,
    asked: Option<Asked>,
    /// The log's end as it was told last; decides nothing.
    head: FleetNumber,
    lease_until: Moment,
    /// No lease counts that was asked for before this: a new epoch's lost records have so long to
    /// be put back.
    grace_until: Moment,
    /// The roster proves nothing before this: lives that it does not list may have leases.
    unlisted_until: Moment,
}

impl Member {
    /// A member that has applied nothing yet and knows no epoch: at its first renewal it forgets.
    pub fn new((id, prefer): (MemberId, Prefer), terms: Terms, now: Moment) -> Self {
        Self {
            id,
            terms,
            prefer,
            epoch: Epoch::default(),
            history: VecDeque::new(),
            since: FleetNumber(0),
            pending: VecDeque::new(),
            owes_everything: false,
            asked: None,
            head: FleetNumber(0),
            lease_until: Moment(0),
            grace_until: now.plus(terms.lease),
            unlisted_until: now.plus(terms.fence),
        }
    }

    /// A member that goes on where an earlier life of it left off.
    pub fn restored(who: (MemberId, Prefer), terms: Terms, known: Restored, now: Moment) -> Self {
        let (place, local) = (known.place, known.local);
        let new = Self::new(who, terms, now);
        Self {
            epoch: known.epoch,
            history: VecDeque::from([Applied { place, id: None, local, own: local }]),
            since: place.number,
            pending: known.pending.into(),
            grace_until: if known.is_settling { new.grace_until } else { Moment(0) },
            ..new
        }
    }

    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last place that is in effect here.
    pub fn applied(&self) -> Place {
        self.history.back().map_or(Place::START, |applied| applied.place)
    }

    /// The log's end as it was told last.
    pub const fn head(&self) -> FleetNumber {
        self.head
    }

    /// What a request to the origin that begins now writes on its response.
    pub fn stamp(&self) -> Stamp {
        Stamp { epoch: self.epoch, number: self.applied().number }
    }

    /// Whether what is stored may be used. Asked at each lookup, never earlier.
    pub fn leave(&self, now: Moment) -> Leave {
        match self.prefer {
            _ if now >= self.grace_until && now < self.lease_until => Leave::Use,
            Prefer::Freshness => Leave::Validate,
            Prefer::Availability => Leave::Unproven,
        }
    }

    /// The local number under which a response of a shared tier is taken in; `None` is a miss. The
    /// table of invalidations then says whether anything later covers it.
    pub fn adopt(&self, stamp: Stamp) -> Option<InvalidationNumber> {
        if stamp.epoch != self.epoch || stamp.number < self.since || self.owes_everything {
            return None;
        }
        let number = stamp.number.min(self.applied().number);
        let at = self.history.binary_search_by_key(&number, |known| known.place.number).ok()?;
        // The writer of the response cannot have known what has no place in the log yet.
        let before_pending = self.pending.front().map_or(u64::MAX, |(_, local)| local.0 - 1);
        Some(InvalidationNumber(self.history[at].local.0.min(before_pending)))
    }

    /// Notes an invalidation that was published here, before it takes effect under its local
    /// number, which rises. It is to be appended to the fleet's log.
    pub fn publish(&mut self, id: RecordId, local: InvalidationNumber) {
        self.pending.push_back((id, local));
        if self.pending.len() > OUTBOX_MAX {
            self.pending.pop_front();
            self.owes_everything = true;
        }
    }

    /// What is to be appended, in order.
    pub fn outbox(&self) -> impl ExactSizeIterator<Item = (RecordId, InvalidationNumber)> + '_ {
        self.pending.iter().copied()
    }

    /// Whether a record of the fleet's log is in effect here already.
    pub fn is_in_effect(&self, id: RecordId) -> bool {
        self.pending.iter().any(|(known, _)| *known == id)
    }

    /// Takes something out of the outbox that has its place already, among those in effect here:
    /// an earlier life found it.
    pub fn was_placed(&mut self, id: RecordId, at: FleetNumber) {
        if at <= self.applied().number {
            self.pending.retain(|(known, _)| *known != id);
        }
    }

    /// Takes something out of the outbox that cannot be appended any more.
    pub fn give_up(&mut self, id: RecordId) {
        self.pending.retain(|(known, _)| *known != id);
        self.owes_everything = true;
    }

    /// Something is in effect here that the fleet will never hear of: everything is to be
    /// invalidated everywhere, and until then nothing of a shared tier is taken in.
    pub const fn owes_everything(&self) -> bool {
        self.owes_everything
    }

    /// Everything was invalidated, and is in the outbox.
    pub const fn has_paid(&mut self) {
        self.owes_everything = false;
    }

    /// Where an invalidation stands in the log, as far as it is remembered.
    pub fn place_of(&self, id: RecordId) -> Option<FleetNumber> {
        let known = self.history.iter().rev().find(|known| known.id == Some(id));
        known.map(|known| known.place.number)
    }

    /// The first place that is remembered.
    pub fn first(&self) -> Option<FleetNumber> {
        self.history.front().map(|known| known.place.number)
    }

    /// Until when what is stored may be used without a question: zero while it may not.
    pub fn usable_until(&self, now: Moment) -> Moment {
        if now >= self.grace_until { self.lease_until } else { Moment(0) }
    }

    /// When the grace of a new epoch is over.
    pub const fn grace_until(&self) -> Moment {
        self.grace_until
    }

    /// Begins a renewal. A lease counts from here, and not from its answer. `turn` rises. Within a
    /// grace it gives none: the answer may be of before what the log had lost was put back.
    pub fn renew(&mut self, turn: u64, now: Moment) -> Renew {
        let applied = self.applied();
        let is_grace = now < self.grace_until;
        let until = if is_grace { Moment(0) } else { now.plus(self.terms.lease) };
        self.asked = Some(Asked { turn, applied, until });
        Renew { member: self.id.clone(), epoch: self.epoch, applied }
    }

    /// Takes the answer to the renewal of this turn; any other is refused.
    pub fn renewed(&mut self, turn: u64, answer: &Renewal, now: Moment) -> Result<Step, Refusal> {
        let asked = self.asked.filter(|asked| asked.turn == turn).ok_or(Refusal::Replayed)?;
        self.asked = None;
        self.head = answer.head.number;
        if answer.epoch != self.epoch {
            return Ok(self.enter(answer, now));
        }
        if !answer.is_listed {
            return Ok(Step::Join);
        }
        // Meanwhile more may have been applied than the answer knows of, or less than it names.
        if answer.head.number > self.applied().number {
            return Ok(Step::Read);
        }
        let is_no_shorter = answer.head.number >= asked.applied.number;
        if is_no_shorter && self.history.iter().rev().any(|known| known.place == answer.head) {
            self.lease_until = self.lease_until.max(asked.until);
            return Ok(Step::Go);
        }
        // The log is shorter than what it gave, or another one.
        self.lease_until = Moment(0);
        Ok(Step::Fence(self.epoch))
    }

    // What was in effect stays in effect, but from the last common place on it has no place any
    // more: it is appended again, and read again.
    fn enter(&mut self, answer: &Renewal, now: Moment) -> Step {
        self.epoch = answer.epoch;
        self.lease_until = Moment(0);
        self.grace_until = now.plus(self.terms.lease);
        self.unlisted_until = now.plus(self.terms.fence);
        let knows = |place: &&Place| self.history.iter().any(|known| known.place == **place);
        let common = answer.landmarks.iter().find(knows).copied();
        let stays =
            |known: &Applied| common.is_some_and(|common| known.place.number <= common.number);
        let lost = self.history.iter().filter(|known| !stays(known));
        self.pending.extend(lost.filter_map(|known| Some((known.id?, known.own))));
        self.pending.make_contiguous().sort_unstable_by_key(|(_, local)| *local);
        self.history.retain(stays);
        if common.is_some() { Step::Read } else { Step::Forget }
    }

    /// The log has no place in common with this member, or no longer has what comes next. Once
    /// everything was invalidated locally, under `local`, it goes on from a place of the log.
    pub fn forgot(&mut self, from: Place, local: InvalidationNumber) {
        self.history = VecDeque::from([Applied { place: from, id: None, local, own: local }]);
        self.since = from.number;
        self.lease_until = Moment(0);
        self.asked = None;
    }

    /// Says whether a record is the next one. Out of order, it is not; `UnknownPlace` breaks the
    /// chain.
    pub fn check(&self, record: &Record) -> Result<(), Refusal> {
        let applied = self.applied();
        match record.prev {
            prev if prev == applied => Ok(()),
            prev if prev.number == applied.number => Err(Refusal::UnknownPlace),
            _ => Err(Refusal::OutOfOrder),
        }
    }

    /// Notes a record that is in effect here and synced, as `check` let it. `local` is the number
    /// that it has here; of one that was published here, the last number that is in effect.
    pub fn note(
        &mut self,
        record: &Record,
        local: InvalidationNumber,
        now: Moment,
    ) -> Result<(), Refusal> {
        self.check(record)?;
        // An earlier life of the member that joins may hold a lease, and is not listed any more.
        if matches!(record.payload, Payload::Member { .. }) {
            self.unlisted_until = self.unlisted_until.max(now.plus(self.terms.fence));
        }
        let own = self.placed(record.id).unwrap_or(local);
        let is_invalidation = matches!(record.payload, Payload::Invalidation { .. });
        let id = is_invalidation.then_some(record.id);
        self.history.push_back(Applied { place: record.place(), id, local, own });
        if self.history.len() > REMEMBERED {
            self.history.pop_front();
        }
        Ok(())
    }

    // What was in effect before it had a place: a response stamped before that place may be of
    // before it was in effect, however many numbers of others came in between here.
    fn placed(&mut self, id: RecordId) -> Option<InvalidationNumber> {
        let at = self.pending.iter().position(|(known, _)| *known == id)?;
        let (_, own) = self.pending.remove(at)?;
        let before = InvalidationNumber(own.0 - 1);
        let later = self.history.iter_mut().rev().take_while(|known| known.local > before);
        later.for_each(|known| known.local = before);
        Some(own)
    }

    /// The same member with each moment told as what is left of it, and without what decides
    /// nothing. Two that look alike so behave alike from here on.
    #[must_use]
    pub fn seen_from(self, now: Moment) -> Self {
        Self {
            asked: self.asked.map(|a| Asked { until: a.until.seen_from(now), ..a }),
            head: FleetNumber(0),
            lease_until: self.lease_until.seen_from(now),
            grace_until: self.grace_until.seen_from(now),
            unlisted_until: self.unlisted_until.seen_from(now),
            ..self
        }
    }
}

/// What a caller knows of one member in regard to its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Proof {
    Applied,
    /// Its lease is over, and it validates what it stored.
    Fenced,
    /// Its lease is over, and it prefers availability.
    Unproven,
    /// It may still answer from its store.
    Waiting,
}

/// A record whose append was confirmed, and that its caller waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Publication {
    pub epoch: Epoch,
    pub id: RecordId,
    pub number: FleetNumber,
    pub fenced_at: Moment,
}

impl Publication {
    /// What the members are to a record at a moment of the caller's clock, `roster` being what the
    /// sequencer says. `None`: the log has lost it, and it is to be appended again.
    pub fn judge(&self, roster: &Roster, caller: &Member, now: Moment) -> Option<Vec<Proof>> {
        if roster.epoch != self.epoch || roster.number != Some(self.number) {
            return None;
        }
        let is_roster_proof = caller.epoch == self.epoch
            && now >= caller.unlisted_until
            && roster.last_join <= caller.applied().number;
        let is_over = now >= self.fenced_at;
        let proof = |listed: &Listed| match listed.prefer {
            _ if listed.applied >= self.number && (is_roster_proof || is_over) => Proof::Applied,
            _ if !is_over => Proof::Waiting,
            Prefer::Freshness => Proof::Fenced,
            Prefer::Availability => Proof::Unproven,
        };
        let proofs: Vec<Proof> = roster.members.values().map(proof).collect();
        // An empty roster proves nothing by being empty.
        Some(if proofs.is_empty() && !is_over { vec![Proof::Waiting] } else { proofs })
    }
}
