//! Pure: what a distribution that came by the API may not ask for, because it would not be obeyed.
//! Each is refused by the name of its field.

use serde_json::Value;

use super::import_behaviors::name_of;

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
    for (key, why) in [
        ("ContinuousDeploymentPolicyId", "continuous deployment is not managed by the API here"),
        ("AnycastIpListId", "addresses are those of this machine"),
    ] {
        refuse_if(!text(config, &[key]).is_empty(), key, why)?;
    }
    refuse_if(
        is(config, &["Staging"]),
        "Staging",
        "staging distributions are not managed by the API here",
    )?;
    let mode = text(config, &["ConnectionMode"]);
    refuse_if(
        !matches!(mode, "" | "direct"),
        "ConnectionMode",
        &format!("{mode} is not served; a distribution serves its own hosts"),
    )?;
    refuse_if(
        text(config, &["HttpVersion"]) == "http1.1",
        "HttpVersion",
        "http1.1 alone is not done; HTTP/2 is spoken too",
    )?;
    for (key, why) in [
        ("TenantConfig", "there are no tenants here"),
        ("ViewerMtlsConfig", "viewers' certificates are a matter of the file's distributions"),
        ("ConnectionFunctionAssociation", "no function runs in a handshake"),
    ] {
        let says = at(config, &[key])
            .is_some_and(|value| value.as_object().is_none_or(|map| !map.is_empty()));
        refuse_if(says, key, why)?;
    }
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
    behaviors(config).iter().try_for_each(|(place, one)| behavior(place, one))
}

fn refuse_if(is: bool, place: &str, why: &str) -> Result<(), Unfit> {
    if is { Err(Unfit::new("InvalidArgument", format!("{place}: {why}."))) } else { Ok(()) }
}

fn origin(place: &str, one: &Value) -> Result<(), Unfit> {
    let named = |key: &str| format!("{place}.{key}");
    refuse_if(
        at(one, &["VpcOriginConfig"]).is_some(),
        &named("VpcOriginConfig"),
        "there is no VPC here; name the address as a custom origin",
    )?;
    refuse_if(
        at(one, &["ResponseCompletionTimeout"]).and_then(Value::as_u64).unwrap_or(0) > 0,
        &named("ResponseCompletionTimeout"),
        "there is no bound on a whole answer",
    )?;
    let custom = "CustomOriginConfig";
    let policy = text(one, &[custom, "OriginProtocolPolicy"]);
    refuse_if(
        policy == "match-viewer",
        &named("CustomOriginConfig.OriginProtocolPolicy"),
        "match-viewer is not done; http-only and https-only are",
    )?;
    let old = texts(one, &[custom, "OriginSslProtocols"]);
    let old: Vec<&str> = old.into_iter().filter(|name| *name != "TLSv1.2").collect();
    refuse_if(
        policy == "https-only" && !old.is_empty(),
        &named("CustomOriginConfig.OriginSslProtocols"),
        &format!("{} is not spoken to origins; TLSv1.2 and later are", old.join(", ")),
    )?;
    let family = text(one, &[custom, "IpAddressType"]);
    refuse_if(
        !matches!(family, "" | "dualstack"),
        &named("CustomOriginConfig.IpAddressType"),
        &format!("{family}: names are resolved to IPv4 and IPv6 alike"),
    )?;
    refuse_if(
        at(one, &[custom, "OriginMtlsConfig"]).is_some(),
        &named("CustomOriginConfig.OriginMtlsConfig"),
        "certificates for origins are named in the configuration file alone",
    )
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
        cached.contains(&"OPTIONS"),
        "AllowedMethods.CachedMethods",
        "answers to OPTIONS are not cached",
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
    refuse_if(
        !items(one, &["LambdaFunctionAssociations"]).is_empty(),
        "LambdaFunctionAssociations",
        "Lambda@Edge is a matter of the file's distributions",
    )?;
    for (key, why) in [
        ("FieldLevelEncryptionId", "fields reach the origin as they are"),
        ("RealtimeLogConfigArn", "[log] realtime of the configuration file is for all behaviors"),
    ] {
        refuse_if(!text(one, &[key]).is_empty(), key, why)?;
    }
    refuse_if(
        is(one, &["GrpcConfig", "Enabled"]),
        "GrpcConfig",
        "gRPC is a matter of the file's distributions",
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
        let one = |value: Value| json!({ "Quantity": 1, "Items": [value] });
        for (config, name) in [
            (top("Staging", true.into()), "Staging:"),
            (top("ViewerMtlsConfig", json!({ "Mode": "passthrough" })), "ViewerMtlsConfig:"),
            (top("HttpVersion", "http1.1".into()), "HttpVersion:"),
            (top("TenantConfig", json!({ "ParameterDefinitions": [] })), "TenantConfig:"),
            (top("ConnectionMode", "tenant-only".into()), "ConnectionMode:"),
            (top("DefaultRootObject", "/a".into()), "DefaultRootObject:"),
            (
                top("ViewerCertificate", json!({ "SSLSupportMethod": "vip" })),
                "ViewerCertificate.SSLSupportMethod:",
            ),
            (origin(json!({ "VpcOriginConfig": {} })), "Origins.Items[0].VpcOriginConfig:"),
            (origin(json!({ "ResponseCompletionTimeout": 9 })), "ResponseCompletionTimeout:"),
            (custom(json!({ "OriginProtocolPolicy": "match-viewer" })), "OriginProtocolPolicy:"),
            (
                custom(json!({ "OriginSslProtocols": one("TLSv1".into()) })),
                "OriginSslProtocols: TLSv1 is not spoken",
            ),
            (custom(json!({ "IpAddressType": "ipv6" })), "IpAddressType:"),
            (custom(json!({ "OriginMtlsConfig": {} })), "OriginMtlsConfig:"),
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
            (behavior("LambdaFunctionAssociations", one(json!({}))), "LambdaFunctionAssociations:"),
            (behavior("GrpcConfig", json!({ "Enabled": true })), "GrpcConfig:"),
            (behavior("MinTTL", 1.into()), "MinTTL:"),
            (behavior("CachePolicyId", "".into()), "CachePolicyId:"),
        ] {
            let why = check(&config).unwrap_err().message;
            assert!(why.contains(name), "{name} is not in {why:?}");
        }
    }
}
