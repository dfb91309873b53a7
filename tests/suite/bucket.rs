//! What a bucket behind the edge's own credentials is asked: what the viewer asked, or nothing. A
//! property, every refusal by name, and the tools that people use on buckets, byte for byte.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, UNIX_EPOCH};

use foreshore::access::rate::Buckets;
use foreshore::access::{self, AdmitContext};
use foreshore::cache::ask::{self, CacheRequest, MethodIntent};
use foreshore::config::{self, MissingCertificates};
use foreshore::crypto::memory::VerifiedSignatures;
use foreshore::distribution::site::Site;
use foreshore::message::key::{InvalidationNumber, readable};
use foreshore::message::request::{ViewerRequest, split_target};
use foreshore::origin::request::{FetchKind, Node, OriginRequest, build};
use foreshore::origin::signed::sign;
use foreshore::semantics::fields::{FieldSection, Value};
use foreshore::semantics::time::Timestamp;
use http::Method;
use proptest::prelude::*;

use super::s3::{Moto, SECRET, bucket, edge_with};
use super::support::edge::command;
use super::support::origin::answer;
use super::support::tool::{self, Tool};
use super::support::viewer::request;
use super::support::{Edge, Origin, eventually};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// What the tools want of an edge.
const TOOLS: &str = "methods = \"all\"\ncache_policy = \"CachingDisabled\"\norigin_request_policy = \"AllViewerExceptHostHeader\"\n";

// The parameters that each policy below sends on; `None` for all of them.
const CACHES: [(&str, Option<&[&str]>); 4] = [
    ("cache_policy = \"CachingDisabled\"", Some(&[])),
    ("cache_policy = \"CachingOptimized\"", Some(&[])),
    ("", None),
    ("cache_policy = \"some\"", Some(&["tagging", "versionId", "w"])),
];
const REQUESTS: [(&str, Option<&[&str]>); 3] = [
    ("", Some(&[])),
    ("origin_request_policy = \"AllViewerExceptHostHeader\"", None),
    ("origin_request_policy = \"some\"", Some(&["tagging", "uploadId", "partNumber", "w"])),
];
const SETTINGS: [&str; 3] = ["\"refuse\"", "\"pass\"", "[\"tagging\", \"x-amz-acl\"]"];

// A site for each combination.
static SITES: LazyLock<Vec<Arc<Site>>> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("word"), "AKIDEXAMPLE").unwrap();
    let mut all = Vec::new();
    for (cache, _) in CACHES {
        for (more, _) in REQUESTS {
            for setting in SETTINGS {
                let text = format!(
                    "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n\
                     [cache_policy.some]\nkey = {{ query = [\"tagging\", \"versionId\", \"w\"], headers = [], cookies = \"none\" }}\n\
                     [origin_request_policy.some]\nquery = [\"tagging\", \"uploadId\", \"partNumber\", \"w\"]\nheaders = [\"x-amz-acl\"]\n\
                     [[distribution]]\nid = \"E\"\nhosts = [\"*\"]\n\
                     [[distribution.origin]]\nid = \"o\"\nurl = \"http://bucket.test\"\n\
                     access_control = {{ subresources = {setting}, credentials = {{ id = {{ file = \"word\" }}, secret = {{ file = \"word\" }} }} }}\n\
                     [[distribution.behavior]]\npath = \"*\"\norigin = \"o\"\nmethods = \"all\"\n{cache}\n{more}\n"
                );
                let path = folder.path().join("edge.toml");
                std::fs::write(&path, text).unwrap();
                let loaded = config::load(&path, NOW, MissingCertificates::Done)
                    .map_err(|report| report.lines().join("\n"));
                all.push(loaded.unwrap_or_else(|why| panic!("{why}")).site);
            }
        }
    }
    all
});

