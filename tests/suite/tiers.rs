//! What tiers owe each other: which is asked, which is believed for how long, and what a parent
//! costs that is slow, stopped, or breaks off.
//!
//! Most of these have a parent that says what a test wants; the last ones have real ones.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::parent::{introduced, parent_in};
use super::support::edge::{certificates, plain};
use super::support::origin::{Asked, after, answer, fresh};
use super::support::{Edge, Origin, Say, eventually, free_port};
use super::wire::server_config;

/// An edge under parents on these ports, each with its admin port.
fn edge_under(certified: &Path, origin: &Origin, parents: &[(u16, u16)], behavior: &str) -> Edge {
    edge_with(certified, origin, parents, "", behavior)
}

// The same, with more lines in [region].
fn edge_with(
    certified: &Path,
    origin: &Origin,
    parents: &[(u16, u16)],
    more: &str,
    behavior: &str,
) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    let ca = certified.join("tls/ca.pem");
    let tables: String = parents
        .iter()
        .map(|(https, admin)| format!("[[region.parent]]\nurl = \"https://localhost:{https}\"\nadmin = \"http://127.0.0.1:{admin}\"\n"))
        .collect();
    let region = format!(
        "[region]\nkind = \"parent\"\nedge_id = \"e1\"\ntoken = {{ file = \"token\" }}\nca = {ca:?}\ntimeout = \"2s\"\n{more}{tables}"
    );
    std::fs::write(folder.path().join("edge.toml"), plain(origin.address, &region) + behavior)
        .unwrap();
    introduced(Edge::start_in(folder))
}

/// A parent that says what it is told to, and an edge under it.
struct Stage {
    parent: Origin,
    edge: Edge,
    _admin: Origin,
    /// With the certificates.
    _folder: tempfile::TempDir,
}

fn under_a_scripted_parent(
    origin: &Origin,
    says: impl Fn(&Asked) -> Vec<Say> + Send + Sync + 'static,
) -> Stage {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &["localhost"]);
    let parent = Origin::start_tls(server_config(folder.path(), "localhost"), says);
    let admin = confirming();
    let edge =
        edge_under(folder.path(), origin, &[(parent.address.port(), admin.address.port())], "");
    Stage { parent, edge, _admin: admin, _folder: folder }
}

/// How a parent says that it has heard all of an edge's log, which is empty here.
const HAS_HEARD: &str = "Foreshore-Applied: 0:00000000000000000000000000000000";

/// What a parent's admin port says that confirms an empty log, whatever it is told.
const CONFIRMS: &[u8] = br#"{"mark":{"number":0,"id":"00000000000000000000000000000000"}}"#;

/// Such a port.
fn confirming() -> Origin {
    Origin::start(|_| answer(200, "", CONFIRMS))
}

fn from_its_store() -> String {
    format!(
        "{HAS_HEARD}\nForeshore-Tier: standing=fresh, fresh=60000, refreshing=60000, on-error=60000, body=whole"
    )
}

fn ttl(seen: &super::support::viewer::Seen) -> i64 {
    let told = seen.field("cache-status").unwrap_or_default();
    told.split("ttl=")
        .nth(1)
        .and_then(|ttl| ttl.split(';').next()?.trim().parse().ok())
        .unwrap_or_else(|| panic!("no hit: {}", seen.head))
}

