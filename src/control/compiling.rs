//! The thread on which a configuration is compiled while viewers are served: behind viewers, wherever
//! both want a core. Nothing of a request waits for it. A little change of the API's documents does
//! without: for a hit, how often threads take its core counts for more than how nice they are.
//!
//! It has a lower priority, and Linux hands that on to whatever a thread starts, for good: no work
//! may start a thread or a process here. Putting a site in force is for whoever asked: that takes
//! locks that requests wait for, too.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{SendError, SyncSender, sync_channel};

use parking_lot::Mutex;
use rustix::process::{getpriority_process, setpriority_process};
use rustix::thread::gettid;

use crate::config::report::Report;
use crate::config::{self, Loaded, MissingCertificates, Units};
use crate::documents::shelf::{Document, Documents};
use crate::semantics::time::Timestamp;

/// How much nicer the thread is than the process: where both want a core for long, it has a quarter.
const NICER: i32 = 5;
/// Nothing is nicer.
const NICEST: i32 = 19;
/// Work that waits behind what is under way. Whoever has more waits in its place: they hold the
/// documents, so there is one at a time.
const WAITING: usize = 1;

type Work = Box<dyn FnOnce() + Send>;

/// Compiles configurations, one after the other.
pub struct Compiler {
    work: SyncSender<Work>,
    /// What was compiled last, as far as the next change may use it again.
    units: Arc<Mutex<Units>>,
}

impl Compiler {
    /// Starts the thread. Where there can be none, whoever asks compiles.
    pub fn start() -> Self {
        let (work, waiting) = sync_channel::<Work>(WAITING);
        let thread = std::thread::Builder::new().name("compile".into()).spawn(move || {
            step_back();
            waiting.into_iter().for_each(|work| work());
        });
        if let Err(error) = thread {
            tracing::warn!(%error, "no thread for compiling: changes compete with viewers");
        }
        Self { work, units: Arc::default() }
    }

    /// Compiles a configuration with these documents, using again what is as it was. Blocks.
    pub fn load_again(
        &self,
        path: &Path,
        now: Timestamp,
        documents: &Documents,
    ) -> Result<Loaded, Report> {
        let (load, documents) = (self.loader(path, now), documents.clone());
        self.behind(move || load(&documents))
    }

    /// What does the same, for work that has more to do beside it.
    pub fn loader(
        &self,
        path: &Path,
        now: Timestamp,
    ) -> impl FnOnce(&Documents) -> Result<Loaded, Report> + Send + 'static + use<> {
        let (path, units) = (path.to_path_buf(), Arc::clone(&self.units));
        move |documents: &Documents| -> Result<Loaded, Report> {
            let done = MissingCertificates::Done;
            config::load_again(&path, now, done, Some(documents), &mut units.lock())
        }
    }

    /// What says, behind such a loader, whether a document became a distribution of what it loaded.
    pub fn looker(&self) -> impl Fn(&Arc<Document>) -> bool + Send + 'static + use<> {
        let units = Arc::clone(&self.units);
        move |document: &Arc<Document>| units.lock().is_made_of(document)
    }

    /// Does work that compiles these documents: behind viewers, but for a little change. That is done
    /// by whoever asks, at once: the thread would want a core no shorter, and each turn of one more
    /// thread is one that a hit may have to wait for. Blocks.
    pub fn change<T: Send + 'static>(
        &self,
        documents: &Documents,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        // The lock is let go here: the work takes it again.
        let is_little = self.units.lock().is_little(documents);
        if is_little { work() } else { self.behind(work) }
    }

    /// Reads and compiles everything anew. What the next change may use again of it is to be kept
    /// once it is in force. Blocks.
    pub fn load_anew(&self, path: &Path, now: Timestamp) -> Result<(Loaded, Units), Report> {
        let path = path.to_path_buf();
        self.behind(move || {
            let (mut units, done) = (Units::default(), MissingCertificates::Done);
            let loaded = config::load_again(&path, now, done, None, &mut units)?;
            Ok((loaded, units))
        })
    }

    /// Keeps what was compiled for the next change.
    pub fn keep(&self, units: Units) {
        *self.units.lock() = units;
    }

    /// Has the thread do something, and waits for it. What goes wrong there goes wrong here.
    pub fn behind<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (tell, told) = sync_channel(1);
        let work = move || drop(tell.send(catch_unwind(AssertUnwindSafe(work))));
        if let Err(SendError(work)) = self.work.send(Box::new(work)) {
            work();
        }
        match told.recv() {
            Ok(Ok(done)) => done,
            Ok(Err(why)) => resume_unwind(why),
            Err(gone) => resume_unwind(Box::new(gone)),
        }
    }
}

