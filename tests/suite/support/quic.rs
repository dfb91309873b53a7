//! A viewer that speaks HTTP/3 octet by octet over QUIC, and so can say what no proper client says.

use std::collections::BTreeMap;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use foreshore::listen::h2::hpack::decode::FieldList;
use foreshore::listen::h3::frame::{self, kind};
use foreshore::listen::h3::qpack;
use quinn_proto::crypto::rustls::QuicClientConfig;
use quinn_proto::{
    ClientConfig, Connection, ConnectionError, ConnectionHandle, DatagramEvent, Dir, Endpoint,
    EndpointConfig, Event, ReadError, Side, StreamEvent, StreamId, TransportConfig, VarInt,
};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::Dice;

/// Longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(20);

/// What has come on a stream.
#[derive(Default)]
pub struct Came {
    pub octets: Vec<u8>,
    pub has_ended: bool,
    /// The code of a reset, or of a wish that we stop.
    pub reset: Option<u64>,
}

/// An answer.
#[derive(Debug)]
pub struct Answer {
    /// Status and fields of each head, trailers behind them; `name: value` lines.
    pub heads: Vec<String>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The final head's status.
    pub fn status(&self) -> &str {
        let last = self.heads.iter().rev().find(|head| head.starts_with(":status: "));
        last.and_then(|head| head.lines().next()).map_or("", |line| &line[9..])
    }

    /// A field of any head.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.heads
            .iter()
            .flat_map(|head| head.lines())
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    }
}

/// A direction of a network that loses, repeats and reorders datagrams, as its dice fall.
struct Shaken {
    dice: Dice,
    /// Waits until another has overtaken it.
    held: Option<Vec<u8>>,
}

impl Shaken {
    fn new(seed: u64, direction: u64) -> Self {
        Self { dice: Dice::new(seed, direction), held: None }
    }

    // What arrives once this has been sent.
    fn pass(&mut self, datagram: Vec<u8>) -> Vec<Vec<u8>> {
        let mut arrive = match self.dice.roll(100) {
            0..5 => Vec::new(),
            5..10 => vec![datagram.clone(), datagram],
            10..25 if self.held.is_none() => {
                self.held = Some(datagram);
                Vec::new()
            }
            _ => vec![datagram],
        };
        if !arrive.is_empty() {
            arrive.extend(self.held.take());
        }
        arrive
    }
}

/// What a viewer of `h.test` is made with that trusts `ca`.
pub fn config(ca: &Path) -> ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(ca).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h3".to_vec()];
    ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls).unwrap()))
}

/// Says the first that so many viewers say, and nothing more, all from one port; `between` has its
/// turn after each of them.
pub fn begin_many(address: SocketAddr, ca: &Path, count: usize, mut between: impl FnMut(usize)) {
    let (config, socket) = (config(ca), UdpSocket::bind("127.0.0.1:0").unwrap());
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let mut out = Vec::new();
    for number in 0..count {
        let now = Instant::now();
        let (_, mut connection) = endpoint.connect(now, config.clone(), address, "h.test").unwrap();
        while let Some(sent) = connection.poll_transmit(now, 1, &mut out) {
            let _ = socket.send_to(&out[..sent.size], sent.destination);
            out.clear();
        }
        between(number);
    }
}

/// Says the first that a viewer says, and then nothing: how many octets that were, and how many came
/// for them.
pub fn first_words(address: SocketAddr, ca: &Path) -> (usize, usize) {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
    let now = Instant::now();
    let (_, mut connection) = endpoint.connect(now, config(ca), address, "h.test").unwrap();
    let (mut said, mut came, mut out) = (0, 0, Vec::new());
    while let Some(sent) = connection.poll_transmit(now, 1, &mut out) {
        said += socket.send_to(&out[..sent.size], sent.destination).unwrap();
        out.clear();
    }
    let mut buffer = [0; 2048];
    while let Ok((len, _)) = socket.recv_from(&mut buffer) {
        came += len;
        // The first comes when the edge has its turn; what is repeated follows it soon.
        socket.set_read_timeout(Some(Duration::from_millis(1_500))).unwrap();
    }
    (said, came)
}

