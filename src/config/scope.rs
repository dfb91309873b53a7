//! What the steps of compiling share: the files, the policies and keys that later steps name, and
//! readers of values that several of them have.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::reader::{Found, Table};
use super::{MissingCertificates, Text};
use crate::base::network::Network;
use crate::crypto::key::PublicKey;
use crate::crypto::sigv4::Credentials;
use crate::distribution::cache_policy::{CachePolicy, OriginRequestPolicy};
use crate::distribution::functions::{Function, LambdaSpec, Level};
use crate::distribution::host::HostPattern;
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
    pub code: Code,
    pub pop: String,
    /// The parents that an origin may have as its shield; `None`: any.
    pub shields: Option<Vec<ParentUrl>>,
    /// What an access control signs with that names no credentials of its own.
    pub credentials: Option<Credentials>,
}

impl Scope<'_> {
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
#[derive(Default)]
pub struct Policies {
    pub cache: BTreeMap<String, Arc<CachePolicy>>,
    pub origin_request: BTreeMap<String, Arc<OriginRequestPolicy>>,
    pub response: BTreeMap<String, Arc<ResponsePolicy>>,
}

/// The file's keys by id, and its groups by name.
#[derive(Default)]
pub struct Keys {
    pub keys: BTreeMap<String, Arc<PublicKey>>,
    pub groups: BTreeMap<String, Vec<Arc<PublicKey>>>,
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
