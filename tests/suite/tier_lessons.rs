//! What caches that share a store have suffered, each as a scene: what was asked for before a purge
//! and came after it, what is soft, what a node still has that was away, what is never let go of.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use foreshore::distribution::tier::{Engine, MemcachedMode};
use foreshore::tier::Got;
use foreshore::tier::miss::Miss;

use super::support::edge::Edge;
use super::support::origin::{Origin, answer};
use super::support::{eventually, free_port, tool};
use super::tier::{
    NOW, REDIS, SINGLE, STAMP, Scripted, found, on_a_core, plain_redis, put, response, settings,
    start,
};
use super::tier_fleet::{WRITTEN, asked_for, says, shared, two_edges};

/// An origin whose content is a version, and which can hold back an answer that it has made.
struct Held {
    origin: Origin,
    version: Arc<AtomicU64>,
    holds: Arc<AtomicBool>,
}

impl Held {
    fn start() -> Self {
        let (version, holds) = (Arc::new(AtomicU64::new(1)), Arc::new(AtomicBool::new(false)));
        let (told, held) = (Arc::clone(&version), Arc::clone(&holds));
        let origin = Origin::start(move |asked| {
            let tag = format!("\"{}\"", told.load(SeqCst));
            let fields = format!("Cache-Control: max-age=600\nETag: {tag}");
            while held.load(SeqCst) {
                std::thread::park_timeout(Duration::from_millis(5));
            }
            match asked.field("if-none-match") {
                Some(known) if known == tag => answer(304, &fields, b""),
                _ => answer(200, &fields, tag.trim_matches('"').as_bytes()),
            }
        });
        Self { origin, version, holds }
    }

    /// Two edges that have a lease and a tier that they share.
    fn edges(&self, port: u16) -> (Edge, Edge) {
        let (one, two) = two_edges(self.origin.address, port);
        shared(&one, &two, "small");
        (one, two)
    }

    fn asked_for(&self, path: &str) -> usize {
        asked_for(&self.origin, path)
    }

    /// Has an edge ask while the origin holds back, does something once it was asked, and lets it
    /// go on.
    fn meanwhile(&self, edge: &Edge, path: &str, does: impl FnOnce()) {
        let before = self.asked_for(path);
        self.holds.store(true, SeqCst);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| edge.get(path));
            eventually("the origin is asked", || self.asked_for(path) > before);
            does();
            self.holds.store(false, SeqCst);
            assert_eq!(asking.join().unwrap().status, 200);
        });
    }
}

/// Has an edge fetch something, and waits until it lies in the tier.
fn lies_there(edge: &Edge, path: &str) {
    let before = edge.metric(WRITTEN);
    assert_eq!(edge.get(path).status, 200);
    eventually("it is written to the tier", || edge.metric(WRITTEN) > before);
}

