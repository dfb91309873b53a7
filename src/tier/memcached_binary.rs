//! Pure: memcached's binary protocol, for nodes that want SASL: they speak nothing else.
//!
//! It has no way to ask for the time that an item has left. The item's flags say the second of the
//! node's own life at which it ends, and the node tells how old it is: its uptime, which cannot be
//! set. Numbers are in network order.

use super::codec::VALUE_MAX;
use super::memcached_protocol::{NotSpoken, Reply, Request};

const HEADER: usize = 24;
const REQUEST: u8 = 0x80;
const RESPONSE: u8 = 0x81;
/// A body that is longer is not waited for.
const BODY_MAX: usize = 2 << 20;

const GET: u8 = 0x00;
const SET: u8 = 0x01;
const ADD: u8 = 0x02;
const NOOP: u8 = 0x0a;
const STAT: u8 = 0x10;
const SASL_AUTH: u8 = 0x21;

fn packet(out: &mut Vec<u8>, opcode: u8, extras: &[u8], key: &[u8], value: &[u8]) {
    let body = extras.len() + key.len() + value.len();
    out.extend_from_slice(&[REQUEST, opcode]);
    out.extend_from_slice(&(key.len() as u16).to_be_bytes());
    out.extend_from_slice(&[extras.len() as u8, 0, 0, 0]);
    out.extend_from_slice(&(body as u32).to_be_bytes());
    out.extend_from_slice(&[0; 12]);
    out.extend_from_slice(extras);
    out.extend_from_slice(key);
    out.extend_from_slice(value);
}

/// Writes a request to a node that is `uptime` seconds old. What only the text protocol has is
/// written as a question whether the node is there.
pub fn write(request: &Request<'_>, uptime: u32, out: &mut Vec<u8>) {
    let lasting = |ttl: u32| {
        let ends = uptime.saturating_add(ttl).to_be_bytes();
        [ends, ttl.max(1).to_be_bytes()].concat()
    };
    match *request {
        Request::Get { key } => packet(out, GET, &[], key.as_bytes(), &[]),
        Request::Set { key, ttl, value } => {
            packet(out, SET, &lasting(ttl), key.as_bytes(), value);
        }
        Request::Lock { key, ttl } => packet(out, ADD, &lasting(ttl), key.as_bytes(), b"l"),
        Request::Settings | Request::Cluster | Request::Alive => packet(out, NOOP, &[], &[], &[]),
    }
}

/// Writes the first request of a connection: SASL's PLAIN. It is answered with [`Reply::Stored`].
pub fn write_authentication(out: &mut Vec<u8>, user: &str, password: &str) {
    let message = [&b"\0"[..], user.as_bytes(), b"\0", password.as_bytes()].concat();
    packet(out, SASL_AUTH, &[], b"PLAIN", &message);
}

/// Writes the question how old the node is; [`read_uptime`] reads the answer.
pub fn write_statistics(out: &mut Vec<u8>) {
    packet(out, STAT, &[], &[], &[]);
}

struct Packet<'a> {
    opcode: u8,
    status: u16,
    extras: &'a [u8],
    key: &'a [u8],
    value: &'a [u8],
    /// Octets of the whole packet.
    len: usize,
}

fn unpack(octets: &[u8]) -> Result<Option<Packet<'_>>, NotSpoken> {
    match octets.first() {
        None => return Ok(None),
        Some(&RESPONSE) => {}
        Some(_) => return Err(NotSpoken),
    }
    let Some((head, rest)) = octets.split_at_checked(HEADER) else { return Ok(None) };
    let key = usize::from(u16::from_be_bytes([head[2], head[3]]));
    let extras = usize::from(head[4]);
    let body = u32::from_be_bytes([head[8], head[9], head[10], head[11]]) as usize;
    if body > BODY_MAX || key + extras > body {
        return Err(NotSpoken);
    }
    let Some(rest) = rest.get(..body) else { return Ok(None) };
    let (extras, rest) = rest.split_at(extras);
    let (key, value) = rest.split_at(key);
    let status = u16::from_be_bytes([head[6], head[7]]);
    Ok(Some(Packet { opcode: head[1], status, extras, key, value, len: HEADER + body }))
}

/// Reads one reply of a node that is `uptime` seconds old, and tells how many octets it took;
/// `None` while it has not all come.
pub fn read(octets: &[u8], uptime: u32) -> Result<Option<(Reply, usize)>, NotSpoken> {
    let Some(packet) = unpack(octets)? else { return Ok(None) };
    let reply = match (packet.opcode, packet.status) {
        (GET, 0) => value(&packet, uptime)?,
        (SET | SASL_AUTH, 0) => Reply::Stored,
        (ADD, 0) => Reply::Won,
        (ADD, 2) => Reply::Lost,
        (NOOP, 0) => Reply::Alive,
        (_, 1) => Reply::Absent,
        (_, 2 | 5) => Reply::NotStored,
        (_, 3) => Reply::TooLarge,
        // Also a step of a handshake that PLAIN does not have.
        (_, 0x20 | 0x21) => Reply::Denied,
        (_, 0x82) => Reply::Full,
        (_, status) => Reply::Refused(format!("status {status:#x}")),
    };
    Ok(Some((reply, packet.len)))
}

