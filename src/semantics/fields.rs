//! Pure. A field section (RFC 9110 §5): the fields of one message as the lines that HTTP/1 has,
//! one after the other in one piece of memory, and where each of them lies.
//!
//! A map of names would be built for each message and asked for a handful of them. Here a field is
//! found by looking along the lines, which are few; a section goes out on HTTP/1 by one copy, into
//! an HPACK block line by line, and into the store as it is. The memory of a section that is
//! dropped serves the thread's next one.

use std::cell::RefCell;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::{address, digits};

/// Memory for so many sections is kept by each thread.
const SPARE: usize = 256;
/// Larger pieces are given back to the allocator.
const SPARE_OCTETS: usize = 16 << 10;

// Boxed as they are used: a section is a pointer, so that moving messages moves little.
#[allow(clippy::vec_box, reason = "what is taken out is the box itself")]
type Spares = Vec<Box<Inner>>;

thread_local! {
    static SPARES: RefCell<Spares> = const { RefCell::new(Vec::new()) };
}

/// The name of a field, in whatever case it is written: a token, so all of it is ASCII.
#[derive(Clone, Copy)]
pub struct Name<'a>(&'a [u8]);

impl<'a> Name<'a> {
    /// A name that a parser has found good.
    pub const fn of(octets: &'a [u8]) -> Self {
        Self(octets)
    }

    /// The name as it is written here; two spellings may mean the same.
    pub fn spelled(self) -> &'a str {
        std::str::from_utf8(self.0).unwrap_or("")
    }

    /// The same as octets.
    pub const fn octets(self) -> &'a [u8] {
        self.0
    }

    /// Says whether the name begins so, in any case.
    pub fn begins(self, prefix: &str) -> bool {
        self.0
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix.as_bytes()))
    }

    /// Says whether it is one of several names.
    pub fn is_any(self, names: &[HeaderName]) -> bool {
        names.iter().any(|name| self == *name)
    }

    /// The name as a value of its own, in lower case; `None` if it is none.
    pub fn to_header(self) -> Option<HeaderName> {
        HeaderName::from_bytes(self.0).ok()
    }
}

impl<'a> From<&'a str> for Name<'a> {
    fn from(name: &'a str) -> Self {
        Self(name.as_bytes())
    }
}

impl<'a> From<&Name<'a>> for Name<'a> {
    fn from(name: &Name<'a>) -> Self {
        *name
    }
}

impl<'a> From<&'a String> for Name<'a> {
    fn from(name: &'a String) -> Self {
        Self(name.as_bytes())
    }
}

impl<'a> From<&'a HeaderName> for Name<'a> {
    fn from(name: &'a HeaderName) -> Self {
        Self(name.as_str().as_bytes())
    }
}

impl PartialEq for Name<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.0.eq_ignore_ascii_case(other.0)
    }
}

impl PartialEq<HeaderName> for Name<'_> {
    fn eq(&self, other: &HeaderName) -> bool {
        self.0.eq_ignore_ascii_case(other.as_str().as_bytes())
    }
}

impl PartialEq<&HeaderName> for Name<'_> {
    fn eq(&self, other: &&HeaderName) -> bool {
        self.0.eq_ignore_ascii_case(other.as_str().as_bytes())
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0.eq_ignore_ascii_case(other.as_bytes())
    }
}

impl PartialEq<&str> for Name<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.0.eq_ignore_ascii_case(other.as_bytes())
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.spelled().to_ascii_lowercase(), f)
    }
}

/// The value of one line, without blanks around it. One that is a secret is not shown by Debug.
#[derive(Clone, Copy)]
pub struct Value<'a> {
    octets: &'a [u8],
    is_secret: bool,
}

impl<'a> Value<'a> {
    /// Its octets.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.octets
    }

    /// Says whether it is a secret.
    pub const fn is_secret(self) -> bool {
        self.is_secret
    }

    /// The same as text; an error where it is not all visible ASCII, blanks and tabs.
    pub fn to_str(self) -> Result<&'a str, NotText> {
        let is_text = self.octets.iter().all(|b| matches!(b, 0x20..=0x7e | b'\t'));
        is_text.then(|| std::str::from_utf8(self.octets).ok()).flatten().ok_or(NotText)
    }
}

/// A value has octets that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotText;

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.octets == other.octets
    }
}

impl Eq for Value<'_> {}

impl PartialEq<[u8]> for Value<'_> {
    fn eq(&self, other: &[u8]) -> bool {
        self.octets == other
    }
}

impl PartialEq<&[u8]> for Value<'_> {
    fn eq(&self, other: &&[u8]) -> bool {
        self.octets == *other
    }
}

