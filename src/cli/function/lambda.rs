//! `foreshore function test` of a lambda: one call in a worker of its own, without an edge, and what
//! CloudFront would make of the answer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::differences::differences;
use super::test_args::{AnyRuntime, TestArgs};
use super::{Hook, pretty, unreadable};
use crate::cli::fail;
use crate::cli::workplace::Workplace;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::distribution::functions::{
    LambdaClient, LambdaLimits, LambdaNetwork, LambdaRuntime, LambdaSpec,
};
use crate::lambda::edge_json::{self, EdgeAnswer, EdgeEvent, LambdaPlace, LambdaTestEvent};
use crate::lambda::{self, InvokeFailure, LambdaWord, Line, Log, Tried, Writer};

const MEMORY: u64 = 128 << 20;

/// Which lambda the arguments mean.
pub(super) enum Meant {
    Configured(Box<LambdaSpec>),
    /// A zip or a folder.
    Code(PathBuf),
}

/// The lambda that the arguments mean; `None` for a CloudFront Function.
pub(super) fn meant(args: &TestArgs) -> Result<Option<Meant>, String> {
    let path = Path::new(&args.function);
    let is_zip = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("zip"));
    if path.is_dir() || is_zip && path.is_file() {
        return Ok(Some(Meant::Code(path.to_path_buf())));
    }
    let file = &args.config.config;
    if args.stage.is_none() && !path.is_file() && file.is_file() {
        let loaded = config::load(file, Clock::system().now(), MissingCertificates::Pending)
            .map_err(|report| report.render(false))?;
        let mut lambdas = loaded.site.lambdas.iter();
        if let Some(spec) = lambdas.find(|spec| spec.name == args.function) {
            return Ok(Some(Meant::Configured(Box::new(spec.clone()))));
        }
    }
    match args.hook {
        Some(Hook::OriginRequest | Hook::OriginResponse) => {
            let name = &args.function;
            Err(format!("{name:?} is no lambda, and CloudFront Functions stand at viewer events"))
        }
        Some(Hook::ViewerRequest | Hook::ViewerResponse) | None => Ok(None),
    }
}

/// All that came of a call.
struct Outcome {
    name: String,
    place: LambdaPlace,
    lines: Vec<String>,
    /// What came back, whole.
    output: Option<Value>,
    end: End,
    took: Duration,
    /// With the start of the worker.
    whole: Duration,
    memory: u64,
    memory_max: u64,
    /// What differs from the event.
    changes: Vec<String>,
    /// What differs from the expectation.
    missed: Vec<String>,
}

/// What CloudFront would make of it.
enum End {
    /// The request goes on, or the response does.
    GoesOn,
    /// The function's own answer with this status.
    Answers(u16),
    Failed {
        word: LambdaWord,
        status: u16,
        sentence: &'static str,
        detail: String,
    },
}

pub(super) fn test(args: &TestArgs, meant: Meant) -> ExitCode {
    let outcome = match outcome(args, meant) {
        Ok(outcome) => outcome,
        Err(why) => return unreadable(&why),
    };
    if args.json {
        println!("{}", pretty(&as_json(&outcome)));
    } else {
        print!("{}", as_text(&outcome));
    }
    if matches!(outcome.end, End::Failed { .. }) {
        return fail("the lambda failed");
    }
    if outcome.missed.is_empty() {
        ExitCode::SUCCESS
    } else {
        fail("the lambda gave back something else than was expected")
    }
}

fn outcome(args: &TestArgs, meant: Meant) -> Result<Outcome, String> {
    if args.kv.is_some() || args.stage.is_some() {
        return Err("--kv and --stage are for CloudFront Functions, and this is a lambda".into());
    }
    let told = LambdaTestEvent::read(&args.event()?, args.hook.map(LambdaPlace::from));
    let told = told.map_err(|bad| bad.to_string())?;
    let expected = args.expected()?;
    let spec = spec(args, meant, told.place)?;
    let (name, memory_max) = (spec.name.clone(), spec.memory);
    let event = told.event();
    let written = edge_json::write(&event);
    let (tried, lines) = called(spec, written.clone())?;
    let (output, end) = judged(&event, tried.answer);
    let (mut changes, mut missed) = (Vec::new(), Vec::new());
    if let Some(output) = &output {
        if !matches!(end, End::Answers(_)) {
            differences("", &shown(&written, told.place), output, &mut changes);
        }
        if let Some(expected) = &expected {
            differences("", expected, output, &mut missed);
        }
    }
    let Tried { took, whole, memory, .. } = tried;
    let place = told.place;
    Ok(Outcome {
        name,
        place,
        lines,
        output,
        end,
        took,
        whole,
        memory,
        memory_max,
        changes,
        missed,
    })
}

// What of the event a function gives back: the request or the response.
fn shown(written: &Bytes, place: LambdaPlace) -> Value {
    let mut event: Value = serde_json::from_slice(written).unwrap_or_default();
    let part = if place.is_request() { "request" } else { "response" };
    event["Records"][0]["cf"][part].take()
}

