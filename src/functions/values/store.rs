//! One key value store: the snapshot in force, and where it comes from.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::file::{self, FILE_MAX};
use super::journal::{About, Held, Journal, Tags};
use super::snapshot::{Change, Refused, Values};
use crate::distribution::stores::StoreSpec;
use crate::semantics::time::Timestamp;
use crate::sync::Mutex;

/// A running store. It outlives reloads for as long as its source is the same.
pub struct Store {
    name: Box<str>,
    values: ArcSwap<Values>,
    about: ArcSwap<About>,
    source: Source,
    /// Why what the file says now is not in force.
    problem: Mutex<Option<String>>,
}

enum Source {
    File(Mutex<Watched>),
    Kept(Mutex<Keeper>),
}

struct Watched {
    path: PathBuf,
    /// The file that was read last, whether it could be used or not.
    taken: Print,
    /// As it was at the last look.
    seen: Print,
    /// Whether it could ever be used.
    was_good: bool,
}

/// What a file's change shows by: time, length, inode. `None`: it is not there.
type Print = Option<(SystemTime, u64, u64)>;

struct Keeper {
    /// `None`: it is held in memory alone.
    journal: Option<Journal>,
    is_gone: bool,
}

impl Store {
    /// A store that is read from a file. If that cannot be used the store is empty and has a
    /// problem.
    pub fn from_file(spec: &StoreSpec, path: &Path, now: Timestamp) -> Self {
        let watched =
            Watched { path: path.to_path_buf(), taken: None, seen: None, was_good: false };
        let store = Self {
            name: spec.name.clone(),
            values: ArcSwap::from_pointee(Values::empty(&spec.id, now)),
            about: ArcSwap::from_pointee(About::new(String::new(), now)),
            source: Source::File(Mutex::new(watched)),
            problem: Mutex::default(),
        };
        store.reread();
        store
    }

    /// A store that the API fills. Without a journal it is gone with the process.
    pub fn kept(name: &str, held: Held, journal: Option<Journal>) -> Self {
        Self {
            name: name.into(),
            values: ArcSwap::from_pointee(held.values),
            about: ArcSwap::from_pointee(held.about),
            source: Source::Kept(Mutex::new(Keeper { journal, is_gone: false })),
            problem: Mutex::default(),
        }
    }

    /// What it is called.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it holds at this moment.
    pub fn values(&self) -> Arc<Values> {
        self.values.load_full()
    }

    /// What is known of it beside that.
    pub fn about(&self) -> Arc<About> {
        self.about.load_full()
    }

    /// The file that it is read from; `None`: the API fills it.
    pub fn file(&self) -> Option<PathBuf> {
        match &self.source {
            Source::File(watched) => Some(watched.lock().path.clone()),
            Source::Kept(_) => None,
        }
    }

    /// Why what its file says now is not in force.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Gives it the id that a changed configuration has for it.
    pub fn rename(&self, id: &str) {
        // No change may come between the look and the swap.
        let _turn = match &self.source {
            Source::File(watched) => (Some(watched.lock()), None),
            Source::Kept(keeper) => (None, Some(keeper.lock())),
        };
        let values = self.values.load_full();
        if values.id() != id {
            self.values.store(Arc::new(values.with_id(id)));
        }
    }

    /// Changes it, if it still has the ETag that the caller last saw; gives what it holds then. The
    /// change is on the disk when this returns, so it may wait.
    pub fn change(
        &self,
        change: &Change,
        if_match: Option<&str>,
        now: Timestamp,
    ) -> Result<Arc<Values>, Refused> {
        let mut keeper = self.keeper()?.lock();
        let before = self.values.load_full();
        if if_match.is_some_and(|wanted| wanted != before.etag()) {
            return Err(Refused::Conflict);
        }
        keeper.check()?;
        let next = Arc::new(before.changed(change, now)?);
        if let Some(journal) = &mut keeper.journal {
            journal.change(change, now).map_err(|error| not_written(&self.name, &error))?;
            journal.shorten(&next, &self.about.load());
        }
        self.values.store(Arc::clone(&next));
        Ok(next)
    }

