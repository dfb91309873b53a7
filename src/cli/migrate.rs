//! `foreshore import` and `foreshore export`: to and from CloudFront's description of a distribution.

use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{ConfigArgs, fail};
use crate::clock::Clock;
use crate::cloudfront::{export, import};
use crate::config::{self, Making};

#[derive(Subcommand)]
pub(super) enum ImportCommand {
    /// Write a configuration from the output of `aws cloudfront get-distribution-config`.
    Cloudfront(ImportArgs),
}

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The distribution, and with it the outputs of get-cache-policy, get-origin-request-policy, get-response-headers-policy,
    /// get-key-group and get-public-key, as far as they are at hand; in any order.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where the configuration goes; nothing is written over.
    #[arg(short, long, value_name = "FILE", default_value = "imported.toml")]
    out: PathBuf,
}

#[derive(Subcommand)]
pub(super) enum ExportCommand {
    /// Print a distribution as CloudFront describes one.
    Cloudfront(ExportArgs),
}

#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    config: ConfigArgs,
    /// Which one; may be left out if there is only one.
    #[arg(long, value_name = "ID")]
    distribution: Option<String>,
}

pub(super) fn run_import(ImportCommand::Cloudfront(args): &ImportCommand) -> ExitCode {
    match read_in(args) {
        Ok(report) => {
            eprint!("{report}");
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

fn read_in(args: &ImportArgs) -> Result<String, String> {
    let mut documents = Vec::new();
    for path in &args.files {
        let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
        documents.push(serde_json::from_str(&text).map_err(|error| format!("{}: this is no JSON: {error}", path.display()))?);
    }
    let imported = import::import(documents)?;
    let folder = args.out.parent().unwrap_or(Path::new(""));
    let write = |path: &Path, text: &str| {
        // It may hold what origins are told in confidence.
        let file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        let written = file.and_then(|mut file| std::io::Write::write_all(&mut file, text.as_bytes()));
        written.map_err(|error| format!("{}: {error}", path.display()))
    };
    write(&args.out, &imported.toml)?;
    for (name, text) in &imported.files {
        write(&folder.join(name), text)?;
    }
    // It is to load as it is: if it does not, that is our mistake, and is told.
    let checked = config::load(&args.out, Clock::system().now(), Making::Pending);
    let mut out = format!("wrote {}\n", args.out.display());
    out.push_str(&format!("{} to look at:\n", imported.report.len()));
    imported.report.iter().for_each(|item| out.push_str(&format!("  - {item}\n")));
    match checked {
        Ok(_) => Ok(out),
        Err(report) => Err(format!("{out}what was written does not load:\n{}", report.render(false))),
    }
}

pub(super) fn run_export(ExportCommand::Cloudfront(args): &ExportCommand) -> ExitCode {
    let site = match config::load(&args.config.config, Clock::system().now(), Making::Pending) {
        Ok(loaded) => loaded.site,
        Err(report) => {
            eprint!("{}", report.render(false));
            return ExitCode::FAILURE;
        }
    };
    let known: Vec<&str> = site.distributions.iter().map(|one| one.id.as_str()).collect();
    let chosen = match (&args.distribution, &known[..]) {
        (Some(id), _) => site.distributions.iter().find(|one| one.id == *id),
        (None, [_]) => site.distributions.first(),
        (None, _) => None,
    };
    let Some(distribution) = chosen else { return fail(&format!("name a distribution with --distribution; known: {}", known.join(", "))) };
    let (json, left) = export::export(&site, distribution);
    println!("{}", serde_json::to_string_pretty(&json).unwrap_or_default());
    left.iter().for_each(|item| eprintln!("foreshore: {item}"));
    ExitCode::SUCCESS
}
