//! What `foreshore function test` is told.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Hook, LevelName};
use crate::cli::ConfigArgs;
use crate::distribution::functions::{LambdaRuntime, Runtime};
use crate::documents::function::Stage;

/// The stages of a function of the API.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum StageName {
    Development,
    Live,
}

impl From<StageName> for Stage {
    fn from(name: StageName) -> Self {
        match name {
            StageName::Development => Self::Development,
            StageName::Live => Self::Live,
        }
    }
}

/// A runtime of either kind of code.
#[derive(Clone, Copy)]
pub(crate) enum AnyRuntime {
    Function(Runtime),
    Lambda(LambdaRuntime),
}

fn any_runtime(word: &str) -> Result<AnyRuntime, String> {
    if let Some(runtime) = Runtime::of(word) {
        return Ok(AnyRuntime::Function(runtime));
    }
    let lambdas = LambdaRuntime::of(word).map(AnyRuntime::Lambda);
    lambdas.map_err(|_| "cloudfront-js-1.0, cloudfront-js-2.0, nodejs20.x, python3.11…".into())
}

#[derive(Args)]
pub(crate) struct TestArgs {
    /// A file with the code, a zip or a folder with that of a lambda, or the name of a function or
    /// a lambda of the configuration or of a function of the API.
    #[arg(value_name = "NAME|FILE")]
    pub(super) function: String,
    /// The event, a JSON file such as `function event` writes; `-` is standard input.
    #[arg(long, value_name = "FILE")]
    pub(super) event: PathBuf,
    /// Where the code stands; what the event says if not given.
    #[arg(long, value_enum)]
    pub(super) hook: Option<Hook>,
    /// What the function's key value store holds: the store's id and a JSON file.
    #[arg(long, value_name = "STORE=FILE")]
    pub(super) kv: Option<String>,
    /// The code of a stage of a function of the API; what behaviors run if not given.
    #[arg(long, value_enum, ignore_case = true)]
    pub(super) stage: Option<StageName>,
    /// The runtime that a file, a zip or a folder is for: cloudfront-js-2.0 if not given, or for
    /// lambdas nodejs20.x, python3.11 and the like.
    #[arg(long, value_parser = any_runtime)]
    pub(super) runtime: Option<AnyRuntime>,
    /// What the code of a file is held to.
    #[arg(long, value_enum, default_value = "cloudfront")]
    pub(super) level: LevelName,
    /// The handler of a zip or a folder.
    #[arg(long, value_name = "FILE.NAME", default_value = "index.handler")]
    pub(super) handler: String,
    /// What the function is to give back, a JSON file as `output` is printed; anything else is a
    /// failure.
    #[arg(long, value_name = "FILE")]
    pub(super) expect: Option<PathBuf>,
    /// Write JSON.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) config: ConfigArgs,
}

impl TestArgs {
    /// The event's octets.
    pub(super) fn event(&self) -> Result<Vec<u8>, String> {
        if self.event.as_os_str() != "-" {
            return read(&self.event);
        }
        let mut all = Vec::new();
        match std::io::stdin().lock().read_to_end(&mut all) {
            Ok(_) => Ok(all),
            Err(error) => Err(format!("standard input: {error}")),
        }
    }

    /// What is expected, if anything is.
    pub(super) fn expected(&self) -> Result<Option<Value>, String> {
        let Some(path) = &self.expect else { return Ok(None) };
        let value = serde_json::from_slice(&read(path)?);
        value.map(Some).map_err(|error| format!("{}: {error}", path.display()))
    }
}

/// The octets of a file.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}
