//! A load generator for HTTP/3: `tests/bench/h3` calls it, beside a server that it watches.
//!
//! One thread, a socket for each connection, a closed loop: so many streams of each connection are
//! asking at any time. What every answer must be is checked, its status and its length, and what
//! the server used of its CPU meanwhile is read where the kernel counts it.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use clap::Parser;
use foreshore::listen::h2::hpack::decode::FieldList;
use foreshore::listen::h3::frame::{self, Frames, Piece, kind};
use foreshore::listen::h3::qpack;
use hashbrown::HashMap;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionHandle, DatagramEvent, Dir, EcnCodepoint, Endpoint,
    EndpointConfig, EndpointEvent, Event, ReadError, StreamEvent, StreamId, Transmit, VarInt,
};
use quinn_udp::{RecvMeta, UdpSocketState};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::io::Interest;

/// Buffers of one read, and octets that the kernel may join to one of them.
const BATCH: usize = 8;
const PIECE: usize = 64 * 1024;
/// Datagrams in one call.
const SEGMENTS: usize = 10;
/// A head of an answer has so many octets at most.
const HEAD_MAX: u64 = 64 * 1024;
/// Failures after which measuring has no sense any more.
const FAILURES: u64 = 1_000;
/// The kernel counts CPU time in hundredths of a second.
const TICK_US: u64 = 10_000;

/// What is asked, and of whom.
#[derive(Parser)]
struct Plan {
    /// The server's address; without it nothing is done.
    #[arg(long)]
    address: Option<SocketAddr>,
    /// The name that its certificate stands for.
    #[arg(long, default_value = "localhost")]
    name: String,
    /// The authority that made the certificate.
    #[arg(long)]
    ca: Option<PathBuf>,
    /// The number of an object is put behind it.
    #[arg(long, default_value = "/")]
    path: String,
    #[arg(long, default_value_t = 100)]
    objects: usize,
    /// Octets of each body.
    #[arg(long, default_value_t = 1024)]
    length: u64,
    #[arg(long, default_value_t = 32)]
    connections: usize,
    #[arg(long, default_value_t = 10)]
    streams: usize,
    /// Requests after which a connection is closed and made anew; 0 for never.
    #[arg(long, default_value_t = 0)]
    each: u64,
    #[arg(long, default_value_t = 4.0)]
    seconds: f64,
    /// Before anything is counted.
    #[arg(long, default_value_t = 1.0)]
    warm: f64,
    /// The server's process.
    #[arg(long)]
    pid: Option<u32>,
    /// Says that `cargo bench` calls.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What was counted.
#[derive(Default)]
struct Counts {
    requests: u64,
    failures: u64,
    octets: u64,
    handshakes: u64,
    /// How long each request took, in microseconds.
    took: Vec<u32>,
    why: Option<String>,
}

impl Counts {
    fn fail(&mut self, why: impl FnOnce() -> String) {
        self.failures += 1;
        self.why.get_or_insert_with(why);
    }

