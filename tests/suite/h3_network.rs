//! HTTP/3 over a network in memory, on a time of its own: what is lost, repeated or late, and when
//! a viewer comes from another port, falls as dice do, and the same way for the same seed.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;

use bytes::BytesMut;
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::site::Site;
use foreshore::listen::h3::{Session, Setting};
use foreshore::listen::places::{Places, Room};
use foreshore::listen::quic::Whereabouts;
use foreshore::listen::{Buffers, Gauges, Worker};
use foreshore::message::connection::{Connection as Told, TlsFacts};
use foreshore::origin::Live;
use foreshore::origin::client::Client;
use foreshore::origin::pool::ConnectionLimits;
use foreshore::proxy::{Edge, Proxy};
use foreshore::record::queue::LogQueue;
use foreshore::semantics::time::Timestamp;
use quinn_proto::crypto::rustls::QuicServerConfig;
use quinn_proto::{
    Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint, EndpointConfig,
    Event, ReadError, ServerConfig, StreamEvent, StreamId, TransportConfig,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::time::Instant;

use super::support::edge::certificates;
use super::support::quic::{config as client_config, fields, headers, read_answer};
use super::support::{Dice, stored};

const START: Timestamp = Timestamp::from_secs(1_800_000_000);
const SEEDS: u64 = 100;
/// Longer than anything takes, on this time.
const PATIENCE: Duration = Duration::from_secs(120);
const SMALL: usize = 20;

fn edge_address() -> SocketAddr {
    SocketAddr::from(([192, 0, 2, 1], 443))
}

fn first_address() -> SocketAddr {
    SocketAddr::from(([198, 51, 100, 7], 10_000))
}

// No two places look the same.
fn large() -> Vec<u8> {
    (0..75_000u32).flat_map(u32::to_be_bytes).collect()
}

/// A datagram on its way.
struct Letter {
    from: SocketAddr,
    to: SocketAddr,
    octets: Vec<u8>,
}

struct Network {
    dice: Dice,
    letters: BTreeMap<(Duration, u64), Letter>,
    number: u64,
    weather: Weather,
}

/// What a network does to datagrams.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weather {
    /// Both ways lose, repeat and delay.
    Foul,
    /// The way to viewers does, the way to the edge does not.
    FoulToViewers,
    /// So many datagrams are lost on the way to other ports than a viewer's first, and no others.
    Swallows(u32),
    /// From some time on nothing arrives at the edge.
    CutAt(Duration),
}

impl Network {
    fn send(&mut self, now: Duration, (from, to): (SocketAddr, SocketAddr), octets: &[u8]) {
        let is_foul = match &mut self.weather {
            Weather::Foul => true,
            Weather::FoulToViewers => from == edge_address(),
            Weather::CutAt(at) if now >= *at && to == edge_address() => return,
            Weather::CutAt(_) => false,
            Weather::Swallows(left) => {
                if *left > 0 && from == edge_address() && to != first_address() {
                    *left -= 1;
                    return;
                }
                false
            }
        };
        let copies = match self.dice.roll(100) {
            0..4 if is_foul => 0,
            4..8 if is_foul => 2,
            _ => 1,
        };
        for _ in 0..copies {
            let is_late = is_foul && self.dice.roll(10) == 0;
            let late = if is_late { self.dice.roll(40_000) } else { 0 };
            let takes = Duration::from_micros(5_000 + self.dice.roll(500) + late);
            self.number += 1;
            let letter = Letter { from, to, octets: octets.to_vec() };
            self.letters.insert((now + takes, self.number), letter);
        }
    }

    fn next(&self) -> Option<Duration> {
        self.letters.first_key_value().map(|((at, _), _)| *at)
    }

    fn arrived(&mut self, now: Duration) -> Option<Letter> {
        let first = self.letters.first_entry().filter(|first| first.key().0 <= now)?;
        Some(first.remove())
    }
}

