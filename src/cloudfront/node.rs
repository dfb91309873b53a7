//! A JSON document that remembers what was read of it.
//!
//! Only a value of the type that was asked for counts as read: whatever else stands in its place is
//! reported as not carried over.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

/// Where a value of a document stands in what the document was made of: paths here, each with a
/// slash in front (`/DistributionConfig/Comment`), and what messages call them. A path that is not
/// here is below the nearest one that is.
pub type Places = BTreeMap<String, String>;

/// A document, the file it came from, and the places in it that the import has read.
pub struct Document {
    file: String,
    root: Value,
    read: RefCell<HashSet<String>>,
    places: Places,
}

/// A place in a document.
#[derive(Clone)]
pub struct Node<'d> {
    document: &'d Document,
    path: String,
    value: &'d Value,
}

impl Document {
    /// `file` is what reports call it.
    pub fn new(file: String, root: Value) -> Self {
        Self::made_of(file, root, Places::new())
    }

    /// A document that was made of something else, whose places messages name.
    pub fn made_of(file: String, mut root: Value, places: Places) -> Self {
        spell(&mut root);
        Self { file, root, read: RefCell::default(), places }
    }

    pub fn root(&self) -> Node<'_> {
        Node { document: self, path: String::new(), value: &self.root }
    }

    /// Every value that says something and was not read, with its place.
    pub fn left(&self) -> Vec<(String, String)> {
        let mut all = Vec::new();
        self.look(&self.root, String::new(), &mut all);
        all
    }

    /// What messages call a place of `left`.
    pub fn place_of(&self, path: &str) -> String {
        let mut known = format!("/{path}");
        loop {
            if let Some(place) = self.places.get(&known) {
                let rest = path.get(known.len() - 1..).unwrap_or("");
                return format!("{place}{}", rest.replace('/', "."));
            }
            match known.rfind('/') {
                Some(cut) if cut > 0 => known.truncate(cut),
                _ => return path.to_string(),
            }
        }
    }

    fn look(&self, value: &Value, path: String, all: &mut Vec<(String, String)>) {
        if self.read.borrow().contains(&path) {
            return;
        }
        match value {
            Value::Object(map) => {
                map.iter().for_each(|(key, value)| self.look(value, join(&path, key), all))
            }
            Value::Array(items) => items
                .iter()
                .enumerate()
                .for_each(|(at, value)| self.look(value, join(&path, &at.to_string()), all)),
            // These say that there is nothing.
            Value::Null | Value::Bool(false) => {}
            Value::String(text) if text.is_empty() => {}
            _ if path.ends_with("/Quantity") => {}
            other => all.push((path.trim_start_matches('/').to_string(), other.to_string())),
        }
    }
}

// Templates spell some names otherwise than the API does.
const SPELLINGS: [(&str, &str); 7] = [
    ("CNAMEs", "Aliases"),
    ("OriginCustomHeaders", "CustomHeaders"),
    ("OriginSSLProtocols", "OriginSslProtocols"),
    ("AcmCertificateArn", "ACMCertificateArn"),
    ("IamCertificateId", "IAMCertificateId"),
    ("SslSupportMethod", "SSLSupportMethod"),
    ("IPV6Enabled", "IsIPV6Enabled"),
];

fn spell(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (theirs, known) in SPELLINGS {
                if !map.contains_key(known)
                    && let Some(value) = map.remove(theirs)
                {
                    map.insert(known.to_string(), value);
                }
            }
            if let Some(geo) = map.get_mut("GeoRestriction").and_then(Value::as_object_mut)
                && !geo.contains_key("Items")
                && let Some(places) = geo.remove("Locations")
            {
                geo.insert("Items".to_string(), places);
            }
            map.values_mut().for_each(spell);
        }
        Value::Array(items) => items.iter_mut().for_each(spell),
        _ => {}
    }
}

fn join(path: &str, key: &str) -> String {
    format!("{path}/{key}")
}

impl<'d> Node<'d> {
    /// What is under a key; nothing where it is null.
    pub fn get(&self, key: &str) -> Option<Self> {
        let value = self.value.get(key).filter(|value| !value.is_null())?;
        Some(Self { document: self.document, path: join(&self.path, key), value })
    }

    /// Notes that all of this was read.
    pub fn take(&self) {
        self.document.read.borrow_mut().insert(self.path.clone());
    }

    /// Notes that what is under these keys was read.
    pub fn take_each(&self, keys: &[&str]) {
        keys.iter().filter_map(|key| self.get(key)).for_each(|node| node.take());
    }

