//! Pure: the shapes of the API's documents, and the statuses of its faults. Written by
//! `tests/aws/model.py` out of the model that AWS publishes; not to be changed by hand.

use super::shape::{Member, Needed, Shape};

/// `Aliases`.
pub static ALIASES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("CNAME", &Shape::Text) },
]);

/// `OriginCustomHeader`.
pub static ORIGIN_CUSTOM_HEADER: Shape = Shape::Record(&[
    Member { name: "HeaderName", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "HeaderValue", needed: Needed::Always, shape: &Shape::Text },
]);

/// `CustomHeaders`.
pub static CUSTOM_HEADERS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("OriginCustomHeader", &ORIGIN_CUSTOM_HEADER),
    },
]);

/// `S3OriginConfig`.
pub static S3_ORIGIN_CONFIG: Shape = Shape::Record(&[
    Member { name: "OriginAccessIdentity", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "OriginReadTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
]);

/// `OriginSslProtocols`.
pub static ORIGIN_SSL_PROTOCOLS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List("SslProtocol", &Shape::Word(&["SSLv3", "TLSv1", "TLSv1.1", "TLSv1.2"])),
    },
]);

/// `OriginMtlsConfig`.
pub static ORIGIN_MTLS_CONFIG: Shape = Shape::Record(&[Member {
    name: "ClientCertificateArn",
    needed: Needed::Always,
    shape: &Shape::Text,
}]);

/// `CustomOriginConfig`.
pub static CUSTOM_ORIGIN_CONFIG: Shape = Shape::Record(&[
    Member { name: "HTTPPort", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "HTTPSPort", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "OriginProtocolPolicy",
        needed: Needed::Always,
        shape: &Shape::Word(&["http-only", "match-viewer", "https-only"]),
    },
    Member { name: "OriginSslProtocols", needed: Needed::Maybe, shape: &ORIGIN_SSL_PROTOCOLS },
    Member { name: "OriginReadTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "OriginKeepaliveTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
    Member {
        name: "IpAddressType",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["ipv4", "ipv6", "dualstack"]),
    },
    Member { name: "OriginMtlsConfig", needed: Needed::Maybe, shape: &ORIGIN_MTLS_CONFIG },
    Member {
        name: "OriginHttpVersion",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["http1.1", "http2"]),
    },
]);

/// `VpcOriginConfig`.
pub static VPC_ORIGIN_CONFIG: Shape = Shape::Record(&[
    Member { name: "VpcOriginId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "OwnerAccountId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "OriginReadTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "OriginKeepaliveTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
    Member {
        name: "OriginHttpVersion",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["http1.1", "http2"]),
    },
]);

/// `OriginShield`.
pub static ORIGIN_SHIELD: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "OriginShieldRegion", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `Origin`.
pub static ORIGIN: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "DomainName", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "OriginPath", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "CustomHeaders", needed: Needed::Maybe, shape: &CUSTOM_HEADERS },
    Member { name: "S3OriginConfig", needed: Needed::Maybe, shape: &S3_ORIGIN_CONFIG },
    Member { name: "CustomOriginConfig", needed: Needed::Maybe, shape: &CUSTOM_ORIGIN_CONFIG },
    Member { name: "VpcOriginConfig", needed: Needed::Maybe, shape: &VPC_ORIGIN_CONFIG },
    Member { name: "ConnectionAttempts", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "ConnectionTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "ResponseCompletionTimeout", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "OriginShield", needed: Needed::Maybe, shape: &ORIGIN_SHIELD },
    Member { name: "OriginAccessControlId", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `Origins`.
pub static ORIGINS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Always, shape: &Shape::List("Origin", &ORIGIN) },
]);

/// `StatusCodes`.
pub static STATUS_CODES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List("StatusCode", &Shape::Whole),
    },
]);

/// `OriginGroupFailoverCriteria`.
pub static ORIGIN_GROUP_FAILOVER_CRITERIA: Shape =
    Shape::Record(&[Member { name: "StatusCodes", needed: Needed::Always, shape: &STATUS_CODES }]);

/// `OriginGroupMember`.
pub static ORIGIN_GROUP_MEMBER: Shape =
    Shape::Record(&[Member { name: "OriginId", needed: Needed::Always, shape: &Shape::Text }]);

/// `OriginGroupMembers`.
pub static ORIGIN_GROUP_MEMBERS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List("OriginGroupMember", &ORIGIN_GROUP_MEMBER),
    },
]);

/// `OriginGroup`.
pub static ORIGIN_GROUP: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "FailoverCriteria",
        needed: Needed::Always,
        shape: &ORIGIN_GROUP_FAILOVER_CRITERIA,
    },
    Member { name: "Members", needed: Needed::Always, shape: &ORIGIN_GROUP_MEMBERS },
    Member {
        name: "SelectionCriteria",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["default", "media-quality-based"]),
    },
]);

/// `OriginGroups`.
pub static ORIGIN_GROUPS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("OriginGroup", &ORIGIN_GROUP),
    },
]);

/// `TrustedSigners`.
pub static TRUSTED_SIGNERS: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("AwsAccountNumber", &Shape::Text),
    },
]);

/// `TrustedKeyGroups`.
pub static TRUSTED_KEY_GROUPS: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("KeyGroup", &Shape::Text) },
]);

/// `CachedMethods`.
pub static CACHED_METHODS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List(
            "Method",
            &Shape::Word(&["GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "DELETE"]),
        ),
    },
]);

/// `AllowedMethods`.
pub static ALLOWED_METHODS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List(
            "Method",
            &Shape::Word(&["GET", "HEAD", "POST", "PUT", "PATCH", "OPTIONS", "DELETE"]),
        ),
    },
    Member { name: "CachedMethods", needed: Needed::Maybe, shape: &CACHED_METHODS },
]);

/// `LambdaFunctionAssociation`.
pub static LAMBDA_FUNCTION_ASSOCIATION: Shape = Shape::Record(&[
    Member { name: "LambdaFunctionARN", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "EventType",
        needed: Needed::Always,
        shape: &Shape::Word(&[
            "viewer-request",
            "viewer-response",
            "origin-request",
            "origin-response",
        ]),
    },
    Member { name: "IncludeBody", needed: Needed::Maybe, shape: &Shape::Truth },
]);

/// `LambdaFunctionAssociations`.
pub static LAMBDA_FUNCTION_ASSOCIATIONS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("LambdaFunctionAssociation", &LAMBDA_FUNCTION_ASSOCIATION),
    },
]);

/// `FunctionAssociation`.
pub static FUNCTION_ASSOCIATION: Shape = Shape::Record(&[
    Member { name: "FunctionARN", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "EventType",
        needed: Needed::Always,
        shape: &Shape::Word(&[
            "viewer-request",
            "viewer-response",
            "origin-request",
            "origin-response",
        ]),
    },
]);

/// `FunctionAssociations`.
pub static FUNCTION_ASSOCIATIONS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("FunctionAssociation", &FUNCTION_ASSOCIATION),
    },
]);

/// `GrpcConfig`.
pub static GRPC_CONFIG: Shape =
    Shape::Record(&[Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth }]);

/// `CookieNames`.
pub static COOKIE_NAMES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Name", &Shape::Text) },
]);

/// `CookiePreference`.
pub static COOKIE_PREFERENCE: Shape = Shape::Record(&[
    Member {
        name: "Forward",
        needed: Needed::Always,
        shape: &Shape::Word(&["none", "whitelist", "all"]),
    },
    Member { name: "WhitelistedNames", needed: Needed::Maybe, shape: &COOKIE_NAMES },
]);

/// `Headers`.
pub static HEADERS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Name", &Shape::Text) },
]);

/// `QueryStringCacheKeys`.
pub static QUERY_STRING_CACHE_KEYS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Name", &Shape::Text) },
]);

