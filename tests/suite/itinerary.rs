//! Which upstreams `explain` says are asked, held against those that a scripted upstream saw asked.

use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use foreshore::body::Body;
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::distribution::origin::Origin;
use foreshore::invalidation::chain::Mark;
use foreshore::message::failure::{Failure, FailureKind};
use foreshore::message::request::ViewerRequest;
use foreshore::message::response::Reply;
use foreshore::origin::Upstream;
use foreshore::origin::request::OriginRequest;
use foreshore::proxy::hit::Declined;
use foreshore::proxy::{Edge, Proxy};
use foreshore::region::confirm::Standing;
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;
use http::Method;

use super::support::edge::command;

const START: Timestamp = Timestamp::from_secs(1_800_000_000);

const PARENTS: [&str; 3] = ["https://p1.test:8443", "https://p2.test:8443", "https://p3.test:8443"];

const TEXT: &str = r#"
[listen]
http = ["127.0.0.1:1"]

[region]
kind = "parent"
edge_id = "e1"
token = { file = "token" }
[[region.parent]]
url = "https://p1.test:8443"
admin = "http://127.0.0.1:9081"
[[region.parent]]
url = "https://p2.test:8443"
admin = "http://127.0.0.1:9082"
[[region.parent]]
url = "https://p3.test:8443"
admin = "http://127.0.0.1:9083"

[[trusted_edge]]
id = "e9"
token = { file = "token" }

[cache_policy.keyed]
key = { headers = ["X-Key"] }
[cache_policy.scheme]
key = { headers = ["CloudFront-Forwarded-Proto"] }
[cache_policy.own]
semantics = "rfc9111"

[[distribution]]
id = "E1"
hosts = ["*"]
purge = { token = { file = "token" } }
[[distribution.origin]]
id = "a"
url = "http://a.test"
[[distribution.origin]]
id = "b"
url = "http://b.test"
[[distribution.origin_group]]
id = "ab"
members = ["a", "b"]
failover = [503]
[[distribution.behavior]]
path = "/group/*"
origin = "ab"
methods = "all"
[[distribution.behavior]]
path = "/off/*"
origin = "a"
cache_policy = "CachingDisabled"
[[distribution.behavior]]
path = "/scheme/*"
origin = "a"
cache_policy = "scheme"
[[distribution.behavior]]
path = "/post/*"
origin = "a"
methods = "all"
cache_post = { body = "keyed" }
[[distribution.behavior]]
path = "/slices/*"
origin = "ab"
slice = "1MiB"
[[distribution.behavior]]
path = "/anew/*"
origin = "a"
client_invalidation = { allow = "anyone" }
[[distribution.behavior]]
path = "/own/*"
origin = "a"
cache_policy = "own"
[[distribution.behavior]]
path = "*"
origin = "a"
methods = "all"
cache_policy = "keyed"

[[distribution]]
id = "E2"
hosts = ["deploy.test"]
[[distribution.origin]]
id = "old"
url = "http://old.test"
[[distribution.behavior]]
path = "*"
origin = "old"

[[distribution]]
id = "E3"
staging = { of = "E2", header = { name = "aws-cf-cd-try", value = "1" } }
[[distribution.origin]]
id = "new"
url = "http://new.test"
[[distribution.behavior]]
path = "*"
origin = "new"
"#;

/// A request, how many parents it asks, and which origins.
type Case = (&'static str, &'static str, &'static [&'static str], usize, &'static [&'static str]);

