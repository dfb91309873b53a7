//! A viewer certificate as read from files: its names, its dates, its key, all checked to fit.

use crate::base::secret::Secret;
use crate::semantics::time::Timestamp;

/// The kind of key, for choosing among certificates of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Rsa,
    Ecdsa,
    Ed25519,
}

/// For how long a certificate is meant to be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serves {
    /// As long as it is configured.
    Throughout,
    /// It signs itself, in the place of one that a CA has not issued yet.
    UntilIssued,
}

/// A chain and its key.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// Leaf first, DER.
    pub chain: Vec<Vec<u8>>,
    pub key: Secret<Vec<u8>>,
    pub kind: KeyKind,
    /// DNS names (lower case, wildcards included) and addresses the leaf stands for.
    pub names: Vec<String>,
    pub not_after: Timestamp,
    /// Where it came from, for messages.
    pub source: String,
    /// What documents of the API call it: the ARN that it has at ACM, its id at IAM.
    pub ids: Vec<String>,
    pub serves: Serves,
}

/// Says whether one of `names` stands for `host`: exact, or a wildcard of one label (RFC 6125
/// §6.4.3).
///
/// ```
/// use foreshore::distribution::certificate::covers;
/// let names = ["*.example.com", "example.org"].map(String::from);
/// assert!(covers(&names, "a.example.com") && covers(&names, "A.Example.com."));
/// assert!(covers(&names, "example.org") && covers(&names, "Example.ORG."));
/// assert!(!covers(&names, "a.b.example.com") && !covers(&names, "example.com"));
/// ```
pub fn covers(names: &[String], host: &str) -> bool {
    // Viewers write most hosts as a certificate does.
    if names.iter().any(|name| name == host) {
        return true;
    }
    super::host::with_normal_host(host, |host| {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let parent = host.split_once('.').map(|(_, parent)| parent);
        names.iter().any(|name| match name.strip_prefix("*.") {
            Some(suffix) => parent == Some(suffix),
            None => name == host,
        })
    })
}
