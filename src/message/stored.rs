//! What is remembered of a response: everything a hit needs, computed when it was stored.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

use http::HeaderName;

use super::key::{CacheKey, InvalidationNumber};
use super::request::Fields;
use crate::body::Content;
use crate::body::arena::{LARGE, PAGE};
use crate::semantics::coding;
use crate::semantics::fields::FieldSection;
use crate::semantics::ranges::Span;
use crate::semantics::time::Timestamp;

/// A response kept under a key.
pub struct Stored {
    pub key: CacheKey,
    pub selector: Selector,
    pub status: u16,
    pub head: StoredHead,
    /// The moment at which the response was of age zero.
    pub born: Timestamp,
    /// It had an Age when it came: even its first answer tells it.
    pub came_aged: bool,
    /// The Date it carries, or the moment of arrival.
    pub date: Timestamp,
    pub life: Life,
    /// The log's head when the request that brought it began.
    pub asked_at: InvalidationNumber,
    pub tags: Tags,
    /// Which part of a larger whole the content is, if it is one.
    pub part: Option<Box<Part>>,
    pub content: Arc<Content>,
    pub live: Live,
    pub flags: Flags,
}

impl Stored {
    /// An empty 200 for `/a`, stored by an edge's default key, of age zero at the epoch and fresh
    /// for a minute.
    ///
    /// ```
    /// use foreshore::message::stored::Stored;
    ///
    /// let stored = Stored::example().with_status(404);
    /// assert_eq!((stored.status, stored.life.fresh), (404, 60_000));
    /// ```
    pub fn example() -> Self {
        Self {
            key: CacheKey::new(b"E\0/a\0"),
            selector: Selector::default(),
            status: 200,
            head: StoredHead::new(&FieldSection::new()),
            born: Timestamp(0),
            came_aged: false,
            date: Timestamp(0),
            life: Life {
                fresh: 60_000,
                stale_while_revalidate: 0,
                stale_if_error: 0,
                reuse: Reuse::WhileFresh,
                rule: TtlRule::Default,
            },
            asked_at: InvalidationNumber(0),
            tags: Tags::default(),
            part: None,
            content: Content::complete(b""),
            live: Live::default(),
            flags: Flags::default(),
        }
    }

    /// The same under another key.
    #[must_use]
    pub fn with_key(mut self, key: &[u8]) -> Self {
        self.key = CacheKey::new(key);
        self
    }

    /// The same with another status.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = status;
        self
    }

    /// The same with these fields in place of its own.
    #[must_use]
    pub fn with_fields(mut self, fields: &FieldSection) -> Self {
        self.head = StoredHead::new(fields);
        self
    }

    /// The same, of age zero at this moment, with the Date to it.
    #[must_use]
    pub const fn with_birth(mut self, at: Timestamp) -> Self {
        self.born = at;
        self.date = at;
        self
    }

    /// The same with another lifetime.
    #[must_use]
    pub const fn with_life(mut self, life: Life) -> Self {
        self.life = life;
        self
    }

    /// The same, brought by a request that began when the invalidation log stood at `number`.
    #[must_use]
    pub const fn with_asked_at(mut self, number: InvalidationNumber) -> Self {
        self.asked_at = number;
        self
    }

    /// The same with a copy of these octets as its whole content.
    #[must_use]
    pub fn with_content(mut self, octets: &[u8]) -> Self {
        self.content = Content::complete(octets);
        self
    }
}

/// Hashes of a response's tags, for invalidations. Most have none, and each has a place for them:
/// that takes one word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(Option<Box<Box<[u64]>>>);

impl std::ops::Deref for Tags {
    type Target = [u64];

    fn deref(&self) -> &[u64] {
        match &self.0 {
            Some(tags) => tags,
            None => &[],
        }
    }
}

impl From<Box<[u64]>> for Tags {
    fn from(tags: Box<[u64]>) -> Self {
        Self((!tags.is_empty()).then(|| Box::new(tags)))
    }
}

