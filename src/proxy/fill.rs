//! What an origin answers: brought here once, judged, and kept or passed on.
//!
//! Its leader's task drives it until that viewer has its answer or leaves; what is left of it then
//! becomes a task of its own, so that no viewer takes another's answer along.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::collapse::{FillEnd, FillGuard, Waiter};
use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use super::fill_place::FillPlace;
use super::shared_tier::Began;
use super::storing::{Coming, PassMarks, Storable};
use super::{Proxy, Tally};
use crate::base::spare::Spare;
use crate::cache::arrival::{
    Arrived, StorePlan, answers_conditions, on_arrival, strip_for_storage, withhold,
};
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Validity;
use crate::cache::lookup::may_stand_in;
use crate::message::failure::Failure;
use crate::message::key::CacheKey;
use crate::message::response::{Reply, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::verdict::{NotKept, Reason};
use crate::origin::request::FetchKind;
use crate::semantics::fields::FieldSection;
use crate::semantics::freshness::Exchanged;
use crate::semantics::ranges::Span;
use crate::trace::live::OpenSpan;

/// One fill, with everything it needs of its own.
pub(super) struct Job {
    pub exchange: Exchange,
    pub key: CacheKey,
    /// The key under which others wait.
    pub collapse_key: Spare,
    pub kind: FetchKind,
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
            stored.flags.refreshing.store(false, Ordering::Relaxed);
        }
    }
}

impl Proxy {
    /// Fetches once, and completes the wait whatever happens.
    pub(super) fn fill(self: Arc<Self>, job: Job) -> impl Future<Output = ()> + Send {
        Tally::add(&self.edge.tally.fills);
        // A block, because the future of a function has two places for what it is given.
        async move {
            let _place = &job.place;
            let exchange = &job.exchange;
            let head = exchange.request.head();
            let asked = exchange.asked(&head, job.key.as_bytes(), job.slice);
            let fetch = FetchRequest::of(exchange, &asked, job.kind);
            let old = fetch.old();
            let _refreshing = Refreshing(old.clone());
            let span = exchange.request.trace.as_ref().and_then(|trace| trace.open_fetch("fill"));
            if let Some(place) = span.as_ref().and_then(OpenSpan::place) {
                job.guard.led_by(place);
            }
            let came = pin!(self.ask_and_judge(fetch, Some(&job.guard))).await;
            let marks = PassMarks { core: &self, key: &job.collapse_key, asked: &asked, exchange };
            let Some(coming) = self.settle(&marks, &job.key, old, came, job.guard) else { return };
            pin!(self.keep_up(&marks, coming)).await;
            // Until the last octet of the body, whoever has left meanwhile.
            drop(span);
        }
    }

    /// Fetches for one viewer; the task ends with that viewer unless what came is to be kept.
    pub(super) async fn fill_alone(
        self: &Arc<Self>,
        fetch: FetchRequest<'_>,
        place: FillPlace,
        collapse_key: Spare,
    ) -> Result<(NotKept, Reply), Result<Waiter, Failure>> {
        Tally::add(&self.edge.tally.fills);
        let FetchRequest { exchange, asked, .. } = fetch;
        let old = fetch.old();
        let refreshing = Refreshing(old.clone());
        let came = pin!(self.ask_and_judge(fetch, None)).await;
        match came {
            FetchOutcome::Pass(why, reply) => {
                PassMarks { core: self, key: &collapse_key, asked, exchange }.mark();
                if let Some(old) = old {
                    self.edge.remove(&old);
                }
                Ok((why, reply))
            }
            FetchOutcome::Failed(failure) => Err(Err(failure)),
            came => {
                let held = (place, refreshing);
                Err(Ok(self.settle_aside(exchange, asked, collapse_key, old, came, held)))
            }
        }
    }

