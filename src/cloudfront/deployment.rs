//! Pure: continuous deployment by the API: what a policy says of a staging distribution, and what
//! becomes of its primary one where it is promoted.

use std::sync::Arc;

use serde_json::{Value, json};

use super::import::quoted;
use super::strict::{Unfit, at, is, text, texts};
use crate::base::share::Share;
use crate::documents::shelf::{Document, Documents, Kind};

/// How a distribution is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// By hosts of its own.
    Own,
    /// It is a staging distribution that no policy gives viewers to. Its own name leads nowhere, as
    /// at CloudFront.
    Waiting,
    /// By viewers of another distribution: which one's, and the key of the table that says which of
    /// them.
    Tried { of: String, line: String },
}

/// The role of a distribution among all documents.
pub fn role(document: &Document, all: &Documents) -> Role {
    if !is(&document.config, &["Staging"]) {
        return Role::Own;
    }
    let is_on = |one: &Document| is(&one.config, &["Enabled"]);
    let policy = policy_of(&document.domain, all).filter(|policy| is_on(policy));
    let tried = policy.filter(|_| is_on(document)).and_then(|policy| {
        let primary = primary_of(&policy.id, all)?;
        let chosen = chosen(&policy.config).ok()?;
        let line = format!("staging = {{ of = {}, {chosen} }}\n", quoted(&primary.id));
        Some(Role::Tried { of: primary.id.clone(), line })
    });
    tried.unwrap_or(Role::Waiting)
}

/// The names of the staging distributions of a policy.
pub fn names(policy: &Document) -> Vec<&str> {
    texts(&policy.config, &["StagingDistributionDnsNames"])
}

/// The policy that gives viewers to the staging distribution of this name.
pub fn policy_of<'d>(domain: &str, all: &'d Documents) -> Option<&'d Arc<Document>> {
    all.of(Kind::ContinuousDeploymentPolicy).find(|policy| names(policy).contains(&domain))
}

/// The distribution whose viewers a policy shares.
pub fn primary_of<'d>(policy: &str, all: &'d Documents) -> Option<&'d Arc<Document>> {
    let names_it = |one: &&Arc<Document>| {
        one.text(&["ContinuousDeploymentPolicyId"]) == policy && !is(&one.config, &["Staging"])
    };
    all.of(Kind::Distribution).find(names_it)
}

/// The staging distribution of a policy.
pub fn staging_of<'d>(policy: &Document, all: &'d Documents) -> Option<&'d Arc<Document>> {
    let names = names(policy);
    all.of(Kind::Distribution)
        .find(|one| is(&one.config, &["Staging"]) && names.contains(&one.domain.as_str()))
}

/// Looks for what would not be obeyed of a policy.
pub fn check(config: &Value) -> Result<(), Unfit> {
    if texts(config, &["StagingDistributionDnsNames"]).len() > 1 {
        return unfit("StagingDistributionDnsNames", "a distribution has one staging distribution");
    }
    if at(config, &["TrafficConfig"]).is_none() {
        let is_on = is(config, &["Enabled"]);
        return if is_on { unfit("TrafficConfig", "it says who is shared") } else { Ok(()) };
    }
    chosen(config).map(drop)
}

fn unfit<T>(place: &str, why: &str) -> Result<T, Unfit> {
    Err(Unfit::new("InvalidArgument", format!("{place}: {why}.")))
}

// Which viewers, as the table of the staging distribution says it.
fn chosen(config: &Value) -> Result<String, Unfit> {
    let traffic = &config["TrafficConfig"];
    match text(traffic, &["Type"]) {
        "SingleWeight" => by_weight(traffic),
        "SingleHeader" => by_header(traffic),
        _ => unfit("TrafficConfig.Type", "it is SingleWeight or SingleHeader"),
    }
}

