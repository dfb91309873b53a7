//! Pure: frames of QUIC that bring no exchange further, and how many of them a viewer may send.
//!
//! Each is answered, or costs us a connection id or a path to look at, and none is paid for by any
//! window.

use std::time::Duration;

use quinn_proto::FrameStats;

/// So many at once, and so many a second.
const BURST: u64 = 2_000;
const A_SECOND: u64 = 100;

/// An account of them.
#[derive(Default)]
pub struct Noise {
    seen: u64,
    owed: u64,
}

impl Noise {
    /// Takes note of what has come in all, so long after the last time. False if it is too much.
    #[must_use]
    pub fn note(&mut self, came: &FrameStats, passed: Duration) -> bool {
        let all =
            came.ping + came.path_challenge + came.new_connection_id + came.retire_connection_id;
        self.count(all, passed)
    }

    fn count(&mut self, all: u64, passed: Duration) -> bool {
        let forgiven = passed.as_millis() as u64 * A_SECOND / 1_000;
        self.owed = self.owed.saturating_sub(forgiven) + all.saturating_sub(self.seen);
        self.seen = all;
        self.owed <= BURST
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_may_be_noisy_for_a_while_but_not_for_long() {
        let second = Duration::from_secs(1);
        let mut noise = Noise::default();
        assert!((1..1_000).all(|at| noise.count(at * A_SECOND, second)), "as much as is forgiven");
        let mut noise = Noise::default();
        assert!(noise.count(BURST, second));
        assert!(!noise.count(BURST + A_SECOND + 1, second));
        assert!(noise.count(BURST + A_SECOND + 1, second), "nothing came, and time has passed");
    }
}
