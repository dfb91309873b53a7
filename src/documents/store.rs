//! The files of documents: `api/KIND/ID.json` in the data folder, each written whole or not at all.
//!
//! A document is written beside its place, synced, moved to its place, and its folder synced,
//! before a caller is told. The folder is reached through a small seam, so that tests can lose what
//! was not synced.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::shelf::{Document, Documents, Kind};

/// The folder in the data folder.
pub const FOLDER: &str = "api";

/// What a store needs of a folder of files.
pub trait Files {
    /// Names and contents of whatever ends with `.json`; nothing where there is no such folder.
    fn read(&self, folder: &str) -> io::Result<Vec<(String, Vec<u8>)>>;
    /// Writes a file and syncs its octets. It may be torn by a crash.
    fn write(&self, folder: &str, name: &str, octets: &[u8]) -> io::Result<()>;
    /// Gives a file another name, in the place of whatever had it.
    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()>;
    fn remove(&self, folder: &str, name: &str) -> io::Result<()>;
    /// Makes the names in a folder outlive a crash.
    fn sync(&self, folder: &str) -> io::Result<()>;
}

/// A folder of this machine.
pub struct Folder(pub PathBuf);

impl Files for Folder {
    fn read(&self, folder: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
        let entries = match std::fs::read_dir(self.0.join(folder)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
            if name.ends_with(".json") {
                all.push((name.to_string(), std::fs::read(&path)?));
            }
        }
        Ok(all)
    }

    fn write(&self, folder: &str, name: &str, octets: &[u8]) -> io::Result<()> {
        let path = self.0.join(folder);
        if !path.exists() {
            DirBuilder::new().recursive(true).mode(0o700).create(&path)?;
            // The folders themselves have to be there after a crash.
            for folder in path.ancestors().skip(1).take(2) {
                File::open(folder)?.sync_all()?;
            }
        }
        let mut file = OpenOptions::new()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(path.join(name))?;
        file.write_all(octets)?;
        file.sync_all()
    }

    fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
        let path = self.0.join(folder);
        std::fs::rename(path.join(from), path.join(to))
    }

    fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.0.join(folder).join(name))
    }

    fn sync(&self, folder: &str) -> io::Result<()> {
        File::open(self.0.join(folder))?.sync_all()
    }
}

/// The documents of a data folder.
pub struct Store<F> {
    files: F,
}

impl Store<Folder> {
    /// Those of a data folder, which may have none yet.
    pub fn of(data: &Path) -> Self {
        Self { files: Folder(data.join(FOLDER)) }
    }
}

impl<F: Files> Store<F> {
    /// All documents that can be read, and a line for each that cannot: it stays where it is, and
    /// is left aside.
    pub fn load(&self) -> (Documents, Vec<String>) {
        let (mut all, mut aside) = (Documents::default(), Vec::new());
        for kind in Kind::ALL {
            let files = match self.files.read(kind.word()) {
                Ok(files) => files,
                Err(error) => {
                    aside.push(format!("{FOLDER}/{}: {error}", kind.word()));
                    continue;
                }
            };
            for (name, octets) in files {
                match read(&name, &octets) {
                    Ok(document) => all.put(kind, document),
                    Err(why) => {
                        aside.push(format!("{FOLDER}/{}/{name}: {why}; left aside", kind.word()));
                    }
                }
            }
        }
        (all, aside)
    }

    /// Keeps a document. Once this returns it is there, whatever happens; if it fails, the one
    /// before is.
    pub fn keep(&self, kind: Kind, document: &Document) -> io::Result<()> {
        let (folder, name) = (kind.word(), format!("{}.json", document.id));
        let fresh = format!("{}.new", document.id);
        let mut octets = serde_json::to_vec_pretty(document)?;
        octets.push(b'\n');
        self.files.write(folder, &fresh, &octets)?;
        self.files.rename(folder, &fresh, &name)?;
        self.files.sync(folder)
    }

    /// Removes a document for good.
    pub fn remove(&self, kind: Kind, id: &str) -> io::Result<()> {
        self.files.remove(kind.word(), &format!("{id}.json"))?;
        self.files.sync(kind.word())
    }
}

