//! Pure: which answers of a parent an edge may believe; the rules, as functions of values.
//!
//! A parent keeps, of each edge's log, which incarnations of its holder it knows and up to which
//! record each is in effect. An edge takes no answer of a parent that has not confirmed its log.
//! There are two ways to be confirmed:
//!
//! - **to succeed**: the edge's last process ended in order and told *every* parent its last record
//!   and that it gives no other (a seal); each parent still has that seal. Taking it uses it up, so
//!   it confirms one process;
//! - **to begin**: the parent invalidates everything it holds of the edge's distributions. Whatever
//!   the edge once accepted, and no log has any more, is then in effect there too.
//!
//! Nothing less would do: a log that ends where the parent stands may have lost records that no
//! parent ever heard of.

use std::collections::HashMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::invalidation::chain::{Incarnation, Mark};
use crate::invalidation::log::{INCARNATIONS, Passage};
use crate::message::key::InvalidationNumber;
use crate::semantics::time::Timestamp;

/// How long an incarnation that says nothing counts as alive. Edges say something each second.
pub const QUIET: Duration = Duration::from_secs(10);
/// Logs of edges that a parent remembers; one that is forgotten begins anew.
const LOGS: usize = 4096;

/// What an edge says to a parent of its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// "I go on where a process that ended in order left off, at this mark."
    Succeed,
    /// "Invalidate everything of my distributions, and take my log to be in effect up to this
    /// mark."
    Begin,
    /// "You stand at this mark; what follows comes after it."
    Continue,
    /// "This mark is my last record, and I give no other."
    Seal,
}

/// What a parent answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Up to which record this incarnation's log is in effect; absent if the parent does not know
    /// the incarnation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
    /// Where other incarnations of the same log stood when this one began.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<Mark>,
    /// Two holders of this log are alive: copies of one data folder.
    #[serde(default)]
    pub is_contested: bool,
}

/// What a parent does about a step before it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing: it says where it stands.
    Tell,
    /// It writes down that the successor stands at the mark, and that the seal is used up.
    Succeed,
    /// It invalidates everything of the edge's distributions and writes down the mark.
    Begin,
    /// It takes the records, and writes down up to where.
    Take,
    /// It writes down the seal.
    Seal,
}

/// What an edge makes of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// The parent stands at this record of our log.
    Stands(Mark),
    /// The same, but there are records of our log that we do not have: everything is to be
    /// invalidated here, under numbers above the highest of them.
    Lost(Mark, Vec<Mark>),
    /// The parent does not know this incarnation: begin.
    Unknown,
    /// The parent was told records in the name of this incarnation that we never gave: another
    /// process runs as us, in every respect. Take another incarnation, and invalidate everything.
    Foreign(Mark),
}

/// Reads an answer. `knows` says whether a record is in our log; `last` is where this parent stood
/// when we last heard.
pub fn hear(answer: &Answer, last: Option<Mark>, knows: impl Fn(Mark) -> bool) -> Heard {
    let Some(mark) = answer.mark else { return Heard::Unknown };
    // A parent far behind stands at a record that we no longer remember, but it stood there before.
    if last != Some(mark) && !knows(mark) {
        return Heard::Foreign(mark);
    }
    let lost: Vec<Mark> = answer.others.iter().copied().filter(|other| !knows(*other)).collect();
    if lost.is_empty() { Heard::Stands(mark) } else { Heard::Lost(mark, lost) }
}

/// What an edge knows of one parent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It has not confirmed our log.
    #[default]
    Unconfirmed,
    /// It has, and stands at this record.
    At(Mark),
}

/// Says whether a parent is worth asking: it knows our log, and nothing that it has yet to hear
/// covers what is asked for. `is_covered_after` says whether any record after a number covers that.
pub fn is_worth_asking(
    standing: Standing,
    is_contested: bool,
    is_covered_after: impl Fn(InvalidationNumber) -> bool,
) -> bool {
    match standing {
        Standing::At(mark) => !is_contested && !is_covered_after(InvalidationNumber(mark.number)),
        Standing::Unconfirmed => false,
    }
}

