//! Pure: what of a log of invalidations still matters, once it is rewritten or told to others.

use std::collections::{HashMap, HashSet};

use super::chain::Incarnation;
use super::record::{InvalidationRecord, Passed};
use crate::cache::invalidations::{Matcher, Severity};

/// Records kept as they are when a log is rewritten, for being shown.
pub(super) const VERBATIM: usize = 1000;
/// Incarnations of one edge's log whose last place is kept.
pub const INCARNATIONS: usize = 16;

/// What of these records still matters: of each matcher the latest of its severity, and nothing
/// that a later `/*` covers.
///
/// The last thousand stay as they are: people look them up.
pub(super) fn compacted(mut records: Vec<InvalidationRecord>) -> Vec<InvalidationRecord> {
    let kept = records.split_off(records.len().saturating_sub(VERBATIM));
    let mut said = HashSet::new();
    kept.iter().rev().for_each(|record| drop(news(record, &mut said)));
    let mut old = with_passages(records, &kept, &mut said);
    old.extend(kept);
    old
}

/// The same of records that only matter for what they say.
pub(super) fn folded(
    records: Vec<InvalidationRecord>,
    said: &mut HashSet<(String, Severity, Matcher)>,
) -> Vec<InvalidationRecord> {
    let mut out: Vec<InvalidationRecord> = Vec::new();
    for record in records.into_iter().rev() {
        let matchers = news(&record, said);
        if !matchers.is_empty() {
            out.push(InvalidationRecord { matchers, ..record });
        }
    }
    out.reverse();
    out
}

// And of records that may also say how far an edge's log is in effect: the last that says so of an
// incarnation stays, even if it says nothing else. Of each log the last few incarnations count, as
// they do where they are in use.
fn with_passages(
    records: Vec<InvalidationRecord>,
    later: &[InvalidationRecord],
    said: &mut HashSet<(String, Severity, Matcher)>,
) -> Vec<InvalidationRecord> {
    let mut passed: HashMap<String, Vec<Incarnation>> = HashMap::new();
    let mut has_fleet = false;
    let mut is_last = |record: &InvalidationRecord| {
        if matches!(record.from, Some(Passed::Fleet(_))) {
            return !std::mem::replace(&mut has_fleet, true);
        }
        let Some(Passed::Marked(passage)) = &record.from else { return false };
        let known = passed.entry(passage.log.clone()).or_default();
        let is_news = known.len() < INCARNATIONS && !known.contains(&passage.incarnation);
        if is_news {
            known.push(passage.incarnation);
        }
        is_news
    };
    for record in later.iter().rev() {
        is_last(record);
    }
    let mut out: Vec<InvalidationRecord> = Vec::new();
    for record in records.into_iter().rev() {
        let matchers = news(&record, said);
        if is_last(&record) || !matchers.is_empty() {
            out.push(InvalidationRecord { matchers, ..record });
        }
    }
    out.reverse();
    out
}

// What a record says that none after it has said; a hard one says a soft one too.
fn news(
    record: &InvalidationRecord,
    said: &mut HashSet<(String, Severity, Matcher)>,
) -> Vec<Matcher> {
    let everything = Matcher::Prefix("/".into());
    let key =
        |severity, matcher: &Matcher| (record.distribution.clone(), severity, matcher.clone());
    let is_known = |said: &HashSet<_>, matcher: &Matcher| {
        said.contains(&key(Severity::Hard, matcher))
            || (record.severity == Severity::Soft && said.contains(&key(Severity::Soft, matcher)))
    };
    let is_over = is_known(said, &everything);
    let news: Vec<Matcher> = record
        .matchers
        .iter()
        .filter(|matcher| !is_over && !is_known(said, matcher))
        .cloned()
        .collect();
    said.extend(news.iter().map(|matcher| key(record.severity, matcher)));
    news
}