impl From<Vec<u64>> for Tags {
    fn from(tags: Vec<u64>) -> Self {
        tags.into_boxed_slice().into()
    }
}

/// A part of a whole: which octets, and how many there are in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    pub span: Span,
    pub complete: u64,
}

/// How long a response may be served, relative to `born`, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub fresh: u64,
    /// Beyond `fresh`: served while a refresh runs.
    pub stale_while_revalidate: u64,
    /// Beyond `fresh`: served when the origin fails.
    pub stale_if_error: u64,
    pub reuse: Reuse,
    /// What decided, for `explain` and the log.
    pub rule: TtlRule,
}

/// Whether a stored response may be used without asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    WhileFresh,
    /// `no-cache`: only after validation.
    AfterValidation,
}

/// What decided a lifetime.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TtlRule {
    Origin(crate::semantics::freshness::LifetimeSource),
    /// The policy's default: the origin said nothing.
    Default,
    /// The policy's lower bound, over what the origin said.
    Min,
    /// The policy's upper bound, under what the origin said.
    Max,
    /// The error caching minimum TTL.
    Error,
    /// Kept only to be validated.
    Zero,
}

impl TtlRule {
    /// The rule in words, and where it stands.
    pub const fn cites(self) -> &'static str {
        use crate::semantics::freshness::LifetimeSource as Said;
        match self {
            Self::Origin(Said::Targeted) => "the origin's CDN-Cache-Control (RFC 9213 §2.2)",
            Self::Origin(Said::SMaxAge) => "the origin's s-maxage (RFC 9111 §5.2.2.10)",
            Self::Origin(Said::MaxAge) => "the origin's max-age (RFC 9111 §5.2.2.1)",
            Self::Origin(Said::Expires) => {
                "the origin's Expires, counted from its Date (RFC 9111 §5.3)"
            }
            Self::Origin(Said::Heuristic) => {
                "a tenth of Date minus Last-Modified (RFC 9111 §4.2.2)"
            }
            Self::Default => {
                "the policy's default TTL: the origin says nothing (CloudFront's TTL table)"
            }
            Self::Min => {
                "the policy's minimum TTL, over what the origin says (CloudFront's TTL table)"
            }
            Self::Max => {
                "the policy's maximum TTL, under what the origin says (CloudFront's TTL table)"
            }
            Self::Error => "the error caching minimum TTL (CloudFront's error caching)",
            Self::Zero => "kept to be validated before each use (RFC 9111 §5.2.2.4)",
        }
    }
}

/// The request fields that choose this variant, and what its request said for them (normalised).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(pub Box<[Selecting]>);

/// A field that chooses, and what it said; `None` where it was absent.
pub type Selecting = (HeaderName, Option<Box<[u8]>>);

/// Begins the value of an Accept-Encoding that need not say the same, but must take the codings
/// that follow. No field value begins so: a checked head has no NUL.
const TAKES: &[u8] = b"\0takes ";

/// Chooses requests that take these codings, as Content-Encoding lists them.
pub fn takes(codings: &[u8]) -> Selecting {
    (http::header::ACCEPT_ENCODING, Some([TAKES, codings].concat().into()))
}

impl Selector {
    /// Says whether a request chooses this variant; allocates nothing where a field is absent.
    pub fn matches(&self, fields: Fields<'_>) -> bool {
        self.matches_but(fields, None)
    }

    /// The same, whatever the request says for one of the fields.
    pub fn matches_but(&self, fields: Fields<'_>, but: Option<&HeaderName>) -> bool {
        let mut scratch = Vec::new();
        self.0.iter().all(|(name, expected)| {
            if but == Some(name) {
                return true;
            }
            if let Some(codings) =
                expected.as_deref().and_then(|expected| expected.strip_prefix(TAKES))
            {
                return coding::accepts(fields.get_all(name.as_str()), codings);
            }
            scratch.clear();
            let found = crate::semantics::vary::normalise(
                name,
                fields.get_all(name.as_str()),
                &mut scratch,
            );
            match (found, expected) {
                (None, None) => true,
                (Some(()), Some(expected)) => scratch[..] == expected[..],
                _ => false,
            }
        })
    }
}

