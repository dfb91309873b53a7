//! Secrets of QUIC that are kept over a restart: with the same ones a viewer whose connection ended
//! with the last process is told so at once, instead of waiting until it gives up.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::{hkdf, hmac, rand};
use quinn_proto::crypto::{HandshakeTokenKey, HmacKey};

use super::cid::Mask;
use crate::base::secret::Secret;

/// Octets of the keys of resets and of tokens, and of what masks cores.
const OCTETS: usize = 32 + 32 + 16;

/// The secrets of all cores.
pub struct Keys(Secret<[u8; OCTETS]>);

impl Keys {
    /// Takes those of the last run from `folder`, or makes new ones and keeps them there.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join("quic-keys");
        let known: Option<[u8; OCTETS]> =
            std::fs::read(&path).ok().and_then(|octets| octets.try_into().ok());
        if let Some(known) = known {
            return Ok(Self(Secret::new(known)));
        }
        let mut fresh = [0; OCTETS];
        rand::fill(&mut fresh).map_err(|_| io::Error::other("no randomness"))?;
        let written = path.with_extension("new");
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&written)?;
        file.write_all(&fresh)?;
        file.sync_all()?;
        std::fs::rename(&written, &path)?;
        Ok(Self(Secret::new(fresh)))
    }

    /// Signs stateless resets (RFC 9000 §10.3).
    pub fn reset(&self) -> Arc<dyn HmacKey> {
        Arc::new(hmac::Key::new(hmac::HMAC_SHA256, &self.0.expose()[..32]))
    }

    /// Seals the tokens of Retry packets (RFC 9000 §8.1.2).
    pub fn token(&self) -> Arc<dyn HandshakeTokenKey> {
        let secret = &self.0.expose()[32..64];
        Arc::new(hkdf::Salt::new(hkdf::HKDF_SHA256, b"foreshore quic token").extract(secret))
    }

    /// Masks the core in connection ids.
    pub fn mask(&self, cores: usize) -> Mask {
        let mut key = [0; 16];
        key.copy_from_slice(&self.0.expose()[64..]);
        Mask::new(key, cores)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_kept_and_made_anew_where_they_are_damaged() {
        let folder = tempfile::tempdir().unwrap();
        let read = |keys: &Keys| keys.0.expose().to_vec();
        let first = read(&Keys::open(folder.path()).unwrap());
        assert_eq!(read(&Keys::open(folder.path()).unwrap()), first);
        std::fs::write(folder.path().join("quic-keys"), b"short").unwrap();
        let second = read(&Keys::open(folder.path()).unwrap());
        assert_ne!(second, first);
        assert_eq!(read(&Keys::open(folder.path()).unwrap()), second);
    }
}
