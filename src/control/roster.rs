//! Remembers which distributions left, so that what was stored of one is gone when it comes back.
//!
//! A purge of a distribution that is away cannot be taken: the site in force does not say what it
//! is of. So nothing that was stored before it left may be served after it returned. The fact that
//! has to outlive a restart is that it was away; that is a line in the data folder. The
//! invalidation itself is a record of the log like any other, and goes to the parents too.

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::cache::invalidations::{Matcher, Severity};
use crate::distribution::identity;
use crate::distribution::site::Site;
use crate::invalidation::frames::sync_folder_of;
use crate::invalidation::log::InvalidationRecord;
use crate::invalidation::service::Durability;
use crate::proxy::Edge;

/// The file in the data folder.
const FILE: &str = "distributions";
/// More that are away are not told apart: then a distribution that is new may have been here
/// before.
const AWAY_MAX: usize = 10_000;

/// Which distributions are in force, and which were.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Known {
    here: BTreeSet<String>,
    away: BTreeSet<String>,
    /// Some of those that are away are no longer known.
    has_forgotten: bool,
}

impl Known {
    fn is_all_of(&self, site: &Site) -> bool {
        let mut all = site.distributions.iter();
        self.here.len() == site.distributions.len() && all.all(|one| self.here.contains(&one.id))
    }

    // What is known once these are in force, and which of them come back.
    fn after(&self, ids: &BTreeSet<String>) -> (Self, Vec<String>) {
        let was_away = |id: &&String| {
            !self.here.contains(*id) && (self.has_forgotten || self.away.contains(*id))
        };
        let returning = ids.iter().filter(was_away).cloned().collect();
        let mut away: BTreeSet<String> =
            self.away.union(&self.here).filter(|id| !ids.contains(*id)).cloned().collect();
        let has_forgotten = self.has_forgotten || away.len() > AWAY_MAX;
        if has_forgotten {
            away.clear();
        }
        (Self { here: ids.clone(), away, has_forgotten }, returning)
    }

    fn write(&self) -> String {
        let here = self.here.iter().map(|id| format!("here {id}\n"));
        let away = self.away.iter().map(|id| format!("away {id}\n"));
        let forgotten = self.has_forgotten.then(|| "forgotten\n".to_string());
        here.chain(away).chain(forgotten).collect()
    }

    // A line that cannot be read may have named any distribution.
    fn read(text: &str) -> Self {
        let mut known = Self::default();
        for line in text.lines() {
            let list = match line.split_once(' ') {
                Some(("here", id)) => Some((&mut known.here, id)),
                Some(("away", id)) => Some((&mut known.away, id)),
                _ => None,
            };
            match list {
                Some((list, id)) => list.extend([id.to_string()]),
                None => known.has_forgotten = true,
            }
        }
        known
    }
}

/// The list, and the file it is kept in.
pub struct Roster {
    path: PathBuf,
    kept: Mutex<Kept>,
}

struct Kept {
    known: Known,
    /// Those that are here are those of the site in force: one was admitted.
    is_in_force: bool,
}

impl Kept {
    // Most sites have the distributions of the one before, and share nearly all of them with it.
    fn is_all_of(&self, site: &Site, edge: &Edge) -> bool {
        let running = edge.running();
        let is_as_before = self.is_in_force
            && identity::are_alike(&running.site.distributions, &site.distributions);
        is_as_before || self.known.is_all_of(site)
    }
}

