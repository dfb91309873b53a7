//! Pure: heads as HTTP/2 has them (RFC 9113 §8.2, §8.3): a request on its way out, an answer and
//! its trailers on their way in.
//!
//! The `h2` crate has refused what is malformed by then: fields of a connection, names that are
//! none, lengths that differ. What is left is to hold a head to our own limits.

use http::header::{self, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery, Scheme, Uri};
use http::{Method, Request};

use super::response_head::{FIELDS_MAX, one_length};
use crate::semantics::fields::{FieldSection, Name, Value};
use crate::semantics::hop_by_hop;
use crate::semantics::lists::trim;

/// What a field costs in the size of a header list beside its octets (RFC 9113 §6.5.2).
const FIELD: usize = 32;

/// The size of a header list that origins are told: as many octets as a head of HTTP/1 may have,
/// and what its fields cost.
pub fn list_max(head_bytes: usize) -> u32 {
    u32::try_from(head_bytes + FIELD * (FIELDS_MAX + 1)).unwrap_or(u32::MAX)
}

/// A request's head; `length` is its body's, where that is known. `None` if HTTP/2 cannot carry it:
/// a Host or a target that is no part of a URI.
pub fn request(
    method: &Method,
    target: &str,
    fields: &FieldSection,
    length: Option<u64>,
    scheme: Scheme,
) -> Option<Request<()>> {
    let authority = Authority::try_from(fields.get(&header::HOST)?.as_bytes()).ok()?;
    // A fragment would be cut off.
    let path = PathAndQuery::try_from(target).ok().filter(|path| path.as_str() == target)?;
    let mut parts = http::uri::Parts::default();
    (parts.scheme, parts.authority, parts.path_and_query) =
        (Some(scheme), Some(authority), Some(path));
    let mut request = Request::new(());
    *request.method_mut() = method.clone();
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    let map = request.headers_mut();
    for (name, value) in fields.iter() {
        if name != header::HOST && !hop_by_hop::is_hop_by_hop(name) {
            map.append(name.to_header()?, to_value(name, value)?);
        }
    }
    // Trailers are taken; servers of gRPC want to hear it.
    map.insert(header::TE, HeaderValue::from_static("trailers"));
    match length {
        // Methods for which a body means something say that there is none (RFC 9110 §8.6).
        Some(0) if !matches!(*method, Method::POST | Method::PUT | Method::PATCH) => {}
        Some(length) => drop(map.insert(header::CONTENT_LENGTH, HeaderValue::from(length))),
        None => {}
    }
    Some(request)
}

// What proves who asks is never indexed: the table is shared by all who ask over one connection
// (RFC 7541 §7.1).
fn to_value(name: Name<'_>, value: Value<'_>) -> Option<HeaderValue> {
    let mut made = HeaderValue::from_bytes(value.as_bytes()).ok()?;
    let is_proof = name == header::AUTHORIZATION || name == header::COOKIE;
    made.set_sensitive(value.is_secret() || is_proof);
    Some(made)
}

/// An answer's fields, and the length that they announce; the error says what is wrong with them.
pub fn answer(
    map: &HeaderMap,
    head_bytes: usize,
) -> Result<(FieldSection, Option<u64>), &'static str> {
    if map.len() > FIELDS_MAX {
        return Err("too many fields");
    }
    let mut fields = section(map);
    if fields.lines_len() > head_bytes {
        return Err("a head longer than limits.origin_head_bytes");
    }
    let length = one_length(&mut fields)?;
    Ok((fields, length))
}

/// Fields as a map; what `http` takes for no field is left out.
pub fn map(fields: &FieldSection) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if let (Some(made), Some(text)) = (name.to_header(), to_value(name, value)) {
            map.append(made, text);
        }
    }
    map
}

/// The lines of a map, without the blanks around values that HTTP/2 forbids (RFC 9113 §8.2.1).
pub fn section(map: &HeaderMap) -> FieldSection {
    let mut fields = FieldSection::new();
    for (name, value) in map {
        fields.push(name, trim(value.as_bytes()));
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(lines: &'static [u8]) -> FieldSection {
        FieldSection::from_lines(lines)
    }

    #[test]
    fn a_request_says_what_http_1_says_but_for_its_connection() {
        let sent = fields(
            b"Host: www.test:8443\r\nAccept: */*\r\nConnection: close\r\nUpgrade: h2c\r\n\
              TE: gzip\r\nX-A: 1\r\nX-A: 2\r\nCookie: a=b\r\n",
        );
        let made = request(&Method::POST, "/a?b=c", &sent, Some(7), Scheme::HTTPS).unwrap();
        assert_eq!(made.uri(), "https://www.test:8443/a?b=c");
        let map = made.headers();
        for gone in ["host", "connection", "upgrade"] {
            assert!(!map.contains_key(gone), "{gone}");
        }
        assert_eq!(map.get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(
            (map["te"].as_bytes(), map["content-length"].as_bytes()),
            (&b"trailers"[..], &b"7"[..])
        );
        assert!(map["cookie"].is_sensitive() && !map["accept"].is_sensitive());
    }

    #[test]
    fn a_length_is_said_where_a_body_means_something() {
        let sent = fields(b"Host: h.test\r\n");
        for (method, length, said) in [
            (Method::GET, Some(0), None),
            (Method::DELETE, Some(0), None),
            (Method::POST, Some(0), Some("0")),
            (Method::DELETE, Some(3), Some("3")),
            (Method::POST, None, None),
        ] {
            let made = request(&method, "/", &sent, length, Scheme::HTTP).unwrap();
            let length = made.headers().get("content-length").map(|value| value.to_str().unwrap());
            assert_eq!(length, said, "{method}");
        }
    }

    #[test]
    fn what_is_no_uri_goes_over_http_1() {
        let sent = fields(b"Host: h.test\r\n");
        let made = request(&Method::OPTIONS, "*", &sent, Some(0), Scheme::HTTPS).unwrap();
        assert_eq!(made.uri().path(), "*");
        for target in ["/a#b", "/a b", "/\u{1}"] {
            assert!(
                request(&Method::GET, target, &sent, Some(0), Scheme::HTTPS).is_none(),
                "{target:?}"
            );
        }
        for host in [&b""[..], b"Host: \r\n", b"Host: a b\r\n"] {
            let sent = FieldSection::from_lines(host);
            assert!(request(&Method::GET, "/", &sent, Some(0), Scheme::HTTPS).is_none());
        }
    }

    #[test]
    fn an_answer_is_held_to_the_limits() {
        let mut map = HeaderMap::new();
        map.insert("content-length", HeaderValue::from(5u64));
        map.insert("x-a", HeaderValue::from_static(" b "));
        let (fields, length) = answer(&map, 100).unwrap();
        assert_eq!((length, fields.get("x-a").unwrap().as_bytes()), (Some(5), &b"b"[..]));
        assert!(answer(&map, 20).is_err());
        map.append("content-length", HeaderValue::from(6u64));
        assert!(answer(&map, 100).is_err());
        let mut many = HeaderMap::new();
        for _ in 0..=FIELDS_MAX {
            many.append("x-a", HeaderValue::from_static("1"));
        }
        assert_eq!(answer(&many, 1 << 20).err(), Some("too many fields"));
    }
}
