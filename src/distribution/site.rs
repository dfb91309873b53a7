//! One loaded configuration, whole: what `config` made and all other rooms read.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use super::acme::Acme;
use super::behavior::{Behavior, ErrorResponse, Target};
use super::certificate::Certificate;
use super::compat::Compat;
use super::events::S3Events;
use super::fleet::{Fleet, SequencerAt};
use super::functions::{Function, FunctionSettings, LambdaSpec};
use super::geo::{Geo, GeoRestriction};
use super::host::HostTable;
use super::limits::Limits;
use super::logs::{CloudFrontLogs, LogSettings};
use super::origin::{Origin, OriginGroup};
use super::origin_names::OriginNames;
use super::process::Process;
use super::region::{Region, TrustedEdge};
use super::staging::Staging;
use super::stores::StoreSpec;
use super::tier::Tier;
use super::traces::Traces;
use super::viewer_tls::ClientCertificates;
use crate::base::network::Network;
use crate::base::secret::Secret;
use crate::crypto::sigv4::Credentials;

/// A configuration that made sense. Never changes; a reload makes a new one.
#[derive(Debug)]
pub struct Site {
    pub listen: Listen,
    pub admin: Admin,
    pub data: PathBuf,
    pub store: StoreSettings,
    pub certificates: Vec<Arc<Certificate>>,
    /// Certificates that are ordered of a CA; what serves for them is among `certificates`.
    pub acme: Vec<Arc<Acme>>,
    pub tls_policy: TlsPolicy,
    pub region: Option<Region>,
    /// A tier on Redis, Valkey or memcached.
    pub tier: Option<Tier>,
    pub trusted_edges: Vec<TrustedEdge>,
    /// The fleet whose log of invalidations this edge follows.
    pub fleet: Option<Fleet>,
    /// Who may tell of changed objects.
    pub s3_events: S3Events,
    pub limits: Limits,
    pub log: LogSettings,
    pub more_logs: CloudFrontLogs,
    /// Trust stores that the files name, each with how many authorities it has.
    pub trust_stores: BTreeMap<String, usize>,
    /// Spans of requests, for a collector.
    pub traces: Option<Traces>,
    pub observes: Observes,
    pub distributions: Vec<Arc<Distribution>>,
    pub hosts: HostTable,
    /// What this place is called: `FRA56-C1`.
    pub pop: String,
    /// Where viewers are; read anew with the configuration.
    pub geo: Option<Geo>,
    /// What code at the edge is held to.
    pub function_settings: FunctionSettings,
    /// CloudFront Functions, lambdas and the stores that functions read; behaviors name them by
    /// their places here.
    pub functions: Vec<Arc<Function>>,
    pub lambdas: Vec<LambdaSpec>,
    pub stores: Vec<Arc<StoreSpec>>,
    /// Where hosts are found that code or the API names.
    pub origin_names: OriginNames,
    /// The files this came from, watched for changes: configuration, certificates, secrets.
    pub files: Vec<PathBuf>,
    /// Settings that are taken from another field's when absent, and other remarks for the
    /// operator.
    pub remarks: Vec<String>,
    /// What loads and is likely not to be meant, each with what to do about it.
    pub warnings: Vec<String>,
    /// Behaviors in all distributions together.
    pub behaviors: usize,
    /// Distributions may be made and changed by CloudFront's API.
    pub api: Option<Api>,
    /// Stages whose cache API Gateway's calls may empty.
    pub rest_apis: Vec<RestApi>,
    /// How finely requests are counted.
    pub metrics_by: MetricsBy,
    /// What is given up at start.
    pub process: Process,
}

/// What holds for distributions that come by CloudFront's API.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Api {
    /// What the names that they are given end with: `cloudfront.net`.
    pub domain: String,
    pub web_acl: WebAcl,
    pub certificates: ApiCertificates,
}

/// What becomes of a distribution that names a web ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WebAcl {
    /// It is refused: the ACL guards something.
    Refused,
    /// It is served without.
    Ignored,
}

/// Which certificates a distribution of the API may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ApiCertificates {
    /// Those that the configuration names by `arn` or `iam_id`, for hosts that they cover.
    Named,
    /// Any; viewers are shown what there is for their host.
    Any,
    /// Any; for hosts that no certificate stands for one is made under a local CA.
    Made,
}

/// What the counters of requests tell apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MetricsBy {
    #[default]
    Behavior,
    /// All behaviors of a distribution are counted together.
    Distribution,
}

/// Whether a distribution answers viewers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    On,
    /// Viewers are refused; its hosts stay taken and what is stored stays (CloudFront's `Enabled =
    /// false`).
    Off,
}

