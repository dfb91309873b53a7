//! TLS to origins and parents: the chain, the dates and the name are checked, always.
//!
//! Sessions are resumed for the name they were made for only: each origin has settings, and so a
//! session store, of its own, and the store goes by name and holds a few dozen of them.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use crate::distribution::origin::{OriginTls, Roots, TlsVersion};
use crate::message::failure::{Failure, FailureKind};

/// Builds settings under which a certificate is for the name that is asked for; the error says what
/// is wrong with our own or the CA's.
pub fn client_config(tls: &OriginTls) -> Result<Arc<ClientConfig>, String> {
    config_for(tls, None)
}

/// The same, where a certificate may be for `own` too: the name of an origin that is asked by the
/// Hosts it is sent. It may be for any of `more_names` in either case.
pub fn config_for(tls: &OriginTls, own: Option<&str>) -> Result<Arc<ClientConfig>, String> {
    let roots = roots(&tls.roots)?;
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?;
    let names = own.into_iter().chain(tls.more_names.iter().map(String::as_str));
    let names: Vec<ServerName<'static>> =
        names.filter_map(|name| ServerName::try_from(name.to_string()).ok()).collect();
    // Without roots nothing is trusted, by whatever name.
    let builder = if names.is_empty() || roots.is_empty() {
        builder.with_root_certificates(roots)
    } else {
        builder.dangerous().with_custom_certificate_verifier(any_name(roots, provider, names)?)
    };
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let chain =
                identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
            let key =
                PrivateKeyDer::try_from(identity.key.expose().clone()).map_err(String::from)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| format!("the client certificate cannot be used: {error}"))?
        }
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The same settings for a connection that speaks HTTP/2 if the other side chooses it (RFC 7301).
pub fn offering_h2(config: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = config.clone();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Arc::new(config)
}

fn any_name(
    roots: RootCertStore,
    provider: Arc<CryptoProvider>,
    names: Vec<ServerName<'static>>,
) -> Result<Arc<AnyName>, String> {
    let webpki = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(AnyName { webpki, names }))
}

/// Checks a certificate as webpki does for the name that is asked for, and once more for each of some
/// others if only the name was wrong. Everything else about it, the chain, the dates and the
/// signatures, is webpki's to judge, each time.
#[derive(Debug)]
struct AnyName {
    webpki: Arc<WebPkiServerVerifier>,
    names: Vec<ServerName<'static>>,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let check = |name: &ServerName<'_>| {
            self.webpki.verify_server_cert(end_entity, intermediates, name, ocsp_response, now)
        };
        check(server_name).or_else(|error| {
            if !is_about_the_name(&error) {
                return Err(error);
            }
            self.names.iter().find_map(|name| check(name).ok()).ok_or(error)
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.webpki.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.webpki.supported_verify_schemes()
    }
}

// webpki looks at the name last: everything else about the certificate holds.
const fn is_about_the_name(error: &rustls::Error) -> bool {
    matches!(
        error,
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }
        )
    )
}

/// What certificates have to be vouched for by; the error says what is wrong with a CA's.
pub fn roots(wanted: &Roots) -> Result<RootCertStore, String> {
    match wanted {
        Roots::System => Ok(system_roots().clone()),
        Roots::Given(all) => {
            let mut store = RootCertStore::empty();
            for der in all {
                store
                    .add(CertificateDer::from(der.clone()))
                    .map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
            }
            Ok(store)
        }
    }
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
    ServerName::try_from(bare).map_err(|_| {
        Failure::new(
            FailureKind::CertificateError,
            format!("{host:?} is no name a certificate can have"),
        )
    })
}

/// Puts a handshake error into our words.
pub fn failure(error: &std::io::Error) -> Failure {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match inner {
        Some(rustls::Error::InvalidCertificate(why)) => Failure::new(
            FailureKind::CertificateError,
            format!("the origin's certificate is not valid: {why}"),
        ),
        Some(other) => Failure::new(FailureKind::TlsError, other.to_string()),
        None => Failure::new(FailureKind::TlsError, error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose};

    use super::*;

    /// In the middle of the year that the certificates are for; before it; behind it.
    const WITHIN: u64 = 1_780_000_000;
    const BEFORE: u64 = 1_760_000_000;
    const BEHIND: u64 = 1_800_000_000;

    struct Authority {
        root: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().clone();
        Authority { root, issuer: Issuer::new(params, key) }
    }

    fn certificate(authority: &Authority, names: &[&str]) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.signed_by(&KeyPair::generate().unwrap(), &authority.issuer).unwrap().der().clone()
    }

    fn judge(
        verifier: &AnyName,
        shown: &CertificateDer<'_>,
        asked: &str,
        secs: u64,
    ) -> Result<(), rustls::Error> {
        let asked = ServerName::try_from(asked).unwrap();
        verifier
            .verify_server_cert(
                shown,
                &[],
                &asked,
                &[],
                UnixTime::since_unix_epoch(Duration::from_secs(secs)),
            )
            .map(|_| ())
    }

    #[test]
    fn any_of_several_names_will_do() {
        let known = authority();
        let mut roots = RootCertStore::empty();
        roots.add(known.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let names = ["alb.test", "b.test"].map(|name| ServerName::try_from(name).unwrap());
        let verifier = any_name(roots, provider, names.to_vec()).unwrap();
        for (name, holds) in
            [("www.test", true), ("alb.test", true), ("b.test", true), ("c.test", false)]
        {
            let judged = judge(&verifier, &certificate(&known, &[name]), "www.test", WITHIN);
            assert_eq!(judged.is_ok(), holds, "{name}: {judged:?}");
        }
    }

    #[test]
    fn a_certificate_is_for_the_name_asked_for_or_the_origins_own_and_holds_otherwise() {
        let (known, stranger) = (authority(), authority());
        let mut roots = RootCertStore::empty();
        roots.add(known.root.clone()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            any_name(roots, provider, vec![ServerName::try_from("alb.test").unwrap()]).unwrap();
        let table: [(&[&str], &str, bool); 10] = [
            (&["www.test"], "www.test", true),
            (&["alb.test"], "www.test", true),
            (&["alb.test", "www.test"], "third.test", true),
            (&["*.site.test"], "www.site.test", true),
            (&["alb.test"], "192.0.2.1", true),
            (&["192.0.2.1"], "192.0.2.1", true),
            (&["www.test"], "third.test", false),
            (&["third.test"], "www.test", false),
            (&["*.alb.test"], "www.test", false),
            (&["192.0.2.2"], "192.0.2.1", false),
        ];
        for (names, asked, holds) in table {
            let judged = judge(&verifier, &certificate(&known, names), asked, WITHIN);
            assert_eq!(judged.is_ok(), holds, "{names:?} for {asked}: {judged:?}");
            assert!(holds || judged.as_ref().is_err_and(is_about_the_name), "{judged:?}");
        }
        for names in [&["www.test"][..], &["alb.test"], &["alb.test", "www.test"]] {
            let shown = certificate(&known, names);
            assert!(judge(&verifier, &shown, "www.test", BEFORE).is_err(), "{names:?} not yet");
            assert!(judge(&verifier, &shown, "www.test", BEHIND).is_err(), "{names:?} no longer");
            assert!(
                judge(&verifier, &certificate(&stranger, names), "www.test", WITHIN).is_err(),
                "{names:?} by somebody else"
            );
        }
    }
}
