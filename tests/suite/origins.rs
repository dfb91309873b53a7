//! What the edge owes its origins, and what it takes from them: names in TLS, framing, connections
//! that are used again.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::support::edge::{certificates, command, plain};
use super::support::origin::{answer, fresh, raw};
use super::support::viewer::request;
use super::support::{Edge, Origin, Say, eventually};
use super::wire::server_config;

/// An origin over TLS that answers with the SNI it was shown, the Host it was asked for, and which
/// of its connections this is.
fn telling(config: Arc<rustls::ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, tcp) in listener.incoming().map_while(Result::ok).enumerate() {
            let config = Arc::clone(&config);
            std::thread::spawn(move || tell(tcp, config, number));
        }
    });
    address
}

fn tell(mut tcp: TcpStream, config: Arc<rustls::ServerConfig>, number: usize) -> Option<()> {
    let mut session = rustls::ServerConnection::new(config).ok()?;
    while session.is_handshaking() {
        session.complete_io(&mut tcp).ok()?;
    }
    let sni = session.server_name().unwrap_or("none").to_string();
    let mut io = rustls::StreamOwned::new(session, tcp);
    loop {
        let (mut head, mut octet) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            io.read_exact(&mut octet).ok()?;
            head.push(octet[0]);
        }
        let head = String::from_utf8_lossy(&head).to_ascii_lowercase();
        let host = head.lines().find_map(|line| line.strip_prefix("host: ")).unwrap_or_default();
        let body = format!("{sni} {host} {number}");
        write!(
            io,
            "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
        .ok()?;
        io.flush().ok()?;
    }
}

/// One core in front of `https://localhost`, so that every request finds the connections of the
/// ones before.
fn edge_to(address: SocketAddr, origin: &str, behavior: &str) -> Edge {
    let config = plain("127.0.0.1:1".parse().unwrap(), "")
        .replace("http://127.0.0.1:1", &format!("https://localhost:{}", address.port()))
        .replace("timeouts", &format!("{origin}\ntimeouts"))
        .replace("workers = 2", "workers = 1");
    Edge::start(&(config + behavior))
}

const ALL_VIEWER: &str =
    "cache_policy = \"CachingDisabled\"\norigin_request_policy = \"AllViewer\"\n";

#[test]
fn sni_is_the_host_that_is_sent_and_no_connection_serves_two_names() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(folder.path(), &["localhost", "a.test"]);
    let address = telling(server_config(folder.path(), "localhost"));
    let tls = format!("tls = {{ ca = {ca:?} }}");
    for (origin, behavior) in [(format!("host = \"viewer\"\n{tls}"), ""), (tls.clone(), ALL_VIEWER)]
    {
        let edge = edge_to(address, &origin, behavior);
        let asked: Vec<String> =
            ["a.test", "b.test", "A.Test:8080", "b.test.", "192.0.2.9", "a.test"]
                .iter()
                .map(|host| edge.get_with("/x", &[&format!("Host: {host}")]).text())
                .collect();
        let words: Vec<Vec<&str>> = asked.iter().map(|text| text.split(' ').collect()).collect();
        let told: Vec<(&str, &str)> = words.iter().map(|words| (words[0], words[1])).collect();
        let want = [
            ("a.test", "a.test"),
            ("b.test", "b.test"),
            ("a.test", "a.test:8080"),
            ("b.test", "b.test."),
            ("none", "192.0.2.9"),
            ("a.test", "a.test"),
        ];
        assert_eq!(told, want, "{origin}");
        let connection = |at: usize| words[at][2];
        assert!(
            connection(0) == connection(2)
                && connection(0) == connection(5)
                && connection(1) == connection(3),
            "{asked:?}"
        );
        assert!(
            connection(0) != connection(1)
                && connection(4) != connection(0)
                && connection(4) != connection(1),
            "{asked:?}"
        );
    }
}

