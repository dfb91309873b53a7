//! The durable log of invalidations: each gets the next number, and is on disk before it is
//! acknowledged.
//!
//! A file of the form that `frames` has.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use super::chain::{Chain, Mark, RecordId};
pub use super::compaction::INCARNATIONS;
use super::compaction::{compacted, folded};
use super::frames::{self, LogFile, encode};
pub use super::record::{Batch, FleetPassage, InvalidationRecord, Passage, Passed};
use crate::message::key::InvalidationNumber;

const MAGIC: &[u8] = b"foreshore invalidations 1\n";
/// Records kept for being shown; older ones are still in effect.
const SHOWN: usize = 10_000;
/// And the most octets of those with a name, as the log has them.
const SHOWN_OCTETS: usize = 64 << 20;
/// A log longer than this is rewritten without what no longer matters, and again when it has
/// doubled.
const COMPACT_AT: u64 = 64 << 20;

/// The log of invalidations, open for appending.
pub struct InvalidationLog {
    inner: Arc<Mutex<Inner>>,
    /// The last records' marks. Under a lock of its own: a look at it must not wait for a sync.
    chain: Arc<RwLock<Chain>>,
    /// Where it lies, if it is a file that can be rewritten.
    path: Option<PathBuf>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Synced {
    Yes,
    Later,
}

struct Inner {
    file: Box<dyn LogFile>,
    len: u64,
    last: u64,
    /// The latest records, for readers that follow the log.
    shown: VecDeque<Arc<InvalidationRecord>>,
    /// The latest records that have an id; those of viewers' writes must not push them out.
    named: VecDeque<Arc<InvalidationRecord>>,
    /// Octets that those take in the log.
    named_octets: usize,
    /// Set when a failed write could not be taken back: nothing more is accepted.
    broken: bool,
    /// Set when the holder leaves: nothing more is accepted.
    is_closed: bool,
    /// From this length on it is rewritten; no length, while it is being rewritten.
    compact_at: u64,
    /// Numbers were given that are in no record of the file.
    has_unwritten: bool,
}

// About what a record takes in the log.
fn octets(record: &InvalidationRecord) -> usize {
    let paths: usize = record.batch.iter().flat_map(|batch| &batch.paths).map(String::len).sum();
    250 + record.matchers.len() * 40 + 2 * paths
}

impl Inner {
    fn remember(&mut self, record: &Arc<InvalidationRecord>, octets: usize) {
        self.shown.push_back(Arc::clone(record));
        if self.shown.len() > SHOWN {
            self.shown.pop_front();
        }
        if record.id.is_empty() {
            return;
        }
        self.named.push_back(Arc::clone(record));
        self.named_octets += octets;
        while self.named.len() > SHOWN || self.named_octets > SHOWN_OCTETS {
            let Some(old) = self.named.pop_front() else { break };
            self.named_octets = self.named_octets.saturating_sub(self::octets(&old));
        }
    }
}

impl InvalidationLog {
    /// Opens or creates the log in `folder`, and gives back every record in order.
    pub fn open(folder: &Path) -> io::Result<(Self, Vec<InvalidationRecord>)> {
        let path = folder.join("invalidations.log");
        frames::keep_damaged(&path, MAGIC.len(), |bytes| Ok(read_records(bytes)?.1))?;
        let (log, records) = Self::over(Box::new(frames::open(&path)?))?;
        // The name itself must survive a crash too.
        File::open(folder)?.sync_all()?;
        Ok((Self { path: Some(path), ..log }, records))
    }

    /// Opens a log over any file.
    pub fn over(mut file: Box<dyn LogFile>) -> io::Result<(Self, Vec<InvalidationRecord>)> {
        let bytes = file.read_all()?;
        let (records, good) = read_records(&bytes)?;
        if frames::is_damaged(&bytes, good, MAGIC.len()) {
            tracing::error!(
                kept = records.len(),
                octet = good,
                lost = bytes.len() - good,
                "the invalidation log is damaged; what follows is lost"
            );
        }
        file.truncate(good as u64)?;
        if good == 0 {
            file.append(MAGIC)?;
        }
        file.sync()?;
        let last = records.last().map_or(0, |record| record.number);
        let len = good.max(MAGIC.len()) as u64;
        let (shown, named) = (VecDeque::new(), VecDeque::new());
        let mut inner = Inner {
            file,
            len,
            last,
            shown,
            named,
            named_octets: 0,
            broken: false,
            is_closed: false,
            compact_at: COMPACT_AT,
            has_unwritten: false,
        };
        records.iter().for_each(|record| inner.remember(&Arc::new(record.clone()), octets(record)));
        let mut chain = Chain::default();
        records.iter().for_each(|record| chain.push(record.mark()));
        Ok((
            Self {
                inner: Arc::new(Mutex::new(inner)),
                chain: Arc::new(RwLock::new(chain)),
                path: None,
            },
            records,
        ))
    }

