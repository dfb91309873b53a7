//! Gives back the memory of what is invalidated, behind everybody's back: one look through at a
//! time, however many invalidations come.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::cache::invalidations::Validity;
use crate::proxy::Edge;

/// A look through everything is followed by so many times its length without one.
const REST: u32 = 10;

/// Whether somebody looks, and whether that is enough.
#[derive(Default)]
pub struct Sweeper {
    is_wanted: AtomicBool,
    is_running: AtomicBool,
}

impl Sweeper {
    /// Something was invalidated. Returns at once.
    pub fn sweep_soon(self: &Arc<Self>, edge: &Arc<Edge>) {
        self.is_wanted.store(true, Ordering::Release);
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let (this, edge) = (Arc::clone(self), Arc::clone(edge));
        tokio::spawn(async move { this.run(&edge).await });
    }

    async fn run(&self, edge: &Arc<Edge>) {
        loop {
            while self.is_wanted.swap(false, Ordering::AcqRel) {
                let (edge, began) = (Arc::clone(edge), Instant::now());
                let _ = tokio::task::spawn_blocking(move || sweep(&edge)).await;
                tokio::time::sleep(began.elapsed() * REST).await;
            }
            self.is_running.swap(false, Ordering::AcqRel);
            // Wanted again in between, by somebody who saw us running.
            if !self.is_wanted.load(Ordering::Acquire)
                || self.is_running.swap(true, Ordering::AcqRel)
            {
                return;
            }
        }
    }
}

fn sweep(edge: &Edge) {
    let mut dead = Vec::new();
    edge.store.visit(|stored| {
        if edge.invalidations.validity(stored) == Validity::Hard {
            dead.push(Arc::clone(stored));
        }
    });
    for stored in &dead {
        // The disk looks for its own.
        edge.store.remove(stored);
    }
}
