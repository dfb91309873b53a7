//! Names of our own fields: what an edge and its parent say to each other. Each is spelled here
//! alone; `distribution/names.rs` keeps their prefix from being configured.

use http::HeaderName;

/// The name of [`EDGE`] as text, for parsers that compare octets.
pub const EDGE_NAME: &str = "foreshore-edge";

/// The edge that asks, and whose log it goes by: `edge-id/node-id/incarnation`.
pub const EDGE: HeaderName = HeaderName::from_static(EDGE_NAME);

/// The secret that goes with it.
pub const EDGE_TOKEN: HeaderName = HeaderName::from_static("foreshore-edge-token");

/// How a parent came to its answer, and for how long that may be served: `TierFacts`.
pub const TIER: HeaderName = HeaderName::from_static("foreshore-tier");

/// A parent's answer: up to which record of the edge's log, `number:identity`, everything was in
/// effect when it was asked.
pub const APPLIED: HeaderName = HeaderName::from_static("foreshore-applied");
