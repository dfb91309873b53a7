//! Structured Fields (RFC 9651), as much of them as a cache reads: a Dictionary of bare items.
//!
//! Strict, as the RFC asks: one bad byte and the whole field is as if absent. Parameters and inner
//! lists are read so as to be stepped over; their content is not kept.

/// A value without its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum BareItem {
    Integer(i64),
    Boolean(bool),
    /// Strings, tokens, decimals, byte sequences, dates and inner lists: present, of no use to us.
    Other,
}

/// Reads a Dictionary (RFC 9651 §4.2.2); of a repeated key the last value stays, in the first's
/// place.
pub fn parse_dictionary(text: &[u8]) -> Option<Vec<(String, BareItem)>> {
    let mut cursor = Cursor { rest: text };
    let mut members: Vec<(String, BareItem)> = Vec::new();
    cursor.skip_spaces();
    while !cursor.rest.is_empty() {
        let key = cursor.key()?;
        let value = if cursor.eat(b'=') {
            cursor.item_or_inner_list()?
        } else {
            cursor.parameters()?;
            BareItem::Boolean(true)
        };
        match members.iter_mut().find(|(name, _)| *name == key) {
            Some(member) => member.1 = value,
            None => members.push((key, value)),
        }
        cursor.skip_ows();
        if cursor.rest.is_empty() {
            break;
        }
        if !cursor.eat(b',') {
            return None;
        }
        cursor.skip_ows();
        if cursor.rest.is_empty() {
            return None; // a trailing comma
        }
    }
    Some(members)
}

struct Cursor<'a> {
    rest: &'a [u8],
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn take_while(&mut self, accept: impl Fn(u8) -> bool) -> &[u8] {
        let end = self.rest.iter().position(|b| !accept(*b)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at(end);
        self.rest = rest;
        taken
    }

    fn skip_spaces(&mut self) {
        self.take_while(|b| b == b' ');
    }

    fn skip_ows(&mut self) {
        self.take_while(|b| b == b' ' || b == b'\t');
    }

    fn key(&mut self) -> Option<String> {
        let first = self.peek()?;
        if !(first.is_ascii_lowercase() || first == b'*') {
            return None;
        }
        let name = self.take_while(|b| {
            b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*')
        });
        String::from_utf8(name.to_vec()).ok()
    }

    fn item_or_inner_list(&mut self) -> Option<BareItem> {
        if !self.eat(b'(') {
            let item = self.bare_item()?;
            self.parameters()?;
            return Some(item);
        }
        loop {
            self.skip_spaces();
            if self.eat(b')') {
                self.parameters()?;
                return Some(BareItem::Other);
            }
            self.bare_item()?;
            self.parameters()?;
            if !matches!(self.peek(), Some(b' ' | b')')) {
                return None;
            }
        }
    }

    fn parameters(&mut self) -> Option<()> {
        while self.eat(b';') {
            self.skip_spaces();
            self.key()?;
            if self.eat(b'=') {
                self.bare_item()?;
            }
        }
        Some(())
    }

    fn bare_item(&mut self) -> Option<BareItem> {
        match self.peek()? {
            b'-' | b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'?' => {
                self.eat(b'?');
                let value = self.peek()?;
                self.rest = &self.rest[1..];
                matches!(value, b'0' | b'1').then_some(BareItem::Boolean(value == b'1'))
            }
            b':' => {
                self.eat(b':');
                self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/'));
                let padding = self.take_while(|b| b == b'=').len();
                (self.eat(b':') && padding <= 2).then_some(BareItem::Other)
            }
            b'@' => {
                self.eat(b'@');
                matches!(self.number()?, BareItem::Integer(_)).then_some(BareItem::Other)
            }
            b'%' => {
                self.eat(b'%');
                self.display_string()
            }
            first if first.is_ascii_alphabetic() || first == b'*' => {
                self.take_while(|b| super::lists::is_token_byte(b) || matches!(b, b':' | b'/'));
                Some(BareItem::Other)
            }
            _ => None,
        }
    }

    fn number(&mut self) -> Option<BareItem> {
        let negative = self.eat(b'-');
        let digits = self.take_while(|b| b.is_ascii_digit());
        // RFC 9651 §4.2.4: fifteen digits at most.
        if digits.len() > 15 {
            return None;
        }
        let digits_before = digits.len();
        let value = super::lists::parse_digits(digits)?;
        if self.eat(b'.') {
            // Twelve digits before the point, one to three behind it.
            let (whole, fraction) = (digits_before, self.take_while(|b| b.is_ascii_digit()).len());
            return (whole <= 12 && (1..=3).contains(&fraction)).then_some(BareItem::Other);
        }
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        Some(BareItem::Integer(if negative { -value } else { value }))
    }

    fn string(&mut self) -> Option<BareItem> {
        self.eat(b'"');
        loop {
            match self.peek()? {
                b'"' => {
                    self.eat(b'"');
                    return Some(BareItem::Other);
                }
                b'\\' => {
                    self.eat(b'\\');
                    if !matches!(self.peek()?, b'"' | b'\\') {
                        return None;
                    }
                    self.rest = &self.rest[1..];
                }
                0x20..=0x7e => self.rest = &self.rest[1..],
                _ => return None,
            }
        }
    }
}

