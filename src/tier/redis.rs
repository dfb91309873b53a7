//! Redis and Valkey: one node, the primary that sentinels name, or a cluster.
//!
//! The protocol is the `redis` crate's; connections, deadlines and topology are ours. So each node
//! has its breaker and two connections in every mode, TLS is as everywhere else in this process,
//! and no call lasts longer than its deadline, whatever the crate waits for. A value is read by
//! range, so that no writer can make us read more than the longest of ours.
//!
//! Who is the primary and who has which slots is asked anew every 30 seconds, and whenever a node
//! fails or sends us elsewhere.
//!
//! Entries may be read from replicas. Which one is the slot's to say, so that a meta and its pieces
//! are read from the same, and one that is not well is stepped over for the next, and in the end for
//! the primary.

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
use super::sources::Sources;
use super::{Taken, Value, iam};
use crate::base::secret::Secret;
use crate::clock::Clock;
use crate::distribution::tier::{Password, ReadFrom, RedisMode, Tier, TierAuth};

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

/// A connection to a node.
#[derive(Clone)]
pub struct Wire {
    connection: MultiplexedConnection,
    driver: Arc<Driver>,
}

/// What moves the octets of a connection, and what shows passwords that end; both end with the last
/// clone.
struct Driver {
    moves: AbortHandle,
    shows: Option<AbortHandle>,
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.moves.abort();
        if let Some(shows) = &self.shows {
            shows.abort();
        }
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

    // Says what a node may refuse: some users may not say what they are called, and are let in all
    // the same.
    async fn says(&self, command: &Cmd) -> Result<(), Trouble> {
        let mut connection = self.connection.clone();
        let said: Result<redis::Value, RedisError> = command.query_async(&mut connection).await;
        match said {
            Err(error)
                if error.is_io_error() || is_unread(&error) || error.code() == Some("NOAUTH") =>
            {
                Err(trouble(&error))
            }
            Ok(_) | Err(_) => Ok(()),
        }
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
        !self.driver.moves.is_finished()
    }

    async fn probe(&self) -> Result<(), Trouble> {
        let answer: String = self.clone().query(&redis::cmd("PING")).await?;
        // A node that loads its data, or has lost its primary, answers with an error.
        if answer == "PONG" { Ok(()) } else { Err(Trouble::new(Miss::Refused, answer)) }
    }
}

/// The connection ended within an answer, or what it said is none: the crate gives it up. An answer
/// of another type than was asked for is of the same kind, and only its words are others.
fn is_unread(error: &RedisError) -> bool {
    error.kind() == redis::ErrorKind::Parse && error.to_string().contains("Parse error at")
}

fn trouble(error: &RedisError) -> Trouble {
    if is_unread(error) {
        let why = "the connection broke within an answer, or the node does not speak this protocol";
        return Trouble::new(Miss::Unreachable, why);
    }
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
    let help = match miss {
        Miss::Denied => "; tier.auth has to name a user that may do this, and its password",
        _ => "",
    };
    Trouble::new(miss, format!("{code}{error}{help}"))
}

/// Connects to Redis nodes.
pub struct RedisConnect {
    connector: Connector,
    auth: Option<TierAuth>,
    /// What the engine's list of clients shows.
    client: String,
    /// Replicas of a cluster answer for their primary only where they are told to.
    is_reader: bool,
}

fn password(auth: &TierAuth) -> Secret<String> {
    match &auth.password {
        Password::Given(password) => password.clone(),
        // The system's time, as it is now: a signature of long ago is refused.
        Password::Iam(iam) => {
            iam::password(iam, auth.user.as_deref().unwrap_or_default(), Clock::system().now())
        }
    }
}

// Shows another password before the engine ends a connection for the age of the first. One that is
// refused ends it at its time, and the next caller has another made.
async fn show_again(mut connection: MultiplexedConnection, auth: TierAuth, every: Duration) {
    loop {
        tokio::time::sleep(every).await;
        let mut command = redis::cmd("AUTH");
        command.arg(auth.user.as_deref().unwrap_or_default()).arg(password(&auth).expose());
        let shown: Result<redis::Value, RedisError> = command.query_async(&mut connection).await;
        if let Err(error) = shown {
            tracing::warn!(why = %trouble(&error).why, "the tier refuses another IAM password");
            return;
        }
    }
}

impl Connect for RedisConnect {
    type Line = Wire;

