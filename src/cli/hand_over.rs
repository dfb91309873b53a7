//! A running process hands its place over to a new one: what `supervisor::succession` decides, done.

use std::ffi::OsString;
use std::fs::File;
use std::future::pending;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use clap::ValueEnum;
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::RunArgs;
use super::disk_tier::DiskTier;
use super::hold::Hold;
use crate::control::Control;
use crate::control::succession::Ask;
use crate::invalidation::log::InvalidationRecord;
use crate::invalidation::service::{Durability, Relay};
use crate::supervisor::notify::{Event, Manager};
use crate::supervisor::passing::{Closer, Line, Message, PROTOCOL, Socket, is_late};
use crate::supervisor::succession::{Act, End, Giver, Heard, Stage, Step};

/// How long each step may take once the new process has its configuration. Viewers' writes wait for
/// two of them at most, and for a second in which parents are told.
const STEP: Duration = Duration::from_secs(10);
/// How long the new process may take to put an invalidation in force.
const RELAYED: Duration = Duration::from_secs(5);
/// How long the new process may take for its configuration, where nobody said.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long idle connections stay once another process has this one's place: what is on its way
/// over them is answered, with the word that it is the last.
const IDLE_GRACE: Duration = Duration::from_secs(2);

const NONSENSE: &str = "the new process says what makes no sense";
const ENDING: &str = "this process was told to end";

/// How this process was started, for another to be started so.
pub(super) struct Start {
    program: PathBuf,
    args: Vec<OsString>,
}

impl Start {
    /// To be asked early: later the program's file may be another.
    pub(super) fn of(args: &RunArgs) -> Result<Self, String> {
        let program = std::env::current_exe().map_err(|error| error.to_string())?;
        let mut all: Vec<OsString> = vec!["run".into(), "--take-over".into(), "--config".into()];
        all.push(args.config.config.clone().into());
        if let Some(level) = args.log_level.to_possible_value() {
            all.push("--log-level".into());
            all.push(level.get_name().into());
        }
        if args.quiet {
            all.push("--quiet".into());
        }
        Ok(Self { program, args: all })
    }
}

/// What is handed over, and what is told of it.
pub(super) struct HandedOver {
    pub control: Arc<Control>,
    pub disk: Arc<DiskTier>,
    pub manager: Arc<Manager>,
    /// All that are listened on, once more.
    pub sockets: Vec<(Socket, OwnedFd)>,
    /// The data folder's.
    pub lock: File,
    pub start: Start,
}

/// The process that has this one's place.
pub(super) struct Successor {
    pub process: u32,
    line: Arc<Mutex<Option<Line>>>,
}

impl Successor {
    /// Tells it what this process has counted in the end.
    pub(super) fn hear_counts(&self, text: String) {
        if let Some(line) = &*self.line.lock()
            && let Err(error) = line.send(&Message::Counts { text }, None)
        {
            tracing::warn!(%error, "what was counted while this process drained is lost");
        }
    }

    // It is a child that nobody has waited for, so its number is its own.
    fn tell_to_end(&self) {
        if let Some(process) = i32::try_from(self.process).ok().and_then(Pid::from_raw) {
            let _ = kill_process(process, Signal::TERM);
        }
    }
}

/// Whether this process is to end itself, and what ends the talk with a new one then, for as long
/// as that has nothing of this one's.
#[derive(Default)]
struct Ending(Mutex<(bool, Option<Closer>)>);

impl Ending {
    fn ask(&self) {
        let (is_asked, closer) = &mut *self.0.lock();
        *is_asked = true;
        closer.iter().for_each(Closer::close);
    }

    fn is_asked(&self) -> bool {
        self.0.lock().0
    }

    // From here on it ends at once when it is asked to.
    fn listen(&self, line: &Line) -> io::Result<()> {
        let fresh = line.closer()?;
        let (is_asked, closer) = &mut *self.0.lock();
        if *is_asked {
            fresh.close();
        }
        *closer = Some(fresh);
        Ok(())
    }

    // From here on it is gone on with to its end, unless it was asked for by now.
    fn pass(&self) -> Result<(), String> {
        let (is_asked, closer) = &mut *self.0.lock();
        *closer = None;
        if *is_asked { Err(ENDING.into()) } else { Ok(()) }
    }
}

