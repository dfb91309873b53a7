//! Origins and origin groups: where content comes from, and how patient we are with it.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use super::secret::Secret;
use crate::signature::sigv4::Credentials;

/// One place that content comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    pub id: String,
    pub kind: OriginKind,
    /// CloudFront's OriginPath: put before the viewer's path; no slash at its end.
    pub path: String,
    /// Fields added to each request, over whatever the viewer sent.
    pub headers: Vec<(HeaderName, Secret<HeaderValue>)>,
    pub timeouts: Timeouts,
    /// How often a connection is tried before the origin counts as unreachable.
    pub attempts: u32,
    /// The most connections open to this origin at a time, over all cores.
    pub connections: usize,
    /// Requests are signed for it (CloudFront's origin access control).
    pub access: Option<AccessControl>,
}

/// How requests to an S3-like origin are signed.
#[derive(Clone, Debug)]
pub struct AccessControl {
    pub signing: Signing,
    /// `s3`, but for origins that are something else.
    pub service: String,
    pub region: String,
    pub credentials: Credentials,
}

/// CloudFront's signing behaviors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signing {
    /// Whatever Authorization the viewer sent.
    Always,
    Never,
    /// The viewer's own Authorization goes on, where it is forwarded.
    NoOverride,
}

/// The kinds of origin.
#[derive(Clone, Debug)]
pub enum OriginKind {
    Http(HttpOrigin),
    /// A directory, served as an origin would serve it.
    Directory(PathBuf),
}

/// An origin asked over HTTP/1.1, with or without TLS.
#[derive(Clone, Debug)]
pub struct HttpOrigin {
    pub host: String,
    pub port: u16,
    pub tls: Option<OriginTls>,
    pub host_rule: HostRule,
}

/// What an origin sees as Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// Its own name, unless a policy passes the viewer's on.
    Origin,
    /// The viewer's, always.
    Viewer,
    Fixed(String),
}

/// How an origin proves who it is. There is no setting that skips the proof.
#[derive(Clone, Debug)]
pub struct OriginTls {
    pub roots: Roots,
    /// The name in SNI and in the certificate, if it is not the origin's host.
    pub server_name: Option<String>,
    pub identity: Option<Identity>,
    pub min: TlsVersion,
}

/// Whose signature on the origin's certificate counts.
#[derive(Clone, Debug)]
pub enum Roots {
    System,
    /// These certificates, DER.
    Given(Vec<Vec<u8>>),
}

/// Our own certificate, shown to an origin that asks for one. DER.
#[derive(Clone, Debug)]
pub struct Identity {
    pub chain: Vec<Vec<u8>>,
    pub key: Secret<Vec<u8>>,
}

/// The least TLS version spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    V1_2,
    V1_3,
}

/// CloudFront's origin timeouts, with its defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS of one attempt.
    pub connect: Duration,
    /// Until the head has come, and between two pieces of the body.
    pub response: Duration,
    /// How long an idle connection is kept.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { connect: Duration::from_secs(10), response: Duration::from_secs(30), idle: Duration::from_secs(5) }
    }
}

/// An origin and its stand-ins, asked in order (CloudFront's origin group).
#[derive(Clone, Debug)]
pub struct OriginGroup {
    pub id: String,
    /// Indexes into the distribution's origins; at least one.
    pub members: Vec<usize>,
    /// Statuses that send a request on to the next member.
    pub failover: Vec<u16>,
}

/// Says whether a field may not be set on an origin (shared/spec/CLOUDFRONT.md §8).
pub fn is_reserved(name: &HeaderName) -> bool {
    let name = name.as_str();
    matches!(
        name,
        "cache-control"
            | "connection"
            | "content-length"
            | "cookie"
            | "host"
            | "if-match"
            | "if-modified-since"
            | "if-none-match"
            | "if-range"
            | "if-unmodified-since"
            | "max-forwards"
            | "pragma"
            | "proxy-authorization"
            | "proxy-connection"
            | "range"
            | "request-range"
            | "te"
            | "trailer"
            | "transfer-encoding"
            | "upgrade"
            | "via"
            | "x-real-ip"
    ) || name.starts_with("x-amz-")
        || name.starts_with("x-edge-")
}