#[test]
fn sni_is_what_is_fixed_or_the_origins_own() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(folder.path(), &["localhost", "fixed.test", "checked.test"]);
    let address = telling(server_config(folder.path(), "localhost"));
    let own = format!("localhost localhost:{}", address.port());
    for (origin, behavior, want) in [
        (format!("tls = {{ ca = {ca:?} }}"), "", own.as_str()),
        (format!("host = \"fixed.test\"\ntls = {{ ca = {ca:?} }}"), "", "fixed.test fixed.test"),
        (
            format!("host = \"viewer\"\ntls = {{ ca = {ca:?}, server_name = \"checked.test\" }}"),
            "",
            "checked.test h.test",
        ),
        (
            format!("tls = {{ ca = {ca:?}, server_name = \"checked.test\" }}"),
            ALL_VIEWER,
            "checked.test h.test",
        ),
    ] {
        let seen = edge_to(address, &origin, behavior).get("/x").text();
        assert_eq!(seen.rsplit_once(' ').map(|(told, _)| told), Some(want), "{origin}: {seen}");
    }
}

#[test]
fn a_certificate_is_for_the_host_that_is_sent_or_for_nobody_else_than_the_origin() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(folder.path(), &["site.test", "*.site.test"]);
    let address = telling(server_config(folder.path(), "site.test"));
    let stranger = tempfile::tempdir().unwrap();
    let (other_ca, ..) = certificates(stranger.path(), &["other.test"]);
    let viewer = format!("host = \"viewer\"\ntls = {{ ca = {ca:?} }}");
    for (origin, host, status) in [
        (viewer.clone(), "site.test", 200),
        (viewer.clone(), "www.site.test:444", 200),
        (viewer, "other.test", 502),
        (format!("tls = {{ ca = {ca:?} }}"), "site.test", 502),
        (format!("host = \"viewer\"\ntls = {{ ca = {other_ca:?} }}"), "site.test", 502),
        (
            format!("host = \"viewer\"\ntls = {{ ca = {ca:?}, server_name = \"other.test\" }}"),
            "site.test",
            502,
        ),
        (format!("tls = {{ ca = {ca:?}, server_name = \"site.test\" }}"), "other.test", 200),
    ] {
        let seen = edge_to(address, &origin, "").get_with("/x", &[&format!("Host: {host}")]);
        assert_eq!(seen.status, status, "{origin} {host}: {}", seen.head);
        assert!(
            status == 200
                || seen.field("proxy-status").is_some_and(|v| v.contains("tls_certificate_error")),
            "{}",
            seen.head
        );
    }
}

#[test]
fn explain_tells_whom_an_origin_has_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let before = plain("127.0.0.1:1".parse().unwrap(), "")
        .replace("http://127.0.0.1:1", "https://ALB.example.com");
    for (more, says) in [
        ("", "SNI alb.example.com; a certificate for alb.example.com\n"),
        (
            ALL_VIEWER,
            "SNI www.example.com; a certificate for www.example.com or for alb.example.com\n",
        ),
    ] {
        std::fs::write(folder.path().join("edge.toml"), format!("{before}{more}")).unwrap();
        let (code, out, err) = command(
            folder.path(),
            &["explain", "--config", "edge.toml", "http://www.example.com/x"],
        );
        assert_eq!(code, 0, "{err}");
        assert!(out.contains(says), "{out}");
    }
}

#[test]
fn names_and_sizes_that_cannot_work_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let config = plain("127.0.0.1:1".parse().unwrap(), "[limits]\norigin_head_bytes = \"0B\"\n")
        .replace("http://127.0.0.1:1", "https://alb.example.com")
        .replace("timeouts", "tls = { server_name = \"www.example.com:443\" }\ntimeouts");
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let (code, _, err) = command(folder.path(), &["check", "--config", "edge.toml"]);
    assert_eq!(code, 1);
    for words in ["is no name a certificate can have", "limits.origin_head_bytes is zero"] {
        assert!(err.contains(words), "{words}\n{err}");
    }
}

