//! Cache-Control and its targeted form, parsed once and then asked.
//!
//! Safety decides every doubt: a directive that forbids is honoured in any spelling, a number that
//! is not a number counts as zero (RFC 9111 §4.2.1 lets us call such a response stale), and of a
//! directive given twice the smaller value holds. Knows nothing of policies; `cache::ttl` weighs
//! what stands here.

use http::HeaderName;

use super::lists::{is_token, members, parse_digits, split_outside_quotes, trim};
use super::structured::{self, BareItem};

/// A number of seconds said by an origin; saturates, never overflows.
pub type DeltaSeconds = u64;

/// What a Cache-Control field (or a targeted one) asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheControl {
    pub max_age: Option<DeltaSeconds>,
    pub s_maxage: Option<DeltaSeconds>,
    pub stale_while_revalidate: Option<DeltaSeconds>,
    pub stale_if_error: Option<DeltaSeconds>,
    flags: u16,
}

/// A directive without a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Directive {
    NoStore = 1,
    /// Without fields, or with a list of them that cannot be followed (RFC 9111 §5.2.2.4).
    NoCache = 1 << 1,
    /// The same (RFC 9111 §5.2.2.7).
    Private = 1 << 2,
    Public = 1 << 3,
    MustRevalidate = 1 << 4,
    ProxyRevalidate = 1 << 5,
    MustUnderstand = 1 << 6,
    OnlyIfCached = 1 << 7,
    Immutable = 1 << 8,
    /// The qualified form of no-cache or private, `no-cache="a"`: of the response only these fields
    /// may not be kept. [`withheld`] says which.
    Withholds = 1 << 9,
}

impl CacheControl {
    /// Reads all lines of a Cache-Control field, in order.
    ///
    /// ```
    /// use foreshore::semantics::cache_control::{CacheControl, Directive};
    /// let cc = CacheControl::parse([&b"Max-Age=60, ext=\"a, no-store\""[..]]);
    /// assert_eq!(cc.max_age, Some(60));
    /// assert!(!cc.has(Directive::NoStore));
    /// ```
    pub fn parse<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Self {
        let mut parsed = Self::default();
        for line in lines {
            for member in split_outside_quotes(line, b',') {
                parsed.read_member(trim(member));
            }
        }
        parsed
    }

    fn read_member(&mut self, member: &[u8]) {
        let (name, value) = match member.iter().position(|b| *b == b'=') {
            Some(at) => (&member[..at], Some(&member[at + 1..])),
            None => (member, None),
        };
        let trimmed = trim(name);
        let directive = match () {
            () if trimmed.eq_ignore_ascii_case(b"no-store") => Directive::NoStore,
            () if qualified(member).is_some() => Directive::Withholds,
            () if trimmed.eq_ignore_ascii_case(b"no-cache") => Directive::NoCache,
            () if trimmed.eq_ignore_ascii_case(b"private") => Directive::Private,
            () if trimmed.eq_ignore_ascii_case(b"public") => Directive::Public,
            () if trimmed.eq_ignore_ascii_case(b"must-revalidate") => Directive::MustRevalidate,
            () if trimmed.eq_ignore_ascii_case(b"proxy-revalidate") => Directive::ProxyRevalidate,
            () if trimmed.eq_ignore_ascii_case(b"must-understand") => Directive::MustUnderstand,
            () if trimmed.eq_ignore_ascii_case(b"only-if-cached") => Directive::OnlyIfCached,
            () if trimmed.eq_ignore_ascii_case(b"immutable") => Directive::Immutable,
            () => {
                // White space around `=` is not of the grammar: the number does not count, so it is
                // zero.
                let seconds =
                    if trimmed.len() == name.len() { delta_seconds(value) } else { Some(0) };
                let slot = match () {
                    () if trimmed.eq_ignore_ascii_case(b"max-age") => &mut self.max_age,
                    () if trimmed.eq_ignore_ascii_case(b"s-maxage") => &mut self.s_maxage,
                    // A window without a number opens nothing (CloudFront: "Manage how long content
                    // stays in the cache (expiration)").
                    () if trimmed.eq_ignore_ascii_case(b"stale-while-revalidate") => {
                        return keep_smaller(
                            &mut self.stale_while_revalidate,
                            seconds.unwrap_or(0),
                        );
                    }
                    () if trimmed.eq_ignore_ascii_case(b"stale-if-error") => {
                        return keep_smaller(&mut self.stale_if_error, seconds.unwrap_or(0));
                    }
                    () => return,
                };
                return keep_smaller(slot, seconds.unwrap_or(0));
            }
        };
        self.set(directive);
    }

