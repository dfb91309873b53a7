//! Changed objects that are told of at the same time become one invalidation, however many calls
//! they came by: what arrives while one is written down waits, and is the next.

use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;

use super::paths::Old;
use crate::invalidation::log::InvalidationRecord;

/// The records, or why there are none.
pub type Written = Result<Vec<InvalidationRecord>, String>;

/// What several callers want written down together.
#[derive(Default)]
struct Batch {
    old: Mutex<Old>,
    written: OnceLock<Written>,
}

impl Batch {
    // What became of it, once it is written down.
    fn written(&self) -> Option<Written> {
        self.written.get().cloned()
    }

    // Tells all that wait for it.
    fn finish(&self, written: Written) {
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
    /// Has what a caller tells written down by `write`, together with what others tell meanwhile,
    /// one batch after the other.
    pub async fn written<W>(&self, old: Old, write: impl FnOnce(Old) -> W) -> Written
    where
        W: Future<Output = Written>,
    {
        let batch = self.join(&old);
        let _turn = self.turn.lock().await;
        if let Some(written) = batch.written() {
            return written;
        }
        let Some(all) = self.close(&batch) else {
            // The call that closed it was cut off before it had written it down. Each of those that
            // are left sees to its own part: what one of them writes says nothing of the others'.
            return write(old).await;
        };
        let written = write(all).await;
        batch.finish(written.clone());
        written
    }

    // Joins the open batch.
    fn join(&self, old: &Old) -> Arc<Batch> {
        let mut open = self.open.lock();
        let batch = Arc::clone(open.get_or_insert_default());
        let mut all = batch.old.lock();
        for (distribution, matchers) in old {
            all.entry(distribution.clone()).or_default().extend(matchers.iter().cloned());
        }
        drop(all);
        batch
    }

    // Closes a batch and gives what is in it; `None` if another has closed it.
    fn close(&self, batch: &Arc<Batch>) -> Option<Old> {
        let mut open = self.open.lock();
        open.take_if(|open| Arc::ptr_eq(open, batch))
            .map(|batch| std::mem::take(&mut *batch.old.lock()))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Waker};

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
    // An answer says that a caller's own changes are written down, not those of another.
    #[tokio::test]
    async fn what_a_call_that_was_cut_off_leaves_is_written_by_each_that_waited() {
        let fold = Fold::default();
        let told = Mutex::new(Vec::new());
        let write = |old: Old| {
            told.lock().push(old["E1"].clone());
            std::future::ready(Written::Ok(Vec::new()))
        };
        let mut cx = Context::from_waker(Waker::noop());
        let mut first = Box::pin(fold.written(old("/a"), |_| std::future::pending::<Written>()));
        let mut second = pin!(fold.written(old("/b"), write));
        let mut third = pin!(fold.written(old("/c"), write));
        // The second and the third join while the first waits for its turn.
        let turn = fold.turn.lock().await;
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        drop(turn);
        assert!(first.as_mut().poll(&mut cx).is_pending());
        drop(first);
        assert_eq!((second.await, third.await), (Ok(Vec::new()), Ok(Vec::new())));
        assert_eq!(*told.lock(), [old("/b")["E1"].clone(), old("/c")["E1"].clone()]);
    }
}
