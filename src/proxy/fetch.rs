//! Getting a response by asking for it: once for all requests that wait, where that is allowed.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::collapse::{CollapseTable, Driven, FillEnd, FillGuard, Joined, WaitOutcome, Waiter};
use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use super::fill::Job;
use super::fill_place::FillPlace;
use super::{Proxy, Tally};
use crate::base::boxed::boxed;
use crate::base::digits::decimal;
use crate::base::spare::Spare;
use crate::cache::arrival::has_conditions;
use crate::cache::ask::{CacheRequest, MethodIntent};
use crate::cache::collapses::AloneReason;
use crate::cache::lookup::{Lookup, worth};
use crate::deliver;
use crate::message::failure::Failure;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::response::{Reply, ViewerResponse};
use crate::message::stored::Stored;
use crate::message::verdict::{Outcome, PassReason, Reason, Verdict};
use crate::origin::request::FetchKind;
use crate::trace::span::SpanKind;

/// How often one request may join before it goes alone: a leader may vanish, a variant may not fit.
const JOINS_MAX: usize = 3;

impl Proxy {
    /// Fetches for the store, alone or together, and answers from what came. `found` is what the
    /// lookup saw.
    pub(super) async fn fetch(
        self: &Arc<Self>,
        mut fetch: FetchRequest<'_>,
        mut reason: Reason,
        found: &[Arc<Stored>],
    ) -> Result<ViewerResponse, Failure> {
        let FetchRequest { exchange, asked, .. } = fetch;
        let patience = exchange.running.site.limits.follower_wait;
        let number = exchange.request.arrived_number;
        // Where a disk was waited for, more may have come into memory meanwhile.
        let mut collapse_key = match self.edge.disk() {
            None => key_of_variants(asked, found),
            Some(_) => self.collapse_key(asked),
        };
        self.set_apart(exchange, &mut collapse_key);
        // The key of a request that goes alone because of what is known of it.
        let mut own_key = None;
        for _ in 0..JOINS_MAX {
            let now = self.edge.clock.now();
            // A fetch that is under way may have begun before an invalidation that this edge has
            // yet to hear of, and whose caller has been answered.
            if !self.edge.invalidations.is_usable(now) {
                break;
            }
            match CollapseTable::join(&self.edge, &collapse_key, number, now) {
                Joined::Lead(guard, waiter) => {
                    let fill = self.job(fetch.clone(), guard, collapse_key);
                    let mut driven = fill.map(|job| Driven::new(|| Arc::clone(self).fill(job)));
                    let outcome = match &mut driven {
                        Some(driven) => driven.until_ended(&waiter).await,
                        None => waiter.wait(None).await,
                    };
                    if let Some(done) = self.led(asked, &waiter, outcome, reason) {
                        return done;
                    }
                }
                Joined::Follow(waiter) => {
                    Tally::add(&self.edge.tally.followers);
                    match follow(exchange, &waiter, patience).await {
                        WaitOutcome::End(FillEnd::Uncacheable(_)) => {
                            (fetch, reason) = alone(fetch, reason, AloneReason::Marked);
                            break;
                        }
                        WaitOutcome::End(end) => match self.as_follower(asked, end, reason) {
                            Some(done) => return done,
                            // Kept for another variant: look again. Not to be shared: go alone.
                            None if self.fits_nobody_else(asked) => {}
                            None => break,
                        },
                        WaitOutcome::Abandoned => {}
                        WaitOutcome::TooLong => {
                            reason = reason.alone(PassReason::WaitedEnough);
                            break;
                        }
                        WaitOutcome::Yours(..) => break,
                    }
                }
                Joined::Alone(why) => {
                    (fetch, reason) = alone(fetch, reason, why);
                    own_key = Some(collapse_key);
                    break;
                }
            }
            collapse_key = self.collapse_key(asked);
            self.set_apart(exchange, &mut collapse_key);
        }
        let collapse_key = own_key.unwrap_or_else(|| self.collapse_key(asked));
        pin!(self.fetch_alone(fetch, reason, collapse_key)).await
    }

