//! A JSON document that remembers what was read of it.

use std::cell::RefCell;
use std::collections::HashSet;

use serde_json::Value;

/// A document, and the places in it that somebody has read.
pub struct Document {
    root: Value,
    read: RefCell<HashSet<String>>,
}

/// A place in a document.
#[derive(Clone)]
pub struct Node<'d> {
    document: &'d Document,
    path: String,
    value: &'d Value,
}

impl Document {
    pub fn new(root: Value) -> Self {
        Self { root, read: RefCell::default() }
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

    fn look(&self, value: &Value, path: String, all: &mut Vec<(String, String)>) {
        if self.read.borrow().contains(&path) {
            return;
        }
        match value {
            Value::Object(map) => map.iter().for_each(|(key, value)| self.look(value, join(&path, key), all)),
            Value::Array(items) => items.iter().enumerate().for_each(|(at, value)| self.look(value, join(&path, &at.to_string()), all)),
            // These say that there is nothing.
            Value::Null | Value::Bool(false) => {}
            Value::String(text) if text.is_empty() => {}
            _ if path.ends_with("/Quantity") => {}
            other => all.push((path.trim_start_matches('/').to_string(), other.to_string())),
        }
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

    /// The same, several keys deep.
    pub fn at(&self, keys: &[&str]) -> Option<Self> {
        keys.iter().try_fold(self.clone(), |node, key| node.get(key))
    }

    /// Notes that all of this was read.
    pub fn take(&self) {
        self.document.read.borrow_mut().insert(self.path.clone());
    }

    /// A text under a key; an empty one is none.
    pub fn text(&self, key: &str) -> Option<&'d str> {
        let node = self.get(key)?;
        node.take();
        node.value.as_str().filter(|text| !text.is_empty())
    }

    pub fn number(&self, key: &str) -> Option<u64> {
        let node = self.get(key)?;
        node.take();
        node.value.as_u64()
    }

    pub fn is(&self, key: &str) -> bool {
        self.get(key).is_some_and(|node| {
            node.take();
            node.value.as_bool() == Some(true)
        })
    }

    /// The items of `{ Quantity, Items }`.
    pub fn items(&self, key: &str) -> Vec<Self> {
        let Some(list) = self.get(key).and_then(|node| node.get("Items")) else { return Vec::new() };
        let all = list.value.as_array().map(Vec::as_slice).unwrap_or_default();
        let item = |(at, value)| Self { document: list.document, path: join(&list.path, &format!("{at}")), value };
        all.iter().enumerate().map(item).collect()
    }

    /// The texts of such a list.
    pub fn texts(&self, key: &str) -> Vec<&'d str> {
        let items = self.items(key);
        items.iter().for_each(Node::take);
        items.iter().filter_map(|item| item.value.as_str()).collect()
    }

    /// The value itself.
    pub const fn value(&self) -> &'d Value {
        self.value
    }
}
