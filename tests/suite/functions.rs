//! CloudFront Functions in front of a real cache: what they change, what they may not, and what
//! becomes of those that fail.

use std::path::Path;
use std::sync::Arc;

use super::reloads::reload;
use super::support::edge::{command, plain};
use super::support::origin::{answer, fresh};
use super::support::{Edge, Origin, eventually};

/// Writes code into a folder.
fn write(folder: &Path, files: &[(&str, &str)]) {
    for (name, code) in files {
        std::fs::write(folder.join(format!("{name}.js")), code).unwrap();
    }
}

fn named(files: &[(&str, &str)]) -> String {
    files.iter().map(|(name, _)| format!("[function.{name}]\nfile = \"{name}.js\"\n")).collect()
}

/// An edge whose one behavior has this code.
fn edge_with(origin: &Origin, files: &[(&str, &str)], behavior: &str) -> Edge {
    start(&(plain(origin.address, &named(files)) + behavior), files)
}

fn start(config: &str, files: &[(&str, &str)]) -> Edge {
    let folder = Arc::new(tempfile::tempdir().unwrap());
    write(folder.path(), files);
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    Edge::start_in(folder)
}

const INDEX: &str = "function handler(event) {
    var request = event.request;
    if (request.uri.endsWith('/')) { request.uri += 'index.html'; }
    return request;
}";

const REQUEST: &str = "functions = { viewer_request = \"code\" }\n";
const RESPONSE: &str = "functions = { viewer_response = \"code\" }\n";

fn targets(origin: &Origin) -> Vec<String> {
    origin.seen().into_iter().map(|asked| asked.target).collect()
}

#[test]
fn a_rewritten_uri_is_what_is_kept_and_the_log_has_the_viewers() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = edge_with(&origin, &[("code", INDEX)], REQUEST);
    let first = edge.get("/docs/?a=1");
    assert_eq!((first.status, first.text().as_str()), (200, "/docs/index.html?a=1"));
    assert_eq!(first.cache(), "Miss");
    assert_eq!(edge.get("/docs/?a=1").cache(), "Hit");
    assert_eq!(edge.get("/docs/index.html?a=1").cache(), "Hit");
    assert_eq!(origin.count(), 1);
    eventually("the log has it", || {
        let log = std::fs::read_to_string(edge.path().join("access.log")).unwrap_or_default();
        log.lines().any(|line| {
            line.contains("\"path\":\"/docs/\"")
                && line.contains("\"function\":\"code\"")
                && line.contains("\"function_us\":")
        })
    });
    assert_eq!(edge.metric("foreshore_function_invocations_total"), 3.0, "once a request");
    assert_eq!(edge.metric("foreshore_function_errors_total"), 0.0);
}

#[test]
fn a_remembered_call_counts_as_one_and_gives_each_viewer_its_own() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let code = "function handler(event) {
        var request = event.request;
        request.uri += request.headers['x-part'] ? request.headers['x-part'].value : 'none';
        return request;
    }";
    let files = [("code", code)];
    let config = plain(origin.address, &named(&files)) + REQUEST;
    let edge = start(&config, &files);
    // Each core remembers for itself.
    for n in 0..30 {
        assert_eq!(edge.get("/a/").text(), "/a/none");
        let part = ["one", "two"][n % 2];
        let seen = edge.get_with("/a/", &[&format!("X-Part: {part}")]);
        assert_eq!(seen.text(), format!("/a/{part}"));
    }
    assert_eq!(edge.metric("foreshore_function_invocations_total"), 60.0);
    assert!(edge.metric("foreshore_function_remembered_total") > 10.0);
    assert!(edge.metric("foreshore_function_remembered_results") >= 3.0);
    assert_eq!(edge.metric("foreshore_function_forgone_total"), 0.0);
    // Code under the same name, whose results are its own.
    let other = "function handler(event) { event.request.uri = '/new'; return event.request; }";
    std::fs::write(edge.path().join("code.js"), other).unwrap();
    reload(&edge, &config);
    assert_eq!(edge.get("/a/").text(), "/new");
}

#[test]
fn no_call_is_remembered_where_the_operator_wants_none() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let none = format!("[functions]\nremember = \"0B\"\n{}", named(&[("code", INDEX)]));
    let config = plain(origin.address, &none) + REQUEST;
    let edge = start(&config, &[("code", INDEX)]);
    (0..12).for_each(|_| assert_eq!(edge.get("/docs/").text(), "/docs/index.html"));
    assert_eq!(edge.metric("foreshore_function_invocations_total"), 12.0);
    assert_eq!(edge.metric("foreshore_function_remembered_total"), 0.0);
    std::fs::write(edge.path().join("much.toml"), config.replace("0B", "2GiB")).unwrap();
    let (code, out, err) = command(edge.path(), &["check", "--config", "much.toml"]);
    let said = out + &err;
    assert!(code != 0 && said.contains("functions.remember is more than 1GiB"), "{said}");
}

