//! The hall: the two sentences, and what has happened so far.
//!
//! An `Edge` holds what every core shares: the running site, the store, the invalidations, the
//! collapses. A `Core` is one thread's view of it, with the connections to origins that live on
//! that thread.

pub mod collapse;
pub mod exchange;
pub mod fetch;
pub mod fill;
mod fill_place;
pub mod hit;
mod hooks;
pub mod hops;
mod purge;
mod resume;
pub mod serve;
pub mod slices;
mod stop;
pub mod tiers;
mod unanswered;

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::access;
use crate::body::Arena;
use crate::cache::invalidations::{Invalidations, Matcher, Severity};
use crate::clock::Clock;
use crate::distribution::site::Site;
use crate::invalidation::chain::Incarnation;
use crate::invalidation::log::{InvalidationLog, InvalidationRecord};
use crate::message::key::InvalidationNumber;
use crate::origin::Upstream;
use crate::record::metrics::SiteCounts;
use crate::region::forward::Passages;
use crate::region::standings::Standings;
use crate::region::{self, Region};
use crate::semantics::time::Timestamp;
use crate::store::{Disk, Memory};
use collapse::CollapseTable;

/// A site in force, and the state of what is in it. A reload carries that on: of a behavior by
/// distribution id and pattern, of a parent by its URL. What left with the site before is dropped.
pub struct Running {
    pub site: Arc<Site>,
    pub counts: Arc<SiteCounts>,
    /// The regional tier's own state: which parents are down.
    pub region: Option<Arc<Region>>,
    /// Signatures that were found good, whatever site was in force; the key is a part of what is
    /// remembered.
    pub signatures: Arc<crate::crypto::memory::VerifiedSignatures>,
    /// Who asked how often of late.
    pub rates: access::rate::Buckets,
}

/// Sends the parents what the log has up to a number; the receiver hears when they have it, or
/// cannot be reached.
pub type Messenger = Box<dyn Fn(InvalidationNumber) -> oneshot::Receiver<()> + Send + Sync>;

/// What all cores share.
pub struct Edge {
    running: ArcSwap<Running>,
    /// Held while another site is made out of the one in force, so that none is made out of one
    /// that is replaced meanwhile.
    installing: Mutex<()>,
    pub store: Memory,
    /// Where large bodies lie; `None` where the system gives no such memory.
    pub arena: Option<Arc<Arena>>,
    pub invalidations: Invalidations,
    pub collapses: CollapseTable,
    pub clock: Clock,
    /// This node's id, in CDN-Loop.
    pub node: String,
    fills: AtomicUsize,
    pub tally: Tally,
    log: OnceLock<Arc<InvalidationLog>>,
    disk: OnceLock<Arc<Disk>>,
    turns: tiers::Turns,
    /// Somebody should look at the log: there is something for the parents.
    pub log_grew: tokio::sync::Notify,
    messenger: OnceLock<Messenger>,
    sweeper: OnceLock<Box<dyn Fn() + Send + Sync>>,
    /// How far the logs of trusted edges are in effect here.
    pub applied: Passages,
    /// Where our own parents stand, and to whom.
    pub standings: Standings,
    /// What is counted of them.
    pub parent_counts: Arc<region::Counts>,
}

/// Events counted for all behaviors together.
#[derive(Default)]
pub struct Tally {
    pub fills: AtomicU64,
    pub fills_refused: AtomicU64,
    pub fills_broken: AtomicU64,
    pub followers: AtomicU64,
    pub background_refreshes: AtomicU64,
    pub not_stored_full: AtomicU64,
    pub bodies_resumed: AtomicU64,
}

