//! HTTP/2 to origins: many requests on one connection, each at its own pace, and none lost because
//! a connection ended. Proper origins are the `h2` crate's server; others write their own frames.

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use h2::server::{Builder, SendResponse};
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Barrier;

use super::support::edge::{certificates, plain};
use super::support::frames::{
    ACK, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS, block, frame,
};
use super::support::origin::fresh;
use super::support::viewer::request;
use super::support::{Edge, Origin, Viewer, eventually};
use super::wire::server_config;

/// What an origin does with a request.
pub type Answering = Pin<Box<dyn Future<Output = ()> + Send>>;
type Handler = dyn Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answering + Send + Sync;

/// A proper origin.
pub struct Far {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
}

/// How it behaves beside its answers.
#[derive(Clone)]
pub struct Manners {
    settings: Builder,
    /// With so many requests a connection begins to end.
    leaves_after: usize,
}

impl Default for Manners {
    fn default() -> Self {
        Self { settings: Builder::new(), leaves_after: usize::MAX }
    }
}

impl Far {
    pub fn start(
        tls: Option<Arc<rustls::ServerConfig>>,
        manners: Manners,
        handler: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> Answering + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::<AtomicUsize>::default();
        let (count, handler) =
            (Arc::clone(&accepted), Arc::<Handler>::from(Box::new(handler) as Box<Handler>));
        std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                while let Ok((tcp, _)) = listener.accept().await {
                    count.fetch_add(1, Ordering::Relaxed);
                    let (handler, manners, tls) =
                        (Arc::clone(&handler), manners.clone(), tls.clone());
                    tokio::spawn(async move {
                        match tls {
                            None => serve(tcp, manners, &handler).await,
                            Some(tls) => {
                                let accepting = tokio_rustls::TlsAcceptor::from(tls).accept(tcp);
                                if let Ok(tls) = accepting.await {
                                    serve(tls, manners, &handler).await;
                                }
                            }
                        }
                    });
                }
            });
        });
        Self { address, accepted }
    }

    fn accepted(&self) -> usize {
        self.accepted.load(Ordering::Relaxed)
    }
}

// `/die` ends the connection without an answer, unless it is the first that it is asked there.
async fn serve<T: AsyncRead + AsyncWrite + Unpin>(io: T, manners: Manners, handler: &Arc<Handler>) {
    let Ok(mut connection) = manners.settings.handshake::<_, Bytes>(io).await else { return };
    let mut count = 0;
    while let Some(Ok((request, respond))) = connection.accept().await {
        count += 1;
        if request.uri().path() == "/die" && count > 1 {
            return;
        }
        if count == manners.leaves_after {
            connection.graceful_shutdown();
        }
        tokio::spawn(handler(request, respond));
    }
}

fn head(status: u16, fields: &[(&str, &str)]) -> Response<()> {
    let mut response = Response::builder().status(status);
    for (name, value) in fields {
        response = response.header(*name, *value);
    }
    response.body(()).unwrap()
}

// As fast as the other side takes it; false if it does not take all of it.
async fn send(stream: &mut SendStream<Bytes>, mut body: Bytes, sent: &AtomicUsize) -> bool {
    while !body.is_empty() {
        stream.reserve_capacity(body.len().min(1 << 16));
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return false };
        let part = body.split_to(room.min(body.len()));
        sent.fetch_add(part.len(), Ordering::Relaxed);
        if stream.send_data(part, false).is_err() {
            return false;
        }
    }
    stream.send_data(Bytes::new(), true).is_ok()
}

async fn say(mut respond: SendResponse<Bytes>, status: u16, fields: &[(&str, &str)], body: &str) {
    if let Ok(mut stream) = respond.send_response(head(status, fields), body.is_empty())
        && !body.is_empty()
    {
        let _ = stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true);
    }
}

// Says what it was asked, with the octets of the body behind it.
async fn tell(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let (parts, mut body) = request.into_parts();
    let mut octets = 0;
    while let Some(Ok(piece)) = body.data().await {
        octets += piece.len();
        let _ = body.flow_control().release_capacity(piece.len());
    }
    let said =
        |name: &str| parts.headers.get(name).map_or("-", |v| v.to_str().unwrap()).to_string();
    let hop = ["connection", "host", "transfer-encoding"].map(&said).concat();
    let text = format!(
        "{} {} {} {} {hop} {octets}",
        parts.method,
        parts.uri,
        said("te"),
        said("content-length")
    );
    let Ok(mut stream) = respond.send_response(head(200, &[("cache-control", "no-store")]), false)
    else {
        return;
    };
    let _ = stream.send_data(text.into(), false);
    let mut trailers = HeaderMap::new();
    trailers.insert("x-sum", octets.into());
    trailers.insert("content-type", "text/late".parse().unwrap());
    let _ = stream.send_trailers(trailers);
}

