//! Pure: documents as values, which of them there are, and which version of one a caller may
//! change.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::crypto::sigv4::sha256;

/// What a document is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Distribution,
    CachePolicy,
    OriginRequestPolicy,
    ResponseHeadersPolicy,
    OriginAccessControl,
    OriginAccessIdentity,
    PublicKey,
    KeyGroup,
    /// Which fields of forms are encrypted for whom.
    FieldEncryptionProfile,
    /// Which of these profiles forms go by.
    FieldEncryption,
    ContinuousDeploymentPolicy,
    /// A CloudFront Function, by its name (`documents/function.rs`).
    Function,
    /// What a distribution is watched for, by its id.
    MonitoringSubscription,
    /// A real-time log configuration, by its name.
    RealtimeLogConfig,
    /// Authorities that viewers' certificates are held to.
    TrustStore,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 15] = [
        Self::Distribution,
        Self::CachePolicy,
        Self::OriginRequestPolicy,
        Self::ResponseHeadersPolicy,
        Self::OriginAccessControl,
        Self::OriginAccessIdentity,
        Self::PublicKey,
        Self::KeyGroup,
        Self::FieldEncryptionProfile,
        Self::FieldEncryption,
        Self::ContinuousDeploymentPolicy,
        Self::Function,
        Self::MonitoringSubscription,
        Self::RealtimeLogConfig,
        Self::TrustStore,
    ];

    /// The name of its folder, and its word in messages and ARNs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Distribution => "distribution",
            Self::CachePolicy => "cache-policy",
            Self::OriginRequestPolicy => "origin-request-policy",
            Self::ResponseHeadersPolicy => "response-headers-policy",
            Self::OriginAccessControl => "origin-access-control",
            Self::OriginAccessIdentity => "origin-access-identity",
            Self::PublicKey => "public-key",
            Self::KeyGroup => "key-group",
            Self::FieldEncryptionProfile => "field-level-encryption-profile",
            Self::FieldEncryption => "field-level-encryption",
            Self::ContinuousDeploymentPolicy => "continuous-deployment-policy",
            Self::Function => "function",
            Self::MonitoringSubscription => "monitoring-subscription",
            Self::RealtimeLogConfig => "realtime-log-config",
            Self::TrustStore => "trust-store",
        }
    }
}

/// One document as it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub id: String,
    /// Changes of it so far, the first one being that it was made.
    pub revision: u64,
    /// Milliseconds since 1970.
    pub created: u64,
    pub modified: u64,
    /// The name that a distribution is reached by, beside its aliases.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub domain: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<String, String>,
    /// The configuration in the API's shape.
    pub config: Value,
}

impl Document {
    /// One that is made now, without tags and without a name that it is reached by.
    pub fn new(id: impl Into<String>, config: Value, now: u64) -> Self {
        Self {
            id: id.into(),
            revision: 1,
            created: now,
            modified: now,
            domain: String::new(),
            tags: BTreeMap::new(),
            config,
        }
    }

    /// The version of it that callers name: thirteen letters and digits, another one after each
    /// change.
    pub fn etag(&self) -> String {
        etag(&format!("{} {}", self.id, self.revision))
    }

    /// The same document with another configuration.
    pub fn with_config(&self, config: Value, now: u64) -> Self {
        Self { revision: self.revision + 1, modified: now, config, ..self.clone() }
    }

    /// The same document with other tags. They are no part of what an ETag stands for.
    pub fn with_tags(&self, tags: BTreeMap<String, String>) -> Self {
        Self { tags, ..self.clone() }
    }

    /// Says whether the one who names this version may change the document.
    pub fn check(&self, if_match: Option<&str>) -> Result<(), Mismatch> {
        match_version(&self.etag(), if_match)
    }

    /// A text of the configuration, by its keys from the outside in; empty if there is none.
    pub fn text(&self, path: &[&str]) -> &str {
        let found = path.iter().try_fold(&self.config, |value, key| value.get(key));
        found.and_then(Value::as_str).unwrap_or("")
    }
}

