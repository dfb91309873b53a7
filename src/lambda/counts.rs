//! What is counted of lambdas and their workers, and its text for Prometheus.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::failure::InvokeFailure;
use super::pool::Tally;
use crate::sync::RwLock;

/// A number that only grows.
#[derive(Default)]
pub struct Total(AtomicU64);

impl Total {
    pub fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What is counted of one function; it goes on for as long as the name stays.
pub struct Counts {
    name: Box<str>,
    /// By state, in the order of [`STATES`].
    workers: [AtomicUsize; 3],
    waiting: AtomicUsize,
    invocations: Total,
    /// By kind, in the order of [`KINDS`].
    failures: [Total; 7],
    pub failed_starts: Total,
    /// Microseconds that all calls have taken.
    run_micros: AtomicU64,
    /// The most octets that a worker was seen with.
    memory: AtomicU64,
}

const STATES: [&str; 3] = ["idle", "busy", "starting"];
const KINDS: [&str; 7] =
    ["throttled", "timeout", "memory", "exit", "init", "handler", "validation"];
/// The last of them.
const INVALID: usize = KINDS.len() - 1;

impl Counts {
    fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            workers: Default::default(),
            waiting: AtomicUsize::new(0),
            invocations: Total::default(),
            failures: Default::default(),
            failed_starts: Total::default(),
            run_micros: AtomicU64::new(0),
            memory: AtomicU64::new(0),
        }
    }

    /// Notes how many workers are in which state.
    pub fn note(&self, tally: Tally) {
        for (at, n) in [tally.idle, tally.busy, tally.starting].into_iter().enumerate() {
            self.workers[at].store(n, Ordering::Relaxed);
        }
        self.waiting.store(tally.waiting, Ordering::Relaxed);
    }

    /// Counts a call and what came of it.
    pub fn count(&self, failure: Option<&InvokeFailure>) {
        self.invocations.add();
        let at = match failure {
            None => return,
            Some(InvokeFailure::Throttled) => 0,
            Some(InvokeFailure::TimedOut) => 1,
            Some(InvokeFailure::OutOfMemory) => 2,
            Some(InvokeFailure::Exited(_)) => 3,
            Some(InvokeFailure::InitFailed { .. }) => 4,
            Some(InvokeFailure::HandlerError { .. }) => 5,
            Some(InvokeFailure::TooLarge | InvokeFailure::NotJson) => INVALID,
        };
        self.failures[at].add();
    }

    /// Counts an answer that breaks a rule, of a call that was counted.
    pub fn invalid(&self) {
        self.failures[INVALID].add();
    }

    /// Notes how long a call took in its worker, and the most memory that the worker was seen with.
    pub fn ran(&self, took: Duration, memory: u64) {
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.run_micros.fetch_add(micros, Ordering::Relaxed);
        self.memory.fetch_max(memory, Ordering::Relaxed);
    }

    /// How long all calls have taken in their workers.
    pub fn run_time(&self) -> Duration {
        Duration::from_micros(self.run_micros.load(Ordering::Relaxed))
    }

    /// The most octets that a worker was seen with.
    pub fn memory(&self) -> u64 {
        self.memory.load(Ordering::Relaxed)
    }

    /// Workers that are idle, busy, starting; calls that wait.
    pub fn tally(&self) -> Tally {
        let [idle, busy, starting] = &self.workers;
        let get = |n: &AtomicUsize| n.load(Ordering::Relaxed);
        Tally {
            starting: get(starting),
            idle: get(idle),
            busy: get(busy),
            waiting: get(&self.waiting),
        }
    }

    /// All calls so far.
    pub fn invocations(&self) -> u64 {
        self.invocations.get()
    }
}

/// The counts of all functions.
#[derive(Default)]
pub struct Shelf(RwLock<Vec<Arc<Counts>>>);

impl Shelf {
    /// Those of a function.
    pub fn of(&self, name: &str) -> Arc<Counts> {
        if let Some(known) = self.find(name) {
            return known;
        }
        let mut all = self.0.write();
        let counts = Arc::new(Counts::new(name));
        all.push(Arc::clone(&counts));
        counts
    }

