//! How often one address may ask: a bucket of tokens for each, bounded in number. Time is passed
//! in.
//!
//! A bucket is one number, the moment at which it will be full again (the generic cell rate
//! algorithm): asking moves it on by one request's worth, and is refused where that would lie
//! further ahead than the burst allows.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::distribution::identity::{self, BehaviorId};
use crate::distribution::rate_limit::RateLimit;
use crate::distribution::site::Site;
use crate::semantics::time::Timestamp;

const SHARDS: usize = 16;
/// Addresses remembered in each half of a shard.
const EACH: usize = 4096;

type Table = HashMap<(u64, IpAddr), u64, foldhash::fast::RandomState>;

/// The buckets, of all behaviors of a site and all addresses. Sites that follow each other share
/// them: a reload refills none.
#[derive(Clone, Default)]
pub struct Buckets {
    shards: Arc<[Mutex<(Table, Table)>; SHARDS]>,
    behaviors: Arc<[BehaviorId]>,
    /// What stands for each behavior in the tables, by its ordinal. Empty without a site: then
    /// ordinals stand for themselves.
    numbers: Arc<[u64]>,
    /// The least number that never stood for any.
    unused: u64,
}

// A network of IPv6 (/64) is one asker: a viewer that has one address of it has them all.
fn asker(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

impl Buckets {
    /// The buckets for a site that follows another, or for the first one. Those of behaviors that
    /// left are dropped.
    pub fn for_site(site: &Site, before: Option<&Self>) -> Self {
        let behaviors = identity::behaviors(site);
        match before {
            Some(before) => before.next(behaviors),
            None => Self::default().next(behaviors),
        }
    }

    fn next(&self, behaviors: Vec<BehaviorId>) -> Self {
        let mut unused = self.unused;
        let carried = identity::carried(&behaviors, &self.behaviors);
        let numbers: Arc<[u64]> = carried
            .into_iter()
            .map(|known| match known {
                Some(at) => self.numbers[at],
                None => {
                    unused += 1;
                    unused - 1
                }
            })
            .collect();
        let staying: HashSet<u64> = numbers.iter().copied().collect();
        if !self.numbers.iter().all(|number| staying.contains(number)) {
            self.keep_only(&staying);
        }
        Self { shards: Arc::clone(&self.shards), behaviors: behaviors.into(), numbers, unused }
    }

    fn keep_only(&self, numbers: &HashSet<u64>) {
        // One table at a time, so that no request waits for both.
        for shard in self.shards.iter() {
            shard.lock().0.retain(|(number, _), _| numbers.contains(number));
            shard.lock().1.retain(|(number, _), _| numbers.contains(number));
        }
    }

    /// Takes a token; the error says after how many seconds there is one.
    pub fn take(
        &self,
        behavior: usize,
        address: IpAddr,
        limit: RateLimit,
        now: Timestamp,
    ) -> Result<(), u64> {
        let number = self.numbers.get(behavior).copied().unwrap_or(behavior as u64);
        let key = (number, asker(address));
        let now = now.0 * 1000;
        let place = match key.1 {
            IpAddr::V4(v4) => u32::from(v4) as usize,
            IpAddr::V6(v6) => (u128::from(v6) >> 64) as usize,
        };
        let mut shard = self.shards[place.wrapping_mul(0x9e37_79b9) >> 8 & (SHARDS - 1)].lock();
        let (young, old) = &mut *shard;
        let room = limit.every.saturating_mul(limit.burst);
        // A clock that was set back must not shut an address out for longer than a full bucket
        // takes.
        let full_at = young
            .get(&key)
            .or_else(|| old.get(&key))
            .copied()
            .unwrap_or(0)
            .clamp(now, now.saturating_add(room));
        let after = full_at.saturating_add(limit.every);
        let over = after.saturating_sub(now.saturating_add(room));
        if young.len() >= EACH && !young.contains_key(&key) {
            // An address that did not ask for so long has a full bucket anyway.
            *old = std::mem::take(young);
        }
        // An address that is refused is remembered too: one that keeps asking is not to be
        // forgotten for it.
        young.insert(key, if over > 0 { full_at } else { after });
        if over > 0 { Err(over.div_ceil(1_000_000).max(1)) } else { Ok(()) }
    }

    /// How many addresses are remembered.
    pub fn len(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| shard.lock())
            .map(|shard| shard.0.len() + shard.1.len())
            .sum()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEN: RateLimit = RateLimit { every: 100_000, burst: 5 };

    #[test]
    fn a_burst_and_then_one_by_one() {
        let buckets = Buckets::default();
        let ip = "192.0.2.1".parse().unwrap();
        let take = |millis: u64| buckets.take(0, ip, TEN, Timestamp(1_000_000 + millis));
        assert!((0..5).all(|_| take(0).is_ok()));
        assert_eq!(take(0), Err(1));
        assert_eq!(take(99), Err(1));
        assert_eq!((take(100), take(100)), (Ok(()), Err(1)));
        assert!(
            (0..5).all(|_| take(10_000).is_ok()) && take(10_000).is_err(),
            "no more than a burst is saved up"
        );
        assert!(
            buckets.take(1, ip, TEN, Timestamp(1_010_000)).is_ok(),
            "another behavior counts for itself"
        );
        let slow = RateLimit { every: 60_000_000, burst: 1 };
        assert!(buckets.take(2, ip, slow, Timestamp(0)).is_ok());
        assert_eq!(buckets.take(2, ip, slow, Timestamp(1000)), Err(59));
    }

    #[test]
    fn a_clock_that_is_set_back_shuts_nobody_out_for_long_and_who_knocks_is_remembered() {
        let buckets = Buckets::default();
        let ip = "192.0.2.1".parse().unwrap();
        let one = RateLimit { every: 1_000_000, burst: 2 };
        let late = Timestamp(10_000_000_000);
        assert!(buckets.take(0, ip, one, late).is_ok() && buckets.take(0, ip, one, late).is_ok());
        assert_eq!(
            buckets.take(0, ip, one, Timestamp(1000)),
            Err(1),
            "a full bucket's time at most"
        );
        assert!(buckets.take(0, ip, one, Timestamp(2000)).is_ok());
        let huge = RateLimit { every: u64::MAX / 2, burst: u64::MAX };
        assert!(buckets.take(1, ip, huge, late).is_ok());
    }

    #[test]
    fn a_site_that_follows_refills_no_bucket_but_those_of_what_is_new() {
        let id = |pattern: &str| BehaviorId {
            distribution: "E1".into(),
            pattern: pattern.into(),
            repeat: 0,
        };
        let ip = "192.0.2.1".parse().unwrap();
        let one = RateLimit { every: 60_000_000, burst: 1 };
        let take =
            |buckets: &Buckets, behavior| buckets.take(behavior, ip, one, Timestamp(0)).is_ok();
        let first = Buckets::default().next(vec![id("/a/*"), id("/b/*"), id("*")]);
        assert!((0..3).all(|at| take(&first, at)) && !(0..3).any(|at| take(&first, at)));
        let same = first.next(vec![id("/a/*"), id("/b/*"), id("*")]);
        assert!(!(0..3).any(|at| take(&same, at)));
        // In another order, one renamed.
        let second = same.next(vec![id("/b/*"), id("/c/*"), id("*")]);
        assert_eq!(second.len(), 2, "what was remembered of one that left is dropped");
        assert_eq!([0, 1, 2].map(|at| take(&second, at)), [false, true, false]);
        // A request under way at the reload still knows its own behavior.
        assert!(!take(&first, 1) && !take(&first, 2));
        let third = second.next(vec![id("/a/*"), id("/b/*"), id("/c/*"), id("*")]);
        assert_eq!([0, 1, 2, 3].map(|at| take(&third, at)), [true, false, false, false]);
    }

    #[test]
    fn one_network_of_ipv6_is_one_asker_and_nothing_grows_without_end() {
        let buckets = Buckets::default();
        let one = RateLimit { every: 1_000_000, burst: 1 };
        assert!(buckets.take(0, "2001:db8::1".parse().unwrap(), one, Timestamp(0)).is_ok());
        assert!(buckets.take(0, "2001:db8::2".parse().unwrap(), one, Timestamp(0)).is_err());
        for n in 0..500_000u32 {
            let _ = buckets.take(0, IpAddr::V4(n.into()), one, Timestamp(0));
        }
        assert!(buckets.len() <= SHARDS * 2 * EACH, "{}", buckets.len());
    }
}
