//! gRPC through an edge: the four kinds of calls, each side waiting for the other's message so that
//! one that is held back fails the test; trailers both ways; and errors of the edge's own as gRPC
//! has them. Both ends are the `h2` crate, with messages framed as gRPC frames them.

use std::future::poll_fn;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};

use super::origin_h2::{Far, Manners};
use super::support::edge::{certificates, plain};
use super::support::origin::fresh;
use super::support::viewer::request;
use super::support::{Edge, Origin, eventually, free_port};
use super::wire::server_config;

/// Whatever waits for longer waits for ever.
const PATIENCE: Duration = Duration::from_secs(30);

const CALLS: &str =
    "methods = \"all\"\norigin_request_policy = \"AllViewerExceptHostHeader\"\ngrpc = true\n";

fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        tokio::time::timeout(PATIENCE, test).await.expect("a side that waits for ever")
    })
}

// A message as gRPC frames it: not compressed, its length, itself.
fn message(text: &[u8]) -> Bytes {
    let mut framed = vec![0];
    framed.extend_from_slice(&(text.len() as u32).to_be_bytes());
    framed.extend_from_slice(text);
    framed.into()
}

/// The messages of one direction.
struct Messages {
    body: RecvStream,
    buffer: BytesMut,
}

impl Messages {
    fn of(body: RecvStream) -> Self {
        Self { body, buffer: BytesMut::new() }
    }

    // The next; none at the end.
    async fn next(&mut self) -> Result<Option<Bytes>, h2::Error> {
        loop {
            if let Some(len) = self.buffer.get(1..5) {
                let len = u32::from_be_bytes(len.try_into().unwrap()) as usize;
                if self.buffer.len() >= 5 + len {
                    self.buffer.advance(5);
                    return Ok(Some(self.buffer.split_to(len).freeze()));
                }
            }
            match self.body.data().await {
                Some(piece) => {
                    let piece = piece?;
                    let _ = self.body.flow_control().release_capacity(piece.len());
                    self.buffer.extend_from_slice(&piece);
                }
                None => return Ok(None),
            }
        }
    }

    async fn text(&mut self) -> String {
        let next = self.next().await.unwrap().expect("another message");
        String::from_utf8(next.to_vec()).unwrap()
    }

    // What stands behind the last of them.
    async fn end(&mut self) -> HeaderMap {
        assert_eq!(self.next().await.unwrap(), None);
        self.body.trailers().await.unwrap().unwrap_or_default()
    }
}

// As fast as the other side takes it; false if it does not take all of it.
async fn pour(stream: &mut SendStream<Bytes>, mut octets: Bytes) -> bool {
    while !octets.is_empty() {
        stream.reserve_capacity(octets.len().min(1 << 16));
        let Some(Ok(room)) = poll_fn(|cx| stream.poll_capacity(cx)).await else { return false };
        if stream.send_data(octets.split_to(room.min(octets.len())), false).is_err() {
            return false;
        }
    }
    true
}

fn said(map: &HeaderMap, name: &str) -> String {
    map.get(name).map_or("-", |value| value.to_str().unwrap()).to_string()
}

type Resets = Arc<Mutex<Vec<Reason>>>;

fn opening(saw: &str) -> Response<()> {
    Response::builder()
        .header("content-type", "application/grpc")
        .header("x-saw", saw)
        .body(())
        .unwrap()
}

fn finish(stream: &mut SendStream<Bytes>, status: &'static str) {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(status));
    trailers.insert("x-meta-bin", HeaderValue::from_static("AAE="));
    trailers.insert("content-type", HeaderValue::from_static("text/late"));
    let _ = stream.send_trailers(trailers);
}

