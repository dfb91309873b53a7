//! Pure: what kind of client a ClientHello comes from, by its JA3 and JA4 fingerprints, from its
//! octets alone.
//!
//! A hello that cannot be read has none; whether it is acceptable is rustls's to say, not ours.

use aws_lc_rs::digest::{SHA256, digest};
use md5::{Digest, Md5};

use crate::crypto::sigv4::hex;
use crate::message::connection::Fingerprints;

/// What of a ClientHello the fingerprints are made of.
#[derive(Default)]
struct Hello {
    version: u16,
    ciphers: Vec<u16>,
    extensions: Vec<u16>,
    groups: Vec<u16>,
    point_formats: Vec<u8>,
    signature_schemes: Vec<u16>,
    versions: Vec<u16>,
    /// The first protocol offered.
    alpn: Option<Vec<u8>>,
}

/// Reads TLS records as they came, up to the end of the ClientHello at least.
pub fn of_records(records: &[u8]) -> Option<Fingerprints> {
    let hello = Hello::read(&handshake(records)?)?;
    Some(Fingerprints { ja3: hex(&Md5::digest(hello.ja3_text().as_bytes())), ja4: hello.ja4() })
}

// The content of records of the handshake, joined (RFC 8446 §5.1).
fn handshake(mut records: &[u8]) -> Option<Vec<u8>> {
    let mut all = Vec::new();
    while let [22, _, _, high, low, rest @ ..] = records {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        all.extend_from_slice(rest.get(..len)?);
        records = &rest[len..];
    }
    Some(all)
}

/// Octets that are taken from the front.
struct Octets<'o>(&'o [u8]);

impl<'o> Octets<'o> {
    fn take(&mut self, len: usize) -> Option<&'o [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    fn number(&mut self, octets: usize) -> Option<usize> {
        Some(self.take(octets)?.iter().fold(0, |number, octet| number << 8 | usize::from(*octet)))
    }

    // What a length of so many octets announces.
    fn vector(&mut self, octets: usize) -> Option<Octets<'o>> {
        let len = self.number(octets)?;
        self.take(len).map(Octets)
    }

    fn pairs(&self) -> Vec<u16> {
        self.0
            .chunks_exact(2)
            .map(|pair| u16::from_be_bytes([pair[0], pair[1]]))
            .filter(|value| !is_grease(*value))
            .collect()
    }
}

// Values that clients make up so that no server relies on their absence (RFC 8701).
const fn is_grease(value: u16) -> bool {
    value & 0x0f0f == 0x0a0a && value >> 8 == value & 0xff
}

impl Hello {
    // RFC 8446 §4.1.2.
    fn read(message: &[u8]) -> Option<Self> {
        let mut message = Octets(message);
        if message.number(1)? != 1 {
            return None;
        }
        let mut body = message.vector(3)?;
        let mut hello = Self { version: body.number(2)? as u16, ..Self::default() };
        body.take(32)?;
        body.vector(1)?;
        hello.ciphers = body.vector(2)?.pairs();
        body.vector(1)?;
        if body.0.is_empty() {
            return Some(hello);
        }
        let mut extensions = body.vector(2)?;
        while !extensions.0.is_empty() {
            let kind = extensions.number(2)? as u16;
            let content = extensions.vector(2)?;
            if !is_grease(kind) {
                hello.extensions.push(kind);
                hello.extension(kind, content)?;
            }
        }
        Some(hello)
    }

    fn extension(&mut self, kind: u16, mut content: Octets<'_>) -> Option<()> {
        match kind {
            10 => self.groups = content.vector(2)?.pairs(),
            11 => self.point_formats = content.vector(1)?.0.to_vec(),
            13 => self.signature_schemes = content.vector(2)?.pairs(),
            16 => self.alpn = content.vector(2)?.vector(1).map(|name| name.0.to_vec()),
            43 => self.versions = content.vector(1)?.pairs(),
            _ => {}
        }
        Some(())
    }

    // Version, ciphers, extensions, groups, point formats, each in the order they came.
    fn ja3_text(&self) -> String {
        let joined = |all: &[u16]| all.iter().map(u16::to_string).collect::<Vec<_>>().join("-");
        let formats: Vec<u16> =
            self.point_formats.iter().map(|format| u16::from(*format)).collect();
        let lists =
            [&self.ciphers, &self.extensions, &self.groups, &formats].map(|list| joined(list));
        format!("{},{}", self.version, lists.join(","))
    }

    fn ja4(&self) -> String {
        let version = match self.versions.iter().max().copied().unwrap_or(self.version) {
            0x0304 => "13",
            0x0303 => "12",
            0x0302 => "11",
            0x0301 => "10",
            0x0300 => "s3",
            _ => "00",
        };
        let name = if self.extensions.contains(&0) { 'd' } else { 'i' };
        let (ciphers, extensions) = (self.ciphers.len().min(99), self.extensions.len().min(99));
        let [first, second] =
            [self.sorted_ciphers(), self.sorted_extensions()].map(|text| short(&text));
        format!("t{version}{name}{ciphers:02}{extensions:02}{}_{first}_{second}", self.alpn_ends())
    }

    fn sorted_ciphers(&self) -> String {
        let mut all = self.ciphers.clone();
        all.sort_unstable();
        hex_list(&all)
    }