#[test]
fn a_stale_answer_of_a_parent_is_the_last_word_and_not_the_first() {
    let is_up = Arc::new(AtomicBool::new(true));
    let up = Arc::clone(&is_up);
    let origin =
        Origin::start(
            move |_| if up.load(Ordering::SeqCst) { fresh(b"new") } else { vec![Say::Reset] },
        );
    let stage = under_a_scripted_parent(&origin, |_| {
        let tier =
            "Foreshore-Tier: standing=stale, fresh=0, refreshing=0, on-error=60000, body=whole";
        answer(
            200,
            &format!("{HAS_HEARD}\n{tier}\nCache-Control: max-age=600\nAge: 5\nETag: \"1\""),
            b"old",
        )
    });
    assert_eq!(stage.edge.get("/a").text(), "new", "the origin can be reached");
    is_up.store(false, Ordering::SeqCst);
    let seen = stage.edge.get("/b");
    assert_eq!((seen.status, seen.text(), seen.cache()), (200, "old".into(), "Hit".into()));
    assert!(!seen.head.to_lowercase().contains("foreshore-tier"), "{}", seen.head);
    // It stands in, and is no fresh hit: asked for again it costs neither parent nor origin a
    // fetch, and says that it is stale.
    let asked = (stage.parent.count(), origin.count());
    let seen = stage.edge.get("/b");
    assert!(seen.text() == "old" && ttl(&seen) <= 0, "{}", seen.head);
    assert_eq!((stage.parent.count(), origin.count()), asked);
}

#[test]
fn a_lifetime_does_not_begin_anew_in_each_tier() {
    let origin = Origin::start(|_| fresh(b"x"));
    let stage = under_a_scripted_parent(&origin, |asked| {
        let tier = "Foreshore-Tier: standing=fresh, fresh=4000, refreshing=4000, on-error=4000, body=whole";
        let tier = &format!("{HAS_HEARD}\nAge: 6\n{tier}");
        match asked.target.as_str() {
            // The edge's own rules: ten seconds for an error, a day for what says nothing.
            "/error" => answer(404, tier, b"none"),
            _ => answer(200, tier, b"some"),
        }
    });
    for (path, status) in [("/error", 404), ("/plain", 200)] {
        assert_eq!(stage.edge.get(path).status, status);
        let seen = stage.edge.get(path);
        assert!((0..=4).contains(&ttl(&seen)), "{path}: {}", seen.head);
        assert!(!seen.head.to_lowercase().contains("foreshore-tier"));
    }
    assert_eq!((stage.parent.count(), origin.count()), (2, 0));
}

#[test]
fn facts_that_an_origin_claims_are_nobodys() {
    let claim =
        "Foreshore-Applied: 9\nForeshore-Tier: standing=stale, fresh=0\nCache-Control: max-age=600";
    let origin = Origin::start(move |_| answer(200, claim, b"x"));
    let edge = Edge::before(origin.address, "");
    assert!(!edge.get("/a").head.to_lowercase().contains("foreshore-"));
    let seen = edge.get("/a");
    assert!(
        ttl(&seen) > 500 && !seen.head.to_lowercase().contains("foreshore-tier"),
        "{}",
        seen.head
    );
}

#[test]
fn a_body_that_breaks_counts_against_its_parent() {
    let origin = Origin::start(|_| fresh(b"from the origin"));
    let stage = under_a_scripted_parent(&origin, |_| {
        let head = format!(
            "HTTP/1.1 200 OK\r\n{}\r\nContent-Length: 400000\r\n\r\n",
            from_its_store().replace('\n', "\r\n")
        );
        vec![Say::Bytes(head.into_bytes()), Say::Bytes(vec![b'x'; 150_000]), Say::Reset]
    });
    // The first viewer may have seen it break: there is no validator to go on by.
    stage.edge.get("/first");
    eventually("the break is counted", || {
        stage.edge.metric("foreshore_parent_failed_total") >= 1.0
    });
    for at in 0..20 {
        let seen = stage.edge.get(&format!("/{at}"));
        assert_eq!((seen.text(), seen.whole), ("from the origin".into(), true));
    }
    // A probe finds the same, and no viewer does.
    eventually("a probe was sent", || {
        assert!(stage.edge.get(&format!("/{}", origin.count() + 100)).whole);
        stage.parent.count() >= 2
    });
    assert_eq!(stage.edge.get("/last").text(), "from the origin");
}

