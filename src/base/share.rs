//! Pure: a share of all requests or viewers, in percent with four decimals.

use std::fmt;

/// A share, in millionths.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share(u32);

impl Share {
    /// What lots are drawn out of.
    pub const ALL: u64 = 1_000_000;

    /// The share nearest to a percentage; `None` for what is none.
    pub fn of_percent(percent: f64) -> Option<Self> {
        let is_share = (0.0..=100.0).contains(&percent);
        is_share.then(|| Self((percent * 10_000.0).round() as u32))
    }

    /// This as a percentage.
    pub fn percent(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// Says whether a lot out of `ALL` falls into it.
    pub const fn takes(self, lot: u64) -> bool {
        lot < self.0 as u64
    }
}

/// As configurations say it: `5`, `12.5`.
impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.percent(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_keep_four_decimals() {
        for (percent, text) in
            [(0.0, "0"), (0.0001, "0.0001"), (5.0, "5"), (12.5, "12.5"), (100.0, "100")]
        {
            let share = Share::of_percent(percent).unwrap();
            assert_eq!((share.to_string().as_str(), share.percent()), (text, percent));
        }
        // What is left of a binary fraction goes.
        assert_eq!(Share::of_percent(0.07 * 100.0), Share::of_percent(7.0));
        for none in [-0.1, 100.1, f64::NAN, f64::INFINITY] {
            assert_eq!(Share::of_percent(none), None);
        }
    }

    #[test]
    fn a_share_takes_that_many_lots() {
        let taken = |percent: f64| {
            let share = Share::of_percent(percent).unwrap();
            (0..Share::ALL).filter(|lot| share.takes(*lot)).count()
        };
        assert_eq!((taken(0.0), taken(12.5), taken(100.0)), (0, 125_000, 1_000_000));
    }
}