#[test]
fn a_rewrite_keeps_the_behavior_that_the_viewers_path_chose() {
    let (one, two) = (
        Origin::start(|_| answer(200, "Cache-Control: max-age=60", b"one")),
        Origin::start(|_| answer(200, "Cache-Control: max-age=60", b"two")),
    );
    let code = "function handler(event) { event.request.uri = '/b/x'; return event.request; }";
    let files = [("code", code)];
    let config = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n{}\
         [[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
         [[distribution.origin]]\nid = \"one\"\nurl = \"http://{}\"\n[[distribution.origin]]\nid = \"two\"\nurl = \"http://{}\"\n\
         [[distribution.behavior]]\npath = \"/a/*\"\norigin = \"one\"\n{REQUEST}\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"two\"\n",
        named(&files),
        one.address,
        two.address
    );
    let edge = start(&config, &files);
    assert_eq!(edge.get("/a/x").text(), "one");
    assert_eq!(targets(&one), ["/b/x"]);
    assert_eq!(two.count(), 0);
}

#[test]
fn a_request_spends_its_rate_once_wherever_its_code_runs() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let limit = "rate_limit = { requests = 3, per = \"1h\" }\n";
    let edge = edge_with(&origin, &[("code", INDEX)], &format!("{limit}{REQUEST}"));
    // A miss, which the hit step leaves to serving, and hits.
    let statuses: Vec<u16> = (0..5).map(|_| edge.get("/docs/").status).collect();
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
    assert_eq!(edge.metric("foreshore_function_invocations_total"), 3.0, "not for those refused");
    // Response code runs in the hit step, too, and is left to serving where it makes a body.
    for what in ["headers['x-code'] = { value: '1' }", "body = 'new'"] {
        let code =
            format!("function handler(event) {{ event.response.{what}; return event.response; }}");
        let edge = edge_with(&origin, &[("code", &code)], &format!("{limit}{RESPONSE}"));
        let statuses: Vec<u16> = (0..5).map(|_| edge.get("/docs/").status).collect();
        assert_eq!(statuses, [200, 200, 200, 429, 429], "{what}");
    }
}

#[test]
fn explain_runs_the_code() {
    let origin = Origin::start(|_| fresh(b"x"));
    let files = [("code", INDEX)];
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), &files);
    let config = plain(origin.address, &named(&files)) + REQUEST;
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    let args = ["explain", "--config", "edge.toml", "http://h.test/docs/"];
    let (code, story, err) = command(folder.path(), &args);
    assert_eq!(code, 0, "{err}");
    assert!(story.contains("function code  goes on as /docs/index.html"), "{story}");
    assert!(story.contains("E1|/docs/index.html"), "{story}");
    assert_eq!(origin.count(), 0);
}

#[test]
fn an_answer_of_code_asks_no_origin_and_is_not_kept() {
    let origin = Origin::start(|_| fresh(b"x"));
    let code = "function handler(event) {
        return {
            statusCode: 302,
            statusDescription: 'Found',
            headers: { location: { value: '/new' + event.request.uri } },
            cookies: { seen: { value: '1', attributes: 'Secure; Path=/' } }
        };
    }";
    let more = "function handler(event) {
        event.response.headers['x-seen'] = { value: '1' };
        return event.response;
    }";
    let both = "functions = { viewer_request = \"code\", viewer_response = \"more\" }\n";
    let edge = edge_with(&origin, &[("code", code), ("more", more)], both);
    for _ in 0..2 {
        let seen = edge.get("/a");
        assert_eq!(seen.status, 302);
        assert_eq!(seen.field("location").as_deref(), Some("/new/a"));
        assert_eq!(seen.field("set-cookie").as_deref(), Some("seen=1; Secure; Path=/"));
        assert_eq!(seen.cache(), "FunctionGeneratedResponse");
        assert_eq!(seen.field("x-seen"), None, "no viewer-response code on generated answers");
    }
    assert_eq!(origin.count(), 0);
}

