//! `foreshore certs dev`: a local CA, and certificates under it. For development and tests only.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Subcommand;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};

use super::fail;
use crate::clock::Clock;
use crate::config::WantedCertificate;
use crate::semantics::time::civil;

#[derive(Subcommand)]
pub(super) enum CertsCommand {
    /// A local CA, made once, and a certificate for the given names under it.
    #[command(
        after_help = "Example:\n  foreshore certs dev www.example.com '*.example.com' 127.0.0.1\n\n\
        writes www.example.com.pem and .key beside ca.pem. Tell clients to trust ca.pem: curl --cacert certs/dev/ca.pem …"
    )]
    Dev {
        /// Host names, wildcards and addresses; the first one names the files.
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
        /// The folder for the CA and the certificates.
        #[arg(long, value_name = "FOLDER", default_value = "certs/dev")]
        out: PathBuf,
    },
}

pub(super) fn certs(command: &CertsCommand) -> ExitCode {
    let CertsCommand::Dev { names, out } = command;
    let stem = names[0].replace('*', "_").replace(':', "-");
    let wanted = WantedCertificate {
        chain: out.join(format!("{stem}.pem")),
        key: out.join(format!("{stem}.key")),
        names: names.clone(),
    };
    match make(&wanted) {
        Ok(()) => {
            println!(
                "{}\n{}\nsigned by {}",
                wanted.chain.display(),
                wanted.key.display(),
                out.join("ca.pem").display()
            );
            ExitCode::SUCCESS
        }
        Err(why) => fail(&why),
    }
}

/// Makes a certificate under the CA that lies beside it; the CA is made if there is none.
pub(super) fn make(wanted: &WantedCertificate) -> Result<(), String> {
    let folder = wanted.chain.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let issuer = authority(folder)?;
    let mut params =
        CertificateParams::new(wanted.names.clone()).map_err(|error| error.to_string())?;
    params
        .distinguished_name
        .push(DnType::CommonName, wanted.names.first().map_or("localhost", String::as_str));
    // Longer than this, some clients refuse even what a private CA has signed.
    let today = Clock::system().now().secs() / 86_400;
    (params.not_before, params.not_after) = (date(today.saturating_sub(1)), date(today + 397));
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate().map_err(|error| error.to_string())?;
    let certificate = params.signed_by(&key, &issuer).map_err(|error| error.to_string())?;
    write(&wanted.chain, &certificate.pem(), 0o644)?;
    write(&wanted.key, &key.serialize_pem(), 0o600)
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
