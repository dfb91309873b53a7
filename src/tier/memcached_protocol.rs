//! Pure: memcached's text protocol with its meta commands, as far as a tier needs it: requests to
//! octets, octets to replies. Replies come in the order of the requests.
//!
//! Keys are ours (`codec::Address`): printable, and far below the protocol's 250 octets.

use super::codec::VALUE_MAX;

/// A line that is longer is none of this protocol.
const LINE_MAX: usize = 2048;
/// A value that is longer is not waited for; the connection is given up. A shorter one that is
/// still longer than ours is read and dropped.
const DROPPED_MAX: usize = 2 << 20;
/// The most octets of an answer of many lines.
const LINES_MAX: usize = 64 << 10;
/// The most nodes that are read of a discovery.
const NODES_MAX: usize = 1000;

/// What is asked of a node.
#[derive(Clone, Copy, Debug)]
pub enum Request<'a> {
    /// A value and the seconds that are left of its lifetime.
    Get { key: &'a str },
    /// Puts a value in the place of whatever is there, for so many seconds; at least one, because
    /// none means for ever.
    Set { key: &'a str, ttl: u32, value: &'a [u8] },
    /// Takes a lock for so many seconds, unless it is taken.
    Lock { key: &'a str, ttl: u32 },
    /// The longest value that is taken, among much else.
    Settings,
    /// The nodes of the cluster, as ElastiCache's configuration endpoint tells them.
    Cluster,
    /// Whether the node is there.
    Alive,
}

impl Request<'_> {
    /// Writes the request.
    pub fn write(&self, out: &mut Vec<u8>) {
        match *self {
            Self::Get { key } => words(out, &["mg", key, "v", "t"]),
            Self::Set { key, ttl, value } => {
                let (len, ttl) = (value.len().to_string(), format!("T{}", ttl.max(1)));
                words(out, &["ms", key, &len, &ttl]);
                out.extend_from_slice(value);
                out.extend_from_slice(b"\r\n");
            }
            // The node makes an empty item for the first who asks, and tells the others so.
            Self::Lock { key, ttl } => words(out, &["mg", key, &format!("N{}", ttl.max(1)), "t"]),
            Self::Settings => words(out, &["stats", "settings"]),
            Self::Cluster => words(out, &["config", "get", "cluster"]),
            Self::Alive => words(out, &["mn"]),
        }
    }
}

fn words(out: &mut Vec<u8>, all: &[&str]) {
    out.extend_from_slice(all.join(" ").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Writes the first request of a connection to a node that wants a name and a password in text
/// (`memcached -Y`); it is answered with [`Reply::Stored`].
pub fn write_authentication(out: &mut Vec<u8>, user: &str, password: &str) {
    let token = format!("{user} {password}");
    words(out, &["set", "auth", "0", "0", &token.len().to_string()]);
    out.extend_from_slice(token.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// What a node answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A value, and the seconds left; `None` where it has no lifetime.
    Value {
        octets: Vec<u8>,
        left: Option<u32>,
    },
    /// There is a value, and it is longer than any of ours.
    Oversized,
    Absent,
    Stored,
    /// It was not stored, by a condition of the request.
    NotStored,
    /// The lock is ours.
    Won,
    /// Another edge has the lock.
    Lost,
    Alive,
    Settings(Settings),
    Cluster(Discovered),
    /// The node has no room.
    Full,
    /// The value is longer than the node takes.
    TooLarge,
    /// The node does not let us in.
    Denied,
    /// It does not know the request, or refuses it for another reason.
    Refused(String),
}

/// What is wanted of a node's settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// The longest item, in octets, key and bookkeeping included.
    pub item_size_max: Option<u64>,
}

/// The nodes that a configuration endpoint tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Discovered {
    /// Rises with each change.
    pub version: u64,
    pub nodes: Vec<DiscoveredNode>,
}

/// A node of a cluster: its name, its address (may be empty), its port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiscoveredNode {
    pub host: String,
    pub address: String,
    pub port: u16,
}

