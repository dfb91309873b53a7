//! Pure: the keys of session tickets as values: which of them seals and which open at a moment, and
//! how they lie in a file.

use std::sync::Arc;
use std::time::Duration;

use crate::base::secret::Secret;
use crate::semantics::time::Timestamp;

/// How long a key seals tickets, at most.
pub const SEALS: Duration = Duration::from_secs(12 * 3600);
/// How long a viewer may use a ticket (RFC 8446 §4.6.1: a week at most).
pub const TICKET: Duration = Duration::from_secs(12 * 3600);
/// A fleet whose keys are all older than this makes the next one: half of the time that a key
/// seals, so that a sequencer may be away for the other half.
const YOUNG: Duration = Duration::from_secs(6 * 3600);
/// A key of the fleet seals once it has been here for so long: by then the other edges have it.
const SETTLING: Duration = Duration::from_secs(10);
/// How far the clock of the member that made a key may be ahead of the one here.
const AHEAD: Duration = Duration::from_secs(3600);
/// Keys of the fleet that are held. A member makes a key when it knows none that is young, as one
/// with an empty data folder does, so there are more than the time alone would make.
const KEYS_MAX: usize = 256;

/// Octets of a key's id.
pub const ID_OCTETS: usize = 8;

/// Names a key. Stands in clear in front of each ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyId(pub [u8; ID_OCTETS]);

/// A key. What seals a ticket is derived from its secret.
pub struct TicketKey {
    pub id: KeyId,
    /// By the clock of the member that made it; in whole seconds where it is written down.
    pub made_at: Timestamp,
    /// For how long it seals, in whole seconds.
    pub seals: Duration,
    pub secret: Secret<[u8; 32]>,
}

impl TicketKey {
    /// Octets of a key that is written down: id, moment, time, secret.
    pub const OCTETS: usize = ID_OCTETS + 8 + 4 + 32;

    /// Writes it down.
    pub fn write(&self, out: &mut Vec<u8>) {
        let seals = u32::try_from(self.seals.as_secs()).unwrap_or(u32::MAX);
        out.extend_from_slice(&self.id.0);
        out.extend_from_slice(&self.made_at.secs().to_le_bytes());
        out.extend_from_slice(&seals.to_le_bytes());
        out.extend_from_slice(self.secret.expose());
    }

    /// Reads what `write` wrote, and nothing else.
    pub fn read(octets: &[u8]) -> Option<Self> {
        let (id, rest) = octets.split_first_chunk::<ID_OCTETS>()?;
        let (made_at, rest) = rest.split_first_chunk::<8>()?;
        let (seals, rest) = rest.split_first_chunk::<4>()?;
        Some(Self {
            id: KeyId(*id),
            made_at: Timestamp::from_secs(u64::from_le_bytes(*made_at)),
            seals: Duration::from_secs(u64::from(u32::from_le_bytes(*seals))),
            secret: Secret::new(rest.try_into().ok()?),
        })
    }

    fn seals_until(&self) -> Timestamp {
        self.made_at.plus(self.seals)
    }

    // The last ticket that it sealed is good until then.
    fn opens_until(&self) -> Timestamp {
        self.seals_until().plus(TICKET)
    }

    fn check(&self, now: Timestamp) -> Result<(), KeyRefusal> {
        if self.seals.is_zero() || self.seals > SEALS {
            return Err(KeyRefusal::Lifetime);
        }
        if self.made_at > now.plus(AHEAD) {
            return Err(KeyRefusal::Ahead);
        }
        if now >= self.opens_until() {
            return Err(KeyRefusal::TooOld);
        }
        Ok(())
    }
}

/// Why a key of the fleet was not taken. It has changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyRefusal {
    /// Not of the shape of a wrapped key.
    Malformed,
    /// Wrapped by a version that is not known here.
    Version,
    /// Wrapped under another key or for another fleet, or altered on its way.
    Unopened,
    /// It opens nothing any more.
    TooOld,
    /// Made at a moment that lies too far ahead.
    Ahead,
    /// It would seal for longer than a key may.
    Lifetime,
}

