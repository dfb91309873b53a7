//! A segment's list: what lies in it, in brief, between its last record and its footer. By it
//! responses are found by path and by tag, and dead ones are found, without a look at each.
//!
//! It is for speed alone: where there is none (a crash, an older file, damage), the records say the
//! same. It opens no file.

use smallvec::SmallVec;

use super::cipher::{self, Cipher};
use super::record::{Cursor, HEADER, Header, Identity, TAG, UNIT, Version, put_bytes};
use crate::message::key::InvalidationNumber;
use crate::message::stored::Stored;
use crate::semantics::time::Timestamp;

/// Octets of briefs that share a checksum.
const CHUNK: usize = 256 << 10;
/// What a chunk may add beside its briefs.
pub const CHUNK_MORE: u64 = HEADER as u64 + TAG as u64 + UNIT;

/// A list that is being made.
#[derive(Default)]
pub struct List {
    chunks: Vec<Vec<u8>>,
    /// The segment has a record that could not be described: then it gets no list at all.
    is_spoiled: bool,
}

/// What a list says of a response.
pub struct Brief<'l> {
    /// Where its record begins, in units.
    pub at: u32,
    pub key: &'l [u8],
    pub tags: SmallVec<[u64; 4]>,
    pub status: u16,
    pub born: Timestamp,
    /// Milliseconds for which it is fresh.
    pub fresh: u64,
    pub asked_at: InvalidationNumber,
    /// Octets of the body.
    pub body: u64,
}

impl<'l> Brief<'l> {
    /// The same, of a response whose record was read.
    pub fn of(at: u32, body: u64, stored: &'l Stored) -> Self {
        Self {
            at,
            key: stored.key.as_bytes(),
            tags: SmallVec::from_slice(&stored.tags),
            status: stored.status,
            born: stored.born,
            fresh: stored.life.fresh,
            asked_at: stored.asked_at,
            body,
        }
    }

    fn read(read: &mut Cursor<'l>) -> Option<Self> {
        let at = read.u32()?;
        let status = u16::from_le_bytes(read.take(2)?.try_into().ok()?);
        let (born, fresh, asked_at, body) =
            (Timestamp(read.u64()?), read.u64()?, InvalidationNumber(read.u64()?), read.u64()?);
        let key = read.bytes()?;
        let count = read.u32()?;
        let tags = (0..count).map(|_| read.u64()).collect::<Option<_>>()?;
        Some(Self { at, key, tags, status, born, fresh, asked_at, body })
    }
}

/// Octets of what a list says of a response.
pub fn brief_octets(stored: &Stored) -> u64 {
    (4 + 2 + 4 * 8 + 4 + stored.key.as_bytes().len() + 4 + 8 * stored.tags.len()) as u64
}

impl List {
    /// Adds a response.
    pub fn add(&mut self, brief: &Brief<'_>) {
        if self.is_spoiled {
            return;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() >= CHUNK) {
            self.chunks.push(Vec::new());
        }
        let Some(out) = self.chunks.last_mut() else { return };
        out.extend_from_slice(&brief.at.to_le_bytes());
        out.extend_from_slice(&brief.status.to_le_bytes());
        for number in [brief.born.0, brief.fresh, brief.asked_at.0, brief.body] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        put_bytes(out, brief.key);
        out.extend_from_slice(&(brief.tags.len() as u32).to_le_bytes());
        brief.tags.iter().for_each(|tag| out.extend_from_slice(&tag.to_le_bytes()));
    }

    /// Something cannot be told: no list is better than one that keeps something back.
    pub fn spoil(&mut self) {
        self.is_spoiled = true;
        self.chunks.clear();
    }

    /// The most octets it takes on the disk.
    pub fn octets(&self) -> u64 {
        self.chunks.iter().map(|chunk| chunk.len() as u64 + CHUNK_MORE).sum()
    }

    /// The list as it is written, into the segment `id` at the octet `at`; nothing, where it cannot
    /// be told.
    pub fn encode(&self, seal: Option<&Cipher>, id: u32, at: u64) -> Vec<u8> {
        if self.is_spoiled {
            return Vec::new();
        }
        let mut out = Vec::with_capacity(self.octets() as usize);
        for chunk in &self.chunks {
            let version = Version::at(id, at + out.len() as u64);
            let Some(record) = encode_chunk(chunk, seal, version) else { return Vec::new() };
            out.extend_from_slice(&record);
        }
        out
    }
}

