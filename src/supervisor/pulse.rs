//! Pure: signs of life of the cores, for a service manager's watchdog.

use std::sync::atomic::{AtomicBool, Ordering};

/// Which cores have shown that they go on since that was last asked.
pub struct Pulse {
    beats: Vec<AtomicBool>,
}

impl Pulse {
    /// For a number of cores, none of which has shown anything yet.
    pub fn new(cores: usize) -> Self {
        Self { beats: (0..cores).map(|_| AtomicBool::new(false)).collect() }
    }

    /// A core goes on.
    pub fn beat(&self, core: usize) {
        if let Some(beat) = self.beats.get(core) {
            beat.store(true, Ordering::Relaxed);
        }
    }

    /// Says whether each core has gone on since the last call.
    pub fn is_whole(&self) -> bool {
        // Each is looked at, also behind one that has stopped.
        self.beats.iter().filter(|beat| !beat.swap(false, Ordering::Relaxed)).count() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_that_stands_still_is_enough() {
        let pulse = Pulse::new(2);
        assert!(!pulse.is_whole());
        pulse.beat(0);
        assert!(!pulse.is_whole(), "the other one stands still");
        pulse.beat(1);
        assert!(!pulse.is_whole(), "the first one has not gone on since");
        pulse.beat(0);
        pulse.beat(1);
        pulse.beat(7);
        assert!(pulse.is_whole());
        assert!(!pulse.is_whole());
    }
}