impl HandedOver {
    // What has to be otherwise first.
    fn obstacle(&self) -> Option<&'static str> {
        let edge = &self.control.edge;
        if std::process::id() == 1 {
            return Some("a container ends with its first process; start another container");
        }
        // It tells this process what is invalidated there, and what it has counted.
        if self.control.succession.has_predecessor.load(Ordering::Acquire) {
            return Some("the process before this one still drains; ask again when it has ended");
        }
        if self.control.started_with.store.disk.is_some() && edge.disk().is_none() {
            return Some("the disk store is not open; mend the disk, or restart");
        }
        None
    }

    // The program to start. One that is named by a caller belongs to root or to this user, and
    // nobody else may write to it: the admin token is not a way to run what one likes.
    fn program(&self, named: Option<&Path>) -> Result<PathBuf, String> {
        let Some(path) = named else { return Ok(self.start.program.clone()) };
        let failed = |why: &str| Err(format!("the program {}: {why}", path.display()));
        if !path.is_absolute() {
            return failed("it is named by its whole path");
        }
        let found = match std::fs::metadata(path) {
            Ok(found) => found,
            Err(error) => return failed(&error.to_string()),
        };
        let own = rustix::process::geteuid().as_raw();
        if !found.is_file() || found.mode() & 0o111 == 0 {
            return failed("it cannot be run");
        }
        if ![0, own].contains(&found.uid()) || found.mode() & 0o022 != 0 {
            return failed(
                "it has to belong to root or to the user of the edge, and nobody else may write to it",
            );
        }
        Ok(path.to_path_buf())
    }

    fn launch(&self, program: &Path) -> io::Result<(Child, Line)> {
        let (line, other) = Line::pair()?;
        let mut command = Command::new(program);
        command.args(&self.start.args).stdin(Stdio::from(other));
        // They are for the process that the service manager has started.
        for name in ["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID"] {
            command.env_remove(name);
        }
        // With the command the other end is closed here.
        Ok((command.spawn()?, line))
    }

    /// Has a new process take this one's place. An error says why everything is as it was. Blocks,
    /// on a thread of a runtime.
    fn hand_over(
        &self,
        named: Option<&Path>,
        patience: Duration,
        ending: &Ending,
    ) -> Result<Successor, String> {
        if let Some(why) = self.obstacle() {
            return Err(why.into());
        }
        let program = self.program(named)?;
        tracing::info!(program = %program.display(), "a new process is to take this one's place");
        let (child, line) = self
            .launch(&program)
            .map_err(|error| format!("the program {}: {error}", program.display()))?;
        let talk = Talk {
            handed: self,
            ending,
            process: child.id(),
            child,
            line: Arc::new(Mutex::new(Some(line))),
            giver: Giver::new(),
            patience,
            held: None,
            why: String::new(),
        };
        talk.until_over()
    }
}

struct Talk<'e> {
    handed: &'e HandedOver,
    ending: &'e Ending,
    process: u32,
    child: Child,
    line: Arc<Mutex<Option<Line>>>,
    giver: Giver,
    patience: Duration,
    /// What is held back while the new process reads the data folder.
    held: Option<Hold<'e>>,
    why: String,
}

