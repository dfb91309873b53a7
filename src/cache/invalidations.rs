//! Invalidations: what was declared old, by path, prefix or tag, each with its number in the log.
//!
//! A stored response carries the number at which its request to the origin began. It is invalid if
//! a covering entry has a higher one. Finding that out costs the same for ten entries and for a
//! million: paths and tags are looked up by hash, prefixes once per distinct length. And it costs
//! nothing while the log's head is the one the response was last checked against. No clock takes
//! part.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use crate::message::key::{CacheKey, InvalidationNumber, distribution_of, url_of};
use crate::message::path;
use crate::message::stored::Stored;
use crate::semantics::time::Timestamp;

/// What one invalidation names.
#[derive(
    Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Matcher {
    /// One URL in all its variants: path, and query where the key has one. Canonical form.
    Path(String),
    /// Every URL that starts so; from a path with a trailing `*`.
    Prefix(String),
    /// Every response with this tag, lower case.
    Tag(String),
}

/// What happens to what it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Gone: never served again.
    Hard,
    /// Stale: validated before it is served again, served as it is only if the origin fails.
    Soft,
}

/// What a stored response is worth, invalidations considered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validity {
    Valid,
    Soft,
    Hard,
}

/// Longest path an invalidation may name (CloudFront: "Invalidate files to remove content").
pub const PATH_MAX: usize = 4000;

impl Matcher {
    /// Reads an item of a request: a path, a path ending in `*`, or `#tag`.
    pub fn parse(item: &str) -> Result<Self, String> {
        if let Some(tag) = item.strip_prefix('#') {
            return parse_tag(tag).map(Self::Tag);
        }
        if !item.starts_with('/') {
            return Err(format!("{item:?} must begin with \"/\", or with \"#\" for a tag"));
        }
        if item.len() > PATH_MAX {
            return Err(format!(
                "a path has at most {PATH_MAX} characters, this one has {}",
                item.len()
            ));
        }
        match item.strip_suffix('*') {
            Some(prefix) if prefix.contains('*') => {
                Err(format!("{item:?}: \"*\" is a wildcard only as the last character"))
            }
            Some(prefix) => Ok(Self::Prefix(canonical(prefix.as_bytes()).into_owned())),
            None if item.contains('*') => {
                Err(format!("{item:?}: \"*\" is a wildcard only as the last character"))
            }
            None => Ok(Self::Path(canonical(item.as_bytes()).into_owned())),
        }
    }

    /// Says whether this matcher covers a response with this URL (canonical) and these tag hashes.
    pub fn covers(&self, url: &str, tags: &[u64]) -> bool {
        match self {
            Self::Path(path) => url == path || tags.contains(&uri_hash(path)),
            Self::Prefix(prefix) => {
                url.starts_with(prefix.as_str()) || tags.contains(&folder_hash(prefix))
            }
            Self::Tag(tag) => tags.contains(&tag_hash(tag.as_bytes())),
        }
    }
}

impl std::fmt::Display for Matcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => f.write_str(path),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Tag(tag) => write!(f, "#{tag}"),
        }
    }
}

/// Reads a tag: visible ASCII without comma, at most 256 characters; case does not count.
pub fn parse_tag(tag: &str) -> Result<String, String> {
    if tag.is_empty()
        || tag.len() > 256
        || !tag.bytes().all(|b| (33..=126).contains(&b) && b != b',')
    {
        return Err(format!(
            "{tag:?} is no tag: 1 to 256 visible ASCII characters without a comma"
        ));
    }
    Ok(tag.to_ascii_lowercase())
}

/// How many tags of one response count (CloudFront keeps fifty).
pub const TAGS_MAX: usize = 50;

/// The hashes of the tags that a response's fields name.
pub fn tag_hashes<'v>(lines: impl Iterator<Item = &'v [u8]>) -> Box<[u64]> {
    let tags = lines
        .flat_map(|line| line.split(|b| *b == b',' || *b == b' '))
        .map(crate::semantics::lists::trim);
    let mut hashes: Vec<u64> =
        tags.filter(|tag| !tag.is_empty()).take(TAGS_MAX).map(tag_hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes.into_boxed_slice()
}

/// A tag's hash, case folded. Two tags that collide would be invalidated together: too much, never
/// too little.
pub fn tag_hash(tag: &[u8]) -> u64 {
    foldhash::quality::FixedState::default().hash_one(tag.to_ascii_lowercase())
}

/// What a response carries among the hashes of its tags that is kept under another URI than its
/// viewer's, because code changed that: hashes of the viewer's URL (canonical) and of each folder
/// that it lies in.
pub fn viewer_uri_hashes(url: &str) -> impl Iterator<Item = u64> {
    let path = url.split('?').next().unwrap_or(url);
    let ends = path.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at + 1);
    let folders = ends.take(FOLDERS_MAX).map(move |end| hash_of("folder", &path[..end]));
    std::iter::once(uri_hash(url)).chain(folders)
}

