//! Collapses with waiting around them: a leader's ticket that must be landed, and a follower's
//! wait.
//!
//! A ticket that is dropped lands as abandoned, and one of its followers leads next. The only
//! `select!` of the sentences is the follower's timeout here; what it loses is a place in a queue.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::sync::Arc;
use std::time::Duration;

use crate::semantics::fields::FieldSection;
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use crate::cache::collapses::{AloneReason, CollapseId, Collapses, Role};
use crate::message::failure::Failure;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::response::Reply;
use crate::message::stored::Stored;
use crate::message::verdict::NotKept;
use crate::semantics::time::Timestamp;

const SHARDS: usize = 32;

/// How a fill ended, as everybody who waits sees it.
#[derive(Clone)]
pub enum FillEnd {
    /// Kept; its body may still be growing.
    Kept(Arc<Stored>),
    /// Confirmed by a 304.
    Freshened(Arc<Stored>),
    /// The origin failed, the old one stands in.
    StaleOnError(Arc<Stored>),
    /// Not to be shared. The leader has the reply itself.
    Uncacheable(NotKept),
    Failed(Failure),
}

type Outlook = watch::Receiver<Option<FillEnd>>;

/// The table, cut into shards.
pub struct CollapseTable {
    shards: Box<[Mutex<Shard>]>,
    hasher: foldhash::quality::RandomState,
}

struct Shard {
    table: Collapses,
    outlooks: HashMap<CollapseId, Outlook>,
}

/// A request's part in a collapse.
pub enum Joined {
    Lead(FillGuard, Waiter),
    Follow(Waiter),
    Alone(AloneReason),
}

impl CollapseTable {
    /// An empty table.
    pub fn new(followers: usize, marks: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                table: Collapses::new(followers, marks / SHARDS + 1),
                outlooks: HashMap::new(),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            hasher: foldhash::quality::RandomState::default(),
        }
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        &self.shards[(self.hasher.hash_one(key) >> 40) as usize % SHARDS]
    }

    /// Joins the fetch for a key, or begins it.
    pub fn join(
        self_: &Arc<crate::proxy::Edge>,
        key: &[u8],
        arrived_at: InvalidationNumber,
        now: Timestamp,
    ) -> Joined {
        let mut shard = self_.collapses.shard(key).lock();
        let overtakes = |since| self_.invalidations.overtakes(&CacheKey::new(key), since);
        match shard.table.join(key, arrived_at, self_.invalidations.head(), now, overtakes) {
            Role::Alone(why) => Joined::Alone(why),
            Role::Follow(id) => match shard.outlooks.get(&id) {
                Some(outlook) => {
                    Joined::Follow(Waiter { outlook: outlook.clone(), reply: None, aside: None })
                }
                None => Joined::Alone(AloneReason::Crowded),
            },
            Role::Lead(id) => {
                let (guard, waiter) = FillGuard::new(Some((Arc::clone(self_), key.into(), id)));
                shard.outlooks.insert(id, waiter.outlook.clone());
                Joined::Lead(guard, waiter)
            }
        }
    }

    fn complete(&self, key: &[u8], id: CollapseId) {
        let mut shard = self.shard(key).lock();
        shard.table.complete(key, id);
        shard.outlooks.remove(&id);
    }

    /// See [`Collapses::mark`].
    pub fn mark(&self, key: &[u8], until: Timestamp, now: Timestamp) {
        self.shard(key).lock().table.mark(key, until, now);
    }

    /// See [`Collapses::is_marked`].
    pub fn is_marked(&self, key: &[u8], now: Timestamp) -> bool {
        self.shard(key).lock().table.is_marked(key, now)
    }

    /// See [`Collapses::unmark`].
    pub fn unmark(&self, key: &[u8]) {
        self.shard(key).lock().table.unmark(key);
    }

    /// Collapses under way.
    pub fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock().table.len()).sum()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A leader's duty: it is landed exactly once, by `land`, by `give_to_leader`, or by being dropped.
pub struct FillGuard {
    outlook: watch::Sender<Option<FillEnd>>,
    reply: Option<oneshot::Sender<Reply>>,
    aside: Option<oneshot::Sender<FieldSection>>,
    place: Option<(Arc<crate::proxy::Edge>, Box<[u8]>, CollapseId)>,
}

