//! Pure: what a call is told, copied out of the exchange as octets, and made into text when the
//! code first touches it.
//!
//! The engine's functions live longer than an exchange does, so they cannot borrow from it; a copy
//! of a head of a kilobyte costs a tenth of a microsecond. What is a list goes over as one text, a
//! line for each item, which JavaScript splits: name, how many, then the values of each.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::functions::event::{Event, IdFacts, RequestFacts, ResponseFacts};
use crate::message::request::RequestId;

/// A part of the event, by the number that `event.js` asks for it with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Headers,
    Cookies,
    Query,
    RawQuery,
    Answered,
    Set,
    Context,
    Viewer,
    Edge,
}

const PARTS: [Part; 9] = [
    Part::Headers,
    Part::Cookies,
    Part::Query,
    Part::RawQuery,
    Part::Answered,
    Part::Set,
    Part::Context,
    Part::Viewer,
    Part::Edge,
];

impl Part {
    /// The part of a number, if it is one.
    pub fn numbered(number: i32) -> Option<Self> {
        PARTS.get(usize::try_from(number).ok()?).copied()
    }
}

/// Where a text stands among the octets.
#[derive(Clone, Copy, Debug, Default)]
struct Span(usize, usize);

/// A name with its texts: values, or values and attributes in turn.
pub type Entry = (String, Vec<String>);

/// The event of one call; the room that it takes is used again by the next.
#[derive(Debug, Default)]
pub struct Told {
    octets: Vec<u8>,
    headers: Vec<(Span, Span)>,
    cookies: Vec<Span>,
    answered: Vec<(Span, Span)>,
    set: Vec<Span>,
    query: Option<Span>,
    /// Domain name, distribution, and the request's id where it came as text.
    context: [Span; 3],
    id: Option<RequestId>,
    viewer: Option<IpAddr>,
    /// Name, server, region.
    edge: Option<(Span, IpAddr, Span)>,
}

impl Told {
    /// Takes over an event.
    pub fn fill(&mut self, event: &Event<'_>) {
        self.octets.clear();
        self.headers.clear();
        self.cookies.clear();
        self.answered.clear();
        self.set.clear();
        self.fill_request(&event.request);
        if let Some(response) = &event.response {
            self.fill_response(response);
        }
        let domain = event.domain_name.unwrap_or_default();
        self.context = [
            self.copy(domain.as_bytes()),
            self.copy(event.distribution_id.as_bytes()),
            match event.request_id {
                IdFacts::Text(text) => self.copy(text.as_bytes()),
                IdFacts::Id(_) => Span::default(),
            },
        ];
        self.id = match event.request_id {
            IdFacts::Text(_) => None,
            IdFacts::Id(id) => Some(id),
        };
        self.viewer = Some(event.viewer);
        self.edge = event.edge.map(|edge| {
            (self.copy(edge.name.as_bytes()), edge.server, self.copy(edge.region.as_bytes()))
        });
    }

    fn fill_request(&mut self, request: &RequestFacts<'_>) {
        for (name, value) in request.fields.iter() {
            if name.eq_ignore_ascii_case("cookie") {
                let value = self.copy(value);
                self.cookies.push(value);
            } else {
                let line = (self.copy_lower(name), self.copy(value));
                self.headers.push(line);
            }
        }
        for (name, value) in request.extra {
            let line = (self.copy_lower(name), self.copy(value));
            self.headers.push(line);
        }
        self.query = request.query.map(|query| self.copy(query));
    }

    fn fill_response(&mut self, response: &ResponseFacts<'_>) {
        for (name, value) in response.fields.iter() {
            if name.eq_ignore_ascii_case("set-cookie") {
                let value = self.copy(value);
                self.set.push(value);
            } else {
                let line = (self.copy_lower(name), self.copy(value));
                self.answered.push(line);
            }
        }
    }

    fn copy(&mut self, octets: &[u8]) -> Span {
        let start = self.octets.len();
        self.octets.extend_from_slice(octets);
        Span(start, self.octets.len())
    }

    fn copy_lower(&mut self, name: &str) -> Span {
        let span = self.copy(name.as_bytes());
        self.octets[span.0..span.1].make_ascii_lowercase();
        span
    }

    fn at(&self, span: Span) -> &[u8] {
        self.octets.get(span.0..span.1).unwrap_or_default()
    }

