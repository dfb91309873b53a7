//! What every room may hold, whatever it is about: secrets, networks of addresses,
//! and memory that is used again.

pub mod network;
pub mod secret;
pub mod spare;
