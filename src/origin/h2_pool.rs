//! Connections over HTTP/2 to one origin, kept by each core for itself, by the name each was made
//! for. A request takes a stream on one that is open, or waits until one has room or another is
//! made; those that find none wait for the same one.
//!
//! A connection has a place among those in use for as long as it carries requests. It lives in one
//! task, which makes it, drives it, asks whether the other side is still there, and ends it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::h2::SendStream;
use ::h2::client::{ResponseFuture, SendRequest};
use bytes::Bytes;
use http::Request;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

use super::connect::{Effort, Endpoint, Resolver, Stream, permit};
use super::counts::{OriginCounts, Present};
use super::h2_driver::{Driven, Keeper, drive};
use super::h2_link::Link;
use super::h2_wire::{Heard, STREAMS_MAX, Watched, builder};
use super::idle::NAMES_MAX;
use crate::distribution::origin::Origin;
use crate::message::failure::{Failure, FailureKind};

/// Requests that may wait under one name.
const WAITING_MAX: usize = 4096;

/// How long an origin that chose HTTP/1.1 is asked over that.
const HTTP1_FOR: Duration = Duration::from_secs(600);

/// What a request is to be asked over.
pub enum Granted {
    Stream(Lease),
    /// HTTP/1.1, as the origin chose; the connection over which it did, for one of those who
    /// waited.
    Http1(Option<Stream>),
}

type Told = Result<Granted, Failure>;

/// A request that waits for room.
struct Waiter {
    number: u64,
    origin: Arc<Origin>,
    tell: oneshot::Sender<Told>,
}

/// What there is under one name.
#[derive(Default)]
struct Named {
    links: Vec<Link>,
    /// Connections that are being made, or have not said yet how many requests they take.
    dials: usize,
    /// How many the last one took.
    streams: Option<usize>,
    waiting: VecDeque<Waiter>,
    /// The number of the next who waits.
    next: u64,
    http1_until: Option<Instant>,
}

impl Named {
    fn is_at_rest(&self) -> bool {
        self.waiting.is_empty() && self.dials == 0 && self.links.iter().all(|link| link.open == 0)
    }

    fn link(&mut self, id: u64) -> Option<&mut Link> {
        self.links.iter_mut().find(|link| link.id == id)
    }

    // To the first who still waits.
    fn give(&mut self, mut lease: Lease) {
        while let Some(waiter) = self.waiting.pop_front() {
            match waiter.tell.send(Ok(Granted::Stream(lease))) {
                Ok(()) => return,
                Err(Ok(Granted::Stream(back))) => lease = back,
                Err(_) => return,
            }
        }
        if let Some(link) = self.link(lease.link) {
            link.open -= 1;
        }
        lease.withdraw();
    }

    fn refuse(&mut self, before: u64, failure: &Failure) {
        while self.waiting.front().is_some_and(|waiter| waiter.number < before) {
            if let Some(waiter) = self.waiting.pop_front() {
                let _ = waiter.tell.send(Err(failure.clone()));
            }
        }
    }

    fn go_over_http1(&mut self, stream: Stream) {
        self.http1_until = Some(Instant::now() + HTTP1_FOR);
        let mut stream = Some(stream);
        for waiter in self.waiting.drain(..) {
            if let Err(Ok(Granted::Http1(back))) =
                waiter.tell.send(Ok(Granted::Http1(stream.take())))
            {
                stream = back;
            }
        }
    }

    // The connections to be made: as many as those who wait will fill beside those that are being
    // made already. None where one lies idle and the origin lets nothing begin on it.
    fn wanted(&mut self, name: &Arc<str>) -> Vec<Dial> {
        while self.waiting.front().is_some_and(|waiter| waiter.tell.is_closed()) {
            self.waiting.pop_front();
        }
        let mut dials = Vec::new();
        let Some(first) = self.waiting.front() else { return dials };
        if self.links.iter_mut().any(|link| link.open == 0 && link.is_good() && !link.has_room()) {
            return dials;
        }
        let streams = self.streams.unwrap_or(STREAMS_MAX);
        while self.waiting.len() > self.dials * streams {
            self.dials += 1;
            let (name, origin) = (Arc::clone(name), Arc::clone(&first.origin));
            dials.push(Dial { name, origin, before: self.next });
        }
        dials
    }
}

/// The names, the one that was asked for last at the end.
#[derive(Default)]
struct Names {
    list: Vec<(Arc<str>, Named)>,
    next_link: u64,
}

impl Names {
    fn find(&mut self, name: &Arc<str>) -> Option<&mut Named> {
        self.list.iter_mut().find(|(known, _)| known == name).map(|(_, named)| named)
    }

