//! Collapses with waiting around them: a leader's guard, which completes the fill for all who
//! wait, and a follower's wait.
//!
//! A guard that is dropped leaves them without an end, and one of them leads next. The only
//! `select!` of serving is the follower's timeout here; what it loses is a place in a queue.

use std::collections::HashMap;
use std::hash::BuildHasher;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::base::boxed::Reused;
use crate::body::Reader;
use crate::cache::collapses::{AloneReason, CollapseId, Collapses, Role};
use crate::message::failure::Failure;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::response::Reply;
use crate::message::stored::Stored;
use crate::message::verdict::NotKept;
use crate::semantics::fields::FieldSection;
use crate::semantics::time::Timestamp;
use crate::trace::context::Place;

const SHARDS: usize = 32;

/// How a fill ended, as its leader and every follower see it.
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

/// Where a fill's end comes to its leader and its followers: one piece of memory for a fetch.
#[derive(Default)]
struct Completion {
    has_ended: Notify,
    state: Mutex<CompletionState>,
    /// Those that wait now, but for the leader.
    followers: AtomicUsize,
}

#[derive(Default)]
struct CompletionState {
    end: Option<FillEnd>,
    /// The guard is gone: there will be no other end.
    is_over: bool,
    /// What is for the leader's viewer alone.
    reply: Option<Reply>,
    aside: FieldSection,
    /// The span of the fetch, where spans are kept.
    led_by: Option<Place>,
    leader_left: bool,
    /// A reader at the front of a content that still grows: it is dropped with the last waiter, so
    /// that none of them comes too late.
    hold: Option<Reader>,
}

/// The table, cut into shards.
pub struct CollapseTable {
    shards: Box<[Mutex<Shard>]>,
    followers_max: usize,
    hasher: foldhash::quality::RandomState,
}

struct Shard {
    table: Collapses,
    completions: HashMap<CollapseId, Arc<Completion>>,
}

/// A request's part in a collapse.
pub enum Joined {
    Lead(FillGuard, Waiter),
    Follow(Waiter),
    Alone(AloneReason),
}

