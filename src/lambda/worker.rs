//! One worker: a process that is given a call at a time, held to time and memory, and replaced when
//! it does not keep to them.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::de::IgnoredAny;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior};

use super::cgroup::Cgroup;
use super::counts::Counts;
use super::failure::InvokeFailure;
use super::launch::{self, Orders};
use super::memory;
use super::output::{Log, Ran, WorkerLog, Writer};
use super::process::{self, Process, Streams};
use super::runtime_api::{Endpoint, Invocation, Mistake, SAID_MAX, Said};
use crate::clock::Clock;
use crate::distribution::functions::{LambdaClient, LambdaNetwork, LambdaRuntime, LambdaSpec};

/// How long a worker may take until it asks for its first call.
const INIT_MAX: Duration = Duration::from_secs(10);
/// How long a worker may take to ask for another call once it has answered, beyond the call's time.
const BETWEEN: Duration = Duration::from_secs(1);
/// How long a worker that was asked to end may take.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// How long what a worker wrote last is waited for.
const LAST_LINES: Duration = Duration::from_millis(200);
/// How often its memory is looked at.
const LOOK: Duration = Duration::from_millis(250);

/// What all workers have in common.
pub struct Settings {
    /// This program.
    pub launcher: PathBuf,
    /// A folder for unpacked code, bootstraps and what workers write.
    pub folder: PathBuf,
    /// Where interpreters are looked for, as PATH has it.
    pub path: String,
    /// Calls that wait for a worker, over all functions.
    pub sleepers: usize,
    /// A cgroup that workers get their own below, for the kernel to bound their memory.
    pub cgroup: Option<PathBuf>,
    /// Where lines of code go; `None` for nowhere.
    pub log: Option<Log>,
    pub clock: Clock,
}

/// The account of all ARNs.
const ACCOUNT: &str = "000000000177";

/// Where the code lies once it is prepared, or why it is not.
pub type Prepared = Option<Result<Arc<Path>, String>>;

/// What a worker is made of.
pub struct Outfit {
    pub spec: Arc<LambdaSpec>,
    pub settings: Arc<Settings>,
    pub code: watch::Receiver<Prepared>,
    pub counts: Arc<Counts>,
}

/// A call, and where its answer goes.
pub struct Call {
    pub request_id: Box<str>,
    pub event: Bytes,
    /// Whatever the function may take, the call is over by then.
    pub deadline: Instant,
    pub reply: oneshot::Sender<Result<Bytes, InvokeFailure>>,
}

/// What a worker is told.
pub enum Told {
    Call(Call),
    End,
}

/// What a worker tells of itself.
#[derive(Debug)]
pub enum Report {
    /// It asks for a call.
    Ready,
    /// Its process is gone; if it never asked for a call, why.
    Ended(Option<InvokeFailure>),
}

/// Starts a worker and keeps it until it ends.
pub async fn run(outfit: Outfit, number: u64, told: mpsc::Receiver<Told>, report: impl Fn(Report)) {
    let failure = match Worker::start(outfit, number).await {
        Ok(worker) => worker.work(told, &report).await,
        Err(failure) => Some(failure),
    };
    report(Report::Ended(failure));
}

/// The call that a worker has.
struct UnderWay {
    /// Gone once it is answered.
    reply: Option<oneshot::Sender<Result<Bytes, InvokeFailure>>>,
    begun: Instant,
    until: Instant,
}

/// Why a worker ends.
enum End {
    Told,
    Exited,
    TooLate,
    TooMuchMemory,
    /// It asked for another call without an answer to the one that it has.
    OutOfStep,
}

