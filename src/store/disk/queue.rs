//! What waits to be written down, in order; of two jobs for one response only the later is done.
//!
//! Knows no file. Its bounds are kept by whoever puts into it.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::record::Identity;
use crate::exchange::stored::Stored;

/// The queue.
#[derive(Default)]
pub struct Queue {
    pub jobs: VecDeque<(u64, Job)>,
    /// What the responses in it weigh.
    pub octets: u64,
    /// The last job that speaks of an identity: those before it need not be done.
    pub last: HashMap<Identity, u64>,
    count: u64,
    /// What the job under way speaks of.
    pub in_hand: Option<Identity>,
    /// Tombstones that could not be written, or found no place in the queue. They are owed, however long it takes.
    pub owed: HashSet<Identity>,
}

impl Queue {
    /// Adds a job at the end.
    pub fn push(&mut self, job: Job) {
        self.count += 1;
        if let Job::Put(_, identity, _) | Job::Gone(identity) = &job {
            self.last.insert(*identity, self.count);
        }
        self.jobs.push_back((self.count, job));
    }

    /// The next job that is still worth doing.
    pub fn pop(&mut self) -> Option<Job> {
        while let Some((number, job)) = self.jobs.pop_front() {
            if let Job::Put(_, identity, octets) = &job
                && self.last.get(identity) != Some(&number)
            {
                self.octets -= octets;
                continue;
            }
            self.in_hand = match &job {
                Job::Put(_, identity, _) | Job::Gone(identity) => Some(*identity),
                Job::Close(_) => None,
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

    /// Something of an identity was written, and the index is about to hear of it. Says whether something newer is still to come.
    pub fn lands(&mut self, identity: Identity, by: By) -> bool {
        let is_newer_in_hand = match by {
            By::Move => self.in_hand == Some(identity),
            // From here on the index knows what the job says.
            By::Job => {
                self.in_hand = None;
                false
            }
        };
        is_newer_in_hand || self.last.contains_key(&identity)
    }
}

/// On whose behalf a record is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The job under way.
    Job,
    /// It lay somewhere else.
    Move,
}

/// Something to be written.
pub enum Job {
    /// A response, and the octets it has in the queue.
    Put(Arc<Stored>, Identity, u64),
    /// Nothing of an identity is kept any more.
    Gone(Identity),
    /// Nothing of this segment counts any more.
    Close(u32),
}
