//! The way of every log's lines: composed in a per-core buffer, written by one thread.
//!
//! The thread's queue is bounded in octets; what does not fit is dropped and counted. What is
//! counted was not written, and what was written is whole lines, on a full disk too.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

use super::access_log::write_json;
use super::cloudfront_fields::{Answered, Asked, Pop};
use super::onlook::Onlook;
use super::spent::Spent;
use super::stamp::Stamp;
use super::standard_log::{self, Files, Shelf};
use super::{Record, realtime_log};
use crate::distribution::logs::{CloudFrontLogs, LogSettings, RealtimeChoice};
use crate::distribution::site::Site;
use crate::semantics::time::Timestamp;

/// Lines go to the thread in batches of about this size.
const BATCH: usize = 128 * 1024;
/// A buffer has room for these and the line that makes them so many.
const BUFFER: usize = BATCH + 4096;

/// How often a thread that has nothing to write looks whether an hour is over.
const LOOK: Duration = Duration::from_secs(20);
/// How often a log that cannot be opened is tried again, and how long lines may still come that
/// were composed before a reload.
const AGAIN: Duration = Duration::from_secs(1);
/// How long lines are gathered for those who look on, after one of them looked last.
const ATTENTION: Duration = Duration::from_secs(15);

/// Lines of the access log are wanted by the log itself.
const FOR_LOG: u8 = 1;
/// They are wanted by those who look on.
const FOR_ONLOOKERS: u8 = 2;

/// What is gathered while somebody looks on, and until when that is.
struct Watched {
    until: Instant,
    onlook: Onlook,
}

/// `None` while nobody looks on.
type Watching = Arc<parking_lot::Mutex<Option<Watched>>>;

/// The queue to the writing thread, shared by the cores.
pub struct LogQueue {
    sender: parking_lot::Mutex<Sender<Message>>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
    pub dropped: Arc<AtomicU64>,
    /// Buffers of the access log.
    spent: Arc<Spent>,
    /// Who wants lines of the access log; none for nobody.
    wanted: AtomicU8,
    watching: Watching,
    /// Whether anything is wanted beside the access log: asked for each request, so without a look
    /// at what it is.
    has_more: AtomicBool,
    /// What is wanted beside it; `None` for nothing.
    more: ArcSwapOption<CloudFrontLogs>,
    /// Whether what code at the edge writes is wanted.
    has_functions: AtomicBool,
}

enum Message {
    Lines(Vec<u8>),
    /// Lines of CloudFront's standard log, and under which settings they were composed.
    Standard(Arc<CloudFrontLogs>, Shelf, Vec<u8>),
    /// Lines of one of its real-time logs, by its place among them.
    Realtime(Arc<CloudFrontLogs>, usize, Vec<u8>),
    /// What code at the edge wrote.
    Functions(Vec<u8>),
    /// Write elsewhere from now on; also used to reopen after a rotation. The second is where the
    /// lines of code go.
    Targets(LogSettings, LogSettings, CloudFrontLogs),
    Flush(Sender<()>),
}

