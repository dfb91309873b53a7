//! Pure: what lies where, one small entry for each response on the disk, and an account of each
//! segment.
//!
//! It is told what was written, found, used and removed, and says what is dead; it opens no file.

use std::collections::{HashMap, VecDeque};

use hashbrown::HashTable;
use smallvec::SmallVec;

use super::record::{HEADER, Identity, Line, UNIT, Version};

/// Where the record of a response lies, and of which version it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    pub identity: Identity,
    pub segment: u32,
    /// In units of `UNIT` octets.
    pub at: u32,
    /// In units of `UNIT` octets.
    pub len: u32,
    pub version: Version,
    /// Uses of late, up to 3.
    pub uses: u8,
}

/// The account of one segment's file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Segment {
    /// Octets of the file.
    pub len: u64,
    /// Octets of records in it that count.
    pub live: u64,
    pub entries: u32,
    /// Tombstones in it: they are needed for as long as anything older may lie there.
    pub tombstones: u32,
    /// It holds one large record, and leaves with it.
    pub is_single: bool,
    /// Nothing is added to it any more.
    pub is_closed: bool,
    /// Its file is being removed.
    pub is_leaving: bool,
}

impl Segment {
    /// Nothing in it counts any more, and nothing will.
    pub fn is_empty(&self) -> bool {
        self.entries == 0 && self.tombstones == 0 && self.is_closed
    }
}

/// Most records looked at for one key: variants beyond this are not found.
const SAME_KEY: usize = 64;

/// Parts of the table.
const PARTS: usize = 64;

/// The responses on the disk by keyed hash, and the accounts of their segments.
pub struct Index {
    /// In parts, so that growing one of them takes no longer than a moment.
    parts: [HashTable<Entry>; PARTS],
    pub segments: HashMap<u32, Segment>,
    /// Segments, the next to leave first.
    pub order: VecDeque<u32>,
    /// What is gone, as long as older records may still be found.
    gone: Option<Gone>,
    pub used: u64,
}

/// What must not count again if it is found.
struct Gone {
    /// Up to which version nothing of an identity counts.
    of: HashMap<Identity, Version>,
    /// No record that is still to be found has a higher version.
    newest: Version,
}

impl Gone {
    fn note(&mut self, identity: Identity, version: Version) {
        let known = self.of.entry(identity).or_default();
        *known = version.max(*known);
    }
}

impl Default for Index {
    fn default() -> Self {
        let parts = std::array::from_fn(|_| HashTable::new());
        Self { parts, segments: HashMap::new(), order: VecDeque::new(), gone: None, used: 0 }
    }
}

impl Index {
    /// An index that is still being loaded, with records of versions up to `newest`.
    pub fn loading(newest: Version) -> Self {
        Self { gone: Some(Gone { of: HashMap::new(), newest }), ..Self::default() }
    }

    // The table's own bits are the lowest and the highest.
    fn part(&mut self, key: u64) -> &mut HashTable<Entry> {
        &mut self.parts[(key >> 40) as usize % PARTS]
    }

    /// Notes that every segment was read: removals need not be remembered any more.
    pub fn loaded(&mut self) {
        self.gone = None;
    }

    /// Says whether everything was found.
    pub fn is_loaded(&self) -> bool {
        self.gone.is_none()
    }

    /// Segments that are still to be looked at, or were.
    pub fn found(&self) -> impl Iterator<Item = u32> {
        let newest = self.gone.as_ref().map_or(0, |gone| gone.newest.0);
        self.order.iter().copied().filter(move |id| u64::from(*id) << 32 <= newest)
    }

    /// Responses that count.
    pub fn len(&self) -> usize {
        self.parts.iter().map(HashTable::len).sum()
    }

    /// Every entry, in no order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.parts.iter().flat_map(HashTable::iter)
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets of memory the entries take.
    pub fn memory(&self) -> u64 {
        let places: usize = self.parts.iter().map(|part| part.capacity() * 8 / 7).sum();
        (places * (std::mem::size_of::<Entry>() + 1)) as u64
    }

    /// Adds a segment behind all others.
    pub fn open(&mut self, id: u32, segment: Segment) {
        self.used += segment.len;
        self.segments.insert(id, segment);
        self.order.push_back(id);
    }

    /// A segment has become longer.
    pub fn grew(&mut self, id: u32, octets: u64) {
        if let Some(segment) = self.segments.get_mut(&id) {
            segment.len += octets;
            self.used += octets;
        }
    }

    /// A segment is about to be removed: what is read of it no longer tells anything. False if it
    /// is not known.
    pub fn leave(&mut self, id: u32) -> bool {
        self.segments.get_mut(&id).map(|segment| segment.is_leaving = true).is_some()
    }

