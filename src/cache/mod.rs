//! Decisions about caching, and nothing but decisions: what the key is, what a stored response is
//! worth, what an arriving one is worth, what an invalidation covers, which request fetches for
//! which others.

pub mod arrival;
pub mod ask;
pub mod collapses;
pub mod invalidations;
pub mod lookup;
pub mod purged;
pub mod slice;
pub mod ttl;
pub mod unsafe_methods;
