//! Pure: what a response looks like in a tier: names of keys, the meta, and pieces of its body.
//!
//! A response is one value that says everything about it, the *meta*, with a small body inside, and
//! a value for each 64 KiB of a larger one. All their keys have one hash tag, so that they lie on
//! one node. Each value stands for itself: a header, and either a seal or a checksum over all of
//! it, bound to the response's generation and the number of the piece; so a range reads no more
//! than the pieces it touches, and no value stands in for another.
//!
//! No moment of any clock is in it. The meta has the age at which it was written and the
//! lifetime it was given in the engine; what is left of that lifetime tells the rest.
//!
//! A value that is not exactly what this version writes is a [`Miss`] with a name.

use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;

use super::miss::Miss;
use super::seal::{Generation, Seals, TAG};
use crate::body::Content;
use crate::fleet::protocol::{Epoch, FleetNumber, Stamp};
use crate::invalidation::chain::RecordId;
use crate::message::key::{CacheKey, InvalidationNumber};
use crate::message::stored::{Flags, Life, Live, Part, Reuse, Selector, Stored, StoredHead};
use crate::semantics::ranges::Span;
use crate::semantics::time::{Timestamp, parse_http_date};
use crate::store::disk::record::{
    Cursor, put_bytes, put_selector, reuse_code, reuse_of, rule_code, rule_of,
};

/// The format of the values. A reader takes no other, so that versions may run side by side.
pub const VERSION: u8 = 1;
/// Octets of a body that are one value.
pub const PIECE: usize = 64 << 10;
/// Bodies up to here lie inside the meta.
pub const INLINE_MAX: usize = 16 << 10;
/// The most octets of a meta without a body; responses with longer heads are not written.
pub const META_MAX: usize = 16 << 10;
/// The longest lifetime in the engine.
pub const TTL_MAX: Duration = Duration::from_secs(7 * 86_400);
/// Octets before what a value says.
const HEADER: usize = 24;
/// Octets of a checksum.
const CHECKSUM: usize = 4;
/// The number of a meta among the parts.
const META: u32 = u32::MAX;
const SEALED: u8 = 1;

/// The most octets of any value.
pub const VALUE_MAX: usize = HEADER + PIECE + TAG;

/// Where a response lies in a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    digest: String,
}

impl Address {
    /// The address of a cache key: its SHA-256, cut to 16 octets. The key itself is in the meta.
    pub fn of(key: &CacheKey) -> Self {
        let digest = digest::digest(&digest::SHA256, key.as_bytes());
        Self { digest: hex(digest.as_ref().get(..16).unwrap_or_default()) }
    }

    /// The hash tag: everything of one response is placed by it.
    pub fn tag(&self) -> &str {
        &self.digest
    }

    /// The key of the meta.
    pub fn meta(&self) -> String {
        format!("f1:{{{}}}:m", self.digest)
    }

    /// The key of the lock of the edge that fetches it.
    pub fn lock(&self) -> String {
        format!("f1:{{{}}}:l", self.digest)
    }

    /// The key of the same lock for fetches that begin at a place of the fleet's log: one that
    /// began before an invalidation holds up none that comes after it.
    pub fn lock_at(&self, number: FleetNumber) -> String {
        format!("f1:{{{}}}:l{}", self.digest, number.0)
    }

    /// The key of a piece.
    pub fn piece(&self, generation: Generation, number: u32) -> String {
        format!("f1:{{{}}}:{}:{number}", self.digest, hex(&generation.0))
    }
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::with_capacity(octets.len() * 2), |mut text, octet| {
        let _ = write!(text, "{octet:02x}");
        text
    })
}

/// Why a response is not written to a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It would not be used again.
    Expired,
    /// Its head, key or tags are too long.
    TooLong,
    /// Its length is not known, or it has more pieces than can be numbered.
    NoLength,
    /// Its body is still on its way.
    Unfinished,
    /// It could not be sealed.
    NotSealed,
}

/// Everything about a response that its values share.
#[derive(Clone, Copy, Debug)]
pub struct Outline {
    pub stamp: Stamp,
    pub generation: Generation,
    /// Milliseconds.
    pub age: u64,
    /// The lifetime in the engine, in whole seconds: some engines count no finer.
    pub ttl: u32,
    /// Octets of the body.
    pub length: u64,
}