const CASES: [Case; 27] = [
    ("GET", "http://h.test/a", &[], 2, &["a"]),
    ("GET", "http://h.test/a", &["X-Key: 1"], 2, &["a"]),
    ("GET", "http://h.test/b", &["X-Key: 2"], 2, &["a"]),
    ("GET", "http://h.test/b", &["X-Key: 2", "Connection: X-Key"], 2, &["a"]),
    ("GET", "http://h.test/%61", &[], 2, &["a"]),
    ("HEAD", "http://h.test/a", &[], 0, &["a"]),
    ("PUT", "http://h.test/a", &[], 0, &["a"]),
    ("POST", "http://h.test/a", &[], 0, &["a"]),
    ("OPTIONS", "http://h.test/a", &[], 0, &["a"]),
    ("PATCH", "http://h.test/a", &[], 0, &["a"]),
    ("DELETE", "http://h.test/a", &[], 0, &["a"]),
    ("DELETE", "http://h.test/group/a", &[], 0, &["a"]),
    ("GET", "http://h.test/group/a", &[], 2, &["a", "b"]),
    ("HEAD", "http://h.test/group/a", &[], 0, &["a", "b"]),
    ("PUT", "http://h.test/group/a", &[], 0, &["a"]),
    ("GET", "http://h.test/off/a", &[], 0, &["a"]),
    ("GET", "https://h.test/scheme/a", &[], 0, &["a"]),
    ("GET", "http://h.test/post/a", &[], 2, &["a"]),
    ("POST", "http://h.test/post/a", &[], 0, &["a"]),
    ("GET", "http://h.test/slices/a", &[], 2, &["a", "b"]),
    ("GET", "http://h.test/slices/a", &["Range: bytes=3500000-"], 2, &["a", "b"]),
    ("HEAD", "http://h.test/slices/a", &[], 0, &["a", "b"]),
    ("GET", "http://h.test/anew/a", &["Cache-Control: max-age=0"], 0, &["a"]),
    ("GET", "http://h.test/own/a", &["Cache-Control: only-if-cached"], 0, &[]),
    ("GET", "http://deploy.test/a", &[], 0, &["old"]),
    ("GET", "http://deploy.test/a", &["aws-cf-cd-try: 1"], 0, &["new"]),
    (
        "GET",
        "http://h.test/a",
        &["Foreshore-Edge: e9/n/1", "Foreshore-Edge-Token: between-us"],
        0,
        &["a"],
    ),
];

/// Refuses every connection, so that all hops of a request are tried, and notes them.
#[derive(Default)]
struct Nobody(Mutex<Vec<String>>);

impl Upstream for Nobody {
    fn ask<'a>(
        &'a self,
        origin: &'a Arc<Origin>,
        _: OriginRequest,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            self.0.lock().unwrap().push(origin.id.clone());
            Err(Failure::new(FailureKind::ConnectionRefused, "scripted"))
        })
    }
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "between-us").unwrap();
    std::fs::write(folder.path().join("edge.toml"), TEXT).unwrap();
    folder
}

fn request(method: &str, url: &str, lines: &[&str], edge: &Edge) -> ViewerRequest {
    let mut fields = FieldSection::new();
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        fields.append(name, value);
    }
    ViewerRequest::get(url)
        .with_method(Method::from_bytes(method.as_bytes()).unwrap())
        .with_fields(fields)
        .with_arrival(edge.clock.now(), edge.invalidations.head())
}

// The upstreams that a new edge asks whose parents have all applied its log.
fn asked_of(folder: &Path, (method, url, lines, ..): &Case) -> Vec<String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let site = config::load(&folder.join("edge.toml"), START, MissingCertificates::Done)
        .unwrap_or_else(|report| panic!("{}", report.render(false)))
        .site;
    let upstream = Arc::new(Nobody::default());
    runtime.block_on(async {
        let edge = Edge::new(site, "hops".into(), Clock::starting_at(START));
        edge.standings.keep(&PARENTS.map(String::from));
        PARENTS.iter().for_each(|name| edge.standings.set(name, Standing::At(Mark::START)));
        let request = request(method, url, lines, &edge);
        let mut begun = edge.begin(edge.running(), request, Declined::default());
        let core = Arc::new(Proxy {
            index: 0,
            edge,
            upstream: Arc::clone(&upstream) as Arc<dyn Upstream>,
        });
        let response = core.serve(&mut begun, Body::Empty).await;
        assert!(matches!(response.status, 502 | 504), "{method} {url}: {}", response.status);
    });
    let seen = upstream.0.lock().unwrap();
    seen.clone()
}

fn explain(folder: &Path, method: &str, url: &str, lines: &[&str]) -> String {
    let mut args = vec!["explain", "--config", "edge.toml", "-X", method, url];
    lines.iter().for_each(|line| args.extend(["-H", *line]));
    let (code, out, err) = command(folder, &args);
    assert_eq!(code, 0, "{method} {url}: {err}");
    out
}

fn station<'o>(out: &'o str, name: &str) -> &'o str {
    let found =
        out.lines().find_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with(' ')));
    found.unwrap_or_else(|| panic!("no {name} in {out}")).trim()
}

