//! A change of the documents, put in force: compiled, kept, and then served. Whatever fails leaves
//! the site and the documents as they were.

use std::sync::Arc;

use super::xml::Fault;
use crate::cloudfront::live;
use crate::cloudfront::strict::{Unfit, is, text, texts};
use crate::config::{self, MissingCertificates};
use crate::control::Control;
use crate::distribution::certificate::{Certificate, covers};
use crate::distribution::host::HostPattern;
use crate::distribution::logs::Cookies;
use crate::distribution::site::{Api, ApiCertificates, Site, TlsPolicy, WebAcl};
use crate::documents::shelf::{Document, Documents, Kind};
use crate::documents::store::Store;
use crate::tls::server::ServerTls;

/// What is changed.
#[derive(Clone, Copy)]
pub enum Step<'d> {
    Keep(Kind, &'d Document),
    Remove(Kind, &'d str),
}

impl From<Unfit> for Fault {
    fn from(unfit: Unfit) -> Self {
        Self::of(unfit.code, &unfit.message)
    }
}

impl Control {
    /// Makes one step from the documents in force, which the caller has locked.
    pub fn apply(&self, documents: &mut Documents, step: Step<'_>) -> Result<(), Fault> {
        let mut next = documents.clone();
        match step {
            Step::Keep(kind, document) => {
                next.put(kind, document.clone());
                fits(kind, document, &next)?;
            }
            Step::Remove(kind, id) => next.remove(kind, id),
        }
        let (now, done) = (self.edge.clock.now(), MissingCertificates::Done);
        let loaded = config::load_with(&self.config, now, done, Some(&next))
            .map_err(|report| refused(report.parts()))?;
        let site = loaded.site;
        if let Step::Keep(Kind::Distribution, document) = step {
            fits_site(document, &site)?;
        }
        self.keeps_all(&next, &site)?;
        let tls = ServerTls::new(&site, &self.tickets)
            .map_err(|why| unavailable(&format!("The certificates cannot be used: {why}")))?;
        let store = Store::of(&site.data);
        let written = match step {
            Step::Keep(kind, document) => store.keep(kind, document),
            Step::Remove(kind, id) => store.remove(kind, id),
        };
        if let Err(error) = written {
            tracing::error!(%error, "a document of the API could not be written down");
            // It may have its name already, where only the folder could not be synced.
            take_back(&store, documents, step);
            return Err(internal("Nothing was changed: the document could not be written down."));
        }
        let install = || {
            self.tls.store(Arc::new(Some(tls)));
            self.access_log.retarget(&site);
            self.edge.install(Arc::clone(&site));
        };
        if let Err(why) = self.roster.admit(&site, &self.edge, install) {
            tracing::error!(why, "a change by the API was not put in force");
            take_back(&store, documents, step);
            return Err(internal("Nothing was changed: it could not be put in force."));
        }
        *documents = next;
        Ok(())
    }

    // A change of a policy or a key leaves every distribution served that is served now.
    fn keeps_all(&self, next: &Documents, site: &Site) -> Result<(), Fault> {
        let running = self.edge.running();
        let is_in = |site: &Site, id: &str| site.distributions.iter().any(|one| one.id == id);
        let mut all = next.of(Kind::Distribution).map(|one| one.id.as_str());
        match all.find(|id| is_in(&running.site, id) && !is_in(site, id)) {
            Some(id) => {
                let why = format!("Distribution {id} could not be served with this change.");
                Err(Fault::of("IllegalUpdate", &why))
            }
            None => Ok(()),
        }
    }
}

fn take_back<F: crate::documents::store::Files>(
    store: &Store<F>,
    before: &Documents,
    step: Step<'_>,
) {
    let (kind, id) = match step {
        Step::Keep(kind, document) => (kind, document.id.as_str()),
        Step::Remove(kind, id) => (kind, id),
    };
    let undone = match before.get(kind, id) {
        Some(document) => store.keep(kind, document),
        None => match store.remove(kind, id) {
            // It never had its name.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other,
        },
    };
    if let Err(error) = undone {
        tracing::error!(%error, kind = kind.word(), id, "a document that is not in force stays on the disk, and will be at the next start");
    }
}

// Mistakes of the files are none of the caller's.
fn refused((files, documents): (Vec<String>, Vec<String>)) -> Fault {
    match (files.first(), documents.first()) {
        (Some(file), _) => unavailable(&format!(
            "The configuration file has mistakes, so nothing can be changed until they are gone: {file}"
        )),
        (None, Some(document)) => Fault::of("InvalidArgument", document),
        (None, None) => internal("The configuration could not be compiled."),
    }
}

/// A fault of this side, for a while.
pub fn unavailable(why: &str) -> Fault {
    Fault::new(503, "ServiceUnavailable", why)
}

/// A fault of this side.
pub fn internal(why: &str) -> Fault {
    Fault::new(500, "InternalError", why)
}

// Says whether a document is served as it stands.
fn fits(kind: Kind, document: &Document, all: &Documents) -> Result<(), Unfit> {
    match kind {
        Kind::Distribution => live::distribution(document, all).map(drop),
        kind => live::table(kind, document).map(drop),
    }
}

// What a distribution wants of the whole site.
fn fits_site(document: &Document, site: &Site) -> Result<(), Unfit> {
    let Some(api) = &site.api else { return Ok(()) };
    let config = &document.config;
    fits_certificate(document, site, api)?;
    let acl = text(config, &["WebACLId"]);
    if !acl.is_empty() && api.web_acl == WebAcl::Refused {
        let why = format!(
            "WebACLId: {acl} is not known here, and guards something; [api] web_acl = \"ignore\" serves without it."
        );
        return Err(Unfit::new("InvalidWebACLId", why));
    }
    let restriction = text(config, &["Restrictions", "GeoRestriction", "RestrictionType"]);
    if !matches!(restriction, "" | "none") && site.geo.is_none() {
        let why = "Restrictions.GeoRestriction: [geo] names no database, so no viewer's country is known.";
        return Err(Unfit::new("InvalidGeoRestrictionParameter", why));
    }
    if !is(config, &["Logging", "Enabled"]) {
        return Ok(());
    }
    match &site.more_logs.standard {
        None => Err(Unfit::new(
            "InvalidArgument",
            "Logging: [log] standard names no folder for such logs.",
        )),
        Some(log) => {
            let wants_cookies = is(config, &["Logging", "IncludeCookies"]);
            if wants_cookies == (log.cookies == Cookies::Included) {
                return Ok(());
            }
            let why = "Logging.IncludeCookies: [log] standard says it for all distributions, and otherwise.";
            Err(Unfit::new("InvalidArgument", why))
        }
    }
}

fn fits_certificate(document: &Document, site: &Site, api: &Api) -> Result<(), Unfit> {
    let config = &document.config;
    let say = |key: &str| text(config, &["ViewerCertificate", key]);
    let unfit = |why: String| Err(Unfit::new("InvalidViewerCertificate", why));
    let policy = say("MinimumProtocolVersion");
    let is_usual = is(config, &["ViewerCertificate", "CloudFrontDefaultCertificate"]);
    let is_kept = match policy {
        "TLSv1.2_2025" => site.tls_policy != TlsPolicy::Tls12_2021,
        "TLSv1.3_2025" => site.tls_policy == TlsPolicy::Tls13_2025,
        // Whatever is older allows more than any policy here does.
        _ => true,
    };
    if !is_kept && !is_usual {
        let why = format!(
            "ViewerCertificate.MinimumProtocolVersion: {policy} is not the policy of this edge; [tls] policy says it for all distributions."
        );
        return Err(Unfit::new("InvalidMinimumProtocolVersion", why));
    }
    if api.certificates == ApiCertificates::Any {
        return Ok(());
    }
    let ids = [say("ACMCertificateArn"), say("IAMCertificateId")];
    let id = ids.into_iter().find(|id| !id.is_empty());
    let aliases = texts(config, &["Aliases"]);
    let Some(id) = id else {
        return match aliases.first() {
            None => Ok(()),
            Some(alias) => unfit(format!(
                "To add the alternate domain name {alias}, name a certificate that covers it in ViewerCertificate."
            )),
        };
    };
    let named: Vec<&Arc<Certificate>> =
        site.certificates.iter().filter(|one| one.ids.iter().any(|known| known == id)).collect();
    if named.is_empty() {
        return unfit(format!(
            "The specified SSL certificate doesn't exist: no [[certificate]] has {id} as its arn or iam_id."
        ));
    }
    let is_covered = |alias: &&str| named.iter().any(|one| covers(&one.names, alias));
    match aliases.iter().find(|alias| !is_covered(alias)) {
        None => Ok(()),
        Some(alias) => unfit(format!("The certificate {id} does not cover {alias}.")),
    }
}

/// The first of some hosts that another distribution answers for.
pub fn taken<'h>(site: &Site, id: &str, hosts: &[&'h str]) -> Option<&'h str> {
    let others = site.distributions.iter().filter(|one| one.id != id);
    let others: Vec<&str> = others.flat_map(|one| &one.hosts).map(String::as_str).collect();
    let is_taken = |host: &&&str| {
        let host = HostPattern::parse(host).map(|host| host.to_string()).unwrap_or_default();
        others.contains(&host.as_str())
    };
    hosts.iter().find(is_taken).copied()
}
