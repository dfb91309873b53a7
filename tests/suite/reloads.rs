//! What a reload forgets, and what it must not: state lives with what it is of, and a configuration
//! that says the same of that changes nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::support::edge::{certificates, plain};
use super::support::origin::{Asked, answer, fresh};
use super::support::viewer::request;
use super::support::{Edge, Origin, Say, eventually};
use super::wire::server_config;

/// Puts another text in the place of the configuration, and has the edge take it.
pub fn reload(edge: &Edge, text: &str) {
    // In one step: the edge looks at the file by itself too.
    let file = edge.path().join("edge.toml");
    std::fs::write(file.with_extension("new"), text).unwrap();
    std::fs::rename(file.with_extension("new"), &file).unwrap();
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert!(status == 200 && said.contains("\"ok\": true"), "{status} {said}");
}

const ANY: &str = "[[distribution.behavior]]\npath = \"*\"";

/// A behavior before the last one.
fn behavior(path: &str, more: &str) -> String {
    format!("[[distribution.behavior]]\npath = \"{path}\"\norigin = \"o\"\n{more}\n")
}

fn with_behaviors(origin: &Origin, behaviors: &str) -> String {
    plain(origin.address, "").replace(ANY, &format!("{behaviors}{ANY}"))
}

fn pass(_: &Asked) -> Vec<Say> {
    answer(200, "Cache-Control: no-store", b"x")
}

/// Another distribution, with an origin of the same id.
fn another(id: &str, host: &str, origin: &Origin) -> String {
    format!(
        "[[distribution]]\nid = \"{id}\"\nhosts = [\"{host}\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://{}\"\n{ANY}\norigin = \"o\"\n",
        origin.address
    )
}

#[test]
fn a_reload_refills_no_rate_limit() {
    let origin = Origin::start(|_| fresh(b"x"));
    let limit = "rate_limit = { requests = 2, per = \"1h\" }";
    let (slow, calm) = (behavior("/slow/*", limit), behavior("/calm/*", limit));
    let first = with_behaviors(&origin, &format!("{slow}{calm}"));
    let edge = Edge::start(&first);
    let ask = |path: &str| edge.get(path).status;
    for path in ["/slow/a", "/calm/a"] {
        assert_eq!([ask(path), ask(path), ask(path)], [200, 200, 429], "{path}");
    }
    let renamed = behavior("/s?ow/*", limit);
    for (what, text) in [
        ("the same file", first.clone()),
        ("a comment", format!("{first}# more\n")),
        (
            "a behavior more, before them",
            with_behaviors(&origin, &format!("{}{slow}{calm}", behavior("/new/*", ""))),
        ),
        ("another order", with_behaviors(&origin, &format!("{calm}{slow}"))),
        ("another setting of theirs", first.replace(limit, &format!("{limit}\nmethods = \"all\""))),
        (
            "a distribution more, before theirs",
            first.replacen(
                "[[distribution]]",
                &format!("{}[[distribution]]", another("E0", "zero.test", &origin)),
                1,
            ),
        ),
        ("a distribution less", first.clone()),
    ] {
        reload(&edge, &text);
        assert_eq!((ask("/slow/a"), ask("/calm/a")), (429, 429), "{what}");
    }
    // Another pattern is another behavior; its neighbour does not hear of it. What left is
    // remembered no longer.
    assert_eq!(edge.metric("foreshore_rate_addresses"), 2.0);
    reload(&edge, &with_behaviors(&origin, &format!("{renamed}{calm}")));
    assert_eq!(edge.metric("foreshore_rate_addresses"), 1.0);
    assert_eq!([ask("/slow/a"), ask("/slow/a"), ask("/slow/a")], [200, 200, 429], "renamed");
    assert_eq!(ask("/calm/a"), 429);
    // The same pattern under another distribution is another one too.
    reload(
        &edge,
        &with_behaviors(&origin, &format!("{renamed}{calm}")).replace("id = \"E1\"", "id = \"E2\""),
    );
    assert_eq!(
        [ask("/calm/a"), ask("/calm/a"), ask("/calm/a")],
        [200, 200, 429],
        "another distribution"
    );
}

