//! Host names: reading an authority strictly, and finding the distribution that answers for a name.
//!
//! Exact names win over wildcards, longer wildcard suffixes over shorter ones, any depth below the
//! suffix (CloudFront's alternate domain names). Which certificate covers a name is another
//! question, asked in `certificate`: there a wildcard stands for one label only.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::base::octets;

/// An authority cut into host and port, as the viewer spelled it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Authority<'a> {
    pub host: &'a str,
    pub port: Option<u16>,
}

/// Reads `host`, `host:port` or `[v6]:port`; user information, empty hosts and stray bytes are
/// refused.
///
/// ```
/// use foreshore::distribution::host::parse_authority;
/// assert_eq!(parse_authority("a.example:81").map(|a| (a.host, a.port)), Some(("a.example", Some(81))));
/// assert!(parse_authority("user@a.example").is_none());
/// ```
pub fn parse_authority(text: &str) -> Option<Authority<'_>> {
    let (host, port) = if text.starts_with('[') {
        let end = text.find(']')?;
        text[1..end].parse::<std::net::Ipv6Addr>().ok()?;
        (&text[..=end], &text[end + 1..])
    } else {
        let end = text.bytes().position(|b| !OF_NAME[usize::from(b)]).unwrap_or(text.len());
        if !(1..=253).contains(&end) {
            return None;
        }
        (&text[..end], &text[end..])
    };
    let port = match port.strip_prefix(':') {
        None if port.is_empty() => None,
        Some("") => None,
        Some(digits) if digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok()?)
        }
        _ => return None,
    };
    Some(Authority { host, port })
}

static OF_NAME: [bool; 256] = octets::table!(|octet| is_of_name(octet));

const fn is_of_name(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_')
}

/// Lower-cases a host name on the stack; a trailing dot goes. `f` sees the normal form.
pub fn with_normal_host<T>(host: &str, f: impl FnOnce(&str) -> T) -> T {
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().all(|b| !b.is_ascii_uppercase()) {
        return f(host);
    }
    let mut buffer: smallvec::SmallVec<[u8; 256]> = smallvec::SmallVec::from_slice(host.as_bytes());
    buffer.make_ascii_lowercase();
    f(std::str::from_utf8(&buffer).unwrap_or(""))
}

/// A name or wildcard that a distribution answers for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    Exact(String),
    /// `*.example.com`, kept as `.example.com`.
    Suffix(String),
    /// `*`: whatever no other distribution answers for.
    Any,
}

impl std::fmt::Display for HostPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exact(host) => f.write_str(host),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl HostPattern {
    /// Reads a name of the configuration; the error says what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        if lower == "*" {
            return Ok(Self::Any);
        }
        // The dot of a full name; that of a request goes too.
        let lower = lower.strip_suffix('.').filter(|name| *name != "*").unwrap_or(&lower);
        if let Some(rest) = lower.strip_prefix("*.") {
            return match parse_authority(rest) {
                Some(a) if a.port.is_none() && !rest.contains('*') => {
                    Ok(Self::Suffix(format!(".{rest}")))
                }
                _ => {
                    Err(format!("\"*.\" must be followed by a plain domain name, found \"{rest}\""))
                }
            };
        }
        match parse_authority(lower) {
            Some(a) if a.port.is_none() => Ok(Self::Exact(a.host.to_string())),
            Some(_) => Err("a host is a name without a port".into()),
            None if lower.contains('*') => {
                Err("a wildcard stands only at the very start, as \"*.example.com\", or alone"
                    .into())
            }
            None if lower.contains('/') => {
                Err("a host is a name alone, without a scheme or a path".into())
            }
            None if !lower.is_ascii() => {
                Err("a host is written as viewers send it, which is ASCII: xn--… for a name in \
                     other letters"
                    .into())
            }
            None => Err("this is no host name".into()),
        }
    }
}

/// Finds the distribution for a host.
#[derive(Clone, Debug, Default)]
pub struct HostTable {
    exact: HashMap<String, usize, foldhash::fast::RandomState>,
    // Longest first, so that the first match is the most specific one.
    suffixes: Vec<(String, usize)>,
    any: Option<usize>,
}

