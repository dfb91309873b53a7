//! Pure: the events of CloudFront Functions as the JSON that CloudFront writes: what a call is told,
//! and what it gave back (`FunctionOutput` of a test).

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::event::{
    BodyOut, CookieOut, Event, FieldOut, Place, QueryOut, RequestFacts, RequestOut, ResponseFacts,
    ResponseOut, Returned,
};
use crate::message::request::Fields;

/// The whole event that a call is told.
pub fn event(told: &Event<'_>) -> Value {
    let mut context = Map::new();
    if let Some(name) = told.domain_name {
        context.insert("distributionDomainName".into(), name.into());
    }
    context.insert("distributionId".into(), told.distribution_id.into());
    context.insert("eventType".into(), event_type(told.place).into());
    context.insert("requestId".into(), told.request_id.text().into());
    let mut all = Map::new();
    all.insert("version".into(), "1.0".into());
    all.insert("context".into(), context.into());
    all.insert("viewer".into(), json!({ "ip": told.viewer.to_string() }));
    all.insert("request".into(), request(&told.request, &RequestOut::default()));
    if let Some(facts) = &told.response {
        all.insert("response".into(), response(Some(facts), &ResponseOut::default()));
    }
    Value::Object(all)
}

/// What a call gave back, whole: what it did not touch is as it was told. `{"request":{…}}` or
/// `{"response":{…}}`.
pub fn output(told: &Event<'_>, returned: &Returned) -> Value {
    let facts = told.response.as_ref().filter(|_| told.place == Place::ViewerResponse);
    match returned {
        Returned::Request(out) => json!({ "request": request(&told.request, out) }),
        Returned::Response(out) => json!({ "response": response(facts, out) }),
        Returned::Unchanged => match facts {
            Some(_) => json!({ "response": response(facts, &ResponseOut::default()) }),
            None => json!({ "request": request(&told.request, &RequestOut::default()) }),
        },
    }
}

/// `viewer-request` or `viewer-response`.
pub const fn event_type(place: Place) -> &'static str {
    match place {
        Place::ViewerRequest => "viewer-request",
        Place::ViewerResponse => "viewer-response",
    }
}

// Octets of a message as JavaScript sees them: as UTF-8, or as ISO-8859-1 where they are none.
fn text(octets: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(octets) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => Cow::Owned(octets.iter().map(|octet| char::from(*octet)).collect()),
    }
}

fn request(facts: &RequestFacts<'_>, out: &RequestOut) -> Value {
    let query = match &out.query {
        Some(QueryOut::Text(text)) => Value::from(text.as_str()),
        Some(QueryOut::Pairs(pairs)) => grouped(pairs.iter().cloned()),
        None => grouped(pairs_of(facts.query)),
    };
    let headers = match &out.headers {
        Some(fields) => fields_out(fields),
        None => {
            let extra = facts.extra.iter().map(|(name, value)| (*name, *value));
            headers(facts.fields, "cookie", extra)
        }
    };
    let cookies = match &out.cookies {
        Some(cookies) => cookies_out(cookies),
        None => {
            let lines = facts.fields.get_all("cookie").map(text);
            let all: Vec<CookieOut> = lines.flat_map(|line| request_cookies(&line)).collect();
            cookies_out(&all)
        }
    };
    json!({
        "method": out.method.as_deref().unwrap_or(facts.method),
        "uri": out.uri.as_deref().map_or_else(|| text(facts.uri), Cow::Borrowed),
        "querystring": query,
        "headers": headers,
        "cookies": cookies,
    })
}

fn response(facts: Option<&ResponseFacts<'_>>, out: &ResponseOut) -> Value {
    let mut all = Map::new();
    match (out.status, facts) {
        (Some(status), _) => all.insert("statusCode".into(), number(status)),
        (None, Some(facts)) => all.insert("statusCode".into(), facts.status.into()),
        (None, None) => None,
    };
    if let Some(description) = &out.status_description {
        all.insert("statusDescription".into(), description.as_str().into());
    }
    let told_headers =
        || facts.map(|facts| headers(facts.fields, "set-cookie", std::iter::empty()));
    let told_cookies = || {
        let lines = facts?.fields.get_all("set-cookie").map(text);
        Some(cookies_out(&lines.filter_map(|line| response_cookie(&line)).collect::<Vec<_>>()))
    };
    if let Some(headers) = out.headers.as_deref().map(fields_out).or_else(told_headers) {
        all.insert("headers".into(), headers);
    }
    if let Some(cookies) = out.cookies.as_deref().map(cookies_out).or_else(told_cookies) {
        all.insert("cookies".into(), cookies);
    }
    match &out.body {
        Some(BodyOut::Text(data)) => {
            all.insert("body".into(), json!({ "encoding": "text", "data": data }));
        }
        Some(BodyOut::Base64(data)) => {
            all.insert("body".into(), json!({ "encoding": "base64", "data": data }));
        }
        None => {}
    }
    Value::Object(all)
}

// A whole number as one.
fn number(status: f64) -> Value {
    if status.fract() == 0.0 && (0.0..1e9).contains(&status) {
        // Exact: it is whole and small.
        return Value::from(status as u64);
    }
    Value::from(status)
}

// The query's pairs, as spelled.
fn pairs_of(query: Option<&[u8]>) -> impl Iterator<Item = (String, String)> {
    let parts = query.unwrap_or_default().split(|octet| *octet == b'&');
    parts.filter(|part| !part.is_empty()).map(|part| {
        let part = text(part);
        let (name, value) = part.split_once('=').unwrap_or((&*part, ""));
        (name.to_string(), value.to_string())
    })
}

