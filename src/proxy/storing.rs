//! What is stored of a reply: the form in which it is, the place and the room that it takes, and
//! its body, which readers follow while it comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::collapse::{FillEnd, FillGuard};
use super::exchange::Exchange;
use super::shared_tier::Began;
use super::{Proxy, Tally};
use crate::body::compress::Compressed;
use crate::body::content::{PIECE_OVERHEAD, Room};
use crate::body::{Body, BodyError, Content, Writer};
use crate::cache::arrival::{StorePlan, strip_for_storage, withhold};
use crate::cache::ask::CacheRequest;
use crate::cache::lookup::{Lookup, worth};
use crate::message::failure::Failure;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::response::Reply;
use crate::message::stored::{Flags, Live, Stored, StoredHead};
use crate::message::verdict::NotKept;
use crate::semantics::coding::{may_encode, note_coding, vary_on_coding};
use crate::semantics::fields::FieldSection;
use crate::semantics::time::format_http_date;

/// What a response weighs in memory whose body stays in a file: that is held open for it.
const FILED_WEIGHT: u64 = 256 << 10;

/// A reply that may be stored, with what was known when it was asked for.
pub(super) struct Storable {
    pub keeping: StorePlan,
    pub reply: Reply,
    pub began: Began,
}

/// A response that is stored while its body still comes.
pub(super) struct Coming {
    stored: Arc<Stored>,
    body: Body,
    writer: Writer,
    began: Began,
}

impl Proxy {
    /// Stores a reply, and completes the wait of those who may have it; a reply that is not stored
    /// goes to its leader alone. What is still to come of its body is given back, for `keep_up`.
    pub(super) fn store(
        self: &Arc<Self>,
        marks: &PassMarks<'_>,
        key: &CacheKey,
        old: Option<Arc<Stored>>,
        brought: Storable,
        mut guard: FillGuard,
    ) -> Option<Coming> {
        let Storable { mut keeping, mut reply, began } = brought;
        let most = marks.exchange.running.site.store.max_object;
        let length = match length_to_store(&keeping, &mut reply, most) {
            Ok(length) => length,
            Err(why) => {
                marks.mark();
                guard.give_to_leader(why, reply);
                return None;
            }
        };
        if marks.exchange.shaped.is_some() {
            let hashes = marks.exchange.viewer_uri_hashes();
            keeping.tags = keeping.tags.iter().copied().chain(hashes).collect();
        }
        let mut fields = reply.fields.clone();
        guard.set_aside(withhold(&mut fields));
        let made = to_stored_form(marks.asked, &keeping, &mut reply, &mut fields, length);
        let (body, length) = match made {
            Ok(made) => made,
            Err(failure) => {
                guard.complete(FillEnd::Failed(failure));
                return None;
            }
        };
        let (content, growing) = self.content_of(body, length);
        let stored = Arc::new(assemble(key, keeping, reply.status, &fields, began.number, content));
        if !self.reserve(&stored, growing.is_some()) {
            let whole = || {
                stored
                    .content
                    .whole()
                    .map_or(Body::Empty, |octets| Body::Bytes(octets.to_vec().into()))
            };
            reply.body = growing.map_or_else(whole, |(body, _)| body);
            guard.give_to_leader(NotKept::StoreFull, reply);
            return None;
        }
        // Its front is held until every waiter has begun to read, or has left.
        let hold = growing.is_some().then(|| stored.content.read(None)).flatten();
        let is_newest = self.enter(&stored, old);
        if reply.is_stale() {
            // A parent's last word while the origin fails. It serves the waiters as a stored one of
            // our own would.
            self.note_stale_on_error(marks.asked, &stored);
            guard.complete_holding(FillEnd::StaleOnError(Arc::clone(&stored)), hold);
        } else {
            marks.unmark_if_shareable(&stored);
            guard.complete_holding(FillEnd::Kept(Arc::clone(&stored)), hold);
        }
        if let Some((body, writer)) = growing {
            return Some(Coming { stored, body, writer, began });
        }
        if is_newest {
            self.edge.write_behind(&stored);
            self.share(marks.exchange, &stored, began.stamp);
        }
        None
    }

    /// Stores the rest of a body as it comes.
    pub(super) async fn keep_up(&self, marks: &PassMarks<'_>, coming: Coming) {
        let Coming { stored, body, writer, began } = coming;
        if self.pump(marks, &stored, body, writer).await == Pumped::Kept {
            self.share(marks.exchange, &stored, began.stamp);
        }
    }

