//! A distribution that is tried out on some of another's viewers (CloudFront's continuous
//! deployment).

use crate::base::share::Share;

/// How a primary distribution shares its viewers with a staging one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staging {
    /// Index of the staging distribution.
    pub distribution: usize,
    pub chosen: Chosen,
    /// Tells one deployment's sessions from another's.
    pub mark: String,
}

/// Which viewers see the staging distribution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chosen {
    ByHeader {
        name: http::HeaderName,
        value: String,
    },
    ByWeight {
        share: Share,
        sticky: Option<Sticky>,
    },
    /// All viewers: it was promoted.
    Promoted,
}

/// How long a viewer stays on its side, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sticky {
    /// Seconds without a request.
    pub idle: u64,
    /// Seconds altogether.
    pub most: u64,
}