// Lowers the priority of this thread, and of no other.
fn step_back() {
    let lower = |now: i32| setpriority_process(Some(gettid()), (now + NICER).min(NICEST));
    if let Err(error) = getpriority_process(Some(gettid())).and_then(lower) {
        tracing::warn!(%error, "the thread that compiles has the priority of those that serve");
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::documents::shelf::Kind;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    // A configuration without distributions, for the API to make some.
    fn configured(folder: &Path) -> PathBuf {
        let path = folder.join("edge.toml");
        let listen = "[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n";
        std::fs::write(&path, format!("data = \"data\"\n{listen}[api]\n")).unwrap();
        path
    }

    fn niceness() -> i32 {
        getpriority_process(Some(gettid())).unwrap()
    }

    #[test]
    fn work_is_done_behind_whoever_asks_for_it() {
        let compiler = Compiler::start();
        let before = niceness();
        let name = || std::thread::current().name().map(String::from);
        let seen = compiler.behind(move || (name(), niceness()));
        assert_eq!(seen, (Some("compile".to_string()), (before + NICER).min(NICEST)));
        assert_eq!(niceness(), before);
        assert_eq!(std::thread::spawn(niceness).join().unwrap(), before);
    }

    #[test]
    fn work_that_breaks_off_breaks_off_for_its_caller_alone() {
        let compiler = Compiler::start();
        let broken = || compiler.behind(|| -> u8 { panic!("no such luck") });
        let why = catch_unwind(AssertUnwindSafe(broken)).unwrap_err();
        assert_eq!(why.downcast_ref::<&str>(), Some(&"no such luck"));
        assert_eq!(compiler.behind(|| 7), 7);
    }

    #[test]
    fn without_the_thread_whoever_asks_does_it() {
        let (work, waiting) = sync_channel(WAITING);
        drop(waiting);
        let compiler = Compiler { work, units: Arc::default() };
        let here = std::thread::current().id();
        assert_eq!(compiler.behind(|| std::thread::current().id()), here);
    }

    #[test]
    fn a_little_change_is_made_by_who_asks_and_all_else_behind() {
        let folder = tempfile::tempdir().unwrap();
        let path = configured(folder.path());
        let compiler = Compiler::start();
        let here = std::thread::current().id();
        let is_here = |documents: &Documents| {
            compiler.change(documents, || std::thread::current().id()) == here
        };
        let mut documents = Documents::default();
        // Nothing was compiled yet, so all is to be.
        assert!(!is_here(&documents));
        assert!(compiler.load_again(&path, NOW, &documents).is_ok());
        let put = |documents: &mut Documents, kind: Kind, id: &str| {
            documents.put(kind, Document::new(id, serde_json::json!({}), 1));
        };
        put(&mut documents, Kind::Distribution, "E1");
        assert!(is_here(&documents));
        let mut with_policy = documents.clone();
        put(&mut with_policy, Kind::CachePolicy, "P1");
        assert!(!is_here(&with_policy));
        for at in 2..20 {
            put(&mut documents, Kind::Distribution, &format!("E{at}"));
        }
        assert!(!is_here(&documents));
    }

    // The work takes the lock that says how much there is of it.
    #[test]
    fn a_little_change_compiles_where_it_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = configured(folder.path());
        let compiler = Compiler::start();
        for _ in 0..2 {
            let (load, documents) = (compiler.loader(&path, NOW), Documents::default());
            assert!(compiler.change(&Documents::default(), move || load(&documents)).is_ok());
        }
    }

    // More callers than may wait: each hears what it asked for.
    #[test]
    fn callers_wait_for_their_turn() {
        let compiler = Compiler::start();
        std::thread::scope(|scope| {
            for at in 0..20 {
                let compiler = &compiler;
                scope.spawn(move || assert_eq!(compiler.behind(move || at * 2), at * 2));
            }
        });
    }
}
