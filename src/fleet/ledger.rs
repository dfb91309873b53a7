//! Pure: where in the fleet's log those things stand that all members keep alike, as one member
//! knows it, and what it does where its own differ from the log's.

use std::collections::BTreeMap;

use super::protocol::{Epoch, FleetNumber, KeptEntry};
use super::sequencer::Held;
use crate::invalidation::chain::RecordId;

/// The record that last changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed {
    pub id: RecordId,
    pub number: FleetNumber,
}

/// All that the log keeps, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub epoch: Epoch,
    /// The number of the last record that changed any of it; 0 if none ever did.
    pub last: FleetNumber,
    pub held: BTreeMap<String, Held>,
}

/// What a member knows of it.
#[derive(Debug, Default)]
pub struct Ledger {
    /// The number of the last record of this kind that is in force here.
    last: FleetNumber,
    placed: BTreeMap<String, Placed>,
    /// In force here, and perhaps not in the log any more: by which record, if by one.
    lost: BTreeMap<String, Option<RecordId>>,
    /// Up to here the log is the one that was followed before its epoch began.
    common: FleetNumber,
    /// The epoch whose log all this is of; none before it was learnt.
    learnt: Option<Epoch>,
    /// The epoch in which nothing was in doubt any more.
    settled: Option<Epoch>,
    /// Rises with each change.
    changes: u64,
}

/// What is to be done about what a member keeps and the log does not say, or says otherwise.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Differences {
    /// It is as the log says.
    pub take: Vec<KeptEntry>,
    /// The log has lost it, or never had it, and is told it again.
    pub put_back: Vec<KeptEntry>,
    /// It was removed while this member was away; or another member is about to put it back.
    pub doubtful: Vec<String>,
}

impl Ledger {
    /// The number of the last record of this kind that is in force here.
    pub const fn last(&self) -> FleetNumber {
        self.last
    }

    /// How often it changed.
    pub const fn changes(&self) -> u64 {
        self.changes
    }

    /// Whether it is known what the log of this epoch keeps. Nothing is decided here before that.
    pub fn is_learnt(&self, epoch: Epoch) -> bool {
        self.learnt == Some(epoch)
    }

    /// Whether all others have put back by now what the log of this epoch had lost.
    pub fn is_settled(&self, epoch: Epoch) -> bool {
        self.settled == Some(epoch)
    }

    /// Whether a record has yet to take effect here.
    pub fn is_due(&self, number: FleetNumber) -> bool {
        number > self.last
    }

    /// The record that last changed something.
    pub fn placed(&self, name: &str) -> Option<Placed> {
        self.placed.get(name).copied()
    }

    /// Notes a record that is in force here.
    pub fn note(&mut self, placed: Placed, entries: &[KeptEntry]) {
        if !self.is_due(placed.number) {
            return;
        }
        self.last = placed.number;
        self.changes += 1;
        for entry in entries {
            self.lost.remove(&entry.name);
            if entry.content.is_some() {
                self.placed.insert(entry.name.clone(), placed);
            } else {
                self.placed.remove(&entry.name);
                if entry.is_whole() {
                    let below = format!("{}/", entry.name);
                    self.placed.retain(|name, _| !name.starts_with(&below));
                }
            }
        }
    }

    /// Notes what is in force here by a record of an epoch that ended before that: the log may have
    /// lost it.
    pub fn note_lost(&mut self, id: RecordId, entries: &[KeptEntry]) {
        self.changes += 1;
        for entry in entries.iter().filter(|entry| entry.content.is_some()) {
            self.lost.insert(entry.name.clone(), Some(id));
        }
    }

    /// What is kept here may be something else than what was noted: it is learnt again.
    pub const fn doubt(&mut self) {
        self.changes += 1;
        self.learnt = None;
    }

    /// A new epoch begins, whose log is the one before up to a number at least. What came behind it
    /// may be lost there. Without a number it is another log, or one that went on for long.
    pub fn begin_epoch(&mut self, common: Option<FleetNumber>) {
        self.common = common.unwrap_or_default();
        self.last = self.last.min(self.common);
        self.changes += 1;
        (self.learnt, self.settled) = (None, None);
        if common.is_some() {
            let lost = self.placed.iter().filter(|(_, placed)| placed.number > self.common);
            self.lost.extend(lost.map(|(name, placed)| (name.clone(), Some(placed.id))));
        }
    }

    /// The record that may be lost by which something is as it is here.
    pub fn lost(&self, name: &str) -> Option<RecordId> {
        self.lost.get(name).copied().flatten()
    }

