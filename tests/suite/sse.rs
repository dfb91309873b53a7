//! Events and long polls pass as they come: nothing of them waits in a buffer or in an encoder for
//! what the origin has not said yet. Each word of the origin is at the viewer before the next is
//! sent, so that one that is held back fails the test instead of coming late.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::parent::introduced;
use super::support::edge::{Edge, certificates, plain};
use super::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, Frames, HEADERS, RST_STREAM, SETTINGS, block, fields, frame,
};
use super::support::free_port;

const PATIENCE: Duration = Duration::from_secs(20);

/// An origin that leaves the answering to the test: each socket by which it was asked.
struct Far {
    address: SocketAddr,
    asked: mpsc::Receiver<TcpStream>,
}

impl Far {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, asked) = mpsc::channel();
        std::thread::spawn(move || {
            for came in listener.incoming() {
                let (mut tcp, tell) = (came.unwrap(), tell.clone());
                std::thread::spawn(move || {
                    tcp.set_nodelay(true).unwrap();
                    if head(&mut tcp).is_some() {
                        let _ = tell.send(tcp);
                    }
                });
            }
        });
        Self { address, asked }
    }

    fn asked(&self) -> TcpStream {
        self.asked.recv_timeout(PATIENCE).expect("a request at the origin")
    }

    fn is_asked_no_more(&self) -> bool {
        self.asked.try_recv().is_err()
    }
}

// One head, octet by octet: what follows is not to be taken.
fn head(tcp: &mut TcpStream) -> Option<String> {
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let (mut head, mut octet) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if tcp.read(&mut octet).ok()? == 0 {
            return None;
        }
        head.push(octet[0]);
    }
    String::from_utf8(head).ok()
}

/// How the origin frames its body.
#[derive(Clone, Copy, Debug)]
enum Framed {
    Chunked,
    /// By closing, as HTTP/1.0 does.
    Close,
}

impl Framed {
    fn head(self, cached: &str) -> String {
        let (version, framing) = match self {
            Self::Chunked => ("1.1", "Connection: close\r\nTransfer-Encoding: chunked\r\n"),
            Self::Close => ("1.0", ""),
        };
        format!("HTTP/{version} 200 OK\r\nContent-Type: text/event-stream\r\n{framing}{cached}\r\n")
    }

    fn piece(self, text: &str) -> String {
        match self {
            Self::Chunked => format!("{:x}\r\n{text}\r\n", text.len()),
            Self::Close => text.to_string(),
        }
    }

    const fn end(self) -> &'static str {
        match self {
            Self::Chunked => "0\r\n\r\n",
            Self::Close => "",
        }
    }
}

/// What the viewer speaks.
#[derive(Clone, Copy, Debug)]
enum Speaks {
    Http10,
    Http11,
    Http2,
}

const VERSIONS: [Speaks; 3] = [Speaks::Http10, Speaks::Http11, Speaks::Http2];

enum Io {
    Plain(TcpStream),
    Frames(Box<Frames>),
}

/// An answer that is read as it comes.
struct Listening {
    io: Io,
    is_chunked: bool,
    /// What came behind the head.
    raw: Vec<u8>,
    /// HTTP/2 said that this was the end.
    has_ended: bool,
}

impl Listening {
    // Waits for the head: its status, and its fields in small letters.
    fn head(&mut self) -> (String, String) {
        match &mut self.io {
            Io::Plain(tcp) => {
                let head = head(tcp).expect("a head").to_ascii_lowercase();
                self.is_chunked = head.contains("\r\ntransfer-encoding: chunked\r\n");
                (head.split(' ').nth(1).unwrap().to_string(), head)
            }
            Io::Frames(frames) => {
                let head = frames.head(1).heads.pop().expect("a head");
                let lines = head.iter().map(|(name, value)| format!("{name}: {value}\r\n"));
                (head[0].1.clone(), lines.collect())
            }
        }
    }

    // The body as far as it came.
    fn body(&self) -> Vec<u8> {
        if self.is_chunked { dechunked(&self.raw) } else { self.raw.clone() }
    }

    // Reads what comes next; false at the end.
    fn more(&mut self) -> bool {
        match &mut self.io {
            Io::Plain(tcp) => {
                let mut piece = [0; 4096];
                let len = tcp.read(&mut piece).unwrap_or(0);
                self.raw.extend_from_slice(&piece[..len]);
                len > 0
            }
            Io::Frames(_) if self.has_ended => false,
            Io::Frames(frames) => {
                let next = frames
                    .find(|frame| frame.stream == 1 && matches!(frame.kind, DATA | RST_STREAM));
                let Some(came) = next.filter(|frame| frame.kind == DATA) else { return false };
                self.has_ended = came.flags & END_STREAM != 0;
                self.raw.extend(came.payload);
                true
            }
        }
    }