const PASS: &str = "methods = \"all\"\ncache_policy = \"CachingDisabled\"\n";

/// One core in front of an origin that is asked over HTTP/2.
fn edge_to(url: &str, origin: &str) -> Edge {
    let config = plain("127.0.0.1:1".parse().unwrap(), "")
        .replace("http://127.0.0.1:1", url)
        .replace("timeouts", &format!("http_version = \"http2\"\n{origin}\ntimeouts"))
        // Some answers wait for the last of many requests.
        .replace("response = \"3s\"", "response = \"30s\"")
        .replace("workers = 2", "workers = 1");
    Edge::start(&(config + PASS))
}

fn over_tls(far: SocketAddr, ca: &Path, origin: &str) -> Edge {
    edge_to(
        &format!("https://localhost:{}", far.port()),
        &format!("{origin}\ntls = {{ ca = {ca:?} }}"),
    )
}

// The settings of an origin that offers these protocols, and its CA.
fn tls(folder: &Path, protocols: &[&str]) -> (Arc<rustls::ServerConfig>, std::path::PathBuf) {
    let (ca, ..) = certificates(folder, &["localhost"]);
    let mut config = (*server_config(folder, "localhost")).clone();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    (Arc::new(config), ca)
}

// So many GETs side by side, each over a connection of its own; the statuses.
fn at_once(edge: &Edge, count: usize) -> Vec<u16> {
    let http = edge.http;
    let asking: Vec<_> = (0..count)
        .map(|at| {
            std::thread::spawn(move || Viewer::connect(http).get(&format!("/{at}"), &[]).status)
        })
        .collect();
    asking.into_iter().map(|one| one.join().unwrap()).collect()
}

#[test]
fn requests_bodies_and_trailers_go_over_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca) = tls(folder.path(), &["h2", "http/1.1"]);
    let far = Far::start(Some(config), Manners::default(), |request, respond| {
        Box::pin(tell(request, respond))
    });
    let edge = over_tls(far.address, &ca, "");
    let url = format!("https://localhost:{}/a", far.address.port());
    let mut viewer = edge.viewer();
    assert_eq!(viewer.get("/a", &[]).text(), format!("GET {url} trailers - --- 0"));

    let long = vec![b'x'; 300_000];
    viewer.send(&request("POST", "/a", &["Content-Length: 300000"]));
    viewer.send(&long);
    let seen = viewer.read("POST").unwrap();
    assert_eq!(seen.text(), format!("POST {url} trailers 300000 --- 300000"));
    viewer.send(&request("PUT", "/a", &["Transfer-Encoding: chunked"]));
    viewer.send(b"5\r\nhello\r\n0\r\n\r\n");
    let seen = viewer.read("PUT").unwrap();
    assert_eq!(seen.text(), format!("PUT {url} trailers - --- 5"));

    // Trailers come through, but for those that come too late.
    let mut tcp = TcpStream::connect(edge.http).unwrap();
    tcp.write_all(&request("GET", "/", &["Connection: TE, close", "TE: trailers"])).unwrap();
    let mut all = String::new();
    tcp.read_to_string(&mut all).unwrap();
    assert!(all.to_ascii_lowercase().ends_with("\r\n0\r\nx-sum: 0\r\n\r\n"), "{all}");

    assert_eq!(far.accepted(), 1);
    assert_eq!(edge.metric("foreshore_origin_http2_connections_total"), 1.0);
    eventually("no stream is left", || edge.metric("foreshore_origin_streams") == 0.0);
}

// One octet after the other: it is never silent for long, and never done.
async fn dribble(mut respond: SendResponse<Bytes>) {
    let head = head(200, &[("cache-control", "max-age=60")]);
    let Ok(mut stream) = respond.send_response(head, false) else { return };
    for _ in 0..200 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        if stream.send_data(Bytes::from_static(b"x"), false).is_err() {
            return;
        }
    }
}

