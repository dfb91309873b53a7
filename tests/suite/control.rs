//! The admin listener and the signals, as an operator meets them.

use super::support::edge::{command, plain};
use super::support::origin::{after, answer, fresh};
use super::support::viewer::request;
use super::support::{Edge, Origin, eventually};

#[test]
fn the_door_wants_a_token() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    for fields in [
        "",
        "Authorization: Bearer \r\n",
        "Authorization: Bearer wrong\r\n",
        "Authorization: Basic eDp5\r\n",
    ] {
        for (method, path) in [
            ("GET", "/v1/status"),
            ("GET", "/metrics"),
            ("POST", "/v1/invalidations"),
            ("POST", "/v1/reload"),
            ("POST", "/v1/edge/invalidations"),
            ("POST", "/v1/fleet/call"),
            ("POST", "/v1/events/s3"),
        ] {
            assert_eq!(
                edge.admin_with(method, path, "{}", fields).0,
                401,
                "{method} {path} {fields:?}"
            );
        }
    }
    assert_eq!(edge.admin_with("GET", "/healthz", "", "").0, 200);
    assert_eq!(edge.admin_with("GET", "/readyz", "", "").0, 200);
    assert_eq!(edge.admin("GET", "/v1/status", "").0, 200);
    assert_eq!(edge.admin("GET", "/nothing", "").0, 404);
    use std::os::unix::fs::PermissionsExt;
    let mode = |name: &str| {
        std::fs::metadata(edge.path().join(name)).unwrap().permissions().mode() & 0o777
    };
    assert_eq!(
        (mode("data/admin-token"), mode("data/ticket-keys"), mode("data")),
        (0o600, 0o600, 0o700)
    );
    // The data port knows none of this.
    assert_eq!(edge.get("/v1/status").text(), "x");
    assert!(!edge.log().contains(&edge.token()));
}

#[test]
fn invalidations_are_counted_listed_and_refused_precisely() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: max-age=600\nCache-Tag: all, t1", asked.target.as_bytes())
    });
    let edge = Edge::before(origin.address, "");
    for path in ["/img/a", "/img/b", "/img/b?x=1", "/doc"] {
        edge.get(path);
    }
    let dry: serde_json::Value = serde_json::from_str(
        &edge.admin("POST", "/v1/invalidations", r#"{"paths":["/img/*"],"dry_run":true}"#).1,
    )
    .unwrap();
    assert_eq!(
        (dry["covered"].as_u64(), dry["responses"].as_array().map(Vec::len)),
        (Some(3), Some(3))
    );
    assert_eq!(edge.get("/img/a").cache(), "Hit", "a dry run does nothing");
    let done = edge.purge(&["/img/b*"]);
    assert_eq!(done["covered"].as_u64(), Some(2));
    assert_eq!(
        (edge.get("/img/b").cache(), edge.get("/img/a").cache()),
        ("Miss".into(), "Hit".into())
    );
    let id = done["id"].as_str().unwrap();
    let (status, one) = edge.admin("GET", &format!("/v1/invalidations/{id}"), "");
    assert!(status == 200 && one.contains("/img/b*") && one.contains("Completed"), "{one}");
    assert_eq!(edge.admin("GET", "/v1/invalidations/INONE", "").0, 404);
    assert_eq!(edge.purge(&["#T1"])["covered"].as_u64(), Some(3));
    assert!(edge.admin("GET", "/v1/invalidations", "").1.contains("#t1"));
    for (body, word) in [
        (r#"{"paths":["img/*"]}"#, "must begin with"),
        (r#"{"paths":["/a*b"]}"#, "last character"),
        (r#"{"paths":[]}"#, "at least one"),
        (r#"{"path":["/a"]}"#, "unknown field"),
        (r#"{"paths":["/a"],"distribution":"E9"}"#, "no distribution"),
        ("nonsense", "not as expected"),
    ] {
        let (status, said) = edge.admin("POST", "/v1/invalidations", body);
        assert!((400..500).contains(&status) && said.contains(word), "{body}: {status} {said}");
    }
    assert_eq!(edge.metric("foreshore_invalidations_head") as u64, 2);
}

// Nothing asked for before it is served after it, not from a fill in flight either.
#[test]
fn an_acknowledged_invalidation_beats_a_fill_in_flight() {
    let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let origin = Origin::start(move |_| {
        let version = count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        after(if version == 0 { 800 } else { 0 }, fresh(format!("v{version}").as_bytes()))
    });
    let edge = Edge::before(origin.address, "");
    let mut early = edge.viewer();
    early.send(&request("GET", "/a", &[]));
    eventually("the origin is asked", || origin.count() == 1);
    edge.purge(&["/a"]);
    assert_eq!(edge.get("/a").text(), "v1", "nobody joins a fetch that began before");
    assert_eq!(early.read("GET").unwrap().text(), "v0", "who asked before may have it");
    for _ in 0..3 {
        assert_eq!(edge.get("/a").text(), "v1");
    }
}

// A version oracle: readers note the last acknowledged version before they ask, and must not read
// an older one.
#[test]
fn no_read_is_older_than_the_last_acknowledged_purge() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
    let version = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let now = told.load(SeqCst);
        if asked.field("if-none-match").as_deref() == Some(&format!("\"{now}\"")) {
            return after(2, answer(304, "Cache-Control: max-age=600", b""));
        }
        after(
            2,
            answer(
                200,
                &format!("Cache-Control: max-age=600\nETag: \"{now}\""),
                now.to_string().as_bytes(),
            ),
        )
    });
    let edge = Edge::before(origin.address, "");
    let (acknowledged, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let reads = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                let mut viewer = edge.viewer();
                while !stop.load(SeqCst) {
                    let least = acknowledged.load(SeqCst);
                    let seen: u64 = viewer.get("/a", &[]).text().parse().unwrap();
                    assert!(seen >= least, "read {seen} after {least} was acknowledged");
                    reads.fetch_add(1, SeqCst);
                }
            });
        }
        for round in 1..=150u64 {
            version.store(round, SeqCst);
            let body = if round % 3 == 0 {
                r#"{"paths":["/a"],"soft":true}"#
            } else {
                r#"{"paths":["/a"]}"#
            };
            assert_eq!(edge.admin("POST", "/v1/invalidations", body).0, 201);
            acknowledged.store(round, SeqCst);
        }
        stop.store(true, SeqCst);
    });
    assert!(reads.load(SeqCst) > 100);
}

