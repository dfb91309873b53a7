//! Imports of what people have: files in many shapes, values that the configuration refuses, and
//! each value of the API's model.

use std::path::Path;

use foreshore::cloudfront::import::{self, Functions, Input, Wishes};
use foreshore::cloudfront::report::Rank;
use serde_json::{Value, json};

use super::support::edge::command;

/// Where a value may stand in a distribution, its type, and the words of an enumeration.
struct Leaf {
    place: &'static str,
    kind: &'static str,
    words: Vec<&'static str>,
}

fn leaves() -> Vec<Leaf> {
    let lines = include_str!("../vectors/cloudfront/distribution-leaves.txt")
        .lines()
        .filter(|line| !line.starts_with('#'));
    let leaf = |line: &'static str| {
        let mut parts = line.split(' ');
        let (place, kind) = (parts.next().unwrap(), parts.next().unwrap());
        Leaf {
            place,
            kind,
            words: parts.next().map(|words| words.split(',').collect()).unwrap_or_default(),
        }
    };
    lines.map(leaf).collect()
}

// Puts a value where a place says, making what is missing on the way.
fn put(root: &mut Value, place: &str, value: Value) {
    let mut at = root;
    for key in place.split('/').skip(1) {
        at = if key == "0" {
            if at.is_null() {
                *at = json!([null]);
            }
            &mut at[0]
        } else {
            if at.is_null() {
                *at = json!({});
            }
            &mut at[key]
        };
    }
    *at = value;
}

// What stands in a leaf by default: something that is found again.
fn usual(number: usize, leaf: &Leaf) -> Value {
    match (leaf.kind, &leaf.words[..]) {
        ("boolean", _) => true.into(),
        ("string", [.., last]) => (*last).into(),
        ("string", []) => match leaf.place {
            "/Origins/Items/0/OriginPath" | "/CustomErrorResponses/Items/0/ResponsePagePath" => {
                format!("/mark{number:03}").into()
            }
            _ => format!("mark{number:03}").into(),
        },
        _ if leaf.place.ends_with("/ErrorCode") => 404.into(),
        _ => (1000 + number).into(),
    }
}

// How a value shows itself in the configuration or the report, where it is not by itself. Empty: it
// is what happens here anyway.
fn sign(leaf: &Leaf, value: &Value) -> Option<&'static str> {
    let name = leaf.place.rsplit('/').next().unwrap_or("");
    let parent = leaf.place.rsplit('/').nth(1).unwrap_or("");
    Some(match (parent, name, value.as_str()) {
        (_, "Quantity", _) | ("", "Enabled", _) => "",
        ("TrustedSigners" | "TrustedKeyGroups", "Enabled", _) => {
            "trusted_key_groups = [\"nobody\"]"
        }
        ("OriginShield", "Enabled", _) => "Origin Shield",
        ("Logging", "Enabled", _) => "standard = {",
        ("GrpcConfig", "Enabled", _) => "grpc = true",
        (_, "IncludeCookies", _) => "cookies = \"include\"",
        // With a cache policy it is that which says what is compressed.
        (_, "Compress", _) => "",
        (_, "OriginProtocolPolicy", Some("http-only")) => "url = \"http://",
        (_, "OriginProtocolPolicy", Some("https-only")) => "url = \"https://",
        (_, "OriginProtocolPolicy", Some("match-viewer")) => "match_viewer = true",
        ("Items", "0", Some("TLSv1.2" | "GET" | "HEAD")) => "",
        ("Items", "0", Some("PUT" | "PATCH" | "POST" | "DELETE"))
            if !leaf.place.contains("CachedMethods") =>
        {
            "methods = \"all\""
        }
        ("Items", "0", Some("OPTIONS")) if leaf.place.contains("CachedMethods") => {
            "cache_options = true"
        }
        (_, "SelectionCriteria", Some("default")) => "",
        (_, "PriceClass", Some("PriceClass_All")) => "",
        (_, "SSLSupportMethod", Some("sni-only")) => "",
        (_, "HttpVersion", Some("http2")) => "",
        (_, "OriginHttpVersion", Some("http1.1")) => "",
        (_, "ConnectionMode", Some("direct")) => "",
        (_, "RestrictionType", Some("none")) => "",
        (_, "RestrictionType", Some("blacklist")) => "geo_restriction = { except =",
        (_, "RestrictionType", Some("whitelist")) => "geo_restriction = { only =",
        (_, "Mode", Some(_)) => "ViewerMtlsConfig: Mode = ",
        ("Cookies", "Forward", Some(_)) => "cookies",
        ("ForwardedValues", "QueryString", _) => "query",
        _ => return None,
    })
}