impl KeyRefusal {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Malformed, Self::Version, Self::Unopened, Self::TooOld, Self::Ahead, Self::Lifetime];

    /// Its name, in messages and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::Version => "version",
            Self::Unopened => "unopened",
            Self::TooOld => "too_old",
            Self::Ahead => "ahead",
            Self::Lifetime => "lifetime",
        }
    }
}

/// Which edges have a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KnownTo {
    ThisEdge,
    Fleet,
}

/// What came of a key that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    New,
    /// It is held already, and nothing has changed.
    Known,
}

/// A fleet by the digest of its name; zeros for none. Keys of another one open nothing here.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Circle(pub [u8; 32]);

struct Held {
    key: Arc<TicketKey>,
    known_to: KnownTo,
    since: Timestamp,
}

/// The keys that are held, in the order in which they came: for a fleet's, that of its log.
#[derive(Default)]
pub struct KeyRing {
    held: Vec<Held>,
}

/// Begins the file of keys.
const MAGIC: &[u8; 4] = b"FTK2";
const OF_THIS_EDGE: u8 = 0;
const OF_THE_FLEET: u8 = 1;

impl KeyRing {
    /// The key that seals now: the fleet's last one that all edges have by now, and without such a
    /// one this edge's own last.
    pub fn sealing(&self, now: Timestamp) -> Option<&Arc<TicketKey>> {
        let is_shared = |held: &&Held| {
            held.known_to == KnownTo::Fleet
                && now >= held.since.plus(SETTLING)
                && now < held.key.seals_until()
        };
        let is_own =
            |held: &&Held| held.known_to == KnownTo::ThisEdge && now < held.key.opens_until();
        let shared = self.held.iter().rev().find(is_shared);
        shared.or_else(|| self.held.iter().rev().find(is_own)).map(|held| &held.key)
    }

    /// The key with this id, while it opens tickets.
    pub fn opening(&self, id: KeyId, now: Timestamp) -> Option<&Arc<TicketKey>> {
        let found = self.held.iter().map(|held| &held.key).find(|key| key.id == id);
        found.filter(|key| now < key.opens_until())
    }

    /// Whether it is time for the next key.
    pub fn wants(&self, known_to: KnownTo, now: Timestamp) -> bool {
        let age = match known_to {
            KnownTo::ThisEdge => SEALS,
            KnownTo::Fleet => YOUNG,
        };
        let of_these = self.held.iter().filter(|held| held.known_to == known_to);
        !of_these.map(|held| held.key.made_at.plus(age)).any(|until| now < until)
    }

    /// Takes one more key. One from ahead of the clock here counts as made now.
    pub fn take(
        &mut self,
        key: TicketKey,
        known_to: KnownTo,
        now: Timestamp,
    ) -> Result<Taken, KeyRefusal> {
        if self.held.iter().any(|held| held.key.id == key.id) {
            return Ok(Taken::Known);
        }
        key.check(now)?;
        let key = Arc::new(TicketKey { made_at: key.made_at.min(now), ..key });
        self.held.push(Held { key, known_to, since: now });
        self.forget(now);
        Ok(Taken::New)
    }

    /// Lets go of what opens nothing any more, of what a clock that was set back cannot judge, and
    /// of the fleet's first ones where there are too many.
    pub fn forget(&mut self, now: Timestamp) {
        self.held.retain(|held| held.key.check(now).is_ok());
        let mut surplus = self.count(KnownTo::Fleet).saturating_sub(KEYS_MAX);
        self.held.retain(|held| {
            let goes = surplus > 0 && held.known_to == KnownTo::Fleet;
            surplus -= usize::from(goes);
            !goes
        });
    }

    /// How many there are.
    pub fn count(&self, known_to: KnownTo) -> usize {
        self.held.iter().filter(|held| held.known_to == known_to).count()
    }

