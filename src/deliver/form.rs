//! Which form of a stored response answers this request: 304, 206, 416 or the whole (RFC 9110
//! §13.2.2, §14.2).

use crate::semantics::fields::FieldSection;
use http::Method;
use smallvec::SmallVec;

use crate::message::request::{Known, RequestHead};
use crate::message::stored::Stored;
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
    range(head, stored).unwrap_or(ResponseForm::Whole)
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

fn range(head: &RequestHead<'_>, stored: &Stored) -> Option<ResponseForm> {
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
    let complete = stored.content.length()?;
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

/// Says whether a 304 repeats this field: not the ones that describe a body it does not have (RFC
/// 9110 §15.4.5).
pub fn belongs_in_304(name: &[u8]) -> bool {
    !(name.len() > 8 && name[..8].eq_ignore_ascii_case(b"content-"))
        || name.eq_ignore_ascii_case(b"content-location")
}

/// Takes out of a head what a 304 does not repeat.
pub fn keep_for_304(fields: &mut FieldSection) {
    fields.retain(|name, _| belongs_in_304(name.octets()));
}
