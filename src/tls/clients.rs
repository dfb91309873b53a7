//! Which names the other end of a connection that comes in has, by a certificate of its own.
//!
//! One is asked for and not insisted on: a client that has none is a viewer like any other. What
//! the names in it are good for is decided elsewhere.

use std::sync::Arc;

use aws_lc_rs::digest;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{ProducesTickets, WebPkiClientVerifier};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// What checks certificates that are shown against these roots (DER): the chain, the dates, and
/// that it is one for clients. The error says which root cannot be used.
pub fn verifier(
    roots: &[Vec<u8>],
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, String> {
    let mut store = RootCertStore::empty();
    for der in roots {
        store
            .add(CertificateDer::from(der.clone()))
            .map_err(|error| format!("a CA certificate cannot be used: {error}"))?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(store), provider)
        .allow_unauthenticated()
        .build()
        .map_err(|error| error.to_string())
}

/// The names that a certificate stands for which was shown and found good: of hosts, in lower case,
/// and URIs as they are. `None` where none was shown.
pub fn names(shown: Option<&[CertificateDer<'_>]>) -> Option<Arc<[String]>> {
    let leaf = shown?.first()?;
    let (_, parsed) = X509Certificate::from_der(leaf).ok()?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::URI(uri) => Some((*uri).to_string()),
        _ => None,
    };
    let Ok(Some(extension)) = parsed.subject_alternative_name() else {
        return Some(Arc::new([]));
    };
    Some(extension.value.general_names.iter().filter_map(name).collect())
}

/// Tickets that are good only where the same roots count. A session that is taken up again brings
/// the certificate along that was shown when it began, and that is not looked at again.
#[derive(Debug)]
pub struct UnderRoots {
    tickets: Arc<dyn ProducesTickets>,
    roots: digest::Digest,
}

impl UnderRoots {
    /// The same tickets, under these roots (DER).
    pub fn new(tickets: Arc<dyn ProducesTickets>, roots: &[Vec<u8>]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for der in roots {
            context.update(&(der.len() as u64).to_le_bytes());
            context.update(der);
        }
        Self { tickets, roots: context.finish() }
    }
}

impl ProducesTickets for UnderRoots {
    fn enabled(&self) -> bool {
        self.tickets.enabled()
    }

    fn lifetime(&self) -> u32 {
        self.tickets.lifetime()
    }

    fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let roots: &[u8] = self.roots.as_ref();
        self.tickets.encrypt(&[roots, plain].concat())
    }

    fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
        let (opened, roots) = (self.tickets.decrypt(ticket)?, self.roots);
        let roots: &[u8] = roots.as_ref();
        opened.strip_prefix(roots).map(<[u8]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
        KeyUsagePurpose, SanType,
    };
    use rustls::pki_types::UnixTime;

    use super::*;

    struct Authority {
        root: Vec<u8>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn authority() -> Authority {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate().unwrap();
        let root = params.self_signed(&key).unwrap().der().to_vec();
        Authority { root, issuer: Issuer::new(params, key) }
    }

    fn certificate(
        authority: &Authority,
        usage: ExtendedKeyUsagePurpose,
        names: &[&str],
    ) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.subject_alt_names.push(SanType::URI("spiffe://fleet/Edge-1".try_into().unwrap()));
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2027, 1, 1);
        params.extended_key_usages = vec![usage];
        params.signed_by(&KeyPair::generate().unwrap(), &authority.issuer).unwrap().der().clone()
    }

    #[test]
    fn a_certificate_is_a_clients_by_a_known_root_and_within_its_dates() {
        let (known, stranger) = (authority(), authority());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = verifier(std::slice::from_ref(&known.root), provider).unwrap();
        assert!(verifier.offer_client_auth() && !verifier.client_auth_mandatory());
        let (client, server) =
            (ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth);
        for (authority, usage, secs, holds) in [
            (&known, client.clone(), 1_780_000_000, true),
            (&known, client.clone(), 1_760_000_000, false),
            (&known, client.clone(), 1_800_000_000, false),
            (&known, server, 1_780_000_000, false),
            (&stranger, client, 1_780_000_000, false),
        ] {
            let shown = certificate(authority, usage, &["edge-1.internal"]);
            let now = UnixTime::since_unix_epoch(Duration::from_secs(secs));
            let judged = verifier.verify_client_cert(&shown, &[], now);
            assert_eq!(judged.is_ok(), holds, "{secs}: {judged:?}");
        }
    }

    #[test]
    fn names_are_those_of_the_one_who_shows_it() {
        let known = authority();
        let shown =
            certificate(&known, ExtendedKeyUsagePurpose::ClientAuth, &["Edge-1.Internal", "b"]);
        let of = names(Some(&[shown])).unwrap();
        assert_eq!(*of, ["edge-1.internal", "b", "spiffe://fleet/Edge-1"].map(String::from));
        assert_eq!((names(None), names(Some(&[]))), (None, None));
    }

    // Shuts tickets by turning every octet over.
    #[derive(Debug)]
    struct Turned;

    impl ProducesTickets for Turned {
        fn enabled(&self) -> bool {
            true
        }

        fn lifetime(&self) -> u32 {
            7
        }

        fn encrypt(&self, plain: &[u8]) -> Option<Vec<u8>> {
            Some(plain.iter().map(|octet| !octet).collect())
        }

        fn decrypt(&self, ticket: &[u8]) -> Option<Vec<u8>> {
            self.encrypt(ticket)
        }
    }

    #[test]
    fn a_ticket_opens_under_the_roots_it_was_given_under() {
        let under = |roots: &[&[u8]]| {
            let roots: Vec<Vec<u8>> = roots.iter().map(|der| der.to_vec()).collect();
            UnderRoots::new(Arc::new(Turned), &roots)
        };
        let ticket = under(&[b"ab", b"c"]).encrypt(b"session").unwrap();
        assert_eq!(under(&[b"ab", b"c"]).decrypt(&ticket).unwrap(), b"session");
        let others: [&[&[u8]]; 3] = [&[b"a", b"bc"], &[b"ab"], &[]];
        for others in others {
            assert_eq!(under(others).decrypt(&ticket), None);
        }
        assert_eq!(under(&[b"ab"]).decrypt(&Turned.encrypt(b"session").unwrap()), None);
    }
}
