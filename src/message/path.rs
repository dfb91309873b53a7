//! A viewer's path: which ones are refused, and the one form in which the others count.
//!
//! An origin decodes what it is sent. If `/%61pi` were not `/api` here too, a viewer could choose
//! the behavior, the key and the fate under a purge by spelling.

/// Says whether a path has no dot segments, plain or encoded, behind a plain or an encoded
/// separator: an origin would resolve them after a behavior was chosen, and so answer from under
/// another behavior's rules.
pub fn is_safe_path(path: &str) -> bool {
    !may_have_dot_segments(path.as_bytes()) || has_no_dot_segments(path.as_bytes())
}

// A segment of dots begins with one behind a separator, where nothing is encoded. Many paths have a
// dot, and nearly none such a one; without a branch for each octet.
fn may_have_dot_segments(path: &[u8]) -> bool {
    let begins = path.first() == Some(&b'.');
    let behind = path.get(1..).unwrap_or_default();
    path.iter().zip(behind).fold(begins, |found, (octet, next)| {
        let is_separator = (*octet == b'/') | (*octet == b'\\');
        found | (*octet == b'%') | (is_separator & (*next == b'.'))
    })
}

fn has_no_dot_segments(path: &[u8]) -> bool {
    let mut rest = path;
    let mut dots = Some(0usize);
    loop {
        rest = match rest {
            [] => return !matches!(dots, Some(1 | 2)),
            [b'/' | b'\\', rest @ ..]
            | [b'%', b'2', b'f' | b'F', rest @ ..]
            | [b'%', b'5', b'c' | b'C', rest @ ..] => {
                if matches!(dots, Some(1 | 2)) {
                    return false;
                }
                dots = Some(0);
                rest
            }
            [b'.', rest @ ..] | [b'%', b'2', b'e' | b'E', rest @ ..] => {
                dots = dots.map(|dots| dots + 1);
                rest
            }
            [_, rest @ ..] => {
                dots = None;
                rest
            }
        };
    }
}

/// The path as an origin may come to read it: escapes undone, runs of slashes taken for one. `None`
/// where that is the path itself.
///
/// Behaviors are chosen by the path as it is, as CloudFront does; a viewer must not be able to
/// choose one by writing the same place differently.
pub fn other_reading(path: &str) -> Option<String> {
    if memchr::memchr(b'%', path.as_bytes()).is_none()
        && memchr::memmem::find(path.as_bytes(), b"//").is_none()
    {
        return None;
    }
    let mut out = String::with_capacity(path.len());
    for letter in percent_encoding::percent_decode_str(path).decode_utf8_lossy().chars() {
        if letter != '/' || !out.ends_with('/') {
            out.push(letter);
        }
    }
    (out != path).then_some(out)
}

/// Says whether a path spells an unreserved character as an escape (RFC 3986 §2.3).
pub fn has_needless_escape(path: &str) -> bool {
    path.bytes().any(|b| b == b'%')
        && (0..path.len()).any(|at| needless(path.as_bytes(), at).is_some())
}

/// The path with unreserved characters spelled plainly, which changes nothing it means (RFC 3986
/// §6.2.2.2).
///
/// A percent sign that begins no escape is escaped itself: undoing the next one must not make it
/// the start of another.
pub fn plain(path: &str) -> String {
    let bytes = path.as_bytes();
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        match needless(bytes, at) {
            Some(character) => {
                out.push(character);
                at += 3;
            }
            None if bytes[at] == b'%' && !is_escape(bytes, at) => {
                out.extend_from_slice(b"%25");
                at += 1;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    // Only ASCII was put in for ASCII.
    String::from_utf8(out).unwrap_or_else(|_| path.to_string())
}

/// Says whether a percent sign at `at` begins an escape.
pub fn is_escape(bytes: &[u8], at: usize) -> bool {
    bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// The unreserved character that an escape at `at` spells, if it does.
pub fn needless(bytes: &[u8], at: usize) -> Option<u8> {
    let [b'%', high, low] = bytes.get(at..at + 3)? else { return None };
    let digit = |b: &u8| (*b as char).to_digit(16);
    let byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    (byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')).then_some(byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_of_plain_characters_are_undone_and_no_others() {
        assert_eq!(plain("/%61pi/%7Euser/%2Fx/%c3%a4"), "/api/~user/%2Fx/%c3%a4");
        assert_eq!(plain("/%%34%31"), "/%2541", "nothing new comes into being");
        assert_eq!(plain("/ä%61"), "/äa", "what is no ASCII stays what it is");
        assert!(
            has_needless_escape("/%61")
                && !has_needless_escape("/%2f%zz%")
                && !has_needless_escape("/a")
        );
    }

    #[test]
    fn dot_segments_are_found_in_every_spelling() {
        for bad in [
            "/..",
            "/a/../b",
            "/%2e%2E/",
            "/a/.",
            "/..%2fx",
            "/a%2f..%2fb",
            "/..%5cx",
            "/..\\x",
            "/%2e",
        ] {
            assert!(!is_safe_path(bad), "{bad}");
        }
        for good in ["/a.b", "/...", "/a..", "/..a", "/.well-known/x", "/a%2fb", "/%2e%2e%2e", "/"]
        {
            assert!(is_safe_path(good), "{good}");
        }
    }

    #[test]
    fn the_quick_look_lets_no_dot_segment_pass() {
        let letters = ["/", "\\", ".", "%2e", "%2F", "%", "a"];
        for number in 0..letters.len().pow(5) {
            let path: String = (0..5)
                .map(|place| letters[number / letters.len().pow(place) % letters.len()])
                .collect();
            for from in 0..5 {
                let path = path.get(from..).unwrap_or_default();
                assert_eq!(is_safe_path(path), has_no_dot_segments(path.as_bytes()), "{path}");
            }
        }
    }
}