// The quoted names of the hops.
fn told(out: &str) -> Vec<String> {
    let hops = station(out, "ask").split(';').next().unwrap_or_default();
    hops.split(", then ").filter_map(|hop| hop.split('"').nth(1)).map(String::from).collect()
}

#[test]
fn explain_tells_the_hops_that_are_asked() {
    let folder = folder();
    for case in &CASES {
        let (method, url, lines, parents, origins) = case;
        let seen = asked_of(folder.path(), case);
        let out = explain(folder.path(), method, url, lines);
        assert_eq!(told(&out), seen, "{method} {url} {lines:?}\n{out}");
        let (above, below) = seen.split_at(seen.len().min(*parents));
        assert!(
            above.len() == *parents && above.iter().all(|hop| PARENTS.contains(&hop.as_str())),
            "{method} {url} {lines:?}: {seen:?}"
        );
        assert_eq!(below, *origins, "{method} {url} {lines:?}");
    }
}

#[test]
fn explain_says_why_no_parent_is_asked() {
    let folder = folder();
    for (method, url, lines, why) in [
        (
            "HEAD",
            "http://h.test/a",
            &[][..],
            "no parent: the request goes on for this viewer alone",
        ),
        ("POST", "http://h.test/post/a", &[], "no parent: a kept POST is asked of the origin"),
        ("GET", "http://deploy.test/a", &[], "no parent: a parent would choose a side"),
        ("GET", "https://h.test/scheme/a", &[], "no parent: the viewer's scheme is in the key"),
        (
            "GET",
            "http://h.test/anew/a",
            &["Cache-Control: max-age=0"],
            "no parent: the caller wants the origin's own word",
        ),
        ("PUT", "http://h.test/group/a", &[], "no other origin: PUT is asked once"),
    ] {
        let out = explain(folder.path(), method, url, lines);
        assert!(station(&out, "ask").contains(why), "{method} {url}: {out}");
    }
    let out = explain(folder.path(), "GET", "http://h.test/a", &[]);
    assert!(!station(&out, "ask").contains("no parent"), "{out}");
}

#[test]
fn explain_says_when_the_shared_tier_is_asked() {
    let folder = folder();
    let tier = "[fleet]\nname = \"f\"\nmember = \"e1\"\nsequencer = \"here\"\n[tier]\n\
                kind = \"memcached\"\nurls = [\"memcached://cache.test\"]\nkey = { file = \"token\" }\n";
    std::fs::write(folder.path().join("edge.toml"), format!("{tier}{TEXT}")).unwrap();
    let asks = |method, url, lines: &[&str]| {
        station(&explain(folder.path(), method, url, lines), "ask").to_string()
    };
    for url in ["http://h.test/a", "https://h.test/scheme/a", "http://h.test/slices/a"] {
        let told = asks("GET", url, &[]);
        assert!(told.starts_with("the shared tier (memcached), then "), "{url}: {told}");
    }
    for (method, url, lines, why) in [
        ("PUT", "http://h.test/a", &[][..], "the request goes on for this viewer alone"),
        ("GET", "http://h.test/off/a", &[], "the request goes on for this viewer alone"),
        ("POST", "http://h.test/post/a", &[], "a kept POST is asked of the origin"),
        ("GET", "http://deploy.test/a", &[], "a continuous deployment is under way"),
        (
            "GET",
            "http://h.test/anew/a",
            &["Cache-Control: max-age=0"],
            "the caller wants the origin's own word",
        ),
    ] {
        let told = asks(method, url, lines);
        let wanted = format!("not the shared tier: {why}");
        assert!(told.contains(&wanted) && !told.contains("tier (memcached)"), "{url}: {told}");
    }
}

