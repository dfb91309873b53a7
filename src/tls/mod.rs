//! TLS, as both sides of it and the configuration need it.

pub mod certified;
