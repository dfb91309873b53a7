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
use crate::distribution::certificate::{Certificate, KeyKind};
use crate::distribution::origin::Identity;
use crate::semantics::time::{Timestamp, format_http_date};

/// Reads every `[[certificate]]` of a file.
pub fn certificates(root: &mut Table<'_>, scope: &mut Scope<'_>) -> Vec<Certificate> {
    let mut all = Vec::new();
    for mut table in root.tables("certificate") {
        let folder = scope.folder(table.source());
        let (chain, key) = (table.string("chain"), table.string("key"));
        let make_for = table.strings("make_for");
        let ids: Vec<String> = [table.string("arn"), table.string("iam_id")]
            .into_iter()
            .flatten()
            .map(|found| found.value)
            .collect();
        if let (Some(chain), Some(key)) = (chain, key) {
            let (chain_path, key_path) =
                (super::at(&folder, &chain.value), super::at(&folder, &key.value));
            scope.files.extend([chain_path.clone(), key_path.clone()]);
            let pending = make_for.is_some()
                && scope.making == MissingCertificates::Pending
                && !chain_path.exists();
            if pending {
                scope.remarks.push(format!("{} will be made on start", chain_path.display()));
                all.push(Certificate { ids, ..placeholder(&chain_path) });
            } else {
                match read_certificate(&chain_path, &key_path, scope.now) {
                    Ok(certificate) => all.push(Certificate { ids, ..certificate }),
                    Err((Part::Chain, why)) => table.problem(&chain.span, why, None),
                    Err((Part::Key, why)) => table.problem(&key.span, why, None),
                }
            }
        } else {
            table.problem(
                &table.span(),
                "a [[certificate]] needs chain and key",
                Some("chain = \"site.pem\" and key = \"site.key\"".into()),
            );
        }
        table.finish();
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
    };
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    crate::tls::certified::certified_key(&certificate, &provider).map_err(&in_key)?;
    Ok(certificate)
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
    let secret = decode::private_key(key).map_err(|error| format!("{}: {error}", key.display()))?;
    Ok(Identity {
        chain: certificates.into_iter().map(|der| der.to_vec()).collect(),
        key: Secret::new(secret.secret_der().to_vec()),
    })
}
