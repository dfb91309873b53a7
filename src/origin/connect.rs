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
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::addresses::{allowed, by_turns};
use super::lookups::{self, Found, Lookups};
use super::race::race;
use super::resolution::{Known, known};
use crate::base::descriptors::is_out_of_descriptors;
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
    lookups: Lookups,
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
        let bare = place.host.trim_start_matches('[').trim_end_matches(']');
        let found = if let Ok(ip) = bare.parse::<IpAddr>() {
            vec![ip]
        } else {
            let asked = lookup(self.of(place.family).cloned(), place.host.clone());
            self.lookups.ask(&place.host, place.family, asked).await?
        };
        if !found.iter().any(|ip| place.family.takes(*ip)) {
            let why = format!("{}: no address of the kind {}", place.host, place.family.word());
            return Err(Failure::new(FailureKind::DnsError, why));
        }
        Ok(found.into_iter().map(|ip| SocketAddr::new(ip, place.port)).collect())
    }

    /// Connects, if need be in several attempts.
    pub async fn reach(&self, place: &Endpoint, effort: Effort) -> Result<Stream, Failure> {
        let mut tried = 1;
        loop {
            match self.connect(place, effort.patience).await {
                Ok(stream) => return Ok(stream),
                // Neither a certificate nor our own want of files gets better by asking again.
                Err(failure)
                    if tried >= effort.attempts
                        || matches!(
                            failure.kind,
                            FailureKind::CertificateError | FailureKind::ConnectionLimit
                        ) =>
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
        let until = Instant::now() + patience;
        let mut all = pin!(self.addresses(place));
        let (v6, v4) = (self.part(place, RecordType::AAAA), self.part(place, RecordType::A));
        let Ok(heard) = timeout_at(until, known(all.as_mut(), v6, v4)).await else {
            return Err(lookups::unanswered(&place.host, patience));
        };
        timeout_at(until, dial_known(place, heard, all)).await.unwrap_or_else(|_| {
            Err(Failure::new(
                FailureKind::ConnectTimeout,
                format!("{}:{} did not answer in {patience:?}", place.host, place.port),
            ))
        })
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
}

// It owns what it needs, since it may outlive the attempt that begins it.
async fn lookup(resolver: Option<TokioResolver>, host: String) -> Found {
    let Some(resolver) = resolver else {
        return match tokio::net::lookup_host((&*host, 0)).await {
            Ok(found) => Ok(found.map(|address| address.ip()).collect()),
            Err(error) => Err(Failure::new(FailureKind::DnsError, format!("{host}: {error}"))),
        };
    };
    match resolver.lookup_ip(&*host).await {
        Ok(found) => Ok(found.iter().collect()),
        Err(error) => Err(lookups::failure(&host, &error)),
    }
}

// Connects to what is known of a name, and to what `all` tells later.
async fn dial_known(
    place: &Endpoint,
    heard: Known<Result<Vec<SocketAddr>, Failure>>,
    all: impl Future<Output = Result<Vec<SocketAddr>, Failure>>,
) -> Result<Stream, Failure> {
    match heard {
        Known::All(found) => dial(place, found?, ready(Vec::new())).await,
        Known::Part(found) => {
            dial(place, found, async move { all.await.unwrap_or_default() }).await
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
        Err(last) => Err(unconnected(place, &last)),
    }
}

// What the system says of a connection that did not come about.
fn unconnected(place: &Endpoint, last: &io::Error) -> Failure {
    let at = format!("{}:{}", place.host, place.port);
    if is_out_of_descriptors(last) {
        let why =
            format!("no open file is left to connect to {at} (ulimit -n, LimitNOFILE): {last}");
        return Failure::new(FailureKind::ConnectionLimit, why);
    }
    let kind = if last.kind() == io::ErrorKind::TimedOut {
        FailureKind::ConnectTimeout
    } else {
        FailureKind::ConnectionRefused
    };
    Failure::new(kind, format!("{at}: {last}"))
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

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::io::Errno;
    use std::future::pending;

    fn place() -> Endpoint {
        Endpoint {
            host: "origin.test".into(),
            port: 4433,
            tls: None,
            family: Family::Ipv4,
            reach: Reach::Anywhere,
        }
    }

    #[test]
    fn rfc9209_2_3_want_of_files_is_our_own_limit() {
        for (errno, kind) in [
            (Errno::MFILE, FailureKind::ConnectionLimit),
            (Errno::NFILE, FailureKind::ConnectionLimit),
            (Errno::CONNREFUSED, FailureKind::ConnectionRefused),
            (Errno::TIMEDOUT, FailureKind::ConnectTimeout),
        ] {
            let error = io::Error::from_raw_os_error(errno.raw_os_error());
            let failed = unconnected(&place(), &error);
            assert_eq!(failed.kind, kind, "{errno:?}");
            assert!(failed.detail.contains("origin.test:4433"), "{}", failed.detail);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn rfc9209_2_3_1_silence_of_dns_is_not_the_origins() {
        let (resolver, place) = (Resolver::default(), place());
        let silent = resolver.lookups.ask(&place.host, place.family, pending());
        assert!(tokio::time::timeout(Duration::from_millis(1), silent).await.is_err());
        let failed = resolver.connect(&place, Duration::from_secs(2)).await.err().unwrap();
        assert_eq!(failed.kind, FailureKind::DnsTimeout);
        assert_eq!(failed.detail, "DNS has not answered in 2s where origin.test is");
    }
}
