//! Which behavior of a configuration is which of the one before: by distribution id and path
//! pattern, wherever it stands now.
//!
//! Ordinals mean something within one site only. What is counted or remembered of a behavior is
//! carried from site to site by these ids.

use std::collections::HashMap;
use std::sync::Arc;

use super::site::{Distribution, Site};

/// What a behavior is known by over reloads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct BehaviorId {
    pub distribution: String,
    pub pattern: String,
    /// How many behaviors before it in its distribution have the same pattern. Such a behavior is
    /// never reached, and is not the first.
    pub repeat: usize,
}

/// The ids of all behaviors of a site, in the order of their ordinals.
pub fn behaviors(site: &Site) -> Vec<BehaviorId> {
    let all = site.distributions.iter();
    numbered(all.flat_map(|one| patterns(one).map(move |pattern| (one.id.as_str(), pattern))))
}

/// Says whether all behaviors of two sites have the same ids, in the same order. Distributions that
/// the two share, as most are where a change touched another one, are not looked into.
pub fn are_alike(one: &[Arc<Distribution>], other: &[Arc<Distribution>]) -> bool {
    let is_alike = |(one, other): (&Arc<Distribution>, &Arc<Distribution>)| {
        Arc::ptr_eq(one, other) || (one.id == other.id && patterns(one).eq(patterns(other)))
    };
    one.len() == other.len() && one.iter().zip(other).all(is_alike)
}

fn patterns(of: &Distribution) -> impl Iterator<Item = &str> {
    of.behaviors.iter().map(|behavior| behavior.pattern.as_str())
}

fn numbered<'s>(patterns: impl Iterator<Item = (&'s str, &'s str)>) -> Vec<BehaviorId> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    let id = |(distribution, pattern): (&'s str, &'s str)| {
        let count = seen.entry((distribution, pattern)).or_default();
        *count += 1;
        BehaviorId {
            distribution: distribution.to_string(),
            pattern: pattern.to_string(),
            repeat: *count - 1,
        }
    };
    patterns.map(id).collect()
}

/// For each behavior of `now`, its ordinal in `before`; `None` for one that is new.
pub fn carried(now: &[BehaviorId], before: &[BehaviorId]) -> Vec<Option<usize>> {
    let ordinals: HashMap<&BehaviorId, usize> =
        before.iter().enumerate().map(|(at, id)| (id, at)).collect();
    now.iter().map(|id| ordinals.get(id).copied()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(all: &[(&str, &str)]) -> Vec<BehaviorId> {
        numbered(all.iter().copied())
    }

    #[test]
    fn a_behavior_is_itself_wherever_it_stands_and_a_renamed_one_is_new() {
        let before = ids(&[("A", "/x/*"), ("A", "*"), ("B", "/x/*"), ("B", "*")]);
        for (what, now, want) in [
            (
                "the same",
                vec![("A", "/x/*"), ("A", "*"), ("B", "/x/*"), ("B", "*")],
                vec![Some(0), Some(1), Some(2), Some(3)],
            ),
            (
                "renamed",
                vec![("A", "/y/*"), ("A", "*"), ("B", "/x/*"), ("B", "*")],
                vec![None, Some(1), Some(2), Some(3)],
            ),
            (
                "another order",
                vec![("B", "/x/*"), ("B", "*"), ("A", "/x/*"), ("A", "*")],
                vec![Some(2), Some(3), Some(0), Some(1)],
            ),
            (
                "one more, one gone",
                vec![("A", "/n/*"), ("A", "/x/*"), ("A", "*")],
                vec![None, Some(0), Some(1)],
            ),
            ("another distribution", vec![("C", "/x/*"), ("C", "*")], vec![None, None]),
        ] {
            assert_eq!(carried(&ids(&now), &before), want, "{what}");
        }
    }

    #[test]
    fn sites_are_alike_where_their_behaviors_have_the_same_ids_in_the_same_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        let site = |all: &[(&str, &str, &str)]| {
            let mut text = "[listen]\nhttp = [\"127.0.0.1:1\"]\n".to_string();
            for (id, comment, pattern) in all {
                text.push_str(&format!(
                    "[[distribution]]\nid = \"{id}\"\ncomment = \"{comment}\"\n\
                     hosts = [\"{id}.test\"]\n\
                     [[distribution.origin]]\nid = \"o\"\nurl = \"http://127.0.0.1:1\"\n\
                     [[distribution.behavior]]\npath = \"{pattern}\"\norigin = \"o\"\n\
                     [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\n"
                ));
            }
            std::fs::write(&path, text).unwrap();
            let at = crate::semantics::time::Timestamp::from_secs(1_800_000_000);
            let loaded = crate::config::load(&path, at, crate::config::MissingCertificates::Done);
            loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).site
        };
        let first = site(&[("A", "one", "/x/*"), ("B", "one", "/x/*")]);
        for (what, all, want) in [
            ("the same", vec![("A", "one", "/x/*"), ("B", "one", "/x/*")], true),
            ("other words", vec![("A", "two", "/x/*"), ("B", "one", "/x/*")], true),
            ("another pattern", vec![("A", "one", "/y/*"), ("B", "one", "/x/*")], false),
            ("another order", vec![("B", "one", "/x/*"), ("A", "one", "/x/*")], false),
            ("one gone", vec![("A", "one", "/x/*")], false),
            ("another one", vec![("A", "one", "/x/*"), ("C", "one", "/x/*")], false),
        ] {
            let next = site(&all);
            assert_eq!(are_alike(&first.distributions, &next.distributions), want, "{what}");
            assert_eq!(behaviors(&first) == behaviors(&next), want, "{what}");
        }
        // One that both share is not looked into.
        let mut next = first.distributions.clone();
        assert!(are_alike(&first.distributions, &next));
        next.pop();
        assert!(!are_alike(&first.distributions, &next));
    }

    #[test]
    fn of_two_with_one_pattern_each_is_itself() {
        let before = ids(&[("A", "/x/*"), ("A", "/x/*"), ("A", "*")]);
        assert_eq!(
            carried(&ids(&[("A", "/x/*"), ("A", "/x/*"), ("A", "*")]), &before),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(carried(&ids(&[("A", "/x/*"), ("A", "*")]), &before), [Some(0), Some(2)]);
    }
}
