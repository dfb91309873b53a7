//! What a distribution wants of its viewers' certificates (CloudFront: "Viewer mTLS").

use std::sync::Arc;

/// A rule about the certificates of viewers. It is that of a connection, chosen by its server name,
/// and holds for each request on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificates {
    pub mode: Mode,
    /// The authorities (DER) whose certificates are believed; none where nothing is verified.
    pub roots: Vec<Vec<u8>>,
    pub expiry: Expiry,
    pub hints: Hints,
}

/// What becomes of a viewer that shows none, or one that is not good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The handshake fails without a good one.
    Required,
    /// One that is shown has to be good.
    Optional,
    /// Whatever is shown is taken as it is, and told to the origin.
    Passthrough,
}

impl Mode {
    /// The word of the configuration, which is CloudFront's.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Passthrough => "passthrough",
        }
    }
}

/// Whether a certificate may be over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    Checked,
    Ignored,
}

/// Whether viewers are told which authorities are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hints {
    Silent,
    Advertised,
}

/// Says whether a connection that was made under one rule may ask what stands under the other.
pub fn is_same_rule(
    one: Option<&Arc<ClientCertificates>>,
    other: Option<&Arc<ClientCertificates>>,
) -> bool {
    match (one, other) {
        (None, None) => true,
        // By value after a reload that changed nothing of it.
        (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_told_apart_by_all_that_they_say() {
        let rule = |mode, roots: &[&[u8]], expiry, hints| {
            let roots = roots.iter().map(|root| root.to_vec()).collect();
            Arc::new(ClientCertificates { mode, roots, expiry, hints })
        };
        let all = [
            rule(Mode::Required, &[b"a"], Expiry::Checked, Hints::Silent),
            rule(Mode::Optional, &[b"a"], Expiry::Checked, Hints::Silent),
            rule(Mode::Required, &[b"b"], Expiry::Checked, Hints::Silent),
            rule(Mode::Required, &[b"a"], Expiry::Ignored, Hints::Silent),
            rule(Mode::Passthrough, &[], Expiry::Ignored, Hints::Silent),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!is_same_rule(None, Some(one)) && !is_same_rule(Some(one), None));
            for (place, other) in all.iter().enumerate() {
                let copied = Arc::new(ClientCertificates::clone(other));
                assert_eq!(is_same_rule(Some(one), Some(&copied)), at == place);
            }
        }
        assert!(is_same_rule(None, None));
    }
}
