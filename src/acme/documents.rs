//! Pure: the documents of a CA (RFC 8555 §7.1, RFC 9773), read strictly: what is not of the
//! protocol is an error, and nothing in them is believed beyond its form.

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::trouble::{Kind, Trouble, said};

/// URLs of a CA may be so long.
const URL_MAX: usize = 2048;
/// The longest token that is taken: it becomes a file name and a path.
const TOKEN_MAX: usize = 200;

/// Where a CA takes which request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Directory {
    pub new_nonce: String,
    pub new_account: String,
    pub new_order: String,
    /// Where it says when to renew (RFC 9773), if it does.
    #[serde(default)]
    pub renewal_info: Option<String>,
}

/// How an order, an authorization or a challenge stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    Pending,
    Ready,
    Processing,
    Valid,
    Invalid,
    Deactivated,
    Expired,
    Revoked,
}

/// An order.
#[derive(Clone, Debug, Deserialize)]
pub struct Order {
    pub status: Standing,
    #[serde(default)]
    pub authorizations: Vec<String>,
    pub finalize: String,
    #[serde(default)]
    pub certificate: Option<String>,
    #[serde(default)]
    pub error: Option<Problem>,
}

/// A name that the CA wants proved.
#[derive(Clone, Debug, Deserialize)]
pub struct Authorization {
    pub identifier: Identifier,
    pub status: Standing,
    #[serde(default)]
    pub challenges: Vec<Offer>,
}

/// A name.
#[derive(Clone, Debug, Deserialize)]
pub struct Identifier {
    /// Without `*.`, also where the certificate has it.
    pub value: String,
}

/// A way of proving it that the CA offers.
#[derive(Clone, Debug, Deserialize)]
pub struct Offer {
    #[serde(rename = "type")]
    pub kind: String,
    pub url: String,
    pub status: Standing,
    #[serde(default)]
    pub token: Option<String>,
    #[serde(default)]
    pub error: Option<Problem>,
}

/// What a CA says when it refuses (RFC 7807).
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Problem {
    #[serde(rename = "type", default)]
    pub kind: String,
    #[serde(default)]
    pub detail: String,
}

/// When a CA wants a certificate renewed (RFC 9773 §4.2).
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RenewalInfo {
    pub suggested_window: Window,
}

/// A span of time, as text of RFC 3339.
#[derive(Clone, Debug, Deserialize)]
pub struct Window {
    pub start: String,
    pub end: String,
}

/// Reads a document; `what` names it in the error.
pub fn read<T: DeserializeOwned>(what: &str, octets: &[u8]) -> Result<T, Trouble> {
    serde_json::from_slice(octets).map_err(|error| {
        Trouble::new(Kind::Malformed, format!("{what}: {}", said(&error.to_string())))
    })
}

impl Problem {
    /// The problem behind a refused request; without a document, the status alone says it.
    pub fn read(status: u16, octets: &[u8]) -> Trouble {
        let problem: Self = serde_json::from_slice(octets).unwrap_or_default();
        let kind = match problem.short() {
            "rateLimited" => Kind::RateLimited,
            _ if status == 429 => Kind::RateLimited,
            _ => Kind::Refused,
        };
        let is_bad_nonce = problem.short() == "badNonce";
        let said = match status {
            300..400 => format!("status {status}, a redirect, and none is followed"),
            _ => format!("status {status}, {problem}"),
        };
        Trouble { is_bad_nonce, ..Trouble::new(kind, said) }
    }

    /// The kind of problem without its name space.
    pub fn short(&self) -> &str {
        self.kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&self.kind)
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.kind.is_empty() { "no problem document" } else { self.short() };
        write!(f, "{}: {}", said(kind), said(&self.detail))
    }
}

impl Offer {
    /// The token, if it is one: it goes into a path, a file name and a certificate.
    pub fn token(&self) -> Result<&str, Trouble> {
        let token = self.token.as_deref().unwrap_or("");
        let is_token = (1..=TOKEN_MAX).contains(&token.len())
            && token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
        is_token.then_some(token).ok_or_else(|| {
            Trouble::new(Kind::Malformed, format!("challenge {}: no token", said(&self.kind)))
        })
    }
}

/// A URL of a CA, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaUrl {
    pub host: String,
    pub port: u16,
    /// Path and query.
    pub target: String,
}

