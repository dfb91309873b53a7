//! Distributions of CloudFront's, taken in and given back.

use std::path::{Path, PathBuf};

use serde_json::Value;

use super::support::edge::command;

fn vectors() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cloudfront")
}

fn import(folder: &Path, names: &[&str]) -> (i32, String) {
    let files: Vec<String> =
        names.iter().map(|name| vectors().join(name).display().to_string()).collect();
    let args: Vec<&str> =
        ["import", "cloudfront"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let (code, _, told) = command(folder, &args);
    (code, told)
}

const ALL: [&str; 6] = [
    "distribution.json",
    "cache-policy.json",
    "origin-request-policy.json",
    "response-headers-policy.json",
    "key-group.json",
    "public-key.json",
];

#[test]
fn a_distribution_comes_in_whole_and_what_does_not_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let (code, told) = import(folder.path(), &ALL);
    assert_eq!(code, 0, "{told}");
    let (code, checked, wrong) = command(folder.path(), &["check", "--config", "imported.toml"]);
    assert_eq!(code, 0, "{checked}{wrong}");
    let toml = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
    for line in [
        "hosts = [\"www.example.com\", \"example.com\"]",
        "url = \"https://assets.s3.eu-west-1.amazonaws.com/site\"",
        "url = \"https://app.example.com:8443\"\nmatch_viewer = true",
        "headers = { \"X-Shop\" = \"tell \\\"nobody\\\"\" }",
        "timeouts = { connect = \"5s\", response = \"45s\", idle = \"7s\" }",
        "members = [\"bucket\", \"app\"]",
        "cache_policy = \"CachingOptimized\"",
        "response_headers_policy = \"SecurityHeadersPolicy\"",
        "key = { query_except = [\"utm_source\"], cookies = \"none\", headers = [\"X-Tenant\"] }",
        "ttl = { min = \"0s\", default = \"600s\", max = \"7200s\" }",
        "key = { query = [\"page\"], cookies = [\"session\"], headers = [\"Accept-Language\"] }",
        "origin_request_policy = \"settings of /legacy/*\"",
        "trusted_key_groups = [\"group-1\"]",
        "methods = [\"GET\", \"HEAD\", \"OPTIONS\"]\ncache_options = true",
        "strict_transport_security = { value = \"max-age=31536000; includeSubDomains; preload\", override = \"nothing\" }",
        "geo_restriction = { except = [\"XX\"] }",
        "standard = { folder = \"standard-log/shop\", cookies = \"include\" }",
    ] {
        assert!(toml.contains(line), "{line} is not in\n{toml}");
    }
    // Item by item; nothing is left out in silence.
    for item in [
        "requests to it are signed at CloudFront",
        "TLSv1.1 are not spoken",
        "Origin Shield",
        "the viewer-request function arn:aws:cloudfront::1:function/guard does not run here",
        "key group group-unknown is not at hand: no viewer is let in",
        "cache policy nowhere is not at hand",
        "realtime-log-config",
        "PriceClass_100",
        "WebACLId",
        "HTTP/3",
        "certificate arn:aws:acm",
        "ContinuousDeploymentPolicyId",
        "SomethingNew/Deep = 7: not carried over",
    ] {
        assert!(told.contains(item), "{item} is not in\n{told}");
    }
    // What wanted a signature wants one still, whether its keys came along or not.
    for path in ["/private/a", "/members/a"] {
        let (_, story, _) = command(
            folder.path(),
            &["explain", "--config", "imported.toml", &format!("https://www.example.com{path}")],
        );
        assert!(story.contains("refused: 403 Missing Key-Pair-Id"), "{story}");
    }
    // What an import wrote may be written over, what the operator changed may not.
    assert_eq!(import(folder.path(), &ALL).0, 0);
    std::fs::write(folder.path().join("imported.toml"), toml.clone() + "# mine\n").unwrap();
    let (code, told) = import(folder.path(), &ALL);
    assert!(code == 1 && told.contains("imported.toml: this is there already"), "{told}");
    assert!(
        std::fs::read_to_string(folder.path().join("imported.toml")).unwrap().ends_with("# mine\n")
    );
}