    // Keeps what came for one viewer in a task of its own, which the viewer waits for like any
    // other.
    #[inline(never)]
    fn settle_aside(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        collapse_key: Spare,
        old: Option<Arc<Stored>>,
        came: FetchOutcome,
        held: (FillPlace, Refreshing),
    ) -> Waiter {
        let (guard, waiter) = FillGuard::alone();
        let (core, exchange, key, slice) =
            (Arc::clone(self), exchange.clone(), CacheKey::new(asked.key), asked.slice);
        tokio::spawn(async move {
            let _held = held;
            let head = exchange.request.head();
            let asked = exchange.asked(&head, key.as_bytes(), slice);
            let marks =
                PassMarks { core: &core, key: &collapse_key, asked: &asked, exchange: &exchange };
            if let Some(coming) = core.settle(&marks, &key, old, came, guard) {
                core.keep_up(&marks, coming).await;
            }
        });
        waiter
    }

    async fn ask_and_judge(
        self: &Arc<Self>,
        mut fetch: FetchRequest<'_>,
        guard: Option<&FillGuard>,
    ) -> FetchOutcome {
        // A 304 that confirms nothing, or comes too late, is followed by one plain request.
        let mut is_again = false;
        for _ in 0..2 {
            // Before the request begins: whatever is invalidated from here on is newer than what we
            // get.
            let began = self.begins(&fetch);
            if guard.is_some_and(|guard| !guard.began_again(began.number)) && is_again {
                return FetchOutcome::Superseded;
            }
            is_again = true;
            let old = fetch.old();
            let mut body = fetch.exchange.body();
            let reply = match pin!(self.fetch_from_hops(&fetch, &mut body)).await {
                Ok(reply) => reply,
                Err(failure) => return self.on_failure(old, failure),
            };
            let began = began.of(&reply);
            let when = Exchanged { asked_at: reply.asked_at, arrived_at: reply.arrived_at };
            if matches!(fetch.kind, FetchKind::Unkept) && answers_conditions(reply.status) {
                return FetchOutcome::Pass(NotKept::Partial, reply);
            }
            match on_arrival(
                fetch.asked,
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
            fetch.kind = FetchKind::Fill;
        }
        FetchOutcome::Failed(Failure::internal("the origin confirms what was not asked about"))
    }

    #[cold]
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

    // Does what came asks for. What is still to come of a body is given back.
    fn settle(
        self: &Arc<Self>,
        marks: &PassMarks<'_>,
        key: &CacheKey,
        old: Option<Arc<Stored>>,
        came: FetchOutcome,
        mut guard: FillGuard,
    ) -> Option<Coming> {
        let asked = marks.asked;
        match came {
            FetchOutcome::Store(keeping, reply, began) => {
                return self.store(marks, key, old, Storable { keeping, reply, began }, guard);
            }
            FetchOutcome::Freshen(keeping, mut fields, began) => {
                guard.set_aside(withhold(&mut fields));
                strip_for_storage(asked, &mut fields);
                let Some(old) = old else {
                    guard.complete(FillEnd::Failed(Failure::internal("a confirmation of nothing")));
                    return None;
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
                self.note_stale_on_error(asked, &stored);
                guard.complete(FillEnd::StaleOnError(stored));
            }
            FetchOutcome::Failed(failure) => guard.complete(FillEnd::Failed(failure)),
            // Each waiter looks again, and finds the newer fetch.
            FetchOutcome::Superseded => drop(guard),
        }
        None
    }

    // The origin is left in peace for the error caching minimum TTL.
    pub(super) fn note_stale_on_error(&self, asked: &CacheRequest<'_>, stored: &Stored) {
        let until = self.edge.clock.now().plus(asked.routed.behavior.cache.error_ttl);
        stored.live.stale_on_error_until.store(until.0, Ordering::Relaxed);
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
            let storable = Storable { keeping, reply, began };
            if let Some(coming) = core.store(&marks, &key, None, storable, guard) {
                core.keep_up(&marks, coming).await;
            }
        });
        self.as_leader(asked, waiter, reason)
            .await
            .unwrap_or_else(|| Err(Failure::internal("an answer to a write was lost")))
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
