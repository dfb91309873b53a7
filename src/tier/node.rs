//! A node of a tier: its breaker, and its two connections, one for small values and one for large,
//! because answers come in order and a large one delays whatever is behind it.
//!
//! Connections are made in tasks of their own: a caller waits for it up to its own deadline, and
//! the connection is there for the next. One that broke is made anew once for each caller that
//! waited on it: engines and what is before them cut connections, idle ones and others.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout, timeout_at};

use super::breaker::{Breaker, Failure, PROBE_LASTS, State, Turn};
use super::link::Trouble;
use super::miss::Miss;
use super::room::Room;
use super::slots::NodeAddress;

/// A connection to a node. Clones share it.
pub trait Line: Clone + Send + Sync + 'static {
    /// Says whether it may still be used, as far as is known.
    fn is_open(&self) -> bool;

    /// Asks the node whether it is there.
    fn probe(&self) -> impl Future<Output = Result<(), Trouble>> + Send;
}

/// Makes connections of one kind.
pub trait Connect: Send + Sync + 'static {
    type Line: Line;

    /// Connects and says who we are. Whoever calls it bounds it.
    fn connect(
        &self,
        node: &NodeAddress,
    ) -> impl Future<Output = Result<Self::Line, Trouble>> + Send;

    /// How long that may take.
    fn patience(&self) -> Duration;
}

/// Which of the two connections of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Size {
    /// Metas and locks.
    Small,
    /// Pieces.
    Large,
}

/// A node's state, for the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeStatus {
    pub name: String,
    pub breaker: State,
    /// The last trouble, until an answer comes.
    pub trouble: Option<String>,
    /// What it said of its memory last; `None`: nothing, or it is no Redis.
    pub room: Option<Room>,
}

/// A node.
pub struct Node<K: Connect> {
    pub address: NodeAddress,
    connect: Arc<K>,
    since: Instant,
    breaker: Mutex<Breaker>,
    trouble: Mutex<Option<Trouble>>,
    places: [Place<K::Line>; 2],
}

/// Where a connection is, or will be.
struct Place<L> {
    line: Mutex<Option<Made<L>>>,
    /// How many were made here.
    made: AtomicU64,
    is_connecting: AtomicBool,
    changed: Notify,
}

/// A connection is being made at a place. Once this is dropped none is, however that ended, and who
/// waits for it looks.
struct Connecting<'p, L>(&'p Place<L>);

impl<L> Drop for Connecting<'_, L> {
    fn drop(&mut self) {
        self.0.is_connecting.store(false, Ordering::Release);
        self.0.changed.notify_waiters();
    }
}

/// A connection, and which of those that were made at its place it is.
#[derive(Clone)]
struct Made<L> {
    line: L,
    which: u64,
}

impl<L: Line> Place<L> {
    fn new() -> Self {
        Self {
            line: Mutex::new(None),
            made: AtomicU64::new(0),
            is_connecting: AtomicBool::new(false),
            changed: Notify::new(),
        }
    }

    fn open_line(&self) -> Option<Made<L>> {
        let mut made = self.line.lock();
        if made.as_ref().is_some_and(|made| !made.line.is_open()) {
            *made = None;
        }
        made.clone()
    }

    fn put(&self, line: L) {
        let which = self.made.fetch_add(1, Ordering::Relaxed);
        *self.line.lock() = Some(Made { line, which });
    }

    /// Gives one up, unless another is in its place already.
    fn drop_broken(&self, which: u64) {
        let mut made = self.line.lock();
        if made.as_ref().is_some_and(|made| made.which == which) {
            *made = None;
        }
    }
}

impl<K: Connect> Node<K> {
    /// A node without a connection yet.
    pub fn new(address: NodeAddress, connect: Arc<K>) -> Arc<Self> {
        Arc::new(Self {
            address,
            connect,
            since: Instant::now(),
            breaker: Mutex::default(),
            trouble: Mutex::default(),
            places: [Place::new(), Place::new()],
        })
    }