impl Cursor<'_> {
    // RFC 9651 §4.2.10: printable ASCII, and octets of UTF-8 as two lower-case hexadecimal digits.
    fn display_string(&mut self) -> Option<BareItem> {
        if !self.eat(b'"') {
            return None;
        }
        let mut octets = Vec::new();
        loop {
            let byte = self.peek()?;
            self.rest = &self.rest[1..];
            match byte {
                b'"' => return std::str::from_utf8(&octets).ok().map(|_| BareItem::Other),
                b'%' => {
                    let (pair, rest) = self.rest.split_at_checked(2)?;
                    if pair.iter().any(u8::is_ascii_uppercase) {
                        return None;
                    }
                    octets.push(
                        u8::from_str_radix(
                            std::str::from_utf8(pair).ok().filter(|p| !p.starts_with('+'))?,
                            16,
                        )
                        .ok()?,
                    );
                    self.rest = rest;
                }
                0x20..=0x7e => octets.push(byte),
                _ => return None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn rfc9651_grammar_case_by_case() {
        let good = [
            "",
            " ",
            "a",
            "a=1",
            "a=1 ",
            "  a=1",
            "a=1,b=2",
            "a=1 ,\t b=2",
            "*a=1",
            "a_-.*9=1",
            "a;x",
            "a;x=1; y=?0;*z=tok",
            "a=?1;x",
            "a=-1",
            "a=0",
            "a=-0",
            "a=00",
            "a=123456789012345",
            "a=-123456789012345",
            "a=1.5",
            "a=-0.123",
            "a=123456789012.123",
            "a=\"\"",
            "a=\"x y\"",
            "a=\"\\\"\\\\\"",
            "a=tok",
            "a=*tok",
            "a=t:o/k!#$%&'*+-.^_`|~9",
            "a=::",
            "a=:aGk=:",
            "a=:aGk:",
            "a=@0",
            "a=@-1659578233",
            "a=()",
            "a=( )",
            "a=(1)",
            "a=( 1  2 )",
            "a=(1;x \"y\";z=2);q",
            "a=%\"\"",
            "a=%\"f%c3%bc\"",
            "a=(),b",
        ];
        for text in good {
            assert!(parse_dictionary(text.as_bytes()).is_some(), "{text:?} is a dictionary");
        }
        let bad = [
            ",",
            "a,",
            "a, ",
            ",a",
            "a,,b",
            "\ta",
            "A=1",
            "1=1",
            "-a=1",
            "a=",
            "a= 1",
            "a =1",
            "a=1;",
            "a; x=",
            "a;X",
            "a;1=2",
            "a=1 b",
            "a=1;x =2",
            "a=-",
            "a=--1",
            "a=+1",
            "a=1234567890123456",
            "a=1.",
            "a=.1",
            "a=1.1234",
            "a=1234567890123.1",
            "a=1.-2",
            "a=1e3",
            "a=\"",
            "a=\"x",
            "a=\"\\x\"",
            "a=\"\\",
            "a=\"\x7f\"",
            "a=\"\u{e9}\"",
            "a='x'",
            "a=:",
            "a=:a",
            "a=:a b:",
            "a=:a===:",
            "a=:=a:",
            "a=?",
            "a=?2",
            "a=?true",
            "a=@",
            "a=@1.5",
            "a=@x",
            "a=(",
            "a=(1",
            "a=(1\t2)",
            "a=(1,2)",
            "a=(\"x\"\"y\")",
            "a=)",
            "a=(())",
            "a=%",
            "a=%x",
            "a=%\"",
            "a=%\"%C3%BC\"",
            "a=%\"%c3\"",
            "a=%\"%\"",
            "a=%\"%+1\"",
            "a=\u{e9}",
            "a=!x",
            "\u{e9}",
        ];
        for text in bad {
            assert_eq!(parse_dictionary(text.as_bytes()), None, "{text:?} is none");
        }
    }

    #[test]
    fn of_a_repeated_key_the_last_value_stays() {
        let read = parse_dictionary(b"a=1, b=2, a=?0, b").unwrap();
        assert_eq!(
            read,
            [("a".into(), BareItem::Boolean(false)), ("b".into(), BareItem::Boolean(true))]
        );
    }

    fn bare() -> impl Strategy<Value = (String, BareItem)> {
        prop_oneof![
            (-999_999_999_999_999i64..=999_999_999_999_999)
                .prop_map(|n| (n.to_string(), BareItem::Integer(n))),
            any::<bool>().prop_map(|b| (format!("?{}", u8::from(b)), BareItem::Boolean(b))),
            "[a-zA-Z*][a-zA-Z0-9:/!#$%&'*+.^_`|~-]{0,10}"
                .prop_map(|token| (token, BareItem::Other)),
            "[ !#-\\[\\]-~]{0,10}".prop_map(|text| (format!("\"{text}\""), BareItem::Other)),
            (0u64..1_000_000, 0u16..1000).prop_map(|(a, b)| (format!("{a}.{b}"), BareItem::Other)),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_by_the_grammar_is_read(
            members in proptest::collection::vec(("[a-z*][a-z0-9_.*-]{0,6}", bare(), proptest::collection::vec(("[a-z]{1,4}", bare()), 0..3)), 0..6),
        ) {
            let mut expected: Vec<(String, BareItem)> = Vec::new();
            let text: Vec<String> = members.iter().map(|(key, (written, item), parameters)| {
                match expected.iter_mut().find(|(known, _)| known == key) {
                    Some(known) => known.1 = item.clone(),
                    None => expected.push((key.clone(), item.clone())),
                }
                let parameters: String = parameters.iter().map(|(name, (written, _))| format!("; {name}={written}")).collect();
                format!("{key}={written}{parameters}")
            }).collect();
            prop_assert_eq!(parse_dictionary(text.join(", ").as_bytes()), Some(expected));
        }

        #[test]
        fn arbitrary_octets_never_panic(text in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse_dictionary(&text);
        }
    }

    #[test]
    fn dictionaries_are_read_and_bad_ones_refused_whole() {
        let good = parse_dictionary(b"a=1, b;x=\"y\", c=(1 \"z\");q, d=?0, a=-7").unwrap();
        assert_eq!(good[0], ("a".into(), BareItem::Integer(-7)));
        assert_eq!(good[1].1, BareItem::Boolean(true));
        assert_eq!(good[3].1, BareItem::Boolean(false));
        for bad in ["a=1,", "A=1", "a =1", "a= 1", "a=\"x", "a=1 b=2", "a=\u{e9}"] {
            assert_eq!(parse_dictionary(bad.as_bytes()), None, "{bad}");
        }
    }
}
