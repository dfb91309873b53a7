//! Pure: a certificate that signs itself, in the place of one that a CA has not issued yet: viewers
//! who take it get their answer, and all others learn that the edge is there.

use rcgen::{CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};

use crate::base::secret::Secret;
use crate::distribution::certificate::{Certificate, KeyKind, Serves};
use crate::semantics::time::Timestamp;

/// Makes one for DNS names; `source` is what messages call it.
pub fn certificate(names: &[String], source: String) -> Result<Certificate, String> {
    let told = |error: rcgen::Error| error.to_string();
    let mut params = CertificateParams::new(names.to_vec()).map_err(told)?;
    params.distinguished_name.push(DnType::CommonName, "Foreshore, until a CA has issued one");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate().map_err(told)?;
    let made = params.self_signed(&key).map_err(told)?;
    Ok(Certificate {
        chain: vec![made.der().to_vec()],
        key: Secret::new(key.serialize_der()),
        kind: KeyKind::Ecdsa,
        names: names.to_vec(),
        // It has no end: it goes with the first that is issued.
        not_after: Timestamp::from_secs(253_370_764_800),
        source,
        ids: Vec::new(),
        serves: Serves::UntilIssued,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::certified::certified_key;

    #[test]
    fn it_can_be_served_for_its_names() {
        let names = ["www.test".to_string(), "*.www.test".to_string()];
        let made = certificate(&names, "here".into()).unwrap();
        assert_eq!(made.names, names);
        certified_key(&made, &rustls::crypto::aws_lc_rs::default_provider()).unwrap();
    }
}
