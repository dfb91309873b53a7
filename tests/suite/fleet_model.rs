//! The fleet's rules walked in all orders: two members, a sequencer, one shared store, one record
//! that covers everything. The machines are the real ones; only what stands between them is made
//! here. A rule that is bent (`Bend`) must be found out, or the search would prove nothing.
//!
//! There are three plots, each as small as what it is about allows. A world is made of parts that
//! are known by number, and what a part does with another is worked out once.

mod edge;

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::Hash;
use std::rc::Rc;
use std::sync::Arc;

use foldhash::fast::FixedState;
use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::distribution::fleet::Prefer;
use foreshore::fleet::member::{Member, Proof, Publication, Restored};
use foreshore::fleet::protocol::{
    Change, Epoch, FleetNumber, MemberId, Moment, Name, Payload, Place, Record, Terms,
};
use foreshore::fleet::sequencer::{Proposal, Sequencer};
use foreshore::invalidation::chain::{Incarnation, RecordId};
use foreshore::message::key::InvalidationNumber;

use edge::{Bend, COVERING, Edge, NOW, Response, id};

/// What is walked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plot {
    /// A record is appended; both members fetch, share what they fetched, and serve.
    Appended,
    /// The same, with a second record that covers something else. Its worlds do not end in a
    /// useful time: they are walked as far as is asked for, nearest first.
    Two,
    /// The first member invalidates while its record has no place yet, and a record that covers
    /// something else gets one. The second member only fills the shared store.
    PublishedFirst,
    /// The log loses its last record, and a new epoch begins. Both members have stored a response
    /// of before the record, which is the worst that they can have.
    Lost,
}

/// One that covers something else.
const OTHER: u8 = 8;

fn append(log: &mut Sequencer, of: RecordId, payload: Payload) -> FleetNumber {
    match log.propose(log.epoch(), of, payload).unwrap() {
        Proposal::Known(place) => place.number,
        Proposal::New(record) => log.commit(Arc::new(record)).unwrap().number,
    }
}

fn invalidation(matcher: Matcher) -> Payload {
    Payload::Invalidation {
        name: String::new(),
        distribution: "d".into(),
        matchers: vec![matcher],
        severity: Severity::Hard,
    }
}

/// Parts of worlds by number: equal ones have the same.
struct Parts<T> {
    known: HashMap<Rc<T>, u32, FixedState>,
    all: Vec<Rc<T>>,
}

impl<T: Hash + Eq> Parts<T> {
    fn new() -> Self {
        Self { known: HashMap::default(), all: Vec::new() }
    }

    fn number(&mut self, part: T) -> u32 {
        if let Some(number) = self.known.get(&part) {
            return *number;
        }
        let (number, part) = (self.all.len() as u32, Rc::new(part));
        self.all.push(Rc::clone(&part));
        self.known.insert(part, number);
        number
    }

    fn get(&self, number: u32) -> Rc<T> {
        Rc::clone(&self.all[number as usize])
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    log: u32,
    edges: [u32; 2],
    tier: u32,
    publication: u32,
    is_invalidated: bool,
    is_acknowledged: bool,
    is_lost: bool,
}

/// What is worked out of two or three parts: an edge and another part, except where it says so.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Act {
    Tick,
    /// The other: whether what is fetched is old.
    Ask,
    /// The other: the shared store.
    Fill,
    Take,
    /// The other: the log.
    Renew,
    Apply,
    Publish,
    /// Whether a caller may be told: the first edge, the log, the publication.
    Judge,
    /// No edge, but a publication.
    Age,
    /// No edge, and the log.
    AppendCovering,
    AppendOther,
    Lose,
}

/// What comes of it: the parts in the places of the first two.
type Outcome = Option<(u32, u32)>;

struct Search {
    plot: Plot,
    bend: Bend,
    terms: Terms,
    logs: Parts<Sequencer>,
    edges: Parts<Edge>,
    tiers: Parts<Option<Response>>,
    publications: Parts<Option<Publication>>,
    outcomes: HashMap<(Act, [u32; 3]), Outcome, FixedState>,
}

impl Search {
    fn new(plot: Plot, bend: Bend, lease: u64) -> Self {
        Self {
            plot,
            bend,
            terms: Terms { lease, fence: lease },
            logs: Parts::new(),
            edges: Parts::new(),
            tiers: Parts::new(),
            publications: Parts::new(),
            outcomes: HashMap::default(),
        }
    }

