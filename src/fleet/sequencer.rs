//! Pure: the sequencer, which gives the numbers of a fleet's log. It reads no clock: all waiting is
//! done by callers.
//!
//! A sequencer that did not end in order cannot know whether its disk is an older copy of itself:
//! the process that opens it then takes a new epoch.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::protocol::{
    Change, Epoch, FleetNumber, Kept, MemberId, Name, Payload, Place, Record, Refusal,
};
use crate::distribution::fleet::Prefer;
use crate::invalidation::chain::{Incarnation, RecordId};

/// Members of one fleet.
pub const MEMBERS_MAX: usize = 1000;
/// Records that are kept at once.
pub const RECORDS_MAX: usize = 1_000_000;
/// What all members keep alike: so many things, and so many octets of them.
pub const KEPT_MAX: usize = 200_000;
pub const KEPT_OCTETS_MAX: usize = 64 << 20;
/// Octets of it, as a message has them, after which one answer ends; the first is told whatever its
/// length.
pub const PAGE_OCTETS: usize = 2 << 20;
/// Most octets of one thing in a message beside its name and its content.
const HELD_OCTETS: usize = 128;

/// A member, as the roster has it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Listed {
    pub incarnation: Incarnation,
    pub prefer: Prefer,
    /// The version of the program that it joined with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub program: Option<Name>,
    /// Up to where it has reported the log of this epoch to be in effect.
    pub applied: FleetNumber,
}

/// What a member says when it renews its lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renew {
    pub member: MemberId,
    pub epoch: Epoch,
    pub applied: Place,
}

/// What it is answered.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Renewal {
    pub epoch: Epoch,
    pub head: Place,
    /// The member stands in the roster; without that it joins first.
    pub is_listed: bool,
    /// Places of this log, the last first, each twice as far back as the one before it, where the
    /// member named another epoch: it goes on from the first of them that it knows.
    pub landmarks: Vec<Place>,
}

/// Who is a member, and how far each is: what a caller that waits for a record is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Roster {
    pub epoch: Epoch,
    /// The number of the record that was asked about, while the log has it.
    pub number: Option<FleetNumber>,
    /// The number of the last record by which a member joined.
    pub last_join: FleetNumber,
    pub members: BTreeMap<Name, Listed>,
    /// Milliseconds since each was heard of; for people, decides nothing.
    #[serde(default)]
    pub silent_for: BTreeMap<Name, u64>,
}

/// Something that all members keep alike, and the record that says so.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    pub id: RecordId,
    pub number: FleetNumber,
    pub content: String,
}

// What is kept may be secret.
impl std::fmt::Debug for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let octets = self.content.len();
        f.debug_struct("Held").field("number", &self.number).field("octets", &octets).finish()
    }
}

/// A part of what all members keep alike, whatever the log has let go of.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptPage {
    pub epoch: Epoch,
    /// The number of the last record that changed any of it; 0 if none ever did.
    pub last: FleetNumber,
    /// In the order of their names.
    pub held: Vec<(String, Held)>,
    /// There are none behind these.
    pub is_end: bool,
}

/// What a log that has let go of its first records still knows of them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Past {
    /// The place before the first record that is kept.
    pub floor: Place,
    /// The number of the last record by which a member joined.
    pub last_join: FleetNumber,
    pub members: BTreeMap<Name, Listed>,
    /// The number of the last record that changed what all keep alike.
    #[serde(default, skip_serializing_if = "FleetNumber::is_start")]
    pub last_kept: FleetNumber,
    /// What all keep alike, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub held: BTreeMap<String, Held>,
}

/// What is to be done about an append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proposal {
    /// The log has it already.
    Known(Place),
    /// To be written down and synced; then `commit`, and only then is a member or a caller told.
    New(Record),
}

/// The sequencer's state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sequencer {
    epoch: Epoch,
    /// The place before the first record that is kept.
    floor: Place,
    records: VecDeque<Arc<Record>>,
    ids: BTreeMap<RecordId, FleetNumber>,
    roster: BTreeMap<Name, Listed>,
    last_join: FleetNumber,
    last_kept: FleetNumber,
    held: BTreeMap<String, Held>,
    held_octets: usize,
}

