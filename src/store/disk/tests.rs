//! The disk tier over a folder that lies: it loses, tears and reorders what was not synced, and
//! fails when told to.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use proptest::prelude::*;

use super::files::{DiskFile, Files, Folder};
use super::load::Doubt;
use super::segment_list::Brief;
use super::threads::IsDead;
use super::{Disk, DiskSettings};
use crate::base::secret::Secret;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::stored::Stored;
use crate::semantics::fields::FieldSection;
use crate::semantics::time::Timestamp;

/// How the folder fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    /// Writes fail, after some of their octets were written.
    Full,
    /// Nothing can be read.
    Unreadable,
}

struct Inode {
    /// What survives a power cut.
    durable: Vec<u8>,
    now: Vec<u8>,
    /// Written since the last sync.
    pending: Vec<(u64, Vec<u8>)>,
}

type Node = Arc<Mutex<Inode>>;

enum Change {
    Created(String),
    Removed(String, Node),
}

struct World {
    names: BTreeMap<String, Node>,
    /// Changes of the folder since its last sync, in order.
    changes: Vec<Change>,
    fault: Fault,
}

/// A folder in memory.
#[derive(Clone)]
pub struct LossyFiles(Arc<Mutex<World>>);

struct Open(LossyFiles, Node);

impl LossyFiles {
    pub fn new() -> Self {
        Self(Arc::new(Mutex::new(World {
            names: BTreeMap::new(),
            changes: Vec::new(),
            fault: Fault::None,
        })))
    }

    fn fail(&self, fault: Fault) {
        self.0.lock().fault = fault;
    }

    fn octets(&self) -> u64 {
        let world = self.0.lock();
        world
            .names
            .iter()
            .filter(|(name, _)| name.ends_with(".seg"))
            .map(|(_, node)| node.lock().now.len() as u64)
            .sum()
    }

    // The power goes: of what was not synced, `roll` says what is there afterwards.
    fn crash(&self, mut roll: impl FnMut(usize) -> usize) {
        let mut world = self.0.lock();
        let kept = roll(world.changes.len() + 1);
        for change in world.changes.split_off(kept).into_iter().rev() {
            match change {
                Change::Created(name) => drop(world.names.remove(&name)),
                Change::Removed(name, node) => drop(world.names.insert(name, node)),
            }
        }
        world.changes.clear();
        for node in world.names.values() {
            let mut node = node.lock();
            let mut pending = std::mem::take(&mut node.pending);
            while !pending.is_empty() {
                let (at, octets) = pending.swap_remove(roll(pending.len()));
                match roll(3) {
                    0 => {}
                    1 => put(&mut node.durable, at, &octets),
                    _ => put(&mut node.durable, at, &octets[..roll(octets.len() + 1)]),
                }
            }
            node.now = node.durable.clone();
        }
    }
}

fn put(file: &mut Vec<u8>, at: u64, octets: &[u8]) {
    let end = at as usize + octets.len();
    if file.len() < end {
        file.resize(end, 0);
    }
    file[at as usize..end].copy_from_slice(octets);
}

impl Files for LossyFiles {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        if self.0.lock().names.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.keep(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let node = self.0.lock().names.get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Open(self.clone(), node)))
    }

    fn keep(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let mut world = self.0.lock();
        if let Some(node) = world.names.get(name) {
            return Ok(Arc::new(Open(self.clone(), Arc::clone(node))));
        }
        if world.fault == Fault::Full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        let node = Arc::new(Mutex::new(Inode {
            durable: Vec::new(),
            now: Vec::new(),
            pending: Vec::new(),
        }));
        world.names.insert(name.into(), Arc::clone(&node));
        world.changes.push(Change::Created(name.into()));
        Ok(Arc::new(Open(self.clone(), node)))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let mut world = self.0.lock();
        let node = world.names.remove(name).ok_or(io::ErrorKind::NotFound)?;
        world.changes.push(Change::Removed(name.into(), node));
        Ok(())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(self
            .0
            .lock()
            .names
            .iter()
            .map(|(name, node)| (name.clone(), node.lock().now.len() as u64))
            .collect())
    }

    fn sync(&self) -> io::Result<()> {
        self.0.lock().changes.clear();
        Ok(())
    }
}