/// The edge's side: one core without sockets.
struct Side {
    worker: Arc<Worker>,
    site: Arc<Site>,
    places: Arc<Places>,
    endpoint: Endpoint,
    session: Option<(ConnectionHandle, Session, Whereabouts)>,
    buffers: Buffers,
    /// As the driver does. Without it `quinn-proto` is alone.
    says_again: bool,
}

impl Side {
    fn receive(&mut self, at: Instant, letter: &Letter, answers: &mut Vec<(SocketAddr, Vec<u8>)>) {
        let (mut out, octets) = (Vec::new(), BytesMut::from(&letter.octets[..]));
        let now = at.into_std();
        match self.endpoint.handle(now, letter.from, None, None, octets, &mut out) {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some((known, session, whereabouts)) = &mut self.session
                    && *known == handle
                {
                    session.quic.handle_event(event);
                    let answers = || session.quic.stats().frame_rx.path_response;
                    let peer = session.quic.remote_address();
                    whereabouts.on_datagram(letter.from, peer, answers);
                }
            }
            Some(DatagramEvent::NewConnection(incoming)) if self.session.is_some() => {
                self.endpoint.ignore(incoming);
            }
            Some(DatagramEvent::NewConnection(incoming)) => {
                let Ok((handle, quic)) = self.endpoint.accept(incoming, now, &mut out, None) else {
                    return;
                };
                let Room::Free(place) = self.places.try_take() else { panic!("there is room") };
                let setting = Setting {
                    worker: Arc::clone(&self.worker),
                    site: Arc::clone(&self.site),
                    connection: Told::from(letter.from),
                    place,
                    waker: Waker::noop().clone(),
                };
                let session = Session::new(quic, setting, at);
                self.session = Some((handle, session, Whereabouts::new(letter.from)));
            }
            Some(DatagramEvent::Response(sent)) => {
                answers.push((sent.destination, out[..sent.size].to_vec()));
            }
            None => {}
        }
    }

    // What a driver does in a pass; what is to be sent is given back.
    fn act(&mut self, at: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        let (mut sent, mut out) = (Vec::new(), Vec::new());
        let Some((handle, session, whereabouts)) = &mut self.session else { return sent };
        let now = at.into_std();
        if session.quic.poll_timeout().is_some_and(|due| due <= now) {
            session.quic.handle_timeout(now);
            whereabouts.on_deadline(session.quic.remote_address());
        }
        loop {
            let mut has_more = session.act(at, &mut self.buffers, |_| Some(facts()));
            while let Some(event) = session.quic.poll_endpoint_events() {
                if let Some(event) = self.endpoint.handle_event(*handle, event) {
                    session.quic.handle_event(event);
                    has_more = true;
                }
            }
            if !has_more {
                break;
            }
        }
        if let Some((datagram, octets)) = whereabouts.again(now)
            && self.says_again
        {
            sent.push((datagram.destination, octets.to_vec()));
        }
        while let Some(datagram) = session.quic.poll_transmit(now, 1, &mut out) {
            whereabouts.on_sent(&datagram, &out, (session.quic.rtt(), now));
            sent.push((datagram.destination, out[..datagram.size].to_vec()));
            out.clear();
        }
        sent
    }

    fn due(&mut self) -> Option<Instant> {
        let (_, session, whereabouts) = self.session.as_mut()?;
        let timeout = session.quic.poll_timeout().map(Instant::from_std);
        let again = whereabouts.due().map(Instant::from_std);
        [timeout, session.next_look(), again].into_iter().flatten().min()
    }
}

fn facts() -> TlsFacts {
    TlsFacts {
        names: vec!["h.test".to_string()].into(),
        server_name: Some("h.test".into()),
        version: "TLSv1.3",
        cipher: "-",
        is_resumed: false,
        hello: None,
        client: None,
        rule: None,
        certificate: None,
    }
}

/// A viewer, which asks for everything as soon as it is connected.
struct Viewer {
    endpoint: Endpoint,
    handle: ConnectionHandle,
    connection: Connection,
    address: SocketAddr,
    asked: Vec<StreamId>,
    came: BTreeMap<StreamId, (Vec<u8>, bool)>,
    /// What it does not take stays in its windows.
    takes: bool,
    lost: Option<ConnectionError>,
}