impl HostTable {
    /// An empty one that so many names fit into.
    pub fn with_room(names: usize) -> Self {
        let exact = HashMap::with_capacity_and_hasher(names, Default::default());
        Self { exact, ..Self::default() }
    }

    /// Adds a pattern; gives back the distribution that holds it already, if one does.
    pub fn insert(&mut self, pattern: HostPattern, distribution: usize) -> Result<(), usize> {
        match pattern {
            HostPattern::Exact(name) => match self.exact.entry(name) {
                Entry::Occupied(taken) => return Err(*taken.get()),
                Entry::Vacant(free) => {
                    free.insert(distribution);
                }
            },
            HostPattern::Suffix(suffix) => {
                if let Some((_, taken)) = self.suffixes.iter().find(|(known, _)| *known == suffix) {
                    return Err(*taken);
                }
                let at = self.suffixes.partition_point(|(known, _)| known.len() >= suffix.len());
                self.suffixes.insert(at, (suffix, distribution));
            }
            HostPattern::Any => match self.any {
                Some(taken) => return Err(taken),
                None => self.any = Some(distribution),
            },
        }
        Ok(())
    }

    /// The index of the distribution that answers for `host` (without port, any case).
    pub fn find(&self, host: &str) -> Option<usize> {
        self.find_named(host).or(self.any)
    }

    /// The same, where the host is named: by itself or by a suffix, and not by `*` alone.
    pub fn find_named(&self, host: &str) -> Option<usize> {
        with_normal_host(host, |host| {
            if let Some(found) = self.exact.get(host) {
                return Some(*found);
            }
            self.suffixes
                .iter()
                .find(|(suffix, _)| host.len() > suffix.len() && host.ends_with(suffix.as_str()))
                .map(|(_, found)| *found)
        })
    }