impl DiskFile for Open {
    fn write_at(&self, octets: &[u8], at: u64) -> io::Result<()> {
        let is_full = self.0.0.lock().fault == Fault::Full;
        let octets = if is_full { &octets[..octets.len() / 2] } else { octets };
        let mut node = self.1.lock();
        put(&mut node.now, at, octets);
        node.pending.push((at, octets.to_vec()));
        if is_full { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn read_at(&self, octets: &mut [u8], at: u64) -> io::Result<()> {
        if self.0.0.lock().fault == Fault::Unreadable {
            return Err(io::Error::other("the disk does not answer"));
        }
        let node = self.1.lock();
        let from = node
            .now
            .get(at as usize..at as usize + octets.len())
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        octets.copy_from_slice(from);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut node = self.1.lock();
        node.durable = node.now.clone();
        node.pending.clear();
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let mut node = self.1.lock();
        node.now.truncate(len as usize);
        node.durable.truncate(len as usize);
        node.pending.retain(|(at, octets)| at + octets.len() as u64 <= len);
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

const SIZE: u64 = 16 << 20;

fn settings(size: u64, key: Option<&str>) -> DiskSettings {
    let key = key.map(|key| Secret::new(key.to_string()));
    DiskSettings { path: "/nowhere".into(), size, queue: 64 << 20, scrub: 0, objects: 1 << 20, key }
}

pub fn opened(files: &LossyFiles, size: u64, key: Option<&str>, log: u64) -> Arc<Disk> {
    let disk = Disk::open(
        Box::new(files.clone()),
        settings(size, key),
        InvalidationNumber(log),
        Doubt::BeginEmpty,
    )
    .unwrap();
    disk.load();
    disk
}

/// An empty tier in a folder of the real file system, which lives as long as the tier is used.
pub fn in_a_folder() -> (tempfile::TempDir, Arc<Disk>) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_path_buf();
    let few = settings(256 << 20, None);
    let settings = DiskSettings { path, queue: 1 << 20, objects: 10_000, ..few };
    let files = Box::new(Folder::open(folder.path()).unwrap());
    let disk = Disk::open(files, settings, InvalidationNumber(0), Doubt::BeginEmpty).unwrap();
    (folder, disk)
}

// What version `n` of key `k` says.
pub fn body(k: u64, n: u64, len: usize) -> Vec<u8> {
    (0..len as u64).map(|at| (at.wrapping_mul(k + 31) ^ n.wrapping_mul(0x9e37)) as u8).collect()
}

pub fn name(k: u64) -> Vec<u8> {
    format!("E\0/k{k}\0").into_bytes()
}

pub fn stored(k: u64, n: u64, len: usize) -> Arc<Stored> {
    let mut fields = FieldSection::new();
    fields.insert("x-version", n);
    Arc::new(
        Stored::example()
            .with_key(&name(k))
            .with_fields(&fields)
            .with_birth(Timestamp(1))
            .with_asked_at(InvalidationNumber(n))
            .with_content(&body(k, n, len)),
    )
}

fn read(stored: &Stored) -> Result<Vec<u8>, crate::body::BodyError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut reader = stored.content.read(None).unwrap();
        let mut all = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| reader.poll_piece(cx)).await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    })
}

