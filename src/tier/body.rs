//! The body of a response that lies in a tier, piece by piece as it is wanted.
//!
//! A piece that is missing, late or not ours breaks the body off; its reader goes on with the next
//! hop. What counts is how long a piece is waited for: time in which the reader wants none is free.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::Tier;
use super::codec::Outline;
use super::miss::Miss;
use crate::body::{BodyError, Source};
use crate::message::key::CacheKey;

/// A tier that gives fewer octets a second, while they are waited for, is worse than the next hop.
const LEAST_RATE: u64 = 256 << 10;

type Coming = Pin<Box<dyn Future<Output = Result<Bytes, Miss>> + Send>>;

/// A body of more than one value.
pub struct Pieces {
    tier: Arc<Tier>,
    key: CacheKey,
    outline: Outline,
    /// The number of the next piece.
    next: u32,
    coming: Option<(Instant, Coming)>,
    waited: Duration,
}

impl Pieces {
    /// The whole body of the response of a key.
    pub const fn new(tier: Arc<Tier>, key: CacheKey, outline: Outline) -> Self {
        Self { tier, key, outline, next: 0, coming: None, waited: Duration::ZERO }
    }

    // How long the next piece may be waited for.
    fn patience(&self) -> Duration {
        let octets = u64::from(self.next).saturating_mul(super::codec::PIECE as u64);
        let earned = Duration::from_millis(octets.saturating_mul(1000) / LEAST_RATE);
        (self.tier.timeouts.total + earned).saturating_sub(self.waited)
    }

    fn ask(&self, began: Instant) -> Coming {
        let (tier, key) = (Arc::clone(&self.tier), self.key.clone());
        let (outline, number, deadline) = (self.outline, self.next, began + self.patience());
        Box::pin(async move { tier.piece(&key, &outline, number, deadline).await })
    }

    /// All of it at once, which is for short bodies alone.
    pub async fn collect(mut self) -> Option<Bytes> {
        let mut all = Vec::with_capacity(usize::try_from(self.outline.length).ok()?);
        while let Some(piece) = std::future::poll_fn(|cx| self.poll_piece(cx)).await {
            all.extend_from_slice(&piece.ok()?);
        }
        Some(Bytes::from(all))
    }
}

impl Source for Pieces {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.next >= self.outline.pieces() {
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
        self.waited += began.elapsed();
        match came {
            Ok(piece) => {
                self.next += 1;
                Poll::Ready(Some(Ok(piece)))
            }
            Err(miss) => {
                let (why, number) = (miss.name(), self.next);
                tracing::info!(why, number, "a body of the tier breaks off");
                // Nothing is asked for after it.
                self.next = u32::MAX;
                Poll::Ready(Some(Err(if miss == Miss::TimedOut {
                    BodyError::Stalled
                } else {
                    BodyError::Truncated
                })))
            }
        }
    }
}
