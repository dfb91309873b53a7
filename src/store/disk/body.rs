//! A body that stays on the disk while it is sent: read and checked piece by piece, on threads that
//! may block.

use std::io;
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::task::JoinHandle;

use super::Disk;
use super::cipher::{self, Cipher};
use super::files::DiskFile;
use super::index::Entry;
use super::record::{Header, PIECE};
use crate::body::content::InFile;
use crate::body::{BodyError, Source};
use crate::semantics::ranges::Span;

/// Pieces read in one go.
const BATCH: u64 = 2;

/// The entry to drop, and the disk to drop it from, if a body is damaged.
pub struct Bad {
    pub disk: Weak<Disk>,
    pub entry: Entry,
}

/// A body in a segment.
pub struct Filed {
    file: Arc<dyn DiskFile>,
    /// Where its record begins.
    at: u64,
    header: Header,
    crcs: Vec<u32>,
    seal: Option<Arc<Cipher>>,
    bad: Bad,
    /// A bit for each piece that was found whole since the file was opened.
    checked: Box<[AtomicU64]>,
}

impl Filed {
    /// The body of a record in `file`, which begins at `at`.
    pub fn new(
        file: Arc<dyn DiskFile>,
        at: u64,
        header: Header,
        crcs: Vec<u32>,
        seal: Option<Arc<Cipher>>,
        bad: Bad,
    ) -> Self {
        let checked = (0..header.pieces().div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        Self { file, at, header, crcs, seal, bad, checked }
    }

    fn is_checked(&self, piece: u64) -> bool {
        self.checked[(piece / 64) as usize].load(Ordering::Relaxed) & (1 << (piece % 64)) != 0
    }

    // One piece in clear, whole. Blocks.
    fn read(&self, piece: u64) -> io::Result<Vec<u8>> {
        let stride = PIECE as u64 + self.header.overhead();
        let clear = (self.header.body - piece * PIECE as u64).min(PIECE as u64);
        let mut octets = vec![0; (clear + self.header.overhead()) as usize];
        self.file.read_at(&mut octets, self.at + self.header.body_at() + piece * stride)?;
        let crc = self.crcs.get(piece as usize).copied().unwrap_or(0);
        let clear =
            cipher::open_part(&self.header, self.seal.as_deref(), piece as u32, crc, octets);
        let clear = clear.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidData, "a piece is not what was written")
        })?;
        self.checked[(piece / 64) as usize].fetch_or(1 << (piece % 64), Ordering::Relaxed);
        Ok(clear)
    }

    // The same, and what cannot be read or is damaged is found no more.
    fn read_or_drop(&self, piece: u64) -> io::Result<Vec<u8>> {
        self.read(piece).inspect_err(|error| {
            if let Some(disk) = self.bad.disk.upgrade() {
                disk.is_bad(&self.bad.entry, error);
            }
        })
    }

    // A few pieces from `at` on, cut to the span. Blocks.
    fn read_some(&self, at: u64, end: u64) -> io::Result<Bytes> {
        let first = at / PIECE as u64;
        let last = (first + BATCH).min(end.div_ceil(PIECE as u64));
        let mut octets = Vec::with_capacity(((last - first) as usize) * PIECE);
        for piece in first..last {
            octets.extend_from_slice(&self.read_or_drop(piece)?);
        }
        let start = first * PIECE as u64;
        let cut = (end - start).min(octets.len() as u64) as usize;
        Ok(Bytes::from(octets).slice((at - start) as usize..cut))
    }
}

impl InFile for Filed {
    fn length(&self) -> u64 {
        self.header.body
    }

    fn open(self: Arc<Self>, span: Span) -> Box<dyn Source> {
        Box::new(Reading { at: span.start, end: span.end, body: self, coming: None })
    }

    fn place(&self, span: Span) -> Option<(BorrowedFd<'_>, u64)> {
        let pieces = span.start / PIECE as u64..span.end.div_ceil(PIECE as u64);
        let is_plain =
            !self.header.is_encrypted && pieces.into_iter().all(|piece| self.is_checked(piece));
        self.file
            .descriptor()
            .filter(|_| is_plain)
            .map(|file| (file, self.at + self.header.body_at()))
    }
}

/// A part of a body on its way.
struct Reading {
    body: Arc<Filed>,
    at: u64,
    end: u64,
    coming: Option<JoinHandle<io::Result<Bytes>>>,
}

impl Reading {
    // Only once the last pieces were taken: a viewer that takes nothing must not make us hold more.
    fn read_on(&mut self) {
        if self.at < self.end && self.coming.is_none() {
            let (body, at, end) = (Arc::clone(&self.body), self.at, self.end);
            self.coming = Some(tokio::task::spawn_blocking(move || body.read_some(at, end)));
        }
    }
}

impl Source for Reading {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        self.read_on();
        let Some(coming) = &mut self.coming else { return Poll::Ready(None) };
        let read = ready!(Pin::new(coming).poll(cx));
        self.coming = None;
        match read {
            Ok(Ok(octets)) => {
                self.at += octets.len() as u64;
                Poll::Ready(Some(Ok(octets)))
            }
            Ok(Err(error)) => {
                tracing::warn!(%error, "a stored body could not be read");
                self.at = self.end;
                Poll::Ready(Some(Err(BodyError::Unreadable)))
            }
            Err(_) => Poll::Ready(Some(Err(BodyError::Abandoned))),
        }
    }
}
