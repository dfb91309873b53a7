//! Hit ratios of eviction policies over made-up traces: `cargo bench --bench policies`.

#[path = "simulator.rs"]
mod simulator;

use simulator::{footprint, looped, once, policies, run, scanned, zipf};

fn main() {
    let (objects, requests) = (40_000, 600_000);
    let traces = [
        ("zipf 0.6", zipf(objects, 0.6, requests, 1)),
        ("zipf 0.8", zipf(objects, 0.8, requests, 2)),
        ("zipf 1.0", zipf(objects, 1.0, requests, 3)),
        ("zipf 1.2", zipf(objects, 1.2, requests, 4)),
        ("zipf 0.9 + scans", scanned(objects, 0.9, requests, 5)),
        ("zipf 0.9 + one-timers", once(objects, 0.9, requests, 6)),
        ("loop", looped(objects, requests)),
    ];
    print!("{:<24}{:>6}", "hits of requests / octets", "room");
    policies(1).iter().for_each(|(name, _)| print!("{name:>16}"));
    println!();
    for (name, trace) in &traces {
        let all = footprint(trace);
        for percent in [1, 10] {
            print!("{name:<24}{percent:>5}%");
            for (_, mut policy) in policies(all * percent / 100) {
                let (requests, octets) = run(&mut *policy, trace);
                print!("{:>16}", format!("{:.1} / {:.1}", requests * 100.0, octets * 100.0));
            }
            println!();
        }
    }
}
