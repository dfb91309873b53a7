//! Pure: which viewers' paths an object of a bucket is behind.
//!
//! Too much is taken, never too little: a bucket that only sounds like an origin costs fetches.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::{AsciiSet, CONTROLS, NON_ALPHANUMERIC, percent_decode_str, percent_encode};

use crate::cache::invalidations::{Matcher, PATH_MAX, canonical};
use crate::distribution::cache_policy::Listed;
use crate::distribution::origin::{HostRule, Origin, OriginKind};
use crate::distribution::site::{Distribution, Site};

/// What is old, by the id of its distribution.
pub type Old = BTreeMap<String, BTreeSet<Matcher>>;

/// Only what needs no escape anywhere, as AWS's own tools spell keys.
const STRICT: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');
/// As `encodeURIComponent` spells the parts of a path.
const BY_PARTS: &AsciiSet =
    &STRICT.remove(b'!').remove(b'\'').remove(b'(').remove(b')').remove(b'*');
/// As browsers spell what stands in a link (WHATWG, the path percent-encode set).
const BY_BROWSERS: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'}');

/// Adds what a changed object makes old in every distribution that has its bucket as an origin;
/// gives the URLs under which most viewers ask for it.
pub fn add(old: &mut Old, site: &Site, bucket: &str, key: &[u8]) -> Vec<String> {
    let mut urls = Vec::new();
    for distribution in &site.distributions {
        let mut matchers = BTreeSet::new();
        for (at, origin) in distribution.origins.iter().enumerate() {
            let Some(rest) = below(origin, bucket, key) else { continue };
            let shown = spelled(rest, BY_BROWSERS);
            for path in spellings(rest) {
                add_path(&mut matchers, distribution, at, &path);
            }
            if is_behind(distribution, at, &shown) {
                urls.extend(url(site, distribution, &shown));
            }
        }
        if !matchers.is_empty() {
            old.entry(distribution.id.clone()).or_default().append(&mut matchers);
        }
    }
    urls
}

// The key without what the origin puts before each path; `None` where the origin is another bucket
// or another part of it.
fn below<'k>(origin: &Origin, bucket: &str, key: &'k [u8]) -> Option<&'k [u8]> {
    let path: Vec<u8> = percent_decode_str(&origin.path).collect();
    match prefix(origin, bucket, &path)? {
        [] => Some(key),
        [_, folder @ ..] => key.strip_prefix(folder)?.strip_prefix(b"/"),
    }
}

// What of the origin's path lies in the bucket: `/site`, or nothing.
fn prefix<'p>(origin: &Origin, bucket: &str, path: &'p [u8]) -> Option<&'p [u8]> {
    let OriginKind::Http(http) = &origin.kind else { return None };
    let is_host = is_named(&http.host, bucket)
        || matches!(&http.host_rule, HostRule::Fixed(host) | HostRule::Named(host) if is_named(host, bucket));
    // Path style: `/bucket/site`.
    let styled = path
        .strip_prefix(b"/")
        .and_then(|path| path.strip_prefix(bucket.as_bytes()))
        .filter(|rest| rest.is_empty() || rest.starts_with(b"/"));
    match &origin.bucket {
        Some(own) if own != bucket => None,
        _ if is_host => Some(path),
        Some(_) => Some(styled.unwrap_or(path)),
        None => styled,
    }
}

// The bucket's own host, or one below which it has a name: `bucket.s3.eu-central-1.amazonaws.com`.
fn is_named(host: &str, bucket: &str) -> bool {
    let Some((start, rest)) = host.split_at_checked(bucket.len()) else { return false };
    !bucket.is_empty()
        && start.eq_ignore_ascii_case(bucket)
        && (rest.is_empty() || rest.starts_with('.') || rest.starts_with(':'))
}

fn spelled(rest: &[u8], escaped: &'static AsciiSet) -> String {
    let path = format!("/{}", percent_encode(rest, escaped));
    canonical(path.as_bytes()).into_owned()
}

