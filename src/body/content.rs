//! The octets of a stored response, which may still be growing while they are read.
//!
//! One writer, any number of readers. A reader yields octets until the end and waits where there
//! are none yet, so that a collapse, read-while-write and a background refresh are one case. A
//! content that turns out too large to keep becomes a *window*: octets leave at the front once the
//! slowest reader has them, and the writer waits for it. Nothing here knows HTTP or the store's
//! accounts.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::arena::{Arena, Extent, LARGE};
use super::growing::Growing;
pub use super::whole::InFile;
use super::whole::{BLOCK, Piece, Whole, gather, piece_at};
use super::{BodyError, Source};
use crate::semantics::ranges::Span;
use crate::sync::{Mutex, OnceLock};

/// What one small piece costs beside its octets.
pub const PIECE_OVERHEAD: usize = std::mem::size_of::<Piece>();

/// A content: growing, complete, or broken for all its readers at once.
pub struct Content {
    end: OnceLock<Result<Whole, BodyError>>,
    growing: Mutex<Option<Box<Growing>>>,
}

/// What the writer should do before the next octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Free,
    /// No reader is left, and nothing is kept: stop.
    Nobody,
}

/// A small content whose octets are read elsewhere.
struct Lent(Arc<Content>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        self.0.whole().unwrap_or_default()
    }
}

impl Content {
    /// A content that is all there from the start.
    pub fn complete(octets: &[u8]) -> Arc<Self> {
        Self::ended(Whole::copied(octets))
    }

    /// A content that lies in a file.
    pub fn filed(body: Arc<dyn InFile>) -> Arc<Self> {
        Self::ended(Whole::Filed(body))
    }

    fn ended(whole: Whole) -> Arc<Self> {
        let end = OnceLock::new();
        let _ = end.set(Ok(whole));
        Arc::new(Self { end, growing: Mutex::new(None) })
    }

    /// A content that grows, and its writer. A large one of known length lies in the arena, if that
    /// has room.
    pub fn grow(announced: Option<u64>, arena: Option<&Arc<Arena>>) -> (Arc<Self>, Writer) {
        let extent = announced.filter(|len| *len >= LARGE).and_then(|len| arena?.take(len));
        let growing = Growing {
            block: BytesMut::new(),
            extent,
            pieces: Vec::new(),
            len: 0,
            announced,
            readers: Vec::new(),
            writer: None,
            window: None,
        };
        let content =
            Arc::new(Self { end: OnceLock::new(), growing: Mutex::new(Some(Box::new(growing))) });
        let writer = Writer { content: Arc::clone(&content), has_ended: false };
        (content, writer)
    }

    /// The octets, if they are all there in one piece.
    pub fn whole(&self) -> Option<&[u8]> {
        match self.end.get() {
            Some(Ok(Whole::Small(octets))) => Some(octets),
            Some(Ok(Whole::One(bytes))) => Some(bytes),
            Some(Ok(Whole::Mapped(mapped))) => Some(&mapped.0),
            _ => None,
        }
    }

    /// A part of them, shared or copied, if they are all there in one piece.
    pub fn part(&self, span: Span) -> Option<Bytes> {
        let (start, end) = (usize::try_from(span.start).ok()?, usize::try_from(span.end).ok()?);
        match self.end.get() {
            Some(Ok(Whole::Small(octets))) => octets.get(start..end).map(Bytes::copy_from_slice),
            Some(Ok(Whole::One(bytes))) => Some(bytes.slice(start..end)),
            Some(Ok(Whole::Mapped(mapped))) => Some(mapped.0.slice(start..end)),
            _ => None,
        }
    }

    /// The same, and never copied: the content stays for as long as they do.
    pub fn shared(self: &Arc<Self>, span: Span) -> Option<Bytes> {
        let Some(Ok(Whole::Small(octets))) = self.end.get() else { return self.part(span) };
        let (start, end) = (usize::try_from(span.start).ok()?, usize::try_from(span.end).ok()?);
        octets.get(start..end)?;
        let all = Bytes::from_owner(Lent(Arc::clone(self)));
        Some(if end - start == all.len() { all } else { all.slice(start..end) })
    }

