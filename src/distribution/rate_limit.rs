//! How often one address may ask.

/// How often, for how many at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Microseconds in which one request is earned.
    pub every: u64,
    /// Requests that may come at once.
    pub burst: u64,
}
