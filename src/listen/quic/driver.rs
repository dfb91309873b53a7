//! What drives a core's QUIC connections: one task, which receives, lets connections act, and
//! sends, as long as there is anything to do.
//!
//! Deadlines of QUIC are shorter than the millisecond that timers are made of here, while octets
//! flow: pacing and acknowledgements would have every exchange wait. A deadline that near is not
//! slept for; the task lets others run and looks again.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use bytes::BytesMut;
use hashbrown::HashMap;
use quinn_proto::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn_proto::{
    ConnectionHandle, ConnectionIdGenerator, DatagramEvent, EcnCodepoint, Endpoint, EndpointConfig,
    IdleTimeout, Incoming, ServerConfig, TransportConfig,
};
use quinn_udp::RecvMeta;
use rustls::pki_types::CertificateDer;
use tokio::time::{Duration, Instant, Sleep};

use super::cid::{Ids, Mask, destination};
use super::door::{Door, Knock, door};
use super::inbox::{Inbox, Stray, Told};
use super::keys::Keys;
use super::moved::Whereabouts;
use super::socket::Socket;
use super::timers::{Deadline, Timers};
use super::wire::Wire;
use crate::distribution::limits::Limits;
use crate::listen::h3::{
    CONNECTION_WINDOW, SEND_WINDOW, STREAM_WINDOW, Session, Setting, UNI_STREAMS,
};
use crate::listen::places::{Places, Room};
use crate::listen::{Buffers, Gauges, Worker};
use crate::message::connection::{Asker, Connection, Scheme, TlsFacts};
use crate::tls::clients;
use crate::tls::server::ServerTls;

/// Reads of the socket, and buffers of each: what the kernel joins fits into 64 KiB.
const READS: usize = 4;
const BATCH: usize = 8;
const PIECE: usize = 64 * 1024;
/// Datagrams in one call.
const SEGMENTS: usize = 10;
/// Such calls for one connection before others have their turn.
const CALLS: usize = 64;
/// Connections and datagrams from elsewhere that are looked at in one pass.
const PASS: usize = 4096;
/// A nearer deadline is not slept for, if anything came within this time before.
const NEAR: Duration = Duration::from_millis(1);
const LIVELY: Duration = Duration::from_millis(5);
/// First packets that wait to be looked at, octets behind one of them, behind all of them.
const INCOMING: usize = 2_000;
const INCOMING_OCTETS: u64 = 64 << 10;
const INCOMING_ALL: u64 = 16 << 20;

/// What every connection is served with.
pub struct Serving {
    pub worker: Arc<Worker>,
    pub tls: Arc<ArcSwap<Option<ServerTls>>>,
    /// Connections over all workers, of TCP too.
    pub places: Arc<Places>,
}

impl Serving {
    /// Serves until the edge has drained.
    pub async fn run(self, socket: Socket) -> io::Result<()> {
        let mut driver = Driver::new(self, socket)?;
        std::future::poll_fn(|cx| driver.poll(cx)).await;
        Ok(())
    }
}

/// A connection and when it wants to be looked at.
struct Entry {
    session: Session,
    whereabouts: Whereabouts,
    deadline: Deadline,
    is_touched: bool,
    is_unsent: bool,
    is_half_open: bool,
}

/// Settings of connections, and what they were made from.
struct Config {
    of: Arc<Option<ServerTls>>,
    quic: Arc<ServerConfig>,
}

struct Driver {
    serving: Serving,
    keys: Arc<Keys>,
    wire: Wire,
    local: SocketAddr,
    endpoint: Endpoint,
    config: Option<Config>,
    mask: Mask,
    inbox: Arc<Inbox>,
    inboxes: Arc<[Arc<Inbox>]>,
    entries: HashMap<usize, Entry>,
    timers: Timers,
    /// Connections to work on in this pass, each once.
    touched: VecDeque<usize>,
    /// Those that had more to send than the socket took.
    unsent: VecDeque<usize>,
    half_open: usize,
    received: Vec<u8>,
    buffers: Buffers,
    /// What is to be sent: of a connection, of the endpoint itself.
    datagrams: Vec<u8>,
    response: Vec<u8>,
    sleep: Pin<Box<Sleep>>,
    active_at: Instant,
    drained: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_leaving: bool,
}

