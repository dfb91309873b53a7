//! Origins and origin groups: where content comes from, and how patient we are with it.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, HeaderValue};

use crate::base::secret::Secret;
use crate::crypto::sigv4::Credentials;

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
    /// The parent, by its URL, that every other node asks last before this origin (CloudFront's
    /// Origin Shield).
    pub shield: Option<String>,
    /// The bucket that it is, by the name that events have for it; `None`: what its address says.
    pub bucket: Option<String>,
    /// The same origin in clear text, asked in its place for viewers who came without TLS
    /// (CloudFront's OriginProtocolPolicy `match-viewer`). It has pools of its own.
    pub clear: Option<Arc<Self>>,
}

/// How requests to an S3-like origin are signed.
#[derive(Clone, Debug)]
pub struct AccessControl {
    pub signing: Signing,
    /// `s3`, but for origins that are something else.
    pub service: String,
    pub region: String,
    pub credentials: Credentials,
    pub subresources: Subresources,
}

impl AccessControl {
    /// Says whether the origin is S3 or one of its siblings (`s3express`, `s3-outposts`,
    /// `s3-object-lambda`).
    pub fn is_bucket(&self) -> bool {
        self.service.starts_with("s3")
    }
}

/// Which orders beside asking for, writing and removing an object viewers may give to a bucket with
/// our credentials: S3's subresources (`?tagging`, `?uploads`) and fields (`x-amz-copy-source`), by
/// name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subresources {
    Refuse,
    Pass,
    /// These, as S3 spells them; fields in lower case.
    Only(Vec<String>),
}

impl Subresources {
    /// Says whether viewers may give the order that a parameter or field of this name makes.
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::Refuse => false,
            Self::Pass => true,
            Self::Only(names) => names.iter().any(|known| known == name),
        }
    }
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

/// An origin asked over HTTP, with or without TLS.
#[derive(Clone, Debug)]
pub struct HttpOrigin {
    pub host: String,
    pub port: u16,
    pub tls: Option<OriginTls>,
    pub host_rule: HostRule,
    pub version: HttpVersion,
    pub family: Family,
    pub reach: Reach,
}

/// Which addresses of an origin's name are used (CloudFront's IpAddressType).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Family {
    Ipv4,
    Ipv6,
    /// Both, whichever connects first.
    #[default]
    Both,
}

impl Family {
    /// Each with CloudFront's word for it.
    pub const ALL: [(&'static str, Self); 3] =
        [("ipv4", Self::Ipv4), ("ipv6", Self::Ipv6), ("dualstack", Self::Both)];

    /// CloudFront's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
            Self::Both => "dualstack",
        }
    }

    /// Says whether an address is one of these.
    pub const fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::Ipv4 => address.is_ipv4(),
            Self::Ipv6 => address.is_ipv6(),
            Self::Both => true,
        }
    }
}

/// Which addresses a connection may go to, looked at once the name is resolved.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// Wherever the operator's own words point.
    #[default]
    Anywhere,
    /// Code or a call chose the host: neither a machine's metadata nor our own admin listener.
    Guarded { admin: SocketAddr },
}

impl Reach {
    /// Says whether an address may be connected to.
    pub fn allows(self, address: SocketAddr) -> bool {
        let Self::Guarded { admin } = self else { return true };
        let ip = address.ip().to_canonical();
        let is_metadata = match ip {
            IpAddr::V4(v4) => v4.is_link_local() || v4.octets() == [100, 100, 100, 200],
            IpAddr::V6(v6) => {
                v6.is_unicast_link_local() || v6.segments()[..3] == [0xfd00, 0xec2, 0]
            }
        };
        let is_here = ip.is_loopback() || ip.is_unspecified() || ip == admin.ip().to_canonical();
        !(is_metadata || is_here && address.port() == admin.port())
    }
}

