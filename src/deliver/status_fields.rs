//! The fields in which this edge says what it did: X-Cache, Cache-Status and, on errors,
//! Proxy-Status.

use super::compat;
use super::sink::FieldSink;
use crate::distribution::compat::Compat;
use crate::message::failure::FailureKind;
use crate::message::request::RequestId;
use crate::message::response::{Told, ViewerResponse};
use crate::message::verdict::{Outcome, Verdict};
use crate::semantics::cache_status::{self, Handled};
use crate::semantics::fields::{FieldSection, Marks, WriteValue};

/// What is said once: an upstream that says it, too, speaks of its own request.
const OURS: [&str; 3] = ["x-cache", "x-amz-cf-pop", "x-amz-cf-id"];

/// What is told.
pub struct StatusFields<'a> {
    pub verdict: Verdict,
    pub told: Told,
    /// How the distribution names itself.
    pub compat: &'a Compat,
    /// The status that goes out.
    pub status: u16,
    pub id: RequestId,
}

impl StatusFields<'_> {
    /// Writes the fields; Cache-Status joins what others upstream have said.
    #[inline]
    pub fn write<S: FieldSink>(&self, sink: &mut S) {
        let word = match self.verdict.by_code() {
            Some(end) => end.word(),
            None => compat::shown(self.compat, self.verdict.outcome, self.status).word(),
        };
        write_x_cache(sink, word, &self.compat.name);
        sink.ours("Cache-Status", CacheStatus(self));
        if let Some(kind) = self.told.detail {
            sink.field("Proxy-Status", ["Foreshore; error=", kind.token()]);
        }
        compat::write(self.compat, self.id, sink);
    }

    fn handled(&self) -> Handled {
        match self.verdict.reason.forward() {
            None if self.verdict.outcome == Outcome::Hit
                || self.verdict.outcome == Outcome::RefreshHit =>
            {
                Handled::Hit { ttl: self.told.ttl }
            }
            None => Handled::Neither,
            // No upstream was asked: that is what the viewer wanted.
            _ if self.told.detail == Some(FailureKind::NotStored) => Handled::Neither,
            forward => Handled::Forwarded {
                why: forward.unwrap_or(cache_status::Forward::Bypass),
                status: self.told.upstream,
                stored: self.verdict.stored,
                collapsed: self.verdict.collapsed,
            },
        }
    }
}

struct CacheStatus<'a>(&'a StatusFields<'a>);

impl WriteValue for CacheStatus<'_> {
    fn write_value(&self, out: &mut Vec<u8>) {
        let told = &self.0.told;
        let unproven = told.is_unproven.then_some("unproven");
        let unspread = told.is_unspread.then_some("not-everywhere");
        let detail = told.detail.map(FailureKind::token).or(unproven).or(unspread);
        cache_status::write(out, self.0.handled(), detail);
    }
}

/// Writes X-Cache: what became of the request, in a word, and at which cache.
#[inline]
pub fn write_x_cache<S: FieldSink>(sink: &mut S, word: &str, name: &str) {
    sink.ours("X-Cache", [word, " from ", name]);
}

/// Takes away what is said once, by us.
pub fn without_ours(fields: &mut FieldSection) {
    const MARKS: Marks = Marks::of(&OURS);
    if fields.may_have(MARKS) {
        for name in OURS {
            fields.remove(name);
        }
    }
}

/// Gives an answer the fields in which this edge says what it did.
pub fn tell(response: &mut ViewerResponse, compat: &Compat, id: RequestId) {
    let ViewerResponse { verdict, told, status, .. } = *response;
    // What another edge said of its own request is no news of ours.
    without_ours(&mut response.fields);
    StatusFields { verdict, told, compat, status, id }.write(&mut response.fields);
}
