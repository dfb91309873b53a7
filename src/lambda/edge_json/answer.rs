//! Pure: what a function returned becomes what is really to change, or the rule that it breaks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_PAD_INDIFFERENT as BASE64;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::event::{EdgeEvent, EdgeResponse};
use super::headers::{Shown, merged};
use super::origin::OriginOut;
use super::place::LambdaPlace;
use super::rules::{Mistake, Rule};
use crate::functions::event::QueryOut;
use crate::functions::rules::{as_text, url};
use crate::semantics::fields::FieldSection;

/// What a call comes to.
#[derive(Debug, PartialEq)]
pub enum EdgeAnswer {
    /// The request goes on, with these changes.
    Request(LambdaRequestChange),
    /// From a request event: an answer that the function made. From a response event: what of the
    /// response changes.
    Response(LambdaResponse),
}

/// What of a request changes. What stays as it was is `None`.
#[derive(Debug, Default, PartialEq)]
pub struct LambdaRequestChange {
    /// A path, escaped where it must be.
    pub uri: Option<String>,
    /// `None` inside: no query any more.
    pub query: Option<Option<String>>,
    /// All fields that the request is to have.
    pub fields: Option<FieldSection>,
    /// The body that takes the place of the viewer's.
    pub body: Option<Bytes>,
    /// Where it goes instead; from an origin request only.
    pub origin: Option<OriginOut>,
}

/// What of a response changes, or all there is of one that a function made.
#[derive(Debug, Default, PartialEq)]
pub struct LambdaResponse {
    /// Always there in a response that was made.
    pub status: Option<u16>,
    /// Always there in a response that was made.
    pub fields: Option<FieldSection>,
    pub body: Option<Bytes>,
}

/// What a request has, of which one that goes on has something. The event itself has none of it, nor
/// an answer whose status is called as API Gateway's is: both are returned by mistake.
const REQUEST: [&str; 7] =
    ["body", "clientIp", "headers", "method", "origin", "querystring", "uri"];

/// Reads what a function returned to an event.
///
/// # Errors
///
/// The first rule that it breaks.
pub fn read(event: &EdgeEvent<'_>, returned: &[u8]) -> Result<EdgeAnswer, Mistake> {
    let value: Value = serde_json::from_slice(returned)
        .map_err(|error| Mistake::new(Rule::Object, "the value", &error.to_string()))?;
    let Value::Object(object) = &value else {
        // Not what is in it: that may be a request.
        let found = if value.is_array() { "an array".into() } else { value.to_string() };
        return Err(Mistake::new(Rule::Object, "the value", &found));
    };
    match &event.response {
        // A request is no response, nor is what has no status at all.
        Some(_) if !object.contains_key("status") => Err(neither(object)),
        Some(shown) => response(event, shown, object).map(EdgeAnswer::Response),
        // What has a status is an answer.
        None if object.contains_key("status") => made(event, object).map(EdgeAnswer::Response),
        None if !REQUEST.iter().any(|member| object.contains_key(*member)) => Err(neither(object)),
        None => request(event, object).map(EdgeAnswer::Request),
    }
}

// By the names of its members alone: a request that is returned for a response says secrets.
fn neither(object: &Map<String, Value>) -> Mistake {
    let members: Vec<&str> = object.keys().map(String::as_str).collect();
    Mistake::new(Rule::Neither, "the value", &members.join(", "))
}

fn request(
    event: &EdgeEvent<'_>,
    object: &Map<String, Value>,
) -> Result<LambdaRequestChange, Mistake> {
    let was = &event.request;
    let viewer = was.viewer.to_string();
    for (member, shown) in [("method", was.method), ("clientIp", viewer.as_str())] {
        if let Some(found) = object.get(member).filter(|found| found.as_str() != Some(shown)) {
            return Err(Mistake::new(Rule::ReadOnlyMember, member, &found.to_string()));
        }
    }
    let uri = url::uri(text(object, "uri", Rule::Uri)?, was.uri);
    let uri = uri.map_err(|invalid| Mistake::new(Rule::Uri, "uri", &invalid.found))?;
    let query = text(object, "querystring", Rule::Querystring)?
        .filter(|query| *query != as_text(was.query.unwrap_or_default()))
        .map(|query| QueryOut::Text(query.to_string()));
    let query = url::query(query.as_ref(), was.query);
    let query =
        query.map_err(|invalid| Mistake::new(Rule::Querystring, "querystring", &invalid.found))?;
    if uri.is_some() || query.is_some() {
        let path = uri.as_ref().map_or(was.uri.len(), String::len);
        let length = match &query {
            Some(query) => query.as_ref().map(String::len),
            None => was.query.map(<[u8]>::len),
        };
        url::check_length(path, length)
            .map_err(|invalid| Mistake::new(Rule::UrlSize, "uri", &invalid.found))?;
    }
    let shown = Shown { place: event.place, fields: Some(was.fields), extra: was.extra };
    let fields = merged(&shown, object.get("headers"))?;
    let body = replaced(event.place, object.get("body"))?;
    let origin = match object.get("origin").filter(|origin| !origin.is_null()) {
        Some(origin) if event.place == LambdaPlace::OriginRequest => {
            let read = OriginOut::read(origin, was.origin)?;
            check_custom_headers(&read, fields.as_ref(), event)?;
            Some(read).filter(|read| Some(read) != was.origin)
        }
        // At a viewer there is none to choose.
        _ => None,
    };
    Ok(LambdaRequestChange { uri, query, fields, body, origin })
}

