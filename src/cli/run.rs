//! `foreshore run`: load, bind, serve on one runtime per core, reload on request, drain, leave.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{oneshot, watch};
use tokio::task::{AbortHandle, JoinHandle};

use super::disk_tier::DiskTier;
use super::hand_over::{HandedOver, Start, Successor, Upgrades};
use super::membership::Membership;
use super::opened::Opened;
use super::restored::Restored;
use super::take_over::{self, Predecessor};
use super::{Level, RunArgs, cores, fail, seal};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::control::call_counts::CallCounts;
use crate::control::cloudfront::follow::FleetKeeper;
use crate::control::compiling::Compiler;
use crate::control::live::LiveDesk;
use crate::control::login::Doorkeeper;
use crate::control::roster::Roster;
use crate::control::s3::S3Desk;
use crate::control::span_export::SpanExport;
use crate::control::succession::Succession;
use crate::control::{CALLERS, Control, server};
use crate::distribution::origin::OriginKind;
use crate::distribution::site::Site;
use crate::documents::shelf::Documents;
use crate::fleet::here::Here;
use crate::invalidation::chain::Incarnation;
use crate::invalidation::log::InvalidationLog;
use crate::lambda::{self, Line, OnDemand};
use crate::listen::Gauges;
use crate::listen::accept::{Bound, Speaks};
use crate::listen::places::{self, Places};
use crate::origin::Live;
use crate::origin::client::Client;
use crate::origin::connect::Resolver;
use crate::proxy::{Edge, Proxy};
use crate::record::queue::LogQueue;
use crate::region::checks::{self, CheckContext};
use crate::region::forward::{ForwardContext, Forwarder, PATIENCE};
use crate::supervisor::notify::{Event, Manager, Outcome};
use crate::supervisor::pulse::Pulse;

/// How long the cores have to write down what was under way when the edge leaves.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long answers of the admin listener may take that are on their way when another process has
/// this one's place.
const ANSWERED: Duration = Duration::from_millis(100);

pub(super) fn run(args: &RunArgs) -> ExitCode {
    start_logging(args.log_level);
    let mut before = match args.take_over.then(Predecessor::meet).transpose() {
        Ok(before) => before,
        Err(why) => return fail(&why),
    };
    match start(args, &mut before) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            if let Some(before) = &before {
                before.hear_why(&why);
            }
            fail(&why)
        }
    }
}

fn start_logging(level: Level) {
    let level = match level {
        Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
        Level::Trace => tracing::Level::TRACE,
    };
    let colour = std::io::stderr().is_terminal();
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false)
        .try_init();
}

// `before` is the process whose place this one takes, until it has it.
fn start(args: &RunArgs, before: &mut Option<Predecessor>) -> Result<(), String> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("main")
        .build()
        .map_err(|e| e.to_string())?;
    let _inside = runtime.enter();
    // From the start on: a rotation of logs ends no edge that is not ready yet, and is not missed.
    let signals = Signals::hear()?;
    let start = Start::of(args)?;
    let descriptors = raise_descriptor_limit();
    let clock = Clock::system();
    let opened = Opened::by(&args.config.config, &clock, before)?;
    let Opened { loaded: Loaded { site, documents }, manager, mut sockets, held, lock } = opened;
    let restored = Restored::of(&site, &clock)?;
    let heir_of = restored.heir_of;
    let access_log = LogQueue::start(&site).map_err(|error| error.to_string())?;
    let (succession, asked) = Succession::new();
    if let Some(before) = &mut *before {
        take_over::looks_usable(&site)?;
        // Up to here nothing is written to the data folder that the other would not read as it was.
        *succession.inherited.lock() = before.wait_for_leave()?;
    }
    let Restored { edge, log, records, tickets, .. } = &restored;
    let membership = Membership::begin(edge, &site, log, records, tickets)?;
    let (draining, drained) = watch::channel(false);
    let disk = DiskTier::start(edge, &site, log, &held)?;
    let config = args.config.config.clone();
    let sequencer = membership.sequencer.clone();
    let parts =
        Parts { config, descriptors, documents, access_log, draining, sequencer, succession };
    let control = operators_side(&site, restored, parts)?;
    let spans = begin_beside(&control, &site, &runtime, (&membership, heir_of));
    let (abandon, abandoned) = watch::channel(false);
    let copies = sockets.copies(&site).map_err(|error| error.to_string())?;
    let (quic, begin_quic) = cores::begin_http3(&control, &site, &mut sockets)?;
    let pulse = Arc::new(Pulse::new(site.listen.workers));
    let ends = (&drained, &abandoned);
    let cores = cores::start(&control, &site, &mut sockets.viewers, quic, ends, &pulse)?;
    announce(args, &site, &sockets.viewers, sockets.admin_address);
    let alive = runtime.spawn(keep_alive(Arc::clone(&manager), pulse));
    let handed = HandedOver {
        control: Arc::clone(&control),
        disk: Arc::clone(&disk),
        manager: Arc::clone(&manager),
        sockets: copies,
        lock: lock.try_clone().map_err(|error| error.to_string())?,
        start,
    };
    let upgrades = Upgrades::new(Arc::new(handed), asked);
    // Behind what may fail: the other leaves for good.
    if let Some(before) = before.take() {
        before.serve(&control, move || begin_quic.into_iter().for_each(|begin| begin()))?;
    }
    let told = until_told(Arc::clone(&control), sockets.admin, signals, &manager, upgrades);
    let outcome = runtime.block_on(told);
    let successor = outcome.as_ref().ok().and_then(Option::as_ref);
    let serving = Serving { control, manager, alive, abandon, cores, spans, membership, disk };
    serving.end(&runtime, successor);
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome.map(drop)
}

