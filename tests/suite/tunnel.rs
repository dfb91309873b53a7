//! WebSockets through the edge (RFC 6455), with raw sockets on both sides: which side agrees to
//! what, that octets go both ways at the pace of the side that takes them, and that no octet of one
//! exchange ever becomes part of another. Over HTTP/2 they come as RFC 8441 has it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use foreshore::semantics::websocket::accept_of;

use super::reloads::reload;
use super::support::edge::{Edge, certificates, plain};
use super::support::eventually;
use super::support::frames::{
    Answer, DATA, END_HEADERS, END_STREAM, Frames, GOAWAY, HEADERS, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, block, fields, frame,
};

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

pub(super) fn handshake(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: h.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n\
         Sec-WebSocket-Key: {KEY}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

fn agreed(accept: &str) -> String {
    format!(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
    )
}

/// An origin that answers each connection's first head as it is told, and then has the socket to
/// itself.
pub(super) struct Far {
    pub(super) address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Far {
    fn start(then: impl Fn(&str, TcpStream) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let (seen, then) = (Arc::clone(&heads), Arc::new(then));
        std::thread::spawn(move || {
            for came in listener.incoming() {
                let (mut tcp, seen, then) = (came.unwrap(), Arc::clone(&seen), Arc::clone(&then));
                std::thread::spawn(move || {
                    let Some(head) = head(&mut tcp) else { return };
                    seen.lock().unwrap().push(head.clone());
                    then(&head, tcp);
                });
            }
        });
        Self { address, heads }
    }

    fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

// One head, octet by octet: what follows is not to be taken.
pub(super) fn head(tcp: &mut TcpStream) -> Option<String> {
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if tcp.read(&mut octet).ok()? == 0 {
            return None;
        }
        head.push(octet[0]);
    }
    Some(String::from_utf8(head).unwrap())
}

fn echo(mut tcp: TcpStream) {
    let mut buffer = vec![0; 65536];
    while let Ok(len @ 1..) = tcp.read(&mut buffer) {
        if tcp.write_all(&buffer[..len]).is_err() {
            return;
        }
    }
}

pub(super) fn connect(edge: &Edge) -> TcpStream {
    let tcp = TcpStream::connect(edge.http).unwrap();
    tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    tcp
}

pub(super) fn to_the_end(tcp: &mut TcpStream) -> Vec<u8> {
    let mut all = Vec::new();
    let _ = tcp.read_to_end(&mut all);
    all
}

#[test]
fn octets_go_both_ways_once_both_sides_agreed() {
    let origin = Far::start(|_, mut tcp| {
        // The first words come with the head.
        tcp.write_all(format!("{}early", agreed(ACCEPT)).as_bytes()).unwrap();
        echo(tcp);
    });
    let edge = Edge::before_with(origin.address, "", "origin_request_policy = \"AllViewer\"\n");
    let mut viewer = connect(&edge);
    // So do the viewer's: they wait for the origin's word.
    viewer.write_all(format!("{}ahead", handshake("/chat?room=1")).as_bytes()).unwrap();
    let said = head(&mut viewer).unwrap();
    assert!(said.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{said}");
    for line in ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Protocol: chat"] {
        assert!(said.contains(&format!("{line}\r\n")), "{line}: {said}");
    }
    assert!(said.contains(ACCEPT) && !said.contains("Content-Length"), "{said}");
    let mut got = [0; 10];
    viewer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"earlyahead");
    assert_eq!(edge.metric("foreshore_tunnels"), 1.0);

    // Much of it, at the pace of the side that takes it.
    let sent: Vec<u8> = (0..4_000_000u32).map(|at| (at * 7 % 251) as u8).collect();
    let (mut half, expected) = (viewer.try_clone().unwrap(), sent.clone());
    let writer = std::thread::spawn(move || half.write_all(&sent).unwrap());
    let mut back = vec![0; expected.len()];
    viewer.read_exact(&mut back).unwrap();
    writer.join().unwrap();
    assert!(back == expected);

    // The viewer ends; the origin's end comes back.
    viewer.shutdown(Shutdown::Write).unwrap();
    assert_eq!(to_the_end(&mut viewer), b"");
    let head = origin.heads().remove(0);
    for line in [
        "GET /chat?room=1 HTTP/1.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Protocol: chat",
    ] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    assert!(
        head.to_ascii_lowercase()
            .contains(&format!("sec-websocket-key: {}", KEY.to_ascii_lowercase()))
    );
    eventually("the place is given back", || edge.metric("foreshore_tunnels") == 0.0);
    eventually("it is counted", || edge.metric("foreshore_tunnel_octets_total") == 8_000_015.0);
    let log = || std::fs::read_to_string(edge.path().join("access.log")).unwrap();
    eventually("it is in the log", || log().contains("\"status\":101"));
    let line: serde_json::Value =
        serde_json::from_str(log().lines().find(|line| line.contains("101")).unwrap()).unwrap();
    assert_eq!(
        (line["bytes"].as_u64(), line["received"].as_u64()),
        (Some(4_000_010), Some(4_000_005))
    );
    assert_eq!(line["reason"], "upgrade");
}

#[test]
fn handshakes_that_no_server_could_accept_go_no_further() {
    let origin = Far::start(|_, mut tcp| {
        let _ = tcp.write_all(agreed(ACCEPT).as_bytes());
        echo(tcp);
    });
    let edge = Edge::before_with(origin.address, "", "methods = \"all\"\n");
    let good = handshake("/a");
    for (bad, status) in [
        (good.replace("Sec-WebSocket-Version: 13", "Sec-WebSocket-Version: 8"), 426),
        (good.replace("Sec-WebSocket-Version: 13\r\n", ""), 426),
        (good.replace(KEY, "c2hvcnQ="), 400),
        (good.replace(KEY, "not base64!"), 400),
        (good.replace(&format!("Sec-WebSocket-Key: {KEY}\r\n"), ""), 400),
        (good.replace("Sec-WebSocket-Protocol", "Sec-WebSocket-Key"), 400),
        (good.replace("GET ", "POST "), 403),
        (good.replace("\r\n\r\n", "\r\nContent-Length: 5\r\n\r\nhello"), 403),
    ] {
        let mut viewer = connect(&edge);
        // What stands behind a refused handshake is a request, or nothing at all; never the
        // origin's.
        viewer
            .write_all(format!("{bad}GET /smuggled HTTP/1.1\r\nHost: h.test\r\n\r\n").as_bytes())
            .unwrap();
        let said = head(&mut viewer).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{bad}\n{said}");
        assert_eq!(
            said.contains("Sec-Websocket-Version: 13")
                || said.contains("Sec-WebSocket-Version: 13"),
            status == 426,
            "{said}"
        );
        assert_eq!(said.contains("\r\nUpgrade: websocket\r\n"), status == 426, "{said}");
        drop(viewer);
    }
    assert!(origin.heads().iter().all(|head| !head.to_ascii_lowercase().contains("upgrade")));
}

#[test]
fn an_origin_that_does_not_agree_opens_nothing() {
    let origin = Far::start(|head, mut tcp| {
        let path = head.split(' ').nth(1).unwrap();
        let answer = match path {
            "/wrong" => agreed("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "/none" => agreed(ACCEPT).replace("Sec-WebSocket-Accept", "X-Accept"),
            "/twice" => agreed(ACCEPT).replace(
                "Sec-WebSocket-Protocol: chat",
                &format!("Sec-WebSocket-Accept: {ACCEPT}"),
            ),
            "/other" => agreed(ACCEPT).replace("Upgrade: websocket", "Upgrade: h2c"),
            "/plain" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_string(),
            // A 101 to a request that offered nothing.
            _ => agreed(ACCEPT),
        };
        let _ = tcp.write_all(format!("{answer}octets of the origin").as_bytes());
        echo(tcp);
    });
    let edge = Edge::before(origin.address, "");
    for (path, status) in
        [("/wrong", 502), ("/none", 502), ("/twice", 502), ("/other", 502), ("/plain", 403)]
    {
        let mut viewer = connect(&edge);
        viewer.write_all(handshake(path).as_bytes()).unwrap();
        let said = head(&mut viewer).unwrap();
        assert!(said.starts_with(&format!("HTTP/1.1 {status} ")), "{path}: {said}");
        viewer.shutdown(Shutdown::Write).unwrap();
        let rest = String::from_utf8(to_the_end(&mut viewer)).unwrap();
        assert!(!rest.contains("octets of the origin"), "{path}: {rest}");
    }
    assert_eq!(edge.get("/unasked").status, 502);
    assert_eq!(edge.metric("foreshore_tunnels_total"), 0.0);
}

#[test]
fn tunnels_have_a_limit_and_end_when_nothing_is_said() {
    let origin = Far::start(|_, mut tcp| {
        tcp.write_all(agreed(ACCEPT).as_bytes()).unwrap();
        echo(tcp);
    });
    let edge = Edge::before(origin.address, "[limits]\ntunnels = 1\ntunnel_idle = \"4s\"");
    let mut first = connect(&edge);
    first.write_all(handshake("/").as_bytes()).unwrap();
    assert!(head(&mut first).unwrap().contains(" 101 "));
    let mut second = connect(&edge);
    second.write_all(handshake("/").as_bytes()).unwrap();
    assert!(head(&mut second).unwrap().starts_with("HTTP/1.1 503 "));
    assert_eq!(edge.metric("foreshore_tunnels_refused_total"), 1.0);
    // Idle for so long: both sides hear of it.
    assert_eq!(to_the_end(&mut first), b"");
    eventually("the place is given back", || edge.metric("foreshore_tunnels") == 0.0);
    let mut third = connect(&edge);
    third.write_all(handshake("/").as_bytes()).unwrap();
    assert!(head(&mut third).unwrap().contains(" 101 "));
}

// An origin that agrees, sends what it is told, and resets once it has heard a word.
fn leaving(sends: &'static [u8]) -> Far {
    Far::start(move |head, mut tcp| {
        let agreed = agreed(&accept_of(key_of(head).as_bytes()));
        tcp.write_all(&[agreed.as_bytes(), sends].concat()).unwrap();
        let mut word = [0; 4];
        tcp.read_exact(&mut word).unwrap();
        socket2::SockRef::from(&tcp).set_linger(Some(Duration::ZERO)).unwrap();
    })
}

#[test]
fn a_viewer_is_told_of_an_origin_that_is_gone() {
    for (sends, wanted) in [(&b""[..], &b"\x88\x02\x03\xf3"[..]), (&b"\x81\x05he"[..], &b""[..])] {
        let origin = leaving(sends);
        let (edge, ca) = secure(origin.address, "");
        let mut viewer = connect(&edge);
        viewer.write_all(handshake("/").as_bytes()).unwrap();
        assert!(head(&mut viewer).unwrap().contains(" 101 "));
        let mut got = vec![0; sends.len()];
        viewer.read_exact(&mut got).unwrap();
        viewer.write_all(b"word").unwrap();
        let mut rest = Vec::new();
        let end = viewer.read_to_end(&mut rest);
        assert_eq!(rest, wanted);
        // In the midst of a frame nothing can be said: a reset, not an end.
        assert_eq!(end.is_err(), wanted.is_empty());

        let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
        assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["200"]);
        assert_eq!(viewer.data(1, sends.len()), sends);
        viewer.send(&frame(DATA, 0, 1, b"word"));
        if wanted.is_empty() {
            assert_eq!(viewer.reset(1), 8, "CANCEL, as RFC 8441 §5 has it");
        } else {
            assert_eq!(viewer.data(1, usize::MAX), wanted);
        }
        eventually("the place is given back", || edge.metric("foreshore_tunnels") == 0.0);
    }
}

// The key of a handshake that an origin got.
fn key_of(head: &str) -> &str {
    let is_key = |line: &&str| line.to_ascii_lowercase().starts_with("sec-websocket-key:");
    head.lines().find(is_key).and_then(|line| line.split_once(": ")).unwrap().1
}

// An edge in front of an origin that speaks TLS too, and whom to trust for that.
pub(super) fn secure(origin: SocketAddr, more: &str) -> (Edge, std::path::PathBuf) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, cert, key) = certificates(folder.path(), &["h.test"]);
    let more = format!("{more}\n[[certificate]]\nchain = {cert:?}\nkey = {key:?}\n");
    let text =
        plain(origin, &more).replace("workers = 2", "https = [\"127.0.0.1:0\"]\nworkers = 2");
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    (Edge::start_in(folder), ca)
}

