//! Pure: field sections read into a list of fields (RFC 9204 §4.5), and what a viewer's QPACK
//! streams may say where there is no dynamic table (§4.3, §4.4).

use super::table::STATIC;
use crate::listen::h2::hpack::decode::{FieldList, integer};
use crate::listen::h2::hpack::{BadBlock, huffman};

const SHORT: BadBlock = BadBlock("a field section that ends within a field");
const DYNAMIC: BadBlock = BadBlock("a field of a table that there is not");

/// Reads a whole section and adds its fields to a list.
pub fn decode(section: &[u8], list: &mut FieldList) -> Result<(), BadBlock> {
    let mut rest = section;
    if integer(&mut rest, 8)? != 0 {
        return Err(DYNAMIC);
    }
    // A base below zero (§4.5.1.2).
    if rest.first().ok_or(SHORT)? & 0x80 != 0 {
        return Err(DYNAMIC);
    }
    integer(&mut rest, 7)?;
    while let Some(first) = rest.first().copied() {
        match first {
            0xc0.. => {
                let (name, value) = entry(integer(&mut rest, 6)?)?;
                list.add(|out| {
                    out.extend_from_slice(name);
                    out.extend_from_slice(value);
                    Ok(name.len())
                })?;
            }
            0x50..=0x5f | 0x70..=0x7f => {
                let (name, _) = entry(integer(&mut rest, 4)?)?;
                list.add(|out| {
                    out.extend_from_slice(name);
                    string(&mut rest, 7, out)?;
                    Ok(name.len())
                })?;
            }
            0x20..=0x3f => list.add(|out| {
                let start = out.len();
                string(&mut rest, 3, out)?;
                let name = out.len() - start;
                string(&mut rest, 7, out)?;
                Ok(name)
            })?,
            _ => return Err(DYNAMIC),
        }
    }
    Ok(())
}

fn entry(index: usize) -> Result<(&'static [u8], &'static [u8]), BadBlock> {
    STATIC.get(index).copied().ok_or(BadBlock("a field beyond the static table"))
}

// A string whose length has so many bits in its first octet, Huffman-coded where the bit before
// says so (§4.1.2).
fn string(rest: &mut &[u8], prefix: u8, out: &mut Vec<u8>) -> Result<(), BadBlock> {
    let is_coded = rest.first().ok_or(SHORT)? & (1 << prefix) != 0;
    let len = integer(rest, prefix)?;
    let (octets, after) = rest.split_at_checked(len).ok_or(SHORT)?;
    *rest = after;
    if is_coded {
        return huffman::decode(octets, out);
    }
    out.extend_from_slice(octets);
    Ok(())
}

/// Says whether octets of a viewer's encoder stream are all right: where there is no table, all
/// that can be said is that it has no room.
pub fn is_fine_for_encoder(octets: &[u8]) -> bool {
    octets.iter().all(|octet| *octet == 0x20)
}

