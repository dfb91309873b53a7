//! Eviction policies over made-up traces: which of them keeps what is asked for again. Pure; from
//! fixed seeds.
//!
//! Ours is the very code the store runs. The others are written as their papers have them, weighed
//! by octets where the paper counts objects.
#![allow(dead_code)] // each of its two users leaves something out

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::rc::Rc;

use foreshore::store::eviction::{Eviction, Resident};

/// One request: which object, and how large that is.
pub type Asked = (u64, u64);

/// A cache that only counts.
pub trait Policy {
    /// True if it had the object; takes it in otherwise.
    fn ask(&mut self, asked: Asked) -> bool;
}

struct Thing {
    key: u64,
    weight: u64,
    uses: Cell<u8>,
}

struct Handle(Rc<Thing>);

impl Resident for Handle {
    fn weight(&self) -> u64 {
        self.0.weight
    }
    fn uses(&self) -> u8 {
        self.0.uses.get()
    }
    fn set_uses(&self, uses: u8) {
        self.0.uses.set(uses);
    }
    fn key_hash(&self) -> u64 {
        self.0.key
    }
}

/// What Foreshore runs.
pub struct Ours {
    queues: Eviction<Handle>,
    here: HashMap<u64, Rc<Thing>>,
    used: u64,
    room: u64,
}

impl Ours {
    pub fn new(room: u64) -> Self {
        Self { queues: Eviction::new(room), here: HashMap::new(), used: 0, room }
    }
}

impl Policy for Ours {
    fn ask(&mut self, (key, weight): Asked) -> bool {
        if let Some(thing) = self.here.get(&key) {
            thing.uses.set((thing.uses.get() + 1).min(3));
            return true;
        }
        while self.used + weight > self.room {
            let Some(Handle(gone)) = self.queues.evict() else { return false };
            self.used -= gone.weight;
            self.here.remove(&gone.key);
        }
        let thing = Rc::new(Thing { key, weight, uses: Cell::new(0) });
        self.here.insert(key, Rc::clone(&thing));
        self.queues.admit(Handle(thing));
        self.used += weight;
        false
    }
}

/// Least recently used, and first in first out.
pub struct Ordered {
    by_time: BTreeMap<u64, u64>,
    here: HashMap<u64, (u64, u64)>,
    clock: u64,
    used: u64,
    room: u64,
    moves: bool,
}

impl Ordered {
    pub fn lru(room: u64) -> Self {
        Self {
            by_time: BTreeMap::new(),
            here: HashMap::new(),
            clock: 0,
            used: 0,
            room,
            moves: true,
        }
    }
    pub fn fifo(room: u64) -> Self {
        Self { moves: false, ..Self::lru(room) }
    }
}

impl Policy for Ordered {
    fn ask(&mut self, (key, weight): Asked) -> bool {
        self.clock += 1;
        if let Some((time, _)) = self.here.get_mut(&key) {
            if self.moves {
                self.by_time.remove(time);
                self.by_time.insert(self.clock, key);
                *time = self.clock;
            }
            return true;
        }
        while self.used + weight > self.room {
            let Some((_, gone)) = self.by_time.pop_first() else { return false };
            self.used -= self.here.remove(&gone).map_or(0, |(_, weight)| weight);
        }
        self.by_time.insert(self.clock, key);
        self.here.insert(key, (self.clock, weight));
        self.used += weight;
        false
    }
}

/// SIEVE (NSDI 2024): a queue, a bit each, and a hand that stays where it is.
pub struct Sieve {
    /// Newest at the back; `None` where one has left.
    queue: VecDeque<Option<(u64, u64)>>,
    visited: HashMap<u64, bool>,
    hand: usize,
    used: u64,
    room: u64,
}

impl Sieve {
    pub fn new(room: u64) -> Self {
        Self { queue: VecDeque::new(), visited: HashMap::new(), hand: 0, used: 0, room }
    }
}

impl Policy for Sieve {
    fn ask(&mut self, (key, weight): Asked) -> bool {
        if let Some(visited) = self.visited.get_mut(&key) {
            *visited = true;
            return true;
        }
        if weight > self.room {
            return false;
        }
        while self.used + weight > self.room {
            if self.hand >= self.queue.len() {
                self.hand = 0;
                self.queue.retain(Option::is_some);
            }
            if let Some((old, octets)) = self.queue[self.hand] {
                if self.visited.get(&old) == Some(&true) {
                    self.visited.insert(old, false);
                } else {
                    self.visited.remove(&old);
                    self.queue[self.hand] = None;
                    self.used -= octets;
                }
            }
            self.hand += 1;
        }
        self.queue.push_back(Some((key, weight)));
        self.visited.insert(key, false);
        self.used += weight;
        false
    }
}

/// S3-FIFO (SOSP 2023) as its paper has it: a tenth for the small queue, counts up to 3, ghosts as
/// many as the main queue.
pub struct S3Fifo {
    small: VecDeque<Asked>,
    main: VecDeque<Asked>,
    ghosts: VecDeque<u64>,
    ghost_set: HashMap<u64, u32>,
    counts: HashMap<u64, u8>,
    small_used: u64,
    main_used: u64,
    room: u64,
}

impl S3Fifo {
    pub fn new(room: u64) -> Self {
        let (small, main, ghosts) = (VecDeque::new(), VecDeque::new(), VecDeque::new());
        Self {
            small,
            main,
            ghosts,
            ghost_set: HashMap::new(),
            counts: HashMap::new(),
            small_used: 0,
            main_used: 0,
            room,
        }
    }

