//! Memcached: our own client on the meta protocol, because none speaks it with rustls and
//! authentication. Nodes that want SASL speak the binary protocol and nothing else; so do we then.
//!
//! Requests on a connection are sent without waiting for the answers before them. Nodes are found
//! by ketama; one whose breaker is open is out of the ring until a probe brings it back. What lay
//! on it meanwhile is older than what its stand-in has; the stamps of the entries decide, as
//! everywhere.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::ketama::Ring;
use super::link::{Connector, Stream, Trouble};
use super::memcached_binary as binary;
use super::memcached_protocol::{self as protocol, Discovered, NotSpoken, Reply, Request};
use super::miss::Miss;
use super::node::{Connect, Line, Node, NodeStatus, Size};
use super::slots::NodeAddress;
use super::sources::Sources;
use super::{Taken, Value};
use crate::distribution::tier::{AuthMethod, MemcachedMode, Password, TierAuth};

/// Requests of a connection that wait to be sent, and as many that wait for their answers.
const WAITING_MAX: usize = 128;
/// How often the configuration endpoint is asked for the nodes.
const DISCOVERY_EVERY: Duration = Duration::from_secs(60);
/// The longest item, where a node does not tell: a MiB, less what belongs to it.
const ITEM_MAX: u64 = (1 << 20) - 1024;
/// What an item takes beside key and value, generously.
const ITEM_OVERHEAD: u64 = 128;

/// What is spoken on a connection.
#[derive(Clone, Copy)]
enum Speech {
    Text,
    /// To a node that was so many seconds old at that moment, or a little older.
    Binary {
        uptime: u32,
        at: Instant,
    },
}

impl Speech {
    fn now(uptime: u32, at: Instant) -> u32 {
        uptime.saturating_add(u32::try_from(at.elapsed().as_secs()).unwrap_or(u32::MAX))
    }

    fn write(self, request: &Request<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Text => request.write(out),
            Self::Binary { uptime, at } => binary::write(request, Self::now(uptime, at), out),
        }
    }

    fn read(self, octets: &[u8]) -> Result<Option<(Reply, usize)>, NotSpoken> {
        match self {
            Self::Text => protocol::read(octets),
            Self::Binary { uptime, at } => binary::read(octets, Self::now(uptime, at)),
        }
    }
}

/// A connection to a node.
#[derive(Clone)]
pub struct Conversation(Arc<Shared>);

struct Shared {
    jobs: mpsc::Sender<Job>,
    tasks: [AbortHandle; 2],
    speech: Speech,
    /// The longest item the node takes, in octets.
    item_max: u64,
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

struct Job {
    octets: Vec<u8>,
    answer: oneshot::Sender<Reply>,
}

impl Conversation {
    async fn ask(&self, octets: Vec<u8>) -> Result<Reply, Trouble> {
        let (answer, reply) = oneshot::channel();
        self.0.jobs.try_send(Job { octets, answer }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                Trouble::new(Miss::Busy, "as many requests wait as may")
            }
            mpsc::error::TrySendError::Closed(_) => broke(),
        })?;
        reply.await.map_err(|_| broke())
    }

    async fn request(&self, request: &Request<'_>) -> Result<Reply, Trouble> {
        let mut octets = Vec::new();
        self.0.speech.write(request, &mut octets);
        self.ask(octets).await
    }
}

fn broke() -> Trouble {
    Trouble::new(Miss::Unreachable, "the connection broke")
}

impl Line for Conversation {
    fn is_open(&self) -> bool {
        !self.0.jobs.is_closed()
    }

    async fn probe(&self) -> Result<(), Trouble> {
        match self.request(&Request::Alive).await? {
            Reply::Alive => Ok(()),
            other => Err(unexpected(&other)),
        }
    }
}

// Sends requests in the order in which they come, and lines up who waits for each answer.
async fn send(
    mut stream: WriteHalf<Stream>,
    mut jobs: mpsc::Receiver<Job>,
    waiting: mpsc::Sender<oneshot::Sender<Reply>>,
) {
    loop {
        let job = tokio::select! {
            job = jobs.recv() => job,
            () = waiting.closed() => None,
        };
        let Some(Job { octets, answer }) = job else { return };
        if waiting.send(answer).await.is_err() || stream.write_all(&octets).await.is_err() {
            return;
        }
        if stream.flush().await.is_err() {
            return;
        }
    }
}