    // Makes room at the cost of the name at rest that was asked for longest ago.
    fn entry(&mut self, name: &Arc<str>) -> &mut Named {
        match self.list.iter().rposition(|(known, _)| known == name) {
            Some(at) => self.list[at..].rotate_left(1),
            None => {
                if self.list.len() >= NAMES_MAX
                    && let Some(at) = self.list.iter().position(|(_, named)| named.is_at_rest())
                {
                    self.list.remove(at);
                }
                self.list.push((Arc::clone(name), Named::default()));
            }
        }
        let last = self.list.len() - 1;
        &mut self.list[last].1
    }

    // One that lies idle ends where there are as many as there may be.
    fn make_room(&mut self, most: usize) {
        if self.list.iter().map(|(_, named)| named.links.len()).sum::<usize>() < most {
            return;
        }
        for (_, named) in &mut self.list {
            if let Some(at) = named.links.iter().position(|link| link.place.is_none()) {
                named.links.remove(at);
                return;
            }
        }
    }
}

/// The connections to one origin.
pub struct H2Pool {
    place: Endpoint,
    gate: Arc<Semaphore>,
    /// The most that lie here, and the size of the gate.
    connections: usize,
    /// How long one without requests is kept.
    patience: Duration,
    head_bytes: usize,
    resolver: Arc<Resolver>,
    counts: Arc<OriginCounts>,
    names: Mutex<Names>,
}

/// What a pool has of the core and of its origin.
pub struct Reached {
    /// Where, with TLS settings that offer HTTP/2.
    pub place: Endpoint,
    pub gate: Arc<Semaphore>,
    pub resolver: Arc<Resolver>,
    pub counts: Arc<OriginCounts>,
    pub head_bytes: usize,
}

impl H2Pool {
    /// A pool without connections.
    pub fn new(origin: &Origin, reached: Reached) -> Arc<Self> {
        let Reached { place, gate, resolver, counts, head_bytes } = reached;
        let (connections, patience) = (origin.connections, origin.timeouts.idle);
        let names = Mutex::default();
        Arc::new(Self { place, gate, connections, patience, head_bytes, resolver, counts, names })
    }

    /// True if no connection lies here, and none is being made.
    pub fn is_empty(&self) -> bool {
        let names = self.names.lock();
        names.list.iter().all(|(_, named)| named.is_at_rest() && named.links.is_empty())
    }

    /// Octets of one head, more are refused.
    pub const fn head_bytes(&self) -> usize {
        self.head_bytes
    }

    /// Whether it is reached over TLS.
    pub const fn is_tls(&self) -> bool {
        self.place.tls.is_some()
    }

    /// What is counted.
    pub fn counts(&self) -> &OriginCounts {
        &self.counts
    }

    /// The origin wants to be asked over HTTP/1.1 under this name.
    pub fn prefer_http1(&self, name: &Arc<str>) {
        self.names.lock().entry(name).http1_until = Some(Instant::now() + HTTP1_FOR);
    }

    /// A stream for a request that goes to `name`, as soon as there is one.
    pub async fn lease(self: &Arc<Self>, name: &Arc<str>, origin: &Arc<Origin>) -> Told {
        let (told, dials) = {
            let mut names = self.names.lock();
            let named = names.entry(name);
            if named.http1_until.is_some_and(|until| Instant::now() < until) {
                return Ok(Granted::Http1(None));
            }
            if named.waiting.is_empty()
                && let Some(lease) = self.reserve(name, named)
            {
                return Ok(Granted::Stream(lease));
            }
            if named.waiting.len() >= WAITING_MAX {
                let why = format!("{WAITING_MAX} requests to origin {:?} wait already", origin.id);
                return Err(Failure::new(FailureKind::ConnectionLimit, why));
            }
            let (tell, told) = oneshot::channel();
            let (number, origin) = (named.next, Arc::clone(origin));
            named.waiting.push_back(Waiter { number, origin, tell });
            named.next += 1;
            (told, named.wanted(name))
        };
        self.start(dials);
        let _waiting = Present::new(&self.counts.waiting);
        // For a place, and for each attempt to connect.
        let patience = origin.timeouts.connect * (origin.attempts + 1);
        match tokio::time::timeout(patience, told).await {
            Ok(Ok(told)) => told,
            Ok(Err(_)) => Err(Failure::internal("who would have told was dropped")),
            Err(_) => {
                let why = format!("no room on a connection to origin {:?}", origin.id);
                Err(Failure::new(FailureKind::ConnectionLimit, why))
            }
        }
    }

