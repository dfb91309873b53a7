//! The tier of a running site: started by the first core that needs it, and kept over reloads that
//! leave it as it is.

use std::sync::{Arc, OnceLock};

use super::node::NodeStatus;
use super::room::Holds;
use super::{Counts, Tier};
use crate::distribution::fleet::SequencerAt;
use crate::distribution::site::Site;
use crate::distribution::tier as configured;

/// Where a tier is, or will be.
pub struct Seat {
    configured: configured::Tier,
    /// What its nodes are used for.
    pub holds: Holds,
    pub counts: Arc<Counts>,
    /// `None` inside: its certificates cannot be used, which has been said.
    started: OnceLock<Option<Arc<Tier>>>,
}

impl Seat {
    /// The seat that a site asks for; `before` is that of the site it replaces.
    pub fn for_site(site: &Site, before: Option<&Arc<Self>>) -> Option<Arc<Self>> {
        let configured = site.tier.as_ref()?;
        if let Some(same) = before.filter(|before| before.configured.is_same(configured)) {
            return Some(Arc::clone(same));
        }
        let counts = before.map(|before| Arc::clone(&before.counts)).unwrap_or_default();
        let has_log =
            site.fleet.as_ref().is_some_and(|fleet| matches!(fleet.sequencer, SequencerAt::Tier));
        let holds = if has_log { Holds::CacheAndLog } else { Holds::Cache };
        let configured = configured.clone();
        Some(Arc::new(Self { configured, holds, counts, started: OnceLock::new() }))
    }

    /// The tier. The first call is to be made within a runtime that lasts.
    pub fn tier(&self) -> Option<&Arc<Tier>> {
        let start = || {
            Tier::start(&self.configured, Arc::clone(&self.counts))
                .inspect_err(|why| tracing::warn!(%why, "the tier cannot be used"))
                .ok()
        };
        self.started.get_or_init(start).as_ref()
    }

    /// The state of each node that has been asked or is about to be; none before the first request.
    pub fn nodes(&self) -> Vec<NodeStatus> {
        let started = self.started.get().and_then(Option::as_ref);
        started.map(|tier| tier.status()).unwrap_or_default()
    }

    /// Octets of bodies that wait to be written, and the most that may.
    pub fn queued(&self) -> (u64, u64) {
        let started = self.started.get().and_then(Option::as_ref);
        started.map_or((0, self.configured.queue), |tier| tier.queued())
    }
}
