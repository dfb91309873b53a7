//! What is asked of the hops behind this node, lent by whoever asks.

use std::sync::Arc;

use super::exchange::Exchange;
use crate::cache::ask::CacheRequest;
use crate::message::stored::Stored;
use crate::origin::request::FetchKind;

/// A request as it goes to tiers, parents and origins: on whose behalf, what of the cache it was
/// that had no answer, and why it is asked. A fill owns the same in its `Job`.
#[derive(Clone)]
pub(super) struct FetchRequest<'f> {
    pub exchange: &'f Exchange,
    pub asked: &'f CacheRequest<'f>,
    pub kind: FetchKind,
}

impl<'f> FetchRequest<'f> {
    /// A fetch of what was asked for.
    pub const fn of(exchange: &'f Exchange, asked: &'f CacheRequest<'f>, kind: FetchKind) -> Self {
        Self { exchange, asked, kind }
    }

    /// The stored response that it asks about, if it asks about one.
    pub fn old(&self) -> Option<Arc<Stored>> {
        match &self.kind {
            FetchKind::Revalidate(stored) => Some(Arc::clone(stored)),
            FetchKind::Fill | FetchKind::Pass | FetchKind::Unkept => None,
        }
    }
}
