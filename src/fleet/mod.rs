//! The log that a whole fleet follows: its records, and the rules of who gives numbers and who may
//! answer from what it has stored. Nothing here does I/O or reads a clock.

pub mod member;
pub mod protocol;
pub mod sequencer;
pub mod wire;
