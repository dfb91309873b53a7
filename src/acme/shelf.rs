//! Where a certificate's key, chain, order and failures lie, and where the account does: files that
//! their owner alone may read, each replaced as a whole and synced.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::jws::AccountKey;
use super::renewal::{Window, after_reload};
use super::trouble::{Kind, Trouble};
use crate::distribution::acme::Acme;
use crate::semantics::time::Timestamp;

/// The largest file that is read back.
const FILE_MAX: u64 = 1 << 20;

/// The folder of one certificate. It exists.
pub struct Shelf {
    folder: PathBuf,
    issued: PathBuf,
}

/// What is remembered of a certificate over restarts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// The URL of an order that is open.
    pub order: Option<String>,
    /// Failures in a row.
    pub failures: u32,
    /// Before this moment (seconds of the epoch) it is not tried again.
    pub retry_at: u64,
    /// When the last attempt failed, and until when the CA wants to be left alone, in the same way.
    pub tried_at: u64,
    pub left_alone: u64,
    pub last_error: Option<String>,
    /// The CA's window for renewal, and the certificate that it is about.
    pub window: Option<SavedWindow>,
}

impl Saved {
    /// From when on a reload has it tried again; when it is anyway, if an earlier version wrote it.
    pub fn after_reload(&self) -> Timestamp {
        let at = Timestamp::from_secs;
        if self.tried_at == 0 {
            return at(self.retry_at);
        }
        after_reload(at(self.tried_at), at(self.left_alone), at(self.retry_at))
    }
}

/// A window as it is kept; moments in seconds of the epoch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedWindow {
    /// The certificate's id (RFC 9773).
    pub of: String,
    pub start: u64,
    pub end: u64,
    /// When the CA is asked again.
    pub ask_at: u64,
}

impl SavedWindow {
    /// The window itself.
    pub const fn window(&self) -> Window {
        Window { start: Timestamp::from_secs(self.start), end: Timestamp::from_secs(self.end) }
    }
}

/// A proof that is being shown, as all edges that share the folder read it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The challenge's name: `http-01` …
    pub kind: String,
    /// The name to prove, without `*.`.
    pub name: String,
    pub token: String,
    /// Token and thumbprint (RFC 8555 §8.1).
    pub authorization: String,
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
struct SavedAccount {
    /// PKCS #8, in hex.
    key: String,
    /// The account's URL, once the CA has made it.
    url: Option<String>,
}

fn here(path: &Path, error: impl std::fmt::Display) -> Trouble {
    Trouble::new(Kind::Here, format!("{}: {error}", path.display()))
}

fn make_folder(path: &Path) -> Result<(), Trouble> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|error| here(path, error))
}

/// Puts a file in the place of another, whole and synced, readable by its owner alone.
fn replace(path: &Path, octets: &[u8]) -> Result<(), Trouble> {
    let replaced = || -> std::io::Result<()> {
        let fresh = fresh(path, octets)?;
        std::fs::rename(&fresh, path)?;
        sync_folder_of(path)
    };
    replaced().map_err(|error| here(path, error))
}

/// The same where there is none yet; false if there is.
fn put(path: &Path, octets: &[u8]) -> Result<bool, Trouble> {
    let put = || -> std::io::Result<bool> {
        let fresh = fresh(path, octets)?;
        let linked = std::fs::hard_link(&fresh, path);
        std::fs::remove_file(&fresh)?;
        match linked {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(false),
            linked => linked?,
        }
        sync_folder_of(path)?;
        Ok(true)
    };
    put().map_err(|error| here(path, error))
}

// A synced file beside another. Edges that share a folder have names of their own for it.
fn fresh(path: &Path, octets: &[u8]) -> std::io::Result<PathBuf> {
    let mut chance = [0; 4];
    let _ = aws_lc_rs::rand::fill(&mut chance);
    let fresh = path.with_extension(format!("{:08x}.new", u32::from_be_bytes(chance)));
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
    file.write_all(octets)?;
    file.sync_all()?;
    Ok(fresh)
}

fn sync_folder_of(path: &Path) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}

/// A file, `None` if there is none.
fn read(path: &Path) -> Result<Option<Vec<u8>>, Trouble> {
    match std::fs::metadata(path) {
        Ok(facts) if facts.len() > FILE_MAX => return Err(here(path, "too large")),
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(here(path, error)),
    }
    std::fs::read(path).map(Some).map_err(|error| here(path, error))
}

impl Shelf {
    /// The shelf of a certificate; its folder is made.
    pub fn open(acme: &Acme) -> Result<Self, Trouble> {
        let folder = acme.shelf();
        make_folder(&folder)?;
        Ok(Self { issued: acme.issued(), folder })
    }

