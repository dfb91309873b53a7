//! What the API tells of a distribution, taken in by `foreshore import`, is the distribution that
//! the API made: over all settings that both have a word for, by themselves and together.
//!
//! Two things are told apart on purpose: an import names no certificate and no credentials, so
//! private buckets are left out; and `HttpVersion = http2`, CloudFront's default, leaves HTTP/3 to
//! `listen.http3` in an import.

use std::path::Path;
use std::sync::Arc;

use foreshore::cloudfront::defaults;
use foreshore::cloudfront::import::{self, Input, Wishes};
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::origin::{Origin, OriginKind, Reach};
use foreshore::distribution::site::{Distribution, HttpVersions};
use foreshore::documents::shelf::{Document, Documents, Kind};
use foreshore::semantics::time::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_800_000_000_000);
const OPTIMIZED: &str = "658327ea-f89d-4fab-a63d-7e88639e58f6";
const ALL_METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"];

fn many(items: &[Value]) -> Value {
    json!({ "Quantity": items.len(), "Items": items })
}

fn origin(config: &mut Value) -> &mut Value {
    &mut config["Origins"]["Items"][0]
}

fn custom(config: &mut Value) -> &mut Value {
    &mut config["Origins"]["Items"][0]["CustomOriginConfig"]
}

fn usual(config: &mut Value) -> &mut Value {
    &mut config["DefaultCacheBehavior"]
}

type Change = (&'static str, fn(&mut Value));

/// A setting each, in the order in which they are made.
const CHANGES: [Change; 37] = [
    ("aliases", |all| all["Aliases"] = many(&["www.example.com".into(), "*.example.org".into()])),
    ("comment", |all| all["Comment"] = "words & \"more\"".into()),
    ("root object", |all| all["DefaultRootObject"] = "index.html".into()),
    ("disabled", |all| all["Enabled"] = false.into()),
    ("http1.1", |all| all["HttpVersion"] = "http1.1".into()),
    ("http3", |all| all["HttpVersion"] = "http2and3".into()),
    ("error pages", |all| {
        all["CustomErrorResponses"] = many(&[
            json!({ "ErrorCode": 404, "ResponsePagePath": "/e.html", "ResponseCode": "200", "ErrorCachingMinTTL": 7 }),
            json!({ "ErrorCode": 503, "ErrorCachingMinTTL": 0 }),
        ]);
    }),
    ("passed certificates", |all| all["ViewerMtlsConfig"] = json!({ "Mode": "passthrough" })),
    ("tags' field", |all| all["CacheTagConfig"] = json!({ "HeaderName": "surrogate-key" })),
    ("path", |all| origin(all)["OriginPath"] = "/site".into()),
    ("fields", |all| {
        let field = json!({ "HeaderName": "X-Secret", "HeaderValue": "tell \"nobody\"" });
        origin(all)["CustomHeaders"] = many(&[field]);
    }),
    ("attempts", |all| origin(all)["ConnectionAttempts"] = 2.into()),
    ("connection timeout", |all| origin(all)["ConnectionTimeout"] = 4.into()),
    ("completion timeout", |all| origin(all)["ResponseCompletionTimeout"] = 90.into()),
    ("matching", |all| custom(all)["OriginProtocolPolicy"] = "match-viewer".into()),
    ("plain", |all| custom(all)["OriginProtocolPolicy"] = "http-only".into()),
    ("ports", |all| {
        custom(all)["HTTPPort"] = 8080.into();
        custom(all)["HTTPSPort"] = 8443.into();
    }),
    ("read timeout", |all| custom(all)["OriginReadTimeout"] = 60.into()),
    ("idle timeout", |all| custom(all)["OriginKeepaliveTimeout"] = 60.into()),
    ("addresses", |all| custom(all)["IpAddressType"] = "ipv6".into()),
    ("http2 to the origin", |all| custom(all)["OriginHttpVersion"] = "http2".into()),
    ("viewers over https", |all| {
        usual(all)["ViewerProtocolPolicy"] = "redirect-to-https".into();
    }),
    ("preflights", |all| {
        let methods = many(&["GET".into(), "HEAD".into(), "OPTIONS".into()]);
        usual(all)["AllowedMethods"] = methods.clone();
        usual(all)["AllowedMethods"]["CachedMethods"] = methods;
    }),
    ("all methods", |all| {
        usual(all)["AllowedMethods"] = many(&ALL_METHODS.map(Value::from));
    }),
    ("compressed", |all| usual(all)["Compress"] = true.into()),
    ("key group", |all| {
        usual(all)["TrustedKeyGroups"] =
            json!({ "Enabled": true, "Quantity": 1, "Items": ["group-1"] });
    }),
    ("own policy", |all| usual(all)["CachePolicyId"] = "own-cache".into()),
    ("policy without codings", |all| {
        usual(all)["CachePolicyId"] = "4135ea2d-6df8-44a3-9df3-4b5a84be39ad".into();
    }),
    ("managed request policy", |all| {
        usual(all)["OriginRequestPolicyId"] = "216adef6-5c7f-47e4-b989-5492eafa07d3".into();
    }),
    ("own request policy", |all| usual(all)["OriginRequestPolicyId"] = "own-request".into()),
    ("managed response policy", |all| {
        usual(all)["ResponseHeadersPolicyId"] = "67f7725c-6f97-4210-82d7-5512b31e9d03".into();
    }),
    ("own response policy", |all| {
        usual(all)["ResponseHeadersPolicyId"] = "own-response".into();
    }),
    ("legacy settings", |all| {
        let behavior = usual(all).as_object_mut().unwrap();
        behavior.remove("CachePolicyId");
        behavior.remove("OriginRequestPolicyId");
        behavior.insert("MinTTL".into(), 1.into());
        behavior.insert("DefaultTTL".into(), 2.into());
        behavior.insert("MaxTTL".into(), 3.into());
        let values = json!({ "QueryString": true,
            "QueryStringCacheKeys": { "Quantity": 1, "Items": ["page"] },
            "Cookies": { "Forward": "whitelist", "WhitelistedNames": { "Quantity": 1, "Items": ["sid"] } },
            "Headers": { "Quantity": 1, "Items": ["Origin"] } });
        behavior.insert("ForwardedValues".into(), values);
    }),
    ("grpc", |all| {
        usual(all)["AllowedMethods"] = many(&ALL_METHODS.map(Value::from));
        usual(all)["GrpcConfig"] = json!({ "Enabled": true });
    }),
    ("a bucket", |all| {
        *origin(all) = json!({ "Id": "o", "DomainName": "b.s3.us-east-1.amazonaws.com",
            "S3OriginConfig": { "OriginAccessIdentity": "", "OriginReadTimeout": 60 } });
    }),
    ("a group", |all| {
        let second = json!({ "Id": "p", "DomainName": "second.example.com",
            "CustomOriginConfig": { "HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only" } });
        let first = origin(all).clone();
        all["Origins"] = many(&[first, second]);
        let members = many(&[json!({ "OriginId": "o" }), json!({ "OriginId": "p" })]);
        all["OriginGroups"] = many(&[json!({ "Id": "g", "Members": members,
            "FailoverCriteria": { "StatusCodes": { "Quantity": 2, "Items": [500, 502] } } })]);
        usual(all)["TargetOriginId"] = "g".into();
    }),
    ("more behaviors", |all| {
        let one = |path: &str, compress: bool| {
            json!({ "PathPattern": path, "TargetOriginId": "o",
            "ViewerProtocolPolicy": "https-only", "CachePolicyId": "own-cache", "Compress": compress })
        };
        all["CacheBehaviors"] = many(&[one("/img/*", true), one("*.css", false)]);
    }),
];

fn config(which: &[usize]) -> Value {
    let mut config = json!({
        "CallerReference": "r", "Comment": "", "Enabled": true,
        "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "DomainName": "origin.example.com",
            "CustomOriginConfig": { "HTTPPort": 80, "HTTPSPort": 443, "OriginProtocolPolicy": "https-only" } }] },
        "DefaultCacheBehavior": { "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": OPTIMIZED },
    });
    for at in which {
        CHANGES[*at].1(&mut config);
    }
    defaults::distribution(&mut config);
    config
}