/// The ETag that stands for a text: `E` and twelve of `[A-Z0-9]`.
pub fn etag(of: &str) -> String {
    format!("E{}", letters(of, 12))
}

/// So many of `[A-Z0-9]` that stand for a text, at most 32.
pub fn letters(of: &str, count: usize) -> String {
    const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let digest = sha256(of.as_bytes());
    let octet = |pair: &[u8]| {
        let digits = std::str::from_utf8(pair).unwrap_or("0");
        usize::from(u8::from_str_radix(digits, 16).unwrap_or(0))
    };
    let pairs = digest.as_bytes().chunks(2).take(count);
    pairs.map(|pair| LETTERS[octet(pair) % 36] as char).collect()
}

/// Why a caller may not change what it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// It names no version.
    Missing,
    /// It names another version than the one there is.
    Other,
}

/// Compares the version that a caller names with the one there is.
pub fn match_version(etag: &str, if_match: Option<&str>) -> Result<(), Mismatch> {
    let named = if_match.unwrap_or("").trim();
    match named.trim_matches('"') {
        "" => Err(Mismatch::Missing),
        named if named == etag => Ok(()),
        _ => Err(Mismatch::Other),
    }
}

/// All documents. A copy shares them until one of the two changes, and then what did not change.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Documents {
    all: Arc<BTreeMap<(Kind, String), Arc<Document>>>,
}

impl Documents {
    /// The one of an id.
    pub fn get(&self, kind: Kind, id: &str) -> Option<&Arc<Document>> {
        self.all.get(&(kind, id.to_string()))
    }

    /// All of a kind, by their ids.
    pub fn of(&self, kind: Kind) -> impl Iterator<Item = &Arc<Document>> {
        let from = self.all.range((kind, String::new())..);
        from.take_while(move |((known, _), _)| *known == kind).map(|(_, one)| one)
    }

