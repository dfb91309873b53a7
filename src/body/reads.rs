//! Memory to read into, lent to a thread's connections in turn: those that wait for the other side
//! hold none, so what is read into stays in the core's cache.

use bytes::BytesMut;

use crate::base::free_list::{self, FreeList};

/// So many pieces are kept by each thread.
const SPARE: usize = 64;
/// Larger ones are given back to the allocator.
const SPARE_OCTETS: usize = 16 << 10;

thread_local! {
    static SPARES: FreeList<BytesMut> = const { FreeList::new(SPARE) };
}

/// Sees to it that a buffer has room for so much: one without memory gets what another has done
/// with.
pub fn lend(buffer: &mut BytesMut, room: usize) {
    // What somebody still reads cannot be written to: it is let go of.
    if buffer.capacity() == 0
        && let Some(mut spare) = free_list::take(&SPARES)
        && spare.try_reclaim(room)
    {
        *buffer = spare;
    }
    buffer.reserve(room);
}

/// Takes the memory of a buffer in which nothing is left.
pub fn take_back(buffer: &mut BytesMut) {
    if !buffer.is_empty() || buffer.capacity() == 0 {
        return;
    }
    let spare = std::mem::take(buffer);
    if spare.capacity() <= SPARE_OCTETS {
        free_list::keep(&SPARES, spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Lent, written to, and taken back but for what is still read.
    fn read(octets: &[u8]) -> (*const u8, bytes::Bytes) {
        let mut buffer = BytesMut::new();
        lend(&mut buffer, 1024);
        buffer.extend_from_slice(octets);
        let at = buffer.as_ptr();
        let read = buffer.split().freeze();
        take_back(&mut buffer);
        assert_eq!(buffer.capacity(), 0);
        (at, read)
    }

    #[test]
    fn memory_serves_again_once_nobody_reads_it() {
        let (at, first) = read(b"first");
        let (other, second) = read(b"second");
        assert!(at != other && first == "first" && second == "second");
        drop((first, second));
        let (again, third) = read(b"third");
        assert_eq!(again, other);
        drop(third);
    }

    #[test]
    fn what_was_read_is_kept_where_it_lies() {
        let mut buffer = BytesMut::new();
        lend(&mut buffer, 1024);
        buffer.extend_from_slice(b"part");
        take_back(&mut buffer);
        assert_eq!(&buffer[..], b"part");
    }
}