fn imported(config: Value, functions: Functions) -> (String, String) {
    let wishes = Wishes { functions, ..Wishes::default() };
    let imported = import::import(
        vec![Input { name: "d.json".into(), json: json!({ "DistributionConfig": config }) }],
        &wishes,
    )
    .unwrap();
    let toml = imported.toml();
    // Without its seal, which has any digits.
    (toml.split_once('\n').unwrap().1.to_string(), imported.report.render())
}

// Fills all leaves but those of these branches, each leaf by `usual` but one.
fn filled(but: &[&str], one: Option<(usize, &str)>) -> (Value, Vec<(usize, Leaf, Value)>) {
    let (mut config, mut put_there) = (Value::Null, Vec::new());
    for (number, leaf) in leaves().into_iter().enumerate() {
        if but.iter().any(|branch| leaf.place.contains(branch)) {
            continue;
        }
        let value = match one {
            Some((at, word)) if at == number => word.into(),
            _ => usual(number, &leaf),
        };
        put(&mut config, leaf.place, value.clone());
        put_there.push((number, leaf, value));
    }
    (config, put_there)
}

fn demand_all(but: &[&str], one: Option<(usize, &str)>) {
    let (config, put_there) = filled(but, one);
    let (toml, told) = imported(config, Functions::Guard);
    for (number, leaf, value) in
        put_there.iter().filter(|(number, ..)| one.is_none_or(|(at, _)| at == *number))
    {
        let shown = match sign(leaf, value) {
            Some(text) => text.to_string(),
            None if leaf.kind == "boolean" => leaf.place.rsplit('/').next().unwrap().to_string(),
            None => value.as_str().map_or_else(|| value.to_string(), String::from),
        };
        let place = leaf.place;
        assert!(
            toml.contains(&shown) || told.contains(&shown),
            "{number} {place} = {value}: no {shown:?} in\n{toml}\n{told}"
        );
    }
}

// Branches that exclude each other at CloudFront.
const POLICIES: [&str; 1] = ["/ForwardedValues/"];
const LEGACY: [&str; 3] = ["/CachePolicyId", "/OriginRequestPolicyId", "/ResponseHeadersPolicyId"];
const KINDS: [[&str; 2]; 3] = [
    ["/S3OriginConfig/", "/VpcOriginConfig/"],
    ["/CustomOriginConfig/", "/VpcOriginConfig/"],
    ["/CustomOriginConfig/", "/S3OriginConfig/"],
];

#[test]
fn no_value_of_the_model_is_dropped_without_a_word() {
    assert!(leaves().len() > 150);
    demand_all(&POLICIES, None);
    demand_all(&LEGACY, None);
    for kind in KINDS {
        demand_all(&[&POLICIES[..], &kind].concat(), None);
        demand_all(&[&LEGACY[..], &kind].concat(), None);
    }
    for (number, leaf) in leaves().iter().enumerate() {
        for word in &leaf.words {
            demand_all(&[&LEGACY[..], &KINDS[0]].concat(), Some((number, *word)));
        }
    }
}

#[test]
fn whatever_the_model_may_hold_loads() {
    for (at, but) in [&POLICIES[..], &LEGACY[..], &[]].into_iter().enumerate() {
        for kind in KINDS {
            let (config, _) = filled(&[but, &kind].concat(), None);
            let folder = tempfile::tempdir().unwrap();
            let told = succeeds(folder.path(), &config, &[]);
            assert!(told.contains("to be done before it serves"), "{at}: {told}");
        }
    }
}

fn succeeds(folder: &Path, config: &Value, more: &[&str]) -> String {
    std::fs::write(folder.join("d.json"), config.to_string()).unwrap();
    let (code, _, told) =
        command(folder, &[&["import", "cloudfront", "d.json"][..], more].concat());
    assert_eq!(code, 0, "{told}\n{config:#}");
    let (code, said, wrong) = command(folder, &["check", "--config", "imported.toml"]);
    assert_eq!(code, 0, "{said}{wrong}");
    told
}

fn small() -> Value {
    json!({
        "Aliases": { "Quantity": 1, "Items": ["www.example.com"] },
        "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "DomainName": "o.test", "CustomOriginConfig": { "OriginProtocolPolicy": "https-only" } }] },
        "DefaultCacheBehavior": {
            "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
        },
    })
}

fn explain(folder: &Path, url: &str, more: &[&str]) -> String {
    command(folder, &[&["explain", "--config", "imported.toml", url][..], more].concat()).1
}

