//! An edge and its parents: one fetch for the region, honest ages, invalidations on both.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::support::edge::{certificates, command, plain};
use super::support::origin::{answer, fresh};
use super::support::viewer::request;
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

fn edge_text(
    parent_folder: &std::path::Path,
    origin: SocketAddr,
    parents: &[(u16, u16)],
) -> String {
    let ca = parent_folder.join("tls/ca.pem");
    let tables: String = parents
        .iter()
        .map(|(https, admin)| format!("[[region.parent]]\nurl = \"https://localhost:{https}\"\nadmin = \"http://127.0.0.1:{admin}\"\n"))
        .collect();
    let region = format!(
        "[region]\nkind = \"parent\"\nedge_id = \"e1\"\ntoken = {{ file = \"token\" }}\nca = {ca:?}\ntimeout = \"2s\"\n{tables}"
    );
    plain(origin, &region) + "methods = \"all\"\n"
}

pub fn edge_under(
    parent_folder: &std::path::Path,
    origin: SocketAddr,
    parents: &[(u16, u16)],
) -> Edge {
    start(&edge_text(parent_folder, origin, parents))
}

// One that does not check whether the admin listeners of its parents are there.
fn edge_without_checks(
    parent_folder: &std::path::Path,
    origin: SocketAddr,
    parents: &[(u16, u16)],
) -> Edge {
    let text = edge_text(parent_folder, origin, parents);
    start(&text.replacen(
        "[[region.parent]]",
        "health = { interval = \"0s\" }\n[[region.parent]]",
        1,
    ))
}

fn start(text: &str) -> Edge {
    introduced(unintroduced(text))
}

// One that its parents may believe nothing.
fn unintroduced(text: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(folder)
}

/// An edge whose parents have confirmed its log. It waits for that for a second before it serves,
/// which a busy machine may need for something else.
pub fn introduced(edge: Edge) -> Edge {
    eventually("its parents have confirmed its log", || {
        let (_, status) = edge.admin("GET", "/v1/status", "");
        let status: serde_json::Value = serde_json::from_str(&status).unwrap_or_default();
        let parents = status["region"].as_array().map(Vec::as_slice).unwrap_or_default();
        !parents.is_empty() && parents.iter().all(|parent| parent["state"] == "applied")
    });
    edge
}

// A data folder's files, as a snapshot or an image has them.
fn copy_data(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in
        std::fs::read_dir(from).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file())
    {
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

// An origin that answers with a version, and the version.
pub fn versions() -> (Origin, Arc<AtomicU64>) {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    (Origin::start(move |_| fresh(told.load(Ordering::SeqCst).to_string().as_bytes())), version)
}

#[test]
fn one_fetch_for_the_region_and_invalidations_on_both() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        answer(
            200,
            "Cache-Control: max-age=600\nAge: 5",
            format!("{} {}", asked.target, told.load(Ordering::SeqCst)).as_bytes(),
        )
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let (one, two) = (
        edge_under(folder.path(), origin.address, &[ports]),
        edge_under(folder.path(), origin.address, &[ports]),
    );
    let head = parent.metric("foreshore_invalidations_head") as u64;
    assert_eq!(one.get("/a").text(), "/a 1");
    let seen = two.get("/a");
    assert_eq!(
        (seen.text(), origin.count()),
        ("/a 1".into(), 1),
        "the second edge is answered by the parent"
    );
    assert!(seen.field("age").unwrap().parse::<u64>().unwrap() >= 5, "ages add up: {}", seen.head);
    let via = origin.seen()[0].field("via").unwrap();
    assert!(via.starts_with("1.1 foreshore, 1.1 foreshore-"), "who is who: {via}");
    let lines = |name: &str| {
        let of_name = seen
            .head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .filter(|(key, _)| key.eq_ignore_ascii_case(name));
        of_name.map(|(_, value)| value.to_string()).collect::<Vec<_>>().join(", ")
    };
    // Each member identifies a cache (RFC 9211 §2), nearest to the origin first.
    let said = lines("cache-status");
    let members: Vec<&str> =
        said.split(", ").map(|member| member.split(';').next().unwrap()).collect();
    assert!(
        members.len() == 2 && members[0].starts_with("Foreshore-") && members[1] == "Foreshore",
        "{said}"
    );
    assert!(
        lines("via").starts_with("1.1 foreshore-") && lines("via").ends_with(", 1.1 foreshore"),
        "{}",
        lines("via")
    );
    let asked = &origin.seen()[0];
    assert!(
        !asked.head.to_lowercase().contains("between-us")
            && asked.field("foreshore-edge").is_none(),
        "the token stays in the family"
    );
    // A purge on an edge reaches the parent before it is acknowledged.
    version.store(2, Ordering::SeqCst);
    let done = one.purge(&["/a"]);
    assert_eq!(
        (&done["status"], &done["scope"]["parents"][0]["state"]),
        (&"Completed".into(), &"applied".into()),
        "{done}"
    );
    assert_eq!(one.get("/a").text(), "/a 2");
    assert_eq!(parent.metric("foreshore_invalidations_head") as u64, head + 1);
    // Every edge has a log of its own; the parent keeps them apart.
    assert_eq!(two.purge(&["/b"])["scope"]["parents"][0]["state"], "applied");
    assert_eq!(parent.metric("foreshore_invalidations_head") as u64, head + 2);
    assert_eq!(
        one.metric("foreshore_log_contested") as u64,
        0,
        "two edges of one name, each with a folder of its own"
    );
    // A write to what is never stored needs no record; one to what may be does.
    let post = |path: &str| {
        let mut viewer = one.viewer();
        viewer.send(&request("POST", path, &["Content-Length: 0"]));
        viewer.read("POST").unwrap().status
    };
    assert_eq!(post("/written"), 200);
    eventually("the parent hears of a write", || {
        parent.metric("foreshore_invalidations_head") as u64 == head + 3
    });
}

