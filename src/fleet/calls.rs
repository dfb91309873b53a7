//! What edges say to the sequencer of this process over the admin listener, and what they are told.

use super::here::Here;
use super::protocol::{Change, Payload, Refusal};
use super::sequence::{CallError, Sequence};
use super::wire::{self, Call, Reply};

/// Takes one call of an edge, by the name that its token proved and with the length of its leases,
/// where it says that: the status and the body of the answer. A refused call is counted by name and
/// has changed nothing; whatever the status is, up to 499, the body is a `Reply`.
pub async fn take(here: &Here, edge: &str, lease: Option<&[u8]>, octets: &[u8]) -> (u16, Vec<u8>) {
    let told = match read(here, (edge, lease), octets) {
        Ok(call) => here.call(call).await,
        Err(refusal) => Err(CallError::Refused(refusal)),
    };
    match told {
        Ok(reply) => written(here, 200, &reply),
        Err(CallError::Refused(refusal)) => refuse(here, refusal),
        Err(CallError::Failed(why)) => {
            (503, serde_json::json!({ "error": why }).to_string().into_bytes())
        }
    }
}

/// Refuses a call that is not even looked at, as `take` does.
pub fn refuse(here: &Here, refusal: Refusal) -> (u16, Vec<u8>) {
    here.tally().refuse(refusal);
    written(here, status_of(refusal), &Reply::Refused(refusal))
}

fn read(here: &Here, (edge, lease): (&str, Option<&[u8]>), octets: &[u8]) -> Result<Call, Refusal> {
    let call = wire::decode(here.fleet(), octets)?;
    // A member is named as its edge is: no edge can renew for another, or have it leave.
    let speaks_as = match &call {
        Call::Renew(renew) => Some(&renew.member),
        Call::Append { payload: Payload::Member { member, .. }, .. } => Some(member),
        _ => None,
    };
    let is_foreign = speaks_as.is_some_and(|member| member.name.as_str() != edge);
    if is_foreign {
        return Err(Refusal::ForeignMember);
    }
    // Whoever waits for a member waits for the length of a lease. What is invalidated is heard and
    // told all the same: a member that prefers availability uses its store without a lease.
    if counts_on_leases(&call) && !here.has_lease(lease) {
        return Err(Refusal::OtherLease);
    }
    Ok(call)
}

const fn counts_on_leases(call: &Call) -> bool {
    matches!(
        call,
        Call::Renew(_)
            | Call::Roster { .. }
            | Call::Append { payload: Payload::Member { change: Change::Join, .. }, .. }
    )
}

fn written(here: &Here, status: u16, reply: &Reply) -> (u16, Vec<u8>) {
    (status, wire::encode_reply(here.fleet(), reply).unwrap_or_default())
}

const fn status_of(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::Malformed
        | Refusal::Unknown
        | Refusal::TooLarge
        | Refusal::OlderVersion
        | Refusal::NewerVersion => 400,
        Refusal::ForeignFleet | Refusal::ForeignMember | Refusal::OtherLease => 403,
        Refusal::OtherEpoch
        | Refusal::NotListed
        | Refusal::Superseded
        | Refusal::Replayed
        | Refusal::OutOfOrder
        | Refusal::Trimmed
        | Refusal::UnknownPlace
        | Refusal::Full
        | Refusal::Overtaken => 409,
    }
}

#[cfg(test)]
mod tests {
    use super::super::journal::Journal;
    use super::super::protocol::{Epoch, FleetNumber, Kept, KeptEntry, MemberId, Name, Place};
    use super::super::sequencer::Renew;
    use super::super::wire::{MESSAGE_MAX, READ_MAX};
    use super::*;
    use crate::cache::invalidations::{Matcher, Severity};
    use crate::clock::Clock;
    use crate::distribution::fleet::Prefer;
    use crate::invalidation::chain::{Incarnation, RecordId};
    use crate::invalidation::frames::disk::Disk;
    use crate::semantics::time::Timestamp;

    fn name(text: &str) -> Name {
        Name::parse(text).unwrap()
    }

    fn member(text: &str) -> MemberId {
        MemberId { name: name(text), incarnation: Incarnation::random() }
    }

    /// A sequencer with a member and a record, the first of which is trimmed.
    struct Stage {
        here: Here,
        disk: Disk,
        member: MemberId,
        epoch: Epoch,
        head: Place,
        /// The last record's append, as it was sent.
        append: Vec<u8>,
    }

