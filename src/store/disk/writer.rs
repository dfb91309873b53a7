//! Writing: records to the segment at the end, room by the one at the front. Under one lock, on
//! threads that may block.

use std::collections::HashSet;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, Waker};

use super::files::DiskFile;
use super::index::{Entry, Segment};
use super::queue::By;
use super::record::{self, HEADER, Header, Identity, Line, PIECE, UNIT, Version};
use super::segment_list::{self, Brief, List};
use super::{Disk, SINGLE, cipher, name_of};
use crate::body::Content;
use crate::message::stored::Stored;

/// Octets of an evicted segment that may move on because they were used.
const MOVED: u64 = 4 << 20;

/// How many large ones that are used may be passed over for the room of one record.
const TURNS: usize = 16;

/// What a record may add to list and footer beside its brief: a line, a chunk, and the end of a
/// segment sealed before it.
const FOOTER: u64 = 128 + segment_list::CHUNK_MORE;

/// What the writer's thread holds: the segment at the end, and files that are not synced yet.
pub struct Work {
    next: u32,
    /// Octets of a segment that holds many.
    size: u64,
    active: Option<Active>,
    /// Segments written to since then.
    unsynced: Vec<Arc<dyn DiskFile>>,
}

/// The segment that is added to.
struct Active {
    id: u32,
    file: Arc<dyn DiskFile>,
    at: u64,
    lines: Vec<Line>,
    list: List,
}

impl Work {
    /// Nothing is open yet; segments are numbered from `next` on.
    pub fn new(next: u32, size: u64) -> Self {
        Self { next, size, active: None, unsynced: Vec::new() }
    }

    /// The same where segments were numbered by another process meanwhile, up to `next`; gives the
    /// number of the next one, which neither has used.
    pub fn begin_again(&mut self, next: u32) -> u32 {
        *self = Self::new(self.next.max(next), self.size);
        self.next
    }
}

impl Disk {
    /// Writes a response down.
    pub(super) fn put(&self, stored: &Stored) -> io::Result<()> {
        let identity = self.identity(stored);
        let mut meta = record::encode_meta(stored);
        let body = stored.content.length().unwrap_or(0);
        let mut header = Header {
            is_encrypted: self.seal.is_some(),
            body,
            ..Header::tombstone(identity, Version::default())
        };
        header.is_tombstone = false;
        if meta.len() > record::META_MAX / 2 {
            // No origin sends such a head, and what is read back has a limit.
            self.tally.refused.fetch_add(1, Ordering::Relaxed);
            self.defer_tombstone(identity);
            return Ok(());
        }
        aws_lc_rs::rand::fill(&mut header.nonce).map_err(|_| io::Error::other("no randomness"))?;
        header.meta = (meta.len() + header.overhead() as usize) as u32;
        let mut work = self.work.lock();
        let is_single = header.octets() >= SINGLE.min(work.size / 2);
        let id = self.place_for(
            &mut work,
            header.octets(),
            segment_list::brief_octets(stored),
            is_single,
        )?;
        let active = work.active.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        let at = active.at;
        header.version = Version::at(id, at);
        if let Some(seal) = &self.seal {
            seal.seal(&header, cipher::META, &mut meta)
                .ok_or_else(|| io::Error::other("a record could not be sealed"))?;
        }
        header.meta_crc = crc32fast::hash(&meta);
        let wrote = self.write_record(active, &header, &meta, &stored.content);
        // Before the index knows of it: a read that finds it there must see that it is this one.
        stored.live.on_disk.store(header.version.0, Ordering::Relaxed);
        self.wrote(&mut work, &header, (Some(stored), By::Job), wrote)?;
        self.tally.writes.fetch_add(1, Ordering::Relaxed);
        self.tally.written_bytes.fetch_add(header.octets(), Ordering::Relaxed);
        if is_single {
            // It is written and known; that its segment could not be ended is no reason to say
            // otherwise.
            let sealed = self.close_segment(&mut work);
            drop(work);
            if sealed.is_err() {
                self.note_trouble(sealed);
            }
        }
        Ok(())
    }