/// `ForwardedValues`.
pub static FORWARDED_VALUES: Shape = Shape::Record(&[
    Member { name: "QueryString", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Cookies", needed: Needed::Always, shape: &COOKIE_PREFERENCE },
    Member { name: "Headers", needed: Needed::Maybe, shape: &HEADERS },
    Member { name: "QueryStringCacheKeys", needed: Needed::Maybe, shape: &QUERY_STRING_CACHE_KEYS },
]);

/// `DefaultCacheBehavior`.
pub static DEFAULT_CACHE_BEHAVIOR: Shape = Shape::Record(&[
    Member { name: "TargetOriginId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "TrustedSigners", needed: Needed::Maybe, shape: &TRUSTED_SIGNERS },
    Member { name: "TrustedKeyGroups", needed: Needed::Maybe, shape: &TRUSTED_KEY_GROUPS },
    Member {
        name: "ViewerProtocolPolicy",
        needed: Needed::Always,
        shape: &Shape::Word(&["allow-all", "https-only", "redirect-to-https"]),
    },
    Member { name: "AllowedMethods", needed: Needed::Maybe, shape: &ALLOWED_METHODS },
    Member { name: "SmoothStreaming", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "Compress", needed: Needed::Maybe, shape: &Shape::Truth },
    Member {
        name: "LambdaFunctionAssociations",
        needed: Needed::Maybe,
        shape: &LAMBDA_FUNCTION_ASSOCIATIONS,
    },
    Member { name: "FunctionAssociations", needed: Needed::Maybe, shape: &FUNCTION_ASSOCIATIONS },
    Member { name: "FieldLevelEncryptionId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "RealtimeLogConfigArn", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "CachePolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "OriginRequestPolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ResponseHeadersPolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "GrpcConfig", needed: Needed::Maybe, shape: &GRPC_CONFIG },
    Member { name: "ForwardedValues", needed: Needed::Maybe, shape: &FORWARDED_VALUES },
    Member { name: "MinTTL", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "DefaultTTL", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "MaxTTL", needed: Needed::Maybe, shape: &Shape::Whole },
]);

/// `CacheBehavior`.
pub static CACHE_BEHAVIOR: Shape = Shape::Record(&[
    Member { name: "PathPattern", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "TargetOriginId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "TrustedSigners", needed: Needed::Maybe, shape: &TRUSTED_SIGNERS },
    Member { name: "TrustedKeyGroups", needed: Needed::Maybe, shape: &TRUSTED_KEY_GROUPS },
    Member {
        name: "ViewerProtocolPolicy",
        needed: Needed::Always,
        shape: &Shape::Word(&["allow-all", "https-only", "redirect-to-https"]),
    },
    Member { name: "AllowedMethods", needed: Needed::Maybe, shape: &ALLOWED_METHODS },
    Member { name: "SmoothStreaming", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "Compress", needed: Needed::Maybe, shape: &Shape::Truth },
    Member {
        name: "LambdaFunctionAssociations",
        needed: Needed::Maybe,
        shape: &LAMBDA_FUNCTION_ASSOCIATIONS,
    },
    Member { name: "FunctionAssociations", needed: Needed::Maybe, shape: &FUNCTION_ASSOCIATIONS },
    Member { name: "FieldLevelEncryptionId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "RealtimeLogConfigArn", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "CachePolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "OriginRequestPolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ResponseHeadersPolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "GrpcConfig", needed: Needed::Maybe, shape: &GRPC_CONFIG },
    Member { name: "ForwardedValues", needed: Needed::Maybe, shape: &FORWARDED_VALUES },
    Member { name: "MinTTL", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "DefaultTTL", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "MaxTTL", needed: Needed::Maybe, shape: &Shape::Whole },
]);

/// `CacheBehaviors`.
pub static CACHE_BEHAVIORS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("CacheBehavior", &CACHE_BEHAVIOR),
    },
]);

/// `CustomErrorResponse`.
pub static CUSTOM_ERROR_RESPONSE: Shape = Shape::Record(&[
    Member { name: "ErrorCode", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "ResponsePagePath", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ResponseCode", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ErrorCachingMinTTL", needed: Needed::Maybe, shape: &Shape::Whole },
]);

/// `CustomErrorResponses`.
pub static CUSTOM_ERROR_RESPONSES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("CustomErrorResponse", &CUSTOM_ERROR_RESPONSE),
    },
]);

/// `LoggingConfig`.
pub static LOGGING_CONFIG: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "IncludeCookies", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "Bucket", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Prefix", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `ViewerCertificate`.
pub static VIEWER_CERTIFICATE: Shape = Shape::Record(&[
    Member { name: "CloudFrontDefaultCertificate", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "IAMCertificateId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ACMCertificateArn", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "SSLSupportMethod",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["sni-only", "vip", "static-ip"]),
    },
    Member {
        name: "MinimumProtocolVersion",
        needed: Needed::Maybe,
        shape: &Shape::Word(&[
            "SSLv3",
            "TLSv1",
            "TLSv1_2016",
            "TLSv1.1_2016",
            "TLSv1.2_2018",
            "TLSv1.2_2019",
            "TLSv1.2_2021",
            "TLSv1.3_2025",
            "TLSv1.2_2025",
        ]),
    },
    Member { name: "Certificate", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "CertificateSource",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["cloudfront", "iam", "acm"]),
    },
]);

/// `GeoRestriction`.
pub static GEO_RESTRICTION: Shape = Shape::Record(&[
    Member {
        name: "RestrictionType",
        needed: Needed::Always,
        shape: &Shape::Word(&["blacklist", "whitelist", "none"]),
    },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Location", &Shape::Text) },
]);

/// `Restrictions`.
pub static RESTRICTIONS: Shape = Shape::Record(&[Member {
    name: "GeoRestriction",
    needed: Needed::Always,
    shape: &GEO_RESTRICTION,
}]);

/// `StringSchemaConfig`.
pub static STRING_SCHEMA_CONFIG: Shape = Shape::Record(&[
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "DefaultValue", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Required", needed: Needed::Always, shape: &Shape::Truth },
]);

/// `ParameterDefinitionSchema`.
pub static PARAMETER_DEFINITION_SCHEMA: Shape = Shape::Record(&[Member {
    name: "StringSchema",
    needed: Needed::Maybe,
    shape: &STRING_SCHEMA_CONFIG,
}]);

/// `ParameterDefinition`.
pub static PARAMETER_DEFINITION: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Definition", needed: Needed::Always, shape: &PARAMETER_DEFINITION_SCHEMA },
]);

/// `TenantConfig`.
pub static TENANT_CONFIG: Shape = Shape::Record(&[Member {
    name: "ParameterDefinitions",
    needed: Needed::Maybe,
    shape: &Shape::List("member", &PARAMETER_DEFINITION),
}]);

/// `TrustStoreConfig`.
pub static TRUST_STORE_CONFIG: Shape = Shape::Record(&[
    Member { name: "TrustStoreId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "AdvertiseTrustStoreCaNames", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "IgnoreCertificateExpiry", needed: Needed::Maybe, shape: &Shape::Truth },
]);

/// `ViewerMtlsConfig`.
pub static VIEWER_MTLS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "Mode",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["required", "optional", "passthrough"]),
    },
    Member { name: "TrustStoreConfig", needed: Needed::Maybe, shape: &TRUST_STORE_CONFIG },
]);

/// `ConnectionFunctionAssociation`.
pub static CONNECTION_FUNCTION_ASSOCIATION: Shape =
    Shape::Record(&[Member { name: "Id", needed: Needed::Always, shape: &Shape::Text }]);

/// `CacheTagConfig`.
pub static CACHE_TAG_CONFIG: Shape =
    Shape::Record(&[Member { name: "HeaderName", needed: Needed::Always, shape: &Shape::Text }]);

/// `DistributionConfig`.
pub static DISTRIBUTION_CONFIG: Shape = Shape::Record(&[
    Member { name: "CallerReference", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Aliases", needed: Needed::Maybe, shape: &ALIASES },
    Member { name: "DefaultRootObject", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Origins", needed: Needed::Always, shape: &ORIGINS },
    Member { name: "OriginGroups", needed: Needed::Maybe, shape: &ORIGIN_GROUPS },
    Member { name: "DefaultCacheBehavior", needed: Needed::Always, shape: &DEFAULT_CACHE_BEHAVIOR },
    Member { name: "CacheBehaviors", needed: Needed::Maybe, shape: &CACHE_BEHAVIORS },
    Member { name: "CustomErrorResponses", needed: Needed::Maybe, shape: &CUSTOM_ERROR_RESPONSES },
    Member { name: "Comment", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Logging", needed: Needed::Maybe, shape: &LOGGING_CONFIG },
    Member {
        name: "PriceClass",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["PriceClass_100", "PriceClass_200", "PriceClass_All", "None"]),
    },
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "ViewerCertificate", needed: Needed::Maybe, shape: &VIEWER_CERTIFICATE },
    Member { name: "Restrictions", needed: Needed::Maybe, shape: &RESTRICTIONS },
    Member { name: "WebACLId", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "HttpVersion",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["http1.1", "http2", "http3", "http2and3"]),
    },
    Member { name: "IsIPV6Enabled", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "ContinuousDeploymentPolicyId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Staging", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "AnycastIpListId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "TenantConfig", needed: Needed::Maybe, shape: &TENANT_CONFIG },
    Member {
        name: "ConnectionMode",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["direct", "tenant-only"]),
    },
    Member { name: "ViewerMtlsConfig", needed: Needed::Maybe, shape: &VIEWER_MTLS_CONFIG },
    Member {
        name: "ConnectionFunctionAssociation",
        needed: Needed::Maybe,
        shape: &CONNECTION_FUNCTION_ASSOCIATION,
    },
    Member { name: "CacheTagConfig", needed: Needed::Maybe, shape: &CACHE_TAG_CONFIG },
]);

