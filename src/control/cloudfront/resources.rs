//! Calls that make, show, change and remove documents: checked against what is there, applied, and
//! written to the audit log.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use http::header::IF_MATCH;
use http::request::Parts;
use serde_json::Value;

use super::apply::{Step, internal, taken, unavailable};
use super::calls::{DocumentCall, Tagging, Verb, parameter};
use super::kinds::Names;
use super::tree;
use super::views::{self, Keeper, Paging, Shown, View, When};
use super::xml::{Fault, Said};
use crate::cache::invalidations::{Matcher, Severity};
use crate::cloudfront::strict::{is, text, texts};
use crate::cloudfront::{defaults, live, model};
use crate::control::Control;
use crate::crypto::sigv4::sha256;
use crate::distribution::functions::{Function, Kept};
use crate::distribution::site::Site;
use crate::documents::function::FunctionStages;
use crate::documents::shelf::{Document, Documents, Kind, Mismatch};
use crate::invalidation::log::{InvalidationRecord, new_id};
use crate::invalidation::service::Durability;

/// Documents of one kind.
const DOCUMENTS_MAX: usize = 10_000;
/// Tags of one distribution (CloudFront's quota).
const TAGS_MAX: usize = 50;

/// A call, and what came with it.
struct Asked {
    who: String,
    query: Option<String>,
    if_match: Option<String>,
    body: Bytes,
}

impl Asked {
    fn parameter(&self, name: &str) -> Option<String> {
        parameter(self.query.as_deref(), name)
    }
}

/// Answers a call that `who` may make.
pub async fn answer(
    control: &Arc<Control>,
    parts: &Parts,
    call: DocumentCall<'_>,
    who: String,
    body: Bytes,
) -> Result<Said, Fault> {
    let if_match = parts.headers.get(IF_MATCH).and_then(|value| value.to_str().ok());
    let asked = Asked {
        who,
        query: parts.uri.query().map(String::from),
        if_match: if_match.map(String::from),
        body,
    };
    let this = Arc::clone(control);
    // Compiling and syncing take their time; other calls of the admin listener do not wait for it.
    let work: Box<dyn FnOnce() -> Result<Said, Fault> + Send> = match call {
        DocumentCall::Resource(names, verb, id) => {
            let id = id.to_string();
            Box::new(move || this.resource(names, verb, &id, &asked))
        }
        DocumentCall::Tagging(what) => Box::new(move || this.tagging(what, &asked)),
        DocumentCall::Users(kind, id) => {
            let id = id.to_string();
            Box::new(move || this.users(kind, &id, &asked))
        }
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(internal("The call could not be answered.")))
}

impl Control {
    fn resource(
        &self,
        names: &'static Names,
        verb: Verb,
        id: &str,
        asked: &Asked,
    ) -> Result<Said, Fault> {
        match verb {
            Verb::Create => {
                let config = tree::read(&asked.body, names.config, names.config_shape)?;
                self.create(names, config, BTreeMap::new(), asked)
            }
            Verb::CreateWithTags => {
                let shape = &model::DISTRIBUTION_CONFIG_WITH_TAGS;
                let mut both = tree::read(&asked.body, "DistributionConfigWithTags", shape)?;
                let tags = tags_of(&both["Tags"])?;
                self.create(names, both[names.config].take(), tags, asked)
            }
            Verb::Update => self.update(names, id, asked),
            Verb::Delete => self.delete(names, id, asked),
            Verb::Get | Verb::GetConfig | Verb::List => self.show(names, verb, id, asked),
        }
    }

