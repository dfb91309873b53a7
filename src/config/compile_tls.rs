//! Certificates and keys: read, matched to each other, their names and dates looked at.

use std::path::Path;

use toml::de::DeTable;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::decode;
use super::reader::{Collector, Table};
use super::scope::Scope;
use super::{MissingCertificates, WantedCertificate};
use crate::base::secret::Secret;
use crate::distribution::certificate::{Certificate, KeyKind, Serves};
use crate::distribution::origin::Identity;
use crate::semantics::time::{Timestamp, format_http_date};
use crate::tls::development::Place;

/// Reads a `[[certificate]]` of files: its chain, its key, and for which names they may be made.
pub fn from_files(mut table: Table<'_>, scope: &mut Scope<'_>) -> Option<Certificate> {
    let folder = scope.folder(table.source());
    let (chain, key) = (table.string("chain"), table.string("key"));
    let make_for = table.strings("make_for");
    let ids = ids(&mut table);
    let (Some(chain), Some(key)) = (chain, key) else {
        table.problem(
            &table.span(),
            "a [[certificate]] needs chain and key",
            Some("chain = \"site.pem\" and key = \"site.key\"; or acme, to order one".into()),
        );
        table.finish();
        return None;
    };
    let (chain_path, key_path) = (super::at(&folder, &chain.value), super::at(&folder, &key.value));
    scope.files.extend([chain_path.clone(), key_path.clone()]);
    let pending =
        make_for.is_some() && scope.making == MissingCertificates::Pending && !chain_path.exists();
    let certificate = if pending {
        scope.remarks.push(format!("{} will be made on start", chain_path.display()));
        Some(Certificate { ids, ..placeholder(&chain_path) })
    } else {
        let (now, known) = (scope.now, &mut scope.read.certificates);
        match known.get(&chain_path, &key_path, now, read_certificate) {
            Ok(certificate) => Some(Certificate { ids, ..certificate }),
            Err((part, why)) => {
                let place = match part {
                    Part::Chain => &chain.span,
                    Part::Key => &key.span,
                };
                table.problem(place, why, None);
                None
            }
        }
    };
    table.finish();
    certificate
}

/// What documents of the API call a certificate.
pub fn ids(table: &mut Table<'_>) -> Vec<String> {
    let ids = [table.string("arn"), table.string("iam_id")];
    ids.into_iter().flatten().map(|found| found.value).collect()
}

/// Reads those that were made for distributions of the API. One that cannot be used is made anew
/// when the edge starts, or with the next change.
pub fn made<'i>(
    ids: impl Iterator<Item = &'i str>,
    data: &Path,
    scope: &mut Scope<'_>,
) -> Vec<Certificate> {
    let mut all = Vec::new();
    for place in ids.map(|id| Place::of(data, id)).filter(|place| place.chain.exists()) {
        let (now, known) = (scope.now, &mut scope.read.certificates);
        match known.get(&place.chain, &place.key, now, read_certificate) {
            Ok(certificate) => all.push(certificate),
            Err((_, why)) => scope.remarks.push(format!("{why}; one is made in its place")),
        }
    }
    all
}

// Stands for a certificate that `check` sees before `run` has made it.
fn placeholder(path: &Path) -> Certificate {
    Certificate {
        chain: Vec::new(),
        key: Secret::new(Vec::new()),
        kind: KeyKind::Ecdsa,
        names: Vec::new(),
        not_after: Timestamp(u64::MAX),
        source: path.display().to_string(),
        ids: Vec::new(),
        serves: Serves::Throughout,
    }
}

/// The certificates that a file asks us to make.
pub fn wanted(collector: &Collector, at: usize, path: &Path, text: &str) -> Vec<WantedCertificate> {
    let Ok(table) = DeTable::parse(text) else { return Vec::new() };
    let mut root = Table::new(collector, at, String::new(), table);
    let folder = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    let mut all = Vec::new();
    for mut table in root.tables("certificate") {
        if let (Some(chain), Some(key), Some(names)) =
            (table.string("chain"), table.string("key"), table.strings("make_for"))
        {
            let names = names.value.into_iter().map(|name| name.value).collect();
            all.push(WantedCertificate {
                chain: super::at(&folder, chain.value),
                key: super::at(&folder, key.value),
                names,
            });
        }
    }
    all
}