struct Worker {
    spec: Arc<LambdaSpec>,
    settings: Arc<Settings>,
    process: Process,
    /// After the process: it is empty by the time that it is dropped.
    cgroup: Option<Cgroup>,
    /// Where its code lies, which stays there for as long as this is held.
    _code: Arc<Path>,
    endpoint: Arc<Endpoint>,
    said: mpsc::Receiver<Said>,
    log: Option<Arc<WorkerLog>>,
    /// What serves its connection.
    serving: JoinSet<()>,
    /// What reads its output.
    reading: JoinSet<()>,
    /// Its own folder, to write to.
    scratch: PathBuf,
    call: Option<UnderWay>,
    has_started: bool,
    /// By when it must have asked for its first call.
    init_until: Instant,
    init_failure: Option<Mistake>,
    /// When its process was started.
    started: Instant,
    /// How long it took to ask for its first call, until that has been reported.
    init_took: Option<Duration>,
    /// The most memory that it was seen with.
    peak: u64,
    counts: Arc<Counts>,
}

fn no_start(kind: &str, message: impl Into<String>) -> InvokeFailure {
    InvokeFailure::InitFailed { kind: kind.into(), message: message.into() }
}

impl Worker {
    async fn start(mut outfit: Outfit, number: u64) -> Result<Self, InvokeFailure> {
        let code = match outfit.code.wait_for(Option::is_some).await {
            Ok(prepared) => prepared.clone(),
            Err(_) => None,
        };
        let code = match code {
            Some(Ok(code)) => code,
            Some(Err(why)) => return Err(no_start("Code", why)),
            None => return Err(no_start("Code", "the function is gone")),
        };
        let (spec, settings, counts) = (outfit.spec, outfit.settings, outfit.counts);
        let program = program(&spec, &settings)?;
        let scratch = make_scratch(&spec, &settings, number).map_err(|error| {
            no_start("Folder", format!("{}: {error}", settings.folder.display()))
        })?;
        let cgroup = cgroup(&spec, &settings, number)?;
        let (says, said) = mpsc::channel(SAID_MAX);
        let endpoint = Arc::new(Endpoint::new(says));
        let mut serving = JoinSet::new();
        let linked = link(&spec, &endpoint, &mut serving).await;
        let link = linked.map_err(|error| no_start("Connection", error.to_string()))?;
        let environment = environment(&spec, &code, &scratch, link.api.as_deref());
        let mut orders = orders(&spec, &settings, &code, &program, &scratch);
        orders.cgroup = cgroup.as_ref().map(Cgroup::door);
        let started = process::start(&settings.launcher, &orders, &environment, link.connection);
        let (process, streams) = started.map_err(|error| no_start("Process", error.to_string()))?;
        endpoint.belongs_to(process.id());
        let log = settings.log.clone().map(|log| Arc::new(WorkerLog::new(log, &spec.name, number)));
        let reading = read(streams, log.as_ref());
        let started = Instant::now();
        Ok(Self {
            spec,
            settings,
            process,
            cgroup,
            _code: code,
            endpoint,
            said,
            log,
            serving,
            reading,
            scratch,
            call: None,
            has_started: false,
            init_until: started + INIT_MAX,
            init_failure: None,
            started,
            init_took: None,
            peak: 0,
            counts,
        })
    }

    async fn work(
        mut self,
        mut told: mpsc::Receiver<Told>,
        report: &impl Fn(Report),
    ) -> Option<InvokeFailure> {
        let mut look = tokio::time::interval(LOOK);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let end = loop {
            let limit = self.limit();
            tokio::select! {
                // What it said before it ended counts.
                biased;
                said = self.said.recv() => match said {
                    Some(Said::Asks) if self.has_unanswered() => break End::OutOfStep,
                    Some(said) => self.hear(said, report),
                    None => break End::Exited,
                },
                order = told.recv() => match order {
                    Some(Told::Call(call)) => self.begin(call, report),
                    Some(Told::End) | None => break End::Told,
                },
                () = at(limit) => break End::TooLate,
                () = self.process.ended() => break End::Exited,
                _ = look.tick() => {
                    self.peak = self.peak.max(memory::resident(self.process.id()));
                    if self.peak > self.spec.memory {
                        break End::TooMuchMemory;
                    }
                }
            }
        };
        // What it said with its last breath may not have been read yet.
        while let Ok(said) = self.said.try_recv() {
            if !matches!(said, Said::Asks) {
                self.hear(said, report);
            }
        }
        self.finish(end).await
    }

