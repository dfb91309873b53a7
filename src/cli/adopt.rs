//! `foreshore adopt`: a distribution of the API moves into a file of the configuration, and back.

use std::process::ExitCode;

use clap::Args;
use serde_json::json;

use super::admin_client::{Asker, DoorArgs};
use super::fail;

#[derive(Args)]
pub(super) struct AdoptArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// The distribution, by its id.
    distribution: String,
    /// Move it from its file back to the API.
    #[arg(long)]
    undo: bool,
}

pub(super) fn adopt(args: &AdoptArgs) -> ExitCode {
    let body = json!({ "distribution": args.distribution, "undo": args.undo }).to_string();
    let asked = Asker::new(&args.door).and_then(|asker| asker.ask("POST", "/v1/adoptions", body));
    match asked {
        Ok(answer) => {
            let file = answer["file"].as_str().unwrap_or_default();
            let id = &args.distribution;
            if args.undo {
                println!("{id} is kept by the API again; {file} is gone");
            } else {
                println!("{id} is kept in {file} now, and changed there");
            }
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}
