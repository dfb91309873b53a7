//! Pure: the URI and the query that a function returned.

use std::borrow::Cow;
use std::fmt::Write as _;

use super::invalid::Invalid;
use crate::functions::event::QueryOut;
use crate::message::path::is_safe_path;

/// URI and query together are shorter than this.
pub const URL_MAX: usize = 8192;

/// The path that a request is to have; `None` where it is as it was.
///
/// What cannot stand in a path is escaped, `?` and `#` with it: the query is another member of the
/// request.
pub fn uri(returned: Option<&str>, was: &[u8]) -> Result<Option<String>, Invalid> {
    let Some(uri) = returned.filter(|uri| uri.as_bytes() != was) else { return Ok(None) };
    if !uri.starts_with('/') {
        return Err(Invalid::new("request.uri", "must begin with /", uri));
    }
    if has_control(uri) {
        return Err(Invalid::new("request.uri", "must not have control characters", uri));
    }
    let path = if uri.bytes().any(is_escaped) { escaped(uri) } else { uri.to_string() };
    if !is_safe_path(&path) {
        return Err(Invalid::new("request.uri", "must not have . or .. for a segment", uri));
    }
    Ok((path.as_bytes() != was).then_some(path))
}

// Whether there is a control character; of what is not ASCII those of Unicode's C1.
fn has_control(text: &str) -> bool {
    if text.is_ascii() {
        text.bytes().any(|byte| byte.is_ascii_control())
    } else {
        text.chars().any(char::is_control)
    }
}

// What cannot stand in a path.
const fn is_escaped(byte: u8) -> bool {
    byte >= 0x80
        || matches!(
            byte,
            b'?' | b'#' | b' ' | b'"' | b'<' | b'>' | b'\\' | b'^' | b'`' | b'{' | b'|' | b'}'
        )
}

fn escaped(uri: &str) -> String {
    let mut path = String::with_capacity(uri.len());
    for byte in uri.bytes() {
        if is_escaped(byte) {
            let _ = write!(path, "%{byte:02X}");
        } else {
            path.push(char::from(byte));
        }
    }
    path
}

/// The query that a request is to have, `None` inside for none; `None` where it is as it was.
pub fn query(
    returned: Option<&QueryOut>,
    was: Option<&[u8]>,
) -> Result<Option<Option<String>>, Invalid> {
    let text: Cow<'_, str> = match returned {
        None => return Ok(None),
        Some(QueryOut::Text(text)) => text.as_str().into(),
        Some(QueryOut::Pairs(pairs)) => match joined(pairs, was.unwrap_or_default()) {
            Some(text) => text.into(),
            None => return Ok(None),
        },
    };
    if text.as_bytes() == was.unwrap_or_default() {
        return Ok(None);
    }
    let is_bad = |c: char| c == ' ' || c == '#' || c.is_control();
    if text.contains(is_bad) {
        let rule = "must not have spaces, control characters or #";
        return Err(Invalid::new("request.querystring", rule, &text));
    }
    let mut plain = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() {
            plain.push(char::from(byte));
        } else {
            let _ = write!(plain, "%{byte:02X}");
        }
    }
    Ok(Some((!plain.is_empty()).then_some(plain)))
}

/// Holds what a request is to have to CloudFront's length.
pub fn check_length(path: usize, query: Option<usize>) -> Result<(), Invalid> {
    let whole = path + query.map_or(0, |query| query + 1);
    if whole < URL_MAX {
        return Ok(());
    }
    let rule = "must have fewer than 8,192 characters together with the query string";
    Err(Invalid::new("request.uri", rule, &whole.to_string()))
}

// Name and value of a parameter, as they are spelled.
fn split(parameter: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b'=', parameter) {
        Some(at) => (&parameter[..at], &parameter[at + 1..]),
        None => (parameter, b""),
    }
}

// The query of these pairs; `None` if they are those of `was`. A pair that was there keeps its
// spelling: `?a` and `?a=` look alike to code.
fn joined(pairs: &[(String, String)], was: &[u8]) -> Option<String> {
    let parameters = was.split(|b| *b == b'&').filter(|parameter| !parameter.is_empty());
    let mut before: Vec<(&[u8], bool)> = parameters.map(|parameter| (parameter, false)).collect();
    let mut text = String::new();
    let mut is_same = true;
    for (name, value) in pairs {
        let known = before
            .iter_mut()
            .find(|(parameter, is_used)| {
                !is_used && split(parameter) == (name.as_bytes(), value.as_bytes())
            })
            .and_then(|(parameter, is_used)| {
                *is_used = true;
                std::str::from_utf8(parameter).ok()
            });
        if !text.is_empty() {
            text.push('&');
        }
        match known {
            Some(parameter) => text.push_str(parameter),
            None => {
                is_same = false;
                text.push_str(name);
                text.push('=');
                text.push_str(value);
            }
        }
    }
    // Values of one name come together; that alone is no change.
    let is_same = is_same && before.iter().all(|(_, is_used)| *is_used);
    (!is_same).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_is_a_path_and_nothing_else() {
        for (returned, wanted) in [
            (None, Ok(None)),
            (Some("/a"), Ok(None)),
            (Some("/index.html"), Ok(Some("/index.html"))),
            (Some("/b?c=d"), Ok(Some("/b%3Fc=d"))),
            (Some("/b#c"), Ok(Some("/b%23c"))),
            (Some("/ü x"), Ok(Some("/%C3%BC%20x"))),
            (Some("/%20"), Ok(Some("/%20"))),
            (Some("a"), Err("must begin with /")),
            (Some(""), Err("must begin with /")),
            (Some("/a\nb"), Err("must not have control characters")),
            (Some("/a/../b"), Err("must not have . or .. for a segment")),
            (Some("/a/%2e%2e/b"), Err("must not have . or .. for a segment")),
        ] {
            let made = uri(returned, b"/a");
            let made = made.as_ref().map(Option::as_deref).map_err(|why| why.rule.as_str());
            assert_eq!(made, wanted, "{returned:?}");
        }
    }

    #[test]
    fn a_query_keeps_the_spelling_of_what_stays() {
        let pairs = |all: &[(&str, &str)]| {
            QueryOut::Pairs(all.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect())
        };
        let of = |returned: QueryOut| query(Some(&returned), Some(b"a&b=1&a=2")).unwrap();
        assert_eq!(of(pairs(&[("a", ""), ("a", "2"), ("b", "1")])), None);
        assert_eq!(of(pairs(&[("a", ""), ("b", "1")])), Some(Some("a&b=1".into())));
        assert_eq!(of(pairs(&[("b", "1"), ("c", "")])), Some(Some("b=1&c=".into())));
        assert_eq!(of(pairs(&[])), Some(None));
        assert_eq!(of(QueryOut::Text("a&b=1&a=2".into())), None);
        assert_eq!(of(QueryOut::Text(String::new())), Some(None));
        assert_eq!(of(QueryOut::Text("x=ü".into())), Some(Some("x=%C3%BC".into())));
        assert_eq!(query(Some(&QueryOut::Text(String::new())), None), Ok(None));
        for bad in ["a b", "a#b", "a\r\nb", "a\u{7f}"] {
            assert!(query(Some(&QueryOut::Text(bad.into())), None).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn uri_and_query_are_shorter_than_8192_together() {
        assert_eq!(check_length(8191, None), Ok(()));
        assert_eq!(check_length(8000, Some(190)), Ok(()));
        assert!(check_length(8192, None).is_err());
        assert!(check_length(8000, Some(191)).is_err());
    }
}