    // Without waiting and without being waited for; what comes may still be kept.
    async fn fetch_alone(
        self: &Arc<Self>,
        fetch: FetchRequest<'_>,
        reason: Reason,
        collapse_key: Spare,
    ) -> Result<ViewerResponse, Failure> {
        let FetchRequest { exchange, asked, .. } = fetch;
        let Some(place) = FillPlace::take(&self.edge, exchange.running.site.limits.fills) else {
            Tally::add(&self.edge.tally.fills_refused);
            // Boxed: seldom needed, and large.
            return boxed(|| self.pass(exchange, asked, PassReason::Crowded, exchange.body()))
                .await;
        };
        let is_as_asked = matches!(fetch.kind, FetchKind::Unkept);
        let waiter = match pin!(self.fill_alone(fetch, place, collapse_key)).await {
            Ok((_, reply)) if is_as_asked => {
                return Ok(passed(asked, Reason::Pass(PassReason::Marked), reply));
            }
            Ok((why, reply)) => return Ok(passed(asked, Reason::NotKept(why), reply)),
            Err(waiter) => waiter?,
        };
        self.as_leader(asked, waiter, reason)
            .await
            .unwrap_or_else(|| Err(Failure::internal("an answer without followers was lost")))
    }

    // The same, but seen through to its end even if the viewer leaves: it asked for more than an
    // answer.
    pub(super) async fn replace(
        self: &Arc<Self>,
        fetch: FetchRequest<'_>,
        reason: Reason,
    ) -> Result<ViewerResponse, Failure> {
        let FetchRequest { exchange, asked, .. } = fetch;
        let (guard, waiter) = FillGuard::alone();
        self.start_fill(fetch, guard, self.collapse_key(asked));
        match self.as_leader(asked, waiter, reason).await {
            Some(done) => done,
            None => self.pass(exchange, asked, PassReason::Crowded, exchange.body()).await,
        }
    }

    pub(super) async fn as_leader(
        &self,
        asked: &CacheRequest<'_>,
        waiter: Waiter,
        reason: Reason,
    ) -> Option<Result<ViewerResponse, Failure>> {
        let outcome = waiter.wait(None).await;
        self.led(asked, &waiter, outcome, reason)
    }

    // What a leader answers its viewer with; `None` where another is to be asked.
    fn led(
        &self,
        asked: &CacheRequest<'_>,
        waiter: &Waiter,
        outcome: WaitOutcome,
        reason: Reason,
    ) -> Option<Result<ViewerResponse, Failure>> {
        match outcome {
            WaitOutcome::Yours(why, reply) => Some(Ok(passed(asked, Reason::NotKept(why), reply))),
            WaitOutcome::End(end) => {
                let (stored, verdict) = match end {
                    FillEnd::Kept(stored) => {
                        let outcome =
                            if stored.status >= 400 { Outcome::Error } else { Outcome::Miss };
                        let reason = match reason {
                            Reason::Revalidated(why) => Reason::Replaced(why),
                            other => other,
                        };
                        (
                            stored,
                            Verdict {
                                outcome,
                                reason,
                                collapsed: false,
                                stored: true,
                                failed: None,
                            },
                        )
                    }
                    FillEnd::Freshened(stored) => (
                        stored,
                        Verdict {
                            outcome: Outcome::RefreshHit,
                            reason,
                            collapsed: false,
                            stored: true,
                            failed: None,
                        },
                    ),
                    FillEnd::StaleOnError(stored) => (
                        stored,
                        Verdict {
                            outcome: Outcome::Hit,
                            reason: Reason::StaleIfError,
                            collapsed: false,
                            stored: false,
                            failed: None,
                        },
                    ),
                    FillEnd::Failed(failure) => return Some(Err(failure)),
                    FillEnd::Uncacheable(_) => return None,
                };
                // A fill that outgrew the store may have let go of its start already, if no reader
                // held it.
                let now = self.edge.clock.now();
                let mut response = self.open(asked, &stored, verdict, now).ok()?;
                waiter.add_aside(&mut response.fields);
                Some(Ok(response))
            }
            WaitOutcome::Abandoned | WaitOutcome::TooLong => None,
        }
    }

