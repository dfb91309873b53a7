//! What waits to be written down, in order; of two jobs for one response only the later is done.
//!
//! Knows no file. Its bounds are kept by `Disk`, which puts into it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::ON_ITS_WAY;
use super::record::{Identity, Version};
use crate::message::stored::Stored;

/// Jobs that wait for the writer's thread, bounded in octets by `Disk`.
#[derive(Default)]
pub struct Queue {
    pub jobs: VecDeque<(u64, Job)>,
    /// What the responses in it weigh.
    pub octets: u64,
    /// The last job that speaks of an identity: those before it need not be done.
    pub last: HashMap<Identity, u64>,
    count: u64,
    /// What the job under way speaks of, until the index knows.
    in_hand: Option<Identity>,
    /// The version of what a job has written last: whatever is known of an identity up to it is
    /// older than what is pushed now.
    landed: Version,
    /// Tombstones that could not be written, or found no place in the queue. They are owed, however
    /// long it takes.
    owed: HashSet<Identity>,
}

impl Queue {
    /// An empty queue behind records of versions up to `newest`.
    pub fn behind(newest: Version) -> Self {
        Self { landed: newest, ..Self::default() }
    }

    /// Adds a job at the end. Gives the version up to which everything of its identity is old from
    /// now on.
    pub fn push(&mut self, job: Job) -> Version {
        self.count += 1;
        if let Job::Put(_, identity, _) | Job::Gone(identity) = &job {
            self.last.insert(*identity, self.count);
            self.owed.remove(identity);
        }
        self.jobs.push_back((self.count, job));
        self.landed
    }

    /// Says of an identity that nothing of it is kept, where there is no place for a job: as long
    /// as there are fewer than `most`.
    pub fn defer_tombstone(&mut self, identity: Identity, most: usize) -> Version {
        self.last.remove(&identity);
        if self.owed.len() < most {
            self.owed.insert(identity);
        }
        self.landed
    }

    /// A tombstone that is owed; it is no longer.
    pub fn debt(&mut self) -> Option<Identity> {
        let first = self.owed.iter().next().copied()?;
        self.owed.remove(&first);
        Some(first)
    }

    /// Goes on behind records of versions up to `newest`, which somebody else has written; of these
    /// identities something newer waits.
    pub fn follow(&mut self, newest: Version) -> Vec<Identity> {
        self.landed = newest.max(self.landed);
        // What has nothing left is seen once all of it was looked at.
        self.jobs.retain(|(_, job)| !matches!(job, Job::Close(..)));
        self.last.keys().chain(&self.owed).copied().collect()
    }

    /// Says whether nothing waits to be said of any identity.
    pub fn is_quiet(&self) -> bool {
        self.last.is_empty() && self.owed.is_empty()
    }

    /// The next job that is still worth doing.
    pub fn pop(&mut self) -> Option<Job> {
        self.in_hand = None;
        while let Some((number, job)) = self.jobs.pop_front() {
            if let Job::Put(stored, identity, octets) = &job
                && self.last.get(identity) != Some(&number)
            {
                self.octets -= octets;
                let _ = stored.live.on_disk.compare_exchange(
                    ON_ITS_WAY,
                    0,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                );
                continue;
            }
            self.in_hand = match &job {
                Job::Put(_, identity, _) | Job::Gone(identity) => Some(*identity),
                Job::Close(..) => None,
            };
            if let Some(identity) = &self.in_hand
                && self.last.get(identity) == Some(&number)
            {
                self.last.remove(identity);
            }
            return Some(job);
        }
        None
    }

    /// Something of an identity was written, and the index is about to hear of it. Says whether
    /// something newer is still to come.
    pub fn lands(&mut self, identity: Identity, version: Version, by: By) -> bool {
        let is_newer_in_hand = by != By::Job && self.in_hand == Some(identity);
        if by == By::Job {
            // From here on the index knows what the job says.
            self.in_hand = None;
            self.landed = version;
        }
        is_newer_in_hand || self.last.contains_key(&identity) || self.owed.contains(&identity)
    }
}

/// Why a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The job under way.
    Job,
    /// It lay somewhere else.
    Move,
    /// What it stood for was found dead or damaged.
    Keeper,
}

/// Something to be written.
pub enum Job {
    /// A response, and the octets it has in the queue.
    Put(Arc<Stored>, Identity, u64),
    /// Nothing of an identity is kept any more.
    Gone(Identity),
    /// Nothing of this segment counts any more. It was put off so many times.
    Close(u32, u8),
}
