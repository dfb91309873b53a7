//! The Cache-Status field (RFC 9211), written from what happened.

/// How this cache handled a request, in the words of RFC 9211 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Answered from the store; the remaining lifetime in seconds, negative when stale.
    Hit { ttl: i64 },
    /// Went forward.
    Forwarded { why: Forward, status: Option<u16>, stored: bool, collapsed: bool },
}

/// Why a request went forward (RFC 9211 §2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forward {
    Bypass,
    Method,
    UriMiss,
    VaryMiss,
    Miss,
    Request,
    Stale,
    Partial,
}

impl Forward {
    /// The token of the registry.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Bypass => "bypass",
            Self::Method => "method",
            Self::UriMiss => "uri-miss",
            Self::VaryMiss => "vary-miss",
            Self::Miss => "miss",
            Self::Request => "request",
            Self::Stale => "stale",
            Self::Partial => "partial",
        }
    }
}

/// Appends this cache's member to `out`, without the list's comma.
///
/// ```
/// use foreshore::semantics::cache_status::{write, Handled};
/// let mut out = Vec::new();
/// write(&mut out, Handled::Hit { ttl: -3 }, None);
/// assert_eq!(out, b"Foreshore; hit; ttl=-3");
/// ```
pub fn write(out: &mut Vec<u8>, handled: Handled, detail: Option<&str>) {
    out.extend_from_slice(b"Foreshore");
    match handled {
        Handled::Hit { ttl } => {
            out.extend_from_slice(b"; hit; ttl=");
            out.extend_from_slice(itoa::Buffer::new().format(ttl).as_bytes());
        }
        Handled::Forwarded { why, status, stored, collapsed } => {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(why.token().as_bytes());
            if let Some(status) = status {
                out.extend_from_slice(b"; fwd-status=");
                out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
            }
            if stored {
                out.extend_from_slice(b"; stored");
            }
            if collapsed {
                out.extend_from_slice(b"; collapsed");
            }
        }
    }
    if let Some(detail) = detail {
        out.extend_from_slice(b"; detail=");
        out.extend_from_slice(detail.as_bytes());
    }
}
