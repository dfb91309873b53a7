//! One member of a fleet in a world of the model: its machine, the numbers that its log gives, and
//! what it has stored of the one key there is.

use foreshore::fleet::member::{Leave, Member, Step};
use foreshore::fleet::protocol::{FleetNumber, Moment, Payload, Record, Stamp, Terms};
use foreshore::fleet::sequencer::{Renew, Renewal, Sequencer};
use foreshore::invalidation::chain::RecordId;
use foreshore::message::key::InvalidationNumber;

/// Every moment is told from now.
pub const NOW: Moment = Moment(0);

/// Which rule is bent, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Bend {
    None,
    AnswersAtOnce,
    LeaseFromReceipt,
    HeadNotCompared,
    StampAtTheEnd,
    ReadersNumber,
    ServesAfterTheLease,
    /// What was noted before a record of the member's own got its place keeps its number.
    NotLowered,
    /// What has no place yet does not keep responses of a shared store back.
    NotCapped,
    /// A lease of a new epoch counts at once.
    WithoutGrace,
    /// A lease may be asked for within the grace, and counts after it.
    AskedWithinGrace,
}

/// A response, and whether its request began before the invalidation.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Response {
    pub asked_at: u64,
    pub stamp: Stamp,
    pub is_old: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Flight {
    None,
    Asked(Renew),
    Answered(Renewal),
}

/// A lease as it would be without the rule of the grace; all zero while that is not bent.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
struct Graceless {
    asked: u64,
    until: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Edge {
    pub member: Member,
    /// The last local number, and the last that invalidates.
    local: u64,
    invalid_below: u64,
    stored: Option<Response>,
    pub fill: Option<Response>,
    flight: Flight,
    /// Which local number each place has, kept a second time in the plot that is about it.
    copy: Vec<(FleetNumber, u64)>,
    graceless: Graceless,
}

/// The record that all is about.
pub const COVERING: u8 = 9;

pub fn id(n: u8) -> RecordId {
    RecordId::of_octets(&[n])
}

fn covers(record: &Record) -> bool {
    let Payload::Invalidation { matchers, .. } = &record.payload else { return false };
    matchers.iter().any(|matcher| matcher.covers("/key", &[]))
}

impl Edge {
    /// One that has applied no invalidation yet.
    pub fn new(member: Member, stored: Option<Response>, copy: Vec<(FleetNumber, u64)>) -> Self {
        Self {
            member,
            local: 0,
            invalid_below: 0,
            stored,
            fill: None,
            flight: Flight::None,
            copy,
            graceless: Graceless::default(),
        }
    }

    fn may_serve(&self, bend: Bend) -> bool {
        let has_graceless = self.graceless.until > 0;
        match bend {
            Bend::ServesAfterTheLease => true,
            Bend::WithoutGrace => has_graceless,
            Bend::AskedWithinGrace => has_graceless && self.member.grace_until() == NOW,
            _ => self.member.leave(NOW) == Leave::Use,
        }
    }

    /// Whether what it would answer from its store is of before the invalidation.
    pub fn serves_old(&self, bend: Bend) -> bool {
        let is_valid = |r: &Response| r.asked_at >= self.invalid_below && r.is_old;
        self.stored.as_ref().is_some_and(is_valid) && self.may_serve(bend)
    }

    pub fn ticked(&self) -> Self {
        let Graceless { asked, until } = self.graceless;
        let graceless =
            Graceless { asked: asked.saturating_sub(1), until: until.saturating_sub(1) };
        let member = self.member.clone().seen_from(Moment(1));
        Self { member, graceless, ..self.clone() }
    }

    pub fn asks(&self, is_old: bool) -> Self {
        let (stamp, asked_at) = (self.member.stamp(), self.local);
        Self { fill: Some(Response { asked_at, stamp, is_old }), ..self.clone() }
    }

    /// A fill arrives, which is also put into the shared store.
    pub fn fills(&self, bend: Bend) -> Option<(Self, Response)> {
        let fill = self.fill?;
        let came = match bend {
            Bend::StampAtTheEnd => Response { stamp: self.member.stamp(), ..fill },
            _ => fill,
        };
        // What does not show in the shared store is told as zero, so that equal worlds are equal.
        let shared = Response { asked_at: 0, ..came };
        Some((Self { fill: None, stored: Some(came), ..self.clone() }, shared))
    }

