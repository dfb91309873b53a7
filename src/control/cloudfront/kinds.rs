//! Pure: how the API calls each kind of document: its paths, its elements, its codes.

use crate::cloudfront::model;
use crate::cloudfront::shape::Shape;
use crate::documents::shelf::Kind;

/// The names of a kind.
#[derive(Debug)]
pub struct Names {
    pub kind: Kind,
    /// The segments of its path.
    pub path: &'static [&'static str],
    /// What calls and elements call one of them, and several.
    pub one: &'static str,
    pub many: &'static str,
    /// What calls that make, change or remove one call it.
    pub changed: &'static str,
    /// Its configuration's element.
    pub config: &'static str,
    pub config_shape: &'static Shape,
    /// A whole one's shape, and that of a list.
    pub shape: &'static Shape,
    pub list: &'static str,
    pub list_shape: &'static Shape,
    pub updated_at: UpdatedAt,
    /// Codes: there is none; there is one already; it is named by another document.
    pub unknown: &'static str,
    pub exists: &'static str,
    pub in_use: &'static str,
}

/// Where a document is put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UpdatedAt {
    /// At its own path.
    Itself,
    /// At `…/config`.
    Config,
}

/// All kinds but functions, monitoring subscriptions, real-time logs and trust stores, which have
/// calls of their own (`functions.rs`, `monitoring.rs`, `realtime_logs.rs`, `trust_stores.rs`).
pub static KINDS: [Names; 11] = [
    Names {
        kind: Kind::Distribution,
        path: &["distribution"],
        one: "Distribution",
        many: "Distributions",
        changed: "Distribution",
        config: "DistributionConfig",
        config_shape: &model::DISTRIBUTION_CONFIG,
        shape: &model::DISTRIBUTION,
        list: "DistributionList",
        list_shape: &model::DISTRIBUTION_LIST,
        updated_at: UpdatedAt::Config,
        unknown: "NoSuchDistribution",
        exists: "DistributionAlreadyExists",
        in_use: "ResourceInUse",
    },
    Names {
        kind: Kind::CachePolicy,
        path: &["cache-policy"],
        one: "CachePolicy",
        many: "CachePolicies",
        changed: "CachePolicy",
        config: "CachePolicyConfig",
        config_shape: &model::CACHE_POLICY_CONFIG,
        shape: &model::CACHE_POLICY,
        list: "CachePolicyList",
        list_shape: &model::CACHE_POLICY_LIST,
        updated_at: UpdatedAt::Itself,
        unknown: "NoSuchCachePolicy",
        exists: "CachePolicyAlreadyExists",
        in_use: "CachePolicyInUse",
    },
    Names {
        kind: Kind::OriginRequestPolicy,
        path: &["origin-request-policy"],
        one: "OriginRequestPolicy",
        many: "OriginRequestPolicies",
        changed: "OriginRequestPolicy",
        config: "OriginRequestPolicyConfig",
        config_shape: &model::ORIGIN_REQUEST_POLICY_CONFIG,
        shape: &model::ORIGIN_REQUEST_POLICY,
        list: "OriginRequestPolicyList",
        list_shape: &model::ORIGIN_REQUEST_POLICY_LIST,
        updated_at: UpdatedAt::Itself,
        unknown: "NoSuchOriginRequestPolicy",
        exists: "OriginRequestPolicyAlreadyExists",
        in_use: "OriginRequestPolicyInUse",
    },
    Names {
        kind: Kind::ResponseHeadersPolicy,
        path: &["response-headers-policy"],
        one: "ResponseHeadersPolicy",
        many: "ResponseHeadersPolicies",
        changed: "ResponseHeadersPolicy",
        config: "ResponseHeadersPolicyConfig",
        config_shape: &model::RESPONSE_HEADERS_POLICY_CONFIG,
        shape: &model::RESPONSE_HEADERS_POLICY,
        list: "ResponseHeadersPolicyList",
        list_shape: &model::RESPONSE_HEADERS_POLICY_LIST,
        updated_at: UpdatedAt::Itself,
        unknown: "NoSuchResponseHeadersPolicy",
        exists: "ResponseHeadersPolicyAlreadyExists",
        in_use: "ResponseHeadersPolicyInUse",
    },
    Names {
        kind: Kind::OriginAccessControl,
        path: &["origin-access-control"],
        one: "OriginAccessControl",
        many: "OriginAccessControls",
        changed: "OriginAccessControl",
        config: "OriginAccessControlConfig",
        config_shape: &model::ORIGIN_ACCESS_CONTROL_CONFIG,
        shape: &model::ORIGIN_ACCESS_CONTROL,
        list: "OriginAccessControlList",
        list_shape: &model::ORIGIN_ACCESS_CONTROL_LIST,
        updated_at: UpdatedAt::Config,
        unknown: "NoSuchOriginAccessControl",
        exists: "OriginAccessControlAlreadyExists",
        in_use: "OriginAccessControlInUse",
    },
    Names {
        kind: Kind::OriginAccessIdentity,
        path: &["origin-access-identity", "cloudfront"],
        one: "CloudFrontOriginAccessIdentity",
        many: "CloudFrontOriginAccessIdentities",
        changed: "CloudFrontOriginAccessIdentity",
        config: "CloudFrontOriginAccessIdentityConfig",
        config_shape: &model::CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_CONFIG,
        shape: &model::CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY,
        list: "CloudFrontOriginAccessIdentityList",
        list_shape: &model::CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_LIST,
        updated_at: UpdatedAt::Config,
        unknown: "NoSuchCloudFrontOriginAccessIdentity",
        exists: "CloudFrontOriginAccessIdentityAlreadyExists",
        in_use: "CloudFrontOriginAccessIdentityInUse",
    },
    Names {
        kind: Kind::PublicKey,
        path: &["public-key"],
        one: "PublicKey",
        many: "PublicKeys",
        changed: "PublicKey",
        config: "PublicKeyConfig",
        config_shape: &model::PUBLIC_KEY_CONFIG,
        shape: &model::PUBLIC_KEY,
        list: "PublicKeyList",
        list_shape: &model::PUBLIC_KEY_LIST,
        updated_at: UpdatedAt::Config,
        unknown: "NoSuchPublicKey",
        exists: "PublicKeyAlreadyExists",
        in_use: "PublicKeyInUse",
    },
    Names {
        kind: Kind::KeyGroup,
        path: &["key-group"],
        one: "KeyGroup",
        many: "KeyGroups",
        changed: "KeyGroup",
        config: "KeyGroupConfig",
        config_shape: &model::KEY_GROUP_CONFIG,
        shape: &model::KEY_GROUP,
        list: "KeyGroupList",
        list_shape: &model::KEY_GROUP_LIST,
        updated_at: UpdatedAt::Itself,
        unknown: "NoSuchResource",
        exists: "KeyGroupAlreadyExists",
        in_use: "ResourceInUse",
    },
    Names {
        kind: Kind::FieldEncryptionProfile,
        path: &["field-level-encryption-profile"],
        one: "FieldLevelEncryptionProfile",
        many: "FieldLevelEncryptionProfiles",
        changed: "FieldLevelEncryptionProfile",
        config: "FieldLevelEncryptionProfileConfig",
        config_shape: &model::FIELD_LEVEL_ENCRYPTION_PROFILE_CONFIG,
        shape: &model::FIELD_LEVEL_ENCRYPTION_PROFILE,
        list: "FieldLevelEncryptionProfileList",
        list_shape: &model::FIELD_LEVEL_ENCRYPTION_PROFILE_LIST,
        updated_at: UpdatedAt::Config,
        unknown: "NoSuchFieldLevelEncryptionProfile",
        exists: "FieldLevelEncryptionProfileAlreadyExists",
        in_use: "FieldLevelEncryptionProfileInUse",
    },
    Names {
        kind: Kind::FieldEncryption,
        path: &["field-level-encryption"],
        one: "FieldLevelEncryption",
        many: "FieldLevelEncryptionConfigs",
        changed: "FieldLevelEncryptionConfig",
        config: "FieldLevelEncryptionConfig",
        config_shape: &model::FIELD_LEVEL_ENCRYPTION_CONFIG,
        shape: &model::FIELD_LEVEL_ENCRYPTION,
        list: "FieldLevelEncryptionList",
        list_shape: &model::FIELD_LEVEL_ENCRYPTION_LIST,
        updated_at: UpdatedAt::Config,
        unknown: "NoSuchFieldLevelEncryptionConfig",
        exists: "FieldLevelEncryptionConfigAlreadyExists",
        in_use: "FieldLevelEncryptionConfigInUse",
    },
    Names {
        kind: Kind::ContinuousDeploymentPolicy,
        path: &["continuous-deployment-policy"],
        one: "ContinuousDeploymentPolicy",
        many: "ContinuousDeploymentPolicies",
        changed: "ContinuousDeploymentPolicy",
        config: "ContinuousDeploymentPolicyConfig",
        config_shape: &model::CONTINUOUS_DEPLOYMENT_POLICY_CONFIG,
        shape: &model::CONTINUOUS_DEPLOYMENT_POLICY,
        list: "ContinuousDeploymentPolicyList",
        list_shape: &model::CONTINUOUS_DEPLOYMENT_POLICY_LIST,
        updated_at: UpdatedAt::Itself,
        unknown: "NoSuchContinuousDeploymentPolicy",
        exists: "ContinuousDeploymentPolicyAlreadyExists",
        in_use: "ContinuousDeploymentPolicyInUse",
    },
];

impl Names {
    /// The names of a kind that has some here.
    pub fn of(kind: Kind) -> &'static Self {
        // The table has the order of the kinds; a test holds it to that.
        &KINDS[kind as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_row_and_its_codes() {
        let others = [
            Kind::Function,
            Kind::MonitoringSubscription,
            Kind::RealtimeLogConfig,
            Kind::TrustStore,
        ];
        let own = Kind::ALL.into_iter().filter(|kind| !others.contains(kind));
        for kind in own {
            let names = Names::of(kind);
            assert_eq!(names.kind, kind);
            for code in [names.unknown, names.exists, names.in_use] {
                assert!(model::FAULTS.iter().any(|(known, _)| *known == code), "{code}");
            }
            assert!(names.shape.member(names.config).is_some(), "{}", names.one);
            assert!(names.list_shape.member("Quantity").is_some(), "{}", names.list);
        }
    }
}
