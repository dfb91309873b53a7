//! All key value stores of an edge: those that the configuration names, and those that the API
//! made.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;

use super::journal::{About, Held, Journal};
use super::snapshot::{Change, Pair, Refused, Values};
use super::store::Store;
use crate::distribution::stores::{StoreSpec, id_of_name, is_name};
use crate::invalidation::frames;
use crate::semantics::time::Timestamp;
use crate::sync::Mutex;

/// The most stores.
pub const STORES_MAX: usize = 200;
/// The folder of their journals, in the data folder.
const FOLDER: &str = "key-value-stores";
const EXTENSION: &str = "kv";

type Named = BTreeMap<String, Arc<Store>>;

/// Why a store is not made.
#[derive(Debug, PartialEq, Eq)]
pub enum NotMade {
    /// There is one of this name.
    Exists,
    TooMany,
    /// What it is to hold.
    Values(Refused),
    NotWritten(String),
}

/// The stores of an edge.
pub struct Stores {
    /// Where journals lie; `None`: what the API fills is held in memory alone.
    folder: Option<PathBuf>,
    all: ArcSwap<Named>,
    /// Held while stores come or go.
    turn: Mutex<()>,
}

impl Stores {
    /// Stores that leave nothing on the disk.
    pub fn in_memory() -> Arc<Self> {
        Arc::new(Self { folder: None, all: ArcSwap::default(), turn: Mutex::default() })
    }

    /// The stores that are kept in a data folder. The error names the file.
    pub fn open(data: &Path) -> Result<Arc<Self>, String> {
        let folder = data.join(FOLDER);
        let failed = |path: &Path, error: &io::Error| format!("{}: {error}", path.display());
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            // Without its own name on the disk, no journal in it would be there after a crash.
            .and_then(|()| frames::sync_folder_of(&folder))
            .map_err(|error| failed(&folder, &error))?;
        let mut all = Named::new();
        for entry in std::fs::read_dir(&folder).map_err(|error| failed(&folder, &error))? {
            let path = entry.map_err(|error| failed(&folder, &error))?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or("");
            if path.extension().is_none_or(|extension| extension != EXTENSION) || !is_name(name) {
                continue;
            }
            let (journal, held) =
                Journal::open(&path, &id_of_name(name)).map_err(|error| failed(&path, &error))?;
            // One that was never begun was not acknowledged.
            if let Some(held) = held {
                let store = Store::kept(name, held, Some(journal));
                all.insert(name.to_string(), Arc::new(store));
            }
        }
        let all = ArcSwap::from_pointee(all);
        Ok(Arc::new(Self { folder: Some(folder), all, turn: Mutex::default() }))
    }

    /// Makes the stores of a configuration, each in its place; those that are there already go on,
    /// with their files read again if they changed. Stores of files that it no longer names go;
    /// what the API filled stays.
    pub fn follow(&self, specs: &[Arc<StoreSpec>], now: Timestamp) -> Vec<Arc<Store>> {
        let _turn = self.turn.lock();
        let before = self.all.load_full();
        let mut all: Named = (*before).clone();
        let running: Vec<Arc<Store>> =
            specs.iter().map(|spec| self.running(before.get(&*spec.name), spec, now)).collect();
        all.retain(|_, store| store.file().is_none());
        for store in &running {
            all.insert(store.name().to_string(), Arc::clone(store));
        }
        self.all.store(Arc::new(all));
        running
    }

    fn running(&self, known: Option<&Arc<Store>>, spec: &StoreSpec, now: Timestamp) -> Arc<Store> {
        if let Some(known) = known.filter(|known| known.file() == spec.file) {
            known.rename(&spec.id);
            known.reread();
            return Arc::clone(known);
        }
        let store = match &spec.file {
            Some(path) => Store::from_file(spec, path, now),
            None => self.opened(spec, now).unwrap_or_else(|error| {
                tracing::error!(store = &*spec.name, %error, "the key value store cannot be kept on the disk; what it is given is gone with the process");
                Store::kept(&spec.name, empty(&spec.id, now), None)
            }),
        };
        Arc::new(store)
    }