fn viewer(method: &str, target: &str, fields: &[(&str, &str)]) -> ViewerRequest {
    let mut map = FieldSection::new();
    for (name, value) in fields {
        map.append(*name, *value);
    }
    let mut request = ViewerRequest::get(&format!("http://h.test{target}"))
        .with_method(Method::from_bytes(method.as_bytes()).unwrap())
        .with_fields(map)
        .with_arrival(NOW, InvalidationNumber(0));
    request.spell_plainly();
    request
}

// What the bucket is sent and the key it is kept under, if it may be kept; the refusal in words if
// it is sent nothing.
fn sent(site: &Site, viewer: &ViewerRequest) -> Result<(OriginRequest, Option<String>), String> {
    let head = viewer.head();
    let (signatures, rates) = (VerifiedSignatures::default(), Buckets::default());
    let around = AdmitContext { node: "n", signatures: &signatures, rates: &rates, now: NOW };
    let routed = access::route(site, &head, NOW).map_err(|refusal| refusal.words().into_owned())?;
    let wants = ask::wants(&routed, NOW);
    access::admit(&routed, wants.caching(), around)
        .map_err(|refusal| refusal.words().into_owned())?;
    let mut key = Vec::new();
    ask::write_key(&mut key, &routed);
    let is_kept = !matches!(wants.method, MethodIntent::Pass(_));
    let asking = if is_kept { FetchKind::Fill } else { FetchKind::Pass };
    let origin = &routed.distribution.origins[0];
    let asked = CacheRequest { routed, key: &key, wants, slice: None };
    let mut request = build(&asked, &asking, origin, Node { id: "n", keeps_forwarded_for: false });
    sign(&mut request, origin.access.as_ref().unwrap(), NOW);
    Ok((request, is_kept.then(|| readable(&key))))
}

fn decode(text: &str) -> Vec<u8> {
    percent_encoding::percent_decode_str(text).collect()
}

fn parameters(target: &str) -> Vec<&str> {
    split_target(target)
        .1
        .into_iter()
        .flat_map(|query| query.split('&'))
        .filter(|one| !one.is_empty())
        .collect()
}

// Orders among the parameters that are thrown at the edge below.
fn is_order(parameter: &str) -> bool {
    let name = parameter.split('=').next().unwrap();
    let name = String::from_utf8(decode(name)).unwrap();
    ["tagging", "uploadId", "partNumber", "uploads", "prefix", "delete", "x-amz-acl"]
        .contains(&name.as_str())
}

const PARAMETERS: [&str; 16] = [
    "tagging",
    "tagging=",
    "%74agging",
    "uploadId=u",
    "partNumber=1",
    "uploads",
    "prefix=d/",
    "delete",
    "versionId=v",
    "response-content-type=text/html",
    "x-amz-acl=public-read",
    "w=1",
    "w=%26",
    "a",
    "Tagging=1",
    "",
];

const FIELDS: [(&str, &str); 7] = [
    ("x-amz-acl", "public-read"),
    ("x-amz-copy-source", "/b/k"),
    ("x-amz-meta-a", "b"),
    ("x-amz-date", "20200101T000000Z"),
    ("x-amz-decoded-content-length", "3"),
    ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER"),
    ("authorization", "Bearer of-the-viewer"),
];

