//! Key value stores as they change: outside of a fleet at once, in one by its log; and what that log
//! brings of them.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use super::Control;
use crate::distribution::stores::id_of_name;
use crate::fleet::keep::Unkept;
use crate::fleet::keeper::KeptRefusal;
use crate::fleet::protocol::KeptEntry;
use crate::functions::values::journal::{About, Held, Tags};
use crate::functions::values::snapshot::{Change, Refused, Values};
use crate::functions::values::store::Store;
use crate::functions::values::stores::NotMade;
use crate::functions::values::travel::{self, Changes, Said};
use crate::semantics::time::Timestamp;

impl From<Unkept> for Refused {
    fn from(why: Unkept) -> Self {
        match why {
            Unkept::Overtaken => Self::Overtaken,
            Unkept::TooLarge => Self::BeyondFleet(
                "it is larger than what the log of a fleet carries in one change; make it in parts",
            ),
            Unkept::Full => {
                Self::BeyondFleet("the fleet keeps as many documents and values as it may")
            }
            Unkept::Away(why) => Self::Unlogged(why),
        }
    }
}

impl Control {
    /// Changes a store, if it still has the ETag that the caller last saw; gives what it holds then.
    /// Waits for disks, and for the fleet.
    pub fn change_store(
        &self,
        store: &Store,
        change: &Change,
        if_match: Option<&str>,
    ) -> Result<Arc<Values>, Refused> {
        self.in_turn(|now| {
            if self.edge.fleet.get().is_none() {
                return store.change(change, if_match, now);
            }
            let before = store.held();
            self.writable(store)?;
            if if_match.is_some_and(|wanted| wanted != before.values.etag()) {
                return Err(Refused::Conflict);
            }
            let values = before.values.changed(change, now)?;
            let after = Held { values, about: before.about.clone() };
            let said = travel::difference(store.name(), Some(&before), &after);
            let told = self.tell_fleet(entries(said))?;
            let changed = store.change(change, None, now)?;
            self.was_told(told);
            Ok(changed)
        })
    }

    /// Gives a store another comment.
    pub fn comment_store(
        &self,
        store: &Store,
        comment: &str,
        if_match: &str,
    ) -> Result<Arc<About>, Refused> {
        self.in_turn(|now| {
            if self.edge.fleet.get().is_none() {
                return store.comment(comment, if_match, now);
            }
            let before = store.held();
            self.writable(store)?;
            if *if_match != *before.about.etag() {
                return Err(Refused::Conflict);
            }
            let about = About {
                comment: comment.to_string(),
                modified: now.0,
                revision: before.about.revision + 1,
                tags: before.about.tags.clone(),
            };
            let after = Held { values: before.values.clone(), about };
            let said = travel::difference(store.name(), Some(&before), &after);
            let told = self.tell_fleet(entries(said))?;
            let about = store.comment(comment, if_match, now)?;
            self.was_told(told);
            Ok(about)
        })
    }

    /// Gives a store the tags that `change` makes of those that it has; false if that makes none.
    pub fn tag_store(
        &self,
        store: &Store,
        change: &dyn Fn(&Tags) -> Option<Tags>,
    ) -> Result<bool, Refused> {
        self.in_turn(|_| {
            if self.edge.fleet.get().is_none() {
                return store.tag(change);
            }
            let before = store.held();
            let Some(tags) = change(&before.about.tags) else { return Ok(false) };
            self.writable(store)?;
            let about = About { tags: tags.clone(), ..before.about.clone() };
            let after = Held { values: before.values.clone(), about };
            let said = travel::difference(store.name(), Some(&before), &after);
            let told = self.tell_fleet(entries(said))?;
            store.tag(&|_: &Tags| Some(tags.clone()))?;
            self.was_told(told);
            Ok(true)
        })
    }

    /// Makes a store that nothing was put into yet. With its tags: one that could not be marked would
    /// be there all the same, and whoever made it would hear that it is not.
    pub fn make_store(
        &self,
        name: &str,
        comment: &str,
        tags: &Tags,
    ) -> Result<Arc<Store>, NotMade> {
        let is_overtaken = |why: &NotMade| *why == NotMade::Values(Refused::Overtaken);
        self.anew_where(is_overtaken, || {
            let _turn = self.documents.lock();
            let now = self.edge.clock.now();
            let stores = &self.edge.stores;
            let about = About { tags: tags.clone(), ..About::new(comment.to_string(), now) };
            if self.edge.fleet.get().is_none() {
                return stores.create(name, about, &[], now);
            }
            stores.may_make(name)?;
            let held = Held { values: Values::empty(&id_of_name(name), now), about };
            let told = self.tell_fleet(entries(travel::whole(name, &held)));
            let told = told.map_err(|why| NotMade::Values(why.into()))?;
            let store = stores.make(name, held)?;
            self.was_told(told);
            Ok(store)
        })
    }