fn export(folder: &Path, config: &str) -> Value {
    let (code, json, told) = command(folder, &["export", "cloudfront", "--config", config]);
    assert_eq!(code, 0, "{told}");
    serde_json::from_str(&json).unwrap()
}

#[test]
fn what_came_in_goes_out_again() {
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(import(folder.path(), &ALL).0, 0);
    let out = export(folder.path(), "imported.toml");
    let theirs: Value =
        serde_json::from_slice(&std::fs::read(vectors().join("distribution.json")).unwrap())
            .unwrap();
    let (ours, theirs) = (&out["DistributionConfig"], &theirs["DistributionConfig"]);
    for pointer in [
        "/Aliases",
        "/Comment",
        "/DefaultRootObject",
        "/OriginGroups",
        "/Restrictions",
        "/CustomErrorResponses/Items/0",
        "/Origins/Items/0/DomainName",
        "/Origins/Items/0/OriginPath",
        "/Origins/Items/1/CustomOriginConfig/HTTPSPort",
        "/Origins/Items/1/CustomOriginConfig/OriginProtocolPolicy",
        "/Origins/Items/1/CustomOriginConfig/OriginReadTimeout",
        "/Origins/Items/1/ConnectionAttempts",
        "/DefaultCacheBehavior/TargetOriginId",
        "/DefaultCacheBehavior/ViewerProtocolPolicy",
        "/DefaultCacheBehavior/CachePolicyId",
        "/DefaultCacheBehavior/ResponseHeadersPolicyId",
        "/CacheBehaviors/Items/0/PathPattern",
        "/CacheBehaviors/Items/0/TrustedKeyGroups",
        "/CacheBehaviors/Items/1/OriginRequestPolicyId",
        "/CacheBehaviors/Items/1/AllowedMethods/Quantity",
        "/CacheBehaviors/Items/1/AllowedMethods/CachedMethods/Quantity",
        "/CacheBehaviors/Items/2/AllowedMethods/Quantity",
        "/ViewerCertificate/MinimumProtocolVersion",
        "/Logging/IncludeCookies",
    ] {
        assert!(ours.pointer(pointer).is_some(), "{pointer} is missing");
        assert_eq!(ours.pointer(pointer), theirs.pointer(pointer), "{pointer}");
    }
    let policy: Value =
        serde_json::from_slice(&std::fs::read(vectors().join("cache-policy.json")).unwrap())
            .unwrap();
    let key = "ParametersInCacheKeyAndForwardedToOrigin";
    let mut want = policy["CachePolicy"]["CachePolicyConfig"][key].clone();
    want["HeadersConfig"]["Headers"]["Items"][0] = "x-tenant".into();
    assert_eq!(out["Policies"]["CachePolicies"]["shop-cache"]["CachePolicyConfig"][key], want);
    let policy: Value = serde_json::from_slice(
        &std::fs::read(vectors().join("response-headers-policy.json")).unwrap(),
    )
    .unwrap();
    let mut want = policy["ResponseHeadersPolicy"]["ResponseHeadersPolicyConfig"].clone();
    want["CustomHeadersConfig"]["Items"][0]["Header"] = "x-shop".into();
    want["RemoveHeadersConfig"]["Items"][0]["Header"] = "x-powered-by".into();
    assert_eq!(
        out["Policies"]["ResponseHeadersPolicies"]["shop-response"]["ResponseHeadersPolicyConfig"],
        want
    );
    // The samples of this repository can be exported too.
    for sample in ["bucket.toml", "app.toml"] {
        let config = Path::new(env!("CARGO_MANIFEST_DIR")).join("config").join(sample);
        assert!(export(folder.path(), config.to_str().unwrap())["DistributionConfig"]["Origins"]["Quantity"].as_u64() >= Some(0));
    }
}

