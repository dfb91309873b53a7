//! `foreshore purge`: asks a running edge's admin listener to invalidate.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};

use super::admin_client::{Door, DoorArgs, call, reach, refusal};
use super::fail;
use crate::control::invalidation::WAIT_MAX;

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
    /// Wait so long until every parent and every edge of the fleet has applied it or is fenced; a
    /// minute if no number is given, not at all for 0. Without it the edge waits as it is
    /// configured.
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        default_missing_value = "60",
        value_parser = wait
    )]
    wait: Option<Wait>,
}

/// What may stand after `--wait`.
#[derive(Clone)]
enum Wait {
    Seconds(u64),
    /// The first of the paths: the number was left out.
    Path(String),
}

fn wait(text: &str) -> Result<Wait, String> {
    if text.starts_with('/') {
        return Ok(Wait::Path(text.into()));
    }
    match text.parse() {
        Ok(seconds) if seconds <= WAIT_MAX => Ok(Wait::Seconds(seconds)),
        _ => Err(format!("seconds from 0 to {WAIT_MAX}, or a path that begins with \"/\"")),
    }
}

impl PurgeArgs {
    fn paths(&self) -> Vec<&str> {
        let after_wait = match &self.wait {
            Some(Wait::Path(path)) => Some(path),
            _ => None,
        };
        after_wait.into_iter().chain(&self.paths).map(String::as_str).collect()
    }

    /// How many seconds are waited, where the caller says.
    fn wait(&self) -> Option<u64> {
        self.wait.as_ref().map(|wait| match wait {
            Wait::Seconds(seconds) => *seconds,
            Wait::Path(_) => WAIT_MAX,
        })
    }
}

/// What was accepted is not in effect everywhere yet.
const IN_PROGRESS: u8 = 3;
/// How often `--wait` looks.
const AGAIN: Duration = Duration::from_millis(500);

pub(super) fn purge(args: &PurgeArgs) -> ExitCode {
    if args.paths().is_empty() && args.tags.is_empty() {
        return fail("name at least one path or --tag; `foreshore purge --help` has examples");
    }
    let door = match reach(&args.door) {
        Ok(found) => found,
        Err(why) => return fail(&why),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return fail("no runtime");
    };
    match runtime.block_on(ask(&door, args)) {
        Err(why) => fail(&why),
        Ok(Reach::Here) => {
            eprintln!(
                "foreshore: in effect here, but some parents or edges have not applied it yet; they will, see /v1/status"
            );
            ExitCode::from(IN_PROGRESS)
        }
        Ok(Reach::Everywhere) => {
            if args.wait.is_some() && !args.dry_run {
                println!("in effect everywhere");
            }
            ExitCode::SUCCESS
        }
    }
}

enum Reach {
    Here,
    Everywhere,
}

// Asks, shows the answer, and waits for the rest of the time that may be waited.
async fn ask(door: &Door, args: &PurgeArgs) -> Result<Reach, String> {
    let wait = Duration::from_secs(args.wait().unwrap_or(0));
    // It counts from before the edge is asked, which waits too.
    let end = std::pin::pin!(tokio::time::sleep(wait));
    let mut body = json!({ "distribution": args.distribution, "paths": args.paths(), "tags": args.tags, "soft": args.soft, "dry_run": args.dry_run });
    // An edge of an earlier version knows no such field.
    if let Some(seconds) = args.wait() {
        body["wait"] = seconds.into();
    }
    let (status, answer) =
        call(door, "POST", "/v1/invalidations", body.to_string()).await.map_err(|why| {
            format!("{}: {why}; is the edge running, and is this its admin listener?", door.name)
        })?;
    if !(200..300).contains(&status) {
        return Err(refusal(&answer));
    }
    show(&answer);
    if answer["status"] != "InProgress" {
        return Ok(Reach::Everywhere);
    }
    if wait.is_zero() {
        return Ok(Reach::Here);
    }
    tokio::select! {
        () = until_completed(door, &answer) => Ok(Reach::Everywhere),
        () = end => Ok(Reach::Here),
    }
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
    for member in answer["scope"]["members"].as_array().into_iter().flatten() {
        println!("{}", line_of(member));
    }
}

// One edge of the fleet.
fn line_of(member: &Value) -> String {
    let state = member["state"].as_str().unwrap_or("");
    let meaning = match state {
        "fenced" => ": what it has stored it validates before use",
        "unproven" => ": it prefers availability, and may serve what it has stored",
        _ => "",
    };
    let lag = member["lag_ms"].as_u64().map_or_else(String::new, |ms| format!("  {ms} ms"));
    format!("  edge {}  {state}{lag}{meaning}", member["member"].as_str().unwrap_or(""))
}

async fn until_completed(door: &Door, answer: &Value) {
    let path = format!("/v1/invalidations/{}", answer["id"].as_str().unwrap_or(""));
    let mut tick = tokio::time::interval(AGAIN);
    loop {
        tick.tick().await;
        if let Ok((200, one)) = call(door, "GET", &path, String::new()).await
            && one["status"] == "Completed"
        {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_edge_is_shown_with_what_its_state_means() {
        for (member, line) in [
            (
                json!({"member": "edge-1", "state": "applied", "lag_ms": 12}),
                "  edge edge-1  applied  12 ms",
            ),
            (
                json!({"member": "edge-2", "state": "fenced", "lag_ms": 10_200}),
                "  edge edge-2  fenced  10200 ms: what it has stored it validates before use",
            ),
            (
                json!({"member": "edge-3", "state": "unproven", "lag_ms": 10_200}),
                "  edge edge-3  unproven  10200 ms: it prefers availability, and may serve what it has stored",
            ),
            (json!({"member": "edge-4", "state": "waiting"}), "  edge edge-4  waiting"),
        ] {
            assert_eq!(line_of(&member), line);
        }
    }
}