/// So many folders of a viewer's URI are told apart; what lies deeper goes with the last of them.
const FOLDERS_MAX: usize = 12;

fn uri_hash(url: &str) -> u64 {
    hash_of("uri", url)
}

// Prefixes are looked for by the folder they end in: too much is invalidated, never too little.
fn folder_hash(prefix: &str) -> u64 {
    let path = prefix.split('?').next().unwrap_or(prefix);
    let ends = path.bytes().enumerate().filter(|(_, b)| *b == b'/').map(|(at, _)| at + 1);
    hash_of("folder", &path[..ends.take(FOLDERS_MAX).last().unwrap_or(0)])
}

// No tag has a space in it.
fn hash_of(kind: &str, text: &str) -> u64 {
    foldhash::quality::FixedState::default().hash_one((kind, " ", text))
}

/// One form for keyed URLs and invalidation paths: unsafe and non-ASCII bytes escaped, escapes in
/// upper case. Most have it already.
pub fn canonical(url: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(url) {
        Ok(plain) if url.iter().all(|byte| is_plain(*byte)) => Cow::Borrowed(plain),
        _ => Cow::Owned(canonical_of(url)),
    }
}

// What stands for itself; a percent sign may begin an escape.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7e)
        && !matches!(byte, b'%' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}')
}

fn canonical_of(url: &[u8]) -> String {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let mut out = String::with_capacity(url.len());
    let mut at = 0;
    while at < url.len() {
        let byte = url[at];
        match byte {
            // Escapes of plain characters are undone, as they are in the paths of keys.
            b'%' if path::needless(url, at).is_some() => {
                out.extend(path::needless(url, at).map(char::from));
                at += 2;
            }
            b'%' if path::is_escape(url, at) => {
                out.push('%');
                out.push(url[at + 1].to_ascii_uppercase() as char);
                out.push(url[at + 2].to_ascii_uppercase() as char);
                at += 2;
            }
            _ if is_plain(byte) => out.push(byte as char),
            _ => {
                out.push('%');
                out.push(HEX[usize::from(byte >> 4)] as char);
                out.push(HEX[usize::from(byte & 15)] as char);
            }
        }
        at += 1;
    }
    out
}

/// Highest numbers by severity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Numbers {
    hard: u64,
    soft: u64,
}

impl Numbers {
    fn raise(&mut self, severity: Severity, number: u64) {
        let slot = match severity {
            Severity::Hard => &mut self.hard,
            Severity::Soft => &mut self.soft,
        };
        *slot = (*slot).max(number);
    }

    fn merge(&mut self, other: Numbers) {
        self.hard = self.hard.max(other.hard);
        self.soft = self.soft.max(other.soft);
    }
}

/// The entries of one distribution.
#[derive(Debug, Default)]
struct Entries {
    paths: HashMap<Box<str>, Numbers, foldhash::fast::RandomState>,
    prefixes: HashMap<Box<str>, Numbers, foldhash::fast::RandomState>,
    /// How many prefixes there are of each length, so that only those lengths are tried.
    lengths: BTreeMap<usize, usize>,
    tags: HashMap<u64, Numbers, foldhash::fast::RandomState>,
    /// Paths and folders of prefixes by their hashes, for responses that are kept under another URI
    /// than their viewer's. No more of them than of paths and prefixes.
    uris: HashMap<u64, Numbers, foldhash::fast::RandomState>,
    /// Everything up to here is old: what was folded together, and `/*`.
    everything: Numbers,
    /// The highest number of any tag: whose response will carry it is not known before it comes.
    any_tag: u64,
}

impl Entries {
    fn len(&self) -> usize {
        self.paths.len() + self.prefixes.len() + self.tags.len()
    }

