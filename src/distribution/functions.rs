//! Edge functions as a configuration names them: the code, its language level, what it may use, and
//! the four places of a behavior where code can stand.

use std::sync::Arc;
use std::time::Duration;

/// The language that a CloudFront Function is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// `cloudfront-js-1.0`: ECMAScript 5.1 and a little of what came later.
    Js1,
    /// `cloudfront-js-2.0`.
    Js2,
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
