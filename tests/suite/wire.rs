//! Real sockets: the edge as viewers and origins see it.

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use super::support::edge::{certificates, plain};
use super::support::origin::{after, answer, fresh, raw};
use super::support::tool::{self, Tool};
use super::support::viewer::request;
use super::support::{Edge, Origin, Say, Viewer, eventually, free_port};

#[test]
fn a_hit_does_not_ask_the_origin() {
    let origin = Origin::start(|_| fresh(b"hello"));
    let edge = Edge::before(origin.address, "");
    let first = edge.get("/a");
    assert_eq!((first.status, first.text(), first.cache()), (200, "hello".into(), "Miss".into()));
    let mut viewer = edge.viewer();
    for _ in 0..3 {
        let hit = viewer.get("/a", &[]);
        assert_eq!(
            (hit.text(), hit.cache(), hit.field("via")),
            ("hello".into(), "Hit".into(), Some("1.1 foreshore".into()))
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::before(origin.address, "");
    edge.get("/1");
    let mut viewer = edge.viewer();
    let all: Vec<u8> =
        ["/1", "/2", "/1", "/3"].iter().flat_map(|path| request("GET", path, &[])).collect();
    viewer.send(&all);
    for path in ["/1", "/2", "/1", "/3"] {
        assert_eq!(viewer.read("GET").unwrap().text(), path);
    }
}

#[test]
fn heads_that_smuggle_are_refused_and_the_connection_closed() {
    let origin = Origin::start(|_| fresh(b"x"));
    let edge = Edge::before(origin.address, "");
    for head in [
        "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nHost: i\r\n\r\n",
        "GET / HTTP/1.1\nHost: h\n\n",
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: h\r\nA: b\r\n c\r\n\r\n",
    ] {
        let mut viewer = edge.viewer();
        viewer.send(head.as_bytes());
        viewer.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n");
        assert_eq!(viewer.read("GET").unwrap().status, 400, "{head:?}");
        assert!(viewer.is_closed(), "{head:?}");
    }
    let mut viewer = edge.viewer();
    viewer.send(format!("GET /{} HTTP/1.1\r\nHost: h\r\n\r\n", "a".repeat(9000)).as_bytes());
    assert_eq!(viewer.read("GET").unwrap().status, 414);
    let mut viewer = edge.viewer();
    viewer
        .send(format!("GET / HTTP/1.1\r\nHost: h\r\nA: {}\r\n\r\n", "a".repeat(21_000)).as_bytes());
    assert_eq!(viewer.read("GET").unwrap().status, 431);
    assert_eq!(origin.count(), 0);
    eventually("they are counted", || edge.metric("foreshore_bad_requests_total") >= 7.0);
}

// CVE-2025-4366: what is left of a body is never the next request.
#[test]
fn an_unread_body_is_never_a_request() {
    let origin = Origin::start(|_| fresh(b"cached"));
    let edge = Edge::before(origin.address, "");
    edge.get("/a");
    let body = "GET /evil HTTP/1.1\r\nHost: h.test\r\n\r\n";
    let mut viewer = edge.viewer();
    viewer.send(
        format!("GET /a HTTP/1.1\r\nHost: h.test\r\nContent-Length: {}\r\n\r\n{body}", body.len())
            .as_bytes(),
    );
    assert_eq!(viewer.read("GET").unwrap().status, 403, "a GET with a body");
    viewer.send(&request("GET", "/a", &[]));
    if let Some(next) = viewer.read("GET") {
        assert_eq!(next.text(), "cached");
    }
    assert!(origin.seen().iter().all(|asked| asked.target != "/evil"));
}

#[test]
fn a_truncated_or_reset_answer_is_never_stored_and_never_looks_whole() {
    let origin = Origin::start(|asked| {
        match asked.target.as_str() {
        "/short" => raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nonly this"),
        "/chunks" => raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"),
        "/reset" => vec![
            Say::Bytes(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 100\r\n\r\nonly".to_vec()),
            Say::Wait(Duration::from_millis(50)),
            Say::Reset,
        ],
        "/bad" => raw(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde"),
        "/junk" => raw(b"this is not HTTP\r\n\r\n"),
        "/none" => vec![Say::Close],
        _ => fresh(b"fine"),
    }
    });
    let edge = Edge::before(origin.address, "");
    for path in ["/short", "/chunks", "/reset"] {
        for _ in 0..2 {
            let seen = edge.get(path);
            assert!(!seen.whole || seen.status >= 500, "{path}: {seen:?}");
            assert_ne!(seen.cache(), "Hit", "{path}");
        }
        assert_eq!(origin.seen().iter().filter(|asked| asked.target == path).count(), 2, "{path}");
    }
    for path in ["/bad", "/junk", "/none"] {
        let seen = edge.get(path);
        assert_eq!(seen.status, 502, "{path}");
        assert!(
            seen.field("proxy-status").is_some_and(|v| v.starts_with("Foreshore; error=")),
            "{path}"
        );
    }
    assert_eq!(edge.get("/ok").text(), "fine");
}

#[test]
fn an_origin_that_speaks_something_else_costs_no_timeout_and_its_log_says_what_helps() {
    // None of them ends its connection: they wait as long as the edge does.
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/tls" => raw(b"\x15\x03\x01\x00\x02\x02\x46"),
        "/h2" => raw(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"),
        "/ssh" => raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        _ => fresh(b"fine"),
    });
    let edge = Edge::before(origin.address, "");
    for (path, helps) in [
        ("/tls", "url with https"),
        ("/h2", "http_version = "),
        ("/ssh", "a head that is not HTTP"),
    ] {
        let began = Instant::now();
        assert_eq!(edge.get(path).status, 502, "{path}");
        assert!(began.elapsed() < Duration::from_secs(10), "{path}: {:?}", began.elapsed());
        eventually("the log says why", || edge.log().contains(helps));
    }
    assert_eq!(edge.get("/ok").text(), "fine");
}

#[test]
fn an_origin_that_stalls_or_refuses_costs_its_timeout_and_no_more() {
    let origin = Origin::start(|asked| {
        if asked.target == "/slow" { after(20_000, fresh(b"late")) } else { fresh(b"x") }
    });
    let edge = Edge::before(origin.address, "");
    let began = Instant::now();
    assert_eq!(edge.get("/slow").status, 504);
    assert!(began.elapsed() < Duration::from_secs(12), "{:?}", began.elapsed());
    drop(edge);
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let edge = Edge::before(nobody, "");
    let refused = edge.get("/a");
    assert_eq!((refused.status, refused.cache()), (502, "Error".into()));
    assert!(refused.field("cache-status").is_some_and(|v| v.contains("detail=connection_refused")));
    eventually("the reason is in the log", || edge.log().contains("connection_refused"));
}

#[test]
fn slow_bodies_stream_both_ways_without_growing_memory() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let size = 300usize << 20;
    let origin = Origin::start(move |asked| {
        if asked.method == "POST" {
            return answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes());
        }
        let head = format!(
            "HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: {size}\r\n\r\n"
        );
        let mut steps = vec![Say::Bytes(head.into_bytes())];
        steps.extend((0..size >> 20).map(|_| Say::Bytes(vec![b'x'; 1 << 20])));
        steps
    });
    let edge = Edge::start(
        &plain(origin.address, "[store]\nmemory = \"64MiB\"")
            .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n")
            // The origin of this test makes up so many octets before it says the first one.
            .replace("response = \"3s\"", "response = \"30s\""),
    );
    edge.get("/warm?no");
    let (before, _) = edge.memory();
    let mut viewer = edge.viewer();
    let out = std::process::Command::new("curl")
        .args(["-s", "-o", "/dev/null", "-w", "%{size_download}"])
        .arg(format!("http://{}/big", edge.http))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), size.to_string());
    let upload = 100usize << 20;
    viewer.send(
        format!("POST /up HTTP/1.1\r\nHost: h.test\r\nContent-Length: {upload}\r\n\r\n").as_bytes(),
    );
    for _ in 0..upload >> 20 {
        viewer.send(&vec![b'y'; 1 << 20]);
    }
    assert_eq!(viewer.read("POST").unwrap().text(), upload.to_string());
    let (_, highest) = edge.memory();
    // The kernel's two figures are not exact: where nothing grew the highest may be the lower one.
    assert!(
        highest > 0 && highest < before + (60 << 10),
        "memory grew from {before} to {highest} KiB"
    );
}

