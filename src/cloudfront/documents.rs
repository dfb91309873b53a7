//! Which of the files given to an import is what: distributions, and what lies beside them.
//!
//! Outputs of `get-…`, `get-…-config` and `list-…` are known, whole or cut with `--query`. A file
//! that is none of these is named and passed over.

use std::collections::{BTreeMap, BTreeSet};

use super::node::Node;
use super::report::{Rank, Report};
use crate::distribution::cache_policy::{CachePolicy, OriginRequestPolicy};
use crate::distribution::response_policy::ResponsePolicy;

/// What may lie beside a distribution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    CachePolicy,
    OriginRequestPolicy,
    ResponseHeadersPolicy,
    KeyGroup,
    PublicKey,
    OriginAccessControl,
    FieldEncryptionProfile,
    FieldEncryption,
}

/// Each kind with the key of its document, of its configuration within, and of a list of them.
const KINDS: [(Kind, &str, &str, &str); 8] = [
    (Kind::CachePolicy, "CachePolicy", "CachePolicyConfig", "CachePolicyList"),
    (
        Kind::OriginRequestPolicy,
        "OriginRequestPolicy",
        "OriginRequestPolicyConfig",
        "OriginRequestPolicyList",
    ),
    (
        Kind::ResponseHeadersPolicy,
        "ResponseHeadersPolicy",
        "ResponseHeadersPolicyConfig",
        "ResponseHeadersPolicyList",
    ),
    (Kind::KeyGroup, "KeyGroup", "KeyGroupConfig", "KeyGroupList"),
    (Kind::PublicKey, "PublicKey", "PublicKeyConfig", "PublicKeyList"),
    (
        Kind::OriginAccessControl,
        "OriginAccessControl",
        "OriginAccessControlConfig",
        "OriginAccessControlList",
    ),
    (
        Kind::FieldEncryptionProfile,
        "FieldLevelEncryptionProfile",
        "FieldLevelEncryptionProfileConfig",
        "FieldLevelEncryptionProfileList",
    ),
    (
        Kind::FieldEncryption,
        "FieldLevelEncryption",
        "FieldLevelEncryptionConfig",
        "FieldLevelEncryptionList",
    ),
];

impl Kind {
    /// The command that gives one.
    pub const fn call(self) -> &'static str {
        match self {
            Self::CachePolicy => "get-cache-policy",
            Self::OriginRequestPolicy => "get-origin-request-policy",
            Self::ResponseHeadersPolicy => "get-response-headers-policy",
            Self::KeyGroup => "get-key-group",
            Self::PublicKey => "get-public-key",
            Self::OriginAccessControl => "get-origin-access-control",
            Self::FieldEncryptionProfile => "get-field-level-encryption-profile",
            Self::FieldEncryption => "get-field-level-encryption",
        }
    }

    /// Its words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::CachePolicy => "cache policy",
            Self::OriginRequestPolicy => "origin request policy",
            Self::ResponseHeadersPolicy => "response headers policy",
            Self::KeyGroup => "key group",
            Self::PublicKey => "public key",
            Self::OriginAccessControl => "origin access control",
            Self::FieldEncryptionProfile => "field-level encryption profile",
            Self::FieldEncryption => "field-level encryption",
        }
    }

    fn is_managed(self, id: &str) -> bool {
        match self {
            Self::CachePolicy => CachePolicy::managed(id).is_some(),
            Self::OriginRequestPolicy => OriginRequestPolicy::managed(id).is_some(),
            Self::ResponseHeadersPolicy => ResponsePolicy::managed(id).is_some(),
            Self::KeyGroup
            | Self::PublicKey
            | Self::OriginAccessControl
            | Self::FieldEncryptionProfile
            | Self::FieldEncryption => false,
        }
    }
}

/// A distribution that was found.
#[derive(Clone)]
pub struct Candidate<'d> {
    pub config: Node<'d>,
    pub id: Option<&'d str>,
    /// The name that CloudFront gave it.
    pub domain: Option<&'d str>,
    /// It is out of a list, which does not say everything.
    pub is_summary: bool,
    /// Its tags, where they were given beside it.
    pub tags: Vec<(&'d str, &'d str)>,
}

/// Policies, keys and the like, by kind and CloudFront's id.
#[derive(Default)]
pub struct Shelf<'d> {
    known: BTreeMap<(Kind, &'d str), (Node<'d>, Source)>,
    used: BTreeSet<(Kind, &'d str)>,
    /// Configurations without their id.
    nameless: Vec<(Kind, Node<'d>)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Source {
    Own,
    List,
}

/// All that was found.
#[derive(Default)]
pub struct Sorted<'d> {
    pub candidates: Vec<Candidate<'d>>,
    pub shelf: Shelf<'d>,
    /// Files that are nothing of this.
    pub unknown: Vec<&'d str>,
    /// Files that are templates.
    pub templates: Vec<&'d str>,
}