    /// Takes what lies in the shared store.
    pub fn takes(&self, found: Response, bend: Bend) -> Option<Self> {
        if !self.may_serve(bend) {
            return None;
        }
        let asked_at = match bend {
            Bend::ReadersNumber => self.local,
            Bend::NotLowered | Bend::NotCapped => self.number_by_copy(found.stamp, bend)?,
            _ => self.member.adopt(found.stamp)?.0,
        };
        if bend == Bend::None && !self.copy.is_empty() {
            assert_eq!(self.number_by_copy(found.stamp, bend), Some(asked_at));
        }
        let stored = Some(Response { asked_at, ..found });
        (asked_at >= self.invalid_below).then(|| Self { stored, ..self.clone() })
    }

    // What `Member::adopt` says, by the model's own copy of what it remembers.
    fn number_by_copy(&self, stamp: Stamp, bend: Bend) -> Option<u64> {
        let number = stamp.number.min(self.member.applied().number);
        let (_, local) = self.copy.iter().find(|(known, _)| *known == number)?;
        let first = self.member.outbox().next().filter(|_| bend != Bend::NotCapped);
        Some(first.map_or(*local, |(_, pending)| (*local).min(pending.0 - 1)))
    }

    pub fn renews(&self, log: &Sequencer, bend: Bend, terms: Terms) -> (Self, Option<Sequencer>) {
        let mut edge = self.clone();
        let is_graceless = matches!(bend, Bend::WithoutGrace | Bend::AskedWithinGrace);
        let mut changed = None;
        edge.flight = match std::mem::replace(&mut edge.flight, Flight::None) {
            Flight::None => {
                if is_graceless {
                    edge.graceless.asked = terms.lease;
                }
                Flight::Asked(edge.member.renew(0, NOW))
            }
            Flight::Asked(renew) => {
                let log = changed.insert(log.clone());
                Flight::Answered(log.renew(&renew).unwrap())
            }
            Flight::Answered(answer) => {
                edge.is_answered(answer, bend);
                Flight::None
            }
        };
        (edge, changed)
    }

    fn is_answered(&mut self, mut answer: Renewal, bend: Bend) {
        if bend == Bend::HeadNotCompared {
            answer.head = self.member.applied();
        }
        // Of a place that the log had when it answered, or the lease would be refused.
        let has_it = answer.head.number >= self.member.applied().number;
        if bend == Bend::LeaseFromReceipt && has_it {
            self.member.renew(0, NOW);
        }
        let epoch = self.member.epoch();
        let step = self.member.renewed(0, &answer, NOW).unwrap();
        assert!(matches!(step, Step::Go | Step::Read), "{step:?}");
        let asked = std::mem::take(&mut self.graceless.asked);
        if step == Step::Go {
            self.graceless.until = self.graceless.until.max(asked);
        }
        if self.member.epoch() != epoch {
            self.graceless.until = 0;
        }
        // So that members that behave alike are equal.
        self.member = self.member.clone().seen_from(NOW);
    }

    /// Applies the next record of the log.
    pub fn applies(&self, log: &Sequencer, bend: Bend) -> Option<Self> {
        let record = log.read(self.member.applied(), 1).ok()?.pop()?;
        let mut edge = self.clone();
        let own = self.member.outbox().find(|(known, _)| *known == record.id);
        if !self.member.is_in_effect(record.id) {
            edge.local += 1;
            if covers(&record) {
                edge.invalid_below = edge.local;
            }
        }
        edge.member.note(&record, InvalidationNumber(edge.local), NOW).unwrap();
        if !edge.copy.is_empty() {
            let lowered = own.filter(|_| bend != Bend::NotLowered).map(|(_, own)| own.0 - 1);
            let later = edge.copy.iter_mut().map(|(_, local)| local);
            later.for_each(|local| *local = (*local).min(lowered.unwrap_or(u64::MAX)));
            edge.copy.push((record.place().number, edge.local));
        }
        Some(edge)
    }

    /// Invalidates here, before the record has a place.
    pub fn publishes(&self) -> Self {
        let mut edge = self.clone();
        edge.local += 1;
        edge.invalid_below = edge.local;
        edge.member.publish(id(COVERING), InvalidationNumber(edge.local));
        edge
    }
}