// The figure that the product promises: 1,000 viewers, one cold 10 MiB object, an origin that takes
// a second.
#[test]
fn slow_a_thousand_viewers_and_one_request() {
    let body: Vec<u8> = (0..10usize << 20).map(|at| (at % 251) as u8).collect();
    let copy = body.clone();
    let origin = Origin::start(move |_| after(1000, fresh(&copy)));
    // Sixteen threads read for all of them: on a slow machine the last one waits long for its turn.
    let edge = Edge::before(origin.address, "[limits]\nstall = \"5m\"\n");
    let (before, _) = edge.memory();
    let address = edge.http;
    let began = Instant::now();
    // Each connection is open and has asked before the origin answers.
    let viewers: Vec<Viewer> = (0..1000)
        .map(|_| {
            let mut viewer = Viewer::connect(address);
            viewer.send(&request("GET", "/big", &[]));
            viewer
        })
        .collect();
    let in_time = began.elapsed() < Duration::from_millis(900);
    let queue = std::sync::Mutex::new(viewers);
    std::thread::scope(|scope| {
        for _ in 0..16 {
            scope.spawn(|| {
                loop {
                    let Some(mut viewer) = queue.lock().unwrap().pop() else { return };
                    let seen = viewer.read("GET").unwrap();
                    assert!(seen.whole && seen.status == 200 && seen.body == body);
                }
            });
        }
    });
    assert_eq!(origin.count(), 1);
    let (_, highest) = edge.memory();
    assert!(
        highest > 0 && highest < before + (150 << 10),
        "memory grew from {before} to {highest} KiB"
    );
    // On a machine too slow for that, the later ones read along while the body comes in.
    assert!(!in_time || edge.metric("foreshore_followers_total") >= 990.0);
}

#[test]
fn a_leader_who_leaves_takes_nobody_along() {
    let origin = Origin::start(|_| after(700, fresh(b"kept")));
    let edge = Edge::before(origin.address, "");
    let mut leader = edge.viewer();
    leader.send(&request("GET", "/a", &[]));
    eventually("the origin is asked", || origin.count() == 1);
    let mut follower = edge.viewer();
    follower.send(&request("GET", "/a", &[]));
    drop(leader);
    assert_eq!(follower.read("GET").unwrap().text(), "kept");
    assert_eq!((origin.count(), edge.get("/a").cache()), (1, "Hit".into()));
}

#[test]
fn hundred_continue_is_sent_when_the_body_is_wanted() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes())
    });
    let edge = Edge::start(
        &plain(origin.address, "")
            .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n"),
    );
    let mut viewer = edge.viewer();
    viewer.send(
        b"POST /a HTTP/1.1\r\nHost: h.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n",
    );
    assert!(viewer.more(), "100 Continue comes before the body is sent");
    viewer.send(b"hello");
    assert_eq!(viewer.read("POST").unwrap().text(), "5");
    // Chunked, with an extension and a trailer, on the same connection.
    viewer.send(b"POST /b HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nT: 1\r\n\r\n");
    let second = viewer.read("POST").unwrap();
    assert_eq!(second.status, 200);
    assert!(origin.seen().last().unwrap().field("t").is_none(), "a trailer becomes no field");
}