    async fn connect(&self, node: &NodeAddress) -> Result<Wire, Trouble> {
        let stream = self.connector.connect(node).await?;
        let mut who = redis::RedisConnectionInfo::default();
        if let Some(auth) = &self.auth {
            who = who.set_password(password(auth).expose());
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
        let moves = tokio::spawn(driver).abort_handle();
        let shows = self.auth.as_ref().and_then(|auth| match &auth.password {
            Password::Given(_) => None,
            Password::Iam(iam) => {
                let showing = show_again(connection.clone(), auth.clone(), iam.again);
                Some(tokio::spawn(showing).abort_handle())
            }
        });
        let driver = Arc::new(Driver { moves, shows });
        let wire = Wire { connection, driver };
        let mut name = redis::cmd("CLIENT");
        name.arg("SETNAME").arg(self.client.as_str());
        wire.says(&name).await?;
        if self.is_reader {
            // A node that is in no cluster says no, and needs not be told.
            wire.says(&redis::cmd("READONLY")).await?;
        }
        Ok(wire)
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
    /// Its replicas.
    replicas: Vec<NodeAddress>,
    /// A cluster's slots.
    slots: SlotMap,
    nodes: HashMap<NodeAddress, RedisNode>,
    /// What each said of its memory.
    rooms: HashMap<NodeAddress, Room>,
}

struct Shared {
    mode: RedisMode,
    read: ReadFrom,
    /// As configured: the node, the sentinels, or some nodes of the cluster.
    seeds: Vec<NodeAddress>,
    connect: Arc<RedisConnect>,
    /// How sentinels are connected to first: they have no users of their own unless told to.
    sentinels: Arc<RedisConnect>,
    sources: Sources,
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
    /// Takes the nodes as configured. Nothing is connected yet but to learn of the others; the error
    /// says what is wrong with the certificates.
    pub fn start(tier: &Tier, mode: &RedisMode, read: ReadFrom) -> Result<Self, String> {
        let connect = |auth: Option<TierAuth>, is_reader: bool| {
            let connector = Connector::new(tier.tls.as_ref(), tier.timeouts.connect)?;
            let client = tier.client.clone();
            Ok::<_, String>(Arc::new(RedisConnect { connector, auth, client, is_reader }))
        };
        let is_reader = *mode == RedisMode::Cluster && read == ReadFrom::Replica;
        let (sentinels, connect) = (connect(None, false)?, connect(tier.auth.clone(), is_reader)?);
        let seeds = NodeAddress::all_of(tier);
        let mut topology = Topology::default();
        if *mode == RedisMode::Single {
            topology.primary = seeds.first().cloned();
            topology.replicas = seeds.iter().skip(1).cloned().collect();
        }
        let shared = Arc::new(Shared {
            mode: mode.clone(),
            read,
            seeds,
            connect,
            sentinels,
            sources: Sources::default(),
            topology: RwLock::new(topology),
            looked: Notify::new(),
            wanted: Notify::new(),
        });
        let watch = (shared.mode != RedisMode::Single)
            .then(|| tokio::spawn(Arc::clone(&shared).watch()).abort_handle());
        let survey = tokio::spawn(Arc::clone(&shared).survey()).abort_handle();
        Ok(Self { shared, watch, survey })
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
            Size::Large => (self.shared.read::<Vec<u8>>(key, size, &range, deadline).await?, None),
            // Both are on their way before the first is answered.
            Size::Small => {
                let (octets, left) = tokio::join!(
                    self.shared.read::<Vec<u8>>(key, size, &range, deadline),
                    self.shared.read::<i64>(key, size, &left, deadline),
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
        all.extend(self.shared.sources.status(|place| topology.nodes.contains_key(place)));
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
        let node = self.node(slot(key.as_bytes()), deadline).await?;
        self.call_at(node, key, size, command, deadline).await
    }

    /// The same, where a replica may answer.
    async fn read<T: FromRedisValue>(
        &self,
        key: &str,
        size: Size,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Taken<T>, Trouble> {
        let slot = slot(key.as_bytes());
        let node = match self.replica(slot) {
            Some(replica) => replica,
            None => self.node(slot, deadline).await?,
        };
        self.call_at(node, key, size, command, deadline).await
    }

    /// A replica that is well, of those that the slot is on; the slot says which is tried first.
    fn replica(&self, slot: u16) -> Option<RedisNode> {
        if self.read == ReadFrom::Primary {
            return None;
        }
        let all = {
            let topology = self.topology.read();
            match self.mode {
                RedisMode::Cluster => topology.slots.replicas(slot).to_vec(),
                RedisMode::Single | RedisMode::Sentinel { .. } => topology.replicas.clone(),
            }
        };
        let first = usize::from(slot).checked_rem(all.len())?;
        let (before, after) = all.split_at(first);
        let mut nodes = after.iter().chain(before).filter_map(|one| self.known(one.clone()).ok());
        nodes.find(|node| node.may_be_asked())
    }

    async fn call_at<T: FromRedisValue>(
        &self,
        mut node: RedisNode,
        key: &str,
        size: Size,
        command: &Cmd,
        deadline: Instant,
    ) -> Result<Taken<T>, Trouble> {
        let slot = slot(key.as_bytes());
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
            let to = self.topology.read().slots.name_of(to);
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
            None => {
                let trouble = Trouble::new(Miss::Unreachable, "it is not known who has the key");
                Err(match self.seeds.first() {
                    Some(seed) => trouble.at(seed),
                    None => trouble,
                })
            }
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
        let mut are_known = true;
        loop {
            let looked = self.look().await;
            let is_known = looked.is_ok();
            match looked {
                Ok(()) if are_known => {}
                Ok(()) => tracing::info!("the tier's nodes are known again"),
                // Once, until it is over: callers have it look again and again.
                Err(trouble) if are_known => {
                    tracing::warn!(why = %trouble.why, "the tier's nodes are not known");
                }
                Err(_) => {}
            }
            are_known = is_known;
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
            let in_time = asked.unwrap_or_else(|_| {
                Err(Trouble::new(Miss::TimedOut, format!("{place} did not answer")))
            });
            match in_time {
                Ok(()) => {
                    self.sources.told();
                    return Ok(());
                }
                Err(trouble) => {
                    self.sources.failed(&place, &trouble);
                    last = trouble;
                }
            }
        }
        Err(last)
    }

    async fn look_at(&self, place: &NodeAddress) -> Result<(), Trouble> {
        match &self.mode {
            RedisMode::Single => Ok(()),
            RedisMode::Sentinel { primary } => {
                let asked = ask_sentinel(&self.sentinels, place, primary).await;
                let (wire, found) = match asked {
                    Err(Trouble { miss: Miss::Denied, .. }) if self.connect.auth.is_some() => {
                        ask_sentinel(&self.connect, place, primary).await?
                    }
                    asked => asked?,
                };
                let unknown =
                    || Trouble::new(Miss::Refused, format!("{place} knows no primary {primary:?}"));
                let found = found.ok_or_else(unknown)?;
                let [host, port] = found.as_slice() else { return Err(unknown()) };
                let found =
                    NodeAddress { host: host.clone(), port: port.parse().map_err(|_| unknown())? };
                let replicas = match self.read {
                    ReadFrom::Primary => Vec::new(),
                    ReadFrom::Replica => replicas(wire, primary).await?,
                };
                let mut topology = self.topology.write();
                // What was primary keeps nothing open here.
                let is_in_use =
                    |address: &NodeAddress| *address == found || replicas.contains(address);
                topology.nodes.retain(|address, _| is_in_use(address));
                topology.primary = Some(found);
                topology.replicas = replicas;
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
                topology.nodes.retain(|address, _| map.has(address));
                topology.slots = map;
                Ok(())
            }
        }
    }
}

// Host and port of a primary, if the sentinel knows it, and the connection.
async fn ask_sentinel(
    connect: &RedisConnect,
    place: &NodeAddress,
    primary: &str,
) -> Result<(Wire, Option<Vec<String>>), Trouble> {
    let wire = connect.connect(place).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("get-master-addr-by-name").arg(primary);
    let found = wire.clone().query(&command).await?;
    Ok((wire, found))
}

// The replicas of a primary that a sentinel takes to be well.
async fn replicas(sentinel: Wire, primary: &str) -> Result<Vec<NodeAddress>, Trouble> {
    let mut command = redis::cmd("SENTINEL");
    command.arg("REPLICAS").arg(primary);
    let all: Vec<HashMap<String, String>> = sentinel.query(&command).await?;
    let is_well = |one: &HashMap<String, String>| {
        let flags = one.get("flags").map_or("", String::as_str);
        !flags.split(',').any(|flag| matches!(flag, "s_down" | "o_down" | "disconnected"))
    };
    let address = |one: &HashMap<String, String>| {
        Some(NodeAddress { host: one.get("ip")?.clone(), port: one.get("port")?.parse().ok()? })
    };
    Ok(all.iter().filter(|one| is_well(one)).filter_map(address).take(NODES_MAX).collect())
}