// The service that is called.
async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, resets: Resets) {
    let (parts, body) = request.into_parts();
    let mut asked = Messages::of(body);
    let saw = ["te", "content-type", "grpc-timeout", "x-meta", "accept-encoding"]
        .map(|name| said(&parts.headers, name))
        .join(" ");
    if parts.method == "GET" {
        let page = Response::builder().header("cache-control", "max-age=60").body(()).unwrap();
        if let Ok(mut stream) = respond.send_response(page, false) {
            let _ = stream.send_data(Bytes::from_static(b"a page"), true);
        }
        return;
    }
    match parts.uri.path() {
        "/t.T/Fails" => {
            let head = Response::builder()
                .header("content-type", "application/grpc")
                .header("grpc-status", "5")
                .header("grpc-message", "no such thing");
            let _ = respond.send_response(head.body(()).unwrap(), true);
            return;
        }
        "/t.T/Silent" => {
            if let Ok(reason) = poll_fn(|cx| respond.poll_reset(cx)).await {
                resets.lock().unwrap().push(reason);
            }
            return;
        }
        "/t.T/CallsOff" => return respond.send_reset(Reason::CANCEL),
        _ => {}
    }
    let Ok(mut stream) = respond.send_response(opening(&saw), false) else { return };
    match parts.uri.path() {
        "/t.T/Unary" => {
            let Ok(Some(first)) = asked.next().await else { return };
            let _ = stream.send_data(message(&first), false);
        }
        // A status with more details than other trailers may have.
        "/t.T/Rich" => {
            let _ = stream.send_data(message(b"rich"), false);
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", HeaderValue::from_static("0"));
            trailers.insert("x-rich-bin", HeaderValue::from_str(&"A".repeat(20_000)).unwrap());
            let _ = stream.send_trailers(trailers);
            return;
        }
        "/t.T/Up" => {
            let mut octets = 0;
            while let Ok(Some(next)) = asked.next().await {
                octets += next.len();
            }
            let trailers = asked.body.trailers().await.unwrap_or_default().unwrap_or_default();
            let text = format!(
                "{octets} {} {}",
                said(&trailers, "x-sum"),
                said(&trailers, "authorization")
            );
            let _ = stream.send_data(message(text.as_bytes()), false);
        }
        "/t.T/Down" => {
            for number in 0..100 {
                let _ = stream.send_data(message(number.to_string().as_bytes()), false);
            }
        }
        "/t.T/Both" => {
            while let Ok(Some(next)) = asked.next().await {
                let _ = stream.send_data(message(&[&b"re "[..], &next[..]].concat()), false);
            }
        }
        // More than any window, while it takes what it is told.
        "/t.T/Flood" => {
            let drain = async { while let Ok(Some(_)) = asked.next().await {} };
            let (all, ()) =
                tokio::join!(pour(&mut stream, message(&Bytes::from(vec![7; 4 << 20]))), drain);
            assert!(all);
        }
        // A message, and then nothing until the caller is gone.
        "/t.T/Stuck" => {
            let _ = stream.send_data(message(b"one"), false);
            if let Ok(reason) = poll_fn(|cx| stream.poll_reset(cx)).await {
                resets.lock().unwrap().push(reason);
            }
            return;
        }
        // A message, and off once the caller has said that it has it.
        "/t.T/CallsOffLate" => {
            let _ = stream.send_data(message(b"one"), false);
            let _ = asked.next().await;
            return stream.send_reset(Reason::CANCEL);
        }
        path => panic!("there is no {path}"),
    }
    finish(&mut stream, "0");
}

/// An edge over TLS in front of the service.
struct Stage {
    edge: Edge,
    ca: PathBuf,
    resets: Resets,
}

impl Stage {
    fn new(behavior: &str) -> Self {
        let resets = Resets::default();
        let seen = Arc::clone(&resets);
        let far = Far::start(None, Manners::default(), move |request, respond| {
            Box::pin(answer(request, respond, Arc::clone(&seen)))
        });
        let (edge, ca) = edge_to(&format!("http://{}", far.address), "", behavior);
        Self { edge, ca, resets }
    }

    async fn caller(&self) -> SendRequest<Bytes> {
        connect(self.edge.https.unwrap(), &self.ca).await
    }
}