#[test]
fn interim_responses_pass_and_leave_no_trace() {
    let origin = Origin::start(|_| {
        let mut steps = vec![
            Say::Bytes(b"HTTP/1.1 102 Processing\r\nX-Interim: a\r\n\r\n".to_vec()),
            Say::Wait(Duration::from_millis(100)),
            Say::Bytes(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\n\r\n".to_vec()),
        ];
        steps.extend(fresh(b"final"));
        steps
    });
    let edge = Edge::before(origin.address, "");
    let mut viewer = edge.viewer();
    viewer.send(&request("GET", "/a", &[]));
    let all = viewer.read_all_heads();
    assert_eq!(all.iter().map(|seen| seen.status).collect::<Vec<_>>(), [102, 103, 200]);
    assert_eq!(all[1].field("link").as_deref(), Some("</s.css>; rel=preload"));
    assert!(all[2].field("link").is_none() && all[2].field("x-interim").is_none());
    let hit = edge.get("/a");
    assert_eq!((hit.status, hit.cache(), hit.field("link")), (200, "Hit".into(), None));
}

// An origin that answers single ranges of a large body, and says which version it is.
fn ranged(asked: &super::support::origin::Asked, body: &[u8], etag: &str) -> Vec<Say> {
    let fields = format!("Cache-Control: max-age=60\nETag: \"{etag}\"\nAccept-Ranges: bytes");
    let span = asked.field("range").and_then(|range| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse::<usize>().ok()?, last.parse::<usize>().ok()?.min(body.len() - 1)))
    });
    match span {
        Some((first, last)) if first < body.len() => answer(
            206,
            &format!("{fields}\nContent-Range: bytes {first}-{last}/{}", body.len()),
            &body[first..=last],
        ),
        Some(_) => answer(416, &format!("Content-Range: bytes */{}", body.len()), b""),
        None => answer(200, &fields, body),
    }
}

#[test]
fn slices_cost_the_origin_only_what_is_touched_and_never_mix_versions() {
    let body: Vec<u8> = (0..1_000_000usize).map(|at| (at * 31 % 251) as u8).collect();
    let (copy, version) =
        (body.clone(), std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(1)));
    let told = std::sync::Arc::clone(&version);
    let origin = Origin::start(move |asked| {
        let version = told.load(std::sync::atomic::Ordering::SeqCst);
        let mut body = copy.clone();
        body[0] = version as u8;
        if asked.target == "/whole" {
            fresh(&body)
        } else {
            ranged(asked, &body, &format!("v{version}"))
        }
    });
    let edge = Edge::start(
        &plain(origin.address, "")
            .replace("origin = \"o\"\n", "origin = \"o\"\nslice = \"64KiB\"\n"),
    );
    let seen = edge.get_with("/big", &["Range: bytes=500000-500009"]);
    assert_eq!((seen.status, &seen.body[..]), (206, &body[500_000..500_010]));
    assert_eq!(seen.field("content-range").as_deref(), Some("bytes 500000-500009/1000000"));
    assert_eq!(origin.seen()[0].field("range").as_deref(), Some("bytes=458752-524287"));
    let seen = edge.get_with("/big", &["Range: bytes=520000-530000"]);
    assert_eq!((&seen.body[..], origin.count()), (&body[520_000..530_001], 2), "one slice more");
    assert_eq!(edge.get_with("/big", &["Range: bytes=500000-500009"]).cache(), "Hit");
    let seen = edge.get_with("/big", &["Range: bytes=-5"]);
    assert_eq!(&seen.body[..], &body[999_995..], "{}", seen.head);
    let whole = edge.get("/big");
    assert!(
        whole.status == 200
            && whole.whole
            && whole.body[1..] == body[1..]
            && whole.body.len() == body.len()
    );
    assert_eq!(origin.count(), 16, "each of sixteen slices once");
    assert_eq!(edge.get_with("/big", &["Range: bytes=1000000-"]).status, 416);
    assert_eq!(edge.get_with("/big", &["If-None-Match: \"v1\""]).status, 304);
    // An origin that knows no ranges is asked for the whole, once, and the part is cut from that.
    assert_eq!(edge.get_with("/whole", &["Range: bytes=1-3"]).body, body[1..4]);
    let asked = origin.count();
    assert_eq!(edge.get_with("/whole", &["Range: bytes=1-3"]).body, body[1..4]);
    assert_eq!(origin.count(), asked);
    // Some slices are gone, and the object has changed meanwhile: the answer breaks off, and the
    // next one is whole.
    edge.purge(&["/big"]);
    let _ = edge.get_with("/big", &["Range: bytes=0-9"]);
    version.store(2, std::sync::atomic::Ordering::SeqCst);
    let mixed = edge.get("/big");
    assert!(!mixed.whole, "two versions in one answer");
    let next = edge.get("/big");
    assert!(next.whole && next.body[0] == 2, "{}", next.head);
}

