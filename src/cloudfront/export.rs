//! A distribution of ours as CloudFront describes one (`foreshore export cloudfront`).
//!
//! What CloudFront has no word for is left out, and said.

use serde_json::{Value, json};

use super::export_policies;
use super::forms;
use super::node::items;
use crate::distribution::behavior::{Behavior, ErrorResponse, Methods, Target, ViewerProtocol};
use crate::distribution::cache_policy::{CachePolicy, Codings, OriginRequestPolicy};
use crate::distribution::functions::{Attached, Hooks, LambdaArn, LambdaSpec};
use crate::distribution::geo::GeoRestriction;
use crate::distribution::logs::{Cookies, RealtimeChoice};
use crate::distribution::origin::{HostRule, HttpVersion, Origin, OriginKind, Roots};
use crate::distribution::response_policy::ResponsePolicy;
use crate::distribution::site::{Distribution, HttpVersions, Serving, Site, TlsPolicy};
use crate::distribution::stores::ACCOUNT;
use crate::distribution::viewer_tls::{ClientCertificates, Expiry, Hints, Mode};
use crate::documents::shelf::Kind;

/// The output of `get-distribution-config`, the policies of its own beside it, and what could not
/// be said.
pub fn export(site: &Site, distribution: &Distribution) -> (Value, Vec<String>) {
    let mut left = Vec::new();
    let hosts: Vec<&str> =
        distribution.hosts.iter().map(String::as_str).filter(|host| *host != "*").collect();
    let origins: Vec<Value> =
        distribution.origins.iter().filter_map(|one| origin(one, &mut left)).collect();
    let groups: Vec<Value> = distribution
        .groups
        .iter()
        .map(|group| {
            let members: Vec<Value> = group.members.iter().map(|at| json!({ "OriginId": distribution.origins[*at].id })).collect();
            json!({ "Id": group.id, "FailoverCriteria": { "StatusCodes": items(group.failover.clone()) }, "Members": items(members) })
        })
        .collect();
    let mut behaviors: Vec<Value> = distribution
        .behaviors
        .iter()
        .map(|one| behavior(site, distribution, one, &mut left))
        .collect();
    let default = behaviors.pop().unwrap_or(Value::Null);
    let policy = match site.tls_policy {
        TlsPolicy::Tls12_2021 => "TLSv1.2_2021",
        TlsPolicy::Tls12_2025 => "TLSv1.2_2025",
        TlsPolicy::Tls13_2025 => "TLSv1.3_2025",
    };
    let geo = match &distribution.geo_restriction {
        None => json!({ "RestrictionType": "none", "Quantity": 0 }),
        Some(GeoRestriction::Only(list)) => {
            json!({ "RestrictionType": "whitelist", "Quantity": list.len(), "Items": list })
        }
        Some(GeoRestriction::AllBut(list)) => {
            json!({ "RestrictionType": "blacklist", "Quantity": list.len(), "Items": list })
        }
    };
    let mut config = json!({
        "CallerReference": distribution.id,
        "Aliases": items(hosts),
        "DefaultRootObject": distribution.default_root_object.as_deref().unwrap_or("").trim_start_matches('/'),
        "Origins": items(origins),
        "OriginGroups": items(groups),
        "DefaultCacheBehavior": default,
        "CacheBehaviors": items(behaviors),
        "CustomErrorResponses": items(distribution.error_responses.iter().map(error_response).collect()),
        "Comment": distribution.comment.as_deref().unwrap_or(""),
        "Enabled": distribution.serving == Serving::On,
        "ViewerCertificate": { "MinimumProtocolVersion": policy, "SSLSupportMethod": "sni-only" },
        "Restrictions": { "GeoRestriction": geo },
        "HttpVersion": http_version(site, distribution),
    });
    if let Some(log) = &site.more_logs.standard {
        let cookies = log.cookies == Cookies::Included;
        config["Logging"] =
            json!({ "Enabled": true, "IncludeCookies": cookies, "Bucket": "", "Prefix": "" });
    }
    if let Some(rule) = &distribution.client_certificates {
        config["ViewerMtlsConfig"] = viewer_mtls(rule, &mut left);
    }
    let tags = distribution.tag_header.as_str();
    if tags != "cache-tag" {
        config["CacheTagConfig"] = json!({ "HeaderName": tags });
    }
    if distribution.staging.is_some() || distribution.is_deploying {
        left.push("continuous deployment: make a staging distribution and a policy for it".into());
    }
    let policies = export_policies::own(distribution, &mut left);
    let mut whole = json!({ "DistributionConfig": config, "Policies": policies });
    field_encryption(distribution, &mut whole);
    (whole, left)
}

