//! Encryption at rest: AES-256-GCM for each part of a record, under a key that is never written
//! down.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::hkdf;

use super::record::{Header, TAG};
use crate::base::secret::Secret;

/// Which part of a record: parts must not stand in for one another.
pub const META: u32 = u32::MAX;

/// Encrypts parts of records and decrypts them.
pub struct Cipher {
    key: LessSafeKey,
    /// Keys the hashes of the index: without the secret it cannot be tried which URLs lie there.
    pub hash_seed: [u8; 16],
    /// Says whether a folder was written under this key, and nothing about it.
    pub check: String,
}

/// Thirty-two octets derived from a key.
struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

impl Cipher {
    /// A cipher under a secret of any length, bound to a folder by its seed.
    pub fn new(secret: &Secret<String>, seed: &[u8]) -> Option<Self> {
        let base = hkdf::Salt::new(hkdf::HKDF_SHA256, seed).extract(secret.expose().as_bytes());
        let derive = |what: &[u8]| {
            let mut out = [0u8; 32];
            base.expand(&[what], Length).ok()?.fill(&mut out).ok()?;
            Some(out)
        };
        let key =
            LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &derive(b"foreshore store")?).ok()?);
        let hash_seed = derive(b"foreshore hash")?[..16].try_into().ok()?;
        let check =
            derive(b"foreshore check")?[..8].iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Self { key, hash_seed, check })
    }

    /// Encrypts a part in place and appends its tag, 16 octets.
    pub fn seal(&self, header: &Header, part: u32, octets: &mut Vec<u8>) -> Option<()> {
        self.key
            .seal_in_place_append_tag(nonce(header, part), Aad::from(about(header)), octets)
            .ok()
    }

    /// Decrypts a part in place; `None` if it is not what was encrypted.
    pub fn open(&self, header: &Header, part: u32, octets: &mut Vec<u8>) -> Option<()> {
        let len = self
            .key
            .open_in_place(nonce(header, part), Aad::from(about(header)), octets)
            .ok()?
            .len();
        debug_assert_eq!(len + TAG, octets.len());
        octets.truncate(len);
        Some(())
    }
}

/// Checks a part of a record and takes its encryption off; `None` if it is not what was written.
pub fn open_part(
    header: &Header,
    seal: Option<&Cipher>,
    part: u32,
    crc: u32,
    mut octets: Vec<u8>,
) -> Option<Vec<u8>> {
    if crc32fast::hash(&octets) != crc {
        return None;
    }
    match (seal, header.is_encrypted) {
        (Some(seal), true) => seal.open(header, part, &mut octets)?,
        (None, false) => {}
        // Under a key only encrypted records count, and without one only plain ones.
        (None, true) | (Some(_), false) => return None,
    }
    Some(octets)
}

// The record's own random octets, and the part.
fn nonce(header: &Header, part: u32) -> Nonce {
    let mut nonce = header.nonce;
    nonce[8..].iter_mut().zip(part.to_le_bytes()).for_each(|(octet, part)| *octet ^= part);
    Nonce::assume_unique_for_key(nonce)
}

// A part of one record is none of another, and a record that is cut short is another.
fn about(header: &Header) -> [u8; 36] {
    let mut out = [0; 36];
    out.copy_from_slice(&header.encode()[4..40]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::record::{Identity, Version};
    use super::*;

    #[test]
    fn a_part_opens_under_its_key_in_its_place_alone() {
        let (seal, other) = (
            Cipher::new(&Secret::new("k".into()), b"seed").unwrap(),
            Cipher::new(&Secret::new("l".into()), b"seed").unwrap(),
        );
        assert_ne!(seal.check, other.check);
        let header = Header {
            nonce: [7; 12],
            ..Header::tombstone(Identity { key: 1, variant: 2 }, Version(3))
        };
        let mut octets = b"hello".to_vec();
        seal.seal(&header, 4, &mut octets).unwrap();
        assert!(octets.len() == 5 + TAG && !octets.starts_with(b"hello"));
        let elsewhere = Header { version: Version(4), ..header };
        for (seal, header, part) in
            [(&other, &header, 4), (&seal, &header, 5), (&seal, &elsewhere, 4)]
        {
            assert!(seal.open(header, part, &mut octets.clone()).is_none());
        }
        seal.open(&header, 4, &mut octets).unwrap();
        assert_eq!(octets, b"hello");
    }
}
