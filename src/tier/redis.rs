//! Redis and Valkey: one node, the primary that sentinels name, or a cluster.
//!
//! The protocol is the `redis` crate's; connections, deadlines and topology are ours. So each node
//! has its breaker and two connections in every mode, TLS is as everywhere else in this process,
//! and no call lasts longer than its deadline, whatever the crate waits for. A value is read by
//! range, so that no writer can make us read more than the longest of ours.
//!
//! Who is the primary and who has which slots is asked anew every 30 seconds, and whenever a node
//! fails or sends us elsewhere.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, RedisError};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};

use super::codec::VALUE_MAX;
use super::link::{Connector, Trouble};
use super::miss::Miss;
use super::node::{Connect, Line, Node, NodeStatus, Size};
use super::room::{Holds, Room};
use super::slots::{Naming, NodeAddress, SlotMap, slot};
use super::{Taken, Value};
use crate::distribution::tier::{RedisMode, TierAuth};

/// How often the topology is asked for where nothing is wrong.
const TOPOLOGY_EVERY: Duration = Duration::from_secs(30);
/// The least pause between two looks at the topology.
const TOPOLOGY_PAUSE: Duration = Duration::from_millis(250);
/// How often one call follows a redirection.
const REDIRECTIONS: usize = 3;
/// The most nodes that are kept of a cluster.
const NODES_MAX: usize = 1000;
/// Longer than any deadline of ours: the crate's own would only add another error.
const CRATE_PATIENCE: Duration = Duration::from_secs(30);
/// How often nodes are asked about their memory, and how long each may take to answer.
const ROOM_EVERY: Duration = Duration::from_secs(60);
const ROOM_WITHIN: Duration = Duration::from_secs(2);
/// What `CLIENT LIST` shows.
const CLIENT_NAME: &str = "foreshore";

/// A connection to a node.
#[derive(Clone)]
pub struct Wire {
    connection: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// What moves the octets of a connection; it ends with the last clone.
struct Driver(AbortHandle);

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What a node says to a command: an answer, or that another node has the slot.
enum Said<T> {
    Answer(T),
    Moved(String),
    Ask(String),
}

impl Wire {
    async fn query<T: FromRedisValue>(mut self, command: &Cmd) -> Result<T, Trouble> {
        command.query_async(&mut self.connection).await.map_err(|error| trouble(&error))
    }

    /// The same, where the node may send us elsewhere; `is_asking` where another sent us here.
    async fn say<T: FromRedisValue>(
        mut self,
        command: &Cmd,
        is_asking: bool,
    ) -> Result<Said<T>, Trouble> {
        let answer: Result<T, RedisError> = if is_asking {
            let mut both = redis::pipe();
            both.cmd("ASKING").ignore().add_command(command.clone());
            both.query_async(&mut self.connection).await.map(|(answer,): (T,)| answer)
        } else {
            command.query_async(&mut self.connection).await
        };
        let error = match answer {
            Ok(answer) => return Ok(Said::Answer(answer)),
            Err(error) => error,
        };
        match (error.redirect_node(), error.code()) {
            (Some((place, _)), Some("ASK")) => Ok(Said::Ask(place.to_string())),
            (Some((place, _)), _) => Ok(Said::Moved(place.to_string())),
            (None, _) => Err(trouble(&error)),
        }
    }
}

impl Line for Wire {
    fn is_open(&self) -> bool {
        !self.driver.0.is_finished()
    }

    async fn probe(&self) -> Result<(), Trouble> {
        let answer: String = self.clone().query(&redis::cmd("PING")).await?;
        // A node that loads its data, or has lost its primary, answers with an error.
        if answer == "PONG" { Ok(()) } else { Err(Trouble::new(Miss::Refused, answer)) }
    }
}

fn trouble(error: &RedisError) -> Trouble {
    let miss = if error.is_timeout() {
        Miss::TimedOut
    } else if error.is_io_error() || error.is_connection_dropped() {
        Miss::Unreachable
    } else if error.kind() == redis::ErrorKind::AuthenticationFailed {
        Miss::Denied
    } else {
        match error.code() {
            Some("NOAUTH" | "WRONGPASS" | "NOPERM") => Miss::Denied,
            Some("OOM") => Miss::Full,
            _ => Miss::Refused,
        }
    };
    let code = error.code().map(|code| format!("{code}: ")).unwrap_or_default();
    Trouble::new(miss, format!("{code}{error}"))
}

/// Connects to Redis nodes.
pub struct RedisConnect {
    connector: Connector,
    auth: Option<TierAuth>,
}

impl Connect for RedisConnect {
    type Line = Wire;