    impl Stage {
        async fn new() -> Self {
            let (disk, fleet) = (Disk::default(), name("own"));
            let (journal, log) = Journal::over(Box::new(disk.clone()), &fleet).unwrap();
            let here = Here::over(journal, log, &fleet, Clock::starting_at(Timestamp(0)));
            let (member, epoch) = (member("e1"), here.head().0);
            let joins = Payload::Member {
                change: Change::Join,
                member: member.clone(),
                prefer: Prefer::Freshness,
                program: None,
            };
            let ticket = Payload::TicketKeys { wrapped: "k".into() };
            let mut append = Vec::new();
            for payload in [joins, ticket] {
                let call = Call::Append { epoch, id: RecordId::random(), payload };
                append = wire::encode(&fleet, &call).unwrap();
                assert_eq!(take(&here, "e1", None, &append).await.0, 200);
            }
            let head = here.head().1;
            let stage = Self { here, disk, member, epoch, head, append };
            assert_eq!(stage.say(stage.renewal(&stage.member, head)).await.0, 200);
            assert_eq!(stage.say(Call::Trim { epoch, upto: 1 }).await.0, 200);
            stage
        }

        fn renewal(&self, member: &MemberId, applied: Place) -> Call {
            Call::Renew(Renew { member: member.clone(), epoch: self.epoch, applied })
        }

        fn octets(&self, call: &Call) -> Vec<u8> {
            wire::encode(self.here.fleet(), call).unwrap()
        }

        async fn say(&self, call: Call) -> (u16, Result<Reply, Refusal>) {
            self.say_with(None, call).await
        }

        async fn say_with(
            &self,
            lease: Option<&[u8]>,
            call: Call,
        ) -> (u16, Result<Reply, Refusal>) {
            let (status, body) = take(&self.here, "e1", lease, &self.octets(&call)).await;
            (status, wire::decode_reply(self.here.fleet(), &body))
        }

        // All that a call may change, on the disk and beside it.
        async fn state(&self) -> (Vec<u8>, Result<Reply, CallError>) {
            let mut roster = self.here.call(Call::Roster { id: RecordId::NONE, wait: 0 }).await;
            // Time goes on whatever is said.
            if let Ok(Reply::Roster(roster)) = &mut roster {
                roster.silent_for.clear();
            }
            (self.disk.0.lock().cached.clone(), roster)
        }

        fn counted(&self) -> Vec<(&'static str, u64)> {
            self.here.tally().refused().filter(|(_, count)| *count > 0).collect()
        }

        // What is refused, and by which name.
        fn bad(&self) -> Vec<(Vec<u8>, u16, Refusal)> {
            let read = self.octets(&Call::Read { from: self.head, most: READ_MAX, wait: 0 });
            let text = String::from_utf8(read).unwrap();
            let with = |from: &str, to: &str| {
                assert!(text.contains(from), "{text}");
                text.replace(from, to).into_bytes()
            };
            let call = |call: Call| self.octets(&call);
            let leave = Payload::Member {
                change: Change::Leave,
                member: member("e2"),
                prefer: Prefer::Freshness,
                program: None,
            };
            let other = Epoch(RecordId::random());
            let (id, elsewhere) = (RecordId::random(), self.head.after(RecordId::random()));
            let fresh = MemberId { incarnation: Incarnation::random(), ..self.member.clone() };
            let read_from = |from| call(Call::Read { from, most: 1, wait: 0 });
            let ticket = Payload::TicketKeys { wrapped: "k".into() };
            let long = Payload::TicketKeys { wrapped: "k".repeat(wire::TEXT_MAX + 1) };
            let put = |epoch, payload| call(Call::Append { epoch, id, payload });
            let document = |after: u64, octets: usize| {
                let (name, content) = ("document/distribution/E1".into(), Some("c".repeat(octets)));
                let entries = vec![KeptEntry { name, content }];
                Payload::Document(Kept { after: FleetNumber(after), entries })
            };
            vec![
                (b"{".to_vec(), 400, Refusal::Malformed),
                (with("\"most\"", "\"more\""), 400, Refusal::Malformed),
                (with("\"read\"", "\"reed\""), 400, Refusal::Unknown),
                (vec![b' '; MESSAGE_MAX + 1], 400, Refusal::TooLarge),
                (with("\"most\":500", "\"most\":501"), 400, Refusal::TooLarge),
                (put(self.epoch, long), 400, Refusal::TooLarge),
                (with("\"version\":1", "\"version\":0"), 400, Refusal::OlderVersion),
                (with("\"version\":1", "\"version\":2"), 400, Refusal::NewerVersion),
                (with("\"own\"", "\"other\""), 403, Refusal::ForeignFleet),
                (call(self.renewal(&member("e2"), self.head)), 403, Refusal::ForeignMember),
                (put(self.epoch, leave), 403, Refusal::ForeignMember),
                (call(self.renewal(&fresh, self.head)), 409, Refusal::Superseded),
                (put(other, ticket), 409, Refusal::OtherEpoch),
                (put(self.epoch, document(0, wire::KEPT_OCTETS)), 400, Refusal::TooLarge),
                (put(self.epoch, document(1, 9)), 409, Refusal::Overtaken),
                (call(Call::Fence { old: other }), 409, Refusal::OtherEpoch),
                (call(Call::Trim { epoch: other, upto: 2 }), 409, Refusal::OtherEpoch),
                (read_from(elsewhere), 409, Refusal::UnknownPlace),
                (read_from(Place::START), 409, Refusal::Trimmed),
            ]
        }
    }