// The ways in which viewers may spell a key. They are different URLs, each with a copy of its own.
fn spellings(rest: &[u8]) -> BTreeSet<String> {
    let mut all: BTreeSet<String> =
        [STRICT, BY_PARTS, BY_BROWSERS].map(|escaped| spelled(rest, escaped)).into();
    if rest.contains(&b' ') {
        // S3 reads a plus in a path as a space.
        let with_plus: Vec<String> = all.iter().map(|path| path.replace("%20", "+")).collect();
        all.extend(with_plus);
    }
    // What a folder shows.
    let folders: Vec<String> = all
        .iter()
        .filter_map(|path| path.strip_suffix("index.html"))
        .filter(|folder| folder.ends_with('/'))
        .map(str::to_string)
        .collect();
    all.extend(folders);
    all.retain(|path| path.len() <= PATH_MAX);
    all
}

fn add_path(
    matchers: &mut BTreeSet<Matcher>,
    distribution: &Distribution,
    origin: usize,
    path: &str,
) {
    if !is_behind(distribution, origin, path) {
        return;
    }
    if distribution.behavior(path).cache.key.query != Listed::None {
        matchers.insert(Matcher::Prefix(format!("{path}?")));
    }
    matchers.insert(Matcher::Path(path.to_string()));
}

// Says whether a path is answered by this origin.
fn is_behind(distribution: &Distribution, origin: usize, path: &str) -> bool {
    let (members, _) = distribution.members(distribution.behavior(path).target);
    members.contains(&origin)
}