#[test]
fn explain_tells_the_request_that_is_served() {
    let folder = folder();
    let listed =
        explain(folder.path(), "GET", "http://h.test/a", &["X-Key: 1", "Connection: X-Key"]);
    let without = explain(folder.path(), "GET", "http://h.test/a", &[]);
    assert_eq!(station(&listed, "key"), station(&without, "key"));
    assert!(
        station(&explain(folder.path(), "GET", "http://h.test/a", &["X-Key: 1"]), "key")
            .ends_with("x-key=1")
    );
    // Slices are asked for, and a HEAD is asked as one.
    let slice = explain(folder.path(), "GET", "http://h.test/slices/a", &["Range: bytes=1048576-"]);
    assert!(
        station(&slice, "slices")
            .starts_with("of 1 MiB; the first that is asked for: octets 1048576 to 2097151"),
        "{slice}"
    );
    assert!(slice.contains("range: bytes=1048576-2097151"), "{slice}");
    assert!(
        station(&explain(folder.path(), "HEAD", "http://h.test/slices/a", &[]), "request")
            .starts_with("HEAD ")
    );
    // A body that is too long for a key.
    let long = explain(folder.path(), "POST", "http://h.test/post/a", &["Content-Length: 65537"]);
    assert!(station(&long, "cache").contains("longer than cache_post.max_body"), "{long}");
    let short = explain(folder.path(), "POST", "http://h.test/post/a", &["Content-Length: 65536"]);
    assert!(station(&short, "key").contains("method=POST"), "{short}");
}

#[test]
fn explain_tells_what_a_purge_would_do() {
    let folder = folder();
    let token = "Authorization: Bearer between-us";
    let purge = |url: &str, lines: &[&str]| explain(folder.path(), "PURGE", url, lines);
    let all = purge("http://h.test/img/*", &[token]);
    assert_eq!(
        station(&all, "purge"),
        "what is stored of /img/* of distribution \"E1\" is never served again",
        "{all}"
    );
    let soft = purge("http://h.test/a", &[token, "Soft-Purge: 1"]);
    assert!(station(&soft, "purge").ends_with("is validated before it is served again"), "{soft}");
    for refused in [
        purge("http://h.test/a", &[]),
        purge("http://h.test/a", &["Authorization: Bearer else"]),
        purge("http://deploy.test/a", &[token]),
    ] {
        assert!(station(&refused, "viewer").contains("refused: "), "{refused}");
    }
}

// What an answer of the origin's leads to, line by line.
fn leads_to(folder: &Path, method: &str, url: &str, status: &str) -> Vec<String> {
    let lifetime = "Cache-Control: max-age=60";
    let args = ["explain", "--config", "edge.toml", "-X", method, url, "--status", status];
    let (code, out, err) = command(folder, &[&args[..], &["-A", lifetime]].concat());
    assert_eq!(code, 0, "{method} {url}: {err}");
    let lines = out.lines().filter_map(|line| line.strip_prefix("answer"));
    lines.map(|line| line.trim().to_string()).collect()
}

#[test]
fn explain_tells_what_an_answer_leads_to() {
    let folder = folder();
    let purge = "purge = { token = { file = \"token\" } }\n";
    let page = "[[distribution.error_response]]\nstatus = 503\npage = \"/sorry.html\"\n\
                respond_with = 200\n[[distribution.error_response]]\nstatus = 403\n\
                page = \"/no.html\"\nrespond_with = 403\n";
    let text = TEXT.replacen(purge, &format!("{purge}{page}"), 1);
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let told = |method, url, status| leads_to(folder.path(), method, url, status);
    // It has no body that could be.
    assert_eq!(
        told("HEAD", "http://h.test/a", "200"),
        ["200  not kept: a HEAD brings no body that could be kept"]
    );
    assert!(told("GET", "http://h.test/a", "200")[0].starts_with("200  kept, fresh for 60 s"));
    let (next, page) = (
        "503  has the next origin asked; of the last one's:",
        "503  viewers get /sorry.html in its place, with status 200",
    );
    let failed = told("GET", "http://h.test/group/a", "503");
    assert_eq!(failed[0], next);
    assert!(failed[1].starts_with("503  kept, fresh for 60 s"), "{failed:?}");
    assert_eq!(failed.last().unwrap(), page);
    for (method, url) in [("PUT", "http://h.test/group/a"), ("GET", "http://h.test/a")] {
        let failed = told(method, url, "503");
        assert!(!failed.iter().any(|line| line == next), "{method} {url}: {failed:?}");
        assert_eq!(failed.last().unwrap(), page, "{method} {url}");
    }
    // What is refused has its page too.
    assert_eq!(
        told("PUT", "http://h.test/off/a", "200"),
        ["403  viewers get /no.html in its place, with status 403"]
    );
    // Where no page is, nothing is said of one.
    assert!(!told("GET", "http://deploy.test/a", "503").iter().any(|line| line.contains("page")));
}