#[test]
fn text_is_encoded_once_and_each_coding_apart() {
    let page = "a line of text that compresses well\n".repeat(200);
    let body = page.clone();
    let origin = Origin::start(move |asked| {
        if asked.field("if-none-match").is_some() {
            return answer(304, "ETag: \"v1\"\nCache-Control: max-age=60", b"");
        }
        answer(
            200,
            "Cache-Control: max-age=60\nContent-Type: text/html; charset=utf-8\nETag: \"v1\"",
            body.as_bytes(),
        )
    });
    let policy =
        "[cache_policy.c]\nttl = { min = \"0s\" }\ncompress = [\"br\", \"gzip\", \"zstd\"]\n";
    let edge = Edge::start(
        &plain(origin.address, policy)
            .replace("origin = \"o\"\n", "origin = \"o\"\ncache_policy = \"c\"\n"),
    );
    for (accepts, coding) in [
        ("gzip, deflate, br", Some("br")),
        ("gzip;q=1, br;q=0", Some("gzip")),
        ("zstd", Some("zstd")),
        ("identity", None),
    ] {
        for cache in ["Miss", "Hit"] {
            let seen = edge.get_with("/page", &[&format!("Accept-Encoding: {accepts}")]);
            assert_eq!(
                (seen.cache(), seen.field("content-encoding").as_deref()),
                (cache.into(), coding),
                "{accepts}"
            );
            if let Some(coding) = coding {
                assert!(
                    seen.whole
                        && seen.body.len() < 500
                        && seen.field("vary").as_deref() == Some("Accept-Encoding"),
                    "{}",
                    seen.head
                );
                assert_eq!(seen.field("etag").as_deref(), Some("W/\"v1\""), "{coding}");
            } else {
                assert_eq!(seen.text(), page);
            }
        }
    }
    assert_eq!(origin.count(), 4);
    assert_eq!(origin.seen()[0].field("accept-encoding").as_deref(), Some("br,gzip"));
    // A confirmation by the origin's own strong tag keeps ours weak.
    edge.admin("POST", "/v1/invalidations", r#"{"paths":["/page"],"soft":true}"#);
    let seen = edge.get_with("/page", &["Accept-Encoding: gzip, deflate, br"]);
    assert_eq!(
        (seen.cache(), seen.field("content-encoding").as_deref(), seen.field("etag").as_deref()),
        ("RefreshHit".into(), Some("br"), Some("W/\"v1\""))
    );
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let out = std::process::Command::new("curl")
        .args(["-s", "--compressed"])
        .arg(format!("http://{}/page", edge.http))
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), page, "and curl reads it");
}

fn https_edge(origin: &Origin, names: &[&str], more: &str) -> (Edge, std::path::PathBuf) {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), names);
    let certificate = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n{more}");
    let config = plain(origin.address, &certificate)
        .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    (Edge::start_in(folder), ca)
}

#[test]
fn tls_by_sni_and_misdirected_requests() {
    let origin = Origin::start(|_| fresh(b"secret"));
    let (edge, ca) = https_edge(&origin, &["h.test", "*.wild.test"], "");
    let https = edge.https.unwrap();
    let mut viewer = Viewer::connect_tls(https, "h.test", &ca).unwrap();
    assert_eq!(viewer.get("/a", &[]).text(), "secret");
    assert_eq!(
        viewer.get("/a", &["Host: other.test"]).text(),
        "secret",
        "only * takes it, and nobody's certificate was shown"
    );
    assert_eq!(
        viewer.get("/a", &["Host: a.wild.test"]).status,
        200,
        "the same certificate covers it"
    );
    assert!(Viewer::connect_tls(https, "a.wild.test", &ca).is_ok());
    assert!(
        Viewer::connect_tls(https, "a.b.wild.test", &ca).is_err(),
        "a certificate's wildcard is one label"
    );
}

// By configuration, not by what a certificate happens to be for: what only * takes has none of its
// own.
#[test]
fn another_sites_certificate_is_no_leave_and_says_so() {
    let origin = Origin::start(|_| fresh(b"open"));
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let named = format!(
        "[[distribution]]\nid = \"E2\"\nhosts = [\"h.test\", \"named.test\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://{}\"\n",
        origin.address
    );
    let config = plain(origin.address, &certificate)
        .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n")
        + &named;
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let edge = Edge::start_in(folder);
    let mut viewer = Viewer::connect_tls(edge.https.unwrap(), "h.test", &ca).unwrap();
    assert_eq!(viewer.get("/a", &[]).text(), "open");
    for (host, words) in
        [("Host: other.test", "is for another site"), ("Host: named.test", "does not cover")]
    {
        let seen = viewer.get("/a", &[host]);
        assert_eq!(seen.status, 421, "{host}");
        assert!(seen.text().contains(words), "{host}: {}", seen.text());
    }
}

#[test]
fn a_trusted_proxy_speaks_of_its_viewers_and_nobody_else_does() {
    let heard = [
        "X-Forwarded-Host: shop.test",
        "X-Real-IP: 198.51.100.9",
        "Forwarded: for=198.51.100.9",
        "X-Any: 1",
    ];
    let behavior = "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"AllViewer\"\n";
    for (networks, is_trusted) in [("[\"127.0.0.0/8\"]", true), ("[\"192.0.2.0/24\"]", false)] {
        let origin = Origin::start(|_| fresh(b"x"));
        let listen = format!("[listen]\nforwarded_for_from = {networks}\n");
        let edge =
            Edge::start(&(plain(origin.address, "").replace("[listen]\n", &listen) + behavior));
        assert_eq!(edge.get_with("/a", &heard).status, 200);
        let asked = &origin.seen()[0];
        for name in ["x-forwarded-host", "x-real-ip", "forwarded"] {
            assert_eq!(asked.field(name).is_some(), is_trusted, "{name} with {networks}");
        }
        assert_eq!(asked.field("x-any").as_deref(), Some("1"));
    }
}

