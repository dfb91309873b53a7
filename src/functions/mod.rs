//! CloudFront Functions: the engine that runs them, the check of their language level, what they are
//! told and what they may change.

#[cfg(feature = "functions")]
pub mod engine;
pub mod event;
pub mod event_json;
pub mod level;
pub mod origins;
pub mod rules;
pub mod test_event;
pub mod values;
