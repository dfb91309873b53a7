//! Pure: which keys come most often, in a bounded number of counters (Space-Saving: Metwally,
//! Agrawal, El Abbadi, "Efficient Computation of Frequent and Top-k Elements in Data Streams").
//! A count is never too low; it says itself how much too high it may be.

use std::collections::HashMap;
use std::sync::Arc;

/// Octets of a key that are kept. Longer ones are cut, and counted together from there on.
pub const KEY_MAX: usize = 512;

/// Counts of the keys that come most often.
pub struct Sketch {
    room: usize,
    places: HashMap<Arc<str>, usize>,
    counters: Vec<Counter>,
}

struct Counter {
    key: Arc<str>,
    count: u64,
    over: u64,
}

/// A key and how often it came.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Counted {
    pub key: String,
    /// At least as often as it came.
    pub count: u64,
    /// The most that the count is too high by.
    pub over: u64,
}

impl Sketch {
    /// An empty one with so many counters. Any key that makes up more than one in `room` of all is
    /// among them.
    pub fn new(room: usize) -> Self {
        Self { room: room.max(1), places: HashMap::new(), counters: Vec::new() }
    }

    /// Counts a key, so many times.
    pub fn add(&mut self, key: &str, times: u64) {
        let key = &key[..key.floor_char_boundary(KEY_MAX)];
        if let Some(at) = self.places.get(key) {
            self.counters[*at].count += times;
            return;
        }
        let key: Arc<str> = key.into();
        if self.counters.len() < self.room {
            self.places.insert(Arc::clone(&key), self.counters.len());
            self.counters.push(Counter { key, count: times, over: 0 });
            return;
        }
        let all = self.counters.iter().enumerate();
        let Some((at, over)) = all.map(|(at, counter)| (at, counter.count)).min_by_key(|c| c.1)
        else {
            return;
        };
        self.places.remove(&self.counters[at].key);
        self.places.insert(Arc::clone(&key), at);
        self.counters[at] = Counter { key, count: over + times, over };
    }

    /// Those that came most often, the first of them first.
    pub fn top(&self, most: usize) -> Vec<Counted> {
        let mut all: Vec<&Counter> = self.counters.iter().collect();
        // What is sure counts first: a key that has just come in has a high count and nothing else.
        all.sort_by(|one, other| {
            let sure = |counter: &Counter| counter.count - counter.over;
            (sure(other), other.count).cmp(&(sure(one), one.count)).then(one.key.cmp(&other.key))
        });
        let counted = |counter: &Counter| Counted {
            key: counter.key.to_string(),
            count: counter.count,
            over: counter.over,
        };
        all.into_iter().take(most).map(counted).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(key: &str, count: u64, over: u64) -> Counted {
        Counted { key: key.into(), count, over }
    }

    #[test]
    fn few_keys_are_counted_exactly() {
        let mut sketch = Sketch::new(4);
        for (key, times) in [("/a", 3), ("/b", 1), ("/a", 2), ("/c", 4)] {
            sketch.add(key, times);
        }
        let want = vec![counted("/a", 5, 0), counted("/c", 4, 0), counted("/b", 1, 0)];
        assert_eq!(sketch.top(10), want);
        assert_eq!(sketch.top(1), want[..1]);
    }

    #[test]
    fn the_rarest_makes_room_and_the_error_is_told() {
        let mut sketch = Sketch::new(2);
        for key in ["/a", "/a", "/a", "/b", "/c"] {
            sketch.add(key, 1);
        }
        assert_eq!(sketch.top(2), vec![counted("/a", 3, 0), counted("/c", 2, 1)]);
    }

    // A stream of many keys that come once and a few that come often, in a fixed order that looks
    // like none.
    #[test]
    fn what_is_frequent_is_kept_and_no_count_is_too_low() {
        let mut sketch = Sketch::new(64);
        let (mut seed, mut truth) = (1u64, HashMap::<String, u64>::new());
        for _ in 0..50_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let roll = seed >> 33;
            let key = if roll.is_multiple_of(3) {
                format!("/hot/{}", roll / 3 % 8)
            } else {
                format!("/cold/{roll}")
            };
            *truth.entry(key.clone()).or_default() += 1;
            sketch.add(&key, 1);
        }
        let top = sketch.top(8);
        assert!(top.iter().all(|one| one.key.starts_with("/hot/")), "{top:?}");
        for one in sketch.top(64) {
            let real = truth[&one.key];
            assert!(one.count >= real && one.count - one.over <= real, "{one:?}, really {real}");
        }
        assert_eq!((sketch.counters.len(), sketch.places.len()), (64, 64));
    }

    #[test]
    fn a_key_is_bounded_and_cut_between_letters() {
        let mut sketch = Sketch::new(2);
        sketch.add(&"ä".repeat(KEY_MAX), 1);
        sketch.add(&format!("/{}", "ä".repeat(KEY_MAX)), 1);
        assert!(sketch.top(2).iter().all(|one| one.key.len() <= KEY_MAX), "both are cut");
    }
}
