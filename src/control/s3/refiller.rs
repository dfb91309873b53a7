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
        while let Some(url) = self.next() {
            let count = match self.proxy.refill(&url).await {
                Refilled::Kept => &self.fetched,
                Refilled::Not => &self.left_out,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    // The next one; without one this worker is over.
    fn next(&self) -> Option<String> {
        let mut queue = self.queue.lock();
        let next = queue.urls.pop_first();
        if next.is_none() {
            queue.running -= 1;
        }
        next
    }
}