    fn show(
        &self,
        names: &'static Names,
        verb: Verb,
        id: &str,
        asked: &Asked,
    ) -> Result<Said, Fault> {
        let running = self.edge.running();
        let (site, account) = (&running.site, running.site.admin.account.as_str());
        let documents = self.documents.lock().clone();
        let view = self.view(site, &documents);
        if verb == Verb::List {
            let paging = Paging::of(asked.query.as_deref())?;
            let mut all = view.all(names.kind);
            match asked.parameter("Type").as_deref() {
                Some("managed") => all.retain(|one| one.keeper == Keeper::Managed),
                Some("custom") => all.retain(|one| one.keeper != Keeper::Managed),
                _ => {}
            }
            let xml = views::list(names, &all, account, &paging);
            return Ok(Said { status: 200, xml, ..Said::default() });
        }
        let shown = view.find(names.kind, id).ok_or_else(|| unknown(names))?;
        let xml = if verb == Verb::Get {
            views::whole(names, &shown, account, When::Asked)
        } else {
            tree::write(names.config, names.config_shape, &shown.document.config)
        };
        Ok(Said { status: 200, xml, etag: Some(shown.etag), ..Said::default() })
    }

    fn view<'v>(&self, site: &'v Site, documents: &'v Documents) -> View<'v> {
        View { site, documents, since: self.started_at }
    }

    /// Says whether documents may be changed here at all.
    pub(super) fn may_change(&self, site: &Site) -> Result<(), Fault> {
        if site.api.is_none() {
            return Err(Fault::of(
                "AccessDenied",
                "This edge is not managed by the API; see [api] of its configuration.",
            ));
        }
        if self.edge.fleet.get().is_some() {
            return Err(unavailable(
                "This edge is a member of a fleet, and documents do not travel by a fleet's log yet: change them outside of one.",
            ));
        }
        Ok(())
    }