    /// Takes the right to order, until the file is dropped; `None` if another process has it. It
    /// ends with the process, however that ends.
    pub fn lock(&self) -> Result<Option<File>, Trouble> {
        let path = self.folder.join("lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(&path)
            .map_err(|error| here(&path, error))?;
        match file.try_lock() {
            Ok(()) => {
                self.sweep();
                Ok(Some(file))
            }
            Err(std::fs::TryLockError::WouldBlock) => Ok(None),
            Err(std::fs::TryLockError::Error(error)) => Err(here(&path, error)),
        }
    }

    // Removes what a process left half written that ended meanwhile; no other writes here now.
    fn sweep(&self) {
        for folder in [self.folder.clone(), self.proofs_folder()] {
            let entries = std::fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
            let paths = entries.map(|entry| entry.path());
            for path in paths.filter(|path| path.extension().is_some_and(|word| word == "new")) {
                let _ = std::fs::remove_file(path);
            }
        }
    }

    /// What is remembered. A damaged file is as none: it only makes us ask again.
    pub fn saved(&self) -> Result<Saved, Trouble> {
        let octets = read(&self.folder.join("state.json"))?.unwrap_or_default();
        Ok(serde_json::from_slice(&octets).unwrap_or_default())
    }

    /// Remembers.
    pub fn save(&self, saved: &Saved) -> Result<(), Trouble> {
        let path = self.folder.join("state.json");
        let octets = serde_json::to_vec(saved).map_err(|error| here(&path, error))?;
        replace(&path, &octets)
    }

    /// The issued certificate with its key, as PEM.
    pub fn issued(&self) -> Result<Option<Vec<u8>>, Trouble> {
        read(&self.issued)
    }

    /// Puts another in its place.
    pub fn issue(&self, pem: &[u8]) -> Result<(), Trouble> {
        replace(&self.issued, pem)?;
        self.forget_key()
    }

    /// The key of the open order, as PEM.
    pub fn next_key(&self) -> Result<Option<String>, Trouble> {
        let octets = read(&self.folder.join("next.key"))?;
        Ok(octets.and_then(|octets| String::from_utf8(octets).ok()))
    }

    /// Keeps it.
    pub fn keep_key(&self, pem: &str) -> Result<(), Trouble> {
        replace(&self.folder.join("next.key"), pem.as_bytes())
    }

    /// Drops it.
    pub fn forget_key(&self) -> Result<(), Trouble> {
        remove(&self.folder.join("next.key"))
    }

    fn proofs_folder(&self) -> PathBuf {
        self.folder.join("proofs")
    }

    /// Puts a proof where all edges see it.
    pub fn show(&self, proof: &Proof) -> Result<(), Trouble> {
        let folder = self.proofs_folder();
        make_folder(&folder)?;
        let path = folder.join(format!("{}.json", proof.token));
        let octets = serde_json::to_vec(proof).map_err(|error| here(&path, error))?;
        replace(&path, &octets)
    }

    /// All proofs that are being shown; at most a thousand.
    pub fn proofs(&self) -> Result<Vec<Proof>, Trouble> {
        let folder = self.proofs_folder();
        let entries = match std::fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(here(&folder, error)),
        };
        let mut all = Vec::new();
        for entry in entries.filter_map(Result::ok).take(1000) {
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == "json")
                && let Some(octets) = read(&path)?
                && let Ok(proof) = serde_json::from_slice::<Proof>(&octets)
            {
                all.push(proof);
            }
        }
        Ok(all)
    }

    /// Takes a proof away.
    pub fn withdraw(&self, proof: &Proof) -> Result<(), Trouble> {
        remove(&self.proofs_folder().join(format!("{}.json", proof.token)))
    }
}

fn remove(path: &Path) -> Result<(), Trouble> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(here(path, error)),
        _ => Ok(()),
    }
}

/// The account for a certificate's CA: its key, which is made if there is none, and its URL, if the
/// CA has given one.
pub fn account(acme: &Acme) -> Result<(AccountKey, Option<String>), Trouble> {
    let path = acme.account();
    make_folder(acme.folder.path())?;
    let octets = match read(&path)? {
        Some(octets) => octets,
        None => {
            let key = AccountKey::generate().map_err(|why| here(&path, why))?;
            if put(&path, &written(&path, &key, None)?)? {
                return Ok((key, None));
            }
            // Another edge that shares the folder was quicker.
            read(&path)?.unwrap_or_default()
        }
    };
    // A damaged account is not replaced silently: its key may be kept elsewhere.
    let saved: SavedAccount =
        serde_json::from_slice(&octets).map_err(|_| here(&path, "no account in it"))?;
    let octets = unhex(&saved.key).ok_or_else(|| here(&path, "no key in it"))?;
    let key = AccountKey::from_pkcs8(&octets).map_err(|why| here(&path, why))?;
    Ok((key, saved.url))
}

/// Keeps an account.
pub fn keep_account(acme: &Acme, key: &AccountKey, url: Option<&str>) -> Result<(), Trouble> {
    let path = acme.account();
    replace(&path, &written(&path, key, url)?)
}