    // Where the octets of a body lie; with what is still to be written there, and by whom.
    fn content_of(
        &self,
        body: Body,
        length: Option<u64>,
    ) -> (Arc<Content>, Option<(Body, Writer)>) {
        match body {
            // A tunnel is no response that could come here.
            Body::Empty | Body::Tunnel(_) => (Content::complete(b""), None),
            // Its own allocation: the account must hold.
            Body::Bytes(bytes) => (Content::complete(&bytes), None),
            body @ (Body::Stored(_) | Body::Multipart(_) | Body::Wire(..)) => {
                let (content, writer) = Content::grow(length, self.edge.arena.as_ref());
                (content, Some((body, writer)))
            }
        }
    }

    // From here on lookups find it, in the place of the old one. True if it is the newest of its
    // key.
    fn enter(&self, stored: &Arc<Stored>, old: Option<Arc<Stored>>) -> bool {
        let is_newest = self.edge.store.insert(stored);
        if let Some(old) = old {
            // On the disk the new one takes the old one's place, once it is whole.
            if old.selector == stored.selector {
                self.edge.store.remove(&old);
            } else {
                self.edge.remove(&old);
            }
        }
        is_newest
    }

    // Takes the room that a response weighs at first; false if the store has no such room.
    fn reserve(&self, stored: &Stored, is_growing: bool) -> bool {
        let octets = if is_growing { 0 } else { stored.content.length().unwrap_or(0) };
        let weight = stored.weight(octets);
        let has_room = self.edge.store.reserve(weight).is_ok();
        if has_room {
            stored.live.accounted.store(weight, Ordering::Relaxed);
        } else {
            Tally::add(&self.edge.tally.not_stored_full);
        }
        has_room
    }

    // Streams a body into the store; one that outgrows it goes on as a window for the readers that
    // have begun.
    async fn pump(
        &self,
        marks: &PassMarks<'_>,
        stored: &Arc<Stored>,
        mut body: Body,
        mut writer: Writer,
    ) -> Pumped {
        let limits = &marks.exchange.running.site.limits;
        let max = marks.exchange.running.site.store.max_object;
        let mut kept = true;
        loop {
            let piece = match body.piece().await {
                None => break,
                Some(Ok(piece)) => piece,
                Some(Err(why)) => {
                    self.edge.remove(stored);
                    Tally::add(&self.edge.tally.fills_broken);
                    writer.break_off(why);
                    return Pumped::Lost;
                }
            };
            if kept {
                let more = (piece.len() + PIECE_OVERHEAD) as u64;
                // Evicted while it grew: from then on nothing of it is kept.
                let fits = writer.len() + piece.len() as u64 <= max;
                if !fits {
                    marks.mark();
                }
                if !fits || self.edge.store.grow(stored, more) != Ok(true) {
                    kept = false;
                    self.edge.remove(stored);
                    Tally::add(&self.edge.tally.not_stored_full);
                    writer.open_window(limits.relay_window);
                }
            }
            if !kept && !wait_for_room(&mut writer, limits.stall).await {
                writer.break_off(BodyError::Abandoned);
                return Pumped::Lost;
            }
            writer.push(&piece);
        }
        if !writer.finish() {
            self.edge.remove(stored);
            Tally::add(&self.edge.tally.fills_broken);
            return Pumped::Lost;
        }
        if !kept {
            return Pumped::Lost;
        }
        self.edge.store.settle_to(stored, stored.weight(stored.content.length().unwrap_or(0)));
        self.edge.write_behind(stored);
        Pumped::Kept
    }

    pub(super) fn freshen(
        &self,
        key: &CacheKey,
        old: &Arc<Stored>,
        keeping: StorePlan,
        fields: &FieldSection,
        number: InvalidationNumber,
    ) -> Arc<Stored> {
        let content = Arc::clone(&old.content);
        let fresh = Arc::new(assemble(key, keeping, old.status, fields, number, content));
        fresh.flags.uses.store(old.flags.uses.load(Ordering::Relaxed), Ordering::Relaxed);
        let is_filed = fresh.content.is_filed();
        let weight =
            fresh.weight(if is_filed { FILED_WEIGHT } else { fresh.content.length().unwrap_or(0) });
        // The old one leaves first, so that confirming a large response does not count it twice.
        self.edge.store.remove(old);
        if self.edge.store.reserve(weight).is_ok() {
            fresh.live.accounted.store(weight, Ordering::Relaxed);
            self.edge.store.insert(&fresh);
        }
        if is_filed {
            // Its body stays where it is, under the head it was written with: old by then, and
            // confirmed again. Unless that head would outlive this one.
            fresh.live.on_disk.store(old.live.on_disk.load(Ordering::Relaxed), Ordering::Relaxed);
            if fresh.born.0 + fresh.life.fresh < old.born.0 + old.life.fresh {
                self.edge.remove(old);
            }
        }
        self.edge.write_behind(&fresh);
        fresh
    }
}