impl CaUrl {
    /// Reads an `https` URL without a user; the error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| Err(format!("{:?} is no URL of a CA: {why}", said(text)));
        if text.len() > URL_MAX {
            return wrong("it is too long");
        }
        let Ok(uri) = text.parse::<http::Uri>() else { return wrong("it cannot be read") };
        if uri.scheme_str() != Some("https") {
            return wrong("it has to begin with https://");
        }
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        let (Some(host), false) = (uri.host(), authority.contains('@')) else {
            return wrong("it names no host, or a user");
        };
        let target = uri.path_and_query().map_or("/", |target| target.as_str()).to_string();
        Ok(Self { host: host.to_ascii_lowercase(), port: uri.port_u16().unwrap_or(443), target })
    }

    /// Host, and port where it is not the usual one.
    pub fn authority(&self) -> String {
        if self.port == 443 { self.host.clone() } else { format!("{}:{}", self.host, self.port) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_https_and_name_a_host() {
        let url = CaUrl::parse("https://CA.test:14000/dir?x=1").unwrap();
        assert_eq!((&*url.host, url.port, &*url.target), ("ca.test", 14000, "/dir?x=1"));
        assert_eq!(url.authority(), "ca.test:14000");
        let plain = CaUrl::parse("https://ca.test").unwrap();
        assert_eq!((plain.port, &*plain.target, &*plain.authority()), (443, "/", "ca.test"));
        let long = format!("https://ca.test/{}", "a".repeat(URL_MAX));
        for bad in [
            "http://ca.test/",
            "ca.test/dir",
            "https://",
            "https://user@ca.test/",
            "https://ca.test/a b",
            "https://ca.test/\r\nX: y",
            "file:///etc/passwd",
            "",
            &long,
        ] {
            assert!(CaUrl::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn problems_are_named_and_bad_nonces_told_apart() {
        let body = br#"{"type":"urn:ietf:params:acme:error:badNonce","detail":"old","status":400}"#;
        let trouble = Problem::read(400, body);
        assert!(trouble.is_bad_nonce && trouble.kind == Kind::Refused);
        assert_eq!(trouble.detail, "status 400, badNonce: old");
        let limited = br#"{"type":"urn:ietf:params:acme:error:rateLimited","detail":"a\nb"}"#;
        let limited = Problem::read(403, limited);
        assert_eq!(limited.kind, Kind::RateLimited);
        assert!(!limited.detail.contains('\n'));
        assert!(Problem::read(302, b"").detail.contains("none is followed"));
        for (status, kind) in [(429, Kind::RateLimited), (503, Kind::Refused)] {
            let trouble = Problem::read(status, b"<html>");
            assert_eq!(trouble.kind, kind);
            assert!(!trouble.is_bad_nonce && trouble.detail.contains("no problem document"));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_octets_of_a_ca_are_too_odd(
            octets in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
            status in 100_u16..600,
        ) {
            let text = String::from_utf8_lossy(&octets);
            let told = [
                read::<Order>("the order", &octets).err().map(|trouble| trouble.detail),
                read::<Directory>("the directory", &octets).err().map(|trouble| trouble.detail),
                Some(Problem::read(status, &octets).detail),
                CaUrl::parse(&text).err(),
            ];
            for said in told.into_iter().flatten() {
                proptest::prop_assert!(!said.contains(char::is_control), "{:?}", said);
            }
            let _ = super::super::renewal::moment(&text);
            let _ = super::super::leaf::Leaf::of_pem(&octets);
        }
    }

    #[test]
    fn tokens_are_words_of_base64url() {
        let offer = |token: &str| Offer {
            kind: "http-01".into(),
            url: String::new(),
            status: Standing::Pending,
            token: Some(token.into()),
            error: None,
        };
        assert_eq!(offer("aZ_09-").token(), Ok("aZ_09-"));
        let long = "a".repeat(TOKEN_MAX + 1);
        for bad in ["", "../../etc", "a/b", "a.b", "a b", "ä", &long] {
            assert!(offer(bad).token().is_err_and(|trouble| trouble.kind == Kind::Malformed));
        }
    }

    #[test]
    fn documents_that_are_none_are_named_so() {
        for text in ["", "[]", "{}", "{\"status\":\"odd\",\"finalize\":\"x\"}", "null", "[[[["] {
            let read = read::<Order>("the order", text.as_bytes());
            let trouble = read.expect_err(text);
            assert_eq!(trouble.kind, Kind::Malformed);
            assert!(trouble.detail.starts_with("the order: "), "{}", trouble.detail);
        }
        let order = br#"{"status":"pending","finalize":"https://ca.test/f","expires":"x"}"#;
        assert_eq!(read::<Order>("o", order).unwrap().status, Standing::Pending);
    }
}