    async fn connect(&self, node: &NodeAddress) -> Result<Wire, Trouble> {
        let stream = self.connector.connect(node).await?;
        let mut who = redis::RedisConnectionInfo::default();
        if let Some(auth) = &self.auth {
            who = who.set_password(auth.password.expose());
            if let Some(user) = &auth.user {
                who = who.set_username(user);
            }
        }
        let settings = redis::AsyncConnectionConfig::new();
        let (mut connection, driver) =
            MultiplexedConnection::new_with_config(&who, stream, settings)
                .await
                .map_err(|error| trouble(&error))?;
        connection.set_response_timeout(CRATE_PATIENCE);
        let driver = Arc::new(Driver(tokio::spawn(driver).abort_handle()));
        let mut wire = Wire { connection, driver };
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(CLIENT_NAME);
        let named: Result<redis::Value, RedisError> = name.query_async(&mut wire.connection).await;
        match named {
            Err(error) if error.is_io_error() || error.code() == Some("NOAUTH") => {
                Err(trouble(&error))
            }
            // Some users may not say what they are called, and are let in all the same.
            Ok(_) | Err(_) => Ok(wire),
        }
    }

    fn patience(&self) -> Duration {
        self.connector.patience()
    }
}

type RedisNode = Arc<Node<RedisConnect>>;

/// Who is asked, as far as is known.
#[derive(Default)]
struct Topology {
    /// One node or primary.
    primary: Option<NodeAddress>,
    /// A cluster's slots.
    slots: SlotMap,
    nodes: HashMap<NodeAddress, RedisNode>,
    /// What each said of its memory.
    rooms: HashMap<NodeAddress, Room>,
}

struct Shared {
    mode: RedisMode,
    /// As configured: the node, the sentinels, or some nodes of the cluster.
    seeds: Vec<NodeAddress>,
    connect: Arc<RedisConnect>,
    /// How sentinels are connected to: they have no users of their own unless told to.
    sentinels: Arc<RedisConnect>,
    topology: RwLock<Topology>,
    looked: Notify,
    wanted: Notify,
}

/// A tier on Redis or Valkey.
pub struct Redis {
    shared: Arc<Shared>,
    watch: Option<AbortHandle>,
    survey: AbortHandle,
}

impl Drop for Redis {
    fn drop(&mut self) {
        if let Some(task) = &self.watch {
            task.abort();
        }
        self.survey.abort();
    }
}

impl Redis {
    /// Takes the nodes as configured. Nothing is connected yet but to learn of the others.
    pub fn start(
        mode: RedisMode,
        seeds: Vec<NodeAddress>,
        connector: Connector,
        sentinel_connector: Connector,
        auth: Option<TierAuth>,
    ) -> Self {
        let connect = Arc::new(RedisConnect { connector, auth });
        let sentinels = Arc::new(RedisConnect { connector: sentinel_connector, auth: None });
        let mut topology = Topology::default();
        if mode == RedisMode::Single {
            topology.primary = seeds.first().cloned();
        }
        let shared = Arc::new(Shared {
            mode,
            seeds,
            connect,
            sentinels,
            topology: RwLock::new(topology),
            looked: Notify::new(),
            wanted: Notify::new(),
        });
        let watch = (shared.mode != RedisMode::Single)
            .then(|| tokio::spawn(Arc::clone(&shared).watch()).abort_handle());
        let survey = tokio::spawn(Arc::clone(&shared).survey()).abort_handle();
        Self { shared, watch, survey }
    }

    /// A value under a key that is placed by its hash tag. Only small ones are told the time they
    /// have left.
    pub async fn get(
        &self,
        key: &str,
        size: Size,
        deadline: Instant,
    ) -> Result<Taken<Value>, Trouble> {
        // One octet more than ours have tells that it is longer.
        let mut range = redis::cmd("GETRANGE");
        range.arg(key).arg(0).arg(VALUE_MAX);
        let mut left = redis::cmd("PTTL");
        left.arg(key);
        let (octets, left) = match size {
            Size::Large => (self.shared.call::<Vec<u8>>(key, size, &range, deadline).await?, None),
            // Both are on their way before the first is answered.
            Size::Small => {
                let (octets, left) = tokio::join!(
                    self.shared.call::<Vec<u8>>(key, size, &range, deadline),
                    self.shared.call::<i64>(key, size, &left, deadline),
                );
                (octets?, Some(left?.answer))
            }
        };
        let Taken { node, answer: octets } = octets;
        if octets.is_empty() || left == Some(-2) {
            return Err(Trouble::new(Miss::Absent, "nothing is there"));
        }
        if octets.len() > VALUE_MAX {
            return Err(Trouble::new(Miss::Oversized, "the value is longer than any of ours"));
        }
        let left = left
            .map(|left| u64::try_from(left).map(Duration::from_millis))
            .transpose()
            .map_err(|_| Trouble::new(Miss::Unlimited, "no lifetime"))?;
        Ok(Taken { node, answer: Value { octets, left } })
    }