    #[tokio::test]
    async fn what_is_bad_is_refused_by_name_counted_and_changes_nothing() {
        let stage = Stage::new().await;
        let before = stage.state().await;
        for (octets, status, refusal) in stage.bad() {
            let counted = |all: Vec<(&str, u64)>| {
                all.iter().find(|(name, _)| *name == refusal.name()).map_or(0, |(_, count)| *count)
            };
            let count = counted(stage.counted());
            let (told, body) = take(&stage.here, "e1", None, &octets).await;
            let reply = wire::decode_reply(stage.here.fleet(), &body);
            assert_eq!((told, reply), (status, Ok(Reply::Refused(refusal))));
            assert_eq!(counted(stage.counted()), count + 1, "{refusal:?}");
            assert_eq!(stage.state().await, before, "{refusal:?}");
        }
        let all: u64 = stage.counted().iter().map(|(_, count)| count).sum();
        assert_eq!(all, stage.bad().len() as u64, "each under one name");
    }

    #[tokio::test]
    async fn a_member_with_another_lease_is_heard_and_hears_but_is_not_waited_for() {
        let stage = Stage::new().await;
        let (own, other) = (Some(&b"10000"[..]), Some(&b"2001"[..]));
        let joins = Payload::Member {
            change: Change::Join,
            member: stage.member.clone(),
            prefer: Prefer::Availability,
            program: None,
        };
        let invalidation = Payload::Invalidation {
            name: "i".into(),
            distribution: "E".into(),
            matchers: vec![Matcher::Prefix("/".into())],
            severity: Severity::Hard,
        };
        let append = |payload| Call::Append { epoch: stage.epoch, id: RecordId::random(), payload };
        let renewal = stage.renewal(&stage.member, stage.head);
        let roster = Call::Roster { id: RecordId::NONE, wait: 0 };
        for call in [renewal.clone(), roster, append(joins)] {
            let refused = (403, Ok(Reply::Refused(Refusal::OtherLease)));
            assert_eq!(stage.say_with(other, call).await, refused);
        }
        let told = stage.say_with(other, append(invalidation)).await;
        assert!(matches!(told, (200, Ok(Reply::Appended(_)))), "{told:?}");
        let read = Call::Read { from: stage.head, most: 1, wait: 0 };
        let heard = stage.say_with(other, read).await;
        assert!(matches!(&heard, (200, Ok(Reply::Records(all))) if all.len() == 1), "{heard:?}");
        assert_eq!(stage.say_with(own, renewal).await.0, 200);
    }

    #[tokio::test]
    async fn what_is_said_again_or_late_changes_nothing() {
        let stage = Stage::new().await;
        let before = stage.state().await;
        let (status, body) = take(&stage.here, "e1", None, &stage.append).await;
        let reply = wire::decode_reply(stage.here.fleet(), &body);
        assert_eq!((status, reply), (200, Ok(Reply::Appended(stage.head))));
        // A renewal from before, and one that names a place which is not there.
        let elsewhere = stage.head.after(RecordId::random());
        for applied in [Place::START, elsewhere] {
            let (status, reply) = stage.say(stage.renewal(&stage.member, applied)).await;
            let Ok(Reply::Renewed(renewal)) = reply else { panic!("a renewal") };
            assert_eq!((status, renewal.head), (200, stage.head));
        }
        assert_eq!(stage.say(Call::Trim { epoch: stage.epoch, upto: 1 }).await.0, 200);
        assert_eq!(stage.state().await, before);
        assert!(stage.counted().is_empty());
    }

    #[tokio::test]
    async fn a_fence_that_is_said_again_is_refused() {
        let stage = Stage::new().await;
        let fence = Call::Fence { old: stage.epoch };
        assert!(matches!(stage.say(fence.clone()).await, (200, Ok(Reply::Fenced(_)))));
        let before = stage.state().await;
        let again = (409, Ok(Reply::Refused(Refusal::OtherEpoch)));
        assert_eq!(stage.say(fence).await, again);
        assert_eq!(stage.state().await, before);
    }
}
