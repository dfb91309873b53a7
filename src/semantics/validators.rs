//! Entity tags, modification dates, and a viewer's conditions evaluated against a stored response.
//!
//! Tags are compared octet for octet; nothing is repaired. If-Match and If-Unmodified-Since count
//! beside a Range alone: there they say which version the viewer has a part of. Otherwise they are
//! left to origins, as RFC 9110 §13.1.1 lets a cache do.

use super::lists::{split_outside_quotes, trim};
use super::time::{Timestamp, parse_http_date};

/// An entity tag as it stood in the field: the text, and whether it is weak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntityTag<'a> {
    pub opaque: &'a [u8],
    pub strength: Strength,
}

/// Whether a validator promises equal octets or only equal meaning (RFC 9110 §8.8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    Strong,
    Weak,
}

impl<'a> EntityTag<'a> {
    /// Reads a tag; malformed ones are kept as they are, and match only themselves.
    pub fn parse(text: &'a [u8]) -> Self {
        let text = trim(text);
        match text.strip_prefix(b"W/") {
            Some(opaque) => Self { opaque, strength: Strength::Weak },
            None => Self { opaque: text, strength: Strength::Strong },
        }
    }

    /// Weak comparison (RFC 9110 §8.8.3.2).
    pub fn matches_weakly(&self, other: &EntityTag<'_>) -> bool {
        self.opaque == other.opaque
    }

    /// Strong comparison: equal, and neither is weak.
    pub fn matches_strongly(&self, other: &EntityTag<'_>) -> bool {
        self.strength == Strength::Strong
            && other.strength == Strength::Strong
            && self.opaque == other.opaque
    }
}

/// Whether the viewer's copy is still good, judged by its own conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Send the response.
    Unmet,
    /// Send 304.
    NotModified,
}

/// A viewer's conditions, as raw field values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Conditions<'r> {
    pub if_none_match: Option<&'r [u8]>,
    pub if_modified_since: Option<&'r [u8]>,
}

/// Evaluates a GET's or HEAD's conditions against a stored response (RFC 9110 §13.2.2).
///
/// ```
/// use foreshore::semantics::validators::{evaluate, Condition, Conditions};
/// use foreshore::semantics::time::Timestamp;
/// let asks = Conditions { if_none_match: Some(b"W/\"x\", \"y\""), ..Conditions::default() };
/// assert_eq!(evaluate(&asks, Some(b"\"y\""), None, Timestamp(0)), Condition::NotModified);
/// assert_eq!(evaluate(&asks, Some(b"\"z\""), None, Timestamp(0)), Condition::Unmet);
/// ```
pub fn evaluate(
    asks: &Conditions<'_>,
    etag: Option<&[u8]>,
    last_modified: Option<&[u8]>,
    now: Timestamp,
) -> Condition {
    // If-None-Match takes precedence; If-Modified-Since beside it is ignored (RFC 9110 §13.1.3).
    if let Some(list) = asks.if_none_match {
        return if none_match_hits(list, etag) { Condition::NotModified } else { Condition::Unmet };
    }
    let modified = || parse_http_date(last_modified?, now);
    match asks.if_modified_since.and_then(|since| parse_http_date(since, now)).zip(modified()) {
        Some((since, modified)) if modified <= since => Condition::NotModified,
        _ => Condition::Unmet,
    }
}

fn none_match_hits(list: &[u8], etag: Option<&[u8]>) -> bool {
    if trim(list) == b"*" {
        return true;
    }
    let Some(ours) = etag.map(EntityTag::parse) else { return false };
    split_outside_quotes(list, b',')
        .any(|member| !trim(member).is_empty() && EntityTag::parse(member).matches_weakly(&ours))
}

/// Whether a viewer that has a part of some version may be sent more of this one (RFC 9110 §13.1.1,
/// §13.1.4): what If-Match and If-Unmodified-Since say beside a Range. Without a modification date
/// the latter is ignored, and so it is beside the former.
pub fn may_go_on<'r>(
    mut if_match: impl Iterator<Item = &'r [u8]>,
    if_unmodified_since: Option<&[u8]>,
    etag: Option<&[u8]>,
    last_modified: Option<&[u8]>,
    now: Timestamp,
) -> bool {
    let ours = etag.map(EntityTag::parse);
    let names_ours = |list: &[u8]| {
        let is_ours = |member: &[u8]| {
            ours.is_some_and(|ours| EntityTag::parse(member).matches_strongly(&ours))
        };
        trim(list) == b"*"
            || split_outside_quotes(list, b',')
                .any(|member| !trim(member).is_empty() && is_ours(member))
    };
    if let Some(first) = if_match.next() {
        return names_ours(first) || if_match.any(names_ours);
    }
    let modified = || parse_http_date(last_modified?, now);
    match if_unmodified_since.and_then(|since| parse_http_date(since, now)).zip(modified()) {
        Some((since, modified)) => modified <= since,
        None => true,
    }
}

/// Whether a range may be cut from this stored response, given If-Range (RFC 9110 §13.1.5).
///
/// A tag needs strong comparison; a date must be exactly the stored Last-Modified, and that one
/// must be strong: at least a second older than the response's own Date (RFC 9110 §8.8.2.2).
pub fn if_range_holds(
    if_range: &[u8],
    etag: Option<&[u8]>,
    last_modified: Option<&[u8]>,
    date: Timestamp,
) -> bool {
    let text = trim(if_range);
    if text.starts_with(b"\"") || text.starts_with(b"W/") {
        return etag
            .is_some_and(|ours| EntityTag::parse(text).matches_strongly(&EntityTag::parse(ours)));
    }
    let Some(ours) = last_modified else { return false };
    ours == text
        && parse_http_date(ours, date)
            .is_some_and(|modified| modified.0.saturating_add(1000) <= date.0)
}

