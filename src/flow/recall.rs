//! From the disk back into memory: once for everybody who asks, and never longer than a viewer should wait.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;

use super::{Core, Edge, Tally};
use crate::cache::ask::Asked;
use crate::cache::invalidations::Validity;
use crate::cache::lookup::choose;
use crate::exchange::stored::Stored;
use crate::store::memory::Found;

/// A disk that is slower than this is slower than most origins.
const PATIENCE: Duration = Duration::from_secs(2);

type Turn = Arc<tokio::sync::Mutex<()>>;

/// Whose turn it is to read what lies under a key.
#[derive(Default)]
pub struct Turns(Mutex<HashMap<Box<[u8]>, Turn>>);

impl Turns {
    fn of(&self, key: &[u8]) -> Turn {
        Arc::clone(self.0.lock().entry(key.into()).or_default())
    }

    // The last one out takes the turn along.
    fn leave(&self, key: &[u8], turn: Turn) {
        let mut turns = self.0.lock();
        drop(turn);
        if turns.get(key).is_some_and(|turn| Arc::strong_count(turn) == 1) {
            turns.remove(key);
        }
    }
}

impl Core {
    /// What is stored under a key, in memory or brought back into it.
    pub(super) async fn find(&self, asked: &Asked<'_>) -> Found {
        let found = self.edge.store.find(asked.key);
        let Some(disk) = self.edge.disk() else { return found };
        let here = found.iter().filter(|stored| stored.live.on_disk.load(Ordering::Relaxed) != 0).count();
        if choose(asked.head().fields, &found).is_some() || disk.count(asked.key) <= here {
            return found;
        }
        let turn = self.edge.turns.of(asked.key);
        let held = turn.lock().await;
        // Somebody may have brought it meanwhile.
        let mut found = self.edge.store.find(asked.key);
        if choose(asked.head().fields, &found).is_none() {
            found = Edge::recall(&self.edge, asked.key, found).await;
        }
        drop(held);
        self.edge.turns.leave(asked.key, turn);
        found
    }
}

impl Edge {
    async fn recall(self: &Arc<Self>, key: &[u8], mut found: Found) -> Found {
        let (edge, owned) = (Arc::clone(self), key.to_vec());
        let reading = tokio::task::spawn_blocking(move || {
            let disk = edge.disk()?;
            Some(disk.recall(&owned, edge.arena.as_ref()))
        });
        let read = match tokio::time::timeout(PATIENCE, reading).await {
            Ok(Ok(Some(read))) => read,
            Ok(_) => return found,
            Err(_) => {
                if let Some(disk) = self.disk() {
                    Tally::add(&disk.tally.slow);
                }
                return found;
            }
        };
        for stored in read {
            if self.invalidations.validity(&stored) == Validity::Hard {
                self.forget(&stored);
            } else if !found.iter().any(|known| known.selector == stored.selector) {
                self.remember(&stored);
                found.push(stored);
            }
        }
        found
    }

    // Into memory, if there is room; it can be served from here in any case.
    fn remember(&self, stored: &Arc<Stored>) {
        let body = if stored.content.is_filed() { 0 } else { stored.content.length().unwrap_or(0) };
        let weight = stored.weight(body);
        if self.store.reserve(weight).is_ok() {
            stored.live.accounted.store(weight, Ordering::Relaxed);
            self.store.insert(stored);
        }
    }

    /// Takes a response out of both tiers.
    pub fn forget(&self, stored: &Arc<Stored>) {
        self.store.remove(stored);
        if let Some(disk) = self.disk() {
            disk.forget(stored);
        }
    }

    /// Offers a response that is complete to the disk.
    pub(super) fn offer(&self, stored: &Arc<Stored>) {
        if let Some(disk) = self.disk()
            && !stored.content.is_filed()
        {
            disk.offer(stored);
        }
    }
}