// What an untrusted viewer said went no further, so its answer is the one to a request that did not
// say it.
#[test]
fn an_answer_for_a_stranger_is_not_one_for_a_trusted_proxys_viewer() {
    let origin = Origin::start(|asked| {
        let said = asked.field("x-forwarded-proto").unwrap_or_else(|| "nothing".into());
        answer(200, "Cache-Control: max-age=600\nVary: X-Forwarded-Proto", said.as_bytes())
    });
    let listen = "[listen]\nforwarded_for_from = [\"198.51.100.0/24\"]\nproxy_protocol_from = [\"127.0.0.0/8\"]\n";
    let behavior = "origin_request_policy = \"AllViewer\"\n";
    let edge = Edge::start(&(plain(origin.address, "").replace("[listen]\n", listen) + behavior));
    let ask = |from: &str, fields: &[&str]| {
        let mut viewer = edge.viewer();
        viewer.send(format!("PROXY TCP4 {from} 192.0.2.1 1234 80\r\n").as_bytes());
        viewer.get("/a", fields).text()
    };
    assert_eq!(ask("203.0.113.5", &["X-Forwarded-Proto: gopher"]), "nothing");
    assert_eq!(ask("198.51.100.9", &["X-Forwarded-Proto: https"]), "https");
    assert_eq!(ask("203.0.113.5", &[]), "nothing");
    assert_eq!(ask("198.51.100.9", &["X-Forwarded-Proto: https"]), "https");
    assert_eq!(origin.count(), 2);
}

#[test]
fn http2_by_alpn_with_curl_and_nghttp() {
    if !tool::have(&[tool::CURL]) {
        return;
    }
    let origin = Origin::start(|asked| {
        if asked.method == "POST" {
            answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes())
        } else {
            fresh(&vec![b'z'; 300_000])
        }
    });
    let (edge, ca) = https_edge(&origin, &["localhost", "127.0.0.1"], "");
    let url = format!("https://localhost:{}/a", edge.https.unwrap().port());
    let curl = |args: &[&str]| {
        let out = std::process::Command::new("curl")
            .args(["-s", "--http2", "--cacert"])
            .arg(&ca)
            .args(args)
            .output()
            .unwrap();
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert_eq!(
        curl(&["-o", "/dev/null", "-w", "%{http_version} %{http_code} %{size_download}", &url]),
        "2 200 300000"
    );
    assert!(curl(&["-I", &url]).contains("x-cache: Hit from foreshore"));
    assert_eq!(
        curl(&["-o", "/dev/null", "-w", "%{http_code} %{size_download}", "-r", "10-19", &url]),
        "206 10"
    );
    if !tool::have(&[Tool::Program("nghttp")]) {
        return;
    }
    let out = std::process::Command::new("nghttp").args(["-nv", "-m", "5", &url]).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout);
    assert!(text.matches(":status: 200").count() >= 5, "{text}");
}

#[test]
fn certificates_reload_when_their_files_change() {
    let origin = Origin::start(|_| fresh(b"x"));
    let (edge, ca) = https_edge(&origin, &["h.test"], "");
    let https = edge.https.unwrap();
    assert!(Viewer::connect_tls(https, "new.test", &ca).is_err());
    // The same files, other names.
    certificates(edge.path(), &["new.test"]);
    for end in ["pem", "key"] {
        std::fs::copy(
            edge.path().join(format!("tls/new.test.{end}")),
            edge.path().join(format!("tls/h.test.{end}")),
        )
        .unwrap();
    }
    eventually("the new certificate is shown", || {
        Viewer::connect_tls(https, "new.test", &ca).is_ok()
    });
}

/// A server that shows a certificate of the development CA, which is made in `folder`/tls.
pub fn server_config(folder: &std::path::Path, name: &str) -> std::sync::Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    let chain =
        rustls::pki_types::CertificateDer::pem_file_iter(folder.join(format!("tls/{name}.pem")))
            .unwrap()
            .map(|c| c.unwrap())
            .collect();
    let key =
        rustls::pki_types::PrivateKeyDer::from_pem_file(folder.join(format!("tls/{name}.key")))
            .unwrap();
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth();
    std::sync::Arc::new(config.with_single_cert(chain, key).unwrap())
}

#[test]
fn slow_an_origin_must_prove_who_it_is() {
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, ..) = certificates(folder.path(), &["origin.test", "localhost"]);
    certificates(folder.path(), &["other.test"]);
    let good = Origin::start_tls(server_config(folder.path(), "origin.test"), |_| fresh(b"proven"));
    let wrong =
        Origin::start_tls(server_config(folder.path(), "other.test"), |_| fresh(b"wrong name"));
    let edge_for = |port: u16, tls: &str| {
        let config = plain("127.0.0.1:1".parse().unwrap(), "")
            .replace("http://127.0.0.1:1", &format!("https://localhost:{port}"))
            .replace("timeouts", &format!("tls = {tls}\ntimeouts"));
        let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
        std::fs::write(folder.path().join("edge.toml"), config).unwrap();
        Edge::start_in(folder)
    };
    let given = format!("{{ ca = {ca:?} }}");
    let edge = edge_for(good.address.port(), &given);
    assert_eq!(edge.get("/a").text(), "proven");
    for (port, tls, why) in [
        (good.address.port(), "{ ca = \"system\" }".to_string(), "a CA nobody told us to trust"),
        (wrong.address.port(), given.clone(), "a certificate for another name"),
        (
            good.address.port(),
            format!("{{ ca = {ca:?}, server_name = \"third.test\" }}"),
            "not the name we were told to check",
        ),
    ] {
        let edge = edge_for(port, &tls);
        let seen = edge.get("/a");
        assert_eq!(seen.status, 502, "{why}");
        assert!(
            seen.field("proxy-status").is_some_and(|v| v.contains("tls_certificate_error")),
            "{why}: {}",
            seen.head
        );
        eventually("the reason is in the log", || edge.log().contains("tls_certificate_error"));
    }
    assert_eq!(wrong.count(), 0);
    let edge =
        edge_for(wrong.address.port(), &format!("{{ ca = {ca:?}, server_name = \"other.test\" }}"));
    assert_eq!(edge.get("/a").text(), "wrong name", "the name to check can be said");
}

