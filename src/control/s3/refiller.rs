//! Fetches what was made old before a viewer asks for it: a few at a time, out of a queue that has
//! an end.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::proxy::Proxy;
use crate::proxy::refill::Refilled;

/// Fetches at a time.
const AT_A_TIME: usize = 8;
/// URLs that wait; beyond them a changed object is fetched when it is asked for.
const WAITING: usize = 10_000;

/// The queue, and what empties it.
pub struct Refiller {
    proxy: Arc<Proxy>,
    queue: Mutex<Queue>,
    pub fetched: AtomicU64,
    /// Not fetched: the queue was full, the fetch failed, or its answer may not be kept.
    pub left_out: AtomicU64,
}

#[derive(Default)]
struct Queue {
    /// In no order that means anything.
    urls: BTreeSet<String>,
    running: usize,
}

impl Refiller {
    /// One that fetches by the path that viewers' requests go.
    pub fn new(proxy: Arc<Proxy>) -> Arc<Self> {
        Arc::new(Self {
            proxy,
            queue: Mutex::default(),
            fetched: AtomicU64::new(0),
            left_out: AtomicU64::new(0),
        })
    }

    /// Has URLs fetched soon.
    pub fn fetch(self: &Arc<Self>, urls: Vec<String>) {
        let mut queue = self.queue.lock();
        for url in urls {
            if queue.urls.len() >= WAITING {
                self.left_out.fetch_add(1, Ordering::Relaxed);
            } else {
                queue.urls.insert(url);
            }
        }
        let more = AT_A_TIME.saturating_sub(queue.running).min(queue.urls.len());
        queue.running += more;
        for _ in 0..more {
            tokio::spawn(Arc::clone(self).work());
        }
    }

    /// URLs that wait.
    pub fn waiting(&self) -> u64 {
        self.queue.lock().urls.len() as u64
    }

    async fn work(self: Arc<Self>) {
        let mut at_work = AtWork { queue: &self.queue, is_over: false };
        while let Some(url) = at_work.next() {
            let count = match self.proxy.refill(&url).await {
                Refilled::Kept => &self.fetched,
                Refilled::Not => &self.left_out,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One of those that empty the queue, counted among the running ones until it is over, and not if
/// its task breaks off: a worker that was lost must not keep the place of another.
struct AtWork<'q> {
    queue: &'q Mutex<Queue>,
    is_over: bool,
}

impl AtWork<'_> {
    // The next one; without one this worker is over, from the same moment on.
    fn next(&mut self) -> Option<String> {
        let mut queue = self.queue.lock();
        let next = queue.urls.pop_first();
        if next.is_none() && !std::mem::replace(&mut self.is_over, true) {
            queue.running -= 1;
        }
        next
    }
}

impl Drop for AtWork<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            self.queue.lock().running -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_counts_until_it_is_over_or_breaks_off_and_once() {
        let urls = BTreeSet::from(["a".to_string(), "b".to_string()]);
        let queue = Mutex::new(Queue { urls, running: 2 });
        let at_work = || AtWork { queue: &queue, is_over: false };
        let mut lost = at_work();
        assert_eq!(lost.next().as_deref(), Some("a"));
        drop(lost);
        assert_eq!(queue.lock().running, 1);
        let mut last = at_work();
        assert_eq!(last.next().as_deref(), Some("b"));
        assert_eq!((last.next(), queue.lock().running), (None, 0));
        drop(last);
        assert_eq!(queue.lock().running, 0);
    }
}
