//! Pure: what those who look on are shown of the requests of late: the last lines of the access
//! log, and which URLs come most often. Bounded, and read from the log's own lines, so that a
//! request pays nothing for it that it does not pay for the log.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::sketch::{Counted, Sketch};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Lines that are read of one batch. Of a longer one each n-th is, and stands for n.
const READ_MAX: usize = 64;
/// Counters of each sketch.
const COUNTERS: usize = 256;
/// Keys of each that are shown.
const SHOWN: usize = 20;
/// Lines that are kept.
const KEPT_MAX: usize = 200;
/// Octets of a line that is kept. A longer one is counted, and not shown.
const LINE_MAX: usize = 4096;
/// Octets of a failure's words in its key.
const DETAIL_MAX: usize = 200;

/// A line of the access log, as far as it is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Line {
    pub time: String,
    pub viewer: String,
    pub method: String,
    pub host: String,
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_line: Option<String>,
    pub status: u16,
    pub bytes: u64,
    pub us: u64,
    pub result: String,
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distribution: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub behavior: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

/// A line and its number, greater than that of any line before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Numbered {
    pub number: u64,
    #[serde(flatten)]
    pub line: Line,
}

/// What comes most often.
#[derive(Clone, Debug, Serialize)]
pub struct Top {
    /// Since when it is counted.
    pub since: String,
    /// Lines that came since then, and how many of them were read.
    pub lines: u64,
    pub read: u64,
    pub requests: Vec<Counted>,
    pub misses: Vec<Counted>,
    /// Answers with a status of 400 or more.
    pub errors: Vec<Counted>,
    /// What failed, by distribution and words.
    pub failures: Vec<Counted>,
}

/// What was seen since somebody looks on.
pub struct Onlook {
    since: Timestamp,
    lines: u64,
    read: u64,
    batches: usize,
    requests: Sketch,
    misses: Sketch,
    errors: Sketch,
    failures: Sketch,
    kept: VecDeque<Numbered>,
}

impl Onlook {
    /// Nothing yet.
    pub fn since(since: Timestamp) -> Self {
        let sketch = || Sketch::new(COUNTERS);
        Self {
            since,
            lines: 0,
            read: 0,
            batches: 0,
            requests: sketch(),
            misses: sketch(),
            errors: sketch(),
            failures: sketch(),
            kept: VecDeque::new(),
        }
    }

    /// Takes whole lines of the access log. Of many at once it reads some.
    pub fn take(&mut self, lines: &[u8]) {
        let count = memchr::memchr_iter(b'\n', lines).count();
        let step = count.div_ceil(READ_MAX).max(1);
        // Not always the first of each few: what a viewer asks for may come in the same rhythm.
        self.batches = self.batches.wrapping_add(1);
        let first = self.batches % step;
        let before = self.lines;
        self.lines += count as u64;
        for (at, line) in lines.split(|octet| *octet == b'\n').enumerate() {
            if at % step != first || line.is_empty() {
                continue;
            }
            // A line of ours always is JSON.
            if let Ok(read) = serde_json::from_slice::<Line>(line) {
                self.read += 1;
                self.count(&read, step as u64);
                if line.len() <= LINE_MAX {
                    self.keep(before + at as u64 + 1, read);
                }
            }
        }
    }

    fn count(&mut self, line: &Line, times: u64) {
        let of = line.distribution.as_deref().unwrap_or("-");
        if let Some(error) = &line.error {
            let detail = line.detail.as_deref().unwrap_or("");
            let detail = &detail[..detail.floor_char_boundary(DETAIL_MAX)];
            self.failures.add(&format!("{of} {error} {detail}"), times);
        }
        // Of a head that was refused nothing was believed.
        if line.host == "-" || line.path.is_empty() {
            return;
        }
        let url = format!("{}{}", line.host, line.path);
        self.requests.add(&url, times);
        if line.result == "Miss" {
            self.misses.add(&url, times);
        }
        if line.status >= 400 {
            self.errors.add(&format!("{} {url}", line.status), times);
        }
    }

