//! What keeps all workers: one thread, whose tasks they are. Calls come to it from every core.
//!
//! The thread lives as long as the service: the kernel ends each worker with the thread that
//! started it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio::time::Instant;

use super::code::{self, Mark};
use super::counts::Counts;
use super::failure::InvokeFailure;
use super::pool::{CallId, Command, Pool, Refused, Size, WorkerId};
use super::worker::{self, Call, Outfit, Prepared, Report, Settings, Told};
use crate::distribution::functions::LambdaSpec;

/// How often code is looked at for a change.
const WATCH: Duration = Duration::from_secs(1);
/// How long after a change code that is in no use any more is looked for.
const TIDY: Duration = Duration::from_secs(2);
/// A look may take this part of the time between looks at most.
const WATCH_SHARE: u32 = 50;

/// What the thread is told.
pub enum Message {
    Invoke {
        name: Box<str>,
        id: CallId,
        call: Call,
    },
    /// The call is not waited for any more.
    Forget {
        name: Box<str>,
        id: CallId,
    },
    /// These are the functions from now on.
    Follow(Vec<Arc<LambdaSpec>>),
    /// The code of a function was made ready, or has changed and was.
    Prepared(FunctionId, Result<PathBuf, String>),
    Worker(FunctionId, WorkerId, Report),
    /// No more calls; those under way may take so long.
    Drain(Duration, oneshot::Sender<()>),
}

/// One function under one specification: another specification is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FunctionId(u64);

struct Function {
    spec: Arc<LambdaSpec>,
    pool: Pool,
    workers: HashMap<WorkerId, mpsc::Sender<Told>>,
    waiting: HashMap<CallId, Call>,
    code: watch::Sender<Prepared>,
    /// Why the last worker did not start.
    last: Option<InvokeFailure>,
    counts: Arc<Counts>,
    /// Looks at the code; ends with the function.
    watching: tokio::task::JoinHandle<()>,
}

impl Drop for Function {
    fn drop(&mut self) {
        self.watching.abort();
    }
}

/// The functions and their workers.
pub struct Service {
    settings: Arc<Settings>,
    inbox: mpsc::UnboundedReceiver<Message>,
    /// For what the service's own tasks say.
    outbox: mpsc::WeakUnboundedSender<Message>,
    functions: BTreeMap<FunctionId, Function>,
    by_name: HashMap<Box<str>, FunctionId>,
    next: u64,
    counts: Arc<super::counts::Shelf>,
    since: Instant,
    /// Code that was replaced; workers may have it still.
    replaced: Vec<Arc<Path>>,
    /// Held by those who make code ready, until the service has been told where it lies.
    making: Arc<RwLock<()>>,
    /// When code that is in no use any more is looked for.
    tidy_at: Option<Instant>,
    leaving: Option<(Instant, oneshot::Sender<()>)>,
}

impl Service {
    pub fn new(
        settings: Arc<Settings>,
        inbox: mpsc::UnboundedReceiver<Message>,
        outbox: mpsc::WeakUnboundedSender<Message>,
        counts: Arc<super::counts::Shelf>,
    ) -> Self {
        Self {
            settings,
            inbox,
            outbox,
            functions: BTreeMap::new(),
            by_name: HashMap::new(),
            next: 0,
            counts,
            since: Instant::now(),
            replaced: Vec::new(),
            making: Arc::default(),
            tidy_at: None,
            leaving: None,
        }
    }