/// What is looked at of a viewer because a policy or a log names it; else it costs nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Observes {
    /// The order of its fields (`CloudFront-Viewer-Header-Order`).
    pub header_order: bool,
    /// What its ClientHello looks like (`CloudFront-Viewer-JA3-Fingerprint`, `-JA4-`).
    pub fingerprints: bool,
}

impl Site {
    /// A behavior by its ordinal, and the distribution that it is of.
    pub fn behavior(&self, ordinal: usize) -> Option<(&Distribution, &Behavior)> {
        let mut all = self
            .distributions
            .iter()
            .flat_map(|one| one.behaviors.iter().map(move |behavior| (&**one, behavior)));
        all.find(|(_, behavior)| behavior.ordinal == ordinal)
    }

    /// The tier that the log of its fleet is on, where that is on one.
    pub fn log_tier(&self) -> Option<&Tier> {
        let fleet = self.fleet.as_ref()?;
        self.tier.as_ref().filter(|_| matches!(fleet.sequencer, SequencerAt::Tier))
    }
}

/// Where viewers are listened for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listen {
    pub http: Vec<SocketAddr>,
    pub https: Vec<SocketAddr>,
    pub proxy_protocol_from: Vec<Network>,
    /// Networks whose X-Forwarded-For is kept and added to; from others it is replaced.
    pub forwarded_for_from: Vec<Network>,
    pub workers: usize,
    pub http3: Http3,
    /// The authorities (DER) whose certificates a client may show; empty: none is asked for. They
    /// count for the admin listener, too.
    pub client_roots: Vec<Vec<u8>>,
    pub unknown_sni: UnknownSni,
}

/// What becomes of a handshake for a name, or for none, that no certificate stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnknownSni {
    /// The first certificate is shown.
    Default,
    /// The connection ends, as at CloudFront under `sni-only`.
    Refuse,
}

/// Whether HTTP/3 is spoken at the addresses for HTTPS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http3 {
    Off,
    /// Viewers are told of it under this port, or under the one that they came to.
    On {
        told_port: Option<u16>,
        gso: Gso,
    },
}

/// Whether the kernel is given several datagrams of QUIC in one call, where it takes them so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gso {
    On,
    /// For network cards, or their drivers, that say they can and lose what they are given.
    Off,
}

impl Http3 {
    /// Says whether it is spoken.
    pub const fn is_on(self) -> bool {
        matches!(self, Self::On { .. })
    }

    /// How datagrams are sent.
    pub const fn gso(self) -> Gso {
        match self {
            Self::On { gso, .. } => gso,
            Self::Off => Gso::On,
        }
    }
}

/// A stage of an API at API Gateway, and what its cache is here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestApi {
    pub id: String,
    pub stage: String,
    pub distribution: String,
    /// What of the distribution is the stage's: an item of an invalidation.
    pub path: String,
}

/// The admin listener: its address, and what it wants of a caller.
#[derive(Debug)]
pub struct Admin {
    pub listen: SocketAddr,
    /// `None`: a token is made on first start and kept in the data folder.
    pub token: Option<Secret<String>>,
    pub transport: Transport,
    /// Keys that may call CloudFront's API, signed with Signature Version 4.
    pub access_keys: Vec<AccessKey>,
    /// The account that ARNs name.
    pub account: String,
    pub unsigned: Unsigned,
    pub dashboard: Dashboard,
}

/// A key that calls of CloudFront's API are signed with.
#[derive(Clone, Debug)]
pub struct AccessKey {
    pub credentials: Credentials,
    /// Such as `cloudfront:CreateInvalidation`, `cloudfront:Get*`, or `cloudfront-keyvaluestore:*`.
    pub allow: Vec<String>,
}

/// What a key may do that is allowed nothing by name.
pub const INVALIDATION_ACTIONS: [&str; 3] =
    ["cloudfront:CreateInvalidation", "cloudfront:GetInvalidation", "cloudfront:ListInvalidations"];

impl AccessKey {
    /// Says whether it may make a call of a service: `cloudfront`, `cloudfront-keyvaluestore`,
    /// `apigateway` (calls are named by their method) or `execute-api`.
    pub fn allows(&self, service: &str, action: &str) -> bool {
        self.allow.iter().filter_map(|known| known.split_once(':')).any(|(of, what)| {
            let is_named = match what.strip_suffix('*') {
                Some(start) => action.starts_with(start),
                None => what == action,
            };
            of == service && is_named
        })
    }
}

/// What becomes of calls of CloudFront's API that carry no signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsigned {
    Refused,
    /// `aws --no-sign-request` works; for machines that only their operator reaches.
    Allowed,
}

/// Whether browsers are shown what the edge does, and may log in for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dashboard {
    On,
    Off,
}

/// What the admin listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    Clear,
    /// With the site's certificates.
    Tls,
}

/// How much may be kept.
#[derive(Clone, Debug)]
pub struct StoreSettings {
    pub memory: u64,
    pub max_object: u64,
    pub disk: Option<DiskSettings>,
}