// What the operator's side has beside what the data folder said.
struct Parts {
    config: PathBuf,
    /// The limit of open files.
    descriptors: Option<u64>,
    documents: Documents,
    access_log: Arc<LogQueue>,
    draining: watch::Sender<bool>,
    sequencer: Option<Arc<Here>>,
    succession: Succession,
}

// From here on what was said of a distribution that was away holds.
fn operators_side(
    site: &Arc<Site>,
    restored: Restored,
    parts: Parts,
) -> Result<Arc<Control>, String> {
    let Restored { edge, token, log, tickets, tls, .. } = restored;
    let gauges = Arc::<Gauges>::default();
    let room = room_for_viewers(site, parts.descriptors);
    let places = Arc::new(Places::new(room, Arc::clone(&gauges)));
    // What was said of a distribution that was away until now holds before the first request.
    let roster = Roster::open(&site.data, site)?;
    roster.admit(site, &edge, || {})?;
    Ok(Arc::new(Control {
        log: Arc::clone(&log),
        config: parts.config,
        tls: Arc::new(ArcSwap::from_pointee(Some(tls))),
        tickets,
        access_log: parts.access_log,
        gauges,
        places,
        token,
        draining: parts.draining,
        started_at: edge.clock.now(),
        started_with: Arc::clone(site),
        last_reload: parking_lot::Mutex::new(None),
        forwarder: forwarder(&edge, &log),
        batches: tokio::sync::Mutex::default(),
        api_calls: CallCounts::default(),
        roster,
        documents: parking_lot::Mutex::new(parts.documents),
        compiler: Compiler::start(),
        callers: tokio::sync::Semaphore::new(CALLERS),
        s3: S3Desk::new(operators_proxy(&edge, site)),
        sequencer: parts.sequencer,
        live: LiveDesk::default(),
        doorkeeper: Doorkeeper::default(),
        succession: parts.succession,
        edge,
    }))
}

// Begins what goes on beside viewers on the admin thread; gives what sends spans.
fn begin_beside(
    control: &Arc<Control>,
    site: &Site,
    runtime: &Runtime,
    (membership, heir_of): (&Membership, Option<Incarnation>),
) -> Arc<SpanExport> {
    let _ = control.edge.function_log.set(Arc::clone(&control.access_log));
    keep_lambdas(control, site);
    keep_messenger(control, runtime.handle());
    control.edge.invalidation.sweeper.keep_runtime(runtime.handle().clone());
    // Before the first viewer: until a parent has confirmed the log, no answer of it is taken.
    runtime.block_on(control.forwarder.introduce(heir_of));
    if let Some(sequencer) = membership.sequencer.clone() {
        runtime.spawn(sequencer.keep_short());
    }
    if let Some(member) = membership.member.clone() {
        member.keep_by(FleetKeeper::of(control));
        runtime.spawn(member.run());
    }
    runtime.spawn(control.edge.clock.clone().keep_noting());
    let spans = SpanExport::new(&control.edge);
    runtime.spawn(Arc::clone(&spans).keep_sending());
    spans
}

/// What has to be ended in order.
struct Serving {
    control: Arc<Control>,
    manager: Arc<Manager>,
    alive: JoinHandle<()>,
    abandon: watch::Sender<bool>,
    cores: Vec<std::thread::JoinHandle<()>>,
    spans: Arc<SpanExport>,
    membership: Membership,
    disk: Arc<DiskTier>,
}

