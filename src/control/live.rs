//! What the dashboard and `foreshore top` are told: one JSON document, made once a second at most
//! however many look on, as a call (`/v1/snapshot`) and as server-sent events (`/v1/live`).

use std::collections::HashMap;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body::Frame;
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Interval, MissedTickBehavior};

use super::Control;
use super::answer::{Answer, error, json_text};
use super::history::{History, Rates, seconds_between};
use super::login;
use crate::base::secret::Secret;
use crate::distribution::origin::{Origin, OriginKind};
use crate::message::verdict::Outcome;
use crate::record::metrics::{Told, Totals};
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Event streams at a time.
pub const LISTENERS_MAX: usize = 64;
/// Rows of distributions and behaviors in a document: those with most requests.
const ROWS_MAX: usize = 200;
/// Origins in a document.
const ORIGINS_MAX: usize = 200;
/// Lines of the log in a document.
const TAIL_MAX: usize = 50;
/// A document that is no older than this is told again.
const FRESH_MILLIS: u64 = 900;
/// Where documents are made, what they add up is noted; without one for so long, the history's own
/// task adds up.
const UNNOTED_MILLIS: u64 = 1500;
/// A stream ends after so many events; the page opens another, and shows again who it is.
const EVENTS_MAX: u32 = 3600;

/// What stands around a document in its event.
const BEFORE: &[u8] = b"event: now\ndata: ";
const AFTER: &[u8] = b"\n\n";

/// What lies ready for those who look on.
pub struct LiveDesk {
    history: Mutex<History>,
    composed: Mutex<Option<(Timestamp, Bytes)>>,
    listeners: Arc<Semaphore>,
}

impl Default for LiveDesk {
    fn default() -> Self {
        Self {
            history: Mutex::default(),
            composed: Mutex::default(),
            listeners: Arc::new(Semaphore::new(LISTENERS_MAX)),
        }
    }
}

impl LiveDesk {
    /// Event streams that are open.
    pub fn listening(&self) -> usize {
        LISTENERS_MAX - self.listeners.available_permits()
    }
}

impl Control {
    /// Notes once a second what was counted, for as long as the process lives; less often where
    /// there is much to add up and nobody looks on.
    pub async fn keep_history(self: Arc<Self>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut rest = 0;
        loop {
            tick.tick().await;
            let is_watched = self.live.listening() > 0;
            if rest == 0 || is_watched {
                let (now, running) = (self.edge.clock.now(), self.edge.running());
                let is_noted = is_watched && self.live.history.lock().has(now, UNNOTED_MILLIS);
                if !is_noted {
                    let totals = running.counts.totals();
                    self.live.history.lock().note(now, totals);
                }
                rest = seconds_between(running.counts.sets());
            }
            rest -= 1;
            self.access_log.look_away();
            self.edge.let_go();
        }
    }

    // What a document has added up is a moment of the history, too: ten thousand behaviors are read
    // once a second, not twice. Gives the last second.
    fn noted(&self, now: Timestamp, totals: Totals) -> Option<Rates> {
        let mut history = self.live.history.lock();
        if !history.has(now, FRESH_MILLIS) {
            history.note(now, totals);
        }
        history.last()
    }

    // The document as an event, made anew unless another caller had it made a moment ago: all
    // streams send the same octets.
    fn composed(&self) -> Bytes {
        let now = self.edge.clock.now();
        let mut composed = self.live.composed.lock();
        if let Some((at, octets)) = composed.as_ref()
            && now.millis_since(*at) < FRESH_MILLIS
        {
            return octets.clone();
        }
        let octets = event("now", self.snapshot(now).to_string().as_bytes());
        *composed = Some((now, octets.clone()));
        octets
    }

    fn snapshot(&self, now: Timestamp) -> Value {
        let running = self.edge.running();
        let (rows, left, total) = running.counts.most(running.site.metrics_by, ROWS_MAX);
        let rows: Vec<Value> = rows.iter().map(row).collect();
        let (told, rates) = (totals(&total), self.noted(now, total));
        let store = self.edge.store.stats();
        let (top, tail) =
            self.access_log.look_on(now, |seen| (json!(seen.top()), seen.tail(TAIL_MAX)));
        json!({
            "at": now.0,
            "version": env!("CARGO_PKG_VERSION"),
            "node": self.edge.node,
            "started": format_rfc3339(self.started_at),
            "uptime_seconds": now.millis_since(self.started_at) / 1000,
            "draining": *self.draining.borrow(),
            "connections": self.gauges.connections.load(Ordering::Relaxed),
            "fills": self.edge.fills_now(),
            "store": { "bytes": store.bytes, "limit": store.limit, "objects": store.objects, "evictions": store.evictions },
            "disk": self.edge.disk().map(|disk| {
                let disk = disk.stats();
                json!({ "bytes": disk.bytes, "limit": disk.limit, "objects": disk.objects, "writing": disk.is_writing })
            }),
            "rates": rates,
            "total": told,
            "rows": rows,
            "rows_left": left,
            "origins": self.origins_now(),
            "top": top,
            "tail": tail,
        })
    }