impl PartialEq<str> for Value<'_> {
    fn eq(&self, other: &str) -> bool {
        self.octets == other.as_bytes()
    }
}

impl PartialEq<&str> for Value<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.octets == other.as_bytes()
    }
}

impl PartialEq<String> for Value<'_> {
    fn eq(&self, other: &String) -> bool {
        self.octets == other.as_bytes()
    }
}

impl fmt::Debug for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_secret {
            return f.write_str("a secret");
        }
        fmt::Debug::fmt(&String::from_utf8_lossy(self.octets), f)
    }
}

/// What may be written as a value: text, octets, numbers, dates.
pub trait WriteValue {
    /// Appends the value's octets.
    fn write_value(&self, out: &mut Vec<u8>);

    /// Says whether it is a secret.
    fn is_secret(&self) -> bool {
        false
    }
}

macro_rules! octets {
    ($($kind:ty),*) => {$(
        impl WriteValue for $kind {
            fn write_value(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(AsRef::<[u8]>::as_ref(self));
            }
        }
    )*};
}

octets!(&[u8], &str, String, &String, Vec<u8>, &Vec<u8>, &mut Vec<u8>, Box<[u8]>, bytes::Bytes);

impl WriteValue for HeaderValue {
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn is_secret(&self) -> bool {
        self.is_sensitive()
    }
}

impl WriteValue for &HeaderValue {
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.as_bytes());
    }

    fn is_secret(&self) -> bool {
        self.is_sensitive()
    }
}

impl WriteValue for Value<'_> {
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.octets);
    }

    fn is_secret(&self) -> bool {
        self.is_secret
    }
}

impl WriteValue for u64 {
    fn write_value(&self, out: &mut Vec<u8>) {
        digits::decimal(out, *self);
    }
}

impl WriteValue for std::net::IpAddr {
    fn write_value(&self, out: &mut Vec<u8>) {
        address::write(out, *self);
    }
}

/// Several pieces of text, one behind the other.
impl<const N: usize> WriteValue for [&str; N] {
    fn write_value(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|part| out.extend_from_slice(part.as_bytes()));
    }
}

/// A value that is written by a function, straight to where it lies.
pub struct By<F>(pub F);

impl<F: Fn(&mut Vec<u8>)> WriteValue for By<F> {
    fn write_value(&self, out: &mut Vec<u8>) {
        (self.0)(out);
    }
}

/// Where a line lies: its name, `: `, its value, CR and LF.
#[derive(Clone, Copy)]
struct Line {
    start: u32,
    name: u32,
    /// The end of the value.
    end: u32,
    is_secret: bool,
}

#[derive(Default)]
struct Inner {
    octets: Vec<u8>,
    lines: Vec<Line>,
    /// Lines have been taken out: not all octets count any more.
    has_gaps: bool,
}

/// The fields of a message. An empty section has no memory.
pub struct FieldSection(Option<Box<Inner>>);

const NONE: &Inner = &Inner { octets: Vec::new(), lines: Vec::new(), has_gaps: false };

impl FieldSection {
    /// An empty section.
    pub const fn new() -> Self {
        Self(None)
    }

    fn inner(&self) -> &Inner {
        self.0.as_deref().unwrap_or(NONE)
    }

    // Memory of a section that was dropped, if this one has none yet.
    fn inner_mut(&mut self) -> &mut Inner {
        self.0.get_or_insert_with(|| {
            SPARES.with_borrow_mut(Vec::pop).unwrap_or_else(|| {
                let (octets, lines) = (Vec::with_capacity(512), Vec::with_capacity(16));
                Box::new(Inner { octets, lines, has_gaps: false })
            })
        })
    }

    /// The fields of a map.
    pub fn from_map(map: &HeaderMap) -> Self {
        let mut fields = Self::new();
        map.iter().for_each(|(name, value)| {
            fields.append(name, value);
        });
        fields
    }

    /// Takes lines as [`Self::write_lines`] writes them, all of them good.
    pub fn from_lines(lines: &[u8]) -> Self {
        let mut fields = Self::new();
        let inner = fields.inner_mut();
        inner.octets.extend_from_slice(lines);
        let mut at = 0;
        while let Some(end) = memchr::memchr(b'\n', &lines[at..]).map(|end| at + end) {
            if let Some(name) = memchr::memchr(b':', &lines[at..end])
                && end >= at + name + 3
            {
                let line = Line {
                    start: at as u32,
                    name: name as u32,
                    end: end as u32 - 1,
                    is_secret: false,
                };
                inner.lines.push(line);
            }
            at = end + 1;
        }
        fields
    }

