//! Pure: what a distribution that came by the API may not ask for, because it would not be obeyed.
//! Each is refused by the name of its field.

use serde_json::{Map, Value};

use super::import_behaviors::{name_of, realtime_log_of};
use crate::distribution::functions::LambdaArn;
use crate::documents::shelf::Kind;

/// Why a document is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unfit {
    /// The API's code.
    pub code: &'static str,
    pub message: String,
}

impl Unfit {
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

/// The value under some keys, from the outside in.
pub fn at<'v>(value: &'v Value, path: &[&str]) -> Option<&'v Value> {
    path.iter().try_fold(value, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// The text under some keys; empty where there is none.
pub fn text<'v>(value: &'v Value, path: &[&str]) -> &'v str {
    at(value, path).and_then(Value::as_str).unwrap_or("")
}

/// Says whether something is true under some keys.
pub fn is(value: &Value, path: &[&str]) -> bool {
    at(value, path).and_then(Value::as_bool).unwrap_or(false)
}

/// The items of `{ Quantity, Items }` under some keys.
pub fn items<'v>(value: &'v Value, path: &[&str]) -> &'v [Value] {
    let list = at(value, path).and_then(|list| list.get("Items")).and_then(Value::as_array);
    list.map(Vec::as_slice).unwrap_or_default()
}

/// The texts of such a list.
pub fn texts<'v>(value: &'v Value, path: &[&str]) -> Vec<&'v str> {
    items(value, path).iter().filter_map(Value::as_str).collect()
}

/// All behaviors with the place of each, the default one first.
pub fn behaviors(config: &Value) -> Vec<(String, &Value)> {
    let usual = config.get("DefaultCacheBehavior").map(|one| ("DefaultCacheBehavior".into(), one));
    let more = items(config, &["CacheBehaviors"]).iter().enumerate();
    usual
        .into_iter()
        .chain(more.map(|(at, one)| (format!("CacheBehaviors.Items[{at}]"), one)))
        .collect()
}

/// All origins with the place of each.
pub fn origins(config: &Value) -> Vec<(String, &Value)> {
    let all = items(config, &["Origins"]).iter().enumerate();
    all.map(|(at, one)| (format!("Origins.Items[{at}]"), one)).collect()
}

/// Looks for what would not be obeyed.
pub fn check(config: &Value) -> Result<(), Unfit> {
    refuse_if(
        !text(config, &["AnycastIpListId"]).is_empty(),
        "AnycastIpListId",
        "addresses are those of this machine",
    )?;
    staging(config)?;
    let mode = text(config, &["ConnectionMode"]);
    refuse_if(
        !matches!(mode, "" | "direct"),
        "ConnectionMode",
        &format!("{mode} is not served; a distribution serves its own hosts"),
    )?;
    let version = text(config, &["HttpVersion"]);
    let calls = behaviors(config).into_iter().find(|(_, one)| is(one, &["GrpcConfig", "Enabled"]));
    if let Some((place, _)) = calls.filter(|_| matches!(version, "http1.1" | "http3")) {
        let why =
            format!("calls of gRPC come over HTTP/2, which HttpVersion = {version} leaves out");
        refuse_if(true, &format!("{place}.GrpcConfig"), &why)?;
    }
    for (key, why) in [
        ("TenantConfig", "there are no tenants here"),
        ("ConnectionFunctionAssociation", "no function runs in a handshake"),
    ] {
        let says = at(config, &[key])
            .is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()));
        refuse_if(says, key, why)?;
    }
    viewers_certificates(config)?;
    let support = text(config, &["ViewerCertificate", "SSLSupportMethod"]);
    let is_usual = is(config, &["ViewerCertificate", "CloudFrontDefaultCertificate"]);
    refuse_if(
        !(matches!(support, "" | "sni-only") || support == "vip" && is_usual),
        "ViewerCertificate.SSLSupportMethod",
        &format!("{support}: no address is kept for one certificate alone"),
    )?;
    if text(config, &["DefaultRootObject"]).starts_with('/') {
        return Err(Unfit::new(
            "InvalidDefaultRootObject",
            "DefaultRootObject: it is named without a slash in front.",
        ));
    }
    origins(config).iter().try_for_each(|(place, one)| origin(place, one))?;
    behaviors(config).iter().try_for_each(|(place, one)| {
        behavior(place, one)?;
        encrypts_fields(config, place, one)
    })
}