/// A place in the wait for a fill.
pub struct Waiter {
    outlook: Outlook,
    reply: Option<oneshot::Receiver<Reply>>,
    aside: Option<oneshot::Receiver<FieldSection>>,
}

/// What came of waiting.
pub enum WaitOutcome {
    End(FillEnd),
    /// Not kept, and this is the request it was fetched for.
    Yours(NotKept, Reply),
    /// The leader vanished.
    Abandoned,
    TooLong,
}

impl FillGuard {
    fn new(place: Option<(Arc<crate::proxy::Edge>, Box<[u8]>, CollapseId)>) -> (Self, Waiter) {
        let (outlook, seen) = watch::channel(None);
        let (reply, awaited) = oneshot::channel();
        let (aside, own) = oneshot::channel();
        let waiter = Waiter { outlook: seen, reply: Some(awaited), aside: Some(own) };
        (Self { outlook, reply: Some(reply), aside: Some(aside), place }, waiter)
    }

    /// A ticket nobody else can wait on.
    pub fn alone() -> (Self, Waiter) {
        Self::new(None)
    }

    /// Puts fields aside for the leader's viewer, which the store does not keep; before landing.
    pub fn set_aside(&mut self, fields: FieldSection) {
        if let Some(leader) = self.aside.take().filter(|_| !fields.is_empty()) {
            // A viewer who left misses nothing.
            let _ = leader.send(fields);
        }
    }

    /// Tells everybody.
    pub fn complete(mut self, end: FillEnd) {
        self.leave();
        self.outlook.send_replace(Some(end));
    }

    /// Gives the reply to the leader's viewer, and tells the others to go alone. False if that
    /// viewer left.
    pub fn give_to_leader(mut self, why: NotKept, reply: Reply) -> bool {
        self.leave();
        let taken = self.reply.take().is_some_and(|leader| leader.send(reply).is_ok());
        self.outlook.send_replace(Some(FillEnd::Uncacheable(why)));
        taken
    }

    /// The fetch begins, or begins again because an invalidation came. False if a newer one has
    /// taken its place.
    pub fn began_again(&self, head: InvalidationNumber) -> bool {
        self.place.as_ref().is_none_or(|(edge, key, id)| {
            edge.collapses.shard(key).lock().table.began_again(key, *id, head)
        })
    }

    // Out of the table first: whoever comes now looks into the store again.
    fn leave(&mut self) {
        if let Some((edge, key, id)) = self.place.take() {
            edge.collapses.complete(&key, id);
        }
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        self.leave();
    }
}

/// What may have been put aside for a leader's viewer.
pub struct Aside(Option<oneshot::Receiver<FieldSection>>);

impl Aside {
    /// Adds it to the answer, once the fill has landed.
    pub fn add_to(self, fields: &mut FieldSection) {
        let Some(aside) = self.0.and_then(|mut aside| aside.try_recv().ok()) else { return };
        for (name, value) in &aside {
            fields.append(name, value.clone());
        }
    }
}

impl Waiter {
    /// What is put aside for this viewer; to be taken before the wait.
    pub fn aside(&mut self) -> Aside {
        Aside(self.aside.take())
    }

    /// Waits for the end of the fill; a leader waits as long as its fill does.
    pub async fn wait(mut self, patience: Option<Duration>) -> WaitOutcome {
        let end = async {
            let seen = self.outlook.wait_for(Option::is_some).await;
            seen.ok().and_then(|end| end.clone())
        };
        let end = match patience {
            None => end.await,
            Some(patience) => match tokio::time::timeout(patience, end).await {
                Ok(end) => end,
                Err(_) => return WaitOutcome::TooLong,
            },
        };
        match (end, self.reply) {
            (None, _) => WaitOutcome::Abandoned,
            (Some(FillEnd::Uncacheable(why)), Some(reply)) => match reply.await {
                Ok(reply) => WaitOutcome::Yours(why, reply),
                Err(_) => WaitOutcome::Abandoned,
            },
            (Some(end), _) => WaitOutcome::End(end),
        }
    }
}
