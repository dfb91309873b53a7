//! The rules that documents are held to whatever call they came by: which ones go together, what of
//! them stays, and the faults of the rest.

use std::collections::BTreeMap;
use std::mem::take;
use std::sync::Arc;

use serde_json::{Value, json};

use super::kinds::Names;
use super::views::View;
use super::xml::Fault;
use crate::cloudfront::strict::{is, text};
use crate::cloudfront::{defaults, deployment, export, live};
use crate::crypto::sigv4::sha256;
use crate::distribution::functions::{Function, Kept, lambda_of};
use crate::distribution::site::Site;
use crate::documents::function::FunctionStages;
use crate::documents::shelf::{Document, Documents, Kind, Mismatch};
use crate::invalidation::log::new_id;

/// Tags of one resource (CloudFront's quota).
pub const TAGS_MAX: usize = 50;

/// There is no such document.
pub fn unknown(names: &Names) -> Fault {
    let what = match names.kind {
        Kind::Distribution => "distribution",
        Kind::CachePolicy => "cache policy",
        Kind::OriginRequestPolicy => "origin request policy",
        Kind::ResponseHeadersPolicy => "response headers policy",
        Kind::OriginAccessControl => "origin access control",
        Kind::OriginAccessIdentity => "origin access identity",
        Kind::PublicKey => "public key",
        Kind::KeyGroup => "key group",
        Kind::FieldEncryptionProfile => "profile for field-level encryption",
        Kind::FieldEncryption => "configuration for field-level encryption",
        Kind::ContinuousDeploymentPolicy => "continuous deployment policy",
        Kind::Function => "function",
        Kind::MonitoringSubscription => "monitoring subscription",
        Kind::RealtimeLogConfig => "real-time log configuration",
        Kind::TrustStore => "trust store",
    };
    Fault::of(names.unknown, &format!("The specified {what} does not exist."))
}

/// There is one already.
pub fn exists(names: &Names, id: &str) -> Fault {
    let why = match names.kind {
        // The words are CloudFront's own: callers read which one there is behind them.
        Kind::Distribution => format!(
            "The caller reference that you are using to create a distribution is associated with another distribution. Already exists: {id}"
        ),
        _ => format!("There is one with this name or caller reference already: {id}."),
    };
    Fault::of(names.exists, &why)
}

/// The fault of a caller that names no version, or another one.
pub fn mismatch(why: Mismatch) -> Fault {
    match why {
        Mismatch::Missing => Fault::of(
            "InvalidIfMatchVersion",
            "The If-Match version is missing or not valid for the resource.",
        ),
        Mismatch::Other => Fault::of(
            "PreconditionFailed",
            "The request failed because it didn't meet the preconditions in one or more request-header fields.",
        ),
    }
}

/// Something that a document of a kind names is not there.
pub fn missing(by: Kind, kind: Kind, id: &str, place: &str) -> Fault {
    let code = match kind {
        Kind::KeyGroup => "TrustedKeyGroupDoesNotExist",
        Kind::OriginAccessControl => "InvalidOriginAccessControl",
        Kind::OriginAccessIdentity => "InvalidOriginAccessIdentity",
        Kind::PublicKey if by == Kind::KeyGroup => "InvalidArgument",
        Kind::Function => "InvalidFunctionAssociation",
        Kind::RealtimeLogConfig => "NoSuchRealtimeLogConfig",
        other => Names::of(other).unknown,
    };
    let what = match kind {
        Kind::Function => "published function",
        other => other.word(),
    };
    Fault::of(code, &format!("{place}: there is no {what} {id}."))
}

/// Says whether behaviors can run a function: it is published, or one of the configuration's own.
pub fn is_served(name: &str, site: &Site, documents: &Documents) -> bool {
    let is_live = |document: &Arc<Document>| {
        FunctionStages::of(document).is_ok_and(|stages| stages.live.is_some())
    };
    let is_own = |known: &Arc<Function>| *known.name == *name && known.kept == Kept::File;
    documents.get(Kind::Function, name).is_some_and(is_live) || site.functions.iter().any(is_own)
}

