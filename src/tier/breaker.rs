//! Pure: when to stop asking a node that fails, and when to try it again.
//!
//! A breaker opens after a few failures in a row, for a pause that grows with each further one and
//! is spread at random, so that the edges of a fleet do not come back all at once. After the pause
//! it is half open: one caller is told to probe, behind the back of its viewer, and everybody steps
//! over the node until the probe has succeeded.
//!
//! Moments are durations since any fixed moment of a clock that never goes back.

use std::time::Duration;

/// Failures in a row that open a breaker. A deadline of 50 ms is missed now and then by a node that
/// is well.
pub const FAILURES: u32 = 3;
/// The first pause.
pub const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest pause.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A probe that has not ended after this is taken for lost.
pub const PROBE_LASTS: Duration = Duration::from_secs(2);

/// What to do with a node whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Ask,
    /// Step over it.
    Pause,
    /// Step over it, and send a probe. One caller hears this.
    Probe,
}

/// How bad a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It did not answer in time, or broke off twice on connections that could be made: it may be
    /// well for the next.
    Once,
    /// There is no connection, or it does not let us in: the next caller would fare no better.
    Gone,
}

/// The state of a breaker, for status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Closed,
    Open,
    HalfOpen,
}

impl State {
    /// Its name in status.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// A node's breaker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Breaker {
    /// In a row.
    failures: u32,
    /// Pauses in a row.
    pauses: u32,
    /// The moment at which the pause ends.
    paused_until: Option<Duration>,
    /// The moment after which a probe under way counts as lost.
    probed_until: Option<Duration>,
}

impl Breaker {
    /// Says whether the node may be asked now.
    pub fn turn(&mut self, now: Duration) -> Turn {
        let Some(until) = self.paused_until else { return Turn::Ask };
        if now < until || self.probed_until.is_some_and(|until| now < until) {
            return Turn::Pause;
        }
        self.probed_until = Some(now + PROBE_LASTS);
        Turn::Probe
    }

    /// The node answered. What was under way when a pause began does not end it: a probe does.
    pub fn succeeded(&mut self) {
        if self.paused_until.is_none() {
            self.failures = 0;
            self.pauses = 0;
        }
    }

    /// The node failed; `jitter` is a random number. True if that opened the breaker.
    pub fn failed(&mut self, now: Duration, failure: Failure, jitter: u64) -> bool {
        if self.paused_until.is_some() {
            return false;
        }
        self.failures = match failure {
            Failure::Once => self.failures.saturating_add(1),
            Failure::Gone => FAILURES,
        };
        let opens = self.failures >= FAILURES;
        if opens {
            self.pause(now, jitter);
        }
        opens
    }

    /// A probe ended. Where it succeeded, the next failure opens the breaker for a longer pause
    /// unless an answer comes first.
    pub fn probed(&mut self, now: Duration, is_well: bool, jitter: u64) {
        if is_well {
            self.paused_until = None;
            self.probed_until = None;
            self.failures = 0;
        } else {
            self.pause(now, jitter);
        }
    }

    fn pause(&mut self, now: Duration, jitter: u64) {
        self.paused_until = Some(now + spread(pause_after(self.pauses), jitter));
        self.pauses = self.pauses.saturating_add(1);
        self.probed_until = None;
    }

    /// The state now.
    pub fn state(&self, now: Duration) -> State {
        match self.paused_until {
            None => State::Closed,
            Some(until) if now < until => State::Open,
            Some(_) => State::HalfOpen,
        }
    }
}

/// The pause after so many pauses in a row.
fn pause_after(pauses: u32) -> Duration {
    (FIRST_PAUSE * (1 << pauses.min(8))).min(LONGEST_PAUSE)
}

