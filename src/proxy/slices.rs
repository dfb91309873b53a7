//! Large objects in slices: aligned pieces that are fetched, collapsed, stored and evicted on their
//! own.
//!
//! A range costs the origin only the slices it touches. All slices of one answer must carry the
//! same validator and the same total length; one that does not ends the answer, and both leave the
//! store. Whatever comes instead of exactly the slice that was asked for, or may not be kept, is
//! sent to no viewer: the object is marked, and asked for plainly.

use std::ops::Deref;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::Proxy;
use super::collapse::{CollapseTable, FillEnd, FillGuard, Joined, WaitOutcome, Waiter};
use super::exchange::Exchange;
use super::fetch::follow;
use super::fetch_request::FetchRequest;
use super::serve::verdict;
use crate::base::spare::Spare;
use crate::body::{Body, BodyError, Reader, Source};
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Validity;
use crate::cache::lookup::{Lookup, lookup, worth};
use crate::cache::slice;
use crate::deliver;
use crate::deliver::CACHE_STATUS;
use crate::deliver::form::{self as forms, ResponseForm};
use crate::message::failure::{Failure, FailureKind};
use crate::message::key::CacheKey;
use crate::message::request::Known;
use crate::message::response::{Told, ViewerResponse};
use crate::message::stored::{Part, Stored};
use crate::message::verdict::{MissReason, NotKept, Outcome, Reason, RevalidateReason, Verdict};
use crate::origin::request::FetchKind;
use crate::semantics::digests::{self, Change};
use crate::semantics::fields::FieldSection;
use crate::semantics::ranges::{self, Selection, Span};
use crate::semantics::time::Timestamp;
use crate::semantics::validators::{self, Condition, Conditions};

/// How many joins a slice may take before its request goes alone.
const JOINS_MAX: usize = 3;

/// What asking for a slice gave.
enum SliceOutcome {
    Slice(Slice),
    /// An error or a redirect: it says nothing of parts and answers the viewer as it is.
    Other(Box<ViewerResponse>),
    /// The object cannot be put together from slices.
    Unsliced(Unsliced),
}

/// Why an object is not answered from slices.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unsliced {
    /// The origin answers with something else than exactly the part it was asked for.
    NoPart,
    /// Exactly the part, but it may not be kept: nor may the whole.
    NotKept,
    /// 416: there is nothing where this slice would begin.
    Unsatisfiable,
}

/// How a slice came, or what the origin said instead of one.
#[derive(Clone, Copy)]
enum Came {
    /// It was stored.
    Found,
    /// It was, past its lifetime, and is refreshed behind the viewer's back.
    Stale,
    /// The origin was asked; for this reason if something was stored that it was to confirm.
    Brought(Option<RevalidateReason>),
    /// The origin has confirmed what was stored.
    Confirmed(RevalidateReason),
    /// It stands in for an origin that fails.
    StoodIn,
}

impl Came {
    /// What is told of a response of this status that came so.
    fn told(self, status: u16) -> Verdict {
        let kept = |outcome, reason| Verdict { stored: true, ..verdict(outcome, reason) };
        match self {
            Self::Found => verdict(Outcome::Hit, Reason::Fresh),
            Self::Stale => verdict(Outcome::Hit, Reason::StaleWhileRevalidate),
            Self::Brought(old) => {
                let outcome = if status >= 400 { Outcome::Error } else { Outcome::Miss };
                kept(outcome, old.map_or(Reason::Miss(MissReason::Absent), Reason::Replaced))
            }
            Self::Confirmed(why) => kept(Outcome::RefreshHit, Reason::Revalidated(why)),
            Self::StoodIn => verdict(Outcome::Hit, Reason::StaleIfError),
        }
    }

    /// The status of what came from upstream.
    const fn upstream(self) -> Option<u16> {
        match self {
            Self::Brought(_) => Some(206),
            Self::Confirmed(_) => Some(304),
            Self::Found | Self::Stale | Self::StoodIn => None,
        }
    }
}

/// A slice, how it came, and the wait it came by: while that is held, the front of a slice that is
/// still growing is not let go of.
#[derive(Clone)]
struct Slice {
    stored: Arc<Stored>,
    came: Came,
    wait: Option<Arc<Waiter>>,
}

impl Slice {
    /// What was put aside for the viewer whose request had it fetched, where this is that one.
    fn aside(&self) -> FieldSection {
        let mut aside = FieldSection::new();
        if let Some(wait) = &self.wait {
            wait.add_aside(&mut aside);
        }
        aside
    }

