//! Pure: header blocks read into a list of fields (RFC 7541 §3.2, §6).
//!
//! A block is always read to its end, because the table must stay in step with the peer's; fields
//! beyond the limit are read and forgotten.

use super::table::Table;
use super::{BadBlock, FIELD_OVERHEAD, huffman};

/// Fields of one block, in order, in buffers that are used again.
#[derive(Default)]
pub struct FieldList {
    octets: Vec<u8>,
    spans: Vec<Span>,
    size: usize,
    limit: usize,
}

#[derive(Clone, Copy)]
struct Span {
    start: u32,
    name: u32,
    value: u32,
}

impl FieldList {
    /// Empties it; it will take fields of at most `limit` octets, counted as RFC 9113 §6.5.2 does.
    pub fn clear(&mut self, limit: usize) {
        self.octets.clear();
        self.spans.clear();
        self.size = 0;
        self.limit = limit;
    }

    /// Says whether fields were left out because there were too many octets of them.
    pub const fn is_over_limit(&self) -> bool {
        self.size > self.limit
    }

    /// Names and values in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.places().map(|(_, name, value)| (name, value))
    }

    /// The same, and where each name begins among all octets.
    pub fn places(&self) -> impl Iterator<Item = (usize, &[u8], &[u8])> {
        self.spans.iter().map(|span| {
            let start = span.start as usize;
            let (name, rest) = self.octets[start..].split_at(span.name as usize);
            (start, name, &rest[..span.value as usize])
        })
    }

    /// All names and values, one behind the other.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Says whether these are the fields of a HEAD, whatever else is wrong with them.
    pub fn asks_for_head(&self) -> bool {
        self.iter().any(|(name, value)| name == b":method" && value == b"HEAD")
    }

    /// Adds the field that `write` adds to the octets, name first; it gives the length of the name.
    pub fn add(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<usize, BadBlock>,
    ) -> Result<(), BadBlock> {
        let start = self.octets.len();
        let name = write(&mut self.octets)?;
        self.seal(start, name);
        Ok(())
    }

    // Counts the field whose octets were just added, and drops them if they go beyond the limit.
    fn seal(&mut self, start: usize, name: usize) {
        let value = self.octets.len() - start - name;
        self.size = self.size.saturating_add(name + value + FIELD_OVERHEAD);
        if self.is_over_limit() {
            self.octets.truncate(start);
        } else {
            self.spans.push(Span { start: start as u32, name: name as u32, value: value as u32 });
        }
    }
}

/// The reading half of a connection's HPACK state.
pub struct Decoder {
    table: Table,
}

impl Decoder {
    /// A decoder that allows the peer a table of this size.
    pub const fn new(table: usize) -> Self {
        Self { table: Table::new(table) }
    }

    /// Reads a whole block and adds its fields to a list.
    pub fn decode(&mut self, block: &[u8], list: &mut FieldList) -> Result<(), BadBlock> {
        let mut rest = block;
        let mut begun = false;
        while let Some(first) = rest.first().copied() {
            if first & 0x80 != 0 {
                let index = integer(&mut rest, 7)?;
                let (name, value) = self.table.get(index)?;
                let start = list.octets.len();
                begun = true;
                if list.is_over_limit() {
                    continue;
                }
                list.octets.extend_from_slice(name);
                list.octets.extend_from_slice(value);
                list.seal(start, name.len());
            } else if first & 0xe0 == 0x20 {
                if begun {
                    return Err(BadBlock("a table size update behind a field"));
                }
                self.table.resize(integer(&mut rest, 5)?)?;
                continue;
            } else {
                let is_indexed = first & 0x40 != 0;
                self.literal(&mut rest, if is_indexed { 6 } else { 4 }, is_indexed, list)?;
            }
            begun = true;
        }
        Ok(())
    }

    fn literal(
        &mut self,
        rest: &mut &[u8],
        prefix: u8,
        is_indexed: bool,
        list: &mut FieldList,
    ) -> Result<(), BadBlock> {
        let start = list.octets.len();
        match integer(rest, prefix)? {
            0 => string(rest, &mut list.octets)?,
            index => list.octets.extend_from_slice(self.table.get(index)?.0),
        }
        let name = list.octets.len() - start;
        string(rest, &mut list.octets)?;
        if is_indexed {
            let (name, value) = list.octets[start..].split_at(name);
            self.table.insert(name, value);
        }
        list.seal(start, name);
        Ok(())
    }
}

/// More octets than any block of ours has.
const INTEGER_MAX: usize = 1 << 24;

/// Reads an integer with a prefix of so many bits (§5.1).
pub fn integer(rest: &mut &[u8], prefix: u8) -> Result<usize, BadBlock> {
    let short = BadBlock("a header block that ends within a field");
    let (first, mut tail) = rest.split_first().ok_or(short)?;
    let mask = (1usize << prefix) - 1;
    let mut value = usize::from(*first) & mask;
    if value == mask {
        for shift in [0, 7, 14, 21] {
            let (next, after) = tail.split_first().ok_or(short)?;
            tail = after;
            value += usize::from(next & 0x7f) << shift;
            if value > INTEGER_MAX {
                break;
            }
            if next & 0x80 == 0 {
                *rest = tail;
                return Ok(value);
            }
        }
        return Err(BadBlock("an integer larger than anything"));
    }
    *rest = tail;
    Ok(value)
}

