//! Reads zip files as strictly as code that is to be run deserves: what the central directory says
//! is all that counts, and whatever could write outside the folder is refused.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};

use flate2::read::DeflateDecoder;

/// Files in an archive.
pub const FILES_MAX: usize = 50_000;
/// Octets of all files together, unpacked.
pub const UNPACKED_MAX: u64 = 250 << 20;

/// Octets of the directory's end without its comment.
const END: usize = 22;
const COMMENT_MAX: usize = 0xffff;
const DIRECTORY_MAX: u64 = 32 << 20;
/// Octets of an entry's own head, without name and extra field.
const LOCAL: u64 = 30;

/// One file or folder of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Segments with `/` between them; none is empty, `.` or `..`.
    pub name: String,
    pub is_folder: bool,
    /// Whether its owner may execute it.
    pub is_program: bool,
    /// Octets once it is unpacked.
    pub size: u64,
    packed: u64,
    is_deflated: bool,
    checksum: u32,
    at: u64,
}

fn bad(why: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.into())
}

fn u16_at(octets: &[u8], at: usize) -> usize {
    usize::from(u16::from_le_bytes([octets[at], octets[at + 1]]))
}

fn u32_at(octets: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([octets[at], octets[at + 1], octets[at + 2], octets[at + 3]])
}

/// Lists what an archive holds.
///
/// # Errors
///
/// If the file is no zip, is damaged, needs what Lambda's own zips never need (several disks, more
/// than 4 GiB, encryption, methods other than deflate), or holds what must not be unpacked.
pub fn entries(file: &mut File) -> io::Result<Vec<Entry>> {
    let length = file.seek(SeekFrom::End(0))?;
    let tail_length = length.min((END + COMMENT_MAX) as u64);
    file.seek(SeekFrom::Start(length - tail_length))?;
    let mut tail = Vec::new();
    file.by_ref().take(tail_length).read_to_end(&mut tail)?;
    let end = tail
        .len()
        .checked_sub(END)
        .and_then(|last| (0..=last).rev().find(|at| is_end(&tail, *at)))
        .ok_or_else(|| bad("it is no zip file"))?;
    let (count, size) = (u16_at(&tail, end + 10), u64::from(u32_at(&tail, end + 12)));
    let start = u64::from(u32_at(&tail, end + 16));
    if u16_at(&tail, end + 4) != 0 || count == 0xffff || start == 0xffff_ffff {
        return Err(bad("it has several parts or is of the 64 bit kind"));
    }
    if count > FILES_MAX {
        return Err(bad(format!("it has {count} files, and may have {FILES_MAX}")));
    }
    if size > DIRECTORY_MAX || start + size > length {
        return Err(bad("its directory is not where it says"));
    }
    file.seek(SeekFrom::Start(start))?;
    let mut directory = Vec::new();
    file.by_ref().take(size).read_to_end(&mut directory)?;
    let mut entries = Vec::with_capacity(count);
    let mut rest = &directory[..];
    for _ in 0..count {
        let (entry, after) = entry(rest)?;
        entries.push(entry);
        rest = after;
    }
    let total: u64 = entries.iter().map(|entry| entry.size).sum();
    if total > UNPACKED_MAX {
        return Err(bad(format!("unpacked it has {total} octets, and may have {UNPACKED_MAX}")));
    }
    Ok(entries)
}

// Says whether the directory's end is here: its comment must end with the file.
fn is_end(tail: &[u8], at: usize) -> bool {
    tail[at..].starts_with(b"PK\x05\x06") && at + END + u16_at(tail, at + 20) == tail.len()
}

// Reads one entry of the directory, and gives what comes after it.
fn entry(octets: &[u8]) -> io::Result<(Entry, &[u8])> {
    if octets.len() < 46 || !octets.starts_with(b"PK\x01\x02") {
        return Err(bad("its directory is damaged"));
    }
    let (name, extra, comment) = (u16_at(octets, 28), u16_at(octets, 30), u16_at(octets, 32));
    let whole = 46 + name + extra + comment;
    if octets.len() < whole {
        return Err(bad("its directory is cut off"));
    }
    let name = std::str::from_utf8(&octets[46..46 + name])
        .map_err(|_| bad("a file's name is no UTF-8"))?;
    if u16_at(octets, 8) & 1 != 0 {
        return Err(bad(format!("{name:?} is encrypted")));
    }
    let is_deflated = match u16_at(octets, 10) {
        0 => false,
        8 => true,
        method => return Err(bad(format!("{name:?} is packed by method {method}, not deflate"))),
    };
    // The upper half holds the mode of what was packed on Unix.
    let mode = u32_at(octets, 38) >> 16;
    let is_folder = name.ends_with('/');
    if !matches!(mode & 0o170_000, 0 | 0o040_000 | 0o100_000) {
        return Err(bad(format!("{name:?} is a link or something else that is no file")));
    }
    check_name(name.strip_suffix('/').unwrap_or(name))?;
    let entry = Entry {
        name: name.trim_end_matches('/').to_string(),
        is_folder,
        is_program: mode & 0o100 != 0,
        size: u64::from(u32_at(octets, 24)),
        packed: u64::from(u32_at(octets, 20)),
        is_deflated,
        checksum: u32_at(octets, 16),
        at: u64::from(u32_at(octets, 42)),
    };
    Ok((entry, &octets[whole..]))
}

