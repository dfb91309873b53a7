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

/// Completes the configuration of a public key, which always has a comment.
pub fn public_key(config: &mut Value) {
    if let Some(map) = config.as_object_mut() {
        usually(map, "Comment", "".into());
    }
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
    fn what_was_sent_stays_and_what_tools_read_is_there() {
        let mut config = json!({
            "Comment": "c", "HttpVersion": "http1.1",
            "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "OriginPath": "/a", "CustomOriginConfig": {} }] },
            "DefaultCacheBehavior": { "CachePolicyId": "x", "AllowedMethods": { "Quantity": 3 } },
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
        assert!(usual.get("ForwardedValues").is_none() && usual.get("MinTTL").is_none());
        let legacy = &config["CacheBehaviors"]["Items"][0];
        assert_eq!((&legacy["MinTTL"], &legacy["MaxTTL"]), (&json!(5), &json!(31_536_000)));
        let again = config.clone();
        distribution(&mut config);
        assert_eq!(config, again, "a second time changes nothing");
    }
}
