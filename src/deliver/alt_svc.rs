//! Whether a viewer is told that HTTP/3 is spoken here, too (RFC 7838, RFC 9114 §3.1.1).

use crate::base::digits::decimal;
use crate::distribution::site::{Distribution, Http3};
use crate::message::connection::{Asker, Connection, Version};
use crate::semantics::fields::WriteValue;

/// `Alt-Svc` with the port of HTTP/3. A day, as CloudFront says: where UDP goes nowhere, viewers
/// ask no longer than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AltSvc(u16);

impl AltSvc {
    /// What a viewer is told that came over TLS by another version, where `http3` is spoken.
    #[inline]
    pub fn for_viewer(
        http3: Http3,
        distribution: &Distribution,
        connection: &Connection,
        version: Version,
    ) -> Option<Self> {
        let Http3::On { told_port } = http3 else { return None };
        let is_told = version < Version::Http3
            && connection.tls.is_some()
            && connection.asker == Asker::Viewer
            // Over QUIC no certificate of a viewer is asked for.
            && distribution.client_certificates.is_none()
            && distribution.versions.has_http3();
        is_told.then(|| Self(told_port.unwrap_or(connection.local.port())))
    }
}

impl WriteValue for AltSvc {
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"h3=\":");
        decimal(out, u64::from(self.0));
        out.extend_from_slice(b"\"; ma=86400");
    }
}
