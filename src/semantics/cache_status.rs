//! The Cache-Status field (RFC 9211), written from what happened.

use crate::base::digits::decimal;

/// How this cache handled a request, in the words of RFC 9211 §2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Answered from the store; the remaining lifetime in seconds, negative when stale.
    Hit { ttl: i64 },
    /// Neither: the answer is this cache's own.
    Neither,
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
        Handled::Neither => {}
        Handled::Forwarded { why, status, stored, collapsed } => {
            out.extend_from_slice(b"; fwd=");
            out.extend_from_slice(why.token().as_bytes());
            if let Some(status) = status {
                out.extend_from_slice(b"; fwd-status=");
                decimal(out, u64::from(status));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::structured::parse_dictionary;

    const ALL: [Forward; 8] = [
        Forward::Bypass,
        Forward::Method,
        Forward::UriMiss,
        Forward::VaryMiss,
        Forward::Miss,
        Forward::Request,
        Forward::Stale,
        Forward::Partial,
    ];

    fn written(handled: Handled, detail: Option<&str>) -> String {
        let mut out = Vec::new();
        write(&mut out, handled, detail);
        // A member of a List is what stands behind the key of a Dictionary (RFC 9651 §4.2.1.1).
        assert!(
            parse_dictionary(&[b"a=", &out[..]].concat()).is_some(),
            "{}",
            String::from_utf8_lossy(&out)
        );
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn caching_15_every_member_is_a_structured_field() {
        for ttl in [i64::from(i32::MIN), -1, 0, 1, 999_999_999_999] {
            assert_eq!(written(Handled::Hit { ttl }, None), format!("Foreshore; hit; ttl={ttl}"));
        }
        for why in ALL {
            for (status, stored, collapsed) in
                [(None, false, false), (Some(200), true, false), (Some(599), true, true)]
            {
                for detail in [None, Some("connection_refused")] {
                    let text =
                        written(Handled::Forwarded { why, status, stored, collapsed }, detail);
                    assert!(
                        text.starts_with(&format!("Foreshore; fwd={}", why.token()))
                            && !text.contains("hit")
                    );
                }
            }
        }
    }

    #[test]
    fn forward_tokens_are_those_of_the_registry() {
        let tokens = ALL.map(Forward::token);
        assert_eq!(
            tokens,
            ["bypass", "method", "uri-miss", "vary-miss", "miss", "request", "stale", "partial"]
        );
    }
}