#[test]
fn the_command_reloads_and_tells_each_mistake() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    let (admin, token) = (edge.admin.to_string(), edge.path().join("data/admin-token"));
    let reload = || {
        let arguments =
            ["reload", "--admin", admin.as_str(), "--token-file", token.to_str().unwrap()];
        command(edge.path(), &arguments)
    };
    let (code, said, wrong) = reload();
    assert_eq!((code, said.trim()), (0, "reloaded"), "{wrong}");
    let file = edge.path().join("edge.toml");
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text + "nonsense = 1\n").unwrap();
    let (code, said, wrong) = reload();
    assert!(code == 1 && said.is_empty(), "{said}");
    assert!(wrong.contains("edge.toml:") && wrong.contains("nonsense"), "{wrong}");
    assert_eq!(edge.get("/a").text(), "x");
}

#[test]
fn a_reload_swaps_everything_or_nothing() {
    let (first, second) = (Origin::start(|_| fresh(b"first")), Origin::start(|_| fresh(b"second")));
    let edge = Edge::before(first.address, "");
    edge.get("/kept");
    let file = edge.path().join("edge.toml");
    let good = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, good.replace("path = \"*\"", "pth = \"*\"")).unwrap();
    edge.signal(rustix::process::Signal::HUP);
    eventually("the mistake is reported", || {
        edge.admin("GET", "/v1/status", "").1.contains("did you mean")
    });
    let status: serde_json::Value =
        serde_json::from_str(&edge.admin("GET", "/v1/status", "").1).unwrap();
    assert_eq!(status["last_reload"]["ok"], false);
    assert!(status["last_reload"]["problems"][0].as_str().unwrap().contains("edge.toml:"));
    assert_eq!(edge.get("/other").text(), "first", "the running configuration stays");
    // A changed file is noticed without a signal.
    std::fs::write(&file, good.replace(&first.address.to_string(), &second.address.to_string()))
        .unwrap();
    let mut at = 0;
    eventually("the new origin answers", || {
        at += 1;
        edge.get(&format!("/new{at}")).text() == "second"
    });
    assert_eq!(
        (edge.get("/kept").text(), edge.get("/kept").cache()),
        ("first".into(), "Hit".into()),
        "what was stored is kept"
    );
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert!(status == 200 && said.contains("\"ok\": true"), "{said}");
}

#[test]
fn two_edges_never_share_a_data_folder_or_a_port() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    let said = Edge::try_start_in(std::sync::Arc::clone(&edge.folder)).err().expect("refused");
    assert!(said.contains("another edge runs on the data folder") || said.is_empty(), "{said}");
    let other = tempfile::tempdir().unwrap();
    let config = plain(origin.address, "").replacen("127.0.0.1:0", &edge.http.to_string(), 1);
    std::fs::write(other.path().join("edge.toml"), config).unwrap();
    let (code, _, said) = command(other.path(), &["run", "--config", "edge.toml"]);
    assert!(code == 1 && said.contains("listen.http") && said.contains("in use"), "{said}");
}

