//! The regional tier, as configured. Redis and memcached will join as further kinds.

use std::time::Duration;

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
    /// The name that this edge gives itself; a parent knows its edges by it.
    pub edge_id: String,
    pub token: Secret<String>,
    pub tls: OriginTls,
    /// How long all parents that one request asks may take together to send a head; then the origin
    /// is asked.
    pub timeout: Duration,
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

impl std::fmt::Display for ParentUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "https://{}:{}", self.host, self.port)
    }
}

/// An edge that this node serves as a parent.
#[derive(Clone, Debug)]
pub struct TrustedEdge {
    pub id: String,
    pub token: Secret<String>,
}
