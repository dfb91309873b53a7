//! Pure: what CloudFront's logs tell of a request beside its record, and how their fields are
//! spelled.

use std::borrow::Cow;
use std::sync::Arc;

use super::{Cut, GONE, Record, without_signatures};
use crate::base::address;
use crate::base::digits::{decimal, three};
use crate::base::octets;
use crate::distribution::geo::Location;
use crate::distribution::logs::{CloudFrontLogs, Cookies};
use crate::message::certificate::{Proof, ViewerCertificate};
use crate::message::connection::Version;
use crate::message::encryption::Encryption;
use crate::message::failure::FailureKind;
use crate::message::own_fields::EDGE_NAME;
use crate::message::refusal::Rule;
use crate::message::request::{RequestHead, RequestId};
use crate::message::verdict::{Outcome, Reason};

/// CloudFront tells this much of a viewer's fields.
const TOLD: usize = 800;
/// Fields whose values are credentials.
const SECRET: [&str; 3] = ["authorization", "proxy-authorization", "x-amz-security-token"];
/// Fields in which an edge proves itself to a parent.
const EDGES: &[u8] = EDGE_NAME.as_bytes();

/// What the request has for these logs; borrowed from its head, or kept beyond it.
#[derive(Default)]
pub struct Asked<'r> {
    pub id: RequestId,
    /// Octets of the head, as HTTP/1 would have them.
    pub octets: u64,
    pub cookie: Option<Cow<'r, [u8]>>,
    pub forwarded_for: Option<Cow<'r, [u8]>>,
    /// Version and cipher suite.
    pub tls: Option<(&'static str, &'static str)>,
    /// Where the viewer is, where there is a database to ask.
    pub place: Option<Arc<Location>>,
    /// For the real-time log, if this request is one of its sample.
    pub viewer: Option<Box<Viewer>>,
}

/// What only the real-time log tells.
#[derive(Default)]
pub struct Viewer {
    pub accept: Option<Vec<u8>>,
    pub accept_encoding: Option<Vec<u8>>,
    pub country: Option<String>,
    pub asn: Option<String>,
    /// `name:value` and a line end for each field, cut off.
    pub fields: Vec<u8>,
    pub names: Vec<u8>,
    pub count: u64,
}

/// Where a request was answered, and whether that place goes by our names or CloudFront's.
#[derive(Clone, Copy)]
pub struct Pop<'s> {
    pub pop: &'s str,
    pub is_cloudfront: bool,
}

/// What the answer has for them.
#[derive(Default)]
pub struct Answered<'r> {
    /// Octets of the head, as HTTP/1 would have them.
    pub octets: u64,
    pub content_type: Option<&'r [u8]>,
    pub content_len: Option<u64>,
    /// First and last octet of a range.
    pub range: Option<(u64, u64)>,
    /// What became of the request's form.
    pub encryption: Option<Encryption>,
}

impl<'r> Asked<'r> {
    /// Reads a request.
    pub fn of(head: &RequestHead<'r>, wanted: &CloudFrontLogs) -> Self {
        let first = |name: &str| head.fields.get_all(name).next();
        let has_cookies =
            wanted.standard.as_ref().is_some_and(|log| log.cookies == Cookies::Included)
                || !wanted.realtime.is_empty();
        let is_told = wanted.realtime.iter().any(|log| is_sampled(head.id, log.sampling));
        Self {
            id: head.id,
            octets: octets(head),
            cookie: first("cookie").filter(|_| has_cookies).map(Cow::Borrowed),
            forwarded_for: first("x-forwarded-for").map(Cow::Borrowed),
            tls: head.connection.tls.as_ref().map(|tls| (tls.version, tls.cipher)),
            place: head.connection.place.clone(),
            viewer: is_told.then(|| Box::new(Viewer::of(head))),
        }
    }

    /// Says whether a log of so many percent of the requests tells of it.
    pub fn is_sampled(&self, percent: u8) -> bool {
        is_sampled(self.id, percent)
    }

    /// The same, for after the request is gone.
    pub fn into_owned(self) -> Asked<'static> {
        let owned = |text: Option<Cow<'_, [u8]>>| text.map(|text| Cow::Owned(text.into_owned()));
        Asked {
            id: self.id,
            octets: self.octets,
            cookie: owned(self.cookie),
            forwarded_for: owned(self.forwarded_for),
            tls: self.tls,
            place: self.place,
            viewer: self.viewer,
        }
    }
}

// Another lot than the one that chooses a side of a deployment.
fn is_sampled(id: RequestId, percent: u8) -> bool {
    RequestId(!id.0).sample(100) < u64::from(percent)
}

