//! A second reading of what goes out: for generated exchanges, the fields in the octets to an
//! origin and to a viewer are those that maps of fields would come to, in whatever order.
//!
//! The reference is written on `http::HeaderMap`, as the edge itself once was, and shares nothing
//! with the sections of lines that it serves by now but the lists of RFC 9110.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use foreshore::access;
use foreshore::body::Body;
use foreshore::cache::ask::{self, CacheRequest};
use foreshore::config::{self, MissingCertificates};
use foreshore::deliver::sink::Http1Lines;
use foreshore::deliver::{self, status_fields};
use foreshore::distribution::compat::Compat;
use foreshore::distribution::site::Site;
use foreshore::listen::message::write_fields;
use foreshore::message::key::InvalidationNumber;
use foreshore::message::request::ViewerRequest;
use foreshore::message::response::{Reply, ReplyFrom};
use foreshore::message::verdict::{NotKept, Outcome, Reason, Verdict};
use foreshore::origin::request::{FetchKind, Node, build, receive};
use foreshore::origin::response_head;
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

static SITE: LazyLock<Arc<Site>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("edge.toml");
    let text = "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n\
        [cache_policy.whole]\nsemantics = \"rfc9111\"\n\
        [[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n\
        [[distribution.origin]]\nid = \"o\"\nurl = \"http://o.test:81\"\n\
        [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\ncache_policy = \"whole\"\n";
    std::fs::write(&path, text).unwrap();
    config::load(&path, NOW, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site
});

/// Fields that die at each hop, that are said anew, or that a viewer has no right to.
const GONE: [&str; 33] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-authentication-info",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
    "host",
    "content-length",
    "expect",
    "range",
    "if-range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "via",
    "cdn-loop",
    "x-forwarded-for",
    "foreshore-edge",
    "foreshore-edge-token",
    "cloudfront-viewer-country",
    "forwarded",
    "x-forwarded-host",
    "x-real-ip",
    "x-host",
    "proxy",
    "x-edge-word",
    "true-client-ip",
];

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        proptest::sample::select(&GONE[..]).prop_map(str::to_string),
        "([aA]ccept|ACCEPT-Language|[xX]-[a-cA-C]{1,3}|User-agent|referer|ETag|eTAG)",
        "[a-zA-Z0-9!#$%&'*+.^_`|~-]{1,12}",
    ]
}

fn lines() -> impl Strategy<Value = Vec<(String, String)>> {
    proptest::collection::vec((name(), "[!-~é]{0,6}( [!-~]{1,5})?"), 0..14)
}

fn sorted(lines: impl IntoIterator<Item = (String, Vec<u8>)>) -> Vec<(String, Vec<u8>)> {
    let mut lines: Vec<_> = lines.into_iter().collect();
    lines.sort();
    lines
}

// Lines of HTTP/1 as names in lower case and values.
fn of_octets(octets: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut lines = [httparse::EMPTY_HEADER; 128];
    let whole = [octets, b"\r\n"].concat();
    let httparse::Status::Complete((_, lines)) =
        httparse::parse_headers(&whole, &mut lines).unwrap()
    else {
        panic!("whole lines")
    };
    sorted(lines.iter().map(|line| (line.name.to_ascii_lowercase(), line.value.to_vec())))
}

fn of_map(map: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    sorted(map.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec())))
}

fn map(lines: &[(String, String)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value.trim()))
        else {
            continue;
        };
        map.append(name, value);
    }
    map
}

fn joined(map: &HeaderMap, name: &str, ours: &str) -> HeaderValue {
    let mut all: Vec<&[u8]> = map.get_all(name).iter().map(HeaderValue::as_bytes).collect();
    all.push(ours.as_bytes());
    HeaderValue::from_bytes(&all.join(&b", "[..])).unwrap()
}

// What the origin is to be asked, by maps.
fn expected_request(viewer: &HeaderMap) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in viewer {
        if !GONE.contains(&name.as_str()) && !name.as_str().starts_with("cloudfront-") {
            map.append(name.clone(), value.clone());
        }
    }
    map.insert("host", HeaderValue::from_static("o.test:81"));
    map.insert("via", joined(viewer, "via", "1.1 foreshore"));
    map.insert("cdn-loop", joined(viewer, "cdn-loop", "foreshore-n"));
    map.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.1"));
    map
}

