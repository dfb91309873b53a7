//! `foreshore function test`: a call of a CloudFront Function without an edge, as CloudFront's own
//! test makes it: what it gives back is shown, and no rule about headers is looked at.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;
use serde_json::{Value, json};

use super::{LanguageArgs, findings_json, findings_text, is_refused, pretty, unreadable};
use crate::cli::{ConfigArgs, fail};
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::distribution::functions::{Function, FunctionLimits, Level};
use crate::functions::engine::Engine;
use crate::functions::event::{CallFailure, Returned, Spent, StoreView};
use crate::functions::event_json;
use crate::functions::level::{Finding, check};
use crate::functions::test_event::TestEvent;
use crate::functions::values::file;
use crate::functions::values::snapshot::Values;

#[derive(Args)]
pub(crate) struct TestArgs {
    /// A file with the code, or the name of a function in the configuration.
    #[arg(value_name = "NAME|FILE")]
    function: String,
    /// The event, a JSON file such as `function event` writes.
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// What the function's key value store holds: the store's id and a JSON file.
    #[arg(long, value_name = "STORE=FILE")]
    kv: Option<String>,
    #[command(flatten)]
    language: LanguageArgs,
    /// What the function is to give back, a JSON file as `output` is printed; anything else is a
    /// failure.
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// All that came of a call.
struct Outcome {
    name: String,
    found: Vec<Finding>,
    lines: Vec<String>,
    /// What came back, whole.
    output: Option<Value>,
    failure: Option<String>,
    spent: Spent,
    /// What differs from the event.
    changes: Vec<String>,
    /// What differs from the expectation.
    missed: Vec<String>,
}

pub(super) fn test(args: &TestArgs) -> ExitCode {
    let outcome = match outcome(args) {
        Ok(outcome) => outcome,
        Err(why) => return unreadable(&why),
    };
    if args.json {
        println!("{}", pretty(&as_json(&outcome)));
    } else {
        print!("{}", as_text(&outcome));
    }
    if outcome.failure.is_some() || is_refused(&outcome.found) {
        return fail("the function failed");
    }
    if outcome.missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        fail("the function gave back something else than was expected")
    }
}

