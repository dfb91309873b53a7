//! Pure: when to stop asking a parent that fails or is slow, and when to try it again.
//!
//! Pauses grow with each failure, up to a bound. No viewer finds out whether a pause may end: the
//! request that comes after it goes elsewhere, and a probe behind it asks the same thing.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::outliers::Verdict;
use super::spread::Spread;
use crate::distribution::region::Ejection;
use crate::semantics::time::Timestamp;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A probe has ended after this; one that has not is taken for lost.
pub const PROBE_LASTS: Duration = Duration::from_secs(5);
/// No upstream is given up for silence before this, however quick it was so far: any machine hangs
/// for a moment.
const LEAST_PATIENCE: Duration = Duration::from_millis(500);

/// A first sign after this is slow, unless its sender was never much quicker: then it is far away.
pub const SLOW: Duration = Duration::from_millis(200);
/// How many times its best is slow.
const TIMES_BEST: u64 = 8;

/// What is known of one upstream. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<State>>);

/// What to do with an upstream whose turn it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Ask,
    /// It failed a moment ago: step over it.
    Pause,
    /// The pause is over: step over it all the same, and send a probe. One request hears this, the
    /// others wait for its news.
    Probe,
}

/// Why it is stepped over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cause {
    /// It gave no answer, or not all of it.
    #[default]
    Failing,
    /// It has become slow.
    Slow,
    /// It answered worse than the others.
    Outlier(Verdict),
}

/// That it is stepped over, until a probe finds it well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    pub cause: Cause,
    /// From here on it may be probed.
    pub until: Timestamp,
}

/// By how many percent an ejection may be shorter, so that edges do not come back in step.
const EJECTION_JITTER: u8 = 20;

/// By which terms one is ejected.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub ejection: Ejection,
    pub spread: Spread,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// In a row. Bodies that broke count for as long as no longer one came whole.
    failures: u32,
    /// Milliseconds since the epoch; 0: it may be asked.
    paused_until: u64,
    /// Why, while it is paused.
    cause: Cause,
    /// While it is ejected.
    ejected_by: Option<Terms>,
    /// Ejections of which each came soon after the one before.
    ejections: u32,
    /// When the last one ended, in milliseconds since the epoch.
    returned_at: u64,
    /// Until when a probe is under way.
    probed_until: u64,
    /// After how many octets the last body broke.
    broke_after: u64,
    /// How long it takes to the first sign of an answer, in milliseconds, smoothed.
    latency: Option<u64>,
    /// The quickest of late, in milliseconds; it gives way slowly, because the upstream may have
    /// moved further away.
    best: u64,
}

impl State {
    fn turn(&mut self, now: Timestamp) -> Turn {
        if self.paused_until == 0 {
            return Turn::Ask;
        }
        if now.0 < self.paused_until || now.0 < self.probed_until {
            return Turn::Pause;
        }
        self.probed_until = now.plus(PROBE_LASTS).0;
        Turn::Probe
    }

    // What was under way when the pause began tells nothing new by failing too.
    fn failed(&mut self, now: Timestamp, cause: Cause) {
        if now.0 < self.paused_until {
            return;
        }
        let pause = match self.ejected_by {
            Some(terms) => self.next_ejection(terms),
            None => {
                self.cause = cause;
                (FIRST_PAUSE * (1 << self.failures.min(8))).min(LONGEST_PAUSE)
            }
        };
        self.failures = self.failures.saturating_add(1);
        self.paused_until = now.plus(pause).0;
        self.probed_until = 0;
    }

    // How long it lasts: each twice as long as the one before, up to the longest.
    fn next_ejection(&mut self, Terms { ejection, spread }: Terms) -> Duration {
        let lasts = ejection.first.saturating_mul(1 << self.ejections.min(16));
        self.ejections = self.ejections.saturating_add(1);
        spread.shorten(lasts.min(ejection.longest), EJECTION_JITTER, self.ejections.into())
    }