    /// A part as text; `None` where the event has none.
    pub fn part(&self, part: Part) -> Option<String> {
        match part {
            Part::Headers | Part::Answered | Part::Cookies | Part::Set | Part::Query => {
                Some(grouped(&self.pairs(part)))
            }
            Part::RawQuery => Some(text(self.at(self.query?)).into_owned()),
            Part::Context => {
                let [domain, distribution, request] = self.context.map(|of| text(self.at(of)));
                let request = self.id.map_or(request, |id| id.text().into());
                Some(format!("{domain}\n{distribution}\n{request}"))
            }
            Part::Viewer => Some(self.viewer?.to_string()),
            Part::Edge => {
                let (name, server, region) = self.edge?;
                Some(format!("{}\n{server}\n{}", text(self.at(name)), text(self.at(region))))
            }
        }
    }

    /// What a list has by one name: its value, or, where it is not that alone, its lines as `part`
    /// has them, each with a line end before it. `None` where there is nothing.
    pub fn one(&self, part: Part, name: &str) -> Option<String> {
        let mut pairs = Vec::new();
        self.each(part, |pair| {
            if shown(pair.name) == name {
                pairs.push(pair);
            }
        });
        match &pairs[..] {
            [] => None,
            [Pair { value, attributes: None, .. }] => Some(shown(value).into_owned()),
            _ => Some(format!("\n{}", grouped(&pairs))),
        }
    }

    /// A whole list of which these entries are as the code left them and all others as they were
    /// told; `None` if nothing differs.
    pub fn changed(&self, part: Part, entries: Vec<Entry>) -> Option<Vec<Entry>> {
        let pairs = self.pairs(part);
        let mut left: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
        let mut all: Vec<Entry> = Vec::with_capacity(pairs.len() + left.len());
        let mut is_same = true;
        each_group(&pairs, |group| {
            let name = shown(pairs[group[0]].name);
            let was: Vec<String> = group.iter().flat_map(|at| pairs[*at].texts()).collect();
            let is_of =
                |entry: &&mut Option<Entry>| matches!(entry, Some((known, _)) if *known == name);
            match left.iter_mut().find(is_of).and_then(Option::take) {
                Some((name, texts)) => {
                    is_same &= texts == was;
                    all.push((name, texts));
                }
                None => all.push((name.into_owned(), was)),
            }
        });
        for new in left.into_iter().flatten() {
            is_same = false;
            all.push(new);
        }
        (!is_same).then_some(all)
    }

    /// Writes what `part` gives, so that what is written alike was given alike.
    pub fn write_part(&self, part: Part, out: &mut Vec<u8>) {
        match part {
            Part::Headers | Part::Answered | Part::Cookies | Part::Set | Part::Query => {
                self.each(part, |pair| pair.write(out));
                out.extend_from_slice(&END);
            }
            Part::RawQuery => put_some(out, self.query.map(|of| self.at(of))),
            Part::Context => {
                self.context.iter().for_each(|of| put(out, self.at(*of)));
                let id = self.id.map_or(0, |id| id.0);
                out.extend_from_slice(&id.to_le_bytes());
            }
            Part::Viewer => put_address(out, self.viewer),
            Part::Edge => {
                let edge = self.edge.as_ref();
                put_some(out, edge.map(|(name, _, _)| self.at(*name)));
                put_some(out, edge.map(|(_, _, region)| self.at(*region)));
                put_address(out, edge.map(|(_, server, _)| *server));
            }
        }
    }

    /// Writes what `one` gives, in the same way.
    pub fn write_one(&self, part: Part, name: &str, out: &mut Vec<u8>) {
        self.each(part, |pair| {
            if shown(pair.name) == name {
                pair.write(out);
            }
        });
        out.extend_from_slice(&END);
    }

    // The lines of a list.
    fn pairs(&self, part: Part) -> Vec<Pair<'_>> {
        let mut all = Vec::new();
        self.each(part, |pair| all.push(pair));
        all
    }

    // Goes through the lines of a list, in their order.
    fn each<'t>(&'t self, part: Part, visit: impl FnMut(Pair<'t>)) {
        let pair = |(name, value): &(Span, Span)| Pair {
            name: self.at(*name),
            value: self.at(*value),
            attributes: None,
        };
        match part {
            Part::Headers => self.headers.iter().map(pair).for_each(visit),
            Part::Answered => self.answered.iter().map(pair).for_each(visit),
            Part::Cookies => {
                self.cookies.iter().flat_map(|line| cookies(self.at(*line))).for_each(visit);
            }
            Part::Set => self.set.iter().map(|line| set(self.at(*line))).for_each(visit),
            Part::Query => self.query.into_iter().flat_map(|of| query(self.at(of))).for_each(visit),
            Part::RawQuery | Part::Context | Part::Viewer | Part::Edge => {}
        }
    }
}

