//! The ticket keys that a fleet shares, by which its viewers resume on any edge: what a key from
//! the log comes to, who makes the next one, and what is counted. `follow` appends it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::tls::ticket_keys::{KeyRefusal, Taken};
use crate::tls::tickets::Tickets;
use crate::tls::wrapping::Wrapping;

/// Who makes the next key, of those that see that it is time. Several at once do no harm: all keys
/// open, and the last in the log seals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// The sequencer's member, whose call cannot get lost.
    First,
    /// Any other member, unless one was quicker.
    Later,
}

/// The sequencer's member waits for so long, for what it still has to read of the log.
const FIRST_AFTER: Duration = Duration::from_secs(1);
/// Others wait for so long, and up to eight seconds more, so that of many one is the first.
const LATER_AFTER: Duration = Duration::from_secs(2);

impl Turn {
    /// How long to wait before a key is made; `chance` is any number.
    pub fn wait(self, chance: u8) -> Duration {
        match self {
            Self::First => FIRST_AFTER,
            Self::Later => LATER_AFTER + Duration::from_secs(8) * u32::from(chance) / 256,
        }
    }
}

/// What a member shares.
pub struct SharedTickets {
    tickets: Arc<Tickets>,
    wrapping: Wrapping,
    turn: Turn,
    taken: AtomicU64,
    refused: [AtomicU64; KeyRefusal::ALL.len()],
    has_warned: AtomicBool,
}

impl SharedTickets {
    /// Over this edge's tickets, and what wraps and opens the fleet's keys.
    pub fn new(tickets: Arc<Tickets>, wrapping: Wrapping, turn: Turn) -> Self {
        Self {
            tickets,
            wrapping,
            turn,
            taken: AtomicU64::new(0),
            refused: Default::default(),
            has_warned: AtomicBool::new(false),
        }
    }

    /// Takes a key that the log brings. What is wrong with it is counted by name, and changes
    /// nothing.
    pub fn take(&self, wrapped: &str) {
        match self.wrapping.open(wrapped).and_then(|key| self.tickets.take(key)) {
            Ok(Taken::New) => {
                self.taken.fetch_add(1, Ordering::Relaxed);
                self.has_warned.store(false, Ordering::Relaxed);
            }
            Ok(Taken::Known) => {}
            Err(refusal) => self.refused(refusal),
        }
    }

