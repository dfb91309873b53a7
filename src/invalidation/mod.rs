//! What was made old: the durable log of invalidations, and what identifies a place in it.

pub mod chain;
pub mod log;
