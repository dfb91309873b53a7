//! Refusals: the viewer may not. Made by `access`, worded and given a status here, once.
//!
//! A [`Rule`] names what was broken in one word: the log and the counters speak of it, heads that
//! were refused before they were requests included.

use std::borrow::Cow;

use super::encryption::EncryptionStatus;
use super::failure::{Failure, FailureKind};
use crate::crypto::url::Unsigned;
use crate::semantics::websocket::HandshakeError;

/// What is wrong with a connection for a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdirection {
    /// Its certificate stands for a host that the configuration gives to another distribution.
    OtherSite,
    /// Viewers' certificates are under another rule for this host than for the name that the
    /// connection was made with.
    OtherRule,
    /// The host is named in the configuration or not served at all, and the certificate does not
    /// stand for it.
    NotCovered,
    /// The host is not served over the version of HTTP that the connection speaks.
    Version,
}

/// Why a viewer is turned away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// No distribution answers for this host.
    UnknownHost,
    /// The distribution is switched off (CloudFront's `Enabled = false`).
    Disabled,
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
    /// A WebSocket handshake that no server could accept.
    Upgrade(HandshakeError),
    /// A call of gRPC over HTTP/1, which cannot carry one.
    Grpc,
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
    /// It would be another order to the bucket than the viewer's, or is one that viewers may not
    /// give.
    Subresource(Unfit),
    /// The viewer's address is not one that may ask.
    Address,
    /// It asked too often; in so many seconds it may again.
    TooMany {
        retry_after: u64,
    },
    /// A signed URL or signed cookies are needed (CloudFront's trusted key groups).
    Unsigned(Unsigned),
    /// A form that is not encrypted as its behavior wants (CloudFront's field-level encryption).
    Form(EncryptionStatus),
}

impl Refusal {
    /// What was broken.
    pub const fn rule(&self) -> Rule {
        match self {
            Self::UnknownHost => Rule::UnknownHost,
            Self::Disabled => Rule::Disabled,
            Self::Misdirected(_) => Rule::Misdirected,
            Self::HttpsOnly | Self::RedirectToHttps { .. } => Rule::HttpsOnly,
            Self::Method => Rule::Method,
            Self::BodyOnGet => Rule::BodyOnGet,
            Self::Loop => Rule::Loop,
            Self::Upgrade(_) => Rule::Upgrade,
            Self::Grpc => Rule::Grpc,
            Self::BadPath => Rule::UnsafePath,
            Self::TooLarge => Rule::LongBody,
            Self::Expectation => Rule::Expectation,
            Self::MayNotReplace => Rule::Replacement,
            Self::MayNotPurge => Rule::Purge,
            Self::Country => Rule::Country,
            Self::Bucket => Rule::Bucket,
            Self::Subresource(_) => Rule::Subresource,
            Self::Address => Rule::Address,
            Self::TooMany { .. } => Rule::Rate,
            Self::Unsigned(_) => Rule::Unsigned,
            Self::Form(_) => Rule::Form,
        }
    }

    /// The status the viewer sees.
    pub const fn status(&self) -> u16 {
        match self {
            Self::UnknownHost
            | Self::Disabled
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
            Self::Misdirected(_) => 421,
            Self::Loop => 508,
            Self::Upgrade(HandshakeError::Version) => 426,
            Self::Upgrade(HandshakeError::Key) => 400,
            Self::BadPath | Self::Grpc | Self::Form(_) => 400,
            Self::TooLarge => 413,
            Self::Expectation => 417,
        }
    }