fn check(at: usize, method: &str, target: &str, fields: &[(&str, &str)]) {
    let setting = SETTINGS[at % 3];
    let (keyed, more) = (CACHES[at / 9].1, REQUESTS[at / 3 % 3].1);
    let names = |list: Option<&[&str]>, parameter: &str| {
        list.is_none_or(|list| list.contains(&parameter.split('=').next().unwrap()))
    };
    let Ok((sent, key)) = sent(&SITES[at], &viewer(method, target, fields)) else { return };
    let said =
        format!("{method} {target} {fields:?} became {} {} under {at}", sent.method, sent.target);
    assert!(
        sent.method == method || key.is_some() && sent.method == Method::GET && method == "HEAD",
        "{said}"
    );
    assert_eq!(decode(split_target(&sent.target).0), decode(split_target(target).0), "{said}");
    let asked = parameters(target);
    let wanted: Vec<&str> =
        asked.iter().copied().filter(|one| names(keyed, one) || names(more, one)).collect();
    assert_eq!(parameters(&sent.target), wanted, "{said}");
    for order in asked.iter().filter(|one| is_order(one) || one.starts_with("versionId")) {
        assert!(wanted.contains(order), "{said}");
        assert!(key.as_ref().is_none_or(|key| key.contains(order)), "{said}: {key:?}");
        assert!(setting != "\"refuse\"" || !is_order(order), "{said}");
    }
    let is_write = !["GET", "HEAD", "OPTIONS"].contains(&method);
    for (name, value) in fields
        .iter()
        .filter(|(name, _)| is_write && !["x-amz-date", "authorization"].contains(name))
    {
        assert_eq!(
            sent.fields.get(*name).map(Value::as_bytes),
            Some(value.as_bytes()),
            "{name}: {said}"
        );
    }
    // Whatever of AWS's is sent is signed.
    let signature = sent.fields.get("authorization").unwrap().to_str().unwrap();
    let signed = signature.split("SignedHeaders=").nth(1).unwrap().split(',').next().unwrap();
    let signed: BTreeSet<&str> = signed.split(';').collect();
    let there: BTreeSet<String> = sent
        .fields
        .iter()
        .map(|(name, _)| name.spelled().to_ascii_lowercase())
        .filter(|name| *name == "host" || name.starts_with("x-amz-"))
        .collect();
    let there: BTreeSet<&str> = there.iter().map(String::as_str).collect();
    assert_eq!(signed, there, "{said}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, ..ProptestConfig::default() })]

    // Whatever is asked under whatever policies, a bucket sees that, less what a policy keeps back
    // and means nothing to it; or nothing.
    #[test]
    fn a_bucket_sees_what_was_asked_or_nothing(
        at in 0..CACHES.len() * REQUESTS.len() * SETTINGS.len(),
        method in "GET|HEAD|PUT|POST|DELETE|OPTIONS",
        path in "/[a-c%]{0,3}(/(%20|%2F|x)){0,2}",
        query in proptest::collection::vec(0..PARAMETERS.len(), 0..4),
        fields in proptest::sample::subsequence(FIELDS.to_vec(), 0..3),
    ) {
        let query: Vec<&str> = query.into_iter().map(|at| PARAMETERS[at]).collect();
        let target = if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) };
        check(at, &method, &target, &fields);
    }
}

