//! What hits cost while much else happens: `cargo bench --bench pressure`.
//!
//! One thread answers hits out of a hot set and times each; beside it a hundred thousand responses
//! are evicted, wildcards land, and a hundred thousand invalidations are written down over a
//! million responses.

#[path = "stage.rs"]
mod stage;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use foreshore::cache::invalidations::{Matcher, Severity};
use foreshore::invalidation::log::{InvalidationLog, InvalidationRecord};
use foreshore::invalidation::service::Durability;
use stage::{OBJECTS, Stage, put};

const HITS: usize = 3_000_000;

fn main() {
    println!(
        "{:<58}{:>9}{:>9}{:>9}{:>9}{:>9}",
        "hit steps, in microseconds", "mean", "p50", "p99", "p99.99", "worst"
    );
    under_eviction();
    under_invalidations();
}

// Two hundred thousand responses have room; the hot ones are a twentieth of them.
fn under_eviction() {
    let stage = Stage::new(OBJECTS, "300MiB");
    for at in 0..250_000 {
        put(&stage.edge, &format!("E\0/cold/{at}"), 1024);
        if at % 20_000 == 0 {
            // Hot is what is asked for.
            hits(&stage, OBJECTS);
        }
    }
    tell("nothing else happens", &hits(&stage, HITS));
    let before = stage.edge.store.stats().evictions;
    let beside = |name: &str, work: &(dyn Fn() + Sync)| {
        let done = AtomicBool::new(false);
        let mut all = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                work();
                done.store(true, Ordering::Relaxed);
            });
            while !done.load(Ordering::Relaxed) {
                all.extend(hits(&stage, 1000));
            }
        });
        tell(name, &all);
    };
    beside("100,000 responses come and as many are evicted", &|| {
        (0..100_000).for_each(|at| put(&stage.edge, &format!("E\0/new/{at}"), 1024));
    });
    println!("  evicted: {}", stage.edge.store.stats().evictions - before);
    beside("the same, and a wildcard lands every millisecond", &|| {
        let mut last = Instant::now();
        for at in 0..100_000 {
            put(&stage.edge, &format!("E\0/newer/{at}"), 1024);
            if last.elapsed() > Duration::from_millis(1) {
                last = Instant::now();
                apply(&stage, &[Matcher::Prefix("/cold/".into())]);
            }
        }
    });
}

fn under_invalidations() {
    let stage = Stage::new(OBJECTS, "4GiB");
    (0..1_000_000).for_each(|at| put(&stage.edge, &format!("E\0/cold/{at}"), 64));
    tell(&format!("among {} responses", stage.edge.store.stats().objects), &hits(&stage, HITS));
    let folder = tempfile::tempdir().unwrap();
    let (log, records) = InvalidationLog::open(folder.path()).unwrap();
    let invalidation = &stage.edge.invalidation;
    invalidation.keep_log(Arc::new(log), &records);
    let one = |at: usize| match at % 3 {
        0 => Matcher::Path(format!("/cold/{at}")),
        1 => Matcher::Prefix(format!("/cold/{at}/")),
        _ => Matcher::Tag(format!("tag{at}")),
    };
    let (mut written, mut synced) = (Vec::new(), Vec::new());
    for at in 0..100_000 {
        let record = InvalidationRecord::new(
            format!("I{at:013}"),
            "E".into(),
            vec![one(at)],
            Severity::Hard,
            0,
        );
        let began = Instant::now();
        // Every hundredth with its sync, so that this ends.
        if at % 100 == 0 {
            invalidation.accept(record, Durability::Synced).unwrap();
            synced.push(began.elapsed());
        } else {
            invalidation.accept(record, Durability::InForce).unwrap();
            written.push(began.elapsed());
        }
    }
    tell("  an invalidation is accepted, without its sync", &written);
    tell("  and with it", &synced);
    tell("first hits after 100,000 invalidations", &hits(&stage, OBJECTS));
    tell("hits after 100,000 invalidations", &hits(&stage, HITS));
    println!(
        "  the log: {} octets",
        std::fs::metadata(folder.path().join("invalidations.log")).unwrap().len()
    );
    let last = invalidation.log().map_or(0, |log| log.last().0);
    let began = Instant::now();
    let (_, records) = InvalidationLog::open(folder.path()).unwrap();
    println!(
        "  read again at a start: {} records, to {}, in {:?}",
        records.len(),
        last,
        began.elapsed()
    );
}

fn apply(stage: &Stage, matchers: &[Matcher]) {
    let number = stage.edge.invalidations.next();
    stage.edge.invalidations.apply("E", matchers, Severity::Hard, number);
}

// Times so many hits, one by one.
fn hits(stage: &Stage, count: usize) -> Vec<Duration> {
    static AT: AtomicUsize = AtomicUsize::new(0);
    let (mut key, mut out) = (Vec::new(), Vec::new());
    let one = |_| {
        let at = AT.fetch_add(7919, Ordering::Relaxed);
        let began = Instant::now();
        assert!(stage.hit(at, false, &mut key, &mut out) > 0, "it is a hit");
        began.elapsed()
    };
    (0..count).map(one).collect()
}

fn tell(name: &str, times: &[Duration]) {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let micros =
        |at: f64| sorted[((sorted.len() - 1) as f64 * at) as usize].as_nanos() as f64 / 1000.0;
    let mean = sorted.iter().sum::<Duration>().as_nanos() as f64 / 1000.0 / sorted.len() as f64;
    println!(
        "{name:<58}{mean:>9.2}{:>9.2}{:>9.2}{:>9.1}{:>9.1}",
        micros(0.5),
        micros(0.99),
        micros(0.9999),
        micros(1.0)
    );
}