/// These octets are none of this protocol: nothing behind them can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotSpoken;

/// Reads one reply and tells how many octets it took; `None` while it has not all come.
pub fn read(octets: &[u8]) -> Result<Option<(Reply, usize)>, NotSpoken> {
    let Some((line, at)) = line(octets)? else { return Ok(None) };
    let mut words = line.split(|octet| *octet == b' ').filter(|word| !word.is_empty());
    let name = words.next().ok_or(NotSpoken)?;
    let reply = match name {
        b"VA" => {
            let len = number(words.next().unwrap_or_default()).ok_or(NotSpoken)?;
            return value(octets, at, len, words);
        }
        b"STAT" => return settings(octets),
        b"CONFIG" => {
            let len = words.nth(2).and_then(number).ok_or(NotSpoken)?;
            return cluster(octets, at, len);
        }
        b"HD" => flagged(words),
        b"EN" => Reply::Absent,
        b"STORED" => Reply::Stored,
        b"NS" | b"NOT_STORED" => Reply::NotStored,
        b"MN" => Reply::Alive,
        // An endpoint that tells no nodes; statistics without one.
        b"END" => Reply::Absent,
        b"SERVER_ERROR" | b"CLIENT_ERROR" | b"ERROR" => refusal(line),
        _ => return Err(NotSpoken),
    };
    Ok(Some((reply, at)))
}

// The first line, and where what follows begins.
fn line(octets: &[u8]) -> Result<Option<(&[u8], usize)>, NotSpoken> {
    match memchr::memchr(b'\n', octets) {
        Some(end) if end <= LINE_MAX => {
            let line = octets[..end].strip_suffix(b"\r").ok_or(NotSpoken)?;
            Ok(Some((line, end + 1)))
        }
        None if octets.len() <= LINE_MAX => Ok(None),
        _ => Err(NotSpoken),
    }
}

fn number(word: &[u8]) -> Option<usize> {
    let is_one = !word.is_empty() && word.len() <= 10 && word.iter().all(u8::is_ascii_digit);
    is_one.then_some(())?;
    std::str::from_utf8(word).ok()?.parse().ok()
}

fn flagged<'w>(mut flags: impl Iterator<Item = &'w [u8]>) -> Reply {
    match flags.find(|flag| matches!(*flag, b"W" | b"Z")) {
        Some(b"W") => Reply::Won,
        Some(_) => Reply::Lost,
        None => Reply::Stored,
    }
}

fn value<'w>(
    octets: &[u8],
    at: usize,
    len: usize,
    mut flags: impl Iterator<Item = &'w [u8]>,
) -> Result<Option<(Reply, usize)>, NotSpoken> {
    if len > DROPPED_MAX {
        return Err(NotSpoken);
    }
    let Some(body) = octets.get(at..at + len + 2) else { return Ok(None) };
    let value = body.strip_suffix(b"\r\n").ok_or(NotSpoken)?;
    // `t-1`: for ever.
    let left = flags
        .find_map(|flag| flag.strip_prefix(b"t"))
        .and_then(number)
        .and_then(|left| u32::try_from(left).ok());
    let reply = if len > VALUE_MAX {
        Reply::Oversized
    } else {
        Reply::Value { octets: value.to_vec(), left }
    };
    Ok(Some((reply, at + len + 2)))
}

// `STAT name value` lines, and `END`.
fn settings(octets: &[u8]) -> Result<Option<(Reply, usize)>, NotSpoken> {
    let (mut at, mut found) = (0, Settings::default());
    while at <= LINES_MAX {
        let Some((said, len)) = line(&octets[at..])? else { return Ok(None) };
        at += len;
        if said == b"END" {
            return Ok(Some((Reply::Settings(found), at)));
        }
        if let Some(size) = said.strip_prefix(b"STAT item_size_max ") {
            found.item_size_max = number(size).map(|size| size as u64);
        }
    }
    Err(NotSpoken)
}