    // A kept store that the configuration names, with what its journal says.
    fn opened(&self, spec: &StoreSpec, now: Timestamp) -> io::Result<Store> {
        let Some(path) = self.path(&spec.name) else {
            return Ok(Store::kept(&spec.name, empty(&spec.id, now), None));
        };
        let (mut journal, held) = Journal::open(&path, &spec.id)?;
        let held = match held {
            Some(held) => held,
            None => {
                let held = empty(&spec.id, now);
                journal.begin(&held.values, &held.about)?;
                held
            }
        };
        Ok(Store::kept(&spec.name, held, Some(journal)))
    }

    fn path(&self, name: &str) -> Option<PathBuf> {
        self.folder.as_ref().map(|folder| folder.join(format!("{name}.{EXTENSION}")))
    }

    /// A store by its name.
    pub fn find(&self, name: &str) -> Option<Arc<Store>> {
        self.all.load().get(name).cloned()
    }

    /// A store by its id.
    pub fn find_id(&self, id: &str) -> Option<Arc<Store>> {
        self.all.load().values().find(|store| store.values().id() == id).cloned()
    }

    /// All of them, by name.
    pub fn all(&self) -> Vec<Arc<Store>> {
        self.all.load().values().cloned().collect()
    }

    /// Makes a store that the API fills, of a name that `is_name` holds for. It is on the disk when
    /// this returns.
    pub fn create(
        &self,
        name: &str,
        about: About,
        data: &[Pair],
        now: Timestamp,
    ) -> Result<Arc<Store>, NotMade> {
        let mut held = Held { values: Values::empty(&id_of_name(name), now), about };
        if !data.is_empty() {
            held.values = held
                .values
                .changed(&Change::Replace(data.to_vec()), now)
                .map_err(NotMade::Values)?;
        }
        self.make(name, held)
    }

    /// Says whether a store of this name may be made.
    pub fn may_make(&self, name: &str) -> Result<(), NotMade> {
        let all = self.all.load();
        if all.contains_key(name) {
            return Err(NotMade::Exists);
        }
        if all.len() >= STORES_MAX { Err(NotMade::TooMany) } else { Ok(()) }
    }

    /// Makes a store that holds just this, under the id of its name. It is on the disk when this
    /// returns.
    pub fn make(&self, name: &str, held: Held) -> Result<Arc<Store>, NotMade> {
        let _turn = self.turn.lock();
        self.may_make(name)?;
        let before = self.all.load_full();
        let id = id_of_name(name);
        let held = Held { values: held.values.with_id(&id), ..held };
        let journal = self.path(name).map(|path| fresh(&path, &id, &held)).transpose();
        let journal = journal.map_err(|error| NotMade::NotWritten(error.to_string()))?;
        let store = Arc::new(Store::kept(name, held, journal));
        let mut all = (*before).clone();
        all.insert(name.to_string(), Arc::clone(&store));
        self.all.store(Arc::new(all));
        Ok(store)
    }

    /// Deletes a store, with its file; `None` if there is none of this name.
    pub fn remove(&self, name: &str, if_match: Option<&str>) -> Option<Result<(), Refused>> {
        let _turn = self.turn.lock();
        let before = self.all.load_full();
        let store = before.get(name)?;
        let path = self.path(name);
        let ended = store.end(if_match, || match path {
            Some(path) => {
                std::fs::remove_file(&path)?;
                // It has no name any more: a change that was still taken would be written to
                // nothing.
                if let Err(error) = frames::sync_folder_of(&path) {
                    tracing::warn!(store = name, %error, "a deleted key value store may be there again after a crash");
                }
                Ok(())
            }
            None => Ok(()),
        });
        if ended.is_ok() {
            let mut all = (*before).clone();
            all.remove(name);
            self.all.store(Arc::new(all));
        }
        Some(ended)
    }

    /// Looks at the files of all stores, and reads those that changed.
    pub fn look(&self) {
        self.all().iter().for_each(|store| store.look());
    }
}

fn empty(id: &str, now: Timestamp) -> Held {
    Held { values: Values::empty(id, now), about: About::new(String::new(), now) }
}

