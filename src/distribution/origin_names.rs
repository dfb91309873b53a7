//! Where the hosts of origins are found that no `[[distribution.origin]]` names: those that code at
//! the edge chooses, and those that come by CloudFront's API.

use super::host::parse_authority;

/// `[origin_names]`: patterns of host names and where they are found, the most special one first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OriginNames(Vec<OriginName>);

/// One line of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginName {
    /// What stands before and behind the star; without one, all of the name.
    before: String,
    behind: Option<String>,
    place: Place,
}

/// Where an origin is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub is_tls: bool,
    pub host: String,
    pub port: u16,
    /// What comes before the origin's own path; no slash at its end. A star stands for what the
    /// pattern's star does.
    pub path: String,
}

impl OriginName {
    /// Reads a pattern, a name in which one `*` may stand for anything, and a URL.
    pub fn parse(pattern: &str, url: &str) -> Result<Self, String> {
        let pattern = pattern.to_ascii_lowercase();
        let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'*');
        if pattern.is_empty() || !pattern.bytes().all(is_name) {
            return Err("this is no host name".into());
        }
        let (before, behind) = match pattern.split_once('*') {
            None => (pattern, None),
            Some((_, behind)) if behind.contains('*') => {
                return Err("one * is enough".into());
            }
            Some((before, behind)) => (before.to_string(), Some(behind.to_string())),
        };
        let place = Place::parse(url)?;
        if place.path.contains('*') && behind.is_none() {
            return Err("the URL has a * and the name has none".into());
        }
        Ok(Self { before, behind, place })
    }

    // What the star stands for.
    fn matched<'h>(&self, host: &'h str) -> Option<&'h str> {
        match &self.behind {
            None => (host == self.before).then_some(""),
            Some(behind) => host.strip_prefix(self.before.as_str())?.strip_suffix(behind.as_str()),
        }
    }

    fn weight(&self) -> usize {
        self.before.len() + self.behind.as_ref().map_or(1000, String::len)
    }
}

impl Place {
    fn parse(url: &str) -> Result<Self, String> {
        let (rest, is_tls) = match (url.strip_prefix("https://"), url.strip_prefix("http://")) {
            (Some(rest), _) => (rest, true),
            (_, Some(rest)) => (rest, false),
            _ => return Err("a URL begins with https:// or http://".into()),
        };
        let cut = rest.find('/').unwrap_or(rest.len());
        let (authority, path) = rest.split_at(cut);
        let authority = parse_authority(authority).ok_or("the URL's host is no host")?;
        if path.contains(['?', '#', ' ', '%']) || path.split('/').any(|part| part.starts_with('.'))
        {
            return Err("a path is plain: no query, no dot segments".into());
        }
        Ok(Self {
            is_tls,
            host: authority.host.to_string(),
            port: authority.port.unwrap_or(if is_tls { 443 } else { 80 }),
            path: path.trim_end_matches('/').to_string(),
        })
    }
}

impl FromIterator<OriginName> for OriginNames {
    fn from_iter<T: IntoIterator<Item = OriginName>>(names: T) -> Self {
        let mut all: Vec<OriginName> = names.into_iter().collect();
        all.sort_by_key(|name| std::cmp::Reverse(name.weight()));
        Self(all)
    }
}

impl OriginNames {
    /// Where a host is found, if a pattern names it.
    pub fn find(&self, host: &str) -> Option<Place> {
        if self.0.is_empty() {
            return None;
        }
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        self.0.iter().find_map(|name| {
            let star = name.matched(&host)?;
            let path = name.place.path.replace('*', star);
            Some(Place { path, ..name.place.clone() })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(all: &[(&str, &str)]) -> OriginNames {
        all.iter().map(|(pattern, url)| OriginName::parse(pattern, url).unwrap()).collect()
    }

    #[test]
    fn the_most_special_pattern_says_where_a_host_is() {
        let names = names(&[
            ("*", "http://127.0.0.1:1"),
            ("*.s3.eu-west-1.amazonaws.com", "http://127.0.0.1:9000/*"),
            ("images.s3.eu-west-1.amazonaws.com", "https://localhost/pictures/"),
        ]);
        let of = |host: &str| {
            let Place { is_tls, host, port, path } = names.find(host).unwrap();
            (is_tls, format!("{host}:{port}{path}"))
        };
        assert_eq!(
            of("Images.S3.eu-west-1.amazonaws.com"),
            (true, "localhost:443/pictures".to_string())
        );
        assert_eq!(of("b.s3.eu-west-1.amazonaws.com"), (false, "127.0.0.1:9000/b".to_string()));
        assert_eq!(of("example.com"), (false, "127.0.0.1:1".to_string()));
        assert_eq!(OriginNames::default().find("a.test"), None);
    }

    #[test]
    fn what_is_no_name_or_no_url_says_so() {
        for (pattern, url) in [
            ("", "http://a.test"),
            ("a b", "http://a.test"),
            ("*.*.test", "http://a.test"),
            ("a.test", "ftp://a.test"),
            ("a.test", "http://"),
            ("a.test", "http://b.test/*"),
            ("*.test", "http://b.test/../x"),
            ("*.test", "http://b.test/?x"),
        ] {
            assert!(OriginName::parse(pattern, url).is_err(), "{pattern} {url}");
        }
    }
}
