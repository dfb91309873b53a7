//! Opens the disk tier behind a running edge: at the start, or as soon as a disk that fails lets
//! it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::invalidations::Validity;
use crate::distribution::site::{DiskSettings, Site};
use crate::invalidation::log::InvalidationLog;
use crate::message::key::InvalidationNumber;
use crate::proxy::Edge;
use crate::store::Disk;
use crate::store::disk::files::{Files, Folder};
use crate::store::disk::load::{Doubt, ID};
use crate::store::disk::segment_list::Brief;
use crate::store::disk::threads::{IsDead, Keeper};

/// How often a disk that failed is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// Says in the data folder that the edge has served without the disk: what lies there may be older
/// than what was served, and that holds over a restart.
const LEFT_OUT: &str = "store-left-out";

/// The disk tier's threads, once there are any.
pub struct DiskTier {
    keeper: Mutex<Option<Keeper>>,
    left_out: PathBuf,
    is_ending: AtomicBool,
}

impl DiskTier {
    /// Opens it. A disk that fails is served without, and tried again; a setting that cannot be
    /// right is an error.
    ///
    /// The disk tier comes after the log: what the log makes old must not be served for a moment.
    /// `held` are locks that a process hands over whose place this one takes.
    pub fn start(
        edge: &Arc<Edge>,
        site: &Site,
        log: &Arc<InvalidationLog>,
        held: &[File],
    ) -> Result<Arc<Self>, String> {
        let left_out = site.data.join(LEFT_OUT);
        let tier = Arc::new(Self {
            keeper: Mutex::default(),
            left_out,
            is_ending: AtomicBool::new(false),
        });
        let Some(settings) = &site.store.disk else { return Ok(tier) };
        match tier.open(edge, settings, log, held) {
            Ok(()) => {}
            Err(error) if is_the_disks(&error) => {
                std::fs::write(&tier.left_out, "")
                    .map_err(|error| format!("{}: {error}", tier.left_out.display()))?;
                tracing::error!(%error, path = %settings.path.display(), "the disk store cannot be opened; viewers are served without it until it can");
                let (this, edge, settings, log) =
                    (Arc::clone(&tier), Arc::clone(edge), settings.clone(), Arc::clone(log));
                let held: io::Result<Vec<File>> = held.iter().map(File::try_clone).collect();
                let held = held.map_err(|error| error.to_string())?;
                let again = std::thread::Builder::new()
                    .name("disk-open".into())
                    .spawn(move || this.open_later(&edge, &settings, &log, &held));
                again.map_err(|error| error.to_string())?;
            }
            Err(error) => {
                return Err(format!("the disk store {}: {error}", settings.path.display()));
            }
        }
        Ok(tier)
    }

    fn open(
        &self,
        edge: &Arc<Edge>,
        settings: &DiskSettings,
        log: &InvalidationLog,
        held: &[File],
    ) -> io::Result<()> {
        let folder = Folder::open_under(&settings.path, held)?;
        let is_left_out = self.left_out.exists();
        if is_left_out {
            unless_gone(folder.remove(ID))?;
        }
        let disk = Disk::open(Box::new(folder), settings.clone(), log.last(), Doubt::BeginEmpty)?;
        if is_left_out {
            unless_gone(std::fs::remove_file(&self.left_out))?;
        }
        edge.keep_disk(Arc::clone(&disk));
        *self.keeper.lock() = Some(Keeper::start(disk, is_dead(edge))?);
        Ok(())
    }

    /// Writes what waits, and nothing more: another process may read the folder now.
    pub fn pause(&self) {
        let keeper = self.keeper.lock().take();
        keeper.into_iter().for_each(Keeper::stop);
    }

    /// Goes on after [`Self::pause`], with what is known of the folder.
    pub fn resume(&self, edge: &Arc<Edge>) -> io::Result<()> {
        let Some(disk) = edge.disk().filter(|disk| !disk.is_abandoned()) else { return Ok(()) };
        *self.keeper.lock() = Some(Keeper::start(Arc::clone(disk), is_dead(edge))?);
        Ok(())
    }

    /// Looks at the folder anew after [`Self::pause`]: another process may have written there, and
    /// is gone. Where it cannot be read, this one goes on without the disk.
    pub fn find_again(&self, edge: &Edge, log: InvalidationNumber) {
        let found = edge.disk().map_or(Ok(()), |disk| disk.find_again(log));
        if let Err(error) = found {
            tracing::error!(%error, "the disk store cannot be taken up again; viewers are served without it until a restart, which begins with an empty one");
            self.abandon(edge);
        }
    }

    /// Goes on without the disk after [`Self::pause`]. The next start begins with an empty one.
    pub fn abandon(&self, edge: &Edge) {
        let Some(disk) = edge.disk() else { return };
        disk.abandon();
        if let Err(error) = std::fs::write(&self.left_out, "") {
            tracing::error!(%error, "the next start may find what is older than what was served");
        }
    }

    // A lock that was handed over is this process's for good: without it the folder looks taken.
    fn open_later(
        &self,
        edge: &Arc<Edge>,
        settings: &DiskSettings,
        log: &InvalidationLog,
        held: &[File],
    ) {
        while !self.is_ending.load(Ordering::Relaxed) {
            std::thread::sleep(AGAIN);
            if self.open(edge, settings, log, held).is_ok() {
                return tracing::info!("the disk store was opened; it begins empty");
            }
        }
    }

    /// What waits is written, so that the next start finds it.
    pub fn stop(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
        let keeper = self.keeper.lock().take();
        keeper.into_iter().for_each(Keeper::stop);
    }
}

fn is_dead(edge: &Arc<Edge>) -> IsDead {
    let judge = Arc::clone(edge);
    Box::new(move |brief: &Brief<'_>| {
        judge.invalidations.validity_of(brief.key, &brief.tags, brief.asked_at) == Validity::Hard
    })
}

fn unless_gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

// A failure of the disk, which may pass, and not a setting that no edge could serve under.
fn is_the_disks(error: &io::Error) -> bool {
    use io::ErrorKind as K;
    match error.kind() {
        K::StorageFull
        | K::QuotaExceeded
        | K::ReadOnlyFilesystem
        | K::StaleNetworkFileHandle
        | K::TimedOut => true,
        _ => error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()),
    }
}