fn refuse_if(is: bool, place: &str, why: &str) -> Result<(), Unfit> {
    if is { Err(Unfit::new("InvalidArgument", format!("{place}: {why}."))) } else { Ok(()) }
}

// A staging distribution is reached by the viewers of another one alone.
fn staging(config: &Value) -> Result<(), Unfit> {
    let is_staging = is(config, &["Staging"]);
    refuse_if(
        is_staging && !text(config, &["ContinuousDeploymentPolicyId"]).is_empty(),
        "ContinuousDeploymentPolicyId",
        "it is the primary distribution that names a policy",
    )?;
    refuse_if(
        is_staging && !items(config, &["Aliases"]).is_empty(),
        "Aliases",
        "a staging distribution has none; it shares its primary one's",
    )
}

// A rule that verifies names whom it believes, and one that does not names nothing.
fn viewers_certificates(config: &Value) -> Result<(), Unfit> {
    let Some(rule) = at(config, &["ViewerMtlsConfig"]) else { return Ok(()) };
    if rule.as_object().is_some_and(Map::is_empty) {
        return Ok(());
    }
    let store = "TrustStoreConfig";
    let is_named = !text(rule, &[store, "TrustStoreId"]).is_empty();
    let is_passed = text(rule, &["Mode"]) == "passthrough";
    let says = is_named
        || is(rule, &[store, "AdvertiseTrustStoreCaNames"])
        || is(rule, &[store, "IgnoreCertificateExpiry"]);
    refuse_if(
        is_passed && says,
        "ViewerMtlsConfig.TrustStoreConfig",
        "passthrough verifies nothing, so this means nothing",
    )?;
    refuse_if(
        !is_passed && !is_named,
        "ViewerMtlsConfig.TrustStoreConfig.TrustStoreId",
        "a rule that verifies names a trust store",
    )
}

fn origin(place: &str, one: &Value) -> Result<(), Unfit> {
    let named = |key: &str| format!("{place}.{key}");
    refuse_if(
        at(one, &["VpcOriginConfig"]).is_some(),
        &named("VpcOriginConfig"),
        "there is no VPC here; name the address as a custom origin",
    )?;
    let name = text(one, &["DomainName"]);
    refuse_if(
        name.contains('/'),
        &named("DomainName"),
        &format!("{name:?} is no domain name; it is said without a scheme and without a path"),
    )?;
    let path = text(one, &["OriginPath"]);
    if !path.is_empty() && !path.starts_with('/') {
        let why = format!("{}: {path:?} does not begin with a slash.", named("OriginPath"));
        return Err(Unfit::new("InvalidRelativePath", why));
    }
    let number = |path: &[&str]| at(one, path).and_then(Value::as_u64).filter(|n| *n > 0);
    let read = number(&["CustomOriginConfig", "OriginReadTimeout"])
        .or_else(|| number(&["S3OriginConfig", "OriginReadTimeout"]))
        .unwrap_or(30);
    refuse_if(
        number(&["ResponseCompletionTimeout"]).is_some_and(|whole| whole < read),
        &named("ResponseCompletionTimeout"),
        &format!("it is shorter than OriginReadTimeout, {read}"),
    )?;
    let custom = "CustomOriginConfig";
    let policy = text(one, &[custom, "OriginProtocolPolicy"]);
    // It says what may be spoken; CloudFront speaks the best of it that the origin speaks.
    let may = texts(one, &[custom, "OriginSslProtocols"]);
    refuse_if(
        policy != "http-only" && !may.is_empty() && !may.contains(&"TLSv1.2"),
        &named("CustomOriginConfig.OriginSslProtocols"),
        &format!("{} is not spoken to origins; TLSv1.2 and later are", may.join(", ")),
    )?;
    refuse_if(
        at(one, &[custom, "OriginMtlsConfig"]).is_some() && policy == "http-only",
        &named("CustomOriginConfig.OriginMtlsConfig"),
        "an origin that is asked over http sees no certificate",
    )
}

