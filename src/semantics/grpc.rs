//! Pure: what a proxy has to know of gRPC: its content type, its timeout, its statuses and how a
//! message of theirs is written (gRPC over HTTP/2, "Requests" and "Responses"; "HTTP to gRPC Status
//! Code Mapping").

use std::time::Duration;

/// How a call ended (gRPC, "Status codes and their use"), as far as this edge says it itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    Cancelled = 1,
    Unknown = 2,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
    Unavailable = 14,
    Unauthenticated = 16,
}

impl Status {
    /// What a caller makes of an answer with this status of HTTP that is none of gRPC. Beyond that
    /// mapping, a body beyond a limit is what it is.
    pub const fn of_http(status: u16) -> Self {
        match status {
            400 => Self::Internal,
            401 => Self::Unauthenticated,
            403 => Self::PermissionDenied,
            404 => Self::Unimplemented,
            413 => Self::ResourceExhausted,
            429 | 502..=504 => Self::Unavailable,
            _ => Self::Unknown,
        }
    }

    /// The number that goes over the wire.
    pub const fn number(self) -> u64 {
        self as u64
    }
}

/// Says whether a content type is gRPC's: `application/grpc`, alone or with the encoding of its
/// messages or parameters behind it. `application/grpc-web` is another protocol, which any version
/// of HTTP carries.
pub fn is_content_type(value: &[u8]) -> bool {
    const TYPE: &[u8] = b"application/grpc";
    value.get(..TYPE.len()).is_some_and(|start| start.eq_ignore_ascii_case(TYPE))
        && matches!(value[TYPE.len()..], [] | [b'+' | b';' | b' ' | b'\t', ..])
}

/// What `grpc-timeout` says: up to eight digits and a unit. `None` for anything else, and for what
/// is as good as no end.
pub fn timeout(value: &[u8]) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(30 * 24 * 3600);
    let (unit, digits) = value.split_last()?;
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count = digits.iter().fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let limit = match *unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    };
    (limit <= LONGEST).then_some(limit)
}

/// A message as `grpc-message` has it: visible ASCII and blanks, all else percent-encoded.
pub fn message(text: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(text.len());
    for octet in text.bytes() {
        if matches!(octet, b' '..=b'~') && octet != b'%' {
            out.push(char::from(octet));
        } else {
            let _ = write!(out, "%{octet:02X}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_content_type_is_grpcs_or_anothers() {
        for good in [
            "application/grpc",
            "Application/GRPC",
            "application/grpc+proto",
            "application/grpc; charset=utf-8",
        ] {
            assert!(is_content_type(good.as_bytes()), "{good}");
        }
        for bad in
            ["", "application/grpc-web", "application/grpc-web+proto", "application/grp", "text/x"]
        {
            assert!(!is_content_type(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn a_timeout_has_digits_and_a_unit() {
        for (text, nanos) in [
            ("1H", 3_600_000_000_000),
            ("2M", 120_000_000_000),
            ("3S", 3_000_000_000),
            ("00000250m", 250_000_000),
            ("7u", 7_000),
            ("99999999n", 99_999_999),
            ("0m", 0),
        ] {
            assert_eq!(timeout(text.as_bytes()), Some(Duration::from_nanos(nanos)), "{text}");
        }
        for bad in ["", "S", "1", "1s", "123456789n", "-1S", "1.5S", " 1S", "99999999H"] {
            assert_eq!(timeout(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn a_message_is_visible_ascii() {
        assert_eq!(message("plain, 100% ~"), "plain, 100%25 ~");
        assert_eq!(message("\u{fc}\r\n"), "%C3%BC%0D%0A");
    }

    #[test]
    fn each_status_of_http_has_one_of_grpc() {
        for (http, grpc) in [
            (400, 13),
            (401, 16),
            (403, 7),
            (404, 12),
            (413, 8),
            (429, 14),
            (502, 14),
            (503, 14),
            (504, 14),
            (307, 2),
            (500, 2),
        ] {
            assert_eq!(Status::of_http(http).number(), grpc, "{http}");
        }
    }
}
