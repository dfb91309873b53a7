//! Bytes become requests: sockets, PROXY headers, TLS and SNI, HTTP/1, HTTP/2 and HTTP/3.
//!
//! HTTP/1 to viewers is all ours: one head parser, one body decoder, one writer, one place that
//! says a connection may be used again. So is HTTP/2, one poll for all a connection does, and
//! HTTP/3, over the QUIC of a crate that neither waits nor sends. All try the hit step before
//! anything waits.

pub mod accept;
mod exchange_log;
pub mod h1;
pub mod h2;
#[cfg(feature = "http3")]
pub mod h3;
pub mod message;
pub mod places;
pub mod proxy_protocol;
#[cfg(feature = "http3")]
pub mod quic;
mod stream_request;
mod traced;
mod tunnels;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::BytesMut;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{Duration, Instant, timeout, timeout_at};

use crate::distribution::logs::{CloudFrontLogs, RealtimeChoice};
use crate::message::connection::ConnectionId;
use crate::message::request::RequestId;
use crate::proxy::{Proxy, Running};
use crate::record::Record;
use crate::record::cloudfront_fields::{Answered, Asked, Pop};
use crate::record::queue::{LogBuffer, LogQueue};
use crate::tls::viewer_rule::HandshakeRefusal;

/// One core's part of the edge, as connections see it.
pub struct Worker {
    pub core: Arc<Proxy>,
    /// Requests are counted from a number that no other worker or process has begun with.
    ids: AtomicU64,
    pub index: usize,
    log: Mutex<LogBuffer>,
    queue: Arc<LogQueue>,
    /// Buffers between two requests: the few that are in use stay in the core's cache, and an idle
    /// connection has none.
    spare: Mutex<Vec<Buffers>>,
    pub gauges: Arc<Gauges>,
    /// Turns true when the edge drains.
    pub draining: watch::Receiver<bool>,
}

/// What a connection reads into and composes in.
#[derive(Default)]
pub struct Buffers {
    pub read: BytesMut,
    pub out: Vec<u8>,
    pub key: Vec<u8>,
    /// For HTTP/2: a block's fields, the cookie they make.
    pub list: h2::hpack::decode::FieldList,
    pub cookies: Vec<u8>,
}

/// Buffers that a core keeps for the next connection: as many as may wait for origins at once.
const SPARE: usize = 64;
/// Larger ones are not worth keeping.
const SPARE_MAX: usize = 128 * 1024;

/// Ends a connection. Octets that the viewer still sends are read until none came for a second,
/// five seconds and a mebibyte at most: a reset would destroy our last words.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(io: &mut S) {
    if timeout(Duration::from_secs(2), io.shutdown()).await.is_err() {
        return;
    }
    let end = Instant::now() + Duration::from_secs(5);
    let (mut waste, mut left) = (vec![0; 4096], 1usize << 20);
    let until = || end.min(Instant::now() + Duration::from_secs(1));
    while let Ok(Ok(n)) = timeout_at(until(), io.read(&mut waste)).await {
        left = left.saturating_sub(n);
        if n == 0 || left == 0 {
            return;
        }
    }
}

/// Connections over all cores.
#[derive(Default)]
pub struct Gauges {
    pub connections: AtomicUsize,
    pub accepted: AtomicU64,
    pub handshakes_failed: AtomicU64,
    /// Of these, those that a rule of ours ended, in the order of `HandshakeRefusal::ALL`.
    pub refused: [AtomicU64; HandshakeRefusal::ALL.len()],
    pub resumed: AtomicU64,
    pub bad_requests: AtomicU64,
    pub timeouts: AtomicU64,
    pub at_limit: AtomicU64,
    /// Connections that were ended while idle to make room for others.
    pub idle_closed: AtomicU64,
    pub quic: QuicGauges,
}

