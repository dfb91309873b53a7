//! Reading records: whole ones for answers, their fronts for lists. What is damaged is dropped and
//! counted.
//!
//! Everything here blocks.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use smallvec::SmallVec;

use super::body::{self, Filed};
use super::files::DiskFile;
use super::index::Entry;
use super::record::{self, HEADER, Header, Line, PIECE, UNIT};
use super::segment_list::{self, Brief, Listed};
use super::{Disk, cipher};
use crate::body::{Arena, Content};
use crate::message::stored::Stored;

/// Bodies up to here are read whole when they are found; longer ones are read as they are sent.
const WHOLE: u64 = 1 << 20;
/// What is read first of a record with such a body.
const FRONT: usize = 8 << 10;
/// Large bodies whose checks are remembered, and whose files are open.
const FILED_MAX: usize = 128;

impl Disk {
    /// Reads what lies there for a key. Blocks.
    pub fn recall(&self, key: &[u8], arena: Option<&Arc<Arena>>) -> SmallVec<[Arc<Stored>; 2]> {
        let found = self.index.lock().find(self.key_hash(key));
        found.iter().filter_map(|entry| self.read(entry, key, arena)).collect()
    }

    // One record, checked; what is damaged is forgotten.
    fn read(&self, entry: &Entry, key: &[u8], arena: Option<&Arc<Arena>>) -> Option<Arc<Stored>> {
        match self.try_read(entry, arena) {
            Ok(Some(stored)) => {
                // Two keys may share a hash; they never share an answer.
                (stored.key.as_bytes() == key).then(|| {
                    self.tally.hits.fetch_add(1, Ordering::Relaxed);
                    Arc::new(stored)
                })
            }
            Ok(None) => {
                self.is_bad(entry, &io::ErrorKind::InvalidData.into());
                None
            }
            Err(error) => {
                self.is_bad(entry, &error);
                None
            }
        }
    }

