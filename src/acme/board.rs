//! What operators see of the certificates that are ordered: how each stands, and what is counted.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::semantics::time::Timestamp;
use crate::sync::Mutex;

/// How a certificate stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum State {
    /// None was issued yet; a self-made one serves.
    #[default]
    Waiting,
    /// An order is under way here.
    Ordering,
    /// An edge that shares the folder is ordering.
    OrderedElsewhere,
    Issued,
    /// The last attempt failed; it is tried again at `next`.
    Failed,
}

impl State {
    /// The word in status and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Ordering => "ordering",
            Self::OrderedElsewhere => "ordered-elsewhere",
            Self::Issued => "issued",
            Self::Failed => "failed",
        }
    }
}

/// What is said of one certificate. No secrets.
#[derive(Clone, Debug, Default)]
pub struct Row {
    pub names: Vec<String>,
    pub directory: String,
    pub challenge: &'static str,
    /// The member of the fleet that orders it, if it is not this one.
    pub orderer: Option<String>,
    pub state: State,
    /// Until when the issued one holds.
    pub until: Option<Timestamp>,
    /// Viewers are shown what was issued last.
    pub is_served: bool,
    /// When it is renewed, or tried again.
    pub next: Option<Timestamp>,
    /// After a failure, from when on a reload has it tried again.
    pub after_reload: Option<Timestamp>,
    /// Failures in a row.
    pub failures: u32,
    pub last_error: Option<String>,
}

/// All of them, and counts since the start.
#[derive(Default)]
pub struct Board {
    rows: Mutex<BTreeMap<String, Row>>,
    pub issued: AtomicU64,
    pub failed: AtomicU64,
    /// Requests that a CA refused for their nonce alone, and that were sent again.
    pub nonces_refused: AtomicU64,
    /// Looks of a CA that were answered.
    pub proofs_shown: AtomicU64,
}

impl Board {
    /// One more.
    pub fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes what is said of a certificate.
    pub fn note(&self, entry: &str, change: impl FnOnce(&mut Row)) {
        change(self.rows.lock().entry(entry.to_string()).or_default());
    }

    /// Forgets certificates that are ordered no longer.
    pub fn keep(&self, is_known: impl Fn(&str) -> bool) {
        self.rows.lock().retain(|entry, _| is_known(entry));
    }

    /// Those whose last attempt failed.
    pub fn failing(&self) -> Vec<String> {
        let rows = self.rows.lock();
        let failing = rows.iter().filter(|(_, row)| row.failures > 0);
        failing.map(|(entry, _)| entry.clone()).collect()
    }

    /// How all stand, by name.
    pub fn rows(&self) -> Vec<(String, Row)> {
        self.rows.lock().iter().map(|(entry, row)| (entry.clone(), row.clone())).collect()
    }
}