/// One connection.
pub struct Quic {
    socket: UdpSocket,
    endpoint: Endpoint,
    handle: ConnectionHandle,
    pub connection: Connection,
    came: BTreeMap<StreamId, Came>,
    is_connected: bool,
    /// What becomes of what it says, and of what it is told.
    shaken: Option<[Shaken; 2]>,
    /// How the connection ended.
    pub lost: Option<ConnectionError>,
}

impl Quic {
    /// Connects to `h.test` at an address, trusting `ca`.
    pub fn connect(address: SocketAddr, ca: &Path) -> Self {
        Self::connect_over(address, ca, None)
    }

    /// The same over a bad network, which is as bad again with the same seed.
    pub fn connect_shaken(address: SocketAddr, ca: &Path, seed: u64) -> Self {
        Self::connect_over(address, ca, Some([Shaken::new(seed, 1), Shaken::new(seed, 2)]))
    }

    fn connect_over(address: SocketAddr, ca: &Path, shaken: Option<[Shaken; 2]>) -> Self {
        Self::connect_as(address, config(ca), shaken)
    }

    fn connect_as(address: SocketAddr, config: ClientConfig, shaken: Option<[Shaken; 2]>) -> Self {
        let mut endpoint = Endpoint::new(Arc::new(EndpointConfig::default()), None, false, None);
        let (handle, connection) =
            endpoint.connect(Instant::now(), config, address, "h.test").unwrap();
        let mut this = Self {
            socket: UdpSocket::bind("127.0.0.1:0").unwrap(),
            endpoint,
            handle,
            connection,
            came: BTreeMap::new(),
            is_connected: false,
            shaken,
            lost: None,
        };
        this.until("a handshake", |this| this.is_connected || this.lost.is_some());
        this
    }

    /// The same, and says what has to be said first.
    pub fn begin(address: SocketAddr, ca: &Path) -> Self {
        let mut this = Self::connect(address, ca);
        this.uni(&[0, 4, 0]);
        this
    }

    /// The same for a viewer that lets so few octets of a stream come before it has read some.
    pub fn begin_narrow(address: SocketAddr, ca: &Path, window: u32) -> Self {
        let (mut transport, mut config) = (TransportConfig::default(), config(ca));
        transport.stream_receive_window(window.into());
        config.transport_config(Arc::new(transport));
        let mut this = Self::connect_as(address, config, None);
        this.uni(&[0, 4, 0]);
        this
    }

    /// Goes on from another port, as behind a router that forgot the one before.
    pub fn rebind(&mut self) {
        self.socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    }

    /// Goes on until it holds.
    pub fn until(&mut self, what: &str, mut holds: impl FnMut(&mut Self) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !holds(self) {
            assert!(Instant::now() < until, "{what} did not come: {:?}", self.lost);
            self.turn();
        }
    }

    /// Sends what there is.
    pub fn transmit(&mut self) {
        let mut out = Vec::new();
        while let Some(sent) = self.connection.poll_transmit(Instant::now(), 1, &mut out) {
            for datagram in self.pass(0, &out[..sent.size]) {
                let _ = self.socket.send_to(&datagram, sent.destination);
            }
            out.clear();
        }
    }

    /// Acknowledges all that has come, which else waits for a turn: with a PING, so that there is
    /// something to send at once.
    pub fn acknowledge(&mut self) {
        self.connection.ping();
        self.transmit();
    }

