//! The JSON access log: one line a request, composed in a per-core buffer, written by one thread.
//!
//! The thread's queue is bounded in octets; what does not fit is dropped and counted. A line cannot be
//! forged: every byte that is not plain is escaped.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwapOption;

use super::standard_log::{self, Files, More, Shelf};
use super::{Record, without_signatures};
use crate::distribution::site::{LogSettings, StandardLog};
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
    /// What of the standard log is wanted.
    standard: ArcSwapOption<StandardLog>,
}

enum Message {
    Lines(Vec<u8>),
    /// Lines of CloudFront's standard log.
    Standard(Shelf, Vec<u8>),
    /// Where that goes from now on.
    StandardTarget(Option<StandardLog>),
    /// Write elsewhere from now on; also used to reopen after a rotation.
    Target(LogSettings),
    Flush(Sender<()>),
}

impl LogQueue {
    /// Starts the writing thread.
    pub fn start(settings: &LogSettings, standard: Option<&StandardLog>, limit: usize) -> std::io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&waiting);
        let first = settings.clone();
        std::thread::Builder::new().name("access-log".into()).spawn(move || write_lines(&receiver, &left, &first))?;
        let enabled = AtomicBool::new(*settings != LogSettings::Off);
        let (sender, dropped) = (parking_lot::Mutex::new(sender), AtomicU64::new(0));
        let queue = Arc::new(Self { sender, waiting, limit, dropped, enabled, standard: ArcSwapOption::empty() });
        queue.retarget_standard(standard);
        Ok(queue)
    }

    /// Writes to another target from now on, or reopens the same one.
    pub fn retarget(&self, settings: &LogSettings) {
        self.enabled.store(*settings != LogSettings::Off, Ordering::Relaxed);
        let _ = self.sender.lock().send(Message::Target(settings.clone()));
    }

    /// The same for the standard log; files that are open are finished.
    pub fn retarget_standard(&self, settings: Option<&StandardLog>) {
        self.standard.store(settings.cloned().map(Arc::new));
        let _ = self.sender.lock().send(Message::StandardTarget(settings.cloned()));
    }

    /// What of the standard log is wanted.
    pub fn standard(&self) -> Option<Arc<StandardLog>> {
        self.standard.load_full()
    }

    /// Waits until everything queued so far is written.
    pub fn flush(&self) {
        let (done, wait) = channel();
        if self.sender.lock().send(Message::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(std::time::Duration::from_secs(2));
        }
    }

    fn push(&self, shelf: Option<Shelf>, lines: Vec<u8>) {
        let len = lines.len();
        if self.waiting.load(Ordering::Relaxed) + len > self.limit {
            let count = memchr::memchr_iter(b'\n', &lines).count() as u64;
            self.dropped.fetch_add(count, Ordering::Relaxed);
            return;
        }
        self.waiting.fetch_add(len, Ordering::Relaxed);
        let message = match shelf {
            None => Message::Lines(lines),
            Some(shelf) => Message::Standard(shelf, lines),
        };
        let _ = self.sender.lock().send(message);
    }
}

fn open(settings: &LogSettings) -> Option<Box<dyn Write>> {
    match settings {
        LogSettings::Off => None,
        LogSettings::Stdout => Some(Box::new(std::io::stdout())),
        LogSettings::File(path) => match open_file(path) {
            Ok(file) => Some(Box::new(file)),
            Err(error) => {
                tracing::error!(path = %path.display(), %error, "the access log cannot be opened; lines are dropped until it can");
                None
            }
        },
    }
}

fn open_file(path: &PathBuf) -> std::io::Result<File> {
    OpenOptions::new().create(true).append(true).open(path)
}

fn write_lines(receiver: &Receiver<Message>, waiting: &AtomicUsize, first: &LogSettings) {
    let mut out = open(first);
    let mut complained = false;
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
                let Some(file) = &mut out else { continue };
                // A full disk must not stop the edge; it is said once until writing works again.
                match file.write_all(&lines) {
                    Ok(()) => complained = false,
                    Err(error) if !complained => {
                        tracing::error!(%error, "writing the access log failed");
                        complained = true;
                    }
                    Err(_) => {}
                }
            }
            Message::Standard(shelf, lines) => {
                waiting.fetch_sub(lines.len(), Ordering::Relaxed);
                if let Some(files) = &mut standard
                    && let Err(error) = files.add(&shelf, &lines)
                    && !std::mem::replace(&mut complained, true)
                {
                    tracing::error!(%error, "writing the standard log failed");
                }
            }
            Message::StandardTarget(settings) => {
                // A reload that changes nothing here leaves the files as they are.
                if !standard.as_ref().zip(settings.as_ref()).is_some_and(|(files, settings)| files.is_of(&settings.folder)) {
                    standard.iter_mut().for_each(Files::finish);
                    standard = settings.map(|settings| Files::new(&settings.folder));
                }
            }
            Message::Target(settings) => out = open(&settings),
            Message::Flush(done) => {
                let _ = out.as_mut().map(|file| file.flush());
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
}