impl LogQueue {
    /// Starts the writing thread.
    pub fn start(site: &Site) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let dropped = Arc::<AtomicU64>::default();
        let spent = Arc::new(Spent::new(BUFFER));
        let watching = Watching::default();
        let writer = Writer::new(Arc::clone(&dropped), Arc::clone(&spent), Arc::clone(&watching));
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || writer.run(&receiver, &left))?;
        let sender = parking_lot::Mutex::new(sender);
        let has_more = AtomicBool::new(false);
        let queue = Arc::new(Self {
            sender,
            waiting,
            limit: site.limits.log_queue,
            dropped,
            spent,
            wanted: AtomicU8::new(0),
            watching,
            has_more,
            more: ArcSwapOption::empty(),
            has_functions: AtomicBool::new(false),
        });
        queue.retarget(site);
        Ok(queue)
    }

    /// Writes where a site says from now on, or opens the same files anew.
    pub fn retarget(&self, site: &Site) {
        self.want(FOR_LOG, site.log != LogSettings::Off);
        let more = &site.more_logs;
        let has_more = *more != CloudFrontLogs::default();
        self.more.store(has_more.then(|| Arc::new(more.clone())));
        self.has_more.store(has_more, Ordering::Relaxed);
        let functions = &site.function_settings.log;
        self.has_functions.store(*functions != LogSettings::Off, Ordering::Relaxed);
        let targets = Message::Targets(site.log.clone(), functions.clone(), more.clone());
        let _ = self.sender.lock().send(targets);
    }

    /// Says whether any log is written, or looked at.
    pub fn is_logging(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) != 0 || self.has_more.load(Ordering::Relaxed)
    }

    fn want(&self, whom: u8, wants: bool) {
        if wants {
            self.wanted.fetch_or(whom, Ordering::Relaxed);
        } else {
            self.wanted.fetch_and(!whom, Ordering::Relaxed);
        }
    }

    /// Shows what was gathered since somebody looks on, and has it gathered for a while more. The
    /// first look finds nothing yet.
    pub fn look_on<T>(&self, now: Timestamp, show: impl FnOnce(&Onlook) -> T) -> T {
        let mut watching = self.watching.lock();
        let until = Instant::now() + ATTENTION;
        let watched = watching.get_or_insert_with(|| Watched { until, onlook: Onlook::since(now) });
        watched.until = until;
        self.want(FOR_ONLOOKERS, true);
        show(&watched.onlook)
    }

    /// Gathers nothing any more once the last look is long past. Called every now and then.
    pub fn look_away(&self) {
        let mut watching = self.watching.lock();
        if watching.as_ref().is_some_and(|watched| watched.until < Instant::now()) {
            *watching = None;
            self.want(FOR_ONLOOKERS, false);
        }
    }

    /// What is wanted beside the access log.
    pub fn more(&self) -> Option<Arc<CloudFrontLogs>> {
        if !self.has_more.load(Ordering::Relaxed) {
            return None;
        }
        self.more.load_full()
    }

    /// Says whether what code at the edge writes is wanted.
    pub fn wants_functions(&self) -> bool {
        self.has_functions.load(Ordering::Relaxed)
    }

    /// Takes whole lines that code at the edge wrote.
    pub fn add_functions(&self, lines: Vec<u8>) {
        self.push(lines, Message::Functions);
    }

    /// Waits until everything queued so far is written.
    pub fn flush(&self) {
        let (done, wait) = channel();
        if self.sender.lock().send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(Duration::from_secs(2));
        }
    }

    // Hands lines on, or drops them where too many wait.
    fn push(&self, lines: Vec<u8>, message: impl FnOnce(Vec<u8>) -> Message) {
        let len = lines.len();
        if self.waiting.load(Ordering::Relaxed) + len > self.limit {
            return drop_lines(&self.dropped, &lines);
        }
        self.waiting.fetch_add(len, Ordering::Relaxed);
        let _ = self.sender.lock().send(message(lines));
    }
}

/// What a log's lines are written to: a file, or standard output.
trait Sink: Write + Send {
    /// Takes back the octets that were written last; `false` where that cannot be done.
    fn take_back(&mut self, octets: u64) -> bool;
}

impl Sink for File {
    fn take_back(&mut self, octets: u64) -> bool {
        match self.metadata() {
            // Shorter than that: it was emptied from outside, and nothing is to be taken back.
            Ok(found) if found.is_file() => {
                found.len().checked_sub(octets).is_none_or(|len| self.set_len(len).is_ok())
            }
            _ => false,
        }
    }
}

impl Sink for std::io::Stdout {
    fn take_back(&mut self, _: u64) -> bool {
        false
    }
}

// Writes as much as it can: how many octets that was, and why not all.
fn write_far(out: &mut (impl Write + ?Sized), octets: &[u8]) -> (usize, Option<std::io::Error>) {
    let mut done = 0;
    while done < octets.len() {
        match out.write(&octets[done..]) {
            Ok(0) => return (done, Some(std::io::ErrorKind::WriteZero.into())),
            Ok(wrote) => done += wrote,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return (done, Some(error)),
        }
    }
    (done, None)
}

/// A file that lines are added to. A full disk must not stop the edge; it is said once until
/// writing works again.
struct Appended {
    settings: LogSettings,
    out: Option<Box<dyn Sink>>,
    /// The rest of a line whose beginning stands there and cannot be taken back.
    rest: Vec<u8>,
    what: &'static str,
    complained: bool,
    tried: Instant,
    dropped: Arc<AtomicU64>,
}

impl Appended {
    fn open(what: &'static str, settings: LogSettings, dropped: &Arc<AtomicU64>) -> Self {
        let (tried, dropped) = (Instant::now(), Arc::clone(dropped));
        let mut file =
            Self { settings, out: None, rest: Vec::new(), what, complained: false, tried, dropped };
        file.try_open();
        file
    }