impl Viewer {
    fn receive(&mut self, at: Instant, letter: &Letter) {
        let octets = BytesMut::from(&letter.octets[..]);
        let mut out = Vec::new();
        let event = self.endpoint.handle(at.into_std(), letter.from, None, None, octets, &mut out);
        if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
            self.connection.handle_event(event);
        }
    }

    fn act(&mut self, at: Instant) -> Vec<(SocketAddr, Vec<u8>)> {
        if self.connection.poll_timeout().is_some_and(|due| due <= at.into_std()) {
            self.connection.handle_timeout(at.into_std());
        }
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            match event {
                Event::Connected => self.ask(),
                Event::ConnectionLost { reason } => self.lost = Some(reason),
                Event::Stream(StreamEvent::Opened { dir }) => {
                    while let Some(id) = self.connection.streams().accept(dir) {
                        self.read(id);
                    }
                }
                Event::Stream(StreamEvent::Readable { id }) => self.read(id),
                _ => {}
            }
        }
        let (mut sent, mut out) = (Vec::new(), Vec::new());
        while let Some(datagram) = self.connection.poll_transmit(at.into_std(), 1, &mut out) {
            sent.push((datagram.destination, out[..datagram.size].to_vec()));
            out.clear();
        }
        sent
    }

    fn ask(&mut self) {
        let control = self.connection.streams().open(Dir::Uni).unwrap();
        let _ = self.connection.send_stream(control).write(&[0, 4, 0]);
        for path in std::iter::once("/large").chain(std::iter::repeat_n("/small", SMALL)) {
            let id = self.connection.streams().open(Dir::Bi).unwrap();
            let request = headers(&fields("GET", path, &[]));
            let mut stream = self.connection.send_stream(id);
            assert_eq!(stream.write(&request).ok(), Some(request.len()));
            let _ = stream.finish();
            self.asked.push(id);
        }
    }

    fn read(&mut self, id: StreamId) {
        if !self.takes {
            return;
        }
        let (octets, has_ended) = self.came.entry(id).or_default();
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => octets.extend_from_slice(&chunk.bytes),
                Ok(None) => {
                    *has_ended = true;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(code)) => panic!("{id} was reset with {code}"),
            }
        }
        let _ = chunks.finalize();
    }

    fn has_of_large(&self) -> usize {
        let large = self.asked.first().and_then(|id| self.came.get(id));
        large.map_or(0, |(octets, _)| octets.len())
    }

    fn has_all(&self) -> bool {
        let is_whole = |id: &StreamId| self.came.get(id).is_some_and(|(_, has_ended)| *has_ended);
        !self.asked.is_empty() && self.asked.iter().all(is_whole)
    }
}

// An edge in which everything is stored, and certificates for it.
struct Stage {
    worker: Arc<Worker>,
    site: Arc<Site>,
    server: Arc<ServerConfig>,
    ca: std::path::PathBuf,
    queue: Arc<LogQueue>,
    folder: tempfile::TempDir,
}

impl Drop for Stage {
    // What is left of the log is written before its folder goes, which it would make anew.
    fn drop(&mut self) {
        self.worker.flush_log();
        self.queue.flush();
    }
}

