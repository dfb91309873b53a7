//! Pure: events that tests hand to a function: read from the JSON that CloudFront takes, every
//! mistake named by its path.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use serde_json::{Map, Value};

use super::event::{Event, IdFacts, Place, RequestFacts, ResponseFacts};
use crate::message::request::Fields;
use crate::semantics::fields::FieldSection;

/// So many octets an event may have.
pub const MAX_EVENT: usize = 40_960;

/// Why a text is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadEvent {
    /// Where in the event, such as `request.headers.host.value`; empty for all of it.
    pub path: String,
    pub what: String,
}

impl fmt::Display for BadEvent {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path[..] {
            "" => write!(out, "The event object is not valid: {}", self.what),
            path => write!(out, "The event object is not valid: {path}: {}", self.what),
        }
    }
}

/// An event that stands on its own.
#[derive(Clone)]
pub struct TestEvent {
    pub place: Place,
    pub domain_name: Option<String>,
    pub distribution_id: String,
    pub request_id: String,
    pub viewer: IpAddr,
    pub method: String,
    pub uri: String,
    /// As it is spelled behind `?`.
    pub query: Option<String>,
    /// With a `Cookie` line for the cookies.
    pub fields: FieldSection,
    /// Status and fields, `Set-Cookie` lines for the cookies, of a viewer response.
    pub response: Option<(u16, FieldSection)>,
}

/// The names that an event has where it does not say them, those of CloudFront's own examples.
pub const DOMAIN_NAME: &str = "d111111abcdef8.cloudfront.net";
pub const DISTRIBUTION_ID: &str = "EDFDVBD6EXAMPLE";
pub const REQUEST_ID: &str = "4TyzHTaYWb1GX1qTfsHhEqV6HUDd_BzoBZnwfnvQc_1oF26ClkoUSEQ==";

impl TestEvent {
    /// Reads an event. What only says who asks for what may be left out, as with CloudFront:
    /// distribution, domain name, request id, the viewer's address.
    pub fn read(json: &[u8]) -> Result<Self, BadEvent> {
        if json.len() > MAX_EVENT {
            let what = format!("it has {} octets, and may have {MAX_EVENT}", json.len());
            return bad("", what);
        }
        let whole: Value = serde_json::from_slice(json)
            .or_else(|error| bad("", format!("it is no JSON: {error}")))?;
        let root = Node { path: String::new(), value: &whole };
        root.object()?;
        let context = root.inner("context")?;
        let place = place_of(context.as_ref(), &root)?;
        let context_text = |name: &str| match &context {
            Some(context) => context.inner(name)?.map(|one| one.text()).transpose(),
            None => Ok(None),
        };
        let request = root.wanted("request")?;
        let response = match place {
            Place::ViewerRequest => None,
            Place::ViewerResponse => Some(response(&root.wanted("response")?)?),
        };
        Ok(Self {
            place,
            domain_name: context_text("distributionDomainName")?,
            distribution_id: context_text("distributionId")?
                .unwrap_or_else(|| DISTRIBUTION_ID.into()),
            request_id: context_text("requestId")?.unwrap_or_else(|| REQUEST_ID.into()),
            viewer: viewer(&root)?,
            method: request.wanted("method")?.text()?,
            uri: uri(&request)?,
            query: query(&request)?,
            fields: fields(&request, true)?,
            response,
        })
    }

    /// The event as a call is told it.
    pub fn event(&self) -> Event<'_> {
        Event {
            place: self.place,
            domain_name: self.domain_name.as_deref(),
            distribution_id: &self.distribution_id,
            request_id: IdFacts::Text(&self.request_id),
            viewer: self.viewer,
            request: RequestFacts {
                method: &self.method,
                uri: self.uri.as_bytes(),
                query: self.query.as_deref().map(str::as_bytes),
                fields: Fields::Section(&self.fields),
                extra: &[],
            },
            response: self.response.as_ref().map(|(status, fields)| ResponseFacts {
                status: *status,
                fields: Fields::Section(fields),
            }),
            edge: None,
        }
    }
}

/// A mistake at a place.
pub fn bad<T>(path: &str, what: impl Into<String>) -> Result<T, BadEvent> {
    Err(BadEvent { path: path.to_string(), what: what.into() })
}

/// A value of an event and where it stands.
pub struct Node<'v> {
    pub path: String,
    pub value: &'v Value,
}

