//! `[client_certificate.NAME]`: what this edge shows of itself to origins that want to see a
//! certificate, for origins to name; those of the API do so by CloudFront's ARNs.

use std::path::Path;

use super::compile_tls::read_identity;
use super::reader::{Found, Table};
use super::report::nearest;
use super::scope::{Scope, names};
use crate::distribution::origin::Identity;

/// Reads the tables of one file.
pub fn read(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("client_certificate") {
        let folder = scope.folder(table.source());
        let (chain, key) = (table.string("chain"), table.string("key"));
        for (key, example) in [("chain", "chain = \"client.pem\""), ("key", "key = \"client.key\"")]
        {
            if !table.has(key) {
                table.missing(key, example);
            }
        }
        let identity = chain
            .zip(key)
            .and_then(|(chain, key)| of_files(&table, &folder, (&chain, &key), scope));
        table.finish();
        // One with a mistake is known, too: an origin that names it has made none.
        scope.identities.insert(name.value, identity);
    }
}

/// What two files hold: a chain and its key.
pub fn of_files(
    table: &Table<'_>,
    folder: &Path,
    (chain, key): (&Found<String>, &Found<String>),
    scope: &mut Scope<'_>,
) -> Option<Identity> {
    let (chain_at, key_at) = (super::at(folder, &chain.value), super::at(folder, &key.value));
    scope.files.extend([chain_at.clone(), key_at.clone()]);
    read_identity(&chain_at, &key_at).map_err(|why| table.problem(&chain.span, why, None)).ok()
}

/// What an origin names.
pub fn named(table: &Table<'_>, id: &Found<String>, scope: &Scope<'_>) -> Option<Identity> {
    if let Some(known) = scope.identities.get(&id.value) {
        return known.clone();
    }
    let help = nearest(&id.value, names(&scope.identities)).map_or_else(
        || format!("[client_certificate.{:?}] with chain and key makes it known", id.value),
        |near| format!("did you mean {near:?}?"),
    );
    table.problem(&id.span, format!("there is no client certificate {:?}", id.value), Some(help));
    None
}