    /// How many lines there are.
    pub fn len(&self) -> usize {
        self.inner().lines.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.inner().lines.is_empty()
    }

    /// Adds a line whose name and value a parser has found good. Names are written as people
    /// expect them in HTTP/1.
    pub fn push<'n>(&mut self, name: impl Into<Name<'n>>, value: &[u8]) {
        let name = name.into().0;
        let inner = self.inner_mut();
        let start = inner.octets.len();
        inner.octets.reserve(name.len() + value.len() + 4);
        write_name(&mut inner.octets, name);
        inner.octets.extend_from_slice(b": ");
        inner.octets.extend_from_slice(value);
        inner.close(start, name.len(), false);
    }

    /// Adds a line behind those of the same name. A name or a value that is none, with a line end
    /// in it for one, adds nothing; false says so.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) -> bool {
        let name = name.into().0;
        let inner = self.inner_mut();
        let start = inner.octets.len();
        write_name(&mut inner.octets, name);
        inner.octets.extend_from_slice(b": ");
        let from = inner.octets.len();
        value.write_value(&mut inner.octets);
        // Without a branch for each octet.
        let is_value = inner.octets[from..].iter().fold(true, |good, b| good & may_stand(*b));
        let is_good = is_value && is_name(name);
        if is_good {
            inner.close(start, name.len(), value.is_secret());
        } else {
            inner.octets.truncate(start);
        }
        is_good
    }

    /// Puts a line in the place of all of its name.
    pub fn insert<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) -> bool {
        let name = name.into();
        if self.contains(name) {
            self.remove(name);
        }
        self.append(name, value)
    }

    /// Takes out all lines of a name; false if there was none.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) -> bool {
        let name = name.into();
        self.retain(|known, _| known != name)
    }

    /// Keeps the lines of which `stays` is true. True if any went.
    pub fn retain(&mut self, mut stays: impl FnMut(Name<'_>, Value<'_>) -> bool) -> bool {
        let Some(inner) = &mut self.0 else { return false };
        let Inner { octets, lines, has_gaps } = &mut **inner;
        let before = lines.len();
        lines.retain(|line| stays(line.name(octets), line.value(octets)));
        let has_lost = lines.len() < before;
        *has_gaps |= has_lost;
        has_lost
    }

    /// Takes out all lines of a name, and gives them back.
    pub fn take<'n>(&mut self, name: impl Into<Name<'n>>) -> Self {
        let name = name.into();
        let mut taken = Self::new();
        self.get_all(name).for_each(|value| {
            taken.append(name, value);
        });
        if !taken.is_empty() {
            self.remove(name);
        }
        taken
    }

    /// Takes out everything.
    pub fn clear(&mut self) {
        self.0.iter_mut().for_each(|inner| inner.clear());
    }

    /// The first line of a name.
    pub fn get<'n>(&self, name: impl Into<Name<'n>>) -> Option<Value<'_>> {
        let (inner, name) = (self.inner(), name.into());
        inner.lines.iter().find(|line| line.is(name, &inner.octets)).map(|l| l.value(&inner.octets))
    }

    /// All lines of a name, in order.
    pub fn get_all<'f, 'n>(&'f self, name: impl Into<Name<'n>>) -> Named<'f, 'n> {
        let inner = self.inner();
        Named { octets: &inner.octets, lines: inner.lines.iter(), name: name.into() }
    }

    /// Says whether there is a line of a name.
    pub fn contains<'n>(&self, name: impl Into<Name<'n>>) -> bool {
        self.get(name).is_some()
    }

    /// The value of the line with this number, from zero.
    pub fn nth(&self, at: usize) -> Option<Value<'_>> {
        let inner = self.inner();
        inner.lines.get(at).map(|line| line.value(&inner.octets))
    }

    /// Each line, in order.
    pub fn iter(&self) -> Iter<'_> {
        let inner = self.inner();
        Iter { octets: &inner.octets, lines: inner.lines.iter() }
    }

    /// Adds all lines of another section.
    pub fn extend(&mut self, more: &Self) {
        more.iter().for_each(|(name, value)| {
            self.append(name, value);
        });
    }

    /// How many octets [`Self::write_lines`] writes.
    pub fn lines_len(&self) -> usize {
        self.inner().lines.iter().map(|line| (line.end - line.start) as usize + 2).sum()
    }

    /// Writes all lines as HTTP/1 has them, each with its end.
    pub fn write_lines(&self, out: &mut Vec<u8>) {
        let inner = self.inner();
        if !inner.has_gaps {
            return out.extend_from_slice(&inner.octets);
        }
        for line in &inner.lines {
            out.extend_from_slice(&inner.octets[line.start as usize..line.end as usize + 2]);
        }
    }
}

