//! Pure: seals what lies in a tier, with AES-256-GCM. Whoever can write to the engine can neither
//! read nor forge an answer; he can put back what we once wrote there, for as long as its stamp
//! lets it count.
//!
//! Each response has a key of its own, derived from the secret and the response's generation, 16
//! random octets; the number of the part is the nonce. So no number of responses makes two parts
//! share key and nonce.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::hkdf;

use crate::base::secret::Secret;

/// Tells one writing of a response from every other: 16 random octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Generation(pub [u8; 16]);

/// Octets that sealing adds.
pub const TAG: usize = 16;

/// Thirty-two octets derived from a key.
struct Length;

impl hkdf::KeyType for Length {
    fn len(&self) -> usize {
        32
    }
}

/// The keys of a tier: one seals and opens; the one before it still opens, while keys are changed.
/// It does not show itself.
pub struct Seals {
    current: hkdf::Prk,
    previous: Option<hkdf::Prk>,
}

impl Seals {
    /// Seals under secrets of any length.
    pub fn new(current: &Secret<String>, previous: Option<&Secret<String>>) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"foreshore tier 1");
        let extract = |secret: &Secret<String>| salt.extract(secret.expose().as_bytes());
        Self { current: extract(current), previous: previous.map(extract) }
    }

    /// Seals a part in place and appends its tag; `about` is what it is of. `None` if the library
    /// refuses.
    pub fn seal(
        &self,
        generation: Generation,
        part: u32,
        about: &[u8],
        octets: &mut Vec<u8>,
    ) -> Option<()> {
        key(&self.current, generation)?
            .seal_in_place_append_tag(nonce(part), Aad::from(about), octets)
            .ok()
    }

    /// Opens a part; `None` if it is not what was sealed with one of the keys.
    pub fn open(
        &self,
        generation: Generation,
        part: u32,
        about: &[u8],
        sealed: &[u8],
    ) -> Option<Vec<u8>> {
        let mut keys = std::iter::once(&self.current).chain(&self.previous);
        keys.find_map(|base| {
            let mut octets = sealed.to_vec();
            let len = key(base, generation)?
                .open_in_place(nonce(part), Aad::from(about), &mut octets)
                .ok()?
                .len();
            octets.truncate(len);
            Some(octets)
        })
    }
}

fn key(base: &hkdf::Prk, generation: Generation) -> Option<LessSafeKey> {
    let mut out = [0u8; 32];
    base.expand(&[&b"response"[..], &generation.0[..]], Length).ok()?.fill(&mut out).ok()?;
    Some(LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &out).ok()?))
}

fn nonce(part: u32) -> Nonce {
    let mut nonce = [0u8; NONCE_LEN];
    nonce[..4].copy_from_slice(&part.to_le_bytes());
    Nonce::assume_unique_for_key(nonce)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seals(current: &str, previous: Option<&str>) -> Seals {
        let secret = |text: &str| Secret::new(text.to_string());
        Seals::new(&secret(current), previous.map(secret).as_ref())
    }

    #[test]
    fn a_part_opens_with_its_key_in_its_place_alone() {
        let (one, two) = (seals("one", None), seals("two", None));
        let generation = Generation([7; 16]);
        let mut octets = b"hello".to_vec();
        one.seal(generation, 4, b"key", &mut octets).unwrap();
        assert!(octets.len() == 5 + TAG && !octets.starts_with(b"hello"));
        assert_eq!(one.open(generation, 4, b"key", &octets).as_deref(), Some(&b"hello"[..]));
        assert!(two.open(generation, 4, b"key", &octets).is_none());
        assert!(one.open(Generation([8; 16]), 4, b"key", &octets).is_none());
        assert!(one.open(generation, 5, b"key", &octets).is_none());
        assert!(one.open(generation, 4, b"other", &octets).is_none());
        assert!(one.open(generation, 4, b"key", &octets[..octets.len() - 1]).is_none());
        assert!(one.open(generation, 4, b"key", b"").is_none());
    }

    #[test]
    fn keys_are_changed_in_two_steps() {
        let generation = Generation([1; 16]);
        let (old, both, new) = (seals("old", None), seals("new", Some("old")), seals("new", None));
        let sealed = |by: &Seals| {
            let mut octets = b"x".to_vec();
            by.seal(generation, 0, b"", &mut octets).unwrap();
            octets
        };
        let opens = |by: &Seals, octets: &[u8]| by.open(generation, 0, b"", octets).is_some();
        assert!(opens(&both, &sealed(&old)) && opens(&both, &sealed(&new)));
        assert!(opens(&new, &sealed(&both)) && !opens(&old, &sealed(&both)));
        assert!(!opens(&new, &sealed(&old)));
    }
}
