//! Pure: octets of JavaScript into tokens (ECMAScript 2024, section 12), as strict code has them.
//!
//! Whether `/` divides or begins a regular expression, and whether `}` goes on with a template, only
//! the grammar knows: the parser asks for either by name.

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    End,
    /// A name or a keyword.
    Name,
    /// `#name`.
    Private,
    Number,
    BigInt,
    Text,
    /// A piece of a template, from a backtick or `}` on; `more` if it ends with `${`.
    Template {
        more: bool,
    },
    Regex,
    Punctuator(&'static str),
}

/// A token and where it stands, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    pub start: usize,
    pub end: usize,
    /// A line ends between the token before and this one.
    pub after_newline: bool,
    /// A name with a `\u` escape is no keyword; a piece of a template with an escape that means
    /// nothing is good after a tag only.
    pub is_escaped: bool,
}

/// What is wrong, and at which octet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub at: usize,
    pub what: String,
}

pub(super) fn problem<T>(at: usize, what: impl Into<String>) -> Result<T, Problem> {
    Err(Problem { at, what: what.into() })
}

/// The longest first, so that the first that fits is the right one.
const PUNCTUATORS: &[&str] = &[
    ">>>=", "...", "===", "!==", "**=", "<<=", ">>=", ">>>", "&&=", "||=", "??=", "=>", "==", "!=",
    "<=", ">=", "&&", "||", "??", "?.", "++", "--", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=",
    "<<", ">>", "**", "{", "}", "(", ")", "[", "]", ";", ",", "<", ">", "+", "-", "*", "/", "%",
    "&", "|", "^", "!", "~", "?", ":", "=", ".",
];

/// Reads tokens one after another.
#[derive(Clone, Copy)]
pub(super) struct Lexer<'s> {
    source: &'s str,
    at: usize,
}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_space(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | ' ' | '\u{a0}' | '\u{feff}' | '\u{1680}' | '\u{202f}')
        || matches!(c, '\u{2000}'..='\u{200a}' | '\u{205f}' | '\u{3000}')
}

// Letters beyond ASCII by what the standard library knows of them, which is a little more than the
// tables of the standard: CloudFront takes none of these names, and our engine looks again.
fn begins_name(c: char) -> bool {
    c == '$' || c == '_' || c.is_alphabetic()
}

fn goes_on_name(c: char) -> bool {
    begins_name(c)
        || c.is_alphanumeric()
        || matches!(c, '\u{200c}' | '\u{200d}' | '\u{300}'..='\u{36f}' | '\u{203f}' | '\u{2040}')
}

impl<'s> Lexer<'s> {
    /// Begins behind a hash-bang line, if there is one.
    pub(super) fn new(source: &'s str) -> Self {
        let mut lexer = Self { source, at: 0 };
        if source.starts_with("#!") {
            lexer.skip_line();
        }
        lexer
    }

    fn rest(&self) -> &'s str {
        self.source.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn octet(&self, ahead: usize) -> u8 {
        self.source.as_bytes().get(self.at + ahead).copied().unwrap_or(0)
    }

    fn bump(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.at += c.len_utf8();
        Some(c)
    }

    fn skip_line(&mut self) {
        while self.peek().is_some_and(|c| !is_line_end(c)) {
            self.bump();
        }
    }

    // White space and comments; says whether a line ended.
    fn skip_blank(&mut self) -> Result<bool, Problem> {
        let mut newline = false;
        while let Some(c) = self.peek() {
            if is_line_end(c) {
                newline = true;
                self.bump();
            } else if is_space(c) {
                self.bump();
            } else if c == '/' && self.octet(1) == b'/' {
                self.skip_line();
            } else if c == '/' && self.octet(1) == b'*' {
                let Some(length) = self.rest()[2..].find("*/") else {
                    return problem(self.at, "a comment that does not end");
                };
                newline |= self.rest()[..length + 2].contains(is_line_end);
                self.at += length + 4;
            } else {
                break;
            }
        }
        Ok(newline)
    }

