//! Calls that make, show, change and remove documents: checked against what is there, applied, and
//! written to the audit log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use http::header::{HeaderName, IF_MATCH, USER_AGENT};
use http::request::Parts;
use serde_json::Value;

use super::apply::{Step, taken};
use super::calls::{DocumentCall, Verb, decoded, parameter};
use super::kinds::Names;
use super::rules::{
    complete, deploys_alone, domain, exists, fresh_id, is_served, keeps_what_stays, lambdas_exist,
    managed_of, mismatch, missing, origins_exist, same_as, tags_of, unknown, user_of,
};
use super::tree;
use super::views::{self, Keeper, Paging, Shown, View, When};
use super::xml::{Fault, Said};
use crate::cache::invalidations::{Matcher, Severity};
use crate::cloudfront::strict::{check_change, is, texts};
use crate::cloudfront::{defaults, live, model, trust};
use crate::control::Control;
use crate::distribution::site::Site;
use crate::documents::shelf::{Document, Documents, Kind};
use crate::documents::travel;
use crate::invalidation::log::{InvalidationRecord, new_id};
use crate::invalidation::service::Durability;

/// Documents of one kind.
const DOCUMENTS_MAX: usize = 10_000;

/// A call, and what came with it.
pub struct Asked {
    pub who: String,
    pub query: Option<String>,
    pub if_match: Option<String>,
    /// The field `Staging`, of a copy.
    pub staging: Option<String>,
    /// The field `UseClientCertificateOCSPEndpoint`, of a trust store.
    pub ocsp: Option<String>,
    /// It is a module of Ansible, which compares what it is told with what it would send.
    pub is_ansible: bool,
    pub body: Bytes,
}

