//! Policies of a distribution's own, as CloudFront's API takes them.

use serde_json::{Value, json};

use super::node::items;
use crate::distribution::cache_policy::{
    CachePolicy, Codings, ForwardHeaders, Listed, OriginRequestPolicy,
};
use crate::distribution::response_policy::{Cors, Origins, Over, ResponsePolicy, SetField};
use crate::distribution::site::Distribution;

/// Policies that are not managed ones: what `create-cache-policy` and its like take, by name.
pub fn own(distribution: &Distribution, left: &mut Vec<String>) -> Value {
    let mut all =
        json!({ "CachePolicies": {}, "OriginRequestPolicies": {}, "ResponseHeadersPolicies": {} });
    for behavior in &distribution.behaviors {
        let cache = &behavior.cache;
        if CachePolicy::managed(&cache.name).is_none() {
            all["CachePolicies"][&cache.name] = json!({ "CachePolicyConfig": cache_policy(cache) });
        }
        let request = &behavior.origin_request;
        if **request != OriginRequestPolicy::nothing()
            && OriginRequestPolicy::managed(&request.name).is_none()
        {
            if !request.of_writes.is_empty()
                && all["OriginRequestPolicies"].get(&request.name).is_none()
            {
                left.push(format!("origin request policy {}: headers_of_writes is what legacy settings do of themselves", request.name));
            }
            all["OriginRequestPolicies"][&request.name] =
                json!({ "OriginRequestPolicyConfig": origin_request_policy(request) });
        }
        if let Some(policy) = behavior
            .response
            .as_deref()
            .filter(|policy| ResponsePolicy::managed(&policy.name).is_none())
        {
            let slot = &mut all["ResponseHeadersPolicies"][&policy.name];
            if slot.is_null() {
                *slot = json!({ "ResponseHeadersPolicyConfig": response_policy(policy, left) });
            }
        }
    }
    all
}

fn listed(kind: &str, names: &str, listed: &Listed) -> Value {
    let (word, all) = match listed {
        Listed::None => ("none", Vec::new()),
        Listed::All => ("all", Vec::new()),
        Listed::Only(all) => ("whitelist", all.texts()),
        Listed::Except(all) => ("allExcept", all.texts()),
    };
    let mut out = json!({ kind: word });
    if !all.is_empty() {
        out[names] = items(all);
    }
    out
}

/// `CachePolicyConfig` of a policy.
pub fn cache_policy(policy: &CachePolicy) -> Value {
    let headers = policy.key.headers.texts();
    let headers = if headers.is_empty() {
        json!({ "HeaderBehavior": "none" })
    } else {
        json!({ "HeaderBehavior": "whitelist", "Headers": items(headers) })
    };
    json!({
        "Name": policy.name, "MinTTL": policy.ttl.min().as_secs(), "DefaultTTL": policy.ttl.default().as_secs(), "MaxTTL": policy.ttl.max().as_secs(),
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": policy.codings.has(Codings::GZIP),
            "EnableAcceptEncodingBrotli": policy.codings.has(Codings::BR),
            "HeadersConfig": headers,
            "CookiesConfig": listed("CookieBehavior", "Cookies", &policy.key.cookies),
            "QueryStringsConfig": listed("QueryStringBehavior", "QueryStrings", &policy.key.query),
        },
    })
}

/// `OriginRequestPolicyConfig` of a policy.
pub fn origin_request_policy(policy: &OriginRequestPolicy) -> Value {
    let (word, names) = match &policy.headers {
        ForwardHeaders::None => ("none", Vec::new()),
        ForwardHeaders::Only(names) => ("whitelist", names.texts()),
        ForwardHeaders::AllViewer => ("allViewer", Vec::new()),
        ForwardHeaders::AllViewerExcept(names) => ("allExcept", names.texts()),
        ForwardHeaders::AllViewerAnd(names) => (
            "allViewerAndWhitelistCloudFront",
            names.iter().map(http::HeaderName::as_str).collect(),
        ),
    };
    let mut headers = json!({ "HeaderBehavior": word });
    if !names.is_empty() {
        headers["Headers"] = items(names);
    }
    json!({
        "Name": policy.name, "HeadersConfig": headers,
        "CookiesConfig": listed("CookieBehavior", "Cookies", &policy.cookies),
        "QueryStringsConfig": listed("QueryStringBehavior", "QueryStrings", &policy.query),
    })
}

