//! The one way by which anything that is stored is made old: a record is written down, put in
//! force in every tier, and what it makes dead gives its room back.
//!
//! PURGE, both admin APIs, trusted edges, distributions that come back, viewers' writes and copies
//! that are known to be outdated all come through `accept`; they differ in how durable a record
//! has to be.

use std::collections::HashMap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, RwLock, RwLockWriteGuard};
use tokio::sync::{Notify, oneshot};

use super::log::{InvalidationLog, InvalidationRecord};
use super::sweep::Sweeper;
use crate::cache::invalidations::{Invalidations, Matcher, Severity};
use crate::clock::Clock;
use crate::distribution::site::{Distribution, Site};
use crate::message::key::InvalidationNumber;
use crate::store::{Disk, Memory};

/// How durable a record has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Written and synced before it is in force; an error means that nothing happened. A hard one
    /// has what it covers removed from memory and disk, in the background.
    Synced,
    /// In force for as long as the process lives, whatever becomes of the log: for what follows
    /// from a viewer's own request. Never an error. Synced only where a disk tier could bring back
    /// what it covers, and nothing is looked through for it (src/DECISIONS.md, "A viewer's write
    /// frees no room by itself").
    InForce,
}

/// Sends the parents what the log has up to a number; the receiver hears when they have it, or
/// cannot be reached.
pub type Messenger = Box<dyn Fn(InvalidationNumber) -> oneshot::Receiver<()> + Send + Sync>;

/// Takes what is invalidated here to the process that has taken this one's place, and gives it back
/// with its number.
pub type Relay =
    Box<dyn Fn(InvalidationRecord, Durability) -> io::Result<InvalidationRecord> + Send + Sync>;

/// Nothing is invalidated here while this is held: whatever comes waits. With a relay in it, what
/// waits and what comes later goes there.
pub type Held<'i> = RwLockWriteGuard<'i, Option<Relay>>;

/// Takes invalidations, for every tier that this process has.
pub struct Invalidator {
    table: Arc<Invalidations>,
    clock: Clock,
    log: OnceLock<Arc<InvalidationLog>>,
    disk: OnceLock<Arc<Disk>>,
    /// Frees memory in the background.
    pub sweeper: Arc<Sweeper>,
    /// Of each primary distribution the one that is tried out on its viewers, by id.
    staging: RwLock<HashMap<String, String>>,
    /// Held while a number is given without a log.
    unlogged: Mutex<()>,
    /// The log could not be written at the last attempt, and that was said.
    is_unwritten: AtomicBool,
    /// Notified after each record: there is something for the parents.
    pub log_grew: Notify,
    messenger: OnceLock<Messenger>,
    /// Told of each invalidation that was not passed on to this process, before it takes effect.
    publisher: OnceLock<Publisher>,
    /// Another process keeps the log now.
    relay: RwLock<Option<Relay>>,
}

/// Hears of what is invalidated here first, in the order of the numbers. Must not invalidate
/// anything itself.
pub type Publisher = Box<dyn Fn(&InvalidationRecord) + Send + Sync>;

impl Invalidator {
    /// One without log and disk, which makes old by `table` what `memory` holds.
    pub fn new(table: Arc<Invalidations>, memory: Arc<Memory>, clock: Clock) -> Arc<Self> {
        Arc::new(Self {
            sweeper: Sweeper::new(memory, Arc::clone(&table)),
            table,
            clock,
            log: OnceLock::new(),
            disk: OnceLock::new(),
            staging: RwLock::default(),
            unlogged: Mutex::default(),
            is_unwritten: AtomicBool::new(false),
            log_grew: Notify::new(),
            messenger: OnceLock::new(),
            publisher: OnceLock::new(),
            relay: RwLock::default(),
        })
    }

    /// Puts in force what a log has, in order, and writes to it from now on. Before the disk tier
    /// is opened: what the log makes old must not be found there.
    pub fn keep_log(&self, log: Arc<InvalidationLog>, records: &[InvalidationRecord]) {
        records.iter().for_each(|record| self.put_in_force(record));
        let _ = self.log.set(log);
    }