    fn create(
        &self,
        names: &'static Names,
        mut config: Value,
        tags: BTreeMap<String, String>,
        asked: &Asked,
    ) -> Result<Said, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        complete(names.kind, &mut config);
        if let Some(known) = documents.of(names.kind).find(|one| is_same(names.kind, one, &config))
        {
            // Said twice, an identity is still one.
            if names.kind == Kind::OriginAccessIdentity && known.config == config {
                return Ok(self.changed(names, known, 201));
            }
            return Err(exists(names, &known.id));
        }
        if documents.count(names.kind) >= DOCUMENTS_MAX {
            let code = match names.kind {
                Kind::Distribution => "TooManyDistributions",
                _ => "EntityLimitExceeded",
            };
            return Err(Fault::of(code, &format!("There are {DOCUMENTS_MAX} of them already.")));
        }
        let now = self.edge.clock.now().0;
        let document = Document {
            id: fresh_id(names.kind),
            revision: 1,
            created: now,
            modified: now,
            domain: domain(names.kind, site),
            tags,
            config,
        };
        self.check_document(&document, names.kind, site, &documents)?;
        self.apply(&mut documents, Step::Keep(names.kind, &document))?;
        audit(
            &asked.who,
            &format!("Create{}", names.one),
            names,
            &document.id,
            None,
            Some(&document),
        );
        Ok(self.changed(names, &document, 201))
    }

    fn update(&self, names: &'static Names, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let mut config = tree::read(&asked.body, names.config, names.config_shape)?;
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let known = self.own(names, id, site, &documents, "IllegalUpdate")?;
        known.check(asked.if_match.as_deref()).map_err(mismatch)?;
        complete(names.kind, &mut config);
        keeps_what_stays(names.kind, &known.config, &config)?;
        let same = documents
            .of(names.kind)
            .find(|one| one.id != known.id && is_same(names.kind, one, &config));
        if let Some(other) = same {
            return Err(exists(names, &other.id));
        }
        if config == known.config {
            return Ok(self.changed(names, &known, 200));
        }
        let document = known.with_config(config, self.edge.clock.now().0);
        self.check_document(&document, names.kind, site, &documents)?;
        self.apply(&mut documents, Step::Keep(names.kind, &document))?;
        let action = format!("Update{}", names.one);
        audit(&asked.who, &action, names, id, Some(&known), Some(&document));
        Ok(self.changed(names, &document, 200))
    }

    fn delete(&self, names: &'static Names, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let known = self.own(names, id, site, &documents, "IllegalDelete")?;
        known.check(asked.if_match.as_deref()).map_err(mismatch)?;
        if names.kind == Kind::Distribution && is(&known.config, &["Enabled"]) {
            return Err(Fault::of(
                "DistributionNotDisabled",
                "The distribution you are trying to delete has not been disabled.",
            ));
        }
        if let Some(user) = user_of(names.kind, id, &self.view(site, &documents)) {
            let why = format!("The resource is in use: {user} names it.");
            return Err(Fault::of(names.in_use, &why));
        }
        if names.kind == Kind::Distribution {
            self.forget(id)?;
        }
        self.apply(&mut documents, Step::Remove(names.kind, id))?;
        audit(&asked.who, &format!("Delete{}", names.one), names, id, Some(&known), None);
        Ok(Said { status: 204, ..Said::default() })
    }

    // Makes whatever is stored of a distribution old: it takes up room for nothing.
    fn forget(&self, id: &str) -> Result<(), Fault> {
        let everything = vec![Matcher::Prefix("/".into())];
        let now = self.edge.clock.now().0;
        let record =
            InvalidationRecord::new(new_id(), id.to_string(), everything, Severity::Hard, now);
        match self.edge.invalidation.accept(record, Durability::Synced) {
            Ok(_) => Ok(()),
            Err(error) => {
                tracing::error!(%error, "an invalidation could not be written down");
                Err(internal("Nothing was changed: the invalidation log could not be written."))
            }
        }
    }

    // A document that may be changed by the API.
    fn own(
        &self,
        names: &'static Names,
        id: &str,
        site: &Site,
        documents: &Documents,
        not_managed: &'static str,
    ) -> Result<Arc<Document>, Fault> {
        if let Some(known) = documents.get(names.kind, id) {
            return Ok(Arc::clone(known));
        }
        match self.view(site, documents).find(names.kind, id).map(|shown| shown.keeper) {
            Some(Keeper::File) => {
                let file = self.config.display();
                Err(Fault::of(
                    "AccessDenied",
                    &format!("{id} is kept in {file}, and changed there."),
                ))
            }
            Some(_) => Err(Fault::of(not_managed, "You can't change a managed policy.")),
            None => Err(unknown(names)),
        }
    }

    // What a document names is there, and no host of it is another's.
    fn check_document(
        &self,
        document: &Document,
        kind: Kind,
        site: &Site,
        documents: &Documents,
    ) -> Result<(), Fault> {
        let view = self.view(site, documents);
        for (of, id, place) in live::named(kind, &document.config) {
            let is_there = match of {
                Kind::Function => is_served(&id, site, documents),
                of => view.find(of, &id).is_some(),
            };
            if !is_there {
                return Err(missing(of, &id, &place));
            }
        }
        if kind != Kind::Distribution {
            return Ok(());
        }
        let mut hosts = texts(&document.config, &["Aliases"]);
        hosts.push(&document.domain);
        if let Some(host) = taken(site, &document.id, &hosts) {
            let why = format!(
                "One or more of the CNAMEs you provided are already associated with a different resource: {host}."
            );
            return Err(Fault::of("CNAMEAlreadyExists", &why));
        }
        origins_exist(&document.config)
    }

    fn changed(&self, names: &'static Names, document: &Document, status: u16) -> Said {
        let running = self.edge.running();
        let account = running.site.admin.account.as_str();
        let etag = document.etag();
        let shown = Shown { keeper: Keeper::Api, etag: etag.clone(), document: document.clone() };
        let path = names.path.join("/");
        let location =
            format!("https://cloudfront.amazonaws.com/2020-05-31/{path}/{}", document.id);
        Said {
            status,
            xml: views::whole(names, &shown, account, When::Changed),
            location: (status == 201).then_some(location),
            etag: Some(etag),
            ..Said::default()
        }
    }

    fn users(&self, kind: Kind, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let paging = Paging::of(asked.query.as_deref())?;
        let running = self.edge.running();
        let documents = self.documents.lock().clone();
        let view = self.view(&running.site, &documents);
        if view.find(kind, id).is_none() {
            return Err(unknown(Names::of(kind)));
        }
        let xml = views::ids(view.users(kind, id), &paging);
        Ok(Said { status: 200, xml, ..Said::default() })
    }

    fn tagging(&self, what: Tagging, asked: &Asked) -> Result<Said, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        let named = asked.parameter("Resource").unwrap_or_default();
        let start = views::arn(&site.admin.account, "");
        let nothing = || Fault::of("NoSuchResource", "The specified resource does not exist.");
        let id = named.strip_prefix(&start).ok_or_else(nothing)?;
        let names = Names::of(Kind::Distribution);
        if what == Tagging::List {
            let shown = self.view(site, &documents).find(names.kind, id).ok_or_else(nothing)?;
            let tags = shown.document.tags.iter();
            let items: Vec<Value> = tags
                .map(|(key, value)| serde_json::json!({ "Key": key, "Value": value }))
                .collect();
            let xml = tree::write("Tags", &model::TAGS, &serde_json::json!({ "Items": items }));
            return Ok(Said { status: 200, xml, ..Said::default() });
        }
        let mut tags = match documents.get(names.kind, id) {
            Some(known) => known.tags.clone(),
            None => BTreeMap::new(),
        };
        if what == Tagging::Tag {
            tags.extend(tags_of(&tree::read(&asked.body, "Tags", &model::TAGS)?)?);
        } else {
            let keys = tree::read(&asked.body, "TagKeys", &model::TAG_KEYS)?;
            let keys = keys["Items"].as_array().into_iter().flatten().filter_map(Value::as_str);
            keys.for_each(|key| drop(tags.remove(key)));
        }
        self.may_change(site)?;
        let known = match self.own(names, id, site, &documents, "IllegalUpdate") {
            Err(fault) if fault.code == names.unknown => return Err(nothing()),
            other => other?,
        };
        if tags.len() > TAGS_MAX {
            let why = format!("A distribution has at most {TAGS_MAX} tags.");
            return Err(Fault::of("InvalidTagging", &why));
        }
        if tags != known.tags {
            let document = known.with_tags(tags);
            self.apply(&mut documents, Step::Keep(names.kind, &document))?;
            let action = if what == Tagging::Tag { "TagResource" } else { "UntagResource" };
            audit(&asked.who, action, names, id, Some(&known), Some(&document));
        }
        Ok(Said { status: 204, ..Said::default() })
    }
}

