//! Pure: the event that a function is called with, as JSON.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;

use super::json::{capitalised, member, string};
use super::origin::OriginOut;
use super::place::LambdaPlace;
use super::rules::is_blocked;
use crate::functions::rules::as_text;
use crate::message::request::Fields;

/// What a call is told.
#[derive(Clone, Copy)]
pub struct EdgeEvent<'e> {
    pub place: LambdaPlace,
    pub domain_name: &'e str,
    pub distribution_id: &'e str,
    pub request_id: &'e str,
    pub request: EdgeRequest<'e>,
    /// At the two response events only.
    pub response: Option<EdgeResponse<'e>>,
}

#[derive(Clone, Copy)]
pub struct EdgeRequest<'e> {
    pub viewer: IpAddr,
    pub method: &'e str,
    pub uri: &'e [u8],
    /// What stands after `?`.
    pub query: Option<&'e [u8]>,
    pub fields: Fields<'e>,
    /// What comes beside the fields, in lower case.
    pub extra: &'e [(&'e str, &'e [u8])],
    /// If the function is to see the body.
    pub body: Option<ShownBody<'e>>,
    /// At the two origin events only.
    pub origin: Option<&'e OriginOut>,
}

/// The beginning of a body, or all of it.
#[derive(Clone, Copy)]
pub struct ShownBody<'e> {
    pub octets: &'e [u8],
    /// There is more than `octets`.
    pub is_cut: bool,
}

#[derive(Clone, Copy)]
pub struct EdgeResponse<'e> {
    pub status: u16,
    /// Empty: the usual one.
    pub description: &'e str,
    pub fields: Fields<'e>,
}

/// Writes the event.
pub fn write(event: &EdgeEvent<'_>) -> Bytes {
    let mut out = Vec::with_capacity(2048);
    out.extend_from_slice(b"{\"Records\":[{\"cf\":{\"config\":{\"distributionDomainName\":");
    string(event.domain_name, &mut out);
    member("distributionId", event.distribution_id, &mut out);
    member("eventType", event.place.name(), &mut out);
    member("requestId", event.request_id, &mut out);
    out.extend_from_slice(b"},\"request\":{\"clientIp\":");
    request(event, &mut out);
    if let Some(response) = &event.response {
        out.extend_from_slice(b",\"response\":{\"headers\":");
        headers(event.place, response.fields, &[], &mut out);
        member("status", &response.status.to_string(), &mut out);
        let usual = http::StatusCode::from_u16(response.status).ok();
        let usual = usual.and_then(|status| status.canonical_reason()).unwrap_or_default();
        let description = response.description;
        member(
            "statusDescription",
            if description.is_empty() { usual } else { description },
            &mut out,
        );
        out.push(b'}');
    }
    out.extend_from_slice(b"}}]}");
    out.into()
}

fn request(event: &EdgeEvent<'_>, out: &mut Vec<u8>) {
    let request = &event.request;
    string(&request.viewer.to_string(), out);
    out.extend_from_slice(b",\"headers\":");
    headers(event.place, request.fields, request.extra, out);
    member("method", request.method, out);
    member("querystring", &as_text(request.query.unwrap_or_default()), out);
    member("uri", &as_text(request.uri), out);
    if let Some(body) = request.body {
        let shown = &body.octets[..body.octets.len().min(event.place.body_max())];
        let is_cut = body.is_cut || shown.len() < body.octets.len();
        out.extend_from_slice(b",\"body\":{\"action\":\"read-only\"");
        member("data", &BASE64.encode(shown), out);
        member("encoding", "base64", out);
        out.extend_from_slice(b",\"inputTruncated\":");
        out.extend_from_slice(is_cut.to_string().as_bytes());
        out.push(b'}');
    }
    if let Some(origin) = request.origin {
        out.extend_from_slice(b",\"origin\":");
        origin.write(out);
    }
    out.push(b'}');
}

// A line of a field: its name as spelled, and its value.
type Line<'l> = (&'l str, &'l [u8]);

