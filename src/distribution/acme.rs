//! Certificates that a CA issues to this edge by itself (ACME, RFC 8555): for which names, by which
//! CA, and how it is shown that the names are ours.

use std::path::PathBuf;
use std::time::Duration;

use super::origin::Roots;
use crate::base::secret::Secret;
use crate::crypto::sigv4::sha256;

/// Let's Encrypt's directory, by its word.
pub const LETSENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";
/// The same for trying things out: no client trusts what it issues, and its limits are wide.
pub const LETSENCRYPT_STAGING: &str = "https://acme-staging-v02.api.letsencrypt.org/directory";

/// One certificate that is ordered.
#[derive(Clone, Debug)]
pub struct Acme {
    /// DNS names in lower case, wildcards of one label included; at least one.
    pub names: Vec<String>,
    /// The URL of the CA's directory, `https://…`.
    pub directory: String,
    /// Whose signature on the CA's own certificate counts.
    pub roots: Roots,
    /// `mailto:` and other URLs.
    pub contact: Vec<String>,
    pub key: KeyType,
    /// An account at the CA that ours is to be bound to.
    pub eab: Option<Eab>,
    pub challenge: Challenge,
    /// Where accounts, orders, keys and certificates lie.
    pub folder: Folder,
    pub orders: Orders,
}

/// Who orders a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Orders {
    /// This edge; of those that share a folder, one.
    Here,
    /// This edge, and its fleet is told what to show and what was issued.
    ForFleet,
    /// Another member of the fleet, by its name: this edge shows what it is told, and serves what
    /// was issued.
    Member(String),
}

/// The key of a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyType {
    EcdsaP256,
    EcdsaP384,
    Rsa2048,
}

impl KeyType {
    /// The word in configurations.
    pub const fn word(self) -> &'static str {
        match self {
            Self::EcdsaP256 => "ecdsa-p256",
            Self::EcdsaP384 => "ecdsa-p384",
            Self::Rsa2048 => "rsa-2048",
        }
    }
}

/// External account binding (RFC 8555 §7.3.4).
#[derive(Clone, Debug)]
pub struct Eab {
    pub kid: String,
    /// The key itself, no longer in base64.
    pub hmac: Secret<Vec<u8>>,
}

/// How it is shown that a name is ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Challenge {
    /// A file over HTTP, port 80.
    Http01,
    /// A certificate of its own in a TLS handshake, port 443 (RFC 8737).
    TlsAlpn01,
    /// A record in DNS, which a command of the operator's makes.
    Dns01(DnsCommand),
}

impl Challenge {
    /// The challenge's name in RFC 8555 and RFC 8737.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Http01 => "http-01",
            Self::TlsAlpn01 => "tls-alpn-01",
            Self::Dns01(_) => "dns-01",
        }
    }
}

/// What makes and removes records in DNS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsCommand {
    /// The program and its arguments; not a shell's line.
    pub words: Vec<String>,
    /// How long one run of it may take.
    pub patience: Duration,
    /// How long after the last record the CA is told: DNS takes its time.
    pub settle: Duration,
}

/// Where what has to last lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Folder {
    /// In this edge's data folder: this edge orders for itself.
    Own(PathBuf),
    /// In a folder that several edges see: one of them orders, all of them answer and serve.
    Shared(PathBuf),
}

impl Folder {
    /// The folder itself.
    pub const fn path(&self) -> &PathBuf {
        match self {
            Self::Own(path) | Self::Shared(path) => path,
        }
    }
}

impl Acme {
    /// What the certificate is called among others, as a file name: the first name and a digest of
    /// everything that makes it another certificate.
    pub fn entry(&self) -> String {
        let of = format!("{}\n{}\n{}", self.directory, self.key.word(), self.names.join("\n"));
        let digest = sha256(of.as_bytes());
        let first = self.names.first().map_or("", String::as_str).replace('*', "_");
        format!("{}-{}", first.chars().take(100).collect::<String>(), &digest[..8])
    }

    /// The folder of this certificate.
    pub fn shelf(&self) -> PathBuf {
        self.folder.path().join(self.entry())
    }

    /// Key and chain in one file of PEM, so that they change together.
    pub fn issued(&self) -> PathBuf {
        self.shelf().join("issued.pem")
    }

    /// The file of the account's key: one account for each CA, contact and binding.
    pub fn account(&self) -> PathBuf {
        let eab = self.eab.as_ref().map_or("", |eab| eab.kid.as_str());
        let of = format!("{}\n{}\n{eab}", self.directory, self.contact.join("\n"));
        self.folder.path().join(format!("account-{}.json", &sha256(of.as_bytes())[..8]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_certificate_has_another_folder_and_another_challenge_has_the_same() {
        let one = Acme {
            names: vec!["*.example.com".into(), "example.com".into()],
            directory: LETSENCRYPT_STAGING.into(),
            roots: Roots::System,
            contact: vec![],
            key: KeyType::EcdsaP256,
            eab: None,
            challenge: Challenge::Http01,
            folder: Folder::Own("acme".into()),
            orders: Orders::Here,
        };
        let entry = one.entry();
        assert!(entry.starts_with("_.example.com-"), "{entry}");
        let same = Acme { challenge: Challenge::TlsAlpn01, ..one.clone() };
        assert_eq!(same.entry(), entry);
        for other in [
            Acme { names: vec!["*.example.com".into()], ..one.clone() },
            Acme { directory: LETSENCRYPT.into(), ..one.clone() },
            Acme { key: KeyType::Rsa2048, ..one.clone() },
        ] {
            assert_ne!(other.entry(), entry);
        }
        let bound = Eab { kid: "k".into(), hmac: Secret::new(vec![1]) };
        let bound = Acme { eab: Some(bound), ..one.clone() };
        assert_ne!(bound.account(), one.account());
        assert_eq!(bound.issued(), one.issued());
    }
}
