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
    // The second stands in presigned URLs of temporary credentials.
    const NAMES: [&[u8]; 2] = [b"Signature=", b"X-Amz-Security-Token="];
    let next = |text: &[u8]| NAMES.iter().filter_map(|name| Some(memchr::memmem::find(text, name)? + name.len())).min();
    if next(text).is_none() {
        return text.into();
    }
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let Some(at) = next(rest) {
        out.extend_from_slice(&rest[..at]);
        out.push(b'-');
        rest = &rest[at..];
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
    /// Of these, until the answer's head was composed.
    pub head_micros: u64,
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
    pub cut: Option<Cut>,
}

/// The status that is noted where a viewer left before there was an answer.
pub const GONE: u16 = 499;

/// Who broke an answer off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// It is gone, or took nothing any more.
    ByViewer,
    /// Or whoever else makes bodies: a disk, an encoder.
    ByOrigin,
}

impl Record<'_> {
    /// Microseconds until the origin's head came; its clock is a coarser one, and never ahead of ours.
    pub fn origin_micros(&self) -> Option<u64> {
        self.origin_millis.map(|millis| (millis * 1000).min(self.micros))
    }
}