fn judged(event: &EdgeEvent<'_>, answer: Result<Bytes, InvokeFailure>) -> (Option<Value>, End) {
    let answer = match answer {
        Ok(answer) => answer,
        Err(failure) => {
            let (word, status, sentence) = (failure.word(), failure.status(), failure.sentence());
            let detail = failure.to_string();
            return (None, End::Failed { word, status, sentence, detail });
        }
    };
    let end = match edge_json::read(event, &answer) {
        Ok(EdgeAnswer::Response(made)) if event.response.is_none() => {
            End::Answers(made.status.unwrap_or(200))
        }
        Ok(EdgeAnswer::Request(_) | EdgeAnswer::Response(_)) => End::GoesOn,
        Err(mistake) => End::Failed {
            word: LambdaWord::Validation,
            status: 502,
            sentence: mistake.sentence(),
            detail: mistake.detail(),
        },
    };
    (serde_json::from_slice(&answer).ok(), end)
}

fn spec(args: &TestArgs, meant: Meant, place: LambdaPlace) -> Result<LambdaSpec, String> {
    let code = match meant {
        Meant::Configured(spec) => return Ok(*spec),
        Meant::Code(code) => code,
    };
    let runtime = match args.runtime {
        Some(AnyRuntime::Lambda(runtime)) => runtime,
        Some(AnyRuntime::Function(_)) | None => {
            let remedy = "--runtime nodejs20.x or --runtime python3.11";
            return Err(format!("{}: which runtime is it for? {remedy}", code.display()));
        }
    };
    let stem = code.file_stem().map(|stem| stem.to_string_lossy().into_owned());
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' };
    let name: String =
        stem.unwrap_or_else(|| "lambda".into()).chars().map(plain).take(64).collect();
    Ok(with_usual_limits(name, code, &args.handler, runtime, place))
}

// What Lambda@Edge gives at an event; who needs more has a configuration that says so.
fn with_usual_limits(
    name: String,
    code: PathBuf,
    handler: &str,
    runtime: LambdaRuntime,
    place: LambdaPlace,
) -> LambdaSpec {
    LambdaSpec {
        name,
        arn: None,
        code,
        handler: handler.to_string(),
        runtime,
        program: None,
        client: LambdaClient::Own,
        memory: MEMORY,
        timeout: Duration::from_secs(if place.is_viewers() { 5 } else { 30 }),
        workers: (0, 1),
        environment: Vec::new(),
        network: LambdaNetwork::Allow,
        user: None,
        limits: LambdaLimits::AtEdge,
    }
}

// Calls it, and gives the lines of its log in the order in which CloudWatch has them.
fn called(spec: LambdaSpec, event: Bytes) -> Result<(Tried, Vec<String>), String> {
    let workplace = Workplace::new()?;
    let lines = Arc::<Mutex<Vec<(bool, String)>>>::default();
    let to = Arc::clone(&lines);
    let log: Log = Arc::new(move |line: &Line<'_>| {
        // What a pipe still holds when a call ends belongs before its end.
        let is_last = line.writer == Writer::Platform && !line.text.starts_with("START");
        to.lock().push((is_last, line.text.to_string()));
    });
    let settings = workplace.settings(Some(log));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let tried =
        runtime.and_then(|runtime| runtime.block_on(lambda::try_out(spec, event, settings)));
    let mut lines = std::mem::take(&mut *lines.lock());
    lines.sort_by_key(|(is_last, _)| *is_last);
    let lines = lines.into_iter().map(|(_, line)| line).collect();
    tried.map(|tried| (tried, lines)).map_err(|error| format!("no worker can be kept: {error}"))
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 100_000.0).round() / 100.0
}

fn as_text(outcome: &Outcome) -> String {
    let mut out = String::new();
    let mut line = |what: &str, words: &str| out.push_str(&format!("{what:<12}{words}\n"));
    outcome.lines.iter().for_each(|words| line("log", words));
    match &outcome.end {
        End::GoesOn if outcome.changes.is_empty() => line("changed", "nothing"),
        End::GoesOn => {}
        End::Answers(status) => line("answers", &format!("{status} LambdaGeneratedResponse")),
        End::Failed { word, status, sentence, detail } => {
            line("error", &format!("{status} {}", word.word()));
            line("page", sentence);
            line("because", detail);
        }
    }
    outcome.changes.iter().for_each(|words| line("changed", words));
    if let Some(output) = &outcome.output {
        line("output", &output.to_string());
    }
    outcome.missed.iter().for_each(|words| line("unexpected", words));
    let (took, whole) = (millis(outcome.took), millis(outcome.whole));
    line("duration", &format!("{took} ms; {whole} ms with the start of its worker"));
    let (memory, most) = (outcome.memory >> 20, outcome.memory_max >> 20);
    line("memory", &format!("{memory} MB of {most} MB"));
    out
}

fn as_json(outcome: &Outcome) -> Value {
    let mut all = json!({
        "Name": outcome.name,
        "EventType": outcome.place.name(),
        "DurationMs": millis(outcome.took),
        "DurationWithStartMs": millis(outcome.whole),
        "MaxMemoryUsedMB": outcome.memory >> 20,
        "MemorySizeMB": outcome.memory_max >> 20,
        "Logs": outcome.lines,
        "Output": outcome.output,
        "Changes": outcome.changes,
        "Unexpected": outcome.missed,
    });
    match &outcome.end {
        End::GoesOn => {}
        End::Answers(status) => all["Answers"] = (*status).into(),
        End::Failed { word, status, sentence, detail } => {
            all["Error"] = json!({
                "Word": word.word(),
                "Status": status,
                "Page": sentence,
                "Because": detail,
            });
        }
    }
    all
}
