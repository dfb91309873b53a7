//! What a shared tier is for beside lazy loading: sessions, writes through it, parents behind it.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use super::support::edge::Edge;
use super::support::eventually;
use super::support::fleet::Fleet;
use super::support::origin::{Origin, answer, fresh};
use super::support::viewer::{Seen, request};
use super::tier::Scripted;
use super::tier_access::Access;
use super::tier_engines::{Settings, two_edges_on};
use super::tier_fleet::{WRITTEN, asked_for, says, shared};

fn two_that_share(origin: &Origin, port: u16, more: &Settings<'_>) -> (Edge, Edge) {
    let tier = Access::Open.tier("memcached", &[port]);
    let (one, two) = two_edges_on(origin.address, &tier, more);
    shared(&one, &two, "small");
    (one, two)
}

/// Does something that leads to so many entries of an edge, and waits for them.
fn writes(edge: &Edge, count: u64, does: impl FnOnce()) {
    let before = edge.metric(WRITTEN) as u64;
    does();
    let written = || edge.metric(WRITTEN) as u64 - before;
    eventually("it is written to the tier", || written() >= count);
    assert_eq!(written(), count);
}

fn of_session(edge: &Edge, path: &str, session: &str) -> Seen {
    edge.get_with(path, &[&format!("Cookie: session={session}")])
}

// What is one viewer's alone enters no tier; what the key tells apart is shared by all edges, each
// session for itself.
#[test]
fn sessions_are_shared_where_the_key_holds_them() {
    let origin = Origin::start(|asked| {
        let whose = asked.field("cookie").unwrap_or_default();
        let kept = if asked.target.starts_with("/private") { "private, " } else { "" };
        let fields = format!("Cache-Control: {kept}max-age=600\nETag: \"a\"");
        answer(200, &fields, whose.as_bytes())
    });
    let (_node, port) = Scripted::start();
    let more = Settings {
        edge: "[cache_policy.sessions]\nkey = { cookies = [\"session\"] }\n",
        behavior: "cache_policy = \"sessions\"\n",
        ..Settings::default()
    };
    let (one, two) = two_that_share(&origin, port, &more);
    writes(&one, 1, || {
        assert_eq!(of_session(&one, "/private", "a").text(), "session=a");
        assert_eq!(of_session(&one, "/shop", "a").text(), "session=a");
    });
    let seen = of_session(&two, "/private", "a");
    assert!(says(&seen, "Foreshore-tier; fwd=uri-miss"), "{}", seen.head);
    assert_eq!(asked_for(&origin, "/private"), 2);
    let seen = of_session(&two, "/shop", "a");
    assert!(says(&seen, "Foreshore-tier; hit"), "{}", seen.head);
    assert_eq!((seen.text(), asked_for(&origin, "/shop")), ("session=a".into(), 1));
    let seen = of_session(&two, "/shop", "b");
    assert!(says(&seen, "Foreshore-tier; fwd=uri-miss"), "{}", seen.head);
    assert_eq!(seen.text(), "session=b");
}

// The entry of before lies there still when the write is answered, and nobody takes it.
#[test]
fn a_write_through_one_edge_makes_the_entry_old_for_all() {
    let now = AtomicU64::new(1);
    let origin = Origin::start(move |asked| {
        if asked.method == "PUT" {
            return answer(200, "", (now.fetch_add(1, SeqCst) + 1).to_string().as_bytes());
        }
        let fields = "Cache-Control: max-age=600\nETag: \"a\"";
        answer(200, fields, now.load(SeqCst).to_string().as_bytes())
    });
    let (_node, port) = Scripted::start();
    let more = Settings {
        behavior: "methods = \"all\"\nwrite_through = { wait = \"5s\" }\n",
        ..Settings::default()
    };
    let (one, two) = two_that_share(&origin, port, &more);
    for round in 0..5 {
        let (path, _) = shared(&one, &two, &format!("w{round}"));
        let mut viewer = [&one, &two][round % 2].viewer();
        viewer.send(&request("PUT", &path, &["Content-Length: 0"]));
        let written: u64 = viewer.read("PUT").unwrap().text().parse().unwrap();
        for edge in [&one, &two] {
            let read: u64 = edge.get(&path).text().parse().unwrap();
            assert!(read >= written, "round {round}: {read} after {written} was answered");
        }
    }
}

// The tier first, then the parent, then the origin; what is in trouble costs its deadline.
#[test]
fn a_tier_is_asked_before_the_parent_and_stepped_over_for_it() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let (node, port) = Scripted::start();
    let tier = format!(
        "[tier]\n{}\ntimeouts = {{ first = \"500ms\" }}\n",
        Access::Open.tier("memcached", &[port])
    );
    let mut fleet = Fleet::start_with(origin.address, ["freshness"; 3], tier.leak());
    let [one, two, three] = &fleet.edges[..] else { panic!("three edges") };
    let (path, _) = shared(one.edge(), two.edge(), "a");
    assert_eq!(asked_for(&origin, &path), 1);
    node.is_silent.store(true, SeqCst);
    let seen = three.edge().get(&path);
    assert!(says(&seen, "Foreshore-tier; fwd=miss"), "{}", seen.head);
    assert_eq!((seen.status, seen.text()), (200, path.clone()));
    assert_eq!(asked_for(&origin, &path), 1, "the parent had it");
    fleet.parent.kill();
    for (at, edge) in fleet.edges.iter().enumerate() {
        let path = format!("/alone/{at}");
        assert_eq!(edge.edge().get(&path).text(), path);
        assert_eq!(asked_for(&origin, &path), 1);
    }
}
