//! Pure: what a key value store holds at one moment, and what a change makes of it: all of the
//! change, or nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::crypto::sigv4::sha256;
use crate::functions::event::StoreView;
use crate::semantics::time::Timestamp;

/// Most octets of a key.
pub const KEY_MAX: usize = 512;
/// Most octets of a value.
pub const VALUE_MAX: usize = 1024;
/// Most octets of a store: keys and values.
pub const STORE_MAX: usize = 5 << 20;
/// Most keys of one change.
pub const CALL_KEYS: usize = 50;
/// Most octets of one change: keys and values.
pub const CALL_OCTETS: usize = 3 << 20;

/// A key with its value.
pub type Pair = (String, String);

/// Why a change is refused. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    NoSuchKey(String),
    /// Octets of the key.
    KeyLength(usize),
    /// The key, and octets of its value.
    ValueLength(String, usize),
    /// One key is named more than once.
    KeyTwice(String),
    /// A change of nothing.
    Nothing,
    /// How many keys.
    TooManyKeys(usize),
    /// How many octets.
    CallTooLarge(usize),
    /// How many octets the store would have.
    StoreFull(usize),
    /// The store is not as the caller last saw it.
    Conflict,
    /// The store's name, and the file that it is read from.
    ReadOnly(String, String),
    /// The store was deleted meanwhile.
    Gone,
    /// It could not be written down.
    NotWritten(String),
    /// Another member of the fleet changed something first.
    Overtaken,
    /// The fleet's log does not take changes now; and why.
    Unlogged(String),
    /// The fleet's log takes no such change; and why.
    BeyondFleet(&'static str),
}

impl Refused {
    /// What to tell the caller.
    pub fn words(&self) -> String {
        match self {
            Self::NoSuchKey(key) => format!("there is no key {key:?}"),
            Self::KeyLength(0) => "a key is empty".into(),
            Self::KeyLength(octets) => {
                format!("a key has {octets} octets; it may have {KEY_MAX}")
            }
            Self::ValueLength(key, octets) => {
                format!("the value of {key:?} has {octets} octets; it may have {VALUE_MAX}")
            }
            Self::KeyTwice(key) => format!("the key {key:?} is named more than once"),
            Self::Nothing => "there is nothing to put or to delete".into(),
            Self::TooManyKeys(keys) => {
                format!("one call changes at most {CALL_KEYS} keys, and this one {keys}")
            }
            Self::CallTooLarge(octets) => {
                format!("one call has at most {CALL_OCTETS} octets, and this one {octets}")
            }
            Self::StoreFull(octets) => {
                format!("the store would have {octets} octets; it may have {STORE_MAX}")
            }
            Self::Conflict => "the store has changed: its ETag is not the one of If-Match".into(),
            Self::ReadOnly(name, file) => format!("{name} is read from {file}; change it there"),
            Self::Gone => "the store was deleted".into(),
            Self::NotWritten(why) => format!("nothing was changed: {why}"),
            Self::Overtaken => "another member of the fleet came first each time; try again".into(),
            Self::Unlogged(why) => format!(
                "this edge is a member of a fleet, whose log has to take each change: {why}"
            ),
            Self::BeyondFleet(why) => (*why).into(),
        }
    }
}

/// Puts and deletes that take effect together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    #[serde(default)]
    pub puts: Vec<Pair>,
    #[serde(default)]
    pub deletes: Vec<String>,
}

impl Batch {
    /// A change of one key.
    pub fn put(key: String, value: String) -> Self {
        Self { puts: vec![(key, value)], deletes: Vec::new() }
    }

    /// The removal of one key.
    pub fn delete(key: String) -> Self {
        Self { puts: Vec::new(), deletes: vec![key] }
    }

    fn check(&self) -> Result<(), Refused> {
        let keys = self.puts.len() + self.deletes.len();
        match keys {
            0 => return Err(Refused::Nothing),
            1..=CALL_KEYS => {}
            _ => return Err(Refused::TooManyKeys(keys)),
        }
        let deleted: usize = self.deletes.iter().map(String::len).sum();
        let octets = octets_of(&self.puts) + deleted;
        if octets > CALL_OCTETS {
            return Err(Refused::CallTooLarge(octets));
        }
        self.puts.iter().try_for_each(check_pair)?;
        self.deletes.iter().try_for_each(|key| check_key(key))?;
        let all = self.puts.iter().map(|(key, _)| key).chain(&self.deletes);
        check_once(all.map(String::as_str))
    }
}

