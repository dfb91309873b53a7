//! The log that a whole fleet follows: its records, and the rules of which node gives numbers and
//! which members may answer from what they have stored.

pub mod calls;
mod follow;
pub mod here;
pub mod issuing;
pub mod journal;
pub mod keep;
pub mod keeper;
mod learn;
pub mod ledger;
pub mod member;
pub mod node;
pub mod protocol;
pub mod remote;
mod rest;
pub mod restore;
pub mod sequence;
pub mod sequencer;
pub mod settle;
pub mod status;
pub mod ticket_keys;
pub mod wire;
pub mod writer;
