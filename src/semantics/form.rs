//! Forms in URL encoding (`application/x-www-form-urlencoded`, WHATWG URL §5): pairs as they stand
//! in a body, and what they say.

use std::borrow::Cow;

/// The media type of such forms.
pub const MEDIA_TYPE: &str = "application/x-www-form-urlencoded";

/// A pair as it stands: what is before the first `=`, and what is behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair<'f> {
    pub name: &'f [u8],
    /// `None` without a `=`.
    pub value: Option<&'f [u8]>,
}

/// The pairs, empty ones between two `&` included: joined by `&` they are the form again.
pub fn pairs(form: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    form.split(|octet| *octet == b'&').map(|pair| match memchr::memchr(b'=', pair) {
        Some(at) => Pair { name: &pair[..at], value: Some(&pair[at + 1..]) },
        None => Pair { name: pair, value: None },
    })
}

/// What a name or a value says: `+` is a space, `%41` an `A`. `None` if a `%` stands before
/// something else than two hexadecimal digits, which readers take in different ways.
pub fn decode(text: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr::memchr2(b'+', b'%', text).is_none() {
        return Some(Cow::Borrowed(text));
    }
    let digit = |octet: &u8| (*octet as char).to_digit(16).and_then(|n| u8::try_from(n).ok());
    let (mut out, mut rest) = (Vec::with_capacity(text.len()), text);
    while let [octet, after @ ..] = rest {
        rest = after;
        match octet {
            b'+' => out.push(b' '),
            b'%' => {
                let [high, low, after @ ..] = rest else { return None };
                out.push((digit(high)? << 4) | digit(low)?);
                rest = after;
            }
            other => out.push(*other),
        }
    }
    Some(Cow::Owned(out))
}

/// Writes base64 as a value: its `+`, `/` and `=` mean something else in a form.
pub fn write_base64(out: &mut Vec<u8>, base64: &str) {
    for octet in base64.bytes() {
        match octet {
            b'+' => out.extend_from_slice(b"%2B"),
            b'/' => out.extend_from_slice(b"%2F"),
            b'=' => out.extend_from_slice(b"%3D"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pairs_joined_are_the_form_again(form in "[a=&%+ 0;]{0,40}") {
            let joined: Vec<Vec<u8>> = pairs(form.as_bytes())
                .map(|pair| match pair.value {
                    Some(value) => [pair.name, b"=", value].concat(),
                    None => pair.name.to_vec(),
                })
                .collect();
            prop_assert_eq!(joined.join(&b'&'), form.as_bytes());
        }

        #[test]
        fn base64_says_the_same_behind_its_escapes(text in "[A-Za-z0-9+/]{0,40}={0,2}") {
            let mut out = Vec::new();
            write_base64(&mut out, &text);
            prop_assert_eq!(decode(&out).unwrap(), text.as_bytes());
        }
    }

    #[test]
    fn what_a_name_says() {
        for (text, said) in [
            ("card", Some("card")),
            ("card%5Bn%5d+x", Some("card[n] x")),
            ("%2B+", Some("+ ")),
            ("", Some("")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
        ] {
            assert_eq!(decode(text.as_bytes()).as_deref(), said.map(str::as_bytes), "{text}");
        }
    }
}