/// `KeyPairIds`.
pub static KEY_PAIR_IDS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("KeyPairId", &Shape::Text) },
]);

/// `Signer`.
pub static SIGNER: Shape = Shape::Record(&[
    Member { name: "AwsAccountNumber", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "KeyPairIds", needed: Needed::Maybe, shape: &KEY_PAIR_IDS },
]);

/// `ActiveTrustedSigners`.
pub static ACTIVE_TRUSTED_SIGNERS: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Signer", &SIGNER) },
]);

/// `KGKeyPairIds`.
pub static KG_KEY_PAIR_IDS: Shape = Shape::Record(&[
    Member { name: "KeyGroupId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "KeyPairIds", needed: Needed::Maybe, shape: &KEY_PAIR_IDS },
]);

/// `ActiveTrustedKeyGroups`.
pub static ACTIVE_TRUSTED_KEY_GROUPS: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("KeyGroup", &KG_KEY_PAIR_IDS),
    },
]);

/// `AliasICPRecordal`.
pub static ALIAS_ICP_RECORDAL: Shape = Shape::Record(&[
    Member { name: "CNAME", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "ICPRecordalStatus",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["APPROVED", "SUSPENDED", "PENDING"]),
    },
]);

/// `Distribution`.
pub static DISTRIBUTION: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "ARN", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Status", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "InProgressInvalidationBatches", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "DomainName", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "ActiveTrustedSigners", needed: Needed::Maybe, shape: &ACTIVE_TRUSTED_SIGNERS },
    Member {
        name: "ActiveTrustedKeyGroups",
        needed: Needed::Maybe,
        shape: &ACTIVE_TRUSTED_KEY_GROUPS,
    },
    Member { name: "DistributionConfig", needed: Needed::Always, shape: &DISTRIBUTION_CONFIG },
    Member {
        name: "AliasICPRecordals",
        needed: Needed::Maybe,
        shape: &Shape::List("AliasICPRecordal", &ALIAS_ICP_RECORDAL),
    },
]);

/// `Tag`.
pub static TAG: Shape = Shape::Record(&[
    Member { name: "Key", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Value", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `Tags`.
pub static TAGS: Shape = Shape::Record(&[Member {
    name: "Items",
    needed: Needed::Maybe,
    shape: &Shape::List("Tag", &TAG),
}]);

/// `DistributionConfigWithTags`.
pub static DISTRIBUTION_CONFIG_WITH_TAGS: Shape = Shape::Record(&[
    Member { name: "DistributionConfig", needed: Needed::Always, shape: &DISTRIBUTION_CONFIG },
    Member { name: "Tags", needed: Needed::Always, shape: &TAGS },
]);

/// `DistributionSummary`.
pub static DISTRIBUTION_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "ARN", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "ETag", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Status", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "DomainName", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Aliases", needed: Needed::Always, shape: &ALIASES },
    Member { name: "Origins", needed: Needed::Always, shape: &ORIGINS },
    Member { name: "OriginGroups", needed: Needed::Maybe, shape: &ORIGIN_GROUPS },
    Member { name: "DefaultCacheBehavior", needed: Needed::Always, shape: &DEFAULT_CACHE_BEHAVIOR },
    Member { name: "CacheBehaviors", needed: Needed::Always, shape: &CACHE_BEHAVIORS },
    Member { name: "CustomErrorResponses", needed: Needed::Always, shape: &CUSTOM_ERROR_RESPONSES },
    Member { name: "Comment", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "PriceClass",
        needed: Needed::Always,
        shape: &Shape::Word(&["PriceClass_100", "PriceClass_200", "PriceClass_All", "None"]),
    },
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "ViewerCertificate", needed: Needed::Always, shape: &VIEWER_CERTIFICATE },
    Member { name: "Restrictions", needed: Needed::Always, shape: &RESTRICTIONS },
    Member { name: "WebACLId", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "HttpVersion",
        needed: Needed::Always,
        shape: &Shape::Word(&["http1.1", "http2", "http3", "http2and3"]),
    },
    Member { name: "IsIPV6Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member {
        name: "AliasICPRecordals",
        needed: Needed::Maybe,
        shape: &Shape::List("AliasICPRecordal", &ALIAS_ICP_RECORDAL),
    },
    Member { name: "Staging", needed: Needed::Always, shape: &Shape::Truth },
    Member {
        name: "ConnectionMode",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["direct", "tenant-only"]),
    },
    Member { name: "AnycastIpListId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ViewerMtlsConfig", needed: Needed::Maybe, shape: &VIEWER_MTLS_CONFIG },
    Member {
        name: "ConnectionFunctionAssociation",
        needed: Needed::Maybe,
        shape: &CONNECTION_FUNCTION_ASSOCIATION,
    },
]);

/// `DistributionList`.
pub static DISTRIBUTION_LIST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "IsTruncated", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("DistributionSummary", &DISTRIBUTION_SUMMARY),
    },
]);

/// `TagKeys`.
pub static TAG_KEYS: Shape = Shape::Record(&[Member {
    name: "Items",
    needed: Needed::Maybe,
    shape: &Shape::List("Key", &Shape::Text),
}]);

/// `DistributionIdList`.
pub static DISTRIBUTION_ID_LIST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "IsTruncated", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("DistributionId", &Shape::Text),
    },
]);

/// `DistributionIdOwner`.
pub static DISTRIBUTION_ID_OWNER: Shape = Shape::Record(&[
    Member { name: "DistributionId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "OwnerAccountId", needed: Needed::Always, shape: &Shape::Text },
]);

/// `DistributionIdOwnerList`.
pub static DISTRIBUTION_ID_OWNER_LIST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "IsTruncated", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("DistributionIdOwner", &DISTRIBUTION_ID_OWNER),
    },
]);

/// `ConflictingAlias`.
pub static CONFLICTING_ALIAS: Shape = Shape::Record(&[
    Member { name: "Alias", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "DistributionId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "AccountId", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `ConflictingAliasesList`.
pub static CONFLICTING_ALIASES_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Maybe, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("ConflictingAlias", &CONFLICTING_ALIAS),
    },
]);

