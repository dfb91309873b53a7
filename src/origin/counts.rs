//! What is counted of the connections to origins, over all cores.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Counts since the start, and of now.
#[derive(Debug, Default)]
pub struct OriginCounts {
    /// Connections that were made.
    pub connections: AtomicU64,
    /// Those of them over which HTTP/2 is spoken.
    pub http2: AtomicU64,
    /// Requests over HTTP/2 that were asked once more: refused unread, or lost with a connection.
    pub again: AtomicU64,
    /// Requests over HTTP/2 under way now.
    pub streams: AtomicUsize,
    /// Requests that wait for room on such a connection now.
    pub waiting: AtomicUsize,
}

impl OriginCounts {
    /// Raises a count.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// One of those that are counted now, for as long as it lives.
pub struct Present<'c>(&'c AtomicUsize);

impl<'c> Present<'c> {
    /// Counts one.
    pub fn new(count: &'c AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Present<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
