//! Cache policy and origin request policy: what is in the key, what reaches the origin, how long
//! things live.

use std::time::Duration;

use http::HeaderName;

use super::names::{FieldNames, Names};
use crate::semantics::fields::Name;

/// Which rules win where CloudFront and RFC 9111 differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Semantics {
    CloudFront,
    Rfc9111,
}

/// Lower bound, default and upper bound of a lifetime; always in that order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TtlBounds {
    min: Duration,
    default: Duration,
    max: Duration,
}

impl TtlBounds {
    /// CloudFront's defaults: 0, a day, a year.
    pub const CLOUDFRONT: Self = Self {
        min: Duration::ZERO,
        default: Duration::from_secs(86_400),
        max: Duration::from_secs(31_536_000),
    };
    /// No reuse without a word from the origin.
    pub const RFC9111: Self =
        Self { min: Duration::ZERO, default: Duration::ZERO, max: Duration::from_secs(31_536_000) };

    /// Takes bounds in order; a default below the minimum is lifted to it, as CloudFront does.
    pub fn new(min: Duration, default: Duration, max: Duration) -> Result<Self, String> {
        if min > max {
            return Err(format!("min = {min:?} lies above max = {max:?}"));
        }
        let default = default.max(min);
        if default > max {
            return Err(format!("default = {default:?} lies above max = {max:?}"));
        }
        Ok(Self { min, default, max })
    }

    pub const fn min(&self) -> Duration {
        self.min
    }

    pub const fn default(&self) -> Duration {
        self.default
    }

    pub const fn max(&self) -> Duration {
        self.max
    }

    /// True for CloudFront's CachingDisabled: nothing may ever be kept.
    pub fn is_off(&self) -> bool {
        self.max.is_zero()
    }
}

/// A choice among names: query parameters, cookies or fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listed {
    None,
    Only(Names),
    Except(Names),
    All,
}

impl Listed {
    /// Says whether a name is chosen. Case matters, as it does in CloudFront.
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::None => false,
            Self::Only(names) => names.includes(name),
            Self::Except(names) => !names.includes(name),
            Self::All => true,
        }
    }

    /// True if no name is chosen.
    pub fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }
}

/// The codings whose presence in Accept-Encoding is part of the key, normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Codings {
    bits: u8,
}

impl Codings {
    pub const BR: u8 = 1;
    pub const GZIP: u8 = 2;
    pub const ZSTD: u8 = 4;

    /// Adds a coding.
    pub const fn with(self, coding: u8) -> Self {
        Self { bits: self.bits | coding }
    }

    /// Says whether a coding is among them.
    pub const fn has(self, coding: u8) -> bool {
        self.bits & coding != 0
    }

    /// True if there is none.
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }
}

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyParts {
    pub query: Listed,
    pub headers: FieldNames,
    pub cookies: Listed,
}

/// How a behavior caches.
#[derive(Clone, Debug, PartialEq)]
pub struct CachePolicy {
    /// The name it is known by, for `explain`.
    pub name: String,
    pub semantics: Semantics,
    pub ttl: TtlBounds,
    /// The least time an error is kept (CloudFront's error caching minimum TTL).
    pub error_ttl: Duration,
    pub key: KeyParts,
    /// What is compressed with it.
    pub compress: Codings,
    /// What the policy names for that; a behavior may compress nothing all the same.
    pub codings: Codings,
    /// How long after its end a response may stand in when the origin fails and nothing forbids it.
    pub stale_on_error: Duration,
}

impl CachePolicy {
    /// CloudFront's error caching minimum TTL.
    pub const ERROR_TTL: Duration = Duration::from_secs(10);
    /// The default window, for a policy that names none (src/DECISIONS.md, "Stale on error by
    /// default").
    pub const STALE_ON_ERROR: Duration = Duration::from_secs(300);

    /// What a behavior without `cache_policy` gets: CloudFront's rules with the query string in the
    /// key.
    pub fn unnamed() -> Self {
        Self {
            name: "(default)".into(),
            semantics: Semantics::CloudFront,
            ttl: TtlBounds::CLOUDFRONT,
            error_ttl: Self::ERROR_TTL,
            key: KeyParts {
                query: Listed::All,
                headers: FieldNames::default(),
                cookies: Listed::None,
            },
            compress: Codings::default(),
            codings: Codings::default(),
            stale_on_error: Self::STALE_ON_ERROR,
        }
    }