    fn keep(&mut self, number: u64, line: Line) {
        if self.kept.len() == KEPT_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back(Numbered { number, line });
    }

    /// What comes most often.
    pub fn top(&self) -> Top {
        Top {
            since: format_rfc3339(self.since),
            lines: self.lines,
            read: self.read,
            requests: self.requests.top(SHOWN),
            misses: self.misses.top(SHOWN),
            errors: self.errors.top(SHOWN),
            failures: self.failures.top(SHOWN),
        }
    }

    /// The last lines, so many at most, the oldest first.
    pub fn tail(&self, most: usize) -> Vec<Numbered> {
        let skipped = self.kept.len().saturating_sub(most);
        self.kept.iter().skip(skipped).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(path: &str, status: u16, result: &str) -> String {
        format!(
            "{{\"time\":\"t\",\"viewer\":\"127.0.0.1\",\"method\":\"GET\",\"scheme\":\"http\",\"host\":\"h\",\
             \"path\":\"{path}\",\"status\":{status},\"bytes\":1,\"us\":2,\"result\":\"{result}\",\"reason\":\"absent\",\
             \"distribution\":\"E1\",\"connection\":\"0\"}}\n"
        )
    }

    fn keys(counted: &[Counted]) -> Vec<(&str, u64)> {
        counted.iter().map(|one| (one.key.as_str(), one.count)).collect()
    }

    #[test]
    fn urls_are_counted_by_what_became_of_them() {
        let mut onlook = Onlook::since(Timestamp(0));
        onlook.take((line("/a", 200, "Miss") + &line("/a", 200, "Hit")).as_bytes());
        onlook.take(line("/b", 502, "Error").as_bytes());
        let refused = "{\"host\":\"-\",\"path\":\"-\",\"status\":400,\"request_line\":\"GE T\"}\n";
        onlook.take(refused.as_bytes());
        let failed =
            "{\"host\":\"h\",\"path\":\"/c\",\"error\":\"refused\",\"detail\":\"at o:1\"}\n";
        onlook.take(failed.as_bytes());
        let top = onlook.top();
        assert_eq!(keys(&top.requests), [("h/a", 2), ("h/b", 1), ("h/c", 1)]);
        assert_eq!(keys(&top.misses), [("h/a", 1)]);
        assert_eq!(keys(&top.errors), [("502 h/b", 1)]);
        assert_eq!(keys(&top.failures), [("- refused at o:1", 1)]);
        assert_eq!((top.lines, top.read), (5, 5));
        let tail = onlook.tail(2);
        assert_eq!(tail[0].line.request_line.as_deref(), Some("GE T"));
        assert_eq!((tail[0].number, tail[1].number), (4, 5));
    }

    #[test]
    fn of_many_lines_some_stand_for_all() {
        let mut onlook = Onlook::since(Timestamp(0));
        let batch: String = (0..READ_MAX * 10).map(|_| line("/a", 200, "Hit")).collect();
        onlook.take(batch.as_bytes());
        let top = onlook.top();
        assert_eq!((top.lines, top.read), (READ_MAX as u64 * 10, READ_MAX as u64));
        assert_eq!(keys(&top.requests), [("h/a", READ_MAX as u64 * 10)]);
    }

    #[test]
    fn the_tail_is_bounded_and_long_lines_are_only_counted() {
        let mut onlook = Onlook::since(Timestamp(0));
        for at in 0..KEPT_MAX + 7 {
            onlook.take(line(&format!("/{at}"), 200, "Hit").as_bytes());
        }
        let tail = onlook.tail(usize::MAX);
        assert_eq!((tail.len(), tail[0].line.path.as_str()), (KEPT_MAX, "/7"));
        onlook.take(line(&format!("/{}", "x".repeat(LINE_MAX)), 200, "Hit").as_bytes());
        assert_eq!(onlook.tail(1)[0].line.path, format!("/{}", KEPT_MAX + 6));
        assert_eq!(onlook.top().lines, KEPT_MAX as u64 + 8);
    }
}