// Code runs at the edge alone: what a parent keeps has the URI that the edge asks it for, so an
// invalidation reaches what a parent keeps by that one and not by the viewer's.
#[cfg(feature = "functions")]
#[test]
fn a_parent_knows_a_rewritten_request_alone() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let text = format!("{} {}", asked.target, told.load(Ordering::SeqCst));
        answer(200, "Cache-Control: max-age=600", text.as_bytes())
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let _parent = parent_in(&folder, origin.address, ports);
    let code = folder.path().join("index.js");
    let text = "function handler(event) {
        if (event.request.uri.endsWith('/')) { event.request.uri += 'index.html'; }
        return event.request;
    }";
    std::fs::write(&code, text).unwrap();
    let config = edge_text(folder.path(), origin.address, &[ports]).replacen(
        "[region]",
        &format!("[function.index]\nfile = {code:?}\n[region]"),
        1,
    ) + "functions = { viewer_request = \"index\" }\n";
    let (one, two) = (start(&config), start(&config));
    assert_eq!(one.get("/docs/").text(), "/docs/index.html 1");
    assert_eq!(two.get("/docs/").text(), "/docs/index.html 1");
    assert_eq!(origin.count(), 1, "the second edge is answered by the parent");
    version.store(2, Ordering::SeqCst);
    assert_eq!(one.purge(&["/docs/"])["scope"]["parents"][0]["state"], "applied");
    assert_eq!(one.get("/docs/").text(), "/docs/index.html 1", "the parent's is left");
    assert_eq!(origin.count(), 1);
    one.purge(&["/docs/index.html"]);
    assert_eq!(one.get("/docs/").text(), "/docs/index.html 2");
}

#[test]
fn a_write_to_what_is_never_stored_needs_no_record() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let all = "methods = \"all\"\n";
    let off = Edge::before_with(
        origin.address,
        "",
        &format!("{all}cache_policy = \"CachingDisabled\"\n"),
    );
    let on = Edge::before_with(origin.address, "", all);
    for (edge, records) in [(&off, 0), (&on, 1)] {
        let mut viewer = edge.viewer();
        viewer.send(&request("POST", "/a", &["Content-Length: 0"]));
        assert_eq!(viewer.read("POST").unwrap().status, 200);
        assert_eq!(edge.metric("foreshore_invalidations_head") as u64, records);
    }
}