fn edge_to(url: &str, origin: &str, behavior: &str) -> (Edge, PathBuf) {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
    let certificate = format!("[[certificate]]\nchain = {chain:?}\nkey = {key:?}\n");
    let config = plain("127.0.0.1:1".parse().unwrap(), &certificate)
        .replace("http://127.0.0.1:1", url)
        .replace("[listen]\n", "[listen]\nhttps = [\"127.0.0.1:0\"]\n")
        .replace("timeouts", &format!("http_version = \"http2\"\n{origin}\ntimeouts"))
        .replace("workers = 2", "workers = 1");
    std::fs::write(folder.path().join("edge.toml"), config + CALLS + behavior).unwrap();
    (Edge::start_in(folder), ca)
}

async fn connect(edge: SocketAddr, ca: &std::path::Path) -> SendRequest<Bytes> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let tcp = tokio::net::TcpStream::connect(edge).await.unwrap();
    tcp.set_nodelay(true).unwrap();
    let name = ServerName::try_from("h.test").unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let tls = connector.connect(name, tcp).await.unwrap();
    let (send, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(async move {
        let _ = connection.await;
    });
    send
}

/// A call under way.
struct Call {
    sending: SendStream<Bytes>,
    answer: ResponseFuture,
}

impl Call {
    async fn begin(caller: &SendRequest<Bytes>, path: &str, fields: &[(&str, &str)]) -> Self {
        let mut request = Request::builder()
            .method("POST")
            .uri(format!("https://h.test{path}"))
            .header("content-type", "application/grpc+proto")
            .header("te", "trailers");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let mut ready = caller.clone().ready().await.unwrap();
        let (answer, sending) = ready.send_request(request.body(()).unwrap(), false).unwrap();
        Self { sending, answer }
    }

    fn say(&mut self, text: &[u8]) {
        self.sending.send_data(message(text), false).unwrap();
    }

    fn end(&mut self) {
        self.sending.send_data(Bytes::new(), true).unwrap();
    }

    // The head of the answer, and its messages.
    async fn hear(&mut self) -> (HeaderMap, Messages) {
        let (parts, body) = (&mut self.answer).await.unwrap().into_parts();
        assert_eq!(parts.status, 200);
        assert_eq!(parts.headers["content-type"], "application/grpc");
        (parts.headers, Messages::of(body))
    }

    // The head of an answer that is nothing else.
    async fn fails(&mut self) -> HeaderMap {
        let (head, mut messages) = self.hear().await;
        assert!(head.contains_key("grpc-status"), "{head:?}");
        assert!(messages.end().await.is_empty());
        head
    }
}

// A whole call with one message; its status, where that is the edge's own.
async fn refused(caller: &SendRequest<Bytes>) -> HeaderMap {
    let mut call = Call::begin(caller, "/t.T/Unary", &[]).await;
    // It may be refused before it has said anything.
    let _ = call.sending.send_data(message(b"x"), true);
    call.fails().await
}

#[test]
fn all_four_kinds_of_calls() {
    let stage = Stage::new("");
    run(async {
        let caller = stage.caller().await;
        let meta = [("x-meta", "m"), ("grpc-timeout", "20S")];
        let mut unary = Call::begin(&caller, "/t.T/Unary", &meta).await;
        unary.say(b"hello");
        unary.end();
        let (head, mut messages) = unary.hear().await;
        assert_eq!(said(&head, "x-saw"), "trailers application/grpc+proto 20S m -");
        assert!(said(&head, "x-cache").starts_with("Miss"), "{head:?}");
        assert_eq!(messages.text().await, "hello");
        let trailers = messages.end().await;
        assert_eq!(
            (said(&trailers, "grpc-status"), said(&trailers, "x-meta-bin")),
            ("0".into(), "AAE=".into())
        );
        assert!(!trailers.contains_key("content-type"), "{trailers:?}");

        let mut up = Call::begin(&caller, "/t.T/Up", &[]).await;
        for _ in 0..100 {
            up.say(&[7; 1000]);
        }
        up.end();
        let (_, mut messages) = up.hear().await;
        assert_eq!(messages.text().await, "100000 - -");
        assert_eq!(said(&messages.end().await, "grpc-status"), "0");

        let mut down = Call::begin(&caller, "/t.T/Down", &[]).await;
        down.say(b"go");
        down.end();
        let (_, mut messages) = down.hear().await;
        for number in 0..100 {
            assert_eq!(messages.text().await, number.to_string());
        }
        assert_eq!(said(&messages.end().await, "grpc-status"), "0");

        // The head comes before the caller has said anything, and each answer before its next word.
        let mut both = Call::begin(&caller, "/t.T/Both", &[]).await;
        let (_, mut messages) = both.hear().await;
        for number in 0..100 {
            both.say(number.to_string().as_bytes());
            assert_eq!(messages.text().await, format!("re {number}"));
        }
        both.end();
        assert_eq!(said(&messages.end().await, "grpc-status"), "0");

        let mut fails = Call::begin(&caller, "/t.T/Fails", &[]).await;
        let head = fails.fails().await;
        assert_eq!(
            (said(&head, "grpc-status"), said(&head, "grpc-message")),
            ("5".into(), "no such thing".into())
        );
    });
    assert_eq!(stage.edge.metric("foreshore_grpc_calls_total"), 5.0);
    assert_eq!(stage.edge.metric("foreshore_grpc_errors_total"), 0.0);
    eventually("no stream is left", || stage.edge.metric("foreshore_origin_streams") == 0.0);
}

