//! TLS, as both sides of it and the configuration need it: certificates and their keys, which of
//! them a viewer is shown, tickets, fingerprints, the name that an origin has to prove, and the one
//! that an edge may have to.

pub mod certified;
pub mod client;
pub mod clients;
pub mod development;
pub mod fingerprint;
pub mod interim;
pub mod server;
pub mod sni;
pub mod ticket_keys;
pub mod tickets;
pub mod viewer_rule;
pub mod wrapping;