fn written(path: &Path, key: &AccountKey, url: Option<&str>) -> Result<Vec<u8>, Trouble> {
    let key = crate::crypto::sigv4::hex(key.pkcs8().expose());
    let saved = SavedAccount { key, url: url.map(str::to_string) };
    serde_json::to_vec(&saved).map_err(|error| here(path, error))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let pair = |pair: &[u8]| match pair {
        [high, low] => u8::try_from(digit(*high)? * 16 + digit(*low)?).ok(),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::distribution::acme::{Challenge, Folder, KeyType, Orders};
    use crate::distribution::origin::Roots;

    fn acme(folder: &Path) -> Acme {
        Acme {
            names: vec!["a.test".into()],
            directory: "https://ca.test/dir".into(),
            roots: Roots::System,
            contact: vec![],
            key: KeyType::EcdsaP256,
            eab: None,
            challenge: Challenge::Http01,
            folder: Folder::Own(folder.join("acme")),
            orders: Orders::Here,
        }
    }

    fn modes(folder: &Path) -> Vec<u32> {
        let mut all = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let mode = entry.metadata().unwrap().permissions().mode() & 0o777;
            all.push(mode);
            if entry.path().is_dir() {
                assert_eq!(mode, 0o700);
                all.extend(modes(&entry.path()));
            }
        }
        all
    }

    #[test]
    fn what_is_put_on_a_shelf_is_there_for_the_next_process_and_for_its_owner_alone() {
        let folder = tempfile::tempdir().unwrap();
        let acme = acme(folder.path());
        let shelf = Shelf::open(&acme).unwrap();
        assert_eq!(shelf.saved().unwrap(), Saved::default());
        let saved = Saved {
            order: Some("https://ca.test/o/1".into()),
            failures: 3,
            retry_at: 17,
            tried_at: 11,
            left_alone: 13,
            last_error: Some("x".into()),
            window: Some(SavedWindow { of: "id".into(), start: 1, end: 2, ask_at: 3 }),
        };
        shelf.save(&saved).unwrap();
        shelf.keep_key("key").unwrap();
        let proof = Proof {
            kind: "http-01".into(),
            name: "a.test".into(),
            token: "t".into(),
            authorization: "t.x".into(),
        };
        shelf.show(&proof).unwrap();
        let (key, url) = account(&acme).unwrap();
        assert_eq!(url, None);
        keep_account(&acme, &key, Some("https://ca.test/a/1")).unwrap();
        let again = Shelf::open(&acme).unwrap();
        assert_eq!(again.saved().unwrap(), saved);
        assert_eq!(again.next_key().unwrap().as_deref(), Some("key"));
        assert_eq!(again.proofs().unwrap(), std::slice::from_ref(&proof));
        let (kept, url) = account(&acme).unwrap();
        assert_eq!(kept.thumbprint(), key.thumbprint());
        assert_eq!(url.as_deref(), Some("https://ca.test/a/1"));
        for mode in modes(folder.path()) {
            assert!(mode == 0o600 || mode == 0o700, "{mode:o}");
        }
        again.withdraw(&proof).unwrap();
        again.withdraw(&proof).unwrap();
        assert!(again.proofs().unwrap().is_empty());
        again.issue(b"pem").unwrap();
        assert_eq!(again.issued().unwrap().as_deref(), Some(&b"pem"[..]));
        assert_eq!(again.next_key().unwrap(), None);
    }

    #[test]
    fn one_at_a_time_has_the_right_to_order() {
        let folder = tempfile::tempdir().unwrap();
        let acme = acme(folder.path());
        let (one, other) = (Shelf::open(&acme).unwrap(), Shelf::open(&acme).unwrap());
        let held = one.lock().unwrap();
        assert!(held.is_some() && other.lock().unwrap().is_none());
        drop(held);
        assert!(other.lock().unwrap().is_some());
    }

    #[test]
    fn a_damaged_state_is_none_and_a_damaged_account_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let acme = acme(folder.path());
        let shelf = Shelf::open(&acme).unwrap();
        std::fs::write(acme.shelf().join("state.json"), "{\"order\":").unwrap();
        assert_eq!(shelf.saved().unwrap(), Saved::default());
        for text in ["", "{}", "{\"key\":\"zz\"}", "{\"key\":\"00\"}"] {
            std::fs::write(acme.account(), text).unwrap();
            let trouble = account(&acme).err().unwrap();
            assert_eq!(trouble.kind, Kind::Here, "{text}");
        }
    }

    #[test]
    fn hex_is_read_as_it_was_written() {
        assert_eq!(unhex("00ff7F"), Some(vec![0, 255, 127]));
        for bad in ["0", "0g", "ä"] {
            assert_eq!(unhex(bad), None, "{bad}");
        }
    }
}
