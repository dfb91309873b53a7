//! Pure: what CloudFront adds to a configuration that does not say it. What a caller sent stays as
//! it was: tools compare what they read with what they sent.
//!
//! Filled in is what the AWS tools read without asking whether it is there, and what every answer
//! of CloudFront has.

use serde_json::{Map, Value, json};

/// Completes the configuration of a distribution.
pub fn distribution(config: &mut Value) {
    let Some(map) = config.as_object_mut() else { return };
    for (key, usual) in [
        ("Aliases", json!({ "Quantity": 0 })),
        ("DefaultRootObject", "".into()),
        ("OriginGroups", json!({ "Quantity": 0 })),
        ("CacheBehaviors", json!({ "Quantity": 0 })),
        ("CustomErrorResponses", json!({ "Quantity": 0 })),
        (
            "Logging",
            json!({ "Enabled": false, "IncludeCookies": false, "Bucket": "", "Prefix": "" }),
        ),
        ("PriceClass", "PriceClass_All".into()),
        (
            "ViewerCertificate",
            json!({ "CloudFrontDefaultCertificate": true, "MinimumProtocolVersion": "TLSv1",
                    "CertificateSource": "cloudfront" }),
        ),
        ("Restrictions", json!({ "GeoRestriction": { "RestrictionType": "none", "Quantity": 0 } })),
        ("WebACLId", "".into()),
        ("HttpVersion", "http2".into()),
        ("IsIPV6Enabled", true.into()),
        ("ContinuousDeploymentPolicyId", "".into()),
        ("Staging", false.into()),
    ] {
        usually(map, key, usual);
    }
    each(map, "Origins", origin);
    each(map, "CacheBehaviors", behavior);
    if let Some(one) = map.get_mut("DefaultCacheBehavior").and_then(Value::as_object_mut) {
        behavior(one);
    }
}

/// Leaves out of a distribution what Ansible's `community.aws.cloudfront_distribution` never sends,
/// where it says no more than its absence. The module puts origins and behaviors together anew, and
/// takes each key beyond its own for a change.
pub fn leave_out_for_ansible(config: &mut Value) {
    let Some(map) = config.as_object_mut() else { return };
    each(map, "Origins", |origin| {
        unless_said(
            origin,
            [
                ("ConnectionAttempts", 3.into()),
                ("ConnectionTimeout", 10.into()),
                ("OriginShield", json!({ "Enabled": false })),
                ("OriginAccessControlId", "".into()),
            ],
        );
    });
    each(map, "CacheBehaviors", leave_out_of_behavior);
    if let Some(one) = map.get_mut("DefaultCacheBehavior").and_then(Value::as_object_mut) {
        leave_out_of_behavior(one);
    }
}

fn leave_out_of_behavior(behavior: &mut Map<String, Value>) {
    unless_said(
        behavior,
        [
            ("TrustedKeyGroups", json!({ "Enabled": false, "Quantity": 0 })),
            ("FunctionAssociations", json!({ "Quantity": 0 })),
        ],
    );
}

fn unless_said<const N: usize>(map: &mut Map<String, Value>, all: [(&str, Value); N]) {
    for (key, usual) in all {
        if map.get(key) == Some(&usual) {
            map.remove(key);
        }
    }
}

/// Completes the configuration of a public key, which always has a comment.
pub fn public_key(config: &mut Value) {
    if let Some(map) = config.as_object_mut() {
        usually(map, "Comment", "".into());
    }
}

/// Completes a cache policy with the lifetimes that hold where it says none. A `DefaultTTL` that
/// nobody said is left out beside a `MaxTTL` that would bound it.
pub fn cache_policy(config: &mut Value) {
    let Some(map) = config.as_object_mut() else { return };
    let default = number(map, "MinTTL").unwrap_or(0).max(86_400);
    if number(map, "MaxTTL").is_none_or(|most| most >= default) {
        usually(map, "DefaultTTL", default.into());
    }
    let most = number(map, "DefaultTTL").unwrap_or(default).max(31_536_000);
    usually(map, "MaxTTL", most.into());
}

fn number(map: &Map<String, Value>, key: &str) -> Option<u64> {
    map.get(key).and_then(Value::as_u64)
}

fn usually(map: &mut Map<String, Value>, key: &str, usual: Value) {
    map.entry(key).or_insert(usual);
}

fn each(map: &mut Map<String, Value>, list: &str, fill: fn(&mut Map<String, Value>)) {
    let items = map.get_mut(list).and_then(|list| list.get_mut("Items"));
    let items = items.and_then(Value::as_array_mut).into_iter().flatten();
    items.filter_map(Value::as_object_mut).for_each(fill);
}

fn origin(map: &mut Map<String, Value>) {
    for (key, usual) in [
        ("OriginPath", "".into()),
        ("CustomHeaders", json!({ "Quantity": 0 })),
        ("ConnectionAttempts", 3.into()),
        ("ConnectionTimeout", 10.into()),
        ("OriginShield", json!({ "Enabled": false })),
        ("OriginAccessControlId", "".into()),
    ] {
        usually(map, key, usual);
    }
    if let Some(custom) = map.get_mut("CustomOriginConfig").and_then(Value::as_object_mut) {
        for (key, usual) in [
            ("OriginSslProtocols", json!({ "Quantity": 1, "Items": ["TLSv1.2"] })),
            ("OriginReadTimeout", 30.into()),
            ("OriginKeepaliveTimeout", 5.into()),
        ] {
            usually(custom, key, usual);
        }
    }
}