    /// What it holds, with what is known beside it.
    pub fn held(&self) -> Held {
        Held { values: Values::clone(&self.values()), about: About::clone(&self.about()) }
    }

    /// Has it hold what the log of a fleet says, whatever it held. It is on the disk when this
    /// returns.
    pub fn follow(&self, held: Held) -> Result<(), Refused> {
        let mut keeper = self.keeper()?.lock();
        keeper.check()?;
        let values = held.values.with_id(self.values.load().id());
        if *self.values.load_full() == values && *self.about.load_full() == held.about {
            return Ok(());
        }
        if let Some(journal) = &mut keeper.journal {
            let written = journal.replace(&values, &held.about);
            written.map_err(|error| not_written(&self.name, &error))?;
        }
        self.values.store(Arc::new(values));
        self.about.store(Arc::new(held.about));
        Ok(())
    }

    /// Gives it another comment.
    pub fn comment(
        &self,
        comment: &str,
        if_match: &str,
        now: Timestamp,
    ) -> Result<Arc<About>, Refused> {
        let mut keeper = self.keeper()?.lock();
        let before = self.about.load_full();
        if *if_match != *before.etag() {
            return Err(Refused::Conflict);
        }
        keeper.check()?;
        let next = Arc::new(About {
            comment: comment.to_string(),
            modified: now.0,
            revision: before.revision + 1,
            tags: before.tags.clone(),
        });
        if let Some(journal) = &mut keeper.journal {
            journal.about(&next).map_err(|error| not_written(&self.name, &error))?;
        }
        self.about.store(Arc::clone(&next));
        Ok(next)
    }

    /// Gives it the tags that `change` makes of those that it has; false if that makes none. Of two
    /// changes at once the later sees what the other made.
    pub fn tag(&self, change: &dyn Fn(&Tags) -> Option<Tags>) -> Result<bool, Refused> {
        let mut keeper = self.keeper()?.lock();
        keeper.check()?;
        let before = self.about.load_full();
        let Some(tags) = change(&before.tags) else { return Ok(false) };
        let next = About { tags, ..About::clone(&before) };
        if let Some(journal) = &mut keeper.journal {
            journal.about(&next).map_err(|error| not_written(&self.name, &error))?;
        }
        self.about.store(Arc::new(next));
        Ok(true)
    }

    /// Takes no more changes, once `remove` has taken its file away.
    pub fn end(
        &self,
        if_match: Option<&str>,
        remove: impl FnOnce() -> io::Result<()>,
    ) -> Result<(), Refused> {
        let mut keeper = self.keeper()?.lock();
        if if_match.is_some_and(|wanted| *wanted != *self.about.load().etag()) {
            return Err(Refused::Conflict);
        }
        keeper.check()?;
        remove().map_err(|error| not_written(&self.name, &error))?;
        keeper.is_gone = true;
        keeper.journal = None;
        Ok(())
    }

    fn keeper(&self) -> Result<&Mutex<Keeper>, Refused> {
        match &self.source {
            Source::Kept(keeper) => Ok(keeper),
            Source::File(watched) => {
                let file = watched.lock().path.display().to_string();
                Err(Refused::ReadOnly(self.name.to_string(), file))
            }
        }
    }

    /// Reads its file again if that has changed and been quiet since the last look: editors write
    /// in steps. To be called once a second.
    pub fn look(&self) {
        let Source::File(watched) = &self.source else { return };
        let mut watched = watched.lock();
        let print = print(&watched.path);
        if print != watched.taken && print == watched.seen {
            self.take(&mut watched);
        }
        watched.seen = print;
    }

    /// Reads its file again if that has changed.
    pub fn reread(&self) {
        let Source::File(watched) = &self.source else { return };
        let mut watched = watched.lock();
        if watched.taken.is_none() || print(&watched.path) != watched.taken {
            self.take(&mut watched);
        }
    }

