//! Responses in memory: a sharded index, and an account in octets that is never exceeded.
//!
//! A hit takes a shard's lock for reading, for the time of one comparison. Fills reserve octets
//! before they have them; when nothing can be evicted the reservation fails and the response is
//! passed through.

use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::eviction::{Eviction, Resident};
use crate::message::stored::Stored;
use crate::sync::{AtomicU64, Mutex, Ordering, RwLock};

/// All variants found under a key.
pub type Found = SmallVec<[Arc<Stored>; 2]>;

const SHARDS: usize = 64;

/// The memory tier: responses by key, no more than `limit` octets of them.
pub struct Memory {
    shards: Box<[RwLock<HashTable<Slot>>]>,
    hasher: foldhash::quality::RandomState,
    eviction: Mutex<Eviction<Handle>>,
    used: AtomicU64,
    objects: AtomicU64,
    evictions: AtomicU64,
    limit: u64,
    variants_max: usize,
}

/// One variant; a key has as many slots as variants, in no order.
struct Slot {
    hash: u64,
    stored: Arc<Stored>,
}

impl Slot {
    fn is_of(&self, hash: u64, key: &[u8]) -> bool {
        self.hash == hash && self.stored.key.as_bytes() == key
    }
}

struct Handle {
    stored: Weak<Stored>,
    hash: u64,
}

impl Resident for Handle {
    fn weight(&self) -> u64 {
        self.stored.upgrade().map_or(0, |stored| stored.live.accounted.load(Ordering::Relaxed))
    }
    fn uses(&self) -> u8 {
        self.stored.upgrade().map_or(0, |stored| stored.flags.uses.load(Ordering::Relaxed))
    }
    fn set_uses(&self, uses: u8) {
        if let Some(stored) = self.stored.upgrade() {
            stored.flags.uses.store(uses, Ordering::Relaxed);
        }
    }
    fn moved_to_main(&self) {
        if let Some(stored) = self.stored.upgrade() {
            stored.flags.in_main.store(true, Ordering::Relaxed);
        }
    }
    fn key_hash(&self) -> u64 {
        self.hash
    }
}

/// There is no room, and nothing to evict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Full;

/// What the store holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub bytes: u64,
    pub limit: u64,
    pub objects: u64,
    pub evictions: u64,
}

impl Memory {
    /// A store of at most `limit` octets, bookkeeping included.
    pub fn new(limit: u64, variants_max: usize) -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            hasher: foldhash::quality::RandomState::default(),
            eviction: Mutex::new(Eviction::new(limit)),
            used: AtomicU64::new(0),
            objects: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            limit,
            variants_max,
        }
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<Slot>> {
        // The table uses the low and the highest bits; take ours from the middle.
        &self.shards[(hash >> 32) as usize % SHARDS]
    }

    /// All variants under a key.
    pub fn find(&self, key: &[u8]) -> Found {
        let hash = self.hasher.hash_one(key);
        let mut found = Found::new();
        let shard = self.shard(hash).read();
        // Pushed one by one: nearly always there is one, and collecting would first ask how many.
        for slot in shard.iter_hash(hash).filter(|slot| slot.is_of(hash, key)) {
            found.push(Arc::clone(&slot.stored));
        }
        found
    }

    /// Takes octets into the account, evicting as needed.
    pub fn reserve(&self, octets: u64) -> Result<(), Full> {
        if octets > self.limit {
            return Err(Full);
        }
        loop {
            let used = self.used.load(Ordering::Relaxed);
            if used.saturating_add(octets) <= self.limit {
                if self
                    .used
                    .compare_exchange_weak(
                        used,
                        used + octets,
                        Ordering::Relaxed,
                        Ordering::Relaxed,
                    )
                    .is_ok()
                {
                    return Ok(());
                }
                continue;
            }
            // Not held over the removal: that takes a shard's lock.
            let victim = self.eviction.lock().evict();
            let Some(stored) = victim.ok_or(Full)?.stored.upgrade() else { continue };
            if self.remove(&stored) {
                self.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Gives octets back.
    pub fn release(&self, octets: u64) {
        self.used.fetch_sub(octets, Ordering::Relaxed);
    }

    /// Puts in a response whose octets are reserved and noted in `live.accounted`.
    ///
    /// It takes the place of the variant with the same selector, and of the oldest if there are too
    /// many. One that was asked for before what is here is not taken (false): a slow fetch must not
    /// bring back an old version.
    pub fn insert(&self, stored: &Arc<Stored>) -> bool {
        let key = stored.key.as_bytes();
        let hash = self.hasher.hash_one(key);
        // Before a lookup can find it, or an eviction take it out.
        self.objects.fetch_add(1, Ordering::Relaxed);
        let replaced = {
            let mut shard = self.shard(hash).write();
            let same =
                |slot: &Slot| slot.is_of(hash, key) && slot.stored.selector == stored.selector;
            if let Some(slot) = shard.find_mut(hash, same) {
                let here = &slot.stored;
                if (here.asked_at, here.date) > (stored.asked_at, stored.date)
                    && !here.content.is_broken()
                {
                    drop(shard);
                    self.settle(stored);
                    return false;
                }
                Some(std::mem::replace(&mut slot.stored, Arc::clone(stored)))
            } else {
                let variants = || {
                    shard
                        .iter_hash(hash)
                        .filter(|slot| slot.is_of(hash, key))
                        .map(|slot| &slot.stored)
                };
                let oldest = if variants().count() < self.variants_max {
                    None
                } else {
                    variants().min_by_key(|old| old.born).cloned()
                };
                if let Some(oldest) = &oldest {
                    take(&mut shard, hash, oldest);
                }
                shard.insert_unique(hash, Slot { hash, stored: Arc::clone(stored) }, |slot| {
                    slot.hash
                });
                oldest
            }
        };
        replaced.iter().for_each(|old| self.settle(old));
        let mut eviction = self.eviction.lock();
        eviction.admit(Handle { stored: Arc::downgrade(stored), hash });
        // Replacement leaves dead handles behind; they must not pile up while there is room.
        if eviction.len() as u64 > 64 + 2 * self.objects.load(Ordering::Relaxed) {
            eviction.sweep();
        }
        true
    }

    /// Takes out exactly this response; false if it was not there any more.
    pub fn remove(&self, stored: &Arc<Stored>) -> bool {
        let hash = self.hasher.hash_one(stored.key.as_bytes());
        let removed = take(&mut self.shard(hash).write(), hash, stored);
        if removed {
            self.settle(stored);
        }
        removed
    }

    // Gives back what a response had in the account, once.
    fn settle(&self, stored: &Stored) {
        self.release(stored.live.accounted.swap(0, Ordering::Relaxed));
        self.objects.fetch_sub(1, Ordering::Relaxed);
    }

    /// Adds to what a growing response has in the account. False if it has left the store already.
    pub fn grow(&self, stored: &Stored, octets: u64) -> Result<bool, Full> {
        self.reserve(octets)?;
        let accounted = &stored.live.accounted;
        let noted = accounted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
            (now > 0).then_some(now + octets)
        });
        if noted.is_err() {
            self.release(octets);
        }
        Ok(noted.is_ok())
    }

    /// Sets what a response has in the account to its exact weight, which is no more than it has.
    pub fn settle_to(&self, stored: &Stored, exact: u64) {
        let lowered =
            stored.live.accounted.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |now| {
                (now > exact).then_some(exact)
            });
        if let Ok(before) = lowered {
            self.release(before - exact);
        }
        // The queues took it in at the weight of its head alone.
        if !stored.flags.in_main.load(Ordering::Relaxed) {
            self.eviction.lock().grew(exact.saturating_sub(stored.weight(0)));
        }
    }

    /// Shows every response to `see`, shard by shard; no lock is held across shards.
    pub fn visit(&self, mut see: impl FnMut(&Arc<Stored>)) {
        for shard in &self.shards {
            let shard = shard.read();
            shard.iter().map(|slot| &slot.stored).for_each(&mut see);
        }
    }

    /// What the store holds now.
    pub fn stats(&self) -> Stats {
        Stats {
            bytes: self.used.load(Ordering::Relaxed),
            limit: self.limit,
            objects: self.objects.load(Ordering::Relaxed),
            evictions: self.evictions.load(Ordering::Relaxed),
        }
    }
}

