//! A distribution of the API becomes a table of a configuration file, or one again. It is served all
//! the while, under its id, with whatever is stored of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Value, json};

use super::apply::fits_site;
use crate::cloudfront::strict::{is, text};
use crate::cloudfront::{defaults, export, live};
use crate::config;
use crate::control::Control;
use crate::control::reload::LogFiles;
use crate::control::roster::keep;
use crate::distribution::certificate::{Certificate, covers};
use crate::distribution::site::Site;
use crate::documents::adopted;
use crate::documents::shelf::{Document, Documents, Kind};
use crate::documents::store::Store;
use crate::invalidation::frames::sync_folder_of;
use crate::tls::development::Place;

/// What of a distribution goes with it: the subscription after it, so that none is left alone.
const MOVED: [Kind; 2] = [Kind::MonitoringSubscription, Kind::Distribution];

impl Control {
    /// Moves a distribution from the API to a file of its own that the configuration includes; the
    /// file.
    pub fn adopt(&self, id: &str) -> Result<PathBuf, String> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        self.may_move(&running.site)?;
        let document = documents
            .get(Kind::Distribution, id)
            .ok_or_else(|| format!("the API has no distribution {id:?}"))?;
        let config = &document.config;
        if is(config, &["Staging"]) || !text(config, &["ContinuousDeploymentPolicyId"]).is_empty() {
            return Err(format!("{id} is part of a continuous deployment, which the API keeps"));
        }
        let path = self.file_for(id)?;
        if path.exists() {
            return Err(format!("{} is there already", path.display()));
        }
        let table = live::distribution(document, &documents).map_err(|unfit| unfit.message)?;
        let certificate = certificate_of(&running.site.data, id);
        let mut next = documents.clone();
        // What it asks for is counted in any case, and a file has no word for it.
        for kind in MOVED {
            next.remove(kind, id);
        }
        // It may hold secrets of origins.
        let text = format!("{}{table}{certificate}", adopted::line(id));
        keep(&path, &text).map_err(|error| format!("{}: {error}", path.display()))?;
        if let Err(why) = self.serve(id, &next) {
            let _ = std::fs::remove_file(&path);
            return Err(why);
        }
        // It counts no more while the file is there.
        for kind in MOVED.into_iter().filter(|kind| documents.get(*kind, id).is_some()) {
            if let Err(error) = Store::of(&running.site.data).remove(kind, id) {
                tracing::warn!(%error, kind = kind.word(), id, "a document that was moved to a file could not be removed");
            }
        }
        *documents = next;
        tracing::info!(id, file = %path.display(), "moved from the API to a file");
        Ok(path)
    }

    /// Takes that back: what the file says now is the API's again; the file is removed.
    pub fn give_back(&self, id: &str) -> Result<PathBuf, String> {
        let mut documents = self.documents.lock();
        let running = self.edge.running();
        let site = &running.site;
        self.may_move(site)?;
        let path = self.file_for(id)?;
        let text = std::fs::read_to_string(&path)
            .map_err(|error| format!("{}: {error}", path.display()))?;
        if adopted::of(&text) != Some(id) {
            let why = "was not written by `foreshore adopt` for this distribution";
            return Err(format!("{} {why}", path.display()));
        }
        let document = self.document_of_file(id, site)?;
        live::distribution(&document, &documents).map_err(|unfit| unfit.message)?;
        fits_site(&document, site).map_err(|unfit| unfit.message)?;
        let store = Store::of(&site.data);
        let mut next = documents.clone();
        next.put(Kind::Distribution, document.clone());
        // It counts only once the file is away.
        store
            .keep(Kind::Distribution, &document)
            .map_err(|error| format!("the document could not be written: {error}"))?;
        let away = path.with_extension("toml.off");
        let moved = std::fs::rename(&path, &away).map_err(|error| error.to_string());
        if let Err(why) = moved.and_then(|()| self.serve(id, &next)) {
            let _ = std::fs::rename(&away, &path);
            // Without its file the document is all that there is of it.
            if path.exists() {
                let _ = store.remove(Kind::Distribution, id);
            }
            return Err(why);
        }
        let gone = std::fs::remove_file(&away).and_then(|()| sync_folder_of(&path));
        if let Err(error) = gone {
            tracing::warn!(%error, file = %away.display(), "a file that counts no more could not be removed");
        }
        *documents = next;
        tracing::info!(id, file = %path.display(), "moved from a file to the API");
        Ok(path)
    }

    // A fleet's edges share documents, and files not.
    fn may_move(&self, site: &Site) -> Result<(), String> {
        if self.edge.fleet.get().is_some() {
            return Err("the edges of a fleet share what the API keeps, and no files".into());
        }
        self.may_change(site).map_err(|fault| fault.message().to_string())
    }

    fn file_for(&self, id: &str) -> Result<PathBuf, String> {
        // What is no id names no file.
        let name = format!("{}.toml", id.replace('/', ""));
        config::included_as(&self.config, &name).ok_or_else(|| {
            let file = self.config.display();
            format!("{file} includes no folder of files; include = [\"sites/*.toml\"] would")
        })
    }

    // A distribution of the file as the document that it would be.
    fn document_of_file(&self, id: &str, site: &Site) -> Result<Document, String> {
        let mut all = site.distributions.iter();
        let one = all
            .find(|one| one.id == id)
            .ok_or_else(|| format!("there is no distribution {id:?}"))?;
        let (mut whole, left) = export::export(site, one);
        if !left.is_empty() {
            return Err(format!("the API has no word for this: {}", left.join("; ")));
        }
        let mut config = whole["DistributionConfig"].take();
        // Where `[origin_names]` finds an origin is said there.
        for origin in config["Origins"]["Items"].as_array_mut().into_iter().flatten() {
            let name = origin["DomainName"].as_str().unwrap_or_default();
            let before = site.origin_names.find(name).map(|place| place.path).unwrap_or_default();
            let path = origin["OriginPath"].as_str().unwrap_or_default();
            let own = path.strip_prefix(before.as_str()).unwrap_or(path).to_string();
            origin["OriginPath"] = own.into();
        }
        // The name that it was given is no alias.
        let suffix = site.api.as_ref().map_or("", |api| api.domain.as_str());
        let is_own = |host: &&String| host.strip_suffix(suffix).is_some_and(is_given_name);
        let domain = one.hosts.iter().find(is_own).cloned().unwrap_or_default();
        let aliases: Vec<&String> = one.hosts.iter().filter(|host| **host != domain).collect();
        if let Some(id) = certificate_for(site, &aliases) {
            let key = if id.starts_with("arn:") { "ACMCertificateArn" } else { "IAMCertificateId" };
            config["ViewerCertificate"][key] = id.into();
        }
        config["Aliases"] = match aliases.len() {
            0 => json!({ "Quantity": 0 }),
            count => json!({ "Quantity": count, "Items": aliases }),
        };
        defaults::distribution(&mut config);
        let now = self.edge.clock.now().0;
        Ok(Document {
            // No version that a caller has seen before.
            revision: now,
            domain,
            tags: one.tags.iter().cloned().collect(),
            ..Document::new(id, config, now)
        })
    }

    // Puts a site of these documents in force, which has a distribution.
    fn serve(&self, id: &str, documents: &Documents) -> Result<(), String> {
        let loaded = self.compiler.load_again(&self.config, self.edge.clock.now(), documents);
        let site = loaded.map_err(|report| report.lines().join("; "))?.site;
        if !site.distributions.iter().any(|one| one.id == id) {
            let why = loaded_without(&site);
            return Err(format!("{id} would not be served{why}"));
        }
        let tls = self.server_tls(&site)?;
        self.install(&site, tls, LogFiles::Kept)
    }
}