#[test]
fn a_length_said_twice_alike_is_one_length() {
    let origin = Origin::start(|asked| {
        let lengths = match asked.target.as_str() {
            "/two" => "Content-Length: 5\r\nX: y\r\nContent-Length: 5",
            "/list" => "Content-Length: 5, 5",
            "/differ" => "Content-Length: 5\r\nContent-Length: 6",
            _ => "Content-Length: 5, 6",
        };
        raw(format!("HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\n{lengths}\r\n\r\nhello")
            .as_bytes())
    });
    let edge = Edge::before(origin.address, "");
    for path in ["/two", "/list"] {
        for cache in ["Miss", "Hit"] {
            let seen = edge.get(path);
            let lengths: Vec<&str> = seen
                .head
                .lines()
                .filter(|line| line.to_ascii_lowercase().starts_with("content-length:"))
                .collect();
            assert_eq!(
                (seen.text(), seen.cache(), lengths.len()),
                ("hello".into(), cache.into(), 1),
                "{path}: {}",
                seen.head
            );
            assert_eq!(seen.field("content-length").as_deref(), Some("5"));
        }
    }
    for path in ["/differ", "/differ-in-a-list"] {
        assert_eq!(edge.get(path).status, 502, "{path}");
    }
}

#[test]
fn a_coding_that_cannot_be_undone_is_no_answer_and_is_not_kept() {
    const HEADS: [&str; 10] = [
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: foo",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, foo",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity",
        "HTTP/1.1 404 No\r\nTransfer-Encoding: foo",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: foo",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: foo\r\nContent-Length: 15",
    ];
    let origin = Origin::start(|asked| {
        let head = HEADS[asked.target[1..].parse::<usize>().unwrap()];
        raw(format!("{head}\r\nCache-Control: max-age=60\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
            .as_bytes())
    });
    let edge = Edge::before(origin.address, "");
    for (at, head) in HEADS.iter().enumerate() {
        for _ in 0..2 {
            let seen = edge.get(&format!("/{at}"));
            assert_eq!(
                (seen.status, seen.cache()),
                (502, "Error".into()),
                "{head:?}: {}",
                seen.head
            );
            assert!(
                seen.field("proxy-status").is_some_and(|v| v.contains("http_protocol_error")),
                "{head:?}: {}",
                seen.head
            );
            assert!(!seen.text().contains("hello"));
        }
    }
}

#[test]
fn where_else_an_origin_can_be_reached_is_nobodys_business() {
    let origin = Origin::start(|asked| {
        let fields = "Cache-Control: max-age=0\nETag: \"a\"\nAlt-Svc: h3=\":443\"; ma=86400";
        if asked.field("if-none-match").is_some() {
            return answer(304, fields, b"");
        }
        let mut steps = raw(b"HTTP/1.1 103 Early Hints\r\nLink: </s.css>; rel=preload\r\nAlt-Svc: h3=\":443\"\r\n\r\n");
        steps.retain(|step| matches!(step, Say::Bytes(_)));
        steps.extend(answer(200, fields, b"x"));
        steps
    });
    let edge = Edge::before(origin.address, "");
    for path in ["/a", "/a", "/b?pass"] {
        let mut viewer = edge.viewer();
        viewer.send(&request("GET", path, &[]));
        let heads = viewer.read_all_heads();
        assert_eq!(heads.last().unwrap().status, 200);
        assert!(
            heads.iter().all(|seen| !seen.head.to_ascii_lowercase().contains("alt-svc")),
            "{path}: {heads:?}"
        );
    }
    assert!(
        origin.seen().iter().any(|asked| asked.field("if-none-match").is_some()),
        "and a 304 did not bring it in"
    );
}

#[test]
fn a_connection_is_used_again_as_long_as_the_origin_says() {
    for (said, open) in [("timeout=60, max=100", 1), ("timeout=1", 0), ("timeout=0", 0)] {
        let fields = format!("Cache-Control: no-store\nConnection: keep-alive\nKeep-Alive: {said}");
        let origin = Origin::start(move |_| answer(200, &fields, b"fine"));
        let edge = Edge::start(&plain(origin.address, "").replace("workers = 2", "workers = 1"));
        for _ in 0..3 {
            assert_eq!(edge.get("/a").text(), "fine");
        }
        eventually(said, || origin.open() == open);
    }
}

#[test]
fn what_has_consequences_is_never_sent_twice() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/gone" => vec![Say::Close],
        _ => answer(200, "Cache-Control: no-store", b"fine"),
    });
    let config =
        plain(origin.address, "").replace("workers = 2", "workers = 1") + "methods = \"all\"\n";
    let edge = Edge::start(&config);
    for method in ["POST", "PUT", "PATCH", "DELETE"] {
        // Leaves a connection that looks alive.
        assert_eq!(edge.get("/a").text(), "fine");
        let mut viewer = edge.viewer();
        viewer.send(&request(method, "/gone", &["Content-Length: 0"]));
        assert_eq!(viewer.read(method).unwrap().status, 502, "{method}");
        let asked = origin.seen().iter().filter(|asked| asked.method == method).count();
        assert_eq!(asked, 1, "{method}");
    }
}

