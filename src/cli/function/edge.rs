//! `foreshore function list|deploy|logs`: asks a running edge's admin listener for its functions.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::{RuntimeName, pretty};
use crate::cli::admin_client::{Asker, DoorArgs};
use crate::cli::fail;
use crate::distribution::functions::Runtime;
use crate::distribution::stores::is_name;

/// How often `logs --follow` asks.
const AGAIN: Duration = Duration::from_secs(1);

#[derive(Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Print the edge's answer as it is, as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct DeployArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// A file with the code.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The function's name; one that the edge does not have is made.
    #[arg(long, value_name = "NAME")]
    name: String,
    /// The runtime; if not given that of the function that is there, else cloudfront-js-2.0.
    #[arg(long, value_enum)]
    runtime: Option<RuntimeName>,
    /// What is said of the function.
    #[arg(long, value_name = "TEXT")]
    comment: Option<String>,
    /// The key value store that the code reads.
    #[arg(long, value_name = "STORE")]
    store: Option<String>,
    /// Leave the code in DEVELOPMENT: behaviors go on with what they run.
    #[arg(long)]
    draft: bool,
    /// Print the edge's answer as it is, as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(crate) struct LogsArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Only of this function.
    #[arg(value_name = "NAME")]
    name: Option<String>,
    /// Go on with what is written from now on, until interrupted.
    #[arg(short, long)]
    follow: bool,
}

pub(super) fn list(args: &ListArgs) -> ExitCode {
    shown(Asker::new(&args.door).and_then(|asker| {
        let answer = asker.ask("GET", "/v1/functions", String::new())?;
        if args.json {
            return Ok(format!("{}\n", pretty(&answer)));
        }
        Ok(answer["functions"].as_array().into_iter().flatten().map(lines_of).collect())
    }))
}

pub(super) fn deploy(args: &DeployArgs) -> ExitCode {
    shown(deployed(args))
}

fn deployed(args: &DeployArgs) -> Result<String, String> {
    if !is_name(&args.name) {
        return Err(format!("{:?} is no name of a function", args.name));
    }
    let code = std::fs::read_to_string(&args.file)
        .map_err(|error| format!("{}: {error}", args.file.display()))?;
    let runtime = args.runtime.map(|name| Runtime::from(name).word());
    let body = json!({
        "code": code,
        "runtime": runtime,
        "comment": args.comment,
        "store": args.store,
        "publish": !args.draft,
    });
    let asker = Asker::new(&args.door)?;
    let answer = asker.ask("POST", &format!("/v1/functions/{}", args.name), body.to_string())?;
    Ok(if args.json { format!("{}\n", pretty(&answer)) } else { stages_of(&args.name, &answer) })
}

pub(super) fn logs(args: &LogsArgs) -> ExitCode {
    match looked_on(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => fail(&why),
    }
}

fn looked_on(args: &LogsArgs) -> Result<(), String> {
    let asker = Asker::new(&args.door)?;
    let mut after = 0;
    loop {
        let path = format!("/v1/function-log?after={after}");
        let answer = asker.ask("GET", &path, String::new())?;
        let text = lines_written(&answer, args.name.as_deref());
        let mut out = std::io::stdout();
        match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
            // What a pipe does not take any more is not wanted any more.
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            Err(error) => return Err(error.to_string()),
            Ok(()) => {}
        }
        if !args.follow {
            return Ok(());
        }
        let next = answer["next"].as_u64().unwrap_or(0);
        // An edge that was started anew counts from the beginning.
        after = if next < after { 0 } else { next };
        std::thread::sleep(AGAIN);
    }
}

fn lines_written(answer: &Value, only: Option<&str>) -> String {
    let calls = answer["calls"].as_array().into_iter().flatten();
    let is_wanted = |call: &&Value| only.is_none_or(|name| call["function"] == name);
    calls.filter(is_wanted).filter_map(|call| call["lines"].as_str()).collect()
}

fn shown(done: Result<String, String>) -> ExitCode {
    let words = match done {
        Ok(words) => words,
        Err(why) => return fail(&why),
    };
    match std::io::stdout().write_all(words.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error.to_string()),
        _ => ExitCode::SUCCESS,
    }
}

// A function: a line of its own, one of what was counted, and one for each place where it stands.
fn lines_of(function: &Value) -> String {
    let text = |name: &str| function[name].as_str().unwrap_or("");
    let stages: Vec<String> = function["stages"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|stage| {
            Some(format!("{} {}", stage["stage"].as_str()?, stage["etag"].as_str()?))
        })
        .collect();
    let kept = match text("kept") {
        "api" => stages.join(", "),
        "missing" => "! neither in the configuration nor published".to_string(),
        other => other.to_string(),
    };
    let mut out = format!("{}  {}  {kept}\n", text("name"), text("runtime"));
    if let Some(counts) = function["counts"].as_object() {
        let number = |name: &str| counts.get(name).and_then(Value::as_u64).unwrap_or(0);
        let errors = number("execution_errors") + number("validation_errors");
        let (calls, throttles) = (number("invocations"), number("throttles"));
        let percent = counts.get("utilisation").and_then(Value::as_f64).unwrap_or(0.0);
        out += &format!(
            "  {calls} calls, {errors} errors, {throttles} throttled, {percent:.1} % of the budget\n"
        );
    }
    let users = function["used_by"].as_array().into_iter().flatten();
    for user in users.filter_map(Value::as_str) {
        out += &format!("  at {user}\n");
    }
    out
}

// A line for each stage of a function that was deployed.
fn stages_of(name: &str, answer: &Value) -> String {
    let line = |stage: &Value| {
        let text = |key: &str| stage[key].as_str().unwrap_or("").to_string();
        format!("{name}  {}  {}  {}\n", text("stage"), text("status"), text("etag"))
    };
    answer["stages"].as_array().into_iter().flatten().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_is_told_with_its_places() {
        let function = json!({
            "name": "index", "runtime": "cloudfront-js-2.0", "kept": "api",
            "stages": [{ "stage": "DEVELOPMENT", "etag": "E1" }, { "stage": "LIVE", "etag": "E2" }],
            "used_by": ["EDEMO * viewer-request"],
            "counts": { "invocations": 3, "execution_errors": 1, "validation_errors": 1, "throttles": 0, "utilisation": 2.5 },
        });
        assert_eq!(
            lines_of(&function),
            "index  cloudfront-js-2.0  DEVELOPMENT E1, LIVE E2\n  3 calls, 2 errors, 0 throttled, 2.5 % of the budget\n  at EDEMO * viewer-request\n"
        );
        let gone = json!({ "name": "x", "runtime": "cloudfront-js-2.0", "kept": "missing", "stages": null, "used_by": [] });
        assert!(lines_of(&gone).ends_with("! neither in the configuration nor published\n"));
        let file = json!({ "name": "x", "runtime": "cloudfront-js-1.0", "kept": "file" });
        assert_eq!(lines_of(&file), "x  cloudfront-js-1.0  file\n");
    }

    #[test]
    fn lines_are_those_of_the_function_that_is_asked_for() {
        let answer = json!({ "calls": [
            { "number": 1, "function": "a", "lines": "one\n" },
            { "number": 2, "function": "b", "lines": "two\n" },
        ], "next": 2 });
        assert_eq!(lines_written(&answer, None), "one\ntwo\n");
        assert_eq!(lines_written(&answer, Some("b")), "two\n");
    }
}
