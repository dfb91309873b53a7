//! The folder a disk store lives in, behind a small seam: tests lose, tear and refuse what was not
//! synced.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A folder of files.
pub trait Files: Send + Sync {
    /// A new file for writing and reading; it must not exist.
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    /// A file for writing over, made if it does not exist.
    fn keep(&self, name: &str) -> io::Result<Arc<dyn DiskFile>>;
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Names and lengths.
    fn list(&self) -> io::Result<Vec<(String, u64)>>;
    /// What was created and removed survives a power cut from here on.
    fn sync(&self) -> io::Result<()>;
    /// What keeps other processes out, to be handed to one that takes this one's place.
    fn lock(&self) -> Option<BorrowedFd<'_>> {
        None
    }
}

/// An open file. It can be read for as long as it is held, removed or not.
pub trait DiskFile: Send + Sync {
    fn write_at(&self, octets: &[u8], at: u64) -> io::Result<()>;
    /// Fills the whole buffer, or fails.
    fn read_at(&self, octets: &mut [u8], at: u64) -> io::Result<()>;
    fn sync(&self) -> io::Result<()>;
    fn truncate(&self, len: u64) -> io::Result<()>;
    /// The descriptor, where the kernel can send from it.
    fn descriptor(&self) -> Option<BorrowedFd<'_>>;
}

/// A real folder, readable by its owner alone.
pub struct Folder {
    path: PathBuf,
    /// Held for as long as the folder is: two edges would number segments twice.
    lock: File,
}

impl Folder {
    /// Opens or makes it; fails if another process has it open.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::open_under(path, &[])
    }

    /// The same under one of these locks, which another process holds too, if it is this folder's:
    /// it hands its place over, and writes no more.
    pub fn open_under(path: &Path, held: &[File]) -> io::Result<Self> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        if let Some(lock) = held.iter().find(|lock| is_at(lock, &path.join("lock"))) {
            return Ok(Self { path: path.to_path_buf(), lock: lock.try_clone()? });
        }
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(path.join("lock"))?;
        lock.try_lock()
            .map_err(|_| io::Error::new(io::ErrorKind::ResourceBusy, "another edge has it open"))?;
        Ok(Self { path: path.to_path_buf(), lock })
    }
}

/// Says whether an open file is the one that has a path now.
pub fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(own), Ok(there)) = (file.metadata(), std::fs::metadata(path)) else { return false };
    (own.dev(), own.ino()) == (there.dev(), there.ino())
}

impl Files for Folder {
    fn create(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let file = OpenOptions::new().read(true).open(self.path.join(name))?;
        Ok(Arc::new(file))
    }

    fn keep(&self, name: &str) -> io::Result<Arc<dyn DiskFile>> {
        let path = self.path.join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        Ok(Arc::new(file))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.path.join(name))
    }

    fn list(&self) -> io::Result<Vec<(String, u64)>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let Some(name) = entry.file_name().to_str() {
                found.push((name.to_string(), entry.metadata()?.len()));
            }
        }
        Ok(found)
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    fn lock(&self) -> Option<BorrowedFd<'_>> {
        Some(self.lock.as_fd())
    }
}

impl DiskFile for File {
    fn write_at(&self, octets: &[u8], at: u64) -> io::Result<()> {
        self.write_all_at(octets, at)
    }

    fn read_at(&self, octets: &mut [u8], at: u64) -> io::Result<()> {
        self.read_exact_at(octets, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        Some(self.as_fd())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_locked_but_for_whoever_is_handed_its_lock() {
        let folder = tempfile::tempdir().unwrap();
        let own = Folder::open(folder.path()).unwrap();
        assert!(Folder::open(folder.path()).is_err());
        let handed = File::from(own.lock().unwrap().try_clone_to_owned().unwrap());
        let elsewhere = File::open("/dev/null").unwrap();
        assert!(Folder::open_under(folder.path(), std::slice::from_ref(&elsewhere)).is_err());
        let next = Folder::open_under(folder.path(), &[elsewhere, handed]).unwrap();
        drop(own);
        assert!(Folder::open(folder.path()).is_err(), "it is held without a gap");
        drop(next);
        assert!(Folder::open(folder.path()).is_ok());
    }
}