// With all its documents at hand it is carried over; with one of them missing it is not, and that
// is said.
#[test]
fn field_level_encryption_comes_in_whole_or_not_at_all() {
    let mut config = small();
    let behavior = &mut config["DefaultCacheBehavior"];
    behavior["ViewerProtocolPolicy"] = "https-only".into();
    let seven = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"];
    behavior["AllowedMethods"] = json!({ "Quantity": 7, "Items": seven });
    behavior["FieldLevelEncryptionId"] = "C1".into();
    let form = "application/x-www-form-urlencoded";
    let fields = json!({
        "Quantity": 1,
        "Items": [{ "PublicKeyId": "K1", "ProviderId": "shop",
                    "FieldPatterns": { "Quantity": 1, "Items": ["card*"] } }],
    });
    let files = [
        (
            "k.json",
            json!({ "PublicKey": { "Id": "K1", "CreatedTime": "x", "PublicKeyConfig": {
                "CallerReference": "r", "Name": "cards", "EncodedKey": include_str!("../../config/example-fields.pem") } } }),
        ),
        (
            "p.json",
            json!({ "FieldLevelEncryptionProfileList": { "MaxItems": 100, "Quantity": 1, "Items": [
                { "Id": "P1", "LastModifiedTime": "x", "Name": "n", "Comment": "", "EncryptionEntities": fields }] } }),
        ),
        (
            "c.json",
            json!({ "ETag": "E", "FieldLevelEncryption": { "Id": "C1", "LastModifiedTime": "x", "FieldLevelEncryptionConfig": {
                "CallerReference": "r", "Comment": "c",
                "QueryArgProfileConfig": { "ForwardWhenQueryArgProfileIsUnknown": true,
                    "QueryArgProfiles": { "Quantity": 1, "Items": [{ "QueryArg": "express", "ProfileId": "P2" }] } },
                "ContentTypeProfileConfig": { "ForwardWhenContentTypeIsUnknown": false, "ContentTypeProfiles": {
                    "Quantity": 1, "Items": [{ "Format": "URLEncoded", "ProfileId": "P1", "ContentType": form }] } } } } }),
        ),
        (
            "q.json",
            json!({ "FieldLevelEncryptionProfile": { "Id": "P2", "LastModifiedTime": "x", "FieldLevelEncryptionProfileConfig": {
                "Name": "m", "CallerReference": "r", "Comment": "", "EncryptionEntities": fields } } }),
        ),
    ];
    for missing in ["", "k.json", "p.json", "c.json", "q.json"] {
        let folder = tempfile::tempdir().unwrap();
        let there: Vec<&str> =
            files.iter().map(|(name, _)| *name).filter(|name| *name != missing).collect();
        for (name, text) in &files {
            std::fs::write(folder.path().join(name), text.to_string()).unwrap();
        }
        let told = succeeds(folder.path(), &config, &there);
        let text = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
        if !missing.is_empty() {
            assert!(told.contains("field-level encryption C1 is not carried over"), "{told}");
            let mut lines = text.lines().filter(|line| !line.starts_with('#'));
            let parts = ["encryption", "[[public_key]]"];
            assert!(!lines.any(|line| parts.iter().any(|part| line.contains(part))), "{text}");
            continue;
        }
        assert!(!told.contains("not carried over"), "{told}");
        let kind = format!("Content-Type: {form}");
        let post = ["-X", "POST", "-H", &kind];
        let story = explain(folder.path(), "https://www.example.com/pay", &post);
        let want = "card* encrypted by profile \"P1\", suite 0x0478";
        assert!(story.contains(want), "{story}");
        let story = explain(folder.path(), "https://www.example.com/pay?fle-profile=x", &post);
        assert!(story.contains("ForwardedByQueryArgs"), "{story}");
        // And out again, as the API takes it.
        let (code, out, why) =
            command(folder.path(), &["export", "cloudfront", "--config", "imported.toml"]);
        assert_eq!(code, 0, "{why}");
        let out: Value = serde_json::from_str(&out).unwrap();
        let behavior = &out["DistributionConfig"]["DefaultCacheBehavior"];
        assert_eq!(behavior["FieldLevelEncryptionId"], "C1");
        let mut sent = files[2].1["FieldLevelEncryption"]["FieldLevelEncryptionConfig"].clone();
        sent["CallerReference"] = "C1".into();
        sent.as_object_mut().unwrap().remove("Comment");
        let all = &out["FieldLevelEncryption"];
        assert_eq!(all["Configs"]["C1"]["FieldLevelEncryptionConfig"], sent);
        let profile = &all["Profiles"]["P1"]["FieldLevelEncryptionProfileConfig"];
        assert_eq!(profile["EncryptionEntities"], fields);
    }
}