impl Inner {
    // Ends the line that begins at `start`.
    fn close(&mut self, start: usize, name: usize, is_secret: bool) {
        let end = self.octets.len();
        self.octets.extend_from_slice(b"\r\n");
        let (start, name, end) = (start as u32, name as u32, end as u32);
        self.lines.push(Line { start, name, end, is_secret });
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.lines.clear();
        self.has_gaps = false;
    }
}

impl Line {
    fn name<'o>(&self, octets: &'o [u8]) -> Name<'o> {
        Name(&octets[self.start as usize..(self.start + self.name) as usize])
    }

    fn value<'o>(&self, octets: &'o [u8]) -> Value<'o> {
        let octets = &octets[(self.start + self.name + 2) as usize..self.end as usize];
        Value { octets, is_secret: self.is_secret }
    }

    fn is(&self, name: Name<'_>, octets: &[u8]) -> bool {
        self.name as usize == name.0.len()
            && octets[self.start as usize..][..name.0.len()].eq_ignore_ascii_case(name.0)
    }
}

impl Drop for FieldSection {
    fn drop(&mut self) {
        let Some(mut inner) = self.0.take() else { return };
        if inner.octets.capacity() == 0 || inner.octets.capacity() > SPARE_OCTETS {
            return;
        }
        inner.clear();
        // A thread that ends has no spares any more.
        let _ = SPARES.try_with(|spares| {
            if let Ok(mut spares) = spares.try_borrow_mut()
                && spares.len() < SPARE
            {
                spares.push(inner);
            }
        });
    }
}

impl Default for FieldSection {
    fn default() -> Self {
        Self::new()
    }
}

impl Clone for FieldSection {
    fn clone(&self) -> Self {
        let mut copy = Self::new();
        if let Some(inner) = &self.0 {
            let own = copy.inner_mut();
            own.octets.extend_from_slice(&inner.octets);
            own.lines.extend_from_slice(&inner.lines);
            own.has_gaps = inner.has_gaps;
        }
        copy
    }
}

/// The same lines for each name, in the same order; names may stand in any.
impl PartialEq for FieldSection {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len()
            && self.iter().all(|(name, _)| self.get_all(name).eq(other.get_all(name)))
    }
}

impl Eq for FieldSection {}

impl fmt::Debug for FieldSection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'n, N: Into<Name<'n>>, V: WriteValue> FromIterator<(N, V)> for FieldSection {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(lines: T) -> Self {
        let mut fields = Self::new();
        lines.into_iter().for_each(|(name, value)| {
            fields.append(name, value);
        });
        fields
    }
}

/// The lines of one name.
#[derive(Clone)]
pub struct Named<'f, 'n> {
    octets: &'f [u8],
    lines: std::slice::Iter<'f, Line>,
    name: Name<'n>,
}

impl<'f> Iterator for Named<'f, '_> {
    type Item = Value<'f>;

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.find(|line| line.is(self.name, self.octets))?;
        Some(line.value(self.octets))
    }
}

/// Each line of a section, as name and value.
#[derive(Clone)]
pub struct Iter<'f> {
    octets: &'f [u8],
    lines: std::slice::Iter<'f, Line>,
}

impl<'f> Iterator for Iter<'f> {
    type Item = (Name<'f>, Value<'f>);

    fn next(&mut self) -> Option<Self::Item> {
        let line = self.lines.next()?;
        Some((line.name(self.octets), line.value(self.octets)))
    }
}

impl<'f> IntoIterator for &'f FieldSection {
    type Item = (Name<'f>, Value<'f>);
    type IntoIter = Iter<'f>;

    fn into_iter(self) -> Iter<'f> {
        self.iter()
    }
}

// RFC 9110 §5.6.2.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().fold(true, |good, octet| good & TOKEN[*octet as usize])
}

static TOKEN: [bool; 256] = {
    let mut token = [false; 256];
    let mut octet = 0;
    while octet < 256 {
        token[octet] = (octet as u8).is_ascii_alphanumeric() || is_mark(octet as u8);
        octet += 1;
    }
    token
};

const fn is_mark(octet: u8) -> bool {
    matches!(
        octet,
        b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
    )
}

// RFC 9110 §5.5: visible octets, those above ASCII, blanks and tabs.
const fn may_stand(octet: u8) -> bool {
    (octet >= 0x20 && octet != 0x7f) || octet == b'\t'
}

