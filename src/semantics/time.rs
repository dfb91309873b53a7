//! Moments and HTTP dates.
//!
//! A `Timestamp` is passed in wherever "now" matters; this file never reads a clock. Dates are read
//! in the three forms of RFC 9110 §5.6.7 and in nothing else, because a date that is not understood
//! means "already expired" (RFC 9111 §5.3), and a lenient reader would turn that into "fresh".

use std::cell::Cell;
use std::time::Duration;

/// A moment: milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Timestamp {
    /// A moment given in whole seconds since the epoch.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Whole seconds since the epoch.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// The moment `later` after this one; saturates at the end of time.
    pub fn plus(self, later: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(later.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Milliseconds from `earlier` to this moment; zero if `earlier` is later.
    pub const fn millis_since(self, earlier: Timestamp) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}

const MONTHS: [&[u8; 3]; 12] = [
    b"jan", b"feb", b"mar", b"apr", b"may", b"jun", b"jul", b"aug", b"sep", b"oct", b"nov", b"dec",
];
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]; // the epoch was a Thursday
const LONG_DAYS: [&[u8]; 7] =
    [b"monday", b"tuesday", b"wednesday", b"thursday", b"friday", b"saturday", b"sunday"];

/// Reads an HTTP date; `now` decides the century of a two-digit year (RFC 9110 §5.6.7).
///
/// ```
/// use foreshore::semantics::time::{parse_http_date, Timestamp};
/// let now = Timestamp::from_secs(1_700_000_000);
/// let moment = Some(Timestamp::from_secs(784_111_777));
/// assert_eq!(parse_http_date(b"Sun, 06 Nov 1994 08:49:37 GMT", now), moment);
/// assert_eq!(parse_http_date(b"Sunday, 06-Nov-94 08:49:37 GMT", now), moment);
/// assert_eq!(parse_http_date(b"Sun Nov  6 08:49:37 1994", now), moment);
/// assert_eq!(parse_http_date(b"Sun, 06 Nov 1994 08:49:37 UTC", now), None);
/// ```
pub fn parse_http_date(text: &[u8], now: Timestamp) -> Option<Timestamp> {
    fixdate_again(text).or_else(|| rfc850(text, now)).or_else(|| asctime(text))
}

thread_local! {
    /// The date of this form that was read last: that of an answer is read several times, and the
    /// next answer came most often in the same second.
    static LAST: Cell<Option<([u8; 29], Timestamp)>> = const { Cell::new(None) };
}

fn fixdate_again(text: &[u8]) -> Option<Timestamp> {
    let Ok(text) = <[u8; 29]>::try_from(text) else { return None };
    if let Some((known, at)) = LAST.get()
        && known == text
    {
        return Some(at);
    }
    let at = imf_fixdate(&text)?;
    LAST.set(Some((text, at)));
    Some(at)
}

// `Sun, 06 Nov 1994 08:49:37 GMT`, by position: every deviation of length or punctuation is
// refused.
fn imf_fixdate(t: &[u8]) -> Option<Timestamp> {
    if t.len() != 29 || &t[3..5] != b", " || t[7] != b' ' || t[11] != b' ' || t[16] != b' ' {
        return None;
    }
    is_short_day(&t[..3])?;
    is_gmt(&t[25..])?;
    moment(digits(&t[12..16])?, month(&t[8..11])?, digits(&t[5..7])?, &t[17..25])
}

// `Sunday, 06-Nov-94 08:49:37 GMT`.
fn rfc850(t: &[u8], now: Timestamp) -> Option<Timestamp> {
    let comma = t.iter().position(|b| *b == b',')?;
    if !LONG_DAYS.iter().any(|day| day.eq_ignore_ascii_case(&t[..comma])) {
        return None;
    }
    let t = &t[comma..];
    if t.len() != 24 || &t[..2] != b", " || t[4] != b'-' || t[8] != b'-' || t[11] != b' ' {
        return None;
    }
    is_gmt(&t[20..])?;
    let short = digits(&t[9..11])?;
    let (this_year, _, _) = civil(now.secs() / 86_400);
    let mut year = this_year - this_year % 100 + short;
    // More than fifty years ahead means the past century with the same two digits.
    if year > this_year + 50 {
        year -= 100;
    }
    moment(year, month(&t[5..8])?, digits(&t[2..4])?, &t[12..20])
}

// `Sun Nov  6 08:49:37 1994`, the day padded with a space.
fn asctime(t: &[u8]) -> Option<Timestamp> {
    if t.len() != 24 || t[3] != b' ' || t[7] != b' ' || t[10] != b' ' || t[19] != b' ' {
        return None;
    }
    is_short_day(&t[..3])?;
    let day = if t[8] == b' ' { digits(&t[9..10])? } else { digits(&t[8..10])? };
    moment(digits(&t[20..24])?, month(&t[4..7])?, day, &t[11..19])
}

