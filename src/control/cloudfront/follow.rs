//! What the log of a fleet brings of documents and stores: documents are kept as they are, and put in
//! force with the configuration, compiled anew.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Weak};

use super::certificates;
use crate::control::Control;
use crate::control::reload::LogFiles;
use crate::distribution::site::Site;
use crate::documents::shelf::{Document, Documents, Kind};
use crate::documents::store::Store;
use crate::documents::travel::{self, Strange};
use crate::fleet::keeper::{Keeper, KeptRefusal, Untaken};
use crate::fleet::protocol::KeptEntry;
use crate::functions::values::travel as stores;

/// What keeps on this edge what all members of its fleet keep alike.
pub struct FleetKeeper {
    control: Weak<Control>,
}

impl FleetKeeper {
    /// Over a control, for as long as that lives.
    pub fn of(control: &Arc<Control>) -> Arc<Self> {
        Arc::new(Self { control: Arc::downgrade(control) })
    }
}

impl Keeper for FleetKeeper {
    fn take(&self, entries: &[KeptEntry], is_due: &dyn Fn() -> bool) -> Result<(), Untaken> {
        let control = self.control.upgrade();
        let control = control.ok_or_else(|| io::Error::other("the process ends"))?;
        let mut documents = control.documents.lock();
        if !is_due() {
            return Ok(());
        }
        let (of_stores, others): (Vec<&KeptEntry>, Vec<&KeptEntry>) =
            entries.iter().partition(|entry| entry.name.starts_with(stores::PREFIX));
        // Stores go before the functions that read them.
        let stores = control.follow_stores(of_stores.into_iter())?;
        let documents = control.follow_documents(&mut documents, &others)?;
        stores.or(documents).map_or(Ok(()), |refusal| Err(Untaken::Refused(refusal)))
    }

    fn stays(&self, name: &str) -> bool {
        let named = name.strip_prefix(stores::PREFIX);
        let control = self.control.upgrade();
        named.zip(control).is_some_and(|(store, control)| control.names_store(store))
    }

    fn own(&self) -> BTreeMap<String, String> {
        let Some(control) = self.control.upgrade() else { return BTreeMap::new() };
        let documents = control.documents.lock().clone();
        let mut all = control.own_stores();
        for kind in Kind::ALL {
            for document in documents.of(kind) {
                all.insert(travel::name(kind, &document.id), travel::content(document));
            }
        }
        all
    }
}

type Changed = (Kind, String, Option<Document>);

impl Control {
    // What cannot be read changes nothing, and the rest is taken.
    fn follow_documents(
        &self,
        documents: &mut Documents,
        entries: &[&KeptEntry],
    ) -> io::Result<Option<KeptRefusal>> {
        // Where the configuration has no `[api]` there are no documents.
        if entries.is_empty() || self.edge.running().site.api.is_none() {
            return Ok(None);
        }
        let (mut changes, mut refused): (Vec<Changed>, _) = (Vec::new(), None);
        for entry in entries {
            match travel::read(&entry.name, entry.content.as_deref()) {
                Ok(change) => changes.push(change),
                Err(why) => refused = Some(refusal_of(why, &entry.name)),
            }
        }
        let mut next = documents.clone();
        for (kind, id, document) in &changes {
            match document {
                Some(document) => next.put(*kind, document.clone()),
                None => next.remove(*kind, id),
            }
        }
        if next != *documents {
            self.keep_all(&changes, documents)?;
            if let Err(why) = self.put_in_force(&next)? {
                tracing::error!(
                    why,
                    "documents of the fleet are kept, and do not go with the configuration of this edge"
                );
                refused = Some(KeptRefusal::Unfit);
            }
            self.forgive(&changes);
            self.forget_certificates(&changes);
            *documents = next;
        }
        Ok(refused)
    }

    fn keep_all(&self, changes: &[Changed], before: &Documents) -> io::Result<()> {
        let store = Store::of(&self.edge.running().site.data);
        for (kind, id, document) in changes {
            match document {
                Some(document) => store.keep(*kind, document)?,
                None if before.get(*kind, id).is_some() => match store.remove(*kind, id) {
                    // It was removed by an attempt that went no further.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    removed => removed?,
                },
                None => {}
            }
        }
        Ok(())
    }

    // The inner error says what does not go together; the site before stays in force.
    fn put_in_force(&self, next: &Documents) -> io::Result<Result<(), String>> {
        let site = match self.compiled(next) {
            Ok(site) => site,
            Err(why) => return Ok(Err(why)),
        };
        let tls = match self.server_tls(&site) {
            Ok(tls) => tls,
            Err(why) => return Ok(Err(why)),
        };
        self.install(&site, tls, LogFiles::Kept).map_err(io::Error::other)?;
        Ok(Ok(()))
    }

    // The site of these documents, with the certificates that are made for them.
    fn compiled(&self, next: &Documents) -> Result<Arc<Site>, String> {
        let now = self.edge.clock.now();
        let load = || {
            let (load, own) = (self.compiler.loader(&self.config, now), next.clone());
            let loaded = self.compiler.change(next, move || load(&own));
            loaded.map(|loaded| loaded.site).map_err(|report| report.lines().join("; "))
        };
        let site = load()?;
        match certificates::make_missing(&site, next, now) {
            Ok(made) if made.is_any() => load(),
            Ok(_) => Ok(site),
            // They are served all the same; the next change, or start, tries again.
            Err(why) => {
                tracing::error!(why, "no certificate could be made for documents of the fleet");
                Ok(site)
            }
        }
    }

    fn forget_certificates(&self, changes: &[Changed]) {
        let running = self.edge.running();
        for (kind, id, document) in changes {
            if *kind == Kind::Distribution && document.is_none() {
                certificates::forget(&running.site.data, id);
            }
        }
    }

    // What was published runs, whatever kept the code before it from running.
    fn forgive(&self, changes: &[Changed]) {
        let running = self.edge.running();
        for (_, id, _) in changes.iter().filter(|(kind, ..)| *kind == Kind::Function) {
            let mut all = running.site.functions.iter();
            if let Some(at) = all.position(|known| *known.name == **id) {
                running.functions.forgive(at);
            }
        }
    }
}

fn refusal_of(why: Strange, name: &str) -> KeptRefusal {
    tracing::warn!(name, "the fleet's log brings what is no document here; it is passed over");
    match why {
        Strange::Malformed => KeptRefusal::Malformed,
        Strange::UnknownKind => KeptRefusal::UnknownKind,
    }
}
