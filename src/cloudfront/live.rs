//! Pure: documents of the API as configuration that is served as it is, in the place of a file that
//! an operator would look at.
//!
//! It is the import's own work (`import`), held to more: whatever the import would only report is
//! refused here, so that nothing is stored that would not be obeyed. Policies and keys are written
//! once, under their ids, and distributions name them so.

use std::fmt::Write;

use serde_json::Value;

use super::import::{Control, Job, Wishes, list, quoted};
use super::import_behaviors::name_of;
use super::node::{Document as Tree, Node};
use super::report::Rank;
use super::strict::{self, Unfit, behaviors, text, texts};
use crate::crypto::key::PublicKey;
use crate::documents::shelf::{Document, Documents, Kind};

/// A distribution as the tables of one, checked.
pub fn distribution(document: &Document, all: &Documents) -> Result<String, Unfit> {
    strict::check(&document.config)?;
    let tree = Tree::new(document.id.clone(), document.config.clone());
    let root = tree.root();
    let wishes = Wishes::default();
    let mut job = Job::new(&wishes);
    job.served_as = Some(document.id.clone());
    for control in all.of(Kind::OriginAccessControl) {
        let say = |key: &str| text(&control.config, &[key]).to_string();
        let control_of = Control {
            signing: say("SigningBehavior"),
            service: say("OriginAccessControlOriginType"),
        };
        job.controls.insert(control.id.clone(), control_of);
    }
    let mut hosts = job.hosts(&root);
    if !document.domain.is_empty() {
        hosts.push(document.domain.clone());
    }
    take_what_is_elsewhere(&root);
    job.origins(&root);
    job.groups(&root);
    job.behaviors(&root);
    job.errors(&root);
    let parts = std::mem::take(&mut job.out);
    head(&mut job.out, document, &hosts);
    tag_header(&mut job.out, &root)?;
    job.geo(&root);
    let made: String = job.made.values().map(String::as_str).collect();
    let whole = format!("{made}{}{parts}", job.out);
    settled(&job, &tree)?;
    Ok(whole)
}

// The table of the distribution itself.
fn head(out: &mut String, document: &Document, hosts: &[String]) {
    let config = &document.config;
    let _ =
        writeln!(out, "[[distribution]]\nid = {}\nhosts = {}", quoted(&document.id), list(hosts));
    if !strict::is(config, &["Enabled"]) {
        out.push_str("enabled = false\n");
    }
    let comment = text(config, &["Comment"]);
    if !comment.is_empty() {
        let _ = writeln!(out, "comment = {}", quoted(comment));
    }
    let object = text(config, &["DefaultRootObject"]);
    if !object.is_empty() {
        let _ = writeln!(out, "default_root_object = {}", quoted(object));
    }
    if !document.tags.is_empty() {
        let pairs: Vec<String> = document
            .tags
            .iter()
            .map(|(key, tag)| format!("{} = {}", quoted(key), quoted(tag)))
            .collect();
        let _ = writeln!(out, "tags = {{ {} }}", pairs.join(", "));
    }
    let version = match text(config, &["HttpVersion"]) {
        "http3" | "http2and3" => "http2and3",
        _ => "http2",
    };
    let _ = writeln!(out, "http_version = {}", quoted(version));
    out.push_str("compat = \"cloudfront\"\n");
}

fn tag_header(out: &mut String, root: &Node<'_>) -> Result<(), Unfit> {
    let Some(name) = root.get("CacheTagConfig").and_then(|tags| tags.text("HeaderName")) else {
        return Ok(());
    };
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        let why = format!("CacheTagConfig.HeaderName: {name} is no field name.");
        return Err(Unfit::new("InvalidArgument", why));
    }
    let _ = writeln!(out, "tag_header = {}", quoted(name));
    Ok(())
}

