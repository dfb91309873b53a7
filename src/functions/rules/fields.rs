//! Pure: the fields that a function returned, laid over those that it was shown. A line that was
//! not touched keeps its octets; a changed one is UTF-8.

use std::borrow::Cow;

use super::invalid::Invalid;
use super::names::{describes_octets, is_disallowed, is_framing, is_read_only};
use crate::functions::event::{CookieOut, FieldOut, Place};
use crate::message::request::Fields;
use crate::semantics::fields::{FieldSection, Name};
use crate::semantics::lists::trim;

/// The most octets of fields that a function may leave.
pub const FIELDS_MAX: usize = 40_960;

/// What a function was shown, and what it left.
pub struct Sides<'f> {
    pub place: Place,
    /// `None`: the code made the message itself.
    pub shown: Option<Fields<'f>>,
    /// Fields that were shown beside, which the request does not have itself.
    pub extra: &'f [(&'f str, &'f [u8])],
    pub headers: Option<&'f [FieldOut]>,
    /// Fields that are not among `headers` are as they were; else they are taken out.
    pub others_stay: bool,
    pub cookies: Option<&'f [CookieOut]>,
    /// It is a response, of either place.
    pub is_response: bool,
    /// What describes the octets of the body that was shown goes.
    pub has_new_body: bool,
}

/// The text that code sees for a value: UTF-8, or ISO-8859-1 where it is none.
pub fn as_text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => text.into(),
        Err(_) => octets.iter().map(|octet| char::from(*octet)).collect::<String>().into(),
    }
}