// The parent's data port answers, its admin listener does not: the edge is ahead, and loses its
// parent only for what that covers.
#[test]
fn a_parent_that_has_not_heard_is_not_believed() {
    let (origin, version) = versions();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let edge = edge_without_checks(folder.path(), origin.address, &[ports]);
    let folder = parent.kill();
    // Back under another admin address: it knows the edge's log still, but hears nothing.
    let parent = parent_in(&folder, origin.address, (ports.0, free_port()));
    for at in 0..20 {
        parent.get(&format!("/held/{at}"));
    }
    assert_eq!(parent.get("/a").text(), "1");
    version.store(2, Ordering::SeqCst);
    let done = edge.purge(&["/a"]);
    assert_eq!(
        (&done["status"], &done["scope"]["parents"][0]["state"]),
        (&"InProgress".into(), &"behind".into()),
        "{done}"
    );
    let id = done["id"].as_str().unwrap();
    assert!(edge.admin("GET", &format!("/v1/invalidations/{id}"), "").1.contains("InProgress"));
    let (admin, token) = (edge.admin.to_string(), edge.path().join("data/admin-token"));
    let (code, out, err) = command(
        edge.path(),
        &["purge", "/b", "--admin", &admin, "--token-file", token.to_str().unwrap()],
    );
    assert!(
        code == 3 && out.contains("in progress") && err.contains("have not applied"),
        "{code} {out}{err}"
    );
    let before = origin.count();
    assert_eq!(edge.get("/a").text(), "2", "the origin is asked instead");
    assert_eq!(origin.count(), before + 1, "and the parent is not: it would fetch in vain");
    // Far ahead, by writes that concern others.
    for at in 0..50 {
        let mut viewer = edge.viewer();
        viewer.send(&request("POST", &format!("/form/{at}"), &["Content-Length: 0"]));
        viewer.read("POST").unwrap();
    }
    let before = origin.count();
    for at in 0..20 {
        assert_eq!(edge.get(&format!("/held/{at}")).text(), "1");
    }
    assert_eq!(origin.count(), before, "what the parent holds still comes from it");
    for at in 0..20 {
        edge.get(&format!("/cold/{at}"));
    }
    assert_eq!(origin.count(), before + 20, "one fetch a miss");
    assert_eq!(edge.metric("foreshore_parent_refused_total") as u64, 0);
}

// Whatever takes an edge's numbers back, or its whole log: nothing older than what it was told is
// read through a parent afterwards.
#[test]
fn an_edge_that_lost_records_reads_nothing_old() {
    #[derive(Debug)]
    enum Loss {
        OlderFolder,
        EverythingLost,
        /// With records given again under the old numbers before a parent could be reached.
        OlderFolderAndParentsAway,
    }
    for loss in [Loss::OlderFolder, Loss::EverythingLost, Loss::OlderFolderAndParentsAway] {
        let (origin, version) = versions();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let ports = (free_port(), free_port());
        let elsewhere = (ports.0, free_port());
        let parent = parent_in(&folder, origin.address, ports);
        let edge = edge_under(folder.path(), origin.address, &[ports]);
        edge.purge(&["/x"]);
        let older = tempfile::tempdir().unwrap();
        copy_data(&edge.path().join("data"), older.path());
        let folder = parent.kill();
        let parent = parent_in(&folder, origin.address, elsewhere);
        assert_eq!(parent.get("/a").text(), "1");
        version.store(2, Ordering::SeqCst);
        assert_eq!(edge.purge(&["/a"])["status"], "InProgress");
        let own = edge.kill();
        let data = own.path().join("data");
        std::fs::remove_dir_all(&data).unwrap();
        if !matches!(loss, Loss::EverythingLost) {
            copy_data(older.path(), &data);
        }
        if matches!(loss, Loss::OlderFolderAndParentsAway) {
            // Still under the address where no parent listens: the number is given again.
            let edge = Edge::start_in(Arc::clone(&own));
            assert_eq!(edge.purge(&["/y"])["status"], "InProgress");
            assert_eq!(
                edge.get("/a").text(),
                "2",
                "no parent is believed before it confirmed the log"
            );
            edge.kill();
        }
        std::fs::write(
            own.path().join("edge.toml"),
            edge_text(folder.path(), origin.address, &[elsewhere]),
        )
        .unwrap();
        let edge = introduced(Edge::start_in(own));
        let (seen, fetches) = (edge.get("/a").text(), origin.count());
        assert_eq!(seen, "2", "{loss:?}");
        assert_eq!(
            (parent.get("/a").text(), origin.count()),
            ("2".into(), fetches),
            "{loss:?}: it came through the parent"
        );
        assert_eq!(edge.purge(&["/a"])["status"], "Completed", "{loss:?}");
    }
}

