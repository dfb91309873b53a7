//! The waits of a connection that has nothing to do: a timer and the word that the edge drains.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::listen::Worker;

/// What a connection waits for beside octets. Made once: a timer or a place in a queue for each
/// request would cost more than answering it from the store.
pub struct Waits {
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    /// Runs out at the latest when the wait does; until then it is left alone.
    sleep: Pin<Box<Sleep>>,
    /// Both have been polled: each wakes our task.
    is_armed: bool,
    /// Has changed once the edge drains.
    seen: tokio::sync::watch::Receiver<bool>,
}

/// Why a wait is over.
pub enum Woke {
    Read(std::io::Result<usize>),
    TimedOut,
    Drained,
}

impl Waits {
    /// Begins with a wait of `first`.
    pub fn new(worker: &Worker, first: Duration) -> Self {
        let (seen, mut draining) = (worker.draining.clone(), worker.draining.clone());
        let edge = Arc::clone(&worker.core.edge);
        let drained = Box::pin(async move {
            let _ = draining.wait_for(|draining| *draining).await;
            let grace = edge.idle_grace.load(Ordering::Relaxed);
            if grace > 0 {
                // Made when it is wanted: idle connections are many.
                Box::pin(tokio::time::sleep(Duration::from_millis(grace))).await;
            }
        });
        Self { drained, sleep: Box::pin(tokio::time::sleep(first)), is_armed: false, seen }
    }

    /// Begins a wait that ends at the latest at `until`; true if the task is woken for it already.
    // Looks at the clock only if it may have been the clock that woke us: a wait that has just
    // begun cannot be over, and both are awake to our task since they were first polled.
    pub fn begin(&self, until: Instant) -> bool {
        // What ran out, or was said, while we were busy has woken us already and will not do so
        // again.
        let is_over = self.sleep.is_elapsed() || self.seen.has_changed().unwrap_or(true);
        if is_over || self.sleep.deadline() > until {
            return false;
        }
        self.is_armed
    }

    /// Whether it is over; an idle connection ends with a drain, too.
    pub fn poll(&mut self, cx: &mut Context<'_>, until: Instant, is_idle: bool) -> Poll<Woke> {
        if is_idle {
            if self.drained.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Woke::Drained);
            }
            // Only now is each of them awake to our task: a wait whose octets were there already
            // has asked neither.
            self.is_armed = true;
        }
        if self.sleep.deadline() > until {
            self.sleep.as_mut().reset(until);
        }
        while self.sleep.as_mut().poll(cx).is_ready() {
            if Instant::now() >= until {
                return Poll::Ready(Woke::TimedOut);
            }
            self.sleep.as_mut().reset(until);
        }
        Poll::Pending
    }
}