    fn start(&mut self) -> World {
        let epoch = Epoch(id(100));
        let mut log = Sequencer::new(epoch);
        let ids = ["a", "b"].map(|name| MemberId {
            name: Name::parse(name).unwrap(),
            incarnation: Incarnation::default(),
        });
        for (n, member) in ids.iter().enumerate() {
            let (change, prefer) = (Change::Join, Prefer::Freshness);
            let payload = Payload::Member { change, member: member.clone(), prefer, program: None };
            append(&mut log, id(n as u8), payload);
        }
        let records = log.read(log.floor(), 10).unwrap();
        let edges = ids.map(|of| {
            let edge = self.edge(of, epoch, &records);
            self.edges.number(edge)
        });
        World {
            log: self.logs.number(log),
            edges,
            tier: self.tiers.number(None),
            publication: self.publications.number(None),
            is_invalidated: false,
            is_acknowledged: false,
            is_lost: false,
        }
    }

    fn edge(&self, of: MemberId, epoch: Epoch, records: &[Arc<Record>]) -> Edge {
        let local = InvalidationNumber(0);
        let known =
            Restored { epoch, place: Place::START, local, pending: Vec::new(), is_settling: false };
        let mut member = Member::restored((of, Prefer::Freshness), self.terms, known, NOW);
        for record in records {
            member.note(record, local, NOW).unwrap();
        }
        let stamp = member.stamp();
        let places = (0..=stamp.number.0).map(|number| (FleetNumber(number), 0));
        let old = Response { asked_at: 0, stamp, is_old: true };
        let stored = (self.plot == Plot::Lost).then_some(old);
        let has_copy = self.plot == Plot::PublishedFirst;
        let copy = if has_copy { places.collect() } else { Vec::new() };
        // Their beginning is long ago.
        Edge::new(member.seen_from(Moment(1000)), stored, copy)
    }

    /// Says whether what an edge would answer from its store breaks the invariant.
    fn is_wrong(&self, world: World) -> bool {
        let serves_old = |edge: u32| self.edges.all[edge as usize].serves_old(self.bend);
        let is_in_effect_here = self.plot == Plot::PublishedFirst && world.is_invalidated;
        (world.is_acknowledged && world.edges.into_iter().any(serves_old))
            || (is_in_effect_here && serves_old(world.edges[0]))
    }

    fn outcome(&mut self, act: Act, of: [u32; 3]) -> Outcome {
        if let Some(known) = self.outcomes.get(&(act, of)) {
            return *known;
        }
        let outcome = self.work_out(act, of);
        self.outcomes.insert((act, of), outcome);
        outcome
    }

    fn work_out(&mut self, act: Act, [first, second, third]: [u32; 3]) -> Outcome {
        match act {
            Act::Judge => return self.judge(first, second, third).then_some((first, second)),
            Act::Age => return Some((self.older(first), second)),
            Act::AppendCovering | Act::AppendOther | Act::Lose => {
                let log = self.log_after(act, second)?;
                return Some((first, self.logs.number(log)));
            }
            _ => (),
        }
        let (edge, bend) = (self.edges.get(first), self.bend);
        let (edge, second) = match act {
            Act::Ask => (edge.asks(second == 1), second),
            Act::Publish => (edge.publishes(), second),
            Act::Fill => {
                let (edge, shared) = edge.fills(bend)?;
                (edge, self.tiers.number(Some(shared)))
            }
            Act::Take => (edge.takes((*self.tiers.get(second))?, bend)?, second),
            Act::Apply => (edge.applies(&self.logs.get(second), bend)?, second),
            Act::Renew => {
                let (edge, log) = edge.renews(&self.logs.get(second), bend, self.terms);
                (edge, log.map_or(second, |log| self.logs.number(log)))
            }
            _ => (edge.ticked(), second),
        };
        Some((self.edges.number(edge), second))
    }

    fn judge(&self, edge: u32, log: u32, publication: u32) -> bool {
        let Some(publication) = *self.publications.get(publication) else { return false };
        let roster = self.logs.get(log).roster_about(publication.id);
        let Some(proofs) = publication.judge(&roster, &self.edges.get(edge).member, NOW) else {
            return false;
        };
        let is_done = |proof: &Proof| matches!(proof, Proof::Applied | Proof::Fenced);
        proofs.iter().all(is_done) || self.bend == Bend::AnswersAtOnce
    }

    fn older(&mut self, publication: u32) -> u32 {
        let of = *self.publications.get(publication);
        let seen =
            |of: Publication| Publication { fenced_at: of.fenced_at.seen_from(Moment(1)), ..of };
        self.publications.number(of.map(seen))
    }

