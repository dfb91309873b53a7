//! The regional tier on an engine that its owner already runs: Redis, Valkey, memcached.
//!
//! A fleet of edges shares it: the edge that fetches a response writes it there, and the others
//! take it from there instead of the origin. It is a hop that may always be stepped over: every
//! call has a deadline, every node a breaker, and whatever is wrong with an answer is a [`Miss`]
//! with a name, never an error for a viewer.
//!
//! Nothing is ever deleted there, and there is no index: a purged copy is made unusable by its
//! stamp, and each key has a lifetime. So no command ever touches two keys of different slots.

pub mod body;
pub mod breaker;
pub mod codec;
pub mod iam;
pub mod judge;
pub mod ketama;
pub mod link;
pub mod memcached;
pub mod memcached_binary;
pub mod memcached_protocol;
pub mod miss;
pub mod node;
#[cfg(feature = "redis")]
pub mod redis;
pub mod room;
pub mod seal;
pub mod seat;
#[cfg(feature = "redis")]
pub mod sequence;
pub mod slots;
pub mod sources;

use std::future::poll_fn;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use crate::body::{BodyError, Reader};
use crate::distribution::tier as configured;
use crate::fleet::protocol::Stamp;
use crate::message::key::CacheKey;
use crate::message::stored::Stored;
use crate::semantics::time::Timestamp;
use codec::{Address, Meta, Outline, PIECE, Unfit};
use link::{Connector, Trouble};
use miss::{Miss, Misses};
use node::{NodeStatus, Size};
use seal::{Generation, Seals};
use slots::NodeAddress;

/// How many responses may wait to be written, whatever their length.
const QUEUE_MAX: usize = 1024;
/// How many of them are written at once: what has to wait for a node that is far, or away, holds up
/// few others.
const WRITERS: usize = 8;
/// The least seconds that a lock lasts.
const LOCK_MIN: u32 = 5;

/// A value of an engine, and the lifetime it has left where that was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    pub octets: Vec<u8>,
    pub left: Option<Duration>,
}

/// An answer, and the node that gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken<T> {
    pub node: String,
    pub answer: T,
}

/// What a tier says to a cache key.
#[derive(Debug)]
pub enum Got {
    Found(Box<Found>),
    /// Why not, and at which node.
    Miss(Trouble),
}

/// A response that a tier has. Its stamp is for the caller to judge.
#[derive(Debug)]
pub struct Found {
    pub meta: Meta,
    /// Milliseconds, now.
    pub age: u64,
    /// Which node gave it.
    pub node: String,
}

/// Why a response was not taken to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotQueued {
    Unfit(Unfit),
    /// As much waits to be written as may.
    Full,
}

/// How much was done, counted since the start of the process.
#[derive(Debug, Default)]
pub struct Counts {
    /// Entries that were read, whatever they were worth here.
    pub found: AtomicU64,
    /// Those of them by which a request was answered.
    pub used: AtomicU64,
    /// What was asked in vain, by reason.
    pub misses: Misses,
    /// Responses written whole.
    pub written: AtomicU64,
    /// Responses that were not taken because the queue was full.
    pub not_queued: AtomicU64,
    /// Responses of which some value could not be written, by reason.
    pub failed_writes: Misses,
}

impl Counts {
    /// Raises one of them.
    pub fn add(count: &AtomicU64) {
        count.fetch_add(1, Ordering::Relaxed);
    }
}

enum Engine {
    #[cfg(feature = "redis")]
    Redis(self::redis::Redis),
    Memcached(memcached::Memcached),
}

/// A tier in use. Its connections belong to the runtimes on which they were made, and serve all
/// cores.
pub struct Tier {
    engine: Engine,
    seals: Option<Seals>,
    timeouts: configured::TierTimeouts,
    queue: mpsc::Sender<Write>,
    /// Octets of bodies that wait, and the most that may.
    queued: AtomicU64,
    queue_max: u64,
    pub counts: Arc<Counts>,
}

struct Write {
    stored: Arc<Stored>,
    outline: Outline,
}

impl Tier {
    /// Begins to use a tier as configured, within a runtime. Nothing is connected yet, so it does
    /// not fail for want of one; the error says what is wrong with the certificates.
    pub fn start(tier: &configured::Tier, counts: Arc<Counts>) -> Result<Arc<Self>, String> {
        let engine = match &tier.engine {
            #[cfg(feature = "redis")]
            configured::Engine::Redis(mode) => {
                Engine::Redis(self::redis::Redis::start(tier, mode, tier.read)?)
            }
            #[cfg(not(feature = "redis"))]
            configured::Engine::Redis(_) => {
                return Err("this build has no Redis (Cargo feature `redis`)".into());
            }
            configured::Engine::Memcached(mode) => {
                let connector = Connector::new(tier.tls.as_ref(), tier.timeouts.connect)?;
                let (nodes, auth) = (NodeAddress::all_of(tier), tier.auth.clone());
                Engine::Memcached(memcached::Memcached::start(*mode, nodes, connector, auth))
            }
        };
        let seals = tier.key.as_ref().map(|key| Seals::new(&key.current, key.previous.as_ref()));
        let (queue, writes) = mpsc::channel(QUEUE_MAX);
        let this = Arc::new(Self {
            engine,
            seals,
            timeouts: tier.timeouts,
            queue,
            queued: AtomicU64::new(0),
            queue_max: tier.queue,
            counts,
        });
        let writes = Arc::new(Mutex::new(writes));
        for _ in 0..WRITERS {
            tokio::spawn(write_all(Arc::downgrade(&this), Arc::clone(&writes)));
        }
        Ok(this)
    }

