//! The one clock. Wall time at the start, monotonic from there, so that no clock step changes an
//! age or a lease; and by how much the system's clock has gone away from it since, for what others
//! date by theirs: signatures and logs.
//!
//! It stands on tokio's clock: a test that pauses it moves time by saying so.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::semantics::time::Timestamp;

/// Milliseconds that the two clocks may differ before it is taken for a step.
const STEP: u64 = 1_000;

/// Tells what time it is.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Arc<Start>,
}

#[derive(Debug)]
struct Start {
    at: Timestamp,
    when: Instant,
    /// By how many milliseconds the system's clock is ahead of this one; negative, behind.
    ahead: AtomicI64,
}

impl Clock {
    /// A clock that starts at the system's time.
    pub fn system() -> Self {
        Self::starting_at(system())
    }

    /// A clock that starts at a given moment.
    pub fn starting_at(at: Timestamp) -> Self {
        Self { start: Arc::new(Start { at, when: Instant::now(), ahead: AtomicI64::new(0) }) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.start.at.plus(self.start.when.elapsed())
    }

    /// What the system's clock showed at a moment of this one, as far as it was looked at.
    pub fn wall(&self, moment: Timestamp) -> Timestamp {
        Timestamp(moment.0.saturating_add_signed(self.start.ahead.load(Ordering::Relaxed)))
    }

    /// Takes note of what the system's clock shows now. Gives by how many milliseconds it is ahead,
    /// if it made a step since it was noted last.
    pub fn note(&self, system: Timestamp) -> Option<i64> {
        let signed = |moment: Timestamp| i64::try_from(moment.0).unwrap_or(i64::MAX);
        let ahead = signed(system).saturating_sub(signed(self.now()));
        if ahead.abs_diff(self.start.ahead.load(Ordering::Relaxed)) < STEP {
            return None;
        }
        self.start.ahead.store(ahead, Ordering::Relaxed);
        Some(ahead)
    }

    /// Looks at the system's clock once a second, and warns of its steps: it was set, or the machine
    /// slept.
    pub async fn keep_noting(self) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            if let Some(ahead) = self.note(system()) {
                tracing::warn!(
                    ahead_seconds = ahead / 1_000,
                    "the system's clock was set, or the machine slept: signatures and logs go by what it shows now; ages, leases and \
                     Date go by what it showed at the start until the edge is started anew"
                );
            }
        }
    }
}

fn system() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_step_of_the_systems_clock_moves_what_others_date_and_no_age() {
        let clock = Clock::starting_at(Timestamp(5_000_000));
        let moment = clock.now();
        assert_eq!((moment, clock.wall(moment)), (Timestamp(5_000_000), moment));
        // What clocks drift apart in a second is no step.
        assert_eq!(clock.note(Timestamp(5_000_999)), None);
        assert_eq!(clock.wall(moment), moment);
        for (system, ahead) in [(8_600_000, 3_600_000), (5_000_000, 0), (1_400_000, -3_600_000)] {
            assert_eq!(clock.note(Timestamp(system)), Some(ahead));
            assert_eq!(clock.note(Timestamp(system)), None, "it is known");
            assert_eq!((clock.now(), clock.wall(moment)), (moment, Timestamp(system)));
        }
        tokio::time::advance(Duration::from_secs(9)).await;
        assert_eq!(clock.wall(clock.now()), Timestamp(1_409_000));
        assert_eq!(clock.wall(Timestamp(0)), Timestamp(0), "no moment is before the first");
    }
}
