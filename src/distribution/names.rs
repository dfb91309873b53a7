//! Lists of names in policies: plain ones, and patterns in which `*` stands for any run of octets
//! and `?` for exactly one.
//!
//! CloudFront has patterns for cookies and fields; query parameters are always compared as they
//! stand. A list without patterns costs one comparison a name and nothing more: keys are built from
//! these lists on the hit path.

use http::HeaderName;

use crate::semantics::fields::Name;
use crate::semantics::forwarded;

/// A name with a wildcard in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// Reads a name of a policy; `None` if it has no wildcard.
    pub fn parse(text: &str) -> Option<Self> {
        text.contains(['*', '?']).then(|| Self(text.to_string()))
    }

    /// Says whether a cookie's name matches. Case matters there.
    pub fn matches(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes(), |ours, theirs| ours == theirs)
    }

    /// Says whether a field's name matches, in whatever case.
    pub fn matches_field(&self, name: &str) -> bool {
        matches(self.0.as_bytes(), name.as_bytes(), |ours, theirs| {
            ours.eq_ignore_ascii_case(&theirs)
        })
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// On a mismatch the last star takes one octet more; what an earlier one could take in its place
// changes nothing.
fn matches(pattern: &[u8], name: &[u8], same: impl Fn(u8, u8) -> bool) -> bool {
    let (mut at, mut read) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while read < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                at += 1;
                star = Some((at, read));
            }
            Some(octet) if *octet == b'?' || same(*octet, name[read]) => {
                at += 1;
                read += 1;
            }
            _ => {
                let Some((after, taken)) = star else { return false };
                (at, read) = (after, taken + 1);
                star = Some((after, read));
            }
        }
    }
    pattern[at..].iter().all(|octet| *octet == b'*')
}

/// Names of cookies or query parameters.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    exact: Vec<String>,
    patterns: Vec<NamePattern>,
}

impl Names {
    /// Each name as it stands, a `*` in it included.
    pub const fn exact(names: Vec<String>) -> Self {
        Self { exact: names, patterns: Vec::new() }
    }

    /// Names with `*` or `?` in them are patterns.
    pub fn with_patterns(names: Vec<String>) -> Self {
        let patterns = names.iter().filter_map(|name| NamePattern::parse(name)).collect();
        let exact = names.into_iter().filter(|name| NamePattern::parse(name).is_none()).collect();
        Self { exact, patterns }
    }

    /// Says whether a name is in the list. Case matters, as it does in CloudFront.
    pub fn includes(&self, name: &str) -> bool {
        self.exact.iter().any(|known| known == name)
            || self.patterns.iter().any(|pattern| pattern.matches(name))
    }

    /// The list as it was written, patterns last.
    pub fn texts(&self) -> Vec<&str> {
        self.exact
            .iter()
            .map(String::as_str)
            .chain(self.patterns.iter().map(NamePattern::as_str))
            .collect()
    }
}

/// Names of fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldNames {
    exact: Vec<HeaderName>,
    patterns: Vec<NamePattern>,
}

impl From<Vec<HeaderName>> for FieldNames {
    fn from(exact: Vec<HeaderName>) -> Self {
        Self { exact, patterns: Vec::new() }
    }
}

impl FieldNames {
    /// Plain names and patterns.
    pub const fn new(exact: Vec<HeaderName>, patterns: Vec<NamePattern>) -> Self {
        Self { exact, patterns }
    }

    /// The names that are no patterns.
    pub fn exact(&self) -> &[HeaderName] {
        &self.exact
    }

    /// The names that are no patterns, one after the other.
    pub fn iter(&self) -> std::slice::Iter<'_, HeaderName> {
        self.exact.iter()
    }

    /// Adds plain names.
    pub fn extend(&mut self, more: Vec<HeaderName>) {
        self.exact.extend(more);
    }

    /// True if nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.patterns.is_empty()
    }

    /// Says whether there are patterns.
    pub fn has_patterns(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// Says whether a field is named in full.
    pub fn names<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        name.into().is_any(&self.exact)
    }

    /// Says whether a field is chosen: named in full, or by a pattern that may take it in.
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        let name = name.into();
        self.names(name) || (self.has_patterns() && self.takes_in(name.spelled()))
    }

    /// Says whether a pattern, and no plain name, takes a field in. The name may have any case.
    pub fn takes_in(&self, name: &str) -> bool {
        self.has_patterns()
            && self.patterns.iter().any(|pattern| pattern.matches_field(name))
            && !wants_its_full_name(name)
            && !self.exact.iter().any(|known| known.as_str().eq_ignore_ascii_case(name))
    }

    /// Says whether a field is left out by this list: there a pattern covers whatever it matches.
    pub fn leaves_out<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        let name = name.into();
        self.names(name)
            || self.patterns.iter().any(|pattern| pattern.matches_field(name.spelled()))
    }

    /// The list as it was written, patterns last.
    pub fn texts(&self) -> Vec<&str> {
        self.exact
            .iter()
            .map(HeaderName::as_str)
            .chain(self.patterns.iter().map(NamePattern::as_str))
            .collect()
    }
}

