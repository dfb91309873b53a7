//! What an origin answers: brought here once, judged, and kept or passed on.
//!
//! Its leader's task drives it until that viewer has its answer or leaves; what is left of it then
//! becomes a task of its own, so that no viewer takes another's answer along.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::collapse::{FillEnd, FillGuard, Waiter};
use super::exchange::Exchange;
use super::fill_place::FillPlace;
use super::shared_tier::Began;
use super::{Proxy, Tally};
use crate::base::spare::Spare;
use crate::body::compress::Compressed;
use crate::body::content::PIECE_OVERHEAD;
use crate::body::{Body, BodyError, Content, Writer};
use crate::cache::arrival::{
    Arrived, StorePlan, answers_conditions, on_arrival, strip_for_storage, withhold,
};
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Validity;
use crate::cache::lookup::may_stand_in;
use crate::message::failure::Failure;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::response::{Reply, ViewerResponse};
use crate::message::stored::{Live, Stored, StoredHead};
use crate::message::verdict::{NotKept, Reason};
use crate::origin::request::FetchKind;
use crate::semantics::coding::{may_encode, note_coding, vary_on_coding};
use crate::semantics::fields::FieldSection;
use crate::semantics::freshness::Exchanged;
use crate::semantics::ranges::Span;
use crate::semantics::time::format_http_date;

/// What a response weighs in memory whose body stays in a file: that is held open for it.
const FILED_WEIGHT: u64 = 256 << 10;

/// One fill, with everything it needs of its own.
pub(super) struct Job {
    pub exchange: Exchange,
    pub key: CacheKey,
    /// The key under which others wait.
    pub collapse_key: Spare,
    pub asking: FetchKind,
    pub guard: FillGuard,
    pub place: FillPlace,
    /// The part to ask for, if it is one.
    pub slice: Option<Span>,
}

/// Clears a stored response's "being refreshed" however the fill ends.
struct Refreshing(Option<Arc<Stored>>);

impl Drop for Refreshing {
    fn drop(&mut self) {
        if let Some(stored) = &self.0 {
            stored.live.refreshing.store(false, Ordering::Relaxed);
        }
    }
}

impl Proxy {
    /// Fetches once and lands the ticket whatever happens.
    pub(super) async fn fill(self: Arc<Self>, job: Job) {
        let Job { exchange, key, collapse_key, asking, guard, place, slice } = job;
        let _place = place;
        Tally::add(&self.edge.tally.fills);
        let head = exchange.request.head();
        let asked = exchange.asked(&head, key.as_bytes(), slice);
        let old = match &asking {
            FetchKind::Revalidate(stored) => Some(Arc::clone(stored)),
            FetchKind::Fill | FetchKind::Pass | FetchKind::Unkept => None,
        };
        let _refreshing = Refreshing(old.clone());
        let came = self.ask_and_judge(&exchange, &asked, asking, Some(&guard)).await;
        let marks =
            PassMarks { core: &self, key: &collapse_key, asked: &asked, exchange: &exchange };
        self.settle(&marks, &key, old, came, guard).await;
    }

    /// Fetches for one viewer; the task ends with that viewer unless what came is to be kept.
    pub(super) async fn fill_alone(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        asking: FetchKind,
        place: FillPlace,
        collapse_key: Spare,
    ) -> Result<(NotKept, Reply), Result<Waiter, Failure>> {
        Tally::add(&self.edge.tally.fills);
        let old = match &asking {
            FetchKind::Revalidate(stored) => Some(Arc::clone(stored)),
            FetchKind::Fill | FetchKind::Pass | FetchKind::Unkept => None,
        };
        let refreshing = Refreshing(old.clone());
        let came = match self.ask_and_judge(exchange, asked, asking, None).await {
            FetchOutcome::Pass(why, reply) => {
                PassMarks { core: self, key: &collapse_key, asked, exchange }.mark();
                if let Some(old) = old {
                    self.edge.remove(&old);
                }
                return Ok((why, reply));
            }
            FetchOutcome::Failed(failure) => return Err(Err(failure)),
            came => came,
        };
        let (guard, waiter) = FillGuard::alone();
        let (core, exchange, key, slice) =
            (Arc::clone(self), exchange.clone(), CacheKey::new(asked.key), asked.slice);
        tokio::spawn(async move {
            let _held = (place, refreshing);
            let head = exchange.request.head();
            let asked = exchange.asked(&head, key.as_bytes(), slice);
            let marks =
                PassMarks { core: &core, key: &collapse_key, asked: &asked, exchange: &exchange };
            core.settle(&marks, &key, old, came, guard).await;
        });
        Err(Ok(waiter))
    }