/// Every lambda that a behavior names is one of the file's.
pub fn lambdas_exist(config: &Value, site: &Site) -> Result<(), Fault> {
    for (place, behavior) in crate::cloudfront::strict::behaviors(config) {
        let all = crate::cloudfront::strict::items(behavior, &["LambdaFunctionAssociations"]);
        for (at, one) in all.iter().enumerate() {
            let arn = text(one, &["LambdaFunctionARN"]);
            if lambda_of(&site.lambdas, arn).is_none() {
                let why = format!(
                    "{place}.LambdaFunctionAssociations.Items[{at}]: there is no lambda for {arn}; the file names it by [lambda.NAME], or by arn."
                );
                return Err(Fault::of("InvalidLambdaFunctionAssociation", &why));
            }
        }
    }
    Ok(())
}

/// Every origin that a behavior or a group names is there.
pub fn origins_exist(config: &Value) -> Result<(), Fault> {
    let ids = |list: &str| -> Vec<&str> {
        let all = crate::cloudfront::strict::items(config, &[list]).iter();
        all.map(|one| text(one, &["Id"])).collect()
    };
    let (origins, groups) = (ids("Origins"), ids("OriginGroups"));
    for (place, behavior) in crate::cloudfront::strict::behaviors(config) {
        let target = text(behavior, &["TargetOriginId"]);
        if !origins.contains(&target) && !groups.contains(&target) {
            let why = format!(
                "One or more of your origins or origin groups do not exist. {place}.TargetOriginId: there is no origin {target:?}."
            );
            return Err(Fault::of("NoSuchOrigin", &why));
        }
    }
    Ok(())
}

/// What CloudFront adds of itself.
pub fn complete(kind: Kind, config: &mut Value) {
    match kind {
        Kind::Distribution => defaults::distribution(config),
        Kind::CachePolicy => defaults::cache_policy(config),
        Kind::PublicKey => defaults::public_key(config),
        _ => {}
    }
}

/// The first of some documents that a configuration is for: by a word that its caller chose.
pub fn same_as<'d>(
    kind: Kind,
    mut all: impl Iterator<Item = &'d Arc<Document>>,
    config: &Value,
) -> Option<&'d Arc<Document>> {
    let keys: &[&'static str] = match kind {
        Kind::Distribution | Kind::OriginAccessIdentity | Kind::FieldEncryption => {
            &["CallerReference"]
        }
        Kind::PublicKey | Kind::FieldEncryptionProfile => &["CallerReference", "Name"],
        _ => &["Name"],
    };
    let words = keys.iter().map(|key| (*key, text(config, &[*key])));
    let words: Vec<(&str, &str)> = words.filter(|(_, word)| !word.is_empty()).collect();
    all.find(|known| words.iter().any(|(key, word)| known.text(&[*key]) == *word))
}

/// The managed policy of a kind that has the name of this configuration.
pub fn managed_of(kind: Kind, config: &Value) -> Option<&'static str> {
    export::managed_by_name(kind, text(config, &["Name"]))
}

/// What a change may not touch.
pub fn keeps_what_stays(kind: Kind, known: &Value, config: &Value) -> Result<(), Fault> {
    let (code, keys): (&'static str, &[&str]) = match kind {
        Kind::Distribution
        | Kind::OriginAccessIdentity
        | Kind::FieldEncryptionProfile
        | Kind::FieldEncryption => ("IllegalUpdate", &["CallerReference"]),
        Kind::PublicKey => {
            ("CannotChangeImmutablePublicKeyFields", &["CallerReference", "Name", "EncodedKey"])
        }
        _ => return Ok(()),
    };
    if kind == Kind::Distribution && is(known, &["Staging"]) != is(config, &["Staging"]) {
        return Err(Fault::of(code, "Staging cannot be changed."));
    }
    match keys.iter().find(|key| text(known, &[**key]).trim() != text(config, &[**key]).trim()) {
        Some(key) => Err(Fault::of(code, &format!("{key} cannot be changed."))),
        None => Ok(()),
    }
}

