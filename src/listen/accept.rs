//! Accepting connections: limits, the PROXY header, the TLS handshake, and then HTTP/1 or HTTP/2.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::server::Acceptor;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};

use super::places::{Place, Places, is_out_of_descriptors};
use super::{Counted, Gauges, Worker, h1, h2, proxy_protocol};
use crate::distribution::site::Observes;
use crate::message::connection::{Asker, Connection, Fingerprints, Scheme, TlsFacts};
use crate::tls::clients;
use crate::tls::fingerprint;
use crate::tls::server::ServerTls;
use crate::tls::viewer_rule::{HandshakeRefusal, shown};

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
    sockets: Vec<std::net::TcpListener>,
}

impl Bound {
    /// Binds an address for a number of workers.
    ///
    /// A second process could share the port silently through SO_REUSEPORT; so the address is first
    /// bound without it, which fails if another socket listens there.
    pub fn bind(address: SocketAddr, speaks: Speaks, workers: usize) -> io::Result<Self> {
        drop(socket(address, false)?);
        let first = socket(address, true)?;
        // Port 0 means any: the other workers must share the one that was given.
        let address = first.local_addr()?;
        let mut sockets = vec![first];
        for _ in 1..workers {
            sockets.push(socket(address, true)?);
        }
        Ok(Self { address, speaks, sockets })
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
                accepted = listener.accept() => accepted,
                _ = draining.wait_for(|draining| *draining) => return Ok(()),
            };
            match accepted {
                Ok((tcp, peer)) => {
                    // At the limit, one viewer a listener waits here and the others in the kernel's
                    // queue.
                    let place = tokio::select! {
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
        match speaks {
            Speaks::Http => {
                let connection = Arc::new(Connection { local, place, ..Connection::from(peer) });
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
                Ok(Some((stream, facts))) => {
                    let is_h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                    let connection = Arc::new(Connection {
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
    ) -> Option<(tokio_rustls::server::TlsStream<TcpStream>, TlsFacts)> {
        let (start, hello) = match observes.fingerprints {
            false => (LazyConfigAcceptor::new(Acceptor::default(), tcp).await.ok()?, None),
            true => read_hello(tcp).await.ok()?,
        };
        let (config, names, rule) = {
            let tls = self.tls.load();
            match (**tls).as_ref()?.choose(&start.client_hello(), local.ip()) {
                Some(one) => (Arc::clone(&one.config), Arc::clone(&one.names), one.rule.clone()),
                None => return self.refuse(HandshakeRefusal::UnknownName),
            }
        };
        let stream = match start.into_stream(config).await {
            Ok(stream) => stream,
            Err(error) => {
                let why = error.get_ref().and_then(|error| error.downcast_ref::<rustls::Error>());
                return self.refuse(why.and_then(HandshakeRefusal::of)?);
            }
        };
        let session = stream.get_ref().1;
        let chain = session.peer_certificates();
        // Only what `listen.client_ca` vouches for names an edge.
        let (client, certificate) = match &rule {
            None => (clients::names(chain), None),
            Some(rule) => match shown(chain, rule, self.worker.core.edge.clock.now()) {
                Ok(certificate) => (None, certificate.map(Box::new)),
                Err(why) => return self.refuse(why),
            },
        };
        let is_resumed = session.handshake_kind() == Some(rustls::HandshakeKind::Resumed);
        if is_resumed {
            Gauges::add(&self.worker.gauges.resumed);
        }
        let version = match session.protocol_version() {
            Some(rustls::ProtocolVersion::TLSv1_3) => "TLSv1.3",
            _ => "TLSv1.2",
        };
        let cipher = session
            .negotiated_cipher_suite()
            .map_or("", |suite| crate::tls::server::openssl_name(suite.suite()));
        let facts = TlsFacts {
            names,
            server_name: session.server_name().map(str::to_string),
            version,
            cipher,
            is_resumed,
            hello,
            client,
            rule,
            certificate,
        };
        Some((stream, facts))
    }

    // Counts a handshake that a rule ended.
    fn refuse<T>(&self, why: HandshakeRefusal) -> Option<T> {
        Gauges::add(&self.worker.gauges.refused[why as usize]);
        None
    }
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
