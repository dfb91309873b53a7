//! Keys of signed URLs and cookies: public ones check, private ones sign. RSA and ECDSA P-256, as
//! CloudFront has them.

use aws_lc_rs::digest;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA1_ASN1, ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair,
    RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256,
    RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::public_key::PublicKey as Parsed;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::semantics::time::Timestamp;

/// The hash that a signature is over. Nothing said means SHA-1, CloudFront's first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hash {
    Sha1,
    Sha256,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Rsa,
    Ecdsa,
}

/// A public key, known by CloudFront's id for it.
#[derive(Clone, Debug)]
pub struct PublicKey {
    pub id: String,
    kind: Kind,
    der: Vec<u8>,
    fingerprint: [u8; 32],
}

impl PublicKey {
    /// Reads a PEM file's text.
    pub fn from_pem(id: &str, pem: &[u8]) -> Result<Self, String> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem)
            .map_err(|_| "there is no PUBLIC KEY in it")?
            .to_vec();
        Self::from_der(id, der)
    }

    /// Reads the key of a certificate, from a PEM file's text, where the certificate is valid now.
    /// What has signed it is not looked at: whoever asks knows by other means whose it is.
    pub fn of_certificate(id: &str, pem: &[u8], now: Timestamp) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem)
            .map_err(|_| "there is no CERTIFICATE in it")?
            .to_vec();
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|_| "this certificate cannot be read")?;
        let seconds = i64::try_from(now.0 / 1000).unwrap_or(i64::MAX);
        let validity = certificate.validity();
        let (from, to) = (validity.not_before.timestamp(), validity.not_after.timestamp());
        if !(from..=to).contains(&seconds) {
            return Err("this certificate is not valid now".into());
        }
        Self::from_der(id, certificate.public_key().raw.to_vec())
    }

    // Reads a SubjectPublicKeyInfo.
    fn from_der(id: &str, der: Vec<u8>) -> Result<Self, String> {
        let (_, info) =
            SubjectPublicKeyInfo::from_der(&der).map_err(|_| "this public key cannot be read")?;
        let kind = match info.parsed() {
            Ok(Parsed::RSA(key)) if key.key_size() >= 2048 => Kind::Rsa,
            Ok(Parsed::RSA(_)) => return Err("an RSA key has at least 2048 bits".into()),
            Ok(Parsed::EC(point)) if point.key_size() == 256 => Kind::Ecdsa,
            _ => return Err("CloudFront knows RSA and ECDSA P-256 keys".into()),
        };
        let fingerprint: [u8; 32] = digest::digest(&digest::SHA256, &der)
            .as_ref()
            .try_into()
            .map_err(|_| "this public key has no digest")?;
        Ok(Self { id: id.to_string(), kind, der, fingerprint })
    }

    /// The SHA-256 of the key itself, whatever it is called: two keys that take turns under one id
    /// have two.
    pub const fn fingerprint(&self) -> &[u8; 32] {
        &self.fingerprint
    }

    /// The SubjectPublicKeyInfo of an RSA key; `None` of any other.
    pub fn rsa_der(&self) -> Option<&[u8]> {
        (self.kind == Kind::Rsa).then_some(&self.der[..])
    }

    /// Says whether a signature of this text was made with the private key to this one.
    pub fn verifies(&self, hash: Hash, text: &[u8], signature: &[u8]) -> bool {
        let algorithm: &'static dyn VerificationAlgorithm = match (self.kind, hash) {
            (Kind::Rsa, Hash::Sha1) => &RSA_PKCS1_2048_8192_SHA1_FOR_LEGACY_USE_ONLY,
            (Kind::Rsa, Hash::Sha256) => &RSA_PKCS1_2048_8192_SHA256,
            (Kind::Ecdsa, Hash::Sha1) => &ECDSA_P256_SHA1_ASN1,
            (Kind::Ecdsa, Hash::Sha256) => &ECDSA_P256_SHA256_ASN1,
        };
        UnparsedPublicKey::new(algorithm, &self.der).verify(text, signature).is_ok()
    }
}

/// A private key, for making signatures. It does not show itself.
pub enum PrivateKey {
    Rsa(Box<RsaKeyPair>),
    Ecdsa(Box<EcdsaKeyPair>),
}

impl PrivateKey {
    /// Reads a PEM file's text: PKCS#8, PKCS#1 or SEC1.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let der =
            PrivateKeyDer::from_pem_slice(pem).map_err(|_| "there is no PRIVATE KEY in it")?;
        let signing = &ECDSA_P256_SHA256_ASN1_SIGNING;
        let ecdsa = EcdsaKeyPair::from_private_key_der(signing, der.secret_der())
            .or_else(|_| EcdsaKeyPair::from_pkcs8(signing, der.secret_der()));
        if let Ok(pair) = ecdsa {
            return Ok(Self::Ecdsa(Box::new(pair)));
        }
        let rsa = RsaKeyPair::from_pkcs8(der.secret_der())
            .or_else(|_| RsaKeyPair::from_der(der.secret_der()));
        rsa.map(|pair| Self::Rsa(Box::new(pair)))
            .map_err(|_| "CloudFront knows RSA (2048 bits and more) and ECDSA P-256 keys".into())
    }

    /// A signature over SHA-256.
    pub fn sign(&self, text: &[u8]) -> Result<Vec<u8>, String> {
        let random = SystemRandom::new();
        match self {
            Self::Rsa(pair) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(&RSA_PKCS1_SHA256, &random, text, &mut out)
                    .map_err(|_| "signing failed")?;
                Ok(out)
            }
            Self::Ecdsa(pair) => {
                Ok(pair.sign(&random, text).map_err(|_| "signing failed")?.as_ref().to_vec())
            }
        }
    }
}
