//! The eviction policy against others, over made-up traces: what `cargo bench --bench policies`
//! shows must stay so.

#[path = "../bench/simulator.rs"]
mod simulator;

use simulator::{Ordered, Ours, Policy, footprint, once, run, scanned, zipf};

#[test]
fn what_is_used_stays_better_than_with_lru() {
    let (objects, requests) = (8_000, 120_000);
    for (name, trace) in [
        ("zipf", zipf(objects, 0.8, requests, 1)),
        ("scans", scanned(objects, 0.9, requests, 2)),
        ("one-timers", once(objects, 0.9, requests, 3)),
    ] {
        let room = footprint(&trace) / 20;
        let share = |policy: &mut dyn Policy| run(policy, &trace).0;
        let (ours, lru) = (share(&mut Ours::new(room)), share(&mut Ordered::lru(room)));
        assert!(ours > lru + 0.01, "{name}: {ours:.3} against LRU's {lru:.3}");
    }
}
