//! Changed objects that are told of at the same time become one invalidation, however many calls
//! they came by: what arrives while one is written down waits, and is the next.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::{Mutex as Turn, MutexGuard};

use super::paths::Old;
use crate::invalidation::log::InvalidationRecord;

/// The records, or why there are none.
pub type Written = Result<Vec<InvalidationRecord>, String>;

/// What several callers want written down together.
#[derive(Default)]
pub struct Batch {
    old: Mutex<Old>,
    written: OnceLock<Written>,
}

impl Batch {
    /// What became of it, once it is written down.
    pub fn written(&self) -> Option<Written> {
        self.written.get().cloned()
    }

    /// Tells all that wait for it.
    pub fn finish(&self, written: Written) {
        let _ = self.written.set(written);
    }
}

/// The batch that is open, and whose turn it is.
#[derive(Default)]
pub struct Fold {
    open: Mutex<Option<Arc<Batch>>>,
    turn: Turn<()>,
}

impl Fold {
    /// Joins the open batch.
    pub fn join(&self, old: &Old) -> Arc<Batch> {
        let mut open = self.open.lock();
        let batch = Arc::clone(open.get_or_insert_default());
        let mut all = batch.old.lock();
        for (distribution, matchers) in old {
            all.entry(distribution.clone()).or_default().extend(matchers.iter().cloned());
        }
        drop(all);
        batch
    }

    /// Waits until no other is writing.
    pub async fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().await
    }

    /// Closes a batch and gives what is in it; `None` if another has closed it.
    pub fn close(&self, batch: &Arc<Batch>) -> Option<Old> {
        let mut open = self.open.lock();
        open.take_if(|open| Arc::ptr_eq(open, batch))
            .map(|batch| std::mem::take(&mut *batch.old.lock()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::invalidations::Matcher;

    fn old(path: &str) -> Old {
        Old::from([("E1".to_string(), [Matcher::Path(path.into())].into())])
    }

    #[test]
    fn what_comes_while_a_batch_is_open_is_in_it() {
        let fold = Fold::default();
        let (first, second) = (fold.join(&old("/a")), fold.join(&old("/b")));
        assert!(Arc::ptr_eq(&first, &second));
        let all = fold.close(&first).unwrap();
        assert_eq!(all["E1"].len(), 2);
        assert!(fold.close(&second).is_none(), "it is another's by now");
        let third = fold.join(&old("/c"));
        assert!(!Arc::ptr_eq(&first, &third));
        assert!(first.written().is_none());
        first.finish(Ok(Vec::new()));
        assert_eq!(second.written(), Some(Ok(Vec::new())));
        assert_eq!(fold.close(&third).unwrap()["E1"].len(), 1);
    }
}