    /// The contents of the file.
    pub fn write(&self, circle: Circle) -> Vec<u8> {
        let size = MAGIC.len() + circle.0.len() + self.held.len() * (1 + TicketKey::OCTETS);
        let mut out = Vec::with_capacity(size);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&circle.0);
        for held in &self.held {
            out.push(match held.known_to {
                KnownTo::ThisEdge => OF_THIS_EDGE,
                KnownTo::Fleet => OF_THE_FLEET,
            });
            held.key.write(&mut out);
        }
        out
    }

    /// Reads what `write` wrote, without the keys of another fleet. What is read is known for long
    /// enough; of any other file nothing is.
    pub fn read(octets: &[u8], circle: Circle) -> Self {
        let rest = octets.strip_prefix(MAGIC).and_then(|rest| rest.split_first_chunk::<32>());
        let Some((written_for, records)) = rest else { return Self::default() };
        let is_ours = Circle(*written_for) == circle;
        let held = |record: &[u8]| {
            let (known_to, key) = record.split_first()?;
            let known_to = match *known_to {
                OF_THIS_EDGE => KnownTo::ThisEdge,
                OF_THE_FLEET if is_ours => KnownTo::Fleet,
                _ => return None,
            };
            let key = Arc::new(TicketKey::read(key)?);
            Some(Held { key, known_to, since: Timestamp(0) })
        };
        Self { held: records.chunks_exact(1 + TicketKey::OCTETS).filter_map(held).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_000_000_000);
    const HOUR: u64 = 3600;

    fn later(secs: u64) -> Timestamp {
        NOW.plus(Duration::from_secs(secs))
    }

    fn key(id: u8, made_at: Timestamp) -> TicketKey {
        TicketKey { id: KeyId([id; 8]), made_at, seals: SEALS, secret: Secret::new([id; 32]) }
    }

    fn sealing(ring: &KeyRing, now: Timestamp) -> Option<u8> {
        ring.sealing(now).map(|key| key.id.0[0])
    }

    fn opens(ring: &KeyRing, id: u8, now: Timestamp) -> bool {
        ring.opening(KeyId([id; 8]), now).is_some()
    }

    #[test]
    fn a_key_of_the_fleet_seals_once_all_have_it_and_opens_at_once() {
        let mut ring = KeyRing::default();
        assert_eq!(sealing(&ring, NOW), None);
        ring.take(key(1, NOW), KnownTo::ThisEdge, NOW).unwrap();
        ring.take(key(2, NOW), KnownTo::Fleet, NOW).unwrap();
        assert_eq!((sealing(&ring, later(9)), opens(&ring, 2, NOW)), (Some(1), true));
        assert_eq!(sealing(&ring, later(10)), Some(2));
        // The next one, at the end of the log, however old it is told to be.
        ring.take(key(3, NOW), KnownTo::Fleet, later(6 * HOUR)).unwrap();
        assert_eq!(sealing(&ring, later(6 * HOUR)), Some(2));
        assert_eq!(sealing(&ring, later(6 * HOUR + 10)), Some(3));
        // Without the next one: twelve hours, then this edge's own again.
        assert_eq!(sealing(&ring, later(12 * HOUR - 1)), Some(3));
        assert_eq!(sealing(&ring, later(12 * HOUR)), Some(1));
        assert!(opens(&ring, 3, later(24 * HOUR - 1)) && !opens(&ring, 3, later(24 * HOUR)));
        assert_eq!(sealing(&ring, later(24 * HOUR)), None);
    }

    #[test]
    fn a_fleet_wants_a_key_every_six_hours_and_an_edge_every_twelve() {
        let mut ring = KeyRing::default();
        assert!(ring.wants(KnownTo::Fleet, NOW) && ring.wants(KnownTo::ThisEdge, NOW));
        ring.take(key(1, NOW), KnownTo::ThisEdge, NOW).unwrap();
        assert!(ring.wants(KnownTo::Fleet, NOW) && !ring.wants(KnownTo::ThisEdge, NOW));
        ring.take(key(2, NOW), KnownTo::Fleet, NOW).unwrap();
        assert!(!ring.wants(KnownTo::Fleet, later(6 * HOUR - 1)));
        assert!(ring.wants(KnownTo::Fleet, later(6 * HOUR)));
        assert!(!ring.wants(KnownTo::ThisEdge, later(12 * HOUR - 1)));
        assert!(ring.wants(KnownTo::ThisEdge, later(12 * HOUR)));
    }

    #[test]
    fn what_lies_outside_its_time_is_refused_and_changes_nothing() {
        let mut ring = KeyRing::default();
        let mut take = |key: TicketKey, now| ring.take(key, KnownTo::Fleet, now);
        assert_eq!(take(key(1, later(HOUR + 1)), NOW), Err(KeyRefusal::Ahead));
        assert_eq!(take(key(1, NOW), later(24 * HOUR)), Err(KeyRefusal::TooOld));
        for seals in [Duration::ZERO, SEALS + Duration::from_secs(1)] {
            let other = TicketKey { seals, ..key(1, NOW) };
            assert_eq!(take(other, NOW), Err(KeyRefusal::Lifetime));
        }
        assert_eq!(ring.count(KnownTo::Fleet), 0);
        // From a little ahead it counts as made now.
        assert_eq!(ring.take(key(1, later(HOUR)), KnownTo::Fleet, NOW), Ok(Taken::New));
        assert!(ring.wants(KnownTo::Fleet, later(6 * HOUR)));
        assert!(!opens(&ring, 1, later(24 * HOUR)));
    }

    #[test]
    fn a_key_that_is_told_again_stays_where_it_was() {
        let mut ring = KeyRing::default();
        ring.take(key(1, NOW), KnownTo::Fleet, NOW).unwrap();
        ring.take(key(2, NOW), KnownTo::Fleet, NOW).unwrap();
        let other = TicketKey { secret: Secret::new([9; 32]), ..key(1, later(60)) };
        assert_eq!(ring.take(other, KnownTo::Fleet, later(60)), Ok(Taken::Known));
        assert_eq!(sealing(&ring, later(120)), Some(2));
        let kept = ring.opening(KeyId([1; 8]), later(60)).unwrap();
        assert_eq!(kept.secret.expose(), &[1; 32]);
    }

    #[test]
    fn there_are_so_many_and_this_edges_own_are_not_among_them() {
        let mut ring = KeyRing::default();
        ring.take(key(0, NOW), KnownTo::ThisEdge, NOW).unwrap();
        for number in 0..KEYS_MAX as u64 + 5 {
            let id = KeyId((number + 1).to_le_bytes());
            let key = TicketKey { id, ..key(1, NOW) };
            ring.take(key, KnownTo::Fleet, NOW).unwrap();
        }
        assert_eq!((ring.count(KnownTo::Fleet), ring.count(KnownTo::ThisEdge)), (KEYS_MAX, 1));
        assert!(ring.opening(KeyId(5u64.to_le_bytes()), NOW).is_none());
        assert!(ring.opening(KeyId(6u64.to_le_bytes()), NOW).is_some());
    }

    #[test]
    fn a_file_keeps_them_for_the_same_fleet() {
        let (shop, other) = (Circle([1; 32]), Circle([2; 32]));
        let mut ring = KeyRing::default();
        ring.take(key(1, NOW), KnownTo::ThisEdge, NOW).unwrap();
        ring.take(key(2, NOW), KnownTo::Fleet, NOW).unwrap();
        let written = ring.write(shop);
        let again = KeyRing::read(&written, shop);
        assert_eq!(again.write(shop), written);
        assert_eq!(sealing(&again, NOW), Some(2));
        let elsewhere = KeyRing::read(&written, other);
        assert_eq!((sealing(&elsewhere, NOW), opens(&elsewhere, 2, NOW)), (Some(1), false));
        // Cut short, it has what is whole; of another file there is nothing.
        assert_eq!(sealing(&KeyRing::read(&written[..written.len() - 1], shop), NOW), Some(1));
        for cut in 0..36 {
            assert_eq!(sealing(&KeyRing::read(&written[..cut], shop), NOW), None);
        }
        assert_eq!(sealing(&KeyRing::read(&[0; 88], shop), NOW), None);
        // After the clock was set back nothing is believed that lies ahead.
        let mut ahead = KeyRing::read(&written, shop);
        ahead.forget(Timestamp::from_secs(1000));
        assert_eq!(ahead.count(KnownTo::Fleet) + ahead.count(KnownTo::ThisEdge), 0);
    }

    #[test]
    fn refusals_stand_in_the_order_of_their_numbers() {
        for (at, refusal) in KeyRefusal::ALL.into_iter().enumerate() {
            assert_eq!(refusal as usize, at);
        }
    }
}
