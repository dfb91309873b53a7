//! Host names: reading an authority strictly, and finding the distribution that answers for a name.
//!
//! Exact names win over wildcards, longer wildcard suffixes over shorter ones, any depth below the
//! suffix (CloudFront's alternate domain names). Which certificate covers a name is another
//! question, asked in `certificate`: there a wildcard stands for one label only.

use std::collections::HashMap;

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
        let end = text.find(':').unwrap_or(text.len());
        (&text[..end], &text[end..])
    };
    let is_name = |h: &str| {
        !h.is_empty()
            && h.len() <= 253
            && h.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
    };
    if !host.starts_with('[') && !is_name(host) {
        return None;
    }
    let port = match port {
        "" | ":" => None,
        digits if digits.len() <= 6 && digits[1..].bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits[1..].parse().ok()?)
        }
        _ => return None,
    };
    Some(Authority { host, port })
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
        match parse_authority(&lower) {
            Some(a) if a.port.is_none() => Ok(Self::Exact(a.host.to_string())),
            Some(_) => Err("a host is a name without a port".into()),
            None if lower.contains('*') => {
                Err("a wildcard stands only at the very start, as \"*.example.com\", or alone"
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
    /// Adds a pattern; gives back the distribution that holds it already, if one does.
    pub fn insert(&mut self, pattern: HostPattern, distribution: usize) -> Result<(), usize> {
        match pattern {
            HostPattern::Exact(name) => match self.exact.get(&name) {
                Some(taken) => return Err(*taken),
                None => drop(self.exact.insert(name, distribution)),
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
