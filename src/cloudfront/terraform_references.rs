//! Pure: what a value of a plan refers to, where the value itself is not known before the plan is
//! carried out.
//!
//! A plan says of each value whether it is known later (`after_unknown`), and of each argument
//! which names its expression has (`configuration`). A name leads to a resource of the same module,
//! to a variable, which is what the caller says, or to a module's output; locals are not in the
//! document, and lead nowhere.

use serde_json::{Map, Value};

/// A resource of the document.
#[derive(Clone, Debug)]
pub struct Resource<'j> {
    /// `module.cdn[0].aws_cloudfront_distribution.main["a"]`.
    pub address: &'j str,
    /// The address of its module; empty for the root.
    pub module: String,
    pub kind: &'j str,
    pub name: &'j str,
    /// Its key, of several made by one block.
    pub index: Option<&'j Value>,
    pub is_data: bool,
    pub values: &'j Value,
}

/// All resources, and what wrote them.
#[derive(Default)]
pub struct World<'j> {
    pub resources: Vec<Resource<'j>>,
    /// `configuration.root_module` of a plan.
    pub configuration: Option<&'j Value>,
    /// By address: what is known later.
    pub unknown: Vec<(&'j str, &'j Value)>,
}

// References are followed through so many modules.
const DEPTH: usize = 16;

/// What a reference leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// A resource of this document (its place in the list), and the attribute that is meant.
    Resource(usize, String),
    /// Something that is known later, as it was written.
    Later(String),
}

impl<'j> World<'j> {
    /// The expressions of the block that wrote a resource.
    pub fn expressions(&self, resource: &Resource<'_>) -> Option<&'j Value> {
        let module = self.module(&resource.module)?;
        let mut all = module.get("resources")?.as_array()?.iter();
        let mode = if resource.is_data { "data" } else { "managed" };
        let block = all.find(|block| {
            let is = |key: &str, text: &str| block.get(key).and_then(Value::as_str) == Some(text);
            is("type", resource.kind) && is("name", resource.name) && is("mode", mode)
        });
        block?.get("expressions")
    }

    // The configuration of a module, by the address of an instance of it.
    fn module(&self, address: &str) -> Option<&'j Value> {
        let mut module = self.configuration?;
        for name in module_names(address) {
            module = module.get("module_calls")?.get(name)?.get("module")?;
        }
        Some(module)
    }

    /// What the names of an expression lead to, the longest of each alone; `from` wrote them.
    pub fn meanings(&self, expression: &Value, from: &Resource<'_>) -> Vec<Meaning> {
        let names = names_of(expression);
        names.into_iter().map(|name| self.meaning(name, &from.module, from.index, DEPTH)).collect()
    }

    fn meaning(&self, name: &str, module: &str, index: Option<&Value>, depth: usize) -> Meaning {
        let found = depth.checked_sub(1).and_then(|depth| self.follow(name, module, index, depth));
        found.unwrap_or_else(|| Meaning::Later(name.to_string()))
    }

    fn follow(
        &self,
        name: &str,
        module: &str,
        index: Option<&Value>,
        depth: usize,
    ) -> Option<Meaning> {
        if let Some(variable) = name.strip_prefix("var.") {
            let (outer, call) = cut_module(module)?;
            let call = self.module(outer)?.get("module_calls")?.get(call)?;
            let said = call.get("expressions")?.get(head(variable))?;
            return self.only(said, outer, index, depth);
        }
        if let Some(output) = name.strip_prefix("module.") {
            let (call, output) = output.split_once('.')?;
            let call = head(call);
            let inner = self.module(module)?.get("module_calls")?.get(call)?.get("module")?;
            let said = inner.get("outputs")?.get(head(output))?.get("expression")?;
            let join = if module.is_empty() { "" } else { "." };
            let inner = format!("{module}{join}module.{call}");
            return self.only(said, &inner, index, depth);
        }
        let (is_data, rest) = match name.strip_prefix("data.") {
            Some(rest) => (true, rest),
            None => (false, name),
        };
        let (kind, rest) = rest.split_once('.')?;
        let (named, attribute) = match rest.rfind("].") {
            Some(cut) => (&rest[..=cut], &rest[cut + 2..]),
            None => rest.split_once('.').unwrap_or((rest, "")),
        };
        let at = self.place(is_data, kind, named, module, index)?;
        Some(Meaning::Resource(at, attribute.to_string()))
    }

