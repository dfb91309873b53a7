//! Pure: Terraform's names for what CloudFront's API has, and values under them as the API's
//! documents.
//!
//! Most of Terraform's names are those of the API's model in other letters (`max_ttl` is `MaxTTL`),
//! so they are found in the model; the few that are not stand in one table here. Where the API has
//! `{ Quantity, Items }` Terraform has a list or repeated blocks, and where it has one record a
//! block is a list of one.

use serde_json::{Map, Value};

use super::model::{
    CACHE_POLICY_CONFIG, DISTRIBUTION_CONFIG, FIELD_LEVEL_ENCRYPTION_CONFIG,
    FIELD_LEVEL_ENCRYPTION_PROFILE_CONFIG, KEY_GROUP_CONFIG, ORIGIN_ACCESS_CONTROL_CONFIG,
    ORIGIN_REQUEST_POLICY_CONFIG, PUBLIC_KEY_CONFIG, RESPONSE_HEADERS_POLICY_CONFIG,
};
use super::node::Places;
use super::shape::Shape;

/// A type of Terraform's resources that becomes a document of the API's.
#[derive(Debug)]
pub struct Kind {
    /// `aws_cloudfront_cache_policy`.
    pub name: &'static str,
    /// What the document is wrapped in, and its configuration within.
    pub wrapper: &'static str,
    pub config: &'static str,
    pub shape: &'static Shape,
}

/// All that an import reads.
pub static KINDS: [Kind; 9] = [
    Kind {
        name: "aws_cloudfront_distribution",
        wrapper: "Distribution",
        config: "DistributionConfig",
        shape: &DISTRIBUTION_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_cache_policy",
        wrapper: "CachePolicy",
        config: "CachePolicyConfig",
        shape: &CACHE_POLICY_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_origin_request_policy",
        wrapper: "OriginRequestPolicy",
        config: "OriginRequestPolicyConfig",
        shape: &ORIGIN_REQUEST_POLICY_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_response_headers_policy",
        wrapper: "ResponseHeadersPolicy",
        config: "ResponseHeadersPolicyConfig",
        shape: &RESPONSE_HEADERS_POLICY_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_key_group",
        wrapper: "KeyGroup",
        config: "KeyGroupConfig",
        shape: &KEY_GROUP_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_public_key",
        wrapper: "PublicKey",
        config: "PublicKeyConfig",
        shape: &PUBLIC_KEY_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_origin_access_control",
        wrapper: "OriginAccessControl",
        config: "OriginAccessControlConfig",
        shape: &ORIGIN_ACCESS_CONTROL_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_field_level_encryption_profile",
        wrapper: "FieldLevelEncryptionProfile",
        config: "FieldLevelEncryptionProfileConfig",
        shape: &FIELD_LEVEL_ENCRYPTION_PROFILE_CONFIG,
    },
    Kind {
        name: "aws_cloudfront_field_level_encryption_config",
        wrapper: "FieldLevelEncryption",
        config: "FieldLevelEncryptionConfig",
        shape: &FIELD_LEVEL_ENCRYPTION_CONFIG,
    },
];

/// The kind of a type, if it is one.
pub fn kind(name: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| kind.name == name)
}

/// What the API calls a thing otherwise than by its letters: a member that only one record has, by
/// Terraform's name; the record; the API's name.
const NAMES: [(&str, &str, &str); 15] = [
    ("origin", "DefaultCacheBehavior", "Origins"),
    ("origin_group", "DefaultCacheBehavior", "OriginGroups"),
    ("ordered_cache_behavior", "DefaultCacheBehavior", "CacheBehaviors"),
    ("custom_error_response", "DefaultCacheBehavior", "CustomErrorResponses"),
    ("logging_config", "DefaultCacheBehavior", "Logging"),
    ("origin_id", "DomainName", "Id"),
    ("origin_id", "FailoverCriteria", "Id"),
    ("member", "FailoverCriteria", "Members"),
    ("custom_header", "DomainName", "CustomHeaders"),
    ("name", "HeaderValue", "HeaderName"),
    ("value", "HeaderName", "HeaderValue"),
    ("lambda_function_association", "TargetOriginId", "LambdaFunctionAssociations"),
    ("function_association", "TargetOriginId", "FunctionAssociations"),
    ("lambda_arn", "LambdaFunctionARN", "LambdaFunctionARN"),
    ("cloudfront_default_certificate", "ACMCertificateArn", "CloudFrontDefaultCertificate"),
];

