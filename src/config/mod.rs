//! TOML becomes a `Site`, or a report of everything that is wrong with it. The only room that knows
//! files of configuration, and the only one that reads the environment.

mod compile;
pub use compile::PROMOTED;
mod compile_acme;
mod compile_behavior;
mod compile_distribution;
mod compile_documents;
mod compile_events;
mod compile_fleet;
mod compile_forms;
mod compile_functions;
pub use compile_functions::CODE_MAX_ANY;
mod compile_identities;
mod compile_keys;
mod compile_lambdas;
mod compile_log;
mod compile_main;
mod compile_origin;
mod compile_origin_names;
mod compile_policy;
mod compile_privileges;
mod compile_process;
mod compile_region;
mod compile_response;
mod compile_rest_apis;
mod compile_stores;
mod compile_tier;
mod compile_tls;
mod compile_traces;
mod compile_viewer_tls;
mod credentials;
pub mod decode;
mod managed;
mod read_certificates;
mod read_files;
pub mod reader;
pub mod report;
mod scope;
mod stamp;
mod units;
pub use units::Units;
mod warnings;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use toml::de::DeTable;

use crate::distribution::site::Site;
use crate::documents::shelf::Documents;
use crate::semantics::time::Timestamp;
use managed::{Managed, Told};
use read_files::ReadFiles;
use reader::{Collector, Table};
use report::{Problem, Report, Source};
use units::{Found, Part, Written};

/// A certificate that is to be made if it is not there yet (`make_for`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WantedCertificate {
    pub chain: PathBuf,
    pub key: PathBuf,
    pub names: Vec<String>,
}

/// A configuration without mistakes, compiled.
pub struct Loaded {
    pub site: Arc<Site>,
    /// The documents of the API that are part of it; none where there is no `[api]`.
    pub documents: Documents,
}

/// Whether certificates with `make_for` may still be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissingCertificates {
    /// They will be made before the edge starts.
    Pending,
    Done,
}

/// Loads a configuration, with the documents of its data folder where it has `[api]`. `now` is what
/// certificates' dates are compared with.
pub fn load(path: &Path, now: Timestamp, making: MissingCertificates) -> Result<Loaded, Report> {
    load_with(path, now, making, None)
}

/// The same with these documents, in the place of those of the data folder.
pub fn load_with(
    path: &Path,
    now: Timestamp,
    making: MissingCertificates,
    documents: Option<&Documents>,
) -> Result<Loaded, Report> {
    load_again(path, now, making, documents, &mut Units::default())
}

/// The same, using again what is as it was when `units` came out of the last one.
pub fn load_again(
    path: &Path,
    now: Timestamp,
    making: MissingCertificates,
    documents: Option<&Documents>,
    units: &mut Units,
) -> Result<Loaded, Report> {
    let collector = Collector::default();
    let mut texts = read_sources(path, &collector);
    // Of a file that is not there nothing more can be said.
    if collector.report.borrow().problems.iter().any(|problem| problem.source == 0) {
        let mut report = collector.report.into_inner();
        report.of_files = texts.len();
        return Err(report);
    }
    let Managed { texts: more, documents, shared, told } =
        managed::read(&texts, documents, making, units);
    let (of_files, functions) = (told.of_files, units::names(&told.functions));
    let known = sources_of(&told.parts);
    for (path, text) in more {
        let source = Source { path: path.clone(), text: text.clone() };
        collector.report.borrow_mut().sources.push(source);
        texts.push((path, text));
    }
    let loaded = compile_all(&texts, told, &collector, now, making, units.read());
    let mut report = collector.report.into_inner();
    report.of_files = of_files;
    match loaded {
        Some((site, found)) if report.problems.is_empty() => {
            units.keep(found, &texts[..of_files], functions, making, (&documents, shared));
            Ok(Loaded { site: Arc::new(site), documents })
        }
        _ => {
            let known = known.iter().map(|unit| unit.source.clone());
            report.sources.extend(known.map(|(path, text)| Source { path, text }));
            Err(report)
        }
    }
}

// What was compiled before stands behind all texts, for whoever looks a mistake up.
fn sources_of(parts: &[Part]) -> Vec<Arc<Written>> {
    let known = parts.iter().filter_map(|part| match part {
        Part::Known(unit) => Some(Arc::clone(&unit.written)),
        Part::New(_) => None,
    });
    known.collect()
}

/// Every key that a configuration may have, as found by loading one; for the test that keeps the
/// tour whole.
pub fn known_keys(path: &Path, now: Timestamp) -> BTreeSet<String> {
    let collector = Collector::default();
    let texts = read_sources(path, &collector);
    let told = Told { of_files: texts.len(), ..Told::default() };
    let (pending, mut read) = (MissingCertificates::Pending, ReadFiles::default());
    let _ = compile_all(&texts, told, &collector, now, pending, &mut read);
    collector.asked.into_inner()
}

