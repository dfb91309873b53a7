//! Pure: what a stored response looks like on the disk. Octets in, facts out, and back.
//!
//! A record is a header of fixed size, the *meta* (everything but the body), the body in pieces,
//! and a table with a checksum for each piece. Header, meta and each piece can be checked alone, so
//! that a range of a large body needs no more than the pieces it touches. Records lie one behind
//! the other, each on a multiple of [`UNIT`].

use std::sync::Arc;

use http::HeaderName;

use crate::body::Content;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::stored::{
    Flags, Life, Live, Part, Reuse, Selector, Stored, StoredHead, TtlRule,
};
use crate::semantics::freshness::LifetimeSource;
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;

/// Records begin on multiples of this many octets.
pub const UNIT: u64 = 16;
/// Octets of a header.
pub const HEADER: usize = 64;
/// Octets of a body that share a checksum.
pub const PIECE: usize = 64 << 10;
/// What encryption adds to each sealed part.
pub const TAG: usize = 16;
/// A meta longer than this is damage: heads, keys and tags have limits far below.
pub const META_MAX: usize = 1 << 20;

const MAGIC: u32 = u32::from_le_bytes(*b"FSr1");
const TOMBSTONE: u8 = 1;
const SEALED: u8 = 2;
const LIST: u8 = 4;

/// Which response of which key, as keyed hashes; the full key is in the meta and compared when it
/// is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub key: u64,
    pub variant: u32,
}

/// Where a record was first written: of two with one identity, the higher is the one that counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(pub u64);

impl Version {
    /// Of a record that is written first at an octet of a segment; places rise.
    pub fn at(segment: u32, octet: u64) -> Self {
        Self((u64::from(segment) << 32) | (octet / UNIT))
    }
}

/// A record's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub identity: Identity,
    pub version: Version,
    /// It says that nothing of this identity up to this version is kept.
    pub is_tombstone: bool,
    pub is_encrypted: bool,
    /// Its meta is a part of its segment's list.
    pub is_list: bool,
    /// Octets of the meta as they lie there.
    pub meta: u32,
    /// Octets of the body in clear.
    pub body: u64,
    pub meta_crc: u32,
    pub nonce: [u8; 12],
}

impl Header {
    /// A header that says "gone".
    pub fn tombstone(identity: Identity, version: Version) -> Self {
        Self {
            identity,
            version,
            is_tombstone: true,
            is_encrypted: false,
            is_list: false,
            meta: 0,
            body: 0,
            meta_crc: 0,
            nonce: [0; 12],
        }
    }

    /// Pieces of the body.
    pub fn pieces(&self) -> u64 {
        self.body.div_ceil(PIECE as u64)
    }

    /// Octets one piece has more on the disk than in clear.
    pub fn overhead(&self) -> u64 {
        if self.is_encrypted { TAG as u64 } else { 0 }
    }

    /// Where the body begins, from the record's start.
    pub fn body_at(&self) -> u64 {
        (HEADER + self.meta as usize) as u64
    }

    /// Where the table of checksums begins.
    pub fn table_at(&self) -> u64 {
        self.body_at() + self.body + self.pieces() * self.overhead()
    }

    /// Octets of the whole record, up to where the next one may begin.
    pub fn octets(&self) -> u64 {
        let table = if self.body == 0 { 0 } else { self.pieces() * 4 + 4 };
        (self.table_at() + table).next_multiple_of(UNIT)
    }

    /// The octets of the header.
    pub fn encode(&self) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let flags =
            [(self.is_tombstone, TOMBSTONE), (self.is_encrypted, SEALED), (self.is_list, LIST)];
        let flags = flags.iter().filter(|(is_set, _)| *is_set).fold(0, |all, (_, flag)| all | flag);
        out[..4].copy_from_slice(&MAGIC.to_le_bytes());
        out[4] = flags;
        out[8..16].copy_from_slice(&self.identity.key.to_le_bytes());
        out[16..20].copy_from_slice(&self.identity.variant.to_le_bytes());
        out[20..28].copy_from_slice(&self.version.0.to_le_bytes());
        out[28..32].copy_from_slice(&self.meta.to_le_bytes());
        out[32..40].copy_from_slice(&self.body.to_le_bytes());
        out[40..44].copy_from_slice(&self.meta_crc.to_le_bytes());
        out[44..56].copy_from_slice(&self.nonce);
        let crc = crc32fast::hash(&out[..60]);
        out[60..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a header; `None` if these octets are none.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        let octets = octets.get(..HEADER)?;
        let mut read = Cursor(octets);
        if read.u32()? != MAGIC
            || crc32fast::hash(&octets[..60]) != u32::from_le_bytes(octets[60..].try_into().ok()?)
        {
            return None;
        }
        let flags = read.take(4)?[0];
        let identity = Identity { key: read.u64()?, variant: read.u32()? };
        let version = Version(read.u64()?);
        let (meta, body, meta_crc) = (read.u32()?, read.u64()?, read.u32()?);
        let nonce = read.take(12)?.try_into().ok()?;
        let is_sane = meta as usize <= META_MAX && body < 1 << 50;
        let (is_tombstone, is_encrypted, is_list) =
            (flags & TOMBSTONE != 0, flags & SEALED != 0, flags & LIST != 0);
        is_sane.then_some(Self {
            identity,
            version,
            is_tombstone,
            is_encrypted,
            is_list,
            meta,
            body,
            meta_crc,
            nonce,
        })
    }
}