    /// Writes down that nothing of an identity is kept.
    pub(super) fn write_tombstone(&self, identity: Identity, by: By) -> io::Result<()> {
        let mut work = self.work.lock();
        // Fetched anew since it was found dead.
        if by == By::Keeper && self.index.lock().get(identity).is_some() {
            return Ok(());
        }
        let id = self.place_for(&mut work, HEADER as u64, 0, false)?;
        let active = work.active.as_mut().ok_or_else(|| io::Error::other("no segment is open"))?;
        let header = Header::tombstone(identity, Version::at(id, active.at));
        let wrote = active.file.write_at(&header.encode(), active.at);
        self.wrote(&mut work, &header, (None, by), wrote)
    }

    // Opens a segment with room for a record, and sees to it that the limit holds with it and its
    // brief.
    fn place_for(
        &self,
        work: &mut Work,
        octets: u64,
        brief: u64,
        is_single: bool,
    ) -> io::Result<u32> {
        // What is written of it into the footer later counts from now on.
        self.make_room(work, octets + brief + FOOTER)?;
        let is_full =
            |active: &Active| active.at + octets > work.size || (is_single && active.at > 0);
        if work.active.as_ref().is_some_and(is_full) {
            self.close_segment(work)?;
        }
        self.segment(work, is_single).map(|active| active.id)
    }