impl<'v> Node<'v> {
    /// Its members, if it is an object.
    pub fn object(&self) -> Result<&'v Map<String, Value>, BadEvent> {
        match self.value {
            Value::Object(map) => Ok(map),
            _ => self.wrong("an object"),
        }
    }

    /// A member; `null` is as good as nothing.
    pub fn inner(&self, name: &str) -> Result<Option<Node<'v>>, BadEvent> {
        let value = self.object()?.get(name).filter(|value| !value.is_null());
        Ok(value.map(|value| Node { path: self.below(name), value }))
    }

    /// A member that has to be there.
    pub fn wanted(&self, name: &str) -> Result<Node<'v>, BadEvent> {
        match self.inner(name)? {
            Some(node) => Ok(node),
            None => bad(&self.below(name), "it is missing"),
        }
    }

    /// Where a member stands.
    pub fn below(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_string() } else { format!("{}.{name}", self.path) }
    }

    /// Its text, if it is one.
    pub fn text(&self) -> Result<String, BadEvent> {
        match self.value {
            Value::String(text) => Ok(text.clone()),
            _ => self.wrong("text"),
        }
    }

    /// What it is, and what it is to be.
    pub fn wrong<T>(&self, wanted: &str) -> Result<T, BadEvent> {
        let found = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "text",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        bad(&self.path, format!("{found} is there, and {wanted} is wanted"))
    }

    // Each name of an object with all values that it has, as `multiValue` or `value` says.
    fn members(&self) -> Result<Vec<(String, Vec<Node<'v>>)>, BadEvent> {
        let mut all = Vec::new();
        for (name, value) in self.object()? {
            let one = Node { path: self.below(name), value };
            let several = one.inner("multiValue")?;
            let values = match several.as_ref().map(|several| (several.value, several)) {
                None => vec![one],
                Some((Value::Array(values), several)) => {
                    let each = values.iter().enumerate();
                    each.map(|(at, value)| Node { path: format!("{}[{at}]", several.path), value })
                        .collect()
                }
                Some((_, several)) => return several.wrong("an array"),
            };
            all.push((name.clone(), values));
        }
        Ok(all)
    }
}

fn place_of(context: Option<&Node<'_>>, root: &Node<'_>) -> Result<Place, BadEvent> {
    let told = match context {
        Some(context) => context.inner("eventType")?,
        None => None,
    };
    let Some(told) = told else {
        let answers = root.inner("response")?.is_some();
        return Ok(if answers { Place::ViewerResponse } else { Place::ViewerRequest });
    };
    match &told.text()?[..] {
        "viewer-request" => Ok(Place::ViewerRequest),
        "viewer-response" => Ok(Place::ViewerResponse),
        other => {
            bad(&told.path, format!("{other:?} is neither viewer-request nor viewer-response"))
        }
    }
}

fn viewer(root: &Node<'_>) -> Result<IpAddr, BadEvent> {
    let told = match root.inner("viewer")? {
        Some(viewer) => viewer.inner("ip")?,
        None => None,
    };
    let Some(told) = told else { return Ok(Ipv4Addr::new(192, 0, 2, 1).into()) };
    let text = told.text()?;
    text.parse().or_else(|_| bad(&told.path, format!("{text:?} is no address")))
}

fn uri(request: &Node<'_>) -> Result<String, BadEvent> {
    let told = request.wanted("uri")?;
    let uri = told.text()?;
    if uri.starts_with('/') { Ok(uri) } else { bad(&told.path, "it begins with no `/`") }
}

// The query as it would have been spelled.
fn query(request: &Node<'_>) -> Result<Option<String>, BadEvent> {
    let Some(told) = request.inner("querystring")? else { return Ok(None) };
    if let Value::String(text) = told.value {
        return Ok((!text.is_empty()).then(|| text.clone()));
    }
    let mut pairs = Vec::new();
    for (name, values) in told.members()? {
        for value in values {
            pairs.push(format!("{name}={}", value.wanted("value")?.text()?));
        }
    }
    Ok((!pairs.is_empty()).then(|| pairs.join("&")))
}