/// One change of a store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    Batch(Batch),
    /// Everything that was there goes.
    Replace(Vec<Pair>),
}

/// What a store holds at one moment. It never changes; a change makes another.
#[derive(Clone, PartialEq, Eq)]
pub struct Values {
    id: Arc<str>,
    map: BTreeMap<Arc<str>, Arc<str>>,
    etag: Box<str>,
    /// Milliseconds since the epoch, both.
    created: u64,
    updated: u64,
    /// How many changes there were.
    revision: u64,
    octets: usize,
}

impl Values {
    /// A store that nothing was put into yet.
    pub fn empty(id: &str, now: Timestamp) -> Self {
        Self {
            id: id.into(),
            map: BTreeMap::new(),
            etag: etag_of(now.0, 0),
            created: now.0,
            updated: now.0,
            revision: 0,
            octets: 0,
        }
    }

    /// A store that holds just these. `etag` tells these contents from others; times are
    /// milliseconds since the epoch.
    pub fn of_pairs(
        id: &str,
        pairs: &[Pair],
        etag: Box<str>,
        (created, updated): (u64, u64),
    ) -> Result<Self, Refused> {
        pairs.iter().try_for_each(check_pair)?;
        check_once(pairs.iter().map(|(key, _)| key.as_str()))?;
        let octets = octets_of(pairs);
        if octets > STORE_MAX {
            return Err(Refused::StoreFull(octets));
        }
        let arcs = |(key, value): &Pair| (Arc::from(key.as_str()), Arc::from(value.as_str()));
        let map: BTreeMap<Arc<str>, Arc<str>> = pairs.iter().map(arcs).collect();
        Ok(Self { id: id.into(), map, etag, created, updated, revision: 0, octets })
    }

    /// A store as it was kept: with the revision that it had.
    pub fn restored(
        id: &str,
        pairs: &[Pair],
        (created, updated): (u64, u64),
        revision: u64,
    ) -> Result<Self, Refused> {
        let values = Self::of_pairs(id, pairs, etag_of(created, revision), (created, updated))?;
        Ok(Self { revision, ..values })
    }

    /// What a change makes of it.
    pub fn changed(&self, change: &Change, now: Timestamp) -> Result<Self, Refused> {
        let next = match change {
            Change::Batch(batch) => self.after(batch)?,
            Change::Replace(pairs) => Self::of_pairs(&self.id, pairs, Box::default(), (0, 0))?,
        };
        let revision = self.revision + 1;
        Ok(Self {
            etag: etag_of(self.created, revision),
            created: self.created,
            updated: now.0,
            revision,
            ..next
        })
    }

    fn after(&self, batch: &Batch) -> Result<Self, Refused> {
        batch.check()?;
        let mut map = self.map.clone();
        let mut octets = self.octets;
        for key in &batch.deletes {
            let old = map.remove(key.as_str());
            let old = old.ok_or_else(|| Refused::NoSuchKey(key.clone()))?;
            octets -= key.len() + old.len();
        }
        for (key, value) in &batch.puts {
            octets += key.len() + value.len();
            if let Some(old) = map.insert(Arc::from(key.as_str()), Arc::from(value.as_str())) {
                octets -= key.len() + old.len();
            }
        }
        if octets > STORE_MAX {
            return Err(Refused::StoreFull(octets));
        }
        // `changed` says the rest.
        let (id, etag) = (Arc::clone(&self.id), Box::default());
        Ok(Self { id, map, etag, created: 0, updated: 0, revision: 0, octets })
    }

    /// The same under another id.
    pub fn with_id(&self, id: &str) -> Self {
        Self { id: id.into(), ..self.clone() }
    }