    /// Runs until the service is dropped or has drained; gives what is to be told of the end.
    pub async fn run(mut self) -> Option<oneshot::Sender<()>> {
        loop {
            let wakes = self.wakes_at();
            let message = tokio::select! {
                message = self.inbox.recv() => match message {
                    Some(message) => Some(message),
                    None => break,
                },
                () = at(wakes) => None,
            };
            match message {
                Some(message) => self.take(message),
                None => self.tick(),
            }
            self.sweep();
            if self.has_left() {
                break;
            }
        }
        // Workers end when what tells them is dropped, with the runtime at the latest.
        self.functions.clear();
        self.leaving.take().map(|(_, done)| done)
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn take(&mut self, message: Message) {
        let now = self.now();
        match message {
            Message::Invoke { name, id, call } => self.invoke(&name, id, call, now),
            Message::Forget { name, id } => {
                // It may wait where the function was before it was configured anew.
                for function in
                    self.functions.values_mut().filter(|function| *function.spec.name == *name)
                {
                    function.waiting.remove(&id);
                    function.pool.forget(id);
                }
            }
            Message::Follow(specs) => self.follow(specs),
            Message::Prepared(id, prepared) => self.prepared(id, prepared, now),
            Message::Worker(function, worker, report) => self.report(function, worker, report, now),
            Message::Drain(patience, done) => {
                self.leaving = Some((Instant::now() + patience, done));
                let all: Vec<FunctionId> = self.functions.keys().copied().collect();
                for id in all {
                    let commands =
                        self.functions.get_mut(&id).map(|function| function.pool.drain());
                    self.obey(id, commands.unwrap_or_default());
                }
            }
        }
    }

    fn invoke(&mut self, name: &str, id: CallId, call: Call, now: Duration) {
        let waiting: usize = self.functions.values().map(|function| function.waiting.len()).sum();
        let room = self.settings.sleepers.saturating_sub(waiting);
        let found = self.by_name.get(name).copied();
        let Some((at, function)) = found.and_then(|at| Some((at, self.functions.get_mut(&at)?)))
        else {
            let _ = call.reply.send(Err(gone()));
            return;
        };
        function.waiting.insert(id, call);
        let commands = function.pool.call(id, room, now);
        self.obey(at, commands);
    }

    // Functions that stay as they are keep their workers.
    fn follow(&mut self, specs: Vec<Arc<LambdaSpec>>) {
        self.tidy_at = Some(Instant::now() + TIDY);
        let mut kept = HashMap::new();
        for spec in specs {
            let name: Box<str> = spec.name.as_str().into();
            let same = self.by_name.get(&name).copied().filter(|id| {
                self.functions.get(id).is_some_and(|function| *function.spec == *spec)
            });
            let id = match same {
                Some(id) => id,
                None => self.open(spec),
            };
            kept.insert(name, id);
        }
        let before = std::mem::replace(&mut self.by_name, kept);
        let names: Vec<&str> = self.by_name.keys().map(|name| &**name).collect();
        self.counts.keep(&names);
        for (_, id) in before {
            if !self.by_name.values().any(|kept| *kept == id) {
                self.close(id);
            }
        }
    }

    fn open(&mut self, spec: Arc<LambdaSpec>) -> FunctionId {
        let id = FunctionId(self.next);
        self.next += 1;
        let (code, _) = watch::channel(None);
        let counts = self.counts.of(&spec.name);
        let store = self.settings.folder.join("code");
        let place = (spec.code.clone(), store, Arc::clone(&self.making));
        let watching = tokio::spawn(watch_code(id, place, self.outbox.clone()));
        let pool = Pool::new(Size { min: spec.workers.0, max: spec.workers.1 });
        let function = Function {
            spec,
            pool,
            workers: HashMap::new(),
            waiting: HashMap::new(),
            code,
            last: None,
            counts,
            watching,
        };
        self.functions.insert(id, function);
        id
    }

    // The function is gone or is another one: calls under way end as they began, and those that
    // wait do so for the one that has its name now.
    fn close(&mut self, id: FunctionId) {
        let now = self.now();
        let Some(function) = self.functions.get_mut(&id) else { return };
        function.watching.abort();
        if let Some(Ok(code)) = &*function.code.borrow() {
            self.replaced.push(Arc::clone(code));
        }
        let name: Box<str> = function.spec.name.as_str().into();
        let mut waiting: Vec<(CallId, Call)> = function.waiting.drain().collect();
        waiting.sort_by_key(|(call, _)| *call);
        waiting.iter().for_each(|(call, _)| function.pool.forget(*call));
        let commands = function.pool.drain();
        self.obey(id, commands);
        for (call, waits) in waiting {
            self.invoke(&name, call, waits, now);
        }
    }

    fn prepared(&mut self, id: FunctionId, prepared: Result<PathBuf, String>, now: Duration) {
        let Some(function) = self.functions.get_mut(&id) else { return };
        let name = &function.spec.name;
        match &prepared {
            Ok(code) => tracing::info!(lambda = %name, code = %code.display(), "its code is ready"),
            Err(why) => tracing::warn!(lambda = %name, %why, "its code cannot be used"),
        }
        let before = function.code.send_replace(Some(prepared.map(Arc::from)));
        let is_first = before.is_none();
        if let Some(Ok(before)) = before {
            self.replaced.push(before);
            self.tidy_at = Some(Instant::now() + TIDY);
        }
        let commands = if is_first { function.pool.tick(now) } else { function.pool.renew(now) };
        self.obey(id, commands);
    }

    fn report(&mut self, id: FunctionId, worker: WorkerId, report: Report, now: Duration) {
        let Some(function) = self.functions.get_mut(&id) else { return };
        let commands = match report {
            Report::Ready => function.pool.ready(worker, now),
            Report::Ended(failure) => {
                function.workers.remove(&worker);
                if !self.replaced.is_empty() {
                    self.tidy_at = Some(Instant::now() + TIDY);
                }
                if let Some(failure) = failure {
                    let (name, why) = (&function.spec.name, failure.to_string());
                    tracing::warn!(lambda = %name, worker = worker.0, why, "a worker did not start");
                    function.counts.failed_starts.add();
                    function.last = Some(failure);
                }
                function.pool.ended(worker, now)
            }
        };
        self.obey(id, commands);
    }

    fn tick(&mut self) {
        let now = self.now();
        let all: Vec<FunctionId> = self.functions.keys().copied().collect();
        for id in all {
            let commands = match self.functions.get_mut(&id) {
                Some(function) if function.pool.wakes_at().is_some_and(|at| at <= now) => {
                    function.pool.tick(now)
                }
                _ => continue,
            };
            self.obey(id, commands);
        }
        if self.tidy_at.is_some_and(|at| at <= Instant::now()) {
            self.tidy_at = self.tidy().is_none().then(|| Instant::now() + TIDY);
        }
    }

    // Takes away unpacked code that neither a function nor a worker has any more. `None`: later,
    // what is in use is not known now, here or in another process that lives on the same folder for
    // a while.
    fn tidy(&mut self) -> Option<()> {
        let making = self.making.try_write().ok()?;
        if code::is_used_by_others(&self.settings.folder) {
            return None;
        }
        // Where code lies that was made ready before is perhaps still on its way here.
        if !self.inbox.is_empty() {
            return None;
        }
        self.replaced.retain(|code| Arc::strong_count(code) > 1);
        let mut used = HashSet::new();
        for function in self.functions.values() {
            if let Ok(code) = function.code.borrow().as_ref()? {
                used.extend(code.file_name().map(OsString::from));
            }
        }
        used.extend(self.replaced.iter().filter_map(|code| code.file_name()).map(OsString::from));
        let aside = code::set_aside(&self.settings.folder.join("code"), &used);
        drop(making);
        if !aside.is_empty() {
            tracing::info!(count = aside.len(), "code of lambdas that is in no use is removed");
            tokio::task::spawn_blocking(move || code::remove(&aside));
        }
        Some(())
    }

    fn wakes_at(&self) -> Option<Instant> {
        let pools = self.functions.values().filter_map(|function| function.pool.wakes_at());
        let next = pools.min().map(|after| self.since + after);
        let until = self.leaving.as_ref().map(|(until, _)| *until);
        next.into_iter().chain(until).chain(self.tidy_at).min()
    }

    fn obey(&mut self, id: FunctionId, commands: Vec<Command>) {
        let Some(function) = self.functions.get_mut(&id) else { return };
        for command in commands {
            match command {
                Command::Start(worker) => {
                    let (tells, told) = mpsc::channel(2);
                    function.workers.insert(worker, tells);
                    let outfit = Outfit {
                        spec: Arc::clone(&function.spec),
                        settings: Arc::clone(&self.settings),
                        code: function.code.subscribe(),
                        counts: Arc::clone(&function.counts),
                    };
                    // Numbers of different functions and times of one do not meet.
                    let number = (id.0 << 32) | worker.0;
                    let to = self.outbox.clone();
                    tokio::spawn(worker::run(outfit, number, told, move |report| {
                        if let Some(to) = to.upgrade() {
                            let _ = to.send(Message::Worker(id, worker, report));
                        }
                    }));
                }
                Command::Assign(worker, call) => {
                    let call = function.waiting.remove(&call);
                    let Some(tells) = function.workers.get(&worker) else { continue };
                    if let Some(call) = call {
                        // A worker that has just died gives the call back by dropping it.
                        let _ = tells.try_send(Told::Call(call));
                    }
                }
                Command::Refuse(call, why) => {
                    let Some(call) = function.waiting.remove(&call) else { continue };
                    let failure = match why {
                        Refused::Full => InvokeFailure::Throttled,
                        Refused::Broken => function.last.clone().unwrap_or_else(gone),
                        Refused::Draining => gone(),
                    };
                    let _ = call.reply.send(Err(failure));
                }
                Command::End(worker) => {
                    // Without what tells it, a worker ends too.
                    if let Some(tells) = function.workers.remove(&worker) {
                        let _ = tells.try_send(Told::End);
                    }
                }
            }
        }
        function.counts.note(function.pool.tally());
    }

    // Functions that were closed are gone once their last worker is.
    fn sweep(&mut self) {
        let live = &self.by_name;
        self.functions.retain(|id, function| {
            !function.pool.is_empty() || live.values().any(|kept| kept == id)
        });
    }

    fn has_left(&self) -> bool {
        let Some((until, _)) = &self.leaving else { return false };
        Instant::now() >= *until || self.functions.values().all(|function| function.pool.is_empty())
    }
}

fn gone() -> InvokeFailure {
    InvokeFailure::InitFailed { kind: "Function".into(), message: "the function is gone".into() }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

// Makes code ready, and again whenever it has changed and has come to rest. The folder of a zip
// that is damaged stays as it was: workers go on with the code before.
async fn watch_code(
    function: FunctionId,
    (code, store, making): (PathBuf, PathBuf, Arc<RwLock<()>>),
    to: mpsc::WeakUnboundedSender<Message>,
) {
    let mut known: Option<Mark> = None;
    let mut before: Option<Mark> = None;
    let mut is_first = true;
    loop {
        let looking = Instant::now();
        let of = code.clone();
        let seen = tokio::task::spawn_blocking(move || code::mark(&of).ok()).await.unwrap_or(None);
        // A second look that sees the same: what is written in several steps is whole.
        let is_new = seen != known && seen == before && seen.is_some();
        if is_first || is_new {
            let (of, store) = (code.clone(), store.clone());
            let _making = making.read().await;
            let made = tokio::task::spawn_blocking(move || code::prepare(&of, &store)).await;
            let made = made.unwrap_or_else(|_| Err("it could not be looked at".into()));
            known = seen;
            let Some(to) = to.upgrade() else { return };
            // Of what came later a mistake leaves the code as it is, and is told.
            match made {
                Err(why) if !is_first => {
                    tracing::warn!(code = %code.display(), %why, "changed code cannot be used");
                }
                made => drop(to.send(Message::Prepared(function, made))),
            }
            is_first = false;
        }
        before = seen;
        let rest = WATCH.max(looking.elapsed() * WATCH_SHARE);
        tokio::time::sleep(rest).await;
    }
}
