//! Pure: when a certificate is renewed, and how long is waited after a failure.
//!
//! Everything is in proportion to the certificate's life, so that one of six days is renewed in
//! hours. Chance is given, as a number of 32 bits: edges of one fleet are not to ask together.

use std::time::Duration;

use super::trouble::{Kind, LONGEST_ASKED, Trouble};
use crate::semantics::time::{Timestamp, from_civil};

/// From when to when a certificate holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Life {
    pub from: Timestamp,
    pub until: Timestamp,
}

/// When the CA wants it renewed (RFC 9773).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub start: Timestamp,
    pub end: Timestamp,
}

/// The longest pause after failures.
const LONGEST: Duration = Duration::from_secs(12 * 3600);
/// Between two attempts that reloads ask for.
const RELOADED: Duration = Duration::from_secs(60);
/// How often a CA that cannot be reached is tried in quick succession.
const QUICK: u32 = 30;

// A part of a number of milliseconds, by chance.
const fn part(of: u64, chance: u32) -> u64 {
    ((of as u128 * chance as u128) >> 32) as u64
}

/// The moment to renew: one of the CA's window, if it says one, or two thirds of the life, less up
/// to a 24th of it by chance. Never so late that a failure could not be tried again.
pub fn renew_at(life: Life, window: Option<Window>, chance: u32) -> Timestamp {
    let whole = life.until.millis_since(life.from);
    let own = life.from.0 + whole / 3 * 2 - part(whole / 24, chance);
    let latest = life.until.0.saturating_sub(whole / 20);
    match window {
        // An empty or reversed window is none.
        Some(Window { start, end }) if start < end => {
            Timestamp((start.0 + part(end.millis_since(start), chance)).min(latest))
        }
        _ => Timestamp(own.min(latest)),
    }
}

/// From when on one that another renews should have been renewed: a quarter of its life is left.
pub const fn wanted_from(life: Life) -> Timestamp {
    Timestamp(life.from.0 + life.until.millis_since(life.from) / 4 * 3)
}

/// Until when nothing is tried, if that is still ahead. A moment further ahead than any CA may ask
/// for was written by a clock that was wrong, and does not count.
pub fn waits_until(at: Timestamp, now: Timestamp) -> Option<Timestamp> {
    (now < at && at <= now.plus(LONGEST_ASKED)).then_some(at)
}

/// How long to wait after so many failures in a row: longer each time, with up to half of it more
/// by chance, and at least what the CA asked for. `left` is what remains of the life of the
/// certificate in use, if there is one: with less of it, pauses are shorter.
pub fn pause(
    failures: u32,
    kind: Kind,
    asked: Option<Duration>,
    left: Option<Duration>,
    chance: u32,
) -> Duration {
    let seconds = match kind {
        // Nothing was counted against us: a CA that comes up is to be seen soon.
        Kind::Unreachable if failures <= QUICK => 1,
        Kind::Unreachable => 2_u64.saturating_pow((failures - QUICK).min(12)).min(600),
        _ => 60_u64.saturating_mul(5_u64.saturating_pow(failures.saturating_sub(1).min(6))),
    };
    let longest = left.map_or(LONGEST, |left| (left / 10).clamp(Duration::from_secs(60), LONGEST));
    let pause = Duration::from_secs(seconds).min(longest);
    let more = part(u64::try_from(pause.as_millis() / 2).unwrap_or(u64::MAX), chance);
    (pause + Duration::from_millis(more)).max(asked.unwrap_or_default())
}

/// Until when the CA wants to be left alone after a failure, and no reload changes that: what it
/// asked for, or the whole pause where too much was asked of it. The epoch, if it wants nothing.
pub fn left_alone(trouble: &Trouble, tried: Timestamp, retry: Timestamp) -> Timestamp {
    match (trouble.asked, trouble.kind) {
        // Not cut short by a part of a second, of which files know nothing.
        (Some(asked), _) => Timestamp::from_secs(tried.plus(asked).secs() + 1),
        (None, Kind::RateLimited) => retry,
        (None, _) => Timestamp(0),
    }
}

/// From when on a reload has a certificate tried again whose last attempt failed then: once a
/// minute at most, not while the CA wants to be left alone, and no later than it is by itself.
pub fn after_reload(tried: Timestamp, left_alone: Timestamp, retry: Timestamp) -> Timestamp {
    tried.plus(RELOADED).max(left_alone).min(retry)
}

