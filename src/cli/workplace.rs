//! Where a command that has no edge runs workers of lambdas: a folder that goes with it.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::run::search_path;
use crate::clock::Clock;
use crate::lambda::{Log, Settings};

/// Where the folder is made: not below /tmp, so that code has a /tmp of its own.
const PLACES: [&str; 2] = ["/var/tmp", "/tmp"];
/// Calls that wait for a worker.
const WAITING: usize = 8;

/// The folder. Dropped, it is removed.
pub(super) struct Workplace {
    folder: PathBuf,
}

impl Workplace {
    /// Makes it; nothing may be there yet.
    pub(super) fn new() -> Result<Self, String> {
        let parent = PLACES.iter().map(Path::new).find(|place| place.is_dir());
        let parent = parent.unwrap_or(Path::new("."));
        let folder = parent.join(format!("foreshore-workers-{}", std::process::id()));
        match DirBuilder::new().mode(0o755).create(&folder) {
            Ok(()) => Ok(Self { folder }),
            Err(error) => Err(format!("{}: {error}", folder.display())),
        }
    }

    /// What workers here have in common.
    pub(super) fn settings(&self, log: Option<Log>) -> Settings {
        Settings {
            launcher: "/proc/self/exe".into(),
            folder: self.folder.clone(),
            path: search_path(),
            sleepers: WAITING,
            cgroup: None,
            log,
            clock: Clock::system(),
        }
    }
}

impl Drop for Workplace {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
