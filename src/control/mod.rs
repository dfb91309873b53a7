//! The operator's side: the admin listener, invalidations, reload, status, metrics.
//!
//! Loopback unless told otherwise. Everything but `/healthz`, `/readyz`, the dashboard's files and its
//! login wants a bearer token, or the cookie that a browser got for it.

mod answer;
pub mod call_counts;
mod caller;
mod calls;
pub mod cloudfront;
pub mod compiling;
pub mod explain;
mod functions;
mod gateway;
mod history;
pub mod inherited;
pub mod invalidation;
mod issuing;
pub mod live;
pub mod login;
mod metrics;
mod page;
pub mod reload;
pub mod roster;
pub mod routes;
pub mod s3;
pub mod server;
mod sessions;
pub mod span_export;
mod spread;
pub mod status;
mod store_changes;
pub mod succession;
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

/// Callers that may look at documents or change them at once, each on a thread of its own.
pub const CALLERS: usize = 64;

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
    pub api_calls: call_counts::CallCounts,
    pub roster: roster::Roster,
    /// The documents of the API in force. Held by whatever changes them or the site, until it is
    /// done: two changes at once are one after the other.
    pub documents: Mutex<Documents>,
    /// Compiles the configuration for those that hold the documents.
    pub compiler: compiling::Compiler,
    /// Callers that may wait at once for what holds them.
    pub callers: tokio::sync::Semaphore,
    /// What is told of changed objects of buckets.
    pub s3: s3::S3Desk,
    /// Gives the numbers of a fleet's log, where this node does.
    pub sequencer: Option<Arc<Here>>,
    /// What those who look on are told.
    pub live: live::LiveDesk,
    /// Browsers that have shown the token.
    pub doorkeeper: login::Doorkeeper,
    /// A new process that takes this one's place.
    pub succession: succession::Succession,
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
