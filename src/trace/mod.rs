//! Traces of requests: which trace a request belongs to, the spans of what was done for it, and the
//! form in which a collector takes them (OTLP).
//!
//! No decision about a request reads any of it. What sends the spans is `control/span_export.rs`:
//! it needs a client, which stands higher.

pub mod context;
pub mod live;
pub mod otlp;
pub mod queue;
pub mod span;
