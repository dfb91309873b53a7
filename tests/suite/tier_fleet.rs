//! Two edges of a fleet that share a tier: what one fetched the other takes from there, whatever
//! was purged is taken by neither, and a tier in trouble costs a viewer its deadline and no more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::support::edge::{Edge, plain};
use super::support::eventually;
use super::support::origin::{Asked, Origin, Say, after, answer};
use super::support::viewer::Seen;
use super::tier::Scripted;

/// Longer than the deadline for the first sign, and than a busy machine needs for everything else.
const BEARABLE: Duration = Duration::from_secs(5);
pub(super) const WRITTEN: &str = "foreshore_tier_written_total";

fn edge(origin: SocketAddr, tier: u16, fleet: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let more = format!(
        "[fleet]\nname = \"f\"\nlease = \"3s\"\n{fleet}\n[tier]\nkind = \"memcached\"\n\
         urls = [\"memcached://127.0.0.1:{tier}\"]\nkey = {{ file = \"token\" }}\n\
         timeouts = {{ first = \"1500ms\", follow = \"10s\" }}\n"
    );
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    // Some origins hold back until something else is done.
    let text = plain(origin, &more).replace("response = \"3s\"", "response = \"30s\"");
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(folder)
}

pub(super) fn two_edges(origin: SocketAddr, tier: u16) -> (Edge, Edge) {
    let here = "member = \"one\"\nsequencer = \"here\"\n[[trusted_edge]]\nid = \"two\"\n\
                token = { file = \"token\" }";
    let one = edge(origin, tier, here);
    let there = format!(
        "member = \"two\"\nsequencer = \"parent\"\n[fleet.parent]\nadmin = \"http://{}\"\n\
         edge_id = \"two\"\ntoken = {{ file = \"token\" }}",
        one.admin
    );
    let two = edge(origin, tier, &there);
    (one, two)
}

fn lines(seen: &Seen, name: &str) -> Vec<String> {
    let lines = seen.head.lines().filter_map(|line| line.split_once(':'));
    let lines = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
    lines.map(|(_, value)| value.trim().to_string()).collect()
}

pub(super) fn says(seen: &Seen, words: &str) -> bool {
    lines(seen, "cache-status").iter().any(|line| line.contains(words))
}

/// Long where the path says so, and slow where it does.
pub(super) fn numbered(asked: &Asked) -> Vec<Say> {
    let len = if asked.target.starts_with("/large") { 300_000 } else { 10 };
    let takes = if asked.target.starts_with("/slow") { 1000 } else { 0 };
    let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
    after(takes, answer(200, "Cache-Control: max-age=600\nETag: \"a\"", &body))
}

pub(super) fn asked_for(origin: &Origin, path: &str) -> usize {
    origin.seen().iter().filter(|asked| asked.target == path).count()
}

/// Has the first edge fetch new paths until the second one takes one of them from the tier; gives
/// back that path and what the second edge said.
pub(super) fn shared(one: &Edge, two: &Edge, kind: &str) -> (String, Seen) {
    let (mut number, mut taken) = (0, None);
    eventually("the second edge takes what the first one fetched", || {
        let path = format!("/{kind}/{number}");
        number += 1;
        let before = one.metric(WRITTEN);
        assert_eq!(one.get(&path).status, 200);
        eventually("it is written to the tier", || one.metric(WRITTEN) > before);
        let seen = two.get(&path);
        assert_eq!(seen.status, 200);
        let is_taken = says(&seen, "Foreshore-tier; hit");
        taken = is_taken.then_some((path, seen));
        is_taken
    });
    taken.unwrap()
}

#[test]
fn what_one_edge_fetched_the_other_takes_from_the_tier() {
    let origin = Origin::start(numbered);
    let (_node, port) = Scripted::start();
    let (one, two) = two_edges(origin.address, port);
    for (kind, len) in [("small", 10), ("large", 300_000)] {
        let (path, seen) = shared(&one, &two, kind);
        assert_eq!(asked_for(&origin, &path), 1, "{path}");
        assert!(seen.whole && seen.body == one.get(&path).body && seen.body.len() == len);
        // It is kept here, and what the tier did is not told again.
        let again = two.get(&path);
        assert_eq!(again.cache(), "Hit");
        assert!(!says(&again, "Foreshore-tier"), "{}", again.head);
        assert_eq!(asked_for(&origin, &path), 1, "{path}");
    }
    assert!(two.metric("foreshore_tier_used_total") >= 2.0);
}

#[test]
fn edges_that_want_the_same_ask_the_origin_once() {
    let origin = Origin::start(numbered);
    let (_node, port) = Scripted::start();
    let (one, two) = two_edges(origin.address, port);
    shared(&one, &two, "small");
    std::thread::scope(|scope| {
        let first = scope.spawn(|| one.get("/slow/a"));
        eventually("the origin is asked", || asked_for(&origin, "/slow/a") == 1);
        let seen = two.get("/slow/a");
        assert!(says(&seen, "Foreshore-tier; hit"), "{}", seen.head);
        assert_eq!(seen.body, first.join().unwrap().body);
    });
    assert_eq!(asked_for(&origin, "/slow/a"), 1);
}

#[test]
fn what_was_purged_is_taken_by_no_edge() {
    let origin = Origin::start(numbered);
    let (node, port) = Scripted::start();
    let (one, two) = two_edges(origin.address, port);
    let (path, _) = shared(&one, &two, "small");
    // The entry stays where it is: its stamp tells that it is too old.
    let before = node.items.lock().unwrap().len();
    one.purge(&[&path]);
    assert_eq!(node.items.lock().unwrap().len(), before);
    let count = asked_for(&origin, &path);
    let seen = two.get(&path);
    assert!(says(&seen, "invalidated at") || says(&seen, "outdated at"), "{}", seen.head);
    assert_eq!(asked_for(&origin, &path), count + 1);
}

#[test]
fn a_tier_that_says_nothing_is_stepped_over() {
    let origin = Origin::start(numbered);
    let (node, port) = Scripted::start();
    let (one, two) = two_edges(origin.address, port);
    shared(&one, &two, "small");
    node.is_silent.store(true, Ordering::Relaxed);
    let mut said = Vec::new();
    for number in 0..6 {
        let began = Instant::now();
        let seen = two.get(&format!("/silent/{number}"));
        assert_eq!(seen.status, 200);
        assert!(began.elapsed() < BEARABLE, "{:?}", began.elapsed());
        said.extend(lines(&seen, "cache-status"));
    }
    let timed_out = format!("timed-out at 127.0.0.1:{port}");
    assert!(said.iter().any(|line| line.contains(&timed_out)), "{said:?}");
    assert!(said.iter().any(|line| line.contains("paused")), "{said:?}");
    let (_, status) = two.admin("GET", "/v1/status", "");
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    assert_ne!(status["tier"]["nodes"][0]["breaker"], "closed", "{status}");
    assert!(status["tier"]["nodes"][0]["trouble"].is_string(), "{status}");
}