    /// How many there are of a kind.
    pub fn count(&self, kind: Kind) -> usize {
        self.of(kind).count()
    }

    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that only one of the two has, or that are not the same in both.
    pub fn differences<'d>(&'d self, other: &'d Self) -> BTreeSet<(Kind, &'d str)> {
        let mut found = BTreeSet::new();
        if Arc::ptr_eq(&self.all, &other.all) {
            return found;
        }
        // Both are in one order: a walk along the two, and no look for each.
        let (mut ours, mut theirs) = (self.all.iter().peekable(), other.all.iter().peekable());
        loop {
            let order = match (ours.peek(), theirs.peek()) {
                (Some((name, _)), Some((other, _))) => name.cmp(other),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => return found,
            };
            let one = if order.is_gt() { None } else { ours.next() };
            let another = if order.is_lt() { None } else { theirs.next() };
            let is_same = match (one, another) {
                (Some((_, one)), Some((_, another))) => {
                    Arc::ptr_eq(one, another) || **one == **another
                }
                _ => false,
            };
            if !is_same && let Some(((kind, id), _)) = one.or(another) {
                found.insert((*kind, id.as_str()));
            }
        }
    }

    /// Takes one in, in the place of the one of the same id.
    pub fn put(&mut self, kind: Kind, document: Document) {
        Arc::make_mut(&mut self.all).insert((kind, document.id.clone()), Arc::new(document));
    }

    /// Takes one out.
    pub fn remove(&mut self, kind: Kind, id: &str) {
        let name = (kind, id.to_string());
        if self.all.contains_key(&name) {
            Arc::make_mut(&mut self.all).remove(&name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn document(revision: u64) -> Document {
        let config = serde_json::json!({ "a": { "b": "c" } });
        Document { revision, ..Document::new("E1", config, 1) }
    }

    #[test]
    fn only_the_version_there_is_may_be_changed() {
        let first = document(1);
        let etag = first.etag();
        assert_eq!(etag.len(), 13);
        for (named, want) in [
            (Some(etag.as_str()), Ok(())),
            (Some("*"), Err(Mismatch::Other)),
            (None, Err(Mismatch::Missing)),
            (Some(""), Err(Mismatch::Missing)),
            (Some("E00000000000000"), Err(Mismatch::Other)),
        ] {
            assert_eq!(first.check(named), want, "{named:?}");
        }
        let second = first.with_config(serde_json::json!({}), 2);
        assert_eq!(second.check(Some(&etag)), Err(Mismatch::Other));
        assert_eq!((second.created, second.modified), (1, 2));
        let tagged = second.with_tags(BTreeMap::from([("k".into(), "v".into())]));
        assert_eq!(tagged.etag(), second.etag());
        assert_eq!((first.text(&["a", "b"]), first.text(&["a", "x"])), ("c", ""));
    }

    #[test]
    fn copies_do_not_see_each_others_changes() {
        let mut all = Documents::default();
        all.put(Kind::Distribution, document(1));
        let before = all.clone();
        all.put(Kind::Distribution, document(2));
        all.put(Kind::KeyGroup, document(1));
        assert_eq!(before.get(Kind::Distribution, "E1").map(|one| one.revision), Some(1));
        assert_eq!((all.count(Kind::Distribution), all.count(Kind::CachePolicy)), (1, 0));
        all.remove(Kind::Distribution, "E1");
        assert!(all.get(Kind::Distribution, "E1").is_none() && !before.is_empty());
    }

    #[test]
    fn what_differs_is_named_by_both_sides() {
        let mut all = Documents::default();
        for kind in [Kind::Distribution, Kind::KeyGroup, Kind::CachePolicy] {
            all.put(kind, document(1));
        }
        let mut other = all.clone();
        assert!(all.differences(&other).is_empty());
        // The same words are the same document.
        other.put(Kind::Distribution, document(1));
        assert!(all.differences(&other).is_empty());
        other.put(Kind::Distribution, document(2));
        other.remove(Kind::KeyGroup, "E1");
        other.put(Kind::PublicKey, document(1));
        let kinds = [Kind::Distribution, Kind::PublicKey, Kind::KeyGroup];
        let want: BTreeSet<(Kind, &str)> = kinds.map(|kind| (kind, "E1")).into();
        assert_eq!(all.differences(&other), want);
        assert_eq!(other.differences(&all), want);
    }

    #[test]
    fn a_copy_shares_the_list_until_one_of_the_two_changes() {
        let mut all = Documents::default();
        all.put(Kind::Distribution, document(1));
        let mut copy = all.clone();
        copy.remove(Kind::KeyGroup, "E1");
        assert!(Arc::ptr_eq(&all.all, &copy.all), "nothing was there to be removed");
        copy.put(Kind::KeyGroup, document(1));
        assert!(!Arc::ptr_eq(&all.all, &copy.all));
        let of = |all: &Documents| all.get(Kind::Distribution, "E1").cloned().unwrap();
        assert!(Arc::ptr_eq(&of(&all), &of(&copy)));
    }

    // A few ids of a few kinds, each in one of two revisions.
    fn some() -> impl Strategy<Value = Documents> {
        let one = (0usize..4, 0usize..3, 1u64..3);
        prop::collection::vec(one, 0..12).prop_map(|all| {
            let mut documents = Documents::default();
            for (kind, at, revision) in all {
                let id = ["A", "B", "C"][at].to_string();
                documents.put(Kind::ALL[kind], Document { id, ..document(revision) });
            }
            documents
        })
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_looks_find(one in some(), other in some()) {
            let mut want = BTreeSet::new();
            for kind in Kind::ALL {
                for id in ["A", "B", "C"] {
                    if one.get(kind, id) != other.get(kind, id) {
                        want.insert((kind, id));
                    }
                }
                let listed = one.of(kind).map(|document| document.id.as_str());
                let there: Vec<&str> =
                    ["A", "B", "C"].into_iter().filter(|id| one.get(kind, id).is_some()).collect();
                prop_assert_eq!(listed.collect::<Vec<_>>(), there);
            }
            prop_assert_eq!(one.differences(&other), want);
        }

        #[test]
        fn no_two_versions_have_one_etag(a in 1u64..100_000, b in 1u64..100_000) {
            prop_assert_eq!(document(a).etag() == document(b).etag(), a == b);
        }
    }
}