fn value(packet: &Packet<'_>, uptime: u32) -> Result<Reply, NotSpoken> {
    let ends = packet.extras.try_into().map(u32::from_be_bytes).map_err(|_| NotSpoken)?;
    if packet.value.len() > VALUE_MAX {
        return Ok(Reply::Oversized);
    }
    // What is known of the node's age may lag by a second.
    let left = ends.saturating_sub(uptime.saturating_add(1));
    Ok(Reply::Value { octets: packet.value.to_vec(), left: Some(left) })
}

/// Reads the node's age in seconds out of its statistics, which come as many packets and end with
/// one without a name; `None` while they have not all come.
pub fn read_uptime(octets: &[u8]) -> Result<Option<u32>, NotSpoken> {
    let (mut at, mut uptime) = (0, None);
    while at <= BODY_MAX {
        let Some(packet) = unpack(octets.get(at..).unwrap_or_default())? else { return Ok(None) };
        if packet.opcode != STAT || packet.status != 0 {
            return Err(NotSpoken);
        }
        if packet.key.is_empty() {
            return uptime.map(Some).ok_or(NotSpoken);
        }
        if packet.key == b"uptime" {
            uptime = std::str::from_utf8(packet.value).ok().and_then(|text| text.parse().ok());
        }
        at += packet.len;
    }
    Err(NotSpoken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn answer(opcode: u8, status: u16, extras: &[u8], key: &[u8], value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        packet(&mut out, opcode, extras, key, value);
        out[0] = RESPONSE;
        out[6..8].copy_from_slice(&status.to_be_bytes());
        out
    }

    #[test]
    fn requests_are_written() {
        let mut out = Vec::new();
        write(&Request::Set { key: "key", ttl: 60, value: b"v" }, 1000, &mut out);
        let head: [u8; HEADER] =
            [0x80, 1, 0, 3, 8, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(out[..HEADER], head);
        assert_eq!(out[HEADER..], *b"\0\0\x04\x24\0\0\0\x3ckeyv");
        let mut out = Vec::new();
        write_authentication(&mut out, "edge", "secret");
        assert_eq!((out[1], out[HEADER..].to_vec()), (SASL_AUTH, b"PLAIN\0edge\0secret".to_vec()));
    }

    #[test]
    fn replies_are_read_when_they_have_come_and_not_before() {
        let value = |octets: &[u8], left| Reply::Value { octets: octets.to_vec(), left };
        let ends = 1060u32.to_be_bytes();
        let table = [
            (answer(GET, 0, &ends, b"", b"hello"), value(b"hello", Some(59))),
            (answer(GET, 0, &[0; 4], b"", b""), value(b"", Some(0))),
            (answer(GET, 0, &ends, b"", &[0; VALUE_MAX + 1]), Reply::Oversized),
            (answer(GET, 1, &[], b"", b"Not found"), Reply::Absent),
            (answer(SET, 0, &[], b"", b""), Reply::Stored),
            (answer(SET, 3, &[], b"", b"Too large"), Reply::TooLarge),
            (answer(SET, 0x82, &[], b"", b"Out of memory"), Reply::Full),
            (answer(ADD, 0, &[], b"", b""), Reply::Won),
            (answer(ADD, 2, &[], b"", b""), Reply::Lost),
            (answer(NOOP, 0, &[], b"", b""), Reply::Alive),
            (answer(SASL_AUTH, 0, &[], b"", b"Authenticated"), Reply::Stored),
            (answer(SASL_AUTH, 0x20, &[], b"", b"Auth failure"), Reply::Denied),
            (answer(GET, 0x81, &[], b"", b""), Reply::Refused("status 0x81".into())),
        ];
        for (octets, reply) in table {
            let followed = [&octets[..], &answer(NOOP, 0, &[], b"", b"")].concat();
            assert_eq!(read(&followed, 1000), Ok(Some((reply, octets.len()))));
            for cut in (0..octets.len()).take(100) {
                assert_eq!(read(&octets[..cut], 1000), Ok(None), "{cut}");
            }
        }
        assert_eq!(read(b"VA 5", 0), Err(NotSpoken));
        assert_eq!(read(&answer(GET, 0, b"xyz", b"", b""), 0), Err(NotSpoken));
    }

    #[test]
    fn the_age_of_a_node_is_among_its_statistics() {
        let stat = |key: &[u8], value: &[u8]| answer(STAT, 0, &[], key, value);
        let all = [stat(b"pid", b"7"), stat(b"uptime", b"4711"), stat(b"", b"")].concat();
        assert_eq!(read_uptime(&all), Ok(Some(4711)));
        for cut in 0..all.len() {
            assert_eq!(read_uptime(&all[..cut]), Ok(None), "{cut}");
        }
        assert_eq!(read_uptime(&stat(b"", b"")), Err(NotSpoken));
        assert_eq!(read_uptime(&answer(STAT, 0x20, &[], b"", b"")), Err(NotSpoken));
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut octets = octets;
            let _ = (read(&octets, 1), read_uptime(&octets));
            if let Some(first) = octets.first_mut() {
                *first = RESPONSE;
            }
            let _ = (read(&octets, 1), read_uptime(&octets));
        }
    }
}
