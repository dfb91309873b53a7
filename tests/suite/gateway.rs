//! The cache of API Gateway, as its callers see it: a stage that is flushed by signed calls, and
//! stored responses that are replaced by signed requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use foreshore::access::Replaces;
use foreshore::base::secret::Secret;
use foreshore::clock::Clock;
use foreshore::config::{self, MissingCertificates};
use foreshore::crypto::sigv4::{self, Credentials, PathForm, Scope, Signed};
use foreshore::message::key::InvalidationNumber;
use foreshore::message::request::ViewerRequest;
use foreshore::proxy;
use foreshore::proxy::hit::{Declined, hit};
use foreshore::semantics::fields::FieldSection;
use foreshore::semantics::time::Timestamp;

use super::support::edge::plain;
use super::support::origin::answer;
use super::support::{Edge, Origin};

const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

/// A key that may flush, one that may replace, and one that may invalidate alone.
pub const KEYS: &str = "[[admin.access_key]]\nid = \"AKIDFLUSH\"\nsecret = { file = \"secret\" }\nallow = [\"apigateway:DELETE\"]\n\
    [[admin.access_key]]\nid = \"AKIDEXAMPLE\"\nsecret = { file = \"secret\" }\nallow = [\"execute-api:*\", \"apigateway:*\"]\n\
    [[admin.access_key]]\nid = \"AKIDPLAIN\"\nsecret = { file = \"secret\" }\n\
    [[rest_api]]\nid = \"a1b2c3\"\nstage = \"prod\"\ndistribution = \"E1\"\npath = \"/prod/*\"\n\
    [[rest_api]]\nid = \"a1b2c3\"\nstage = \"all of it\"\ndistribution = \"E1\"\n";

/// An edge with these keys, whose one behavior has more settings.
pub fn edge(origin: &Origin, behavior: &str) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let text = plain(origin.address, KEYS) + behavior;
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    Edge::start_in(folder)
}

fn signed(
    (id, service): (&str, &str),
    asked: (&str, &str, &str),
    more: &[(&str, &str)],
    body: &[u8],
) -> Vec<String> {
    sign((id, SECRET, service), asked, more, body)
}

/// The fields of a signed request: of a method, a host and a target, under an id and a secret, for a
/// service. `more` are those that are signed beside Host and X-Amz-Date, in lower case.
pub fn sign(
    (id, secret, service): (&str, &str, &str),
    (method, host, target): (&str, &str, &str),
    more: &[(&str, &str)],
    body: &[u8],
) -> Vec<String> {
    let (path, query) = target.split_once('?').map_or((target, None), |(p, q)| (p, Some(q)));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let date = sigv4::amz_date(Timestamp(u64::try_from(now.as_millis()).unwrap()));
    let mut fields = vec![("host", host.to_string()), ("x-amz-date", date.clone())];
    fields.extend(more.iter().map(|(name, value)| (*name, (*value).to_string())));
    fields.sort_unstable();
    let payload = sigv4::sha256(body);
    let signed = Signed { method, path, query, fields: &fields, payload: &payload };
    let secret = Secret::new(secret.to_string());
    let credentials = Credentials { id: id.into(), secret, session_token: None };
    let scope = Scope { region: "eu-central-1", service };
    let proof = sigv4::authorization(&signed, PathForm::Twice, &date, scope, &credentials);
    let mut lines = vec![format!("X-Amz-Date: {date}"), format!("Authorization: {proof}")];
    lines.extend(more.iter().map(|(name, value)| format!("{name}: {value}")));
    lines
}

fn flush(edge: &Edge, key: &str, target: &str) -> (u16, String) {
    let fields = signed((key, "apigateway"), ("DELETE", "admin", target), &[], b"");
    let lines: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
    edge.admin_with("DELETE", target, "", &lines)
}