    /// The deadline for the first sign of a tier that is asked now.
    pub fn first_deadline(&self) -> Instant {
        Instant::now() + self.timeouts.first
    }

    /// The deadline for everything that is asked of a tier for one request, from now on.
    pub fn total_deadline(&self) -> Instant {
        Instant::now() + self.timeouts.total
    }

    /// Asks for the response of a cache key.
    pub async fn get(&self, key: &CacheKey, deadline: Instant) -> Got {
        let address = Address::of(key);
        match self.find(key, &address, deadline).await {
            Ok(found) => {
                self.counts.found.fetch_add(1, Ordering::Relaxed);
                Got::Found(Box::new(found))
            }
            Err(trouble) => {
                self.counts.misses.count(trouble.miss);
                Got::Miss(trouble)
            }
        }
    }

    async fn find(
        &self,
        key: &CacheKey,
        address: &Address,
        deadline: Instant,
    ) -> Result<Found, Trouble> {
        let named = address.meta();
        let Taken { node, answer } =
            self.engine.get(address.tag(), &named, Size::Small, deadline).await?;
        let is_wrong = |miss: Miss| Trouble {
            node: Some(node.clone()),
            ..Trouble::new(miss, "the entry is not what this edge would have written")
        };
        let meta =
            codec::decode_meta(&answer.octets, key, self.seals.as_ref()).map_err(is_wrong)?;
        let left = answer.left.ok_or_else(|| is_wrong(Miss::Unlimited))?;
        let age = meta.age(left).map_err(is_wrong)?;
        Ok(Found { meta, age, node })
    }

    /// Asks for a piece of a response's body, by its number.
    pub async fn piece(
        &self,
        key: &CacheKey,
        outline: &Outline,
        number: u32,
        deadline: Instant,
    ) -> Result<Bytes, Miss> {
        let address = Address::of(key);
        let generation = outline.generation;
        let named = address.piece(generation, number);
        let taken = self.engine.get(address.tag(), &named, Size::Large, deadline).await;
        let read = match taken {
            Ok(taken) => codec::decode_piece(
                &taken.answer.octets,
                key,
                generation,
                number,
                outline.piece_len(number),
                self.seals.as_ref(),
            ),
            Err(Trouble { miss: Miss::Absent, .. }) => Err(Miss::PieceMissing),
            Err(trouble) => Err(trouble.miss),
        };
        read.inspect_err(|miss| self.counts.misses.count(*miss))
    }

    /// How long a request waits for what another edge is fetching.
    pub const fn follow(&self) -> Duration {
        self.timeouts.follow
    }

    /// Takes the lock of the edge that fetches a key from a place in the fleet's log on, for as
    /// long as others may wait for it. False if another edge has it.
    pub async fn lock_fill(&self, key: &CacheKey, from: Stamp) -> Result<bool, Miss> {
        let secs = u32::try_from(self.timeouts.follow.as_secs()).unwrap_or(u32::MAX);
        let secs = secs.saturating_add(1).max(LOCK_MIN);
        let address = Address::of(key);
        let named = address.lock_at(from.number);
        let taken = self.engine.lock(address.tag(), &named, secs, self.first_deadline()).await;
        taken.map_err(|trouble| trouble.miss)
    }

    /// Takes the lock of the edge that fetches this key, for so many seconds. False if another edge
    /// has it. A tier that cannot be asked keeps no edge out: the caller judges its reason.
    pub async fn lock(&self, key: &CacheKey, ttl: u32, deadline: Instant) -> Result<bool, Miss> {
        let address = Address::of(key);
        let taken = self.engine.lock(address.tag(), &address.lock(), ttl, deadline).await;
        taken.map_err(|trouble| trouble.miss)
    }

    /// Takes a response to be written in the background. It must be complete.
    pub fn put(&self, stored: &Arc<Stored>, stamp: Stamp, now: Timestamp) -> Result<(), NotQueued> {
        let mut generation = [0; 16];
        aws_lc_rs::rand::fill(&mut generation).map_err(|_| NotQueued::Unfit(Unfit::NotSealed))?;
        let outline =
            Outline::of(stored, stamp, Generation(generation), now).map_err(NotQueued::Unfit)?;
        let before = self.queued.fetch_add(outline.length, Ordering::Relaxed);
        // One that is longer than the queue goes in alone.
        let has_room = before == 0 || before.saturating_add(outline.length) <= self.queue_max;
        let write = Write { stored: Arc::clone(stored), outline };
        if !has_room || self.queue.try_send(write).is_err() {
            self.queued.fetch_sub(outline.length, Ordering::Relaxed);
            self.counts.not_queued.fetch_add(1, Ordering::Relaxed);
            return Err(NotQueued::Full);
        }
        Ok(())
    }