    /// Where the octets begin in a file, if the kernel may send this part from there. The range is
    /// the content's for as long as the caller holds the content.
    pub fn sendfile_range(&self, span: Span) -> Option<(BorrowedFd<'_>, u64)> {
        match self.end.get() {
            Some(Ok(Whole::Mapped(mapped))) => Some((mapped.1.arena.file().as_fd(), mapped.1.at)),
            Some(Ok(Whole::Filed(body))) => body.place(span),
            _ => None,
        }
    }

    /// True if reading it may wait for a disk.
    pub fn is_filed(&self) -> bool {
        matches!(self.end.get(), Some(Ok(Whole::Filed(_))))
    }

    /// The exact length: of a complete content, or as announced for a growing one.
    pub fn length(&self) -> Option<u64> {
        match self.end.get() {
            Some(Ok(whole)) => Some(whole.len()),
            Some(Err(_)) => None,
            None => match &*self.growing.lock() {
                Some(growing) => growing.announced,
                None => self.end.get()?.as_ref().ok().map(Whole::len),
            },
        }
    }

    /// Says whether all octets are there.
    pub fn is_complete(&self) -> bool {
        matches!(self.end.get(), Some(Ok(_)))
    }

    /// Says whether the content broke.
    pub fn is_broken(&self) -> bool {
        matches!(self.end.get(), Some(Err(_)))
    }

    /// Opens a reader on a part, or on everything; `None` if the front is gone already.
    pub fn read(self: &Arc<Self>, part: Option<Span>) -> Option<Reader> {
        let (at, end) = part.map_or((0, None), |span| (span.start, Some(span.end)));
        let mut reader = Reader { content: Arc::clone(self), at, end, place: None, file: None };
        if let Some(Ok(Whole::Filed(body))) = self.end.get() {
            let span =
                Span { start: at, end: end.unwrap_or_else(|| body.length()).min(body.length()) };
            reader.file = Some(Arc::clone(body).open(span));
            return Some(reader);
        }
        if self.end.get().is_none()
            && let Some(growing) = &mut *self.growing.lock()
        {
            if growing.front() > at {
                return None;
            }
            reader.place = Some(growing.enter(at));
        }
        Some(reader)
    }
}

/// Grows a content. Dropping it without `finish` breaks the content for all readers.
pub struct Writer {
    content: Arc<Content>,
    has_ended: bool,
}

impl Writer {
    /// Adds octets; readers that wait are woken.
    pub fn push(&mut self, mut data: &[u8]) {
        let mut guard = self.content.growing.lock();
        let Some(growing) = guard.as_deref_mut() else { return };
        if let Some(bytes) = growing.write_to_extent(data) {
            growing.pieces.push(Piece { start: growing.len, bytes });
            growing.len += data.len() as u64;
            data = &[];
        }
        while !data.is_empty() {
            if growing.block.capacity() == 0 {
                let left =
                    growing.announced.map_or(BLOCK as u64, |all| all.saturating_sub(growing.len));
                let want = usize::try_from(left)
                    .unwrap_or(BLOCK)
                    .clamp(data.len().min(BLOCK), BLOCK)
                    .max(1);
                growing.block = BytesMut::with_capacity(want);
            }
            let take = data.len().min(growing.block.capacity());
            growing.block.extend_from_slice(&data[..take]);
            let bytes = growing.block.split().freeze();
            let start = growing.len;
            growing.len += take as u64;
            growing.pieces.push(Piece { start, bytes });
            data = &data[take..];
        }
        growing.wake_readers();
    }

    /// Octets written so far.
    pub fn len(&self) -> u64 {
        self.content.growing.lock().as_ref().map_or(0, |growing| growing.len)
    }

    /// True if nothing was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// From now on nothing is kept: octets leave once the slowest reader has them.
    pub fn open_window(&mut self, size: usize) {
        if let Some(growing) = self.content.growing.lock().as_deref_mut() {
            // What leaves at the front must not stay in a place for all of it.
            growing.extent = None;
            growing.window = Some(size);
            growing.trim();
        }
    }

    /// Waits until the window has room; at once if there is no window.
    pub fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Room> {
        let mut guard = self.content.growing.lock();
        let Some(growing) = guard.as_deref_mut() else { return Poll::Ready(Room::Nobody) };
        let Some(window) = growing.window else { return Poll::Ready(Room::Free) };
        growing.writer = Some(cx.waker().clone());
        if growing.readers.iter().flatten().all(|place| place.lost) {
            return Poll::Ready(Room::Nobody);
        }
        growing.trim();
        if growing.backlog() <= window as u64 { Poll::Ready(Room::Free) } else { Poll::Pending }
    }

