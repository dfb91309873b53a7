//! Other people's tools that tests call. A missing one skips its test with a line that names it;
//! where everything is to be there, as in CI, it fails the test.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Set to `all`, a missing tool fails the test that needs it. `tests/run` sets it after
/// `tests/install`.
const DEMAND: &str = "FORESHORE_TOOLS";

/// What a test may need beside cargo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tool {
    /// A program in PATH.
    Program(&'static str),
    /// A program that `tests/install` puts beside its own Python: `aws`, `s3cmd`.
    Installed(&'static str),
    /// A module of that Python.
    Module(&'static str),
    /// A package for node, and node itself.
    Package(&'static str),
}

pub const CURL: Tool = Tool::Program("curl");
pub const OPENSSL: Tool = Tool::Program("openssl");

impl Tool {
    const fn name(self) -> &'static str {
        match self {
            Self::Program(name)
            | Self::Installed(name)
            | Self::Module(name)
            | Self::Package(name) => name,
        }
    }

    fn is_there(self) -> bool {
        match self {
            Self::Program(name) => in_path(name),
            Self::Installed(name) => folder().join("python/bin").join(name).is_file(),
            Self::Module(name) => {
                let python = Command::new(folder().join("python/bin/python"))
                    .args(["-c", &format!("import {name}")])
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    .stderr(Stdio::null())
                    .status();
                python.is_ok_and(|status| status.success())
            }
            Self::Package(name) => {
                in_path("node") && folder().join("node/node_modules").join(name).is_dir()
            }
        }
    }
}

/// Where `tests/install` puts what the system has no package for.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools")
}

fn in_path(name: &str) -> bool {
    std::env::var_os("PATH")
        .is_some_and(|path| std::env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}

/// Says whether a test can run. If not, it should return at once: its line has been written, or it
/// has failed here.
#[must_use]
pub fn have(tools: &[Tool]) -> bool {
    let missing: Vec<&str> =
        tools.iter().filter(|tool| !tool.is_there()).map(|tool| tool.name()).collect();
    if missing.is_empty() {
        return true;
    }
    let test = std::thread::current().name().unwrap_or("a test").to_string();
    let missing = missing.join(", ");
    assert!(
        std::env::var_os(DEMAND).is_none_or(|value| value != "all"),
        "{test} needs {missing}, and {DEMAND}=all: run tests/install"
    );
    // Not by a macro: the test program keeps back what those print for tests that pass.
    let _ = writeln!(std::io::stderr(), "skipped: {test} needs {missing} (tests/install)");
    false
}

#[test]
fn a_tool_is_there_where_it_can_be_found() {
    assert!(Tool::Program("cargo").is_there() || Tool::Program("sh").is_there());
    for tool in [
        Tool::Program("no-such-tool"),
        Tool::Installed("no-such-tool"),
        Tool::Module("no_such_tool"),
        Tool::Package("no-such-tool"),
    ] {
        assert!(!tool.is_there(), "{tool:?}");
    }
}