/// `ValidationTokenDetail`.
pub static VALIDATION_TOKEN_DETAIL: Shape = Shape::Record(&[
    Member { name: "Domain", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "RedirectTo", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "RedirectFrom", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `ManagedCertificateDetails`.
pub static MANAGED_CERTIFICATE_DETAILS: Shape = Shape::Record(&[
    Member { name: "CertificateArn", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "CertificateStatus",
        needed: Needed::Maybe,
        shape: &Shape::Word(&[
            "pending-validation",
            "issued",
            "inactive",
            "expired",
            "validation-timed-out",
            "revoked",
            "failed",
        ]),
    },
    Member {
        name: "ValidationTokenHost",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["cloudfront", "self-hosted"]),
    },
    Member {
        name: "ValidationTokenDetails",
        needed: Needed::Maybe,
        shape: &Shape::List("member", &VALIDATION_TOKEN_DETAIL),
    },
]);

/// `RealtimeMetricsSubscriptionConfig`.
pub static REALTIME_METRICS_SUBSCRIPTION_CONFIG: Shape = Shape::Record(&[Member {
    name: "RealtimeMetricsSubscriptionStatus",
    needed: Needed::Always,
    shape: &Shape::Word(&["Enabled", "Disabled"]),
}]);

/// `MonitoringSubscription`.
pub static MONITORING_SUBSCRIPTION: Shape = Shape::Record(&[Member {
    name: "RealtimeMetricsSubscriptionConfig",
    needed: Needed::Maybe,
    shape: &REALTIME_METRICS_SUBSCRIPTION_CONFIG,
}]);

/// `KinesisStreamConfig`.
pub static KINESIS_STREAM_CONFIG: Shape = Shape::Record(&[
    Member { name: "RoleARN", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "StreamARN", needed: Needed::Always, shape: &Shape::Text },
]);

/// `EndPoint`.
pub static END_POINT: Shape = Shape::Record(&[
    Member { name: "StreamType", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "KinesisStreamConfig", needed: Needed::Maybe, shape: &KINESIS_STREAM_CONFIG },
]);

/// `CreateRealtimeLogConfigRequest`.
pub static CREATE_REALTIME_LOG_CONFIG_REQUEST: Shape = Shape::Record(&[
    Member { name: "EndPoints", needed: Needed::Always, shape: &Shape::List("member", &END_POINT) },
    Member { name: "Fields", needed: Needed::Always, shape: &Shape::List("Field", &Shape::Text) },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "SamplingRate", needed: Needed::Always, shape: &Shape::Whole },
]);

/// `RealtimeLogConfig`.
pub static REALTIME_LOG_CONFIG: Shape = Shape::Record(&[
    Member { name: "ARN", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "SamplingRate", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "EndPoints", needed: Needed::Always, shape: &Shape::List("member", &END_POINT) },
    Member { name: "Fields", needed: Needed::Always, shape: &Shape::List("Field", &Shape::Text) },
]);

/// `CreateRealtimeLogConfigResult`.
pub static CREATE_REALTIME_LOG_CONFIG_RESULT: Shape = Shape::Record(&[Member {
    name: "RealtimeLogConfig",
    needed: Needed::Maybe,
    shape: &REALTIME_LOG_CONFIG,
}]);

/// `GetRealtimeLogConfigRequest`.
pub static GET_REALTIME_LOG_CONFIG_REQUEST: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ARN", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `GetRealtimeLogConfigResult`.
pub static GET_REALTIME_LOG_CONFIG_RESULT: Shape = Shape::Record(&[Member {
    name: "RealtimeLogConfig",
    needed: Needed::Maybe,
    shape: &REALTIME_LOG_CONFIG,
}]);

/// `UpdateRealtimeLogConfigRequest`.
pub static UPDATE_REALTIME_LOG_CONFIG_REQUEST: Shape = Shape::Record(&[
    Member { name: "EndPoints", needed: Needed::Maybe, shape: &Shape::List("member", &END_POINT) },
    Member { name: "Fields", needed: Needed::Maybe, shape: &Shape::List("Field", &Shape::Text) },
    Member { name: "Name", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ARN", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "SamplingRate", needed: Needed::Maybe, shape: &Shape::Whole },
]);

/// `UpdateRealtimeLogConfigResult`.
pub static UPDATE_REALTIME_LOG_CONFIG_RESULT: Shape = Shape::Record(&[Member {
    name: "RealtimeLogConfig",
    needed: Needed::Maybe,
    shape: &REALTIME_LOG_CONFIG,
}]);

/// `DeleteRealtimeLogConfigRequest`.
pub static DELETE_REALTIME_LOG_CONFIG_REQUEST: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ARN", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `RealtimeLogConfigs`.
pub static REALTIME_LOG_CONFIGS: Shape = Shape::Record(&[
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("member", &REALTIME_LOG_CONFIG),
    },
    Member { name: "IsTruncated", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Marker", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `ListDistributionsByRealtimeLogConfigRequest`.
pub static LIST_DISTRIBUTIONS_BY_REALTIME_LOG_CONFIG_REQUEST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "RealtimeLogConfigName", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "RealtimeLogConfigArn", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `CaCertificatesBundleS3Location`.
pub static CA_CERTIFICATES_BUNDLE_S3_LOCATION: Shape = Shape::Record(&[
    Member { name: "Bucket", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Key", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Region", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Version", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `CaCertificatesBundleSource`.
pub static CA_CERTIFICATES_BUNDLE_SOURCE: Shape = Shape::Record(&[Member {
    name: "CaCertificatesBundleS3Location",
    needed: Needed::Maybe,
    shape: &CA_CERTIFICATES_BUNDLE_S3_LOCATION,
}]);

/// `CreateTrustStoreRequest`.
pub static CREATE_TRUST_STORE_REQUEST: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "CaCertificatesBundleSource",
        needed: Needed::Always,
        shape: &CA_CERTIFICATES_BUNDLE_SOURCE,
    },
    Member {
        name: "UseClientCertificateOCSPEndpoint",
        needed: Needed::Maybe,
        shape: &Shape::Truth,
    },
    Member { name: "Tags", needed: Needed::Maybe, shape: &TAGS },
]);

/// `TrustStore`.
pub static TRUST_STORE: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Arn", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "Status",
        needed: Needed::Maybe,
        shape: &Shape::Word(&["pending", "active", "failed"]),
    },
    Member { name: "NumberOfCaCertificates", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "LastModifiedTime", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Reason", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "UseClientCertificateOCSPEndpoint",
        needed: Needed::Maybe,
        shape: &Shape::Truth,
    },
]);

/// `ListTrustStoresRequest`.
pub static LIST_TRUST_STORES_REQUEST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Maybe, shape: &Shape::Whole },
]);

/// `TrustStoreSummary`.
pub static TRUST_STORE_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Arn", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "Status",
        needed: Needed::Always,
        shape: &Shape::Word(&["pending", "active", "failed"]),
    },
    Member { name: "NumberOfCaCertificates", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Reason", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ETag", needed: Needed::Always, shape: &Shape::Text },
]);

/// `ListTrustStoresResult`.
pub static LIST_TRUST_STORES_RESULT: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "TrustStoreList",
        needed: Needed::Maybe,
        shape: &Shape::List("TrustStoreSummary", &TRUST_STORE_SUMMARY),
    },
]);

/// `CachePolicyHeadersConfig`.
pub static CACHE_POLICY_HEADERS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "HeaderBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["none", "whitelist"]),
    },
    Member { name: "Headers", needed: Needed::Maybe, shape: &HEADERS },
]);

/// `CachePolicyCookiesConfig`.
pub static CACHE_POLICY_COOKIES_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "CookieBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["none", "whitelist", "allExcept", "all"]),
    },
    Member { name: "Cookies", needed: Needed::Maybe, shape: &COOKIE_NAMES },
]);

/// `QueryStringNames`.
pub static QUERY_STRING_NAMES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Name", &Shape::Text) },
]);

/// `CachePolicyQueryStringsConfig`.
pub static CACHE_POLICY_QUERY_STRINGS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "QueryStringBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["none", "whitelist", "allExcept", "all"]),
    },
    Member { name: "QueryStrings", needed: Needed::Maybe, shape: &QUERY_STRING_NAMES },
]);

/// `ParametersInCacheKeyAndForwardedToOrigin`.
pub static PARAMETERS_IN_CACHE_KEY_AND_FORWARDED_TO_ORIGIN: Shape = Shape::Record(&[
    Member { name: "EnableAcceptEncodingGzip", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "EnableAcceptEncodingBrotli", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "HeadersConfig", needed: Needed::Always, shape: &CACHE_POLICY_HEADERS_CONFIG },
    Member { name: "CookiesConfig", needed: Needed::Always, shape: &CACHE_POLICY_COOKIES_CONFIG },
    Member {
        name: "QueryStringsConfig",
        needed: Needed::Always,
        shape: &CACHE_POLICY_QUERY_STRINGS_CONFIG,
    },
]);

/// `CachePolicyConfig`.
pub static CACHE_POLICY_CONFIG: Shape = Shape::Record(&[
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "DefaultTTL", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "MaxTTL", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "MinTTL", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "ParametersInCacheKeyAndForwardedToOrigin",
        needed: Needed::Maybe,
        shape: &PARAMETERS_IN_CACHE_KEY_AND_FORWARDED_TO_ORIGIN,
    },
]);

/// `CachePolicy`.
pub static CACHE_POLICY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "CachePolicyConfig", needed: Needed::Always, shape: &CACHE_POLICY_CONFIG },
]);

/// `CachePolicySummary`.
pub static CACHE_POLICY_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Type", needed: Needed::Always, shape: &Shape::Word(&["managed", "custom"]) },
    Member { name: "CachePolicy", needed: Needed::Always, shape: &CACHE_POLICY },
]);

/// `CachePolicyList`.
pub static CACHE_POLICY_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("CachePolicySummary", &CACHE_POLICY_SUMMARY),
    },
]);

/// `OriginRequestPolicyHeadersConfig`.
pub static ORIGIN_REQUEST_POLICY_HEADERS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "HeaderBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&[
            "none",
            "whitelist",
            "allViewer",
            "allViewerAndWhitelistCloudFront",
            "allExcept",
        ]),
    },
    Member { name: "Headers", needed: Needed::Maybe, shape: &HEADERS },
]);

/// `OriginRequestPolicyCookiesConfig`.
pub static ORIGIN_REQUEST_POLICY_COOKIES_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "CookieBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["none", "whitelist", "all", "allExcept"]),
    },
    Member { name: "Cookies", needed: Needed::Maybe, shape: &COOKIE_NAMES },
]);