// Headers and cookies of a request or a response, as lines.
fn fields(message: &Node<'_>, is_request: bool) -> Result<FieldSection, BadEvent> {
    let mut fields = FieldSection::new();
    if let Some(headers) = message.inner("headers")? {
        for (name, values) in headers.members()? {
            for node in values {
                let value = node.wanted("value")?.text()?;
                if name.bytes().any(|octet| octet.is_ascii_uppercase()) {
                    return bad(&node.path, "header names are in lower case");
                }
                if !fields.append(&name, &value[..]) {
                    return bad(&node.path, "this is no header field");
                }
            }
        }
    }
    let Some(cookies) = message.inner("cookies")? else { return Ok(fields) };
    let mut pairs = Vec::new();
    for (name, values) in cookies.members()? {
        for node in values {
            let value = node.wanted("value")?.text()?;
            let attributes = node.inner("attributes")?.map(|one| one.text()).transpose()?;
            let pair = format!("{name}={value}");
            if is_request {
                pairs.push(pair);
                continue;
            }
            let line = match attributes.filter(|text| !text.is_empty()) {
                Some(attributes) => format!("{pair}; {attributes}"),
                None => pair,
            };
            if !fields.append("set-cookie", &line[..]) {
                return bad(&node.path, "this is no cookie");
            }
        }
    }
    if !pairs.is_empty() && !fields.append("cookie", &pairs.join("; ")[..]) {
        return bad(&cookies.path, "these are no cookies");
    }
    Ok(fields)
}

fn response(told: &Node<'_>) -> Result<(u16, FieldSection), BadEvent> {
    let status = told.wanted("statusCode")?;
    let number = status.value.as_u64().and_then(|number| u16::try_from(number).ok());
    match number.filter(|number| (100..=599).contains(number)) {
        Some(number) => Ok((number, fields(told, false)?)),
        None => status.wrong("a status from 100 to 599"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_is_needed() {
        let json = br#"{"request": {"method": "GET", "uri": "/", "querystring": {}}}"#;
        let read = TestEvent::read(json).unwrap();
        assert_eq!(read.place, Place::ViewerRequest);
        assert_eq!((read.query, read.domain_name), (None, None));
        assert_eq!(read.distribution_id, DISTRIBUTION_ID);
        let json = br#"{"request": {"method": "GET", "uri": "/", "querystring": "a=b"},
            "response": {"statusCode": 404}}"#;
        let read = TestEvent::read(json).unwrap();
        assert_eq!(read.place, Place::ViewerResponse);
        assert_eq!(read.query.as_deref(), Some("a=b"));
        assert_eq!(read.response.map(|(status, _)| status), Some(404));
    }

    #[test]
    fn mistakes_are_named_by_their_path() {
        for (json, path, what) in [
            ("[]", "", "an array is there, and an object is wanted"),
            ("{}", "request", "it is missing"),
            (
                r#"{"context": {"eventType": "origin-request"}}"#,
                "context.eventType",
                "origin-request",
            ),
            (r#"{"request": {"method": 1}}"#, "request.method", "a number is there, and text"),
            (r#"{"request": {"method": "GET", "uri": "a"}}"#, "request.uri", "begins with no"),
            (
                r#"{"context": {"eventType": "viewer-response"}, "request": {"method": "GET", "uri": "/"}}"#,
                "response",
                "it is missing",
            ),
            (
                r#"{"request": {"method": "GET", "uri": "/", "headers": {"a": {"multiValue": [{"value": "b"}, {}]}}}}"#,
                "request.headers.a.multiValue[1].value",
                "it is missing",
            ),
            (
                r#"{"request": {"method": "GET", "uri": "/", "headers": {"A": {"value": "b"}}}}"#,
                "request.headers.A",
                "lower case",
            ),
            (
                r#"{"request": {"method": "GET", "uri": "/", "headers": {"a": {"value": "b\nc: d"}}}}"#,
                "request.headers.a",
                "no header field",
            ),
            (
                r#"{"request": {"method": "GET", "uri": "/"}, "response": {"statusCode": "200"}}"#,
                "response.statusCode",
                "text is there, and a status",
            ),
            (r#"{"viewer": {"ip": "x"}, "request": {}}"#, "viewer.ip", "no address"),
        ] {
            let bad = TestEvent::read(json.as_bytes()).err().unwrap();
            assert_eq!(bad.path, path, "{json}: {bad}");
            assert!(bad.what.contains(what), "{json}: {bad}");
        }
        assert!(TestEvent::read(b"{").err().unwrap().to_string().contains("it is no JSON"));
        let long = format!("{}{{}}", " ".repeat(MAX_EVENT));
        assert!(TestEvent::read(long.as_bytes()).err().unwrap().what.contains("40962 octets"));
    }
}
