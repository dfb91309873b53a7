//! Pure: what members and a sequencer say to each other, as JSON: the admin listener speaks it, a
//! person can read it, and a record a message is no matter of speed. Every message names its
//! version and its fleet, and every field has a bound. What is refused has changed nothing.

use std::io;

use serde::{Deserialize, Serialize};

use super::protocol::{Epoch, Kept, KeptEntry, Name, Payload, Place, Record, Refusal};
use super::sequencer::{KeptPage, MEMBERS_MAX, Renew, Renewal, Roster};
use crate::cache::invalidations::{Matcher, PATH_MAX};
use crate::invalidation::chain::RecordId;

/// The version that is spoken, and the only one.
pub const VERSION: u64 = 1;
/// Octets of one message.
pub const MESSAGE_MAX: usize = 1 << 20;
/// Matchers of one invalidation (CloudFront: 3,000 paths).
pub const MATCHERS_MAX: usize = 3000;
/// Octets of a distribution's or document's name, and of wrapped ticket keys.
pub const TEXT_MAX: usize = 4096;
/// Octets of what is told of an ordered certificate: a chain and its key, wrapped.
pub const ISSUING_MAX: usize = 128 * 1024;
/// Things that all members keep alike, of one record, and octets of what it says of them: written
/// as JSON within JSON, that still fits a message most times.
pub const ENTRIES_MAX: usize = 5000;
pub const KEPT_OCTETS: usize = 512 << 10;
/// Records that one reading may ask for.
pub const READ_MAX: usize = 500;
/// Octets of records after which a reading ends; the first is told whatever its length.
pub const READ_OCTETS: usize = 4 << 20;
/// Octets of one answer: a reading with one more record, and some room.
pub const REPLY_MAX: usize = READ_OCTETS + 2 * MESSAGE_MAX;
/// Landmarks of one renewal: one for each power of two, the last place and the first.
const LANDMARKS_MAX: usize = 66;

/// The longest that a call may be held until there is something to answer, in milliseconds.
pub const WAIT_MAX: u64 = 30_000;

const CALLS: [&str; 7] = ["append", "renew", "read", "roster", "trim", "fence", "kept"];

/// A call to a sequencer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Call {
    /// Also puts back what a log has lost, with the id that it had.
    Append {
        epoch: Epoch,
        id: RecordId,
        payload: Payload,
    },
    Renew(Renew),
    /// The records after a place; held for so many milliseconds while there is none.
    Read {
        from: Place,
        most: usize,
        wait: u64,
    },
    /// The roster, and the number of a record; held for so many milliseconds until every member has
    /// reported that number.
    Roster {
        id: RecordId,
        wait: u64,
    },
    Trim {
        epoch: Epoch,
        upto: u64,
    },
    Fence {
        old: Epoch,
    },
    /// What all members keep alike, from behind a name on.
    Kept {
        after: String,
    },
}

