//! What every room may hold, whatever it is about: secrets, and networks of addresses.

pub mod network;
pub mod secret;
