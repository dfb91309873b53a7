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
/// Characters of an error that are repeated.
const ERROR_MAX: usize = 300;

/// A sequencer on a parent.
pub struct Remote {
    fleet: Name,
    /// Of the members that ask for leases here.
    lease: Duration,
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
    pub fn new(fleet: &Name, lease: Duration, parent: SequencerParent) -> Self {
        Self {
            fleet: fleet.clone(),
            lease,
            parent,
            resolver: Resolver::default(),
            quick: Lines::new(QUICK),
            readings: Lines::new(READINGS),
            rosters: Lines::new(ROSTERS),
        }
    }

    async fn ask(&self, call: Call) -> Result<Reply, CallError> {
        let call = self.within_reach(call);
        let (lines, wait) = match &call {
            Call::Read { wait, .. } => (&self.readings, *wait),
            Call::Roster { wait, .. } if *wait > 0 => (&self.rosters, *wait),
            _ => (&self.quick, 0),
        };
        let wait = Duration::from_millis(wait);
        match tokio::time::timeout(wait + PATIENCE, self.ask_over(lines, call, wait)).await {
            Ok(told) => told,
            Err(_) => Err(failed("it did not answer in time")),
        }
    }

    // While as many callers have the parent hold a roster as may, others are told how things stand,
    // and ask again.
    fn within_reach(&self, call: Call) -> Call {
        match call {
            Call::Roster { .. } if self.rosters.places.available_permits() == 0 => at_once(call),
            _ => call,
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
        let lease = Some(self.lease);
        let said = Post { path: "/v1/fleet/call", body, limit: wire::REPLY_MAX, lease };
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
        let why = error_of(&answer.body).map(|why| format!(": {why}")).unwrap_or_default();
        return Err(failed(format!("it answered {}{why}", answer.status)));
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

// What the body of an admin listener's error says, as far as it is short.
fn error_of(body: &[u8]) -> Option<String> {
    let said: serde_json::Value = serde_json::from_slice(body).ok()?;
    said["error"].as_str().map(|why| why.chars().take(ERROR_MAX).collect())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;

    use http::{Request, Response};
    use http_body_util::{BodyExt, Full};
    use hyper::body::Incoming;
    use hyper::server::conn::http1::Builder;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;

    use super::super::calls;
    use super::super::here::Here;
    use super::super::protocol::{Epoch, MemberId, Payload, Place};
    use super::super::sequencer::Renew;
    use super::*;
    use crate::base::secret::Secret;
    use crate::clock::Clock;
    use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
    use crate::distribution::region::AdminUrl;
    use crate::invalidation::chain::{Incarnation, RecordId};
    use crate::semantics::time::Timestamp;

    async fn answer(here: Arc<Here>, request: Request<Incoming>) -> Response<Full<Bytes>> {
        assert_eq!(request.uri().path(), "/v1/fleet/call");
        assert_eq!(request.headers()["authorization"], "Bearer between-us");
        assert_eq!(request.headers()["foreshore-edge"], "e1");
        assert_eq!(request.headers()["foreshore-lease"], "10000");
        let said = request.into_body().collect().await.unwrap().to_bytes();
        let (status, octets) = calls::take(&here, "e1", None, &said).await;
        let mut response = Response::new(Full::new(Bytes::from(octets)));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        response
    }

    // A parent's admin listener, as far as a member sees it, and the member's side of it.
    async fn pair() -> (Arc<Here>, Arc<Remote>) {
        let fleet = Name::parse("own").unwrap();
        let here = Here::in_memory("own", &Clock::starting_at(Timestamp(0)));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let parent = Arc::clone(&here);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let parent = Arc::clone(&parent);
                let service = service_fn(move |request| {
                    let answered = answer(Arc::clone(&parent), request);
                    async move { Ok::<_, Infallible>(answered.await) }
                });
                tokio::spawn(Builder::new().serve_connection(TokioIo::new(tcp), service));
            }
        });
        let (roots, min) = (Roots::System, TlsVersion::V1_2);
        let remote = Remote::new(
            &fleet,
            Duration::from_secs(10),
            SequencerParent {
                admin: AdminUrl { host: "127.0.0.1".into(), port, is_tls: false },
                edge_id: "e1".into(),
                token: Secret::new("between-us".into()),
                tls: OriginTls {
                    roots,
                    server_name: None,
                    identity: None,
                    min,
                    more_names: Vec::new(),
                },
            },
        );
        (here, Arc::new(remote))
    }

    #[tokio::test]
    async fn a_held_reading_keeps_no_other_call_waiting() {
        let (here, remote) = pair().await;
        let (epoch, from) = here.head();
        let reader = Arc::clone(&remote);
        let reading =
            tokio::spawn(
                async move { reader.call(Call::Read { from, most: 10, wait: 30_000 }).await },
            );
        while here.held() == 0 {
            tokio::task::yield_now().await;
        }
        let name = Name::parse("e1").unwrap();
        let member = MemberId { name, incarnation: Incarnation::random() };
        let renew = Call::Renew(Renew { member, epoch, applied: from });
        for _ in 0..3 {
            let renewed = remote.call(renew.clone()).await;
            assert!(matches!(renewed, Ok(Reply::Renewed(r)) if !r.is_listed && r.head == from));
        }
        assert!(!reading.is_finished());
        let (id, payload) = (RecordId::random(), Payload::TicketKeys { wrapped: "k".into() });
        let append = Call::Append { epoch, id, payload };
        for _ in 0..2 {
            let told = remote.call(append.clone()).await;
            assert_eq!(told, Ok(Reply::Appended(from.after(id))), "the same when said again");
        }
        let read = reading.await.unwrap();
        assert!(matches!(read, Ok(Reply::Records(r)) if r.len() == 1 && r[0].id == id));
        let fence = remote.call(Call::Fence { old: Epoch::default() }).await;
        assert_eq!(fence, Err(CallError::Refused(Refusal::OtherEpoch)));
        here.close().await.unwrap();
        assert!(matches!(remote.call(renew).await, Err(CallError::Failed(_))));
    }

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
        let body = Bytes::from_static(br#"{"error":"this edge is not trusted here"}"#);
        let unknown = hear(&own, &call, &Answer { status: StatusCode::UNAUTHORIZED, body });
        let why =
            "the fleet's sequencer: it answered 401 Unauthorized: this edge is not trusted here";
        assert_eq!(unknown, Err(CallError::Failed(why.into())));
        let torn = Answer { status: StatusCode::OK, body: Bytes::from_static(b"{") };
        assert!(matches!(hear(&own, &call, &torn), Err(CallError::Failed(_))));
    }

    #[test]
    fn a_call_that_waited_for_its_turn_is_not_held_too() {
        let read = Call::Read { from: Place::START, most: 3, wait: 30_000 };
        assert_eq!(at_once(read), Call::Read { from: Place::START, most: 3, wait: 0 });
    }
}