    fn try_open(&mut self) {
        self.tried = Instant::now();
        let opened: std::io::Result<Option<Box<dyn Sink>>> = match &self.settings {
            LogSettings::Off => Ok(None),
            LogSettings::Stdout => Ok(Some(Box::new(std::io::stdout()))),
            LogSettings::File(path) => {
                open_file(path).map(|file| Some(Box::new(file) as Box<dyn Sink>))
            }
        };
        match opened {
            Ok(out) => self.out = out,
            Err(error) => {
                self.complain(&error, "a log cannot be opened; lines are dropped until it can")
            }
        }
    }

    fn add(&mut self, lines: &[u8]) {
        if self.settings == LogSettings::Off {
            return;
        }
        if self.out.is_none() && self.tried.elapsed() >= AGAIN {
            self.try_open();
        }
        let (lost, error) = self.write(lines);
        drop_lines(&self.dropped, lost);
        match error {
            Some(error) => self.complain(&error, "writing a log failed"),
            None if lost.is_empty() => self.complained = false,
            None => {}
        }
    }

    // Gives the lines that were not written, and why not.
    fn write<'l>(&mut self, lines: &'l [u8]) -> (&'l [u8], Option<std::io::Error>) {
        let Some(out) = self.out.as_mut() else { return (lines, None) };
        let (done, error) = write_far(out, &self.rest);
        self.rest.drain(..done);
        if error.is_some() {
            return (lines, error);
        }
        let (done, error) = write_far(out, lines);
        if error.is_none() {
            return (&[], None);
        }
        let whole = memchr::memrchr(b'\n', &lines[..done]).map_or(0, |at| at + 1);
        if done == whole || out.take_back((done - whole) as u64) {
            return (&lines[whole..], error);
        }
        let end = memchr::memchr(b'\n', &lines[whole..]).map_or(lines.len(), |at| whole + at + 1);
        self.rest = lines[done..end].to_vec();
        (&lines[end..], error)
    }

    fn complain(&mut self, error: &std::io::Error, words: &str) {
        if !std::mem::replace(&mut self.complained, true) {
            tracing::error!(log = self.what, target = ?self.settings, %error, "{words}");
        }
    }
}

fn drop_lines(dropped: &AtomicU64, lines: &[u8]) {
    dropped.fetch_add(memchr::memchr_iter(b'\n', lines).count() as u64, Ordering::Relaxed);
}

fn open_file(path: &PathBuf) -> std::io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

/// What is written to, and what was until the last reload: lines still come that were composed
/// under the settings before it, and go where they were meant to go.
struct Target<T> {
    now: Option<T>,
    before: Option<T>,
}

impl<T> Target<T> {
    const NONE: Self = Self { now: None, before: None };

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.now.iter_mut().chain(&mut self.before)
    }

    // Puts another in the place of the one in force; gives the one that no line will reach any
    // more.
    fn replace(&mut self, next: Option<T>) -> Option<T> {
        std::mem::replace(&mut self.before, std::mem::replace(&mut self.now, next))
    }
}

/// The state of the one thread that writes all logs.
struct Writer {
    access: Appended,
    functions: Appended,
    realtime: Target<(Arc<CloudFrontLogs>, Vec<Appended>)>,
    standard: Target<Files>,
    /// Since when the targets are what they are.
    changed: Instant,
    complained: bool,
    dropped: Arc<AtomicU64>,
    spent: Arc<Spent>,
    watching: Watching,
}

impl Writer {
    fn new(dropped: Arc<AtomicU64>, spent: Arc<Spent>, watching: Watching) -> Self {
        let access = Appended::open("access", LogSettings::Off, &dropped);
        let functions = Appended::open("functions", LogSettings::Off, &dropped);
        Self {
            access,
            functions,
            realtime: Target::NONE,
            standard: Target::NONE,
            changed: Instant::now(),
            complained: false,
            dropped,
            spent,
            watching,
        }
    }

