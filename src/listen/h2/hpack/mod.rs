//! Pure: HPACK (RFC 7541), fields of HTTP/2 heads as octets, both ways.
//!
//! The decoder keeps the dynamic table that viewers fill; the encoder keeps none, because our
//! answers differ in their ages and tags and would only churn it. Neither knows what a field means.

pub mod block;
pub mod decode;
pub mod encode;
pub mod huffman;
pub mod table;

/// A header block that cannot be read; the connection's state is lost with it (RFC 9113 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadBlock(pub &'static str);

/// Octets that a field counts beyond its name and value (RFC 7541 §4.1, RFC 9113 §6.5.2).
pub const FIELD_OVERHEAD: usize = 32;