    /// Puts a value under a key for so many seconds.
    pub async fn set(
        &self,
        key: &str,
        size: Size,
        value: &[u8],
        ttl: u32,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg(value).arg("EX").arg(ttl.max(1));
        self.shared.call::<redis::Value>(key, size, &command, deadline).await.map(|_| ())
    }

    /// Takes a lock for so many seconds; false if another edge has it.
    pub async fn lock(&self, key: &str, ttl: u32, deadline: Instant) -> Result<bool, Trouble> {
        let mut command = redis::cmd("SET");
        command.arg(key).arg("1").arg("EX").arg(ttl.max(1)).arg("NX");
        let taken =
            self.shared.call::<Option<String>>(key, Size::Small, &command, deadline).await?;
        Ok(taken.answer.is_some())
    }

    /// Sends a command to the node that has a key. Where it was cut off, it may be sent twice.
    pub async fn command<T: FromRedisValue>(
        &self,
        key: &str,
        size: Size,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<T, Trouble> {
        self.shared.call::<T>(key, size, command, deadline).await.map(|taken| taken.answer)
    }

    /// The state of each node that is known.
    pub fn status(&self) -> Vec<NodeStatus> {
        let topology = self.shared.topology.read();
        let of = |node: &RedisNode| {
            let room = topology.rooms.get(&node.address).cloned();
            NodeStatus { room, ..node.status() }
        };
        let mut all: Vec<NodeStatus> = topology.nodes.values().map(of).collect();
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }
}

impl Shared {
    /// Sends a command to the node that has the key, and follows redirections.
    async fn call<T: FromRedisValue>(
        &self,
        key: &str,
        size: Size,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Taken<T>, Trouble> {
        let slot = slot(key.as_bytes());
        let mut node = self.node(slot, deadline).await?;
        let mut is_asking = false;
        for _ in 0..=REDIRECTIONS {
            let said = node
                .ask(size, deadline, |wire: Wire| wire.say::<T>(command, is_asking))
                .await
                .inspect_err(|trouble| self.look_after(trouble))?;
            let (place, moved) = match said {
                Said::Answer(answer) => {
                    return Ok(Taken { node: node.address.to_string(), answer });
                }
                Said::Moved(place) => (place, true),
                Said::Ask(place) => (place, false),
            };
            let to = NodeAddress::parse(&place, &node.address)
                .ok_or_else(|| Trouble::new(Miss::Refused, format!("sent to {place:?}")))?;
            is_asking = !moved;
            node = self.known(to)?;
            if moved {
                self.topology.write().slots.moved(slot, &node.address);
                self.wanted.notify_one();
            }
        }
        Err(Trouble::new(Miss::Refused, "sent from node to node"))
    }

    // A node that fails, or no longer may write, may have been replaced.
    fn look_after(&self, trouble: &Trouble) {
        let is_replaced = ["READONLY", "MASTERDOWN", "CLUSTERDOWN", "LOADING", "TRYAGAIN"]
            .iter()
            .any(|code| trouble.why.contains(code));
        if trouble.miss.is_trouble() || trouble.miss == Miss::Paused || is_replaced {
            self.wanted.notify_one();
        }
    }

    async fn node(&self, slot: u16, deadline: Instant) -> Result<RedisNode, Trouble> {
        if let Some(address) = self.address(slot) {
            return self.known(address);
        }
        // The first look is under way, or the last one found none.
        let looked = self.looked.notified();
        self.wanted.notify_one();
        let _ = timeout_at(deadline, looked).await;
        match self.address(slot) {
            Some(address) => self.known(address),
            None => Err(Trouble::new(Miss::Unreachable, "it is not known who has the key")),
        }
    }

    fn address(&self, slot: u16) -> Option<NodeAddress> {
        let topology = self.topology.read();
        match self.mode {
            RedisMode::Cluster => topology.slots.node(slot).cloned(),
            RedisMode::Single | RedisMode::Sentinel { .. } => topology.primary.clone(),
        }
    }

    fn known(&self, address: NodeAddress) -> Result<RedisNode, Trouble> {
        if let Some(node) = self.topology.read().nodes.get(&address) {
            return Ok(Arc::clone(node));
        }
        let mut topology = self.topology.write();
        if topology.nodes.len() >= NODES_MAX {
            return Err(Trouble::new(Miss::Refused, "the cluster has too many nodes"));
        }
        let made = || Node::new(address.clone(), Arc::clone(&self.connect));
        Ok(Arc::clone(topology.nodes.entry(address.clone()).or_insert_with(made)))
    }

    // Looks at the topology, now and then and whenever a caller wants it.
    async fn watch(self: Arc<Self>) {
        loop {
            if let Err(trouble) = self.look().await {
                tracing::warn!(why = %trouble.why, "the tier's nodes are not known");
            }
            self.looked.notify_waiters();
            tokio::time::sleep(TOPOLOGY_PAUSE).await;
            let _ = timeout(TOPOLOGY_EVERY, self.wanted.notified()).await;
        }
    }

    // Asks each node that is known what it does once its memory is full, now and then.
    async fn survey(self: Arc<Self>) {
        loop {
            let nodes: Vec<RedisNode> = self.topology.read().nodes.values().cloned().collect();
            // Before the first request none is known.
            let pause = if nodes.is_empty() { Duration::from_secs(1) } else { ROOM_EVERY };
            for node in nodes {
                self.ask_for_room(&node).await;
            }
            tokio::time::sleep(pause).await;
        }
    }

    async fn ask_for_room(&self, node: &RedisNode) {
        let mut info = redis::cmd("INFO");
        info.arg("memory");
        let command = &info;
        let ask = |wire: Wire| async move {
            match wire.query::<String>(command).await {
                Ok(text) => Ok(Room::parse(&text)),
                Err(trouble) if matches!(trouble.miss, Miss::TimedOut | Miss::Unreachable) => {
                    Err(trouble)
                }
                // Some users may not ask, which is no trouble.
                Err(_) => Ok(None),
            }
        };
        let Ok(room) = node.ask(Size::Small, Instant::now() + ROOM_WITHIN, ask).await else {
            return;
        };
        let mut topology = self.topology.write();
        let before = match &room {
            Some(room) => topology.rooms.insert(node.address.clone(), room.clone()),
            None => topology.rooms.remove(&node.address),
        };
        let Topology { nodes, rooms, .. } = &mut *topology;
        rooms.retain(|address, _| nodes.contains_key(address));
        drop(topology);
        if let Some(wrong) = room.as_ref().and_then(|room| room.wrong(Holds::Cache))
            && before != room
        {
            tracing::warn!(node = %node.address, "the tier's engine is not set up as a cache: {wrong}");
        }
    }

    async fn look(&self) -> Result<(), Trouble> {
        let mut places = self.seeds.clone();
        if self.mode == RedisMode::Cluster {
            // Any of them may know, and those that are configured may all have gone.
            places.extend(self.topology.read().slots.nodes.iter().cloned());
        }
        let mut last = Trouble::new(Miss::Unreachable, "no node is named");
        for place in places {
            let asked = timeout(self.connect.patience() * 2, self.look_at(&place)).await;
            match asked {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(trouble)) => last = trouble,
                Err(_) => {
                    last = Trouble::new(Miss::TimedOut, format!("{place} did not answer"));
                }
            }
        }
        Err(last)
    }