impl Tally {
    /// Raises one of them.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Edge {
    /// An edge that has seen nothing yet.
    pub fn new(site: Arc<Site>, node: String, clock: Clock) -> Arc<Self> {
        let limits = &site.limits;
        let counts = SiteCounts::for_site(&site, site.listen.workers, None);
        let rates = access::rate::Buckets::for_site(&site, None);
        let standings = Standings::default();
        let region = Region::for_site(&site, &format!("{node}/{}", standings.incarnation()), None);
        Arc::new(Self {
            store: Memory::new(site.store.memory, limits.variants),
            arena: arena(site.store.memory),
            invalidations: Invalidations::new(limits.invalidations),
            collapses: CollapseTable::new(limits.followers, limits.pass_marks),
            clock,
            node,
            fills: AtomicUsize::new(0),
            tally: Tally::default(),
            log: OnceLock::new(),
            disk: OnceLock::new(),
            turns: tiers::Turns::default(),
            log_grew: tokio::sync::Notify::new(),
            messenger: OnceLock::new(),
            sweeper: OnceLock::new(),
            applied: Passages::default(),
            standings,
            parent_counts: Arc::default(),
            running: ArcSwap::from_pointee(Running {
                site,
                counts,
                region,
                signatures: Arc::default(),
                rates,
            }),
            installing: Mutex::default(),
        })
    }

    /// Gives the edge the log that its invalidations are written to.
    pub fn keep_log(&self, log: Arc<InvalidationLog>) {
        let _ = self.log.set(log);
    }

    /// Gives the edge a way to its parents, for who must know that they have heard.
    pub fn keep_messenger(&self, messenger: Messenger) {
        let _ = self.messenger.set(messenger);
    }

    /// Gives the edge what frees the memory of invalidated responses; it returns at once.
    pub fn keep_sweeper(&self, sweep: Box<dyn Fn() + Send + Sync>) {
        let _ = self.sweeper.set(sweep);
    }

    // Frees what a hard invalidation made dead, in memory and on the disk, in the background.
    fn sweep(&self) {
        if let Some(disk) = self.disk() {
            disk.sweep_soon();
        }
        if let Some(sweep) = self.sweeper.get() {
            sweep();
        }
    }

    /// Has the parents told of everything in force; `None` where there is no way to them.
    pub fn tell_parents(&self) -> Option<oneshot::Receiver<()>> {
        self.messenger.get().map(|tell| tell(self.invalidations.head()))
    }

    /// Which life of the log's holder this is.
    pub fn incarnation(&self) -> Incarnation {
        self.standings.incarnation()
    }

    /// Takes another one, which no parent knows.
    pub fn reincarnate(&self) {
        self.standings.reincarnate();
        // The requests to parents name it.
        let _turn = self.installing.lock();
        self.replace(Arc::clone(&self.running().site));
    }

    /// Gives the edge a disk tier.
    pub fn keep_disk(self: &Arc<Self>, disk: Arc<Disk>) {
        let edge = Arc::downgrade(self);
        disk.ask_memory(Box::new(move |versions| {
            edge.upgrade().map_or_else(HashSet::new, |edge| edge.in_use(versions))
        }));
        let _ = self.disk.set(disk);
    }

    // What of the disk's is used, where the disk does not see it.
    fn in_use(&self, versions: &HashSet<u64>) -> HashSet<u64> {
        let mut found = HashSet::new();
        self.store.visit(|stored| {
            let version = stored.live.on_disk.load(Ordering::Relaxed);
            if stored.live.uses.load(Ordering::Relaxed) > 0 && versions.contains(&version) {
                found.insert(version);
            }
        });
        found
    }

    /// What the gate has to know beside a request.
    pub fn around<'k>(&'k self, running: &'k Running, now: Timestamp) -> access::AdmitContext<'k> {
        access::AdmitContext {
            node: &self.node,
            signatures: &running.signatures,
            rates: &running.rates,
            now,
        }
    }

    /// The disk tier, where there is one.
    pub fn disk(&self) -> Option<&Arc<Disk>> {
        self.disk.get()
    }

    /// Makes an invalidation of the log take effect, in both tiers.
    pub fn apply(&self, record: &InvalidationRecord) {
        let number = InvalidationNumber(record.number);
        // Before it takes effect: a store that outlives the log must not be trusted.
        if let Some(disk) = self.disk() {
            disk.note_log(number);
        }
        self.invalidations.apply(&record.distribution, &record.matchers, record.severity, number);
        // What is said of a primary distribution holds for the one that is tried out on its viewers
        // too: they are shown either.
        let running = self.running_cell().load();
        let primary =
            running.site.distributions.iter().find(|known| known.id == record.distribution);
        if let Some(staging) = primary.and_then(|primary| primary.staging.as_ref()) {
            let other = &running.site.distributions[staging.distribution].id;
            self.invalidations.apply(other, &record.matchers, record.severity, number);
        }
    }