// A line for each change: who, what, and the versions before and after.
fn audit(
    who: &str,
    action: &str,
    names: &Names,
    id: &str,
    before: Option<&Document>,
    after: Option<&Document>,
) {
    let etag = |document: Option<&Document>| document.map(Document::etag).unwrap_or_default();
    let (before, after) = (etag(before), etag(after));
    let resource = format!("{}/{id}", names.kind.word());
    tracing::info!(who, action, resource, before, after, "changed by the API");
}

fn unknown(names: &Names) -> Fault {
    let what = match names.kind {
        Kind::Distribution => "distribution",
        Kind::CachePolicy => "cache policy",
        Kind::OriginRequestPolicy => "origin request policy",
        Kind::ResponseHeadersPolicy => "response headers policy",
        Kind::OriginAccessControl => "origin access control",
        Kind::OriginAccessIdentity => "origin access identity",
        Kind::PublicKey => "public key",
        Kind::KeyGroup => "key group",
        Kind::Function => "function",
    };
    Fault::of(names.unknown, &format!("The specified {what} does not exist."))
}

fn exists(names: &Names, id: &str) -> Fault {
    let why = format!("There is one with this name or caller reference already: {id}.");
    Fault::of(names.exists, &why)
}

/// The fault of a caller that names no version, or another one.
pub(super) fn mismatch(why: Mismatch) -> Fault {
    match why {
        Mismatch::Missing => Fault::of(
            "InvalidIfMatchVersion",
            "The If-Match version is missing or not valid for the resource.",
        ),
        Mismatch::Other => Fault::of(
            "PreconditionFailed",
            "The request failed because it didn't meet the preconditions in one or more request-header fields.",
        ),
    }
}