// The property speaks of what passes; this says that enough does, and for what reason the rest does
// not.
#[test]
fn what_passes_and_what_does_not() {
    let site = |cache: usize, more: usize, setting: usize| {
        &*SITES[(cache * REQUESTS.len() + more) * SETTINGS.len() + setting]
    };
    let (off, optimized, keyed) = (0, 1, 2);
    let (nothing, all) = (0, 1);
    let (refuse, pass, listed) = (0, 1, 2);
    type Case<'c> = (
        &'c str,
        &'c str,
        &'c [(&'c str, &'c str)],
        (usize, usize, usize),
        Result<&'c str, &'c str>,
    );
    let cases: [Case<'_>; 30] = [
        ("DELETE", "/k", &[], (off, nothing, refuse), Ok("/k")),
        (
            "DELETE",
            "/k?tagging",
            &[],
            (off, nothing, refuse),
            Err("\"tagging\" gives the bucket an order"),
        ),
        (
            "DELETE",
            "/k?tagging",
            &[],
            (off, all, refuse),
            Err("\"tagging\" gives the bucket an order"),
        ),
        (
            "DELETE",
            "/k?%74agging=",
            &[],
            (off, all, refuse),
            Err("\"tagging\" gives the bucket an order"),
        ),
        ("DELETE", "/k?tagging", &[], (off, nothing, pass), Err("\"tagging\" is kept back")),
        ("DELETE", "/k?tagging", &[], (off, all, pass), Ok("/k?tagging")),
        ("DELETE", "/k?tagging", &[], (off, all, listed), Ok("/k?tagging")),
        (
            "DELETE",
            "/k?uploadId=u",
            &[],
            (off, all, listed),
            Err("\"uploadId\" gives the bucket an order"),
        ),
        (
            "PUT",
            "/k?partNumber=1&uploadId=u",
            &[],
            (off, all, pass),
            Ok("/k?partNumber=1&uploadId=u"),
        ),
        (
            "DELETE",
            "/k?versionId=v",
            &[],
            (off, all, refuse),
            Err("\"versionId\" gives the bucket an order"),
        ),
        ("DELETE", "/k?versionId=v", &[], (off, nothing, pass), Err("\"versionId\" is kept back")),
        ("GET", "/k?versionId=v", &[], (keyed, nothing, refuse), Ok("/k?versionId=v")),
        (
            "GET",
            "/k?versionId=v",
            &[],
            (optimized, nothing, refuse),
            Err("\"versionId\" is kept back"),
        ),
        (
            "GET",
            "/k?versionId=v",
            &[],
            (optimized, all, pass),
            Err("\"versionId\" reaches the bucket but is not in the cache key"),
        ),
        (
            "GET",
            "/k?tagging",
            &[],
            (optimized, nothing, refuse),
            Err("\"tagging\" gives the bucket an order"),
        ),
        ("HEAD", "/k?tagging", &[], (optimized, all, pass), Err("not in the cache key")),
        (
            "GET",
            "/k?response-content-type=a/b",
            &[],
            (keyed, nothing, refuse),
            Ok("/k?response-content-type=a/b"),
        ),
        ("GET", "/k?response-content-type=a/b", &[], (optimized, nothing, refuse), Ok("/k")),
        (
            "GET",
            "/k?response-content-type=a/b",
            &[],
            (optimized, all, refuse),
            Err("not in the cache key"),
        ),
        ("GET", "/k?w=1", &[], (optimized, nothing, refuse), Ok("/k")),
        ("GET", "/", &[], (keyed, all, refuse), Err("There is no object without a name.")),
        ("DELETE", "/", &[], (off, all, listed), Err("There is no object without a name.")),
        (
            "GET",
            "/?list-type=2&prefix=d%2F",
            &[],
            (off, all, refuse),
            Err("\"list-type\" gives the bucket an order"),
        ),
        (
            "GET",
            "/?list-type=2&prefix=d%2F",
            &[],
            (off, all, pass),
            Ok("/?list-type=2&prefix=d%2F"),
        ),
        (
            "PUT",
            "/k",
            &[("x-amz-copy-source", "/b/k")],
            (off, all, refuse),
            Err("\"x-amz-copy-source\" gives the bucket an order"),
        ),
        (
            "PUT",
            "/k",
            &[("x-amz-copy-source", "/b/k")],
            (off, nothing, pass),
            Err("\"x-amz-copy-source\" is kept back"),
        ),
        ("PUT", "/k", &[("x-amz-copy-source", "/b/k")], (off, all, pass), Ok("/k")),
        ("PUT", "/k", &[("x-amz-acl", "private")], (off, all, listed), Ok("/k")),
        (
            "PUT",
            "/k?x-amz-acl=private",
            &[],
            (off, all, refuse),
            Err("\"x-amz-acl\" gives the bucket an order"),
        ),
        (
            "PUT",
            "/k",
            &[("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD")],
            (off, all, pass),
            Err("signed piece by piece with the viewer's own key"),
        ),
    ];
    for (method, target, fields, (cache, more, setting), want) in cases {
        let got = sent(site(cache, more, setting), &viewer(method, target, fields))
            .map(|(sent, _)| sent.target);
        match (&got, want) {
            (Ok(target), Ok(want)) => assert_eq!(&**target, want),
            (Err(words), Err(want)) => {
                assert!(words.contains(want), "{method} {target} {fields:?}: {words}");
                assert!(words.contains("access_control") || target == "/", "{words}");
            }
            _ => panic!("{method} {target} {fields:?}: {got:?}, not {want:?}"),
        }
    }
}

