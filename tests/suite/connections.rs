//! What viewers do with a connection beside asking well: they offer other protocols, leave without
//! a word, send what is no request, or come in numbers and say nothing.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::support::edge::{certificates, plain};
use super::support::frames::{END_HEADERS, END_STREAM, Frames, HEADERS, block, fields, frame};
use super::support::origin::{after, answer, fresh};
use super::support::viewer::request;
use super::support::{Edge, Origin, Say, Viewer, eventually};

#[test]
fn rfc9110_7_8_an_offer_to_upgrade_is_ignored() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: no-store", b"fine"));
    let edge = Edge::before(origin.address, "");
    let offers = [
        ("1.1", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"),
        ("1.1", "Connection: keep-alive, upgrade\r\nUpgrade: TLS/1.3, TLS/1.2\r\n"),
        ("1.1", "Connection: Upgrade\r\nUpgrade: HTTP/2.0\r\n"),
        (
            "1.1",
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\n",
        ),
        ("1.1", "Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n"),
        ("1.1", "Connection: Upgrade\r\nUpgrade: irc/6.9\r\n"),
        ("1.1", "Connection: Upgrade\r\nUpgrade:\r\n"),
        ("1.1", "Upgrade: websocket\r\n"),
        ("1.0", "Connection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("1.0", "Connection: Upgrade\r\nUpgrade: TLS/1.2\r\n"),
    ];
    for (version, offer) in offers {
        let mut viewer = edge.viewer();
        viewer.send(format!("GET /a HTTP/{version}\r\nHost: h.test\r\n{offer}\r\n").as_bytes());
        let seen = viewer.read("GET").unwrap();
        assert_eq!((seen.status, seen.text()), (200, "fine".into()), "{version} {offer:?}");
        assert!(seen.field("upgrade").is_none(), "{}", seen.head);
    }
    let asked = origin.seen();
    assert_eq!(asked.len(), offers.len());
    for asked in asked {
        assert!(
            asked.field("upgrade").is_none() && asked.field("http2-settings").is_none(),
            "{}",
            asked.head
        );
    }
    for offer in [
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: keep-alive, upgrade\r\nUpgrade: WebSocket\r\n",
    ] {
        let mut viewer = edge.viewer();
        viewer.send(format!("GET /a HTTP/1.1\r\nHost: h.test\r\n{offer}\r\n").as_bytes());
        // A handshake, and not a good one.
        assert_eq!(viewer.read("GET").unwrap().status, 426, "{offer:?}");
    }
}

fn reset(tcp: TcpStream) {
    socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
}

// One connection to the origin, and an edge that passes everything on.
fn narrow(origin: &Origin) -> Edge {
    Edge::start(&narrow_config(origin, ""))
}

fn narrow_config(origin: &Origin, more: &str) -> String {
    plain(origin.address, more)
        .replace("timeouts = {", "connections = 1\ntimeouts = {")
        .replace("response = \"3s\"", "response = \"30s\"")
        .replace(
            "origin = \"o\"\n",
            "origin = \"o\"\nmethods = \"all\"\ncache_policy = \"CachingDisabled\"\n",
        )
}

#[test]
fn a_viewer_that_resets_gives_its_place_at_the_origin_back() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/head" => after(25_000, fresh(b"late")),
        "/body" => vec![
            Say::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbegun".to_vec()),
            Say::Wait(Duration::from_secs(25)),
        ],
        _ => answer(200, "Cache-Control: no-store", b"fine"),
    });
    let edge = narrow(&origin);
    let post = b"POST /head HTTP/1.1\r\nHost: h.test\r\nContent-Length: 4\r\n\r\nbody".to_vec();
    let pipelined = [request("GET", "/head", &[]), request("GET", "/never", &[])].concat();
    for (what, asks, ends_first) in [
        ("waiting for a head", request("GET", "/head", &[]), false),
        ("waiting for a body", request("GET", "/body", &[]), false),
        ("having asked for more", pipelined, false),
        ("having sent a body", post, false),
        ("having ended its side", request("GET", "/head", &[]), true),
    ] {
        let before = origin.count();
        let mut viewer = TcpStream::connect(edge.http).unwrap();
        viewer.write_all(&asks).unwrap();
        eventually("the origin is asked", || origin.count() > before);
        if what == "waiting for a body" {
            let mut head = [0; 16];
            viewer.read_exact(&mut head).unwrap();
        }
        if ends_first {
            viewer.shutdown(Shutdown::Write).unwrap();
        }
        reset(viewer);
        let began = Instant::now();
        assert_eq!(edge.get("/next").text(), "fine", "{what}");
        assert!(began.elapsed() < Duration::from_secs(15), "{what}: {:?}", began.elapsed());
    }
    assert!(origin.seen().iter().all(|asked| asked.target != "/never"));
}