#[test]
fn a_status_comes_with_all_its_details() {
    let stage = Stage::new("");
    run(async {
        let caller = stage.caller().await;
        let mut call = Call::begin(&caller, "/t.T/Rich", &[]).await;
        call.end();
        let (_, mut messages) = call.hear().await;
        assert_eq!(messages.text().await, "rich");
        let trailers = messages.end().await;
        assert_eq!(said(&trailers, "grpc-status"), "0");
        assert_eq!(said(&trailers, "x-rich-bin").len(), 20_000);
    });
}

#[test]
fn a_request_goes_on_while_its_caller_takes_nothing() {
    let stage = Stage::new("");
    run(async {
        let caller = stage.caller().await;
        let mut call = Call::begin(&caller, "/t.T/Flood", &[]).await;
        let (_, mut messages) = call.hear().await;
        // Nothing of the answer is read before all of the request has left.
        assert!(pour(&mut call.sending, message(&Bytes::from(vec![5; 8 << 20]))).await);
        call.end();
        assert_eq!(messages.next().await.unwrap().unwrap().len(), 4 << 20);
        assert_eq!(said(&messages.end().await, "grpc-status"), "0");
    });
}

#[test]
fn trailers_of_a_request_reach_its_origin() {
    let stage = Stage::new("");
    run(async {
        let caller = stage.caller().await;
        let mut call = Call::begin(&caller, "/t.T/Up", &[]).await;
        call.say(b"12345");
        let mut trailers = HeaderMap::new();
        trailers.insert("x-sum", HeaderValue::from_static("15"));
        trailers.insert("authorization", HeaderValue::from_static("too late"));
        call.sending.send_trailers(trailers).unwrap();
        let (_, mut messages) = call.hear().await;
        assert_eq!(messages.text().await, "5 15 -");
    });
    // Over HTTP/1.1, of any request.
    let mut viewer = stage.edge.viewer();
    viewer.send(&request("POST", "/t.T/Up", &["Transfer-Encoding: chunked", "Trailer: X-Sum"]));
    viewer.send(b"5\r\n\0\0\0\0\0\r\n0\r\nX-Sum: 9\r\nAuthorization: late\r\n\r\n");
    let seen = viewer.read("POST").unwrap();
    assert!(seen.text().ends_with("0 9 -"), "{seen:?}");
}

// An origin over HTTP/1.1 that says back what it was sent.
fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            let (mut tcp, mut all, mut octet) = (tcp.unwrap(), Vec::new(), [0]);
            let is_whole = |all: &[u8]| {
                let body = all.windows(4).position(|octets| octets == b"\r\n\r\n");
                body.is_some_and(|at| all.len() > at + 4) && all.ends_with(b"\r\n\r\n")
            };
            while !is_whole(&all) && tcp.read(&mut octet).is_ok_and(|read| read > 0) {
                all.push(octet[0]);
            }
            let head = format!(
                "HTTP/1.1 200 OK\r\nCache-Control: no-store\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                all.len()
            );
            let _ = tcp.write_all(&[head.as_bytes(), &all[..]].concat());
        }
    });
    address
}