// Something that a document names is not there.
fn missing(kind: Kind, id: &str, place: &str) -> Fault {
    let code = match kind {
        Kind::KeyGroup => "TrustedKeyGroupDoesNotExist",
        Kind::OriginAccessControl => "InvalidOriginAccessControl",
        Kind::OriginAccessIdentity => "InvalidOriginAccessIdentity",
        Kind::PublicKey => "InvalidArgument",
        Kind::Function => "InvalidFunctionAssociation",
        other => Names::of(other).unknown,
    };
    let what = match kind {
        Kind::Function => "published function",
        other => other.word(),
    };
    Fault::of(code, &format!("{place}: there is no {what} {id}."))
}

// Says whether behaviors can run a function: it is published, or one of the configuration's own.
fn is_served(name: &str, site: &Site, documents: &Documents) -> bool {
    let is_live = |document: &Arc<Document>| {
        FunctionStages::of(document).is_ok_and(|stages| stages.live.is_some())
    };
    let is_own = |known: &Arc<Function>| *known.name == *name && known.kept == Kept::File;
    documents.get(Kind::Function, name).is_some_and(is_live) || site.functions.iter().any(is_own)
}

// Every origin that a behavior or a group names is there.
fn origins_exist(config: &Value) -> Result<(), Fault> {
    let ids = |list: &str| -> Vec<&str> {
        let all = crate::cloudfront::strict::items(config, &[list]).iter();
        all.map(|one| text(one, &["Id"])).collect()
    };
    let (origins, groups) = (ids("Origins"), ids("OriginGroups"));
    for (place, behavior) in crate::cloudfront::strict::behaviors(config) {
        let target = text(behavior, &["TargetOriginId"]);
        if !origins.contains(&target) && !groups.contains(&target) {
            let why = format!("{place}.TargetOriginId: there is no origin {target:?}.");
            return Err(Fault::of("NoSuchOrigin", &why));
        }
    }
    Ok(())
}

// What CloudFront adds of itself.
fn complete(kind: Kind, config: &mut Value) {
    match kind {
        Kind::Distribution => defaults::distribution(config),
        Kind::PublicKey => defaults::public_key(config),
        _ => {}
    }
}

// Whether a configuration is for the document that there is: by the word that its caller chose.
fn is_same(kind: Kind, known: &Document, config: &Value) -> bool {
    let same = |key: &str| {
        let word = text(config, &[key]);
        !word.is_empty() && known.text(&[key]) == word
    };
    match kind {
        Kind::Distribution | Kind::OriginAccessIdentity => same("CallerReference"),
        Kind::PublicKey => same("CallerReference") || same("Name"),
        _ => same("Name"),
    }
}

// What a change may not touch.
fn keeps_what_stays(kind: Kind, known: &Value, config: &Value) -> Result<(), Fault> {
    let (code, keys): (&'static str, &[&str]) = match kind {
        Kind::Distribution | Kind::OriginAccessIdentity => ("IllegalUpdate", &["CallerReference"]),
        Kind::PublicKey => {
            ("CannotChangeImmutablePublicKeyFields", &["CallerReference", "Name", "EncodedKey"])
        }
        _ => return Ok(()),
    };
    match keys.iter().find(|key| text(known, &[**key]).trim() != text(config, &[**key]).trim()) {
        Some(key) => Err(Fault::of(code, &format!("{key} cannot be changed."))),
        None => Ok(()),
    }
}

// A document that names another one.
fn user_of(kind: Kind, id: &str, view: &View<'_>) -> Option<String> {
    if kind == Kind::PublicKey {
        let mut groups = view.documents.of(Kind::KeyGroup);
        let names = |group: &&Arc<Document>| {
            live::named(Kind::KeyGroup, &group.config).iter().any(|(_, named, _)| named == id)
        };
        return groups.find(names).map(|group| group.id.clone());
    }
    (kind != Kind::Distribution).then(|| view.users(kind, id).into_iter().next()).flatten()
}

