//! The method PURGE: an invalidation of the URL it names, or of everything below a path that ends in `*`.

use std::sync::Arc;

use super::Core;
use crate::cache::invalidations::{Matcher, Severity, canonical};
use crate::deliver::page;
use crate::distribution::site::Site;
use crate::exchange::chosen;
use crate::exchange::failure::{Failure, FailureKind};
use crate::exchange::response::ViewerResponse;
use crate::gate::Routed;
use crate::region::forward::PATIENCE;
use crate::store::log::{Record, new_id};

impl Core {
    /// Purges what a request names. In effect here, and on the disk, when this returns; the answer says whether it is at every parent.
    pub(super) async fn purge(self: &Arc<Self>, site: &Site, routed: &Routed<'_>) -> ViewerResponse {
        let matcher = match routed.head.path.strip_suffix('*') {
            Some(prefix) if !prefix.contains('*') => Matcher::Prefix(canonical(prefix.as_bytes()).into_owned()),
            _ => {
                let mut url = Vec::new();
                chosen::write_keyed_url(&mut url, routed.behavior, routed.path, routed.head.query);
                Matcher::Path(canonical(&url).into_owned())
            }
        };
        // As other proxies have it: kept, but asked about before it is used again.
        let is_soft =
            routed.head.fields.get_all("soft-purge").chain(routed.head.fields.get_all("fastly-soft-purge")).any(|line| line == b"1");
        let severity = if is_soft { Severity::Soft } else { Severity::Hard };
        // Whichever side of a deployment this request drew: the invalidation is the primary's, and takes in both.
        let owner = site.hosts.find(routed.head.host).map_or(routed.distribution, |at| &site.distributions[at]);
        let record = Record::new(new_id(), owner.id.clone(), vec![matcher], severity, self.edge.clock.now().0);
        match self.edge.accept(record).await {
            Ok(record) => {
                let status = self.edge.standings.settle(record.number, PATIENCE).await;
                page::purged(&record.id, record.number, status.as_str())
            }
            Err(error) => {
                tracing::error!(%error, "a purge could not be written down");
                let failure = Failure::new(FailureKind::Storage, "the invalidation log could not be written");
                page::failure(failure, &routed.distribution.face, routed.head.id)
            }
        }
    }
}
