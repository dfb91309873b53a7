//! Pure: the fields that edge functions may not touch (CloudFront: "Restrictions on all edge
//! functions").

use crate::functions::event::Place;
use crate::message::own_fields::NODE_PREFIX;

/// Fields that code does not see, and must not add.
const DISALLOWED: [&str; 17] = [
    "connection",
    "expect",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "trailer",
    "upgrade",
    "x-amzn-errortype",
    "x-amzn-fle-profile",
    "x-amzn-header-count",
    "x-amzn-header-order",
    "x-amzn-lambda-integration-tag",
    "x-amzn-requestid",
    "x-cache",
    "x-forwarded-proto",
    "x-real-ip",
];

/// The same by how they begin; what nodes say to each other is no business of code either.
const DISALLOWED_PREFIXES: [&str; 6] =
    ["x-accel-", "x-amz-cf-", "x-amzn-auth", "x-amzn-cf-", "x-edge-", NODE_PREFIX];

/// Says whether a field, in lower case, is one that code does not see and must not add.
pub fn is_disallowed(name: &str) -> bool {
    // Most names begin with none of these letters.
    matches!(name.as_bytes().first(), Some(b'c' | b'e' | b'f' | b'k' | b'p' | b't' | b'u' | b'x'))
        && (DISALLOWED.contains(&name)
            || DISALLOWED_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Says whether a field, in lower case, may be read at a place, and neither changed nor taken out.
pub fn is_read_only(place: Place, name: &str) -> bool {
    match place {
        Place::ViewerRequest => {
            matches!(name, "cdn-loop" | "content-length" | "host" | "transfer-encoding" | "via")
        }
        Place::ViewerResponse => matches!(name, "warning" | "via"),
    }
}

/// Says whether a field of a response frames its body: what code says of that is never sent.
pub fn is_framing(name: &str) -> bool {
    matches!(name, "content-length" | "transfer-encoding")
}

/// Says whether a field of a response speaks of the octets of its body, so that another body must
/// not inherit it.
pub fn describes_octets(name: &str) -> bool {
    matches!(
        name,
        "content-encoding"
            | "content-length"
            | "transfer-encoding"
            | "content-range"
            | "accept-ranges"
            | "etag"
            | "last-modified"
            | "content-md5"
            | "digest"
            | "content-digest"
            | "repr-digest"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lists_are_cloudfronts() {
        for name in DISALLOWED {
            assert!(is_disallowed(name), "{name}");
        }
        for name in [
            "x-accel-redirect",
            "x-amz-cf-id",
            "x-edge-location",
            "x-amzn-authentication",
            "foreshore-tier",
        ] {
            assert!(is_disallowed(name), "{name}");
        }
        for name in ["x-amz-meta-a", "x-custom", "cache-control", "set-cookie", "x-forwarded-for"] {
            assert!(!is_disallowed(name), "{name}");
        }
        for name in ["cdn-loop", "content-length", "host", "transfer-encoding", "via"] {
            assert!(is_read_only(Place::ViewerRequest, name), "{name}");
        }
        assert!(is_read_only(Place::ViewerResponse, "warning"));
        assert!(is_read_only(Place::ViewerResponse, "via"));
        assert!(!is_read_only(Place::ViewerResponse, "host"));
        assert!(!is_read_only(Place::ViewerRequest, "warning"));
    }
}
