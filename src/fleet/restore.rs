//! Pure: what a member knows of an earlier life, as its own log has it, and what of its log goes
//! out to the fleet.

use super::member::Restored;
use super::protocol::{ChainId, Epoch, FleetNumber, Payload, Place};
use crate::invalidation::chain::RecordId;
use crate::invalidation::log::{FleetPassage, InvalidationRecord, Passed};
use crate::message::key::InvalidationNumber;

/// What a log says of the fleet; `None` if it was never followed here.
pub fn restored(records: &[InvalidationRecord]) -> Option<Restored> {
    let (at, passage) = records
        .iter()
        .enumerate()
        .rev()
        .find_map(|(at, record)| passage_of(record).map(|passage| (at, passage)))?;
    let is_unsent =
        |record: &&InvalidationRecord| is_published_here(record) && record.number > passage.own;
    let pending = records
        .iter()
        .filter(is_unsent)
        .map(|record| (record.identity, InvalidationNumber(record.number)));
    Some(Restored {
        epoch: Epoch(passage.epoch),
        place: Place {
            number: FleetNumber(passage.number),
            chain: ChainId::from_record_id(passage.chain),
        },
        local: InvalidationNumber(records[at].number),
        pending: pending.collect(),
        is_settling: passage.is_settling,
    })
}

/// The fleet's passage that a record brings, if it does.
pub const fn passage_of(record: &InvalidationRecord) -> Option<&FleetPassage> {
    match &record.from {
        Some(Passed::Fleet(passage)) => Some(passage),
        _ => None,
    }
}

/// Whether a record invalidates something, and did so here first.
pub fn is_published_here(record: &InvalidationRecord) -> bool {
    record.from.is_none() && !record.matchers.is_empty() && !record.identity.is_none()
}

/// The id that a record has in the fleet's log.
pub fn fleet_id(record: &InvalidationRecord) -> RecordId {
    passage_of(record).map_or(record.identity, |passage| passage.id)
}

/// What a record says to the fleet.
pub fn payload(record: &InvalidationRecord) -> Payload {
    Payload::Invalidation {
        name: record.id.clone(),
        distribution: record.distribution.clone(),
        matchers: record.matchers.clone(),
        severity: record.severity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::invalidations::{Matcher, Severity};

    fn record(number: u64, from: Option<Passed>) -> InvalidationRecord {
        let matchers = vec![Matcher::Path(format!("/{number}"))];
        let record =
            InvalidationRecord::new(String::new(), "E".into(), matchers, Severity::Hard, 0);
        let identity = RecordId::of_octets(&number.to_le_bytes());
        InvalidationRecord { number, identity, from, ..record }
    }

    fn passage(number: u64, own: u64) -> Option<Passed> {
        let id = RecordId::of_octets(b"x");
        let is_settling = false;
        Some(Passed::Fleet(FleetPassage { epoch: id, number, chain: id, id, own, is_settling }))
    }

    #[test]
    fn an_earlier_life_is_told_by_the_last_passage() {
        assert_eq!(restored(&[record(1, None)]), None);
        // 2 was published here and had no place yet when 3 and 4 came from the fleet.
        let log =
            [record(1, None), record(2, None), record(3, passage(7, 1)), record(4, passage(8, 1))];
        let known = restored(&log).unwrap();
        assert_eq!((known.place.number.0, known.local.0), (8, 4));
        let pending: Vec<u64> = known.pending.iter().map(|(_, local)| local.0).collect();
        assert_eq!(pending, [2]);
        let later = [&log[..], &[record(5, passage(9, 2)), record(6, None)]].concat();
        let pending = restored(&later).unwrap().pending;
        assert_eq!(pending.iter().map(|(_, local)| local.0).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn what_came_from_the_fleet_keeps_its_id() {
        let own = record(1, None);
        assert!(is_published_here(&own) && fleet_id(&own) == own.identity);
        let others = record(2, passage(1, 0));
        assert!(!is_published_here(&others) && fleet_id(&others) == RecordId::of_octets(b"x"));
    }
}
