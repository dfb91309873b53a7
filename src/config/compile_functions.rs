//! `[functions]`, `[function.NAME]` and a behavior's `functions`: the code at the edge, read, checked
//! and named.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::compile_lambdas::{check_event, check_name};
use super::decode;
use super::reader::{Found, Table, suggest};
use super::scope::Scope;
use crate::distribution::functions::{
    Attached, Choosable, Function, FunctionLimits, FunctionSettings, Hooks, Kept, LambdaArn, Level,
    OriginInKey, Runtime, lambda_of,
};
use crate::distribution::logs::LogSettings;
use crate::distribution::stores::{StoreSpec, is_name};
use crate::documents::function::{Coded, StoreOf};

/// The most octets of code for functions that never go there.
pub const CODE_MAX_ANY: usize = 1 << 20;

/// Reads `[functions]`.
pub fn settings(main: &mut Table<'_>, folder: &Path) -> FunctionSettings {
    let usual = FunctionSettings::default();
    let Some(mut table) = main.table("functions") else { return usual };
    let limits = limits(&mut table, usual.limits);
    let level = table.word("level", &[("cloudfront", Level::CloudFront), ("any", Level::Any)]);
    let log = match table.string("log").map(|found| found.value).as_deref() {
        None | Some("stdout") => LogSettings::Stdout,
        Some("off") => LogSettings::Off,
        Some(path) => LogSettings::File(super::at(folder, path)),
    };
    let origins =
        table.word("origins", &[("any", Choosable::Any), ("declared", Choosable::Declared)]);
    let in_key = table.word("origin_in_key", &[("no", OriginInKey::No), ("yes", OriginInKey::Yes)]);
    let sleepers = table.number("sleepers", 1, 100_000);
    let cgroup = cgroup(&mut table);
    table.finish();
    FunctionSettings {
        limits,
        level: level.map_or(usual.level, |found| found.value),
        log,
        origins: origins.map_or(usual.origins, |found| found.value),
        origin_in_key: in_key.map_or(usual.origin_in_key, |found| found.value),
        sleepers: sleepers.map_or(usual.sleepers, |found| found.value as usize),
        cgroup,
    }
}

fn cgroup(table: &mut Table<'_>) -> Option<PathBuf> {
    let found = table.string("cgroup")?;
    let path = PathBuf::from(&found.value);
    if path.is_absolute() {
        return Some(path);
    }
    let help = "such as \"/sys/fs/cgroup/foreshore/workers\", which the edge may write to";
    table.problem(&found.span, "a cgroup is the whole path of its folder", Some(help.into()));
    None
}

fn limits(table: &mut Table<'_>, usual: FunctionLimits) -> FunctionLimits {
    let mut limits = usual;
    for (key, slot) in [("stop", &mut limits.stop), ("budget", &mut limits.budget)] {
        if let Some(found) = table.duration(key) {
            if found.value.is_zero() || found.value.as_secs() >= 1 {
                let title = format!("functions.{key} lies outside 1ms to 999ms");
                table.problem(&found.span, title, Some("a core waits for code as long".into()));
            } else {
                *slot = found.value;
            }
        }
    }
    if let Some(found) = table.size("memory") {
        if (64 << 10..=256 << 20).contains(&found.value) {
            limits.memory = found.value as usize;
        } else {
            table.problem(&found.span, "functions.memory lies outside 64KiB to 256MiB", None);
        }
    }
    if let Some(found) = table.duration("throttle") {
        limits.throttle = found.value;
    }
    if let Some(found) = table.size("remember") {
        if found.value <= 1 << 30 {
            limits.remember = found.value as usize;
        } else {
            let help = "each core keeps so many results of calls; \"0B\" keeps none";
            let title = "functions.remember is more than 1GiB";
            table.problem(&found.span, title, Some(help.into()));
        }
    }
    limits
}

/// Reads every `[function.NAME]` of a file.
pub fn functions(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("function") {
        check_name(&table, &name, scope);
        scope.code.named.push(name.value.clone());
        let made = function(&mut table, &name.value, scope);
        if !cfg!(feature = "functions") {
            table.problem(
                &name.span,
                "this program was built without CloudFront Functions",
                Some("build it with the feature \"functions\", which is on by default".into()),
            );
        }
        table.finish();
        scope.code.functions.extend(made.map(Arc::new));
    }
}

