//! Accepting connections: limits, the PROXY header, the TLS handshake, and then HTTP/1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::{Acceptor, ClientHello};
use rustls::{ServerConfig, ServerConnection};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::places::{Place, Places};
use super::{Counted, Gauges, Worker, h1, h2, proxy_protocol};
use crate::acme::board::Board;
use crate::acme::challenges::{ALPN, Challenges};
use crate::base::descriptors::is_out_of_descriptors;
use crate::distribution::site::Observes;
use crate::message::connection::{Asker, Connection, Fingerprints, Scheme, TlsFacts};
use crate::tls::clients;
use crate::tls::fingerprint;
use crate::tls::server::{Ruling, ServerTls, openssl_name};
use crate::tls::viewer_rule::{HandshakeRefusal, resumed, shown};

/// What a listening socket speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Http,
    Https,
}

/// One address bound once per worker.
pub struct Bound {
    pub address: SocketAddr,
    pub speaks: Speaks,
    /// The address as it was configured; `None` if this stands for all addresses of its kind.
    pub wanted: Option<SocketAddr>,
    sockets: Vec<std::net::TcpListener>,
}

impl Bound {
    /// Binds an address for a number of workers.
    ///
    /// A second process could share the port silently through SO_REUSEPORT; so the address is first
    /// bound without it, which fails if another socket listens there.
    pub fn bind(address: SocketAddr, speaks: Speaks, workers: usize) -> io::Result<Self> {
        drop(socket(address, false)?);
        let wanted = Some(address);
        let first = socket(address, true)?;
        // Port 0 means any: the other workers must share the one that was given.
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(socket(address, true)?);
        }
        Ok(Self { address, speaks, wanted, sockets })
    }

    /// A socket that was bound by another process and handed over: all workers accept from its one
    /// queue.
    pub fn handed(
        listener: std::net::TcpListener,
        speaks: Speaks,
        wanted: Option<SocketAddr>,
        workers: usize,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let mut sockets = vec![listener];
        for _ in 1..workers {
            sockets.push(sockets[0].try_clone()?);
        }
        Ok(Self { address, speaks, wanted, sockets })
    }

    /// The sockets of one address that another process has bound: each has a queue, so each goes to
    /// some worker, whatever their numbers.
    pub fn taken_over(
        mut sockets: Vec<std::net::TcpListener>,
        speaks: Speaks,
        wanted: Option<SocketAddr>,
        workers: usize,
    ) -> io::Result<Vec<Self>> {
        let (own, workers) = (sockets.len(), workers.max(1));
        let mut all = Vec::new();
        while !sockets.len().is_multiple_of(workers) {
            sockets.push(sockets[sockets.len() % own].try_clone()?);
        }
        while !sockets.is_empty() {
            let rest = sockets.split_off(workers);
            all.push(Self { address: sockets[0].local_addr()?, speaks, wanted, sockets });
            sockets = rest;
        }
        Ok(all)
    }

    /// The same sockets once more, to be handed to a process that takes this one's place.
    pub fn copies(&self) -> io::Result<Vec<std::net::TcpListener>> {
        self.sockets.iter().map(std::net::TcpListener::try_clone).collect()
    }

    /// The socket of the next worker.
    pub fn take(&mut self) -> Option<std::net::TcpListener> {
        self.sockets.pop()
    }
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// What every accepted connection is served with.
#[derive(Clone)]
pub struct Accepting {
    pub worker: Arc<Worker>,
    pub tls: Arc<ArcSwap<Option<ServerTls>>>,
    /// Connections over all workers.
    pub places: Arc<Places>,
}