    fn refused(&self, refusal: KeyRefusal) {
        self.refused[refusal as usize].fetch_add(1, Ordering::Relaxed);
        // A log that is read again has keys that had their time.
        let is_usual = refusal == KeyRefusal::TooOld;
        if !is_usual && !self.has_warned.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                refusal = refusal.name(),
                "a ticket key of the fleet cannot be used here; is fleet.ticket_key the same on all members?"
            );
        }
    }

    /// Whether it is time for the next key.
    pub fn is_due(&self) -> bool {
        self.tickets.is_fleet_key_due()
    }

    /// How long to wait before one is made.
    pub fn wait(&self) -> Duration {
        let mut chance = [0u8; 1];
        let _ = aws_lc_rs::rand::fill(&mut chance);
        self.turn.wait(chance[0])
    }

    /// A new key as the log carries it; `None` without randomness.
    pub fn fresh(&self) -> Option<String> {
        self.wrapping.wrap(&self.tickets.fresh_fleet_key()?)
    }

    /// Keys that are held now.
    pub fn held(&self) -> usize {
        self.tickets.fleet_keys()
    }

    /// Keys that were taken from the log.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }

    /// How many were refused, by the refusal's name.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.refused.iter().map(|count| count.load(Ordering::Relaxed));
        KeyRefusal::ALL.into_iter().map(KeyRefusal::name).zip(counts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::clock::Clock;
    use crate::distribution::fleet::TicketSecrets;
    use crate::semantics::time::Timestamp;
    use crate::tls::tickets::ClientRule;

    struct Edge {
        shared: SharedTickets,
        _folder: tempfile::TempDir,
    }

    fn edge(fleet: &str, wraps: u8, before: Option<u8>) -> Edge {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000_000));
        let tickets = Tickets::open(folder.path(), clock, Some(fleet));
        let secret = |octet: u8| Secret::new(vec![octet; 32]);
        let secrets = TicketSecrets { wraps: secret(wraps), before: before.map(secret) };
        let wrapping = Wrapping::new(fleet, &secrets).unwrap();
        Edge { shared: SharedTickets::new(tickets, wrapping, Turn::Later), _folder: folder }
    }

    fn refused(edge: &Edge) -> Vec<(&'static str, u64)> {
        edge.shared.refusals().filter(|(_, count)| *count > 0).collect()
    }

    fn resumes(from: &Edge, to: &Edge) -> bool {
        let [from, to] = [from, to].map(|edge| edge.shared.tickets.under(ClientRule::NONE));
        to.decrypt(&from.encrypt(b"state").unwrap()).is_some()
    }

    #[tokio::test(start_paused = true)]
    async fn the_log_brings_one_key_to_all() {
        let edges = [edge("shop", 1, None), edge("shop", 1, None), edge("shop", 2, Some(1))];
        assert!(edges.iter().all(|edge| edge.shared.is_due()));
        let wrapped = edges[0].shared.fresh().unwrap();
        // It is in use once the log brings it.
        assert!(edges[0].shared.is_due());
        for edge in &edges {
            edge.shared.take(&wrapped);
            edge.shared.take(&wrapped);
            assert_eq!((edge.shared.taken(), edge.shared.held()), (1, 1));
            assert!(!edge.shared.is_due() && refused(edge).is_empty());
        }
        tokio::time::advance(Duration::from_secs(10)).await;
        for from in &edges {
            assert!(edges.iter().all(|to| resumes(from, to)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn two_that_are_made_at_once_do_no_harm() {
        let edges = [edge("shop", 1, None), edge("shop", 1, None)];
        let log = [edges[0].shared.fresh().unwrap(), edges[1].shared.fresh().unwrap()];
        edges.iter().for_each(|edge| log.iter().for_each(|wrapped| edge.shared.take(wrapped)));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert!(resumes(&edges[0], &edges[1]) && resumes(&edges[1], &edges[0]));
        assert_eq!(edges[0].shared.held(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_ours_is_refused_by_name_and_changes_nothing() {
        let own = edge("shop", 1, None);
        let given = own.shared.fresh().unwrap();
        let mut altered = given.clone().into_bytes();
        let last = altered.len() - 5;
        altered[last] = if altered[last] == b'A' { b'B' } else { b'A' };
        own.shared.take(std::str::from_utf8(&altered).unwrap());
        own.shared.take(&edge("shop", 2, None).shared.fresh().unwrap());
        own.shared.take(&edge("shops", 1, None).shared.fresh().unwrap());
        own.shared.take("k");
        own.shared.take("");
        assert_eq!(refused(&own), [("malformed", 2), ("unopened", 3)]);
        assert_eq!((own.shared.taken(), own.shared.held()), (0, 0));
        // The same key again, a day later.
        tokio::time::advance(Duration::from_secs(24 * 3600)).await;
        own.shared.take(&given);
        assert_eq!(refused(&own), [("malformed", 2), ("unopened", 3), ("too_old", 1)]);
        assert!(own.shared.is_due());
    }

    #[test]
    fn the_sequencers_member_is_the_first() {
        assert_eq!(Turn::First.wait(255), FIRST_AFTER);
        assert_eq!(Turn::Later.wait(0), LATER_AFTER);
        assert!(Turn::Later.wait(255) < LATER_AFTER + Duration::from_secs(8));
        assert!(Turn::Later.wait(128) > Turn::Later.wait(127));
    }
}