    // On a connection that carries others first, so that the rest come to rest.
    fn reserve(self: &Arc<Self>, name: &Arc<str>, named: &mut Named) -> Option<Lease> {
        named.links.retain_mut(|link| link.stays(self.patience));
        let busy = named.links.iter_mut().position(|link| link.open > 0 && link.has_room());
        let at = busy.or_else(|| {
            named.links.iter_mut().position(|link| link.has_room() && link.take_place(&self.gate))
        })?;
        let link = &mut named.links[at];
        let is_fresh = !std::mem::replace(&mut link.is_used, true);
        link.open += 1;
        self.counts.streams.fetch_add(1, Ordering::Relaxed);
        Some(Lease {
            pool: Arc::clone(self),
            name: Arc::clone(name),
            link: link.id,
            send: link.send.clone(),
            is_fresh,
            end: End::Unused,
            is_out: true,
        })
    }

    // What has become free goes to those who wait, in their order.
    fn hand_out(self: &Arc<Self>, name: &Arc<str>, named: &mut Named) -> Vec<Dial> {
        while !named.waiting.is_empty()
            && let Some(lease) = self.reserve(name, named)
        {
            named.give(lease);
        }
        named.links.iter_mut().filter(|link| link.open == 0).for_each(|link| link.place = None);
        named.wanted(name)
    }

    fn release(self: &Arc<Self>, name: &Arc<str>, id: u64, end: End) {
        self.change(name, |named| {
            if let Some(link) = named.link(id) {
                link.open -= 1;
                link.cut += u32::from(end == End::Cut);
                link.idle_since = Instant::now();
            }
        });
    }

    // Changes what there is under a name, and acts on it. Nothing that takes this lock when it is
    // dropped may be dropped by `how`.
    fn change(self: &Arc<Self>, name: &Arc<str>, how: impl FnOnce(&mut Named)) {
        let dials = {
            let mut names = self.names.lock();
            let Some(named) = names.find(name) else { return };
            how(named);
            self.hand_out(name, named)
        };
        self.start(dials);
    }

    // Not under the lock: a core that ends drops what is begun on it at once.
    fn start(self: &Arc<Self>, dials: Vec<Dial>) {
        for dial in dials {
            if let Ok(core) = Handle::try_current() {
                core.spawn(dial.run(Arc::clone(self)));
            }
        }
    }

    // A place for a connection that lacked it, and nothing else. It comes back if there is none
    // such, and is not needed where nobody waits any more.
    fn revive(&self, name: &Arc<str>, place: OwnedSemaphorePermit) -> Option<OwnedSemaphorePermit> {
        let mut names = self.names.lock();
        let named = names.find(name)?;
        if named.waiting.iter().all(|waiter| waiter.tell.is_closed()) {
            return None;
        }
        match named.links.iter_mut().find_map(|link| link.rests().then_some(link)) {
            Some(link) => {
                link.place = Some(place);
                None
            }
            None => Some(place),
        }
    }

    // Enters a connection; its number.
    fn enter(&self, name: &Arc<str>, send: SendRequest<Bytes>, place: OwnedSemaphorePermit) -> u64 {
        let mut names = self.names.lock();
        names.make_room(self.connections);
        let id = names.next_link;
        names.next_link += 1;
        names.entry(name).links.push(Link::new(id, send, place));
        id
    }

    async fn make(&self, name: &Arc<str>, origin: &Origin) -> Result<Made, Failure> {
        let place = permit(&self.gate, origin).await?;
        let Some(place) = self.revive(name, place) else { return Ok(Made::Place) };
        let patience = origin.timeouts.connect;
        let effort = Effort { attempts: origin.attempts, patience };
        let stream = self.resolver.reach(&self.place.named(name), effort).await?;
        OriginCounts::add(&self.counts.connections);
        if self.is_tls() && !stream.has_chosen_h2() {
            return Ok(Made::Http1(stream));
        }
        let heard = Arc::<Heard>::default();
        let watched = Watched::new(stream, Arc::clone(&heard));
        let begun = builder(self.head_bytes).handshake::<_, Bytes>(watched);
        let (send, connection) = match tokio::time::timeout(patience, begun).await {
            Ok(Ok(begun)) => begun,
            Ok(Err(error)) => {
                return Err(Failure::new(FailureKind::ConnectionTerminated, error.to_string()));
            }
            Err(_) => {
                let why = format!("{}:{} takes nothing", self.place.host, self.place.port);
                return Err(Failure::new(FailureKind::ConnectTimeout, why));
            }
        };
        OriginCounts::add(&self.counts.http2);
        let id = self.enter(name, send, place);
        Ok(Made::Link(id, Driven { connection: Box::new(connection), heard }))
    }
}