    /// Says whether a segment is there, and is to stay.
    pub fn stays(&self, id: u32) -> bool {
        self.segments.get(&id).is_some_and(|segment| !segment.is_leaving)
    }

    /// Says whether an entry is known as it was, in a segment that stays.
    pub fn is_there(&mut self, old: &Entry) -> bool {
        self.stays(old.segment)
            && self
                .get(old.identity)
                .is_some_and(|now| (now.segment, now.at) == (old.segment, old.at))
    }

    /// Forgets all entries of a segment that was closed, unless there are no more of them than will
    /// have moved in a moment.
    pub fn forget_segment(&mut self, id: u32, moving: usize) {
        debug_assert!(!self.segments.contains_key(&id));
        if self.entries().filter(|entry| entry.segment == id).count() > moving {
            self.parts.iter_mut().for_each(|part| part.retain(|entry| entry.segment != id));
        }
    }

    /// A segment is gone; what lay in it must have left before, or be about to move.
    pub fn close(&mut self, id: u32) -> Option<Segment> {
        let segment = self.segments.remove(&id)?;
        self.used -= segment.len;
        self.order.retain(|known| *known != id);
        Some(segment)
    }

    /// Notes a record that was written or found. Gives the segment that has nothing left because of
    /// it, if one has.
    pub fn put(&mut self, segment: u32, line: &Line) -> Option<u32> {
        let Line { identity, version, at, len, is_tombstone } = *line;
        if is_tombstone && let Some(segment) = self.segments.get_mut(&segment) {
            segment.tombstones += 1;
        }
        if let Some(gone) = &mut self.gone {
            if is_tombstone {
                gone.note(identity, version);
            } else if gone.of.get(&identity).is_some_and(|known| *known >= version) {
                return None;
            }
        }
        let found =
            self.part(identity.key).find_entry(identity.key, |entry| entry.identity == identity);
        let emptied = match found {
            Ok(found) if found.get().version > version => return None,
            // The same record, moved: the place that was noted last counts.
            Ok(found) => {
                let (old, _) = found.remove();
                self.left(&old)
            }
            Err(_) => None,
        };
        if !is_tombstone && self.segments.contains_key(&segment) {
            let entry = Entry { identity, segment, at, len, version, uses: 0 };
            self.part(identity.key).insert_unique(identity.key, entry, |entry| entry.identity.key);
            if let Some(segment) = self.segments.get_mut(&segment) {
                segment.live += u64::from(len) * UNIT;
                segment.entries += 1;
            }
        }
        emptied
    }

    /// Forgets what is known of an identity up to a version, and what is still to be found of it.
    /// Gives the segment that has nothing left, if one has.
    pub fn forget_upto(&mut self, identity: Identity, newest: Version) -> Option<u32> {
        if let Some(gone) = &mut self.gone {
            gone.note(identity, gone.newest);
        }
        let is_it = |entry: &Entry| entry.identity == identity && entry.version <= newest;
        let (old, _) = self.part(identity.key).find_entry(identity.key, is_it).ok()?.remove();
        if let Some(gone) = &mut self.gone {
            gone.note(identity, old.version);
        }
        self.left(&old)
    }

    /// The record of an identity that counts.
    pub fn get(&mut self, identity: Identity) -> Option<Entry> {
        self.part(identity.key).find(identity.key, |entry| entry.identity == identity).copied()
    }

    /// Forgets exactly this entry; `None` if it is no longer known as it was. Gives the segment
    /// that has nothing left, if one has.
    pub fn forget_entry(&mut self, old: &Entry) -> Option<Option<u32>> {
        let is_it = |entry: &Entry| {
            entry.identity == old.identity && (entry.segment, entry.at) == (old.segment, old.at)
        };
        let (old, _) =
            self.part(old.identity.key).find_entry(old.identity.key, is_it).ok()?.remove();
        if let Some(gone) = &mut self.gone {
            gone.note(old.identity, old.version);
        }
        Some(self.left(&old))
    }

    /// The same, and says whether nothing older can lie anywhere; else a tombstone has to say that
    /// it is gone.
    pub fn forget_for_good(&mut self, old: &Entry) -> Option<(Option<u32>, bool)> {
        Some((self.forget_entry(old)?, self.is_oldest(old.segment)))
    }

    // Takes a record out of its segment's account.
    fn left(&mut self, old: &Entry) -> Option<u32> {
        let segment = self.segments.get_mut(&old.segment)?;
        segment.live -= u64::from(old.len) * UNIT;
        segment.entries -= 1;
        // While there may be more in it than is known, it stays.
        (segment.is_empty() && self.gone.is_none()).then_some(old.segment)
    }

