//! How long an exchange with an origin may take: from one piece to the next, and as a whole.

use std::time::Duration;

use tokio::time::Instant;

use crate::body::BodyError;
use crate::distribution::origin::Timeouts;

/// Stands for a moment that no clock reaches.
const FAR: Duration = Duration::from_secs(86_400 * 365 * 30);

/// What an exchange is held to, from the moment its request is sent.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// The longest silence.
    piece: Duration,
    /// When the whole answer must have come, retries over other connections included.
    until: Option<Instant>,
}

impl Patience {
    /// Of an exchange that begins now.
    pub fn begin(timeouts: &Timeouts) -> Self {
        // An exchange without a bound reads no clock.
        let until = timeouts.complete.and_then(|whole| Instant::now().checked_add(whole));
        Self { piece: timeouts.response, until }
    }

    /// Without a bound on the whole.
    pub const fn of_pieces(piece: Duration) -> Self {
        Self { piece, until: None }
    }

    /// When the exchange is given up if nothing comes from now on.
    pub fn next(&self) -> Instant {
        let now = Instant::now();
        let next = now.checked_add(self.piece).unwrap_or_else(|| now + FAR);
        self.until.map_or(next, |until| until.min(next))
    }

    /// Says whether the time of the whole is over.
    pub fn is_over(&self) -> bool {
        self.until.is_some_and(|until| until <= Instant::now())
    }

    /// Why a body is given up whose deadline has come.
    pub fn why(&self) -> BodyError {
        if self.is_over() { BodyError::Late } else { BodyError::Stalled }
    }

    /// The same of a head, for the log.
    pub fn said_of_head(&self) -> String {
        if self.is_over() {
            "no whole answer within timeouts.complete".into()
        } else {
            format!("no head in {:?}", self.piece)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(response: u64, complete: Option<u64>) -> Patience {
        let timeouts = Timeouts {
            response: Duration::from_secs(response),
            complete: complete.map(Duration::from_secs),
            ..Timeouts::default()
        };
        Patience::begin(&timeouts)
    }

    #[tokio::test(start_paused = true)]
    async fn pieces_begin_anew_and_the_whole_does_not() {
        let patience = of(3, Some(5));
        let began = Instant::now();
        assert_eq!(patience.next(), began + Duration::from_secs(3));
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(patience.next(), began + Duration::from_secs(5), "the whole comes first");
        assert!(!patience.is_over() && patience.why() == BodyError::Stalled);
        assert_eq!(patience.said_of_head(), "no head in 3s");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(patience.is_over() && patience.why() == BodyError::Late);
        assert!(patience.said_of_head().contains("timeouts.complete"));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_bound_nothing_is_over() {
        let patience = of(3, None);
        tokio::time::advance(Duration::from_secs(86_400)).await;
        assert!(!patience.is_over());
        assert_eq!(patience.next(), Instant::now() + Duration::from_secs(3));
        let endless = Patience::of_pieces(Duration::MAX);
        assert!(endless.next() > Instant::now());
    }
}
