//! Pure: the workers of one function and the calls that wait for one. Events in, commands out;
//! moments are given, as time since a beginning.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// A worker without a call for this long is ended, down to the minimum.
pub const IDLE_END: Duration = Duration::from_secs(300);
/// How long a function is not started any more after three failures in a row.
pub const BROKEN_FOR: Duration = Duration::from_secs(30);
/// Failures to start in a row that make a function broken.
const BROKEN_AFTER: u32 = 3;
/// How long to wait after the first failure to start; doubled with each, up to the next.
const BACK_OFF: Duration = Duration::from_millis(100);
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// The least and the most workers at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub min: usize,
    pub max: usize,
}

/// A worker, by a number that is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u64);

/// A call, by a number that is never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Why a call gets no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// As many wait as may.
    Full,
    /// Workers do not start, time and again.
    Broken,
    /// No more calls are taken: the edge leaves, or the function is gone.
    Draining,
}

/// What a pool wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Start a worker with the code in force.
    Start(WorkerId),
    /// Give a call to an idle worker.
    Assign(WorkerId, CallId),
    Refuse(CallId, Refused),
    /// End a worker that has nothing to do.
    End(WorkerId),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Starting,
    Idle {
        since: Duration,
    },
    Busy,
    /// Told to end.
    Ending,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    state: State,
    /// Which code it runs.
    generation: u64,
}

/// How many are in which state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub starting: usize,
    pub idle: usize,
    pub busy: usize,
    pub waiting: usize,
}

/// The workers and waiting calls of one function.
#[derive(Debug)]
pub struct Pool {
    size: Size,
    workers: BTreeMap<WorkerId, Entry>,
    waiting: VecDeque<CallId>,
    next: u64,
    generation: u64,
    /// Workers in a row that ended before they asked for a call.
    failures: u32,
    /// No worker is started before this.
    not_before: Duration,
    is_draining: bool,
}

impl Pool {
    /// A pool without workers; [`Self::tick`] starts the minimum.
    pub fn new(size: Size) -> Self {
        let size = Size { min: size.min.min(size.max.max(1)), max: size.max.max(1) };
        Self {
            size,
            workers: BTreeMap::new(),
            waiting: VecDeque::new(),
            next: 0,
            generation: 0,
            failures: 0,
            not_before: Duration::ZERO,
            is_draining: false,
        }
    }

    /// A call wants a worker; `room` more may wait.
    pub fn call(&mut self, id: CallId, room: usize, now: Duration) -> Vec<Command> {
        if self.is_draining {
            return vec![Command::Refuse(id, Refused::Draining)];
        }
        // The one that was busy last: its memory is warm, and the others come to their end.
        let idle = self.current().filter_map(|(id, entry)| match entry.state {
            State::Idle { since } => Some((since, *id)),
            _ => None,
        });
        if let Some((_, worker)) = idle.max() {
            return vec![self.assign(worker, id)];
        }
        if self.is_broken(now) && !self.has_hope() {
            return vec![Command::Refuse(id, Refused::Broken)];
        }
        if room == 0 {
            return vec![Command::Refuse(id, Refused::Full)];
        }
        self.waiting.push_back(id);
        self.start_missing(now)
    }

    /// A call is not wanted any more. One that has a worker already keeps it until it is over.
    pub fn forget(&mut self, id: CallId) {
        self.waiting.retain(|waiting| *waiting != id);
    }

    /// A worker asks for a call: it has started, or is done with one.
    pub fn ready(&mut self, id: WorkerId, now: Duration) -> Vec<Command> {
        let generation = self.generation;
        let Some(entry) = self.workers.get_mut(&id) else { return Vec::new() };
        match entry.state {
            State::Starting => self.failures = 0,
            State::Busy => {}
            State::Idle { .. } | State::Ending => return Vec::new(),
        }
        entry.state = State::Idle { since: now };
        if entry.generation != generation || self.is_draining {
            return vec![self.end(id)];
        }
        match self.waiting.pop_front() {
            Some(call) => vec![self.assign(id, call)],
            None => Vec::new(),
        }
    }

    /// A worker's process has ended, for whatever reason.
    pub fn ended(&mut self, id: WorkerId, now: Duration) -> Vec<Command> {
        let Some(entry) = self.workers.remove(&id) else { return Vec::new() };
        if entry.state == State::Starting && entry.generation == self.generation {
            self.failures = self.failures.saturating_add(1);
            self.not_before = now + self.pause();
        }
        let mut commands = Vec::new();
        if self.is_broken(now) && !self.has_hope() {
            commands.extend(self.refuse_all(Refused::Broken));
        }
        commands.extend(self.start_missing(now));
        commands
    }