/// `OriginRequestPolicyQueryStringsConfig`.
pub static ORIGIN_REQUEST_POLICY_QUERY_STRINGS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "QueryStringBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["none", "whitelist", "all", "allExcept"]),
    },
    Member { name: "QueryStrings", needed: Needed::Maybe, shape: &QUERY_STRING_NAMES },
]);

/// `OriginRequestPolicyConfig`.
pub static ORIGIN_REQUEST_POLICY_CONFIG: Shape = Shape::Record(&[
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "HeadersConfig",
        needed: Needed::Always,
        shape: &ORIGIN_REQUEST_POLICY_HEADERS_CONFIG,
    },
    Member {
        name: "CookiesConfig",
        needed: Needed::Always,
        shape: &ORIGIN_REQUEST_POLICY_COOKIES_CONFIG,
    },
    Member {
        name: "QueryStringsConfig",
        needed: Needed::Always,
        shape: &ORIGIN_REQUEST_POLICY_QUERY_STRINGS_CONFIG,
    },
]);

/// `OriginRequestPolicy`.
pub static ORIGIN_REQUEST_POLICY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "OriginRequestPolicyConfig",
        needed: Needed::Always,
        shape: &ORIGIN_REQUEST_POLICY_CONFIG,
    },
]);

/// `OriginRequestPolicySummary`.
pub static ORIGIN_REQUEST_POLICY_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Type", needed: Needed::Always, shape: &Shape::Word(&["managed", "custom"]) },
    Member { name: "OriginRequestPolicy", needed: Needed::Always, shape: &ORIGIN_REQUEST_POLICY },
]);

/// `OriginRequestPolicyList`.
pub static ORIGIN_REQUEST_POLICY_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("OriginRequestPolicySummary", &ORIGIN_REQUEST_POLICY_SUMMARY),
    },
]);

/// `ResponseHeadersPolicyAccessControlAllowOrigins`.
pub static RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_ALLOW_ORIGINS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Always, shape: &Shape::List("Origin", &Shape::Text) },
]);

/// `ResponseHeadersPolicyAccessControlAllowHeaders`.
pub static RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_ALLOW_HEADERS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Always, shape: &Shape::List("Header", &Shape::Text) },
]);

/// `ResponseHeadersPolicyAccessControlAllowMethods`.
pub static RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_ALLOW_METHODS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List(
            "Method",
            &Shape::Word(&["GET", "POST", "OPTIONS", "PUT", "DELETE", "PATCH", "HEAD", "ALL"]),
        ),
    },
]);

/// `ResponseHeadersPolicyAccessControlExposeHeaders`.
pub static RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_EXPOSE_HEADERS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("Header", &Shape::Text) },
]);

/// `ResponseHeadersPolicyCorsConfig`.
pub static RESPONSE_HEADERS_POLICY_CORS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "AccessControlAllowOrigins",
        needed: Needed::Always,
        shape: &RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_ALLOW_ORIGINS,
    },
    Member {
        name: "AccessControlAllowHeaders",
        needed: Needed::Always,
        shape: &RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_ALLOW_HEADERS,
    },
    Member {
        name: "AccessControlAllowMethods",
        needed: Needed::Always,
        shape: &RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_ALLOW_METHODS,
    },
    Member { name: "AccessControlAllowCredentials", needed: Needed::Always, shape: &Shape::Truth },
    Member {
        name: "AccessControlExposeHeaders",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_ACCESS_CONTROL_EXPOSE_HEADERS,
    },
    Member { name: "AccessControlMaxAgeSec", needed: Needed::Maybe, shape: &Shape::Whole },
    Member { name: "OriginOverride", needed: Needed::Always, shape: &Shape::Truth },
]);

/// `ResponseHeadersPolicyXSSProtection`.
pub static RESPONSE_HEADERS_POLICY_XSS_PROTECTION: Shape = Shape::Record(&[
    Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Protection", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "ModeBlock", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "ReportUri", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `ResponseHeadersPolicyFrameOptions`.
pub static RESPONSE_HEADERS_POLICY_FRAME_OPTIONS: Shape = Shape::Record(&[
    Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth },
    Member {
        name: "FrameOption",
        needed: Needed::Always,
        shape: &Shape::Word(&["DENY", "SAMEORIGIN"]),
    },
]);

/// `ResponseHeadersPolicyReferrerPolicy`.
pub static RESPONSE_HEADERS_POLICY_REFERRER_POLICY: Shape = Shape::Record(&[
    Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth },
    Member {
        name: "ReferrerPolicy",
        needed: Needed::Always,
        shape: &Shape::Word(&[
            "no-referrer",
            "no-referrer-when-downgrade",
            "origin",
            "origin-when-cross-origin",
            "same-origin",
            "strict-origin",
            "strict-origin-when-cross-origin",
            "unsafe-url",
        ]),
    },
]);

/// `ResponseHeadersPolicyContentSecurityPolicy`.
pub static RESPONSE_HEADERS_POLICY_CONTENT_SECURITY_POLICY: Shape = Shape::Record(&[
    Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "ContentSecurityPolicy", needed: Needed::Always, shape: &Shape::Text },
]);

/// `ResponseHeadersPolicyContentTypeOptions`.
pub static RESPONSE_HEADERS_POLICY_CONTENT_TYPE_OPTIONS: Shape =
    Shape::Record(&[Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth }]);

/// `ResponseHeadersPolicyStrictTransportSecurity`.
pub static RESPONSE_HEADERS_POLICY_STRICT_TRANSPORT_SECURITY: Shape = Shape::Record(&[
    Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "IncludeSubdomains", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "Preload", needed: Needed::Maybe, shape: &Shape::Truth },
    Member { name: "AccessControlMaxAgeSec", needed: Needed::Always, shape: &Shape::Whole },
]);

/// `ResponseHeadersPolicySecurityHeadersConfig`.
pub static RESPONSE_HEADERS_POLICY_SECURITY_HEADERS_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "XSSProtection",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_XSS_PROTECTION,
    },
    Member {
        name: "FrameOptions",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_FRAME_OPTIONS,
    },
    Member {
        name: "ReferrerPolicy",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_REFERRER_POLICY,
    },
    Member {
        name: "ContentSecurityPolicy",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_CONTENT_SECURITY_POLICY,
    },
    Member {
        name: "ContentTypeOptions",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_CONTENT_TYPE_OPTIONS,
    },
    Member {
        name: "StrictTransportSecurity",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_STRICT_TRANSPORT_SECURITY,
    },
]);

/// `ResponseHeadersPolicyServerTimingHeadersConfig`.
pub static RESPONSE_HEADERS_POLICY_SERVER_TIMING_HEADERS_CONFIG: Shape = Shape::Record(&[
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "SamplingRate", needed: Needed::Maybe, shape: &Shape::Fraction },
]);

/// `ResponseHeadersPolicyCustomHeader`.
pub static RESPONSE_HEADERS_POLICY_CUSTOM_HEADER: Shape = Shape::Record(&[
    Member { name: "Header", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Value", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Override", needed: Needed::Always, shape: &Shape::Truth },
]);

/// `ResponseHeadersPolicyCustomHeadersConfig`.
pub static RESPONSE_HEADERS_POLICY_CUSTOM_HEADERS_CONFIG: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List(
            "ResponseHeadersPolicyCustomHeader",
            &RESPONSE_HEADERS_POLICY_CUSTOM_HEADER,
        ),
    },
]);

/// `ResponseHeadersPolicyRemoveHeader`.
pub static RESPONSE_HEADERS_POLICY_REMOVE_HEADER: Shape =
    Shape::Record(&[Member { name: "Header", needed: Needed::Always, shape: &Shape::Text }]);

/// `ResponseHeadersPolicyRemoveHeadersConfig`.
pub static RESPONSE_HEADERS_POLICY_REMOVE_HEADERS_CONFIG: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List(
            "ResponseHeadersPolicyRemoveHeader",
            &RESPONSE_HEADERS_POLICY_REMOVE_HEADER,
        ),
    },
]);

/// `ResponseHeadersPolicyConfig`.
pub static RESPONSE_HEADERS_POLICY_CONFIG: Shape = Shape::Record(&[
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "CorsConfig",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_CORS_CONFIG,
    },
    Member {
        name: "SecurityHeadersConfig",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_SECURITY_HEADERS_CONFIG,
    },
    Member {
        name: "ServerTimingHeadersConfig",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_SERVER_TIMING_HEADERS_CONFIG,
    },
    Member {
        name: "CustomHeadersConfig",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_CUSTOM_HEADERS_CONFIG,
    },
    Member {
        name: "RemoveHeadersConfig",
        needed: Needed::Maybe,
        shape: &RESPONSE_HEADERS_POLICY_REMOVE_HEADERS_CONFIG,
    },
]);

