//! The disk tier: what was stored, found again after a crash, and never in a viewer's way.
//!
//! Responses are appended to *segments*, files that are written once from front to back; a large
//! one has a segment to itself. The segments are all there is: each ends in a footer that says what
//! lies in it, and where there is none (a crash), its records are read one by one as far as they
//! are whole. Of two records of one response the later counts. Space returns by removing whole
//! segments, the oldest first; what was used of late moves on to the newest.
//!
//! Everything here blocks. Viewers never wait for a write: `offer` puts into a bounded queue, one
//! thread empties it.

pub mod body;
pub mod cipher;
pub mod files;
pub mod index;
pub mod listing;
pub mod load;
mod queue;
mod read;
pub mod record;
pub mod segment_list;
#[cfg(test)]
pub(crate) mod tests;
pub mod threads;
pub mod writer;

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};

use self::body::Filed;
use self::cipher::Cipher;
use self::files::{DiskFile, Files};
use self::index::{Entry, Index, Segment};
use self::load::{Doubt, Found};
use self::queue::{Job, Queue};
use self::record::{Identity, Version};
use self::segment_list::Brief;
use self::writer::Work;
use crate::distribution::site::DiskSettings;
use crate::message::key::InvalidationNumber;
use crate::message::stored::{Reuse, Stored};
use crate::sync::{AtomicBool, AtomicU64, Condvar, Mutex, OnceLock, Ordering};

/// Records from here on have a segment to themselves.
const SINGLE: u64 = 1 << 20;
/// The most files held open.
const OPEN_MAX: usize = 256;
/// How long nothing is written after a write failed.
const REST: Duration = Duration::from_secs(5);
/// Most jobs that wait, whatever they weigh.
const JOBS_MAX: usize = 65_536;
/// Most tombstones that may be owed; more than that many are not lost on a disk that works.
const OWED_MAX: usize = 1 << 20;

/// Events and states, for metrics.
#[derive(Default)]
pub struct DiskTally {
    pub hits: AtomicU64,
    pub writes: AtomicU64,
    pub written_bytes: AtomicU64,
    pub moved_bytes: AtomicU64,
    pub evictions: AtomicU64,
    pub refused: AtomicU64,
    pub corrupt: AtomicU64,
    pub read_errors: AtomicU64,
    pub write_errors: AtomicU64,
    pub scrubbed_bytes: AtomicU64,
    pub slow: AtomicU64,
}

/// What the disk tier holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskStats {
    pub bytes: u64,
    pub limit: u64,
    pub objects: u64,
    pub segments: u64,
    pub index_bytes: u64,
    pub waiting: u64,
    pub is_loaded: bool,
    pub is_writing: bool,
}

/// Large bodies read of late, the latest at the back.
type Recent = VecDeque<((u32, u32), Arc<Filed>)>;

/// The disk tier of a store: one folder, held by one process.
pub struct Disk {
    files: Box<dyn Files>,
    pub settings: DiskSettings,
    seal: Option<Arc<Cipher>>,
    seed: [u8; 16],
    pub(super) index: Mutex<Index>,
    open: Mutex<HashMap<u32, Arc<dyn DiskFile>>>,
    queue: Mutex<Queue>,
    news: Condvar,
    work: Mutex<Work>,
    /// Segments of which nothing counts, to be removed after the next sync.
    doomed: Mutex<Vec<u32>>,
    /// One sync at a time: what one of them removes, another may not have written yet.
    syncing: Mutex<()>,
    /// Large bodies that were read of late, by segment and unit.
    filed: Mutex<Recent>,
    /// Something was written or removed since the last sync.
    is_dirty: AtomicBool,
    /// Set by an invalidation: the keeper is to look for dead responses.
    sweep: AtomicBool,
    /// How far the invalidation log was in effect, written over and over.
    head: Mutex<Option<(Arc<dyn DiskFile>, u64)>>,
    me: Weak<Self>,
    /// Says what is in use in memory.
    in_use: OnceLock<InUse>,
    /// Since when nothing is written, after an error.
    resting: Mutex<Option<Instant>>,
    /// The keeper is to end.
    ending: AtomicBool,
    /// The writer is to end, once nothing waits.
    closing: AtomicBool,
    /// Another process has written to the folder: nothing that is known of it counts.
    is_abandoned: AtomicBool,
    pub tally: DiskTally,
}

/// Says which of these versions are in use in memory.
pub type InUse = Box<dyn Fn(&HashSet<u64>) -> HashSet<u64> + Send + Sync>;

