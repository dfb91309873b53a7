//! Pure: values of a template of CloudFormation's, as far as they are known before it is deployed.
//!
//! `Ref`, `Fn::GetAtt`, `Fn::Sub`, `Fn::Join`, `Fn::Select`, `Fn::Split`, `Fn::If` and
//! `Fn::FindInMap` are worked out by the parameters and by what the template says of its resources.
//! What only a stack knows stands as `${Bucket.Arn}` where it belongs, and is told.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::node::Places;

/// What CloudFormation itself gives a stack, and what is known of it before there is one.
const PSEUDO: [(&str, Option<&str>); 7] = [
    ("AWS::Partition", Some("aws")),
    ("AWS::URLSuffix", Some("amazonaws.com")),
    ("AWS::Region", None),
    ("AWS::AccountId", None),
    ("AWS::StackName", None),
    ("AWS::StackId", None),
    ("AWS::NotificationARNs", None),
];

// Functions within functions, and references through resources.
const DEPTH: usize = 100;
const VALUES: usize = 500_000;

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// A stack knows it alone.
    Open,
}

/// What is noted while values are worked out.
#[derive(Debug, Default)]
pub struct Told {
    /// Where each value of what was made stands in the template.
    pub places: Places,
    /// Places whose values only a stack knows, and their names.
    pub open: BTreeSet<(String, String)>,
    /// Conditions that decided something.
    pub conditions: BTreeMap<String, Truth>,
}

/// A template, and the parameters that were given.
pub struct Scope<'t> {
    pub template: &'t Value,
    given: &'t [(String, String)],
    /// Values that may still be worked out: names that lead to each other may be many.
    left: Cell<usize>,
}

/// Where a value stands in the template, and where it will in what is made.
#[derive(Clone)]
pub struct At {
    pub place: String,
    pub path: String,
    depth: usize,
}

impl At {
    /// A place to begin from.
    pub const fn new(place: String, path: String) -> Self {
        Self { place, path, depth: DEPTH }
    }

    fn key(&self, key: &str) -> Self {
        Self {
            place: format!("{}.{key}", self.place),
            path: format!("{}/{key}", self.path),
            depth: self.depth.saturating_sub(1),
        }
    }

    fn item(&self, from: usize, to: usize) -> Self {
        Self {
            place: format!("{}[{from}]", self.place),
            path: format!("{}/{to}", self.path),
            depth: self.depth.saturating_sub(1),
        }
    }

    // The same place, one function further in.
    fn within(&self) -> Self {
        Self { depth: self.depth.saturating_sub(1), ..self.clone() }
    }
}

impl<'t> Scope<'t> {
    pub const fn new(template: &'t Value, given: &'t [(String, String)]) -> Self {
        Self { template, given, left: Cell::new(VALUES) }
    }

    // Whether another value may be worked out.
    fn takes_one(&self, at: &At) -> bool {
        let left = self.left.get();
        self.left.set(left.saturating_sub(1));
        left > 0 && at.depth > 0
    }