    fn add(&mut self, matcher: &Matcher, severity: Severity, number: u64) {
        match matcher {
            Matcher::Path(path) => {
                self.paths.entry(path.as_str().into()).or_default().raise(severity, number);
                self.uris.entry(uri_hash(path)).or_default().raise(severity, number);
            }
            Matcher::Prefix(prefix) if prefix == "/" => {
                self.everything.raise(severity, number);
                // A hard one leaves nothing for the others to say.
                if severity == Severity::Hard {
                    (self.paths, self.prefixes, self.tags) = Default::default();
                    self.uris.clear();
                    self.lengths.clear();
                }
            }
            Matcher::Prefix(prefix) => {
                if !self.prefixes.contains_key(prefix.as_str()) {
                    *self.lengths.entry(prefix.len()).or_default() += 1;
                }
                self.prefixes.entry(prefix.as_str().into()).or_default().raise(severity, number);
                self.uris.entry(folder_hash(prefix)).or_default().raise(severity, number);
            }
            Matcher::Tag(tag) => {
                self.any_tag = self.any_tag.max(number);
                self.tags.entry(tag_hash(tag.as_bytes())).or_default().raise(severity, number);
            }
        }
    }

    fn covering(&self, url: &str, tags: &[u64]) -> Numbers {
        let mut found = self.everything;
        if let Some(numbers) = self.paths.get(url) {
            found.merge(*numbers);
        }
        for length in self.lengths.range(..=url.len()).map(|(length, _)| *length) {
            if let Some(numbers) = url.get(..length).and_then(|prefix| self.prefixes.get(prefix)) {
                found.merge(*numbers);
            }
        }
        for tag in tags {
            if let Some(numbers) = self.tags.get(tag).or_else(|| self.uris.get(tag)) {
                found.merge(*numbers);
            }
        }
        found
    }

    // Too many entries: say of everything what was said of any part. Costs refetches, never a stale
    // answer.
    fn fold(&mut self) {
        let all = self.paths.values().chain(self.prefixes.values()).chain(self.tags.values());
        let mut everything = self.everything;
        all.for_each(|numbers| everything.merge(*numbers));
        *self = Self { everything, any_tag: self.any_tag, ..Self::default() };
    }
}

/// All invalidations that may still matter, and the head of the log.
#[derive(Debug)]
pub struct Invalidations {
    head: AtomicU64,
    entries: RwLock<HashMap<Box<[u8]>, Entries>>,
    max: usize,
    /// Milliseconds of the clock up to which what is stored may be used without a question: in a
    /// fleet, while this process is known to have missed nothing. Later everything is validated.
    usable_until: AtomicU64,
    /// The same for a process that goes on using it, and says so.
    proven_until: AtomicU64,
    /// While nothing that is stored may be used, here or at others, whoever gives a lease: what
    /// `usable_until` is to be afterwards.
    frozen: Mutex<Option<u64>>,
}

impl Invalidations {
    /// An empty table that folds at `max` entries per distribution.
    pub fn new(max: usize) -> Self {
        Self {
            head: AtomicU64::new(0),
            entries: RwLock::default(),
            max,
            usable_until: AtomicU64::new(u64::MAX),
            proven_until: AtomicU64::new(u64::MAX),
            frozen: Mutex::new(None),
        }
    }

    /// Whether anything stored may be used at a moment without asking whether it still holds.
    pub fn is_usable(&self, now: Timestamp) -> bool {
        now.0 < self.usable_until.load(Ordering::Acquire)
    }

    /// Whether this process is known to have missed no invalidation by a moment.
    pub fn is_proven(&self, now: Timestamp) -> bool {
        now.0 < self.proven_until.load(Ordering::Acquire)
    }

    /// From this moment on everything stored is to be validated.
    pub fn use_until(&self, until: Timestamp) {
        match &mut *self.frozen.lock() {
            Some(later) => *later = until.0,
            None => self.usable_until.store(until.0, Ordering::Release),
        }
    }

    /// From here on another process may know of invalidations that this one does not: nothing
    /// stored is used without asking an origin, whatever `use_until` says.
    pub fn freeze(&self) {
        let mut frozen = self.frozen.lock();
        if frozen.is_none() {
            *frozen = Some(self.usable_until.swap(0, Ordering::AcqRel));
        }
    }

    /// All of them are known here again.
    pub fn thaw(&self) {
        if let Some(until) = self.frozen.lock().take() {
            self.usable_until.store(until, Ordering::Release);
        }
    }

    /// Whether another process may know of more.
    pub fn is_frozen(&self) -> bool {
        self.frozen.lock().is_some()
    }

    /// From this moment on invalidations may have been missed.
    pub fn prove_until(&self, until: Timestamp) {
        self.proven_until.store(until.0, Ordering::Release);
    }

    /// The highest number that takes effect now.
    pub fn head(&self) -> InvalidationNumber {
        InvalidationNumber(self.head.load(Ordering::Acquire))
    }

    /// Makes an invalidation take effect. Numbers come from the log and rise.
    pub fn apply(
        &self,
        distribution: &str,
        matchers: &[Matcher],
        severity: Severity,
        number: InvalidationNumber,
    ) {
        self.apply_to(&[distribution], matchers, severity, number);
    }

