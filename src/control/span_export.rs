//! Hands spans to the collector: OTLP over HTTP, a batch at a time, with a deadline on each attempt
//! and few attempts. Requests never wait for it: what finds no room in the queue is dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, header};
use tokio::sync::Mutex;
use tokio::time::{sleep, timeout};

use crate::body::Body;
use crate::distribution::origin::{Family, Reach};
use crate::distribution::traces::Traces;
use crate::message::failure::{Failure, FailureKind};
use crate::origin::connect::{Endpoint, Resolver};
use crate::origin::connection::{Deadlines, Wire};
use crate::origin::patience::Patience;
use crate::origin::request_writer::Sending;
use crate::proxy::Edge;
use crate::record::metrics::single;
use crate::semantics::fields::FieldSection;
use crate::tls::client as tls;
use crate::trace::otlp::{Taken, export, judge};

/// A batch that is not full goes out after this time.
const RHYTHM: Duration = Duration::from_secs(1);
/// How often a batch is sent.
const ATTEMPTS: u32 = 3;
/// How long the first pause between two attempts is; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(500);
/// How long an edge that leaves goes on sending.
const LAST: Duration = Duration::from_secs(2);
/// The longest head of a collector's answer.
const HEAD: usize = 16 << 10;

/// What sends the spans of a process.
pub struct SpanExport {
    edge: Arc<Edge>,
    resolver: Resolver,
    /// One batch is on its way at a time.
    sending: Mutex<()>,
    /// The last batch was not taken: said once, not for each.
    is_failing: AtomicBool,
}

impl SpanExport {
    /// Of the spans that wait in the edge's queue.
    pub fn new(edge: &Arc<Edge>) -> Arc<Self> {
        Arc::new(Self {
            edge: Arc::clone(edge),
            resolver: Resolver::default(),
            sending: Mutex::default(),
            is_failing: AtomicBool::new(false),
        })
    }

    /// Sends what comes, for as long as the process runs.
    pub async fn keep_sending(self: Arc<Self>) {
        loop {
            // A batch that is full goes at once.
            let _ = timeout(RHYTHM, self.edge.spans.batch()).await;
            self.send_all().await;
        }
    }

    /// Sends what is left, within a bounded time. What is not sent by then is lost.
    pub async fn finish(&self) {
        if timeout(LAST, self.send_all()).await.is_err() {
            tracing::warn!(spans = self.edge.spans.len(), "spans were left that no collector took");
        }
    }

    async fn send_all(&self) {
        let _one = self.sending.lock().await;
        loop {
            let spans = self.edge.spans.take();
            if spans.is_empty() {
                return;
            }
            let count = spans.len() as u64;
            // A site that came meanwhile may trace nothing any more.
            let running = self.edge.running();
            let Some(settings) = &running.site.traces else {
                add(&self.edge.spans.counts.failed, count);
                continue;
            };
            let message = Bytes::from(export(&settings.service, &self.edge.node, &spans));
            drop(spans);
            self.send(settings, message, count).await;
        }
    }

    async fn send(&self, settings: &Traces, message: Bytes, count: u64) {
        let mut pause = PAUSE;
        let mut attempt = 1;
        let why = loop {
            let came = timeout(settings.timeout, self.post(settings, message.clone())).await;
            let (why, taken) = match came {
                Ok(Ok(status)) => (format!("status {status}"), judge(status)),
                Ok(Err(failure)) => (failure.detail, Taken::Later),
                Err(_) => ("no answer in time".to_string(), Taken::Later),
            };
            match taken {
                Taken::Whole => {
                    add(&self.edge.spans.counts.sent, count);
                    self.is_failing.store(false, Ordering::Relaxed);
                    return;
                }
                Taken::Later if attempt < ATTEMPTS => {}
                Taken::Later | Taken::Refused => break why,
            }
            attempt += 1;
            sleep(pause).await;
            pause *= 2;
        };
        add(&self.edge.spans.counts.failed, count);
        if !self.is_failing.swap(true, Ordering::Relaxed) {
            tracing::warn!(why, spans = count, "the collector took no spans; they are lost");
        }
    }

    // The status of the collector's answer; its body says nothing that would change anything.
    async fn post(&self, settings: &Traces, message: Bytes) -> Result<u16, Failure> {
        let collector = &settings.collector;
        let tls = match &collector.tls {
            None => None,
            Some(settings) => {
                let config = tls::config_for(settings, None)
                    .map_err(|why| Failure::new(FailureKind::TlsError, why))?;
                Some((config, collector.host.clone()))
            }
        };
        let place = Endpoint {
            host: collector.host.clone(),
            port: collector.port,
            tls,
            family: Family::Both,
            reach: Reach::Anywhere,
        };
        let stream = self.resolver.connect(&place, settings.timeout).await?;
        let mut fields = FieldSection::new();
        fields.append(&header::HOST, collector.authority());
        fields.append(&header::CONTENT_TYPE, "application/x-protobuf");
        fields.append(&header::CONNECTION, "close");
        for (name, value) in &settings.headers {
            fields.insert(name, value.expose());
        }
        let mut sending =
            Sending::new(&Method::POST, &collector.path, &fields, Body::Bytes(message));
        let patience = Patience::of_pieces(settings.timeout);
        let deadlines = Deadlines { patience, head_bytes: HEAD };
        let mut wire = Wire::new(stream);
        match wire.exchange(&mut sending, &deadlines, false, None, None).await {
            Ok(head) => Ok(head.status),
            Err(lost) => Err(lost.failure),
        }
    }

    /// What is counted of spans, as Prometheus text.
    pub fn metrics(edge: &Edge, out: &mut String) {
        let counts = &edge.spans.counts;
        for (name, help, count) in [
            ("foreshore_spans_sent_total", "Spans that the collector took.", &counts.sent),
            (
                "foreshore_spans_dropped_total",
                "Spans that found no room among those that wait.",
                &counts.dropped,
            ),
            (
                "foreshore_spans_failed_total",
                "Spans that the collector did not take in several attempts.",
                &counts.failed,
            ),
        ] {
            single(out, name, "counter", help, count.load(Ordering::Relaxed));
        }
        let waiting = edge.spans.len() as u64;
        single(out, "foreshore_spans_waiting", "gauge", "Spans that wait to be sent.", waiting);
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
