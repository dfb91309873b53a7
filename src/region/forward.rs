//! Invalidations go from an edge to its parents, in the order of the edge's log, until each has them all.
//!
//! A parent writes them into its own log, marked with the edge and the edge's number, and says how far it
//! has come. Nothing is skipped: a batch that begins after a gap is answered with where to begin again.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Request};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::EDGE;
use crate::cache::invalidations::{Matcher, Severity};
use crate::control::Control;
use crate::control::invalidation::Wrong;
use crate::distribution::region::{Parents, Region as Configured};
use crate::exchange::key::LogNumber;
use crate::origin::connect::{Place, Resolver};
use crate::origin::tls;
use crate::store::log::{Record, new_id};

const BATCH: usize = 500;
/// How long an operator's call waits for a parent.
const PATIENCE: Duration = Duration::from_secs(2);

/// What an edge sends.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forwarded {
    /// Which log the numbers are of.
    pub log: String,
    /// Everything up to here has been sent before.
    pub after: u64,
    pub records: Vec<ForwardedRecord>,
}

/// One invalidation of the edge's log.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardedRecord {
    pub number: u64,
    pub distribution: String,
    pub matchers: Vec<Matcher>,
    pub severity: Severity,
}

/// How far one parent has come.
#[derive(Clone, Debug, Serialize)]
pub struct ParentState {
    pub parent: String,
    /// `applied` or `behind`.
    pub state: &'static str,
    pub applied: u64,
}

/// The sending side.
#[derive(Default)]
pub struct Forwarder {
    parents: Mutex<Vec<Arc<Receiver>>>,
    resolver: Resolver,
}

struct Receiver {
    name: String,
    applied: AtomicU64,
    /// The log's head as this parent should have it.
    wanted: AtomicU64,
    busy: tokio::sync::Mutex<()>,
}

impl Forwarder {
    // One receiver per parent of the site in force; what is known of one that stays is kept.
    fn receivers(&self, control: &Control) -> Vec<Arc<Receiver>> {
        let running = control.edge.running();
        let Some(Configured::Parents(configured)) = &running.site.region else {
            self.parents.lock().clear();
            return Vec::new();
        };
        let mut known = self.parents.lock();
        let fresh = configured.urls.iter().map(|url| {
            let name = url.to_string();
            known.iter().find(|receiver| receiver.name == name).cloned().unwrap_or_else(|| {
                Arc::new(Receiver { name, applied: AtomicU64::new(0), wanted: AtomicU64::new(0), busy: tokio::sync::Mutex::new(()) })
            })
        });
        *known = fresh.collect();
        known.clone()
    }

    /// Sends everything up to `number` to every parent and says which have it.
    pub async fn forward(&self, control: &Arc<Control>, number: LogNumber) -> Vec<ParentState> {
        let mut states = Vec::new();
        for receiver in self.receivers(control) {
            let _ = tokio::time::timeout(PATIENCE, self.bring_up(control, &receiver, number)).await;
            states.push(receiver.state(number));
        }
        states
    }