/// The certificates that a configuration asks us to make.
pub fn wanted_certificates(path: &Path) -> Vec<WantedCertificate> {
    let collector = Collector::default();
    let texts = read_sources(path, &collector);
    texts
        .iter()
        .enumerate()
        .flat_map(|(at, (path, text))| compile_tls::wanted(&collector, at, path, text))
        .collect()
}

/// A path of a configuration file, relative to the file's folder, without detours: messages show it
/// to people.
fn at(folder: impl AsRef<Path>, name: impl AsRef<Path>) -> PathBuf {
    let mut path = PathBuf::new();
    for part in folder.as_ref().join(name).components() {
        match part {
            // `x/..` goes; a `..` at the start stays.
            std::path::Component::ParentDir if path.file_name().is_some() => {
                path.pop();
            }
            std::path::Component::CurDir => {}
            other => path.push(other),
        }
    }
    // An empty path is none.
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path }
}

type Text = (PathBuf, String);

// The file itself and what it includes. Files that cannot be read are problems of their own.
fn read_sources(path: &Path, collector: &Collector) -> Vec<Text> {
    let mut texts = Vec::new();
    read_one(path, collector, &mut texts);
    let includes = texts.first().map(|(path, text)| included(path, text)).unwrap_or_default();
    for path in includes {
        read_one(&path, collector, &mut texts);
    }
    texts
}

fn read_one(path: &Path, collector: &Collector, texts: &mut Vec<Text>) {
    let mut report = collector.report.borrow_mut();
    let text = decode::read_text(path);
    report
        .sources
        .push(Source { path: path.to_path_buf(), text: text.as_deref().unwrap_or("").to_string() });
    match text {
        Ok(text) => texts.push((path.to_path_buf(), text)),
        Err(error) => {
            let source = report.sources.len() - 1;
            let help =
                Some("name another file with --config, or start from one in config/".to_string());
            report.problems.push(Problem {
                source,
                span: 0..0,
                title: format!("cannot be read: {error}"),
                help,
            });
            texts.push((path.to_path_buf(), String::new()));
        }
    }
}

// `include = ["sites/*.toml"]`: a `*` in the last part of the path only.
fn included(path: &Path, text: &str) -> Vec<PathBuf> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let Some(list) = table.get_ref().get("include").and_then(|v| v.get_ref().as_array()) else {
        return Vec::new();
    };
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut all = Vec::new();
    for pattern in list.iter().filter_map(|v| v.get_ref().as_str()) {
        let whole = at(folder, pattern);
        let name = whole.file_name().and_then(|n| n.to_str()).unwrap_or("").to_string();
        if !name.contains('*') {
            all.push(whole);
            continue;
        }
        let Ok(glob) = globset::Glob::new(&name) else { continue };
        let matcher = glob.compile_matcher();
        let entries = std::fs::read_dir(whole.parent().unwrap_or(folder))
            .into_iter()
            .flatten()
            .filter_map(Result::ok);
        let mut found: Vec<PathBuf> =
            entries.filter(|e| matcher.is_match(e.file_name())).map(|e| e.path()).collect();
        found.sort();
        all.append(&mut found);
    }
    all
}

/// Where a file of this name would be part of a configuration: in the first folder of its `include`
/// that takes such names.
pub fn included_as(path: &Path, name: &str) -> Option<PathBuf> {
    let text = decode::read_text(path).ok()?;
    let table = DeTable::parse(&text).ok()?;
    let list = table.get_ref().get("include")?.get_ref().as_array()?;
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut patterns = list.iter().filter_map(|value| value.get_ref().as_str());
    patterns.find_map(|pattern| {
        let whole = at(folder, pattern);
        let last = whole.file_name()?.to_str()?;
        let glob = globset::Glob::new(last).ok()?.compile_matcher();
        // A file under another ending is none.
        let takes = last.contains('*') && last.ends_with(".toml") && glob.is_match(name);
        takes.then(|| whole.with_file_name(name))
    })
}

fn compile_all(
    texts: &[Text],
    told: Told,
    collector: &Collector,
    now: Timestamp,
    making: MissingCertificates,
    read: &mut ReadFiles,
) -> Option<(Site, Found)> {
    let mut roots = Vec::new();
    for (at, (_, text)) in texts.iter().enumerate() {
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in errors {
            let span = error.span().unwrap_or(0..0);
            let title = format!("this is not TOML: {}", error.message().replace('\n', " "));
            collector.report.borrow_mut().problems.push(Problem {
                source: at,
                span,
                title,
                help: None,
            });
        }
        roots.push(Table::new(collector, at, String::new(), table));
    }
    compile::compile(roots, texts, told, collector, now, making, read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_told_from_the_file_without_detours() {
        for (folder, name, path) in [
            ("", ".", "."),
            ("", "./a", "a"),
            (".", "a/..", "."),
            ("conf", "..", "."),
            ("conf", "../site", "site"),
            ("conf", "../../site", "../site"),
            ("/etc/foreshore", "../site/./x", "/etc/site/x"),
            ("conf", "/srv", "/srv"),
        ] {
            assert_eq!(at(folder, name), Path::new(path), "{folder:?} {name:?}");
        }
    }
}