#[test]
fn an_origin_may_ask_for_our_certificate() {
    use rustls::pki_types::pem::PemObject;
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let (ca, ..) = certificates(folder.path(), &["localhost"]);
    let (_, chain, key) = certificates(folder.path(), &["edge.test"]);
    let provider = std::sync::Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(&ca).unwrap()).unwrap();
    let verifier =
        rustls::server::WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .unwrap();
    let own =
        rustls::pki_types::CertificateDer::pem_file_iter(folder.path().join("tls/localhost.pem"))
            .unwrap()
            .map(|c| c.unwrap())
            .collect();
    let own_key =
        rustls::pki_types::PrivateKeyDer::from_pem_file(folder.path().join("tls/localhost.key"))
            .unwrap();
    let builder = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap();
    let config =
        builder.with_client_cert_verifier(verifier).with_single_cert(own, own_key).unwrap();
    let origin = Origin::start_tls(std::sync::Arc::new(config), |_| fresh(b"known"));
    let edge_with = |identity: &str| {
        let config = plain("127.0.0.1:1".parse().unwrap(), "")
            .replace("http://127.0.0.1:1", &format!("https://localhost:{}", origin.address.port()))
            .replace("timeouts", &format!("tls = {{ ca = {ca:?}{identity} }}\ntimeouts"));
        Edge::start(&config)
    };
    assert_eq!(edge_with(&format!(", chain = {chain:?}, key = {key:?}")).get("/a").text(), "known");
    assert_eq!(edge_with("").get("/a").status, 502);
    assert_eq!(edge_with(", min = \"1.3\"").get("/a").status, 502);
}

#[test]
fn bodies_beyond_the_limit_are_refused() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: no-store", asked.body.to_string().as_bytes())
    });
    let config = plain(origin.address, "[limits]\nrequest_body = \"1KiB\"")
        .replace("origin = \"o\"\n", "origin = \"o\"\nmethods = \"all\"\n");
    let edge = Edge::start(&config);
    let mut viewer = edge.viewer();
    viewer.send(b"POST /a HTTP/1.1\r\nHost: h.test\r\nContent-Length: 2000\r\n\r\n");
    assert_eq!(viewer.read("POST").unwrap().status, 413);
    assert_eq!(origin.count(), 0);
    let mut viewer = edge.viewer();
    viewer.send(b"POST /a HTTP/1.1\r\nHost: h.test\r\nTransfer-Encoding: chunked\r\n\r\n");
    viewer.send(format!("800\r\n{}\r\n0\r\n\r\n", "x".repeat(2048)).as_bytes());
    assert_eq!(viewer.read("POST").unwrap().status, 413);
}

#[test]
fn proxy_protocol_from_trusted_networks() {
    let origin =
        Origin::start(|asked| fresh(asked.field("x-forwarded-for").unwrap_or_default().as_bytes()));
    let config = plain(origin.address, "")
        .replace("workers = 2\n", "workers = 2\nproxy_protocol_from = [\"127.0.0.0/8\"]\n");
    let edge = Edge::start(&config);
    let mut viewer = edge.viewer();
    viewer.send(b"PROXY TCP4 198.51.100.9 192.0.2.1 1234 80\r\n");
    assert_eq!(viewer.get("/v1", &[]).text(), "198.51.100.9");
    let mut viewer = edge.viewer();
    viewer.send(
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\x00\x0c\xc6\x33\x64\x0a\xc0\x00\x02\x01\x10\x00\x00\x50",
    );
    assert_eq!(viewer.get("/v2", &[]).text(), "198.51.100.10");
    let mut viewer = edge.viewer();
    viewer.send(&request("GET", "/bare", &[]));
    assert!(viewer.read("GET").is_none(), "without a header it is not heard");
}

#[test]
fn unknown_hosts_learn_nothing_and_hosts_are_routed() {
    let origin = Origin::start(|asked| fresh(asked.field("host").unwrap_or_default().as_bytes()));
    let distribution = |id: &str, host: &str| {
        format!(
            "[[distribution]]\nid = \"{id}\"\nhosts = [\"{host}\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://{}\"\nhost = \"{id}.origin\"\n",
            origin.address
        )
    };
    let config = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\", \"[::1]:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n{}{}{}",
        distribution("exact", "www.a.test"),
        distribution("wide", "*.a.test"),
        distribution("narrow", "*.b.a.test")
    );
    let edge = Edge::start(&config);
    for (host, expected) in [
        ("www.a.test", "exact.origin"),
        ("x.y.a.test", "wide.origin"),
        ("X.B.A.TEST", "narrow.origin"),
        ("x.a.test:8080", "wide.origin"),
    ] {
        assert_eq!(edge.get_with("/", &[&format!("Host: {host}")]).text(), expected, "{host}");
    }
    let unknown = edge.get_with("/", &["Host: nobody.test"]);
    assert_eq!((unknown.status, unknown.cache()), (403, "Error".into()));
    assert!(!unknown.head.to_lowercase().contains("a.test") && !unknown.text().contains("a.test"));
}

#[test]
fn groups_fail_over_on_statuses_and_connect_errors() {
    let first = Origin::start(|asked| {
        if asked.target == "/ok" { fresh(b"first") } else { answer(503, "", b"busy") }
    });
    let second = Origin::start(|_| fresh(b"second"));
    let nobody = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let config = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n\
         [[distribution.origin]]\nid = \"a\"\nurl = \"http://{}\"\n[[distribution.origin]]\nid = \"b\"\nurl = \"http://{}\"\n[[distribution.origin]]\nid = \"dead\"\nurl = \"http://{nobody}\"\n\
         [[distribution.origin_group]]\nid = \"ab\"\nmembers = [\"a\", \"b\"]\nfailover = [503]\n[[distribution.origin_group]]\nid = \"db\"\nmembers = [\"dead\", \"b\"]\n\
         [[distribution.behavior]]\npath = \"/dead/*\"\norigin = \"db\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"ab\"\n",
        first.address, second.address
    );
    let edge = Edge::start(&config);
    assert_eq!(edge.get("/ok").text(), "first");
    assert_eq!(edge.get("/x").text(), "second");
    assert_eq!(edge.get("/dead/x").text(), "second");
    assert_eq!((first.count(), second.count()), (2, 2));
}