fn function(table: &mut Table<'_>, name: &str, scope: &mut Scope<'_>) -> Option<Function> {
    let folder = scope.folder(table.source());
    let file = table.string("file");
    let runtimes = [Runtime::Js1, Runtime::Js2].map(|one| (one.word(), one));
    let runtime = table.word("runtime", &runtimes).map_or(Runtime::Js2, |found| found.value);
    let store = store(table, runtime, scope);
    let replace = replacements(table, scope);
    let Some(file) = file else {
        if !table.has("file") {
            table.missing("file", "file = \"functions/index.js\"");
        }
        return None;
    };
    let path = super::at(&folder, &file.value);
    scope.files.push(path.clone());
    let text = match decode::read_text(&path) {
        Ok(text) => text,
        Err(error) => {
            let title = format!("the code {} cannot be read: {error}", path.display());
            table.problem(&file.span, title, None);
            return None;
        }
    };
    let level = scope.code.level;
    check_size(table, &file, &path, text.len());
    let mut source = text;
    for (from, to) in &replace {
        source = source.replace(from.as_str(), to);
    }
    check_level(table, &file, &path, &source, scope, runtime);
    let source: Arc<str> = source.into();
    let digest = digest(runtime, level, &source);
    Some(Function { name: name.into(), runtime, level, source, digest, store, kept: Kept::File })
}

/// Takes in what the API has published. It was checked when it came: what it has of another level
/// now fails when it is called. A name that a file has too is the file's.
pub fn published(all: Vec<(String, Coded)>, scope: &mut Scope<'_>) {
    for (name, coded) in all {
        let aside = |why: &str| format!("function {name} (by the API) is left aside: {why}");
        if scope.code.named.contains(&name) {
            scope.warnings.push(aside("the configuration has a function or lambda of this name"));
            continue;
        }
        let Some(runtime) = Runtime::of(&coded.runtime) else {
            scope.warnings.push(aside("its runtime is not known here"));
            continue;
        };
        let store = coded.store.map(|store| place_of_store(store, scope));
        scope.code.named.push(name.clone());
        let function = built(&name, (runtime, scope.code.level), coded.code, Kept::Api);
        scope.code.functions.push(Arc::new(Function { store, ..function }));
    }
}

fn built(name: &str, (runtime, level): (Runtime, Level), source: String, kept: Kept) -> Function {
    let digest = digest(runtime, level, &source);
    Function { name: name.into(), runtime, level, source: source.into(), digest, store: None, kept }
}

// Stores that the API made are in no file: one that a function reads becomes one of the site's.
fn place_of_store(store: StoreOf, scope: &mut Scope<'_>) -> usize {
    let known = scope.code.stores.iter().position(|known| *known.name == *store.name);
    known.unwrap_or_else(|| {
        let spec = StoreSpec { name: store.name.into(), id: store.id.into(), file: None };
        scope.code.stores.push(Arc::new(spec));
        scope.code.stores.len() - 1
    })
}

// In the place of a function that the API does not have, or not any more: what it guards stays
// closed until it is there.
fn absent(name: &str, scope: &mut Scope<'_>) -> usize {
    let why = format!(
        "there is no function {name}: neither in the configuration nor published by the API"
    );
    scope.warnings.push(format!("{why}; the behaviors that name it answer 503"));
    let source = format!("function handler(event) {{ throw new Error('{why}'); }}");
    let function = built(name, (Runtime::Js2, scope.code.level), source, Kept::Nowhere);
    scope.code.functions.push(Arc::new(function));
    scope.code.functions.len() - 1
}

// Code that never goes to AWS is bounded all the same; the check of its level holds the other.
fn check_size(table: &Table<'_>, file: &Found<String>, path: &Path, octets: usize) {
    if octets > CODE_MAX_ANY {
        let title = format!("{} has {octets} octets; code may have {CODE_MAX_ANY}", path.display());
        table.problem(&file.span, title, None);
    }
}

