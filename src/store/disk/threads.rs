//! The two threads behind the disk tier: one writes what is offered, one loads, checks and tidies
//! up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::index::{Entry, Segment};
use super::queue::By;
use super::record::{Header, Identity, PIECE, UNIT};
use super::segment_list::Brief;
use super::{Disk, Job};
use crate::message::stored::Stored;

/// How often what was written is made to survive a power cut.
const SYNC: Duration = Duration::from_secs(1);
/// How often the keeper looks around.
const TICK: Duration = Duration::from_millis(100);
/// Records looked at between two pauses while dead ones are looked for.
const BATCH: u64 = 500;
/// A look for what is dead is followed by so many times its length without one.
const SWEEP_REST: u32 = 10;
/// How often a segment that is empty waits for what else waits.
const CLOSE_TRIES: u8 = 8;

/// Says whether a response may never be served again.
pub type IsDead = Box<dyn Fn(&Brief<'_>) -> bool + Send>;

/// The threads of a disk tier.
pub struct Keeper {
    disk: Arc<Disk>,
    writer: std::thread::JoinHandle<()>,
    keeper: std::thread::JoinHandle<()>,
}

impl Keeper {
    /// Starts the writer's and the keeper's thread, also where others were stopped before; fails if
    /// the system gives none.
    pub fn start(disk: Arc<Disk>, is_dead: IsDead) -> io::Result<Self> {
        disk.ending.store(false, Ordering::Relaxed);
        disk.closing.store(false, Ordering::Relaxed);
        let (writing, keeping) = (Arc::clone(&disk), Arc::clone(&disk));
        let writer = std::thread::Builder::new()
            .name("disk-write".into())
            .spawn(move || writing.write_until_told())?;
        let keeper = std::thread::Builder::new()
            .name("disk-keep".into())
            .spawn(move || keeping.keep_until_told(&is_dead))?;
        Ok(Self { disk, writer, keeper })
    }

    /// Writes what waits, syncs, and ends, whatever is offered meanwhile.
    pub fn stop(self) {
        // The keeper first: what it still writes is to be synced too.
        self.disk.ending.store(true, Ordering::Relaxed);
        let _ = self.keeper.join();
        self.disk.closing.store(true, Ordering::Relaxed);
        self.disk.news.notify_all();
        let _ = self.writer.join();
    }
}

impl Disk {
    fn write_until_told(&self) {
        let mut synced = Instant::now();
        while !self.closing.load(Ordering::Relaxed) {
            self.work_some(SYNC.saturating_sub(synced.elapsed()));
            if synced.elapsed() >= SYNC {
                synced = Instant::now();
                let done = self.sync();
                // That nothing had to be synced says nothing of the disk.
                if done.is_err() {
                    self.note_trouble(done);
                }
            }
            let mut queue = self.queue.lock();
            if queue.jobs.is_empty() && !self.closing.load(Ordering::Relaxed) {
                self.news.wait_for(&mut queue, SYNC);
            }
        }
        self.work_off_what_waits();
        let done = self.finish();
        if done.is_err() {
            self.note_trouble(done);
        }
    }

    // What waits by now, and what that put off. What viewers bring meanwhile stays in the queue,
    // which they may never let be empty.
    fn work_off_what_waits(&self) {
        for _ in 0..2 {
            self.flush_deferred();
            let waits = self.queue.lock().jobs.len();
            for _ in 0..waits {
                let Some(job) = self.queue.lock().pop() else { break };
                self.work(job);
            }
        }
    }

    /// Does everything that waits in the queue.
    pub fn work_off(&self) {
        while self.work_some(Duration::MAX) {}
    }

    // Does what waits, for so long at most; false if there was nothing.
    fn work_some(&self, patience: Duration) -> bool {
        let (began, mut did) = (Instant::now(), false);
        self.flush_deferred();
        while !did || began.elapsed() < patience {
            let Some(job) = self.queue.lock().pop() else { return did };
            did = true;
            if !self.work(job) {
                return true;
            }
        }
        did
    }

    // False if it was put off.
    fn work(&self, job: Job) -> bool {
        match job {
            Job::Put(stored, identity, octets) => {
                self.try_put(&stored, identity);
                self.queue.lock().octets -= octets;
            }
            Job::Gone(identity) => self.try_bury(identity, By::Job),
            // What made it empty may be among what waits, or be put off once more: then it stays
            // for now.
            Job::Close(id, tries) if tries < CLOSE_TRIES && !self.queue.lock().is_quiet() => {
                self.queue.lock().push(Job::Close(id, tries + 1));
                return false;
            }
            Job::Close(id, _) => {
                let is_empty = self.index.lock().segments.get(&id).is_some_and(Segment::is_empty);
                if is_empty {
                    self.mark_for_removal(id);
                }
            }
        }
        true
    }

    fn try_put(&self, stored: &Stored, identity: Identity) {
        let is_resting = self.is_resting();
        let is_written = !is_resting && {
            let done = self.put(stored);
            let is_written = done.is_ok();
            self.note_trouble(done);
            is_written
        };
        if is_resting {
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
        }
        if !is_written {
            // The older one that lies there is old all the same.
            stored.live.on_disk.store(0, Ordering::Relaxed);
            self.defer_tombstone(identity);
        }
    }

    fn try_bury(&self, identity: Identity, by: By) {
        if self.is_resting() {
            return self.defer_tombstone(identity);
        }
        let done = self.write_tombstone(identity, by);
        if done.is_err() {
            self.defer_tombstone(identity);
        }
        self.note_trouble(done);
    }

    pub(super) fn defer_tombstone(&self, identity: Identity) {
        let mut queue = self.queue.lock();
        // What was said of it since is newer.
        if !queue.last.contains_key(&identity) {
            queue.defer_tombstone(identity, super::OWED_MAX);
        }
    }

    // Tombstones that could not be written before.
    fn flush_deferred(&self) {
        while !self.is_resting() {
            let Some(identity) = self.queue.lock().debt() else { return };
            // What was written since is newer than what is owed.
            if self.index.lock().get(identity).is_none() {
                self.try_bury(identity, By::Job);
            }
        }
    }

    /// The same for the last time, however the disk has been of late. False if some are left.
    pub(super) fn pay_last_debts(&self) -> bool {
        while let Some(identity) = { self.queue.lock().debt() } {
            if self.index.lock().get(identity).is_none()
                && self.write_tombstone(identity, By::Job).is_err()
            {
                self.defer_tombstone(identity);
                return false;
            }
        }
        true
    }

    // A disk that fails is left alone for a while, and said so once.
    pub(super) fn note_trouble(&self, done: io::Result<()>) {
        let mut resting = self.resting.lock();
        match done {
            Ok(()) => {
                if resting.is_some_and(|since| since.elapsed() >= super::REST) {
                    tracing::info!("the disk store writes again");
                    *resting = None;
                }
            }
            Err(error) => {
                self.tally.write_errors.fetch_add(1, Ordering::Relaxed);
                if resting.is_none() {
                    tracing::error!(%error, "the disk store cannot be written; viewers are served without it until it can");
                }
                *resting = Some(Instant::now());
            }
        }
    }

    fn keep_until_told(&self, is_dead: &IsDead) {
        let began = Instant::now();
        self.load();
        let done = self.shrink();
        if done.is_err() {
            self.note_trouble(done);
        }
        let stats = self.stats();
        tracing::info!(
            objects = stats.objects,
            bytes = stats.bytes,
            millis = began.elapsed().as_millis() as u64,
            "the disk store is loaded"
        );
        let (mut round, mut debt): (Vec<u32>, u64) = (Vec::new(), 0);
        let mut rested = Instant::now();
        while !self.ending.load(Ordering::Relaxed) {
            std::thread::park_timeout(TICK);
            if Instant::now() >= rested && self.sweep.swap(false, Ordering::Relaxed) {
                let began = Instant::now();
                self.sweep_dead(is_dead);
                rested = Instant::now() + began.elapsed() * SWEEP_REST;
            }
            // A segment is read in one go; the ticks after it make up for that.
            let allowed = self.settings.scrub / 10;
            debt = debt.saturating_sub(allowed);
            if allowed > 0 && debt == 0 {
                debt = self.scrub_next(&mut round, is_dead);
            }
        }
    }

    /// Looks through everything for what may never be served again, and gives its room back.
    pub fn sweep_dead(&self, is_dead: &IsDead) {
        let ids: Vec<u32> = self.index.lock().order.iter().copied().collect();
        let mut looked = 0;
        for id in ids {
            if self.ending.load(Ordering::Relaxed) {
                return;
            }
            let mut wanted = |brief: &Brief<'_>| {
                looked += 1;
                if looked % BATCH == 0 {
                    std::thread::yield_now();
                }
                is_dead(brief)
            };
            self.visit_segment(id, &mut wanted, &mut |entry, _| self.drop_dead(entry));
            self.compact_if_sparse(id);
        }
    }

    /// Checks the next segment of a round, and begins another round after the last; gives the
    /// octets it read.
    pub fn scrub_next(&self, round: &mut Vec<u32>, is_dead: &IsDead) -> u64 {
        if round.is_empty() {
            *round = self.index.lock().order.iter().copied().collect();
        }
        round.pop().map_or(0, |id| self.scrub(id, is_dead))
    }

    /// Checks every record of a segment; gives the octets it read.
    pub fn scrub(&self, id: u32, is_dead: &IsDead) -> u64 {
        let mut read = 0;
        for line in &self.lines(id).unwrap_or_default() {
            let Some(entry) = self.index.lock().at(id, line) else { continue };
            if self.ending.load(Ordering::Relaxed) {
                return read;
            }
            match self.check(&entry) {
                Ok(Some((header, stored)))
                    if is_dead(&Brief::of(entry.at, header.body, &stored)) =>
                {
                    self.drop_dead(&entry)
                }
                Ok(Some(_)) => {}
                Ok(None) => self.is_bad(&entry, &io::ErrorKind::InvalidData.into()),
                Err(error) => self.is_bad(&entry, &error),
            }
            read += u64::from(entry.len) * UNIT;
        }
        self.tally.scrubbed_bytes.fetch_add(read, Ordering::Relaxed);
        self.compact_if_sparse(id);
        read
    }

    /// Reads a record through; `None` if it is not what was written.
    pub fn check(&self, entry: &Entry) -> io::Result<Option<(Header, Stored)>> {
        let Some((header, stored)) = self.see(entry)? else { return Ok(None) };
        if header.body > 0 {
            let (file, at) = (self.file(entry.segment)?, u64::from(entry.at) * UNIT);
            let Some(crcs) = super::read::table(&*file, at, &header)? else { return Ok(None) };
            let stride = PIECE as u64 + header.overhead();
            let end = at + header.table_at();
            let mut piece = vec![0; stride as usize];
            for (number, crc) in crcs.iter().enumerate() {
                let from = at + header.body_at() + number as u64 * stride;
                piece.resize((end - from).min(stride) as usize, 0);
                file.read_at(&mut piece, from)?;
                if crc32fast::hash(&piece) != *crc {
                    return Ok(None);
                }
            }
        }
        Ok(Some((header, stored)))
    }

    // As `drop_entry`, with the tombstone written by this thread: there may be many of them.
    fn drop_dead(&self, entry: &Entry) {
        let forgotten = self.index.lock().forget_for_good(entry);
        let Some((emptied, is_last)) = forgotten else { return };
        if !is_last {
            self.try_bury(entry.identity, By::Keeper);
        }
        emptied.into_iter().for_each(|id| self.mark_for_removal(id));
    }

    fn compact_if_sparse(&self, id: u32) {
        let is_sparse = self.index.lock().is_sparse(id);
        if is_sparse {
            let done = self.compact(id);
            self.note_trouble(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::super::tests::{in_a_folder, stored};
    use super::*;

    // A process that hands its place over holds every write of viewers until it has stopped.
    #[test]
    fn the_writer_ends_while_more_is_offered_than_it_syncs() {
        let (_folder, disk) = in_a_folder();
        let keeper = Keeper::start(Arc::clone(&disk), Box::new(|_: &Brief<'_>| false)).unwrap();
        let is_over = AtomicBool::new(false);
        let (done, ended) = std::sync::mpsc::channel();
        let ended = std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut n = 0;
                while !is_over.load(Ordering::Relaxed) {
                    n += 1;
                    disk.offer(&stored(n, n, 100));
                    std::thread::park_timeout(Duration::from_micros(50));
                }
            });
            scope.spawn(move || {
                keeper.stop();
                done.send(()).unwrap();
            });
            let ended = ended.recv_timeout(Duration::from_secs(30));
            is_over.store(true, Ordering::Relaxed);
            ended
        });
        ended.expect("the writer ends");
        // What came too late is written once somebody writes again.
        let keeper = Keeper::start(Arc::clone(&disk), Box::new(|_: &Brief<'_>| false)).unwrap();
        keeper.stop();
        assert!(disk.queue.lock().jobs.is_empty());
    }
}
