//! Pure. A field section (RFC 9110 §5): the fields of one message as the lines that HTTP/1 has,
//! one after the other in one piece of memory, and where each of them lies.
//!
//! A map of names would be built for each message and asked for a handful of them. Here a field is
//! found by looking along the lines, which are few; a section goes out on HTTP/1 by one copy, into
//! an HPACK block line by line, and into the store as it is. The memory of a section that is
//! dropped serves the thread's next one.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::base::free_list::{self, FreeList};
use crate::base::{address, digits, fold, octets};

/// Memory for so many sections is kept by each thread.
const SPARE: usize = 256;
/// Larger pieces are given back to the allocator.
const SPARE_OCTETS: usize = 16 << 10;

thread_local! {
    // Boxed as they are used: a section is a pointer, so that moving messages moves little.
    static SPARES: FreeList<Box<Inner>> = const { FreeList::new(SPARE) };
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
        fold::eq(self.0, other.0)
    }
}

impl PartialEq<HeaderName> for Name<'_> {
    fn eq(&self, other: &HeaderName) -> bool {
        fold::eq(self.0, other.as_str().as_bytes())
    }
}

impl PartialEq<&HeaderName> for Name<'_> {
    fn eq(&self, other: &&HeaderName) -> bool {
        fold::eq(self.0, other.as_str().as_bytes())
    }
}

impl PartialEq<str> for Name<'_> {
    fn eq(&self, other: &str) -> bool {
        fold::eq(self.0, other.as_bytes())
    }
}

impl PartialEq<&str> for Name<'_> {
    fn eq(&self, other: &&str) -> bool {
        fold::eq(self.0, other.as_bytes())
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
    /// The marks of all names that were ever added: most names that are looked for are in no
    /// message, and this tells without looking at a line.
    marks: u64,
}

/// The fields of a message. An empty section has no memory.
pub struct FieldSection(Option<Box<Inner>>);

