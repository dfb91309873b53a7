//! Ticket keys, and what is told of ordered certificates, as a fleet's log carries them: wrapped
//! under a key that the log does not have.
//!
//! In base64: `version, nonce, AES-256-GCM(it)`; what it is, version and fleet are authenticated too.

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use aws_lc_rs::hkdf;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::ticket_keys::{KeyRefusal, TicketKey};
use crate::base::secret::Secret;
use crate::distribution::fleet::TicketSecrets;

const VERSION: u8 = 1;
/// Octets of a configured key, at least.
const LEAST: usize = 32;
const TAG: usize = 16;

/// Reads a configured key: 32 random octets or more, in base64 or in hexadecimal digits. The error
/// says what it is instead, and shows nothing of it.
pub fn read_key(text: &str) -> Result<Secret<Vec<u8>>, String> {
    let text: String = text.split_ascii_whitespace().collect();
    let octets = hexadecimal(&text).or_else(|| STANDARD.decode(&text).ok());
    match octets {
        Some(octets) if octets.len() >= LEAST => Ok(Secret::new(octets)),
        Some(octets) => Err(format!("it has {} octets, and needs {LEAST} or more", octets.len())),
        None => Err("it is neither base64 nor hexadecimal digits".into()),
    }
}

fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    let octet = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    digits.chunks_exact(2).map(octet).collect()
}

/// Wraps under one key, and opens what was wrapped under that or the one before.
pub struct Wrapping {
    wraps: RandomizedNonceKey,
    before: Option<RandomizedNonceKey>,
    /// What is authenticated beside the key itself.
    beside: Vec<u8>,
    /// The same where it is no key: neither opens as the other.
    beside_issuing: Vec<u8>,
}

impl Wrapping {
    /// For the fleet of this name; `None` if no key can be made of the secrets.
    pub fn new(fleet: &str, secrets: &TicketSecrets) -> Option<Self> {
        let before = match &secrets.before {
            Some(before) => Some(derived(before, fleet)?),
            None => None,
        };
        let beside = |what: &[u8]| [what, &[VERSION], fleet.as_bytes()].concat();
        Some(Self {
            wraps: derived(&secrets.wraps, fleet)?,
            before,
            beside: beside(b"foreshore ticket key"),
            beside_issuing: beside(b"foreshore issuing"),
        })
    }

    /// Wraps a key; `None` if there is no randomness.
    pub fn wrap(&self, key: &TicketKey) -> Option<String> {
        let mut octets = Vec::with_capacity(TicketKey::OCTETS + TAG);
        key.write(&mut octets);
        self.seal(octets, &self.beside)
    }

    /// Opens what `wrap` gave.
    pub fn open(&self, wrapped: &str) -> Result<TicketKey, KeyRefusal> {
        let read = |octets: Vec<u8>| TicketKey::read(&octets);
        self.opened(wrapped, &self.beside, |len| len == TicketKey::OCTETS + TAG, read)
    }

    /// Wraps what members tell each other of certificates that are ordered.
    pub fn wrap_issuing(&self, octets: &[u8]) -> Option<String> {
        self.seal(octets.to_vec(), &self.beside_issuing)
    }

    /// Opens what `wrap_issuing` gave.
    pub fn open_issuing(&self, wrapped: &str) -> Result<Vec<u8>, KeyRefusal> {
        self.opened(wrapped, &self.beside_issuing, |len| len >= TAG, Some)
    }

    fn seal(&self, mut octets: Vec<u8>, beside: &[u8]) -> Option<String> {
        let nonce = self.wraps.seal_in_place_append_tag(Aad::from(beside), &mut octets).ok()?;
        Some(STANDARD.encode([&[VERSION][..], nonce.as_ref(), &octets].concat()))
    }

    fn opened<T>(
        &self,
        wrapped: &str,
        beside: &[u8],
        fits: impl Fn(usize) -> bool,
        read: impl Fn(Vec<u8>) -> Option<T>,
    ) -> Result<T, KeyRefusal> {
        let octets = STANDARD.decode(wrapped).map_err(|_| KeyRefusal::Malformed)?;
        let (version, rest) = octets.split_first().ok_or(KeyRefusal::Malformed)?;
        if *version != VERSION {
            return Err(KeyRefusal::Version);
        }
        let (nonce, sealed) = rest.split_first_chunk::<12>().ok_or(KeyRefusal::Malformed)?;
        if !fits(sealed.len()) {
            return Err(KeyRefusal::Malformed);
        }
        let under = |key: &RandomizedNonceKey| {
            let (nonce, mut opened) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
            let octets = key.open_in_place(nonce, Aad::from(beside), &mut opened).ok()?;
            read(octets.to_vec())
        };
        let opened = under(&self.wraps).or_else(|| under(self.before.as_ref()?));
        opened.ok_or(KeyRefusal::Unopened)
    }
}