/// A pause between three quarters and five quarters of this one.
fn spread(pause: Duration, jitter: u64) -> Duration {
    let half = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX) / 2;
    pause * 3 / 4 + Duration::from_millis(jitter % (half + 1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    // Half of what a pause may be spread by: the pause itself.
    fn middle(pause: Duration) -> u64 {
        pause.as_millis() as u64 / 4
    }

    #[test]
    fn it_opens_after_a_few_slow_answers_in_a_row() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            assert!(!breaker.failed(at(0), Failure::Once, 0));
            assert!(!breaker.failed(at(0), Failure::Once, 0));
            breaker.succeeded();
        }
        assert_eq!((breaker.turn(at(0)), breaker.state(at(0))), (Turn::Ask, State::Closed));
        assert!(!breaker.failed(at(0), Failure::Once, 0));
        assert!(!breaker.failed(at(0), Failure::Once, 0));
        assert!(breaker.failed(at(0), Failure::Once, 0));
        assert_eq!((breaker.turn(at(1)), breaker.state(at(1))), (Turn::Pause, State::Open));
    }

    #[test]
    fn it_opens_at_once_where_nobody_is() {
        let mut breaker = Breaker::default();
        assert!(breaker.failed(at(0), Failure::Gone, middle(FIRST_PAUSE)));
        assert!(!breaker.failed(at(0), Failure::Gone, 0), "it is open already");
        assert_eq!(breaker.turn(at(199)), Turn::Pause);
        assert_eq!(breaker.state(at(200)), State::HalfOpen);
        assert_eq!(breaker.turn(at(200)), Turn::Probe);
        assert_eq!(breaker.turn(at(201)), Turn::Pause, "one caller probes");
        breaker.succeeded();
        assert_eq!(breaker.turn(at(202)), Turn::Pause, "an old answer does not close it");
        breaker.probed(at(203), true, 0);
        assert_eq!(breaker.turn(at(203)), Turn::Ask);
    }

    #[test]
    fn pauses_grow_to_a_bound_and_begin_anew_with_an_answer() {
        let mut breaker = Breaker::default();
        let (mut now, mut pauses) = (0, Vec::new());
        breaker.failed(at(now), Failure::Gone, middle(FIRST_PAUSE));
        for step in 1..10 {
            let from = now;
            while breaker.turn(at(now)) != Turn::Probe {
                now += 1;
            }
            pauses.push(now - from);
            breaker.probed(at(now), false, middle(pause_after(step)));
        }
        assert_eq!(pauses, [200, 400, 800, 1600, 3200, 6400, 12_800, 15_000, 15_000]);
        now += 15_000;
        assert_eq!(breaker.turn(at(now)), Turn::Probe);
        breaker.probed(at(now), true, 0);
        breaker.failed(at(now), Failure::Gone, middle(LONGEST_PAUSE));
        assert_eq!(breaker.turn(at(now + 14_999)), Turn::Pause, "well for a probe alone");
        assert_eq!(breaker.turn(at(now + 15_000)), Turn::Probe);
        breaker.probed(at(now + 15_000), true, 0);
        breaker.succeeded();
        breaker.failed(at(now + 15_000), Failure::Gone, middle(FIRST_PAUSE));
        assert_eq!(breaker.turn(at(now + 15_200)), Turn::Probe);
    }

    #[test]
    fn a_probe_that_is_lost_holds_nobody_up() {
        let mut breaker = Breaker::default();
        breaker.failed(at(0), Failure::Gone, 0);
        assert_eq!(breaker.turn(at(150)), Turn::Probe);
        assert_eq!(breaker.turn(at(2149)), Turn::Pause);
        assert_eq!(breaker.turn(at(2150)), Turn::Probe);
    }

    proptest! {
        #[test]
        fn a_pause_is_spread_around_itself(pauses in 0u32..40, jitter in any::<u64>()) {
            let pause = pause_after(pauses);
            let spread = spread(pause, jitter);
            prop_assert!(spread >= pause * 3 / 4 && spread <= pause * 5 / 4);
            prop_assert!(pause <= LONGEST_PAUSE);
        }

        #[test]
        fn between_two_asks_that_fail_there_is_a_pause(
            steps in proptest::collection::vec((0u64..400, 0u8..4, any::<u64>()), 1..100),
        ) {
            let (mut breaker, mut now) = (Breaker::default(), 0);
            for (passed, what, jitter) in steps {
                now += passed;
                match (what, breaker.turn(at(now))) {
                    (_, Turn::Pause) => prop_assert!(breaker.state(at(now)) != State::Closed),
                    (0, Turn::Ask) => breaker.succeeded(),
                    (_, Turn::Ask) => {
                        let opens = breaker.failed(at(now), Failure::Once, jitter);
                        prop_assert_eq!(opens, breaker.turn(at(now)) != Turn::Ask);
                    }
                    (0, Turn::Probe) => {
                        breaker.probed(at(now), true, jitter);
                        prop_assert_eq!(breaker.turn(at(now)), Turn::Ask);
                    }
                    (_, Turn::Probe) => {
                        breaker.probed(at(now), false, jitter);
                        prop_assert_eq!(breaker.turn(at(now)), Turn::Pause);
                    }
                }
            }
        }
    }
}