impl Roster {
    /// Reads what is known in a data folder; `first` are those in force where nothing is known yet:
    /// none of them was away.
    pub fn open(folder: &Path, first: &Site) -> Result<Self, String> {
        let path = folder.join(FILE);
        let known = match std::fs::read(&path) {
            Ok(bytes) => Known::read(&String::from_utf8_lossy(&bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let known = Known { here: ids(first), ..Known::default() };
                keep(&path, &known.write())
                    .map_err(|error| format!("{}: {error}", path.display()))?;
                known
            }
            Err(error) => return Err(format!("{}: {error}", path.display())),
        };
        Ok(Self { path, kept: Mutex::new(Kept { known, is_in_force: false }) })
    }

    /// Makes what was stored of those that come back with `site` old, remembers those that leave
    /// with it, and only then lets `install` put it in force. Nothing is put in force if that
    /// cannot be written down; the error says why.
    pub fn admit(&self, site: &Site, edge: &Edge, install: impl FnOnce()) -> Result<(), String> {
        // Held to the end: of two sites at once, the one that is put in force last is the one that
        // is remembered.
        let mut kept = self.kept.lock();
        if kept.is_all_of(site, edge) {
            install();
            kept.is_in_force = true;
            return Ok(());
        }
        let (next, returning) = kept.known.after(&ids(site));
        for id in &returning {
            let everything = vec![Matcher::Prefix("/".into())];
            let record = InvalidationRecord::new(
                String::new(),
                id.clone(),
                everything,
                Severity::Hard,
                edge.clock.now().0,
            );
            edge.invalidation
                .accept(record, Durability::Synced)
                .map_err(|error| format!("distribution {id:?} comes back, and the invalidation log cannot be written: {error}"))?;
            tracing::info!(
                distribution = id.as_str(),
                "a distribution is back; what was stored of it before is gone"
            );
        }
        if next != kept.known {
            keep(&self.path, &next.write())
                .map_err(|error| format!("{}: {error}", self.path.display()))?;
            kept.known = next;
            // Not before it is installed.
            kept.is_in_force = false;
        }
        install();
        kept.is_in_force = true;
        Ok(())
    }
}

fn ids(site: &Site) -> BTreeSet<String> {
    site.distributions.iter().map(|distribution| distribution.id.clone()).collect()
}

/// Writes a file whole or not at all, for this user alone; it is still there after a power cut.
pub(super) fn keep(path: &Path, text: &str) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let mut file =
        OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&fresh)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&fresh, path)?;
    sync_folder_of(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &str) -> BTreeSet<String> {
        names.split_whitespace().map(String::from).collect()
    }

    #[test]
    fn who_was_away_is_known_when_it_returns() {
        let known = Known { here: set("A B"), ..Known::default() };
        let (known, returning) = known.after(&set("A"));
        assert_eq!((known.away.clone(), returning.len()), (set("B"), 0));
        // A new one was never here.
        let (known, returning) = known.after(&set("A C"));
        assert!(returning.is_empty());
        let (known, returning) = Known::read(&known.write()).after(&set("A B"));
        assert_eq!((returning, known.away.clone()), (vec!["B".to_string()], set("C")));
        let (_, returning) = known.after(&set("A B"));
        assert!(returning.is_empty(), "once");
    }

    #[test]
    fn what_is_forgotten_counts_as_having_been_here() {
        let many: BTreeSet<String> = (0..=AWAY_MAX).map(|at| at.to_string()).collect();
        let (known, _) = Known { here: many, ..Known::default() }.after(&set("A"));
        assert!(known.has_forgotten && known.away.is_empty());
        let (known, returning) = Known::read(&known.write()).after(&set("A NEW"));
        assert_eq!(returning, ["NEW"], "and who was here all along is left alone");
        assert!(known.after(&set("A NEW")).1.is_empty());
        assert!(
            Known::read("here A\n\u{fffd}\n").has_forgotten
                && Known::read("here A\naway B").away == set("B")
        );
    }

    // Every order in which two distributions come and go, with a restart after each step: a
    // distribution that returns is announced.
    #[test]
    fn small_worlds() {
        let sites = [set(""), set("A"), set("B"), set("A B")];
        for world in 0..4usize.pow(5) {
            let mut known = Known { here: sites[world % 4].clone(), ..Known::default() };
            let mut seen = known.here.clone();
            let mut before = known.here.clone();
            for step in 1..5u32 {
                let now = &sites[world / 4usize.pow(step) % 4];
                let (next, returning) = known.after(now);
                let expected: Vec<String> = now
                    .iter()
                    .filter(|id| seen.contains(*id) && !before.contains(*id))
                    .cloned()
                    .collect();
                assert_eq!(returning, expected);
                seen.extend(now.iter().cloned());
                before = now.clone();
                known = Known::read(&next.write());
                assert_eq!(known, next);
            }
        }
    }
}