/// What stands behind a written list: no text is as long.
const END: [u8; 8] = u64::MAX.to_le_bytes();

/// Appends octets with their length before them.
pub fn put(out: &mut Vec<u8>, octets: &[u8]) {
    out.extend_from_slice(&(octets.len() as u64).to_le_bytes());
    out.extend_from_slice(octets);
}

fn put_some(out: &mut Vec<u8>, octets: Option<&[u8]>) {
    match octets {
        Some(octets) => put(out, octets),
        None => out.extend_from_slice(&END),
    }
}

fn put_address(out: &mut Vec<u8>, address: Option<IpAddr>) {
    match address {
        Some(IpAddr::V4(address)) => put(out, &address.octets()),
        Some(IpAddr::V6(address)) => put(out, &address.octets()),
        None => out.extend_from_slice(&END),
    }
}

/// One line of a list.
struct Pair<'t> {
    name: &'t [u8],
    value: &'t [u8],
    /// Of a cookie that a response sets.
    attributes: Option<&'t [u8]>,
}

impl Pair<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        put(out, self.name);
        put(out, self.value);
        put_some(out, self.attributes);
    }

    // Its value, and its attributes where it may have some.
    fn texts(&self) -> impl Iterator<Item = String> {
        [Some(self.value), self.attributes]
            .into_iter()
            .flatten()
            .map(|octets| shown(octets).into_owned())
    }
}

/// Octets as text: UTF-8, or ISO-8859-1 where they are not that.
pub fn text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().copied().map(char::from).collect()),
    }
}

// Goes through the lines of a list, those of one name together, names in the order of their first.
fn each_group(pairs: &[Pair<'_>], visit: impl FnMut(&[usize])) {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|one, other| pairs[*one].name.cmp(pairs[*other].name));
    let mut groups: Vec<&[usize]> =
        order.chunk_by(|one, other| pairs[*one].name == pairs[*other].name).collect();
    // The sort kept the order of equals, so the first of a group came first.
    groups.sort_by_key(|group| group[0]);
    groups.into_iter().for_each(visit);
}

// The lines of a list as text, grouped.
fn grouped(pairs: &[Pair<'_>]) -> String {
    let mut out = String::new();
    each_group(pairs, |group| {
        if !out.is_empty() {
            out.push('\n');
        }
        push(&mut out, pairs[group[0]].name);
        out.push('\n');
        out.push_str(&group.len().to_string());
        for at in group {
            out.push('\n');
            push(&mut out, pairs[*at].value);
            if let Some(attributes) = pairs[*at].attributes {
                out.push('\n');
                push(&mut out, attributes);
            }
        }
    });
    out
}

fn push(out: &mut String, octets: &[u8]) {
    out.push_str(&shown(octets));
}

// What the code sees. No field has a line end in it by now; should one have, it is no new line here.
fn shown(octets: &[u8]) -> Cow<'_, str> {
    let text = text(octets);
    if text.contains('\n') { text.replace('\n', " ").into() } else { text }
}

fn split_at(octets: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match octets.iter().position(|octet| *octet == at) {
        Some(place) => (&octets[..place], Some(&octets[place + 1..])),
        None => (octets, None),
    }
}

// The cookies of one line.
fn cookies(line: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    let parts = line.split(|octet| *octet == b';').map(<[u8]>::trim_ascii);
    parts.filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = split_at(part, b'=');
        Pair { name, value: value.unwrap_or_default(), attributes: None }
    })
}

// A Set-Cookie line: what stands behind the first semicolon are its attributes.
fn set(line: &[u8]) -> Pair<'_> {
    let (cookie, attributes) = split_at(line, b';');
    let (name, value) = split_at(cookie.trim_ascii(), b'=');
    Pair {
        name,
        value: value.unwrap_or_default(),
        attributes: Some(attributes.unwrap_or_default().trim_ascii()),
    }
}