#[test]
fn trailers_of_a_request_are_chunked_for_http1() {
    let edge = Edge::before_with(echo(), "", "methods = \"all\"\n");
    let mut viewer = edge.viewer();
    let fields = ["Transfer-Encoding: chunked", "Trailer: X-Sum, Content-Length, x y"];
    viewer.send(&request("POST", "/up", &fields));
    viewer.send(b"5\r\nhello\r\n0\r\nX-Sum: 7\r\nContent-Length: 3\r\nCookie: a=b\r\n\r\n");
    let told = viewer.read("POST").unwrap().text();
    assert!(told.contains("\r\nTrailer: X-Sum\r\n"), "{told}");
    assert!(told.ends_with("\r\n0\r\nX-Sum: 7\r\n\r\n"), "{told}");
    // A length leaves no place for them.
    viewer.send(&request("POST", "/up", &["Content-Length: 7", "Trailer: X-Sum"]));
    viewer.send(b"hel\r\n\r\n");
    let told = viewer.read("POST").unwrap().text();
    assert!(told.ends_with("hel\r\n\r\n") && !told.contains("Trailer"), "{told}");
}

#[test]
fn what_the_edge_itself_says_is_a_status_of_grpc() {
    let (down, ca) = edge_to(&format!("http://127.0.0.1:{}", free_port()), "attempts = 1", "");
    run(async {
        let caller = connect(down.https.unwrap(), &ca).await;
        let head = refused(&caller).await;
        assert_eq!(said(&head, "grpc-status"), "14");
        assert!(said(&head, "proxy-status").contains("connection_refused"), "{head:?}");
        assert_eq!(
            said(&head, "grpc-message"),
            "The origin could not be reached or gave no valid answer."
        );
    });
    assert_eq!(down.metric("foreshore_grpc_errors_total"), 1.0);

    let denied = Stage::new("deny_from = [\"127.0.0.0/8\"]\n");
    run(async {
        let caller = denied.caller().await;
        assert_eq!(said(&refused(&caller).await, "grpc-status"), "7");
        // Another method than gRPC's is none of its calls' methods.
        let get = Request::builder().uri("https://h.test/a").body(()).unwrap();
        let mut ready = caller.clone().ready().await.unwrap();
        let (answer, _) = ready.send_request(get, true).unwrap();
        assert_eq!(answer.await.unwrap().status(), 403, "a page is refused as one");
    });
    assert_eq!(denied.edge.metric("foreshore_grpc_calls_total"), 0.0);

    let often = Stage::new("rate_limit = { requests = 1, per = \"1h\" }\n");
    run(async {
        let caller = often.caller().await;
        let mut first = Call::begin(&caller, "/t.T/Unary", &[]).await;
        first.say(b"x");
        first.end();
        assert_eq!(first.hear().await.1.text().await, "x");
        let head = refused(&caller).await;
        assert_eq!(said(&head, "grpc-status"), "14");
        let pushback: u64 = said(&head, "grpc-retry-pushback-ms").parse().unwrap();
        assert!((1_000..=3_600_000).contains(&pushback), "{pushback}");
    });
}

#[test]
fn a_request_beyond_the_limit_is_resource_exhausted() {
    let stage = Stage::new("[limits]\nrequest_body = \"64KiB\"\n");
    run(async {
        let caller = stage.caller().await;
        // Announced; and found out behind the head of the answer.
        let mut said_so = Call::begin(&caller, "/t.T/Up", &[("content-length", "100000")]).await;
        assert_eq!(said(&said_so.fails().await, "grpc-status"), "8");
        let mut up = Call::begin(&caller, "/t.T/Up", &[]).await;
        let (_, mut messages) = up.hear().await;
        let _ = pour(&mut up.sending, message(&[7; 100_000])).await;
        assert_eq!(said(&messages.end().await, "grpc-status"), "8");
    });
}

