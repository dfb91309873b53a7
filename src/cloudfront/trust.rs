//! Pure: trust stores of the API. The bundle of one lies in a bucket at CloudFront; here it is that of a
//! `[trust_store."s3://BUCKET/KEY"]` of the configuration, and what none has is refused.

use std::collections::BTreeMap;

use serde_json::Value;

use super::strict::{Unfit, is, text};

const PLACE: [&str; 2] = ["CaCertificatesBundleSource", "CaCertificatesBundleS3Location"];

/// The name of one as policies of AWS have it.
pub fn arn(account: &str, id: &str) -> String {
    format!("arn:aws:cloudfront::{account}:trust-store/{id}")
}

/// The id that is meant by itself or by an ARN.
pub fn id_of(text: &str) -> &str {
    let id = text.strip_prefix("arn:").and_then(|rest| rest.split_once(":trust-store/"));
    id.map_or(text, |(_, id)| id)
}

/// What the configuration calls the bundle of a trust store.
pub fn bundle(config: &Value) -> String {
    let say = |key: &str| text(config, &[PLACE[0], PLACE[1], key]);
    let version = match say("Version") {
        "" => String::new(),
        version => format!("?versionId={version}"),
    };
    format!("s3://{}/{}{version}", say("Bucket"), say("Key"))
}

/// Holds one to the trust stores that the configuration has, each with how many authorities.
pub fn fits(config: &Value, known: &BTreeMap<String, usize>) -> Result<(), Unfit> {
    let unfit = |why: String| Err(Unfit::new("InvalidArgument", why));
    if is(config, &["UseClientCertificateOCSPEndpoint"]) {
        return unfit("UseClientCertificateOCSPEndpoint: no endpoint is asked here.".to_string());
    }
    if text(config, &["Name"]).is_empty() {
        return unfit("Name: a trust store has one.".to_string());
    }
    let bundle = bundle(config);
    if known.contains_key(&bundle) {
        return Ok(());
    }
    unfit(format!(
        "{}: no [trust_store.{bundle:?}] of the configuration has the certificates of this bundle in its file.",
        PLACE.join(".")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_bundle_is_one_that_the_configuration_names() {
        let at = |version: &str| {
            json!({ "Name": "clients", "CaCertificatesBundleSource": {
            "CaCertificatesBundleS3Location": { "Bucket": "b", "Key": "ca/all.pem", "Region": "eu-west-1", "Version": version } } })
        };
        assert_eq!(bundle(&at("")), "s3://b/ca/all.pem");
        assert_eq!(bundle(&at("3")), "s3://b/ca/all.pem?versionId=3");
        let known = BTreeMap::from([("s3://b/ca/all.pem".to_string(), 2)]);
        assert_eq!(fits(&at(""), &known), Ok(()));
        let refused = |config: &Value| fits(config, &known).unwrap_err().message;
        assert!(refused(&at("3")).starts_with("CaCertificatesBundleSource."));
        let mut asks = at("");
        asks["UseClientCertificateOCSPEndpoint"] = true.into();
        assert!(refused(&asks).starts_with("UseClientCertificateOCSPEndpoint"));
        asks = at("");
        asks["Name"] = "".into();
        assert!(refused(&asks).starts_with("Name"));
    }

    #[test]
    fn a_trust_store_is_meant_by_its_id_or_its_arn() {
        for text in ["ts_1", "arn:aws:cloudfront::000000000177:trust-store/ts_1"] {
            assert_eq!(id_of(text), "ts_1");
        }
        assert_eq!(id_of(&arn("1", "x")), "x");
    }
}
