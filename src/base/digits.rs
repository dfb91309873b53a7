//! Numbers as decimal octets, without the machinery of `core::fmt`.
//!
//! Most numbers of a head or of a log line are short, and a short one is a few moves: only what has
//! five digits or more is composed elsewhere and copied.

/// Appends a number.
#[inline]
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    match number {
        0..=9 => out.push(digit(number)),
        10..=99 => out.extend_from_slice(&two(number)),
        100..=999 => out.extend_from_slice(&three(number)),
        1000..=9999 => out.extend_from_slice(&four(number)),
        _ => out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes()),
    }
}

/// The last two digits of a number, zeros in front.
#[inline]
pub const fn two(number: u64) -> [u8; 2] {
    [digit(number / 10), digit(number)]
}

/// The last three digits of a number, zeros in front.
#[inline]
pub const fn three(number: u64) -> [u8; 3] {
    [digit(number / 100), digit(number / 10), digit(number)]
}

/// The last four digits of a number, zeros in front.
#[inline]
pub const fn four(number: u64) -> [u8; 4] {
    [digit(number / 1000), digit(number / 100), digit(number / 10), digit(number)]
}

// The last digit.
const fn digit(number: u64) -> u8 {
    b'0' + (number % 10) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(number: u64) -> String {
        let mut out = Vec::new();
        decimal(&mut out, number);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_length_is_written_as_std_writes_it() {
        let edges = (0..20).flat_map(|power| [10u64.pow(power) - 1, 10u64.pow(power)]);
        for number in edges.chain(0..12_000).chain([u64::MAX]) {
            assert_eq!(text(number), number.to_string());
        }
        for number in 0..12_000 {
            assert_eq!(two(number), format!("{:02}", number % 100).as_bytes());
            assert_eq!(three(number), format!("{:03}", number % 1000).as_bytes());
            assert_eq!(four(number), format!("{:04}", number % 10_000).as_bytes());
        }
    }

    proptest! {
        #[test]
        fn any_number_is_written_as_std_writes_it(number in any::<u64>(), shift in 0u32..64) {
            let number = number >> shift;
            prop_assert_eq!(text(number), number.to_string());
        }
    }
}
