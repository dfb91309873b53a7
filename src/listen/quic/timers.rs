//! Which of many connections is to be looked at first.
//!
//! QUIC puts nearly every deadline off with each packet. So a place in the order is kept when its
//! deadline moves away, and given up when its time comes and the deadline has not: until then it
//! need not be found and taken out.

use std::collections::BTreeSet;

use tokio::time::Instant;

/// Places in order: a moment, and whose it is.
#[derive(Default)]
pub struct Timers(BTreeSet<(Instant, usize)>);

/// The deadline of one, and its place, which is never behind it.
#[derive(Default)]
pub struct Deadline {
    at: Option<Instant>,
    place: Option<Instant>,
}

impl Timers {
    /// Sets a deadline, or takes it away.
    pub fn set(&mut self, id: usize, deadline: &mut Deadline, at: Option<Instant>) {
        deadline.at = at;
        if deadline.place.is_none_or(|place| at.is_some_and(|at| at < place)) {
            self.put_in_place(id, deadline);
        }
    }

    /// Takes the deadline of one away that is to be forgotten, with its place.
    pub fn forget(&mut self, id: usize, deadline: &mut Deadline) {
        deadline.at = None;
        self.put_in_place(id, deadline);
    }

    /// The first place: nothing is due before.
    pub fn first(&self) -> Option<(Instant, usize)> {
        self.0.first().copied()
    }

    /// Removes the first place: that of one which there is no more.
    pub fn remove_first(&mut self) {
        self.0.pop_first();
    }

    /// Says whether a deadline has passed, and takes it away if it has. Its place is right then.
    pub fn take_due(&mut self, id: usize, deadline: &mut Deadline, now: Instant) -> bool {
        let is_due = deadline.at.is_some_and(|at| at <= now);
        if is_due {
            deadline.at = None;
        }
        self.put_in_place(id, deadline);
        is_due
    }

    /// Says whether a place is that of its deadline; if not, it is from now on.
    pub fn is_in_place(&mut self, id: usize, deadline: &mut Deadline) -> bool {
        let is_right = deadline.at == deadline.place;
        if !is_right {
            self.put_in_place(id, deadline);
        }
        is_right
    }

    fn put_in_place(&mut self, id: usize, deadline: &mut Deadline) {
        if let Some(before) = deadline.place.take() {
            self.0.remove(&(before, id));
        }
        if let Some(at) = deadline.at {
            self.0.insert((at, id));
            deadline.place = Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use tokio::time::Duration;

    /// What is done with one of a few deadlines, or with the time.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Set(usize, Option<u64>),
        Forget(usize),
        Wait(u64),
        Look,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (0usize..4, proptest::option::of(0u64..50)).prop_map(|(id, at)| Step::Set(id, at)),
            1 => (0usize..4).prop_map(Step::Forget),
            2 => (0u64..20).prop_map(Step::Wait),
            1 => Just(Step::Look),
        ]
    }

    // Those that are due, as a driver takes them.
    fn take_due(timers: &mut Timers, all: &mut [Deadline], now: Instant) -> Vec<usize> {
        let mut due = Vec::new();
        while let Some((_, id)) = timers.first().filter(|(at, _)| *at <= now) {
            if timers.take_due(id, &mut all[id], now) {
                due.push(id);
            }
        }
        due.sort_unstable();
        due
    }

    // The first deadline, as a driver finds it that has nothing else to do.
    fn first(timers: &mut Timers, all: &mut [Deadline]) -> Option<Instant> {
        loop {
            let (at, id) = timers.first()?;
            if timers.is_in_place(id, &mut all[id]) {
                return Some(at);
            }
        }
    }

    proptest! {
        #[test]
        fn deadlines_come_when_they_are_set_for_and_at_no_other_time(
            steps in proptest::collection::vec(step(), 1..60),
        ) {
            let start = Instant::now();
            let mut now = start;
            let mut timers = Timers::default();
            let mut all: [Deadline; 4] = Default::default();
            let mut wanted: [Option<Instant>; 4] = [None; 4];
            for step in steps {
                match step {
                    Step::Set(id, after) => {
                        wanted[id] = after.map(|after| now + Duration::from_millis(after));
                        timers.set(id, &mut all[id], wanted[id]);
                    }
                    Step::Forget(id) => {
                        wanted[id] = None;
                        timers.forget(id, &mut all[id]);
                        prop_assert!(timers.0.iter().all(|(_, other)| *other != id));
                    }
                    Step::Wait(time) => now += Duration::from_millis(time),
                    Step::Look => {
                        let nearest = wanted.iter().flatten().min().copied();
                        prop_assert_eq!(first(&mut timers, &mut all), nearest);
                    }
                }
                let due: Vec<usize> =
                    (0..4).filter(|id| wanted[*id].is_some_and(|at| at <= now)).collect();
                prop_assert_eq!(take_due(&mut timers, &mut all, now), due.clone());
                due.into_iter().for_each(|id| wanted[id] = None);
                prop_assert!(timers.0.len() <= all.len());
            }
        }
    }
}
