//! Pure: spans as a collector takes them, an `ExportTraceServiceRequest` of OTLP 1 in protobuf.
//!
//! Written here, because a message has few kinds of fields and the crates that do it bring a whole
//! pipeline along (src/DECISIONS.md, "Spans are encoded here, and their exporter is our own").

use super::context::Place;
use super::span::{Span, SpanKind, Told};

/// What the collector's answer must say for a batch to count as taken, and to be worth another try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    Whole,
    /// Overloaded or away; the same batch may be sent again.
    Later,
    Refused,
}

/// Judges the status of a collector's answer (OTLP, "Retryable Response Codes").
pub const fn judge(status: u16) -> Taken {
    match status {
        200..=299 => Taken::Whole,
        429 | 502 | 503 | 504 => Taken::Later,
        _ => Taken::Refused,
    }
}

/// The message that carries these spans. `service` and `node` say who made them.
pub fn export(service: &str, node: &str, spans: &[Span]) -> Vec<u8> {
    let mut out = Vec::with_capacity(256 + 384 * spans.len());
    part(&mut out, 1, |of_resource| {
        part(of_resource, 1, |resource| {
            attribute(resource, 1, "service.name", &Told::from(service.to_string()));
            attribute(resource, 1, "service.instance.id", &Told::from(node.to_string()));
        });
        part(of_resource, 2, |of_scope| {
            part(of_scope, 1, |scope| {
                octets(scope, 1, b"foreshore");
                octets(scope, 2, env!("CARGO_PKG_VERSION").as_bytes());
            });
            for one in spans {
                part(of_scope, 2, |out| span(out, one));
            }
        });
    });
    out
}

fn span(out: &mut Vec<u8>, span: &Span) {
    octets(out, 1, &span.place.trace.0);
    octets(out, 2, &span.place.span.0);
    if let Some(parent) = span.parent {
        octets(out, 4, &parent.0);
    }
    octets(out, 5, span.name.as_bytes());
    let kind = match span.kind {
        SpanKind::Internal => 1,
        SpanKind::Server => 2,
        SpanKind::Client => 3,
    };
    number(out, 6, kind);
    fixed(out, 7, span.start);
    fixed(out, 8, span.end);
    for (key, value) in &span.attributes {
        attribute(out, 9, key, value);
    }
    if let Some(link) = span.link {
        part(out, 13, |out| linked(out, link));
    }
    if let Some(failure) = &span.failure {
        part(out, 15, |status| {
            octets(status, 2, failure.as_bytes());
            number(status, 3, 2);
        });
    }
}

fn linked(out: &mut Vec<u8>, place: Place) {
    octets(out, 1, &place.trace.0);
    octets(out, 2, &place.span.0);
}

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: &Told) {
    part(out, field, |pair| {
        octets(pair, 1, key.as_bytes());
        part(pair, 2, |any| match value {
            Told::Text(text) => octets(any, 1, text.as_bytes()),
            Told::Number(count) => number(any, 3, *count),
            Told::Words(words) => part(any, 5, |array| {
                for word in *words {
                    part(array, 1, |any| octets(any, 1, word.as_bytes()));
                }
            }),
        });
    });
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push((value & 0x7f) as u8);
}

fn tag(out: &mut Vec<u8>, field: u32, wire: u32) {
    varint(out, u64::from((field << 3) | wire));
}

fn number(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 0);
    varint(out, value);
}

fn fixed(out: &mut Vec<u8>, field: u32, value: u64) {
    tag(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn octets(out: &mut Vec<u8>, field: u32, value: &[u8]) {
    tag(out, field, 2);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

// A message within one: its length stands before it.
fn part(out: &mut Vec<u8>, field: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let mut inner = Vec::new();
    write(&mut inner);
    octets(out, field, &inner);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::context::{SpanId, TraceId};

    fn one() -> Span {
        Span {
            place: Place { trace: TraceId([0x11; 16]), span: SpanId([0x22; 8]) },
            parent: Some(SpanId([0x33; 8])),
            name: "GET".into(),
            kind: SpanKind::Server,
            start: 1,
            end: 2,
            attributes: vec![("k", Told::from(300_u64)), ("w", Told::Words(&["a"]))],
            link: Some(Place { trace: TraceId([0x44; 16]), span: SpanId([0x55; 8]) }),
            failure: Some("why".into()),
        }
    }

    #[test]
    fn a_span_is_written_field_by_field() {
        let mut out = Vec::new();
        span(&mut out, &one());
        let mut expected = vec![0x0a, 16];
        expected.extend([0x11; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0x22; 8]);
        expected.extend([0x22, 8]);
        expected.extend([0x33; 8]);
        expected.extend(b"\x2a\x03GET\x30\x02");
        expected.extend(b"\x39\x01\0\0\0\0\0\0\0\x41\x02\0\0\0\0\0\0\0");
        expected.extend(b"\x4a\x08\x0a\x01k\x12\x03\x18\xac\x02");
        expected.extend(b"\x4a\x0c\x0a\x01w\x12\x07\x2a\x05\x0a\x03\x0a\x01a");
        expected.extend([0x6a, 28, 0x0a, 16]);
        expected.extend([0x44; 16]);
        expected.extend([0x12, 8]);
        expected.extend([0x55; 8]);
        expected.extend(b"\x7a\x07\x12\x03why\x18\x02");
        assert_eq!(out, expected);
    }

    #[test]
    fn lengths_of_more_than_127_take_two_octets() {
        let mut span = one();
        span.name = "x".repeat(200).into();
        let whole = export("s", "n", &[span]);
        // resource_spans, whose length is that of all the rest.
        assert_eq!(whole[0], 0x0a);
        let len = usize::from(whole[1] & 0x7f) | (usize::from(whole[2]) << 7);
        assert_eq!(whole.len(), 3 + len);
    }

    #[test]
    fn statuses_are_judged_as_otlp_says() {
        for (status, taken) in [
            (200, Taken::Whole),
            (202, Taken::Whole),
            (400, Taken::Refused),
            (401, Taken::Refused),
            (429, Taken::Later),
            (500, Taken::Refused),
            (503, Taken::Later),
        ] {
            assert_eq!(judge(status), taken, "{status}");
        }
    }
}
