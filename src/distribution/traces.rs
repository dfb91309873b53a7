//! What the operator said of traces: which requests, and where their spans go.

use std::time::Duration;

use http::header::{HeaderName, HeaderValue};

use super::origin::OriginTls;
use crate::base::network::Network;
use crate::base::secret::Secret;
use crate::trace::context::Formats;

/// Of a rate of 1, so many requests in as many are sampled.
pub const WHOLE: u32 = 1_000_000;

/// `[traces]`.
#[derive(Clone, Debug)]
pub struct Traces {
    pub collector: Collector,
    /// Of a million requests that no trusted caller has decided about, so many are sampled.
    pub rate: u32,
    /// Who is believed about the trace that a request belongs to, beside edges that prove
    /// themselves.
    pub trusted: Vec<Network>,
    /// Which fields tell origins and parents of it.
    pub formats: Formats,
    /// Fields of the requests to the collector.
    pub headers: Vec<(HeaderName, Secret<HeaderValue>)>,
    /// For each attempt to hand over a batch.
    pub timeout: Duration,
    /// Spans that may wait.
    pub queue: usize,
    /// What this edge is called in its spans.
    pub service: String,
}

/// Where a collector takes OTLP over HTTP.
#[derive(Clone, Debug)]
pub struct Collector {
    pub host: String,
    pub port: u16,
    /// With its leading slash.
    pub path: String,
    /// `None`: in clear.
    pub tls: Option<OriginTls>,
}

impl Collector {
    /// Host and port, as Host has them.
    pub fn authority(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        match self.port {
            port if port == usual => self.host.clone(),
            port => format!("{}:{port}", self.host),
        }
    }
}