// A presigned URL is the viewer's own order, under the viewer's own rights; but only whole.
#[test]
fn a_presigned_order_goes_on_whole() {
    let target = "/k?tagging&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Signature=00";
    let all = sent(&SITES[3], &viewer("PUT", target, &[])).map(|(sent, _)| sent);
    let all = all.unwrap_or_else(|why| panic!("{why}"));
    assert_eq!((&*all.target, all.fields.get("authorization")), (target, None));
    // Without its signature it would go out under ours.
    let why = sent(&SITES[0], &viewer("PUT", target, &[])).map(|_| ()).unwrap_err();
    assert!(why.contains("\"tagging\" gives the bucket an order"), "{why}");
}

// With a signature of its own in the place of ours, whatever belongs to it goes on.
#[test]
fn a_viewer_who_signs_itself_gives_its_own_orders() {
    let origin = Origin::start(|_| answer(200, "", b""));
    let edge = edge_before(origin.address, "sign = \"no-override\", ", TOOLS);
    let mut viewer = edge.viewer();
    let own = [
        "Authorization: AWS4-HMAC-SHA256 the-viewers-own",
        "x-amz-date: 20200101T000000Z",
        "x-amz-acl: private",
        "Content-Length: 0",
    ];
    viewer.send(&request("PUT", "/k?tagging", &own));
    assert_eq!(viewer.read("PUT").unwrap().status, 200);
    let asked = origin.seen().pop().unwrap();
    assert_eq!(asked.target, "/k?tagging");
    for field in &own[..3] {
        let (name, value) = field.split_once(": ").unwrap();
        assert_eq!(asked.field(name).as_deref(), Some(value), "{}", asked.head);
    }
    viewer.send(&request("PUT", "/k?tagging", &own[1..]));
    assert_eq!(viewer.read("PUT").unwrap().status, 403);
    assert_eq!(origin.count(), 1);
}

fn edge_before(address: SocketAddr, access: &str, behavior: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    edge_with(
        folder,
        &format!("url = \"http://{address}\""),
        ("AKIDEXAMPLE", SECRET),
        access,
        behavior,
    )
}

#[test]
fn dangerous_orders_are_refused_by_name() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = edge_before(origin.address, "", TOOLS);
    for (method, target, fields, name) in [
        ("DELETE", "/private/a?tagging", &[][..], "tagging"),
        ("DELETE", "/private/a?uploadId=u", &[], "uploadId"),
        ("PUT", "/private/b?tagging", &[], "tagging"),
        ("PUT", "/private/b?partNumber=1&uploadId=u", &[], "partNumber"),
        ("PUT", "/private/b?acl", &[], "acl"),
        ("POST", "/private/b?uploads", &[], "uploads"),
        ("POST", "/private?delete", &[], "delete"),
        ("DELETE", "/private?policy", &[], "policy"),
        ("GET", "/private?list-type=2&prefix=d%2F", &[], "list-type"),
        ("GET", "/private?prefix=d/", &[], "prefix"),
        ("HEAD", "/private/a?partNumber=1", &[], "partNumber"),
        ("GET", "/private/a?%74agging", &[], "tagging"),
        ("PUT", "/private/b", &["X-Amz-Copy-Source: /private/a"], "x-amz-copy-source"),
        ("PUT", "/private/b", &["x-amz-tagging: a=b"], "x-amz-tagging"),
        ("PUT", "/private/b", &["x-amz-acl: public-read"], "x-amz-acl"),
        ("PUT", "/private/b", &["x-amz-metadata-directive: REPLACE"], "x-amz-metadata-directive"),
    ] {
        let mut viewer = edge.viewer();
        let fields: Vec<&str> = fields
            .iter()
            .copied()
            .chain((method != "GET" && method != "HEAD").then_some("Content-Length: 0"))
            .collect();
        viewer.send(&request(method, target, &fields));
        let seen = viewer.read(method).unwrap();
        assert_eq!(seen.status, 403, "{method} {target} {fields:?}");
        let says = |text: &str| text.contains(name) && text.contains("access_control.subresources");
        assert!(method == "HEAD" || says(&seen.text()), "{method} {target}: {}", seen.text());
        let mut args = vec!["explain", "--config", "edge.toml", "-X", method];
        let url = format!("http://h.test{target}");
        args.push(&url);
        fields.iter().for_each(|field| args.extend(["-H", *field]));
        let (_, out, err) = command(edge.path(), &args);
        assert!(says(&out), "{method} {target}: {out}{err}");
    }
    assert_eq!(origin.count(), 0);
    eventually("the log", || {
        let log = std::fs::read_to_string(edge.path().join("access.log")).unwrap_or_default();
        log.matches("\"reason\":\"subresource\"").count() == 16
            && log.contains("x-amz-copy-source")
            && log.contains("http_request_denied")
    });
}