const WEBSOCKET: [(&str, &str); 3] = [
    (":protocol", "websocket"),
    ("sec-websocket-version", "13"),
    ("sec-websocket-protocol", "chat"),
];

// An extended CONNECT with octets right behind it, and the head of its answer.
pub(super) fn open(viewer: &mut Frames, stream: u32, path: &str, ahead: &[u8]) -> Answer {
    let head = block(&fields("CONNECT", path, &WEBSOCKET));
    viewer.send(&frame(HEADERS, END_HEADERS, stream, &head));
    if !ahead.is_empty() {
        viewer.send(&frame(DATA, 0, stream, ahead));
    }
    viewer.head(stream)
}

// An origin that agrees to whatever key it gets, sends this at once, and then does that.
pub(super) fn agreeing(
    early: &'static str,
    then: impl Fn(TcpStream) + Send + Sync + 'static,
) -> Far {
    Far::start(move |head, mut tcp| {
        let agreed = agreed(&accept_of(key_of(head).as_bytes()));
        tcp.write_all(format!("{agreed}{early}").as_bytes()).unwrap();
        then(tcp);
    })
}

#[test]
fn over_http2_octets_go_both_ways_too() {
    let origin = agreeing("early", echo);
    let (edge, ca) = secure(origin.address, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 1 << 24)]);
    viewer.send(&frame(WINDOW_UPDATE, 0, 0, &(1u32 << 24).to_be_bytes()));
    let settings = viewer.find(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap();
    assert!(settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]));

    let answer = open(&mut viewer, 1, "/chat?room=1", b"ahead");
    assert_eq!(answer.statuses(), ["200"]);
    assert_eq!(answer.field("sec-websocket-protocol").as_deref(), Some("chat"));
    for gone in ["sec-websocket-accept", "connection", "upgrade", "content-length"] {
        assert_eq!(answer.field(gone), None, "{gone}: {answer:?}");
    }
    assert_eq!(viewer.data(1, 10), b"earlyahead");
    assert_eq!(edge.metric("foreshore_tunnels"), 1.0);
    // More than the windows, so that they have to be opened again.
    for round in 0..40u32 {
        let sent: Vec<u8> = (0..16_384u32).map(|at| (at * 7 + round) as u8).collect();
        viewer.send(&frame(DATA, 0, 1, &sent));
        assert!(viewer.data(1, sent.len()) == sent, "round {round}");
    }
    // The viewer ends; the origin's end comes back.
    viewer.send(&frame(DATA, END_STREAM, 1, b""));
    let end = viewer.find(|frame| frame.kind == DATA && frame.stream == 1).unwrap();
    assert_eq!((end.flags, end.payload.len()), (END_STREAM, 0));

    let head = origin.heads().remove(0);
    for line in ["GET /chat?room=1 HTTP/1.1", "Upgrade: websocket", "Connection: Upgrade"] {
        assert!(head.contains(&format!("{line}\r\n")), "{line}: {head}");
    }
    let lower = head.to_ascii_lowercase();
    assert!(lower.contains("sec-websocket-protocol: chat\r\n") && !lower.contains("protocol: w"));
    eventually("the place is given back", || edge.metric("foreshore_tunnels") == 0.0);
    let octets = 2.0 * 40.0 * 16_384.0 + 15.0;
    eventually("it is counted", || edge.metric("foreshore_tunnel_octets_total") == octets);
    let log = || std::fs::read_to_string(edge.path().join("access.log")).unwrap();
    eventually("it is in the log", || log().contains("\"upgrade\""));
    let line: serde_json::Value = serde_json::from_str(log().lines().next().unwrap()).unwrap();
    assert_eq!(
        (line["status"].as_u64(), line["bytes"].as_u64(), line["received"].as_u64()),
        (Some(200), Some(655_370), Some(655_365))
    );
}