    /// The same for several distributions at once: no lookup sees the number before it sees what
    /// was said of each.
    pub fn apply_to(
        &self,
        distributions: &[&str],
        matchers: &[Matcher],
        severity: Severity,
        number: InvalidationNumber,
    ) {
        if !matchers.is_empty() {
            let mut all = self.entries.write();
            for distribution in distributions {
                let entries = all.entry(distribution.as_bytes().into()).or_default();
                for matcher in matchers {
                    entries.add(matcher, severity, number.0);
                }
                if entries.len() > self.max {
                    entries.fold();
                }
            }
        }
        // After the entries, so that a lookup that sees the new head sees them, too.
        self.head.fetch_max(number.0, Ordering::Release);
    }

    /// Says what a stored response is worth. Usually one comparison.
    pub fn validity(&self, stored: &Stored) -> Validity {
        let head = self.head.load(Ordering::Acquire);
        if stored.live.checked.load(Ordering::Relaxed) >= head || stored.asked_at.0 >= head {
            return Validity::Valid;
        }
        let found = self.validity_of(stored.key.as_bytes(), &stored.tags, stored.asked_at);
        if found == Validity::Valid {
            stored.live.checked.fetch_max(head, Ordering::Relaxed);
        }
        found
    }

    /// The same of a key's octets, the hashes of tags, and the log's head when it was asked for.
    pub fn validity_of(&self, key: &[u8], tags: &[u64], asked_at: InvalidationNumber) -> Validity {
        let all = self.entries.read();
        let found = all
            .get(distribution_of(key))
            .map(|entries| entries.covering(&canonical(url_of(key)), tags))
            .unwrap_or_default();
        match asked_at.0 {
            asked_at if found.hard > asked_at => Validity::Hard,
            asked_at if found.soft > asked_at => Validity::Soft,
            _ => Validity::Valid,
        }
    }

    /// The highest number that covers a viewer's URI, by its hashes: a fetch that began before it
    /// answers no request that arrived later.
    pub fn number_of_uri(&self, distribution: &str, hashes: &[u64]) -> InvalidationNumber {
        let all = self.entries.read();
        let Some(entries) = all.get(distribution.as_bytes()) else {
            return InvalidationNumber::default();
        };
        let found = hashes.iter().filter_map(|hash| entries.uris.get(hash));
        InvalidationNumber(found.map(|n| n.hard.max(n.soft)).max().unwrap_or(0))
    }

    /// Says whether anything after `since` covers a response of this key with these tags.
    pub fn is_covered_after(&self, key: &[u8], tags: &[u64], since: InvalidationNumber) -> bool {
        if self.head() <= since {
            return false;
        }
        let all = self.entries.read();
        let Some(entries) = all.get(distribution_of(key)) else { return false };
        let found = entries.covering(&canonical(url_of(key)), tags);
        found.hard.max(found.soft) > since.0
    }

    /// Says whether anything after `since` may cover what a fetch for this key will bring.
    pub fn overtakes(&self, key: &CacheKey, since: InvalidationNumber) -> bool {
        if self.head() <= since {
            return false;
        }
        let all = self.entries.read();
        let Some(entries) = all.get(key.distribution()) else { return false };
        let found = entries.covering(&canonical(key.url()), &[]);
        found.hard.max(found.soft).max(entries.any_tag) > since.0
    }

    /// The highest hard and soft numbers that cover a response of this URL and tag, for tests.
    #[cfg(test)]
    pub fn numbers(&self, distribution: &str, url: &str, tag: &[u8]) -> (u64, u64) {
        let found = self
            .entries
            .read()
            .get(distribution.as_bytes())
            .map(|entries| entries.covering(url, &[tag_hash(tag)]))
            .unwrap_or_default();
        (found.hard, found.soft)
    }

    /// Takes the next number without a log, where there is none (tests of serving).
    pub fn next(&self) -> InvalidationNumber {
        InvalidationNumber(self.head().0 + 1)
    }

    /// Entries held, over all distributions.
    pub fn len(&self) -> usize {
        self.entries.read().values().map(Entries::len).sum()
    }