// An origin is a bucket or a server. The words are AWS's, which tools compare.
fn kind_of_origin(one: &Value) -> Result<(), Unfit> {
    let has = |key: &str| at(one, &[key]).is_some();
    match (has("S3OriginConfig"), has("CustomOriginConfig")) {
        (false, false) => Err(Unfit::new(
            "InvalidOrigin",
            "The specified origin server does not exist or is not valid.",
        )),
        (true, true) => Err(Unfit::new(
            "IllegalUpdate",
            "You must specify either a CustomOrigin or an S3Origin. You cannot specify both.",
        )),
        // A bucket's website is a server, and speaks no TLS.
        (true, false) if text(one, &["DomainName"]).contains(".s3-website") => Err(Unfit::new(
            "InvalidArgument",
            "The parameter Origin DomainName does not refer to a valid S3 bucket.",
        )),
        _ => Ok(()),
    }
}

// How long a behavior or a policy keeps answers, as far as it says; each has its own code for it.
fn lifetimes(one: &Value, code: &'static str) -> Result<(), Unfit> {
    let said =
        ["MinTTL", "DefaultTTL", "MaxTTL"].map(|key| at(one, &[key]).and_then(Value::as_u64));
    if said.into_iter().flatten().is_sorted() {
        return Ok(());
    }
    Err(Unfit::new(
        code,
        "MinTTL, MaxTTL and DefaultTTL should follow order MinTTL less than or equal to DefaultTTL less than or equal to MaxTTL",
    ))
}

/// Says what CloudFront refuses of a new document or of a change, and what is served all the same
/// where it was taken before it was refused here.
pub fn check_change(kind: Kind, config: &Value) -> Result<(), Unfit> {
    match kind {
        Kind::CachePolicy => lifetimes(config, "InvalidArgument"),
        Kind::Distribution => {
            origins(config).iter().try_for_each(|(_, one)| kind_of_origin(one))?;
            let all = behaviors(config);
            let mut own = all.iter().filter(|(_, one)| text(one, &["CachePolicyId"]).is_empty());
            own.try_for_each(|(_, one)| lifetimes(one, "InvalidTTLOrder"))
        }
        _ => Ok(()),
    }
}

/// The sets of methods that a behavior may allow, each sorted.
const SETS: [&[&str]; 3] = [
    &["GET", "HEAD"],
    &["GET", "HEAD", "OPTIONS"],
    &["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"],
];

fn behavior(place: &str, one: &Value) -> Result<(), Unfit> {
    let refuse_if = |is: bool, key: &str, why: &str| refuse_if(is, &format!("{place}.{key}"), why);
    let mut allowed = texts(one, &["AllowedMethods"]);
    allowed.sort_unstable();
    refuse_if(
        !allowed.is_empty() && !SETS.contains(&&allowed[..]),
        "AllowedMethods",
        "it is GET and HEAD, these and OPTIONS, or all seven",
    )?;
    let cached = texts(one, &["AllowedMethods", "CachedMethods"]);
    refuse_if(
        cached.contains(&"OPTIONS") && !allowed.contains(&"OPTIONS"),
        "AllowedMethods.CachedMethods",
        "OPTIONS is not allowed",
    )?;
    refuse_if(is(one, &["SmoothStreaming"]), "SmoothStreaming", "it is not done")?;
    refuse_if(
        is(one, &["TrustedSigners", "Enabled"]) || !items(one, &["TrustedSigners"]).is_empty(),
        "TrustedSigners",
        "accounts are unknown here; name key groups in TrustedKeyGroups",
    )?;
    let groups = items(one, &["TrustedKeyGroups"]);
    refuse_if(
        is(one, &["TrustedKeyGroups", "Enabled"]) == groups.is_empty(),
        "TrustedKeyGroups",
        "Enabled and the groups do not agree",
    )?;
    functions(place, one)?;
    lambdas(place, one)?;
    let log = text(one, &["RealtimeLogConfigArn"]);
    refuse_if(
        !log.is_empty() && realtime_log_of(log).is_none(),
        "RealtimeLogConfigArn",
        "this is no ARN of a real-time log configuration",
    )?;
    refuse_if(
        is(one, &["GrpcConfig", "Enabled"]) && !allowed.contains(&"POST"),
        "GrpcConfig",
        "calls of gRPC are POST, which AllowedMethods leaves out",
    )?;
    let has_policy = !text(one, &["CachePolicyId"]).is_empty();
    let legacy = ["ForwardedValues", "MinTTL", "DefaultTTL", "MaxTTL"];
    let says = |key: &str| at(one, &[key]).is_some_and(|value| value.as_u64() != Some(0));
    if let Some(key) = legacy.iter().copied().find(|key| has_policy && says(key)) {
        refuse_if(true, key, "it is the cache policy that says this, where there is one")?;
    }
    refuse_if(
        !has_policy && at(one, &["ForwardedValues"]).is_none(),
        "CachePolicyId",
        "a cache policy or ForwardedValues is needed",
    )
}