impl Outline {
    /// What is to be written of a response now.
    pub fn of(
        stored: &Stored,
        stamp: Stamp,
        generation: Generation,
        now: Timestamp,
    ) -> Result<Self, Unfit> {
        let age = stored.age(now);
        let ttl = ttl(&stored.life, age).ok_or(Unfit::Expired)?;
        if !stored.content.is_complete() {
            return Err(Unfit::Unfinished);
        }
        let length = stored.content.length().ok_or(Unfit::NoLength)?;
        if length.div_ceil(PIECE as u64) >= u64::from(META) {
            return Err(Unfit::NoLength);
        }
        Ok(Self { stamp, generation, age, ttl, length })
    }

    /// Says whether the body lies in the meta.
    pub const fn is_inline(&self) -> bool {
        self.length <= INLINE_MAX as u64
    }

    /// How many values the body takes beside the meta.
    pub const fn pieces(&self) -> u32 {
        pieces(self.length)
    }

    /// The numbers of the pieces that a part of the body lies in.
    pub fn pieces_of(&self, span: Span) -> std::ops::Range<u32> {
        let piece = PIECE as u64;
        let last = span.end.min(self.length).div_ceil(piece);
        let first = (span.start / piece).min(last);
        if self.pieces() == 0 { 0..0 } else { first as u32..last as u32 }
    }

    /// Octets of a piece.
    pub fn piece_len(&self, number: u32) -> usize {
        let start = u64::from(number) * PIECE as u64;
        self.length.saturating_sub(start).min(PIECE as u64) as usize
    }
}

const fn pieces(length: u64) -> u32 {
    if length <= INLINE_MAX as u64 { 0 } else { length.div_ceil(PIECE as u64) as u32 }
}

/// The lifetime of a response of this age in the engine, in seconds: all that it may be served for,
/// stale windows included.
fn ttl(life: &Life, age: u64) -> Option<u32> {
    // What is to be validated before each use would be read in vain.
    if life.reuse == Reuse::AfterValidation {
        return None;
    }
    let window = life.stale_while_revalidate.max(life.stale_if_error);
    let left = life.fresh.saturating_add(window).saturating_sub(age);
    let secs = left.div_ceil(1000).min(TTL_MAX.as_secs());
    (left > 0).then(|| u32::try_from(secs).unwrap_or(u32::MAX))
}

/// Writes the meta; `body` is the whole body where [`Outline::is_inline`], and empty elsewhere.
pub fn encode_meta(
    stored: &Stored,
    outline: &Outline,
    body: &[u8],
    seals: Option<&Seals>,
) -> Result<Vec<u8>, Unfit> {
    let mut said = Vec::with_capacity(256 + stored.head.lines().len() + body.len());
    said.extend_from_slice(&outline.stamp.epoch.0.octets());
    said.extend_from_slice(&outline.stamp.number.0.to_le_bytes());
    put_bytes(&mut said, stored.key.as_bytes());
    put_selector(&mut said, &stored.selector);
    said.extend_from_slice(&stored.status.to_le_bytes());
    put_bytes(&mut said, stored.head.lines());
    said.push(reuse_code(stored.life.reuse));
    said.push(rule_code(stored.life.rule));
    let Life { fresh, stale_while_revalidate, stale_if_error, .. } = stored.life;
    for number in [fresh, stale_while_revalidate, stale_if_error, outline.age, outline.length] {
        said.extend_from_slice(&number.to_le_bytes());
    }
    for number in [outline.ttl, PIECE as u32, stored.tags.len() as u32] {
        said.extend_from_slice(&number.to_le_bytes());
    }
    stored.tags.iter().for_each(|tag| said.extend_from_slice(&tag.to_le_bytes()));
    said.push(u8::from(stored.part.is_some()));
    if let Some(part) = stored.part() {
        for number in [part.span.start, part.span.end, part.complete] {
            said.extend_from_slice(&number.to_le_bytes());
        }
    }
    if said.len() > META_MAX {
        return Err(Unfit::TooLong);
    }
    said.extend_from_slice(body);
    enclose(&said, outline.generation, META, stored.key.as_bytes(), seals)
}

