//! The memory tier: its account and its index.

use std::sync::Arc;

use foreshore::message::key::InvalidationNumber;
use foreshore::message::stored::Stored;
use foreshore::semantics::time::Timestamp;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use crate::memory::Memory;
use crate::sync::Ordering;

/// Version `n` of a response.
pub fn stored(key: &str, n: u64, len: usize) -> Arc<Stored> {
    Arc::new(
        Stored::example()
            .with_key(format!("E\0/{key}\0").as_bytes())
            .with_birth(Timestamp(n))
            .with_asked_at(InvalidationNumber(n))
            .with_content(&vec![n as u8; len]),
    )
}

fn put(store: &Memory, key: &str, n: u64, len: usize) -> Option<Arc<Stored>> {
    let stored = stored(key, n, len);
    let weight = stored.weight(len as u64);
    store.reserve(weight).ok()?;
    stored.live.accounted.store(weight, Ordering::Relaxed);
    store.insert(&stored).then_some(stored)
}

const LIMIT: u64 = 6_000;

/// Whatever is put in, replaced, evicted and taken out at once: what is accounted for is what is
/// there, and never too much.
pub fn the_account_is_true() {
    let store = Arc::new(Memory::new(LIMIT, 4));
    let threads: Vec<_> = (0..3u64)
        .map(|thread| {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                for at in 0..4 {
                    let key = format!("k{}", thread_rng().gen_range(0..3));
                    let here = put(&store, &key, thread * 10 + at, thread_rng().gen_range(0..1500));
                    assert!(store.stats().bytes <= LIMIT);
                    match (thread_rng().gen_range(0..4), here) {
                        (0, Some(here)) => drop(store.remove(&here)),
                        (1, Some(here)) => drop(store.grow(&here, 300)),
                        (2, Some(here)) => {
                            store.settle_to(&here, here.live.accounted.load(Ordering::Relaxed) / 2)
                        }
                        _ => {}
                    }
                    for found in store.find(format!("E\0/{key}\0").as_bytes()) {
                        assert_eq!(found.key.url(), format!("/{key}").as_bytes());
                        found.flags.used();
                    }
                }
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let (mut bytes, mut objects) = (0, 0);
    store.visit(|stored| {
        bytes += stored.live.accounted.load(Ordering::Relaxed);
        objects += 1;
    });
    let stats = store.stats();
    assert_eq!((stats.bytes, stats.objects), (bytes, objects));
    assert!(bytes <= LIMIT);
}

/// A thread that took something out never finds it again, nor anything older than what was put in
/// last.
pub fn what_was_taken_out_is_gone() {
    let store = Arc::new(Memory::new(1 << 20, 4));
    let shared = put(&store, "a", 5, 10).unwrap();
    let threads = [0, 1].map(|thread| {
        let (store, shared) = (Arc::clone(&store), Arc::clone(&shared));
        thread::spawn(move || {
            if thread == 0 {
                // A slow fetch brings what was asked for before.
                assert!(
                    put(&store, "a", 3, 10).is_none()
                        || store.find(b"E\0/a\0").iter().all(|found| !Arc::ptr_eq(found, &shared))
                );
                return;
            }
            let newer = put(&store, "a", 7, 10);
            let found = store.find(b"E\0/a\0");
            assert!(newer.is_some() && found.len() == 1 && found[0].asked_at.0 == 7);
            assert!(!store.remove(&shared), "it was replaced");
        })
    });
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    let found = store.find(b"E\0/a\0");
    assert_eq!(found.iter().map(|found| found.asked_at.0).collect::<Vec<_>>(), [7]);
    assert!(store.remove(&found[0]) && !store.remove(&found[0]));
    assert!(store.find(b"E\0/a\0").is_empty() && store.stats().bytes == 0);
}
