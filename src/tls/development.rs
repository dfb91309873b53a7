//! A local CA, and certificates under it: for development and tests, and for distributions of the
//! API where the configuration says so.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use crate::semantics::time::{Timestamp, civil};

/// The days that a certificate is good for. Longer than this, some clients refuse even what a
/// private CA has signed.
const DAYS: u64 = 397;

/// Where a made certificate lies: its chain and its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub chain: PathBuf,
    pub key: PathBuf,
}

impl Place {
    /// That of a distribution of the API, in the data folder; the CA lies beside it.
    pub fn of(data: &Path, id: &str) -> Self {
        let folder = data.join("certificates");
        Self { chain: folder.join(format!("{id}.pem")), key: folder.join(format!("{id}.key")) }
    }
}

/// Makes a certificate for names under the CA that lies beside it; the CA is made if there is none.
pub fn make(place: &Place, names: &[String], now: Timestamp) -> Result<(), String> {
    let folder = place.chain.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let issuer = authority(folder)?;
    let mut params = CertificateParams::new(names.to_vec()).map_err(|error| error.to_string())?;
    params
        .distinguished_name
        .push(DnType::CommonName, names.first().map_or("localhost", String::as_str));
    let today = now.secs() / 86_400;
    (params.not_before, params.not_after) = (date(today.saturating_sub(1)), date(today + DAYS));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.signed_by(&key, &issuer).map_err(|error| error.to_string())?;
    write(&place.chain, &certificate.pem(), 0o644)?;
    write(&place.key, &key.serialize_pem(), 0o600)
}

// The CA's certificate is made from fixed words, so that its key alone is enough to issue again.
fn authority(folder: &Path) -> Result<Issuer<'static, KeyPair>, String> {
    let (certificate_path, key_path) = (folder.join("ca.pem"), folder.join("ca.key"));
    let mut params = CertificateParams::new(Vec::new()).map_err(|error| error.to_string())?;
    params.distinguished_name.push(DnType::CommonName, "Foreshore development CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (date(20_000), date(30_000)); // 2024 to 2052, so that it never depends on the day
    if certificate_path.exists() && key_path.exists() {
        let text = std::fs::read_to_string(&key_path)
            .map_err(|error| format!("{}: {error}", key_path.display()))?;
        let key =
            KeyPair::from_pem(&text).map_err(|error| format!("{}: {error}", key_path.display()))?;
        return Ok(Issuer::new(params, key));
    }
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.self_signed(&key).map_err(|error| error.to_string())?;
    write(&certificate_path, &certificate.pem(), 0o644)?;
    write(&key_path, &key.serialize_pem(), 0o600)?;
    Ok(Issuer::new(params, key))
}

fn date(days: u64) -> time::OffsetDateTime {
    let (year, month, day) = civil(days);
    rcgen::date_time_ymd(year as i32, month as u8, day as u8)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(mode)
        .open(path)
        .map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}