    /// CloudFront's managed policies by name or id (CloudFront: "Use managed cache policies", "Use
    /// managed origin request policies").
    pub fn managed(name_or_id: &str) -> Option<Self> {
        let secs = Duration::from_secs;
        let bounds = |min, default, max| TtlBounds {
            min: secs(min),
            default: secs(default),
            max: secs(max),
        };
        let header = |names: &[&'static str]| {
            FieldNames::from(
                names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>(),
            )
        };
        let both = Codings::default().with(Codings::BR).with(Codings::GZIP);
        let day = bounds(1, 86_400, 31_536_000);
        let none = || KeyParts {
            query: Listed::None,
            headers: FieldNames::default(),
            cookies: Listed::None,
        };
        let origin_rules =
            ["host", "origin", "x-http-method-override", "x-http-method", "x-method-override"];
        let own = |query| KeyParts { query, headers: header(&origin_rules), cookies: Listed::All };
        let (name, ttl, key, compress) = match name_or_id {
            "CachingOptimized" | "658327ea-f89d-4fab-a63d-7e88639e58f6" => {
                ("CachingOptimized", day, none(), both)
            }
            "CachingOptimizedForUncompressedObjects" | "b2884449-e4de-46a7-ac36-70bc7f1ddd6d" => {
                ("CachingOptimizedForUncompressedObjects", day, none(), Codings::default())
            }
            "CachingDisabled" | "4135ea2d-6df8-44a3-9df3-4b5a84be39ad" => {
                ("CachingDisabled", bounds(0, 0, 0), none(), Codings::default())
            }
            "Elemental-MediaPackage" | "08627262-05a9-4f76-9ded-b50ca2e3a84f" => {
                let query = ["aws.manifestfilter", "start", "end", "m"].map(String::from).to_vec();
                let key = KeyParts {
                    query: Listed::Only(Names::exact(query)),
                    headers: header(&["origin"]),
                    cookies: Listed::None,
                };
                (
                    "Elemental-MediaPackage",
                    TtlBounds::CLOUDFRONT,
                    key,
                    Codings::default().with(Codings::GZIP),
                )
            }
            "Amplify" | "2e54312d-136d-493c-8eb9-b001f22f67d2" => {
                let headers = header(&["authorization", "cloudfront-viewer-country", "host"]);
                (
                    "Amplify",
                    bounds(2, 2, 600),
                    KeyParts { query: Listed::All, headers, cookies: Listed::All },
                    both,
                )
            }
            "UseOriginCacheControlHeaders" | "83da9c7e-98b4-4e11-a168-04f0df8e2c65" => {
                ("UseOriginCacheControlHeaders", bounds(0, 0, 31_536_000), own(Listed::None), both)
            }
            "UseOriginCacheControlHeaders-QueryStrings"
            | "4cc15a8a-d715-48a4-82b8-cc0b614638fe" => (
                "UseOriginCacheControlHeaders-QueryStrings",
                bounds(0, 0, 31_536_000),
                own(Listed::All),
                both,
            ),
            _ => return None,
        };
        Some(Self { name: name.into(), ttl, key, compress, codings: compress, ..Self::unnamed() })
    }
}

/// The names of CloudFront's managed cache policies, for suggestions.
pub const MANAGED_CACHE_POLICIES: [&str; 7] = [
    "CachingOptimized",
    "CachingOptimizedForUncompressedObjects",
    "CachingDisabled",
    "Elemental-MediaPackage",
    "Amplify",
    "UseOriginCacheControlHeaders",
    "UseOriginCacheControlHeaders-QueryStrings",
];

/// Which of the viewer's fields an origin request policy passes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ForwardHeaders {
    None,
    Only(FieldNames),
    AllViewer,
    AllViewerExcept(FieldNames),
    /// All of the viewer's, these of CloudFront's own, and these of a proxy's.
    AllViewerAnd(Vec<HeaderName>),
}

