//! The body of a response that lies in a tier, piece by piece as it is wanted.
//!
//! A piece that is missing, late or not ours breaks the body off; its reader goes on with the next
//! hop. What counts is how long pieces are waited for, those of all parts that one request wants:
//! time in which the reader wants none is free.

use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Tier;
use super::codec::{Outline, PIECE};
use super::miss::Miss;
use crate::body::{BodyError, Source};
use crate::message::key::CacheKey;
use crate::semantics::ranges::Span;

/// A tier that gives fewer octets a second, while they are waited for, is worse than the next hop.
const LEAST_RATE: u64 = 256 << 10;

type Coming = Pin<Box<dyn Future<Output = Result<Bytes, Miss>> + Send>>;

/// How long one request has waited for pieces of a body, and how many have come. Clones share that.
#[derive(Clone, Default)]
pub struct Waited(Arc<Sums>);

#[derive(Default)]
struct Sums {
    micros: AtomicU64,
    pieces: AtomicU64,
}

impl Waited {
    // How long the next piece may be waited for.
    fn patience(&self, total: Duration) -> Duration {
        let octets = self.0.pieces.load(Ordering::Relaxed).saturating_mul(PIECE as u64);
        let earned = Duration::from_millis(octets.saturating_mul(1000) / LEAST_RATE);
        let waited = Duration::from_micros(self.0.micros.load(Ordering::Relaxed));
        (total + earned).saturating_sub(waited)
    }

    fn note(&self, waited: Duration, has_come: bool) {
        let micros = u64::try_from(waited.as_micros()).unwrap_or(u64::MAX);
        self.0.micros.fetch_add(micros, Ordering::Relaxed);
        self.0.pieces.fetch_add(u64::from(has_come), Ordering::Relaxed);
    }
}

/// A body of more than one value, or a part of one.
pub struct Pieces {
    tier: Arc<Tier>,
    key: CacheKey,
    outline: Outline,
    /// Which octets of the body are wanted.
    span: Span,
    /// The numbers of the pieces that are still to come.
    left: Range<u32>,
    coming: Option<(Instant, Coming)>,
    waited: Waited,
}

impl Pieces {
    /// The whole body of the response of a key.
    pub fn new(tier: Arc<Tier>, key: CacheKey, outline: Outline) -> Self {
        let whole = Span { start: 0, end: outline.length };
        Self::of(tier, key, outline, whole, Waited::default())
    }

    /// These octets of it, for which no more is read than the pieces that they lie in. All parts of
    /// one request have the same `waited`.
    pub fn of(
        tier: Arc<Tier>,
        key: CacheKey,
        outline: Outline,
        span: Span,
        waited: Waited,
    ) -> Self {
        let left = outline.pieces_of(span);
        Self { tier, key, outline, span, left, coming: None, waited }
    }

    fn ask(&self, began: Instant) -> Coming {
        let (tier, key) = (Arc::clone(&self.tier), self.key.clone());
        let deadline = began + self.waited.patience(self.tier.timeouts.total);
        let (outline, number) = (self.outline, self.left.start);
        Box::pin(async move { tier.piece(&key, &outline, number, deadline).await })
    }

    // What is wanted of the piece with this number.
    fn wanted(&self, number: u32, piece: &Bytes) -> Bytes {
        let at = u64::from(number) * PIECE as u64;
        let within = |octet: u64| octet.saturating_sub(at).min(piece.len() as u64) as usize;
        piece.slice(within(self.span.start)..within(self.span.end))
    }

    /// All of it at once, which is for short bodies alone.
    pub async fn collect(mut self) -> Option<Bytes> {
        let mut all = Vec::with_capacity(usize::try_from(self.span.len()).ok()?);
        while let Some(piece) = std::future::poll_fn(|cx| self.poll_piece(cx)).await {
            all.extend_from_slice(&piece.ok()?);
        }
        Some(Bytes::from(all))
    }
}

impl Source for Pieces {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        let (began, mut coming) = match self.coming.take() {
            Some(coming) => coming,
            None => {
                let began = Instant::now();
                (began, self.ask(began))
            }
        };
        let Poll::Ready(came) = coming.as_mut().poll(cx) else {
            self.coming = Some((began, coming));
            return Poll::Pending;
        };
        self.waited.note(began.elapsed(), came.is_ok());
        match came {
            Ok(piece) => {
                let wanted = self.wanted(self.left.start, &piece);
                self.left.start += 1;
                Poll::Ready(Some(Ok(wanted)))
            }
            Err(miss) => {
                let (why, number) = (miss.name(), self.left.start);
                tracing::info!(why, number, "a body of the tier breaks off");
                // Nothing is asked for after it.
                self.left = 0..0;
                Poll::Ready(Some(Err(if miss == Miss::TimedOut {
                    BodyError::Stalled
                } else {
                    BodyError::Truncated
                })))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_one_request_share_their_patience() {
        let (total, millis) = (Duration::from_secs(2), Duration::from_millis);
        let one = Waited::default();
        let other = one.clone();
        assert_eq!(one.patience(total), total);
        // A piece of 64 KiB earns a quarter of a second.
        for (waited, has_come, left) in
            [(1_500, true, 750), (500, true, 500), (400, false, 100), (200, false, 0)]
        {
            one.note(millis(waited), has_come);
            assert_eq!(other.patience(total), millis(left), "{waited}");
        }
        assert_eq!(Waited::default().patience(total), total, "of another request");
    }
}
