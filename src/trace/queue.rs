//! Spans that wait to be sent: bounded, and never waited for.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::span::Span;

/// As many spans go out in one message.
pub const BATCH: usize = 512;

/// The queue of a process, and what is counted of it.
#[derive(Default)]
pub struct SpanQueue {
    waiting: Mutex<VecDeque<Span>>,
    has_batch: Notify,
    pub counts: SpanCounts,
}

/// Spans, counted by what became of them.
#[derive(Default)]
pub struct SpanCounts {
    /// A collector has taken them.
    pub sent: AtomicU64,
    /// There was no room for them.
    pub dropped: AtomicU64,
    /// The collector was away for too long, or refused them.
    pub failed: AtomicU64,
}

impl SpanQueue {
    /// Takes a span, if fewer than `most` wait already; one that is not taken is counted.
    pub fn offer(&self, span: Span, most: usize) {
        let len = {
            let mut waiting = self.waiting.lock();
            if waiting.len() >= most {
                drop(waiting);
                self.counts.dropped.fetch_add(1, Ordering::Relaxed);
                return;
            }
            waiting.push_back(span);
            waiting.len()
        };
        if len >= BATCH.min(most) {
            self.has_batch.notify_one();
        }
    }

    /// The oldest spans, a batch at most.
    pub fn take(&self) -> Vec<Span> {
        let mut waiting = self.waiting.lock();
        let count = waiting.len().min(BATCH);
        waiting.drain(..count).collect()
    }

    /// Spans that wait.
    pub fn len(&self) -> usize {
        self.waiting.lock().len()
    }

    /// True if none waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns once a whole batch waits.
    pub async fn batch(&self) {
        self.has_batch.notified().await;
    }
}