// Each would be refused by the configuration; each becomes a note that names it, and nothing opens
// by it.
#[test]
fn what_the_configuration_refuses_becomes_a_note() {
    for (pointer, value, noted) in [
        ("/Aliases/Items/0", json!("www.*.example.com"), "www.*.example.com"),
        ("/DefaultRootObject", json!("/"), "DefaultRootObject = /"),
        ("/DefaultRootObject", json!("//index.html"), "DefaultRootObject = //index.html"),
        ("/CacheTagConfig", json!({ "HeaderName": "no name" }), "no name"),
        ("/Origins/Items/0/DomainName", json!("not a host"), "not a host"),
        (
            "/Origins/Items/0/DomainName",
            json!({ "Fn::GetAtt": ["Bucket", "DomainName"] }),
            "Fn::GetAtt",
        ),
        ("/Origins/Items/0/OriginPath", json!("/a/../b"), "/a/../b"),
        ("/Origins/Items/0/OriginPath", json!("/a?b"), "/a?b"),
        ("/Origins/Items/0/CustomOriginConfig/HTTPSPort", json!(70000), "70000"),
        (
            "/Origins/Items/0/CustomOriginConfig/OriginReadTimeout",
            json!(0),
            "OriginReadTimeout = 0",
        ),
        ("/Origins/Items/0/ConnectionAttempts", json!(9), "ConnectionAttempts = 9"),
        (
            "/Origins/Items/0/CustomHeaders",
            json!({ "Items": [{ "HeaderName": "Host", "HeaderValue": "x" }] }),
            "the field Host",
        ),
        (
            "/Origins/Items/0/CustomHeaders",
            json!({ "Items": [{ "HeaderName": "X-A", "HeaderValue": "a\u{1}" }] }),
            "the field X-A",
        ),
        (
            "/Origins/Items/1",
            json!({ "Id": "o", "DomainName": "b.test" }),
            "two origins with the id o",
        ),
        ("/Origins", json!({ "Quantity": 0 }), "nothing is said of where it is"),
        (
            "/OriginGroups",
            json!({ "Items": [{ "Id": "g", "Members": { "Items": [{ "OriginId": "o" }] } }] }),
            "its only member",
        ),
        (
            "/OriginGroups",
            json!({ "Items": [{ "Id": "o", "Members": { "Items": [] } }] }),
            "something else has this id",
        ),
        ("/DefaultCacheBehavior/TargetOriginId", json!("lost"), "origin lost"),
        ("/DefaultCacheBehavior/ViewerProtocolPolicy", json!("sometimes"), "sometimes"),
        ("/DefaultCacheBehavior/AllowedMethods", json!({ "Items": ["GET", "TRACE"] }), "TRACE"),
        (
            "/CacheBehaviors",
            json!({ "Items": [{ "PathPattern": "*.{png,jpg}", "TargetOriginId": "o" }] }),
            "*.{png,jpg}",
        ),
        (
            "/CacheBehaviors",
            json!({ "Items": [{ "PathPattern": "*", "TargetOriginId": "o" }] }),
            "",
        ),
        ("/CacheBehaviors", json!({ "Items": [{ "TargetOriginId": "o" }] }), "no PathPattern"),
        (
            "/CacheBehaviors",
            json!({ "Items": [{ "PathPattern": "a".repeat(300), "TargetOriginId": "o" }] }),
            "too long",
        ),
        ("/CustomErrorResponses", json!({ "Items": [{ "ErrorCode": 418 }] }), "418"),
        (
            "/CustomErrorResponses",
            json!({ "Items": [{ "ErrorCode": 404, "ResponsePagePath": "x", "ResponseCode": "200" }] }),
            "page x",
        ),
        (
            "/CustomErrorResponses",
            json!({ "Items": [{ "ErrorCode": 404, "ResponsePagePath": "/x" }] }),
            "page /x",
        ),
        (
            "/CustomErrorResponses",
            json!({ "Items": [{ "ErrorCode": 404, "ErrorCachingMinTTL": u64::MAX }] }),
            "",
        ),
        (
            "/Restrictions",
            json!({ "GeoRestriction": { "RestrictionType": "whitelist", "Items": ["DE", "Germany"] } }),
            "Germany",
        ),
        ("/DefaultCacheBehavior/CachePolicyId", Value::Null, ""),
    ] {
        let mut config = small();
        put_over(&mut config, pointer, value);
        let folder = tempfile::tempdir().unwrap();
        let told = succeeds(folder.path(), &config, &[]);
        assert!(told.contains(noted), "{pointer}: {noted} is not in\n{told}");
    }
}

// As `put`, into what is there; an index may be one more than there are.
fn put_over(root: &mut Value, pointer: &str, value: Value) {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    let parent = root.pointer_mut(parent).unwrap_or_else(|| panic!("{pointer}"));
    match parent.as_array_mut() {
        Some(items) if items.len() == key.parse::<usize>().unwrap() => items.push(value),
        Some(items) => items[key.parse::<usize>().unwrap()] = value,
        None => parent[key] = value,
    }
}

#[test]
fn a_behavior_whose_pattern_is_refused_still_takes_what_was_its() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small();
    config["CacheBehaviors"] = json!({ "Items": [{
        "PathPattern": "/[private]/*", "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all",
        "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad", "TrustedKeyGroups": { "Enabled": true, "Items": ["g"] },
    }] });
    let told = succeeds(folder.path(), &config, &[]);
    assert!(!told.contains("is missing"), "{told}");
    assert!(
        explain(folder.path(), "https://www.example.com/[private]/a", &[]).contains("refused: 403")
    );
    assert!(!explain(folder.path(), "https://www.example.com/public/a", &[]).contains("refused"));
}

