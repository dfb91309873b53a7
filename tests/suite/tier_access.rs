//! How the engines of tests are reached: in clear text by anybody, or over TLS by who has a name, a
//! password and a certificate. Scenes take either.

use std::path::{Path, PathBuf};
use std::process::Command;

use foreshore::base::secret::Secret;
use foreshore::distribution::origin::{Identity, OriginTls};
use foreshore::distribution::tier as configured;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::support::edge::certificates;
use super::support::free_port;
use super::tier::{Server, auth, memcached, redis, settings, trusting};

/// What edges and tests show an engine that is guarded.
pub const PASSWORD: &str = "between-us";
/// The name by which the tests themselves come in; that of the edges may do less.
pub const ORDERS: &str = "orders";

/// How an engine is reached.
pub enum Access {
    Open,
    /// Over TLS, with a name, a password and a certificate.
    Guarded(Papers),
}

/// What it takes to guard an engine.
pub struct Papers {
    ca: PathBuf,
    chain: PathBuf,
    private: PathBuf,
    /// The password.
    secret: PathBuf,
    /// Names and passwords, as memcached reads them.
    passwords: PathBuf,
}

impl Papers {
    /// Who is believed, without anything to show.
    pub fn trusting(&self) -> OriginTls {
        trusting(&self.ca)
    }

    // What is shown to an engine that asks for a certificate.
    fn identity(&self) -> Identity {
        let chain = CertificateDer::pem_file_iter(&self.chain).unwrap();
        let key = PrivateKeyDer::from_pem_file(&self.private).unwrap();
        Identity {
            chain: chain.map(|der| der.unwrap().to_vec()).collect(),
            key: Secret::new(key.secret_der().to_vec()),
        }
    }

    // Lines for a Redis or a sentinel. Orders reach it by its other port, in clear text.
    fn lines(&self, door: u16) -> String {
        format!(
            "tls-port {door}\ntls-auth-clients yes\ntls-replication yes\ntls-cert-file {}\n\
             tls-key-file {}\ntls-ca-cert-file {}\nuser default off\n\
             user edge on >{PASSWORD} ~f1:* ~{{foreshore:* &* +@all\n\
             user {ORDERS} on >{PASSWORD} ~* &* +@all",
            self.chain.display(),
            self.private.display(),
            self.ca.display()
        )
    }
}

impl Access {
    /// With certificates for this machine, by name and by address: replicas and sentinels tell the
    /// latter.
    pub fn guarded(folder: &Path) -> Self {
        let (ca, chain, private) = certificates(folder, &["localhost", "127.0.0.1"]);
        let (secret, passwords) = (folder.join("secret"), folder.join("passwords"));
        std::fs::write(&secret, PASSWORD).unwrap();
        std::fs::write(&passwords, format!("edge:{PASSWORD}\n")).unwrap();
        Self::Guarded(Papers { ca, chain, private, secret, passwords })
    }

    /// A node of Redis with more settings.
    pub fn redis(&self, folder: &Path, more: &str) -> Server {
        let port = free_port();
        match self {
            Self::Open => redis(folder, port, &format!("port {port}\n{more}")),
            Self::Guarded(papers) => {
                let door = free_port();
                let more = format!(
                    "port {port}\n{}\nmasteruser {ORDERS}\nmasterauth {PASSWORD}\n{more}",
                    papers.lines(door)
                );
                redis(folder, port, &more).behind(door)
            }
        }
    }

    /// A sentinel that calls the primary with this door `main`.
    pub fn sentinel(&self, folder: &Path, primary: u16) -> Server {
        let (port, door) = (free_port(), free_port());
        let (lines, shown) = match self {
            Self::Open => (String::new(), String::new()),
            Self::Guarded(papers) => (
                papers.lines(door),
                format!("sentinel auth-user main {ORDERS}\nsentinel auth-pass main {PASSWORD}"),
            ),
        };
        let path = folder.join("sentinel.conf");
        let text = format!(
            "port {port}\ndir {}\n{lines}\nsentinel monitor main 127.0.0.1 {primary} 1\n{shown}\n\
             sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 3000\n",
            folder.display()
        );
        std::fs::write(&path, text).unwrap();
        let sentinel =
            Server::start(Command::new("redis-server").arg(&path).arg("--sentinel"), port);
        match self {
            Self::Open => sentinel,
            Self::Guarded(_) => sentinel.behind(door),
        }
    }

    /// A memcached at a port.
    pub fn memcached(&self, port: u16) -> Server {
        let Self::Guarded(papers) = self else { return memcached(port, &[]) };
        let with_tls = format!(
            "ssl_chain_cert={},ssl_key={},ssl_ca_cert={},ssl_verify_mode=2",
            papers.chain.display(),
            papers.private.display(),
            papers.ca.display()
        );
        memcached(port, &["-Z", "-o", &with_tls, "-Y", papers.passwords.to_str().unwrap()])
    }

    /// `redis-cli` as it comes in by the doors of nodes.
    pub fn cli(&self) -> Command {
        let mut command = Command::new("redis-cli");
        if let Self::Guarded(papers) = self {
            command.arg("--tls").arg("--cacert").arg(&papers.ca);
            command.arg("--cert").arg(&papers.chain).arg("--key").arg(&papers.private);
            command.args(["--user", ORDERS]).env("REDISCLI_AUTH", PASSWORD);
        }
        command
    }

    /// The lines of `[tier]` for nodes of a kind behind these doors.
    pub fn tier(&self, kind: &str, doors: &[u16]) -> String {
        let (scheme, more) = match self {
            Self::Open => (kind.to_string(), String::new()),
            Self::Guarded(papers) => (
                format!("{kind}s"),
                format!(
                    "\ntls = {{ ca = {:?}, chain = {:?}, key = {:?} }}\n\
                     auth = {{ user = \"edge\", password = {{ file = {:?} }} }}",
                    papers.ca, papers.chain, papers.private, papers.secret
                ),
            ),
        };
        let urls: Vec<String> =
            doors.iter().map(|door| format!("\"{scheme}://127.0.0.1:{door}\"")).collect();
        format!("kind = \"{kind}\"\nurls = [{}]{more}", urls.join(", "))
    }

    /// The same settings as a value.
    pub fn settings(&self, engine: configured::Engine, door: u16) -> configured::Tier {
        let plain = settings(engine, door);
        match self {
            Self::Open => plain,
            Self::Guarded(papers) => configured::Tier {
                tls: Some(OriginTls { identity: Some(papers.identity()), ..papers.trusting() }),
                auth: Some(auth("edge", PASSWORD)),
                ..plain
            },
        }
    }
}
