//! Pure: events that tests hand to a lambda: read from the JSON that CloudFront writes, every mistake
//! named by its path.

use std::net::{IpAddr, Ipv4Addr};

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use http::HeaderName;
use serde_json::Value;

use super::event::{EdgeEvent, EdgeRequest, EdgeResponse, ShownBody};
use super::origin::{CustomOrigin, Headers, OriginOut, S3Origin};
use super::place::LambdaPlace;
use crate::functions::test_event::{BadEvent, DISTRIBUTION_ID, DOMAIN_NAME, Node, REQUEST_ID, bad};
use crate::message::request::Fields;
use crate::semantics::fields::FieldSection;

/// So many octets an event may have: what Lambda takes.
const EVENT_MAX: usize = 6 << 20;

/// An event that stands on its own.
#[derive(Clone, Debug)]
pub struct LambdaTestEvent {
    pub place: LambdaPlace,
    pub domain_name: String,
    pub distribution_id: String,
    pub request_id: String,
    pub viewer: IpAddr,
    pub method: String,
    pub uri: String,
    /// What stands after `?`.
    pub query: String,
    pub fields: FieldSection,
    /// Octets, and whether there are more.
    pub body: Option<(Vec<u8>, bool)>,
    pub origin: Option<OriginOut>,
    /// Status, its phrase and the fields, at the two response events.
    pub response: Option<(u16, String, FieldSection)>,
}

impl LambdaTestEvent {
    /// Reads an event. Where it stands it says itself, or `place` does. What only says who asks for
    /// what may be left out: the distribution, its name, the request's id, the viewer's address.
    ///
    /// # Errors
    ///
    /// The first mistake, with its place.
    pub fn read(json: &[u8], place: Option<LambdaPlace>) -> Result<Self, BadEvent> {
        if json.len() > EVENT_MAX {
            return bad("", format!("it has {} octets, and may have {EVENT_MAX}", json.len()));
        }
        let whole: Value = serde_json::from_slice(json)
            .or_else(|error| bad("", format!("it is no JSON: {error}")))?;
        let root = Node { path: String::new(), value: &whole };
        let records = root.wanted("Records")?;
        let first = match records.value {
            Value::Array(all) if all.len() == 1 => &all[0],
            Value::Array(all) => return bad(&records.path, format!("there are {}", all.len())),
            _ => return records.wrong("an array"),
        };
        let cf = Node { path: "Records[0]".into(), value: first }.wanted("cf")?;
        let config = cf.inner("config")?;
        let place = place_of(config.as_ref(), place, &cf)?;
        let config_text = |name: &str, usual: &str| match &config {
            Some(config) => text_or(config, name, usual),
            None => Ok(usual.to_string()),
        };
        let request = cf.wanted("request")?;
        let is_origins = !place.is_viewers();
        let response =
            if place.is_request() { None } else { Some(response(&cf.wanted("response")?)?) };
        Ok(Self {
            place,
            domain_name: config_text("distributionDomainName", DOMAIN_NAME)?,
            distribution_id: config_text("distributionId", DISTRIBUTION_ID)?,
            request_id: config_text("requestId", REQUEST_ID)?,
            viewer: viewer(&request)?,
            method: text_or(&request, "method", "GET")?,
            uri: uri(&request)?,
            query: text_or(&request, "querystring", "")?,
            fields: fields(&request)?,
            body: request.inner("body")?.map(|body| shown_body(&body)).transpose()?,
            origin: match request.inner("origin")? {
                Some(origin) if is_origins => Some(origin_of(&origin)?),
                Some(_) | None => None,
            },
            response,
        })
    }

    /// The event as a call is told it.
    pub fn event(&self) -> EdgeEvent<'_> {
        EdgeEvent {
            place: self.place,
            domain_name: &self.domain_name,
            distribution_id: &self.distribution_id,
            request_id: &self.request_id,
            request: EdgeRequest {
                viewer: self.viewer,
                method: &self.method,
                uri: self.uri.as_bytes(),
                query: Some(self.query.as_bytes()).filter(|query| !query.is_empty()),
                fields: Fields::Section(&self.fields),
                extra: &[],
                body: self
                    .body
                    .as_ref()
                    .map(|(octets, is_cut)| ShownBody { octets, is_cut: *is_cut }),
                origin: self.origin.as_ref(),
            },
            response: self.response.as_ref().map(|(status, description, fields)| EdgeResponse {
                status: *status,
                description,
                fields: Fields::Section(fields),
            }),
        }
    }
}

fn text_or(node: &Node<'_>, name: &str, usual: &str) -> Result<String, BadEvent> {
    match node.inner(name)? {
        Some(told) => told.text(),
        None => Ok(usual.to_string()),
    }
}

