//! The certificates that SNS signs with, fetched when they are first named and kept for a while.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Mutex as Turn;

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

/// Keys by the addresses of their certificates. One is fetched at a time, because anybody may name
/// others; those that are known wait for none.
#[derive(Default)]
pub struct Certificates {
    resolver: Resolver,
    known: Mutex<HashMap<HttpsUrl, Entry>>,
    turn: Turn<()>,
}

impl Certificates {
    /// The key of a certificate; the error says why there is none now.
    pub async fn key(
        &self,
        url: &HttpsUrl,
        sns: &Sns,
        now: Timestamp,
    ) -> Result<PublicKey, String> {
        if let Some(key) = self.known(url, now) {
            return key;
        }
        let _turn = self.turn.lock().await;
        // Another may have fetched it meanwhile.
        if let Some(key) = self.known(url, now) {
            return key;
        }
        if self.is_full(now) {
            return Err("too many certificates are named".into());
        }
        let read = fetch(&self.resolver, url, &sns.tls, BOUNDS).await;
        let key = read.and_then(|pem| PublicKey::of_certificate("sns", &pem, now));
        let until = now.plus(if key.is_ok() { KEPT } else { LEFT_ALONE });
        self.known.lock().insert(url.clone(), (key.clone(), until));
        key
    }

    fn known(&self, url: &HttpsUrl, now: Timestamp) -> Option<Result<PublicKey, String>> {
        let known = self.known.lock();
        let (key, until) = known.get(url)?;
        (now < *until).then(|| key.clone())
    }

    // Whether there is no room for another, once those that have had their time are gone.
    fn is_full(&self, now: Timestamp) -> bool {
        let mut known = self.known.lock();
        known.retain(|_, (_, until)| now < *until);
        known.len() >= MOST
    }

    /// Asks an address that confirms a subscription.
    pub async fn confirm(&self, url: &HttpsUrl, sns: &Sns) -> Result<(), String> {
        fetch(&self.resolver, url, &sns.tls, BOUNDS).await.map(drop)
    }
}