/// Requests counted for a behavior, over all outcomes; `None` where there is no such line.
fn requests(edge: &Edge, distribution: &str, behavior: &str) -> Option<f64> {
    let (_, text) = edge.admin("GET", "/metrics", "");
    let start = format!(
        "foreshore_requests_total{{distribution=\"{distribution}\",behavior=\"{behavior}\","
    );
    let counts: Vec<f64> = text
        .lines()
        .filter(|line| line.starts_with(&start))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect();
    (!counts.is_empty()).then(|| counts.iter().sum())
}

#[test]
fn renaming_one_behavior_sets_no_other_counter_back() {
    let is_released = Arc::new(AtomicBool::new(false));
    let held = Arc::clone(&is_released);
    let origin = Origin::start(move |asked| {
        if asked.target == "/b/held" {
            eventually("the answer is wanted", || held.load(Ordering::SeqCst));
        }
        fresh(b"x")
    });
    let site = |behaviors: &str| {
        let patient =
            with_behaviors(&origin, behaviors).replace("response = \"3s\"", "response = \"60s\"");
        patient + &another("E2", "two.test", &origin)
    };
    let first = site(&(behavior("/a/*", "") + &behavior("/b/*", "")));
    let edge = Edge::start(&first);
    let kinds = [
        ("E1", "/a/*", "h.test", "/a/1", 2),
        ("E1", "/b/*", "h.test", "/b/1", 3),
        ("E1", "*", "h.test", "/c", 4),
        ("E2", "*", "two.test", "/a/1", 5),
    ];
    for (.., host, path, times) in kinds {
        (0..times)
            .for_each(|_| assert_eq!(edge.get_with(path, &[&format!("Host: {host}")]).status, 200));
    }
    // Refused by a rule, and of no behavior.
    edge.viewer().send(b"GET /x HTTP/1.1\r\nHost: h.test\r\nContent-Length: nonsense\r\n\r\n");
    let of = |edge: &Edge| {
        kinds.map(|(distribution, pattern, ..)| requests(edge, distribution, pattern))
    };
    let at_first = [Some(2.0), Some(3.0), Some(4.0), Some(5.0)];
    let totals = |edge: &Edge| {
        ["foreshore_refusals_total", "foreshore_origin_seconds_count"].map(|name| edge.metric(name))
    };
    eventually("everything is counted", || of(&edge) == at_first && totals(&edge) == [1.0, 4.0]);
    let unrouted = requests(&edge, "", "").unwrap();
    assert!(unrouted >= 1.0, "{unrouted}");
    // One is under way all the while.
    let mut late = edge.viewer();
    late.send(&request("GET", "/b/held", &[]));
    eventually("it is asked for", || origin.seen().iter().any(|asked| asked.target == "/b/held"));
    for (what, text) in [
        ("the same file", first.clone()),
        (
            "a behavior more, before them",
            site(&(behavior("/new/*", "") + &behavior("/a/*", "") + &behavior("/b/*", ""))),
        ),
        ("another order", site(&(behavior("/b/*", "") + &behavior("/a/*", "")))),
        ("other workers, which waits for a restart", first.replace("workers = 2", "workers = 1")),
    ] {
        reload(&edge, &text);
        assert_eq!(of(&edge), at_first, "{what}");
        assert_eq!(totals(&edge), [1.0, 4.0], "{what}");
        assert_eq!(requests(&edge, "", ""), Some(unrouted), "{what}");
    }
    reload(&edge, &site(&(behavior("/?/*", "") + &behavior("/b/*", ""))));
    assert_eq!(
        of(&edge),
        [None, at_first[1], at_first[2], at_first[3]],
        "what left is dropped, and nothing else"
    );
    assert_eq!(
        (requests(&edge, "E1", "/?/*"), requests(&edge, "", "")),
        (Some(0.0), Some(unrouted))
    );
    // What began under the first configuration is counted for the behavior that it chose then.
    is_released.store(true, Ordering::SeqCst);
    assert_eq!(late.read("GET").unwrap().status, 200);
    eventually("it is counted", || requests(&edge, "E1", "/b/*") == Some(4.0));
    assert_eq!(edge.get("/a/1").status, 200);
    eventually("the new one counts", || requests(&edge, "E1", "/?/*") == Some(1.0));
}

