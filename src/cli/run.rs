//! `foreshore run`: load, bind, serve on one runtime per core, reload on request, drain, leave.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{oneshot, watch};

use super::disk_tier::DiskTier;
use super::membership::Membership;
use super::{Level, RunArgs, certs, fail};
use crate::base::secret::Secret;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::control::roster::Roster;
use crate::control::s3::S3Desk;
use crate::control::span_export::SpanExport;
use crate::control::{Control, server};
use crate::distribution::origin::OriginKind;
use crate::distribution::site::Site;
use crate::functions::values::stores::Stores;
use crate::invalidation::chain::Incarnation;
use crate::invalidation::log::InvalidationLog;
use crate::lambda::{self, Line, OnDemand};
use crate::listen::accept::{Accepting, Bound, Speaks};
use crate::listen::places::{self, Places};
#[cfg(feature = "http3")]
use crate::listen::quic;
use crate::listen::{Gauges, Worker};
use crate::origin::Live;
use crate::origin::client::Client;
use crate::origin::connect::Resolver;
use crate::proxy::{Edge, Proxy};
use crate::record::queue::LogQueue;
use crate::region::checks::{self, CheckContext};
use crate::region::forward::{ForwardContext, Forwarder, PATIENCE};
use crate::tls::server::ServerTls;
use crate::tls::tickets::Tickets;

/// How long the cores have to write down what was under way when the edge leaves.
const LAST_WORDS: Duration = Duration::from_secs(1);

