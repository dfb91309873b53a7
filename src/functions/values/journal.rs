//! The journal of a key value store that the API fills, `key-value-stores/NAME.kv` in the data
//! folder: a file of the form that `invalidation/frames.rs` has. A change is synced before the
//! caller is told.
//!
//! The first entry has all that the store held when the file was begun, the others are changes of
//! it. A file in which changes prevail is written anew.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::snapshot::{Change, Pair, Values, tag};
use crate::invalidation::frames::{self, LogFile};
use crate::semantics::time::Timestamp;

const MAGIC: &[u8] = b"foreshore key value store 1\n";
/// A file longer than this is written anew once it is mostly changes.
const REWRITE_AT: u64 = 1 << 20;

/// What a store is marked with: keys and their values.
pub type Tags = BTreeMap<String, String>;

/// What is known of a store beside its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct About {
    pub comment: String,
    /// When that last changed, in milliseconds since the epoch.
    pub modified: u64,
    /// How often it changed.
    pub revision: u64,
    /// They are no part of what its ETag stands for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: Tags,
}

impl About {
    /// Of a store that is made now.
    pub const fn new(comment: String, now: Timestamp) -> Self {
        Self { comment, modified: now.0, revision: 0, tags: BTreeMap::new() }
    }

    /// What tells this state from all others: the control plane's ETag, which is not that of the
    /// values.
    pub fn etag(&self) -> Box<str> {
        tag("E", format!("{}/{}/{}", self.modified, self.revision, self.comment).as_bytes())
    }
}

/// What the file has, one after the other.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Entry {
    Begin { about: About, created: u64, updated: u64, revision: u64, data: Vec<Pair> },
    Changed { change: Change, at: u64 },
    About(About),
}

/// A store as its file has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub values: Values,
    pub about: About,
}

/// The file of a store, open for appending.
pub struct Journal {
    file: Box<dyn LogFile>,
    /// Where it lies, if it is a file that can be written anew.
    path: Option<PathBuf>,
    len: u64,
    /// From this length on it is written anew.
    rewrite_at: u64,
    /// A failed write could not be taken back: nothing more is taken.
    is_broken: bool,
}

impl Journal {
    /// Opens or creates the file of a store, with what it holds; `None` if it was never begun. `id`
    /// is the store's.
    pub fn open(path: &Path, id: &str) -> io::Result<(Self, Option<Held>)> {
        frames::keep_damaged(path, MAGIC.len(), |octets| Ok(read(octets, id)?.1))?;
        let (journal, held) = Self::over(Box::new(frames::open(path)?), id)?;
        // The name itself must survive a crash too.
        frames::sync_folder_of(path)?;
        Ok((Self { path: Some(path.to_path_buf()), ..journal }, held))
    }

    /// Opens a journal over any file.
    pub fn over(mut file: Box<dyn LogFile>, id: &str) -> io::Result<(Self, Option<Held>)> {
        let octets = file.read_all()?;
        let (held, good) = read(&octets, id)?;
        let lost = octets.len() - good;
        if frames::is_damaged(&octets, good, MAGIC.len()) {
            tracing::error!(
                octet = good,
                lost,
                "a key value store's journal is damaged; what follows is lost"
            );
        } else if lost > 0 && good > 0 {
            tracing::warn!(
                octet = good,
                lost,
                "the end of a key value store's journal was not written whole; it was never acknowledged and is dropped"
            );
        }
        file.truncate(good as u64)?;
        if good == 0 {
            file.append(MAGIC)?;
        }
        file.sync()?;
        let len = good.max(MAGIC.len()) as u64;
        let mut journal = Self { file, path: None, len, rewrite_at: 0, is_broken: false };
        journal.rewrite_at = rewrite_at(held.as_ref().map_or(0, |held| held.values.octets()));
        Ok((journal, held))
    }

    /// Writes down what a new store holds.
    pub fn begin(&mut self, values: &Values, about: &About) -> io::Result<()> {
        self.append(&begin(values, about))
    }

    /// Writes a change down and syncs it. An error means that nothing happened.
    pub fn change(&mut self, change: &Change, now: Timestamp) -> io::Result<()> {
        self.append(&Entry::Changed { change: change.clone(), at: now.0 })
    }

    /// The same for what is known beside the values.
    pub fn about(&mut self, about: &About) -> io::Result<()> {
        self.append(&Entry::About(about.clone()))
    }