/// Writes a field name the way HTTP/1 messages usually show it.
pub fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    const UNUSUAL: [&str; 4] = ["ETag", "WWW-Authenticate", "CDN-Cache-Control", "Content-MD5"];
    if matches!((name.len(), name.first()), (4 | 16 | 17 | 11, Some(b'e' | b'w' | b'c')))
        && let Some(shown) =
            UNUSUAL.iter().find(|shown| shown.as_bytes().eq_ignore_ascii_case(name))
    {
        return out.extend_from_slice(shown.as_bytes());
    }
    let start = out.len();
    out.extend_from_slice(name);
    // A name that begins with a capital goes out as it was written.
    if name.first().is_some_and(u8::is_ascii_uppercase) {
        return;
    }
    let mut is_first = true;
    for octet in &mut out[start..] {
        *octet = if is_first { octet.to_ascii_uppercase() } else { octet.to_ascii_lowercase() };
        is_first = *octet == b'-';
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(fields: &FieldSection) -> String {
        let mut out = Vec::new();
        fields.write_lines(&mut out);
        assert_eq!(out.len(), fields.lines_len());
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn names_are_shown_as_people_expect_them() {
        for (name, shown) in [
            ("etag", "ETag"),
            ("ETAG", "ETAG"),
            ("X-ThisWay", "X-ThisWay"),
            ("content-type", "Content-Type"),
            ("x-amz-cf-id", "X-Amz-Cf-Id"),
            ("www-Authenticate", "WWW-Authenticate"),
            ("cdn-cache-control", "CDN-Cache-Control"),
            ("content-md5", "Content-MD5"),
            ("date", "Date"),
        ] {
            let mut out = Vec::new();
            write_name(&mut out, name.as_bytes());
            assert_eq!(out, shown.as_bytes());
        }
    }

    #[test]
    fn what_would_end_a_line_adds_none() {
        let mut fields = FieldSection::new();
        for value in ["a\r\nb: c", "a\nb", "a\0", "\u{7f}", "\u{1}"] {
            assert!(!fields.append("x", value), "{value:?}");
        }
        for name in ["", "a b", "a:b", "a\r\nb", "ä"] {
            assert!(!fields.append(name, "v"), "{name:?}");
        }
        assert!(fields.append("x", "a\tb ü"));
        assert_eq!(lines(&fields), "X: a\tb ü\r\n");
    }

    #[test]
    fn a_section_taken_from_its_lines_is_the_same() {
        let fields = FieldSection::from_iter([("a", "1"), ("b", ""), ("a", "2: 3")]);
        let mut copy = FieldSection::from_lines(lines(&fields).as_bytes());
        assert_eq!(copy, fields);
        assert!(copy.remove("B") && !copy.remove("b"));
        assert_eq!(lines(&copy), "A: 1\r\nA: 2: 3\r\n");
    }

    proptest! {
        // As a map has it, whatever is done to it.
        #[test]
        fn it_says_what_a_map_would(
            steps in proptest::collection::vec((0u8..4, "[aA]|b|x-Y", "[a-z ]{0,3}"), 0..30),
        ) {
            let (mut fields, mut map) = (FieldSection::new(), HeaderMap::new());
            for (what, name, value) in &steps {
                let known = HeaderName::from_bytes(name.as_bytes()).unwrap();
                let held = HeaderValue::from_str(value).unwrap();
                match what {
                    0 => {
                        prop_assert!(fields.insert(name.as_str(), value));
                        map.insert(known, held);
                    }
                    1 => {
                        prop_assert!(fields.append(name.as_str(), value));
                        map.append(known, held);
                    }
                    2 => prop_assert_eq!(fields.remove(name.as_str()), map.remove(known).is_some()),
                    _ => prop_assert_eq!(
                        fields.take(name.as_str()).iter().map(|(_, v)| v.as_bytes().to_vec()).collect::<Vec<_>>(),
                        match map.entry(known) {
                            http::header::Entry::Occupied(lines) =>
                                lines.remove_entry_mult().1.map(|v| v.as_bytes().to_vec()).collect(),
                            http::header::Entry::Vacant(_) => Vec::new(),
                        }
                    ),
                }
            }
            prop_assert_eq!(fields.len(), map.len());
            for name in map.keys() {
                let ours: Vec<&[u8]> = fields.get_all(name).map(Value::as_bytes).collect();
                let theirs: Vec<&[u8]> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
                prop_assert_eq!(ours, theirs);
            }
            let again = FieldSection::from_lines(lines(&fields).as_bytes());
            prop_assert!(again == fields);
        }
    }
}