    /// The name of a parameter that was given and that the template does not have.
    pub fn unknown_parameter(&self) -> Option<&'t str> {
        let is_known = |name: &str| {
            PSEUDO.iter().any(|(known, _)| *known == name)
                || self.template.get("Parameters").is_some_and(|all| all.get(name).is_some())
        };
        let mut given = self.given.iter();
        given.find(|(name, _)| !is_known(name)).map(|(name, _)| name.as_str())
    }

    /// A resource of the template.
    pub fn resource(&self, name: &str) -> Option<&'t Value> {
        self.template.get("Resources")?.get(name)
    }

    /// A value worked out; `None` if it is to be as if it were not there.
    pub fn value(&self, value: &Value, at: &At, told: &mut Told) -> Option<Value> {
        if !self.takes_one(at) {
            return Some(self.leave("too many functions within each other", at, told));
        }
        told.places.insert(at.path.clone(), at.place.clone());
        match value {
            Value::Object(map) => {
                if let Some((name, argument)) = function_of(map) {
                    return self.call(name, argument, &at.within(), told);
                }
                let mut made = Map::new();
                for (key, value) in map {
                    if let Some(value) = self.value(value, &at.key(key), told) {
                        made.insert(key.clone(), value);
                    }
                }
                Some(Value::Object(made))
            }
            Value::Array(all) => {
                let mut made = Vec::new();
                for (from, value) in all.iter().enumerate() {
                    let value = self.value(value, &at.item(from, made.len()), told);
                    made.extend(value);
                }
                Some(Value::Array(made))
            }
            Value::String(text) => {
                if let Some((_, rest)) = text.split_once("{{resolve:") {
                    let name = rest.split_once("}}").map_or(rest, |(name, _)| name);
                    told.open.insert((at.place.clone(), format!("resolve:{name}")));
                }
                Some(value.clone())
            }
            other => Some(other.clone()),
        }
    }

    fn call(&self, name: &str, argument: &Value, at: &At, told: &mut Told) -> Option<Value> {
        match (name, argument) {
            ("Ref", Value::String(name)) if name == "AWS::NoValue" => None,
            ("Ref", Value::String(name)) => Some(self.reference(name, at, told)),
            ("Fn::If", Value::Array(all)) => match &all[..] {
                [Value::String(condition), yes, no] => {
                    let truth = self.condition(condition, at, told);
                    self.value(if truth == Truth::False { no } else { yes }, at, told)
                }
                _ => Some(self.leave(name, at, told)),
            },
            ("Fn::GetAtt", Value::Array(all)) => {
                let texts: Option<Vec<&str>> = all.iter().map(Value::as_str).collect();
                let joined = texts.map(|texts| texts.join("."));
                Some(self.attribute(joined.as_deref().unwrap_or(name), at, told))
            }
            ("Fn::GetAtt", Value::String(text)) => Some(self.attribute(text, at, told)),
            ("Fn::Sub", Value::String(text)) => Some(self.sub(text, &Map::new(), at, told)),
            ("Fn::Sub", Value::Array(all)) => match &all[..] {
                [Value::String(text), Value::Object(own)] => Some(self.sub(text, own, at, told)),
                _ => Some(self.leave(name, at, told)),
            },
            ("Fn::Join" | "Fn::Select" | "Fn::Split" | "Fn::FindInMap", Value::Array(all)) => {
                // What stands in an argument has no place of its own in what is made.
                let mut own = Told::default();
                let all: Vec<Value> =
                    all.iter().filter_map(|value| self.value(value, at, &mut own)).collect();
                let open = own.open.into_iter().map(|(_, name)| (at.place.clone(), name));
                told.open.extend(open);
                told.conditions.append(&mut own.conditions);
                let found = match name {
                    "Fn::Join" => join(&all),
                    "Fn::Select" => select(&all),
                    "Fn::Split" => split(&all),
                    _ => self.find_in_map(&all),
                };
                Some(found.unwrap_or_else(|| self.leave(name, at, told)))
            }
            ("Fn::ImportValue", Value::String(export)) => Some(self.leave(export, at, told)),
            _ => Some(self.leave(name, at, told)),
        }
    }

    // What only a stack knows, by its name.
    fn leave(&self, name: &str, at: &At, told: &mut Told) -> Value {
        told.open.insert((at.place.clone(), name.to_string()));
        format!("${{{name}}}").into()
    }

    fn reference(&self, name: &str, at: &At, told: &mut Told) -> Value {
        if let Some(known) = self.parameter(name) {
            return known;
        }
        if self.resource(name).is_some() {
            return self.known_of(name, "", at, told);
        }
        self.leave(name, at, told)
    }

    // A parameter that was given or has a default, or what is known of every stack.
    fn parameter(&self, name: &str) -> Option<Value> {
        let declared = self.template.get("Parameters").and_then(|all| all.get(name));
        let kind = declared.and_then(|one| one.get("Type")?.as_str()).unwrap_or("");
        let given = self.given.iter().rev().find(|(known, _)| known == name);
        let text = match given {
            Some((_, text)) => text.clone(),
            // The default is then the name of something that is looked up.
            None if kind.starts_with("AWS::SSM::") => return None,
            None => match declared.and_then(|one| one.get("Default")) {
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
                None => {
                    let known = PSEUDO.iter().find(|(known, _)| *known == name)?.1?;
                    known.to_string()
                }
            },
        };
        if kind == "CommaDelimitedList" || kind.starts_with("List<") {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            return Some(Value::Array(parts.map(Value::from).collect()));
        }
        Some(text.into())
    }

    fn attribute(&self, text: &str, at: &At, told: &mut Told) -> Value {
        let (name, attribute) = text.split_once('.').unwrap_or((text, ""));
        self.known_of(name, attribute, at, told)
    }

    // An attribute of a resource, or what a reference to it is: an id of CloudFront's is the name
    // that the resource has in the template, as its document here has it.
    fn known_of(&self, name: &str, attribute: &str, at: &At, told: &mut Told) -> Value {
        let resource = self.resource(name);
        let kind = resource.and_then(|one| one.get("Type")?.as_str()).unwrap_or("");
        let join = if attribute.is_empty() { "" } else { "." };
        let whole = format!("{name}{join}{attribute}");
        match (kind, attribute) {
            ("AWS::CloudFront::Function" | "AWS::CloudFront::RealtimeLogConfig", _) => name.into(),
            (kind, "" | "Id") if kind.starts_with("AWS::CloudFront::") => name.into(),
            ("AWS::S3::Bucket", _) => match self.bucket(resource, attribute, at, told) {
                Some(known) => known.into(),
                None => self.leave(&whole, at, told),
            },
            _ => self.leave(&whole, at, told),
        }
    }

    // Names of a bucket that is given its name.
    fn bucket(
        &self,
        resource: Option<&Value>,
        attribute: &str,
        at: &At,
        told: &mut Told,
    ) -> Option<String> {
        let named = resource?.get("Properties")?.get("BucketName")?;
        let mut own = Told::default();
        let name = self.value(named, &at.within(), &mut own)?;
        let name = name.as_str().filter(|_| own.open.is_empty())?.to_string();
        let mut region = || {
            let region = self.reference("AWS::Region", at, told);
            region.as_str().unwrap_or("").to_string()
        };
        Some(match attribute {
            "" => name,
            "DomainName" => format!("{name}.s3.amazonaws.com"),
            "RegionalDomainName" => format!("{name}.s3.{}.amazonaws.com", region()),
            "DualStackDomainName" => format!("{name}.s3.dualstack.{}.amazonaws.com", region()),
            "WebsiteURL" => format!("http://{name}.s3-website-{}.amazonaws.com", region()),
            _ => return None,
        })
    }

    // A text with names in it.
    fn sub(&self, text: &str, own: &Map<String, Value>, at: &At, told: &mut Told) -> Value {
        let mut made = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            made.push_str(before);
            let Some((name, after)) = after.split_once('}') else {
                made.push_str("${");
                rest = after;
                continue;
            };
            rest = after;
            if let Some(literal) = name.strip_prefix('!') {
                made.push_str(&format!("${{{literal}}}"));
                continue;
            }
            let name = name.trim();
            let value = match own.get(name) {
                Some(value) => self.value(value, &at.within(), told),
                None if name.contains('.') => Some(self.attribute(name, at, told)),
                None => Some(self.reference(name, at, told)),
            };
            made.push_str(&value.as_ref().map(plain).unwrap_or_default());
        }
        made.push_str(rest);
        made.into()
    }

    fn find_in_map(&self, all: &[Value]) -> Option<Value> {
        let [map, first, second, ..] = all else { return None };
        let found = self.template.get("Mappings")?.get(map.as_str()?)?.get(plain(first))?;
        found.get(plain(second)).cloned()
    }

    /// Says whether a condition holds, and notes it.
    pub fn condition(&self, name: &str, at: &At, told: &mut Told) -> Truth {
        let said = self.template.get("Conditions").and_then(|all| all.get(name));
        let truth = said.map_or(Truth::Open, |said| self.truth(said, &at.within()));
        told.conditions.insert(name.to_string(), truth);
        truth
    }

    fn truth(&self, said: &Value, at: &At) -> Truth {
        let Some((name, argument)) = said.as_object().and_then(function_of) else {
            return Truth::Open;
        };
        if !self.takes_one(at) {
            return Truth::Open;
        }
        let within = at.within();
        let parts = argument.as_array().map(Vec::as_slice).unwrap_or_default();
        match name {
            "Condition" => {
                let name = argument.as_str().unwrap_or("");
                self.condition(name, at, &mut Told::default())
            }
            "Fn::Not" | "Fn::And" | "Fn::Or" => {
                let all: Vec<Truth> = parts.iter().map(|one| self.truth(one, &within)).collect();
                together(name, &all)
            }
            "Fn::Equals" => {
                let mut own = Told::default();
                let sides: Vec<String> = parts
                    .iter()
                    .map(|one| self.value(one, &within, &mut own))
                    .map(|one| one.as_ref().map(plain).unwrap_or_default())
                    .collect();
                match &sides[..] {
                    [one, other] if own.open.is_empty() && one == other => Truth::True,
                    [_, _] if own.open.is_empty() => Truth::False,
                    _ => Truth::Open,
                }
            }
            _ => Truth::Open,
        }
    }
}