// What `create-field-level-encryption-config` and `…-profile` take, by name.
fn field_encryption(distribution: &Distribution, whole: &mut Value) {
    for known in distribution.behaviors.iter().filter_map(|one| one.field_encryption.as_deref()) {
        let (config, profiles) = forms::described(known);
        let all = &mut whole["FieldLevelEncryption"];
        all["Configs"][&known.name] = json!({ "FieldLevelEncryptionConfig": config });
        for (name, profile) in profiles {
            all["Profiles"][name] = json!({ "FieldLevelEncryptionProfileConfig": profile });
        }
    }
}

fn viewer_mtls(rule: &ClientCertificates, left: &mut Vec<String>) -> Value {
    let mut told = json!({ "Mode": rule.mode.word() });
    if rule.mode != Mode::Passthrough {
        left.push(
            "client_certificates: make a trust store of the file's certificates and set TrustStoreId".into(),
        );
        told["TrustStoreConfig"] = json!({
            "TrustStoreId": "",
            "AdvertiseTrustStoreCaNames": rule.hints == Hints::Advertised,
            "IgnoreCertificateExpiry": rule.expiry == Expiry::Ignored,
        });
    }
    told
}

fn origin(origin: &Origin, left: &mut Vec<String>) -> Option<Value> {
    let OriginKind::Http(http) = &origin.kind else {
        left.push(format!("origin {}: a folder is no origin of CloudFront's", origin.id));
        return None;
    };
    let (is_tls, port) = (http.tls.is_some(), http.port);
    let clear = origin.clear.as_ref().and_then(|clear| match &clear.kind {
        OriginKind::Http(http) => Some(http.port),
        OriginKind::Directory(_) => None,
    });
    let policy = match (is_tls, clear) {
        (_, Some(_)) => "match-viewer",
        (true, None) => "https-only",
        (false, None) => "http-only",
    };
    if !origin.headers.is_empty() {
        left.push(format!(
            "origin {}: the values of its headers are secrets, and not told",
            origin.id
        ));
    }
    if !matches!(http.host_rule, HostRule::Origin | HostRule::Named(_)) {
        left.push(format!("origin {}: host = \"viewer\" or another name is the origin request policy's business at CloudFront", origin.id));
    }
    if http.tls.as_ref().is_some_and(|tls| {
        matches!(tls.roots, Roots::Given(_)) || tls.identity.is_some() || tls.server_name.is_some()
    }) {
        left.push(format!("origin {}: its own CA, certificate or name in TLS", origin.id));
    }
    if origin.access.is_some() {
        left.push(format!(
            "origin {}: make an origin access control and set OriginAccessControlId",
            origin.id
        ));
    }
    let is_h2 = http.version == HttpVersion::Http2;
    if is_h2 && !is_tls {
        left.push(format!("origin {}: http_version = \"http2\" in clear text", origin.id));
    }
    let mut told = json!({
        "Id": origin.id,
        "DomainName": match &http.host_rule {
            HostRule::Named(name) => name,
            _ => &http.host,
        },
        "OriginPath": origin.path,
        "CustomHeaders": { "Quantity": 0 },
        "CustomOriginConfig": {
            "HTTPPort": clear.unwrap_or(if is_tls { 80 } else { port }),
            "HTTPSPort": if is_tls { port } else { 443 },
            "OriginProtocolPolicy": policy,
            "OriginSslProtocols": items(vec!["TLSv1.2"]),
            "OriginReadTimeout": origin.timeouts.response.as_secs().max(1),
            "OriginKeepaliveTimeout": origin.timeouts.idle.as_secs().max(1),
            "IpAddressType": http.family.word(),
        },
        "ConnectionAttempts": origin.attempts,
        "ConnectionTimeout": origin.timeouts.connect.as_secs().max(1),
    });
    if let Some(whole) = origin.timeouts.complete {
        told["ResponseCompletionTimeout"] = whole.as_secs().max(1).into();
    }
    if is_h2 && is_tls {
        told["CustomOriginConfig"]["OriginHttpVersion"] = "http2".into();
    }
    Some(told)
}

