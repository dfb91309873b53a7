//! Pure: which fields a trailer section may carry past us (RFC 9110 §6.5.1).
//!
//! What frames a message, routes it, changes the request, proves which viewer asks, or says how the
//! content is to be read came too late: a recipient that acts on it after the content has already
//! acted without it.

use super::fields::{FieldSection, Name};
use super::hop_by_hop::is_hop_by_hop;

/// Octets of trailers that go on, of a request or of an answer; a longer section is dropped.
pub const TRAILERS_MAX: usize = 8 << 10;

/// The same of a call of gRPC, whose trailers are as long as heads are: without them nobody knows
/// how it went.
const CALL_TRAILERS_MAX: usize = 64 << 10;

const FORBIDDEN: &[&str] = &[
    "age",
    "authorization",
    "cache-control",
    "content-encoding",
    "content-length",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "expect",
    "expires",
    "host",
    "location",
    "max-forwards",
    "pragma",
    "range",
    "retry-after",
    "set-cookie",
    "vary",
    "warning",
    "www-authenticate",
];

/// Says whether a field may stand in a trailer section.
pub fn may_trail<'n>(name: impl Into<Name<'n>>) -> bool {
    let name = name.into();
    let forbidden = FORBIDDEN.iter().any(|known| name == *known)
        || name.begins("if-")
        || name.begins("proxy-")
        || name.begins("access-control-");
    !forbidden && !is_hop_by_hop(name)
}

/// Drops what may not trail. A section whose lines are longer than `most` octets is dropped whole:
/// a part of it would say something else. That of a call of gRPC may be longer, and still says how
/// the call went where it is longer than that.
pub fn keep_allowed(trailers: &mut FieldSection, most: usize) {
    trailers.retain(|name, _| may_trail(name));
    let mut most = most;
    if trailers.contains("grpc-status") {
        most = most.max(CALL_TRAILERS_MAX);
        if trailers.lines_len() > most {
            trailers.retain(|name, _| name == "grpc-status" || name == "grpc-message");
        }
    }
    if trailers.lines_len() > most {
        trailers.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_frames_routes_or_proves_never_trails() {
        let lines = b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\nIf-Match: \"a\"\r\n\
            Set-Cookie: a=b\r\nConnection: close\r\nX-Checksum: 7\r\ngrpc-status: 0\r\n";
        let mut trailers = FieldSection::from_lines(lines);
        keep_allowed(&mut trailers, 1024);
        assert_eq!(trailers.len(), 2);
        assert!(trailers.contains("x-checksum") && trailers.contains("grpc-status"));
    }

    #[test]
    fn how_a_call_went_is_never_dropped() {
        let section = |len: usize| {
            let lines =
                format!("grpc-message: m\r\nx-d: {}\r\ngrpc-status: 0\r\n", "d".repeat(len));
            let mut trailers = FieldSection::from_lines(lines.as_bytes());
            keep_allowed(&mut trailers, TRAILERS_MAX);
            assert!(trailers.contains("grpc-status") && trailers.contains("grpc-message"));
            trailers.contains("x-d")
        };
        assert!(section(1) && section(TRAILERS_MAX) && section(CALL_TRAILERS_MAX - 100));
        assert!(!section(CALL_TRAILERS_MAX));
    }

    #[test]
    fn a_section_beyond_its_bound_is_dropped_whole() {
        let mut trailers = FieldSection::from_lines(b"x-a: 1\r\nx-b: 2\r\n");
        keep_allowed(&mut trailers, 15);
        assert!(trailers.is_empty());
    }
}
