//! The method PURGE: an invalidation that a viewer's listener takes.

use std::sync::Arc;
use std::time::Duration;

use super::Proxy;
use crate::access::Routed;
use crate::cache::purged::{Purged, purged};
use crate::deliver::error_response;
use crate::distribution::site::Site;
use crate::invalidation::log::{InvalidationRecord, new_id};
use crate::invalidation::service::Durability;
use crate::message::failure::{Failure, FailureKind};
use crate::message::response::ViewerResponse;
use crate::region::forward::PATIENCE;
use crate::region::standings::Status;

impl Proxy {
    /// Purges what a request names. In effect here, and on the disk, when this returns; the answer
    /// says whether it is at every parent.
    pub(super) async fn purge(
        self: &Arc<Self>,
        site: &Site,
        routed: &Routed<'_>,
    ) -> ViewerResponse {
        let Purged { distribution, matcher, severity } = purged(site, routed);
        let record = InvalidationRecord::new(
            new_id(),
            distribution.id.clone(),
            vec![matcher],
            severity,
            self.edge.clock.now().0,
        );
        match self.edge.invalidation.submit(record, Durability::Synced).await {
            Ok(record) => {
                let status = self.come_everywhere(site, &record, None).await;
                error_response::purged(&record.id, record.number, status.as_str())
            }
            Err(error) => {
                tracing::error!(%error, "a purge could not be written down");
                let failure =
                    Failure::new(FailureKind::Storage, "the invalidation log could not be written");
                error_response::failure(failure, &routed.distribution.compat, routed.head.id)
            }
        }
    }

    /// Waits, at most for `wait`, until parents or the fleet have it too; without one as long as the
    /// fleet's configuration says.
    pub(super) async fn come_everywhere(
        &self,
        site: &Site,
        record: &InvalidationRecord,
        wait: Option<Duration>,
    ) -> Status {
        let (Some(member), Some(fleet)) = (self.edge.fleet.get(), &site.fleet) else {
            let wait = wait.unwrap_or(PATIENCE);
            return self.edge.standings.settle(record.number, wait).await;
        };
        member.settle(record.identity, wait.unwrap_or(fleet.wait)).await.progress.into()
    }
}
