//! `[key_value_store.NAME]`: the stores that code at the edge may read.

use super::reader::Table;
use super::scope::Scope;
use crate::distribution::functions::StoreSpec;

/// Reads every store of a file.
pub fn read(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("key_value_store") {
        let folder = scope.folder(table.source());
        let id = table.parsed("id", |id| {
            let why = "an id is a UUID, such as \"0b5f5f3e-8f3c-4d6a-9c1e-2f7a1b3c4d5e\"";
            is_uuid(id).then(|| id.to_string()).ok_or_else(|| why.to_string())
        });
        let file = table.string("file").map(|found| super::at(&folder, found.value));
        if scope.code.stores.iter().any(|known| known.name == name.value) {
            let title = format!("there are two key value stores with the name {:?}", name.value);
            table.problem(&name.span, title, None);
        }
        table.finish();
        scope.files.extend(file.clone());
        let id = id.map_or_else(|| made_of(&name.value), |found| found.value);
        scope.code.stores.push(StoreSpec { name: name.value, id, file });
    }
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, b)| match at {
            8 | 13 | 18 | 23 => b == b'-',
            _ => b.is_ascii_hexdigit(),
        })
}

// The same for a name on every edge.
fn made_of(name: &str) -> String {
    let hex = crate::crypto::sigv4::sha256(format!("key value store {name}").as_bytes());
    let part = |from: usize, to: usize| &hex[from..to];
    format!("{}-{}-8{}-a{}-{}", part(0, 8), part(8, 12), part(12, 15), part(15, 18), part(18, 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_made_of_a_name_is_one() {
        assert!(is_uuid(&made_of("flags")));
        assert_ne!(made_of("flags"), made_of("flag"));
        assert!(!is_uuid("flags") && !is_uuid(&"-".repeat(36)));
    }
}