    /// How it came for the request that is answered with it: what another's brought before that
    /// arrived is found by it.
    fn came_for(&self, aside: &FieldSection, arrived_at: Timestamp) -> Came {
        match self.came {
            Came::Brought(_) | Came::Confirmed(_) if !self.is_new(aside, arrived_at) => Came::Found,
            came => came,
        }
    }

    // Of what was waited for: says whether it was brought here for the request that is answered
    // with it. What the shared tier has just given, as what was put aside tells, may be older than
    // that request. What was found says nothing by its Date: an origin's clock may be ahead.
    fn is_new(&self, aside: &FieldSection, arrived_at: Timestamp) -> bool {
        let is_usable = || matches!(worth(self, arrived_at), Lookup::Fresh(_) | Lookup::Stale(_));
        self.asked_now(arrived_at) || (aside.contains(&CACHE_STATUS) && is_usable())
    }
}

impl Deref for Slice {
    type Target = Arc<Stored>;

    fn deref(&self) -> &Arc<Stored> {
        &self.stored
    }
}

impl From<&Arc<Stored>> for Slice {
    fn from(stored: &Arc<Stored>) -> Self {
        Self { stored: Arc::clone(stored), came: Came::Found, wait: None }
    }
}

/// What all slices of one answer have in common.
#[derive(Clone, PartialEq, Eq)]
struct Likeness {
    etag: Option<Vec<u8>>,
    last_modified: Option<Vec<u8>>,
    complete: u64,
}

impl Likeness {
    fn of(stored: &Stored, part: Part) -> Self {
        let own = |text: Option<&[u8]>| text.map(<[u8]>::to_vec);
        Self {
            etag: own(stored.head.etag()),
            last_modified: own(stored.head.last_modified()),
            complete: part.complete,
        }
    }
}

impl Proxy {
    /// Answers a GET from slices of `size` octets. `None` if this object cannot be had in slices.
    pub(super) async fn sliced(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        size: u64,
    ) -> Option<Result<ViewerResponse, Failure>> {
        if self.edge.collapses.is_marked(&unsliced(asked.key), self.edge.clock.now()) {
            return None;
        }
        let (wants, from) = slice::first(asked.head(), size);
        let mut came = self.slice(exchange, asked, from, size).await;
        if from > 0 && matches!(came, Ok(SliceOutcome::Unsliced(Unsliced::Unsatisfiable))) {
            // What a range beyond the end is answered with depends on the length and the
            // validators: the first slice has them.
            came = self.slice(exchange, asked, 0, size).await;
        }
        let first = match came {
            Ok(SliceOutcome::Slice(stored)) => stored,
            Ok(SliceOutcome::Other(response)) => return Some(Ok(*response)),
            Ok(SliceOutcome::Unsliced(why)) => {
                self.mark_unsliced(exchange, asked, why);
                return None;
            }
            Err(failure) => return Some(Err(failure)),
        };
        let part = first.part()?;
        // Nothing would tell two versions apart.
        if !validators::can_combine(first.head.etag(), first.head.last_modified(), first.date)
            && part.complete > size
        {
            self.mark_unsliced(exchange, asked, Unsliced::NoPart);
            self.edge.remove(&first);
            return None;
        }
        Some(self.from_slices(exchange, asked, size, &wants, &first, part))
    }

    /// Answers a HEAD from the first slice, if that is stored and fresh: it has every field of the
    /// whole, and its length.
    pub(super) async fn head_of_slices(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        size: u64,
    ) -> Option<Result<ViewerResponse, Failure>> {
        let now = exchange.request.arrived_at;
        if self.edge.collapses.is_marked(&unsliced(asked.key), now) {
            return None;
        }
        let key = slice::key(asked.key, 0);
        let part = CacheRequest { key: &key, slice: Some(slice::span(0, size)), ..*asked };
        let found = self.find(&part, None).await;
        let Lookup::Fresh(first) = lookup(&part, &found, &self.edge.invalidations, now) else {
            return None;
        };
        let part = first.part()?;
        first.flags.used();
        Some(self.from_slices(exchange, asked, size, &ranges::Asked::Whole, &first.into(), part))
    }

    fn mark_unsliced(&self, exchange: &Exchange, asked: &CacheRequest<'_>, why: Unsliced) {
        let now = self.edge.clock.now();
        let until = now.plus(exchange.running.site.limits.pass_mark_time);
        self.edge.collapses.mark(&unsliced(asked.key), until, now);
        if why == Unsliced::NotKept {
            // Then it is asked for with the viewer's own range at once.
            self.edge.collapses.mark(asked.key, until, now);
        }
    }

