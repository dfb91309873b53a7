//! `[lambda.NAME]`: Lambda@Edge functions, as far as a file says what they are. Their code is looked
//! into when their workers start.

use std::path::PathBuf;
use std::time::Duration;

use super::compile_process::cores;
use super::reader::{Found, Table};
use super::scope::Scope;
use crate::distribution::functions::{
    LambdaArn, LambdaClient, LambdaLimits, LambdaNetwork, LambdaRuntime, LambdaSpec,
};

/// What Lambda@Edge allows at viewer events.
const VIEWER_MEMORY: u64 = 128 << 20;
const VIEWER_TIME: Duration = Duration::from_secs(5);
/// Octets of a zip.
const VIEWER_ZIP: u64 = 1 << 20;
/// What it allows at origin events.
const ORIGIN_TIME: Duration = Duration::from_secs(30);
const ORIGIN_ZIP: u64 = 50 << 20;
/// The most memory that any lambda may have (AWS Lambda's own quota).
const MEMORY_MAX: u64 = 10_240 << 20;

/// Reads every `[lambda.NAME]` of a file.
pub fn lambdas(root: &mut Table<'_>, scope: &mut Scope<'_>) {
    for (name, mut table) in root.named_tables("lambda") {
        check_name(&table, &name, scope);
        scope.code.named.push(name.value.clone());
        let made = lambda(&mut table, &name.value, scope);
        table.finish();
        scope.code.lambdas.extend(made);
    }
}

/// Says whether a name may be one of a function or a lambda, which share their names.
pub fn check_name(table: &Table<'_>, name: &Found<String>, scope: &Scope<'_>) {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
    if name.value.is_empty() || name.value.len() > 64 || !name.value.bytes().all(is_plain) {
        table.problem(
            &name.span,
            format!("{:?} is no name of a function", name.value),
            Some("1 to 64 letters, digits, - or _, as at CloudFront".into()),
        );
    }
    if scope.code.named.contains(&name.value) {
        table.problem(
            &name.span,
            format!("there are two functions or lambdas with the name {:?}", name.value),
            None,
        );
    }
}

fn lambda(table: &mut Table<'_>, name: &str, scope: &mut Scope<'_>) -> Option<LambdaSpec> {
    let folder = scope.folder(table.source());
    let arn = arn(table, scope);
    let code = code(table, &folder, scope);
    let handler = table.parsed("handler", |handler| {
        let is_whole = handler.rsplit_once('.').is_some_and(|(file, name)| {
            !file.is_empty() && !name.is_empty() && !file.starts_with('/') && !file.contains("..")
        });
        let why = "a handler is a file without its ending and a name, such as \"index.handler\"";
        is_whole.then(|| handler.to_string()).ok_or_else(|| why.to_string())
    });
    let runtime = table.parsed("runtime", LambdaRuntime::of);
    let program = table.string("program").map(|found| super::at(&folder, found.value));
    let client = client(table, runtime.as_ref().map(|found| found.value));
    let memory = memory(table);
    let timeout = table.duration("timeout").map_or(VIEWER_TIME, |found| found.value);
    if timeout.is_zero() || timeout > Duration::from_secs(900) {
        table.problem(&table.span(), "a timeout is 1s to 900s", None);
    }
    let workers = workers(table);
    let environment = environment(table);
    let network = table
        .word("network", &[("allow", LambdaNetwork::Allow), ("none", LambdaNetwork::None)])
        .map_or_else(LambdaNetwork::default, |found| found.value);
    let user = table.string("user").map(|found| found.value);
    let limits = table
        .word("limits", &[("lambda-at-edge", LambdaLimits::AtEdge), ("none", LambdaLimits::None)])
        .map_or_else(LambdaLimits::default, |found| found.value);
    for (key, is_there, example) in [
        ("handler", handler.is_some(), "handler = \"index.handler\""),
        ("runtime", runtime.is_some(), "runtime = \"nodejs20.x\""),
    ] {
        if !is_there && !table.has(key) {
            table.missing(key, example);
        }
    }
    Some(LambdaSpec {
        name: name.to_string(),
        arn,
        code: code?,
        handler: handler?.value,
        runtime: runtime?.value,
        program,
        client,
        memory,
        timeout,
        workers,
        environment,
        network,
        user,
        limits,
    })
}

// What documents of CloudFront call it.
fn arn(table: &mut Table<'_>, scope: &Scope<'_>) -> Option<String> {
    let found = table.parsed("arn", |text| {
        let why =
            "an ARN is as arn:aws:lambda:us-east-1:123456789012:function:NAME, or with :VERSION";
        LambdaArn::read(text).map(|_| text.to_string()).ok_or_else(|| why.to_string())
    })?;
    let arn = found.value;
    if scope.code.lambdas.iter().any(|known| known.arn.as_deref() == Some(&arn[..])) {
        table.problem(&found.span, "another lambda has this ARN", None);
    }
    Some(arn)
}

