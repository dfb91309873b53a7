//! The moments of one exchange, for whoever tells of it: logs, traces, fields for debugging.
//! Whoever has a clock notes them; there is none in here, and no decision reads them.

use crate::semantics::time::Timestamp;

/// When what happened to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timeline {
    /// When its head had been read, by the system's clock.
    pub received: Timestamp,
    /// Milliseconds from asking a hop until the head of its answer came, if the viewer waited for
    /// one. By the edge's own clock, which is a coarse one.
    pub upstream_millis: Option<u64>,
    /// Microseconds from `received` until the head of the answer was composed, if there was one.
    pub answered: Option<u64>,
    /// Microseconds from `received` until all of the answer was sent, or no more of it would be.
    pub finished: u64,
}

impl Timeline {
    /// Of what is over in the step that read it.
    pub const fn at(received: Timestamp) -> Self {
        Self { received, upstream_millis: None, answered: None, finished: 0 }
    }

    /// Microseconds until the viewer was answered; without an answer, until there was to be none.
    pub fn until_answered(&self) -> u64 {
        self.answered.unwrap_or(self.finished)
    }

    /// Microseconds until a hop's head came: at most all that it took, whatever the coarse clock
    /// says.
    pub fn until_upstream_head(&self) -> Option<u64> {
        self.upstream_millis.map(|millis| millis.saturating_mul(1000).min(self.finished))
    }

    /// Microseconds until a hop's last octet had come. What it sends is passed on as it comes: that
    /// is when ours has gone.
    pub fn until_upstream_end(&self) -> Option<u64> {
        self.upstream_millis.map(|_| self.finished)
    }

    /// Its end, in microseconds since the epoch.
    pub const fn finished_at(&self) -> u64 {
        self.received.0.saturating_mul(1000).saturating_add(self.finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_their_order_whatever_was_noted() {
        let received = Timestamp(1_575_493_351_000);
        for (upstream_millis, answered, finished, want) in [
            (None, None, 0, (0, None, None)),
            (None, None, 700, (700, None, None)),
            (None, Some(400), 700, (400, None, None)),
            (Some(3), Some(3_400), 7_000, (3_400, Some(3_000), Some(7_000))),
            // The coarse clock turned a millisecond too early.
            (Some(1), Some(400), 700, (400, Some(700), Some(700))),
            (Some(u64::MAX), None, 700, (700, Some(700), Some(700))),
        ] {
            let told = Timeline { received, upstream_millis, answered, finished };
            let got =
                (told.until_answered(), told.until_upstream_head(), told.until_upstream_end());
            assert_eq!(got, want, "{told:?}");
            assert_eq!(told.finished_at(), 1_575_493_351_000_000 + finished);
        }
        assert_eq!(Timeline::at(received), Timeline { received, ..Timeline::default() });
    }
}
