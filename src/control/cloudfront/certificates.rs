//! Certificates that are made for distributions of the API (`certificates = "development"`): for
//! hosts that no other certificate stands for, under a local CA in the data folder.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use crate::base::secret::Secret;
use crate::distribution::certificate::Certificate;
use crate::distribution::site::{ApiCertificates, Site};
use crate::documents::shelf::{Documents, Kind};
use crate::semantics::time::Timestamp;
use crate::tls::development::{self, Place};

/// With less than this left, in milliseconds, a certificate is made anew.
const LEFT: u64 = 30 * 86_400_000;

/// Certificates that were made for a change, and what was in their places before.
#[derive(Default)]
pub struct Made(Vec<(Place, Option<Before>)>);

/// What the files of chain and key held.
struct Before {
    chain: Vec<u8>,
    key: Secret<Vec<u8>>,
}

impl Made {
    /// Says whether there are any, so that the site is to be loaded again.
    pub fn is_any(&self) -> bool {
        !self.0.is_empty()
    }

    // Makes one; what is half made counts as made.
    fn make(&mut self, place: Place, hosts: &[String], now: Timestamp) -> Result<(), String> {
        let before = std::fs::read(&place.chain).ok().zip(std::fs::read(&place.key).ok());
        let before = before.map(|(chain, key)| Before { chain, key: Secret::new(key) });
        let made = development::make(&place, hosts, now);
        self.0.push((place, before));
        made
    }

    /// Takes back what was made for a change that was not made.
    pub fn take_back(self) {
        for (place, before) in self.0 {
            let Some(Before { chain, key }) = before else {
                remove(&place);
                continue;
            };
            // The files keep their rights.
            let written = std::fs::write(&place.chain, chain)
                .and_then(|()| std::fs::write(&place.key, key.expose()));
            if let Err(error) = written {
                tracing::warn!(%error, path = %place.chain.display(), "a certificate could not be put back");
            }
        }
    }
}

/// Makes what is missing; if one cannot be made, none is.
pub fn make_missing(site: &Site, documents: &Documents, now: Timestamp) -> Result<Made, String> {
    let mut all = Made::default();
    if !site.api.as_ref().is_some_and(|api| api.certificates == ApiCertificates::Made) {
        return Ok(all);
    }
    let known = names(&site.certificates, None, now);
    for one in &site.distributions {
        let is_covered = one.hosts.iter().all(|host| stands_for(&known, host));
        if is_covered || documents.get(Kind::Distribution, &one.id).is_none() {
            continue;
        }
        let place = Place::of(&site.data, &one.id);
        let others = names(&site.certificates, Some(&place.chain), now);
        let hosts: Vec<String> =
            one.hosts.iter().filter(|host| !stands_for(&others, host)).cloned().collect();
        let chain = place.chain.display().to_string();
        if let Err(why) = all.make(place, &hosts, now) {
            all.take_back();
            return Err(why);
        }
        tracing::info!(certificate = chain, names = ?hosts, "made a development certificate");
    }
    Ok(all)
}

/// Removes what was made for a distribution that is no more.
pub fn forget(data: &Path, id: &str) {
    remove(&Place::of(data, id));
}

fn remove(place: &Place) {
    for path in [&place.chain, &place.key] {
        if let Err(error) = std::fs::remove_file(path)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(%error, path = %path.display(), "a certificate could not be removed");
        }
    }
}

// What certificates stand for that last for some time, but for one by its file.
fn names<'c>(
    all: &'c [Arc<Certificate>],
    without: Option<&Path>,
    now: Timestamp,
) -> HashSet<&'c str> {
    let without = without.map(|path| path.display().to_string());
    let lasting = all.iter().filter(|one| one.not_after.0 > now.0 + LEFT);
    lasting
        .filter(|one| without.as_ref().is_none_or(|path| one.source != *path))
        .flat_map(|one| &one.names)
        .map(String::as_str)
        .collect()
}

fn stands_for(names: &HashSet<&str>, host: &str) -> bool {
    let wildcard = || host.split_once('.').map(|(_, parent)| format!("*.{parent}"));
    names.contains(host) || wildcard().is_some_and(|name| names.contains(name.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::distribution::certificate::{KeyKind, Serves};

    fn certificate(source: &str, names: &[&str], not_after: u64) -> Arc<Certificate> {
        Arc::new(Certificate {
            chain: Vec::new(),
            key: Secret::new(Vec::new()),
            kind: KeyKind::Ecdsa,
            names: names.iter().map(|name| (*name).to_string()).collect(),
            not_after: Timestamp(not_after),
            source: source.into(),
            ids: Vec::new(),
            serves: Serves::Throughout,
        })
    }

    #[test]
    fn hosts_are_covered_by_what_lasts() {
        let now = Timestamp(1_000_000);
        let (long, short) = (now.0 + LEFT + 1, now.0 + LEFT);
        let all = [
            certificate("a.pem", &["a.test", "*.b.test"], long),
            certificate("c.pem", &["c.test"], short),
        ];
        let known = names(&all, None, now);
        for (host, is_covered) in [
            ("a.test", true),
            ("x.b.test", true),
            ("*.b.test", true),
            ("b.test", false),
            ("x.y.b.test", false),
            ("c.test", false),
        ] {
            assert_eq!(stands_for(&known, host), is_covered, "{host}");
        }
        let others = names(&all, Some(Path::new("a.pem")), now);
        assert!(!stands_for(&others, "a.test"));
    }

    #[test]
    fn what_is_taken_back_leaves_what_there_was() {
        let folder = tempfile::tempdir().unwrap();
        let now = Timestamp::from_secs(1_800_000_000);
        let place = |id: &str| Place::of(folder.path(), id);
        let hosts = |host: &str| vec![host.to_string()];
        development::make(&place("E1"), &hosts("a.test"), now).unwrap();
        let read = |id: &str| {
            let Place { chain, key } = place(id);
            (std::fs::read(chain).ok(), std::fs::read(key).ok())
        };
        let before = read("E1");
        let mut all = Made::default();
        assert!(!all.is_any());
        all.make(place("E1"), &hosts("b.test"), now).unwrap();
        all.make(place("E2"), &hosts("c.test"), now).unwrap();
        assert!(all.is_any() && read("E1") != before && read("E2").0.is_some());
        all.take_back();
        assert_eq!((read("E1"), read("E2")), (before, (None, None)));
    }
}