const fn http_version(site: &Site, distribution: &Distribution) -> &'static str {
    match distribution.versions {
        HttpVersions::Http1 => "http1.1",
        HttpVersions::Http2 => "http2",
        HttpVersions::Http3 => "http3",
        HttpVersions::Http2And3 => "http2and3",
        HttpVersions::Spoken if site.listen.http3.is_on() => "http2and3",
        HttpVersions::Spoken => "http2",
    }
}

// Functions and lambdas by name; whoever creates the distribution gives the ARNs that they have
// there.
fn associations(site: &Site, hooks: &Hooks, pattern: &str, left: &mut Vec<String>) -> Value {
    let (mut functions, mut lambdas) = (Vec::new(), Vec::new());
    for (event, at) in [
        ("viewer-request", hooks.viewer_request),
        ("viewer-response", hooks.viewer_response),
        ("origin-request", hooks.origin_request),
        ("origin-response", hooks.origin_response),
    ] {
        match at {
            Some(Attached::Function(at)) => {
                let name = &site.functions[at].name;
                left.push(format!("behavior {pattern}: the code of function {name} is published by itself; FunctionARN has its name"));
                let arn = format!("arn:aws:cloudfront::{ACCOUNT}:function/{name}");
                functions.push(json!({ "EventType": event, "FunctionARN": arn }));
            }
            Some(Attached::Lambda { at, with_body }) => {
                let lambda = &site.lambdas[at];
                let arn = lambda_arn(lambda);
                if lambda.arn.as_ref() != Some(&arn) {
                    let name = &lambda.name;
                    left.push(format!("behavior {pattern}: lambda {name} is published by itself, and LambdaFunctionARN needs its version"));
                }
                lambdas.push(json!({ "EventType": event, "LambdaFunctionARN": arn, "IncludeBody": with_body }));
            }
            None => {}
        }
    }
    json!({ "functions": items(functions), "lambdas": items(lambdas) })
}

// Its own ARN with a version, or one made of its name.
fn lambda_arn(lambda: &LambdaSpec) -> String {
    match lambda.arn.as_deref().and_then(LambdaArn::read) {
        Some(arn) if arn.is_numbered() => {
            format!("{}:{}", arn.function, arn.version.unwrap_or("1"))
        }
        Some(arn) => format!("{}:1", arn.function),
        None => format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:{}:1", lambda.name),
    }
}

// What a behavior does that CloudFront has no word for.
fn say_extensions(behavior: &Behavior, left: &mut Vec<String>) {
    let pattern = behavior.pattern.as_str();
    for (is_set, what) in [
        (behavior.methods == Methods::Any, "methods = \"any\""),
        (behavior.cache.compress.has(Codings::ZSTD), "compress = [\"zstd\"]"),
        (behavior.cache.error_ttl != CachePolicy::ERROR_TTL, "ttl.error"),
        (behavior.cache.stale_on_error != CachePolicy::STALE_ON_ERROR, "stale_on_error"),
        (behavior.rate_limit.is_some(), "rate_limit"),
        (!behavior.allow_from.is_empty(), "allow_from"),
        (!behavior.deny_from.is_empty(), "deny_from"),
        (behavior.slice.is_some(), "slice"),
        (behavior.cache_post.is_some(), "cache_post"),
        (behavior.client_invalidation.is_some(), "client_invalidation"),
        (!behavior.error_responses.is_empty(), "error responses of a behavior"),
        (behavior.realtime_log == RealtimeChoice::Off, "realtime_log = false"),
        (
            behavior.cache.semantics == crate::distribution::cache_policy::Semantics::Rfc9111,
            "semantics = \"rfc9111\"",
        ),
    ] {
        if is_set {
            left.push(format!("behavior {pattern}: {what} is an extension of ours"));
        }
    }
}

