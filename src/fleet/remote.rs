//! The sequencer on a parent, reached over the parent's admin listener.
//!
//! Each kind of call has connections of its own, few and kept: readings and rosters are held for
//! long by the parent, and must keep neither renewals nor appends waiting, nor each other.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::protocol::{Name, Refusal};
use super::sequence::{Answered, CallError, Sequence};
use super::wire::{self, Call, Reply};
use crate::distribution::fleet::SequencerParent;
use crate::origin::admin_line::{Answer, Callee, Line, Post, post};
use crate::origin::connect::Resolver;

/// How long a call may take beside the time for which it asks to be held.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a call that is not held waits for a connection that is free.
const TURN: Duration = Duration::from_secs(1);
/// Connections for renewals and appends; for readings, of which a member has one at a time; and for
/// rosters, which all callers that wait for the fleet ask for.
const QUICK: usize = 4;
const READINGS: usize = 2;
const ROSTERS: usize = 8;

/// A sequencer on a parent.
pub struct Remote {
    fleet: Name,
    parent: SequencerParent,
    resolver: Resolver,
    quick: Lines,
    readings: Lines,
    rosters: Lines,
}

/// Connections that are kept, and how many may be in use.
struct Lines {
    places: Semaphore,
    idle: Mutex<Vec<Line>>,
}

impl Lines {
    fn new(most: usize) -> Self {
        Self { places: Semaphore::new(most), idle: Mutex::default() }
    }
}

impl Remote {
    /// One that has asked nothing yet.
    pub fn new(fleet: &Name, parent: SequencerParent) -> Self {
        Self {
            fleet: fleet.clone(),
            parent,
            resolver: Resolver::default(),
            quick: Lines::new(QUICK),
            readings: Lines::new(READINGS),
            rosters: Lines::new(ROSTERS),
        }
    }

    async fn ask(&self, call: Call) -> Result<Reply, CallError> {
        let (lines, wait) = match &call {
            Call::Read { wait, .. } => (&self.readings, *wait),
            Call::Roster { wait, .. } => (&self.rosters, *wait),
            Call::Append { .. } | Call::Renew(_) | Call::Trim { .. } | Call::Fence { .. } => {
                (&self.quick, 0)
            }
        };
        let wait = Duration::from_millis(wait);
        match tokio::time::timeout(wait + PATIENCE, self.ask_over(lines, call, wait)).await {
            Ok(told) => told,
            Err(_) => Err(failed("it did not answer in time")),
        }
    }

    async fn ask_over(
        &self,
        lines: &Lines,
        call: Call,
        wait: Duration,
    ) -> Result<Reply, CallError> {
        let (_place, call) = match lines.places.try_acquire() {
            Ok(place) => (place, call),
            Err(_) => {
                // What time the call had was spent on waiting for its turn.
                let turn = tokio::time::timeout(wait.max(TURN), lines.places.acquire()).await;
                let place = turn.ok().and_then(Result::ok);
                (place.ok_or_else(|| failed("all connections to it are in use"))?, at_once(call))
            }
        };
        let body = wire::encode(&self.fleet, &call).map_err(CallError::Refused)?;
        if body.len() > wire::MESSAGE_MAX {
            return Err(CallError::Refused(Refusal::TooLarge));
        }
        let parent = &self.parent;
        let callee = Callee {
            admin: &parent.admin,
            edge_id: &parent.edge_id,
            token: &parent.token,
            tls: &parent.tls,
        };
        let body = Bytes::from(body);
        let said = Post { path: "/v1/fleet/call", body, limit: wire::REPLY_MAX };
        // Taken out: a call that is dropped in the middle leaves no connection with half an answer.
        let kept = lines.idle.lock().pop();
        let (used, answer) =
            post(kept, callee, &self.resolver, PATIENCE, said).await.map_err(failed)?;
        lines.idle.lock().push(used);
        hear(&self.fleet, &call, &answer)
    }
}

impl Sequence for Remote {
    fn call(&self, call: Call) -> Answered<'_> {
        Box::pin(self.ask(call))
    }
}

fn failed(why: impl std::fmt::Display) -> CallError {
    CallError::Failed(format!("the fleet's sequencer: {why}"))
}

// The same call, for what there is now.
fn at_once(call: Call) -> Call {
    match call {
        Call::Read { from, most, .. } => Call::Read { from, most, wait: 0 },
        Call::Roster { id, .. } => Call::Roster { id, wait: 0 },
        other => other,
    }
}

// What an answer says, if it is one to this call.
fn hear(fleet: &Name, call: &Call, answer: &Answer) -> Result<Reply, CallError> {
    let is_a_reply = matches!(
        answer.status,
        StatusCode::OK | StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::CONFLICT
    );
    if !is_a_reply {
        return Err(failed(format!("it answered {}", answer.status)));
    }
    match wire::decode_reply(fleet, &answer.body) {
        Ok(Reply::Refused(refusal)) => Err(CallError::Refused(refusal)),
        Ok(reply) if wire::answers(call, &reply) => Ok(reply),
        Ok(_) => Err(failed("it answered another call")),
        // It says of itself that it is of another fleet, whatever it thinks of the call.
        Err(Refusal::ForeignFleet) => Err(CallError::Refused(Refusal::ForeignFleet)),
        Err(refusal) => Err(failed(format!("its answer cannot be taken: {}", refusal.name()))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::protocol::{Epoch, Place};
    use super::*;

    #[test]
    fn only_an_answer_to_the_call_is_heard() {
        let (own, other) = (Name::parse("own").unwrap(), Name::parse("other").unwrap());
        let call = Call::Fence { old: Epoch::default() };
        let heard = |fleet: &Name, status: StatusCode, reply: &Reply| {
            let body = Bytes::from(wire::encode_reply(fleet, reply).unwrap());
            hear(&own, &call, &Answer { status, body })
        };
        let good = Reply::Fenced(Epoch::default());
        assert_eq!(heard(&own, StatusCode::OK, &good), Ok(good.clone()));
        let foreign = heard(&other, StatusCode::FORBIDDEN, &Reply::Refused(Refusal::ForeignFleet));
        assert_eq!(foreign, Err(CallError::Refused(Refusal::ForeignFleet)));
        let refused = heard(&own, StatusCode::CONFLICT, &Reply::Refused(Refusal::OtherEpoch));
        assert_eq!(refused, Err(CallError::Refused(Refusal::OtherEpoch)));
        for (status, reply) in [
            (StatusCode::OK, Reply::Appended(Place::START)),
            (StatusCode::NOT_FOUND, good.clone()),
            (StatusCode::SERVICE_UNAVAILABLE, good),
        ] {
            assert!(matches!(heard(&own, status, &reply), Err(CallError::Failed(_))), "{status}");
        }
        let torn = Answer { status: StatusCode::OK, body: Bytes::from_static(b"{") };
        assert!(matches!(hear(&own, &call, &torn), Err(CallError::Failed(_))));
    }

    #[test]
    fn a_call_that_waited_for_its_turn_is_not_held_too() {
        let read = Call::Read { from: Place::START, most: 3, wait: 30_000 };
        assert_eq!(at_once(read), Call::Read { from: Place::START, most: 3, wait: 0 });
    }
}
