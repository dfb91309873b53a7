//! Pure: which call a method and a path come to, and what the call is named where keys are allowed
//! it.

use http::Method;

use super::kinds::{KINDS, Names, UpdatedAt};
use crate::documents::shelf::Kind;

/// A call about documents.
#[derive(Clone, Copy, Debug)]
pub enum DocumentCall<'p> {
    /// One of a kind, or all of it: the id is empty where none is named.
    Resource(&'static Names, Verb, &'p str),
    Tagging(Tagging),
    /// The distributions that name a document.
    Users(Kind, &'p str),
    /// The distributions that name something else; by a parameter where nothing is named here.
    Naming(Listing, &'p str),
    /// The aliases of others that meet one.
    Conflicts,
    /// An alias becomes this distribution's.
    Associate(&'p str),
    /// A copy of a distribution is made, to be tried out.
    Copy(&'p str),
    /// What was tried out becomes what all viewers see.
    Promote(&'p str),
    /// The details of a certificate that CloudFront manages.
    ManagedCertificate,
    /// The monitoring subscription of a distribution.
    Subscription(Subscribing, &'p str),
    /// Real-time log configurations: the body says which one.
    RealtimeLog(LogVerb),
    /// Trust stores: the id is empty where none is named.
    TrustStore(TrustVerb, &'p str),
}

/// What is done with a trust store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrustVerb {
    Create,
    Get,
    Update,
    Delete,
    List,
}

/// What is done with a real-time log configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogVerb {
    Create,
    Get,
    Update,
    Delete,
    List,
    /// The distributions that name one are listed.
    Users,
}

/// What is done with a monitoring subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subscribing {
    Create,
    Get,
    Delete,
}

/// Something that a distribution may name and that is no document here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    WebAcl,
    VpcOrigin,
    AnycastIpList,
    ConnectionMode,
    OwnedResource,
    TrustStore,
}

/// What is done with a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    Create,
    CreateWithTags,
    Get,
    GetConfig,
    Update,
    Delete,
    List,
}

/// What is done with tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tagging {
    Tag,
    Untag,
    List,
}

/// The listings of distributions by what they name.
const USERS: [(&str, Kind, &str); 4] = [
    ("distributionsByCachePolicyId", Kind::CachePolicy, "ListDistributionsByCachePolicyId"),
    (
        "distributionsByOriginRequestPolicyId",
        Kind::OriginRequestPolicy,
        "ListDistributionsByOriginRequestPolicyId",
    ),
    (
        "distributionsByResponseHeadersPolicyId",
        Kind::ResponseHeadersPolicy,
        "ListDistributionsByResponseHeadersPolicyId",
    ),
    ("distributionsByKeyGroupId", Kind::KeyGroup, "ListDistributionsByKeyGroup"),
];

/// The same by what is no document.
const NAMING: [(&str, Listing, &str); 6] = [
    ("distributionsByWebACLId", Listing::WebAcl, "ListDistributionsByWebACLId"),
    ("distributionsByVpcOriginId", Listing::VpcOrigin, "ListDistributionsByVpcOriginId"),
    (
        "distributionsByAnycastIpListId",
        Listing::AnycastIpList,
        "ListDistributionsByAnycastIpListId",
    ),
    ("distributionsByConnectionMode", Listing::ConnectionMode, "ListDistributionsByConnectionMode"),
    ("distributionsByOwnedResource", Listing::OwnedResource, "ListDistributionsByOwnedResource"),
    (TRUST_STORES, Listing::TrustStore, "ListDistributionsByTrustStore"),
];

/// The listing whose trust store is a parameter.
const TRUST_STORES: &str = "distributionsByTrustStore";

/// A parameter of a query, decoded; a name alone is an empty one.
pub fn parameter(query: Option<&str>, wanted: &str) -> Option<String> {
    let mut pairs =
        query.unwrap_or("").split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, said) = pairs.find(|(name, _)| *name == wanted)?;
    Some(decoded(said))
}

/// A part of a target as it is meant.
pub fn decoded(said: &str) -> String {
    percent_encoding::percent_decode_str(said).decode_utf8_lossy().into_owned()
}

