//! `foreshore reload`: a running edge reads its configuration again, and says what became of it.

use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use super::admin_client::{Asker, DoorArgs, refusal};
use super::fail;

#[derive(Args)]
pub(super) struct ReloadArgs {
    #[command(flatten)]
    door: DoorArgs,
}

pub(super) fn reload(args: &ReloadArgs) -> ExitCode {
    let asked =
        Asker::new(&args.door).and_then(|asker| asker.call("POST", "/v1/reload", String::new()));
    match asked {
        Ok((200, answer)) => {
            texts(&answer, "warnings").iter().for_each(|warning| eprintln!("warning: {warning}"));
            let later = texts(&answer, "needs_restart");
            if later.is_empty() {
                println!("reloaded");
            } else {
                println!("reloaded, but for what wants a restart: {}", later.join(", "));
            }
            ExitCode::SUCCESS
        }
        Ok((422, answer)) => {
            let problems = texts(&answer, "problems").join("\n");
            fail(&format!("nothing has changed, the configuration has mistakes:\n{problems}"))
        }
        Ok((_, answer)) => fail(&refusal(&answer)),
        Err(why) => fail(&why),
    }
}

// A list of the answer.
fn texts(answer: &Value, key: &str) -> Vec<String> {
    let all = answer[key].as_array().into_iter().flatten();
    all.filter_map(Value::as_str).map(String::from).collect()
}
