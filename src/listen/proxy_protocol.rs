//! The PROXY protocol, versions 1 and 2, from networks that are trusted to speak it.
//!
//! A trusted peer must send the header; a stranger's is never looked for. Parsing is pure; reading
//! takes exactly the header's octets from the socket and not one more.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

const V2: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
const V1_MAX: usize = 107;
/// TLVs included; longer ones are refused.
const V2_MAX: usize = 4096;

/// What a header says: the viewer's address and the one it connected to; `None` for health checks
/// (LOCAL, UNKNOWN).
pub type Said = Option<(SocketAddr, SocketAddr)>;

/// Reads a header off the front of a connection.
pub async fn read(tcp: &mut TcpStream) -> io::Result<Said> {
    let mut first = [0; 12];
    tcp.read_exact(&mut first).await?;
    if first == *V2 {
        let mut rest = [0; 4];
        tcp.read_exact(&mut rest).await?;
        let len = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
        if len > V2_MAX {
            return Err(bad("PROXY v2 header too long"));
        }
        let mut addresses = vec![0; len];
        tcp.read_exact(&mut addresses).await?;
        return parse_v2(rest[0], rest[1], &addresses).ok_or_else(|| bad("bad PROXY v2 header"));
    }
    let mut line = first.to_vec();
    if !line.starts_with(b"PROXY ") {
        return Err(bad("no PROXY header from a network that must send one"));
    }
    while !line.ends_with(b"\r\n") {
        if line.len() >= V1_MAX {
            return Err(bad("PROXY v1 header too long"));
        }
        line.push(tcp.read_u8().await?);
    }
    parse_v1(&line).ok_or_else(|| bad("bad PROXY v1 header"))
}

fn bad(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// Parses a version 1 line, CRLF included. The outer `None` means malformed.
pub fn parse_v1(line: &[u8]) -> Option<Said> {
    let text = std::str::from_utf8(line).ok()?.strip_suffix("\r\n")?;
    let mut words = text.split(' ');
    (words.next()? == "PROXY").then_some(())?;
    let family = words.next()?;
    if family == "UNKNOWN" {
        return Some(None);
    }
    let (source, target): (IpAddr, IpAddr) =
        (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let (from, to): (u16, u16) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    let fits = match family {
        "TCP4" => source.is_ipv4() && target.is_ipv4(),
        "TCP6" => source.is_ipv6() && target.is_ipv6(),
        _ => false,
    };
    (fits && words.next().is_none())
        .then_some(Some((SocketAddr::new(source, from), SocketAddr::new(target, to))))
}

/// Parses a version 2 header behind its signature. The outer `None` means malformed.
pub fn parse_v2(version_command: u8, family: u8, bytes: &[u8]) -> Option<Said> {
    if version_command >> 4 != 2 {
        return None;
    }
    match version_command & 15 {
        0 => return Some(None),
        1 => {}
        _ => return None,
    }
    let port = |at: usize| Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
    match family {
        0x11 => {
            let v4 =
                |at: usize| Some(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?));
            Some(Some((
                SocketAddr::new(v4(0)?.into(), port(8)?),
                SocketAddr::new(v4(4)?.into(), port(10)?),
            )))
        }
        0x21 => {
            let v6 = |at: usize| {
                Some(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?))
            };
            Some(Some((
                SocketAddr::new(v6(0)?.into(), port(32)?),
                SocketAddr::new(v6(16)?.into(), port(34)?),
            )))
        }
        0x00 => Some(None),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn version_1() {
        let said = parse_v1(b"PROXY TCP4 192.0.2.1 198.51.100.2 5000 443\r\n").unwrap().unwrap();
        assert_eq!(said, ("192.0.2.1:5000".parse().unwrap(), "198.51.100.2:443".parse().unwrap()));
        assert_eq!(parse_v1(b"PROXY UNKNOWN\r\n"), Some(None));
        for bad in [
            "PROXY TCP6 1.2.3.4 1.2.3.4 1 2\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2 3\r\n",
            "PROXY TCP4 1.2.3.4 1.2.3.4 1 2\n",
            "GET / HTTP/1.1\r\n",
        ] {
            assert_eq!(parse_v1(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn version_2() {
        let bytes = [192, 0, 2, 1, 198, 51, 100, 2, 0x13, 0x88, 1, 0xBB, 9, 9];
        assert_eq!(
            parse_v2(0x21, 0x11, &bytes).unwrap().unwrap().0,
            "192.0.2.1:5000".parse().unwrap()
        );
        assert_eq!(parse_v2(0x20, 0x11, &[]), Some(None));
        assert_eq!(parse_v2(0x21, 0x11, &bytes[..11]), None);
        assert_eq!(parse_v2(0x11, 0x11, &bytes), None);
        let mut v6 = [0u8; 36];
        v6[15] = 1;
        v6[33] = 80;
        assert_eq!(parse_v2(0x21, 0x21, &v6).unwrap().unwrap().0, "[::1]:80".parse().unwrap());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(a in any::<u8>(), b in any::<u8>(), bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_v2(a, b, &bytes);
            let _ = parse_v1(&bytes);
        }
    }
}