/// Writes a piece of a response's body.
pub fn encode_piece(
    octets: &[u8],
    key: &CacheKey,
    generation: Generation,
    number: u32,
    seals: Option<&Seals>,
) -> Result<Vec<u8>, Unfit> {
    enclose(octets, generation, number, key.as_bytes(), seals)
}

fn enclose(
    said: &[u8],
    generation: Generation,
    number: u32,
    key: &[u8],
    seals: Option<&Seals>,
) -> Result<Vec<u8>, Unfit> {
    let header = header(generation, number, seals.is_some());
    let mut out = Vec::with_capacity(HEADER + said.len() + TAG);
    out.extend_from_slice(&header);
    match seals {
        None => {
            out.extend_from_slice(said);
            out.extend_from_slice(&crc32fast::hash(&out).to_le_bytes());
        }
        Some(seals) => {
            let mut sealed = said.to_vec();
            seals
                .seal(generation, number, &[&header[..], key].concat(), &mut sealed)
                .ok_or(Unfit::NotSealed)?;
            out.extend_from_slice(&sealed);
        }
    }
    Ok(out)
}

fn header(generation: Generation, number: u32, is_sealed: bool) -> [u8; HEADER] {
    let mut out = [0; HEADER];
    out[0] = VERSION;
    out[1] = if is_sealed { SEALED } else { 0 };
    out[4..8].copy_from_slice(&number.to_le_bytes());
    out[8..].copy_from_slice(&generation.0);
    out
}

/// A value with its header and its seal or checksum taken off.
struct Opened {
    generation: Generation,
    said: Vec<u8>,
}

fn open(
    value: &[u8],
    most: usize,
    number: u32,
    key: &[u8],
    seals: Option<&Seals>,
) -> Result<Opened, Miss> {
    let (head, rest) = value.split_at_checked(HEADER).ok_or(Miss::Truncated)?;
    if head[0] > VERSION {
        return Err(Miss::Newer);
    }
    if value.len() > HEADER + most + TAG {
        return Err(Miss::Oversized);
    }
    let generation: [u8; 16] = head[8..].try_into().map_err(|_| Miss::Malformed)?;
    let generation = Generation(generation);
    let is_sealed = head[1] == SEALED;
    if head != header(generation, number, is_sealed) {
        return Err(Miss::Malformed);
    }
    let said = match (seals, is_sealed) {
        (Some(seals), true) => {
            seals.open(generation, number, &[head, key].concat(), rest).ok_or(Miss::WrongSeal)?
        }
        (None, false) => {
            let at = rest.len().checked_sub(CHECKSUM).ok_or(Miss::Truncated)?;
            let (said, checksum) = rest.split_at(at);
            if crc32fast::hash(&value[..HEADER + at]).to_le_bytes() != checksum {
                return Err(Miss::Malformed);
            }
            said.to_vec()
        }
        (Some(_), false) => return Err(Miss::Unsealed),
        (None, true) => return Err(Miss::Sealed),
    };
    Ok(Opened { generation, said })
}

/// A response as a tier tells of it.
#[derive(Debug)]
pub struct Meta {
    pub outline: Outline,
    pub selector: Selector,
    pub status: u16,
    pub head: StoredHead,
    pub life: Life,
    /// Hashes of its tags.
    pub tags: Box<[u64]>,
    pub part: Option<Part>,
    /// The body, where it lies in the meta.
    pub body: Option<Bytes>,
}

/// Reads the meta of a cache key.
pub fn decode_meta(value: &[u8], key: &CacheKey, seals: Option<&Seals>) -> Result<Meta, Miss> {
    let opened = open(value, META_MAX + INLINE_MAX, META, key.as_bytes(), seals)?;
    let mut read = Cursor(&opened.said);
    let stamp = stamp(&mut read).ok_or(Miss::Malformed)?;
    let found = read.bytes().ok_or(Miss::Malformed)?;
    // The digest of the key is cut: two keys may have the same.
    if found != key.as_bytes() {
        return Err(Miss::Foreign);
    }
    let meta = rest_of_meta(read, stamp, opened.generation).ok_or(Miss::Malformed)?;
    match &meta.body {
        Some(body) if body.len() as u64 != meta.outline.length => Err(Miss::Malformed),
        _ => Ok(meta),
    }
}