#[test]
fn slow_draining_finishes_what_is_in_hand() {
    let origin = Origin::start(|_| after(800, fresh(b"in hand")));
    let mut edge = Edge::before(origin.address, "");
    let mut busy = edge.viewer();
    let mut idle = edge.viewer();
    idle.send(&request("GET", "/other?", &[]));
    idle.read("GET").unwrap();
    busy.send(&request("GET", "/a", &[]));
    eventually("the origin is asked", || origin.count() == 2);
    edge.signal(rustix::process::Signal::TERM);
    assert!(idle.is_closed(), "idle connections end at once");
    let seen = busy.read("GET").unwrap();
    assert_eq!((seen.text(), seen.whole), ("in hand".into(), true));
    assert!(edge.wait(), "the process ends by itself");
    let log = std::fs::read_to_string(edge.path().join("access.log")).unwrap();
    assert_eq!(log.lines().count(), 2, "{log}");
}

#[test]
fn idle_and_slow_viewers_are_let_go() {
    let origin = Origin::start(|_| fresh(b"x"));
    let timeouts = |edge: &Edge| edge.metric("foreshore_viewer_timeouts_total");
    let edge = Edge::before(origin.address, "[limits]\nidle = \"300ms\"");
    let mut idle = edge.viewer();
    assert!(idle.is_closed());
    eventually("it is counted", || timeouts(&edge) >= 1.0);
    // Not idle for long before it begins, however busy the machine is.
    let edge = Edge::before(origin.address, "[limits]\nhead_time = \"500ms\"");
    let mut slow = edge.viewer();
    slow.send(b"GET / HTTP/1.1\r\nHost:");
    assert_eq!(slow.read("GET").unwrap().status, 408);
    eventually("it is counted", || timeouts(&edge) >= 1.0);
}

#[test]
fn connections_to_the_origin_are_used_again_only_when_nothing_is_owed() {
    let origin = Origin::start(|asked| {
        match asked.target.as_str() {
        "/extra" => vec![Say::Bytes(
            b"HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
                .to_vec(),
        )],
        _ => answer(200, "Cache-Control: no-store", b"fine"),
    }
    });
    let edge = Edge::start(&plain(origin.address, "").replace("workers = 2", "workers = 1"));
    for _ in 0..3 {
        assert_eq!(edge.get("/a").text(), "fine");
    }
    assert_eq!(origin.open(), 1, "one connection served all three");
    assert_eq!(edge.get("/extra").text(), "ok");
    for _ in 0..3 {
        assert_eq!(edge.get("/b").text(), "fine", "bytes after an answer are never an answer");
    }
}

#[test]
fn what_ends_with_the_connection_is_whole_and_kept() {
    let origin =
        Origin::start(|_| raw(b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n\r\nto the end"));
    let edge = Edge::before(origin.address, "");
    for cache in ["Miss", "Hit"] {
        let seen = edge.get("/plain");
        assert_eq!(
            (seen.text(), seen.whole, seen.cache()),
            ("to the end".into(), true, cache.into())
        );
    }
    assert_eq!(origin.count(), 1);
}

#[test]
fn what_dies_at_a_hop_is_not_replayed_and_the_rest_is_in_order() {
    let fields = "Cache-Control: max-age=60\nConnection: X-Hop, keep-alive\nX-Hop: 1\nKeep-Alive: timeout=5\nProxy-Authenticate: Basic\n\
                  Proxy-Authentication-Info: x\nProxy-Connection: x\nTrailer: x\nUpgrade: x\nX-End: 1\nX-End: 2\nX-End: 3";
    let origin = Origin::start(move |_| answer(200, fields, b"x"));
    let edge = Edge::before(origin.address, "");
    for cache in ["Miss", "Hit"] {
        let seen = edge.get("/a");
        assert_eq!(seen.cache(), cache);
        for gone in [
            "x-hop",
            "keep-alive",
            "proxy-authenticate",
            "proxy-authentication-info",
            "proxy-connection",
            "trailer",
            "upgrade",
        ] {
            assert!(seen.field(gone).is_none(), "{gone}: {}", seen.head);
        }
        let ends: Vec<&str> =
            seen.head.lines().filter_map(|line| line.strip_prefix("X-End: ")).collect();
        assert_eq!(ends, ["1", "2", "3"]);
    }
}

#[test]
fn an_origin_that_says_nothing_any_more_is_stood_in_for() {
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let origin =
        Origin::start(move |_| match turn.fetch_add(1, std::sync::atomic::Ordering::Relaxed) {
            0 => answer(200, "Cache-Control: max-age=0\r\nETag: \"a\"", b"kept"),
            _ => vec![Say::Close],
        });
    let edge = Edge::before(origin.address, "");
    assert_eq!(edge.get("/a").text(), "kept");
    let stale = edge.get("/a");
    assert_eq!((stale.status, stale.text(), stale.cache()), (200, "kept".into(), "Hit".into()));
    assert!(origin.count() <= 3, "one retry at most, on a connection used before");
}

#[test]
fn a_request_is_repeated_only_if_nothing_of_an_answer_came() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/half" => vec![Say::Bytes(b"HTTP/1.1 200 OK\r\nContent-Le".to_vec()), Say::Close],
        _ => answer(200, "Cache-Control: no-store", b"fine"),
    });
    let edge = Edge::start(&plain(origin.address, "").replace("workers = 2", "workers = 1"));
    assert_eq!(edge.get("/a").text(), "fine");
    // Over the connection that /a left: half a head came, so the origin has seen the request.
    assert_eq!(edge.get("/half").status, 502);
    let asked = origin.seen().iter().filter(|asked| asked.target == "/half").count();
    assert_eq!((asked, edge.get("/b").text()), (1, "fine".into()));
}

