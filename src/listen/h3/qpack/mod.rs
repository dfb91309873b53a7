//! Pure: QPACK (RFC 9204) without a dynamic table: fields of HTTP/3 heads as octets, both ways.
//!
//! We allow viewers no table and use none of theirs, so that each field section stands for itself:
//! no stream waits for another, and there is no state that a viewer could blow up.

pub mod block;
pub mod decode;
pub mod encode;
pub mod table;