    /// Gives up on the readers that hold the window's front; they get an error.
    pub fn lose_slowest(&mut self) {
        let mut guard = self.content.growing.lock();
        let Some(growing) = guard.as_deref_mut() else { return };
        let front = growing.front() + (growing.window.unwrap_or(0) as u64) / 2;
        for place in growing.readers.iter_mut().flatten().filter(|place| place.at <= front) {
            place.lost = true;
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
        growing.trim();
    }

    /// How many readers there are.
    pub fn readers(&self) -> usize {
        self.content
            .growing
            .lock()
            .as_ref()
            .map_or(0, |growing| growing.readers.iter().flatten().count())
    }

    /// All octets are there. False if they are fewer or more than announced: then the content is
    /// broken.
    pub fn finish(mut self) -> bool {
        let (announced, len) = match &*self.content.growing.lock() {
            Some(growing) => (growing.announced, growing.len),
            None => return false,
        };
        if announced.is_some_and(|all| all != len) {
            self.end(Err(BodyError::Truncated));
            return false;
        }
        self.end(Ok(()));
        true
    }

    /// The octets will not all come.
    pub fn break_off(mut self, why: BodyError) {
        self.end(Err(why));
    }

    fn end(&mut self, end: Result<(), BodyError>) {
        self.has_ended = true;
        let mut guard = self.content.growing.lock();
        let Some(growing) = guard.as_deref_mut() else { return };
        // A window has lost its front; its readers still need the rest, so it stays "growing" at
        // its end.
        if growing.window.is_some() && end.is_ok() {
            growing.announced = Some(growing.len);
            growing.wake_readers();
            return;
        }
        let exact = growing.announced.is_some();
        let whole = end.map(|()| match growing.extent.take().map(Extent::finish) {
            Some(mapped) if mapped.0.len() as u64 == growing.len => Whole::Mapped(Box::new(mapped)),
            _ => gather(std::mem::take(&mut growing.pieces), exact),
        });
        let _ = self.content.end.set(whole);
        growing.wake_readers();
        *guard = None;
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        if !self.has_ended {
            self.end(Err(BodyError::Abandoned));
        }
    }
}

/// Follows a content from one position to another, or to its end.
pub struct Reader {
    content: Arc<Content>,
    at: u64,
    end: Option<u64>,
    place: Option<usize>,
    file: Option<Box<dyn Source>>,
}

impl Reader {
    /// Octets still to come, where known.
    pub fn remaining(&self) -> Option<u64> {
        self.end.or_else(|| self.content.length()).map(|end| end.saturating_sub(self.at))
    }

    /// All octets that are still to come, where they lie in one piece of memory: for one who copies
    /// them, and does not ask for pieces.
    pub fn at_hand(&self) -> Option<&[u8]> {
        let whole = self.content.whole()?;
        let start = usize::try_from(self.at).ok()?;
        let end = self.end.map_or(Some(whole.len()), |end| usize::try_from(end).ok())?;
        whole.get(start..end)
    }

    /// The next octets; see [`super::Source::poll_piece`].
    pub fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.end.is_some_and(|end| self.at >= end) {
            return Poll::Ready(None);
        }
        if let Some(file) = &mut self.file {
            let piece = std::task::ready!(file.poll_piece(cx));
            if let Some(Ok(octets)) = &piece {
                self.at += octets.len() as u64;
            }
            return Poll::Ready(piece);
        }
        let piece = match self.content.end.get() {
            Some(Ok(whole)) => whole.at(self.at),
            Some(Err(why)) => return Poll::Ready(Some(Err(*why))),
            None => match std::task::ready!(self.poll_growing(cx)) {
                Ok(piece) => piece,
                Err(why) => return Poll::Ready(Some(Err(why))),
            },
        };
        let Some(mut bytes) = piece else {
            // The content ended before a part that was promised.
            return Poll::Ready(self.end.map(|_| Err(BodyError::Truncated)));
        };
        if let Some(left) = self.end.map(|end| end - self.at)
            && (bytes.len() as u64) > left
        {
            bytes.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        }
        self.at += bytes.len() as u64;
        Poll::Ready(Some(Ok(bytes)))
    }

