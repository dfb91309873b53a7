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

use parking_lot::{Mutex, RwLock};
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
}

impl Invalidator {
    /// One without log and disk, which makes old by `table` what `memory` holds.
    pub fn new(
        site: &Site,
        table: Arc<Invalidations>,
        memory: Arc<Memory>,
        clock: Clock,
    ) -> Arc<Self> {
        Arc::new(Self {
            sweeper: Sweeper::new(memory, Arc::clone(&table)),
            table,
            clock,
            log: OnceLock::new(),
            disk: OnceLock::new(),
            staging: RwLock::new(staging_of(site)),
            unlogged: Mutex::default(),
            is_unwritten: AtomicBool::new(false),
            log_grew: Notify::new(),
            messenger: OnceLock::new(),
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

    /// Notes which distributions of a site are tried out on whose viewers, and lets `install` put
    /// the site in force. No invalidation takes effect in between.
    pub fn follow(&self, site: &Site, install: impl FnOnce()) {
        let mut staging = self.staging.write();
        *staging = staging_of(site);
        install();
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
        let record = match durability {
            Durability::Synced => {
                let log = self.log().ok_or_else(|| io::Error::other("there is no log"))?;
                let record = log.accept(record, |record| self.put_in_force(record))?;
                self.free(&record);
                record
            }
            Durability::InForce => self.hold(record),
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

    /// Makes old what a viewer's own write has changed (RFC 9111 §4.4). In force when this returns.
    pub async fn written(self: &Arc<Self>, distribution: String, matchers: Vec<Matcher>) {
        self.note(distribution, matchers, Severity::Hard).await;
    }

    /// Makes old, softly and in every tier, what is stored of a URL that is known to have changed:
    /// it is to be validated, and is all there is if the origin fails. In force when this returns.
    pub async fn outdated(self: &Arc<Self>, distribution: String, matcher: Matcher) {
        self.note(distribution, vec![matcher], Severity::Soft).await;
    }

    async fn note(
        self: &Arc<Self>,
        distribution: String,
        matchers: Vec<Matcher>,
        severity: Severity,
    ) {
        let at = self.clock.now().0;
        let record = InvalidationRecord::new(String::new(), distribution, matchers, severity, at);
        // An error is a process that ends.
        let _ = self.submit(record, Durability::InForce).await;
    }

    /// Has the parents told of everything in force; `None` where there is no way to them.
    pub fn tell_parents(&self) -> Option<oneshot::Receiver<()>> {
        self.messenger.get().map(|tell| tell(self.table.head()))
    }

    // Puts in force what holds whether it can be written or not.
    fn hold(&self, record: InvalidationRecord) -> InvalidationRecord {
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
