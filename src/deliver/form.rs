//! Which form of a stored response answers this request: 304, 206, 416 or the whole (RFC 9110
//! §13.2.2, §14.2).

use http::Method;
use smallvec::SmallVec;

use super::policy;
use super::sink::FieldSink;
use crate::distribution::response_policy::ResponsePolicy;
use crate::message::request::{Known, RequestHead};
use crate::message::stored::Stored;
use crate::semantics::digests::{self, Covers};
use crate::semantics::fields::{Name, WriteValue};
use crate::semantics::ranges::{self, RANGES_MAX, Selection, Span};
use crate::semantics::time::Timestamp;
use crate::semantics::validators::{self, Condition, Conditions};

/// The form of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseForm {
    Whole,
    NotModified,
    Part(Span),
    Parts(SmallVec<[Span; RANGES_MAX]>),
    /// 416; the complete length.
    Unsatisfiable(u64),
    /// 412: what the viewer has a part of is another version.
    PreconditionFailed,
}

/// Chooses the form. Conditions and ranges are looked at only for a stored 200.
pub fn answer(head: &RequestHead<'_>, stored: &Stored, now: Timestamp) -> ResponseForm {
    answer_of(head, stored, now, || stored.content.length())
}

/// The same where the content lies elsewhere, or here: `complete` says how long it is, if that is
/// known.
#[inline]
pub fn answer_of(
    head: &RequestHead<'_>,
    stored: &Stored,
    now: Timestamp,
    complete: impl FnOnce() -> Option<u64>,
) -> ResponseForm {
    if stored.status != 200 || !matches!(*head.method, Method::GET | Method::HEAD) {
        return ResponseForm::Whole;
    }
    let known = &head.known;
    if known.has(Known::Range) && !may_go_on(head, stored, now) {
        return ResponseForm::PreconditionFailed;
    }
    if known.has(Known::IfNoneMatch) || known.has(Known::IfModifiedSince) {
        let joined = known.is_repeated(Known::IfNoneMatch).then(|| join(head, "if-none-match"));
        let if_none_match = joined.as_deref().or(known.get(Known::IfNoneMatch));
        let asks =
            Conditions { if_none_match, if_modified_since: known.get(Known::IfModifiedSince) };
        if validators::evaluate(&asks, stored.head.etag(), stored.head.last_modified(), now)
            == Condition::NotModified
        {
            return ResponseForm::NotModified;
        }
    }
    range(head, stored, complete).unwrap_or(ResponseForm::Whole)
}

/// Says whether a request for a range may have one of this response, by If-Match and
/// If-Unmodified-Since.
pub fn may_go_on(head: &RequestHead<'_>, stored: &Stored, now: Timestamp) -> bool {
    let known = &head.known;
    if *head.method != Method::GET
        || !(known.has(Known::IfMatch) || known.has(Known::IfUnmodifiedSince))
    {
        return true;
    }
    let (etag, modified) = (stored.head.etag(), stored.head.last_modified());
    validators::may_go_on(
        head.fields.get_all("if-match"),
        known.get(Known::IfUnmodifiedSince),
        etag,
        modified,
        now,
    )
}

fn range(
    head: &RequestHead<'_>,
    stored: &Stored,
    complete: impl FnOnce() -> Option<u64>,
) -> Option<ResponseForm> {
    let known = &head.known;
    let field = known.get(Known::Range)?;
    if *head.method != Method::GET || known.is_repeated(Known::Range) {
        return None;
    }
    if let Some(if_range) = known.get(Known::IfRange)
        && !validators::if_range_holds(
            if_range,
            stored.head.etag(),
            stored.head.last_modified(),
            stored.date,
        )
    {
        return None;
    }
    // Of a content whose length is not known yet no range can be cut.
    let complete = complete()?;
    Some(match ranges::select(&ranges::parse(field), complete) {
        Selection::Whole => ResponseForm::Whole,
        Selection::Part(span) => ResponseForm::Part(span),
        Selection::Parts(spans) => ResponseForm::Parts(spans),
        Selection::Unsatisfiable => ResponseForm::Unsatisfiable(complete),
    })
}

fn join(head: &RequestHead<'_>, name: &str) -> Vec<u8> {
    let lines: Vec<&[u8]> = head.fields.get_all(name).collect();
    lines.join(&b", "[..])
}

impl ResponseForm {
    /// Says whether a stored field belongs into an answer of this form.
    pub fn keeps(&self, name: &[u8]) -> bool {
        match self {
            Self::Whole => true,
            // Not what describes a body that it does not have (RFC 9110 §15.4.5).
            Self::NotModified => {
                !(name.len() > 8 && name[..8].eq_ignore_ascii_case(b"content-"))
                    || name.eq_ignore_ascii_case(b"content-location")
            }
            Self::Part(_) => !is_of_the_whole(name),
            Self::Parts(_) => !is_of_the_whole(name) && !name.eq_ignore_ascii_case(b"content-type"),
            // They say nothing of the content but its length.
            Self::Unsatisfiable(_) | Self::PreconditionFailed => {
                name.eq_ignore_ascii_case(b"date") || name.eq_ignore_ascii_case(b"via")
            }
        }
    }

    /// The status of an answer of this form, from a response that was stored with another one.
    pub const fn status(&self, stored: u16) -> u16 {
        match self {
            Self::Whole => stored,
            Self::NotModified => 304,
            Self::Part(_) | Self::Parts(_) => 206,
            Self::Unsatisfiable(_) => 416,
            Self::PreconditionFailed => 412,
        }
    }
}

// A Content-Range would stand beside that of the range, and a digest would be of other octets.
fn is_of_the_whole(name: &[u8]) -> bool {
    name.eq_ignore_ascii_case(b"content-range") || digests::covers(name) == Some(Covers::Content)
}

/// The value of Content-Range: a part of so many octets, or that there is no such part.
pub struct ContentRange {
    pub span: Option<Span>,
    pub complete: u64,
}

impl WriteValue for ContentRange {
    fn write_value(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"bytes ");
        match self.span {
            Some(span) => {
                span.start.write_value(out);
                out.push(b'-');
                (span.end - 1).write_value(out);
            }
            None => out.push(b'*'),
        }
        out.push(b'/');
        self.complete.write_value(out);
    }
}

/// Writes the stored fields that belong into an answer of this form, as the policy of its behavior
/// leaves them, and Content-Range where the answer has one. `complete`: octets of the whole.
#[inline]
pub fn write_stored<S: FieldSink>(
    stored: &Stored,
    form: &ResponseForm,
    complete: u64,
    policy: Option<(&ResponsePolicy, &RequestHead<'_>)>,
    sink: &mut S,
) {
    let lines = stored.head.iter().filter(|(name, _)| form.keeps(name));
    match policy {
        Some((policy, head)) => policy::write(policy, head, lines, sink),
        None if *form == ResponseForm::Whole => sink.stored(&stored.head),
        None => lines.for_each(|(name, value)| sink.field(Name::of(name), value)),
    }
    let span = match form {
        ResponseForm::Part(span) => Some(*span),
        ResponseForm::Unsatisfiable(_) => None,
        ResponseForm::Whole
        | ResponseForm::NotModified
        | ResponseForm::Parts(_)
        | ResponseForm::PreconditionFailed => return,
    };
    sink.field("Content-Range", ContentRange { span, complete });
}
