//! The operator's side: the admin listener, invalidations, reload, status, metrics.
//!
//! Loopback unless told otherwise. Everything but `/healthz` and `/readyz` wants a bearer token.

mod answer;
mod caller;
pub mod cloudfront;
pub mod invalidation;
mod metrics;
pub mod reload;
pub mod roster;
pub mod routes;
pub mod s3;
pub mod server;
mod spread;
pub mod status;
mod tier_status;
mod values;
mod values_data;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::base::secret::Secret;
use crate::distribution::site::Site;
use crate::documents::shelf::Documents;
use crate::fleet::here::Here;
use crate::invalidation::log::InvalidationLog;
use crate::listen::Gauges;
use crate::listen::places::Places;
use crate::proxy::Edge;
use crate::record::queue::LogQueue;
use crate::semantics::time::Timestamp;
use crate::tls::server::ServerTls;
use crate::tls::tickets::Tickets;

/// What the admin listener and the signals act upon.
pub struct Control {
    pub edge: Arc<Edge>,
    pub log: Arc<InvalidationLog>,
    pub config: PathBuf,
    pub tls: Arc<ArcSwap<Option<ServerTls>>>,
    pub tickets: Arc<Tickets>,
    pub access_log: Arc<LogQueue>,
    pub gauges: Arc<Gauges>,
    /// Viewers' connections: they make room where descriptors are short.
    pub places: Arc<Places>,
    pub token: Secret<String>,
    pub draining: watch::Sender<bool>,
    pub started_at: Timestamp,
    /// The site the process began with: its sockets, store and folders are still those.
    pub started_with: Arc<Site>,
    pub last_reload: Mutex<Option<Reloaded>>,
    pub forwarder: Arc<crate::region::forward::Forwarder>,
    /// One batch of CloudFront's API at a time: said twice at once, it is still one.
    pub batches: tokio::sync::Mutex<()>,
    pub roster: roster::Roster,
    /// The documents of the API in force. Held by whatever changes them or the site, until it is
    /// done: two changes at once are one after the other.
    pub documents: Mutex<Documents>,
    /// What is told of changed objects of buckets.
    pub s3: s3::S3Desk,
    /// Gives the numbers of a fleet's log, where this node does.
    pub sequencer: Option<Arc<Here>>,
}

/// How the last reload went.
#[derive(Clone, serde::Serialize)]
pub struct Reloaded {
    pub at: String,
    pub ok: bool,
    /// What was wrong, `file:line: …`; empty if it was taken.
    pub problems: Vec<String>,
    /// What was taken only in part, because it needs a restart.
    pub needs_restart: Vec<String>,
    /// What was taken and is likely not to be meant.
    pub warnings: Vec<String>,
}
