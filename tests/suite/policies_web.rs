//! Response headers policies, CORS, places, lists of addresses and rates: as viewers meet them, on
//! misses and on hits.

use super::support::mmdb;
use super::support::origin::{Origin, answer};
use super::support::viewer::{Seen, request};
use super::support::{Edge, eventually};

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
    let mut all: Vec<_> = lines
        .map(|(n, v)| (n.to_lowercase(), v.to_string()))
        .filter(|(n, _)| !own.contains(&n.as_str()))
        .collect();
    all.sort();
    all
}

#[test]
fn a_policy_says_the_same_on_misses_and_hits() {
    let origin = Origin::start(|asked| {
        let fields = "Cache-Control: max-age=600\nX-Powered-By: x\nETag: \"1\"\nX-Frame-Options: ALLOWALL\nReferrer-Policy: origin\nAccess-Control-Allow-Origin: *";
        answer(200, fields, if asked.method == "OPTIONS" { b"" } else { b"body" })
    });
    let edge = edge(
        &origin,
        POLICY,
        "response_headers_policy = \"web\"\nmethods = [\"GET\", \"HEAD\", \"OPTIONS\"]\n",
    );
    for (at, said) in [
        "",
        "Origin: https://a.example.com",
        "Origin: https://exact.test",
        "Origin: https://evil.test",
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/{at}");
        let with: Vec<&str> = [*said].into_iter().filter(|said| !said.is_empty()).collect();
        let (miss, hit) = (edge.get_with(&path, &with), edge.get_with(&path, &with));
        assert_eq!((miss.cache(), hit.cache()), ("Miss".into(), "Hit".into()));
        assert_eq!(fields(&miss), fields(&hit), "{said}");
        for seen in [&miss, &hit] {
            assert_eq!(seen.field("x-powered-by"), None);
            assert_eq!(seen.field("etag"), None);
            assert_eq!(seen.field("x-frame-options").as_deref(), Some("DENY"));
            assert_eq!(
                seen.field("referrer-policy").as_deref(),
                Some("origin"),
                "the origin said something"
            );
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
        edge.get_with("/1", &["Origin: https://b.example.com"])
            .field("access-control-allow-origin")
            .as_deref(),
        Some("https://b.example.com")
    );
    let not_modified =
        edge.get_with("/1", &["Origin: https://a.example.com", "If-None-Match: \"1\""]);
    assert_eq!(
        (not_modified.status, not_modified.field("x-frame-options").as_deref()),
        (304, Some("DENY"))
    );
    let mut viewer = edge.viewer();
    viewer.send(&request(
        "OPTIONS",
        "/1",
        &["Origin: https://a.example.com", "Access-Control-Request-Method: GET"],
    ));
    let preflight = viewer.read("OPTIONS").unwrap();
    let said =
        ["access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"]
            .map(|name| preflight.field(name));
    assert_eq!(said.map(|value| value.unwrap()), ["GET, HEAD", "X-Tenant", "600"]);
}

#[test]
fn managed_policies_and_server_timing() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"body"));
    let edge =
        edge(&origin, "", "response_headers_policy = \"67f7725c-6f97-4210-82d7-5512b31e9d03\"\n");
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
    let edge = super::policies_web::edge(
        &origin,
        "[response_headers_policy.t]\nserver_timing = 0\n",
        "response_headers_policy = \"t\"\n",
    );
    assert_eq!(edge.get("/a").field("server-timing"), None);
    let asked = edge.get_with("/b", &["Pragma: server-timing"]).field("server-timing").unwrap();
    assert!(asked.starts_with("cdn-upstream-layer;desc=\"EDGE\",cdn-upstream-fbl;dur="), "{asked}");
    assert!(asked.contains(",cdn-cache-miss,cdn-pop;desc=\"LOC1-C1\",cdn-rid;desc=\""), "{asked}");
    let hit = edge.get_with("/b", &["Pragma: server-timing"]).field("server-timing").unwrap();
    assert!(
        hit.starts_with("cdn-cache-hit,cdn-pop;desc=\"LOC1-C1\",cdn-rid;desc=\"")
            && hit.ends_with(",cdn-hit-layer;desc=\"EDGE\""),
        "{hit}"
    );
}