/// What is spoken to an origin (CloudFront's OriginHttpVersion).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HttpVersion {
    #[default]
    Http1,
    /// HTTP/2 where a TLS origin chooses it, HTTP/1.1 where it does not; in clear text HTTP/2 from
    /// the first octet (RFC 9113 §3.3).
    Http2,
}

impl HttpOrigin {
    /// The Host of a request that has none left: the origin's own.
    pub fn own_host(&self) -> String {
        let default = if self.tls.is_some() { 443 } else { 80 };
        match &self.host_rule {
            HostRule::Fixed(name) | HostRule::Named(name) => name.clone(),
            HostRule::Origin | HostRule::Viewer if self.port == default => self.host.clone(),
            HostRule::Origin | HostRule::Viewer => format!("{}:{}", self.host, self.port),
        }
    }

    /// Says whether a connection made for the one may carry requests for the other: both are
    /// reached at one address, and prove their name in the same way. What is sent over it may
    /// differ.
    pub fn connects_like(&self, other: &Self) -> bool {
        // Without `..`: a new field does not compile until its part in a connection is decided. The
        // Host that is sent chooses among the connections of one pool.
        let Self { host, port, tls, host_rule: _, version, family, reach } = self;
        let is_same_tls = match (tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(two)) => one.proves_like(two),
            _ => false,
        };
        *host == other.host
            && *port == other.port
            && *version == other.version
            && *family == other.family
            && *reach == other.reach
            && is_same_tls
    }
}

/// What an origin sees as Host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostRule {
    /// Its own name, unless a policy passes the viewer's on.
    Origin,
    /// The viewer's, always.
    Viewer,
    Fixed(String),
    /// As `Origin`, its own name being this one: it is found elsewhere (`[origin_names]`).
    Named(String),
}

/// How an origin proves its name. There is no setting that skips the proof.
#[derive(Clone, Debug)]
pub struct OriginTls {
    pub roots: Roots,
    /// The name in SNI and in the certificate, whatever is asked for. None: SNI is the Host that is
    /// sent, and the certificate is for that or for the origin's own name (`origin::peer`).
    pub server_name: Option<String>,
    /// The certificate may be for one of these names as well.
    pub more_names: Vec<String>,
    pub identity: Option<Identity>,
    pub min: TlsVersion,
}

impl OriginTls {
    /// The system's roots, and nothing of its own.
    pub const fn usual() -> Self {
        Self {
            roots: Roots::System,
            server_name: None,
            identity: None,
            min: TlsVersion::V1_2,
            more_names: Vec::new(),
        }
    }

    /// Says whether two of them come to the same proof.
    pub fn proves_like(&self, other: &Self) -> bool {
        let Self { roots, server_name, more_names, identity, min } = self;
        let is_same_identity = match (identity, &other.identity) {
            (None, None) => true,
            (Some(Identity { chain, key }), Some(other)) => {
                *chain == other.chain && key.is_same(&other.key)
            }
            _ => false,
        };
        *roots == other.roots
            && *server_name == other.server_name
            && *more_names == other.more_names
            && *min == other.min
            && is_same_identity
    }
}

/// The authorities whose signature on the origin's certificate counts.
#[derive(Clone, Debug, PartialEq, Eq)]
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

/// CloudFront's origin timeouts, with its defaults but for the last: it keeps idle connections for
/// 5 s, as long as Node does, so that each may find the other closing as it begins to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Name, TCP and TLS of one attempt.
    pub connect: Duration,
    /// Until the head has come, and between two pieces of the body.
    pub response: Duration,
    /// From the request's being sent until the whole answer has come, retries included; no less
    /// than `response` (CloudFront's ResponseCompletionTimeout). None: no bound.
    pub complete: Option<Duration>,
    /// How long an idle connection is kept; an origin that says `Keep-Alive: timeout=N` may shorten
    /// it.
    pub idle: Duration,
}

