//! New processes take the places of members of a fleet, of its sequencer, and of an edge that has
//! parents, under viewers and purges; and ones that fail halfway.

use std::sync::atomic::Ordering;

use serde_json::Value;

use super::fleet::{FRESHNESS, Oracle, Watch};
use super::parent::{edge_under, parent_in, versions};
use super::support::fleet::{Fleet, Member};
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin, eventually, free_port};
use super::tier::Scripted;
use super::tier_fleet::{numbered, shared, two_edges};
use super::upgrade::{HALFWAY, impostor, purge_and_look, upgrade, wait_for_end_of_the_one_before};

fn epoch(member: &Member) -> Value {
    let (_, told) = member.door.call("GET", "/v1/fleet", "").expect("it answers");
    told["epoch"].clone()
}

#[test]
fn slow_members_and_their_sequencer_are_upgraded_under_purges() {
    let oracle = Oracle::new();
    let fleet = Fleet::start(oracle.versions.origin.address, FRESHNESS);
    let watch = Watch::start(&oracle, &fleet);
    watch.go_on(10);
    let first = epoch(&fleet.parent);
    let mut all = Vec::new();
    // Some twice: one that has taken over is taken over from.
    for member in fleet.members().chain([&fleet.edges[0], &fleet.parent]) {
        all.push(upgrade(member.edge()));
        watch.go_on(2);
    }
    watch.end();
    fleet.all_have_leases();
    // The log ended in order each time.
    for member in fleet.members() {
        assert_eq!(epoch(member), first, "{}", member.door.name);
    }
    eventually("all are told", || comes_everywhere(&oracle, &fleet, &fleet.edges[0]));
}

// Whether a purge by a member was said to be everywhere, and then is.
fn comes_everywhere(oracle: &Oracle, fleet: &Fleet, by: &Member) -> bool {
    let (version, told) = oracle.purged(&by.door, 10);
    let is_everywhere = told.is_completed() && told.members.len() == 4;
    if is_everywhere {
        fleet.edges.iter().for_each(|edge| oracle.check(&edge.door, version));
    }
    is_everywhere
}

// Asks for an upgrade to a program that goes so far and is gone, which fails.
fn fail_after(edge: &Edge, last: &str) {
    let script = HALFWAY.replace("LAST", last).replace("THEN", "end");
    let body = serde_json::json!({ "binary": impostor(edge.path(), "halfway", &script) });
    let (status, said) = edge.admin("POST", "/v1/upgrade", &body.to_string());
    assert!(status == 409 && said.contains("ended before it served"), "{last}: {status} {said}");
}

#[test]
fn slow_a_member_and_a_sequencer_go_on_where_their_upgrade_fails() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let oracle = Oracle::new();
    let fleet = Fleet::start(oracle.versions.origin.address, FRESHNESS);
    let first = epoch(&fleet.parent);
    for member in [&fleet.edges[0], &fleet.parent] {
        for last in ["Sockets", "Yours", "Go"] {
            fail_after(member.edge(), last);
            fleet.all_have_leases();
            assert_eq!(epoch(member), first, "{}, {last}", member.door.name);
            eventually("a purge comes everywhere", || comes_everywhere(&oracle, &fleet, member));
            eventually("the disk store is loaded", || {
                member.edge().metric("foreshore_disk_loaded") == 1.0
            });
        }
    }
}

// One of them is the sequencer too.
#[test]
fn edges_that_share_a_tier_go_on_with_it() {
    let origin = Origin::start(numbered);
    let (_node, port) = Scripted::start();
    let (one, two) = two_edges(origin.address, port);
    shared(&one, &two, "small");
    let _all = [&one, &two].map(upgrade);
    for edge in [&one, &two] {
        wait_for_end_of_the_one_before(edge);
    }
    shared(&one, &two, "again");
}

// Asks an edge for new paths until its parent has one of them afterwards.
fn goes_by_its_parent(edge: &Edge, parent: &Edge, origin: &Origin, kind: &str) {
    let mut number = 0;
    eventually("the parent is asked, and keeps what it gives", || {
        number += 1;
        let path = format!("/{kind}/{number}");
        assert_eq!(edge.get(&path).status, 200);
        let before = origin.count();
        parent.get(&path).status == 200 && origin.count() == before
    });
}

#[test]
fn the_parents_of_an_edge_believe_the_new_process() {
    let (origin, version) = versions();
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let edge = edge_under(folder.path(), origin.address, &[ports]);
    let is_completed = |path: &str| edge.purge(&[path])["status"] == "Completed";
    eventually("the parent takes what it is told", || is_completed("/early"));
    goes_by_its_parent(&edge, &parent, &origin, "first");
    if tool::have(&[Tool::Program("python3")]) {
        for last in ["Yours", "Go"] {
            fail_after(&edge, last);
            assert!(!edge.path().join("data/log-sealed").exists());
            eventually("the parent takes what it is told", || is_completed("/early"));
            goes_by_its_parent(&edge, &parent, &origin, last);
        }
    }
    let mut all = Vec::new();
    let confirmed = || edge.log().matches("every parent confirmed the invalidation log").count();
    // An edge gives its parents a second, which a busy machine may let go by.
    let is_believed = (0..5).any(|round| {
        let path = format!("/believed/{round}");
        assert_eq!(parent.get(&path).text(), "1");
        let before = confirmed();
        all.push(upgrade(&edge));
        wait_for_end_of_the_one_before(&edge);
        if confirmed() == before {
            return false;
        }
        // From the parent, whose store was neither emptied nor stepped over.
        let before = origin.count();
        edge.get(&path).text() == "1" && origin.count() == before
    });
    assert!(is_believed, "{}", edge.log());
    version.store(2, Ordering::SeqCst);
    eventually("the parent takes what it is told", || is_completed("/*"));
    assert_eq!(edge.get("/believed/0").text(), "2");
    assert!(!edge.log().contains("copy of this data folder"), "{}", edge.log());
    assert!(!parent.log().contains("copies of one data folder"), "{}", parent.log());
}

#[test]
fn a_purge_is_believed_by_an_edge_with_parents_too() {
    let (origin, version) = versions();
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let _parent = parent_in(&folder, origin.address, ports);
    let edge = edge_under(folder.path(), origin.address, &[ports]);
    let _all = purge_and_look(&edge, || (version.fetch_add(1, Ordering::SeqCst) + 1) as usize);
}

// Its edges tell the new process what they told the old one.
#[test]
fn a_parent_is_upgraded_under_its_edges() {
    let (origin, version) = versions();
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let edge = edge_under(folder.path(), origin.address, &[ports]);
    assert_eq!(edge.get("/a").text(), "1");
    let _next = upgrade(&parent);
    version.store(2, Ordering::SeqCst);
    eventually("the parent takes what it is told", || edge.purge(&["/a"])["status"] == "Completed");
    assert_eq!(edge.get("/a").text(), "2");
}