// What no pattern takes in: Host and cookies have settings of their own, ranges and conditions are
// answered from the store, the rest rules one connection or is said by hops and not by viewers.
fn wants_its_full_name(name: &str) -> bool {
    const FULL: [&str; 16] = [
        "host",
        "cookie",
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "connection",
        "keep-alive",
        "transfer-encoding",
        "content-length",
        "te",
        "trailer",
        "expect",
        "upgrade",
    ];
    const HOPS: [&str; 3] = ["via", "cdn-loop", "x-forwarded-for"];
    const PREFIXES: [&str; 2] = ["cloudfront-", "foreshore-"];
    let begins = |prefix: &&str| {
        name.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    FULL.iter().chain(&HOPS).any(|known| known.eq_ignore_ascii_case(name))
        || PREFIXES.iter().any(begins)
        || forwarded::speaks_as_proxy(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    // The meaning, written the slow way, as a second opinion.
    fn reference(pattern: &[u8], name: &[u8]) -> bool {
        match pattern {
            [] => name.is_empty(),
            [b'*', rest @ ..] => (0..=name.len()).any(|at| reference(rest, &name[at..])),
            [b'?', rest @ ..] => !name.is_empty() && reference(rest, &name[1..]),
            [octet, rest @ ..] => name.first() == Some(octet) && reference(rest, &name[1..]),
        }
    }

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(ToString::to_string).collect()
    }

    proptest! {
        #[test]
        fn a_pattern_means_the_same_as_its_definition(pattern in "[ab*?]{0,8}", name in "[ab]{0,8}") {
            let wanted = reference(pattern.as_bytes(), name.as_bytes());
            prop_assert_eq!(matches(pattern.as_bytes(), name.as_bytes(), |a, b| a == b), wanted);
            prop_assert_eq!(Names::with_patterns(vec![pattern]).includes(&name), wanted);
        }
    }

    #[test]
    fn cookies_by_pattern_and_by_name() {
        let names = Names::with_patterns(list(&["wordpress_*", "wp-settings-?", "lang"]));
        for name in ["wordpress_", "wordpress_logged_in_5ab", "wp-settings-1", "lang"] {
            assert!(names.includes(name), "{name}");
        }
        for name in [
            "wordpress",
            "xwordpress_a",
            "Wordpress_a",
            "wp-settings-",
            "wp-settings-10",
            "language",
            "",
        ] {
            assert!(!names.includes(name), "{name}");
        }
        assert_eq!(names.texts(), ["lang", "wordpress_*", "wp-settings-?"]);
    }

    #[test]
    fn a_star_in_an_exact_list_is_a_star() {
        let names = Names::exact(list(&["utm_*"]));
        assert!(names.includes("utm_*") && !names.includes("utm_source"));
    }

    #[test]
    fn fields_by_pattern_in_any_case_but_not_what_wants_its_full_name() {
        let names = FieldNames::new(
            vec![HeaderName::from_static("x-real-ip")],
            vec![NamePattern("X-*".into()), NamePattern("*e".into())],
        );
        let chosen = |name: &'static str| names.contains(&HeaderName::from_static(name));
        assert!(chosen("x-tenant") && chosen("x-real-ip") && chosen("accept-language"));
        assert!(
            names.takes_in("X-Tenant") && !names.takes_in("X-Real-IP"),
            "that one stands in the list itself"
        );
        for name in [
            "x-forwarded-for",
            "x-forwarded-host",
            "x-edge-a",
            "cookie",
            "range",
            "if-none-match",
            "cloudfront-is-mobile",
        ] {
            assert!(!chosen(name), "{name}");
        }
    }

    #[test]
    fn a_list_of_exceptions_leaves_out_whatever_matches() {
        let names = FieldNames::new(
            Vec::new(),
            vec![NamePattern("x-forwarded-*".into()), NamePattern("ho?t".into())],
        );
        for (name, is_out) in [
            ("x-forwarded-host", true),
            ("host", true),
            ("x-real-ip", false),
            ("x-forwarded", false),
        ] {
            assert_eq!(names.leaves_out(&HeaderName::from_static(name)), is_out, "{name}");
        }
    }
}
