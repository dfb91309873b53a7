//! Parents, as configured. A tier on Redis or memcached is `tier`.

use std::time::Duration;

use super::host::parse_authority;
use super::origin::OriginTls;
use crate::base::secret::Secret;

/// What stands between this edge and the origins.
#[derive(Clone, Debug)]
pub enum Region {
    Parents(Parents),
}

/// Other Foreshores, asked before an origin, each responsible for its share of the keys.
#[derive(Clone, Debug)]
pub struct Parents {
    pub all: Vec<ParentAt>,
    /// This node, where it is a parent itself: the name by which origins have it as their shield.
    pub own: Option<ParentUrl>,
    /// The name that this edge gives itself; a parent knows its edges by it.
    pub edge_id: String,
    pub token: Secret<String>,
    pub tls: OriginTls,
    /// How long all parents that one request asks may take together to send a head; then the origin
    /// is asked.
    pub timeout: Duration,
    pub checks: Checks,
    pub ejection: Ejection,
}

/// `[region.health]`: how each parent is asked, on its admin listener, whether it is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checks {
    /// From the end of one to the next; zero: there are none.
    pub interval: Duration,
    /// How long an answer may take, connecting included.
    pub timeout: Duration,
    /// Failures in a row after which a parent is out.
    pub unhealthy_after: u32,
    /// Answers in a row after which it is back.
    pub healthy_after: u32,
    /// By how many percent an interval may be shorter, so that edges do not ask in step.
    pub jitter: u8,
}

impl Checks {
    pub const DEFAULT: Self = Self {
        interval: Duration::from_secs(2),
        timeout: Duration::from_secs(1),
        unhealthy_after: 3,
        healthy_after: 2,
        jitter: 20,
    };
}

/// `[region.ejection]`: when a parent that answers worse than the others is left alone, and for how
/// long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ejection {
    /// Over how long answers are looked at.
    pub window: Duration,
    /// Fewer answers in a window say nothing by their share.
    pub requests: u32,
    /// Percent of them that may be failures or late.
    pub failures: u8,
    /// Failures in a row that are enough by themselves.
    pub in_a_row: u32,
    /// How long the first ejection lasts; each further one twice as long.
    pub first: Duration,
    /// The most that one may last.
    pub longest: Duration,
    /// Percent of the parents that may be out together; zero: none is ejected.
    pub most: u8,
}

impl Ejection {
    pub const DEFAULT: Self = Self {
        window: Duration::from_secs(10),
        requests: 20,
        failures: 50,
        in_a_row: 10,
        first: Duration::from_secs(30),
        longest: Duration::from_secs(300),
        most: 50,
    };
}

/// One parent: where it is, and for which share of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentAt {
    pub url: ParentUrl,
    /// Its admin listener, for invalidations.
    pub admin: AdminUrl,
    pub weight: Weight,
}

/// A parent's share of the keys, in proportion to the weights of the others. One of weight 0 is a
/// spare: it takes keys only where every other one is out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Weight(pub u16);

impl Weight {
    /// The most that one parent may weigh.
    pub const MOST: u16 = 1000;
}

impl Default for Weight {
    fn default() -> Self {
        Self(1)
    }
}

/// Where a parent listens for requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParentUrl {
    pub host: String,
    pub port: u16,
}

/// A parent's admin listener: https, or http on loopback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminUrl {
    pub host: String,
    pub port: u16,
    pub is_tls: bool,
}

impl ParentUrl {
    /// Reads `https://HOST[:PORT]`; the error says what it is not.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("https://").ok_or("a parent is asked over https only")?;
        let authority = parse_authority(rest.trim_end_matches('/'))
            .ok_or("this is no host, or it has a path")?;
        Ok(Self { host: authority.host.to_string(), port: authority.port.unwrap_or(443) })
    }
}

impl std::fmt::Display for ParentUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

impl std::fmt::Display for AdminUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        write!(f, "{scheme}://{}:{}", self.host, self.port)
    }
}

/// An edge that this node serves as a parent.
#[derive(Clone, Debug)]
pub struct TrustedEdge {
    pub id: String,
    pub token: Secret<String>,
    /// A name that its certificate has to have besides: of a host, in lower case, or a URI.
    pub client_san: Option<String>,
}

impl TrustedEdge {
    /// Says whether a caller that showed a certificate with these names may be this edge, where the
    /// token is right.
    pub fn may_have(&self, names: Option<&[String]>) -> bool {
        self.client_san.as_ref().is_none_or(|san| names.is_some_and(|names| names.contains(san)))
    }
}