enum Part {
    Chain,
    Key,
}

fn read_certificate(
    chain_path: &Path,
    key_path: &Path,
    now: Timestamp,
) -> Result<Certificate, (Part, String)> {
    let in_chain = |why: String| (Part::Chain, format!("{}: {why}", chain_path.display()));
    let in_key = |why: String| (Part::Key, format!("{}: {why}", key_path.display()));
    let chain = decode::certificates(chain_path).map_err(in_chain)?;
    let leaf = chain.first().ok_or_else(|| in_chain("holds no certificate".into()))?;
    let (_, parsed) = X509Certificate::from_der(leaf)
        .map_err(|error| in_chain(format!("is no X.509 certificate: {error}")))?;
    let moment = |secs: i64| Timestamp::from_secs(u64::try_from(secs).unwrap_or(0));
    let (not_before, not_after) = (
        moment(parsed.validity().not_before.timestamp()),
        moment(parsed.validity().not_after.timestamp()),
    );
    if not_after <= now {
        return Err(in_chain(format!(
            "the certificate expired on {}",
            format_http_date(not_after)
        )));
    }
    if not_before > now {
        return Err(in_chain(format!(
            "the certificate is not valid before {}",
            format_http_date(not_before)
        )));
    }
    let names = names(&parsed);
    if names.is_empty() {
        return Err(in_chain("the certificate names no host (no subjectAltName)".into()));
    }
    let kind = match parsed.public_key().algorithm.algorithm.to_id_string().as_str() {
        "1.2.840.113549.1.1.1" => KeyKind::Rsa,
        "1.2.840.10045.2.1" => KeyKind::Ecdsa,
        "1.3.101.112" => KeyKind::Ed25519,
        other => {
            return Err(in_chain(format!(
                "a key of kind {other} is not supported; use RSA, ECDSA or Ed25519"
            )));
        }
    };
    let key = decode::private_key(key_path).map_err(in_key)?;
    let certificate = Certificate {
        chain: chain.iter().map(|der| der.to_vec()).collect(),
        key: Secret::new(key.secret_der().to_vec()),
        kind,
        names,
        not_after,
        source: chain_path.display().to_string(),
        ids: Vec::new(),
        serves: Serves::Throughout,
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    crate::tls::certified::certified_key(&certificate, &provider).map_err(&in_key)?;
    Ok(certificate)
}

/// Reads a certificate that was issued to us: key and chain in one file.
pub fn read_issued(path: &Path, now: Timestamp) -> Result<Certificate, String> {
    read_certificate(path, path, now).map_err(|(_, why)| why)
}

fn names(parsed: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(extension)) = parsed.subject_alternative_name() else { return Vec::new() };
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
        GeneralName::IPAddress(octets) => match octets.len() {
            4 => Some(std::net::Ipv4Addr::from(<[u8; 4]>::try_from(*octets).ok()?).to_string()),
            16 => Some(std::net::Ipv6Addr::from(<[u8; 16]>::try_from(*octets).ok()?).to_string()),
            _ => None,
        },
        _ => None,
    };
    extension.value.general_names.iter().filter_map(name).collect()
}

/// Reads a client certificate and its key.
pub fn read_identity(chain: &Path, key: &Path) -> Result<Identity, String> {
    let certificates =
        decode::certificates(chain).map_err(|error| format!("{}: {error}", chain.display()))?;
    if certificates.is_empty() {
        return Err(format!("{}: holds no certificate", chain.display()));
    }
    let secret = decode::private_key(key).map_err(|error| format!("{}: {error}", key.display()))?;
    Ok(Identity {
        chain: certificates.into_iter().map(|der| der.to_vec()).collect(),
        key: Secret::new(secret.secret_der().to_vec()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_without_a_certificate_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("key.pem");
        std::fs::write(&key, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
            .unwrap();
        let why = read_identity(&key, &key).err().unwrap_or_default();
        assert!(why.ends_with("key.pem: holds no certificate"), "{why}");
    }
}