    /// The next token, `/` and `}` being punctuators.
    pub(super) fn next(&mut self) -> Result<Token, Problem> {
        let after_newline = self.skip_blank()?;
        let start = self.at;
        let mut is_escaped = false;
        let kind = match self.peek() {
            None => Kind::End,
            Some('"' | '\'') => self.text()?,
            Some('`') => {
                self.bump();
                let (more, good) = self.template(start)?;
                is_escaped = !good;
                Kind::Template { more }
            }
            Some('0'..='9') => self.number()?,
            Some('.') if self.octet(1).is_ascii_digit() => self.number()?,
            Some('#') => {
                self.bump();
                is_escaped = self.name()?;
                Kind::Private
            }
            Some(c) if c == '\\' || begins_name(c) => {
                is_escaped = self.name()?;
                Kind::Name
            }
            Some(c) => self.punctuator(c)?,
        };
        Ok(Token { kind, start, end: self.at, after_newline, is_escaped })
    }

    fn punctuator(&mut self, c: char) -> Result<Kind, Problem> {
        let rest = self.rest();
        if rest.starts_with("<!--") {
            // Some engines take it for a comment, others do not.
            return problem(self.at, "`<!--`");
        }
        let Some(found) = PUNCTUATORS.iter().find(|one| rest.starts_with(**one)) else {
            return problem(self.at, format!("unexpected character {c:?}"));
        };
        // `a?.5:1` is a condition.
        let found = if *found == "?." && self.octet(2).is_ascii_digit() { "?" } else { *found };
        self.at += found.len();
        Ok(Kind::Punctuator(found))
    }

    // Reads a name; says whether it has an escape.
    fn name(&mut self) -> Result<bool, Problem> {
        let (start, mut escaped, mut first) = (self.at, false, true);
        while let Some(c) = self.peek() {
            let c = if c == '\\' {
                self.bump();
                if self.bump() != Some('u') {
                    return problem(start, "a `\\` outside text");
                }
                escaped = true;
                match self.code_point().and_then(char::from_u32) {
                    Some(c) => c,
                    None => return problem(start, "an escape that is no character"),
                }
            } else if goes_on_name(c) {
                self.bump();
                c
            } else {
                break;
            };
            let fits = if first { begins_name(c) } else { goes_on_name(c) };
            if !fits {
                return problem(start, "an escape that does not belong into a name");
            }
            first = false;
        }
        if first { problem(start, "a `#` without a name") } else { Ok(escaped) }
    }

    // What follows `\u`: four digits, or some in braces.
    fn code_point(&mut self) -> Option<u32> {
        if self.octet(0) == b'{' {
            self.at += 1;
            let length = self.rest().bytes().take_while(u8::is_ascii_hexdigit).count();
            let digits = &self.rest()[..length];
            let ends = !digits.is_empty() && self.octet(length) == b'}';
            self.at += if ends { length + 1 } else { length };
            let significant = digits.trim_start_matches('0');
            let value = match significant.len() {
                0 => Some(0),
                1..=6 => u32::from_str_radix(significant, 16).ok(),
                _ => None,
            };
            return value.filter(|value| ends && *value <= 0x0010_ffff);
        }
        self.hex(4)
    }

