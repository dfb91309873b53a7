//! Pure: what goes wrong between this edge and a CA, by name, and how long the CA wants to be left
//! alone.

use std::time::Duration;

use crate::semantics::time::{Timestamp, parse_http_date};

/// The most that is waited because a CA asks for it.
pub const LONGEST_ASKED: Duration = Duration::from_secs(7 * 86_400);

/// What kind of trouble it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No connection, or none that proves the CA's name.
    Unreachable,
    /// The connection was there and the answer was not, in time or within bounds.
    NoAnswer,
    /// An answer that is none of the protocol's.
    Malformed,
    /// The CA refuses, by a problem document or a status.
    Refused,
    /// The same, because too much was asked for.
    RateLimited,
    /// The CA could not see that a name is ours.
    NotProved,
    /// Files, the command for DNS, or a setting: on this side.
    Here,
    /// The whole attempt took too long.
    TookTooLong,
}

impl Kind {
    /// The word in logs, status and metrics.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::NoAnswer => "no-answer",
            Self::Malformed => "malformed",
            Self::Refused => "refused",
            Self::RateLimited => "rate-limited",
            Self::NotProved => "not-proved",
            Self::Here => "here",
            Self::TookTooLong => "took-too-long",
        }
    }
}

/// A step that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub kind: Kind,
    pub detail: String,
    /// How long the CA wants us to wait.
    pub asked: Option<Duration>,
    /// The nonce was not good, and another may be.
    pub is_bad_nonce: bool,
}

impl Trouble {
    /// A failure without a wish.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), asked: None, is_bad_nonce: false }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.kind.word(), self.detail)
    }
}

/// Words of a CA, fit for a line of a log: no control characters, and not too many.
pub fn said(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    plain.take(300).collect()
}

/// Reads Retry-After (RFC 9110 §10.2.3), up to `LONGEST_ASKED`.
pub fn retry_after(field: &str, now: Timestamp) -> Option<Duration> {
    let field = field.trim();
    let wait = match field.parse::<u64>() {
        Ok(secs) => Duration::from_secs(secs),
        Err(_) => {
            let at = parse_http_date(field.as_bytes(), now)?;
            Duration::from_millis(at.millis_since(now))
        }
    };
    Some(wait.min(LONGEST_ASKED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::time::format_http_date;

    #[test]
    fn retry_after_is_a_number_or_a_date_and_has_an_end() {
        let now = Timestamp::from_secs(1_800_000_000);
        let in_a_minute = format_http_date(Timestamp::from_secs(1_800_000_060));
        let over = format_http_date(Timestamp::from_secs(1_700_000_000));
        for (field, secs) in [
            ("0", Some(0)),
            (" 120 ", Some(120)),
            ("18446744073709551615", Some(604_800)),
            (&*in_a_minute, Some(60)),
            (&*over, Some(0)),
            ("-1", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(retry_after(field, now).map(|wait| wait.as_secs()), secs, "{field:?}");
        }
    }

    #[test]
    fn what_a_ca_says_is_one_line_and_short() {
        let long = format!("a\r\nb\u{1b}[31m{}", "x".repeat(10_000));
        let said = said(&long);
        assert!(said.starts_with("a  b [31m") && said.len() == 300, "{said}");
    }
}
