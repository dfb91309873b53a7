//! How the CA of tests looks for proofs (RFC 8555 §8.3, §8.4; RFC 8737), and which certificate a
//! viewer is shown.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, SignatureScheme};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::viewer::Viewer;

/// A place to look at.
#[derive(Clone, Debug)]
pub enum Looks {
    /// An edge, in clear text.
    Http(SocketAddr),
    /// An edge, over TLS.
    Tls(SocketAddr),
    /// A file that stands for DNS: lines of `name value`.
    Dns(PathBuf),
}

pub fn base64url(octets: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(octets)
}

pub fn sha256(octets: &[u8]) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets).as_ref().to_vec()
}

impl Looks {
    /// Looks for the proof of a name; the error says what is there instead.
    pub fn look(&self, kind: &str, name: &str, token: &str, proof: &str) -> Result<(), String> {
        match (self, kind) {
            (Self::Http(address), "http-01") => {
                let mut viewer = Viewer::try_connect(*address).ok_or("nothing listens")?;
                let path = format!("/.well-known/acme-challenge/{token}");
                viewer.send(
                    format!("GET {path} HTTP/1.1\r\nHost: {name}\r\nUser-Agent: ca\r\n\r\n")
                        .as_bytes(),
                );
                let seen = viewer.read("GET").ok_or("no answer")?;
                let is_proof = seen.status == 200 && seen.text() == proof;
                is_proof.then_some(()).ok_or(format!("{} {}", seen.status, seen.text()))
            }
            (Self::Tls(address), "tls-alpn-01") => {
                let (der, protocol) = shown(*address, name, Some(b"acme-tls/1"))?;
                if protocol.as_deref() != Some(&b"acme-tls/1"[..]) {
                    return Err(format!("another protocol: {protocol:?}"));
                }
                is_proof(&der, name, proof)
            }
            (Self::Dns(file), "dns-01") => {
                let wanted =
                    format!("_acme-challenge.{name} {}", base64url(&sha256(proof.as_bytes())));
                let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
                let is_there = text.lines().any(|line| line == wanted);
                is_there.then_some(()).ok_or(format!("no {wanted:?} in {text:?}"))
            }
            _ => Err(format!("{self:?} is no place for {kind}")),
        }
    }
}

// The certificate is for the name alone and has the critical extension with the proof's digest
// (RFC 8737 §3).
fn is_proof(der: &[u8], name: &str, proof: &str) -> Result<(), String> {
    let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
    let names = parsed.subject_alternative_name().map_err(|error| error.to_string())?;
    let is_alone = names.is_some_and(|found| {
        matches!(&*found.value.general_names, [GeneralName::DNSName(only)] if *only == name)
    });
    if !is_alone {
        return Err(format!("it is not for {name} alone"));
    }
    let found = parsed
        .extensions()
        .iter()
        .find(|one| one.oid.to_id_string() == "1.3.6.1.5.5.7.1.31")
        .ok_or("no proof in it")?;
    // An octet string of 32.
    let wanted = [&[4, 32][..], &sha256(proof.as_bytes())].concat();
    let is_proof = found.critical && found.value == wanted;
    is_proof.then_some(()).ok_or(format!("another proof: {:?}", found.value))
}

#[derive(Debug)]
struct Anyone;

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The certificate that whoever asks for a name is shown, trusted or not, and the protocol that was
/// chosen of the one that was offered.
pub fn shown(
    address: SocketAddr,
    name: &str,
    offered: Option<&[u8]>,
) -> Result<(Vec<u8>, Option<Vec<u8>>), String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| told(&error))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anyone))
        .with_no_client_auth();
    config.alpn_protocols = offered.into_iter().map(<[u8]>::to_vec).collect();
    let server_name = ServerName::try_from(name.to_string()).map_err(|error| told(&error))?;
    let session = rustls::ClientConnection::new(Arc::new(config), server_name);
    let mut session = session.map_err(|error| told(&error))?;
    let mut tcp = TcpStream::connect(address).map_err(|error| told(&error))?;
    tcp.set_read_timeout(Some(Duration::from_secs(20))).map_err(|error| told(&error))?;
    while session.is_handshaking() {
        session.complete_io(&mut tcp).map_err(|error| told(&error))?;
    }
    let leaf = session.peer_certificates().and_then(<[_]>::first).ok_or("no certificate")?;
    Ok((leaf.as_ref().to_vec(), session.alpn_protocol().map(<[u8]>::to_vec)))
}