impl<'p> DocumentCall<'p> {
    /// Finds a call by its path below the API's own, cut at the slashes; `None` if it is none about
    /// documents.
    pub fn of(method: &Method, path: &[&'p str], query: Option<&str>) -> Option<Self> {
        match (method, path) {
            (&Method::GET, ["tagging"]) => return Some(Self::Tagging(Tagging::List)),
            (&Method::POST, ["tagging"]) => {
                return match parameter(query, "Operation").as_deref() {
                    Some("Tag") => Some(Self::Tagging(Tagging::Tag)),
                    Some("Untag") => Some(Self::Tagging(Tagging::Untag)),
                    _ => None,
                };
            }
            (&Method::GET, [list, id]) => {
                if let Some((_, kind, _)) = USERS.iter().find(|(known, ..)| known == list) {
                    return Some(Self::Users(*kind, id));
                }
            }
            _ => {}
        }
        if let Some(call) = Self::beside(method, path) {
            return Some(call);
        }
        let names = KINDS.iter().find(|names| path.starts_with(names.path))?;
        let (verb, id) = match (method, &path[names.path.len()..]) {
            (&Method::POST, []) => {
                let has_tags =
                    names.kind == Kind::Distribution && parameter(query, "WithTags").is_some();
                (if has_tags { Verb::CreateWithTags } else { Verb::Create }, "")
            }
            (&Method::GET, []) => (Verb::List, ""),
            (&Method::GET, [id]) => (Verb::Get, *id),
            (&Method::GET, [id, "config"]) => (Verb::GetConfig, *id),
            (&Method::PUT, [id]) if names.updated_at == UpdatedAt::Itself => (Verb::Update, *id),
            (&Method::PUT, [id, "config"]) if names.updated_at == UpdatedAt::Config => {
                (Verb::Update, *id)
            }
            (&Method::DELETE, [id]) => (Verb::Delete, *id),
            _ => return None,
        };
        Some(Self::Resource(names, verb, id))
    }

    // What has a path of its own.
    fn beside(method: &Method, path: &[&'p str]) -> Option<Self> {
        match (method, path) {
            (&Method::GET, ["conflicting-alias"]) => Some(Self::Conflicts),
            (&Method::PUT, ["distribution", id, "associate-alias"]) => Some(Self::Associate(id)),
            (&Method::POST, ["distribution", id, "copy"]) => Some(Self::Copy(id)),
            (&Method::PUT, ["distribution", id, "promote-staging-config"]) => {
                Some(Self::Promote(id))
            }
            (&Method::GET, ["managed-certificate", _]) => Some(Self::ManagedCertificate),
            (method, ["distributions", id, "monitoring-subscription"]) => {
                let what = match *method {
                    Method::POST => Subscribing::Create,
                    Method::GET => Subscribing::Get,
                    Method::DELETE => Subscribing::Delete,
                    _ => return None,
                };
                Some(Self::Subscription(what, id))
            }
            (&Method::POST, ["realtime-log-config"]) => Some(Self::RealtimeLog(LogVerb::Create)),
            (&Method::PUT, ["realtime-log-config"]) => Some(Self::RealtimeLog(LogVerb::Update)),
            (&Method::GET, ["realtime-log-config"]) => Some(Self::RealtimeLog(LogVerb::List)),
            (&Method::POST, ["get-realtime-log-config"]) => Some(Self::RealtimeLog(LogVerb::Get)),
            (&Method::POST, ["delete-realtime-log-config"]) => {
                Some(Self::RealtimeLog(LogVerb::Delete))
            }
            (&Method::POST, ["distributionsByRealtimeLogConfig"]) => {
                Some(Self::RealtimeLog(LogVerb::Users))
            }
            (&Method::POST, ["trust-store"]) => Some(Self::TrustStore(TrustVerb::Create, "")),
            (&Method::POST, ["trust-stores"]) => Some(Self::TrustStore(TrustVerb::List, "")),
            (method, ["trust-store", id]) => {
                let verb = match *method {
                    Method::GET => TrustVerb::Get,
                    Method::PUT => TrustVerb::Update,
                    Method::DELETE => TrustVerb::Delete,
                    _ => return None,
                };
                Some(Self::TrustStore(verb, id))
            }
            (&Method::GET, [TRUST_STORES]) => Some(Self::Naming(Listing::TrustStore, "")),
            (&Method::GET, [list, id]) if *list != TRUST_STORES => {
                let (_, listing, _) = NAMING.iter().find(|(known, ..)| known == list)?;
                Some(Self::Naming(*listing, id))
            }
            _ => None,
        }
    }

    /// The call's name, as keys are allowed it.
    pub fn action(self) -> String {
        match self {
            Self::Resource(names, verb, _) => match verb {
                Verb::Create => format!("Create{}", names.changed),
                Verb::CreateWithTags => format!("Create{}WithTags", names.changed),
                Verb::Get => format!("Get{}", names.one),
                Verb::GetConfig => format!("Get{}Config", names.one),
                Verb::Update => format!("Update{}", names.changed),
                Verb::Delete => format!("Delete{}", names.changed),
                Verb::List => format!("List{}", names.many),
            },
            Self::Tagging(Tagging::Tag) => "TagResource".into(),
            Self::Tagging(Tagging::Untag) => "UntagResource".into(),
            Self::Tagging(Tagging::List) => "ListTagsForResource".into(),
            Self::Users(kind, _) => {
                let row = USERS.iter().find(|(_, known, _)| *known == kind);
                row.map_or("", |(.., action)| *action).to_string()
            }
            Self::Naming(listing, _) => {
                let row = NAMING.iter().find(|(_, known, _)| *known == listing);
                row.map_or("", |(.., action)| *action).to_string()
            }
            Self::Conflicts => "ListConflictingAliases".into(),
            Self::Associate(_) => "AssociateAlias".into(),
            Self::Copy(_) => "CopyDistribution".into(),
            Self::Promote(_) => "UpdateDistributionWithStagingConfig".into(),
            Self::Subscription(what, _) => format!("{what:?}MonitoringSubscription"),
            Self::ManagedCertificate => "GetManagedCertificateDetails".into(),
            Self::RealtimeLog(LogVerb::List) => "ListRealtimeLogConfigs".into(),
            Self::RealtimeLog(LogVerb::Users) => "ListDistributionsByRealtimeLogConfig".into(),
            Self::RealtimeLog(verb) => format!("{verb:?}RealtimeLogConfig"),
            Self::TrustStore(TrustVerb::List, _) => "ListTrustStores".into(),
            Self::TrustStore(verb, _) => format!("{verb:?}TrustStore"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cloudfront::model::CALLS;

    fn action(method: &Method, target: &str) -> Option<String> {
        let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
        let parts: Vec<&str> = path.split('/').collect();
        DocumentCall::of(method, &parts, query).map(DocumentCall::action)
    }

    #[test]
    fn calls_are_found_by_method_and_path() {
        for (method, target, want) in [
            (Method::POST, "distribution", "CreateDistribution"),
            (Method::POST, "distribution?WithTags", "CreateDistributionWithTags"),
            (Method::POST, "distribution?WithTags=", "CreateDistributionWithTags"),
            (Method::GET, "distribution?MaxItems=1", "ListDistributions"),
            (Method::GET, "distribution/E1", "GetDistribution"),
            (Method::GET, "distribution/E1/config", "GetDistributionConfig"),
            (Method::PUT, "distribution/E1/config", "UpdateDistribution"),
            (Method::DELETE, "distribution/E1", "DeleteDistribution"),
            (Method::PUT, "cache-policy/x", "UpdateCachePolicy"),
            (Method::GET, "response-headers-policy", "ListResponseHeadersPolicies"),
            (
                Method::PUT,
                "origin-access-identity/cloudfront/E2/config",
                "UpdateCloudFrontOriginAccessIdentity",
            ),
            (Method::POST, "field-level-encryption", "CreateFieldLevelEncryptionConfig"),
            (Method::GET, "field-level-encryption", "ListFieldLevelEncryptionConfigs"),
            (Method::GET, "field-level-encryption/C1", "GetFieldLevelEncryption"),
            (Method::GET, "field-level-encryption/C1/config", "GetFieldLevelEncryptionConfig"),
            (Method::PUT, "field-level-encryption/C1/config", "UpdateFieldLevelEncryptionConfig"),
            (Method::DELETE, "field-level-encryption/C1", "DeleteFieldLevelEncryptionConfig"),
            (
                Method::PUT,
                "field-level-encryption-profile/P1/config",
                "UpdateFieldLevelEncryptionProfile",
            ),
            (Method::POST, "tagging?Operation=Untag&Resource=a", "UntagResource"),
            (Method::GET, "tagging?Resource=a", "ListTagsForResource"),
            (Method::GET, "distributionsByKeyGroupId/g", "ListDistributionsByKeyGroup"),
            (Method::GET, "distributionsByWebACLId/null", "ListDistributionsByWebACLId"),
            (Method::GET, "distributionsByOwnedResource/a", "ListDistributionsByOwnedResource"),
            (Method::GET, "distributionsByTrustStore?Marker=", "ListDistributionsByTrustStore"),
            (Method::GET, "conflicting-alias?Alias=a", "ListConflictingAliases"),
            (Method::PUT, "distribution/E1/associate-alias?Alias=a", "AssociateAlias"),
            (Method::POST, "distribution/E1/copy", "CopyDistribution"),
            (
                Method::PUT,
                "distribution/E1/promote-staging-config?StagingDistributionId=E2",
                "UpdateDistributionWithStagingConfig",
            ),
            (Method::PUT, "continuous-deployment-policy/x", "UpdateContinuousDeploymentPolicy"),
            (Method::GET, "continuous-deployment-policy", "ListContinuousDeploymentPolicies"),
            (
                Method::POST,
                "distributions/E1/monitoring-subscription",
                "CreateMonitoringSubscription",
            ),
            (
                Method::DELETE,
                "distributions/E1/monitoring-subscription",
                "DeleteMonitoringSubscription",
            ),
            (Method::GET, "managed-certificate/E1", "GetManagedCertificateDetails"),
            (Method::POST, "trust-store", "CreateTrustStore"),
            (Method::POST, "trust-stores", "ListTrustStores"),
            (Method::GET, "trust-store/ts_1", "GetTrustStore"),
            (Method::PUT, "trust-store/ts_1", "UpdateTrustStore"),
            (Method::DELETE, "trust-store/ts_1", "DeleteTrustStore"),
            (Method::POST, "realtime-log-config", "CreateRealtimeLogConfig"),
            (Method::PUT, "realtime-log-config", "UpdateRealtimeLogConfig"),
            (Method::GET, "realtime-log-config?Marker=a", "ListRealtimeLogConfigs"),
            (Method::POST, "get-realtime-log-config", "GetRealtimeLogConfig"),
            (Method::POST, "delete-realtime-log-config", "DeleteRealtimeLogConfig"),
            (
                Method::POST,
                "distributionsByRealtimeLogConfig",
                "ListDistributionsByRealtimeLogConfig",
            ),
        ] {
            assert_eq!(action(&method, target).as_deref(), Some(want), "{method} {target}");
            assert!(CALLS.contains(&want), "{want}");
        }
        for (method, target) in [
            (Method::PUT, "distribution/E1"),
            (Method::PUT, "cache-policy/x/config"),
            (Method::POST, "distribution/E1/invalidation"),
            (Method::POST, "tagging"),
            (Method::GET, "function"),
            (Method::GET, "distributionsByTrustStore/x"),
            (Method::DELETE, "key-group"),
        ] {
            assert_eq!(action(&method, target), None, "{method} {target}");
        }
    }

    #[test]
    fn parameters_are_decoded() {
        let query = Some("Resource=arn%3Aaws%3A1&WithTags");
        assert_eq!(parameter(query, "Resource").as_deref(), Some("arn:aws:1"));
        assert_eq!(parameter(query, "WithTags").as_deref(), Some(""));
        assert_eq!(parameter(query, "Marker"), None);
    }
}
