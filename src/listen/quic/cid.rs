//! Connection ids that tell this process alone which core a connection lives on.
//!
//! The kernel chooses a core by addresses; a viewer that changes its own comes to another core than
//! its connection's. So seven octets of an id are random, and the eighth is the core, masked by a
//! keyed hash of the seven: ids of one connection have nothing in common for those who watch (RFC
//! 9000 §5.1).

use std::hash::{DefaultHasher, Hasher};
use std::time::Duration;

use quinn_proto::{ConnectionId, ConnectionIdGenerator, InvalidCid};

/// Octets of an id.
pub const LEN: usize = 8;
const RANDOM: usize = LEN - 1;

/// What masks the cores in ids.
#[derive(Clone)]
pub struct Mask {
    key: [u8; 16],
    cores: usize,
}

impl Mask {
    /// A mask under a secret, for so many cores.
    pub const fn new(key: [u8; 16], cores: usize) -> Self {
        Self { key, cores }
    }

    fn of(&self, random: &[u8]) -> u8 {
        let mut hasher = DefaultHasher::new();
        hasher.write(&self.key);
        hasher.write(random);
        hasher.finish() as u8
    }

    /// The core that gave an id, if it can be one of ours.
    pub fn core(&self, id: &[u8]) -> Option<usize> {
        let (random, last) = id.split_at_checked(RANDOM)?;
        let [masked] = last else { return None };
        let core = usize::from(masked ^ self.of(random));
        (core < self.cores).then_some(core)
    }
}

/// Makes the ids of one core.
pub struct Ids {
    mask: Mask,
    core: u8,
}

impl Ids {
    /// Of this core; there are 256 at most.
    pub const fn new(mask: Mask, core: usize) -> Self {
        Self { mask, core: core as u8 }
    }
}

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        let mut id = [0; LEN];
        let _ = aws_lc_rs::rand::fill(&mut id[..RANDOM]);
        id[RANDOM] = self.core ^ self.mask.of(&id[..RANDOM]);
        ConnectionId::new(&id)
    }

    fn validate(&self, id: &ConnectionId) -> Result<(), InvalidCid> {
        self.mask.core(id).map(|_| ()).ok_or(InvalidCid)
    }

    fn cid_len(&self) -> usize {
        LEN
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

/// The id that a datagram is for, where it must be one of ours: not that of a first packet, which
/// the viewer chose.
pub fn destination(datagram: &[u8]) -> Option<&[u8]> {
    let first = *datagram.first()?;
    if first & 0x80 == 0 {
        return datagram.get(1..1 + LEN);
    }
    // Of the long headers of version 1, Handshake alone has an id that we gave (RFC 9000 §17.2).
    let is_handshake = first & 0x30 == 0x20 && datagram.get(5) == Some(&(LEN as u8));
    if is_handshake { datagram.get(6..6 + LEN) } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_name_their_core_to_those_who_have_the_key() {
        let mask = Mask::new([7; 16], 4);
        for core in 0..4 {
            let mut ids = Ids::new(mask.clone(), core);
            let mut last = std::collections::BTreeSet::new();
            for _ in 0..100 {
                let id = ids.generate_cid();
                assert_eq!(mask.core(&id), Some(core));
                assert!(ids.validate(&id).is_ok());
                last.insert(id[RANDOM]);
            }
            assert!(last.len() > 20, "the octet of the core says nothing by itself");
        }
        let other = Mask::new([8; 16], 4);
        let mut ids = Ids::new(mask, 1);
        let known = (0..1000).filter(|_| other.core(&ids.generate_cid()).is_some()).count();
        assert!(known < 100, "under another key few are anything: {known}");
        assert_eq!(other.core(&[0; 7]), None);
        assert_eq!(other.core(&[0; 9]), None);
    }

    #[test]
    fn the_id_of_a_first_packet_says_nothing() {
        let id = [1, 2, 3, 4, 5, 6, 7, 8];
        let short = [&[0x40][..], &id, &[9; 20]].concat();
        assert_eq!(destination(&short), Some(&id[..]));
        let long = |kind: u8, len: u8| [&[kind, 0, 0, 0, 1, len][..], &id, &[0; 9]].concat();
        assert_eq!(destination(&long(0xe0, 8)), Some(&id[..]));
        for other in [long(0xc0, 8), long(0xd0, 8), long(0xf0, 8), long(0xe0, 7)] {
            assert_eq!(destination(&other), None);
        }
        for cut in 0..9 {
            assert_eq!(destination(&short[..cut]), None);
        }
    }
}