// Where fields are encrypted, they come and go over TLS, and forms may come at all.
fn encrypts_fields(config: &Value, place: &str, one: &Value) -> Result<(), Unfit> {
    if text(one, &["FieldLevelEncryptionId"]).is_empty() {
        return Ok(());
    }
    let target = text(one, &["TargetOriginId"]);
    let group = items(config, &["OriginGroups"]).iter().find(|one| text(one, &["Id"]) == target);
    let members = group.map(|group| items(group, &["Members"])).unwrap_or_default();
    let mut asked: Vec<&str> = members.iter().map(|one| text(one, &["OriginId"])).collect();
    asked.push(target);
    let is_clear = |origin: &Value| {
        asked.contains(&text(origin, &["Id"]))
            && text(origin, &["CustomOriginConfig", "OriginProtocolPolicy"]) == "http-only"
    };
    let why = if !matches!(text(one, &["ViewerProtocolPolicy"]), "https-only" | "redirect-to-https")
    {
        "ViewerProtocolPolicy is to be https-only or redirect-to-https"
    } else if texts(one, &["AllowedMethods"]).len() != SETS[2].len() {
        "AllowedMethods is to have all seven"
    } else if items(config, &["Origins"]).iter().any(is_clear) {
        "its origin is asked in clear text; OriginProtocolPolicy is to be https-only"
    } else {
        return Ok(());
    };
    let code = "IllegalFieldLevelEncryptionConfigAssociationWithCacheBehavior";
    Err(Unfit::new(code, format!("{place}.FieldLevelEncryptionId: {why}.")))
}

// CloudFront Functions at the two events of viewers, one at each.
fn functions(place: &str, one: &Value) -> Result<(), Unfit> {
    let mut seen = Vec::new();
    for (at, item) in items(one, &["FunctionAssociations"]).iter().enumerate() {
        let unfit = |why: String| {
            let place = format!("{place}.FunctionAssociations.Items[{at}]");
            Err(Unfit::new("InvalidFunctionAssociation", format!("{place}: {why}.")))
        };
        let (event, arn) = (text(item, &["EventType"]), text(item, &["FunctionARN"]));
        if !matches!(event, "viewer-request" | "viewer-response") {
            return unfit(format!("{event:?} is no event of CloudFront Functions"));
        }
        if name_of(arn).is_none() {
            return unfit(format!("{arn:?} is not the ARN of a CloudFront Function"));
        }
        if seen.contains(&event) {
            return unfit(format!("there are two functions at {event}"));
        }
        seen.push(event);
    }
    Ok(())
}

/// The events of lambdas, and whether a body can be shown at one.
const LAMBDA_EVENTS: [(&str, bool); 4] = [
    ("viewer-request", true),
    ("viewer-response", false),
    ("origin-request", true),
    ("origin-response", false),
];

