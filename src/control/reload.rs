//! Reload: load, compare, swap. A configuration with mistakes changes nothing and says so.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;

use super::{Control, Reloaded};
use crate::config::PROMOTED;
use crate::deliver::alt_svc::Remembered;
use crate::distribution::site::Site;
use crate::documents::shelf::Kind;
use crate::invalidation::frames::sync_folder_of;
use crate::semantics::time::format_rfc3339;
use crate::tls::server::ServerTls;
use crate::tls::tickets::Tickets;

/// Which distributions' viewers were told of HTTP/3, in the data folder.
const TOLD: &str = "alt-svc";

/// What becomes of the files of logs where a site is put in force that has the same ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LogFiles {
    /// They may have been rotated: somebody asked for a reload.
    OpenedAnew,
    /// A change of documents is none of theirs. The thread that writes them would have a turn for
    /// nothing, and cores would hand over what they have for other settings.
    Kept,
}

impl Control {
    /// Loads the configuration again and puts it in force if it is whole. Exchanges under way keep
    /// theirs.
    pub fn reload(&self) -> Reloaded {
        let now = self.edge.clock.now();
        // Between reading documents and putting them in force none may change.
        let mut documents = self.documents.lock();
        let mut outcome = Reloaded {
            at: format_rfc3339(now),
            ok: false,
            problems: Vec::new(),
            needs_restart: Vec::new(),
            warnings: Vec::new(),
        };
        // Everything is read and compiled anew.
        match self.compiler.load_anew(&self.config, now) {
            Err(report) => outcome.problems = report.lines(),
            Ok((loaded, units)) => {
                let site = &loaded.site;
                let is_new_api = site.api.is_some() && self.edge.running().site.api.is_none();
                let tls = self.server_tls(site);
                match tls.and_then(|tls| self.install(site, tls, LogFiles::OpenedAnew)) {
                    Err(why) => outcome.problems.push(why),
                    Ok(()) => {
                        outcome.needs_restart = needs_restart(&self.started_with, site);
                        outcome.warnings.clone_from(&site.warnings);
                        outcome.ok = true;
                        *documents = loaded.documents;
                        self.compiler.keep(units);
                        // Without `[api]` it has passed over what the fleet's log brought.
                        if is_new_api && let Some(member) = self.edge.fleet.get() {
                            member.doubt_kept();
                        }
                    }
                }
            }
        }
        if outcome.ok {
            tracing::info!(needs_restart = ?outcome.needs_restart, "configuration reloaded");
            outcome.warnings.iter().for_each(|warning| tracing::warn!("{warning}"));
        } else {
            tracing::error!(problems = ?outcome.problems, "the changed configuration was not taken; the one before stays in force");
        }
        *self.last_reload.lock() = Some(outcome.clone());
        outcome
    }

    /// The same where no call asks for it: waits while another process reads what this one would
    /// change. `None` once that has this one's place. Blocks.
    pub fn reload_in_turn(&self) -> Option<Reloaded> {
        let _turn = self.succession.changes.blocking_read();
        (!self.succession.has_successor()).then(|| self.reload())
    }

    /// The same because somebody said so, who may have mended what kept certificates from being
    /// issued.
    pub fn reload_as_said(&self) -> Option<Reloaded> {
        let reloaded = self.reload_in_turn();
        if reloaded.as_ref().is_some_and(|reloaded| reloaded.ok) {
            self.edge.issuing.note_reload();
        }
        reloaded
    }

    /// The certificates of a site; what is in force for those that stay is used again.
    pub(super) fn server_tls(&self, site: &Site) -> Result<ServerTls, String> {
        server_tls(&self.tls, &self.tickets, site)
    }

    /// Puts a site in force with its certificates; the error says why it is not.
    pub(super) fn install(
        &self,
        site: &Arc<Site>,
        tls: ServerTls,
        files: LogFiles,
    ) -> Result<(), String> {
        let install = || {
            self.tls.store(Arc::new(Some(tls)));
            if files == LogFiles::OpenedAnew || !logs_alike(&self.edge.running().site, site) {
                self.access_log.retarget(site);
            }
            self.edge.install(Arc::clone(site));
        };
        self.roster.admit(site, &self.edge, install)?;
        self.note_alt_svc(site);
        Ok(())
    }

    /// Has viewers of distributions that have HTTP/3 no more told so, for as long as they may
    /// remember it, over restarts too.
    pub fn note_alt_svc(&self, site: &Site) {
        let path = self.started_with.data.join(TOLD);
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let is_spoken = site.listen.http3.is_on() && self.edge.speaks_quic.load(Ordering::Relaxed);
        let next = Remembered::parse(&before).next(site, is_spoken, self.edge.clock.now());
        let text = next.write();
        if text != before
            && let Err(error) = keep(&path, &text)
        {
            tracing::warn!(%error, path = %path.display(), "whose viewers were told of HTTP/3 is not kept");
        }
        self.edge.note_remembered(next);
    }