impl Asked {
    pub fn parameter(&self, name: &str) -> Option<String> {
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
    let field = |name: HeaderName| {
        let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
        value.map(String::from)
    };
    let asked = Asked {
        who,
        query: parts.uri.query().map(String::from),
        if_match: field(IF_MATCH),
        staging: field(HeaderName::from_static("staging")),
        ocsp: field(HeaderName::from_static("useclientcertificateocspendpoint")),
        is_ansible: field(USER_AGENT).is_some_and(|agent| agent.contains("Ansible/")),
        body,
    };
    // Compiling and syncing take their time; other calls of the admin listener do not wait for it.
    match call {
        DocumentCall::Resource(names, verb, id) => {
            let id = id.to_string();
            control.decide(move |control| control.resource(names, verb, &id, &asked)).await
        }
        DocumentCall::Tagging(what) => {
            control.decide(move |control| control.tagging(what, &asked)).await
        }
        DocumentCall::Users(kind, id) => {
            let id = id.to_string();
            control.decide(move |control| control.users(kind, &id, &asked)).await
        }
        DocumentCall::Naming(what, id) => {
            let id = id.to_string();
            control.decide(move |control| control.naming(what, &id, &asked)).await
        }
        DocumentCall::Conflicts => control.decide(move |control| control.conflicts(&asked)).await,
        DocumentCall::Associate(id) => {
            let id = id.to_string();
            control.decide(move |control| control.associate(&id, &asked)).await
        }
        DocumentCall::Copy(id) => {
            let id = id.to_string();
            control.decide(move |control| control.copy_distribution(&id, &asked)).await
        }
        DocumentCall::Promote(id) => {
            let id = id.to_string();
            control.decide(move |control| control.promote_staging(&id, &asked)).await
        }
        DocumentCall::Subscription(what, id) => {
            let id = id.to_string();
            control.decide(move |control| control.subscription(what, &id, &asked)).await
        }
        DocumentCall::TrustStore(verb, id) => {
            let id = trust::id_of(&decoded(id)).to_string();
            control.decide(move |control| control.trust_store(verb, &id, &asked)).await
        }
        DocumentCall::RealtimeLog(verb) => {
            control.decide(move |control| control.realtime_log(verb, &asked)).await
        }
        DocumentCall::ManagedCertificate => {
            let why = "There are no certificates here that CloudFront manages.";
            Err(Fault::of("EntityNotFound", why))
        }
    }
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
            let spreading = self.spreading_ids(names, all.iter());
            let xml = views::list(names, &all, account, &paging, &spreading);
            return Ok(Said { status: 200, xml, ..Said::default() });
        }
        let mut shown = view.find(names.kind, id).ok_or_else(|| unknown(names))?;
        if asked.is_ansible && names.kind == Kind::Distribution {
            defaults::leave_out_for_ansible(&mut shown.document.config);
        }
        let xml = if verb == Verb::Get {
            let spreading = self.spreading_ids(names, std::iter::once(&shown));
            let when = if spreading.is_empty() { When::Asked } else { When::Changed };
            views::whole(names, &shown, account, when, &documents)
        } else {
            tree::write(names.config, names.config_shape, &shown.document.config)
        };
        Ok(Said { status: 200, xml, etag: Some(shown.etag), ..Said::default() })
    }

    /// The ids of distributions that some live member of the fleet does not serve as they are shown.
    pub(super) fn spreading_ids<'s>(
        &self,
        names: &Names,
        shown: impl Iterator<Item = &'s Shown>,
    ) -> BTreeSet<String> {
        if names.kind != Kind::Distribution {
            return BTreeSet::new();
        }
        let start = travel::name(names.kind, "");
        let of_api = shown.filter(|one| one.keeper == Keeper::Api);
        let all = of_api.map(|one| format!("{start}{}", one.document.id)).collect();
        let spreading = self.spreading(all).into_iter();
        spreading.filter_map(|name| name.strip_prefix(&start).map(String::from)).collect()
    }

    pub(super) fn view<'v>(&self, site: &'v Site, documents: &'v Documents) -> View<'v> {
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
        Ok(())
    }

    /// Makes a document of a configuration, and puts it in force.
    pub(super) fn create(
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
        if let Some(known) = same_as(names.kind, documents.of(names.kind), &config) {
            // Said twice, an identity is still one.
            if names.kind == Kind::OriginAccessIdentity && known.config == config {
                return Ok(self.changed(names, known, &documents, 201));
            }
            return Err(exists(names, &known.id));
        }
        if let Some(id) = managed_of(names.kind, &config) {
            return Err(exists(names, id));
        }
        if documents.count(names.kind) >= DOCUMENTS_MAX {
            let code = match names.kind {
                Kind::Distribution => "TooManyDistributions",
                Kind::FieldEncryption => "TooManyFieldLevelEncryptionConfigs",
                Kind::FieldEncryptionProfile => "TooManyFieldLevelEncryptionProfiles",
                _ => "EntityLimitExceeded",
            };
            return Err(Fault::of(code, &format!("There are {DOCUMENTS_MAX} of them already.")));
        }
        let now = self.edge.clock.now().0;
        let document = Document {
            domain: domain(names.kind, site),
            tags,
            ..Document::new(fresh_id(names.kind, now), config, now)
        };
        self.check_document(&document, names.kind, site, &documents)?;
        self.apply(&mut documents, Step::Keep(names.kind, &document))?;
        audit(
            &asked.who,
            &format!("Create{}", names.changed),
            names.kind,
            &document.id,
            None,
            Some(&document),
        );
        Ok(self.changed(names, &document, &documents, 201))
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
        let others = documents.of(names.kind).filter(|one| one.id != known.id);
        let other = same_as(names.kind, others, &config).map(|other| other.id.as_str());
        if let Some(id) = other.or_else(|| managed_of(names.kind, &config)) {
            return Err(exists(names, id));
        }
        if config == known.config {
            return Ok(self.changed(names, &known, &documents, 200));
        }
        let document = known.with_config(config, self.edge.clock.now().0);
        self.check_document(&document, names.kind, site, &documents)?;
        self.apply(&mut documents, Step::Keep(names.kind, &document))?;
        let action = format!("Update{}", names.changed);
        audit(&asked.who, &action, names.kind, id, Some(&known), Some(&document));
        Ok(self.changed(names, &document, &documents, 200))
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
        let mut steps = vec![Step::Remove(names.kind, id)];
        if names.kind == Kind::Distribution {
            let subscription = Kind::MonitoringSubscription;
            if documents.get(subscription, id).is_some() {
                steps.push(Step::Remove(subscription, id));
            }
        }
        self.apply_all(&mut documents, &steps)?;
        // Now that no member of the fleet can have refused it.
        if names.kind == Kind::Distribution {
            self.forget(id);
        }
        audit(&asked.who, &format!("Delete{}", names.changed), names.kind, id, Some(&known), None);
        Ok(Said { status: 204, ..Said::default() })
    }

    // Makes whatever is stored of a distribution old: it takes up room for nothing. Should the
    // distribution come back, that is done once more (`control/roster.rs`).
    fn forget(&self, id: &str) {
        let everything = vec![Matcher::Prefix("/".into())];
        let now = self.edge.clock.now().0;
        let record =
            InvalidationRecord::new(new_id(), id.to_string(), everything, Severity::Hard, now);
        if let Err(error) = self.edge.invalidation.accept(record, Durability::Synced) {
            tracing::error!(%error, id, "what is stored of a deleted distribution stays where it is");
        }
    }

    /// A document that may be changed by the API.
    pub(super) fn own(
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

    /// What a document names is there, and no host of it is another's.
    pub(super) fn check_document(
        &self,
        document: &Document,
        kind: Kind,
        site: &Site,
        documents: &Documents,
    ) -> Result<(), Fault> {
        check_change(kind, &document.config)?;
        let view = self.view(site, documents);
        for (of, id, place) in live::named(kind, &document.config) {
            let is_there = match of {
                Kind::Function => is_served(&id, site, documents),
                // It may be one of the configuration's, which says so where it is compiled.
                Kind::TrustStore => true,
                of => view.has(of, &id),
            };
            if !is_there {
                return Err(missing(kind, of, &id, &place));
            }
        }
        deploys_alone(kind, document, documents)?;
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
        origins_exist(&document.config)?;
        lambdas_exist(&document.config, site)
    }

    /// The answer to a change.
    pub(super) fn changed(
        &self,
        names: &'static Names,
        document: &Document,
        documents: &Documents,
        status: u16,
    ) -> Said {
        let running = self.edge.running();
        let account = running.site.admin.account.as_str();
        let etag = document.etag();
        let shown = Shown { keeper: Keeper::Api, etag: etag.clone(), document: document.clone() };
        let path = names.path.join("/");
        let location =
            format!("https://cloudfront.amazonaws.com/2020-05-31/{path}/{}", document.id);
        Said {
            status,
            xml: views::whole(names, &shown, account, When::Changed, documents),
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
        if !view.has(kind, id) {
            return Err(unknown(Names::of(kind)));
        }
        let xml = views::ids(view.users(kind, id), &paging);
        Ok(Said { status: 200, xml, ..Said::default() })
    }
}

/// A line for each change: who, what, and the versions before and after.
pub fn audit(
    who: &str,
    action: &str,
    kind: Kind,
    id: &str,
    before: Option<&Document>,
    after: Option<&Document>,
) {
    let etag = |document: Option<&Document>| document.map(Document::etag).unwrap_or_default();
    let (before, after) = (etag(before), etag(after));
    let resource = format!("{}/{id}", kind.word());
    tracing::info!(who, action, resource, before, after, "changed by the API");
}
