//! Functions for operators: `/v1/functions` and `/v1/function-log`, JSON, under the admin token. What
//! `foreshore function list|deploy|logs` calls.

use std::sync::Arc;

use bytes::Bytes;
use http::header::ALLOW;
use http::request::Parts;
use http::{HeaderValue, Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Control;
use super::answer::{Answer, error, ok};
use super::cloudfront::function_store::{Shown, Wanted, users};
use super::cloudfront::xml::Fault;
use crate::distribution::functions::{Function, Kept, Runtime};
use crate::documents::function::Stage;
use crate::proxy::Running;
use crate::record::function_counts::FunctionCounts;
use crate::semantics::time::{Timestamp, format_rfc3339};

/// Who makes changes by these calls, in the audit log.
const WHO: &str = "the admin token";

/// `GET /v1/functions`.
pub async fn list(control: &Arc<Control>) -> Answer {
    match control.decide(|control| Ok(all(control))).await {
        Ok(all) => ok(StatusCode::OK, &json!({ "functions": all })),
        Err(fault) => refuse(&fault),
    }
}

/// What all functions are, of the configuration and of the API, with what was counted of each.
pub fn all(control: &Control) -> Vec<Value> {
    let running = control.edge.running();
    let of_api = control.functions();
    let mut all = in_force(&running, &of_api);
    let functions = &running.site.functions;
    let is_elsewhere = |shown: &&Shown| {
        functions.iter().all(|known| known.kept != Kept::Api || *known.name != *shown.name)
    };
    all.extend(of_api.iter().filter(is_elsewhere).map(worked_on));
    all.sort_by(|one, other| one["name"].as_str().cmp(&other["name"].as_str()));
    all
}

/// What the functions of a site are; those of the API with their stages, as far as these are given.
pub fn in_force(running: &Running, of_api: &[Shown]) -> Vec<Value> {
    let site = &running.site;
    let one = |(function, counts): (&Arc<Function>, &Arc<FunctionCounts>)| {
        let mut all = of_api.iter();
        let shown = all.find(|shown| function.kept == Kept::Api && *shown.name == *function.name);
        let mut one = described(function, &users(site, &function.name), shown);
        one["counts"] = json!(counts.summary());
        one
    };
    site.functions.iter().zip(running.functions.counts()).map(one).collect()
}

fn described(function: &Function, users: &[String], shown: Option<&Shown>) -> Value {
    let kept = match function.kept {
        Kept::File => "file",
        Kept::Api => "api",
        Kept::Nowhere => "missing",
    };
    json!({
        "name": function.name,
        "runtime": function.runtime.word(),
        "kept": kept,
        "stages": shown.map(stages),
        "used_by": users,
    })
}

// One that no behavior can run yet, or whose name a file has taken.
fn worked_on(shown: &Shown) -> Value {
    json!({
        "name": shown.name,
        "runtime": shown.stages.development.runtime,
        "kept": "api",
        "stages": stages(shown),
        "used_by": [],
    })
}

fn stages(shown: &Shown) -> Value {
    let one = |stage: Stage| {
        let coded = shown.stages.at(stage)?;
        let modified = format_rfc3339(Timestamp(coded.modified));
        let store = coded.store.as_ref().map(|store| store.name.as_str());
        Some(json!({
            "stage": stage.word(),
            "status": shown.status(stage),
            "etag": shown.version(stage),
            "modified": modified,
            "runtime": coded.runtime,
            "comment": coded.comment,
            "store": store,
            "octets": coded.code.len(),
        }))
    };
    Value::Array(Stage::ALL.into_iter().filter_map(one).collect())
}

/// The body of a deploy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Deploy {
    code: String,
    /// By default that of the function that is there, else 2.0.
    runtime: Option<String>,
    comment: Option<String>,
    /// The name of a key value store.
    store: Option<String>,
    /// False leaves it in DEVELOPMENT.
    #[serde(default = "yes")]
    publish: bool,
}