fn behavior(
    site: &Site,
    distribution: &Distribution,
    behavior: &Behavior,
    left: &mut Vec<String>,
) -> Value {
    let pattern = behavior.pattern.as_str();
    let target = match behavior.target {
        Target::Origin(at) => distribution.origins[at].id.as_str(),
        Target::Group(at) => distribution.groups[at].id.as_str(),
    };
    let methods = methods(behavior.methods);
    let cached: &[&str] =
        if behavior.cache_options { &["GET", "HEAD", "OPTIONS"] } else { &["GET", "HEAD"] };
    say_extensions(behavior, left);
    let mut all = json!({
        "TargetOriginId": target,
        "ViewerProtocolPolicy": match behavior.viewer_protocol {
            ViewerProtocol::AllowAll => "allow-all",
            ViewerProtocol::HttpsOnly => "https-only",
            ViewerProtocol::RedirectToHttps => "redirect-to-https",
        },
        "AllowedMethods": {
            "Quantity": methods.len(), "Items": methods, "CachedMethods": items(cached.to_vec()),
        },
        "Compress": !behavior.cache.compress.is_empty(),
        "CachePolicyId": id_of(&behavior.cache.name, |name| CachePolicy::managed(name).is_some()),
    });
    if behavior.grpc {
        all["GrpcConfig"] = json!({ "Enabled": true });
    }
    if let RealtimeChoice::On | RealtimeChoice::Named(_) = behavior.realtime_log {
        left.push(format!(
            "behavior {pattern}: realtime_log: make a real-time log configuration and set RealtimeLogConfigArn"
        ));
    }
    if pattern != "*" {
        all["PathPattern"] = pattern.into();
    }
    if *behavior.origin_request != OriginRequestPolicy::nothing() {
        all["OriginRequestPolicyId"] = id_of(&behavior.origin_request.name, |name| {
            OriginRequestPolicy::managed(name).is_some()
        })
        .into();
    }
    if let Some(policy) = &behavior.response {
        all["ResponseHeadersPolicyId"] =
            id_of(&policy.name, |name| ResponsePolicy::managed(name).is_some()).into();
    }
    if let Some(known) = &behavior.field_encryption {
        let name = known.name.as_str();
        left.push(format!("behavior {pattern}: make the field-level encryption {name:?}, its profiles and public keys, and set FieldLevelEncryptionId; which suite its messages have is CloudFront's to say"));
        all["FieldLevelEncryptionId"] = name.into();
    }
    if let Some(hooks) = &behavior.hooks {
        let mut told = associations(site, hooks, pattern, left);
        all["FunctionAssociations"] = told["functions"].take();
        all["LambdaFunctionAssociations"] = told["lambdas"].take();
    }
    if let Some(signers) = &behavior.signers {
        all["TrustedKeyGroups"] =
            json!({ "Enabled": true, "Quantity": signers.groups.len(), "Items": signers.groups });
    }
    all
}