#[test]
fn what_is_no_websocket_over_http2_is_refused() {
    let origin = agreeing("early", echo);
    let (edge, ca) = secure(origin.address, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let [websocket, version, _] = WEBSOCKET;
    let heads = [
        ("501", fields("CONNECT", "/", &[(":protocol", "connect-udp"), version])),
        ("426", fields("CONNECT", "/", &[websocket])),
        ("426", fields("CONNECT", "/", &[websocket, ("sec-websocket-version", "8")])),
        ("405", vec![(":method", "CONNECT"), (":authority", "h.test:443")]),
        ("", fields("GET", "/", &[websocket, version])),
        ("", fields("CONNECT", "/", &[websocket, version, ("upgrade", "websocket")])),
        ("", fields("CONNECT", "/", &[websocket, version, ("content-length", "0")])),
    ];
    for (at, (status, head)) in heads.into_iter().enumerate() {
        let stream = 1 + 2 * at as u32;
        viewer.send(&frame(HEADERS, END_HEADERS, stream, &block(&head)));
        if status.is_empty() {
            assert_eq!(viewer.reset(stream), 1, "{head:?}");
        } else {
            assert_eq!(viewer.answer(stream).statuses(), [status], "{head:?}");
        }
    }
    assert!(origin.heads().is_empty(), "{:?}", origin.heads());
    // None can be served, and so none is offered.
    let (edge, ca) = secure(origin.address, "[limits]\ntunnels = 0");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let settings = viewer.find(|frame| frame.kind == SETTINGS && frame.flags == 0).unwrap();
    assert!(!settings.payload.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1]));
    assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["405"]);
}

