//! Lambda@Edge: functions in Node.js and Python, in processes of their own.
//!
//! A worker is a process that speaks the Lambda Runtime API with the edge, so the same code runs
//! here and there. `edge_json` writes the event that a function is called with and reads what it
//! returned; the rest of this room turns the one into the other.

mod cgroup;
mod code;
mod counts;
pub mod edge_json;
mod failure;
pub mod launch;
mod memory;
mod output;
mod peer;
mod pool;
mod process;
mod runtime_api;
#[cfg(test)]
mod samples;
mod service;
mod worker;
mod zip;

use std::fs;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

pub use counts::{Counts, Shelf};
pub use failure::{InvokeFailure, LambdaWord};
pub use output::{Line, Log, Writer, line_of};
pub use pool::Tally;
pub use worker::Settings;

use crate::clock::Clock;
use crate::distribution::functions::LambdaSpec;
use crate::sync::Mutex;
use pool::CallId;
use runtime_api::BODY_MAX;
use service::{Message, Service};
use worker::Call;

const BOOTSTRAP_NODE: &str = include_str!("bootstrap.cjs");
const BOOTSTRAP_PYTHON: &str = include_str!("bootstrap.py");

/// How long the end of a call that ran out of time may take to be told.
const SLACK: Duration = Duration::from_secs(2);
/// How long an edge that leaves waits for the thread of its workers.
const LEAVE: Duration = Duration::from_secs(2);

/// All Lambda@Edge functions of an edge, and their workers.
pub struct Lambdas {
    to: mpsc::UnboundedSender<Message>,
    next: AtomicU64,
    /// Calls that were handed over and have no answer; what bounds the inbox.
    inside: Arc<AtomicUsize>,
    inside_max: usize,
    counts: Arc<Shelf>,
}

impl Lambdas {
    /// Starts the thread that keeps workers. Functions come with [`Self::follow`].
    ///
    /// What of the sandbox the machine cannot do is logged, by name.
    ///
    /// # Errors
    ///
    /// If the folder cannot be written to or the thread cannot be started.
    pub fn start(mut settings: Settings) -> std::io::Result<Self> {
        lay_out(&settings.folder)?;
        // Workers begin elsewhere.
        settings.folder = fs::canonicalize(&settings.folder)?;
        let lacking = lacking(&settings.launcher);
        for what in &lacking {
            tracing::warn!("workers of lambdas go without {what}");
        }
        settings.cgroup = usable(settings.cgroup.take());
        let used = code::note_use(&settings.folder)?;
        let (to, inbox) = mpsc::unbounded_channel();
        let counts = Arc::new(Shelf::default());
        let settings = Arc::new(settings);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (weak, shelf) = (to.downgrade(), Arc::clone(&counts));
        // More than wait may be on their way from the cores to the thread, or with a worker.
        let inside_max = settings.sleepers.saturating_add(4096);
        std::thread::Builder::new().name("lambdas".into()).spawn(move || {
            let service = async move { Service::new(settings, inbox, weak, shelf).run().await };
            let done = runtime.block_on(service);
            // Whatever is left is dropped, and its processes are killed.
            runtime.shutdown_timeout(Duration::from_millis(500));
            drop(used);
            if let Some(done) = done {
                let _ = done.send(());
            }
        })?;
        Ok(Self { to, next: AtomicU64::new(0), inside: Arc::default(), inside_max, counts })
    }

    /// These are the functions from now on. One that is as it was keeps its workers; calls under
    /// way of the others end as they began.
    pub fn follow(&self, specs: Vec<Arc<LambdaSpec>>) {
        let _ = self.to.send(Message::Follow(specs));
    }