    /// The code has changed: workers of the old code get no more calls.
    pub fn renew(&mut self, now: Duration) -> Vec<Command> {
        self.generation += 1;
        (self.failures, self.not_before) = (0, Duration::ZERO);
        let mut commands = self.end_where(|state| !matches!(state, State::Busy | State::Ending));
        commands.extend(self.start_missing(now));
        commands
    }

    /// No more calls are taken, and those that wait are refused; those under way go on.
    pub fn drain(&mut self) -> Vec<Command> {
        self.is_draining = true;
        let mut commands = self.refuse_all(Refused::Draining);
        commands.extend(self.end_where(|state| !matches!(state, State::Busy | State::Ending)));
        commands
    }

    /// What time alone brings: starts that were put off, and the end of idle workers.
    pub fn tick(&mut self, now: Duration) -> Vec<Command> {
        let mut commands = self.start_missing(now);
        let spare = self.live().saturating_sub(self.size.min);
        let mut old: Vec<(Duration, WorkerId)> = self
            .current()
            .filter_map(|(id, entry)| match entry.state {
                State::Idle { since } if since + IDLE_END <= now => Some((since, *id)),
                _ => None,
            })
            .collect();
        old.sort_unstable();
        let ends: Vec<_> = old.into_iter().take(spare).map(|(_, id)| self.end(id)).collect();
        commands.extend(ends);
        commands
    }

    /// When [`Self::tick`] has something to do next, if nothing else comes.
    pub fn wakes_at(&self) -> Option<Duration> {
        let start = (self.missing() > 0).then_some(self.not_before);
        let has_spare = self.live() > self.size.min;
        let end = self
            .current()
            .filter_map(|(_, entry)| match entry.state {
                State::Idle { since } if has_spare => Some(since + IDLE_END),
                _ => None,
            })
            .min();
        start.into_iter().chain(end).min()
    }

    /// How many are in which state.
    pub fn tally(&self) -> Tally {
        let mut tally = Tally { waiting: self.waiting.len(), ..Tally::default() };
        for entry in self.workers.values() {
            match entry.state {
                State::Starting => tally.starting += 1,
                State::Idle { .. } => tally.idle += 1,
                State::Busy => tally.busy += 1,
                State::Ending => {}
            }
        }
        tally
    }

    /// Says whether no worker is left, not even one that ends.
    pub fn is_empty(&self) -> bool {
        self.workers.is_empty()
    }

    /// Says whether workers are not even tried to be started.
    pub fn is_broken(&self, now: Duration) -> bool {
        self.failures >= BROKEN_AFTER && now < self.not_before
    }

    // Workers of the code in force that were not told to end.
    fn current(&self) -> impl Iterator<Item = (&WorkerId, &Entry)> {
        self.workers.iter().filter(|(_, entry)| {
            entry.generation == self.generation && entry.state != State::Ending
        })
    }

    fn live(&self) -> usize {
        self.current().count()
    }

    // Says whether a call that waits may yet get a worker without another start.
    fn has_hope(&self) -> bool {
        self.live() > 0
    }

    // How long to wait after a failure.
    fn pause(&self) -> Duration {
        if self.failures >= BROKEN_AFTER {
            return BROKEN_FOR;
        }
        let doublings = self.failures.saturating_sub(1).min(10);
        (BACK_OFF * 2u32.pow(doublings)).min(BACK_OFF_MAX)
    }

    // How many workers should be started, whenever that may be.
    fn missing(&self) -> usize {
        if self.is_draining {
            return 0;
        }
        let live = self.live();
        let starting = self.current().filter(|(_, entry)| entry.state == State::Starting).count();
        let wanted = self.waiting.len().saturating_sub(starting);
        // Workers of old code that have calls count too: `max` is what the machine was promised.
        let old = self
            .workers
            .values()
            .filter(|entry| entry.generation != self.generation && entry.state == State::Busy);
        let room = self.size.max.saturating_sub(live + old.count());
        let missing = wanted.max(self.size.min.saturating_sub(live)).min(room);
        // After a failure one is tried at a time.
        if self.failures > 0 { missing.min(usize::from(starting == 0)) } else { missing }
    }