#[test]
fn an_answer_that_takes_too_long_ends_and_its_connection_goes_on() {
    let far = Far::start(None, Manners::default(), |request, respond| {
        Box::pin(async move {
            match request.uri().path() {
                "/long" => dribble(respond).await,
                _ => say(respond, 200, &[("cache-control", "no-store")], "short").await,
            }
        })
    });
    let config = plain(far.address, "")
        .replace("response = \"3s\"", "response = \"1s\", complete = \"2s\"")
        .replace("timeouts", "http_version = \"http2\"\ntimeouts")
        .replace("workers = 2", "workers = 1");
    let edge = Edge::start(&(config + PASS));
    let began = std::time::Instant::now();
    let long = edge.get("/long");
    assert!(long.status == 200 && !long.whole, "{long:?}");
    assert!(began.elapsed() > Duration::from_secs(1), "it was not the first silence");
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(edge.get("/short").text(), "short");
    assert_eq!(far.accepted(), 1);
}

#[test]
fn fifty_requests_at_once_share_one_connection() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca) = tls(folder.path(), &["h2"]);
    // No answer before all fifty are there.
    let barrier = Arc::new(Barrier::new(50));
    let far = Far::start(Some(config), Manners::default(), move |_, respond| {
        let barrier = Arc::clone(&barrier);
        Box::pin(async move {
            barrier.wait().await;
            say(respond, 200, &[], "all here").await;
        })
    });
    let edge = over_tls(far.address, &ca, "");
    assert_eq!(at_once(&edge, 50), [200; 50]);
    assert_eq!(far.accepted(), 1);
}

#[test]
fn what_an_origin_does_not_take_at_a_time_goes_over_other_connections() {
    let mut manners = Manners::default();
    manners.settings.max_concurrent_streams(4);
    let barrier = Arc::new(Barrier::new(12));
    let far = Far::start(None, manners, move |_, respond| {
        let barrier = Arc::clone(&barrier);
        Box::pin(async move {
            barrier.wait().await;
            say(respond, 200, &[], "all here").await;
        })
    });
    let edge = edge_to(&format!("http://{}", far.address), "");
    assert_eq!(at_once(&edge, 12), [200; 12]);
    assert_eq!(far.accepted(), 3);
    assert_eq!(edge.metric("foreshore_origin_asked_again_total"), 0.0, "none too many was begun");
}

#[test]
fn what_finds_no_room_waits_for_it() {
    let mut manners = Manners::default();
    manners.settings.max_concurrent_streams(2);
    let far = Far::start(None, manners, |_, respond| Box::pin(say(respond, 200, &[], "x")));
    let edge = edge_to(&format!("http://{}", far.address), "connections = 1");
    assert_eq!(at_once(&edge, 40), [200; 40]);
    assert_eq!(far.accepted(), 1);
    eventually("none waits", || edge.metric("foreshore_origin_streams_waiting") == 0.0);
}

#[test]
fn no_get_fails_because_a_connection_goes_away() {
    let manners = Manners { leaves_after: 3, ..Manners::default() };
    let far = Far::start(None, manners, |_, respond| Box::pin(say(respond, 200, &[], "x")));
    let edge = edge_to(&format!("http://{}", far.address), "");
    for _ in 0..3 {
        assert_eq!(at_once(&edge, 10), [200; 10]);
    }
    assert!(far.accepted() > 1);
}

#[test]
fn a_get_whose_connection_died_is_asked_again_and_a_post_is_not() {
    let far = Far::start(None, Manners::default(), |_, respond| {
        Box::pin(say(respond, 200, &[], "alive"))
    });
    let edge = edge_to(&format!("http://{}", far.address), "");
    let mut viewer = edge.viewer();
    assert_eq!(viewer.get("/a", &[]).status, 200);
    assert_eq!(viewer.get("/die", &[]).text(), "alive");
    assert_eq!(far.accepted(), 2);
    viewer.send(&request("POST", "/die", &["Content-Length: 0"]));
    assert_eq!(viewer.read("POST").unwrap().status, 502);
    assert_eq!(far.accepted(), 2);
    assert_eq!(edge.metric("foreshore_origin_asked_again_total"), 1.0);
}