/// What Terraform or the provider keeps for itself, or what says nothing of the configuration.
const IDLE: [&str; 18] = [
    "arn",
    "caller_reference",
    "domain_name",
    "etag",
    "hosted_zone_id",
    "id",
    "in_progress_validation_batches",
    "last_modified_time",
    "logging_v1_enabled",
    "region",
    "retain_on_delete",
    "status",
    "tags",
    "tags_all",
    "timeouts",
    "trusted_key_groups",
    "trusted_signers",
    "wait_for_deployment",
];

// Zeros that stand where nothing was said.
const NONE_AS_ZERO: [&str; 3] = ["response_code", "response_completion_timeout", "quantity"];

// Lifetimes say nothing beside a cache policy.
const LIFETIMES: [&str; 3] = ["min_ttl", "default_ttl", "max_ttl"];

/// What becomes of values, while it is being made.
#[derive(Debug, Default)]
pub struct Translation {
    pub places: Places,
    /// Values for which the API has no place, and where they stand.
    pub unread: Vec<(String, String)>,
}

impl Translation {
    /// The configuration of a resource, as the API has it. `place` is what messages call the
    /// resource; `path` is where the configuration will stand in its document.
    pub fn config(
        &mut self,
        shape: &'static Shape,
        values: &Value,
        place: &str,
        path: &str,
    ) -> Value {
        self.places.insert(path.to_string(), place.to_string());
        let Some(values) = values.as_object() else { return Value::Null };
        let own = |key: &str| {
            IDLE.contains(&key) && api_name(shape, key).is_none_or(|name| name == "CallerReference")
        };
        let kept: Map<String, Value> = values
            .iter()
            .filter(|(key, _)| !own(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        self.record(shape, &kept, place, path)
    }

    fn record(
        &mut self,
        shape: &'static Shape,
        values: &Map<String, Value>,
        place: &str,
        path: &str,
    ) -> Value {
        let mut made = Map::new();
        let text = |key: &str| values.get(key).and_then(Value::as_str).unwrap_or("");
        let has_policy = !text("cache_policy_id").is_empty();
        let is_in_bucket = values.contains_key("bucket") && is_of(shape, "IncludeCookies");
        for (key, value) in values {
            let is_zero = value.as_u64() == Some(0);
            let is_idle = has_policy && LIFETIMES.contains(&key.as_str());
            if says_nothing(value) || (is_zero && (is_idle || NONE_AS_ZERO.contains(&key.as_str())))
            {
                continue;
            }
            let place = format!("{place}.{key}");
            match api_name(shape, key) {
                Some(name) => {
                    let path = format!("{path}/{name}");
                    self.places.insert(path.clone(), place.clone());
                    let inner = member(shape, name);
                    made.insert(name.to_string(), self.value(inner, value, &place, &path));
                }
                None => self.leave(value, &place),
            }
        }
        if is_in_bucket {
            made.insert("Enabled".into(), true.into());
        }
        Value::Object(made)
    }

    fn value(&mut self, shape: &'static Shape, value: &Value, place: &str, path: &str) -> Value {
        match (shape, value) {
            (Shape::Record(_), Value::Array(all)) => match (item_of(shape), &all[..]) {
                // One block with the list in it, or the list itself.
                (Some(_), [Value::Object(one)])
                    if one.keys().any(|key| api_name(shape, key) == Some("Items")) =>
                {
                    self.record(shape, one, &format!("{place}[0]"), path)
                }
                (Some(item), _) => self.list(item, all, place, path),
                (None, [Value::Object(one)]) => {
                    self.record(shape, one, &format!("{place}[0]"), path)
                }
                // An empty block is one that says what is usual.
                (None, [] | [Value::Null]) => Value::Object(Map::new()),
                (None, _) => {
                    self.leave(value, place);
                    Value::Null
                }
            },
            (Shape::Record(_), Value::Object(one)) => self.record(shape, one, place, path),
            (Shape::List(_, item), Value::Array(all)) => self.list(item, all, place, path),
            _ => value.clone(),
        }
    }

    fn list(&mut self, item: &'static Shape, all: &[Value], place: &str, path: &str) -> Value {
        let made = all.iter().enumerate().map(|(at, value)| {
            let (place, path) = (format!("{place}[{at}]"), format!("{path}/{at}"));
            self.places.insert(path.clone(), place.clone());
            self.value(item, value, &place, &path)
        });
        Value::Array(made.collect())
    }

    // Each value of these, by its own place.
    fn leave(&mut self, value: &Value, place: &str) {
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| self.leave(value, &format!("{place}.{key}")))
            }
            Value::Array(all) => all
                .iter()
                .enumerate()
                .for_each(|(at, value)| self.leave(value, &format!("{place}[{at}]"))),
            other if says_nothing(other) || *other == Value::Bool(false) => {}
            other => self.unread.push((place.to_string(), other.to_string())),
        }
    }
}