    // Reads until this much is there, and not one octet waits for the next.
    fn hears(&mut self, what: &str, is_there: impl Fn(&[u8]) -> bool) {
        while !is_there(&self.body()) {
            let came = String::from_utf8_lossy(&self.raw).into_owned();
            assert!(self.more(), "{what}: held back, or cut, behind {came:?}");
        }
    }

    // Says whether the end came, and as it should.
    fn ends(mut self) -> bool {
        while self.more() {}
        match self.io {
            Io::Plain(_) => !self.is_chunked || self.raw.ends_with(b"0\r\n\r\n"),
            Io::Frames(_) => self.has_ended,
        }
    }
}

// The octets of the chunks that came, the last perhaps not whole.
fn dechunked(mut raw: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = raw.windows(2).position(|w| w == b"\r\n") {
        let line = std::str::from_utf8(&raw[..at]).unwrap();
        let size = usize::from_str_radix(line, 16).unwrap();
        let rest = &raw[at + 2..];
        body.extend_from_slice(&rest[..size.min(rest.len())]);
        if size == 0 || rest.len() < size + 2 {
            break;
        }
        raw = &rest[size + 2..];
    }
    body
}

/// An edge that encodes what it may, alone or under a parent that does the same.
struct Way {
    name: &'static str,
    edge: Edge,
    ca: PathBuf,
    origin: Far,
    _parent: Option<Edge>,
}

// An edge's configuration, with ports for viewers over TLS and for the admin listener.
fn text(folder: &Path, name: &str, origin: SocketAddr, more: &str, ports: (u16, u16)) -> String {
    let (_, chain, key) = certificates(folder, &[name]);
    let more = format!(
        "{more}\n[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n\
         [cache_policy.c]\nttl = {{ min = \"0s\" }}\ncompress = [\"br\", \"gzip\", \"zstd\"]\n"
    );
    let https = format!("https = [\"127.0.0.1:{}\"]\nworkers = 2", ports.0);
    let admin = format!("[admin]\nlisten = \"127.0.0.1:{}\"", ports.1);
    plain(origin, &more)
        .replace("workers = 2", &https)
        .replace("[admin]\nlisten = \"127.0.0.1:0\"", &admin)
        + "cache_policy = \"c\"\n"
}

fn start(folder: &Arc<tempfile::TempDir>, text: &str) -> Edge {
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(Arc::clone(folder))
}

impl Way {
    // With more settings of the origin.
    fn direct(more: &str) -> Self {
        let origin = Far::start();
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let config = text(folder.path(), "h.test", origin.address, "", (0, 0))
            .replace("timeouts", &format!("{more}timeouts"));
        let edge = start(&folder, &config);
        let ca = folder.path().join("tls/ca.pem");
        Self { name: "direct", edge, ca, origin, _parent: None }
    }

    fn through_a_parent() -> Self {
        let origin = Far::start();
        let above = Arc::new(tempfile::tempdir().unwrap());
        let ports = (free_port(), free_port());
        let trusts = "[[trusted_edge]]\nid = \"e1\"\ntoken = { file = \"token\" }";
        let parent = start(&above, &text(above.path(), "localhost", origin.address, trusts, ports));
        let folder = Arc::new(tempfile::tempdir().unwrap());
        let region = format!(
            "[region]\nkind = \"parent\"\nedge_id = \"e1\"\ntoken = {{ file = \"token\" }}\nca = {:?}\n\
             timeout = \"2s\"\n[[region.parent]]\nurl = \"https://localhost:{}\"\nadmin = \"http://127.0.0.1:{}\"\n",
            above.path().join("tls/ca.pem"),
            ports.0,
            ports.1
        );
        let config = text(folder.path(), "h.test", origin.address, &region, (0, 0));
        let edge = introduced(start(&folder, &config));
        let ca = folder.path().join("tls/ca.pem");
        Self { name: "through a parent", edge, ca, origin, _parent: Some(parent) }
    }

    fn all() -> [Self; 2] {
        [Self::direct(""), Self::through_a_parent()]
    }