/// Says whether a parent's answer may be taken, from what it says of our log: up to which record it
/// was in effect when the parent looked for the answer. A number without that record's identity, or
/// none at all, proves nothing.
pub fn may_believe(
    applied: Option<Mark>,
    knows: impl Fn(Mark) -> bool,
    is_covered_after: impl Fn(InvalidationNumber) -> bool,
) -> bool {
    applied.is_some_and(|mark| knows(mark) && !is_covered_after(InvalidationNumber(mark.number)))
}

/// One incarnation of the holder of a log, as a parent knows it.
#[derive(Clone, Debug)]
struct Life {
    incarnation: Incarnation,
    mark: Mark,
    is_sealed: bool,
    /// The turn in which it began.
    begun: u64,
    /// The turn in which it last said something.
    heard: u64,
    heard_at: Timestamp,
}

/// What a parent knows of the logs of its edges.
#[derive(Clone, Debug, Default)]
pub struct Lives {
    /// By `edge-id/node-id`; of each the incarnation that began last comes last.
    logs: HashMap<String, Vec<Life>>,
    turn: u64,
}

impl Lives {
    /// What is to be done about a step of an incarnation, `at` being the mark that it names, and
    /// `heir_of` the incarnation that it says it succeeds.
    pub fn judge(
        &self,
        log: &str,
        incarnation: Incarnation,
        (step, at): (Step, Mark),
        heir_of: Option<Incarnation>,
    ) -> Ruling {
        let lives = self.logs.get(log).map(Vec::as_slice).unwrap_or_default();
        let own = lives.iter().find(|life| life.incarnation == incarnation);
        let is_sealed =
            |life: &Life| life.is_sealed && life.mark == at && Some(life.incarnation) == heir_of;
        match (step, own) {
            (Step::Begin, _) => Ruling::Begin,
            (Step::Succeed, None) if lives.iter().any(is_sealed) => Ruling::Succeed,
            (Step::Continue, Some(own)) if own.mark == at => Ruling::Take,
            (Step::Seal, Some(own)) if own.mark == at => Ruling::Seal,
            (Step::Succeed | Step::Continue | Step::Seal, _) => Ruling::Tell,
        }
    }

    /// Notes that an incarnation spoke. To be called with each step, before the answer is made.
    pub fn heard(&mut self, log: &str, incarnation: Incarnation, step: Step, now: Timestamp) {
        self.turn += 1;
        let turn = self.turn;
        let Some(lives) = self.logs.get_mut(log) else { return };
        let newest = lives.last().map(|life| life.incarnation);
        if let Some(life) = lives.iter_mut().find(|life| life.incarnation == incarnation) {
            (life.heard, life.heard_at) = (turn, now);
        }
        // An incarnation that continues has read the answer to its beginning, and what that said of
        // the others.
        if newest == Some(incarnation) && step == Step::Continue {
            lives.retain(|life| life.incarnation == incarnation || !is_quiet(life, now));
        }
    }

    /// Notes how far an incarnation's log is in effect. To be called once that is written down, in
    /// that order.
    pub fn note(&mut self, passage: &Passage, now: Timestamp) {
        self.turn += 1;
        if !self.logs.contains_key(&passage.log) && self.logs.len() >= LOGS {
            self.forget_oldest();
        }
        let lives = self.logs.entry(passage.log.clone()).or_default();
        if let Some(own) = lives.iter_mut().find(|life| life.incarnation == passage.incarnation) {
            (own.mark, own.is_sealed) = (passage.mark, passage.is_sealed);
            return;
        }
        // Whatever seal there was is used up: the log has another holder now.
        lives.iter_mut().for_each(|life| life.is_sealed = false);
        lives.push(Life {
            incarnation: passage.incarnation,
            mark: passage.mark,
            is_sealed: passage.is_sealed,
            begun: self.turn,
            heard: self.turn,
            heard_at: now,
        });
        if lives.len() > INCARNATIONS {
            lives.remove(0);
        }
    }