#[cfg(feature = "functions")]
fn check_level(
    table: &Table<'_>,
    file: &Found<String>,
    path: &Path,
    source: &str,
    scope: &mut Scope<'_>,
    runtime: Runtime,
) {
    use crate::functions::level::{Severity, check};
    for finding in check(source, runtime, scope.code.level) {
        let title =
            format!("{}:{}:{}: {}", path.display(), finding.line, finding.column, finding.what);
        let remedy = Some(finding.remedy).filter(|remedy| !remedy.is_empty());
        match finding.severity {
            Severity::Error => table.problem(&file.span, title, remedy),
            Severity::Warning => {
                let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
                scope.warnings.push(format!("{title}{remedy}"));
            }
        }
    }
}

#[cfg(not(feature = "functions"))]
fn check_level(_: &Table<'_>, _: &Found<String>, _: &Path, _: &str, _: &mut Scope<'_>, _: Runtime) {
}

// The key value store that code may read, as a place among all stores.
fn store(table: &mut Table<'_>, runtime: Runtime, scope: &Scope<'_>) -> Option<usize> {
    let found = table.string("store")?;
    if runtime == Runtime::Js1 {
        table.problem(
            &found.span,
            "code in cloudfront-js-1.0 has no key value store",
            Some("runtime = \"cloudfront-js-2.0\"".into()),
        );
    }
    let named = by_arn(&found.value);
    let at =
        scope.code.stores.iter().position(|store| *store.name == *named || *store.id == *named);
    if at.is_none() {
        let known = scope.code.stores.iter().map(|store| &*store.name);
        table.problem(
            &found.span,
            format!("there is no key value store {:?}", found.value),
            Some(suggest(&found, known, &[])),
        );
    }
    at
}

// Texts that are replaced in the source. One that is the name of a store stands for its id, which
// code has to name it by.
fn replacements(table: &mut Table<'_>, scope: &Scope<'_>) -> Vec<(String, String)> {
    let Some(inner) = table.table("replace") else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in inner.rest() {
        match value {
            Ok(found) => {
                let store = scope.code.stores.iter().find(|store| *store.name == *found.value);
                all.push((name.value, store.map_or(found.value, |store| store.id.to_string())));
            }
            Err(_) => table.problem(
                &name.span,
                format!("what replaces {:?} in code is a text, and no secret", name.value),
                Some("code is shown to whoever may read the configuration".into()),
            ),
        }
    }
    all
}

/// What compiled code is kept by.
pub fn digest(runtime: Runtime, level: Level, source: &str) -> [u8; 32] {
    let mut all = vec![runtime as u8, level as u8];
    all.extend_from_slice(source.as_bytes());
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &all);
    let mut out = [0; 32];
    out.copy_from_slice(digest.as_ref());
    out
}

// The name in an ARN, or the name itself: `arn:aws:cloudfront::<account>:function/NAME`,
// `arn:aws:lambda:<region>:<account>:function:NAME:VERSION`.
fn by_arn(text: &str) -> &str {
    if !text.starts_with("arn:") {
        return text;
    }
    if let Some((_, name)) = text.rsplit_once('/') {
        return name;
    }
    text.split(':').nth(6).unwrap_or(text)
}

/// Reads `functions = { … }` of a behavior.
pub fn hooks(table: &mut Table<'_>, scope: &mut Scope<'_>) -> Option<Box<Hooks>> {
    let mut inner = table.table("functions")?;
    let body: Vec<Found<String>> =
        inner.strings("body").map(|found| found.value).unwrap_or_default();
    let mut hooks = Hooks::default();
    let places = [
        ("viewer_request", &mut hooks.viewer_request),
        ("viewer_response", &mut hooks.viewer_response),
        ("origin_request", &mut hooks.origin_request),
        ("origin_response", &mut hooks.origin_response),
    ];
    for (key, slot) in places {
        let Some(found) = inner.string(key) else { continue };
        let mut at = attached(&inner, key, &found, scope);
        if let Some(Attached::Lambda { with_body, .. }) = &mut at {
            *with_body = body.iter().any(|item| item.value == key);
        }
        check_place(&inner, key, &found, at, scope);
        *slot = at;
    }
    check_body(&inner, &body, &hooks);
    let kinds = (&hooks.viewer_request, &hooks.viewer_response);
    if let (Some(Attached::Function(_)), Some(Attached::Lambda { .. }))
    | (Some(Attached::Lambda { .. }), Some(Attached::Function(_))) = kinds
    {
        inner.problem(
            &inner.span(),
            "the two viewer events of a behavior have functions of both kinds",
            Some("CloudFront takes a function for both, or a lambda for both".into()),
        );
    }
    inner.finish();
    (!hooks.is_empty()).then(|| Box::new(hooks))
}

