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
    /// A call that a core has run for longer is stopped.
    pub stop: Duration,
    /// What counts as 100 percent of compute utilisation.
    pub budget: Duration,
    /// Octets above what the realm holds when a call begins.
    pub memory: usize,
    /// So long a function is not run after ten failures in a row; zero: never.
    pub throttle: Duration,
    /// Octets of results of calls that each core remembers, for calls that are told the same; zero:
    /// every call runs.
    pub remember: usize,
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
    /// A cgroup that workers of lambdas get their own below.
    pub cgroup: Option<PathBuf>,
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
            cgroup: None,
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
            remember: 4 << 20,
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

impl LambdaRuntime {
    /// The runtime of a word.
    ///
    /// # Errors
    ///
    /// If Lambda@Edge runs no such thing: what it runs.
    pub fn of(word: &str) -> Result<Self, String> {
        let number = |text: Option<&str>| text.and_then(|digits| digits.parse::<u16>().ok());
        let node = word.strip_prefix("nodejs").and_then(|rest| rest.strip_suffix(".x"));
        if let Some(major) = number(node).filter(|major| (18..=99).contains(major)) {
            return Ok(Self::Node(major));
        }
        if let Some(minor) = number(word.strip_prefix("python3.")).filter(|minor| *minor >= 9) {
            return Ok(Self::Python(minor));
        }
        Err("Lambda@Edge runs \"nodejs18.x\" and later, and \"python3.9\" and later".into())
    }
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

/// The ARN of a lambda or of one version of it:
/// `arn:aws:lambda:<region>:<account>:function:NAME[:VERSION]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LambdaArn<'a> {
    /// All of it but the version.
    pub function: &'a str,
    pub name: &'a str,
    pub version: Option<&'a str>,
}

impl<'a> LambdaArn<'a> {
    /// Reads an ARN; `None` for everything else.
    pub fn read(arn: &'a str) -> Option<Self> {
        let mut parts = arn.strip_prefix("arn:aws:lambda:")?.splitn(5, ':');
        let (region, account, word) = (parts.next()?, parts.next()?, parts.next()?);
        let (name, version) = (parts.next()?, parts.next());
        let is_plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        let is_name =
            |text: &str| !text.is_empty() && text.len() <= 64 && text.bytes().all(is_plain);
        let is_good = word == "function"
            && !region.is_empty()
            && !account.is_empty()
            && is_name(name)
            && version.is_none_or(|version| version == "$LATEST" || is_name(version));
        let function = match version {
            Some(version) => &arn[..arn.len() - version.len() - 1],
            None => arn,
        };
        is_good.then_some(Self { function, name, version })
    }

    /// Says whether it is one of a numbered version, as CloudFront wants them.
    pub fn is_numbered(&self) -> bool {
        self.version.is_some_and(|version| version.bytes().all(|b| b.is_ascii_digit()))
    }
}

/// The lambda that an ARN means: one that says so (`arn`), of any version if it names none, or else
/// the one of its name.
pub fn lambda_of(lambdas: &[LambdaSpec], arn: &str) -> Option<usize> {
    let read = LambdaArn::read(arn)?;
    let says_so = |own: &str| own == arn || own == read.function;
    let by_arn = lambdas.iter().position(|known| known.arn.as_deref().is_some_and(says_so));
    by_arn
        .or_else(|| lambdas.iter().position(|known| known.arn.is_none() && known.name == read.name))
}

/// A Lambda@Edge function.
#[derive(Clone, PartialEq, Eq)]
pub struct LambdaSpec {
    pub name: String,
    /// What documents of CloudFront call it; `None`: by its name.
    pub arn: Option<String>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runtimes_are_those_of_lambda_at_edge() {
        assert_eq!(LambdaRuntime::of("nodejs20.x"), Ok(LambdaRuntime::Node(20)));
        assert_eq!(LambdaRuntime::of("python3.11"), Ok(LambdaRuntime::Python(11)));
        assert_eq!(LambdaRuntime::Node(22).to_string(), "nodejs22.x");
        for bad in ["nodejs16.x", "nodejs20", "python2.7", "python3.8", "java21", ""] {
            assert!(LambdaRuntime::of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_arn_is_one_of_a_lambda_and_perhaps_of_a_version() {
        let arn = "arn:aws:lambda:us-east-1:000000000177:function:resize:3";
        let read = LambdaArn::read(arn).unwrap();
        assert_eq!((read.name, read.version), ("resize", Some("3")));
        assert_eq!(read.function, "arn:aws:lambda:us-east-1:000000000177:function:resize");
        assert!(read.is_numbered());
        let whole = LambdaArn::read(read.function).unwrap();
        assert_eq!((whole.function, whole.version), (read.function, None));
        assert!(!whole.is_numbered());
        let latest = format!("{}:$LATEST", read.function);
        assert!(!LambdaArn::read(&latest).unwrap().is_numbered());
        for bad in [
            "resize",
            "arn:aws:lambda:us-east-1:1:function:",
            "arn:aws:lambda:us-east-1:1:function:a:",
            "arn:aws:lambda:us-east-1:1:function:a:1:2",
            "arn:aws:lambda:us-east-1:1:layer:a:1",
            "arn:aws:cloudfront::000000000177:function/index",
        ] {
            assert_eq!(LambdaArn::read(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_arn_means_the_lambda_that_says_so_before_one_of_its_name() {
        let spec = |name: &str, arn: Option<&str>| LambdaSpec {
            name: name.into(),
            arn: arn.map(str::to_string),
            code: PathBuf::new(),
            handler: "index.handler".into(),
            runtime: LambdaRuntime::Node(20),
            program: None,
            client: LambdaClient::Own,
            memory: 0,
            timeout: Duration::ZERO,
            workers: (0, 1),
            environment: Vec::new(),
            network: LambdaNetwork::Allow,
            user: None,
            limits: LambdaLimits::AtEdge,
        };
        let of = |name: &str| format!("arn:aws:lambda:us-east-1:1:function:{name}");
        let all = [spec("a", None), spec("b", Some(&of("a"))), spec("c", Some(&(of("d") + ":2")))];
        assert_eq!(lambda_of(&all[..1], &(of("a") + ":7")), Some(0));
        assert_eq!(lambda_of(&all, &(of("a") + ":7")), Some(1));
        assert_eq!(lambda_of(&all, &(of("d") + ":2")), Some(2));
        // Of another version, and by a name that another ARN stands for.
        assert_eq!(lambda_of(&all, &(of("d") + ":3")), None);
        assert_eq!(lambda_of(&all, &(of("c") + ":1")), None);
        assert_eq!(lambda_of(&all, "a"), None);
    }
}