// `CONFIG cluster 0 LEN`, then a version, a line of `host|address|port`, and `END`.
fn cluster(octets: &[u8], at: usize, len: usize) -> Result<Option<(Reply, usize)>, NotSpoken> {
    if len > LINES_MAX {
        return Err(NotSpoken);
    }
    let Some(body) = octets.get(at..at + len) else { return Ok(None) };
    let rest = &octets[at + len..];
    let end = b"\r\nEND\r\n";
    let Some(found) = rest.get(..end.len()) else {
        return if end.starts_with(rest) { Ok(None) } else { Err(NotSpoken) };
    };
    if found != end {
        return Err(NotSpoken);
    }
    let discovered = discovered(body).ok_or(NotSpoken)?;
    Ok(Some((Reply::Cluster(discovered), at + len + end.len())))
}

fn discovered(body: &[u8]) -> Option<Discovered> {
    let mut lines = std::str::from_utf8(body).ok()?.lines().map(str::trim);
    let version = lines.next()?.parse().ok()?;
    let entries = lines.next().unwrap_or_default().split_ascii_whitespace().take(NODES_MAX);
    let nodes = entries.map(discovered_node).collect::<Option<Vec<_>>>()?;
    Some(Discovered { version, nodes })
}

fn discovered_node(entry: &str) -> Option<DiscoveredNode> {
    let mut parts = entry.split('|');
    let (host, address, port) = (parts.next()?, parts.next()?, parts.next()?);
    let is_whole = parts.next().is_none() && !(host.is_empty() && address.is_empty());
    let port = port.parse().ok().filter(|port| *port != 0)?;
    is_whole.then(|| DiscoveredNode { host: host.into(), address: address.into(), port })
}

