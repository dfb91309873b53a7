//! How a request went, and the reasons, as types: log, metrics, headers and `explain` all read
//! these.

use super::refusal::Rule;
use crate::semantics::cache_status::Forward;

/// Why there was nothing to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MissReason {
    Absent,
    /// Stored, but for other values of the fields that Vary names.
    OtherVariant,
    /// Asked for before an invalidation that covers it.
    Invalidated,
}

/// Why a request is not the cache's to answer or to keep.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PassReason {
    /// Only GET and HEAD are answered from the store.
    Method,
    /// The policy's maximum TTL is zero.
    CachingDisabled,
    /// This key was uncacheable a moment ago.
    Marked,
    /// A HEAD with nothing stored goes forward as HEAD.
    Head,
    /// Too many fills or followers at once.
    Crowded,
    /// It waited for another request's fetch for as long as it may.
    WaitedEnough,
    /// A POST whose body is too long to be a part of a key.
    Body,
    /// It opens a WebSocket.
    Upgrade,
    /// It is a call of gRPC.
    Grpc,
}

impl PassReason {
    /// The reason in words, and where it stands.
    pub const fn cites(self) -> &'static str {
        match self {
            Self::Method => {
                "only GET and HEAD are answered from the store (RFC 9110 §9.2.3); a POST where cache_post says so, and OPTIONS where cache_options does"
            }
            Self::CachingDisabled => "the policy's maximum TTL is zero (CachingDisabled)",
            Self::Marked => "what this key brought a moment ago could not be shared",
            Self::Head => {
                "nothing is stored that could answer, and a HEAD brings no body that could be kept"
            }
            Self::Crowded => {
                "too many requests wait or are under way already (limits.followers, limits.fills)"
            }
            Self::WaitedEnough => {
                "it waited for another request's fetch for as long as it may (limits.follower_wait)"
            }
            Self::Body => "its body is longer than cache_post.max_body",
            Self::Upgrade => "it opens a WebSocket, which nothing can stand in for (RFC 6455)",
            Self::Grpc => "it is a call of gRPC, and the answer is its caller's alone",
        }
    }
}

/// Why a stored response must be checked with the origin first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RevalidateReason {
    Expired,
    /// `no-cache`: checked each time.
    Always,
    /// A soft invalidation.
    Invalidated,
    /// The fleet may have invalidated it: this edge's lease is over.
    Unproven,
}

/// Why a response was not kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotKept {
    NoStore,
    Private,
    /// Set-Cookie without explicit freshness, or with cookies outside the key.
    SetCookie,
    /// Answer to a request with Authorization, without leave to share it.
    Authorization,
    /// Neither freshness nor a validator.
    NoFreshness,
    VaryStar,
    NotUnderstood,
    /// The status is not one this policy keeps.
    Status,
    TooLarge,
    StoreFull,
    /// 206 to a request that is not kept in parts.
    Partial,
    CachingDisabled,
}

impl NotKept {
    /// The rule in words, and where it stands.
    pub const fn cites(self) -> &'static str {
        match self {
            Self::NoStore => "no-store (RFC 9111 §5.2.2.5)",
            Self::Private => "private (RFC 9111 §5.2.2.7)",
            Self::SetCookie => {
                "Set-Cookie without explicit freshness, or with cookies outside the key (a rule of this edge)"
            }
            Self::Authorization => {
                "the request carried Authorization, and nothing gives leave to share the answer (RFC 9111 §3.5)"
            }
            Self::NoFreshness => "neither a lifetime nor a validator (RFC 9111 §3, §4.2.2)",
            Self::VaryStar => {
                "Vary: * or a Vary on what no other request can be known to share (RFC 9111 §4.1)"
            }
            Self::NotUnderstood => {
                "must-understand with a status that is not understood (RFC 9111 §5.2.2.3)"
            }
            Self::Status => {
                "a status that is kept only with max-age or s-maxage, or never (CloudFront's error caching)"
            }
            Self::TooLarge => "larger than store.max_object",
            Self::StoreFull => "the store has no room that may be taken",
            Self::Partial => "a part of something whose whole was asked for (RFC 9111 §3.3)",
            Self::CachingDisabled => "the policy's maximum TTL is zero (CachingDisabled)",
        }
    }
}

