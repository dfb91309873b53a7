//! `foreshore purge`: asks a running edge's admin listener to invalidate.

use std::path::PathBuf;
use std::process::ExitCode;

use bytes::Bytes;
use clap::Args;
use http::Request;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};

use super::{ConfigArgs, fail};
use crate::clock::Clock;
use crate::config::{self, Making};

#[derive(Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Paths, each with an optional `*` at its end.
    #[arg(value_name = "PATH")]
    paths: Vec<String>,
    /// Every response with this tag; may be given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Mark as stale instead: validated before its next use, and served as it is only if the origin fails.
    #[arg(long)]
    soft: bool,
    /// Show what would be covered, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Which distribution; may be left out if there is only one.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
    /// Wait until every parent has applied it too.
    #[arg(long)]
    wait: bool,
    /// The admin listener; from the configuration if not given.
    #[arg(long, value_name = "ADDRESS", env = "FORESHORE_ADMIN")]
    admin: Option<String>,
    /// A file that holds the bearer token; `admin-token` of the data folder if not given.
    #[arg(long, value_name = "FILE", env = "FORESHORE_ADMIN_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

pub(super) fn purge(args: &PurgeArgs) -> ExitCode {
    if args.paths.is_empty() && args.tags.is_empty() {
        return fail("name at least one path or --tag; `foreshore purge --help` has examples");
    }
    let (address, token) = match reach(args) {
        Ok(found) => found,
        Err(why) => return fail(&why),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return fail("no runtime") };
    let body =
        json!({ "distribution": args.distribution, "paths": args.paths, "tags": args.tags, "soft": args.soft, "dry_run": args.dry_run });
    let (status, answer) = match runtime.block_on(call(&address, &token, "POST", "/v1/invalidations", body.to_string())) {
        Ok(answered) => answered,
        Err(why) => return fail(&format!("{address}: {why}; is the edge running?")),
    };
    if !(200..300).contains(&status) {
        return fail(answer["error"].as_str().unwrap_or("the edge refused"));
    }
    show(&answer);
    if args.wait && !runtime.block_on(wait_for_parents(&address, &token, &answer)) {
        return fail("some parents have not applied it yet; they will, see /v1/status");
    }
    ExitCode::SUCCESS
}

// Where the edge listens and what opens its door.
fn reach(args: &PurgeArgs) -> Result<(String, String), String> {
    let mut token_file = args.token_file.clone();
    let mut inline = None;
    let address = match &args.admin {
        Some(address) if token_file.is_some() => address.clone(),
        other => {
            let loaded =
                config::load(&args.config.config, Clock::system().now(), Making::Pending).map_err(|report| report.render(false))?;
            inline = loaded.site.admin.token.as_ref().map(|token| token.expose().clone());
            token_file.get_or_insert_with(|| loaded.site.data.join("admin-token"));
            other.clone().unwrap_or_else(|| loaded.site.admin.listen.to_string())
        }
    };
    let token = match (inline, token_file) {
        (Some(token), _) => token,
        (None, Some(path)) => {
            std::fs::read_to_string(&path).map_err(|error| format!("the token file {} cannot be read: {error}", path.display()))?
        }
        (None, None) => return Err("no token".into()),
    };
    Ok((address, token.trim().to_string()))
}

async fn call(address: &str, token: &str, method: &str, path: &str, body: String) -> Result<(u16, Value), String> {
    let said = |error: &dyn std::error::Error| error.to_string();
    let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| said(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|error| said(&error))?;
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("host", address)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Full::new(Bytes::from(body)))
        .map_err(|error| said(&error))?;
    let answer = sender.send_request(request).await.map_err(|error| said(&error))?;
    let status = answer.status().as_u16();
    let bytes = answer.into_body().collect().await.map_err(|error| said(&error))?.to_bytes();
    Ok((status, serde_json::from_slice(&bytes).unwrap_or(Value::Null)))
}

fn show(answer: &Value) {
    let covered = answer["covered"].as_u64().unwrap_or(0);
    let word = if covered == 1 { "response" } else { "responses" };
    match answer["id"].as_str() {
        Some(id) => println!("{id}  completed, {covered} stored {word} covered"),
        None => println!("dry run: {covered} stored {word} would be covered"),
    }
    for response in answer["responses"].as_array().into_iter().flatten() {
        println!("  {}", response.as_str().unwrap_or(""));
    }
    for parent in answer["scope"]["parents"].as_array().into_iter().flatten() {
        println!("  parent {}  {}", parent["parent"].as_str().unwrap_or(""), parent["state"].as_str().unwrap_or(""));
    }
}

async fn wait_for_parents(address: &str, token: &str, answer: &Value) -> bool {
    let number = answer["number"].as_u64().unwrap_or(0);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..120 {
        tick.tick().await;
        let Ok((200, status)) = call(address, token, "GET", "/v1/status", String::new()).await else { continue };
        let behind = status["region"].as_array().into_iter().flatten().any(|parent| parent["applied"].as_u64().unwrap_or(0) < number);
        if !behind {
            return true;
        }
    }
    false
}
