//! An edge and its parents: one fetch for the region, honest ages, invalidations on both.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::support::edge::{certificates, plain};
use super::support::origin::{answer, fresh};
use super::support::{Edge, Origin, eventually, free_port};

pub fn parent_in(folder: &Arc<tempfile::TempDir>, origin: SocketAddr, ports: (u16, u16)) -> Edge {
    let (_, chain, key) = certificates(folder.path(), &["localhost"]);
    let config = plain(
        origin,
        &format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n[[trusted_edge]]\nid = \"e1\"\ntoken = {{ file = \"token\" }}"),
    )
    .replace("http = [\"127.0.0.1:0\"]", &format!("http = [\"127.0.0.1:0\"]\nhttps = [\"127.0.0.1:{}\"]", ports.0))
    .replace("[admin]\nlisten = \"127.0.0.1:0\"", &format!("[admin]\nlisten = \"127.0.0.1:{}\"", ports.1));
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    Edge::start_in(Arc::clone(folder))
}

fn edge_under(parent_folder: &std::path::Path, origin: SocketAddr, parents: &[(u16, u16)]) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    let ca = parent_folder.join("tls/ca.pem");
    let tables: String = parents
        .iter()
        .map(|(https, admin)| format!("[[region.parent]]\nurl = \"https://localhost:{https}\"\nadmin = \"http://127.0.0.1:{admin}\"\n"))
        .collect();
    let region =
        format!("[region]\nkind = \"parent\"\nedge_id = \"e1\"\ntoken = {{ file = \"token\" }}\nca = {ca:?}\ntimeout = \"2s\"\n{tables}");
    std::fs::write(folder.path().join("edge.toml"), plain(origin, &region)).unwrap();
    Edge::start_in(folder)
}

#[test]
fn one_fetch_for_the_region_and_invalidations_on_both() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        answer(200, "Cache-Control: max-age=600\nAge: 5", format!("{} {}", asked.target, told.load(Ordering::SeqCst)).as_bytes())
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let (one, two) = (edge_under(folder.path(), origin.address, &[ports]), edge_under(folder.path(), origin.address, &[ports]));
    assert_eq!(one.get("/a").text(), "/a 1");
    let seen = two.get("/a");
    assert_eq!((seen.text(), origin.count()), ("/a 1".into(), 1), "the second edge is answered by the parent");
    assert!(seen.field("age").unwrap().parse::<u64>().unwrap() >= 5, "ages add up: {}", seen.head);
    let via = origin.seen()[0].field("via").unwrap();
    assert!(via.starts_with("1.1 foreshore, 1.1 foreshore-"), "who is who: {via}");
    let lines = |name: &str| {
        let of_name = seen.head.lines().filter_map(|line| line.split_once(": ")).filter(|(key, _)| key.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(", ")
    };
    // Each member identifies a cache (RFC 9211 §2), nearest to the origin first.
    let said = lines("cache-status");
    let members: Vec<&str> = said.split(", ").map(|member| member.split(';').next().unwrap()).collect();
    assert!(members.len() == 2 && members[0].starts_with("Foreshore-") && members[1] == "Foreshore", "{said}");
    assert!(lines("via").starts_with("1.1 foreshore-") && lines("via").ends_with(", 1.1 foreshore"), "{}", lines("via"));
    let asked = &origin.seen()[0];
    assert!(!asked.head.to_lowercase().contains("between-us") && asked.field("foreshore-edge").is_none(), "the token stays in the family");
    // A purge on an edge reaches the parent before it is acknowledged.
    version.store(2, Ordering::SeqCst);
    let done = one.purge(&["/a"]);
    assert_eq!(done["scope"]["parents"][0]["state"], "applied", "{done}");
    assert_eq!(one.get("/a").text(), "/a 2");
    assert_eq!(parent.metric("foreshore_invalidations_head") as u64, 1);
    // Every edge has a log of its own; the parent keeps them apart.
    assert_eq!(two.purge(&["/b"])["scope"]["parents"][0]["state"], "applied");
    assert_eq!(parent.metric("foreshore_invalidations_head") as u64, 2);
}

#[test]
fn a_parent_that_has_not_heard_is_not_believed() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |_| fresh(told.load(Ordering::SeqCst).to_string().as_bytes()));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    // The edge is told a wrong admin address: invalidations cannot reach the parent.
    let edge = edge_under(folder.path(), origin.address, &[(ports.0, free_port())]);
    assert_eq!(edge.get("/a").text(), "1");
    assert_eq!(parent.metric("foreshore_store_objects") as u64, 1);
    version.store(2, Ordering::SeqCst);
    let done = edge.purge(&["/a"]);
    assert_eq!(done["scope"]["parents"][0]["state"], "behind", "{done}");
    assert_eq!(edge.get("/a").text(), "2", "the origin is asked instead");
    assert!(edge.metric("foreshore_parent_refused_total") >= 1.0);
}

#[test]
fn a_parent_that_is_down_is_stepped_over_and_comes_back() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let first = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, first);
    let edge = edge_under(folder.path(), origin.address, &[first]);
    assert_eq!(edge.get("/1").text(), "/1");
    assert_eq!(parent.metric("foreshore_store_objects") as u64, 1);
    let folder = parent.kill();
    edge.purge(&["/1"]);
    for at in 2..6 {
        assert_eq!(edge.get(&format!("/{at}")).text(), format!("/{at}"));
    }
    assert!(edge.metric("foreshore_parent_failed_total") >= 1.0);
    let parent = parent_in(&folder, origin.address, first);
    let mut at = 10;
    eventually("the parent is asked again", || {
        at += 1;
        edge.get(&format!("/{at}"));
        parent.metric("foreshore_store_objects") > 0.0
    });
    // What the edge accepted while the parent was away reached it afterwards.
    eventually("the parent is told", || parent.metric("foreshore_invalidations_head") as u64 == 1);
}

#[test]
fn strangers_are_not_edges() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let parent = parent_in(&folder, origin.address, (free_port(), free_port()));
    for fields in [
        &["Foreshore-Edge: e1/log", "Foreshore-Edge-Token: wrong"][..],
        &["Foreshore-Edge: e1/log"],
        &["Foreshore-Edge: e2/log", "Foreshore-Edge-Token: between-us"],
    ] {
        assert!(parent.get_with("/a", fields).field("foreshore-applied").is_none());
    }
    let known = parent.get_with("/a", &["Foreshore-Edge: e1/log", "Foreshore-Edge-Token: between-us"]);
    assert_eq!(known.field("foreshore-applied").as_deref(), Some("0"));
    let body = r#"{"log":"l","after":0,"records":[]}"#;
    assert_eq!(parent.admin_with("POST", "/v1/edge/invalidations", body, "Foreshore-Edge: e1\r\nAuthorization: Bearer wrong\r\n").0, 401);
    let (status, said) =
        parent.admin_with("POST", "/v1/edge/invalidations", body, "Foreshore-Edge: e1\r\nAuthorization: Bearer between-us\r\n");
    assert!(status == 200 && said.contains("\"applied\": 0"), "{said}");
    // After a gap nothing is taken.
    let gap = r##"{"log":"l","after":7,"records":[{"number":8,"distribution":"E1","matchers":[{"path":"/a"}],"severity":"hard"}]}"##;
    let (_, said) = parent.admin_with("POST", "/v1/edge/invalidations", gap, "Foreshore-Edge: e1\r\nAuthorization: Bearer between-us\r\n");
    assert!(said.contains("\"applied\": 0"), "{said}");
    assert_eq!(parent.metric("foreshore_invalidations_head") as u64, 0);
}