fn fresh_id(kind: Kind) -> String {
    // `I` and thirteen letters or digits.
    let word = new_id();
    match kind {
        Kind::Distribution | Kind::OriginAccessControl | Kind::OriginAccessIdentity => {
            format!("E{}", &word[1..])
        }
        Kind::PublicKey => format!("K{}", &word[1..]),
        _ => {
            let hex = sha256(format!("{word}{}", new_id()).as_bytes());
            // A UUID's form, version 4.
            let (a, b, c, d, e) =
                (&hex[..8], &hex[8..12], &hex[13..16], &hex[17..20], &hex[20..32]);
            format!("{a}-{b}-4{c}-8{d}-{e}")
        }
    }
}

fn domain(kind: Kind, site: &Site) -> String {
    match (&site.api, kind) {
        (Some(api), Kind::Distribution) => {
            format!("d{}.{}", new_id()[1..].to_ascii_lowercase(), api.domain)
        }
        _ => String::new(),
    }
}

// Tags of a body: `{ "Items": [{ "Key": …, "Value": … }] }`.
fn tags_of(tags: &Value) -> Result<BTreeMap<String, String>, Fault> {
    let mut all = BTreeMap::new();
    for tag in tags["Items"].as_array().into_iter().flatten() {
        let (key, value) = (text(tag, &["Key"]), text(tag, &["Value"]));
        let is_good = (1..=128).contains(&key.chars().count())
            && value.chars().count() <= 256
            && !key.starts_with("aws:");
        if !is_good || all.insert(key.to_string(), value.to_string()).is_some() {
            return Err(Fault::of("InvalidTagging", &format!("The tag {key:?} is not valid.")));
        }
    }
    if all.len() > TAGS_MAX {
        let why = format!("A distribution has at most {TAGS_MAX} tags.");
        return Err(Fault::of("InvalidTagging", &why));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn ids_have_the_forms_that_they_have_at_cloudfront() {
        let id = fresh_id(Kind::Distribution);
        assert!(id.len() == 14 && id.starts_with('E'), "{id}");
        assert!(fresh_id(Kind::PublicKey).starts_with('K'));
        let id = fresh_id(Kind::CachePolicy);
        let lengths: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
        assert_ne!(id, fresh_id(Kind::CachePolicy));
    }

    #[test]
    fn tags_are_held_to_their_rules() {
        let tag = |key: &str, value: &str| json!({ "Key": key, "Value": value });
        let read = |tags: Vec<Value>| tags_of(&json!({ "Items": tags }));
        assert_eq!(read(vec![tag("a", "1"), tag("b", "")]).unwrap().len(), 2);
        let many = (0..=TAGS_MAX).map(|at| tag(&at.to_string(), "")).collect();
        for bad in [
            vec![tag("", "1")],
            vec![tag("aws:x", "1")],
            vec![tag("a", "1"), tag("a", "2")],
            vec![tag(&"k".repeat(129), "")],
            vec![tag("k", &"v".repeat(257))],
            many,
        ] {
            assert_eq!(read(bad).unwrap_err().code, "InvalidTagging");
        }
        assert!(tags_of(&Value::Null).unwrap().is_empty());
    }

    #[test]
    fn what_stays_is_not_changed() {
        let known = json!({ "CallerReference": "r", "EncodedKey": "k\n" });
        let with = |key: &str, value: &str| {
            let mut config = known.clone();
            config[key] = value.into();
            config
        };
        let code =
            |kind, config| keeps_what_stays(kind, &known, &config).err().map(|fault| fault.code);
        assert_eq!(code(Kind::Distribution, with("CallerReference", "x")), Some("IllegalUpdate"));
        assert_eq!(code(Kind::Distribution, with("Comment", "x")), None);
        assert_eq!(code(Kind::PublicKey, with("EncodedKey", "k")), None);
        assert_eq!(
            code(Kind::PublicKey, with("EncodedKey", "x")),
            Some("CannotChangeImmutablePublicKeyFields")
        );
    }
}