    /// Says whether the node may be asked now. Whoever is told to probe has sent the probe when
    /// this returns, and steps over the node like everybody else.
    pub fn may_be_asked(self: &Arc<Self>) -> bool {
        match self.breaker.lock().turn(self.since.elapsed()) {
            Turn::Ask => true,
            Turn::Pause => false,
            Turn::Probe => {
                tokio::spawn(Arc::clone(self).probe());
                false
            }
        }
    }

    /// Asks the node something, up to a deadline.
    pub async fn ask<T, F, A>(
        self: &Arc<Self>,
        size: Size,
        deadline: Instant,
        ask: F,
    ) -> Result<T, Trouble>
    where
        F: Fn(K::Line) -> A,
        A: Future<Output = Result<T, Trouble>>,
    {
        if !self.may_be_asked() {
            return Err(self.paused());
        }
        let mut is_first = true;
        loop {
            let mut used = None;
            let asked = async {
                let Made { line, which } = self.line(size).await?;
                used = Some(which);
                ask(line).await
            };
            let answer = timeout_at(deadline, asked)
                .await
                .unwrap_or_else(|_| Err(Trouble::new(Miss::TimedOut, "no answer in time")));
            match answer {
                Ok(answer) => {
                    self.breaker.lock().succeeded();
                    *self.trouble.lock() = None;
                    return Ok(answer);
                }
                Err(trouble) if trouble.miss == Miss::Unreachable => {
                    // Where no connection could be made, this has been noted already.
                    let Some(which) = used else { return Err(trouble.at(&self.address)) };
                    self.places[size as usize].drop_broken(which);
                    if !is_first {
                        self.failed(&trouble, Failure::Once);
                        return Err(trouble.at(&self.address));
                    }
                    is_first = false;
                }
                Err(trouble) => {
                    self.note(&trouble);
                    return Err(trouble.at(&self.address));
                }
            }
        }
    }

    // It is not asked, and what went wrong before.
    fn paused(&self) -> Trouble {
        let why = match &*self.trouble.lock() {
            Some(trouble) => format!("its breaker is open: {}", trouble.why),
            None => "its breaker is open".to_string(),
        };
        Trouble::new(Miss::Paused, why).at(&self.address)
    }

    fn drop_line(&self, size: Size) {
        *self.places[size as usize].line.lock() = None;
    }

    fn note(&self, trouble: &Trouble) {
        match trouble.miss {
            Miss::TimedOut => self.failed(trouble, Failure::Once),
            miss if miss.is_trouble() => self.failed(trouble, Failure::Gone),
            // It answered, if only that it would not.
            _ => self.breaker.lock().succeeded(),
        }
    }

    fn failed(&self, trouble: &Trouble, failure: Failure) {
        *self.trouble.lock() = Some(trouble.clone());
        let opens = self.breaker.lock().failed(self.since.elapsed(), failure, random());
        if opens {
            // What waits on them would wait in vain.
            self.drop_line(Size::Small);
            self.drop_line(Size::Large);
            let (node, why) = (&self.address, &trouble.why);
            tracing::warn!(%node, %why, "a tier's node is stepped over");
        }
    }

    /// The connection for values of this size; made if there is none.
    async fn line(self: &Arc<Self>, size: Size) -> Result<Made<K::Line>, Trouble> {
        let place = &self.places[size as usize];
        if let Some(line) = place.open_line() {
            return Ok(line);
        }
        let mut changed = pin!(place.changed.notified());
        changed.as_mut().enable();
        if !place.is_connecting.swap(true, Ordering::AcqRel) {
            tokio::spawn(Arc::clone(self).make(size));
        } else if let Some(line) = place.open_line() {
            return Ok(line);
        }
        changed.await;
        place.open_line().ok_or_else(|| {
            let noted = self.trouble.lock().clone();
            noted.unwrap_or_else(|| Trouble::new(Miss::Unreachable, "no connection"))
        })
    }