// One field must not come from two sides.
fn check_custom_headers(
    origin: &OriginOut,
    fields: Option<&FieldSection>,
    event: &EdgeEvent<'_>,
) -> Result<(), Mistake> {
    // What the operator's own settings say twice the edge has settled before.
    if Some(origin) == event.request.origin && fields.is_none() {
        return Ok(());
    }
    for (name, value) in &origin.headers().0 {
        let is_twice = match fields {
            Some(fields) => fields.contains(name),
            None => event.request.fields.get_all(name).next().is_some(),
        };
        let was_so = event.request.origin.is_some_and(|was| {
            was.headers().0.iter().any(|(known, same)| known == name && same == value)
        });
        if is_twice && !was_so {
            let path = format!("origin.customHeaders.{name}");
            return Err(Mistake::new(Rule::CustomHeaderTwice, path, name));
        }
    }
    Ok(())
}

// A request's body that a function put in the place of the viewer's.
fn replaced(place: LambdaPlace, body: Option<&Value>) -> Result<Option<Bytes>, Mistake> {
    let body = match body {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(body)) => body,
        Some(other) => return Err(Mistake::new(Rule::Body, "body", &other.to_string())),
    };
    match body.get("action").and_then(Value::as_str) {
        Some("replace") => {}
        Some("read-only") | None => return Ok(None),
        Some(other) => return Err(Mistake::new(Rule::Body, "body.action", other)),
    }
    let data = match body.get("data") {
        None | Some(Value::Null) => "",
        Some(Value::String(data)) => data,
        Some(other) => return Err(Mistake::new(Rule::Body, "body.data", &other.to_string())),
    };
    decoded(place, data, body.get("encoding"), "body.encoding").map(Some)
}

// A response that the function made itself.
fn made(event: &EdgeEvent<'_>, object: &Map<String, Value>) -> Result<LambdaResponse, Mistake> {
    let status = status(object)?.ok_or_else(|| Mistake::new(Rule::Status, "status", "nothing"))?;
    check_description(object)?;
    let shown = Shown { place: event.place, fields: None, extra: &[] };
    let fields = merged(&shown, object.get("headers"))?;
    let body = body(event.place, object)?;
    if status == 204 && body.as_ref().is_some_and(|body| !body.is_empty()) {
        return Err(Mistake::new(Rule::BodyOfNoContent, "body", ""));
    }
    Ok(LambdaResponse { status: Some(status), fields, body })
}

// The response of a response event as it is to be.
fn response(
    event: &EdgeEvent<'_>,
    was: &EdgeResponse<'_>,
    object: &Map<String, Value>,
) -> Result<LambdaResponse, Mistake> {
    let status = status(object)?.filter(|status| *status != was.status);
    if let Some(status) = status
        && event.place == LambdaPlace::ViewerResponse
    {
        return Err(Mistake::new(Rule::StatusChanged, "status", &status.to_string()));
    }
    check_description(object)?;
    let shown = Shown { place: event.place, fields: Some(was.fields), extra: &[] };
    let fields = merged(&shown, object.get("headers"))?;
    let body = body(event.place, object)?;
    let is_empty = status.unwrap_or(was.status) == 204;
    if is_empty && body.as_ref().is_some_and(|body| !body.is_empty()) {
        return Err(Mistake::new(Rule::BodyOfNoContent, "body", ""));
    }
    Ok(LambdaResponse { status, fields, body })
}