/// The octets of the table of checksums.
pub fn encode_table(crcs: &[u32]) -> Vec<u8> {
    let mut out: Vec<u8> = crcs.iter().flat_map(|crc| crc.to_le_bytes()).collect();
    let own = crc32fast::hash(&out);
    out.extend_from_slice(&own.to_le_bytes());
    out
}

/// Reads a table of so many checksums.
pub fn decode_table(octets: &[u8], pieces: u64) -> Option<Vec<u32>> {
    let at = usize::try_from(pieces).ok()?.checked_mul(4)?;
    let (table, own) = (octets.get(..at)?, octets.get(at..at + 4)?);
    (crc32fast::hash(table).to_le_bytes() == own).then(|| {
        table
            .chunks_exact(4)
            .map(|crc| u32::from_le_bytes(crc.try_into().unwrap_or_default()))
            .collect()
    })
}

/// Everything of a stored response but its body.
pub fn encode_meta(stored: &Stored) -> Vec<u8> {
    let mut out = Vec::with_capacity(192 + stored.head.lines().len());
    put_bytes(&mut out, stored.key.as_bytes());
    put_selector(&mut out, &stored.selector);
    out.extend_from_slice(&stored.status.to_le_bytes());
    put_bytes(&mut out, stored.head.lines());
    for number in [stored.born.0, stored.date.0, stored.asked_at.0] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    for number in
        [stored.life.fresh, stored.life.stale_while_revalidate, stored.life.stale_if_error]
    {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.push(u8::from(stored.came_aged) | (u8::from(stored.flags.own_tag_is_strong) << 1));
    out.push(reuse_code(stored.life.reuse));
    out.push(rule_code(stored.life.rule));
    out.extend_from_slice(&(stored.tags.len() as u32).to_le_bytes());
    stored.tags.iter().for_each(|tag| out.extend_from_slice(&tag.to_le_bytes()));
    out.push(u8::from(stored.part.is_some()));
    if let Some(part) = stored.part() {
        for number in [part.span.start, part.span.end, part.complete] {
            out.extend_from_slice(&number.to_le_bytes());
        }
    }
    out
}

/// Puts a stored response together from its meta and a body; `None` if the meta is not one of ours.
pub fn decode_meta(octets: &[u8], content: Arc<Content>) -> Option<Stored> {
    let mut read = Cursor(octets);
    let key = CacheKey::new(read.bytes()?);
    let selector = read.selector()?;
    let status = u16::from_le_bytes(read.take(2)?.try_into().ok()?);
    let head = StoredHead::from_lines(read.bytes()?)?;
    let (born, date, asked_at) =
        (Timestamp(read.u64()?), Timestamp(read.u64()?), InvalidationNumber(read.u64()?));
    let (fresh, stale_while_revalidate, stale_if_error) = (read.u64()?, read.u64()?, read.u64()?);
    let bits = read.u8()?;
    let (came_aged, own_tag_is_strong) = (bits & 1 != 0, bits & 2 != 0);
    let (reuse, rule) = (reuse_of(read.u8()?)?, rule_of(read.u8()?)?);
    let count = read.u32()?;
    let (tags, part) = (read.tags(count)?, read.part()?);
    let life = Life { fresh, stale_while_revalidate, stale_if_error, reuse, rule };
    read.0.is_empty().then(|| Stored {
        key,
        selector,
        status,
        head,
        born,
        came_aged,
        date,
        life,
        asked_at,
        tags: tags.into(),
        part: part.map(Box::new),
        content,
        live: Live::default(),
        flags: Flags { own_tag_is_strong, ..Flags::default() },
    })
}

/// By which fields a variant was chosen.
pub fn put_selector(out: &mut Vec<u8>, selector: &Selector) {
    out.extend_from_slice(&(selector.0.len() as u32).to_le_bytes());
    for (name, value) in &selector.0 {
        put_bytes(out, name.as_str().as_bytes());
        out.push(u8::from(value.is_some()));
        put_bytes(out, value.as_deref().unwrap_or_default());
    }
}

/// Octets behind their length.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

const REUSES: [Reuse; 2] = [Reuse::WhileFresh, Reuse::AfterValidation];

/// The octet that a reuse is kept as.
pub fn reuse_code(reuse: Reuse) -> u8 {
    REUSES.iter().position(|known| *known == reuse).unwrap_or(0) as u8
}

/// The reuse that an octet means.
pub fn reuse_of(code: u8) -> Option<Reuse> {
    REUSES.get(usize::from(code)).copied()
}

const RULES: [TtlRule; 10] = [
    TtlRule::Origin(LifetimeSource::Targeted),
    TtlRule::Origin(LifetimeSource::SMaxAge),
    TtlRule::Origin(LifetimeSource::MaxAge),
    TtlRule::Origin(LifetimeSource::Expires),
    TtlRule::Origin(LifetimeSource::Heuristic),
    TtlRule::Default,
    TtlRule::Min,
    TtlRule::Max,
    TtlRule::Error,
    TtlRule::Zero,
];

/// The octet that a rule is kept as.
pub fn rule_code(rule: TtlRule) -> u8 {
    RULES.iter().position(|known| *known == rule).unwrap_or(0) as u8
}

/// The rule that an octet means.
pub fn rule_of(code: u8) -> Option<TtlRule> {
    RULES.get(usize::from(code)).copied()
}

/// Octets being read; each step is `None` beyond their end.
pub struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    /// Takes `len` octets off the front.
    pub fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// One octet.
    pub fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    /// Four octets, the lowest first.
    pub fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_le_bytes)
    }

    /// Eight octets, the lowest first.
    pub fn u64(&mut self) -> Option<u64> {
        self.take(8)?.try_into().ok().map(u64::from_le_bytes)
    }

    /// Octets behind their length.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    /// What [`put_selector`] wrote.
    pub fn selector(&mut self) -> Option<Selector> {
        let count = self.u32()?;
        let mut all = Vec::new();
        for _ in 0..count {
            let name = HeaderName::from_bytes(self.bytes()?).ok()?;
            let is_there = self.u8()? != 0;
            let value = self.bytes()?;
            all.push((name, is_there.then(|| value.into())));
        }
        Some(Selector(all.into()))
    }

    /// So many hashes.
    pub fn tags(&mut self, count: u32) -> Option<Box<[u64]>> {
        (0..count).map(|_| self.u64()).collect()
    }

    /// A part, if it is one.
    pub fn part(&mut self) -> Option<Option<Part>> {
        if self.u8()? == 0 {
            return Some(None);
        }
        let span = Span { start: self.u64()?, end: self.u64()? };
        Some(Some(Part { span, complete: self.u64()? }))
    }
}