// Deploy scripts look up which distribution they are to invalidate.
#[test]
fn calls_without_a_signature_may_look_distributions_up_where_no_api_makes_any() {
    let origin = Origin::start(|_| fresh(b"x"));
    let start = |more: &str| {
        let text = plain(origin.address, more);
        Edge::start(&text.replacen("[admin]\n", "[admin]\nunsigned = \"allow\"\n", 1))
    };
    let edge = start("");
    let ask =
        |edge: &Edge, what: &str| edge.admin_with("GET", &format!("/2020-05-31/{what}"), "", "");
    let (status, said) = ask(&edge, "distribution");
    assert!(status == 200 && said.contains("<Id>E1</Id>"), "{status} {said}");
    let (status, said) = ask(&edge, "distribution/E1");
    assert!(status == 200 && said.contains("<Status>Deployed</Status>"), "{status} {said}");
    for what in ["distribution/E1/config", "key-group", "public-key"] {
        let (status, said) = ask(&edge, what);
        assert!(
            status == 403 && said.contains("<Code>AccessDenied</Code>"),
            "{what} {status} {said}"
        );
    }
    // A page that is open in a browser is no script, whatever site it is of.
    let page = "Origin: http://evil.test\r\n";
    assert_eq!(edge.admin_with("GET", "/2020-05-31/distribution", "", page).0, 403);
    assert_eq!(ask(&start("[api]\n"), "distribution").0, 403);
    assert_eq!(ask(&Edge::before(origin.address, ""), "distribution").0, 403);
}

