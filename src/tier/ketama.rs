//! Pure: which memcached node a key lies on, as the common clients have it: ketama with MD5, 160
//! points for each node, four of one digest. It is what libmemcached calls weighted ketama (with
//! equal weights), and spymemcached its ketama locator in libmemcached's format.
//!
//! A node that is away gives each of its keys to the next point of another node, and no other
//! key moves; when it is back it has its keys again.

use md5::{Digest, Md5};

/// The port that names do not mention.
const DEFAULT_PORT: u16 = 11211;
/// Digests of each node, and points of each digest.
const DIGESTS: u32 = 40;
const POINTS: usize = 4;

/// The nodes around a circle of 2^32 places.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ring {
    /// Place and index of the node, by place.
    points: Vec<(u32, usize)>,
}

impl Ring {
    /// A ring of these nodes, by host and port as they are configured or discovered.
    pub fn new<'n>(nodes: impl IntoIterator<Item = (&'n str, u16)>) -> Self {
        let mut points = Vec::new();
        for (index, (host, port)) in nodes.into_iter().enumerate() {
            for digest in 0..DIGESTS {
                let name = if port == DEFAULT_PORT {
                    format!("{host}-{digest}")
                } else {
                    format!("{host}:{port}-{digest}")
                };
                let octets = Md5::digest(name.as_bytes());
                points.extend((0..POINTS).map(|at| (place(&octets[at * 4..]), index)));
            }
        }
        points.sort_unstable();
        Self { points }
    }

    /// The node that a key lies on, among those that are there. `None` if none is.
    pub fn find(&self, key: &[u8], is_there: impl Fn(usize) -> bool) -> Option<usize> {
        let hash = place(&Md5::digest(key));
        let first = self.points.partition_point(|(place, _)| *place < hash);
        let (before, after) = self.points.split_at(first);
        after.iter().chain(before).map(|(_, node)| *node).find(|node| is_there(*node))
    }
}

fn place(octets: &[u8]) -> u32 {
    octets.first_chunk().map_or(0, |first: &[u8; 4]| u32::from_le_bytes(*first))
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::digest;

    use super::*;

    fn ring(nodes: usize) -> Ring {
        Ring::new((0..nodes).map(|at| ("127.0.0.1", 21_301 + at as u16)))
    }

    // What libmemcached 1.0.16 asked five servers on these ports for, with weighted ketama: the
    // first keys by name, and the SHA-256 of the servers of 10,000.
    #[test]
    fn keys_lie_where_libmemcached_puts_them() {
        let ring = ring(5);
        let found: Vec<u8> = (0..10_000)
            .map(|at| ring.find(format!("k{at}").as_bytes(), |_| true).unwrap() as u8)
            .collect();
        assert_eq!(found[..20], [2u8, 2, 4, 4, 3, 0, 3, 2, 2, 3, 2, 4, 0, 4, 0, 1, 4, 3, 1, 4]);
        let digest = digest::digest(&digest::SHA256, &found);
        let hex: String = digest.as_ref().iter().map(|octet| format!("{octet:02x}")).collect();
        assert_eq!(hex, "ae4ab79cd533d8d307693902e5bb346c9dabb41457905145a3989974ebc192ea");
    }

    #[test]
    fn only_the_keys_of_a_node_that_left_move() {
        let ring = ring(5);
        for at in 0..2000 {
            let key = format!("k{at}");
            let home = ring.find(key.as_bytes(), |_| true).unwrap();
            let without = |away: usize| ring.find(key.as_bytes(), |node| node != away).unwrap();
            for away in 0..5 {
                assert_eq!(without(away) == home, away != home, "{key} without {away}");
            }
        }
        assert_eq!(ring.find(b"k", |_| false), None);
        assert_eq!(Ring::default().find(b"k", |_| true), None);
    }

    #[test]
    fn a_node_that_joins_takes_its_share_and_moves_nothing_else() {
        let (five, six) = (ring(5), ring(6));
        let mut moved = 0;
        for at in 0..6000 {
            let key = format!("k{at}");
            let (before, after) =
                (five.find(key.as_bytes(), |_| true), six.find(key.as_bytes(), |_| true));
            assert!(after == before || after == Some(5), "{key}");
            moved += usize::from(after != before);
        }
        assert!((700..1400).contains(&moved), "{moved}");
    }

    #[test]
    fn the_usual_port_is_not_part_of_a_name() {
        let named = Ring::new([("cache-1", DEFAULT_PORT)]);
        assert_eq!(named.points.len(), 160);
        assert_eq!(named, Ring::new([("cache-1", 11_211)]));
        assert_ne!(named, Ring::new([("cache-1", 11_212)]));
    }
}