impl Stage {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (ca, chain, key) = certificates(folder.path(), &["h.test"]);
        let path = folder.path().join("edge.toml");
        let log = folder.path().join("access.log");
        let text = format!(
            "[listen]\nhttp = [\"127.0.0.1:1\"]\n[log]\naccess = {log:?}\n[[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n\
             [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test\"\n[[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n"
        );
        std::fs::write(&path, text).unwrap();
        let site = config::load(&path, START, MissingCertificates::Done)
            .unwrap_or_else(|report| panic!("{}", report.render(false)))
            .site;
        let clock = Clock::starting_at(START);
        let edge = Edge::new(Arc::clone(&site), "network".into(), clock.clone());
        for (path, body) in [("/large", large()), ("/small", b"hello".to_vec())] {
            let key = format!("E\0{path}");
            let response = stored(key.as_bytes(), &[("etag", "\"1\"")], &body, START);
            edge.store.reserve(response.weight(body.len() as u64)).unwrap();
            edge.store.insert(&response);
        }
        let client = Client::new(Arc::<ConnectionLimits>::default(), clock, 64 << 10);
        let proxy = Arc::new(Proxy { index: 0, edge, upstream: Arc::new(Live { client }) });
        let queue = LogQueue::start(&site).unwrap();
        let (_, drained) = tokio::sync::watch::channel(false);
        let worker = Worker::new(proxy, 0, Arc::clone(&queue), Arc::<Gauges>::default(), drained);
        let chain = CertificateDer::pem_file_iter(chain).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(key).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        tls.alpn_protocols = vec![b"h3".to_vec()];
        let crypto = QuicServerConfig::try_from(Arc::new(tls)).unwrap();
        let server = Arc::new(ServerConfig::with_crypto(Arc::new(crypto)));
        Self { worker, site, server, ca, queue, folder }
    }

    fn sides(&self, seed: u64, at: Instant, course: &Course) -> (Side, Viewer) {
        let dice = |which: u8| {
            let mut start = [which; 32];
            start[..8].copy_from_slice(&seed.to_be_bytes());
            Some(start)
        };
        let settings = || Arc::new(EndpointConfig::default());
        let side = Side {
            worker: Arc::clone(&self.worker),
            site: Arc::clone(&self.site),
            places: Arc::new(Places::new(10, Arc::clone(&self.worker.gauges))),
            endpoint: Endpoint::new(settings(), Some(Arc::clone(&self.server)), true, dice(1)),
            session: None,
            buffers: Buffers::default(),
            says_again: course.says_again,
        };
        let mut transport = TransportConfig::default();
        transport.keep_alive_interval(course.speaks_up_each);
        transport.stream_receive_window(course.window.into());
        if course.speaks_up_each.is_none() {
            // Such a viewer has nothing to say but that it has read.
            transport.mtu_discovery_config(None);
        }
        let mut config = client_config(&self.ca);
        config.transport_config(Arc::new(transport));
        let mut endpoint = Endpoint::new(settings(), None, true, dice(2));
        let (handle, connection) =
            endpoint.connect(at.into_std(), config, edge_address(), "h.test").unwrap();
        let viewer = Viewer {
            endpoint,
            handle,
            connection,
            address: first_address(),
            asked: Vec::new(),
            came: BTreeMap::new(),
            takes: true,
            lost: None,
        };
        (side, viewer)
    }
}

/// How the life of a viewer goes.
struct Course {
    weather: Weather,
    moves: Moves,
    /// If it hears nothing, it says something this often, and so is found where it is now.
    speaks_up_each: Option<Duration>,
    /// Octets that the edge may send on a stream before it has to be told that they were read.
    window: u32,
    says_again: bool,
}

/// The large answer does not fit: windows are opened. It fits twice: they need not be.
const OPENED: u32 = 200_000;
const OPEN: u32 = 2_000_000;

/// When a viewer comes to have another port.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Moves {
    /// After some of what it receives: then it may have nothing to send.
    AfterReceiving,
    /// Before some of what it sends: then the edge hears of it.
    BeforeSending,
    /// Before the first that it sends with so much of the large answer.
    Once(usize),
    Never,
}

impl Moves {
    // A viewer stays where it is until the edge has said something behind the handshake, which then
    // is over for both (RFC 9000 §9).
    fn fall(self, dice: &mut Dice, viewer: &Viewer, is_sending: bool) -> bool {
        !viewer.came.is_empty()
            && match self {
                Self::AfterReceiving => !is_sending && dice.roll(150) == 0,
                Self::Never => false,
                Self::BeforeSending => is_sending && dice.roll(60) == 0,
                Self::Once(octets) => {
                    let is_first = viewer.address == first_address();
                    is_sending && is_first && viewer.has_of_large() >= octets
                }
            }
    }
}

