//! Pure: a distribution as a template of CloudFormation's has it (`foreshore import cloudformation`).
//!
//! What people write, what `cdk synth` and `sam build` make of theirs, and what `get-template` gives,
//! as JSON or YAML. Resources become the API's documents, whose names differ little; the values in
//! them are worked out (`formation_values`), and the import does the rest.

use serde_json::{Value, json};

use super::formation_values::{At, Scope, Told, Truth};
use super::import::{Imported, Input, Several, Wishes, import_documents};
use super::node::Document;
use super::report::{Rank, Report};

/// Types that become documents: each with what the document is wrapped in, and the property that is
/// its configuration.
const KINDS: [(&str, &str, &str); 7] = [
    ("Distribution", "Distribution", "DistributionConfig"),
    ("CachePolicy", "CachePolicy", "CachePolicyConfig"),
    ("OriginRequestPolicy", "OriginRequestPolicy", "OriginRequestPolicyConfig"),
    ("ResponseHeadersPolicy", "ResponseHeadersPolicy", "ResponseHeadersPolicyConfig"),
    ("KeyGroup", "KeyGroup", "KeyGroupConfig"),
    ("PublicKey", "PublicKey", "PublicKeyConfig"),
    ("OriginAccessControl", "OriginAccessControl", "OriginAccessControlConfig"),
];

/// Reads a template from its text: JSON if it begins as such, else YAML.
pub fn parse(text: &str) -> Result<Value, String> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| format!("this is no JSON: {error}"));
    }
    super::yaml::read(text).map_err(|why| format!("this is no YAML: {why}"))
}

/// Reads all distributions of a template into one configuration, or the one that is wished for, by
/// its name in the template. `parameters` are names and values.
pub fn import(
    input: Input,
    parameters: &[(String, String)],
    wishes: &Wishes,
) -> Result<Imported, String> {
    // `get-template` has it as the body of its answer.
    let template = match input.json.get("TemplateBody") {
        Some(Value::String(text)) => parse(text).map_err(|why| format!("{}: {why}", input.name))?,
        Some(body) => body.clone(),
        None => input.json,
    };
    let scope = Scope::new(&template, parameters);
    if let Some(name) = scope.unknown_parameter() {
        let all = template.get("Parameters").and_then(Value::as_object);
        let known: Vec<&str> =
            all.into_iter().flat_map(|all| all.keys().map(String::as_str)).collect();
        return Err(format!(
            "--parameter {name}=…: there is no such parameter; there is {}",
            known.join(", ")
        ));
    }
    let Some(resources) = template.get("Resources").and_then(Value::as_object) else {
        return Err(format!("{}: this is no template: it has no Resources", input.name));
    };
    let mut job =
        Job { file: &input.name, scope, report: Report::default(), told: Told::default() };
    let mut documents = Vec::new();
    let mut has_distribution = false;
    for (name, resource) in resources {
        let kind = resource.get("Type").and_then(Value::as_str).unwrap_or("");
        let Some(kind) = kind.strip_prefix("AWS::CloudFront::") else { continue };
        if job.is_left_out(name, resource) {
            continue;
        }
        let made = job.document(name, kind, resource);
        has_distribution |= kind == "Distribution" && made.is_some();
        documents.extend(made);
    }
    if !has_distribution {
        return Err(format!("{}: there is no AWS::CloudFront::Distribution in it", input.name));
    }
    job.say_what_is_open();
    import_documents(&documents, job.report, wishes, Several::All)
}

struct Job<'t> {
    file: &'t str,
    scope: Scope<'t>,
    report: Report,
    /// Of all documents; the places of each go with it.
    told: Told,
}