/// The cookies of one line of a request.
fn request_cookies(line: &str) -> Vec<CookieOut> {
    let pairs = line.split(';').map(str::trim).filter(|pair| !pair.is_empty());
    pairs
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            CookieOut { name: name.into(), value: value.into(), attributes: None }
        })
        .collect()
}

// One Set-Cookie line.
fn response_cookie(line: &str) -> Option<CookieOut> {
    let (pair, attributes) = match line.split_once(';') {
        Some((pair, attributes)) => (pair, Some(attributes.trim().to_string())),
        None => (line, None),
    };
    let (name, value) = pair.split_once('=')?;
    Some(CookieOut { name: name.trim().into(), value: value.trim().into(), attributes })
}

fn headers<'e>(
    fields: Fields<'e>,
    cookies: &str,
    extra: impl Iterator<Item = (&'e str, &'e [u8])>,
) -> Value {
    let all = fields.iter().chain(extra).filter(|(name, _)| !name.eq_ignore_ascii_case(cookies));
    grouped(all.map(|(name, value)| (name.to_ascii_lowercase(), text(value).into_owned())))
}

fn fields_out(fields: &[FieldOut]) -> Value {
    let each = fields
        .iter()
        .flat_map(|field| field.values.iter().map(|value| (field.name.clone(), value.clone())));
    grouped(each)
}

// `{name: {value, multiValue}}`, the latter for a name that comes more than once.
fn grouped(pairs: impl Iterator<Item = (String, String)>) -> Value {
    objects(pairs.map(|(name, value)| (name, json!({ "value": value }))))
}

fn cookies_out(cookies: &[CookieOut]) -> Value {
    objects(cookies.iter().map(|cookie| {
        let mut one = Map::new();
        one.insert("value".into(), cookie.value.as_str().into());
        if let Some(attributes) = &cookie.attributes {
            one.insert("attributes".into(), attributes.as_str().into());
        }
        (cookie.name.clone(), Value::Object(one))
    }))
}

fn objects(pairs: impl Iterator<Item = (String, Value)>) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, one) in pairs {
        match all.get_mut(&name) {
            Some(Value::Object(first)) => add(first, one),
            _ => {
                all.insert(name, one);
            }
        }
    }
    Value::Object(all)
}

// One more of a name that is there.
fn add(first: &mut Map<String, Value>, one: Value) {
    match first.get_mut("multiValue") {
        Some(Value::Array(more)) => more.push(one),
        _ => {
            let values = Value::Array(vec![Value::Object(first.clone()), one]);
            first.insert("multiValue".into(), values);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::test_event::TestEvent;

    fn told() -> Value {
        json!({
            "version": "1.0",
            "context": {
                "distributionDomainName": "d.cloudfront.net",
                "distributionId": "E1",
                "eventType": "viewer-response",
                "requestId": "R1",
            },
            "viewer": { "ip": "192.0.2.7" },
            "request": {
                "method": "GET",
                "uri": "/a",
                "querystring": {
                    "b": { "value": "1", "multiValue": [{ "value": "1" }, { "value": "%20" }] },
                },
                "headers": { "host": { "value": "www.example.com" } },
                "cookies": { "id": { "value": "x" } },
            },
            "response": {
                "statusCode": 200,
                "headers": {
                    "x-a": { "value": "1", "multiValue": [{ "value": "1" }, { "value": "2" }] },
                },
                "cookies": { "id": { "value": "y", "attributes": "Secure; Path=/" } },
            },
        })
    }

    #[test]
    fn an_event_comes_back_as_it_was_read() {
        let read = TestEvent::read(told().to_string().as_bytes()).unwrap();
        assert_eq!(event(&read.event()), told());
        let unchanged = output(&read.event(), &Returned::Unchanged);
        assert_eq!(unchanged, json!({ "response": told()["response"] }));
    }

    #[test]
    fn what_was_touched_takes_the_place_of_what_was_told() {
        let read = TestEvent::read(told().to_string().as_bytes()).unwrap();
        let made = ResponseOut {
            status: Some(302.0),
            headers: Some(vec![FieldOut { name: "location".into(), values: vec!["/b".into()] }]),
            body: Some(BodyOut::Text("moved".into())),
            ..ResponseOut::default()
        };
        let mut wanted = json!({ "response": told()["response"] });
        wanted["response"]["statusCode"] = 302.into();
        wanted["response"]["headers"] = json!({ "location": { "value": "/b" } });
        wanted["response"]["body"] = json!({ "encoding": "text", "data": "moved" });
        assert_eq!(output(&read.event(), &Returned::Response(made)), wanted);

        let mut asked = read;
        asked.place = Place::ViewerRequest;
        asked.response = None;
        let changed = RequestOut {
            uri: Some("/c".into()),
            query: Some(QueryOut::Text("d=1".into())),
            ..RequestOut::default()
        };
        let mut wanted = json!({ "request": told()["request"] });
        wanted["request"]["uri"] = "/c".into();
        wanted["request"]["querystring"] = "d=1".into();
        assert_eq!(output(&asked.event(), &Returned::Request(Box::new(changed))), wanted);
        // An answer owes nothing to a response that is not there yet.
        let answer = ResponseOut { status: Some(404.0), ..ResponseOut::default() };
        let answered = output(&asked.event(), &Returned::Response(answer));
        assert_eq!(answered, json!({ "response": { "statusCode": 404 } }));
    }
}