#[test]
fn a_stage_is_flushed_by_keys_that_may() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let edge = edge(&origin, "");
    let caches = || [edge.get("/prod/a").cache(), edge.get("/else/a").cache()];
    assert_eq!(caches(), ["Miss", "Miss"]);
    let prod = "/restapis/a1b2c3/stages/prod/cache/data";
    for (key, target, status, word) in [
        ("AKIDPLAIN", prod, 403, "not authorized"),
        ("AKIDNONE", prod, 403, "security token"),
        ("AKIDFLUSH", "/restapis/a1b2c3/stages/beta/cache/data", 404, "stage"),
        ("AKIDFLUSH", "/restapis/zzz/stages/prod/cache/data", 404, "API identifier"),
        ("AKIDFLUSH", "/restapis/a1b2c3/stages/prod", 404, "cache/data"),
        ("AKIDFLUSH", "/restapis/a1b2c3/stages/prod/cache/authorizers", 202, ""),
    ] {
        let (got, body) = flush(&edge, key, target);
        assert_eq!(got, status, "{target}: {body}");
        assert!(body.contains(word), "{body}");
    }
    assert_eq!(caches(), ["Hit", "Hit"], "nothing of that is a flush");
    assert_eq!(flush(&edge, "AKIDFLUSH", prod), (202, String::new()));
    assert_eq!(caches(), ["Miss", "Hit"], "what is the stage's, and nothing else");
    let all = "/restapis/a1b2c3/stages/all%20of%20it/cache/data";
    assert_eq!(flush(&edge, "AKIDFLUSH", all).0, 202);
    assert_eq!(caches(), ["Miss", "Miss"]);
    // They are invalidations like any others, and outlive the process.
    assert_eq!(edge.metric("foreshore_invalidations_head") as u64, 2);
    let (_, metrics) = edge.admin("GET", "/metrics", "");
    let series =
        "foreshore_api_calls_total{service=\"apigateway\",operation=\"FlushStageCache\",status=";
    for told in ["\"202\"} 2", "\"403\"} 2", "\"404\"} 2"] {
        assert!(metrics.contains(&format!("{series}{told}")), "{told}");
    }
    assert!(edge.log().contains("restapis/a1b2c3/stages/prod"), "an audit line");
    let (status, _) = edge.admin_with("DELETE", prod, "", "");
    assert_eq!(status, 403);
}

// An edge that was started while the machine's clock was an hour behind.
#[test]
fn a_signature_is_judged_by_the_clock_of_the_system_as_it_is_now() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), SECRET).unwrap();
    let file = folder.path().join("edge.toml");
    std::fs::write(&file, plain(([127, 0, 0, 1], 1).into(), KEYS) + RULE).unwrap();
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let right = Timestamp(u64::try_from(since.as_millis()).unwrap());
    let behind = Timestamp(right.0 - 3_600_000);
    let site = config::load(&file, behind, MissingCertificates::Done).ok().unwrap().site;
    let edge = proxy::Edge::new(site, "behind".into(), Clock::starting_at(behind));
    let replaces = || {
        let now = edge.clock.now();
        let request = || {
            let mut fields = FieldSection::new();
            let lines = signed(("AKIDEXAMPLE", "execute-api"), ("GET", "h.test", "/a"), &[], b"");
            for line in lines.iter().map(String::as_str).chain([ANEW]) {
                let (name, value) = line.split_once(": ").unwrap();
                fields.append(&name.to_ascii_lowercase(), value);
            }
            let request = ViewerRequest::get("http://h.test/a").with_fields(fields);
            request.with_arrival(now, InvalidationNumber(0))
        };
        let (running, asked) = (edge.running(), request());
        let (head, mut key) = (asked.head(), Vec::new());
        let step = hit(&edge, &running, &head, &mut key, now);
        // Serving takes what the hit step has decided, or decides itself.
        [step.err().unwrap(), Declined::default()].map(|declined| {
            let begun = edge.begin(edge.running(), request(), declined);
            begun.ok().expect("a route").wants.replaces
        })
    };
    assert!(replaces().iter().all(|replaces| matches!(replaces, Replaces::MayNot(_))));
    assert!(edge.clock.note(right).is_some());
    assert_eq!(replaces(), [Replaces::Yes; 2]);
}

const ANEW: &str = "Cache-Control: max-age=0";
const RULE: &str = "client_invalidation = { allow = \"access-key\" }\n";

