//! Idle connections to one origin, kept by each core for itself, and the count of those in use over all cores.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connect::Place;
use super::wire::Wire;
use crate::distribution::origin::Origin;

/// How often a pool looks for connections that were closed, or kept too long.
const SWEEP: Duration = Duration::from_secs(5);

/// Connection counts of all origins, shared by the cores.
#[derive(Default)]
pub struct Gates {
    gates: Mutex<HashMap<String, (usize, Arc<Semaphore>)>>,
}

impl Gates {
    /// The gate of an origin; a reload that changes its size makes a new one.
    pub fn gate(&self, place: &str, size: usize) -> Arc<Semaphore> {
        let mut gates = self.gates.lock();
        let known = gates.entry(place.to_string()).or_insert_with(|| (size, Arc::new(Semaphore::new(size))));
        if known.0 != size {
            *known = (size, Arc::new(Semaphore::new(size)));
        }
        Arc::clone(&known.1)
    }
}

/// Idle connections to one origin as one configuration knows it.
pub struct Pool {
    pub origin: Arc<Origin>,
    pub place: Place,
    pub gate: Arc<Semaphore>,
    /// Whether somebody looks after the idle ones already.
    is_swept: AtomicBool,
    idle: Mutex<Vec<Idle>>,
}

/// Holds no permit: a quiet core must not keep the others from connecting.
struct Idle {
    wire: Wire,
    since: Instant,
}

impl Pool {
    /// A pool without connections.
    pub fn new(origin: Arc<Origin>, place: Place, gate: Arc<Semaphore>) -> Self {
        Self { origin, place, gate, is_swept: AtomicBool::new(false), idle: Mutex::default() }
    }

    /// The connection used last: it is the likeliest to be alive.
    pub fn take(&self) -> Option<Wire> {
        let patience = self.origin.timeouts.idle;
        let mut idle = self.idle.lock();
        while let Some(mut candidate) = idle.pop() {
            if candidate.since.elapsed() < patience && candidate.wire.is_quiet() {
                return Some(candidate.wire);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub fn give_back(self: &Arc<Self>, mut wire: Wire) {
        if !wire.is_quiet() {
            return;
        }
        let mut idle = self.idle.lock();
        if idle.len() < self.origin.connections {
            idle.push(Idle { wire, since: Instant::now() });
        }
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

// A quiet pool closes its connections too. Ends when the pool is empty; the next connection begins it again.
async fn sweep(pool: std::sync::Weak<Pool>) {
    let Some(patience) = pool.upgrade().map(|pool| pool.origin.timeouts.idle) else { return };
    loop {
        tokio::time::sleep(patience.min(SWEEP)).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.lock();
        idle.retain_mut(|one| one.since.elapsed() < patience && one.wire.is_quiet());
        if idle.is_empty() {
            pool.is_swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}
