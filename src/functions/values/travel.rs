//! Pure: key value stores as the edges of a fleet tell each other of them: names with what they say
//! now, one for the store and one for each key.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::journal::{About, Held};
use super::snapshot::{Batch, CALL_KEYS, Change, Pair, Refused, Values};
use crate::distribution::stores::is_name;
use crate::semantics::time::Timestamp;

/// What all these names begin with.
pub const PREFIX: &str = "value/";

/// A name, and what it says; `None` where it is gone.
pub type Said = (String, Option<String>);

/// What is said of a store itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Head {
    about: About,
    created: u64,
    updated: u64,
    revision: u64,
}

impl Head {
    fn of(held: &Held) -> Self {
        let (values, about) = (&held.values, held.about.clone());
        let (created, updated) = (values.created(), values.updated());
        Self { about, created, updated, revision: values.revision() }
    }

    fn content(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// The name of a store. What is in it is named below.
pub fn name(store: &str) -> String {
    format!("{PREFIX}{store}")
}

/// The whole of a store.
pub fn whole(store: &str, held: &Held) -> Vec<Said> {
    difference(store, None, held)
}

/// What makes one state of a store of another.
pub fn difference(store: &str, before: Option<&Held>, now: &Held) -> Vec<Said> {
    let mut all = vec![(name(store), Some(Head::of(now).content()))];
    let named = |key: &str| format!("{PREFIX}{store}/{key}");
    if let Some(before) = before {
        let gone = before.values.iter().filter(|(key, _)| !now.values.exists(key));
        all.extend(gone.map(|(key, _)| (named(key), None)));
    }
    let is_new =
        |key: &str, value: &str| before.is_none_or(|before| before.values.get(key) != Some(value));
    let new = now.values.iter().filter(|&(key, value)| is_new(key, value));
    all.extend(new.map(|(key, value)| (named(key), Some(value.to_string()))));
    all
}

/// What is said of one store.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    head: Option<Head>,
    /// The store is gone.
    pub is_gone: bool,
    keys: BTreeMap<String, Option<String>>,
}

/// Why something is said of no store.
#[derive(Debug, PartialEq, Eq)]
pub struct Strange;

/// Sorts what is said by the stores that it is about, and counts what is about none.
pub fn sorted<'s>(
    all: impl Iterator<Item = (&'s str, Option<&'s str>)>,
) -> (BTreeMap<String, Changes>, usize) {
    let (mut stores, mut strange) = (BTreeMap::<String, Changes>::new(), 0);
    for (named, content) in all {
        let Some((store, key)) = split(named) else {
            strange += 1;
            continue;
        };
        let changes = stores.entry(store.to_string()).or_default();
        match (key, content) {
            (Some(key), content) => {
                changes.keys.insert(key.to_string(), content.map(String::from));
            }
            (None, None) => changes.is_gone = true,
            (None, Some(content)) => match serde_json::from_str(content) {
                Ok(head) => changes.head = Some(head),
                Err(_) => strange += 1,
            },
        }
    }
    (stores, strange)
}

// The store that a name is about, and the key, if it is about one.
fn split(named: &str) -> Option<(&str, Option<&str>)> {
    let rest = named.strip_prefix(PREFIX)?;
    let (store, key) = match rest.split_once('/') {
        Some((store, key)) => (store, Some(key)),
        None => (rest, None),
    };
    is_name(store).then_some((store, key))
}

impl Changes {
    /// The one change of keys that they are, where they are no more than that, and when it was.
    pub fn step(&self, before: &Held) -> Option<(Change, Timestamp)> {
        let head = self.head.as_ref()?;
        let is_next = head.created == before.values.created()
            && head.revision == before.values.revision() + 1
            && head.about == before.about
            && (1..=CALL_KEYS).contains(&self.keys.len());
        let mut batch = Batch::default();
        for (key, value) in &self.keys {
            match value {
                Some(value) => batch.puts.push((key.clone(), value.clone())),
                None => batch.deletes.push(key.clone()),
            }
        }
        is_next.then_some((Change::Batch(batch), Timestamp(head.updated)))
    }

