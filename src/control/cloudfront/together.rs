//! Changes that the members of a fleet make together: each is decided by what is in force here, and
//! takes effect if nothing came first in the fleet's log. Outside of a fleet, at once.

use std::sync::Arc;

use tokio::runtime::Handle;

use super::apply::{internal, unavailable};
use super::xml::Fault;
use crate::control::Control;
use crate::control::values::blocking;
use crate::fleet::keep::{Unkept, kind_of};
use crate::fleet::ledger::Placed;
use crate::fleet::protocol::KeptEntry;
use crate::fleet::settle::Progress;

/// How often something is decided anew because another member came first.
const ATTEMPTS: usize = 30;
/// The code of a decision that came too late; no caller sees it.
const OVERTAKEN: &str = "Overtaken";

/// A change that the fleet's log has, and that is to be put in force here.
pub struct Told {
    placed: Placed,
    entries: Vec<KeptEntry>,
}

impl Control {
    /// Does what may wait for disks and for the fleet, on a thread that may, and anew where another
    /// member of the fleet came first. Few callers at a time: each holds a thread, and of those the
    /// fleet's own work has to have some.
    pub async fn decide<T, W>(self: &Arc<Self>, work: W) -> Result<T, Fault>
    where
        T: Send + 'static,
        W: Fn(&Self) -> Result<T, Fault> + Send + 'static,
    {
        let _place = self.callers.acquire().await;
        let this = Arc::clone(self);
        let done = blocking(move || {
            let control: &Self = &this;
            control.in_order(|| work(control))
        });
        let done = done.await;
        done.unwrap_or_else(|| Err(internal("The call could not be answered.")))
    }

    fn in_order<T>(&self, work: impl Fn() -> Result<T, Fault>) -> Result<T, Fault> {
        let done = self.anew_where(|fault: &Fault| fault.code == OVERTAKEN, work);
        done.map_err(|fault| match fault.code {
            OVERTAKEN => unavailable("Other members of the fleet came first each time; try again."),
            _ => fault,
        })
    }

    /// Does something anew where another member of the fleet came first, for some times.
    pub fn anew_where<T, E>(
        &self,
        is_overtaken: impl Fn(&E) -> bool,
        work: impl Fn() -> Result<T, E>,
    ) -> Result<T, E> {
        let Some(member) = self.edge.fleet.get() else { return work() };
        for _ in 1..ATTEMPTS {
            let seen = member.last_kept();
            match work() {
                Err(error) if is_overtaken(&error) => {
                    Handle::current().block_on(member.wait_for_first(seen));
                }
                done => return done,
            }
        }
        work()
    }

    /// Has the fleet's log say a change that was decided by what is in force here, while nothing
    /// else can change that. `None` outside of a fleet.
    pub fn tell_fleet(&self, entries: Vec<KeptEntry>) -> Result<Option<Told>, Unkept> {
        let Some(member) = self.edge.fleet.get() else { return Ok(None) };
        let kind = kind_of(entries.first().map_or("", |entry| entry.name.as_str()));
        let telling = member.keep(kind, entries.clone());
        let placed = Handle::current().block_on(telling)?;
        Ok(Some(Told { placed, entries }))
    }

    /// Notes that what the fleet's log says is in force here.
    pub fn was_told(&self, told: Option<Told>) {
        if let (Some(member), Some(told)) = (self.edge.fleet.get(), told) {
            member.was_kept(told.placed, &told.entries);
        }
    }

    /// Those of these names whose last change is not in force at every live member yet.
    pub fn spreading(&self, names: Vec<String>) -> Vec<String> {
        let Some(member) = self.edge.fleet.get().filter(|_| !names.is_empty()) else {
            return Vec::new();
        };
        let progress = Handle::current().block_on(member.progress_of_kept(&names));
        let all = names.into_iter().zip(progress);
        all.filter(|(_, how)| *how == Progress::InProgress).map(|(name, _)| name).collect()
    }
}

impl From<Unkept> for Fault {
    fn from(why: Unkept) -> Self {
        match why {
            Unkept::Overtaken => {
                Self::new(503, OVERTAKEN, "Another member of the fleet came first.")
            }
            Unkept::TooLarge => Self::new(
                413,
                "EntitySizeLimitExceeded",
                "It is larger than what the log of a fleet carries in one change.",
            ),
            Unkept::Full => Self::new(
                400,
                "EntityLimitExceeded",
                "The fleet keeps as many documents and values as it may.",
            ),
            Unkept::Away(why) => unavailable(&format!(
                "This edge is a member of a fleet, whose log has to take each change: {why}."
            )),
        }
    }
}