impl Viewer {
    fn of(head: &RequestHead<'_>) -> Self {
        let first = |name: &str| head.fields.get_all(name).next().map(<[u8]>::to_vec);
        let place = head.connection.place.as_deref();
        let mut viewer = Self {
            accept: first("accept"),
            accept_encoding: first("accept-encoding"),
            country: place.and_then(|place| place.country.clone()),
            asn: place.and_then(|place| place.asn.clone()),
            ..Self::default()
        };
        for (name, value) in head.fields.iter() {
            viewer.count += 1;
            let is_edges = name
                .as_bytes()
                .get(..EDGES.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(EDGES));
            let is_secret =
                is_edges || SECRET.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            let value =
                if is_secret { Cow::Borrowed(&b"-"[..]) } else { without_signatures(value) };
            if viewer.fields.len() < TOLD {
                for part in [name.as_bytes(), b":", &value, b"\n"] {
                    viewer.fields.extend_from_slice(part);
                }
            }
            if viewer.names.len() < TOLD {
                viewer.names.extend_from_slice(name.as_bytes());
                viewer.names.push(b'\n');
            }
        }
        viewer.fields.truncate(TOLD);
        viewer.names.truncate(TOLD);
        viewer
    }
}

// Octets that a request's head takes in HTTP/1.
fn octets(head: &RequestHead<'_>) -> u64 {
    let query = head.query.map_or(0, |query| query.len() + 1);
    let line = head.method.as_str().len() + head.path.len() + query + " HTTP/1.1\r\n \r\n".len();
    (line + head.fields.iter().map(|(name, value)| name.len() + value.len() + 4).sum::<usize>())
        as u64
}

/// What came of it: an answer that says 4xx or 5xx is an `Error` to CloudFront, wherever it came
/// from.
pub fn result(record: &Record<'_>) -> &'static str {
    if let Some(end) = record.verdict.by_code() {
        return end.word();
    }
    match record.verdict.outcome {
        _ if record.status == 429 && record.verdict.reason == Reason::Refused(Rule::Rate) => {
            "LimitExceeded"
        }
        Outcome::Redirect => Outcome::Redirect.word(),
        _ if record.status >= 400 => Outcome::Error.word(),
        outcome => outcome.word(),
    }
}

/// The same in CloudFront's finer words, as far as they are known.
pub fn detailed(record: &Record<'_>) -> &'static str {
    match record.cut {
        Some(_) if record.status == GONE => return "ClientHungUpRequest",
        Some(Cut::ByViewer) => return "ClientCommError",
        Some(Cut::ByOrigin) => return "OriginCommError",
        None => {}
    }
    match record.failure.map(|failure| failure.kind) {
        None if record.verdict.reason == Reason::Refused(Rule::Country) => "ClientGeoBlocked",
        None => result(record),
        Some(FailureKind::DnsError | FailureKind::DnsTimeout) => "OriginDnsError",
        Some(FailureKind::ConnectionRefused | FailureKind::ConnectTimeout) => "OriginConnectError",
        Some(
            FailureKind::CertificateError
            | FailureKind::TlsError
            | FailureKind::ConnectionTerminated
            | FailureKind::Cancelled,
        ) => "OriginCommError",
        Some(FailureKind::ResponseTimeout | FailureKind::Deadline) => "OriginReadError",
        Some(FailureKind::ResponseMalformed) => "OriginInvalidResponseError",
        Some(FailureKind::RequestBroken | FailureKind::RequestTooLarge) => "InvalidRequest",
        Some(FailureKind::ConnectionLimit) => "CapacityExceeded",
        Some(
            FailureKind::Storage
            | FailureKind::NotStored
            | FailureKind::RequestDenied
            | FailureKind::Internal,
        ) => Outcome::Error.word(),
    }
}

/// A protocol as these logs name it.
pub const fn protocol(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2.0",
        Version::Http3 => "HTTP/3.0",
    }
}

/// The name that a distribution would have at CloudFront, or here.
pub fn domain(out: &mut Vec<u8>, record: &Record<'_>, is_cloudfront: bool) {
    let domain = if is_cloudfront { "cloudfront.net" } else { "foreshore" };
    let start = out.len();
    out.extend_from_slice(record.distribution.unwrap_or("-").as_bytes());
    out[start..].make_ascii_lowercase();
    out.push(b'.');
    word(out, domain);
}

/// The status, and a tab; of a viewer that left before there was an answer, `000`.
pub fn status(out: &mut Vec<u8>, record: &Record<'_>) {
    match record.status {
        GONE => out.extend_from_slice(b"000\t"),
        status => number(out, Some(u64::from(status))),
    }
}

/// Seconds with three decimals, and a tab.
pub fn seconds(out: &mut Vec<u8>, micros: u64) {
    decimal(out, micros / 1_000_000);
    let [a, b, c] = three(micros / 1000);
    out.extend_from_slice(&[b'.', a, b, c, b'\t']);
}

/// The same, or a dash for none.
pub fn optional_seconds(out: &mut Vec<u8>, micros: Option<u64>) {
    match micros {
        Some(micros) => seconds(out, micros),
        None => number(out, None),
    }
}

/// A number, or a dash for none, and a tab.
pub fn number(out: &mut Vec<u8>, number: Option<u64>) {
    match number {
        Some(number) => {
            decimal(out, number);
            out.push(b'\t');
        }
        None => out.extend_from_slice(b"-\t"),
    }
}

/// The viewer's address, and a tab.
pub fn viewer(out: &mut Vec<u8>, record: &Record<'_>) {
    address::write(out, record.peer.ip().to_canonical());
    out.push(b'\t');
}

/// What a viewer's certificate says, and a tab. One that was not verified says what its holder
/// likes, and is not told here.
pub fn client(
    out: &mut Vec<u8>,
    record: &Record<'_>,
    told: impl Fn(&ViewerCertificate) -> &String,
) {
    let verified = record.client.filter(|client| client.proof == Proof::Verified);
    field(out, verified.map(|client| told(client).as_bytes()), Spelled::AsText);
}

/// The connection's id, and a tab.
pub fn connection(out: &mut Vec<u8>, record: &Record<'_>) {
    out.extend_from_slice(record.connection.text());
    out.push(b'\t');
}

/// The request's id, and a tab.
pub fn id(out: &mut Vec<u8>, asked: &Asked<'_>) {
    asked.id.write(out);
    out.push(b'\t');
}

/// A word that has nothing to be escaped, and a tab.
pub fn word(out: &mut Vec<u8>, word: &str) {
    out.extend_from_slice(word.as_bytes());
    out.push(b'\t');
}

/// How a value came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Spelled {
    /// Escaped already: percent signs stay.
    AsUrl,
    AsText,
}

