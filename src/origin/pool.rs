//! Idle connections to one origin, kept by each core for itself, and the count of those in use over
//! all cores.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::connect::Endpoint;
use super::connection::Wire;
use super::counts::OriginCounts;
use super::h2_pool::H2Pool;
use super::idle::ByName;
use crate::distribution::origin::{HttpOrigin, Origin};

/// How often a pool looks for connections that were closed, or kept too long.
const SWEEP: Duration = Duration::from_secs(5);

/// Connection counts of all origins, shared by the cores.
#[derive(Default)]
pub struct ConnectionLimits {
    /// By place (`host:port`) and size, so that all cores count with one gate, whichever
    /// configuration made their pools.
    gates: Mutex<HashMap<(String, usize), Arc<Semaphore>>>,
    /// What is counted of all of them.
    pub counts: Arc<OriginCounts>,
}

impl ConnectionLimits {
    /// The gate of this size at a place.
    pub fn gate(&self, place: &str, size: usize) -> Arc<Semaphore> {
        let mut gates = self.gates.lock();
        let key = (place.to_string(), size);
        if let Some(known) = gates.get(&key) {
            return Arc::clone(known);
        }
        // Those that no pool and no exchange has any more.
        gates.retain(|_, gate| Arc::strong_count(gate) > 1);
        let gate = Arc::new(Semaphore::new(size));
        gates.insert(key, Arc::clone(&gate));
        gate
    }

    /// Connections that are taken, by place (`host:port`).
    pub fn in_use(&self) -> HashMap<String, usize> {
        let mut all = HashMap::new();
        for ((place, size), gate) in self.gates.lock().iter() {
            let taken = size.saturating_sub(gate.available_permits());
            *all.entry(place.clone()).or_default() += taken;
        }
        all
    }
}

/// Idle connections to one origin, over all configurations that reach it in the same way.
pub struct Pool {
    /// What its connections depend on.
    reached: HttpOrigin,
    /// The most that lie here, and the size of the gate.
    connections: usize,
    /// How long they lie here, where the origin does not say less.
    patience: Duration,
    pub place: Endpoint,
    pub gate: Arc<Semaphore>,
    /// Its connections over HTTP/2, where that is spoken to it.
    pub h2: Option<Arc<H2Pool>>,
    /// Whether a task closes the idle ones in time already.
    is_swept: AtomicBool,
    idle: Mutex<ByName<Idle>>,
    /// The name that was asked for last: most often it is the next one, too.
    last: Mutex<Arc<str>>,
}

/// Holds no permit: a quiet core must not keep the others from connecting.
struct Idle {
    wire: Wire,
    since: Instant,
    /// How long it may be used again: as the origin is configured, or less where it says so itself.
    patience: Duration,
}

impl Idle {
    fn is_good(&mut self) -> bool {
        self.since.elapsed() < self.patience && self.wire.is_quiet()
    }
}

impl Pool {
    /// A pool without connections.
    pub fn new(
        origin: &Origin,
        reached: HttpOrigin,
        place: Endpoint,
        gate: Arc<Semaphore>,
        h2: Option<Arc<H2Pool>>,
    ) -> Self {
        let idle = Mutex::new(ByName::new(origin.connections));
        let (connections, patience) = (origin.connections, origin.timeouts.idle);
        let (is_swept, last) = (AtomicBool::new(false), Mutex::new(Arc::from("")));
        Self { reached, connections, patience, place, gate, h2, is_swept, idle, last }
    }

    /// A name that connections are made for, to be held on to.
    pub fn name(&self, name: &str) -> Arc<str> {
        let mut last = self.last.lock();
        if **last != *name {
            *last = Arc::from(name);
        }
        Arc::clone(&last)
    }

    /// Says whether it is the pool of an origin, whichever configuration that is of. What requests
    /// say and how long they wait is theirs, and does not matter here.
    pub fn serves(&self, origin: &Origin, http: &HttpOrigin) -> bool {
        self.connections == origin.connections
            && self.patience == origin.timeouts.idle
            && self.reached.connects_like(http)
    }

    /// True if no connection lies here.
    pub fn is_empty(&self) -> bool {
        self.idle.lock().is_empty() && self.h2.as_ref().is_none_or(|h2| h2.is_empty())
    }

    /// The place, asked for under a name: SNI and certificate are about that one.
    pub fn place_for(&self, name: &str) -> Endpoint {
        self.place.named(name)
    }

    /// The connection used last for this name: it is the likeliest to be alive.
    pub fn take(&self, name: &str) -> Option<Wire> {
        let mut idle = self.idle.lock();
        while let Some(mut candidate) = idle.take(name) {
            if candidate.is_good() {
                return Some(candidate.wire);
            }
        }
        None
    }

    /// Keeps a connection for the next request that goes to the same name.
    pub fn give_back(self: &Arc<Self>, name: &Arc<str>, mut wire: Wire) {
        if !wire.is_quiet() {
            return;
        }
        wire.rest();
        let patience = wire.idle_for().map_or(self.patience, |said| said.min(self.patience));
        self.idle.lock().put(name, Idle { wire, since: Instant::now(), patience });
        if !self.is_swept.swap(true, Ordering::Relaxed) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }
}

// A quiet pool closes its connections too. Ends when the pool is empty; the next connection begins
// it again.
async fn sweep(pool: std::sync::Weak<Pool>) {
    let Some(patience) = pool.upgrade().map(|pool| pool.patience) else { return };
    loop {
        tokio::time::sleep(patience.min(SWEEP)).await;
        let Some(pool) = pool.upgrade() else { return };
        let mut idle = pool.idle.lock();
        idle.retain(Idle::is_good);
        if idle.is_empty() {
            pool.is_swept.store(false, Ordering::Relaxed);
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_gate_counts_for_a_place_and_size_for_as_long_as_anybody_holds_it() {
        let gates = ConnectionLimits::default();
        let first = gates.gate("o.test:80", 2);
        let taken = first.try_acquire().unwrap();
        assert_eq!(gates.in_use()["o.test:80"], 1);
        drop(taken);
        assert!(
            Arc::ptr_eq(&first, &gates.gate("o.test:80", 2)),
            "another core, or the next configuration"
        );
        // A reload makes it smaller, and another takes that back: a connection that still holds the
        // first one is counted with the others.
        let smaller = gates.gate("o.test:80", 1);
        assert!(!Arc::ptr_eq(&first, &smaller) && smaller.available_permits() == 1);
        drop(smaller);
        assert!(Arc::ptr_eq(&first, &gates.gate("o.test:80", 2)));
        for port in 0..100 {
            gates.gate(&format!("p.test:{port}"), 2);
        }
        assert!(
            gates.gates.lock().len() <= 2,
            "places that nobody asks any more are not counted for"
        );
        assert!(Arc::ptr_eq(&first, &gates.gate("o.test:80", 2)));
    }
}
