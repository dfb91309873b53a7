//! The cache key: the bytes that make two requests the same, and the numbers of the invalidation
//! log.
//!
//! A key is `distribution NUL url NUL extras`, where the extras are NUL-separated too. NUL cannot
//! occur in a head that passed the checks, so two different requests never build the same bytes.

use std::sync::Arc;

/// A place in the invalidation log; the first invalidation has number 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InvalidationNumber(pub u64);

/// A key that owns its bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct CacheKey(Arc<[u8]>);

impl CacheKey {
    /// Keeps a copy of key bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The distribution's id.
    pub fn distribution(&self) -> &[u8] {
        distribution_of(&self.0)
    }

    /// Path and keyed query: what invalidations speak of.
    pub fn url(&self) -> &[u8] {
        url_of(&self.0)
    }
}

impl std::borrow::Borrow<[u8]> for CacheKey {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

/// The distribution's id in a key's octets.
pub fn distribution_of(key: &[u8]) -> &[u8] {
    nth_part(key, 0)
}

/// Path and keyed query in a key's octets.
pub fn url_of(key: &[u8]) -> &[u8] {
    nth_part(key, 1)
}

fn nth_part(bytes: &[u8], n: usize) -> &[u8] {
    bytes.split(|b| *b == 0).nth(n).unwrap_or(b"")
}

impl std::fmt::Debug for CacheKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&readable(&self.0))
    }
}

/// A key for people: parts separated by `|`.
pub fn readable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "|")
}