    fn from_slices(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        size: u64,
        wants: &ranges::Asked,
        first: &Slice,
        part: Part,
    ) -> Result<ViewerResponse, Failure> {
        let (head, now) = (asked.head(), exchange.request.arrived_at);
        let is_head = *head.method == http::Method::HEAD;
        let (answer, span) = form(asked, wants, first, part, now);
        let status = answer.status(200);
        let mut fields = FieldSection::new();
        forms::write_stored(first, &answer, part.complete, None, &mut fields);
        // A part's digests are not those of what is joined.
        digests::strip(&mut fields, Change::Extent);
        let body = match span.filter(|span| !span.is_empty() && !is_head) {
            Some(span) => {
                let body = SliceBody {
                    core: Arc::clone(self),
                    exchange: exchange.clone(),
                    key: CacheKey::new(asked.key),
                    size,
                    at: span.start,
                    end: span.end,
                    like: Likeness::of(first, part),
                    known: Some(first.clone()),
                    reader: None,
                    coming: None,
                };
                Body::Wire(Box::new(body), Some(span.len()))
            }
            None => Body::Empty,
        };
        let aside = first.aside();
        let came = first.came_for(&aside, now);
        let told = came.told(first.status);
        fields.extend(&aside);
        let age = first.age(now) / 1000;
        fields.insert(&http::header::AGE, age);
        self.tell_edge(asked, first, self.standing(first, told.reason, now), &mut fields);
        let (ttl, upstream) = (deliver::remaining(first, age), came.upstream());
        let said = Told { ttl, upstream, ..Told::default() };
        if let Some(span) = span.filter(|_| is_head) {
            fields.insert(&http::header::CONTENT_LENGTH, span.len());
        }
        Ok(ViewerResponse {
            status,
            fields,
            body,
            verdict: told,
            told: said,
            failure: None,
            behavior: None,
            origin_millis: None,
            ran: None,
        })
    }

    // Why a slice is given: one that came before the request and may not be used by its own right
    // stands in for the origin.
    fn standing(&self, first: &Arc<Stored>, reason: Reason, now: Timestamp) -> Reason {
        let is_usable = matches!(worth(first, now), Lookup::Fresh(_) | Lookup::Stale(_));
        let table = &self.edge.invalidations;
        let is_valid = table.validity(first) == Validity::Valid && table.is_usable(now);
        if first.asked_now(now) || (is_usable && is_valid) { reason } else { Reason::StaleIfError }
    }

    // One slice: from the store, or fetched once for all requests that wait for it.
    async fn slice(
        self: &Arc<Self>,
        exchange: &Exchange,
        base: &CacheRequest<'_>,
        index: u64,
        size: u64,
    ) -> Result<SliceOutcome, Failure> {
        let key = slice::key(base.key, index);
        let asked = CacheRequest { key: &key, slice: Some(slice::span(index, size)), ..*base };
        for _ in 0..JOINS_MAX {
            let now = self.edge.clock.now();
            if self.edge.collapses.is_marked(&unsliced(base.key), now) {
                return Ok(SliceOutcome::Unsliced(Unsliced::NoPart));
            }
            let found = self.find(&asked, None).await;
            let (kind, old) = match lookup(&asked, &found, &self.edge.invalidations, now) {
                Lookup::Fresh(stored) => return self.told(&asked, stored.into(), now),
                Lookup::Stale(stored) => {
                    self.refresh_behind(exchange, &asked, stored);
                    let stale = Slice { came: Came::Stale, ..stored.into() };
                    return self.told(&asked, stale, now);
                }
                Lookup::Unavailable => {
                    return Err(Failure::new(
                        FailureKind::NotStored,
                        "only-if-cached, and a slice is not stored",
                    ));
                }
                Lookup::Revalidate(stored, why) => {
                    (FetchKind::Revalidate(Arc::clone(stored)), Some(why))
                }
                Lookup::Miss(_) | Lookup::Pass(_) => (FetchKind::Fill, None),
            };
            let fetch = FetchRequest::of(exchange, &asked, kind);
            let (waited, waiter) = self.wait_for_slice(fetch, now).await;
            if let Some(outcome) = self.fetched(&asked, waited, waiter, old, now)? {
                return Ok(outcome);
            }
        }
        Ok(SliceOutcome::Unsliced(Unsliced::NoPart))
    }