    fn eject(&mut self, now: Timestamp, verdict: Verdict, terms: Terms) {
        // One that kept well for as long as the longest ejection lasts begins anew.
        let longest = terms.ejection.longest;
        if now >= Timestamp(self.returned_at).plus(longest) {
            self.ejections = 0;
        }
        let lasts = self.next_ejection(terms);
        self.paused_until = now.plus(lasts).0;
        self.probed_until = 0;
        self.cause = Cause::Outlier(verdict);
        self.ejected_by = Some(terms);
    }

    fn succeeded(&mut self, octets: u64) {
        if octets >= self.broke_after {
            self.failures = 0;
            self.broke_after = 0;
        }
    }

    // A quarter of the news, so that one slow answer changes little and ten change all.
    fn took(&mut self, millis: u64) {
        let millis = millis.min(60_000);
        self.best = if self.latency.is_none() {
            millis
        } else {
            millis.min(self.best + self.best / 64 + 1)
        };
        self.latency = Some(self.latency.map_or(millis, |before| (before * 3 + millis) / 4));
    }

    fn is_slow(&self) -> bool {
        self.latency.is_some_and(|latency| {
            u128::from(latency) > SLOW.as_millis().max(u128::from(self.best * TIMES_BEST))
        })
    }

    fn patience(&self, budget: Duration) -> Duration {
        let most = budget / 2;
        // Of a stranger nothing is known, not even how far away it is.
        let Some(latency) = self.latency else { return most };
        (Duration::from_millis(latency.saturating_mul(4)) + Duration::from_millis(100))
            .max(LEAST_PATIENCE)
            .min(most)
    }
}

impl Health {
    /// Says whether it may be asked now.
    pub fn turn(&self, now: Timestamp) -> Turn {
        self.0.lock().turn(now)
    }

    /// Why it is stepped over, if it is.
    pub fn pause(&self) -> Option<Pause> {
        let state = self.0.lock();
        let until = Timestamp(state.paused_until);
        (state.paused_until != 0).then_some(Pause { cause: state.cause, until })
    }

    /// Ejects it: it is stepped over for longer than one that failed, and longer each time. Until
    /// when; `None` if it is ejected already.
    pub fn eject(&self, now: Timestamp, verdict: Verdict, terms: Terms) -> Option<Timestamp> {
        let mut state = self.0.lock();
        if state.ejected_by.is_some() {
            return None;
        }
        state.eject(now, verdict, terms);
        Some(Timestamp(state.paused_until))
    }

    /// Says whether a first sign after so long is late, by what the upstream took before.
    pub fn is_late(&self, after: Duration) -> bool {
        let best = self.0.lock().best;
        after.as_millis() > SLOW.as_millis().max(u128::from(best) * u128::from(TIMES_BEST))
    }

    /// How long to wait for the first sign of an answer before the next upstream is asked, where
    /// all together may take `budget`: by what it took before, and never more than half of the
    /// budget, so that the next one has its time too.
    pub fn patience(&self, budget: Duration) -> Duration {
        self.0.lock().patience(budget)
    }