    /// Notes that all was read but what is under one key.
    pub fn take_all_but(&self, but: &str) {
        match self.value.as_object() {
            Some(map) => map
                .keys()
                .filter(|key| *key != but)
                .filter_map(|key| self.get(key))
                .for_each(|node| node.take()),
            None => self.take(),
        }
    }

    /// A text under a key; an empty one is none.
    pub fn text(&self, key: &str) -> Option<&'d str> {
        let node = self.get(key)?;
        let text = node.value.as_str()?;
        node.take();
        Some(text).filter(|text| !text.is_empty())
    }

    /// A whole number under a key, written as one or as a text of digits.
    pub fn number(&self, key: &str) -> Option<u64> {
        let node = self.get(key)?;
        let number = node.whole()?;
        node.take();
        Some(number)
    }

    /// Says whether something is true under a key, written as a boolean or as a text.
    pub fn is(&self, key: &str) -> bool {
        let Some(node) = self.get(key) else { return false };
        let truth = match node.value {
            Value::Bool(truth) => *truth,
            Value::String(text) if text == "true" => true,
            Value::String(text) if text == "false" => false,
            _ => return false,
        };
        node.take();
        truth
    }

    /// This as a whole number, if it is one. Nothing is noted.
    pub fn whole(&self) -> Option<u64> {
        self.value.as_u64().or_else(|| self.value.as_str()?.parse().ok())
    }

    /// The items of `{ Quantity, Items }`, or of a plain list.
    pub fn items(&self, key: &str) -> Vec<Self> {
        self.get(key).map(|list| list.elements()).unwrap_or_default()
    }

    /// The items of this: of `{ Quantity, Items }`, or of a plain list.
    pub fn elements(&self) -> Vec<Self> {
        let list = if self.value.is_array() { Some(self.clone()) } else { self.get("Items") };
        let Some(list) = list else { return Vec::new() };
        let all = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(at, value)| Self {
            document: list.document,
            path: join(&list.path, &format!("{at}")),
            value,
        };
        all.iter().enumerate().map(item).collect()
    }

    /// The texts of such a list.
    pub fn texts(&self, key: &str) -> Vec<&'d str> {
        let texts = self.items(key).into_iter().filter_map(|item| {
            let text = item.value.as_str()?;
            item.take();
            Some(text)
        });
        texts.collect()
    }

    /// The value itself.
    pub const fn value(&self) -> &'d Value {
        self.value
    }

    /// The file it came from.
    pub fn file(&self) -> &'d str {
        &self.document.file
    }
}

/// A list as CloudFront has them.
pub fn items<T: serde::Serialize>(all: Vec<T>) -> Value {
    if all.is_empty() {
        json!({ "Quantity": 0 })
    } else {
        json!({ "Quantity": all.len(), "Items": all })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_asked_for_as_it_is_counts_as_read() {
        let json = serde_json::json!({
            "a": "x", "b": { "Ref": "Bucket" }, "n": "60", "m": { "Items": ["1", 2] }, "plain": ["p"], "off": false, "deep": { "Quantity": 3 },
        });
        let document = Document::new("f".into(), json);
        let root = document.root();
        assert_eq!((root.text("a"), root.text("b"), root.number("n")), (Some("x"), None, Some(60)));
        assert_eq!((root.texts("m"), root.texts("plain")), (vec!["1"], vec!["p"]));
        let left = document.left();
        let places: Vec<&str> = left.iter().map(|(place, _)| place.as_str()).collect();
        assert_eq!(places, ["b/Ref", "m/Items/1"]);
    }

    #[test]
    fn places_are_those_of_what_a_document_was_made_of() {
        let json = serde_json::json!({ "a": { "b": [{ "c": 1 }] }, "d": 2 });
        let places = Places::from([
            ("/a".to_string(), "t.x".to_string()),
            ("/a/b/0".to_string(), "t.x.block[0]".to_string()),
        ]);
        let document = Document::made_of("f".into(), json, places);
        for (path, place) in
            [("a/b/0/c", "t.x.block[0].c"), ("a/b/1", "t.x.b.1"), ("a", "t.x"), ("d", "d")]
        {
            assert_eq!(document.place_of(path), place);
        }
    }

    #[test]
    fn templates_spellings_are_the_apis() {
        let json = serde_json::json!({ "IPV6Enabled": true, "Restrictions": { "GeoRestriction": { "Locations": ["DE"] } } });
        let document = Document::new("f".into(), json);
        let root = document.root();
        assert!(root.is("IsIPV6Enabled"));
        assert_eq!(
            root.get("Restrictions").map(|node| node.texts("GeoRestriction")),
            Some(vec!["DE"])
        );
        assert!(document.left().is_empty());
    }
}
