//! TLS to origins and parents: the chain, the dates and the name are checked, always.

use std::sync::{Arc, OnceLock};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::exchange::failure::{Failure, FailureKind};

/// Builds the settings for one origin; the error says what is wrong with its certificates.
pub fn client_config(tls: &OriginTls) -> Result<Arc<ClientConfig>, String> {
    let roots = match &tls.roots {
        Roots::System => system_roots().clone(),
        Roots::Given(all) => {
            let mut store = RootCertStore::empty();
            for der in all {
                store.add(CertificateDer::from(der.clone())).map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
            }
            store
        }
    };
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            let key = PrivateKeyDer::try_from(identity.key.expose().clone()).map_err(String::from)?;
            builder.with_client_auth_cert(chain, key).map_err(|error| format!("the client certificate cannot be used: {error}"))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

// Read once: hundreds of certificates, parsed in tens of milliseconds.
fn system_roots() -> &'static RootCertStore {
    static ROOTS: OnceLock<RootCertStore> = OnceLock::new();
    ROOTS.get_or_init(|| {
        let found = rustls_native_certs::load_native_certs();
        for error in &found.errors {
            tracing::warn!(%error, "a system root certificate could not be read");
        }
        let mut store = RootCertStore::empty();
        let (added, _) = store.add_parsable_certificates(found.certs);
        if added == 0 {
            tracing::warn!("the system has no root certificates: https origins need `tls.ca`, or install ca-certificates");
        }
        store
    })
}

/// The name that SNI and the certificate must have.
pub fn server_name(host: &str) -> Result<ServerName<'static>, Failure> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_string();
    ServerName::try_from(bare)
        .map_err(|_| Failure::new(FailureKind::CertificateError, format!("{host:?} is no name a certificate can have")))
}

/// Puts a handshake error into our words.
pub fn failure(error: &std::io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            Failure::new(FailureKind::CertificateError, format!("the origin's certificate is not valid: {why}"))
        }
        Some(other) => Failure::new(FailureKind::TlsError, other.to_string()),
        None => Failure::new(FailureKind::TlsError, error.to_string()),
    }
}