    /// The first sign of an answer came after so long. An upstream that has become slow is stepped
    /// over like one that fails.
    pub fn showed_itself(&self, now: Timestamp, after: Duration) {
        let mut state = self.0.lock();
        state.took(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
        if state.paused_until == 0 && state.is_slow() {
            state.failed(now, Cause::Slow);
        }
    }

    /// An answer came whole, with a body of so many octets.
    pub fn succeeded(&self, octets: u64) {
        let mut state = self.0.lock();
        // What was under way when a pause began does not end it: a probe does.
        if state.paused_until == 0 {
            state.succeeded(octets);
        }
    }

    /// No answer came.
    pub fn failed(&self, now: Timestamp) {
        self.0.lock().failed(now, Cause::Failing);
    }

    /// A body broke, stalled, or came too slowly, after so many octets.
    pub fn broke(&self, now: Timestamp, octets: u64) {
        let mut state = self.0.lock();
        // Shorter ones prove nothing any more.
        state.broke_after = state.broke_after.max(octets.saturating_add(1));
        state.failed(now, Cause::Failing);
    }

    /// A probe ended: with so many octets of a body, or with nothing that can be trusted. One that
    /// was slow to show itself changes nothing either.
    pub fn probed(&self, now: Timestamp, came: Option<u64>) {
        let mut state = self.0.lock();
        match came {
            Some(_) if state.is_slow() => state.failed(now, Cause::Slow),
            None => state.failed(now, Cause::Failing),
            Some(octets) => {
                if state.ejected_by.take().is_some() {
                    state.returned_at = now.0;
                }
                state.paused_until = 0;
                state.probed_until = 0;
                state.succeeded(octets);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The moment at which the next probe goes out, from `from` on.
    fn next_probe(health: &Health, from: u64) -> u64 {
        (from..from + 120_000)
            .find(|at| health.turn(Timestamp(*at)) == Turn::Probe)
            .expect("a pause ends")
    }

    #[test]
    fn pauses_grow_and_end_with_a_probe() {
        let health = Health::default();
        assert_eq!(health.turn(Timestamp(0)), Turn::Ask);
        health.failed(Timestamp(1000));
        assert_eq!(health.turn(Timestamp(1499)), Turn::Pause);
        assert_eq!(health.turn(Timestamp(1500)), Turn::Probe);
        assert_eq!(health.turn(Timestamp(1501)), Turn::Pause, "only one tries");
        let (mut now, mut pauses) = (1500, Vec::new());
        for _ in 0..8 {
            health.probed(Timestamp(now), None);
            let next = next_probe(&health, now);
            pauses.push(next - now);
            now = next;
        }
        assert_eq!(pauses, [1000, 2000, 4000, 8000, 16_000, 30_000, 30_000, 30_000]);
        health.probed(Timestamp(now), Some(10));
        assert_eq!(health.turn(Timestamp(now)), Turn::Ask);
        health.failed(Timestamp(now));
        assert_eq!(next_probe(&health, now) - now, 500, "whoever came back begins anew");
    }

    #[test]
    fn many_that_fail_together_are_one_failure() {
        let health = Health::default();
        (0..50).for_each(|at| health.failed(Timestamp(1000 + at)));
        assert_eq!(next_probe(&health, 1000), 1500);
        // One that was under way comes whole: the pause holds.
        health.failed(Timestamp(1501));
        health.succeeded(1 << 20);
        assert_ne!(health.turn(Timestamp(1502)), Turn::Ask);
    }

    #[test]
    fn a_probe_that_is_lost_holds_nobody_up() {
        let health = Health::default();
        health.failed(Timestamp(1000));
        let first = next_probe(&health, 1000);
        assert_eq!(next_probe(&health, first) - first, 5000);
    }

    #[test]
    fn short_answers_do_not_excuse_long_ones_that_break() {
        let health = Health::default();
        health.broke(Timestamp(1000), 150_000);
        let mut now = next_probe(&health, 1000);
        health.probed(Timestamp(now), Some(600));
        assert_eq!(health.turn(Timestamp(now)), Turn::Ask, "it is asked again");
        health.succeeded(600);
        health.broke(Timestamp(now), 150_000);
        assert_eq!(next_probe(&health, now) - now, 1000, "but its next break counts as the second");
        now += 2000;
        health.probed(Timestamp(now), Some(400_000));
        health.broke(Timestamp(now), 150_000);
        assert_eq!(next_probe(&health, now) - now, 500);
    }

    #[test]
    fn who_has_become_slow_is_stepped_over_until_it_is_quick_again() {
        let health = Health::default();
        let shown = |at, millis| health.showed_itself(Timestamp(at), Duration::from_millis(millis));
        (0..10).for_each(|_| shown(1000, 2));
        shown(1000, 400);
        assert_eq!(health.turn(Timestamp(1000)), Turn::Ask, "once is nothing");
        (0..3).for_each(|_| shown(1000, 400));
        let mut now = next_probe(&health, 1000);
        shown(now, 400);
        health.probed(Timestamp(now), Some(600));
        now = next_probe(&health, now);
        (0..3).for_each(|_| shown(now, 2));
        health.probed(Timestamp(now), Some(600));
        assert_eq!(health.turn(Timestamp(now)), Turn::Ask);
        // One that is far away is no slower than it ever was.
        let far = Health::default();
        (0..50).for_each(|_| far.showed_itself(Timestamp(1000), Duration::from_millis(350)));
        assert_eq!(far.turn(Timestamp(1000)), Turn::Ask);
    }

    #[test]
    fn patience_follows_what_it_took() {
        let (health, budget) = (Health::default(), Duration::from_secs(10));
        assert_eq!(health.patience(budget), budget / 2, "a stranger");
        let shown = |millis| health.showed_itself(Timestamp(1000), Duration::from_millis(millis));
        shown(3);
        assert_eq!(health.patience(budget), LEAST_PATIENCE);
        (0..20).for_each(|_| shown(300));
        let far = health.patience(budget);
        assert!((1200..=1300).contains(&far.as_millis()), "{far:?}");
        (0..20).for_each(|_| shown(9000));
        assert_eq!(health.patience(budget), budget / 2);
        assert_eq!(health.patience(Duration::from_millis(200)), Duration::from_millis(100));
    }

    #[test]
    fn ejections_grow_up_to_a_bound_and_a_good_probe_ends_them() {
        let (health, verdict) = (Health::default(), Verdict::default());
        let terms = Terms { ejection: Ejection::DEFAULT, spread: Spread::of("n", "p") };
        let start = 10_000_000;
        // One that failed a moment ago is ejected all the same.
        health.failed(Timestamp(start));
        let until = health.eject(Timestamp(start), verdict, terms).unwrap();
        assert_eq!(health.pause(), Some(Pause { cause: Cause::Outlier(verdict), until }));
        assert_eq!(health.eject(Timestamp(start), verdict, terms), None, "once");
        let (mut now, mut lasted) = (start, Vec::new());
        for _ in 0..6 {
            let next = (now / 100..)
                .map(|at| at * 100)
                .find(|at| *at > now && health.turn(Timestamp(*at)) == Turn::Probe);
            let next = next.unwrap();
            lasted.push(next - now);
            health.probed(Timestamp(next), None);
            now = next;
        }
        let bounds = [30, 60, 120, 240, 300, 300].map(|secs| secs * 1000);
        for (lasted, most) in lasted.iter().zip(bounds) {
            assert!((most * 8 / 10..=most + 100).contains(lasted), "{lasted} of {most}");
        }
        assert!(matches!(health.pause(), Some(Pause { cause: Cause::Outlier(_), .. })));
        health.probed(Timestamp(now), Some(10));
        assert_eq!((health.pause(), health.turn(Timestamp(now))), (None, Turn::Ask));
        // Soon after its return the next one lasts as long as the last; much later it begins anew.
        let lasts = |at: u64| health.eject(Timestamp(at), verdict, terms).unwrap().0 - at;
        assert!(lasts(now + 1000) >= 240_000);
        health.probed(Timestamp(now + 2000), Some(10));
        assert!(lasts(now + 400_000) <= 30_000);
    }

    #[test]
    fn a_sign_is_late_by_its_senders_own_measure() {
        let (near, far) = (Health::default(), Health::default());
        (0..5).for_each(|_| near.showed_itself(Timestamp(1), Duration::from_millis(5)));
        (0..5).for_each(|_| far.showed_itself(Timestamp(1), Duration::from_millis(300)));
        let late = |health: &Health, millis| health.is_late(Duration::from_millis(millis));
        assert!(late(&near, 201) && !late(&near, 200));
        assert!(!late(&far, 400) && late(&far, 3000));
    }
}