    /// One plain sentence, leaking nothing about what else is served here.
    pub const fn sentence(&self) -> &'static str {
        match self {
            Self::UnknownHost => "This host is not served here.",
            Self::Disabled => "This site is switched off.",
            Self::Misdirected(Misdirection::OtherSite) => {
                "This connection's certificate is for another site than the requested host's."
            }
            Self::Misdirected(Misdirection::OtherRule) => {
                "This connection was made under another rule for certificates than the requested host's."
            }
            Self::Misdirected(Misdirection::NotCovered) => {
                "This connection's certificate does not cover the requested host."
            }
            Self::Misdirected(Misdirection::Version) => {
                "This host is not served over this version of HTTP."
            }
            Self::HttpsOnly => "This resource is available over HTTPS only.",
            Self::RedirectToHttps { .. } => "This resource has its place at an https URL.",
            Self::Method => "This method is not allowed here.",
            Self::BodyOnGet => "A GET or HEAD request must not carry a body here.",
            Self::Loop => "This request has passed through this edge before.",
            Self::Upgrade(HandshakeError::Version) => "WebSockets have version 13 here.",
            Self::Upgrade(HandshakeError::Key) => "The WebSocket handshake has no good key.",
            Self::Grpc => "gRPC needs HTTP/2.",
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
            Self::Form(status) => status.sentence(),
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
            Self::Subresource(unfit) => {
                Some(Failure::new(FailureKind::RequestDenied, unfit.words()))
            }
            Self::Form(status) => Some(Failure::new(FailureKind::RequestDenied, status.word())),
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
        let plain = |c: char| {
            if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' }
        };
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

/// The rule that a refused request has broken. The first ones are those of a head, before it is a
/// request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Not a head at all, by the grammar of RFC 9112 or RFC 9113 §8.
    Malformed,
    /// A CR, LF or NUL where none may be (RFC 9112 §2.2).
    LineEnd,
    /// HTTP/1.1 without Host, HTTP/2 without an authority (RFC 9112 §3.2).
    NoHost,
    /// Two of them, or a target that names another.
    ManyHosts,
    /// Not a name, an address or a port.
    BadHost,
    /// A request target of no known form, or with octets that may not stand in one (RFC 9112 §3.2).
    BadTarget,
    /// A path that climbs, or that other software would read otherwise.
    UnsafePath,
    /// Two lengths, or one that others could read otherwise: request smuggling (RFC 9112 §6).
    Framing,
    /// A transfer coding that is not understood (RFC 9112 §6.1).
    Coding,
    /// More than `limits.url_bytes`.
    LongUrl,
    /// More than `limits.head_bytes`.
    LongHead,
    /// More than `limits.fields`.
    ManyFields,
    /// A version of HTTP that is not spoken.
    Version,
    /// CONNECT: nothing is a proxy here.
    Connect,
    /// Another protocol than WebSocket on a stream of HTTP/2 (RFC 8441 §4).
    Protocol,
    /// A head that took longer than `limits.head_time`.
    SlowHead,
    // The refusals of the same names.
    UnknownHost,
    Misdirected,
    HttpsOnly,
    Method,
    BodyOnGet,
    Loop,
    Upgrade,
    Grpc,
    LongBody,
    Expectation,
    Replacement,
    Purge,
    Country,
    Bucket,
    Subresource,
    Address,
    Rate,
    Unsigned,
    Disabled,
    Form,
}

impl Rule {
    /// All of them, in order.
    pub const ALL: [Self; 36] = [
        Self::Malformed,
        Self::LineEnd,
        Self::NoHost,
        Self::ManyHosts,
        Self::BadHost,
        Self::BadTarget,
        Self::UnsafePath,
        Self::Framing,
        Self::Coding,
        Self::LongUrl,
        Self::LongHead,
        Self::ManyFields,
        Self::Version,
        Self::Connect,
        Self::Protocol,
        Self::SlowHead,
        Self::UnknownHost,
        Self::Misdirected,
        Self::HttpsOnly,
        Self::Method,
        Self::BodyOnGet,
        Self::Loop,
        Self::Upgrade,
        Self::Grpc,
        Self::LongBody,
        Self::Expectation,
        Self::Replacement,
        Self::Purge,
        Self::Country,
        Self::Bucket,
        Self::Subresource,
        Self::Address,
        Self::Rate,
        Self::Unsigned,
        Self::Disabled,
        Self::Form,
    ];

    /// The word of the log and of the counters.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::LineEnd => "line-end",
            Self::NoHost => "no-host",
            Self::ManyHosts => "many-hosts",
            Self::BadHost => "bad-host",
            Self::BadTarget => "bad-target",
            Self::UnsafePath => "unsafe-path",
            Self::Framing => "framing",
            Self::Coding => "coding",
            Self::LongUrl => "long-url",
            Self::LongHead => "long-head",
            Self::ManyFields => "many-fields",
            Self::Version => "version",
            Self::Connect => "connect",
            Self::Protocol => "protocol",
            Self::SlowHead => "slow-head",
            Self::UnknownHost => "unknown-host",
            Self::Misdirected => "misdirected",
            Self::HttpsOnly => "https-only",
            Self::Method => "method-not-allowed",
            Self::BodyOnGet => "body-on-get",
            Self::Loop => "loop",
            Self::Upgrade => "upgrade",
            Self::Grpc => "grpc",
            Self::LongBody => "long-body",
            Self::Expectation => "expectation",
            Self::Replacement => "replacement",
            Self::Purge => "purge",
            Self::Country => "country",
            Self::Bucket => "bucket",
            Self::Subresource => "subresource",
            Self::Address => "address",
            Self::Rate => "rate",
            Self::Unsigned => "unsigned",
            Self::Disabled => "disabled",
            Self::Form => "form",
        }
    }

    /// The status of a head that has broken it; 400 for whatever is no matter of heads.
    pub const fn status(self) -> u16 {
        match self {
            Self::Coding | Self::Protocol => 501,
            Self::LongUrl => 414,
            Self::LongHead | Self::ManyFields => 431,
            Self::Version => 505,
            Self::Connect => 405,
            Self::SlowHead => 408,
            _ => 400,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_rule_has_a_word_and_a_counter_of_its_own() {
        let mut words: Vec<&str> = Rule::ALL.iter().map(|rule| rule.name()).collect();
        assert!(words.iter().all(|word| word.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')));
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), Rule::ALL.len());
        for (at, rule) in Rule::ALL.into_iter().enumerate() {
            assert_eq!(rule as usize, at, "{rule:?}");
        }
    }
}