// The answer that is kept for the object is none to what asks for something else.
#[test]
fn a_hit_answers_only_what_was_asked() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    for access in ["", "subresources = \"pass\", "] {
        let edge = edge_before(origin.address, access, "cache_policy = \"CachingOptimized\"\n");
        let before = origin.count();
        assert_eq!(
            (edge.get("/k").cache(), edge.get("/k?a=1").cache()),
            ("Miss".into(), "Hit".into())
        );
        for target in ["/k?tagging", "/k?a=1&acl", "/k?versionId=v", "/k?uploads=", "/k?%61cl"] {
            assert_eq!(edge.get(target).status, 403, "{access} {target}");
        }
        assert_eq!(edge.get("/k?response-content-type=text/html").cache(), "Hit");
        assert_eq!(origin.count(), before + 1);
    }
}

// What belongs to the body goes with it; a body in pieces with a trailer would else be stored with
// its framing.
#[test]
fn what_describes_a_body_goes_on() {
    let origin = Origin::start(|_| answer(200, "", b""));
    let edge =
        edge_before(origin.address, "", "methods = \"all\"\ncache_policy = \"CachingDisabled\"\n");
    let body = "3\r\nabc\r\n0\r\nx-amz-checksum-crc32:NSRBwg==\r\n\r\n";
    let fields = [
        "Content-Encoding: aws-chunked",
        "X-Amz-Content-SHA256: STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "X-Amz-Trailer: x-amz-checksum-crc32",
        "X-Amz-Decoded-Content-Length: 3",
        "x-amz-meta-name: h\u{e9}",
    ];
    let length = format!("Content-Length: {}", body.len());
    let all: Vec<&str> = fields.iter().copied().chain([length.as_str()]).collect();
    let mut viewer = edge.viewer();
    viewer.send(&[&request("PUT", "/k", &all)[..], body.as_bytes()].concat());
    assert_eq!(viewer.read("PUT").unwrap().status, 200);
    let asked = origin.seen().pop().unwrap();
    for field in fields {
        let (name, value) = field.split_once(": ").unwrap();
        assert_eq!(asked.field(name).as_deref(), Some(value), "{}", asked.head);
    }
    assert_eq!(asked.body, body.len());
    let signed = "SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-meta-name;x-amz-trailer,";
    assert!(asked.field("authorization").unwrap().contains(signed), "{}", asked.head);
}

// A folder to work in, and the tools as people set them up: with credentials that the bucket does
// not know.
struct Desk {
    folder: tempfile::TempDir,
    endpoint: String,
}

