//! `foreshore purge`: asks a running edge's admin listener to invalidate.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::admin_client::{Door, DoorArgs, call, reach};
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
    /// Mark as stale instead: validated before its next use, and served as it is only if the origin
    /// fails.
    #[arg(long)]
    soft: bool,
    /// Show what would be covered, and do nothing.
    #[arg(long)]
    dry_run: bool,
    /// Which distribution; may be left out if there is only one.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
    /// Wait until every parent has applied it too, for a minute at most.
    #[arg(long)]
    wait: bool,
}

/// What was accepted is not in effect at every parent yet.
const IN_PROGRESS: u8 = 3;
/// How often `--wait` looks, and how many times.
const AGAIN: Duration = Duration::from_millis(500);
const LOOKS: u32 = 120;

pub(super) fn purge(args: &PurgeArgs) -> ExitCode {
    if args.paths.is_empty() && args.tags.is_empty() {
        return fail("name at least one path or --tag; `foreshore purge --help` has examples");
    }
    let door = match reach(&args.door) {
        Ok(found) => found,
        Err(why) => return fail(&why),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return fail("no runtime");
    };
    let body = json!({ "distribution": args.distribution, "paths": args.paths, "tags": args.tags, "soft": args.soft, "dry_run": args.dry_run });
    let (status, answer) =
        match runtime.block_on(call(&door, "POST", "/v1/invalidations", body.to_string())) {
            Ok(answered) => answered,
            Err(why) => {
                return fail(&format!(
                    "{}: {why}; is the edge running, and is this its admin listener?",
                    door.name
                ));
            }
        };
    if !(200..300).contains(&status) {
        return fail(answer["error"].as_str().unwrap_or("the edge refused"));
    }
    show(&answer);
    let is_everywhere = answer["status"] != "InProgress"
        || (args.wait && runtime.block_on(wait_for_parents(&door, &answer)));
    if !is_everywhere {
        eprintln!(
            "foreshore: in effect here, but some parents have not applied it yet; they will, see /v1/status"
        );
        return ExitCode::from(IN_PROGRESS);
    }
    if args.wait {
        println!("in effect everywhere");
    }
    ExitCode::SUCCESS
}

fn show(answer: &Value) {
    let covered = answer["covered"].as_u64();
    let word = if covered == Some(1) { "response" } else { "responses" };
    let status = if answer["status"] == "InProgress" { "in progress" } else { "completed" };
    match (answer["id"].as_str(), covered) {
        (Some(id), Some(covered)) => println!("{id}  {status}, {covered} stored {word} covered"),
        (Some(id), None) => println!("{id}  {status}"),
        (None, covered) => {
            println!("dry run: {} stored {word} would be covered", covered.unwrap_or(0))
        }
    }
    for response in answer["responses"].as_array().into_iter().flatten() {
        println!("  {}", response.as_str().unwrap_or(""));
    }
    for parent in answer["scope"]["parents"].as_array().into_iter().flatten() {
        println!(
            "  parent {}  {}",
            parent["parent"].as_str().unwrap_or(""),
            parent["state"].as_str().unwrap_or("")
        );
    }
}

async fn wait_for_parents(door: &Door, answer: &Value) -> bool {
    let path = format!("/v1/invalidations/{}", answer["id"].as_str().unwrap_or(""));
    let mut tick = tokio::time::interval(AGAIN);
    for _ in 0..LOOKS {
        tick.tick().await;
        let Ok((200, one)) = call(door, "GET", &path, String::new()).await else { continue };
        if one["status"] == "Completed" {
            return true;
        }
    }
    false
}
