//! Answers that replace what is stored, because their callers may ask for that.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Proxy;
use super::exchange::Exchange;
use super::fetch_request::FetchRequest;
use crate::cache::ask::CacheRequest;
use crate::cache::unsafe_methods;
use crate::message::failure::Failure;
use crate::message::response::ViewerResponse;
use crate::message::verdict::{MissReason, Reason};
use crate::origin::request::FetchKind;

/// So long an answer that replaces what is stored waits for the parents to hear of it.
const HEARD_WITHIN: Duration = Duration::from_secs(1);

impl Proxy {
    /// Alone: a fetch under way may have begun before the change that the caller knows of. Once the
    /// caller has its answer, no tier that can be reached goes on giving what it had.
    pub(super) async fn replace_everywhere(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Result<ViewerResponse, Failure> {
        let heard = self.outdate(exchange, asked).await;
        let came = match self.replace_slices(exchange, asked).await {
            Some(came) => came,
            None => {
                let fetch = FetchRequest::of(exchange, asked, FetchKind::Fill);
                self.replace(fetch, Reason::Miss(MissReason::Invalidated)).await
            }
        };
        if let Some(heard) = heard {
            let _ = tokio::time::timeout(HEARD_WITHIN, heard).await;
        }
        came
    }

    // Slices are replaced one by one, as they are asked for; none of them by a fetch that is under
    // way.
    async fn replace_slices(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<Result<ViewerResponse, Failure>> {
        asked.routed.behavior.slice?;
        let request = Arc::new(exchange.request.arriving_at(self.edge.invalidations.head()));
        let later = Exchange { request, ..exchange.clone() };
        self.try_slices(&later, asked).await
    }

    /// What the origin is known to have anew, no other tier may go on giving, nor may the slices of
    /// the object. Says when the parents have heard.
    pub(super) async fn outdate(
        &self,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
    ) -> Option<oneshot::Receiver<()>> {
        let has_parents = exchange.running.region.is_some();
        if (has_parents || asked.routed.behavior.slice.is_some())
            && let Some(url) = unsafe_methods::own_url(asked)
        {
            self.edge.invalidation.outdated(asked.routed.distribution.id.clone(), url).await;
        }
        if has_parents { self.edge.invalidation.tell_parents() } else { None }
    }
}
