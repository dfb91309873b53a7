//! Pure: what all requests came to, second by second, for the last quarter of an hour.

use std::collections::VecDeque;

use serde::Serialize;

use crate::record::metrics::Totals;
use crate::semantics::time::Timestamp;

/// Moments that are kept: one a second, or a bit more often while somebody looks on.
const KEPT_MAX: usize = 1001;
/// And no longer than this.
const KEPT_MILLIS: u64 = 900_000;
/// An origin's times are taken together over so many moments, and over so long: one second alone
/// has few.
const ORIGIN_MOMENTS: usize = 10;
const ORIGIN_MILLIS: u64 = 10_500;
/// Sets of counters, one per core and behavior, that are added up a second while nobody looks on:
/// two megabytes of memory that are read, well below a thousandth of a core.
const SETS_A_SECOND: usize = 8192;
/// But once a minute at least.
const SECONDS_MAX: usize = 60;

/// How often what was counted is noted where there are so many sets of counters.
pub fn seconds_between(sets: usize) -> usize {
    sets.div_ceil(SETS_A_SECOND).clamp(1, SECONDS_MAX)
}

/// What the counters said, moment by moment.
#[derive(Default)]
pub struct History {
    moments: VecDeque<(Timestamp, Totals)>,
}

/// What happened between two moments, by the second.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rates {
    /// The later of the two, in milliseconds since the epoch.
    pub at: u64,
    pub requests: f64,
    pub bytes: f64,
    /// Of those that the cache may answer: hits and misses, as
    /// `aws_cloudfront_cache_hit_rate_average` counts them.
    pub hits: f64,
    pub misses: f64,
    pub client_errors: f64,
    pub server_errors: f64,
    /// Milliseconds within which half of the origins' heads came, and 99 of 100, in the last ten
    /// seconds, by the bounds of the histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_p50_ms: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub origin_p99_ms: Option<u64>,
}

impl History {
    /// Notes what the counters say now.
    pub fn note(&mut self, at: Timestamp, totals: Totals) {
        if self.moments.back().is_some_and(|(last, _)| *last >= at) {
            return;
        }
        let is_old = |first: &Timestamp| at.millis_since(*first) > KEPT_MILLIS;
        while self.moments.len() == KEPT_MAX
            || self.moments.front().is_some_and(|(first, _)| is_old(first))
        {
            self.moments.pop_front();
        }
        self.moments.push_back((at, totals));
    }

    /// Whether a moment was noted that is no older than this.
    pub fn has(&self, now: Timestamp, millis: u64) -> bool {
        self.moments.back().is_some_and(|(last, _)| now.millis_since(*last) < millis)
    }

    /// The last second.
    pub fn last(&self) -> Option<Rates> {
        self.rates_at(self.moments.len().checked_sub(1)?)
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> Vec<Rates> {
        (1..self.moments.len()).filter_map(|at| self.rates_at(at)).collect()
    }

    fn rates_at(&self, at: usize) -> Option<Rates> {
        let (now, totals) = self.moments.get(at)?;
        let (before, known) = self.moments.get(at.checked_sub(1)?)?;
        let further = (at.saturating_sub(ORIGIN_MOMENTS)..at)
            .map(|at| &self.moments[at])
            .find(|(then, _)| now.millis_since(*then) <= ORIGIN_MILLIS);
        let (gone, origin) =
            (totals.since(known), totals.since(further.map_or(known, |(_, totals)| totals)));
        let seconds = now.millis_since(*before) as f64 / 1000.0;
        // A tenth is as much as anybody reads, and short in JSON.
        let rate = |count: u64| (count as f64 * 10.0 / seconds).round() / 10.0;
        let (hits, misses) = gone.cacheable();
        Some(Rates {
            at: now.0,
            requests: rate(gone.requests()),
            bytes: rate(gone.bytes),
            hits: rate(hits),
            misses: rate(misses),
            client_errors: rate(gone.statuses[3]),
            server_errors: rate(gone.statuses[4]),
            origin_p50_ms: origin.origin_within(0.5),
            origin_p99_ms: origin.origin_within(0.99),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(hits: u64, misses: u64, bytes: u64) -> Totals {
        Totals {
            outcomes: [hits, 0, misses, 0, 0],
            statuses: [0, hits + misses, 0, 0, 0],
            bytes,
            ..Totals::default()
        }
    }

    #[test]
    fn rates_are_by_the_second_that_really_went_by() {
        let mut history = History::default();
        assert_eq!(history.last(), None);
        history.note(Timestamp(1000), totals(0, 0, 0));
        assert_eq!(history.last(), None);
        history.note(Timestamp(3000), totals(30, 10, 4000));
        let rates = history.last().unwrap();
        assert_eq!((rates.requests, rates.hits, rates.misses), (20.0, 15.0, 5.0));
        assert_eq!((rates.bytes, rates.origin_p50_ms), (2000.0, None));
        // A moment that was noted already, and counters that a reload took away.
        history.note(Timestamp(3000), totals(99, 0, 0));
        history.note(Timestamp(4000), totals(0, 0, 0));
        assert_eq!(history.last().unwrap().requests, 0.0);
        assert_eq!(history.all().len(), 2);
    }

    #[test]
    fn much_to_add_up_is_noted_less_often() {
        for (sets, seconds) in [(0, 1), (3, 1), (8192, 1), (8193, 2), (20_002, 3), (9_000_000, 60)]
        {
            assert_eq!(seconds_between(sets), seconds, "{sets} sets");
        }
        // So the moments are further apart, and reach back as far.
        let mut history = History::default();
        for at in 0..1000 {
            let latency = std::array::from_fn(|bucket| if bucket == 0 { at } else { 0 });
            let totals = Totals { latency, ..totals(at * 30, 0, 0) };
            history.note(Timestamp::from_secs(at * 3), totals);
        }
        let all = history.all();
        assert_eq!((all.len(), all[0].at), (300, 2_100_000));
        assert!(all.iter().all(|rates| rates.requests == 10.0 && rates.origin_p50_ms == Some(5)));
        // A pause that is longer than all of it.
        history.note(Timestamp::from_secs(90_000), totals(0, 0, 0));
        assert_eq!((history.all().len(), history.last()), (0, None));
    }

    #[test]
    fn a_quarter_of_an_hour_is_kept() {
        let mut history = History::default();
        (1..2000)
            .for_each(|second| history.note(Timestamp::from_secs(second), totals(second, 0, 0)));
        let all = history.all();
        assert_eq!((all.len(), all[0].at), (900, 1_100_000));
        assert!(all.iter().all(|rates| rates.requests == 1.0));
        let now = Timestamp(1_999_899);
        assert!(history.has(now, 900) && !history.has(Timestamp(1_999_900), 900));
        // As often as documents are made, it is as long.
        (0..1000).for_each(|at| history.note(Timestamp(3_000_000 + at * 900), totals(at, 0, 0)));
        let all = history.all();
        assert_eq!((all.len(), all[0].at), (999, 3_000_900));
        (1000..1100).for_each(|at| history.note(Timestamp(3_000_000 + at * 900), totals(at, 0, 0)));
        assert_eq!(history.all().len(), 1000);
    }
}
