//! Memory for large bodies that the kernel can send by itself: one file without a name, mapped
//! once.
//!
//! A body lies in an extent of the file. In clear text the socket takes it from there (sendfile);
//! for TLS and HTTP/2 the same pages are read through the mapping. An extent is given back with its
//! pages cut out of the file, never written over: a socket may still hold pages that it has not
//! sent. Nothing here knows HTTP or the store's accounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::ptr::NonNull;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use rustix::fs::{FallocateFlags, MemfdFlags, SealFlags};
use rustix::mm::{MapFlags, ProtFlags};

/// Bodies from here on are worth a place of their own.
pub const LARGE: u64 = 16 * 1024;
/// Extents begin and end at multiples of this.
pub const PAGE: u64 = 4096;

/// The file, its mapping, and what of it is free.
pub struct Arena {
    file: File,
    base: NonNull<u8>,
    size: u64,
    free: Mutex<Free>,
}

// SAFETY: `base` is only read, within extents that are written through the file before a reader
// gets them.
#[allow(unsafe_code)]
unsafe impl Send for Arena {}
// SAFETY: as above; the free list is behind a lock.
#[allow(unsafe_code)]
unsafe impl Sync for Arena {}

/// Ranges without a lease, by place and by length.
#[derive(Default)]
struct Free {
    by_start: BTreeMap<u64, u64>,
    by_len: BTreeSet<(u64, u64)>,
}

impl Free {
    fn add(&mut self, mut start: u64, mut len: u64) {
        if let Some((before, its)) = self.by_start.range(..start).next_back().map(|(s, l)| (*s, *l))
            && before + its == start
        {
            self.drop_range(before, its);
            (start, len) = (before, its + len);
        }
        if let Some(its) = self.by_start.get(&(start + len)).copied() {
            self.drop_range(start + len, its);
            len += its;
        }
        self.by_start.insert(start, len);
        self.by_len.insert((len, start));
    }

    fn drop_range(&mut self, start: u64, len: u64) {
        self.by_start.remove(&start);
        self.by_len.remove(&(len, start));
    }

    // The smallest range that fits, so that large ones stay whole.
    fn take(&mut self, len: u64) -> Option<u64> {
        let (its, start) = self.by_len.range((len, 0)..).next().copied()?;
        self.drop_range(start, its);
        if its > len {
            self.add(start + len, its - len);
        }
        Some(start)
    }
}

impl Arena {
    /// An arena of this many octets of address space; memory is taken only for what is written.
    pub fn new(size: u64) -> io::Result<Arc<Self>> {
        let size = size.next_multiple_of(PAGE).max(PAGE);
        let file: File = rustix::fs::memfd_create(
            "foreshore-bodies",
            MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING,
        )?
        .into();
        file.set_len(size)?;
        // What is mapped can never be cut off behind our back.
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let len = usize::try_from(size).map_err(|_| io::ErrorKind::OutOfMemory)?;
        // SAFETY: a new shared mapping at an address of the kernel's choice aliases nothing of
        // ours.
        #[allow(unsafe_code)]
        let base = unsafe {
            rustix::mm::mmap(
                std::ptr::null_mut(),
                len,
                ProtFlags::READ,
                MapFlags::SHARED | MapFlags::NORESERVE,
                &file,
                0,
            )?
        };
        let base = NonNull::new(base.cast::<u8>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let mut free = Free::default();
        free.add(0, size);
        Ok(Arc::new(Self { file, base, size, free: Mutex::new(free) }))
    }

    /// Room for `len` octets, or `None` if there is no such range left, or none is asked for.
    pub fn take(self: &Arc<Self>, len: u64) -> Option<Extent> {
        // A length that an origin announces may be any number. One that wrapped around would take no
        // pages and write over those of others, and one of nothing would have no range of its own.
        let pages = len.checked_next_multiple_of(PAGE).filter(|pages| *pages > 0)?;
        let octets = usize::try_from(len).ok()?;
        let start = self.free.lock().take(pages)?;
        let lease = Lease { arena: Arc::clone(self), start, pages, len: octets };
        Some(Extent {
            arena: Arc::clone(self),
            start,
            len,
            written: 0,
            bytes: Bytes::from_owner(lease),
        })
    }

    /// The file behind it.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Octets without a lease.
    pub fn free(&self) -> u64 {
        self.free.lock().by_start.values().sum()
    }
}

impl Drop for Arena {
    fn drop(&mut self) {
        // SAFETY: every lease holds the arena, so nothing that was read from the mapping is left.
        #[allow(unsafe_code)]
        let _ = unsafe { rustix::mm::munmap(self.base.as_ptr().cast(), self.size as usize) };
    }
}

/// A range that an extent or a content holds; what was written of it is read through the mapping.
struct Lease {
    arena: Arc<Arena>,
    start: u64,
    pages: u64,
    len: usize,
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the range lies within the mapping, which lives as long as the arena; it has this
        // one lease; and its octets are shown only up to what was written before, which is never
        // written again.
        #[allow(unsafe_code)]
        unsafe {
            std::slice::from_raw_parts(self.arena.base.as_ptr().add(self.start as usize), self.len)
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let cut = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        // A range whose pages could not be cut out is lost rather than written over.
        if rustix::fs::fallocate(&self.arena.file, cut, self.start, self.pages).is_ok() {
            self.arena.free.lock().add(self.start, self.pages);
        }
    }
}

/// A range while it is written, from its beginning on.
pub struct Extent {
    arena: Arc<Arena>,
    start: u64,
    len: u64,
    written: u64,
    bytes: Bytes,
}

impl Extent {
    /// Octets that still fit.
    pub const fn room(&self) -> u64 {
        self.len - self.written
    }

