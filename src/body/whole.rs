//! Octets that are all there: how they lie in memory, or in a file.

use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;

use super::Source;
use super::arena::ArenaSlot;
use crate::semantics::ranges::Span;

/// Octets are copied into blocks of this size, so that what a content holds is what it accounts
/// for.
pub(super) const BLOCK: usize = 64 * 1024;

/// Bodies up to here are kept as they are, without what it takes to share them: each reader gets a
/// copy.
const SMALL: usize = 4096;

/// Octets that are all there. There are as many of these as of stored responses, so it is kept
/// small.
pub(super) enum Whole {
    Small(Box<[u8]>),
    One(Box<Bytes>),
    /// In one extent of the arena.
    Mapped(Box<(Bytes, ArenaSlot)>),
    Many(Box<[Piece]>),
    /// In a file, and read from there each time.
    Filed(Arc<dyn InFile>),
}

/// A body that stays in a file while it is sent; its reads may wait for a disk, so they are made
/// outside the worker's thread.
pub trait InFile: Send + Sync {
    fn length(&self) -> u64;
    /// Reads a part of it, which lies within its length.
    fn open(self: Arc<Self>, span: Span) -> Box<dyn Source>;
    /// Where it begins in a file, if the kernel may send this part from there as it is.
    fn place(&self, span: Span) -> Option<(BorrowedFd<'_>, u64)>;
}

#[derive(Clone)]
pub(super) struct Piece {
    pub start: u64,
    pub bytes: Bytes,
}

impl Whole {
    pub fn copied(octets: &[u8]) -> Self {
        match octets.len() {
            ..=SMALL => Self::Small(octets.into()),
            _ => Self::One(Box::new(Bytes::copy_from_slice(octets))),
        }
    }

    pub fn len(&self) -> u64 {
        match self {
            Self::Small(octets) => octets.len() as u64,
            Self::One(bytes) => bytes.len() as u64,
            Self::Mapped(mapped) => mapped.0.len() as u64,
            Self::Many(pieces) => {
                pieces.last().map_or(0, |last| last.start + last.bytes.len() as u64)
            }
            Self::Filed(body) => body.length(),
        }
    }

    pub fn at(&self, at: u64) -> Option<Bytes> {
        match self {
            Self::Small(octets) => rest(octets, at).map(|at| Bytes::copy_from_slice(&octets[at..])),
            Self::One(bytes) => rest(bytes, at).map(|at| bytes.slice(at..)),
            Self::Mapped(mapped) => rest(&mapped.0, at).map(|at| mapped.0.slice(at..)),
            Self::Many(pieces) => piece_at(pieces, at),
            // A reader of a file has it open.
            Self::Filed(_) => None,
        }
    }
}

// A position, if there is anything from it on.
fn rest(octets: &[u8], at: u64) -> Option<usize> {
    usize::try_from(at).ok().filter(|at| *at < octets.len())
}

pub(super) fn piece_at(pieces: &[Piece], at: u64) -> Option<Bytes> {
    let index = pieces.partition_point(|piece| piece.start <= at).checked_sub(1)?;
    let piece = &pieces[index];
    let offset = usize::try_from(at - piece.start).ok()?;
    (offset < piece.bytes.len()).then(|| piece.bytes.slice(offset..))
}

// Small contents become one exact piece; large ones keep their blocks.
// A single one is kept as it is only if its block was made to measure.
pub(super) fn gather(mut pieces: Vec<Piece>, exact: bool) -> Whole {
    let total: usize = pieces.iter().map(|piece| piece.bytes.len()).sum();
    match pieces.len() {
        0 => Whole::Small(Box::default()),
        1 if total <= SMALL => Whole::copied(&pieces[0].bytes),
        1 if exact => Whole::One(Box::new(pieces.swap_remove(0).bytes)),
        _ if total <= BLOCK => {
            let mut one = Vec::with_capacity(total);
            pieces.iter().for_each(|piece| one.extend_from_slice(&piece.bytes));
            if total <= SMALL { Whole::Small(one.into()) } else { Whole::One(Box::new(one.into())) }
        }
        count if total / count < BLOCK / 4 => {
            let mut blocks: Vec<Piece> = Vec::with_capacity(total / BLOCK + 1);
            let mut block: Vec<u8> = Vec::with_capacity(BLOCK);
            let mut start = 0;
            for piece in &pieces {
                let mut rest = &piece.bytes[..];
                while !rest.is_empty() {
                    let take = rest.len().min(BLOCK - block.len());
                    block.extend_from_slice(&rest[..take]);
                    rest = &rest[take..];
                    if block.len() == BLOCK {
                        let full = std::mem::replace(&mut block, Vec::with_capacity(BLOCK));
                        blocks.push(Piece { start, bytes: full.into() });
                        start += BLOCK as u64;
                    }
                }
            }
            if !block.is_empty() {
                block.shrink_to_fit();
                blocks.push(Piece { start, bytes: block.into() });
            }
            Whole::Many(blocks.into_boxed_slice())
        }
        _ => Whole::Many(pieces.into_boxed_slice()),
    }
}