impl Serving {
    // `successor` is the process that has this one's place, if one has.
    fn end(self, runtime: &Runtime, successor: Option<&Successor>) {
        let control = &self.control;
        let patience = control.edge.running_cell().load().site.limits.drain;
        match successor {
            Some(_) => self.alive.abort(),
            None => self.manager.tell(Event::Stopping(patience)),
        }
        runtime.block_on(leave(control, patience));
        // What is still under way is dropped, and so written down.
        self.abandon.send_replace(true);
        let until = Instant::now() + LAST_WORDS;
        while self.cores.iter().any(|core| !core.is_finished()) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(lambdas) = control.edge.lambdas.get().and_then(OnDemand::get) {
            runtime.block_on(lambdas.drain(Duration::ZERO));
        }
        control.access_log.flush();
        runtime.block_on(self.spans.finish());
        if successor.is_none() {
            runtime.block_on(self.membership.end());
        }
        if let Some(successor) = successor {
            successor.hear_counts(control.metrics());
        } else if site_has_parents(control) {
            runtime.block_on(end_log(control));
        }
        self.disk.stop();
    }
}

/// Signals that are heard from the start on.
struct Signals {
    hangup: Signal,
    upgrade: Signal,
}

impl Signals {
    fn hear() -> Result<Self, String> {
        let heard = |kind| signal(kind).map_err(|error| error.to_string());
        Ok(Self {
            hangup: heard(SignalKind::hangup())?,
            upgrade: heard(SignalKind::user_defined2())?,
        })
    }
}

// Fetches for the store on the operator's side, beside those of the cores.
fn operators_proxy(edge: &Arc<Edge>, site: &Site) -> Arc<Proxy> {
    let gates = Arc::clone(&edge.origins);
    let client = Client::new(gates, edge.clock.clone(), site.limits.origin_head_bytes);
    let upstream = Arc::new(Live { client });
    Arc::new(Proxy { index: site.listen.workers, edge: Arc::clone(edge), upstream })
}

// What forwards the log of this edge to its parents.
fn forwarder(edge: &Arc<Edge>, log: &Arc<InvalidationLog>) -> Arc<Forwarder> {
    let (sites, speaker) = (Arc::clone(edge), Arc::clone(edge));
    Forwarder::new(ForwardContext {
        node: edge.node.clone(),
        clock: edge.clock.clone(),
        log: Arc::clone(log),
        invalidation: Arc::clone(&edge.invalidation),
        standings: Arc::clone(&edge.standings),
        site: Box::new(move || Arc::clone(&sites.running().site)),
        reincarnate: Box::new(move || speaker.reincarnate()),
    })
}

/// Where the interpreters of lambdas are looked for.
pub(super) fn search_path() -> String {
    std::env::var("PATH").unwrap_or_default()
}

// Lambdas are started once a site has some.
fn keep_lambdas(control: &Control, site: &Site) {
    let path = search_path();
    let sleepers = site.function_settings.sleepers;
    let clock = control.edge.clock.clone();
    let mut settings = lambda::settings(&site.data, path, sleepers, clock);
    settings.cgroup = site.function_settings.cgroup.clone();
    let log = Arc::clone(&control.access_log);
    // The edge has the lambdas, and they the log.
    let edge = Arc::downgrade(&control.edge);
    settings.log = Some(Arc::new(move |line: &Line<'_>| {
        let written = line.written();
        if let Some(edge) = edge.upgrade() {
            edge.function_tail.add(line.function, &written);
        }
        if log.wants_functions() {
            log.add_functions(written);
        }
    }));
    let lambdas = control.edge.lambdas.get_or_init(|| OnDemand::new(settings));
    lambdas.follow(&site.lambdas);
}

// The parents are told on the admin thread, whichever core asks for it.
fn keep_messenger(control: &Arc<Control>, admin: &tokio::runtime::Handle) {
    let (of, admin) = (Arc::downgrade(&control.forwarder), admin.clone());
    let member = control.edge.fleet.get().cloned();
    control.edge.invalidation.keep_messenger(Box::new(move |number| {
        let (done, heard) = oneshot::channel();
        if let Some(forwarder) = of.upgrade() {
            let member = member.clone();
            admin.spawn(async move {
                match member {
                    Some(member) => member.settle_outbox(PATIENCE).await,
                    None => drop(forwarder.forward(number.0).await),
                }
                let _ = done.send(());
            });
        }
        heard
    }));
}