    // What cannot be used changes nothing, and is said once.
    fn take(&self, watched: &mut Watched) {
        let before = self.values.load_full();
        let read = read(&watched.path);
        watched.taken = match &read {
            Ok((_, print)) => *print,
            Err(_) => print(&watched.path),
        };
        let modified = watched.taken.map_or(0, |(at, ..)| millis(at));
        let created = if watched.was_good { before.created() } else { modified };
        let made = read
            .map_err(|error| error.to_string())
            .and_then(|(octets, _)| file::values(before.id(), &octets, (created, modified)));
        let name = &*self.name;
        let path = watched.path.display();
        let mut is_good = watched.was_good;
        match made {
            Ok(values) => {
                tracing::info!(store = name, keys = values.count(), file = %path, "key value store read");
                self.values.store(Arc::new(values));
                *self.problem.lock() = None;
                is_good = true;
            }
            Err(why) => {
                tracing::error!(store = name, file = %path, why, "the key value store's file cannot be used; the values before stay in force");
                *self.problem.lock() = Some(format!("{path}: {why}"));
            }
        }
        watched.was_good = is_good;
    }
}

impl Keeper {
    const fn check(&self) -> Result<(), Refused> {
        if self.is_gone { Err(Refused::Gone) } else { Ok(()) }
    }
}

fn not_written(name: &str, error: &io::Error) -> Refused {
    tracing::error!(store = name, %error, "a key value store could not be written");
    Refused::NotWritten(error.to_string())
}

fn print(path: &Path) -> Print {
    print_of(&std::fs::metadata(path).ok()?)
}

fn print_of(facts: &std::fs::Metadata) -> Print {
    Some((facts.modified().ok()?, facts.len(), facts.ino()))
}

