//! Pure: what a function returned becomes what is really to change, or a mistake in CloudFront's
//! words (CloudFront: "Restrictions on CloudFront Functions", "Functions event structure").

mod fields;
mod invalid;
mod names;
pub mod url;

use base64::Engine;
// Padding may be there or not, as JavaScript's own `atob` has it.
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use bytes::Bytes;

pub use fields::as_text;
pub use invalid::Invalid;
pub use names::{is_disallowed, is_read_only};

use super::event::{BodyOut, Event, OriginChoice, Place, RequestOut, ResponseOut, Returned};
use crate::semantics::fields::FieldSection;
use fields::Sides;

/// The most octets of a body that a function makes.
pub const BODY_MAX: usize = 40_960;

/// What a call comes to.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// All stays as it was.
    Nothing,
    Request(Box<RequestChange>),
    /// From a viewer request: an answer. From a viewer response: what of the response changes.
    Response(Box<ResponseChange>),
}

/// What of a request changes. What stays as it was is `None`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RequestChange {
    /// A path, escaped where it must be.
    pub uri: Option<String>,
    /// `None` inside: no query any more.
    pub query: Option<Option<String>>,
    /// All fields that the request is to have.
    pub fields: Option<FieldSection>,
    pub origin: Option<OriginChoice>,
}

/// What of a response changes, or all there is of one that code made. The reason phrase that code
/// may give is checked and goes nowhere: HTTP/2 has none, and nothing may depend on it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ResponseChange {
    pub status: Option<u16>,
    /// All fields that the response is to have, but for what frames its body.
    pub fields: Option<FieldSection>,
    pub body: Option<Bytes>,
}

/// Says what a returned value changes of what the code was told.
pub fn judge(event: &Event<'_>, returned: &Returned) -> Result<Change, Invalid> {
    match (event.place, returned) {
        (_, Returned::Unchanged) => Ok(Change::Nothing),
        (Place::ViewerRequest, Returned::Request(out)) => request(event, out),
        (Place::ViewerRequest, Returned::Response(out)) => made(event, out),
        (Place::ViewerResponse, Returned::Response(out)) => response(event, out),
        (Place::ViewerResponse, Returned::Request(_)) => {
            Err(Invalid::new("the value", "must be a response", "a request"))
        }
    }
}

fn request(event: &Event<'_>, out: &RequestOut) -> Result<Change, Invalid> {
    let was = &event.request;
    if let Some(method) = out.method.as_deref().filter(|method| *method != was.method) {
        return Err(Invalid::new("request.method", "is read-only", method));
    }
    let uri = url::uri(out.uri.as_deref(), was.uri)?;
    let query = url::query(out.query.as_ref(), was.query)?;
    if uri.is_some() || query.is_some() {
        let path = uri.as_ref().map_or(was.uri.len(), String::len);
        let length = match &query {
            Some(query) => query.as_ref().map(String::len),
            None => was.query.map(<[u8]>::len),
        };
        url::check_length(path, length)?;
    }
    let fields = Sides {
        place: event.place,
        shown: Some(was.fields),
        extra: was.extra,
        headers: out.headers.as_deref().or(out.changed.as_deref()),
        others_stay: out.headers.is_none(),
        cookies: out.cookies.as_deref(),
        is_response: false,
        has_new_body: false,
    }
    .merged()?;
    let change = RequestChange { uri, query, fields, origin: out.origin.clone() };
    if change == RequestChange::default() {
        return Ok(Change::Nothing);
    }
    Ok(Change::Request(Box::new(change)))
}

// An answer that viewer-request code made.
fn made(event: &Event<'_>, out: &ResponseOut) -> Result<Change, Invalid> {
    let status = match out.status {
        Some(status) => check_status(status)?,
        None => return Err(Invalid::new("response.statusCode", "is required", "nothing")),
    };
    check_reason(out.status_description.as_deref())?;
    let body = out.body.as_ref().map(octets).transpose()?.unwrap_or_default();
    check_bodiless(status, &body)?;
    let fields = Sides {
        place: event.place,
        shown: None,
        extra: &[],
        headers: out.headers.as_deref(),
        others_stay: false,
        cookies: out.cookies.as_deref(),
        is_response: true,
        has_new_body: true,
    }
    .merged()?;
    let fields = Some(fields.unwrap_or_default());
    Ok(Change::Response(Box::new(ResponseChange {
        status: Some(status),
        fields,
        body: Some(body),
    })))
}

fn response(event: &Event<'_>, out: &ResponseOut) -> Result<Change, Invalid> {
    let Some(was) = &event.response else {
        return Err(Invalid::new("the value", "must not be a response here", "a response"));
    };
    let status = match out.status {
        Some(status) => Some(check_status(status)?).filter(|status| *status != was.status),
        None => None,
    };
    check_reason(out.status_description.as_deref())?;
    let body = out.body.as_ref().map(octets).transpose()?;
    if let Some(body) = &body {
        check_bodiless(status.unwrap_or(was.status), body)?;
    }
    let fields = Sides {
        place: event.place,
        shown: Some(was.fields),
        extra: &[],
        headers: out.headers.as_deref().or(out.changed.as_deref()),
        others_stay: out.headers.is_none(),
        cookies: out.cookies.as_deref(),
        is_response: true,
        has_new_body: body.is_some(),
    }
    .merged()?;
    let change = ResponseChange { status, fields, body };
    if change == ResponseChange::default() {
        return Ok(Change::Nothing);
    }
    Ok(Change::Response(Box::new(change)))
}

fn check_status(status: f64) -> Result<u16, Invalid> {
    if status.fract() == 0.0 && (200.0..=599.0).contains(&status) {
        // Whole, and within the bounds.
        return Ok(status as u16);
    }
    let rule = "must be an integer from 200 to 599";
    Err(Invalid::new("response.statusCode", rule, &status.to_string()))
}

fn check_reason(reason: Option<&str>) -> Result<(), Invalid> {
    match reason {
        Some(reason) if reason.chars().any(char::is_control) => {
            let rule = "must not have line breaks or other control characters";
            Err(Invalid::new("response.statusDescription", rule, reason))
        }
        _ => Ok(()),
    }
}

fn check_bodiless(status: u16, body: &Bytes) -> Result<(), Invalid> {
    if matches!(status, 204 | 304) && !body.is_empty() {
        let rule = format!("must be empty for a status of {status}");
        return Err(Invalid::new("response.body", rule, &body.len().to_string()));
    }
    Ok(())
}

fn octets(body: &BodyOut) -> Result<Bytes, Invalid> {
    let octets = match body {
        BodyOut::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
        BodyOut::Base64(data) => BASE64
            .decode(data)
            .map_err(|_| Invalid::new("response.body.data", "must be base64", data))?
            .into(),
    };
    if octets.len() > BODY_MAX {
        let rule = "must have at most 40,960 octets";
        return Err(Invalid::new("response.body", rule, &octets.len().to_string()));
    }
    Ok(octets)
}

#[cfg(test)]
mod tests;
