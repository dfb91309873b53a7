//! Response headers policies: what is taken out of an answer and put into it on its way to the
//! viewer (CloudFront's, with its managed ones). Values only; `deliver::policy` applies them.

use http::header::{self, HeaderName, HeaderValue};

use crate::base::share::Share;

/// A field that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetField {
    pub name: HeaderName,
    pub value: HeaderValue,
    pub over: Over,
}

/// What becomes of what the origin said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// Ours takes its place.
    Origin,
    /// Ours is for where it said nothing.
    Nothing,
}

/// Which origins a script may come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origins {
    Any,
    /// Exact origins, and such with `*` as the left-most label.
    Listed(Vec<String>),
}

impl Origins {
    /// Says whether one is among them.
    pub fn allow(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Listed(all) => all.iter().any(|known| match known.split_once("*.") {
                // `https://*.example.com`, or the same without a scheme.
                Some((scheme, domain)) => {
                    let rest = if scheme.is_empty() {
                        origin.split_once("://").map_or(origin, |(_, rest)| rest)
                    } else {
                        origin
                    };
                    let label = rest
                        .strip_prefix(scheme)
                        .and_then(|rest| rest.strip_suffix(domain))
                        .and_then(|rest| rest.strip_suffix('.'));
                    label.is_some_and(|label| !label.is_empty() && !label.contains('/'))
                }
                None => {
                    known.eq_ignore_ascii_case(origin)
                        || (!known.contains("://")
                            && origin.split_once("://").is_some_and(|(_, host)| host == known))
                }
            }),
        }
    }
}

/// Cross-origin resource sharing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    pub origins: Origins,
    /// As they are sent: `GET, HEAD`; empty for none.
    pub methods: String,
    pub headers: String,
    pub expose: String,
    pub allows_credentials: bool,
    /// Seconds that a preflight's answer is good for.
    pub max_age: Option<u64>,
    pub over: Over,
}

/// A response headers policy: what it removes, what it sets, and when.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ResponsePolicy {
    pub name: String,
    pub remove: Vec<HeaderName>,
    pub set: Vec<SetField>,
    pub cors: Option<Cors>,
    /// The answers that carry Server-Timing; a viewer's `Pragma: server-timing` always gets
    /// it.
    pub server_timing: Option<Share>,
}

/// The names of CloudFront's managed ones.
pub const MANAGED_RESPONSE_POLICIES: [&str; 5] = [
    "SimpleCORS",
    "CORS-With-Preflight",
    "SecurityHeadersPolicy",
    "CORS-and-SecurityHeadersPolicy",
    "CORS-with-preflight-and-SecurityHeadersPolicy",
];

impl ResponsePolicy {
    /// CloudFront's managed policies by name or id ("Use managed response headers policies").
    pub fn managed(name_or_id: &str) -> Option<Self> {
        let simple = Cors {
            origins: Origins::Any,
            methods: String::new(),
            headers: String::new(),
            expose: String::new(),
            allows_credentials: false,
            max_age: None,
            over: Over::Nothing,
        };
        let preflight = Cors {
            methods: "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT".into(),
            expose: "*".into(),
            ..simple.clone()
        };
        let (name, cors, is_secure) = match name_or_id {
            "SimpleCORS" | "60669652-455b-4ae9-85a4-c4c02393f86c" => (0, Some(simple), false),
            "CORS-With-Preflight" | "5cc3b908-e619-4b99-88e5-2cf7f45965bd" => {
                (1, Some(preflight), false)
            }
            "SecurityHeadersPolicy" | "67f7725c-6f97-4210-82d7-5512b31e9d03" => (2, None, true),
            "CORS-and-SecurityHeadersPolicy" | "e61eb60c-9c35-4d20-a928-2b84e02af89c" => {
                (3, Some(simple), true)
            }
            "CORS-with-preflight-and-SecurityHeadersPolicy"
            | "eaab4381-ed33-4a86-88ca-d9558dc6cd63" => (4, Some(preflight), true),
            _ => return None,
        };
        let set = if is_secure { security() } else { Vec::new() };
        Some(Self { name: MANAGED_RESPONSE_POLICIES[name].into(), cors, set, ..Self::default() })
    }
}

fn security() -> Vec<SetField> {
    [
        (header::REFERRER_POLICY, "strict-origin-when-cross-origin", Over::Nothing),
        (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000", Over::Nothing),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff", Over::Origin),
        (header::X_FRAME_OPTIONS, "SAMEORIGIN", Over::Nothing),
        (header::X_XSS_PROTECTION, "1; mode=block", Over::Nothing),
    ]
    .map(|(name, value, over)| SetField { name, value: HeaderValue::from_static(value), over })
    .to_vec()
}

/// Says whether a policy may take a field out or set it (CloudFront: "Understand response headers
/// policies"): not what frames a message, and not what the edge says of itself.
pub fn may_touch(name: &HeaderName) -> bool {
    const FIXED: [&str; 25] = [
        "connection",
        "content-encoding",
        "content-length",
        "content-range",
        "expect",
        "host",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "warning",
        "age",
        "cache-status",
        "proxy-status",
        "x-accel-buffering",
        "x-accel-charset",
        "x-accel-limit-rate",
        "x-accel-redirect",
        "x-cache",
        "x-forwarded-proto",
        "x-real-ip",
    ];
    let name = name.as_str();
    !FIXED.contains(&name)
        && !["x-amz-cf-", "x-amzn-", "x-edge-"].iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_match_as_cloudfront_matches_them() {
        let listed = Origins::Listed(
            ["https://a.test", "https://*.b.test", "*.c.test", "d.test"].map(String::from).to_vec(),
        );
        for (origin, allowed) in [
            ("https://a.test", true),
            ("http://a.test", false),
            ("https://a.test.evil", false),
            ("https://x.b.test", true),
            ("https://b.test", false),
            ("https://evilb.test", false),
            ("https://x/.b.test", false),
            ("http://x.c.test", true),
            ("http://d.test", true),
            ("null", false),
        ] {
            assert_eq!(listed.allow(origin), allowed, "{origin}");
        }
    }

    #[test]
    fn every_managed_policy_is_there_by_name() {
        for name in MANAGED_RESPONSE_POLICIES {
            let policy = ResponsePolicy::managed(name).unwrap();
            assert_eq!(policy.name, name);
            assert!(policy.set.iter().all(|field| may_touch(&field.name)));
        }
    }
}
