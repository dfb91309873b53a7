//! The fleet's rules walked in all orders: two members, a sequencer, one shared store, one record
//! that covers everything. The machines are the real ones; only what stands between them is made
//! here. A rule that is bent (`Bend`) must be found out, or the search would prove nothing.

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::distribution::fleet::Prefer;
use foreshore::fleet::member::{Leave, Member, Proof, Publication, Restored, Step};
use foreshore::fleet::protocol::{
    Change, Epoch, FleetNumber, MemberId, Moment, Name, Payload, Place, Stamp, Terms,
};
use foreshore::fleet::sequencer::{Proposal, Renew, Renewal, Sequencer};
use foreshore::invalidation::chain::{Incarnation, RecordId};
use foreshore::message::key::InvalidationNumber;

const NOW: Moment = Moment(0);

/// Which rule is bent, if any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Bend {
    None,
    AnswersAtOnce,
    LeaseFromReceipt,
    HeadNotCompared,
    StampAtTheEnd,
    ReadersNumber,
    ServesAfterTheLease,
}

/// A response, and whether its request began before the append.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Response {
    asked_at: u64,
    stamp: Stamp,
    is_old: bool,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Flight {
    None,
    Asked(Renew),
    Answered(Renewal),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Edge {
    member: Member,
    /// The last local number, and the last that invalidates.
    local: u64,
    invalid_below: u64,
    stored: Option<Response>,
    fill: Option<Response>,
    flight: Flight,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    log: Sequencer,
    edges: [Edge; 2],
    tier: Option<Response>,
    publication: Option<Publication>,
    is_acknowledged: bool,
}

fn id(n: u8) -> RecordId {
    RecordId::of_octets(&[n])
}

fn append(log: &mut Sequencer, of: RecordId, payload: Payload) -> FleetNumber {
    match log.propose(log.epoch(), of, payload).unwrap() {
        Proposal::Known(place) => place.number,
        Proposal::New(record) => log.commit(Arc::new(record)).unwrap().number,
    }
}

fn invalidation() -> Payload {
    let matchers = vec![Matcher::Prefix("/".into())];
    Payload::Invalidation {
        name: String::new(),
        distribution: "d".into(),
        matchers,
        severity: Severity::Hard,
    }
}

fn start(terms: Terms) -> World {
    let epoch = Epoch(id(100));
    let mut log = Sequencer::new(epoch);
    let ids = ["a", "b"].map(|name| MemberId {
        name: Name::parse(name).unwrap(),
        incarnation: Incarnation::default(),
    });
    for (n, member) in ids.iter().enumerate() {
        let (change, prefer) = (Change::Join, Prefer::Freshness);
        append(&mut log, id(n as u8), Payload::Member { change, member: member.clone(), prefer });
    }
    let records = log.read(log.floor(), 10).unwrap();
    let edges = ids.map(|of| {
        let local = InvalidationNumber(0);
        let known =
            Restored { epoch, place: Place::START, local, pending: Vec::new(), is_settling: false };
        let mut member = Member::restored((of, Prefer::Freshness), terms, known, NOW);
        for record in &records {
            member.note(record, local, NOW).unwrap();
        }
        // Their beginning is long ago.
        let member = member.seen_from(Moment(1000));
        let flight = Flight::None;
        Edge { member, local: 0, invalid_below: 0, stored: None, fill: None, flight }
    });
    World { log, edges, tier: None, publication: None, is_acknowledged: false }
}

impl World {
    fn may_serve(&self, e: usize, bend: Bend) -> bool {
        bend == Bend::ServesAfterTheLease || self.edges[e].member.leave(NOW) == Leave::Use
    }

    /// Says whether what this edge would answer from its store breaks the invariant.
    fn is_wrong(&self, bend: Bend) -> bool {
        self.is_acknowledged
            && (0..2).any(|e| {
                let edge = &self.edges[e];
                let is_valid = |r: &Response| r.asked_at >= edge.invalid_below && r.is_old;
                self.may_serve(e, bend) && edge.stored.as_ref().is_some_and(is_valid)
            })
    }

    fn next(&self, bend: Bend, terms: Terms) -> Vec<World> {
        let mut all = vec![self.tick()];
        all.extend(self.publish(terms));
        all.extend(self.acknowledge(bend));
        for e in 0..2 {
            all.extend(self.fetch(e, bend));
            all.extend(self.take_from_tier(e, bend));
            all.extend(self.renew(e, bend));
            all.extend(self.apply(e));
        }
        all
    }

    fn tick(&self) -> World {
        let mut next = self.clone();
        next.edges = next.edges.map(|edge| {
            let member = edge.member.clone().seen_from(Moment(1));
            Edge { member, ..edge }
        });
        if let Some(publication) = &mut next.publication {
            publication.fenced_at = publication.fenced_at.seen_from(Moment(1));
        }
        next
    }

    fn publish(&self, terms: Terms) -> Option<World> {
        self.publication.is_none().then(|| {
            let mut next = self.clone();
            let number = append(&mut next.log, id(9), invalidation());
            let (epoch, fenced_at) = (next.log.epoch(), NOW.plus(terms.fence));
            next.publication = Some(Publication { epoch, id: id(9), number, fenced_at });
            next
        })
    }

    fn acknowledge(&self, bend: Bend) -> Option<World> {
        let publication = self.publication.filter(|_| !self.is_acknowledged)?;
        let proofs = publication.judge(
            &self.log.roster_about(publication.id),
            &self.edges[0].member,
            NOW,
        )?;
        let is_done = proofs.iter().all(|p| matches!(p, Proof::Applied | Proof::Fenced));
        (is_done || bend == Bend::AnswersAtOnce)
            .then(|| World { is_acknowledged: true, ..self.clone() })
    }

    fn fetch(&self, e: usize, bend: Bend) -> Option<World> {
        let mut next = self.clone();
        let edge = &mut next.edges[e];
        let (stamp, asked_at) = (edge.member.stamp(), edge.local);
        let Some(fill) = edge.fill.take() else {
            edge.fill = Some(Response { asked_at, stamp, is_old: self.publication.is_none() });
            return Some(next);
        };
        let came = match bend {
            Bend::StampAtTheEnd => Response { stamp, ..fill },
            _ => fill,
        };
        edge.stored = Some(came);
        // What does not show in the shared store is told as zero, so that equal worlds are equal.
        next.tier = Some(Response { asked_at: 0, ..came });
        Some(next)
    }

    fn take_from_tier(&self, e: usize, bend: Bend) -> Option<World> {
        let found = self.tier.filter(|_| self.may_serve(e, bend))?;
        let edge = &self.edges[e];
        let asked_at = match bend {
            Bend::ReadersNumber => edge.local,
            _ => edge.member.adopt(found.stamp)?.0,
        };
        if asked_at < edge.invalid_below {
            return None;
        }
        let mut next = self.clone();
        next.edges[e].stored = Some(Response { asked_at, ..found });
        Some(next)
    }

    fn renew(&self, e: usize, bend: Bend) -> Option<World> {
        let mut next = self.clone();
        let edge = &mut next.edges[e];
        edge.flight = match std::mem::replace(&mut edge.flight, Flight::None) {
            Flight::None => Flight::Asked(edge.member.renew(0, NOW)),
            Flight::Asked(renew) => Flight::Answered(next.log.renew(&renew).unwrap()),
            Flight::Answered(mut answer) => {
                if bend == Bend::HeadNotCompared {
                    answer.head = edge.member.applied();
                }
                // Of a place that the log had when it answered, or the lease would be refused.
                let has_it = answer.head.number >= edge.member.applied().number;
                if bend == Bend::LeaseFromReceipt && has_it {
                    edge.member.renew(0, NOW);
                }
                let step = edge.member.renewed(0, &answer, NOW).unwrap();
                assert!(matches!(step, Step::Go | Step::Read));
                Flight::None
            }
        };
        Some(next)
    }

    fn apply(&self, e: usize) -> Option<World> {
        let mut next = self.clone();
        let edge = &mut next.edges[e];
        let record = next.log.read(edge.member.applied(), 1).unwrap().pop()?;
        edge.local += 1;
        edge.invalid_below = edge.local;
        edge.member.note(&record, InvalidationNumber(edge.local), NOW).unwrap();
        Some(next)
    }
}

/// How far a search came: worlds seen, and after how many steps the invariant broke.
fn search(bend: Bend, lease: u64) -> (usize, Option<usize>) {
    let terms = Terms { lease, fence: lease };
    let first = start(terms);
    // Worlds are known again by 64 bits of digest; of a million, two are hardly ever mistaken for
    // each other (about three in a hundred million searches).
    let digest = BuildHasherDefault::<DefaultHasher>::default();
    let mut seen = HashSet::from([digest.hash_one(&first)]);
    let mut open = VecDeque::from([(first, 0)]);
    while let Some((world, depth)) = open.pop_front() {
        if world.is_wrong(bend) {
            return (seen.len(), Some(depth));
        }
        for next in world.next(bend, terms) {
            if seen.insert(digest.hash_one(&next)) {
                open.push_back((next, depth + 1));
            }
        }
    }
    (seen.len(), None)
}

#[test]
fn slow_the_rules_hold_in_every_order() {
    let (worlds, wrong) = search(Bend::None, 1);
    println!("{worlds} worlds");
    assert_eq!(wrong, None);
    assert!(worlds > 10_000, "{worlds} worlds are too few to say anything");
}

#[test]
fn each_bent_rule_is_found_out() {
    for bend in [
        Bend::AnswersAtOnce,
        Bend::LeaseFromReceipt,
        Bend::HeadNotCompared,
        Bend::StampAtTheEnd,
        Bend::ReadersNumber,
        Bend::ServesAfterTheLease,
    ] {
        let (worlds, wrong) = search(bend, 1);
        println!("{bend:?}: wrong after {wrong:?} steps, {worlds} worlds");
        assert!(wrong.is_some(), "{bend:?} goes unnoticed in {worlds} worlds");
    }
}