// The version that a response says it is.
pub fn found_version(stored: &Stored) -> u64 {
    let (_, value) =
        stored.head.iter().find(|(name, _)| name.eq_ignore_ascii_case(b"x-version")).unwrap();
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

// The version that lies there, every octet of it checked.
fn found(disk: &Disk, k: u64, lens: &HashMap<(u64, u64), usize>) -> Option<u64> {
    let all = disk.recall(&name(k), None);
    assert!(all.len() <= 1);
    let stored = all.first()?;
    let n = stored.asked_at.0;
    let len = *lens.get(&(k, n)).expect("a version that was never offered");
    // A large body is checked as it is read.
    if let Ok(octets) = read(stored) {
        assert!(octets == body(k, n, len), "key {k}, version {n} has wrong octets");
        return Some(n);
    }
    assert!(stored.content.is_filed());
    None
}

#[derive(Clone, Debug)]
enum Step {
    Put(u64, usize),
    /// The disk is full for as long as this one is written.
    PutInVain(u64, usize),
    Forget(u64),
    Find(u64),
    Sync,
    Sweep,
    Compact(usize),
    Crash(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let len = prop_oneof![4 => 0usize..3000, 2 => 10_000usize..90_000, 1 => 200_000usize..400_000, 1 => 1_100_000usize..1_500_000];
    prop_oneof![
        12 => (0u64..12, len).prop_map(|(k, len)| Step::Put(k, len)),
        2 => (0u64..12, 0usize..50_000).prop_map(|(k, len)| Step::PutInVain(k, len)),
        2 => (0u64..12).prop_map(Step::Forget),
        4 => (0u64..12).prop_map(Step::Find),
        3 => Just(Step::Sync),
        1 => Just(Step::Sweep),
        2 => (0usize..9).prop_map(Step::Compact),
        2 => any::<u64>().prop_map(Step::Crash),
    ]
}

// What the segments' lists say is what their records say. A record that a power cut tore may be
// listed: it is found out when it is read.
fn lists_tell_the_truth(disk: &Disk) -> usize {
    let mut listed = HashMap::new();
    disk.visit(
        |_| true,
        |entry, brief| {
            let told = (CacheKey::new(brief.key), brief.asked_at, brief.body);
            assert!(listed.insert((entry.segment, entry.at), told).is_none());
        },
    );
    let mut whole = 0;
    disk.each(|entry| {
        if let Ok(Some((header, stored))) = disk.see(entry) {
            let read = (stored.key, stored.asked_at, header.body);
            assert_eq!(listed.get(&(entry.segment, entry.at)), Some(&read));
            whole += 1;
        }
    });
    assert!(listed.len() >= whole && listed.len() as u64 <= disk.stats().objects);
    whole
}

fn nothing_is_dead() -> IsDead {
    Box::new(|_| false)
}

// What must be there after a crash.
#[derive(Clone, Copy, Default)]
struct Floor {
    /// Nothing below this version comes back.
    least: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    // Whatever happens, in whatever order, with power cuts in between: whole versions, none that
    // was replaced or forgotten before the last sync, everything that was synced as long as there
    // is room, and never more octets than allowed.
    #[test]
    fn what_comes_back_is_whole_and_not_older_than_the_last_sync(
        steps in proptest::collection::vec(step(), 1..60), size in prop_oneof![Just(SIZE), Just(64u64 << 20)], is_sealed: bool,
    ) {
        let files = LossyFiles::new();
        let key = is_sealed.then_some("secret");
        let mut disk = opened(&files, size, key, 0);
        let (mut lens, mut n) = (HashMap::new(), 0);
        // The newest known of each key: its version, and whether it is there.
        let mut newest: HashMap<u64, (u64, bool)> = HashMap::new();
        let mut synced: HashMap<u64, (u64, bool)> = HashMap::new();
        let mut floors: HashMap<u64, Floor> = HashMap::new();
        let mut arcs: HashMap<u64, Arc<Stored>> = HashMap::new();
        let has_room = size > SIZE;
        for step in &steps {
            match step {
                Step::Put(k, len) => {
                    n += 1;
                    lens.insert((*k, n), *len);
                    let here = stored(*k, n, *len);
                    disk.offer(&here);
                    disk.work_off();
                    arcs.insert(*k, here);
                    newest.insert(*k, (n, true));
                }
                Step::PutInVain(k, len) => {
                    n += 1;
                    lens.insert((*k, n), *len);
                    files.fail(Fault::Full);
                    let here = stored(*k, n, *len);
                    disk.offer(&here);
                    disk.work_off();
                    files.fail(Fault::None);
                    // As if it had rested.
                    *disk.resting.lock() = None;
                    disk.work_off();
                    arcs.insert(*k, here);
                    // Not written, and what was there is old all the same.
                    newest.insert(*k, (n, false));
                }
                Step::Forget(k) => {
                    let here = arcs.get(k).cloned().or_else(|| disk.recall(&name(*k), None).first().cloned());
                    let Some(here) = here else { continue };
                    n += 1;
                    disk.forget(&here);
                    disk.work_off();
                    newest.insert(*k, (n, false));
                }
                Step::Find(k) => {
                    let seen = found(&disk, *k, &lens);
                    let floor = floors.get(k).copied().unwrap_or_default().least;
                    match newest.get(k) {
                        Some((n, true)) => prop_assert!(seen == Some(*n) || (seen.is_none() && !has_room), "{:?} of {}", seen, n),
                        Some((_, false)) => prop_assert_eq!(seen, None),
                        // Not touched since a crash.
                        None => prop_assert!(seen.is_none_or(|seen| seen >= floor), "{:?} below {}", seen, floor),
                    }
                }
                Step::Sync => {
                    disk.sync().unwrap();
                    synced.extend(newest.iter());
                }
                Step::Sweep => disk.sweep_dead(&nothing_is_dead()),
                Step::Compact(which) => {
                    let mut ids: Vec<u32> = disk.index.lock().segments.iter().filter(|(_, s)| s.is_closed && !s.is_single).map(|(id, _)| *id).collect();
                    ids.sort_unstable();
                    if let Some(id) = ids.get(*which) {
                        disk.compact(*id).unwrap();
                    }
                }
                Step::Crash(seed) => {
                    drop(disk);
                    let mut dice = seed | 1;
                    files.crash(|sides| {
                        dice ^= dice << 13;
                        dice ^= dice >> 7;
                        dice ^= dice << 17;
                        (dice % sides.max(1) as u64) as usize
                    });
                    disk = opened(&files, size, key, 0);
                    for (k, (n, is_there)) in &synced {
                        let least = if *is_there { *n } else { n + 1 };
                        floors.insert(*k, Floor { least });
                        let seen = found(&disk, *k, &lens);
                        prop_assert!(seen.is_none_or(|seen| seen >= least), "key {}: {:?} came back below {}", k, seen, least);
                        // Replaced or moved since the sync: then what replaced it may be what was
                        // lost.
                        if *is_there && has_room && newest.get(k) == Some(&(*n, true)) {
                            prop_assert!(seen.is_some(), "key {} was synced at {} and is gone", k, n);
                        }
                    }
                    newest.clear();
                    arcs.clear();
                    synced.clear();
                }
            }
            prop_assert!(files.octets() <= size, "{} octets of {}", files.octets(), size);
            prop_assert!(disk.stats().bytes <= size);
            lists_tell_the_truth(&disk);
        }
    }
}

#[test]
fn a_changed_octet_is_found_and_the_response_dropped() {
    for (len, is_sealed) in
        [(5_000, false), (5_000, true), (300_000, false), (3_000_000, false), (3_000_000, true)]
    {
        let files = LossyFiles::new();
        let key = is_sealed.then_some("k");
        let disk = opened(&files, 64 << 20, key, 0);
        disk.offer(&stored(1, 1, len));
        disk.work_off();
        disk.finish().unwrap();
        drop(disk);
        let node = files
            .0
            .lock()
            .names
            .iter()
            .find(|(name, _)| name.ends_with(".seg"))
            .map(|(_, node)| Arc::clone(node))
            .unwrap();
        // Somewhere in the body.
        node.lock().now[1_000] ^= 4;
        let disk = opened(&files, 64 << 20, key, 0);
        assert_eq!(disk.stats().objects, 1, "found by its footer");
        assert_eq!(found(&disk, 1, &HashMap::from([((1, 1), len)])), None);
        assert_eq!(
            (disk.tally.corrupt.load(Ordering::Relaxed), disk.stats().objects),
            (1, 0),
            "{len} {is_sealed}"
        );
        assert_eq!(found(&disk, 1, &HashMap::new()), None);
    }
}

// It is for speed alone: what it no longer says is read where it lies.
#[test]
fn a_damaged_list_is_done_without() {
    for is_sealed in [false, true] {
        let files = LossyFiles::new();
        let key = is_sealed.then_some("k");
        let disk = opened(&files, 64 << 20, key, 0);
        (0..20).for_each(|k| disk.offer(&stored(k, k + 1, 100)));
        disk.work_off();
        disk.finish().unwrap();
        let node = files
            .0
            .lock()
            .names
            .iter()
            .find(|(name, _)| name.ends_with(".seg"))
            .map(|(_, node)| Arc::clone(node))
            .unwrap();
        let (id, lines) = {
            let id = disk.index.lock().order[0];
            (id, disk.lines(id).unwrap())
        };
        assert_eq!(disk.listed(id, &lines).map(|list| list.briefs().count()), Some(20));
        let last = lines.last().unwrap();
        node.lock().now[(u64::from(last.at) + u64::from(last.len)) as usize * 16 + 100] ^= 1;
        assert!(disk.listed(id, &lines).is_none());
        assert_eq!(lists_tell_the_truth(&disk), 20);
        assert_eq!(disk.tally.corrupt.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn the_scrub_finds_damage_before_a_viewer_does() {
    let files = LossyFiles::new();
    let disk = opened(&files, 64 << 20, None, 0);
    (0..20).for_each(|k| disk.offer(&stored(k, k + 1, 10_000)));
    disk.work_off();
    disk.finish().unwrap();
    let node = files
        .0
        .lock()
        .names
        .iter()
        .find(|(name, _)| name.ends_with(".seg"))
        .map(|(_, node)| Arc::clone(node))
        .unwrap();
    node.lock().now[15_000] ^= 1;
    disk.scrub_next(&mut Vec::new(), &nothing_is_dead());
    assert_eq!((disk.tally.corrupt.load(Ordering::Relaxed), disk.stats().objects), (1, 19));
    // What may never be served again goes the same way, and its room with it.
    disk.scrub_next(&mut Vec::new(), &(Box::new(|_: &Brief<'_>| true) as IsDead));
    disk.work_off();
    disk.sync().unwrap();
    assert_eq!((disk.stats().objects, disk.stats().bytes, files.octets()), (0, 0, 0));
}

#[test]
fn a_full_disk_is_left_alone_and_taken_up_again() {
    let files = LossyFiles::new();
    let disk = opened(&files, 64 << 20, None, 0);
    let lens: HashMap<(u64, u64), usize> = (0..9).map(|k| ((k, k), 2_000)).collect();
    disk.offer(&stored(1, 1, 2_000));
    disk.work_off();
    files.fail(Fault::Full);
    disk.offer(&stored(2, 2, 2_000));
    disk.work_off();
    assert_eq!(
        (disk.tally.write_errors.load(Ordering::Relaxed), disk.stats().is_writing),
        (1, false)
    );
    disk.offer(&stored(3, 3, 2_000));
    assert_eq!(disk.tally.refused.load(Ordering::Relaxed), 1);
    assert_eq!(
        (found(&disk, 1, &lens), found(&disk, 2, &lens), found(&disk, 3, &lens)),
        (Some(1), None, None)
    );
    files.fail(Fault::None);
    // As if it had rested long enough.
    *disk.resting.lock() = None;
    disk.offer(&stored(4, 4, 2_000));
    disk.work_off();
    disk.finish().unwrap();
    drop(disk);
    let disk = opened(&files, 64 << 20, None, 0);
    assert_eq!(
        (1..=4).map(|k| found(&disk, k, &lens)).collect::<Vec<_>>(),
        [Some(1), None, None, Some(4)]
    );
}

#[test]
fn what_cannot_be_read_is_a_miss() {
    let files = LossyFiles::new();
    let disk = opened(&files, 64 << 20, None, 0);
    disk.offer(&stored(1, 1, 2_000));
    disk.work_off();
    files.fail(Fault::Unreadable);
    assert_eq!(found(&disk, 1, &HashMap::new()), None);
    assert_eq!(disk.tally.read_errors.load(Ordering::Relaxed), 1);
}

#[test]
fn another_key_or_a_shorter_log_begins_empty() {
    for (first, second, log, is_kept) in [
        (None, None, 7, true),
        (Some("a"), Some("a"), 7, true),
        (Some("a"), Some("a"), 8, true),
        (Some("a"), Some("b"), 7, false),
        (Some("a"), None, 7, false),
        (None, Some("a"), 7, false),
        (None, None, 6, false),
    ] {
        let files = LossyFiles::new();
        let disk = opened(&files, 64 << 20, first, 5);
        disk.offer(&stored(1, 1, 2_000));
        disk.work_off();
        disk.note_log(InvalidationNumber(7));
        drop(disk);
        let disk = opened(&files, 64 << 20, second, log);
        let seen = found(&disk, 1, &HashMap::from([((1, 1), 2_000)]));
        assert_eq!(seen.is_some(), is_kept, "{first:?} {second:?} {log}");
        assert_eq!(files.octets() > 0, is_kept);
    }
}

// As where a process that was to take this one's place is killed.
#[test]
fn what_another_process_wrote_is_found_and_what_waits_here_is_newer() {
    let files = LossyFiles::new();
    let disk = opened(&files, 64 << 20, None, 5);
    let two = stored(2, 1, 2_000);
    for one in [&stored(1, 1, 2_000), &two, &stored(3, 1, 2_000)] {
        disk.offer(one);
    }
    disk.work_off();
    disk.finish().unwrap();
    let other = opened(&files, 64 << 20, None, 5);
    for k in [1, 2, 4] {
        other.offer(&stored(k, 2, 2_000));
    }
    other.work_off();
    drop(other);
    disk.offer(&stored(1, 3, 2_000));
    disk.forget(&two);
    disk.find_again(InvalidationNumber(6)).unwrap();
    let lens = HashMap::from([((1, 3), 2_000), ((3, 1), 2_000), ((4, 2), 2_000)]);
    let all = |disk: &Disk| [1, 2, 3, 4].map(|k| found(disk, k, &lens));
    assert_eq!(all(&disk), [None; 4]);
    disk.load();
    assert_eq!(all(&disk), [None, None, Some(1), Some(2)]);
    disk.work_off();
    assert_eq!(all(&disk), [Some(3), None, Some(1), Some(2)]);
    disk.finish().unwrap();
    assert_eq!(all(&opened(&files, 64 << 20, None, 6)), [Some(3), None, Some(1), Some(2)]);
    // Under a log that has lost its end the other one begins with another store.
    drop(opened(&files, 64 << 20, None, 4));
    assert!(disk.find_again(InvalidationNumber(6)).is_err());
}

#[test]
fn a_queue_that_is_full_refuses_and_nothing_older_comes_back() {
    let files = LossyFiles::new();
    let mut few = settings(64 << 20, None);
    few.queue = 10_000;
    let disk =
        Disk::open(Box::new(files.clone()), few, InvalidationNumber(0), Doubt::BeginEmpty).unwrap();
    disk.load();
    disk.offer(&stored(1, 1, 5_000));
    disk.work_off();
    disk.offer(&stored(2, 2, 9_000));
    disk.offer(&stored(1, 3, 5_000));
    assert_eq!(disk.tally.refused.load(Ordering::Relaxed), 1);
    disk.work_off();
    disk.finish().unwrap();
    drop(disk);
    let disk = opened(&files, 64 << 20, None, 0);
    let lens = HashMap::from([((1, 1), 5_000), ((2, 2), 9_000)]);
    assert_eq!((found(&disk, 1, &lens), found(&disk, 2, &lens)), (None, Some(2)));
}

// What should be gone and could not be said so: nothing of the folder is believed the next time.
#[test]
fn debts_that_cannot_be_paid_cost_the_store() {
    for is_mended in [true, false] {
        let files = LossyFiles::new();
        let disk = opened(&files, 64 << 20, None, 3);
        let here = stored(1, 1, 2_000);
        disk.offer(&here);
        disk.offer(&stored(2, 2, 2_000));
        disk.work_off();
        disk.sync().unwrap();
        files.fail(Fault::Full);
        disk.forget(&here);
        disk.work_off();
        assert_eq!(found(&disk, 1, &HashMap::new()), None);
        if is_mended {
            files.fail(Fault::None);
        }
        let _ = disk.finish();
        drop(disk);
        files.fail(Fault::None);
        let disk = opened(&files, 64 << 20, None, 3);
        let lens = HashMap::from([((2, 2), 2_000)]);
        assert_eq!(
            (found(&disk, 1, &lens), found(&disk, 2, &lens)),
            (None, is_mended.then_some(2))
        );
    }
}
