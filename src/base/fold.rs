//! Pure: whether two names are the same in any case, by eight octets at once.
//!
//! Names of fields are compared more often than anything else in a head, and most that have the
//! same length are the same.

/// Eight octets of one.
const ONES: u64 = 0x0101_0101_0101_0101;

/// Says whether both are the same but for the case of ASCII letters.
///
/// Most names that are compared differ, and most of those in their length or where they begin.
#[inline]
pub fn eq(one: &[u8], other: &[u8]) -> bool {
    match (one, other) {
        ([first, ..], [other_first, ..]) => {
            one.len() == other.len() && (first ^ other_first) & !0x20 == 0 && is_same(one, other)
        }
        _ => one.is_empty() && other.is_empty(),
    }
}

// The same of two of one length.
fn is_same(one: &[u8], other: &[u8]) -> bool {
    let (Some(end), Some(other_end)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) else {
        return is_same_short(one, other);
    };
    let (words, other_words) = (one.as_chunks::<8>().0, other.as_chunks::<8>().0);
    // The last eight octets may overlap those before.
    words.iter().zip(other_words).all(|(word, other)| same(*word, *other)) && same(*end, *other_end)
}

// The same of fewer than eight octets: two halves that may overlap make eight of them.
fn is_same_short(one: &[u8], other: &[u8]) -> bool {
    let halves = |name: &[u8]| Some(joined(*name.first_chunk::<4>()?, *name.last_chunk::<4>()?));
    match (halves(one), halves(other)) {
        (Some(one), Some(other)) => same(one, other),
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Says whether a name is one that is known when this is compiled, in any case. `known` is spelled
/// in lower case, of letters, digits and hyphens: then it is a few moves, and one comparison for
/// eight octets.
#[inline(always)]
pub fn is<const N: usize>(name: &[u8], known: &[u8; N]) -> bool {
    let Ok(name) = <&[u8; N]>::try_from(name) else { return false };
    if let (Some(end), Some(known_end)) = (name.last_chunk::<8>(), known.last_chunk::<8>()) {
        let (words, known_words) = (name.as_chunks::<8>().0, known.as_chunks::<8>().0);
        return words.iter().zip(known_words).all(|(word, known)| is_word(*word, *known))
            && is_word(*end, *known_end);
    }
    let halves = (
        name.first_chunk::<4>(),
        name.last_chunk::<4>(),
        known.first_chunk::<4>(),
        known.last_chunk::<4>(),
    );
    if let (Some(start), Some(end), Some(known_start), Some(known_end)) = halves {
        return is_word(joined(*start, *end), joined(*known_start, *known_end));
    }
    name.eq_ignore_ascii_case(known)
}

// Bit 5 tells the cases of a letter apart, and no letter from anything else. Of what a known name
// is spelled with, only letters have bit 6.
#[inline(always)]
fn is_word(word: [u8; 8], known: [u8; 8]) -> bool {
    let (word, known) = (u64::from_ne_bytes(word), u64::from_ne_bytes(known));
    word | ((known & (ONES * 0x40)) >> 1) == known
}

#[inline(always)]
const fn joined([a, b, c, d]: [u8; 4], [e, f, g, h]: [u8; 4]) -> [u8; 8] {
    [a, b, c, d, e, f, g, h]
}

#[inline]
fn same(one: [u8; 8], other: [u8; 8]) -> bool {
    let (one, other) = (u64::from_ne_bytes(one), u64::from_ne_bytes(other));
    // Most are spelled alike, and most others differ in more than the bit that tells cases apart.
    let differ = one ^ other;
    differ == 0 || ((differ & !(ONES * 0x20)) == 0 && lower(one) == lower(other))
}

// Sets bit 5 of each octet that is an upper case letter. No sum crosses the bound of an octet,
// because the highest bit of each is kept out of it.
const fn lower(word: u64) -> u64 {
    let low = word & (ONES * 0x7f);
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let behind_z = low + ONES * (0x7f - b'Z' as u64);
    let is_upper = (from_a ^ behind_z) & !word & (ONES * 0x80);
    word | (is_upper >> 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_pair_of_octets_is_compared_as_std_compares_it() {
        for one in 0..=255u8 {
            for other in 0..=255u8 {
                for len in [1, 3, 4, 7, 8, 9, 16, 17] {
                    for at in [0, len / 2, len - 1] {
                        let (mut a, mut b) = (vec![b'a'; len], vec![b'A'; len]);
                        (a[at], b[at]) = (one, other);
                        assert_eq!(eq(&a, &b), a.eq_ignore_ascii_case(&b), "{a:?} {b:?}");
                    }
                }
            }
        }
        assert!(eq(b"", b"") && !eq(b"a", b"") && !eq(b"abcdefgh", b"abcdefghi"));
    }

    #[test]
    fn each_octet_of_a_known_name_is_compared_as_std_compares_it() {
        fn check<const N: usize>(known: &[u8; N]) {
            assert!(is(known, known) && is(&known.to_ascii_uppercase(), known));
            assert!(!is(&known[1..], known) && !is(&[&known[..], &known[..1]].concat(), known));
            for at in 0..N {
                for octet in 0..=255u8 {
                    let mut name = *known;
                    name[at] = octet;
                    assert_eq!(is(&name, known), name.eq_ignore_ascii_case(known), "{name:?}");
                }
            }
        }
        check(b"te");
        check(b"host");
        check(b"range");
        check(b"referer");
        check(b"if-range");
        check(b"user-agent");
        check(b"accept-encoding");
        check(b"x-0123456789-abc");
        check(b"if-modified-since");
        check(b"if-unmodified-since");
    }

    proptest! {
        #[test]
        fn names_are_compared_as_std_compares_them(one in "[A-Za-z_^~|-]{0,40}", other in "[A-Za-z_^~|-]{0,40}") {
            prop_assert_eq!(eq(one.as_bytes(), other.as_bytes()), one.eq_ignore_ascii_case(&other));
            let upper = one.to_ascii_uppercase();
            prop_assert!(eq(one.as_bytes(), upper.as_bytes()));
        }
    }
}