impl<'d> Sorted<'d> {
    /// Finds out what a document is.
    pub fn add(&mut self, root: &Node<'d>) {
        if root.value().is_array() {
            let all = root.elements();
            all.iter().for_each(|item| self.add_one(item));
            if all.is_empty() {
                self.unknown.push(root.file());
            }
        } else {
            self.add_one(root);
        }
    }

    fn add_one(&mut self, root: &Node<'d>) {
        if is_template(root) {
            root.take();
            self.templates.push(root.file());
        } else if !(self.add_distributions(root) || self.shelf.add(root)) {
            root.take();
            self.unknown.push(root.file());
        }
    }

    fn add_distributions(&mut self, root: &Node<'d>) -> bool {
        if let Some(list) = root.get("DistributionList") {
            root.take_all_but("DistributionList");
            list.take_all_but("Items");
            list.elements().iter().for_each(|item| self.candidates.push(summary(item)));
            return true;
        }
        let whole = root.get("Distribution").unwrap_or_else(|| root.clone());
        if let Some(config) = whole.get("DistributionConfig") {
            let (id, domain) = (whole.text("Id"), whole.text("DomainName"));
            // What stands beside the configuration is about the original, not about what it does.
            root.take_each(&["ETag"]);
            whole.take_all_but("DistributionConfig");
            let tags = tags(&whole);
            self.candidates.push(Candidate { config, id, domain, is_summary: false, tags });
            return true;
        }
        if root.get("Origins").is_none() || root.get("DefaultCacheBehavior").is_none() {
            return false;
        }
        let is_summary = root.get("Status").is_some() || root.get("ARN").is_some();
        let found = if is_summary {
            summary(root)
        } else {
            Candidate {
                config: root.clone(),
                id: None,
                domain: None,
                is_summary: false,
                tags: Vec::new(),
            }
        };
        self.candidates.push(found);
        true
    }
}

fn summary<'d>(item: &Node<'d>) -> Candidate<'d> {
    item.take_each(&["ARN", "ETag", "Status", "LastModifiedTime", "AliasICPRecordals"]);
    Candidate {
        config: item.clone(),
        id: item.text("Id"),
        domain: item.text("DomainName"),
        is_summary: true,
        tags: Vec::new(),
    }
}

fn tags<'d>(whole: &Node<'d>) -> Vec<(&'d str, &'d str)> {
    let mut all: Vec<(&str, &str)> = Vec::new();
    for tag in whole.items("Tags") {
        let Some(key) = tag.text("Key") else { continue };
        // A tag has one value.
        if !all.iter().any(|(known, _)| *known == key) {
            all.push((key, tag.text("Value").unwrap_or("")));
        }
    }
    all
}

// CloudFormation's, as it is written or as `cdk synth` and `sam` give it.
fn is_template(root: &Node<'_>) -> bool {
    let resources = root.get("Resources").and_then(|all| all.value().as_object());
    root.get("AWSTemplateFormatVersion").is_some()
        || resources.is_some_and(|all| {
            all.values().any(|one| one.get("Type").is_some_and(serde_json::Value::is_string))
        })
}

/// The distribution that is meant: the one that was named, or the only one. One that is described
/// whole goes before one of a list.
pub fn choose<'d>(sorted: &Sorted<'d>, wanted: Option<&str>) -> Result<Candidate<'d>, String> {
    let all = &sorted.candidates;
    let whole: Vec<&Candidate<'d>> = all.iter().filter(|one| !one.is_summary).collect();
    let named = |one: &&Candidate<'d>| wanted.is_some() && one.id == wanted;
    let chosen = match wanted {
        Some(_) => whole
            .iter()
            .copied()
            .find(named)
            .or_else(|| all.iter().find(named))
            .or_else(|| only(&whole).filter(|one| one.id.is_none())),
        None => only(&whole)
            .or_else(|| only(&all.iter().collect::<Vec<_>>()).filter(|_| whole.is_empty())),
    };
    if let Some(one) = chosen {
        return Ok(one.clone());
    }
    let known: Vec<&str> = all.iter().map(|one| one.id.unwrap_or("one without an id")).collect();
    let known = known.join(", ");
    Err(match wanted {
        Some(id) if !all.is_empty() => {
            format!("there is no distribution {id} in these files; there is {known}")
        }
        _ if !all.is_empty() => format!(
            "these are {} distributions ({known}): name one with --distribution ID",
            all.len()
        ),
        _ => nothing_found(sorted),
    })
}

fn only<'c, 'd>(all: &[&'c Candidate<'d>]) -> Option<&'c Candidate<'d>> {
    match all {
        [one] => Some(*one),
        _ => None,
    }
}