    // Begins to fetch a slice, or waits for a fetch of it that is under way.
    async fn wait_for_slice(
        self: &Arc<Self>,
        fetch: FetchRequest<'_>,
        now: Timestamp,
    ) -> (WaitOutcome, Waiter) {
        let FetchRequest { exchange, asked, .. } = fetch;
        let number = exchange.request.arrived_number;
        let (guard, waiter) = match CollapseTable::join(&self.edge, asked.key, number, now) {
            Joined::Lead(guard, waiter) => (guard, waiter),
            Joined::Alone(_) => FillGuard::alone(),
            Joined::Follow(waiter) => {
                let patience = exchange.running.site.limits.follower_wait;
                return (follow(exchange, &waiter, patience).await, waiter);
            }
        };
        self.start_fill(fetch, guard, Spare::of(asked.key));
        (waiter.wait(None).await, waiter)
    }

    // What a wait for a slice has brought; `None` if it has to be asked for again. `old` is why
    // what was stored was to be confirmed, if something was.
    fn fetched(
        &self,
        asked: &CacheRequest<'_>,
        waited: WaitOutcome,
        waiter: Waiter,
        old: Option<RevalidateReason>,
        now: Timestamp,
    ) -> Result<Option<SliceOutcome>, Failure> {
        let by = |stored, came| Slice { stored, came, wait: Some(Arc::new(waiter)) };
        let outcome = match waited {
            WaitOutcome::End(FillEnd::Kept(stored)) => {
                self.told(asked, by(stored, Came::Brought(old)), now)?
            }
            WaitOutcome::End(FillEnd::Freshened(stored)) => {
                let came = Came::Confirmed(old.unwrap_or(RevalidateReason::Expired));
                self.told(asked, by(stored, came), now)?
            }
            WaitOutcome::End(FillEnd::StaleOnError(stored)) => {
                self.told(asked, by(stored, Came::StoodIn), now)?
            }
            WaitOutcome::End(FillEnd::Failed(failure)) => return Err(failure),
            WaitOutcome::Yours(why, reply) => match said_of_parts(reply.status, why) {
                Some(why) => SliceOutcome::Unsliced(why),
                None => {
                    let outcome = if reply.status >= 400 { Outcome::Error } else { Outcome::Miss };
                    let told = verdict(outcome, Reason::NotKept(why));
                    let response = deliver::from_reply(asked.head(), reply, told);
                    SliceOutcome::Other(Box::new(response))
                }
            },
            WaitOutcome::End(FillEnd::Uncacheable(NotKept::Partial)) => {
                SliceOutcome::Unsliced(Unsliced::NoPart)
            }
            WaitOutcome::End(FillEnd::Uncacheable(_))
            | WaitOutcome::Abandoned
            | WaitOutcome::TooLong => return Ok(None),
        };
        Ok(Some(outcome))
    }

    // A stored response under a slice's key: a slice, or what the origin said instead of one.
    fn told(
        &self,
        asked: &CacheRequest<'_>,
        slice: Slice,
        now: Timestamp,
    ) -> Result<SliceOutcome, Failure> {
        if slice.part.is_some() {
            slice.flags.used();
            return Ok(SliceOutcome::Slice(slice));
        }
        if let Some(why) = said_of_parts(slice.status, NotKept::Partial) {
            return Ok(SliceOutcome::Unsliced(why));
        }
        let told = slice.came.told(slice.status);
        self.open(asked, &slice, told, now).map(|response| SliceOutcome::Other(Box::new(response)))
    }

    // The same for a body that is being sent: it owns everything it asks with.
    async fn slice_for(
        self: Arc<Self>,
        exchange: Exchange,
        key: CacheKey,
        index: u64,
        size: u64,
    ) -> Result<Slice, BodyError> {
        let head = exchange.request.head();
        let asked = exchange.asked(&head, key.as_bytes(), None);
        match self.slice(&exchange, &asked, index, size).await {
            Ok(SliceOutcome::Slice(stored)) => return Ok(stored),
            Err(_) => {}
            // What this answer began with is no longer what the origin has: the next viewer is not
            // to begin with it too.
            Ok(SliceOutcome::Other(_)) => self.forget_slice(&key, 0),
            Ok(SliceOutcome::Unsliced(why)) => self.mark_unsliced(&exchange, &asked, why),
        }
        Err(BodyError::Truncated)
    }

    fn forget_slice(&self, key: &CacheKey, index: u64) {
        for old in &self.edge.store.find(&slice::key(key.as_bytes(), index)) {
            self.edge.remove(old);
        }
    }
}

// Marks an object that its origin does not give in parts.
fn unsliced(key: &[u8]) -> Vec<u8> {
    [key, b"\0unsliced"].concat()
}