/// A document that names another one.
pub fn user_of(kind: Kind, id: &str, view: &View<'_>) -> Option<String> {
    // What names it beside distributions.
    let between: &[Kind] = match kind {
        Kind::PublicKey => &[Kind::KeyGroup, Kind::FieldEncryptionProfile],
        Kind::FieldEncryptionProfile => &[Kind::FieldEncryption],
        _ => &[],
    };
    for by in between {
        let names = |one: &&Arc<Document>| {
            let named = live::named(*by, &one.config);
            named.iter().any(|(of, named, _)| *of == kind && named == id)
        };
        if let Some(one) = view.documents.of(*by).find(names) {
            return Some(one.id.clone());
        }
    }
    if kind == Kind::Distribution {
        let domain = &view.documents.get(kind, id)?.domain;
        return deployment::policy_of(domain, view.documents).map(|policy| policy.id.clone());
    }
    view.users(kind, id).into_iter().next()
}

/// Holds a deployment to its rules: a policy gives viewers to a staging distribution that is there
/// and has no other policy, and shares the viewers of one distribution alone.
pub fn deploys_alone(kind: Kind, document: &Document, all: &Documents) -> Result<(), Fault> {
    if kind == Kind::Distribution {
        let policy = text(&document.config, &["ContinuousDeploymentPolicyId"]);
        let is_another = |one: &&Arc<Document>| {
            one.id != document.id && one.text(&["ContinuousDeploymentPolicyId"]) == policy
        };
        let other = all.of(kind).find(is_another).filter(|_| !policy.is_empty());
        return other.map_or(Ok(()), |other| {
            let why = format!("ContinuousDeploymentPolicyId: {} names it already.", other.id);
            Err(Fault::of("ContinuousDeploymentPolicyInUse", &why))
        });
    }
    if kind != Kind::ContinuousDeploymentPolicy {
        return Ok(());
    }
    for domain in deployment::names(document) {
        let is_staging =
            |one: &Arc<Document>| one.domain == domain && is(&one.config, &["Staging"]);
        if !all.of(Kind::Distribution).any(is_staging) {
            let why = format!("StagingDistributionDnsNames: {domain} is no staging distribution.");
            return Err(Fault::of("InvalidArgument", &why));
        }
        let is_another = |one: &&Arc<Document>| {
            one.id != document.id && deployment::names(one).contains(&domain)
        };
        if let Some(other) = all.of(kind).find(is_another) {
            let why = format!("StagingDistributionDnsNames: {domain} has the policy {}.", other.id);
            return Err(Fault::of("StagingDistributionInUse", &why));
        }
    }
    Ok(())
}

/// An id that no other document has. Distributions are listed by theirs, and so in the order in
/// which they were made, `now` in milliseconds.
pub fn fresh_id(kind: Kind, now: u64) -> String {
    // `I` and thirteen letters or digits.
    let word = new_id();
    match kind {
        Kind::Distribution => format!("E{}{}", in_order(now), &word[10..]),
        Kind::OriginAccessControl | Kind::OriginAccessIdentity => {
            format!("E{}", &word[1..])
        }
        Kind::PublicKey => format!("K{}", &word[1..]),
        Kind::FieldEncryptionProfile => format!("P{}", &word[1..]),
        Kind::FieldEncryption => format!("C{}", &word[1..]),
        _ => {
            let hex = sha256(format!("{word}{}", new_id()).as_bytes());
            // A UUID's form, version 4.
            let (a, b, c, d, e) =
                (&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]);
            format!("{a}-{b}-4{c}-8{d}-{e}")
        }
    }
}

// Nine digits and letters that stand in the order of numbers, to the year 5000.
fn in_order(number: u64) -> String {
    const DIGITS: &[u8; 36] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    let digit = |place: u32| DIGITS[(number / 36u64.pow(place) % 36) as usize] as char;
    (0..9).rev().map(digit).collect()
}

/// The name that a new distribution is reached by; none of other kinds.
pub fn domain(kind: Kind, site: &Site) -> String {
    match (&site.api, kind) {
        (Some(api), Kind::Distribution) => {
            format!("d{}.{}", new_id()[1..].to_ascii_lowercase(), api.domain)
        }
        _ => String::new(),
    }
}