    /// Tells a disk tier of each number from now on.
    pub fn keep_disk(&self, disk: Arc<Disk>) {
        let _ = self.disk.set(disk);
    }

    /// Gives a way to the parents, for what must know that they have heard.
    pub fn keep_messenger(&self, messenger: Messenger) {
        let _ = self.messenger.set(messenger);
    }

    /// Tells a publisher of each invalidation that comes here first, from now on.
    pub fn keep_publisher(&self, publisher: Publisher) {
        let _ = self.publisher.set(publisher);
    }

    /// Has whatever is invalidated wait, once what is under way has been written. Waits for that.
    pub fn hold(&self) -> Held<'_> {
        self.relay.write()
    }

    /// Puts in force what another process has written to the log, while whatever comes is held.
    pub fn catch_up(&self, _held: &mut Held<'_>) -> io::Result<()> {
        self.log().map_or(Ok(()), |log| log.catch_up(|record| self.put_in_force(record)))
    }

    /// Notes which distributions of a site are tried out on which others' viewers, and lets
    /// `install` put the site in force. No invalidation takes effect in between.
    pub fn follow(&self, site: &Site, install: impl FnOnce()) {
        // Made and dropped while nobody is kept waiting.
        let mut next = staging_of(site);
        let mut staging = self.staging.write();
        std::mem::swap(&mut *staging, &mut next);
        install();
        drop(staging);
    }

    /// The log, where there is one.
    pub fn log(&self) -> Option<&Arc<InvalidationLog>> {
        self.log.get()
    }

    /// The disk tier, where there is one.
    pub fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.get()
    }

    /// Takes an invalidation. It has its number and is in force when this returns; the parents hear
    /// of it soon. May wait for the disk, so a core's own thread calls `submit`.
    pub fn accept(
        &self,
        record: InvalidationRecord,
        durability: Durability,
    ) -> io::Result<InvalidationRecord> {
        let relay = self.relay.read();
        if let Some(relay) = &*relay {
            return relay(record, durability);
        }
        let record = match durability {
            Durability::Synced => {
                let log = self.log().ok_or_else(|| io::Error::other("there is no log"))?;
                let record = log.accept(record, |record| self.put_in_force(record))?;
                self.free(&record);
                record
            }
            Durability::InForce => self.put_in_force_anyway(record),
        };
        self.log_grew.notify_one();
        Ok(record)
    }

    /// The same, with the file work on a blocking thread.
    pub async fn submit(
        self: &Arc<Self>,
        record: InvalidationRecord,
        durability: Durability,
    ) -> io::Result<InvalidationRecord> {
        if self.log().is_none() {
            return self.accept(record, durability);
        }
        let this = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || this.accept(record, durability));
        work.await.unwrap_or_else(|error| Err(io::Error::other(error)))
    }

    /// Makes old what a viewer's own write has changed (RFC 9111 §4.4). In force when this returns;
    /// gives its record, unless the process is about to end.
    pub async fn written(
        self: &Arc<Self>,
        distribution: String,
        matchers: Vec<Matcher>,
    ) -> Option<InvalidationRecord> {
        self.note(distribution, matchers, Severity::Hard).await
    }

    /// Makes old, softly and in every tier, what is stored of a URL that is known to have changed:
    /// it is to be validated, and is all there is if the origin fails. In force when this returns.
    pub async fn outdated(self: &Arc<Self>, distribution: String, matcher: Matcher) {
        let _ = self.note(distribution, vec![matcher], Severity::Soft).await;
    }

    async fn note(
        self: &Arc<Self>,
        distribution: String,
        matchers: Vec<Matcher>,
        severity: Severity,
    ) -> Option<InvalidationRecord> {
        let at = self.clock.now().0;
        let record = InvalidationRecord::new(String::new(), distribution, matchers, severity, at);
        // An error is a process that ends.
        self.submit(record, Durability::InForce).await.ok()
    }

    /// Has the parents told of everything in force; `None` where there is no way to them.
    pub fn tell_parents(&self) -> Option<oneshot::Receiver<()>> {
        self.messenger.get().map(|tell| tell(self.table.head()))
    }

    // Puts in force what holds whether it can be written or not.
    fn put_in_force_anyway(&self, record: InvalidationRecord) -> InvalidationRecord {
        let in_force = |record: &InvalidationRecord| self.put_in_force(record);
        let Some(log) = self.log() else {
            let _turn = self.unlogged.lock();
            let record = InvalidationRecord { number: self.table.next().0, ..record };
            in_force(&record);
            return record;
        };
        let written = match self.disk() {
            // What lies on the disk must not come back after a power cut.
            Some(_) => log.accept(record.clone(), in_force),
            None => log.note(record.clone(), in_force),
        };
        // Said once, however many come while it lasts.
        if let Err(error) = &written
            && !self.is_unwritten.swap(true, Ordering::Relaxed)
        {
            tracing::error!(%error, "what viewers' writes make old cannot be written down; it holds until the process ends");
        } else if written.is_ok() && self.is_unwritten.load(Ordering::Relaxed) {
            self.is_unwritten.store(false, Ordering::Relaxed);
        }
        written.unwrap_or_else(|_| log.number_unwritten(record, in_force))
    }

    // Makes a record that has its number take effect, in all tiers.
    fn put_in_force(&self, record: &InvalidationRecord) {
        let number = InvalidationNumber(record.number);
        // A number that is in effect is one that the publisher knows.
        if let Some(publish) = self.publisher.get()
            && record.from.is_none()
            && !record.matchers.is_empty()
        {
            publish(record);
        }
        // Before it takes effect: a store that outlives the log must not be trusted.
        if let Some(disk) = self.disk() {
            disk.note_log(number);
        }
        // What is said of a primary distribution holds for the one that is tried out on its viewers
        // too: they are shown either.
        let staging = self.staging.read();
        let primary = record.distribution.as_str();
        let (both, one) = match staging.get(primary) {
            Some(staging) => ([primary, staging.as_str()], 2),
            None => ([primary; 2], 1),
        };
        self.table.apply_to(&both[..one], &record.matchers, record.severity, number);
    }

    // Has what a hard record made dead removed from memory and disk, in the background.
    fn free(&self, record: &InvalidationRecord) {
        // Some records only say how far an edge's log is in effect.
        if record.severity != Severity::Hard || record.matchers.is_empty() {
            return;
        }
        if let Some(disk) = self.disk() {
            disk.sweep_soon();
        }
        self.sweeper.sweep_soon();
    }
}

