//! Range and Content-Range arithmetic (RFC 9110 §14).
//!
//! A Range that is not understood is as if absent. Requests for many or overlapping ranges are
//! turned away here, before they cost anything: the whole response is the cheaper answer.

use super::lists::{members, parse_digits};

/// One part of a whole: `start` up to but excluding `end`. Never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub start: u64,
    pub end: u64,
}

impl Span {
    /// Octets in the span.
    pub const fn len(&self) -> u64 {
        self.end - self.start
    }

    /// Never true: a span is made only where there is something.
    pub const fn is_empty(&self) -> bool {
        self.end <= self.start
    }
}

/// One range as it was asked for, before the length is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RangeSpec {
    /// `a-b`, both included.
    Closed(u64, u64),
    /// `a-`
    From(u64),
    /// `-n`, the last n octets.
    Suffix(u64),
}

impl RangeSpec {
    /// What the range means for a whole of `len` octets; `None` if nothing (RFC 9110 §14.1.2).
    pub fn resolve(self, len: u64) -> Option<Span> {
        let span = match self {
            Self::Closed(first, last) => {
                Span { start: first, end: last.saturating_add(1).min(len) }
            }
            Self::From(first) => Span { start: first, end: len },
            Self::Suffix(count) => Span { start: len.saturating_sub(count), end: len },
        };
        (!span.is_empty()).then_some(span)
    }
}

/// The most ranges that one request may have before it is answered in full.
pub const RANGES_MAX: usize = 8;

/// What a Range field asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked {
    /// Absent, not bytes, malformed, or too many: send the whole (RFC 9110 §14.2 allows ignoring
    /// it).
    Whole,
    One(RangeSpec),
    Several(smallvec::SmallVec<[RangeSpec; RANGES_MAX]>),
}

/// Reads a Range field.
///
/// ```
/// use foreshore::semantics::ranges::{parse, Asked, RangeSpec};
/// assert_eq!(parse(b"bytes=0-4"), Asked::One(RangeSpec::Closed(0, 4)));
/// assert_eq!(parse(b"bytes=4-0"), Asked::Whole);
/// ```
pub fn parse(field: &[u8]) -> Asked {
    let Some(at) = field.iter().position(|b| *b == b'=') else { return Asked::Whole };
    if !field[..at].eq_ignore_ascii_case(b"bytes") {
        return Asked::Whole;
    }
    let mut specs = smallvec::SmallVec::new();
    for member in members(&field[at + 1..]) {
        let Some(spec) = parse_spec(member) else { return Asked::Whole };
        if specs.len() == RANGES_MAX {
            return Asked::Whole;
        }
        specs.push(spec);
    }
    match specs.len() {
        0 => Asked::Whole,
        1 => Asked::One(specs[0]),
        _ => Asked::Several(specs),
    }
}

fn parse_spec(member: &[u8]) -> Option<RangeSpec> {
    let dash = member.iter().position(|b| *b == b'-')?;
    let (first, last) = (&member[..dash], &member[dash + 1..]);
    match (first.is_empty(), last.is_empty()) {
        (true, _) => Some(RangeSpec::Suffix(parse_digits(last)?)),
        (false, true) => Some(RangeSpec::From(parse_digits(first)?)),
        (false, false) => {
            let (first, last) = (parse_digits(first)?, parse_digits(last)?);
            (first <= last).then_some(RangeSpec::Closed(first, last))
        }
    }
}

/// What to send of a whole of known length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selection {
    Whole,
    Part(Span),
    Parts(smallvec::SmallVec<[Span; RANGES_MAX]>),
    /// 416: nothing of what was asked for exists.
    Unsatisfiable,
}

/// Applies what was asked to a length. Overlapping ranges are answered in full (RangeAmp, and
/// CloudFront §7).
pub fn select(asked: &Asked, len: u64) -> Selection {
    match asked {
        Asked::Whole => Selection::Whole,
        Asked::One(spec) => spec.resolve(len).map_or(Selection::Unsatisfiable, Selection::Part),
        Asked::Several(specs) => {
            let spans: smallvec::SmallVec<[Span; RANGES_MAX]> =
                specs.iter().filter_map(|spec| spec.resolve(len)).collect();
            match spans.len() {
                0 => Selection::Unsatisfiable,
                1 => Selection::Part(spans[0]),
                _ if overlap(&spans) => Selection::Whole,
                _ => Selection::Parts(spans),
            }
        }
    }
}

fn overlap(spans: &[Span]) -> bool {
    let mut sorted: smallvec::SmallVec<[Span; RANGES_MAX]> = spans.into();
    sorted.sort_by_key(|span| span.start);
    sorted.windows(2).any(|pair| pair[1].start < pair[0].end)
}