    async fn settle(
        self: &Arc<Self>,
        marks: &PassMarks<'_>,
        key: &CacheKey,
        old: Option<Arc<Stored>>,
        came: FetchOutcome,
        mut guard: FillGuard,
    ) {
        let asked = marks.asked;
        match came {
            FetchOutcome::Store(keeping, reply, began) => {
                self.keep(marks, key, old, Storable { keeping, reply, began }, guard).await;
            }
            FetchOutcome::Freshen(keeping, mut fields, began) => {
                guard.set_aside(withhold(&mut fields));
                strip_for_storage(asked, &mut fields);
                let Some(old) = old else {
                    return guard
                        .complete(FillEnd::Failed(Failure::internal("a confirmation of nothing")));
                };
                let fresh = self.freshen(key, &old, keeping, &fields, began.number);
                marks.unmark_if_shareable(&fresh);
                self.share(marks.exchange, &fresh, began.stamp);
                guard.complete(FillEnd::Freshened(fresh));
            }
            FetchOutcome::Pass(why, reply) => {
                marks.mark();
                if let Some(old) = old {
                    // What the origin no longer lets us keep, it no longer vouches for.
                    self.edge.remove(&old);
                }
                guard.give_to_leader(why, reply);
            }
            FetchOutcome::StaleOnError(stored) => {
                self.let_stand_in(asked, &stored);
                guard.complete(FillEnd::StaleOnError(stored));
            }
            FetchOutcome::Failed(failure) => guard.complete(FillEnd::Failed(failure)),
            // Each waiter looks again, and finds the newer fetch.
            FetchOutcome::Superseded => drop(guard),
        }
    }

    async fn ask_and_judge(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        mut asking: FetchKind,
        guard: Option<&FillGuard>,
    ) -> FetchOutcome {
        // A 304 that confirms nothing, or comes too late, is followed by one plain request.
        let mut is_again = false;
        for _ in 0..2 {
            // Before the request begins: whatever is invalidated from here on is newer than what we
            // get.
            let began = self.begins(exchange, asked, &asking);
            if guard.is_some_and(|guard| !guard.began_again(began.number)) && is_again {
                return FetchOutcome::Superseded;
            }
            is_again = true;
            let old = match &asking {
                FetchKind::Revalidate(stored) => Some(Arc::clone(stored)),
                FetchKind::Fill | FetchKind::Pass | FetchKind::Unkept => None,
            };
            let reply = match self.fetch_from_hops(exchange, asked, &asking, exchange.body()).await
            {
                Ok(reply) => reply,
                Err(failure) => return self.on_failure(old, failure),
            };
            let began = began.of(&reply);
            let when = Exchanged { asked_at: reply.asked_at, arrived_at: reply.arrived_at };
            if matches!(asking, FetchKind::Unkept) && answers_conditions(reply.status) {
                return FetchOutcome::Pass(NotKept::Partial, reply);
            }
            match on_arrival(
                asked,
                old.as_ref(),
                reply.status,
                &reply.fields,
                when,
                &self.edge.invalidations,
            ) {
                Arrived::Store(mut keeping) => {
                    keeping.hold_to(reply.tier(), reply.arrived_at);
                    if let Some(taken) = reply.shared() {
                        keeping.tags.clone_from(&taken.tags);
                    }
                    return FetchOutcome::Store(keeping, reply, began);
                }
                Arrived::Freshen(mut keeping, fields) => {
                    keeping.hold_to(reply.tier(), reply.arrived_at);
                    // A hard invalidation since the old response was fetched: its content may not
                    // live on.
                    if old
                        .as_ref()
                        .is_some_and(|old| self.edge.invalidations.validity(old) != Validity::Hard)
                    {
                        return FetchOutcome::Freshen(keeping, fields, began);
                    }
                }
                Arrived::Pass(why) => return FetchOutcome::Pass(why, reply),
                Arrived::Reuse(stored) => return FetchOutcome::StaleOnError(stored),
                Arrived::AskAgain => {}
            }
            asking = FetchKind::Fill;
        }
        FetchOutcome::Failed(Failure::internal("the origin confirms what was not asked about"))
    }