/// `ResponseHeadersPolicy`.
pub static RESPONSE_HEADERS_POLICY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "ResponseHeadersPolicyConfig",
        needed: Needed::Always,
        shape: &RESPONSE_HEADERS_POLICY_CONFIG,
    },
]);

/// `ResponseHeadersPolicySummary`.
pub static RESPONSE_HEADERS_POLICY_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Type", needed: Needed::Always, shape: &Shape::Word(&["managed", "custom"]) },
    Member {
        name: "ResponseHeadersPolicy",
        needed: Needed::Always,
        shape: &RESPONSE_HEADERS_POLICY,
    },
]);

/// `ResponseHeadersPolicyList`.
pub static RESPONSE_HEADERS_POLICY_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("ResponseHeadersPolicySummary", &RESPONSE_HEADERS_POLICY_SUMMARY),
    },
]);

/// `OriginAccessControlConfig`.
pub static ORIGIN_ACCESS_CONTROL_CONFIG: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Description", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "SigningProtocol",
        needed: Needed::Always,
        shape: &Shape::Word(&["sigv4", "sigv4a"]),
    },
    Member {
        name: "SigningBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["never", "always", "no-override", "always-amz-auth"]),
    },
    Member {
        name: "OriginAccessControlOriginType",
        needed: Needed::Always,
        shape: &Shape::Word(&["s3", "mediastore", "mediapackagev2", "lambda"]),
    },
]);

/// `OriginAccessControl`.
pub static ORIGIN_ACCESS_CONTROL: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "OriginAccessControlConfig",
        needed: Needed::Maybe,
        shape: &ORIGIN_ACCESS_CONTROL_CONFIG,
    },
]);

/// `OriginAccessControlSummary`.
pub static ORIGIN_ACCESS_CONTROL_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Description", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "SigningProtocol",
        needed: Needed::Always,
        shape: &Shape::Word(&["sigv4", "sigv4a"]),
    },
    Member {
        name: "SigningBehavior",
        needed: Needed::Always,
        shape: &Shape::Word(&["never", "always", "no-override", "always-amz-auth"]),
    },
    Member {
        name: "OriginAccessControlOriginType",
        needed: Needed::Always,
        shape: &Shape::Word(&["s3", "mediastore", "mediapackagev2", "lambda"]),
    },
]);

/// `OriginAccessControlList`.
pub static ORIGIN_ACCESS_CONTROL_LIST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "IsTruncated", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("OriginAccessControlSummary", &ORIGIN_ACCESS_CONTROL_SUMMARY),
    },
]);

/// `CloudFrontOriginAccessIdentityConfig`.
pub static CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_CONFIG: Shape = Shape::Record(&[
    Member { name: "CallerReference", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Always, shape: &Shape::Text },
]);

/// `CloudFrontOriginAccessIdentity`.
pub static CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "S3CanonicalUserId", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "CloudFrontOriginAccessIdentityConfig",
        needed: Needed::Maybe,
        shape: &CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_CONFIG,
    },
]);

/// `CloudFrontOriginAccessIdentitySummary`.
pub static CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "S3CanonicalUserId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Always, shape: &Shape::Text },
]);

/// `CloudFrontOriginAccessIdentityList`.
pub static CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_LIST: Shape = Shape::Record(&[
    Member { name: "Marker", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "IsTruncated", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List(
            "CloudFrontOriginAccessIdentitySummary",
            &CLOUD_FRONT_ORIGIN_ACCESS_IDENTITY_SUMMARY,
        ),
    },
]);

/// `PublicKeyConfig`.
pub static PUBLIC_KEY_CONFIG: Shape = Shape::Record(&[
    Member { name: "CallerReference", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "EncodedKey", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `PublicKey`.
pub static PUBLIC_KEY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "CreatedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "PublicKeyConfig", needed: Needed::Always, shape: &PUBLIC_KEY_CONFIG },
]);

/// `PublicKeySummary`.
pub static PUBLIC_KEY_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "CreatedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "EncodedKey", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `PublicKeyList`.
pub static PUBLIC_KEY_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("PublicKeySummary", &PUBLIC_KEY_SUMMARY),
    },
]);

/// `KeyGroupConfig`.
pub static KEY_GROUP_CONFIG: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "Items",
        needed: Needed::Always,
        shape: &Shape::List("PublicKey", &Shape::Text),
    },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `KeyGroup`.
pub static KEY_GROUP: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "KeyGroupConfig", needed: Needed::Always, shape: &KEY_GROUP_CONFIG },
]);

/// `KeyGroupSummary`.
pub static KEY_GROUP_SUMMARY: Shape =
    Shape::Record(&[Member { name: "KeyGroup", needed: Needed::Always, shape: &KEY_GROUP }]);

/// `KeyGroupList`.
pub static KEY_GROUP_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("KeyGroupSummary", &KEY_GROUP_SUMMARY),
    },
]);

/// `FieldPatterns`.
pub static FIELD_PATTERNS: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("FieldPattern", &Shape::Text),
    },
]);

/// `EncryptionEntity`.
pub static ENCRYPTION_ENTITY: Shape = Shape::Record(&[
    Member { name: "PublicKeyId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "ProviderId", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "FieldPatterns", needed: Needed::Always, shape: &FIELD_PATTERNS },
]);

/// `EncryptionEntities`.
pub static ENCRYPTION_ENTITIES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("EncryptionEntity", &ENCRYPTION_ENTITY),
    },
]);

/// `FieldLevelEncryptionProfileConfig`.
pub static FIELD_LEVEL_ENCRYPTION_PROFILE_CONFIG: Shape = Shape::Record(&[
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "CallerReference", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "EncryptionEntities", needed: Needed::Always, shape: &ENCRYPTION_ENTITIES },
]);

/// `FieldLevelEncryptionProfile`.
pub static FIELD_LEVEL_ENCRYPTION_PROFILE: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "FieldLevelEncryptionProfileConfig",
        needed: Needed::Always,
        shape: &FIELD_LEVEL_ENCRYPTION_PROFILE_CONFIG,
    },
]);

/// `FieldLevelEncryptionProfileSummary`.
pub static FIELD_LEVEL_ENCRYPTION_PROFILE_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Name", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "EncryptionEntities", needed: Needed::Always, shape: &ENCRYPTION_ENTITIES },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
]);

/// `FieldLevelEncryptionProfileList`.
pub static FIELD_LEVEL_ENCRYPTION_PROFILE_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List(
            "FieldLevelEncryptionProfileSummary",
            &FIELD_LEVEL_ENCRYPTION_PROFILE_SUMMARY,
        ),
    },
]);

/// `StagingDistributionDnsNames`.
pub static STAGING_DISTRIBUTION_DNS_NAMES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Items", needed: Needed::Maybe, shape: &Shape::List("DnsName", &Shape::Text) },
]);

/// `SessionStickinessConfig`.
pub static SESSION_STICKINESS_CONFIG: Shape = Shape::Record(&[
    Member { name: "IdleTTL", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "MaximumTTL", needed: Needed::Always, shape: &Shape::Whole },
]);

/// `ContinuousDeploymentSingleWeightConfig`.
pub static CONTINUOUS_DEPLOYMENT_SINGLE_WEIGHT_CONFIG: Shape = Shape::Record(&[
    Member { name: "Weight", needed: Needed::Always, shape: &Shape::Fraction },
    Member {
        name: "SessionStickinessConfig",
        needed: Needed::Maybe,
        shape: &SESSION_STICKINESS_CONFIG,
    },
]);

/// `ContinuousDeploymentSingleHeaderConfig`.
pub static CONTINUOUS_DEPLOYMENT_SINGLE_HEADER_CONFIG: Shape = Shape::Record(&[
    Member { name: "Header", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Value", needed: Needed::Always, shape: &Shape::Text },
]);

/// `TrafficConfig`.
pub static TRAFFIC_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "SingleWeightConfig",
        needed: Needed::Maybe,
        shape: &CONTINUOUS_DEPLOYMENT_SINGLE_WEIGHT_CONFIG,
    },
    Member {
        name: "SingleHeaderConfig",
        needed: Needed::Maybe,
        shape: &CONTINUOUS_DEPLOYMENT_SINGLE_HEADER_CONFIG,
    },
    Member {
        name: "Type",
        needed: Needed::Always,
        shape: &Shape::Word(&["SingleWeight", "SingleHeader"]),
    },
]);

