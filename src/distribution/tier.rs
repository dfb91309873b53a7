//! The regional tier on an engine that its owner already runs, as configured: Redis, Valkey,
//! memcached.

use std::time::Duration;

use super::origin::OriginTls;
use crate::base::secret::Secret;

/// A tier that a fleet of edges shares.
#[derive(Clone, Debug)]
pub struct Tier {
    pub engine: Engine,
    /// Where its nodes are; what that means is the engine's mode to say.
    pub nodes: Vec<TierNode>,
    /// `None`: in clear.
    pub tls: Option<OriginTls>,
    pub auth: Option<TierAuth>,
    pub timeouts: TierTimeouts,
    pub key: Option<TierKey>,
    /// The most octets of bodies that wait to be written.
    pub queue: u64,
}

/// The engines, each with how its nodes are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Engine {
    Redis(RedisMode),
    Memcached(MemcachedMode),
}

/// How the nodes of Redis or Valkey are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RedisMode {
    /// The one node that is named.
    Single,
    /// The sentinels that are named tell who is the primary of this name.
    Sentinel { primary: String },
    /// Any node that is named tells the others.
    Cluster,
}

/// How the nodes of memcached are found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemcachedMode {
    /// Those that are named.
    Fixed,
    /// The configuration endpoint that is named tells them, as ElastiCache's does.
    Discovery,
}

/// A node, by name or address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierNode {
    pub host: String,
    pub port: u16,
}

/// Who the edge says it is.
#[derive(Clone, Debug)]
pub struct TierAuth {
    /// `None`: the engine's default user.
    pub user: Option<String>,
    pub password: Secret<String>,
    /// For memcached alone; Redis has one way.
    pub method: AuthMethod,
}

/// How an edge says to memcached who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMethod {
    /// In the text protocol (`memcached -Y`).
    Text,
    /// SASL's PLAIN, in the binary protocol (`memcached -S`).
    Sasl,
}

/// How patient the edge is with the tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TierTimeouts {
    /// Until the meta has come.
    pub first: Duration,
    /// For the whole of what one request asks, and for one value that is written.
    pub total: Duration,
    /// Name, TCP, TLS and authentication of one connection; no viewer waits for it longer than for
    /// `first`.
    pub connect: Duration,
    /// How long a request waits for what another edge is fetching; zero: it does not.
    pub follow: Duration,
}

impl Default for TierTimeouts {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(50),
            total: Duration::from_secs(2),
            connect: Duration::from_secs(1),
            follow: Duration::ZERO,
        }
    }
}

/// What entries are sealed with.
#[derive(Clone, Debug)]
pub struct TierKey {
    pub current: Secret<String>,
    /// Still opens what was sealed before the key was changed.
    pub previous: Option<Secret<String>>,
}

impl Tier {
    /// Says whether another one leads to the same values in the same way.
    pub fn is_same(&self, other: &Self) -> bool {
        // Without `..`: a new field does not compile until its part in this is decided.
        let Self { engine, nodes, tls, auth, timeouts, key, queue } = self;
        let is_same_tls = match (tls, &other.tls) {
            (None, None) => true,
            (Some(one), Some(two)) => one.proves_like(two),
            _ => false,
        };
        let is_same_auth = match (auth, &other.auth) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two),
            _ => false,
        };
        let is_same_key = match (key, &other.key) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two),
            _ => false,
        };
        *engine == other.engine
            && *nodes == other.nodes
            && *timeouts == other.timeouts
            && *queue == other.queue
            && is_same_tls
            && is_same_auth
            && is_same_key
    }
}

impl TierAuth {
    fn is_same(&self, other: &Self) -> bool {
        let Self { user, password, method } = self;
        *user == other.user && *method == other.method && password.is_same(&other.password)
    }
}

impl TierKey {
    fn is_same(&self, other: &Self) -> bool {
        let is_same_previous = match (&self.previous, &other.previous) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two),
            _ => false,
        };
        self.current.is_same(&other.current) && is_same_previous
    }
}
