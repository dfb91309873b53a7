//! The one clock. Wall time at the start, monotonic from there, so that no clock step changes an
//! age.
//!
//! It stands on tokio's clock: a test that pauses it moves time by saying so.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

use crate::semantics::time::Timestamp;

/// Tells what time it is.
#[derive(Clone, Debug)]
pub struct Clock {
    start: Arc<(Timestamp, Instant)>,
}

impl Clock {
    /// A clock that starts at the system's time.
    pub fn system() -> Self {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self::starting_at(Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX)))
    }

    /// A clock that starts at a given moment.
    pub fn starting_at(at: Timestamp) -> Self {
        Self { start: Arc::new((at, Instant::now())) }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        self.start.0.plus(self.start.1.elapsed())
    }
}