// A string, Huffman-coded or not (§5.2).
fn string(rest: &mut &[u8], out: &mut Vec<u8>) -> Result<(), BadBlock> {
    let short = BadBlock("a header block that ends within a field");
    let is_coded = rest.first().ok_or(short)? & 0x80 != 0;
    let len = integer(rest, 7)?;
    let (octets, after) = rest.split_at_checked(len).ok_or(short)?;
    *rest = after;
    if is_coded {
        return huffman::decode(octets, out);
    }
    out.extend_from_slice(octets);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn hex(text: &str) -> Vec<u8> {
        (0..text.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap())
            .collect()
    }

    fn fields(decoder: &mut Decoder, block: &str) -> Result<String, BadBlock> {
        let mut list = FieldList::default();
        list.clear(1 << 20);
        decoder.decode(&hex(block), &mut list)?;
        let lines = list.iter().map(|(name, value)| {
            format!("{}: {}", String::from_utf8_lossy(name), String::from_utf8_lossy(value))
        });
        Ok(lines.collect::<Vec<_>>().join("\n"))
    }

    #[test]
    fn rfc7541_c4_requests_with_huffman() {
        let mut decoder = Decoder::new(4096);
        let common = ":method: GET\n:scheme: http\n:path: /\n:authority: www.example.com";
        assert_eq!(fields(&mut decoder, "828684418cf1e3c2e5f23a6ba0ab90f4ff").unwrap(), common);
        assert_eq!(
            fields(&mut decoder, "828684be5886a8eb10649cbf").unwrap(),
            format!("{common}\ncache-control: no-cache")
        );
        let last =
            fields(&mut decoder, "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf").unwrap();
        assert_eq!(
            last,
            ":method: GET\n:scheme: https\n:path: /index.html\n:authority: www.example.com\ncustom-key: custom-value"
        );
    }

    #[test]
    fn rfc7541_c6_responses_with_a_small_table() {
        let mut decoder = Decoder::new(256);
        let first = fields(
            &mut decoder,
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
        );
        let rest = "cache-control: private\ndate: Mon, 21 Oct 2013 20:13:21 GMT\nlocation: https://www.example.com";
        assert_eq!(first.unwrap(), format!(":status: 302\n{rest}"));
        assert_eq!(
            fields(&mut decoder, "4883640effc1c0bf").unwrap(),
            format!(":status: 307\n{rest}")
        );
        let third = fields(
            &mut decoder,
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
        );
        assert_eq!(
            third.unwrap(),
            ":status: 200\ncache-control: private\ndate: Mon, 21 Oct 2013 20:13:22 GMT\nlocation: https://www.example.com\ncontent-encoding: gzip\nset-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
        );
    }

    #[test]
    fn rfc7541_c1_integers() {
        assert_eq!(integer(&mut &[0x0a][..], 5).unwrap(), 10);
        assert_eq!(integer(&mut &[0x1f, 0x9a, 0x0a][..], 5).unwrap(), 1337);
        assert!(integer(&mut &[0x1f, 0xff, 0xff, 0xff, 0xff, 0x0f][..], 5).is_err());
        assert!(integer(&mut &[0x1f, 0x80][..], 5).is_err());
    }

    #[test]
    fn bad_blocks_are_errors() {
        for (bad, why) in [
            ("80", "index 0"),
            ("be", "nothing there yet"),
            ("3fe21f", "table of 4097"),
            ("8220", "update behind a field"),
        ] {
            assert!(fields(&mut Decoder::new(4096), bad).is_err(), "{why}");
        }
        for cut in ["40", "4003", "400361", "40036162630a61", "418cf1e3"] {
            assert!(fields(&mut Decoder::new(4096), cut).is_err(), "{cut}");
        }
    }

    #[test]
    fn fields_beyond_the_limit_are_read_and_forgotten() {
        let mut decoder = Decoder::new(4096);
        let mut list = FieldList::default();
        list.clear(60);
        // custom-key: custom-value (54), then the same by index, then what it left in the table.
        decoder.decode(&hex("408825a849e95ba97d7f8925a849e95bb8e8b4bfbe"), &mut list).unwrap();
        assert_eq!((list.iter().count(), list.is_over_limit()), (1, true));
        assert_eq!(fields(&mut decoder, "be").unwrap(), "custom-key: custom-value");
    }

    proptest! {
        #[test]
        fn arbitrary_blocks_never_panic(blocks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..80), 1..5)) {
            let mut decoder = Decoder::new(4096);
            let mut list = FieldList::default();
            for block in blocks {
                list.clear(500);
                let _ = decoder.decode(&block, &mut list);
                prop_assert!(list.octets.len() <= 500 + (1 << 12));
            }
        }

        #[test]
        fn what_the_encoder_writes_is_read(fields in proptest::collection::vec(("[a-z-]{1,20}", "[ -~]{0,300}"), 0..20)) {
            let mut block = Vec::new();
            super::super::encode::status(&mut block, 302);
            for (name, value) in &fields {
                super::super::encode::field(&mut block, name.as_bytes(), value.as_bytes());
            }
            let mut list = FieldList::default();
            list.clear(1 << 20);
            Decoder::new(4096).decode(&block, &mut list).unwrap();
            let read: Vec<_> = list.iter().skip(1).map(|(n, v)| (String::from_utf8_lossy(n).into_owned(), String::from_utf8_lossy(v).into_owned())).collect();
            prop_assert_eq!(read, fields);
        }
    }
}
