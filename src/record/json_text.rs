//! Pure: text between the quotes of JSON. Whatever could end the text or the line, or is a control,
//! is escaped; what is not UTF-8 is replaced.

use crate::base::octets;

/// Eight octets of one.
const ONES: u64 = 0x0101_0101_0101_0101;
/// The highest bit of each of eight octets.
const HIGH: u64 = 0x8080_8080_8080_8080;

/// Octets of UTF-8 that may begin something to be escaped. 0xC2 begins the C1 controls among
/// others, 0xE2 the two that some readers take for the end of a line.
static STOPS: [bool; 256] =
    octets::table!(|octet| matches!(octet, 0..=0x1f | 0x22 | 0x5c | 0x7f | 0xc2 | 0xe2));

/// Appends text that may be anything. Most of it is plain, and is found to be by eight octets at
/// once.
pub fn write(out: &mut Vec<u8>, text: &[u8]) {
    if is_plain(text) {
        return out.extend_from_slice(text);
    }
    for chunk in text.utf8_chunks() {
        write_escaped(out, chunk.valid().as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

// Says whether all of it is ASCII that stands for itself.
fn is_plain(text: &[u8]) -> bool {
    let Some(last) = text.last_chunk::<8>() else {
        // The halves of a word may overlap, too.
        let (Some([a, b, c, d]), Some([e, f, g, h])) =
            (text.first_chunk::<4>(), text.last_chunk::<4>())
        else {
            return text.iter().all(|octet| octet.is_ascii() && !STOPS[usize::from(*octet)]);
        };
        return is_plain_word(u64::from_ne_bytes([*a, *b, *c, *d, *e, *f, *g, *h]));
    };
    let (words, _) = text.as_chunks::<8>();
    let is_plain = |word: &[u8; 8]| is_plain_word(u64::from_ne_bytes(*word));
    // The last eight octets may overlap those before.
    words.iter().all(is_plain) && is_plain(last)
}

// The same of eight octets. Each term has a bit that is set if, and only if, one of the octets is
// such; which one it says reliably only for the lowest.
const fn is_plain_word(word: u64) -> bool {
    let is_not_ascii_or_delete = (word | word.wrapping_add(ONES)) & HIGH;
    let is_control = word.wrapping_sub(ONES * 0x20) & !word & HIGH;
    let is_quote = zeros(word ^ (ONES * 0x22));
    let is_backslash = zeros(word ^ (ONES * 0x5c));
    (is_not_ascii_or_delete | is_control | is_quote | is_backslash) == 0
}

// Has a bit set if an octet is zero.
const fn zeros(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGH
}

// Good UTF-8, by runs of what stands for itself.
fn write_escaped(out: &mut Vec<u8>, mut text: &[u8]) {
    while let Some(at) = text.iter().position(|octet| STOPS[usize::from(*octet)]) {
        let (run, rest) = text.split_at(at);
        out.extend_from_slice(run);
        text = write_stop(out, rest);
    }
    out.extend_from_slice(text);
}

// Writes what stands first, escaped if it has to be; what is left.
fn write_stop<'t>(out: &mut Vec<u8>, text: &'t [u8]) -> &'t [u8] {
    match text {
        [quoted @ (b'"' | b'\\'), rest @ ..] => {
            out.extend_from_slice(&[b'\\', *quoted]);
            rest
        }
        // U+0080 to U+009F have their number as their second octet.
        [0xc2, second @ 0x80..=0x9f, rest @ ..] => {
            write_number(out, *second);
            rest
        }
        [0xe2, 0x80, third @ (0xa8 | 0xa9), rest @ ..] => {
            out.extend_from_slice(&[b'\\', b'u', b'2', b'0', b'2', b'8' + (*third - 0xa8)]);
            rest
        }
        [control @ (0..=0x1f | 0x7f), rest @ ..] => {
            write_number(out, *control);
            rest
        }
        // The beginning of another character, whose other octets stop nothing.
        [plain, rest @ ..] => {
            out.push(*plain);
            rest
        }
        [] => text,
    }
}

// A character by its number.
fn write_number(out: &mut Vec<u8>, number: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let [high, low] = [number >> 4, number & 15].map(|digit| HEX[usize::from(digit)]);
    out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // Says it octet by octet.
    fn is_plain_slowly(text: &[u8]) -> bool {
        text.iter().all(|b| (0x20..0x7f).contains(b) && *b != b'"' && *b != b'\\')
    }

    fn written(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        write(&mut out, text);
        out
    }

    #[test]
    fn each_octet_is_seen_wherever_it_stands() {
        for octet in 0..=255u8 {
            for len in 1..20 {
                for at in 0..len {
                    for around in [b'a', b' ', b'~', b'!', b'#', b']'] {
                        let mut text = vec![around; len];
                        text[at] = octet;
                        assert_eq!(is_plain(&text), is_plain_slowly(&text), "{text:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_character_is_escaped_or_stands_for_itself() {
        for c in ('\0'..='\u{3000}').chain(['\u{fffd}', '\u{ffff}', '\u{1f600}', char::MAX]) {
            let text = format!("a{c}b");
            let is_stop = c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
            let expected = match c {
                '"' | '\\' => format!("a\\{c}b"),
                c if is_stop => format!("a\\u{:04x}b", c as u32),
                _ => text.clone(),
            };
            assert_eq!(written(text.as_bytes()), expected.as_bytes(), "{c:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(text in proptest::collection::vec(prop_oneof![any::<u8>(), 0x20..0x7fu8, Just(0xc2), Just(0xe2), 0x80..0xc0u8], 0..60)) {
            prop_assert_eq!(is_plain(&text), is_plain_slowly(&text));
            let quoted = [&b"\""[..], &written(&text), b"\""].concat();
            let read: String = serde_json::from_slice(&quoted).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&text).into_owned());
        }
    }
}