// Any success would be taken for agreement, and what follows for frames.
#[test]
fn over_http2_only_agreement_is_success() {
    let origin = Far::start(|head, mut tcp| {
        let accept = accept_of(key_of(head).as_bytes());
        let answer = match head.split(' ').nth(1).unwrap() {
            "/wrong" => agreed("AAAAAAAAAAAAAAAAAAAAAAAAAAA="),
            "/theirs" => agreed(ACCEPT),
            "/plain" => "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno".to_string(),
            "/fine" => "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n".to_string(),
            "/empty" => "HTTP/1.1 204 No Content\r\n\r\n".to_string(),
            _ => agreed(&accept),
        };
        let _ = tcp.write_all(format!("{answer}octets of the origin").as_bytes());
        echo(tcp);
    });
    let (edge, ca) = secure(origin.address, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let paths = ["/wrong", "/theirs", "/plain", "/fine", "/empty"];
    for (at, path) in paths.into_iter().enumerate() {
        let stream = 1 + 2 * at as u32;
        let more = [&WEBSOCKET[..], &[("sec-websocket-key", KEY)]].concat();
        let head = block(&fields("CONNECT", path, &more));
        viewer.send(&frame(HEADERS, END_HEADERS, stream, &head));
        viewer.send(&frame(DATA, 0, stream, b"GET /smuggled HTTP/1.1\r\nHost: h.test\r\n\r\n"));
        let answer = viewer.answer(stream);
        let wanted = if path == "/plain" { "403" } else { "502" };
        assert_eq!(answer.statuses(), [wanted], "{path}");
        let body = String::from_utf8(answer.body).unwrap();
        assert!(answer.whole && !body.contains("octets of the origin"), "{path}: {body}");
    }
    assert!(origin.heads().iter().all(|head| !head.contains("smuggled")));
    eventually("no place is kept", || edge.metric("foreshore_tunnels") == 0.0);
}

#[test]
fn a_tunnel_over_http2_is_paced_by_its_reader_and_holds_nothing_else_up() {
    const ALL: usize = 10_000_000;
    let flood = vec![7u8; ALL];
    let origin = Far::start(move |head, mut tcp| {
        if head.contains(" / ") {
            let agreed = agreed(&accept_of(key_of(head).as_bytes()));
            let _ = tcp.write_all(agreed.as_bytes()).and_then(|()| tcp.write_all(&flood));
            to_the_end(&mut tcp);
        } else {
            let _ = tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello");
        }
    });
    let (edge, ca) = secure(origin.address, "");
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[(4, 1_000)]);
    assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["200"]);
    assert_eq!(viewer.data(1, 1_000).len(), 1_000);
    // The tunnel stands; the connection goes on, and so does what the viewer sends.
    assert_eq!(viewer.get(3, "/page").body, b"hello");
    viewer.send(&frame(DATA, 0, 1, b"a word"));
    let more = (ALL as u32 - 1_000).to_be_bytes();
    viewer.send(&[frame(WINDOW_UPDATE, 0, 0, &more), frame(WINDOW_UPDATE, 0, 1, &more)].concat());
    assert_eq!(viewer.data(1, ALL - 1_000).len(), ALL - 1_000);
    // The viewer takes it back: the origin hears of it.
    viewer.send(&frame(RST_STREAM, 0, 1, &8u32.to_be_bytes()));
    eventually("the place is given back", || edge.metric("foreshore_tunnels") == 0.0);
}