fn check_name(name: &str) -> io::Result<()> {
    let is_bad = name.len() > 1024
        || name.contains(['\\', '\0'])
        || name.split('/').any(|segment| matches!(segment, "" | "." | ".."));
    if is_bad {
        return Err(bad(format!("{name:?} is no name of a file below the folder")));
    }
    Ok(())
}

/// Unpacks one file.
///
/// # Errors
///
/// If it is damaged, is longer than its entry says, or cannot be written.
pub fn unpack(file: &mut File, entry: &Entry, to: &mut File) -> io::Result<()> {
    file.seek(SeekFrom::Start(entry.at))?;
    let mut head = [0; LOCAL as usize];
    file.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x03\x04") {
        return Err(bad(format!("{:?} is not where the directory says", entry.name)));
    }
    let skipped = u16_at(&head, 26) + u16_at(&head, 28);
    file.seek(SeekFrom::Start(entry.at + LOCAL + skipped as u64))?;
    let packed = io::BufReader::new(file.take(entry.packed));
    let mut whole: Box<dyn Read + '_> =
        if entry.is_deflated { Box::new(DeflateDecoder::new(packed)) } else { Box::new(packed) };
    let mut summed = Summed { to, checksum: crc32fast::Hasher::new() };
    // One more than it may have shows that there is more.
    let written = io::copy(&mut whole.by_ref().take(entry.size + 1), &mut summed)?;
    if written != entry.size || summed.checksum.finalize() != entry.checksum {
        return Err(bad(format!("{:?} is not what the directory says", entry.name)));
    }
    Ok(())
}

/// Writes, and sums up what it wrote.
struct Summed<'f> {
    to: &'f mut File,
    checksum: crc32fast::Hasher,
}

impl io::Write for Summed<'_> {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        let written = self.to.write(octets)?;
        self.checksum.update(&octets[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::{kept, zip};
    use super::*;

    fn unpacked(file: &mut File, entry: &Entry) -> io::Result<Vec<u8>> {
        let mut to = tempfile::tempfile().unwrap();
        unpack(file, entry, &mut to)?;
        to.seek(SeekFrom::Start(0))?;
        let mut content = Vec::new();
        to.read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_was_packed_comes_out() {
        let long = b"abc".repeat(100_000);
        let mut file = kept(&zip(&[
            ("index.js", 0o100_644, b"exports.handler = 1"),
            ("lib/", 0o040_755, b""),
            ("lib/run", 0o100_755, &long),
            ("unknown", 0, b""),
        ]));
        let all = entries(&mut file).unwrap();
        let named: Vec<_> =
            all.iter().map(|e| (e.name.as_str(), e.is_folder, e.is_program)).collect();
        assert_eq!(
            named,
            [
                ("index.js", false, false),
                ("lib", true, true),
                ("lib/run", false, true),
                ("unknown", false, false),
            ]
        );
        assert_eq!(unpacked(&mut file, &all[0]).unwrap(), b"exports.handler = 1");
        assert_eq!(unpacked(&mut file, &all[2]).unwrap(), long);
        assert_eq!(unpacked(&mut file, &all[3]).unwrap(), b"");
    }

    #[test]
    fn names_that_lead_out_and_links_are_refused() {
        for name in ["/etc/passwd", "../a", "a/../b", "a//b", "./a", "a\\b", "", "/", ".."] {
            assert!(entries(&mut kept(&zip(&[(name, 0o100_644, b"")]))).is_err(), "{name:?}");
        }
        for mode in [0o120_777, 0o020_644, 0o140_644, 0o010_644] {
            assert!(entries(&mut kept(&zip(&[("a", mode, b"")]))).is_err(), "{mode:o}");
        }
    }

    #[test]
    fn what_is_damaged_is_refused_and_never_panics() {
        let good = zip(&[("a", 0o100_644, b"some content"), ("b", 0o100_644, b"more")]);
        for cut in 0..good.len() {
            assert!(entries(&mut kept(&good[..cut])).is_err(), "cut at {cut}");
        }
        let mut refused = 0;
        for at in 0..good.len() {
            let mut damaged = good.clone();
            damaged[at] ^= 0x55;
            let mut file = kept(&damaged);
            let Ok(all) = entries(&mut file) else {
                refused += 1;
                continue;
            };
            refused += all.iter().filter(|entry| unpacked(&mut file, entry).is_err()).count();
        }
        assert!(refused > good.len() / 3, "{refused}");
    }

    #[test]
    fn a_file_that_unpacks_to_more_than_it_says_is_refused() {
        let mut bomb = zip(&[("a", 0o100_644, &[0; 100_000])]);
        let directory = bomb.windows(4).position(|w| w == b"PK\x01\x02").unwrap();
        bomb[directory + 24..directory + 28].copy_from_slice(&10u32.to_le_bytes());
        let mut file = kept(&bomb);
        let all = entries(&mut file).unwrap();
        assert!(unpacked(&mut file, &all[0]).is_err());
        // And what says that it is too large is not even begun.
        let large = u32::try_from(UNPACKED_MAX + 1).unwrap().to_le_bytes();
        bomb[directory + 24..directory + 28].copy_from_slice(&large);
        assert!(entries(&mut kept(&bomb)).is_err());
    }
}