impl Sequencer {
    /// An empty log.
    pub fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            floor: Place::START,
            records: VecDeque::new(),
            ids: BTreeMap::new(),
            roster: BTreeMap::new(),
            last_join: FleetNumber(0),
            last_kept: FleetNumber(0),
            held: BTreeMap::new(),
            held_octets: 0,
        }
    }

    /// The log that goes on from a past; the records that it kept are to be committed next. No
    /// member's position is taken over: each tells it again.
    pub fn resume(epoch: Epoch, past: Past) -> Self {
        let mut resumed = Self::new(epoch);
        resumed.floor = past.floor;
        resumed.last_join = past.last_join;
        resumed.roster = past.members;
        resumed.last_kept = past.last_kept;
        resumed.held_octets = past.held.iter().map(|(name, held)| octets_of(name, held)).sum();
        resumed.held = past.held;
        resumed.unprove();
        resumed
    }

    /// What the log knows beside the records that it keeps. To take those again on top of it
    /// changes nothing more: the last record about a member says what it is.
    pub fn past(&self) -> Past {
        Past {
            floor: self.floor,
            last_join: self.last_join,
            members: self.roster.clone(),
            last_kept: self.last_kept,
            held: self.held.clone(),
        }
    }

    /// The records that are kept, in order.
    pub fn kept(&self) -> Vec<Arc<Record>> {
        self.records.iter().cloned().collect()
    }

    /// How many they are.
    pub fn count(&self) -> usize {
        self.records.len()
    }

    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub const fn floor(&self) -> Place {
        self.floor
    }

    pub const fn roster(&self) -> &BTreeMap<Name, Listed> {
        &self.roster
    }

    /// Up to where every listed member has reported the log to be in effect; where none is listed,
    /// that is nothing.
    pub fn lowest(&self) -> FleetNumber {
        self.roster.values().map(|listed| listed.applied).min().unwrap_or_default()
    }

    /// Who is a member, for a caller that waits for a record.
    pub fn roster_about(&self, id: RecordId) -> Roster {
        Roster {
            epoch: self.epoch,
            number: self.number_of(id),
            last_join: self.last_join,
            members: self.roster.clone(),
            silent_for: BTreeMap::new(),
        }
    }

    /// The place of the last record.
    pub fn head(&self) -> Place {
        self.records.back().map_or(self.floor, |record| record.place())
    }

    /// The number that an id has, while its record is kept.
    pub fn number_of(&self, id: RecordId) -> Option<FleetNumber> {
        self.ids.get(&id).copied()
    }

    fn place_at(&self, number: FleetNumber) -> Option<Place> {
        match number.0.checked_sub(self.floor.number.0)? {
            0 => Some(self.floor),
            n => self.records.get(usize::try_from(n - 1).ok()?).map(|record| record.place()),
        }
    }

    fn has(&self, place: Place) -> bool {
        self.place_at(place.number) == Some(place)
    }

    /// Judges an append; putting a lost record back is the same, with the id that it had.
    pub fn propose(
        &self,
        epoch: Epoch,
        id: RecordId,
        payload: Payload,
    ) -> Result<Proposal, Refusal> {
        self.propose_behind(&[], epoch, id, payload)
    }

    /// The same behind proposals that are to be written down together with it, in order. A record
    /// that is one of them is known.
    pub fn propose_behind(
        &self,
        ahead: &[Arc<Record>],
        epoch: Epoch,
        id: RecordId,
        payload: Payload,
    ) -> Result<Proposal, Refusal> {
        if epoch != self.epoch {
            return Err(Refusal::OtherEpoch);
        }
        if let Some(place) = self.number_of(id).and_then(|number| self.place_at(number)) {
            return Ok(Proposal::Known(place));
        }
        if let Some(twin) = ahead.iter().find(|record| record.id == id) {
            return Ok(Proposal::Known(twin.place()));
        }
        if let Some(kept) = payload.kept() {
            self.may_keep(ahead, kept)?;
        }
        let is_full = self.records.len() + ahead.len() >= RECORDS_MAX && !self.frees(&payload);
        if is_full || !self.has_room_for(ahead, &payload) {
            return Err(Refusal::Full);
        }
        let prev = ahead.last().map_or_else(|| self.head(), |record| record.place());
        Ok(Proposal::New(Record { epoch, id, prev, payload }))
    }

    // Whoever changes what all keep alike has to have seen it as it is, proposals included.
    fn may_keep(&self, ahead: &[Arc<Record>], kept: &Kept) -> Result<(), Refusal> {
        let before = || ahead.iter().filter(|record| record.payload.kept().is_some());
        let last = before().next_back().map_or(self.last_kept, |record| record.place().number);
        if kept.after != last {
            return Err(Refusal::Overtaken);
        }
        let all = || before().filter_map(|record| record.payload.kept()).chain([kept]);
        let octets: usize = all().map(Kept::octets).sum();
        let entries: usize = all().map(|kept| kept.entries.len()).sum();
        // What only takes away is taken where nothing else is.
        let is_more = kept.entries.iter().any(|entry| entry.content.is_some());
        let is_full =
            self.held_octets + octets > KEPT_OCTETS_MAX || self.held.len() + entries > KEPT_MAX;
        if is_more && is_full { Err(Refusal::Full) } else { Ok(()) }
    }

    fn keep(&mut self, id: RecordId, number: FleetNumber, kept: &Kept) {
        self.last_kept = number;
        for entry in &kept.entries {
            self.let_go(&entry.name);
            if let Some(content) = &entry.content {
                let held = Held { id, number, content: content.clone() };
                self.held_octets += octets_of(&entry.name, &held);
                self.held.insert(entry.name.clone(), held);
            } else if entry.is_whole() {
                let below = format!("{}/", entry.name);
                let from = (Bound::Included(below.as_str()), Bound::Unbounded);
                let all = self.held.range::<str, _>(from).map(|(name, _)| name.clone());
                let all: Vec<String> = all.take_while(|name| name.starts_with(&below)).collect();
                all.iter().for_each(|name| self.let_go(name));
            }
        }
    }

    fn let_go(&mut self, name: &str) {
        if let Some(old) = self.held.remove(name) {
            self.held_octets -= octets_of(name, &old);
        }
    }

    /// What all members keep alike, from behind a name on.
    pub fn kept_after(&self, name: &str) -> KeptPage {
        let behind = (Bound::Excluded(name), Bound::Unbounded);
        let mut rest = self.held.range::<str, _>(behind).peekable();
        let (mut held, mut octets) = (Vec::new(), 0);
        while let Some((name, one)) = rest.peek() {
            octets += HELD_OCTETS + written(name) + written(&one.content);
            if octets > PAGE_OCTETS && !held.is_empty() {
                break;
            }
            held.push(((*name).clone(), (*one).clone()));
            rest.next();
        }
        let is_end = rest.peek().is_none();
        KeptPage { epoch: self.epoch, last: self.last_kept, held, is_end }
    }

    /// Says whether a listed member leaves by this. It is taken where nothing else is: what a member
    /// has yet to apply cannot be trimmed.
    pub fn frees(&self, payload: &Payload) -> bool {
        let Payload::Member { change: Change::Leave, member, .. } = payload else { return false };
        self.roster.get(&member.name).is_some_and(|it| it.incarnation == member.incarnation)
    }

    // A member that joins under a name that the roster does not have takes a place in it.
    fn has_room_for(&self, ahead: &[Arc<Record>], payload: &Payload) -> bool {
        let new_name = |payload: &Payload| match payload {
            Payload::Member { change: Change::Join, member, .. } => {
                Some(&member.name).filter(|name| !self.roster.contains_key(*name)).cloned()
            }
            _ => None,
        };
        let Some(name) = new_name(payload) else { return true };
        let mut joining: BTreeSet<Name> =
            ahead.iter().filter_map(|record| new_name(&record.payload)).collect();
        joining.insert(name);
        self.roster.len() + joining.len() <= MEMBERS_MAX
    }

    /// Takes a record that is written down, a proposal's or one of the log at the start.
    pub fn commit(&mut self, record: Arc<Record>) -> Result<Place, Refusal> {
        if record.prev != self.head() {
            return Err(Refusal::OutOfOrder);
        }
        let place = record.place();
        if let Payload::Member { change, member, prefer, program } = &record.payload {
            match change {
                Change::Join => {
                    let listed = Listed {
                        incarnation: member.incarnation,
                        prefer: *prefer,
                        program: program.clone(),
                        applied: FleetNumber(0),
                    };
                    self.roster.insert(member.name.clone(), listed);
                    self.last_join = place.number;
                }
                Change::Leave => self.leave(member),
            }
        }
        if let Some(kept) = record.payload.kept() {
            self.keep(record.id, place.number, kept);
        }
        self.ids.insert(record.id, place.number);
        self.records.push_back(record);
        Ok(place)
    }

    fn leave(&mut self, member: &MemberId) {
        let is_it = |listed: &Listed| listed.incarnation == member.incarnation;
        if self.roster.get(&member.name).is_some_and(is_it) {
            self.roster.remove(&member.name);
        }
    }

    /// Answers a renewal, and notes how far the member is. A place that is not in this log is not
    /// noted: a member that names a false place makes work for itself alone.
    pub fn renew(&mut self, renew: &Renew) -> Result<Renewal, Refusal> {
        let is_here = renew.epoch == self.epoch;
        let is_known = is_here && self.has(renew.applied);
        let is_listed = match self.roster.get_mut(&renew.member.name) {
            Some(listed) if listed.incarnation != renew.member.incarnation => {
                return Err(Refusal::Superseded);
            }
            Some(listed) if is_known => {
                listed.applied = listed.applied.max(renew.applied.number);
                true
            }
            listed => listed.is_some(),
        };
        let landmarks = if is_here { Vec::new() } else { self.landmarks() };
        Ok(Renewal { epoch: self.epoch, head: self.head(), is_listed, landmarks })
    }

    fn landmarks(&self) -> Vec<Place> {
        let head = self.head().number.0;
        let back = std::iter::successors(Some(1u64), |step| step.checked_mul(2));
        let numbers = std::iter::once(0).chain(back).map_while(|back| head.checked_sub(back));
        let mut places: Vec<Place> =
            numbers.map_while(|number| self.place_at(FleetNumber(number))).collect();
        if places.last() != Some(&self.floor) {
            places.push(self.floor);
        }
        places
    }

    /// The records after a place, at most so many.
    pub fn read(&self, from: Place, most: usize) -> Result<Vec<Arc<Record>>, Refusal> {
        if from.number < self.floor.number {
            return Err(Refusal::Trimmed);
        }
        if !self.has(from) {
            return Err(Refusal::UnknownPlace);
        }
        let skip = usize::try_from(from.number.0 - self.floor.number.0).unwrap_or(usize::MAX);
        Ok(self.records.iter().skip(skip).take(most).cloned().collect())
    }

    /// Lets go of the records up to a number, but of none that a listed member has yet to apply.
    /// Says the new floor; a member below it that was not listed finds out by reading.
    pub fn trim(&mut self, upto: FleetNumber) -> Place {
        let slowest = self.roster.values().map(|listed| listed.applied).min();
        self.cut(slowest.map_or(upto, |slowest| upto.min(slowest)))
    }

    /// The same whoever has yet to apply them: a log that is read again lets go of what it had let
    /// go of before.
    pub fn cut(&mut self, upto: FleetNumber) -> Place {
        while self.floor.number < upto
            && let Some(record) = self.records.pop_front()
        {
            self.floor = record.place();
            self.ids.remove(&record.id);
        }
        self.floor
    }

    /// Begins a new epoch in the place of one that is named, so that of two members that see the
    /// same loss one does it. No member's position is proven in it yet.
    pub fn fence(&mut self, old: Epoch, new: Epoch) -> Result<(), Refusal> {
        if old != self.epoch || old == new {
            return Err(Refusal::OtherEpoch);
        }
        self.epoch = new;
        self.unprove();
        Ok(())
    }

    fn unprove(&mut self) {
        self.roster.values_mut().for_each(|listed| listed.applied = FleetNumber(0));
    }
}