    // By when something has to come of it.
    fn limit(&self) -> Option<Instant> {
        if !self.has_started {
            return Some(self.init_until);
        }
        self.call.as_ref().map(|call| match call.reply {
            Some(_) => call.until,
            None => call.until + BETWEEN,
        })
    }

    fn begin(&mut self, call: Call, report: &impl Fn(Report)) {
        if call.reply.is_closed() {
            report(Report::Ready);
            return;
        }
        let begun = Instant::now();
        let until = (begun + self.spec.timeout).min(call.deadline);
        let left = until.duration_since(begun);
        let deadline = self.settings.clock.now().plus(left).0;
        if let Some(log) = &self.log {
            log.begin(&call.request_id);
            log.say(&format!("START RequestId: {} Version: 1", call.request_id));
        }
        self.call = Some(UnderWay { reply: Some(call.reply), begun, until });
        let arn = format!("{}:1", arn(&self.spec.name)).into();
        let (request_id, event) = (call.request_id, call.event);
        self.endpoint.offer(Invocation { request_id, event, deadline, arn });
    }

    fn has_unanswered(&self) -> bool {
        self.call.as_ref().is_some_and(|call| call.reply.is_some())
    }

    fn hear(&mut self, said: Said, report: &impl Fn(Report)) {
        match said {
            Said::Asks => {
                if !self.has_started {
                    self.has_started = true;
                    self.init_took = Some(self.started.elapsed());
                }
                self.call = None;
                report(Report::Ready);
            }
            Said::Answered(body) if serde_json::from_slice::<IgnoredAny>(&body).is_err() => {
                self.answer(Err(InvokeFailure::NotJson));
            }
            Said::Answered(body) => self.answer(Ok(body)),
            Said::TooLarge => self.answer(Err(InvokeFailure::TooLarge)),
            Said::Failed(Mistake { kind, message }) => {
                self.answer(Err(InvokeFailure::HandlerError { kind, message }));
            }
            Said::InitFailed(mistake) => {
                self.init_failure = Some(mistake);
                // It ends by itself; it need not be waited for as long as for a start.
                self.init_until = Instant::now() + BETWEEN;
            }
        }
    }

    // Answers the call, if there is one that has no answer.
    fn answer(&mut self, answer: Result<Bytes, InvokeFailure>) {
        let Some(call) = &mut self.call else { return };
        let Some(reply) = call.reply.take() else { return };
        let took = call.begun.elapsed();
        let init = self.init_took.take();
        if init.is_some() {
            // A first call is often over before its worker is looked at for the first time.
            self.peak = self.peak.max(memory::resident(self.process.id()));
        }
        self.counts.ran(took, self.peak);
        if let Some(log) = &self.log {
            let (memory, peak, failure) = (self.spec.memory, self.peak, answer.as_ref().err());
            log.report(&Ran { took, init, memory, peak, failure });
        }
        let _ = reply.send(answer);
    }

    async fn finish(mut self, end: End) -> Option<InvokeFailure> {
        if matches!(end, End::Told) {
            self.process.ask_to_end();
            let _ = tokio::time::timeout(LAST_WORDS, self.process.ended()).await;
        }
        let was_told = matches!(end, End::Told);
        let status = self.process.end().await;
        let how = status.map_or_else(|| "it does not end".into(), |status| status.to_string());
        let failure = match end {
            End::TooLate if !self.has_started => {
                let seconds = INIT_MAX.as_secs();
                no_start("Sandbox.Timedout", format!("it asked for no call within {seconds} s"))
            }
            End::TooLate => InvokeFailure::TimedOut,
            End::TooMuchMemory => InvokeFailure::OutOfMemory,
            End::OutOfStep => {
                let how = "it asked for another call without an answer to this one";
                InvokeFailure::Exited(how.into())
            }
            End::Told => InvokeFailure::Exited("the edge ended it".into()),
            End::Exited if self.cgroup.as_ref().is_some_and(Cgroup::ran_out) => {
                InvokeFailure::OutOfMemory
            }
            End::Exited => InvokeFailure::Exited(how.clone()),
        };
        // Its last lines come before the report of its call.
        let reading = &mut self.reading;
        let lines = async { while reading.join_next().await.is_some() {} };
        let _ = tokio::time::timeout(LAST_LINES, lines).await;
        self.answer(Err(failure.clone()));
        self.serving.abort_all();
        let scratch = self.scratch.clone();
        // It may hold much.
        let _ = tokio::task::spawn_blocking(move || fs::remove_dir_all(scratch)).await;
        if self.has_started || was_told {
            return None;
        }
        Some(match (self.init_failure, failure) {
            (Some(Mistake { kind, message }), _) => InvokeFailure::InitFailed { kind, message },
            (None, InvokeFailure::Exited(_)) => {
                no_start("Runtime.ExitError", format!("the worker ended at its start: {how}"))
            }
            (None, other) => other,
        })
    }
}