    fn as_follower(
        &self,
        asked: &CacheRequest<'_>,
        end: FillEnd,
        reason: Reason,
    ) -> Option<Result<ViewerResponse, Failure>> {
        let now = self.edge.clock.now();
        let (stored, outcome, reason) = match end {
            // Only the leader may have what is not fresh on arrival: it answered the leader's
            // request.
            FillEnd::Kept(stored) | FillEnd::Freshened(stored) if usable(&stored, asked, now) => {
                let outcome = if stored.status >= 400 { Outcome::Error } else { Outcome::Hit };
                (stored, outcome, reason)
            }
            FillEnd::StaleOnError(stored) if stored.selector.matches(asked.head().fields) => {
                (stored, Outcome::Hit, Reason::StaleIfError)
            }
            FillEnd::Failed(failure) => return Some(Err(failure)),
            FillEnd::Kept(_)
            | FillEnd::Freshened(_)
            | FillEnd::StaleOnError(_)
            | FillEnd::Uncacheable(_) => return None,
        };
        let verdict = Verdict { outcome, reason, collapsed: true, stored: false, failed: None };
        self.open(asked, &stored, verdict, now).ok().map(Ok)
    }

    // Says whether what is stored under the key now fits other requests only.
    fn fits_nobody_else(&self, asked: &CacheRequest<'_>) -> bool {
        let found = self.edge.store.find(asked.key);
        !found.is_empty() && crate::cache::lookup::choose(asked.head().fields, &found).is_none()
    }

    /// Refreshes a stored response behind a viewer's back, once at a time.
    pub(super) fn refresh_behind(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        stored: &Arc<Stored>,
    ) {
        if stored.flags.refreshing.swap(true, Ordering::Relaxed) {
            return;
        }
        let key = self.collapse_key(asked);
        let now = self.edge.clock.now();
        if let Joined::Lead(guard, _) =
            CollapseTable::join(&self.edge, &key, exchange.request.arrived_number, now)
        {
            Tally::add(&self.edge.tally.background_refreshes);
            let (exchange, kind) = (behind(exchange), FetchKind::Revalidate(Arc::clone(stored)));
            if self.start_fill(FetchRequest::of(&exchange, asked, kind), guard, key) {
                return;
            }
        }
        stored.flags.refreshing.store(false, Ordering::Relaxed);
    }

    // A fill as a task of its own. False if there are too many already.
    pub(super) fn start_fill(
        self: &Arc<Self>,
        fetch: FetchRequest<'_>,
        guard: FillGuard,
        collapse_key: Spare,
    ) -> bool {
        let Some(job) = self.job(fetch, guard, collapse_key) else { return false };
        tokio::spawn(Box::pin(Arc::clone(self).fill(job)));
        true
    }

    // What a fill needs of its own; `None` if there are too many already. Then the guard is
    // dropped, which tells each waiter to ask for itself.
    fn job(&self, fetch: FetchRequest<'_>, guard: FillGuard, collapse_key: Spare) -> Option<Job> {
        let FetchRequest { exchange, asked, kind } = fetch;
        let Some(place) = FillPlace::take(&self.edge, exchange.running.site.limits.fills) else {
            Tally::add(&self.edge.tally.fills_refused);
            return None;
        };
        let key = guard.key(asked.key).unwrap_or_else(|| CacheKey::new(asked.key));
        let (exchange, slice) = (exchange.clone(), asked.slice);
        Some(Job { exchange, key, collapse_key, kind, guard, place, slice })
    }