// A query's names and values as they are spelled.
fn query(query: &[u8]) -> impl Iterator<Item = Pair<'_>> {
    let parts = query.split(|octet| *octet == b'&').filter(|part| !part.is_empty());
    parts.map(|part| {
        let (name, value) = split_at(part, b'=');
        Pair { name, value: value.unwrap_or_default(), attributes: None }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines<'t>(pairs: impl Iterator<Item = Pair<'t>>) -> String {
        grouped(&pairs.collect::<Vec<_>>())
    }

    #[test]
    fn lists_go_over_as_lines() {
        for (given, wanted) in [
            ("", ""),
            ("a", "a\n1\n"),
            ("a=1&b=2&a=3", "a\n2\n1\n3\nb\n1\n2"),
            ("b=&&a=%20+&=x", "b\n1\n\na\n1\n%20+\n\n1\nx"),
        ] {
            assert_eq!(lines(query(given.as_bytes())), wanted, "{given}");
        }
        assert_eq!(
            lines(cookies(b"a=1; b=x=y;; a = 2;c")),
            "a\n1\n1\nb\n1\nx=y\na \n1\n 2\nc\n1\n"
        );
        assert_eq!(
            grouped(&[set(b"ID=1; Path=/; Secure"), set(b"B=2")]),
            "ID\n1\n1\nPath=/; Secure\nB\n1\n2\n"
        );
    }

    fn told() -> Told {
        let mut told = Told::default();
        for (name, value) in [("host", "h"), ("accept", "a"), ("accept", "b")] {
            let line = (told.copy(name.as_bytes()), told.copy(value.as_bytes()));
            told.headers.push(line);
        }
        told.query = Some(told.copy(b"a&b=2"));
        let line = told.copy(b"ID=1; Path=/");
        told.set.push(line);
        told
    }

    #[test]
    fn one_name_comes_alone() {
        let told = told();
        for (part, name, wanted) in [
            (Part::Headers, "host", Some("h")),
            (Part::Headers, "accept", Some("\naccept\n2\na\nb")),
            (Part::Headers, "Host", None),
            (Part::Query, "a", Some("")),
            (Part::Set, "ID", Some("\nID\n1\n1\nPath=/")),
            (Part::Viewer, "ip", None),
        ] {
            assert_eq!(told.one(part, name).as_deref(), wanted, "{name}");
        }
    }

    #[test]
    fn what_differs_is_written_differently() {
        let told = told();
        let written = |part: Part, name: Option<&str>, told: &Told| {
            let mut out = Vec::new();
            match name {
                Some(name) => told.write_one(part, name, &mut out),
                None => told.write_part(part, &mut out),
            }
            out
        };
        // A name that is not there, an empty value, two values and one that looks like them.
        let mut others = Vec::new();
        for query in [None, Some(""), Some("a"), Some("a=b"), Some("a&a=b"), Some("a=b&a")] {
            let mut other = Told::default();
            let span = query.map(|query| other.copy(query.as_bytes()));
            other.query = span;
            others.push(other);
        }
        for (at, one) in others.iter().enumerate() {
            for other in &others[..at] {
                for (part, name) in [(Part::Query, Some("a")), (Part::RawQuery, None)] {
                    let is_same = match name {
                        Some(name) => one.one(part, name) == other.one(part, name),
                        None => one.part(part) == other.part(part),
                    };
                    let is_written_alike = written(part, name, one) == written(part, name, other);
                    assert!(is_same || !is_written_alike, "{:?}", one.part(Part::RawQuery));
                }
            }
        }
        let other = Told { viewer: Some("192.0.2.1".parse().unwrap()), ..Told::default() };
        assert_ne!(written(Part::Viewer, None, &told), written(Part::Viewer, None, &other));
        assert_eq!(written(Part::Headers, Some("x"), &told), written(Part::Set, Some("x"), &told));
        assert_ne!(written(Part::Headers, None, &told), written(Part::Set, None, &told));
    }

    #[test]
    fn changed_names_stand_where_they_stood_and_new_ones_behind() {
        let told = told();
        let entry = |name: &str, texts: &[&str]| -> Entry {
            (name.into(), texts.iter().map(|text| (*text).into()).collect())
        };
        let (host, accept) = (entry("host", &["h"]), entry("accept", &["a", "b"]));
        let new = entry("x", &["1"]);
        let given = vec![new.clone(), entry("host", &["i"])];
        let wanted = vec![entry("host", &["i"]), accept.clone(), new];
        assert_eq!(told.changed(Part::Headers, given), Some(wanted));
        assert_eq!(told.changed(Part::Headers, vec![accept, host]), None);
        let set = entry("ID", &["1", ""]);
        assert_eq!(told.changed(Part::Set, vec![set.clone()]), Some(vec![set]));
    }

    #[test]
    fn what_is_no_utf8_is_latin_and_no_line_end_makes_a_line() {
        assert_eq!(text("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(text(b"gr\xfcn"), "gr\u{fc}n");
        assert_eq!(lines(query(b"a=1\n2")), "a\n1\n1 2");
    }
}
