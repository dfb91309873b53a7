//! What is known of a viewer's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::certificate::ViewerCertificate;
use crate::distribution::geo::Location;
use crate::distribution::viewer_tls::ClientCertificates;

/// How the viewer reached us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    /// As it stands in a URL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// A protocol version, as far as anything depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    Http10,
    Http11,
    Http2,
    Http3,
}

impl Version {
    /// As Via names it (RFC 9110 §7.6.3).
    pub const fn number(self) -> &'static str {
        match self {
            Self::Http10 => "1.0",
            Self::Http11 => "1.1",
            Self::Http2 => "2.0",
            Self::Http3 => "3.0",
        }
    }
}

/// One connection from a viewer.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The viewer; from the PROXY header where that is believed.
    pub peer: SocketAddr,
    pub local: SocketAddr,
    pub scheme: Scheme,
    pub tls: Option<TlsFacts>,
    /// Where the viewer is, where there is a database to ask.
    pub place: Option<Arc<Location>>,
    /// What is at the other end (a viewer or an edge), as far as proven. Set by `proxy` for a
    /// request that carries an edge's token.
    pub asker: Asker,
}

impl From<SocketAddr> for Connection {
    /// A viewer's connection from this address, without TLS. The local address is the same, and
    /// nothing is known of the place.
    fn from(peer: SocketAddr) -> Self {
        let (scheme, asker) = (Scheme::Http, Asker::Viewer);
        Self { peer, local: peer, scheme, tls: None, place: None, asker }
    }
}

impl Connection {
    /// The same connection under another scheme; what TLS settled stays as it is.
    #[must_use]
    pub const fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }
}

/// What kind of peer asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    Viewer,
    /// An edge that this node's configuration trusts.
    Edge,
}

/// Whether the peer is believed when it speaks of a viewer behind it, in X-Forwarded-Host and
/// fields of its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Forwarder {
    Unknown,
    /// It lies in a network of `forwarded_for_from`, or is an edge that proved itself.
    Trusted,
}

/// What the handshake settled.
#[derive(Clone, Debug)]
pub struct TlsFacts {
    /// What the certificate that was shown stands for.
    pub names: Arc<[String]>,
    pub server_name: Option<String>,
    pub version: &'static str,
    /// As OpenSSL names it.
    pub cipher: &'static str,
    /// The session was taken up again.
    pub is_resumed: bool,
    /// What the ClientHello looked like, where a behavior uses a fingerprint.
    pub hello: Option<Box<Fingerprints>>,
    /// The names in the client's certificate, where one was shown and is good.
    pub client: Option<Arc<[String]>>,
    /// The rule about viewers' certificates that the connection was made under.
    pub rule: Option<Arc<ClientCertificates>>,
    /// What was shown under it.
    pub certificate: Option<Box<ViewerCertificate>>,
}

/// Two names for a kind of TLS client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprints {
    /// 32 hex digits.
    pub ja3: String,
    /// Such as `t13d1516h2_8daaf6152771_e5627efa2ab1`.
    pub ja4: String,
}
