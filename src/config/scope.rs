//! What the steps of compiling share: the files, the policies and keys that later steps name, and
//! readers of values that several of them have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::read_files::ReadFiles;
use super::reader::{Found, Table};
use super::{MissingCertificates, Text};
use crate::base::network::Network;
use crate::crypto::key::PublicKey;
use crate::crypto::sigv4::Credentials;
use crate::distribution::acme::Acme;
use crate::distribution::cache_policy::{CachePolicy, OriginRequestPolicy};
use crate::distribution::field_encryption::{FieldEncryption, Profile};
use crate::distribution::functions::{Function, LambdaSpec, Level};
use crate::distribution::host::HostPattern;
use crate::distribution::origin::Identity;
use crate::distribution::region::ParentUrl;
use crate::distribution::response_policy::ResponsePolicy;
use crate::distribution::stores::StoreSpec;
use crate::semantics::time::Timestamp;

/// What the steps share.
pub struct Scope<'s> {
    pub texts: &'s [Text],
    pub now: Timestamp,
    pub making: MissingCertificates,
    pub files: Vec<PathBuf>,
    pub remarks: Vec<String>,
    pub warnings: Vec<String>,
    pub policies: Policies,
    pub keys: Keys,
    /// Authorities that viewers' certificates may be signed by, by the names of their stores.
    pub trust_stores: BTreeMap<String, Vec<Vec<u8>>>,
    /// What this edge may show to origins, by name; `None` where a mistake was reported.
    pub identities: BTreeMap<String, Option<Identity>>,
    pub code: Code,
    pub forms: Forms,
    pub pop: String,
    /// The parents that an origin may have as its shield; `None`: any.
    pub shields: Option<Vec<ParentUrl>>,
    /// What an access control signs with that names no credentials of its own.
    pub credentials: Option<Credentials>,
    /// The keys under which a signed request may replace what is stored.
    pub replacers: Arc<[Credentials]>,
    /// Certificates that are to be ordered.
    pub acme: Vec<Acme>,
    /// Real-time logs that behaviors may name.
    pub realtime_configs: Vec<Arc<str>>,
    /// What was read of files before.
    pub read: &'s mut ReadFiles,
}

impl<'s> Scope<'s> {
    /// Nothing is read yet.
    pub fn new(
        texts: &'s [Text],
        now: Timestamp,
        making: MissingCertificates,
        read: &'s mut ReadFiles,
    ) -> Self {
        Self {
            texts,
            now,
            making,
            files: Vec::new(),
            remarks: Vec::new(),
            warnings: Vec::new(),
            policies: Policies::default(),
            keys: Keys::default(),
            trust_stores: BTreeMap::new(),
            identities: BTreeMap::new(),
            code: Code::default(),
            forms: Forms::default(),
            pop: "LOC1-C1".into(),
            shields: None,
            credentials: None,
            replacers: Arc::default(),
            acme: Vec::new(),
            realtime_configs: Vec::new(),
            read,
        }
    }

    /// The folder that relative paths of a file start from.
    pub fn folder(&self, source: usize) -> PathBuf {
        self.texts
            .get(source)
            .and_then(|(path, _)| path.parent())
            .unwrap_or(Path::new("."))
            .to_path_buf()
    }
}

/// The file's own policies.
#[derive(Clone, Default)]
pub struct Policies {
    pub cache: BTreeMap<String, Arc<CachePolicy>>,
    pub origin_request: BTreeMap<String, Arc<OriginRequestPolicy>>,
    pub response: BTreeMap<String, Arc<ResponsePolicy>>,
}

impl Policies {
    /// Takes others in, in the place of those of the same names.
    pub fn include(&mut self, others: &Self) {
        let Self { cache, origin_request, response } = others;
        take_in(&mut self.cache, cache);
        take_in(&mut self.origin_request, origin_request);
        take_in(&mut self.response, response);
    }
}

// Most bring none along.
fn take_in<T>(all: &mut BTreeMap<String, Arc<T>>, more: &BTreeMap<String, Arc<T>>) {
    for (name, one) in more {
        all.insert(name.clone(), Arc::clone(one));
    }
}

/// The file's keys by id, and its groups by name.
#[derive(Default)]
pub struct Keys {
    pub keys: BTreeMap<String, Arc<PublicKey>>,
    pub groups: BTreeMap<String, Vec<Arc<PublicKey>>>,
    /// What keys are called by those who open fields that were encrypted with them, by their ids.
    pub names: BTreeMap<String, String>,
}

/// Code at the edge, as far as it was read.
#[derive(Default)]
pub struct Code {
    /// What all functions are held to.
    pub level: Level,
    pub stores: Vec<Arc<StoreSpec>>,
    pub functions: Vec<Arc<Function>>,
    pub lambdas: Vec<LambdaSpec>,
    /// The names of functions and lambdas, of those too that could not be read.
    pub named: Vec<String>,
    /// The API may publish functions that files name.
    pub is_managed: bool,
}

/// What the file says of field-level encryption, by name.
#[derive(Default)]
pub struct Forms {
    pub profiles: BTreeMap<String, Arc<Profile>>,
    pub configs: BTreeMap<String, Arc<FieldEncryption>>,
}

/// Reads a list of networks of addresses.
pub fn networks(table: &mut Table<'_>, key: &'static str) -> Vec<Network> {
    let Some(list) = table.strings(key) else { return Vec::new() };
    let mut all = Vec::new();
    for item in list.value {
        match Network::parse(&item.value) {
            Some(network) => all.push(network),
            None => table.problem(
                &item.span,
                format!("{:?} is no network", item.value),
                Some("such as \"10.0.0.0/8\" or \"::1/128\"".into()),
            ),
        }
    }
    all
}

/// Names known for a kind of thing, for suggestions.
pub fn names<T>(map: &BTreeMap<String, T>) -> impl Iterator<Item = &str> {
    map.keys().map(String::as_str)
}

/// A host of a distribution.
pub type HostAt = Found<HostPattern>;
