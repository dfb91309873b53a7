//! What members tell each other of certificates that one of them orders: wrapped on its way into
//! the log, opened for what looks after certificates here. What it says is theirs (`acme`).

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::tls::wrapping::Wrapping;

/// What takes the octets of a member.
pub type Hear = Box<dyn Fn(&[u8]) + Send + Sync>;

/// What a member shares.
pub struct SharedIssuing {
    wrapping: Wrapping,
    hear: Hear,
    refused: AtomicU64,
    has_warned: AtomicBool,
}

impl SharedIssuing {
    /// By what wraps and opens it, and who hears what was opened.
    pub const fn new(wrapping: Wrapping, hear: Hear) -> Self {
        let (refused, has_warned) = (AtomicU64::new(0), AtomicBool::new(false));
        Self { wrapping, hear, refused, has_warned }
    }

    /// Takes what the log brings. What cannot be opened is counted, and changes nothing.
    pub fn take(&self, wrapped: &str) {
        match self.wrapping.open_issuing(wrapped) {
            Ok(octets) => (self.hear)(&octets),
            Err(refusal) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                if !self.has_warned.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        refusal = refusal.name(),
                        "what the fleet tells of a certificate cannot be opened here; is fleet.ticket_key the same on all members?"
                    );
                }
            }
        }
    }

    /// Octets as the log carries them; `None` without randomness.
    pub fn wrap(&self, octets: &[u8]) -> Option<String> {
        self.wrapping.wrap_issuing(octets)
    }

    /// What could not be opened.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }
}