fn vector(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/cloudfront").join(name);
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

/// Documents that distributions name: what the API calls their kind, their id and configuration.
fn named() -> Vec<(Kind, &'static str, String, Value)> {
    let cache = json!({ "Name": "cache", "Comment": "", "MinTTL": 1, "DefaultTTL": 60, "MaxTTL": 600,
        "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": true, "EnableAcceptEncodingBrotli": true,
            "HeadersConfig": { "HeaderBehavior": "whitelist", "Headers": { "Quantity": 1, "Items": ["Origin"] } },
            "CookiesConfig": { "CookieBehavior": "none" }, "QueryStringsConfig": { "QueryStringBehavior": "all" } } });
    let request = json!({ "Name": "request", "Comment": "",
        "HeadersConfig": { "HeaderBehavior": "allViewerAndWhitelistCloudFront",
            "Headers": { "Quantity": 1, "Items": ["CloudFront-Viewer-Country"] } },
        "CookiesConfig": { "CookieBehavior": "all" },
        "QueryStringsConfig": { "QueryStringBehavior": "allExcept", "QueryStrings": { "Quantity": 1, "Items": ["utm"] } } });
    let response = json!({ "Name": "response", "Comment": "",
        "ServerTimingHeadersConfig": { "Enabled": true, "SamplingRate": 12.5 },
        "RemoveHeadersConfig": { "Quantity": 1, "Items": [{ "Header": "X-C" }] },
        "CustomHeadersConfig": { "Quantity": 1, "Items": [{ "Header": "X-B", "Value": "b", "Override": false }] } });
    let text = |value: &Value| value.as_str().unwrap().to_string();
    let (key, group) = (vector("public-key.json"), vector("key-group.json"));
    vec![
        (Kind::CachePolicy, "CachePolicy", "own-cache".into(), cache),
        (Kind::OriginRequestPolicy, "OriginRequestPolicy", "own-request".into(), request),
        (Kind::ResponseHeadersPolicy, "ResponseHeadersPolicy", "own-response".into(), response),
        (
            Kind::PublicKey,
            "PublicKey",
            text(&key["PublicKey"]["Id"]),
            key["PublicKey"]["PublicKeyConfig"].clone(),
        ),
        (
            Kind::KeyGroup,
            "KeyGroup",
            text(&group["KeyGroup"]["Id"]),
            group["KeyGroup"]["KeyGroupConfig"].clone(),
        ),
    ]
}

