//! CloudFront Functions: the engine that runs them, the check of their language level, what they are
//! told and what they may change.

pub mod event;
pub mod origins;
pub mod rules;
