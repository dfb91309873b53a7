//! What is known of a viewer's connection.

use std::net::SocketAddr;
use std::sync::Arc;

use super::certificate::ViewerCertificate;
use crate::distribution::geo::Location;
use crate::distribution::origin::Origin;
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

    /// The origin as it is asked for viewers who came by this scheme.
    pub fn origin(self, origin: &Arc<Origin>) -> &Arc<Origin> {
        match (self, &origin.clear) {
            (Self::Http, Some(clear)) => clear,
            _ => origin,
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

/// What a connection is called in logs: 16 hex digits that no other connection has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionId([u8; 16]);

impl ConnectionId {
    /// The name that belongs to a number; each has its own.
    pub fn of(number: u64) -> Self {
        // SplitMix64's last steps, which can be undone: numbers in a row do not look like it.
        let mut bits = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^= bits >> 31;
        Self(std::array::from_fn(|at| b"0123456789abcdef"[((bits >> (60 - 4 * at)) & 15) as usize]))
    }

    /// Its digits.
    pub const fn text(&self) -> &[u8; 16] {
        &self.0
    }
}

impl Default for ConnectionId {
    /// Of what came by no connection.
    fn default() -> Self {
        Self([b'0'; 16])
    }
}

/// One connection from a viewer.
#[derive(Clone, Debug)]
pub struct Connection {
    pub id: ConnectionId,
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
        let (id, scheme, asker) = (ConnectionId::default(), Scheme::Http, Asker::Viewer);
        Self { id, peer, local: peer, scheme, tls: None, place: None, asker }
    }
}

impl Connection {
    /// The same connection under another scheme; what TLS settled stays as it is.
    #[must_use]
    pub const fn with_scheme(mut self, scheme: Scheme) -> Self {
        self.scheme = scheme;
        self
    }

    /// The certificate that the viewer showed under a rule of its distribution.
    pub fn certificate(&self) -> Option<&ViewerCertificate> {
        self.tls.as_ref()?.certificate.as_deref()
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn connections_have_names_of_their_own() {
        let all: HashSet<[u8; 16]> = (0..10_000).map(|at| *ConnectionId::of(at).text()).collect();
        assert_eq!(all.len(), 10_000);
        assert!(all.iter().flatten().all(u8::is_ascii_hexdigit));
        assert_eq!(ConnectionId::default().text(), b"0000000000000000");
    }
}
