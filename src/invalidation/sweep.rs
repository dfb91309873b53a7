//! Gives back the memory of what is invalidated, in the background: one look through the memory at
//! a time, however many invalidations come.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use tokio::runtime::Handle;

use crate::cache::invalidations::{Invalidations, Validity};
use crate::store::Memory;

/// A look through everything is followed by so many times its length without one.
const REST: u32 = 10;

/// Whether a look is wanted, and whether one is under way.
pub struct Sweeper {
    memory: Arc<Memory>,
    table: Arc<Invalidations>,
    /// Where looks are made; without it nothing is freed.
    runtime: OnceLock<Handle>,
    is_wanted: AtomicBool,
    is_running: AtomicBool,
}

impl Sweeper {
    /// Frees what `table` makes dead in `memory`, once it has a runtime.
    pub fn new(memory: Arc<Memory>, table: Arc<Invalidations>) -> Arc<Self> {
        Arc::new(Self {
            memory,
            table,
            runtime: OnceLock::new(),
            is_wanted: AtomicBool::new(false),
            is_running: AtomicBool::new(false),
        })
    }

    /// Gives it the runtime whose blocking threads look through the memory, whichever core
    /// invalidated.
    pub fn keep_runtime(&self, runtime: Handle) {
        let _ = self.runtime.set(runtime);
    }

    /// Has a look made. Returns at once.
    pub fn sweep_soon(self: &Arc<Self>) {
        self.is_wanted.store(true, Ordering::Release);
        let Some(runtime) = self.runtime.get() else { return };
        if self.is_running.swap(true, Ordering::AcqRel) {
            return;
        }
        let this = Arc::clone(self);
        runtime.spawn(async move { this.run().await });
    }

    /// Whether a look is wanted that has not begun, for tests.
    #[cfg(test)]
    pub fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::Acquire)
    }

    async fn run(self: &Arc<Self>) {
        loop {
            while self.is_wanted.swap(false, Ordering::AcqRel) {
                let (this, began) = (Arc::clone(self), Instant::now());
                let _ = tokio::task::spawn_blocking(move || this.sweep()).await;
                tokio::time::sleep(began.elapsed() * REST).await;
            }
            self.is_running.swap(false, Ordering::AcqRel);
            // Wanted again in between, by an invalidation that saw a look under way.
            if !self.is_wanted.load(Ordering::Acquire)
                || self.is_running.swap(true, Ordering::AcqRel)
            {
                return;
            }
        }
    }

    fn sweep(&self) {
        let mut dead = Vec::new();
        self.memory.visit(|stored| {
            if self.table.validity(stored) == Validity::Hard {
                dead.push(Arc::clone(stored));
            }
        });
        for stored in &dead {
            // The disk looks for its own.
            self.memory.remove(stored);
        }
    }
}