#[test]
fn no_viewer_sees_a_parent_break_off() {
    const LEN: usize = 400_000;
    let octets = || -> Vec<u8> { (0..LEN).map(|at| (at * 7 % 251) as u8).collect() };
    let origin = Origin::start(move |asked| {
        let fields = "Cache-Control: max-age=60\nETag: \"e\"";
        match asked.field("range").and_then(|range| {
            range.strip_prefix("bytes=")?.split('-').next()?.parse::<usize>().ok()
        }) {
            Some(from) => answer(
                206,
                &format!("{fields}\nContent-Range: bytes {from}-{}/{LEN}", LEN - 1),
                &octets()[from..],
            ),
            None => answer(200, fields, &octets()),
        }
    });
    let stage = under_a_scripted_parent(&origin, move |_| {
        let fields = format!("{}\nCache-Control: max-age=60\nETag: \"e\"", from_its_store())
            .replace('\n', "\r\n");
        let head = format!("HTTP/1.1 200 OK\r\n{fields}\r\nContent-Length: {LEN}\r\n\r\n");
        vec![
            Say::Bytes(head.into_bytes()),
            Say::Bytes(octets()[..150_000].to_vec()),
            Say::Wait(Duration::from_millis(100)),
            Say::Reset,
        ]
    });
    std::thread::scope(|scope| {
        let viewers: Vec<_> = (0..50).map(|_| scope.spawn(|| stage.edge.get("/big"))).collect();
        for viewer in viewers {
            let seen = viewer.join().unwrap();
            assert!(
                seen.whole && seen.body == octets(),
                "{} octets, {}",
                seen.body.len(),
                seen.head
            );
        }
    });
    assert_eq!(origin.count(), 1, "the rest, once");
    assert!(origin.seen()[0].field("range").is_some_and(|range| range != "bytes=0-399999"));
    assert_eq!(stage.edge.metric("foreshore_bodies_resumed_total"), 1.0);
}

#[test]
fn a_parent_that_stops_costs_one_viewer_its_patience() {
    let origin = Origin::start(|_| fresh(b"x"));
    let is_stopped = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&is_stopped);
    let stage = under_a_scripted_parent(&origin, move |_| match stopped.load(Ordering::SeqCst) {
        true => vec![Say::Wait(Duration::from_secs(60)), Say::Close],
        false => answer(200, &from_its_store(), b"x"),
    });
    stage.edge.get("/warm");
    assert_eq!((stage.parent.count(), origin.count()), (1, 0));
    is_stopped.store(true, Ordering::SeqCst);
    let (mut at, mut slow) = (0, Vec::new());
    eventually("the pause is over, and it was tried again", || {
        at += 1;
        let began = Instant::now();
        assert_eq!(stage.edge.get(&format!("/{at}")).text(), "x");
        if began.elapsed() > Duration::from_millis(450) {
            slow.push(began.elapsed());
        }
        stage.parent.count() >= 3
    });
    // One, and a few more for a machine that hangs now and then: most are served without that wait,
    // and nobody has to wait for longer.
    assert!(
        slow.len() <= 2 + at / 10 && slow.iter().min() < Some(&Duration::from_millis(1500)),
        "{at}: {slow:?}"
    );
}

