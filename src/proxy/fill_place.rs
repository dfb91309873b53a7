//! Places among the fills under way, `limits.fills` at most.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Edge;

/// A place among the fills under way, given back when dropped.
pub(super) struct FillPlace(Arc<Edge>);

impl FillPlace {
    /// Takes one; `None` if `most` are taken already.
    pub fn take(edge: &Arc<Edge>, most: usize) -> Option<Self> {
        let taken = edge.fills.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now < most).then_some(now + 1)
        });
        taken.is_ok().then(|| Self(Arc::clone(edge)))
    }
}

impl Drop for FillPlace {
    fn drop(&mut self) {
        self.0.fills.fetch_sub(1, Ordering::Relaxed);
    }
}
