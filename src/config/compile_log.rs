//! `[log]`: which logs are written, where, and what they tell.

use std::path::Path;
use std::sync::Arc;

use super::reader::Table;
use super::report::nearest;
use super::scope::Scope;
use crate::distribution::logs::{
    CloudFrontLogs, Cookies, LogSettings, RealtimeChoice, RealtimeField, RealtimeLog,
    StandardField, StandardLog, Told,
};

/// Reads `[log]`; without it, the access log goes to standard output.
pub fn read(main: &mut Table<'_>, folder: &Path) -> (LogSettings, CloudFrontLogs) {
    let Some(mut table) = main.table("log") else {
        return (LogSettings::Stdout, CloudFrontLogs::default());
    };
    let access = table.string("access");
    let standard = table.table("standard").and_then(|one| standard(one, folder));
    let mut taken: Vec<String> = access.iter().map(|found| found.value.clone()).collect();
    let mut realtimes = Vec::new();
    if let Some(mut one) = table.table("realtime") {
        let behaviors = one.word("behaviors", &[("all", Told::All), ("named", Told::None)]);
        let behaviors = behaviors.map_or(Told::All, |found| found.value);
        let read = realtime(one, folder, &mut taken);
        realtimes.extend(read.map(|log| RealtimeLog { behaviors, ..log }));
    }
    for (name, one) in table.named_tables("realtime_config") {
        let read = realtime(one, folder, &mut taken);
        realtimes.extend(read.map(|log| RealtimeLog { name: Some(name.value.into()), ..log }));
    }
    table.finish();
    let access = match access.map(|found| found.value).as_deref() {
        None | Some("stdout") => LogSettings::Stdout,
        Some("off") => LogSettings::Off,
        Some(path) => LogSettings::File(super::at(folder, path)),
    };
    (access, CloudFrontLogs { standard, realtime: realtimes })
}

/// The names of real-time logs that behaviors may choose.
pub fn names(logs: &CloudFrontLogs) -> Vec<Arc<str>> {
    logs.realtime.iter().filter_map(|log| log.name.clone()).collect()
}

/// Which real-time log a behavior chooses.
pub fn chosen(table: &mut Table<'_>, scope: &Scope<'_>) -> RealtimeChoice {
    let said = table.flag("realtime_log");
    let named = table.string("realtime_config");
    let Some(found) = named else {
        return match said.map(|said| said.value) {
            None => RealtimeChoice::Usual,
            Some(true) => RealtimeChoice::On,
            Some(false) => RealtimeChoice::Off,
        };
    };
    if said.is_some() {
        let title = "realtime_log is about [log] realtime, and realtime_config names another log";
        table.problem(&found.span, title, Some("leave one of them out".into()));
    }
    if let Some(log) = scope.realtime_configs.iter().find(|known| ***known == *found.value) {
        return RealtimeChoice::Named(log.clone());
    }
    let title = format!("realtime_config = {:?}: there is no such real-time log", found.value);
    let help = nearest(&found.value, scope.realtime_configs.iter().map(|name| &**name))
        .map_or_else(
            || format!("it is a table [log.realtime_config.{}]", found.value),
            |near| format!("did you mean {near:?}?"),
        );
    table.problem(&found.span, title, Some(help));
    RealtimeChoice::Usual
}

fn standard(mut table: Table<'_>, folder: &Path) -> Option<StandardLog> {
    let path = table.string("folder");
    if path.is_none() {
        table.missing("folder", "folder = \"logs\"");
    }
    let cookies =
        table.word("cookies", &[("include", Cookies::Included), ("omit", Cookies::Omitted)]);
    let fields = fields(&mut table, StandardField::ALL, "standard");
    table.finish();
    Some(StandardLog {
        folder: super::at(folder, path?.value),
        cookies: cookies.map_or(Cookies::Omitted, |found| found.value),
        fields: fields.unwrap_or_else(StandardField::usual),
    })
}

// One of them; `taken` are the files that other logs are written to.
fn realtime(mut table: Table<'_>, folder: &Path, taken: &mut Vec<String>) -> Option<RealtimeLog> {
    let path = table.string("file");
    if path.is_none() {
        table.missing("file", "file = \"realtime.log\"");
    }
    if let Some(found) = &path {
        if found.value.is_empty() || taken.contains(&found.value) {
            let title = format!("file = {:?}: a log has a file of its own", found.value);
            table.problem(&found.span, title, None);
        }
        taken.push(found.value.clone());
    }
    let sampling = table.number("sampling", 1, 100).map_or(100, |found| found.value as u8);
    let fields = fields(&mut table, RealtimeField::ALL, "real-time");
    table.finish();
    let mut fields = fields.unwrap_or_else(RealtimeField::usual);
    fields.sort_unstable();
    Some(RealtimeLog {
        name: None,
        file: super::at(folder, path?.value),
        sampling,
        fields,
        behaviors: Told::None,
    })
}

// The fields that are named, in that order and each once; `None` where none are chosen.
fn fields<T: Copy + PartialEq>(
    table: &mut Table<'_>,
    all: &[(T, &'static str)],
    log: &str,
) -> Option<Vec<T>> {
    let named = table.strings("fields")?;
    if named.value.is_empty() {
        let title = format!("the fields of the {log} log are none");
        table.problem(&named.span, title, Some("leave it out for the usual ones".into()));
    }
    let mut chosen = Vec::new();
    for name in named.value {
        match all.iter().find(|(_, known)| *known == name.value) {
            Some((field, _)) if chosen.contains(field) => {}
            Some((field, _)) => chosen.push(*field),
            None => {
                let names = || all.iter().map(|(_, known)| *known);
                let help = nearest(&name.value, names()).map_or_else(
                    || format!("known: {}", names().collect::<Vec<_>>().join(", ")),
                    |near| format!("did you mean {near:?}?"),
                );
                let title = format!("{:?} is no field of the {log} log", name.value);
                table.problem(&name.span, title, Some(help));
            }
        }
    }
    Some(chosen)
}
