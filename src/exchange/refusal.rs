//! Refusals: the viewer may not. Made by `gate`, worded and given a status here, once.

use std::borrow::Cow;

use super::failure::{Failure, FailureKind};
use crate::signature::url::Unsigned;

/// Why a viewer is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No distribution answers for this host.
    UnknownHost,
    /// The Host is not one of the connection's certificate (RFC 9110 §7.4).
    Misdirected,
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
    /// It would be another order to the bucket than the viewer's, or is one that viewers may not give.
    Subresource(Unfit),
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
            | Self::Bucket
            | Self::Subresource(_) => 403,
            Self::RedirectToHttps { keeps_method: false, .. } => 301,
            Self::RedirectToHttps { keeps_method: true, .. } => 307,
            Self::MayNotPurge => 401,
            Self::TooMany { .. } => 429,
            Self::Misdirected => 421,
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
            Self::Misdirected => "This connection's certificate does not cover the requested host.",
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
            Self::Subresource(_) => "The bucket may not be asked for this here.",
            Self::Address => "This is not served to your address.",
            Self::TooMany { .. } => "Too many requests; try again later.",
            Self::Unsigned(why) => why.words().1,
        }
    }

    /// The sentence, with what it is about where that is known.
    pub fn words(&self) -> Cow<'static, str> {
        match self {
            Self::Subresource(unfit) => Cow::Owned(unfit.words()),
            other => Cow::Borrowed(other.sentence()),
        }
    }

    /// What the log says beside the reason.
    pub fn failure(&self) -> Option<Failure> {
        match self {
            Self::Subresource(unfit) => Some(Failure::new(FailureKind::RequestDenied, unfit.words())),
            _ => None,
        }
    }
}

/// A parameter or field that keeps an order from a bucket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    name: String,
    why: Why,
}

/// Why a parameter or field keeps an order from a bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `access_control.subresources` does not let it pass.
    NotAllowed,
    /// The policies keep it back, and what is left would be another order.
    KeptBack,
    /// It reaches the bucket, but answers are kept without it in their key.
    NotInKey,
    /// The body is signed piece by piece with the viewer's own key.
    SignedPieces,
}

/// Names are shown up to here.
const SHOWN: usize = 48;

impl Unfit {
    /// Speaks of a name, of which only harmless characters are kept: it goes into pages and logs.
    pub fn new(name: &str, why: Why) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' };
        Self { name: name.chars().take(SHOWN).map(plain).collect(), why }
    }

    fn words(&self) -> String {
        let name = &self.name;
        match self.why {
            Why::NotAllowed => format!(
                "\"{name}\" gives the bucket an order that access_control.subresources does not let viewers give: \
                 it takes \"pass\", or a list that names it."
            ),
            Why::KeptBack => format!(
                "\"{name}\" is kept back by the policies of this behavior, and the bucket would get another order: \
                 forward it, as access_control.subresources needs for whatever passes."
            ),
            Why::NotInKey => format!(
                "\"{name}\" reaches the bucket but is not in the cache key, and its answer would be kept for others: \
                 put it into the key, or disable caching, as access_control.subresources needs for whatever passes."
            ),
            Why::SignedPieces => format!(
                "\"{name}\" says that the body is signed piece by piece with the viewer's own key, and access_control signs anew: \
                 send the body with its hash, with UNSIGNED-PAYLOAD, or with a trailer that is not signed."
            ),
        }
    }
}
