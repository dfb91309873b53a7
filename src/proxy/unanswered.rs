//! A write that has no answer: its viewer left before, or none came. The origin may have carried it
//! out, so it makes old what it would have.

use std::sync::Arc;

use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Matcher;
use crate::cache::unsafe_methods;
use crate::invalidation::service::Invalidator;
use crate::message::failure::Failure;
use crate::message::response::Reply;
use crate::semantics::fields::FieldSection;

/// A request that is on its way. If it is dropped without an answer, what a success would have made
/// old is invalidated.
pub(super) struct Unanswered {
    invalidation: Arc<Invalidator>,
    distribution: String,
    /// None for what writes nothing.
    matchers: Vec<Matcher>,
}

impl Unanswered {
    /// Of a request that is about to be sent.
    pub fn of(invalidation: &Arc<Invalidator>, asked: &CacheRequest<'_>) -> Self {
        let matchers = unsafe_methods::invalidates(asked, 200, &FieldSection::new());
        let distribution =
            if matchers.is_empty() { String::new() } else { asked.routed.distribution.id.clone() };
        Self { invalidation: Arc::clone(invalidation), distribution, matchers }
    }

    /// It came to an end, and its viewer is there: what is to be made old is its caller's to do. That
    /// is what is given where there is no answer and the write may have been carried out; what
    /// follows from an answer is decided by that.
    pub fn ended(mut self, came: &Result<Reply, Failure>) -> Vec<Matcher> {
        let matchers = std::mem::take(&mut self.matchers);
        match came {
            Err(failure) if failure.kind.leaves_doubt() => matchers,
            Ok(_) | Err(_) => Vec::new(),
        }
    }
}

impl Drop for Unanswered {
    fn drop(&mut self) {
        if self.matchers.is_empty() {
            return;
        }
        // The viewer's task is gone, so a task of its own waits for the invalidation.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let (invalidation, distribution) =
                (Arc::clone(&self.invalidation), std::mem::take(&mut self.distribution));
            let matchers = std::mem::take(&mut self.matchers);
            runtime.spawn(async move { invalidation.written(distribution, matchers).await });
        }
    }
}
