//! Pure: what a call is told, copied out of the exchange as octets, and made into text when the
//! code first touches it.
//!
//! The engine's functions live longer than an exchange does, so they cannot borrow from it; a copy
//! of a head of a kilobyte costs a tenth of a microsecond. What is a list goes over as one text, a
//! line for each item, which JavaScript splits: name, how many, then the values of each.

use std::borrow::Cow;
use std::net::IpAddr;

use crate::functions::event::{Event, RequestFacts, ResponseFacts};

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

/// The event of one call; the room that it takes is used again by the next.
#[derive(Debug, Default)]
pub struct Told {
    octets: Vec<u8>,
    headers: Vec<(Span, Span)>,
    cookies: Vec<Span>,
    answered: Vec<(Span, Span)>,
    set: Vec<Span>,
    query: Option<Span>,
    /// Domain name, distribution, request.
    context: [Span; 3],
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
            self.copy(event.request_id.as_bytes()),
        ];
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
            Part::Headers => Some(self.lines(&self.headers)),
            Part::Answered => Some(self.lines(&self.answered)),
            Part::Cookies => {
                let all = self.cookies.iter().flat_map(|line| cookies(self.at(*line)));
                Some(grouped(&all.collect::<Vec<_>>()))
            }
            Part::Set => {
                Some(grouped(&self.set.iter().map(|line| set(self.at(*line))).collect::<Vec<_>>()))
            }
            Part::Query => {
                Some(grouped(&self.query.map_or_else(Vec::new, |of| query(self.at(of)))))
            }
            Part::RawQuery => Some(text(self.at(self.query?)).into_owned()),
            Part::Context => {
                let [domain, distribution, request] = self.context.map(|of| text(self.at(of)));
                Some(format!("{domain}\n{distribution}\n{request}"))
            }
            Part::Viewer => Some(self.viewer?.to_string()),
            Part::Edge => {
                let (name, server, region) = self.edge?;
                Some(format!("{}\n{server}\n{}", text(self.at(name)), text(self.at(region))))
            }
        }
    }

    fn lines(&self, lines: &[(Span, Span)]) -> String {
        let pair = |(name, value): &(Span, Span)| Pair {
            name: self.at(*name),
            value: self.at(*value),
            attributes: None,
        };
        grouped(&lines.iter().map(pair).collect::<Vec<_>>())
    }
}

/// One line of a list.
struct Pair<'t> {
    name: &'t [u8],
    value: &'t [u8],
    /// Of a cookie that a response sets.
    attributes: Option<&'t [u8]>,
}

/// Octets as text: UTF-8, or ISO-8859-1 where they are not that.
pub fn text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().copied().map(char::from).collect()),
    }
}

// The lines of a list, those of one name together, names in the order of their first.
fn grouped(pairs: &[Pair<'_>]) -> String {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by(|one, other| pairs[*one].name.cmp(pairs[*other].name));
    let mut groups: Vec<&[usize]> =
        order.chunk_by(|one, other| pairs[*one].name == pairs[*other].name).collect();
    // The sort kept the order of equals, so the first of a group came first.
    groups.sort_by_key(|group| group[0]);
    let mut out = String::new();
    for group in groups {
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
    }
    out
}

// No field has a line end in it by now; should one have, it is no new line here.
fn push(out: &mut String, octets: &[u8]) {
    let text = text(octets);
    if text.contains('\n') {
        out.push_str(&text.replace('\n', " "));
    } else {
        out.push_str(&text);
    }
}

fn split_at(octets: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match octets.iter().position(|octet| *octet == at) {
        Some(place) => (&octets[..place], Some(&octets[place + 1..])),
        None => (octets, None),
    }
}

// The cookies of one line.
fn cookies(line: &[u8]) -> Vec<Pair<'_>> {
    let parts = line.split(|octet| *octet == b';').map(<[u8]>::trim_ascii);
    parts
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = split_at(part, b'=');
            Pair { name, value: value.unwrap_or_default(), attributes: None }
        })
        .collect()
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
fn query(query: &[u8]) -> Vec<Pair<'_>> {
    let parts = query.split(|octet| *octet == b'&').filter(|part| !part.is_empty());
    parts
        .map(|part| {
            let (name, value) = split_at(part, b'=');
            Pair { name, value: value.unwrap_or_default(), attributes: None }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_go_over_as_lines() {
        for (given, wanted) in [
            ("", ""),
            ("a", "a\n1\n"),
            ("a=1&b=2&a=3", "a\n2\n1\n3\nb\n1\n2"),
            ("b=&&a=%20+&=x", "b\n1\n\na\n1\n%20+\n\n1\nx"),
        ] {
            assert_eq!(grouped(&query(given.as_bytes())), wanted, "{given}");
        }
        assert_eq!(
            grouped(&cookies(b"a=1; b=x=y;; a = 2;c")),
            "a\n1\n1\nb\n1\nx=y\na \n1\n 2\nc\n1\n"
        );
        assert_eq!(
            grouped(&[set(b"ID=1; Path=/; Secure"), set(b"B=2")]),
            "ID\n1\n1\nPath=/; Secure\nB\n1\n2\n"
        );
    }

    #[test]
    fn what_is_no_utf8_is_latin_and_no_line_end_makes_a_line() {
        assert_eq!(text("gr\u{fc}n".as_bytes()), "gr\u{fc}n");
        assert_eq!(text(b"gr\xfcn"), "gr\u{fc}n");
        assert_eq!(grouped(&query(b"a=1\n2")), "a\n1\n1 2");
    }
}
