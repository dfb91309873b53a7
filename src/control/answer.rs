//! What the admin listener answers with: a whole text, or a body that is still being made.

use std::convert::Infallible;

use bytes::Bytes;
use http::Response;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};

/// An answer of the admin listener.
pub type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The body of an answer that is there as a whole.
pub fn whole(text: String) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(Bytes::from(text)).boxed_unsync()
}