// Takes out exactly this response; false if it is not there.
fn take(shard: &mut HashTable<Slot>, hash: u64, stored: &Arc<Stored>) -> bool {
    shard
        .find_entry(hash, |slot| Arc::ptr_eq(&slot.stored, stored))
        .map(|entry| entry.remove())
        .is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::stored::Life;

    fn stored(key: &str, body: usize) -> Arc<Stored> {
        let life = Life { fresh: 1000, ..Stored::example().life };
        let stored =
            Stored::example().with_key(key.as_bytes()).with_life(life).with_content(&vec![0; body]);
        stored.live.accounted.store(stored.weight(body as u64), Ordering::Relaxed);
        Arc::new(stored)
    }

    fn put(store: &Memory, key: &str, body: usize) -> Result<Arc<Stored>, Full> {
        let stored = stored(key, body);
        store.reserve(stored.live.accounted.load(Ordering::Relaxed))?;
        store.insert(&stored);
        Ok(stored)
    }

    #[test]
    fn the_account_is_exact_and_never_exceeded() {
        let store = Memory::new(100_000, 4);
        for at in 0..1000 {
            put(&store, &format!("key{at}"), at % 3000).unwrap();
            assert!(store.stats().bytes <= 100_000);
        }
        let mut sum = 0;
        let mut count = 0;
        store.visit(|stored| {
            sum += stored.live.accounted.load(Ordering::Relaxed);
            count += 1;
        });
        assert_eq!((sum, count), (store.stats().bytes, store.stats().objects));
        assert!(store.stats().evictions > 0);
        assert_eq!(put(&store, "too large", 200_000).err(), Some(Full));
    }

    #[test]
    fn replacing_and_removing_settle_once() {
        let store = Memory::new(100_000, 4);
        let first = put(&store, "a", 10).unwrap();
        let second = put(&store, "a", 20).unwrap();
        assert_eq!(store.find(b"a").len(), 1);
        assert!(!store.remove(&first));
        assert!(store.remove(&second) && !store.remove(&second));
        assert_eq!(store.stats(), Stats { limit: 100_000, ..Stats::default() });
        assert!(store.find(b"a").is_empty());
    }

    #[test]
    fn many_threads_leave_a_true_account() {
        let store = Memory::new(200_000, 4);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let store = &store;
                scope.spawn(move || {
                    for at in 0..2000 {
                        let _ = put(store, &format!("key{}", (at * 7 + thread) % 300), at % 2000);
                        if let Some(one) = store.find(format!("key{}", at % 300).as_bytes()).first()
                        {
                            one.flags.used();
                            if at % 5 == 0 {
                                store.remove(one);
                            }
                        }
                    }
                });
            }
        });
        let mut sum = 0;
        store.visit(|stored| sum += stored.live.accounted.load(Ordering::Relaxed));
        assert_eq!(sum, store.stats().bytes);
    }
}