/// One line of a segment's footer: what a start needs to know of a record without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line {
    pub identity: Identity,
    pub version: Version,
    /// In units of `UNIT` octets.
    pub at: u32,
    /// In units of `UNIT` octets.
    pub len: u32,
    pub is_tombstone: bool,
}

const LINE: usize = 32;
const END: usize = 16;
const END_MAGIC: u32 = u32::from_le_bytes(*b"FSe1");

/// A segment's footer: its lines, and where they begin.
pub fn encode_footer(lines: &[Line]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lines.len() * LINE + END);
    for line in lines {
        out.extend_from_slice(&line.identity.key.to_le_bytes());
        out.extend_from_slice(&line.identity.variant.to_le_bytes());
        out.extend_from_slice(&line.version.0.to_le_bytes());
        out.extend_from_slice(&line.at.to_le_bytes());
        out.extend_from_slice(&line.len.to_le_bytes());
        out.extend_from_slice(&u32::from(line.is_tombstone).to_le_bytes());
    }
    let crc = crc32fast::hash(&out);
    out.extend_from_slice(&(lines.len() as u32).to_le_bytes());
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&END_MAGIC.to_le_bytes());
    let own = crc32fast::hash(&out[out.len() - 12..]);
    out.extend_from_slice(&own.to_le_bytes());
    out
}

/// Octets of a footer with so many lines.
pub const fn footer_octets(lines: usize) -> u64 {
    (lines * LINE + END) as u64
}

