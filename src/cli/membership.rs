//! Makes a running edge a member of its fleet, as `[fleet]` says, and lets it go again.

use std::sync::Arc;
use std::time::Duration;

use crate::distribution::fleet::{Fleet, SequencerAt, SequencerParent};
use crate::distribution::site::Site;
use crate::fleet::here::Here;
use crate::fleet::issuing::SharedIssuing;
use crate::fleet::node::{Node, NodeContext};
use crate::fleet::protocol::{MemberId, Name};
use crate::fleet::remote::Remote;
use crate::fleet::sequence::Sequence;
use crate::fleet::ticket_keys::{SharedTickets, Turn};
use crate::invalidation::chain::Incarnation;
use crate::invalidation::log::{InvalidationLog, InvalidationRecord};
use crate::proxy::Edge;
#[cfg(feature = "redis")]
use crate::tier::sequence::TierSequence;
use crate::tls::tickets::Tickets;
use crate::tls::wrapping::Wrapping;

/// The sequencer, where this process is one; and the member, where it is one. From here on nothing
/// stored is used without a lease.
#[derive(Default)]
pub struct Membership {
    pub sequencer: Option<Arc<Here>>,
    pub member: Option<Arc<Node>>,
}

impl Membership {
    /// Takes up the membership that a site asks for; `records` is what the log has.
    pub fn begin(
        edge: &Arc<Edge>,
        site: &Site,
        log: &Arc<InvalidationLog>,
        records: &[InvalidationRecord],
        tickets: &Arc<Tickets>,
    ) -> Result<Self, String> {
        let Some(fleet) = &site.fleet else { return Ok(Self::default()) };
        let (name, member) = (name(&fleet.name)?, name(&fleet.member)?);
        let (sequencer, sequence) = sequence(edge, site, fleet, &name)?;
        let ids = Arc::downgrade(edge);
        let context = NodeContext {
            fleet: name,
            id: MemberId { name: member, incarnation: Incarnation::random() },
            prefer: fleet.prefer,
            lease: fleet.lease,
            sequence,
            table: Arc::clone(&edge.invalidations),
            invalidation: Arc::clone(&edge.invalidation),
            log: Arc::clone(log),
            clock: edge.clock.clone(),
            ids: Box::new(move || ids.upgrade().map_or_else(Vec::new, |edge| ids_of(&edge))),
            tickets: shared_tickets(fleet, tickets)?,
            issuing: shared_issuing(edge, fleet)?,
        };
        let member = Node::new(context, records);
        let _ = edge.fleet.set(Arc::clone(&member));
        Ok(Self { sequencer, member: Some(member) })
    }

    /// Leaves the roster, so that no caller waits for this process any more, and ends the log of a
    /// sequencer in order.
    pub async fn end(&self) {
        if let Some(member) = &self.member {
            member.leave().await;
        }
        if let Some(sequencer) = &self.sequencer
            && sequencer.close().await.is_err()
        {
            tracing::warn!("the fleet's log was not ended in order; it begins a new epoch next");
        }
    }
}

type Sequencing = (Option<Arc<Here>>, Arc<dyn Sequence>);

fn sequence(edge: &Edge, site: &Site, fleet: &Fleet, name: &Name) -> Result<Sequencing, String> {
    Ok(match &fleet.sequencer {
        SequencerAt::Here => {
            let here = Here::open(&site.data, name, fleet.lease, edge.clock.clone())
                .map_err(|error| format!("the fleet's log in {}: {error}", site.data.display()))?;
            let here = Arc::new(here);
            (Some(Arc::clone(&here)), here)
        }
        SequencerAt::Parent(parent) => {
            (None, Arc::new(Remote::new(name, fleet.lease, SequencerParent::clone(parent))))
        }
        SequencerAt::Tier => (None, on_the_tier(site, name, fleet.lease)?),
    })
}

#[cfg(feature = "redis")]
fn on_the_tier(site: &Site, name: &Name, lease: Duration) -> Result<Arc<dyn Sequence>, String> {
    let tier = site.tier.as_ref().ok_or("fleet.sequencer = \"tier\", and there is no [tier]")?;
    let sequence = TierSequence::start(tier, name, lease)?;
    Ok(sequence)
}

#[cfg(not(feature = "redis"))]
fn on_the_tier(_: &Site, _: &Name, _: Duration) -> Result<Arc<dyn Sequence>, String> {
    Err("this build has no Redis (Cargo feature `redis`)".into())
}

// What shares this edge's ticket keys with the fleet, where a key to wrap them under is configured.
fn shared_tickets(fleet: &Fleet, tickets: &Arc<Tickets>) -> Result<Option<SharedTickets>, String> {
    let Some(secrets) = &fleet.tickets else { return Ok(None) };
    let turn = match &fleet.sequencer {
        SequencerAt::Here => Turn::First,
        SequencerAt::Parent(_) | SequencerAt::Tier => Turn::Later,
    };
    let wrapping = Wrapping::new(&fleet.name, secrets).ok_or("fleet.ticket_key cannot be used")?;
    Ok(Some(SharedTickets::new(Arc::clone(tickets), wrapping, turn)))
}

// What is told of ordered certificates goes to whoever looks after them here.
fn shared_issuing(edge: &Edge, fleet: &Fleet) -> Result<Option<SharedIssuing>, String> {
    let Some(secrets) = &fleet.tickets else { return Ok(None) };
    let wrapping = Wrapping::new(&fleet.name, secrets).ok_or("fleet.ticket_key cannot be used")?;
    let issuing = Arc::clone(&edge.issuing);
    let hear = move |octets: &[u8]| crate::acme::hear(&issuing, octets);
    Ok(Some(SharedIssuing::new(wrapping, Box::new(hear))))
}

fn name(text: &str) -> Result<Name, String> {
    Name::parse(text).ok_or_else(|| format!("{text:?} is no name of a fleet or of a member"))
}

fn ids_of(edge: &Edge) -> Vec<String> {
    edge.running().site.distributions.iter().map(|one| one.id.clone()).collect()
}