    /// The same, if the function is known.
    pub fn find(&self, name: &str) -> Option<Arc<Counts>> {
        self.0.read().iter().find(|counts| *counts.name == *name).cloned()
    }

    /// Keeps these, and forgets all others.
    pub fn keep(&self, names: &[&str]) {
        self.0.write().retain(|counts| names.contains(&&*counts.name));
    }

    /// Writes everything as Prometheus text.
    pub fn write(&self, out: &mut String) {
        let all = self.0.read();
        if all.is_empty() {
            return;
        }
        let name = "foreshore_lambda_workers";
        family(out, name, "gauge", "Processes that run Lambda@Edge functions, by what they do.");
        for one in all.iter() {
            for (at, state) in STATES.iter().enumerate() {
                let (label, n) = (label(one), one.workers[at].load(Ordering::Relaxed));
                let _ = writeln!(out, "{name}{{{label},state=\"{state}\"}} {n}");
            }
        }
        let name = "foreshore_lambda_queue";
        family(out, name, "gauge", "Calls that wait for a worker.");
        for one in all.iter() {
            let (label, n) = (label(one), one.waiting.load(Ordering::Relaxed));
            let _ = writeln!(out, "{name}{{{label}}} {n}");
        }
        let name = "foreshore_lambda_invocations_total";
        family(out, name, "counter", "Calls of Lambda@Edge functions.");
        for one in all.iter() {
            let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.invocations.get());
        }
        let name = "foreshore_lambda_errors_total";
        family(out, name, "counter", "Calls that gave nothing usable.");
        for one in all.iter() {
            for (at, kind) in KINDS.iter().enumerate() {
                let (label, n) = (label(one), one.failures[at].get());
                let _ = writeln!(out, "{name}{{{label},kind=\"{kind}\"}} {n}");
            }
        }
        let name = "foreshore_lambda_failed_starts_total";
        family(out, name, "counter", "Workers that ended before they asked for a call.");
        for one in all.iter() {
            let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.failed_starts.get());
        }
        let name = "foreshore_lambda_seconds_total";
        family(out, name, "counter", "Time that calls have taken in their workers.");
        for one in all.iter() {
            let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.run_time().as_secs_f64());
        }
        let name = "foreshore_lambda_memory_bytes";
        family(out, name, "gauge", "The most memory that a worker was seen with.");
        for one in all.iter() {
            let _ = writeln!(out, "{name}{{{}}} {}", label(one), one.memory());
        }
    }
}

// Names of functions have nothing in them that would have to be escaped.
fn label(one: &Counts) -> String {
    format!("function=\"{}\"", one.name)
}

fn family(out: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_written_by_function() {
        let shelf = Shelf::default();
        let counts = shelf.of("resize");
        counts.note(Tally { starting: 1, idle: 2, busy: 3, waiting: 4 });
        counts.count(None);
        counts.count(Some(&InvokeFailure::TimedOut));
        counts.invalid();
        counts.ran(Duration::from_millis(1500), 48 << 20);
        counts.ran(Duration::from_millis(500), 40 << 20);
        let mut text = String::new();
        shelf.write(&mut text);
        for line in [
            "foreshore_lambda_workers{function=\"resize\",state=\"busy\"} 3\n",
            "foreshore_lambda_queue{function=\"resize\"} 4\n",
            "foreshore_lambda_invocations_total{function=\"resize\"} 2\n",
            "foreshore_lambda_errors_total{function=\"resize\",kind=\"timeout\"} 1\n",
            "foreshore_lambda_errors_total{function=\"resize\",kind=\"memory\"} 0\n",
            "foreshore_lambda_errors_total{function=\"resize\",kind=\"validation\"} 1\n",
            "foreshore_lambda_seconds_total{function=\"resize\"} 2\n",
            "foreshore_lambda_memory_bytes{function=\"resize\"} 50331648\n",
        ] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
        assert_eq!(shelf.of("resize").invocations(), 2);
        shelf.keep(&[]);
        assert!(shelf.find("resize").is_none());
    }
}