#[test]
fn response_code_runs_on_hits_and_not_on_errors_from_the_store() {
    let origin = Origin::start(|asked| match asked.target.as_str() {
        "/gone" => answer(404, "Cache-Control: max-age=60", b"gone"),
        _ => fresh(b"here"),
    });
    let code = "function handler(event) {
        event.response.headers['strict-transport-security'] = { value: 'max-age=63072000' };
        return event.response;
    }";
    let edge = edge_with(&origin, &[("code", code)], RESPONSE);
    let field = "strict-transport-security";
    for (path, status, has) in
        [("/a", 200, true), ("/a", 200, true), ("/gone", 404, false), ("/gone", 404, false)]
    {
        let seen = edge.get(path);
        assert_eq!((seen.status, seen.field(field).is_some()), (status, has), "{path}");
    }
    assert_eq!(origin.count(), 2, "the second of each is from the store");
    let seen = edge.get_with("/a", &["Range: bytes=0-1"]);
    assert_eq!((seen.status, seen.text().as_str()), (206, "he"));
    assert!(seen.field(field).is_some());
    let policy = "response_headers_policy = \"SecurityHeadersPolicy\"\n";
    let code = "function handler(event) {
        var all = event.response.headers;
        all['x-saw'] = { value: all['x-content-type-options'] ? 'policy' : 'nothing' };
        return event.response;
    }";
    let edge = edge_with(&origin, &[("code", code)], &format!("{policy}{RESPONSE}"));
    assert_eq!(edge.get("/a").field("x-saw").as_deref(), Some("policy"));
}

#[test]
fn a_new_body_takes_the_place_of_the_old_one() {
    let origin = Origin::start(|_| {
        answer(200, "Cache-Control: max-age=60\nETag: \"1\"\nContent-Type: text/plain", b"old one")
    });
    let code = "function handler(event) {
        event.response.body = 'new';
        return event.response;
    }";
    let edge = edge_with(&origin, &[("code", code)], RESPONSE);
    for _ in 0..2 {
        let seen = edge.get("/a");
        assert_eq!((seen.status, seen.text().as_str(), seen.whole), (200, "new", true));
        assert_eq!(seen.field("etag"), None);
        assert_eq!(seen.field("content-type").as_deref(), Some("text/plain"));
    }
}

#[test]
fn cookies_and_fields_choose_what_is_asked_for() {
    let origin = Origin::start(|asked| {
        let seen = asked.field("x-group").unwrap_or_default();
        fresh(format!("{seen} {}", asked.target).as_bytes())
    });
    let code = "function handler(event) {
        var request = event.request;
        var group = request.cookies.group ? request.cookies.group.value : 'a';
        request.headers['x-group'] = { value: group };
        delete request.querystring.utm;
        return request;
    }";
    let policy = "[cache_policy.grouped]\nkey = { query = \"all\", headers = [\"X-Group\"] }\n";
    let files = [("code", code)];
    let config = plain(origin.address, &format!("{policy}{}", named(&files)));
    let edge = start(&format!("{config}cache_policy = \"grouped\"\n{REQUEST}"), &files);
    let of = |path: &str, cookie: &str| edge.get_with(path, &[cookie]).text();
    assert_eq!(of("/?utm=1&x=2", "Cookie: group=b"), "b /?x=2");
    assert_eq!(of("/?x=2", "Cookie: other=1; group=b"), "b /?x=2");
    assert_eq!(of("/?x=2", "Cookie: other=1"), "a /?x=2");
    assert_eq!(origin.count(), 2);
}

#[test]
fn failures_have_cloudfronts_words() {
    let origin = Origin::start(|_| fresh(b"x"));
    for (code, place, status, word, sentence) in [
        (
            "function handler(event) { throw new Error('no'); }",
            REQUEST,
            503,
            "FunctionExecutionError",
            "is invalid or could not run",
        ),
        (
            "function handler(event) { while (true) {} }",
            RESPONSE,
            503,
            "FunctionExecutionError",
            "is invalid or could not run",
        ),
        (
            "function handler(event) { event.response.headers['X-A'] = { value: '1' }; return event.response; }",
            RESPONSE,
            502,
            "FunctionValidationError",
            "returned an invalid value: response.headers must have header names in lower case.",
        ),
        (
            "function handler(event) { delete event.request.headers.host; return event.request; }",
            REQUEST,
            502,
            "FunctionValidationError",
            "must not change the read-only header host",
        ),
    ] {
        let edge = edge_with(&origin, &[("code", code)], place);
        let seen = edge.get("/a");
        assert_eq!((seen.status, seen.cache().as_str()), (status, word), "{code}");
        assert!(seen.text().contains(sentence), "{code}\n{}", seen.text());
        assert_eq!(edge.metric("foreshore_function_errors_total"), 1.0, "{code}");
    }
}

