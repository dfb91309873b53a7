//! Pure: a distribution as Terraform has it (`foreshore import terraform`).
//!
//! The output of `terraform show -json`, of a plan or of a state, or the state's own file. Its
//! resources become the API's documents (`terraform_names`), and the import does the rest. What a
//! plan does not know yet is looked up in its configuration (`terraform_references`): a policy of
//! the same document is found so, and everything else is named in the report, and stands in the
//! configuration as `${what.it.was}`, which is no value of anything that guards.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::import::{Imported, Input, Several, Wishes, import_documents};
use super::node::Document;
use super::report::{Rank, Report};
use super::terraform_names::{Translation, kind};
use super::terraform_references::{Meaning, Resource, World, block_of};

const DISTRIBUTION: &str = "aws_cloudfront_distribution";

// What stands where a document says nothing.
static NOTHING: Value = Value::Null;

/// Reads all distributions of a document into one configuration, or the one that is wished for: by
/// its id, its address or the name that the configuration gives it.
pub fn import(input: Input, wishes: &Wishes) -> Result<Imported, String> {
    let states = instances(&input.json);
    let world = read(&input, &states)?;
    let named = names(&world);
    let wanted = wishes.distribution.as_deref().map(|wanted| {
        let found = named.iter().find(|(at, id)| {
            let one = &world.resources[**at];
            one.address == wanted || id.as_str() == wanted || text(one.values, "id") == wanted
        });
        found.map_or_else(|| wanted.to_string(), |(_, id)| id.clone())
    });
    let wishes = Wishes {
        distribution: wanted,
        origins: wishes.origins.clone(),
        functions: wishes.functions,
        code: wishes.code.clone(),
    };
    if named.is_empty() {
        return Err(format!("{}: there is no {DISTRIBUTION} in it", input.name));
    }
    let mut job =
        Job { file: &input.name, world: &world, named: &named, report: Report::default() };
    let documents: Vec<Document> =
        world.resources.iter().enumerate().filter_map(|(at, _)| job.document(at)).collect();
    import_documents(&documents, job.report, &wishes, Several::All)
}

// The resources of a state's own file, whose addresses are not written there: an address, its
// module, its resource and its instance.
fn instances(root: &Value) -> Vec<(String, String, &Value, &Value)> {
    let is_state = root.get("version").is_some_and(Value::is_u64);
    let all = root.get("resources").filter(|_| is_state).and_then(Value::as_array);
    let mut found = Vec::new();
    for resource in all.into_iter().flatten() {
        let module = text(resource, "module");
        let join = if module.is_empty() { "" } else { "." };
        let data = if text(resource, "mode") == "data" { "data." } else { "" };
        let (kind, name) = (text(resource, "type"), text(resource, "name"));
        for instance in resource.get("instances").and_then(Value::as_array).into_iter().flatten() {
            let key = instance.get("index_key").map(|key| format!("[{key}]")).unwrap_or_default();
            let address = format!("{module}{join}{data}{kind}.{name}{key}");
            found.push((address, module.to_string(), resource, instance));
        }
    }
    found
}

fn read<'j>(
    input: &'j Input,
    states: &'j [(String, String, &'j Value, &'j Value)],
) -> Result<World<'j>, String> {
    let root = &input.json;
    let mut world = World::default();
    if !states.is_empty() {
        world.resources.extend(states.iter().map(|(address, module, resource, instance)| {
            Resource {
                address,
                module: module.clone(),
                kind: text(resource, "type"),
                name: text(resource, "name"),
                index: instance.get("index_key"),
                is_data: text(resource, "mode") == "data",
                values: instance.get("attributes").unwrap_or(&NOTHING),
            }
        }));
    } else if let Some(module) = at(root, &["planned_values", "root_module"]) {
        collect(module, &mut world.resources);
        // What was looked up has been read already, and is not planned.
        let mut before = Vec::new();
        if let Some(module) = at(root, &["prior_state", "values", "root_module"]) {
            collect(module, &mut before);
        }
        let known: BTreeSet<&str> = world.resources.iter().map(|one| one.address).collect();
        before.retain(|one| one.is_data && !known.contains(one.address));
        world.resources.extend(before);
        world.configuration = at(root, &["configuration", "root_module"]);
        let changes = root.get("resource_changes").and_then(Value::as_array);
        for change in changes.into_iter().flatten() {
            let later = at(change, &["change", "after_unknown"]);
            world.unknown.extend(later.map(|later| (text(change, "address"), later)));
        }
    } else if let Some(module) = at(root, &["values", "root_module"]) {
        collect(module, &mut world.resources);
    } else {
        return Err(format!(
            "{}: this is no output of `terraform show -json`, of a plan or a state",
            input.name
        ));
    }
    Ok(world)
}

