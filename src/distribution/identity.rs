//! Which behavior of a configuration is which of the one before: by distribution id and path
//! pattern, wherever it stands now.
//!
//! Ordinals mean something within one site only. What is counted or remembered of a behavior is
//! carried from site to site by these ids.

use std::collections::HashMap;

use super::site::Site;

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
    let patterns = site.distributions.iter().flat_map(|one| {
        one.behaviors.iter().map(move |behavior| (one.id.as_str(), behavior.pattern.as_str()))
    });
    numbered(patterns)
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
    fn of_two_with_one_pattern_each_is_itself() {
        let before = ids(&[("A", "/x/*"), ("A", "/x/*"), ("A", "*")]);
        assert_eq!(
            carried(&ids(&[("A", "/x/*"), ("A", "/x/*"), ("A", "*")]), &before),
            [Some(0), Some(1), Some(2)]
        );
        assert_eq!(carried(&ids(&[("A", "/x/*"), ("A", "*")]), &before), [Some(0), Some(2)]);
    }
}
