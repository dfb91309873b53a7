//! Certificates that this edge orders for itself (ACME, RFC 8555; ARI, RFC 9773).
//!
//! `keeper` looks after each certificate: it asks `renewal` when it is due, takes an `order` to the
//! CA by `client`, and has the edge load what came. What has to last lies on a `shelf`. Viewers'
//! listeners know only the `challenges`: what a CA that looks for a proof is to see. `board` is
//! what operators see, `heard` what the members of a fleet tell each other.
//!
//! A build without the Cargo feature `acme` has `challenges` and `board`, and nothing is ever in them.

pub mod board;
pub mod challenges;
#[cfg(feature = "acme")]
mod client;
#[cfg(feature = "acme")]
mod documents;
#[cfg(feature = "acme")]
pub mod heard;
#[cfg(feature = "acme")]
mod jws;
#[cfg(feature = "acme")]
pub mod keeper;
#[cfg(feature = "acme")]
mod leaf;
#[cfg(feature = "acme")]
mod order;
#[cfg(feature = "acme")]
mod proofs;
#[cfg(feature = "acme")]
mod renewal;
#[cfg(feature = "acme")]
mod shelf;
#[cfg(feature = "acme")]
mod trouble;
#[cfg(feature = "acme")]
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};

/// What the rest of the edge sees of the orders.
#[derive(Default)]
pub struct Issuing {
    /// How often somebody reloaded.
    reloads: AtomicU64,
    pub challenges: challenges::Challenges,
    pub board: board::Board,
    /// What other members of the fleet told.
    #[cfg(feature = "acme")]
    pub heard: heard::Heard,
}

impl Issuing {
    /// Somebody reloaded, and may have mended what kept certificates from being issued: those that
    /// wait after a failure are tried again.
    pub fn note_reload(&self) {
        self.reloads.fetch_add(1, Ordering::Relaxed);
    }

    /// How often that was, since the start.
    pub fn reloads(&self) -> u64 {
        self.reloads.load(Ordering::Relaxed)
    }
}

#[cfg(feature = "acme")]
pub use heard::hear;

/// A build without orders hears nothing.
#[cfg(not(feature = "acme"))]
pub fn hear(_: &Issuing, _: &[u8]) {}
