//! `foreshore promote`: a staging distribution takes the place of the one it is for.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::admin_client::{DoorArgs, call, reach};
use super::fail;

#[derive(Args)]
pub(super) struct PromoteArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// The staging distribution.
    distribution: String,
    /// Take it back: its share of viewers is again what the configuration says.
    #[arg(long)]
    undo: bool,
}

pub(super) fn promote(args: &PromoteArgs) -> ExitCode {
    let door = match reach(&args.door) {
        Ok(found) => found,
        Err(why) => return fail(&why),
    };
    let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
        return fail("no runtime");
    };
    let body = json!({ "distribution": args.distribution, "undo": args.undo });
    match runtime.block_on(call(&door, "POST", "/v1/promotions", body.to_string())) {
        Ok((200, answer)) => {
            let now: Vec<&str> = answer["promoted"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|id| id.as_str())
                .collect();
            println!(
                "promoted now: {}",
                if now.is_empty() { "none".to_string() } else { now.join(", ") }
            );
            ExitCode::SUCCESS
        }
        Ok((_, answer)) => fail(answer["error"].as_str().unwrap_or("the edge refused")),
        Err(why) => fail(&format!(
            "{}: {why}; is the edge running, and is this its admin listener?",
            door.name
        )),
    }
}
