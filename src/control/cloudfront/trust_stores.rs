//! Trust stores: kept and given back, with the certificates that the configuration has for their
//! bundles. Distributions of the API name them by their ids, or those of the configuration by name.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::apply::Step;
use super::calls::TrustVerb;
use super::resources::{Asked, audit};
use super::rules::{mismatch, tags_of, user_of};
use super::tree;
use super::views::{self, Paging};
use super::xml::{Fault, Said};
use crate::cloudfront::strict::text;
use crate::cloudfront::{model, trust};
use crate::control::Control;
use crate::documents::shelf::{Document, Documents, Kind};
use crate::invalidation::log::new_id;
use crate::semantics::time::{Timestamp, format_rfc3339};

const KIND: Kind = Kind::TrustStore;
/// Trust stores that are kept.
const STORES_MAX: usize = 100;
const SOURCE: &str = "CaCertificatesBundleSource";
const OCSP: &str = "UseClientCertificateOCSPEndpoint";

impl Control {
    /// Does one of the five calls about them.
    pub(super) fn trust_store(
        &self,
        verb: TrustVerb,
        id: &str,
        asked: &Asked,
    ) -> Result<Said, Fault> {
        match verb {
            TrustVerb::Create => self.create_trust_store(asked),
            TrustVerb::Get => {
                let known = known(id, &self.documents.lock())?;
                Ok(self.trust_store_told(&known, 200))
            }
            TrustVerb::Update => self.update_trust_store(id, asked),
            TrustVerb::Delete => self.delete_trust_store(id, asked),
            TrustVerb::List => {
                let shape = &model::LIST_TRUST_STORES_REQUEST;
                let body = tree::read_if_any(&asked.body, "ListTrustStoresRequest", shape)?;
                let most = body.get("MaxItems").map(Value::to_string).unwrap_or_default();
                let paging = Paging::said(text(&body, &["Marker"]).to_string(), &most)?;
                let documents = self.documents.lock().clone();
                let all = documents.of(KIND).map(|one| (one.id.clone(), self.shown_store(one)));
                let xml = views::trust_stores(all.collect(), &paging);
                Ok(Said { status: 200, xml, ..Said::default() })
            }
        }
    }

    fn create_trust_store(&self, asked: &Asked) -> Result<Said, Fault> {
        let shape = &model::CREATE_TRUST_STORE_REQUEST;
        let mut config = tree::read(&asked.body, "CreateTrustStoreRequest", shape)?;
        let tags = match config.as_object_mut().and_then(|map| map.remove("Tags")) {
            Some(tags) => tags_of(&tags)?,
            None => BTreeMap::new(),
        };
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        self.may_change(&running.site)?;
        let name = text(&config, &["Name"]);
        if let Some(other) = documents.of(KIND).find(|one| one.text(&["Name"]) == name) {
            let why = format!("There is one with this name already: {}.", other.id);
            return Err(Fault::of("EntityAlreadyExists", &why));
        }
        if documents.count(KIND) >= STORES_MAX {
            let why = format!("There are {STORES_MAX} of them already.");
            return Err(Fault::of("EntityLimitExceeded", &why));
        }
        let id = format!("ts_{}", new_id().to_ascii_lowercase());
        let document = Document { tags, ..Document::new(id, config, self.edge.clock.now().0) };
        self.apply(&mut documents, Step::Keep(KIND, &document))?;
        audit(&asked.who, "CreateTrustStore", KIND, &document.id, None, Some(&document));
        Ok(self.trust_store_told(&document, 201))
    }

    fn update_trust_store(&self, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let shape = &model::CA_CERTIFICATES_BUNDLE_SOURCE;
        let source = tree::read_if_any(&asked.body, SOURCE, shape)?;
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        self.may_change(&running.site)?;
        let known = known(id, &documents)?;
        known.check(asked.if_match.as_deref()).map_err(mismatch)?;
        let mut config = known.config.clone();
        if source.as_object().is_some_and(|map| !map.is_empty()) {
            config[SOURCE] = source;
        }
        if let Some(ocsp) = &asked.ocsp {
            config[OCSP] = ocsp.trim().eq_ignore_ascii_case("true").into();
        }
        if config == known.config {
            return Ok(self.trust_store_told(&known, 200));
        }
        let document = known.with_config(config, self.edge.clock.now().0);
        self.apply(&mut documents, Step::Keep(KIND, &document))?;
        audit(&asked.who, "UpdateTrustStore", KIND, id, Some(&known), Some(&document));
        Ok(self.trust_store_told(&document, 200))
    }

    fn delete_trust_store(&self, id: &str, asked: &Asked) -> Result<Said, Fault> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_change(site)?;
        let known = known(id, &documents)?;
        known.check(asked.if_match.as_deref()).map_err(mismatch)?;
        if let Some(user) = user_of(KIND, id, &self.view(site, &documents)) {
            let why = format!("The resource is in use: {user} names it.");
            return Err(Fault::of("CannotDeleteEntityWhileInUse", &why));
        }
        self.apply(&mut documents, Step::Remove(KIND, id))?;
        audit(&asked.who, "DeleteTrustStore", KIND, id, Some(&known), None);
        Ok(Said { status: 204, ..Said::default() })
    }

    fn trust_store_told(&self, document: &Document, status: u16) -> Said {
        let xml = tree::write("TrustStore", &model::TRUST_STORE, &self.shown_store(document));
        Said { status, xml, etag: Some(document.etag()), ..Said::default() }
    }

    // One as answers and lists show it. It is active while the configuration has its bundle.
    fn shown_store(&self, document: &Document) -> Value {
        let running = self.edge.running();
        let site = &running.site;
        let count = site.trust_stores.get(&trust::bundle(&document.config));
        let mut all = json!({
            "Id": document.id, "Arn": trust::arn(&site.admin.account, &document.id),
            "Name": document.text(&["Name"]), "ETag": document.etag(),
            "Status": if count.is_some() { "active" } else { "failed" },
            "NumberOfCaCertificates": count.copied().unwrap_or(0),
            "LastModifiedTime": format_rfc3339(Timestamp(document.modified)),
            OCSP: false,
        });
        if count.is_none() {
            all["Reason"] = "The configuration has no file for this bundle any more.".into();
        }
        all
    }
}

fn known(id: &str, documents: &Documents) -> Result<Arc<Document>, Fault> {
    documents
        .get(KIND, id)
        .cloned()
        .ok_or_else(|| Fault::of("EntityNotFound", "The specified trust store does not exist."))
}