fn staging_of(site: &Site) -> HashMap<String, String> {
    let pair = |primary: &Arc<Distribution>| {
        let staging = site.distributions.get(primary.staging.as_ref()?.distribution)?;
        Some((primary.id.clone(), staging.id.clone()))
    };
    site.distributions.iter().filter_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::frames::LogFile;
    use super::*;
    use crate::message::stored::Stored;
    use crate::semantics::time::Timestamp;
    use crate::store::disk::tests::in_a_folder;

    /// A log in memory that notes the table's head whenever it is written or synced.
    #[derive(Clone)]
    struct NotedFile {
        octets: Arc<Mutex<Vec<u8>>>,
        fails: Arc<AtomicBool>,
        table: Arc<Invalidations>,
        noted: Arc<Mutex<Vec<(&'static str, u64)>>>,
    }

    impl NotedFile {
        fn note(&self, what: &'static str) {
            self.noted.lock().push((what, self.table.head().0));
        }
    }

    impl LogFile for NotedFile {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.note("append");
            if self.fails.load(Ordering::Relaxed) {
                return Err(io::Error::other("disk full"));
            }
            self.octets.lock().extend_from_slice(bytes);
            Ok(())
        }
        fn sync(&mut self) -> io::Result<()> {
            self.note("sync");
            Ok(())
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.octets.lock().truncate(len as usize);
            Ok(())
        }
        fn read_all(&mut self) -> io::Result<Vec<u8>> {
            Ok(self.octets.lock().clone())
        }
    }

    struct Stage {
        invalidation: Arc<Invalidator>,
        table: Arc<Invalidations>,
        memory: Arc<Memory>,
        file: NotedFile,
    }

    impl Stage {
        fn without_log() -> Self {
            let table = Arc::new(Invalidations::new(1000));
            let memory = Arc::new(Memory::new(64 << 20, 16));
            let clock = Clock::starting_at(Timestamp(0));
            let (octets, fails, noted) = Default::default();
            Self {
                invalidation: Invalidator::new(Arc::clone(&table), Arc::clone(&memory), clock),
                file: NotedFile { octets, fails, table: Arc::clone(&table), noted },
                table,
                memory,
            }
        }

        fn new() -> Self {
            let stage = Self::without_log();
            let (log, records) = InvalidationLog::over(Box::new(stage.file.clone())).unwrap();
            stage.invalidation.keep_log(Arc::new(log), &records);
            stage.file.noted.lock().clear();
            stage
        }

        fn put(&self, path: &str) {
            let stored = Stored::example().with_key(format!("E\0{path}\0").as_bytes());
            let weight = stored.weight(0);
            assert!(self.memory.reserve(weight).is_ok());
            stored.live.accounted.store(weight, Ordering::Relaxed);
            assert!(self.memory.insert(&Arc::new(stored)));
        }

        /// The highest hard and soft number that covers a path.
        fn covering(&self, path: &str) -> (u64, u64) {
            self.table.numbers("E", path, b"none")
        }

        fn is_sweep_wanted(&self) -> (bool, bool) {
            let disk = self.invalidation.disk().unwrap();
            (self.invalidation.sweeper.is_wanted(), disk.is_sweep_wanted())
        }
    }

    fn record(path: &str, severity: Severity) -> InvalidationRecord {
        let matchers = vec![Matcher::Path(path.into())];
        InvalidationRecord::new("I1".into(), "E".into(), matchers, severity, 0)
    }

    #[tokio::test]
    async fn what_a_hard_one_covers_leaves_the_memory() {
        let stage = Stage::new();
        stage.invalidation.sweeper.keep_runtime(tokio::runtime::Handle::current());
        ["/a", "/b"].iter().for_each(|path| stage.put(path));
        let hard = record("/a", Severity::Hard);
        stage.invalidation.submit(hard, Durability::Synced).await.unwrap();
        let freed = async {
            while stage.memory.stats().objects != 1 {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), freed).await.expect("memory is freed");
        assert_eq!(stage.memory.find(b"E\0/a\0").len(), 0);
        assert_eq!(stage.memory.find(b"E\0/b\0").len(), 1, "nothing else leaves");
    }

    #[tokio::test]
    async fn only_a_hard_one_of_an_operator_has_anything_looked_through() {
        let stage = Stage::new();
        let (_folder, disk) = in_a_folder();
        stage.invalidation.keep_disk(disk);
        let accept = |record| stage.invalidation.accept(record, Durability::Synced).unwrap();
        accept(record("/a", Severity::Soft));
        accept(InvalidationRecord { matchers: Vec::new(), ..record("/", Severity::Hard) });
        stage.invalidation.written("E".into(), vec![Matcher::Path("/a".into())]).await;
        stage.invalidation.outdated("E".into(), Matcher::Path("/a".into())).await;
        assert_eq!((stage.is_sweep_wanted(), stage.covering("/a")), ((false, false), (3, 4)));
        accept(record("/a", Severity::Hard));
        assert_eq!(stage.is_sweep_wanted(), (true, true));
    }

    #[tokio::test]
    async fn a_broken_log_refuses_operators_and_holds_viewers_writes() {
        let stage = Stage::new();
        let hard = || record("/a", Severity::Hard);
        stage.file.fails.store(true, Ordering::Relaxed);
        assert!(stage.invalidation.accept(hard(), Durability::Synced).is_err());
        assert_eq!((stage.covering("/a"), stage.table.head().0), ((0, 0), 0), "nothing happened");
        stage.invalidation.written("E".into(), vec![Matcher::Path("/w".into())]).await;
        assert_eq!(stage.covering("/w"), (1, 0));
        // A number that was given is not given again, once the log can be written.
        stage.file.fails.store(false, Ordering::Relaxed);
        let log = stage.invalidation.log().unwrap();
        let later = stage.invalidation.accept(hard(), Durability::Synced).unwrap();
        assert!(later.number == 2 && stage.covering("/a") == (2, 0), "{later:?}");
        log.close().unwrap();
        assert!(stage.invalidation.accept(hard(), Durability::Synced).is_err());
        assert_eq!(stage.invalidation.accept(hard(), Durability::InForce).unwrap().number, 3);
    }

    #[test]
    fn what_comes_while_it_is_held_goes_to_whoever_keeps_the_log_then() {
        for is_handed_over in [false, true] {
            let stage = Stage::new();
            let invalidation = &stage.invalidation;
            let accept = || {
                let record = record("/a", Severity::Hard);
                invalidation.accept(record, Durability::Synced).unwrap().number
            };
            let mut held = invalidation.hold();
            let number = std::thread::scope(|scope| {
                let waiting = scope.spawn(accept);
                if is_handed_over {
                    *held = Some(Box::new(|record, durability| {
                        assert_eq!(durability, Durability::Synced);
                        Ok(InvalidationRecord { number: 77, ..record })
                    }));
                }
                assert_eq!(stage.table.head().0, 0, "it waits");
                drop(held);
                waiting.join().unwrap()
            });
            let want = if is_handed_over { (77, 0) } else { (1, 1) };
            assert_eq!((number, stage.table.head().0), want);
        }
    }

    #[tokio::test]
    async fn without_a_log_only_viewers_writes_are_taken() {
        let stage = Stage::without_log();
        let hard = || record("/a", Severity::Hard);
        assert!(stage.invalidation.submit(hard(), Durability::Synced).await.is_err());
        assert_eq!(stage.table.head().0, 0);
        for number in 1..=2 {
            stage.invalidation.written("E".into(), vec![Matcher::Path("/a".into())]).await;
            assert_eq!(stage.covering("/a"), (number, 0));
        }
    }

    #[test]
    fn the_log_comes_first_and_is_synced_where_something_could_come_back() {
        let stage = Stage::new();
        let accept = |durability| {
            stage.invalidation.accept(record("/a", Severity::Hard), durability).unwrap();
            std::mem::take(&mut *stage.file.noted.lock())
        };
        assert_eq!(accept(Durability::Synced), [("append", 0), ("sync", 0)]);
        assert_eq!(accept(Durability::InForce), [("append", 1)]);
        let (_folder, disk) = in_a_folder();
        stage.invalidation.keep_disk(disk);
        assert_eq!(accept(Durability::InForce), [("append", 2), ("sync", 2)]);
        assert_eq!(stage.table.head().0, 3);
    }

    #[test]
    fn many_at_once_get_each_number_once() {
        for stage in [Stage::new(), Stage::without_log()] {
            let has_log = stage.invalidation.log().is_some();
            let some = |at: usize| {
                let is_synced = has_log && at.is_multiple_of(2);
                let durability = if is_synced { Durability::Synced } else { Durability::InForce };
                let one = |_| {
                    let record = record(&format!("/{at}"), Severity::Hard);
                    stage.invalidation.accept(record, durability).unwrap().number
                };
                (0..50).map(one).collect::<Vec<u64>>()
            };
            let some = &some;
            let mut numbers: Vec<u64> = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..8).map(|at| scope.spawn(move || some(at))).collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            numbers.sort_unstable();
            assert_eq!(numbers, (1..=400).collect::<Vec<u64>>());
            assert_eq!(stage.table.head().0, 400);
        }
    }

    #[test]
    fn what_is_said_of_a_primary_holds_for_its_staging_distribution() {
        let stage = Stage::new();
        *stage.invalidation.staging.write() = HashMap::from([("E".into(), "S".into())]);
        let of = |distribution: &str| stage.table.numbers(distribution, "/a", b"none");
        stage.invalidation.accept(record("/a", Severity::Hard), Durability::Synced).unwrap();
        assert_eq!((of("E"), of("S")), ((1, 0), (1, 0)));
        let staging =
            InvalidationRecord { distribution: "S".into(), ..record("/a", Severity::Soft) };
        stage.invalidation.accept(staging, Durability::Synced).unwrap();
        assert_eq!((of("E"), of("S")), ((1, 0), (1, 2)), "and not the other way round");
    }
}