    // Asks, and reads nothing yet.
    fn ask(&self, speaks: Speaks, path: &str, accepts: &str) -> Listening {
        let io = match speaks {
            Speaks::Http10 | Speaks::Http11 => {
                let version = if matches!(speaks, Speaks::Http10) { "1.0" } else { "1.1" };
                let mut tcp = TcpStream::connect(self.edge.http).unwrap();
                let request = format!(
                    "GET {path} HTTP/{version}\r\nHost: h.test\r\nConnection: close\r\n\
                     Accept: text/event-stream\r\nAccept-Encoding: {accepts}\r\n\r\n"
                );
                tcp.write_all(request.as_bytes()).unwrap();
                Io::Plain(tcp)
            }
            Speaks::Http2 => {
                let mut frames = Frames::connect(self.edge.https.unwrap(), &self.ca, &[]);
                let more = [("accept", "text/event-stream"), ("accept-encoding", accepts)];
                let request = block(&fields("GET", path, &more));
                frames.send(&frame(HEADERS, END_STREAM | END_HEADERS, 1, &request));
                Io::Frames(Box::new(frames))
            }
        };
        Listening { io, is_chunked: false, raw: Vec::new(), has_ended: false }
    }
}

const EVENTS: [&str; 4] =
    ["data: 1\n\n", ": still here\n\n", "event: news\ndata: äöü\ndata: more\n\n", "id: 4\n\n"];

// One stream from its head to its end, event by event; how long its head took from the origin to
// the viewer.
fn follow(
    way: &Way,
    speaks: Speaks,
    path: &str,
    accepts: &str,
    framed: Framed,
    cached: &str,
) -> Duration {
    let what = format!("{} {speaks:?} {accepts} {framed:?} {cached:?}", way.name);
    let mut viewer = way.ask(speaks, path, accepts);
    let mut origin = way.origin.asked();
    origin.write_all(framed.head(cached).as_bytes()).unwrap();
    // The head alone comes, too: a browser then says that the stream is open.
    let sent = Instant::now();
    let (status, head) = viewer.head();
    let took = sent.elapsed();
    assert_eq!(status, "200", "{what}: {head}");
    assert!(head.contains("content-type: text/event-stream\r\n"), "{what}: {head}");
    for gone in ["content-encoding", "content-length"] {
        assert!(!head.contains(gone), "{what}: {head}");
    }
    let mut said = String::new();
    for event in EVENTS {
        said.push_str(event);
        origin.write_all(framed.piece(event).as_bytes()).unwrap();
        viewer.hears(&what, |body| body == said.as_bytes());
    }
    origin.write_all(framed.end().as_bytes()).unwrap();
    drop(origin);
    assert!(viewer.ends(), "{what}: the end");
    took
}

#[test]
fn each_event_is_at_the_viewer_before_the_next_is_sent() {
    for way in Way::all() {
        let (mut number, mut fastest) = (0, Duration::MAX);
        for speaks in VERSIONS {
            for accepts in ["gzip", "br", "zstd"] {
                for framed in [Framed::Chunked, Framed::Close] {
                    for cached in ["", "Cache-Control: no-store\r\n"] {
                        number += 1;
                        let path = format!("/events/{number}");
                        let took = follow(&way, speaks, &path, accepts, framed, cached);
                        fastest = fastest.min(took);
                    }
                }
            }
        }
        // No head is held for its first event, as those of other bodies are for half a second.
        assert!(fastest < Duration::from_millis(400), "{}: {fastest:?}", way.name);
    }
}

// Its two seconds are for a parent's head. What the origin may be silent for, three seconds here,
// can only be seen to pass: the timer is of the process that is tested.
#[test]
fn an_event_may_come_after_more_than_the_budget_for_parents() {
    let way = Way::through_a_parent();
    let framed = Framed::Chunked;
    let mut viewer = way.ask(Speaks::Http11, "/events", "gzip");
    let mut origin = way.origin.asked();
    origin.write_all(framed.head("").as_bytes()).unwrap();
    assert_eq!(viewer.head().0, "200");
    let mut said = String::new();
    for event in &EVENTS[..2] {
        said.push_str(event);
        origin.write_all(framed.piece(event).as_bytes()).unwrap();
        viewer.hears(way.name, |body| body == said.as_bytes());
        std::thread::park_timeout(Duration::from_millis(2_300));
    }
    origin.write_all(framed.end().as_bytes()).unwrap();
    assert!(viewer.ends());
}

// Reads on from where an HTTP/1.1 head would end, up to the head of a request over HTTP/2; the
// stream that it came on.
fn stream_asked(tcp: &mut TcpStream) -> u32 {
    let mut preface = [0; 6];
    tcp.read_exact(&mut preface).unwrap();
    assert_eq!(&preface, b"SM\r\n\r\n");
    tcp.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head).unwrap();
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        tcp.read_exact(&mut payload).unwrap();
        match (head[3], head[4] & ACK) {
            (SETTINGS, 0) => tcp.write_all(&frame(SETTINGS, ACK, 0, &[])).unwrap(),
            (HEADERS, _) => return u32::from_be_bytes([head[5], head[6], head[7], head[8]]),
            _ => {}
        }
    }
}