    fn percentile(&mut self, of: f64) -> u32 {
        self.took.sort_unstable();
        let at = (self.took.len() as f64 * of) as usize;
        self.took.get(at.min(self.took.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// One request under way.
struct Asked {
    frames: Frames,
    is_fine: bool,
    body: u64,
    since: Instant,
}

/// A connection that is made or there.
struct Live {
    handle: ConnectionHandle,
    quic: Connection,
    is_open: bool,
    asked: HashMap<StreamId, Asked>,
    answered: u64,
}

/// One socket, and its connection.
struct Link {
    socket: tokio::net::UdpSocket,
    state: UdpSocketState,
    endpoint: Endpoint,
    live: Option<Box<Live>>,
    /// What the socket had no room for.
    unsent: Option<(Transmit, Vec<u8>)>,
}

/// What all links share.
struct Shared {
    address: SocketAddr,
    name: String,
    config: ClientConfig,
    requests: Vec<Vec<u8>>,
    next: usize,
    streams: usize,
    each: u64,
    length: u64,
    counts: Counts,
    list: FieldList,
    received: Vec<u8>,
    out: Vec<u8>,
}

fn main() {
    let plan = Plan::parse();
    let (Some(address), Some(ca)) = (plan.address, plan.ca.as_deref()) else {
        assert!(plan.bench, "--address and --ca are wanted");
        println!("a load generator: `tests/bench/h3` calls it with --address and --ca");
        return;
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let told = runtime.block_on(run(&plan, address, ca)).unwrap();
    println!("{told}");
}

async fn run(plan: &Plan, address: SocketAddr, ca: &Path) -> io::Result<String> {
    let mut shared = Shared::new(plan, address, ca);
    let mut links =
        (0..plan.connections).map(|_| Link::new()).collect::<io::Result<Vec<Link>>>()?;
    let begin = Instant::now() + Duration::from_secs_f64(plan.warm);
    go_on(&mut links, &mut shared, begin).await;
    let failed = std::mem::take(&mut shared.counts);
    let (before, since) = (ticks(plan.pid), Instant::now());
    go_on(&mut links, &mut shared, begin + Duration::from_secs_f64(plan.seconds)).await;
    let (used, took) = (ticks(plan.pid) - before, since.elapsed());
    let counts = &mut shared.counts;
    let why = failed.why.or(counts.why.take()).unwrap_or_default();
    Ok(serde_json::json!({
        "requests": counts.requests,
        "failures": failed.failures + counts.failures,
        "why": why,
        "octets": counts.octets,
        "handshakes": counts.handshakes,
        "seconds": took.as_secs_f64(),
        "cpu_us": used * TICK_US,
        "p50_us": counts.percentile(0.5),
        "p99_us": counts.percentile(0.99),
    })
    .to_string())
}

// Lets all links act until then.
async fn go_on(links: &mut [Link], shared: &mut Shared, until: Instant) {
    std::future::poll_fn(|cx| {
        let now = Instant::now();
        if now >= until || shared.counts.failures >= FAILURES {
            return Poll::Ready(());
        }
        for link in &mut *links {
            link.turn(cx, now, shared);
        }
        // Deadlines here are shorter than a timer's step, and the CPU has nothing else to do.
        let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
        Poll::Pending
    })
    .await;
}

// User and system time of a process.
fn ticks(pid: Option<u32>) -> u64 {
    let Some(pid) = pid else { return 0 };
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields).split(' ');
    fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum()
}

impl Shared {
    fn new(plan: &Plan, address: SocketAddr, ca: &Path) -> Self {
        let request = |at: usize| {
            let path = format!("{}{at}", plan.path);
            let authority = format!("{}:{}", plan.name, address.port());
            let mut section = Vec::new();
            qpack::encode::prefix(&mut section);
            for (name, value) in [
                (":method", "GET"),
                (":scheme", "https"),
                (":authority", authority.as_str()),
                (":path", path.as_str()),
                ("user-agent", "foreshore-bench"),
                ("accept", "*/*"),
            ] {
                qpack::encode::field(&mut section, name.as_bytes(), value.as_bytes());
            }
            let mut out = Vec::new();
            frame::write(&mut out, kind::HEADERS, &section);
            out
        };
        Self {
            address,
            name: plan.name.clone(),
            config: client(ca),
            requests: (0..plan.objects.max(1)).map(request).collect(),
            next: 0,
            streams: plan.streams,
            each: plan.each,
            length: plan.length,
            counts: Counts::default(),
            list: FieldList::default(),
            received: vec![0; BATCH * PIECE],
            out: Vec::new(),
        }
    }
}

// Every handshake is a whole one.
fn client(ca: &Path) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    tls.resumption = rustls::client::Resumption::disabled();
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

impl Link {
    fn new() -> io::Result<Self> {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0")?;
        socket.set_nonblocking(true)?;
        let state = UdpSocketState::new((&socket).into())?;
        let endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, true, None);
        let socket = tokio::net::UdpSocket::from_std(socket)?;
        Ok(Self { socket, state, endpoint, live: None, unsent: None })
    }

    fn turn(&mut self, cx: &mut Context<'_>, now: Instant, shared: &mut Shared) {
        if self.live.is_none() {
            self.connect(now, shared);
        }
        self.receive(cx, now, shared);
        let Some(mut live) = self.live.take() else { return };
        if live.quic.poll_timeout().is_some_and(|at| at <= now) {
            live.quic.handle_timeout(now);
        }
        let (mut is_over, mut is_drained) = (live.act(now, shared), false);
        while let Some(event) = live.quic.poll_endpoint_events() {
            is_drained |= event.is_drained();
            if let Some(event) = self.endpoint.handle_event(live.handle, event) {
                live.quic.handle_event(event);
            }
        }
        is_over |= is_drained || shared.each > 0 && live.answered >= shared.each;
        if is_over && !live.quic.is_closed() {
            live.quic.close(now, VarInt::from_u32(0x100), Bytes::new());
        }
        self.transmit(cx, &mut live, now, &mut shared.out);
        if !is_over {
            self.live = Some(live);
        } else if !is_drained {
            // What the server still says of it is of no interest.
            let _ = self.endpoint.handle_event(live.handle, EndpointEvent::drained());
        }
    }

    fn connect(&mut self, now: Instant, shared: &mut Shared) {
        let config = shared.config.clone();
        match self.endpoint.connect(now, config, shared.address, &shared.name) {
            Ok((handle, quic)) => {
                let asked = HashMap::new();
                let live = Live { handle, quic, is_open: false, asked, answered: 0 };
                self.live = Some(Box::new(live));
            }
            Err(error) => shared.counts.fail(|| format!("connecting: {error}")),
        }
    }

    fn receive(&mut self, cx: &mut Context<'_>, now: Instant, shared: &mut Shared) {
        while let Poll::Ready(Ok(())) = self.socket.poll_recv_ready(cx) {
            let mut metas = [RecvMeta::default(); BATCH];
            let mut chunks = shared.received.chunks_mut(PIECE);
            let mut pieces: [IoSliceMut<'_>; BATCH] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let read = self.socket.try_io(Interest::READABLE, || {
                self.state.recv((&self.socket).into(), &mut pieces, &mut metas)
            });
            let Ok(count) = read else { continue };
            for (meta, buffer) in metas[..count].iter().zip(shared.received.chunks(PIECE)) {
                let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
                for datagram in buffer[..meta.len.min(PIECE)].chunks(meta.stride.max(1)) {
                    let octets = BytesMut::from(datagram);
                    shared.out.clear();
                    let event =
                        self.endpoint.handle(now, meta.addr, None, ecn, octets, &mut shared.out);
                    if let Some(DatagramEvent::ConnectionEvent(handle, event)) = event
                        && let Some(live) = self.live.as_mut().filter(|live| live.handle == handle)
                    {
                        live.quic.handle_event(event);
                    }
                }
            }
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>, live: &mut Live, now: Instant, out: &mut Vec<u8>) {
        if let Some((transmit, octets)) = self.unsent.take() {
            self.send(cx, transmit, &octets);
        }
        let segments = self.state.max_gso_segments().clamp(1, SEGMENTS);
        while self.unsent.is_none() {
            out.clear();
            let Some(transmit) = live.quic.poll_transmit(now, segments, out) else { return };
            self.send(cx, transmit, out);
        }
    }

    // What there is no room for is kept.
    fn send(&mut self, cx: &mut Context<'_>, transmit: Transmit, octets: &[u8]) {
        let told = quinn_udp::Transmit {
            destination: transmit.destination,
            ecn: transmit.ecn.and_then(|ecn| quinn_udp::EcnCodepoint::from_bits(ecn as u8)),
            contents: &octets[..transmit.size],
            segment_size: transmit.segment_size,
            src_ip: transmit.src_ip,
        };
        let sent = self
            .socket
            .try_io(Interest::WRITABLE, || self.state.send((&self.socket).into(), &told));
        if matches!(sent, Err(error) if error.kind() == io::ErrorKind::WouldBlock) {
            let _ = self.socket.poll_send_ready(cx);
            self.unsent = Some((transmit, octets.to_vec()));
        }
    }
}

impl Live {
    // Reads what has come, and asks for more. True once the connection is over.
    fn act(&mut self, now: Instant, shared: &mut Shared) -> bool {
        while let Some(event) = self.quic.poll() {
            match event {
                Event::Connected => {
                    self.is_open = true;
                    shared.counts.handshakes += 1;
                    if let Some(id) = self.quic.streams().open(Dir::Uni) {
                        // The control stream, and settings that are those by default.
                        let _ = self.quic.send_stream(id).write(&[0, 4, 0]);
                    }
                }
                Event::ConnectionLost { reason } => {
                    shared.counts.fail(|| format!("a connection: {reason}"));
                    return true;
                }
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.quic.streams().accept(dir) {
                        self.read(id, now, shared);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id, now, shared),
                Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                    self.asked.remove(&id);
                    shared.counts.fail(|| format!("a stream is stopped: {error_code}"));
                }
                _ => {}
            }
        }
        if self.is_open {
            self.ask(now, shared);
        }
        false
    }

    fn ask(&mut self, now: Instant, shared: &mut Shared) {
        let most = if shared.each > 0 { shared.each - self.answered } else { u64::MAX };
        while self.asked.len() < shared.streams && (self.asked.len() as u64) < most {
            let Some(id) = self.quic.streams().open(Dir::Bi) else { return };
            shared.next = (shared.next + 1) % shared.requests.len();
            let request = &shared.requests[shared.next];
            let mut stream = self.quic.send_stream(id);
            if !stream.write(request).is_ok_and(|written| written == request.len()) {
                return shared.counts.fail(|| "no room for a request".into());
            }
            let _ = stream.finish();
            let asked = Asked { frames: Frames::default(), is_fine: false, body: 0, since: now };
            self.asked.insert(id, asked);
        }
    }

    fn read(&mut self, id: StreamId, now: Instant, shared: &mut Shared) {
        let mut asked = self.asked.get_mut(&id);
        let mut has_ended = false;
        let mut stream = self.quic.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => {
                    if let Some(asked) = &mut asked {
                        asked.feed(&chunk.bytes, &mut shared.list);
                    }
                }
                Err(ReadError::Blocked) => break,
                Ok(None) | Err(ReadError::Reset(_)) => {
                    has_ended = true;
                    break;
                }
            }
        }
        let _ = chunks.finalize();
        if !has_ended {
            return;
        }
        let Some(asked) = self.asked.remove(&id) else { return };
        self.answered += 1;
        shared.counts.octets += asked.body;
        if !asked.is_fine || asked.body != shared.length {
            let (is_fine, body) = (asked.is_fine, asked.body);
            return shared.counts.fail(|| format!("an answer: 200 is {is_fine}, {body} octets"));
        }
        shared.counts.requests += 1;
        shared.counts.took.push((now - asked.since).as_micros() as u32);
    }
}

impl Asked {
    fn feed(&mut self, octets: &[u8], list: &mut FieldList) {
        let mut rest = octets;
        while let Ok(Some(piece)) = self.frames.next(&mut rest, HEAD_MAX) {
            match piece {
                Piece::Fields(section) => {
                    list.clear(HEAD_MAX as usize);
                    let is_read = qpack::decode::decode(&section, list).is_ok();
                    let first = list.iter().next();
                    self.is_fine = is_read && first == Some((&b":status"[..], &b"200"[..]));
                }
                Piece::Data(data) => self.body += data.len() as u64,
            }
        }
    }
}