impl LogBuffer {
    /// An empty buffer in front of the queue.
    pub fn new(queue: Arc<LogQueue>) -> Self {
        Self { queue, lines: Vec::with_capacity(BATCH + 4096), stamp: (u64::MAX, String::new()), shelves: Vec::new() }
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

    /// Adds a line to the standard log, where a request was for one of our distributions.
    pub fn add_standard(&mut self, record: &Record<'_>, more: &More<'_>, pop: &str, is_cloudfront: bool) {
        let Some(distribution) = record.distribution else { return };
        let hour = standard_log::hour(record.at);
        let at = self.shelves.iter().position(|((known, id), _)| *known == hour && id == distribution);
        let at = at.unwrap_or_else(|| {
            self.shelves.push(((hour, distribution.to_string()), Vec::with_capacity(4096)));
            self.shelves.len() - 1
        });
        let lines = &mut self.shelves[at].1;
        standard_log::write_line(lines, record, more, pop, is_cloudfront);
        if lines.len() >= BATCH {
            self.flush();
        }
    }

    /// Hands what is here to the thread.
    pub fn flush(&mut self) {
        if !self.lines.is_empty() {
            let fresh = Vec::with_capacity(BATCH + 4096);
            self.queue.push(None, std::mem::replace(&mut self.lines, fresh));
        }
        for (shelf, lines) in self.shelves.drain(..) {
            self.queue.push(Some(shelf), lines);
        }
    }
}

fn write_json(out: &mut Vec<u8>, record: &Record<'_>, stamp: &str) {
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(b"{\"time\":\"");
    out.extend_from_slice(stamp.as_bytes());
    let millis = record.at.0 % 1000;
    out.extend_from_slice(&[b'0' + (millis / 100) as u8, b'0' + (millis / 10 % 10) as u8, b'0' + (millis % 10) as u8]);
    out.extend_from_slice(b"Z\",\"viewer\":\"");
    write_ip(out, record.peer);
    text(out, "method", record.method.as_bytes());
    text(out, "scheme", record.scheme.as_str().as_bytes());
    text(out, "protocol", record.version.number().as_bytes());
    text(out, "host", record.host.as_bytes());
    text(out, "path", record.path.as_bytes());
    if let Some(query) = record.query {
        text(out, "query", &without_signatures(query.as_bytes()));
    }
    out.extend_from_slice(b"\",\"status\":");
    out.extend_from_slice(digits.format(record.status).as_bytes());
    out.extend_from_slice(b",\"bytes\":");
    out.extend_from_slice(digits.format(record.bytes).as_bytes());
    out.extend_from_slice(b",\"us\":");
    out.extend_from_slice(digits.format(record.micros).as_bytes());
    out.extend_from_slice(b",\"result\":\"");
    out.extend_from_slice(record.verdict.outcome.word().as_bytes());
    text(out, "reason", record.verdict.reason.name().as_bytes());
    if let Some(id) = record.distribution {
        text(out, "distribution", id.as_bytes());
    }
    if let Some(pattern) = record.behavior {
        text(out, "behavior", pattern.as_bytes());
    }
    if let Some(agent) = record.user_agent {
        text(out, "user_agent", agent);
    }
    if let Some(referer) = record.referer {
        text(out, "referer", &without_signatures(referer));
    }
    if let Some(failure) = record.failure {
        text(out, "error", failure.kind.token().as_bytes());
        text(out, "detail", failure.detail.as_bytes());
    }
    out.push(b'"');
    if let Some(millis) = record.origin_millis {
        out.extend_from_slice(b",\"origin_ms\":");
        out.extend_from_slice(digits.format(millis).as_bytes());
    }
    if record.verdict.collapsed {
        out.extend_from_slice(b",\"collapsed\":true");
    }
    if record.aborted {
        out.extend_from_slice(b",\"aborted\":true");
    }
    out.extend_from_slice(b"}\n");
}

fn write_ip(out: &mut Vec<u8>, peer: std::net::SocketAddr) {
    match peer.ip().to_canonical() {
        std::net::IpAddr::V4(v4) => {
            let mut digits = itoa::Buffer::new();
            for (at, octet) in v4.octets().into_iter().enumerate() {
                if at > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(digits.format(octet).as_bytes());
            }
        }
        std::net::IpAddr::V6(v6) => drop(write!(out, "{v6}")),
    }
}

// Closes the value before it, then `,"name":"value` with the value left open.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(b"\",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":\"");
    let plain = value.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\');
    if plain {
        return out.extend_from_slice(value);
    }
    for c in String::from_utf8_lossy(value).chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => drop(write!(out, "\\u{:04x}", c as u32)),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::connection::{Scheme, Version};
    use crate::exchange::verdict::{Outcome, Reason, Verdict};
    use crate::semantics::time::Timestamp;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_line_is_one_line_of_json_whatever_the_viewer_sends(agent in proptest::collection::vec(any::<u8>(), 0..40), path in "\\PC{0,20}") {
            let record = Record {
                at: Timestamp(1_700_000_000_123), peer: "192.0.2.7:99".parse().unwrap(), method: "GET", scheme: Scheme::Https,
                version: Version::Http2, host: "h", path: &path, query: Some("a=\"b\""), status: 200, bytes: 7, micros: 3,
                verdict: Verdict { outcome: Outcome::Hit, reason: Reason::Fresh, collapsed: true, stored: false },
                distribution: Some("E"), behavior: Some("*"), ordinal: Some(0), referer: None, user_agent: Some(&agent),
                origin_millis: Some(4), failure: None, aborted: true,
            };
            let mut line = Vec::new();
            write_json(&mut line, &record, "2023-11-14T22:13:20.");
            prop_assert_eq!(line.iter().filter(|b| **b == b'\n').count(), 1);
            let read: serde_json::Value = serde_json::from_slice(&line).unwrap();
            prop_assert_eq!(&read["time"], "2023-11-14T22:13:20.123Z");
            prop_assert_eq!(read["path"].as_str(), Some(path.as_str()));
            prop_assert_eq!(&read["viewer"], "192.0.2.7");
            prop_assert_eq!(&read["result"], "Hit");
        }
    }
}