    fn run(mut self, receiver: &Receiver<Message>, waiting: &AtomicUsize) {
        loop {
            let message = match receiver.recv_timeout(LOOK) {
                Ok(message) => message,
                Err(RecvTimeoutError::Timeout) => {
                    let now = SystemTime::now()
                        .duration_since(UNIX_EPOCH)
                        .map_or(0, |since| since.as_secs());
                    self.standard.iter_mut().for_each(|files| files.finish_before(now / 3600));
                    self.end_the_former();
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if let Message::Lines(lines)
            | Message::Standard(_, _, lines)
            | Message::Realtime(_, _, lines)
            | Message::Functions(lines) = &message
            {
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
            }
            self.take(message);
            self.end_the_former();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Lines(lines) => {
                if let Some(watched) = self.watching.lock().as_mut() {
                    watched.onlook.take(&lines);
                }
                self.access.add(&lines);
                self.spent.give(lines);
            }
            Message::Realtime(under, at, lines) => {
                let files = self.realtime.iter_mut().find(|(known, _)| *known == under);
                match files.and_then(|(_, files)| files.get_mut(at)) {
                    Some(file) => file.add(&lines),
                    None => drop_lines(&self.dropped, &lines),
                }
            }
            Message::Standard(under, shelf, lines) => self.shelve(&under, &shelf, &lines),
            Message::Functions(lines) => self.functions.add(&lines),
            Message::Targets(settings, functions, more) => {
                self.functions = Appended::open("functions", functions, &self.dropped);
                self.retarget(settings, more);
            }
            Message::Flush(done) => {
                for log in [&mut self.access, &mut self.functions]
                    .into_iter()
                    .chain(self.realtime.iter_mut().flat_map(|(_, files)| files))
                {
                    let _ = log.out.as_mut().map(|out| out.flush());
                }
                // The process is about to end: files of the standard log are finished.
                self.standard.iter_mut().for_each(Files::finish);
                let _ = done.send(());
            }
        }
    }

    fn shelve(&mut self, under: &CloudFrontLogs, shelf: &Shelf, lines: &[u8]) {
        let log = under.standard.as_ref();
        let files = self.standard.iter_mut().find(|files| log.is_some_and(|log| files.is_of(log)));
        match files.map(|files| files.add(shelf, lines)) {
            Some(Ok(())) => self.complained = false,
            Some(Err(error)) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!(%error, "writing the standard log failed");
                }
                drop_lines(&self.dropped, lines);
            }
            None => drop_lines(&self.dropped, lines),
        }
    }

    fn retarget(&mut self, settings: LogSettings, more: CloudFrontLogs) {
        self.changed = Instant::now();
        self.access = Appended::open("access", settings, &self.dropped);
        let more = Arc::new(more);
        let files = more.realtime.iter().map(|log| LogSettings::File(log.file.clone()));
        let files: Vec<Appended> =
            files.map(|file| Appended::open("real-time", file, &self.dropped)).collect();
        let next = (!files.is_empty()).then(|| (Arc::clone(&more), files));
        // The same settings again are a rotation: the first that fits is written to, and that is
        // the one opened anew.
        self.realtime.replace(next);
        // A reload that changes nothing here leaves the files as they are.
        let is_same = match (&self.standard.now, &more.standard) {
            (Some(files), Some(log)) => files.is_of(log),
            (now, log) => now.is_none() && log.is_none(),
        };
        if !is_same {
            // The one before the last may be wanted again; then it begins other files there.
            let next = more.standard.as_ref().map(Files::new);
            self.standard.replace(next).iter_mut().for_each(Files::finish);
        }
    }

    // Nothing comes any more for what was written to before the last reload.
    fn end_the_former(&mut self) {
        if self.changed.elapsed() >= AGAIN {
            self.realtime.before = None;
            self.standard.before.take().iter_mut().for_each(Files::finish);
        }
    }
}

/// One core's lines of all logs, until they go to the writing thread.
pub struct LogBuffer {
    queue: Arc<LogQueue>,
    lines: Vec<u8>,
    stamp: Stamp,
    /// Lines of the standard log, by hour and distribution.
    shelves: Vec<(Shelf, Vec<u8>)>,
    /// Lines of each real-time log.
    realtime: Vec<Vec<u8>>,
    /// Under which settings those two were composed.
    under: Option<Arc<CloudFrontLogs>>,
}

impl LogBuffer {
    /// An empty buffer in front of the queue.
    pub fn new(queue: Arc<LogQueue>) -> Self {
        let lines = queue.spent.take();
        Self {
            queue,
            lines,
            stamp: Stamp::of(Timestamp(0)),
            shelves: Vec::new(),
            realtime: Vec::new(),
            under: None,
        }
    }

    /// Adds a record's line.
    pub fn add(&mut self, record: &Record<'_>) {
        if self.queue.wanted.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.stamp.turn_to(record.timeline.received);
        write_json(&mut self.lines, record, &self.stamp);
        if self.lines.len() >= BATCH {
            self.flush();
        }
    }