fn collect<'j>(module: &'j Value, all: &mut Vec<Resource<'j>>) {
    let address = text(module, "address");
    for resource in module.get("resources").and_then(Value::as_array).into_iter().flatten() {
        let Some(values) = resource.get("values") else { continue };
        all.push(Resource {
            address: text(resource, "address"),
            module: address.to_string(),
            kind: text(resource, "type"),
            name: text(resource, "name"),
            index: resource.get("index"),
            is_data: text(resource, "mode") == "data",
            values,
        });
    }
    let inner = module.get("child_modules").and_then(Value::as_array);
    inner.into_iter().flatten().for_each(|module| collect(module, all));
}

fn at<'v>(value: &'v Value, keys: &[&str]) -> Option<&'v Value> {
    keys.iter().try_fold(value, |value, key| value.get(key))
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or("")
}

// The distributions, by their places, and what the configuration calls each: by its id, or by what
// is its own in its address.
fn names(world: &World<'_>) -> BTreeMap<usize, String> {
    let mut all = BTreeMap::new();
    let mut taken = BTreeSet::new();
    for (at, one) in world.resources.iter().enumerate() {
        if one.kind != DISTRIBUTION || one.is_data {
            continue;
        }
        let short = one.address.replace("module.", "").replace(&format!("{DISTRIBUTION}."), "");
        let plain: String =
            short.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let plain: Vec<&str> = plain.split('-').filter(|part| !part.is_empty()).collect();
        let mut name: String = match text(one.values, "id") {
            "" => plain.join("-").chars().take(56).collect(),
            id => id.to_string(),
        };
        if name.is_empty() || !taken.insert(name.clone()) {
            name = format!("{name}-{at}");
            taken.insert(name.clone());
        }
        all.insert(at, name);
    }
    all
}

struct Job<'j, 'w> {
    file: &'j str,
    world: &'w World<'j>,
    named: &'w BTreeMap<usize, String>,
    report: Report,
}

impl Job<'_, '_> {
    // What the API calls a resource: its id, or its address while it has none.
    fn id(&self, at: usize) -> String {
        let one = &self.world.resources[at];
        if let Some(name) = self.named.get(&at) {
            return name.clone();
        }
        match text(one.values, "id") {
            "" => one.address.to_string(),
            id => id.to_string(),
        }
    }

    fn document(&mut self, at: usize) -> Option<Document> {
        let one = &self.world.resources[at];
        let Some(kind) = kind(one.kind) else {
            self.say_of_another(one);
            return None;
        };
        let is_looked_up = one.is_data;
        if is_looked_up && kind.name == DISTRIBUTION {
            return None;
        }
        let values = self.filled(one);
        let mut translation = Translation::default();
        let outer = if is_looked_up {
            format!("/{0}List/Items/0/{0}/{1}", kind.wrapper, kind.config)
        } else {
            format!("/{}/{}", kind.wrapper, kind.config)
        };
        let config = translation.config(kind.shape, &values, one.address, &outer);
        for (place, value) in translation.unread {
            self.report.add(Rank::ToKnow, &format!("{place} = {value}: not carried over"));
        }
        let id = self.id(at);
        self.say_of_its_id(one, &id);
        let mut body = json!({ "Id": id });
        body[kind.config] = config;
        let domain = text(one.values, "domain_name");
        if kind.name == DISTRIBUTION && !domain.is_empty() {
            body["DomainName"] = domain.into();
        }
        if let Some(tags) = one.values.get("tags").and_then(Value::as_object) {
            let pair = |(key, tag): (&String, &Value)| json!({ "Key": key, "Value": tag });
            body["Tags"] = tags.iter().map(pair).collect();
        }
        let name = format!("{} ({})", self.file, one.address);
        let (mut inner, mut root) = (Map::new(), Map::new());
        inner.insert(kind.wrapper.to_string(), body);
        if is_looked_up {
            // As of a list: nothing is said of it where it is not used.
            root.insert(format!("{}List", kind.wrapper), json!({ "Items": [inner] }));
        } else {
            root = inner;
        }
        Some(Document::made_of(name, Value::Object(root), translation.places))
    }