// What conditions come to together.
fn together(function: &str, all: &[Truth]) -> Truth {
    let is = |truth: Truth| all.contains(&truth);
    match (function, all) {
        ("Fn::Not", [Truth::True]) => Truth::False,
        ("Fn::Not", [Truth::False]) => Truth::True,
        ("Fn::And", _) if is(Truth::False) => Truth::False,
        ("Fn::And", [_, ..]) if !is(Truth::Open) => Truth::True,
        ("Fn::Or", _) if is(Truth::True) => Truth::True,
        ("Fn::Or", [_, ..]) if !is(Truth::Open) => Truth::False,
        _ => Truth::Open,
    }
}

// The function that an object is, and its argument.
fn function_of(map: &Map<String, Value>) -> Option<(&str, &Value)> {
    let (name, argument) = map.iter().next().filter(|_| map.len() == 1)?;
    let is_function =
        name == "Ref" || name.starts_with("Fn::") || (name == "Condition" && argument.is_string());
    is_function.then_some((name.as_str(), argument))
}

// A value as a part of a text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn join(all: &[Value]) -> Option<Value> {
    let [between, Value::Array(parts)] = all else { return None };
    let parts: Vec<String> = parts.iter().map(plain).collect();
    Some(parts.join(between.as_str()?).into())
}