// What was said of documents that are left aside.
fn loaded_without(site: &Site) -> String {
    let aside = site.warnings.iter().filter(|line| line.contains("left aside"));
    aside.map(|line| format!("; {line}")).collect()
}

// `d` and thirteen letters or digits, and the dot before the domain.
fn is_given_name(start: &str) -> bool {
    let Some(name) = start.strip_suffix('.') else { return false };
    name.len() == 14
        && name.starts_with('d')
        && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
}

// What the API calls a certificate that stands for all aliases.
fn certificate_for<'s>(site: &'s Site, aliases: &[&String]) -> Option<&'s str> {
    let stands = |one: &&Arc<Certificate>| aliases.iter().all(|host| covers(&one.names, host));
    let mut named = site.certificates.iter().filter(|one| !one.ids.is_empty());
    named.find(stands)?.ids.first().map(String::as_str)
}

// A certificate that was made for it goes along.
fn certificate_of(data: &Path, id: &str) -> String {
    let place = Place::of(data, id);
    if !place.chain.exists() {
        return String::new();
    }
    let whole = |path: &Path| {
        let path = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
        Value::from(path.display().to_string()).to_string()
    };
    format!("\n[[certificate]]\nchain = {}\nkey = {}\n", whole(&place.chain), whole(&place.key))
}