fn attached(
    table: &Table<'_>,
    key: &str,
    found: &Found<String>,
    scope: &mut Scope<'_>,
) -> Option<Attached> {
    let name = by_arn(&found.value);
    let code = &scope.code;
    if LambdaArn::read(&found.value).is_some() {
        let at = lambda_of(&code.lambdas, &found.value);
        // One that could not be read has its own mistake.
        if at.is_none() && !code.named.iter().any(|known| known == name) {
            table.problem(
                &found.span,
                format!("there is no lambda for {:?}", found.value),
                Some(format!("a [lambda.{name}], or arn = \"…\" in that of another name")),
            );
        }
        return at.map(|at| Attached::Lambda { at, with_body: false });
    }
    if let Some(at) = code.functions.iter().position(|known| &*known.name == name) {
        return Some(Attached::Function(at));
    }
    if let Some(at) = code.lambdas.iter().position(|known| known.name == name) {
        return Some(Attached::Lambda { at, with_body: false });
    }
    // One that could not be read has its own mistake.
    if !code.named.iter().any(|known| known == name) {
        if code.is_managed && key.starts_with("viewer") && is_name(name) {
            return Some(Attached::Function(absent(name, scope)));
        }
        table.problem(
            &found.span,
            format!("there is no function or lambda {:?}", found.value),
            Some(suggest(found, code.named.iter().map(String::as_str), &[])),
        );
    }
    None
}

fn check_place(
    table: &Table<'_>,
    key: &str,
    found: &Found<String>,
    at: Option<Attached>,
    scope: &Scope<'_>,
) {
    let is_origins = key.starts_with("origin");
    match at {
        Some(Attached::Function(_)) if is_origins => table.problem(
            &found.span,
            format!("{:?} is a CloudFront Function, and {key} is an event of lambdas", found.value),
            Some("viewer_request or viewer_response, or a [lambda.NAME]".into()),
        ),
        Some(Attached::Lambda { at, .. }) => {
            if let Some(lambda) = scope.code.lambdas.get(at) {
                check_event(table, key, found, lambda);
            }
        }
        Some(Attached::Function(_)) | None => {}
    }
}

fn check_body(table: &Table<'_>, body: &[Found<String>], hooks: &Hooks) {
    for item in body {
        let at = match item.value.as_str() {
            "viewer_request" => hooks.viewer_request,
            "origin_request" => hooks.origin_request,
            _ => None,
        };
        if !matches!(at, Some(Attached::Lambda { .. })) {
            table.problem(
                &item.span,
                format!("{:?} is no event with a lambda that a body could be shown to", item.value),
                Some("\"viewer_request\" or \"origin_request\"; functions never see a body".into()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_arn_names_what_it_ends_with() {
        for (text, name) in [
            ("index", "index"),
            ("arn:aws:cloudfront::000000000177:function/index", "index"),
            ("arn:aws:cloudfront::000000000177:key-value-store/0b5f", "0b5f"),
            ("arn:aws:lambda:us-east-1:000000000177:function:resize:3", "resize"),
        ] {
            assert_eq!(by_arn(text), name, "{text}");
        }
    }

    #[test]
    fn code_is_the_same_only_in_the_same_language() {
        let source = "function handler(event) { return event.request; }";
        let all = [
            digest(Runtime::Js1, Level::CloudFront, source),
            digest(Runtime::Js2, Level::CloudFront, source),
            digest(Runtime::Js2, Level::Any, source),
            digest(Runtime::Js2, Level::Any, "x"),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one));
        }
    }
}
