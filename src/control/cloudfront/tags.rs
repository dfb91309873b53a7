//! Tags of what has an ARN: distributions, trust stores, functions and key value stores.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::apply::Step;
use super::calls::Tagging;
use super::kinds::Names;
use super::resources::{Asked, audit};
use super::rules::{TAGS_MAX, tags_of};
use super::tree;
use super::values::refuse;
use super::views;
use super::xml::{Fault, Said};
use crate::cloudfront::{model, trust};
use crate::control::Control;
use crate::distribution::stores;
use crate::documents::function;
use crate::documents::shelf::Kind;

type Tags = BTreeMap<String, String>;

/// What a call changes.
#[derive(Debug, Default)]
struct Change {
    put: Tags,
    remove: Vec<String>,
}

impl Change {
    fn read(what: Tagging, body: &[u8]) -> Result<Self, Fault> {
        if what == Tagging::Tag {
            let put = tags_of(&tree::read(body, "Tags", &model::TAGS)?)?;
            return Ok(Self { put, ..Self::default() });
        }
        let keys = tree::read(body, "TagKeys", &model::TAG_KEYS)?;
        let keys = keys["Items"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Ok(Self { remove: keys.map(String::from).collect(), ..Self::default() })
    }

    // What becomes of the tags that there are.
    fn of(&self, tags: &Tags) -> Tags {
        let mut tags = tags.clone();
        tags.extend(self.put.clone());
        tags.retain(|key, _| !self.remove.contains(key));
        tags
    }
}

impl Control {
    /// Tells or changes the tags of what an ARN names.
    pub(super) fn tagging(&self, what: Tagging, asked: &Asked) -> Result<Said, Fault> {
        let named = asked.parameter("Resource").unwrap_or_default();
        if !is_arn(&named) {
            let why = format!("Resource: {named:?} is not the ARN of a resource of CloudFront.");
            return Err(Fault::of("InvalidArgument", &why));
        }
        let account = self.edge.running().site.admin.account.clone();
        if let Some(id) = named.strip_prefix(stores::arn(&account, "").as_str()) {
            return self.tag_values(id, what, asked);
        }
        let (kind, id) = tagged(&named, &account).ok_or_else(nothing)?;
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        if what == Tagging::List {
            let shown = self.view(site, &documents).find(kind, id).ok_or_else(nothing)?;
            return Ok(told(&shown.document.tags));
        }
        let change = Change::read(what, &asked.body)?;
        self.may_change(site)?;
        let names = Names::of(Kind::Distribution);
        let known = if kind == names.kind {
            match self.own(names, id, site, &documents, "IllegalUpdate") {
                Err(fault) if fault.code == names.unknown => return Err(nothing()),
                other => other?,
            }
        } else {
            documents.get(kind, id).cloned().ok_or_else(nothing)?
        };
        let tags = change.of(&known.tags);
        not_too_many(&tags, kind.word())?;
        if tags != known.tags {
            let document = known.with_tags(tags);
            self.apply(&mut documents, Step::Keep(kind, &document))?;
            let action = if what == Tagging::Tag { "TagResource" } else { "UntagResource" };
            audit(&asked.who, action, kind, id, Some(&known), Some(&document));
        }
        Ok(Said { status: 204, ..Said::default() })
    }