    async fn make(self: Arc<Self>, size: Size) {
        let place = &self.places[size as usize];
        let _connecting = Connecting(place);
        match self.connected().await {
            Ok(line) => place.put(line),
            // Without a connection the next caller would fare no better, whatever the reason.
            Err(trouble) if trouble.miss == Miss::Denied => self.note(&trouble),
            Err(trouble) => self.note(&Trouble::new(Miss::Unreachable, trouble.why)),
        }
    }

    async fn connected(&self) -> Result<K::Line, Trouble> {
        let patience = self.connect.patience();
        timeout(patience, self.connect.connect(&self.address)).await.unwrap_or_else(|_| {
            let why = format!("{}: no connection in {patience:?}", self.address);
            Err(Trouble::new(Miss::Unreachable, why))
        })
    }

    // On a connection of its own, which becomes that of small values.
    async fn probe(self: Arc<Self>) {
        let probed = async {
            let line = self.connected().await?;
            line.probe().await?;
            Ok::<_, Trouble>(line)
        };
        let probed = timeout(PROBE_LASTS, probed)
            .await
            .unwrap_or_else(|_| Err(Trouble::new(Miss::TimedOut, "no answer to a probe")));
        let is_well = probed.is_ok();
        match probed {
            Ok(line) => {
                self.places[Size::Small as usize].put(line);
                *self.trouble.lock() = None;
                tracing::info!(node = %self.address, "a tier's node is asked again");
            }
            Err(trouble) => *self.trouble.lock() = Some(trouble),
        }
        self.breaker.lock().probed(self.since.elapsed(), is_well, random());
    }

    /// The state now.
    pub fn status(&self) -> NodeStatus {
        NodeStatus {
            name: self.address.to_string(),
            breaker: self.breaker.lock().state(self.since.elapsed()),
            trouble: self.trouble.lock().as_ref().map(|trouble| trouble.why.clone()),
            room: None,
        }
    }
}

/// A random number. Where the system has none, all edges have the same: they only come back
/// together.
pub(super) fn random() -> u64 {
    let mut octets = [0; 8];
    let _ = aws_lc_rs::rand::fill(&mut octets);
    u64::from_le_bytes(octets)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Clone)]
    struct Open;

    impl Line for Open {
        fn is_open(&self) -> bool {
            true
        }

        async fn probe(&self) -> Result<(), Trouble> {
            Ok(())
        }
    }

    /// What comes of a connection's making.
    enum Comes {
        /// The first breaks off.
        Broken(AtomicUsize),
        Denied,
    }

    impl Connect for Comes {
        type Line = Open;

        async fn connect(&self, _: &NodeAddress) -> Result<Open, Trouble> {
            match self {
                Self::Broken(count) => {
                    assert!(count.fetch_add(1, Ordering::Relaxed) > 0, "the first breaks off");
                    Ok(Open)
                }
                Self::Denied => Err(Trouble::new(Miss::Denied, "WRONGPASS")),
            }
        }

        fn patience(&self) -> Duration {
            Duration::from_secs(1)
        }
    }

    fn node(comes: Comes) -> Arc<Node<Comes>> {
        let address = NodeAddress { host: "engine.test".into(), port: 6379 };
        Node::new(address, Arc::new(comes))
    }

    async fn ask(node: &Arc<Node<Comes>>) -> Result<(), Trouble> {
        let deadline = Instant::now() + Duration::from_secs(10);
        node.ask(Size::Small, deadline, |_| async { Ok(()) }).await
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_whose_making_broke_off_is_made_anew() {
        let node = node(Comes::Broken(AtomicUsize::new(0)));
        assert!(ask(&node).await.is_err());
        assert_eq!(ask(&node).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_is_not_asked_says_what_went_wrong_before() {
        let node = node(Comes::Denied);
        assert_eq!(ask(&node).await.unwrap_err().miss, Miss::Denied);
        let paused = ask(&node).await.unwrap_err();
        assert_eq!(paused.miss, Miss::Paused);
        assert_eq!(paused.why, "its breaker is open: WRONGPASS");
    }
}
