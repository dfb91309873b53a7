//! From the disk back into memory: once for all requests of a key, and never longer than a viewer
//! should wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::{Edge, Proxy, Tally};
use crate::cache::ask::CacheRequest;
use crate::cache::invalidations::Validity;
use crate::cache::lookup::choose;
use crate::message::stored::Stored;
use crate::store::memory::Found;

/// A disk that is slower than this is slower than most origins.
const PATIENCE: Duration = Duration::from_secs(2);

/// The most reads from the disk at a time: if it hangs, no more threads than these hang with it,
/// and the rest are misses.
const READS: usize = 32;

type Turn = Arc<tokio::sync::Mutex<()>>;

/// Which request's turn it is to read from the disk what lies under a key.
pub struct Turns {
    of: Mutex<HashMap<Box<[u8]>, Turn>>,
    reads: Arc<Semaphore>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { of: Mutex::default(), reads: Arc::new(Semaphore::new(READS)) }
    }
}

/// A place in the wait for a key; dropping the last one takes the key out of the table.
struct Load<'t> {
    turns: &'t Turns,
    key: &'t [u8],
    turn: Option<Turn>,
}

impl Turns {
    fn enter<'t>(&'t self, key: &'t [u8]) -> Load<'t> {
        let turn = Some(Arc::clone(self.of.lock().entry(key.into()).or_default()));
        Load { turns: self, key, turn }
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.of.lock();
        self.turn = None;
        if turns.get(self.key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(self.key);
        }
    }
}

impl Proxy {
    /// What is stored under a key, in memory or brought back into it. `found` is what memory holds,
    /// if that was looked for already.
    pub(super) async fn find(&self, asked: &CacheRequest<'_>, found: Option<Found>) -> Found {
        let found = found.unwrap_or_else(|| self.edge.store.find(asked.key));
        let Some(disk) = self.edge.disk() else { return found };
        let here =
            found.iter().filter(|stored| stored.live.on_disk.load(Ordering::Relaxed) != 0).count();
        if choose(asked.head().fields, &found).is_some() || disk.count(asked.key) <= here {
            return found;
        }
        match tokio::time::timeout(PATIENCE, self.edge.find_once(asked)).await {
            Ok(found) => found,
            Err(_) => {
                Tally::add(&disk.tally.slow);
                found
            }
        }
    }
}

impl Edge {
    async fn find_once(self: &Arc<Self>, asked: &CacheRequest<'_>) -> Found {
        let place = self.turns.enter(asked.key);
        let _held = match &place.turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        // Another request may have brought it into memory meanwhile.
        let found = self.store.find(asked.key);
        if choose(asked.head().fields, &found).is_some() {
            return found;
        }
        self.load(asked.key, found).await
    }

    async fn load(self: &Arc<Self>, key: &[u8], mut found: Found) -> Found {
        let Ok(permit) = Arc::clone(&self.turns.reads).try_acquire_owned() else {
            self.disk().into_iter().for_each(|disk| Tally::add(&disk.tally.slow));
            return found;
        };
        let (edge, owned) = (Arc::clone(self), key.to_vec());
        let reading = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let disk = edge.disk()?;
            Some(disk.recall(&owned, edge.arena.as_ref()))
        });
        let Ok(Some(read)) = reading.await else { return found };
        for stored in read {
            if self.invalidations.validity(&stored) == Validity::Hard {
                self.remove(&stored);
            } else if !found.iter().any(|known| known.selector == stored.selector) {
                self.promote(&stored);
                found.push(stored);
            }
        }
        found
    }

    // Into memory, if there is room; it can be served from here in any case. What lies in a file
    // stays there: held in memory it would hold the file too, and there may be many.
    fn promote(&self, stored: &Arc<Stored>) {
        if stored.content.is_filed() {
            return;
        }
        let weight = stored.weight(stored.content.length().unwrap_or(0));
        if self.store.reserve(weight).is_ok() {
            stored.live.accounted.store(weight, Ordering::Relaxed);
            self.store.insert(stored);
        }
    }

    /// Takes a response out of both tiers.
    pub fn remove(&self, stored: &Arc<Stored>) {
        self.store.remove(stored);
        if let Some(disk) = self.disk() {
            disk.forget(stored);
        }
    }

    /// Offers a response that is complete to the disk.
    pub(super) fn write_behind(&self, stored: &Arc<Stored>) {
        if let Some(disk) = self.disk()
            && !stored.content.is_filed()
        {
            disk.offer(stored);
        }
    }
}