    // The same of a key value store, which is no document.
    fn tag_values(&self, id: &str, what: Tagging, asked: &Asked) -> Result<Said, Fault> {
        let store = self.edge.stores.find_id(id).ok_or_else(nothing)?;
        let about = store.about();
        if what == Tagging::List {
            return Ok(told(&about.tags));
        }
        let change = Change::read(what, &asked.body)?;
        if change.of(&about.tags) != about.tags {
            // Another call may have changed them meanwhile.
            let changed = |tags: &Tags| Some(change.of(tags)).filter(|tags| tags.len() <= TAGS_MAX);
            if !self.tag_store(&store, &changed).map_err(|refused| refuse(&refused))? {
                return Err(too_many("key value store"));
            }
            let action = if what == Tagging::Tag { "TagResource" } else { "UntagResource" };
            let (who, resource) = (asked.who.as_str(), format!("key-value-store/{id}"));
            tracing::info!(who, action, resource, "changed by the API");
        }
        Ok(Said { status: 204, ..Said::default() })
    }
}

fn nothing() -> Fault {
    Fault::of("NoSuchResource", "The specified resource does not exist.")
}

fn not_too_many(tags: &Tags, what: &str) -> Result<(), Fault> {
    if tags.len() <= TAGS_MAX { Ok(()) } else { Err(too_many(what)) }
}

fn too_many(what: &str) -> Fault {
    Fault::of("InvalidTagging", &format!("A {what} has at most {TAGS_MAX} tags."))
}

fn told(tags: &Tags) -> Said {
    let items: Vec<Value> =
        tags.iter().map(|(key, value)| json!({ "Key": key, "Value": value })).collect();
    let xml = tree::write("Tags", &model::TAGS, &json!({ "Items": items }));
    Said { status: 200, xml, ..Said::default() }
}

// Says whether a text may be an ARN of CloudFront's, which has no regions.
fn is_arn(named: &str) -> bool {
    let parts: Vec<&str> = named.splitn(6, ':').collect();
    matches!(parts[..], ["arn", partition, "cloudfront", "", _, resource]
        if !partition.is_empty() && resource.contains('/'))
}

// What an ARN means that is kept as a document.
fn tagged<'n>(named: &'n str, account: &str) -> Option<(Kind, &'n str)> {
    let starts = [
        (Kind::Distribution, views::arn(account, "")),
        (Kind::TrustStore, trust::arn(account, "")),
        (Kind::Function, function::arn(account, "")),
    ];
    starts.iter().find_map(|(kind, start)| Some((*kind, named.strip_prefix(start.as_str())?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_are_told_from_other_texts() {
        for named in [
            "arn:aws:cloudfront::000000000177:distribution/E1",
            "arn:aws-cn:cloudfront::1:function/f",
            "arn:aws:cloudfront::1:distribution/a:b",
        ] {
            assert!(is_arn(named), "{named}");
        }
        for named in [
            "",
            "E1",
            "arn:aws:sqs::1:distribution/E1",
            "arn:aws:cloudfront:us-east-1:1:distribution/E1",
            "arn:aws:cloudfront::1:distribution",
            "arn::cloudfront::1:distribution/E1",
        ] {
            assert!(!is_arn(named), "{named}");
        }
        let (kind, id) = tagged("arn:aws:cloudfront::1:function/f", "1").unwrap();
        assert_eq!((kind, id), (Kind::Function, "f"));
        assert!(tagged("arn:aws:cloudfront::2:function/f", "1").is_none());
    }

    #[test]
    fn tags_are_put_and_taken_away() {
        let tags = |pairs: &[(&str, &str)]| -> Tags {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let body = |inner: &str| inner.as_bytes().to_vec();
        let put = "<Tags><Items><Tag><Key>b</Key><Value>2</Value></Tag></Items></Tags>";
        let change = Change::read(Tagging::Tag, &body(put)).unwrap();
        let both = change.of(&tags(&[("a", "1"), ("b", "1")]));
        assert_eq!(both, tags(&[("a", "1"), ("b", "2")]));
        let keys = "<TagKeys><Items><Key>a</Key><Key>c</Key></Items></TagKeys>";
        let change = Change::read(Tagging::Untag, &body(keys)).unwrap();
        assert_eq!(change.of(&both), tags(&[("b", "2")]));
        let many: Tags = (0..=TAGS_MAX).map(|at| (at.to_string(), String::new())).collect();
        assert_eq!(not_too_many(&many, "function").unwrap_err().code, "InvalidTagging");
        assert!(not_too_many(&both, "function").is_ok());
    }
}
