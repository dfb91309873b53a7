//! Pure: what an account signs, and with what: JSON Web Signatures by ES256 (RFC 7515, RFC 7518),
//! and the thumbprint that proofs are made of (RFC 7638).

use aws_lc_rs::digest;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use crate::base::secret::Secret;

/// Base64 as the protocol has it: for URLs, without padding.
pub fn base64url(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

/// The key of an account: ECDSA over P-256.
pub struct AccountKey {
    pair: EcdsaKeyPair,
    pkcs8: Secret<Vec<u8>>,
}

/// By what the CA knows who signs.
#[derive(Clone, Copy)]
pub enum By<'k> {
    /// The key itself: there is no account yet.
    Key,
    /// The account's URL.
    Account(&'k str),
}

impl AccountKey {
    /// A new key.
    pub fn generate() -> Result<Self, String> {
        let failed = |_| "no key could be made".to_string();
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(failed)?;
        let document = pair.to_pkcs8v1().map_err(failed)?;
        let pkcs8 = Secret::new(document.as_ref().to_vec());
        Ok(Self { pair, pkcs8 })
    }

    /// A key that was kept, as PKCS #8.
    pub fn from_pkcs8(octets: &[u8]) -> Result<Self, String> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, octets)
            .map_err(|error| format!("no account key: {error}"))?;
        Ok(Self { pair, pkcs8: Secret::new(octets.to_vec()) })
    }

    /// The key to keep.
    pub const fn pkcs8(&self) -> &Secret<Vec<u8>> {
        &self.pkcs8
    }

    // The public half, members in the order of the alphabet, as a thumbprint wants them: (x, y).
    fn point(&self) -> (String, String) {
        let point = self.pair.public_key().as_ref();
        // An uncompressed point: a 4, then two numbers of 32 octets.
        let half = |from: usize| base64url(point.get(from..from + 32).unwrap_or_default());
        (half(1), half(33))
    }

    /// The public key as a JSON Web Key.
    pub fn jwk(&self) -> Value {
        let (x, y) = self.point();
        json!({ "crv": "P-256", "kty": "EC", "x": x, "y": y })
    }

    /// What identifies the key in a proof.
    pub fn thumbprint(&self) -> String {
        let (x, y) = self.point();
        let text = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
        base64url(digest::digest(&digest::SHA256, text.as_bytes()).as_ref())
    }

    /// A proof for a challenge (RFC 8555 §8.1).
    pub fn authorization(&self, token: &str) -> String {
        format!("{token}.{}", self.thumbprint())
    }

    /// A signed request for a URL. Without a payload it asks for what is there (POST-as-GET).
    pub fn sign(
        &self,
        by: By<'_>,
        url: &str,
        nonce: &str,
        payload: Option<&Value>,
    ) -> Result<Vec<u8>, String> {
        let header = match by {
            By::Key => json!({ "alg": "ES256", "jwk": self.jwk(), "nonce": nonce, "url": url }),
            By::Account(kid) => json!({ "alg": "ES256", "kid": kid, "nonce": nonce, "url": url }),
        };
        let (protected, payload) = (base64url(header.to_string().as_bytes()), encoded(payload));
        let input = format!("{protected}.{payload}");
        let signature = self
            .pair
            .sign(&SystemRandom::new(), input.as_bytes())
            .map_err(|_| "the account key does not sign".to_string())?;
        let signature = base64url(signature.as_ref());
        Ok(whole(&protected, &payload, &signature).to_string().into_bytes())
    }

    /// What binds the account to another that the CA knows (RFC 8555 §7.3.4).
    pub fn bind(&self, kid: &str, key: &Secret<Vec<u8>>, url: &str) -> Value {
        let header = json!({ "alg": "HS256", "kid": kid, "url": url });
        let protected = base64url(header.to_string().as_bytes());
        let payload = encoded(Some(&self.jwk()));
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.expose());
        let tag = hmac::sign(&key, format!("{protected}.{payload}").as_bytes());
        whole(&protected, &payload, &base64url(tag.as_ref()))
    }
}

fn encoded(payload: Option<&Value>) -> String {
    payload.map_or_else(String::new, |payload| base64url(payload.to_string().as_bytes()))
}

fn whole(protected: &str, payload: &str, signature: &str) -> Value {
    json!({ "protected": protected, "payload": payload, "signature": signature })
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

    fn text(part: &Value) -> String {
        let octets = URL_SAFE_NO_PAD.decode(part.as_str().unwrap()).unwrap();
        String::from_utf8(octets).unwrap()
    }

    #[test]
    fn a_request_holds_against_the_key_it_names_and_no_other() {
        let (key, other) = (AccountKey::generate().unwrap(), AccountKey::generate().unwrap());
        let signed = key.sign(By::Key, "https://ca.test/new", "n1", Some(&json!({}))).unwrap();
        let signed: Value = serde_json::from_slice(&signed).unwrap();
        let header: Value = serde_json::from_str(&text(&signed["protected"])).unwrap();
        assert_eq!(header["jwk"], key.jwk());
        assert_eq!(
            (&header["nonce"], &header["url"]),
            (&json!("n1"), &json!("https://ca.test/new"))
        );
        assert_eq!(text(&signed["payload"]), "{}");
        let input = format!(
            "{}.{}",
            signed["protected"].as_str().unwrap(),
            signed["payload"].as_str().unwrap()
        );
        let signature = URL_SAFE_NO_PAD.decode(signed["signature"].as_str().unwrap()).unwrap();
        assert_eq!(signature.len(), 64);
        for (by, holds) in [(&key, true), (&other, false)] {
            let public = by.pair.public_key().as_ref().to_vec();
            let checked = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, public)
                .verify(input.as_bytes(), &signature);
            assert_eq!(checked.is_ok(), holds);
        }
    }

    #[test]
    fn asking_for_what_is_there_has_no_payload_and_the_accounts_name() {
        let key = AccountKey::generate().unwrap();
        let signed = key.sign(By::Account("https://ca.test/a/1"), "https://x.test/", "n", None);
        let signed: Value = serde_json::from_slice(&signed.unwrap()).unwrap();
        let header: Value = serde_json::from_str(&text(&signed["protected"])).unwrap();
        assert_eq!(signed["payload"], "");
        assert_eq!(header["kid"], "https://ca.test/a/1");
        assert!(header.get("jwk").is_none());
    }

    #[test]
    fn a_kept_key_is_the_same_key() {
        let key = AccountKey::generate().unwrap();
        let again = AccountKey::from_pkcs8(key.pkcs8().expose()).unwrap();
        assert_eq!(again.thumbprint(), key.thumbprint());
        assert_eq!(key.thumbprint().len(), 43);
        assert_eq!(key.authorization("t"), format!("t.{}", key.thumbprint()));
        assert!(AccountKey::from_pkcs8(b"nonsense").is_err());
    }

    #[test]
    fn a_binding_is_over_the_key_and_the_url() {
        let key = AccountKey::generate().unwrap();
        let secret = Secret::new(b"of the CA".to_vec());
        let bound = key.bind("kid-1", &secret, "https://ca.test/new-account");
        let header: Value = serde_json::from_str(&text(&bound["protected"])).unwrap();
        assert_eq!(
            header,
            json!({ "alg": "HS256", "kid": "kid-1", "url": "https://ca.test/new-account" })
        );
        let payload: Value = serde_json::from_str(&text(&bound["payload"])).unwrap();
        assert_eq!(payload, key.jwk());
    }
}