    // Viewers name a key by its id, which a plan does not know.
    fn say_of_its_id(&mut self, one: &Resource<'_>, id: &str) {
        if one.kind == "aws_cloudfront_public_key" && id == one.address {
            self.report.add(
                Rank::BeforeServing,
                &format!("{id}: its id is known after apply, and signed URLs name it (Key-Pair-Id): put it in the place of {id}"),
            );
        }
    }

    // A resource that is no document of a distribution's.
    fn say_of_another(&mut self, one: &Resource<'_>) {
        let Some(what) = one.kind.strip_prefix("aws_cloudfront_").filter(|_| !one.is_data) else {
            return;
        };
        let address = one.address;
        let (rank, why) = match what {
            "origin_access_identity" => return,
            "monitoring_subscription" => {
                (Rank::Idle, "its metrics are always there (/metrics)".to_string())
            }
            "function" => (
                Rank::ToKnow,
                format!("the function {} is not carried over", text(one.values, "name")),
            ),
            "key_value_store" => (
                Rank::ToKnow,
                format!("the store {} is not carried over", text(one.values, "name")),
            ),
            "realtime_log_config" => {
                let fields = one.values.get("fields").map(Value::to_string).unwrap_or_default();
                let rate = one.values.get("sampling_rate").unwrap_or(&NOTHING);
                (
                    Rank::ToKnow,
                    format!(
                        "a real-time log of {rate} in a hundred requests, with {fields}; see [log] realtime"
                    ),
                )
            }
            _ => (Rank::ToKnow, "not carried over".to_string()),
        };
        self.report.add(rank, &format!("{address}: {why}"));
    }

    // The values, with what is known later in its place.
    fn filled(&mut self, one: &Resource<'_>) -> Value {
        let mut values = one.values.clone();
        let mut all = self.world.unknown.iter();
        let later = all.find(|(address, _)| *address == one.address).map(|(_, later)| *later);
        if let (Some(later), false) = (later, one.is_data) {
            let expressions = self.world.expressions(one).unwrap_or(&NOTHING);
            let block = Block { later, expressions, place: one.address.to_string(), depth: 0 };
            self.fill(one, &mut values, &block);
        }
        values
    }

    // Fills one block: an object of values.
    fn fill(&mut self, one: &Resource<'_>, values: &mut Value, block: &Block<'_>) {
        let (Some(later), Some(values)) = (block.later.as_object(), values.as_object_mut()) else {
            return;
        };
        for (key, later) in later {
            let place = format!("{}.{key}", block.place);
            let said = block.expressions.get(key).unwrap_or(&NOTHING);
            if later.as_array().is_some_and(|all| all.iter().any(Value::is_object)) {
                let Some(inner) = values.get_mut(key).and_then(Value::as_array_mut) else {
                    continue;
                };
                self.fill_blocks(one, inner, &Block { later, expressions: said, place, ..*block });
            } else if later.is_object() {
                let Some(inner) = values.get_mut(key) else { continue };
                let depth = block.depth + 1;
                self.fill(one, inner, &Block { later, expressions: said, place, depth });
            } else if says_later(later) && !(said.is_null() && is_computed(key, block.depth)) {
                let whole = self.later(one, said, &place, values.get(key));
                values.insert(key.clone(), whole);
            }
        }
    }

    fn fill_blocks(&mut self, one: &Resource<'_>, inner: &mut [Value], block: &Block<'_>) {
        let all = block.later.as_array().map(Vec::as_slice).unwrap_or_default();
        let written: &[Value] = match block.expressions {
            Value::Array(all) => all,
            Value::Null => &[],
            single => std::slice::from_ref(single),
        };
        let count = inner.len();
        for (at, (value, later)) in inner.iter_mut().zip(all).enumerate() {
            let said = value
                .as_object()
                .and_then(|value| block_of(written, value, at, count))
                .unwrap_or(&NOTHING);
            let place = format!("{}[{at}]", block.place);
            let depth = block.depth + 1;
            self.fill(one, value, &Block { later, expressions: said, place, depth });
        }
    }

