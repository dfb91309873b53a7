//! The disk tier: viewers offer, forget and recall while one thread writes and another tidies up.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex, MutexGuard};

use foreshore::distribution::site::DiskSettings;
use foreshore::message::key::InvalidationNumber;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;

use super::in_memory::stored;
use crate::disk::Disk;
use crate::disk::files::{DiskFile, Files};
use crate::disk::load::Doubt;
use crate::disk::record::UNIT;
use crate::disk::threads::IsDead;

type File = Arc<Mutex<Vec<u8>>>;

/// A folder in memory that never fails. Its own locks are never held while another thread could
/// come in between.
#[derive(Clone, Default)]
struct Folder(Arc<Mutex<BTreeMap<String, File>>>);

struct Open(File);

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Files for Folder {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        assert!(!locked(&self.0).contains_key(name), "{name} is made twice");
        self.keep(name)
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = locked(&self.0).get(name).cloned().ok_or(io::ErrorKind::NotFound)?;
        Ok(Arc::new(Open(file)))
    }

    fn keep(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        Ok(Arc::new(Open(Arc::clone(locked(&self.0).entry(name.into()).or_default()))))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        locked(&self.0).remove(name).map(|_| ()).ok_or(io::ErrorKind::NotFound.into())
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        Ok(locked(&self.0)
            .iter()
            .map(|(name, file)| (name.clone(), locked(file).len() as u64))
            .collect())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for Open {
    fn write_at(&self, octets: &[u8], at: u64) -> io::Result<()> {
        let mut file = locked(&self.0);
        let end = at as usize + octets.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[at as usize..end].copy_from_slice(octets);
        Ok(())
    }

    fn read_at(&self, octets: &mut [u8], at: u64) -> io::Result<()> {
        let file = locked(&self.0);
        octets.copy_from_slice(
            file.get(at as usize..at as usize + octets.len())
                .ok_or(io::ErrorKind::UnexpectedEof)?,
        );
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        locked(&self.0).truncate(len as usize);
        Ok(())
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

fn open(folder: &Folder, size: u64) -> Arc<Disk> {
    let settings = DiskSettings {
        path: "/nowhere".into(),
        size,
        queue: 1 << 20,
        scrub: 0,
        objects: 1 << 20,
        key: None,
    };
    Disk::open(Box::new(folder.clone()), settings, InvalidationNumber(0), Doubt::BeginEmpty)
        .unwrap()
}

fn key(k: u64) -> Vec<u8> {
    format!("E\0/k{k}\0").into_bytes()
}

fn version(disk: &Disk, k: u64) -> Option<u64> {
    let found = disk.recall(&key(k), None);
    assert!(found.len() <= 1);
    let n = found.first()?.asked_at.0;
    assert!(
        found[0].content.whole().unwrap().iter().all(|octet| *octet == n as u8),
        "version {n} has wrong octets"
    );
    Some(n)
}

// The writer's thread and the keeper's, each for a while; and a start that is still looking through
// what lies there.
fn keepers(disk: &Arc<Disk>, rounds: usize, loads: bool) -> Vec<thread::JoinHandle<()>> {
    let (writing, keeping) = (Arc::clone(disk), Arc::clone(disk));
    let writer = thread::spawn(move || {
        for _ in 0..rounds {
            writing.work_off();
            writing.sync().unwrap();
            thread::yield_now();
        }
    });
    let keeper = thread::spawn(move || {
        if loads {
            keeping.load();
        }
        let is_dead: IsDead = Box::new(|_| false);
        let mut round = Vec::new();
        for _ in 0..rounds {
            keeping.sweep_dead(&is_dead);
            keeping.scrub_next(&mut round, &is_dead);
            thread::yield_now();
        }
    });
    vec![writer, keeper]
}

/// While versions of a key are offered and forgotten by one thread, another never sees an older one
/// after a newer, nor a version that was forgotten before it looked.
pub fn nothing_older_comes_back() {
    // With room for all, or with hardly any: then segments leave, and what is used in them moves
    // on.
    let is_small = thread_rng().gen_bool(0.5);
    let disk = open(&Folder::default(), if is_small { 400_000 } else { 4 << 20 });
    disk.load();
    let mut threads = keepers(&disk, 3, false);
    let filling = Arc::clone(&disk);
    threads.push(thread::spawn(move || {
        for n in 1..6 {
            filling.offer(&stored(&format!("other{n}"), n, 45_000));
            thread::yield_now();
        }
    }));
    let offering = Arc::clone(&disk);
    threads.push(thread::spawn(move || {
        for n in 1..5 {
            let here = stored("k1", n, 40_000);
            offering.offer(&here);
            if thread_rng().gen_bool(0.3) {
                offering.forget(&here);
                assert!(version(&offering, 1).is_none(), "forgotten, and found");
            } else {
                assert!(
                    version(&offering, 1).is_none_or(|seen| seen == n),
                    "older than what was just offered"
                );
            }
        }
    }));
    let looking = Arc::clone(&disk);
    threads.push(thread::spawn(move || {
        let mut last = 0;
        for _ in 0..6 {
            if let Some(seen) = version(&looking, 1) {
                assert!(seen >= last, "{seen} after {last}");
                last = seen;
            }
            thread::yield_now();
        }
    }));
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Each of two threads has keys of its own; in the end, and after another start, the last thing
/// said of each key holds, and the octets that are accounted for are those of the files.
pub fn everything_is_found_again() {
    let folder = Folder::default();
    let before = open(&folder, 4 << 20);
    before.load();
    (0..4).for_each(|k| before.offer(&stored(&format!("k{k}"), 1, 30_000)));
    before.work_off();
    before.finish().unwrap();
    drop(before);
    let disk = open(&folder, 4 << 20);
    let mut threads = keepers(&disk, 2, true);
    let mut sayers = Vec::new();
    for thread in 0..2u64 {
        let disk = Arc::clone(&disk);
        sayers.push(thread::spawn(move || {
            let mut said = BTreeMap::new();
            for n in 2..5 {
                let k = thread * 2 + thread_rng().gen_range(0..2);
                let here = stored(&format!("k{k}"), n, thread_rng().gen_range(100..50_000));
                if thread_rng().gen_bool(0.3) {
                    // Of what was found, as an invalidation does it.
                    disk.offer(&here);
                    disk.forget(&here);
                    said.insert(k, None);
                } else {
                    disk.offer(&here);
                    said.insert(k, Some(n));
                }
            }
            said
        }));
    }
    let mut said: BTreeMap<u64, Option<u64>> = (0..4).map(|k| (k, Some(1))).collect();
    for sayer in sayers {
        said.extend(sayer.join().unwrap());
    }
    threads.drain(..).for_each(|thread| thread.join().unwrap());
    disk.work_off();
    disk.finish().unwrap();
    let holds = |disk: &Disk, when: &str| {
        (0..4).for_each(|k| assert_eq!(version(disk, k), said[&k], "key {k} {when}"))
    };
    holds(&disk, "at the end");
    let lies: u64 = folder
        .list()
        .unwrap()
        .iter()
        .filter(|(name, _)| name.ends_with(".seg"))
        .map(|(_, len)| len)
        .sum();
    assert_eq!(disk.stats().bytes, lies);
    drop(disk);
    let again = open(&folder, 4 << 20);
    again.load();
    holds(&again, "after a start");
}

// What the index says of its segments is what its entries add up to, and each of them lies in one
// that is there.
fn the_index_adds_up(disk: &Disk) {
    let mut found = BTreeMap::<u32, (u64, u32)>::new();
    let index = disk.index.lock();
    for entry in index.entries() {
        let sum = found.entry(entry.segment).or_default();
        *sum = (sum.0 + u64::from(entry.len) * UNIT, sum.1 + 1);
    }
    for (id, segment) in &index.segments {
        let (live, entries) = found.remove(id).unwrap_or_default();
        assert_eq!((segment.live, segment.entries), (live, entries), "segment {id}");
    }
    assert!(found.is_empty(), "entries without a segment: {found:?}");
}

/// Two threads say different things of the same keys, with hardly any room: which thread says the
/// last word is open, but what is found in the end is found after another start too, nothing that
/// was forgotten last is found by either, and the accounts are true.
pub fn whatever_was_said_last_stays() {
    let folder = Folder::default();
    let size = if thread_rng().gen_bool(0.5) { 400_000 } else { 4 << 20 };
    let disk = open(&folder, size);
    disk.load();
    let mut threads = keepers(&disk, 2, false);
    let mut sayers = Vec::new();
    for thread in 0..2u64 {
        let disk = Arc::clone(&disk);
        sayers.push(thread::spawn(move || {
            let mut last = BTreeMap::new();
            let mut mine = Vec::new();
            for at in 0..4 {
                let k = thread_rng().gen_range(0..2);
                let n = 1 + at * 2 + thread;
                match thread_rng().gen_range(0..3) {
                    0 if !mine.is_empty() => {
                        let (k, here): &(u64, Arc<_>) =
                            &mine[thread_rng().gen_range(0..mine.len())];
                        disk.forget(here);
                        // If it was replaced, the newer one stays.
                        last.remove(k);
                    }
                    1 => {
                        let here = stored(&format!("k{k}"), n, thread_rng().gen_range(100..60_000));
                        disk.offer(&here);
                        disk.forget(&here);
                        last.insert(k, None);
                    }
                    _ => {
                        let here = stored(&format!("k{k}"), n, thread_rng().gen_range(100..60_000));
                        disk.offer(&here);
                        mine.push((k, here));
                        last.insert(k, Some(n));
                    }
                }
            }
            last
        }));
    }
    let said: Vec<BTreeMap<u64, Option<u64>>> =
        sayers.into_iter().map(|sayer| sayer.join().unwrap()).collect();
    threads.drain(..).for_each(|thread| thread.join().unwrap());
    disk.work_off();
    the_index_adds_up(&disk);
    disk.finish().unwrap();
    let found: Vec<Option<u64>> = (0..2).map(|k| version(&disk, k)).collect();
    for (k, found) in found.iter().enumerate() {
        let words: Vec<Option<u64>> =
            said.iter().filter_map(|said| said.get(&(k as u64)).copied()).collect();
        assert!(
            found.is_none() || words.len() < 2 || words.contains(found),
            "key {k}: {found:?} was nobody's last word: {words:?}"
        );
    }
    assert!(disk.stats().bytes <= size);
    drop(disk);
    let again = open(&folder, size);
    again.load();
    the_index_adds_up(&again);
    let after: Vec<Option<u64>> = (0..2).map(|k| version(&again, k)).collect();
    assert_eq!(after, found);
}