fn millis(at: SystemTime) -> u64 {
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Reads the file of a store, no further than one may be long, and what its next change will show
/// by.
fn read(path: &Path) -> io::Result<(Vec<u8>, Print)> {
    let file = File::open(path)?;
    let print = print_of(&file.metadata()?);
    let mut octets = Vec::new();
    file.take(FILE_MAX as u64 + 1).read_to_end(&mut octets)?;
    Ok((octets, print))
}

/// Says what is wrong with the file of a store, for those that check a configuration.
pub fn check_file(path: &Path) -> Result<(), String> {
    let (octets, _) = read(path).map_err(|error| error.to_string())?;
    file::values("", &octets, (0, 0)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::snapshot::Batch;
    use super::*;

    const NOW: Timestamp = Timestamp(7_000);

    fn spec(file: Option<PathBuf>) -> StoreSpec {
        StoreSpec { name: "flags".into(), id: "id".into(), file }
    }

    fn text(value: &str) -> String {
        format!("{{\"data\":[{{\"key\":\"a\",\"value\":\"{value}\"}}]}}")
    }

    #[test]
    fn a_changed_file_is_taken_once_it_is_quiet_and_a_bad_one_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.json");
        std::fs::write(&path, text("1")).unwrap();
        let store = Store::from_file(&spec(Some(path.clone())), &path, NOW);
        assert_eq!(store.values().get("a"), Some("1"));
        let first = store.values();
        assert_eq!(first.created(), first.updated());
        store.look();
        // The length differs each time: two writes may come within one tick of the file's clock.
        std::fs::write(&path, text("22")).unwrap();
        store.look();
        assert_eq!(store.values().get("a"), Some("1"), "it may still be written to");
        store.look();
        assert_eq!(store.values().get("a"), Some("22"));
        assert_eq!(store.values().created(), first.created());
        assert_ne!(store.values().etag(), first.etag());
        std::fs::write(&path, "{\"data\":[").unwrap();
        store.look();
        store.look();
        assert_eq!(store.values().get("a"), Some("22"));
        assert!(store.problem().is_some_and(|why| why.contains("EOF")), "{:?}", store.problem());
        std::fs::remove_file(&path).unwrap();
        store.look();
        store.look();
        assert!(store.problem().is_some_and(|why| why.contains("No such file")));
        assert_eq!(store.values().get("a"), Some("22"));
        std::fs::write(&path, text("333")).unwrap();
        store.reread();
        assert_eq!((store.values().get("a"), store.problem()), (Some("333"), None));
        let refused = store.change(&Change::Batch(Batch::delete("a".into())), None, NOW);
        assert!(matches!(refused, Err(Refused::ReadOnly(..))), "{refused:?}");
    }

    #[test]
    fn changes_want_the_tag_that_was_seen_and_an_ended_store_takes_none() {
        let held = Held { values: Values::empty("id", NOW), about: About::new(String::new(), NOW) };
        let store = Store::kept("flags", held, None);
        let put = Change::Batch(Batch::put("a".into(), "1".into()));
        let first = store.values().etag().to_string();
        let after = store.change(&put, Some(&first), NOW).unwrap();
        assert_eq!(after.get("a"), Some("1"));
        assert_eq!(store.change(&put, Some(&first), NOW), Err(Refused::Conflict));
        let about = store.about();
        assert_eq!(store.comment("x", "E0", NOW), Err(Refused::Conflict));
        let next = store.comment("x", &about.etag(), NOW).unwrap();
        assert_ne!(next.etag(), about.etag());
        let tags = Tags::from([("team".to_string(), "edge".to_string())]);
        assert_eq!(store.tag(&|_: &Tags| Some(tags.clone())), Ok(true));
        assert_eq!(store.tag(&|_: &Tags| None), Ok(false));
        assert_eq!((store.about().etag(), &store.about().tags), (next.etag(), &tags));
        let next = store.comment("y", &next.etag(), NOW).unwrap();
        assert_eq!(next.tags, tags, "another comment leaves them");
        assert_eq!(store.end(Some(&about.etag()), || Ok(())), Err(Refused::Conflict));
        let failed = store.end(Some(&next.etag()), || Err(io::Error::other("full")));
        assert!(matches!(failed, Err(Refused::NotWritten(_))));
        assert!(store.change(&put, None, NOW).is_ok(), "it is still there");
        assert_eq!(store.end(Some(&next.etag()), || Ok(())), Ok(()));
        assert_eq!(store.change(&put, None, NOW), Err(Refused::Gone));
        store.rename("other");
        assert_eq!(store.values().id(), "other");
    }

    #[test]
    fn tags_that_are_given_at_once_are_all_kept() {
        let held = Held { values: Values::empty("id", NOW), about: About::new(String::new(), NOW) };
        let store = &Store::kept("flags", held, None);
        let put = |key: String| {
            let put = move |tags: &Tags| {
                let mut tags = tags.clone();
                std::thread::yield_now();
                tags.insert(key.clone(), String::new());
                Some(tags)
            };
            assert_eq!(store.tag(&put), Ok(true));
        };
        std::thread::scope(|scope| {
            for of in 0..4 {
                scope.spawn(move || (0..25).for_each(|at| put(format!("{of}/{at}"))));
            }
        });
        assert_eq!(store.about().tags.len(), 100);
    }

    #[test]
    fn what_a_fleet_says_takes_the_place_of_what_it_held() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("flags.kv");
        let (mut journal, _) = Journal::open(&path, "id").unwrap();
        let mine = Held { values: Values::empty("id", NOW), about: About::new("a".into(), NOW) };
        journal.begin(&mine.values, &mine.about).unwrap();
        let store = Store::kept("flags", mine, Some(journal));
        let pairs = [("a".to_string(), "1".to_string())];
        let values = Values::restored("elsewhere", &pairs, (1, 2), 7).unwrap();
        let theirs = Held { values, about: About::new("b".into(), Timestamp(3)) };
        store.follow(theirs.clone()).unwrap();
        store.follow(theirs.clone()).unwrap();
        let values = theirs.values.with_id("id");
        assert_eq!(store.held(), Held { values, about: theirs.about });
        let put = Change::Batch(Batch::put("b".into(), "2".into()));
        store.change(&put, Some(theirs.values.etag()), NOW).unwrap();
        let (_, again) = Journal::open(&path, "id").unwrap();
        assert_eq!(again.unwrap(), store.held());
    }
}