    /// What is answered to an incarnation.
    pub fn answer(
        &self,
        log: &str,
        incarnation: Incarnation,
        step: Step,
        now: Timestamp,
    ) -> Answer {
        let lives = self.logs.get(log).map(Vec::as_slice).unwrap_or_default();
        let mark = lives.iter().find(|life| life.incarnation == incarnation).map(|life| life.mark);
        let is_beginning = matches!(step, Step::Begin | Step::Succeed);
        let others = lives
            .iter()
            .filter(|life| is_beginning && life.incarnation != incarnation)
            .map(|life| life.mark)
            .collect();
        Answer { mark, others, is_contested: self.is_contested(log, now) }
    }

    /// How far an incarnation's log is in effect; `None` where that is not known, or must not be
    /// said because two share the log.
    pub fn applied(&self, log: &str, incarnation: Incarnation, now: Timestamp) -> Option<Mark> {
        let life = self.logs.get(log)?.iter().find(|life| life.incarnation == incarnation)?;
        (!self.is_contested(log, now)).then_some(life.mark)
    }

    // An incarnation that goes on speaking after another one began is no predecessor of it. Until
    // one of them is silent.
    fn is_contested(&self, log: &str, now: Timestamp) -> bool {
        let Some((newest, before)) = self.logs.get(log).and_then(|lives| lives.split_last()) else {
            return false;
        };
        !is_quiet(newest, now)
            && before.iter().any(|life| life.heard > newest.begun && !is_quiet(life, now))
    }

    fn forget_oldest(&mut self) {
        let last_word = |lives: &Vec<Life>| lives.iter().map(|life| life.heard).max().unwrap_or(0);
        let oldest =
            self.logs.iter().min_by_key(|(_, lives)| last_word(lives)).map(|(log, _)| log.clone());
        if let Some(oldest) = oldest {
            self.logs.remove(&oldest);
        }
    }
}