    /// Brings parents that are behind up to date, for as long as the process lives.
    pub async fn keep_up(control: Arc<Control>) {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        let mut turn = 0u32;
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = control.edge.news.notified() => {}
            }
            turn = turn.wrapping_add(1);
            let last = control.log.last();
            for receiver in control.forwarder.receivers(&control) {
                // Now and then also one that seems to have all: it may have lost its log.
                if receiver.applied.load(Ordering::Relaxed) < last.0 || turn % 10 == 1 {
                    let sending = control.forwarder.bring_up(&control, &receiver, last);
                    let _ = tokio::time::timeout(Duration::from_secs(10), sending).await;
                }
            }
        }
    }

    /// The state of each parent, for `/v1/status`.
    pub fn states(&self) -> Vec<ParentState> {
        self.parents.lock().iter().map(|receiver| receiver.state(LogNumber(receiver.wanted.load(Ordering::Relaxed)))).collect()
    }

    /// Says whether every parent has applied everything up to this number.
    pub fn have_applied(&self, number: LogNumber) -> bool {
        self.parents.lock().iter().all(|receiver| receiver.applied.load(Ordering::Relaxed) >= number.0)
    }

    async fn bring_up(&self, control: &Arc<Control>, receiver: &Receiver, number: LogNumber) {
        receiver.wanted.fetch_max(number.0, Ordering::Relaxed);
        let _alone = receiver.busy.lock().await;
        // An empty batch asks where the parent stands.
        let mut told = false;
        while !told || receiver.applied.load(Ordering::Relaxed) < number.0 {
            let after = receiver.applied.load(Ordering::Relaxed);
            let records = if told { batch(control, LogNumber(after)) } else { Vec::new() };
            match self.send(control, receiver, after, records).await {
                Ok(applied) if applied > control.log.last().0 => return self.after_rollback(control, LogNumber(applied)).await,
                Ok(applied) if told && applied <= after => return,
                Ok(applied) => receiver.applied.store(applied, Ordering::Relaxed),
                Err(why) => return tracing::warn!(parent = receiver.name, why, "a parent did not take our invalidations yet"),
            }
            told = true;
        }
    }

    // A parent has more of our log than we have: the disk went back to an older state. What the lost records
    // said is unknown, so everything is declared old, under numbers nobody has seen.
    async fn after_rollback(&self, control: &Arc<Control>, applied: LogNumber) {
        tracing::error!(
            ours = control.log.last().0,
            parent = applied.0,
            "the invalidation log has lost records; everything is invalidated"
        );
        control.log.skip_to(applied);
        let running = control.edge.running();
        for distribution in &running.site.distributions {
            let everything = vec![Matcher::Prefix("/".into())];
            let record = Record::new(new_id(), distribution.id.clone(), everything, Severity::Hard, control.edge.clock.now().0);
            if let Err(why) = control.accept(record).await {
                tracing::error!(?why, "not even that could be written down");
            }
        }
    }

    async fn send(&self, control: &Control, receiver: &Receiver, after: u64, records: Vec<ForwardedRecord>) -> Result<u64, String> {
        let running = control.edge.running();
        let Some(Configured::Parents(configured)) = &running.site.region else { return Err("no longer configured".into()) };
        let at = configured.urls.iter().position(|url| url.to_string() == receiver.name).ok_or("no longer configured")?;
        let body = Forwarded { log: control.edge.node.clone(), after, records };
        let body = serde_json::to_vec(&body).map_err(|error| error.to_string())?;
        let answer = self.post(configured, at, body).await?;
        answer.get("applied").and_then(serde_json::Value::as_u64).ok_or_else(|| "the answer names no number".into())
    }

    async fn post(&self, configured: &Parents, at: usize, body: Vec<u8>) -> Result<serde_json::Value, String> {
        let admin = configured.admins.get(at).ok_or("no admin address is configured for this parent")?;
        let tls = if admin.is_tls {
            let name = configured.tls.server_name.clone().unwrap_or_else(|| admin.host.clone());
            Some((tls::client_config(&configured.tls)?, name))
        } else {
            None
        };
        let place = Place { host: admin.host.clone(), port: admin.port, tls };
        let stream = self.resolver.connect(&place, PATIENCE).await.map_err(|failure| failure.detail)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| e.to_string())?;
        tokio::spawn(connection);
        let authorization = HeaderValue::from_str(&format!("Bearer {}", configured.token.expose())).map_err(|e| e.to_string())?;
        let request = Request::post("/v1/edge/invalidations")
            .header(http::header::HOST, format!("{}:{}", admin.host, admin.port))
            .header(http::header::AUTHORIZATION, authorization)
            .header(EDGE, configured.edge_id.as_str())
            .body(Full::new(Bytes::from(body)))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let bytes = Limited::new(answer.into_body(), 1 << 20).collect().await.map_err(|error| error.to_string())?.to_bytes();
        if !status.is_success() {
            return Err(format!("the parent answered {status}"));
        }
        serde_json::from_slice(&bytes).map_err(|error| error.to_string())
    }
}

impl Receiver {
    fn state(&self, number: LogNumber) -> ParentState {
        let applied = self.applied.load(Ordering::Relaxed);
        let state = if applied >= number.0 { "applied" } else { "behind" };
        ParentState { parent: self.name.clone(), state, applied }
    }
}

// The next records after a number. If they are no longer at hand, everything of every distribution.
fn batch(control: &Control, after: LogNumber) -> Vec<ForwardedRecord> {
    if let Some(records) = control.log.after(after, BATCH) {
        return records
            .into_iter()
            .map(|record| ForwardedRecord {
                number: record.number,
                distribution: record.distribution,
                matchers: record.matchers,
                severity: record.severity,
            })
            .collect();
    }
    let number = control.log.last().0;
    let running = control.edge.running();
    let everything = |id: &String| ForwardedRecord {
        number,
        distribution: id.clone(),
        matchers: vec![Matcher::Prefix("/".into())],
        severity: Severity::Hard,
    };
    running.site.distributions.iter().map(|distribution| everything(&distribution.id)).collect()
}

impl Control {
    /// Takes a batch from an edge; says how far that edge's log is in effect here now.
    pub async fn take_from_edge(self: &Arc<Self>, edge: &str, batch: Forwarded) -> Result<u64, Wrong> {
        let log = format!("{edge}/{}", batch.log);
        let applied = self.edge.applied.of(&log).0;
        // After a gap nothing is taken: the edge begins again where we stand.
        if batch.after > applied {
            return Ok(applied);
        }
        let mut numbers: Vec<u64> = batch.records.iter().map(|record| record.number).collect();
        numbers.dedup();
        for number in numbers.into_iter().filter(|number| *number > applied) {
            for one in batch.records.iter().filter(|record| record.number == number) {
                let at = self.edge.clock.now().0;
                let record = Record::new(new_id(), one.distribution.clone(), one.matchers.clone(), one.severity, at);
                self.accept(Record { from: Some((log.clone(), number)), ..record }).await?;
            }
            self.edge.applied.note(&log, number);
        }
        Ok(self.edge.applied.of(&log).0)
    }
}