/// What a sequencer answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Reply {
    /// The place that the record has.
    Appended(Place),
    Renewed(Renewal),
    Records(Vec<Record>),
    Roster(Roster),
    /// The place before the first record that is kept.
    Trimmed(Place),
    /// The epoch that counts now.
    Fenced(Epoch),
    Kept(KeptPage),
    Refused(Refusal),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<C> {
    version: u64,
    fleet: Name,
    call: C,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ReplyEnvelope<R> {
    version: u64,
    fleet: Name,
    reply: R,
}

/// Writes a call of a fleet.
pub fn encode(fleet: &Name, call: &Call) -> Result<Vec<u8>, Refusal> {
    let envelope = Envelope { version: VERSION, fleet: fleet.clone(), call };
    serde_json::to_vec(&envelope).map_err(|_| Refusal::Malformed)
}

/// Reads a call, and refuses by name what is none of this fleet and version, or exceeds a bound.
pub fn decode(fleet: &Name, octets: &[u8]) -> Result<Call, Refusal> {
    if octets.len() > MESSAGE_MAX {
        return Err(Refusal::TooLarge);
    }
    let envelope: Envelope<serde_json::Value> =
        serde_json::from_slice(octets).map_err(|_| Refusal::Malformed)?;
    check(fleet, envelope.version, &envelope.fleet)?;
    let named = envelope.call.as_object().and_then(|call| call.keys().next());
    if !named.is_some_and(|name| CALLS.contains(&name.as_str())) {
        return Err(Refusal::Unknown);
    }
    let call: Call = serde_json::from_value(envelope.call).map_err(|_| Refusal::Malformed)?;
    if is_bounded(&call) { Ok(call) } else { Err(Refusal::TooLarge) }
}

fn check(own: &Name, version: u64, fleet: &Name) -> Result<(), Refusal> {
    match version {
        ..VERSION => Err(Refusal::OlderVersion),
        VERSION if fleet == own => Ok(()),
        VERSION => Err(Refusal::ForeignFleet),
        _ => Err(Refusal::NewerVersion),
    }
}

/// Writes an answer.
pub fn encode_reply(fleet: &Name, reply: &Reply) -> Result<Vec<u8>, Refusal> {
    let envelope = ReplyEnvelope { version: VERSION, fleet: fleet.clone(), reply };
    serde_json::to_vec(&envelope).map_err(|_| Refusal::Malformed)
}

/// Reads an answer, and refuses by name what is none of this fleet and version, or exceeds a bound.
pub fn decode_reply(fleet: &Name, octets: &[u8]) -> Result<Reply, Refusal> {
    if octets.len() > REPLY_MAX {
        return Err(Refusal::TooLarge);
    }
    let envelope: ReplyEnvelope<serde_json::Value> =
        serde_json::from_slice(octets).map_err(|_| Refusal::Malformed)?;
    check(fleet, envelope.version, &envelope.fleet)?;
    let reply: Reply = serde_json::from_value(envelope.reply).map_err(|_| Refusal::Malformed)?;
    if is_bounded_reply(&reply) { Ok(reply) } else { Err(Refusal::TooLarge) }
}

/// Says whether an answer is of a call's kind.
pub const fn answers(call: &Call, reply: &Reply) -> bool {
    matches!(
        (call, reply),
        (Call::Append { .. }, Reply::Appended(_))
            | (Call::Renew(_), Reply::Renewed(_))
            | (Call::Read { .. }, Reply::Records(_))
            | (Call::Roster { .. }, Reply::Roster(_))
            | (Call::Trim { .. }, Reply::Trimmed(_))
            | (Call::Fence { .. }, Reply::Fenced(_))
            | (Call::Kept { .. }, Reply::Kept(_))
    )
}

/// How many octets something takes in a message.
pub fn octets(what: &impl Serialize) -> usize {
    let mut count = Count(0);
    // What cannot be written is too long for everything.
    serde_json::to_writer(&mut count, what).map_or(usize::MAX, |()| count.0)
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0 += octets.len();
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn is_bounded_reply(reply: &Reply) -> bool {
    match reply {
        Reply::Records(records) => {
            records.len() <= READ_MAX
                && records.iter().all(|record| is_bounded_payload(&record.payload))
        }
        Reply::Renewed(renewal) => renewal.landmarks.len() <= LANDMARKS_MAX,
        Reply::Roster(roster) => roster.members.len() <= MEMBERS_MAX,
        Reply::Kept(page) => {
            let fits = |content: &str| content.len() <= KEPT_OCTETS;
            page.held.iter().all(|(name, held)| name.len() <= TEXT_MAX && fits(&held.content))
        }
        Reply::Appended(_) | Reply::Trimmed(_) | Reply::Fenced(_) | Reply::Refused(_) => true,
    }
}

/// Says whether every field of a call is within its bound.
pub fn is_bounded(call: &Call) -> bool {
    match call {
        Call::Append { payload, .. } => is_bounded_payload(payload),
        Call::Read { most, wait, .. } => *most <= READ_MAX && *wait <= WAIT_MAX,
        Call::Roster { wait, .. } => *wait <= WAIT_MAX,
        Call::Kept { after } => after.len() <= TEXT_MAX,
        Call::Renew(_) | Call::Trim { .. } | Call::Fence { .. } => true,
    }
}

fn is_bounded_payload(payload: &Payload) -> bool {
    let fits = |text: &String| text.len() <= TEXT_MAX;
    match payload {
        Payload::Invalidation { name, distribution, matchers, .. } => {
            let is_short = |matcher: &Matcher| match matcher {
                // Escaped, a character takes three octets.
                Matcher::Path(text) | Matcher::Prefix(text) => text.len() <= 12 * PATH_MAX,
                Matcher::Tag(text) => text.len() <= 256,
            };
            fits(name)
                && fits(distribution)
                && matchers.len() <= MATCHERS_MAX
                && matchers.iter().all(is_short)
        }
        Payload::Member { .. } => true,
        Payload::TicketKeys { wrapped } => fits(wrapped),
        Payload::Issuing { wrapped } => wrapped.len() <= ISSUING_MAX,
        Payload::Document(kept) | Payload::Value(kept) => is_bounded_kept(kept),
    }
}

fn is_bounded_kept(kept: &Kept) -> bool {
    let is_named = |entry: &KeptEntry| (1..=TEXT_MAX).contains(&entry.name.len());
    (1..=ENTRIES_MAX).contains(&kept.entries.len())
        && kept.entries.iter().all(is_named)
        && kept.octets() <= KEPT_OCTETS
}

#[cfg(test)]
mod tests {
    use super::super::protocol::FleetNumber;
    use super::*;

    #[test]
    fn what_is_wrong_is_refused_by_its_name() {
        let (own, other) = (Name::parse("own").unwrap(), Name::parse("other").unwrap());
        let call = Call::Read { from: Place::START, most: READ_MAX, wait: 0 };
        let good = String::from_utf8(encode(&own, &call).unwrap()).unwrap();
        assert_eq!(decode(&own, good.as_bytes()), Ok(call));
        let with = |from: &str, to: &str| decode(&own, good.replace(from, to).as_bytes());
        assert_eq!(decode(&other, good.as_bytes()), Err(Refusal::ForeignFleet));
        assert_eq!(with("\"version\":1", "\"version\":0"), Err(Refusal::OlderVersion));
        assert_eq!(with("\"version\":1", "\"version\":2"), Err(Refusal::NewerVersion));
        assert_eq!(with("\"read\"", "\"reed\""), Err(Refusal::Unknown));
        assert_eq!(with("\"most\":500", "\"most\":501"), Err(Refusal::TooLarge));
        assert_eq!(with("\"most\":500", "\"most\":-1"), Err(Refusal::Malformed));
        assert_eq!(with("\"most\"", "\"more\""), Err(Refusal::Malformed));
        assert_eq!(decode(&own, &vec![b' '; MESSAGE_MAX + 1]), Err(Refusal::TooLarge));
    }

    #[test]
    fn an_answer_is_read_as_strictly_as_a_call() {
        let (own, other) = (Name::parse("own").unwrap(), Name::parse("other").unwrap());
        let reply = Reply::Refused(Refusal::Superseded);
        let good = String::from_utf8(encode_reply(&own, &reply).unwrap()).unwrap();
        assert_eq!(decode_reply(&own, good.as_bytes()), Ok(reply));
        let with = |from: &str, to: &str| decode_reply(&own, good.replace(from, to).as_bytes());
        assert_eq!(decode_reply(&other, good.as_bytes()), Err(Refusal::ForeignFleet));
        assert_eq!(with("\"version\":1", "\"version\":0"), Err(Refusal::OlderVersion));
        assert_eq!(with("\"version\":1", "\"version\":2"), Err(Refusal::NewerVersion));
        assert_eq!(with("superseded", "super"), Err(Refusal::Malformed));
        assert_eq!(decode_reply(&own, &vec![b' '; REPLY_MAX + 1]), Err(Refusal::TooLarge));
        let landmarks = vec![Place::START; LANDMARKS_MAX + 1];
        let (epoch, head, is_listed) = (Epoch::default(), Place::START, false);
        let long = Reply::Renewed(Renewal { epoch, head, is_listed, landmarks });
        let long = encode_reply(&own, &long).unwrap();
        assert_eq!(decode_reply(&own, &long), Err(Refusal::TooLarge));
    }

    #[test]
    fn what_all_keep_alike_has_its_bounds_and_unknown_kinds_are_none() {
        let own = Name::parse("own").unwrap();
        let entry = |name: &str, content: &str| KeptEntry {
            name: name.into(),
            content: Some(content.into()),
        };
        let append = |entries: Vec<KeptEntry>| {
            let payload = Payload::Document(Kept { after: FleetNumber(3), entries });
            let (epoch, id) = (Epoch::default(), RecordId::NONE);
            encode(&own, &Call::Append { epoch, id, payload }).unwrap()
        };
        let good = append(vec![entry("distribution/E1", "{}")]);
        assert!(matches!(decode(&own, &good), Ok(Call::Append { .. })));
        let long = "c".repeat(KEPT_OCTETS);
        for bad in [
            vec![],
            vec![entry("", "{}")],
            vec![entry(&"n".repeat(TEXT_MAX + 1), "{}")],
            vec![entry("distribution/E1", &long)],
            vec![entry("n", ""); ENTRIES_MAX + 1],
        ] {
            assert_eq!(decode(&own, &append(bad)), Err(Refusal::TooLarge));
        }
        let text = String::from_utf8(good).unwrap();
        for (from, to) in [("\"document\"", "\"decree\""), ("\"after\":3", "\"after\":-1")] {
            assert!(text.contains(from), "{text}");
            let shaken = text.replace(from, to);
            assert_eq!(decode(&own, shaken.as_bytes()), Err(Refusal::Malformed), "{to}");
        }
        // What it says is no business of logs.
        let shown = format!("{:?}", entry("value/flags/k", "secret"));
        assert!(shown.contains("flags") && !shown.contains("secret"), "{shown}");
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_octets_never_panic(
            octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
            at in 0usize..100,
        ) {
            let own = Name::parse("own").unwrap();
            let _ = decode(&own, &octets);
            let _ = decode_reply(&own, &octets);
            let call = Call::Read { from: Place::START, most: READ_MAX, wait: 0 };
            let mut shaken = encode(&own, &call).unwrap();
            let at = at.min(shaken.len());
            drop(shaken.splice(at..at, octets));
            let _ = decode(&own, &shaken);
        }
    }

    #[test]
    fn octets_are_counted_as_they_are_written() {
        let call = Call::Fence { old: Epoch::default() };
        assert_eq!(octets(&call), serde_json::to_vec(&call).unwrap().len());
    }
}