    /// Says whether a directive was given.
    pub const fn has(&self, directive: Directive) -> bool {
        self.flags & directive as u16 != 0
    }

    /// Adds a directive.
    pub const fn set(&mut self, directive: Directive) {
        self.flags |= directive as u16;
    }

    /// Takes a directive away (only `must-understand` does that, RFC 9111 §5.2.2.3).
    pub const fn unset(&mut self, directive: Directive) {
        self.flags &= !(directive as u16);
    }

    /// Reads a targeted field such as CDN-Cache-Control (RFC 9213 §2.1): a structured Dictionary.
    ///
    /// `None` when it is absent, empty or does not parse; then Cache-Control and Expires rule as
    /// usual.
    pub fn parse_targeted<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut joined = Vec::new();
        for line in lines {
            if !joined.is_empty() {
                joined.extend_from_slice(b", ");
            }
            joined.extend_from_slice(line);
        }
        // Most responses have no such field.
        if joined.is_empty() {
            return None;
        }
        let dictionary = structured::parse_dictionary(&joined)?;
        if dictionary.is_empty() {
            return None;
        }
        let mut parsed = Self::default();
        for (name, value) in &dictionary {
            parsed.read_targeted(name, value);
        }
        Some(parsed)
    }

    fn read_targeted(&mut self, name: &str, value: &BareItem) {
        let seconds = match value {
            BareItem::Integer(n) => u64::try_from(*n).ok(),
            _ => None,
        };
        // A member of the wrong type does not count (RFC 9213 §2.1), except that what forbids still
        // forbids.
        let is_set = !matches!(value, BareItem::Boolean(false));
        match name {
            "max-age" => self.max_age = seconds.or(self.max_age),
            "s-maxage" => self.s_maxage = seconds.or(self.s_maxage),
            "stale-while-revalidate" => self.stale_while_revalidate = seconds,
            "stale-if-error" => self.stale_if_error = seconds,
            "no-store" if is_set => self.set(Directive::NoStore),
            "no-cache" if is_set => self.set(Directive::NoCache),
            "private" if is_set => self.set(Directive::Private),
            "public" if is_set => self.set(Directive::Public),
            "must-revalidate" if is_set => self.set(Directive::MustRevalidate),
            "proxy-revalidate" if is_set => self.set(Directive::ProxyRevalidate),
            "must-understand" if is_set => self.set(Directive::MustUnderstand),
            "immutable" if is_set => self.set(Directive::Immutable),
            _ => {}
        }
    }
}

/// The fields that the qualified forms of no-cache and private name in these lines of
/// Cache-Control: they are not to be stored, the rest may be.
pub fn withheld<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Vec<HeaderName> {
    let directives = lines.into_iter().flat_map(|line| split_outside_quotes(line, b','));
    directives
        .filter_map(|member| qualified(trim(member)))
        .flatten()
        .filter_map(|name| HeaderName::from_bytes(name).ok())
        .collect()
}

// The fields that a directive of the form `no-cache="a, b"` names. Any other form, and a list with
// something in it that is no field or that a stored response cannot do without, is `None`: then the
// directive is of the whole response, which is the safe reading.
fn qualified(member: &[u8]) -> Option<impl Iterator<Item = &[u8]>> {
    let at = member.iter().position(|octet| *octet == b'=')?;
    let [b'"', listed @ .., b'"'] = &member[at + 1..] else { return None };
    let takes_fields = [&b"no-cache"[..], b"private"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(&member[..at]));
    let can_be_left_out = |name: &[u8]| {
        is_token(name) && !ESSENTIAL.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(name))
    };
    let is_followed =
        takes_fields && members(listed).next().is_some() && members(listed).all(can_be_left_out);
    is_followed.then(|| members(listed))
}

/// What a stored response is misread without.
const ESSENTIAL: [&str; 17] = [
    "age",
    "cache-control",
    "cdn-cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expires",
    "last-modified",
    "location",
    "trailer",
    "transfer-encoding",
    "vary",
];