    /// Has a staging distribution take the place of the one it is for, or takes that back. What is
    /// promoted is a line in the data folder, and holds until the configuration says something
    /// else.
    pub fn promote(&self, distribution: &str, undo: bool) -> Result<Vec<String>, String> {
        let running = self.edge.running();
        let site = &running.site;
        let is_staging = |id: &str| {
            let mut stagings = site.distributions.iter().filter_map(|known| known.staging.as_ref());
            stagings.any(|staging| site.distributions[staging.distribution].id == id)
        };
        if !is_staging(distribution) {
            return Err(format!("{distribution:?} is no staging distribution"));
        }
        if self.documents.lock().get(Kind::Distribution, distribution).is_some() {
            return Err(format!(
                "{distribution:?} is kept by the API: `aws cloudfront update-distribution-with-staging-config` promotes it"
            ));
        }
        let path = site.data.join(PROMOTED);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let mut now: Vec<String> = text
            .lines()
            .filter(|id| *id != distribution && is_staging(id))
            .map(String::from)
            .collect();
        if !undo {
            now.push(distribution.to_string());
        }
        let lines: String = now.iter().map(|id| format!("{id}\n")).collect();
        keep(&path, &lines).map_err(|error| format!("{}: {error}", path.display()))?;
        let outcome = self.reload();
        if outcome.ok {
            Ok(now)
        } else {
            Err(format!(
                "written down, but the configuration could not be loaded: {}",
                outcome.problems.join("; ")
            ))
        }
    }

    /// Reloads whenever one of the configuration's files has changed. The files of key value stores
    /// are read again by themselves.
    pub async fn watch_files(self: Arc<Self>) {
        let mut seen = fingerprints(&self.edge.running().site.files);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tick.tick().await;
            let stores = Arc::clone(&self.edge.stores);
            let _ = tokio::task::spawn_blocking(move || stores.look()).await;
            let now = fingerprints(&self.edge.running().site.files);
            if now == seen {
                continue;
            }
            // Editors write in steps: a file is taken once it has been quiet for a second.
            tick.tick().await;
            if fingerprints(&self.edge.running().site.files) != now {
                continue;
            }
            let this = Arc::clone(&self);
            let _ = tokio::task::spawn_blocking(move || this.reload_in_turn()).await;
            seen = fingerprints(&self.edge.running().site.files);
        }
    }
}

// Whether two sites log to the same places in the same way.
fn logs_alike(one: &Site, other: &Site) -> bool {
    one.log == other.log
        && one.more_logs == other.more_logs
        && one.function_settings.log == other.function_settings.log
}

/// The certificates of a site, for a thread that has no more than these; what is in force for those
/// that stay is used again.
pub(super) fn server_tls(
    in_force: &ArcSwap<Option<ServerTls>>,
    tickets: &Arc<Tickets>,
    site: &Site,
) -> Result<ServerTls, String> {
    let before = in_force.load_full();
    ServerTls::following(site, tickets, (*before).as_ref())
}

// Writes a file whole or not at all; once this returns it is there, whatever happens.
fn keep(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file = File::create(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    sync_folder_of(path)
}

type Fingerprint = Option<(SystemTime, u64)>;

fn fingerprints(files: &[PathBuf]) -> Vec<(PathBuf, Fingerprint)> {
    let one = |path: &PathBuf| {
        let facts = std::fs::metadata(path).ok()?;
        Some((facts.modified().ok()?, facts.len()))
    };
    files.iter().map(|path| (path.clone(), one(path))).collect()
}

fn needs_restart(old: &Site, new: &Site) -> Vec<String> {
    let mut all = Vec::new();
    let mut differs = |is: bool, what: &str| {
        if is {
            all.push(what.to_string());
        }
    };
    differs(old.listen.http != new.listen.http, "listen.http");
    differs(old.listen.https != new.listen.https, "listen.https");
    differs(old.listen.http3.is_on() != new.listen.http3.is_on(), "listen.http3");
    differs(old.listen.http3.gso() != new.listen.http3.gso(), "listen.gso");
    differs(old.listen.workers != new.listen.workers, "listen.workers");
    differs(old.admin.listen != new.admin.listen, "admin.listen");
    differs(old.store.memory != new.store.memory, "store.memory");
    let is_same_disk = match (&old.store.disk, &new.store.disk) {
        (Some(old), Some(new)) => old.is_like(new),
        (None, None) => true,
        _ => false,
    };
    differs(!is_same_disk, "store.disk");
    let is_same_fleet = match (&old.fleet, &new.fleet) {
        (Some(old), Some(new)) => old.is_like(new),
        (None, None) => true,
        _ => false,
    };
    differs(!is_same_fleet, "fleet");
    let is_log_moved = match (old.log_tier(), new.log_tier()) {
        (Some(old), Some(new)) => !old.has_same_nodes(new),
        _ => false,
    };
    differs(is_log_moved, "tier.urls");
    differs(old.data != new.data, "data");
    differs(old.process != new.process, "process");
    differs(old.limits.connections != new.limits.connections, "limits.connections");
    differs(old.limits.invalidations != new.limits.invalidations, "limits.invalidations");
    all
}