    // Nothing that was asked for before an invalidation of this viewer's own URI answers it, though
    // that is not the URI of the key.
    fn set_apart(&self, exchange: &Exchange, collapse_key: &mut Spare) {
        if exchange.shaped.is_none() {
            return;
        }
        let hashes = exchange.viewer_uri_hashes();
        let id = &exchange.chosen().0.id;
        let InvalidationNumber(number) = self.edge.invalidations.number_of_uri(id, &hashes);
        if number > 0 {
            collapse_key.extend_from_slice(b"\0after=");
            decimal(collapse_key, number);
        }
    }

    // The key under which a request waits for a fetch, by what is stored at this moment.
    fn collapse_key(&self, asked: &CacheRequest<'_>) -> Spare {
        key_of_variants(asked, &self.edge.store.find(asked.key))
    }
}

/// Waits for a fetch that was begun for another request. That one has the fetch's spans, so this
/// one's point to it.
pub(super) async fn follow(
    exchange: &Exchange,
    waiter: &Waiter,
    patience: Duration,
) -> WaitOutcome {
    let trace = exchange.request.trace.as_ref();
    let mut span = trace.and_then(|trace| trace.open("collapsed", SpanKind::Internal));
    let outcome = waiter.wait(Some(patience)).await;
    if let (Some(span), Some(leader)) = (&mut span, waiter.led_by()) {
        span.link(leader);
    }
    outcome
}

// The same exchange for a fetch that no viewer waits for: with a trace of its own, where there is
// one, and without what its code does in the viewer's record.
fn behind(exchange: &Exchange) -> Exchange {
    let mut exchange = exchange.clone();
    if exchange.request.trace.is_some() || exchange.chosen().1.hooks.is_some() {
        let mut request = exchange.request.arriving_at(exchange.request.arrived_number);
        request.trace = exchange.request.trace.as_ref().map(|trace| trace.behind());
        exchange.request = Arc::new(request);
    }
    exchange
}

// Variants known under the key do not wait for one another.
fn key_of_variants(asked: &CacheRequest<'_>, found: &[Arc<Stored>]) -> Spare {
    let mut key = Spare::new();
    key.extend_from_slice(asked.key);
    for stored in found {
        for (name, _) in &stored.selector.0 {
            key.push(0);
            key.extend_from_slice(name.as_str().as_bytes());
            key.push(b'=');
            let _ = crate::semantics::vary::normalise(
                name,
                asked.head().fields.get_all(name.as_str()),
                &mut key,
            );
        }
    }
    key
}

// What the leader's viewer gets of a reply that no follower may have.
fn passed(asked: &CacheRequest<'_>, reason: Reason, reply: Reply) -> ViewerResponse {
    let outcome = if reply.status >= 400 { Outcome::Error } else { Outcome::Miss };
    let verdict = Verdict { outcome, reason, collapsed: false, stored: false, failed: None };
    deliver::from_reply(asked.head(), reply, verdict)
}

fn usable(
    stored: &Arc<Stored>,
    asked: &CacheRequest<'_>,
    now: crate::semantics::time::Timestamp,
) -> bool {
    stored.selector.matches(asked.head().fields)
        && matches!(worth(stored, now), Lookup::Fresh(_) | Lookup::Stale(_))
}

// A fetch that goes alone because of what is known of its key, and what is told of that.
fn alone(fetch: FetchRequest<'_>, reason: Reason, why: AloneReason) -> (FetchRequest<'_>, Reason) {
    match why {
        AloneReason::Marked => (unkept(fetch), reason.alone(PassReason::Marked)),
        AloneReason::Crowded => (fetch, reason.alone(PassReason::Crowded)),
    }
}

// What was not kept before is asked for with the viewer's own conditions and range, if it has any:
// a whole would be fetched again for each part of it, and a viewer that resumes a download could
// not.
fn unkept(fetch: FetchRequest<'_>) -> FetchRequest<'_> {
    let asked = fetch.asked;
    let is_as_asked = matches!(fetch.kind, FetchKind::Fill)
        && asked.wants.method == MethodIntent::Get
        && asked.slice.is_none()
        && has_conditions(asked);
    if is_as_asked { FetchRequest { kind: FetchKind::Unkept, ..fetch } } else { fetch }
}
