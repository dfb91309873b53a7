//! What every room may hold, whatever it is about: secrets, networks of addresses, numbers and
//! addresses as text, names in any case, sets of octets, shares of all, futures on the heap, what errors say of descriptors, and
//! memory that is used again.

pub mod address;
pub mod boxed;
pub mod descriptors;
pub mod digits;
pub mod fold;
pub mod free_list;
pub mod network;
pub mod octets;
pub mod secret;
pub mod share;
pub mod spare;