    // The origin is left in peace for the error caching minimum TTL.
    fn let_stand_in(&self, asked: &CacheRequest<'_>, stored: &Stored) {
        let until = self.edge.clock.now().plus(asked.routed.behavior.cache.error_ttl);
        stored.live.stands_in_until.store(until.0, Ordering::Relaxed);
    }

    fn on_failure(&self, old: Option<Arc<Stored>>, failure: Failure) -> FetchOutcome {
        let now = self.edge.clock.now();
        tracing::warn!(kind = failure.kind.token(), detail = failure.detail, "fetching failed");
        match old {
            Some(stored) if may_stand_in(&stored, &self.edge.invalidations, now) => {
                FetchOutcome::StaleOnError(stored)
            }
            _ => FetchOutcome::Failed(failure),
        }
    }

    async fn keep(
        self: &Arc<Self>,
        marks: &PassMarks<'_>,
        key: &CacheKey,
        old: Option<Arc<Stored>>,
        brought: Storable,
        mut guard: FillGuard,
    ) {
        let Storable { mut keeping, mut reply, began } = brought;
        let max = marks.exchange.running.site.store.max_object;
        let mut length = reply.body.length();
        if let Some(part) = keeping.part {
            if length.is_some_and(|len| len != part.span.len()) {
                marks.mark();
                guard.give_to_leader(NotKept::Partial, reply);
                return;
            }
            // What comes without a length is held to what its Content-Range says.
            if length.is_none() {
                length = Some(part.span.len());
                reply.body = reply.body.held_to(part.span.len());
            }
        }
        if length.is_some_and(|len| len > max) {
            marks.mark();
            guard.give_to_leader(NotKept::TooLarge, reply);
            return;
        }
        if marks.exchange.shaped.is_some() {
            let hashes = marks.exchange.viewer_uri_hashes();
            keeping.tags = keeping.tags.iter().copied().chain(hashes).collect();
        }
        let mut body = std::mem::take(&mut reply.body);
        let mut fields = reply.fields.clone();
        guard.set_aside(withhold(&mut fields));
        strip_for_storage(marks.asked, &mut fields);
        // RFC 9110 §6.6.1: a cache that keeps a response without a Date notes when it came.
        if !fields.contains(&http::header::DATE) {
            fields.insert(&http::header::DATE, format_http_date(reply.arrived_at));
        }
        if keeping.part.is_some() {
            fields.remove(&http::header::CONTENT_RANGE);
        }
        let is_encodable = !marks.asked.routed.behavior.cache.compress.is_empty()
            && may_encode(reply.status, &fields, length);
        if is_encodable && keeping.part.is_none() {
            // Others get it encoded.
            vary_on_coding(&mut fields);
            vary_on_coding(&mut reply.fields);
        }
        if let Some(coding) = keeping.coding.filter(|_| is_encodable) {
            match Compressed::new(body, coding) {
                Ok(encoded) => body = Body::Wire(Box::new(encoded), None),
                Err(error) => {
                    return guard.complete(FillEnd::Failed(Failure::internal(format!(
                        "an encoder could not be made: {error}"
                    ))));
                }
            }
            note_coding(&mut fields, coding);
            // A reply that finds no room is handed over as it would have been kept.
            note_coding(&mut reply.fields, coding);
            length = None;
        }
        let (content, writer) = match body {
            // A tunnel is no response that could come here.
            Body::Empty | Body::Tunnel(_) => (Content::complete(b""), None),
            Body::Bytes(bytes) => {
                // Its own allocation: the account must hold.
                body = Body::Empty;
                (Content::complete(&bytes), None)
            }
            Body::Stored(_) | Body::Multipart(_) | Body::Wire(..) => {
                let (content, writer) = Content::grow(length, self.edge.arena.as_ref());
                (content, Some(writer))
            }
        };
        let stored = Arc::new(assemble(key, keeping, reply.status, &fields, began.number, content));
        let weight =
            stored.weight(if writer.is_none() { stored.content.length().unwrap_or(0) } else { 0 });
        if self.edge.store.reserve(weight).is_err() {
            Tally::add(&self.edge.tally.not_stored_full);
            if writer.is_none() {
                body = stored
                    .content
                    .whole()
                    .map_or(Body::Empty, |octets| Body::Bytes(octets.to_vec().into()));
            }
            reply.body = body;
            guard.give_to_leader(NotKept::StoreFull, reply);
            return;
        }
        stored.live.accounted.store(weight, Ordering::Relaxed);
        // Its front is held until every waiter has begun to read, or has left.
        let hold = writer.is_some().then(|| stored.content.read(None)).flatten();
        let is_newest = self.edge.store.insert(&stored);
        if let Some(old) = old {
            // On the disk the new one takes the old one's place, once it is whole.
            if old.selector == stored.selector {
                self.edge.store.remove(&old);
            } else {
                self.edge.remove(&old);
            }
        }
        if reply.is_stale() {
            // A parent's last word while the origin fails. It serves the waiters as a stored one of
            // our own would.
            self.let_stand_in(marks.asked, &stored);
            guard.complete_holding(FillEnd::StaleOnError(Arc::clone(&stored)), hold);
        } else {
            marks.unmark_if_shareable(&stored);
            guard.complete_holding(FillEnd::Kept(Arc::clone(&stored)), hold);
        }
        if writer.is_none() && is_newest {
            self.edge.write_behind(&stored);
            self.share(marks.exchange, &stored, began.stamp);
        }
        if let Some(writer) = writer
            && self.pump(marks, &stored, body, writer).await == Pumped::Kept
        {
            self.share(marks.exchange, &stored, began.stamp);
        }
    }