    // `None` inside: the growing content has ended at this position.
    fn poll_growing(&self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        let mut guard = self.content.growing.lock();
        let Some(growing) = guard.as_deref_mut() else {
            // It ended between the look at `end` and the lock.
            return Poll::Ready(match self.content.end.get() {
                Some(Ok(whole)) => Ok(whole.at(self.at)),
                Some(Err(why)) => Err(*why),
                None => Err(BodyError::Abandoned),
            });
        };
        let found = piece_at(&growing.pieces, self.at);
        let ended = growing.window.is_some() && growing.announced.is_some_and(|all| self.at >= all);
        let Some(place) = self.place.and_then(|at| growing.readers[at].as_mut()) else {
            return Poll::Ready(Err(BodyError::Overrun));
        };
        if place.lost {
            return Poll::Ready(Err(BodyError::Overrun));
        }
        place.at = self.at;
        if found.is_none() && !ended {
            place.waker = Some(cx.waker().clone());
            growing.trim();
            return Poll::Pending;
        }
        growing.trim();
        Poll::Ready(Ok(found))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(place) = self.place
            && let Some(growing) = self.content.growing.lock().as_deref_mut()
        {
            growing.readers[place] = None;
            growing.trim();
            if let Some(writer) = growing.writer.take() {
                writer.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use proptest::prelude::*;

    async fn collect(mut reader: Reader) -> Result<Vec<u8>, BodyError> {
        let mut all = Vec::new();
        while let Some(piece) = std::future::poll_fn(|cx| reader.poll_piece(cx)).await {
            all.extend_from_slice(&piece?);
        }
        Ok(all)
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn what_is_all_there_is_at_hand_from_where_its_reader_is() {
        let content = Content::complete(b"0123456789");
        let part = |start, end| content.read(Some(Span { start, end })).unwrap();
        assert_eq!(content.read(None).unwrap().at_hand(), Some(&b"0123456789"[..]));
        assert_eq!(part(2, 5).at_hand(), Some(&b"234"[..]));
        assert_eq!(part(2, 11).at_hand(), None);
        let mut reader = part(0, 4);
        assert!(reader.poll_piece(&mut Context::from_waker(Waker::noop())).is_ready());
        assert_eq!(reader.at_hand(), Some(&b""[..]));
        let (growing, writer) = Content::grow(Some(1), None);
        assert_eq!(growing.read(None).unwrap().at_hand(), None);
        drop(writer);
    }

    #[test]
    fn a_small_content_is_lent_without_a_copy() {
        let content = Content::complete(b"0123456789");
        let start_of_all = content.whole().unwrap().as_ptr();
        for (start, end) in [(0, 10), (2, 5)] {
            let lent = content.shared(Span { start, end }).unwrap();
            let (start, end) = (start as usize, end as usize);
            assert_eq!(&lent[..], &b"0123456789"[start..end]);
            assert_eq!(lent.as_ptr(), start_of_all.wrapping_add(start));
        }
        assert!(content.shared(Span { start: 5, end: 11 }).is_none());
        let lent = content.shared(Span { start: 0, end: 10 }).unwrap();
        drop(content);
        assert_eq!(&lent[..], b"0123456789", "it stays for as long as it is lent");
    }

    proptest! {
        #[test]
        fn every_reader_sees_the_same_octets(pieces in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 0..60), from in 0u64..4000, len in 1u64..4000) {
            run(async {
                let all: Vec<u8> = pieces.concat();
                let (content, mut writer) = Content::grow(None, None);
                let early = content.read(None).unwrap();
                let follow = tokio::spawn(collect(early));
                for piece in &pieces {
                    writer.push(piece);
                    tokio::task::yield_now().await;
                }
                let end = (from + len).min(all.len() as u64);
                let part = (from < end).then(|| content.read(Some(Span { start: from, end })).unwrap());
                prop_assert!(writer.finish());
                prop_assert_eq!(follow.await.unwrap().unwrap(), all.clone());
                prop_assert_eq!(collect(content.read(None).unwrap()).await.unwrap(), all.clone());
                if let Some(part) = part {
                    prop_assert_eq!(collect(part).await.unwrap(), &all[from as usize..end as usize]);
                }
                prop_assert_eq!(content.length(), Some(all.len() as u64));
                Ok(())
            })?;
        }
    }

    #[test]
    fn a_large_body_lies_in_the_arena_while_it_grows_and_after() {
        run(async {
            let arena = Arena::new(1 << 20).unwrap();
            let all: Vec<u8> = (0..100_000u32).map(|at| (at % 251) as u8).collect();
            let (content, mut writer) = Content::grow(Some(100_000), Some(&arena));
            let follow = tokio::spawn(collect(content.read(None).unwrap()));
            for piece in all.chunks(7_000) {
                writer.push(piece);
                tokio::task::yield_now().await;
            }
            let all_of_it = Span { start: 0, end: 100_000 };
            assert!(content.sendfile_range(all_of_it).is_none(), "not before it is whole");
            assert!(writer.finish());
            assert_eq!(follow.await.unwrap().unwrap(), all);
            assert!(content.sendfile_range(all_of_it).is_some() && content.whole().unwrap() == all);
            assert_eq!(
                collect(content.read(Some(Span { start: 5, end: 70_000 })).unwrap()).await.unwrap(),
                &all[5..70_000]
            );
            drop(content);
            assert_eq!(arena.free(), 1 << 20);
        });
    }

    #[test]
    fn a_body_that_is_longer_than_announced_breaks_and_the_arena_is_free_again() {
        run(async {
            let arena = Arena::new(1 << 20).unwrap();
            let (content, mut writer) = Content::grow(Some(20_000), Some(&arena));
            writer.push(&[1; 15_000]);
            writer.push(&[2; 15_000]);
            assert!(!writer.finish());
            assert!(
                content.is_broken() && content.sendfile_range(Span { start: 0, end: 1 }).is_none()
            );
            drop(content);
            assert_eq!(arena.free(), 1 << 20);
        });
    }

    #[test]
    fn a_full_arena_is_no_obstacle() {
        run(async {
            let arena = Arena::new(16 * 1024).unwrap();
            let (content, mut writer) = Content::grow(Some(20_000), Some(&arena));
            writer.push(&[1; 20_000]);
            assert!(writer.finish());
            assert_eq!(collect(content.read(None).unwrap()).await.unwrap(), [1; 20_000]);
        });
    }

    #[test]
    fn a_short_body_breaks_for_everybody() {
        run(async {
            let (content, mut writer) = Content::grow(Some(10), None);
            let reader = content.read(None).unwrap();
            writer.push(b"12345");
            assert!(!writer.finish());
            assert_eq!(collect(reader).await, Err(BodyError::Truncated));
            assert!(content.is_broken());
        });
    }

    #[test]
    fn a_dropped_writer_breaks_the_content() {
        run(async {
            let (content, writer) = Content::grow(None, None);
            drop(writer);
            assert_eq!(collect(content.read(None).unwrap()).await, Err(BodyError::Abandoned));
        });
    }

    #[test]
    fn a_window_holds_no_more_than_its_size_and_ends_well() {
        run(async {
            let (content, mut writer) = Content::grow(None, None);
            writer.open_window(100_000);
            let reader = content.read(None).unwrap();
            let follow = tokio::spawn(collect(reader));
            let mut most = 0;
            for at in 0..200u32 {
                assert_eq!(std::future::poll_fn(|cx| writer.poll_room(cx)).await, Room::Free);
                writer.push(&vec![at as u8; 10_000]);
                most = most.max(content.growing.lock().as_ref().unwrap().backlog());
            }
            assert!(writer.finish());
            assert_eq!(follow.await.unwrap().unwrap().len(), 2_000_000);
            assert!(most <= 110_000, "held {most}");
            assert!(content.read(None).is_none(), "the front is gone");
        });
    }

    #[test]
    fn a_window_without_readers_says_so_and_a_slow_reader_is_lost() {
        run(async {
            let (content, mut writer) = Content::grow(None, None);
            let slow = content.read(None).unwrap();
            writer.open_window(10);
            writer.push(&[1; 50]);
            let mut cx = Context::from_waker(Waker::noop());
            assert_eq!(writer.poll_room(&mut cx), Poll::Pending);
            writer.lose_slowest();
            assert_eq!(writer.poll_room(&mut cx), Poll::Ready(Room::Nobody));
            assert_eq!(collect(slow).await, Err(BodyError::Overrun));
        });
    }
}