    /// What they make of a store, `id` being what it is called by functions. `Strange`: there is
    /// no such store, and they do not say how it begins; or no store may hold that.
    pub fn after(&self, before: Option<&Held>, id: &str) -> Result<Held, Strange> {
        let head = match (&self.head, before) {
            (Some(head), _) => head.clone(),
            (None, Some(before)) => Head::of(before),
            (None, None) => return Err(Strange),
        };
        let mut pairs: BTreeMap<&str, &str> =
            before.map(|before| before.values.iter().collect()).unwrap_or_default();
        for (key, value) in &self.keys {
            match value {
                Some(value) => pairs.insert(key, value),
                None => pairs.remove(key.as_str()),
            };
        }
        let pairs: Vec<Pair> =
            pairs.into_iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
        let values = Values::restored(id, &pairs, (head.created, head.updated), head.revision);
        let values = values.map_err(|_: Refused| Strange)?;
        Ok(Held { values, about: head.about })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(now: u64) -> Held {
        let now = Timestamp(now);
        Held { values: Values::empty("id", now), about: About::new("mine".into(), now) }
    }

    fn changed(before: &Held, puts: &[(&str, &str)], deletes: &[&str], now: u64) -> Held {
        let puts = puts.iter().map(|(key, value)| (key.to_string(), value.to_string()));
        let deletes = deletes.iter().map(ToString::to_string);
        let batch = Batch { puts: puts.collect(), deletes: deletes.collect() };
        let values = before.values.changed(&Change::Batch(batch), Timestamp(now)).unwrap();
        Held { values, about: before.about.clone() }
    }

    fn told(said: &[Said]) -> Changes {
        let all = said.iter().map(|(name, content)| (name.as_str(), content.as_deref()));
        let (mut stores, strange) = sorted(all);
        assert_eq!(strange, 0);
        stores.remove("flags").unwrap()
    }

    #[test]
    fn a_store_is_the_same_on_every_edge_with_its_versions() {
        let first = held(5);
        let second = changed(&first, &[("a", "1"), ("a/b", "2"), ("é", "3")], &[], 9);
        let third = changed(&second, &[("a", "x")], &["é"], 11);
        // Step by step, from the beginning.
        let mut other = told(&whole("flags", &first)).after(None, "id").unwrap();
        assert_eq!(other, first);
        for (before, now) in [(&first, &second), (&second, &third)] {
            let said = difference("flags", Some(before), now);
            let (step, at) = told(&said).step(&other).unwrap();
            assert_eq!(other.values.changed(&step, at).unwrap(), now.values);
            other = told(&said).after(Some(&other), "id").unwrap();
            assert_eq!(&other, now);
            assert_eq!(other.values.etag(), now.values.etag());
        }
        // All of it at once.
        assert_eq!(told(&whole("flags", &third)).after(None, "id").unwrap(), third);
        let said = difference("flags", Some(&second), &third);
        let names: Vec<&str> = said.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["value/flags", "value/flags/é", "value/flags/a"], "and no more");
        assert!(told(&[(name("flags"), None)]).is_gone);
    }

    #[test]
    fn what_is_said_of_no_store_is_strange() {
        let text = Head::of(&held(5)).content();
        for (name, content) in [
            ("value/", text.as_str()),
            ("value/a.b", text.as_str()),
            ("value//k", "1"),
            ("document/distribution/E1", "{}"),
            ("value/flags", "{}"),
        ] {
            let (_, strange) = sorted(std::iter::once((name, Some(content))));
            assert_eq!(strange, 1, "{name}");
        }
        // A key of a store that is not there, and one that no store may have.
        let key = told(&[("value/flags/k".into(), Some("1".into()))]);
        assert_eq!(key.after(None, "id"), Err(Strange));
        let long = told(&[("value/flags/k".into(), Some("v".repeat(1025)))]);
        assert_eq!(long.after(Some(&held(5)), "id"), Err(Strange));
        let empty = told(&[("value/flags/".into(), Some("1".into()))]);
        assert_eq!(empty.after(Some(&held(5)), "id"), Err(Strange));
    }

    proptest::proptest! {
        #[test]
        fn anything_is_sorted(name in "value/[a-z/]{0,9}", content in ".{0,30}") {
            let (stores, _) = sorted(std::iter::once((name.as_str(), Some(content.as_str()))));
            for changes in stores.values() {
                let _ = changes.after(None, "id");
            }
        }
    }
}