#[test]
fn all_parents_of_a_request_share_one_budget() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &["localhost"]);
    let silent = || {
        Origin::start_tls(server_config(folder.path(), "localhost"), |_| {
            vec![Say::Wait(Duration::from_secs(60)), Say::Close]
        })
    };
    let parents = [silent(), silent(), silent()];
    let admin = confirming();
    let ports: Vec<(u16, u16)> =
        parents.iter().map(|parent| (parent.address.port(), admin.address.port())).collect();
    let edge = edge_under(folder.path(), &origin, &ports, "");
    let began = Instant::now();
    assert_eq!(edge.get("/a").text(), "x");
    // Two seconds are for all of them, strangers as they are, and not for each.
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[test]
fn a_parent_is_asked_while_its_admin_listener_says_that_it_is_ready() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path(), &["localhost"]);
    let parent = Origin::start_tls(server_config(folder.path(), "localhost"), |_| {
        answer(200, &from_its_store(), b"x")
    });
    let says = Arc::new(AtomicU64::new(200));
    let told = Arc::clone(&says);
    let admin = Origin::start(move |asked| match asked.target.as_str() {
        "/readyz" => answer(told.load(Ordering::SeqCst) as u16, "", b"so it is"),
        _ => answer(200, "", CONFIRMS),
    });
    let ports = [(parent.address.port(), admin.address.port())];
    let checks = "health = { interval = \"50ms\", unhealthy_after = 3, healthy_after = 2 }\n";
    let edge = edge_with(folder.path(), &origin, &ports, checks, "");
    let is = |condition: &str| {
        let wanted = format!("\"condition\": \"{condition}\"");
        edge.admin("GET", "/v1/status", "").1.contains(&wanted)
    };
    let mut asked = 0;
    for (status, condition, by_parent) in [
        (200, "healthy", true),
        (503, "draining", false),
        (500, "unhealthy", false),
        (200, "healthy", true),
    ] {
        says.store(status, Ordering::SeqCst);
        eventually(condition, || is(condition));
        let before = (parent.count(), origin.count());
        asked += 1;
        assert_eq!(edge.get(&format!("/{asked}")).text(), "x");
        let came = (parent.count() - before.0, origin.count() - before.1);
        assert_eq!(came, if by_parent { (1, 0) } else { (0, 1) }, "{condition}");
    }
    assert!(edge.metric("foreshore_parent_checks_failed_total") >= 3.0);
    assert_eq!(edge.metric("foreshore_parent_asked_total"), 2.0);
    assert_eq!(edge.metric("foreshore_parent_failed_total"), 0.0, "no viewer found it out");
}

#[test]
fn a_slow_origin_is_not_blamed_on_a_parent() {
    let origin = Origin::start(|asked| {
        if asked.target.starts_with("/slow") { after(900, fresh(b"late")) } else { fresh(b"x") }
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let _parent = parent_in(&folder, origin.address, ports);
    let edge = edge_under(folder.path(), &origin, &[ports], "");
    edge.get("/warm");
    // The parent says that it is there, if a busy machine lets it: nobody else is asked then.
    let counts = || {
        let of = |name: &str| edge.metric(name) as usize;
        (of("foreshore_parent_asked_total"), of("foreshore_parent_failed_total"), origin.count())
    };
    let mut at = 0;
    eventually("the parent alone is asked", || {
        at += 1;
        let (asked, failed, count) = counts();
        assert_eq!(edge.get(&format!("/slow/{at}")).text(), "late");
        counts() == (asked + 1, failed, count + 1)
    });
}

#[test]
fn who_replaces_what_is_stored_replaces_it_in_every_tier() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |_| {
        let version = told.load(Ordering::SeqCst);
        answer(
            200,
            &format!("Cache-Control: max-age=600\nETag: \"{version}\""),
            version.to_string().as_bytes(),
        )
    });
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let ports = (free_port(), free_port());
    let parent = parent_in(&folder, origin.address, ports);
    let behavior = "client_invalidation = { allow = \"anyone\" }\n";
    let (one, two) = (
        edge_under(folder.path(), &origin, &[ports], behavior),
        edge_under(folder.path(), &origin, &[ports], behavior),
    );
    assert_eq!(one.get("/a").text(), "1");
    // An edge hears what a stored answer is worth; its viewers do not.
    let told =
        parent.get_with("/a", &["Foreshore-Edge: e1/log", "Foreshore-Edge-Token: between-us"]);
    assert!(
        told.field("foreshore-tier").is_some_and(|tier| tier.starts_with("standing=fresh")),
        "{}",
        told.head
    );
    for seen in [
        one.get("/a"),
        parent.get("/a"),
        parent.get_with("/a", &["Foreshore-Edge: e1/log", "Foreshore-Edge-Token: wrong"]),
    ] {
        assert!(!seen.head.to_lowercase().contains("foreshore-tier"), "{}", seen.head);
    }
    version.store(2, Ordering::SeqCst);
    assert_eq!(
        one.get_with("/a", &["Cache-Control: max-age=0"]).text(),
        "2",
        "not the parent's hit"
    );
    let seen = one.get("/a");
    assert_eq!((seen.text(), seen.cache()), ("2".into(), "Hit".into()));
    assert_eq!(two.get("/a").text(), "2", "nor does the parent give it to anybody else");
}

