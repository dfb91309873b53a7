//! Public keys and key groups, for behaviors that want signed URLs or cookies.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::compile::{Scope, names};
use super::reader::Table;
use super::report::nearest;
use crate::signature::key::PublicKey;
use crate::signature::url::Signers;

/// The file's keys by id, and its groups by name.
#[derive(Default)]
pub struct Keys {
    keys: BTreeMap<String, Arc<PublicKey>>,
    groups: BTreeMap<String, Vec<Arc<PublicKey>>>,
}

/// Reads `[[public_key]]`.
pub fn read_keys(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for mut table in root.tables("public_key") {
        let folder = scope.folder(table.source());
        let (id, file) = (table.string("id"), table.string("file"));
        match (id, file) {
            (Some(id), Some(file)) => {
                let path = super::at(&folder, &file.value);
                scope.files.push(path.clone());
                let pem = std::fs::read(&path).map_err(|error| error.to_string());
                match pem.and_then(|pem| PublicKey::from_pem(&id.value, &pem)) {
                    Ok(key) => {
                        if scope.keys.keys.insert(id.value.clone(), Arc::new(key)).is_some() {
                            table.problem(&id.span, format!("there are two public keys with the id {:?}", id.value), None);
                        }
                    }
                    Err(why) => {
                        table.problem(&file.span, format!("{}: {why}", path.display()), Some("a PEM file with a PUBLIC KEY".into()))
                    }
                }
            }
            (None, _) => table.missing("id", "id = \"K2JCJMDEHXQW5F\""),
            (_, None) => table.missing("file", "file = \"keys/signer-public.pem\""),
        }
        table.finish();
    }
}

/// Reads `[key_group.NAME]`, once all keys are known.
pub fn read_groups(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("key_group") {
        let mut group = Vec::new();
        let listed = table.strings("keys");
        if listed.is_none() {
            table.missing("keys", "keys = [\"K2JCJMDEHXQW5F\"]");
        }
        for item in listed.map(|list| list.value).unwrap_or_default() {
            match scope.keys.keys.get(&item.value) {
                Some(key) => group.push(Arc::clone(key)),
                None => {
                    let near = nearest(&item.value, names(&scope.keys.keys)).map(|near| format!("did you mean {near:?}?"));
                    table.problem(&item.span, format!("there is no public key {:?}", item.value), near);
                }
            }
        }
        table.finish();
        scope.keys.groups.insert(name.value, group);
    }
}

/// The keys that a behavior trusts; `None` if it asks for no signature.
pub fn signers(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<Signers> {
    let listed = table.strings("trusted_key_groups")?;
    let mut keys = Vec::new();
    for item in &listed.value {
        match scope.keys.groups.get(&item.value) {
            Some(group) => keys.extend(group.iter().cloned()),
            None => {
                let near = nearest(&item.value, names(&scope.keys.groups)).map(|near| format!("did you mean {near:?}?"));
                table.problem(&item.span, format!("there is no key group {:?}", item.value), near);
            }
        }
    }
    if listed.value.is_empty() {
        table.problem(&listed.span, "no key group is named: nobody could ever sign", Some("leave it out for open access".into()));
    }
    Some(Signers { keys })
}