    // Nothing comes of what was done already.
    fn log_after(&self, act: Act, log: u32) -> Option<Sequencer> {
        let mut log = Sequencer::clone(&self.logs.get(log));
        let (of, matcher) = match act {
            Act::AppendOther => (id(OTHER), Matcher::Path("/other".into())),
            _ => (id(COVERING), Matcher::Prefix("/".into())),
        };
        let has_it = log.number_of(of).is_some();
        if act != Act::Lose {
            append(&mut log, of, invalidation(matcher));
            return (!has_it).then_some(log);
        }
        let mut shorter = Sequencer::new(Epoch(id(101)));
        for record in log.read(log.floor(), 10).unwrap() {
            if record.id != of {
                shorter.commit(record).unwrap();
            }
        }
        has_it.then_some(shorter)
    }

    // An edge with the log or the shared store; both may change.
    fn with_log(&mut self, world: World, e: usize, act: Act) -> Option<World> {
        let (edge, log) = self.outcome(act, [world.edges[e], world.log, 0])?;
        Some(World { log, ..world.with_edge(e, edge) })
    }

    fn with_tier(&mut self, world: World, e: usize, act: Act) -> Option<World> {
        let (edge, tier) = self.outcome(act, [world.edges[e], world.tier, 0])?;
        Some(World { tier, ..world.with_edge(e, edge) })
    }

    fn next(&mut self, world: World) -> Vec<World> {
        let mut all = Vec::with_capacity(16);
        all.extend(self.tick(world));
        let both = [0, 1];
        match self.plot {
            Plot::Appended | Plot::Two => {
                if self.plot == Plot::Two {
                    all.extend(self.append_other(world));
                }
                all.extend((!world.is_invalidated).then(|| self.append(world)).flatten());
                all.extend(self.acknowledge(world));
                for e in both {
                    all.extend(self.fetch(world, e));
                    all.extend(self.with_tier(world, e, Act::Take));
                    all.extend(self.with_log(world, e, Act::Renew));
                    all.extend(self.with_log(world, e, Act::Apply));
                }
            }
            Plot::PublishedFirst => {
                all.extend(self.publish(world));
                all.extend(self.append_other(world));
                all.extend(self.send(world, 0));
                all.extend(self.with_tier(world, 0, Act::Take));
                all.extend(self.with_log(world, 0, Act::Renew));
                all.extend(self.fetch(world, 1));
                all.extend(both.map(|e| self.with_log(world, e, Act::Apply)).into_iter().flatten());
            }
            Plot::Lost => {
                // The caller has its record, and appends it again if it was lost.
                all.extend((!world.is_acknowledged).then(|| self.append(world)).flatten());
                all.extend(self.acknowledge(world));
                all.extend(self.lose(world));
                for e in both {
                    all.extend(self.send(world, e));
                    all.extend(self.with_log(world, e, Act::Renew));
                    all.extend(self.with_log(world, e, Act::Apply));
                }
            }
        }
        all
    }

    fn tick(&mut self, world: World) -> Option<World> {
        if !self.may_pass(world) {
            return None;
        }
        let mut next = world;
        for e in [0, 1] {
            next.edges[e] = self.outcome(Act::Tick, [world.edges[e], 0, 0])?.0;
        }
        next.publication = self.outcome(Act::Age, [world.publication, 0, 0])?.0;
        Some(next)
    }

    // What is promised of a lost record that was acknowledged holds if it is put back before the
    // grace of any member ends.
    fn may_pass(&self, world: World) -> bool {
        let log = &self.logs.all[world.log as usize];
        if !world.is_lost || !world.is_acknowledged || log.number_of(id(COVERING)).is_some() {
            return true;
        }
        let ends_now = |edge: u32| {
            let member = &self.edges.all[edge as usize].member;
            member.epoch() == log.epoch() && member.grace_until() <= Moment(1)
        };
        !world.edges.into_iter().any(ends_now)
    }

    /// Gives the record its place.
    fn append(&mut self, world: World) -> Option<World> {
        let (_, log) = self.outcome(Act::AppendCovering, [0, world.log, 0])?;
        let next = World { log, is_invalidated: true, ..world };
        if world.is_acknowledged {
            return Some(next);
        }
        let log = self.logs.get(log);
        let of = id(COVERING);
        let number = log.number_of(of)?;
        let fenced_at = NOW.plus(self.terms.fence);
        let publication = Publication { epoch: log.epoch(), id: of, number, fenced_at };
        Some(World { publication: self.publications.number(Some(publication)), ..next })
    }

    fn append_other(&mut self, world: World) -> Option<World> {
        let (_, log) = self.outcome(Act::AppendOther, [0, world.log, 0])?;
        Some(World { log, ..world })
    }

    fn acknowledge(&mut self, world: World) -> Option<World> {
        if world.is_acknowledged {
            return None;
        }
        self.outcome(Act::Judge, [world.edges[0], world.log, world.publication])?;
        Some(World { is_acknowledged: true, ..world })
    }