#[test]
fn a_function_that_stays_behind_leaves_its_behavior_closed_until_told_otherwise() {
    for (kind, name) in [
        ("FunctionAssociations", "FunctionARN"),
        ("LambdaFunctionAssociations", "LambdaFunctionARN"),
    ] {
        for (event, is_closed) in
            [("viewer-request", true), ("viewer-response", false), ("origin-response", false)]
        {
            let mut config = small();
            config["DefaultCacheBehavior"][kind] =
                json!({ "Items": [{ name: "arn:guard", "EventType": event }] });
            let folder = tempfile::tempdir().unwrap();
            let told = succeeds(folder.path(), &config, &[]);
            assert!(
                told.contains(&format!("the {event} function arn:guard does not run here")),
                "{told}"
            );
            assert_eq!(
                explain(folder.path(), "https://www.example.com/a", &[]).contains("refused: 403"),
                is_closed,
                "{kind} {event}"
            );
            succeeds(folder.path(), &config, &["--ignore-functions"]);
            assert!(
                !explain(folder.path(), "https://www.example.com/a", &[]).contains("refused"),
                "{kind} {event}"
            );
        }
    }
    // Viewers with a valid signature are not let in past the function either; the line that lets
    // them in is there to be taken.
    let mut config = small();
    config["DefaultCacheBehavior"]["FunctionAssociations"] =
        json!({ "Items": [{ "FunctionARN": "f", "EventType": "viewer-request" }] });
    config["DefaultCacheBehavior"]["TrustedKeyGroups"] = json!({ "Enabled": true, "Items": ["g"] });
    let (toml, _) = imported(config, Functions::Guard);
    assert!(
        toml.contains("\ntrusted_key_groups = [\"nobody\"]")
            && toml.contains("\n# trusted_key_groups = [\"g\"]\n"),
        "{toml}"
    );
}

#[test]
fn a_function_whose_code_is_given_guards_its_behavior() {
    let mut config = small();
    let arn = "arn:aws:cloudfront::000000000177:function/guard";
    config["DefaultCacheBehavior"]["FunctionAssociations"] = json!({ "Items": [
        { "FunctionARN": arn, "EventType": "viewer-request" },
        { "FunctionARN": "arn:aws:cloudfront::000000000177:function/other", "EventType": "viewer-response" },
    ] });
    let folder = tempfile::tempdir().unwrap();
    let code = "function handler(event) { return { statusCode: 401, statusDescription: 'No' }; }";
    std::fs::write(folder.path().join("guard.js"), code).unwrap();
    let told = succeeds(folder.path(), &config, &["guard.js"]);
    assert!(
        !told.contains("closed") && told.contains("get-function --name other other.js"),
        "{told}"
    );
    let toml = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
    assert!(
        toml.contains("\n[function.guard]\n")
            && toml.contains("\nfunctions = { viewer_request = \"guard\" }\n"),
        "{toml}"
    );
    let story = explain(folder.path(), "https://www.example.com/a", &[]);
    assert!(story.contains("function guard  answers 401 FunctionGeneratedResponse"), "{story}");
}

// What origins are told may be a secret: it goes into the configuration, which only its owner may
// read, and into no message.
#[test]
fn values_of_origins_fields_are_in_no_message() {
    for headers in [
        json!({ "Items": [{ "HeaderName": "X-Key", "HeaderValue": "hush" }] }),
        json!({ "Items": [{ "HeaderName": "Cookie", "HeaderValue": "hush" }, { "HeaderValue": "hush" }] }),
        json!([{ "HeaderName": { "Ref": "Name" }, "HeaderValue": "hush" }]),
    ] {
        let mut config = small();
        config["Origins"]["Items"][0]["CustomHeaders"] = headers.clone();
        put_over(
            &mut config,
            "/Origins/Items/1",
            json!({ "Id": "o", "DomainName": "b.test", "CustomHeaders": headers }),
        );
        let (_, told) = imported(config, Functions::Guard);
        assert!(told.contains("/CustomHeaders") && !told.contains("hush"), "{told}");
    }
}

#[test]
fn the_report_begins_with_what_keeps_it_from_serving() {
    let mut config = small();
    config["PriceClass"] = "PriceClass_100".into();
    config["IsIPV6Enabled"] = true.into();
    config["HttpVersion"] = "http3".into();
    config["WebACLId"] = "acl".into();
    let imported =
        import::import(vec![Input { name: "d".into(), json: config }], &Wishes::default()).unwrap();
    let of = |rank| imported.report.of(rank).collect::<Vec<_>>().join("\n");
    assert!(of(Rank::BeforeServing).contains("WebACLId") && of(Rank::ToKnow).contains("http3"));
    assert!(of(Rank::Idle).contains("PriceClass_100") && of(Rank::Idle).contains("IsIPV6Enabled"));
    let told = imported.report.render();
    assert!(
        told.find("WebACLId") < told.find("http3") && told.find("http3") < told.find("PriceClass"),
        "{told}"
    );
}