fn is_quiet(life: &Life, now: Timestamp) -> bool {
    now.millis_since(life.heard_at) > QUIET.as_millis() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invalidation::chain::{Chain, RecordId};

    /// What a data folder holds.
    #[derive(Clone, Default)]
    struct Folder {
        /// The node id.
        node: u64,
        chain: Chain,
        /// The chain as far as it was synced.
        synced: Chain,
        /// The incarnation that ended in order, and told every parent.
        sealed: Option<Incarnation>,
    }

    impl Folder {
        fn log(&self) -> String {
            format!("e1/{}", self.node)
        }
    }

    /// A process on a folder.
    #[derive(Clone)]
    struct Process {
        incarnation: Incarnation,
        standings: [Standing; 2],
        is_contested: bool,
    }

    #[derive(Clone, Default)]
    struct Edge {
        folder: Folder,
        process: Option<Process>,
        /// The version of the one object that no read here may fall behind.
        floor: u64,
    }

    #[derive(Clone, Default)]
    struct Parent {
        lives: Lives,
        stored: Option<u64>,
        is_cut: bool,
    }

    /// Which of the rules are in force; one that is left out must be missed.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Rules {
        All,
        /// An unknown log begins without invalidating anything.
        BeginsSoftly,
        /// One parent's seal is enough for that parent to be believed.
        EachSealAlone,
        /// A process that sealed its log and goes on leaves the seal where it is.
        KeepsTheSeal,
    }

    /// Two edges (the second a copy of the first, once it is there), two parents, one object that
    /// every record covers.
    #[derive(Clone)]
    struct World {
        rules: Rules,
        origin: u64,
        edges: [Edge; 2],
        parents: [Parent; 2],
        copy: Option<(Folder, u64)>,
        /// Since the copy was taken a parent heard of the first edge.
        was_heard: bool,
        now: u64,
    }

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Op {
        /// An operator's purge: synced.
        Purge(usize),
        /// A viewer's write: in force, forwarded, not synced.
        Write(usize),
        /// The edge speaks with every parent that it reaches.
        Tend(usize),
        Start(usize),
        Stop(usize),
        /// An upgrade fails before the new process has spoken to a parent.
        Falter(usize),
        /// The same once it has, and was given a purge.
        Relapse(usize),
        Kill(usize),
        PowerCut(usize),
        Copy,
        Restore,
        Lose,
        /// A second edge on a copy of the first one's folder.
        Twin,
        /// Cuts a parent's admin listener off, or mends that.
        Toggle(usize),
        /// Another edge's viewers fill the parents.
        Fill,
    }

    const OPS: [Op; 19] = [
        Op::Purge(0),
        Op::Write(0),
        Op::Tend(0),
        Op::Start(0),
        Op::Stop(0),
        Op::Falter(0),
        Op::Relapse(0),
        Op::Kill(0),
        Op::PowerCut(0),
        Op::Copy,
        Op::Restore,
        Op::Lose,
        Op::Twin,
        Op::Purge(1),
        Op::Tend(1),
        Op::Kill(1),
        Op::Toggle(0),
        Op::Toggle(1),
        Op::Fill,
    ];

    impl World {
        // An edge that both parents know, and an object that they hold.
        fn warm(rules: Rules) -> Self {
            let (edges, parents) = (Default::default(), Default::default());
            let mut world =
                Self { rules, origin: 1, edges, parents, copy: None, was_heard: false, now: 0 };
            for op in [Op::Start(0), Op::Purge(0), Op::Tend(0), Op::Fill] {
                world.step(op);
            }
            world
        }

        fn accept(&mut self, at: usize, above: u64) {
            let chain = &mut self.edges[at].folder.chain;
            let number = chain.tail().number.max(above) + 1;
            chain.push(Mark { number, id: RecordId::random() });
        }

        // One exchange with a parent, as the sending side and `take_from_edge` have it.
        fn say(
            &mut self,
            at: usize,
            parent: usize,
            (step, mark, upto): (Step, Mark, Option<Mark>),
            heir_of: Option<Incarnation>,
        ) -> Option<Answer> {
            let incarnation = self.edges[at].process.as_ref()?.incarnation;
            let (log, now) = (self.edges[at].folder.log(), Timestamp(self.now));
            let heard = &mut self.parents[parent];
            if heard.is_cut {
                return None;
            }
            self.was_heard |= at == 0;
            heard.lives.heard(&log, incarnation, step, now);
            let passage =
                |mark, is_sealed| Passage { log: log.clone(), incarnation, mark, is_sealed };
            let answer = match heard.lives.judge(&log, incarnation, (step, mark), heir_of) {
                Ruling::Tell => None,
                Ruling::Succeed => Some(passage(mark, false)),
                Ruling::Begin => {
                    if self.rules != Rules::BeginsSoftly {
                        heard.stored = None;
                    }
                    Some(passage(mark, false))
                }
                Ruling::Take => upto.map(|upto| {
                    heard.stored = None;
                    passage(upto, false)
                }),
                Ruling::Seal => Some(passage(mark, true)),
            };
            if let Some(passage) = answer {
                heard.lives.note(&passage, now);
            }
            Some(heard.lives.answer(&log, incarnation, step, now))
        }

        fn tend(&mut self, at: usize, parent: usize) {
            for _ in 0..4 {
                let Some(process) = self.edges[at].process.clone() else { return };
                let tail = self.edges[at].folder.chain.tail();
                let step = match process.standings[parent] {
                    Standing::Unconfirmed => (Step::Begin, tail, None),
                    Standing::At(mark) => (Step::Continue, mark, (mark != tail).then_some(tail)),
                };
                let Some(answer) = self.say(at, parent, step, None) else { return };
                let chain = self.edges[at].folder.chain.clone();
                let knows = |mark| chain.has(mark);
                let last = match process.standings[parent] {
                    Standing::At(mark) => Some(mark),
                    Standing::Unconfirmed => None,
                };
                let standing = match hear(&answer, last, knows) {
                    Heard::Stands(mark) => Standing::At(mark),
                    Heard::Lost(mark, lost) => {
                        self.accept(at, lost.iter().map(|mark| mark.number).max().unwrap_or(0));
                        Standing::At(mark)
                    }
                    Heard::Unknown => Standing::Unconfirmed,
                    Heard::Foreign(mark) => {
                        panic!("{mark} was given in our name, and processes are not copied here")
                    }
                };
                let process = self.edges[at].process.as_mut().unwrap();
                process.standings[parent] = standing;
                process.is_contested = answer.is_contested;
                if standing == Standing::At(self.edges[at].folder.chain.tail()) {
                    return;
                }
            }
        }

        fn start(&mut self, at: usize) {
            if self.edges[at].process.is_some() {
                return;
            }
            let incarnation = Incarnation::random();
            self.edges[at].process =
                Some(Process { incarnation, standings: Default::default(), is_contested: false });
            let heir_of = self.edges[at].folder.sealed.take();
            let tail = self.edges[at].folder.chain.tail();
            if heir_of.is_some() {
                let answers =
                    [0, 1].map(|parent| self.say(at, parent, (Step::Succeed, tail, None), heir_of));
                let took =
                    answers.map(|answer| answer.is_some_and(|answer| answer.mark == Some(tail)));
                let is_alone = self.rules == Rules::EachSealAlone;
                let process = self.edges[at].process.as_mut().unwrap();
                for (standing, it_took) in process.standings.iter_mut().zip(took) {
                    if took == [true, true] || (it_took && is_alone) {
                        *standing = Standing::At(tail);
                    }
                }
            }
            self.tend_all(at);
        }

        fn tend_all(&mut self, at: usize) {
            (0..2).for_each(|parent| self.tend(at, parent));
        }

        fn stop(&mut self, at: usize) {
            self.seal(at);
            self.edges[at].process = None;
        }

        // The old process goes on; the log that it reads has what the new one wrote.
        fn falter(&mut self, at: usize, has_spoken: bool) {
            self.seal(at);
            let Some(old) = self.edges[at].process.clone() else { return };
            if has_spoken {
                self.edges[at].process = None;
                self.start(at);
                self.change(at, true);
                self.tend_all(at);
                self.edges[at].process = Some(old);
            }
            if self.rules != Rules::KeepsTheSeal {
                self.edges[at].folder.sealed = None;
            }
        }

        fn seal(&mut self, at: usize) {
            let Some(process) = self.edges[at].process.clone() else { return };
            self.tend_all(at);
            let tail = self.edges[at].folder.chain.tail();
            for parent in 0..2 {
                self.say(at, parent, (Step::Seal, tail, None), None);
            }
            let folder = &mut self.edges[at].folder;
            folder.synced = folder.chain.clone();
            folder.sealed = Some(process.incarnation);
        }

        // What is not synced may be lost with the power.
        fn change(&mut self, at: usize, is_synced: bool) {
            if self.edges[at].process.is_none() {
                return;
            }
            self.origin += 1;
            self.accept(at, 0);
            let edge = &mut self.edges[at];
            edge.floor = self.origin;
            if is_synced {
                edge.folder.synced = edge.folder.chain.clone();
            }
        }

        fn step(&mut self, op: Op) {
            self.now += 1000;
            match op {
                Op::Purge(at) => self.change(at, true),
                Op::Write(at) => self.change(at, false),
                Op::Tend(at) => self.tend_all(at),
                Op::Start(at) => self.start(at),
                Op::Stop(at) => self.stop(at),
                Op::Falter(at) => self.falter(at, false),
                Op::Relapse(at) => self.falter(at, true),
                Op::Kill(at) => self.edges[at].process = None,
                Op::PowerCut(at) => {
                    self.edges[at].process = None;
                    self.edges[at].folder.chain = self.edges[at].folder.synced.clone();
                }
                Op::Copy => {
                    self.copy = Some((self.edges[0].folder.clone(), self.edges[0].floor));
                    self.was_heard = false;
                }
                Op::Restore => {
                    let Some((folder, floor)) = self.copy.clone() else { return };
                    self.edges[0].process = None;
                    // A life of which no parent ever heard, gone with the folder it wrote to, has
                    // left nothing in the world.
                    if folder.sealed.is_some() && !self.was_heard {
                        self.edges[0].floor = floor;
                    }
                    self.edges[0].folder = folder;
                }
                Op::Lose => {
                    self.edges[0].process = None;
                    // The node id is lost with it.
                    self.edges[0].folder = Folder { node: self.now, ..Folder::default() };
                }
                Op::Twin => {
                    if self.edges[1].process.is_none() {
                        self.edges[1] = Edge { process: None, ..self.edges[0].clone() };
                        self.start(1);
                    }
                }
                Op::Toggle(parent) => self.parents[parent].is_cut ^= true,
                Op::Fill => {
                    let origin = self.origin;
                    self.parents
                        .iter_mut()
                        .for_each(|parent| parent.stored = parent.stored.or(Some(origin)));
                }
            }
        }

        // What an edge without anything stored answers from each parent, or from the origin where
        // that is not to be believed.
        fn stale(&self) -> Option<String> {
            for (at, edge) in self.edges.iter().enumerate() {
                let Some(process) = &edge.process else { continue };
                for (which, parent) in self.parents.iter().enumerate() {
                    let chain = &edge.folder.chain;
                    let knows = |mark| chain.has(mark);
                    let covered = |since: InvalidationNumber| chain.tail().number > since.0;
                    let applied = parent.lives.applied(
                        &edge.folder.log(),
                        process.incarnation,
                        Timestamp(self.now),
                    );
                    let is_asked =
                        is_worth_asking(process.standings[which], process.is_contested, covered);
                    if is_asked
                        && may_believe(applied, knows, covered)
                        && parent.stored.is_some_and(|version| version < edge.floor)
                    {
                        return Some(format!(
                            "edge {at} reads {:?} at parent {which}, not {}",
                            parent.stored, edge.floor
                        ));
                    }
                }
            }
            None
        }
    }

    // All orders of so many steps; the first that reads something old.
    fn search(world: &World, depth: usize, path: &mut Vec<Op>) -> Option<String> {
        if let Some(stale) = world.stale() {
            return Some(format!("{path:?}: {stale}"));
        }
        if depth == 0 {
            return None;
        }
        OPS.iter().find_map(|op| {
            let mut next = world.clone();
            next.step(*op);
            path.push(*op);
            let found = search(&next, depth - 1, path);
            path.pop();
            found
        })
    }

    // Long walks, the same at each run but for the ids.
    fn walk(rules: Rules, walks: u64, steps: usize) -> Option<String> {
        let mut seed = 0x9E37_79B9_7F4A_7C15u64;
        (0..walks).find_map(|_| {
            let (mut world, mut path) = (World::warm(rules), Vec::new());
            (0..steps).find_map(|_| {
                seed ^= seed << 13;
                seed ^= seed >> 7;
                seed ^= seed << 17;
                let op = OPS[(seed % OPS.len() as u64) as usize];
                path.push(op);
                world.step(op);
                world.stale().map(|stale| format!("{path:?}: {stale}"))
            })
        })
    }

    #[test]
    fn nothing_old_is_read_in_any_order_of_a_small_world() {
        assert_eq!(search(&World::warm(Rules::All), 4, &mut Vec::new()), None);
        assert_eq!(walk(Rules::All, 10_000, 18), None);
    }

    // Orders that go wrong as soon as one rule is left out, so that the searches above could have
    // found something.
    #[test]
    fn each_rule_is_missed_where_it_is_left_out() {
        use Op::{Copy, Falter, Lose, PowerCut, Purge, Restore, Start, Stop, Tend, Toggle, Write};
        let lost = [Toggle(0), Toggle(1), Purge(0), Lose, Start(0), Toggle(0), Toggle(1), Tend(0)];
        let half = [
            Stop(0),
            Copy,
            Toggle(0),
            Start(0),
            Purge(0),
            Tend(0),
            Toggle(0),
            Toggle(1),
            Restore,
            Start(0),
        ];
        let left = [
            Falter(0),
            Toggle(0),
            Toggle(1),
            Write(0),
            PowerCut(0),
            Toggle(0),
            Toggle(1),
            Start(0),
        ];
        for (rules, ops) in [
            (Rules::BeginsSoftly, &lost[..]),
            (Rules::EachSealAlone, &half[..]),
            (Rules::KeepsTheSeal, &left[..]),
        ] {
            let went_wrong = |rules| {
                let mut world = World::warm(rules);
                ops.iter().any(|op| {
                    world.step(*op);
                    world.stale().is_some()
                })
            };
            assert!(went_wrong(rules) && !went_wrong(Rules::All), "{ops:?}");
        }
    }

    fn run(ops: &[Op]) -> World {
        let mut world = World::warm(Rules::All);
        for op in ops {
            world.step(*op);
            assert_eq!(world.stale(), None, "after {op:?} of {ops:?}");
        }
        world
    }

    fn standings(world: &World, at: usize) -> [Standing; 2] {
        world.edges[at].process.as_ref().unwrap().standings
    }

    // Each by name: an older folder with parents away, lost data, two of one image, a power cut.
    #[test]
    fn what_takes_numbers_back_is_noticed() {
        use Op::{
            Copy, Fill, Kill, Lose, PowerCut, Purge, Restore, Start, Tend, Toggle, Twin, Write,
        };
        let away = [Toggle(0), Toggle(1)];
        let older = [
            &[Copy, Purge(0), Tend(0), Fill, Restore][..],
            &away,
            &[Start(0), Purge(0)],
            &away,
            &[Tend(0), Fill, Tend(0)],
        ]
        .concat();
        let world = run(&older);
        assert_eq!(
            standings(&world, 0),
            [Standing::At(world.edges[0].folder.chain.tail()); 2],
            "believed again in the end"
        );
        run(&[&away[..], &[Purge(0), Lose, Start(0)], &away, &[Tend(0), Fill]].concat());
        run(&[Kill(0), Copy, Start(0), Twin, Purge(1), Fill, Tend(1), Purge(0), Fill, Tend(0)]);
        run(&[Write(0), Tend(0), Fill, PowerCut(0), Start(0), Write(0), Tend(0)]);
        run(&[&away[..], &[Write(0), PowerCut(0), Start(0)], &away, &[Tend(0), Fill, Tend(0)]]
            .concat());
    }

    // An orderly restart keeps what the parents hold, once; any other does not.
    #[test]
    fn a_seal_opens_once_and_at_every_parent_or_none() {
        use Op::{Copy, Fill, Kill, Restore, Start, Stop, Tend, Toggle};
        let held = |world: &World| world.parents.each_ref().map(|parent| parent.stored.is_some());
        assert_eq!(held(&run(&[Stop(0), Start(0)])), [true, true]);
        assert_eq!(held(&run(&[Stop(0), Start(0), Stop(0), Start(0)])), [true, true]);
        assert_eq!(held(&run(&[Kill(0), Start(0)])), [false, false]);
        assert_eq!(
            held(&run(&[Stop(0), Copy, Start(0), Kill(0), Restore, Start(0)])),
            [false, false]
        );
        assert_eq!(held(&run(&[Toggle(1), Stop(0), Toggle(1), Start(0)])), [false, false]);
        assert_eq!(
            held(&run(&[Stop(0), Toggle(1), Start(0), Fill, Toggle(1), Tend(0)])),
            [true, false]
        );
    }

    // What parents hold outlives an upgrade that fails, and so does the way to the next one; those
    // that heard the new process believe the old one again once that has been silent for a while.
    #[test]
    fn an_upgrade_that_fails_leaves_the_log_to_the_old_process() {
        use Op::{Falter, Purge, Relapse, Start, Stop, Tend};
        let held = |world: &World| world.parents.each_ref().map(|parent| parent.stored.is_some());
        assert_eq!(held(&run(&[Falter(0), Falter(0)])), [true, true]);
        assert_eq!(held(&run(&[Falter(0), Stop(0), Start(0)])), [true, true]);
        let mut world = run(&[Relapse(0), Purge(0), Tend(0)]);
        assert!(world.edges[0].process.as_ref().unwrap().is_contested);
        (0..12).for_each(|_| world.step(Tend(0)));
        assert!(!world.edges[0].process.as_ref().unwrap().is_contested);
        let tail = world.edges[0].folder.chain.tail();
        assert_eq!(standings(&world, 0), [Standing::At(tail); 2]);
    }

    // Both are told while both are alive, and believe no parent; alone again, one is as before.
    #[test]
    fn two_holders_of_one_folder_are_told_and_forgotten() {
        use Op::{Kill, Tend, Twin};
        for gone in 0..2 {
            let mut world = run(&[Twin, Tend(0), Tend(1)]);
            let is_contested =
                |world: &World, at: usize| world.edges[at].process.as_ref().unwrap().is_contested;
            assert!(is_contested(&world, 0) && is_contested(&world, 1));
            world.step(Kill(gone));
            (0..12).for_each(|_| world.step(Tend(1 - gone)));
            assert!(!is_contested(&world, 1 - gone));
        }
    }

    #[test]
    fn who_acts_in_our_name_is_noticed() {
        let mark = |number| Mark { number, id: RecordId::random() };
        let (ours, theirs) = (mark(5), mark(6));
        let answer = |mark, others| Answer { mark, others, is_contested: false };
        let knows = |mark| mark == ours;
        assert_eq!(hear(&answer(Some(theirs), vec![]), Some(ours), knows), Heard::Foreign(theirs));
        assert_eq!(
            hear(&answer(Some(theirs), vec![]), Some(theirs), knows),
            Heard::Stands(theirs),
            "where it stood before"
        );
        assert_eq!(
            hear(&answer(Some(ours), vec![theirs]), None, knows),
            Heard::Lost(ours, vec![theirs])
        );
        assert_eq!(hear(&answer(None, vec![theirs]), Some(ours), knows), Heard::Unknown);
        assert!(
            !may_believe(Some(theirs), knows, |_| false) && !may_believe(None, knows, |_| false)
        );
        assert!(
            may_believe(Some(ours), knows, |since| since.0 < 5)
                && !may_believe(Some(ours), knows, |since| since.0 < 6)
        );
    }

    #[test]
    fn what_is_remembered_of_edges_is_bounded() {
        let mut lives = Lives::default();
        let passage = |log: String| Passage {
            log,
            incarnation: Incarnation::random(),
            mark: Mark::START,
            is_sealed: false,
        };
        (0..LOGS + 10).for_each(|at| lives.note(&passage(format!("e/{at}")), Timestamp(0)));
        (0..100).for_each(|_| lives.note(&passage("e/5000".into()), Timestamp(0)));
        assert!(
            lives.logs.len() <= LOGS
                && lives.logs.values().all(|lives| lives.len() <= INCARNATIONS)
        );
        assert!(!lives.logs.contains_key("e/0"), "the one that was silent for longest goes first");
    }
}
