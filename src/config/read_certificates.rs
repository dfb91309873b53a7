//! Certificates in files that were read before: one whose files are as they were is not read again,
//! nor is its key tried again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::stamp::{self, Stamp};
use crate::distribution::certificate::Certificate;
use crate::semantics::time::Timestamp;

struct Read {
    /// Of the chain and of the key, from before they were read.
    stamps: [Option<Stamp>; 2],
    at: Timestamp,
    certificate: Certificate,
    is_used: bool,
}

/// What was read, by the files of chain and key.
#[derive(Default)]
pub struct ReadCertificates(BTreeMap<(PathBuf, PathBuf), Read>);

impl ReadCertificates {
    /// A certificate as `read` finds it in its files now.
    pub fn get<E>(
        &mut self,
        chain: &Path,
        key: &Path,
        now: Timestamp,
        read: impl FnOnce(&Path, &Path, Timestamp) -> Result<Certificate, E>,
    ) -> Result<Certificate, E> {
        let stamps = [stamp::of(chain), stamp::of(key)];
        let place = (chain.to_path_buf(), key.to_path_buf());
        if let Some(known) = self.0.get_mut(&place)
            // It was valid when it was read, so it is no earlier than that.
            && known.at <= now
            && now < known.certificate.not_after
            && known.stamps == stamps
            && !stamps.contains(&None)
        {
            known.is_used = true;
            return Ok(known.certificate.clone());
        }
        let certificate = read(chain, key, now)?;
        let known = Read { stamps, at: now, certificate: certificate.clone(), is_used: true };
        self.0.insert(place, known);
        Ok(certificate)
    }

    /// Forgets what was not asked for since the last time.
    pub fn sweep(&mut self) {
        self.0.retain(|_, known| std::mem::take(&mut known.is_used));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::distribution::certificate::{KeyKind, Serves};

    const AT: Timestamp = Timestamp(1_000);

    fn certificate() -> Certificate {
        Certificate {
            chain: Vec::new(),
            key: Secret::new(Vec::new()),
            kind: KeyKind::Ecdsa,
            names: vec!["a.test".into()],
            not_after: Timestamp(5_000),
            source: String::new(),
            ids: Vec::new(),
            serves: Serves::Throughout,
        }
    }

    #[test]
    fn only_what_is_as_it_was_is_not_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let (chain, key) = (folder.path().join("c.pem"), folder.path().join("c.key"));
        std::fs::write(&chain, "chain").unwrap();
        std::fs::write(&key, "key").unwrap();
        let mut known = ReadCertificates::default();
        let is_read = |known: &mut ReadCertificates, now: Timestamp| {
            let mut is_read = false;
            let read = |_: &Path, _: &Path, _: Timestamp| {
                is_read = true;
                Ok::<_, ()>(certificate())
            };
            known.get(&chain, &key, now, read).unwrap();
            is_read
        };
        assert!(is_read(&mut known, AT));
        assert!(!is_read(&mut known, AT) && !is_read(&mut known, Timestamp(4_999)));
        // It is over, or not begun yet: that is for who reads it to say.
        assert!(is_read(&mut known, Timestamp(5_000)));
        assert!(is_read(&mut known, AT));
        assert!(!is_read(&mut known, AT));
        let other = folder.path().join("other");
        std::fs::write(&other, "key").unwrap();
        std::fs::rename(&other, &key).unwrap();
        assert!(is_read(&mut known, AT));
        // What is asked for stays, and only that.
        known.sweep();
        assert!(!is_read(&mut known, AT));
        known.sweep();
        known.sweep();
        assert!(is_read(&mut known, AT));
    }
}
