//! kill -9 in the middle of invalidations: none that was acknowledged is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::support::edge::try_purge;
use super::support::origin::fresh;
use super::support::{Edge, Origin, eventually};

const ROUNDS: u64 = 25;

#[test]
fn no_acknowledged_invalidation_is_lost() {
    let origin = Origin::start(|_| fresh(b"x"));
    let mut edge = Edge::before(origin.address, "");
    let mut acknowledged: Vec<(String, u64)> = Vec::new();
    for round in 0..ROUNDS {
        let (admin, token) = (edge.admin, edge.token());
        let count = Arc::<AtomicUsize>::default();
        let threads: Vec<_> = (0..3)
            .map(|thread| {
                let (token, count) = (token.clone(), Arc::clone(&count));
                std::thread::spawn(move || {
                    let mut done = Vec::new();
                    for at in 0..10_000 {
                        match try_purge(admin, &token, &format!("/r{round}/t{thread}/{at}")) {
                            Some(one) => {
                                done.push(one);
                                count.fetch_add(1, Ordering::Relaxed);
                            }
                            None => break,
                        }
                    }
                    done
                })
            })
            .collect();
        // Somewhere in the middle, at another place each round, once there is one.
        eventually("some are acknowledged", || count.load(Ordering::Relaxed) > 2);
        std::thread::park_timeout(Duration::from_millis(20 + round * 7 % 60));
        let folder = edge.kill();
        for thread in threads {
            acknowledged.extend(thread.join().unwrap());
        }
        edge = Edge::start_in(Arc::clone(&folder));
    }
    assert!(acknowledged.len() > 50, "only {} were acknowledged", acknowledged.len());
    let head = edge.metric("foreshore_invalidations_head") as u64;
    let mut numbers = std::collections::HashSet::new();
    for (id, number) in &acknowledged {
        assert!(*number <= head, "number {number} is beyond the head {head}");
        assert!(numbers.insert(*number), "number {number} was given twice");
        let (status, said) = edge.admin("GET", &format!("/v1/invalidations/{id}"), "");
        assert!(
            status == 200 && said.contains(&format!("\"number\": {number}")),
            "{id}: {status} {said}"
        );
    }
}
