//! Every bound of the process, on one page. Nothing grows without one of these stopping it.

use std::time::Duration;

/// What a viewer, an origin or an operator may make us hold or wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Request line and fields; CloudFront's 20,480. More is 431.
    pub head_bytes: usize,
    /// The request target; CloudFront's 8,192. More is 414.
    pub url_bytes: usize,
    /// Fields of one request; more is 431.
    pub fields: usize,
    /// Octets of a request body; more is 413.
    pub request_body: u64,
    /// Open viewer connections over all listeners, as far as descriptors allow; beyond it the
    /// longest idle make room, and where none is idle, more wait in the kernel's queue.
    pub connections: usize,
    /// Concurrent streams of one HTTP/2 connection.
    pub streams: u32,
    /// From accept to the end of the TLS handshake.
    pub handshake: Duration,
    /// From the first octet of a head to its last; an absolute deadline.
    pub head_time: Duration,
    /// From one request of a connection to the next; then the connection is closed.
    pub idle: Duration,
    /// Between two pieces of a request body, and how long a viewer may take no octet of an answer.
    pub stall: Duration,
    /// Fills under way at a time; more go to the origin without being kept.
    pub fills: usize,
    /// Tunnels (WebSocket) at a time; more are 503.
    pub tunnels: usize,
    /// How long a tunnel may carry no octet.
    pub tunnel_idle: Duration,
    /// Requests that wait for one fill; more go alone.
    pub followers: usize,
    /// How long a follower waits for a head before it goes alone.
    pub follower_wait: Duration,
    /// Variants kept under one key; the oldest makes room.
    pub variants: usize,
    /// Keys remembered as uncacheable, so that requests for them do not queue.
    pub pass_marks: usize,
    /// How long such a mark lasts.
    pub pass_mark_time: Duration,
    /// How many octets the slowest reader of a response that is not kept may fall behind.
    pub relay_window: usize,
    /// Octets of an origin's response head, interim ones too; more is 502.
    pub origin_head_bytes: usize,
    /// Invalidations held as separate entries; beyond it the oldest are folded into one for
    /// everything.
    pub invalidations: usize,
    /// Octets of an admin request body.
    pub admin_body: usize,
    /// Access-log bytes that may wait for the disk; more is dropped and counted.
    pub log_queue: usize,
    /// How long a drain may take before connections are cut.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes: 20_480,
            url_bytes: 8_192,
            fields: 128,
            request_body: 50 << 30,
            connections: 16_384,
            streams: 128,
            handshake: Duration::from_secs(10),
            head_time: Duration::from_secs(10),
            idle: Duration::from_secs(60),
            stall: Duration::from_secs(30),
            fills: 4_096,
            tunnels: 10_000,
            tunnel_idle: Duration::from_secs(600),
            followers: 20_000,
            follower_wait: Duration::from_secs(35),
            variants: 64,
            pass_marks: 100_000,
            pass_mark_time: Duration::from_secs(120),
            relay_window: 1 << 20,
            origin_head_bytes: 65_536,
            invalidations: 1_000_000,
            admin_body: 1 << 20,
            log_queue: 8 << 20,
            drain: Duration::from_secs(30),
        }
    }
}

/// Room for this many fields of a request on the stack; the configured limit may be lower.
pub const FIELDS_MAX: usize = 128;