/// What the request came to, in CloudFront's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Hit,
    /// Confirmed by the origin, or stale and served with leave.
    RefreshHit,
    Miss,
    Error,
    Redirect,
}

impl Outcome {
    pub const ALL: [Self; 5] =
        [Self::Hit, Self::RefreshHit, Self::Miss, Self::Error, Self::Redirect];

    /// The word of X-Cache and of the log.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Hit => "Hit",
            Self::RefreshHit => "RefreshHit",
            Self::Miss => "Miss",
            Self::Error => "Error",
            Self::Redirect => "Redirect",
        }
    }
}

/// What code at the edge made of a request, in CloudFront's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FunctionEnd {
    /// It answered itself.
    Generated,
    /// It threw, or took too much time or memory.
    Execution,
    /// It does not compile, or failed too often of late, and was not run.
    Throttled,
    /// What it returned breaks a rule.
    Validation,
    /// A lambda answered itself.
    LambdaGenerated,
    /// A lambda threw, or its worker ended.
    LambdaExecution,
    /// A lambda took too long, or no worker was free.
    LambdaLimit,
    /// What a lambda returned breaks a rule.
    LambdaValidation,
}

impl FunctionEnd {
    /// The word of X-Cache and of CloudFront's logs.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Generated => "FunctionGeneratedResponse",
            Self::Execution => "FunctionExecutionError",
            Self::Throttled => "FunctionThrottledError",
            Self::Validation => "FunctionValidationError",
            Self::LambdaGenerated => "LambdaGeneratedResponse",
            Self::LambdaExecution => "LambdaExecutionError",
            Self::LambdaLimit => "LambdaLimitExceeded",
            Self::LambdaValidation => "LambdaValidationError",
        }
    }

    /// A short stable name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Generated => "function-generated",
            Self::Execution => "function-execution",
            Self::Throttled => "function-throttled",
            Self::Validation => "function-validation",
            Self::LambdaGenerated => "lambda-generated",
            Self::LambdaExecution => "lambda-execution",
            Self::LambdaLimit => "lambda-limit",
            Self::LambdaValidation => "lambda-validation",
        }
    }

    /// Says whether code made the answer itself.
    pub const fn is_generated(self) -> bool {
        matches!(self, Self::Generated | Self::LambdaGenerated)
    }
}

/// The story of one request, finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    pub outcome: Outcome,
    pub reason: Reason,
    pub collapsed: bool,
    pub stored: bool,
    /// What code at an event of the origin failed with, where that is the answer.
    pub failed: Option<FunctionEnd>,
}

impl Verdict {
    /// What code at the edge came to, where the answer is its doing.
    pub const fn by_code(&self) -> Option<FunctionEnd> {
        match self.reason {
            Reason::Function(end) => Some(end),
            _ => self.failed,
        }
    }

    /// The word of X-Cache and of the log.
    pub const fn word(&self) -> &'static str {
        match self.by_code() {
            Some(end) => end.word(),
            None => self.outcome.word(),
        }
    }
}

/// Why it ended as it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    Fresh,
    /// Served stale while a refresh runs (RFC 5861 §3).
    StaleWhileRevalidate,
    /// Served stale because the origin failed (RFC 5861 §4).
    StaleIfError,
    /// The same without asking: the origin failed a moment ago.
    StaleOnError,
    Revalidated(RevalidateReason),
    Replaced(RevalidateReason),
    Miss(MissReason),
    Pass(PassReason),
    NotKept(NotKept),
    /// By this rule.
    Refused(Rule),
    /// Nothing was asked for: something was invalidated.
    Purged,
    /// Code at the edge ended it.
    Function(FunctionEnd),
    Failed,
}