    /// Writes octets behind those that are there, and gives them to read.
    pub fn write(&mut self, data: &[u8]) -> io::Result<Bytes> {
        if data.len() as u64 > self.room() {
            return Err(io::ErrorKind::WriteZero.into());
        }
        self.arena.file.write_all_at(data, self.start + self.written)?;
        let at = self.written as usize;
        self.written += data.len() as u64;
        Ok(self.bytes.slice(at..at + data.len()))
    }

    /// Everything that was written, and where it lies.
    pub fn finish(self) -> (Bytes, ArenaSlot) {
        let place = ArenaSlot { arena: self.arena, at: self.start };
        (self.bytes.slice(..self.written as usize), place)
    }
}

/// Where octets lie in the file. It holds no lease: its user holds the content, or its octets, too.
#[derive(Clone)]
pub struct ArenaSlot {
    pub arena: Arc<Arena>,
    pub at: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_by_both_ways() {
        let arena = Arena::new(1 << 20).unwrap();
        let mut extent = arena.take(10_000).unwrap();
        assert_eq!(extent.write(b"hello ").unwrap(), "hello ");
        assert_eq!(extent.write(b"world").unwrap(), "world");
        let (bytes, place) = extent.finish();
        assert_eq!(bytes, "hello world");
        let mut read = [0; 5];
        place.arena.file().read_exact_at(&mut read, place.at + 6).unwrap();
        assert_eq!(&read, b"world");
    }

    #[test]
    fn a_range_is_free_again_when_its_last_reader_is_gone() {
        let arena = Arena::new(8 * PAGE).unwrap();
        let mut extent = arena.take(8 * PAGE).unwrap();
        let part = extent.write(b"kept").unwrap();
        drop(extent);
        assert!(arena.take(1).is_none());
        assert_eq!(part, "kept");
        drop(part);
        assert_eq!(arena.free(), 8 * PAGE);
        // The pages were cut out: a new lease begins with zeros, whatever was there.
        let extent = arena.take(4).unwrap();
        assert_eq!(&extent.bytes[..4], [0; 4]);
    }

    #[test]
    fn more_than_was_asked_for_is_refused() {
        let arena = Arena::new(1 << 20).unwrap();
        let mut extent = arena.take(3).unwrap();
        assert!(extent.write(b"four").is_err());
        assert_eq!(extent.write(b"abc").unwrap(), "abc");
    }

    // In a release arithmetic wraps around: it would be a lease on all of the memory without a page.
    #[test]
    fn a_length_beyond_all_memory_and_one_of_nothing_get_no_room() {
        let arena = Arena::new(8 * PAGE).unwrap();
        for len in [u64::MAX, u64::MAX - PAGE + 2, 8 * PAGE + 1, 0] {
            assert!(arena.take(len).is_none(), "{len}");
        }
        assert_eq!(arena.free(), 8 * PAGE);
    }

    proptest! {
        #[test]
        fn leases_never_overlap_and_all_comes_back(steps in proptest::collection::vec((1u64..40_000, 0usize..8), 1..120)) {
            let arena = Arena::new(64 * PAGE).unwrap();
            let mut held: Vec<(Bytes, u8)> = Vec::new();
            for (at, (len, which)) in steps.into_iter().enumerate() {
                if which < held.len() {
                    let (bytes, mark) = held.swap_remove(which);
                    prop_assert!(bytes.iter().all(|b| *b == mark));
                } else if let Some(mut extent) = arena.take(len) {
                    let mark = at as u8 | 1;
                    extent.write(&vec![mark; len as usize]).unwrap();
                    held.push((extent.finish().0, mark));
                }
            }
            for (bytes, mark) in held.drain(..) {
                prop_assert!(bytes.iter().all(|b| *b == mark));
            }
            prop_assert_eq!(arena.free(), 64 * PAGE);
            prop_assert_eq!(arena.free.lock().by_start.len(), 1);
        }
    }
}