    async fn look_at(&self, place: &NodeAddress) -> Result<(), Trouble> {
        match &self.mode {
            RedisMode::Single => Ok(()),
            RedisMode::Sentinel { primary } => {
                let wire = self.sentinels.connect(place).await?;
                let mut command = redis::cmd("SENTINEL");
                command.arg("get-master-addr-by-name").arg(primary.as_str());
                let found: Option<Vec<String>> = wire.query(&command).await?;
                let unknown =
                    || Trouble::new(Miss::Refused, format!("{place} knows no primary {primary:?}"));
                let found = found.ok_or_else(unknown)?;
                let [host, port] = found.as_slice() else { return Err(unknown()) };
                let found =
                    NodeAddress { host: host.clone(), port: port.parse().map_err(|_| unknown())? };
                let mut topology = self.topology.write();
                // Whoever was primary keeps nothing open here.
                topology.nodes.retain(|address, _| *address == found);
                topology.primary = Some(found);
                Ok(())
            }
            RedisMode::Cluster => {
                let wire = self.connect.connect(place).await?;
                let mut command = redis::cmd("CLUSTER");
                command.arg("NODES");
                let text: String = wire.query(&command).await?;
                let naming =
                    if self.connect.connector.is_tls() { Naming::Name } else { Naming::Address };
                let map = SlotMap::parse(&text, place, naming).ok_or_else(|| {
                    Trouble::new(Miss::Refused, format!("{place} tells of no slots"))
                })?;
                let mut topology = self.topology.write();
                topology.nodes.retain(|address, _| map.nodes.contains(address));
                topology.slots = map;
                Ok(())
            }
        }
    }
}
