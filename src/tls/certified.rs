//! A certificate with its key, as rustls wants them.

use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use crate::distribution::certificate::Certificate;

/// Puts chain and key together; the error says why they cannot be used.
pub fn certified_key(
    certificate: &Certificate,
    provider: &rustls::crypto::CryptoProvider,
) -> Result<CertifiedKey, String> {
    let chain = certificate.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(certificate.key.expose().clone()).map_err(String::from)?;
    CertifiedKey::from_der(chain, key, provider).map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => "the key does not fit the certificate".to_string(),
        other => format!("certificate and key cannot be used: {other}"),
    })
}