    /// Writes an invalidation down and puts it in force; the parents hear of it soon.
    pub async fn accept(
        self: &Arc<Self>,
        record: InvalidationRecord,
    ) -> std::io::Result<InvalidationRecord> {
        let log =
            self.log.get().cloned().ok_or_else(|| std::io::Error::other("there is no log"))?;
        let edge = Arc::clone(self);
        let work = tokio::task::spawn_blocking(move || {
            let record = log.accept(record, |record| edge.apply(record))?;
            if record.severity == Severity::Hard {
                edge.sweep();
            }
            edge.log_grew.notify_one();
            Ok(record)
        });
        work.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    /// Puts into force what a viewer's own write makes old (RFC 9111 §4.4). In effect when this
    /// returns.
    pub async fn written(self: &Arc<Self>, distribution: String, matchers: Vec<Matcher>) {
        self.note(distribution, matchers, Severity::Hard).await;
    }

    /// Puts into force that what is stored of a URL is known to be old, here and in every tier: it
    /// is to be validated, and is all there is if the origin fails. In effect when this returns.
    pub async fn outdated(self: &Arc<Self>, distribution: String, matcher: Matcher) {
        self.note(distribution, vec![matcher], Severity::Soft).await;
    }

    async fn note(
        self: &Arc<Self>,
        distribution: String,
        matchers: Vec<Matcher>,
        severity: Severity,
    ) {
        let (edge, log) = (Arc::clone(self), self.log.get().cloned());
        let apply = move || {
            let at = edge.clock.now().0;
            let record =
                InvalidationRecord::new(String::new(), distribution, matchers, severity, at);
            let in_force = |record: &InvalidationRecord| edge.apply(record);
            // What lies on the disk must not come back after a power cut.
            let noted = log.map(|log| match edge.disk() {
                Some(_) => log.accept(record.clone(), in_force),
                None => log.note(record.clone(), in_force),
            });
            if !matches!(noted, Some(Ok(_))) {
                // Without a log, or with a broken one, it still holds for as long as we live.
                in_force(&InvalidationRecord { number: edge.invalidations.next().0, ..record });
            }
            edge.log_grew.notify_one();
        };
        if self.log.get().is_some() {
            let _ = tokio::task::spawn_blocking(apply).await;
        } else {
            apply();
        }
    }

    /// The site in force.
    pub fn running(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// The cell of the site in force, for a core's cached pointer.
    pub const fn running_cell(&self) -> &ArcSwap<Running> {
        &self.running
    }

    /// Puts another site in force. Exchanges under way keep the one they began with, and share the
    /// state of what is in both.
    pub fn install(&self, site: Arc<Site>) {
        let _turn = self.installing.lock();
        self.replace(site);
    }

    fn replace(&self, site: Arc<Site>) {
        let before = self.running.load_full();
        let counts = SiteCounts::for_site(&site, before.site.listen.workers, Some(&before.counts));
        let region = Region::for_site(
            &site,
            &format!("{}/{}", self.node, self.incarnation()),
            before.region.as_ref(),
        );
        let rates = access::rate::Buckets::for_site(&site, Some(&before.rates));
        let signatures = Arc::clone(&before.signatures);
        self.running.store(Arc::new(Running { site, counts, region, signatures, rates }));
    }

    /// Fills under way.
    pub fn fills_now(&self) -> usize {
        self.fills.load(Ordering::Relaxed)
    }
}

// Twice the store's octets of address space, so that ranges of the right length are found; memory
// is taken for what is written alone.
fn arena(store: u64) -> Option<Arc<Arena>> {
    Arena::new(store.saturating_mul(2))
        .inspect_err(|error| tracing::warn!(%error, "large bodies are sent from the heap"))
        .ok()
}

/// One core's view.
pub struct Proxy {
    /// Which one; its counters have no other writer.
    pub index: usize,
    pub edge: Arc<Edge>,
    pub upstream: Arc<dyn Upstream>,
}
