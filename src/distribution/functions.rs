//! Edge functions as a configuration names them: the code, its language level, what it may use, and
//! the four places of a behavior where code can stand.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::logs::LogSettings;

/// The language that a CloudFront Function is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// `cloudfront-js-1.0`: ECMAScript 5.1 and a little of what came later.
    Js1,
    /// `cloudfront-js-2.0`.
    Js2,
}

impl Runtime {
    /// CloudFront's word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Js1 => "cloudfront-js-1.0",
            Self::Js2 => "cloudfront-js-2.0",
        }
    }

    /// The runtime of a word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Js1, Self::Js2].into_iter().find(|one| one.word() == word)
    }
}

/// Where the code of a function is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kept {
    /// A file that the configuration names.
    File,
    /// It was published by the API.
    Api,
    /// Nowhere: the configuration names a function that the API does not have. Each call fails.
    Nowhere,
}

/// Whether code must keep to what CloudFront's own engine takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Level {
    #[default]
    CloudFront,
    /// Whatever our engine takes, for functions that never go to AWS.
    Any,
}

/// A CloudFront Function, ready to be compiled by each core.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: Box<str>,
    pub runtime: Runtime,
    pub level: Level,
    /// After the replacements that the configuration asks for.
    pub source: Arc<str>,
    /// SHA-256 of runtime, level and source: what compiled code is kept by.
    pub digest: [u8; 32],
    /// The key value store that its code may read, as a place in `Site::stores`.
    pub store: Option<usize>,
    pub kept: Kept,
}

/// What every CloudFront Function is held to (`[functions]`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FunctionLimits {
    /// A call that runs longer is stopped.
    pub stop: Duration,
    /// What counts as 100 percent of compute utilisation.
    pub budget: Duration,
    /// Octets above what the realm holds when a call begins.
    pub memory: usize,
    /// So long a function is not run after ten failures in a row; zero: never.
    pub throttle: Duration,
}

/// One place of a behavior: what stands there, as a place in `Site::functions` or `Site::lambdas`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attached {
    Function(usize),
    Lambda { at: usize, with_body: bool },
}

/// The places where a behavior's own code stands. A behavior without any has no `Hooks` at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hooks {
    pub viewer_request: Option<Attached>,
    pub viewer_response: Option<Attached>,
    pub origin_request: Option<Attached>,
    pub origin_response: Option<Attached>,
}

impl Hooks {
    /// Says whether nothing stands at any place.
    pub const fn is_empty(&self) -> bool {
        self.viewer_request.is_none()
            && self.viewer_response.is_none()
            && self.origin_request.is_none()
            && self.origin_response.is_none()
    }

    /// What stands at each place that has something, in the order in which a request visits them.
    pub fn attached(&self) -> impl Iterator<Item = Attached> {
        [self.viewer_request, self.origin_request, self.origin_response, self.viewer_response]
            .into_iter()
            .flatten()
    }
}

/// Which origins code may choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Choosable {
    /// Any host that can be reached.
    #[default]
    Any,
    /// Those of its distribution, and names that `[origin_names]` maps.
    Declared,
}

/// Whether an origin that viewer-request code chose is a part of the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum OriginInKey {
    /// As CloudFront has it: two viewers may share an answer though they were sent to different
    /// origins.
    #[default]
    No,
    Yes,
}

/// `[functions]`: what all edge functions of a site are held to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSettings {
    pub limits: FunctionLimits,
    /// What code has to keep to that comes by a file or by the API.
    pub level: Level,
    /// Where the lines go that code writes.
    pub log: LogSettings,
    pub origins: Choosable,
    pub origin_in_key: OriginInKey,
    /// Requests that wait for a worker, over all lambdas.
    pub sleepers: usize,
}

impl Default for FunctionSettings {
    fn default() -> Self {
        Self {
            limits: FunctionLimits::default(),
            level: Level::default(),
            log: LogSettings::Stdout,
            origins: Choosable::default(),
            origin_in_key: OriginInKey::default(),
            sleepers: 256,
        }
    }
}

impl Default for FunctionLimits {
    fn default() -> Self {
        Self {
            stop: Duration::from_millis(10),
            budget: Duration::from_millis(1),
            memory: 2 << 20,
            throttle: Duration::from_secs(1),
        }
    }
}

/// What runs the code of a lambda.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LambdaRuntime {
    /// `nodejs20.x`: the major version.
    Node(u16),
    /// `python3.11`: the minor version.
    Python(u16),
}

impl std::fmt::Display for LambdaRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Node(major) => write!(f, "nodejs{major}.x"),
            Self::Python(minor) => write!(f, "python3.{minor}"),
        }
    }
}

/// Which client of the Lambda Runtime API a lambda's workers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LambdaClient {
    /// The one that is a part of this program.
    #[default]
    Own,
    /// AWS's own for Python, `awslambdaric`, which has to be installed.
    Official,
}

/// Whether a lambda's code reaches the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LambdaNetwork {
    #[default]
    Allow,
    None,
}

/// Whether a lambda is held to what Lambda@Edge allows at the events that it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LambdaLimits {
    #[default]
    AtEdge,
    None,
}

/// A Lambda@Edge function.
#[derive(Clone, PartialEq, Eq)]
pub struct LambdaSpec {
    pub name: String,
    /// A zip or a folder.
    pub code: PathBuf,
    /// `index.handler`: a file without its ending, and what it exports.
    pub handler: String,
    pub runtime: LambdaRuntime,
    /// What runs it; `None`: found on PATH.
    pub program: Option<PathBuf>,
    pub client: LambdaClient,
    /// Octets.
    pub memory: u64,
    pub timeout: Duration,
    /// The least and the most worker processes.
    pub workers: (usize, usize),
    pub environment: Vec<(String, String)>,
    pub network: LambdaNetwork,
    /// Whom the workers run as; `None`: whom the edge runs as.
    pub user: Option<String>,
    pub limits: LambdaLimits,
}

// Its environment often holds secrets: names are enough.
impl std::fmt::Debug for LambdaSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("LambdaSpec")
            .field("name", &self.name)
            .field("code", &self.code)
            .field("handler", &self.handler)
            .field("runtime", &self.runtime)
            .field("environment", &names)
            .finish_non_exhaustive()
    }
}