// An orderly restart leaves the parents what they hold.
#[test]
fn an_edge_that_ends_in_order_goes_on_where_it_was() {
    let (origin, _) = versions();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let _parent = parent_in(&folder, origin.address, ports);
    let mut edge = edge_under(folder.path(), origin.address, &[ports]);
    edge.purge(&["/x"]);
    edge.get("/a");
    edge.signal(rustix::process::Signal::TERM);
    assert!(edge.wait());
    let own = Arc::clone(&edge.folder);
    drop(edge);
    let edge = introduced(Edge::start_in(own));
    assert_eq!((edge.get("/a").text(), origin.count()), ("1".into(), 1), "{}", edge.log());
    // After a kill neither edge nor parent can know what else it had accepted.
    let edge = introduced(Edge::start_in(edge.kill()));
    edge.get("/a");
    assert_eq!(origin.count(), 2);
}

// Two edges of one image: each is right by itself, both say so, and neither takes a parent's word
// while both run.
#[test]
fn two_edges_of_one_folder_are_noticed() {
    let (origin, version) = versions();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let first = edge_under(folder.path(), origin.address, &[ports]);
    let own = Arc::new(tempfile::tempdir().unwrap());
    copy_data(&first.path().join("data"), &own.path().join("data"));
    for name in ["token", "edge.toml"] {
        std::fs::copy(first.path().join(name), own.path().join(name)).unwrap();
    }
    let second = Edge::start_in(own);
    assert_eq!(parent.get("/a").text(), "1");
    for (edge, now) in [(&second, 2), (&first, 3)] {
        version.store(now, Ordering::SeqCst);
        assert_eq!(edge.purge(&["/a"])["status"], "Completed");
        assert_eq!(edge.get("/a").text(), now.to_string());
        assert_eq!(parent.get("/a").text(), now.to_string(), "Completed means at the parent too");
    }
    parent.get("/held");
    for edge in [&first, &second] {
        eventually("it is said", || {
            edge.metric("foreshore_log_contested") as u64 == 1
                && edge.log().contains("copy of this data folder")
                && edge.admin("GET", "/v1/status", "").1.contains("\"contested\": true")
        });
        let before = origin.count();
        edge.get("/held");
        assert_eq!(origin.count(), before + 1, "the origin is asked, the parent is not");
    }
    eventually("the parent says it, too", || parent.log().contains("speak for the same log"));
}

// A parent's admin listener that says yes to everything, and how many connections were made to it.
fn agreeing_parent() -> (u16, Arc<AtomicU64>) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (port, made) = (listener.local_addr().unwrap().port(), Arc::new(AtomicU64::new(0)));
    let count = Arc::clone(&made);
    std::thread::spawn(move || {
        for tcp in listener.incoming().map_while(Result::ok) {
            count.fetch_add(1, Ordering::SeqCst);
            std::thread::spawn(move || agree(tcp));
        }
    });
    (port, made)
}

fn agree(mut tcp: std::net::TcpStream) {
    let mut lines = BufReader::new(tcp.try_clone().unwrap());
    loop {
        let (mut length, mut line) = (0, String::new());
        while lines.read_line(&mut line).is_ok_and(|read| read > 2) {
            if let Some(("content-length", value)) = line.to_lowercase().split_once(':') {
                length = value.trim().parse().unwrap();
            }
            line.clear();
        }
        let mut body = vec![0; length];
        if length == 0 || lines.read_exact(&mut body).is_err() {
            return;
        }
        let said: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let mark = said.get("upto").unwrap_or(&said["at"]);
        let answer = format!("{{\"mark\":{mark},\"is_contested\":false}}");
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", answer.len());
        tcp.write_all((head + &answer).as_bytes()).unwrap();
    }
}