#[test]
fn an_answer_that_comes_before_the_request_was_sent_is_passed_on() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let refusing = std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let (mut head, mut octet) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && tcp.read(&mut octet).unwrap_or(0) == 1 {
            head.push(octet[0]);
        }
        tcp.write_all(
            b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nno!",
        )
        .unwrap();
        // Not an octet of the body is read.
        tcp
    });
    let edge = Edge::start(&(plain(address, "") + "methods = \"all\"\n"));
    let mut viewer = edge.viewer();
    viewer.send(b"POST /upload HTTP/1.1\r\nHost: h\r\nContent-Length: 9000000\r\n\r\n");
    viewer.send(&[b'x'; 100_000]);
    let seen = viewer.read("POST").unwrap();
    assert_eq!((seen.status, seen.text()), (413, "no!".into()));
    drop(refusing.join().unwrap());
}

#[test]
fn a_slice_that_is_not_what_it_says_is_not_kept() {
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let is_good = std::sync::Arc::clone(&good);
    let origin = Origin::start(move |asked| {
        let is_good = is_good.load(std::sync::atomic::Ordering::Relaxed);
        if asked.field("range").is_none() {
            return if is_good {
                fresh(b"0123456789")
            } else {
                answer(503, "Cache-Control: no-store", b"")
            };
        }
        let body: &[u8] = if is_good { b"0123456789" } else { b"01234" };
        answer(206, "Cache-Control: max-age=60\r\nETag: \"v\"\r\nContent-Range: bytes 0-9/10", body)
    });
    let config = plain(origin.address, "")
        .replace("origin = \"o\"\n", "origin = \"o\"\nslice = \"64KiB\"\n");
    let edge = Edge::start(&config);
    let bad = edge.get("/a");
    assert!(bad.status != 200 || !bad.whole || bad.body.len() != 10, "{bad:?}");
    good.store(true, std::sync::atomic::Ordering::Relaxed);
    let mut answers = (0..3).map(|_| edge.get("/a"));
    assert!(
        answers.any(|seen| seen.status == 200 && seen.whole && seen.text() == "0123456789"),
        "the bad one stays"
    );
}

#[test]
fn what_is_being_sent_is_never_written_over() {
    // Each path's body is of its own octet; the store holds two of them, so each fill pushes
    // another out.
    let origin = Origin::start(|asked| fresh(&vec![asked.target.as_bytes()[1]; 8 << 20]));
    let edge =
        Edge::before(origin.address, "[store]\nmemory = \"20MiB\"\nmax_object = \"10MiB\"\n");
    assert_eq!(edge.get("/a").body.len(), 8 << 20);
    let mut slow: Vec<Viewer> = (0..4).map(|_| edge.viewer()).collect();
    for (at, viewer) in slow.iter_mut().enumerate() {
        let range = format!("Range: bytes={}-", at * 100_000);
        viewer.send(&request("GET", "/a", &[&range]));
        assert!(viewer.more());
    }
    edge.purge(&["/*"]);
    for path in ["/b", "/c", "/d", "/e", "/b", "/f"] {
        let seen = edge.get(path);
        assert!(seen.whole && seen.body.iter().all(|b| *b == path.as_bytes()[1]));
    }
    for (at, viewer) in slow.iter_mut().enumerate() {
        let seen = viewer.read("GET").unwrap();
        let wrong = seen.body.iter().position(|b| *b != b'a').map(|at| (at, seen.body[at]));
        assert_eq!(
            (seen.whole, seen.body.len(), wrong),
            (true, (8 << 20) - at * 100_000, None),
            "{at}"
        );
    }
    assert!(edge.memory().1 < 120 * 1024, "{:?}", edge.memory());
}

#[test]
fn cache_status_says_forward_only_where_something_went_forward() {
    let failing = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let fails = std::sync::Arc::clone(&failing);
    let origin = Origin::start(move |_| match fails.load(std::sync::atomic::Ordering::Relaxed) {
        true => vec![Say::Close],
        false => answer(200, "Cache-Control: max-age=0\r\nETag: \"a\"", b"kept"),
    });
    let policy = "[cache_policy.p]\nsemantics = \"rfc9111\"\nttl = { error = \"10s\" }\n";
    let edge = Edge::start(
        &plain(origin.address, policy)
            .replace("origin = \"o\"\n", "origin = \"o\"\ncache_policy = \"p\"\n"),
    );
    let mut viewer = edge.viewer();
    viewer.send(&request("POST", "/a", &["Content-Length: 0"]));
    assert_eq!(
        viewer.read("POST").unwrap().field("cache-status").as_deref(),
        Some("Foreshore"),
        "refused"
    );
    let absent = edge.get_with("/b", &["Cache-Control: only-if-cached"]);
    assert_eq!(absent.status, 504);
    assert!(!absent.field("cache-status").unwrap().contains("fwd"), "{absent:?}");
    assert_eq!(edge.get("/a").text(), "kept");
    failing.store(true, std::sync::atomic::Ordering::Relaxed);
    assert!(
        edge.get("/a").field("cache-status").unwrap().starts_with("Foreshore; fwd=stale"),
        "asked, and failed"
    );
    let asked = origin.count();
    let told = edge.get("/a").field("cache-status").unwrap();
    assert!(told.starts_with("Foreshore; hit; ttl="), "not asked: {told}");
    assert_eq!(origin.count(), asked);
}