// Those of tunnels, not those of bodies.
#[test]
fn over_http2_tunnels_have_limits_of_their_own() {
    let origin = agreeing("early", echo);
    let limits = "[limits]\ntunnels = 1\ntunnel_idle = \"4s\"\nrequest_body = \"1KiB\"";
    let (edge, ca) = secure(origin.address, limits);
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["200"]);
    assert_eq!(open(&mut viewer, 3, "/", b"").statuses(), ["503"]);
    assert_eq!(edge.metric("foreshore_tunnels_refused_total"), 1.0);
    viewer.send(&frame(DATA, 0, 1, &[7; 4096]));
    assert_eq!(viewer.data(1, 5 + 4096).len(), 5 + 4096);
    // Idle for so long: an end, and no reset.
    let end = viewer.find(|frame| frame.stream == 1).unwrap();
    assert_eq!((end.kind, end.flags, end.payload.len()), (DATA, END_STREAM, 0));
    eventually("the place is given back", || edge.metric("foreshore_tunnels") == 0.0);
    assert_eq!(open(&mut viewer, 5, "/", b"").statuses(), ["200"]);
}

// The first frame of a text.
const HELLO: &str = "\u{1}\u{3}hey";

#[test]
fn a_drain_says_goodbye_to_both_sides() {
    let heard = Arc::<Mutex<Vec<Vec<u8>>>>::default();
    let hears = Arc::clone(&heard);
    let origin = agreeing(HELLO, move |mut tcp| {
        let got = to_the_end(&mut tcp);
        hears.lock().unwrap().push(got);
    });
    let (mut edge, ca) = secure(origin.address, "[limits]\ndrain = \"2s\"");
    let mut plain = connect(&edge);
    plain.write_all(handshake("/").as_bytes()).unwrap();
    assert!(head(&mut plain).unwrap().contains(" 101 "));
    let mut hello = [0; HELLO.len()];
    plain.read_exact(&mut hello).unwrap();
    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    assert_eq!(open(&mut viewer, 1, "/", b"").statuses(), ["200"]);
    assert_eq!(viewer.data(1, HELLO.len()), HELLO.as_bytes());

    edge.signal(rustix::process::Signal::TERM);
    assert!(viewer.find(|frame| frame.kind == GOAWAY).is_some());
    assert_eq!(to_the_end(&mut plain), b"\x88\x02\x03\xe9");
    drop(plain);
    assert_eq!(viewer.data(1, usize::MAX), b"\x88\x02\x03\xe9");
    viewer.send(&frame(DATA, END_STREAM, 1, b""));
    assert!(edge.wait());
    eventually("both have heard it", || heard.lock().unwrap().len() == 2);
    for octets in heard.lock().unwrap().iter() {
        let [0x88, 0x82, a, b, _, _, high, low] = octets[..] else { panic!("{octets:?}") };
        assert_eq!([high ^ a, low ^ b], 1001u16.to_be_bytes(), "masked, as a client's are");
    }
}

