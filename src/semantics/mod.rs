//! What HTTP says: dates, directives, freshness, validators, ranges, and the arithmetic on them.
//!
//! Everything here is a function of its arguments. Nothing knows a store, a socket, a policy or
//! what time it is; each branch that exists because of a rule names the section it comes from.

pub mod cache_control;
pub mod cache_status;
pub mod coding;
pub mod device;
pub mod digests;
pub mod fields;
pub mod form;
pub mod forwarded;
pub mod freshness;
pub mod grpc;
pub mod hop_by_hop;
pub mod lists;
pub mod merge;
pub mod ranges;
pub mod structured;
pub mod time;
pub mod trailers;
pub mod validators;
pub mod vary;
pub mod websocket;