    /// Calls a function with an event, and gives what it returned, as JSON.
    ///
    /// A call takes its function's time at most, counted from when a worker has it, and is over by
    /// `deadline` whatever it waits for. Once a worker has it, it is not taken back: a caller that
    /// leaves lets it end for nothing.
    ///
    /// # Errors
    ///
    /// Each trouble is that of this call alone: [`InvokeFailure`] says which.
    pub async fn invoke(
        &self,
        name: &str,
        event: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, InvokeFailure> {
        let answer = self.call(name, event, deadline).await;
        if let Some(counts) = self.counts.find(name) {
            counts.count(answer.as_ref().err());
        }
        if let Err(failure) = &answer {
            tracing::debug!(lambda = name, failure = failure.to_string(), "a call failed");
        }
        answer
    }

    async fn call(
        &self,
        name: &str,
        event: Bytes,
        deadline: Instant,
    ) -> Result<Bytes, InvokeFailure> {
        if event.len() > BODY_MAX {
            return Err(InvokeFailure::TooLarge);
        }
        let Some(_place) = Place::take(&self.inside, self.inside_max) else {
            return Err(InvokeFailure::Throttled);
        };
        let id = CallId(self.next.fetch_add(1, Ordering::Relaxed));
        let (reply, answer) = oneshot::channel();
        let call = Call { request_id: request_id(), event, deadline, reply };
        let name: Box<str> = name.into();
        let left = Left { to: &self.to, name: &name, id, is_over: false };
        let _ = self.to.send(Message::Invoke { name: name.clone(), id, call });
        // A worker that has the call ends it in time and says so; if nothing was said, none had it.
        match tokio::time::timeout_at(deadline + SLACK, answer).await {
            Ok(Ok(answer)) => {
                left.over();
                answer
            }
            Ok(Err(_)) => {
                left.over();
                Err(InvokeFailure::Exited("it ended as the call came".into()))
            }
            Err(_) => Err(InvokeFailure::Throttled),
        }
    }

    /// What is counted.
    pub fn counts(&self) -> &Shelf {
        &self.counts
    }

    /// Takes no more calls, lets those under way take so long, and ends all workers.
    pub async fn drain(&self, patience: Duration) {
        let (done, over) = oneshot::channel();
        if self.to.send(Message::Drain(patience, done)).is_ok() {
            let _ = tokio::time::timeout(patience + LEAVE, over).await;
        }
    }
}

// The cgroup that workers are put below, if that can be done; what is done without is said.
fn usable(cgroup: Option<PathBuf>) -> Option<PathBuf> {
    let instead = "what they have resident is looked at four times a second";
    let Some(parent) = cgroup else {
        tracing::info!("the kernel bounds no memory of workers (functions.cgroup): {instead}");
        return None;
    };
    match cgroup::check(&parent) {
        Ok(()) => Some(parent),
        Err(why) => {
            tracing::warn!(
                "workers of lambdas go without a memory bound of the kernel ({why}): {instead}"
            );
            None
        }
    }
}

/// The functions of an edge that may have none: nothing is started before there is one.
pub struct OnDemand {
    settings: Mutex<Option<Settings>>,
    started: OnceLock<Lambdas>,
}

impl OnDemand {
    /// Of an edge that has no functions yet.
    pub fn new(settings: Settings) -> Self {
        Self { settings: Mutex::new(Some(settings)), started: OnceLock::new() }
    }

    /// These are the functions from now on.
    pub fn follow(&self, specs: &[LambdaSpec]) {
        if !specs.is_empty()
            && let Some(settings) = self.settings.lock().take()
        {
            match Lambdas::start(settings) {
                Ok(lambdas) => drop(self.started.set(lambdas)),
                Err(error) => tracing::error!(%error, "lambdas cannot be run"),
            }
        }
        if let Some(lambdas) = self.get() {
            lambdas.follow(specs.iter().cloned().map(Arc::new).collect());
        }
    }

    /// Them, if there have been any.
    pub fn get(&self) -> Option<&Lambdas> {
        self.started.get()
    }
}

/// A place among the calls that are inside; given back when it is dropped.
struct Place(Arc<AtomicUsize>);

impl Place {
    fn take(inside: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        if inside.fetch_add(1, Ordering::Relaxed) >= most {
            inside.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        Some(Self(Arc::clone(inside)))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Says, when it is dropped before its time, that the call is not waited for any more.
struct Left<'l> {
    to: &'l mpsc::UnboundedSender<Message>,
    name: &'l str,
    id: CallId,
    is_over: bool,
}

impl Left<'_> {
    fn over(mut self) {
        self.is_over = true;
    }
}

impl Drop for Left<'_> {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.to.send(Message::Forget { name: self.name.into(), id: self.id });
        }
    }
}