impl Disk {
    /// Opens a folder. What lies in it is found by [`Self::load`]. `log` is the last number of the
    /// invalidation log.
    pub fn open(
        files: Box<dyn Files>,
        settings: DiskSettings,
        log: InvalidationNumber,
        doubt: Doubt,
    ) -> io::Result<Arc<Self>> {
        let found = load::begin(&*files, settings.key.as_ref(), log, doubt)?;
        let next = behind(&found);
        let (index, newest) = yet_to_load(&found, next);
        Ok(Arc::new_cyclic(|me| Self {
            files,
            seed: found.seal.as_ref().map_or(found.seed, |seal| seal.hash_seed),
            seal: found.seal.map(Arc::new),
            index: Mutex::new(index),
            open: Mutex::default(),
            queue: Mutex::new(Queue::behind(newest)),
            news: Condvar::new(),
            work: Mutex::new(Work::new(next, segment_size(settings.size))),
            doomed: Mutex::default(),
            syncing: Mutex::default(),
            filed: Mutex::default(),
            is_dirty: AtomicBool::new(false),
            sweep: AtomicBool::new(false),
            head: Mutex::new(Some((found.head, log.0))),
            me: Weak::clone(me),
            in_use: OnceLock::new(),
            resting: Mutex::new(None),
            ending: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            is_abandoned: AtomicBool::new(false),
            tally: DiskTally::default(),
            settings,
        }))
    }

    /// Looks at the folder anew, where another process has written and is gone. No thread of this
    /// one may be at it meanwhile (`Keeper::stop`). What waits to be written still does, and is
    /// newer than all that is found. An error leaves everything as it was.
    pub fn find_again(&self, log: InvalidationNumber) -> io::Result<()> {
        let found = load::begin(&*self.files, self.settings.key.as_ref(), log, Doubt::Refuse)?;
        if found.seal.as_ref().map_or(found.seed, |seal| seal.hash_seed) != self.seed {
            return Err(io::Error::other("it is another store by now"));
        }
        let mut work = self.work.lock();
        let next = work.begin_again(behind(&found));
        let (mut fresh, newest) = yet_to_load(&found, next);
        let mut index = self.index.lock();
        for identity in self.queue.lock().follow(newest) {
            fresh.forget_upto(identity, newest);
        }
        *index = fresh;
        drop((index, work));
        self.open.lock().clear();
        self.filed.lock().clear();
        self.doomed.lock().clear();
        *self.head.lock() = Some((found.head, log.0));
        self.sweep_soon();
        Ok(())
    }

    // Keyed, so that a viewer cannot choose two keys that meet; stable, so that it is the same
    // after a restart.
    fn hash(&self, octets: &[&[u8]]) -> [u8; 32] {
        let mut context = digest::Context::new(&digest::SHA256);
        context.update(&self.seed);
        octets.iter().for_each(|part| context.update(part));
        context.finish().as_ref().try_into().unwrap_or_default()
    }

    fn key_hash(&self, key: &[u8]) -> u64 {
        u64::from_le_bytes(self.hash(&[b"k", key])[..8].try_into().unwrap_or_default())
    }

    fn identity(&self, stored: &Stored) -> Identity {
        let mut selector = Vec::new();
        for (name, value) in &stored.selector.0 {
            selector.extend_from_slice(name.as_str().as_bytes());
            selector.push(u8::from(value.is_some()));
            selector.extend_from_slice(
                &(value.as_ref().map_or(0, |value| value.len()) as u64).to_le_bytes(),
            );
            selector.extend_from_slice(value.as_deref().unwrap_or_default());
        }
        let variant = self.hash(&[b"v", stored.key.as_bytes(), &[0], &selector]);
        Identity {
            key: self.key_hash(stored.key.as_bytes()),
            variant: u32::from_le_bytes(variant[..4].try_into().unwrap_or_default()),
        }
    }