#[test]
fn files_are_taken_as_they_come() {
    let folder = tempfile::tempdir().unwrap();
    let write =
        |name: &str, octets: Vec<u8>| std::fs::write(folder.path().join(name), octets).unwrap();
    let text = json!({ "ETag": "E", "DistributionConfig": small() }).to_string();
    let wide = |unit: fn(u16) -> [u8; 2]| {
        format!("\u{feff}{text}").encode_utf16().flat_map(unit).collect::<Vec<u8>>()
    };
    write("little.json", wide(u16::to_le_bytes));
    write("big.json", wide(u16::to_be_bytes));
    write("marked.json", format!("\u{feff}{text}").into_bytes());
    // As a template has them: lists without Items.
    let mut plain = small();
    plain["Aliases"] = json!(["www.example.com"]);
    plain["Origins"] = small()["Origins"]["Items"].clone();
    plain["DefaultCacheBehavior"]["AllowedMethods"] = json!(["GET", "HEAD", "OPTIONS"]);
    write("plain.json", plain.to_string().into_bytes());
    let mut summary = small();
    summary["Id"] = "E2LIST".into();
    summary["Status"] = "Deployed".into();
    summary["DomainName"] = "d1.cloudfront.net".into();
    write(
        "list.json",
        json!({ "DistributionList": { "Quantity": 1, "Items": [summary.clone()] } })
            .to_string()
            .into_bytes(),
    );
    write("query.json", json!([summary.clone()]).to_string().into_bytes());
    let mut other = summary.clone();
    other["Id"] = "E3LIST".into();
    write(
        "two.json",
        json!({ "DistributionList": { "Quantity": 2, "Items": [summary, other] } })
            .to_string()
            .into_bytes(),
    );
    let import = |args: &[&str]| {
        let (code, _, told) =
            command(folder.path(), &[&["import", "cloudfront"][..], args].concat());
        (
            code,
            told,
            std::fs::read_to_string(folder.path().join("imported.toml")).unwrap_or_default(),
        )
    };
    for name in ["little.json", "big.json", "marked.json", "plain.json", "list.json", "query.json"]
    {
        let (code, told, toml) = import(&[name]);
        assert_eq!(code, 0, "{name}: {told}");
        assert!(
            toml.contains("\"www.example.com\"") && toml.contains("url = \"https://o.test\""),
            "{name}: {toml}"
        );
    }
    let (code, told, _) = import(&["two.json"]);
    assert!(
        code == 1 && told.contains("--distribution") && told.contains("E2LIST, E3LIST"),
        "{told}"
    );
    let (code, told, toml) = import(&["two.json", "--distribution", "E3LIST"]);
    assert!(code == 0 && toml.contains("id = \"E3LIST\""), "{told}");
    // Read again from a file that an editor saved as UTF-16.
    let toml = format!("\u{feff}{toml}").encode_utf16().flat_map(u16::to_le_bytes).collect();
    write("wide.toml", toml);
    let (code, said, wrong) = command(folder.path(), &["check", "--config", "wide.toml"]);
    assert_eq!(code, 0, "{said}{wrong}");
}