pub(super) fn run(args: &RunArgs) -> ExitCode {
    start_logging(args.log_level);
    match start(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
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

fn start(args: &RunArgs) -> Result<(), String> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name("main")
        .build()
        .map_err(|e| e.to_string())?;
    let _inside = runtime.enter();
    let descriptors = raise_descriptor_limit();
    let clock = Clock::system();
    for wanted in config::wanted_certificates(&args.config.config) {
        if !wanted.chain.exists() {
            certs::make(&wanted)?;
            tracing::info!(certificate = %wanted.chain.display(), names = ?wanted.names, "made a development certificate");
        }
    }
    let loaded = config::load(&args.config.config, clock.now(), MissingCertificates::Done)
        .map_err(|report| format!("\n{}", report.render(std::io::stderr().is_terminal())))?;
    let (site, documents) = (loaded.site, loaded.documents);
    // Held until the process ends: two edges on one data folder would number invalidations twice.
    let _lock = lock_folder(&site.data)?;
    let node = keep_word(&site.data.join("node-id"), 8)?;
    let token = match &site.admin.token {
        Some(token) => token.clone(),
        None => Secret::new(keep_word(&site.data.join("admin-token"), 32)?),
    };
    let heir_of = take_seal(&site.data)?;
    let (log, records) = InvalidationLog::open(&site.data)
        .map_err(|error| format!("the invalidation log in {}: {error}", site.data.display()))?;
    let sharing = site.fleet.as_ref().filter(|fleet| fleet.tickets.is_some());
    let sharing = sharing.map(|fleet| fleet.name.as_str());
    let tickets = Tickets::open(&site.data, clock.clone(), sharing);
    let tls = ServerTls::new(&site, &tickets)?;
    let mut bound = bind_all(&site)?;
    #[cfg(feature = "http3")]
    let mut udp = bind_udp(&site, &bound)?;
    let admin = server::bind(site.admin.listen)
        .map_err(|error| format!("admin.listen {}: {error}", site.admin.listen))?;
    let admin_address = admin.local_addr().map_err(|error| error.to_string())?;
    let stores = Stores::open(&site.data)?;
    let edge = Edge::with_stores(Arc::clone(&site), node, clock.clone(), stores);
    let log = Arc::new(log);
    edge.invalidation.keep_log(Arc::clone(&log), &records);
    for passed in records.iter().filter_map(|record| record.from.as_ref()) {
        edge.applied.note(passed, clock.now());
    }
    let membership = Membership::begin(&edge, &site, &log, &records, &tickets)?;
    let (draining, drained) = watch::channel(false);
    let disk = DiskTier::start(&edge, &site, &log)?;
    let gauges = Arc::<Gauges>::default();
    let places = Arc::new(Places::new(room_for_viewers(&site, descriptors), Arc::clone(&gauges)));
    // What was said of a distribution that was away until now holds before the first request.
    let roster = Roster::open(&site.data, &site)?;
    roster.admit(&site, &edge, || {})?;
    let control = Arc::new(Control {
        log: Arc::clone(&log),
        config: args.config.config.clone(),
        tls: Arc::new(ArcSwap::from_pointee(Some(tls))),
        tickets,
        access_log: LogQueue::start(&site).map_err(|error| error.to_string())?,
        gauges,
        places,
        token,
        draining,
        started_at: clock.now(),
        started_with: Arc::clone(&site),
        last_reload: parking_lot::Mutex::new(None),
        forwarder: forwarder(&edge, &log),
        batches: tokio::sync::Mutex::default(),
        roster,
        documents: parking_lot::Mutex::new(documents),
        s3: S3Desk::new(operators_proxy(&edge, &site)),
        sequencer: membership.sequencer.clone(),
        edge,
    });
    let _ = control.edge.function_log.set(Arc::clone(&control.access_log));
    keep_lambdas(&control, &site);
    keep_messenger(&control, runtime.handle());
    control.edge.invalidation.sweeper.keep_runtime(runtime.handle().clone());
    // Before the first viewer: until a parent has confirmed the log, no answer of it is taken.
    runtime.block_on(control.forwarder.introduce(heir_of));
    if let Some(sequencer) = membership.sequencer.clone() {
        runtime.spawn(sequencer.keep_short());
    }
    if let Some(member) = membership.member.clone() {
        runtime.spawn(member.run());
    }
    let spans = SpanExport::new(&control.edge);
    runtime.spawn(Arc::clone(&spans).keep_sending());
    let (abandon, abandoned) = watch::channel(false);
    #[cfg(feature = "http3")]
    let quic = start_quic(&control, &site, &mut udp)?;
    #[cfg(not(feature = "http3"))]
    let quic = ();
    let workers = start_workers(&control, &site, &mut bound, quic, (&drained, &abandoned))?;
    announce(args, &site, &bound, admin_address);
    let outcome = runtime.block_on(until_told(Arc::clone(&control), admin));
    let patience = control.edge.running_cell().load().site.limits.drain;
    runtime.block_on(leave(&control, patience));
    // What is still under way is dropped, and so written down.
    abandon.send_replace(true);
    let until = Instant::now() + LAST_WORDS;
    while workers.iter().any(|worker| !worker.is_finished()) && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(5));
    }
    if let Some(lambdas) = control.edge.lambdas.get().and_then(OnDemand::get) {
        runtime.block_on(lambdas.drain(Duration::ZERO));
    }
    control.access_log.flush();
    runtime.block_on(spans.finish());
    runtime.block_on(membership.end());
    if site_has_parents(&control) {
        runtime.block_on(seal(&control));
    }
    disk.stop();
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
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