// A zip, which is watched, or a folder.
fn code(table: &mut Table<'_>, folder: &std::path::Path, scope: &mut Scope<'_>) -> Option<PathBuf> {
    let Some(found) = table.string("code") else {
        if !table.has("code") {
            table.missing("code", "code = \"resize.zip\", or a folder");
        }
        return None;
    };
    let path = super::at(folder, &found.value);
    let is_zip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    if !(path.is_dir() || is_zip && path.is_file()) {
        let title = format!("{} is neither a folder nor a zip", path.display());
        table.problem(&found.span, title, None);
        return None;
    }
    if is_zip {
        scope.files.push(path.clone());
    }
    Some(path)
}

fn client(table: &mut Table<'_>, runtime: Option<LambdaRuntime>) -> LambdaClient {
    let words = [("own", LambdaClient::Own), ("awslambdaric", LambdaClient::Official)];
    let Some(found) = table.word("client", &words) else { return LambdaClient::Own };
    if found.value == LambdaClient::Official && matches!(runtime, Some(LambdaRuntime::Node(_))) {
        table.problem(&found.span, "awslambdaric runs Python", Some("leave client out".into()));
    }
    found.value
}

fn memory(table: &mut Table<'_>) -> u64 {
    let Some(found) = table.size("memory") else { return VIEWER_MEMORY };
    if !(128 << 20..=MEMORY_MAX).contains(&found.value) {
        table.problem(&found.span, "a lambda has 128MiB to 10240MiB of memory", None);
        return VIEWER_MEMORY;
    }
    found.value
}

fn workers(table: &mut Table<'_>) -> (usize, usize) {
    let cores = cores();
    let Some(mut inner) = table.table("workers") else { return (0, 2 * cores) };
    let min = inner.number("min", 0, 1000).map_or(0, |found| found.value as usize);
    let max =
        inner.number("max", 1, 1000).map_or((2 * cores).max(min), |found| found.value as usize);
    if min > max {
        inner.problem(&inner.span(), "workers.min lies above workers.max", None);
    }
    inner.finish();
    (min, max)
}

fn environment(table: &mut Table<'_>) -> Vec<(String, String)> {
    let Some(inner) = table.table("environment") else { return Vec::new() };
    let mut all = Vec::new();
    for (name, value) in inner.rest() {
        let is_name = name.value.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
            && name.value.bytes().next().is_some_and(|b| !b.is_ascii_digit());
        match value {
            Ok(found) if is_name => all.push((name.value, found.value)),
            Ok(_) => table.problem(
                &name.span,
                format!("{:?} is no name of a variable", name.value),
                Some("letters, digits and _".into()),
            ),
            Err(_) => table.problem(
                &name.span,
                "a variable of a lambda is a text",
                Some("Lambda@Edge has none at all; these are for local stand-ins".into()),
            ),
        }
    }
    all
}

/// Holds a lambda to what Lambda@Edge allows at an event.
pub fn check_event(table: &Table<'_>, key: &str, found: &Found<String>, lambda: &LambdaSpec) {
    if lambda.limits == LambdaLimits::None {
        return;
    }
    let is_viewers = key.starts_with("viewer");
    let most = if is_viewers { VIEWER_TIME } else { ORIGIN_TIME };
    let name = &lambda.name;
    let help =
        || Some("change it, or set limits = \"none\" for a lambda that never goes to AWS".into());
    if lambda.timeout > most {
        let title = format!(
            "lambda {name:?}: the function timeout is larger than the maximum of {} seconds for a {key} event",
            most.as_secs()
        );
        table.problem(&found.span, title, help());
    }
    // A folder has the size of a zip only once it is packed.
    let zip = std::fs::metadata(&lambda.code).ok().filter(std::fs::Metadata::is_file);
    let (size, largest) =
        (zip.map_or(0, |zip| zip.len()), if is_viewers { VIEWER_ZIP } else { ORIGIN_ZIP });
    if size > largest {
        let title = format!(
            "lambda {name:?}: the function code size is larger than the maximum allowed size for a {key} event: {size} Max allowed: {largest}"
        );
        table.problem(&found.span, title, help());
    }
    if is_viewers && lambda.memory > VIEWER_MEMORY {
        let title = format!(
            "lambda {name:?}: the function memory size is larger than the maximum of 128 MB for a {key} event"
        );
        table.problem(&found.span, title, help());
    }
}