/// A head as HTTP/1 lines, `name: value CRLF` each, without Content-Length and hop-by-hop fields.
#[derive(Clone, Debug)]
pub struct StoredHead {
    lines: Box<[u8]>,
    /// Where these two begin; `NOWHERE` where there are none. A head has a limit far below 4 GiB.
    etag: u32,
    last_modified: u32,
}

const NOWHERE: u32 = u32::MAX;

impl StoredHead {
    /// Takes over the lines of a section.
    pub fn new(fields: &FieldSection) -> Self {
        // To measure: what is given back of a larger piece stays with it.
        let mut lines = Vec::with_capacity(fields.lines_len());
        let (mut etag, mut last_modified) = (NOWHERE, NOWHERE);
        let mut at = 0;
        for (name, value) in fields {
            let (name_len, value_len) = (name.octets().len(), value.as_bytes().len());
            let place = (at + name_len + 2) as u32;
            at += name_len + 2 + value_len + 2;
            if etag == NOWHERE && name == http::header::ETAG {
                etag = place;
            } else if last_modified == NOWHERE && name == http::header::LAST_MODIFIED {
                last_modified = place;
            }
        }
        fields.write_lines(&mut lines);
        Self { lines: lines.into_boxed_slice(), etag, last_modified }
    }

    /// Takes lines as [`Self::lines`] gave them; `None` if they are not such.
    pub fn from_lines(lines: &[u8]) -> Option<Self> {
        let (mut etag, mut last_modified, mut at) = (NOWHERE, NOWHERE, 0);
        while at < lines.len() {
            let end = at + memchr::memchr(b'\n', &lines[at..])?;
            let line = lines[at..end].strip_suffix(b"\r")?;
            let colon =
                memchr::memchr(b':', line).filter(|colon| line.get(colon + 1) == Some(&b' '))?;
            let place = (at + colon + 2) as u32;
            if etag == NOWHERE && line[..colon].eq_ignore_ascii_case(b"etag") {
                etag = place;
            } else if last_modified == NOWHERE
                && line[..colon].eq_ignore_ascii_case(b"last-modified")
            {
                last_modified = place;
            }
            at = end + 1;
        }
        Some(Self { lines: lines.into(), etag, last_modified })
    }

    /// All lines, ready to be sent on HTTP/1.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    /// The entity tag as it came.
    pub fn etag(&self) -> Option<&[u8]> {
        self.at(self.etag)
    }

    /// The modification date as it came.
    pub fn last_modified(&self) -> Option<&[u8]> {
        self.at(self.last_modified)
    }

    // The value that begins there. Its end is looked for: few requests ask for it, and each stored
    // head would carry it.
    fn at(&self, start: u32) -> Option<&[u8]> {
        let rest = self.lines.get(start as usize..)?;
        rest[..memchr::memchr(b'\n', rest)?].strip_suffix(b"\r")
    }

    /// Each line as name and value.
    pub fn iter(&self) -> Lines<'_> {
        Lines { rest: &self.lines }
    }

    /// The fields as a section, for merging and for answers that differ from what is stored.
    pub fn to_section(&self) -> FieldSection {
        FieldSection::from_lines(&self.lines)
    }
}

/// The lines of a stored head, one after the other.
#[derive(Clone)]
pub struct Lines<'h> {
    rest: &'h [u8],
}