    // What stands in the place of a value that is known later.
    fn later(
        &mut self,
        one: &Resource<'_>,
        said: &Value,
        place: &str,
        known: Option<&Value>,
    ) -> Value {
        let meanings = self.world.meanings(said, one);
        let mut open = Vec::new();
        let mut found: Vec<Value> = Vec::new();
        for meaning in &meanings {
            match self.stands_for(meaning) {
                Ok(text) => found.push(text.into()),
                Err(name) => {
                    found.push(format!("${{{name}}}").into());
                    open.push(name);
                }
            }
        }
        if meanings.is_empty() {
            open.push("nothing says of what".into());
            found.push("${known after apply}".into());
        }
        if !open.is_empty() {
            self.report.add(
                Rank::BeforeServing,
                &format!("{place}: known after apply ({})", open.join(", ")),
            );
        }
        let key = place.rsplit('.').next().unwrap_or("");
        let is_list = known.is_some_and(Value::is_array)
            || matches!(key, "aliases" | "items" | "trusted_key_groups" | "trusted_signers");
        match (is_list, found.len()) {
            (true, _) => {
                let known = known.and_then(Value::as_array).into_iter().flatten();
                let all = known.filter(|value| !value.is_null()).cloned().chain(found);
                Value::Array(all.collect())
            }
            (false, 1) => found.remove(0),
            // Several names make one text; which, is not in the document.
            (false, _) => {
                let all: Vec<&str> = found.iter().filter_map(Value::as_str).collect();
                if open.is_empty() {
                    let what = format!("{place}: known after apply ({})", all.join(", "));
                    self.report.add(Rank::BeforeServing, &what);
                }
                format!("${{{}}}", all.join(" ")).into()
            }
        }
    }

    // The text of an attribute of a resource of this document; else the name of what is meant.
    fn stands_for(&self, meaning: &Meaning) -> Result<String, String> {
        let (at, attribute) = match meaning {
            Meaning::Later(name) => return Err(name.clone()),
            Meaning::Resource(at, attribute) => (*at, attribute.as_str()),
        };
        let one = &self.world.resources[at];
        let known = text(one.values, attribute);
        if !known.is_empty() {
            return Ok(known.to_string());
        }
        let is_document = kind(one.kind).is_some();
        match (one.kind, attribute) {
            (_, "id" | "") if is_document => Ok(self.id(at)),
            ("aws_cloudfront_origin_access_identity", "cloudfront_access_identity_path") => {
                Ok(format!("origin-access-identity/cloudfront/{}", one.address))
            }
            ("aws_cloudfront_function", "arn") => Ok(text(one.values, "name").to_string()),
            ("aws_s3_bucket", "bucket_regional_domain_name" | "bucket_domain_name") => {
                let (bucket, region) = (text(one.values, "bucket"), text(one.values, "region"));
                match (bucket, region) {
                    ("", _) | (_, "") => Err(format!("{}.{attribute}", one.address)),
                    _ => Ok(format!("{bucket}.s3.{region}.amazonaws.com")),
                }
            }
            (_, "") => Err(one.address.to_string()),
            _ => Err(format!("{}.{attribute}", one.address)),
        }
    }
}

// A block of a resource: what is known later of it, and the expressions that wrote it.
struct Block<'b> {
    later: &'b Value,
    expressions: &'b Value,
    place: String,
    depth: usize,
}

// True, or a list with something true in it.
fn says_later(value: &Value) -> bool {
    match value {
        Value::Bool(is_later) => *is_later,
        Value::Array(all) => all.iter().any(says_later),
        _ => false,
    }
}