/// The disk tier behind the memory.
#[derive(Clone, Debug)]
pub struct DiskSettings {
    pub path: PathBuf,
    /// The most octets of files.
    pub size: u64,
    /// Octets of responses that wait to be written; beyond them none is admitted.
    pub queue: u64,
    /// Octets a second that are read in the background to check them; 0 for none.
    pub scrub: u64,
    /// The most responses.
    pub objects: u64,
    /// What it is encrypted under.
    pub key: Option<Secret<String>>,
}

impl DiskSettings {
    /// Says whether two of them can be told apart by anything but their secret.
    pub fn is_like(&self, other: &Self) -> bool {
        let of = |one: &Self| {
            (one.path.clone(), one.size, one.queue, one.scrub, one.objects, one.key.is_some())
        };
        of(self) == of(other)
    }
}

/// CloudFront's security policies that rustls can honour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// TLS 1.2 with ECDHE and AES-GCM or ChaCha20, and TLS 1.3.
    Tls12_2021,
    /// The same without ChaCha20 in TLS 1.2.
    Tls12_2025,
    /// TLS 1.3 alone.
    Tls13_2025,
}

/// What is served under some host names.
#[derive(Clone, Debug)]
pub struct Distribution {
    pub id: String,
    /// What the operator calls it; CloudFront's `Comment`.
    pub comment: Option<String>,
    pub serving: Serving,
    /// The operator's own words for it, by name.
    pub tags: Vec<(String, String)>,
    pub hosts: Vec<String>,
    pub default_root_object: Option<String>,
    pub origins: Vec<Arc<Origin>>,
    pub groups: Vec<OriginGroup>,
    /// In the order of the file; the last one has the pattern `*`.
    pub behaviors: Vec<Behavior>,
    pub error_responses: Vec<ErrorResponse>,
    /// The response field that names an object's tags.
    pub tag_header: http::HeaderName,
    /// It is one side of a continuous deployment.
    pub is_deploying: bool,
    /// The one that is tried out on some of its viewers.
    pub staging: Option<Staging>,
    pub geo_restriction: Option<GeoRestriction>,
    pub versions: HttpVersions,
    /// What it wants of its viewers' certificates; a staging distribution has its primary's.
    pub client_certificates: Option<Arc<ClientCertificates>>,
    /// The bearer token for the method PURGE; `None` refuses it.
    pub purge: Option<Secret<String>>,
    pub compat: Compat,
}

/// Which versions of HTTP viewers of a distribution may use; HTTP/1.1 is always among them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersions {
    /// All that the listener speaks.
    #[default]
    Spoken,
    Http1,
    Http2,
    Http3,
    Http2And3,
}

impl HttpVersions {
    /// Says whether HTTP/2 is among them.
    pub const fn has_http2(self) -> bool {
        matches!(self, Self::Spoken | Self::Http2 | Self::Http2And3)
    }

    /// Says whether HTTP/3 is among them, where the listener speaks it.
    pub const fn has_http3(self) -> bool {
        matches!(self, Self::Spoken | Self::Http3 | Self::Http2And3)
    }
}

impl Distribution {
    /// The first behavior whose pattern matches; the last one always does.
    pub fn behavior(&self, path: &str) -> &Behavior {
        &self.behaviors[self.behavior_at(path)]
    }

    /// The same as an index into `behaviors`.
    pub fn behavior_at(&self, path: &str) -> usize {
        let last = self.behaviors.len() - 1;
        self.behaviors[..last].iter().position(|b| b.pattern.matches(path)).unwrap_or(last)
    }

    /// What a behavior's viewers see in the place of an error.
    pub fn error_response<'d>(
        &'d self,
        behavior: &'d Behavior,
        status: u16,
    ) -> Option<&'d ErrorResponse> {
        behavior
            .error_responses
            .iter()
            .chain(&self.error_responses)
            .find(|rule| rule.status == status)
    }

    /// The origins a behavior may ask, in order, and the statuses that send a request on.
    pub fn members(&self, target: Target) -> (&[usize], &[u16]) {
        match target {
            Target::Origin(at) => (std::slice::from_ref(&SMALL[at.min(SMALL.len() - 1)]), &[]),
            Target::Group(at) => (&self.groups[at].members, &self.groups[at].failover),
        }
    }
}

// Lets a single origin be given as a slice of indexes like a group; `config` refuses more origins
// than this.
static SMALL: [usize; ORIGINS_MAX] = {
    let mut all = [0; ORIGINS_MAX];
    let mut at = 0;
    while at < ORIGINS_MAX {
        all[at] = at;
        at += 1;
    }
    all
};

/// The most origins a distribution may have (CloudFront's quota is 100).
pub const ORIGINS_MAX: usize = 256;
