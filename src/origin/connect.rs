//! A connection to an origin: its name resolved with the TTLs that DNS gives, TCP, and TLS where
//! asked for.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::distribution::origin::{Origin, Reach};
use crate::message::failure::{Failure, FailureKind};
use crate::tls::client as tls;

/// A stream to an origin, in clear text or encrypted.
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Where to connect.
#[derive(Clone)]
pub struct Endpoint {
    pub host: String,
    pub port: u16,
    /// TLS settings and the name to check, if it is to be TLS.
    pub tls: Option<(Arc<ClientConfig>, String)>,
    pub reach: Reach,
}

impl Endpoint {
    /// The place, asked for under a name: SNI and certificate are about that one.
    pub fn named(&self, name: &str) -> Self {
        let tls = self.tls.as_ref().map(|(config, _)| (Arc::clone(config), name.to_string()));
        Self { host: self.host.clone(), port: self.port, tls, reach: self.reach }
    }
}

/// A place among the connections in use. The timer is made only when there is something to wait
/// for.
pub async fn permit(
    gate: &Arc<Semaphore>,
    origin: &Origin,
) -> Result<OwnedSemaphorePermit, Failure> {
    if let Ok(permit) = Arc::clone(gate).try_acquire_owned() {
        return Ok(permit);
    }
    let waited =
        tokio::time::timeout(origin.timeouts.connect, Arc::clone(gate).acquire_owned()).await;
    waited.ok().and_then(Result::ok).ok_or_else(|| {
        let most = origin.connections;
        Failure::new(
            FailureKind::ConnectionLimit,
            format!("all {most} connections to origin {:?} are busy", origin.id),
        )
    })
}

/// How hard it is tried to connect.
#[derive(Clone, Copy)]
pub struct Effort {
    pub attempts: u32,
    /// For each of them: name, TCP and TLS.
    pub patience: Duration,
}

/// Names to addresses, honouring TTLs; one per core.
#[derive(Default)]
pub struct Resolver {
    inner: OnceLock<Option<TokioResolver>>,
}

impl Resolver {
    async fn addresses(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let resolver = self.inner.get_or_init(|| {
            let built = TokioResolver::builder_tokio().and_then(hickory_resolver::ResolverBuilder::build);
            built
                .inspect_err(
                    |error| tracing::warn!(%error, "no usable resolver configuration; names go through the C library, without TTLs"),
                )
                .ok()
        });
        let failed = |why: String| Failure::new(FailureKind::DnsError, format!("{host}: {why}"));
        let found: Vec<SocketAddr> = match resolver {
            Some(resolver) => {
                let answer =
                    resolver.lookup_ip(host).await.map_err(|error| failed(error.to_string()))?;
                answer.iter().map(|ip| SocketAddr::new(ip, port)).collect()
            }
            None => tokio::net::lookup_host((host, port))
                .await
                .map_err(|error| failed(error.to_string()))?
                .collect(),
        };
        if found.is_empty() { Err(failed("no address".into())) } else { Ok(found) }
    }

    /// Connects, if need be in several attempts.
    pub async fn reach(&self, place: &Endpoint, effort: Effort) -> Result<Stream, Failure> {
        let mut tried = 1;
        loop {
            match self.connect(place, effort.patience).await {
                Ok(stream) => return Ok(stream),
                // A certificate does not get better by asking again.
                Err(failure)
                    if tried >= effort.attempts
                        || failure.kind == FailureKind::CertificateError =>
                {
                    return Err(failure);
                }
                Err(failure) => tracing::debug!(
                    host = place.host,
                    port = place.port,
                    detail = failure.detail,
                    "connecting failed, trying again"
                ),
            }
            tried += 1;
        }
    }

    /// Connects within `patience`, trying each address in turn.
    pub async fn connect(&self, place: &Endpoint, patience: Duration) -> Result<Stream, Failure> {
        match tokio::time::timeout(patience, self.attempt(place, patience)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(
                FailureKind::ConnectTimeout,
                format!("{}:{} did not answer in {patience:?}", place.host, place.port),
            )),
        }
    }

    async fn attempt(&self, place: &Endpoint, patience: Duration) -> Result<Stream, Failure> {
        let mut addresses = self.addresses(&place.host, place.port).await?;
        addresses.retain(|address| place.reach.allows(*address));
        if addresses.is_empty() {
            let why =
                format!("{}:{} is an address that no code may choose", place.host, place.port);
            return Err(Failure::new(FailureKind::ConnectionRefused, why));
        }
        // A dead first address must leave time for the others.
        let share = patience / u32::try_from(addresses.len().min(4)).unwrap_or(1);
        let mut last = io::Error::other("no address");
        for address in addresses {
            match tokio::time::timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(tcp)) => return encrypt(tcp, place).await,
                Ok(Err(error)) => last = error,
                Err(_) => {
                    last =
                        io::Error::new(io::ErrorKind::TimedOut, format!("{address} did not answer"))
                }
            }
        }
        let kind = if last.kind() == io::ErrorKind::TimedOut {
            FailureKind::ConnectTimeout
        } else {
            FailureKind::ConnectionRefused
        };
        Err(Failure::new(kind, format!("{}:{}: {last}", place.host, place.port)))
    }
}

async fn encrypt(tcp: TcpStream, place: &Endpoint) -> Result<Stream, Failure> {
    let _ = tcp.set_nodelay(true);
    let Some((config, name)) = &place.tls else { return Ok(Stream::Plain(tcp)) };
    let name = tls::server_name(name)?;
    let stream = TlsConnector::from(Arc::clone(config))
        .connect(name, tcp)
        .await
        .map_err(|error| tls::failure(&error))?;
    Ok(Stream::Tls(Box::new(stream)))
}

impl Stream {
    /// Says whether the other side has chosen HTTP/2 in the handshake.
    pub fn has_chosen_h2(&self) -> bool {
        match self {
            Self::Plain(_) => false,
            Self::Tls(tls) => tls.get_ref().1.alpn_protocol() == Some(b"h2"),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Self::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Self::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }
    fn is_write_vectored(&self) -> bool {
        true
    }
    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Self::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Self::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