#[test]
fn a_viewer_over_tls_gives_its_place_back_too() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/head" => after(25_000, fresh(b"late")),
        _ => answer(200, "Cache-Control: no-store", b"fine"),
    });
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let config =
        narrow_config(&origin, &format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n"))
            .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    for asks in [
        request("GET", "/head", &[]),
        b"POST /head HTTP/1.1\r\nHost: h.test\r\nContent-Length: 4\r\n\r\nbody".to_vec(),
    ] {
        let before = origin.count();
        let mut viewer = Viewer::connect_tls(edge.https.unwrap(), "h.test", &ca).unwrap();
        viewer.send(&asks);
        eventually("the origin is asked", || origin.count() > before);
        viewer.reset();
        let began = Instant::now();
        assert_eq!(edge.get("/next").text(), "fine");
        assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    }
}

#[test]
fn rfc9111_4_4_a_write_whose_viewer_left_makes_old_what_it_may_have_changed() {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "GET" => fresh(b"page"),
        _ => after(20_000, answer(200, "", b"done")),
    });
    let config = plain(origin.address, "")
        .replace("response = \"3s\"", "response = \"30s\"")
        .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n");
    let edge = Edge::start(&config);
    for path in ["/page", "/other"] {
        assert_eq!(
            (edge.get(path).cache(), edge.get(path).cache()),
            ("Miss".into(), "Hit".into()),
            "{path}"
        );
    }
    let before = origin.count();
    let mut viewer = TcpStream::connect(edge.http).unwrap();
    viewer
        .write_all(b"POST /page HTTP/1.1\r\nHost: h.test\r\nContent-Length: 4\r\n\r\nbody")
        .unwrap();
    eventually("the origin is asked", || origin.count() > before);
    reset(viewer);
    eventually("the write is taken into account", || {
        edge.metric("foreshore_invalidations_head") >= 1.0
    });
    assert_eq!(
        (edge.get("/page").cache(), edge.get("/other").cache()),
        ("Miss".into(), "Hit".into())
    );
}

#[test]
fn rfc9111_4_4_a_write_that_is_not_answered_in_time_makes_old_what_it_may_have_changed() {
    let origin = Origin::start(|asked| match asked.method.as_str() {
        "GET" => fresh(b"page"),
        _ => after(20_000, answer(200, "", b"done")),
    });
    let config = plain(origin.address, "")
        .replace("response = \"3s\"", "response = \"1s\"")
        .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n");
    let edge = Edge::start(&config);
    for path in ["/page", "/other"] {
        assert_eq!((edge.get(path).status, edge.get(path).cache()), (200, "Hit".into()), "{path}");
    }
    let mut viewer = edge.viewer();
    viewer.send(b"POST /page HTTP/1.1\r\nHost: h.test\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(viewer.read("POST").unwrap().status, 504);
    assert_eq!(
        (edge.get("/page").cache(), edge.get("/other").cache()),
        ("Miss".into(), "Hit".into())
    );
}

#[test]
fn a_viewer_that_only_ends_its_own_side_is_answered() {
    let origin = Origin::start(|_| after(1_000, answer(200, "Cache-Control: no-store", b"fine")));
    let edge = narrow(&origin);
    for asks in [
        request("GET", "/a", &[]),
        b"POST /a HTTP/1.1\r\nHost: h.test\r\nContent-Length: 4\r\n\r\nbody".to_vec(),
    ] {
        let mut viewer = TcpStream::connect(edge.http).unwrap();
        viewer.write_all(&asks).unwrap();
        viewer.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        viewer.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("fine"), "{answer}");
    }
}