/// Reads a viewer's decoder stream, of which `held` is an instruction's beginning. It can say that
/// it gives a stream up, and nothing else: no section of ours is to be acknowledged.
pub fn is_fine_for_decoder(held: &mut Vec<u8>, octets: &[u8]) -> bool {
    for octet in octets {
        if held.is_empty() && octet & 0xc0 != 0x40 {
            return false;
        }
        // An integer ends with the first octet that leaves room, or says that it does.
        let is_last = if held.is_empty() { octet & 0x3f != 0x3f } else { octet & 0x80 == 0 };
        held.push(*octet);
        if is_last {
            held.clear();
        } else if held.len() > 10 {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::h2::hpack::huffman::encode as huffman_encode;
    use crate::listen::h3::qpack::encode;
    use proptest::prelude::*;

    fn read(section: &[u8]) -> Result<String, BadBlock> {
        let mut list = FieldList::default();
        list.clear(1 << 20);
        decode(section, &mut list)?;
        let lines = list.iter().map(|(name, value)| {
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn rfc9204_b1_a_literal_field_with_a_name_of_the_static_table() {
        let section = [&[0x00, 0x00, 0x51, 0x0b][..], b"/index.html"].concat();
        assert_eq!(read(&section).unwrap(), ":path: /index.html");
    }

    #[test]
    fn rfc9204_b2_and_further_refer_to_a_dynamic_table_and_are_refused() {
        for section in [
            // B.2: two fields by post-base index.
            &[0x03, 0x81, 0x10, 0x11][..],
            // B.4: an index, the static table's root path, another index.
            &[0x05, 0x00, 0x80, 0xc1, 0x81],
        ] {
            assert!(read(section).is_err(), "{section:x?}");
        }
    }

    #[test]
    fn rfc9204_4_5_each_kind_of_line() {
        assert_eq!(read(&[0, 0]).unwrap(), "");
        assert_eq!(
            read(&[0, 0, 0xc1, 0xd1, 0xd7]).unwrap(),
            ":path: /\n:method: GET\n:scheme: https"
        );
        assert_eq!(read(&[0, 0, 0xff, 35]).unwrap(), "x-frame-options: sameorigin");
        // Never to be indexed, and names of our own.
        assert_eq!(read(&[0, 0, 0x75, 1, b'x']).unwrap(), "cookie: x");
        assert_eq!(read(&[0, 0, 0x23, b'a', b'b', b'c', 1, b'd']).unwrap(), "abc: d");
        assert_eq!(read(&[0, 0, 0x31, b'a', 0]).unwrap(), "a: ");
        let mut coded = vec![0, 0];
        let (mut name, mut value) = (Vec::new(), Vec::new());
        huffman_encode(b"x-long-name", &mut name);
        huffman_encode(b"www.example.com", &mut value);
        encode::integer(&mut coded, 3, 0x28, name.len());
        coded.extend_from_slice(&name);
        encode::integer(&mut coded, 7, 0x80, value.len());
        coded.extend_from_slice(&value);
        assert_eq!(read(&coded).unwrap(), "x-long-name: www.example.com");
    }

    #[test]
    fn what_cannot_be_read_is_refused() {
        for section in [
            &[][..],
            &[0],
            &[1, 0],
            &[0, 0x80],
            &[0, 0, 0xff, 36],
            &[0, 0, 0x80],
            &[0, 0, 0x40, 1, b'x'],
            &[0, 0, 0x10],
            &[0, 0, 0x00, 0],
            &[0, 0, 0x51, 2, b'x'],
            &[0, 0, 0x23, b'a'],
            &[0, 0, 0x51],
            &[0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ] {
            assert!(read(section).is_err(), "{section:x?}");
        }
    }

    #[test]
    fn decoded_fields_are_counted() {
        let mut list = FieldList::default();
        list.clear(100);
        // Two octets of input make more than fifty each time.
        let section = [&[0, 0][..], &[0xff, 22].repeat(1000)].concat();
        decode(&section, &mut list).unwrap();
        assert!(list.is_over_limit());
        assert_eq!(list.iter().count(), 0);
    }

    #[test]
    fn rfc9204_4_3_4_4_streams_without_a_table() {
        assert!(is_fine_for_encoder(&[]) && is_fine_for_encoder(&[0x20, 0x20]));
        for bad in [0x21, 0x3f, 0x80, 0xc0, 0x40, 0x00] {
            assert!(!is_fine_for_encoder(&[bad]), "{bad:x}");
        }
        let mut held = Vec::new();
        assert!(is_fine_for_decoder(&mut held, &[0x40, 0x44, 0x7f, 0x80]));
        assert_eq!(held, [0x7f, 0x80]);
        assert!(is_fine_for_decoder(&mut held, &[0x01, 0x44]) && held.is_empty());
        for bad in [0x80, 0xff, 0x00, 0x01, 0x3f] {
            assert!(!is_fine_for_decoder(&mut Vec::new(), &[bad]), "{bad:x}");
        }
        assert!(!is_fine_for_decoder(&mut Vec::new(), &[0xff; 2]));
        let endless = [&[0x7f][..], &[0x80; 12]].concat();
        assert!(!is_fine_for_decoder(&mut Vec::new(), &endless));
    }

    proptest! {
        #[test]
        fn arbitrary_sections_never_panic(section in proptest::collection::vec(any::<u8>(), 0..80)) {
            let mut list = FieldList::default();
            list.clear(500);
            let _ = decode(&section, &mut list);
            let _ = decode(&[&[0, 0][..], &section].concat(), &mut list);
            let _ = is_fine_for_decoder(&mut Vec::new(), &section);
        }

        #[test]
        fn what_the_encoder_writes_is_read(status in 100u16..600, fields in proptest::collection::vec(("[a-z-]{1,20}", "[ -~]{0,300}"), 0..20)) {
            let mut section = Vec::new();
            encode::begin(&mut section, status);
            for (name, value) in &fields {
                encode::field(&mut section, name.as_bytes(), value.as_bytes());
            }
            let told: Vec<_> = std::iter::once(format!(":status: {status}"))
                .chain(fields.iter().map(|(name, value)| format!("{name}: {value}")))
                .collect();
            prop_assert_eq!(read(&section).unwrap(), told.join("\n"));
        }
    }
}