const NONE: &Inner = &Inner { octets: Vec::new(), lines: Vec::new(), has_gaps: false, marks: 0 };

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
            free_list::take(&SPARES).unwrap_or_else(|| {
                let (octets, lines) = (Vec::with_capacity(512), Vec::with_capacity(16));
                Box::new(Inner { octets, lines, has_gaps: false, marks: 0 })
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
        fields.push_lines(lines);
        fields
    }

    /// Adds lines as [`Self::write_lines`] writes them, all of them good, by one copy.
    pub fn push_lines(&mut self, lines: &[u8]) {
        let inner = self.inner_mut();
        let behind = inner.octets.len();
        inner.octets.extend_from_slice(lines);
        let mut at = 0;
        while let Some(end) = memchr::memchr(b'\n', &lines[at..]).map(|end| at + end) {
            if let Some(name) = memchr::memchr(b':', &lines[at..end])
                && end >= at + name + 3
            {
                let line = Line {
                    start: (behind + at) as u32,
                    name: name as u32,
                    end: (behind + end) as u32 - 1,
                    is_secret: false,
                };
                inner.marks |= mark(line.name(&inner.octets).0);
                inner.lines.push(line);
            }
            at = end + 1;
        }
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
        inner.close(start, name, false);
    }

    /// Adds a line that a parser has found good in a head of HTTP/1, by one copy where it stands
    /// there as it would be written here.
    pub fn push_from(&mut self, head: &[u8], name: &str, value: &[u8]) {
        let Some(line) = as_written(head, name, value) else { return self.push(name, value) };
        let inner = self.inner_mut();
        let (start, name) = (inner.octets.len(), name.len());
        inner.octets.extend_from_slice(line);
        let (start, name, end) = (start as u32, name as u32, (inner.octets.len() - 2) as u32);
        inner.marks |= mark(&line[..name as usize]);
        inner.lines.push(Line { start, name, end, is_secret: false });
    }

    /// Adds a line behind those of the same name. A name or a value that is none, with a line end
    /// in it for one, adds nothing; false says so.
    pub fn append<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) -> bool {
        let name = name.into().0;
        if !is_name(name) {
            return false;
        }
        let inner = self.inner_mut();
        let start = inner.octets.len();
        write_name(&mut inner.octets, name);
        inner.fill(start, name, value)
    }

    /// The same under a name that we know: one that is spelled as it goes out, of which nothing has
    /// to be found out.
    pub fn put(&mut self, name: &'static str, value: impl WriteValue) -> bool {
        debug_assert!(is_name(name.as_bytes()) && name.as_bytes()[0].is_ascii_uppercase());
        let inner = self.inner_mut();
        let start = inner.octets.len();
        inner.octets.extend_from_slice(name.as_bytes());
        inner.fill(start, name.as_bytes(), value)
    }

    /// Puts a line in the place of all of its name.
    pub fn insert<'n>(&mut self, name: impl Into<Name<'n>>, value: impl WriteValue) -> bool {
        let name = name.into();
        self.remove(name);
        self.append(name, value)
    }

    /// Takes out all lines of a name; false if there was none.
    pub fn remove<'n>(&mut self, name: impl Into<Name<'n>>) -> bool {
        let name = name.into();
        // Looked for first: to go through all lines with each kept in its place takes longer.
        self.contains(name) && self.retain(|known, _| known != name)
    }

    /// False only where no line has any of these names.
    #[inline]
    pub fn may_have(&self, names: Marks) -> bool {
        self.inner().marks & names.0 != 0
    }

    /// Keeps the lines of which `stays` is true. True if any went.
    pub fn retain(&mut self, mut stays: impl FnMut(Name<'_>, Value<'_>) -> bool) -> bool {
        let Some(inner) = &mut self.0 else { return false };
        let Inner { octets, lines, has_gaps, .. } = &mut **inner;
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
        if !inner.may_have(name) {
            return None;
        }
        inner.lines.iter().find(|line| line.is(name, &inner.octets)).map(|l| l.value(&inner.octets))
    }

    /// All lines of a name, in order.
    pub fn get_all<'f, 'n>(&'f self, name: impl Into<Name<'n>>) -> Named<'f, 'n> {
        let (inner, name) = (self.inner(), name.into());
        let lines = if inner.may_have(name) { inner.lines.iter() } else { [].iter() };
        Named { octets: &inner.octets, lines, name }
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

    /// The same with each line as it stands here: as HTTP/1 has it, with its end.
    pub fn lines(&self) -> impl Iterator<Item = (Name<'_>, Value<'_>, &[u8])> {
        let Inner { octets, lines, .. } = self.inner();
        lines.iter().map(move |line| {
            let text = &octets[line.start as usize..line.end as usize + 2];
            (line.name(octets), line.value(octets), text)
        })
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
    // Writes what follows the name of the line that begins at `start`; takes the line out again
    // where that may stand in none.
    fn fill(&mut self, start: usize, name: &[u8], value: impl WriteValue) -> bool {
        self.octets.extend_from_slice(b": ");
        let from = self.octets.len();
        value.write_value(&mut self.octets);
        // Without a branch for each octet.
        let is_good = self.octets[from..].iter().fold(true, |good, b| good & may_stand(*b));
        if is_good {
            self.close(start, name, value.is_secret());
        } else {
            self.octets.truncate(start);
        }
        is_good
    }

    // Ends the line that begins at `start` with this name, in whatever case.
    fn close(&mut self, start: usize, name: &[u8], is_secret: bool) {
        let end = self.octets.len();
        self.octets.extend_from_slice(b"\r\n");
        self.marks |= mark(name);
        let (start, name, end) = (start as u32, name.len() as u32, end as u32);
        self.lines.push(Line { start, name, end, is_secret });
    }

    // False only where no line has the name.
    #[inline]
    fn may_have(&self, name: Name<'_>) -> bool {
        self.marks & mark(name.0) != 0
    }

    fn clear(&mut self) {
        self.octets.clear();
        self.lines.clear();
        self.has_gaps = false;
        self.marks = 0;
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
            && fold::eq(&octets[self.start as usize..][..name.0.len()], name.0)
    }
}

impl Drop for FieldSection {
    fn drop(&mut self) {
        let Some(mut inner) = self.0.take() else { return };
        if inner.octets.capacity() == 0 || inner.octets.capacity() > SPARE_OCTETS {
            return;
        }
        inner.clear();
        free_list::keep(&SPARES, inner);
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
            own.marks = inner.marks;
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

// One bit of 64 for a name in any case, by its length, where it begins and how it ends. The factors
// are those with which the usual names of answers share fewest bits with names that are looked for.
#[inline]
const fn mark(name: &[u8]) -> u64 {
    let (first, last) = match name {
        [] => (0, 0),
        [only] => (*only, *only),
        [first, .., last] => (*first, *last),
    };
    let (first, last) = ((first & 0x1f) as usize, (last & 0x1f) as usize);
    1 << ((name.len() * 17 + first * 7 + last * 23) & 63)
}

/// The marks of a few names, in whatever case: they tell at once that none of these is there.
#[derive(Clone, Copy)]
pub struct Marks(u64);

impl Marks {
    /// Those of these names.
    pub const fn of(names: &[&str]) -> Self {
        let (mut all, mut at) = (0, 0);
        while at < names.len() {
            all |= mark(names[at].as_bytes());
            at += 1;
        }
        Self(all)
    }

    /// Those of the names of both.
    pub const fn and(self, more: Self) -> Self {
        Self(self.0 | more.0)
    }

    /// False only where a name is none of them.
    #[inline]
    pub const fn may_name(self, name: Name<'_>) -> bool {
        self.0 & mark(name.0) != 0
    }
}

// RFC 9110 §5.6.2.
fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().fold(true, |good, octet| good & TOKEN[*octet as usize])
}

static TOKEN: [bool; 256] = octets::table!(|octet| octet.is_ascii_alphanumeric() || is_mark(octet));

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

// The line of a head in which name and value stand, if it is what `push` would make of the two.
fn as_written<'h>(head: &'h [u8], name: &str, value: &[u8]) -> Option<&'h [u8]> {
    let start = (name.as_ptr() as usize).checked_sub(head.as_ptr() as usize)?;
    let behind_name = name.len() + 2;
    let line = head.get(start..start.checked_add(behind_name + value.len() + 2)?)?;
    let is_written = name.as_bytes().first().is_some_and(u8::is_ascii_uppercase)
        && value.as_ptr() as usize == name.as_ptr() as usize + behind_name
        && line[name.len()..].starts_with(b": ")
        && line.ends_with(b"\r\n");
    is_written.then_some(line)
}

