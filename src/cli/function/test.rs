//! `foreshore function test`: a call of a CloudFront Function without an edge, as CloudFront's own
//! test makes it: what it gives back is shown, and no rule about headers is looked at.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use serde_json::{Value, json};

use super::differences::differences;
use super::test_args::{AnyRuntime, TestArgs, read};
use super::{Hook, findings_json, findings_text, is_refused, pretty, unreadable};
use crate::cli::fail;
use crate::clock::Clock;
use crate::config::{self, Loaded, MissingCertificates};
use crate::distribution::functions::{Function, FunctionLimits, Kept, Level, Runtime};
use crate::documents::function::{FunctionStages, Stage};
use crate::documents::shelf::Kind;
use crate::functions::engine::Engine;
use crate::functions::event::{Place, Returned, Spent, StoreView};
use crate::functions::event_json;
use crate::functions::level::{Finding, check};
use crate::functions::test_event::TestEvent;
use crate::functions::values::file;
use crate::functions::values::snapshot::Values;

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
    let told = TestEvent::read(&args.event()?).map_err(|bad| bad.to_string())?;
    match (args.hook, told.place) {
        (None, _)
        | (Some(Hook::ViewerRequest), Place::ViewerRequest)
        | (Some(Hook::ViewerResponse), Place::ViewerResponse) => {}
        (Some(_), place) => {
            return Err(format!("the event is one of {}", event_json::event_type(place)));
        }
    }
    let expected = args.expected()?;
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
        Err(failure) => (None, Some(failure.words())),
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

// The function, from its file or from the configuration that names it.
fn function(args: &TestArgs) -> Result<(Arc<Function>, FunctionLimits), String> {
    let path = Path::new(&args.function);
    if args.stage.is_some() || !path.is_file() {
        return configured(args);
    }
    let source = String::from_utf8(read(path)?)
        .map_err(|error| format!("{}: it is not UTF-8: {error}", path.display()))?;
    let level: Level = args.level.into();
    let runtime = match args.runtime {
        Some(AnyRuntime::Function(runtime)) => runtime,
        None => Runtime::Js2,
        Some(AnyRuntime::Lambda(runtime)) => {
            let what = "the code of a lambda is a zip or a folder";
            return Err(format!("{} is a file, and {runtime}: {what}", path.display()));
        }
    };
    let function = Function {
        name: args.function.as_str().into(),
        runtime,
        level,
        source: source.into(),
        // It is the only one that this engine keeps compiled.
        digest: [0; 32],
        store: None,
        kept: Kept::File,
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
    if let Some(stage) = args.stage {
        let function = staged(&loaded, name, stage.into())?;
        return Ok((Arc::new(function), loaded.site.function_settings.limits));
    }
    let mut all = loaded.site.functions.iter();
    match all.find(|function| *function.name == **name) {
        Some(function) => Ok((Arc::clone(function), loaded.site.function_settings.limits)),
        None => Err(format!("{name:?} is neither a file nor a function of {}", file.display())),
    }
}

// The code of a stage, as the data folder keeps it.
fn staged(loaded: &Loaded, name: &str, stage: Stage) -> Result<Function, String> {
    let document = loaded
        .documents
        .get(Kind::Function, name)
        .ok_or_else(|| format!("{name:?} is no function of the API"))?;
    let stages = FunctionStages::of(document)?;
    let coded =
        stages.at(stage).ok_or_else(|| format!("nothing of {name:?} is {} yet", stage.word()))?;
    let runtime = Runtime::of(&coded.runtime)
        .ok_or_else(|| format!("{name:?} is in {}, which is not known here", coded.runtime))?;
    Ok(Function {
        name: name.into(),
        runtime,
        level: loaded.site.function_settings.level,
        source: coded.code.as_str().into(),
        digest: [0; 32],
        store: None,
        kept: Kept::Api,
    })
}

// What `--kv` names.
fn values(kv: &str, now: u64) -> Result<Values, String> {
    let (id, path) = kv.split_once('=').ok_or_else(|| format!("{kv:?} is not as STORE=FILE"))?;
    let path = Path::new(path);
    file::values(id, &read(path)?, (now, now)).map_err(|why| format!("{}: {why}", path.display()))
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
