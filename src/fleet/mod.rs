//! The log that a whole fleet follows: its records, and the rules of who gives numbers and who may
//! answer from what it has stored.

pub mod member;
pub mod protocol;
pub mod sequence;
pub mod sequencer;
pub mod status;
pub mod wire;
