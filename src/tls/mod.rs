//! TLS, as both sides of it and the configuration need it: certificates and their keys, which of
//! them a viewer is shown, tickets, fingerprints, who an origin has to prove to be, and who an edge
//! may.

pub mod certified;
pub mod client;
pub mod clients;
pub mod fingerprint;
pub mod server;
pub mod sni;
pub mod tickets;