fn place_of(
    config: Option<&Node<'_>>,
    wanted: Option<LambdaPlace>,
    cf: &Node<'_>,
) -> Result<LambdaPlace, BadEvent> {
    let told = match config {
        Some(config) => config.inner("eventType")?,
        None => None,
    };
    let Some(told) = told else {
        return match wanted {
            Some(place) => Ok(place),
            None => bad(&cf.below("config.eventType"), "it is missing; --hook says it too"),
        };
    };
    let word = told.text()?;
    match LambdaPlace::from_name(&word) {
        Some(place) if wanted.is_none_or(|wanted| wanted == place) => Ok(place),
        Some(_) => bad(&told.path, format!("{word:?} is there, and --hook says otherwise")),
        None => bad(&told.path, format!("{word:?} is none of Lambda@Edge's four events")),
    }
}

fn viewer(request: &Node<'_>) -> Result<IpAddr, BadEvent> {
    let Some(told) = request.inner("clientIp")? else {
        return Ok(Ipv4Addr::new(192, 0, 2, 1).into());
    };
    let text = told.text()?;
    text.parse().or_else(|_| bad(&told.path, format!("{text:?} is no address")))
}

fn uri(request: &Node<'_>) -> Result<String, BadEvent> {
    let told = request.wanted("uri")?;
    let uri = told.text()?;
    if uri.starts_with('/') { Ok(uri) } else { bad(&told.path, "it begins with no `/`") }
}

// Each name with an array of `{key, value}`.
fn fields(message: &Node<'_>) -> Result<FieldSection, BadEvent> {
    let mut fields = FieldSection::new();
    let Some(headers) = message.inner("headers")? else { return Ok(fields) };
    for (name, entries) in headers.object()? {
        let node = Node { path: headers.below(name), value: entries };
        let Value::Array(entries) = entries else { return node.wrong("an array") };
        if HeaderName::from_bytes(name.as_bytes()).is_err() {
            return bad(&node.path, "this is no header field");
        }
        for (at, entry) in entries.iter().enumerate() {
            let entry = Node { path: format!("{}[{at}]", node.path), value: entry };
            let spelled = text_or(&entry, "key", name)?;
            if !spelled.eq_ignore_ascii_case(name) {
                return bad(&entry.path, format!("its key is {spelled:?}"));
            }
            let value = entry.wanted("value")?.text()?;
            if !fields.append(&spelled, &value[..]) {
                return bad(&entry.path, "this is no header field");
            }
        }
    }
    Ok(fields)
}

fn shown_body(body: &Node<'_>) -> Result<(Vec<u8>, bool), BadEvent> {
    let data = body.wanted("data")?;
    let octets = match &text_or(body, "encoding", "base64")?[..] {
        "base64" => BASE64.decode(data.text()?).or_else(|_| bad(&data.path, "it is no base64"))?,
        "text" => data.text()?.into_bytes(),
        _ => return bad(&body.below("encoding"), "neither base64 nor text"),
    };
    let is_cut = body.inner("inputTruncated")?.is_some_and(|told| told.value == true);
    Ok((octets, is_cut))
}

// What is shown may be what CloudFront does not know, such as an address of this machine.
fn origin_of(origin: &Node<'_>) -> Result<OriginOut, BadEvent> {
    if let Some(s3) = origin.inner("s3")? {
        return Ok(OriginOut::S3(S3Origin {
            headers: custom_headers(&s3)?,
            domain_name: s3.wanted("domainName")?.text()?,
            path: text_or(&s3, "path", "")?,
            is_signed: text_or(&s3, "authMethod", "none")? == "origin-access-identity",
            region: text_or(&s3, "region", "")?,
        }));
    }
    let custom = origin.wanted("custom")?;
    let is_https = text_or(&custom, "protocol", "https")? == "https";
    let seconds = |name: &str, usual| number(&custom, name, usual);
    let usual_port = if is_https { 443 } else { 80 };
    let tls = custom.inner("sslProtocols")?.and_then(|told| told.value.as_array().cloned());
    let tls = tls.unwrap_or_default();
    Ok(OriginOut::Custom(CustomOrigin {
        headers: custom_headers(&custom)?,
        domain_name: custom.wanted("domainName")?.text()?,
        path: text_or(&custom, "path", "")?,
        port: u16::try_from(seconds("port", usual_port)?)
            .or_else(|_| bad(&custom.below("port"), "this is no port"))?,
        is_https,
        read_timeout: seconds("readTimeout", 30)?,
        keep_alive_timeout: seconds("keepaliveTimeout", 5)?,
        tls_protocols: tls.iter().filter_map(Value::as_str).map(str::to_string).collect(),
    }))
}

fn number(node: &Node<'_>, name: &str, usual: u32) -> Result<u32, BadEvent> {
    let Some(told) = node.inner(name)? else { return Ok(usual) };
    match told.value.as_u64().and_then(|number| u32::try_from(number).ok()) {
        Some(number) => Ok(number),
        None => told.wrong("a number"),
    }
}