    // Sends what there is, and takes what comes within a moment.
    fn turn(&mut self) {
        self.transmit();
        let mut out = Vec::new();
        let now = Instant::now();
        let due = self.connection.poll_timeout().unwrap_or(now + Duration::from_millis(20));
        let wait = due.saturating_duration_since(now).min(Duration::from_millis(20));
        self.socket.set_read_timeout(Some(wait.max(Duration::from_micros(100)))).unwrap();
        let mut buffer = [0; 2048];
        if let Ok((len, from)) = self.socket.recv_from(&mut buffer) {
            for datagram in self.pass(1, &buffer[..len]) {
                let (now, octets) = (Instant::now(), BytesMut::from(&datagram[..]));
                let event = self.endpoint.handle(now, from, None, None, octets, &mut out);
                if let Some(DatagramEvent::ConnectionEvent(_, event)) = event {
                    self.connection.handle_event(event);
                }
            }
        }
        self.connection.handle_timeout(Instant::now());
        while let Some(event) = self.connection.poll_endpoint_events() {
            if let Some(event) = self.endpoint.handle_event(self.handle, event) {
                self.connection.handle_event(event);
            }
        }
        while let Some(event) = self.connection.poll() {
            self.on_event(event);
        }
    }

    // What of a datagram arrives, and when.
    fn pass(&mut self, direction: usize, datagram: &[u8]) -> Vec<Vec<u8>> {
        match &mut self.shaken {
            Some(shaken) => shaken[direction].pass(datagram.to_vec()),
            None => vec![datagram.to_vec()],
        }
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Connected => self.is_connected = true,
            Event::ConnectionLost { reason } => self.lost = Some(reason),
            Event::Stream(StreamEvent::Opened { dir }) => {
                while let Some(id) = self.connection.streams().accept(dir) {
                    self.read(id);
                }
            }
            Event::Stream(StreamEvent::Readable { id }) => self.read(id),
            Event::Stream(StreamEvent::Stopped { id, error_code }) => {
                let came = self.came.entry(id).or_default();
                came.reset.get_or_insert(error_code.into_inner());
            }
            _ => {}
        }
    }

    fn read(&mut self, id: StreamId) {
        let came = self.came.entry(id).or_default();
        let mut stream = self.connection.recv_stream(id);
        let Ok(mut chunks) = stream.read(true) else { return };
        loop {
            match chunks.next(usize::MAX) {
                Ok(Some(chunk)) => came.octets.extend_from_slice(&chunk.bytes),
                Ok(None) => {
                    came.has_ended = true;
                    break;
                }
                Err(ReadError::Blocked) => break,
                Err(ReadError::Reset(code)) => {
                    came.reset = Some(code.into_inner());
                    break;
                }
            }
        }
        let _ = chunks.finalize();
    }

    /// Opens a stream of one direction and says this on it.
    pub fn uni(&mut self, octets: &[u8]) -> StreamId {
        let id = self.connection.streams().open(Dir::Uni).expect("room for a stream");
        self.say(id, octets, false);
        id
    }

    /// Opens a request stream, says this on it, and ends it if that is all.
    pub fn request(&mut self, octets: &[u8], is_all: bool) -> StreamId {
        self.try_request(octets, is_all).expect("a connection that goes on")
    }

    /// The same; `None` once the connection is over.
    pub fn try_request(&mut self, octets: &[u8], is_all: bool) -> Option<StreamId> {
        let mut opened = None;
        self.until("room for a request", |this| {
            opened = this.connection.streams().open(Dir::Bi);
            opened.is_some() || this.lost.is_some()
        });
        self.say(opened?, octets, is_all);
        opened
    }

    /// Says more on a stream, however long that takes.
    pub fn say(&mut self, id: StreamId, octets: &[u8], is_all: bool) {
        let mut rest = octets;
        self.until("room to write", |this| {
            while !rest.is_empty() {
                match this.connection.send_stream(id).write(rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(quinn_proto::WriteError::Blocked) => return this.lost.is_some(),
                    Err(_) => rest = &[],
                }
            }
            true
        });
        if is_all {
            let _ = self.connection.send_stream(id).finish();
        }
    }

    /// Gives a stream up.
    pub fn reset(&mut self, id: StreamId, code: u32) {
        let _ = self.connection.send_stream(id).reset(VarInt::from_u32(code));
        let _ = self.connection.recv_stream(id).stop(VarInt::from_u32(code));
    }

    /// Wants to hear no more of the edge's control stream.
    pub fn stop_control(&mut self) {
        let is_theirs = |id: &&StreamId| id.dir() == Dir::Uni && id.initiator() == Side::Server;
        let theirs = self.came.keys().find(is_theirs).copied();
        let id = theirs.expect("a control stream of the edge's");
        let _ = self.connection.recv_stream(id).stop(VarInt::from_u32(0x100));
    }

    /// What has come on a stream so far.
    pub fn came(&mut self, id: StreamId) -> &mut Came {
        self.came.entry(id).or_default()
    }

    /// What the edge's control stream has said so far, behind its kind.
    pub fn control(&self) -> &[u8] {
        let theirs =
            self.came.iter().find(|(id, _)| id.dir() == Dir::Uni && id.initiator() == Side::Server);
        theirs.and_then(|(_, came)| came.octets.get(1..)).unwrap_or_default()
    }

    /// Waits for a whole answer.
    pub fn answer(&mut self, id: StreamId) -> Answer {
        self.until("an answer", |this| {
            let is_lost = this.lost.is_some();
            let came = this.came(id);
            is_lost || came.has_ended || came.reset.is_some()
        });
        assert!(self.came(id).has_ended, "no whole answer: {:?}", self.lost);
        read_answer(&self.came(id).octets)
    }

    /// A GET and its answer.
    pub fn get(&mut self, path: &str, more: &[(&str, &str)]) -> Answer {
        let id = self.request(&headers(&fields("GET", path, more)), true);
        self.answer(id)
    }

    /// Waits until the connection is over, and gives the code that the edge gave.
    pub fn end(&mut self) -> u64 {
        self.until("an end", |this| this.lost.is_some());
        match self.lost.as_ref() {
            Some(ConnectionError::ApplicationClosed(close)) => close.error_code.into_inner(),
            other => panic!("ended otherwise: {other:?}"),
        }
    }

    /// Waits until a stream is reset, and gives the code.
    pub fn code(&mut self, id: StreamId) -> u64 {
        self.until("a reset", |this| this.lost.is_some() || this.came(id).reset.is_some());
        self.came(id).reset.unwrap_or_else(|| panic!("no reset: {:?}", self.lost))
    }
}

