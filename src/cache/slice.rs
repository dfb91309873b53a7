//! Which slices a request asks for, and the keys under which slices are kept.

use crate::message::request::{Known, RequestHead};
use crate::semantics::ranges::{self, RangeSpec, Span};

/// What a request's Range field asks for, and the index of the slice of `size` octets that it asks
/// for first.
pub fn first(head: &RequestHead<'_>, size: u64) -> (ranges::Asked, u64) {
    let wants = match head.known.get(Known::Range) {
        Some(field) if !head.known.is_repeated(Known::Range) => ranges::parse(field),
        _ => ranges::Asked::Whole,
    };
    let index = match &wants {
        ranges::Asked::One(RangeSpec::Closed(start, _) | RangeSpec::From(start)) => start / size,
        _ => 0,
    };
    (wants, index)
}

/// The octets of a slice, as if the object never ended.
pub const fn span(index: u64, size: u64) -> Span {
    let start = index.saturating_mul(size);
    Span { start, end: start.saturating_add(size) }
}

/// The key of a slice of the object with this key.
pub fn key(object: &[u8], index: u64) -> Vec<u8> {
    [object, b"\0slice=", index.to_string().as_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_are_aligned_and_end_where_numbers_do() {
        assert_eq!(
            (span(0, 10), span(3, 10)),
            (Span { start: 0, end: 10 }, Span { start: 30, end: 40 })
        );
        assert_eq!(span(u64::MAX, 10).end, u64::MAX);
        assert_eq!(key(b"E1\0/a", 3), b"E1\0/a\0slice=3");
    }
}