    /// Says whether a certificate's name (lower case, perhaps `*.` and a domain) stands for a named
    /// host of another distribution than `at`.
    ///
    /// Looks through all exact hosts for a wildcard: asked only where a certificate does not cover
    /// what is asked for.
    pub fn is_of_another(&self, certified: &str, at: usize) -> bool {
        if self.find_named(certified).is_some_and(|found| found != at) {
            return true;
        }
        let Some(domain) = certified.strip_prefix("*.") else { return false };
        let is_under =
            |host: &str| host.split_once('.').is_some_and(|(_, parent)| parent == domain);
        self.exact.iter().any(|(host, found)| *found != at && is_under(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(patterns: &[&str]) -> HostTable {
        let mut table = HostTable::default();
        for (at, pattern) in patterns.iter().enumerate() {
            table.insert(HostPattern::parse(pattern).unwrap(), at).unwrap();
        }
        table
    }

    #[test]
    fn what_is_no_name_is_told_what_would_be_one() {
        for (text, why) in [
            ("http://h.test/", "without a scheme or a path"),
            ("h.test/a", "without a scheme or a path"),
            ("b\u{fc}cher.test", "xn--"),
            ("h.test:80", "without a port"),
            ("a.*.test", "at the very start"),
            ("a b", "this is no host name"),
            (".", "this is no host name"),
            ("*.", "must be followed by a plain domain name"),
        ] {
            let found = HostPattern::parse(text).unwrap_err();
            assert!(found.contains(why), "{text}: {found}");
        }
    }

    #[test]
    fn a_full_name_is_the_name() {
        for (full, name) in [("h.test.", "h.test"), ("*.H.test.", "*.h.test"), ("[::1]", "[::1]")] {
            assert_eq!(HostPattern::parse(full), HostPattern::parse(name), "{full}");
        }
        assert_eq!(table(&["h.test."]).find("h.test."), Some(0));
    }

    #[test]
    fn a_name_that_is_taken_stays_with_whom_it_is() {
        let mut table = HostTable::with_room(1);
        for (pattern, at, want) in [
            ("a.test", 0, Ok(())),
            ("a.test", 1, Err(0)),
            ("b.test", 1, Ok(())),
            ("*.test", 2, Ok(())),
            ("*.test", 0, Err(2)),
            ("*", 3, Ok(())),
            ("*", 0, Err(3)),
        ] {
            assert_eq!(table.insert(HostPattern::parse(pattern).unwrap(), at), want, "{pattern}");
        }
        let found = ["a.test", "b.test", "c.test", "other"].map(|host| table.find(host));
        assert_eq!(found, [Some(0), Some(1), Some(2), Some(3)]);
    }

    #[test]
    fn an_authority_is_a_name_or_an_address_and_perhaps_a_port() {
        let read = |text: &str| parse_authority(text).map(|a| (a.host.to_string(), a.port));
        for (text, host, port) in [
            ("a.example", "a.example", None),
            ("A_b-1.Example.:", "A_b-1.Example.", None),
            ("a:0", "a", Some(0)),
            ("a:65535", "a", Some(65_535)),
            ("a:00080", "a", Some(80)),
            ("[::1]", "[::1]", None),
            ("[::1]:", "[::1]", None),
            ("[2001:db8::1]:8080", "[2001:db8::1]", Some(8080)),
        ] {
            assert_eq!(read(text), Some((host.to_string(), port)), "{text}");
        }
        for bad in [
            "",
            ":",
            ":80",
            "a:65536",
            "a:000080",
            "a:+1",
            "a:1:2",
            "a b",
            "a@b",
            "a/b",
            "\u{e4}",
            "a\u{e4}",
            "a:\u{e4}",
            "[::1",
            "[::1]80",
            "[::1]x80",
            "[::1]\u{e4}",
            "[::1]\u{20ac}80",
            "[a]",
            "[]",
            "]",
        ] {
            assert_eq!(read(bad), None, "{bad}");
        }
        assert!(read(&"a".repeat(253)).is_some() && read(&"a".repeat(254)).is_none());
    }

    #[test]
    fn exact_then_longest_suffix_then_any() {
        let hosts = table(&["www.example.com", "*.example.com", "*.img.example.com"]);
        assert_eq!(hosts.find("WWW.Example.com"), Some(0));
        assert_eq!(hosts.find("www.example.com."), Some(0));
        assert_eq!(hosts.find("a.b.example.com"), Some(1));
        assert_eq!(hosts.find("x.img.example.com"), Some(2));
        assert_eq!(hosts.find("example.com"), None);
        assert_eq!(hosts.find("badexample.com"), None);
        assert_eq!(table(&["*", "a.b"]).find("anything"), Some(0));
    }

    #[test]
    fn a_star_alone_names_no_host_and_certificates_are_of_those_who_are_named() {
        let hosts = table(&["*", "www.example.com", "*.shop.test"]);
        assert_eq!(hosts.find_named("WWW.example.com"), Some(1));
        assert_eq!((hosts.find_named("other.test"), hosts.find("other.test")), (None, Some(0)));
        for (certified, at, is_another) in [
            ("localhost", 0, false),
            ("www.example.com", 0, true),
            ("www.example.com", 1, false),
            ("*.example.com", 0, true),
            ("*.example.com", 1, false),
            ("*.example.org", 0, false),
            ("*.shop.test", 0, true),
            ("a.shop.test", 1, true),
            ("a.shop.test", 2, false),
            ("127.0.0.1", 0, false),
        ] {
            assert_eq!(hosts.is_of_another(certified, at), is_another, "{certified} {at}");
        }
    }

    #[test]
    fn wildcards_only_where_cloudfront_allows_them() {
        for bad in [
            "*domain.example.com",
            "sub.*.example.com",
            "*.*.com",
            "*.",
            "a.example.com:80",
            "",
            "a b",
        ] {
            assert!(HostPattern::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn authorities_are_read_strictly() {
        for bad in
            ["", ":80", "a:b", "a:99999", "a@b", "a/b", "a b", "[::1", "[zz]:1", "a:80:80", "a%00b"]
        {
            assert!(parse_authority(bad).is_none(), "{bad}");
        }
        assert_eq!(
            parse_authority("[::1]:8443").map(|a| (a.host, a.port)),
            Some(("[::1]", Some(8443)))
        );
    }
}