// Each connection and each large file takes a descriptor; the usual soft limit is far below what
// the hard one allows. Gives the limit in force, `None` for none.
fn raise_descriptor_limit() -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    // `None` is no limit, and more than any.
    let is_below =
        limit.current.is_some_and(|current| limit.maximum.is_none_or(|maximum| current < maximum));
    if is_below
        && let Err(error) =
            setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum })
    {
        tracing::warn!(%error, "the limit of open files could not be raised");
    }
    getrlimit(Resource::Nofile).current
}

/// Descriptors that each core opens for itself once it runs.
const PER_CORE: u64 = 6;

// How many viewers there may be, by the configuration and by descriptors: what is open by now stays
// open.
fn room_for_viewers(site: &Site, descriptors: Option<u64>) -> usize {
    let open = std::fs::read_dir("/proc/self/fd").map_or(64, |open| open.count() as u64);
    let room = places::bound(
        site.limits.connections,
        descriptors,
        open + PER_CORE * site.listen.workers as u64,
    );
    // The default of `limits.connections` is more than many a machine has descriptors for, and more
    // than most edges need.
    if room < site.limits.connections / 2 {
        tracing::warn!(
            viewers = room,
            configured = site.limits.connections,
            open_files = descriptors,
            "the limit of open files leaves room for fewer viewers' connections than limits.connections; the longest idle leave when it is \
             reached; raise the limit (ulimit -n, LimitNOFILE) for more"
        );
    } else {
        tracing::info!(viewers = room, open_files = descriptors, "room for viewers' connections");
    }
    room
}

fn site_has_parents(control: &Control) -> bool {
    control.edge.running().site.region.is_some()
}

// The log ends here, and the parents are told, so that the next process need not begin with empty
// parents.
async fn end_log(control: &Arc<Control>) {
    let running = control.edge.running();
    let sealed = |()| seal::write(&running.site.data, control.edge.incarnation());
    let written = control.log.close().and_then(sealed);
    match written {
        Ok(()) => control.forwarder.seal().await,
        Err(error) => {
            tracing::warn!(%error, "the invalidation log was not sealed; the parents begin anew at the next start")
        }
    }
}

// Serves the admin listener, watches files, obeys signals. Returns when the edge is to leave, with
// the process that has its place, if one has.
async fn until_told(
    control: Arc<Control>,
    admin: std::net::TcpListener,
    mut signals: Signals,
    manager: &Manager,
    mut upgrades: Upgrades,
) -> Result<Option<Successor>, String> {
    let stream = |kind| signal(kind).map_err(|error| error.to_string());
    let (mut terminate, mut interrupt) =
        (stream(SignalKind::terminate())?, stream(SignalKind::interrupt())?);
    tokio::spawn(server::serve(Arc::clone(&control), admin));
    // Whoever has this process's place does this, too.
    let mut tasks = vec![
        tokio::spawn(Arc::clone(&control).watch_files()).abort_handle(),
        tokio::spawn(Arc::clone(&control).keep_history()).abort_handle(),
        tokio::spawn(Arc::clone(&control.forwarder).keep_up()).abort_handle(),
    ];
    #[cfg(feature = "acme")]
    tasks.push(tokio::spawn(keep_certificates(&control)).abort_handle());
    let edge = Arc::clone(&control.edge);
    let checking = checks::keep_checking(CheckContext {
        region: Box::new(move || edge.running().region.clone()),
        resolver: Resolver::default(),
    });
    tasks.push(tokio::spawn(checking).abort_handle());
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    // Signals are heard from here on.
    manager.tell(Event::Ready);
    let successor = loop {
        tokio::select! {
            _ = signals.hangup.recv() => {
                if control.succession.has_successor() {
                    continue;
                }
                manager.tell(Event::Reloading);
                let this = Arc::clone(&control);
                let reloaded = tokio::task::spawn_blocking(move || this.reload_as_said()).await;
                let is_taken = match reloaded {
                    // Of the process that has this one's place by now the manager was told.
                    Ok(None) => continue,
                    Ok(Some(reloaded)) => reloaded.ok,
                    Err(_) => false,
                };
                let outcome = if is_taken { Outcome::Taken } else { Outcome::Refused };
                manager.tell(Event::Reloaded(outcome));
            }
            _ = hourly.tick() => control.tickets.rotate(),
            _ = signals.upgrade.recv() => upgrades.begin(None),
            successor = upgrades.go_on() => if successor.is_some() {
                break successor;
            },
            _ = terminate.recv() => break upgrades.call_off().await,
            _ = interrupt.recv() => break upgrades.call_off().await,
        }
    };
    if successor.is_some() {
        tasks.iter().for_each(AbortHandle::abort);
        // Whoever asked for it hears of it before this process leaves.
        tokio::time::sleep(ANSWERED).await;
    }
    Ok(successor)
}