#[test]
fn a_refused_head_is_in_the_log_and_in_the_metrics() {
    let origin = Origin::start(|_| fresh(b"x"));
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let config =
        plain(origin.address, &format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n"))
            .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    let many = format!("GET /many HTTP/1.1\r\nHost: h\r\n{}\r\n", "A: b\r\n".repeat(200));
    let wide = format!("GET /wide HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(21_000));
    let heads: [(&str, &[u8], &str); 14] = [
        ("malformed", b"GET /one two HTTP/1.1\r\nHost: h\r\n\r\n", "GET /one two HTTP/1.1"),
        ("malformed", b"GET /\x1b[31m\x9b\x07 HTTP/1.1\r\nHost: h\r\n\r\n", "GET /\u{1b}[31m\u{fffd}\u{7} HTTP/1.1"),
        ("no-host", b"GET /nobody HTTP/1.1\r\n\r\n", "GET /nobody HTTP/1.1"),
        ("framing", b"POST /s HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "POST /s HTTP/1.1"),
        ("unsafe-path", b"GET /a/../b?Signature=abc HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a/../b?Signature=-"),
        ("line-end", b"GET /bare HTTP/1.1\nHost: h\n\n", "GET /bare HTTP/1.1"),
        ("version", b"GET /two HTTP/2.0\r\nHost: h\r\n\r\n", "GET /two HTTP/2.0"),
        ("many-hosts", b"GET /hosts HTTP/1.1\r\nHost: h\r\nHost: h\r\n\r\n", "GET /hosts HTTP/1.1"),
        ("bad-host", b"GET /host HTTP/1.1\r\nHost: u@h\r\n\r\n", "GET /host HTTP/1.1"),
        ("bad-target", b"GET /a#b HTTP/1.1\r\nHost: h\r\n\r\n", "GET /a#b HTTP/1.1"),
        ("coding", b"POST /c HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "POST /c HTTP/1.1"),
        ("connect", b"CONNECT h:1 HTTP/1.1\r\nHost: h:1\r\n\r\n", "CONNECT h:1 HTTP/1.1"),
        ("many-fields", many.as_bytes(), "GET /many HTTP/1.1"),
        ("long-head", wide.as_bytes(), "GET /wide HTTP/1.1"),
    ];
    for (_, head, _) in heads {
        let mut viewer = edge.viewer();
        viewer.send(head);
        assert!(viewer.read("GET").unwrap().status >= 400);
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "l".repeat(9_000));
    let mut viewer = edge.viewer();
    viewer.send(long.as_bytes());
    assert_eq!(viewer.read("GET").unwrap().status, 414);
    let mut frames = Frames::connect(edge.https.unwrap(), &ca, &[]);
    frames.send(&frame(
        HEADERS,
        END_HEADERS | END_STREAM,
        1,
        &block(&fields("GET", "/h2/../x", &[])),
    ));
    assert_eq!(frames.answer(1).statuses(), ["400"]);
    // What was a request, and may not.
    let mut viewer = edge.viewer();
    viewer.send(&request("DELETE", "/a", &[]));
    assert_eq!(viewer.read("DELETE").unwrap().status, 403);
    let path = edge.path().join("access.log");
    let lines = || std::fs::read(&path).unwrap_or_default();
    eventually("all of them are written down", || {
        memchr::memchr_iter(b'\n', &lines()).count() == heads.len() + 3
    });
    let text = String::from_utf8(lines()).unwrap();
    assert!(!text.chars().any(|c| c.is_control() && c != '\n'), "{text:?}");
    let records: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let told = |reason: &str, line: &str| {
        records.iter().any(|record| {
            record["reason"] == reason
                && record["request_line"].as_str().is_some_and(|said| said.starts_with(line))
        })
    };
    for (reason, _, line) in heads {
        assert!(told(reason, line), "{reason}: {line:?} in {text}");
    }
    assert!(told("long-url", "GET /llll") && text.lines().all(|line| line.len() < 1_000), "{text}");
    assert!(told("unsafe-path", "GET /h2/../x HTTP/2"), "{text}");
    assert!(
        records
            .iter()
            .any(|record| record["reason"] == "method-not-allowed" && record["path"] == "/a"),
        "{text}"
    );
    let (_, metrics) = edge.admin("GET", "/metrics", "");
    for (rule, count) in [
        ("malformed", 2),
        ("unsafe-path", 2),
        ("long-url", 1),
        ("method-not-allowed", 1),
        ("loop", 0),
    ] {
        let line = format!("foreshore_refusals_total{{rule=\"{rule}\"}} {count}");
        assert!(metrics.lines().any(|said| said == line), "{line}");
    }
}

#[test]
fn idle_viewers_make_room_where_descriptors_are_few() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::start_with_files(&plain(origin.address, ""), 96);
    assert_eq!(edge.get("/kept").text(), "/kept");
    let idle: Vec<TcpStream> = (0..150).map(|_| TcpStream::connect(edge.http).unwrap()).collect();
    for turn in 0..4 {
        assert_eq!(edge.get("/kept").text(), "/kept", "turn {turn}");
    }
    assert_eq!(edge.get("/cold").text(), "/cold", "origins have descriptors left");
    assert_eq!(edge.purge(&["/kept"])["status"], "Completed");
    assert!(edge.metric("foreshore_idle_connections_closed_total") > 0.0);
    drop(idle);
    for turn in 0..20 {
        let path = format!("/cold/{turn}");
        assert_eq!(edge.get(&path).text(), path);
    }
    assert!(edge.log().contains("the limit of open files leaves room for fewer"), "{}", edge.log());
    assert!(edge.log().matches("accepting failed").count() <= 1, "{}", edge.log());
}

#[test]
fn a_viewer_that_is_being_served_is_not_sent_away() {
    let origin = Origin::start(|_| after(2_000, answer(200, "Cache-Control: no-store", b"fine")));
    let config = plain(origin.address, "[limits]\nconnections = 2\n");
    let edge = Edge::start(&config.replace("response = \"3s\"", "response = \"30s\""));
    let mut served = edge.viewer();
    served.send(&request("GET", "/slow", &[]));
    eventually("the origin is asked", || origin.count() == 1);
    // These take the other place from each other.
    let idle: Vec<TcpStream> = (0..3).map(|_| TcpStream::connect(edge.http).unwrap()).collect();
    eventually("one of them is sent away", || {
        edge.metric("foreshore_idle_connections_closed_total") > 0.0
    });
    assert_eq!(served.read("GET").unwrap().text(), "fine");
    drop(idle);
}