#[test]
fn ten_costly_failures_throttle_and_new_code_is_run_at_once() {
    let origin = Origin::start(|_| fresh(b"x"));
    let slow = "function handler(event) { while (true) {} }";
    let more =
        format!("[functions]\nthrottle = \"1h\"\nstop = \"2ms\"\n{}", named(&[("code", "")]));
    let config = plain(origin.address, &more) + REQUEST;
    let edge = start(&config, &[("code", slow)]);
    for _ in 0..10 {
        assert_eq!(edge.get("/a").cache(), "FunctionExecutionError");
    }
    let seen = edge.get("/a");
    assert_eq!((seen.status, seen.cache().as_str()), (503, "FunctionThrottledError"));
    write(edge.path(), &[("code", INDEX)]);
    reload(&edge, &config);
    assert_eq!(edge.get("/a").text(), "x");
}

#[test]
fn a_reload_swaps_the_code() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let to = |path: &str| {
        format!("function handler(event) {{ event.request.uri = '{path}'; return event.request; }}")
    };
    let config = plain(origin.address, &named(&[("code", "")])) + REQUEST;
    let edge = start(&config, &[("code", &to("/one"))]);
    assert_eq!(edge.get("/").text(), "/one");
    write(edge.path(), &[("code", &to("/two"))]);
    reload(&edge, &config);
    assert_eq!(edge.get("/").text(), "/two");
}

#[test]
fn code_sends_a_request_to_another_origin() {
    let (first, second) = (
        Origin::start(|_| answer(200, "Cache-Control: no-store", b"first")),
        Origin::start(|asked| {
            let said = format!(
                "{} {} {}",
                asked.field("host").unwrap_or_default(),
                asked.target,
                asked.field("x-from").unwrap_or_default()
            );
            answer(200, "Cache-Control: no-store", said.as_bytes())
        }),
    );
    let code = "import cf from 'cloudfront';
        function handler(event) {
            if (event.request.uri === '/by-id') {
                cf.selectRequestOriginById('second');
            } else if (event.request.uri === '/by-name') {
                cf.updateRequestOrigin({
                    domainName: 'images.example.com',
                    originPath: '/v1',
                    customHeaders: { 'x-from': 'code' }
                });
            } else if (event.request.uri === '/unknown') {
                cf.selectRequestOriginById('third');
            }
            return event.request;
        }";
    let files = [("code", code)];
    let config = format!(
        "data = \"data\"\n[listen]\nhttp = [\"127.0.0.1:0\"]\n[admin]\nlisten = \"127.0.0.1:0\"\n[log]\naccess = \"off\"\n{}\
         [origin_names]\n\"*.example.com\" = \"http://{}/*\"\n\
         [[distribution]]\nid = \"E1\"\nhosts = [\"*\"]\n\
         [[distribution.origin]]\nid = \"first\"\nurl = \"http://{}\"\n[[distribution.origin]]\nid = \"second\"\nurl = \"http://{}\"\n\
         [[distribution.behavior]]\npath = \"*\"\norigin = \"first\"\n{REQUEST}",
        named(&files),
        second.address,
        first.address,
        second.address
    );
    let edge = start(&config, &files);
    assert_eq!(edge.get("/a").text(), "first");
    assert_eq!(edge.get("/by-id").text(), format!("{} /by-id ", second.address));
    assert_eq!(edge.get("/by-name").text(), "images.example.com /images/v1/by-name code");
    let seen = edge.get("/unknown");
    assert_eq!((seen.status, seen.cache().as_str()), (502, "FunctionValidationError"));
    assert_eq!((first.count(), second.count()), (1, 2));
}

#[test]
fn what_code_writes_goes_to_its_log_line_by_line() {
    let origin = Origin::start(|_| fresh(b"x"));
    let code = "function handler(event) {
        console.log('saw ' + event.request.uri + '\\nEND');
        return event.request;
    }";
    let files = [("code", code)];
    let more = format!("[functions]\nlog = \"functions.log\"\n{}", named(&files));
    let edge = start(&(plain(origin.address, &more) + REQUEST), &files);
    assert_eq!(edge.get("/a").status, 200);
    eventually("the log has it", || {
        let log = std::fs::read_to_string(edge.path().join("functions.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines.len() == 3
            && lines[0].ends_with(" START DistributionID: E1")
            && lines[1].ends_with(" saw /a\\nEND")
            && lines[2].ends_with(" END")
    });
}

#[test]
fn an_invalidation_finds_a_rewritten_response_by_both_its_uris() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = edge_with(&origin, &[("code", INDEX)], REQUEST);
    for item in ["/docs/index.html", "/docs/", "/docs/*"] {
        assert_eq!(edge.get("/docs/").cache(), "Miss", "{item}");
        assert_eq!(edge.get("/docs/").cache(), "Hit", "{item}");
        edge.purge(&[item]);
    }
    assert_eq!(edge.get("/docs/").cache(), "Miss");
}
