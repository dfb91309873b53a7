//! When a call has to be over, and how long it took.
//!
//! The engine asks every some thousand steps, and native functions ask before they do much. That a
//! call was late is kept as a flag: what the engine throws then can be swallowed by the code, or be
//! lost in a promise.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// One call's time. Outside of a call nothing is ever late.
#[derive(Debug, Default)]
pub struct Watch {
    began: Cell<Option<Instant>>,
    until: Cell<Option<Instant>>,
    late: Cell<bool>,
}

impl Watch {
    /// A call begins that may take so long.
    pub fn begin(&self, stop: Duration) {
        let now = Instant::now();
        self.began.set(Some(now));
        self.until.set(now.checked_add(stop));
        self.late.set(false);
    }

    /// Looks at the clock: says whether the call's time is over.
    pub fn is_late(&self) -> bool {
        if !self.late.get() {
            self.late.set(self.until.get().is_some_and(|until| Instant::now() >= until));
        }
        self.late.get()
    }

    /// Says whether the call was found to be late, without another look at the clock.
    pub fn was_late(&self) -> bool {
        self.late.get()
    }

    /// The call is over; gives how long it took, in nanoseconds.
    pub fn end(&self) -> u64 {
        self.until.set(None);
        self.late.set(false);
        let took = self.began.take().map_or(Duration::ZERO, |began| began.elapsed());
        u64::try_from(took.as_nanos()).unwrap_or(u64::MAX)
    }
}