    fn publish(&mut self, world: World) -> Option<World> {
        if world.is_invalidated {
            return None;
        }
        let (edge, _) = self.outcome(Act::Publish, [world.edges[0], 0, 0])?;
        Some(World { is_invalidated: true, ..world.with_edge(0, edge) })
    }

    /// Appends what an edge has in its outbox.
    fn send(&mut self, world: World, e: usize) -> Option<World> {
        let edge = self.edges.get(world.edges[e]);
        let is_there = edge.member.epoch() == self.logs.get(world.log).epoch();
        edge.member.outbox().next().filter(|_| is_there)?;
        self.append(world)
    }

    fn lose(&mut self, world: World) -> Option<World> {
        if world.is_lost {
            return None;
        }
        let (_, log) = self.outcome(Act::Lose, [0, world.log, 0])?;
        Some(World { log, is_lost: true, ..world })
    }

    fn fetch(&mut self, world: World, e: usize) -> Option<World> {
        if self.edges.get(world.edges[e]).fill.is_some() {
            return self.with_tier(world, e, Act::Fill);
        }
        let is_old = u32::from(!world.is_invalidated);
        let (edge, _) = self.outcome(Act::Ask, [world.edges[e], is_old, 0])?;
        Some(world.with_edge(e, edge))
    }
}

impl World {
    const fn with_edge(mut self, e: usize, edge: u32) -> Self {
        self.edges[e] = edge;
        self
    }
}

/// How far a search came, of at most so many worlds: worlds seen, and after how many steps the invariant broke.
fn search(plot: Plot, bend: Bend, lease: u64, most: usize) -> (usize, Option<u32>) {
    let mut search = Search::new(plot, bend, lease);
    let first = search.start();
    let mut seen: HashSet<World, FixedState> = HashSet::default();
    seen.insert(first);
    let mut open = VecDeque::from([(first, 0u32)]);
    while let Some((world, depth)) = open.pop_front() {
        if search.is_wrong(world) {
            return (seen.len(), Some(depth));
        }
        if seen.len() >= most {
            println!("stopped {depth} steps from the start");
            break;
        }
        for next in search.next(world) {
            if seen.insert(next) {
                open.push_back((next, depth + 1));
            }
        }
    }
    (seen.len(), None)
}

fn assert_holds(plot: Plot, lease: u64, least: usize) {
    let (worlds, wrong) = search(plot, Bend::None, lease, usize::MAX);
    println!("{plot:?}, lease {lease}: {worlds} worlds");
    assert_eq!(wrong, None);
    assert!(worlds > least, "{worlds} worlds are too few to say anything");
}

fn assert_found_out(plot: Plot, lease: u64, bends: &[Bend]) {
    for bend in bends {
        let (worlds, wrong) = search(plot, *bend, lease, usize::MAX);
        println!("{plot:?}, {bend:?}: wrong after {wrong:?} steps, {worlds} worlds");
        assert!(wrong.is_some(), "{bend:?} goes unnoticed in {worlds} worlds");
    }
}

#[test]
fn slow_the_rules_hold_in_every_order() {
    assert_holds(Plot::Appended, 1, 500_000);
}

// `FORESHORE_WORLDS` has it walk further than a test has time for.
#[test]
fn slow_two_records_change_nothing_as_far_as_is_walked() {
    let most = std::env::var("FORESHORE_WORLDS").ok().and_then(|most| most.parse().ok());
    let most = most.unwrap_or(1_500_000);
    let (worlds, wrong) = search(Plot::Two, Bend::None, 1, most);
    println!("two records: {worlds} worlds");
    assert!(wrong.is_none() && worlds >= most, "{wrong:?} in {worlds} worlds");
    // The same bound is far enough to find a bent rule out.
    assert!(search(Plot::Two, Bend::LeaseFromReceipt, 1, most).1.is_some());
}

#[test]
fn each_bent_rule_is_found_out() {
    let bends = [
        Bend::AnswersAtOnce,
        Bend::LeaseFromReceipt,
        Bend::HeadNotCompared,
        Bend::StampAtTheEnd,
        Bend::ReadersNumber,
        Bend::ServesAfterTheLease,
    ];
    assert_found_out(Plot::Appended, 1, &bends);
}

#[test]
fn what_is_published_here_first_holds_here_at_once() {
    assert_holds(Plot::PublishedFirst, 1, 1000);
    assert_found_out(Plot::PublishedFirst, 1, &[Bend::NotLowered, Bend::NotCapped]);
}

#[test]
fn slow_a_lost_record_is_put_back_before_it_is_missed() {
    // With a lease of one tick none could be asked for within the grace and outlast it.
    assert_holds(Plot::Lost, 2, 1000);
    assert_found_out(Plot::Lost, 2, &[Bend::WithoutGrace, Bend::AskedWithinGrace]);
}