    /// What keeps other processes out of the folder, where something does.
    pub fn lock(&self) -> Option<BorrowedFd<'_>> {
        self.files.lock()
    }

    /// From now on nothing is found here, and nothing is kept.
    pub fn abandon(&self) {
        self.is_abandoned.store(true, Ordering::Relaxed);
    }

    /// Whether it was.
    pub fn is_abandoned(&self) -> bool {
        self.is_abandoned.load(Ordering::Relaxed)
    }

    /// How many responses may lie there for a key.
    pub fn count(&self, key: &[u8]) -> usize {
        if self.is_abandoned() {
            return 0;
        }
        let hash = self.key_hash(key);
        self.index.lock().count(hash)
    }

    /// Offers a whole response for being kept. Never waits; what is refused is forgotten, lest an
    /// older one come back.
    pub fn offer(&self, stored: &Arc<Stored>) {
        if self.is_abandoned() {
            return;
        }
        let identity = self.identity(stored);
        let octets = stored.content.length().unwrap_or(0) + stored.head.lines().len() as u64 + 256;
        let is_worth_it =
            is_worth_it(stored) && stored.content.is_complete() && octets <= self.largest();
        let mut queue = self.queue.lock();
        if is_worth_it
            && !self.is_resting()
            && queue.octets + octets <= self.settings.queue
            && queue.jobs.len() < JOBS_MAX
        {
            stored.live.on_disk.store(ON_ITS_WAY, Ordering::Relaxed);
            queue.octets += octets;
            let old = queue.push(Job::Put(Arc::clone(stored), identity, octets));
            self.news.notify_one();
            drop(queue);
            // What lay there before is old now, written or not. After the queue knows: nothing
            // older can be entered in between.
            let emptied = self.index.lock().forget_upto(identity, old);
            return self.close_later(emptied);
        }
        // An older one that is found at the next start, or waits to be written, must not take its
        // place.
        let is_about = !queue.jobs.is_empty() || queue.octets > 0;
        drop(queue);
        if is_worth_it {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        let is_known = {
            let mut index = self.index.lock();
            !index.is_loaded() || index.get(identity).is_some()
        };
        if is_about || is_known {
            self.take_out(identity);
        }
    }

    /// Forgets a response, now and after a restart.
    pub fn forget(&self, stored: &Stored) {
        if self.is_abandoned() {
            return;
        }
        let identity = self.identity(stored);
        let (known, version, is_loaded) = {
            let mut index = self.index.lock();
            // Noted before the index knows of it: what is known under another version is not this
            // one, unless this one waits.
            (index.get(identity), stored.live.on_disk.load(Ordering::Relaxed), index.is_loaded())
        };
        let is_there = match known {
            Some(entry) => entry.version.0 == version || version == ON_ITS_WAY,
            None => version != 0 || !is_loaded,
        };
        if is_there {
            self.take_out(identity);
        }
    }

    // Nothing of an identity counts from now on. The queue hears of it first: what is being written
    // or moved just now is looked for there before it counts.
    fn take_out(&self, identity: Identity) {
        let old = self.say_gone(identity);
        let emptied = self.index.lock().forget_upto(identity, old);
        self.close_later(emptied);
    }

    // Gives the version up to which everything of the identity is gone.
    fn say_gone(&self, identity: Identity) -> Version {
        let mut queue = self.queue.lock();
        if queue.jobs.len() < JOBS_MAX {
            self.news.notify_one();
            queue.push(Job::Gone(identity))
        } else {
            queue.defer_tombstone(identity, OWED_MAX)
        }
    }

    // Leaves the removal of a file, which may take long, to the writer's thread.
    fn close_later(&self, emptied: Option<u32>) {
        if let Some(id) = emptied {
            self.queue.lock().push(Job::Close(id, 0));
            self.news.notify_one();
        }
    }

    // With a tombstone, unless nothing older can lie anywhere: what it had replaced must not count
    // again.
    fn drop_entry(&self, entry: &Entry) {
        let forgotten = self.index.lock().forget_for_good(entry);
        if let Some((emptied, is_last)) = forgotten {
            if !is_last {
                self.say_gone(entry.identity);
            }
            self.close_later(emptied);
        }
    }

    // Removes a segment of which nothing counts any more, but for `moving` that are about to be put
    // somewhere else. Readers of its file go on reading.
    fn close(&self, id: u32, moving: usize) {
        // First, so that a read does not take a file that is gone for one that is damaged.
        if !self.index.lock().leave(id) {
            return;
        }
        self.open.lock().remove(&id);
        self.filed.lock().retain(|((segment, _), _)| *segment != id);
        if let Err(error) = self.files.remove(&name_of(id))
            && error.kind() != io::ErrorKind::NotFound
        {
            // It still takes its room, and would be found again.
            tracing::warn!(segment = id, %error, "a segment could not be removed");
            self.doomed.lock().push(id);
            return;
        }
        let mut index = self.index.lock();
        let left = index.close(id);
        // Some of it could not be read when it was emptied: it will not be found again.
        if left.is_some_and(|segment| segment.entries as usize > moving) {
            index.forget_segment(id, moving);
        }
        drop(index);
        self.is_dirty.store(true, Ordering::Relaxed);
    }

    fn file(&self, id: u32) -> io::Result<Arc<dyn DiskFile>> {
        if let Some(file) = self.open.lock().get(&id) {
            return Ok(Arc::clone(file));
        }
        let file = self.files.open(&name_of(id))?;
        self.hold(id, &file);
        // Removed meanwhile: it is not to be held open by us.
        if !self.index.lock().segments.contains_key(&id) {
            self.open.lock().remove(&id);
        }
        Ok(file)
    }

    // Holds a file open for the next read, `OPEN_MAX` files at most. Reads that use a file hold it
    // themselves.
    fn hold(&self, id: u32, file: &Arc<dyn DiskFile>) {
        let mut open = self.open.lock();
        if open.len() >= OPEN_MAX {
            open.retain(|_, file| Arc::strong_count(file) > 1);
        }
        if open.len() >= OPEN_MAX {
            open.clear();
        }
        open.insert(id, Arc::clone(file));
    }

    /// The largest record there may be: several must fit.
    fn largest(&self) -> u64 {
        self.settings.size / 4
    }

    fn is_resting(&self) -> bool {
        self.resting.lock().is_some_and(|since| since.elapsed() < REST)
    }

    /// What the tier holds now.
    pub fn stats(&self) -> DiskStats {
        let index = self.index.lock();
        DiskStats {
            bytes: index.used,
            limit: self.settings.size,
            objects: index.len() as u64,
            segments: index.segments.len() as u64,
            index_bytes: index.memory(),
            waiting: self.queue.lock().octets,
            is_loaded: index.is_loaded(),
            is_writing: !self.is_resting(),
        }
    }

    /// Shows what lies there and is wanted, segment by segment, by their lists where they have one.
    /// Blocks.
    pub fn visit(
        &self,
        mut wanted: impl FnMut(&Brief<'_>) -> bool,
        mut see: impl FnMut(&Entry, &Brief<'_>),
    ) {
        let ids: Vec<u32> = self.index.lock().order.iter().copied().collect();
        ids.into_iter().for_each(|id| self.visit_segment(id, &mut wanted, &mut see));
    }

    // Every entry, segment by segment.
    fn each(&self, mut see: impl FnMut(&Entry)) {
        let ids: Vec<u32> = self.index.lock().order.iter().copied().collect();
        for id in ids {
            let lines = self.lines(id).unwrap_or_default();
            for line in &lines {
                let known = self.index.lock().at(id, line);
                if let Some(entry) = known {
                    see(&entry);
                }
            }
        }
    }

    /// Tells it how to find out what is used in memory: what is answered from memory is not read
    /// here, and would seem unused.
    pub fn ask_memory(&self, in_use: InUse) {
        let _ = self.in_use.set(in_use);
    }

    /// Notes how far the invalidation log is in effect: under a log that reaches less far nothing
    /// here may be served.
    pub fn note_log(&self, number: InvalidationNumber) {
        if self.is_abandoned() {
            return;
        }
        let mut head = self.head.lock();
        if let Some((file, known)) = &mut *head
            && number.0 > *known
        {
            *known = number.0;
            if let Err(error) = file.write_at(&load::encode_head(number), 0) {
                tracing::warn!(%error, "the disk store cannot note how far the invalidation log reaches");
            }
        }
    }

    /// Something was invalidated: what is dead gives its room back, by and by.
    pub fn sweep_soon(&self) {
        self.sweep.store(true, Ordering::Relaxed);
    }

    /// Whether a look for what is dead is wanted, for tests.
    #[cfg(test)]
    pub fn is_sweep_wanted(&self) -> bool {
        self.sweep.load(Ordering::Relaxed)
    }
}

// The number of the next segment.
fn behind(found: &Found) -> u32 {
    found.segments.last().map_or(1, |(id, _)| id + 1)
}

// The first record that is written from now on has the version behind the one that is given; all
// that is found has that or less.
fn yet_to_load(found: &Found, next: u32) -> (Index, Version) {
    let newest = Version(Version::at(next, 0).0 - 1);
    let mut index = Index::loading(newest);
    for (id, len) in &found.segments {
        index.open(*id, Segment { len: *len, is_closed: true, ..Segment::default() });
    }
    (index, newest)
}

/// Stands for a version in what waits to be written; versions are larger.
const ON_ITS_WAY: u64 = 1;

/// The name of a segment.
fn name_of(id: u32) -> String {
    format!("{id:08x}.seg")
}

/// Octets of a segment that holds many.
fn segment_size(limit: u64) -> u64 {
    (limit / 32).clamp(256 << 10, 64 << 20)
}

/// Says whether a response will be of use after it left the memory: not if it is old in a moment
/// and cannot be confirmed.
fn is_worth_it(stored: &Stored) -> bool {
    let can_be_confirmed = stored.head.etag().is_some() || stored.head.last_modified().is_some();
    match stored.life.reuse {
        Reuse::WhileFresh => stored.life.fresh >= 1000 || can_be_confirmed,
        Reuse::AfterValidation => can_be_confirmed,
    }
}
