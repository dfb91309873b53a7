//! Pure: a span, the record of one thing that was done for a request.

use std::borrow::Cow;

use super::context::{Place, SpanId};

/// Which side of a call a span is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    Internal,
    Server,
    Client,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    Text(Cow<'static, str>),
    Number(u64),
    Words(&'static [&'static str]),
}

impl From<u64> for Told {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}

impl From<&'static str> for Told {
    fn from(text: &'static str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Told {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

/// The attributes by which X-Ray's filters find a request. The OpenTelemetry Collector's exporter
/// makes annotations of those that `aws.xray.annotations` names, Rotel's of `annotation.*`: both are
/// said.
pub const ANNOTATED: &[&str] = &["distribution", "behavior", "result"];

/// One span, ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    pub place: Place,
    /// The span that it is a part of.
    pub parent: Option<SpanId>,
    pub name: Cow<'static, str>,
    pub kind: SpanKind,
    /// Nanoseconds since the Unix epoch.
    pub start: u64,
    pub end: u64,
    pub attributes: Vec<(&'static str, Told)>,
    /// A span of another request that did this one's work, or asked for it.
    pub link: Option<Place>,
    /// Why it failed, if it did.
    pub failure: Option<Cow<'static, str>>,
}
