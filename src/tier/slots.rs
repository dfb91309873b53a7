//! Pure: which node of a Redis Cluster a key lies on: its slot, and the map of slots that a node
//! tells by `CLUSTER NODES`.

use crate::distribution::tier::{Tier, TierNode};

/// How many slots a cluster has.
pub const SLOTS: u16 = 16_384;
/// The most nodes that are read of an answer.
const NODES_MAX: usize = 1000;

/// The slot of a key: CRC-16 of its hash tag, or of all of it where it has none.
pub fn slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key)) % SLOTS
}

fn hash_tag(key: &[u8]) -> &[u8] {
    let Some(open) = memchr::memchr(b'{', key) else { return key };
    match memchr::memchr(b'}', &key[open + 1..]) {
        Some(len) if len > 0 => &key[open + 1..open + 1 + len],
        _ => key,
    }
}

// CRC-16 as XMODEM has it, bit by bit: keys are short, and their tags shorter.
fn crc16(octets: &[u8]) -> u16 {
    octets.iter().fold(0u16, |crc, octet| {
        (0..8).fold(crc ^ (u16::from(*octet) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    })
}

/// A node's address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeAddress {
    pub host: String,
    pub port: u16,
}

impl std::fmt::Display for NodeAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') && !self.host.starts_with('[') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl NodeAddress {
    /// Those that a tier is configured with.
    pub fn all_of(tier: &Tier) -> Vec<Self> {
        let of = |node: &TierNode| Self { host: node.host.clone(), port: node.port };
        tier.nodes.iter().map(of).collect()
    }

    /// Reads `host:port`; `from` is whom it was asked of: some name only their port.
    pub fn parse(text: &str, from: &Self) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = if host.is_empty() || host == "?" { from.host.as_str() } else { host };
        let port = port.parse().ok().filter(|port| *port != 0)?;
        Some(Self { host: host.trim_matches(['[', ']']).to_string(), port })
    }
}

/// Who has which slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SlotMap {
    /// The first and last slot of each range, and the index of its node; by slot.
    ranges: Vec<(u16, u16, usize)>,
    /// The nodes that have slots.
    pub nodes: Vec<NodeAddress>,
    /// The replicas of each; none for a node that a redirection named.
    replicas: Vec<Vec<NodeAddress>>,
    /// Addresses of nodes that are called by a name.
    called: Vec<(NodeAddress, NodeAddress)>,
}

/// A line about a node.
struct Told<'t> {
    id: &'t str,
    /// Of a replica: the id of its primary.
    follows: Option<&'t str>,
    address: NodeAddress,
    node: NodeAddress,
    slots: Vec<(u16, u16)>,
}

/// What a name is taken from, where a node says both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naming {
    /// The address: there is no certificate to check.
    Address,
    /// The host name, if it is told: a certificate is for a name.
    Name,
}

impl SlotMap {
    /// Reads the answer to `CLUSTER NODES`; `None` if it names no node that has slots.
    pub fn parse(text: &str, from: &NodeAddress, naming: Naming) -> Option<Self> {
        let mut map = Self::default();
        let lines = text.lines().take(NODES_MAX);
        let told: Vec<Told<'_>> = lines.filter_map(|line| read(line, from, naming)).collect();
        for one in told.iter().filter(|one| one.follows.is_none() && !one.slots.is_empty()) {
            let index = map.nodes.len();
            map.nodes.push(one.node.clone());
            let replicas = told.iter().filter(|other| other.follows == Some(one.id));
            map.replicas.push(replicas.map(|replica| replica.node.clone()).collect());
            map.ranges.extend(one.slots.iter().map(|(first, last)| (*first, *last, index)));
        }
        map.ranges.sort_unstable();
        let named = told.into_iter().filter(|one| one.address != one.node);
        map.called = named.map(|one| (one.address, one.node)).collect();
        (!map.ranges.is_empty()).then_some(map)
    }

    /// What a node is called that is told by its address. Redirections tell that even where nodes
    /// have names, unless `cluster-preferred-endpoint-type` says otherwise.
    pub fn name_of(&self, place: NodeAddress) -> NodeAddress {
        let called = self.called.iter().find(|(address, _)| *address == place);
        called.map_or(place, |(_, node)| node.clone())
    }

    /// Says whether a node has slots, or is a replica of one that has.
    pub fn has(&self, node: &NodeAddress) -> bool {
        self.nodes.contains(node) || self.replicas.iter().any(|all| all.contains(node))
    }

