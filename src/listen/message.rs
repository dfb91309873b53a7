//! Pure. What messages to viewers have in common, whatever protocol carries them: which fields go
//! out, which answers have no body, and what is said of a request that could not be read.

use crate::deliver::sink::FieldSink;
use crate::deliver::status_fields::write_x_cache;
use crate::message::response::ViewerResponse;
use crate::message::verdict::Outcome;
use crate::semantics::fields::FieldSection;
use crate::semantics::hop_by_hop::{self, is_hop_by_hop};
use crate::semantics::lists::members;
use crate::semantics::time::{Timestamp, format_http_date};

/// Interim responses that wait for a viewer to take them; more are dropped.
pub const INTERIMS: usize = 8;

/// Says whether a viewer takes trailers (RFC 9110 §10.1.4).
pub fn takes_trailers(fields: &FieldSection) -> bool {
    fields
        .get_all(&http::header::TE)
        .flat_map(|line| members(line.as_bytes()))
        .any(|member| member.eq_ignore_ascii_case(b"trailers"))
}

/// Says whether an answer has no body, whatever its fields say (RFC 9112 §6.3).
pub const fn is_bodiless(is_head: bool, status: u16) -> bool {
    is_head || status < 200 || matches!(status, 204 | 304)
}

/// Writes the fields of an answer that go out, and a Date where there is none. The length of a body
/// is the protocol's to say; an answer to HEAD keeps that of the GET it stands for.
pub fn write_fields<S: FieldSink>(
    response: &ViewerResponse,
    is_head: bool,
    now: Timestamp,
    sink: &mut S,
) {
    let fields = &response.fields;
    let (some_end_here, mut is_dated) = (fields.may_have(hop_by_hop::MARKS), false);
    for (name, value, text) in fields.lines() {
        let ends_here = some_end_here && is_hop_by_hop(name);
        if ends_here || (!is_head && name == "content-length") {
            continue;
        }
        is_dated |= name == "date";
        sink.line(name, value, text);
    }
    if !is_dated {
        sink.field("Date", format_http_date(now));
    }
}

/// Writes the fields of an answer to a request that was refused as it was read, and gives back its
/// body.
pub fn write_refusal<S: FieldSink>(status: u16, sink: &mut S) -> String {
    let word = http::StatusCode::from_u16(status)
        .ok()
        .and_then(|status| status.canonical_reason())
        .unwrap_or("Bad Request");
    let text = format!("{status} {word}\n");
    sink.field("Content-Type", "text/plain");
    sink.field("Content-Length", text.len() as u64);
    write_x_cache(sink, Outcome::Error.word(), "foreshore");
    text
}