    // The segment that is added to; a new one, if there is none.
    fn segment<'w>(&self, work: &'w mut Work, is_single: bool) -> io::Result<&'w mut Active> {
        match &mut work.active {
            Some(active) => Ok(active),
            none => {
                let id = work.next;
                let file = self.files.create(&name_of(id))?;
                work.next += 1;
                self.hold(id, &file);
                self.index.lock().open(id, Segment { is_single, ..Segment::default() });
                work.unsynced.push(Arc::clone(&file));
                Ok(none.insert(Active {
                    id,
                    file,
                    at: 0,
                    lines: Vec::new(),
                    list: List::default(),
                }))
            }
        }
    }

    // Notes what was written, or leaves the segment alone from here on if it could not be.
    fn wrote(
        &self,
        work: &mut Work,
        header: &Header,
        (stored, by): (Option<&Stored>, By),
        wrote: io::Result<()>,
    ) -> io::Result<()> {
        self.is_dirty.store(true, Ordering::Relaxed);
        let Some(active) = &mut work.active else { return wrote };
        if let Err(error) = wrote {
            // What stands behind the last whole record is cut off, or stepped over at the next
            // start.
            let _ = active.file.truncate(active.at);
            let _ = self.close_segment(work);
            return Err(error);
        }
        let line = Line {
            identity: header.identity,
            version: header.version,
            at: (active.at / UNIT) as u32,
            len: (header.octets() / UNIT) as u32,
            is_tombstone: header.is_tombstone,
        };
        active.lines.push(line);
        match stored {
            Some(stored) => active.list.add(&Brief::of(line.at, header.body, stored)),
            None if header.is_tombstone => {}
            None => active.list.spoil(),
        }
        active.at += header.octets();
        let id = active.id;
        let emptied = {
            let mut index = self.index.lock();
            index.grew(id, header.octets());
            let is_forgotten = by == By::Move
                && index.get(line.identity).is_none_or(|now| now.version != line.version);
            // Anything newer is in the queue first, and then in the index (src/DECISIONS.md, "The
            // queue hears first, then the index").
            let mut queue = self.queue.lock();
            let is_superseded = queue.lands(line.identity, line.version, by);
            match line.is_tombstone {
                false if is_forgotten => {
                    // It lies here too now, and may have no tombstone.
                    if !is_superseded && index.get(line.identity).is_none() {
                        queue.defer_tombstone(line.identity, super::OWED_MAX);
                    }
                    None
                }
                false if is_superseded => index.forget_upto(line.identity, line.version),
                _ => index.put(id, &line),
            }
        };
        if let Some(emptied) = emptied {
            self.mark_for_removal(emptied);
        }
        Ok(())
    }

    fn write_record(
        &self,
        active: &Active,
        header: &Header,
        meta: &[u8],
        content: &Arc<Content>,
    ) -> io::Result<()> {
        let mut out =
            Vec::with_capacity((header.octets() as usize).min(HEADER + meta.len() + 4 * PIECE));
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(meta);
        let mut at = active.at;
        let mut crcs = Vec::with_capacity(header.pieces() as usize);
        let mut piece = Vec::with_capacity((header.body as usize).min(PIECE) + record::TAG);
        let mut flush = |out: &mut Vec<u8>, piece: &mut Vec<u8>| -> io::Result<()> {
            if let Some(seal) = &self.seal {
                seal.seal(header, crcs.len() as u32, piece)
                    .ok_or_else(|| io::Error::other("a piece could not be sealed"))?;
            }
            crcs.push(crc32fast::hash(piece));
            out.append(piece);
            if out.len() >= 4 * PIECE {
                active.file.write_at(out, at)?;
                at += out.len() as u64;
                out.clear();
            }
            Ok(())
        };
        let mut reader =
            content.read(None).ok_or_else(|| io::Error::other("the content is gone"))?;
        let mut total = 0;
        // It is whole, so nothing of it is waited for.
        while let Poll::Ready(Some(octets)) =
            reader.poll_piece(&mut Context::from_waker(Waker::noop()))
        {
            let octets = octets.map_err(io::Error::other)?;
            total += octets.len() as u64;
            let mut rest = &octets[..];
            while !rest.is_empty() {
                let take = rest.len().min(PIECE - piece.len());
                piece.extend_from_slice(&rest[..take]);
                rest = &rest[take..];
                if piece.len() == PIECE {
                    flush(&mut out, &mut piece)?;
                }
            }
        }
        if !piece.is_empty() {
            flush(&mut out, &mut piece)?;
        }
        if total != header.body {
            return Err(io::Error::other("the content is not as long as it says"));
        }
        if header.body > 0 {
            out.extend_from_slice(&record::encode_table(&crcs));
        }
        let end = active.at + header.octets();
        out.resize((end - at) as usize, 0);
        active.file.write_at(&out, at)
    }

    // Ends a segment with its footer.
    fn close_segment(&self, work: &mut Work) -> io::Result<()> {
        let Some(active) = work.active.take() else { return Ok(()) };
        // One write: a footer behind a list that is not whole would be found all the same.
        let mut footer = active.list.encode(self.seal.as_deref(), active.id, active.at);
        footer.extend_from_slice(&record::encode_footer(&active.lines));
        let wrote = active.file.write_at(&footer, active.at);
        // Of what could not be written whole nothing stays, or all of it is counted.
        let is_longer = wrote.is_ok() || active.file.truncate(active.at).is_err();
        let mut index = self.index.lock();
        if is_longer {
            index.grew(active.id, footer.len() as u64);
        }
        let is_empty = index.segments.get_mut(&active.id).is_some_and(|segment| {
            segment.is_closed = true;
            segment.is_empty()
        });
        drop(index);
        if is_empty {
            self.mark_for_removal(active.id);
        }
        wrote
    }

    // Says whether so many octets may be written, those of the footer to come counted.
    fn fits(&self, work: &Work, octets: u64) -> bool {
        let footer = work
            .active
            .as_ref()
            .map_or(0, |active| record::footer_octets(active.lines.len()) + active.list.octets());
        self.index.lock().used + footer + octets <= self.settings.size
    }

    // The same for a record that lay somewhere else: a brief says no more than a meta does.
    fn fits_moved(&self, work: &Work, octets: &[u8]) -> bool {
        let brief = Header::decode(octets).map_or(0, |header| u64::from(header.meta));
        self.fits(work, octets.len() as u64 + brief + FOOTER)
    }

    // Removes segments from the front until so many octets have room.
    fn make_room(&self, work: &mut Work, octets: u64) -> io::Result<()> {
        // A large one that is used goes to the back; if all of them are used, one leaves all the
        // same.
        let mut turns = TURNS;
        loop {
            let doomed = self.doomed.lock().clone();
            let (objects, front) = {
                let index = self.index.lock();
                let active = work.active.as_ref().map(|active| active.id);
                (
                    index.len() as u64,
                    index
                        .order
                        .iter()
                        .find(|id| Some(**id) != active && !doomed.contains(id))
                        .copied(),
                )
            };
            if self.fits(work, octets) && objects < self.settings.objects {
                return Ok(());
            }
            // What is dead goes before what is live.
            if !doomed.is_empty() {
                self.sync_for_room(work)?;
                if self.doomed.lock().len() < doomed.len() {
                    continue;
                }
            }
            match front {
                Some(front) => {
                    self.evict(work, front, turns > 0)?;
                    turns = turns.saturating_sub(1);
                }
                // Only the active one is left.
                None if work.active.is_some() => self.close_segment(work)?,
                None => return Err(io::Error::other("the record is larger than the disk store")),
            }
        }
    }

    // The segment at the front leaves; what was used since it came there stays.
    fn evict(&self, work: &mut Work, id: u32, may_stay: bool) -> io::Result<()> {
        let lines = self.lines(id).unwrap_or_default();
        let live: Vec<Entry> = {
            let mut index = self.index.lock();
            lines.iter().filter_map(|line| index.at(id, line)).collect()
        };
        let is_single =
            self.index.lock().segments.get(&id).is_some_and(|segment| segment.is_single);
        let versions = live.iter().map(|entry| entry.version.0).collect();
        let in_use = self.in_use.get().map(|ask| ask(&versions)).unwrap_or_default();
        let is_used = |entry: &Entry| entry.uses > 0 || in_use.contains(&entry.version.0);
        if is_single && may_stay && live.iter().any(is_used) {
            let mut index = self.index.lock();
            live.iter().for_each(|entry| index.clear_uses(entry));
            index.order.retain(|known| *known != id);
            index.order.push_back(id);
            return Ok(());
        }
        let mut kept = Vec::new();
        // After many turns without enough room even what is used leaves.
        let mut budget = if may_stay { MOVED.min(work.size / 4) } else { 0 };
        for entry in live.iter().filter(|entry| is_used(entry) && !is_single) {
            let len = u64::from(entry.len) * UNIT;
            if len <= budget
                && let Ok(octets) = self.raw(entry)
            {
                budget -= len;
                kept.push((*entry, octets));
            }
        }
        // What moves on stays known, or it could not be told whether it was forgotten meanwhile.
        let staying: HashSet<u32> = kept.iter().map(|(entry, _)| entry.at).collect();
        for entry in live.iter().filter(|entry| !staying.contains(&entry.at)) {
            self.index.lock().forget_entry(entry);
        }
        self.tally.evictions.fetch_add((live.len() - kept.len()) as u64, Ordering::Relaxed);
        self.close(id, kept.len());
        let mut done = Ok(());
        for (entry, octets) in kept {
            if done.is_ok() && self.fits_moved(work, &octets) {
                done = self.append_raw(work, &entry, &octets);
            }
            // Wherever it is known now, it is not there.
            self.index.lock().forget_entry(&entry);
        }
        done
    }

    /// The octets of a record as they lie there.
    pub(super) fn raw(&self, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; (u64::from(entry.len) * UNIT) as usize];
        self.file(entry.segment)?.read_at(&mut octets, u64::from(entry.at) * UNIT)?;
        Ok(octets)
    }

    // Puts a record down again somewhere else, as it is.
    fn append_raw(&self, work: &mut Work, entry: &Entry, octets: &[u8]) -> io::Result<()> {
        let Some(header) = Header::decode(octets).filter(|header| header.version == entry.version)
        else {
            self.is_bad(entry, &io::ErrorKind::InvalidData.into());
            return Ok(());
        };
        let is_full =
            work.active.as_ref().is_some_and(|active| active.at + header.octets() > work.size);
        if is_full {
            self.close_segment(work)?;
        }
        let active = self.segment(work, false)?;
        // Forgotten while it was read: it need not be written.
        let is_known = || {
            self.index.lock().get(entry.identity).is_some_and(|now| now.version == entry.version)
        };
        if !header.is_tombstone && !is_known() {
            return Ok(());
        }
        let wrote = active.file.write_at(octets, active.at);
        self.tally.moved_bytes.fetch_add(octets.len() as u64, Ordering::Relaxed);
        let stored = if header.is_tombstone { None } else { self.stored_of(&header, octets) };
        self.wrote(work, &header, (stored.as_ref(), By::Move), wrote)
    }

    /// Writes what still counts of a sparse segment to the end, and removes it.
    pub(super) fn compact(&self, id: u32) -> io::Result<()> {
        let lines = match self.lines(id) {
            // It has left by itself.
            Err(_) if !self.index.lock().stays(id) => return Ok(()),
            lines => lines?,
        };
        let mut work = self.work.lock();
        // Tombstones stay as long as anything older might.
        let is_oldest = self.index.lock().is_oldest(id);
        for line in &lines {
            let entry = self.index.lock().at(id, line);
            match entry {
                Some(entry) => {
                    match self.raw(&entry) {
                        Ok(octets) if self.fits_moved(&work, &octets) => {
                            self.append_raw(&mut work, &entry, &octets)?
                        }
                        // No room, or not to be read now: it stays where it is.
                        _ => return Ok(()),
                    }
                }
                None if line.is_tombstone && !is_oldest => {
                    self.make_room(&mut work, HEADER as u64 + FOOTER)?;
                    let stands_for = Entry {
                        identity: line.identity,
                        segment: id,
                        at: line.at,
                        len: line.len,
                        version: line.version,
                        uses: 0,
                    };
                    let octets = Header::tombstone(line.identity, line.version).encode();
                    self.append_raw(&mut work, &stands_for, &octets)?;
                }
                None => {}
            }
        }
        self.mark_for_removal(id);
        Ok(())
    }

    /// Makes everything written so far survive a power cut, and then removes what it replaced.
    pub fn sync(&self) -> io::Result<()> {
        let _one = self.syncing.lock();
        let (files, doomed) = {
            let mut work = self.work.lock();
            if !self.is_dirty.swap(false, Ordering::Relaxed) {
                return Ok(());
            }
            // The one that is added to will be written to again.
            let again = work.active.as_ref().map(|active| Arc::clone(&active.file));
            let files = std::mem::replace(&mut work.unsynced, again.into_iter().collect());
            (files, self.doomed.lock().clone())
        };
        let synced = files.iter().try_for_each(|file| file.sync()).and_then(|()| self.files.sync());
        if synced.is_err() {
            self.work.lock().unsynced.extend(files);
            self.is_dirty.store(true, Ordering::Relaxed);
            return synced;
        }
        self.remove_doomed(&doomed);
        Ok(())
    }

    fn remove_doomed(&self, synced: &[u32]) {
        self.doomed.lock().retain(|id| !synced.contains(id));
        synced.iter().for_each(|id| self.close(*id, 0));
    }

    // Nothing of a segment counts any more, because of something that was written and may yet be
    // lost: it is removed when that no longer can be. Else what came before it, and is dead because
    // of it, would count again.
    pub(super) fn mark_for_removal(&self, id: u32) {
        let is_known = self.index.lock().segments.contains_key(&id);
        let mut doomed = self.doomed.lock();
        if is_known && !doomed.contains(&id) {
            doomed.push(id);
            self.is_dirty.store(true, Ordering::Relaxed);
        }
    }

    // The same sync for a writer that needs the room of doomed segments at once, and holds `work`.
    fn sync_for_room(&self, work: &mut Work) -> io::Result<()> {
        // Another sync has taken its files and may not be done with them: what they replaced is its
        // to remove.
        let Some(_one) = self.syncing.try_lock() else { return Ok(()) };
        let doomed = self.doomed.lock().clone();
        work.unsynced.iter().try_for_each(|file| file.sync())?;
        self.files.sync()?;
        self.remove_doomed(&doomed);
        Ok(())
    }

    /// Makes the limit hold, where it was lowered since the last time.
    pub(super) fn shrink(&self) -> io::Result<()> {
        self.make_room(&mut self.work.lock(), 0)
    }

    /// Ends the segment that is added to, and syncs: nothing is added to it after a restart.
    pub fn finish(&self) -> io::Result<()> {
        if !self.pay_last_debts() {
            // What should be gone would be found again. Then rather nothing is.
            tracing::warn!(
                "the disk store could not write down what is gone; it begins empty next time"
            );
            self.is_dirty.store(true, Ordering::Relaxed);
            if let Err(error) = self.files.remove(super::load::ID) {
                tracing::error!(%error, "nor could it be told to");
            }
        }
        let sealed = self.close_segment(&mut self.work.lock());
        self.sync().and(sealed)
    }
}
