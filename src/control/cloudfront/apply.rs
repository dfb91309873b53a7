//! A change of the documents, put in force: compiled, in a fleet taken by its log, kept, and then
//! served. Whatever fails leaves the site and the documents as they were; what the log has taken is
//! read back from there.

use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use super::certificates::{self, Made};
use super::xml::Fault;
use crate::cloudfront::strict::{Unfit, is, text, texts};
use crate::cloudfront::{live, realtime, trust};
use crate::control::Control;
use crate::control::reload::{LogFiles, server_tls};
use crate::distribution::certificate::{Certificate, covers};
use crate::distribution::host::HostPattern;
use crate::distribution::identity;
use crate::distribution::logs::Cookies;
use crate::distribution::site::{Api, ApiCertificates, Site, TlsPolicy, WebAcl};
use crate::documents::shelf::{Document, Documents, Kind};
use crate::documents::store::{Folder, Store};
use crate::documents::travel;
use crate::fleet::protocol::KeptEntry;
use crate::tls::server::ServerTls;

const NOT_WRITTEN: &str = "the document could not be written down.";

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

/// A change on its way, for whichever thread works on it.
struct Change {
    steps: Vec<OwnStep>,
    before: Documents,
    next: Documents,
}

/// A step, with the document as it is among those to come.
enum OwnStep {
    Keep(Kind, Arc<Document>),
    Remove(Kind, String),
}

/// What a change comes to, where nothing refuses it.
struct Ready {
    site: Arc<Site>,
    tls: ServerTls,
}

impl Control {
    /// Makes one step from the documents in force, which the caller has locked.
    pub fn apply(&self, documents: &mut Documents, step: Step<'_>) -> Result<(), Fault> {
        self.apply_all(documents, &[step])
    }

    /// Makes several steps as one change of the site. Their files are written one after the other:
    /// a crash between them leaves the first ones made, and nothing of it was acknowledged.
    pub fn apply_all(&self, documents: &mut Documents, steps: &[Step<'_>]) -> Result<(), Fault> {
        // Dropping sites that nothing goes by any more is a part of the turn that is long in any case,
        // and not of the one behind the syncs.
        self.edge.let_go();
        let change = Arc::new(Change::of(documents, steps));
        let check = self.check_of(&change);
        let (Ready { site, tls }, told) = if self.edge.fleet.get().is_some() {
            let ready = self.compiler.change(&change.next, check)?;
            let told = self.tell_fleet(steps.iter().map(|step| entry_of(*step)).collect())?;
            let written = change.write(&ready.site.data);
            written.map_err(|_| undone(told.is_some(), NOT_WRITTEN))?;
            (ready, told)
        } else {
            // In one turn of one thread: a hit may have to wait for each.
            let own = Arc::clone(&change);
            let check_and_write = move || -> Result<Ready, Fault> {
                let ready = check()?;
                own.write(&ready.site.data).map_err(|_| undone(false, NOT_WRITTEN))?;
                Ok(ready)
            };
            (self.compiler.change(&change.next, check_and_write)?, None)
        };
        if let Err(fault) = self.certify_and_install(&change.next, (&site, tls), told.is_some()) {
            change.take_back(&Store::of(&site.data), change.steps.len());
            return Err(fault);
        }
        for step in steps {
            if let Step::Remove(Kind::Distribution, id) = step {
                certificates::forget(&site.data, id);
            }
        }
        *documents = change.next.clone();
        self.was_told(told);
        Ok(())
    }

    // What a change has to pass, for a thread that may take its time.
    fn check_of(
        &self,
        change: &Arc<Change>,
    ) -> impl FnOnce() -> Result<Ready, Fault> + Send + 'static + use<> {
        let load = self.compiler.loader(&self.config, self.edge.clock.now());
        let is_made = self.compiler.looker();
        let running = self.edge.running();
        let (in_force, tickets) = (Arc::clone(&self.tls), Arc::clone(&self.tickets));
        let change = Arc::clone(change);
        move || -> Result<Ready, Fault> {
            let loaded = load(&change.next);
            // What a document lacks by itself is said before what it lacks beside others.
            change.fits(|document| loaded.is_ok() && is_made(document))?;
            let site = loaded.map(|loaded| loaded.site).map_err(|why| refused(why.parts()))?;
            change.fits_site(&site)?;
            keeps_all(&running.site, &change.next, &site)?;
            let tls = server_tls(&in_force, &tickets, &site).map_err(|why| unusable(&why))?;
            Ok(Ready { site, tls })
        }
    }

    // The site of these documents.
    fn compiled_for_call(&self, next: &Documents) -> Result<Arc<Site>, Fault> {
        let loaded = self.compiler.load_again(&self.config, self.edge.clock.now(), next);
        loaded.map(|loaded| loaded.site).map_err(|report| refused(report.parts()))
    }

    // Makes the certificates that a site lacks, now that nobody refuses it any more, and puts it in
    // force. Where that fails they are gone again.
    fn certify_and_install(
        &self,
        next: &Documents,
        (site, tls): (&Arc<Site>, ServerTls),
        is_told: bool,
    ) -> Result<(), Fault> {
        let made = match certificates::make_missing(site, next, self.edge.clock.now()) {
            Ok(made) => made,
            // What the fleet's log has is served all the same; the next change, or start, tries again.
            Err(why) if is_told => {
                tracing::error!(why, "no certificate could be made for a document");
                Made::default()
            }
            Err(why) => {
                return Err(unavailable(&format!("No certificate could be made: {why}")));
            }
        };
        let with_made = || {
            let site = self.compiled_for_call(next)?;
            let tls = self.server_tls(&site).map_err(|why| unusable(&why))?;
            Ok::<_, Fault>((site, tls))
        };
        let ready = if made.is_any() { with_made() } else { Ok((Arc::clone(site), tls)) };
        let installed = ready.and_then(|(site, tls)| {
            self.install(&site, tls, LogFiles::Kept).map_err(|why| {
                tracing::error!(why, "a change by the API was not put in force");
                undone(is_told, "it could not be put in force.")
            })
        });
        if installed.is_err() {
            made.take_back();
        }
        installed
    }
}

