//! `foreshore promote`: a staging distribution takes the place of the one it is for.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::admin_client::{Asker, DoorArgs};
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
    let body = json!({ "distribution": args.distribution, "undo": args.undo }).to_string();
    let asked = Asker::new(&args.door).and_then(|asker| asker.ask("POST", "/v1/promotions", body));
    match asked {
        Ok(answer) => {
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
        Err(why) => fail(&why),
    }
}