    fn start_missing(&mut self, now: Duration) -> Vec<Command> {
        if now < self.not_before {
            return Vec::new();
        }
        (0..self.missing())
            .map(|_| {
                let id = WorkerId(self.next);
                self.next += 1;
                let entry = Entry { state: State::Starting, generation: self.generation };
                self.workers.insert(id, entry);
                Command::Start(id)
            })
            .collect()
    }

    fn assign(&mut self, worker: WorkerId, call: CallId) -> Command {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.state = State::Busy;
        }
        Command::Assign(worker, call)
    }

    fn end(&mut self, worker: WorkerId) -> Command {
        if let Some(entry) = self.workers.get_mut(&worker) {
            entry.state = State::Ending;
        }
        Command::End(worker)
    }

    fn end_where(&mut self, which: impl Fn(State) -> bool) -> Vec<Command> {
        let chosen: Vec<WorkerId> = self
            .workers
            .iter()
            .filter(|(_, entry)| which(entry.state))
            .map(|(id, _)| *id)
            .collect();
        chosen.into_iter().map(|id| self.end(id)).collect()
    }

    fn refuse_all(&mut self, why: Refused) -> Vec<Command> {
        self.waiting.drain(..).map(|call| Command::Refuse(call, why)).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    const ROOM: usize = 3;

    fn pool(min: usize, max: usize) -> Pool {
        Pool::new(Size { min, max })
    }

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn start(id: u64) -> Command {
        Command::Start(WorkerId(id))
    }

    fn assign(worker: u64, call: u64) -> Command {
        Command::Assign(WorkerId(worker), CallId(call))
    }

    fn refuse(call: u64, why: Refused) -> Command {
        Command::Refuse(CallId(call), why)
    }

    fn end(id: u64) -> Command {
        Command::End(WorkerId(id))
    }

    #[test]
    fn the_minimum_is_started_and_a_call_takes_the_one_that_was_busy_last() {
        let mut pool = pool(2, 4);
        assert_eq!(pool.tick(at(0)), [start(0), start(1)]);
        assert_eq!(pool.ready(WorkerId(0), at(10)), []);
        assert_eq!(pool.ready(WorkerId(1), at(20)), []);
        assert_eq!(pool.call(CallId(1), ROOM, at(30)), [assign(1, 1)]);
        assert_eq!(pool.call(CallId(2), ROOM, at(30)), [assign(0, 2)]);
        assert_eq!(pool.call(CallId(3), ROOM, at(30)), [start(2)]);
        assert_eq!(pool.tally(), Tally { starting: 1, idle: 0, busy: 2, waiting: 1 });
        // Whoever is ready first takes it.
        assert_eq!(pool.ready(WorkerId(0), at(40)), [assign(0, 3)]);
        assert_eq!(pool.ready(WorkerId(2), at(50)), []);
    }

    #[test]
    fn no_more_than_the_maximum_work_and_no_more_wait_than_have_room() {
        let mut pool = pool(0, 1);
        assert_eq!(pool.call(CallId(1), 2, at(0)), [start(0)]);
        assert_eq!(pool.call(CallId(2), 1, at(0)), []);
        assert_eq!(pool.call(CallId(3), 0, at(0)), [refuse(3, Refused::Full)]);
        assert_eq!(pool.ready(WorkerId(0), at(1)), [assign(0, 1)]);
        pool.forget(CallId(2));
        assert_eq!(pool.ready(WorkerId(0), at(2)), []);
        // An idle worker needs no room.
        assert_eq!(pool.call(CallId(4), 0, at(3)), [assign(0, 4)]);
    }

    #[test]
    fn what_dies_while_starting_is_tried_again_later_each_time_and_then_not_at_all() {
        let mut pool = pool(0, 4);
        assert_eq!(pool.call(CallId(1), ROOM, at(0)), [start(0)]);
        assert_eq!(pool.ended(WorkerId(0), at(10)), []);
        assert_eq!(pool.wakes_at(), Some(at(110)));
        assert_eq!(pool.tick(at(109)), []);
        assert_eq!(pool.tick(at(110)), [start(1)]);
        assert_eq!(pool.ended(WorkerId(1), at(120)), []);
        assert_eq!(pool.tick(at(319)), []);
        assert_eq!(pool.tick(at(320)), [start(2)]);
        assert_eq!(pool.ended(WorkerId(2), at(330)), [refuse(1, Refused::Broken)]);
        assert!(pool.is_broken(at(331)));
        assert_eq!(pool.call(CallId(2), ROOM, at(331)), [refuse(2, Refused::Broken)]);
        // Half a minute later one is tried.
        assert_eq!(pool.call(CallId(3), ROOM, at(30_330)), [start(3)]);
        assert_eq!(pool.call(CallId(4), ROOM, at(30_331)), []);
        assert_eq!(
            pool.ended(WorkerId(3), at(30_340)),
            [refuse(3, Refused::Broken), refuse(4, Refused::Broken)]
        );
        // New code is tried at once.
        assert_eq!(pool.renew(at(30_341)), []);
        assert_eq!(pool.call(CallId(5), ROOM, at(30_342)), [start(4)]);
        assert_eq!(pool.ready(WorkerId(4), at(30_350)), [assign(4, 5)]);
    }

    #[test]
    fn calls_wait_for_a_live_worker_even_if_no_other_starts() {
        let mut pool = pool(0, 2);
        pool.call(CallId(1), ROOM, at(0));
        assert_eq!(pool.ready(WorkerId(0), at(1)), [assign(0, 1)]);
        assert_eq!(pool.call(CallId(2), ROOM, at(2)), [start(1)]);
        for (worker, when) in [(1, 10), (2, 200), (3, 500)] {
            assert_eq!(pool.ended(WorkerId(worker), at(when)), []);
            pool.tick(at(when + 200));
        }
        assert!(pool.is_broken(at(600)));
        assert_eq!(pool.ready(WorkerId(0), at(700)), [assign(0, 2)]);
    }

    #[test]
    fn a_worker_that_dies_in_a_call_is_no_failure_to_start() {
        let mut pool = pool(1, 1);
        assert_eq!(pool.tick(at(0)), [start(0)]);
        pool.ready(WorkerId(0), at(1));
        for n in 0..5 {
            assert_eq!(pool.call(CallId(n), ROOM, at(2)), [assign(n, n)]);
            assert_eq!(pool.ended(WorkerId(n), at(3)), [start(n + 1)]);
            assert_eq!(pool.ready(WorkerId(n + 1), at(4)), []);
        }
    }

    #[test]
    fn idle_workers_end_after_five_minutes_down_to_the_minimum() {
        let mut pool = pool(1, 3);
        pool.tick(at(0));
        pool.call(CallId(1), ROOM, at(0));
        pool.call(CallId(2), ROOM, at(0));
        for worker in 0..2 {
            pool.ready(WorkerId(worker), at(1));
        }
        pool.ready(WorkerId(0), at(10));
        pool.ready(WorkerId(1), at(20));
        assert_eq!(pool.wakes_at(), Some(at(300_010)));
        assert_eq!(pool.tick(at(300_009)), []);
        assert_eq!(pool.tick(at(300_010)), [end(0)]);
        assert_eq!(pool.tick(at(900_000)), []);
        assert_eq!(pool.ended(WorkerId(0), at(900_001)), []);
        assert_eq!(pool.wakes_at(), None);
    }

    #[test]
    fn calls_under_way_end_on_the_old_code() {
        let mut pool = pool(1, 2);
        pool.tick(at(0));
        pool.ready(WorkerId(0), at(1));
        assert_eq!(pool.call(CallId(1), ROOM, at(2)), [assign(0, 1)]);
        assert_eq!(pool.renew(at(3)), [start(1)]);
        assert_eq!(pool.ready(WorkerId(1), at(4)), []);
        assert_eq!(pool.call(CallId(2), ROOM, at(5)), [assign(1, 2)]);
        // Done with its call, the old one is not given another.
        assert_eq!(pool.call(CallId(3), ROOM, at(6)), []);
        assert_eq!(pool.ready(WorkerId(0), at(7)), [end(0)]);
        assert_eq!(pool.ended(WorkerId(0), at(8)), [start(2)]);
        assert_eq!(pool.ready(WorkerId(2), at(9)), [assign(2, 3)]);
    }

    #[test]
    fn draining_refuses_what_waits_and_lets_the_rest_end() {
        let mut pool = pool(0, 2);
        pool.call(CallId(1), ROOM, at(0));
        pool.ready(WorkerId(0), at(1));
        pool.call(CallId(2), ROOM, at(2));
        assert_eq!(pool.drain(), [refuse(2, Refused::Draining), end(1)]);
        assert_eq!(pool.call(CallId(3), ROOM, at(3)), [refuse(3, Refused::Draining)]);
        assert_eq!(pool.ended(WorkerId(1), at(3)), []);
        assert_eq!(pool.ready(WorkerId(0), at(4)), [end(0)]);
        assert_eq!(pool.ended(WorkerId(0), at(5)), []);
        assert!(pool.is_empty());
        assert_eq!(pool.wakes_at(), None);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Call,
        Forget(usize),
        Ready(usize),
        Ended(usize),
        Renew,
        Later(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => Just(Step::Call),
            1 => any::<usize>().prop_map(Step::Forget),
            5 => any::<usize>().prop_map(Step::Ready),
            3 => any::<usize>().prop_map(Step::Ended),
            1 => Just(Step::Renew),
            2 => (0u64..40_000).prop_map(Step::Later),
        ]
    }

    /// What is known of the world by following commands alone.
    #[derive(Default)]
    struct World {
        /// Each process, and the call that it has.
        processes: BTreeMap<WorkerId, Option<CallId>>,
        asked: BTreeSet<WorkerId>,
        told_to_end: BTreeSet<WorkerId>,
        waiting: Vec<CallId>,
        settled: BTreeSet<CallId>,
    }

    impl World {
        fn follow(&mut self, commands: Vec<Command>, bound: usize) {
            for command in commands {
                match command {
                    Command::Start(id) => assert!(self.processes.insert(id, None).is_none()),
                    Command::Assign(id, call) => {
                        assert!(self.asked.remove(&id), "{id:?} had not asked for a call");
                        assert!(!self.told_to_end.contains(&id));
                        assert!(self.settled.insert(call), "{call:?} twice");
                        self.waiting.retain(|waiting| *waiting != call);
                        *self.processes.get_mut(&id).unwrap() = Some(call);
                    }
                    Command::Refuse(call, why) => {
                        assert!(self.settled.insert(call), "{call:?} twice");
                        assert!(why != Refused::Full || self.waiting.len() > bound);
                        self.waiting.retain(|waiting| *waiting != call);
                    }
                    Command::End(id) => {
                        assert_eq!(self.processes[&id], None, "{id:?} has a call");
                        assert!(self.told_to_end.insert(id), "{id:?} twice");
                    }
                }
            }
        }

        fn nth(&self, n: usize) -> Option<WorkerId> {
            let all: Vec<_> = self.processes.keys().copied().collect();
            (!all.is_empty()).then(|| all[n % all.len()])
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_no_call_is_lost_and_nothing_exceeds_its_bound(
            steps in proptest::collection::vec(step(), 1..200),
            min in 0usize..3,
            max in 1usize..4,
            bound in 0usize..5,
        ) {
            let mut pool = pool(min, max);
            let (mut world, mut now, mut calls) = (World::default(), Duration::ZERO, 0);
            world.follow(pool.tick(now), bound);
            for step in steps {
                let commands = match step {
                    Step::Call => {
                        calls += 1;
                        let room = bound.saturating_sub(world.waiting.len());
                        world.waiting.push(CallId(calls));
                        pool.call(CallId(calls), room, now)
                    }
                    Step::Forget(n) => {
                        if !world.waiting.is_empty() {
                            let gone = world.waiting.remove(n % world.waiting.len());
                            world.settled.insert(gone);
                            pool.forget(gone);
                        }
                        Vec::new()
                    }
                    Step::Ready(n) => match world.nth(n) {
                        Some(id) if !world.asked.contains(&id)
                            && !world.told_to_end.contains(&id) =>
                        {
                            world.asked.insert(id);
                            world.processes.insert(id, None);
                            pool.ready(id, now)
                        }
                        _ => Vec::new(),
                    },
                    Step::Ended(n) => match world.nth(n) {
                        Some(id) => {
                            world.processes.remove(&id);
                            world.asked.remove(&id);
                            world.told_to_end.remove(&id);
                            pool.ended(id, now)
                        }
                        None => Vec::new(),
                    },
                    Step::Renew => pool.renew(now),
                    Step::Later(millis) => {
                        now += Duration::from_millis(millis);
                        pool.tick(now)
                    }
                };
                world.follow(commands, bound);
                let tally = pool.tally();
                prop_assert!(tally.starting + tally.idle + tally.busy <= max.max(1));
                prop_assert!(tally.waiting <= bound);
                prop_assert_eq!(tally.waiting, world.waiting.len());
                prop_assert!(tally.waiting == 0 || tally.idle == 0, "one waits beside an idle one");
                // What waits has something to wait for.
                let has_hope = tally.starting + tally.busy > 0 || pool.wakes_at().is_some();
                prop_assert!(tally.waiting == 0 || has_hope || !world.told_to_end.is_empty());
            }
            prop_assert_eq!(world.settled.len() + world.waiting.len(), calls as usize);
        }
    }
}
