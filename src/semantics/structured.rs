//! Structured Fields (RFC 9651), as much of them as a cache reads: a Dictionary of bare items.
//!
//! Strict, as the RFC asks: one bad byte and the whole field is as if absent. Parameters and inner lists
//! are read so as to be stepped over; their content is not kept.

/// A value without its parameters.
#[derive(Clone, Debug, PartialEq)]
pub enum BareItem {
    Integer(i64),
    Boolean(bool),
    /// Strings, tokens, decimals, byte sequences, dates and inner lists: present, of no use to us.
    Other,
}

/// Reads a Dictionary (RFC 9651 §4.2.2); of a repeated key the last value stays, in the first's place.
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
        let name = self.take_while(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-' | b'.' | b'*'));
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
                self.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
                self.eat(b':').then_some(BareItem::Other)
            }
            b'@' => {
                self.eat(b'@');
                self.number().map(|_| BareItem::Other)
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
        let value = super::lists::parse_digits(digits)?;
        if self.eat(b'.') {
            return (!self.take_while(|b| b.is_ascii_digit()).is_empty()).then_some(BareItem::Other);
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

#[cfg(test)]
mod tests {
    use super::*;

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