    /// Compares what is kept here with what the log keeps.
    pub fn compare(&self, own: &BTreeMap<String, String>, there: &Snapshot) -> Differences {
        let mut differences = Differences::default();
        for (name, held) in &there.held {
            let entry =
                |content: &String| KeptEntry { name: name.clone(), content: Some(content.clone()) };
            match own.get(name) {
                Some(content) if *content == held.content => {}
                // Nothing was decided about it since the log lost it.
                Some(content) if self.lost.contains_key(name) && held.number <= self.common => {
                    differences.put_back.push(entry(content));
                }
                _ => differences.take.push(entry(&held.content)),
            }
        }
        // A log that never kept anything is a new one.
        let is_new = there.last == FleetNumber(0);
        for (name, content) in own.iter().filter(|(name, _)| !there.held.contains_key(*name)) {
            if is_new || self.lost.contains_key(name) {
                let (name, content) = (name.clone(), Some(content.clone()));
                differences.put_back.push(KeptEntry { name, content });
            } else {
                differences.doubtful.push(name.clone());
            }
        }
        differences
    }

    /// Takes what the log keeps for what is in force here, but for what is still to be put back,
    /// unless something changed since `seen` was told; says whether it did.
    pub fn learn(
        &mut self,
        seen: u64,
        there: &Snapshot,
        put_back: &[KeptEntry],
        is_settled: bool,
    ) -> bool {
        if self.changes != seen {
            return false;
        }
        self.last = there.last;
        let placed = |held: &Held| Placed { id: held.id, number: held.number };
        self.placed = there.held.iter().map(|(name, held)| (name.clone(), placed(held))).collect();
        self.learnt = Some(there.epoch);
        if is_settled {
            self.settled = self.learnt;
        }
        let left = put_back.iter().map(|entry| (entry.name.clone(), self.lost(&entry.name)));
        self.lost = left.collect();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(of: &str) -> RecordId {
        RecordId::of_octets(of.as_bytes())
    }

    fn placed(number: u64) -> Placed {
        Placed { id: id(&number.to_string()), number: FleetNumber(number) }
    }

    fn entry(name: &str, content: Option<&str>) -> KeptEntry {
        KeptEntry { name: name.into(), content: content.map(String::from) }
    }

    fn there(last: u64, held: &[(&str, u64, &str)]) -> Snapshot {
        let held = held.iter().map(|(name, number, content)| {
            let Placed { id, number } = placed(*number);
            (name.to_string(), Held { id, number, content: content.to_string() })
        });
        let epoch = Epoch(id("epoch"));
        Snapshot { epoch, last: FleetNumber(last), held: held.collect() }
    }

    fn own(all: &[(&str, &str)]) -> BTreeMap<String, String> {
        all.iter().map(|(name, content)| (name.to_string(), content.to_string())).collect()
    }

    #[test]
    fn records_take_effect_once_and_in_order() {
        let mut ledger = Ledger::default();
        ledger.note(placed(3), &[entry("a", Some("1"))]);
        assert!(!ledger.is_due(FleetNumber(3)) && ledger.is_due(FleetNumber(4)));
        ledger.note(placed(5), &[entry("a", Some("2")), entry("b", Some("1"))]);
        // Read back, or read again.
        ledger.note(placed(3), &[entry("a", None)]);
        assert_eq!((ledger.last(), ledger.placed("a")), (FleetNumber(5), Some(placed(5))));
        ledger.note(placed(6), &[entry("b", None)]);
        assert_eq!(ledger.placed("b"), None);
    }

    #[test]
    fn a_member_that_was_away_takes_what_the_log_keeps() {
        let mut ledger = Ledger::default();
        let log = there(9, &[("a", 7, "new"), ("b", 9, "made"), ("c", 2, "same")]);
        let here = own(&[("a", "old"), ("c", "same"), ("d", "gone")]);
        let differences = ledger.compare(&here, &log);
        let take = vec![entry("a", Some("new")), entry("b", Some("made"))];
        let doubtful = vec!["d".to_string()];
        assert_eq!(differences, Differences { take, put_back: Vec::new(), doubtful });
        let seen = ledger.changes();
        assert!(!ledger.is_learnt(log.epoch));
        assert!(ledger.learn(seen, &log, &[], false) && ledger.is_learnt(log.epoch));
        assert!(!ledger.is_settled(log.epoch));
        assert_eq!((ledger.last(), ledger.placed("b")), (FleetNumber(9), Some(placed(9))));
        // What was read meanwhile is newer than what was asked for before.
        let seen = ledger.changes();
        ledger.note(placed(10), &[entry("b", Some("changed"))]);
        assert!(!ledger.learn(seen, &log, &[], true));
        assert_eq!(ledger.last(), FleetNumber(10));
    }

    #[test]
    fn what_came_into_force_after_its_epoch_had_ended_is_put_back() {
        let mut ledger = Ledger::default();
        ledger.note(placed(4), &[entry("a", Some("1"))]);
        ledger.begin_epoch(Some(FleetNumber(4)));
        // Appended as the fifth record of an epoch that was over before it was in force here.
        ledger.note_lost(placed(5).id, &[entry("a", Some("2")), entry("b", None)]);
        assert_eq!(ledger.last(), FleetNumber(4), "another record may have its number");
        let log = there(4, &[("a", 4, "1")]);
        let differences = ledger.compare(&own(&[("a", "2")]), &log);
        assert_eq!(differences.put_back, [entry("a", Some("2"))]);
        assert!(differences.take.is_empty() && differences.doubtful.is_empty());
        // Unless the log has it all the same.
        let log = there(5, &[("a", 5, "2")]);
        assert_eq!(ledger.compare(&own(&[("a", "2")]), &log), Differences::default());
    }

    #[test]
    fn what_is_doubted_is_learnt_again() {
        let (mut ledger, log) = (Ledger::default(), there(2, &[("a", 2, "1")]));
        let seen = ledger.changes();
        assert!(ledger.learn(seen, &log, &[], true));
        let seen = ledger.changes();
        ledger.doubt();
        assert!(!ledger.is_learnt(log.epoch) && ledger.is_settled(log.epoch));
        assert!(!ledger.learn(seen, &log, &[], true), "it was asked for before");
        assert_eq!(ledger.compare(&own(&[]), &log).take, [entry("a", Some("1"))]);
    }

    #[test]
    fn nothing_is_put_back_into_a_log_that_went_on_for_long() {
        let mut ledger = Ledger::default();
        ledger.note(placed(5), &[entry("a", Some("1")), entry("b", Some("1"))]);
        ledger.begin_epoch(None);
        assert!(ledger.is_due(FleetNumber(1)));
        let here = own(&[("a", "1"), ("b", "1")]);
        let differences = ledger.compare(&here, &there(900, &[("a", 700, "2")]));
        assert_eq!(differences.take, [entry("a", Some("2"))]);
        assert_eq!(differences.doubtful, ["b"]);
        assert!(differences.put_back.is_empty());
    }

    #[test]
    fn a_log_that_never_kept_anything_is_told_it() {
        let differences = Ledger::default().compare(&own(&[("a", "1")]), &there(0, &[]));
        assert_eq!(differences.put_back, [entry("a", Some("1"))]);
        assert!(differences.take.is_empty() && differences.doubtful.is_empty());
    }

    #[test]
    fn what_a_log_has_lost_is_put_back_unless_something_was_decided_since() {
        let mut ledger = Ledger::default();
        ledger.note(placed(1), &[entry("a", Some("1")), entry("b", Some("1"))]);
        ledger.note(placed(2), &[entry("a", Some("2")), entry("c", Some("1"))]);
        ledger.begin_epoch(Some(FleetNumber(1)));
        assert_eq!((ledger.lost("c"), ledger.lost("b")), (Some(placed(2).id), None));
        assert!(ledger.is_due(FleetNumber(2)), "another one by this number");
        let here = own(&[("a", "2"), ("b", "1"), ("c", "1")]);
        let lost = there(1, &[("a", 1, "1"), ("b", 1, "1")]);
        let differences = ledger.compare(&here, &lost);
        assert_eq!(differences.put_back, [entry("a", Some("2")), entry("c", Some("1"))]);
        assert!(differences.take.is_empty() && differences.doubtful.is_empty());
        // Another member changed it in the new epoch, before it was put back.
        let decided = there(2, &[("a", 2, "3"), ("b", 1, "1")]);
        let differences = ledger.compare(&here, &decided);
        assert_eq!(differences.take, [entry("a", Some("3"))]);
        assert_eq!(differences.put_back, [entry("c", Some("1"))]);
        ledger.note(placed(2), &[entry("a", Some("3"))]);
        let here = own(&[("a", "3"), ("b", "1"), ("c", "1")]);
        assert_eq!(ledger.compare(&here, &decided).put_back, [entry("c", Some("1"))]);
        let seen = ledger.changes();
        // What could not be put back yet is not in doubt.
        let left = ledger.compare(&here, &decided).put_back;
        assert!(ledger.learn(seen, &decided, &left, true) && ledger.is_settled(decided.epoch));
        assert_eq!(ledger.compare(&here, &decided).put_back, left);
        ledger.note(placed(3), &left);
        let there = there(3, &[("a", 2, "3"), ("b", 1, "1"), ("c", 3, "1")]);
        assert_eq!(ledger.compare(&here, &there), Differences::default());
    }
}