fn by_weight(traffic: &Value) -> Result<String, Unfit> {
    let place = "TrafficConfig.SingleWeightConfig";
    let Some(weight) = at(traffic, &["SingleWeightConfig", "Weight"]).and_then(Value::as_f64)
    else {
        return unfit(place, "a weight is needed");
    };
    let Some(share) = Share::of_percent(weight * 100.0) else {
        return unfit(&format!("{place}.Weight"), &format!("{weight} lies outside 0 to 1"));
    };
    let percent = format!("percent = {share}");
    let Some(sticky) = at(traffic, &["SingleWeightConfig", "SessionStickinessConfig"]) else {
        return Ok(percent);
    };
    let seconds = |key: &str| at(sticky, &[key]).and_then(Value::as_u64).unwrap_or(0);
    let (idle, most) = (seconds("IdleTTL"), seconds("MaximumTTL"));
    if idle == 0 || idle > most || most > STICKY_MAX {
        let place = format!("{place}.SessionStickinessConfig");
        let why = format!(
            "IdleTTL is at least a second and at most MaximumTTL, and that at most {STICKY_MAX}"
        );
        return unfit(&place, &why);
    }
    Ok(format!("{percent}, sticky = {{ idle = \"{idle}s\", max = \"{most}s\" }}"))
}

/// The longest session of a viewer with one side, in seconds.
const STICKY_MAX: u64 = 86_400;

fn by_header(traffic: &Value) -> Result<String, Unfit> {
    let say = |key: &str| text(traffic, &["SingleHeaderConfig", key]);
    let (name, value) = (say("Header").to_ascii_lowercase(), say("Value"));
    let is_name =
        name.starts_with("aws-cf-cd-") && http::HeaderName::from_bytes(name.as_bytes()).is_ok();
    if !is_name {
        let place = "TrafficConfig.SingleHeaderConfig.Header";
        return unfit(place, "the name of a field that begins with aws-cf-cd-");
    }
    if value.is_empty() {
        return unfit("TrafficConfig.SingleHeaderConfig.Value", "a value is needed");
    }
    Ok(format!("header = {{ name = {}, value = {} }}", quoted(&name), quoted(value)))
}

/// The configuration of a primary distribution once its staging one is promoted: all but what
/// identifies it, its aliases and its policy is the staging one's.
pub fn promoted(primary: &Value, staging: &Value) -> Value {
    let mut next = staging.clone();
    for key in ["CallerReference", "Aliases", "ContinuousDeploymentPolicyId", "Staging"] {
        next[key] = primary.get(key).cloned().unwrap_or_default();
    }
    next
}

