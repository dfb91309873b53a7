//! What packages and editors want of the program: completions, manual pages, the schema of a
//! configuration.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, CommandFactory, ValueEnum};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Cli, fail};

/// What `config/package/schema` makes of the tour and the reader; a test keeps it true.
const SCHEMA: &str = include_str!("../../config/foreshore.schema.json");

#[derive(Args)]
pub(super) struct CompletionArgs {
    /// The shell.
    shell: Known,
}

/// Shells that packages have a place for completions of.
#[derive(Clone, Copy, ValueEnum)]
enum Known {
    Bash,
    Zsh,
    Fish,
}

#[derive(Args)]
pub(super) struct ManArgs {
    /// Write the pages of all commands into this folder, which is made; without it the first page is
    /// printed.
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionArgs) -> ExitCode {
    let shell = match args.shell {
        Known::Bash => Shell::Bash,
        Known::Zsh => Shell::Zsh,
        Known::Fish => Shell::Fish,
    };
    let mut made = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "foreshore", &mut made);
    print(&made)
}

pub(super) fn man(args: &ManArgs) -> ExitCode {
    let Some(folder) = &args.out else {
        let mut made = Vec::new();
        let commands = Cli::command().disable_help_subcommand(true);
        return match Man::new(commands).render(&mut made) {
            Ok(()) => print(&made),
            Err(error) => fail(&error.to_string()),
        };
    };
    let written = std::fs::create_dir_all(folder)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), folder));
    match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{}: {error}", folder.display())),
    }
}

pub(super) fn schema() -> ExitCode {
    print(SCHEMA.as_bytes())
}

// A reader that has seen enough is no failure.
fn print(made: &[u8]) -> ExitCode {
    match io::stdout().lock().write_all(made) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => fail(&error.to_string()),
        _ => ExitCode::SUCCESS,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_hold_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_schema_is_json_of_draft_7() {
        let schema: serde_json::Value = serde_json::from_str(SCHEMA).unwrap();
        assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
        assert_eq!(schema["additionalProperties"], false);
    }
}