#[test]
fn purge_as_a_command() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    edge.get("/a");
    let (admin, token) = (edge.admin.to_string(), edge.path().join("data/admin-token"));
    let purge = |args: &[&str]| {
        let mut all = vec!["purge", "--admin", &admin, "--token-file", token.to_str().unwrap()];
        all.extend_from_slice(args);
        command(edge.path(), &all)
    };
    let (code, out, err) = purge(&["/*", "--dry-run"]);
    assert!(
        code == 0 && out.contains("1 stored response would be covered") && out.contains("E1|/a"),
        "{out}{err}"
    );
    let (code, out, _) = purge(&["/a", "--soft"]);
    assert!(code == 0 && out.contains("1 stored response covered"), "{out}");
    let (code, _, err) = purge(&["a"]);
    assert!(code == 1 && err.contains("must begin with"), "{err}");
    assert_eq!(purge(&[]).0, 1);
    // Outside a fleet there is nothing to wait for, however long one would.
    for wait in [&["--wait"][..], &["--wait", "0"], &["--wait", "60"]] {
        let (code, out, err) = purge(&[&["/a"][..], wait].concat());
        assert!(code == 0 && out.contains("in effect everywhere"), "{wait:?} {out}{err}");
    }
    assert_eq!(purge(&["/a", "--wait", "61"]).0, 2);
    let (code, out, err) = purge(&["--wait", "/a"]);
    assert!(code == 0 && out.contains("in effect everywhere"), "{out}{err}");
    let (status, said) =
        edge.admin("POST", "/v1/invalidations", r#"{"paths": ["/a"], "wait": 61}"#);
    assert!(status == 400 && said.contains("wait is at most 60 seconds"), "{status} {said}");
    let (status, said) =
        edge.admin("POST", "/v1/invalidations", r#"{"paths": ["/a"], "wait": "15s"}"#);
    assert!(status == 400 && said.contains("expected a whole number"), "{status} {said}");
    let (code, out, err) = command(
        edge.path(),
        &["fleet", "--admin", &admin, "--token-file", token.to_str().unwrap()],
    );
    assert!(code == 1 && out.is_empty() && !err.is_empty(), "{code} {out}{err}");
    let (code, _, err) = command(
        edge.path(),
        &["purge", "/a", "--admin", "127.0.0.1:1", "--token-file", token.to_str().unwrap()],
    );
    assert!(code == 1 && err.contains("is the edge running"), "{err}");
}

#[test]
fn purge_as_a_command_over_tls() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    super::support::edge::certificates(folder.path(), &["localhost", "127.0.0.1"]);
    let more = "[[certificate]]\nchain = \"tls/localhost.pem\"\nkey = \"tls/localhost.key\"";
    let config = plain(origin.address, more).replace("[admin]\n", "[admin]\ntransport = \"tls\"\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    let (admin, token) = (format!("https://{}", edge.admin), edge.path().join("data/admin-token"));
    let token = token.to_str().unwrap();
    let (code, out, err) = command(
        edge.path(),
        &["purge", "/*", "--admin", &admin, "--token-file", token, "--ca", "tls/ca.pem", "--wait"],
    );
    assert!(
        code == 0 && out.contains("completed") && out.contains("in effect everywhere"),
        "{out}{err}"
    );
    let (code, _, err) =
        command(edge.path(), &["purge", "/*", "--admin", &admin, "--token-file", token]);
    assert!(code == 1 && err.contains("certificate is not valid"), "{err}");
}

#[test]
fn the_access_log_and_the_metrics_agree() {
    let origin =
        Origin::start(
            |asked| if asked.target == "/e" { answer(500, "", b"") } else { fresh(b"12345") },
        );
    let edge = Edge::before(origin.address, "");
    for path in ["/a", "/a", "/b", "/e"] {
        edge.get_with(path, &["User-Agent: \"quoted\" \\ agent"]);
    }
    let read = || std::fs::read_to_string(edge.path().join("access.log")).unwrap();
    eventually("four lines are written", || read().matches('\n').count() == 4);
    let lines: Vec<serde_json::Value> =
        read().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Each core writes its own lines.
    let mut results: Vec<&str> =
        lines.iter().map(|line| line["result"].as_str().unwrap()).collect();
    results.sort_unstable();
    assert_eq!(results, ["Error", "Hit", "Miss", "Miss"]);
    assert!(
        lines
            .iter()
            .all(|line| line["user_agent"] == "\"quoted\" \\ agent" && line["host"] == "h.test"),
        "{lines:?}"
    );
    assert_eq!(edge.metric("foreshore_requests_total") as u64, 4);
    assert_eq!(edge.metric("foreshore_body_bytes_total") as u64, 15);
    assert_eq!(
        edge.metric("foreshore_origin_seconds_count") as u64,
        3,
        "the origin was asked three times"
    );
    assert_eq!(edge.metric("foreshore_store_objects") as u64, 3);
}

#[test]
fn purge_as_a_method_needs_its_token() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: max-age=600\nETag: \"1\"", asked.target.as_bytes())
    });
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("purge"), "let-me\n").unwrap();
    let text = plain(origin.address, "")
        .replace("hosts = [\"*\"]", "hosts = [\"*\"]\npurge = { token = { file = \"purge\" } }");
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let edge = Edge::start_in(folder);
    let purge = |path: &str, fields: &[&str]| {
        let mut viewer = edge.viewer();
        viewer.send(&request("PURGE", path, fields));
        viewer.read("PURGE").unwrap()
    };
    let token = "Authorization: Bearer let-me";
    for path in ["/img/a", "/img/b", "/c"] {
        assert_eq!((edge.get(path).cache(), edge.get(path).cache()), ("Miss".into(), "Hit".into()));
    }
    for (fields, status) in [
        (&[][..], 401),
        (&["Authorization: Bearer wrong"], 401),
        (&["Authorization: Bearer "], 401),
    ] {
        let seen = purge("/img/a", fields);
        assert_eq!(
            (seen.status, seen.field("www-authenticate").as_deref()),
            (status, Some("Bearer"))
        );
    }
    assert_eq!(edge.get("/img/a").cache(), "Hit");
    // The scheme's name has no case.
    let done = purge("/img/a", &["Authorization: bearer let-me"]);
    assert!(done.status == 200 && done.text().contains("\"number\": 1"), "{}", done.text());
    let log = || std::fs::read_to_string(edge.path().join("access.log")).unwrap_or_default();
    eventually("the log says what it was", || {
        log().lines().any(|line| {
            line.contains("\"PURGE\"")
                && line.contains("\"reason\":\"purged\"")
                && line.contains("\"E1\"")
        })
    });
    assert_eq!(
        (edge.get("/img/a").cache(), edge.get("/img/b").cache()),
        ("Miss".into(), "Hit".into())
    );
    assert_eq!(purge("/img/*", &[token]).status, 200);
    assert_eq!((edge.get("/img/b").cache(), edge.get("/c").cache()), ("Miss".into(), "Hit".into()));
    // Soft: kept, and asked about.
    assert_eq!(purge("/c", &[token, "Soft-Purge: 1"]).status, 200);
    assert_ne!(edge.get("/c").cache(), "Hit");
    // A hard one frees the memory.
    assert_eq!(purge("/*", &[token]).status, 200);
    eventually("a purge frees memory", || edge.metric("foreshore_store_objects") == 0.0);
    // After a crash it holds still; and where no token is set no viewer purges.
    let edge = Edge::start_in(edge.kill());
    assert_eq!(edge.metric("foreshore_invalidations_head") as u64, 4);
    let closed = Edge::before(origin.address, "");
    let mut viewer = closed.viewer();
    viewer.send(&request("PURGE", "/c", &[token]));
    assert_eq!(viewer.read("PURGE").unwrap().status, 403);
}