impl ForwardHeaders {
    /// Says whether the viewer's field of this name goes to the origin.
    pub fn includes<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        match self {
            Self::None => false,
            Self::Only(names) => names.contains(name),
            Self::AllViewer | Self::AllViewerAnd(_) => true,
            Self::AllViewerExcept(names) => !names.leaves_out(name),
        }
    }

    /// Says whether a field is named in full among those that go to the origin.
    pub fn names<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        match self {
            Self::Only(names) => names.names(name),
            Self::AllViewerAnd(names) => name.into().is_any(names),
            Self::None | Self::AllViewer | Self::AllViewerExcept(_) => false,
        }
    }

    /// Says whether a CloudFront-* field is to be added.
    pub fn adds(&self, name: &str) -> bool {
        match self {
            Self::Only(names) => names.iter().any(|known| known == name),
            Self::AllViewerAnd(names) => names.iter().any(|known| known == name),
            Self::None | Self::AllViewer | Self::AllViewerExcept(_) => false,
        }
    }
}

/// What goes to the origin beside what is in the key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OriginRequestPolicy {
    pub name: String,
    pub headers: ForwardHeaders,
    /// Fields that reach the origin with every method but GET and HEAD, whatever `headers` says:
    /// how CloudFront's legacy settings treat Authorization.
    pub of_writes: Vec<HeaderName>,
    pub query: Listed,
    pub cookies: Listed,
}

/// The names of CloudFront's managed origin request policies, for suggestions.
pub const MANAGED_ORIGIN_REQUEST_POLICIES: [&str; 8] = [
    "AllViewer",
    "AllViewerExceptHostHeader",
    "AllViewerAndCloudFrontHeaders-2022-06",
    "CORS-CustomOrigin",
    "CORS-S3Origin",
    "Elemental-MediaTailor-PersonalizedManifests",
    "HostHeaderOnly",
    "UserAgentRefererHeaders",
];

/// What `AllViewerAndCloudFrontHeaders-2022-06` adds: CloudFront's fields of June 2022.
pub const CLOUDFRONT_HEADERS_2022_06: [&str; 21] = [
    "cloudfront-forwarded-proto",
    "cloudfront-is-android-viewer",
    "cloudfront-is-desktop-viewer",
    "cloudfront-is-ios-viewer",
    "cloudfront-is-mobile-viewer",
    "cloudfront-is-smarttv-viewer",
    "cloudfront-is-tablet-viewer",
    "cloudfront-viewer-address",
    "cloudfront-viewer-asn",
    "cloudfront-viewer-city",
    "cloudfront-viewer-country",
    "cloudfront-viewer-country-name",
    "cloudfront-viewer-country-region",
    "cloudfront-viewer-country-region-name",
    "cloudfront-viewer-http-version",
    "cloudfront-viewer-latitude",
    "cloudfront-viewer-longitude",
    "cloudfront-viewer-metro-code",
    "cloudfront-viewer-postal-code",
    "cloudfront-viewer-time-zone",
    "cloudfront-viewer-tls",
];

impl OriginRequestPolicy {
    /// Nothing beside the key.
    pub fn nothing() -> Self {
        Self {
            name: "(none)".into(),
            headers: ForwardHeaders::None,
            of_writes: Vec::new(),
            query: Listed::None,
            cookies: Listed::None,
        }
    }