// As the API made it; `None` where it refuses it.
fn made(config: &Value) -> Option<Distribution> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    let text = "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[api]\n";
    std::fs::write(&path, text).unwrap();
    let mut all = Documents::default();
    for (kind, _, id, config) in named() {
        all.put(kind, Document::new(id, config, 0));
    }
    let domain = "d0123456789abc.cloudfront.net".to_string();
    let document = Document { domain, ..Document::new("E1", config.clone(), 0) };
    all.put(Kind::Distribution, document);
    let loaded = config::load_with(&path, NOW, MissingCertificates::Done, Some(&all)).ok()?;
    loaded.site.distributions.first().map(|one| Distribution::clone(one))
}

// As it is taken in from what the API tells.
fn imported(config: &Value) -> Distribution {
    let mut inputs = vec![Input {
        name: "distribution.json".into(),
        json: json!({ "ETag": "E1", "DistributionConfig": config }),
    }];
    for (_, word, id, config) in named() {
        let mut whole = json!({ "Id": id });
        whole[format!("{word}Config")] = config;
        let name = format!("{word}.json");
        inputs.push(Input { name, json: json!({ "ETag": "E1", word: whole }) });
    }
    let imported = import::import(inputs, &Wishes::default()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("imported.toml");
    std::fs::write(&path, imported.toml()).unwrap();
    for (name, text) in &imported.files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    let loaded = config::load(&path, NOW, MissingCertificates::Pending)
        .unwrap_or_else(|report| panic!("{}\n{}", report.render(false), imported.toml()));
    Distribution::clone(&loaded.site.distributions[0])
}

// Without what an import cannot know: its id and the name that it was given, which names policies
// go by, and that its origins were chosen by a caller.
fn bare(mut one: Distribution) -> String {
    one.id.clear();
    one.compat.cloudfront = None;
    one.hosts.retain(|host| host != "*" && !host.ends_with(".cloudfront.net"));
    if one.versions == HttpVersions::Spoken {
        one.versions = HttpVersions::Http2;
    }
    let open = |origin: &mut Origin| {
        if let OriginKind::Http(http) = &mut origin.kind {
            http.reach = Reach::default();
        }
    };
    let mut told = String::new();
    for origin in &mut one.origins {
        let origin = Arc::make_mut(origin);
        open(origin);
        if let Some(clear) = &mut origin.clear {
            open(Arc::make_mut(clear));
        }
        let fields = origin.headers.iter().map(|(name, value)| (name, value.expose()));
        told += &format!("{:?}\n", fields.collect::<Vec<_>>());
    }
    for behavior in &mut one.behaviors {
        Arc::make_mut(&mut behavior.cache).name.clear();
        Arc::make_mut(&mut behavior.origin_request).name.clear();
        if let Some(response) = &mut behavior.response {
            Arc::make_mut(response).name.clear();
        }
    }
    told + &format!("{one:#?}")
}

fn names(which: &[usize]) -> Vec<&'static str> {
    which.iter().map(|at| CHANGES[*at].0).collect()
}

#[test]
fn each_setting_is_taken_in_as_the_api_has_it() {
    for (at, (name, ..)) in CHANGES.iter().enumerate() {
        let config = config(&[at]);
        let made = made(&config).unwrap_or_else(|| panic!("{name} is refused"));
        pretty(&bare(imported(&config)), &bare(made), &names(&[at]));
    }
}

// The first line that differs, for a reader.
fn pretty(imported: &str, made: &str, names: &[&str]) {
    let differs = imported.lines().zip(made.lines()).find(|(one, other)| one != other);
    assert_eq!(imported, made, "{names:?}: imported and made differ first in {differs:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn settings_together_are_taken_in_as_the_api_has_them(
        which in proptest::sample::subsequence((0..CHANGES.len()).collect::<Vec<_>>(), 0..8),
    ) {
        let config = config(&which);
        // Some do not go together, as calls of gRPC and an origin in clear text.
        if let Some(made) = made(&config) {
            pretty(&bare(imported(&config)), &bare(made), &names(&which));
        }
    }
}
