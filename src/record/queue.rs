//! The way of every log's lines: composed in a per-core buffer, written by one thread.
//!
//! The thread's queue is bounded in octets; what does not fit is dropped and counted.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

use super::access_log::write_json;
use super::more::{Answered, Asked, Place};
use super::standard_log::{self, Files, Shelf};
use super::{Record, realtime_log};
use crate::distribution::logs::{LogSettings, MoreLogs};
use crate::distribution::site::Site;
use crate::semantics::time::format_rfc3339;

/// Lines go to the thread in batches of about this size.
const BATCH: usize = 128 * 1024;

/// How often a thread that has nothing to write looks whether an hour is over.
const LOOK: Duration = Duration::from_secs(20);

/// The queue to the writing thread, shared by the cores.
pub struct LogQueue {
    sender: parking_lot::Mutex<Sender<Message>>,
    waiting: Arc<AtomicUsize>,
    limit: usize,
    pub dropped: AtomicU64,
    enabled: AtomicBool,
    /// What is wanted beside the access log; `None` for nothing.
    more: ArcSwapOption<MoreLogs>,
}

enum Message {
    Lines(Vec<u8>),
    /// Lines of CloudFront's standard log.
    Standard(Shelf, Vec<u8>),
    /// Lines of its real-time log.
    Realtime(Vec<u8>),
    /// Write elsewhere from now on; also used to reopen after a rotation.
    Targets(LogSettings, MoreLogs),
    Flush(Sender<()>),
}

impl LogQueue {
    /// Starts the writing thread.
    pub fn start(site: &Site) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(&receiver, &left))?;
        let (sender, dropped) = (parking_lot::Mutex::new(sender), AtomicU64::new(0));
        let (enabled, more) = (AtomicBool::new(false), ArcSwapOption::empty());
        let queue = Arc::new(Self { sender, waiting, limit: site.limits.log_queue, dropped, enabled, more });
        queue.retarget(site);
        Ok(queue)
    }

    /// Writes where a site says from now on, or opens the same files anew.
    pub fn retarget(&self, site: &Site) {
        self.enabled.store(site.log != LogSettings::Off, Ordering::Relaxed);
        let more = &site.more_logs;
        self.more.store((*more != MoreLogs::default()).then(|| Arc::new(more.clone())));
        let _ = self.sender.lock().send(Message::Targets(site.log.clone(), more.clone()));
    }

    /// What is wanted beside the access log.
    pub fn more(&self) -> Option<Arc<MoreLogs>> {
        self.more.load_full()
    }

    /// Waits until everything queued so far is written.
    pub fn flush(&self) {
        let (done, wait) = channel();
        if self.sender.lock().send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(std::time::Duration::from_secs(2));
        }
    }

    // Hands lines on, or drops them where too many wait.
    fn push(&self, lines: Vec<u8>, message: impl FnOnce(Vec<u8>) -> Message) {
        let len = lines.len();
        if self.waiting.load(Ordering::Relaxed) + len > self.limit {
            let count = memchr::memchr_iter(b'\n', &lines).count() as u64;
            self.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(len, Ordering::Relaxed);
        let _ = self.sender.lock().send(message(lines));
    }
}

/// A file that lines are added to. A full disk must not stop the edge; it is said once until writing works again.
struct Appended {
    out: Option<Box<dyn Write>>,
    what: &'static str,
    complained: bool,
}

impl Appended {
    const fn nowhere(what: &'static str) -> Self {
        Self { out: None, what, complained: false }
    }

    fn open(&mut self, settings: &LogSettings) {
        self.out = match settings {
            LogSettings::Off => None,
            LogSettings::Stdout => Some(Box::new(std::io::stdout())),
            LogSettings::File(path) => match open_file(path) {
                Ok(file) => Some(Box::new(file)),
                Err(error) => {
                    let (log, path) = (self.what, path.display());
                    tracing::error!(log, %path, %error, "a log cannot be opened; lines are dropped until it can");
                    None
                }
            },
        };
    }

    fn add(&mut self, lines: &[u8]) {
        let written = self.out.as_mut().map_or(Ok(()), |out| out.write_all(lines));
        self.tell(written);
    }

    fn tell(&mut self, written: std::io::Result<()>) {
        match written {
            Ok(()) => self.complained = false,
            Err(error) => {
                if !std::mem::replace(&mut self.complained, true) {
                    tracing::error!(log = self.what, %error, "writing a log failed");
                }
            }
        }
    }
}

fn open_file(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).mode(0o640).open(path)
}