/// One edge, one viewer, and the network between them.
struct World {
    base: Instant,
    now: Duration,
    side: Side,
    viewer: Viewer,
    network: Network,
    moves: (Moves, Dice),
}

impl World {
    fn new(stage: &Stage, seed: u64, course: &Course) -> Self {
        let base = Instant::now();
        let (side, viewer) = stage.sides(seed, base, course);
        let (dice, weather) = (Dice::new(seed, 1), course.weather);
        let network = Network { dice, letters: BTreeMap::new(), number: 0, weather };
        let moves = (course.moves, Dice::new(seed, 2));
        Self { base, now: Duration::ZERO, side, viewer, network, moves }
    }

    // Lets both do what they can, and goes on to when there is something to do again; false if that
    // is never.
    fn step(&mut self) -> bool {
        let (at, now) = (self.base + self.now, self.now);
        let mut answers = Vec::new();
        while let Some(letter) = self.network.arrived(now) {
            if letter.to == edge_address() {
                self.side.receive(at, &letter, &mut answers);
            } else if letter.to == self.viewer.address {
                self.viewer.receive(at, &letter);
                self.move_perhaps(false);
            }
        }
        answers.extend(self.side.act(at));
        for (to, octets) in answers {
            self.network.send(now, (edge_address(), to), &octets);
        }
        for (to, octets) in self.viewer.act(at) {
            self.move_perhaps(true);
            self.network.send(now, (self.viewer.address, to), &octets);
        }
        let since = |due: Instant| due.saturating_duration_since(self.base);
        let viewers = self.viewer.connection.poll_timeout().map(Instant::from_std);
        let dues = [self.network.next(), viewers.map(since), self.side.due().map(since)];
        let next = dues.into_iter().flatten().min();
        // Deadlines that have passed are looked at once more, a moment later.
        self.now = next.map_or(now, |next| next.max(now + Duration::from_micros(1)));
        next.is_some()
    }

    fn move_perhaps(&mut self, is_sending: bool) {
        let (moves, dice) = &mut self.moves;
        if moves.fall(dice, &self.viewer, is_sending) {
            self.viewer.address.set_port(self.viewer.address.port() + 1);
        }
    }

    // Goes on until it holds.
    fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        while !holds(self) {
            assert!(self.now < PATIENCE, "{what} did not come: {:?}", self.viewer.lost);
            assert!(self.step(), "nothing is to come, and {what} has not: {:?}", self.viewer.lost);
        }
    }
}

// One viewer's whole life; gives how often it changed its port, or what it waits for in vain.
fn live(stage: &Stage, seed: u64, course: &Course) -> Result<u16, String> {
    let mut world = World::new(stage, seed, course);
    while !world.viewer.has_all() {
        let goes_on = world.now < PATIENCE && world.viewer.lost.is_none() && world.step();
        if !goes_on {
            let (has, lost) = (world.viewer.has_of_large(), &world.viewer.lost);
            return Err(format!("seed {seed}: {lost:?} after {:?} with {has}", world.now));
        }
    }
    let viewer = &world.viewer;
    for id in &viewer.asked {
        let answer = read_answer(&viewer.came[id].0);
        assert_eq!(answer.status(), "200", "seed {seed}");
        assert_eq!(answer.field("x-cache"), Some("Hit from foreshore"), "seed {seed}");
        let is_large = *id == viewer.asked[0];
        let wanted = if is_large { large() } else { b"hello".to_vec() };
        assert!(answer.body == wanted, "seed {seed}: other octets, {}", answer.body.len());
    }
    Ok(viewer.address.port() - first_address().port())
}

// So many lives; gives how often viewers changed their ports.
fn live_all(stage: &Stage, course: &Course) -> u16 {
    let lives = (1..=SEEDS).map(|seed| live(stage, seed, course));
    lives.map(|moves| moves.unwrap_or_else(|why| panic!("{why}"))).sum()
}