    // Each origin with the connections to it that are taken, over all cores.
    fn origins_now(&self) -> Vec<Value> {
        let running = self.edge.running();
        let in_use = self.edge.origins.in_use();
        let mut all = Vec::new();
        for of in &running.site.distributions {
            let room = ORIGINS_MAX - all.len();
            let origins = of.origins.iter().take(room);
            all.extend(origins.map(|origin| origin_now(&of.id, origin, &in_use)));
        }
        all
    }
}

/// `GET /v1/snapshot`.
pub fn snapshot(control: &Control) -> Answer {
    let event = control.composed();
    let document = event.strip_prefix(BEFORE).and_then(|rest| rest.strip_suffix(AFTER));
    let document = String::from_utf8_lossy(document.unwrap_or_default()).into_owned();
    let mut answer = json_text(StatusCode::OK, document);
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// `GET /v1/live`, by a session or by the token.
pub fn stream(control: &Arc<Control>, session: Option<Secret<String>>) -> Answer {
    let Ok(place) = Arc::clone(&control.live.listeners).try_acquire_owned() else {
        let mut refused = error(
            StatusCode::SERVICE_UNAVAILABLE,
            &format!("{LISTENERS_MAX} streams are open already; close one, or ask /v1/snapshot"),
        );
        refused.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("10"));
        return refused;
    };
    let mut tick = tokio::time::interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let control = Arc::clone(control);
    let events = Events { control, session, tick, told: 0, is_over: false, _place: place };
    let mut answer = Response::new(events.boxed_unsync());
    let fields = answer.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    fields.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// A stream of events: first what was, then what is, once a second. A listener that is slow misses
/// some. It ends when the edge drains, and within a second of the session that opened it.
struct Events {
    control: Arc<Control>,
    session: Option<Secret<String>>,
    tick: Interval,
    told: u32,
    is_over: bool,
    _place: OwnedSemaphorePermit,
}

impl http_body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        if this.is_over {
            return Poll::Ready(None);
        }
        if this.told > 0 && this.tick.poll_tick(cx).is_pending() {
            return Poll::Pending;
        }
        this.is_over = this.told == EVENTS_MAX
            || *this.control.draining.borrow()
            || this
                .session
                .as_ref()
                .is_some_and(|session| !login::is_alive(&this.control, session));
        let event = match this.told {
            _ if this.is_over => Bytes::from_static(b"event: end\ndata: {}\n\n"),
            0 => event(
                "history",
                json!(this.control.live.history.lock().all()).to_string().as_bytes(),
            ),
            _ => this.control.composed(),
        };
        this.told += 1;
        Poll::Ready(Some(Ok(Frame::data(event))))
    }
}

// JSON has no line ends of its own, so the data is one line.
fn event(name: &str, data: &[u8]) -> Bytes {
    [&b"event: "[..], name.as_bytes(), b"\ndata: ", data, b"\n\n"].concat().into()
}

fn origin_now(distribution: &str, origin: &Origin, in_use: &HashMap<String, usize>) -> Value {
    let (url, taken) = match &origin.kind {
        OriginKind::Http(http) => {
            let place = format!("{}:{}", http.host, http.port);
            let scheme = if http.tls.is_some() { "https" } else { "http" };
            let taken = in_use.get(&place).copied().unwrap_or(0);
            (format!("{scheme}://{place}"), taken)
        }
        OriginKind::Directory(path) => (path.display().to_string(), 0),
    };
    json!({
        "distribution": distribution,
        "origin": origin.id,
        "url": url,
        "connections": taken,
        "limit": origin.connections,
    })
}

fn row(told: &Told) -> Value {
    json!({
        "distribution": told.name.distribution,
        "behavior": told.name.behavior,
        "total": totals(&told.totals),
    })
}

fn totals(totals: &Totals) -> Value {
    let outcomes: serde_json::Map<String, Value> = Outcome::ALL
        .into_iter()
        .map(|outcome| {
            (outcome.word().to_ascii_lowercase(), totals.outcomes[outcome as usize].into())
        })
        .collect();
    let (hits, misses) = totals.cacheable();
    json!({
        "requests": totals.requests(),
        "outcomes": outcomes,
        "statuses": totals.statuses,
        "bytes": totals.bytes,
        "aborted": totals.aborted,
        "hits": hits,
        "misses": misses,
        "origin_answers": totals.asked(),
        "origin_ms": totals.latency_sum,
    })
}