// What the viewer is to be told of an answer that is not kept, by maps.
fn expected_answer(origin: &HeaderMap) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in origin {
        let is_hop = GONE[..11].contains(&name.as_str());
        let is_ours = ["x-cache", "x-amz-cf-id", "x-amz-cf-pop", "alt-svc", "content-length"];
        if !is_hop && !is_ours.contains(&name.as_str()) {
            map.append(name.clone(), value.clone());
        }
    }
    map.append("via", HeaderValue::from_static("1.1 foreshore"));
    map.insert("x-cache", HeaderValue::from_static("Miss from foreshore"));
    map
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, ..ProptestConfig::default() })]

    #[test]
    fn an_origin_is_asked_what_maps_would_ask(lines in lines()) {
        let viewer = map(&lines);
        let mut fields = FieldSection::new();
        for (name, value) in &lines {
            fields.append(name, value.trim());
        }
        let mut request = ViewerRequest::get("http://h.test/a?b=c")
            .with_fields(fields)
            .with_arrival(NOW, InvalidationNumber(0));
        // What Connection lists has left before; the generated values list nothing that is there.
        request.fields.remove("connection");
        let mut expected = viewer;
        expected.remove("connection");
        // Whether cookies go on is another matter.
        request.fields.remove("cookie");
        expected.remove("cookie");
        let head = request.head();
        let Ok(routed) = access::route(&SITE, &head, NOW) else { panic!("a route") };
        let wants = ask::wants(&routed, NOW);
        let asked = CacheRequest { routed, key: b"", wants, slice: None };
        let node = Node { id: "n", keeps_forwarded_for: false };
        let built = build(&asked, &FetchKind::Fill, &routed.distribution.origins[0], node);
        let mut octets = Vec::new();
        built.fields.write_lines(&mut octets);
        prop_assert_eq!(of_octets(&octets), of_map(&expected_request(&expected)));
        prop_assert_eq!(&*built.target, "/a?b=c");
    }

    #[test]
    fn a_viewer_is_told_what_maps_would_tell(lines in lines(), is_dated: bool) {
        let mut lines: Vec<_> = lines
            .into_iter()
            .filter(|(name, _)| {
                let name = name.to_ascii_lowercase();
                !["connection", "content-length", "transfer-encoding", "keep-alive", "date"]
                    .contains(&name.as_str())
            })
            .collect();
        if is_dated {
            lines.push(("Date".into(), "Fri, 15 Jan 2027 08:00:00 GMT".into()));
        }
        let mut octets = b"HTTP/1.1 200 OK\r\n".to_vec();
        for (name, value) in &lines {
            octets.extend_from_slice(format!("{name}: {}\r\n", value.trim()).as_bytes());
        }
        octets.extend_from_slice(b"\r\n");
        let mut read = response_head::read(&Bytes::from(octets), false).unwrap();
        receive(&mut read.fields);
        let reply = Reply {
            status: 200,
            fields: read.fields,
            body: Body::Empty,
            asked_at: NOW,
            arrived_at: NOW,
            from: ReplyFrom::Origin,
        };
        let request = ViewerRequest::get("http://h.test/").with_arrival(NOW, InvalidationNumber(0));
        let reason = Reason::NotKept(NotKept::NoStore);
        let verdict =
            Verdict { outcome: Outcome::Miss, reason, collapsed: false, stored: false, failed: None };
        let mut response = deliver::from_reply(&request.head(), reply, verdict);
        status_fields::tell(&mut response, &Compat::default(), request.id);
        let mut out = Vec::new();
        write_fields(&response, false, NOW, &mut Http1Lines(&mut out));
        let mut told = of_octets(&out);
        // Ours is the last; what it says in full is held by scenes.
        let ours = told.iter().filter(|(name, value)| name == "cache-status" && value.starts_with(b"Foreshore")).count();
        prop_assert_eq!(ours, 1);
        told.retain(|(name, value)| name != "cache-status" || !value.starts_with(b"Foreshore"));
        let mut expected = expected_answer(&map(&lines));
        if !is_dated {
            expected.insert("date", HeaderValue::from_static("Fri, 15 Jan 2027 08:00:00 GMT"));
        }
        prop_assert_eq!(told, of_map(&expected));
    }
}