// What lies there may be of a store of this name that a file has taken the place of: it goes.
fn fresh(path: &Path, id: &str, held: &Held) -> io::Result<Journal> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (mut journal, _) = Journal::open(path, id)?;
    journal.begin(&held.values, &held.about)?;
    Ok(journal)
}

#[cfg(test)]
mod tests {
    use super::super::journal::Tags;
    use super::super::snapshot::Batch;
    use super::*;

    const NOW: Timestamp = Timestamp(9_000);

    fn spec(name: &str, file: Option<PathBuf>) -> Arc<StoreSpec> {
        let id = format!("id-of-{name}").into();
        Arc::new(StoreSpec { name: name.into(), id, file })
    }

    fn put(store: &Store, key: &str) {
        let change = Change::Batch(Batch::put(key.into(), "1".into()));
        store.change(&change, None, NOW).unwrap();
    }

    // A store of which nothing is said.
    fn nothing(now: Timestamp) -> About {
        About::new(String::new(), now)
    }

    #[test]
    fn stores_are_there_again_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let stores = Stores::open(folder.path()).unwrap();
        let named = stores.follow(&[spec("named", None)], NOW).remove(0);
        put(&named, "a");
        let tags = Tags::from([("team".to_string(), "edge".to_string())]);
        let mine = About { tags, ..About::new("mine".into(), NOW) };
        let made = stores.create("made", mine, &[("x".into(), "y".into())], NOW).unwrap();
        let taken = stores.create("made", nothing(NOW), &[], NOW);
        assert!(matches!(taken, Err(NotMade::Exists)));
        put(&made, "b");
        drop((named, stores));
        let stores = Stores::open(folder.path()).unwrap();
        let named = stores.follow(&[spec("named", None)], NOW).remove(0);
        assert_eq!((named.values().get("a"), named.values().id()), (Some("1"), "id-of-named"));
        let again = stores.find("made").unwrap();
        assert_eq!((again.values(), again.about()), (made.values(), made.about()));
        assert!(stores.find_id("id-of-named").is_some());
        assert!(matches!(stores.remove("made", Some("E0")), Some(Err(Refused::Conflict))));
        assert!(matches!(stores.remove("made", Some(&again.about().etag())), Some(Ok(()))));
        assert!(stores.find("made").is_none() && stores.remove("made", None).is_none());
        assert!(Stores::open(folder.path()).unwrap().find("made").is_none());
        let later = Timestamp(9_001);
        let new = stores.create("made", nothing(later), &[], later).unwrap();
        assert_eq!(new.values().count(), 0);
    }

    #[test]
    fn a_reload_keeps_what_it_still_names() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        std::fs::write(&path, "{\"data\":[{\"key\":\"a\",\"value\":\"1\"}]}").unwrap();
        let stores = Stores::open(folder.path()).unwrap();
        let before = stores.follow(&[spec("file", Some(path.clone())), spec("api", None)], NOW);
        put(&before[1], "k");
        let after = stores.follow(&[spec("api", None), spec("file", Some(path.clone()))], NOW);
        assert!(Arc::ptr_eq(&before[0], &after[1]) && Arc::ptr_eq(&before[1], &after[0]));
        stores.follow(&[], NOW);
        assert!(stores.find("file").is_none() && stores.find("api").is_some());
        // A file takes the place of what the API filled, which is there again when the file goes.
        let taken = stores.follow(&[spec("api", Some(path))], NOW);
        assert_eq!((taken[0].values().get("a"), taken[0].values().get("k")), (Some("1"), None));
        let back = stores.follow(&[spec("api", None)], NOW);
        assert_eq!(back[0].values().get("k"), Some("1"));
    }

    #[test]
    fn there_are_so_many_stores_and_no_more() {
        let stores = Stores::in_memory();
        for at in 0..STORES_MAX {
            stores.create(&format!("s{at}"), nothing(NOW), &[], NOW).unwrap();
        }
        let more = stores.create("more", nothing(NOW), &[], NOW);
        assert!(matches!(more, Err(NotMade::TooMany)));
    }
}
