//! Pure: field sections written with names of the static table and values as they are.
//!
//! Values are not Huffman-coded, as in HTTP/2: it would save a tenth of a small answer and cost
//! more than sending it.

use crate::listen::h2::hpack::encode::{BESIDE, at, lowered, string, string_by};

pub use crate::listen::h2::hpack::encode::integer;

/// Begins a section: no dynamic table is used.
pub fn prefix(out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, 0]);
}

/// Begins a section with its `:status`.
pub fn begin(out: &mut Vec<u8>, status: u16) {
    prefix(out);
    let index = match status {
        103 => 24,
        200 => 25,
        304 => 26,
        404 => 27,
        503 => 28,
        100 => 63,
        204 => 64,
        206 => 65,
        302 => 66,
        400 => 67,
        403 => 68,
        421 => 69,
        425 => 70,
        500 => 71,
        _ => {
            integer(out, 4, 0x50, 24);
            return string(out, itoa::Buffer::new().format(status).as_bytes());
        }
    };
    integer(out, 6, 0xc0, index);
}

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

/// Index of the one field that is never to be indexed.
const SET_COOKIE: usize = 14;

fn begin_field(out: &mut Vec<u8>, name: &[u8]) {
    match name_index(name) {
        Some(SET_COOKIE) => integer(out, 4, 0x70, SET_COOKIE),
        Some(index) => integer(out, 4, 0x50, index),
        None => {
            integer(out, 3, 0x20, name.len());
            lowered(out, name);
        }
    }
}

// Names of response fields in the static table, by length and first letter; the index of their
// first entry.
fn name_index(name: &[u8]) -> Option<usize> {
    match (name.len(), name.first()?.to_ascii_lowercase()) {
        (3, b'a') => at(name, b"age", 2),
        (4, b'd') => at(name, b"date", 6),
        (4, b'e') => at(name, b"etag", 7),
        (4, b'l') => at(name, b"link", 11),
        (4, b'v') => at(name, b"vary", 59),
        (6, b's') => at(name, b"server", 92),
        (7, b'a') => at(name, b"alt-svc", 83),
        (8, b'l') => at(name, b"location", 12),
        (10, b's') => at(name, b"set-cookie", SET_COOKIE),
        (12, b'c') => at(name, b"content-type", 44),
        (13, b'a') => at(name, b"accept-ranges", 32),
        (13, b'c') => at(name, b"cache-control", 36),
        (13, b'l') => at(name, b"last-modified", 10),
        (14, b'c') => at(name, b"content-length", 4),
        (15, b'x') => at(name, b"x-frame-options", 97),
        (16, b'c') => at(name, b"content-encoding", 42),
        (16, b'x') => at(name, b"x-xss-protection", 62),
        (19, b'c') => at(name, b"content-disposition", 3),
        (19, b't') => at(name, b"timing-allow-origin", 93),
        (22, b'x') => at(name, b"x-content-type-options", 61),
        (23, b'c') => at(name, b"content-security-policy", 85),
        (25, b's') => at(name, b"strict-transport-security", 56),
        (27, b'a') => at(name, b"access-control-allow-origin", 35),
        (28, b'a') => at(name, b"access-control-allow-headers", 33)
            .or_else(|| at(name, b"access-control-allow-methods", 76)),
        (29, b'a') => at(name, b"access-control-expose-headers", 79),
        (32, b'a') => at(name, b"access-control-allow-credentials", 73),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listen::h3::qpack::table::STATIC;

    #[test]
    fn indices_name_what_the_static_table_names() {
        let mut found = 0;
        for (at, (name, _)) in STATIC.iter().enumerate() {
            let first = STATIC.iter().position(|(other, _)| other == name);
            if let Some(index) = name_index(name) {
                assert_eq!(Some(index), first, "{} at {at}", String::from_utf8_lossy(name));
                found += usize::from(first == Some(at));
            }
        }
        assert_eq!(found, 27);
    }

    #[test]
    fn statuses_of_the_table_are_indices() {
        let statuses = STATIC.iter().enumerate().filter(|(_, (name, _))| *name == b":status");
        for (at, (_, value)) in statuses {
            let (mut out, mut wanted) = (Vec::new(), vec![0, 0]);
            begin(&mut out, String::from_utf8_lossy(value).parse().unwrap());
            integer(&mut wanted, 6, 0xc0, at);
            assert_eq!(out, wanted);
        }
        let mut out = Vec::new();
        begin(&mut out, 418);
        assert_eq!(out, [0, 0, 0x5f, 24 - 15, 3, b'4', b'1', b'8']);
    }

    #[test]
    fn cookies_are_never_indexed_and_names_are_lowered() {
        let mut out = Vec::new();
        field(&mut out, b"Set-Cookie", b"a=b");
        assert_eq!(out, [0x7e, 3, b'a', b'=', b'b']);
        out.clear();
        field(&mut out, b"X-Cache", b"Hit");
        assert_eq!(out, [&[0x27, 0][..], b"x-cache", &[3], b"Hit"].concat());
    }

    #[test]
    fn a_value_that_is_written_in_place_is_as_any_other() {
        for len in [0, 1, 126, 127, 128, 16_510] {
            for name in [&b"Set-Cookie"[..], b"ETag", b"X-Cache"] {
                let value = vec![b'v'; len];
                let (mut out, mut wanted) = (Vec::new(), Vec::new());
                field(&mut wanted, name, &value);
                field_by(&mut out, name, |out| out.extend_from_slice(&value));
                assert!(out == wanted, "{len}");
            }
        }
    }
}