fn octets_of(name: &str, held: &Held) -> usize {
    name.len() + held.content.len()
}

// Octets of a text as JSON: escaped, one may take six.
fn written(text: &str) -> usize {
    let octets = |octet: u8| match octet {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    text.bytes().map(octets).sum()
}

#[cfg(test)]
mod tests {
    use super::super::protocol::KeptEntry;
    use super::*;

    fn member(change: Change, name: &str, incarnation: Incarnation) -> Payload {
        let member = MemberId { name: Name::parse(name).unwrap(), incarnation };
        Payload::Member { change, member, prefer: Prefer::Freshness, program: None }
    }

    fn join(name: &str) -> Payload {
        member(Change::Join, name, Incarnation::random())
    }

    fn ticket() -> Payload {
        Payload::TicketKeys { wrapped: "k".into() }
    }

    fn propose(
        log: &Sequencer,
        ahead: &[Arc<Record>],
        payload: Payload,
    ) -> Result<Arc<Record>, Refusal> {
        match log.propose_behind(ahead, log.epoch(), RecordId::random(), payload)? {
            Proposal::New(record) => Ok(Arc::new(record)),
            Proposal::Known(_) => panic!("it is new"),
        }
    }

    fn append(log: &mut Sequencer, payload: Payload) {
        let record = propose(log, &[], payload).unwrap();
        log.commit(record).unwrap();
    }

    #[test]
    fn proposals_of_a_group_follow_each_other() {
        let mut log = Sequencer::new(Epoch(RecordId::random()));
        append(&mut log, ticket());
        let mut group = Vec::new();
        for _ in 0..3 {
            group.push(propose(&log, &group, ticket()).unwrap());
        }
        let again = log.propose_behind(&group, log.epoch(), group[1].id, ticket());
        assert_eq!(again, Ok(Proposal::Known(group[1].place())));
        assert_eq!(log.head().number, FleetNumber(1), "nothing is there before it is committed");
        for record in group {
            log.commit(record).unwrap();
        }
        assert_eq!(log.head().number, FleetNumber(4));
    }

    #[test]
    fn a_roster_is_full_with_those_who_join_together() {
        let mut log = Sequencer::new(Epoch(RecordId::random()));
        for at in 2..MEMBERS_MAX {
            append(&mut log, join(&format!("m{at}")));
        }
        let first = propose(&log, &[], join("a")).unwrap();
        let group = [Arc::clone(&first), propose(&log, &[first], join("b")).unwrap()];
        assert_eq!(propose(&log, &group, join("c")), Err(Refusal::Full));
        for known in ["a", "m7"] {
            assert!(propose(&log, &group, join(known)).is_ok(), "{known} has its place");
        }
        assert!(propose(&log, &group, ticket()).is_ok());
    }

    #[test]
    fn a_member_leaves_whatever_room_there_is() {
        let mut log = Sequencer::new(Epoch(RecordId::random()));
        let incarnation = Incarnation::random();
        append(&mut log, member(Change::Join, "a", incarnation));
        assert!(log.frees(&member(Change::Leave, "a", incarnation)));
        assert!(!log.frees(&member(Change::Leave, "a", Incarnation::random())));
        assert!(!log.frees(&member(Change::Leave, "b", incarnation)));
        assert!(!log.frees(&member(Change::Join, "a", incarnation)));
    }

    // A document of this name, whose writer had seen all up to a number.
    fn document(after: u64, name: &str, content: Option<&str>) -> Payload {
        let entry = KeptEntry { name: name.into(), content: content.map(String::from) };
        Payload::Document(Kept { after: FleetNumber(after), entries: vec![entry] })
    }

    #[test]
    fn of_two_who_change_what_all_keep_alike_the_one_who_came_late_is_refused() {
        let mut log = Sequencer::new(Epoch(RecordId::random()));
        append(&mut log, document(0, "distribution/E1", Some("1")));
        append(&mut log, ticket());
        assert_eq!(propose(&log, &[], document(0, "a", Some(""))), Err(Refusal::Overtaken));
        let first = propose(&log, &[], document(1, "distribution/E1", Some("2"))).unwrap();
        // Both were decided by what was there before either of them.
        let group = [first];
        let late = document(1, "distribution/E1", Some("3"));
        assert_eq!(propose(&log, &group, late), Err(Refusal::Overtaken));
        let next = propose(&log, &group, document(3, "distribution/E1", None)).unwrap();
        let [first] = group;
        let said_again = log.propose(log.epoch(), first.id, first.payload.clone());
        assert!(matches!(said_again, Ok(Proposal::New(_))), "it is not written down yet");
        log.commit(Arc::clone(&first)).unwrap();
        let said_again = log.propose(log.epoch(), first.id, first.payload.clone());
        assert_eq!(said_again, Ok(Proposal::Known(first.place())));
        let page = log.kept_after("");
        assert!(page.is_end && page.last == FleetNumber(3));
        let (name, held) = &page.held[0];
        assert_eq!((name.as_str(), held.content.as_str()), ("distribution/E1", "2"));
        assert_eq!((held.number, held.id), (FleetNumber(3), first.id));
        log.commit(next).unwrap();
        assert!(log.kept_after("").held.is_empty() && log.held_octets == 0);
        // What is whole goes with all that is named below it, and nothing else does.
        for (after, name) in
            [(4, "value/s"), (5, "value/s/a"), (6, "value/s/a/b"), (7, "value/t/a")]
        {
            append(&mut log, document(after, name, Some("")));
        }
        append(&mut log, document(8, "value/s/a", None));
        assert_eq!(log.held.len(), 3);
        append(&mut log, document(9, "value/s", None));
        assert_eq!(log.held.keys().collect::<Vec<_>>(), ["value/t/a"]);
        append(&mut log, document(10, "value/t", None));
        assert!(log.held.is_empty() && log.held_octets == 0);
        // Whatever was let go of, what all keep is there.
        append(&mut log, document(11, "b", Some("x")));
        log.cut(log.head().number);
        assert_eq!(log.kept_after("a").held.len(), 1);
        assert!(log.kept_after("b").held.is_empty());
    }

    #[test]
    fn what_all_keep_alike_is_told_in_parts_and_has_a_bound() {
        let mut log = Sequencer::new(Epoch(RecordId::random()));
        let content = "c".repeat(700 << 10);
        let mut names = Vec::new();
        for at in 0u64.. {
            let payload = document(at, &format!("distribution/{at:03}"), Some(&content));
            match propose(&log, &[], payload) {
                Ok(record) => drop(log.commit(record)),
                Err(refusal) => {
                    assert_eq!(refusal, Refusal::Full);
                    assert!(propose(&log, &[], document(at, "distribution/000", None)).is_ok());
                    break;
                }
            }
            names.push(format!("distribution/{at:03}"));
        }
        assert!(names.len() > 80, "{}", names.len());
        let (mut told, mut after) = (Vec::new(), String::new());
        loop {
            let page = log.kept_after(&after);
            assert!(page.held.len() <= 2, "no longer than one answer");
            told.extend(page.held.into_iter().map(|(name, _)| name));
            after = told.last().cloned().unwrap_or_default();
            if page.is_end {
                break;
            }
        }
        assert_eq!(told, names);
    }

    #[test]
    fn small_things_and_escaped_ones_fit_an_answer_too() {
        for (count, content) in [(60_000, "1".to_string()), (4_000, "\u{1}".repeat(1000))] {
            let mut log = Sequencer::new(Epoch(RecordId::random()));
            let entry = |at: usize| KeptEntry {
                name: format!("value/flags/{at}"),
                content: Some(content.clone()),
            };
            let entries = (0..count).map(entry).collect();
            append(&mut log, Payload::Value(Kept { after: FleetNumber(0), entries }));
            let (mut after, mut told) = (String::new(), 0);
            loop {
                let page = log.kept_after(&after);
                assert!(serde_json::to_vec(&page).unwrap().len() <= PAGE_OCTETS + 1024);
                told += page.held.len();
                if page.is_end {
                    break;
                }
                after = page.held.last().unwrap().0.clone();
            }
            assert_eq!(told, count);
        }
    }

    #[test]
    fn a_past_and_what_was_kept_make_the_same_log() {
        let mut log = Sequencer::new(Epoch(RecordId::random()));
        let incarnation = Incarnation::random();
        for payload in [
            join("a"),
            member(Change::Join, "b", incarnation),
            ticket(),
            join("a"),
            member(Change::Leave, "b", incarnation),
            member(Change::Leave, "a", incarnation),
            document(0, "distribution/E1", Some("1")),
            document(7, "distribution/E2", Some("22")),
            document(8, "distribution/E1", None),
        ] {
            append(&mut log, payload);
        }
        for floor in 0..=9 {
            let mut trimmed = log.clone();
            trimmed.cut(FleetNumber(floor));
            let mut again = Sequencer::resume(trimmed.epoch(), trimmed.past());
            for record in trimmed.kept() {
                again.commit(record).unwrap();
            }
            assert_eq!(again, trimmed, "from {floor}");
        }
    }
}
