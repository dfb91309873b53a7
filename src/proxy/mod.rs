//! Requests on their way: the hit step, serving, fills, and what all cores share for them.
//!
//! An `Edge` holds what every core shares: the running site, the store, the invalidations, the
//! collapses. A `Core` is one thread's view of it, with the connections to origins that live on
//! that thread.

pub mod collapse;
mod engines;
pub mod exchange;
pub mod fetch;
mod fetch_request;
pub mod fill;
mod fill_place;
mod finish;
mod forms;
mod functions;
mod grpc;
pub mod hit;
mod hooks;
pub mod hops;
mod lambdas;
mod pass;
mod purge;
pub mod refill;
pub mod rehearsal;
mod replace;
mod resume;
pub mod serve;
mod shared_tier;
pub mod slices;
mod speak;
mod stop;
mod storing;
mod tier_parts;
pub mod tiers;
mod traced;
mod tunnels;
mod unanswered;
mod write_through;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::access;
use crate::body::Arena;
use crate::cache::invalidations::Invalidations;
use crate::clock::Clock;
use crate::deliver::alt_svc::{AltSvc, Remembered};
use crate::distribution::identity;
use crate::distribution::site::{Distribution, Site};
use crate::fleet;
use crate::functions::values::store::Store;
use crate::functions::values::stores::Stores;
use crate::invalidation::chain::Incarnation;
use crate::invalidation::service::Invalidator;
use crate::lambda::OnDemand;
use crate::message::connection::{Connection, Version};
use crate::origin::Upstream;
use crate::origin::pool::ConnectionLimits;
use crate::record::function_tail::FunctionTail;
use crate::record::metrics::SiteCounts;
use crate::record::queue::LogQueue;
use crate::region::receive::Passages;
use crate::region::standings::Standings;
use crate::region::{self, Region};
use crate::semantics::time::Timestamp;
use crate::store::{Disk, Memory};
use crate::tier::seat::Seat;
use crate::trace::queue::SpanQueue;
use collapse::CollapseTable;

/// A site in force, and the state of what is in it. A reload carries that on: of a behavior by
/// distribution id and pattern, of a parent by its URL. What left with the site before is dropped.
pub struct Running {
    pub site: Arc<Site>,
    pub counts: Arc<SiteCounts>,
    /// The regional tier's own state: which parents are down.
    pub region: Option<Arc<Region>>,
    /// The tier that the fleet shares, and what is counted of it.
    pub tier: Option<Arc<Seat>>,
    /// Signatures that were found good, whatever site was in force; the key is a part of what is
    /// remembered.
    pub signatures: Arc<crate::crypto::memory::VerifiedSignatures>,
    /// How often each address asked of late.
    pub rates: access::rate::Buckets,
    /// The key value stores that the site names, each in its place.
    pub stores: Vec<Arc<Store>>,
    /// How the functions of the site fared of late, and what is counted of them.
    pub functions: speak::States,
}

/// What all cores share.
pub struct Edge {
    running: ArcSwap<Running>,
    /// Held while another site is made out of the one in force, so that none is made out of one
    /// that is replaced meanwhile.
    installing: Mutex<()>,
    /// Sites that were replaced and that something still goes by. Held so that the last one to let go
    /// of a whole site, which takes its time, is no core.
    retired: Mutex<Vec<Arc<Running>>>,
    pub store: Arc<Memory>,
    /// Where large bodies lie; `None` where the system gives no such memory.
    pub arena: Option<Arc<Arena>>,
    pub invalidations: Arc<Invalidations>,
    /// The one way by which anything stored is made old.
    pub invalidation: Arc<Invalidator>,
    pub collapses: CollapseTable,
    pub clock: Clock,
    /// This node's id, in CDN-Loop.
    pub node: String,
    fills: AtomicUsize,
    /// Fetches behind writes, of what was written.
    refills: AtomicUsize,
    tunnels: AtomicUsize,
    pub tally: Tally,
    turns: tiers::Turns,
    /// How far the logs of trusted edges are in effect here.
    pub applied: Passages,
    /// How many connections there are to each origin, over all cores, and what is counted of them.
    pub origins: Arc<ConnectionLimits>,
    /// How far our log is in effect at each of our own parents.
    pub standings: Arc<Standings>,
    /// What is counted of them.
    pub parent_counts: Arc<region::Counts>,
    /// All key value stores, those that the site does not name too.
    pub stores: Arc<Stores>,
    /// This process as a member of a fleet, where it is one.
    pub fleet: OnceLock<Arc<fleet::node::Node>>,
    /// Where the lines go that code at the edge writes; without one they go nowhere.
    pub function_log: OnceLock<Arc<LogQueue>>,
    /// Lambda@Edge functions and their workers.
    pub lambdas: OnceLock<OnDemand>,
    /// The last of these lines.
    pub function_tail: FunctionTail,
    /// Spans that wait for the collector.
    pub spans: Arc<SpanQueue>,
    /// UDP is bound wherever HTTPS is: viewers may be told of HTTP/3.
    pub speaks_quic: AtomicBool,
    /// What viewers may remember of HTTP/3, and whether some of them have to be told otherwise.
    remembered: ArcSwap<Remembered>,
    clears_alt_svc: AtomicBool,
    /// Milliseconds for which an idle connection over HTTP/1 stays when the edge drains: another
    /// process accepts already, and what a viewer is just sending is to be answered.
    pub idle_grace: AtomicU64,
    /// Certificates that are ordered: what a CA is to see here, and how they stand.
    pub issuing: Arc<crate::acme::Issuing>,
}

