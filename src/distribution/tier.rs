//! The regional tier on an engine that its owner already runs, as configured: Redis, Valkey,
//! memcached.

use std::time::Duration;

use super::origin::OriginTls;
use crate::base::secret::Secret;
use crate::crypto::sigv4::Credentials;

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
    /// For Redis alone.
    pub read: ReadFrom,
    /// What the engine's list of clients calls this edge; for Redis alone.
    pub client: String,
}

/// Which nodes of Redis or Valkey entries are read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    Primary,
    /// A replica of it, where one is known that is well. What it does not have yet is a miss, and
    /// what it still has is judged by its stamp, like every entry.
    Replica,
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
    /// The one node that is named; others that are named are its replicas.
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
    pub password: Password,
    /// For memcached alone; Redis has one way.
    pub method: AuthMethod,
}

/// How an edge proves that it is who it says.
#[derive(Clone, Debug)]
pub enum Password {
    Given(Secret<String>),
    /// Made for each connection, of an AWS identity.
    Iam(Box<Iam>),
}

/// How long a connection to ElastiCache is known by one password: an hour less than it lasts.
pub const IAM_AGAIN: Duration = Duration::from_secs(11 * 3600);

/// What an IAM password of ElastiCache is made of, beside the user's name.
#[derive(Clone, Debug)]
pub struct Iam {
    /// The name of the replication group or serverless cache, in lower case.
    pub cache: String,
    pub region: String,
    pub is_serverless: bool,
    pub credentials: Credentials,
    /// How long a connection is known by one password before it shows another: [`IAM_AGAIN`].
    pub again: Duration,
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
        let Self { engine, nodes, tls, auth, timeouts, key, queue, read, client } = self;
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
            && *read == other.read
            && *client == other.client
            && is_same_tls
            && is_same_auth
            && is_same_key
    }
}

impl Tier {
    /// Says whether another one is on the same nodes, found in the same way.
    pub fn has_same_nodes(&self, other: &Self) -> bool {
        self.engine == other.engine && self.nodes == other.nodes
    }
}

impl TierAuth {
    fn is_same(&self, other: &Self) -> bool {
        let Self { user, password, method } = self;
        *user == other.user && *method == other.method && password.is_same(&other.password)
    }
}

impl Password {
    fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Given(one), Self::Given(two)) => one.is_same(two),
            (Self::Iam(one), Self::Iam(two)) => one.is_same(two),
            (Self::Given(_), Self::Iam(_)) | (Self::Iam(_), Self::Given(_)) => false,
        }
    }
}

impl Iam {
    fn is_same(&self, other: &Self) -> bool {
        let Self { cache, region, is_serverless, credentials, again } = self;
        let Credentials { id, secret, session_token } = credentials;
        let is_same_token = match (session_token, &other.credentials.session_token) {
            (None, None) => true,
            (Some(one), Some(two)) => one.is_same(two),
            _ => false,
        };
        *cache == other.cache
            && *region == other.region
            && *is_serverless == other.is_serverless
            && *again == other.again
            && *id == other.credentials.id
            && secret.is_same(&other.credentials.secret)
            && is_same_token
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