#[test]
fn one_connection_per_parent_is_kept() {
    let (origin, _) = versions();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    certificates(folder.path(), &["localhost"]);
    let (admin, made) = agreeing_parent();
    let edge = edge_without_checks(folder.path(), origin.address, &[(free_port(), admin)]);
    for at in 0..5 {
        assert_eq!(edge.purge(&[&format!("/{at}")])["status"], "Completed");
    }
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

// Parents that do not answer are waited for together, and once they do it is Completed everywhere.
// The requests of an edge are often there before the parent has begun to wait for one.
#[test]
fn a_parent_that_is_told_to_end_does_not_wait_for_idle_edges() {
    let (origin, _) = versions();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let mut parent = parent_in(&folder, origin.address, ports);
    let edges: Vec<Edge> =
        (0..4).map(|_| edge_under(folder.path(), origin.address, &[ports])).collect();
    for edge in &edges {
        for path in ["/a", "/b", "/c"] {
            assert_eq!(edge.get(path).status, 200);
        }
    }
    let begun = Instant::now();
    parent.signal(rustix::process::Signal::TERM);
    assert!(parent.wait());
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
}

#[test]
fn two_stopped_parents_cost_one_wait() {
    let (origin, _) = versions();
    let (one, two) =
        (Arc::new(tempfile::tempdir().unwrap()), Arc::new(tempfile::tempdir().unwrap()));
    let ports = [(free_port(), free_port()), (free_port(), free_port())];
    let parents =
        [parent_in(&one, origin.address, ports[0]), parent_in(&two, origin.address, ports[1])];
    let edge = edge_under(one.path(), origin.address, &ports);
    parents.iter().for_each(|parent| parent.signal(rustix::process::Signal::STOP));
    let began = std::time::Instant::now();
    let done = edge.purge(&["/a"]);
    let took = began.elapsed();
    parents.iter().for_each(|parent| parent.signal(rustix::process::Signal::CONT));
    assert_eq!(done["status"], "InProgress");
    // Of two seconds each.
    assert!(took.as_millis() < 3_950, "{took:?}");
    let id = done["id"].as_str().unwrap();
    eventually("it is everywhere", || {
        edge.admin("GET", &format!("/v1/invalidations/{id}"), "").1.contains("Completed")
    });
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
    eventually("the parent is told", || parent.metric("foreshore_invalidations_head") as u64 == 2);
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
    // An edge that is trusted but unknown is told nothing of its log.
    let (incarnation, id) =
        ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
    let fields =
        [format!("Foreshore-Edge: e1/l/{incarnation}"), "Foreshore-Edge-Token: between-us".into()];
    let applied = || parent.get_with("/a", &[&fields[0], &fields[1]]).field("foreshore-applied");
    assert_eq!(applied(), None);
    let say = |body: &str, token: &str| {
        let fields = format!("Foreshore-Edge: e1\r\nAuthorization: Bearer {token}\r\n");
        parent.admin_with("POST", "/v1/edge/invalidations", body, &fields)
    };
    let message = |step: &str, number: u64, more: &str| {
        format!(
            r#"{{"log":"l","incarnation":"{incarnation}","step":"{step}","at":{{"number":{number},"id":"{id}"}}{more}}}"#
        )
    };
    assert_eq!(say(&message("continue", 7, ""), "wrong").0, 401);
    let record = format!(
        r#","records":[{{"distribution":"E1","matchers":[{{"path":"/a"}}],"severity":"hard"}}],"upto":{{"number":8,"id":"{id}"}}"#
    );
    let (status, said) = say(&message("continue", 7, &record), "between-us");
    assert!(
        status == 200 && !said.contains("mark"),
        "what follows on nothing is not taken: {said}"
    );
    assert_eq!(parent.metric("foreshore_invalidations_head") as u64, 0);
    // It begins, and everything of its distributions goes.
    assert_eq!(parent.get("/a").cache(), "Hit");
    let (_, said) = say(&message("begin", 7, r#","distributions":["E1"]"#), "between-us");
    assert!(said.contains("\"number\": 7"), "{said}");
    assert_eq!((parent.get("/a").cache(), applied()), ("Miss".into(), Some(format!("7:{id}"))));
    // After a gap nothing is taken, nor after the same number of another record.
    let told = format!(r#""at":{{"number":7,"id":"{id}"}}"#);
    for (number, id) in [(9, id), (7, incarnation)] {
        let body = message("continue", 7, &record)
            .replace(&told, &format!(r#""at":{{"number":{number},"id":"{id}"}}"#));
        let (_, said) = say(&body, "between-us");
        assert!(said.contains("\"number\": 7"), "{said}");
    }
    assert_eq!(parent.get("/a").cache(), "Hit");
    let (_, said) = say(&message("continue", 7, &record), "between-us");
    assert!(said.contains("\"number\": 8"), "{said}");
    assert_eq!(parent.get("/a").cache(), "Miss");
    for (body, word) in [
        (r#"{"log":"l","after":0,"records":[]}"#.to_string(), "not as expected"),
        (message("continue", 7, "").replace("\"l\"", "\"l/m\""), "node id"),
    ] {
        let (status, said) = say(&body, "between-us");
        assert!(status == 400 && said.contains(word), "{status} {said}");
    }
}

#[test]
fn a_parent_that_is_no_sequencer_says_so() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let parent = parent_in(&folder, origin.address, (free_port(), free_port()));
    let ask = |token: &str| {
        let fields = format!("Foreshore-Edge: e1\r\nAuthorization: Bearer {token}\r\n");
        parent.admin_with("POST", "/v1/fleet/call", "{}", &fields)
    };
    assert_eq!(ask("wrong").0, 401);
    let (status, said) = ask("between-us");
    assert!(status == 404 && said.contains("not the sequencer of a fleet"), "{status} {said}");
}

// The token, and a certificate with the right name by the right authority: nothing less.
#[test]
fn a_token_is_not_enough_where_a_certificate_is_wanted() {
    let (origin, _) = versions();
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (https, admin) = (free_port(), free_port());
    let (ca, chain, key) = certificates(folder.path(), &["localhost"]);
    let trusted = format!(
        "[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n[[trusted_edge]]\nid = \"e1\"\n\
         token = {{ file = \"token\" }}\nclient_san = \"Edge-1.internal\""
    );
    let listen = format!("[listen]\nhttps = [\"127.0.0.1:{https}\"]\nclient_ca = {ca:?}");
    let config = plain(origin.address, &trusted).replace("[listen]", &listen).replace(
        "[admin]\nlisten = \"127.0.0.1:0\"",
        &format!("[admin]\nlisten = \"127.0.0.1:{admin}\"\ntransport = \"tls\""),
    );
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let parent = Edge::start_in(Arc::clone(&folder));
    let stranger = tempfile::tempdir().unwrap();
    let edge = |shown: Option<(std::path::PathBuf, std::path::PathBuf)>| {
        let identity = shown.map_or(String::new(), |(chain, key)| {
            format!("identity = {{ chain = {chain:?}, key = {key:?} }}\n")
        });
        let text = edge_text(folder.path(), origin.address, &[(https, admin)])
            .replace("admin = \"http://127.0.0.1:", "admin = \"https://localhost:")
            .replacen("[[region.parent]]", &format!("{identity}[[region.parent]]"), 1);
        unintroduced(&text)
    };
    let by = |folder: &std::path::Path, name: &str| {
        let (_, chain, key) = certificates(folder, &[name]);
        Some((chain, key))
    };
    let good = introduced(edge(by(folder.path(), "edge-1.internal")));
    let other = introduced(edge(by(folder.path(), "edge-1.internal")));
    assert_eq!((good.get("/a").text(), origin.count()), ("1".into(), 1));
    assert_eq!(good.purge(&["/x"])["status"], "Completed");
    assert_eq!((other.get("/a").text(), origin.count()), ("1".into(), 1), "the parent has it");
    for shown in
        [None, by(folder.path(), "edge-2.internal"), by(stranger.path(), "edge-1.internal")]
    {
        let (edge, before) = (edge(shown.clone()), origin.count());
        assert_eq!(edge.get("/a").text(), "1");
        assert_eq!(origin.count(), before + 1, "{shown:?} is believed nothing and asked nothing");
        assert_eq!(edge.purge(&["/x"])["status"], "InProgress");
    }
    // Nor does the token help in clear text.
    let fields = ["Foreshore-Edge: e1/log", "Foreshore-Edge-Token: between-us"];
    let seen = parent.get_with("/a", &fields);
    assert!(seen.field("foreshore-tier").is_none() && seen.field("foreshore-applied").is_none());
}