#[test]
fn trailers_reach_viewers_that_take_them_and_are_not_stored() {
    let origin = Far::start(|head, mut tcp| {
        let how = if head.contains("/kept") { "max-age=60" } else { "no-store" };
        let _ = tcp.write_all(
            format!(
                "HTTP/1.1 200 OK\r\nCache-Control: {how}\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n\
                 5\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\nSet-Cookie: a=b\r\ngrpc-status: 0\r\n\r\n"
            )
            .as_bytes(),
        );
        let _ = tcp.read(&mut [0; 1]);
    });
    let (edge, ca) = secure(origin.address, "");
    let ask = |path: &str, fields: &str| {
        let mut viewer = connect(&edge);
        let request = format!("GET {path} HTTP/1.1\r\nHost: h.test\r\n{fields}\r\n");
        viewer.write_all(request.as_bytes()).unwrap();
        viewer.shutdown(Shutdown::Write).unwrap();
        String::from_utf8(to_the_end(&mut viewer)).unwrap()
    };
    let takes = "Connection: TE, close\r\nTE: gzip, trailers\r\n";
    let told = ask("/a", takes);
    assert!(told.ends_with("5\r\nhello\r\n0\r\nX-Sum: 7\r\nGrpc-Status: 0\r\n\r\n"), "{told}");
    let told = ask("/a", "Connection: close\r\n");
    assert!(told.ends_with("5\r\nhello\r\n0\r\n\r\n"), "{told}");
    // HTTP/1.0 has no chunks and so no trailers.
    let mut old = connect(&edge);
    old.write_all(format!("GET /a HTTP/1.0\r\nHost: h.test\r\n{takes}\r\n").as_bytes()).unwrap();
    let told = String::from_utf8(to_the_end(&mut old)).unwrap();
    assert!(told.ends_with("\r\n\r\nhello") && !told.contains("X-Sum"), "{told}");
    // From the store they are gone, with a length in their place.
    ask("/kept", takes);
    let told = ask("/kept", takes);
    assert!(told.contains("X-Cache: Hit") && told.contains("Content-Length: 5"), "{told}");
    assert!(!told.contains("X-Sum"), "{told}");

    let mut viewer = Frames::connect(edge.https.unwrap(), &ca, &[]);
    let answer = viewer.get(1, "/a");
    assert!(answer.whole && answer.body == b"hello" && answer.heads.len() == 2, "{answer:?}");
    assert_eq!(answer.field("x-sum").as_deref(), Some("7"));
    assert_eq!(answer.heads[1].len(), 2, "{answer:?}");
}

