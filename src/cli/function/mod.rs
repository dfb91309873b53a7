//! `foreshore function`: whether code keeps to the language that CloudFront takes, events to try it
//! with, and the functions of a running edge.

#[cfg(feature = "functions")]
mod differences;
mod edge;
#[cfg(feature = "functions")]
mod lambda;
mod lambda_event;
#[cfg(feature = "functions")]
mod test;
#[cfg(feature = "functions")]
mod test_args;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use crate::control::explain;
use crate::distribution::functions::{Level, Runtime};
use crate::functions::event::Place;
use crate::functions::event_json;
use crate::functions::level::{Finding, Severity, check};
use crate::functions::test_event::{DISTRIBUTION_ID, DOMAIN_NAME, REQUEST_ID, TestEvent};
use crate::lambda::edge_json::LambdaPlace;
use crate::message::request::split_target;
use crate::semantics::fields::FieldSection;

#[derive(Subcommand)]
pub(super) enum FunctionCommand {
    /// Name everything that CloudFront's own engine would refuse, with line and remedy.
    Check(CheckArgs),
    /// Write the event that a request would make, to begin a test from.
    Event(EventArgs),
    /// Call a function or a lambda with an event, and say what it changes.
    #[cfg(feature = "functions")]
    Test(test_args::TestArgs),
    /// List the functions of a running edge.
    List(edge::ListArgs),
    /// Give a running edge the code of a function, and have its behaviors run it.
    Deploy(edge::DeployArgs),
    /// Print what functions of a running edge wrote of late.
    Logs(edge::LogsArgs),
}

/// Runtimes as CloudFront names them.
#[derive(Clone, Copy, ValueEnum)]
enum RuntimeName {
    #[value(name = "cloudfront-js-1.0")]
    Js1,
    #[value(name = "cloudfront-js-2.0")]
    Js2,
}

impl From<RuntimeName> for Runtime {
    fn from(name: RuntimeName) -> Self {
        match name {
            RuntimeName::Js1 => Self::Js1,
            RuntimeName::Js2 => Self::Js2,
        }
    }
}

/// What code is held to.
#[derive(Clone, Copy, ValueEnum)]
enum LevelName {
    /// What CloudFront's engine takes.
    #[value(name = "cloudfront")]
    CloudFront,
    /// Whatever the engine here takes.
    Any,
}

impl From<LevelName> for Level {
    fn from(name: LevelName) -> Self {
        match name {
            LevelName::CloudFront => Self::CloudFront,
            LevelName::Any => Self::Any,
        }
    }
}

/// Which language.
#[derive(Args)]
struct LanguageArgs {
    /// The runtime that the function is for.
    #[arg(long, value_enum, default_value = "cloudfront-js-2.0")]
    runtime: RuntimeName,
    /// What the code is held to.
    #[arg(long, value_enum, default_value = "cloudfront")]
    level: LevelName,
}

#[derive(Args)]
pub(super) struct CheckArgs {
    /// Files with the code of one function each.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    language: LanguageArgs,
    /// Write JSON.
    #[arg(long)]
    json: bool,
}

/// The events that code stands at; CloudFront Functions at the viewer's two.
#[derive(Clone, Copy, ValueEnum)]
enum Hook {
    ViewerRequest,
    OriginRequest,
    OriginResponse,
    ViewerResponse,
}

impl From<Hook> for LambdaPlace {
    fn from(hook: Hook) -> Self {
        match hook {
            Hook::ViewerRequest => Self::ViewerRequest,
            Hook::OriginRequest => Self::OriginRequest,
            Hook::OriginResponse => Self::OriginResponse,
            Hook::ViewerResponse => Self::ViewerResponse,
        }
    }
}

#[derive(Args)]
pub(super) struct EventArgs {
    /// The URL a viewer would ask for.
    url: String,
    /// A field of the request, `Name: value`; may be given several times.
    #[arg(short = 'H', long = "header", value_name = "FIELD")]
    headers: Vec<String>,
    /// The request's method.
    #[arg(short = 'X', long, default_value = "GET")]
    method: String,
    /// Where the function stands.
    #[arg(long, value_enum, default_value = "viewer-request")]
    hook: Hook,
    /// Write the event of a lambda at the viewer; those at the origin are lambdas' anyway.
    #[arg(long)]
    lambda: bool,
    /// Where the request goes, at origin-request and origin-response.
    #[arg(long, value_name = "URL", default_value = "https://example.org")]
    origin: String,
    /// The status of the response that a function at a response event sees.
    #[arg(long, value_name = "STATUS", default_value = "200", value_parser = clap::value_parser!(u16).range(100..=599))]
    status: u16,
    /// A field of that response, `Name: value`; may be given several times.
    #[arg(short = 'A', long = "answer", value_name = "FIELD")]
    answer: Vec<String>,
    /// The viewer's address.
    #[arg(long, default_value = "192.0.2.1")]
    from: IpAddr,
}

/// Something could not be read.
const UNREADABLE: u8 = 2;