fn nothing_found(sorted: &Sorted<'_>) -> String {
    let how = "`aws cloudfront get-distribution-config --id ID`";
    match (&sorted.templates[..], &sorted.unknown[..]) {
        ([file, ..], _) => format!(
            "{file} is a template: `foreshore import cloudformation` reads it; what comes of it is known once it is deployed, by {how}"
        ),
        ([], []) => format!("none of these is a distribution: the output of {how} is needed"),
        ([], unknown) => format!(
            "none of these is a distribution: the output of {how} is needed; neither a distribution nor a policy, a key group or a public \
             key of CloudFront's: {}",
            unknown.join(", ")
        ),
    }
}

/// What is said of files and parts of files that an import does not use.
pub fn say_passed_over(sorted: &Sorted<'_>, report: &mut Report) {
    for file in &sorted.unknown {
        report.add(Rank::ToKnow, &format!("{file}: nothing that an import reads; passed over"));
    }
    for file in &sorted.templates {
        report.add(
            Rank::ToKnow,
            &format!("{file}: a template; passed over, because only what is deployed can be read"),
        );
    }
}

impl<'d> Shelf<'d> {
    fn add(&mut self, root: &Node<'d>) -> bool {
        for (kind, wrapper, config, list) in KINDS {
            if let Some(all) = root.get(list) {
                root.take_all_but(list);
                all.take_all_but("Items");
                for item in all.elements() {
                    let one = item.get(wrapper);
                    item.take_each(&["Type"]);
                    self.shelve(kind, &one.unwrap_or(item), config, Source::List);
                }
                return true;
            }
            if let Some(one) = root.get(wrapper) {
                root.take_all_but(wrapper);
                self.shelve(kind, &one, config, Source::Own);
                return true;
            }
            if let Some(body) = root.get(config) {
                if root.text("Id").is_some() {
                    self.shelve(kind, root, config, Source::Own);
                } else {
                    root.take_all_but(config);
                    self.nameless.push((kind, body));
                }
                return true;
            }
        }
        false
    }

    // Keys and access controls stand in lists without a configuration of their own.
    fn shelve(&mut self, kind: Kind, one: &Node<'d>, config: &str, source: Source) {
        let Some(id) = one.text("Id") else { return };
        let body = match one.get(config) {
            Some(body) => {
                one.take_all_but(config);
                body
            }
            None => {
                one.take_each(&["CreatedTime", "LastModifiedTime"]);
                one.clone()
            }
        };
        self.known.insert((kind, id), (body, source));
    }

    /// Finds out which ids the configurations without one have: by their file's name, or because
    /// only one is missing.
    pub fn name_the_nameless(&mut self, asked: &BTreeSet<(Kind, &'d str)>, report: &mut Report) {
        for (kind, body) in std::mem::take(&mut self.nameless) {
            let missing = |(of, id): &&(Kind, &'d str)| {
                *of == kind && !of.is_managed(id) && !self.known.contains_key(&(*of, *id))
            };
            let missing: Vec<&'d str> = asked.iter().filter(missing).map(|(_, id)| *id).collect();
            let by_file = missing.iter().find(|id| body.file().contains(**id));
            let found = match (by_file, &missing[..]) {
                (Some(id), _) => Some(*id),
                // Which keys may sign is not guessed.
                (None, [only]) if !matches!(kind, Kind::KeyGroup | Kind::PublicKey) => Some(*only),
                _ => None,
            };
            match found {
                Some(id) => {
                    report.add(
                        Rank::ToKnow,
                        &format!("{}: names no id; taken for {} {id}", body.file(), kind.words()),
                    );
                    self.known.insert((kind, id), (body, Source::Own));
                }
                None => {
                    body.take();
                    let (file, call) = (body.file(), kind.call());
                    report.add(Rank::ToKnow, &format!("{file}: names no id; give the output of {call}, or call the file by the id"));
                }
            }
        }
    }

    /// What lies here under an id; it counts as used.
    pub fn find(&mut self, kind: Kind, id: &'d str) -> Option<Node<'d>> {
        let (body, _) = self.known.get(&(kind, id))?;
        self.used.insert((kind, id));
        Some(body.clone())
    }

    /// Reports the documents that the distribution does not use.
    pub fn put_away(&self, report: &mut Report) {
        for ((kind, id), (body, source)) in
            self.known.iter().filter(|(key, _)| !self.used.contains(*key))
        {
            body.take();
            if *source == Source::Own {
                report.add(
                    Rank::Idle,
                    &format!(
                        "{}: {} {id} is not used by this distribution",
                        body.file(),
                        kind.words()
                    ),
                );
            }
        }
    }
}