fn stamp(read: &mut Cursor<'_>) -> Option<Stamp> {
    let epoch = RecordId::from_octets(read.take(16)?.try_into().ok()?);
    Some(Stamp { epoch: Epoch(epoch), number: FleetNumber(read.u64()?) })
}

fn rest_of_meta(mut read: Cursor<'_>, stamp: Stamp, generation: Generation) -> Option<Meta> {
    let selector = read.selector()?;
    let status = u16::from_le_bytes(read.take(2)?.try_into().ok()?);
    let head = StoredHead::from_lines(read.bytes()?)?;
    let (reuse, rule) = (reuse_of(read.u8()?)?, rule_of(read.u8()?)?);
    let (fresh, stale_while_revalidate, stale_if_error) = (read.u64()?, read.u64()?, read.u64()?);
    let life = Life { fresh, stale_while_revalidate, stale_if_error, reuse, rule };
    let (age, length) = (read.u64()?, read.u64()?);
    let (ttl, piece, count) = (read.u32()?, read.u32()?, read.u32()?);
    let (tags, part) = (read.tags(count)?, read.part()?);
    let is_part = |part: &Part| part.span.start <= part.span.end && part.span.end <= part.complete;
    let is_sane = piece as usize == PIECE
        && part.as_ref().is_none_or(is_part)
        && u64::from(ttl) <= TTL_MAX.as_secs()
        && (100..1000).contains(&status)
        && length.div_ceil(PIECE as u64) < u64::from(META);
    let outline = Outline { stamp, generation, age, ttl, length };
    let body = outline.is_inline().then(|| Bytes::copy_from_slice(read.0));
    (is_sane && (body.is_some() || read.0.is_empty())).then(|| Meta {
        outline,
        selector,
        status,
        head,
        life,
        tags,
        part,
        body,
    })
}

impl Meta {
    /// How many values the body takes beside the meta.
    pub const fn pieces(&self) -> u32 {
        self.outline.pieces()
    }

    /// The age in milliseconds, from what the engine says is left of the lifetime.
    pub fn age(&self, left: Duration) -> Result<u64, Miss> {
        let ttl = u64::from(self.outline.ttl) * 1000;
        // Nobody but us sets lifetimes of our keys, and we never make one longer.
        let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        let passed = ttl.checked_sub(left).ok_or(Miss::Malformed)?;
        Ok(self.outline.age.saturating_add(passed))
    }

    /// Puts the response together as the store keeps it, of this age now, valid against this
    /// number of the own log.
    pub fn into_stored(
        self,
        key: CacheKey,
        now: Timestamp,
        age: u64,
        asked_at: InvalidationNumber,
        content: Arc<Content>,
    ) -> Stored {
        let born = Timestamp(now.0.saturating_sub(age));
        let mut lines = self.head.iter();
        let date = lines
            .find(|(name, _)| name.eq_ignore_ascii_case(b"date"))
            .and_then(|(_, value)| parse_http_date(value, now))
            .unwrap_or(born);
        Stored {
            key,
            selector: self.selector,
            status: self.status,
            born,
            came_aged: true,
            date,
            life: self.life,
            asked_at,
            tags: self.tags.into(),
            part: self.part.map(Box::new),
            content,
            live: Live::default(),
            flags: Flags::default(),
            head: self.head,
        }
    }
}