// What is read from the document itself, is held to by the one who knows the site (`control`), or
// is of no consequence here and given back.
fn take_what_is_elsewhere(root: &Node<'_>) {
    root.take_each(&[
        "CallerReference",
        "Comment",
        "DefaultRootObject",
        "Enabled",
        "HttpVersion",
        "IsIPV6Enabled",
        "ConnectionMode",
        "Logging",
        "PriceClass",
        "ViewerCertificate",
        "WebACLId",
    ]);
    let all = root.items("CacheBehaviors").into_iter().chain(root.get("DefaultCacheBehavior"));
    for behavior in all.filter(|one| one.text("CachePolicyId").is_some()) {
        behavior.take_each(&["MinTTL", "DefaultTTL", "MaxTTL"]);
    }
}

// Nothing is left to be said.
fn settled(job: &Job<'_, '_>, tree: &Tree) -> Result<(), Unfit> {
    for rank in [Rank::BeforeServing, Rank::ToKnow] {
        if let Some(line) = job.report.of(rank).next() {
            return Err(Unfit::new("InvalidArgument", format!("{line}.")));
        }
    }
    match tree.left().first() {
        Some((place, _)) => {
            let why = format!("{}: this is not done here.", place.replace('/', "."));
            Err(Unfit::new("InvalidArgument", why))
        }
        None => Ok(()),
    }
}

/// A policy, a key or a group as the table of one, checked; nothing for what distributions write
/// themselves.
pub fn table(kind: Kind, document: &Document) -> Result<String, Unfit> {
    let config = &document.config;
    match kind {
        Kind::CachePolicy => policy(document, |job, root| job.cache_policy(&document.id, root)),
        Kind::OriginRequestPolicy => {
            policy(document, |job, root| job.origin_request_policy(&document.id, root))
        }
        Kind::ResponseHeadersPolicy => {
            whole_percents(config)?;
            policy(document, |job, root| job.response_policy(&document.id, root))
        }
        Kind::PublicKey => {
            let pem = text(config, &["EncodedKey"]);
            PublicKey::from_pem(&document.id, pem.as_bytes())
                .map_err(|why| Unfit::new("InvalidArgument", format!("EncodedKey: {why}.")))?;
            Ok(format!("[[public_key]]\nid = {}\npem = {}\n\n", quoted(&document.id), quoted(pem)))
        }
        Kind::KeyGroup => {
            // The list is a plain one here, and has no Quantity.
            let all = config.get("Items").and_then(Value::as_array).into_iter().flatten();
            let keys: Vec<&str> = all.filter_map(Value::as_str).collect();
            Ok(format!("[key_group.{}]\nkeys = {}\n\n", quoted(&document.id), list(&keys)))
        }
        Kind::OriginAccessControl => {
            let protocol = text(config, &["SigningProtocol"]);
            if protocol == "sigv4" {
                return Ok(String::new());
            }
            let why = format!("SigningProtocol: {protocol} is not spoken here; sigv4 is.");
            Err(Unfit::new("InvalidArgument", why))
        }
        // Functions are no tables: configurations take them as they are.
        Kind::Distribution | Kind::OriginAccessIdentity | Kind::Function => Ok(String::new()),
    }
}

fn whole_percents(config: &Value) -> Result<(), Unfit> {
    let rate = strict::at(config, &["ServerTimingHeadersConfig", "SamplingRate"]);
    match rate.and_then(Value::as_f64) {
        Some(percent) if percent.fract() != 0.0 => Err(Unfit::new(
            "InvalidArgument",
            format!("ServerTimingHeadersConfig.SamplingRate: {percent} is no whole percent."),
        )),
        _ => Ok(()),
    }
}

fn policy(
    document: &Document,
    write: impl for<'d> FnOnce(&mut Job<'d, '_>, &Node<'d>) -> String,
) -> Result<String, Unfit> {
    let tree = Tree::new(document.id.clone(), document.config.clone());
    let root = tree.root();
    let wishes = Wishes::default();
    let mut job = Job::new(&wishes);
    root.take_each(&["Name", "Comment"]);
    let mut text = write(&mut job, &root);
    settled(&job, &tree)?;
    text.push('\n');
    Ok(text)
}