    /// CloudFront's managed policies by name or id (CloudFront: "Use managed cache policies", "Use
    /// managed origin request policies").
    pub fn managed(name_or_id: &str) -> Option<Self> {
        let header = |names: &[&'static str]| {
            names.iter().map(|name| HeaderName::from_static(name)).collect::<Vec<_>>()
        };
        let only = |names: &[&'static str]| ForwardHeaders::Only(header(names).into());
        let cors = ["origin", "access-control-request-headers", "access-control-request-method"];
        let (name, headers, query, cookies) = match name_or_id {
            "AllViewer" | "216adef6-5c7f-47e4-b989-5492eafa07d3" => {
                ("AllViewer", ForwardHeaders::AllViewer, Listed::All, Listed::All)
            }
            "AllViewerExceptHostHeader" | "b689b0a8-53d0-40ab-baf2-68738e2966ac" => (
                "AllViewerExceptHostHeader",
                ForwardHeaders::AllViewerExcept(header(&["host"]).into()),
                Listed::All,
                Listed::All,
            ),
            "AllViewerAndCloudFrontHeaders-2022-06" | "33f36d7e-f396-46d9-90e0-52428a34d9dc" => {
                let all = ForwardHeaders::AllViewerAnd(header(&CLOUDFRONT_HEADERS_2022_06));
                ("AllViewerAndCloudFrontHeaders-2022-06", all, Listed::All, Listed::All)
            }
            "CORS-CustomOrigin" | "59781a5b-3903-41f3-afcb-af62929ccde1" => {
                ("CORS-CustomOrigin", only(&["origin"]), Listed::None, Listed::None)
            }
            "CORS-S3Origin" | "88a5eaf4-2fd4-4709-b370-b4c650ea3fcf" => {
                ("CORS-S3Origin", only(&cors), Listed::None, Listed::None)
            }
            "Elemental-MediaTailor-PersonalizedManifests"
            | "775133bc-15f2-49f9-abea-afb2e0bf67d2" => {
                let viewer = [cors[0], cors[1], cors[2], "user-agent", "x-forwarded-for"];
                (
                    "Elemental-MediaTailor-PersonalizedManifests",
                    only(&viewer),
                    Listed::All,
                    Listed::None,
                )
            }
            "HostHeaderOnly" | "bf0718e1-ba1e-49d1-88b1-f726733018ae" => {
                ("HostHeaderOnly", only(&["host"]), Listed::None, Listed::None)
            }
            "UserAgentRefererHeaders" | "acba4595-bd28-49b8-b9fe-13317c0390fa" => (
                "UserAgentRefererHeaders",
                only(&["user-agent", "referer"]),
                Listed::None,
                Listed::None,
            ),
            _ => return None,
        };
        Some(Self { name: name.into(), headers, of_writes: Vec::new(), query, cookies })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_refuse_disorder() {
        let s = Duration::from_secs;
        assert!(TtlBounds::new(s(5), s(5), s(4)).is_err());
        assert!(TtlBounds::new(s(0), s(5), s(4)).is_err());
        assert_eq!(TtlBounds::new(s(100), s(50), s(3600)).map(|b| b.default()), Ok(s(100)));
    }

    #[test]
    fn every_managed_policy_is_there_by_name() {
        assert!(
            MANAGED_CACHE_POLICIES
                .iter()
                .all(|name| CachePolicy::managed(name).is_some_and(|p| p.name == *name))
        );
        assert!(
            MANAGED_ORIGIN_REQUEST_POLICIES
                .iter()
                .all(|name| OriginRequestPolicy::managed(name).is_some_and(|p| p.name == *name))
        );
    }

    // Ids, and what each sends, as AWS publishes them.
    #[test]
    fn managed_origin_request_policies_send_what_they_are_named_for() {
        let policy = |id: &str| OriginRequestPolicy::managed(id).unwrap();
        let sends = |policy: &OriginRequestPolicy, name: &'static str| {
            policy.headers.includes(&HeaderName::from_static(name))
        };
        let host = policy("bf0718e1-ba1e-49d1-88b1-f726733018ae");
        assert_eq!(host.name, "HostHeaderOnly");
        assert!(
            sends(&host, "host")
                && !sends(&host, "user-agent")
                && host.query.is_none()
                && host.cookies.is_none()
        );
        let tailor = policy("775133bc-15f2-49f9-abea-afb2e0bf67d2");
        assert_eq!(tailor.name, "Elemental-MediaTailor-PersonalizedManifests");
        assert!(
            ["origin", "access-control-request-method", "user-agent", "x-forwarded-for"]
                .into_iter()
                .all(|name| sends(&tailor, name))
        );
        assert!(!sends(&tailor, "host") && tailor.query == Listed::All && tailor.cookies.is_none());
        let all = policy("33f36d7e-f396-46d9-90e0-52428a34d9dc");
        assert!(CLOUDFRONT_HEADERS_2022_06.iter().all(|name| all.headers.adds(name)));
        assert!(sends(&all, "x-anything") && all.cookies == Listed::All);
    }
}
