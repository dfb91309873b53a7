//! What is told of changed objects from outside, and what is done about it: `[events.s3]`.

use super::aws_hosts::is_region;
use super::host::parse_authority;
use super::origin::OriginTls;
use crate::base::secret::Secret;

/// `[events.s3]`: who may tell of changed objects, and whether they are fetched at once.
#[derive(Clone, Debug, Default)]
pub struct S3Events {
    /// What a sender shows in the place of the admin token; it opens no other call.
    pub token: Option<Secret<String>>,
    pub refill: Refill,
    /// Without it a signature of SNS counts for nothing.
    pub sns: Option<Sns>,
}

/// Whether what was made old is fetched before a viewer asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Refill {
    #[default]
    Off,
    AtOnce,
}

/// `[events.s3.sns]`: whose signed messages count.
#[derive(Clone, Debug)]
pub struct Sns {
    /// Topics by their ARNs. Every account's topics are signed by the same keys, so a signature
    /// alone proves nothing.
    pub topics: Vec<String>,
    /// Where certificates, and addresses that confirm a subscription, may lie.
    pub hosts: Vec<SnsHost>,
    pub subscriptions: Subscriptions,
    /// How those hosts prove their names.
    pub tls: OriginTls,
}

/// What becomes of a topic's question whether this node wants its messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscriptions {
    Ignore,
    Confirm,
}

/// A host of SNS, and its port. A label `*` stands for the name of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnsHost {
    labels: Vec<String>,
    port: u16,
}

impl SnsHost {
    /// The hosts of SNS in the regions of AWS.
    pub const USUAL: &str = "sns.*.amazonaws.com";

    /// Reads `HOST` or `HOST:PORT`; the error says what it is not.
    pub fn parse(text: &str) -> Result<Self, String> {
        // A star is a character of no host; a region in its place makes it one.
        let shown = text.replace('*', "region");
        let authority = parse_authority(&shown).ok_or("this is no host")?;
        let port = authority.port;
        let host = match port {
            Some(_) => text.rsplit_once(':').map_or(text, |(host, _)| host),
            None => text,
        };
        let labels: Vec<String> = host.split('.').map(str::to_ascii_lowercase).collect();
        if labels.iter().any(|label| label.contains('*') && label != "*") {
            return Err("a \"*\" stands for a whole label, the name of a region".into());
        }
        Ok(Self { labels, port: port.unwrap_or(443) })
    }

    /// Says whether a URL leads there.
    pub fn includes(&self, url: &HttpsUrl) -> bool {
        let labels: Vec<&str> = url.host.split('.').collect();
        // Old names of S3 (`s3-us-west-2`), which have the place of a region, are none: the label
        // before them is the name of anyone's bucket.
        let is_same = |(own, label): (&String, &&str)| {
            if own == "*" { is_region(label) } else { own == label }
        };
        self.port == url.port
            && self.labels.len() == labels.len()
            && self.labels.iter().zip(&labels).all(is_same)
    }
}

/// An address of a document, over HTTPS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HttpsUrl {
    /// Lower case.
    pub host: String,
    pub port: u16,
    /// Path and query, visible ASCII.
    pub target: String,
}

impl HttpsUrl {
    /// The longest one that is read.
    const LENGTH_MAX: usize = 2048;

    /// Reads a URL; `None` if it is none over HTTPS, or names a user.
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > Self::LENGTH_MAX {
            return None;
        }
        let rest = text.strip_prefix("https://")?;
        let (authority, target) = rest.find('/').map_or((rest, "/"), |at| rest.split_at(at));
        let authority = parse_authority(authority)?;
        let is_plain = target.bytes().all(|b| matches!(b, 0x21..=0x7e) && b != b'#' && b != b'\\');
        is_plain.then(|| Self {
            host: authority.host.to_ascii_lowercase(),
            port: authority.port.unwrap_or(443),
            target: target.to_string(),
        })
    }

    /// Host and port as the Host field has them.
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_a_region_are_sns() {
        let usual = SnsHost::parse(SnsHost::USUAL).unwrap();
        for (url, is_in) in [
            ("https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-1.pem", true),
            ("https://SNS.us-gov-west-1.amazonaws.com/a.pem", true),
            ("https://sns.eu-central-1.amazonaws.com:443/a.pem", true),
            // Hosts of a bucket with the name `sns`.
            ("https://sns.s3.amazonaws.com/a.pem", false),
            ("https://sns.s3-us-west-2.amazonaws.com/a.pem", false),
            ("https://sns.eu-central-1.amazonaws.com.evil.test/a.pem", false),
            ("https://sns.eu-central-1.evil.amazonaws.com/a.pem", false),
            ("https://x.eu-central-1.amazonaws.com/a.pem", false),
            ("https://sns..amazonaws.com/a.pem", false),
            ("https://sns.eu-central-1.amazonaws.com:8443/a.pem", false),
        ] {
            let read = HttpsUrl::parse(url);
            assert_eq!(read.is_some_and(|url| usual.includes(&url)), is_in, "{url}");
        }
        let own = SnsHost::parse("localhost:8443").unwrap();
        assert!(own.includes(&HttpsUrl::parse("https://localhost:8443/a.pem").unwrap()));
        for bad in ["", "sns*.test", "a b", "sns.*.test/x"] {
            assert!(SnsHost::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn addresses_without_https_or_with_a_user_are_none() {
        for bad in [
            "http://sns.eu-central-1.amazonaws.com/a.pem",
            "https://sns.eu-central-1.amazonaws.com@evil.test/a.pem",
            "https://sns.eu-central-1.amazonaws.com\\@evil.test/a.pem",
            "https:///a.pem",
            "https://h.test/a b",
            "//h.test/a",
            "",
        ] {
            assert_eq!(HttpsUrl::parse(bad), None, "{bad}");
        }
        let url = HttpsUrl::parse("https://H.test/a?b=c").unwrap();
        assert_eq!((url.authority().as_str(), url.target.as_str()), ("h.test", "/a?b=c"));
    }
}
