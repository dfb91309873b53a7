//! Pure: a second's date and time as the logs write them, made once for all lines of that second.

use crate::base::digits::{four, two};
use crate::semantics::time::{Timestamp, civil};

/// A second in the forms that lines begin with. Years have four digits.
#[derive(Clone, Debug)]
pub struct Stamp {
    secs: u64,
    /// `2026-11-21T16:05:59.`, for the JSON log.
    pub json: [u8; 20],
    /// `2026-11-21`, a tab, `16:05:59` and a tab, for the standard log.
    pub tabbed: [u8; 20],
}

impl Stamp {
    /// The second in which a moment lies.
    pub fn of(at: Timestamp) -> Self {
        let secs = at.secs();
        let (year, month, day) = civil(secs / 86_400);
        let rest = secs % 86_400;
        let mut json = *b"0000-00-00T00:00:00.";
        json[..4].copy_from_slice(&four(year));
        let others = [month, day, rest / 3600, rest / 60 % 60, rest % 60];
        for (place, number) in [5, 8, 11, 14, 17].into_iter().zip(others) {
            json[place..place + 2].copy_from_slice(&two(number));
        }
        let mut tabbed = json;
        (tabbed[10], tabbed[19]) = (b'\t', b'\t');
        Self { secs, json, tabbed }
    }

    /// Goes to the second of a moment, if that is another one.
    pub fn turn_to(&mut self, at: Timestamp) {
        if self.secs != at.secs() {
            *self = Self::of(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::semantics::time::format_rfc3339;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_stamp_is_the_date_and_time_of_its_second(at in 0..253_402_300_800_000u64, later in 0..3_000u64) {
            let mut stamp = Stamp::of(Timestamp(at));
            for at in [Timestamp(at), Timestamp(at.min(253_402_300_799_999 - later) + later)] {
                stamp.turn_to(at);
                let text = format_rfc3339(at);
                prop_assert_eq!(&stamp.json[..], &text.as_bytes()[..20]);
                let tabbed = format!("{}\t{}\t", &text[..10], &text[11..19]);
                prop_assert_eq!(&stamp.tabbed[..], tabbed.as_bytes());
            }
        }
    }
}
