//! What the admin listener answers with: a whole text, or a body that is still being made.

use std::convert::Infallible;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use serde_json::json;

/// An answer of the admin listener.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The body of an answer that is there as a whole.
pub fn whole(text: String) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(text)).boxed_unsync()
}

/// A plain text.
pub fn text(status: StatusCode, words: &str) -> Answer {
    typed(status, "text/plain; charset=utf-8", words.to_string())
}

/// A value as JSON for people and programs.
pub fn ok(status: StatusCode, value: &impl Serialize) -> Answer {
    let mut words = serde_json::to_string_pretty(value).unwrap_or_else(|_| "{}".into());
    words.push('\n');
    json_text(status, words)
}

/// JSON that is a text already.
pub fn json_text(status: StatusCode, words: String) -> Answer {
    typed(status, "application/json", words)
}

/// What is wrong with a call.
pub fn error(status: StatusCode, why: &str) -> Answer {
    ok(status, &json!({ "error": why }))
}

/// A text of a kind.
pub fn typed(status: StatusCode, kind: &'static str, words: String) -> Answer {
    let mut response = Response::new(whole(words));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
