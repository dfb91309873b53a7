//! Names of our own fields (what an edge and its parent say to each other), and those by which an
//! edge goes in the fields of others. Each is spelled here alone; `distribution/names.rs` keeps
//! their prefix from being configured.

use http::HeaderName;

use crate::semantics::fields::Marks;

/// The name by which an edge goes in Via (RFC 9110 §7.6.3).
pub const NAME: &str = "foreshore";

/// What stands before a node's id in CDN-Loop (RFC 8586 §2), and in Via where a tier has several.
pub const NODE_PREFIX: &str = "foreshore-";

/// What an edge adds to Via of an answer: the version it was received in, and its name.
pub const VIA: &str = "1.1 foreshore";

/// The name of [`EDGE`] as text, for parsers that compare octets.
pub const EDGE_NAME: &str = "foreshore-edge";

/// The name by which a tier that the fleet shares goes in Cache-Status.
pub const SHARED_TIER: &str = "Foreshore-tier";

/// The edge that asks, with the node and the incarnation whose log it goes by:
/// `edge-id/node-id/incarnation`.
pub const EDGE: HeaderName = HeaderName::from_static(EDGE_NAME);

/// The secret that goes with it.
pub const EDGE_TOKEN: HeaderName = HeaderName::from_static("foreshore-edge-token");

/// Beside them, from a member of a fleet to its sequencer: how long its leases are, in milliseconds.
pub const LEASE: HeaderName = HeaderName::from_static("foreshore-lease");

const TIER_NAME: &str = "foreshore-tier";
const APPLIED_NAME: &str = "foreshore-applied";

/// How a parent came to its answer, and for how long that may be served: `TierFacts`.
pub const TIER: HeaderName = HeaderName::from_static(TIER_NAME);

/// A parent's answer: up to which record of the edge's log, `number:identity`, everything was in
/// effect when it was asked.
pub const APPLIED: HeaderName = HeaderName::from_static(APPLIED_NAME);

/// The marks of both: the answers of origins have neither.
pub const OF_TIERS: Marks = Marks::of(&[TIER_NAME, APPLIED_NAME]);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_names_are_made_of_one() {
        assert_eq!((NODE_PREFIX, VIA), (&*format!("{NAME}-"), &*format!("1.1 {NAME}")));
        for field in [EDGE, EDGE_TOKEN, LEASE, TIER, APPLIED] {
            assert!(field.as_str().starts_with(NODE_PREFIX), "{field}");
        }
    }
}