// Lambdas are started once a site has some.
fn keep_lambdas(control: &Control, site: &Site) {
    let path = std::env::var("PATH").unwrap_or_default();
    let sleepers = site.function_settings.sleepers;
    let clock = control.edge.clock.clone();
    let mut settings = lambda::settings(&site.data, path, sleepers, clock);
    let log = Arc::clone(&control.access_log);
    settings.log = Some(Arc::new(move |line: &Line<'_>| {
        if log.wants_functions() {
            log.add_functions(line.written());
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

fn lock_folder(data: &Path) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("the data folder {}: {error}", data.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(data.join("lock"))
        .map_err(failed)?;
    file.try_lock().map_err(|_| {
        format!(
            "another edge runs on the data folder {}; stop it, or set data to another folder",
            data.display()
        )
    })?;
    Ok(file)
}

// A random word that is made once and kept, readable by its owner alone.
fn keep_word(path: &Path, octets: usize) -> Result<String, String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    if let Ok(text) = std::fs::read_to_string(path)
        && !text.trim().is_empty()
    {
        return Ok(text.trim().to_string());
    }
    let mut random = vec![0; octets];
    aws_lc_rs::rand::fill(&mut random).map_err(|_| "no randomness".to_string())?;
    let word: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(path)
        .map_err(failed)?;
    file.write_all(format!("{word}\n").as_bytes()).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    Ok(word)
}

/// Names the incarnation that ended in order on this data folder, for the next to go on where it
/// left off.
const SEALED: &str = "log-sealed";

// Takes the seal away, for good: whatever becomes of this process, it ended in order once only.
fn take_seal(data: &Path) -> Result<Option<Incarnation>, String> {
    let path = data.join(SEALED);
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    std::fs::remove_file(&path).map_err(failed)?;
    File::open(data).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(Incarnation::parse(text.trim()))
}

fn site_has_parents(control: &Control) -> bool {
    control.edge.running().site.region.is_some()
}

// The log ends here, and the parents are told, so that the next process need not begin with empty
// parents.
async fn seal(control: &Arc<Control>) {
    let written = control.log.close().and_then(|()| {
        std::fs::write(
            control.edge.running().site.data.join(SEALED),
            format!("{}\n", control.edge.incarnation()),
        )
    });
    match written {
        Ok(()) => control.forwarder.seal().await,
        Err(error) => {
            tracing::warn!(%error, "the invalidation log was not sealed; the parents begin anew at the next start")
        }
    }
}

fn bind_all(site: &Site) -> Result<Vec<Bound>, String> {
    let http = site.listen.http.iter().map(|address| (*address, Speaks::Http, "listen.http"));
    let https = site.listen.https.iter().map(|address| (*address, Speaks::Https, "listen.https"));
    let bind = |(address, speaks, key)| {
        Bound::bind(address, speaks, site.listen.workers)
            .map_err(|error| format!("{key} {address}: {error}"))
    };
    http.chain(https).map(bind).collect()
}

// The addresses for HTTPS once more, for UDP. HTTP/3 that is asked for and cannot be had would
// never be missed: viewers stay with HTTP/2 and say nothing.
#[cfg(feature = "http3")]
fn bind_udp(site: &Site, bound: &[Bound]) -> Result<Vec<quic::Bound>, String> {
    let https = bound.iter().filter(|one| one.speaks == Speaks::Https);
    let wanted = https.filter(|_| site.listen.http3.is_on());
    let bind = |one: &Bound| {
        quic::Bound::bind(one.address, site.listen.workers)
            .map_err(|error| format!("listen.http3, UDP {}: {error}", one.address))
    };
    wanted.map(bind).collect()
}

/// What speaks HTTP/3 on each core.
#[cfg(feature = "http3")]
type Quic = Vec<Vec<quic::Socket>>;
#[cfg(not(feature = "http3"))]
type Quic = ();

// The sockets of each core, and the secrets that all of them share.
#[cfg(feature = "http3")]
fn start_quic(
    control: &Arc<Control>,
    site: &Site,
    udp: &mut [quic::Bound],
) -> Result<Quic, String> {
    if udp.is_empty() {
        return Ok(Vec::new());
    }
    let keys = quic::Keys::open(&site.data)
        .map_err(|error| format!("the keys of QUIC in {}: {error}", site.data.display()))?;
    let keys = Arc::new(keys);
    for one in udp.iter() {
        tracing::info!(address = %one.address, speaks = "HTTP/3", workers = site.listen.workers, "listening on UDP");
    }
    control.edge.speaks_quic.store(true, Ordering::Relaxed);
    let of_core =
        |_| -> Vec<quic::Socket> { udp.iter_mut().filter_map(|one| one.take(&keys)).collect() };
    Ok((0..site.listen.workers).map(of_core).collect())
}

#[cfg(feature = "http3")]
fn serve_quic(control: &Arc<Control>, worker: &Arc<Worker>, sockets: Vec<quic::Socket>) {
    for socket in sockets {
        let serving = quic::Serving {
            worker: Arc::clone(worker),
            tls: Arc::clone(&control.tls),
            places: Arc::clone(&control.places),
        };
        tokio::spawn(async move {
            if let Err(error) = serving.run(socket).await {
                tracing::error!(%error, "HTTP/3 ended");
            }
        });
    }
}

fn start_workers(
    control: &Arc<Control>,
    site: &Arc<Site>,
    bound: &mut [Bound],
    quic: Quic,
    (drained, abandoned): (&watch::Receiver<bool>, &watch::Receiver<bool>),
) -> Result<Vec<std::thread::JoinHandle<()>>, String> {
    let mut threads = Vec::new();
    #[cfg(feature = "http3")]
    let mut quic = quic;
    #[cfg(not(feature = "http3"))]
    let () = quic;
    for index in 0..site.listen.workers {
        let sockets: Vec<_> = bound
            .iter_mut()
            .filter_map(|one| one.take().map(|socket| (socket, one.speaks)))
            .collect();
        #[cfg(feature = "http3")]
        let udp = quic.pop().unwrap_or_default();
        let (control, drained) = (Arc::clone(control), drained.clone());
        let gates = Arc::clone(&control.edge.origins);
        let mut abandoned = abandoned.clone();
        let head_bytes = site.limits.origin_head_bytes;
        let body = move || {
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads(64)
                .build()
            else {
                return;
            };
            let client = Client::new(gates, control.edge.clock.clone(), head_bytes);
            let core = Arc::new(Proxy {
                index,
                edge: Arc::clone(&control.edge),
                upstream: Arc::new(Live { client }),
            });
            let worker = Worker::new(
                core,
                index,
                Arc::clone(&control.access_log),
                Arc::clone(&control.gauges),
                drained,
            );
            // Before the first viewer: an engine is not made on a request.
            worker.core.prepare_functions();
            runtime.block_on(async {
                for (socket, speaks) in sockets {
                    let accepting = Accepting {
                        worker: Arc::clone(&worker),
                        tls: Arc::clone(&control.tls),
                        places: Arc::clone(&control.places),
                    };
                    tokio::spawn(async move {
                        if let Err(error) = accepting.run(socket, speaks).await {
                            tracing::error!(%error, "a listener ended");
                        }
                    });
                }
                #[cfg(feature = "http3")]
                serve_quic(&control, &worker, udp);
                let mut tick = tokio::time::interval(Duration::from_millis(200));
                loop {
                    tokio::select! {
                        _ = tick.tick() => {
                            worker.flush_log();
                            worker.core.prepare_functions();
                        }
                        _ = abandoned.wait_for(|abandoned| *abandoned) => break,
                    }
                }
            });
            // Exchanges end here, and each writes its record.
            runtime.shutdown_background();
            worker.flush_log();
        };
        threads.push(
            std::thread::Builder::new()
                .name(format!("core-{index}"))
                .spawn(body)
                .map_err(|error| error.to_string())?,
        );
    }
    Ok(threads)
}

// Serves the admin listener, watches files, obeys signals. Returns when the edge is to leave.
async fn until_told(control: Arc<Control>, admin: std::net::TcpListener) -> Result<(), String> {
    let stream = |kind| signal(kind).map_err(|error| error.to_string());
    let (mut hangup, mut terminate, mut interrupt) = (
        stream(SignalKind::hangup())?,
        stream(SignalKind::terminate())?,
        stream(SignalKind::interrupt())?,
    );
    tokio::spawn(server::serve(Arc::clone(&control), admin));
    tokio::spawn(Arc::clone(&control).watch_files());
    tokio::spawn(Arc::clone(&control.forwarder).keep_up());
    let edge = Arc::clone(&control.edge);
    tokio::spawn(checks::keep_checking(CheckContext {
        region: Box::new(move || edge.running().region.clone()),
        resolver: Resolver::default(),
    }));
    let mut hourly = tokio::time::interval(Duration::from_secs(3600));
    loop {
        tokio::select! {
            _ = hangup.recv() => {
                let this = Arc::clone(&control);
                let _ = tokio::task::spawn_blocking(move || this.reload()).await;
            }
            _ = hourly.tick() => control.tickets.rotate(),
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        }
    }
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
