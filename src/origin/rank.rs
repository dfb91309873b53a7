//! Pure: which parent has which key: rendezvous hashing with weights.
//!
//! Of each parent and key a number between 0 and 1 is drawn, and `weight / -log(number)` ranks the
//! parent: its share of the keys is its share of the weights, and one that leaves moves only the
//! keys it had. All edges must come to the same order, so the logarithm is counted in whole numbers
//! here: those of floating point differ in their last digits from one C library to the next.

use std::cmp::Ordering;
use std::hash::{BuildHasher, Hasher};

use crate::distribution::region::Weight;

/// A configured parent, as a plan sees it.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'n> {
    pub name: &'n str,
    pub weight: Weight,
    pub takes: Takes,
}

/// Whether a parent is given requests at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Keys,
    /// It is out, or about to leave.
    Nothing,
}

/// Digits behind the point of a logarithm, in bits.
const FRACTION: u32 = 40;

/// Parents in the order of their right to a key, as places among the candidates. Those of weight 0
/// come after all others.
pub fn ranked<'n>(key: &[u8], parents: impl Iterator<Item = Candidate<'n>>) -> Vec<usize> {
    let mut order: Vec<(Drawn<'n>, usize)> =
        parents.enumerate().map(|(at, one)| (Drawn::of(key, &one), at)).collect();
    order.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    order.into_iter().map(|(_, at)| at).collect()
}

/// What was drawn for one parent.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Drawn<'n> {
    weight: u64,
    /// How far below the most it is, as a logarithm.
    distance: u64,
    hash: u64,
    name: &'n str,
}

impl<'n> Drawn<'n> {
    fn of(key: &[u8], one: &Candidate<'n>) -> Self {
        // Fixed seed: every edge must come to the same order.
        let mut hasher = foldhash::quality::FixedState::with_seed(0x464f_5245).build_hasher();
        hasher.write(one.name.as_bytes());
        hasher.write(key);
        let hash = hasher.finish();
        Self { weight: one.weight.0.into(), distance: distance(hash), hash, name: one.name }
    }
}

impl Ord for Drawn<'_> {
    // weight / distance, without the division. Where that is the same, as between spares, the hash
    // decides: among equal weights it is the order of the hashes throughout.
    fn cmp(&self, other: &Self) -> Ordering {
        let own = u128::from(self.weight) * u128::from(other.distance);
        let others = u128::from(other.weight) * u128::from(self.distance);
        own.cmp(&others)
            .then_with(|| self.hash.cmp(&other.hash))
            .then_with(|| self.name.cmp(other.name))
    }
}

impl PartialOrd for Drawn<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

// -log2(hash / 2^64), in units of 2^-FRACTION and at least one of them; the greater the hash, the
// less.
fn distance(hash: u64) -> u64 {
    let hash = hash.max(1);
    let whole = 63 - hash.leading_zeros();
    // From 1 to below 2, with 63 digits behind the point. Each squaring gives one more digit of its
    // logarithm.
    let mut rest = u128::from(hash << hash.leading_zeros());
    let mut log = u64::from(whole);
    for _ in 0..FRACTION {
        rest = (rest * rest) >> 63;
        log <<= 1;
        if rest >> 64 != 0 {
            rest >>= 1;
            log |= 1;
        }
    }
    ((64 << FRACTION) - log).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 4] = ["https://a:1", "https://b:1", "https://c:1", "https://d:1"];

    fn candidates(weights: &[u16]) -> Vec<Candidate<'static>> {
        let one = |(name, weight): (&&'static str, &u16)| Candidate {
            name,
            weight: Weight(*weight),
            takes: Takes::Keys,
        };
        NAMES.iter().zip(weights).map(one).collect()
    }

    fn order(key: u32, weights: &[u16]) -> Vec<usize> {
        ranked(&key.to_le_bytes(), candidates(weights).into_iter())
    }

    #[test]
    fn a_logarithm_is_one() {
        for power in 0..64 {
            assert_eq!(distance(1 << power), (64 - power) << FRACTION, "2^{power}");
        }
        assert_eq!((distance(0), distance(u64::MAX)), (64 << FRACTION, 1));
        let mut last = u64::MAX;
        for step in 1..10_000u64 {
            let hash = step * (u64::MAX / 10_000);
            let (got, float) = (distance(hash), 64.0 - (hash as f64).log2());
            assert!(got <= last, "{hash}: the greater the hash, the less");
            assert!((got as f64 / (1u64 << FRACTION) as f64 - float).abs() < 1e-9, "{hash}");
            last = got;
        }
    }

    #[test]
    fn shares_are_those_of_the_weights() {
        const KEYS: u32 = 100_000;
        for weights in [&[1, 1, 1][..], &[1, 2, 3, 4], &[1, 10], &[1000, 1, 500], &[3, 0, 1]] {
            let total: u16 = weights.iter().sum();
            let mut counts = vec![0u32; weights.len()];
            (0..KEYS).for_each(|key| counts[order(key, weights)[0]] += 1);
            for (count, weight) in counts.iter().zip(weights) {
                let share = f64::from(*count) / f64::from(KEYS);
                let want = f64::from(*weight) / f64::from(total);
                assert!((share - want).abs() < 0.02, "{weights:?}: {counts:?}");
                assert!(*weight > 0 || *count == 0, "a spare takes nothing: {counts:?}");
            }
        }
    }

    #[test]
    fn one_that_leaves_moves_only_its_own_keys() {
        let (weights, mut heirs) = ([4u16, 2, 1], [0u32; 2]);
        for key in 0..30_000 {
            let (before, after) = (order(key, &weights), order(key, &weights[..2]));
            match before[0] {
                2 => {
                    assert_eq!(after[0], before[1], "the next in rank has it");
                    heirs[after[0]] += 1;
                }
                first => assert_eq!(after[0], first, "a key moved though its parent stayed"),
            }
        }
        let ratio = f64::from(heirs[0]) / f64::from(heirs[1]);
        assert!((1.7..2.4).contains(&ratio), "its keys go by weight too: {heirs:?}");
        // One that gains weight takes keys, and nothing moves between the others.
        for key in 0..30_000 {
            let (before, after) = (order(key, &[1, 1, 1])[0], order(key, &[1, 1, 2])[0]);
            assert!(before == after || after == 2);
        }
    }

    #[test]
    fn equal_weights_are_ranked_as_none_are() {
        for key in 0..5_000 {
            let one = order(key, &[1, 1, 1]);
            assert_eq!(one, order(key, &[7, 7, 7]));
            assert_eq!(one, order(key, &[0, 0, 0]), "spares among themselves, too");
            assert_eq!(order(key, &[1, 0, 1]).last(), Some(&1), "a spare is the last");
        }
        // Wherever a parent stands in the file.
        let mut turned = candidates(&[1, 2, 3]);
        turned.reverse();
        for key in 0..1_000u32 {
            let there: Vec<usize> = ranked(&key.to_le_bytes(), turned.iter().copied());
            let here: Vec<usize> = there.into_iter().map(|at| 2 - at).collect();
            assert_eq!(here, order(key, &[1, 2, 3]));
        }
    }
}