#[test]
fn an_origin_that_chooses_http1_gets_no_calls() {
    let folder = tempfile::tempdir().unwrap();
    let (ca, ..) = certificates(folder.path(), &["localhost"]);
    let mut config = (*server_config(folder.path(), "localhost")).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    let origin = Origin::start_tls(Arc::new(config), |_| fresh(b"one"));
    let url = format!("https://localhost:{}", origin.address.port());
    let (edge, edge_ca) = edge_to(&url, &format!("tls = {{ ca = {ca:?} }}"), "");
    run(async {
        let caller = connect(edge.https.unwrap(), &edge_ca).await;
        for _ in 0..2 {
            assert_eq!(said(&refused(&caller).await, "grpc-status"), "14");
        }
    });
    assert_eq!(origin.count(), 0);
}

#[test]
fn a_call_ends_with_its_deadline() {
    let stage = Stage::new("");
    run(async {
        let caller = stage.caller().await;
        let mut silent = Call::begin(&caller, "/t.T/Silent", &[("grpc-timeout", "2S")]).await;
        silent.say(b"x");
        assert_eq!(said(&silent.fails().await, "grpc-status"), "4");
        let mut stuck = Call::begin(&caller, "/t.T/Stuck", &[("grpc-timeout", "2S")]).await;
        let (_, mut messages) = stuck.hear().await;
        assert_eq!(messages.text().await, "one");
        assert_eq!(said(&messages.end().await, "grpc-status"), "4");
    });
    eventually("the origin hears of both", || {
        *stage.resets.lock().unwrap() == [Reason::CANCEL, Reason::CANCEL]
    });
}

#[test]
fn either_side_calls_off() {
    let stage = Stage::new("");
    run(async {
        let caller = stage.caller().await;
        let mut stuck = Call::begin(&caller, "/t.T/Stuck", &[]).await;
        let (_, mut messages) = stuck.hear().await;
        assert_eq!(messages.text().await, "one");
        stuck.sending.send_reset(Reason::CANCEL);
        let mut silent = Call::begin(&caller, "/t.T/Silent", &[]).await;
        silent.say(b"x");
        // An answer behind it: the edge has seen what was sent before.
        let mut off = Call::begin(&caller, "/t.T/CallsOff", &[]).await;
        assert_eq!(said(&off.fails().await, "grpc-status"), "1");
        silent.sending.send_reset(Reason::CANCEL);

        let mut late = Call::begin(&caller, "/t.T/CallsOffLate", &[]).await;
        let (_, mut messages) = late.hear().await;
        assert_eq!(messages.text().await, "one");
        late.say(b"I have it");
        let error = messages.next().await.unwrap_err();
        assert_eq!((error.is_reset(), error.reason()), (true, Some(Reason::CANCEL)));
    });
    eventually("the origin hears of both", || {
        *stage.resets.lock().unwrap() == [Reason::CANCEL, Reason::CANCEL]
    });
    eventually("no stream is left", || stage.edge.metric("foreshore_origin_streams") == 0.0);
}

#[test]
fn a_call_over_http1_is_refused_and_other_requests_go_their_way() {
    let stage = Stage::new("");
    let ask = |kind: &str| {
        let mut viewer = stage.edge.viewer();
        viewer.send(&request("POST", "/t.T/Unary", &[kind, "Content-Length: 8"]));
        viewer.send(b"\0\0\0\0\x03abc");
        viewer.read("POST").unwrap()
    };
    let seen = ask("Content-Type: application/grpc");
    assert_eq!((seen.status, seen.field("grpc-status")), (400, None));
    assert!(seen.text().contains("gRPC needs HTTP/2"), "{seen:?}");
    let seen = ask("Content-Type: application/grpc-web");
    assert!(seen.status == 200 && seen.text().ends_with("abc"), "{seen:?}");

    // A page of the same behavior is kept, and a call makes nothing old.
    let caches = || stage.edge.get("/t.T/Unary").cache();
    assert_eq!(caches(), "Miss");
    eventually("it is kept", || caches() == "Hit");
    run(async {
        let caller = stage.caller().await;
        let mut call = Call::begin(&caller, "/t.T/Unary", &[]).await;
        call.say(b"x");
        call.end();
        assert_eq!(call.hear().await.1.text().await, "x");
    });
    assert_eq!(caches(), "Hit");
}