// Null, an empty text or an empty list: Terraform's ways to say that nothing was said.
fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(all) => all.is_empty(),
        _ => false,
    }
}

fn is_of(shape: &Shape, member: &str) -> bool {
    shape.member(member).is_some()
}

// The shape of the items, of a record that is a list with its count.
fn item_of(shape: &'static Shape) -> Option<&'static Shape> {
    let is_counted = is_of(shape, "Quantity");
    match shape.member("Items").filter(|_| is_counted)?.shape {
        Shape::List(_, item) => Some(*item),
        _ => None,
    }
}

// What the API calls a member of a record.
fn api_name(shape: &'static Shape, key: &str) -> Option<&'static str> {
    let told = NAMES.iter().find(|(theirs, beside, _)| *theirs == key && is_of(shape, beside));
    if let Some((.., name)) = told {
        return Some(*name);
    }
    match key {
        // Templates and Terraform have it beside the allowed ones.
        "cached_methods" if is_of(shape, "TargetOriginId") => return Some("CachedMethods"),
        "locations" if is_of(shape, "RestrictionType") => return Some("Items"),
        _ => {}
    }
    let Shape::Record(members) = shape else { return None };
    members.iter().find(|member| is_spelled(member.name, key)).map(|member| member.name)
}

// The shape of a member; that of plain texts, of one that the model has elsewhere.
fn member(shape: &'static Shape, name: &str) -> &'static Shape {
    match shape.member(name) {
        Some(member) => member.shape,
        None => &Shape::Text,
    }
}

// Says whether this is a name of the API's in Terraform's letters: `MaxTTL` and `max_ttl`,
// `IsIPV6Enabled` and `is_ipv6_enabled`, `HTTPSPort` and `https_port`.
fn is_spelled(name: &str, key: &str) -> bool {
    let octets = name.as_bytes();
    let mut rest = key.as_bytes();
    for (at, octet) in octets.iter().enumerate() {
        let before = at.checked_sub(1).map(|before| octets[before]);
        let after = octets.get(at + 1);
        let is_start = octet.is_ascii_uppercase()
            && before.is_some_and(|before| {
                before.is_ascii_lowercase()
                    || (after.is_some_and(u8::is_ascii_lowercase) && !before.is_ascii_lowercase())
            });
        if is_start {
            match rest.split_first() {
                Some((b'_', more)) => rest = more,
                _ => return false,
            }
        }
        match rest.split_first() {
            Some((known, more)) if *known == octet.to_ascii_lowercase() => rest = more,
            _ => return false,
        }
    }
    rest.is_empty()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_the_models_in_other_letters() {
        for (name, key) in [
            ("MaxTTL", "max_ttl"),
            ("IsIPV6Enabled", "is_ipv6_enabled"),
            ("HTTPSPort", "https_port"),
            ("HTTPPort", "http_port"),
            ("S3OriginConfig", "s3_origin_config"),
            ("WebACLId", "web_acl_id"),
            ("ACMCertificateArn", "acm_certificate_arn"),
            ("SSLSupportMethod", "ssl_support_method"),
            ("ErrorCachingMinTTL", "error_caching_min_ttl"),
            ("OriginSslProtocols", "origin_ssl_protocols"),
            ("XSSProtection", "xss_protection"),
            ("FunctionARN", "function_arn"),
            ("Items", "items"),
        ] {
            assert!(is_spelled(name, key), "{name} {key}");
        }
        for (name, key) in
            [("MaxTTL", "maxttl"), ("MaxTTL", "max_ttls"), ("Items", "item"), ("Items", "_items")]
        {
            assert!(!is_spelled(name, key), "{name} {key}");
        }
    }

    #[test]
    fn every_name_of_the_table_is_the_models() {
        let mut all = Vec::new();
        KINDS.iter().for_each(|kind| records(kind.shape, &mut all));
        for (key, beside, name) in NAMES {
            let owners: Vec<&&Shape> =
                all.iter().filter(|shape| shape.member(beside).is_some()).collect();
            // CacheTagConfig has a HeaderName and nothing else.
            assert!(owners.iter().any(|shape| shape.member(name).is_some()), "{key} {name}");
        }
    }

    fn records(shape: &'static Shape, all: &mut Vec<&'static Shape>) {
        match shape {
            Shape::Record(members) => {
                all.push(shape);
                members.iter().for_each(|member| records(member.shape, all));
            }
            Shape::List(_, item) => records(item, all),
            _ => {}
        }
    }

    #[test]
    fn blocks_become_records_and_lists() {
        let values = json!({
            "id": "E1", "arn": "a", "comment": "", "enabled": true, "aliases": ["b", "a"],
            "origin": [{ "origin_id": "o", "domain_name": "o.test", "custom_header": [{ "name": "X-A", "value": "v" }],
                "custom_origin_config": [{ "http_port": 80, "origin_ssl_protocols": ["TLSv1.2"] }], "s3_origin_config": [] }],
            "default_cache_behavior": [{ "target_origin_id": "o", "cached_methods": ["GET", "HEAD"], "cache_policy_id": "p", "max_ttl": 0,
                "trusted_key_groups": ["g"], "lambda_function_association": [{ "lambda_arn": "l", "event_type": "viewer-request" }] }],
            "restrictions": [{ "geo_restriction": [{ "restriction_type": "whitelist", "locations": ["DE"] }] }],
            "logging_config": [{ "bucket": "b", "prefix": "" }],
            "later": [{ "field": 1, "off": false }],
        });
        let mut translation = Translation::default();
        let made = translation.config(&DISTRIBUTION_CONFIG, &values, "d", "/C");
        assert_eq!(
            made,
            json!({
                "Enabled": true, "Aliases": ["b", "a"],
                "Origins": [{ "Id": "o", "DomainName": "o.test", "CustomHeaders": [{ "HeaderName": "X-A", "HeaderValue": "v" }],
                    "CustomOriginConfig": { "HTTPPort": 80, "OriginSslProtocols": ["TLSv1.2"] } }],
                "DefaultCacheBehavior": { "TargetOriginId": "o", "CachedMethods": ["GET", "HEAD"], "CachePolicyId": "p",
                    "TrustedKeyGroups": ["g"], "LambdaFunctionAssociations": [{ "LambdaFunctionARN": "l", "EventType": "viewer-request" }] },
                "Restrictions": { "GeoRestriction": { "RestrictionType": "whitelist", "Items": ["DE"] } },
                "Logging": { "Bucket": "b", "Enabled": true },
            })
        );
        assert_eq!(translation.unread, [("d.later[0].field".to_string(), "1".to_string())]);
        let place = |path: &str| translation.places.get(path).map(String::as_str);
        assert_eq!(place("/C/Origins/0/DomainName"), Some("d.origin[0].domain_name"));
        assert_eq!(
            place("/C/Restrictions/GeoRestriction/Items"),
            Some("d.restrictions[0].geo_restriction[0].locations")
        );
    }

    #[test]
    fn policies_have_their_lists_in_blocks_of_their_own() {
        let values = json!({ "name": "n", "min_ttl": 0, "parameters_in_cache_key_and_forwarded_to_origin": [{
            "enable_accept_encoding_gzip": true,
            "cookies_config": [{ "cookie_behavior": "none", "cookies": [] }],
            "headers_config": [{ "header_behavior": "whitelist", "headers": [{ "items": ["X-A"] }] }],
            "query_strings_config": [{ "query_string_behavior": "all", "query_strings": [] }] }] });
        let made = Translation::default().config(&CACHE_POLICY_CONFIG, &values, "p", "");
        assert_eq!(
            made,
            json!({ "Name": "n", "MinTTL": 0, "ParametersInCacheKeyAndForwardedToOrigin": {
                "EnableAcceptEncodingGzip": true, "CookiesConfig": { "CookieBehavior": "none" },
                "HeadersConfig": { "HeaderBehavior": "whitelist", "Headers": { "Items": ["X-A"] } },
                "QueryStringsConfig": { "QueryStringBehavior": "all" } } })
        );
    }
}