// Octets that are escaped in a value that came so.
static IN_URL: [bool; 256] = escaped(Spelled::AsUrl);
static IN_TEXT: [bool; 256] = escaped(Spelled::AsText);

// What could be taken for another field or line, and RFC 1738's unsafe characters.
const fn escaped(spelled: Spelled) -> [bool; 256] {
    octets::table!(|octet| match octet {
        0..=0x20
        | 0x7f..
        | b'"'
        | b'<'
        | b'>'
        | b'#'
        | b'{'
        | b'}'
        | b'|'
        | b'\\'
        | b'^'
        | b'~'
        | b'['
        | b']'
        | b'`'
        | b'\'' => true,
        b'%' => matches!(spelled, Spelled::AsText),
        _ => false,
    })
}

/// A value, by runs of what stands for itself, and its tab; whatever could be taken for another
/// field or line is escaped.
pub fn field(out: &mut Vec<u8>, value: Option<&[u8]>, spelled: Spelled) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    let Some(mut rest) = value.filter(|value| !value.is_empty()) else {
        return out.extend_from_slice(b"-\t");
    };
    let is_escaped = match spelled {
        Spelled::AsUrl => &IN_URL,
        Spelled::AsText => &IN_TEXT,
    };
    while let Some(at) = rest.iter().position(|octet| is_escaped[usize::from(*octet)]) {
        let octet = usize::from(rest[at]);
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(&[b'%', HEX[octet >> 4], HEX[octet & 15]]);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'\t');
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::message::connection::{ConnectionId, Scheme};
    use crate::message::timeline::Timeline;
    use crate::message::verdict::Verdict;
    use crate::semantics::time::Timestamp;

    /// A hit of a page.
    pub fn record() -> Record<'static> {
        Record {
            timeline: Timeline {
                answered: Some(1_500),
                finished: 1_500,
                ..Timeline::at(Timestamp(1_575_493_351_000))
            },
            peer: "192.0.2.100:11040".parse().unwrap(),
            connection: ConnectionId::default(),
            client: None,
            method: "GET",
            scheme: Scheme::Https,
            version: Version::Http11,
            host: "www.example.com",
            path: "/index.html",
            query: Some("a=1&Signature=abc"),
            request_line: None,
            status: 200,
            bytes: 78,
            received: 7,
            verdict: Verdict {
                outcome: Outcome::Hit,
                reason: Reason::Fresh,
                collapsed: false,
                stored: false,
                failed: None,
            },
            distribution: Some("EDEMO"),
            behavior: Some("*"),
            ordinal: Some(0),
            referer: None,
            user_agent: None,
            failure: None,
            cut: None,
            ran: None,
            trace: None,
        }
    }
}