/// The configuration of a copy that is a staging distribution.
pub fn copy(primary: &Value, reference: &str, enabled: Option<bool>) -> Value {
    let mut copy = primary.clone();
    copy["CallerReference"] = reference.into();
    copy["Staging"] = true.into();
    copy["Aliases"] = json!({ "Quantity": 0 });
    copy["ContinuousDeploymentPolicyId"] = "".into();
    if let Some(enabled) = enabled {
        copy["Enabled"] = enabled.into();
    }
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(id: &str, config: Value) -> Document {
        let domain = format!("{}.cloudfront.net", id.to_ascii_lowercase());
        Document { domain, ..Document::new(id, config, 0) }
    }

    fn weight(weight: f64) -> Value {
        json!({
            "StagingDistributionDnsNames": { "Quantity": 1, "Items": ["s.cloudfront.net"] }, "Enabled": true,
            "TrafficConfig": { "Type": "SingleWeight", "SingleWeightConfig": { "Weight": weight,
                "SessionStickinessConfig": { "IdleTTL": 300, "MaximumTTL": 600 } } },
        })
    }

    fn shelf(policy: Value) -> Documents {
        let mut all = Documents::default();
        let primary = json!({ "Enabled": true, "ContinuousDeploymentPolicyId": "CD" });
        all.put(Kind::Distribution, document("P", primary));
        all.put(Kind::Distribution, document("S", json!({ "Enabled": true, "Staging": true })));
        all.put(Kind::ContinuousDeploymentPolicy, document("CD", policy));
        all
    }

    #[test]
    fn viewers_are_shared_while_all_three_are_on() {
        let all = shelf(weight(0.07));
        let of = |id: &str, all: &Documents| role(all.get(Kind::Distribution, id).unwrap(), all);
        let line =
            "staging = { of = \"P\", percent = 7, sticky = { idle = \"300s\", max = \"600s\" } }\n";
        assert_eq!(of("P", &all), Role::Own);
        assert_eq!(of("S", &all), Role::Tried { of: "P".into(), line: line.into() });
        let policy = all.get(Kind::ContinuousDeploymentPolicy, "CD").unwrap();
        assert_eq!(staging_of(policy, &all).map(|one| one.id.as_str()), Some("S"));
        let mut off = weight(0.07);
        off["Enabled"] = false.into();
        assert_eq!(of("S", &shelf(off)), Role::Waiting);
        let mut alone = all.clone();
        alone.remove(Kind::Distribution, "P");
        assert_eq!(of("S", &alone), Role::Waiting);
        let mut disabled = all.clone();
        let config = json!({ "Enabled": false, "Staging": true });
        disabled.put(Kind::Distribution, document("S", config));
        assert_eq!(of("S", &disabled), Role::Waiting);
    }

    #[test]
    fn a_policy_that_would_not_be_obeyed_is_refused_by_name() {
        let header = |name: &str, value: &str| {
            json!({ "Enabled": true, "TrafficConfig": { "Type": "SingleHeader",
                "SingleHeaderConfig": { "Header": name, "Value": value } } })
        };
        assert_eq!(check(&weight(0.15)), Ok(()));
        assert_eq!(check(&header("AWS-CF-CD-Try", "1")), Ok(()));
        assert_eq!(check(&json!({ "Enabled": false })), Ok(()));
        assert!(chosen(&weight(0.0755)).unwrap().starts_with("percent = 7.55, sticky"));
        assert_eq!(
            chosen(&header("AWS-CF-CD-Try", "1")).unwrap(),
            "header = { name = \"aws-cf-cd-try\", value = \"1\" }"
        );
        let mut sticky = weight(0.05);
        sticky["TrafficConfig"]["SingleWeightConfig"]["SessionStickinessConfig"]["IdleTTL"] =
            601.into();
        let mut two = weight(0.05);
        two["StagingDistributionDnsNames"]["Items"] = json!(["a", "b"]);
        for (config, name) in [
            (weight(1.5), "TrafficConfig.SingleWeightConfig.Weight: 1.5"),
            (sticky, "SessionStickinessConfig:"),
            (two, "StagingDistributionDnsNames:"),
            (header("x-try", "1"), "SingleHeaderConfig.Header:"),
            (header("aws-cf-cd-try", ""), "SingleHeaderConfig.Value:"),
            (json!({ "Enabled": true }), "TrafficConfig:"),
            (json!({ "TrafficConfig": {} }), "TrafficConfig.Type:"),
        ] {
            let why = check(&config).unwrap_err().message;
            assert!(why.contains(name), "{name} is not in {why:?}");
        }
    }

    #[test]
    fn a_copy_has_no_viewers_of_its_own_and_gives_all_but_a_name() {
        let primary = json!({ "CallerReference": "r", "Comment": "old", "Enabled": true, "Staging": false,
            "Aliases": { "Quantity": 1, "Items": ["a.test"] }, "ContinuousDeploymentPolicyId": "CD" });
        let mut staging = copy(&primary, "s", None);
        assert_eq!((&staging["Staging"], &staging["Enabled"]), (&json!(true), &json!(true)));
        assert_eq!(staging["Aliases"], json!({ "Quantity": 0 }));
        assert_eq!(
            (
                staging["CallerReference"].as_str(),
                copy(&primary, "s", Some(false))["Enabled"].as_bool()
            ),
            (Some("s"), Some(false))
        );
        staging["Comment"] = "new".into();
        let mut want = primary.clone();
        want["Comment"] = "new".into();
        assert_eq!(promoted(&primary, &staging), want);
    }
}