#[test]
fn slices_are_replaced_too() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let version = told.load(Ordering::SeqCst);
        let whole = version.to_string().repeat(3000);
        let range = asked.field("range").and_then(|range| {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            Some((from.parse::<usize>().ok()?, to.parse::<usize>().ok()?.min(2999)))
        });
        let common = format!("Cache-Control: max-age=600\nETag: \"{version}\"");
        match range {
            Some((from, to)) => answer(
                206,
                &format!("{common}\nContent-Range: bytes {from}-{to}/3000"),
                &whole.as_bytes()[from..=to],
            ),
            None => answer(200, &common, whole.as_bytes()),
        }
    });
    let behavior = "slice = \"64KiB\"\nclient_invalidation = { allow = \"anyone\" }\n";
    let edge = Edge::before_with(origin.address, "", behavior);
    assert_eq!(edge.get("/a").text(), "1".repeat(3000));
    version.store(2, Ordering::SeqCst);
    assert_eq!(edge.get("/a").text(), "1".repeat(3000), "a hit");
    assert_eq!(edge.get_with("/a", &["Cache-Control: max-age=0"]).text(), "2".repeat(3000));
    assert_eq!(edge.get("/a").text(), "2".repeat(3000));
}

/// Puts another id in the place of the one distribution's, and has the edge take it.
fn rename(edge: &Edge, from: &str, to: &str) {
    rewrite(edge.path(), from, to);
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert!(status == 200 && said.contains("\"ok\": true"), "{said}");
}

fn rewrite(folder: &Path, from: &str, to: &str) {
    let file = folder.join("edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace(&format!("id = \"{from}\""), &format!("id = \"{to}\"")))
        .unwrap();
}

#[test]
fn what_was_stored_of_a_distribution_that_left_is_gone_when_it_returns() {
    let version = Arc::new(AtomicU64::new(1));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |_| fresh(told.load(Ordering::SeqCst).to_string().as_bytes()));
    let store = "[store]\nmemory = \"64MiB\"\n[store.disk]\nsize = \"64MiB\"\n";
    let edge = Edge::before(origin.address, store);
    assert_eq!(edge.get("/a").text(), "1");
    rename(&edge, "E1", "E2");
    version.store(2, Ordering::SeqCst);
    let purge = r#"{"distribution":"E1","paths":["/*"]}"#;
    assert_eq!(edge.admin("POST", "/v1/invalidations", purge).0, 404, "it is away");
    assert_eq!(edge.get("/a").text(), "2");
    assert_eq!(edge.metric("foreshore_invalidations_head"), 0.0, "one that is new was never away");
    rename(&edge, "E2", "E1");
    assert_eq!(edge.get("/a").text(), "2");
    assert_eq!(edge.get("/a").cache(), "Hit");
    // A reload that leaves it where it is changes nothing.
    rename(&edge, "E1", "E1");
    assert_eq!(edge.get("/a").cache(), "Hit");
    // It may leave and come back while the edge is down.
    eventually("it is on the disk", || {
        edge.metric("foreshore_disk_objects") >= 1.0
            && edge.metric("foreshore_disk_waiting_bytes") == 0.0
    });
    let folder = edge.kill();
    rewrite(folder.path(), "E1", "E3");
    let folder = Edge::start_in(folder).kill();
    version.store(3, Ordering::SeqCst);
    rewrite(folder.path(), "E3", "E1");
    let edge = Edge::start_in(folder);
    eventually("the store is loaded", || edge.metric("foreshore_disk_loaded") == 1.0);
    assert_eq!(edge.get("/a").text(), "3");
    // And a restart in which no distribution left finds everything again.
    eventually("it is on the disk", || {
        edge.metric("foreshore_disk_objects") >= 1.0
            && edge.metric("foreshore_disk_waiting_bytes") == 0.0
    });
    let edge = Edge::start_in(edge.kill());
    eventually("the store is loaded", || edge.metric("foreshore_disk_loaded") == 1.0);
    assert_eq!(edge.get("/a").cache(), "Hit");
}