    /// The replicas of the node that has a slot.
    pub fn replicas(&self, slot: u16) -> &[NodeAddress] {
        let all = self.index(slot).and_then(|index| self.replicas.get(index));
        all.map_or(&[], Vec::as_slice)
    }

    /// The node that has a slot.
    pub fn node(&self, slot: u16) -> Option<&NodeAddress> {
        self.nodes.get(self.index(slot)?)
    }

    fn index(&self, slot: u16) -> Option<usize> {
        let at = self.ranges.partition_point(|(first, ..)| *first <= slot).checked_sub(1)?;
        let (_, last, node) = self.ranges[at];
        (slot <= last).then_some(node)
    }

    /// Notes what a redirection says: a node has this slot now.
    pub fn moved(&mut self, slot: u16, to: &NodeAddress) {
        let index = self.nodes.iter().position(|node| node == to).unwrap_or_else(|| {
            self.nodes.push(to.clone());
            self.nodes.len() - 1
        });
        let mut parts = vec![(slot, slot, index)];
        let around =
            self.ranges.iter().position(|(first, last, _)| (*first..=*last).contains(&slot));
        if let Some(around) = around {
            let (first, last, node) = self.ranges.remove(around);
            if first < slot {
                parts.push((first, slot - 1, node));
            }
            if slot < last {
                parts.push((slot + 1, last, node));
            }
        }
        self.ranges.extend(parts);
        self.ranges.sort_unstable();
    }
}

// `<id> <host:port@bus[,name]> <flags> <primary> <ping> <pong> <epoch> <link> <slots>…`
fn read<'t>(line: &'t str, from: &NodeAddress, naming: Naming) -> Option<Told<'t>> {
    let mut words = line.split_ascii_whitespace();
    let (id, place, flags) = (words.next()?, words.next()?, words.next()?);
    let has = |wanted: &[&str]| flags.split(',').any(|flag| wanted.contains(&flag));
    if has(&["fail", "noaddr", "handshake"]) {
        return None;
    }
    let primary = words.next()?;
    let follows = has(&["slave", "replica"]).then_some(primary);
    let (address, rest) = place.split_once('@').unwrap_or((place, ""));
    let address = NodeAddress::parse(address, from)?;
    let mut node = address.clone();
    let name = rest.split(',').nth(1).filter(|name| !name.is_empty() && !name.contains('='));
    if let (Some(name), Naming::Name) = (name, naming) {
        node.host = name.to_string();
    }
    // A slot that is on its way, `[77->-…]`, is answered for by the node that has it still.
    let slots = words.skip(4).filter_map(range).collect();
    Some(Told { id, follows, address, node, slots })
}