    // Damaged, or not to be read: dropped, counted, and fetched again at the next request.
    pub(super) fn is_bad(&self, entry: &Entry, error: &io::Error) {
        // It was replaced meanwhile, or is being put somewhere else.
        if !self.index.lock().is_there(entry) {
            return;
        }
        let is_damage =
            matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof);
        let count = if is_damage { &self.tally.corrupt } else { &self.tally.read_errors };
        count.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(segment = entry.segment, unit = entry.at, %error, "a stored response is damaged or cannot be read, and is dropped");
        self.drop_entry(entry);
    }

    fn try_read(&self, entry: &Entry, arena: Option<&Arc<Arena>>) -> io::Result<Option<Stored>> {
        let file = self.file(entry.segment)?;
        let at = u64::from(entry.at) * UNIT;
        let len = u64::from(entry.len) * UNIT;
        // A short record in one call; of a long one the front.
        let mut octets = vec![0; if len > WHOLE { FRONT } else { len as usize }];
        file.read_at(&mut octets, at)?;
        let Some(header) =
            Header::decode(&octets).filter(|header| header.identity == entry.identity)
        else {
            return Ok(None);
        };
        if header.octets() != len {
            return Ok(None);
        }
        let whole = (header.body <= WHOLE).then(|| header.octets() as usize);
        let want = whole.unwrap_or(header.body_at() as usize);
        if octets.len() < want {
            octets.resize(want, 0);
            file.read_at(&mut octets, at)?;
        }
        let Some(meta) = self.open_meta(&header, &octets) else { return Ok(None) };
        let content = if header.body == 0 {
            Content::complete(b"")
        } else if whole.is_some() {
            match self.open_body(&header, &octets) {
                Some(body) => content_of(&body, arena),
                None => return Ok(None),
            }
        } else {
            match self.filed(entry, file, &header)? {
                Some(body) => Content::filed(body),
                None => return Ok(None),
            }
        };
        let stored = record::decode_meta(&meta, content);
        if let Some(stored) = &stored {
            stored.live.on_disk.store(entry.version.0, Ordering::Relaxed);
        }
        Ok(stored)
    }

    // A large body: the one that others read from, if there are any, so that what they checked is
    // known.
    fn filed(
        &self,
        entry: &Entry,
        file: Arc<dyn DiskFile>,
        header: &Header,
    ) -> io::Result<Option<Arc<Filed>>> {
        let place = (entry.segment, entry.at);
        if let Some((_, body)) = self.filed.lock().iter().find(|(known, _)| *known == place) {
            return Ok(Some(Arc::clone(body)));
        }
        let at = u64::from(entry.at) * UNIT;
        let Some(crcs) = table(&*file, at, header)? else { return Ok(None) };
        let bad = body::Bad { disk: Weak::clone(&self.me), entry: *entry };
        let body = Arc::new(Filed::new(file, at, *header, crcs, self.seal.clone(), bad));
        let mut filed = self.filed.lock();
        if filed.len() >= FILED_MAX {
            filed.pop_front();
        }
        filed.push_back((place, Arc::clone(&body)));
        Ok(Some(body))
    }

    fn open_meta(&self, header: &Header, record: &[u8]) -> Option<Vec<u8>> {
        let octets = record.get(HEADER..HEADER + header.meta as usize)?;
        cipher::open_part(
            header,
            self.seal.as_deref(),
            cipher::META,
            header.meta_crc,
            octets.to_vec(),
        )
    }

    fn open_body(&self, header: &Header, record: &[u8]) -> Option<Vec<u8>> {
        let crcs =
            record::decode_table(record.get(header.table_at() as usize..)?, header.pieces())?;
        let mut body = Vec::with_capacity(header.body as usize);
        let stored = record.get(header.body_at() as usize..header.table_at() as usize)?;
        for (at, piece) in stored.chunks(PIECE + header.overhead() as usize).enumerate() {
            cipher::open_part(header, self.seal.as_deref(), at as u32, crcs[at], piece.to_vec())
                .map(|piece| body.extend_from_slice(&piece))?;
        }
        Some(body)
    }

    /// Shows what lies in a segment, counts, and is wanted.
    pub(super) fn visit_segment(
        &self,
        id: u32,
        wanted: &mut impl FnMut(&Brief<'_>) -> bool,
        see: &mut impl FnMut(&Entry, &Brief<'_>),
    ) {
        let lines = self.lines(id).unwrap_or_default();
        let Some(listed) = self.listed(id, &lines) else {
            for line in &lines {
                if self.ending.load(Ordering::Relaxed) {
                    return;
                }
                let Some(entry) = self.index.lock().at(id, line) else { continue };
                if let Ok(Some((header, stored))) = self.see(&entry) {
                    let brief = Brief::of(line.at, header.body, &stored);
                    if wanted(&brief) {
                        see(&entry, &brief);
                    }
                }
            }
            return;
        };
        for brief in listed.briefs().filter(|brief| wanted(brief)) {
            // Lines are in the order of their places.
            let Ok(line) = lines.binary_search_by_key(&brief.at, |line| line.at) else { continue };
            let known = self.index.lock().at(id, &lines[line]);
            if let Some(entry) = known {
                see(&entry, &brief);
            }
        }
    }

    // A segment's list, if it has one that is whole.
    pub(super) fn listed(&self, id: u32, lines: &[Line]) -> Option<Listed> {
        let segment = self.index.lock().segments.get(&id).filter(|segment| segment.is_closed)?.len;
        let start = lines.last().map(|line| (u64::from(line.at) + u64::from(line.len)) * UNIT)?;
        let end = segment.checked_sub(record::footer_octets(lines.len()))?;
        let mut octets =
            vec![0; usize::try_from(end.checked_sub(start).filter(|len| *len > 0)?).ok()?];
        self.file(id).ok()?.read_at(&mut octets, start).ok()?;
        segment_list::open(&octets, self.seal.as_deref(), id, start)
    }

    /// What a record says, but for its body.
    pub(super) fn stored_of(&self, header: &Header, octets: &[u8]) -> Option<Stored> {
        self.open_meta(header, octets)
            .and_then(|meta| record::decode_meta(&meta, Content::complete(b"")))
    }

    /// One record without its body; `None` if it is not what was written.
    pub(super) fn see(&self, entry: &Entry) -> io::Result<Option<(Header, Stored)>> {
        let file = self.file(entry.segment)?;
        let at = u64::from(entry.at) * UNIT;
        let mut octets = vec![0; (u64::from(entry.len) * UNIT).min(1024) as usize];
        file.read_at(&mut octets, at)?;
        let Some(header) =
            Header::decode(&octets).filter(|header| header.identity == entry.identity)
        else {
            return Ok(None);
        };
        if (octets.len() as u64) < header.body_at() {
            octets.resize(header.body_at() as usize, 0);
            file.read_at(&mut octets, at)?;
        }
        Ok(self.stored_of(&header, &octets).map(|stored| (header, stored)))
    }
}

/// The checksums of a body's pieces, of the record at `at`; `None` if they are not what was
/// written.
pub fn table(file: &dyn DiskFile, at: u64, header: &Header) -> io::Result<Option<Vec<u32>>> {
    let mut table = vec![0; (header.pieces() * 4 + 4) as usize];
    file.read_at(&mut table, at + header.table_at())?;
    Ok(record::decode_table(&table, header.pieces()))
}

// A body that was read whole: large ones lie where the kernel can send them from.
fn content_of(body: &[u8], arena: Option<&Arc<Arena>>) -> Arc<Content> {
    if (body.len() as u64) < crate::body::arena::LARGE {
        return Content::complete(body);
    }
    let (content, mut writer) = Content::grow(Some(body.len() as u64), arena);
    writer.push(body);
    writer.finish();
    content
}