#[test]
fn an_asterisk_stays_one() {
    let origin =
        Origin::start(|asked| answer(200, "Cache-Control: no-store", asked.target.as_bytes()));
    let site = format!("http://{}/site", origin.address);
    let config = plain(origin.address, "").replace(&format!("http://{}", origin.address), &site)
        + "methods = \"all\"\n";
    let edge = Edge::start(&config);
    for (line, target) in [
        ("*", "*"),
        ("http://h.test", "*"),
        ("/*", "/site/*"),
        ("/", "/site/"),
        ("http://h.test/", "/site/"),
    ] {
        let mut viewer = edge.viewer();
        viewer.send(&request("OPTIONS", line, &[]));
        let seen = viewer.read("OPTIONS").unwrap();
        assert_eq!((seen.status, seen.text()), (200, target.into()), "{line}");
    }
    // What it asks about is none of the objects.
    let mut viewer = edge.viewer();
    viewer.send(&request("GET", "*", &[]));
    assert_eq!(viewer.read("GET").unwrap().status, 400);
}

// A head of so many octets, the empty line included, and a body of two.
fn head_of(octets: usize) -> Vec<u8> {
    let bare = "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nContent-Length: 2\r\nX: \r\n\r\n";
    let padding = "x".repeat(octets - bare.len());
    bare.replace("X: ", &format!("X: {padding}")).into_bytes()
}

#[test]
fn a_head_has_as_many_octets_as_is_said_and_no_more() {
    const LIMIT: usize = 300;
    let origin = Origin::start(|asked| {
        let octets = asked.target[2..].parse::<usize>().unwrap();
        match &asked.target[..2] {
            "/w" => raw(&[&head_of(octets)[..], b"ok"].concat()),
            "/s" => {
                let head = head_of(octets);
                let (first, second) = head.split_at(octets - 20);
                vec![
                    Say::Bytes(first.to_vec()),
                    Say::Wait(Duration::from_millis(50)),
                    Say::Bytes([second, b"ok"].concat()),
                    Say::Close,
                ]
            }
            _ => {
                let interim =
                    format!("HTTP/1.1 103 Early Hints\r\nX: {}\r\n\r\n", "x".repeat(octets - 33));
                vec![
                    Say::Bytes(interim.into_bytes()),
                    Say::Bytes(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()),
                ]
            }
        }
    });
    let edge = Edge::before(origin.address, "[limits]\norigin_head_bytes = \"300B\"\n");
    for how in ["/w", "/s", "/i"] {
        assert_eq!(edge.get(&format!("{how}{LIMIT}")).text(), "ok", "{how}");
        assert_eq!(edge.get(&format!("{how}{}", LIMIT + 1)).status, 502, "{how}");
    }
    assert_eq!(edge.get("/w3000").status, 502);
    let edge = Edge::before(origin.address, "[limits]\norigin_head_bytes = \"20KiB\"\n");
    for (octets, status) in [(9000, 200), (20 << 10, 200), ((20 << 10) + 1, 502), (27_000, 502)] {
        assert_eq!(edge.get(&format!("/w{octets}")).status, status, "{octets}");
    }
}

#[test]
fn two_hosts_at_one_origin_have_answers_of_their_own() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(folder.path(), &["localhost"]);
    let origin = Origin::start_tls(server_config(folder.path(), "localhost"), |asked| {
        fresh(asked.field("host").unwrap_or_default().as_bytes())
    });
    let edge = edge_to(origin.address, &format!("host = \"viewer\"\ntls = {{ ca = {ca:?} }}"), "");
    for cache in ["Miss", "Hit"] {
        for host in ["a.test", "b.test"] {
            let seen = edge.get_with("/x", &[&format!("Host: {host}")]);
            assert_eq!((seen.text(), seen.cache()), (host.into(), cache.into()));
        }
    }
}