    fn evict(&mut self) {
        if self.small_used * 10 >= self.room || self.main.is_empty() {
            while let Some((key, weight)) = self.small.pop_front() {
                self.small_used -= weight;
                if self.counts.get(&key).copied().unwrap_or(0) > 1 {
                    self.counts.insert(key, 0);
                    self.main.push_back((key, weight));
                    self.main_used += weight;
                } else {
                    self.counts.remove(&key);
                    self.ghosts.push_back(key);
                    *self.ghost_set.entry(key).or_default() += 1;
                    while self.ghosts.len() > self.main.len().max(64) {
                        let old = self.ghosts.pop_front().unwrap_or_default();
                        if let Some(count) = self.ghost_set.get_mut(&old) {
                            *count -= 1;
                            if *count == 0 {
                                self.ghost_set.remove(&old);
                            }
                        }
                    }
                    return;
                }
            }
        }
        while let Some((key, weight)) = self.main.pop_front() {
            match self.counts.get_mut(&key) {
                Some(count) if *count > 0 => {
                    *count -= 1;
                    self.main.push_back((key, weight));
                }
                _ => {
                    self.counts.remove(&key);
                    self.main_used -= weight;
                    return;
                }
            }
        }
    }
}

impl Policy for S3Fifo {
    fn ask(&mut self, (key, weight): Asked) -> bool {
        if let Some(count) = self.counts.get_mut(&key) {
            *count = (*count + 1).min(3);
            return true;
        }
        if weight > self.room {
            return false;
        }
        while self.small_used + self.main_used + weight > self.room {
            self.evict();
        }
        self.counts.insert(key, 0);
        if self.ghost_set.remove(&key).is_some() {
            self.main.push_back((key, weight));
            self.main_used += weight;
        } else {
            self.small.push_back((key, weight));
            self.small_used += weight;
        }
        false
    }
}

/// Numbers that look random and are the same each time.
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    fn unit(&mut self) -> f64 {
        self.next() as f64 / (1u64 << 53) as f64
    }
}

/// Sizes as the web has them: most small, a few large. A function of the key.
fn size(key: u64) -> u64 {
    let mut dice = Dice::new(key.wrapping_add(77));
    let spread = (dice.unit() + dice.unit() + dice.unit() - 1.5) * 4.0;
    (8_000.0 * spread.exp()).clamp(200.0, 4_000_000.0) as u64
}

/// Requests for `objects` objects, the more popular the lower their rank, by Zipf's law.
pub fn zipf(objects: u64, alpha: f64, requests: usize, seed: u64) -> Vec<Asked> {
    let mut sums = Vec::with_capacity(objects as usize);
    let mut sum = 0.0;
    for rank in 1..=objects {
        sum += 1.0 / (rank as f64).powf(alpha);
        sums.push(sum);
    }
    let mut dice = Dice::new(seed);
    (0..requests)
        .map(|_| {
            let point = dice.unit() * sum;
            let key = sums.partition_point(|edge| *edge < point) as u64;
            (key, size(key))
        })
        .collect()
}

/// The same, with one viewer that reads everything once in between: a crawler, a backup.
pub fn scanned(objects: u64, alpha: f64, requests: usize, seed: u64) -> Vec<Asked> {
    let mut scan = 1 << 40;
    let mut all = Vec::with_capacity(requests * 3 / 2);
    for (at, asked) in zipf(objects, alpha, requests, seed).into_iter().enumerate() {
        all.push(asked);
        if (at / 20_000) % 2 == 1 {
            scan += 1;
            all.push((scan, size(scan)));
        }
    }
    all
}

/// Everything in turn, over and over.
pub fn looped(objects: u64, requests: usize) -> Vec<Asked> {
    (0..requests as u64).map(|at| (at % objects, size(at % objects))).collect()
}

/// Half of all requests are for something that is not asked for again.
pub fn once(objects: u64, alpha: f64, requests: usize, seed: u64) -> Vec<Asked> {
    let mut dice = Dice::new(seed ^ 5);
    let mut fresh = 1 << 41;
    zipf(objects, alpha, requests, seed)
        .into_iter()
        .map(|asked| {
            if dice.next().is_multiple_of(2) {
                return asked;
            }
            fresh += 1;
            (fresh, size(fresh))
        })
        .collect()
}

/// Octets of everything in a trace, each object once.
pub fn footprint(trace: &[Asked]) -> u64 {
    trace.iter().copied().collect::<HashMap<_, _>>().values().sum()
}

/// The share of requests, and of octets, that were there.
pub fn run(policy: &mut dyn Policy, trace: &[Asked]) -> (f64, f64) {
    let (mut hits, mut octets, mut all) = (0u64, 0u64, 0u64);
    for asked in trace {
        all += asked.1;
        if policy.ask(*asked) {
            hits += 1;
            octets += asked.1;
        }
    }
    (hits as f64 / trace.len() as f64, octets as f64 / all as f64)
}

/// Every policy, by name.
pub fn policies(room: u64) -> Vec<(&'static str, Box<dyn Policy>)> {
    vec![
        ("Foreshore", Box::new(Ours::new(room))),
        ("S3-FIFO", Box::new(S3Fifo::new(room))),
        ("SIEVE", Box::new(Sieve::new(room))),
        ("LRU", Box::new(Ordered::lru(room))),
        ("FIFO", Box::new(Ordered::fifo(room))),
    ]
}