// Waits for a moment, or for ever.
async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// How a worker reaches its endpoint.
struct Link {
    connection: Option<OwnedFd>,
    /// Address for clients that know TCP only.
    api: Option<String>,
}

async fn link(
    spec: &LambdaSpec,
    endpoint: &Arc<Endpoint>,
    serving: &mut JoinSet<()>,
) -> std::io::Result<Link> {
    let endpoint = Arc::clone(endpoint);
    match spec.client {
        LambdaClient::Own => {
            let (here, there) = UnixStream::pair()?;
            here.set_nonblocking(true)?;
            let here = tokio::net::UnixStream::from_std(here)?;
            serving.spawn(async move { endpoint.serve(here).await });
            Ok(Link { connection: Some(there.into()), api: None })
        }
        LambdaClient::Official => {
            if spec.network == LambdaNetwork::None {
                let why = "awslambdaric needs the network that network = \"none\" takes away";
                return Err(std::io::Error::other(why));
            }
            let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await?;
            let api = listener.local_addr()?.to_string();
            serving.spawn(async move { endpoint.listen(listener).await });
            Ok(Link { connection: None, api: Some(api) })
        }
    }
}

fn read(streams: Streams, log: Option<&Arc<WorkerLog>>) -> JoinSet<()> {
    let mut reading = JoinSet::new();
    let Streams { stdout, stderr } = streams;
    match log {
        Some(log) => {
            reading.spawn(Arc::clone(log).follow(Writer::Stdout, stdout));
            reading.spawn(Arc::clone(log).follow(Writer::Stderr, stderr));
        }
        None => {
            // A pipe that nothing reads would stop its writer.
            for mut stream in [stdout, stderr] {
                reading.spawn(async move {
                    let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
                });
            }
        }
    }
    reading
}

// The interpreter, by its whole path.
fn program(spec: &LambdaSpec, settings: &Settings) -> Result<PathBuf, InvokeFailure> {
    let wanted: Vec<String> = match (&spec.program, spec.runtime) {
        (Some(program), _) => vec![program.display().to_string()],
        (None, LambdaRuntime::Node(_)) => vec!["node".into()],
        (None, LambdaRuntime::Python(minor)) => vec![format!("python3.{minor}"), "python3".into()],
    };
    let found = wanted.iter().find_map(|name| launch::find_program(name, &settings.path));
    found.ok_or_else(|| no_start("Program", format!("{} is not there", wanted.join(" or "))))
}

// A cgroup of its own, where workers have one.
fn cgroup(
    spec: &LambdaSpec,
    settings: &Settings,
    number: u64,
) -> Result<Option<Cgroup>, InvokeFailure> {
    let Some(parent) = &settings.cgroup else { return Ok(None) };
    let made = Cgroup::make(parent, &format!("{}-{number}", spec.name), spec.memory);
    made.map(Some).map_err(|error| no_start("Cgroup", format!("{}: {error}", parent.display())))
}

