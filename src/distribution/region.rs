//! Parents, as configured. A tier on Redis or memcached is `tier`.

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
    pub urls: Vec<ParentUrl>,
    /// The admin listener of each, in the same order, for invalidations.
    pub admins: Vec<AdminUrl>,
    /// The name that this edge gives itself; a parent knows its edges by it.
    pub edge_id: String,
    pub token: Secret<String>,
    pub tls: OriginTls,
    /// How long all parents that one request asks may take together to send a head; then the origin
    /// is asked.
    pub timeout: Duration,
}

/// Where a parent listens: for requests, and for invalidations on its admin listener.
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
}