fn is_short_day(t: &[u8]) -> Option<()> {
    DAYS.iter().any(|day| day.as_bytes().eq_ignore_ascii_case(t)).then_some(())
}

fn is_gmt(t: &[u8]) -> Option<()> {
    t.eq_ignore_ascii_case(b" GMT").then_some(())
}

fn digits(t: &[u8]) -> Option<u64> {
    t.iter().try_fold(0u64, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u64::from(b - b'0')))
}

fn month(t: &[u8]) -> Option<u64> {
    MONTHS.iter().position(|name| name.eq_ignore_ascii_case(t)).map(|at| at as u64 + 1)
}

fn moment(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<Timestamp> {
    if clock[2] != b':' || clock[5] != b':' {
        return None;
    }
    from_civil(
        (year, month, day),
        (digits(&clock[..2])?, digits(&clock[3..5])?, digits(&clock[6..])?),
    )
}

/// A moment from year, month and day, and from hour, minute and second, all in UTC; `None` if there
/// is no such moment since the epoch.
pub fn from_civil(
    (year, month, day): (u64, u64, u64),
    (hour, minute, second): (u64, u64, u64),
) -> Option<Timestamp> {
    if year < 1970 {
        return None;
    }
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let longest = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    // A leap second (60) is legal and counts as the next second.
    if day == 0
        || !(1..=12).contains(&month)
        || day > longest
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let days = days_from_civil(year, month, day);
    Some(Timestamp::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

// Days since the epoch of a date of the proleptic Gregorian calendar, years counted from March.
fn days_from_civil(year: u64, month: u64, day: u64) -> u64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y / 400;
    let year_of_era = y - era * 400;
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// Year, month and day of a number of days since the epoch.
pub fn civil(days: u64) -> (u64, u64, u64) {
    let z = days + 719_468;
    let era = z / 146_097;
    let doe = z - era * 146_097;
    let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    (yoe + era * 400 + u64::from(month <= 2), month, doy - (153 * mp + 2) / 5 + 1)
}

/// Writes an IMF-fixdate, the only form a sender may generate (RFC 9110 §5.6.7).
///
/// ```
/// use foreshore::semantics::time::{format_http_date, Timestamp};
/// assert_eq!(format_http_date(Timestamp::from_secs(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
/// ```
pub fn format_http_date(at: Timestamp) -> String {
    let (days, rest) = (at.secs() / 86_400, at.secs() % 86_400);
    let (year, month, day) = civil(days);
    let name = MONTHS[(month - 1) as usize];
    format!(
        "{}, {day:02} {}{}{} {year:04} {:02}:{:02}:{:02} GMT",
        DAYS[(days % 7) as usize],
        name[0].to_ascii_uppercase() as char,
        name[1] as char,
        name[2] as char,
        rest / 3600,
        rest / 60 % 60,
        rest % 60
    )
}

/// Writes a moment as RFC 3339 with milliseconds in UTC, for logs and JSON.
pub fn format_rfc3339(at: Timestamp) -> String {
    let (year, month, day) = civil(at.secs() / 86_400);
    let rest = at.secs() % 86_400;
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        rest / 3600,
        rest / 60 % 60,
        rest % 60,
        at.0 % 1000
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

    #[test]
    fn a_date_that_is_read_again_is_the_same_and_no_other() {
        let read = |text: &[u8]| parse_http_date(text, NOW).map(Timestamp::secs);
        assert_eq!(read(&[0; 29]), None);
        for _ in 0..2 {
            assert_eq!(read(b"Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
            assert_eq!(read(b"Sun, 06 Nov 1994 08:49:38 GMT"), Some(784_111_778));
            assert_eq!(read(b"Sun, 06 Nov 1994 08:49:38 UTC"), None);
        }
    }

    #[test]
    fn caching_3_1_accepts_three_forms_in_any_case() {
        for text in [
            "Thu, 01 Jan 2037 00:00:00 GMT",
            "thu, 01 jan 2037 00:00:00 gmt",
            "Monday, 01-Jan-37 00:00:00 GMT", // the weekday is not checked against the date
            "Thu Jan  1 00:00:00 2037",
        ] {
            assert_eq!(
                parse_http_date(text.as_bytes(), NOW),
                Some(Timestamp::from_secs(2_114_380_800)),
                "{text}"
            );
        }
    }

    #[test]
    fn caching_3_1_two_digit_years_more_than_fifty_ahead_are_past() {
        assert_eq!(
            parse_http_date(b"Sunday, 06-Nov-94 08:49:37 GMT", NOW),
            Some(Timestamp::from_secs(784_111_777))
        );
    }

    #[test]
    fn caching_3_2_years_far_ahead_work() {
        assert!(parse_http_date(b"Fri, 01 Jan 2286 00:00:00 GMT", NOW).is_some());
        assert!(parse_http_date(b"Fri, 01 Jan 9999 00:00:00 GMT", NOW).is_some());
    }

    #[test]
    fn caching_3_3_everything_else_is_invalid() {
        for text in [
            "",
            "0",
            "-1",
            "tomorrow",
            "Thu, 01 Jan 2037 00:00:00 UTC",
            "Thu, 01 Jan 2037 00:00:00 AEST",
            "Thu, 01 Jan 2037 00:00:00 +0000",
            "Thu, 01 Jan 37 00:00:00 GMT",
            "Thu 01 Jan 2037 00:00:00 GMT",
            "Thu,  01  Jan  2037  00:00:00  GMT",
            "Thu, 01-Jan-2037 00:00:00 GMT",
            "Thu, 01 Jan 2037 00.00.00 GMT",
            "Thu, 01 Jan 2037 0:00:00 GMT",
            "Thu, 32 Jan 2037 00:00:00 GMT",
            "Thu, 29 Feb 2037 00:00:00 GMT",
            "Thu, 01 Jan 2037 24:00:00 GMT",
            "Thu, 01 Jan 2037 00:00:00 GMT ",
            "Thursday, 01-Jan-2037 00:00:00 GMT",
            "Thu, 01-Jan-37 00:00:00 GMT",
        ] {
            assert_eq!(parse_http_date(text.as_bytes(), NOW), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_date_written_is_the_date_read(secs in 0u64..253_402_300_800) {
            let at = Timestamp::from_secs(secs);
            prop_assert_eq!(parse_http_date(format_http_date(at).as_bytes(), NOW), Some(at));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = parse_http_date(&bytes, NOW);
        }
    }

    const FORMS: [&str; 4] = [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun Nov 26 08:49:37 1994",
    ];

    #[test]
    fn caching_3_one_wrong_octet_anywhere_is_no_date() {
        let now = Timestamp::from_secs(1_800_000_000);
        for form in FORMS {
            assert!(parse_http_date(form.as_bytes(), now).is_some(), "{form}");
            for at in 0..form.len() {
                let mut text = form.as_bytes().to_vec();
                text[at] = b'#';
                assert_eq!(parse_http_date(&text, now), None, "{form} at {at}");
            }
            assert_eq!(parse_http_date(format!("{form} ").as_bytes(), now), None);
            assert_eq!(parse_http_date(&form.as_bytes()[..form.len() - 1], now), None);
        }
    }

    #[test]
    fn caching_3_days_and_clocks_have_their_bounds() {
        let now = Timestamp::from_secs(1_800_000_000);
        let is_date = |day: u64, month: &str, year: u64, clock: &str| {
            parse_http_date(format!("Sun, {day:02} {month} {year:04} {clock} GMT").as_bytes(), now)
                .is_some()
        };
        let lengths = [
            ("Jan", 31),
            ("Mar", 31),
            ("Apr", 30),
            ("May", 31),
            ("Jun", 30),
            ("Jul", 31),
            ("Aug", 31),
            ("Sep", 30),
            ("Oct", 31),
            ("Nov", 30),
            ("Dec", 31),
        ];
        for (month, longest) in lengths {
            assert!(
                is_date(1, month, 2001, "00:00:00") && is_date(longest, month, 2001, "23:59:60"),
                "{month}"
            );
            assert!(
                !is_date(0, month, 2001, "00:00:00")
                    && !is_date(longest + 1, month, 2001, "00:00:00"),
                "{month}"
            );
        }
        for (year, longest) in
            [(1999, 28), (2000, 29), (2024, 29), (2023, 28), (2100, 28), (1972, 29)]
        {
            assert!(
                is_date(longest, "Feb", year, "12:00:00")
                    && !is_date(longest + 1, "Feb", year, "12:00:00"),
                "{year}"
            );
        }
        for bad in ["24:00:00", "23:60:00", "23:59:61", "23-59:59", "23:59-59"] {
            assert!(!is_date(1, "Jan", 2001, bad), "{bad}");
        }
        assert!(is_date(1, "Jan", 1970, "00:00:00") && !is_date(31, "Dec", 1969, "23:59:59"));
    }

    #[test]
    fn caching_3_two_digits_of_a_year_are_at_most_fifty_years_ahead() {
        // 2027: 77 is fifty ahead and stays, 78 is of the past century.
        let now = Timestamp::from_secs(1_800_000_000);
        let year = |short: &str| {
            civil(
                parse_http_date(format!("Friday, 01-Jan-{short} 00:00:00 GMT").as_bytes(), now)
                    .unwrap()
                    .secs()
                    / 86_400,
            )
            .0
        };
        assert_eq!([year("26"), year("77"), year("78"), year("99")], [2026, 2077, 1978, 1999]);
    }

    #[test]
    fn moments_are_written_for_logs() {
        assert_eq!(format_rfc3339(Timestamp(1_800_000_123_045)), "2027-01-15T08:02:03.045Z");
        assert_eq!(format_rfc3339(Timestamp(951_868_799_999)), "2000-02-29T23:59:59.999Z");
        assert_eq!(Timestamp(5).plus(std::time::Duration::from_millis(7)), Timestamp(12));
    }
}