// A folder of its own, for what its code writes.
fn make_scratch(spec: &LambdaSpec, settings: &Settings, number: u64) -> std::io::Result<PathBuf> {
    let run = format!("run-{}", std::process::id());
    let scratch = settings.folder.join(run).join(format!("{}-{number}", spec.name));
    let _ = fs::remove_dir_all(&scratch);
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(scratch.parent().unwrap_or(&scratch))?;
    fs::DirBuilder::new().mode(0o700).create(&scratch)?;
    if let Some(user) = &spec.user {
        let ids = launch::find_user(user).map_err(std::io::Error::other)?;
        let (user, group) =
            (rustix::process::Uid::from_raw(ids.user), rustix::process::Gid::from_raw(ids.group));
        rustix::fs::chown(scratch.as_path(), Some(user), Some(group))?;
    }
    fs::canonicalize(scratch)
}

fn arn(name: &str) -> String {
    format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:us-east-1.{name}")
}

// Everything that a worker finds in its environment: Lambda's, and what the operator wants there.
fn environment(
    spec: &LambdaSpec,
    code: &Path,
    scratch: &Path,
    api: Option<&str>,
) -> Vec<(String, String)> {
    let code = code.display().to_string();
    let memory = (spec.memory >> 20).to_string();
    let name = format!("us-east-1.{}", spec.name);
    let group = format!("/aws/lambda/{name}");
    let engine = format!("AWS_Lambda_{}", spec.runtime);
    // Where AWS's runtimes look for what layers bring, after the code itself for Python.
    let modules = format!("/opt/nodejs/node_modules:{code}");
    let own: [(&str, &str); 17] = [
        ("_HANDLER", spec.handler.as_str()),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EXECUTION_ENV", &engine),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &memory),
        ("AWS_LAMBDA_FUNCTION_NAME", &name),
        ("AWS_LAMBDA_FUNCTION_VERSION", "1"),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &group),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "foreshore"),
        ("AWS_REGION", "us-east-1"),
        ("LAMBDA_TASK_ROOT", &code),
        ("LANG", "en_US.UTF-8"),
        ("NODE_PATH", &modules),
        ("PATH", "/usr/local/bin:/usr/bin:/bin:/opt/bin"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONPATH", "/opt/python"),
        ("TZ", ":UTC"),
    ];
    let mut all: Vec<(String, String)> =
        own.iter().map(|(name, value)| ((*name).to_string(), (*value).to_string())).collect();
    all.push(("TMPDIR".into(), scratch.display().to_string()));
    all.extend(api.map(|api| ("AWS_LAMBDA_RUNTIME_API".into(), api.to_string())));
    all.extend(spec.environment.iter().cloned());
    all
}

fn orders(
    spec: &LambdaSpec,
    settings: &Settings,
    code: &Path,
    program: &Path,
    scratch: &Path,
) -> Orders {
    let bootstraps = settings.folder.join("bootstrap");
    let path = |path: PathBuf| path.display().to_string();
    let mut argv = vec![path(program.to_path_buf())];
    match (spec.runtime, spec.client) {
        (LambdaRuntime::Node(_), _) => {
            // As Lambda's own: the heap stays below what the process may have.
            let mebibytes = spec.memory >> 20;
            argv.push(format!("--max-old-space-size={}", (mebibytes * 9 / 10).max(32)));
            argv.push(format!("--max-semi-space-size={}", (mebibytes / 20).max(1)));
            argv.push(path(bootstraps.join("bootstrap.cjs")));
        }
        (LambdaRuntime::Python(_), LambdaClient::Own) => {
            argv.push("-u".into());
            argv.push(path(bootstraps.join("bootstrap.py")));
        }
        (LambdaRuntime::Python(_), LambdaClient::Official) => {
            argv.extend(["-u", "-m", "awslambdaric"].map(String::from));
            argv.push(spec.handler.clone());
        }
    }
    let mut readable = launch::installed_at(program);
    readable.extend([code.to_path_buf(), bootstraps]);
    Orders {
        argv,
        readable,
        writable: vec![scratch.to_path_buf()],
        folder: code.to_path_buf(),
        parent: i32::try_from(std::process::id()).unwrap_or(0),
        user: spec.user.clone(),
        no_network: spec.network == LambdaNetwork::None,
        has_connection: spec.client == LambdaClient::Own,
        cgroup: None,
    }
}