    // Rewrites the file without what no longer matters, while records are taken; only the end of it
    // holds them up.
    fn compact(path: &Path, inner: &Mutex<Inner>) -> io::Result<()> {
        let until = inner.lock().len;
        let mut bytes = Vec::new();
        File::open(path)?.take(until).read_to_end(&mut bytes)?;
        let mut out = MAGIC.to_vec();
        compacted(read_records(&bytes)?.0)
            .iter()
            .try_for_each(|record| encode(record, &mut out))?;
        let fresh = path.with_extension("new");
        let mut file = frames::create(&fresh)?;
        file.write_all(&out)?;
        file.sync_data()?;
        let mut inner = inner.lock();
        let mut rest = Vec::new();
        let mut old = File::open(path)?;
        old.seek(SeekFrom::Start(until))?;
        old.take(inner.len - until).read_to_end(&mut rest)?;
        file.write_all(&rest)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        // From here on the old file has no name: whatever is written must go to the new one.
        inner.len = (out.len() + rest.len()) as u64;
        inner.file = Box::new(file);
        let named = frames::sync_folder_of(path);
        inner.broken |= named.is_err();
        named
    }

    // Has a long log compacted by a thread of its own, once at a time.
    fn compact_if_long(&self, inner: &mut Inner) {
        let Some(path) = self.path.clone().filter(|_| inner.len > inner.compact_at) else { return };
        inner.compact_at = u64::MAX;
        let shared = Arc::clone(&self.inner);
        let work = move || {
            let done = Self::compact(&path, &shared);
            if let Err(error) = done {
                tracing::warn!(%error, "the invalidation log could not be compacted; it goes on as it is");
            }
            let mut inner = shared.lock();
            inner.compact_at = COMPACT_AT.max(inner.len * 2);
        };
        if std::thread::Builder::new().name("log-compact".into()).spawn(work).is_err() {
            inner.compact_at = COMPACT_AT.max(inner.len * 2);
        }
    }

    /// Writes an invalidation down and syncs it; `apply` is called with its number before the next
    /// is given, so that numbers take effect in order. An error means that nothing happened.
    pub fn accept(
        &self,
        record: InvalidationRecord,
        apply: impl FnOnce(&InvalidationRecord),
    ) -> io::Result<InvalidationRecord> {
        self.write(record, Synced::Yes, apply)
    }

    /// The same without the sync, for what follows from a viewer's own write: it takes effect at
    /// once, and after a power cut nothing that it covers is left in memory.
    pub fn note(
        &self,
        record: InvalidationRecord,
        apply: impl FnOnce(&InvalidationRecord),
    ) -> io::Result<InvalidationRecord> {
        self.write(record, Synced::Later, apply)
    }

    fn write(
        &self,
        mut record: InvalidationRecord,
        synced: Synced,
        apply: impl FnOnce(&InvalidationRecord),
    ) -> io::Result<InvalidationRecord> {
        let mut inner = self.inner.lock();
        if inner.broken {
            return Err(io::Error::other(
                "the invalidation log could not be written before; restart after mending the disk",
            ));
        }
        if inner.is_closed {
            return Err(io::Error::other(
                "the edge is leaving, and its invalidation log is closed; ask again when it is back",
            ));
        }
        record.number = inner.last + 1;
        record.identity = RecordId::random();
        let mut bytes = Vec::with_capacity(256);
        encode(&record, &mut bytes)?;
        let written = inner
            .file
            .append(&bytes)
            .and_then(|()| if synced == Synced::Yes { inner.file.sync() } else { Ok(()) });
        if let Err(error) = written {
            let len = inner.len;
            inner.broken = inner.file.truncate(len).and_then(|()| inner.file.sync()).is_err();
            return Err(error);
        }
        inner.len += bytes.len() as u64;
        inner.last = record.number;
        inner.remember(&Arc::new(record.clone()), bytes.len());
        self.chain.write().push(record.mark());
        apply(&record);
        self.compact_if_long(&mut inner);
        Ok(record)
    }

