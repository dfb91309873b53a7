//! `[log]`: which logs are written, where, and what they tell.

use std::path::Path;

use super::reader::Table;
use super::report::nearest;
use crate::distribution::logs::{
    CloudFrontLogs, Cookies, LogSettings, RealtimeField, RealtimeLog, StandardLog,
};

/// Reads `[log]`; without it, the access log goes to standard output.
pub fn read(main: &mut Table<'_>, folder: &Path) -> (LogSettings, CloudFrontLogs) {
    let Some(mut table) = main.table("log") else {
        return (LogSettings::Stdout, CloudFrontLogs::default());
    };
    let access = table.string("access");
    let standard = table.table("standard").and_then(|one| standard(one, folder));
    let realtime = table
        .table("realtime")
        .and_then(|one| realtime(one, folder, access.as_ref().map(|found| found.value.as_str())));
    table.finish();
    let access = match access.map(|found| found.value).as_deref() {
        None | Some("stdout") => LogSettings::Stdout,
        Some("off") => LogSettings::Off,
        Some(path) => LogSettings::File(super::at(folder, path)),
    };
    (access, CloudFrontLogs { standard, realtime })
}

fn standard(mut table: Table<'_>, folder: &Path) -> Option<StandardLog> {
    let path = table.string("folder");
    if path.is_none() {
        table.missing("folder", "folder = \"logs\"");
    }
    let cookies =
        table.word("cookies", &[("include", Cookies::Included), ("omit", Cookies::Omitted)]);
    table.finish();
    Some(StandardLog {
        folder: super::at(folder, path?.value),
        cookies: cookies.map_or(Cookies::Omitted, |found| found.value),
    })
}

fn realtime(mut table: Table<'_>, folder: &Path, access: Option<&str>) -> Option<RealtimeLog> {
    let path = table.string("file");
    if path.is_none() {
        table.missing("file", "file = \"realtime.log\"");
    }
    if let Some(found) =
        path.as_ref().filter(|found| found.value.is_empty() || Some(found.value.as_str()) == access)
    {
        table.problem(
            &found.span,
            format!("log.realtime.file = {:?}: it must be a file of its own", found.value),
            None,
        );
    }
    let sampling = table.number("sampling", 1, 100).map_or(100, |found| found.value as u8);
    let mut fields: Vec<RealtimeField> = Vec::new();
    match table.strings("fields") {
        None => fields.extend(RealtimeField::ALL.iter().map(|(field, _)| *field)),
        Some(named) => {
            if named.value.is_empty() {
                table.problem(
                    &named.span,
                    "log.realtime.fields names no field",
                    Some("leave it out for all of them".into()),
                );
            }
            for name in named.value {
                match RealtimeField::ALL.iter().find(|(_, known)| *known == name.value) {
                    Some((field, _)) => fields.push(*field),
                    None => {
                        let near = nearest(
                            &name.value,
                            RealtimeField::ALL.iter().map(|(_, known)| *known),
                        );
                        let all = || {
                            RealtimeField::ALL
                                .iter()
                                .map(|(_, known)| *known)
                                .collect::<Vec<_>>()
                                .join(", ")
                        };
                        let help = near.map_or_else(
                            || format!("known: {}", all()),
                            |near| format!("did you mean {near:?}?"),
                        );
                        table.problem(
                            &name.span,
                            format!("{:?} is no field of the real-time log", name.value),
                            Some(help),
                        );
                    }
                }
            }
        }
    }
    table.finish();
    fields.sort_unstable();
    fields.dedup();
    Some(RealtimeLog { file: super::at(folder, path?.value), sampling, fields })
}