    // Without names and protocols, which differ from one request to the next of the same client;
    // the schemes in their order.
    fn sorted_extensions(&self) -> String {
        let mut all: Vec<u16> =
            self.extensions.iter().copied().filter(|kind| !matches!(kind, 0 | 16)).collect();
        all.sort_unstable();
        let (list, schemes) = (hex_list(&all), hex_list(&self.signature_schemes));
        if schemes.is_empty() { list } else { format!("{list}_{schemes}") }
    }

    // First and last character of the first protocol, or of its hex digits.
    fn alpn_ends(&self) -> String {
        let Some([first, .., last] | [first @ last]) = self.alpn.as_deref() else {
            return "00".into();
        };
        if first.is_ascii_alphanumeric() && last.is_ascii_alphanumeric() {
            return [char::from(*first), char::from(*last)].iter().collect();
        }
        let digits = hex(self.alpn.as_deref().unwrap_or_default());
        [&digits[..1], &digits[digits.len() - 1..]].concat()
    }
}

fn hex_list(all: &[u16]) -> String {
    all.iter().map(|value| format!("{value:04x}")).collect::<Vec<_>>().join(",")
}

fn short(text: &str) -> String {
    if text.is_empty() {
        "0".repeat(12)
    } else {
        hex(&digest(&SHA256, text.as_bytes()).as_ref()[..6])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
        [&kind.to_be_bytes()[..], &(content.len() as u16).to_be_bytes(), content].concat()
    }

    fn pairs(all: &[u16]) -> Vec<u8> {
        let octets: Vec<u8> = all.iter().flat_map(|value| value.to_be_bytes()).collect();
        [&(octets.len() as u16).to_be_bytes()[..], &octets].concat()
    }

    fn records(version: u16, ciphers: &[u16], extensions: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([0; 32]);
        body.push(0);
        body.extend(pairs(ciphers));
        body.extend([1, 0]);
        body.extend((extensions.len() as u16).to_be_bytes());
        body.extend(extensions);
        let mut message = vec![1, 0];
        message.extend((body.len() as u16).to_be_bytes());
        message.extend(body);
        // In two records, as a long one may come.
        let (one, two) = message.split_at(40);
        [one, two]
            .iter()
            .flat_map(|part| [&[22, 3, 1][..], &(part.len() as u16).to_be_bytes(), part].concat())
            .collect()
    }

    // The example of JA3's authors.
    #[test]
    fn ja3_of_its_authors() {
        let groups = extension(10, &pairs(&[23, 24, 25]));
        let extensions = [extension(0, &[]), groups, extension(11, &[1, 0])].concat();
        let records =
            records(769, &[47, 53, 5, 10, 49161, 49162, 49171, 49172, 50, 56, 19, 4], &extensions);
        assert_eq!(of_records(&records).unwrap().ja3, "ada70206e40642a3e4461f35503241d5");
    }

    // The example of JA4's authors, with values of GREASE among the rest.
    #[test]
    fn ja4_of_its_authors() {
        let ciphers = [
            0x3a3a, 0x1301, 0x1302, 0x1303, 0xc02b, 0xc02f, 0xc02c, 0xc030, 0xcca9, 0xcca8, 0xc013,
            0xc014, 0x009c, 0x009d, 0x002f, 0x0035,
        ];
        let schemes = extension(
            13,
            &pairs(&[0x0403, 0x0804, 0x0401, 0x0503, 0x0805, 0x0501, 0x0806, 0x0601]),
        );
        let mut extensions = extension(0x1a1a, &[]);
        extensions.extend(extension(
            16,
            &[0, 12, 2, b'h', b'2', 8, b'h', b't', b't', b'p', b'/', b'1', b'.', b'1'],
        ));
        extensions.extend(extension(43, &[6, 0x2a, 0x2a, 3, 4, 3, 3]));
        for kind in [
            0x0005, 0x000a, 0x000b, 0x0000, 0x0012, 0x0015, 0x0017, 0x001b, 0x0023, 0x002d, 0x0033,
            0x4469, 0xff01,
        ] {
            let content: &[u8] = match kind {
                10 => &[0, 2, 0, 29],
                11 => &[1, 0],
                _ => &[],
            };
            extensions.extend(extension(kind, content));
        }
        extensions.extend(schemes);
        assert_eq!(
            of_records(&records(0x0303, &ciphers, &extensions)).unwrap().ja4,
            "t13d1516h2_8daaf6152771_e5627efa2ab1"
        );
    }

    #[test]
    fn what_is_missing_is_said() {
        let bare = of_records(&records(0x0303, &[], &[])).unwrap();
        assert_eq!(bare.ja4, "t12i000000_000000000000_000000000000");
        let odd = extension(16, &[0, 3, 2, 0xab, 0xcd]);
        assert!(
            of_records(&records(0x0303, &[0x1301], &odd)).unwrap().ja4.starts_with("t12i0101ad_")
        );
    }

    proptest! {
        #[test]
        fn nothing_that_comes_makes_it_fall(octets in proptest::collection::vec(any::<u8>(), 0..200), at in 0usize..200, octet in any::<u8>()) {
            let _ = of_records(&octets);
            let mut hello = records(0x0303, &[0x1301], &extension(16, &[0, 3, 2, b'h', b'2']));
            let at = at % hello.len();
            hello[at] = octet;
            let _ = of_records(&hello);
            let _ = of_records(&hello[..at]);
        }
    }
}