/// What became of QUIC's datagrams and first packets, over all cores.
#[derive(Default)]
pub struct QuicGauges {
    /// Datagrams that came.
    pub received: AtomicU64,
    /// Calls that sent datagrams, several at once where the kernel takes them so.
    pub sent: AtomicU64,
    /// Datagrams that came to another core than their connection's, and were handed over.
    pub handed_over: AtomicU64,
    /// The same, dropped because that core had too many waiting.
    pub overflowed: AtomicU64,
    /// Viewers that had to prove their address first.
    pub retried: AtomicU64,
    /// Viewers that were refused at once.
    pub refused: AtomicU64,
    /// First packets that were left unanswered.
    pub ignored: AtomicU64,
    /// Sockets that had to stop sending several datagrams in one call.
    pub gso_lost: AtomicU64,
    /// Datagrams that were sent once more to a viewer whose port had changed.
    pub said_again: AtomicU64,
    /// Handshakes under way.
    pub half_open: AtomicUsize,
}

/// One of the connections that are counted, until it is dropped.
pub struct Counted(Arc<Worker>);

impl Counted {
    /// One more.
    pub fn new(worker: &Arc<Worker>) -> Self {
        worker.gauges.connections.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(worker))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.gauges.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Gauges {
    /// Raises a count.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Worker {
    /// A worker in front of a core.
    pub fn new(
        core: Arc<Proxy>,
        index: usize,
        queue: Arc<LogQueue>,
        gauges: Arc<Gauges>,
        draining: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let mut start = [0; 8];
        let _ = aws_lc_rs::rand::fill(&mut start);
        let ids = AtomicU64::new(u64::from_le_bytes(start));
        Arc::new(Self {
            core,
            index,
            ids,
            log: Mutex::new(LogBuffer::new(Arc::clone(&queue))),
            queue,
            spare: Mutex::default(),
            gauges,
            draining,
        })
    }

    /// Buffers to use until `give_back`.
    pub fn buffers(&self) -> Buffers {
        self.spare.lock().pop().unwrap_or_default()
    }

    /// Takes emptied buffers for the next connection that needs some.
    pub fn give_back(&self, buffers: Buffers) {
        if buffers.out.capacity() <= SPARE_MAX {
            let mut spare = self.spare.lock();
            if spare.len() < SPARE {
                spare.push(buffers);
            }
        }
    }

    /// A name for the next request.
    pub fn next_id(&self) -> RequestId {
        RequestId(self.ids.fetch_add(1, Ordering::Relaxed))
    }

    /// A name for the next connection.
    pub fn connection_id(&self) -> ConnectionId {
        ConnectionId::of(self.next_id().0)
    }

    /// Writes a finished request down. `running` is what it was answered under: a behavior's number
    /// means nothing elsewhere.
    pub fn record(&self, running: &Running, record: &Record<'_>) {
        running.counts.core(self.index).count(record);
        self.log.lock().add(record);
    }

    /// Says whether any log is written.
    pub fn is_logging(&self) -> bool {
        self.queue.is_logging()
    }

    /// What is wanted beside the access log.
    pub fn more_logs(&self) -> Option<Arc<CloudFrontLogs>> {
        self.queue.more()
    }

    /// Writes a finished request into the logs that are wanted beside.
    pub fn record_more(
        &self,
        running: &Running,
        wanted: &Arc<CloudFrontLogs>,
        record: &Record<'_>,
        asked: &Asked<'_>,
        answered: &Answered<'_>,
    ) {
        let mut distributions = running.site.distributions.iter();
        let is_cloudfront = distributions
            .any(|d| Some(d.id.as_str()) == record.distribution && d.compat.cloudfront.is_some());
        let place = Pop { pop: &running.site.pop, is_cloudfront };
        let ordinal = record.ordinal.filter(|_| !wanted.realtime.is_empty());
        let behavior = ordinal.and_then(|ordinal| running.site.behavior(ordinal));
        let usual = RealtimeChoice::Usual;
        let said = behavior.map_or(&usual, |(_, behavior)| &behavior.realtime_log);
        self.log.lock().add_more(wanted, record, asked, answered, place, said);
    }

    /// Hands collected log lines on.
    pub fn flush_log(&self) {
        self.log.lock().flush();
    }

    /// Says whether the edge is on its way out.
    pub fn is_draining(&self) -> bool {
        *self.draining.borrow()
    }
}
