//! What a pass and a miss may cost in allocations: the whole way, from a viewer's socket to an
//! origin's and back, on one thread with nothing else on it.
//!
//! The origin and the viewer of this test read into and write from memory of their own, so every
//! allocation that is counted is the edge's, or its runtime's.

use std::sync::Arc;

use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::site::Site;
use foreshore::listen::accept::{Accepting, Speaks};
use foreshore::listen::places::Places;
use foreshore::listen::{Gauges, Worker};
use foreshore::origin::Live;
use foreshore::origin::client::Client;
use foreshore::origin::pool::ConnectionLimits;
use foreshore::proxy::{Edge, Proxy};
use foreshore::record::queue::LogQueue;
use foreshore::semantics::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::hit_cost::allocations;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const HEAD: &str = "HTTP/1.1 200 OK\r\nDate: Fri, 15 Jan 2027 08:00:00 GMT\r\nContent-Type: text/plain\r\n\
    ETag: \"1\"\r\nContent-Length: 1024\r\n";

fn site(folder: &std::path::Path, origin: u16) -> Arc<Site> {
    let path = folder.join("pass.toml");
    let log = folder.join("access.log");
    let text = format!(
        "data = {:?}\n[listen]\nhttp = [\"127.0.0.1:1\"]\nworkers = 1\n[log]\naccess = {log:?}\n[[distribution]]\nid = \"E\"\n\
         hosts = [\"*\"]\n[[distribution.origin]]\nid = \"o\"\nurl = \"http://127.0.0.1:{origin}\"\n\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n",
        folder.join("data")
    );
    std::fs::write(&path, text).unwrap();
    config::load(&path, START, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site
}

// Answers each head at once; what must not be kept is below `/pass/`.
async fn origin(listener: TcpListener) {
    let answers = ["no-store", "max-age=600"]
        .map(|how| format!("{HEAD}Cache-Control: {how}\r\n\r\n{}", "x".repeat(1024)).into_bytes());
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let answers = answers.clone();
        tokio::spawn(async move {
            let mut buffer = vec![0; 8192];
            while let Ok(len @ 1..) = tcp.read(&mut buffer).await {
                let is_kept = !buffer[..len].starts_with(b"GET /pass/");
                if tcp.write_all(&answers[usize::from(is_kept)]).await.is_err() {
                    return;
                }
            }
        });
    }
}

// One request and its whole answer.
async fn ask(tcp: &mut TcpStream, request: &[u8], buffer: &mut [u8]) {
    tcp.write_all(request).await.unwrap();
    let mut got = 0;
    loop {
        got += tcp.read(&mut buffer[got..]).await.unwrap();
        if let Some(end) = memchr::memmem::find(&buffer[..got], b"\r\n\r\n")
            && got >= end + 4 + 1024
        {
            assert!(buffer.starts_with(b"HTTP/1.1 200 OK\r\n"));
            return;
        }
    }
}

// Allocations of so many requests, the `n`th of them made by `request`.
fn count(request: impl Fn(usize) -> Vec<u8>) -> u64 {
    const WARM: usize = 300;
    const COUNTED: usize = 200;
    let folder = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (allocated, queue) = runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = site(folder.path(), listener.local_addr().unwrap().port());
        tokio::spawn(origin(listener));
        let clock = Clock::starting_at(START);
        let edge = Edge::new(Arc::clone(&site), "costs".into(), clock.clone());
        let client = Client::new(Arc::<ConnectionLimits>::default(), clock, 64 << 10);
        let proxy = Arc::new(Proxy { index: 0, edge, upstream: Arc::new(Live { client }) });
        let gauges = Arc::<Gauges>::default();
        let queue = LogQueue::start(&site).unwrap();
        let (_draining, drained) = tokio::sync::watch::channel(false);
        let worker = Worker::new(proxy, 0, Arc::clone(&queue), Arc::clone(&gauges), drained);
        let places = Arc::new(Places::new(100, gauges));
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        socket.set_nonblocking(true).unwrap();
        let at = socket.local_addr().unwrap();
        let tls = Arc::new(arc_swap::ArcSwap::from_pointee(None));
        let accepting = Accepting { worker, tls, places };
        tokio::spawn(accepting.run(socket, Speaks::Http));
        let mut viewer = TcpStream::connect(at).await.unwrap();
        let requests: Vec<Vec<u8>> = (0..WARM + COUNTED).map(request).collect();
        let mut buffer = vec![0; 8192];
        for request in &requests[..WARM] {
            ask(&mut viewer, request, &mut buffer).await;
        }
        let before = allocations();
        for request in &requests[WARM..] {
            ask(&mut viewer, request, &mut buffer).await;
        }
        ((allocations() - before) / COUNTED as u64, queue)
    });
    // What is left of the log is written before its folder goes, which it would make anew.
    drop(runtime);
    queue.flush();
    allocated
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: h.test\r\nUser-Agent: test\r\nAccept: */*\r\n\r\n").into()
}

#[test]
fn a_known_pass_allocates_nothing_and_a_stored_miss_six_times() {
    let pass = count(|at| get(&format!("/pass/{}", at % 10)));
    let miss = count(|at| get(&format!("/miss/{at}")));
    // A miss has the key, what is waited for, and what is stored: its head, its body, and what each
    // of these is shared by.
    assert_eq!((pass, miss), (0, 6));
}
