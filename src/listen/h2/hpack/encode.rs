//! Pure: header blocks written without a dynamic table, names from the static one, values as they
//! are.
//!
//! Values are not Huffman-coded: it would save a tenth of a small answer and cost more than sending
//! it.

use crate::base::fold;

/// Says that the encoder keeps no table (RFC 7541 §6.3); to be written once, before the first field
/// of a connection.
pub const NO_TABLE: u8 = 0x20;

/// Writes `:status`.
pub fn status(out: &mut Vec<u8>, status: u16) {
    let indexed = match status {
        200 => 8,
        204 => 9,
        206 => 10,
        304 => 11,
        400 => 12,
        404 => 13,
        500 => 14,
        _ => {
            out.push(8);
            return string(out, itoa::Buffer::new().format(status).as_bytes());
        }
    };
    out.push(0x80 | indexed);
}

/// Octets that a field takes beside its name and value, at most.
pub const BESIDE: usize = 16;

/// Writes a field whose name may have any case; it goes out in lower case.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    // Room for all of it is made at once.
    out.reserve(BESIDE + name.len() + value.len());
    begin_field(out, name);
    string(out, value);
}

/// The same with a value that is written where it goes, its length afterwards.
pub fn field_by(out: &mut Vec<u8>, name: &[u8], write: impl FnOnce(&mut Vec<u8>)) {
    begin_field(out, name);
    string_by(out, write);
}

/// A string as it is, written where it goes, its length afterwards (RFC 7541 §5.2).
#[inline]
pub fn string_by(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.push(0);
    write(out);
    let len = out.len() - at - 1;
    if len < 0x7f {
        out[at] = len as u8;
    } else {
        make_room(out, at, len);
    }
}

// A length that takes more than the one octet which was left for it: its others are written behind
// the value and brought before it.
#[cold]
fn make_room(out: &mut Vec<u8>, at: usize, len: usize) {
    out[at] = 0x7f;
    let end = out.len();
    long_integer(out, len - 0x7f);
    let more = out.len() - end;
    out[at + 1..].rotate_right(more);
}

/// Index of the one field that is never to be indexed.
const SET_COOKIE: usize = 55;

fn begin_field(out: &mut Vec<u8>, name: &[u8]) {
    match name_index(name) {
        Some(SET_COOKIE) => integer(out, 4, 0x10, SET_COOKIE),
        Some(index) => integer(out, 4, 0, index),
        None => {
            out.push(0);
            integer(out, 7, 0, name.len());
            lowered(out, name);
        }
    }
}

/// Writes a name in lower case.
#[inline]
pub fn lowered(out: &mut Vec<u8>, name: &[u8]) {
    let start = out.len();
    out.extend_from_slice(name);
    out[start..].make_ascii_lowercase();
}

/// Writes a string as it is (RFC 7541 §5.2).
pub fn string(out: &mut Vec<u8>, octets: &[u8]) {
    integer(out, 7, 0, octets.len());
    out.extend_from_slice(octets);
}

/// Writes an integer with a prefix of so many bits (RFC 7541 §5.1), behind a pattern.
#[inline]
pub fn integer(out: &mut Vec<u8>, prefix: u8, pattern: u8, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        out.push(pattern | value as u8);
    } else if value < mask + 0x80 {
        out.extend_from_slice(&[pattern | mask as u8, (value - mask) as u8]);
    } else {
        out.push(pattern | mask as u8);
        long_integer(out, value - mask);
    }
}

