//! `foreshore purge`: asks a running edge's admin listener to invalidate.

use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};

use super::door::{Door, DoorArgs, call, reach};
use super::fail;

#[derive(Args)]
pub(super) struct PurgeArgs {
    #[command(flatten)]
    door: DoorArgs,
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
}

pub(super) fn purge(args: &PurgeArgs) -> ExitCode {
    if args.paths.is_empty() && args.tags.is_empty() {
        return fail("name at least one path or --tag; `foreshore purge --help` has examples");
    }
    let door = match reach(&args.door) {
        Ok(found) => found,
        Err(why) => return fail(&why),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return fail("no runtime") };
    let body =
        json!({ "distribution": args.distribution, "paths": args.paths, "tags": args.tags, "soft": args.soft, "dry_run": args.dry_run });
    let (status, answer) = match runtime.block_on(call(&door, "POST", "/v1/invalidations", body.to_string())) {
        Ok(answered) => answered,
        Err(why) => return fail(&format!("{}: {why}; is the edge running, and is this its admin listener?", door.name)),
    };
    if !(200..300).contains(&status) {
        return fail(answer["error"].as_str().unwrap_or("the edge refused"));
    }
    show(&answer);
    if args.wait {
        if !runtime.block_on(wait_for_parents(&door, &answer)) {
            return fail("after a minute some parents have not applied it yet; they will, see /v1/status");
        }
        println!("in effect everywhere");
    }
    ExitCode::SUCCESS
}

fn show(answer: &Value) {
    let covered = answer["covered"].as_u64();
    let word = if covered == Some(1) { "response" } else { "responses" };
    match (answer["id"].as_str(), covered) {
        (Some(id), Some(covered)) => println!("{id}  completed, {covered} stored {word} covered"),
        (Some(id), None) => println!("{id}  completed"),
        (None, covered) => println!("dry run: {} stored {word} would be covered", covered.unwrap_or(0)),
    }
    for response in answer["responses"].as_array().into_iter().flatten() {
        println!("  {}", response.as_str().unwrap_or(""));
    }
    for parent in answer["scope"]["parents"].as_array().into_iter().flatten() {
        println!("  parent {}  {}", parent["parent"].as_str().unwrap_or(""), parent["state"].as_str().unwrap_or(""));
    }
}

async fn wait_for_parents(door: &Door, answer: &Value) -> bool {
    let number = answer["number"].as_u64().unwrap_or(0);
    let mut tick = tokio::time::interval(std::time::Duration::from_millis(500));
    for _ in 0..120 {
        tick.tick().await;
        let Ok((200, status)) = call(door, "GET", "/v1/status", String::new()).await else { continue };
        let behind = status["region"].as_array().into_iter().flatten().any(|parent| parent["applied"].as_u64().unwrap_or(0) < number);
        if !behind {
            return true;
        }
    }
    false
}