// Text, or a number as AWS's own samples have it. One that was shown may be of any kind.
fn status(object: &Map<String, Value>) -> Result<Option<u16>, Mistake> {
    let found = match object.get("status") {
        None | Some(Value::Null) => return Ok(None),
        Some(found) => found,
    };
    let number = match found {
        Value::String(text) => text.trim().parse().ok(),
        // Python's 200.0 is 200.
        Value::Number(number) => number
            .as_f64()
            .filter(|number| number.fract() == 0.0 && (0.0..1000.0).contains(number))
            .map(|number| number as u16),
        _ => None,
    };
    match number {
        Some(status @ 200..=599) => Ok(Some(status)),
        _ => Err(Mistake::new(Rule::Status, "status", &found.to_string())),
    }
}

// The phrase goes nowhere: HTTP/2 has none, and nothing may depend on it.
fn check_description(object: &Map<String, Value>) -> Result<(), Mistake> {
    match object.get("statusDescription") {
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            Err(Mistake::new(Rule::Status, "statusDescription", text))
        }
        _ => Ok(()),
    }
}

fn body(place: LambdaPlace, object: &Map<String, Value>) -> Result<Option<Bytes>, Mistake> {
    match object.get("body") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(data)) => {
            decoded(place, data, object.get("bodyEncoding"), "bodyEncoding").map(Some)
        }
        Some(other) => Err(Mistake::new(Rule::Body, "body", &other.to_string())),
    }
}

fn decoded(
    place: LambdaPlace,
    data: &str,
    encoding: Option<&Value>,
    path: &str,
) -> Result<Bytes, Mistake> {
    let octets = match encoding.map(|encoding| (encoding, encoding.as_str())) {
        None | Some((Value::Null, _) | (_, Some("text"))) => {
            Bytes::copy_from_slice(data.as_bytes())
        }
        Some((_, Some("base64"))) => BASE64
            .decode(data)
            .map_err(|error| Mistake::new(Rule::BodyEncoding, path, &error.to_string()))?
            .into(),
        Some((other, _)) => {
            return Err(Mistake::new(Rule::BodyEncoding, path, &other.to_string()));
        }
    };
    if octets.len() > place.body_max() {
        return Err(Mistake::new(Rule::BodySize, "body", &format!("{} octets", octets.len())));
    }
    Ok(octets)
}

