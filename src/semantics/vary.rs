//! Which request fields choose among the responses stored under one key (RFC 9111 §4.1).
//!
//! A selector is computed once, when a response is stored: the names that count and what the
//! request said for them, normalised. Comparing a request against it allocates nothing for fields
//! that are plain.

use http::HeaderName;

use super::lists::members;
use crate::semantics::fields::FieldSection;

/// What the Vary field of a response names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Vary {
    /// These fields, lower case, each once, in order of appearance.
    Names(Vec<HeaderName>),
    /// `*` among the members: no request ever matches (RFC 9111 §4.1).
    Star,
}

/// Reads all Vary lines. A member that is no field name can match nothing, so it counts as `*`.
pub fn parse(fields: &FieldSection) -> Vary {
    let mut names: Vec<HeaderName> = Vec::new();
    for member in fields.get_all(&http::header::VARY).flat_map(|line| members(line.as_bytes())) {
        if member == b"*" {
            return Vary::Star;
        }
        match HeaderName::from_bytes(member) {
            Ok(name) if !names.contains(&name) => names.push(name),
            Ok(_) => {}
            Err(_) => return Vary::Star,
        }
    }
    Vary::Names(names)
}

/// Appends the normal form of a request field to `out`; absent fields give `None` (RFC 9111 §4.1).
///
/// Lines are joined with a comma, white space around commas goes. Language ranges also lose case
/// and order within the same weight, which changes nothing they mean (RFC 9110 §12.5.4).
pub fn normalise<'v>(
    name: &HeaderName,
    lines: impl Iterator<Item = &'v [u8]>,
    out: &mut Vec<u8>,
) -> Option<()> {
    let lines: smallvec::SmallVec<[&[u8]; 4]> = lines.collect();
    if *name == http::header::COOKIE && lines.iter().any(|line| has_ours(line)) {
        return cookies(&lines, out);
    }
    if lines.is_empty() {
        return None;
    }
    let mut parts: smallvec::SmallVec<[&[u8]; 8]> =
        lines.iter().flat_map(|line| members(line)).collect();
    if *name == http::header::ACCEPT_LANGUAGE {
        parts.sort_by_key(|part| (std::cmp::Reverse(weight(part)), part.to_ascii_lowercase()));
    }
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        if *name == http::header::ACCEPT_LANGUAGE {
            out.extend(
                part.iter().filter(|b| !matches!(b, b' ' | b'\t')).map(u8::to_ascii_lowercase),
            );
        } else {
            out.extend_from_slice(part);
        }
    }
    Some(())
}

/// Says whether a cookie is between the viewer and the edge: it signs, or keeps a viewer on its
/// side of a deployment. No origin sees it, so no answer can depend on it.
pub fn is_ours(name: &[u8]) -> bool {
    const OURS: [&[u8]; 6] = [
        b"CloudFront-Expires",
        b"CloudFront-Policy",
        b"CloudFront-Signature",
        b"CloudFront-Key-Pair-Id",
        b"CloudFront-Hash-Algorithm",
        b"aws-cf-cd-session",
    ];
    OURS.contains(&name)
}

fn has_ours(line: &[u8]) -> bool {
    pairs(line).any(|pair| is_ours(name_of(pair)))
}

fn pairs(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(|octet| *octet == b';').map(super::lists::trim).filter(|pair| !pair.is_empty())
}

fn name_of(pair: &[u8]) -> &[u8] {
    pair.split(|octet| *octet == b'=').next().unwrap_or(b"")
}

// The cookies that an origin was shown; none of them is as good as no field.
fn cookies(lines: &[&[u8]], out: &mut Vec<u8>) -> Option<()> {
    let start = out.len();
    for pair in lines.iter().flat_map(|line| pairs(line)).filter(|pair| !is_ours(name_of(pair))) {
        if out.len() > start {
            out.extend_from_slice(b"; ");
        }
        out.extend_from_slice(pair);
    }
    (out.len() > start).then_some(())
}

/// The one language range that a request prefers to all others, if there is one (RFC 9110 §12.5.4).
pub fn preferred_language<'v>(lines: impl Iterator<Item = &'v [u8]>) -> Option<&'v [u8]> {
    let (mut best, mut highest, mut is_alone) = (None, 0, false);
    for member in lines.flat_map(members) {
        let (name, weight) = (
            super::lists::trim(member.split(|b| *b == b';').next().unwrap_or(b"")),
            weight(member),
        );
        if weight > highest {
            (best, highest, is_alone) = (Some(name), weight, true);
        } else if weight == highest {
            is_alone = false;
        }
    }
    best.filter(|name| is_alone && *name != b"*")
}