/// What became of a body that was to be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pumped {
    Kept,
    /// It broke off, or has outgrown the store.
    Lost,
}

/// Remembers whether a key is worth waiting for.
pub(super) struct PassMarks<'a> {
    pub core: &'a Arc<Proxy>,
    pub key: &'a [u8],
    pub asked: &'a CacheRequest<'a>,
    pub exchange: &'a Exchange,
}

impl PassMarks<'_> {
    /// It is not: for a while its requests go alone.
    pub fn mark(&self) {
        let now = self.core.edge.clock.now();
        let until = now.plus(self.exchange.running.site.limits.pass_mark_time);
        self.core.edge.collapses.mark(self.key, until, now);
    }

    /// It is, unless what came is stale on arrival: that answers one request only, and the next
    /// ones must not queue for it.
    pub fn unmark_if_shareable(&self, stored: &Arc<Stored>) {
        let now = self.core.edge.clock.now();
        match worth(stored, now) {
            Lookup::Fresh(_) | Lookup::Stale(_) => self.core.edge.collapses.unmark(self.key),
            _ => self.mark(),
        }
    }
}

// How long a reply's body is, if that is known: its part and the store's limit hold it to that. Or
// why it is not stored.
fn length_to_store(
    keeping: &StorePlan,
    reply: &mut Reply,
    most: u64,
) -> Result<Option<u64>, NotKept> {
    let mut length = reply.body.length();
    if let Some(part) = keeping.part {
        let whole = part.span.len();
        if length.is_some_and(|len| len != whole) {
            return Err(NotKept::Partial);
        }
        // What comes without a length is held to what its Content-Range says.
        if length.is_none() {
            length = Some(whole);
            reply.body = std::mem::take(&mut reply.body).held_to(whole);
        }
    }
    if length.is_some_and(|len| len > most) { Err(NotKept::TooLarge) } else { Ok(length) }
}

// Brings a reply into the form that is stored: `fields` are to be stored of it, and the body is
// given back with its length. A reply that finds no room is handed over as it would have been kept.
fn to_stored_form(
    asked: &CacheRequest<'_>,
    keeping: &StorePlan,
    reply: &mut Reply,
    fields: &mut FieldSection,
    length: Option<u64>,
) -> Result<(Body, Option<u64>), Failure> {
    strip_for_storage(asked, fields);
    // RFC 9110 §6.6.1: a cache that keeps a response without a Date notes when it came.
    if !fields.contains(&http::header::DATE) {
        fields.insert(&http::header::DATE, format_http_date(reply.arrived_at));
    }
    if keeping.part.is_some() {
        fields.remove(&http::header::CONTENT_RANGE);
    }
    let is_encodable = !asked.routed.behavior.cache.compress.is_empty()
        && may_encode(reply.status, fields, length);
    if is_encodable && keeping.part.is_none() {
        // Others get it encoded.
        vary_on_coding(fields);
        vary_on_coding(&mut reply.fields);
    }
    let body = std::mem::take(&mut reply.body);
    let Some(coding) = keeping.coding.filter(|_| is_encodable) else { return Ok((body, length)) };
    let encoded = Compressed::new(body, coding)
        .map_err(|error| Failure::internal(format!("an encoder could not be made: {error}")))?;
    note_coding(fields, coding);
    note_coding(&mut reply.fields, coding);
    Ok((Body::Wire(Box::new(encoded), None), None))
}

/// Puts a response together as the store keeps it.
pub(super) fn assemble(
    key: &CacheKey,
    keeping: StorePlan,
    status: u16,
    fields: &FieldSection,
    number: InvalidationNumber,
    content: Arc<Content>,
) -> Stored {
    Stored {
        key: key.clone(),
        selector: keeping.selector,
        status,
        head: StoredHead::new(fields),
        born: keeping.born,
        came_aged: keeping.came_aged,
        date: keeping.date,
        life: keeping.life,
        asked_at: number,
        tags: keeping.tags.into(),
        part: keeping.part.map(Box::new),
        content,
        live: Live::default(),
        flags: Flags { own_tag_is_strong: keeping.own_tag_is_strong, ..Flags::default() },
    }
}

// False if the content has no reader any more.
async fn wait_for_room(writer: &mut Writer, stall: Duration) -> bool {
    loop {
        match tokio::time::timeout(stall, std::future::poll_fn(|cx| writer.poll_room(cx))).await {
            Ok(Room::Free) => return true,
            Ok(Room::Nobody) => return false,
            Err(_) => writer.lose_slowest(),
        }
    }
}
