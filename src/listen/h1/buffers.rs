//! Buffers that a core's connections over HTTP/1 use in turn. Whoever waits, for a request or for an
//! origin, holds none, so the few that are in use stay in the core's cache.

use bytes::BytesMut;

use crate::base::free_list::{self, FreeList};

/// So many are kept by each core.
const SPARE: usize = 64;
/// Larger ones are given back to the allocator.
const SPARE_MAX: usize = 128 << 10;

thread_local! {
    static SPARES: FreeList<Buffers> = const { FreeList::new(SPARE) };
}

/// What a connection reads into and composes in.
#[derive(Default)]
pub struct Buffers {
    pub read: BytesMut,
    pub out: Vec<u8>,
    pub key: Vec<u8>,
}

impl Buffers {
    /// Buffers to use until they are given back: those that were used last, where there are some.
    pub fn take() -> Self {
        free_list::take(&SPARES).unwrap_or_default()
    }

    /// Keeps emptied buffers for whoever needs some next.
    pub fn give_back(self) {
        if self.out.capacity() > SPARE_MAX || self.read.capacity() > SPARE_MAX {
            return;
        }
        free_list::keep(&SPARES, self);
    }
}

/// Drops octets at the front that are done with. A buffer with nothing behind them begins at its
/// front again, and need not be moved there later.
pub fn consume(buffer: &mut BytesMut, len: usize) {
    use bytes::Buf as _;
    if len == buffer.len() { buffer.clear() } else { buffer.advance(len) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_are_used_again_but_not_large_ones() {
        let mut first = Buffers::take();
        first.out.reserve(100);
        let at = first.out.as_ptr();
        first.give_back();
        let mut again = Buffers::take();
        assert_eq!(again.out.as_ptr(), at);
        again.out.reserve(SPARE_MAX + 1);
        again.give_back();
        assert!(Buffers::take().out.capacity() <= SPARE_MAX);
    }

    #[test]
    fn what_is_left_stays_and_what_is_empty_begins_anew() {
        let mut buffer = BytesMut::with_capacity(64);
        buffer.extend_from_slice(b"one two");
        let at = buffer.as_ptr();
        consume(&mut buffer, 4);
        assert_eq!(&buffer[..], b"two");
        consume(&mut buffer, 3);
        assert!(buffer.is_empty());
        buffer.extend_from_slice(b"three");
        consume(&mut buffer, 5);
        assert_eq!((buffer.len(), buffer.as_ptr()), (0, at.wrapping_add(4)));
    }
}
