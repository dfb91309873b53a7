//! The certificates that SNS signs with, fetched when they are first named and kept for a while.

use std::collections::HashMap;
use std::time::Duration;

use tokio::sync::Mutex;

use crate::crypto::key::PublicKey;
use crate::distribution::events::{HttpsUrl, Sns};
use crate::origin::connect::Resolver;
use crate::origin::document::{Bounds, fetch};
use crate::semantics::time::Timestamp;

/// A certificate is a few kilobytes, and its sender waits for the answer.
const BOUNDS: Bounds = Bounds { octets: 64 << 10, patience: Duration::from_secs(5) };
/// How long a certificate is used without asking for it again; SNS renews its own once a year.
const KEPT: Duration = Duration::from_secs(24 * 3600);
/// How long one that could not be had is not asked for again.
const LEFT_ALONE: Duration = Duration::from_secs(30);
/// Certificates that are kept, failures too.
const MOST: usize = 32;

/// A key, or why there is none, and until when that holds.
type Entry = (Result<PublicKey, String>, Timestamp);

/// Keys by the addresses of their certificates. One is fetched at a time: whoever names others may
/// be anybody.
#[derive(Default)]
pub struct Certificates {
    resolver: Resolver,
    known: Mutex<HashMap<HttpsUrl, Entry>>,
}

impl Certificates {
    /// The key of a certificate; the error says why there is none now.
    pub async fn key(
        &self,
        url: &HttpsUrl,
        sns: &Sns,
        now: Timestamp,
    ) -> Result<PublicKey, String> {
        let mut known = self.known.lock().await;
        if let Some((key, until)) = known.get(url)
            && now < *until
        {
            return key.clone();
        }
        known.retain(|_, (_, until)| now < *until);
        if known.len() >= MOST {
            return Err("too many certificates are named".into());
        }
        let read = fetch(&self.resolver, url, &sns.tls, BOUNDS).await;
        let key = read.and_then(|pem| PublicKey::of_certificate("sns", &pem, now));
        let until = now.plus(if key.is_ok() { KEPT } else { LEFT_ALONE });
        known.insert(url.clone(), (key.clone(), until));
        key
    }

    /// Asks an address that confirms a subscription.
    pub async fn confirm(&self, url: &HttpsUrl, sns: &Sns) -> Result<(), String> {
        fetch(&self.resolver, url, &sns.tls, BOUNDS).await.map(drop)
    }
}
