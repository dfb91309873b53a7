//! The event of a lambda that a request would make, for `foreshore function event`.

use serde_json::Value;

use super::{Asked, EventArgs};
use crate::control::explain;
use crate::functions::test_event::{DISTRIBUTION_ID, DOMAIN_NAME, REQUEST_ID};
use crate::lambda::edge_json::{
    self, CustomOrigin, Headers, LambdaPlace, LambdaTestEvent, OriginOut,
};
use crate::semantics::fields::FieldSection;

/// CloudFront's own name, as an origin sees it where no policy forwards the viewer's.
const AGENT: &str = "Amazon CloudFront";

pub(super) fn event(args: &EventArgs, asked: Asked, place: LambdaPlace) -> Result<Value, String> {
    let mut fields = asked.fields;
    let mut origin = None;
    if !place.is_viewers() {
        let (host, chosen) = origin_at(&args.origin)?;
        fields = to_origin(args, &host)?;
        origin = Some(chosen);
    }
    let response = if place.is_request() {
        None
    } else {
        Some((args.status, String::new(), explain::fields(&args.answer)?))
    };
    let event = LambdaTestEvent {
        place,
        domain_name: DOMAIN_NAME.into(),
        distribution_id: DISTRIBUTION_ID.into(),
        request_id: REQUEST_ID.into(),
        viewer: args.from,
        method: args.method.clone(),
        uri: asked.uri,
        query: asked.query.unwrap_or_default(),
        fields,
        body: None,
        origin,
        response,
    };
    serde_json::from_slice(&edge_json::write(&event.event())).map_err(|error| error.to_string())
}

// The request as the origin gets it: what the edge says itself, unless it was given.
fn to_origin(args: &EventArgs, host: &str) -> Result<FieldSection, String> {
    let mut fields = explain::fields(&args.headers)?;
    let via = format!("2.0 {DOMAIN_NAME} (CloudFront)");
    let forwarded = args.from.to_string();
    for (name, value) in [
        ("Host", host),
        ("User-Agent", AGENT),
        ("Via", via.as_str()),
        ("X-Forwarded-For", forwarded.as_str()),
    ] {
        if !fields.contains(name) && !fields.append(name, value) {
            return Err(format!("{value:?} is no value of {name}"));
        }
    }
    Ok(fields)
}

// An origin and its host as a request names it.
fn origin_at(url: &str) -> Result<(String, OriginOut), String> {
    let bad = || format!("{url:?} is no origin; one is as https://example.org:8443/path");
    let (scheme, rest) = url.split_once("://").ok_or_else(bad)?;
    let is_https = match scheme {
        "https" => true,
        "http" => false,
        _ => return Err(bad()),
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = match authority.split_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| bad())?),
        None => (authority, if is_https { 443 } else { 80 }),
    };
    if host.is_empty() || path.contains(['?', '#']) {
        return Err(bad());
    }
    let path = path.trim_end_matches('/');
    let origin = OriginOut::Custom(CustomOrigin {
        headers: Headers::default(),
        domain_name: host.to_string(),
        path: if path.is_empty() { String::new() } else { format!("/{path}") },
        port,
        is_https,
        read_timeout: 30,
        keep_alive_timeout: 5,
        tls_protocols: vec!["TLSv1.2".into()],
    });
    Ok((authority.to_string(), origin))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_read_from_its_url() {
        let (host, origin) = origin_at("http://127.0.0.1:3000/a/").unwrap();
        assert_eq!(host, "127.0.0.1:3000");
        let OriginOut::Custom(custom) = origin else { panic!("{origin:?}") };
        assert_eq!((custom.port, custom.is_https, &custom.path[..]), (3000, false, "/a"));
        let (_, origin) = origin_at("https://example.org").unwrap();
        let OriginOut::Custom(custom) = origin else { panic!("{origin:?}") };
        assert_eq!((custom.port, custom.is_https, &custom.path[..]), (443, true, ""));
        for bad in ["example.org", "ftp://a", "http://", "http://a:x", "https://a/b?c"] {
            assert!(origin_at(bad).is_err(), "{bad}");
        }
    }
}
