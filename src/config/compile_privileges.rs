//! `[process]`: what the process gives up once its sockets are bound.

use std::path::Path;

use super::reader::Table;
use crate::distribution::process::{CoreDumps, NewPrivileges, Process};

/// Reads `[process]`.
pub fn read(main: &mut Table<'_>, folder: &Path) -> Process {
    let Some(mut table) = main.table("process") else { return Process::default() };
    let user = table.parsed("user", |text| {
        let is_name = !text.is_empty()
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
        is_name.then(|| text.to_string()).ok_or_else(|| "this is no user's name or number".into())
    });
    let new_privileges = table.word(
        "new_privileges",
        &[("allow", NewPrivileges::Allowed), ("refuse", NewPrivileges::Refused)],
    );
    let core_dumps =
        table.word("core_dumps", &[("system", CoreDumps::System), ("off", CoreDumps::Off)]);
    let writable = table.strings("writable").map(|list| {
        list.value.into_iter().map(|item| super::at(folder, item.value)).collect::<Vec<_>>()
    });
    table.finish();
    Process {
        user: user.map(|found| found.value),
        new_privileges: new_privileges.map_or(NewPrivileges::default(), |found| found.value),
        core_dumps: core_dumps.map_or(CoreDumps::default(), |found| found.value),
        writable,
    }
}