impl Talk<'_> {
    fn until_over(mut self) -> Result<Successor, String> {
        if let Some(line) = &*self.line.lock() {
            self.ending.listen(line).map_err(|error| error.to_string())?;
        }
        while !matches!(self.giver.stage, Stage::Over(_)) {
            let heard = self.hear();
            let mut acts = self.giver.hear(heard);
            while let Some((act, rest)) = acts.split_first() {
                acts = match self.act(*act) {
                    Ok(()) => rest,
                    Err(why) => {
                        self.why = why;
                        self.giver.hear(Heard::Trouble)
                    }
                };
            }
        }
        match self.giver.stage {
            Stage::Over(End::Handed) => {
                Ok(Successor { process: self.process, line: Arc::clone(&self.line) })
            }
            _ => Err(std::mem::take(&mut self.why)),
        }
    }

    fn send(&self, message: &Message) -> Result<(), String> {
        self.send_with(message, None)
    }

    fn send_with(
        &self,
        message: &Message,
        descriptor: Option<std::os::fd::BorrowedFd<'_>>,
    ) -> Result<(), String> {
        let line = self.line.lock();
        let Some(line) = &*line else { return Err("the new process is gone".into()) };
        let sent = line.send(message, descriptor);
        sent.map_err(|error| format!("the new process hears nothing: {error}"))
    }

    fn hear(&mut self) -> Heard {
        let limit = if self.giver.stage == Stage::Started { self.patience } else { STEP };
        let came = match &*self.line.lock() {
            Some(line) => line.receive(Some(limit)),
            None => Ok(None),
        };
        let (heard, why) = match came {
            Ok(Some((Message::Failed { why }, _))) => {
                (Heard::Trouble, format!("the new process cannot go on: {}", why.trim()))
            }
            Ok(Some((message, _))) => match self.judge(&message) {
                Ok(step) => (Heard::Step(step), NONSENSE.into()),
                Err(why) => (Heard::Trouble, why),
            },
            Ok(None) if self.ending.is_asked() => (Heard::Trouble, ENDING.into()),
            Ok(None) => {
                // If it has not ended, it is not to go on either.
                let _ = self.child.kill();
                let how = self.child.wait().map_or(String::new(), |how| format!(" ({how})"));
                (Heard::Trouble, format!("the new process ended before it served{how}"))
            }
            Err(error) if is_late(&error) => {
                let wanted = match self.giver.stage {
                    Stage::Started => "load its configuration",
                    Stage::Preparing => "take the sockets",
                    Stage::Held => "read the data folder",
                    Stage::Given | Stage::Over(_) => "begin to serve",
                };
                (Heard::Nothing, format!("the new process did not {wanted} within {limit:?}"))
            }
            Err(error) => (Heard::Trouble, format!("what the new process says: {error}")),
        };
        self.why = why;
        heard
    }

    fn judge(&self, message: &Message) -> Result<Step, String> {
        if let Message::Hello { protocol, version, data } = message {
            if *protocol != PROTOCOL {
                return Err(format!(
                    "Foreshore {version} hands over in another way ({protocol}, not {PROTOCOL}); restart"
                ));
            }
            let own = &self.handed.control.started_with.data;
            let whole = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
            if whole(data) != whole(own) {
                return Err(format!(
                    "the data folder is {} now, and was {}; that needs a restart",
                    data.display(),
                    own.display()
                ));
            }
        }
        message.step().ok_or_else(|| NONSENSE.into())
    }

    fn act(&mut self, act: Act) -> Result<(), String> {
        let handed = self.handed;
        match act {
            Act::SendSockets => self.send_sockets()?,
            Act::Hold => self.hold()?,
            Act::SendYours => self.send(&Message::Yours)?,
            Act::Freeze => self.held.as_ref().map_or(Ok(()), Hold::freeze)?,
            Act::SendGo => self.send(&Message::Go { counts: handed.control.metrics() })?,
            Act::EndTaker => {
                *self.line.lock() = None;
                let _ = self.child.kill();
                let _ = self.child.wait();
            }
            Act::Thaw => self.held.iter_mut().for_each(Hold::thaw),
            Act::Release => self.held.take().into_iter().for_each(Hold::release),
            Act::Leave => self.leave(),
        }
        Ok(())
    }

    fn send_sockets(&self) -> Result<(), String> {
        for (socket, descriptor) in &self.handed.sockets {
            self.send_with(&Message::Socket(*socket), Some(descriptor.as_fd()))?;
        }
        self.send_with(&Message::Lock, Some(self.handed.lock.as_fd()))?;
        if let Some(lock) = self.handed.control.edge.disk().and_then(|disk| disk.lock()) {
            self.send_with(&Message::Lock, Some(lock))?;
        }
        self.send(&Message::Sockets)
    }

    fn hold(&mut self) -> Result<(), String> {
        self.ending.pass()?;
        self.held = Some(Hold::begin(&self.handed.control, &self.handed.disk, STEP)?);
        Ok(())
    }

    fn leave(&mut self) {
        let control = &self.handed.control;
        // Whoever connects from here on is the new process's viewer.
        let grace = IDLE_GRACE.min(control.edge.running().site.limits.drain / 2);
        control.edge.idle_grace.store(grace.as_millis() as u64, Ordering::Relaxed);
        control.draining.send_replace(true);
        control.succession.over.send_replace(true);
        if let Some(held) = self.held.take() {
            held.hand_on(relay(Arc::clone(&self.line)));
        }
        // A manager that reads nothing holds nobody else up.
        self.handed.manager.tell(Event::Succeeded(self.process));
    }
}