#[test]
fn what_lies_beside_a_distribution_is_found_in_every_shape() {
    let policy = json!({ "Name": "mine", "MinTTL": 7, "ParametersInCacheKeyAndForwardedToOrigin": { "QueryStringsConfig": { "QueryStringBehavior": "all" } } });
    for beside in [
        json!({ "ETag": "E", "CachePolicy": { "Id": "p-1", "CachePolicyConfig": policy } }),
        json!({ "Id": "p-1", "LastModifiedTime": "now", "CachePolicyConfig": policy }),
        json!({ "ETag": "E", "CachePolicyConfig": policy }),
        json!({ "CachePolicyList": { "MaxItems": 100, "Quantity": 2, "Items": [
            { "Type": "custom", "CachePolicy": { "Id": "p-1", "CachePolicyConfig": policy } },
            { "Type": "custom", "CachePolicy": { "Id": "p-2", "CachePolicyConfig": { "Name": "unused", "MinTTL": 1 } } },
        ] } }),
    ] {
        let mut config = small();
        config["DefaultCacheBehavior"]["CachePolicyId"] = "p-1".into();
        let inputs = vec![
            Input { name: "beside.json".into(), json: beside.clone() },
            Input { name: "strange.json".into(), json: json!({ "Strange": 1 }) },
            Input { name: "d.json".into(), json: config },
        ];
        let imported = import::import(inputs, &Wishes::default()).unwrap();
        let (toml, told) = (imported.toml(), imported.report.render());
        assert!(
            toml.contains("[cache_policy.\"mine\"]\nttl = { min = \"7s\" }"),
            "{beside}\n{toml}\n{told}"
        );
        assert!(
            told.contains("strange.json: nothing that an import reads")
                && !told.contains("not carried over"),
            "{told}"
        );
    }
    // A key group is not guessed by elimination; a file's name may say which id it has.
    for (file, is_found) in [("group.json", false), ("group-77.json", true)] {
        let mut config = small();
        config["DefaultCacheBehavior"]["TrustedKeyGroups"] =
            json!({ "Enabled": true, "Items": ["group-77"] });
        let group = json!({ "KeyGroupConfig": { "Name": "n", "Items": ["K1"] } });
        let inputs = vec![
            Input { name: file.into(), json: group },
            Input { name: "d.json".into(), json: config },
        ];
        let told = import::import(inputs, &Wishes::default()).unwrap().report.render();
        assert_eq!(
            told.contains("public key K1 of key group group-77 is not at hand"),
            is_found,
            "{told}"
        );
    }
    // How requests are signed is said by the access control.
    let mut config = small();
    config["Origins"]["Items"][0] = json!({
        "Id": "o", "DomainName": "b.s3.eu-west-3.amazonaws.com", "S3OriginConfig": { "OriginAccessIdentity": "", "OriginReadTimeout": 60 },
        "OriginAccessControlId": "oac-1",
    });
    let control = json!({ "OriginAccessControl": { "Id": "oac-1", "OriginAccessControlConfig": {
        "Name": "n", "SigningProtocol": "sigv4", "SigningBehavior": "no-override", "OriginAccessControlOriginType": "s3",
    } } });
    let inputs = vec![
        Input { name: "d.json".into(), json: config },
        Input { name: "oac.json".into(), json: control },
    ];
    let imported = import::import(inputs, &Wishes::default()).unwrap();
    let toml = imported.toml();
    assert!(
        toml.contains("sign = \"no-override\", service = \"s3\", region = \"eu-west-3\""),
        "{toml}"
    );
    assert!(toml.contains("timeouts = { response = \"60s\" }"), "{toml}");
}

#[test]
fn templates_say_what_to_run_instead() {
    let folder = tempfile::tempdir().unwrap();
    let template = json!({ "Resources": { "Site": { "Type": "AWS::CloudFront::Distribution", "Properties": { "DistributionConfig": small() } } } });
    std::fs::write(folder.path().join("t.json"), template.to_string()).unwrap();
    std::fs::write(
        folder.path().join("t.yaml"),
        "AWSTemplateFormatVersion: '2010-09-09'\nResources:\n  Site: {}\n",
    )
    .unwrap();
    for name in ["t.json", "t.yaml"] {
        let (code, _, told) = command(folder.path(), &["import", "cloudfront", name]);
        assert!(
            code == 1 && told.contains("template") && told.contains("get-distribution-config"),
            "{told}"
        );
    }
    std::fs::write(folder.path().join("d.json"), small().to_string()).unwrap();
    let (code, _, told) = command(folder.path(), &["import", "cloudfront", "t.json", "d.json"]);
    assert!(code == 0 && told.contains("t.json: a template; passed over"), "{told}");
}

#[test]
fn origins_may_be_here_instead() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("public")).unwrap();
    let mut config = small();
    config["Origins"]["Items"][0]["OriginPath"] = "/stage".into();
    config["Origins"]["Items"][0]["OriginAccessControlId"] = "oac".into();
    let second = json!({ "Id": "a=b", "DomainName": "x.test", "CustomHeaders": { "Items": [{ "HeaderName": "X-Key", "HeaderValue": "k" }] } });
    put_over(&mut config, "/Origins/Items/1", second);
    let url = |id: &str| {
        let toml: toml::Table =
            std::fs::read_to_string(folder.path().join("imported.toml")).unwrap().parse().unwrap();
        let origins = toml["distribution"][0]["origin"].as_array().unwrap().clone();
        origins.iter().find(|one| one["id"].as_str() == Some(id)).unwrap()["url"]
            .as_str()
            .unwrap()
            .to_string()
    };
    succeeds(
        folder.path(),
        &config,
        &["--origin", "o=http://127.0.0.1:3000", "--origin", "a=b=file:public"],
    );
    assert_eq!(url("o"), "http://127.0.0.1:3000/stage");
    assert!(url("a=b").starts_with("file:/") && url("a=b").ends_with("/public"));
    succeeds(
        folder.path(),
        &config,
        &["--origin", "*=http://127.0.0.1:3000/", "--origin", "a=b=http://127.0.0.1:4000"],
    );
    assert_eq!(
        (url("o").as_str(), url("a=b").as_str()),
        ("http://127.0.0.1:3000/", "http://127.0.0.1:4000")
    );
    for (wrong, why) in [
        ("x=http://h.test", "there is o, a=b"),
        ("o=gopher://h.test", "ID=URL"),
        ("o=file:nowhere", "is not a folder"),
    ] {
        let (code, _, told) = command(
            folder.path(),
            &["import", "cloudfront", "d.json", "--origin", wrong, "--out", "other.toml"],
        );
        assert!(
            code != 0 && told.contains(why) && !folder.path().join("other.toml").exists(),
            "{wrong}: {told}"
        );
    }
}