#[test]
fn a_reload_leaves_warm_connections_alone() {
    let (one, two) = (Origin::start(pass), Origin::start(pass));
    let lasting = |text: String| {
        text.replace("workers = 2", "workers = 1")
            .replace("response = \"3s\"", "response = \"3s\", idle = \"60s\"")
    };
    let second = another("E2", "two.test", &two).replace(
        "[[distribution.behavior]]",
        "timeouts = { idle = \"60s\" }\n[[distribution.behavior]]",
    );
    let first = lasting(plain(one.address, "")) + &second;
    let edge = Edge::start(&first);
    let ask = |what: &str| {
        for host in ["h.test", "two.test"] {
            assert_eq!(edge.get_with("/a", &[&format!("Host: {host}")]).status, 200, "{what}");
        }
        (one.accepted(), two.accepted())
    };
    assert_eq!((ask("a first time"), ask("again")), ((1, 1), (1, 1)));
    for (what, text) in [
        ("the same file", first.clone()),
        ("again the same", first.clone()),
        ("a behavior more", first.replacen(ANY, &format!("{}{ANY}", behavior("/new/*", "")), 1)),
        (
            "another field for the origin",
            first.replacen("timeouts", "headers = { x-new = \"1\" }\ntimeouts", 1),
        ),
        ("more time for its answers", first.replace("response = \"3s\"", "response = \"5s\"")),
        ("another id", first.replace("id = \"E1\"", "id = \"E3\"")),
    ] {
        reload(&edge, &text);
        assert_eq!(ask(what), (1, 1), "{what}");
    }
    assert!(
        one.seen().iter().any(|asked| asked.field("x-new").is_some()),
        "what is sent is the new configuration's"
    );
}

// A connection to a server that is no origin any more ends as one that lies idle for too long.
#[test]
fn connections_to_an_origin_that_left_are_closed() {
    let (old, new) = (Origin::start(pass), Origin::start(pass));
    let text = |origin: &Origin| {
        plain(origin.address, "")
            .replace("workers = 2", "workers = 1")
            .replace("response = \"3s\"", "response = \"3s\", idle = \"1s\"")
    };
    let edge = Edge::start(&text(&old));
    assert_eq!(edge.get("/a").status, 200);
    reload(&edge, &text(&new));
    assert_eq!((edge.get("/a").status, old.accepted(), new.accepted()), (200, 1, 1));
    eventually("the old one hears no more of us", || old.open() == 0);
}

// A connection over which an origin has proved itself is no proof where another proof is asked for.
#[test]
fn a_connection_does_not_outlive_the_proof_it_was_made_with() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(folder.path(), &["localhost"]);
    let elsewhere = tempfile::tempdir().unwrap();
    let (other_ca, ..) = certificates(elsewhere.path(), &["localhost"]);
    let origin = Origin::start_tls(server_config(folder.path(), "localhost"), pass);
    let text = |ca: &std::path::Path| {
        plain("127.0.0.1:1".parse().unwrap(), "")
            .replace("http://127.0.0.1:1", &format!("https://localhost:{}", origin.address.port()))
            .replace("timeouts", &format!("tls = {{ ca = {ca:?} }}\ntimeouts"))
            .replace("workers = 2", "workers = 1")
            .replace("response = \"3s\"", "response = \"3s\", idle = \"60s\"")
    };
    let edge = Edge::start(&text(&ca));
    // Each time for something else: an error is kept for a while.
    let ask = |path: &str| edge.get(path).status;
    assert_eq!((ask("/1"), ask("/2"), origin.accepted()), (200, 200, 1));
    reload(&edge, &text(&ca));
    assert_eq!((ask("/3"), origin.accepted()), (200, 1), "the same proof");
    reload(&edge, &text(&other_ca));
    assert_eq!(ask("/4"), 502, "nobody whom it trusts now has vouched for the origin");
    reload(&edge, &text(&ca));
    assert_eq!(ask("/5"), 200);
}
