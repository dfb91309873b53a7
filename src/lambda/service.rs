//! What keeps all workers: one thread, whose tasks they are. Calls come to it from every core.
//!
//! The thread lives as long as the service: the kernel ends each worker with the thread that started
//! it.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::code::{self, Mark};
use super::counts::Counts;
use super::failure::InvokeFailure;
use super::pool::{CallId, Command, Pool, Refused, Size, WorkerId};
use super::worker::{self, Call, Outfit, Prepared, Report, Settings, Told};
use crate::distribution::functions::LambdaSpec;

/// How often code is looked at for a change.
const WATCH: Duration = Duration::from_secs(1);
/// A look may take this part of the time between looks at most.
const WATCH_SHARE: u32 = 50;

/// What the thread is told.
pub enum Message {
    Invoke {
        name: Box<str>,
        id: CallId,
        call: Call,
    },
    /// Nobody waits for the call any more.
    Forget {
        name: Box<str>,
        id: CallId,
    },
    /// These are the functions from now on.
    Follow(Vec<Arc<LambdaSpec>>),
    /// The code of a function was made ready, or has changed and was.
    Prepared(HouseId, Result<PathBuf, String>),
    Worker(HouseId, WorkerId, Report),
    /// No more calls; those under way may take so long.
    Drain(Duration, oneshot::Sender<()>),
}

/// One function under one specification: another specification is another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HouseId(u64);

struct House {
    spec: Arc<LambdaSpec>,
    pool: Pool,
    workers: HashMap<WorkerId, mpsc::Sender<Told>>,
    waiting: HashMap<CallId, Call>,
    code: watch::Sender<Prepared>,
    /// Why the last worker did not start.
    last: Option<InvokeFailure>,
    counts: Arc<Counts>,
    /// Looks at the code; ends with the house.
    watching: tokio::task::JoinHandle<()>,
}

