//! Signatures that were found good, so that a hit need not check them again: bounded, and asked
//! anew about time and viewer.
//!
//! It outlives reloads. Nothing in it depends on the configuration: a signature is looked up only
//! under a key that the behavior has, and by a print that this key is a part of.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::policy::PolicyConditions;
use crate::semantics::time::Timestamp;

/// Of all that the outcome of a check depends on.
type Print = [u8; 32];
type Table = HashMap<Print, PolicyConditions, foldhash::fast::RandomState>;

/// Two tables: what is asked for moves to the young one; when that is full, the old one goes.
#[derive(Default)]
struct Shard {
    young: Table,
    old: Table,
}

const SHARDS: usize = 16;
/// Most signatures remembered: 16 × 2 × 2,048, each some 100 octets.
const EACH: usize = 2048;

/// Signatures that were found good, bounded in number, two generations in each shard.
#[derive(Default)]
pub struct VerifiedSignatures {
    shards: [RwLock<Shard>; SHARDS],
}

impl VerifiedSignatures {
    fn shard(&self, print: &Print) -> &RwLock<Shard> {
        &self.shards[usize::from(print[0]) % SHARDS]
    }

    /// The terms of a signature that was found good.
    pub fn find(&self, print: &Print) -> Option<PolicyConditions> {
        let shard = self.shard(print).read();
        shard.young.get(print).or_else(|| shard.old.get(print)).copied()
    }

    /// Remembers one, unless it is good no more.
    pub fn note(&self, print: &Print, terms: PolicyConditions, now: Timestamp) {
        if now.secs() >= terms.before {
            return;
        }
        let mut shard = self.shard(print).write();
        if shard.young.len() >= EACH {
            shard.old = std::mem::take(&mut shard.young);
        }
        shard.young.insert(*print, terms);
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.shards.iter().map(RwLock::read).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_grows_beyond_its_bound_and_forgets_the_oldest() {
        let memory = VerifiedSignatures::default();
        let terms = PolicyConditions { before: 100, after: None, from: None };
        let print = |n: u32| {
            let mut print = [0; 32];
            print[..4].copy_from_slice(&n.wrapping_mul(2_654_435_761).to_le_bytes());
            print[4..8].copy_from_slice(&n.to_le_bytes());
            print
        };
        for n in 0..200_000 {
            memory.note(&print(n), terms, Timestamp::from_secs(1));
            assert!(memory.find(&print(n)).is_some());
        }
        assert!(
            memory.len() <= SHARDS * 2 * EACH && memory.len() > SHARDS * EACH / 2,
            "{}",
            memory.len()
        );
        assert!(memory.find(&print(0)).is_none());
        memory.note(&print(7), terms, Timestamp::from_secs(100));
        assert!(memory.find(&print(7)).is_none(), "what has expired is not remembered");
    }
}
