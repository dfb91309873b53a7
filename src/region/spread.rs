//! Pure: keeps edges that began together from going on in step, without a die: each pair of a node
//! and a parent has a seed of its own.

use std::hash::{BuildHasher, Hasher};
use std::time::Duration;

/// The seed of one node and one of its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread(u64);

impl Spread {
    /// That of a node, by its id, and a parent, by its name.
    pub fn of(node: &str, parent: &str) -> Self {
        Self(hash(0, &[node.as_bytes(), &[0], parent.as_bytes()]))
    }

    /// A span that is shorter by up to so many percent (100 at most), by another part each turn.
    pub fn shorten(self, span: Duration, percent: u8, turn: u64) -> Duration {
        let most = span * u32::from(percent.min(100)) / 100;
        let part = hash(self.0, &[&turn.to_le_bytes()]) as u16;
        span - most * u32::from(part) / u32::from(u16::MAX)
    }
}

fn hash(seed: u64, parts: &[&[u8]]) -> u64 {
    let mut hasher = foldhash::quality::FixedState::with_seed(seed).build_hasher();
    parts.iter().for_each(|part| hasher.write(part));
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_differ_within_their_bounds() {
        let (span, one, two) =
            (Duration::from_secs(10), Spread::of("n1", "p"), Spread::of("n2", "p"));
        let of = |spread: Spread| -> Vec<Duration> {
            (0..1000).map(|turn| spread.shorten(span, 20, turn)).collect()
        };
        let all = of(one);
        assert!(all.iter().all(|some| (Duration::from_secs(8)..=span).contains(some)));
        let mean = all.iter().sum::<Duration>() / 1000;
        assert!((8_800..9_200).contains(&mean.as_millis()), "{mean:?}");
        let alike = all.iter().zip(of(two)).filter(|(some, other)| **some == *other).count();
        assert!(alike < 20, "{alike} turns are the same at two nodes");
        assert_eq!((one.shorten(span, 0, 7), of(one)), (span, all));
        assert_eq!(one.shorten(Duration::ZERO, 50, 7), Duration::ZERO);
    }
}