// Reads answers and hands each to the first in the line; one that is not waited for any more
// is dropped.
async fn receive(
    mut stream: ReadHalf<Stream>,
    mut waiting: mpsc::Receiver<oneshot::Sender<Reply>>,
    speech: Speech,
) {
    let mut read = Vec::with_capacity(16 << 10);
    loop {
        loop {
            match speech.read(&read) {
                Ok(Some((reply, taken))) => {
                    read.drain(..taken);
                    // An answer to a request that was never sent.
                    let Ok(answer) = waiting.try_recv() else { return };
                    let _ = answer.send(reply);
                }
                Ok(None) => break,
                Err(NotSpoken) => return,
            }
        }
        match stream.read_buf(&mut read).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// Connects to memcached nodes.
pub struct MemcachedConnect {
    connector: Connector,
    auth: Option<TierAuth>,
}

impl Connect for MemcachedConnect {
    type Line = Conversation;

    async fn connect(&self, node: &NodeAddress) -> Result<Conversation, Trouble> {
        let mut stream = self.connector.connect(node).await?;
        if let Some(auth) = &self.auth {
            authenticate(&mut stream, auth).await?;
        }
        let (speech, item_max) = match self.auth.as_ref().map(|auth| auth.method) {
            Some(AuthMethod::Sasl) => (greet(&mut stream).await?, ITEM_MAX),
            Some(AuthMethod::Text) | None => (Speech::Text, item_max(&mut stream).await?),
        };
        let (reading, writing) = tokio::io::split(stream);
        let (jobs, to_send) = mpsc::channel(WAITING_MAX);
        let (waiting, to_answer) = mpsc::channel(WAITING_MAX);
        let tasks = [
            tokio::spawn(send(writing, to_send, waiting)).abort_handle(),
            tokio::spawn(receive(reading, to_answer, speech)).abort_handle(),
        ];
        Ok(Conversation(Arc::new(Shared { jobs, tasks, speech, item_max })))
    }

    fn patience(&self) -> Duration {
        self.connector.patience()
    }
}

async fn authenticate(stream: &mut Stream, auth: &TierAuth) -> Result<(), Trouble> {
    let mut octets = Vec::new();
    let Password::Given(password) = &auth.password else {
        return Err(Trouble::new(Miss::Denied, "memcached knows no IAM password"));
    };
    let (user, password) = (auth.user.as_deref().unwrap_or_default(), password.expose());
    let reply = match auth.method {
        AuthMethod::Text => {
            protocol::write_authentication(&mut octets, user, password);
            exchange(stream, &octets, whole(protocol::read)).await?
        }
        AuthMethod::Sasl => {
            binary::write_authentication(&mut octets, user, password);
            exchange(stream, &octets, whole(|read| binary::read(read, 0))).await?
        }
    };
    match reply {
        Reply::Stored => Ok(()),
        _ => Err(Trouble::new(Miss::Denied, "the node refuses our name and password")),
    }
}

// How old the node is, by which items of its binary protocol end.
async fn greet(stream: &mut Stream) -> Result<Speech, Trouble> {
    let mut octets = Vec::new();
    binary::write_statistics(&mut octets);
    let uptime = exchange(stream, &octets, binary::read_uptime).await?;
    Ok(Speech::Binary { uptime, at: Instant::now() })
}

async fn item_max(stream: &mut Stream) -> Result<u64, Trouble> {
    let mut octets = Vec::new();
    Request::Settings.write(&mut octets);
    match exchange(stream, &octets, whole(protocol::read)).await? {
        Reply::Settings(settings) => Ok(settings.item_size_max.unwrap_or(ITEM_MAX)),
        Reply::Denied => Err(Trouble::new(Miss::Denied, "the node wants a name and a password")),
        // What is before some nodes does not know the question.
        _ => Ok(ITEM_MAX),
    }
}

// A reader of one reply that does not ask where it ends.
fn whole(
    read: impl Fn(&[u8]) -> Result<Option<(Reply, usize)>, NotSpoken>,
) -> impl Fn(&[u8]) -> Result<Option<Reply>, NotSpoken> {
    move |octets: &[u8]| read(octets).map(|found| found.map(|(reply, _)| reply))
}

// One request and its answer, on a connection that has no other user yet.
async fn exchange<T>(
    stream: &mut Stream,
    octets: &[u8],
    answer: impl Fn(&[u8]) -> Result<Option<T>, NotSpoken>,
) -> Result<T, Trouble> {
    let failed = |error: std::io::Error| Trouble::new(Miss::Unreachable, error.to_string());
    stream.write_all(octets).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    let mut read = Vec::with_capacity(4 << 10);
    loop {
        if stream.read_buf(&mut read).await.map_err(failed)? == 0 {
            return Err(broke());
        }
        match answer(&read) {
            Ok(Some(answer)) => return Ok(answer),
            Ok(None) => {}
            Err(NotSpoken) => {
                return Err(Trouble::new(Miss::Unreachable, "this is not memcached's protocol"));
            }
        }
    }
}

type MemcachedNode = Arc<Node<MemcachedConnect>>;

/// The nodes in force and where keys lie among them.
struct Members {
    nodes: Vec<MemcachedNode>,
    ring: Ring,
}

impl Members {
    // Nodes that stay keep their connections and what is known of them.
    fn new(
        addresses: Vec<NodeAddress>,
        before: &[MemcachedNode],
        connect: &Arc<MemcachedConnect>,
    ) -> Self {
        let ring = Ring::new(addresses.iter().map(|node| (node.host.as_str(), node.port)));
        let nodes = addresses
            .into_iter()
            .map(|address| match before.iter().find(|node| node.address == address) {
                Some(node) => Arc::clone(node),
                None => Node::new(address, Arc::clone(connect)),
            })
            .collect();
        Self { nodes, ring }
    }
}

/// A tier on memcached.
pub struct Memcached {
    members: Arc<ArcSwap<Members>>,
    sources: Arc<Sources>,
    discovery: Option<AbortHandle>,
}

impl Drop for Memcached {
    fn drop(&mut self) {
        if let Some(task) = &self.discovery {
            task.abort();
        }
    }
}

impl Memcached {
    /// Takes the nodes as configured, or begins to discover them. Nothing is connected yet.
    pub fn start(
        mode: MemcachedMode,
        nodes: Vec<NodeAddress>,
        connector: Connector,
        auth: Option<TierAuth>,
    ) -> Self {
        let connect = Arc::new(MemcachedConnect { connector, auth });
        let begin = match mode {
            MemcachedMode::Fixed => nodes.clone(),
            MemcachedMode::Discovery => Vec::new(),
        };
        let members = Arc::new(ArcSwap::from_pointee(Members::new(begin, &[], &connect)));
        let sources = Arc::new(Sources::default());
        let discovery = (mode == MemcachedMode::Discovery).then(|| {
            let (members, sources) = (Arc::clone(&members), Arc::clone(&sources));
            tokio::spawn(discover(nodes, members, sources, connect)).abort_handle()
        });
        Self { members, sources, discovery }
    }

    fn node(&self, tag: &str) -> Result<MemcachedNode, Trouble> {
        let members = self.members.load();
        let found = members.ring.find(tag.as_bytes(), |at| {
            members.nodes.get(at).is_some_and(|node| node.may_be_asked())
        });
        if let Some(node) = found.and_then(|at| members.nodes.get(at)) {
            return Ok(Arc::clone(node));
        }
        let trouble = Trouble::new(Miss::Paused, "no node may be asked");
        let home = members.ring.find(tag.as_bytes(), |_| true);
        Err(match home.and_then(|at| members.nodes.get(at)) {
            Some(node) => trouble.at(&node.address),
            None => trouble,
        })
    }

    async fn request(
        &self,
        tag: &str,
        size: Size,
        request: &Request<'_>,
        deadline: Instant,
    ) -> Result<Taken<Reply>, Trouble> {
        let node = self.node(tag)?;
        let answer =
            node.ask(size, deadline, |line| async move { line.request(request).await }).await?;
        Ok(Taken { node: node.address.to_string(), answer })
    }

    /// A value under a key that is placed by a tag.
    pub async fn get(
        &self,
        tag: &str,
        key: &str,
        size: Size,
        deadline: Instant,
    ) -> Result<Taken<Value>, Trouble> {
        let taken = self.request(tag, size, &Request::Get { key }, deadline).await?;
        let value = match taken.answer {
            Reply::Value { octets, left } => {
                let left = left.ok_or_else(|| Trouble::new(Miss::Unlimited, "no lifetime"))?;
                // Whole seconds: up to one more has passed.
                let left = Duration::from_secs(u64::from(left.saturating_sub(1)));
                Value { octets, left: Some(left) }
            }
            other => return Err(unexpected(&other)),
        };
        Ok(Taken { node: taken.node, answer: value })
    }

    /// Puts a value under a key for so many seconds.
    pub async fn set(
        &self,
        tag: &str,
        key: &str,
        size: Size,
        value: &[u8],
        ttl: u32,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        let node = self.node(tag)?;
        let request = &Request::Set { key, ttl, value };
        let octets = (key.len() + value.len()) as u64 + ITEM_OVERHEAD;
        let reply = node
            .ask(size, deadline, |line: Conversation| async move {
                if octets > line.0.item_max {
                    return Ok(Reply::TooLarge);
                }
                line.request(request).await
            })
            .await?;
        if reply == Reply::Stored { Ok(()) } else { Err(unexpected(&reply)) }
    }

    /// Takes a lock for so many seconds; false if another edge has it.
    pub async fn lock(
        &self,
        tag: &str,
        key: &str,
        ttl: u32,
        deadline: Instant,
    ) -> Result<bool, Trouble> {
        let taken = self.request(tag, Size::Small, &Request::Lock { key, ttl }, deadline).await?;
        match taken.answer {
            Reply::Won => Ok(true),
            Reply::Lost | Reply::Stored => Ok(false),
            other => Err(unexpected(&other)),
        }
    }

    /// The state of each node.
    pub fn status(&self) -> Vec<NodeStatus> {
        let members = self.members.load();
        let mut all: Vec<NodeStatus> = members.nodes.iter().map(|node| node.status()).collect();
        let is_node = |place: &NodeAddress| members.nodes.iter().any(|node| node.address == *place);
        all.extend(self.sources.status(is_node));
        all
    }
}

fn unexpected(reply: &Reply) -> Trouble {
    let (miss, why) = match reply {
        Reply::Absent => (Miss::Absent, "nothing is there".to_string()),
        Reply::Oversized => (Miss::Oversized, "the value is longer than any of ours".into()),
        Reply::TooLarge => (Miss::Oversized, "the node takes no value of this length".into()),
        Reply::Full => (Miss::Full, "the node is out of memory".into()),
        Reply::Denied => (Miss::Denied, "the node wants a name and a password".into()),
        Reply::Refused(why) => (Miss::Refused, why.clone()),
        _ => (Miss::Refused, "an answer to another question".into()),
    };
    Trouble::new(miss, why)
}

// Asks the endpoints that are configured, one after the other, for as long as the tier is there.
async fn discover(
    endpoints: Vec<NodeAddress>,
    members: Arc<ArcSwap<Members>>,
    sources: Arc<Sources>,
    connect: Arc<MemcachedConnect>,
) {
    let mut version: Option<u64> = None;
    // Those that failed when they were asked last: of each that is said once.
    let mut failing = BTreeSet::new();
    loop {
        for endpoint in &endpoints {
            let asked =
                tokio::time::timeout(connect.patience(), discovered(endpoint, &connect)).await;
            let in_time = asked
                .unwrap_or_else(|_| Err(Trouble::new(Miss::TimedOut, "it did not answer in time")));
            let found = match in_time {
                Ok(found) => found,
                Err(trouble) => {
                    if failing.insert(endpoint) {
                        tracing::warn!(%endpoint, why = %trouble.why, "no nodes were discovered");
                    }
                    sources.failed(endpoint, &trouble);
                    continue;
                }
            };
            if failing.remove(endpoint) {
                tracing::info!(%endpoint, "nodes are discovered again");
            }
            sources.told();
            // An endpoint that is behind tells what was.
            if version.is_none_or(|version| found.version > version) {
                version = Some(found.version);
                let addresses = addresses(found, connect.connector.is_tls());
                let before = members.load_full();
                members.store(Arc::new(Members::new(addresses, &before.nodes, &connect)));
            }
            break;
        }
        // Until there are any, nodes are wanted soon.
        let pause = if version.is_some() { DISCOVERY_EVERY } else { Duration::from_secs(1) };
        tokio::time::sleep(pause).await;
    }
}

async fn discovered(
    endpoint: &NodeAddress,
    connect: &Arc<MemcachedConnect>,
) -> Result<Discovered, Trouble> {
    let mut stream = connect.connector.connect(endpoint).await?;
    if let Some(auth) = &connect.auth {
        authenticate(&mut stream, auth).await?;
    }
    let mut octets = Vec::new();
    Request::Cluster.write(&mut octets);
    match exchange(&mut stream, &octets, whole(protocol::read)).await? {
        Reply::Cluster(found) if !found.nodes.is_empty() => Ok(found),
        Reply::Cluster(_) => Err(Trouble::new(Miss::Refused, "the endpoint names no node")),
        Reply::Refused(_) | Reply::Absent => {
            Err(Trouble::new(Miss::Refused, "this is no configuration endpoint"))
        }
        other => Err(unexpected(&other)),
    }
}

// A certificate is for a name. Names also are what other clients place keys by.
fn addresses(found: Discovered, is_tls: bool) -> Vec<NodeAddress> {
    let address = |node: protocol::DiscoveredNode| {
        let by_name = !node.host.is_empty() || is_tls;
        NodeAddress { host: if by_name { node.host } else { node.address }, port: node.port }
    };
    found.nodes.into_iter().map(address).collect()
}
