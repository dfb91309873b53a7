//! `foreshore store`: what lies on the disk, of a running edge or of its files.

use std::process::ExitCode;
use std::sync::Arc;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::admin_client::{Asker, DoorArgs};
use super::fail;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};
use crate::message::key::InvalidationNumber;
use crate::store::disk::files::Folder;
use crate::store::disk::listing::{Survey, Verified, Which};
use crate::store::disk::load::Doubt;
use crate::store::disk::{Disk, DiskStats};

#[derive(Subcommand)]
pub(super) enum StoreCommand {
    /// How much lies there.
    Stat(StoreArgs),
    /// List responses: key, status, octets, how long they are fresh.
    Ls(StoreArgs),
    /// Remove responses from the files of an edge that does not run; ask a running one with
    /// `foreshore purge`.
    Rm(StoreArgs),
    /// Read everything through and compare checksums; exit 1 if anything is damaged.
    Verify(StoreArgs),
}

#[derive(Args)]
pub(super) struct StoreArgs {
    #[command(flatten)]
    door: DoorArgs,
    /// Only paths that begin so.
    #[arg(long, value_name = "PATH")]
    prefix: Option<String>,
    /// Only responses with this tag.
    #[arg(long, value_name = "TAG")]
    tag: Option<String>,
    /// The most lines.
    #[arg(long, value_name = "N", default_value_t = 1000)]
    max: usize,
}

pub(super) fn store(command: &StoreCommand) -> ExitCode {
    let (StoreCommand::Stat(args)
    | StoreCommand::Ls(args)
    | StoreCommand::Rm(args)
    | StoreCommand::Verify(args)) = command;
    let which = Which { prefix: args.prefix.clone(), tag: args.tag.clone(), max: Some(args.max) };
    let done = if args.door.admin.is_some() {
        online(command, args, &which)
    } else {
        offline(command, args, &which)
    };
    done.unwrap_or_else(|why| fail(&why))
}

// Asks a running edge.
fn online(command: &StoreCommand, args: &StoreArgs, which: &Which) -> Result<ExitCode, String> {
    let asker = Asker::new(&args.door)?;
    let ask = |method: &str, path: &str, body: Value| asker.ask(method, path, body.to_string());
    let read = |error: serde_json::Error| format!("the answer is not as expected: {error}");
    match command {
        StoreCommand::Stat(_) => {
            show_stat(&serde_json::from_value(ask("GET", "/v1/store", json!({}))?).map_err(read)?)
        }
        StoreCommand::Ls(_) => {
            let which = serde_json::to_value(which).map_err(read)?;
            show_rows(
                &serde_json::from_value(ask("POST", "/v1/store/list", which)?).map_err(read)?,
            );
        }
        StoreCommand::Rm(_) => return Err("a running edge removes with `foreshore purge`".into()),
        StoreCommand::Verify(_) => {
            return Ok(show_verified(
                serde_json::from_value(ask("POST", "/v1/store/verify", json!({}))?)
                    .map_err(read)?,
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

// Looks at the files, which no edge may have open.
fn offline(command: &StoreCommand, args: &StoreArgs, which: &Which) -> Result<ExitCode, String> {
    let loaded =
        config::load(&args.door.config.config, Clock::system().now(), MissingCertificates::Pending)
            .map_err(|report| report.render(false))?;
    let settings =
        loaded.site.store.disk.clone().ok_or("this configuration has no [store.disk]")?;
    let path = settings.path.display().to_string();
    if !settings.path.exists() {
        return Err(format!("{path} does not exist: nothing was stored yet"));
    }
    let opened = Folder::open(&settings.path).and_then(|folder| {
        Disk::open(Box::new(folder), settings, InvalidationNumber(u64::MAX), Doubt::Refuse)
    });
    let disk: Arc<Disk> = opened.map_err(|error| {
        format!("{path}: {error}; is the edge running? then ask it, with --admin HOST:PORT")
    })?;
    disk.load();
    match command {
        StoreCommand::Stat(_) => show_stat(&disk.stats()),
        StoreCommand::Ls(_) => show_rows(&disk.survey(which)?),
        StoreCommand::Rm(_) => println!("{} removed", disk.remove(which)?),
        StoreCommand::Verify(_) => return Ok(show_verified(disk.verify())),
    }
    Ok(ExitCode::SUCCESS)
}

fn show_stat(stats: &DiskStats) {
    let percent = stats.bytes * 100 / stats.limit.max(1);
    println!(
        "{} responses in {} files, {} of {} octets ({percent} %)",
        stats.objects, stats.segments, stats.bytes, stats.limit
    );
    println!(
        "index: {} octets of memory; waiting to be written: {} octets",
        stats.index_bytes, stats.waiting
    );
    if !stats.is_loaded {
        println!("still being loaded");
    }
    if !stats.is_writing {
        println!("not written to at the moment: the disk failed, see the log");
    }
}

fn show_rows(survey: &Survey) {
    for row in &survey.rows {
        println!(
            "{}  {}  {}  {}s  {}",
            row.status,
            row.body,
            crate::semantics::time::format_rfc3339(crate::semantics::time::Timestamp(row.born)),
            row.fresh / 1000,
            row.key
        );
    }
    let left = survey.count.saturating_sub(survey.rows.len() as u64);
    if left > 0 {
        eprintln!("and {left} more; --max shows them");
    }
}

fn show_verified(verified: Verified) -> ExitCode {
    println!("{} whole, {} damaged", verified.whole, verified.damaged);
    if verified.damaged == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