impl Drop for House {
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
    houses: BTreeMap<HouseId, House>,
    by_name: HashMap<Box<str>, HouseId>,
    next: u64,
    counts: Arc<super::counts::Shelf>,
    since: Instant,
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
            houses: BTreeMap::new(),
            by_name: HashMap::new(),
            next: 0,
            counts,
            since: Instant::now(),
            leaving: None,
        }
    }

    /// Runs until the service is dropped or has drained.
    pub async fn run(mut self) {
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
        self.houses.clear();
        if let Some((_, done)) = self.leaving.take() {
            let _ = done.send(());
        }
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
                for house in self.houses.values_mut().filter(|house| *house.spec.name == *name) {
                    house.waiting.remove(&id);
                    house.pool.forget(id);
                }
            }
            Message::Follow(specs) => self.follow(specs),
            Message::Prepared(id, prepared) => self.prepared(id, prepared, now),
            Message::Worker(house, worker, report) => self.report(house, worker, report, now),
            Message::Drain(patience, done) => {
                self.leaving = Some((Instant::now() + patience, done));
                let all: Vec<HouseId> = self.houses.keys().copied().collect();
                for id in all {
                    let commands = self.houses.get_mut(&id).map(|house| house.pool.drain());
                    self.obey(id, commands.unwrap_or_default());
                }
            }
        }
    }

    fn invoke(&mut self, name: &str, id: CallId, call: Call, now: Duration) {
        let waiting: usize = self.houses.values().map(|house| house.waiting.len()).sum();
        let room = self.settings.sleepers.saturating_sub(waiting);
        let found = self.by_name.get(name).copied();
        let Some((at, house)) = found.and_then(|at| Some((at, self.houses.get_mut(&at)?))) else {
            let _ = call.reply.send(Err(gone()));
            return;
        };
        house.waiting.insert(id, call);
        let commands = house.pool.call(id, room, now);
        self.obey(at, commands);
    }

    // Functions that stay as they are keep their workers.
    fn follow(&mut self, specs: Vec<Arc<LambdaSpec>>) {
        let mut kept = HashMap::new();
        for spec in specs {
            let name: Box<str> = spec.name.as_str().into();
            let same = self
                .by_name
                .get(&name)
                .filter(|id| self.houses.get(*id).is_some_and(|house| *house.spec == *spec));
            let id = match same {
                Some(id) => *id,
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

    fn open(&mut self, spec: Arc<LambdaSpec>) -> HouseId {
        let id = HouseId(self.next);
        self.next += 1;
        let (code, _) = watch::channel(None);
        let counts = self.counts.of(&spec.name);
        let store = self.settings.folder.join("code");
        let watching = tokio::spawn(watch_code(id, spec.code.clone(), store, self.outbox.clone()));
        let pool = Pool::new(Size { min: spec.workers.0, max: spec.workers.1 });
        let house = House {
            spec,
            pool,
            workers: HashMap::new(),
            waiting: HashMap::new(),
            code,
            last: None,
            counts,
            watching,
        };
        self.houses.insert(id, house);
        id
    }

    // The function is gone or is another one: calls under way end as they began.
    fn close(&mut self, id: HouseId) {
        let Some(house) = self.houses.get_mut(&id) else { return };
        house.watching.abort();
        let commands = house.pool.drain();
        self.obey(id, commands);
    }

    fn prepared(&mut self, id: HouseId, prepared: Result<PathBuf, String>, now: Duration) {
        let Some(house) = self.houses.get_mut(&id) else { return };
        let name = &house.spec.name;
        match &prepared {
            Ok(code) => tracing::info!(lambda = %name, code = %code.display(), "its code is ready"),
            Err(why) => tracing::warn!(lambda = %name, why, "its code cannot be used"),
        }
        let is_first = house.code.borrow().is_none();
        house.code.send_replace(Some(prepared));
        let commands = if is_first { house.pool.tick(now) } else { house.pool.renew(now) };
        self.obey(id, commands);
    }

    fn report(&mut self, id: HouseId, worker: WorkerId, report: Report, now: Duration) {
        let Some(house) = self.houses.get_mut(&id) else { return };
        let commands = match report {
            Report::Ready => house.pool.ready(worker, now),
            Report::Ended(failure) => {
                house.workers.remove(&worker);
                if let Some(failure) = failure {
                    let name = &house.spec.name;
                    tracing::warn!(lambda = %name, worker = worker.0, %failure, "a worker did not start");
                    house.counts.failed_starts.add();
                    house.last = Some(failure);
                }
                house.pool.ended(worker, now)
            }
        };
        self.obey(id, commands);
    }

    fn tick(&mut self) {
        let now = self.now();
        let all: Vec<HouseId> = self.houses.keys().copied().collect();
        for id in all {
            let commands = match self.houses.get_mut(&id) {
                Some(house) if house.pool.wakes_at().is_some_and(|at| at <= now) => {
                    house.pool.tick(now)
                }
                _ => continue,
            };
            self.obey(id, commands);
        }
    }

    fn wakes_at(&self) -> Option<Instant> {
        let pools = self.houses.values().filter_map(|house| house.pool.wakes_at());
        let next = pools.min().map(|after| self.since + after);
        let until = self.leaving.as_ref().map(|(until, _)| *until);
        next.into_iter().chain(until).min()
    }

    fn obey(&mut self, id: HouseId, commands: Vec<Command>) {
        let Some(house) = self.houses.get_mut(&id) else { return };
        for command in commands {
            match command {
                Command::Start(worker) => {
                    let (tells, told) = mpsc::channel(2);
                    house.workers.insert(worker, tells);
                    let outfit = Outfit {
                        spec: Arc::clone(&house.spec),
                        settings: Arc::clone(&self.settings),
                        code: house.code.subscribe(),
                    };
                    // Numbers of different functions and times of one do not meet.
                    let number = id.0 << 32 | worker.0;
                    let to = self.outbox.clone();
                    tokio::spawn(worker::run(outfit, number, told, move |report| {
                        if let Some(to) = to.upgrade() {
                            let _ = to.send(Message::Worker(id, worker, report));
                        }
                    }));
                }
                Command::Assign(worker, call) => {
                    let call = house.waiting.remove(&call);
                    let Some(tells) = house.workers.get(&worker) else { continue };
                    if let Some(call) = call {
                        // A worker that has just died gives the call back by dropping it.
                        let _ = tells.try_send(Told::Call(call));
                    }
                }
                Command::Refuse(call, why) => {
                    let Some(call) = house.waiting.remove(&call) else { continue };
                    let failure = match why {
                        Refused::Full => InvokeFailure::Throttled,
                        Refused::Broken => house.last.clone().unwrap_or_else(gone),
                        Refused::Draining => gone(),
                    };
                    let _ = call.reply.send(Err(failure));
                }
                Command::End(worker) => {
                    // Without what tells it, a worker ends too.
                    if let Some(tells) = house.workers.remove(&worker) {
                        let _ = tells.try_send(Told::End);
                    }
                }
            }
        }
        house.counts.note(house.pool.tally());
    }

    // Houses that were closed are gone once their last worker is.
    fn sweep(&mut self) {
        let live = &self.by_name;
        self.houses
            .retain(|id, house| !house.pool.is_empty() || live.values().any(|kept| kept == id));
    }

    fn has_left(&self) -> bool {
        let Some((until, _)) = &self.leaving else { return false };
        Instant::now() >= *until || self.houses.values().all(|house| house.pool.is_empty())
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

// Makes code ready, and again whenever it has changed and has come to rest. The folder of a zip that is
// damaged stays as it was: workers go on with the code before.
async fn watch_code(
    house: HouseId,
    code: PathBuf,
    store: PathBuf,
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
            let made = tokio::task::spawn_blocking(move || code::prepare(&of, &store)).await;
            let made = made.unwrap_or_else(|_| Err("it could not be looked at".into()));
            known = seen;
            let Some(to) = to.upgrade() else { return };
            // Of what came later a mistake leaves the code as it is, and is told.
            match made {
                Err(why) if !is_first => {
                    tracing::warn!(code = %code.display(), why, "changed code cannot be used");
                }
                made => drop(to.send(Message::Prepared(house, made))),
            }
            is_first = false;
        }
        before = seen;
        let rest = WATCH.max(looking.elapsed() * WATCH_SHARE);
        tokio::time::sleep(rest).await;
    }
}
