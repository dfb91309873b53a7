//! Response headers policies, CORS, places, lists of addresses and rates: as viewers meet them, on misses and on hits.

use super::support::Edge;
use super::support::origin::{Origin, answer};
use super::support::viewer::{Seen, request};

const POLICY: &str = "[response_headers_policy.web]\nremove = [\"X-Powered-By\", \"ETag\"]\n\
    cors = { allow_origins = [\"https://*.example.com\", \"https://exact.test\"], allow_methods = [\"GET\", \"HEAD\"], allow_headers = [\"X-Tenant\"], expose_headers = [\"ETag\"], max_age = \"10m\" }\n\
    frame_options = { value = \"DENY\" }\nreferrer_policy = { value = \"no-referrer\", override = \"nothing\" }\n\
    [[response_headers_policy.web.custom]]\nheader = \"X-Served-By\"\nvalue = \"the edge\"\n";

fn edge(origin: &Origin, policies: &str, behavior: &str) -> Edge {
    Edge::before_with(origin.address, policies, behavior)
}

// All fields but those that tell how an answer came about.
fn fields(seen: &Seen) -> Vec<(String, String)> {
    let own = ["x-cache", "cache-status", "age", "date", "server-timing"];
    let lines = seen.head.lines().skip(1).filter_map(|line| line.split_once(": "));
    let mut all: Vec<_> = lines.map(|(n, v)| (n.to_lowercase(), v.to_string())).filter(|(n, _)| !own.contains(&n.as_str())).collect();
    all.sort();
    all
}

#[test]
fn a_policy_says_the_same_on_misses_and_hits() {
    let origin = Origin::start(|asked| {
        let fields = "Cache-Control: max-age=600\nX-Powered-By: x\nETag: \"1\"\nX-Frame-Options: ALLOWALL\nReferrer-Policy: origin\nAccess-Control-Allow-Origin: *";
        answer(200, fields, if asked.method == "OPTIONS" { b"" } else { b"body" })
    });
    let edge = edge(&origin, POLICY, "response_headers_policy = \"web\"\nmethods = [\"GET\", \"HEAD\", \"OPTIONS\"]\n");
    for (at, said) in ["", "Origin: https://a.example.com", "Origin: https://exact.test", "Origin: https://evil.test"].iter().enumerate() {
        let path = format!("/{at}");
        let with: Vec<&str> = [*said].into_iter().filter(|said| !said.is_empty()).collect();
        let (miss, hit) = (edge.get_with(&path, &with), edge.get_with(&path, &with));
        assert_eq!((miss.cache(), hit.cache()), ("Miss".into(), "Hit".into()));
        assert_eq!(fields(&miss), fields(&hit), "{said}");
        for seen in [&miss, &hit] {
            assert_eq!(seen.field("x-powered-by"), None);
            assert_eq!(seen.field("etag"), None);
            assert_eq!(seen.field("x-frame-options").as_deref(), Some("DENY"));
            assert_eq!(seen.field("referrer-policy").as_deref(), Some("origin"), "the origin said something");
            assert_eq!(seen.field("x-served-by").as_deref(), Some("the edge"));
            let allowed = seen.field("access-control-allow-origin");
            match at {
                // Not a cross-origin request: the origin's own stays.
                0 => assert_eq!(allowed.as_deref(), Some("*")),
                1 | 2 => assert_eq!(allowed.as_deref(), said.strip_prefix("Origin: ")),
                _ => assert_eq!(allowed, None, "{said}"),
            }
            assert_eq!(seen.field("vary").as_deref() == Some("Origin"), at > 0);
            assert_eq!(seen.field("access-control-expose-headers").is_some(), matches!(at, 1 | 2));
            assert_eq!(seen.field("access-control-allow-methods"), None, "this is no preflight");
        }
    }
    // What one origin was told is not what another is told, from the same stored response.
    assert_eq!(
        edge.get_with("/1", &["Origin: https://b.example.com"]).field("access-control-allow-origin").as_deref(),
        Some("https://b.example.com")
    );
    let not_modified = edge.get_with("/1", &["Origin: https://a.example.com", "If-None-Match: \"1\""]);
    assert_eq!((not_modified.status, not_modified.field("x-frame-options").as_deref()), (304, Some("DENY")));
    let mut viewer = edge.viewer();
    viewer.send(&request("OPTIONS", "/1", &["Origin: https://a.example.com", "Access-Control-Request-Method: GET"]));
    let preflight = viewer.read("OPTIONS").unwrap();
    let said = ["access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"].map(|name| preflight.field(name));
    assert_eq!(said.map(|value| value.unwrap()), ["GET, HEAD", "X-Tenant", "600"]);
}

#[test]
fn managed_policies_and_server_timing() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"body"));
    let edge = edge(&origin, "", "response_headers_policy = \"67f7725c-6f97-4210-82d7-5512b31e9d03\"\n");
    let seen = edge.get("/a");
    for (name, value) in [
        ("referrer-policy", "strict-origin-when-cross-origin"),
        ("strict-transport-security", "max-age=31536000"),
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "SAMEORIGIN"),
        ("x-xss-protection", "1; mode=block"),
    ] {
        assert_eq!(seen.field(name).as_deref(), Some(value), "{name}");
    }
    let edge = super::policies_web::edge(&origin, "[response_headers_policy.t]\nserver_timing = 0\n", "response_headers_policy = \"t\"\n");
    assert_eq!(edge.get("/a").field("server-timing"), None);
    let asked = edge.get_with("/b", &["Pragma: server-timing"]).field("server-timing").unwrap();
    assert!(asked.starts_with("cdn-cache-miss"), "{asked}");
    assert_eq!(
        edge.get_with("/b", &["Pragma: server-timing"]).field("server-timing").as_deref(),
        Some("cdn-cache-hit,cdn-hit-layer;desc=\"EDGE\"")
    );
}
