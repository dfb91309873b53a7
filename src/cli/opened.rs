//! What an edge has before it reads what its data folder says: a configuration, sockets, the rights
//! that it keeps, and the folder for itself.

use std::fs::{File, OpenOptions};
use std::io::IsTerminal;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::bind::Sockets;
use super::certs;
use super::take_over::Predecessor;
use crate::clock::Clock;
use crate::config::{self, Loaded, MissingCertificates, WantedCertificate};
use crate::control::cloudfront::certificates;
use crate::store::disk::files::is_at;
use crate::supervisor::notify::Manager;
use crate::supervisor::privileges;

/// An edge that has its place, and has not read its data folder.
pub(super) struct Opened {
    pub loaded: Loaded,
    pub manager: Arc<Manager>,
    pub sockets: Sockets,
    /// Locks of folders that the process before holds too.
    pub held: Vec<File>,
    /// Held until the process ends: two edges on one data folder would number invalidations twice.
    pub lock: File,
}

impl Opened {
    /// By a configuration. `before` is the process whose place this one takes.
    pub(super) fn by(
        path: &Path,
        clock: &Clock,
        before: &mut Option<Predecessor>,
    ) -> Result<Self, String> {
        let mut missing = config::wanted_certificates(path);
        missing.retain(|wanted| !wanted.chain.exists());
        let is_shown = std::io::stderr().is_terminal() && before.is_none();
        let load = |making: MissingCertificates| {
            config::load(path, clock.now(), making)
                .map_err(|report| format!("\n{}", report.render(is_shown)))
        };
        let mut loaded = load(MissingCertificates::Pending)?;
        let manager = Arc::new(Manager::from_environment()?);
        // Before the data folder is written to, whose files are to be the user's that remains.
        let sockets = match &mut *before {
            Some(before) => Sockets::take_over(&loaded.site, before.greet(&loaded.site.data)?)?,
            None => Sockets::open(&loaded.site)?,
        };
        privileges::give_up(&loaded.site.process)?;
        if let Some(before) = &mut *before {
            before.wait_for_data()?;
            // What the API keeps may have changed meanwhile.
            loaded = load(MissingCertificates::Pending)?;
        }
        let held =
            before.as_mut().map(|before| std::mem::take(&mut before.locks)).unwrap_or_default();
        let lock = lock_folder(&loaded.site.data, &held)?;
        // By the user that reads them again at a reload, and in a data folder that is its own.
        if !missing.is_empty() {
            make_certificates(&missing)?;
            loaded = load(MissingCertificates::Done)?;
        }
        if let Some(lacking) = privileges::confine(&loaded.site)? {
            tracing::warn!("{lacking}");
        }
        if certificates::make_missing(&loaded.site, &loaded.documents, clock.now())?.is_any() {
            loaded = load(MissingCertificates::Done)?;
        }
        Ok(Self { loaded, manager, sockets, held, lock })
    }
}

// Makes the certificates with `make_for` that are not there yet.
fn make_certificates(missing: &[WantedCertificate]) -> Result<(), String> {
    // Two may name one file.
    for wanted in missing.iter().filter(|wanted| !wanted.chain.exists()) {
        certs::make(wanted)?;
        tracing::info!(certificate = %wanted.chain.display(), names = ?wanted.names, "made a development certificate");
    }
    Ok(())
}

// `held` are locks that the process holds too whose place this one takes.
fn lock_folder(data: &Path, held: &[File]) -> Result<File, String> {
    let failed = |error: std::io::Error| format!("the data folder {}: {error}", data.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(failed)?;
    if let Some(lock) = held.iter().find(|lock| is_at(lock, &data.join("lock"))) {
        return lock.try_clone().map_err(failed);
    }
    let file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(data.join("lock"))
        .map_err(failed)?;
    file.try_lock().map_err(|_| {
        format!(
            "another edge runs on the data folder {}; stop it, or set data to another folder",
            data.display()
        )
    })?;
    Ok(file)
}
