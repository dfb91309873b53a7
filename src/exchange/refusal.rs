//! Refusals: the viewer may not. Made by `gate`, worded and given a status here, once.

use crate::signature::url::Unsigned;

/// What is wrong with a connection for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirection {
    /// Its certificate stands for a host that the configuration gives to another distribution.
    OtherSite,
    /// The host is named in the configuration or not served at all, and the certificate does not stand for it.
    NotCovered,
}

/// Why a viewer is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No distribution answers for this host.
    UnknownHost,
    /// The Host is not one of the connection's certificate (RFC 9110 §7.4).
    Misdirected(Misdirection),
    HttpsOnly,
    /// 301 for GET and HEAD, 307 for the others (CloudFront's viewer protocol policy).
    RedirectToHttps {
        location: String,
        keeps_method: bool,
    },
    Method,
    /// CloudFront answers a GET with a body with 403.
    BodyOnGet,
    /// The request has been through this node before (RFC 8586).
    Loop,
    /// Upgrade is not spoken.
    Upgrade,
    /// Trailing dots, empty segments that climb: a path that cannot be served safely.
    BadPath,
    /// A request body above the limit.
    TooLarge,
    Expectation,
    /// It asks to replace what is stored, and may not.
    MayNotReplace,
    /// PURGE without the token it needs.
    MayNotPurge,
    /// The viewer's country is not one that is served (CloudFront's geographic restriction).
    Country,
    /// The bucket itself is asked for, with credentials that may list it.
    Bucket,
    /// The viewer's address is not one that may ask.
    Address,
    /// It asked too often; in so many seconds it may again.
    TooMany {
        retry_after: u64,
    },
    /// A signed URL or signed cookies are needed (CloudFront's trusted key groups).
    Unsigned(Unsigned),
}

impl Refusal {
    /// The status the viewer sees.
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownHost
            | Self::HttpsOnly
            | Self::Method
            | Self::BodyOnGet
            | Self::MayNotReplace
            | Self::Unsigned(_)
            | Self::Country
            | Self::Address
            | Self::Bucket => 403,
            Self::RedirectToHttps { keeps_method: false, .. } => 301,
            Self::RedirectToHttps { keeps_method: true, .. } => 307,
            Self::MayNotPurge => 401,
            Self::TooMany { .. } => 429,
            Self::Misdirected(_) => 421,
            Self::Loop => 508,
            Self::Upgrade => 501,
            Self::BadPath => 400,
            Self::TooLarge => 413,
            Self::Expectation => 417,
        }
    }

    /// One plain sentence, leaking nothing about what else is served here.
    pub const fn sentence(&self) -> &'static str {
        match self {
            Self::UnknownHost => "This host is not served here.",
            Self::Misdirected(Misdirection::OtherSite) => "This connection's certificate is for another site than the requested host's.",
            Self::Misdirected(Misdirection::NotCovered) => "This connection's certificate does not cover the requested host.",
            Self::HttpsOnly => "This resource is available over HTTPS only.",
            Self::RedirectToHttps { .. } => "This resource has its place at an https URL.",
            Self::Method => "This method is not allowed here.",
            Self::BodyOnGet => "A GET or HEAD request must not carry a body here.",
            Self::Loop => "This request has passed through this edge before.",
            Self::Upgrade => "Protocol upgrades are not supported.",
            Self::BadPath => "The request path cannot be served.",
            Self::TooLarge => "The request body is larger than allowed.",
            Self::Expectation => "The expectation cannot be met.",
            Self::MayNotReplace => "This caller may not invalidate what is cached.",
            Self::MayNotPurge => "Purging needs a token.",
            Self::Country => "This is not served in your country.",
            Self::Bucket => "There is no object without a name.",
            Self::Address => "This is not served to your address.",
            Self::TooMany { .. } => "Too many requests; try again later.",
            Self::Unsigned(why) => why.words().1,
        }
    }
}