fn custom_headers(origin: &Node<'_>) -> Result<Headers, BadEvent> {
    let Some(told) = origin.inner("customHeaders")? else { return Ok(Headers::default()) };
    let mut all = Vec::new();
    for (name, entries) in told.object()? {
        let value = entries.get(0).and_then(|entry| entry.get("value")).and_then(Value::as_str);
        let Some(value) = value else {
            return bad(&told.below(name), "it is no array with a value");
        };
        all.push((name.to_ascii_lowercase(), value.to_string()));
    }
    Ok(Headers(all))
}

fn response(told: &Node<'_>) -> Result<(u16, String, FieldSection), BadEvent> {
    let status = told.wanted("status")?;
    let number = match status.value {
        Value::String(text) => text.parse().ok(),
        other => other.as_u64().and_then(|number| u16::try_from(number).ok()),
    };
    match number.filter(|number| (100..=599).contains(number)) {
        Some(number) => Ok((number, text_or(told, "statusDescription", "")?, fields(told)?)),
        None => status.wrong("a status from 100 to 599"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::write;
    use super::super::samples::{custom, event, section};
    use super::*;

    fn read(json: &Value) -> Result<LambdaTestEvent, BadEvent> {
        LambdaTestEvent::read(json.to_string().as_bytes(), None)
    }

    #[test]
    fn what_is_written_is_read_back() {
        let (lines, origin) = (section(&[("Host", "a"), ("X-B", "1"), ("X-B", "2")]), custom());
        for place in [
            LambdaPlace::ViewerRequest,
            LambdaPlace::OriginRequest,
            LambdaPlace::OriginResponse,
            LambdaPlace::ViewerResponse,
        ] {
            let mut event = event(place, &lines);
            event.request.body = Some(ShownBody { octets: b"body", is_cut: true });
            if !place.is_viewers() {
                event.request.origin = Some(&origin);
            }
            if !place.is_request() {
                let fields = Fields::Section(&lines);
                event.response =
                    Some(EdgeResponse { status: 404, description: "Gone away", fields });
            }
            let written = write(&event);
            let read = LambdaTestEvent::read(&written, Some(place)).unwrap();
            assert_eq!(write(&read.event()), written, "{place:?}");
        }
    }

    #[test]
    fn little_is_needed() {
        let least = json!({ "Records": [{ "cf": { "request": { "uri": "/" } } }] });
        let place = LambdaPlace::OriginRequest;
        let read = LambdaTestEvent::read(least.to_string().as_bytes(), Some(place)).unwrap();
        assert_eq!((read.place, read.method.as_str()), (place, "GET"));
        assert_eq!(read.distribution_id, DISTRIBUTION_ID);
        assert!(read.origin.is_none() && read.response.is_none());
    }

    #[test]
    fn mistakes_are_named_by_their_path() {
        let of = |member: &str, value: Value| {
            let mut all = json!({ "Records": [{ "cf": {
                "config": { "eventType": "origin-response" },
                "request": { "uri": "/", "method": "GET" },
                "response": { "status": "200" },
            } }] });
            let (part, member) = member.split_once('.').unwrap();
            all["Records"][0]["cf"][part][member] = value;
            all
        };
        for (json, path, what) in [
            (json!([]), "", "an array is there"),
            (json!({}), "Records", "it is missing"),
            (json!({ "Records": [] }), "Records", "there are 0"),
            (json!({ "Records": [{}] }), "Records[0].cf", "it is missing"),
            (of("config.eventType", json!("x")), "Records[0].cf.config.eventType", "four events"),
            (of("config.eventType", json!(null)), "Records[0].cf.config.eventType", "--hook"),
            (of("request.uri", json!("a")), "Records[0].cf.request.uri", "begins with no"),
            (of("request.clientIp", json!("a")), "Records[0].cf.request.clientIp", "no address"),
            (
                of("request.headers", json!({ "a": "b" })),
                "Records[0].cf.request.headers.a",
                "array",
            ),
            (
                of("request.headers", json!({ "a": [{ "value": "b\nc" }] })),
                "Records[0].cf.request.headers.a[0]",
                "no header field",
            ),
            (
                of("request.headers", json!({ "a": [{ "key": "b", "value": "c" }] })),
                "Records[0].cf.request.headers.a[0]",
                "its key is",
            ),
            (
                of("request.body", json!({ "data": "*" })),
                "Records[0].cf.request.body.data",
                "no base64",
            ),
            (of("request.origin", json!({})), "Records[0].cf.request.origin.custom", "missing"),
            (of("response.status", json!("x")), "Records[0].cf.response.status", "a status from"),
        ] {
            let bad = read(&json).unwrap_err();
            assert_eq!(bad.path, path, "{json}: {bad}");
            assert!(bad.what.contains(what), "{json}: {bad}");
        }
        let other = of("config.eventType", json!("origin-request"));
        let place = Some(LambdaPlace::ViewerRequest);
        let bad = LambdaTestEvent::read(other.to_string().as_bytes(), place).unwrap_err();
        assert!(bad.what.contains("--hook says otherwise"), "{bad}");
    }
}