impl Accepting {
    /// Accepts until the edge drains.
    pub async fn run(self, listener: std::net::TcpListener, speaks: Speaks) -> io::Result<()> {
        let listener = TcpListener::from_std(listener)?;
        let mut draining = self.worker.draining.clone();
        loop {
            let accepted = tokio::select! {
                // Whoever comes once this is said is the next process's, where there is one.
                biased;
                _ = draining.wait_for(|draining| *draining) => return Ok(()),
                accepted = listener.accept() => accepted,
            };
            match accepted {
                Ok((tcp, peer)) => {
                    // At the limit, one viewer a listener waits here and the others in the kernel's
                    // queue.
                    let place = tokio::select! {
                        // One that has a place is served, whatever comes at the same time.
                        biased;
                        place = self.places.take() => place,
                        _ = draining.wait_for(|draining| *draining) => return Ok(()),
                    };
                    let ticket = place.ticket();
                    let this = self.clone();
                    let count = Counted::new(&this.worker);
                    Gauges::add(&this.worker.gauges.accepted);
                    let task = tokio::spawn(async move {
                        let _count = count;
                        this.connection(tcp, peer, speaks, &place).await;
                    });
                    self.places.serves(ticket, task.abort_handle());
                }
                Err(error) => {
                    // Out of descriptors, or the viewer is gone already: neither is helped by
                    // trying at once.
                    self.places.complain(&error, "viewers");
                    if is_out_of_descriptors(&error) {
                        self.places.close_idle();
                    }
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    async fn connection(&self, mut tcp: TcpStream, peer: SocketAddr, speaks: Speaks, at: &Place) {
        let site = Arc::clone(&self.worker.core.edge.running_cell().load().site);
        let Ok(local) = tcp.local_addr() else { return };
        let _ = tcp.set_nodelay(true);
        let (mut peer, mut local) = (peer, local);
        if site.listen.proxy_protocol_from.iter().any(|network| network.contains(peer.ip())) {
            match Box::pin(tokio::time::timeout(
                site.limits.handshake,
                proxy_protocol::read(&mut tcp),
            ))
            .await
            {
                Ok(Ok(Some((source, target)))) => (peer, local) = (source, target),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => return tracing::debug!(%peer, %error, "PROXY header refused"),
                Err(_) => return Gauges::add(&self.worker.gauges.timeouts),
            }
        }
        let place = site.geo.as_ref().map(|geo| Arc::new(geo.place(peer.ip())));
        let id = self.worker.connection_id();
        match speaks {
            Speaks::Http => {
                let connection =
                    Arc::new(Connection { id, local, place, ..Connection::from(peer) });
                // Boxed each: a connection is to take the room of what it is, not of the largest it
                // could be.
                Box::pin(h1::serve(tcp, &self.worker, connection, at)).await;
            }
            Speaks::Https => match Box::pin(tokio::time::timeout(
                site.limits.handshake,
                self.handshake(tcp, local, site.observes),
            ))
            .await
            {
                // A CA has seen what it looked for.
                Ok(Some(None)) => {}
                Ok(Some(Some((stream, facts)))) => {
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let connection = Arc::new(Connection {
                        id,
                        peer,
                        local,
                        scheme: Scheme::Https,
                        tls: Some(facts),
                        place,
                        asker: Asker::Viewer,
                    });
                    if is_h2 {
                        Box::pin(h2::serve(stream, &self.worker, connection, at)).await;
                    } else {
                        Box::pin(h1::serve(stream, &self.worker, connection, at)).await;
                    }
                }
                Ok(None) => Gauges::add(&self.worker.gauges.handshakes_failed),
                Err(_) => {
                    Gauges::add(&self.worker.gauges.handshakes_failed);
                    Gauges::add(&self.worker.gauges.timeouts);
                }
            },
        }
    }

    async fn handshake(
        &self,
        tcp: TcpStream,
        local: SocketAddr,
        observes: Observes,
    ) -> Option<Shaken> {
        let (start, hello) = match observes.fingerprints {
            false => (LazyConfigAcceptor::new(Acceptor::default(), tcp).await.ok()?, None),
            true => read_hello(tcp).await.ok()?,
        };
        let challenges = &self.worker.core.edge.issuing.challenges;
        let proof = match challenges.is_pending() {
            true => proof(challenges, &start.client_hello()),
            false => None,
        };
        if let Some(config) = proof {
            let mut stream = start.into_stream(config).await.ok()?;
            Board::count(&self.worker.core.edge.issuing.board.proofs_shown);
            let _ = stream.shutdown().await;
            return Some(None);
        }
        let (config, names, rule) = {
            let tls = self.tls.load();
            match (**tls).as_ref()?.choose(&start.client_hello(), local.ip()) {
                Some(one) => (Arc::clone(&one.config), Arc::clone(&one.names), one.rule.clone()),
                None => return self.refuse(HandshakeRefusal::UnknownName),
            }
        };
        let stream = match start.into_stream(config).into_fallible().await {
            Ok(stream) => stream,
            Err((error, tcp)) => return self.turn_away(&error, tcp).await,
        };
        let session = stream.get_ref().1;
        let chain = session.peer_certificates();
        // Only what `listen.client_ca` vouches for names an edge.
        let is_resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        let (client, certificate) = match &rule {
            None => (clients::names(chain), None),
            Some(Ruling { rule, verifier }) => {
                let now = self.worker.core.edge.clock.now();
                if is_resumed && let Err(why) = resumed(chain, rule, &**verifier, now) {
                    return self.refuse(why);
                }
                match shown(chain, rule, now) {
                    Ok(certificate) => (None, certificate.map(Box::new)),
                    Err(why) => return self.refuse(why),
                }
            }
        };
        if is_resumed {
            Gauges::add(&self.worker.gauges.resumed);
        }
        let (version, cipher) = settled(session);
        let facts = TlsFacts {
            names,
            server_name: session.server_name().map(str::to_string),
            version,
            cipher,
            is_resumed,
            hello,
            client,
            rule: rule.map(|ruling| ruling.rule),
            certificate,
        };
        Some(Some((stream, facts)))
    }

    // A viewer that a rule refuses hears why: in TLS 1.3 it may have sent its request before it hears
    // of its certificate.
    async fn turn_away(&self, error: &io::Error, mut tcp: TcpStream) -> Option<Shaken> {
        let why = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
        self.refuse::<()>(why.and_then(HandshakeRefusal::of)?);
        super::linger(&mut tcp).await;
        None
    }

    // Counts a handshake that a rule ended.
    fn refuse<T>(&self, why: HandshakeRefusal) -> Option<T> {
        Gauges::add(&self.worker.gauges.refused[why as usize]);
        None
    }
}

// A viewer's connection after its handshake; `None` for a CA's, which is over (RFC 8737 §3).
type Shaken = Option<(tokio_rustls::server::TlsStream<TcpStream>, TlsFacts)>;

// The protocol's version and the cipher suite, as OpenSSL names them.
fn settled(session: &ServerConnection) -> (&'static str, &'static str) {
    let version = match session.protocol_version() {
        Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
        _ => "TLSv1.2",
    };
    let suite = session.negotiated_cipher_suite();
    (version, suite.map_or("", |suite| openssl_name(suite.suite())))
}

// The settings for a CA that looks for a proof: it offers one protocol, and no viewer offers that.
fn proof(challenges: &Challenges, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
    let mut offered = hello.alpn()?;
    if offered.next() != Some(ALPN) || offered.next().is_some() {
        return None;
    }
    challenges.config(hello.server_name()?)
}

// Reads a ClientHello as LazyConfigAcceptor does, and keeps its octets to take the client's
// fingerprint from.
async fn read_hello(
    mut tcp: TcpStream,
) -> io::Result<(StartHandshake<TcpStream>, Option<Box<Fingerprints>>)> {
    let mut acceptor = Acceptor::default();
    let mut octets = Vec::with_capacity(2048);
    loop {
        let before = octets.len();
        if tcp.read_buf(&mut octets).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut more = &octets[before..];
        while !more.is_empty() {
            acceptor.read_tls(&mut more)?;
        }
        match acceptor.accept() {
            Ok(Some(accepted)) => {
                let hello = fingerprint::of_records(&octets).map(Box::new);
                return Ok((StartHandshake::from_parts(accepted, tcp), hello));
            }
            // rustls takes no longer message either.
            Ok(None) if octets.len() > 0xffff => return Err(io::ErrorKind::InvalidData.into()),
            Ok(None) => {}
            Err((error, mut alert)) => {
                let mut words = Vec::new();
                alert.write_all(&mut words)?;
                tcp.write_all(&words).await?;
                return Err(io::Error::other(error));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_queue_that_is_taken_over_has_a_worker() {
        for (queues, workers, addresses) in [(2, 2, 1), (1, 3, 1), (3, 2, 2), (4, 1, 4), (2, 4, 1)]
        {
            let any = "127.0.0.1:0".parse().unwrap();
            let bound = Bound::bind(any, Speaks::Http, queues).unwrap();
            assert_eq!(bound.wanted, Some(any));
            let mut all =
                Bound::taken_over(bound.copies().unwrap(), Speaks::Http, Some(any), workers)
                    .unwrap();
            assert_eq!(all.len(), addresses, "{queues} queues for {workers} workers");
            assert!(all.iter().all(|one| one.address == bound.address));
            drop(bound);
            let taken = |_| all.iter_mut().map(|one| one.take().is_some()).collect::<Vec<_>>();
            let taken: Vec<Vec<bool>> = (0..workers).map(taken).collect();
            assert!(taken.iter().flatten().all(|is_there| *is_there), "{taken:?}");
            assert!(all.iter_mut().all(|one| one.take().is_none()));
        }
        assert!(Bound::taken_over(Vec::new(), Speaks::Http, None, 2).unwrap().is_empty());
    }
}
