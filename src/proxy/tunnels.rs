//! Places among the tunnels, `limits.tunnels` at most.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Edge, Tally};

/// A place among the tunnels, given back when dropped.
pub(super) struct TunnelPlace(Arc<Edge>);

impl TunnelPlace {
    /// Takes one; `None` if `most` are taken already.
    pub fn take(edge: &Arc<Edge>, most: usize) -> Option<Self> {
        let taken = edge.tunnels.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now < most).then_some(now + 1)
        });
        if taken.is_err() {
            Tally::add(&edge.tally.tunnels_refused);
            return None;
        }
        Some(Self(Arc::clone(edge)))
    }
}

impl Drop for TunnelPlace {
    fn drop(&mut self) {
        self.0.tunnels.fetch_sub(1, Ordering::Relaxed);
    }
}