/// The weight of a member in thousandths; 1000 where none is given (RFC 9110 §12.4.2).
pub fn weight(member: &[u8]) -> u32 {
    let q = member.split(|b| *b == b';').skip(1).map(super::lists::trim).find_map(|parameter| {
        parameter.strip_prefix(b"q=").or_else(|| parameter.strip_prefix(b"Q="))
    });
    let Some(text) = q else { return 1000 };
    let mut parts = text.splitn(2, |b| *b == b'.');
    let whole = parts.next().and_then(super::lists::parse_digits).unwrap_or(1);
    let fraction = parts.next().unwrap_or(b"");
    let thousandths = fraction
        .iter()
        .chain(b"000")
        .take(3)
        .fold(0u32, |sum, b| sum * 10 + u32::from(b.wrapping_sub(b'0')).min(9));
    if whole >= 1 { 1000 } else { thousandths }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::header::{ACCEPT_ENCODING, ACCEPT_LANGUAGE};

    fn vary(lines: &[&str]) -> Vary {
        let mut fields = FieldSection::new();
        for line in lines {
            fields.append(&http::header::VARY, *line);
        }
        parse(&fields)
    }

    fn normal(name: &HeaderName, lines: &[&str]) -> Option<String> {
        let mut out = Vec::new();
        normalise(name, lines.iter().map(|l| l.as_bytes()), &mut out)?;
        Some(String::from_utf8(out).unwrap())
    }

    #[test]
    fn caching_6_2_star_anywhere() {
        for lines in [&["*"][..], &["a, *"], &["", "*"], &[", *"], &["a", "b,*"], &["a b"]] {
            assert_eq!(vary(lines), Vary::Star, "{lines:?}");
        }
        assert_eq!(
            vary(&["A, b", "a"]),
            Vary::Names(vec![HeaderName::from_static("a"), HeaderName::from_static("b")])
        );
        assert_eq!(vary(&[]), Vary::Names(vec![]));
    }

    #[test]
    fn caching_6_3_normalised_before_comparing() {
        assert_eq!(
            normal(&ACCEPT_ENCODING, &["gzip ,  br", "zstd"]),
            normal(&ACCEPT_ENCODING, &["gzip,br,zstd"])
        );
        assert_eq!(normal(&ACCEPT_LANGUAGE, &["EN, de"]), normal(&ACCEPT_LANGUAGE, &["de,en"]));
        assert_eq!(
            normal(&ACCEPT_LANGUAGE, &["de;q=0.5, en"]),
            normal(&ACCEPT_LANGUAGE, &["en, de;q=0.5"])
        );
        assert_ne!(
            normal(&ACCEPT_LANGUAGE, &["de;q=0.5, en"]),
            normal(&ACCEPT_LANGUAGE, &["de, en;q=0.5"])
        );
        assert_eq!(normal(&ACCEPT_LANGUAGE, &[]), None);
        assert_eq!(normal(&ACCEPT_LANGUAGE, &[""]), Some(String::new()));
    }

    #[test]
    fn weights_are_read_in_thousandths() {
        for (member, thousandths) in [
            ("de", 1000),
            ("de;q=1", 1000),
            ("de; q=0.5", 500),
            ("de;Q=0.25", 250),
            ("de;q=0.001", 1),
            ("de;q=0", 0),
            ("de;level=1;q=0.125", 125),
            ("de;q=0.9999", 999),
        ] {
            assert_eq!(weight(member.as_bytes()), thousandths, "{member}");
        }
    }

    #[test]
    fn caching_6_3_the_order_of_weights_counts_and_their_spelling_does_not() {
        assert_eq!(
            normal(&ACCEPT_LANGUAGE, &["a;q=0.2, b;q=0.8, c"]),
            normal(&ACCEPT_LANGUAGE, &["c, b;q=0.8, a;q=0.2"])
        );
        assert_ne!(
            normal(&ACCEPT_LANGUAGE, &["a;q=0.2, b;q=0.8, c"]),
            normal(&ACCEPT_LANGUAGE, &["c, a;q=0.8, b;q=0.2"])
        );
    }

    #[test]
    fn one_language_is_preferred_or_none() {
        for (line, want) in [
            ("fr;q=0.5, de", Some("de")),
            ("fr;q=0.5, de;q=1.0", Some("de")),
            ("de, fr", None),
            ("*, de;q=0.9", None),
            ("de;q=0", None),
            ("", None),
            ("en-GB, en;q=0.9, *;q=0.1", Some("en-GB")),
        ] {
            assert_eq!(
                preferred_language([line.as_bytes()].into_iter()),
                want.map(str::as_bytes),
                "{line}"
            );
        }
    }

    #[test]
    fn members_stay_apart() {
        assert_eq!(normal(&ACCEPT_ENCODING, &["gzip ,  br", "zstd"]).unwrap(), "gzip,br,zstd");
        assert_ne!(normal(&ACCEPT_ENCODING, &["a,b"]), normal(&ACCEPT_ENCODING, &["ab"]));
    }
}