    /// Adds lines to the logs that are wanted beside, where a request was for one of our
    /// distributions. `behavior` is what its behavior says of real-time logs.
    pub fn add_more(
        &mut self,
        wanted: &Arc<CloudFrontLogs>,
        record: &Record<'_>,
        asked: &Asked<'_>,
        answered: &Answered<'_>,
        place: Pop<'_>,
        behavior: &RealtimeChoice,
    ) {
        let Some(distribution) = record.distribution else { return };
        if !self.under.as_ref().is_some_and(|under| Arc::ptr_eq(under, wanted)) {
            self.flush();
            self.under = Some(Arc::clone(wanted));
        }
        let mut len = 0;
        let mut realtime = wanted.realtime.iter().enumerate();
        if let Some((at, log)) = realtime.find(|(_, log)| log.tells_of(behavior))
            && asked.is_sampled(log.sampling)
        {
            if self.realtime.len() <= at {
                self.realtime.resize_with(at + 1, Vec::new);
            }
            let lines = &mut self.realtime[at];
            realtime_log::write_line(lines, &log.fields, record, asked, answered, place);
            len = lines.len();
        }
        if let Some(log) = &wanted.standard {
            self.stamp.turn_to(record.timeline.received);
            let hour = standard_log::hour(record.timeline.received);
            let lines = standard_log::on_shelf(&mut self.shelves, hour, distribution);
            standard_log::write_line(lines, log, &self.stamp, record, asked, answered, place);
            len = len.max(lines.len());
        }
        if len >= BATCH {
            self.flush();
        }
    }

    /// Hands what is here to the thread.
    pub fn flush(&mut self) {
        if !self.lines.is_empty() {
            let full = std::mem::replace(&mut self.lines, self.queue.spent.take());
            self.queue.push(full, Message::Lines);
        }
        let Some(under) = &self.under else { return };
        for (shelf, lines) in self.shelves.drain(..) {
            self.queue.push(lines, |lines| Message::Standard(Arc::clone(under), shelf, lines));
        }
        for (at, lines) in self.realtime.iter_mut().enumerate().filter(|(_, all)| !all.is_empty()) {
            self.queue.push(std::mem::take(lines), |lines| {
                Message::Realtime(Arc::clone(under), at, lines)
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many octets, a few at a time.
    #[derive(Clone, Default)]
    struct Narrow {
        room: Arc<AtomicUsize>,
        written: Arc<parking_lot::Mutex<Vec<u8>>>,
        keeps: bool,
    }

    impl Write for Narrow {
        fn write(&mut self, octets: &[u8]) -> std::io::Result<usize> {
            let take = octets.len().min(7).min(self.room.load(Ordering::Relaxed));
            if take == 0 {
                return Err(std::io::ErrorKind::StorageFull.into());
            }
            self.room.fetch_sub(take, Ordering::Relaxed);
            self.written.lock().extend_from_slice(&octets[..take]);
            Ok(take)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl Sink for Narrow {
        fn take_back(&mut self, octets: u64) -> bool {
            let mut written = self.written.lock();
            let left = written.len() - octets as usize;
            if !self.keeps {
                written.truncate(left);
            }
            !self.keeps
        }
    }

    #[test]
    fn whole_lines_are_written_and_only_lost_ones_are_counted() {
        let lines: Vec<u8> =
            (0..10).flat_map(|n| format!("{{\"line\":{n}}}\n").into_bytes()).collect();
        for keeps in [false, true] {
            for room in 0..=lines.len() {
                let narrow =
                    Narrow { room: Arc::new(AtomicUsize::new(room)), keeps, ..Narrow::default() };
                let dropped = Arc::<AtomicU64>::default();
                let mut log = Appended::open("test", LogSettings::Off, &dropped);
                log.settings = LogSettings::Stdout;
                log.out = Some(Box::new(narrow.clone()));
                log.add(&lines);
                narrow.room.store(usize::MAX / 2, Ordering::Relaxed);
                log.add(b"{\"line\":10}\n");
                let written = narrow.written.lock().clone();
                let read: Vec<serde_json::Value> = written
                    .split_inclusive(|b| *b == b'\n')
                    .map(|line| serde_json::from_slice(line).unwrap())
                    .collect();
                assert_eq!(
                    read.len() as u64 + dropped.load(Ordering::Relaxed),
                    11,
                    "room for {room}"
                );
                assert_eq!(read.last().unwrap()["line"], 10);
            }
        }
    }

    #[test]
    fn a_file_takes_back_what_was_written_last() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        let mut file = open_file(&path).unwrap();
        file.write_all(b"whole\nhal").unwrap();
        assert!(file.take_back(3));
        file.write_all(b"next\n").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"whole\nnext\n");
        assert!(file.take_back(100), "somebody emptied it");
    }
}