    /// Keeps a reply that came for one viewer, and answers that viewer from what is kept.
    pub(super) async fn store_post_response(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        keeping: StorePlan,
        reply: Reply,
        reason: Reason,
    ) -> Result<ViewerResponse, Failure> {
        // After the write it answered: what it brings is the new state.
        let began = Began { number: self.edge.invalidations.head(), stamp: None };
        let (guard, waiter) = FillGuard::alone();
        let (core, key) = (Arc::clone(self), CacheKey::new(asked.key));
        let exchange = exchange.clone();
        tokio::spawn(async move {
            let head = exchange.request.head();
            let asked = exchange.asked(&head, key.as_bytes(), None);
            let marks =
                PassMarks { core: &core, key: key.as_bytes(), asked: &asked, exchange: &exchange };
            core.keep(&marks, &key, None, Storable { keeping, reply, began }, guard).await;
        });
        self.as_leader(asked, waiter, reason)
            .await
            .unwrap_or_else(|| Err(Failure::internal("an answer to a write was lost")))
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
        fresh.live.uses.store(old.live.uses.load(Ordering::Relaxed), Ordering::Relaxed);
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

enum FetchOutcome {
    Store(StorePlan, Reply, Began),
    Freshen(StorePlan, FieldSection, Began),
    Pass(NotKept, Reply),
    StaleOnError(Arc<Stored>),
    Failed(Failure),
    /// A newer fetch of the same key has taken this one's place.
    Superseded,
}

struct Storable {
    keeping: StorePlan,
    reply: Reply,
    began: Began,
}

/// What became of a body that was to be stored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Pumped {
    Kept,
    /// It broke off, or has outgrown the store.
    Lost,
}

/// Remembers whether a key is worth waiting for.
struct PassMarks<'a> {
    core: &'a Arc<Proxy>,
    key: &'a [u8],
    asked: &'a CacheRequest<'a>,
    exchange: &'a Exchange,
}

impl PassMarks<'_> {
    fn mark(&self) {
        let now = self.core.edge.clock.now();
        let until = now.plus(self.exchange.running.site.limits.pass_mark_time);
        self.core.edge.collapses.mark(self.key, until, now);
    }

    // What is stale on arrival answers one request only; the next ones must not queue for it.
    fn unmark_if_shareable(&self, stored: &Arc<Stored>) {
        let now = self.core.edge.clock.now();
        match crate::cache::lookup::worth(stored, now) {
            crate::cache::lookup::Lookup::Fresh(_) | crate::cache::lookup::Lookup::Stale(_) => {
                self.core.edge.collapses.unmark(self.key)
            }
            _ => self.mark(),
        }
    }
}

fn assemble(
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
        tags: keeping.tags,
        part: keeping.part.map(Box::new),
        content,
        live: Live::default(),
    }
}

// False if the content has no reader any more.
async fn wait_for_room(writer: &mut Writer, stall: std::time::Duration) -> bool {
    loop {
        match tokio::time::timeout(stall, std::future::poll_fn(|cx| writer.poll_room(cx))).await {
            Ok(crate::body::content::Room::Free) => return true,
            Ok(crate::body::content::Room::Nobody) => return false,
            Err(_) => writer.lose_slowest(),
        }
    }
}
