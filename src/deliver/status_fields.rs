//! The fields in which this edge says what it did: X-Cache, Cache-Status and, on errors,
//! Proxy-Status.

use crate::semantics::fields::{By, FieldSection};

use super::{CACHE_STATUS, PROXY_STATUS, X_CACHE};
use crate::message::failure::FailureKind;
use crate::message::verdict::{Outcome, Verdict};
use crate::semantics::cache_status::{self, Handled};

/// What is told.
pub struct StatusFields<'a> {
    pub verdict: Verdict,
    /// `foreshore` or `cloudfront`.
    pub name: &'a str,
    /// Seconds of freshness left, negative when stale.
    pub ttl: i64,
    /// The status that came from upstream.
    pub status: Option<u16>,
    pub detail: Option<FailureKind>,
}

impl StatusFields<'_> {
    /// Writes the fields into a map; Cache-Status joins what others upstream have said.
    pub fn write(&self, fields: &mut FieldSection) {
        fields.insert(&X_CACHE, [self.verdict.outcome.word(), " from ", self.name]);
        let detail = self.detail.map(FailureKind::token);
        fields.append(
            &CACHE_STATUS,
            By(|out: &mut Vec<u8>| cache_status::write(out, self.handled(), detail)),
        );
        if let Some(kind) = self.detail {
            fields.append(&PROXY_STATUS, ["Foreshore; error=", kind.token()]);
        }
    }

    /// The same as HTTP/1 lines, for the hit step; `word` is X-Cache's. Allocates nothing beyond
    /// `out`.
    pub fn write_lines(&self, word: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(b"X-Cache: ");
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(b" from ");
        out.extend_from_slice(self.name.as_bytes());
        out.extend_from_slice(b"\r\nCache-Status: ");
        cache_status::write(out, self.handled(), self.detail.map(FailureKind::token));
        out.extend_from_slice(b"\r\n");
    }

    fn handled(&self) -> Handled {
        match self.verdict.reason.forward() {
            None if self.verdict.outcome == Outcome::Hit
                || self.verdict.outcome == Outcome::RefreshHit =>
            {
                Handled::Hit { ttl: self.ttl }
            }
            None => Handled::Neither,
            // Nobody was asked: that is what the viewer wanted.
            _ if self.detail == Some(FailureKind::NotStored) => Handled::Neither,
            forward => Handled::Forwarded {
                why: forward.unwrap_or(cache_status::Forward::Bypass),
                status: self.status,
                stored: self.verdict.stored,
                collapsed: self.verdict.collapsed,
            },
        }
    }
}