/// Replaced sites that are held at once.
const RETIRED_MAX: usize = 64;

/// Events counted for all behaviors together.
#[derive(Default)]
pub struct Tally {
    pub fills: AtomicU64,
    pub fills_refused: AtomicU64,
    pub tunnels: AtomicU64,
    pub tunnels_refused: AtomicU64,
    pub tunnel_octets: AtomicU64,
    pub forms_encrypted: AtomicU64,
    pub grpc: AtomicU64,
    pub grpc_errors: AtomicU64,
    pub fills_broken: AtomicU64,
    pub followers: AtomicU64,
    pub background_refreshes: AtomicU64,
    pub not_stored_full: AtomicU64,
    pub bodies_resumed: AtomicU64,
    pub writes_through: AtomicU64,
    pub writes_unspread: AtomicU64,
}

impl Tally {
    /// Raises one of them.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Edge {
    /// An edge that has seen nothing yet, and whose key value stores leave nothing on the disk.
    pub fn new(site: Arc<Site>, node: String, clock: Clock) -> Arc<Self> {
        Self::with_stores(site, node, clock, Stores::in_memory())
    }

    /// An edge that has seen nothing yet, with the key value stores that were kept.
    pub fn with_stores(
        site: Arc<Site>,
        node: String,
        clock: Clock,
        stores: Arc<Stores>,
    ) -> Arc<Self> {
        let limits = &site.limits;
        let counts = SiteCounts::for_site(&site, counting(&site), None);
        let rates = access::rate::Buckets::for_site(&site, None);
        let functions = speak::States::for_site(&site, None);
        let standings = Arc::<Standings>::default();
        let region = Region::for_site(&site, &format!("{node}/{}", standings.incarnation()), None);
        let tier = Seat::for_site(&site, None);
        let store = Arc::new(Memory::new(site.store.memory, limits.variants));
        let invalidations = Arc::new(Invalidations::new(limits.invalidations));
        let invalidation =
            Invalidator::new(Arc::clone(&invalidations), Arc::clone(&store), clock.clone());
        invalidation.follow(&site, || {});
        let running_stores = stores.follow(&site.stores, clock.now());
        Arc::new(Self {
            store,
            arena: arena(site.store.memory),
            invalidations,
            invalidation,
            collapses: CollapseTable::new(limits.followers, limits.pass_marks),
            clock,
            node,
            fills: AtomicUsize::new(0),
            refills: AtomicUsize::new(0),
            tunnels: AtomicUsize::new(0),
            tally: Tally::default(),
            turns: tiers::Turns::default(),
            applied: Passages::default(),
            origins: Arc::default(),
            standings,
            parent_counts: Arc::default(),
            stores,
            fleet: OnceLock::new(),
            issuing: Arc::default(),
            idle_grace: AtomicU64::new(0),
            running: ArcSwap::from_pointee(Running {
                site,
                counts,
                region,
                tier,
                signatures: Arc::default(),
                rates,
                stores: running_stores,
                functions,
            }),
            function_log: OnceLock::new(),
            lambdas: OnceLock::new(),
            function_tail: FunctionTail::default(),
            spans: Arc::default(),
            speaks_quic: AtomicBool::new(false),
            remembered: ArcSwap::default(),
            clears_alt_svc: AtomicBool::new(false),
            installing: Mutex::default(),
            retired: Mutex::default(),
        })
    }

    /// Whether an answer from the store at a moment is one of a member that may have missed an
    /// invalidation. Such answers are counted.
    fn is_unproven(&self, now: Timestamp) -> bool {
        let is_proven = self.invalidations.is_proven(now);
        if !is_proven && let Some(member) = self.fleet.get() {
            Tally::add(&member.tally.unproven);
        }
        !is_proven
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
        self.invalidation.keep_disk(disk);
    }

