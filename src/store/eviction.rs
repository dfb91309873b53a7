//! Pure: which response is evicted first, by S3-FIFO, weighed by size.
//!
//! New responses enter a small queue (a tenth of the room) and leave through it unless they were
//! asked for again; what was goes to the main queue and circulates there while it is used. A scan
//! of things asked for once therefore passes through the small queue and leaves the main one alone.
//! A hit never touches this structure: it raises a counter on the response itself.

use std::collections::{HashSet, VecDeque};

/// What the policy must know of a response; implemented by a handle that does not keep it alive.
pub trait Resident {
    /// Octets it takes, 0 if it is gone already.
    fn weight(&self) -> u64;
    /// How often it was used of late.
    fn uses(&self) -> u8;
    /// Lowers or clears the count.
    fn set_uses(&self, uses: u8);
    /// It has moved from the small queue to the main one.
    fn moved_to_main(&self) {}
    /// Identifies its key, so that a returning one is recognised.
    fn key_hash(&self) -> u64;
}

/// The queues of S3-FIFO: small, main, and the hashes of what was evicted of late.
#[derive(Debug)]
pub struct Eviction<R> {
    small: VecDeque<R>,
    main: VecDeque<R>,
    ghosts: VecDeque<u64>,
    ghost_set: HashSet<u64, foldhash::fast::RandomState>,
    small_weight: u64,
    small_room: u64,
}

impl<R: Resident> Eviction<R> {
    /// Queues for a store of `room` octets.
    pub fn new(room: u64) -> Self {
        Self {
            small: VecDeque::new(),
            main: VecDeque::new(),
            ghosts: VecDeque::new(),
            ghost_set: HashSet::default(),
            small_weight: 0,
            small_room: room / 10,
        }
    }

    /// Takes in a response. One whose key was evicted a short while ago goes straight to the main
    /// queue.
    pub fn admit(&mut self, resident: R) {
        if self.ghost_set.remove(&resident.key_hash()) {
            resident.moved_to_main();
            self.main.push_back(resident);
        } else {
            self.small_weight += resident.weight();
            self.small.push_back(resident);
        }
    }

    /// A member of the small queue has become heavier.
    pub fn grew(&mut self, octets: u64) {
        self.small_weight = self.small_weight.saturating_add(octets);
    }

    /// Takes out the response to evict next; `None` if the queues are empty.
    pub fn evict(&mut self) -> Option<R> {
        // Each turn removes one or lowers one's count, so this ends.
        loop {
            if self.small_weight > self.small_room || self.main.is_empty() {
                let Some(resident) = self.small.pop_front() else {
                    if self.main.is_empty() {
                        return None;
                    }
                    self.small_weight = 0;
                    continue;
                };
                let weight = resident.weight();
                // Weights grow while a body comes in; the sum is a guide and is set right when the
                // queue runs dry.
                self.small_weight = if self.small.is_empty() {
                    0
                } else {
                    self.small_weight.saturating_sub(weight.max(1))
                };
                if weight == 0 {
                    continue;
                }
                if resident.uses() > 0 {
                    resident.set_uses(0);
                    resident.moved_to_main();
                    self.main.push_back(resident);
                } else {
                    self.remember(resident.key_hash());
                    return Some(resident);
                }
            } else if let Some(resident) = self.main.pop_front() {
                match (resident.weight(), resident.uses()) {
                    (0, _) => {}
                    (_, 0) => return Some(resident),
                    (_, uses) => {
                        resident.set_uses(uses - 1);
                        self.main.push_back(resident);
                    }
                }
            }
        }
    }

    // As many ghosts as the main queue has members, as S3-FIFO has it.
    fn remember(&mut self, key_hash: u64) {
        if self.ghost_set.insert(key_hash) {
            self.ghosts.push_back(key_hash);
        }
        while self.ghosts.len() > self.main.len().max(1024) {
            if let Some(old) = self.ghosts.pop_front() {
                self.ghost_set.remove(&old);
            }
        }
    }

    /// Forgets handles of responses that are gone; worth calling when they may be many.
    pub fn sweep(&mut self) {
        self.small.retain(|resident| resident.weight() > 0);
        self.main.retain(|resident| resident.weight() > 0);
        self.small_weight = self.small.iter().map(Resident::weight).sum();
    }

    /// Handles held, those of responses that are gone included.
    pub fn len(&self) -> usize {
        self.small.len() + self.main.len()
    }

    /// True if no handle is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::rc::Rc;

    struct Thing {
        key: u64,
        weight: u64,
        uses: Cell<u8>,
    }

    impl Resident for Rc<Thing> {
        fn weight(&self) -> u64 {
            self.weight
        }
        fn uses(&self) -> u8 {
            self.uses.get()
        }
        fn set_uses(&self, uses: u8) {
            self.uses.set(uses);
        }
        fn key_hash(&self) -> u64 {
            self.key
        }
    }

    fn thing(key: u64) -> Rc<Thing> {
        Rc::new(Thing { key, weight: 1, uses: Cell::new(0) })
    }

    #[test]
    fn a_scan_leaves_what_is_used_alone() {
        let room = 100;
        let mut queues = Eviction::new(room);
        let hot: Vec<Rc<Thing>> = (0..50).map(thing).collect();
        hot.iter().for_each(|thing| queues.admit(Rc::clone(thing)));
        hot.iter().for_each(|thing| thing.uses.set(2));
        let mut here = 50;
        for key in 1000..11_000 {
            queues.admit(thing(key));
            here += 1;
            while here > room {
                let gone = queues.evict().unwrap();
                here -= 1;
                assert!(gone.key >= 1000, "{} was in use", gone.key);
            }
            // In use means asked for now and then.
            hot.iter().for_each(|thing| thing.uses.set(1));
        }
    }

    #[test]
    fn everything_can_be_evicted_and_nothing_twice() {
        let mut queues = Eviction::new(10);
        for key in 0..100 {
            let thing = thing(key);
            thing.uses.set((key % 4) as u8);
            queues.admit(thing);
        }
        let mut seen = HashSet::new();
        while let Some(thing) = queues.evict() {
            assert!(seen.insert(thing.key));
        }
        assert_eq!(seen.len(), 100);
    }
}