#[test]
fn a_signed_request_replaces_what_is_stored() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let origin = Origin::start(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        answer(200, "Cache-Control: max-age=600", number.to_string().as_bytes())
    });
    let edge = edge(&origin, RULE);
    let target = "/b%20c/%C3%A9?b=2&a=%2F1&flag";
    let host = edge.http.to_string();
    let ask = |fields: &[String]| {
        let own = format!("Host: {host}");
        let lines: Vec<&str> = std::iter::once(&own).chain(fields).map(String::as_str).collect();
        let seen = edge.get_with(target, &lines);
        (seen.text(), seen.field("warning").is_some())
    };
    let as_asked = |key: &str, service: &str, method: &str, host: &str, target: &str| {
        let mut fields = signed((key, service), (method, host, target), &[], b"");
        fields.push(ANEW.into());
        fields
    };
    let good = || as_asked("AKIDEXAMPLE", "execute-api", "GET", &host, target);
    assert_eq!(ask(&[]), ("1".into(), false));
    for (what, fields) in [
        ("nothing", vec![ANEW.to_string()]),
        ("another key", as_asked("AKIDFLUSH", "execute-api", "GET", &host, target)),
        ("another service", as_asked("AKIDEXAMPLE", "apigateway", "GET", &host, target)),
        ("another method", as_asked("AKIDEXAMPLE", "execute-api", "PUT", &host, target)),
        ("another host", as_asked("AKIDEXAMPLE", "execute-api", "GET", "elsewhere", target)),
        ("another path", as_asked("AKIDEXAMPLE", "execute-api", "GET", &host, "/b")),
    ] {
        assert_eq!(ask(&fields), ("1".into(), true), "{what}");
    }
    assert_eq!(ask(&good()), ("2".into(), false));
    let mut unasked = good();
    unasked.pop();
    assert_eq!(ask(&unasked), ("2".into(), false), "without the field it is a request like any");
    assert_eq!(count.load(Ordering::SeqCst), 2);
}

#[test]
fn who_may_not_replace_is_refused_where_that_is_said() {
    let origin = Origin::start(|_| answer(200, "Cache-Control: max-age=600", b"x"));
    let rule = |word: &str| {
        format!("client_invalidation = {{ allow = \"access-key\", unauthorised = \"{word}\" }}\n")
    };
    let strict = edge(&origin, &rule("FAIL_WITH_403"));
    assert_eq!(strict.get("/a").status, 200);
    assert_eq!(strict.get_with("/a", &[ANEW]).status, 403);
    let silent = edge(&origin, &rule("SUCCEED_WITHOUT_RESPONSE_HEADER"));
    assert_eq!(silent.get("/a").status, 200);
    let seen = silent.get_with("/a", &[ANEW]);
    assert_eq!((seen.cache().as_str(), seen.field("warning")), ("Hit", None));
}

#[test]
fn a_request_with_a_body_is_believed_by_its_signed_hash() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let origin = Origin::start(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst) + 1;
        answer(200, "Cache-Control: max-age=600", number.to_string().as_bytes())
    });
    let more = format!("{RULE}methods = \"all\"\ncache_post = {{ body = \"keyed\" }}\n");
    let edge = edge(&origin, &more);
    let host = edge.http.to_string();
    let body = "{\"query\": 1}";
    let hash = sigv4::sha256(body.as_bytes());
    let post = |more: &[(&str, &str)], asks: bool| {
        let mut fields =
            signed(("AKIDEXAMPLE", "execute-api"), ("POST", &host, "/q"), more, body.as_bytes());
        if asks {
            fields.push(ANEW.into());
        }
        let lines: String = fields.iter().map(|line| format!("{line}\r\n")).collect();
        let mut viewer = edge.viewer();
        let length = body.len();
        let request = format!(
            "POST /q HTTP/1.1\r\nHost: {host}\r\n{lines}Content-Length: {length}\r\n\r\n{body}"
        );
        viewer.send(request.as_bytes());
        viewer.read("POST").unwrap().text()
    };
    let hashed = [("x-amz-content-sha256", hash.as_str())];
    assert_eq!(post(&[], false), "1");
    assert_eq!(post(&[], true), "1", "nothing is signed that stands for the body");
    assert_eq!(post(&hashed, true), "2");
    assert_eq!(post(&hashed, false), "2");
}

#[test]
fn a_rule_that_no_key_meets_and_a_stage_of_nothing_are_mistakes() {
    let folder = tempfile::tempdir().unwrap();
    let text = plain(
        "127.0.0.1:1".parse().unwrap(),
        "[[rest_api]]\nid = \"a\"\nstage = \"s\"\ndistribution = \"E2\"\npath = \"x\"\n",
    ) + RULE;
    std::fs::write(folder.path().join("edge.toml"), text).unwrap();
    let (code, out, err) =
        super::support::edge::command(folder.path(), &["check", "--config", "edge.toml"]);
    assert_ne!(code, 0);
    let said = out + &err;
    for words in [
        "no access key may do execute-api:InvalidateCache",
        "there is no distribution \"E2\"",
        "must begin with \"/\"",
    ] {
        assert!(said.contains(words), "{said}");
    }
}