fn select(all: &[Value]) -> Option<Value> {
    let [at, Value::Array(from)] = all else { return None };
    from.get(plain(at).parse::<usize>().ok()?).cloned()
}

fn split(all: &[Value]) -> Option<Value> {
    let [between, text] = all else { return None };
    let between = between.as_str().filter(|between| !between.is_empty())?;
    Some(Value::Array(text.as_str()?.split(between).map(Value::from).collect()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn template() -> Value {
        json!({
            "Parameters": { "Stage": { "Type": "String", "Default": "prod" }, "Names": { "Type": "CommaDelimitedList", "Default": "a.test, b.test" },
                "Secret": { "Type": "AWS::SSM::Parameter::Value<String>", "Default": "/path" }, "Needed": { "Type": "String" } },
            "Mappings": { "Hosts": { "prod": { "host": "www.example.com" } } },
            "Conditions": { "IsProd": { "Fn::Equals": [{ "Ref": "Stage" }, "prod"] }, "Not": { "Fn::Not": [{ "Condition": "IsProd" }] },
                "Open": { "Fn::Equals": [{ "Ref": "Needed" }, ""] }, "Both": { "Fn::And": [{ "Condition": "IsProd" }, { "Condition": "Not" }] } },
            "Resources": { "Named": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": { "Fn::Sub": "site-${Stage}" } } },
                "Bucket": { "Type": "AWS::S3::Bucket" }, "Policy": { "Type": "AWS::CloudFront::CachePolicy" },
                "Code": { "Type": "AWS::CloudFront::Function" } },
        })
    }

    fn worked_out(value: Value) -> (Value, Vec<String>) {
        let template = template();
        let given = [("AWS::Region".to_string(), "eu-west-1".to_string())];
        let scope = Scope::new(&template, &given);
        let mut told = Told::default();
        let at = At::new("T".into(), String::new());
        let made = scope.value(&json!({ "v": value }), &at, &mut told).unwrap();
        let open = told.open.into_iter().map(|(place, name)| format!("{place} {name}")).collect();
        (made.get("v").cloned().unwrap_or(Value::Null), open)
    }

    #[test]
    fn functions_are_worked_out() {
        for (value, want) in [
            (json!({ "Ref": "Stage" }), json!("prod")),
            (json!({ "Ref": "Names" }), json!(["a.test", "b.test"])),
            (json!({ "Ref": "Policy" }), json!("Policy")),
            (json!({ "Fn::GetAtt": ["Policy", "Id"] }), json!("Policy")),
            (json!({ "Fn::GetAtt": ["Code", "FunctionMetadata", "FunctionARN"] }), json!("Code")),
            (json!({ "Ref": "AWS::NoValue" }), Value::Null),
            (
                json!({ "Fn::GetAtt": "Named.RegionalDomainName" }),
                json!("site-prod.s3.eu-west-1.amazonaws.com"),
            ),
            (
                json!({ "Fn::Sub": "${Stage}-${!Stage}-${AWS::URLSuffix}" }),
                json!("prod-${Stage}-amazonaws.com"),
            ),
            (
                json!({ "Fn::Sub": ["${A}/${Stage}", { "A": { "Ref": "Stage" } }] }),
                json!("prod/prod"),
            ),
            (json!({ "Fn::Join": ["", ["/", { "Ref": "Stage" }]] }), json!("/prod")),
            (
                json!({ "Fn::Select": [2, { "Fn::Split": ["/", "https://h.test/p"] }] }),
                json!("h.test"),
            ),
            (json!({ "Fn::Select": ["1", { "Ref": "Names" }] }), json!("b.test")),
            (
                json!({ "Fn::FindInMap": ["Hosts", { "Ref": "Stage" }, "host"] }),
                json!("www.example.com"),
            ),
            (json!({ "Fn::If": ["IsProd", { "a": 1 }, 2] }), json!({ "a": 1 })),
            (json!({ "Fn::If": ["Not", 1, { "Ref": "AWS::NoValue" }] }), Value::Null),
            (json!({ "Fn::If": ["Both", 1, 2] }), json!(2)),
            (json!([{ "Ref": "AWS::NoValue" }, "x"]), json!(["x"])),
        ] {
            assert_eq!(worked_out(value.clone()), (want, Vec::new()), "{value}");
        }
    }

    #[test]
    fn what_a_stack_knows_is_told_by_its_place() {
        for (value, want, told) in [
            (json!({ "Ref": "Needed" }), json!("${Needed}"), "T.v Needed"),
            (json!({ "Ref": "Secret" }), json!("${Secret}"), "T.v Secret"),
            (
                json!([{ "Fn::GetAtt": ["Bucket", "Arn"] }]),
                json!(["${Bucket.Arn}"]),
                "T.v[0] Bucket.Arn",
            ),
            (json!({ "Fn::Sub": "${Bucket}/x" }), json!("${Bucket}/x"), "T.v Bucket"),
            (json!({ "Fn::ImportValue": "zone" }), json!("${zone}"), "T.v zone"),
            (json!({ "Fn::If": ["Open", 1, 2] }), json!(1), ""),
            (json!({ "Fn::Later": 1 }), json!("${Fn::Later}"), "T.v Fn::Later"),
            (json!("{{resolve:ssm:/a}}"), json!("{{resolve:ssm:/a}}"), "T.v resolve:ssm:/a"),
        ] {
            let (made, open) = worked_out(value);
            assert_eq!((made, open.join("; ")), (want, told.to_string()));
        }
    }

    #[test]
    fn a_circle_ends() {
        let template = json!({ "Resources": { "A": { "Type": "AWS::S3::Bucket", "Properties": { "BucketName": { "Ref": "A" } } } },
            "Conditions": { "C": { "Fn::Not": [{ "Condition": "C" }] } } });
        let scope = Scope::new(&template, &[]);
        let (at, mut told) = (At::new("T".into(), String::new()), Told::default());
        let made = scope.value(&json!({ "Ref": "A" }), &at, &mut told);
        assert_eq!(made, Some(json!("${A}")));
        assert_eq!(scope.condition("C", &at, &mut told), Truth::Open);
        let other = [("Other".to_string(), String::new())];
        assert_eq!(Scope::new(&template, &other).unknown_parameter(), Some("Other"));
    }
}