// The secret may serve several fleets: each has a key of its own.
fn derived(secret: &Secret<Vec<u8>>, fleet: &str) -> Option<RandomizedNonceKey> {
    let base = hkdf::Salt::new(hkdf::HKDF_SHA256, b"foreshore ticket wrapping 1");
    let base = base.extract(secret.expose());
    let mut key = [0; 32];
    base.expand(&[fleet.as_bytes()], hkdf::HKDF_SHA256).ok()?.fill(&mut key).ok()?;
    RandomizedNonceKey::new(&AES_256_GCM, &key).ok()
}

#[cfg(test)]
mod tests {
    use super::super::ticket_keys::{KeyId, SEALS};
    use super::*;
    use crate::semantics::time::Timestamp;

    fn wrapping(fleet: &str, wraps: u8, before: Option<u8>) -> Wrapping {
        let secret = |octet: u8| Secret::new(vec![octet; 32]);
        let secrets = TicketSecrets { wraps: secret(wraps), before: before.map(secret) };
        Wrapping::new(fleet, &secrets).unwrap()
    }

    fn wrapped(by: &Wrapping) -> String {
        let made_at = Timestamp::from_secs(1_000_000_000);
        let secret = Secret::new([7; 32]);
        by.wrap(&TicketKey { id: KeyId([5; 8]), made_at, seals: SEALS, secret }).unwrap()
    }

    #[test]
    fn a_key_comes_out_as_it_went_in() {
        let shop = wrapping("shop", 1, None);
        let key = shop.open(&wrapped(&shop)).unwrap();
        assert_eq!((key.id, key.made_at.secs(), key.seals), (KeyId([5; 8]), 1_000_000_000, SEALS));
        assert_eq!(key.secret.expose(), &[7; 32]);
        assert_ne!(wrapped(&shop), wrapped(&shop));
    }

    #[test]
    fn only_the_same_fleet_with_the_same_key_opens_it() {
        let given = wrapped(&wrapping("shop", 1, None));
        let open = |by: Wrapping| by.open(&given).map(|key| key.id).map_err(KeyRefusal::name);
        assert_eq!(open(wrapping("shop", 2, Some(1))), Ok(KeyId([5; 8])));
        assert_eq!(open(wrapping("shop", 2, None)), Err("unopened"));
        assert_eq!(open(wrapping("shop", 2, Some(3))), Err("unopened"));
        assert_eq!(open(wrapping("shops", 1, None)), Err("unopened"));
        // One that rotates goes on wrapping under the newer one.
        let newer = wrapped(&wrapping("shop", 2, Some(1)));
        assert!(wrapping("shop", 1, None).open(&newer).is_err());
        assert!(wrapping("shop", 1, Some(2)).open(&newer).is_ok());
    }

    #[test]
    fn whatever_is_altered_is_refused() {
        let shop = wrapping("shop", 1, None);
        let whole = STANDARD.decode(wrapped(&shop)).unwrap();
        let open = |octets: &[u8]| shop.open(&STANDARD.encode(octets)).err();
        assert_eq!(open(&whole), None);
        for at in 0..whole.len() {
            assert_eq!(open(&whole[..at]), Some(KeyRefusal::Malformed), "{at}");
            let mut altered = whole.clone();
            altered[at] ^= 1;
            let why = if at == 0 { KeyRefusal::Version } else { KeyRefusal::Unopened };
            assert_eq!(open(&altered), Some(why), "{at}");
        }
        assert_eq!(open(&[&whole[..], &[0]].concat()), Some(KeyRefusal::Malformed));
        for text in ["", "k", "=", "not base64", &"A".repeat(4096)[..]] {
            assert!(shop.open(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_told_of_certificates_is_no_key_and_no_key_is_that() {
        let shop = wrapping("shop", 1, None);
        let told = shop.wrap_issuing(b"a chain").unwrap();
        assert_eq!(shop.open_issuing(&told).unwrap(), b"a chain");
        assert_eq!(wrapping("shop", 2, Some(1)).open_issuing(&told).unwrap(), b"a chain");
        assert!(wrapping("shops", 1, None).open_issuing(&told).is_err());
        assert!(shop.open_issuing(&wrapped(&shop)).is_err() && shop.open(&told).is_err());
        let as_long = shop.wrap_issuing(&[0; TicketKey::OCTETS]).unwrap();
        assert_eq!(shop.open(&as_long).err(), Some(KeyRefusal::Unopened));
    }

    #[test]
    fn configured_keys_are_read_in_both_forms() {
        let digits = "0123456789abcdefABCDEF0123456789".repeat(2);
        assert_eq!(read_key(&digits).unwrap().expose().len(), 32);
        let octets: Vec<u8> = (0..64).collect();
        let text = STANDARD.encode(&octets);
        // As `openssl rand -base64` breaks its lines.
        let lines = format!("{}\n{}\n", &text[..64], &text[64..]);
        assert_eq!(read_key(&lines).unwrap().expose(), &octets);
        for (bad, why) in [
            (&digits[..62], "31 octets"),
            (&STANDARD.encode([1; 31])[..], "31 octets"),
            ("let me in", "neither"),
            (&digits[..63], "neither"),
        ] {
            let said = read_key(bad).unwrap_err();
            assert!(said.contains(why) && !said.contains(bad), "{said}");
        }
    }
}
