//! What tunnels of both protocols have in common: on which terms they end, and that their octets
//! are counted.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Worker;
use super::h1::write::SendEnd;
use crate::body::tunnel::{Carried, Terms, TunnelEnd};
use crate::semantics::websocket;

/// What is left of `limits.drain`, at most, for the last words of tunnels and their answers.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// The terms of a tunnel that begins now.
pub fn terms(
    worker: &Arc<Worker>,
    idle: Duration,
) -> Terms<impl Future<Output = ()> + Send + use<>> {
    let (worker, mut draining) = (Arc::clone(worker), worker.draining.clone());
    let leaving = async move {
        let is_told = draining.wait_for(|draining| *draining).await.is_ok();
        if !is_told {
            std::future::pending::<()>().await;
        }
        // As it is set when the edge leaves.
        let drain = worker.core.edge.running_cell().load().site.limits.drain;
        tokio::time::sleep(grace(drain)).await;
    };
    Terms { idle, leaving, mask: drawn() }
}

// How long a drain waits for tunnels to end by themselves.
fn grace(drain: Duration) -> Duration {
    drain - (drain / 5).min(LAST_WORDS)
}

/// A key for a handshake that is ours to make.
pub fn key() -> String {
    websocket::key_of(drawn())
}

// Zeros if there is no chance to be had, which does not happen once a process has started.
fn drawn<const N: usize>() -> [u8; N] {
    let mut octets = [0; N];
    let _ = aws_lc_rs::rand::fill(&mut octets);
    octets
}

/// How the sending of an answer ended that was a tunnel.
pub const fn sent(end: TunnelEnd) -> SendEnd {
    match end {
        TunnelEnd::Whole | TunnelEnd::Idle | TunnelEnd::Left => SendEnd::WholeByClose,
        TunnelEnd::Near => SendEnd::Broken,
        TunnelEnd::Far | TunnelEnd::FarTold => SendEnd::Failed,
    }
}

/// What a tunnel has carried, counted however it ends.
pub struct Counted {
    pub carried: Carried,
    worker: Arc<Worker>,
}

impl Counted {
    /// Of a tunnel that has carried nothing yet.
    pub fn new(worker: &Arc<Worker>) -> Self {
        Self { carried: Carried::default(), worker: Arc::clone(worker) }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let octets = &self.worker.core.edge.tally.tunnel_octets;
        octets.fetch_add(self.carried.to_far + self.carried.to_near, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn most_of_a_drain_is_grace() {
        for (drain, wanted) in [(30_000, 25_000), (10_000, 8_000), (1_000, 800), (0, 0)] {
            assert_eq!(grace(Duration::from_millis(drain)), Duration::from_millis(wanted));
        }
    }
}