    /// True if nothing was ever invalidated.
    pub fn is_empty(&self) -> bool {
        self.head().0 == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewers_uri_covers_what_code_had_kept_under_another() {
        let hashes: Vec<u64> = viewer_uri_hashes("/docs/de/?a=/x").collect();
        let covered = |item: &str| {
            let table = Invalidations::new(100);
            let matcher = Matcher::parse(item).unwrap();
            let by_itself = matcher.covers("/docs/de/index.html", &hashes);
            table.apply("E", &[matcher], Severity::Hard, InvalidationNumber(3));
            let key = b"E\0/other.html";
            let found = table.validity_of(key, &hashes, InvalidationNumber(2)) == Validity::Hard;
            let after = table.validity_of(key, &hashes, InvalidationNumber(3)) == Validity::Hard;
            let number = table.number_of_uri("E", &hashes).0;
            assert!(!after && (number == 3) == (found && item != "/*"), "{item}");
            (by_itself, found)
        };
        for item in ["/docs/de/?a=/x", "/docs/de/*", "/docs/*", "/docs/d*"] {
            assert_eq!(covered(item), (true, true), "{item}");
        }
        assert!(covered("/*").1);
        for item in ["/docs/de/", "/docs/en/*", "/other*x", "/docs/de/?a=/*x"] {
            if let Ok(Matcher::Path(_) | Matcher::Prefix(_)) = Matcher::parse(item) {
                assert!(!covered(item).1, "{item}");
            }
        }
    }

    #[test]
    fn no_lease_counts_while_another_process_may_know_of_more() {
        let table = Invalidations::new(100);
        let is_usable = |at| table.is_usable(Timestamp(at));
        assert!(is_usable(9) && !table.is_frozen());
        table.freeze();
        assert!(!is_usable(9) && table.is_frozen());
        table.use_until(Timestamp(50));
        table.freeze();
        assert!(!is_usable(9));
        table.thaw();
        assert!(is_usable(9) && !is_usable(50) && !table.is_frozen());
        table.thaw();
        assert!(is_usable(9) && !is_usable(50));
    }

    #[test]
    fn folders_that_lie_too_deep_go_with_the_last_that_is_told_apart() {
        let deep = "/a".repeat(20);
        let hashes: Vec<u64> = viewer_uri_hashes(&format!("{deep}/x")).collect();
        assert_eq!(hashes.len(), 1 + FOLDERS_MAX);
        assert!(hashes.contains(&folder_hash(&format!("{deep}/"))));
    }
    use proptest::prelude::*;

    #[test]
    fn items_are_read_as_cloudfront_reads_them() {
        assert_eq!(Matcher::parse("/a b/ä*"), Ok(Matcher::Prefix("/a%20b/%C3%A4".into())));
        assert_eq!(Matcher::parse("/a%c3%a4"), Ok(Matcher::Path("/a%C3%A4".into())));
        assert_eq!(Matcher::parse("#Product:1"), Ok(Matcher::Tag("product:1".into())));
        for bad in ["img/*", "/a*b", "/*/*", "#", "#a,b", "", "*"] {
            assert!(Matcher::parse(bad).is_err(), "{bad}");
        }
    }

    fn covered(table: &Invalidations, url: &str, tags: &[u64]) -> Numbers {
        table.entries.read().get(&b"E"[..]).map(|e| e.covering(url, tags)).unwrap_or_default()
    }

    proptest! {
        #[test]
        fn the_table_says_what_its_entries_say_one_by_one(
            items in proptest::collection::vec(("(/[ab]{0,3}\\*?|#[xy])", any::<bool>()), 1..40),
            url in "/[ab]{0,4}", tag in "[xyz]", max in prop_oneof![Just(1000usize), Just(3)],
        ) {
            let table = Invalidations::new(max);
            let tags = [tag_hash(tag.as_bytes())];
            let (mut hard, mut soft) = (0, 0);
            for (at, (item, is_hard)) in items.iter().enumerate() {
                let matcher = Matcher::parse(item).unwrap();
                let severity = if *is_hard { Severity::Hard } else { Severity::Soft };
                let number = at as u64 + 1;
                table.apply("E", std::slice::from_ref(&matcher), severity, InvalidationNumber(number));
                if matcher.covers(&url, &tags) {
                    if *is_hard { hard = number } else { soft = number }
                }
            }
            let found = covered(&table, &url, &tags);
            if max == 3 {
                prop_assert!(found.hard >= hard && (found.soft >= soft || found.hard > soft));
            } else {
                prop_assert_eq!(found.hard, hard);
                prop_assert!(found.soft == soft || found.hard > soft);
            }
            prop_assert_eq!(table.head(), InvalidationNumber(items.len() as u64));
        }

        #[test]
        fn the_canonical_form_is_its_own_canonical_form(
            bytes in prop_oneof![proptest::collection::vec(any::<u8>(), 0..60), "[%0-9a-f/]{0,20}".prop_map(String::into_bytes)],
        ) {
            let once = canonical(&bytes);
            prop_assert_eq!(&canonical(once.as_bytes()), &once);
        }
    }
}
