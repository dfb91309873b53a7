//! Finding again what lies in a folder: the store it belongs to, how far the invalidation log was,
//! and every segment's records.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::cipher::Cipher;
use super::files::{DiskFile, Files};
use super::record::{self, FOOTER_END, HEADER, Header, Line, UNIT};
use super::{Disk, SINGLE, name_of};
use crate::base::secret::Secret;
use crate::message::key::InvalidationNumber;

/// Names the store that the folder belongs to; without it nothing in there is believed.
pub const ID: &str = "store.id";
const HEAD: &str = "log-head";
const MAGIC: &str = "foreshore store 1";
/// Lines of a footer that are taken into the index under one lock.
const LINES: usize = 1000;
/// What stands where a store has no key.
const NO_KEY: &str = "none";

/// What a folder holds.
pub struct Found {
    pub seed: [u8; 16],
    pub seal: Option<Cipher>,
    /// Ids and lengths, ascending.
    pub segments: Vec<(u32, u64)>,
    pub head: Arc<dyn DiskFile>,
}

/// What to do with a folder that cannot be trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    BeginEmpty,
    /// Leave it as it is, and say so.
    Refuse,
}

/// Looks at a folder. What cannot be served from it any more is removed, with a word about why.
pub fn begin(
    files: &dyn Files,
    secret: Option<&Secret<String>>,
    log: InvalidationNumber,
    doubt: Doubt,
) -> io::Result<Found> {
    let listed = files.list()?;
    let len_of = |name: &str| listed.iter().find(|(known, _)| known == name).map(|(_, len)| *len);
    let text = len_of(ID).map(|len| read_whole(files, ID, len)).transpose()?;
    let known = text.as_deref().and_then(parse_id);
    let mut segments: Vec<(u32, u64)> =
        listed.iter().filter_map(|(name, len)| Some((id_of(name)?, *len))).collect();
    segments.sort_unstable();
    let head = files.keep(HEAD)?;
    let noted = len_of(HEAD).filter(|len| *len >= 12).and_then(|_| {
        let mut octets = [0; 12];
        head.read_at(&mut octets, 0).ok()?;
        decode_head(&octets)
    });
    let seal_of = |seed: &[u8]| match secret {
        None => Ok(None),
        Some(secret) => Cipher::new(secret, seed)
            .map(Some)
            .ok_or_else(|| io::Error::other("no key could be derived")),
    };
    let why = match &known {
        None if segments.is_empty() => None,
        None => Some("its folder does not say whose it is".to_string()),
        Some((seed, check)) => {
            let seal = seal_of(seed)?;
            if seal.as_ref().map_or(NO_KEY, |seal| &seal.check) != check {
                Some("it was written under another key, or without one".to_string())
            } else if noted.is_some_and(|noted| noted > log) {
                Some(format!(
                    "the invalidation log ends at {}, and {} was in effect here",
                    log.0,
                    noted.unwrap_or_default().0
                ))
            } else {
                return Ok(Found { seed: *seed, seal, segments, head });
            }
        }
    };
    if let Some(why) = why {
        if doubt == Doubt::Refuse {
            return Err(io::Error::other(why));
        }
        tracing::warn!(
            why,
            "the disk store begins empty: what lies in it cannot be trusted any more"
        );
        for (id, _) in segments.drain(..) {
            files.remove(&name_of(id))?;
        }
    }
    let mut seed = [0; 16];
    aws_lc_rs::rand::fill(&mut seed).map_err(|_| io::Error::other("no randomness"))?;
    let seal = seal_of(&seed)?;
    let hex: String = seed.iter().map(|octet| format!("{octet:02x}")).collect();
    let check = seal.as_ref().map_or(NO_KEY, |seal| &seal.check);
    let id = files.keep(ID)?;
    id.truncate(0)?;
    id.write_at(format!("{MAGIC}\n{hex}\n{check}\n").as_bytes(), 0)?;
    id.sync()?;
    head.write_at(&encode_head(log), 0)?;
    files.sync()?;
    Ok(Found { seed, seal, segments, head })
}

fn parse_id(octets: &[u8]) -> Option<([u8; 16], String)> {
    let mut lines = std::str::from_utf8(octets).ok()?.lines();
    if lines.next()? != MAGIC {
        return None;
    }
    let hex = lines.next().filter(|hex| hex.len() == 32 && hex.is_ascii())?;
    let mut seed = [0; 16];
    for (at, octet) in seed.iter_mut().enumerate() {
        *octet = u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).ok()?;
    }
    Some((seed, lines.next()?.to_string()))
}