    /// Gives the next number to an invalidation that could not be written and holds all the same
    /// for as long as the process lives: none that is written later has that number.
    pub fn number_unwritten(
        &self,
        mut record: InvalidationRecord,
        apply: impl FnOnce(&InvalidationRecord),
    ) -> InvalidationRecord {
        let mut inner = self.inner.lock();
        inner.has_unwritten = true;
        inner.last += 1;
        record.number = inner.last;
        record.identity = RecordId::random();
        apply(&record);
        record
    }

    /// Makes numbers go on above `number`: a parent has seen that far of this log, which has lost
    /// it.
    pub fn skip_to(&self, number: InvalidationNumber) {
        let mut inner = self.inner.lock();
        inner.last = inner.last.max(number.0);
    }

    /// Accepts nothing from here on: what the log ends in now is its end in this life, and synced.
    pub fn close(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        inner.is_closed = true;
        inner.file.sync()
    }

    /// Makes the file say all that is in force, for another process to go on with it. Nothing may
    /// be written meanwhile.
    ///
    /// # Errors
    ///
    /// If it cannot say that now.
    pub fn settle(&self) -> io::Result<()> {
        let mut inner = self.inner.lock();
        if inner.broken || inner.has_unwritten {
            return Err(io::Error::other(
                "the invalidation log could not be written before; restart after mending the disk",
            ));
        }
        if inner.compact_at == u64::MAX {
            return Err(io::Error::other(
                "the invalidation log is being rewritten; ask again in a few seconds",
            ));
        }
        inner.file.sync()
    }

    /// Goes on behind what another process has written since; `apply` is called with each of its
    /// records. Nothing may be written meanwhile.
    pub fn catch_up(&self, mut apply: impl FnMut(&InvalidationRecord)) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let mut inner = self.inner.lock();
        let mut file = frames::open(path)?;
        let bytes = LogFile::read_all(&mut file)?;
        let (records, good) = read_records(&bytes)?;
        LogFile::truncate(&mut file, good as u64)?;
        inner.file = Box::new(file);
        inner.len = good as u64;
        let last = inner.last;
        for record in records.into_iter().filter(|record| record.number > last) {
            inner.last = record.number;
            inner.remember(&Arc::new(record.clone()), octets(&record));
            self.chain.write().push(record.mark());
            apply(&record);
        }
        Ok(())
    }

    /// The last record, by number and identity.
    pub fn tail(&self) -> Mark {
        self.chain.read().tail()
    }

    /// Says whether this very record is one of the last ten thousand here.
    pub fn has(&self, mark: Mark) -> bool {
        self.chain.read().has(mark)
    }

    /// What is in force of the records after a number, folded: of each matcher the latest counts.
    /// With it the last record that was looked at. Reads the file, which may take a while.
    pub fn in_force_after(&self, number: u64) -> io::Result<(Vec<InvalidationRecord>, Mark)> {
        let bytes = match &self.path {
            Some(path) => {
                let inner = self.inner.lock();
                let (until, file) = (inner.len, File::open(path)?);
                drop(inner);
                let mut bytes = Vec::new();
                file.take(until).read_to_end(&mut bytes)?;
                bytes
            }
            None => self.inner.lock().file.read_all()?,
        };
        let (records, _) = read_records(&bytes)?;
        let last = records.last().map_or(Mark::START, InvalidationRecord::mark);
        let after: Vec<InvalidationRecord> =
            records.into_iter().filter(|record| record.number > number).collect();
        Ok((folded(after, &mut HashSet::new()), last))
    }

    /// The last number given.
    pub fn last(&self) -> InvalidationNumber {
        InvalidationNumber(self.inner.lock().last)
    }

    /// The newest records first, at most `most`.
    pub fn newest(&self, most: usize) -> Vec<InvalidationRecord> {
        // Those without an id follow from viewers' writes, and no operator waits for them.
        self.inner
            .lock()
            .named
            .iter()
            .rev()
            .take(most)
            .map(|record| InvalidationRecord::clone(record))
            .collect()
    }

    /// One that was asked for under a caller's own name.
    pub fn find_reference(
        &self,
        distribution: &str,
        reference: &str,
    ) -> Option<InvalidationRecord> {
        let is_it = |record: &&Arc<InvalidationRecord>| {
            record.distribution == distribution
                && record.batch.as_ref().is_some_and(|b| b.reference == reference)
        };
        self.inner.lock().named.iter().rfind(is_it).map(|record| InvalidationRecord::clone(record))
    }