const fn methods(allowed: Methods) -> &'static [&'static str] {
    match allowed {
        Methods::GetHead => &["GET", "HEAD"],
        Methods::GetHeadOptions => &["GET", "HEAD", "OPTIONS"],
        Methods::Seven | Methods::Any => {
            &["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]
        }
    }
}

// CloudFront's id of a managed policy; the name of another, to be replaced by the id that it is
// given there.
fn id_of(name: &str, is_managed: impl Fn(&str) -> bool) -> String {
    match IDS.iter().find(|(known, _)| *known == name).filter(|_| is_managed(name)) {
        Some((_, id)) => (*id).to_string(),
        None => name.to_string(),
    }
}

// CloudFront: "Use managed cache policies", "Use managed origin request policies" and
// "Use managed response headers policies".
const IDS: [(&str, &str); 20] = [
    ("CachingOptimized", "658327ea-f89d-4fab-a63d-7e88639e58f6"),
    ("CachingOptimizedForUncompressedObjects", "b2884449-e4de-46a7-ac36-70bc7f1ddd6d"),
    ("CachingDisabled", "4135ea2d-6df8-44a3-9df3-4b5a84be39ad"),
    ("Elemental-MediaPackage", "08627262-05a9-4f76-9ded-b50ca2e3a84f"),
    ("Amplify", "2e54312d-136d-493c-8eb9-b001f22f67d2"),
    ("UseOriginCacheControlHeaders", "83da9c7e-98b4-4e11-a168-04f0df8e2c65"),
    ("UseOriginCacheControlHeaders-QueryStrings", "4cc15a8a-d715-48a4-82b8-cc0b614638fe"),
    ("AllViewer", "216adef6-5c7f-47e4-b989-5492eafa07d3"),
    ("AllViewerExceptHostHeader", "b689b0a8-53d0-40ab-baf2-68738e2966ac"),
    ("AllViewerAndCloudFrontHeaders-2022-06", "33f36d7e-f396-46d9-90e0-52428a34d9dc"),
    ("CORS-CustomOrigin", "59781a5b-3903-41f3-afcb-af62929ccde1"),
    ("CORS-S3Origin", "88a5eaf4-2fd4-4709-b370-b4c650ea3fcf"),
    ("HostHeaderOnly", "bf0718e1-ba1e-49d1-88b1-f726733018ae"),
    ("Elemental-MediaTailor-PersonalizedManifests", "775133bc-15f2-49f9-abea-afb2e0bf67d2"),
    ("UserAgentRefererHeaders", "acba4595-bd28-49b8-b9fe-13317c0390fa"),
    ("SimpleCORS", "60669652-455b-4ae9-85a4-c4c02393f86c"),
    ("CORS-With-Preflight", "5cc3b908-e619-4b99-88e5-2cf7f45965bd"),
    ("SecurityHeadersPolicy", "67f7725c-6f97-4210-82d7-5512b31e9d03"),
    ("CORS-and-SecurityHeadersPolicy", "e61eb60c-9c35-4d20-a928-2b84e02af89c"),
    ("CORS-with-preflight-and-SecurityHeadersPolicy", "eaab4381-ed33-4a86-88ca-d9558dc6cd63"),
];

/// CloudFront's managed policies of a kind: the id of each, its name there, and its configuration;
/// none of kinds that have none.
pub fn managed(kind: Kind) -> Vec<(&'static str, String, Value)> {
    let of = |(name, id): &(&str, &'static str)| {
        let mut config = match kind {
            Kind::CachePolicy => export_policies::cache_policy(&CachePolicy::managed(id)?),
            Kind::OriginRequestPolicy => {
                export_policies::origin_request_policy(&OriginRequestPolicy::managed(id)?)
            }
            Kind::ResponseHeadersPolicy => {
                export_policies::response_policy(&ResponsePolicy::managed(id)?, &mut Vec::new())
            }
            _ => return None,
        };
        let name = managed_name(name);
        config["Name"] = name.as_str().into();
        config["Comment"] = "".into();
        Some((*id, name, config))
    };
    IDS.iter().filter_map(of).collect()
}

// What AWS's API calls a policy that its guide has under this name.
fn managed_name(name: &str) -> String {
    match name {
        "UseOriginCacheControlHeaders" | "UseOriginCacheControlHeaders-QueryStrings" => name.into(),
        _ => format!("Managed-{name}"),
    }
}

/// The id of the one of a kind that has this name.
pub fn managed_by_name(kind: Kind, name: &str) -> Option<&'static str> {
    let (_, id) = IDS.iter().find(|(known, _)| managed_name(known) == name)?;
    is_managed(kind, id).then_some(id)
}

/// Says whether an id is that of one of them.
pub fn is_managed(kind: Kind, id: &str) -> bool {
    IDS.iter().any(|(_, known)| *known == id)
        && match kind {
            Kind::CachePolicy => CachePolicy::managed(id).is_some(),
            Kind::OriginRequestPolicy => OriginRequestPolicy::managed(id).is_some(),
            Kind::ResponseHeadersPolicy => ResponsePolicy::managed(id).is_some(),
            _ => false,
        }
}

fn error_response(rule: &ErrorResponse) -> Value {
    let mut all = json!({ "ErrorCode": rule.status });
    if let Some((page, status)) = &rule.page {
        all["ResponsePagePath"] = page.as_str().into();
        all["ResponseCode"] = status.to_string().into();
    }
    if let Some(ttl) = rule.ttl {
        all["ErrorCachingMinTTL"] = ttl.as_secs().into();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_managed_as_the_kind_that_its_policy_is_of() {
        for kind in Kind::ALL {
            let all = managed(kind);
            for (_, id) in IDS {
                let is_one = all.iter().any(|(known, ..)| *known == id);
                assert_eq!(is_managed(kind, id), is_one, "{kind:?} {id}");
            }
        }
        assert!(is_managed(Kind::CachePolicy, "658327ea-f89d-4fab-a63d-7e88639e58f6"));
        // Its name is no id.
        assert!(!is_managed(Kind::CachePolicy, "CachingOptimized"));
    }
}
