//! Age and lifetime of a response (RFC 9111 §4.2), as the origin alone would have them.
//!
//! The operator's bounds come later, in `cache::ttl`. Arithmetic saturates everywhere: an origin
//! must not be able to end a task with a number.

use http::header::{AGE, CACHE_CONTROL, DATE, EXPIRES, LAST_MODIFIED};

use super::cache_control::{self, CacheControl, Directive};
use super::fields::{FieldSection, Value};
use super::lists::{members, parse_digits};
use super::time::{Timestamp, parse_http_date};

/// When a response was asked for and when its head arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchanged {
    pub asked_at: Timestamp,
    pub arrived_at: Timestamp,
}

/// What says how long a response is fresh.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LifetimeSource {
    /// A member of CDN-Cache-Control (RFC 9213 §2.2).
    Targeted,
    SMaxAge,
    MaxAge,
    Expires,
    /// A tenth of the time since the last modification (RFC 9111 §4.2.2).
    Heuristic,
}

/// A freshness lifetime in milliseconds and what said so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime {
    pub millis: u64,
    pub source: LifetimeSource,
}

/// The directives that rule a response, and whether a targeted field took the place of
/// Cache-Control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Directives {
    pub cache_control: CacheControl,
    pub targeted: bool,
}

/// Reads the directives of a response head: CDN-Cache-Control if it parses, else Cache-Control.
pub fn directives(fields: &FieldSection) -> Directives {
    let targeted = fields.get_all("cdn-cache-control").map(Value::as_bytes);
    match CacheControl::parse_targeted(targeted) {
        Some(cache_control) => Directives { cache_control, targeted: true },
        None => Directives {
            cache_control: CacheControl::parse(fields.get_all(&CACHE_CONTROL).map(Value::as_bytes)),
            targeted: false,
        },
    }
}

/// The fields of a response that are not to be stored, because the Cache-Control that rules it says
/// so of them alone.
pub fn withheld(fields: &FieldSection) -> Vec<http::HeaderName> {
    // The form that says so has a quote in it; most have none, and are not read again.
    if !fields.get_all(&CACHE_CONTROL).any(|line| line.as_bytes().contains(&b'"')) {
        return Vec::new();
    }
    let ruling = directives(fields);
    if ruling.targeted || !ruling.cache_control.has(Directive::Withholds) {
        return Vec::new();
    }
    cache_control::withheld(fields.get_all(&CACHE_CONTROL).map(Value::as_bytes))
}

/// The Age that a response carries: the first member of the first line, if that is digits (RFC 9111
/// §5.1).
pub fn age_value(fields: &FieldSection) -> Option<u64> {
    parse_digits(members(fields.get(&AGE)?.as_bytes()).next()?)
}

/// The Date of a response; the moment of arrival when it is absent or invalid (RFC 9110 §6.6.1).
pub fn date_value(fields: &FieldSection, arrived_at: Timestamp) -> Timestamp {
    fields
        .get(&DATE)
        .and_then(|date| parse_http_date(date.as_bytes(), arrived_at))
        .unwrap_or(arrived_at)
}

/// The age of a response at the moment it arrived, in milliseconds (RFC 9111 §4.2.3).
pub fn initial_age(fields: &FieldSection, when: Exchanged) -> u64 {
    let apparent = when.arrived_at.millis_since(date_value(fields, when.arrived_at));
    let delay = when.arrived_at.millis_since(when.asked_at);
    // An absent Age counts as zero; the time the answer took counts in any case.
    let corrected = age_value(fields).unwrap_or(0).saturating_mul(1000).saturating_add(delay);
    // A second of apparent age is the granularity of Date, not age.
    let apparent = if apparent < 1000 { 0 } else { apparent };
    // Moments begin with the epoch: an age beyond it would be counted as less from then on, and a
    // bound that is counted from arrival would last for the difference.
    apparent.max(corrected).min(when.arrived_at.0)
}

/// The explicit lifetime a response states, first match wins (RFC 9111 §4.2.1, RFC 9213 §2.2).
pub fn explicit_lifetime(
    fields: &FieldSection,
    ruling: &Directives,
    arrived_at: Timestamp,
) -> Option<Lifetime> {
    let cc = &ruling.cache_control;
    let of = |secs: u64, source| Some(Lifetime { millis: secs.saturating_mul(1000), source });
    if ruling.targeted {
        return cc.s_maxage.or(cc.max_age).and_then(|secs| of(secs, LifetimeSource::Targeted));
    }
    if let Some(secs) = cc.s_maxage {
        return of(secs, LifetimeSource::SMaxAge);
    }
    if let Some(secs) = cc.max_age {
        return of(secs, LifetimeSource::MaxAge);
    }
    expires_lifetime(fields, arrived_at)
}

// Relative to Date and not to our clock (RFC 9111 §4.2.1); two lines that differ, or one that is
// not a date, have already expired (§5.3).
fn expires_lifetime(fields: &FieldSection, arrived_at: Timestamp) -> Option<Lifetime> {
    let mut lines = fields.get_all(&EXPIRES);
    let first = lines.next()?;
    let agreed = lines.all(|other| other == first);
    let expires = if agreed { parse_http_date(first.as_bytes(), arrived_at) } else { None };
    let millis = expires.map_or(0, |at| at.millis_since(date_value(fields, arrived_at)));
    Some(Lifetime { millis, source: LifetimeSource::Expires })
}