    /// One record by its id.
    pub fn find(&self, id: &str) -> Option<InvalidationRecord> {
        self.inner
            .lock()
            .named
            .iter()
            .rfind(|record| record.id == id)
            .map(|record| InvalidationRecord::clone(record))
    }

    /// Records after a number, oldest first, at most `most`. `None` if some of them are no longer
    /// shown.
    pub fn after(
        &self,
        number: InvalidationNumber,
        most: usize,
    ) -> Option<Vec<InvalidationRecord>> {
        let inner = self.inner.lock();
        let first = inner.shown.front().map_or(inner.last + 1, |record| record.number);
        if number.0 + 1 < first {
            return None;
        }
        Some(
            inner
                .shown
                .iter()
                .filter(|record| record.number > number.0)
                .take(most)
                .map(|record| InvalidationRecord::clone(record))
                .collect(),
        )
    }
}

/// An id in CloudFront's form: `I` and thirteen of `[A-Z0-9]`.
pub fn new_id() -> String {
    const LETTERS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    let mut random = [0u8; 13];
    let _ = aws_lc_rs::rand::fill(&mut random);
    std::iter::once('I')
        .chain(random.iter().map(|b| LETTERS[usize::from(*b) % 36] as char))
        .collect()
}

// All whole records, and how far they reach.
fn read_records(bytes: &[u8]) -> io::Result<(Vec<InvalidationRecord>, usize)> {
    if bytes.len() < MAGIC.len() && MAGIC.starts_with(bytes) {
        return Ok((Vec::new(), 0));
    }
    if !bytes.starts_with(MAGIC) {
        return Err(io::Error::other("this is no invalidation log of Foreshore"));
    }
    let mut records: Vec<InvalidationRecord> = Vec::new();
    let mut at = MAGIC.len();
    while let Some((mut record, next)) = frames::decode::<InvalidationRecord>(bytes, at) {
        if record.identity.is_none() {
            record.identity = RecordId::of_octets(&bytes[at..next]);
        }
        // Numbers rise; anything else is not ours to guess at.
        if records.last().is_some_and(|last| last.number >= record.number) {
            return Err(io::Error::other(format!(
                "the invalidation log is out of order at octet {at}"
            )));
        }
        records.push(record);
        at = next;
    }
    Ok((records, at))
}

#[cfg(test)]
mod tests {
    use super::super::chain::Incarnation;
    use super::super::compaction::VERBATIM;
    use super::super::frames::disk::Disk;
    use super::*;
    use crate::cache::invalidations::{Matcher, Severity};
    use crc32fast::hash as crc32;
    use proptest::prelude::*;

    fn record(path: &str) -> InvalidationRecord {
        let matchers = vec![Matcher::Path(path.into())];
        InvalidationRecord::new(path.into(), "E".into(), matchers, Severity::Hard, 0)
    }

    #[test]
    fn another_process_goes_on_with_it_and_gives_it_back() {
        let folder = tempfile::tempdir().unwrap();
        let accept = |log: &InvalidationLog, path| log.accept(record(path), |_| ()).unwrap().number;
        let (own, _) = InvalidationLog::open(folder.path()).unwrap();
        assert_eq!(accept(&own, "/a"), 1);
        own.settle().unwrap();
        let (other, records) = InvalidationLog::open(folder.path()).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!([accept(&other, "/b"), accept(&other, "/c")], [2, 3]);
        drop(other);
        let mut told = Vec::new();
        own.catch_up(|record| told.push(record.id.clone())).unwrap();
        assert_eq!(told, ["/b", "/c"]);
        assert!(own.find("/c").is_some() && own.tail().number == 3);
        assert_eq!(accept(&own, "/d"), 4);
        own.number_unwritten(record("/e"), |_| ());
        assert!(own.settle().is_err(), "the file does not say all that is in force");
        let (_, records) = InvalidationLog::open(folder.path()).unwrap();
        let numbers: Vec<u64> = records.iter().map(|record| record.number).collect();
        assert_eq!(numbers, [1, 2, 3, 4]);
    }