/// `ContinuousDeploymentPolicyConfig`.
pub static CONTINUOUS_DEPLOYMENT_POLICY_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "StagingDistributionDnsNames",
        needed: Needed::Always,
        shape: &STAGING_DISTRIBUTION_DNS_NAMES,
    },
    Member { name: "Enabled", needed: Needed::Always, shape: &Shape::Truth },
    Member { name: "TrafficConfig", needed: Needed::Maybe, shape: &TRAFFIC_CONFIG },
]);

/// `ContinuousDeploymentPolicy`.
pub static CONTINUOUS_DEPLOYMENT_POLICY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "ContinuousDeploymentPolicyConfig",
        needed: Needed::Always,
        shape: &CONTINUOUS_DEPLOYMENT_POLICY_CONFIG,
    },
]);

/// `ContinuousDeploymentPolicySummary`.
pub static CONTINUOUS_DEPLOYMENT_POLICY_SUMMARY: Shape = Shape::Record(&[Member {
    name: "ContinuousDeploymentPolicy",
    needed: Needed::Always,
    shape: &CONTINUOUS_DEPLOYMENT_POLICY,
}]);

/// `ContinuousDeploymentPolicyList`.
pub static CONTINUOUS_DEPLOYMENT_POLICY_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List(
            "ContinuousDeploymentPolicySummary",
            &CONTINUOUS_DEPLOYMENT_POLICY_SUMMARY,
        ),
    },
]);

/// `QueryArgProfile`.
pub static QUERY_ARG_PROFILE: Shape = Shape::Record(&[
    Member { name: "QueryArg", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "ProfileId", needed: Needed::Always, shape: &Shape::Text },
]);

/// `QueryArgProfiles`.
pub static QUERY_ARG_PROFILES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("QueryArgProfile", &QUERY_ARG_PROFILE),
    },
]);

/// `QueryArgProfileConfig`.
pub static QUERY_ARG_PROFILE_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "ForwardWhenQueryArgProfileIsUnknown",
        needed: Needed::Always,
        shape: &Shape::Truth,
    },
    Member { name: "QueryArgProfiles", needed: Needed::Maybe, shape: &QUERY_ARG_PROFILES },
]);

/// `ContentTypeProfile`.
pub static CONTENT_TYPE_PROFILE: Shape = Shape::Record(&[
    Member { name: "Format", needed: Needed::Always, shape: &Shape::Word(&["URLEncoded"]) },
    Member { name: "ProfileId", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "ContentType", needed: Needed::Always, shape: &Shape::Text },
]);

/// `ContentTypeProfiles`.
pub static CONTENT_TYPE_PROFILES: Shape = Shape::Record(&[
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("ContentTypeProfile", &CONTENT_TYPE_PROFILE),
    },
]);

/// `ContentTypeProfileConfig`.
pub static CONTENT_TYPE_PROFILE_CONFIG: Shape = Shape::Record(&[
    Member {
        name: "ForwardWhenContentTypeIsUnknown",
        needed: Needed::Always,
        shape: &Shape::Truth,
    },
    Member { name: "ContentTypeProfiles", needed: Needed::Maybe, shape: &CONTENT_TYPE_PROFILES },
]);

/// `FieldLevelEncryptionConfig`.
pub static FIELD_LEVEL_ENCRYPTION_CONFIG: Shape = Shape::Record(&[
    Member { name: "CallerReference", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "QueryArgProfileConfig",
        needed: Needed::Maybe,
        shape: &QUERY_ARG_PROFILE_CONFIG,
    },
    Member {
        name: "ContentTypeProfileConfig",
        needed: Needed::Maybe,
        shape: &CONTENT_TYPE_PROFILE_CONFIG,
    },
]);

/// `FieldLevelEncryption`.
pub static FIELD_LEVEL_ENCRYPTION: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member {
        name: "FieldLevelEncryptionConfig",
        needed: Needed::Always,
        shape: &FIELD_LEVEL_ENCRYPTION_CONFIG,
    },
]);