#[test]
fn a_slow_reader_holds_up_its_origin_and_nobody_else() {
    const LONG: usize = 64 << 20;
    let sent = Arc::<AtomicUsize>::default();
    let count = Arc::clone(&sent);
    let far = Far::start(None, Manners::default(), move |request, mut respond| {
        let count = Arc::clone(&count);
        Box::pin(async move {
            if request.uri().path() != "/long" {
                return say(respond, 200, &[], "short").await;
            }
            if let Ok(mut stream) = respond.send_response(head(200, &[]), false) {
                send(&mut stream, Bytes::from(vec![7; LONG]), &count).await;
            }
        })
    });
    let edge = edge_to(&format!("http://{}", far.address), "");
    let mut viewer = edge.viewer();
    viewer.send(&request("GET", "/long", &[]));
    let mut before = usize::MAX;
    eventually("the origin stops", || {
        let now = sent.load(Ordering::Relaxed);
        let has_stopped = now > 0 && now == std::mem::replace(&mut before, now);
        has_stopped && edge.get("/short").text() == "short"
    });
    assert!(
        sent.load(Ordering::Relaxed) < LONG / 2,
        "{} octets are held",
        sent.load(Ordering::Relaxed)
    );
    let seen = viewer.read("GET").unwrap();
    assert!(seen.whole && seen.body.len() == LONG && seen.body.iter().all(|octet| *octet == 7));
    assert_eq!(far.accepted(), 1);
}

#[test]
fn an_origin_that_chooses_http_1_is_asked_over_that() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca) = tls(folder.path(), &["http/1.1"]);
    let mut silent = (*config).clone();
    silent.alpn_protocols.clear();
    for config in [config, Arc::new(silent)] {
        let origin = Origin::start_tls(config, |_| fresh(b"one"));
        let edge = over_tls(origin.address, &ca, "");
        for _ in 0..5 {
            assert_eq!(edge.get("/x").text(), "one");
        }
        assert_eq!((origin.accepted(), origin.count()), (1, 5));
        assert_eq!(edge.metric("foreshore_origin_http2_connections_total"), 0.0);
    }
}

#[test]
fn a_websocket_goes_over_http_1() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca) = tls(folder.path(), &["h2", "http/1.1"]);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut tcp, _) = listener.accept().unwrap();
        let mut session = rustls::ServerConnection::new(config).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut tcp).unwrap();
        }
        assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
        let mut io = rustls::StreamOwned::new(session, tcp);
        let (mut head, mut octet) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            io.read_exact(&mut octet).unwrap();
            head.push(octet[0]);
        }
        io.write_all(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\nhello",
        )
        .unwrap();
        io.flush().unwrap();
    });
    let edge = over_tls(address, &ca, "");
    let mut tcp = TcpStream::connect(edge.http).unwrap();
    let fields = [
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    ];
    tcp.write_all(&request("GET", "/chat", &fields)).unwrap();
    let mut all = Vec::new();
    let _ = tcp.read_to_end(&mut all);
    let all = String::from_utf8_lossy(&all);
    assert!(all.starts_with("HTTP/1.1 101 ") && all.ends_with("\r\n\r\nhello"), "{all}");
}

#[test]
fn a_head_beyond_the_limits_is_502() {
    let far = Far::start(None, Manners::default(), |request, respond| {
        Box::pin(async move {
            let many: Vec<String> = (0..300).map(|at| format!("x-{at}")).collect();
            let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "1")).collect();
            let long = "y".repeat(80_000);
            match request.uri().path() {
                "/many" => say(respond, 200, &many, "x").await,
                "/long" => say(respond, 200, &[("x-long", long.as_str())], "x").await,
                _ => say(respond, 200, &[("x-a", "b")], "good").await,
            }
        })
    });
    let edge = edge_to(&format!("http://{}", far.address), "");
    for (path, status) in [("/many", 502), ("/long", 502), ("/", 200)] {
        assert_eq!(edge.get(path).status, status, "{path}");
    }
}

