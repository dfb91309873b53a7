//! Octets that are needed for a moment, in memory that the thread uses again.

use std::ops::{Deref, DerefMut};

use super::free_list::{self, FreeList};

/// So many pieces are kept by each thread: a few for each request that waits for an origin.
const SPARE: usize = 512;
/// A piece begins with this much room.
const ROOM: usize = 256;
/// Larger pieces are given back to the allocator.
const SPARE_OCTETS: usize = 16 << 10;

thread_local! {
    static SPARES: FreeList<Vec<u8>> = const { FreeList::new(SPARE) };
}

/// A vector of octets whose memory serves the next one once it is dropped.
#[derive(Debug)]
pub struct Spare(Vec<u8>);

impl Spare {
    /// A copy of these octets.
    pub fn of(octets: &[u8]) -> Self {
        let mut copy = Self::new();
        copy.extend_from_slice(octets);
        copy
    }

    /// Nothing yet, with memory that was used before where there is some.
    pub fn new() -> Self {
        Self(free_list::take(&SPARES).unwrap_or_else(|| Vec::with_capacity(ROOM)))
    }
}

impl Default for Spare {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for Spare {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.0
    }
}

impl DerefMut for Spare {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }
}

impl Drop for Spare {
    fn drop(&mut self) {
        let mut octets = std::mem::take(&mut self.0);
        if octets.capacity() == 0 || octets.capacity() > SPARE_OCTETS {
            return;
        }
        octets.clear();
        free_list::keep(&SPARES, octets);
    }
}

/// Text that is needed for a moment, in the same kind of memory.
#[derive(Default)]
pub struct Text(String);

impl Text {
    /// The octets as text; what is none of it is replaced.
    pub fn from_octets(mut octets: Spare) -> Self {
        let text = String::from_utf8(std::mem::take(&mut octets.0));
        Self(text.unwrap_or_else(|bad| String::from_utf8_lossy(bad.as_bytes()).into_owned()))
    }
}

impl Drop for Text {
    fn drop(&mut self) {
        drop(Spare(std::mem::take(&mut self.0).into_bytes()));
    }
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        // What is text already is not looked through again.
        let mut own = Self::from_octets(Spare::new());
        own.0.push_str(text);
        own
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl Clone for Text {
    fn clone(&self) -> Self {
        Self::from(&**self)
    }
}

impl std::fmt::Display for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self)
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Debug::fmt(&**self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_used_again_and_is_empty_then() {
        let mut first = Spare::new();
        first.extend_from_slice(b"of somebody else");
        let at = first.as_ptr();
        drop(first);
        let again = Spare::new();
        assert!(again.is_empty() && again.as_ptr() == at);
        let mut large = Spare::new();
        large.reserve(SPARE_OCTETS + 1);
        drop(large);
        assert!(Spare::new().capacity() <= SPARE_OCTETS);
    }
}