// What the provider computes where nothing is said: that it is known later is no news.
fn is_computed(key: &str, depth: usize) -> bool {
    let own = [
        "arn",
        "caller_reference",
        "cloudfront_access_identity_path",
        "continuous_deployment_policy_id",
        "domain_name",
        "etag",
        "hosted_zone_id",
        "iam_arn",
        "id",
        "in_progress_validation_batches",
        "last_modified_time",
        "live_stage_etag",
        "logging_v1_enabled",
        "name",
        "name_prefix",
        "region",
        "s3_canonical_user_id",
        "status",
        "tags_all",
        "trusted_key_groups",
        "trusted_signers",
    ];
    let inner = [
        "default_ttl",
        "grpc_config",
        "ip_address_type",
        "max_ttl",
        "min_ttl",
        "origin_mtls_config",
        "owner_account_id",
        "response_completion_timeout",
        "ssl_support_method",
    ];
    if depth == 0 { own.contains(&key) } else { inner.contains(&key) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn imported(json: Value) -> (String, String) {
        let input = Input { name: "t.json".into(), json };
        let imported = import(input, &Wishes::default()).unwrap();
        (imported.toml(), imported.report.render())
    }

    fn distribution() -> Value {
        json!({
            "enabled": true,
            "origin": [{ "origin_id": "o", "domain_name": "o.test", "custom_origin_config": [{ "origin_protocol_policy": "https-only",
                "http_port": 80, "https_port": 443, "origin_ssl_protocols": ["TLSv1.2"] }] }],
            "default_cache_behavior": [{ "target_origin_id": "o", "viewer_protocol_policy": "https-only",
                "cache_policy_id": "658327ea-f89d-4fab-a63d-7e88639e58f6" }],
        })
    }

    fn state(values: Value) -> Value {
        json!({ "values": { "root_module": { "resources": [{ "address": "aws_cloudfront_distribution.main", "mode": "managed",
            "type": "aws_cloudfront_distribution", "name": "main", "values": values }] } } })
    }

    #[test]
    fn a_state_in_both_of_its_shapes_is_read() {
        let own = json!({ "version": 4, "resources": [{ "mode": "managed", "type": "aws_cloudfront_distribution", "name": "main",
            "instances": [{ "attributes": distribution() }] }] });
        for json in [state(distribution()), own] {
            let (toml, told) = imported(json);
            assert!(toml.contains("id = \"main\"\n"), "{toml}");
            assert!(toml.contains("url = \"https://o.test\"\n"), "{toml}");
            assert!(toml.contains("cache_policy = \"CachingOptimized\"\n"), "{toml}");
            assert!(!told.contains("not carried over"), "{told}");
        }
    }

    #[test]
    fn what_is_left_is_told_by_its_place_in_terraform() {
        let mut values = distribution();
        values["origin"][0]["custom_origin_config"][0]["later_field"] = 7.into();
        values["default_cache_behavior"][0]["min_ttl"] = 5.into();
        let (_, told) = imported(state(values));
        let main = "aws_cloudfront_distribution.main";
        for line in [
            format!("{main}.origin[0].custom_origin_config[0].later_field = 7: not carried over"),
            format!("{main}.default_cache_behavior[0].min_ttl = 5: not carried over"),
        ] {
            assert!(told.contains(&line), "{line} is not in\n{told}");
        }
    }

    #[test]
    fn field_level_encryption_is_read_with_what_it_names() {
        let mut values = distribution();
        let behavior = &mut values["default_cache_behavior"][0];
        behavior["field_level_encryption_id"] = "C1".into();
        behavior["allowed_methods"] =
            json!(["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "POST", "DELETE"]);
        let mut json = state(values);
        let one = |kind: &str, values: Value| json!({ "address": format!("{kind}.x"), "mode": "managed", "type": kind, "name": "x", "values": values });
        let form = "application/x-www-form-urlencoded";
        let pem = include_str!("../../config/example-fields.pem");
        let more = [
            one(
                "aws_cloudfront_public_key",
                json!({ "id": "K1", "name": "cards", "encoded_key": pem }),
            ),
            one(
                "aws_cloudfront_field_level_encryption_profile",
                json!({ "id": "P1", "name": "n", "caller_reference": "r", "etag": "E", "encryption_entities": [{ "items": [
                    { "public_key_id": "K1", "provider_id": "shop", "field_patterns": [{ "items": ["card*"] }] }] }] }),
            ),
            one(
                "aws_cloudfront_field_level_encryption_config",
                json!({ "id": "C1", "comment": "c", "caller_reference": "r",
                    "content_type_profile_config": [{ "forward_when_content_type_is_unknown": true, "content_type_profiles": [
                        { "items": [{ "content_type": form, "format": "URLEncoded", "profile_id": "P1" }] }] }],
                    "query_arg_profile_config": [{ "forward_when_query_arg_profile_is_unknown": false, "query_arg_profiles": [] }] }),
            ),
        ];
        let all = json["values"]["root_module"]["resources"].as_array_mut().unwrap();
        all.extend(more);
        let (toml, told) = imported(json);
        for line in [
            "name = \"cards\"",
            "[[field_encryption_profile.\"P1\".fields]]",
            "patterns = [\"card*\"]",
            "unknown_type = \"forward\"",
            "unknown_profile = \"refuse\"",
            "profile = \"P1\"",
            "field_encryption = \"C1\"",
        ] {
            assert!(toml.lines().any(|known| known == line), "{line} is not in\n{toml}");
        }
        assert!(!told.contains("not carried over"), "{told}");
    }

    #[test]
    fn something_else_is_refused() {
        for (json, why) in [
            (json!({}), "no output of `terraform show -json`"),
            (json!({ "values": { "root_module": {} } }), "there is no aws_cloudfront_distribution"),
        ] {
            let input = Input { name: "t.json".into(), json };
            let told = import(input, &Wishes::default()).unwrap_err();
            assert!(told.contains(why), "{told}");
        }
    }
}