// Under the first host that is a name and no pattern.
fn url(site: &Site, distribution: &Distribution, path: &str) -> Option<String> {
    let hosts = &distribution.hosts;
    let host = match hosts.iter().find(|host| !host.contains('*')) {
        Some(host) => host.as_str(),
        None if hosts.iter().any(|host| host == "*") => "localhost",
        None => return None,
    };
    let scheme = if site.listen.https.is_empty() { "http" } else { "https" };
    Some(format!("{scheme}://{host}{path}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, MissingCertificates};
    use crate::semantics::time::Timestamp;

    const HEAD: &str = "[listen]\nhttp = [\"127.0.0.1:1\"]\n";

    fn site(text: &str) -> Arc<Site> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.toml");
        std::fs::write(&path, format!("{HEAD}{text}")).unwrap();
        let loaded =
            config::load(&path, Timestamp::from_secs(1_800_000_000), MissingCertificates::Done);
        loaded.unwrap_or_else(|report| panic!("{}", report.render(false))).site
    }

    fn before(origin: &str, query: &str) -> Arc<Site> {
        site(&format!(
            "[cache_policy.own]\nkey = {{ query = {query:?} }}\n\
             [[distribution]]\nid = \"E1\"\nhosts = [\"*.h.test\", \"www.h.test\"]\n\
             [[distribution.origin]]\nid = \"o\"\n{origin}\n\
             [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\ncache_policy = \"own\"\n"
        ))
    }

    fn items(site: &Site, bucket: &str, key: &str) -> Vec<String> {
        let mut old = Old::new();
        add(&mut old, site, bucket, key.as_bytes());
        old.values().flatten().map(Matcher::to_string).collect()
    }

    #[test]
    fn an_origin_says_which_bucket_it_is_and_which_part_of_it() {
        for (origin, bucket, key, paths) in [
            (
                "url = \"https://shop.s3.eu-central-1.amazonaws.com\"",
                "shop",
                "a.css",
                &["/a.css"][..],
            ),
            ("url = \"https://shop.s3.amazonaws.com/site\"", "shop", "site/a.css", &["/a.css"]),
            ("url = \"https://shop.s3.amazonaws.com/site\"", "shop", "other/a.css", &[]),
            ("url = \"https://shop.s3.amazonaws.com/site\"", "shop", "sitemap/a.css", &[]),
            ("url = \"https://shop.s3.amazonaws.com\"", "shop2", "a.css", &[]),
            ("url = \"https://sh.s3.amazonaws.com\"", "shop", "a.css", &[]),
            ("url = \"https://my.shop.s3.amazonaws.com\"", "my.shop", "a.css", &["/a.css"]),
            ("url = \"http://minio.internal:9000/shop\"", "shop", "a.css", &["/a.css"]),
            ("url = \"http://minio.internal:9000/shop/site\"", "shop", "site/a.css", &["/a.css"]),
            ("url = \"http://minio.internal:9000/shop2\"", "shop", "a.css", &[]),
            (
                "url = \"http://10.0.0.1:9000\"\nhost = \"shop.s3.internal\"",
                "shop",
                "a.css",
                &["/a.css"],
            ),
            ("url = \"https://files.example.com\"", "shop", "a.css", &[]),
            (
                "url = \"https://files.example.com\"\nbucket = \"shop\"",
                "shop",
                "a.css",
                &["/a.css"],
            ),
            (
                "url = \"https://files.example.com/x\"\nbucket = \"shop\"",
                "shop",
                "x/a.css",
                &["/a.css"],
            ),
            ("url = \"https://shop.s3.amazonaws.com\"\nbucket = \"other\"", "shop", "a.css", &[]),
            ("url = \"https://shop.s3.amazonaws.com/a%20b\"", "shop", "a b/c", &["/c"]),
        ] {
            assert_eq!(
                items(&before(origin, "none"), bucket, key),
                paths,
                "{origin} {bucket} {key}"
            );
        }
    }

    #[test]
    fn every_usual_spelling_of_a_key_is_old() {
        let site = before("url = \"https://shop.s3.amazonaws.com\"", "none");
        for (key, paths) in [
            ("a b", &["/a%20b", "/a+b"][..]),
            ("caf\u{e9}", &["/caf%C3%A9"]),
            ("a+(b)", &["/a%2B%28b%29", "/a%2B(b)", "/a+(b)"]),
            ("100%", &["/100%25"]),
            ("a?b#c", &["/a%3Fb%23c"]),
            ("a%20b", &["/a%2520b"]),
            ("blog/index.html", &["/blog/", "/blog/index.html"]),
            ("myindex.html", &["/myindex.html"]),
            ("a*", &["/a%2A", "/a*"]),
        ] {
            assert_eq!(items(&site, "shop", key), paths, "{key}");
        }
        let long = "\u{e9}".repeat(1000);
        assert_eq!(items(&site, "shop", &long), [""; 0], "no key is that long");
        let mut old = Old::new();
        let urls = add(&mut old, &site, "shop", "a+b \u{e9}".as_bytes());
        assert_eq!(urls, ["http://www.h.test/a+b%20%C3%A9"]);
    }

    #[test]
    fn queries_are_covered_where_they_are_in_the_key() {
        let site = before("url = \"https://shop.s3.amazonaws.com\"", "all");
        assert_eq!(items(&site, "shop", "a.png"), ["/a.png", "/a.png?*"]);
    }

    #[test]
    fn only_paths_that_the_origin_answers_are_old() {
        let behavior = |path: &str, origin: &str| {
            format!("[[distribution.behavior]]\npath = {path:?}\norigin = {origin:?}\n")
        };
        let text = format!(
            "[[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
             [[distribution.origin]]\nid = \"bucket\"\nurl = \"https://shop.s3.amazonaws.com\"\n\
             [[distribution.origin]]\nid = \"app\"\nurl = \"https://app.test\"\n\
             [[distribution.origin_group]]\nid = \"both\"\nmembers = [\"app\", \"bucket\"]\n{}{}{}",
            behavior("/api/*", "app"),
            behavior("/img/*", "both"),
            behavior("*", "bucket")
        );
        let site = site(&text);
        assert_eq!(items(&site, "shop", "api/a"), [""; 0]);
        assert_eq!(items(&site, "shop", "img/a"), ["/img/a", "/img/a?*"]);
        assert_eq!(items(&site, "shop", "else"), ["/else", "/else?*"]);
    }
}
