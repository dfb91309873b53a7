//! `foreshore function`, as people call it.

use std::path::Path;

use serde_json::Value;

use super::support::edge::command;

const GOOD: &str = "function handler(event) {\n    return event.request;\n}\n";
const BAD: &str = "function handler(event) {\n    for (var a of []) { console.log(a, 1); }\n}\n";

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("good.js"), GOOD).unwrap();
    std::fs::write(folder.path().join("bad.js"), BAD).unwrap();
    folder
}

fn function(folder: &Path, args: &[&str]) -> (i32, String, String) {
    command(folder, &[&["function"], args].concat())
}

#[test]
fn check_names_what_cloudfront_refuses() {
    let folder = folder();
    let (code, out, _) = function(folder.path(), &["check", "good.js"]);
    assert_eq!((code, &out[..]), (0, "good.js is fine\n"));
    let (code, out, _) = function(folder.path(), &["check", "good.js", "bad.js"]);
    assert_eq!(code, 1);
    assert_eq!(
        out,
        "good.js is fine\n\
         bad.js: error: line 2: `for…of` is not in cloudfront-js-2.0; use an index loop (for-of)\n\
         bad.js: warning: line 2: `console.log` with 2 arguments writes the first only; join them: \
         `console.log(a + ' ' + b)` (console-arguments)\n"
    );
    let (code, out, _) = function(folder.path(), &["check", "bad.js", "--level", "any"]);
    assert_eq!((code, &out[..]), (0, "bad.js is fine\n"));
    let (code, _, err) = function(folder.path(), &["check", "bad.js", "none.js"]);
    assert_eq!(code, 2);
    assert!(err.contains("none.js"), "{err}");
}

#[test]
fn check_tells_machines_too() {
    let folder = folder();
    let (code, out, _) =
        function(folder.path(), &["check", "bad.js", "--json", "--runtime", "cloudfront-js-1.0"]);
    assert_eq!(code, 1);
    let all: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(all[0]["file"], "bad.js");
    let first = &all[0]["findings"][0];
    assert_eq!(first["rule"], "for-of");
    assert_eq!(first["line"], 2);
    assert_eq!(first["what"], "`for…of` is not in cloudfront-js-1.0");
}

#[test]
fn event_writes_what_a_test_can_begin_from() {
    let folder = folder();
    let url = "https://www.example.com/docs/?a=1&b&a=2#top";
    let args = ["event", url, "-H", "Accept-Language: de", "-H", "Cookie: id=x; s=y"];
    let (code, out, _) = function(folder.path(), &args);
    assert_eq!(code, 0);
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(event["context"]["eventType"], "viewer-request");
    let request = &event["request"];
    assert_eq!(request["method"], "GET");
    assert_eq!(request["uri"], "/docs/");
    assert_eq!(request["headers"]["host"]["value"], "www.example.com");
    assert_eq!(request["headers"]["accept-language"]["value"], "de");
    assert_eq!(request["querystring"]["a"]["multiValue"][1]["value"], "2");
    assert_eq!(request["querystring"]["b"]["value"], "");
    assert_eq!(request["cookies"]["s"]["value"], "y");
    assert!(event.get("response").is_none());

    let args = ["event", url, "--hook", "viewer-response", "--status", "404", "-A", "X-A: b"];
    let (code, out, _) = function(folder.path(), &args);
    assert_eq!(code, 0);
    let event: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(event["response"]["statusCode"], 404);
    assert_eq!(event["response"]["headers"]["x-a"]["value"], "b");
    let (code, _, err) = function(folder.path(), &["event", "ftp://a/"]);
    assert_eq!(code, 2);
    assert!(err.contains("is not an http or https URL"), "{err}");
}

#[cfg(feature = "functions")]
#[test]
fn test_calls_a_function_and_says_what_it_changes() {
    let folder = folder();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let (_, event, _) = function(folder.path(), &["event", "https://www.example.com/docs/"]);
    write("event.json", &event);
    write(
        "index.js",
        "function handler(event) {\n  console.log('seen ' + event.request.uri);\n  \
         event.request.uri += 'index.html';\n  return event.request;\n}\n",
    );
    let test = ["test", "index.js", "--event", "event.json"];
    let (code, out, _) = function(folder.path(), &test);
    assert_eq!(code, 0, "{out}");
    let changed = "request.uri: \"/docs/\" -> \"/docs/index.html\"";
    assert!(out.contains("seen /docs/") && out.contains(changed), "{out}");
    let (code, out, _) = function(folder.path(), &[&test[..], &["--json"]].concat());
    assert_eq!(code, 0, "{out}");
    let told: Value = serde_json::from_str(&out).unwrap();
    let output: Value = serde_json::from_str(told["FunctionOutput"].as_str().unwrap()).unwrap();
    assert_eq!(output["request"]["uri"], "/docs/index.html");
    write("expect.json", &output.to_string());
    let expecting = [&test[..], &["--expect", "expect.json"]].concat();
    assert_eq!(function(folder.path(), &expecting).0, 0);
    write("expect.json", &output.to_string().replace("index.html", "index.htm"));
    assert_eq!(function(folder.path(), &expecting).0, 1);
    write("index.js", "function handler() { throw new Error('broken'); }\n");
    let (code, out, _) = function(folder.path(), &test);
    assert_eq!(code, 1);
    assert!(out.contains("broken"), "{out}");
    write("event.json", "{\"request\": {}}");
    let (code, _, err) = function(folder.path(), &test);
    assert_eq!(code, 2);
    assert!(err.contains("request.method: it is missing"), "{err}");
}