    /// The UUID that functions name the store by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.map.get(key).map(|value| &**value)
    }

    /// Says whether there is such a key.
    pub fn exists(&self, key: &str) -> bool {
        self.map.contains_key(key)
    }

    /// When the store was made, in milliseconds since the epoch.
    pub const fn created(&self) -> u64 {
        self.created
    }

    /// When it last changed, in milliseconds since the epoch.
    pub const fn updated(&self) -> u64 {
        self.updated
    }

    /// How many keys there are.
    pub fn count(&self) -> usize {
        self.map.len()
    }

    /// Octets of all keys and values.
    pub const fn octets(&self) -> usize {
        self.octets
    }

    /// What tells this state from all others of the store.
    pub fn etag(&self) -> &str {
        &self.etag
    }

    /// How many changes there were.
    pub const fn revision(&self) -> u64 {
        self.revision
    }

    /// All keys with their values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.map.iter().map(|(key, value)| (&**key, &**value))
    }

    /// At most `max` of them that begin with `prefix` and come behind `after`; and whether there
    /// are more.
    pub fn page(&self, prefix: &str, after: Option<&str>, max: usize) -> (Vec<(&str, &str)>, bool) {
        let from = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let range = self.map.range::<str, _>((from, Bound::Unbounded));
        let mut rest = range
            .map(|(key, value)| (&**key, &**value))
            .take_while(|(key, _)| key.starts_with(prefix));
        let page: Vec<(&str, &str)> = rest.by_ref().take(max).collect();
        let has_more = rest.next().is_some();
        (page, has_more)
    }
}

impl StoreView for Values {
    fn id(&self) -> &str {
        self.id()
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.get(key)
    }

    fn exists(&self, key: &str) -> bool {
        self.exists(key)
    }

    fn created(&self) -> u64 {
        self.created()
    }

    fn updated(&self) -> u64 {
        self.updated()
    }

    fn count(&self) -> usize {
        self.count()
    }
}

// Values may be secrets of the operator's, so they do not show themselves.
impl std::fmt::Debug for Values {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Values")
            .field("id", &self.id)
            .field("etag", &self.etag)
            .field("count", &self.map.len())
            .finish_non_exhaustive()
    }
}

// Of a store that the API fills: of its first moment and the number of changes, so that it is the
// same after a restart, and another one for a store that takes the name of a deleted one.
fn etag_of(created: u64, revision: u64) -> Box<str> {
    tag("KV", format!("{created}/{revision}").as_bytes())
}

/// A short name for what some octets say.
pub fn tag(prefix: &str, of: &[u8]) -> Box<str> {
    format!("{prefix}{}", sha256(of)[..16].to_ascii_uppercase()).into()
}

fn octets_of(pairs: &[Pair]) -> usize {
    pairs.iter().map(|(key, value)| key.len() + value.len()).sum()
}

fn check_key(key: &str) -> Result<(), Refused> {
    if (1..=KEY_MAX).contains(&key.len()) { Ok(()) } else { Err(Refused::KeyLength(key.len())) }
}

fn check_pair((key, value): &Pair) -> Result<(), Refused> {
    check_key(key)?;
    if value.len() > VALUE_MAX {
        return Err(Refused::ValueLength(key.clone(), value.len()));
    }
    Ok(())
}