    fn append(&mut self, entry: &Entry) -> io::Result<()> {
        if self.is_broken {
            return Err(io::Error::other(
                "the store's journal could not be written before; restart after mending the disk",
            ));
        }
        let mut octets = Vec::with_capacity(256);
        frames::encode(entry, &mut octets)?;
        let written = self.file.append(&octets).and_then(|()| self.file.sync());
        if let Err(error) = written {
            let taken_back = self.file.truncate(self.len).and_then(|()| self.file.sync());
            self.is_broken = taken_back.is_err();
            return Err(error);
        }
        self.len += octets.len() as u64;
        Ok(())
    }

    /// Writes the file anew if it is mostly changes. What fails leaves the file as it was.
    pub fn shorten(&mut self, values: &Values, about: &About) {
        let Some(path) = self.path.clone().filter(|_| self.len > self.rewrite_at) else { return };
        if let Err(error) = self.rewrite(&path, values, about) {
            tracing::warn!(%error, file = %path.display(), "a key value store's journal could not be written anew; it goes on as it is");
        }
        self.rewrite_at = rewrite_at(values.octets()).max(2 * self.len);
    }

    /// Writes the file anew with what the store holds from now on. An error means that it may hold
    /// either.
    pub fn replace(&mut self, values: &Values, about: &About) -> io::Result<()> {
        let path = self.path.clone().filter(|_| !self.is_broken);
        let path =
            path.ok_or_else(|| io::Error::other("the store's journal cannot be written anew"))?;
        self.rewrite(&path, values, about)?;
        self.rewrite_at = rewrite_at(values.octets());
        Ok(())
    }

    fn rewrite(&mut self, path: &Path, values: &Values, about: &About) -> io::Result<()> {
        let mut out = MAGIC.to_vec();
        frames::encode(&begin(values, about), &mut out)?;
        let fresh = path.with_extension("new");
        let mut file: File = frames::create(&fresh)?;
        file.write_all(&out)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        // From here on the old file has no name: whatever is written must go to the new one.
        self.file = Box::new(file);
        self.len = out.len() as u64;
        let named = frames::sync_folder_of(path);
        self.is_broken |= named.is_err();
        named
    }
}

// Escapes and lengths make an entry longer than what it holds.
fn rewrite_at(octets: usize) -> u64 {
    REWRITE_AT + 4 * octets as u64
}

fn begin(values: &Values, about: &About) -> Entry {
    let data = values.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    Entry::Begin {
        about: about.clone(),
        created: values.created(),
        updated: values.updated(),
        revision: values.revision(),
        data,
    }
}

// What the whole entries come to, and how many octets hold.
fn read(octets: &[u8], id: &str) -> io::Result<(Option<Held>, usize)> {
    if octets.len() < MAGIC.len() && MAGIC.starts_with(octets) {
        return Ok((None, 0));
    }
    if !octets.starts_with(MAGIC) {
        return Err(io::Error::other("this is no journal of a key value store of Foreshore"));
    }
    let (mut held, mut good) = (None, MAGIC.len());
    while let Some((entry, next)) = frames::decode::<Entry>(octets, good) {
        let after = take(held.take(), entry, id);
        held = Some(after.map_err(|why| {
            io::Error::other(format!("the journal cannot be followed at octet {good}: {why}"))
        })?);
        good = next;
    }
    Ok((held, good))
}

