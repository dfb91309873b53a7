//! What the members of a fleet tell each other of a certificate that one of them orders: what all
//! are to show a CA, what was issued, and that a member has none. `fleet` carries it.

use std::collections::{HashMap, HashSet};
use std::pin::Pin;

use serde::{Deserialize, Serialize};

use super::Issuing;
use super::proofs;
use super::shelf::Proof;
use crate::base::secret::Secret;
use crate::sync::Mutex;

/// So many certificates are remembered until they are looked after.
const MOST: usize = 100;

/// What a member says. Certificates go by their names among others, which are the same on all
/// members that are configured alike.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Told {
    /// These are to be shown, in the place of those before; none, once the CA has looked.
    Proofs { certificate: String, proofs: Vec<Proof> },
    /// Key and chain as PEM.
    Issued { certificate: String, pem: String },
    /// A member has none, or an old one.
    Wanted { certificate: String },
}

/// Tells all members; says whether the fleet's log has it.
pub type Tell = Box<dyn Fn(Vec<u8>) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// The same of what is told.
pub async fn tell(by: &Tell, told: &Told) -> bool {
    match serde_json::to_vec(told) {
        Ok(octets) => by(octets).await,
        Err(_) => false,
    }
}

/// What was heard and is not looked after yet.
#[derive(Default)]
pub struct Heard {
    issued: Mutex<HashMap<String, Secret<String>>>,
    wanted: Mutex<HashSet<String>>,
}

impl Heard {
    /// Says whether something was issued for a certificate.
    pub fn has_issued(&self, certificate: &str) -> bool {
        self.issued.lock().contains_key(certificate)
    }

    /// What was issued last.
    pub fn take_issued(&self, certificate: &str) -> Option<Secret<String>> {
        self.issued.lock().remove(certificate)
    }

    /// Says whether a member wants a certificate.
    pub fn is_wanted(&self, certificate: &str) -> bool {
        self.wanted.lock().contains(certificate)
    }

    /// The same, and forgets it.
    pub fn take_wanted(&self, certificate: &str) -> bool {
        self.wanted.lock().remove(certificate)
    }
}

/// What the answers that a member told are called among those of this edge's own orders.
pub fn told_of(certificate: &str) -> String {
    format!("fleet/{certificate}")
}

/// Hears a member, this one too, and some things twice. Proofs are shown at once; all else waits
/// until its certificate is looked after.
pub fn hear(issuing: &Issuing, octets: &[u8]) {
    match serde_json::from_slice(octets) {
        Ok(Told::Proofs { certificate, proofs }) => match proofs::answers(proofs) {
            Ok(answers) => issuing.challenges.put(&told_of(&certificate), answers),
            Err(trouble) => tracing::warn!(certificate, %trouble, "a proof cannot be shown"),
        },
        Ok(Told::Issued { certificate, pem }) => {
            let mut issued = issuing.heard.issued.lock();
            if issued.len() < MOST || issued.contains_key(&certificate) {
                issued.insert(certificate, Secret::new(pem));
            }
        }
        Ok(Told::Wanted { certificate }) => {
            let mut wanted = issuing.heard.wanted.lock();
            if wanted.len() < MOST {
                wanted.insert(certificate);
            }
        }
        Err(error) => tracing::warn!(%error, "a member of the fleet tells what is not understood"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(issuing: &Issuing, told: &Told) {
        hear(issuing, &serde_json::to_vec(told).unwrap());
    }

    #[test]
    fn proofs_are_shown_at_once_and_until_none_are_told() {
        let issuing = Issuing::default();
        let proof = |token: &str| Proof {
            kind: "http-01".into(),
            name: "a.test".into(),
            token: token.into(),
            authorization: format!("{token}.thumb"),
        };
        let told = |proofs: Vec<Proof>| Told::Proofs { certificate: "c".into(), proofs };
        let text =
            |token: &str| issuing.challenges.text(&format!("/.well-known/acme-challenge/{token}"));
        heard(&issuing, &told(vec![proof("a"), proof("b")]));
        assert_eq!(text("b").as_deref(), Some("b.thumb"));
        heard(&issuing, &told(vec![proof("c")]));
        assert_eq!((text("b"), text("c").as_deref()), (None, Some("c.thumb")));
        heard(&issuing, &told(Vec::new()));
        assert!(!issuing.challenges.is_pending());
    }

    #[test]
    fn the_rest_waits_and_has_an_end() {
        let issuing = Issuing::default();
        let issued =
            |name: &str, pem: &str| Told::Issued { certificate: name.into(), pem: pem.into() };
        for number in 0..2 * MOST {
            heard(&issuing, &issued(&format!("c{number}"), "first"));
            heard(&issuing, &Told::Wanted { certificate: format!("c{number}") });
        }
        heard(&issuing, &issued("c0", "second"));
        let heard = &issuing.heard;
        assert!(heard.has_issued("c99") && !heard.has_issued("c100"));
        assert_eq!(heard.take_issued("c0").unwrap().expose(), "second");
        assert!(heard.take_issued("c0").is_none());
        assert!(heard.is_wanted("c99") && !heard.is_wanted("c100"));
        assert!(heard.take_wanted("c99") && !heard.is_wanted("c99"));
        for text in ["", "{}", "{\"issued\":{}}", "{\"odd\":1}", "[]"] {
            hear(&issuing, text.as_bytes());
        }
    }
}