// Lines of one name come together, where the first of them was.
fn headers(place: LambdaPlace, fields: Fields<'_>, extra: &[(&str, &[u8])], out: &mut Vec<u8>) {
    let mut groups: Vec<(String, Vec<Line<'_>>)> = Vec::new();
    for (spelled, value) in fields.iter().chain(extra.iter().copied()) {
        let name = spelled.to_ascii_lowercase();
        let is_hidden = is_blocked(place, &name) && !name.starts_with("cloudfront-");
        if is_hidden {
            continue;
        }
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, lines)) => lines.push((spelled, value)),
            None => groups.push((name, vec![(spelled, value)])),
        }
    }
    out.push(b'{');
    for (at, (name, lines)) in groups.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        string(name, out);
        out.extend_from_slice(b":[");
        for (at, (spelled, value)) in lines.iter().enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(b"{\"key\":");
            // Names of HTTP/2 have no capitals; functions are used to them.
            if *spelled == name.as_str() {
                string(&capitalised(name), out);
            } else {
                string(spelled, out);
            }
            member("value", &as_text(value), out);
            out.push(b'}');
        }
        out.push(b']');
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::samples::{event, section};
    use super::*;
    use crate::semantics::fields::FieldSection;

    fn parsed(event: &EdgeEvent<'_>) -> Value {
        serde_json::from_slice(&write(event)).unwrap()
    }

    #[test]
    fn an_event_is_as_the_guide_has_it() {
        let fields = section(&[
            ("Host", "d1.cloudfront.net"),
            ("x-a", "1"),
            ("User-Agent", "curl \"7\"\u{e9}"),
            ("X-A", "2"),
            ("Connection", "close"),
        ]);
        let request = event(LambdaPlace::ViewerRequest, &fields);
        assert_eq!(
            parsed(&request),
            json!({"Records": [{"cf": {
                "config": {
                    "distributionDomainName": "d1.cloudfront.net",
                    "distributionId": "EDFDVBD6EXAMPLE",
                    "eventType": "viewer-request",
                    "requestId": "req==",
                },
                "request": {
                    "clientIp": "203.0.113.178",
                    "headers": {
                        "host": [{"key": "Host", "value": "d1.cloudfront.net"}],
                        "x-a": [{"key": "X-A", "value": "1"}, {"key": "X-A", "value": "2"}],
                        "user-agent": [{"key": "User-Agent", "value": "curl \"7\"\u{e9}"}],
                    },
                    "method": "GET",
                    "querystring": "b=c&d=%20",
                    "uri": "/a",
                },
            }}]})
        );
    }

    #[test]
    fn a_query_is_always_there_and_a_response_has_its_status_as_text() {
        let (fields, none) = (section(&[("Server", "x")]), FieldSection::new());
        let mut response = event(LambdaPlace::OriginResponse, &none);
        response.request.query = None;
        response.response =
            Some(EdgeResponse { status: 404, description: "", fields: Fields::Section(&fields) });
        let cf = &parsed(&response)["Records"][0]["cf"];
        assert_eq!(cf["request"]["querystring"], "");
        assert_eq!(cf["request"]["headers"], json!({}));
        assert_eq!(cf["response"]["status"], "404");
        assert_eq!(cf["response"]["statusDescription"], "Not Found");
        assert_eq!(cf["response"]["headers"]["server"][0]["key"], "Server");
    }

    #[test]
    fn a_body_is_cut_off_where_the_place_has_its_end() {
        let (none, long) = (FieldSection::new(), vec![b'x'; 50_000]);
        for (place, octets, want, is_cut) in [
            (LambdaPlace::ViewerRequest, &long[..], 40_960, true),
            (LambdaPlace::ViewerRequest, &long[..40_960], 40_960, false),
            (LambdaPlace::OriginRequest, &long[..], 50_000, false),
            (LambdaPlace::OriginRequest, &long[..0], 0, false),
        ] {
            let mut request = event(place, &none);
            request.request.body = Some(ShownBody { octets, is_cut: false });
            let body = &parsed(&request)["Records"][0]["cf"]["request"]["body"];
            let data = BASE64.decode(body["data"].as_str().unwrap()).unwrap();
            assert_eq!((data.len(), body["inputTruncated"] == true), (want, is_cut));
            assert_eq!(body["encoding"], "base64");
            assert_eq!(body["action"], "read-only");
        }
    }
}