/// An origin that writes frames as it is told: with the number of the connection and of the
/// request, over all connections, and its stream. It ends the connection where it is told nothing.
fn telling(
    then: impl Fn(usize, usize, u32) -> Option<Vec<u8>> + Send + Sync + 'static,
) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (asked, then) = (Arc::<AtomicUsize>::default(), Arc::new(then));
    let count = Arc::clone(&asked);
    std::thread::spawn(move || {
        for (number, tcp) in listener.incoming().map_while(Result::ok).enumerate() {
            let (count, then) = (Arc::clone(&count), Arc::clone(&then));
            std::thread::spawn(move || {
                let on_head = |stream| then(number, count.fetch_add(1, Ordering::Relaxed), stream);
                let _ = speak(tcp, on_head);
            });
        }
    });
    (address, asked)
}

// A PING is answered until a request was not.
fn speak(mut tcp: TcpStream, on_head: impl Fn(u32) -> Option<Vec<u8>>) -> std::io::Result<()> {
    let mut preface = [0; 24];
    tcp.read_exact(&mut preface)?;
    tcp.write_all(&frame(SETTINGS, 0, 0, &[]))?;
    let mut is_mute = false;
    loop {
        let mut head = [0; 9];
        tcp.read_exact(&mut head)?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        tcp.read_exact(&mut payload)?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        match (head[3], head[4] & ACK) {
            (SETTINGS, 0) => tcp.write_all(&frame(SETTINGS, ACK, 0, &[]))?,
            (PING, 0) if !is_mute => tcp.write_all(&frame(PING, ACK, 0, &payload))?,
            (HEADERS, _) => {
                let Some(said) = on_head(stream) else { return Ok(()) };
                is_mute = said.is_empty();
                tcp.write_all(&said)?;
            }
            _ => {}
        }
    }
}

fn good(stream: u32) -> Vec<u8> {
    let mut all = frame(HEADERS, END_HEADERS, stream, &block(&[(":status", "200")]));
    all.extend(frame(DATA, END_STREAM, stream, b"good"));
    all
}

#[test]
fn what_an_origin_left_unread_is_asked_again() {
    // Refused, or above the last stream of a GOAWAY.
    let refused = |stream| frame(RST_STREAM, 0, stream, &7u32.to_be_bytes());
    let gone = |_| frame(GOAWAY, 0, 0, &[0; 8]);
    for (is_first_refused, method) in
        [(true, "GET"), (true, "POST"), (false, "GET"), (false, "POST")]
    {
        let (address, asked) = telling(move |_, number, stream| {
            Some(match number {
                0 if is_first_refused => refused(stream),
                0 => gone(stream),
                _ => good(stream),
            })
        });
        let edge = edge_to(&format!("http://{address}"), "");
        let mut viewer = edge.viewer();
        let fields: &[&str] = if method == "POST" { &["Content-Length: 0"] } else { &[] };
        viewer.send(&request(method, "/", fields));
        assert_eq!(viewer.read(method).unwrap().text(), "good", "{method} {is_first_refused}");
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }
}

#[test]
fn an_origin_that_refuses_everything_is_left_in_peace() {
    let (address, asked) =
        telling(|_, _, stream| Some(frame(RST_STREAM, 0, stream, &7u32.to_be_bytes())));
    let edge = edge_to(&format!("http://{address}"), "");
    assert_eq!(edge.get("/").status, 502);
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}

#[test]
fn rfc9113_8_what_is_malformed_is_502_and_its_connection_goes_on() {
    let fields: [&[(&str, &str)]; 9] = [
        &[(":status", "200"), ("connection", "close")],
        &[(":status", "200"), ("transfer-encoding", "chunked")],
        &[(":status", "200"), ("keep-alive", "timeout=5")],
        &[(":status", "200"), ("upgrade", "h2c")],
        &[(":status", "200"), ("proxy-connection", "close")],
        &[(":status", "200"), ("content-length", "5"), ("content-length", "6")],
        &[(":status", "200"), ("content-length", "5")],
        &[(":status", "101")],
        &[("x-a", "b")],
    ];
    let (address, asked) = telling(move |_, number, stream| {
        let Some(fields) = fields.get(number) else { return Some(good(stream)) };
        // Nothing follows; an interim answer is never the end.
        let end = if fields[0].1 == "101" { 0 } else { END_STREAM };
        Some(frame(HEADERS, END_HEADERS | end, stream, &block(fields)))
    });
    let edge = edge_to(&format!("http://{address}"), "");
    for fields in fields {
        assert_eq!(edge.get("/").status, 502, "{fields:?}");
    }
    assert_eq!(edge.get("/").text(), "good");
    assert_eq!(asked.load(Ordering::Relaxed), fields.len() + 1, "none was asked again");
    assert_eq!(edge.metric("foreshore_origin_http2_connections_total"), 1.0);
}