#[test]
fn what_is_no_distribution_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(
        import(folder.path(), &["cache-policy.json"]).1.contains("none of these is a distribution")
    );
    std::fs::write(folder.path().join("x.json"), "{\"a\": 1}").unwrap();
    let (code, _, told) = command(folder.path(), &["import", "cloudfront", "x.json"]);
    assert!(code == 1 && told.contains("neither a distribution nor a policy"), "{told}");
}

// What was forwarded before there were policies is forwarded still.
#[test]
fn old_settings_reach_the_origin_as_they_did() {
    let folder = tempfile::tempdir().unwrap();
    let json = serde_json::json!({ "DistributionConfig": {
        "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "DomainName": "o.test", "CustomOriginConfig": { "OriginProtocolPolicy": "https-only" } }] },
        "DefaultCacheBehavior": {
            "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "MinTTL": 0,
            "ForwardedValues": { "QueryString": true, "Cookies": { "Forward": "all" }, "Headers": { "Quantity": 1, "Items": ["*"] } },
        },
        "CacheBehaviors": { "Quantity": 1, "Items": [{
            "PathPattern": "/v/*", "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all",
            "ForwardedValues": { "QueryString": true, "Cookies": { "Forward": "none" }, "QueryStringCacheKeys": { "Quantity": 1, "Items": ["v"] } },
        }] },
    } });
    std::fs::write(folder.path().join("old.json"), json.to_string()).unwrap();
    assert_eq!(command(folder.path(), &["import", "cloudfront", "old.json"]).0, 0);
    let explain = |path: &str| {
        let url = format!("https://h.test{path}");
        let fields = ["-H", "Cookie: a=1", "-H", "X-Tenant: t"];
        command(
            folder.path(),
            &[&["explain", "--config", "imported.toml", &url][..], &fields].concat(),
        )
        .1
    };
    let dynamic = explain("/a?q=1");
    assert!(
        ["not asked: the policy's maximum TTL is zero", "GET /a?q=1", "cookie: a=1", "x-tenant: t"]
            .iter()
            .all(|words| dynamic.contains(words)),
        "{dynamic}"
    );
    let keyed = explain("/v/a?v=1&more=2");
    assert!(
        keyed.contains("|/v/a?v=1\n")
            && keyed.contains("GET /v/a?v=1&more=2")
            && !keyed.contains("cookie:"),
        "{keyed}"
    );
}

// Whatever stands in a document's strings, it stays text.
#[test]
fn nothing_in_a_document_becomes_a_setting() {
    let folder = tempfile::tempdir().unwrap();
    let evil = "o\n[admin]\nunsigned = \"allow\"\n#";
    let json = serde_json::json!({ "DistributionConfig": {
        "Origins": { "Quantity": 1, "Items": [{ "Id": evil, "DomainName": "a.test", "CustomOriginConfig": { "OriginProtocolPolicy": "match-viewer" } }] },
        "DefaultCacheBehavior": {
            "TargetOriginId": evil, "ViewerProtocolPolicy": "allow-all", "CachePolicyId": evil,
            "TrustedSigners": { "Enabled": true, "Quantity": 1, "Items": ["self"] }, "TrustedKeyGroups": { "Quantity": 1, "Items": ["g"] },
        },
        "Logging": { "Enabled": true, "Bucket": "b", "Prefix": "../../etc/" },
        "ViewerMtlsConfig": { "Mode": "required" },
        "Comment": evil,
    } });
    std::fs::write(folder.path().join("evil.json"), json.to_string()).unwrap();
    let (code, _, told) = command(folder.path(), &["import", "cloudfront", "evil.json"]);
    assert_eq!(code, 0, "{told}");
    let toml: toml::Table =
        std::fs::read_to_string(folder.path().join("imported.toml")).unwrap().parse().unwrap();
    assert!(!toml.contains_key("admin"));
    assert_eq!(toml["log"]["standard"]["folder"].as_str(), Some("standard-log/etc"));
    assert_eq!(
        toml["distribution"][0]["behavior"][0]["trusted_key_groups"].as_array().map(Vec::len),
        Some(1),
        "closed, and once"
    );
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.path().join("imported.toml")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
