//! Sets of octets as tables, for text that is looked through without a branch for each octet.

/// For each octet whether something holds of it, worked out by the compiler.
macro_rules! table {
    (|$octet:ident| $holds:expr) => {{
        let mut table = [false; 256];
        let mut at = 0;
        while at < 256 {
            let $octet = at as u8;
            table[at] = $holds;
            at += 1;
        }
        table
    }};
}

pub(crate) use table;

#[cfg(test)]
mod tests {
    #[test]
    fn a_table_says_of_each_octet_whether_it_is_in() {
        static DIGITS: [bool; 256] = table!(|octet| octet.is_ascii_digit());
        for octet in 0..=u8::MAX {
            assert_eq!(DIGITS[usize::from(octet)], octet.is_ascii_digit());
        }
    }
}
