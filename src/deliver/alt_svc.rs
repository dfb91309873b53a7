//! Whether a viewer is told that HTTP/3 is spoken here, too (RFC 7838, RFC 9114 §3.1.1), or that it
//! is spoken no more.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::base::digits::decimal;
use crate::distribution::site::{Distribution, Http3, Site};
use crate::message::connection::{Asker, Connection, Version};
use crate::semantics::fields::WriteValue;
use crate::semantics::time::Timestamp;

/// How long a viewer may remember what it was told: the day of `ma` below.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// What `Alt-Svc` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AltSvc {
    /// HTTP/3 is spoken at this port. A day, as CloudFront says: where UDP goes nowhere, viewers
    /// ask no longer than that.
    At(u16),
    /// What was told before holds no more (RFC 7838 §3).
    Clear,
}

impl AltSvc {
    /// What a viewer is told that came over TLS by another version, where `http3` is spoken.
    #[inline]
    pub fn for_viewer(
        http3: Http3,
        distribution: &Distribution,
        connection: &Connection,
        version: Version,
    ) -> Option<Self> {
        let Http3::On { told_port, .. } = http3 else { return None };
        let is_told = may_be_told(connection, version) && has_http3(distribution);
        is_told.then(|| Self::At(told_port.unwrap_or(connection.local.port())))
    }

    /// What a viewer is told that may remember HTTP/3, where it is spoken no more.
    pub fn cleared(connection: &Connection, version: Version) -> Option<Self> {
        may_be_told(connection, version).then_some(Self::Clear)
    }
}

impl WriteValue for AltSvc {
    fn write_value(&self, out: &mut Vec<u8>) {
        match self {
            Self::At(port) => {
                out.extend_from_slice(b"h3=\":");
                decimal(out, u64::from(*port));
                out.extend_from_slice(b"\"; ma=86400");
            }
            Self::Clear => out.extend_from_slice(b"clear"),
        }
    }
}

#[inline]
fn may_be_told(connection: &Connection, version: Version) -> bool {
    version < Version::Http3 && connection.tls.is_some() && connection.asker == Asker::Viewer
}

// Over QUIC no certificate of a viewer is asked for.
#[inline]
fn has_http3(distribution: &Distribution) -> bool {
    distribution.client_certificates.is_none() && distribution.versions.has_http3()
}

/// What viewers of each distribution may remember. It is kept over a restart, without which HTTP/3
/// is not switched off at the listener.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remembered(BTreeMap<String, Memory>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Memory {
    /// They are told of HTTP/3.
    Told,
    /// They were, and may remember it until then.
    Until(Timestamp),
}

impl Remembered {
    /// What was kept, a line for each distribution; what cannot be read is left out.
    pub fn parse(text: &str) -> Self {
        let read = |line: &str| {
            let (id, said) = line.rsplit_once(' ')?;
            let memory = match said {
                "told" => Memory::Told,
                secs => Memory::Until(Timestamp::from_secs(secs.parse().ok()?)),
            };
            Some((id.to_string(), memory))
        };
        Self(text.lines().filter_map(read).collect())
    }

    /// As it is kept.
    pub fn write(&self) -> String {
        let line = |(id, memory): (&String, &Memory)| match memory {
            Memory::Told => format!("{id} told\n"),
            Memory::Until(until) => format!("{id} {}\n", until.secs()),
        };
        self.0.iter().map(line).collect()
    }

    /// The same once a site is in force, where HTTP/3 `is_spoken` at all. Distributions that are
    /// gone are forgotten: their hosts are not answered for.
    #[must_use]
    pub fn next(&self, site: &Site, is_spoken: bool, now: Timestamp) -> Self {
        let next = |distribution: &Distribution| {
            let id = &distribution.id;
            let memory = match self.0.get(id) {
                _ if is_spoken && has_http3(distribution) => Memory::Told,
                Some(Memory::Told) => Memory::Until(now.plus(REMEMBERED)),
                Some(Memory::Until(until)) if *until > now => Memory::Until(*until),
                Some(Memory::Until(_)) | None => return None,
            };
            Some((id.clone(), memory))
        };
        Self(site.distributions.iter().filter_map(|distribution| next(distribution)).collect())
    }

    /// Says whether viewers of a distribution have something to forget.
    pub fn is_cleared(&self, id: &str, now: Timestamp) -> bool {
        matches!(self.0.get(id), Some(Memory::Until(until)) if *until > now)
    }

    /// Says whether any of them have.
    pub fn is_any_cleared(&self) -> bool {
        self.0.values().any(|memory| matches!(memory, Memory::Until(_)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_kept() {
        let text = "E1 told\nE2 1000\n";
        let known = Remembered::parse(text);
        assert_eq!(known.write(), text);
        assert!(known.is_any_cleared());
        let at = Timestamp::from_secs;
        assert!(known.is_cleared("E2", at(999)) && !known.is_cleared("E2", at(1000)));
        assert!(!known.is_cleared("E1", at(999)) && !known.is_cleared("E3", at(999)));
        assert_eq!(Remembered::parse("E1\nE2 soon\n\n"), Remembered::default());
        assert!(!Remembered::parse("E1 told\n").is_any_cleared());
    }

    #[test]
    fn both_are_written_as_rfc7838_has_them() {
        let written = |value: AltSvc| {
            let mut out = Vec::new();
            value.write_value(&mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(AltSvc::At(8443)), "h3=\":8443\"; ma=86400");
        assert_eq!(written(AltSvc::Clear), "clear");
    }
}
