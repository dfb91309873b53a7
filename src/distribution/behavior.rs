//! A behavior: the rules for the paths that a pattern matches.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderName, Method};

use super::cache_policy::{CachePolicy, OriginRequestPolicy, Semantics};
use super::events::Refill;
use super::field_encryption::FieldEncryption;
use super::functions::Hooks;
use super::logs::RealtimeChoice;
use super::pattern::PathPattern;
use super::response_policy::ResponsePolicy;
use crate::base::network::Network;
use crate::base::secret::Secret;
use crate::crypto::sigv4::Credentials;
use crate::crypto::url::TrustedKeys;
use crate::distribution::rate_limit::RateLimit;

/// What a viewer may speak (CloudFront's viewer protocol policy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ViewerProtocol {
    AllowAll,
    HttpsOnly,
    RedirectToHttps,
}

/// The methods a viewer may use: CloudFront's three sets, and any token for `rfc9111` in front of
/// an app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Methods {
    GetHead,
    GetHeadOptions,
    /// GET HEAD OPTIONS PUT POST PATCH DELETE.
    Seven,
    /// Every method but CONNECT and TRACE.
    Any,
}

impl Methods {
    /// Says whether a method is in the set.
    pub fn allows(self, method: &Method) -> bool {
        match *method {
            Method::GET | Method::HEAD => true,
            Method::OPTIONS => self != Self::GetHead,
            Method::PUT | Method::POST | Method::PATCH | Method::DELETE => {
                matches!(self, Self::Seven | Self::Any)
            }
            Method::CONNECT | Method::TRACE => false,
            _ => self == Self::Any,
        }
    }
}

/// What answers for a behavior: an index into its distribution's origins or groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    Origin(usize),
    Group(usize),
}

/// The rules for one path pattern.
#[derive(Clone, Debug)]
pub struct Behavior {
    pub pattern: PathPattern,
    pub target: Target,
    pub cache: Arc<CachePolicy>,
    pub origin_request: Arc<OriginRequestPolicy>,
    /// What viewers see beside, or in the place of, the origin's fields.
    pub response: Option<Arc<ResponsePolicy>>,
    pub viewer_protocol: ViewerProtocol,
    pub methods: Methods,
    /// Over the distribution's own; an extension of ours, CloudFront has them per distribution
    /// only.
    pub error_responses: Vec<ErrorResponse>,
    pub client_invalidation: Option<ClientInvalidation>,
    /// Answers to POST are kept too (a query in the form of a POST).
    pub cache_post: Option<PostCaching>,
    /// Answers to OPTIONS are kept too, under keys of their own (CloudFront's CachedMethods).
    pub cache_options: bool,
    /// Calls of gRPC pass (CloudFront's GrpcConfig). Its origins speak HTTP/2, and POST is allowed.
    pub grpc: bool,
    /// Objects are fetched and kept in aligned parts of this many octets.
    pub slice: Option<u64>,
    /// What a successful write does beyond this node before its viewer is answered; `None`: what it
    /// makes old is so here, and elsewhere soon.
    pub write_through: Option<WriteThrough>,
    /// A viewer must show a signature of one of these keys (CloudFront's trusted key groups).
    pub signers: Option<TrustedKeys>,
    /// Fields of its forms are encrypted on their way to an origin (CloudFront's field-level
    /// encryption).
    pub field_encryption: Option<Arc<FieldEncryption>>,
    /// Networks whose viewers alone may ask; empty for all.
    pub allow_from: Vec<Network>,
    /// Networks whose viewers may not.
    pub deny_from: Vec<Network>,
    /// How often one address may ask.
    pub rate_limit: Option<RateLimit>,
    pub realtime_log: RealtimeChoice,
    /// Where its own code stands, if it has any.
    pub hooks: Option<Box<Hooks>>,
    /// Facts worked out once from the policies and origins above.
    pub derived: Derived,
    /// The behavior's place among all behaviors of its site; it means nothing in another site
    /// (`distribution::identity`).
    pub ordinal: usize,
}

/// What a viewer sees in the place of an error (CloudFront's custom error response).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorResponse {
    pub status: u16,
    /// The page, a path of this distribution, and the status it goes out with.
    pub page: Option<(String, u16)>,
    /// The least time the error is kept, over the policy's.
    pub ttl: Option<std::time::Duration>,
}

/// Statuses that may be mapped (CloudFront: "Generate custom error responses").
pub const MAPPABLE: [u16; 11] = [400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504];

/// A write that is in effect everywhere before its viewer is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WriteThrough {
    /// The most that the answer waits for parents or the fleet; `None`: as long as one to PURGE.
    pub wait: Option<Duration>,
    /// Whether what was written is fetched at once, too.
    pub refill: Refill,
}

/// Which callers may replace a stored response by asking with `Cache-Control: max-age=0` (the API
/// Gateway cache).
#[derive(Clone, Debug)]
pub struct ClientInvalidation {
    pub allow: MayReplace,
    pub unauthorised: Unauthorised,
}

/// What a caller shows who may replace a stored response.
#[derive(Clone, Debug)]
pub enum MayReplace {
    Anyone,
    /// This bearer token.
    Token(Secret<String>),
    /// The signature of one of these keys, for the service `execute-api`: those that may do
    /// `execute-api:InvalidateCache`.
    Signed(Arc<[Credentials]>),
}

/// How answers to POST are kept: the API Gateway cache's method-level override, and what stands in
/// their keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PostCaching {
    pub body: PostBody,
    /// Fields that are in the key of a POST beside the policy's, and so reach the origin.
    pub headers: Vec<HeaderName>,
    /// A POST with a longer body is passed through.
    pub max_body: u64,
}

/// What a POST's body is to its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PostBody {
    /// Its digest is a part of it.
    Keyed,
    /// As the API Gateway has it: two bodies, one answer.
    Ignored,
}

/// What a caller gets that may not (the API Gateway's unauthorizedCacheControlHeaderStrategy).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unauthorised {
    FailWith403,
    SucceedWithResponseHeader,
    SucceedWithoutResponseHeader,
}

/// What follows from a behavior's policies.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Derived {
    /// The viewer's Host reaches an origin, so it is in the key (src/DECISIONS.md, "A Host that
    /// reaches an origin is in the key").
    pub host_in_key: bool,
    /// The viewer's scheme reaches an origin, so it is in the key.
    pub scheme_in_key: bool,
    /// Requests to its origin are signed for S3.
    pub is_bucket: bool,
    /// Plain requests may be answered by the hit step. `config` works it out from every other
    /// setting of the behavior.
    pub may_hit: bool,
}

impl Behavior {
    /// Shorthand: the semantics in force.
    pub fn semantics(&self) -> Semantics {
        self.cache.semantics
    }
}
