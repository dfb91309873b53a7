//! What a CA that looks for a proof is to see: answers over HTTP, and certificates of their own in
//! a TLS handshake (RFC 8555 §8.3, RFC 8737).
//!
//! While no order is open, a listener looks at one number and goes on.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rcgen::{CertificateParams, CustomExtension, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

use crate::sync::Mutex;

/// What a CA says in the handshake, and nobody else does.
pub const ALPN: &[u8] = b"acme-tls/1";
/// Where it looks for a file.
const PATH: &str = "/.well-known/acme-challenge/";

/// One answer.
pub enum Answer {
    /// A text at a token's path.
    Http { token: String, text: String },
    /// A certificate for a name (lower case).
    Tls { name: String, config: Arc<ServerConfig> },
}

/// The answers of all orders that are open, by certificate.
#[derive(Default)]
pub struct Challenges {
    /// How many there are.
    open: AtomicUsize,
    by_entry: Mutex<HashMap<String, Vec<Answer>>>,
}

impl Challenges {
    /// Says whether any order is open.
    pub fn is_pending(&self) -> bool {
        self.open.load(Ordering::Acquire) != 0
    }

    /// Puts answers in the place of those that a certificate has; none takes them away.
    pub fn put(&self, entry: &str, answers: Vec<Answer>) {
        let mut all = self.by_entry.lock();
        if answers.is_empty() {
            all.remove(entry);
        } else {
            all.insert(entry.to_string(), answers);
        }
        self.open.store(all.values().map(Vec::len).sum(), Ordering::Release);
    }

    /// The text for a path, if it is one that a CA looks at.
    pub fn text(&self, path: &str) -> Option<String> {
        let wanted = path.strip_prefix(PATH)?;
        let all = self.by_entry.lock();
        all.values().flatten().find_map(|answer| match answer {
            Answer::Http { token, text } if token == wanted => Some(text.clone()),
            _ => None,
        })
    }

    /// The settings for a handshake about a name.
    pub fn config(&self, server_name: &str) -> Option<Arc<ServerConfig>> {
        let all = self.by_entry.lock();
        all.values().flatten().find_map(|answer| match answer {
            Answer::Tls { name, config } if name.eq_ignore_ascii_case(server_name) => {
                Some(Arc::clone(config))
            }
            _ => None,
        })
    }
}

/// The answer to tls-alpn-01: a certificate for the name alone, with the digest (SHA-256) of the
/// proof in it.
pub fn tls_answer(name: &str, digest: &[u8; 32]) -> Result<Answer, String> {
    let told = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(vec![name.to_string()]).map_err(told)?;
    params.custom_extensions = vec![CustomExtension::new_acme_identifier(digest)];
    let key = KeyPair::generate().map_err(told)?;
    let certificate = params.self_signed(&key).map_err(told)?;
    let chain: Vec<CertificateDer<'static>> = vec![certificate.der().clone()];
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let key = provider.key_provider.load_private_key(key).map_err(|error| error.to_string())?;
    // Not by `with_single_cert`: that reads the certificate, and refuses the extension, which has
    // to be critical (RFC 8737 §3).
    let certified = SingleCertAndKey::from(CertifiedKey::new(chain, key));
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(certified));
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Answer::Tls { name: name.to_ascii_lowercase(), config: Arc::new(config) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn http(token: &str) -> Answer {
        Answer::Http { token: token.into(), text: format!("{token}.thumb") }
    }

    #[test]
    fn answers_are_found_while_their_order_is_open_and_no_longer() {
        let all = Challenges::default();
        assert!(!all.is_pending() && all.text("/.well-known/acme-challenge/a").is_none());
        all.put("one", vec![http("a"), http("b")]);
        all.put("two", vec![tls_answer("www.test", &[7; 32]).unwrap()]);
        assert!(all.is_pending());
        let text = |token: &str| all.text(&format!("/.well-known/acme-challenge/{token}"));
        assert_eq!(text("b").as_deref(), Some("b.thumb"));
        for other in ["", "c", "a/", "../a", "A"] {
            assert_eq!(text(other), None, "{other:?}");
        }
        assert_eq!(all.text("/a"), None);
        assert!(all.config("WWW.test").is_some() && all.config("a.www.test").is_none());
        assert_eq!(all.config("www.test").unwrap().alpn_protocols, [ALPN]);
        all.put("one", Vec::new());
        assert!(text("b").is_none() && all.is_pending());
        all.put("two", Vec::new());
        assert!(!all.is_pending() && all.config("www.test").is_none());
    }
}