// What a reload puts in force is for handshakes to come; a tunnel stays with its origin, also where
// the new configuration has another origin or none of this kind.
#[test]
fn a_reload_leaves_open_tunnels_alone() {
    let (first, second) = (agreeing("first", echo), agreeing("second", echo));
    let (edge, ca) = secure(first.address, "");
    let mut old = connect(&edge);
    old.write_all(handshake("/").as_bytes()).unwrap();
    assert!(head(&mut old).unwrap().contains(" 101 "));
    let mut told = [0; 5];
    old.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"first");
    let mut over_h2 = Frames::connect(edge.https.unwrap(), &ca, &[]);
    assert_eq!(open(&mut over_h2, 1, "/", b"").statuses(), ["200"]);
    assert_eq!(over_h2.data(1, 5), b"first");

    let text = std::fs::read_to_string(edge.path().join("edge.toml")).unwrap();
    let moved = text.replace(&first.address.to_string(), &second.address.to_string());
    reload(&edge, &moved);
    let mut new = connect(&edge);
    new.write_all(handshake("/").as_bytes()).unwrap();
    assert!(head(&mut new).unwrap().contains(" 101 "));
    let mut told = [0; 6];
    new.read_exact(&mut told).unwrap();
    assert_eq!(&told, b"second");

    old.write_all(b"still").unwrap();
    let mut echoed = [0; 5];
    old.read_exact(&mut echoed).unwrap();
    assert_eq!(&echoed, b"still");
    over_h2.send(&frame(DATA, 0, 1, b"here"));
    assert_eq!(over_h2.data(1, 4), b"here");
    assert_eq!(edge.metric("foreshore_tunnels"), 3.0);
}