fn refusal(line: &[u8]) -> Reply {
    let text = String::from_utf8_lossy(line);
    if text.contains("too large") {
        Reply::TooLarge
    } else if text.contains("out of memory") {
        Reply::Full
    } else if text.contains("auth") {
        Reply::Denied
    } else {
        Reply::Refused(text.into_owned())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn written(request: Request<'_>) -> String {
        let mut out = Vec::new();
        request.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn requests_are_written() {
        let table = [
            (Request::Get { key: "k" }, "mg k v t\r\n"),
            (Request::Set { key: "k", ttl: 60, value: b"v\r\nw" }, "ms k 4 T60\r\nv\r\nw\r\n"),
            (Request::Set { key: "k", ttl: 0, value: b"" }, "ms k 0 T1\r\n\r\n"),
            (Request::Lock { key: "k", ttl: 5 }, "mg k N5 t\r\n"),
            (Request::Settings, "stats settings\r\n"),
            (Request::Cluster, "config get cluster\r\n"),
            (Request::Alive, "mn\r\n"),
        ];
        for (request, text) in table {
            assert_eq!(written(request), text);
        }
        let mut out = Vec::new();
        write_authentication(&mut out, "edge", "secret");
        assert_eq!(out, b"set auth 0 0 11\r\nedge secret\r\n");
    }

    fn value(octets: &[u8], left: Option<u32>) -> Reply {
        Reply::Value { octets: octets.to_vec(), left }
    }

    fn told(version: u64, nodes: &[(&str, &str, u16)]) -> Reply {
        let nodes = nodes
            .iter()
            .map(|(host, address, port)| DiscoveredNode {
                host: (*host).into(),
                address: (*address).into(),
                port: *port,
            })
            .collect();
        Reply::Cluster(Discovered { version, nodes })
    }

    fn table() -> Vec<(&'static [u8], Reply)> {
        vec![
            (b"VA 5 t60\r\nhello\r\n", value(b"hello", Some(60))),
            (b"VA 4 s4 t0 f0\r\n\r\nVA\r\n", value(b"\r\nVA", Some(0))),
            (b"VA 0 t-1\r\n\r\n", value(b"", None)),
            (b"EN\r\n", Reply::Absent),
            (b"HD\r\n", Reply::Stored),
            (b"HD t5 W\r\n", Reply::Won),
            (b"HD t5 Z\r\n", Reply::Lost),
            (b"NS\r\n", Reply::NotStored),
            (b"MN\r\n", Reply::Alive),
            (b"STORED\r\n", Reply::Stored),
            (b"END\r\n", Reply::Absent),
            (b"SERVER_ERROR object too large for cache\r\n", Reply::TooLarge),
            (b"SERVER_ERROR out of memory storing object\r\n", Reply::Full),
            (b"CLIENT_ERROR unauthenticated\r\n", Reply::Denied),
            (b"CLIENT_ERROR authentication failure\r\n", Reply::Denied),
            (b"ERROR\r\n", Reply::Refused("ERROR".into())),
            (
                b"STAT maxbytes 67108864\r\nSTAT item_size_max 1048576\r\nEND\r\n",
                Reply::Settings(Settings { item_size_max: Some(1 << 20) }),
            ),
            (
                b"CONFIG cluster 0 29\r\n12\na|10.0.0.1|11211 b||11212\n\r\nEND\r\n",
                told(12, &[("a", "10.0.0.1", 11_211), ("b", "", 11_212)]),
            ),
        ]
    }

    #[test]
    fn replies_are_read_when_they_have_come_and_not_before() {
        for (octets, reply) in table() {
            let shown = String::from_utf8_lossy(octets);
            // What follows is the next reply's.
            let followed = [octets, b"MN\r\n"].concat();
            assert_eq!(read(&followed), Ok(Some((reply, octets.len()))), "{shown}");
            for cut in 0..octets.len() {
                assert_eq!(read(&octets[..cut]), Ok(None), "{shown} {cut}");
            }
        }
    }

    #[test]
    fn what_is_not_spoken_ends_a_connection() {
        let long = [&b"ERROR "[..], &[b'x'; LINE_MAX], b"\r\n"].concat();
        let table: [&[u8]; 12] = [
            b"VALUE k 0 5\r\nhello\r\n",
            b"\r\n",
            b" \r\n",
            b"HD\n",
            b"VA\r\n",
            b"VA x\r\n",
            b"VA -1\r\n",
            b"VA 5\r\nhello!!",
            b"VA 99999999999999999999\r\n",
            b"VA 2097153 t1\r\n",
            b"CONFIG cluster 0 4\r\n12\n!\r\nENDE\r\n",
            &long,
        ];
        for octets in table {
            assert_eq!(read(octets), Err(NotSpoken), "{}", String::from_utf8_lossy(octets));
        }
        for body in
            [&b""[..], b"x\na|b|1\n", b"1\na|b\n", b"1\n||5\n", b"1\na|b|0\n", b"1\na|b|c|1\n"]
        {
            let head = format!("CONFIG cluster 0 {}\r\n", body.len());
            let octets = [head.as_bytes(), body, b"\r\nEND\r\n"].concat();
            assert_eq!(read(&octets), Err(NotSpoken), "{}", String::from_utf8_lossy(body));
        }
    }

    #[test]
    fn a_value_longer_than_ours_is_dropped_and_the_connection_goes_on() {
        let octets =
            [format!("VA {} t9\r\n", VALUE_MAX + 1).as_bytes(), &[0; VALUE_MAX + 1], b"\r\n"]
                .concat();
        assert_eq!(read(&octets), Ok(Some((Reply::Oversized, octets.len()))));
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&octets);
        }

        #[test]
        fn near_misses_never_panic(which in 0..18usize, at in 0..70usize, octet in any::<u8>()) {
            let mut octets = table()[which].0.to_vec();
            let at = at % octets.len();
            octets[at] = octet;
            if let Ok(Some((_, taken))) = read(&octets) {
                prop_assert!(taken <= octets.len());
            }
        }

        #[test]
        fn any_value_comes_back(
            octets in proptest::collection::vec(any::<u8>(), 0..500), left in 0u32..99,
        ) {
            let head = format!("VA {} t{left}\r\n", octets.len());
            let said = [head.as_bytes(), &octets, b"\r\n"].concat();
            prop_assert_eq!(read(&said), Ok(Some((value(&octets, Some(left)), said.len()))));
        }
    }
}