fn long_integer(out: &mut Vec<u8>, mut rest: usize) {
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

// Names of response fields in the static table, by length and first letter; the index of their
// first entry.
fn name_index(name: &[u8]) -> Option<usize> {
    match (name.len(), name.first()?.to_ascii_lowercase()) {
        (3, b'a') => at(name, b"age", 21),
        (3, b'v') => at(name, b"via", 60),
        (4, b'd') => at(name, b"date", 33),
        (4, b'e') => at(name, b"etag", 34),
        (4, b'l') => at(name, b"link", 45),
        (4, b'v') => at(name, b"vary", 59),
        (5, b'a') => at(name, b"allow", 22),
        (6, b's') => at(name, b"server", 54),
        (7, b'e') => at(name, b"expires", 36),
        (7, b'r') => at(name, b"refresh", 52),
        (8, b'l') => at(name, b"location", 46),
        (10, b's') => at(name, b"set-cookie", SET_COOKIE),
        (11, b'r') => at(name, b"retry-after", 53),
        (12, b'c') => at(name, b"content-type", 31),
        (13, b'c') => at(name, b"cache-control", 24).or_else(|| at(name, b"content-range", 30)),
        (13, b'a') => at(name, b"accept-ranges", 18),
        (13, b'l') => at(name, b"last-modified", 44),
        (14, b'c') => at(name, b"content-length", 28),
        (16, b'c') => at(name, b"content-encoding", 26)
            .or_else(|| at(name, b"content-language", 27))
            .or_else(|| at(name, b"content-location", 29)),
        (16, b'w') => at(name, b"www-authenticate", 61),
        (19, b'c') => at(name, b"content-disposition", 25),
        (25, b's') => at(name, b"strict-transport-security", 56),
        (27, b'a') => at(name, b"access-control-allow-origin", 20),
        _ => None,
    }
}

/// The index of an entry, if this is its name in any case.
#[inline(always)]
pub fn at<const N: usize>(name: &[u8], known: &[u8; N], index: usize) -> Option<usize> {
    fold::is(name, known).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::super::table::STATIC;
    use super::*;

    #[test]
    fn indices_name_what_the_static_table_names() {
        let found = STATIC
            .iter()
            .enumerate()
            .filter_map(|(at, (name, _))| Some((at + 1, name_index(name)?, *name)));
        let found: Vec<_> = found.collect();
        assert_eq!(found.len(), 26);
        for (at, index, name) in found {
            assert_eq!(at, index, "{}", String::from_utf8_lossy(name));
        }
    }

    #[test]
    fn statuses_of_the_table_take_one_octet() {
        for at in 8..=14usize {
            let mut out = Vec::new();
            status(&mut out, String::from_utf8_lossy(STATIC[at - 1].1).parse().unwrap());
            assert_eq!(out, [0x80 | at as u8]);
        }
    }

    #[test]
    fn cookies_are_never_indexed() {
        let mut out = Vec::new();
        field(&mut out, b"Set-Cookie", b"a=b");
        assert_eq!(out, [0x1f, 55 - 15, 3, b'a', b'=', b'b']);
    }

    #[test]
    fn a_value_that_is_written_in_place_is_as_any_other() {
        for len in [0, 1, 126, 127, 128, 254, 255, 16_509, 16_510, 70_000] {
            for name in [&b"Set-Cookie"[..], b"ETag", b"X-Cache"] {
                let value = vec![b'v'; len];
                let (mut out, mut wanted) = (b"before".to_vec(), b"before".to_vec());
                field(&mut wanted, name, &value);
                field_by(&mut out, name, |out| out.extend_from_slice(&value));
                assert!(out == wanted, "{len}");
            }
        }
    }

    #[test]
    fn rfc7541_c1_integers_and_their_bounds() {
        for (prefix, value, wanted) in [
            (5, 10, &[0x0a_u8][..]),
            (5, 1_337, &[0x1f, 0x9a, 0x0a][..]),
            (8, 42, &[0x2a][..]),
            (4, 14, &[0x0e][..]),
            (4, 15, &[0x0f, 0][..]),
            (4, 15 + 0x7f, &[0x0f, 0x7f][..]),
            (4, 15 + 0x80, &[0x0f, 0x80, 1][..]),
            (7, 126, &[0x7e][..]),
            (7, 127, &[0x7f, 0][..]),
            (7, 127 + 0x3fff, &[0x7f, 0xff, 0x7f][..]),
            (7, 127 + 0x4000, &[0x7f, 0x80, 0x80, 1][..]),
        ] {
            let mut out = Vec::new();
            integer(&mut out, prefix, 0, value);
            assert_eq!(out, wanted, "{value}");
        }
    }
}