    // What of the disk's is used, where the disk does not see it.
    fn in_use(&self, versions: &HashSet<u64>) -> HashSet<u64> {
        let mut found = HashSet::new();
        self.store.visit(|stored| {
            let version = stored.live.on_disk.load(Ordering::Relaxed);
            if stored.flags.uses.load(Ordering::Relaxed) > 0 && versions.contains(&version) {
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
            now: self.clock.wall(now),
        }
    }

    /// The disk tier, where there is one.
    pub fn disk(&self) -> Option<&Arc<Disk>> {
        self.invalidation.disk()
    }

    /// The site in force.
    pub fn running(&self) -> Arc<Running> {
        self.running.load_full()
    }

    /// The cell of the site in force, for a core's cached pointer.
    pub const fn running_cell(&self) -> &ArcSwap<Running> {
        &self.running
    }

    /// What a viewer is told of HTTP/3: where it is, if it is spoken and UDP is bound, or that it
    /// is no more.
    #[inline]
    fn alt_svc(
        &self,
        site: &Site,
        distribution: &Distribution,
        connection: &Connection,
        version: Version,
    ) -> Option<AltSvc> {
        let is_spoken = site.listen.http3.is_on() && self.speaks_quic.load(Ordering::Relaxed);
        if is_spoken
            && let Some(told) =
                AltSvc::for_viewer(site.listen.http3, distribution, connection, version)
        {
            return Some(told);
        }
        if !self.clears_alt_svc.load(Ordering::Relaxed)
            || !self.remembered.load().is_cleared(&distribution.id, self.clock.now())
        {
            return None;
        }
        AltSvc::cleared(connection, version)
    }

    /// Takes note of what viewers may remember of HTTP/3.
    pub fn note_remembered(&self, remembered: Remembered) {
        let clears = remembered.is_any_cleared();
        self.remembered.store(Arc::new(remembered));
        self.clears_alt_svc.store(clears, Ordering::Relaxed);
    }

    /// Puts another site in force. Exchanges under way keep the one they began with, and share the
    /// state of what is in both.
    pub fn install(&self, site: Arc<Site>) {
        let _turn = self.installing.lock();
        self.replace(site);
    }

    fn replace(&self, site: Arc<Site>) {
        let before = self.running.load_full();
        // What is kept of behaviors is made out of that before only where they are others.
        let is_alike = identity::are_alike(&before.site.distributions, &site.distributions);
        let (counts, rates) = if is_alike {
            (Arc::clone(&before.counts), before.rates.clone())
        } else {
            let counts = SiteCounts::for_site(&site, counting(&before.site), Some(&before.counts));
            (counts, access::rate::Buckets::for_site(&site, Some(&before.rates)))
        };
        let region = Region::for_site(
            &site,
            &format!("{}/{}", self.node, self.incarnation()),
            before.region.as_ref(),
        );
        let tier = Seat::for_site(&site, before.tier.as_ref());
        let signatures = Arc::clone(&before.signatures);
        let stores = self.stores.follow(&site.stores, self.clock.now());
        let functions = speak::States::for_site(&site, Some(&before.functions));
        let next = Arc::new(Running {
            site: Arc::clone(&site),
            counts,
            region,
            tier,
            signatures,
            rates,
            stores,
            functions,
        });
        self.invalidation.follow(&site, || self.running.store(next));
        self.retired.lock().push(before);
        self.let_go();
        if let Some(lambdas) = self.lambdas.get() {
            lambdas.follow(&site.lambdas);
        }
        if let (Some(member), Some(tier)) = (self.fleet.get(), site.log_tier()) {
            member.follow_tier(tier);
        }
    }

    /// Drops the sites that nothing goes by any more, here and on no core. To be called now and then.
    pub fn let_go(&self) {
        let is_held =
            |one: &Arc<Running>| Arc::strong_count(one) > 1 || Arc::strong_count(&one.site) > 1;
        let gone = {
            let mut all = self.retired.lock();
            let (held, mut gone): (Vec<_>, Vec<_>) = all.drain(..).partition(is_held);
            *all = held;
            // Whoever goes by one of the oldest drops it where that ends.
            let excess = all.len().saturating_sub(RETIRED_MAX);
            gone.extend(all.drain(..excess));
            gone
        };
        drop(gone);
    }

    /// Tunnels that are open.
    pub fn tunnels_now(&self) -> usize {
        self.tunnels.load(Ordering::Relaxed)
    }

    /// Fills under way.
    pub fn fills_now(&self) -> usize {
        self.fills.load(Ordering::Relaxed)
    }
}

// The cores, and the admin thread, which fetches too.
const fn counting(site: &Site) -> usize {
    site.listen.workers + 1
}

// Twice the store's octets of address space, so that ranges of the right length are found; memory
// is taken for what is written alone.
fn arena(store: u64) -> Option<Arc<Arena>> {
    Arena::new(store.saturating_mul(2))
        .inspect_err(|error| tracing::warn!(%error, "large bodies are sent from the heap"))
        .ok()
}

impl Proxy {
    /// Makes this thread's engine ready for the functions of the site in force, so that no request
    /// waits for that. To be called now and then: it costs little where nothing has changed.
    pub fn prepare_functions(&self) {
        engines::note_core(self.index);
        engines::prepare(&self.edge.running_cell().load().site);
    }
}

/// One core's view.
pub struct Proxy {
    /// Which one; its counters have no other writer.
    pub index: usize,
    pub edge: Arc<Edge>,
    pub upstream: Arc<dyn Upstream>,
}
