//! Opens the disk tier behind a running edge: at the start, or as soon as a disk that fails lets
//! it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::cache::invalidations::Validity;
use crate::distribution::site::{DiskSettings, Site};
use crate::invalidation::log::InvalidationLog;
use crate::proxy::Edge;
use crate::store::Disk;
use crate::store::disk::files::{Files, Folder};
use crate::store::disk::load::{Doubt, ID};
use crate::store::disk::segment_list::Brief;
use crate::store::disk::threads::Keeper;

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
    pub fn start(
        edge: &Arc<Edge>,
        site: &Site,
        log: &Arc<InvalidationLog>,
    ) -> Result<Arc<Self>, String> {
        let left_out = site.data.join(LEFT_OUT);
        let tier = Arc::new(Self {
            keeper: Mutex::default(),
            left_out,
            is_ending: AtomicBool::new(false),
        });
        let Some(settings) = &site.store.disk else { return Ok(tier) };
        match tier.open(edge, settings, log) {
            Ok(()) => {}
            Err(error) if is_the_disks(&error) => {
                std::fs::write(&tier.left_out, "")
                    .map_err(|error| format!("{}: {error}", tier.left_out.display()))?;
                tracing::error!(%error, path = %settings.path.display(), "the disk store cannot be opened; viewers are served without it until it can");
                let (this, edge, settings, log) =
                    (Arc::clone(&tier), Arc::clone(edge), settings.clone(), Arc::clone(log));
                let again = std::thread::Builder::new()
                    .name("disk-open".into())
                    .spawn(move || this.open_later(&edge, &settings, &log));
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
    ) -> io::Result<()> {
        let folder = Folder::open(&settings.path)?;
        let is_left_out = self.left_out.exists();
        if is_left_out {
            unless_gone(folder.remove(ID))?;
        }
        let disk = Disk::open(Box::new(folder), settings.clone(), log.last(), Doubt::BeginEmpty)?;
        if is_left_out {
            unless_gone(std::fs::remove_file(&self.left_out))?;
        }
        edge.keep_disk(Arc::clone(&disk));
        let judge = Arc::clone(edge);
        let is_dead = move |brief: &Brief<'_>| {
            judge.invalidations.validity_of(brief.key, &brief.tags, brief.asked_at)
                == Validity::Hard
        };
        *self.keeper.lock() = Some(Keeper::start(disk, Box::new(is_dead))?);
        Ok(())
    }

    fn open_later(&self, edge: &Arc<Edge>, settings: &DiskSettings, log: &InvalidationLog) {
        while !self.is_ending.load(Ordering::Relaxed) {
            std::thread::sleep(AGAIN);
            if self.open(edge, settings, log).is_ok() {
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
