//! A viewer's write: what it makes old is old before the viewer is answered; where its behavior
//! says so, on every other node, too.

use std::sync::Arc;

use http::Method;

use super::exchange::Exchange;
use super::{Proxy, Tally};
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Matcher;
use crate::distribution::events::Refill;
use crate::region::standings::Status;

impl Proxy {
    /// Makes old what a successful write has changed. In force here when this returns; true if it
    /// was to be so everywhere, and is not known to be within the time that the answer may wait.
    pub(super) async fn written(
        self: &Arc<Self>,
        exchange: &Exchange,
        asked: &CacheRequest<'_>,
        matchers: Vec<Matcher>,
    ) -> bool {
        let id = asked.routed.distribution.id.clone();
        let record = self.edge.invalidation.written(id, matchers).await;
        let Some(through) = asked.routed.behavior.write_through else { return false };
        let tally = &self.edge.tally;
        Tally::add(&tally.writes_through);
        let site = &exchange.running.site;
        let status = match &record {
            Some(record) => self.come_everywhere(site, record, through.wait).await,
            None => Status::InProgress,
        };
        // Afterwards: what a fetch brings is not made old by the write that it was fetched for.
        if through.refill == Refill::AtOnce && *asked.head().method != Method::DELETE {
            self.refill_behind(exchange);
        }
        let is_unspread = status != Status::Completed;
        if is_unspread {
            Tally::add(&tally.writes_unspread);
            tracing::debug!(
                distribution = asked.routed.distribution.id,
                "a write was answered before it was known to be in effect everywhere"
            );
        }
        is_unspread
    }
}
