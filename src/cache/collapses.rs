//! Which request fetches and which wait for it: one fetch to the origin for each key.
//!
//! A table and a moment it is told about; no futures. `proxy::collapse` puts the waiting around it.

use std::collections::HashMap;

use crate::message::key::{CacheKey, InvalidationNumber};
use crate::semantics::time::Timestamp;

/// Names one collapsed fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CollapseId(pub u64);

/// What a request is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Fetch, and complete the collapse whatever happens.
    Lead(CollapseId),
    /// Wait for that fetch.
    Follow(CollapseId),
    /// Fetch without waiting and without being waited for.
    Alone(AloneReason),
}

/// Why a request goes alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AloneReason {
    /// This key brought something uncacheable a moment ago.
    Marked,
    /// The key's fetch has as many followers as it may have; whoever has them wait knows.
    Crowded,
}

#[derive(Clone, Copy, Debug)]
struct Fetch {
    id: CollapseId,
    asked_at: InvalidationNumber,
}

/// The collapses under way, and the marks of keys that are not to be collapsed.
#[derive(Debug)]
pub struct Collapses {
    fetches: HashMap<CacheKey, Fetch, foldhash::fast::RandomState>,
    marks: HashMap<CacheKey, Timestamp, foldhash::fast::RandomState>,
    next: u64,
    marks_max: usize,
    /// Before this moment no mark ends, once the table of them is full.
    first_end: Timestamp,
}

impl Collapses {
    /// An empty table that keeps so many marks.
    pub fn new(marks_max: usize) -> Self {
        Self {
            fetches: HashMap::default(),
            marks: HashMap::default(),
            next: 0,
            marks_max,
            first_end: Timestamp(0),
        }
    }

    /// Gives a request its role. `arrived_at` is the log's head when the request arrived, `head`
    /// what it is now, and so the least that a fetch begun now will know of; `overtakes` says
    /// whether anything since a number may cover what this key's fetch will bring.
    ///
    /// A request that arrived after such an invalidation follows no fetch begun before it: it leads
    /// a new one, which takes the old one's place (src/DECISIONS.md, "A fetch that begins again is
    /// a new fetch").
    pub fn join(
        &mut self,
        key: &[u8],
        arrived_at: InvalidationNumber,
        head: InvalidationNumber,
        now: Timestamp,
        overtakes: impl Fn(InvalidationNumber) -> bool,
    ) -> Role {
        if let Some(until) = self.marks.get(key) {
            if now < *until {
                return Role::Alone(AloneReason::Marked);
            }
            self.marks.remove(key);
        }
        if let Some(fetch) = self.fetches.get(key)
            && (arrived_at <= fetch.asked_at || !overtakes(fetch.asked_at))
        {
            return Role::Follow(fetch.id);
        }
        self.next += 1;
        let id = CollapseId(self.next);
        self.fetches.insert(CacheKey::new(key), Fetch { id, asked_at: head });
        Role::Lead(id)
    }

    /// The key of a fetch under way, as it is held here.
    pub fn held(&self, key: &[u8]) -> Option<CacheKey> {
        self.fetches.get_key_value(key).map(|(key, _)| key.clone())
    }

    /// Notes that a fetch was begun again, with the log's head as it is now: requests that have
    /// arrived by now may follow it. False if a newer fetch of the key has taken its place.
    pub fn began_again(&mut self, key: &[u8], id: CollapseId, head: InvalidationNumber) -> bool {
        match self.fetches.get_mut(key).filter(|fetch| fetch.id == id) {
            Some(fetch) => fetch.asked_at = fetch.asked_at.max(head),
            None => return false,
        }
        true
    }

    /// Ends a collapse. One that has been replaced by a newer fetch of the same key leaves that
    /// alone.
    pub fn complete(&mut self, key: &[u8], id: CollapseId) {
        if self.fetches.get(key).is_some_and(|fetch| fetch.id == id) {
            self.fetches.remove(key);
        }
    }

    /// Remembers that a key is not worth waiting for.
    pub fn mark(&mut self, key: &[u8], until: Timestamp, now: Timestamp) {
        if let Some(known) = self.marks.get_mut(key) {
            *known = until;
            return;
        }
        // Gone through only where one has ended: a flood of URLs would have each answer do it.
        if self.marks.len() >= self.marks_max && now >= self.first_end {
            self.marks.retain(|_, until| now < *until);
            self.first_end = self.marks.values().min().copied().unwrap_or(now);
        }
        if self.marks.len() < self.marks_max {
            self.marks.insert(CacheKey::new(key), until);
        }
    }

    /// Says whether a key is marked.
    pub fn is_marked(&self, key: &[u8], now: Timestamp) -> bool {
        self.marks.get(key).is_some_and(|until| now < *until)
    }

    /// Forgets a mark: the key brought something that could be kept.
    pub fn unmark(&mut self, key: &[u8]) {
        if !self.marks.is_empty() {
            self.marks.remove(key);
        }
    }

    /// Collapses under way.
    pub fn len(&self) -> usize {
        self.fetches.len()
    }

