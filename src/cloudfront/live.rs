//! Pure: documents of the API as configuration that is served as it is, in the place of a file that
//! an operator would look at.
//!
//! It is the import's own work (`import`), held to more: whatever the import would only report is
//! refused here, so that nothing is stored that would not be obeyed. Policies and keys are written
//! once, under their ids, and distributions name them so.

use std::fmt::Write;

use serde_json::Value;

use super::deployment::{self, Role};
use super::forms;
use super::import::{Control, Job, Wishes, list, quoted};
use super::import_behaviors::{name_of, realtime_log_of};
use super::node::{Document as Tree, Node};
use super::report::Rank;
use super::strict::{self, Unfit, behaviors, text, texts};
use super::trust;
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
    let role = role(document, all);
    take_what_is_elsewhere(&root);
    job.origins(&root);
    job.groups(&root);
    job.behaviors(&root);
    job.errors(&root);
    let parts = std::mem::take(&mut job.out);
    head(&mut job.out, document, all, &hosts, &role);
    tag_header(&mut job.out, &root)?;
    job.geo(&root);
    let made: String = job.made.values().map(String::as_str).collect();
    let whole = format!("{made}{}{parts}", job.out);
    settled(&job, &tree)?;
    Ok(whole)
}

// A distribution that is left aside has no viewers to share.
fn role(document: &Document, all: &Documents) -> Role {
    let role = deployment::role(document, all);
    let Role::Tried { of, .. } = &role else { return role };
    let primary = all.get(Kind::Distribution, of);
    if primary.is_some_and(|primary| distribution(primary, all).is_ok()) {
        role
    } else {
        Role::Waiting
    }
}

// The table of the distribution itself.
fn head(out: &mut String, document: &Document, all: &Documents, hosts: &[String], role: &Role) {
    let config = &document.config;
    let _ = writeln!(out, "[[distribution]]\nid = {}", quoted(&document.id));
    match role {
        Role::Tried { line, .. } => out.push_str(line),
        Role::Own | Role::Waiting => {
            let _ = writeln!(out, "hosts = {}", list(hosts));
        }
    }
    if !strict::is(config, &["Enabled"]) || *role == Role::Waiting {
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
        known @ ("http1.1" | "http3" | "http2and3") => known,
        _ => "http2",
    };
    let _ = writeln!(out, "http_version = {}", quoted(version));
    out.push_str("compat = \"cloudfront\"\n");
    // The handshake is over before a side is chosen: it is the primary distribution's.
    if *role == Role::Own {
        viewers_certificates(out, config, all);
    }
}

