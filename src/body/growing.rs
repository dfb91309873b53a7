//! Octets that are still coming: the pieces so far, the readers that follow, and the window that
//! moves with them where nothing is kept.

use std::task::Waker;

use bytes::{Bytes, BytesMut};

use super::arena::Extent;
use super::whole::Piece;

/// A content that is not whole, and who follows it.
pub(super) struct Growing {
    pub block: BytesMut,
    /// Where a large body of known length goes, as long as that works.
    pub extent: Option<Extent>,
    pub pieces: Vec<Piece>,
    pub len: u64,
    /// The length that framing announced.
    pub announced: Option<u64>,
    pub readers: Vec<Option<Place>>,
    pub writer: Option<Waker>,
    pub window: Option<usize>,
}

/// How far a reader has come.
pub(super) struct Place {
    pub at: u64,
    pub waker: Option<Waker>,
    pub lost: bool,
}

impl Growing {
    pub fn front(&self) -> u64 {
        self.pieces.first().map_or(self.len, |piece| piece.start)
    }

    pub fn enter(&mut self, at: u64) -> usize {
        let place = Some(Place { at, waker: None, lost: false });
        match self.readers.iter().position(Option::is_none) {
            Some(free) => {
                self.readers[free] = place;
                free
            }
            None => {
                self.readers.push(place);
                self.readers.len() - 1
            }
        }
    }

    pub fn wake_readers(&mut self) {
        for place in self.readers.iter_mut().flatten() {
            if let Some(waker) = place.waker.take() {
                waker.wake();
            }
        }
    }

    // In a window, drops what every reader has seen.
    pub fn trim(&mut self) {
        if self.window.is_none() {
            return;
        }
        let slowest = self
            .readers
            .iter()
            .flatten()
            .filter(|p| !p.lost)
            .map(|p| p.at)
            .min()
            .unwrap_or(self.len);
        let seen =
            self.pieces.partition_point(|piece| piece.start + piece.bytes.len() as u64 <= slowest);
        if seen > 0 {
            self.pieces.drain(..seen);
        }
        if self.backlog() <= self.window.unwrap_or(usize::MAX) as u64
            && let Some(writer) = self.writer.take()
        {
            writer.wake();
        }
    }

    // `None` if it is to go elsewhere: what does not go in whole goes in not at all, nor does
    // anything behind it.
    pub fn write_to_extent(&mut self, data: &[u8]) -> Option<Bytes> {
        if data.is_empty() {
            return None;
        }
        let written = self.extent.as_mut()?.write(data);
        if written.is_err() {
            self.extent = None;
        }
        written.ok()
    }

    pub fn backlog(&self) -> u64 {
        self.len - self.front()
    }
}