impl Desk {
    fn new(edge: &Edge) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Small parts, so that a small file has several.
        let aws = "[default]\nresponse_checksum_validation = when_required\ns3 =\n  multipart_threshold = 6MB\n  multipart_chunksize = 5MB\n";
        std::fs::write(folder.path().join("aws"), aws).unwrap();
        let s3cmd = format!(
            "[default]\naccess_key = VIEWER\nsecret_key = of-the-viewer\nhost_base = {0}\nhost_bucket = {0}\nuse_https = False\n\
             bucket_location = us-east-1\n",
            edge.http
        );
        std::fs::write(folder.path().join("s3cmd"), s3cmd).unwrap();
        Self { folder, endpoint: format!("http://{}", edge.http) }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn tool(&self, name: &str, args: &[&str]) -> Result<String, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/python/bin").join(name);
        let output = Command::new(path)
            .args(args)
            .current_dir(self.folder.path())
            .env("AWS_ACCESS_KEY_ID", "VIEWER")
            .env("AWS_SECRET_ACCESS_KEY", "of-the-viewer")
            .env("AWS_DEFAULT_REGION", "us-east-1")
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .env("AWS_MAX_ATTEMPTS", "1")
            .env("AWS_CONFIG_FILE", self.file("aws"))
            .env("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
            .output()
            .unwrap();
        let text = |octets: &[u8]| String::from_utf8_lossy(octets).trim().to_string();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    fn try_aws(&self, args: &str) -> Result<String, String> {
        let all: Vec<&str> = ["--endpoint-url", &self.endpoint, "--output", "text"]
            .into_iter()
            .chain(args.split(' '))
            .collect();
        self.tool("aws", &all)
    }

    fn aws(&self, args: &str) -> String {
        self.try_aws(args).unwrap_or_else(|why| panic!("aws {args}: {why}"))
    }

    fn s3cmd(&self, args: &str) -> String {
        let all: Vec<&str> =
            ["-c", "s3cmd", "--no-progress"].into_iter().chain(args.split(' ')).collect();
        self.tool("s3cmd", &all).unwrap_or_else(|why| panic!("s3cmd {args}: {why}"))
    }

    fn put_file(&self, name: &str, content: &[u8]) {
        std::fs::create_dir_all(self.file(name).parent().unwrap()).unwrap();
        std::fs::write(self.file(name), content).unwrap();
        // Older than anything in the bucket, so that `sync` has no doubt.
        let file = std::fs::File::options().write(true).open(self.file(name)).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(1_700_000_000)).unwrap();
    }

    fn same(&self, a: &str, b: &str) {
        let read = |name: &str| {
            std::fs::read(self.file(name)).unwrap_or_else(|why| panic!("{name}: {why}"))
        };
        assert!(read(a) == read(b), "{a} and {b} differ");
    }
}