#[tokio::test]
async fn whatever_becomes_of_datagrams_every_octet_arrives() {
    let stage = Stage::new();
    let course = Course {
        weather: Weather::Foul,
        moves: Moves::AfterReceiving,
        speaks_up_each: Some(Duration::from_secs(1)),
        window: OPENED,
        says_again: true,
    };
    let moves = live_all(&stage, &course);
    assert!(moves > 20, "viewers moved {moves} times only");
    assert!(stage.folder.path().exists());
}

#[tokio::test]
async fn viewers_that_only_read_are_told_again_at_their_new_port() {
    let stage = Stage::new();
    let course = Course {
        weather: Weather::FoulToViewers,
        moves: Moves::BeforeSending,
        speaks_up_each: None,
        window: OPEN,
        says_again: true,
    };
    let moves = live_all(&stage, &course);
    assert!(moves > 100, "viewers moved {moves} times only");
}

// What `quinn-proto` says to a new port is one datagram. The rest waits for an answer to it, which
// a viewer that has not heard it has no reason to give.
#[tokio::test]
async fn one_lost_datagram_to_a_new_port_would_end_an_answer() {
    let stage = Stage::new();
    let course = |lost, says_again| Course {
        weather: Weather::Swallows(lost),
        moves: Moves::Once(100_000),
        speaks_up_each: None,
        window: OPEN,
        says_again,
    };
    assert_eq!(live(&stage, 1, &course(0, false)), Ok(1), "nothing is lost");
    let alone = live(&stage, 1, &course(1, false));
    let why = alone.expect_err("quinn-proto sends challenges again: Whereabouts can go");
    assert!(why.contains("TimedOut"), "{why}");
    for lost in 1..=5 {
        assert_eq!(live(&stage, 1, &course(lost, true)), Ok(1), "{lost} lost");
    }
}

// Nothing is lost, and nobody moves.
const CALM: Course = Course {
    weather: Weather::Swallows(0),
    moves: Moves::Never,
    speaks_up_each: Some(Duration::from_secs(1)),
    window: OPENED,
    says_again: true,
};

#[tokio::test]
async fn an_answer_that_is_not_taken_is_given_up() {
    let stage = Stage::new();
    let mut world = World::new(&stage, 1, &CALM);
    world.viewer.takes = false;
    let timeouts = |stage: &Stage| stage.worker.gauges.timeouts.load(Ordering::Relaxed);
    world.until("an end of the wait", |_| timeouts(&stage) > 0);
    let dead = stage.site.limits.stall * 2 + Duration::from_secs(5);
    assert!(world.now >= dead && world.now < dead * 2, "after {:?}", world.now);
    let large = world.viewer.asked[0];
    let until = world.now + Duration::from_secs(1);
    world.until("a moment", |world| world.now > until);
    let mut stream = world.viewer.connection.recv_stream(large);
    let mut chunks = stream.read(true).unwrap();
    let Err(ReadError::Reset(code)) = chunks.next(usize::MAX) else { panic!("no reset") };
    assert_eq!(code.into_inner(), 0x10c);
    let _ = chunks.finalize();
    assert!(world.viewer.lost.is_none(), "the connection goes on: {:?}", world.viewer.lost);
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_given_up() {
    let stage = Stage::new();
    // The viewer's first words arrive, and nothing that it says to the answer.
    let course = Course { weather: Weather::CutAt(Duration::from_millis(7)), ..CALM };
    let mut world = World::new(&stage, 1, &course);
    let failed = |stage: &Stage| stage.worker.gauges.handshakes_failed.load(Ordering::Relaxed);
    world.until("an end of the handshake", |_| failed(&stage) > 0);
    assert!(world.side.session.is_some());
    assert_eq!(stage.worker.gauges.timeouts.load(Ordering::Relaxed), 1);
    let limit = stage.site.limits.handshake;
    assert!(world.now >= limit && world.now < limit * 2, "after {:?}", world.now);
    assert_eq!(stage.worker.gauges.connections.load(Ordering::Relaxed), 0, "its place is free");
}
