//! TLS session tickets under keys that rotate and survive a restart.
//!
//! One set of keys for all certificates and cores; rustls itself refuses a ticket under another
//! server name. A ticket is `key id, nonce, AES-256-GCM(state)`. Keys are made fresh every twelve
//! hours; the one before still opens, so a ticket lives between twelve hours and a day.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use parking_lot::RwLock;

use crate::clock::Clock;
use crate::semantics::time::Timestamp;

const ROTATE_SECS: u64 = 12 * 3600;
/// id, moment of making, key.
const RECORD: usize = 4 + 8 + 32;

struct Key {
    id: [u8; 4],
    made_at: u64,
    secret: [u8; 32],
    sealer: RandomizedNonceKey,
}

impl Key {
    fn new(id: [u8; 4], made_at: u64, secret: [u8; 32]) -> Option<Self> {
        let sealer = RandomizedNonceKey::new(&AES_256_GCM, &secret).ok()?;
        Some(Self { id, made_at, secret, sealer })
    }

    fn fresh(now: Timestamp) -> Option<Self> {
        let random = SystemRandom::new();
        let (mut id, mut secret) = ([0; 4], [0; 32]);
        random.fill(&mut id).ok()?;
        random.fill(&mut secret).ok()?;
        Self::new(id, now.secs(), secret)
    }
}

/// The keys, newest first.
pub struct Tickets {
    keys: RwLock<Vec<Arc<Key>>>,
    file: PathBuf,
    clock: Clock,
}

impl std::fmt::Debug for Tickets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tickets(secret)")
    }
}

impl Tickets {
    /// Takes the keys of the last run from `folder`, or makes new ones.
    pub fn open(folder: &Path, clock: Clock) -> Arc<Self> {
        let file = folder.join("ticket-keys");
        let bytes = std::fs::read(&file).unwrap_or_default();
        let keys = bytes
            .chunks_exact(RECORD)
            .filter_map(|record| {
                let made_at = u64::from_le_bytes(record[4..12].try_into().ok()?);
                Key::new(record[..4].try_into().ok()?, made_at, record[12..].try_into().ok()?)
                    .map(Arc::new)
            })
            .collect();
        let tickets = Arc::new(Self { keys: RwLock::new(keys), file, clock });
        tickets.rotate();
        tickets
    }

    /// Makes a new key if the newest is old enough. Called now and then.
    pub fn rotate(&self) {
        let now = self.clock.now();
        let mut keys = self.keys.write();
        keys.retain(|key| {
            now.secs() < key.made_at + 2 * ROTATE_SECS && key.made_at <= now.secs() + 60
        });
        if keys.first().is_some_and(|key| now.secs() < key.made_at + ROTATE_SECS) {
            return;
        }
        let Some(fresh) = Key::fresh(now) else { return };
        keys.insert(0, Arc::new(fresh));
        if let Err(error) = self.save(&keys) {
            tracing::warn!(%error, "ticket keys could not be saved; sessions will not be resumed after a restart");
        }
    }

    fn save(&self, keys: &[Arc<Key>]) -> std::io::Result<()> {
        let mut bytes = Vec::with_capacity(keys.len() * RECORD);
        for key in keys {
            bytes.extend_from_slice(&key.id);
            bytes.extend_from_slice(&key.made_at.to_le_bytes());
            bytes.extend_from_slice(&key.secret);
        }
        let fresh = self.file.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&bytes)?;
        std::fs::rename(&fresh, &self.file)
    }
}

impl rustls::server::ProducesTickets for Tickets {
    fn enabled(&self) -> bool {
        true
    }

    fn lifetime(&self) -> u32 {
        ROTATE_SECS as u32
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let key = Arc::clone(self.keys.read().first()?);
        let mut sealed = plain.to_vec();
        let nonce = key.sealer.seal_in_place_append_tag(Aad::from(key.id), &mut sealed).ok()?;
        Some([&key.id[..], nonce.as_ref(), &sealed].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (id, rest) = ticket.split_at_checked(4)?;
        let (nonce, sealed) = rest.split_at_checked(12)?;
        let key = self.keys.read().iter().find(|key| key.id == id).cloned()?;
        let mut opened = sealed.to_vec();
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let len = key.sealer.open_in_place(nonce, Aad::from(key.id), &mut opened).ok()?.len();
        opened.truncate(len);
        Some(opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::server::ProducesTickets;
    use std::time::Duration;

    #[tokio::test(start_paused = true)]
    async fn tickets_outlive_a_rotation_and_a_restart_but_not_two_rotations() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Clock::starting_at(Timestamp::from_secs(1_000_000));
        let tickets = Tickets::open(folder.path(), clock.clone());
        let ticket = tickets.encrypt(b"state").unwrap();
        assert_eq!(tickets.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        tokio::time::advance(Duration::from_secs(ROTATE_SECS + 1)).await;
        tickets.rotate();
        assert_ne!(tickets.encrypt(b"state").unwrap()[..4], ticket[..4]);
        let again = Tickets::open(folder.path(), clock);
        assert_eq!(again.decrypt(&ticket).as_deref(), Some(&b"state"[..]));
        tokio::time::advance(Duration::from_secs(ROTATE_SECS)).await;
        again.rotate();
        assert_eq!(again.decrypt(&ticket), None);
        for cut in 0..ticket.len() {
            assert_eq!(again.decrypt(&ticket[..cut]), None);
        }
    }
}
