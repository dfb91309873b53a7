//! What is used again when a configuration is compiled after a change of the API's documents:
//! distributions whose document is the same, and whatever it names, beside the same files.
//!
//! What might make a difference makes everything be compiled anew: another word in a file, another
//! stamp of a file that those name, another function by the API.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use super::read_files::ReadFiles;
use super::scope::{HostAt, Policies};
use super::stamp::{self, Stamp};
use super::warnings::Findings;
use super::{MissingCertificates, Text};
use crate::cloudfront::live;
use crate::cloudfront::strict::is;
use crate::distribution::site::Distribution;
use crate::documents::function::Coded;
use crate::documents::shelf::{Document, Documents, Kind};

/// Distributions that are compiled anew in a little change, some tenths of a millisecond each.
const LITTLE: usize = 8;
/// Distributions that are put together in one, some microseconds each.
const FEW: usize = 1_000;

/// What is left of the last compilation that succeeded.
#[derive(Default)]
pub struct Units {
    documents: Documents,
    shared: Option<Arc<Shared>>,
    around: Option<Around>,
    all: BTreeMap<Arc<str>, Unit>,
    read: ReadFiles,
}

/// What all distributions may depend on beside the documents that they name.
struct Around {
    files: Vec<Text>,
    /// Files that those name: secrets, authorities, keys.
    outside: Vec<(PathBuf, Option<Stamp>)>,
    /// What the API has published, by name and runtime: behaviors hold their places.
    functions: Vec<(String, String)>,
    making: MissingCertificates,
}

/// A distribution as it was compiled from its document.
#[derive(Clone)]
pub struct Unit {
    pub written: Arc<Written>,
    pub distribution: Arc<Distribution>,
}

/// What its text said beside the distribution itself.
pub struct Written {
    pub id: Arc<str>,
    pub source: Text,
    pub needs: Needs,
    /// What is said of the document.
    pub remark: Option<String>,
    pub own: Own,
    pub hosts: Arc<[HostAt]>,
    pub id_span: Range<usize>,
    pub findings: Arc<Findings>,
    pub remarks: Vec<String>,
    pub warnings: Vec<String>,
    pub files: Vec<PathBuf>,
}

/// The policies that the text of a distribution brings along, and what was said of them.
#[derive(Clone, Default)]
pub struct Own {
    pub policies: Policies,
    pub warnings: Vec<String>,
}

/// What the policies and keys of documents say as text, which is parsed each time; and a line for each
/// of them that is left aside.
#[derive(Default)]
pub struct Shared {
    pub text: String,
    pub aside: Vec<String>,
}

/// Documents that one depends on, whether they are there or not.
pub type Needs = BTreeSet<(Kind, String)>;

/// A distribution of a document among the sources.
pub enum Part {
    New(Draft),
    Known(Unit),
}

/// One that is to be compiled.
pub struct Draft {
    pub id: String,
    /// Which of the texts it is.
    pub source: usize,
    /// `None`: it is compiled each time.
    pub needs: Option<Needs>,
    pub remark: Option<String>,
}

/// What a compilation found out that the next one may use.
pub struct Found {
    pub units: BTreeMap<Arc<str>, Unit>,
    /// Files that were read before any distribution.
    pub outside: Vec<PathBuf>,
}

impl Units {
    /// Whether compiling these documents is a matter of a few milliseconds at most, as far as can be
    /// told without a look at the files: few of them are others than last time, and distributions
    /// alone, beside few that are used again.
    pub fn is_little(&self, documents: &Documents) -> bool {
        if self.around.is_none() || documents.count(Kind::Distribution) > FEW {
            return false;
        }
        let changed = self.documents.differences(documents);
        changed.len() <= LITTLE && changed.iter().all(|(kind, _)| *kind == Kind::Distribution)
    }

    /// Whether the last compilation that succeeded made a distribution of exactly this document, one
    /// that stands alone: then it is served as it stands.
    pub fn is_made_of(&self, document: &Arc<Document>) -> bool {
        let known = self.documents.get(Kind::Distribution, &document.id);
        known.is_some_and(|known| Arc::ptr_eq(known, document))
            && self.all.contains_key(document.id.as_str())
    }

    /// What can be used again for these documents beside these files.
    pub fn usable<'u>(
        &'u self,
        files: &[Text],
        functions: &[(String, String)],
        making: MissingCertificates,
        documents: &'u Documents,
    ) -> Usable<'u> {
        let is_same = self.around.as_ref().is_some_and(|around| {
            around.making == making
                && around.files == files
                && around.functions == functions
                && around.outside.iter().all(|(path, stamp)| stamp::of(path) == *stamp)
        });
        if !is_same {
            return Usable { all: None, changed: BTreeSet::new(), is_any_named: false };
        }
        let changed = self.documents.differences(documents);
        // No document names a distribution.
        let is_any_named = changed.iter().any(|(kind, _)| *kind != Kind::Distribution);
        Usable { all: Some(&self.all), changed, is_any_named }
    }

    /// What was made of these documents but for distributions, if they are as they were.
    pub fn shared(&self, documents: &Documents) -> Option<Arc<Shared>> {
        let changed = self.documents.differences(documents);
        let is_same = changed.iter().all(|(kind, _)| *kind == Kind::Distribution);
        self.shared.clone().filter(|_| is_same)
    }

    /// What was read of files before.
    pub const fn read(&mut self) -> &mut ReadFiles {
        &mut self.read
    }

    /// Keeps what was compiled of these documents beside these files.
    pub fn keep(
        &mut self,
        found: Found,
        files: &[Text],
        functions: Vec<(String, String)>,
        making: MissingCertificates,
        (documents, shared): (&Documents, Arc<Shared>),
    ) {
        let outside = found.outside.into_iter().map(|path| {
            let stamp = stamp::of(&path);
            (path, stamp)
        });
        let (files, outside) = (files.to_vec(), outside.collect());
        self.around = Some(Around { files, outside, functions, making });
        self.documents = documents.clone();
        self.shared = Some(shared);
        self.all = found.units;
        self.read.sweep();
    }
}

/// What can be used again.
pub struct Usable<'u> {
    all: Option<&'u BTreeMap<Arc<str>, Unit>>,
    changed: BTreeSet<(Kind, &'u str)>,
    /// Some of these may be what a distribution names.
    is_any_named: bool,
}

impl Usable<'_> {
    /// What was made of a document, if that and all that it names is as it was.
    pub fn find(&self, id: &str) -> Option<&Unit> {
        let unit = self.all?.get(id)?;
        let is_same = |kind: Kind, id: &str| !self.changed.contains(&(kind, id));
        let mut needs = unit.written.needs.iter();
        let is_whole = is_same(Kind::Distribution, id)
            && (!self.is_any_named || needs.all(|(kind, id)| is_same(*kind, id)));
        is_whole.then_some(unit)
    }
}

/// The names of what the API has published.
pub fn names(functions: &[(String, Coded)]) -> Vec<(String, String)> {
    functions.iter().map(|(name, coded)| (name.clone(), coded.runtime.clone())).collect()
}

/// What a distribution depends on. `None` for a staging distribution: how it is reached depends on
/// documents that name it.
pub fn needs(document: &Document, all: &Documents) -> Option<Needs> {
    if is(&document.config, &["Staging"]) {
        return None;
    }
    let mut found = Needs::new();
    let mut open = live::named(Kind::Distribution, &document.config);
    while let Some((kind, id, _)) = open.pop() {
        let named = all.get(kind, &id);
        if found.insert((kind, id))
            && let Some(named) = named
        {
            open.extend(live::named(kind, &named.config));
        }
    }
    Some(found)
}
