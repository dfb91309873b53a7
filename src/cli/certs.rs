//! `foreshore certs dev`: a local CA, and certificates under it, for development and tests only.
//! `foreshore certs list`: the certificates of a running edge.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;
use serde_json::Value;

use super::admin_client::{Asker, DoorArgs};
use super::fail;
use crate::clock::Clock;
use crate::config::WantedCertificate;
use crate::tls::development::{self, Place};

#[derive(Subcommand)]
pub(super) enum CertsCommand {
    /// A local CA, made once, and a certificate for the given names under it.
    #[command(
        after_help = "Example:\n  foreshore certs dev www.example.com '*.example.com' 127.0.0.1\n\n\
        writes www.example.com.pem and .key beside ca.pem. Tell clients to trust ca.pem: curl --cacert certs/dev/ca.pem …"
    )]
    Dev {
        /// Host names, wildcards and addresses; the first one names the files.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// The folder for the CA and the certificates.
        #[arg(long, value_name = "FOLDER", default_value = "certs/dev")]
        out: PathBuf,
    },
    /// The certificates of a running edge: until when they hold, and how those stand that it orders.
    List {
        #[command(flatten)]
        door: DoorArgs,
    },
}

// Asks the edge how its certificates stand.
fn list(args: &DoorArgs) -> Result<(), String> {
    let answer = Asker::new(args)?.ask("GET", "/v1/status", String::new())?;
    let rows = |key: &str| answer[key].as_array().cloned().unwrap_or_default();
    for row in rows("certificates") {
        println!("{}", line(&row));
    }
    for row in rows("acme") {
        println!("{}", ordered(&row));
    }
    Ok(())
}

fn names(row: &Value) -> String {
    let names = row["names"].as_array().into_iter().flatten().filter_map(Value::as_str);
    names.collect::<Vec<_>>().join(", ")
}

// One that is served: its names, its end, its file.
fn line(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_string();
    format!("{}  until {}  {}", names(row), text("expires"), text("file"))
}

// One that is ordered: how it stands, what comes next, and what went wrong last.
fn ordered(row: &Value) -> String {
    let text = |key: &str| row[key].as_str().unwrap_or("-").to_string();
    let mut line = format!(
        "{}  {} by {} of {}  until {}  next {}",
        names(row),
        text("state"),
        text("challenge"),
        text("directory"),
        text("expires"),
        text("next")
    );
    if let Some(orderer) = row["orderer"].as_str() {
        line += &format!("  ordered by {orderer}");
    }
    if let Some(error) = row["last_error"].as_str() {
        line += &format!("\n    failed {} times in a row: {error}", row["failures"]);
        if let Some(at) = row["after_reload"].as_str() {
            line += &format!("\n    once that is mended, a reload has it tried again from {at} on");
        }
    }
    line
}

pub(super) fn certs(command: &CertsCommand) -> ExitCode {
    let (names, out) = match command {
        CertsCommand::Dev { names, out } => (names, out),
        CertsCommand::List { door } => {
            return match list(door) {
                Ok(()) => ExitCode::SUCCESS,
                Err(why) => fail(&why),
            };
        }
    };
    let stem = names[0].replace('*', "_").replace(':', "-");
    let wanted = WantedCertificate {
        chain: out.join(format!("{stem}.pem")),
        key: out.join(format!("{stem}.key")),
        names: names.clone(),
    };
    match make(&wanted) {
        Ok(()) => {
            println!(
                "{}\n{}\nsigned by {}",
                wanted.chain.display(),
                wanted.key.display(),
                out.join("ca.pem").display()
            );
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

/// Makes a certificate under the CA that lies beside it; the CA is made if there is none.
pub(super) fn make(wanted: &WantedCertificate) -> Result<(), String> {
    let place = Place { chain: wanted.chain.clone(), key: wanted.key.clone() };
    development::make(&place, &wanted.names, Clock::system().now())
}
