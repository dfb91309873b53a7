//! A connection to a node of a tier: its name resolved anew each time, TCP, and TLS where asked
//! for.
//!
//! Names are not remembered: a failover changes what they point to. What is resolved and connected
//! once lasts for hours.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::miss::Miss;
use super::slots::NodeAddress;
use crate::distribution::origin::{OriginTls, TlsVersion};
use crate::tls::client::roots;

/// What went wrong at a node: the reason that is counted, and what to tell the operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    pub miss: Miss,
    pub why: String,
    /// Which node, where one was asked.
    pub node: Option<String>,
}

impl Trouble {
    /// A trouble in words.
    pub fn new(miss: Miss, why: impl Into<String>) -> Self {
        Self { miss, why: why.into(), node: None }
    }

    /// The same, at a node.
    #[must_use]
    pub fn at(self, node: &NodeAddress) -> Self {
        Self { node: Some(node.to_string()), ..self }
    }
}

/// Reads and writes.
pub trait Duplex: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Duplex for S {}

/// A stream to a node, in clear text or encrypted.
pub type Stream = Box<dyn Duplex>;

/// Connects to nodes.
pub struct Connector {
    tls: Option<Secured>,
    patience: Duration,
}

struct Secured {
    config: Arc<ClientConfig>,
    /// The name of all nodes, in SNI and in their certificates. `None`: each has its own.
    name: Option<String>,
}

impl Connector {
    /// Settings for all connections; the error says what is wrong with our own or the CA's
    /// certificate.
    pub fn new(tls: Option<&OriginTls>, patience: Duration) -> Result<Self, String> {
        let tls = tls
            .map(|tls| {
                let config = Arc::new(client_config(tls)?);
                Ok::<_, String>(Secured { config, name: tls.server_name.clone() })
            })
            .transpose()?;
        Ok(Self { tls, patience })
    }

    /// Says whether nodes prove who they are, by name.
    pub const fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// How long a connection may take, with whatever is said before it counts.
    pub const fn patience(&self) -> Duration {
        self.patience
    }

    /// Connects, trying each address in turn.
    pub async fn connect(&self, node: &NodeAddress) -> Result<Stream, Trouble> {
        let unreachable = |why: String| Trouble::new(Miss::Unreachable, format!("{node}: {why}"));
        let found = tokio::net::lookup_host((node.host.as_str(), node.port))
            .await
            .map_err(|error| unreachable(error.to_string()))?;
        let addresses: Vec<SocketAddr> = found.take(8).collect();
        // A dead first address must leave time for the others.
        let share = self.patience / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut last = "it has no address".to_string();
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return self.encrypt(tcp, node).await.map_err(unreachable),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = format!("{address} did not answer"),
            }
        }
        Err(unreachable(last))
    }

    async fn encrypt(&self, tcp: TcpStream, node: &NodeAddress) -> Result<Stream, String> {
        let _ = tcp.set_nodelay(true);
        let Some(tls) = &self.tls else { return Ok(Box::new(tcp)) };
        let name = tls.name.as_ref().unwrap_or(&node.host).clone();
        let name = ServerName::try_from(name.clone())
            .map_err(|_| format!("{name:?} is no name a certificate can have"))?;
        let stream = TlsConnector::from(Arc::clone(&tls.config))
            .connect(name, tcp)
            .await
            .map_err(|error| error.to_string())?;
        Ok(Box::new(stream))
    }
}

fn client_config(tls: &OriginTls) -> Result<ClientConfig, String> {
    let versions: &[&rustls::SupportedProtocolVersion] = match tls.min {
        TlsVersion::V1_2 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::V1_3 => &[&rustls::version::TLS13],
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots(&tls.roots)?);
    let Some(identity) = &tls.identity else { return Ok(builder.with_no_client_auth()) };
    let chain = identity.chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
    let key = PrivateKeyDer::try_from(identity.key.expose().clone()).map_err(String::from)?;
    let mut config = builder
        .with_client_auth_cert(chain, key)
        .map_err(|error| format!("the client certificate cannot be used: {error}"))?;
    // Servers on OpenSSL that name no session context, as memcached, end the handshake of a session
    // that was begun with a client's certificate and is resumed.
    config.resumption = Resumption::disabled();
    Ok(config)
}