// Accepts the token and the quoted form (RFC 9111 §5.2); `None` for anything that is not digits.
fn delta_seconds(value: Option<&[u8]>) -> Option<DeltaSeconds> {
    let value = value?;
    let inner = match value {
        [b'"', inner @ .., b'"'] => inner,
        plain => plain,
    };
    parse_digits(inner)
}

fn keep_smaller(slot: &mut Option<DeltaSeconds>, seconds: DeltaSeconds) {
    *slot = Some(slot.map_or(seconds, |old| old.min(seconds)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cc(line: &str) -> CacheControl {
        CacheControl::parse([line.as_bytes()])
    }

    #[test]
    fn caching_1_1_quoted_text_is_not_a_directive() {
        let parsed = cc(r#"ext="a, max-age=3600, no-store", max-age=1"#);
        assert_eq!(parsed.max_age, Some(1));
        assert!(!parsed.has(Directive::NoStore));
    }

    #[test]
    fn caching_1_2_names_in_any_case_and_leading_zeros() {
        assert!(cc("No-StOrE").has(Directive::NoStore));
        assert_eq!(cc("MAX-AGE=00060").max_age, Some(60));
    }

    #[test]
    fn caching_1_3_and_1_6_bad_numbers_are_zero_and_never_ignored() {
        for bad in [
            "max-age=-5",
            "max-age='3600'",
            "max-age=a3600",
            "max-age=3600a",
            "max-age=3600.0",
            "max-age =3600",
            "max-age= 3600",
            "max-age",
            "max-age=",
        ] {
            assert_eq!(cc(bad).max_age, Some(0), "{bad}");
        }
        assert_eq!(cc(r#"max-age="3600""#).max_age, Some(3600));
    }

    #[test]
    fn caching_1_4_huge_numbers_saturate() {
        assert_eq!(cc("max-age=99999999999999999999").max_age, Some(u64::MAX));
        assert_eq!(cc("max-age=2147483649").max_age, Some(2_147_483_649));
    }

    #[test]
    fn caching_1_5_the_smaller_of_two_holds_over_lines_too() {
        let lines: [&[u8]; 2] = [b"max-age=60", b"max-age=10"];
        assert_eq!(CacheControl::parse(lines).max_age, Some(10));
        assert_eq!(cc("max-age=10, max-age=60").max_age, Some(10));
    }

    #[test]
    fn caching_1_7_stray_parts_do_not_fail_the_field() {
        let parsed = cc(r#",, =5, unknown="x", no-cache="", private=, max-age=5"#);
        assert!(
            parsed.has(Directive::NoCache)
                && parsed.has(Directive::Private)
                && !parsed.has(Directive::Withholds)
        );
        assert_eq!(parsed.max_age, Some(5));
    }

    #[test]
    fn caching_4_4_a_list_of_fields_is_of_these_fields_alone() {
        for (line, names) in [
            (r#"no-cache="Set-Cookie""#, &["set-cookie"][..]),
            (r#"PRIVATE="a, B""#, &["a", "b"][..]),
            (
                r#"public, max-age=60, no-cache="x-a,, x-b" , private=" set-cookie ""#,
                &["x-a", "x-b", "set-cookie"][..],
            ),
        ] {
            let parsed = cc(line);
            assert!(
                parsed.has(Directive::Withholds)
                    && !parsed.has(Directive::NoCache)
                    && !parsed.has(Directive::Private),
                "{line}"
            );
            assert_eq!(withheld([line.as_bytes()]), names, "{line}");
        }
    }

    #[test]
    fn caching_4_4_a_list_that_cannot_be_followed_is_of_everything() {
        for value in [
            "=a",
            "=\"\"",
            "=\" , \"",
            "=\"a b\"",
            "=\"a",
            "='a'",
            "= \"a\"",
            " =\"a\"",
            "=\"Vary\"",
            "=\"a, Content-Encoding\"",
            "=\"a\"x",
        ] {
            for (word, directive) in
                [("no-cache", Directive::NoCache), ("private", Directive::Private)]
            {
                let line = format!("max-age=60, {word}{value}");
                let parsed = cc(&line);
                assert!(parsed.has(directive) && !parsed.has(Directive::Withholds), "{line}");
                assert!(withheld([line.as_bytes()]).is_empty(), "{line}");
            }
        }
        // One of each: the plain one is of everything, whatever the other names.
        let both = cc("no-cache, no-cache=\"a\"");
        assert!(both.has(Directive::NoCache));
    }

    #[test]
    fn caching_1_8_a_high_byte_does_not_hide_no_store() {
        let parsed = CacheControl::parse([&b"ext=\xe9\xff, no-store"[..]]);
        assert!(parsed.has(Directive::NoStore));
    }

    #[test]
    fn caching_10_targeted_field_is_a_dictionary() {
        let targeted = |line: &str| CacheControl::parse_targeted([line.as_bytes()]);
        assert_eq!(targeted("max-age=3600").and_then(|c| c.max_age), Some(3600));
        assert!(targeted("no-store").is_some_and(|c| c.has(Directive::NoStore)));
        for bad in ["&&&&&", "MaX-aGe=3600", "max-age = 3600", ""] {
            assert_eq!(targeted(bad), None, "{bad}");
        }
        assert_eq!(targeted(r#"max-age="3600", x"#).map(|c| c.max_age), Some(None));
    }

    proptest! {
        #[test]
        fn no_store_is_found_among_arbitrary_unquoted_members(before in "[a-z0-9=, \\x80-\\xff]{0,30}", after in "[a-z0-9=, ]{0,30}") {
            let line = format!("{before},no-store,{after}");
            prop_assert!(cc(&line).has(Directive::NoStore));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            let _ = CacheControl::parse([&bytes[..]]);
            let _ = CacheControl::parse_targeted([&bytes[..]]);
        }
    }

    const WORDS: [(&str, Directive); 9] = [
        ("no-store", Directive::NoStore),
        ("no-cache", Directive::NoCache),
        ("private", Directive::Private),
        ("public", Directive::Public),
        ("must-revalidate", Directive::MustRevalidate),
        ("proxy-revalidate", Directive::ProxyRevalidate),
        ("must-understand", Directive::MustUnderstand),
        ("only-if-cached", Directive::OnlyIfCached),
        ("immutable", Directive::Immutable),
    ];

    #[test]
    fn each_word_is_read_as_itself_and_as_nothing_else() {
        for (word, directive) in WORDS {
            for text in [word.to_string(), word.to_ascii_uppercase(), format!("x, {word} ,y=1")] {
                let read = CacheControl::parse([text.as_bytes()]);
                for (_, other) in WORDS {
                    assert_eq!(read.has(other), other == directive, "{text}: {other:?}");
                }
            }
            let mut all = CacheControl::default();
            WORDS.iter().for_each(|(_, each)| all.set(*each));
            all.unset(directive);
            for (_, other) in WORDS {
                assert_eq!(all.has(other), other != directive, "without {word}");
            }
        }
    }

    #[test]
    fn caching_10_each_word_of_a_targeted_field() {
        // `only-if-cached` is a request's word.
        for (word, directive) in WORDS.into_iter().filter(|(word, _)| *word != "only-if-cached") {
            for (text, is_set) in [
                (word.to_string(), true),
                (format!("{word}=?1"), true),
                (format!("{word}=?0"), false),
                (format!("{word}=7"), true),
            ] {
                let read = CacheControl::parse_targeted([text.as_bytes()]).unwrap();
                for (_, other) in WORDS {
                    assert_eq!(read.has(other), is_set && other == directive, "{text}: {other:?}");
                }
            }
        }
        let read = CacheControl::parse_targeted([
            &b"max-age=1, s-maxage=2, stale-while-revalidate=3"[..],
            b"stale-if-error=4",
        ])
        .unwrap();
        assert_eq!(
            (read.max_age, read.s_maxage, read.stale_while_revalidate, read.stale_if_error),
            (Some(1), Some(2), Some(3), Some(4))
        );
    }

    #[test]
    fn windows_are_read_apart() {
        let swr = CacheControl::parse([&b"Stale-While-Revalidate=5"[..]]);
        assert_eq!(
            (swr.stale_while_revalidate, swr.stale_if_error, swr.max_age),
            (Some(5), None, None)
        );
        let sie = CacheControl::parse([&b"stale-if-error=6"[..]]);
        assert_eq!(
            (sie.stale_while_revalidate, sie.stale_if_error, sie.s_maxage),
            (None, Some(6), None)
        );
    }
}