/// A number of 32 bits out of octets that are as good as chance, such as those of a signature: the
/// same certificate is renewed at the same moment, however often the edge is started.
pub fn chance(octets: &[u8]) -> u32 {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, octets);
    let first = digest.as_ref().iter().take(4);
    first.fold(0, |sum, octet| (sum << 8) | u32::from(*octet))
}

/// Reads a moment of RFC 3339, whole seconds of it; `None` if it is none, or before 1970.
pub fn moment(text: &str) -> Option<Timestamp> {
    let number = |from: usize, len: usize| -> Option<u64> {
        let digits = text.get(from..from + len)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let is_apart = |at: usize, by: &[u8]| text.as_bytes().get(at).is_some_and(|b| by.contains(b));
    let is_formed = is_apart(4, b"-")
        && is_apart(7, b"-")
        && is_apart(10, b"Tt ")
        && is_apart(13, b":")
        && is_apart(16, b":");
    if !is_formed {
        return None;
    }
    let at = from_civil(
        (number(0, 4)?, number(5, 2)?, number(8, 2)?),
        (number(11, 2)?, number(14, 2)?, number(17, 2)?),
    )?;
    let rest = text.get(19..)?;
    let rest = match rest.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => rest,
    };
    let offset = match rest.as_bytes() {
        b"Z" | b"z" => 0,
        [b'+' | b'-', _, _, b':', _, _] => {
            let from = text.len() - 5;
            let minutes = number(from, 2)? * 60 + number(from + 3, 2)?;
            if minutes > 24 * 60 {
                return None;
            }
            minutes * 60
        }
        _ => return None,
    };
    let secs = if rest.starts_with('-') {
        at.secs().checked_add(offset)?
    } else {
        at.secs().checked_sub(offset)?
    };
    Some(Timestamp::from_secs(secs))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: u64 = 86_400;

    fn life(days: u64) -> Life {
        let from = Timestamp::from_secs(1_800_000_000);
        Life { from, until: from.plus(Duration::from_secs(days * DAY)) }
    }

    fn days_in(life: Life, at: Timestamp) -> f64 {
        at.millis_since(life.from) as f64 / (DAY * 1000) as f64
    }

    #[test]
    fn a_certificate_is_renewed_after_two_thirds_of_its_life_or_a_little_earlier() {
        for days in [90, 47, 6, 1] {
            let life = life(days);
            let whole = days as f64;
            let late = days_in(life, renew_at(life, None, 0));
            let early = days_in(life, renew_at(life, None, u32::MAX));
            assert!((late / whole - 2.0 / 3.0).abs() < 0.001, "{late}");
            assert!((early / whole - (2.0 / 3.0 - 1.0 / 24.0)).abs() < 0.001, "{early}");
        }
    }

    #[test]
    fn the_cas_window_counts_where_it_is_one_and_leaves_time_to_try_again() {
        let life = life(90);
        let day = |days: u64| life.from.plus(Duration::from_secs(days * DAY));
        let window = |start: u64, end: u64| Some(Window { start: day(start), end: day(end) });
        for (window, chance, expected) in [
            (window(40, 42), 0, 40.0),
            (window(40, 42), u32::MAX / 2, 41.0),
            (window(40, 42), u32::MAX, 42.0),
            // At once: the CA is about to revoke it.
            (window(0, 1), 0, 0.0),
            // Too late: 5 in 100 of the life are kept.
            (window(89, 90), u32::MAX, 85.5),
            (window(500, 600), 0, 85.5),
            // None at all.
            (window(42, 40), 0, 60.0),
            (window(40, 40), 0, 60.0),
        ] {
            let at = days_in(life, renew_at(life, window, chance));
            assert!((at - expected).abs() < 0.01, "{window:?} {chance}: {at}");
        }
    }

    #[test]
    fn a_life_of_no_time_is_over() {
        let from = Timestamp::from_secs(1_800_000_000);
        for until in [from, Timestamp::from_secs(1_700_000_000)] {
            assert!(renew_at(Life { from, until }, None, 7) <= from);
        }
    }

    #[test]
    fn pauses_grow_and_end_and_heed_the_ca() {
        let secs = |failures, kind| pause(failures, kind, None, None, 0).as_secs();
        let grown: Vec<u64> = (1..6).map(|failures| secs(failures, Kind::NotProved)).collect();
        assert_eq!(grown, [60, 300, 1500, 7500, 37_500]);
        assert_eq!(secs(1000, Kind::Refused), LONGEST.as_secs());
        assert_eq!((secs(1, Kind::Unreachable), secs(30, Kind::Unreachable)), (1, 1));
        assert_eq!((secs(35, Kind::Unreachable), secs(u32::MAX, Kind::Unreachable)), (32, 600));
        let hour = Some(Duration::from_secs(3600));
        assert_eq!(pause(1, Kind::RateLimited, hour, None, 0).as_secs(), 3600);
        let jittered = pause(2, Kind::Refused, None, None, u32::MAX);
        assert!((449..=450).contains(&jittered.as_secs()), "{jittered:?}");
        // Two hours before its end, ten minutes are the most.
        let left = Some(Duration::from_secs(6000));
        assert_eq!(pause(6, Kind::Refused, None, left, 0).as_secs(), 600);
        let left = Some(Duration::ZERO);
        assert_eq!(pause(6, Kind::Refused, None, left, 0).as_secs(), 60);
    }

    #[test]
    fn a_reload_shortens_a_pause_to_a_minute_and_no_wish_of_the_ca() {
        let secs = Timestamp::from_secs;
        let tried = secs(1_800_000_000);
        let after = |seconds: u64| secs(1_800_000_000 + seconds);
        let not_proved = Trouble::new(Kind::NotProved, "");
        let limited = Trouble::new(Kind::RateLimited, "");
        let wishing = |kind, seconds| Trouble {
            asked: Some(Duration::from_secs(seconds)),
            ..Trouble::new(kind, "")
        };
        for (trouble, retry, expected) in [
            (&not_proved, 7500, 60),
            (&not_proved, 2, 2),
            (&wishing(Kind::Refused, 30), 300, 60),
            (&wishing(Kind::Refused, 120), 300, 121),
            (&wishing(Kind::RateLimited, 7200), 7201, 7201),
            (&limited, 300, 300),
        ] {
            let until = left_alone(trouble, tried, after(retry));
            let at = after_reload(tried, until, after(retry));
            assert_eq!(at, after(expected), "{trouble} {retry}");
        }
        // A clock that was set back makes nothing later than it was.
        assert_eq!(after_reload(after(9000), secs(0), after(300)), after(300));
    }

    #[test]
    fn a_moment_is_waited_for_unless_it_is_over_or_from_a_wrong_clock() {
        let now = Timestamp::from_secs(1_800_000_000);
        let at = |days: u64| now.plus(Duration::from_secs(days * DAY));
        for (at, waits) in
            [(now, false), (at(1), true), (at(7), true), (at(8), false), (at(9000), false)]
        {
            assert_eq!(waits_until(at, now), waits.then_some(at));
        }
        assert_eq!(waits_until(Timestamp(0), now), None);
        let life = life(90);
        assert!((days_in(life, wanted_from(life)) - 67.5).abs() < 0.01);
    }

    #[test]
    fn moments_are_read_with_fraction_and_offset() {
        let at = |text: &str| moment(text).map(Timestamp::secs);
        assert_eq!(at("1970-01-01T00:00:00Z"), Some(0));
        assert_eq!(at("2025-01-02T04:00:00Z"), Some(1_735_790_400));
        assert_eq!(at("2025-01-02T04:00:00.123456789Z"), Some(1_735_790_400));
        assert_eq!(at("2025-01-02T05:30:00+01:30"), Some(1_735_790_400));
        assert_eq!(at("2025-01-01T20:00:00-08:00"), Some(1_735_790_400));
        for bad in [
            "",
            "2025-01-02",
            "2025-01-02T04:00:00",
            "2025-13-02T04:00:00Z",
            "2025-01-02T04:00:00X",
            "2025-01-02T04:00:00+1:00",
            "2025-01-02T04:00:00+99:00",
            "1970-01-01T00:00:00+01:00",
            "+025-01-02T04:00:00Z",
            "2025-01-02T04:00:00Zä",
            "ä025-01-02T04:00:00Z",
        ] {
            assert_eq!(at(bad), None, "{bad}");
        }
    }

    #[test]
    fn chance_is_the_same_for_the_same_and_spreads() {
        assert_eq!(chance(b"one"), chance(b"one"));
        let above = (0..1000_u32).filter(|n| chance(&n.to_be_bytes()) > u32::MAX / 2).count();
        assert!((400..600).contains(&above), "{above}");
    }
}
