//! Comma lists as HTTP writes them: split outside quoted strings, trimmed, empty members dropped.
//!
//! Works on bytes, because a byte above 0x7F in one member must not hide the members beside it.

/// Cuts one field line into list members (RFC 9110 §5.6.1), honouring quoted strings.
pub fn members(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    split_outside_quotes(line, b',').map(trim).filter(|member| !member.is_empty())
}

/// Cuts `line` at each `separator` that is not inside a quoted string.
pub fn split_outside_quotes(line: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(line);
    std::iter::from_fn(move || {
        let whole = rest?;
        let mut quoted = false;
        let mut at = 0;
        while at < whole.len() {
            match whole[at] {
                // A quote that is never closed is an ordinary byte: it must not hide the members
                // behind it.
                b'"' if quoted || memchr::memchr(b'"', &whole[at + 1..]).is_some() => {
                    quoted = !quoted
                }
                b'\\' if quoted => at += 1,
                b if b == separator && !quoted => {
                    rest = Some(&whole[at + 1..]);
                    return Some(&whole[..at]);
                }
                _ => {}
            }
            at += 1;
        }
        rest = None;
        Some(whole)
    })
}

/// Removes optional white space (space and tab) at both ends.
pub fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// Reads a run of digits, saturating; anything else, the empty text included, is `None`.
///
/// ```
/// use foreshore::semantics::lists::parse_digits;
/// assert_eq!(parse_digits(b"0060"), Some(60));
/// assert_eq!(parse_digits(b"99999999999999999999999"), Some(u64::MAX));
/// assert_eq!(parse_digits(b"-1"), None);
/// ```
pub fn parse_digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    Some(
        text.iter().fold(0u64, |sum, b| sum.saturating_mul(10).saturating_add(u64::from(b - b'0'))),
    )
}

/// Says whether `text` is a token (RFC 9110 §5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| is_token_byte(*b))
}

/// Says whether `byte` may stand in a token.
pub const fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#'
                | b'$'
                | b'%'
                | b'&'
                | b'\''
                | b'*'
                | b'+'
                | b'-'
                | b'.'
                | b'^'
                | b'_'
                | b'`'
                | b'|'
                | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(line: &str) -> Vec<String> {
        members(line.as_bytes()).map(|m| String::from_utf8_lossy(m).into_owned()).collect()
    }

    #[test]
    fn caching_1_1_commas_in_quotes_do_not_separate() {
        assert_eq!(all(r#"a="x, y", b"#), [r#"a="x, y""#, "b"]);
        assert_eq!(all(r#"a="x\", y", b"#), [r#"a="x\", y""#, "b"]);
    }

    #[test]
    fn an_unclosed_quote_hides_nothing() {
        assert_eq!(
            all(r#"max-age=3600, ext="a, no-store"#),
            ["max-age=3600", "ext=\"a", "no-store"]
        );
    }

    #[test]
    fn empty_members_and_space_vanish() {
        assert_eq!(all(" , a ,, b\t,"), ["a", "b"]);
        assert_eq!(all(""), Vec::<String>::new());
    }

    #[test]
    fn tokens_are_of_their_octets_and_not_empty() {
        assert!(is_token(b"a-b_c!#$%&'*+.^`|~09Z"));
        for bad in [&b""[..], b"a b", b"a,b", b"a\"", b"\xe9", b"a/b", b"(", b"\x7f"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_backslash_means_something_within_quotes_only() {
        let cut = |line: &str| {
            split_outside_quotes(line.as_bytes(), b',').map(<[u8]>::to_vec).collect::<Vec<_>>()
        };
        assert_eq!(cut("a\\,b"), [b"a\\".to_vec(), b"b".to_vec()]);
        assert_eq!(cut("\"a\\\",b\",c"), [b"\"a\\\",b\"".to_vec(), b"c".to_vec()]);
    }
}
