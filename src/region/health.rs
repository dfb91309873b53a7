//! When to stop asking somebody who fails, and when to try again: longer pauses after each failure, up to a bound.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use crate::semantics::time::Timestamp;

const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What is known of one upstream. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Facts>);

#[derive(Debug, Default)]
struct Facts {
    failures: AtomicU32,
    ask_again_at: AtomicU64,
}

impl Health {
    /// Says whether it may be asked now. After a pause one request tries; the others wait for its news.
    pub fn may_ask(&self, now: Timestamp) -> bool {
        let at = self.0.ask_again_at.load(Ordering::Relaxed);
        if at == 0 {
            return true;
        }
        if now.0 < at {
            return false;
        }
        let next = now.plus(FIRST_PAUSE).0;
        self.0.ask_again_at.compare_exchange(at, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// It answered.
    pub fn answered(&self) {
        self.0.failures.store(0, Ordering::Relaxed);
        self.0.ask_again_at.store(0, Ordering::Relaxed);
    }

    /// It did not.
    pub fn failed(&self, now: Timestamp) {
        let failures = self.0.failures.fetch_add(1, Ordering::Relaxed).min(8);
        let pause = (FIRST_PAUSE * (1 << failures)).min(LONGEST_PAUSE);
        self.0.ask_again_at.store(now.plus(pause).0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_end() {
        let health = Health::default();
        assert!(health.may_ask(Timestamp(0)));
        health.failed(Timestamp(1000));
        assert!(!health.may_ask(Timestamp(1499)));
        assert!(health.may_ask(Timestamp(1500)));
        assert!(!health.may_ask(Timestamp(1501)), "only one tries");
        for _ in 0..20 {
            health.failed(Timestamp(2000));
        }
        assert!(!health.may_ask(Timestamp(31_999)) && health.may_ask(Timestamp(32_000)));
        health.answered();
        assert!(health.may_ask(Timestamp(32_001)));
    }
}