// The trust store is one of the configuration's own, by its name or as what a document's bundle is.
fn viewers_certificates(out: &mut String, config: &Value, all: &Documents) {
    let Some(rule) = strict::at(config, &["ViewerMtlsConfig"]) else { return };
    let store = "TrustStoreConfig";
    match text(rule, &["Mode"]) {
        "" | "required" if text(rule, &[store, "TrustStoreId"]).is_empty() => {}
        "passthrough" => out.push_str("client_certificates = { mode = \"passthrough\" }\n"),
        mode => {
            let mode = if mode == "optional" { "optional" } else { "required" };
            let flag = |name: &str| strict::is(rule, &[store, name]);
            let named = text(rule, &[store, "TrustStoreId"]);
            let known = all.get(Kind::TrustStore, trust::id_of(named));
            let named = known.map_or_else(|| named.to_string(), |one| trust::bundle(&one.config));
            let _ = writeln!(
                out,
                "client_certificates = {{ mode = \"{mode}\", trust_store_id = {}, ignore_expiry = {}, advertise = {} }}",
                quoted(&named),
                flag("IgnoreCertificateExpiry"),
                flag("AdvertiseTrustStoreCaNames")
            );
        }
    }
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
        "ContinuousDeploymentPolicyId",
        "DefaultRootObject",
        "Enabled",
        "HttpVersion",
        "IsIPV6Enabled",
        "ConnectionMode",
        "Logging",
        "PriceClass",
        "Staging",
        "ViewerCertificate",
        "ViewerMtlsConfig",
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
            policy(document, |job, root| job.response_policy(&document.id, root))
        }
        Kind::PublicKey => {
            let pem = text(config, &["EncodedKey"]);
            PublicKey::from_pem(&document.id, pem.as_bytes())
                .map_err(|why| Unfit::new("InvalidArgument", format!("EncodedKey: {why}.")))?;
            let name = text(config, &["Name"]);
            let name = if name.is_empty() { document.id.as_str() } else { name };
            let (id, name, pem) = (quoted(&document.id), quoted(name), quoted(pem));
            Ok(format!("[[public_key]]\nid = {id}\nname = {name}\npem = {pem}\n\n"))
        }
        Kind::KeyGroup => {
            // The list is a plain one here, and has no Quantity.
            let all = config.get("Items").and_then(Value::as_array).into_iter().flatten();
            let keys: Vec<&str> = all.filter_map(Value::as_str).collect();
            Ok(format!("[key_group.{}]\nkeys = {}\n\n", quoted(&document.id), list(&keys)))
        }
        Kind::FieldEncryptionProfile => forms::profile(&document.id, config),
        Kind::FieldEncryption => forms::config(&document.id, config),
        Kind::OriginAccessControl => {
            let protocol = text(config, &["SigningProtocol"]);
            if protocol == "sigv4" {
                return Ok(String::new());
            }
            let why = format!("SigningProtocol: {protocol} is not spoken here; sigv4 is.");
            Err(Unfit::new("InvalidArgument", why))
        }
        Kind::ContinuousDeploymentPolicy => deployment::check(config).map(|()| String::new()),
        // Functions are no tables: configurations take them as they are. A subscription asks for
        // what is counted in any case; a real-time log is the file's, which says what is in it, and so
        // are the certificates of a trust store.
        Kind::Distribution
        | Kind::OriginAccessIdentity
        | Kind::Function
        | Kind::MonitoringSubscription
        | Kind::RealtimeLogConfig
        | Kind::TrustStore => Ok(String::new()),
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
        Kind::FieldEncryptionProfile | Kind::FieldEncryption => forms::named(config)
            .into_iter()
            .map(|(kind, id, place)| (kind, id.to_string(), place))
            .collect(),
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
            (Kind::FieldEncryption, "FieldLevelEncryptionId"),
        ] {
            all.push((kind, text(one, &[key]).to_string(), format!("{place}.{key}")));
        }
        for id in texts(one, &["TrustedKeyGroups"]) {
            all.push((Kind::KeyGroup, id.to_string(), format!("{place}.TrustedKeyGroups")));
        }
        let log = realtime_log_of(text(one, &["RealtimeLogConfigArn"])).unwrap_or("");
        all.push((
            Kind::RealtimeLogConfig,
            log.to_string(),
            format!("{place}.RealtimeLogConfigArn"),
        ));
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
    let policy = "ContinuousDeploymentPolicyId";
    let id = text(config, &[policy]).to_string();
    all.push((Kind::ContinuousDeploymentPolicy, id, policy.to_string()));
    let store = ["ViewerMtlsConfig", "TrustStoreConfig", "TrustStoreId"];
    let id = trust::id_of(text(config, &store)).to_string();
    all.push((Kind::TrustStore, id, store.join(".")));
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
            domain: "dx.cloudfront.net".into(),
            tags: BTreeMap::from([("team".to_string(), "edge".to_string())]),
            ..Document::new(id, config, 0)
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
    fn what_an_origin_and_its_methods_say_is_obeyed() {
        let mut config = least();
        let origin = &mut config["Origins"]["Items"][0];
        origin["ResponseCompletionTimeout"] = 60.into();
        origin["CustomOriginConfig"] = json!({
            "HTTPPort": 8080, "HTTPSPort": 8443, "OriginProtocolPolicy": "match-viewer",
            "OriginSslProtocols": { "Quantity": 3, "Items": ["TLSv1", "TLSv1.1", "TLSv1.2"] },
            "IpAddressType": "ipv6",
        });
        origin["DomainName"] = "o.test".into();
        for key in ["S3OriginConfig", "OriginAccessControlId"] {
            origin.as_object_mut().unwrap().remove(key);
        }
        config["DefaultCacheBehavior"]["AllowedMethods"] = json!({
            "Quantity": 3, "Items": ["GET", "HEAD", "OPTIONS"],
            "CachedMethods": { "Quantity": 3, "Items": ["GET", "HEAD", "OPTIONS"] },
        });
        let text = distribution(&document("E1", config), &shelf()).unwrap();
        for words in [
            "url = \"https://o.test:8443\"",
            "match_viewer = true",
            "http_port = 8080",
            "ip = \"ipv6\"",
            "complete = \"60s\"",
            "cache_options = true",
        ] {
            assert!(text.contains(words), "{words} is not in\n{text}");
        }
    }

    #[test]
    fn a_staging_distribution_is_reached_by_its_primarys_viewers_alone() {
        let mut config = least();
        config["Aliases"] = json!({ "Quantity": 0 });
        config["Enabled"] = true.into();
        config["Staging"] = true.into();
        config["ViewerMtlsConfig"] = json!({ "Mode": "passthrough" });
        let staging = document("S1", config);
        let mut all = shelf();
        all.put(Kind::Distribution, staging.clone());
        let text = distribution(&staging, &all).unwrap();
        let lines = |text: &str| text.lines().map(String::from).collect::<Vec<String>>();
        assert!(lines(&text).contains(&"enabled = false".to_string()), "{text}");
        let mut primary = document("P1", least());
        primary.config["ContinuousDeploymentPolicyId"] = "CD".into();
        primary.domain = "dp.cloudfront.net".into();
        all.put(Kind::Distribution, primary);
        let policy = json!({ "Enabled": true,
            "StagingDistributionDnsNames": { "Quantity": 1, "Items": ["dx.cloudfront.net"] },
            "TrafficConfig": { "Type": "SingleWeight", "SingleWeightConfig": { "Weight": 0.05 } } });
        all.put(Kind::ContinuousDeploymentPolicy, document("CD", policy));
        let text = distribution(&staging, &all).unwrap();
        let all_lines = lines(&text);
        assert!(
            all_lines.contains(&"staging = { of = \"P1\", percent = 5 }".to_string()),
            "{text}"
        );
        for absent in ["hosts = ", "enabled = ", "client_certificates = "] {
            assert!(!all_lines.iter().any(|line| line.starts_with(absent)), "{text}");
        }
        // A primary distribution that cannot be served shares nothing.
        let mut broken = document("P1", json!({ "ContinuousDeploymentPolicyId": "CD" }));
        broken.config["TenantConfig"] = json!({ "x": 1 });
        all.put(Kind::Distribution, broken);
        let text = distribution(&staging, &all).unwrap();
        assert!(text.contains("enabled = false\n"), "{text}");
    }

    #[test]
    fn viewers_certificates_are_held_to_a_trust_store_of_the_configuration() {
        let line = |rule: Value| {
            let mut config = least();
            config["ViewerMtlsConfig"] = rule;
            let text = distribution(&document("E1", config), &shelf()).unwrap();
            text.lines().find(|line| line.starts_with("client_")).unwrap_or("").to_string()
        };
        let store = json!({ "TrustStoreId": "ts", "IgnoreCertificateExpiry": true });
        assert_eq!(
            line(json!({ "Mode": "optional", "TrustStoreConfig": store })),
            "client_certificates = { mode = \"optional\", trust_store_id = \"ts\", ignore_expiry = true, advertise = false }"
        );
        // A document's is that of its bundle.
        let mut all = shelf();
        let bundle = json!({ "Name": "n", "CaCertificatesBundleSource": { "CaCertificatesBundleS3Location":
            { "Bucket": "b", "Key": "ca.pem", "Region": "eu-west-1" } } });
        all.put(Kind::TrustStore, document("ts_1", bundle));
        let mut config = least();
        config["ViewerMtlsConfig"] =
            json!({ "Mode": "required", "TrustStoreConfig": { "TrustStoreId": "ts_1" } });
        let text = distribution(&document("E1", config), &all).unwrap();
        assert!(text.contains("trust_store_id = \"s3://b/ca.pem\", "), "{text}");
        let passed = "client_certificates = { mode = \"passthrough\" }";
        assert_eq!(line(json!({ "Mode": "passthrough" })), passed);
        assert_eq!(line(json!({})), "");
    }

    #[test]
    fn calls_of_grpc_are_asked_over_http2_whatever_else_is_said() {
        let mut config = least();
        config["Origins"]["Items"][0] = json!({ "Id": "o", "DomainName": "app.example.com",
            "CustomOriginConfig": { "OriginProtocolPolicy": "https-only", "OriginHttpVersion": "http1.1" } });
        let all = ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"];
        config["DefaultCacheBehavior"]["AllowedMethods"] = json!({ "Quantity": 7, "Items": all });
        config["DefaultCacheBehavior"]["GrpcConfig"] = json!({ "Enabled": true });
        let arn = "arn:aws:acm:us-east-1:1:certificate/c";
        config["Origins"]["Items"][0]["CustomOriginConfig"]["OriginMtlsConfig"] =
            json!({ "ClientCertificateArn": arn });
        let shown = format!("tls = {{ certificate_id = \"{arn}\" }}");
        let text = distribution(&document("E1", config.clone()), &shelf()).unwrap();
        assert!(text.lines().any(|known| known == shown), "{text}");
        config["Origins"]["Items"][0]["CustomOriginConfig"]["OriginMtlsConfig"].take();
        for line in ["http_version = \"http2\"", "grpc = true", "methods = \"all\""] {
            assert!(text.lines().any(|known| known == line), "{line} is not in\n{text}");
        }
        let mut matching = config.clone();
        let custom = &mut matching["Origins"]["Items"][0]["CustomOriginConfig"];
        custom["OriginProtocolPolicy"] = "match-viewer".into();
        let said = distribution(&document("E1", matching), &shelf()).unwrap_err().message;
        assert!(said.contains("OriginProtocolPolicy = match-viewer"), "{said}");
        let custom = &mut config["Origins"]["Items"][0]["CustomOriginConfig"];
        custom["OriginProtocolPolicy"] = "http-only".into();
        let said = distribution(&document("E1", config), &shelf()).unwrap_err().message;
        assert!(said.ends_with("an origin that is asked over HTTP/2."), "{said}");
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
    fn lambdas_are_named_by_their_arns_and_shown_bodies_where_they_ask() {
        let arn = "arn:aws:lambda:us-east-1:000000000177:function:resize:3";
        let of = |event: &str, body: bool| json!({ "EventType": event, "LambdaFunctionARN": arn, "IncludeBody": body });
        let mut config = least();
        config["DefaultCacheBehavior"]["LambdaFunctionAssociations"] = json!({ "Quantity": 2,
            "Items": [of("origin-request", true), of("origin-response", false)] });
        let text = distribution(&document("E1", config), &shelf()).unwrap();
        let line = format!(
            "functions = {{ origin_request = \"{arn}\", origin_response = \"{arn}\", body = [\"origin_request\"] }}"
        );
        assert!(text.lines().any(|known| known == line), "{text}");
    }

    #[test]
    fn a_behavior_is_told_of_in_the_real_time_log_that_it_names() {
        let mut config = least();
        let arn = "arn:aws:cloudfront::000000000177:realtime-log-config/all";
        config["DefaultCacheBehavior"]["RealtimeLogConfigArn"] = arn.into();
        let text = distribution(&document("E1", config.clone()), &shelf()).unwrap();
        assert!(text.lines().any(|known| known == "realtime_config = \"all\""), "{text}");
        let found = named(Kind::Distribution, &config);
        let log = found.iter().find(|(kind, ..)| *kind == Kind::RealtimeLogConfig).unwrap();
        assert_eq!(log.1, "all");
        config["DefaultCacheBehavior"]["RealtimeLogConfigArn"] = "all".into();
        let said = distribution(&document("E1", config), &shelf()).unwrap_err().message;
        assert!(said.contains("RealtimeLogConfigArn"), "{said}");
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
        // What was compiled of one is used again whatever became of others (`config/units.rs`).
        assert!(found.iter().all(|(kind, ..)| *kind != Kind::Distribution));
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
        let text = table(Kind::ResponseHeadersPolicy, &document("r", half)).unwrap();
        assert!(text.contains("server_timing = 12.5\n"), "{text}");
        let key = json!({ "EncodedKey": "none" });
        assert!(
            table(Kind::PublicKey, &document("K", key)).unwrap_err().message.contains("EncodedKey")
        );
    }
}