pub(super) fn function(command: &FunctionCommand) -> ExitCode {
    match command {
        FunctionCommand::Check(args) => check_files(args),
        FunctionCommand::Event(args) => match event(args) {
            Ok(event) => {
                println!("{}", pretty(&event));
                ExitCode::SUCCESS
            }
            Err(why) => unreadable(&why),
        },
        #[cfg(feature = "functions")]
        FunctionCommand::Test(args) => match lambda::meant(args) {
            Ok(Some(meant)) => lambda::test(args, meant),
            Ok(None) => test::test(args),
            Err(why) => unreadable(&why),
        },
        FunctionCommand::List(args) => edge::list(args),
        FunctionCommand::Deploy(args) => edge::deploy(args),
        FunctionCommand::Logs(args) => edge::logs(args),
    }
}

/// Says what could not be read, on standard error.
fn unreadable(why: &str) -> ExitCode {
    eprintln!("foreshore: {why}");
    ExitCode::from(UNREADABLE)
}

// As people read it.
fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

// ---- check ----

fn check_files(args: &CheckArgs) -> ExitCode {
    let (runtime, level) = (args.language.runtime.into(), args.language.level.into());
    let (mut all, mut has_errors, mut has_unread) = (Vec::new(), false, false);
    for file in &args.files {
        let source = match std::fs::read_to_string(file) {
            Ok(source) => source,
            Err(error) => {
                eprintln!("foreshore: {}: {error}", file.display());
                has_unread = true;
                continue;
            }
        };
        let found = check(&source, runtime, level);
        has_errors |= is_refused(&found);
        let name = file.display().to_string();
        if args.json {
            all.push(json!({ "file": name, "findings": findings_json(&found) }));
        } else {
            print!("{}", findings_text(&name, &found));
        }
    }
    if args.json {
        println!("{}", pretty(&Value::Array(all)));
    }
    match (has_unread, has_errors) {
        (true, _) => ExitCode::from(UNREADABLE),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}

/// True if something was found that keeps the code from running.
fn is_refused(found: &[Finding]) -> bool {
    found.iter().any(|finding| finding.severity == Severity::Error)
}

/// A line for each finding, or one that says that there is none.
fn findings_text(file: &str, found: &[Finding]) -> String {
    if found.is_empty() {
        return format!("{file} is fine\n");
    }
    let line = |finding: &Finding| {
        let (severity, rule) = (finding.severity.as_str(), finding.rule);
        format!("{file}: {severity}: {finding} ({rule})\n")
    };
    found.iter().map(line).collect()
}

/// The findings for machines.
fn findings_json(found: &[Finding]) -> Value {
    let one = |finding: &Finding| {
        json!({
            "rule": finding.rule,
            "severity": finding.severity.as_str(),
            "line": finding.line,
            "column": finding.column,
            "what": finding.what,
            "remedy": finding.remedy,
        })
    };
    Value::Array(found.iter().map(one).collect())
}

// ---- event ----

fn event(args: &EventArgs) -> Result<Value, String> {
    let asked = asked(args)?;
    let place = match args.hook {
        Hook::ViewerRequest if !args.lambda => Place::ViewerRequest,
        Hook::ViewerResponse if !args.lambda => Place::ViewerResponse,
        hook => return lambda_event::event(args, asked, hook.into()),
    };
    let response = match place {
        Place::ViewerRequest => None,
        Place::ViewerResponse => Some((args.status, explain::fields(&args.answer)?)),
    };
    let event = TestEvent {
        place,
        domain_name: Some(DOMAIN_NAME.into()),
        distribution_id: DISTRIBUTION_ID.into(),
        request_id: REQUEST_ID.into(),
        viewer: args.from,
        method: args.method.clone(),
        uri: asked.uri,
        query: asked.query,
        fields: asked.fields,
        response,
    };
    Ok(event_json::event(&event.event()))
}

/// What a viewer asks for.
struct Asked {
    uri: String,
    query: Option<String>,
    /// With Host.
    fields: FieldSection,
}

fn asked(args: &EventArgs) -> Result<Asked, String> {
    let rest = match args.url.split_once("://") {
        Some(("http" | "https", rest)) => rest,
        _ => return Err(format!("{:?} is not an http or https URL", args.url)),
    };
    let cut = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(cut);
    // Clients keep a fragment to themselves.
    let target = target.split('#').next().unwrap_or("");
    let target = if target.starts_with('/') { target.to_string() } else { format!("/{target}") };
    if !target.bytes().all(|octet| (0x21..=0x7e).contains(&octet)) {
        return Err(format!("{target:?} has characters that must be escaped"));
    }
    let (uri, query) = split_target(&target);
    let given = explain::fields(&args.headers)?;
    let mut fields = FieldSection::new();
    if !given.contains("host") && (authority.is_empty() || !fields.append("host", authority)) {
        return Err(format!("{authority:?} is no host"));
    }
    for (name, value) in &given {
        fields.push(name, value.as_bytes());
    }
    Ok(Asked { uri: uri.to_string(), query: query.map(str::to_string), fields })
}