/// The documents that a document names: each kind, its id, and the place where it is named.
pub fn named(kind: Kind, config: &Value) -> Vec<(Kind, String, String)> {
    match kind {
        Kind::Distribution => named_by_distribution(config),
        Kind::KeyGroup => {
            let all = config.get("Items").and_then(Value::as_array).into_iter().flatten();
            let keys = all.filter_map(Value::as_str).enumerate();
            keys.map(|(at, id)| (Kind::PublicKey, id.to_string(), format!("Items[{at}]"))).collect()
        }
        _ => Vec::new(),
    }
}

fn named_by_distribution(config: &Value) -> Vec<(Kind, String, String)> {
    let mut all = Vec::new();
    for (place, one) in behaviors(config) {
        for (kind, key) in [
            (Kind::CachePolicy, "CachePolicyId"),
            (Kind::OriginRequestPolicy, "OriginRequestPolicyId"),
            (Kind::ResponseHeadersPolicy, "ResponseHeadersPolicyId"),
        ] {
            all.push((kind, text(one, &[key]).to_string(), format!("{place}.{key}")));
        }
        for id in texts(one, &["TrustedKeyGroups"]) {
            all.push((Kind::KeyGroup, id.to_string(), format!("{place}.TrustedKeyGroups")));
        }
        for one in strict::items(one, &["FunctionAssociations"]) {
            let name = name_of(text(one, &["FunctionARN"])).unwrap_or("").to_string();
            all.push((Kind::Function, name, format!("{place}.FunctionAssociations")));
        }
    }
    for (place, one) in strict::origins(config) {
        let control = text(one, &["OriginAccessControlId"]).to_string();
        all.push((Kind::OriginAccessControl, control, format!("{place}.OriginAccessControlId")));
        let identity = text(one, &["S3OriginConfig", "OriginAccessIdentity"]);
        let id = identity.rsplit('/').next().unwrap_or("").to_string();
        let place = format!("{place}.S3OriginConfig.OriginAccessIdentity");
        all.push((Kind::OriginAccessIdentity, id, place));
    }
    all.retain(|(_, id, _)| !id.is_empty());
    all
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use serde_json::json;

    fn document(id: &str, config: Value) -> Document {
        Document {
            id: id.into(),
            revision: 1,
            created: 0,
            modified: 0,
            domain: "dx.cloudfront.net".into(),
            tags: BTreeMap::from([("team".to_string(), "edge".to_string())]),
            config,
        }
    }

    fn least() -> Value {
        let mut config = json!({
            "CallerReference": "r", "Comment": "words & \"more\"", "Enabled": false,
            "Aliases": { "Quantity": 1, "Items": ["www.example.com"] },
            "Origins": { "Quantity": 1, "Items": [{ "Id": "o", "DomainName": "b.s3.eu-west-1.amazonaws.com",
                "OriginAccessControlId": "EOAC", "S3OriginConfig": { "OriginAccessIdentity": "" } }] },
            "DefaultCacheBehavior": { "TargetOriginId": "o", "ViewerProtocolPolicy": "allow-all",
                "CachePolicyId": "own", "TrustedKeyGroups": { "Enabled": true, "Quantity": 1, "Items": ["g"] } },
        });
        super::super::defaults::distribution(&mut config);
        config
    }

    fn shelf() -> Documents {
        let mut all = Documents::default();
        let control = json!({ "Name": "n", "SigningProtocol": "sigv4", "SigningBehavior": "no-override",
                              "OriginAccessControlOriginType": "s3" });
        all.put(Kind::OriginAccessControl, document("EOAC", control));
        all
    }

    #[test]
    fn a_distribution_is_written_whole() {
        let text = distribution(&document("E1", least()), &shelf()).unwrap();
        for line in [
            "id = \"E1\"",
            "hosts = [\"www.example.com\", \"dx.cloudfront.net\"]",
            "enabled = false",
            "comment = \"words & \\\"more\\\"\"",
            "tags = { \"team\" = \"edge\" }",
            "cache_policy = \"own\"",
            "compress = \"off\"",
            "trusted_key_groups = [\"g\"]",
            "access_control = { sign = \"no-override\", service = \"s3\", region = \"eu-west-1\" }",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        assert!(!text.contains("[key_group"), "{text}");
    }

    #[test]
    fn functions_are_named_as_behaviors_of_a_file_name_them() {
        let arn = |name: &str| format!("arn:aws:cloudfront::000000000177:function/{name}");
        let mut config = least();
        config["DefaultCacheBehavior"]["FunctionAssociations"] = json!({ "Quantity": 2, "Items": [
            { "EventType": "viewer-request", "FunctionARN": arn("index") },
            { "EventType": "viewer-response", "FunctionARN": arn("mark") },
        ] });
        let text = distribution(&document("E1", config.clone()), &shelf()).unwrap();
        let line = "functions = { viewer_request = \"index\", viewer_response = \"mark\" }";
        assert!(text.lines().any(|known| known == line), "{text}");
        assert!(!text.contains("[function."), "{text}");
        let found = named(Kind::Distribution, &config);
        let ids: Vec<&str> = found
            .iter()
            .filter(|(kind, ..)| *kind == Kind::Function)
            .map(|(_, id, _)| id.as_str())
            .collect();
        assert_eq!(ids, ["index", "mark"]);
    }

    #[test]
    fn whatever_an_import_would_report_is_refused() {
        let refused = |change: fn(&mut Value)| {
            let mut config = least();
            change(&mut config);
            distribution(&document("E1", config), &shelf()).unwrap_err().message
        };
        let said = refused(|config| config["Origins"]["Items"][0]["ConnectionAttempts"] = 9.into());
        assert!(said.contains("ConnectionAttempts = 9"), "{said}");
        let said = refused(|config| config["Origins"]["Items"][0]["DomainName"] = "a b".into());
        assert!(said.contains("DomainName"), "{said}");
        let said = refused(|config| config["Later"] = json!({ "Field": 1 }));
        assert!(said.starts_with("Later.Field:"), "{said}");
    }

    #[test]
    fn legacy_settings_have_a_table_of_the_distributions_own() {
        let mut config = least();
        let behavior = &mut config["DefaultCacheBehavior"];
        behavior["CachePolicyId"] = "".into();
        behavior["ForwardedValues"] =
            json!({ "QueryString": true, "Cookies": { "Forward": "none" } });
        behavior["MinTTL"] = 1.into();
        let text = distribution(&document("E1", config), &shelf()).unwrap();
        assert!(text.starts_with("[cache_policy.\"E1: settings of *\"]\n"), "{text}");
    }

    #[test]
    fn what_is_named_is_found_with_its_place() {
        let found = named(Kind::Distribution, &least());
        let ids: Vec<(Kind, &str)> =
            found.iter().map(|(kind, id, _)| (*kind, id.as_str())).collect();
        assert_eq!(
            ids,
            [
                (Kind::CachePolicy, "own"),
                (Kind::KeyGroup, "g"),
                (Kind::OriginAccessControl, "EOAC")
            ]
        );
        assert_eq!(found[0].2, "DefaultCacheBehavior.CachePolicyId");
        let group = json!({ "Name": "g", "Items": ["K1"] });
        assert_eq!(named(Kind::KeyGroup, &group)[0].1, "K1");
        assert!(named(Kind::CachePolicy, &group).is_empty());
    }

    #[test]
    fn policies_have_their_ids_for_names() {
        let config = json!({ "Name": "mine", "MinTTL": 1, "ParametersInCacheKeyAndForwardedToOrigin": {
            "EnableAcceptEncodingGzip": true, "HeadersConfig": { "HeaderBehavior": "none" },
            "CookiesConfig": { "CookieBehavior": "none" }, "QueryStringsConfig": { "QueryStringBehavior": "all" } } });
        let text = table(Kind::CachePolicy, &document("6f-1", config)).unwrap();
        assert!(text.starts_with("[cache_policy.\"6f-1\"]\n") && text.contains("query = \"all\""));
        let half =
            json!({ "ServerTimingHeadersConfig": { "Enabled": true, "SamplingRate": 12.5 } });
        let why = table(Kind::ResponseHeadersPolicy, &document("r", half)).unwrap_err().message;
        assert!(why.contains("SamplingRate"), "{why}");
        let key = json!({ "EncodedKey": "none" });
        assert!(
            table(Kind::PublicKey, &document("K", key)).unwrap_err().message.contains("EncodedKey")
        );
    }
}
