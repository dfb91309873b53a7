//! Pure: which events were taken already. Senders repeat what they do not know to have arrived.

use std::collections::{HashSet, VecDeque};

use super::event::{Change, Identity};

/// Events that are remembered; the oldest is forgotten first, and would be taken once more.
pub const REMEMBERED: usize = 16_384;

/// A bounded memory of events.
#[derive(Debug, Default)]
pub struct Seen {
    known: HashSet<Identity>,
    order: VecDeque<Identity>,
}

impl Seen {
    /// Says whether this event was taken before.
    pub fn has(&self, change: &Change) -> bool {
        change.identity.is_some_and(|identity| self.known.contains(&identity))
    }

    /// Remembers an event whose invalidation is written down.
    pub fn note(&mut self, change: &Change) {
        let Some(identity) = change.identity else { return };
        if !self.known.insert(identity) {
            return;
        }
        self.order.push_back(identity);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::event::Kind;
    use super::*;

    fn change(number: Option<u32>) -> Change {
        let identity = number.map(|number| {
            let mut octets = [0; 16];
            octets[..4].copy_from_slice(&number.to_be_bytes());
            Identity(octets)
        });
        Change { bucket: "b".into(), keys: vec![b"k".to_vec()], kind: Kind::Written, identity }
    }

    #[test]
    fn repeats_are_known_until_they_are_forgotten() {
        let mut seen = Seen::default();
        let most = u32::try_from(REMEMBERED).unwrap();
        for number in 0..=most {
            assert!(!seen.has(&change(Some(number))));
            seen.note(&change(Some(number)));
            seen.note(&change(Some(number)));
            assert!(seen.has(&change(Some(number))));
        }
        assert!(!seen.has(&change(Some(0))), "the oldest has made room");
        assert!(seen.has(&change(Some(1))));
        assert_eq!((seen.known.len(), seen.order.len()), (REMEMBERED, REMEMBERED));
        seen.note(&change(None));
        assert!(!seen.has(&change(None)), "what has no identity is never a repeat");
    }
}