/// What a 206 says it carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    pub span: Span,
    /// `None` for `*`.
    pub complete: Option<u64>,
}

/// Reads `bytes first-last/complete`; contradictions are `None` (RFC 9110 §14.4).
pub fn parse_content_range(field: &[u8]) -> Option<ContentRange> {
    let rest = super::lists::trim(field).strip_prefix(b"bytes ")?;
    let slash = rest.iter().position(|b| *b == b'/')?;
    let dash = rest[..slash].iter().position(|b| *b == b'-')?;
    let (first, last) = (parse_digits(&rest[..dash])?, parse_digits(&rest[dash + 1..slash])?);
    let complete = match &rest[slash + 1..] {
        b"*" => None,
        digits => Some(parse_digits(digits)?),
    };
    let span = Span { start: first, end: last.checked_add(1)? };
    (!span.is_empty() && complete.is_none_or(|len| span.end <= len))
        .then_some(ContentRange { span, complete })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn caching_11_1_single_ranges() {
        let one = |field: &str| select(&parse(field.as_bytes()), 10);
        assert_eq!(one("bytes=0-4"), Selection::Part(Span { start: 0, end: 5 }));
        assert_eq!(one("bytes=5-"), Selection::Part(Span { start: 5, end: 10 }));
        assert_eq!(one("bytes=-3"), Selection::Part(Span { start: 7, end: 10 }));
        assert_eq!(one("bytes=-30"), Selection::Part(Span { start: 0, end: 10 }));
        assert_eq!(
            one("bytes=8-999999999999999999999"),
            Selection::Part(Span { start: 8, end: 10 })
        );
        assert_eq!(one("bytes=10-"), Selection::Unsatisfiable);
        assert_eq!(one("bytes=-0"), Selection::Unsatisfiable);
        for whole in [
            "",
            "bytes",
            "bytes=",
            "lines=0-1",
            "bytes=a-b",
            "bytes=4-1",
            "bytes=1-2-3",
            "bytes=+1-2",
            "bytes 0-4",
        ] {
            assert_eq!(one(whole), Selection::Whole, "{whole}");
        }
    }

    #[test]
    fn caching_11_1_many_or_overlapping_ranges_are_answered_in_full() {
        assert!(
            matches!(select(&parse(b"bytes=0-1, 4-5"), 10), Selection::Parts(parts) if parts.len() == 2)
        );
        assert_eq!(select(&parse(b"bytes=0-5, 4-6"), 10), Selection::Whole);
        assert_eq!(parse(b"bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8"), Asked::Whole);
        assert_eq!(select(&parse(b"bytes=20-, 30-"), 10), Selection::Unsatisfiable);
    }

    #[test]
    fn content_range_is_read_strictly() {
        let read = |text: &str| {
            parse_content_range(text.as_bytes()).map(|r| (r.span.start, r.span.end, r.complete))
        };
        assert_eq!(read("bytes 4-9/10"), Some((4, 10, Some(10))));
        assert_eq!(read("bytes 4-9/*"), Some((4, 10, None)));
        for bad in
            ["bytes 4-10/10", "bytes 9-4/10", "bytes */10", "4-9/10", "bytes 4-9", "bytes -9/10"]
        {
            assert_eq!(read(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_selected_lies_inside(text in "bytes=[0-9,\\- ]{0,30}", len in 0u64..200) {
            match select(&parse(text.as_bytes()), len) {
                Selection::Part(span) => prop_assert!(!span.is_empty() && span.end <= len),
                Selection::Parts(spans) => for span in spans { prop_assert!(!span.is_empty() && span.end <= len) },
                Selection::Whole | Selection::Unsatisfiable => {}
            }
        }
    }

    #[test]
    fn a_span_is_as_long_as_its_octets() {
        assert_eq!(
            [
                Span { start: 0, end: 10 }.len(),
                Span { start: 7, end: 8 }.len(),
                Span { start: 5, end: 5 }.len()
            ],
            [10, 1, 0]
        );
        assert!(Span { start: 5, end: 5 }.is_empty() && !Span { start: 5, end: 6 }.is_empty());
    }

    #[test]
    fn caching_11_ranges_that_touch_do_not_overlap() {
        assert!(matches!(select(&parse(b"bytes=0-4,5-9"), 100), Selection::Parts(_)));
        assert!(matches!(select(&parse(b"bytes=0-5,5-9"), 100), Selection::Whole));
        // Of two of which one is beyond the end, one is left, and that is a part.
        assert_eq!(
            select(&parse(b"bytes=0-4,200-300"), 100),
            Selection::Part(Span { start: 0, end: 5 })
        );
        assert_eq!(select(&parse(b"bytes=0-4"), 100), Selection::Part(Span { start: 0, end: 5 }));
    }
}