fn take(held: Option<Held>, entry: Entry, id: &str) -> Result<Held, String> {
    let Some(held) = held else {
        let Entry::Begin { about, created, updated, revision, data } = entry else {
            return Err("it does not begin with what the store holds".into());
        };
        let values = Values::restored(id, &data, (created, updated), revision)
            .map_err(|refused| refused.words())?;
        return Ok(Held { values, about });
    };
    match entry {
        Entry::Begin { .. } => Err("it begins twice".into()),
        Entry::Changed { change, at } => {
            let values =
                held.values.changed(&change, Timestamp(at)).map_err(|refused| refused.words())?;
            Ok(Held { values, ..held })
        }
        Entry::About(about) => Ok(Held { about, ..held }),
    }
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Batch;
    use super::*;
    use crate::invalidation::frames::disk::Disk;

    const NOW: Timestamp = Timestamp(5_000);

    fn over(disk: &Disk) -> (Journal, Option<Held>) {
        Journal::over(Box::new(disk.clone()), "id").unwrap()
    }

    fn put(key: &str, value: &str) -> Change {
        Change::Batch(Batch::put(key.into(), value.into()))
    }

    // A journal that was begun, with what it holds.
    fn begun(disk: &Disk) -> (Journal, Held) {
        let (mut journal, held) = over(disk);
        assert!(held.is_none());
        let held =
            Held { values: Values::empty("id", NOW), about: About::new("first".into(), NOW) };
        journal.begin(&held.values, &held.about).unwrap();
        (journal, held)
    }

    #[test]
    fn what_was_acknowledged_is_there_after_a_crash_wherever_the_rest_tears() {
        let disk = Disk::default();
        let (mut journal, held) = begun(&disk);
        let mut values = held.values;
        for change in [
            put("a", "1"),
            Change::Batch(Batch {
                puts: vec![("b".into(), "2".into()), ("c".into(), "é".into())],
                deletes: vec!["a".into()],
            }),
            Change::Replace(vec![("d".into(), "4".into())]),
        ] {
            values = values.changed(&change, NOW).unwrap();
            journal.change(&change, NOW).unwrap();
        }
        let whole = disk.0.lock().synced.clone();
        // A change that reached the disk's cache only in part.
        let unsynced = {
            let other = Disk::default();
            let (mut journal, _) = begun(&other);
            let before = other.0.lock().synced.len();
            journal.change(&put("lost", "5"), NOW).unwrap();
            other.0.lock().synced[before..].to_vec()
        };
        for torn in 0..unsynced.len() {
            let disk = Disk::default();
            disk.0.lock().synced = whole.clone();
            disk.0.lock().cached = [&whole[..], &unsynced].concat();
            disk.power_off(torn);
            let (mut journal, found) = over(&disk);
            let found = found.unwrap();
            assert_eq!(found.values, values, "torn after {torn} octets");
            assert_eq!(disk.0.lock().cached.len(), whole.len(), "what tore is cut off");
            journal.change(&put("next", "6"), NOW).unwrap();
            assert_eq!(over(&disk).1.unwrap().values.get("next"), Some("6"));
        }
    }

    #[test]
    fn a_failed_write_leaves_nothing_behind() {
        let disk = Disk::default();
        let (mut journal, held) = begun(&disk);
        disk.0.lock().fail = true;
        assert!(journal.change(&put("a", "1"), NOW).is_err());
        disk.0.lock().fail = false;
        assert_eq!(over(&disk).1.unwrap(), held);
        journal.change(&put("b", "2"), NOW).unwrap();
        let found = over(&disk).1.unwrap().values;
        assert_eq!((found.get("a"), found.get("b")), (None, Some("2")));
        assert_ne!(found.etag(), held.values.etag());
    }

    #[test]
    fn what_is_no_journal_is_refused_and_what_was_never_begun_is_empty() {
        for octets in [&b"something else entirely, and long"[..], b"{}"] {
            let disk = Disk::default();
            disk.0.lock().cached = octets.to_vec();
            assert!(Journal::over(Box::new(disk), "id").is_err());
        }
        for len in 0..=MAGIC.len() {
            let disk = Disk::default();
            disk.0.lock().cached = MAGIC[..len].to_vec();
            let (mut journal, held) = over(&disk);
            assert!(held.is_none());
            let about = About::new(String::new(), NOW);
            journal.begin(&Values::empty("id", NOW), &about).unwrap();
            assert_eq!(over(&disk).1.unwrap().about, about);
        }
    }

    #[test]
    fn a_long_journal_is_written_anew_and_says_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.kv");
        let (mut journal, _) = Journal::open(&path, "id").unwrap();
        let about = About::new("long".into(), NOW);
        let mut values = Values::empty("id", NOW);
        journal.begin(&values, &about).unwrap();
        for at in 0..40 {
            let pairs = (0..50).map(|key| (format!("k{key}"), format!("{at}{}", "v".repeat(1000))));
            let change = Change::Replace(pairs.collect());
            values = values.changed(&change, NOW).unwrap();
            journal.change(&change, NOW).unwrap();
            journal.shorten(&values, &about);
        }
        let len = std::fs::metadata(&path).unwrap().len();
        assert!(len < REWRITE_AT + (512 << 10), "{len}");
        let (_, held) = Journal::open(&path, "id").unwrap();
        assert_eq!(held.unwrap(), Held { values, about });
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