/// `FieldLevelEncryptionSummary`.
pub static FIELD_LEVEL_ENCRYPTION_SUMMARY: Shape = Shape::Record(&[
    Member { name: "Id", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "LastModifiedTime", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Comment", needed: Needed::Maybe, shape: &Shape::Text },
    Member {
        name: "QueryArgProfileConfig",
        needed: Needed::Maybe,
        shape: &QUERY_ARG_PROFILE_CONFIG,
    },
    Member {
        name: "ContentTypeProfileConfig",
        needed: Needed::Maybe,
        shape: &CONTENT_TYPE_PROFILE_CONFIG,
    },
]);

/// `FieldLevelEncryptionList`.
pub static FIELD_LEVEL_ENCRYPTION_LIST: Shape = Shape::Record(&[
    Member { name: "NextMarker", needed: Needed::Maybe, shape: &Shape::Text },
    Member { name: "MaxItems", needed: Needed::Always, shape: &Shape::Whole },
    Member { name: "Quantity", needed: Needed::Always, shape: &Shape::Whole },
    Member {
        name: "Items",
        needed: Needed::Maybe,
        shape: &Shape::List("FieldLevelEncryptionSummary", &FIELD_LEVEL_ENCRYPTION_SUMMARY),
    },
]);

/// Each fault with its status.
pub const FAULTS: [(&str, u16); 134] = [
    ("AccessDenied", 403),
    ("CNAMEAlreadyExists", 409),
    ("CachePolicyAlreadyExists", 409),
    ("CachePolicyInUse", 409),
    ("CannotChangeImmutablePublicKeyFields", 400),
    ("CannotDeleteEntityWhileInUse", 409),
    ("CloudFrontOriginAccessIdentityAlreadyExists", 409),
    ("CloudFrontOriginAccessIdentityInUse", 409),
    ("ContinuousDeploymentPolicyAlreadyExists", 409),
    ("ContinuousDeploymentPolicyInUse", 409),
    ("DistributionAlreadyExists", 409),
    ("DistributionNotDisabled", 409),
    ("EntityAlreadyExists", 409),
    ("EntityLimitExceeded", 400),
    ("EntityNotFound", 404),
    ("FieldLevelEncryptionConfigAlreadyExists", 409),
    ("FieldLevelEncryptionConfigInUse", 409),
    ("FieldLevelEncryptionProfileAlreadyExists", 409),
    ("FieldLevelEncryptionProfileInUse", 409),
    ("FieldLevelEncryptionProfileSizeExceeded", 400),
    ("IllegalDelete", 400),
    ("IllegalFieldLevelEncryptionConfigAssociationWithCacheBehavior", 400),
    ("IllegalOriginAccessConfiguration", 400),
    ("IllegalUpdate", 400),
    ("InconsistentQuantities", 400),
    ("InvalidArgument", 400),
    ("InvalidDefaultRootObject", 400),
    ("InvalidDomainNameForOriginAccessControl", 400),
    ("InvalidErrorCode", 400),
    ("InvalidForwardCookies", 400),
    ("InvalidFunctionAssociation", 400),
    ("InvalidGeoRestrictionParameter", 400),
    ("InvalidHeadersForS3Origin", 400),
    ("InvalidIfMatchVersion", 400),
    ("InvalidLambdaFunctionAssociation", 400),
    ("InvalidLocationCode", 400),
    ("InvalidMinimumProtocolVersion", 400),
    ("InvalidOrigin", 400),
    ("InvalidOriginAccessControl", 400),
    ("InvalidOriginAccessIdentity", 400),
    ("InvalidOriginKeepaliveTimeout", 400),
    ("InvalidOriginReadTimeout", 400),
    ("InvalidProtocolSettings", 400),
    ("InvalidQueryStringParameters", 400),
    ("InvalidRelativePath", 400),
    ("InvalidRequiredProtocol", 400),
    ("InvalidResponseCode", 400),
    ("InvalidTTLOrder", 400),
    ("InvalidTagging", 400),
    ("InvalidViewerCertificate", 400),
    ("InvalidWebACLId", 400),
    ("KeyGroupAlreadyExists", 409),
    ("MissingBody", 400),
    ("MonitoringSubscriptionAlreadyExists", 409),
    ("NoSuchCachePolicy", 404),
    ("NoSuchCloudFrontOriginAccessIdentity", 404),
    ("NoSuchContinuousDeploymentPolicy", 404),
    ("NoSuchDistribution", 404),
    ("NoSuchFieldLevelEncryptionConfig", 404),
    ("NoSuchFieldLevelEncryptionProfile", 404),
    ("NoSuchMonitoringSubscription", 404),
    ("NoSuchOrigin", 404),
    ("NoSuchOriginAccessControl", 404),
    ("NoSuchOriginRequestPolicy", 404),
    ("NoSuchPublicKey", 404),
    ("NoSuchRealtimeLogConfig", 404),
    ("NoSuchResource", 404),
    ("NoSuchResponseHeadersPolicy", 404),
    ("OriginAccessControlAlreadyExists", 409),
    ("OriginAccessControlInUse", 409),
    ("OriginRequestPolicyAlreadyExists", 409),
    ("OriginRequestPolicyInUse", 409),
    ("PreconditionFailed", 412),
    ("PublicKeyAlreadyExists", 409),
    ("PublicKeyInUse", 409),
    ("QueryArgProfileEmpty", 400),
    ("RealtimeLogConfigAlreadyExists", 409),
    ("RealtimeLogConfigInUse", 400),
    ("RealtimeLogConfigOwnerMismatch", 401),
    ("ResourceInUse", 409),
    ("ResponseHeadersPolicyAlreadyExists", 409),
    ("ResponseHeadersPolicyInUse", 409),
    ("StagingDistributionInUse", 409),
    ("TooLongCSPInResponseHeadersPolicy", 400),
    ("TooManyCacheBehaviors", 400),
    ("TooManyCachePolicies", 400),
    ("TooManyCertificates", 400),
    ("TooManyCloudFrontOriginAccessIdentities", 400),
    ("TooManyContinuousDeploymentPolicies", 400),
    ("TooManyCookieNamesInWhiteList", 400),
    ("TooManyCookiesInCachePolicy", 400),
    ("TooManyCookiesInOriginRequestPolicy", 400),
    ("TooManyCustomHeadersInResponseHeadersPolicy", 400),
    ("TooManyDistributionCNAMEs", 400),
    ("TooManyDistributions", 400),
    ("TooManyDistributionsAssociatedToCachePolicy", 400),
    ("TooManyDistributionsAssociatedToFieldLevelEncryptionConfig", 400),
    ("TooManyDistributionsAssociatedToKeyGroup", 400),
    ("TooManyDistributionsAssociatedToOriginAccessControl", 400),
    ("TooManyDistributionsAssociatedToOriginRequestPolicy", 400),
    ("TooManyDistributionsAssociatedToResponseHeadersPolicy", 400),
    ("TooManyDistributionsWithFunctionAssociations", 400),
    ("TooManyDistributionsWithLambdaAssociations", 400),
    ("TooManyDistributionsWithSingleFunctionARN", 400),
    ("TooManyFieldLevelEncryptionConfigs", 400),
    ("TooManyFieldLevelEncryptionContentTypeProfiles", 400),
    ("TooManyFieldLevelEncryptionEncryptionEntities", 400),
    ("TooManyFieldLevelEncryptionFieldPatterns", 400),
    ("TooManyFieldLevelEncryptionProfiles", 400),
    ("TooManyFieldLevelEncryptionQueryArgProfiles", 400),
    ("TooManyFunctionAssociations", 400),
    ("TooManyHeadersInCachePolicy", 400),
    ("TooManyHeadersInForwardedValues", 400),
    ("TooManyHeadersInOriginRequestPolicy", 400),
    ("TooManyKeyGroups", 400),
    ("TooManyKeyGroupsAssociatedToDistribution", 400),
    ("TooManyLambdaFunctionAssociations", 400),
    ("TooManyOriginAccessControls", 400),
    ("TooManyOriginCustomHeaders", 400),
    ("TooManyOriginGroupsPerDistribution", 400),
    ("TooManyOriginRequestPolicies", 400),
    ("TooManyOrigins", 400),
    ("TooManyPublicKeys", 400),
    ("TooManyPublicKeysInKeyGroup", 400),
    ("TooManyQueryStringParameters", 400),
    ("TooManyQueryStringsInCachePolicy", 400),
    ("TooManyQueryStringsInOriginRequestPolicy", 400),
    ("TooManyRealtimeLogConfigs", 400),
    ("TooManyRemoveHeadersInResponseHeadersPolicy", 400),
    ("TooManyResponseHeadersPolicies", 400),
    ("TooManyTrustedSigners", 400),
    ("TrustedKeyGroupDoesNotExist", 400),
    ("TrustedSignerDoesNotExist", 400),
    ("UnsupportedOperation", 400),
];

/// The calls that are answered.
pub const CALLS: [&str; 99] = [
    "CreateDistribution",
    "CreateDistributionWithTags",
    "GetDistribution",
    "GetDistributionConfig",
    "UpdateDistribution",
    "DeleteDistribution",
    "ListDistributions",
    "TagResource",
    "UntagResource",
    "ListTagsForResource",
    "ListDistributionsByCachePolicyId",
    "ListDistributionsByOriginRequestPolicyId",
    "ListDistributionsByResponseHeadersPolicyId",
    "ListDistributionsByKeyGroup",
    "ListDistributionsByWebACLId",
    "ListDistributionsByVpcOriginId",
    "ListDistributionsByAnycastIpListId",
    "ListDistributionsByConnectionMode",
    "ListDistributionsByOwnedResource",
    "ListDistributionsByTrustStore",
    "ListConflictingAliases",
    "AssociateAlias",
    "CopyDistribution",
    "UpdateDistributionWithStagingConfig",
    "GetManagedCertificateDetails",
    "CreateMonitoringSubscription",
    "GetMonitoringSubscription",
    "DeleteMonitoringSubscription",
    "CreateRealtimeLogConfig",
    "GetRealtimeLogConfig",
    "UpdateRealtimeLogConfig",
    "DeleteRealtimeLogConfig",
    "ListRealtimeLogConfigs",
    "ListDistributionsByRealtimeLogConfig",
    "CreateTrustStore",
    "GetTrustStore",
    "UpdateTrustStore",
    "DeleteTrustStore",
    "ListTrustStores",
    "CreateCachePolicy",
    "GetCachePolicy",
    "GetCachePolicyConfig",
    "UpdateCachePolicy",
    "DeleteCachePolicy",
    "ListCachePolicies",
    "CreateOriginRequestPolicy",
    "GetOriginRequestPolicy",
    "GetOriginRequestPolicyConfig",
    "UpdateOriginRequestPolicy",
    "DeleteOriginRequestPolicy",
    "ListOriginRequestPolicies",
    "CreateResponseHeadersPolicy",
    "GetResponseHeadersPolicy",
    "GetResponseHeadersPolicyConfig",
    "UpdateResponseHeadersPolicy",
    "DeleteResponseHeadersPolicy",
    "ListResponseHeadersPolicies",
    "CreateOriginAccessControl",
    "GetOriginAccessControl",
    "GetOriginAccessControlConfig",
    "UpdateOriginAccessControl",
    "DeleteOriginAccessControl",
    "ListOriginAccessControls",
    "CreateCloudFrontOriginAccessIdentity",
    "GetCloudFrontOriginAccessIdentity",
    "GetCloudFrontOriginAccessIdentityConfig",
    "UpdateCloudFrontOriginAccessIdentity",
    "DeleteCloudFrontOriginAccessIdentity",
    "ListCloudFrontOriginAccessIdentities",
    "CreatePublicKey",
    "GetPublicKey",
    "GetPublicKeyConfig",
    "UpdatePublicKey",
    "DeletePublicKey",
    "ListPublicKeys",
    "CreateKeyGroup",
    "GetKeyGroup",
    "GetKeyGroupConfig",
    "UpdateKeyGroup",
    "DeleteKeyGroup",
    "ListKeyGroups",
    "CreateFieldLevelEncryptionProfile",
    "GetFieldLevelEncryptionProfile",
    "GetFieldLevelEncryptionProfileConfig",
    "UpdateFieldLevelEncryptionProfile",
    "DeleteFieldLevelEncryptionProfile",
    "ListFieldLevelEncryptionProfiles",
    "CreateContinuousDeploymentPolicy",
    "GetContinuousDeploymentPolicy",
    "GetContinuousDeploymentPolicyConfig",
    "UpdateContinuousDeploymentPolicy",
    "DeleteContinuousDeploymentPolicy",
    "ListContinuousDeploymentPolicies",
    "CreateFieldLevelEncryptionConfig",
    "GetFieldLevelEncryption",
    "GetFieldLevelEncryptionConfig",
    "UpdateFieldLevelEncryptionConfig",
    "DeleteFieldLevelEncryptionConfig",
    "ListFieldLevelEncryptionConfigs",
];