impl Job<'_> {
    // A resource whose condition does not hold is not there.
    fn is_left_out(&mut self, name: &str, resource: &Value) -> bool {
        let Some(condition) = resource.get("Condition").and_then(Value::as_str) else {
            return false;
        };
        let at = At::new(place_of(name), String::new());
        let is_out = self.scope.condition(condition, &at, &mut self.told) == Truth::False;
        if is_out {
            self.report.add(
                Rank::ToKnow,
                &format!("Resources.{name}: left out, because its condition {condition} is false"),
            );
        }
        is_out
    }

    fn document(&mut self, name: &str, kind: &str, resource: &Value) -> Option<Document> {
        let Some(&(_, wrapper, config)) = KINDS.iter().find(|(known, ..)| *known == kind) else {
            self.say_of_another(name, kind);
            return None;
        };
        let properties = resource.get("Properties").unwrap_or(resource);
        let mut body = json!({ "Id": name.chars().take(64).collect::<String>() });
        let mut told = Told::default();
        for key in [config, "Tags"] {
            let Some(said) = properties.get(key) else { continue };
            let place = format!("{}.{key}", place_of(name));
            let at = At::new(place, format!("/{wrapper}/{key}"));
            if let Some(value) = self.scope.value(said, &at, &mut told) {
                body[key] = value;
            }
        }
        self.told.open.append(&mut told.open);
        self.told.conditions.append(&mut told.conditions);
        if kind == "PublicKey" {
            self.report.add(
                Rank::BeforeServing,
                &format!("Resources.{name}: its id is known once it is deployed, and signed URLs name it (Key-Pair-Id): put it in the place of {name}"),
            );
        }
        let file = format!("{} ({name})", self.file);
        Some(Document::made_of(file, json!({ wrapper: body }), told.places))
    }

    fn say_of_another(&mut self, name: &str, kind: &str) {
        let (rank, what) = match kind {
            "CloudFrontOriginAccessIdentity" => return,
            "MonitoringSubscription" => (Rank::Idle, "its metrics are always there (/metrics)"),
            "Function" => (Rank::ToKnow, "the function is not carried over"),
            "KeyValueStore" => (Rank::ToKnow, "the store is not carried over"),
            "RealtimeLogConfig" => (Rank::ToKnow, "not carried over; see [log] realtime"),
            _ => (Rank::ToKnow, "not carried over"),
        };
        self.report.add(rank, &format!("Resources.{name}: {what}"));
    }

    fn say_what_is_open(&mut self) {
        for (place, name) in &self.told.open {
            let how = match name.as_str() {
                "AWS::Region" => "; say it with --parameter AWS::Region=…",
                name if self.is_parameter(name) => "; say it with --parameter",
                _ => "",
            };
            self.report
                .add(Rank::BeforeServing, &format!("{place}: known once deployed ({name}){how}"));
        }
        for (name, truth) in &self.told.conditions {
            match truth {
                Truth::True => self.report.add(
                    Rank::ToKnow,
                    &format!("Conditions.{name}: true, by the parameters and their defaults"),
                ),
                Truth::False => self.report.add(
                    Rank::ToKnow,
                    &format!("Conditions.{name}: false, by the parameters and their defaults"),
                ),
                Truth::Open => self.report.add(
                    Rank::BeforeServing,
                    &format!("Conditions.{name}: known once deployed; taken as true"),
                ),
            }
        }
    }

    fn is_parameter(&self, name: &str) -> bool {
        self.scope.template.get("Parameters").is_some_and(|all| all.get(name).is_some())
    }
}

fn place_of(name: &str) -> String {
    format!("Resources.{name}.Properties")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(text: &str, parameters: &[(&str, &str)]) -> Result<(String, String), String> {
        let parameters: Vec<(String, String)> =
            parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let input = Input { name: "t.yaml".into(), json: parse(text)? };
        let imported = import(input, &parameters, &Wishes::default())?;
        Ok((imported.toml(), imported.report.render()))
    }

    const SITE: &str = "\
Parameters:
  Domain: {Type: String, Default: www.example.com}
Conditions:
  Named: !Not [!Equals [!Ref Domain, '']]
Resources:
  Site:
    Type: AWS::CloudFront::Distribution
    Properties:
      DistributionConfig:
        Enabled: true
        Aliases: !If [Named, [!Ref Domain], !Ref AWS::NoValue]
        Origins:
          - Id: app
            DomainName: !Sub '${Api}.execute-api.${AWS::Region}.amazonaws.com'
            CustomOriginConfig: {OriginProtocolPolicy: https-only}
            Later: 5
        DefaultCacheBehavior:
          TargetOriginId: app
          ViewerProtocolPolicy: redirect-to-https
          CachePolicyId: !Ref Policy
  Policy:
    Type: AWS::CloudFront::CachePolicy
    Properties:
      CachePolicyConfig: {Name: mine, MinTTL: 1, DefaultTTL: 60, MaxTTL: 600}
";

    #[test]
    fn a_template_is_read_with_its_names() {
        let (toml, told) = imported(SITE, &[("AWS::Region", "eu-west-1")]).unwrap();
        for line in [
            "id = \"Site\"",
            "hosts = [\"www.example.com\"]",
            "cache_policy = \"mine\"",
            "ttl = { min = \"1s\", default = \"60s\", max = \"600s\" }",
        ] {
            assert!(toml.lines().any(|known| known == line), "{line} is not in\n{toml}");
        }
        for line in [
            "Resources.Site.Properties.DistributionConfig.Origins[0].DomainName: known once deployed (Api)",
            "Resources.Site.Properties.DistributionConfig.Origins[0].Later = 5: not carried over",
            "Conditions.Named: true",
        ] {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        let (toml, told) = imported(SITE, &[("Domain", "")]).unwrap();
        assert!(toml.contains("hosts = [\"*\"]") && told.contains("Conditions.Named: false"));
        assert!(told.contains("--parameter AWS::Region=…"), "{told}");
    }

    #[test]
    fn what_is_no_template_is_refused() {
        for (text, why) in [
            ("{}", "no template"),
            ("Resources: {}", "no AWS::CloudFront::Distribution"),
            ("a: [", "no YAML"),
            ("{", "no JSON"),
        ] {
            let told = imported(text, &[]).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
        let told = imported(SITE, &[("Other", "")]).unwrap_err();
        assert!(told.contains("there is no such parameter; there is Domain"), "{told}");
    }
}
