//! Pure: header blocks written without a dynamic table, names from the static one, values as they
//! are.
//!
//! Values are not Huffman-coded: it would save a tenth of a small answer and cost more than sending
//! it.

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

/// Writes a field whose name may have any case; it goes out in lower case.
pub fn field(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    let never = if name.eq_ignore_ascii_case(b"set-cookie") { 0x10 } else { 0 };
    match name_index(name) {
        Some(index) => integer(out, 4, never, index),
        None => {
            out.push(never);
            integer(out, 7, 0, name.len());
            out.extend(name.iter().map(u8::to_ascii_lowercase));
        }
    }
    string(out, value);
}

fn string(out: &mut Vec<u8>, octets: &[u8]) {
    integer(out, 7, 0, octets.len());
    out.extend_from_slice(octets);
}

/// Writes an integer with a prefix of so many bits (RFC 7541 §5.1), behind a pattern.
pub fn integer(out: &mut Vec<u8>, prefix: u8, pattern: u8, value: usize) {
    let mask = (1usize << prefix) - 1;
    if value < mask {
        return out.push(pattern | value as u8);
    }
    out.push(pattern | mask as u8);
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(0x80 | (rest & 0x7f) as u8);
        rest >>= 7;
    }
    out.push(rest as u8);
}

// Names of response fields in the static table, by length and first letter; the index of their
// first entry.
fn name_index(name: &[u8]) -> Option<usize> {
    let is = |known: &[u8], index: usize| name.eq_ignore_ascii_case(known).then_some(index);
    match (name.len(), name.first()?.to_ascii_lowercase()) {
        (3, _) => is(b"age", 21).or_else(|| is(b"via", 60)),
        (4, b'd') => is(b"date", 33),
        (4, b'e') => is(b"etag", 34),
        (4, b'l') => is(b"link", 45),
        (4, b'v') => is(b"vary", 59),
        (5, b'a') => is(b"allow", 22),
        (6, b's') => is(b"server", 54),
        (7, b'e') => is(b"expires", 36),
        (7, b'r') => is(b"refresh", 52),
        (8, b'l') => is(b"location", 46),
        (10, b's') => is(b"set-cookie", 55),
        (11, b'r') => is(b"retry-after", 53),
        (12, b'c') => is(b"content-type", 31),
        (13, b'c') => is(b"cache-control", 24).or_else(|| is(b"content-range", 30)),
        (13, b'a') => is(b"accept-ranges", 18),
        (13, b'l') => is(b"last-modified", 44),
        (14, b'c') => is(b"content-length", 28),
        (16, b'c') => is(b"content-encoding", 26)
            .or_else(|| is(b"content-language", 27))
            .or_else(|| is(b"content-location", 29)),
        (16, b'w') => is(b"www-authenticate", 61),
        (19, b'c') => is(b"content-disposition", 25),
        (25, b's') => is(b"strict-transport-security", 56),
        (27, b'a') => is(b"access-control-allow-origin", 20),
        _ => None,
    }
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
}
