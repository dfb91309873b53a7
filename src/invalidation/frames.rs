//! The form of a log's file: after a magic line, records of `length crc32 json`. The file is
//! reached through a small seam, so that tests can lose what was not synced.
//!
//! A torn tail (a crash in mid-write) is cut off at the next start: it was never acknowledged.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crc32fast::hash as crc32;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a log needs of a file.
pub trait LogFile: Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
    /// Cuts the file to a length.
    fn truncate(&mut self, len: u64) -> io::Result<()>;
    fn read_all(&mut self) -> io::Result<Vec<u8>>;
}

impl LogFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }
    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
    fn truncate(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)?;
        self.seek(SeekFrom::Start(len)).map(drop)
    }
    fn read_all(&mut self) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.seek(SeekFrom::Start(0))?;
        self.read_to_end(&mut all)?;
        Ok(all)
    }
}

/// Opens a log's file, or makes an empty one, for this user alone.
pub fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// Makes an empty file in the place of whatever is there, for this user alone.
pub fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(true).mode(0o600).open(path)
}

/// Makes the names in a file's folder outlive a crash.
pub fn sync_folder_of(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or(Path::new("."))).and_then(|folder| folder.sync_all())
}

/// Writes one record behind others.
pub fn encode(record: &impl Serialize, out: &mut Vec<u8>) -> io::Result<()> {
    let json = serde_json::to_vec(record)?;
    let len = u32::try_from(json.len()).map_err(io::Error::other)?;
    out.extend_from_slice(&len.to_le_bytes());
    out.extend_from_slice(&crc32(&json).to_le_bytes());
    out.extend_from_slice(&json);
    Ok(())
}

/// Reads the record that begins at an octet, if a whole one does that is as it was written; and
/// where the next begins.
pub fn decode<R: DeserializeOwned>(bytes: &[u8], at: usize) -> Option<(R, usize)> {
    let head = bytes.get(at..at.checked_add(8)?)?;
    let len = u32::from_le_bytes(head[..4].try_into().ok()?) as usize;
    let json = bytes.get(at + 8..at.checked_add(8)?.checked_add(len)?)?;
    if crc32(json) != u32::from_le_bytes(head[4..].try_into().ok()?) {
        return None;
    }
    Some((serde_json::from_slice(json).ok()?, at + 8 + len))
}

/// Says whether what follows the `good` octets of a log is more than the torn end of a write that
/// was never acknowledged: a whole record that does not hold. `first` is where records begin.
pub fn is_damaged(bytes: &[u8], good: usize, first: usize) -> bool {
    let Some(head) = bytes.get(good..good + 4) else { return false };
    let len = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    good >= first && bytes.len() - good >= len.saturating_add(8)
}

/// Puts a damaged log aside before its end is cut off: it may be all that tells what happened.
/// `good` says how many octets of it hold, and refuses what is none of these logs.
pub fn keep_damaged(
    path: &Path,
    first: usize,
    good: impl FnOnce(&[u8]) -> io::Result<usize>,
) -> io::Result<()> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let good = good(&bytes)?;
    if is_damaged(&bytes, good, first) {
        std::fs::copy(path, path.with_extension("damaged"))?;
    }
    Ok(())
}

/// A file for tests, on a disk that keeps only what was synced when the power goes, and tears what
/// was not.
#[cfg(test)]
pub mod disk {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::LogFile;

    #[derive(Clone, Default)]
    pub struct Disk(pub Arc<Mutex<Platter>>);

    #[derive(Default)]
    pub struct Platter {
        pub synced: Vec<u8>,
        pub cached: Vec<u8>,
        pub syncs: usize,
        pub fail: bool,
    }

    impl LogFile for Disk {
        fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
            let mut platter = self.0.lock();
            let half = if platter.fail { bytes.len() / 2 } else { bytes.len() };
            platter.cached.extend_from_slice(&bytes[..half]);
            if platter.fail { Err(io::Error::other("disk full")) } else { Ok(()) }
        }
        fn sync(&mut self) -> io::Result<()> {
            let mut platter = self.0.lock();
            platter.synced = platter.cached.clone();
            platter.syncs += 1;
            Ok(())
        }
        fn truncate(&mut self, len: u64) -> io::Result<()> {
            self.0.lock().cached.truncate(len as usize);
            Ok(())
        }
        fn read_all(&mut self) -> io::Result<Vec<u8>> {
            Ok(self.0.lock().cached.clone())
        }
    }

    impl Disk {
        /// Cuts the power: of what was not synced, so many octets are there all the same.
        pub fn power_off(&self, torn: usize) {
            let mut platter = self.0.lock();
            let keep = (platter.synced.len() + torn)
                .min(platter.cached.len())
                .max(platter.synced.len().min(platter.cached.len()));
            platter.cached.truncate(keep);
        }
    }
}
