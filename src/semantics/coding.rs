//! Content codings at the edge: what may be encoded, and what that changes in a head (shared/spec/CLOUDFRONT.md §7).

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderValue, VARY};

use super::lists::members;

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

/// Says whether a response may be encoded: its status, type and length, and that nobody has encoded it before or
/// forbidden it.
pub fn may_encode(status: u16, fields: &HeaderMap, length: Option<u64>) -> bool {
    let kind = fields.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let bare = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    let no_transform = fields
        .get_all(http::header::CACHE_CONTROL)
        .into_iter()
        .flat_map(|line| members(line.as_bytes()))
        .any(|member| member.eq_ignore_ascii_case(b"no-transform"));
    matches!(status, 200 | 403 | 404)
        && length.is_some_and(|length| LENGTHS.contains(&length))
        && !fields.contains_key(CONTENT_ENCODING)
        && !fields.contains_key(http::header::CONTENT_RANGE)
        && !no_transform
        && TYPES.contains(&bare.as_str())
}

/// Makes a head speak of the encoded body: the coding, a weak tag, no length, and Vary.
pub fn note_coding(fields: &mut HeaderMap, coding: Coding) {
    fields.insert(CONTENT_ENCODING, HeaderValue::from_static(coding.name()));
    fields.remove(CONTENT_LENGTH);
    for digest in ["content-md5", "digest", "content-digest"] {
        fields.remove(digest);
    }
    weaken_tag(fields);
    vary_on_coding(fields);
}

/// A strong tag becomes weak; what is no tag goes (CloudFront's rule).
pub fn weaken_tag(fields: &mut HeaderMap) {
    let Some(tag) = fields.get(ETAG).map(|tag| tag.as_bytes().to_vec()) else { return };
    if tag.starts_with(b"W/") {
        return;
    }
    match HeaderValue::from_bytes(&[b"W/", &tag[..]].concat()) {
        Ok(weak) if tag.starts_with(b"\"") => drop(fields.insert(ETAG, weak)),
        _ => drop(fields.remove(ETAG)),
    }
}

/// Adds Accept-Encoding to Vary if it is not there.
pub fn vary_on_coding(fields: &mut HeaderMap) {
    let named =
        fields.get_all(VARY).into_iter().flat_map(|line| members(line.as_bytes())).any(|m| m.eq_ignore_ascii_case(b"accept-encoding"));
    if !named {
        fields.append(VARY, HeaderValue::from_static("Accept-Encoding"));
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

    fn head(lines: &[(&'static str, &str)]) -> HeaderMap {
        lines.iter().map(|(name, value)| (http::HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn cloudfront_7_only_what_is_worth_it() {
        let html = head(&[("content-type", "Text/HTML; charset=utf-8")]);
        assert!(may_encode(200, &html, Some(1000)) && may_encode(404, &html, Some(10_000_000)));
        for (status, length) in [(200, Some(999)), (200, Some(10_000_001)), (200, None), (206, Some(5000)), (500, Some(5000))] {
            assert!(!may_encode(status, &html, length), "{status} {length:?}");
        }
        for more in [("content-type", "image/png"), ("content-type", "font/woff2")] {
            assert!(!may_encode(200, &head(&[more]), Some(5000)), "{more:?}");
        }
        for more in [("content-encoding", "identity"), ("cache-control", "max-age=5, No-Transform")] {
            assert!(!may_encode(200, &head(&[("content-type", "text/css"), more]), Some(5000)), "{more:?}");
        }
    }

    #[test]
    fn cloudfront_7_tags_are_weakened() {
        for (tag, expected) in [("\"a\"", Some("W/\"a\"")), ("W/\"a\"", Some("W/\"a\"")), ("a", None)] {
            let mut fields = head(&[("etag", tag), ("content-length", "5000"), ("vary", "origin")]);
            note_coding(&mut fields, Coding::Brotli);
            assert_eq!(fields.get(ETAG).map(|tag| tag.to_str().unwrap()), expected, "{tag}");
            assert_eq!(
                (&fields[CONTENT_ENCODING], fields.get(CONTENT_LENGTH), fields.get_all(VARY).iter().count()),
                (&HeaderValue::from_static("br"), None, 2)
            );
        }
    }
}