/// `ResponseHeadersPolicyConfig` of a policy; what cannot be said of it is told.
pub fn response_policy(policy: &ResponsePolicy, left: &mut Vec<String>) -> Value {
    let mut all = json!({ "Name": policy.name });
    if let Some(cors) = &policy.cors {
        all["CorsConfig"] = cors_config(cors);
    }
    let mut custom = Vec::new();
    for field in &policy.set {
        match security(field) {
            Some((kind, mut one)) => {
                one["Override"] = (field.over == Over::Origin).into();
                all["SecurityHeadersConfig"][kind] = one;
            }
            None => custom.push(custom_field(&policy.name, field, left)),
        }
    }
    if !custom.is_empty() {
        all["CustomHeadersConfig"] = items(custom);
    }
    if !policy.remove.is_empty() {
        all["RemoveHeadersConfig"] =
            items(policy.remove.iter().map(|name| json!({ "Header": name.as_str() })).collect());
    }
    if let Some(share) = policy.server_timing {
        let percent = share.percent();
        let rate = if percent.fract() == 0.0 { json!(percent as u64) } else { json!(percent) };
        all["ServerTimingHeadersConfig"] = json!({ "Enabled": true, "SamplingRate": rate });
    }
    all
}

fn custom_field(policy: &str, field: &SetField, left: &mut Vec<String>) -> Value {
    let value = field.value.to_str().unwrap_or_default();
    if SECURITY.iter().any(|(name, _)| field.name == **name) {
        left.push(format!(
            "response headers policy {policy}: CloudFront has no words for {}: {value}",
            field.name
        ));
    }
    json!({ "Header": field.name.as_str(), "Value": value, "Override": field.over == Over::Origin })
}

fn cors_config(cors: &Cors) -> Value {
    let listed =
        |text: &str| items(text.split(", ").filter(|item| !item.is_empty()).collect::<Vec<_>>());
    let origins = match &cors.origins {
        Origins::Any => items(vec!["*"]),
        Origins::Listed(all) => items(all.clone()),
    };
    // All seven together are CloudFront's ALL.
    let methods = if cors.methods.split(", ").count() == 7 {
        items(vec!["ALL"])
    } else {
        listed(&cors.methods)
    };
    let mut all = json!({
        "AccessControlAllowOrigins": origins, "AccessControlAllowHeaders": listed(&cors.headers), "AccessControlAllowMethods": methods,
        "AccessControlAllowCredentials": cors.allows_credentials, "OriginOverride": cors.over == Over::Origin,
    });
    if !cors.expose.is_empty() {
        all["AccessControlExposeHeaders"] = listed(&cors.expose);
    }
    if let Some(seconds) = cors.max_age {
        all["AccessControlMaxAgeSec"] = seconds.into();
    }
    all
}

// Fields that CloudFront has parts of its own for.
const SECURITY: [(&str, &str); 6] = [
    ("x-xss-protection", "XSSProtection"),
    ("x-frame-options", "FrameOptions"),
    ("referrer-policy", "ReferrerPolicy"),
    ("content-security-policy", "ContentSecurityPolicy"),
    ("x-content-type-options", "ContentTypeOptions"),
    ("strict-transport-security", "StrictTransportSecurity"),
];

// Such a part and what it says; `None` for other fields, and for values that CloudFront has no
// words for.
fn security(field: &SetField) -> Option<(&'static str, Value)> {
    let (_, kind) = *SECURITY.iter().find(|(name, _)| field.name == **name)?;
    let value = field.value.to_str().ok()?;
    let mut words = value.split(';').map(str::trim);
    let part = match kind {
        "XSSProtection" => {
            let mut part = json!({ "Protection": match words.next()? { "1" => true, "0" => false, _ => return None } });
            for word in words {
                match word.split_once('=')? {
                    ("mode", "block") => part["ModeBlock"] = true.into(),
                    ("report", uri) => part["ReportUri"] = uri.into(),
                    _ => return None,
                }
            }
            part
        }
        "FrameOptions" if ["DENY", "SAMEORIGIN"].contains(&value) => {
            json!({ "FrameOption": value })
        }
        "ContentTypeOptions" if value == "nosniff" => json!({}),
        "FrameOptions" | "ContentTypeOptions" => return None,
        "ReferrerPolicy" => json!({ "ReferrerPolicy": value }),
        "ContentSecurityPolicy" => json!({ "ContentSecurityPolicy": value }),
        _ => {
            let seconds: u64 = words.next()?.strip_prefix("max-age=")?.parse().ok()?;
            let mut part = json!({ "AccessControlMaxAgeSec": seconds, "IncludeSubdomains": false, "Preload": false });
            for word in words {
                match word {
                    "includeSubDomains" => part["IncludeSubdomains"] = true.into(),
                    "preload" => part["Preload"] = true.into(),
                    _ => return None,
                }
            }
            part
        }
    };
    Some((kind, part))
}
