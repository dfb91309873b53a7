//! When a call has to be over, and how long it took.
//!
//! The engine asks every some thousand steps, and native functions ask before they do much. That a
//! call was late is kept as a flag: what the engine throws then can be swallowed by the code, or be
//! lost in a promise.
//!
//! A call is held to the time for which the core ran it, not to the time that went by: on a machine
//! with more to run than cores, a thread that waits for its turn is no fault of the code.

use std::cell::Cell;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// One call's time. Outside of a call nothing is ever late.
#[derive(Debug, Default)]
pub struct Watch {
    /// When it began, and for how long this thread had run by then.
    began: Cell<Option<(Instant, Duration)>>,
    stop: Cell<Duration>,
    late: Cell<bool>,
}

impl Watch {
    /// A call begins that may take so long.
    pub fn begin(&self, stop: Duration) {
        self.began.set(Some((Instant::now(), ran())));
        self.stop.set(stop);
        self.late.set(false);
    }

    /// Looks at the clock: says whether the call's time is over.
    pub fn is_late(&self) -> bool {
        if !self.late.get() {
            let stop = self.stop.get();
            // The clock of the thread costs a system call, and is never ahead of the other.
            self.late.set(self.began.get().is_some_and(|(began, before)| {
                began.elapsed() >= stop && ran().saturating_sub(before) >= stop
            }));
        }
        self.late.get()
    }

    /// Says whether the call was found to be late, without another look at the clock.
    pub fn was_late(&self) -> bool {
        self.late.get()
    }

    /// The call is over; gives how long it took, in nanoseconds.
    pub fn end(&self) -> u64 {
        self.late.set(false);
        let took = self.began.take().map_or(Duration::ZERO, |(began, _)| began.elapsed());
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
    }
}

// For how long this thread has run so far.
fn ran() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_late_by_the_time_for_which_it_ran() {
        let watch = Watch::default();
        let stop = Duration::from_millis(20);
        assert!(!watch.is_late(), "there is no call");
        watch.begin(stop);
        let began = Instant::now();
        while began.elapsed() < 3 * stop {
            std::thread::park_timeout(stop);
        }
        assert!(!watch.is_late(), "it only waited for its turn");
        while !watch.is_late() {
            assert!(began.elapsed() < Duration::from_secs(60), "it runs on");
        }
        assert!(watch.was_late() && watch.end() >= 60_000_000);
        assert!(!watch.is_late() && !watch.was_late(), "the call is over");
    }
}