// The service manager hears that this process goes on for as long as every core does.
async fn keep_alive(manager: Arc<Manager>, pulse: Arc<Pulse>) {
    let mut tick = tokio::time::interval(manager.interval());
    loop {
        tick.tick().await;
        if pulse.is_whole() {
            manager.tell(Event::Alive);
        }
    }
}

// Orders the certificates of the site in force; what is issued comes in by a reload.
#[cfg(feature = "acme")]
fn keep_certificates(control: &Arc<Control>) -> impl Future<Output = ()> + Send + use<> {
    let (edge, loading) = (Arc::clone(&control.edge), Arc::clone(control));
    let telling = Arc::clone(&control.edge);
    crate::acme::keeper::keep(crate::acme::keeper::KeeperContext {
        clock: control.edge.clock.clone(),
        issuing: Arc::clone(&control.edge.issuing),
        site: Box::new(move || Arc::clone(&edge.running().site)),
        reload: Box::new(move || drop(loading.reload_in_turn())),
        tell: Box::new(move |octets| {
            let node = telling.fleet.get().cloned();
            Box::pin(async move {
                match node {
                    Some(node) => node.tell_issuing(&octets).await,
                    None => false,
                }
            })
        }),
    })
}

// Stops accepting, lets exchanges under way finish, and gives up on the rest after a while.
async fn leave(control: &Control, patience: Duration) {
    // Signals are heard from here on, before the edge says that it drains.
    let again = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    control.draining.send_replace(true);
    let open = || control.gauges.connections.load(Ordering::Relaxed);
    tracing::info!(connections = open(), "draining");
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let finished = async {
        while open() > 0 {
            tick.tick().await;
        }
    };
    let impatient = async {
        let (Ok(mut terminate), Ok(mut interrupt)) = again else {
            return std::future::pending().await;
        };
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    };
    tokio::select! {
        () = finished => tracing::info!("every connection finished"),
        () = tokio::time::sleep(patience) => tracing::warn!(connections = open(), "some connections did not finish in time"),
        () = impatient => tracing::warn!(connections = open(), "told twice"),
    }
}

// The lines to paste speak of the site that comes with the sources.
fn is_demo(site: &Site) -> bool {
    let origins = site.distributions.iter().take(1).flat_map(|distribution| &distribution.origins);
    origins.take(1).any(|origin| matches!(&origin.kind, OriginKind::Directory(root) if root.join("tides.csv").exists()))
}

fn announce(args: &RunArgs, site: &Site, bound: &[Bound], admin: std::net::SocketAddr) {
    for one in bound {
        let speaks = if one.speaks == Speaks::Https { "https" } else { "http" };
        tracing::info!(address = %one.address, speaks, workers = site.listen.workers, "listening");
    }
    tracing::info!(address = %admin, "admin listener");
    for remark in site.warnings.iter().chain(&site.remarks) {
        tracing::warn!("{remark}");
    }
    let https = bound.iter().find(|one| one.speaks == Speaks::Https);
    let ca = site
        .certificates
        .first()
        .map(|c| Path::new(&c.source).with_file_name("ca.pem"))
        .filter(|path| path.exists());
    let (Some(https), Some(ca), true) = (https, ca, is_demo(site) && !args.quiet) else { return };
    let (ca, token) = (ca.display(), site.data.join("admin-token"));
    let url = format!("https://localhost:{}", https.address.port());
    println!(
        "\nForeshore serves {url} and has something to show. Paste line by line:\n\n  \
         curl -si --cacert {ca} {url}/ | grep -iE '^(HTTP|age|x-cache)'        # a Miss\n  \
         curl -si --cacert {ca} {url}/ | grep -iE '^(HTTP|age|x-cache)'        # a Hit, with Age\n  \
         curl -s  --cacert {ca} -r 0-79 {url}/tides.csv                        # a range of a larger file\n  \
         curl -si --cacert {ca} -H 'If-Modified-Since: Fri, 01 Jan 2100 00:00:00 GMT' {url}/ | head -1   # a 304\n  \
         curl -s  -H \"Authorization: Bearer $(cat {})\" -d '{{\"paths\":[\"/*\"]}}' http://{admin}/v1/invalidations\n  \
         curl -si --cacert {ca} {url}/ | grep -iE '^(HTTP|age|x-cache)'        # a Miss again\n",
        token.display()
    );
}