impl Sides<'_> {
    /// The fields that the message is to have; `None` where nothing changed.
    pub fn merged(&self) -> Result<Option<FieldSection>, Invalid> {
        let cookies = match self.cookies {
            Some(cookies) => self.cookie_lines(cookies)?,
            None => None,
        };
        if let Some(headers) = self.headers {
            self.check_names(headers)?;
        }
        let nothing = self.headers.is_none() && cookies.is_none();
        if nothing && self.shown.is_some() && !self.has_new_body {
            return Ok(None);
        }
        let mut out = FieldSection::new();
        let mut settled: Vec<usize> = Vec::new();
        if let Some(shown) = self.shown {
            self.lay_over(shown, cookies.as_deref(), &mut settled, &mut out)?;
        }
        self.add_new(&settled, &mut out)?;
        for line in cookies.iter().flatten() {
            out.append(self.cookie_name(), line.as_slice());
        }
        if out.lines_len() > FIELDS_MAX {
            let rule = "must have at most 40,960 octets";
            return Err(Invalid::new(self.path(), rule, &out.lines_len().to_string()));
        }
        let is_same = self.shown.is_some_and(|shown| {
            let lines = shown.iter().map(|(name, value)| (Name::from(name), value));
            lines.eq(out.iter().map(|(name, value)| (name, value.as_bytes())))
        });
        Ok((!is_same).then_some(out))
    }

    // The lines that were shown, as they are or as the code changed them. `settled` takes the
    // places of the returned names that are dealt with.
    fn lay_over(
        &self,
        shown: Fields<'_>,
        cookies: Option<&[Vec<u8>]>,
        settled: &mut Vec<usize>,
        out: &mut FieldSection,
    ) -> Result<(), Invalid> {
        for (spelled, value) in shown.iter() {
            if spelled.eq_ignore_ascii_case(self.cookie_name()) {
                if cookies.is_none() {
                    out.push(spelled, value);
                }
                continue;
            }
            let returned = self.headers.map(|headers| find(headers, spelled));
            let stays = match returned {
                None => true,
                Some(None) if self.others_stay => true,
                Some(None) => {
                    let name = spelled.to_ascii_lowercase();
                    // Code does not see what it may not touch.
                    let is_hidden = is_disallowed(&name);
                    if !is_hidden {
                        self.may_change(&name)?;
                    }
                    is_hidden
                }
                Some(Some((at, field))) => {
                    let is_first = !settled.contains(&at);
                    let is_same = self.is_same(shown, &field.name, field);
                    if is_first {
                        settled.push(at);
                        if !is_same {
                            self.may_change(&field.name)?;
                            self.append(&field.name, field, out)?;
                        }
                    }
                    is_same
                }
            };
            if stays && !(self.has_new_body && describes_octets(&spelled.to_ascii_lowercase())) {
                out.push(spelled, value);
            }
        }
        Ok(())
    }

    // Names that were not shown.
    fn add_new(&self, settled: &[usize], out: &mut FieldSection) -> Result<(), Invalid> {
        for (at, field) in self.headers.unwrap_or_default().iter().enumerate() {
            let is_shown_beside = self.extra.iter().any(|(name, value)| {
                *name == field.name
                    && field.values.len() == 1
                    && *field.values[0] == *as_text(value)
            });
            if settled.contains(&at) || is_shown_beside || field.values.is_empty() {
                continue;
            }
            self.may_change(&field.name)?;
            self.append(&field.name, field, out)?;
        }
        Ok(())
    }

    fn append(&self, name: &str, field: &FieldOut, out: &mut FieldSection) -> Result<(), Invalid> {
        if self.is_response && is_framing(name) {
            return Ok(());
        }
        for value in &field.values {
            let is_bad = value.chars().any(|c| c.is_control() && c != '\t');
            if is_bad || !out.append(name, trim(value.as_bytes())) {
                let path = format!("{}.{name}", self.path());
                let rule = "must not have line breaks or other control characters";
                return Err(Invalid::new(path, rule, ""));
            }
        }
        Ok(())
    }

    fn is_same(&self, shown: Fields<'_>, name: &str, field: &FieldOut) -> bool {
        let mut values = field.values.iter();
        let mut lines = shown.get_all(name);
        loop {
            match (lines.next(), values.next()) {
                (None, None) => return true,
                (Some(line), Some(value)) if as_text(line) == value.as_str() => {}
                _ => return false,
            }
        }
    }

    // No value is told: it may be a secret.
    fn may_change(&self, name: &str) -> Result<(), Invalid> {
        if is_disallowed(name) {
            let rule = format!("must not have the disallowed header {name}");
            return Err(Invalid::new(self.path(), rule, ""));
        }
        // A response that code made has nothing of ours yet; what is read-only may not be added.
        let place = if self.is_response { Place::ViewerResponse } else { self.place };
        if is_read_only(place, name) {
            let rule = format!("must not change the read-only header {name}");
            return Err(Invalid::new(self.path(), rule, ""));
        }
        Ok(())
    }

    fn check_names(&self, headers: &[FieldOut]) -> Result<(), Invalid> {
        for FieldOut { name, .. } in headers {
            if name.bytes().any(|b| b.is_ascii_uppercase()) {
                let rule = "must have header names in lower case";
                return Err(Invalid::new(self.path(), rule, name));
            }
            if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
                let rule = "must have names that are valid header names";
                return Err(Invalid::new(self.path(), rule, name));
            }
        }
        Ok(())
    }

    const fn path(&self) -> &'static str {
        if self.is_response { "response.headers" } else { "request.headers" }
    }

    const fn cookie_name(&self) -> &'static str {
        if self.is_response { "set-cookie" } else { "cookie" }
    }

    // The values that Cookie or Set-Cookie is to have; `None` where the cookies are as they were.
    fn cookie_lines(&self, cookies: &[CookieOut]) -> Result<Option<Vec<Vec<u8>>>, Invalid> {
        cookies.iter().try_for_each(|cookie| self.check_cookie(cookie))?;
        if self.is_response {
            return Ok(self.set_cookie_lines(cookies));
        }
        let shown = self.shown.into_iter().flat_map(|shown| shown.get_all("cookie"));
        let before: Vec<(Cow<'_, str>, Cow<'_, str>)> = shown
            .flat_map(|line| line.split(|b| *b == b';'))
            .map(trim)
            .filter(|pair| !pair.is_empty())
            .map(pair)
            .collect();
        if is_regrouped(&before, cookies) {
            return Ok(None);
        }
        let all: Vec<String> =
            cookies.iter().map(|one| format!("{}={}", one.name, one.value)).collect();
        let line = all.join("; ").into_bytes();
        Ok(Some(if line.is_empty() { Vec::new() } else { vec![line] }))
    }

    fn set_cookie_lines(&self, cookies: &[CookieOut]) -> Option<Vec<Vec<u8>>> {
        let mut before: Vec<Option<&[u8]>> = self
            .shown
            .into_iter()
            .flat_map(|shown| shown.get_all("set-cookie").map(Some))
            .collect();
        let shown = before.len();
        let lines: Vec<Vec<u8>> = cookies
            .iter()
            .map(|cookie| {
                let known = before.iter_mut().find(|line| {
                    line.is_some_and(|line| {
                        let (pair_of, attributes) = split_attributes(line);
                        let (name, value) = pair(pair_of);
                        name == cookie.name.as_str()
                            && value == cookie.value.as_str()
                            && as_text(attributes) == cookie.attributes.as_deref().unwrap_or("")
                    })
                });
                match known.and_then(Option::take) {
                    Some(line) => line.to_vec(),
                    None => set_cookie(cookie).into_bytes(),
                }
            })
            .collect();
        let is_same = lines.len() == shown && before.iter().all(Option::is_none);
        (!is_same).then_some(lines)
    }

    fn check_cookie(&self, cookie: &CookieOut) -> Result<(), Invalid> {
        let path = if self.is_response { "response.cookies" } else { "request.cookies" };
        let is_bad = |text: &str, also: &[char]| {
            text.contains(|c: char| c.is_control()) || text.contains(also)
        };
        if cookie.name.is_empty() || is_bad(&cookie.name, &['=', ';', ',', ' ']) {
            return Err(Invalid::new(path, "must have valid cookie names", &cookie.name));
        }
        if is_bad(&cookie.value, &[';']) {
            let rule = "must have values without semicolons and control characters";
            return Err(Invalid::new(path, rule, ""));
        }
        match cookie.attributes.as_deref() {
            Some(attributes) if is_bad(attributes, &[]) => {
                let rule = "must have attributes without control characters";
                Err(Invalid::new(path, rule, attributes))
            }
            _ => Ok(()),
        }
    }
}