// A chunk is a record whose meta it is.
fn encode_chunk(chunk: &[u8], seal: Option<&Cipher>, version: Version) -> Option<Vec<u8>> {
    let mut header = Header::tombstone(Identity { key: 0, variant: 0 }, version);
    (header.is_tombstone, header.is_list, header.is_encrypted) = (false, true, seal.is_some());
    header.meta = (chunk.len() + header.overhead() as usize) as u32;
    let mut meta = chunk.to_vec();
    if let Some(seal) = seal {
        aws_lc_rs::rand::fill(&mut header.nonce).ok()?;
        seal.seal(&header, cipher::META, &mut meta)?;
    }
    header.meta_crc = crc32fast::hash(&meta);
    let mut out = header.encode().to_vec();
    out.extend_from_slice(&meta);
    out.resize(header.octets() as usize, 0);
    Some(out)
}

/// A list that was read and found to be as it was written.
pub struct Listed(Vec<Vec<u8>>);

/// Reads a list that begins in the segment `id` at the octet `at`; `None` unless all of it is as it
/// was written there.
pub fn open(mut octets: &[u8], seal: Option<&Cipher>, id: u32, at: u64) -> Option<Listed> {
    let mut chunks = Vec::new();
    let end = at + octets.len() as u64;
    while !octets.is_empty() {
        let place = Version::at(id, end - octets.len() as u64);
        let header =
            Header::decode(octets).filter(|header| header.is_list && header.version == place)?;
        let (record, rest) = octets.split_at_checked(header.octets() as usize)?;
        let meta = record.get(HEADER..HEADER + header.meta as usize)?;
        chunks.push(cipher::open_part(
            &header,
            seal,
            cipher::META,
            header.meta_crc,
            meta.to_vec(),
        )?);
        octets = rest;
    }
    Some(Listed(chunks))
}

impl Listed {
    /// What it says, in the order of writing.
    pub fn briefs(&self) -> impl Iterator<Item = Brief<'_>> {
        self.0.iter().flat_map(|chunk| {
            let mut read = Cursor(chunk);
            std::iter::from_fn(
                move || if read.0.is_empty() { None } else { Brief::read(&mut read) },
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_added_is_read_and_nothing_else(
            all in proptest::collection::vec(("[a-z/]{0,40}", proptest::collection::vec(any::<u64>(), 0..3)), 0..30),
            is_sealed in any::<bool>(), bit in any::<usize>(), many in 1usize..400,
        ) {
            let seal = is_sealed.then(|| Cipher::new(&Secret::new("k".into()), b"seed").unwrap());
            let mut list = List::default();
            let mut count = 0;
            // More than a chunk, now and then.
            for _ in 0..many {
                for (key, tags) in &all {
                    let (tags, born) = (SmallVec::from_slice(tags), Timestamp(7));
                    list.add(&Brief { at: count, key: key.as_bytes(), tags, status: 200, born, fresh: 8, asked_at: InvalidationNumber(9), body: 10 });
                    count += 1;
                }
            }
            let mut octets = list.encode(seal.as_ref(), 9, 160);
            prop_assert!(octets.len() as u64 <= list.octets());
            let read = open(&octets, seal.as_ref(), 9, 160).unwrap();
            prop_assert!(octets.is_empty() || open(&octets, seal.as_ref(), 9, 176).is_none());
            prop_assert_eq!(read.briefs().count() as u32, count);
            for (n, brief) in read.briefs().enumerate() {
                let (key, tags) = &all[n % all.len()];
                prop_assert_eq!((brief.at, brief.key, &brief.tags[..]), (n as u32, key.as_bytes(), &tags[..]));
                prop_assert_eq!((brief.status, brief.born.0, brief.fresh, brief.asked_at.0, brief.body), (200, 7, 8, 9, 10));
            }
            if let Some(len) = octets.len().checked_mul(8).filter(|len| *len > 0) {
                let bit = bit % len;
                octets[bit / 8] ^= 1 << (bit % 8);
                // A bit of what fills up to the next unit says nothing.
                prop_assert!(open(&octets, seal.as_ref(), 9, 160).is_none_or(|read| read.briefs().count() as u32 == count));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _ = open(&bytes, None, 1, 0);
            let _ = Listed(vec![bytes]).briefs().count();
        }
    }
}