    /// Octets of bodies that wait to be written, and the most that may.
    pub fn queued(&self) -> (u64, u64) {
        (self.queued.load(Ordering::Relaxed), self.queue_max)
    }

    /// The state of each node.
    pub fn status(&self) -> Vec<NodeStatus> {
        match &self.engine {
            #[cfg(feature = "redis")]
            Engine::Redis(redis) => redis.status(),
            Engine::Memcached(memcached) => memcached.status(),
        }
    }

    async fn write(&self, Write { stored, outline }: &Write) {
        match self.write_values(stored, outline).await {
            Ok(()) => {
                self.counts.written.fetch_add(1, Ordering::Relaxed);
            }
            Err(miss) => self.counts.failed_writes.count(miss),
        }
        self.queued.fetch_sub(outline.length, Ordering::Relaxed);
    }

    // The pieces, then the meta: a reader of that finds those, unless the engine had no room.
    async fn write_values(&self, stored: &Stored, outline: &Outline) -> Result<(), Miss> {
        let address = Address::of(&stored.key);
        let reader = stored.content.read(None).ok_or(Miss::Malformed)?;
        let mut pieces = Pieces { reader, left: Bytes::new() };
        let mut inline = Vec::new();
        if outline.is_inline() {
            inline = pieces.next(PIECE).await.map_err(|_| Miss::Malformed)?;
        } else {
            for number in 0..outline.pieces() {
                let octets = pieces.next(PIECE).await.map_err(|_| Miss::Malformed)?;
                let (generation, seals) = (outline.generation, self.seals.as_ref());
                let value = codec::encode_piece(&octets, &stored.key, generation, number, seals)
                    .map_err(|_| Miss::Malformed)?;
                let named = address.piece(generation, number);
                self.set(&address, &named, Size::Large, &value, outline.ttl).await?;
            }
        }
        let value = codec::encode_meta(stored, outline, &inline, self.seals.as_ref())
            .map_err(|_| Miss::Oversized)?;
        self.set(&address, &address.meta(), Size::Small, &value, outline.ttl).await
    }

    async fn set(
        &self,
        address: &Address,
        key: &str,
        size: Size,
        value: &[u8],
        ttl: u32,
    ) -> Result<(), Miss> {
        let deadline = self.total_deadline();
        let set = self.engine.set(address.tag(), key, size, value, ttl, deadline).await;
        set.map_err(|trouble| trouble.miss)
    }
}

impl Engine {
    async fn get(
        &self,
        tag: &str,
        key: &str,
        size: Size,
        deadline: Instant,
    ) -> Result<Taken<Value>, Trouble> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.get(key, size, deadline).await,
            Self::Memcached(memcached) => memcached.get(tag, key, size, deadline).await,
        }
    }

    async fn set(
        &self,
        tag: &str,
        key: &str,
        size: Size,
        value: &[u8],
        ttl: u32,
        deadline: Instant,
    ) -> Result<(), Trouble> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.set(key, size, value, ttl, deadline).await,
            Self::Memcached(memcached) => memcached.set(tag, key, size, value, ttl, deadline).await,
        }
    }

    async fn lock(
        &self,
        tag: &str,
        key: &str,
        ttl: u32,
        deadline: Instant,
    ) -> Result<bool, Trouble> {
        match self {
            #[cfg(feature = "redis")]
            Self::Redis(redis) => redis.lock(key, ttl, deadline).await,
            Self::Memcached(memcached) => memcached.lock(tag, key, ttl, deadline).await,
        }
    }
}

// Writes what waits, one response after the other, for as long as the tier is there. Which of two
// responses under one key is written last does not matter: each is worth what its stamp says.
async fn write_all(tier: Weak<Tier>, writes: Arc<Mutex<mpsc::Receiver<Write>>>) {
    loop {
        let next = writes.lock().await.recv().await;
        let (Some(write), Some(tier)) = (next, tier.upgrade()) else { return };
        tier.write(&write).await;
    }
}

/// A body in pieces of a length of our own.
struct Pieces {
    reader: Reader,
    /// What was read beyond the last piece.
    left: Bytes,
}

impl Pieces {
    /// So many octets, or as many as are left.
    async fn next(&mut self, len: usize) -> Result<Vec<u8>, BodyError> {
        let mut piece = Vec::new();
        while piece.len() < len {
            if self.left.is_empty() {
                match poll_fn(|cx| self.reader.poll_piece(cx)).await {
                    Some(octets) => self.left = octets?,
                    None => break,
                }
            }
            let taken = self.left.len().min(len - piece.len());
            piece.extend_from_slice(&self.left.split_to(taken));
        }
        Ok(piece)
    }
}