    /// Sealed segments of which nothing counts.
    pub fn empty(&self) -> Vec<u32> {
        self.segments.iter().filter(|(_, segment)| segment.is_empty()).map(|(id, _)| *id).collect()
    }

    /// Says whether every other segment that holds many is younger.
    pub fn is_oldest(&self, id: u32) -> bool {
        self.is_loaded()
            && self.segments.iter().all(|(other, segment)| *other >= id || segment.is_single)
    }

    /// Says whether writing what counts of a segment to the end gives room back.
    pub fn is_sparse(&self, id: u32) -> bool {
        self.segments.get(&id).is_some_and(|segment| {
            let is_half_dead = segment.entries > 0
                && (segment.live + u64::from(segment.tombstones) * HEADER as u64) * 2 < segment.len;
            segment.is_closed
                && !segment.is_single
                && (is_half_dead || (segment.entries == 0 && self.is_oldest(id)))
        })
    }

    /// How many records there are of a key.
    pub fn count(&mut self, key: u64) -> usize {
        self.part(key)
            .iter_hash(key)
            .filter(|entry| entry.identity.key == key)
            .take(SAME_KEY)
            .count()
    }

    /// Every record of a key; notes a use of each.
    pub fn find(&mut self, key: u64) -> SmallVec<[Entry; 2]> {
        let mut found = SmallVec::new();
        for entry in self
            .part(key)
            .iter_hash_mut(key)
            .filter(|entry| entry.identity.key == key)
            .take(SAME_KEY)
        {
            entry.uses = (entry.uses + 1).min(3);
            found.push(*entry);
        }
        found
    }

    /// The entry that a line of a segment stands for, if that still counts.
    pub fn at(&mut self, segment: u32, line: &Line) -> Option<Entry> {
        let is_it = |entry: &Entry| {
            entry.identity == line.identity && (entry.segment, entry.at) == (segment, line.at)
        };
        self.part(line.identity.key).find(line.identity.key, is_it).copied()
    }

    /// Clears the uses of an entry.
    pub fn clear_uses(&mut self, old: &Entry) {
        let is_it = |entry: &Entry| entry.identity == old.identity;
        if let Some(entry) = self.part(old.identity.key).find_mut(old.identity.key, is_it) {
            entry.uses = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(key: u64, version: u64, at: u32, is_tombstone: bool) -> Line {
        Line {
            identity: Identity { key, variant: 0 },
            version: Version(version),
            at,
            len: 2,
            is_tombstone,
        }
    }

    #[test]
    fn an_entry_takes_less_than_a_hundred_octets() {
        let mut index = Index::default();
        index.open(1, Segment::default());
        for at in 0..100_000u32 {
            index.put(1, &line(u64::from(at).wrapping_mul(0x9e37_79b9_7f4a_7c15), 1, at, false));
            assert!(
                at < 1000 || index.memory() / index.len() as u64 <= 100,
                "{at}: {}",
                index.memory() / index.len() as u64
            );
        }
    }

    proptest! {
        // Whatever the order in which records are found, the highest version of each identity is
        // what counts.
        #[test]
        fn the_order_of_finding_does_not_matter(
            records in proptest::collection::vec((0u64..4, 1u64..40, any::<bool>()), 0..30), seed in any::<u64>(),
        ) {
            let mut known = std::collections::HashMap::new();
            for (at, (key, version, dead)) in records.iter().enumerate() {
                // A version is a place, so no two records share one.
                known.entry(*version).or_insert((at as u32, *key, *dead));
            }
            let mut lines: Vec<Line> = known.iter().map(|(version, (at, key, dead))| line(*key, *version, *at, *dead)).collect();
            lines.sort_by_key(|line| (line.version.0.wrapping_mul(seed | 1)).rotate_left(17));
            let mut index = Index::loading(Version(u64::MAX));
            index.open(7, Segment { len: 5, ..Segment::default() });
            for line in &lines {
                index.put(7, line);
            }
            index.loaded();
            let mut live = 0;
            for key in 0..4 {
                let highest = lines.iter().filter(|line| line.identity.key == key).max_by_key(|line| line.version);
                let want = highest.filter(|line| !line.is_tombstone).map(|line| line.at);
                prop_assert_eq!(index.find(key).first().map(|entry| entry.at), want);
                live += u64::from(want.is_some());
            }
            prop_assert_eq!((index.len() as u64, index.segments[&7].live, u64::from(index.segments[&7].entries)), (live, live * 32, live));
        }
    }
}