/// Octets of a footer whose last octets these are; `None` if they end none.
pub fn footer_len(end: &[u8]) -> Option<usize> {
    let end = end.get(end.len().checked_sub(END)?..)?;
    let is_one = end[8..12] == END_MAGIC.to_le_bytes()
        && crc32fast::hash(&end[..12]).to_le_bytes() == end[12..];
    let lines = u32::from_le_bytes(end[..4].try_into().ok()?) as usize;
    is_one.then_some(lines * LINE + END)
}

/// Octets that the end of a footer takes.
pub const FOOTER_END: usize = END;

/// Reads a footer.
pub fn decode_footer(octets: &[u8]) -> Option<Vec<Line>> {
    if footer_len(octets)? != octets.len() {
        return None;
    }
    let (lines, end) = octets.split_at(octets.len() - END);
    if crc32fast::hash(lines).to_le_bytes() != end[4..8] {
        return None;
    }
    lines
        .chunks_exact(LINE)
        .map(|line| {
            let mut read = Cursor(line);
            let identity = Identity { key: read.u64()?, variant: read.u32()? };
            Some(Line {
                identity,
                version: Version(read.u64()?),
                at: read.u32()?,
                len: read.u32()?,
                is_tombstone: read.u32()? != 0,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::fields::FieldSection;
    use proptest::prelude::*;

    fn sample(part: bool) -> Stored {
        let mut fields = FieldSection::new();
        fields.append("etag", "\"a\"");
        fields.append("x-a", "b");
        fields.append("last-modified", "Sun, 06 Nov 1994 08:49:37 GMT");
        let selecting =
            vec![(http::header::ACCEPT, Some(b"x".to_vec().into())), (http::header::COOKIE, None)];
        Stored {
            key: CacheKey::new(b"E\0/a\0"),
            selector: Selector(selecting.into()),
            status: 200,
            head: StoredHead::new(&fields),
            born: Timestamp(7),
            came_aged: true,
            date: Timestamp(8),
            life: Life {
                fresh: 1,
                stale_while_revalidate: 2,
                stale_if_error: 3,
                reuse: Reuse::AfterValidation,
                rule: TtlRule::Max,
            },
            asked_at: InvalidationNumber(9),
            tags: vec![4, 5].into(),
            part: part.then(|| Box::new(Part { span: Span { start: 1, end: 5 }, complete: 10 })),
            content: Content::complete(b""),
            live: Live::default(),
            flags: Flags { own_tag_is_strong: true, ..Flags::default() },
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for part in [false, true] {
            let stored = sample(part);
            let octets = encode_meta(&stored);
            let read = decode_meta(&octets, Content::complete(b"")).unwrap();
            assert_eq!(encode_meta(&read), octets);
            assert_eq!(
                (read.key, read.selector, read.part, read.life),
                (stored.key, stored.selector, stored.part, stored.life)
            );
            assert_eq!(
                (read.head.etag(), read.head.last_modified()),
                (stored.head.etag(), stored.head.last_modified())
            );
            for cut in 0..octets.len() {
                assert!(decode_meta(&octets[..cut], Content::complete(b"")).is_none(), "{cut}");
            }
        }
        for reuse in REUSES {
            assert_eq!(reuse_of(reuse_code(reuse)), Some(reuse));
        }
        for rule in RULES {
            assert_eq!(rule_of(rule_code(rule)), Some(rule));
        }
    }

    #[test]
    fn a_changed_bit_is_seen() {
        let identity = Identity { key: 1, variant: 2 };
        let header = Header {
            meta: 5,
            body: 70_000,
            is_encrypted: true,
            ..Header::tombstone(identity, Version(3))
        };
        let octets = header.encode();
        assert_eq!(Header::decode(&octets), Some(header));
        let lines = [Line { identity, version: Version(9), at: 4, len: 6, is_tombstone: true }; 3];
        let footer = encode_footer(&lines);
        assert_eq!(decode_footer(&footer).unwrap(), lines);
        let table = encode_table(&[1, 2, 3]);
        assert_eq!(decode_table(&table, 3), Some(vec![1, 2, 3]));
        for bit in 0..octets.len() * 8 {
            let mut bad = octets;
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bad), None, "{bit}");
        }
        for bit in 0..footer.len() * 8 {
            let mut bad = footer.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_footer(&bad), None, "{bit}");
        }
        for bit in 0..table.len() * 8 {
            let mut bad = table.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode_table(&bad, 3), None, "{bit}");
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), pieces in 0u64..100) {
            let _ = (Header::decode(&bytes), decode_footer(&bytes), decode_table(&bytes, pieces), footer_len(&bytes));
            let _ = decode_meta(&bytes, Content::complete(b""));
        }
    }
}