// What an answer that came instead of a slice means for the object; `None` if it says nothing of
// parts.
const fn said_of_parts(status: u16, why: NotKept) -> Option<Unsliced> {
    match (status, why) {
        (206, NotKept::Partial) | (200 | 304 | 412, _) => Some(Unsliced::NoPart),
        (206, _) => Some(Unsliced::NotKept),
        (416, _) => Some(Unsliced::Unsatisfiable),
        _ => None,
    }
}

// What a viewer is sent of an object whose length and validators are known, and which octets of it.
fn form(
    asked: &CacheRequest<'_>,
    wants: &ranges::Asked,
    first: &Stored,
    part: Part,
    now: Timestamp,
) -> (ResponseForm, Option<Span>) {
    let known = &asked.head().known;
    if known.has(Known::Range) && !forms::may_go_on(asked.head(), first, now) {
        return (ResponseForm::PreconditionFailed, None);
    }
    let asks = Conditions {
        if_none_match: known.get(Known::IfNoneMatch),
        if_modified_since: known.get(Known::IfModifiedSince),
    };
    let (etag, modified) = (first.head.etag(), first.head.last_modified());
    if validators::evaluate(&asks, etag, modified, now) == Condition::NotModified {
        return (ResponseForm::NotModified, None);
    }
    let holds = known
        .get(Known::IfRange)
        .is_none_or(|c| validators::if_range_holds(c, etag, modified, first.date));
    let selection = if holds { ranges::select(wants, part.complete) } else { Selection::Whole };
    match selection {
        Selection::Part(span) => (ResponseForm::Part(span), Some(span)),
        Selection::Unsatisfiable => (ResponseForm::Unsatisfiable(part.complete), None),
        Selection::Whole | Selection::Parts(_) => {
            (ResponseForm::Whole, Some(Span { start: 0, end: part.complete }))
        }
    }
}

type Coming = Pin<Box<dyn Future<Output = Result<Slice, BodyError>> + Send>>;

/// An answer put together from slices, one after the other.
struct SliceBody {
    core: Arc<Proxy>,
    exchange: Exchange,
    key: CacheKey,
    size: u64,
    at: u64,
    end: u64,
    like: Likeness,
    /// The slice that was looked at for the head; most often the first that is needed.
    known: Option<Slice>,
    reader: Option<Reader>,
    coming: Option<Coming>,
}

impl SliceBody {
    fn read(&mut self, stored: &Arc<Stored>) -> Result<(), BodyError> {
        let part = stored.part().ok_or(BodyError::Truncated)?;
        if Likeness::of(stored, part) != self.like
            || self.at < part.span.start
            || self.at >= part.span.end
        {
            // Another version: neither it nor what we began with may be mixed with anything again.
            self.core.edge.remove(stored);
            self.core.forget_slice(&self.key, 0);
            self.core.forget_slice(&self.key, self.at.saturating_sub(1) / self.size);
            return Err(BodyError::Truncated);
        }
        let span = Span {
            start: self.at - part.span.start,
            end: self.end.min(part.span.end) - part.span.start,
        };
        self.reader = stored.content.read(Some(span));
        self.reader.is_some().then_some(()).ok_or(BodyError::Overrun)
    }
}

impl Source for SliceBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            if let Some(reader) = &mut self.reader {
                match ready!(reader.poll_piece(cx)) {
                    Some(Ok(piece)) => {
                        self.at += piece.len() as u64;
                        return Poll::Ready(Some(Ok(piece)));
                    }
                    Some(Err(why)) => return Poll::Ready(Some(Err(why))),
                    None => self.reader = None,
                }
            }
            if self.at >= self.end {
                return Poll::Ready(None);
            }
            let index = self.at / self.size;
            let fits = self.known.take().filter(|stored| {
                stored.part().is_some_and(|part| part.span.start / self.size == index)
            });
            let stored = match (fits, &mut self.coming) {
                (Some(stored), _) => stored,
                (None, Some(coming)) => {
                    let came = ready!(coming.as_mut().poll(cx));
                    self.coming = None;
                    match came {
                        Ok(stored) => stored,
                        Err(why) => return Poll::Ready(Some(Err(why))),
                    }
                }
                (None, None) => {
                    let exchange = self.exchange.clone();
                    self.coming = Some(Box::pin(Arc::clone(&self.core).slice_for(
                        exchange,
                        self.key.clone(),
                        index,
                        self.size,
                    )));
                    continue;
                }
            };
            if let Err(why) = self.read(&stored) {
                return Poll::Ready(Some(Err(why)));
            }
        }
    }
}