fn read(name: &str, octets: &[u8]) -> Result<Document, String> {
    let document: Document =
        serde_json::from_slice(octets).map_err(|error| format!("is no document: {error}"))?;
    if name.strip_suffix(".json") == Some(document.id.as_str()) {
        Ok(document)
    } else {
        Err(format!("holds the document of {:?}", document.id))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use super::*;

    type Names = BTreeMap<(String, String), Vec<u8>>;

    // A disk that keeps of names only what was synced when the power goes. It refuses to work after
    // so many steps.
    #[derive(Default)]
    struct Disk {
        synced: RefCell<Names>,
        cached: RefCell<Names>,
        steps: RefCell<usize>,
    }

    impl Disk {
        fn step(&self) -> io::Result<()> {
            let mut left = self.steps.borrow_mut();
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the power is off"))?;
            Ok(())
        }

        fn power_off(&self) {
            *self.cached.borrow_mut() = self.synced.borrow().clone();
        }

        fn allow(&self, steps: usize) {
            *self.steps.borrow_mut() = steps;
        }
    }

    fn key(folder: &str, name: &str) -> (String, String) {
        (folder.to_string(), name.to_string())
    }

    impl Files for &Disk {
        fn read(&self, folder: &str) -> io::Result<Vec<(String, Vec<u8>)>> {
            let all = self.cached.borrow();
            let own = all.iter().filter(|((of, name), _)| of == folder && name.ends_with(".json"));
            Ok(own.map(|((_, name), octets)| (name.clone(), octets.clone())).collect())
        }
        fn write(&self, folder: &str, name: &str, octets: &[u8]) -> io::Result<()> {
            // Torn where the power goes.
            let whole = self.step();
            let len = if whole.is_ok() { octets.len() } else { octets.len() / 2 };
            self.cached.borrow_mut().insert(key(folder, name), octets[..len].to_vec());
            whole
        }
        fn rename(&self, folder: &str, from: &str, to: &str) -> io::Result<()> {
            self.step()?;
            let mut all = self.cached.borrow_mut();
            let octets = all.remove(&key(folder, from)).ok_or_else(|| io::Error::other("gone"))?;
            all.insert(key(folder, to), octets);
            Ok(())
        }
        fn remove(&self, folder: &str, name: &str) -> io::Result<()> {
            self.step()?;
            self.cached.borrow_mut().remove(&key(folder, name));
            Ok(())
        }
        fn sync(&self, _folder: &str) -> io::Result<()> {
            self.step()?;
            *self.synced.borrow_mut() = self.cached.borrow().clone();
            Ok(())
        }
    }

    fn document(revision: u64) -> Document {
        let config = serde_json::json!({ "Comment": format!("revision {revision}") });
        Document { revision, modified: revision, ..Document::new("E1", config, 1) }
    }

    fn revision(disk: &Disk) -> Option<u64> {
        let (all, aside) = Store { files: disk }.load();
        assert!(aside.is_empty(), "{aside:?}");
        all.get(Kind::Distribution, "E1").map(|one| one.revision)
    }

    // The power goes after each step of a change: what was acknowledged is there, and what was not
    // is there whole or not at all.
    #[test]
    fn a_change_is_there_whole_or_not_at_all() {
        for steps in 0..4 {
            let disk = Disk::default();
            let store = Store { files: &disk };
            disk.allow(100);
            store.keep(Kind::Distribution, &document(1)).unwrap();
            disk.allow(steps);
            let told = store.keep(Kind::Distribution, &document(2)).is_ok();
            disk.power_off();
            assert_eq!(revision(&disk), Some(if told { 2 } else { 1 }), "after {steps} steps");
            assert_eq!(told, steps == 3);
            disk.allow(steps);
            let told = store.remove(Kind::Distribution, "E1").is_ok();
            disk.power_off();
            assert_eq!(revision(&disk).is_none(), told, "removed after {steps} steps");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said_and_left_aside() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::of(folder.path());
        assert_eq!(store.load(), (Documents::default(), Vec::new()));
        store.keep(Kind::CachePolicy, &document(7)).unwrap();
        let path = folder.path().join("api/cache-policy");
        std::fs::write(path.join("E2.json"), "{").unwrap();
        std::fs::copy(path.join("E1.json"), path.join("E3.json")).unwrap();
        std::fs::write(path.join("E4.new"), "{").unwrap();
        let (all, mut aside) = store.load();
        aside.sort();
        assert_eq!(all.of(Kind::CachePolicy).count(), 1);
        assert!(aside[0].starts_with("api/cache-policy/E2.json: is no document"), "{aside:?}");
        assert!(aside[1].ends_with("E3.json: holds the document of \"E1\"; left aside"));
        assert_eq!(aside.len(), 2);
        store.remove(Kind::CachePolicy, "E1").unwrap();
        assert!(store.load().0.is_empty());
    }
}