// Files go into the bucket and come back as they were, by parts too; removing takes what it names
// and nothing else.
fn files_go_and_come(desk: &Desk) {
    let large: Vec<u8> =
        (0..12_000_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    desk.put_file("large", &large);
    desk.aws("s3 cp --no-progress large s3://private/large");
    desk.aws("s3 cp --no-progress s3://private/large back");
    desk.same("large", "back");
    for (name, content) in [("d/1", "one"), ("d/2", "two"), ("other", "three")] {
        desk.put_file(name, content.as_bytes());
    }
    desk.aws("s3 cp --no-progress other s3://private/other");
    desk.aws("s3 sync --no-progress d s3://private/d");
    assert_eq!(desk.aws("s3 sync --no-progress d s3://private/d"), "", "nothing is left to do");
    let dry = desk.aws("s3 rm --recursive --dryrun s3://private/d/");
    assert!(dry.lines().count() == 2 && dry.lines().all(|line| line.contains("/d/")), "{dry}");
    desk.aws("s3 sync --no-progress s3://private/d e");
    desk.same("d/1", "e/1");
    desk.same("d/2", "e/2");
    desk.aws("s3 rm s3://private/d/1");
    desk.aws("s3 rm --recursive s3://private/d/");
    desk.s3cmd("put other s3://private/by-s3cmd");
    desk.s3cmd("get s3://private/by-s3cmd by-s3cmd");
    desk.same("other", "by-s3cmd");
    desk.s3cmd("del s3://private/by-s3cmd");
    let left = desk.aws("s3 ls --recursive s3://private/");
    let left: Vec<&str> = left.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(left, ["large", "other"]);
    desk.aws("s3 cp --no-progress s3://private/large again");
    desk.same("large", "again");
}

// What is said of an object changes, the object does not.
fn orders_about_objects(desk: &Desk) {
    let unharmed = || {
        desk.aws("s3 cp --no-progress s3://private/other now");
        desk.same("other", "now");
    };
    desk.aws(
        "s3api put-object-tagging --bucket private --key other --tagging TagSet=[{Key=a,Value=b}]",
    );
    unharmed();
    assert!(desk.aws("s3api get-object-tagging --bucket private --key other").contains("a\tb"));
    desk.aws("s3api delete-object-tagging --bucket private --key other");
    unharmed();
    assert_eq!(
        desk.aws("s3api get-object-tagging --bucket private --key other --query length(TagSet)"),
        "0"
    );
    let id =
        desk.aws("s3api create-multipart-upload --bucket private --key other --query UploadId");
    desk.aws(&format!(
        "s3api abort-multipart-upload --bucket private --key other --upload-id {id}"
    ));
    unharmed();
    let part = desk.try_aws("s3api upload-part --bucket private --key other --part-number 1 --upload-id unknown --body large");
    assert!(part.is_err(), "{part:?}");
    unharmed();
    desk.aws("s3 cp --no-progress s3://private/other s3://private/copy");
    desk.aws("s3 cp --no-progress s3://private/copy copy");
    desk.same("other", "copy");
}

const PASS: &str = "subresources = \"pass\", ";

#[test]
fn the_tools_work_on_a_bucket_of_motos() {
    if !tool::have(&[Tool::Module("moto"), Tool::Installed("aws"), Tool::Installed("s3cmd")]) {
        return;
    }
    let moto = Moto::start();
    let url = format!("url = \"http://{}\"", moto.address);
    let keys = (moto.id.as_str(), moto.secret.as_str());
    let edge = edge_with(Arc::new(tempfile::tempdir().unwrap()), &url, keys, PASS, TOOLS);
    let desk = Desk::new(&edge);
    files_go_and_come(&desk);
    orders_about_objects(&desk);
    // By default the same orders are refused, and objects can be put, read and removed all the
    // same.
    let edge = edge_with(Arc::new(tempfile::tempdir().unwrap()), &url, keys, "", TOOLS);
    let careful = Desk::new(&edge);
    careful.put_file("other", b"three");
    for order in [
        "s3api put-object-tagging --bucket private --key other --tagging TagSet=[{Key=a,Value=b}]",
        "s3api delete-object-tagging --bucket private --key other",
        "s3api abort-multipart-upload --bucket private --key other --upload-id unknown",
        "s3api upload-part --bucket private --key other --part-number 1 --upload-id unknown --body other",
        "s3api create-multipart-upload --bucket private --key other",
        "s3 rm --recursive s3://private/",
        "s3api copy-object --bucket private --key other --copy-source private/large",
    ] {
        let why = careful.try_aws(order).expect_err(order);
        assert!(why.contains("403") || why.contains("Forbidden"), "{order}: {why}");
    }
    careful.aws("s3 cp --no-progress other s3://private/new");
    careful.aws("s3 cp --no-progress s3://private/new new");
    careful.same("other", "new");
    careful.aws("s3 rm s3://private/new");
    let left = desk.aws("s3 ls --recursive s3://private/");
    let left: Vec<&str> = left.lines().filter_map(|line| line.split_whitespace().last()).collect();
    assert_eq!(left, ["copy", "large", "other"]);
    desk.aws("s3 cp --no-progress s3://private/large last");
    desk.same("large", "last");
    moto.end();
}

#[test]
fn the_tools_work_on_a_bucket_that_checks_every_signature() {
    if !tool::have(&[Tool::Installed("aws"), Tool::Installed("s3cmd")]) {
        return;
    }
    let objects = tempfile::tempdir().unwrap();
    let address = bucket(objects.path(), None);
    let edge = edge_before(address, PASS, TOOLS);
    files_go_and_come(&Desk::new(&edge));
}
