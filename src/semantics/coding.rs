//! Content codings at the edge: what may be encoded, and what that changes in a head (CloudFront:
//! "Serve compressed files").

use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, VARY};

use super::digests::{self, Change};
use super::lists::{members, trim};
use super::vary::weight;
use crate::semantics::fields::FieldSection;

/// A coding that this edge can apply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coding {
    Brotli,
    Gzip,
    Zstd,
}

impl Coding {
    /// As Content-Encoding names it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Brotli => "br",
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

/// Lengths between which encoding is worth it; CloudFront's.
const LENGTHS: std::ops::RangeInclusive<u64> = 1_000..=10_000_000;

/// Says whether a response may be encoded: its status, type and length, and that it is not encoded
/// yet and no directive forbids it.
pub fn may_encode(status: u16, fields: &FieldSection, length: Option<u64>) -> bool {
    let kind = fields.get(&CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let bare = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let no_transform = fields
        .get_all(&http::header::CACHE_CONTROL)
        .flat_map(|line| members(line.as_bytes()))
        .any(|member| member.eq_ignore_ascii_case(b"no-transform"));
    matches!(status, 200 | 403 | 404)
        && length.is_some_and(|length| LENGTHS.contains(&length))
        && !fields.contains(&CONTENT_ENCODING)
        && !fields.contains(&http::header::CONTENT_RANGE)
        && !no_transform
        && TYPES.contains(&bare.as_str())
}

/// Makes a head speak of the encoded body: the coding, a weak tag, no length, and Vary.
pub fn note_coding(fields: &mut FieldSection, coding: Coding) {
    fields.insert(&CONTENT_ENCODING, coding.name());
    fields.remove(&CONTENT_LENGTH);
    digests::strip(fields, Change::Coding);
    weaken_tag(fields);
    vary_on_coding(fields);
}

/// Says whether a request's Accept-Encoding lines take a content of these codings, as
/// Content-Encoding lists them.
///
/// A request that names none takes none: RFC 9110 §12.5.3 would let anything be sent to it, but
/// such clients seldom decode.
pub fn accepts<'v>(lines: impl Iterator<Item = &'v [u8]>, codings: &[u8]) -> bool {
    let lines: smallvec::SmallVec<[&[u8]; 4]> = lines.collect();
    let says = |coding: &[u8]| {
        let named = |member: &&[u8]| {
            let name = trim(member.split(|b| *b == b';').next().unwrap_or(b""));
            name.eq_ignore_ascii_case(coding)
                || name.strip_prefix(b"x-").is_some_and(|name| name.eq_ignore_ascii_case(coding))
        };
        let any = |member: &&[u8]| trim(member.split(|b| *b == b';').next().unwrap_or(b"")) == b"*";
        let all = || lines.iter().flat_map(|line| members(line));
        all().find(named).or_else(|| all().find(any)).is_some_and(|member| weight(member) > 0)
    };
    members(codings).all(|coding| coding.eq_ignore_ascii_case(b"identity") || says(coding))
}

/// Says whether a head has a strong tag.
pub fn has_strong_tag(fields: &FieldSection) -> bool {
    fields.get(&ETAG).is_some_and(|tag| tag.as_bytes().starts_with(b"\""))
}

/// A strong tag becomes weak; what is no tag goes (CloudFront's rule).
pub fn weaken_tag(fields: &mut FieldSection) {
    let Some(tag) = fields.get(&ETAG).map(|tag| tag.as_bytes().to_vec()) else { return };
    if tag.starts_with(b"W/") {
        return;
    }
    fields.remove(&ETAG);
    if tag.starts_with(b"\"") {
        fields.append(&ETAG, [b"W/", &tag[..]].concat());
    }
}

/// Says whether Vary names Accept-Encoding.
pub fn varies_on_coding(fields: &FieldSection) -> bool {
    fields
        .get_all(&VARY)
        .flat_map(|line| members(line.as_bytes()))
        .any(|m| m.eq_ignore_ascii_case(b"accept-encoding"))
}

/// Adds Accept-Encoding to Vary if it is not there.
pub fn vary_on_coding(fields: &mut FieldSection) {
    if !varies_on_coding(fields) {
        fields.append(&VARY, "Accept-Encoding");
    }
}

/// CloudFront's list; woff and woff2 are compressed already and not in it.
const TYPES: &[&str] = &[
    "application/dash+xml",
    "application/eot",
    "application/font",
    "application/font-sfnt",
    "application/javascript",
    "application/json",
    "application/opentype",
    "application/otf",
    "application/pkcs7-mime",
    "application/protobuf",
    "application/rss+xml",
    "application/truetype",
    "application/ttf",
    "application/vnd.apple.mpegurl",
    "application/vnd.mapbox-vector-tile",
    "application/vnd.ms-fontobject",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "application/x-font-opentype",
    "application/x-font-truetype",
    "application/x-font-ttf",
    "application/x-httpd-cgi",
    "application/x-javascript",
    "application/x-mpegurl",
    "application/x-opentype",
    "application/x-otf",
    "application/x-perl",
    "application/x-ttf",
    "font/eot",
    "font/opentype",
    "font/otf",
    "font/ttf",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/js",
    "text/plain",
    "text/richtext",
    "text/tab-separated-values",
    "text/xml",
    "text/x-component",
    "text/x-java-source",
    "text/x-script",
    "vnd.apple.mpegurl",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn head(lines: &[(&'static str, &str)]) -> FieldSection {
        lines.iter().copied().collect()
    }

    #[test]
    fn cloudfront_7_only_what_is_worth_it() {
        let html = head(&[("content-type", "Text/HTML; charset=utf-8")]);
        assert!(may_encode(200, &html, Some(1000)) && may_encode(404, &html, Some(10_000_000)));
        for (status, length) in [
            (200, Some(999)),
            (200, Some(10_000_001)),
            (200, None),
            (206, Some(5000)),
            (500, Some(5000)),
        ] {
            assert!(!may_encode(status, &html, length), "{status} {length:?}");
        }
        for more in [("content-type", "image/png"), ("content-type", "font/woff2")] {
            assert!(!may_encode(200, &head(&[more]), Some(5000)), "{more:?}");
        }
        for more in [("content-encoding", "identity"), ("cache-control", "max-age=5, No-Transform")]
        {
            assert!(
                !may_encode(200, &head(&[("content-type", "text/css"), more]), Some(5000)),
                "{more:?}"
            );
        }
    }

    #[test]
    fn who_names_a_coding_takes_it() {
        for (lines, codings, want) in [
            (&["gzip, br"][..], "gzip", true),
            (&["gzip;q=0, br"], "gzip", false),
            (&["br", "GZIP;q=0.001"], "gzip", true),
            (&["x-gzip"], "gzip", true),
            (&["*"], "zstd", true),
            (&["*;q=0"], "zstd", false),
            (&["zstd;q=0, *"], "zstd", false),
            (&["identity"], "gzip", false),
            (&[], "gzip", false),
            (&[], "identity", true),
            (&["gzip"], "gzip, br", false),
            (&["gzip, br"], "br, gzip", true),
        ] {
            assert_eq!(
                accepts(lines.iter().map(|line| line.as_bytes()), codings.as_bytes()),
                want,
                "{lines:?} {codings}"
            );
        }
    }

    #[test]
    fn cloudfront_7_tags_are_weakened() {
        for (tag, expected) in
            [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)]
        {
            let mut fields = head(&[("etag", tag), ("content-length", "5000"), ("vary", "origin")]);
            note_coding(&mut fields, Coding::Brotli);
            assert_eq!(fields.get(&ETAG).map(|tag| tag.to_str().unwrap()), expected, "{tag}");
            assert_eq!(
                (
                    fields.get(&CONTENT_ENCODING).unwrap().as_bytes(),
                    fields.get(&CONTENT_LENGTH),
                    fields.get_all(&VARY).count()
                ),
                (&b"br"[..], None, 2)
            );
        }
    }
}