// Lambdas at the four events, one at each; at the two of viewers no CloudFront Function beside them.
fn lambdas(place: &str, one: &Value) -> Result<(), Unfit> {
    let mut seen = Vec::new();
    for (at, item) in items(one, &["LambdaFunctionAssociations"]).iter().enumerate() {
        let unfit = |why: String| {
            let place = format!("{place}.LambdaFunctionAssociations.Items[{at}]");
            Err(Unfit::new("InvalidLambdaFunctionAssociation", format!("{place}: {why}.")))
        };
        let (event, arn) = (text(item, &["EventType"]), text(item, &["LambdaFunctionARN"]));
        let Some((_, has_body)) = LAMBDA_EVENTS.iter().find(|(known, _)| *known == event) else {
            return unfit(format!("{event:?} is no event of Lambda@Edge"));
        };
        // The words are CloudFront's own.
        let numbered = "The function ARN must reference a specific function version. (The ARN must end with the version number.) ARN";
        match LambdaArn::read(arn) {
            Some(arn) if arn.is_numbered() => {}
            Some(_) => return unfit(format!("{numbered}: {arn}")),
            None => return unfit(format!("{arn:?} is not the ARN of a lambda")),
        }
        if is(item, &["IncludeBody"]) && !has_body {
            return unfit(format!("IncludeBody: there is no body at {event}"));
        }
        if seen.contains(&event) {
            return unfit(format!("there are two functions at {event}"));
        }
        let has_functions = !items(one, &["FunctionAssociations"]).is_empty();
        if has_functions && event.starts_with("viewer-") {
            let why = "the viewer events have a function for both, or a lambda for both";
            return unfit(format!("{event}: {why}"));
        }
        seen.push(event);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn least() -> Value {
        json!({
            "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "DomainName": "o.test",
                "CustomOriginConfig": { "OriginProtocolPolicy": "https-only" } }] },
            "DefaultCacheBehavior": { "TargetOriginId": "o", "CachePolicyId": "x" },
        })
    }

    const ARN: &str = "arn:aws:cloudfront::000000000177:function/f";
    const LAMBDA: &str = "arn:aws:lambda:us-east-1:000000000177:function:resize:3";

    fn associated(all: &[(&str, &str)]) -> Value {
        let of = |(event, arn): &(&str, &str)| json!({ "EventType": event, "FunctionARN": arn });
        json!({ "Quantity": all.len(), "Items": all.iter().map(of).collect::<Vec<_>>() })
    }

    #[test]
    fn functions_of_the_two_events_of_viewers_are_taken() {
        let mut config = least();
        config["DefaultCacheBehavior"]["FunctionAssociations"] =
            associated(&[("viewer-request", ARN), ("viewer-response", ARN)]);
        assert_eq!(check(&config), Ok(()));
    }

    #[test]
    fn an_origin_is_a_bucket_or_a_server() {
        let bucket = json!({ "OriginAccessIdentity": "" });
        let server = json!({ "OriginProtocolPolicy": "http-only" });
        let none = Value::Null;
        for (name, s3, custom, code) in [
            ("b.s3.amazonaws.com", &bucket, &none, None),
            ("b.s3-website-us-east-1.amazonaws.com", &none, &server, None),
            ("b.s3.amazonaws.com", &none, &none, Some("InvalidOrigin")),
            ("b.s3.amazonaws.com", &bucket, &server, Some("IllegalUpdate")),
            ("b.s3-website-us-east-1.amazonaws.com", &bucket, &none, Some("InvalidArgument")),
            ("b.s3-website.eu-central-1.amazonaws.com", &bucket, &none, Some("InvalidArgument")),
        ] {
            let mut config = least();
            config["Origins"]["Items"][0] = json!({ "Id": "o", "DomainName": name,
                "S3OriginConfig": s3, "CustomOriginConfig": custom });
            let told = check_change(Kind::Distribution, &config).err().map(|unfit| unfit.code);
            assert_eq!(told, code, "{name} {s3} {custom}");
            // What was kept before it was refused is served still.
            assert_eq!(check(&config), Ok(()), "{name} {s3} {custom}");
        }
    }

    #[test]
    fn lifetimes_are_in_order_as_far_as_they_are_said() {
        for (least_ttl, usual, most, is_good) in [
            (Some(0), Some(10), Some(10), true),
            (Some(5), None, Some(4), false),
            (None, Some(0), None, true),
            (Some(100), Some(10), Some(1000), false),
            (Some(0), Some(1000), Some(10), false),
        ] {
            let said = json!({ "MinTTL": least_ttl, "DefaultTTL": usual, "MaxTTL": most });
            let code = |result: Result<(), Unfit>| result.err().map(|unfit| unfit.code);
            let wrong = |code| (!is_good).then_some(code);
            let of_policy = code(check_change(Kind::CachePolicy, &said));
            assert_eq!(of_policy, wrong("InvalidArgument"), "{said}");
            let mut config = least();
            let behavior = &mut config["DefaultCacheBehavior"];
            behavior.as_object_mut().unwrap().extend(said.as_object().unwrap().clone());
            // Beside a policy they mean nothing.
            assert_eq!(code(check_change(Kind::Distribution, &config)), None, "{said}");
            config["DefaultCacheBehavior"]["CachePolicyId"] = "".into();
            let of_behavior = code(check_change(Kind::Distribution, &config));
            assert_eq!(of_behavior, wrong("InvalidTTLOrder"), "{said}");
        }
    }

    #[test]
    fn lambdas_are_taken_at_all_events() {
        let mut config = least();
        config["DefaultCacheBehavior"]["LambdaFunctionAssociations"] = json!({ "Items": [
            { "EventType": "viewer-request", "LambdaFunctionARN": LAMBDA, "IncludeBody": true },
            { "EventType": "origin-request", "LambdaFunctionARN": LAMBDA, "IncludeBody": true },
            { "EventType": "origin-response", "LambdaFunctionARN": LAMBDA, "IncludeBody": false },
            { "EventType": "viewer-response", "LambdaFunctionARN": LAMBDA },
        ] });
        assert_eq!(check(&config), Ok(()));
    }

    #[test]
    fn fields_are_encrypted_only_on_their_way_over_tls() {
        let mut config = least();
        let behavior = &mut config["DefaultCacheBehavior"];
        behavior["FieldLevelEncryptionId"] = "C1".into();
        behavior["ViewerProtocolPolicy"] = "https-only".into();
        behavior["AllowedMethods"] = json!({ "Quantity": 7, "Items": SETS[2] });
        assert_eq!(check(&config), Ok(()));
        for (pointer, value, why) in [
            ("/DefaultCacheBehavior/ViewerProtocolPolicy", "allow-all".into(), "ViewerProtocol"),
            ("/DefaultCacheBehavior/AllowedMethods/Items", json!(SETS[1]), "all seven"),
            (
                "/Origins/Items/0/CustomOriginConfig/OriginProtocolPolicy",
                "http-only".into(),
                "in clear text",
            ),
        ] {
            let mut config = config.clone();
            *config.pointer_mut(pointer).unwrap() = value;
            let unfit = check(&config).unwrap_err();
            assert!(unfit.code.starts_with("IllegalFieldLevelEncryption"), "{unfit:?}");
            assert!(unfit.message.contains(why), "{unfit:?}");
        }
    }

    #[test]
    fn a_whole_answer_takes_no_less_than_its_pieces() {
        for (whole, read, is_taken) in
            [(30, None, true), (29, None, false), (9, Some(9), true), (9, Some(10), false)]
        {
            let mut config = least();
            let one = &mut config["Origins"]["Items"][0];
            one["ResponseCompletionTimeout"] = whole.into();
            if let Some(read) = read {
                one["CustomOriginConfig"]["OriginReadTimeout"] = Value::from(read);
            }
            assert_eq!(check(&config).is_ok(), is_taken, "{whole} {read:?}");
        }
    }

    #[test]
    fn what_would_not_be_obeyed_is_refused_by_name() {
        assert_eq!(check(&least()), Ok(()));
        let origin = |more: Value| {
            let mut config = least();
            for (key, value) in more.as_object().unwrap() {
                config["Origins"]["Items"][0][key] = value.clone();
            }
            config
        };
        let custom = |more: Value| {
            let mut config = least();
            for (key, value) in more.as_object().unwrap() {
                config["Origins"]["Items"][0]["CustomOriginConfig"][key] = value.clone();
            }
            config
        };
        let behavior = |key: &str, value: Value| {
            let mut config = least();
            config["DefaultCacheBehavior"][key] = value;
            config
        };
        let top = |key: &str, value: Value| {
            let mut config = least();
            config[key] = value;
            config
        };
        let staging = |key: &str, value: Value| {
            let mut config = top(key, value);
            config["Staging"] = true.into();
            config
        };
        let one = |value: Value| json!({ "Quantity": 1, "Items": [value] });
        let mut calls = behavior("GrpcConfig", json!({ "Enabled": true }));
        calls["HttpVersion"] = "http3".into();
        let lambdas = |all: Value| behavior("LambdaFunctionAssociations", json!({ "Items": all }));
        let mut beside = lambdas(json!([
            { "EventType": "viewer-response", "LambdaFunctionARN": LAMBDA },
        ]));
        beside["DefaultCacheBehavior"]["FunctionAssociations"] =
            associated(&[("viewer-request", ARN)]);
        for (config, name) in [
            (staging("ContinuousDeploymentPolicyId", "x".into()), "ContinuousDeploymentPolicyId:"),
            (staging("Aliases", one("a.test".into())), "Aliases: a staging"),
            (top("AnycastIpListId", "x".into()), "AnycastIpListId:"),
            (top("ViewerMtlsConfig", json!({ "Mode": "required" })), "TrustStoreId: a rule"),
            (
                top(
                    "ViewerMtlsConfig",
                    json!({ "Mode": "passthrough", "TrustStoreConfig": { "TrustStoreId": "t" } }),
                ),
                "ViewerMtlsConfig.TrustStoreConfig: passthrough",
            ),
            (top("TenantConfig", json!({ "ParameterDefinitions": [] })), "TenantConfig:"),
            (top("ConnectionMode", "tenant-only".into()), "ConnectionMode:"),
            (top("DefaultRootObject", "/a".into()), "DefaultRootObject:"),
            (
                top("ViewerCertificate", json!({ "SSLSupportMethod": "vip" })),
                "ViewerCertificate.SSLSupportMethod:",
            ),
            (origin(json!({ "VpcOriginConfig": {} })), "Origins.Items[0].VpcOriginConfig:"),
            (
                origin(json!({ "DomainName": "https://a.test" })),
                "Origins.Items[0].DomainName: \"https://a.test\" is no domain name",
            ),
            (origin(json!({ "OriginPath": "a" })), "Origins.Items[0].OriginPath: \"a\" does not"),
            (origin(json!({ "ResponseCompletionTimeout": 9 })), "ResponseCompletionTimeout:"),
            (
                custom(json!({ "OriginSslProtocols": one("TLSv1".into()) })),
                "OriginSslProtocols: TLSv1 is not spoken",
            ),
            (
                custom(json!({ "OriginMtlsConfig": {}, "OriginProtocolPolicy": "http-only" })),
                "OriginMtlsConfig: an origin",
            ),
            (
                behavior("AllowedMethods", json!({ "CachedMethods": one("OPTIONS".into()) })),
                "DefaultCacheBehavior.AllowedMethods.CachedMethods:",
            ),
            (behavior("AllowedMethods", one("GET".into())), "AllowedMethods:"),
            (behavior("SmoothStreaming", true.into()), "SmoothStreaming:"),
            (behavior("TrustedSigners", one("self".into())), "TrustedSigners:"),
            (behavior("TrustedKeyGroups", json!({ "Enabled": true })), "TrustedKeyGroups:"),
            (
                behavior("FunctionAssociations", one(json!({}))),
                "FunctionAssociations.Items[0]: \"\" is no event",
            ),
            (
                behavior("FunctionAssociations", associated(&[("origin-request", ARN)])),
                "\"origin-request\" is no event",
            ),
            (
                behavior("FunctionAssociations", associated(&[("viewer-request", "f")])),
                "\"f\" is not the ARN",
            ),
            (
                behavior(
                    "FunctionAssociations",
                    associated(&[("viewer-request", ARN), ("viewer-request", ARN)]),
                ),
                "Items[1]: there are two functions at viewer-request",
            ),
            (
                behavior("LambdaFunctionAssociations", one(json!({}))),
                "LambdaFunctionAssociations.Items[0]: \"\" is no event",
            ),
            (
                lambdas(json!([{ "EventType": "origin-request" }])),
                "\"\" is not the ARN of a lambda",
            ),
            (
                lambdas(json!([{ "EventType": "origin-request",
                    "LambdaFunctionARN": "arn:aws:lambda:us-east-1:1:function:a:$LATEST" }])),
                "must end with the version number.) ARN: arn:",
            ),
            (
                lambdas(json!([{ "EventType": "origin-response", "LambdaFunctionARN": LAMBDA,
                    "IncludeBody": true }])),
                "IncludeBody: there is no body at origin-response",
            ),
            (
                lambdas(json!([
                    { "EventType": "origin-request", "LambdaFunctionARN": LAMBDA },
                    { "EventType": "origin-request", "LambdaFunctionARN": LAMBDA },
                ])),
                "Items[1]: there are two functions at origin-request",
            ),
            (beside, "a function for both, or a lambda for both"),
            (calls, "DefaultCacheBehavior.GrpcConfig: calls of gRPC come over HTTP/2"),
            (
                behavior("GrpcConfig", json!({ "Enabled": true })),
                "DefaultCacheBehavior.GrpcConfig: calls of gRPC are POST",
            ),
            (behavior("MinTTL", 1.into()), "MinTTL:"),
            (behavior("CachePolicyId", "".into()), "CachePolicyId:"),
        ] {
            let why = check(&config).unwrap_err().message;
            assert!(why.contains(name), "{name} is not in {why:?}");
        }
    }
}
