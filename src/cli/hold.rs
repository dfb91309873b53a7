//! What a running process holds back while another one reads its data folder and takes over from
//! it, and how it goes on where that comes to nothing.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::time::timeout;

use super::disk_tier::DiskTier;
use super::seal;
use crate::control::Control;
use crate::fleet::node::Rest;
use crate::invalidation::service::{Held, Relay};

/// While it lasts nothing is written to the data folder here. Each of its functions may block, on a
/// thread of a runtime.
pub(super) struct Hold<'e> {
    control: &'e Arc<Control>,
    disk: &'e Arc<DiskTier>,
    step: Duration,
    changes: OwnedRwLockWriteGuard<()>,
    /// A member of a fleet rests.
    rest: Option<Rest>,
    invalidations: Held<'e>,
}

impl<'e> Hold<'e> {
    /// Waits until what is under way is done, for so long with each. An error says what is not.
    pub fn begin(
        control: &'e Arc<Control>,
        disk: &'e Arc<DiskTier>,
        step: Duration,
    ) -> Result<Self, String> {
        let succession = &control.succession;
        succession.hurry.send_replace(true);
        let changes = wait(step, Arc::clone(&succession.changes).write_owned());
        succession.hurry.send_replace(false);
        let changes = changes.ok_or_else(|| {
            format!("calls of the admin listener, or a reload, did not end within {step:?}")
        })?;
        // Once no call waits for what the log of the fleet brings.
        let rest = match control.edge.fleet.get() {
            Some(member) => Some(wait(step, member.rest()).ok_or_else(|| {
                format!("what the fleet's log says did not take effect within {step:?}")
            })?),
            None => None,
        };
        let invalidations = control.edge.invalidation.hold();
        control.log.settle().map_err(|error| error.to_string())?;
        disk.pause();
        let hold = Self { control, disk, step, changes, rest, invalidations };
        hold.end_log();
        Ok(hold)
    }

    fn has_parents(&self) -> bool {
        self.control.edge.running().site.region.is_some()
    }

    // The parents are told where the log ends in this process, for the other to go on from there. One
    // that does not hear it begins anew with the other.
    fn end_log(&self) {
        if !self.has_parents() {
            return;
        }
        let (data, own) = (&self.control.started_with.data, self.control.edge.incarnation());
        if let Err(error) = seal::write(data, own) {
            tracing::warn!(%error, "the invalidation log was not sealed; the parents begin anew");
        }
        Handle::current().block_on(self.control.forwarder.seal());
    }

    /// From here on the other process may know of invalidations, and write and answer as a fleet's
    /// sequencer, where this one is: it leaves off.
    pub fn freeze(&self) -> Result<(), String> {
        self.control.edge.invalidations.freeze();
        let Some(sequencer) = &self.control.sequencer else { return Ok(()) };
        match wait(self.step, sequencer.close()) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(format!("the fleet's log could not be ended: {error:?}")),
            None => Err(format!("the fleet's log did not end within {:?}", self.step)),
        }
    }

    /// The other is gone, which may have written something: it is taken note of, and this one answers
    /// from its store again.
    pub fn thaw(&mut self) {
        let edge = &self.control.edge;
        match edge.invalidation.catch_up(&mut self.invalidations) {
            Ok(()) => {
                edge.invalidations.thaw();
                self.disk.find_again(edge, self.control.log.last());
            }
            Err(error) => {
                tracing::error!(%error, "the invalidation log cannot be read; everything stored is validated before use until a restart");
                self.disk.abandon(edge);
            }
        }
        if let Some(sequencer) = &self.control.sequencer
            && let Err(error) = sequencer.reopen()
        {
            tracing::error!(%error, "the fleet's log cannot be opened again; no member has a lease until a restart");
        }
        if let Some(member) = edge.fleet.get() {
            member.follow_again();
        }
    }

    /// This process goes on, and what waited with it.
    pub fn release(self) {
        let edge = &self.control.edge;
        if let Err(error) = self.disk.resume(edge) {
            tracing::error!(%error, "the disk store is not written any more; restart");
        }
        if !self.has_parents() {
            return;
        }
        if let Err(error) = seal::withdraw(&self.control.started_with.data) {
            // Who finds it would go on from where this one does not end: the parents are to know
            // nothing of it.
            tracing::error!(%error, "the seal of the invalidation log cannot be withdrawn; the parents begin anew");
            edge.reincarnate();
        }
        self.control.forwarder.speak_again();
    }

    /// The other goes on, and what waited with it; so does whatever is invalidated here from now on.
    pub fn hand_on(self, relay: Relay) {
        let Self { control, changes, rest, mut invalidations, .. } = self;
        if let (Some(member), Some(rest)) = (control.edge.fleet.get(), rest) {
            member.retire(rest);
        }
        *invalidations = Some(relay);
        drop((changes, invalidations));
    }
}

fn wait<T>(limit: Duration, what: impl Future<Output = T>) -> Option<T> {
    Handle::current().block_on(async { timeout(limit, what).await.ok() })
}