// A member that is a text, if it is there.
fn text<'o>(
    object: &'o Map<String, Value>,
    name: &str,
    rule: Rule,
) -> Result<Option<&'o str>, Mistake> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(other) => Err(Mistake::new(rule, name, &other.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::event::write;
    use super::super::samples::{custom, event, section};
    use super::*;
    use crate::message::request::Fields;

    // What a function got: the request or response of the event.
    fn given(event: &EdgeEvent<'_>) -> Value {
        let value: Value = serde_json::from_slice(&write(event)).unwrap();
        let cf = &value["Records"][0]["cf"];
        if event.response.is_some() { cf["response"].clone() } else { cf["request"].clone() }
    }

    fn told(event: &EdgeEvent<'_>, returned: &Value) -> Result<EdgeAnswer, Rule> {
        read(event, returned.to_string().as_bytes()).map_err(|mistake| mistake.rule)
    }

    fn changed(event: &EdgeEvent<'_>, member: &str, value: Value) -> Result<EdgeAnswer, Rule> {
        let mut returned = given(event);
        returned[member] = value;
        told(event, &returned)
    }

    fn request_of(answer: Result<EdgeAnswer, Rule>) -> LambdaRequestChange {
        match answer {
            Ok(EdgeAnswer::Request(change)) => change,
            other => panic!("{other:?}"),
        }
    }

    fn response_of(answer: Result<EdgeAnswer, Rule>) -> LambdaResponse {
        match answer {
            Ok(EdgeAnswer::Response(change)) => change,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_comes_back_as_it_was_is_no_change() {
        let (fields, origin) = (section(&[("Host", "a"), ("X-B", "\u{e9}")]), custom());
        for place in [LambdaPlace::ViewerRequest, LambdaPlace::OriginRequest] {
            let mut event = event(place, &fields);
            event.request.origin = Some(&origin);
            assert_eq!(request_of(told(&event, &given(&event))), LambdaRequestChange::default());
        }
        for place in [LambdaPlace::OriginResponse, LambdaPlace::ViewerResponse] {
            let mut event = event(place, &fields);
            event.response = Some(EdgeResponse {
                status: 404,
                description: "",
                fields: Fields::Section(&fields),
            });
            assert_eq!(response_of(told(&event, &given(&event))), LambdaResponse::default());
        }
    }

    #[test]
    fn a_request_is_changed_member_by_member() {
        let fields = section(&[("Host", "a")]);
        let event = event(LambdaPlace::ViewerRequest, &fields);
        let change = request_of(changed(&event, "uri", json!("/b c")));
        assert_eq!(change.uri.as_deref(), Some("/b%20c"));
        assert_eq!(change.query, None);
        let change = request_of(changed(&event, "querystring", json!("")));
        assert_eq!(change.query, Some(None));
        let change = request_of(changed(&event, "querystring", json!("x=1&y")));
        assert_eq!(change.query, Some(Some("x=1&y".into())));
        let body = json!({"action": "replace", "encoding": "base64", "data": "aGk="});
        assert_eq!(request_of(changed(&event, "body", body)).body.as_deref(), Some(&b"hi"[..]));
        let body = json!({"action": "replace", "encoding": "text", "data": "hi"});
        assert_eq!(request_of(changed(&event, "body", body)).body.as_deref(), Some(&b"hi"[..]));
        let body = json!({"action": "read-only", "encoding": "base64", "data": "aGk="});
        assert_eq!(request_of(changed(&event, "body", body)).body, None);
        for (member, value, rule) in [
            ("method", json!("POST"), Rule::ReadOnlyMember),
            ("clientIp", json!("10.0.0.1"), Rule::ReadOnlyMember),
            ("uri", json!("b"), Rule::Uri),
            ("uri", json!(1), Rule::Uri),
            ("uri", json!("/a/../b"), Rule::Uri),
            ("querystring", json!("a b"), Rule::Querystring),
            ("querystring", json!({}), Rule::Querystring),
            ("uri", json!(format!("/{}", "a".repeat(9000))), Rule::UrlSize),
            ("body", json!("text"), Rule::Body),
            ("body", json!({"action": "other"}), Rule::Body),
            ("body", json!({"action": "replace", "data": 1}), Rule::Body),
            (
                "body",
                json!({"action": "replace", "data": "x", "encoding": "hex"}),
                Rule::BodyEncoding,
            ),
            (
                "body",
                json!({"action": "replace", "data": "*", "encoding": "base64"}),
                Rule::BodyEncoding,
            ),
            ("body", json!({"action": "replace", "data": "x".repeat(40_961)}), Rule::BodySize),
            ("headers", json!(1), Rule::Object),
        ] {
            assert_eq!(changed(&event, member, value.clone()), Err(rule), "{member} = {value}");
        }
    }

    #[test]
    fn an_origin_is_chosen_at_an_origin_request_alone() {
        let (fields, origin) = (section(&[("Host", "a"), ("X-Mine", "1")]), custom());
        let mut event = event(LambdaPlace::OriginRequest, &fields);
        event.request.origin = Some(&origin);
        let mut returned = given(&event);
        returned["origin"]["custom"]["domainName"] = json!("other.example");
        returned["headers"]["host"] = json!([{"key": "Host", "value": "other.example"}]);
        let change = request_of(told(&event, &returned));
        assert_eq!(change.origin.unwrap().domain_name(), "other.example");
        assert!(change.fields.unwrap().get("host").unwrap() == "other.example");
        let s3 = json!({"s3": {
            "authMethod": "none", "customHeaders": {}, "domainName": "b.s3.amazonaws.com",
            "path": "", "region": "us-east-1",
        }});
        let change = request_of(changed(&event, "origin", s3));
        assert!(matches!(change.origin, Some(OriginOut::S3(_))));
        returned["origin"]["custom"]["customHeaders"]["x-mine"] = json!([{"value": "2"}]);
        assert_eq!(told(&event, &returned), Err(Rule::CustomHeaderTwice));
        assert_eq!(changed(&event, "origin", json!({})), Err(Rule::Origin));
        event.place = LambdaPlace::ViewerRequest;
        assert_eq!(request_of(changed(&event, "origin", json!({}))).origin, None);
    }

    #[test]
    fn an_answer_is_made_with_its_status_as_text_or_number() {
        let fields = section(&[("Host", "a")]);
        let event = event(LambdaPlace::ViewerRequest, &fields);
        for status in [json!("302"), json!(302), json!(302.0)] {
            let location = json!([{"key": "Location", "value": "/b"}]);
            let returned = json!({
                "status": status, "statusDescription": "Found",
                "headers": {"location": location}, "body": "hi",
            });
            let made = response_of(told(&event, &returned));
            assert_eq!(made.status, Some(302));
            assert!(made.fields.unwrap().get("location").unwrap() == "/b");
            assert_eq!(made.body.as_deref(), Some(&b"hi"[..]));
        }
        let small = json!({"status": "200"});
        assert_eq!(response_of(told(&event, &small)).fields, Some(FieldSection::new()));
        for (returned, rule) in [
            (json!({"status": "600"}), Rule::Status),
            (json!({"status": 199}), Rule::Status),
            (json!({"status": 200.5}), Rule::Status),
            (json!({"status": null}), Rule::Status),
            (json!({"status": []}), Rule::Status),
            (json!({"status": 200, "statusDescription": "a\nb"}), Rule::Status),
            (json!({"status": 200, "body": {"a": 1}}), Rule::Body),
            (json!({"status": 200, "body": "x", "bodyEncoding": "gzip"}), Rule::BodyEncoding),
            (json!({"status": 200, "body": "x".repeat(40_961)}), Rule::BodySize),
            (json!({"status": 204, "body": "x"}), Rule::BodyOfNoContent),
            (
                json!({"status": 200, "headers": {"x-cache": [{"value": "Hit"}]}}),
                Rule::BlockedHeader,
            ),
            (json!({}), Rule::Neither),
            (json!({"Records": [{"cf": {}}]}), Rule::Neither),
            (json!({"statusCode": 403, "statusDescription": "Forbidden"}), Rule::Neither),
            (json!(null), Rule::Object),
            (json!("text"), Rule::Object),
            (json!([]), Rule::Object),
        ] {
            assert_eq!(told(&event, &returned), Err(rule), "{returned}");
        }
        let mut at_origin = event;
        at_origin.place = LambdaPlace::OriginRequest;
        let large = json!({"status": 200, "body": "x".repeat(1 << 20)});
        assert!(told(&at_origin, &large).is_ok());
    }

    #[test]
    fn a_request_that_is_returned_for_a_response_is_told_without_what_it_says() {
        let fields = section(&[("Authorization", "Bearer secret")]);
        let request = given(&event(LambdaPlace::ViewerRequest, &fields));
        assert!(request.to_string().contains("secret"));
        let mut event = event(LambdaPlace::ViewerResponse, &fields);
        let fields = Fields::Section(&fields);
        event.response = Some(EdgeResponse { status: 200, description: "OK", fields });
        for (returned, found) in [(request.clone(), "headers"), (json!([request]), "an array")] {
            let mistake = read(&event, returned.to_string().as_bytes()).unwrap_err();
            assert!(mistake.found.contains(found) && !mistake.detail().contains("secret"));
        }
    }

    #[test]
    fn a_response_keeps_what_is_not_changed_and_a_viewers_its_status() {
        let (none, fields) = (FieldSection::new(), section(&[("Via", "1.1 a"), ("X-A", "1")]));
        let shown =
            EdgeResponse { status: 200, description: "OK", fields: Fields::Section(&fields) };
        let mut event = event(LambdaPlace::OriginResponse, &none);
        event.response = Some(shown);
        assert_eq!(response_of(changed(&event, "status", json!(301))).status, Some(301));
        let change = response_of(changed(&event, "body", json!("")));
        assert_eq!((change.status, change.body.as_deref()), (None, Some(&b""[..])));
        let set = json!({"via": [{"value": "1.1 a"}], "x-b": [{"value": "2"}]});
        let change = response_of(changed(&event, "headers", set));
        let kept = change.fields.unwrap();
        assert!(kept.contains("via") && kept.contains("x-b") && !kept.contains("x-a"));
        let anew = json!({"status": "404", "headers": {"x-b": [{"value": "2"}]}});
        let anew = response_of(told(&event, &anew));
        assert_eq!(anew.status, Some(404));
        let kept = anew.fields.unwrap();
        assert!(kept.contains("via") && kept.contains("x-b") && !kept.contains("x-a"));
        let other = json!({"via": [{"value": "1.1 b"}]});
        assert_eq!(changed(&event, "headers", other), Err(Rule::ReadOnlyHeader));
        let request = json!({"uri": "/", "method": "GET", "headers": {}});
        for wrong in [request, json!({}), json!({"statusCode": 200})] {
            assert_eq!(told(&event, &wrong), Err(Rule::Neither), "{wrong}");
        }
        event.place = LambdaPlace::ViewerResponse;
        assert_eq!(changed(&event, "status", json!(301)), Err(Rule::StatusChanged));
        assert!(changed(&event, "status", json!(200)).is_ok());
    }
}