fn behavior(map: &mut Map<String, Value>) {
    let both = json!({ "Quantity": 2, "Items": ["HEAD", "GET"] });
    let mut methods = both.clone();
    methods["CachedMethods"] = both.clone();
    for (key, usual) in [
        ("TrustedSigners", json!({ "Enabled": false, "Quantity": 0 })),
        ("TrustedKeyGroups", json!({ "Enabled": false, "Quantity": 0 })),
        ("AllowedMethods", methods),
        ("SmoothStreaming", false.into()),
        ("Compress", false.into()),
        ("LambdaFunctionAssociations", json!({ "Quantity": 0 })),
        ("FunctionAssociations", json!({ "Quantity": 0 })),
        ("FieldLevelEncryptionId", "".into()),
    ] {
        usually(map, key, usual);
    }
    if let Some(methods) = map.get_mut("AllowedMethods").and_then(Value::as_object_mut) {
        usually(methods, "CachedMethods", both);
    }
    let lambdas = map.get_mut("LambdaFunctionAssociations").and_then(|all| all.get_mut("Items"));
    for lambda in lambdas.and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(lambda) = lambda.as_object_mut() {
            usually(lambda, "IncludeBody", false.into());
        }
    }
    // Lifetimes of its own only where no policy has them.
    if map.contains_key("ForwardedValues") {
        usually(map, "MinTTL", 0.into());
        let least = map.get("MinTTL").and_then(Value::as_u64).unwrap_or(0);
        if least <= 86_400 && !map.contains_key("MaxTTL") {
            usually(map, "DefaultTTL", 86_400.into());
        }
        if least <= 31_536_000 {
            usually(map, "MaxTTL", 31_536_000.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_policy_says_the_lifetimes_that_hold() {
        for (sent, default, most) in [
            (json!({ "MinTTL": 0 }), Some(86_400), 31_536_000),
            (json!({ "MinTTL": 100_000 }), Some(100_000), 31_536_000),
            (json!({ "MinTTL": 40_000_000 }), Some(40_000_000), 40_000_000),
            (json!({ "MinTTL": 0, "DefaultTTL": 40_000_000 }), Some(40_000_000), 40_000_000),
            (json!({ "MinTTL": 0, "MaxTTL": 60 }), None, 60),
            (json!({ "MinTTL": 1, "DefaultTTL": 2, "MaxTTL": 3 }), Some(2), 3),
            (json!({ "MinTTL": 0, "DefaultTTL": 0, "MaxTTL": 0 }), Some(0), 0),
        ] {
            let mut config = sent.clone();
            cache_policy(&mut config);
            let told = |key: &str| config.get(key).and_then(Value::as_u64);
            assert_eq!((told("DefaultTTL"), told("MaxTTL")), (default, Some(most)), "{sent}");
        }
    }

    #[test]
    fn what_was_sent_stays_and_what_tools_read_is_there() {
        let mut config = json!({
            "Comment": "c", "HttpVersion": "http1.1",
            "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "OriginPath": "/a", "CustomOriginConfig": {} }] },
            "DefaultCacheBehavior": { "CachePolicyId": "x", "AllowedMethods": { "Quantity": 3 },
                "LambdaFunctionAssociations": { "Quantity": 2, "Items": [{}, { "IncludeBody": true }] } },
            "CacheBehaviors": { "Quantity": 1, "Items": [{ "ForwardedValues": {}, "MinTTL": 5 }] },
        });
        distribution(&mut config);
        let origin = &config["Origins"]["Items"][0];
        assert_eq!(
            (&config["HttpVersion"], &origin["OriginPath"]),
            (&json!("http1.1"), &json!("/a"))
        );
        assert_eq!(origin["CustomHeaders"]["Quantity"], 0);
        assert_eq!(origin["CustomOriginConfig"]["OriginReadTimeout"], 30);
        assert_eq!(config["OriginGroups"]["Quantity"], 0);
        let usual = &config["DefaultCacheBehavior"];
        for key in ["TrustedSigners", "TrustedKeyGroups", "FunctionAssociations"] {
            assert_eq!(usual[key]["Quantity"], 0, "{key}");
        }
        assert_eq!(usual["AllowedMethods"]["CachedMethods"]["Quantity"], 2);
        let lambdas = &usual["LambdaFunctionAssociations"]["Items"];
        assert_eq!(
            (&lambdas[0]["IncludeBody"], &lambdas[1]["IncludeBody"]),
            (&json!(false), &json!(true))
        );
        assert!(usual.get("ForwardedValues").is_none() && usual.get("MinTTL").is_none());
        let legacy = &config["CacheBehaviors"]["Items"][0];
        assert_eq!((&legacy["MinTTL"], &legacy["MaxTTL"]), (&json!(5), &json!(31_536_000)));
        let again = config.clone();
        distribution(&mut config);
        assert_eq!(config, again, "a second time changes nothing");
        // What is left out is what would be filled in.
        leave_out_for_ansible(&mut config);
        assert!(config["Origins"]["Items"][0].get("OriginShield").is_none());
        assert!(config["DefaultCacheBehavior"].get("FunctionAssociations").is_none());
        distribution(&mut config);
        assert_eq!(config, again);
        config["Origins"]["Items"][0]["ConnectionAttempts"] = 2.into();
        leave_out_for_ansible(&mut config);
        assert_eq!(config["Origins"]["Items"][0]["ConnectionAttempts"], 2);
    }
}