// As Lambda's own: a random UUID. It also is what lets only the worker of a call answer it.
fn request_id() -> Box<str> {
    let mut octets = [0; 16];
    let _ = aws_lc_rs::rand::fill(&mut octets);
    octets[6] = (octets[6] & 0x0f) | 0x40;
    octets[8] = (octets[8] & 0x3f) | 0x80;
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
    parts.join("-").into()
}

// The bootstraps are written each time: those of an older version may lie there.
fn lay_out(folder: &Path) -> std::io::Result<()> {
    let bootstraps = folder.join("bootstrap");
    fs::DirBuilder::new().recursive(true).mode(0o755).create(&bootstraps)?;
    end_of_others(folder);
    for (name, text) in [("bootstrap.cjs", BOOTSTRAP_NODE), ("bootstrap.py", BOOTSTRAP_PYTHON)] {
        let part = bootstraps.join(format!("{name}.part-{}", std::process::id()));
        fs::write(&part, text)?;
        fs::rename(&part, bootstraps.join(name))?;
    }
    Ok(())
}

// Removes what workers of processes that are no more have left.
fn end_of_others(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix("run-")) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// What of a worker's sandbox this machine cannot do, a line each.
pub fn lacking(launcher: &Path) -> Vec<String> {
    let orders = launch::Orders {
        argv: Vec::new(),
        readable: Vec::new(),
        writable: Vec::new(),
        folder: "/".into(),
        parent: i32::try_from(std::process::id()).unwrap_or(0),
        user: None,
        no_network: false,
        has_connection: false,
        cgroup: None,
    };
    let told = std::process::Command::new(launcher)
        .arg("__worker")
        .arg(launch::written(&orders))
        .env_clear()
        .stdin(Stdio::null())
        .output();
    match told {
        Ok(told) if told.status.success() => {
            String::from_utf8_lossy(&told.stdout).lines().map(str::to_string).collect()
        }
        Ok(told) => vec![format!("anything: {}", String::from_utf8_lossy(&told.stderr).trim())],
        Err(error) => vec![format!("anything: {}: {error}", launcher.display())],
    }
}

/// What `foreshore function test` shows of one call.
pub struct Tried {
    pub answer: Result<Bytes, InvokeFailure>,
    /// How long the call took in its worker.
    pub took: Duration,
    /// The same with the start of the worker.
    pub whole: Duration,
    /// The most octets that the worker was seen with.
    pub memory: u64,
}

/// Calls a function once, with a worker of its own; lines of its code go to `settings.log`.
///
/// # Errors
///
/// If no worker can be kept at all: why. What the function does wrong is in the answer.
pub async fn try_out(
    mut spec: LambdaSpec,
    event: Bytes,
    settings: Settings,
) -> std::io::Result<Tried> {
    spec.workers = (0, 1);
    let patience = spec.timeout + Duration::from_secs(30);
    let name = spec.name.clone();
    let lambdas = Lambdas::start(settings)?;
    lambdas.follow(vec![Arc::new(spec)]);
    let begun = Instant::now();
    let answer = lambdas.invoke(&name, event, begun + patience).await;
    let whole = begun.elapsed();
    // Until the worker has ended: what it wrote last is told by then.
    lambdas.drain(LEAVE).await;
    let (took, memory) =
        lambdas.counts().find(&name).map_or((whole, 0), |one| (one.run_time(), one.memory()));
    Ok(Tried { answer, took, whole, memory })
}

/// The usual settings: this program, a folder below the data folder, a search path.
pub fn settings(data: &Path, path: String, sleepers: usize, clock: Clock) -> Settings {
    Settings {
        launcher: "/proc/self/exe".into(),
        folder: data.join("lambda"),
        path,
        sleepers,
        cgroup: None,
        log: None,
        clock,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_random_uuids() {
        let (one, other) = (request_id(), request_id());
        assert_ne!(one, other);
        assert_eq!(one.len(), 36);
        assert_eq!(&one[14..15], "4");
        assert!(one.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-'));
    }

    #[test]
    fn places_are_given_back() {
        let inside = Arc::default();
        let one = Place::take(&inside, 1);
        assert!(one.is_some() && Place::take(&inside, 1).is_none());
        drop(one);
        assert!(Place::take(&inside, 1).is_some());
    }
}