/// A tenth of (Date - Last-Modified), where RFC 9110 §15.1 or `public` lets a cache guess.
pub fn heuristic_lifetime(
    status: u16,
    fields: &FieldSection,
    cc: &CacheControl,
    arrived_at: Timestamp,
) -> Option<Lifetime> {
    if !(is_heuristically_cacheable(status) || cc.has(Directive::Public)) {
        return None;
    }
    let modified = parse_http_date(fields.get(&LAST_MODIFIED)?.as_bytes(), arrived_at)?;
    let millis = date_value(fields, arrived_at).millis_since(modified) / 10;
    Some(Lifetime { millis, source: LifetimeSource::Heuristic })
}

/// Statuses that are heuristically cacheable (RFC 9110 §15.1); 206 is kept out, it is stored by its
/// own rule.
pub const fn is_heuristically_cacheable(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 300 | 301 | 308 | 404 | 405 | 410 | 414 | 501)
}

/// Statuses whose requirements this cache implements, for `must-understand` (RFC 9111 §5.2.2.3).
pub const fn is_understood(status: u16) -> bool {
    matches!(status, 200 | 203 | 204 | 206 | 300..=304 | 307 | 308 | 400..=417 | 421..=422 | 426 | 428 | 429 | 431 | 451 | 500..=505)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::time::format_http_date;

    const AT: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn head(lines: &[(&'static str, &str)]) -> FieldSection {
        let mut fields = FieldSection::new();
        for (name, value) in lines {
            fields.append(*name, *value);
        }
        fields
    }

    fn date(offset: i64) -> String {
        format_http_date(Timestamp::from_secs((1_800_000_000 + offset) as u64))
    }

    fn secs(lines: &[(&'static str, &str)]) -> Option<u64> {
        let fields = head(lines);
        explicit_lifetime(&fields, &directives(&fields), AT).map(|l| l.millis / 1000)
    }

    #[test]
    fn caching_2_1_order_of_precedence() {
        let past = date(-100);
        assert_eq!(secs(&[("cache-control", "max-age=60, s-maxage=5")]), Some(5));
        assert_eq!(
            secs(&[("cache-control", "max-age=0, s-maxage=50"), ("expires", &past)]),
            Some(50)
        );
        assert_eq!(secs(&[("cache-control", "max-age=60"), ("expires", &past)]), Some(60));
        assert_eq!(secs(&[("cache-control", "max-age=0"), ("expires", &date(100))]), Some(0));
        assert_eq!(
            secs(&[("cache-control", "no-store"), ("cdn-cache-control", "max-age=9")]),
            Some(9)
        );
        assert_eq!(secs(&[("cache-control", "max-age=60"), ("cdn-cache-control", "&&")]), Some(60));
        assert_eq!(secs(&[]), None);
    }

    #[test]
    fn caching_2_3_expires_is_relative_to_date() {
        assert_eq!(secs(&[("date", &date(5000)), ("expires", &date(5060))]), Some(60));
        assert_eq!(secs(&[("date", &date(5000)), ("expires", &date(4000))]), Some(0));
        assert_eq!(secs(&[("date", "nonsense"), ("expires", &date(60))]), Some(60));
    }

    #[test]
    fn caching_3_3_bad_or_differing_expires_are_expired() {
        assert_eq!(secs(&[("expires", "0")]), Some(0));
        assert_eq!(secs(&[("expires", &date(60)), ("expires", &date(90))]), Some(0));
        assert_eq!(secs(&[("expires", &date(60)), ("expires", &date(60))]), Some(60));
    }

    #[test]
    fn caching_2_5_and_2_6_age() {
        let when = Exchanged { asked_at: AT, arrived_at: AT };
        let age =
            |value: &str| initial_age(&head(&[("age", value), ("date", &date(0))]), when) / 1000;
        assert_eq!(age("7200"), 7200);
        assert_eq!(age("7200, 0"), 7200);
        assert_eq!(age("0, 7200"), 0);
        for ignored in ["abc", "-7200", "7200.0", "7200;foo=bar", ""] {
            assert_eq!(age(ignored), 0, "{ignored}");
        }
        assert_eq!(age("99999999999999999999"), AT.secs(), "no older than moments go");
        assert_eq!(initial_age(&head(&[("date", &date(-30))]), when), 30_000);
        let slow = Exchanged { asked_at: AT, arrived_at: Timestamp(AT.0 + 5000) };
        assert_eq!(initial_age(&head(&[("age", "10"), ("date", &date(5))]), slow), 15_000);
        assert_eq!(initial_age(&head(&[("date", &date(5))]), slow), 5000);
    }

    #[test]
    fn caching_4_10_heuristics_only_where_allowed() {
        let fields = head(&[("last-modified", &date(-1000)), ("date", &date(0))]);
        let plain = CacheControl::default();
        assert_eq!(heuristic_lifetime(200, &fields, &plain, AT).map(|l| l.millis), Some(100_000));
        for status in [201, 202, 302, 303, 307, 403, 502, 503, 504, 599] {
            assert_eq!(heuristic_lifetime(status, &fields, &plain, AT), None, "{status}");
        }
        let public = CacheControl::parse([&b"public"[..]]);
        assert!(heuristic_lifetime(599, &fields, &public, AT).is_some());
    }

    #[test]
    fn caching_4_6_statuses_that_are_understood() {
        for status in [200, 203, 204, 301, 302, 304, 404, 410, 414, 501] {
            assert!(is_understood(status), "{status}");
        }
        for status in [299, 418, 499, 599] {
            assert!(!is_understood(status), "{status}");
        }
    }
}
