//! Continuous deployment by the API: a copy of a distribution that is tried out on some of its
//! viewers, and its promotion.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::apply::Step;
use super::kinds::Names;
use super::resources::{Asked, audit};
use super::rules::{mismatch, unknown};
use super::tree;
use super::xml::{Fault, Said};
use crate::cloudfront::deployment;
use crate::cloudfront::shape::{Member, Needed, Shape};
use crate::cloudfront::strict::{at, is, text};
use crate::control::Control;
use crate::documents::shelf::{Document, Documents, Kind, Mismatch};

/// The body of a call that copies; the model has it between parameters and fields.
static COPY: Shape = Shape::Record(&[
    Member { name: "CallerReference", needed: Needed::Always, shape: &Shape::Text },
    Member { name: "Enabled", needed: Needed::Maybe, shape: &Shape::Truth },
]);

impl Control {
    /// Makes a staging distribution of another one's configuration.
    pub(super) fn copy_distribution(&self, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let names = Names::of(Kind::Distribution);
        let body = tree::read(&asked.body, "CopyDistributionRequest", &COPY)?;
        if !asked.staging.as_deref().is_some_and(|said| said.eq_ignore_ascii_case("true")) {
            let why = "Staging: a copy is a staging distribution, so it is true.";
            return Err(Fault::of("InvalidArgument", why));
        }
        let config = {
            let documents = self.documents.lock();
            let running = self.edge.running();
            self.may_change(&running.site)?;
            let known = self.own(names, id, &running.site, &documents, "IllegalUpdate")?;
            known.check(asked.if_match.as_deref()).map_err(mismatch)?;
            known.config.clone()
        };
        if is(&config, &["Staging"]) {
            let why = format!("{id} is a staging distribution, and those are not copied.");
            return Err(Fault::of("InvalidArgument", &why));
        }
        let enabled = at(&body, &["Enabled"]).and_then(Value::as_bool);
        let copy = deployment::copy(&config, text(&body, &["CallerReference"]), enabled);
        self.create(names, copy, BTreeMap::new(), asked)
    }

    /// Gives a primary distribution the configuration of its staging one, and turns the policy off:
    /// all viewers see the same.
    pub(super) fn promote_staging(&self, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let names = Names::of(Kind::Distribution);
        let policies = Names::of(Kind::ContinuousDeploymentPolicy);
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let primary = self.own(names, id, site, &documents, "IllegalUpdate")?;
        let staging_id = asked.parameter("StagingDistributionId").unwrap_or_default();
        let (policy, staging) = pair(&primary, &staging_id, &documents)?;
        check_both(asked.if_match.as_deref(), &primary, &staging)?;
        let now = self.edge.clock.now().0;
        let next = primary.with_config(deployment::promoted(&primary.config, &staging.config), now);
        self.check_document(&next, names.kind, site, &documents)?;
        let mut off = policy.config.clone();
        off["Enabled"] = false.into();
        let off = policy.with_config(off, now);
        let mut steps = vec![Step::Keep(names.kind, &next)];
        let was_on = is(&policy.config, &["Enabled"]);
        if was_on {
            steps.push(Step::Keep(policies.kind, &off));
        }
        self.apply_all(&mut documents, &steps)?;
        let action = "UpdateDistributionWithStagingConfig";
        audit(&asked.who, action, names.kind, id, Some(&primary), Some(&next));
        if was_on {
            audit(&asked.who, action, policies.kind, &policy.id, Some(&policy), Some(&off));
        }
        Ok(self.changed(names, &next, &documents, 200))
    }
}

// The policy of a primary distribution, and the staging one that it gives viewers to.
fn pair(
    primary: &Document,
    staging_id: &str,
    all: &Documents,
) -> Result<(Arc<Document>, Arc<Document>), Fault> {
    if !staging_id.is_empty() && all.get(Kind::Distribution, staging_id).is_none() {
        return Err(unknown(Names::of(Kind::Distribution)));
    }
    let named = primary.text(&["ContinuousDeploymentPolicyId"]);
    let policy = all.get(Kind::ContinuousDeploymentPolicy, named).ok_or_else(|| {
        let why = format!("{} has no continuous deployment policy.", primary.id);
        Fault::of("IllegalUpdate", &why)
    })?;
    let staging = deployment::staging_of(policy, all)
        .filter(|staging| staging_id.is_empty() || staging.id == staging_id);
    let staging = staging.ok_or_else(|| {
        let why = format!("The policy {} names no such staging distribution.", policy.id);
        Fault::of("IllegalUpdate", &why)
    })?;
    Ok((Arc::clone(policy), Arc::clone(staging)))
}

// If-Match names both versions, with a comma between them.
fn check_both(if_match: Option<&str>, primary: &Document, staging: &Document) -> Result<(), Fault> {
    let Some((first, second)) = if_match.and_then(|both| both.split_once(',')) else {
        return Err(mismatch(Mismatch::Missing));
    };
    primary.check(Some(first)).map_err(mismatch)?;
    staging.check(Some(second)).map_err(mismatch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(id: &str, config: Value) -> Document {
        Document { domain: format!("{id}.test"), ..Document::new(id, config, 0) }
    }

    #[test]
    fn both_versions_are_named() {
        let (primary, staging) = (document("P", json!({})), document("S", json!({})));
        let told =
            |said: Option<&str>| check_both(said, &primary, &staging).err().map(|fault| fault.code);
        let both = format!("{}, {}", primary.etag(), staging.etag());
        let turned = format!("{},{}", staging.etag(), primary.etag());
        assert_eq!(told(Some(&both)), None);
        assert_eq!(told(Some(&turned)), Some("PreconditionFailed"));
        assert_eq!(told(Some(&primary.etag())), Some("InvalidIfMatchVersion"));
        assert_eq!(told(None), Some("InvalidIfMatchVersion"));
    }

    #[test]
    fn what_is_promoted_is_what_the_policy_tries_out() {
        let mut all = Documents::default();
        let primary = document("P", json!({ "ContinuousDeploymentPolicyId": "C" }));
        all.put(Kind::Distribution, primary.clone());
        all.put(Kind::Distribution, document("S", json!({ "Staging": true })));
        all.put(Kind::Distribution, document("T", json!({ "Staging": true })));
        let policy = json!({ "StagingDistributionDnsNames": { "Items": ["S.test"] } });
        all.put(Kind::ContinuousDeploymentPolicy, document("C", policy));
        let told = |primary: &Document, staging: &str| match pair(primary, staging, &all) {
            Ok((policy, staging)) => format!("{} {}", policy.id, staging.id),
            Err(fault) => fault.code.to_string(),
        };
        assert_eq!(told(&primary, "S"), "C S");
        assert_eq!(told(&primary, ""), "C S");
        assert_eq!(told(&primary, "T"), "IllegalUpdate");
        assert_eq!(told(&primary, "X"), "NoSuchDistribution");
        assert_eq!(told(&document("P", json!({})), "S"), "IllegalUpdate");
    }
}
