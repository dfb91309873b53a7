//! The log that a whole fleet follows: its records, and the rules of which node gives numbers and
//! which members may answer from what they have stored.

mod follow;
pub mod member;
pub mod node;
pub mod protocol;
pub mod restore;
pub mod sequence;
pub mod sequencer;
pub mod settle;
pub mod status;
pub mod wire;