    /// True if no collapse is under way.
    pub fn is_empty(&self) -> bool {
        self.fetches.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp(1000);

    // Every sequence of five steps over two keys and two log numbers, against what must hold.
    #[test]
    fn small_worlds() {
        #[derive(Clone, Copy)]
        enum Step {
            Join(usize, u64),
            EndOldest,
            EndNewest,
            Mark(usize),
        }
        let steps = [
            Step::Join(0, 0),
            Step::Join(0, 1),
            Step::Join(1, 0),
            Step::Join(1, 1),
            Step::EndOldest,
            Step::EndNewest,
            Step::Mark(0),
        ];
        let keys: [&[u8]; 2] = [b"a", b"b"];
        for world in 0..steps.len().pow(5) {
            let mut table = Collapses::new(10);
            let mut leads: Vec<(usize, CollapseId, u64)> = Vec::new();
            let mut marked = [false; 2];
            let mut code = world;
            for _ in 0..5 {
                match steps[code % steps.len()] {
                    Step::Join(key, number) => match table.join(
                        keys[key],
                        InvalidationNumber(number),
                        InvalidationNumber(number),
                        NOW,
                        |_| true,
                    ) {
                        Role::Lead(id) => {
                            assert!(!marked[key]);
                            assert!(
                                leads.iter().all(|(_, known, _)| *known != id),
                                "an id is given once"
                            );
                            assert!(
                                leads
                                    .iter()
                                    .rfind(|(k, ..)| *k == key)
                                    .is_none_or(|(_, _, asked)| *asked < number)
                            );
                            leads.push((key, id, number));
                        }
                        Role::Follow(id) => {
                            let (k, _, asked) = leads
                                .iter()
                                .find(|(_, known, _)| *known == id)
                                .expect("somebody leads it");
                            assert_eq!(*k, key, "followers get their own key");
                            assert!(
                                number <= *asked,
                                "nobody follows a fetch begun before an invalidation it saw"
                            );
                        }
                        Role::Alone(AloneReason::Marked) => assert!(marked[key]),
                        Role::Alone(AloneReason::Crowded) => panic!("nobody waits here"),
                    },
                    Step::EndOldest if !leads.is_empty() => {
                        let (key, id, _) = leads.remove(0);
                        table.complete(keys[key], id);
                    }
                    Step::EndNewest if !leads.is_empty() => {
                        let (key, id, _) = leads.pop().unwrap();
                        table.complete(keys[key], id);
                        // An older fetch of the key may still be under way; no request can join it
                        // any more.
                        leads.retain(|(k, ..)| *k != key);
                    }
                    Step::Mark(key) => {
                        table.mark(keys[key], Timestamp(2000), NOW);
                        marked[key] = true;
                    }
                    Step::EndOldest | Step::EndNewest => {}
                }
                code /= steps.len();
            }
            for (key, id, _) in leads {
                table.complete(keys[key], id);
            }
            assert!(table.is_empty(), "every collapse ends");
        }
    }

    #[test]
    fn an_invalidation_of_something_else_parts_nobody() {
        let mut table = Collapses::new(2);
        let Role::Lead(id) =
            table.join(b"a", InvalidationNumber(0), InvalidationNumber(0), NOW, |_| false)
        else {
            panic!("the first leads")
        };
        assert_eq!(
            table.join(b"a", InvalidationNumber(5), InvalidationNumber(5), NOW, |since| since
                >= InvalidationNumber(1)),
            Role::Follow(id)
        );
        assert!(matches!(
            table.join(b"a", InvalidationNumber(5), InvalidationNumber(5), NOW, |_| true),
            Role::Lead(_)
        ));
    }

    #[test]
    fn a_late_leader_is_as_good_as_a_fetch_of_its_own() {
        let mut table = Collapses::new(2);
        // It arrived before an invalidation and leads after it: a request that arrived after it may
        // follow.
        let Role::Lead(id) =
            table.join(b"a", InvalidationNumber(3), InvalidationNumber(4), NOW, |_| true)
        else {
            panic!("the first leads")
        };
        assert_eq!(
            table.join(b"a", InvalidationNumber(4), InvalidationNumber(4), NOW, |_| true),
            Role::Follow(id)
        );
        assert!(matches!(
            table.join(b"b", InvalidationNumber(5), InvalidationNumber(5), NOW, |_| true),
            Role::Lead(_)
        ));
        // Begun again after the next one, it serves those too; a fetch that was replaced does not
        // speak for the new one.
        assert!(table.began_again(b"a", id, InvalidationNumber(5)));
        assert_eq!(
            table.join(b"a", InvalidationNumber(5), InvalidationNumber(5), NOW, |_| true),
            Role::Follow(id)
        );
        assert!(!table.began_again(b"a", CollapseId(id.0 + 100), InvalidationNumber(9)));
        assert!(matches!(
            table.join(b"a", InvalidationNumber(6), InvalidationNumber(6), NOW, |_| true),
            Role::Lead(_)
        ));
    }

    #[test]
    fn marks_end_and_are_bounded() {
        let mut table = Collapses::new(2);
        for key in [b"a", b"b", b"c"] {
            table.mark(key, Timestamp(2000), NOW);
        }
        assert_eq!(
            table.join(b"a", InvalidationNumber(0), InvalidationNumber(0), NOW, |_| true),
            Role::Alone(AloneReason::Marked)
        );
        assert!(
            matches!(
                table.join(b"c", InvalidationNumber(0), InvalidationNumber(0), NOW, |_| true),
                Role::Lead(_)
            ),
            "a third mark has no room"
        );
        assert!(matches!(
            table.join(b"a", InvalidationNumber(0), InvalidationNumber(0), Timestamp(2000), |_| {
                true
            }),
            Role::Lead(_)
        ));
    }

    #[test]
    fn a_full_table_of_marks_has_room_once_the_first_of_them_ends() {
        let mut table = Collapses::new(2);
        table.mark(b"a", Timestamp(3000), NOW);
        table.mark(b"b", Timestamp(2000), NOW);
        for (at, is_taken) in [(1000, false), (1999, false), (2000, true), (2500, false)] {
            let key = format!("c{at}");
            table.mark(key.as_bytes(), Timestamp(4000), Timestamp(at));
            assert_eq!(table.is_marked(key.as_bytes(), Timestamp(at)), is_taken, "{at}");
        }
    }
}