fn range(word: &str) -> Option<(u16, u16)> {
    let (first, last) = word.split_once('-').unwrap_or((word, word));
    let (first, last): (u16, u16) = (first.parse().ok()?, last.parse().ok()?);
    (first <= last && last < SLOTS).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ANSWER: &str = "\
07c37dfeb235213a872192d90877d0cd55635b91 127.0.0.1:30004@31004,hostname4 slave e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 0 1426238317239 4 connected
67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 127.0.0.1:30002@31002,hostname2 master - 0 1426238316232 2 connected 5461-10922
292f8b365bb7edb5e285caf0b7e6ddc7265d2f4f :30003@31003 master - 0 1426238318243 3 connected 10923-16383 [77->-e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca]
6ec23923021cf3ffec47632106199cb7f496ce01 127.0.0.1:30005@31005,hostname5 slave 67ed2db8d677e59ec4a4cefb06858cf2a1a89fa1 0 1426238316232 5 connected
e7d1eecce10fd6bb5eb35b9f99a514335d9ba9ca 127.0.0.1:30001@31001,hostname1 myself,master - 0 0 1 connected 0-5460
";

    fn address(text: &str) -> NodeAddress {
        let from = NodeAddress { host: "asked".into(), port: 1 };
        NodeAddress::parse(text, &from).unwrap()
    }

    // The first from the Redis Cluster specification; the others from a running server.
    #[test]
    fn slots_are_those_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12_182);
        assert_eq!(slot(b"{user1000}.following"), slot(b"{user1000}.followers"));
        assert_eq!(slot(b"f1:{foo}:m"), 12_182);
        assert_eq!(hash_tag(b"foo{}{bar}"), b"foo{}{bar}");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), b"{bar");
        assert_eq!(hash_tag(b"foo{bar}{zap}"), b"bar");
        assert_eq!(hash_tag(b"foo{bar"), b"foo{bar");
    }

    #[test]
    fn a_map_tells_who_has_a_slot() {
        let from = address("127.0.0.1:30001");
        let map = SlotMap::parse(ANSWER, &from, Naming::Address).unwrap();
        for (slot, node) in [
            (0, "127.0.0.1:30001"),
            (5460, "127.0.0.1:30001"),
            (5461, "127.0.0.1:30002"),
            (16_383, "127.0.0.1:30003"),
        ] {
            assert_eq!(map.node(slot), Some(&address(node)), "{slot}");
        }
        let named = SlotMap::parse(ANSWER, &from, Naming::Name).unwrap();
        assert_eq!(named.node(0), Some(&address("hostname1:30001")));
        assert_eq!(named.node(16_383), Some(&address("127.0.0.1:30003")), "it tells no name");
        for (place, node) in [
            ("127.0.0.1:30002", "hostname2:30002"),
            ("127.0.0.1:30004", "hostname4:30004"),
            ("127.0.0.1:30003", "127.0.0.1:30003"),
            ("127.0.0.1:30009", "127.0.0.1:30009"),
        ] {
            assert_eq!(named.name_of(address(place)), address(node), "as redirections tell it");
            assert_eq!(map.name_of(address(place)), address(place));
        }
        for bad in ["", "OK", "a b c", "id 127.0.0.1:1@2 master - 0 0 1 connected 7-99999"] {
            assert_eq!(SlotMap::parse(bad, &from, Naming::Address), None, "{bad}");
        }
        let failing = ANSWER.replace("myself,master", "master,fail");
        let map = SlotMap::parse(&failing, &from, Naming::Address).unwrap();
        assert_eq!(map.node(0), None);
        assert!(map.replicas(0).is_empty());
    }

    #[test]
    fn a_map_tells_the_replicas_of_a_slot() {
        let from = address("127.0.0.1:30001");
        let mut map = SlotMap::parse(ANSWER, &from, Naming::Address).unwrap();
        assert_eq!(map.replicas(5460), [address("127.0.0.1:30004")]);
        assert_eq!(map.replicas(5461), [address("127.0.0.1:30005")]);
        assert!(map.replicas(16_383).is_empty());
        assert!(map.has(&address("127.0.0.1:30005")) && map.has(&address("127.0.0.1:30001")));
        assert!(!map.has(&address("127.0.0.1:30006")));
        // The new node of a slot is not known to have any.
        map.moved(0, &address("127.0.0.1:30006"));
        assert!(map.replicas(0).is_empty());
        assert_eq!(map.replicas(1), [address("127.0.0.1:30004")]);
        let failing = ANSWER.replace("hostname4 slave", "hostname4 slave,fail");
        let map = SlotMap::parse(&failing, &from, Naming::Address).unwrap();
        assert!(map.replicas(0).is_empty());
    }

    #[test]
    fn addresses_are_shown_as_they_are_read() {
        for text in ["127.0.0.1:30001", "cache-1.internal:6379", "[::1]:6379"] {
            assert_eq!(address(text).to_string(), text);
        }
        assert_eq!(address(":7000").to_string(), "asked:7000");
        let from = address("a:1");
        for bad in ["", "a", "a:", "a:x", "a:0", "a:70000"] {
            assert_eq!(NodeAddress::parse(bad, &from), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_redirection_changes_one_slot(
            moves in proptest::collection::vec((0..SLOTS, 0u16..4), 1..40),
        ) {
            let from = address("127.0.0.1:30001");
            let mut map = SlotMap::parse(ANSWER, &from, Naming::Address).unwrap();
            for (moved, to) in moves {
                let to = NodeAddress { host: "127.0.0.1".into(), port: 30_001 + to };
                let before = map.clone();
                map.moved(moved, &to);
                prop_assert_eq!(map.node(moved), Some(&to));
                for slot in (0..SLOTS).step_by(97).chain([moved.saturating_sub(1), moved + 1]) {
                    if slot != moved {
                        prop_assert_eq!(map.node(slot), before.node(slot), "{}", slot);
                    }
                }
            }
        }

        #[test]
        fn arbitrary_text_never_panics(text in ".{0,200}") {
            let from = address("a:1");
            let _ = SlotMap::parse(&text, &from, Naming::Name);
            let _ = slot(text.as_bytes());
        }
    }
}