impl Drop for Talk<'_> {
    fn drop(&mut self) {
        // It broke off: what is held goes with this, and the new process before it.
        if !matches!(self.giver.stage, Stage::Over(_)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

// What is invalidated here is in force at the new process before the caller hears of it.
fn relay(line: Arc<Mutex<Option<Line>>>) -> Relay {
    Box::new(move |record, durability| {
        let mut line = line.lock();
        let passed = match &*line {
            Some(line) => pass_on(line, &record, durability),
            None => Err(io::Error::other("the process that has this one's place is gone")),
        };
        let error = match passed {
            Ok(record) => return Ok(record),
            Err(error) => error,
        };
        // An answer that comes late would be taken for the next one's.
        *line = None;
        match durability {
            Durability::Synced => Err(error),
            Durability::InForce => {
                tracing::error!(%error, "what a viewer's write has made old is not known to the process that has this one's place");
                Ok(record)
            }
        }
    })
}

fn pass_on(
    line: &Line,
    record: &InvalidationRecord,
    durability: Durability,
) -> io::Result<InvalidationRecord> {
    line.send(&Message::record(record.clone(), durability), None)?;
    match line.receive(Some(RELAYED))? {
        Some((Message::Taken { record }, _)) => Ok(*record),
        Some((Message::Refused { why }, _)) => Err(io::Error::other(why)),
        _ => Err(io::Error::other("the process that has this one's place is gone")),
    }
}

type Answer = Option<oneshot::Sender<Result<u32, String>>>;

/// Upgrades that are asked for, one after the other.
pub(super) struct Upgrades {
    handed: Arc<HandedOver>,
    asked: mpsc::Receiver<Ask>,
    under_way: Option<(JoinHandle<Result<Successor, String>>, Answer)>,
    ending: Arc<Ending>,
}

impl Upgrades {
    pub(super) fn new(handed: Arc<HandedOver>, asked: mpsc::Receiver<Ask>) -> Self {
        Self { handed, asked, under_way: None, ending: Arc::default() }
    }

    /// Begins one, unless one is under way.
    pub(super) fn begin(&mut self, ask: Option<Ask>) {
        if self.under_way.is_some() {
            return tracing::warn!("another upgrade is under way");
        }
        let (binary, patience, answer) = match ask {
            Some(ask) => (ask.binary, ask.patience, Some(ask.answer)),
            None => (None, PATIENCE, None),
        };
        let (handed, ending) = (Arc::clone(&self.handed), Arc::clone(&self.ending));
        let work = move || handed.hand_over(binary.as_deref(), patience, &ending);
        self.under_way = Some((tokio::task::spawn_blocking(work), answer));
    }

    /// Waits for whoever asks, and for the end of what was begun; gives the process that has this
    /// one's place by then. May be dropped and called again.
    pub(super) async fn go_on(&mut self) -> Option<Successor> {
        if self.under_way.is_none() {
            match self.asked.recv().await {
                Some(ask) => self.begin(Some(ask)),
                None => pending().await,
            }
        }
        let (task, _) = self.under_way.as_mut()?;
        let done = task.await.unwrap_or_else(|error| Err(error.to_string()));
        let (_, answer) = self.under_way.take()?;
        match done {
            Ok(successor) => {
                tracing::info!(
                    process = successor.process,
                    "a new process has taken this one's place"
                );
                if let Some(answer) = answer {
                    let _ = answer.send(Ok(successor.process));
                }
                Some(successor)
            }
            Err(why) => {
                self.handed.control.succession.failed.fetch_add(1, Ordering::Relaxed);
                tracing::error!(why, "the upgrade failed; this process goes on");
                if let Some(answer) = answer {
                    let _ = answer.send(Err(why));
                }
                None
            }
        }
    }

    /// Ends what was begun, as this process is to end itself. Where that comes too late, the
    /// process that has this one's place is told to end too, and given.
    pub(super) async fn call_off(&mut self) -> Option<Successor> {
        self.under_way.as_ref()?;
        self.ending.ask();
        tracing::warn!("told to end while a new process is to take this one's place");
        let successor = self.go_on().await;
        successor.iter().for_each(Successor::tell_to_end);
        successor
    }
}