/// Tags of a body: `{ "Items": [{ "Key": …, "Value": … }] }`.
pub fn tags_of(tags: &Value) -> Result<BTreeMap<String, String>, Fault> {
    let mut all = BTreeMap::new();
    for tag in tags["Items"].as_array().into_iter().flatten() {
        let (key, value) = (text(tag, &["Key"]), text(tag, &["Value"]));
        let is_good = (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && !key.starts_with("aws:");
        if !is_good || all.insert(key.to_string(), value.to_string()).is_some() {
            return Err(Fault::of("InvalidTagging", &format!("The tag {key:?} is not valid.")));
        }
    }
    if all.len() > TAGS_MAX {
        let why = format!("There are at most {TAGS_MAX} tags.");
        return Err(Fault::of("InvalidTagging", &why));
    }
    Ok(all)
}

/// The tags of a body whose elements are seen one after the other.
#[derive(Debug, Default)]
pub struct TagsSeen {
    key: String,
    value: String,
    all: Vec<Value>,
}

impl TagsSeen {
    /// Takes the end of an element below `Tags`, with the text in it; `false` if tags have no such.
    pub fn see(&mut self, place: &[&str], words: &str) -> bool {
        match place {
            ["Items", "Tag", "Key"] => self.key = words.to_string(),
            ["Items", "Tag", "Value"] => self.value = words.to_string(),
            ["Items", "Tag"] => {
                let (key, value) = (take(&mut self.key), take(&mut self.value));
                self.all.push(json!({ "Key": key, "Value": value }));
            }
            [] | ["Items"] => {}
            _ => return false,
        }
        true
    }

    /// All of them, held to their rules.
    pub fn done(self) -> Result<BTreeMap<String, String>, Fault> {
        tags_of(&json!({ "Items": self.all }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_the_forms_that_they_have_at_cloudfront() {
        let id = fresh_id(Kind::Distribution, 1_795_000_000_000);
        assert!(id.len() == 14 && id.starts_with('E'), "{id}");
        assert!(id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()), "{id}");
        assert_ne!(id, fresh_id(Kind::Distribution, 1_795_000_000_000));
        assert!(fresh_id(Kind::PublicKey, 0).starts_with('K'));
        let id = fresh_id(Kind::CachePolicy, 0);
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_ne!(id, fresh_id(Kind::CachePolicy, 0));
    }

    #[test]
    fn ids_of_distributions_are_in_the_order_in_which_these_were_made() {
        let moments =
            [0, 35, 36, 1_295, 1_296, 1_795_000_000_000, 1_795_000_000_001, 95_000_000_000_000];
        let ids: Vec<String> =
            moments.iter().map(|now| fresh_id(Kind::Distribution, *now)).collect();
        assert!(ids.is_sorted(), "{ids:?}");
    }

    #[test]
    fn a_managed_policys_name_is_no_others() {
        let named = |name: &str| json!({ "Name": name });
        for (kind, name) in [
            (Kind::CachePolicy, "Managed-CachingDisabled"),
            (Kind::CachePolicy, "UseOriginCacheControlHeaders"),
            (Kind::OriginRequestPolicy, "Managed-AllViewer"),
            (Kind::ResponseHeadersPolicy, "Managed-SimpleCORS"),
        ] {
            assert!(managed_of(kind, &named(name)).is_some(), "{name}");
        }
        assert_eq!(
            managed_of(Kind::CachePolicy, &named("Managed-AllViewer")),
            None,
            "of another kind"
        );
        assert_eq!(managed_of(Kind::CachePolicy, &named("CachingDisabled")), None);
        assert_eq!(managed_of(Kind::KeyGroup, &named("Managed-CachingDisabled")), None);
    }

    #[test]
    fn a_configuration_is_for_the_document_with_its_callers_word() {
        let document = |id: &str, config: Value| Arc::new(Document::new(id, config, 0));
        let all = [
            document("A", json!({ "CallerReference": "r", "Name": "" })),
            document("B", json!({ "CallerReference": "s", "Name": "n" })),
        ];
        let found = |kind, config: Value| same_as(kind, all.iter(), &config).map(|one| &*one.id);
        let word = |key: &str, word: &str| json!({ key: word });
        for (kind, config, want) in [
            (Kind::Distribution, word("CallerReference", "s"), Some("B")),
            (Kind::Distribution, word("Name", "n"), None),
            // Who says nothing means none of them.
            (Kind::Distribution, word("CallerReference", ""), None),
            (Kind::CachePolicy, word("Name", "n"), Some("B")),
            (Kind::CachePolicy, word("CallerReference", "r"), None),
            (Kind::PublicKey, word("CallerReference", "r"), Some("A")),
            (Kind::PublicKey, word("Name", "n"), Some("B")),
        ] {
            assert_eq!(found(kind, config.clone()), want, "{kind:?} {config}");
        }
    }

    #[test]
    fn tags_are_held_to_their_rules() {
        let tag = |key: &str, value: &str| json!({ "Key": key, "Value": value });
        let read = |tags: Vec<Value>| tags_of(&json!({ "Items": tags }));
        assert_eq!(read(vec![tag("a", "1"), tag("b", "")]).unwrap().len(), 2);
        let many = (0..=TAGS_MAX).map(|at| tag(&at.to_string(), "")).collect();
        for bad in [
            vec![tag("", "1")],
            vec![tag("aws:x", "1")],
            vec![tag("a", "1"), tag("a", "2")],
            vec![tag(&"k".repeat(129), "")],
            vec![tag("k", &"v".repeat(257))],
            many,
        ] {
            assert_eq!(read(bad).unwrap_err().code, "InvalidTagging");
        }
        let mut seen = TagsSeen::default();
        for (place, words) in [
            ("Items/Tag/Key", "a"),
            ("Items/Tag/Value", "1"),
            ("Items/Tag", ""),
            ("Items/Tag/Key", "b"),
            ("Items/Tag", ""),
            ("Items", ""),
        ] {
            let place: Vec<&str> = place.split('/').collect();
            assert!(seen.see(&place, words), "{place:?}");
        }
        assert!(seen.see(&[], "") && !seen.see(&["Items", "Other"], ""));
        let want = [("a", "1"), ("b", "")].map(|(key, tag)| (key.to_string(), tag.to_string()));
        assert_eq!(seen.done(), Ok(BTreeMap::from(want)));
        assert!(tags_of(&Value::Null).unwrap().is_empty());
    }

    #[test]
    fn a_deployment_is_of_two_distributions() {
        let document = |id: &str, config: Value| Document {
            domain: format!("{id}.test"),
            ..Document::new(id, config, 0)
        };
        let policy = |id: &str, name: &str| {
            document(id, json!({ "StagingDistributionDnsNames": { "Items": [name] } }))
        };
        let primary = |id: &str| document(id, json!({ "ContinuousDeploymentPolicyId": "C" }));
        let mut all = Documents::default();
        all.put(Kind::Distribution, primary("P"));
        all.put(Kind::Distribution, document("S", json!({ "Staging": true })));
        all.put(Kind::ContinuousDeploymentPolicy, policy("C", "S.test"));
        let told = |kind, document: &Document| {
            deploys_alone(kind, document, &all).err().map(|fault| fault.code)
        };
        let (distribution, deployment) = (Kind::Distribution, Kind::ContinuousDeploymentPolicy);
        assert_eq!(told(distribution, &primary("P")), None);
        assert_eq!(told(distribution, &primary("Q")), Some("ContinuousDeploymentPolicyInUse"));
        assert_eq!(told(deployment, &policy("C", "S.test")), None);
        assert_eq!(told(deployment, &policy("D", "S.test")), Some("StagingDistributionInUse"));
        assert_eq!(told(deployment, &policy("D", "P.test")), Some("InvalidArgument"));
    }

    #[test]
    fn what_stays_is_not_changed() {
        let known = json!({ "CallerReference": "r", "EncodedKey": "k\n" });
        let with = |key: &str, value: &str| {
            let mut config = known.clone();
            config[key] = value.into();
            config
        };
        let code =
            |kind, config| keeps_what_stays(kind, &known, &config).err().map(|fault| fault.code);
        assert_eq!(code(Kind::Distribution, with("CallerReference", "x")), Some("IllegalUpdate"));
        assert_eq!(code(Kind::Distribution, with("Comment", "x")), None);
        let mut staging = known.clone();
        staging["Staging"] = true.into();
        assert_eq!(code(Kind::Distribution, staging), Some("IllegalUpdate"));
        assert_eq!(code(Kind::PublicKey, with("EncodedKey", "k")), None);
        assert_eq!(
            code(Kind::PublicKey, with("EncodedKey", "x")),
            Some("CannotChangeImmutablePublicKeyFields")
        );
    }
}