    // Where an expression has one name only.
    fn only(
        &self,
        expression: &Value,
        module: &str,
        index: Option<&Value>,
        depth: usize,
    ) -> Option<Meaning> {
        match names_of(expression)[..] {
            [name] => Some(self.meaning(name, module, index, depth)),
            _ => None,
        }
    }

    // The resource of this name, `site` or `site["a"]`: the only one, or the one whose key is that
    // of the resource that names it.
    fn place(
        &self,
        is_data: bool,
        kind: &str,
        named: &str,
        module: &str,
        index: Option<&Value>,
    ) -> Option<usize> {
        let name = head(named);
        let all: Vec<(usize, &Resource<'j>)> = self
            .resources
            .iter()
            .enumerate()
            .filter(|(_, one)| one.is_data == is_data && one.kind == kind && one.name == name)
            .filter(|(_, one)| {
                one.module == module || module_names(&one.module).eq(module_names(module))
            })
            .collect();
        if named.len() > name.len() {
            let exact = all.iter().find(|(_, one)| one.address.ends_with(named));
            return exact.map(|(at, _)| *at);
        }
        match &all[..] {
            [(at, _)] => Some(*at),
            _ => {
                let here = |one: &Resource<'_>| one.module == module && one.index == index;
                all.iter().find(|(_, one)| here(one)).map(|(at, _)| *at)
            }
        }
    }
}

/// The names in an expression, without those that are the beginning of the one before: a plan lists
/// `a.b.id` and then `a.b`.
fn names_of(expression: &Value) -> Vec<&str> {
    let all = expression.get("references").and_then(Value::as_array).into_iter().flatten();
    let mut names: Vec<&str> = Vec::new();
    for name in all.filter_map(Value::as_str) {
        let is_said = names.iter().any(|known| {
            known
                .strip_prefix(name)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        });
        if !is_said && !matches!(head(name), "each" | "count" | "path" | "terraform") {
            names.push(name);
        }
    }
    names
}

// A name up to what follows it.
fn head(name: &str) -> &str {
    name.split(['.', '[']).next().unwrap_or(name)
}

// The modules of an address, without their keys. A key may have dots in it.
fn module_names(address: &str) -> impl Iterator<Item = &str> {
    let mut rest = address;
    std::iter::from_fn(move || {
        let start = rest.strip_prefix("module.")?;
        let name = head(start);
        let after = &start[name.len()..];
        rest = match after.strip_prefix('[') {
            Some(key) => key.find("].module.").map_or("", |cut| &key[cut + 2..]),
            None => after.strip_prefix('.').unwrap_or(""),
        };
        Some(name)
    })
}

// The module around a module, and the name of the latter.
fn cut_module(address: &str) -> Option<(&str, &str)> {
    let cut = address.rfind(".module.").map_or(0, |cut| cut + 1);
    let name = head(address[cut..].strip_prefix("module.")?);
    Some((address[..cut].trim_end_matches('.'), name))
}

/// The expressions that belong to one of several blocks: of the block whose constants are those of
/// the values, or of the one at the same place. Sets are in another order than they were written.
pub fn block_of<'j>(
    blocks: &'j [Value],
    values: &Map<String, Value>,
    at: usize,
    count: usize,
) -> Option<&'j Value> {
    let fits = |block: &&Value| {
        block.as_object().is_some_and(|block| {
            block.iter().all(|(key, said)| match (said.get("constant_value"), values.get(key)) {
                (Some(said), Some(value)) => said == value,
                _ => true,
            })
        })
    };
    let mut fitting = blocks.iter().filter(fits);
    match (fitting.next(), fitting.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) if blocks.len() == count => blocks.get(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_of_modules_are_cut() {
        let names = |address: &'static str| module_names(address).collect::<Vec<_>>();
        assert!(names("").is_empty());
        assert_eq!(names("module.a"), ["a"]);
        assert_eq!(names("module.a[0].module.b"), ["a", "b"]);
        assert_eq!(names("module.a[\"x.module.y\"].module.b[\"c.d\"]"), ["a", "b"]);
        assert_eq!(cut_module("module.a[0].module.b"), Some(("module.a[0]", "b")));
        assert_eq!(cut_module("module.a"), Some(("", "a")));
        assert_eq!(cut_module(""), None);
    }

    #[test]
    fn names_are_told_once() {
        let said = json!({ "references": ["a.b.id", "a.b", "each.key", "a.bc", "var.x"] });
        assert_eq!(names_of(&said), ["a.b.id", "a.bc", "var.x"]);
        assert!(names_of(&json!({ "constant_value": 1 })).is_empty());
    }

    #[test]
    fn references_are_followed_through_modules() {
        let empty = json!({});
        let configuration = json!({
            "resources": [],
            "module_calls": { "cdn": {
                "expressions": { "policy": { "references": ["module.policies.id", "module.policies"] }, "fixed": { "constant_value": "x" } },
                "module": { "resources": [{ "mode": "managed", "type": "t", "name": "d", "expressions": { "e": {} } }] } },
              "policies": { "module": { "outputs": { "id": { "expression": { "references": ["p.one.id", "p.one"] } } } } } },
        });
        let resource = |address, module: &str, kind, name, index| Resource {
            address,
            module: module.to_string(),
            kind,
            name,
            index,
            is_data: false,
            values: &empty,
        };
        let (zero, one) = (json!(0), json!(1));
        let world = World {
            resources: vec![
                resource("module.cdn.t.d", "module.cdn", "t", "d", None),
                resource("module.policies.p.one", "module.policies", "p", "one", None),
                resource("q.many[0]", "", "q", "many", Some(&zero)),
                resource("q.many[1]", "", "q", "many", Some(&one)),
            ],
            configuration: Some(&configuration),
            unknown: Vec::new(),
        };
        let from = &world.resources[0];
        assert_eq!(world.expressions(from), Some(&json!({ "e": {} })));
        let meaning = |name: &str, from: &Resource<'_>| {
            world.meanings(&json!({ "references": [name] }), from).remove(0)
        };
        assert_eq!(meaning("var.policy", from), Meaning::Resource(1, "id".into()));
        assert_eq!(meaning("var.fixed", from), Meaning::Later("var.fixed".into()));
        assert_eq!(meaning("local.x", from), Meaning::Later("local.x".into()));
        assert_eq!(meaning("t.d.arn", from), Meaning::Resource(0, "arn".into()));
        let root = &world.resources[3];
        assert_eq!(meaning("q.many[0].id", root), Meaning::Resource(2, "id".into()));
        assert_eq!(meaning("q.many", root), Meaning::Resource(3, String::new()));
        assert_eq!(meaning("q.many", from), Meaning::Later("q.many".into()));
    }

    #[test]
    fn blocks_of_a_set_are_found_by_their_constants() {
        let blocks = [
            json!({ "origin_id": { "constant_value": "b" }, "domain_name": { "references": ["x"] } }),
            json!({ "origin_id": { "constant_value": "a" } }),
        ];
        let values = |id: &str| json!({ "origin_id": id }).as_object().unwrap().clone();
        assert_eq!(block_of(&blocks, &values("a"), 0, 2), Some(&blocks[1]));
        assert_eq!(block_of(&blocks, &values("c"), 0, 2), None);
        assert_eq!(block_of(&blocks, &Map::new(), 1, 2), Some(&blocks[1]));
        assert_eq!(block_of(&blocks, &Map::new(), 1, 3), None);
    }
}
