//! `foreshore upgrade`: a new process takes the place of a running edge.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::admin_client::{Asker, DoorArgs};
use super::fail;

#[derive(Args)]
pub(super) struct UpgradeArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// The new program; the path that the running one was started by if not given.
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Seconds that the new process may take to load its configuration.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=600))]
    wait: u64,
}

pub(super) fn upgrade(args: &UpgradeArgs) -> ExitCode {
    let binary = args.binary.as_deref().map(std::path::absolute).transpose();
    let binary = match binary {
        Ok(binary) => binary,
        Err(error) => return fail(&format!("--binary: {error}")),
    };
    let asker = match Asker::new(&args.door) {
        Ok(asker) => asker,
        Err(why) => return fail(&why),
    };
    let body = json!({ "binary": binary, "wait": args.wait });
    match asker.ask("POST", "/v1/upgrade", body.to_string()) {
        Ok(answer) => {
            let process = &answer["process"];
            println!("process {process} serves; the one before drains and ends");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&format!("{why}\nNothing has changed.")),
    }
}
