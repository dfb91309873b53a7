//! What the code of a worker writes: line by line to the log, with function, worker and request,
//! and not more than a call may write.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

use super::failure::InvokeFailure;
use crate::sync::Mutex;

/// Octets that one call may write.
pub const CALL_MAX: usize = 1 << 20;
/// Octets of a line; a longer one becomes several.
const LINE_MAX: usize = 64 * 1024;

/// Who wrote a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Writer {
    Stdout,
    Stderr,
    /// The edge, as Lambda itself does: START, END, REPORT.
    Platform,
}

/// A line of a function's log.
#[derive(Clone, Copy, Debug)]
pub struct Line<'l> {
    pub function: &'l str,
    pub worker: u64,
    /// The call that is under way, or was last; `None` before the first.
    pub request: Option<&'l str>,
    pub writer: Writer,
    /// Without its end.
    pub text: &'l str,
}

impl Line<'_> {
    /// The name of the group that CloudWatch has these lines in.
    pub fn group(&self) -> String {
        format!("/aws/lambda/us-east-1.{}", self.function)
    }

    /// The line behind its group, with its end, and as no code can forge another.
    pub fn written(&self) -> Vec<u8> {
        line_of(&self.group(), self.text)
    }
}

/// A line of a group, with its end, and as no text can forge another.
pub fn line_of(group: &str, text: &str) -> Vec<u8> {
    let mut out = format!("{group} ");
    for letter in text.chars() {
        if letter.is_control() && letter != '\t' {
            out.extend(letter.escape_default());
        } else {
            out.push(letter);
        }
    }
    out.push('\n');
    out.into_bytes()
}

/// Where lines go.
pub type Log = Arc<dyn Fn(&Line<'_>) + Send + Sync>;

/// What came of a call, as far as its report says it.
pub struct Ran<'r> {
    pub took: Duration,
    /// How long the worker had taken to start, in the report of its first call.
    pub init: Option<Duration>,
    /// Octets that the worker may have.
    pub memory: u64,
    /// The most that it was seen with.
    pub peak: u64,
    pub failure: Option<&'r InvokeFailure>,
}

/// The log of one worker.
pub struct WorkerLog {
    log: Log,
    function: Box<str>,
    worker: u64,
    call: Mutex<Call>,
}

#[derive(Default)]
struct Call {
    request: Option<Box<str>>,
    written: usize,
}

impl WorkerLog {
    pub fn new(log: Log, function: &str, worker: u64) -> Self {
        Self { log, function: function.into(), worker, call: Mutex::default() }
    }

    /// A call begins: what is written from now on is its own.
    pub fn begin(&self, request: &str) {
        *self.call.lock() = Call { request: Some(request.into()), written: 0 };
    }

    /// Writes a line of the edge's own, which counts for no call.
    pub fn say(&self, text: &str) {
        let request = self.call.lock().request.clone();
        self.write(request.as_deref(), Writer::Platform, text);
    }

    /// Writes what Lambda writes at the end of a call.
    pub fn report(&self, ran: &Ran<'_>) {
        let request = self.call.lock().request.clone().unwrap_or_default();
        self.say(&format!("END RequestId: {request}"));
        let millis = |time: Duration| time.as_secs_f64() * 1000.0;
        let (exact, whole) = (millis(ran.took), ran.took.as_millis() + 1);
        let init = ran.init.map(|init| format!("\tInit Duration: {:.2} ms", millis(init)));
        let status = ran.failure.map(|failure| format!("\tStatus: {failure}"));
        self.say(&format!(
            "REPORT RequestId: {request}\tDuration: {exact:.2} ms\tBilled Duration: {whole} ms\t\
             Memory Size: {} MB\tMax Memory Used: {} MB{}{}",
            ran.memory >> 20,
            ran.peak >> 20,
            init.unwrap_or_default(),
            status.unwrap_or_default()
        ));
    }

    fn write(&self, request: Option<&str>, writer: Writer, text: &str) {
        let line = Line { function: &self.function, worker: self.worker, request, writer, text };
        (self.log)(&line);
    }

    // A line of the code's own, as long as its call may write.
    fn take(&self, writer: Writer, octets: &[u8]) {
        let (request, before) = {
            let mut call = self.call.lock();
            let before = call.written;
            call.written = before.saturating_add(octets.len() + 1);
            (call.request.clone(), before)
        };
        let text = String::from_utf8_lossy(octets);
        if before + octets.len() < CALL_MAX {
            self.write(request.as_deref(), writer, text.trim_end_matches('\r'));
        } else if before < CALL_MAX {
            let text = format!("more than {CALL_MAX} octets of one call are left out");
            self.write(request.as_deref(), Writer::Platform, &text);
            // So that no shorter line is let in after this one.
            self.call.lock().written = CALL_MAX;
        }
    }

    /// Reads one stream of a worker until it ends.
    pub async fn follow(self: Arc<Self>, writer: Writer, mut stream: impl AsyncRead + Unpin) {
        let (mut held, mut chunk) = (Vec::new(), vec![0; 8192]);
        loop {
            let read = match stream.read(&mut chunk).await {
                Ok(0) | Err(_) => break,
                Ok(read) => read,
            };
            let mut rest = &chunk[..read];
            while let Some(end) = memchr::memchr(b'\n', rest) {
                if held.is_empty() {
                    self.take(writer, &rest[..end]);
                } else {
                    held.extend_from_slice(&rest[..end]);
                    self.take(writer, &held);
                    held.clear();
                }
                rest = &rest[end + 1..];
            }
            held.extend_from_slice(rest);
            if held.len() >= LINE_MAX {
                self.take(writer, &held);
                held.clear();
            }
        }
        if !held.is_empty() {
            self.take(writer, &held);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> (Arc<WorkerLog>, Arc<Mutex<Vec<String>>>) {
        let lines = Arc::<Mutex<Vec<String>>>::default();
        let to = Arc::clone(&lines);
        let log: Log = Arc::new(move |line: &Line<'_>| {
            let request = line.request.unwrap_or("-");
            to.lock().push(format!("{request} {:?} {}", line.writer, line.text));
        });
        (Arc::new(WorkerLog::new(log, "f", 1)), lines)
    }

    #[tokio::test]
    async fn lines_are_lines_however_they_come() {
        let (log, lines) = kept();
        log.begin("r1");
        let octets = b"one\ntwo\r\n\nlast \xff".to_vec();
        Arc::clone(&log).follow(Writer::Stdout, &octets[..]).await;
        let want = ["r1 Stdout one", "r1 Stdout two", "r1 Stdout ", "r1 Stdout last \u{fffd}"];
        assert_eq!(*lines.lock(), want);
    }

    #[tokio::test]
    async fn a_flood_is_cut_off_at_a_mebibyte_a_call() {
        let (log, lines) = kept();
        log.begin("r1");
        let flood = format!("{}\n", "x".repeat(999)).repeat(2000);
        Arc::clone(&log).follow(Writer::Stdout, flood.as_bytes()).await;
        let count = lines.lock().len();
        assert_eq!(count, CALL_MAX / 1000 + 1);
        assert!(lines.lock().last().unwrap().contains("left out"));
        // The next call may write again, and a line without an end comes in pieces.
        log.begin("r2");
        let long = "y".repeat(3 * LINE_MAX);
        Arc::clone(&log).follow(Writer::Stderr, long.as_bytes()).await;
        let lines = lines.lock();
        assert!(lines.len() > count + 1);
        assert!(lines[count..].iter().all(|line| line.len() < 2 * LINE_MAX));
        assert!(lines.last().unwrap().starts_with("r2 Stderr"));
    }
}