fn outcome(args: &TestArgs) -> Result<Outcome, String> {
    let (function, limits) = function(args)?;
    let told = TestEvent::read(&read(&args.event)?).map_err(|bad| bad.to_string())?;
    let expected = args.expect.as_deref().map(json_file).transpose()?;
    let now = Clock::system().now();
    let values = args.kv.as_deref().map(|kv| values(kv, now.0)).transpose()?;
    let values = values.as_ref().map(|values| values as &dyn StoreView);
    let mut engine = Engine::new(limits);
    engine.prepare(&[Arc::clone(&function)]);
    let mut lines = Vec::new();
    let event = told.event();
    let (returned, spent) = engine.call(&function, &event, values, now.0, &mut |line: &str| {
        lines.push(line.to_string());
    });
    let before = event_json::output(&event, &Returned::Unchanged);
    let (output, failure) = match returned {
        Ok(returned) => (Some(event_json::output(&event, &returned)), None),
        Err(failure) => (None, Some(words(&failure))),
    };
    let mut changes = Vec::new();
    let mut missed = Vec::new();
    if let Some(output) = &output {
        differences("", &before, output, &mut changes);
        if let Some(expected) = &expected {
            differences("", expected, output, &mut missed);
        }
    }
    let found = check(&function.source, function.runtime, function.level);
    let name = function.name.to_string();
    Ok(Outcome { name, found, lines, output, failure, spent, changes, missed })
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

fn json_file(path: &Path) -> Result<Value, String> {
    serde_json::from_slice(&read(path)?).map_err(|error| format!("{}: {error}", path.display()))
}

// The function, from its file or from the configuration that names it.
fn function(args: &TestArgs) -> Result<(Arc<Function>, FunctionLimits), String> {
    let path = Path::new(&args.function);
    if !path.is_file() {
        return configured(args);
    }
    let source = String::from_utf8(read(path)?)
        .map_err(|error| format!("{}: it is not UTF-8: {error}", path.display()))?;
    let level: Level = args.language.level.into();
    let function = Function {
        name: args.function.as_str().into(),
        runtime: args.language.runtime.into(),
        level,
        source: source.into(),
        // It is the only one that this engine keeps compiled.
        digest: [0; 32],
        store: None,
    };
    Ok((Arc::new(function), FunctionLimits::default()))
}

fn configured(args: &TestArgs) -> Result<(Arc<Function>, FunctionLimits), String> {
    let name = &args.function;
    let file = &args.config.config;
    if !file.is_file() {
        return Err(format!("{name:?} is no file, and there is no {}", file.display()));
    }
    let loaded = config::load(file, Clock::system().now(), MissingCertificates::Pending)
        .map_err(|report| report.render(false))?;
    let mut all = loaded.site.functions.iter();
    match all.find(|function| *function.name == **name) {
        Some(function) => Ok((Arc::clone(function), loaded.site.function_settings.limits)),
        None => Err(format!("{name:?} is neither a file nor a function of {}", file.display())),
    }
}

// What `--kv` names.
fn values(kv: &str, now: u64) -> Result<Values, String> {
    let (id, path) = kv.split_once('=').ok_or_else(|| format!("{kv:?} is not as STORE=FILE"))?;
    let path = Path::new(path);
    file::values(id, &read(path)?, (now, now)).map_err(|why| format!("{}: {why}", path.display()))
}

fn words(failure: &CallFailure) -> String {
    match failure {
        CallFailure::NotCompiled(why) => format!("it does not compile: {why}"),
        CallFailure::Threw(what) => what.clone(),
        CallFailure::NeverSettles => "it waits for a promise that nothing settles".into(),
        CallFailure::TooLong => "it took too long and was stopped".into(),
        CallFailure::TooMuchMemory => "it took too much memory and was stopped".into(),
        CallFailure::WrongShape { path, wanted, found } => {
            format!("it gave back {found} for {path}, and {wanted} is wanted")
        }
    }
}

// What differs, a line for each place.
fn differences(path: &str, before: &Value, after: &Value, all: &mut Vec<String>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            all.push(format!("{path}: {before} -> {after}"));
        }
        return;
    };
    let below = |name: &str| {
        if path.is_empty() { name.to_string() } else { format!("{path}.{name}") }
    };
    for (name, value) in old {
        match new.get(name) {
            Some(now) => differences(&below(name), value, now, all),
            None => all.push(format!("{}: {value} is gone", below(name))),
        }
    }
    for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
        all.push(format!("{}: {value} is new", below(name)));
    }
}

fn as_text(outcome: &Outcome) -> String {
    let mut out = String::new();
    let mut line = |what: &str, words: &str| out.push_str(&format!("{what:<12}{words}\n"));
    outcome.lines.iter().for_each(|words| line("log", words));
    match (&outcome.failure, &outcome.output) {
        (Some(why), _) => line("error", why),
        (None, Some(output)) => {
            if outcome.changes.is_empty() {
                line("changed", "nothing");
            }
            outcome.changes.iter().for_each(|words| line("changed", words));
            line("output", &output.to_string());
        }
        (None, None) => {}
    }
    outcome.missed.iter().for_each(|words| line("unexpected", words));
    let micros = outcome.spent.nanos / 1000;
    line("utilisation", &format!("{} ({micros} µs)", outcome.spent.utilisation));
    if !outcome.found.is_empty() {
        out.push_str(&findings_text(&outcome.name, &outcome.found));
    }
    out
}

// As TestFunction answers, and what only this program says beside it.
fn as_json(outcome: &Outcome) -> Value {
    json!({
        "Name": outcome.name,
        "ComputeUtilization": outcome.spent.utilisation.to_string(),
        "FunctionExecutionLogs": outcome.lines,
        "FunctionErrorMessage": outcome.failure.as_deref().unwrap_or(""),
        "FunctionOutput": outcome.output.as_ref().map(Value::to_string).unwrap_or_default(),
        "Changes": outcome.changes,
        "Unexpected": outcome.missed,
        "Findings": findings_json(&outcome.found),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_told_by_their_path() {
        let before = json!({ "a": { "b": 1, "c": 2, "d": [1] }, "e": "x" });
        let after = json!({ "a": { "b": 1, "c": 3, "f": null }, "e": "x" });
        let mut all = Vec::new();
        differences("", &before, &after, &mut all);
        assert_eq!(all, ["a.c: 2 -> 3", "a.d: [1] is gone", "a.f: null is new"]);
        all.clear();
        differences("", &before, &before, &mut all);
        assert!(all.is_empty());
    }
}