    fn hex(&mut self, count: usize) -> Option<u32> {
        let digits = self.rest().get(..count)?;
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return None;
        }
        self.at += count;
        u32::from_str_radix(digits, 16).ok()
    }

    // What follows `\` in text and templates; `None` if it means nothing in strict code.
    fn escape(&mut self) -> Option<()> {
        match self.bump()? {
            'x' => self.hex(2).map(drop),
            'u' => self.code_point().map(drop),
            '0' if !self.octet(0).is_ascii_digit() => Some(()),
            '0'..='9' => None,
            '\r' if self.octet(0) == b'\n' => {
                self.at += 1;
                Some(())
            }
            _ => Some(()),
        }
    }

    fn text(&mut self) -> Result<Kind, Problem> {
        let start = self.at;
        let quote = self.bump();
        loop {
            let at = self.at;
            match self.bump() {
                c if c == quote && c.is_some() => return Ok(Kind::Text),
                None | Some('\n' | '\r') => return problem(start, "text that does not end"),
                Some('\\') if self.peek().is_none() => {
                    return problem(start, "text that does not end");
                }
                Some('\\') => {
                    let digit = self.octet(0).is_ascii_digit();
                    if self.escape().is_none() {
                        let what = if digit { "an octal escape" } else { "an escape" };
                        return problem(at, format!("{what} that text cannot have"));
                    }
                }
                Some(_) => {}
            }
        }
    }

    // The piece of a template behind a backtick or `}`: whether an expression follows, and whether
    // all escapes mean something.
    fn template(&mut self, start: usize) -> Result<(bool, bool), Problem> {
        let mut good = true;
        loop {
            match self.bump() {
                None => return problem(start, "a template that does not end"),
                Some('`') => return Ok((false, good)),
                Some('$') if self.octet(0) == b'{' => {
                    self.at += 1;
                    return Ok((true, good));
                }
                Some('\\') => good &= self.template_escape(),
                Some(_) => {}
            }
        }
    }

    // A bad escape must not swallow the end of the template.
    fn template_escape(&mut self) -> bool {
        let before = self.at;
        if self.escape().is_some() {
            return true;
        }
        self.at = before;
        self.bump();
        false
    }

    /// Reads on in a template whose expression ended with the `}` at `start`.
    pub(super) fn template_from(&mut self, start: usize) -> Result<Token, Problem> {
        self.at = start + 1;
        let (more, good) = self.template(start)?;
        let kind = Kind::Template { more };
        Ok(Token { kind, start, end: self.at, after_newline: false, is_escaped: !good })
    }

    /// Reads the regular expression that begins with the `/` at `start`, flags included.
    pub(super) fn regex_from(&mut self, start: usize) -> Result<Token, Problem> {
        self.at = start + 1;
        let mut in_class = false;
        loop {
            match self.bump() {
                Some('/') if !in_class => break,
                Some('[') => in_class = true,
                Some(']') => in_class = false,
                Some('\\') if self.peek().is_some_and(|c| !is_line_end(c)) => {
                    self.bump();
                }
                Some(c) if c != '\\' && !is_line_end(c) => {}
                _ => return problem(start, "a regular expression that does not end"),
            }
        }
        while self.peek().is_some_and(goes_on_name) {
            self.bump();
        }
        let (end, kind) = (self.at, Kind::Regex);
        Ok(Token { kind, start, end, after_newline: false, is_escaped: false })
    }

    fn number(&mut self) -> Result<Kind, Problem> {
        let start = self.at;
        let radix = match (self.octet(0), self.octet(1).to_ascii_lowercase()) {
            (b'0', b'x') => 16,
            (b'0', b'o') => 8,
            (b'0', b'b') => 2,
            _ => 10,
        };
        let kind = if radix == 10 {
            self.decimal(start)?
        } else {
            self.at += 2;
            self.digits(radix, start)?;
            self.big()
        };
        // `3in` and `5.toString()` are mistakes, and so is `0b12`.
        match self.peek() {
            Some(c) if c == '\\' || goes_on_name(c) => {
                problem(start, format!("a number with {c:?} behind it"))
            }
            _ => Ok(kind),
        }
    }

    fn big(&mut self) -> Kind {
        if self.octet(0) == b'n' {
            self.at += 1;
            return Kind::BigInt;
        }
        Kind::Number
    }

    fn decimal(&mut self, start: usize) -> Result<Kind, Problem> {
        if self.octet(0) == b'0' && (self.octet(1).is_ascii_digit() || self.octet(1) == b'_') {
            return problem(start, "a number that begins with 0: strict code has no octal numbers");
        }
        if self.octet(0) != b'.' {
            self.digits(10, start)?;
            if self.octet(0) == b'n' {
                return Ok(self.big());
            }
        }
        if self.octet(0) == b'.' {
            self.at += 1;
            if self.octet(0).is_ascii_digit() {
                self.digits(10, start)?;
            }
        }
        if matches!(self.octet(0), b'e' | b'E') {
            self.at += 1;
            if matches!(self.octet(0), b'+' | b'-') {
                self.at += 1;
            }
            self.digits(10, start)?;
        }
        Ok(Kind::Number)
    }

    // Digits with single separators between them.
    fn digits(&mut self, radix: u32, start: usize) -> Result<(), Problem> {
        let mut after_digit = false;
        loop {
            let octet = self.octet(0);
            if char::from(octet).is_digit(radix) {
                after_digit = true;
            } else if octet == b'_' && after_digit {
                after_digit = false;
            } else {
                break;
            }
            self.at += 1;
        }
        if after_digit { Ok(()) } else { problem(start, "a number that lacks a digit") }
    }
}