fn read_whole(files: &dyn Files, name: &str, len: u64) -> io::Result<Vec<u8>> {
    let mut octets = vec![0; len.min(4096) as usize];
    files.open(name)?.read_at(&mut octets, 0)?;
    Ok(octets)
}

fn id_of(name: &str) -> Option<u32> {
    let hex = name.strip_suffix(".seg").filter(|hex| hex.len() == 8)?;
    u32::from_str_radix(hex, 16).ok()
}

/// A log number and its checksum.
pub fn encode_head(number: InvalidationNumber) -> [u8; 12] {
    let mut out = [0; 12];
    out[..8].copy_from_slice(&number.0.to_le_bytes());
    let crc = crc32fast::hash(&out[..8]);
    out[8..].copy_from_slice(&crc.to_le_bytes());
    out
}

fn decode_head(octets: &[u8; 12]) -> Option<InvalidationNumber> {
    let is_whole = crc32fast::hash(&octets[..8]).to_le_bytes() == octets[8..];
    is_whole
        .then(|| InvalidationNumber(u64::from_le_bytes(octets[..8].try_into().unwrap_or_default())))
}

impl Disk {
    /// Finds every record, the newest segments first. Responses are there as soon as their segment
    /// was looked at.
    pub fn load(&self) {
        // Not those that were written since the start: what lies there is known, or dead.
        let mut ids: Vec<u32> = self.index.lock().found().collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        let mut unreadable = None;
        for id in ids {
            if self.ending.load(Ordering::Relaxed) {
                // What is not known yet stays as it is.
                return;
            }
            // What lies in a segment that cannot be read may be newer than anything in older ones:
            // then they are not believed.
            if unreadable.is_some() {
                self.mark_for_removal(id);
                continue;
            }
            let lines = match self.lines(id).or_else(|_| self.lines(id)) {
                Ok(lines) => lines,
                Err(_) if !self.index.lock().stays(id) => continue,
                Err(error) => {
                    tracing::warn!(segment = id, %error, "a segment could not be read: it and all older ones are dropped");
                    unreadable = Some(id);
                    self.mark_for_removal(id);
                    continue;
                }
            };
            let mut index = self.index.lock();
            // Written since the start: it is known already.
            if !index
                .segments
                .get(&id)
                .is_some_and(|segment| segment.is_closed && segment.entries == 0)
            {
                continue;
            }
            if let Some(segment) = index.segments.get_mut(&id) {
                segment.is_single = lines.len() == 1 && segment.len >= SINGLE;
            }
            drop(index);
            // A few at a time: viewers ask the index too.
            for some in lines.chunks(LINES) {
                let mut index = self.index.lock();
                for line in some {
                    index.put(id, line);
                }
            }
        }
        let empty = {
            let mut index = self.index.lock();
            index.loaded();
            index.empty()
        };
        empty.into_iter().for_each(|id| self.mark_for_removal(id));
    }

    /// The records of a segment: from its footer, or one by one as far as they are whole.
    pub(super) fn lines(&self, id: u32) -> io::Result<Vec<Line>> {
        let len = self.index.lock().segments.get(&id).map_or(0, |segment| segment.len);
        let file = self.file(id)?;
        if len >= FOOTER_END as u64 {
            let mut end = [0; FOOTER_END];
            file.read_at(&mut end, len - FOOTER_END as u64)?;
            if let Some(footer) = record::footer_len(&end).filter(|footer| *footer as u64 <= len) {
                let mut octets = vec![0; footer];
                file.read_at(&mut octets, len - footer as u64)?;
                if let Some(lines) = record::decode_footer(&octets) {
                    return Ok(lines);
                }
            }
        }
        let mut lines = Vec::new();
        let mut at = 0;
        let mut octets = [0; HEADER];
        while at + HEADER as u64 <= len {
            file.read_at(&mut octets, at)?;
            let Some(header) = Header::decode(&octets).filter(|header| at + header.octets() <= len)
            else {
                break;
            };
            if header.is_list {
                // The footer behind it is missing; what it lists was read one by one.
                break;
            }
            lines.push(Line {
                identity: header.identity,
                version: header.version,
                at: (at / UNIT) as u32,
                len: (header.octets() / UNIT) as u32,
                is_tombstone: header.is_tombstone,
            });
            at += header.octets();
        }
        Ok(lines)
    }
}
