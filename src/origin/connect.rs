//! A connection to an origin: its name resolved with the TTLs that DNS gives, TCP, and TLS where
//! asked for.

use std::future::ready;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;

use hickory_resolver::TokioResolver;
use hickory_resolver::config::LookupIpStrategy;
use hickory_resolver::proto::rr::RecordType;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::addresses::{allowed, by_turns};
use super::race::race;
use super::resolution::{Known, known};
use crate::distribution::origin::{Family, Origin, Reach};
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
    pub family: Family,
    pub reach: Reach,
}

impl Endpoint {
    /// The place, asked for under a name: SNI and certificate are about that one.
    pub fn named(&self, name: &str) -> Self {
        let tls = self.tls.as_ref().map(|(config, _)| (Arc::clone(config), name.to_string()));
        let (family, reach) = (self.family, self.reach);
        Self { host: self.host.clone(), port: self.port, tls, family, reach }
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
    v4: OnceLock<Option<TokioResolver>>,
    v6: OnceLock<Option<TokioResolver>>,
    both: OnceLock<Option<TokioResolver>>,
}

// A search list is gone through for both families together: one of each could be of two names.
fn resolver(strategy: LookupIpStrategy) -> Option<TokioResolver> {
    let built = TokioResolver::builder_tokio().and_then(|mut builder| {
        builder.options_mut().ip_strategy = strategy;
        builder.build()
    });
    built
        .inspect_err(
            |error| tracing::warn!(%error, "no usable resolver configuration; names go through the C library, without TTLs"),
        )
        .ok()
}

impl Resolver {
    fn of(&self, family: Family) -> Option<&TokioResolver> {
        let (made, strategy) = match family {
            Family::Ipv4 => (&self.v4, LookupIpStrategy::Ipv4Only),
            Family::Ipv6 => (&self.v6, LookupIpStrategy::Ipv6Only),
            Family::Both => (&self.both, LookupIpStrategy::Ipv6AndIpv4),
        };
        made.get_or_init(|| resolver(strategy)).as_ref()
    }

    async fn addresses(&self, place: &Endpoint) -> Result<Vec<SocketAddr>, Failure> {
        let (host, port) = (&*place.host, place.port);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let failed = |why: String| Failure::new(FailureKind::DnsError, format!("{host}: {why}"));
        let found: Vec<SocketAddr> = if let Ok(ip) = bare.parse::<IpAddr>() {
            vec![SocketAddr::new(ip, port)]
        } else if let Some(resolver) = self.of(place.family) {
            let answer =
                resolver.lookup_ip(host).await.map_err(|error| failed(error.to_string()))?;
            answer.iter().map(|ip| SocketAddr::new(ip, port)).collect()
        } else {
            let answer = tokio::net::lookup_host((host, port)).await;
            answer.map_err(|error| failed(error.to_string()))?.collect()
        };
        if !found.iter().any(|address| place.family.takes(address.ip())) {
            return Err(failed(format!("no address of the kind {}", place.family.word())));
        }
        Ok(found)
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

    /// Connects within `patience`, to whichever address is the first to answer.
    pub async fn connect(&self, place: &Endpoint, patience: Duration) -> Result<Stream, Failure> {
        match tokio::time::timeout(patience, self.attempt(place)).await {
            Ok(done) => done,
            Err(_) => Err(Failure::new(
                FailureKind::ConnectTimeout,
                format!("{}:{} did not answer in {patience:?}", place.host, place.port),
            )),
        }
    }

    // The addresses of one kind, where the name has them as it stands: what a search list makes of it
    // is told by the whole answer alone.
    async fn part(&self, place: &Endpoint, kind: RecordType) -> Vec<SocketAddr> {
        if place.family != Family::Both {
            return Vec::new();
        }
        let Some(resolver) = self.of(place.family) else { return Vec::new() };
        let Ok(found) = resolver.lookup(&*place.host, kind).await else { return Vec::new() };
        let name = found.query().name().to_ascii();
        let host = place.host.trim_end_matches('.');
        if !name.trim_end_matches('.').eq_ignore_ascii_case(host) {
            return Vec::new();
        }
        let found = found.answers().iter().filter_map(|record| record.data.ip_addr());
        found.map(|ip| SocketAddr::new(ip, place.port)).collect()
    }

    async fn attempt(&self, place: &Endpoint) -> Result<Stream, Failure> {
        let mut all = pin!(self.addresses(place));
        let (v6, v4) = (self.part(place, RecordType::AAAA), self.part(place, RecordType::A));
        match known(all.as_mut(), v6, v4).await {
            Known::All(found) => dial(place, found?, ready(Vec::new())).await,
            Known::Part(found) => {
                dial(place, found, async move { all.await.unwrap_or_default() }).await
            }
        }
    }
}

// Connects to whichever address is the first to answer, of those that are known and of those that
// become known meanwhile.
async fn dial(
    place: &Endpoint,
    mut found: Vec<SocketAddr>,
    more: impl Future<Output = Vec<SocketAddr>>,
) -> Result<Stream, Failure> {
    let more = {
        let known = found.clone();
        async move {
            let mut late = more.await;
            late.retain(|address| !known.contains(address));
            allowed(&mut late, place.family, place.reach);
            late
        }
    };
    allowed(&mut found, place.family, place.reach);
    let mut tried = 0_u32;
    let connected = race(by_turns(found), more, |address| {
        tried += 1;
        TcpStream::connect::<SocketAddr>(address)
    })
    .await;
    match connected {
        Ok(tcp) => encrypt(tcp, place).await,
        Err(_) if tried == 0 => {
            let why =
                format!("{}:{} is an address that no code may choose", place.host, place.port);
            Err(Failure::new(FailureKind::ConnectionRefused, why))
        }
        Err(last) => {
            let kind = if last.kind() == io::ErrorKind::TimedOut {
                FailureKind::ConnectTimeout
            } else {
                FailureKind::ConnectionRefused
            };
            Err(Failure::new(kind, format!("{}:{}: {last}", place.host, place.port)))
        }
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