fn write_lines(receiver: &Receiver<Message>, waiting: &AtomicUsize) {
    let (mut access, mut realtime) = (Appended::nowhere("access"), Appended::nowhere("real-time"));
    let mut shelves = Appended::nowhere("standard");
    let mut standard: Option<Files> = None;
    loop {
        let message = match receiver.recv_timeout(LOOK) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
                standard.iter_mut().for_each(|files| files.finish_before(now / 3600));
                continue;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        };
        match message {
            Message::Lines(lines) => {
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                access.add(&lines);
            }
            Message::Realtime(lines) => {
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                realtime.add(&lines);
            }
            Message::Standard(shelf, lines) => {
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                if let Some(files) = &mut standard {
                    shelves.tell(files.add(&shelf, &lines));
                }
            }
            Message::Targets(settings, more) => {
                access.open(&settings);
                realtime.open(&more.realtime.map_or(LogSettings::Off, |log| LogSettings::File(log.file)));
                // A reload that changes nothing here leaves the files as they are.
                let folder = more.standard.map(|log| log.folder);
                if !standard.as_ref().zip(folder.as_ref()).is_some_and(|(files, folder)| files.is_of(folder)) {
                    standard.iter_mut().for_each(Files::finish);
                    standard = folder.map(|folder| Files::new(&folder));
                }
            }
            Message::Flush(done) => {
                for log in [&mut access, &mut realtime] {
                    let _ = log.out.as_mut().map(|out| out.flush());
                }
                // Whoever waits for this is about to leave.
                standard.iter_mut().for_each(Files::finish);
                let _ = done.send(());
            }
        }
    }
}

/// One core's buffer.
pub struct LogBuffer {
    queue: Arc<LogQueue>,
    lines: Vec<u8>,
    stamp: (u64, String),
    /// Lines of the standard log, by hour and distribution.
    shelves: Vec<(Shelf, Vec<u8>)>,
    /// Lines of the real-time log.
    realtime: Vec<u8>,
}

impl LogBuffer {
    /// An empty buffer in front of the queue.
    pub fn new(queue: Arc<LogQueue>) -> Self {
        let lines = Vec::with_capacity(BATCH + 4096);
        Self { queue, lines, stamp: (u64::MAX, String::new()), shelves: Vec::new(), realtime: Vec::new() }
    }

    /// Adds a record's line.
    pub fn add(&mut self, record: &Record<'_>) {
        if !self.queue.enabled.load(Ordering::Relaxed) {
            return;
        }
        // The date is formatted once a second.
        if self.stamp.0 != record.at.secs() {
            let text = format_rfc3339(record.at);
            self.stamp = (record.at.secs(), text[..20].to_string());
        }
        write_json(&mut self.lines, record, &self.stamp.1);
        if self.lines.len() >= BATCH {
            self.flush();
        }
    }

    /// Adds lines to the logs that are wanted beside, where a request was for one of our distributions.
    pub fn add_more(&mut self, wanted: &MoreLogs, record: &Record<'_>, asked: &Asked<'_>, answered: &Answered<'_>, place: Place<'_>) {
        let Some(distribution) = record.distribution else { return };
        if let Some(log) = &wanted.realtime {
            realtime_log::write_line(&mut self.realtime, &log.fields, record, asked, answered, place);
        }
        let mut len = self.realtime.len();
        if let Some(log) = &wanted.standard {
            let lines = self.shelf(standard_log::hour(record.at), distribution);
            standard_log::write_line(lines, log.cookies, record, asked, answered, place);
            len = len.max(lines.len());
        }
        if len >= BATCH {
            self.flush();
        }
    }

    fn shelf(&mut self, hour: u64, distribution: &str) -> &mut Vec<u8> {
        let at = self.shelves.iter().position(|((known, id), _)| *known == hour && id == distribution);
        let at = at.unwrap_or_else(|| {
            self.shelves.push(((hour, distribution.to_string()), Vec::with_capacity(4096)));
            self.shelves.len() - 1
        });
        &mut self.shelves[at].1
    }

    /// Hands what is here to the thread.
    pub fn flush(&mut self) {
        if !self.lines.is_empty() {
            let fresh = Vec::with_capacity(BATCH + 4096);
            self.queue.push(std::mem::replace(&mut self.lines, fresh), Message::Lines);
        }
        for (shelf, lines) in self.shelves.drain(..) {
            self.queue.push(lines, |lines| Message::Standard(shelf, lines));
        }
        if !self.realtime.is_empty() {
            self.queue.push(std::mem::take(&mut self.realtime), Message::Realtime);
        }
    }
}