// By a name in any case; those that were returned are in lower case.
fn find<'f>(headers: &'f [FieldOut], name: &str) -> Option<(usize, &'f FieldOut)> {
    headers.iter().enumerate().find(|(_, field)| field.name.eq_ignore_ascii_case(name))
}

// `a=b`, as code sees it.
fn pair(octets: &[u8]) -> (Cow<'_, str>, Cow<'_, str>) {
    let at = memchr::memchr(b'=', octets).unwrap_or(octets.len());
    (as_text(&octets[..at]), as_text(octets.get(at + 1..).unwrap_or_default()))
}

// `a=b` and what follows its semicolon.
fn split_attributes(line: &[u8]) -> (&[u8], &[u8]) {
    match memchr::memchr(b';', line) {
        Some(at) => (trim(&line[..at]), trim(&line[at + 1..])),
        None => (trim(line), b""),
    }
}

fn set_cookie(cookie: &CookieOut) -> String {
    let CookieOut { name, value, attributes } = cookie;
    let attributes = attributes.as_deref().unwrap_or("").trim_start_matches([' ', ';']);
    match attributes {
        "" => format!("{name}={value}"),
        more => format!("{name}={value}; {more}"),
    }
}

// Says whether the pairs are those that there were, but for the order of different names.
fn is_regrouped(before: &[(Cow<'_, str>, Cow<'_, str>)], now: &[CookieOut]) -> bool {
    if before.len() != now.len() {
        return false;
    }
    // A viewer may send thousands; the sort keeps the order of those of one name.
    let mut before: Vec<(&str, &str)> =
        before.iter().map(|(name, value)| (&**name, &**value)).collect();
    let mut now: Vec<(&str, &str)> =
        now.iter().map(|one| (one.name.as_str(), one.value.as_str())).collect();
    before.sort_by(|one, other| one.0.cmp(other.0));
    now.sort_by(|one, other| one.0.cmp(other.0));
    before == now
}