#[test]
fn who_is_where_decides_and_is_told_to_the_origin() {
    let origin = Origin::start(|asked| {
        answer(200, "Cache-Control: max-age=600", format!("{asked:?}").as_bytes())
    });
    let folder = std::sync::Arc::new(tempfile::tempdir().unwrap());
    let database = folder.path().join("places.mmdb");
    std::fs::write(&database, mmdb::example("DE")).unwrap();
    let more = "[geo]\ndatabases = [\"places.mmdb\"]\n[cache_policy.by_country]\nkey = { headers = [\"CloudFront-Viewer-Country\", \"CloudFront-Is-Mobile-Viewer\"] }\n\
        [origin_request_policy.city]\nheaders = [\"CloudFront-Viewer-City\", \"CloudFront-Viewer-ASN\", \"CloudFront-Viewer-Time-Zone\", \"CloudFront-Viewer-Postal-Code\"]\n";
    let text = super::support::edge::plain(origin.address, more)
        .replace("hosts = [\"*\"]", "hosts = [\"*\"]\ngeo_restriction = { except = [\"SE\"] }")
        + "cache_policy = \"by_country\"\norigin_request_policy = \"city\"\n";
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let edge = Edge::start_in(folder);
    // What a viewer claims is not believed.
    let seen =
        edge.get_with("/a", &["CloudFront-Viewer-Country: FR", "CloudFront-Viewer-Postal-Code: 1"]);
    assert_eq!((seen.status, seen.cache()), (200, "Miss".into()));
    let asked = &origin.seen()[0];
    for (name, value) in [
        ("cloudfront-viewer-country", Some("DE")),
        ("cloudfront-viewer-city", Some("L%C3%BCbeck")),
        ("cloudfront-viewer-asn", Some("64496")),
        ("cloudfront-viewer-time-zone", Some("Europe/Berlin")),
        ("cloudfront-is-mobile-viewer", Some("false")),
        ("cloudfront-viewer-postal-code", None),
    ] {
        assert_eq!(asked.field(name).as_deref(), value, "{name}");
    }
    assert_eq!(edge.get("/a").cache(), "Hit");
    assert_eq!(
        edge.get_with("/a", &["User-Agent: iPhone Mobile"]).cache(),
        "Miss",
        "phones have a page of their own"
    );
    // explain says the same, of addresses that no viewer here has.
    let explain = |from: &str| {
        let (_, told, _) = super::support::edge::command(
            edge.path(),
            &["explain", "--config", "edge.toml", "--from", from, "http://h.test/a"],
        );
        told
    };
    assert!(explain("198.51.100.7").contains("refused: 403 This is not served in your country."));
    assert!(explain("203.0.113.1").contains("may ask"), "whoever is unknown is served");
    // The database changes, and so does the country of each viewer that connects from then on.
    std::fs::write(&database, mmdb::example("SE")).unwrap();
    eventually("the new database is in force", || edge.get("/a").status == 403);
}

#[test]
fn addresses_and_rates_are_limited() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let lists = "[[distribution.behavior]]\npath = \"/denied/*\"\norigin = \"o\"\ndeny_from = [\"127.0.0.0/8\"]\n\
        [[distribution.behavior]]\npath = \"/others/*\"\norigin = \"o\"\nallow_from = [\"192.0.2.0/24\"]\n\
        [[distribution.behavior]]\npath = \"/ours/*\"\norigin = \"o\"\nallow_from = [\"127.0.0.1\"]\ndeny_from = [\"192.0.2.0/24\"]\n\
        [[distribution.behavior]]\npath = \"/slow/*\"\norigin = \"o\"\nrate_limit = { requests = 1, per = \"1h\", burst = 3 }\n";
    let text = super::support::edge::plain(origin.address, "").replace(
        "[[distribution.behavior]]\npath = \"*\"",
        &format!("{lists}[[distribution.behavior]]\npath = \"*\""),
    );
    let edge = Edge::start(&text);
    for (path, status) in [("/denied/a", 403), ("/others/a", 403), ("/ours/a", 200), ("/a", 200)] {
        assert_eq!(edge.get(path).status, status, "{path}");
    }
    // Hits count as misses do.
    let statuses: Vec<u16> = (0..5).map(|_| edge.get("/slow/a").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    let refused = edge.get("/slow/b");
    let wait: u64 = refused.field("retry-after").unwrap().parse().unwrap();
    assert!((3500..=3600).contains(&wait), "{wait}");
    assert_eq!(edge.get("/a").status, 200, "elsewhere nothing is counted");
    // The same numbers under CloudWatch's names, for the dashboards that know those.
    let of = |name: &str| edge.metric(name);
    // An answer is counted when its last octet was written, which its viewer may see first.
    eventually("each answer is counted", || of("aws_cloudfront_requests_sum") == 11.0);
    assert!((of("aws_cloudfront_4xx_error_rate_average") - 500.0 / 11.0).abs() < 0.001);
    assert_eq!(
        of("aws_apigateway_cache_hit_count_sum") + of("aws_apigateway_cache_miss_count_sum"),
        6.0
    );
    assert_eq!(edge.metric("foreshore_rate_addresses"), 1.0);
}

#[test]
fn credentials_for_everybody_are_refused_before_they_are_given() {
    let origin = Origin::start(|_| answer(200, "", b"x"));
    let folder = tempfile::tempdir().unwrap();
    let policy = "[response_headers_policy.web]\ncors = { allow_origins = [\"*\"], credentials = \"allow\" }\n";
    std::fs::write(
        folder.path().join("x.toml"),
        super::support::edge::plain(origin.address, policy),
    )
    .unwrap();
    let (code, _, told) =
        super::support::edge::command(folder.path(), &["check", "--config", "x.toml"]);
    assert!(code == 1 && told.contains("any site could read"), "{told}");
}