impl Reason {
    /// The reason of a request that was to be fetched together with others and goes alone. What was
    /// to be confirmed stays that: Cache-Status has to call it stale.
    #[must_use]
    pub const fn alone(self, why: PassReason) -> Self {
        match self {
            Self::Miss(_) => Self::Pass(why),
            other => other,
        }
    }

    /// A short stable name for logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fresh => "fresh",
            Self::StaleWhileRevalidate => "stale-while-revalidate",
            Self::StaleIfError => "stale-if-error",
            Self::StaleOnError => "stale-if-error-recent",
            Self::Revalidated(RevalidateReason::Unproven) => "unproven",
            Self::Revalidated(_) => "revalidated",
            Self::Replaced(_) => "replaced",
            Self::Miss(MissReason::Absent) => "absent",
            Self::Miss(MissReason::OtherVariant) => "other-variant",
            Self::Miss(MissReason::Invalidated) => "invalidated",
            Self::Pass(PassReason::Method) => "method",
            Self::Pass(PassReason::CachingDisabled) => "caching-disabled",
            Self::Pass(PassReason::Marked) => "uncacheable-before",
            Self::Pass(PassReason::Head) => "head",
            Self::Pass(PassReason::Crowded) => "crowded",
            Self::Pass(PassReason::WaitedEnough) => "waited-enough",
            Self::Pass(PassReason::Body) => "request-body",
            Self::Pass(PassReason::Upgrade) => "upgrade",
            Self::Pass(PassReason::Grpc) => "grpc",
            Self::NotKept(NotKept::NoStore) => "no-store",
            Self::NotKept(NotKept::Private) => "private",
            Self::NotKept(NotKept::SetCookie) => "set-cookie",
            Self::NotKept(NotKept::Authorization) => "authorization",
            Self::NotKept(NotKept::NoFreshness) => "no-freshness",
            Self::NotKept(NotKept::VaryStar) => "vary-star",
            Self::NotKept(NotKept::NotUnderstood) => "not-understood",
            Self::NotKept(NotKept::Status) => "status",
            Self::NotKept(NotKept::TooLarge) => "too-large",
            Self::NotKept(NotKept::StoreFull) => "store-full",
            Self::NotKept(NotKept::Partial) => "partial",
            Self::NotKept(NotKept::CachingDisabled) => "caching-disabled",
            Self::Refused(rule) => rule.name(),
            Self::Purged => "purged",
            Self::Function(end) => end.name(),
            Self::Failed => "failed",
        }
    }

    /// The `fwd` token of Cache-Status; `None` for answers from the store (RFC 9211 §2.2).
    pub const fn forward(self) -> Option<Forward> {
        match self {
            Self::Fresh
            | Self::StaleWhileRevalidate
            | Self::StaleOnError
            | Self::Refused(_)
            | Self::Purged
            | Self::Function(_) => None,
            Self::StaleIfError | Self::Revalidated(_) | Self::Replaced(_) => Some(Forward::Stale),
            Self::Miss(MissReason::OtherVariant) => Some(Forward::VaryMiss),
            Self::Miss(_) => Some(Forward::UriMiss),
            Self::Pass(PassReason::Method | PassReason::Head) => Some(Forward::Method),
            Self::Pass(_) => Some(Forward::Bypass),
            Self::NotKept(_) | Self::Failed => Some(Forward::Miss),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_that_goes_alone_says_why_unless_it_confirms_something() {
        let missed = [MissReason::Absent, MissReason::OtherVariant, MissReason::Invalidated]
            .map(Reason::Miss);
        for why in [PassReason::Marked, PassReason::Crowded, PassReason::WaitedEnough] {
            for reason in missed {
                assert_eq!(reason.alone(why), Reason::Pass(why));
                assert_eq!(reason.alone(why).forward(), Some(Forward::Bypass));
            }
            let confirms = Reason::Revalidated(RevalidateReason::Expired);
            assert_eq!(confirms.alone(why).forward(), Some(Forward::Stale));
        }
    }
}