/// Writes a field name the way HTTP/1 messages usually show it. One that begins with a capital goes
/// out as it was written.
#[inline]
pub fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    if name.first().is_some_and(u8::is_ascii_uppercase) {
        out.extend_from_slice(name);
    } else {
        write_capitals(out, name);
    }
}

#[inline(never)]
fn write_capitals(out: &mut Vec<u8>, name: &[u8]) {
    const UNUSUAL: [&str; 4] = ["ETag", "WWW-Authenticate", "CDN-Cache-Control", "Content-MD5"];
    if matches!((name.len(), name.first()), (4 | 16 | 17 | 11, Some(b'e' | b'w' | b'c')))
        && let Some(shown) =
            UNUSUAL.iter().find(|shown| shown.as_bytes().eq_ignore_ascii_case(name))
    {
        return out.extend_from_slice(shown.as_bytes());
    }
    let start = out.len();
    out.extend_from_slice(name);
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

    #[test]
    fn a_name_of_ours_and_whole_lines_are_added_as_any_line_is() {
        let mut fields = FieldSection::new();
        assert!(fields.append("a", "1") && fields.put("Via", ["1.1", " ", "x"]));
        assert!(!fields.put("Via", "1\r\nb: 2") && !fields.append("a b", "1"));
        fields.push_lines(b"Etag: \"1\"\r\nAge: 2\r\n");
        assert_eq!(lines(&fields), "A: 1\r\nVia: 1.1 x\r\nEtag: \"1\"\r\nAge: 2\r\n");
        let found = ["A", "via", "ETAG", "age"].map(|name| fields.get(name).unwrap().as_bytes());
        assert_eq!(found, [&b"1"[..], b"1.1 x", b"\"1\"", b"2"]);
        assert!(fields.remove("etag") && fields.len() == 3);
    }

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
    fn a_line_of_a_head_is_taken_as_it_stands_or_as_it_should() {
        for line in ["Date: x\r\n", "A:  x\r\n", "B:x\r\n", "C: x \r\n", "D:\tx\r\n", "E: x\n"] {
            for line in [line.to_string(), line.to_ascii_lowercase()] {
                let head = format!("HTTP/1.1 200 OK\r\n{line}\r\n");
                let mut space = [httparse::EMPTY_HEADER; 1];
                let mut read = httparse::Response::new(&mut space);
                assert!(read.parse(head.as_bytes()).unwrap().is_complete());
                let (mut copied, mut made) = (FieldSection::new(), FieldSection::new());
                copied.push_from(head.as_bytes(), read.headers[0].name, read.headers[0].value);
                made.push(read.headers[0].name, read.headers[0].value);
                assert_eq!(lines(&copied), lines(&made), "{head:?}");
                let value = copied.get(read.headers[0].name).unwrap();
                assert_eq!(value.as_bytes(), b"x", "{head:?}");
            }
        }
        let mut elsewhere = FieldSection::new();
        elsewhere.push_from(b"X: y\r\n", "X", b"y");
        assert_eq!(lines(&elsewhere), "X: y\r\n");
    }

    #[test]
    fn marks_tell_that_none_of_a_few_names_is_there() {
        const FEW: Marks = Marks::of(&["x-cache", "alt-svc"]);
        for name in ["x-cache", "X-Cache", "ALT-SVC"] {
            assert!(FEW.may_name(Name::from(name)));
            assert!(FieldSection::from_iter([("a", "1"), (name, "2")]).may_have(FEW), "{name}");
        }
        let usual = FieldSection::from_iter(
            ["date", "server", "content-type", "content-length", "cache-control", "etag"]
                .map(|name| (name, "1")),
        );
        assert!(!usual.may_have(FEW) && !FieldSection::new().may_have(FEW));
        assert!(FEW.and(Marks::of(&["etag"])).may_name(Name::from("ETag")));
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