impl CollapseTable {
    /// An empty table, for so many followers of each fetch at a time, and so many marks.
    pub fn new(followers_max: usize, marks: usize) -> Self {
        let shard = || {
            Mutex::new(Shard {
                table: Collapses::new(marks / SHARDS + 1),
                completions: HashMap::new(),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
            followers_max,
            hasher: foldhash::quality::RandomState::default(),
        }
    }

    fn shard(&self, key: &[u8]) -> &Mutex<Shard> {
        &self.shards[(self.hasher.hash_one(key) >> 40) as usize % SHARDS]
    }

    /// Joins the fetch for a key, or begins it.
    pub fn join(
        edge: &Arc<crate::proxy::Edge>,
        key: &[u8],
        arrived_at: InvalidationNumber,
        now: Timestamp,
    ) -> Joined {
        let mut shard = edge.collapses.shard(key).lock();
        let overtakes = |since| edge.invalidations.overtakes(&CacheKey::new(key), since);
        match shard.table.join(key, arrived_at, edge.invalidations.head(), now, overtakes) {
            Role::Alone(why) => Joined::Alone(why),
            Role::Follow(id) => {
                let completion = shard.completions.get(&id);
                completion
                    .and_then(|completion| {
                        Waiter::follower(completion, edge.collapses.followers_max)
                    })
                    .map_or(Joined::Alone(AloneReason::Crowded), Joined::Follow)
            }
            Role::Lead(id) => {
                let held = shard.table.held(key).unwrap_or_else(|| CacheKey::new(key));
                let (guard, waiter) = FillGuard::new(Some((Arc::clone(edge), held, id)));
                shard.completions.insert(id, Arc::clone(&waiter.completion));
                Joined::Lead(guard, waiter)
            }
        }
    }

    fn complete(&self, key: &[u8], id: CollapseId) {
        let mut shard = self.shard(key).lock();
        shard.table.complete(key, id);
        shard.completions.remove(&id);
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

/// A leader's duty: it is completed exactly once, by `complete`, by `give_to_leader`, or by being
/// dropped.
pub struct FillGuard {
    completion: Arc<Completion>,
    place: Option<(Arc<crate::proxy::Edge>, CacheKey, CollapseId)>,
}

/// A place in the wait for a fill.
pub struct Waiter {
    completion: Arc<Completion>,
    is_leader: bool,
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
    fn new(place: Option<(Arc<crate::proxy::Edge>, CacheKey, CollapseId)>) -> (Self, Waiter) {
        let completion = Arc::<Completion>::default();
        (
            Self { completion: Arc::clone(&completion), place },
            Waiter { completion, is_leader: true },
        )
    }

    /// A guard outside the table: no follower can wait on it.
    pub fn alone() -> (Self, Waiter) {
        Self::new(None)
    }

    /// The key of the collapse, if it is these octets: a copy of its own is saved.
    pub fn key(&self, octets: &[u8]) -> Option<CacheKey> {
        self.place.as_ref().map(|(_, key, _)| key.clone()).filter(|key| key.as_bytes() == octets)
    }

    /// Puts fields aside for the leader's viewer, which the store does not keep; before the end.
    pub fn set_aside(&mut self, fields: FieldSection) {
        if !fields.is_empty() {
            self.completion.state.lock().aside = fields;
        }
    }

    /// Says which span the fetch is, for those who follow.
    pub fn led_by(&self, span: Place) {
        self.completion.state.lock().led_by = Some(span);
    }

    /// Tells the leader and every follower.
    pub fn complete(self, end: FillEnd) {
        self.complete_holding(end, None);
    }

    /// The same, with a reader that holds the front of the content until the waiters have readers
    /// of their own.
    pub fn complete_holding(mut self, end: FillEnd, hold: Option<Reader>) {
        self.leave();
        let mut state = self.completion.state.lock();
        (state.end, state.hold) = (Some(end), hold);
    }

    /// Gives the reply to the leader's viewer, and tells the others to go alone. If that viewer
    /// left, the reply goes with it.
    pub fn give_to_leader(mut self, why: NotKept, reply: Reply) {
        self.leave();
        let mut state = self.completion.state.lock();
        if !state.leader_left {
            state.reply = Some(reply);
        }
        state.end = Some(FillEnd::Uncacheable(why));
    }

    /// The fetch begins, or begins again because an invalidation came. False if a newer one has
    /// taken its place.
    pub fn began_again(&self, head: InvalidationNumber) -> bool {
        self.place.as_ref().is_none_or(|(edge, key, id)| {
            let mut shard = edge.collapses.shard(key.as_bytes()).lock();
            shard.table.began_again(key.as_bytes(), *id, head)
        })
    }

    // Out of the table first: a request that comes now looks into the store again.
    fn leave(&mut self) {
        if let Some((edge, key, id)) = self.place.take() {
            edge.collapses.complete(key.as_bytes(), id);
        }
    }
}

impl Drop for FillGuard {
    fn drop(&mut self) {
        self.leave();
        self.completion.state.lock().is_over = true;
        self.completion.has_ended.notify_waiters();
    }
}

impl Waiter {
    // One more, where so many at a time may wait. Its caller holds the lock under which others come.
    fn follower(completion: &Arc<Completion>, followers_max: usize) -> Option<Self> {
        if completion.followers.load(Ordering::Relaxed) >= followers_max {
            return None;
        }
        completion.followers.fetch_add(1, Ordering::Relaxed);
        Some(Self { completion: Arc::clone(completion), is_leader: false })
    }

    /// Adds to the leader's answer what was put aside for its viewer, once the fill has ended.
    pub fn add_aside(&self, fields: &mut FieldSection) {
        if self.is_leader {
            fields.extend(&std::mem::take(&mut self.completion.state.lock().aside));
        }
    }

    /// The span of the fetch that was waited for, where spans are kept of it.
    pub fn led_by(&self) -> Option<Place> {
        self.completion.state.lock().led_by
    }

    /// Waits for the end of the fill; a leader waits as long as its fill does.
    pub async fn wait(&self, patience: Option<Duration>) -> WaitOutcome {
        match patience {
            None => self.completed().await,
            Some(patience) => tokio::time::timeout(patience, self.completed())
                .await
                .unwrap_or(WaitOutcome::TooLong),
        }
    }

    async fn completed(&self) -> WaitOutcome {
        let mut completed = std::pin::pin!(self.completion.has_ended.notified());
        loop {
            // Before the look: what comes after it wakes us.
            completed.as_mut().enable();
            if let Some(outcome) = self.look() {
                return outcome;
            }
            completed.as_mut().await;
            completed.set(self.completion.has_ended.notified());
        }
    }

    fn look(&self) -> Option<WaitOutcome> {
        let mut state = self.completion.state.lock();
        if !state.is_over {
            return None;
        }
        Some(match (state.end.clone(), self.is_leader) {
            (None, _) => WaitOutcome::Abandoned,
            (Some(FillEnd::Uncacheable(why)), true) => match state.reply.take() {
                Some(reply) => WaitOutcome::Yours(why, reply),
                None => WaitOutcome::Abandoned,
            },
            (Some(end), _) => WaitOutcome::End(end),
        })
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.is_leader {
            let mut state = self.completion.state.lock();
            (state.leader_left, state.reply) = (true, None);
        } else {
            self.completion.followers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// A fill that its leader's viewer drives. One that is not at its end when the viewer needs it no
/// more, or is gone, goes on as a task of its own: a leader's viewer that leaves takes no
/// follower's answer along.
pub struct Driven<F: Future<Output = ()> + Send + 'static>(Option<Reused<F>>);

impl<F: Future<Output = ()> + Send + 'static> Driven<F> {
    /// The fill that this makes.
    pub fn new(make: impl FnOnce() -> F) -> Self {
        Self(Some(Reused::new(make)))
    }

    /// Drives it until its end is there, for its leader. Nobody has to wake that one: it looks after
    /// each step of the fill.
    pub async fn until_ended(&mut self, leader: &Waiter) -> WaitOutcome {
        std::future::poll_fn(|cx| {
            if self.0.as_mut().is_some_and(|fill| Pin::new(fill).poll(cx).is_ready()) {
                self.0 = None;
            }
            leader.look().map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }
}

impl<F: Future<Output = ()> + Send + 'static> Drop for Driven<F> {
    fn drop(&mut self) {
        if let (Some(fill), Ok(runtime)) = (self.0.take(), tokio::runtime::Handle::try_current()) {
            runtime.spawn(fill);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_no_more_makes_room_for_another_follower() {
        let completion = Arc::<Completion>::default();
        let first = Waiter::follower(&completion, 1);
        assert!(first.is_some());
        assert!(Waiter::follower(&completion, 1).is_none());
        drop(first);
        assert!(Waiter::follower(&completion, 1).is_some());
    }
}