    /// Deletes a store; `None` if there is none of this name.
    pub fn remove_store(&self, name: &str, if_match: &str) -> Option<Result<(), Refused>> {
        self.edge.stores.find(name)?;
        Some(self.in_turn(|_| {
            let mut told = None;
            if self.edge.fleet.get().is_some() {
                // Another may have its name by now, which the caller has not seen.
                let store = self.edge.stores.find(name).ok_or(Refused::Gone)?;
                self.writable(&store)?;
                if *if_match != *store.about().etag() {
                    return Err(Refused::Conflict);
                }
                told = self.tell_fleet(entries(vec![(travel::name(name), None)]))?;
            }
            let removed = self.edge.stores.remove(name, Some(if_match));
            removed.unwrap_or(Err(Refused::Gone))?;
            self.was_told(told);
            Ok(())
        }))
    }

    // Whether the fleet's log may be told of a store. One that is gone, by another member's change that
    // came first, would be made again by that on every edge.
    fn writable(&self, store: &Store) -> Result<(), Refused> {
        if let Some(file) = store.file() {
            return Err(Refused::ReadOnly(store.name().to_string(), file.display().to_string()));
        }
        let known = self.edge.stores.find(store.name());
        let is_it = known.is_some_and(|known| std::ptr::eq(Arc::as_ptr(&known), store));
        if is_it { Ok(()) } else { Err(Refused::Gone) }
    }

    // One change at a time of what a fleet keeps alike, stores and documents.
    fn in_turn<T>(&self, work: impl Fn(Timestamp) -> Result<T, Refused>) -> Result<T, Refused> {
        self.anew_where(
            |why: &Refused| *why == Refused::Overtaken,
            || {
                let is_member = self.edge.fleet.get().is_some();
                let _turn = is_member.then(|| self.documents.lock());
                work(self.edge.clock.now())
            },
        )
    }

    /// Has stores be as the fleet's log says. The caller holds the documents.
    pub(super) fn follow_stores<'e>(
        &self,
        entries: impl Iterator<Item = &'e KeptEntry>,
    ) -> io::Result<Option<KeptRefusal>> {
        let said = entries.map(|entry| (entry.name.as_str(), entry.content.as_deref()));
        let (stores, strange) = travel::sorted(said);
        let mut refused = (strange > 0).then_some(KeptRefusal::Malformed);
        for (name, changes) in stores {
            match self.follow_store(&name, &changes) {
                Ok(()) => {}
                Err(Unfollowed::Failed(why)) => return Err(io::Error::other(why)),
                Err(Unfollowed::Refused(why)) => {
                    tracing::warn!(
                        store = name,
                        why = why.name(),
                        "the fleet's log brings what this key value store cannot hold"
                    );
                    refused = Some(why);
                }
            }
        }
        Ok(refused)
    }

    fn follow_store(&self, name: &str, changes: &Changes) -> Result<(), Unfollowed> {
        let stores = &self.edge.stores;
        let known = stores.find(name);
        if changes.is_gone {
            return match known {
                Some(store) if self.names_store(name) => {
                    let empty = Values::empty(store.values().id(), self.edge.clock.now());
                    let held = Held { values: empty, about: About::clone(&store.about()) };
                    store.follow(held).map_err(Unfollowed::from)
                }
                Some(_) => stores.remove(name, None).unwrap_or(Ok(())).map_err(Unfollowed::from),
                None => Ok(()),
            };
        }
        let Some(store) = known else {
            let held = changes.after(None, &id_of_name(name));
            let held = held.map_err(|_| Unfollowed::Refused(KeptRefusal::Malformed))?;
            return match stores.make(name, held) {
                Ok(_) => Ok(()),
                Err(NotMade::NotWritten(why)) => Err(Unfollowed::Failed(why)),
                Err(_) => Err(Unfollowed::Refused(KeptRefusal::Unfit)),
            };
        };
        let before = store.held();
        let held = changes.after(Some(&before), before.values.id());
        let held = held.map_err(|_| Unfollowed::Refused(KeptRefusal::Malformed))?;
        // A change of a few keys is written down as that.
        if let Some((step, at)) = changes.step(&before)
            && store.change(&step, None, at).is_ok_and(|values| *values == held.values)
        {
            return Ok(());
        }
        store.follow(held).map_err(Unfollowed::from)
    }

    /// Whether the configuration in force names a store.
    pub(super) fn names_store(&self, name: &str) -> bool {
        self.edge.running().site.stores.iter().any(|spec| *spec.name == *name)
    }

    /// What this edge's stores hold, as a fleet's log says it. Those of files are each edge's own.
    pub(super) fn own_stores(&self) -> BTreeMap<String, String> {
        let all = self.edge.stores.all();
        let kept = all.iter().filter(|store| store.file().is_none());
        let said = kept.flat_map(|store| travel::whole(store.name(), &store.held()));
        said.filter_map(|(name, content)| Some((name, content?))).collect()
    }
}

/// Why a store is not as the fleet's log says.
enum Unfollowed {
    Refused(KeptRefusal),
    /// It is to be tried again.
    Failed(String),
}

impl From<Refused> for Unfollowed {
    fn from(why: Refused) -> Self {
        match why {
            Refused::NotWritten(why) => Self::Failed(why),
            _ => Self::Refused(KeptRefusal::Unfit),
        }
    }
}

fn entries(said: Vec<Said>) -> Vec<KeptEntry> {
    said.into_iter().map(|(name, content)| KeptEntry { name, content }).collect()
}