/// Reads a piece of `len` octets.
pub fn decode_piece(
    value: &[u8],
    key: &CacheKey,
    generation: Generation,
    number: u32,
    len: usize,
    seals: Option<&Seals>,
) -> Result<Bytes, Miss> {
    let opened = open(value, PIECE, number, key.as_bytes(), seals)?;
    if opened.generation != generation {
        return Err(Miss::OtherGeneration);
    }
    match opened.said.len().cmp(&len) {
        std::cmp::Ordering::Less => Err(Miss::Truncated),
        std::cmp::Ordering::Greater => Err(Miss::Oversized),
        std::cmp::Ordering::Equal => Ok(Bytes::from(opened.said)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::secret::Secret;
    use crate::message::stored::TtlRule;
    use crate::semantics::fields::FieldSection;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
    const GENERATION: Generation = Generation([9; 16]);
    const STAMP: Stamp =
        Stamp { epoch: Epoch(RecordId::from_octets([3; 16])), number: FleetNumber(40) };

    fn seals(secret: &str) -> Seals {
        Seals::new(&Secret::new(secret.to_string()), None)
    }

    fn sample(key: &[u8], body: &[u8]) -> Stored {
        let mut fields = FieldSection::new();
        fields.append("etag", "\"a\"");
        fields.append("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        let selecting =
            vec![(http::header::ACCEPT, Some(b"x".to_vec().into())), (http::header::COOKIE, None)];
        Stored {
            key: CacheKey::new(key),
            selector: Selector(selecting.into()),
            status: 200,
            head: StoredHead::new(&fields),
            born: Timestamp(NOW.0 - 5000),
            came_aged: false,
            date: NOW,
            life: Life {
                fresh: 60_000,
                stale_while_revalidate: 2000,
                stale_if_error: 10_000,
                reuse: Reuse::WhileFresh,
                rule: TtlRule::Max,
            },
            asked_at: InvalidationNumber(9),
            tags: vec![4, 5].into(),
            part: Some(Box::new(Part { span: Span { start: 1, end: 5 }, complete: 10 })),
            content: Content::complete(body),
            live: Live::default(),
            flags: Flags::default(),
        }
    }

    fn meta_of(stored: &Stored, seals: Option<&Seals>) -> Vec<u8> {
        let outline = Outline::of(stored, STAMP, GENERATION, NOW).unwrap();
        let body = if outline.is_inline() { stored.content.whole().unwrap() } else { &b""[..] };
        encode_meta(stored, &outline, body, seals).unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        for (seal, len) in [(false, 0), (true, 5), (false, INLINE_MAX), (true, INLINE_MAX + 1)] {
            let seals = seal.then(|| seals("k"));
            let stored = sample(b"E\0/a\0", &vec![7; len]);
            let octets = meta_of(&stored, seals.as_ref());
            let meta = decode_meta(&octets, &stored.key, seals.as_ref()).unwrap();
            assert_eq!((meta.outline.stamp, meta.outline.generation), (STAMP, GENERATION));
            assert_eq!((meta.outline.age, meta.outline.ttl), (5000, 65));
            assert_eq!(meta.pieces(), u32::from(len > INLINE_MAX));
            assert_eq!(meta.body.is_some(), len <= INLINE_MAX);
            assert_eq!((&meta.selector, meta.status), (&stored.selector, 200));
            assert_eq!((meta.life, meta.part), (stored.life, stored.part()));
            // Twenty seconds later, on a machine whose clock says something else.
            let age = meta.age(Duration::from_secs(45)).unwrap();
            let later = Timestamp::from_secs(1_000_000_000);
            let content = Content::complete(b"");
            let read =
                meta.into_stored(stored.key.clone(), later, age, InvalidationNumber(2), content);
            assert_eq!((read.age(later), read.asked_at), (25_000, InvalidationNumber(2)));
            assert_eq!(read.date, Timestamp::from_secs(784_111_777));
            assert_eq!(read.head.lines(), stored.head.lines());
            assert_eq!(read.tags, stored.tags);
        }
    }

    #[test]
    fn what_is_not_ours_is_a_miss_with_a_name() {
        let stored = sample(b"E\0/a\0", b"hello");
        let other = CacheKey::new(b"E\0/b\0");
        let (clear, sealed) = (meta_of(&stored, None), meta_of(&stored, Some(&seals("k"))));
        let key = &stored.key;
        let read = |octets: &[u8], key: &CacheKey, seals: Option<&Seals>| {
            decode_meta(octets, key, seals).err()
        };
        let (right, wrong) = (seals("k"), seals("l"));
        assert_eq!(read(&clear, &other, None), Some(Miss::Foreign));
        assert_eq!(read(&sealed, &other, Some(&right)), Some(Miss::WrongSeal));
        assert_eq!(read(&sealed, key, Some(&wrong)), Some(Miss::WrongSeal));
        assert_eq!(read(&sealed, key, None), Some(Miss::Sealed));
        assert_eq!(read(&clear, key, Some(&right)), Some(Miss::Unsealed));
        assert_eq!(read(&sealed, key, Some(&right)), None);
        let mut newer = clear.clone();
        newer[0] = VERSION + 1;
        assert_eq!(read(&newer, key, None), Some(Miss::Newer));
        let oversized = [&clear[..], &[0; VALUE_MAX][..]].concat();
        assert_eq!(read(&oversized, key, None), Some(Miss::Oversized));
        for value in [&b""[..], b"0123", b"the value of somebody else's key, long enough"] {
            let miss = read(value, key, None).unwrap();
            assert!(matches!(miss, Miss::Truncated | Miss::Newer | Miss::Malformed), "{miss:?}");
        }
        // A piece is no meta.
        let piece = encode_piece(b"hello", key, GENERATION, 0, None).unwrap();
        assert_eq!(read(&piece, key, None), Some(Miss::Malformed));
    }

    #[test]
    fn no_bit_may_change_and_no_octet_be_missing() {
        let stored = sample(b"E\0/a\0", b"hello");
        for seals in [None, Some(seals("k"))] {
            let octets = meta_of(&stored, seals.as_ref());
            for bit in 0..octets.len() * 8 {
                let mut bad = octets.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                assert!(decode_meta(&bad, &stored.key, seals.as_ref()).is_err(), "{bit}");
            }
            for cut in 0..octets.len() {
                assert!(decode_meta(&octets[..cut], &stored.key, seals.as_ref()).is_err());
            }
        }
    }

    #[test]
    fn a_piece_is_of_one_response_in_one_place() {
        let key = CacheKey::new(b"E\0/a\0");
        let octets = vec![7u8; 1000];
        for seals in [None, Some(seals("k"))] {
            let seals = seals.as_ref();
            let value = encode_piece(&octets, &key, GENERATION, 3, seals).unwrap();
            let read = |generation, number, len| {
                decode_piece(&value, &key, generation, number, len, seals)
            };
            assert_eq!(read(GENERATION, 3, 1000).unwrap(), octets);
            assert_eq!(read(GENERATION, 4, 1000), Err(Miss::Malformed));
            assert_eq!(read(Generation([8; 16]), 3, 1000), Err(Miss::OtherGeneration));
            assert_eq!(read(GENERATION, 3, 1001), Err(Miss::Truncated));
            assert_eq!(read(GENERATION, 3, 999), Err(Miss::Oversized));
        }
    }

    #[test]
    fn a_part_lies_in_the_pieces_it_touches() {
        let stored = sample(b"E\0/a\0", &vec![7; 3 * PIECE + 1]);
        let meta = decode_meta(&meta_of(&stored, None), &stored.key, None).unwrap();
        let piece = PIECE as u64;
        let table = [
            (0, 1, 0..1),
            (0, piece, 0..1),
            (piece - 1, piece + 1, 0..2),
            (3 * piece, 3 * piece + 1, 3..4),
            (0, u64::MAX, 0..4),
            (9 * piece, 10 * piece, 4..4),
        ];
        for (start, end, wanted) in table {
            let pieces = meta.outline.pieces_of(Span { start, end });
            assert_eq!(pieces, wanted, "{start} {end}");
        }
        assert_eq!([0, 2, 3, 4].map(|number| meta.outline.piece_len(number)), [PIECE, PIECE, 1, 0]);
    }

    #[test]
    fn a_lifetime_takes_in_the_stale_windows_and_ends() {
        let life = |fresh, stale_while_revalidate, stale_if_error, reuse| Life {
            fresh,
            stale_while_revalidate,
            stale_if_error,
            reuse,
            rule: TtlRule::Default,
        };
        let table = [
            (life(1, 0, 0, Reuse::WhileFresh), 0, Some(1)),
            (life(60_000, 0, 0, Reuse::WhileFresh), 59_999, Some(1)),
            (life(60_000, 0, 0, Reuse::WhileFresh), 60_000, None),
            (life(60_000, 5000, 9000, Reuse::WhileFresh), 60_000, Some(9)),
            (life(u64::MAX, 1, 1, Reuse::WhileFresh), 0, Some(7 * 86_400)),
            (life(0, 0, 0, Reuse::WhileFresh), 0, None),
            (life(60_000, 0, 0, Reuse::AfterValidation), 0, None),
        ];
        for (life, age, wanted) in table {
            assert_eq!(ttl(&life, age), wanted, "{life:?} {age}");
        }
    }

    #[test]
    fn an_age_never_shrinks_below_what_was_written() {
        let stored = sample(b"E\0/a\0", b"hello");
        let meta = decode_meta(&meta_of(&stored, None), &stored.key, None).unwrap();
        assert_eq!(meta.age(Duration::from_secs(65)), Ok(5000));
        assert_eq!(meta.age(Duration::ZERO), Ok(70_000));
        assert_eq!(meta.age(Duration::from_secs(66)), Err(Miss::Malformed));
    }

    #[test]
    fn everything_of_a_response_has_one_hash_tag_and_no_octet_that_a_protocol_would_mind() {
        let address = Address::of(&CacheKey::new(b"E\0/a\0"));
        assert_eq!(address.tag().len(), 32);
        let keys = [
            address.meta(),
            address.lock(),
            address.lock_at(FleetNumber(u64::MAX)),
            address.piece(GENERATION, u32::MAX - 1),
        ];
        for key in keys {
            assert!(key.contains(&format!("{{{}}}", address.tag())) && key.len() <= 250, "{key}");
            assert!(key.bytes().all(|octet| octet.is_ascii_graphic()), "{key}");
        }
        assert_ne!(address, Address::of(&CacheKey::new(b"E\0/b\0")));
    }

    #[test]
    fn what_does_not_fit_is_not_written() {
        let mut stored = sample(b"E\0/a\0", b"hello");
        stored.tags = vec![1; META_MAX / 8].into();
        let outline = Outline::of(&stored, STAMP, GENERATION, NOW).unwrap();
        assert_eq!(encode_meta(&stored, &outline, b"hello", None), Err(Unfit::TooLong));
        let late = Timestamp(NOW.0 + 3_600_000);
        assert_eq!(Outline::of(&stored, STAMP, GENERATION, late).err(), Some(Unfit::Expired));
    }

    proptest! {
        #[test]
        fn arbitrary_octets_never_panic(
            value in proptest::collection::vec(any::<u8>(), 0..300), is_ours in any::<bool>(),
        ) {
            let key = CacheKey::new(b"E\0/a\0");
            let mut value = value;
            if is_ours {
                // A right header and a right checksum, with anything between.
                value = enclose(&value, GENERATION, META, b"", None).unwrap();
            }
            let _ = decode_meta(&value, &key, None);
            let _ = decode_meta(&value, &key, Some(&seals("k")));
            let _ = decode_piece(&value, &key, GENERATION, 0, 100, None);
        }

        #[test]
        fn bodies_come_back_piece_by_piece(len in 0..3 * PIECE, is_sealed in any::<bool>()) {
            let body: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            let stored = sample(b"E\0/a\0", &body);
            let seals = is_sealed.then(|| seals("k"));
            let value = meta_of(&stored, seals.as_ref());
            prop_assert!(value.len() <= VALUE_MAX);
            let meta = decode_meta(&value, &stored.key, seals.as_ref()).unwrap();
            let mut read = meta.body.as_deref().unwrap_or_default().to_vec();
            for number in 0..meta.pieces() {
                let start = number as usize * PIECE;
                let octets = &body[start..(start + PIECE).min(len)];
                let value =
                    encode_piece(octets, &stored.key, GENERATION, number, seals.as_ref()).unwrap();
                prop_assert!(value.len() <= VALUE_MAX);
                let piece = decode_piece(
                    &value, &stored.key, GENERATION, number, meta.outline.piece_len(number),
                    seals.as_ref(),
                );
                read.extend_from_slice(&piece.unwrap());
            }
            prop_assert_eq!(read, body);
        }
    }
}