fn check_once<'k>(keys: impl Iterator<Item = &'k str>) -> Result<(), Refused> {
    let mut seen = BTreeSet::new();
    for key in keys {
        if !seen.insert(key) {
            return Err(Refused::KeyTwice(key.to_string()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp(1_000);

    fn pairs(all: &[(&str, &str)]) -> Vec<Pair> {
        all.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn batch(puts: &[(&str, &str)], deletes: &[&str]) -> Change {
        let deletes = deletes.iter().map(|key| key.to_string()).collect();
        Change::Batch(Batch { puts: pairs(puts), deletes })
    }

    fn holding(all: &[(&str, &str)]) -> Values {
        Values::restored("id", &pairs(all), (1, 1), 0).unwrap()
    }

    #[test]
    fn what_is_wrong_with_a_change_is_said_and_nothing_of_it_is_done() {
        let values = holding(&[("a", "1"), ("b", "2")]);
        let long_key = "k".repeat(KEY_MAX + 1);
        let long_value = "v".repeat(VALUE_MAX + 1);
        let many: Vec<String> = (0..51).map(|at| format!("k{at}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|key| (&key[..], "")).collect();
        for (change, refused) in [
            (batch(&[], &[]), Refused::Nothing),
            (batch(&[("", "x")], &[]), Refused::KeyLength(0)),
            (batch(&[(&long_key, "x")], &[]), Refused::KeyLength(513)),
            (batch(&[("x", &long_value)], &[]), Refused::ValueLength("x".into(), 1025)),
            (batch(&[("x", "1"), ("x", "2")], &[]), Refused::KeyTwice("x".into())),
            (batch(&[("a", "1")], &["a"]), Refused::KeyTwice("a".into())),
            (batch(&[("c", "1")], &["none"]), Refused::NoSuchKey("none".into())),
            (batch(&many, &[]), Refused::TooManyKeys(51)),
            (Change::Replace(pairs(&[("x", "1"), ("x", "2")])), Refused::KeyTwice("x".into())),
        ] {
            assert_eq!(values.changed(&change, NOW), Err(refused.clone()), "{change:?}");
            assert!(!refused.words().is_empty());
        }
        assert!(values.changed(&batch(&many[..50], &[]), NOW).is_ok());
        let (key, value) = (&long_key[1..], &long_value[1..]);
        assert!(values.changed(&batch(&[(key, value)], &[]), NOW).is_ok());
    }

    #[test]
    fn a_full_store_takes_nothing_more_and_can_be_emptied() {
        let value = "v".repeat(VALUE_MAX);
        let all: Vec<Pair> = (0..STORE_MAX / (VALUE_MAX + 8))
            .map(|at| (format!("{at:08}"), value.clone()))
            .collect();
        let values = Values::restored("id", &all, (1, 1), 0).unwrap();
        let refused = values.changed(&batch(&[("one-more", &value)], &[]), NOW).unwrap_err();
        assert!(matches!(refused, Refused::StoreFull(_)), "{refused:?}");
        let swapped = values.changed(&batch(&[("one-more", &value)], &["00000000"]), NOW).unwrap();
        assert_eq!(swapped.octets(), values.octets());
        let one_more = [&all[..], &[("one-more".to_string(), value)]].concat();
        assert!(matches!(
            values.changed(&Change::Replace(one_more), NOW),
            Err(Refused::StoreFull(_))
        ));
    }

    #[test]
    fn pages_go_through_all_keys_once() {
        let values = holding(&[("a", "1"), ("ab", "2"), ("abc", "3"), ("b", "4"), ("é", "5")]);
        for (prefix, after, max, want, more) in [
            ("", None, 2, &["a", "ab"][..], true),
            ("", Some("ab"), 3, &["abc", "b", "é"], false),
            ("ab", None, 9, &["ab", "abc"], false),
            ("ab", Some("a"), 1, &["ab"], true),
            ("ab", Some("ab"), 1, &["abc"], false),
            ("ab", Some("zzz"), 1, &[], false),
            ("x", None, 1, &[], false),
            ("", Some("aa"), 1, &["ab"], true),
        ] {
            let (page, has_more) = values.page(prefix, after, max);
            let keys: Vec<&str> = page.into_iter().map(|(key, _)| key).collect();
            assert_eq!((&keys[..], has_more), (want, more), "{prefix} {after:?} {max}");
        }
    }

    proptest! {
        // A change is all there or not at all, sizes add up, and each state has a tag of its own.
        #[test]
        fn changes_are_all_or_nothing(
            changes in proptest::collection::vec(
                (
                    proptest::collection::vec(("[a-e]{0,2}", "[x-z]{0,3}"), 0..4),
                    proptest::collection::vec("[a-e]{1,2}", 0..3),
                    any::<bool>(),
                ),
                1..20,
            )
        ) {
            let mut values = Values::empty("id", NOW);
            let mut want: BTreeMap<String, String> = BTreeMap::new();
            let mut tags = BTreeSet::from([values.etag().to_string()]);
            for (puts, deletes, is_replacing) in changes {
                let change = if is_replacing {
                    Change::Replace(puts.clone())
                } else {
                    Change::Batch(Batch { puts: puts.clone(), deletes: deletes.clone() })
                };
                if let Ok(next) = values.changed(&change, NOW) {
                    if is_replacing {
                        want.clear();
                    } else {
                        for key in &deletes {
                            prop_assert!(want.remove(key).is_some());
                        }
                    }
                    want.extend(puts);
                    prop_assert!(tags.insert(next.etag().to_string()));
                    values = next;
                }
                let held: BTreeMap<String, String> = values
                    .iter()
                    .map(|(key, value)| (key.to_string(), value.to_string()))
                    .collect();
                prop_assert_eq!(&held, &want);
                let octets: usize = want.iter().map(|(key, value)| key.len() + value.len()).sum();
                prop_assert_eq!(values.octets(), octets);
            }
        }
    }
}