/// Says whether parts may be put together by these validators (RFC 9110 §15.3.7.3, RFC 9111 §3.4):
/// they must be strong.
pub fn can_combine(etag: Option<&[u8]>, last_modified: Option<&[u8]>, date: Timestamp) -> bool {
    let own = etag.or(last_modified);
    own.is_some_and(|validator| if_range_holds(validator, etag, last_modified, date))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_added_to_the_version_it_is_of() {
        const EARLY: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const LATE: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
        for (matches, since, etag, modified, want) in [
            (&["\"v1\""][..], None, Some("\"v1\""), None, true),
            (&["\"v1\""], None, Some("\"v2\""), None, false),
            (&["\"v1\", \"v2\""], None, Some("\"v2\""), None, true),
            (&["\"v1\"", "\"v2\""], None, Some("\"v2\""), None, true),
            (&["W/\"v1\""], None, Some("W/\"v1\""), None, false),
            (&["*"], None, Some("\"v2\""), None, true),
            (&["\"v1\""], None, None, None, false),
            (&[""], None, Some("\"v1\""), None, false),
            (&["\"v1\""], Some(EARLY), Some("\"v1\""), Some(LATE), true),
            (&[], Some(EARLY), None, Some(LATE), false),
            (&[], Some(LATE), None, Some(LATE), true),
            (&[], Some(EARLY), None, None, true),
            (&[], Some("no date"), None, Some(LATE), true),
            (&[], None, None, Some(LATE), true),
        ] {
            let lines = matches.iter().map(|line| line.as_bytes());
            let bytes = |text: Option<&'static str>| text.map(str::as_bytes);
            let may = may_go_on(
                lines,
                bytes(since),
                bytes(etag),
                bytes(modified),
                Timestamp(800_000_000_000),
            );
            assert_eq!(may, want, "{matches:?} {since:?} {etag:?} {modified:?}");
        }
    }

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    fn none_match(list: &str, etag: &str) -> bool {
        let asks = Conditions { if_none_match: Some(list.as_bytes()), if_modified_since: None };
        evaluate(&asks, Some(etag.as_bytes()), None, NOW) == Condition::NotModified
    }

    #[test]
    fn caching_7_1_weak_comparison_anywhere_in_the_list() {
        assert!(none_match(r#""a""#, r#""a""#));
        assert!(none_match(r#"W/"a""#, r#""a""#));
        assert!(none_match(r#""x", "y,z" , W/"a""#, r#"W/"a""#));
        assert!(none_match("*", r#""a""#));
        assert!(!none_match(r#""b""#, r#""a""#));
    }

    #[test]
    fn caching_7_2_if_none_match_takes_precedence() {
        let asks = Conditions {
            if_none_match: Some(b"\"b\""),
            if_modified_since: Some(b"Fri, 01 Jan 2038 00:00:00 GMT"),
        };
        let modified = Some(&b"Fri, 01 Jan 2021 00:00:00 GMT"[..]);
        assert_eq!(evaluate(&asks, Some(b"\"a\""), modified, NOW), Condition::Unmet);
    }

    #[test]
    fn caching_7_3_if_modified_since() {
        let since = |date: &'static str| {
            let asks = Conditions { if_none_match: None, if_modified_since: Some(date.as_bytes()) };
            evaluate(&asks, None, Some(b"Sun, 06 Nov 1994 08:49:37 GMT"), NOW)
                == Condition::NotModified
        };
        assert!(since("Sun, 06 Nov 1994 08:49:37 GMT"));
        assert!(since("Sunday, 06-Nov-94 08:49:38 GMT"));
        assert!(!since("Sun, 06 Nov 1994 08:49:36 GMT"));
        assert!(!since("garbage"));
    }

    #[test]
    fn caching_7_6_malformed_tags_match_only_themselves() {
        assert!(none_match("abc", "abc"));
        assert!(!none_match("abc", r#""abc""#));
        assert!(!none_match(r#"w/"a""#, r#""a""#));
    }

    #[test]
    fn caching_11_1_if_range_is_strong() {
        let date = Timestamp::from_secs(784_111_900);
        assert!(if_range_holds(b"\"a\"", Some(b"\"a\""), None, date));
        assert!(!if_range_holds(b"W/\"a\"", Some(b"W/\"a\""), None, date));
        let modified = b"Sun, 06 Nov 1994 08:49:37 GMT";
        assert!(if_range_holds(modified, None, Some(modified), date));
        assert!(!if_range_holds(modified, None, Some(modified), Timestamp::from_secs(784_111_777)));
        assert!(!if_range_holds(b"Sun, 06 Nov 1994 08:49:38 GMT", None, Some(modified), date));
    }

    #[test]
    fn caching_11_4_parts_join_by_strong_validators_only() {
        let date = parse_http_date(b"Sun, 06 Nov 1994 08:49:37 GMT", NOW).unwrap();
        let (old, same) =
            (&b"Sun, 06 Nov 1994 08:49:36 GMT"[..], &b"Sun, 06 Nov 1994 08:49:37 GMT"[..]);
        assert!(can_combine(Some(b"\"a\""), None, date));
        assert!(can_combine(None, Some(old), date));
        assert!(!can_combine(None, Some(same), date), "modified within the second it was sent");
        assert!(!can_combine(Some(b"W/\"a\""), Some(old), date), "a weak tag speaks first");
        assert!(!can_combine(None, None, date));
    }
}
