//! Lambda@Edge functions as a configuration names them (`[lambda.NAME]`): the code, what runs it, and
//! what it is held to.

use std::path::PathBuf;
use std::time::Duration;

/// What of `memory` and `timeout` Lambda@Edge takes for a function at a viewer event.
pub const VIEWER_MEMORY: u64 = 128 << 20;
/// The same for its time.
pub const VIEWER_TIMEOUT: Duration = Duration::from_secs(5);
/// What it takes of `timeout` at an origin event.
pub const ORIGIN_TIMEOUT: Duration = Duration::from_secs(30);
/// Octets of a zip at a viewer event.
pub const VIEWER_CODE: u64 = 1 << 20;
/// Octets of a zip at an origin event.
pub const ORIGIN_CODE: u64 = 50 << 20;

/// A language and its version, as `nodejs20.x` and `python3.11` name them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LambdaRuntime {
    /// `nodejs18.x` and so on, by its major version.
    Node(u16),
    /// `python3.11` and so on, by its minor version.
    Python(u16),
}

impl LambdaRuntime {
    /// Reads one of AWS's identifiers.
    pub fn from_name(name: &str) -> Option<Self> {
        let node = name.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x"));
        if let Some(version) = node {
            return version.parse().ok().map(Self::Node);
        }
        name.strip_prefix("python3.")?.parse().ok().map(Self::Python)
    }

    /// The identifier.
    pub fn name(self) -> String {
        match self {
            Self::Node(major) => format!("nodejs{major}.x"),
            Self::Python(minor) => format!("python3.{minor}"),
        }
    }

    /// Programs that are looked for on `PATH`, the best one first.
    pub fn programs(self) -> Vec<String> {
        match self {
            Self::Node(_) => vec!["node".into()],
            Self::Python(minor) => vec![format!("python3.{minor}"), "python3".into()],
        }
    }
}

/// Which client of the Lambda Runtime API a worker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum LambdaClient {
    /// The one in this program.
    #[default]
    Own,
    /// `python -m awslambdaric`, which must be installed; Python only.
    Official,
}

/// Whether code may reach the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Network {
    #[default]
    Allow,
    /// A network namespace without any interface.
    None,
}

/// Whether a function must keep to what Lambda@Edge takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum LambdaLimits {
    #[default]
    LambdaAtEdge,
    None,
}

/// Workers of one function at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Workers {
    pub min: usize,
    pub max: usize,
}

/// A Lambda@Edge function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LambdaSpec {
    pub name: Box<str>,
    /// A zip, or a folder that is used in place.
    pub code: PathBuf,
    /// `folder/file.export`.
    pub handler: Box<str>,
    pub runtime: LambdaRuntime,
    /// What to run; found on `PATH` if absent.
    pub program: Option<PathBuf>,
    pub client: LambdaClient,
    /// Octets that a worker may have resident.
    pub memory: u64,
    /// How long a call may take.
    pub timeout: Duration,
    pub workers: Workers,
    /// What the code finds in its environment beside Lambda's own. May hold what is secret.
    pub environment: Environment,
    pub network: Network,
    /// The user that workers run as, by name; the edge's own if absent.
    pub user: Option<Box<str>>,
    pub limits: LambdaLimits,
}

/// Variables for a worker, in order. Their values are never shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Environment(pub Vec<(String, String)>);

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_have_awss_names() {
        for (name, runtime) in [
            ("nodejs18.x", Some(LambdaRuntime::Node(18))),
            ("nodejs20.x", Some(LambdaRuntime::Node(20))),
            ("python3.11", Some(LambdaRuntime::Python(11))),
            ("python2.7", None),
            ("nodejs20", None),
            ("nodejs.x", None),
            ("go1.x", None),
        ] {
            assert_eq!(LambdaRuntime::from_name(name), runtime, "{name}");
            if let Some(runtime) = runtime {
                assert_eq!(runtime.name(), name);
            }
        }
    }

    #[test]
    fn values_of_the_environment_are_not_shown() {
        let environment = Environment(vec![("KEY".into(), "hush".into())]);
        let shown = format!("{environment:?}");
        assert!(shown.contains("KEY") && !shown.contains("hush"), "{shown}");
    }
}