// CloudFront's table of request header fields, under settings from before there were policies.
#[test]
fn legacy_settings_send_on_what_cloudfronts_do() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = small();
    config["DefaultCacheBehavior"] = json!({
        "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all", "MinTTL": 0,
        "AllowedMethods": { "Items": ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"] },
        "ForwardedValues": { "QueryString": false, "Cookies": { "Forward": "none" }, "Headers": { "Items": ["Accept-Language"] } },
    });
    let told = succeeds(folder.path(), &config, &[]);
    assert!(told.contains("reach the origin and are in no key"), "{told}");
    let sent = [
        "X-Api-Key: k",
        "Accept-Language: de",
        "Accept: x/y",
        "Referer: http://r.test/",
        "User-Agent: curl",
        "Cookie: a=1",
        "Authorization: Bearer t",
    ];
    let fields: Vec<&str> = sent.iter().flat_map(|field| ["-H", *field]).collect();
    let sees = |method: &str| {
        explain(
            folder.path(),
            "https://www.example.com/a",
            &[&["-X", method][..], &fields[..]].concat(),
        )
        .to_ascii_lowercase()
    };
    for (method, has_authorization) in [
        ("GET", false),
        ("HEAD", false),
        ("POST", true),
        ("PUT", true),
        ("PATCH", true),
        ("DELETE", true),
    ] {
        let story = sees(method);
        for field in ["x-api-key: k", "accept-language: de"] {
            assert!(story.contains(field), "{method}: {field} is not in\n{story}");
        }
        for field in ["accept: x/y", "referer: ", "user-agent: curl", "cookie: a=1"] {
            assert!(!story.contains(field), "{method}: {field} is in\n{story}");
        }
        assert_eq!(story.contains("authorization: "), has_authorization, "{method}\n{story}");
    }
    // Nothing is kept where everything is forwarded, so nothing is risked.
    config["DefaultCacheBehavior"]["ForwardedValues"]["Headers"] = json!({ "Items": ["*"] });
    assert!(!succeeds(folder.path(), &config, &[]).contains("in no key"));
}

// Both ways: the origin is asked over HTTP/2 because calls go to it, and one in clear text is not.
#[test]
fn calls_of_grpc_come_in_and_go_out() {
    let mut config = small();
    let methods = ["GET", "HEAD", "OPTIONS", "PUT", "POST", "PATCH", "DELETE"];
    let behavior = |target: &str, path: &str| {
        json!({
            "PathPattern": path, "TargetOriginId": target, "ViewerProtocolPolicy": "https-only",
            "CachePolicyId": "4135ea2d-6df8-44a3-9df3-4b5a84be39ad",
            "AllowedMethods": { "Quantity": 7, "Items": methods },
            "GrpcConfig": { "Enabled": true },
        })
    };
    put_over(
        &mut config,
        "/CacheBehaviors",
        json!({ "Items": [behavior("o", "/a.B/*"), behavior("clear", "/c.D/*")] }),
    );
    put_over(
        &mut config,
        "/Origins/Items/1",
        json!({ "Id": "clear", "DomainName": "c.test", "CustomOriginConfig": { "OriginProtocolPolicy": "http-only" } }),
    );
    let folder = tempfile::tempdir().unwrap();
    let told = succeeds(folder.path(), &config, &[]);
    let toml = std::fs::read_to_string(folder.path().join("imported.toml")).unwrap();
    assert_eq!(toml.matches("\ngrpc = true\n").count(), 1, "{toml}");
    assert_eq!(toml.matches("\nhttp_version = \"http2\"\n").count(), 1, "{toml}");
    assert!(told.contains("/c.D/*: GrpcConfig"), "{told}");
    let (code, out, told) =
        command(folder.path(), &["export", "cloudfront", "--config", "imported.toml"]);
    assert_eq!(code, 0, "{told}");
    let out: Value = serde_json::from_str(&out).unwrap();
    let behaviors = &out["DistributionConfig"]["CacheBehaviors"]["Items"];
    assert_eq!(behaviors[0]["GrpcConfig"]["Enabled"], true, "{behaviors:#}");
    assert_eq!(behaviors[1]["GrpcConfig"], Value::Null, "{behaviors:#}");
}