#[test]
fn events_of_an_origin_over_http2_come_as_they_are_sent() {
    for speaks in VERSIONS {
        let way = Way::direct("http_version = \"http2\"\n");
        let mut viewer = way.ask(speaks, "/events", "gzip");
        let mut origin = way.origin.asked();
        let stream = stream_asked(&mut origin);
        let fields = block(&[(":status", "200"), ("content-type", "text/event-stream")]);
        origin.write_all(&frame(HEADERS, END_HEADERS, stream, &fields)).unwrap();
        let (status, head) = viewer.head();
        assert_eq!(status, "200", "{head}");
        let (what, mut said) = (format!("{speaks:?}"), String::new());
        for event in EVENTS {
            said.push_str(event);
            origin.write_all(&frame(DATA, 0, stream, event.as_bytes())).unwrap();
            viewer.hears(&what, |body| body == said.as_bytes());
        }
        origin.write_all(&frame(DATA, END_STREAM, stream, b"")).unwrap();
        assert!(viewer.ends(), "{what}: the end");
    }
}

// What may be kept has one fetch for all who ask, and they all hear it while it goes on.
#[test]
fn who_comes_later_hears_what_was_said_and_what_is_said_next() {
    for way in Way::all() {
        let framed = Framed::Chunked;
        let mut first = way.ask(Speaks::Http11, "/events", "gzip");
        let mut origin = way.origin.asked();
        let kept = framed.head("Cache-Control: max-age=60\r\n");
        origin.write_all(kept.as_bytes()).unwrap();
        origin.write_all(framed.piece(EVENTS[0]).as_bytes()).unwrap();
        assert_eq!(first.head().0, "200");
        first.hears(way.name, |body| body == EVENTS[0].as_bytes());
        let mut second = way.ask(Speaks::Http2, "/events", "gzip");
        assert_eq!(second.head().0, "200");
        second.hears(way.name, |body| body == EVENTS[0].as_bytes());
        let both = [EVENTS[0], EVENTS[1]].concat();
        origin.write_all(framed.piece(EVENTS[1]).as_bytes()).unwrap();
        for viewer in [&mut first, &mut second] {
            viewer.hears(way.name, |body| body == both.as_bytes());
        }
        origin.write_all(framed.end().as_bytes()).unwrap();
        assert!(first.ends() && second.ends(), "{}", way.name);
        assert!(way.origin.is_asked_no_more(), "{}", way.name);
    }
}

fn gunzipped(octets: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    // An error says that it is not whole yet.
    let _ = flate2::read::GzDecoder::new(octets).read_to_end(&mut all);
    all
}

// A long poll is answered by a head at once and a body when there is news. Of known length, and if
// it may be kept, it is encoded; what the origin has said of it is decoded by the viewer while the
// origin is silent.
#[test]
fn a_long_poll_waits_for_its_origin_alone() {
    let news: String = (0..300).map(|at| format!("{{\"news\": {}}}\n", at * 7919)).collect();
    let (early, late) = news.split_at(news.len() / 2);
    for way in Way::all() {
        for (number, speaks) in VERSIONS.into_iter().enumerate() {
            for cached in ["max-age=60", "no-store"] {
                let what = format!("{} {speaks:?} {cached}", way.name);
                let is_old = matches!(speaks, Speaks::Http10);
                // HTTP/1.0 has no codings, through a parent neither.
                let mut viewer = way.ask(speaks, &format!("/poll/{number}/{cached}"), "gzip");
                let mut origin = way.origin.asked();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\
                     Cache-Control: {cached}\r\nContent-Length: {}\r\n\r\n",
                    news.len()
                );
                origin.write_all(head.as_bytes()).unwrap();
                let (status, head) = viewer.head();
                assert_eq!(status, "200", "{what}: {head}");
                let is_encoded = cached != "no-store" && !is_old;
                assert_eq!(head.contains("content-encoding: gzip\r\n"), is_encoded, "{what}");
                let came = |body: &[u8]| if is_encoded { gunzipped(body) } else { body.to_vec() };
                origin.write_all(early.as_bytes()).unwrap();
                viewer.hears(&what, |body| came(body) == early.as_bytes());
                origin.write_all(late.as_bytes()).unwrap();
                viewer.hears(&what, |body| came(body) == news.as_bytes());
                assert!(viewer.ends(), "{what}: the end");
            }
        }
    }
}
