//! The two threads behind the disk tier: one writes what is offered, one loads, checks and tidies up.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::record::{Header, PIECE, UNIT};
use super::{Disk, Job, index::Entry, record};
use crate::exchange::stored::Stored;

/// How often what was written is made to survive a power cut.
const SYNC: Duration = Duration::from_secs(1);
/// How often the keeper looks around.
const TICK: Duration = Duration::from_millis(100);
/// Records looked at between two breaths while dead ones are looked for.
const BREATH: u64 = 500;

/// Says whether a response may never be served again.
pub type IsDead = Box<dyn Fn(&Stored) -> bool + Send>;

/// The threads of a disk tier.
pub struct Keeper {
    disk: Arc<Disk>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Keeper {
    /// Starts them.
    pub fn start(disk: Arc<Disk>, is_dead: IsDead) -> io::Result<Self> {
        let (writing, keeping) = (Arc::clone(&disk), Arc::clone(&disk));
        let threads = vec![
            std::thread::Builder::new().name("disk-write".into()).spawn(move || writing.write_until_told())?,
            std::thread::Builder::new().name("disk-keep".into()).spawn(move || keeping.keep_until_told(&is_dead))?,
        ];
        Ok(Self { disk, threads })
    }

    /// Writes what waits, syncs, and ends.
    pub fn stop(self) {
        self.disk.ending.store(true, Ordering::Relaxed);
        self.disk.news.notify_all();
        self.threads.into_iter().for_each(|thread| drop(thread.join()));
    }
}

impl Disk {
    fn write_until_told(&self) {
        let mut synced = Instant::now();
        loop {
            let is_ending = self.ending.load(Ordering::Relaxed);
            let did = self.work_off();
            if synced.elapsed() >= SYNC || is_ending {
                synced = Instant::now();
                let done = if is_ending && !did { self.finish() } else { self.sync() };
                // That nothing had to be synced says nothing of the disk.
                if done.is_err() {
                    self.note_trouble(done);
                }
                if is_ending && !did {
                    return;
                }
            }
            let mut queue = self.queue.lock();
            if queue.jobs.is_empty() && !self.ending.load(Ordering::Relaxed) {
                self.news.wait_for(&mut queue, SYNC);
            }
        }
    }

    /// Does what waits in the queue; false if there was nothing.
    pub fn work_off(&self) -> bool {
        let mut did = false;
        loop {
            // One at a time: what waits is found in the queue's account until it is written.
            let Some(job) = self.queue.lock().jobs.pop_front() else { return did };
            did = true;
            match job {
                Job::Put(stored, octets) => {
                    if self.is_resting() {
                        self.tally.refused.fetch_add(1, Ordering::Relaxed);
                    } else {
                        let done = self.put(&stored);
                        self.note_trouble(done);
                    }
                    self.queue.lock().octets -= octets;
                }
                Job::Gone(identity) => {
                    if !self.is_resting() {
                        let done = self.bury(identity);
                        self.note_trouble(done);
                    }
                }
                Job::Close(id) => {
                    let is_empty =
                        self.index.lock().segments.get(&id).is_some_and(|segment| segment.entries == 0 && segment.tombstones == 0);
                    if is_empty {
                        self.doom(id);
                    }
                }
            }
        }
    }

    // A disk that fails is left alone for a while, and said so once.
    fn note_trouble(&self, done: io::Result<()>) {
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
        let stats = self.stats();
        tracing::info!(
            objects = stats.objects,
            bytes = stats.bytes,
            millis = began.elapsed().as_millis() as u64,
            "the disk store is loaded"
        );
        let (mut round, mut debt): (Vec<u32>, u64) = (Vec::new(), 0);
        while !self.ending.load(Ordering::Relaxed) {
            std::thread::park_timeout(TICK);
            if self.sweep.swap(false, Ordering::Relaxed) {
                self.sweep_dead(is_dead);
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
            for line in &self.lines(id).unwrap_or_default() {
                let Some(entry) = self.index.lock().at(id, line) else { continue };
                if let Ok(Some(seen)) = self.see(&entry)
                    && is_dead(&seen.stored)
                {
                    self.drop_entry(&entry);
                }
                looked += 1;
                if looked % BREATH == 0 {
                    if self.ending.load(Ordering::Relaxed) {
                        return;
                    }
                    std::thread::yield_now();
                }
            }
            self.compact_if_sparse(id);
        }
    }

    /// Checks the next segment of a round, and begins another round after the last; gives the octets it read.
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
                Ok(Some(stored)) if is_dead(&stored) => self.drop_entry(&entry),
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
    pub fn check(&self, entry: &Entry) -> io::Result<Option<Stored>> {
        let Some(seen) = self.see(entry)? else { return Ok(None) };
        let Header { body, .. } = seen.header;
        if body > 0 {
            let (file, at) = (self.file(entry.segment)?, u64::from(entry.at) * UNIT);
            let mut table = vec![0; (seen.header.pieces() * 4 + 4) as usize];
            file.read_at(&mut table, at + seen.header.table_at())?;
            let Some(crcs) = record::decode_table(&table, seen.header.pieces()) else { return Ok(None) };
            let stride = PIECE as u64 + seen.header.overhead();
            let end = at + seen.header.table_at();
            let mut piece = vec![0; stride as usize];
            for (number, crc) in crcs.iter().enumerate() {
                let from = at + seen.header.body_at() + number as u64 * stride;
                piece.resize((end - from).min(stride) as usize, 0);
                file.read_at(&mut piece, from)?;
                if crc32fast::hash(&piece) != *crc {
                    return Ok(None);
                }
            }
        }
        Ok(Some(seen.stored))
    }

    fn compact_if_sparse(&self, id: u32) {
        let is_sparse = self.index.lock().is_sparse(id);
        if is_sparse {
            let done = self.compact(id);
            self.note_trouble(done);
        }
    }
}