impl Driver {
    fn new(serving: Serving, socket: Socket) -> io::Result<Self> {
        let Socket { udp, inboxes, keys } = socket;
        let local = udp.local_addr()?;
        let gso = serving.worker.core.edge.running_cell().load().site.listen.http3.gso();
        let wire = Wire::new(udp, gso)?;
        let core = serving.worker.index;
        let mask = keys.mask(inboxes.len());
        let inbox = inboxes.get(core).map(Arc::clone).ok_or(io::ErrorKind::InvalidInput)?;
        let mut config = EndpointConfig::new(keys.reset());
        let ids = mask.clone();
        config.cid_generator(move || -> Box<dyn ConnectionIdGenerator> {
            Box::new(Ids::new(ids.clone(), core))
        });
        config.supported_versions(vec![1]);
        let endpoint = Endpoint::new(Arc::new(config), None, wire.is_unfragmented(), None);
        let mut draining = serving.worker.draining.clone();
        let drained = Box::pin(async move {
            let _ = draining.wait_for(|draining| *draining).await;
        });
        let mut driver = Self {
            serving,
            keys,
            wire,
            local,
            endpoint,
            config: None,
            mask,
            inbox,
            inboxes,
            entries: HashMap::new(),
            timers: Timers::default(),
            touched: VecDeque::new(),
            unsent: VecDeque::new(),
            half_open: 0,
            received: vec![0; BATCH * PIECE],
            buffers: Buffers::default(),
            datagrams: Vec::new(),
            response: Vec::new(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            active_at: Instant::now(),
            drained,
            is_leaving: false,
        };
        driver.configure();
        Ok(driver)
    }

    // What connections that come now are made with; made anew where certificates have changed.
    fn configure(&mut self) -> Option<Arc<ServerConfig>> {
        let tls = self.serving.tls.load_full();
        if let Some(known) = &self.config
            && Arc::ptr_eq(&known.of, &tls)
        {
            return Some(Arc::clone(&known.quic));
        }
        let settings = Arc::clone((*tls).as_ref()?.quic()?);
        let site = Arc::clone(&self.serving.worker.core.edge.running_cell().load().site);
        let made = server_config(settings, &self.keys, &site.limits);
        let quic =
            made.map_err(|why| tracing::warn!(why, "no HTTP/3 with these certificates")).ok()?;
        self.endpoint.set_server_config(Some(Arc::clone(&quic)));
        self.config = Some(Config { of: tls, quic: Arc::clone(&quic) });
        Some(quic)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.inbox.register(cx.waker());
        let now = Instant::now();
        if !self.is_leaving && self.drained.as_mut().poll(cx).is_ready() {
            self.leave(now);
        }
        let mut has_more = self.receive(cx, now);
        has_more |= self.take_from_elsewhere(now);
        self.take_due(now);
        if self.wire.poll_flush(cx).is_ready() {
            while let Some(handle) = self.unsent.pop_front() {
                if let Some(entry) = self.entries.get_mut(&handle) {
                    entry.is_unsent = false;
                }
                self.touch(handle);
            }
        }
        for _ in 0..self.touched.len() {
            let Some(handle) = self.touched.pop_front() else { break };
            self.work_on(handle, now);
        }
        if self.wire.has_lost_gso() {
            Gauges::add(&self.serving.worker.gauges.quic.gso_lost);
            tracing::warn!(address = %self.local, "several datagrams in one call are not taken by the network; from now on each has its own (listen.gso)");
        }
        // What found the socket full is woken when there is room again.
        has_more |= self.wire.poll_flush(cx).is_ready() && !self.unsent.is_empty();
        if self.is_leaving && self.entries.values().all(|entry| entry.session.is_closed()) {
            return Poll::Ready(());
        }
        if has_more || !self.touched.is_empty() {
            yield_to_others(cx);
        } else {
            self.sleep_until_due(cx, now);
        }
        Poll::Pending
    }

    fn leave(&mut self, now: Instant) {
        self.is_leaving = true;
        let handles: Vec<usize> = self.entries.keys().copied().collect();
        for handle in handles {
            if let Some(entry) = self.entries.get_mut(&handle) {
                entry.session.leave(now);
            }
            self.touch(handle);
        }
    }

    // Takes what the socket has; true if there may be more.
    fn receive(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        let mut received = std::mem::take(&mut self.received);
        let mut has_more = false;
        for _ in 0..READS {
            let mut metas = [RecvMeta::default(); BATCH];
            let Some(count) = self.wire.poll_receive(cx, &mut received, &mut metas) else {
                has_more = false;
                break;
            };
            has_more = true;
            for (meta, buffer) in metas[..count].iter().zip(received.chunks(PIECE)) {
                let ecn = meta.ecn.and_then(|ecn| EcnCodepoint::from_bits(ecn as u8));
                let octets = &buffer[..meta.len.min(PIECE)];
                for datagram in octets.chunks(meta.stride.max(1)) {
                    Gauges::add(&self.serving.worker.gauges.quic.received);
                    if !self.hand_over((meta.addr, meta.dst_ip, ecn), datagram) {
                        self.on_datagram((meta.addr, meta.dst_ip, ecn), datagram, now);
                    }
                }
            }
        }
        self.received = received;
        has_more
    }

    // Leaves a datagram of another core's connection there. False if it belongs here.
    fn hand_over(&self, (peer, local, ecn): Way, datagram: &[u8]) -> bool {
        let Some(core) = destination(datagram).and_then(|id| self.mask.core(id)) else {
            return false;
        };
        if core == self.serving.worker.index {
            return false;
        }
        let Some(inbox) = self.inboxes.get(core) else { return false };
        let gauges = &self.serving.worker.gauges.quic;
        let is_taken = inbox.post(Stray { peer, local, ecn, octets: datagram.into() });
        Gauges::add(if is_taken { &gauges.handed_over } else { &gauges.overflowed });
        true
    }

    // True if there may be more.
    fn take_from_elsewhere(&mut self, now: Instant) -> bool {
        for count in 0..PASS {
            let Some(stray) = self.inbox.stray() else { break };
            self.on_datagram((stray.peer, stray.local, stray.ecn), &stray.octets, now);
            if count + 1 == PASS {
                return true;
            }
        }
        for _ in 0..PASS {
            let Some(handle) = self.inbox.told() else { return false };
            self.touch(handle);
        }
        true
    }

    fn take_due(&mut self, now: Instant) {
        while let Some((_, handle)) = self.timers.first().filter(|(at, _)| *at <= now) {
            let Some(entry) = self.entries.get_mut(&handle) else {
                self.timers.remove_first();
                continue;
            };
            if self.timers.take_due(handle, &mut entry.deadline, now) {
                entry.session.quic.handle_timeout(now.into_std());
                entry.whereabouts.on_deadline(entry.session.quic.remote_address());
                self.touch(handle);
            }
        }
    }

    fn touch(&mut self, handle: usize) {
        if let Some(entry) = self.entries.get_mut(&handle).filter(|entry| !entry.is_touched) {
            entry.is_touched = true;
            self.touched.push_back(handle);
        }
    }

    fn on_datagram(&mut self, (peer, local, ecn): Way, datagram: &[u8], now: Instant) {
        self.active_at = now;
        self.response.clear();
        let octets = BytesMut::from(datagram);
        let event =
            self.endpoint.handle(now.into_std(), peer, local, ecn, octets, &mut self.response);
        match event {
            Some(DatagramEvent::ConnectionEvent(handle, event)) => {
                if let Some(entry) = self.entries.get_mut(&handle.0) {
                    let quic = &mut entry.session.quic;
                    quic.handle_event(event);
                    let answers = || quic.stats().frame_rx.path_response;
                    entry.whereabouts.on_datagram(peer, quic.remote_address(), answers);
                }
                self.touch(handle.0);
            }
            Some(DatagramEvent::NewConnection(incoming)) => self.on_incoming(incoming, now),
            Some(DatagramEvent::Response(transmit)) => {
                self.wire.send_if_room(&transmit, &self.response);
            }
            None => {}
        }
    }

    // A first packet: taken, put off until the viewer has proved its address, refused or ignored.
    fn on_incoming(&mut self, incoming: Incoming, now: Instant) {
        let worker = Arc::clone(&self.serving.worker);
        let gauges = &worker.gauges.quic;
        self.response.clear();
        let knock = Knock {
            is_proved: incoming.remote_address_validated(),
            may_retry: incoming.may_retry(),
        };
        let door = door(self.half_open, self.serving.places.are_scarce(), knock);
        if door == Door::Silent {
            Gauges::add(&gauges.ignored);
            return self.endpoint.ignore(incoming);
        }
        if door == Door::Prove {
            if let Ok(transmit) = self.endpoint.retry(incoming, &mut self.response) {
                Gauges::add(&gauges.retried);
                self.wire.send_if_room(&transmit, &self.response);
            }
            return;
        }
        let is_refused = self.is_leaving || door == Door::Refused;
        let config = self.configure().filter(|_| !is_refused);
        let room = config.as_ref().map_or(Room::None, |_| self.serving.places.try_take());
        let (config, place) = match (config, room) {
            (Some(config), Room::Free(place)) => (config, place),
            // The viewer sends its first packet again, and then there is a place.
            (_, Room::Soon) => {
                Gauges::add(&gauges.ignored);
                return self.endpoint.ignore(incoming);
            }
            _ => {
                Gauges::add(&gauges.refused);
                let transmit = self.endpoint.refuse(incoming, &mut self.response);
                return self.wire.send_if_room(&transmit, &self.response);
            }
        };
        let (peer, local) = (incoming.remote_address(), incoming.local_ip());
        let accepted =
            self.endpoint.accept(incoming, now.into_std(), &mut self.response, Some(config));
        match accepted {
            Ok((handle, quic)) => {
                let site = Arc::clone(&worker.core.edge.running_cell().load().site);
                let connection = Connection {
                    id: worker.connection_id(),
                    peer,
                    local: SocketAddr::new(
                        local.unwrap_or_else(|| self.local.ip()),
                        self.local.port(),
                    ),
                    scheme: Scheme::Https,
                    tls: None,
                    place: site.geo.as_ref().map(|geo| Arc::new(geo.place(peer.ip()))),
                    asker: Asker::Viewer,
                };
                let waker = Told::waker(handle.0, &self.inbox);
                self.serving.places.wakes(place.ticket(), waker.clone());
                let setting = Setting { worker, site, connection, place, waker };
                self.add(handle.0, Session::new(quic, setting, now), peer);
            }
            Err(error) => {
                Gauges::add(&worker.gauges.handshakes_failed);
                if let Some(transmit) = error.response {
                    self.wire.send_if_room(&transmit, &self.response);
                }
            }
        }
    }

    fn add(&mut self, handle: usize, session: Session, peer: SocketAddr) {
        self.half_open += 1;
        self.serving.worker.gauges.quic.half_open.fetch_add(1, Ordering::Relaxed);
        let entry = Entry {
            session,
            whereabouts: Whereabouts::new(peer),
            deadline: Deadline::default(),
            is_touched: false,
            is_unsent: false,
            is_half_open: true,
        };
        self.entries.insert(handle, entry);
        self.touch(handle);
    }

    // Lets a connection act, and sends what it has.
    fn work_on(&mut self, handle: usize, now: Instant) {
        let Some(entry) = self.entries.get_mut(&handle) else { return };
        entry.is_touched = false;
        let tls = &self.serving.tls;
        let (mut has_more, mut is_gone) = (false, false);
        loop {
            let mut has_news = false;
            has_more |= entry.session.act(now, &mut self.buffers, |quic| facts(tls, quic));
            while let Some(event) = entry.session.quic.poll_endpoint_events() {
                is_gone |= event.is_drained();
                if let Some(event) = self.endpoint.handle_event(ConnectionHandle(handle), event) {
                    entry.session.quic.handle_event(event);
                    has_news = true;
                }
            }
            if !has_news {
                break;
            }
        }
        if entry.is_half_open && !entry.session.is_handshaking() {
            entry.is_half_open = false;
            self.half_open -= 1;
            self.serving.worker.gauges.quic.half_open.fetch_sub(1, Ordering::Relaxed);
        }
        has_more |= self.transmit(handle, now);
        self.arm(handle, is_gone);
        if has_more {
            self.touch(handle);
        }
    }

    // Sends what a connection has; true if there may be more.
    fn transmit(&mut self, handle: usize, now: Instant) -> bool {
        let Some(entry) = self.entries.get_mut(&handle) else { return false };
        if let Some((transmit, octets)) = entry.whereabouts.again(now.into_std()) {
            Gauges::add(&self.serving.worker.gauges.quic.said_again);
            self.wire.send_if_room(&transmit, octets);
        }
        for _ in 0..CALLS {
            if self.wire.is_full() {
                if !std::mem::replace(&mut entry.is_unsent, true) {
                    self.unsent.push_back(handle);
                }
                return false;
            }
            self.datagrams.clear();
            let segments = self.wire.segments().min(SEGMENTS);
            let Some(transmit) =
                entry.session.quic.poll_transmit(now.into_std(), segments, &mut self.datagrams)
            else {
                return false;
            };
            Gauges::add(&self.serving.worker.gauges.quic.sent);
            let when = (entry.session.quic.rtt(), now.into_std());
            entry.whereabouts.on_sent(&transmit, &self.datagrams, when);
            self.wire.send(transmit, &self.datagrams);
        }
        true
    }

    // Notes when a connection is to be looked at next, or forgets it.
    fn arm(&mut self, handle: usize, is_gone: bool) {
        let Some(entry) = self.entries.get_mut(&handle) else { return };
        let timeout = entry.session.quic.poll_timeout().map(Instant::from_std);
        let again = entry.whereabouts.due().map(Instant::from_std);
        let due = [timeout, entry.session.next_look(), again].into_iter().flatten().min();
        if is_gone {
            self.timers.forget(handle, &mut entry.deadline);
            self.entries.remove(&handle);
        } else {
            self.timers.set(handle, &mut entry.deadline, due);
        }
    }

    // The first deadline of all.
    fn first_due(&mut self) -> Option<Instant> {
        loop {
            let (at, handle) = self.timers.first()?;
            let Some(entry) = self.entries.get_mut(&handle) else {
                self.timers.remove_first();
                continue;
            };
            if self.timers.is_in_place(handle, &mut entry.deadline) {
                return Some(at);
            }
        }
    }

    fn sleep_until_due(&mut self, cx: &mut Context<'_>, now: Instant) {
        let Some(at) = self.first_due() else { return };
        let is_lively = now - self.active_at < LIVELY;
        if at <= now || (is_lively && at - now < NEAR) {
            return yield_to_others(cx);
        }
        // Timers are late by up to a millisecond.
        let until = if is_lively { at - NEAR } else { at };
        self.sleep.as_mut().reset(until);
        if self.sleep.as_mut().poll(cx).is_ready() {
            yield_to_others(cx);
        }
    }
}

/// Where a datagram came from, where it went to, and what the network said of it.
type Way = (SocketAddr, Option<IpAddr>, Option<EcnCodepoint>);

// Has the task polled again once others, and the sockets, have had their turn.
fn yield_to_others(cx: &mut Context<'_>) {
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

fn server_config(
    tls: Arc<rustls::ServerConfig>,
    keys: &Keys,
    limits: &Limits,
) -> Result<Arc<ServerConfig>, &'static str> {
    let crypto = QuicServerConfig::try_from(tls).map_err(|_| "no cipher suite for QUIC")?;
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(limits.streams.into())
        .max_concurrent_uni_streams(UNI_STREAMS.into())
        .max_idle_timeout(IdleTimeout::try_from(limits.idle).ok())
        .stream_receive_window(STREAM_WINDOW.into())
        .receive_window(CONNECTION_WINDOW.into())
        .send_window(SEND_WINDOW)
        .datagram_receive_buffer_size(None);
    let mut config = ServerConfig::new(Arc::new(crypto), keys.token());
    config
        .transport_config(Arc::new(transport))
        .max_incoming(INCOMING)
        .incoming_buffer_size(INCOMING_OCTETS)
        .incoming_buffer_size_total(INCOMING_ALL);
    Ok(Arc::new(config))
}

// What the handshake settled, as far as it is told.
fn facts(tls: &ArcSwap<Option<ServerTls>>, quic: &quinn_proto::Connection) -> Option<TlsFacts> {
    let session = quic.crypto_session();
    let settled = session.handshake_data()?.downcast::<HandshakeData>().ok()?;
    let shown = session
        .peer_identity()
        .and_then(|shown| shown.downcast::<Vec<CertificateDer<'static>>>().ok());
    let tls = tls.load();
    let names = (**tls).as_ref()?.names_of(settled.server_name.as_deref())?;
    Some(TlsFacts {
        names,
        server_name: settled.server_name,
        version: "TLSv1.3",
        cipher: "-",
        is_resumed: false,
        hello: None,
        client: clients::names(shown.as_ref().map(|shown| &shown[..])),
        // No rule is held over QUIC: a host that has one refuses what comes by it.
        rule: None,
        certificate: None,
    })
}