impl Change {
    fn of(before: &Documents, steps: &[Step<'_>]) -> Self {
        let mut next = before.clone();
        for step in steps {
            match step {
                Step::Keep(kind, document) => next.put(*kind, Document::clone(document)),
                Step::Remove(kind, id) => next.remove(*kind, id),
            }
        }
        let own = |step: &Step<'_>| match step {
            Step::Keep(kind, document) => {
                let kept = next.get(*kind, &document.id).cloned();
                OwnStep::Keep(*kind, kept.unwrap_or_else(|| Arc::new(Document::clone(document))))
            }
            Step::Remove(kind, id) => OwnStep::Remove(*kind, (*id).to_string()),
        };
        let steps = steps.iter().map(own).collect();
        Self { steps, before: before.clone(), next }
    }

    // What is to be kept.
    fn kept(&self) -> impl Iterator<Item = (Kind, &Document)> {
        self.steps.iter().filter_map(|step| match step {
            OwnStep::Keep(kind, document) => Some((*kind, &**document)),
            OwnStep::Remove(..) => None,
        })
    }

    // Says whether that is served as it stands. What was made a distribution of has shown it.
    fn fits(&self, is_made: impl Fn(&Arc<Document>) -> bool) -> Result<(), Unfit> {
        self.steps.iter().try_for_each(|step| match step {
            OwnStep::Keep(Kind::Distribution, document) if is_made(document) => Ok(()),
            OwnStep::Keep(kind, document) => fits(*kind, document, &self.next),
            OwnStep::Remove(..) => Ok(()),
        })
    }

    // Says whether it goes with the whole site.
    fn fits_site(&self, site: &Site) -> Result<(), Unfit> {
        self.kept().try_for_each(|(kind, document)| match kind {
            Kind::Distribution => fits_site(document, site),
            Kind::RealtimeLogConfig => realtime::fits(&document.config, &site.more_logs.realtime),
            Kind::TrustStore => trust::fits(&document.config, &site.trust_stores),
            _ => Ok(()),
        })
    }

    // Writes it down. Once this returns it is there, whatever happens; if it fails, all is as it was,
    // and the log says why.
    fn write(&self, data: &Path) -> io::Result<()> {
        let store = Store::of(data);
        for (at, step) in self.steps.iter().enumerate() {
            let written = match step {
                OwnStep::Keep(kind, document) => store.keep(*kind, document),
                OwnStep::Remove(kind, id) => store.remove(*kind, id),
            };
            if let Err(error) = written {
                tracing::error!(%error, "a document of the API could not be written down");
                // It may have its name already, where only the folder could not be synced.
                self.take_back(&store, at + 1);
                return Err(error);
            }
        }
        Ok(())
    }

    // Has the files of so many steps be as they were, those of the last one first.
    fn take_back(&self, store: &Store<Folder>, count: usize) {
        for step in self.steps.iter().take(count).rev() {
            let (kind, id) = match step {
                OwnStep::Keep(kind, document) => (*kind, document.id.as_str()),
                OwnStep::Remove(kind, id) => (*kind, id.as_str()),
            };
            let undone = match self.before.get(kind, id) {
                Some(document) => store.keep(kind, document),
                None => match store.remove(kind, id) {
                    // It never had its name.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                },
            };
            if let Err(error) = undone {
                tracing::error!(%error, kind = kind.word(), id, "a document that is not in force stays on the disk, and will be at the next start");
            }
        }
    }
}

// A change of a policy or a key leaves every distribution served that is served now.
fn keeps_all(before: &Site, next: &Documents, site: &Site) -> Result<(), Fault> {
    if identity::are_alike(&before.distributions, &site.distributions) {
        return Ok(());
    }
    let (before, after) = (ids(before), ids(site));
    let mut all = next.of(Kind::Distribution).map(|one| one.id.as_str());
    match all.find(|id| before.contains(id) && !after.contains(id)) {
        Some(id) => {
            let why = format!("Distribution {id} could not be served with this change.");
            Err(Fault::of("IllegalUpdate", &why))
        }
        None => Ok(()),
    }
}

fn ids(site: &Site) -> HashSet<&str> {
    site.distributions.iter().map(|one| one.id.as_str()).collect()
}

fn unusable(why: &str) -> Fault {
    unavailable(&format!("The certificates cannot be used: {why}"))
}

// The fault of a change that could not be made here. What a fleet's log has, this edge reads back.
fn undone(is_told: bool, why: &str) -> Fault {
    if is_told {
        internal(&format!("The change takes effect in the fleet. Here and now {why}"))
    } else {
        internal(&format!("Nothing was changed: {why}"))
    }
}

// A step as the members of a fleet tell each other of it.
fn entry_of(step: Step<'_>) -> KeptEntry {
    match step {
        Step::Keep(kind, document) => KeptEntry {
            name: travel::name(kind, &document.id),
            content: Some(travel::content(document)),
        },
        Step::Remove(kind, id) => KeptEntry { name: travel::name(kind, id), content: None },
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

/// What a distribution wants of the whole site.
pub(super) fn fits_site(document: &Document, site: &Site) -> Result<(), Unfit> {
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
    if api.certificates != ApiCertificates::Named {
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
