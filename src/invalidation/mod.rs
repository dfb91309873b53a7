//! What was made old: the one way to do so, the durable log of it, and what identifies a place in
//! that log.

pub mod chain;
mod compaction;
pub mod frames;
pub mod log;
pub mod record;
pub mod service;
pub mod sweep;
