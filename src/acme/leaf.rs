//! Pure: what there is to know of an issued certificate: its life, its names, and the id by which
//! its CA is asked about it.

use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::jws::base64url;
use super::renewal::Life;
use crate::semantics::time::Timestamp;

/// The first certificate of a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leaf {
    pub der: Vec<u8>,
    pub life: Life,
    pub names: Vec<String>,
    /// The public key, without what says of which kind it is.
    key: Vec<u8>,
    /// The id of RFC 9773 §4.1; `None` where the certificate names no key of its CA.
    pub id: Option<String>,
}

impl Leaf {
    /// Reads the first certificate of a PEM file.
    pub fn of_pem(pem: &[u8]) -> Result<Self, String> {
        let der = CertificateDer::from_pem_slice(pem).map_err(|error| error.to_string())?;
        Self::of_der(&der)
    }

    fn of_der(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der)
            .map_err(|error| format!("no X.509 certificate: {error}"))?;
        let moment = |secs: i64| Timestamp::from_secs(u64::try_from(secs).unwrap_or(0));
        let life = Life {
            from: moment(parsed.validity().not_before.timestamp()),
            until: moment(parsed.validity().not_after.timestamp()),
        };
        let key = parsed.extensions().iter().find_map(|one| match one.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(found) => {
                found.key_identifier.as_ref().map(|key| base64url(key.0))
            }
            _ => None,
        });
        let id = key.map(|key| format!("{key}.{}", base64url(parsed.raw_serial())));
        let (names, key_octets) =
            (names(&parsed), parsed.public_key().subject_public_key.data.to_vec());
        Ok(Self { der: der.to_vec(), life, names, key: key_octets, id })
    }

    /// Says whether it is about a public key, given as rcgen has it.
    pub fn is_of_key(&self, key: &[u8]) -> bool {
        self.key == key
    }

    /// Says whether it is for all of these names.
    pub fn is_for(&self, names: &[String]) -> bool {
        names.iter().all(|name| self.names.contains(name))
    }
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, SerialNumber};

    #[test]
    fn a_leaf_says_its_names_its_life_and_its_id() {
        let mut of = CertificateParams::new(Vec::new()).unwrap();
        of.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = Issuer::new(of, KeyPair::generate().unwrap());
        let names = vec!["a.test".to_string(), "*.a.test".to_string()];
        let mut params = CertificateParams::new(names.clone()).unwrap();
        params.not_before = rcgen::date_time_ymd(2026, 1, 1);
        params.not_after = rcgen::date_time_ymd(2026, 4, 1);
        params.serial_number = Some(SerialNumber::from(vec![0x12, 0x34]));
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate().unwrap();
        let made = params.signed_by(&key, &issuer).unwrap();
        let leaf = Leaf::of_pem(made.pem().as_bytes()).unwrap();
        assert!(leaf.is_for(&names) && leaf.is_for(&names[1..]));
        assert!(!leaf.is_for(&["b.test".to_string()]));
        assert!(leaf.is_of_key(key.public_key_raw()) && !leaf.is_of_key(b""));
        assert_eq!(leaf.life.until.millis_since(leaf.life.from), 90 * 86_400_000);
        let id = leaf.id.unwrap();
        assert!(id.ends_with(".EjQ") && id.len() > 10, "{id}");
        assert!(Leaf::of_pem(b"nonsense").is_err());
    }
}
