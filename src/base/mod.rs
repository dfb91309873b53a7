//! What every room may hold, whatever it is about: secrets, networks of addresses, numbers and
//! addresses as text, and memory that is used again.

pub mod address;
pub mod digits;
pub mod network;
pub mod secret;
pub mod spare;
