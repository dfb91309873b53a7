//! What was read of files that a configuration names, for as long as they are as they were:
//! certificates, and databases of places, which are large.

use std::path::PathBuf;

use super::read_certificates::ReadCertificates;
use super::stamp::{self, Stamp};
use crate::distribution::geo::Geo;

/// What the next compilation need not read again.
#[derive(Default)]
pub struct ReadFiles {
    pub certificates: ReadCertificates,
    pub databases: ReadDatabases,
}

impl ReadFiles {
    /// Forgets what was not asked for since the last time.
    pub fn sweep(&mut self) {
        self.certificates.sweep();
        self.databases.sweep();
    }
}

/// The databases of places that were read last.
#[derive(Default)]
pub struct ReadDatabases(Option<Known>);

struct Known {
    /// With their stamps from before they were read.
    files: Vec<(PathBuf, Option<Stamp>)>,
    geo: Geo,
    is_used: bool,
}

/// The stamps of files now.
pub fn stamps(paths: Vec<PathBuf>) -> Vec<(PathBuf, Option<Stamp>)> {
    let stamped = |path: PathBuf| {
        let stamp = stamp::of(&path);
        (path, stamp)
    };
    paths.into_iter().map(stamped).collect()
}

impl ReadDatabases {
    /// What was made of these files, if they are as they were.
    pub fn find(&mut self, files: &[(PathBuf, Option<Stamp>)]) -> Option<Geo> {
        let is_there = files.iter().all(|(_, stamp)| stamp.is_some());
        let known = self.0.as_mut().filter(|known| is_there && known.files == files)?;
        known.is_used = true;
        Some(known.geo.clone())
    }

    /// Keeps what was made of files that had these stamps before they were read.
    pub fn keep(&mut self, files: Vec<(PathBuf, Option<Stamp>)>, geo: &Geo) {
        self.0 = Some(Known { files, geo: geo.clone(), is_used: true });
    }

    fn sweep(&mut self) {
        let is_used = self.0.as_mut().is_some_and(|known| std::mem::take(&mut known.is_used));
        if !is_used {
            self.0 = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_are_used_again_while_their_files_are_as_they_were() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.mmdb");
        std::fs::write(&path, "one").unwrap();
        let now = || stamps(vec![path.clone()]);
        let mut known = ReadDatabases::default();
        assert!(known.find(&now()).is_none());
        known.keep(now(), &Geo::new(Vec::new()).unwrap());
        assert!(known.find(&now()).is_some());
        // Another one beside it, another in its place, none.
        let both = stamps(vec![path.clone(), path.clone()]);
        assert!(known.find(&both).is_none());
        std::fs::write(folder.path().join("b"), "two").unwrap();
        std::fs::rename(folder.path().join("b"), &path).unwrap();
        assert!(known.find(&now()).is_none());
        std::fs::remove_file(&path).unwrap();
        known.keep(now(), &Geo::new(Vec::new()).unwrap());
        assert!(known.find(&now()).is_none());
        // What is asked for stays, and only that.
        std::fs::write(&path, "three").unwrap();
        known.keep(now(), &Geo::new(Vec::new()).unwrap());
        known.sweep();
        assert!(known.find(&now()).is_some());
        known.sweep();
        known.sweep();
        assert!(known.find(&now()).is_none());
    }
}