/// A connection that is to be made.
struct Dial {
    name: Arc<str>,
    origin: Arc<Origin>,
    /// Whoever waits since before it was begun shares its failure.
    before: u64,
}

enum Made {
    /// A place for a connection that is there.
    Place,
    Http1(Stream),
    Link(u64, Driven),
}

impl Dial {
    // From the first attempt to the connection's end.
    async fn run(self, pool: Arc<H2Pool>) {
        let Self { name, origin, before } = self;
        let dialing = Dialing { pool: Arc::clone(&pool), name, before, is_over: false };
        let made = pool.make(&dialing.name, &origin).await;
        let patience = origin.timeouts.connect;
        // A configuration that is gone is not held on to by the connections of its origins.
        drop(origin);
        match made {
            Ok(Made::Place) => dialing.end(|_, _| {}),
            Ok(Made::Http1(stream)) => dialing.end(|named, _| named.go_over_http1(stream)),
            Err(failure) => dialing.end(|named, before| named.refuse(before, &failure)),
            Ok(Made::Link(id, driven)) => {
                let name = Arc::clone(&dialing.name);
                let dialing = Some(dialing);
                let mut kept =
                    Kept { pool: Arc::clone(&pool), name: Arc::clone(&name), id, dialing };
                pool.change(&name, |_| {});
                let why = drive(driven, &mut kept, patience).await;
                pool.change(&name, |named| named.links.retain(|link| link.id != id));
                if let Some(dialing) = kept.dialing.take() {
                    let why = format!("{}:{}: {why}", pool.place.host, pool.place.port);
                    let failure = Failure::new(FailureKind::ConnectionTerminated, why);
                    dialing.end(|named, before| named.refuse(before, &failure));
                }
            }
        }
    }
}

/// A connection on its way: counted among those that are being made until that is over.
struct Dialing {
    pool: Arc<H2Pool>,
    name: Arc<str>,
    before: u64,
    is_over: bool,
}

impl Dialing {
    fn end(mut self, how: impl FnOnce(&mut Named, u64)) {
        self.is_over = true;
        let before = self.before;
        self.pool.change(&self.name, |named| {
            named.dials -= 1;
            how(named, before);
        });
    }
}

impl Drop for Dialing {
    fn drop(&mut self) {
        if !self.is_over {
            let failure = Failure::internal("a connection was given up while it was made");
            let before = self.before;
            self.pool.change(&self.name, |named| {
                named.dials -= 1;
                named.refuse(before, &failure);
            });
        }
    }
}

/// A connection in its place.
struct Kept {
    pool: Arc<H2Pool>,
    name: Arc<str>,
    id: u64,
    /// Until the origin has said how many requests it takes.
    dialing: Option<Dialing>,
}

impl Keeper for Kept {
    fn carried(&self) -> Option<usize> {
        let mut names = self.pool.names.lock();
        let named = names.find(&self.name)?;
        named.links.retain_mut(|link| link.stays(self.pool.patience));
        named.link(self.id).map(|link| link.open)
    }

    fn takes(&mut self, streams: usize) {
        let streams = streams.clamp(1, STREAMS_MAX);
        match self.dialing.take() {
            Some(dialing) => dialing.end(|named, _| named.streams = Some(streams)),
            None => self.pool.change(&self.name, |named| named.streams = Some(streams)),
        }
    }
}

/// How a request came off its stream.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Unused,
    /// The whole answer came.
    Whole,
    /// It was given up before.
    Cut,
}

/// Room for one request on a connection; given back when dropped.
pub struct Lease {
    pool: Arc<H2Pool>,
    name: Arc<str>,
    link: u64,
    send: SendRequest<Bytes>,
    is_fresh: bool,
    end: End,
    is_out: bool,
}

impl Lease {
    /// Says whether the connection has carried no request before.
    pub const fn is_fresh(&self) -> bool {
        self.is_fresh
    }

    /// Sends a request's head; `ends` if nothing follows it.
    pub fn open(
        &mut self,
        head: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), ::h2::Error> {
        let opened = self.send.send_request(head, ends)?;
        self.end = End::Cut;
        Ok(opened)
    }

    /// The whole answer came.
    pub const fn finish(&mut self) {
        self.end = End::Whole;
    }

    // The table has taken it back already.
    fn withdraw(mut self) {
        self.is_out = false;
        self.pool.counts.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.is_out {
            self.pool.counts.streams.fetch_sub(1, Ordering::Relaxed);
            self.pool.release(&self.name, self.link, self.end);
        }
    }
}