fn purge_softly(edge: &Edge, path: &str) {
    let (status, said) =
        edge.admin("POST", "/v1/invalidations", &format!(r#"{{"paths":[{path:?}],"soft":true}}"#));
    assert!(status == 201 && said.contains("Completed"), "{said}");
}

// Neither the edge that fetched it takes it for new, nor the one that finds it in the tier.
#[test]
fn what_was_asked_for_before_a_purge_is_taken_by_no_edge() {
    let held = Held::start();
    let (_node, port) = Scripted::start();
    let (one, two) = held.edges(port);
    let before = one.metric(WRITTEN);
    held.meanwhile(&one, "/late", || {
        held.version.store(2, SeqCst);
        assert_eq!(one.purge(&["/late"])["status"], "Completed");
    });
    eventually("the old one is written to the tier", || one.metric(WRITTEN) > before);
    let seen = two.get("/late");
    assert!(says(&seen, "invalidated at") || says(&seen, "outdated at"), "{}", seen.head);
    assert_eq!((seen.text(), one.get("/late").text()), ("2".into(), "2".into()));
}

// What a soft invalidation covers is not fresh for having lain in the tier.
#[test]
fn what_is_soft_is_not_fresh_to_another_edge() {
    let held = Held::start();
    let (_node, port) = Scripted::start();
    let (one, two) = held.edges(port);
    lies_there(&one, "/soft");
    purge_softly(&one, "/soft");
    held.version.store(2, SeqCst);
    let before = two.metric(WRITTEN);
    let seen = two.get("/soft");
    assert!(says(&seen, "invalidated at") || says(&seen, "outdated at"), "{}", seen.head);
    assert_eq!(seen.text(), "2");
    eventually("the new one is written to the tier", || two.metric(WRITTEN) > before);
    let seen = one.get("/soft");
    assert!(says(&seen, "Foreshore-tier; hit"), "{}", seen.head);
    assert_eq!((seen.text(), held.asked_for("/soft")), ("2".into(), 2));
}

// A 304 confirms what was known when it was asked for.
#[test]
fn a_confirmation_from_before_a_purge_revives_nothing() {
    let held = Held::start();
    let (_node, port) = Scripted::start();
    let (one, two) = held.edges(port);
    lies_there(&one, "/known");
    purge_softly(&one, "/known");
    held.meanwhile(&one, "/known", || {
        held.version.store(2, SeqCst);
        assert_eq!(one.purge(&["/known"])["status"], "Completed");
    });
    assert_eq!(two.get("/known").text(), "2");
    assert_eq!(one.get("/known").text(), "2");
}

// All edges have it, and all of it is to be validated: one of them asks.
#[test]
fn what_is_soft_is_validated_once_for_all_edges() {
    let held = Held::start();
    let (_node, port) = Scripted::start();
    let (one, two) = held.edges(port);
    lies_there(&one, "/herd");
    assert_eq!(two.get("/herd").status, 200);
    assert_eq!(held.asked_for("/herd"), 1);
    purge_softly(&one, "/herd");
    std::thread::scope(|scope| {
        let before = two.metric("foreshore_tier_misses_total");
        let mut other = None;
        held.meanwhile(&one, "/herd", || {
            other = Some(scope.spawn(|| two.get("/herd")));
            // It looks again and again.
            eventually("the other edge waits for it", || {
                two.metric("foreshore_tier_misses_total") > before + 1.0
            });
        });
        let seen = other.unwrap().join().unwrap();
        assert!(says(&seen, "Foreshore-tier; hit"), "{}", seen.head);
    });
    assert_eq!(held.asked_for("/herd"), 2, "one fetch, one validation");
}

// It has what was purged while it was away, and is asked again: each entry is judged for itself.
#[test]
fn a_node_that_comes_back_is_not_believed_for_what_was_purged() {
    let held = Held::start();
    let (node, port) = Scripted::start();
    let (one, two) = held.edges(port);
    lies_there(&one, "/away");
    node.is_silent.store(true, SeqCst);
    for number in 0..4 {
        two.get(&format!("/silent/{number}"));
    }
    held.version.store(2, SeqCst);
    assert_eq!(one.purge(&["/away"])["status"], "Completed");
    node.is_silent.store(false, SeqCst);
    let mut number = 0;
    eventually("it is asked again", || {
        number += 1;
        says(&two.get(&format!("/again/{number}")), "Foreshore-tier; fwd=uri-miss")
    });
    let seen = two.get("/away");
    assert!(says(&seen, "invalidated at") || says(&seen, "outdated at"), "{}", seen.head);
    assert_eq!((seen.text(), one.get("/away").text()), ("2".into(), "2".into()));
}

// Nothing fills an engine for ever, and whatever happens to connections, a node has two.
#[test]
fn what_an_edge_leaves_at_an_engine_ends() {
    if !tool::have(&[REDIS]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let server = plain_redis(folder.path(), free_port());
    on_a_core(async {
        let tier = start(&settings(SINGLE, server.port));
        let (small, large) = (response("/small", 100), response("/large", 100_000));
        put(&tier, &small).await;
        put(&tier, &large).await;
        assert_eq!(tier.lock(&small.key, 5, tier.total_deadline()).await, Ok(true));
        // A meta; a meta and two pieces; a lock.
        assert!(server.tells("INFO keyspace", "db0:keys=5,expires=5,"));
        let outline = found(&tier, &large.key).await.unwrap().meta.outline;
        for _ in 0..20 {
            assert!(server.says("CLIENT KILL TYPE normal").starts_with(':'));
            let got = tier.get(&small.key, tier.total_deadline()).await;
            assert!(matches!(got, Got::Found(_)), "{got:?}");
            assert!(tier.piece(&large.key, &outline, 1, tier.total_deadline()).await.is_ok());
        }
        // The third is the one that asks.
        eventually("two are left", || server.tells("INFO clients", "connected_clients:3\r"));
    });
}

#[test]
fn a_value_that_a_node_does_not_take_is_counted() {
    // What a real memcached says; one that is told to take so little crashes (1.6.18).
    let (node, port) = Scripted::start();
    node.largest.store(32 << 10, SeqCst);
    refuses_a_large_value(port);
    // One that says so beforehand is not even sent it.
    let (node, port) = Scripted::start();
    node.item_size.store(32 << 10, SeqCst);
    refuses_a_large_value(port);
    assert_eq!(node.items.lock().unwrap().len(), 1, "the small one");
}

fn refuses_a_large_value(port: u16) {
    on_a_core(async {
        let tier = start(&settings(Engine::Memcached(MemcachedMode::Fixed), port));
        let (small, large) = (response("/small", 100), response("/large", 100_000));
        put(&tier, &small).await;
        let refused = || {
            let mut all = tier.counts.failed_writes.read();
            all.any(|(miss, count)| miss == Miss::Oversized && count == 1)
        };
        tier.put(&large, STAMP, NOW).unwrap();
        let until = Instant::now() + Duration::from_secs(15);
        while !refused() {
            assert!(Instant::now() < until, "{:?}", tier.counts);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(found(&tier, &large.key).await.err(), Some(Miss::Absent));
        let again = found(&tier, &small.key).await;
        assert!(again.is_ok(), "{again:?}");
    });
}

// The table of src/DECISIONS.md: as many lessons as there are, each test by its name.
#[test]
fn each_lesson_has_a_test_or_a_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let decisions = std::fs::read_to_string(root.join("src/DECISIONS.md")).unwrap();
    let mut entries = decisions.split("\n### ");
    let entry = entries.find(|entry| entry.starts_with("What shared caches suffered")).unwrap();
    let rows: Vec<&str> = entry.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    assert_eq!(rows.len(), 20);
    let mut code = String::new();
    for folder in ["tests/suite", "src/tier", "src/origin"] {
        for file in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") {
                code += &std::fs::read_to_string(path).unwrap();
            }
        }
    }
    for row in rows {
        let names: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty(), "{row}");
        for name in names {
            assert!(code.contains(&format!("fn {name}()")), "{name} is no test");
        }
    }
}