const fn yes() -> bool {
    true
}

/// Answers a call below `/v1/functions/`; `name` is what follows.
pub async fn answer(control: &Arc<Control>, parts: &Parts, name: &str, body: Bytes) -> Answer {
    let name = name.to_string();
    let done = match parts.method {
        Method::GET | Method::HEAD => {
            control.decide(move |control| control.function(&name).map(|shown| told(&shown))).await
        }
        Method::POST => {
            let wanted: Deploy = match serde_json::from_slice(&body) {
                Ok(wanted) => wanted,
                Err(why) => {
                    let why = format!("the body is not as expected: {why}");
                    return error(StatusCode::BAD_REQUEST, &why);
                }
            };
            let made =
                move |control: &Control| deploy(control, &name, &wanted).map(|shown| told(&shown));
            control.decide(made).await
        }
        Method::DELETE => control.decide(move |control| remove(control, &name)).await,
        _ => {
            let known = "GET, POST, DELETE";
            let why = format!("this call is made with {known}");
            let mut refused = error(StatusCode::METHOD_NOT_ALLOWED, &why);
            refused.headers_mut().insert(ALLOW, HeaderValue::from_static(known));
            return refused;
        }
    };
    match done {
        Ok(told) => ok(StatusCode::OK, &told),
        Err(fault) => refuse(&fault),
    }
}

fn told(shown: &Shown) -> Value {
    json!({ "name": shown.name, "stages": stages(shown), "used_by": shown.users })
}

// Makes a function or changes it, and publishes it unless that is not wanted. What the caller does
// not say stays as it is.
fn deploy(control: &Control, name: &str, asked: &Deploy) -> Result<Shown, Fault> {
    let known = match control.function(name) {
        Ok(known) => Some(known),
        Err(fault) if fault.status == 404 => None,
        Err(fault) => return Err(fault),
    };
    let before = known.as_ref().map(|known| &known.stages.development);
    let store_now = before.and_then(|before| before.store.as_ref());
    let store = asked.store.clone().or_else(|| store_now.map(|store| store.name.clone()));
    let runtime = asked.runtime.clone().or_else(|| before.map(|before| before.runtime.clone()));
    let comment = asked.comment.clone().or_else(|| before.map(|before| before.comment.clone()));
    let wanted = Wanted {
        comment: comment.unwrap_or_default(),
        runtime: runtime.unwrap_or_else(|| Runtime::Js2.word().to_string()),
        stores: store.into_iter().collect(),
        code: asked.code.clone().into_bytes(),
        ..Wanted::default()
    };
    let shown = match &known {
        Some(known) => {
            let version = known.version(Stage::Development);
            control.update_function(WHO, name, version.as_deref(), &wanted)?
        }
        None => control.create_function(WHO, name, &wanted)?,
    };
    if !asked.publish {
        return Ok(shown);
    }
    control.publish_function(WHO, name, shown.version(Stage::Development).as_deref())
}

fn remove(control: &Control, name: &str) -> Result<Value, Fault> {
    let shown = control.function(name)?;
    control.delete_function(WHO, name, shown.version(Stage::Development).as_deref())?;
    Ok(json!({ "deleted": name }))
}

/// `GET /v1/function-log`: what code wrote of late, `after` the number of an earlier answer.
pub fn log(control: &Control, query: Option<&str>) -> Answer {
    let mut after = 0;
    for pair in query.unwrap_or("").split('&').filter(|pair| !pair.is_empty()) {
        match pair.strip_prefix("after=").and_then(|said| said.parse().ok()) {
            Some(number) => after = number,
            None => return error(StatusCode::BAD_REQUEST, "known: after=NUMBER"),
        }
    }
    let (calls, next) = control.edge.function_tail.after(after);
    ok(StatusCode::OK, &json!({ "calls": calls, "next": next }))
}

fn refuse(fault: &Fault) -> Answer {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    error(status, fault.message())
}