#[test]
fn a_body_that_is_not_as_long_as_was_said_is_not_whole() {
    let (address, _) = telling(|_, number, stream| {
        let fields = block(&[(":status", "200"), ("content-length", "5")]);
        let mut all = frame(HEADERS, END_HEADERS, stream, &fields);
        let body: &[u8] = if number == 0 { b"abc" } else { b"abcdefg" };
        all.extend(frame(DATA, END_STREAM, stream, body));
        Some(all)
    });
    let edge = edge_to(&format!("http://{address}"), "");
    for _ in 0..2 {
        let seen = edge.get("/");
        assert!(seen.status == 502 || !seen.whole, "{seen:?}");
    }
}

#[test]
fn interim_responses_are_passed_on() {
    let (address, _) = telling(|_, _, stream| {
        let interim = |fields: &[(&str, &str)]| frame(HEADERS, END_HEADERS, stream, &block(fields));
        let mut all = interim(&[(":status", "100")]);
        all.extend(interim(&[(":status", "103"), ("link", "</s.css>; rel=preload")]));
        all.extend(good(stream));
        Some(all)
    });
    let edge = edge_to(&format!("http://{address}"), "");
    let mut viewer = edge.viewer();
    viewer.send(&request("GET", "/", &[]));
    let heads = viewer.read_all_heads();
    let statuses: Vec<u16> = heads.iter().map(|seen| seen.status).collect();
    assert_eq!(statuses, [103, 200]);
    assert_eq!(heads[0].field("link").as_deref(), Some("</s.css>; rel=preload"));
    assert_eq!(heads[1].text(), "good");
}

#[test]
fn an_origin_that_wants_http_1_for_it_is_asked_over_that() {
    let folder = tempfile::tempdir().unwrap();
    let (config, ca) = tls(folder.path(), &["h2"]);
    let far = Far::start(Some(config), Manners::default(), |_, mut respond| {
        Box::pin(async move { respond.send_reset(Reason::HTTP_1_1_REQUIRED) })
    });
    let edge = over_tls(far.address, &ca, "attempts = 1");
    // It offers nothing but HTTP/2, so that asking over HTTP/1.1 ends with the handshake.
    assert_eq!(edge.get("/").status, 502);
    assert_eq!(far.accepted(), 2);
}

#[test]
fn in_clear_text_one_request_that_wants_http_1_takes_no_other_along() {
    let far = Far::start(None, Manners::default(), |request, mut respond| {
        Box::pin(async move {
            match request.uri().path() {
                "/old" => respond.send_reset(Reason::HTTP_1_1_REQUIRED),
                _ => say(respond, 200, &[], "new").await,
            }
        })
    });
    let edge = edge_to(&format!("http://{}", far.address), "");
    assert_eq!(edge.get("/old").status, 502);
    assert_eq!(edge.get("/new").text(), "new");
    assert_eq!(far.accepted(), 1);
}

#[test]
fn an_origin_that_does_not_speak_http_2_in_clear_text_is_502() {
    let origin = Origin::start(|_| fresh(b"one"));
    let edge = edge_to(&format!("http://{}", origin.address), "");
    assert_eq!(edge.get("/").status, 502);
}

#[test]
fn slow_a_connection_that_died_without_a_word_is_found_by_a_ping() {
    // The second request on the first connection is never answered, nor is anything else there.
    let (address, asked) = telling(|connection, number, stream| {
        Some(if connection == 0 && number == 1 { Vec::new() } else { good(stream) })
    });
    let config = plain("127.0.0.1:1".parse().unwrap(), "")
        .replace("http://127.0.0.1:1", &format!("http://{address}"))
        .replace("timeouts", "http_version = \"http2\"\ntimeouts")
        .replace("response = \"3s\"", "response = \"30s\"")
        .replace("workers = 2", "workers = 1");
    let edge = Edge::start(&(config + PASS));
    let mut viewer = edge.viewer();
    assert_eq!(viewer.get("/", &[]).text(), "good");
    let began = std::time::Instant::now();
    assert_eq!(viewer.get("/", &[]).text(), "good");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!(asked.load(Ordering::Relaxed), 3);
}
