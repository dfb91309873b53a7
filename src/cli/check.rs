//! `foreshore check`: every mistake at once.

use std::io::IsTerminal;
use std::process::ExitCode;

use super::ConfigArgs;
use crate::clock::Clock;
use crate::config::{self, MissingCertificates};

pub(super) fn check(args: &ConfigArgs) -> ExitCode {
    match config::load(&args.config, Clock::system().now(), MissingCertificates::Pending) {
        Err(report) => {
            eprint!("{}", report.render(std::io::stderr().is_terminal()));
            ExitCode::FAILURE
        }
        Ok(loaded) => {
            let site = loaded.site;
            let count =
                |n: usize, word: &str| format!("{n} {word}{}", if n == 1 { "" } else { "s" });
            println!(
                "{} is fine: {}, {}, {}",
                args.config.display(),
                count(site.distributions.len(), "distribution"),
                count(site.behaviors, "behavior"),
                count(site.certificates.len(), "certificate")
            );
            for warning in &site.warnings {
                println!("warning: {warning}");
            }
            for remark in &site.remarks {
                println!("note: {remark}");
            }
            ExitCode::SUCCESS
        }
    }
}
