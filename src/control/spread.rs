//! How far an invalidation has come beyond this process: at parents that are told of it, or in the
//! fleet whose log has it.

use std::time::Duration;

use super::Control;
use super::tier_status::tier_nodes;
use crate::fleet::status::{FleetStatus, MemberProof, ParentStatus};
use crate::invalidation::log::InvalidationRecord;
use crate::region::standings::{ParentState, Status};
use crate::semantics::time::format_rfc3339;

/// What a caller is told of its invalidation.
pub struct Spread {
    pub status: Status,
    pub parents: Vec<ParentState>,
    pub members: Vec<MemberProof>,
}

impl Control {
    /// Waits until an invalidation has come everywhere, at most for `wait`; without one, as long as
    /// the configuration says.
    pub async fn spread(&self, record: &InvalidationRecord, wait: Option<Duration>) -> Spread {
        let Some(member) = self.edge.fleet.get() else {
            let status = self.forwarder.forward(record.number).await;
            let parents = self.edge.standings.states(record.number);
            return Spread { status, parents, members: Vec::new() };
        };
        let configured = || self.started_with.fleet.as_ref().map(|fleet| fleet.wait);
        let wait = match self.succession.has_successor() {
            // The member here follows the log no more.
            true => Duration::ZERO,
            false => wait.or_else(configured).unwrap_or(Duration::ZERO),
        };
        let settled = tokio::select! {
            settled = member.settle(record.identity, wait) => settled,
            // Later is told by whoever has this process's place.
            () = self.succession.is_hurried() => {
                member.settle(record.identity, Duration::ZERO).await
            }
        };
        let (status, members) = (settled.progress.into(), settled.members);
        Spread { status, parents: Vec::new(), members }
    }

    /// How far each of these has come by now.
    pub async fn statuses(&self, records: &[InvalidationRecord]) -> Vec<Status> {
        match self.edge.fleet.get() {
            Some(member) => {
                let ids: Vec<_> = records.iter().map(crate::fleet::restore::fleet_id).collect();
                member.progress(&ids).await.into_iter().map(Status::from).collect()
            }
            None => {
                let standings = &self.edge.standings;
                records.iter().map(|record| standings.status(record.number)).collect()
            }
        }
    }

    /// How the fleet stands; `None` outside of one.
    pub async fn fleet_status(&self) -> Option<FleetStatus> {
        let (member, fleet) = (self.edge.fleet.get()?, self.started_with.fleet.as_ref()?);
        let status = member.status(fleet.sequencer.to_string()).await;
        let running = self.edge.running();
        let views = running.region.iter().flat_map(|region| region.views());
        let parents = views.map(|view| ParentStatus {
            parent: view.name.to_string(),
            weight: u32::from(view.weight.0),
            condition: view.condition.word().to_string(),
            why: view.condition.why(),
            until: view.condition.until().map(format_rfc3339),
        });
        let tier = running.tier.as_deref().map(tier_nodes).unwrap_or_default();
        Some(FleetStatus { parents: parents.collect(), tier, ..status })
    }
}