impl Timeouts {
    /// How long an idle connection is kept where nothing is said.
    pub const IDLE: Duration = Duration::from_secs(4);
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            response: Duration::from_secs(30),
            complete: None,
            idle: Self::IDLE,
        }
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

/// Says whether a field may not be set on an origin (CloudFront: "Add custom headers to origin
/// requests").
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

#[cfg(test)]
mod tests {
    use super::*;

    fn over_tls() -> HttpOrigin {
        let identity = Identity { chain: vec![vec![1]], key: Secret::new(vec![2]) };
        let tls = OriginTls {
            roots: Roots::Given(vec![vec![3]]),
            server_name: None,
            identity: Some(identity),
            min: TlsVersion::V1_2,
            more_names: Vec::new(),
        };
        HttpOrigin {
            host: "o.test".into(),
            port: 443,
            tls: Some(tls),
            host_rule: HostRule::Origin,
            version: HttpVersion::Http1,
            family: Family::Both,
            reach: Reach::Anywhere,
        }
    }

    #[test]
    fn what_code_chooses_is_neither_metadata_nor_our_own_admin_listener() {
        let admin: SocketAddr = "127.0.0.1:9080".parse().unwrap();
        let guarded = Reach::Guarded { admin };
        for (address, is_allowed) in [
            ("127.0.0.1:3000", true),
            ("127.0.0.1:9080", false),
            ("127.1.2.3:9080", false),
            ("[::1]:9080", false),
            ("0.0.0.0:9080", false),
            ("[::ffff:127.0.0.1]:9080", false),
            ("192.0.2.1:9080", true),
            ("169.254.169.254:80", false),
            ("[::ffff:169.254.169.254]:80", false),
            ("[fd00:ec2::254]:80", false),
            ("[fe80::1]:80", false),
            ("100.100.100.200:80", false),
        ] {
            let address = address.parse().unwrap();
            assert_eq!(guarded.allows(address), is_allowed, "{address}");
            assert!(Reach::Anywhere.allows(address));
        }
    }

    // A connection over which an origin proved itself in one way is no proof in another.
    #[test]
    fn a_connection_serves_whoever_is_reached_and_proved_in_the_same_way() {
        let with = |change: &dyn Fn(&mut HttpOrigin)| {
            let mut other = over_tls();
            change(&mut other);
            over_tls().connects_like(&other)
        };
        let tls =
            |change: &dyn Fn(&mut OriginTls)| with(&|other| change(other.tls.as_mut().unwrap()));
        assert!(with(&|_| {}));
        assert!(
            with(&|other| other.host_rule = HostRule::Viewer),
            "each name has connections of its own anyway"
        );
        assert!(!with(&|other| other.host = "p.test".into()));
        assert!(!with(&|other| other.port = 444));
        assert!(!with(&|other| other.version = HttpVersion::Http2));
        assert!(!with(&|other| other.family = Family::Ipv4));
        assert!(!with(&|other| other.tls = None));
        let admin = "127.0.0.1:9080".parse().unwrap();
        assert!(!with(&|other| other.reach = Reach::Guarded { admin }));
        assert!(!tls(&|tls| tls.roots = Roots::System));
        assert!(!tls(&|tls| tls.roots = Roots::Given(vec![vec![4]])));
        assert!(!tls(&|tls| tls.server_name = Some("o.test".into())));
        assert!(!tls(&|tls| tls.more_names = vec!["o.test".into()]));
        assert!(!tls(&|tls| tls.min = TlsVersion::V1_3));
        assert!(!tls(&|tls| tls.identity = None));
        assert!(!tls(&|tls| tls.identity.as_mut().unwrap().chain.push(vec![5])));
        assert!(!tls(&|tls| tls.identity.as_mut().unwrap().key = Secret::new(vec![6])));
    }

    // Node closes an idle connection after 5 s.
    #[test]
    fn an_idle_connection_is_given_up_before_most_origins_do() {
        assert!(Timeouts::default().idle < Duration::from_secs(5));
    }
}
