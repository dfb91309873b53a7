//! What happened: one record a request, turned into an access-log line and into counters.
//!
//! Nothing here is read by a decision. The hot path writes a line into its core's buffer and raises its
//! core's counters; a thread of its own writes files.

pub mod access_log;
pub mod metrics;
pub mod more;
pub mod queue;
pub mod realtime_log;
pub mod standard_log;

use std::net::SocketAddr;

use crate::exchange::connection::{Scheme, Version};
use crate::exchange::failure::Failure;
use crate::exchange::verdict::Verdict;
use crate::semantics::time::Timestamp;

/// A query, a URL or a viewer's cookies as the log may have them: whoever reads it must not be able to ask again with its signatures.
pub fn without_signatures(text: &[u8]) -> std::borrow::Cow<'_, [u8]> {
    const NAME: &[u8] = b"Signature=";
    if memchr::memmem::find(text, NAME).is_none() {
        return text.into();
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = memchr::memmem::find(rest, NAME) {
        out.extend_from_slice(&rest[..at + NAME.len()]);
        out.push(b'-');
        rest = &rest[at + NAME.len()..];
        rest = &rest[memchr::memchr2(b'&', b';', rest).unwrap_or(rest.len())..];
    }
    out.extend_from_slice(rest);
    out.into()
}

/// One finished request.
pub struct Record<'r> {
    pub at: Timestamp,
    pub peer: SocketAddr,
    pub method: &'r str,
    pub scheme: Scheme,
    pub version: Version,
    pub host: &'r str,
    pub path: &'r str,
    pub query: Option<&'r str>,
    pub status: u16,
    /// Octets of body sent.
    pub bytes: u64,
    /// Octets of body received.
    pub received: u64,
    pub micros: u64,
    pub verdict: Verdict,
    pub distribution: Option<&'r str>,
    /// The behavior's pattern.
    pub behavior: Option<&'r str>,
    pub ordinal: Option<usize>,
    pub referer: Option<&'r [u8]>,
    pub user_agent: Option<&'r [u8]>,
    pub origin_millis: Option<u64>,
    pub failure: Option<&'r Failure>,
    /// The answer broke off before its end.
    pub aborted: bool,
}

impl Record<'_> {
    /// Microseconds until the origin's head came; its clock is a coarser one, and never ahead of ours.
    pub fn origin_micros(&self) -> Option<u64> {
        self.origin_millis.map(|millis| (millis * 1000).min(self.micros))
    }

    /// Microseconds until the first octet of the answer, as near as they are known: the origin's, or all of them.
    pub fn first_octet(&self) -> u64 {
        self.origin_micros().unwrap_or(self.micros)
    }
}