/// The fields of a request for `h.test`.
pub fn fields<'f>(
    method: &'f str,
    path: &'f str,
    more: &[(&'f str, &'f str)],
) -> Vec<(&'f str, &'f str)> {
    let first =
        [(":method", method), (":scheme", "https"), (":authority", "h.test"), (":path", path)];
    [&first[..], more].concat()
}

/// A HEADERS frame.
pub fn headers(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut section = Vec::new();
    qpack::encode::prefix(&mut section);
    for (name, value) in fields {
        qpack::encode::field(&mut section, name.as_bytes(), value.as_bytes());
    }
    framed(kind::HEADERS, &section)
}

/// Any frame.
pub fn framed(kind: u64, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::write(&mut out, kind, payload);
    out
}

/// Reads the frames of a whole answer.
pub fn read_answer(octets: &[u8]) -> Answer {
    let (mut heads, mut body, mut rest) = (Vec::new(), Vec::new(), octets);
    while !rest.is_empty() {
        let (kind, len, head) = frame::read_head(rest).expect("a frame");
        let (payload, after) = rest[head..].split_at(len as usize);
        rest = after;
        match kind {
            kind::DATA => body.extend_from_slice(payload),
            kind::HEADERS => {
                let mut list = FieldList::default();
                list.clear(1 << 20);
                qpack::decode::decode(payload, &mut list).unwrap();
                let line = |(name, value): (&[u8], &[u8])| {
                    format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
                };
                heads.push(list.iter().map(line).collect::<Vec<_>>().join("\n"));
            }
            other => panic!("a frame of kind {other:x}"),
        }
    }
    Answer { heads, body }
}
