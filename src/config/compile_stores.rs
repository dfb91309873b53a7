//! `[key_value_store.NAME]`: the stores that code at the edge may read.

use std::sync::Arc;

use super::reader::Table;
use super::scope::Scope;
use crate::distribution::stores::{StoreSpec, id_of_name, is_id, is_name};
use crate::functions::values::store::check_file;
use crate::functions::values::stores::STORES_MAX;

/// Reads every store of a file.
pub fn read(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("key_value_store") {
        let folder = scope.folder(table.source());
        let id = table.parsed("id", |id| {
            let why =
                "an id is a UUID in lower case, such as \"0b5f5f3e-8f3c-4d6a-9c1e-2f7a1b3c4d5e\"";
            is_id(id).then(|| id.to_string()).ok_or_else(|| why.to_string())
        });
        let file = table.string("file").map(|found| (super::at(&folder, &found.value), found.span));
        if let Some((path, span)) = &file
            && let Err(why) = check_file(path)
        {
            table.problem(span, format!("{}: {why}", path.display()), None);
        }
        if !is_name(&name.value) {
            let title = format!("{:?} is no name of a key value store", name.value);
            table.problem(&name.span, title, Some("1 to 64 letters, digits, - or _".to_string()));
        }
        if scope.code.stores.iter().any(|known| *known.name == *name.value) {
            let title = format!("there are two key value stores with the name {:?}", name.value);
            table.problem(&name.span, title, None);
        }
        if let Some(found) = &id
            && scope.code.stores.iter().any(|known| *known.id == *found.value)
        {
            let title = format!("there are two key value stores with the id {:?}", found.value);
            table.problem(&found.span, title, None);
        }
        if scope.code.stores.len() == STORES_MAX {
            let title = format!("there are at most {STORES_MAX} key value stores");
            table.problem(&name.span, title, None);
        }
        table.finish();
        let id = id.map_or_else(|| id_of_name(&name.value), |found| found.value);
        let spec =
            StoreSpec { name: name.value.into(), id: id.into(), file: file.map(|(path, _)| path) };
        scope.code.stores.push(Arc::new(spec));
    }
}