impl<'h> Iterator for Lines<'h> {
    type Item = (&'h [u8], &'h [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let end = memchr::memchr(b'\n', self.rest)?;
        let line = &self.rest[..end - 1];
        self.rest = &self.rest[end + 1..];
        let colon = memchr::memchr(b':', line)?;
        Some((&line[..colon], &line[colon + 2..]))
    }
}

/// The few facts that change while a response is kept; all are hints that may lag.
#[derive(Debug, Default)]
pub struct Live {
    /// The highest log number this response was found valid against.
    pub checked: AtomicU64,
    /// Octets this response has in the store's account; 0 once it has left.
    pub accounted: AtomicU64,
    /// Which version of it the disk has, as the disk tier counts; 0 if it was never taken there.
    pub on_disk: AtomicU64,
    /// Milliseconds since the epoch until which it stands in for a failing origin without asking
    /// again.
    pub stale_on_error_until: AtomicU64,
}

/// Those of these facts that take an octet each: for themselves, so that they lie in a gap between
/// others.
#[derive(Debug, Default)]
pub struct Flags {
    /// How often it was asked for of late, up to 3; eviction reads and lowers it.
    pub uses: AtomicU8,
    /// To be validated before its next use.
    pub suspect: AtomicBool,
    /// A background refresh is under way.
    pub refreshing: AtomicBool,
    /// It has left the small queue for the main one.
    pub in_main: AtomicBool,
    /// The origin's own tag is strong, whatever it is here: what is encoded here has a weak one.
    pub own_tag_is_strong: bool,
}

impl Flags {
    /// Notes a use. Most calls change nothing and write nothing.
    pub fn used(&self) {
        let uses = self.uses.load(Ordering::Relaxed);
        if uses < 3 {
            self.uses.store(uses + 1, Ordering::Relaxed);
        }
    }
}

impl Stored {
    /// Says whether it came no earlier than the request that is answered with it.
    pub fn asked_now(&self, arrived_at: Timestamp) -> bool {
        self.born >= arrived_at || self.date >= arrived_at
    }

    /// Which part of a larger whole the content is, if it is one.
    pub fn part(&self) -> Option<Part> {
        self.part.as_deref().copied()
    }

    /// The age in milliseconds.
    pub fn age(&self, now: Timestamp) -> u64 {
        now.millis_since(self.born)
    }

    /// Octets it takes in memory, bookkeeping included, for a body of `body` octets.
    pub fn weight(&self, body: u64) -> u64 {
        // A large one takes whole pages.
        let taken = if body >= LARGE { body.next_multiple_of(PAGE) } else { body };
        let fixed = std::mem::size_of::<Self>() + std::mem::size_of::<Content>() + BOOKKEEPING;
        let selector: usize = self
            .selector
            .0
            .iter()
            .map(|(n, v)| 48 + n.as_str().len() + v.as_ref().map_or(0, |v| v.len()))
            .sum();
        (fixed + self.key.as_bytes().len() + self.head.lines.len() + selector + self.tags.len() * 8)
            as u64
            + taken
    }
}

// The index slot, the eviction queue's place, and what the allocator adds to six allocations.
const BOOKKEEPING: usize = 192;

#[cfg(test)]
mod tests {
    use super::*;

    // With its two counts it takes 192 octets: the next larger piece that the allocator has is 224,
    // and there is one for each response.
    #[test]
    fn a_stored_response_takes_no_more_than_its_piece() {
        assert!(size_of::<Stored>() <= 176, "{}", size_of::<Stored>());
        assert!(size_of::<Content>() <= 48, "{}", size_of::<Content>());
    }

    #[test]
    fn tags_are_kept_as_they_came() {
        for tags in [vec![], vec![1], vec![3, 1, 2]] {
            assert_eq!(*Tags::from(tags.clone()), tags[..]);
            assert_eq!(Tags::from(tags.clone()), Tags::from(tags.into_boxed_slice()));
        }
    }

    #[test]
    fn validators_end_where_their_lines_do() {
        let lines = b"a: b\r\netag: \"x\"\r\nlast-modified: \r\nc: d\r\n";
        let head = StoredHead::from_lines(lines).unwrap();
        assert_eq!((head.etag(), head.last_modified()), (Some(&b"\"x\""[..]), Some(&b""[..])));
        let head = StoredHead::from_lines(b"a: b\r\n").unwrap();
        assert_eq!((head.etag(), head.last_modified()), (None, None));
        let mut fields = FieldSection::new();
        fields.append("etag", "\"y\"");
        assert_eq!(StoredHead::new(&fields).etag(), Some(&b"\"y\""[..]));
    }
}