    proptest! {
        #[test]
        fn what_was_acknowledged_survives(steps in proptest::collection::vec((0u8..4, 0usize..80), 1..40)) {
            let disk = Disk::default();
            let mut acknowledged: Vec<u64> = Vec::new();
            let (mut log, _) = InvalidationLog::over(Box::new(disk.clone())).unwrap();
            for (step, torn) in steps {
                match step {
                    0 | 1 => acknowledged.push(log.accept(record(&format!("/{torn}")), |_| ()).unwrap().number),
                    2 => {
                        disk.0.lock().fail = true;
                        prop_assert!(log.accept(record("/lost"), |_| ()).is_err());
                        disk.0.lock().fail = false;
                    }
                    _ => {
                        // Power fails in mid-write: octets that were never synced may be there in
                        // part.
                        disk.0.lock().cached.extend_from_slice(&[7; 40]);
                        disk.power_off(torn);
                        let (again, records) = InvalidationLog::over(Box::new(disk.clone())).unwrap();
                        let numbers: Vec<u64> = records.iter().map(|record| record.number).collect();
                        prop_assert_eq!(&numbers, &acknowledged);
                        log = again;
                    }
                }
            }
        }

        #[test]
        fn arbitrary_files_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read_records(&bytes);
            let mut ours = MAGIC.to_vec();
            ours.extend_from_slice(&bytes);
            let _ = read_records(&ours);
        }
    }

    #[test]
    fn a_damaged_log_is_kept_and_said() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = InvalidationLog::open(folder.path()).unwrap();
        for at in 0..5 {
            log.accept(record(&format!("/{at}")), |_| ()).unwrap();
        }
        drop(log);
        let path = folder.path().join("invalidations.log");
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let (_, records) = InvalidationLog::open(folder.path()).unwrap();
        assert!(records.is_empty());
        assert_eq!(std::fs::read(folder.path().join("invalidations.damaged")).unwrap(), bytes);
    }

    #[test]
    fn a_log_on_a_real_file_comes_back_and_compacts() {
        let folder = tempfile::tempdir().unwrap();
        let (log, none) = InvalidationLog::open(folder.path()).unwrap();
        assert!(none.is_empty());
        for at in 0..5 {
            assert_eq!(log.accept(record(&format!("/{at}")), |_| ()).unwrap().number, at + 1);
        }
        drop(log);
        let (log, records) = InvalidationLog::open(folder.path()).unwrap();
        assert_eq!((records.len(), log.last()), (5, InvalidationNumber(5)));
        assert_eq!(log.after(InvalidationNumber(3), 10).unwrap().len(), 2);
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    // What was written before records had an identity: `from` of two parts, and no identity at all.
    #[test]
    fn a_log_of_before_comes_back_with_identities_of_its_own() {
        let disk = Disk::default();
        let mut bytes = MAGIC.to_vec();
        for number in 1..=2u64 {
            let json = format!(
                r#"{{"number":{number},"id":"I1","distribution":"E","matchers":[{{"path":"/a"}}],"severity":"hard","at":0,"from":["e1/n",{number}]}}"#
            );
            bytes.extend_from_slice(&(json.len() as u32).to_le_bytes());
            bytes.extend_from_slice(&crc32(json.as_bytes()).to_le_bytes());
            bytes.extend_from_slice(json.as_bytes());
        }
        disk.0.lock().cached = bytes;
        let (log, records) = InvalidationLog::over(Box::new(disk.clone())).unwrap();
        assert_eq!(records[1].from, Some(Passed::Numbered("e1/n".into(), 2)));
        assert!(records.iter().all(|record| !record.identity.is_none() && log.has(record.mark())));
        assert_ne!(records[0].identity, records[1].identity);
        let next = log.accept(record("/b"), |_| ()).unwrap();
        drop(log);
        let (log, again) = InvalidationLog::over(Box::new(disk)).unwrap();
        assert_eq!(
            (again[1].identity, log.tail()),
            (records[1].identity, next.mark()),
            "the same at each start"
        );
    }

    // The same number twice is not the same record.
    #[test]
    fn a_number_that_is_given_again_has_another_identity() {
        let disk = Disk::default();
        let (log, _) = InvalidationLog::over(Box::new(disk.clone())).unwrap();
        log.accept(record("/a"), |_| ()).unwrap();
        let lost = log.note(record("/b"), |_| ()).unwrap();
        disk.power_off(0);
        let (log, _) = InvalidationLog::over(Box::new(disk)).unwrap();
        let again = log.accept(record("/c"), |_| ()).unwrap();
        assert_eq!(lost.number, again.number);
        assert!(log.has(again.mark()) && !log.has(lost.mark()));
        log.close().unwrap();
        assert!(log.accept(record("/d"), |_| ()).is_err(), "a closed log gives no more numbers");
    }

    #[test]
    fn how_far_an_edge_is_in_effect_outlives_compaction() {
        let (first, second) = (Incarnation::random(), Incarnation::random());
        let passed = |number: u64, incarnation| InvalidationRecord {
            number,
            from: Some(Passed::Marked(Passage {
                log: "e/n".into(),
                incarnation,
                mark: Mark { number, id: RecordId::NONE },
                is_sealed: false,
            })),
            ..record("/same")
        };
        let mut all = vec![passed(1, first), passed(2, first), passed(3, second)];
        all.extend(
            (4..VERBATIM as u64 + 10)
                .map(|number| InvalidationRecord { number, ..record("/same") }),
        );
        let kept: Vec<u64> = compacted(all)
            .iter()
            .filter(|record| record.from.is_some())
            .map(|record| record.number)
            .collect();
        assert_eq!(kept, [2, 3]);
    }

    #[test]
    fn what_is_in_force_since_is_folded() {
        let folder = tempfile::tempdir().unwrap();
        let (log, _) = InvalidationLog::open(folder.path()).unwrap();
        (0..30).for_each(|at| drop(log.note(record(&format!("/{}", at % 3)), |_| ()).unwrap()));
        let (records, last) = log.in_force_after(10).unwrap();
        assert_eq!(
            (records.iter().map(|record| record.number).collect::<Vec<_>>(), last),
            (vec![28, 29, 30], log.tail())
        );
        assert!(log.in_force_after(30).unwrap().0.is_empty());
    }

    #[test]
    fn a_long_log_is_rewritten_while_it_is_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("invalidations.log");
        let (log, _) = InvalidationLog::open(folder.path()).unwrap();
        let same = |_| log.accept(record("/again"), |_| ()).map(drop);
        (0..VERBATIM * 3).try_for_each(same).unwrap();
        let before = std::fs::metadata(&path).unwrap().len();
        log.inner.lock().compact_at = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| (0..500).try_for_each(same).unwrap());
        });
        while log.inner.lock().compact_at == u64::MAX {
            std::thread::yield_now();
        }
        assert!(std::fs::metadata(&path).unwrap().len() < before);
        log.accept(record("/last"), |_| ()).unwrap();
        let numbers = |records: &[InvalidationRecord]| {
            records.iter().map(|record| record.number).collect::<Vec<_>>()
        };
        let last = log.last().0;
        drop(log);
        let (_, records) = InvalidationLog::open(folder.path()).unwrap();
        assert_eq!(last, VERBATIM as u64 * 3 + 501);
        assert!(
            numbers(&records).ends_with(&(last - VERBATIM as u64 + 500..=last).collect::<Vec<_>>()),
            "{:?}",
            records.len()
        );
    }

    proptest! {
        // Compacted or not, the table says the same of everything.
        #[test]
        fn what_is_left_out_says_nothing(
            items in proptest::collection::vec(("(/[ab]{0,2}\\*?|#[xy])", any::<bool>(), "[DE]"), 1..60), verbatim in 0usize..3,
        ) {
            let all: Vec<InvalidationRecord> = items.iter().enumerate().map(|(at, (item, is_hard, distribution))| InvalidationRecord {
                number: at as u64 + 1,
                distribution: distribution.clone(),
                matchers: vec![Matcher::parse(item).unwrap()],
                severity: if *is_hard { Severity::Hard } else { Severity::Soft },
                ..record("/")
            }).collect();
            // As if there had been enough of them for the oldest to be looked at.
            let padding = (0..VERBATIM - verbatim).map(|at| InvalidationRecord {
                number: (all.len() + at + 1) as u64, distribution: "other".into(), ..record("/x")
            });
            let long: Vec<InvalidationRecord> = all.iter().cloned().chain(padding).collect();
            let table = |records: &[InvalidationRecord]| {
                let table = crate::cache::invalidations::Invalidations::new(1000);
                records.iter().for_each(|r| table.apply(&r.distribution, &r.matchers, r.severity, InvalidationNumber(r.number)));
                table
            };
            let (before, after) = (table(&long), table(&compacted(long.clone())));
            for distribution in ["D", "E"] {
                for url in ["/", "/a", "/b", "/ab", "/ba", "/aab"] {
                    for tag in [&b"x"[..], b"y", b"z"] {
                        let seen = |table: &crate::cache::invalidations::Invalidations| table.numbers(distribution, url, tag);
                        let (before, after) = (seen(&before), seen(&after));
                        // A soft one below a hard one decides nothing.
                        prop_assert!(before.0 == after.0 && (before.1 == after.1 || before.1.max(after.1) <= before.0));
                    }
                }
            }
        }
    }
}
