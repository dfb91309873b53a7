//! Pure: which certificate a viewer is shown, that of its exact name, then of a wildcard of one
//! label, then the default.
//!
//! Of several for one name, the one that is cheaper and that the viewer can verify: ECDSA before
//! RSA.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::SignatureScheme;

use crate::distribution::certificate::{Certificate, KeyKind};

/// Certificates by name. `T` is whatever hangs on each.
pub struct ByName<T> {
    all: Vec<(Arc<Certificate>, T)>,
    names: HashMap<String, Vec<usize>>,
    addresses: HashMap<IpAddr, usize>,
}

impl<T> ByName<T> {
    /// A table; the first certificate is the default.
    pub fn new(all: Vec<(Arc<Certificate>, T)>) -> Self {
        let mut names: HashMap<String, Vec<usize>> = HashMap::new();
        let mut addresses = HashMap::new();
        for (at, (certificate, _)) in all.iter().enumerate() {
            for name in &certificate.names {
                names.entry(name.clone()).or_default().push(at);
                if let Ok(ip) = name.parse::<IpAddr>() {
                    addresses.entry(ip).or_insert(at);
                }
            }
        }
        Self { all, names, addresses }
    }

    /// All of them, the default first.
    pub fn all(&self) -> &[(Arc<Certificate>, T)] {
        &self.all
    }

    /// The default.
    pub fn first(&self) -> Option<&(Arc<Certificate>, T)> {
        self.all.first()
    }

    /// Says whether a certificate stands for a server name (lower case) or, without one, for the
    /// local address.
    pub fn knows(&self, server_name: Option<&str>, local: IpAddr) -> bool {
        let Some(name) = server_name else {
            return self.addresses.contains_key(&local.to_canonical());
        };
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.names.contains_key(name)
            || wildcard().is_some_and(|wildcard| self.names.contains_key(&wildcard))
    }

    /// Chooses for a server name (lower case) and what the viewer can verify. `local` is the
    /// address it connected to: without a name, a certificate for that address is taken.
    pub fn choose(
        &self,
        server_name: Option<&str>,
        schemes: &[SignatureScheme],
        local: IpAddr,
    ) -> Option<&(Arc<Certificate>, T)> {
        let Some(name) = server_name else {
            return self
                .addresses
                .get(&local.to_canonical())
                .map_or_else(|| self.all.first(), |at| self.all.get(*at));
        };
        let Some(fitting) = self.fitting(name) else { return self.all.first() };
        let can = |at: &&usize| schemes.iter().any(|scheme| suits(self.all[**at].0.kind, *scheme));
        let rank = |at: &&usize| match self.all[**at].0.kind {
            KeyKind::Ecdsa => 0,
            KeyKind::Ed25519 => 1,
            KeyKind::Rsa => 2,
        };
        let best = fitting.iter().filter(can).min_by_key(rank).or_else(|| fitting.first())?;
        self.all.get(*best)
    }

    /// All that a viewer may have been shown which asked for this name (lower case), whatever it
    /// can verify; without a name, or for one that is not known, that is the default.
    pub fn candidates(&self, server_name: Option<&str>) -> Vec<&T> {
        match server_name.and_then(|name| self.fitting(name)) {
            Some(fitting) => fitting.iter().map(|at| &self.all[*at].1).collect(),
            None => self.all.first().map(|(_, first)| first).into_iter().collect(),
        }
    }

    fn fitting(&self, name: &str) -> Option<&Vec<usize>> {
        let wildcard = || name.split_once('.').map(|(_, parent)| format!("*.{parent}"));
        self.names.get(name).or_else(|| self.names.get(&wildcard()?))
    }
}

fn suits(kind: KeyKind, scheme: SignatureScheme) -> bool {
    use SignatureScheme as S;
    match kind {
        KeyKind::Ecdsa => matches!(
            scheme,
            S::ECDSA_NISTP256_SHA256 | S::ECDSA_NISTP384_SHA384 | S::ECDSA_NISTP521_SHA512
        ),
        KeyKind::Ed25519 => scheme == S::ED25519,
        KeyKind::Rsa => matches!(
            scheme,
            S::RSA_PSS_SHA256
                | S::RSA_PSS_SHA384
                | S::RSA_PSS_SHA512
                | S::RSA_PKCS1_SHA256
                | S::RSA_PKCS1_SHA384
                | S::RSA_PKCS1_SHA512
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;
    use crate::distribution::certificate::Serves;
    use crate::semantics::time::Timestamp;

    fn certificate(kind: KeyKind, names: &[&str]) -> (Arc<Certificate>, ()) {
        let names = names.iter().map(|name| (*name).to_string()).collect();
        let certificate = Certificate {
            ids: Vec::new(),
            serves: Serves::Throughout,
            chain: vec![],
            key: Secret::new(vec![]),
            kind,
            names,
            not_after: Timestamp(0),
            source: String::new(),
        };
        (Arc::new(certificate), ())
    }

    #[test]
    fn exact_then_wildcard_then_default_and_the_better_key() {
        let all = [
            certificate(KeyKind::Rsa, &["default.example"]),
            certificate(KeyKind::Rsa, &["www.example.com"]),
            certificate(KeyKind::Ecdsa, &["www.example.com", "*.example.com"]),
            certificate(KeyKind::Rsa, &["*.example.com", "192.0.2.9"]),
        ];
        let table = ByName::new(all.into());
        let (modern, old) = (
            [SignatureScheme::ECDSA_NISTP256_SHA256, SignatureScheme::RSA_PSS_SHA256],
            [SignatureScheme::RSA_PKCS1_SHA256],
        );
        let local: IpAddr = "192.0.2.1".parse().unwrap();
        let chosen = |name, schemes: &[_], local| {
            let found = table.choose(name, schemes, local).unwrap();
            table.all.iter().position(|(c, ())| Arc::ptr_eq(c, &found.0)).unwrap()
        };
        assert_eq!(chosen(Some("www.example.com"), &modern, local), 2);
        assert_eq!(chosen(Some("www.example.com"), &old, local), 1);
        assert_eq!(chosen(Some("img.example.com"), &modern, local), 2);
        assert_eq!(chosen(Some("img.example.com"), &old, local), 3);
        assert_eq!(chosen(Some("a.img.example.com"), &modern, local), 0);
        assert_eq!(chosen(None, &modern, local), 0);
        let address = "192.0.2.9".parse().unwrap();
        assert_eq!(chosen(None, &modern, address), 3);
        for (name, at, is_known) in [
            (Some("www.example.com"), local, true),
            (Some("img.example.com"), local, true),
            (Some("a.img.example.com"), local, false),
            (Some("else.test"), address, false),
            (None, local, false),
            (None, address, true),
        ] {
            assert_eq!(table.knows(name, at), is_known, "{name:?}");
        }
    }
}
