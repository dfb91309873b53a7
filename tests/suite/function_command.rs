//! `foreshore function`, as people call it.

use std::path::Path;

use serde_json::Value;

use super::support::edge::command;
#[cfg(feature = "functions")]
use super::support::edge::plain;
#[cfg(feature = "functions")]
use super::support::tool::{self, Tool};

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

#[test]
fn event_writes_those_of_lambdas_too() {
    let folder = folder();
    let url = "https://www.example.com/docs/?a=1&b";
    let lambdas = ["event", url, "-H", "X-A: b", "--hook", "origin-response", "--status", "404"];
    let at = ["-A", "Server: x", "--origin", "http://127.0.0.1:3000/site"];
    let (code, out, err) = function(folder.path(), &[&lambdas[..], &at[..]].concat());
    assert_eq!(code, 0, "{err}");
    let event: Value = serde_json::from_str(&out).unwrap();
    let cf = &event["Records"][0]["cf"];
    assert_eq!(cf["config"]["eventType"], "origin-response");
    assert_eq!(cf["request"]["uri"], "/docs/");
    assert_eq!(cf["request"]["querystring"], "a=1&b");
    assert_eq!(cf["request"]["headers"]["x-a"][0]["value"], "b");
    assert_eq!(cf["request"]["headers"]["host"][0]["value"], "127.0.0.1:3000");
    assert_eq!(cf["request"]["headers"]["user-agent"][0]["value"], "Amazon CloudFront");
    let custom = &cf["request"]["origin"]["custom"];
    assert_eq!((&custom["domainName"], &custom["port"]), (&"127.0.0.1".into(), &3000.into()));
    assert_eq!((&custom["protocol"], &custom["path"]), (&"http".into(), &"/site".into()));
    assert_eq!(cf["response"]["status"], "404");
    assert_eq!(cf["response"]["headers"]["server"][0]["value"], "x");
    let (code, out, _) = function(folder.path(), &["event", url, "--lambda"]);
    assert_eq!(code, 0);
    let event: Value = serde_json::from_str(&out).unwrap();
    let cf = &event["Records"][0]["cf"];
    assert_eq!(cf["config"]["eventType"], "viewer-request");
    assert_eq!(cf["request"]["headers"]["host"][0]["value"], "www.example.com");
    assert!(cf["request"].get("origin").is_none());
    let (code, _, err) =
        function(folder.path(), &["event", url, "--hook", "origin-request", "--origin", "a"]);
    assert_eq!(code, 2);
    assert!(err.contains("is no origin"), "{err}");
}

/// Writes an event of a lambda to `event.json`.
#[cfg(feature = "functions")]
fn write_event(folder: &Path, hook: &str) {
    let args = ["event", "https://www.example.com/docs/?a=1", "--lambda", "--hook", hook];
    let (code, event, err) = function(folder, &args);
    assert_eq!(code, 0, "{err}");
    std::fs::write(folder.join("event.json"), event).unwrap();
}

#[cfg(feature = "functions")]
#[test]
fn test_calls_a_lambda_of_a_folder_at_every_event() {
    if !tool::have(&[Tool::Program("node")]) {
        return;
    }
    let folder = folder();
    std::fs::create_dir(folder.path().join("code")).unwrap();
    let write = |text: &str| std::fs::write(folder.path().join("code/main.js"), text).unwrap();
    write(
        "exports.run = async (event) => {
            const { request, response } = event.Records[0].cf;
            console.log('seen', request.uri);
            const what = response || request;
            what.headers['x-new'] = [{ value: '1' }];
            return what;
        };",
    );
    let test = ["test", "code", "--runtime", "nodejs20.x", "--handler", "main.run", "--event"];
    let test = [&test[..], &["event.json"]].concat();
    for hook in ["viewer-request", "origin-request", "origin-response", "viewer-response"] {
        write_event(folder.path(), hook);
        let (code, out, err) = function(folder.path(), &[&test[..], &["--hook", hook]].concat());
        assert_eq!(code, 0, "{hook}: {out}{err}");
        for words in [
            "log         START RequestId: ",
            "\tINFO\tseen /docs/",
            "Init Duration: ",
            "changed     headers.x-new: [{\"value\":\"1\"}] is new\n",
            "ms with the start of its worker\n",
            " MB of 128 MB\n",
        ] {
            assert!(out.contains(words), "{hook}: {words:?} is not in {out}");
        }
        // What is written last is what Lambda says of the end, wherever the pipe was read.
        let (seen, end) = (out.find("seen").unwrap(), out.find("END RequestId").unwrap());
        assert!(seen < end, "{out}");
    }
    // The event is one of viewer-response now.
    let (code, _, err) =
        function(folder.path(), &[&test[..], &["--hook", "viewer-request"]].concat());
    assert_eq!(code, 2);
    assert!(err.contains("--hook says otherwise"), "{err}");
    let (code, out, _) = function(folder.path(), &[&test[..], &["--json"]].concat());
    assert_eq!(code, 0);
    let told: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&told["Name"], &told["EventType"]), (&"code".into(), &"viewer-response".into()));
    assert!(told["MaxMemoryUsedMB"].as_u64().unwrap() > 5, "{told}");
    assert!(told["DurationMs"].as_f64().unwrap() > 0.0, "{told}");
    std::fs::write(folder.path().join("expect.json"), told["Output"].to_string()).unwrap();
    let expecting = [&test[..], &["--expect", "expect.json"]].concat();
    assert_eq!(function(folder.path(), &expecting).0, 0);
    std::fs::write(folder.path().join("expect.json"), "{}").unwrap();
    let (code, out, _) = function(folder.path(), &expecting);
    assert_eq!(code, 1);
    assert!(out.contains("unexpected  "), "{out}");
}

#[cfg(feature = "functions")]
#[test]
fn test_says_what_cloudfront_says_of_a_lambdas_bad_answers() {
    if !tool::have(&[Tool::Program("python3")]) {
        return;
    }
    let folder = folder();
    std::fs::create_dir(folder.path().join("code")).unwrap();
    let test = ["test", "code.zip", "--runtime", "python3.11", "--handler", "main.run"];
    let test = [&test[..], &["--event", "event.json"]].concat();
    write_event(folder.path(), "viewer-request");
    for (code, status, words) in [
        ("return {'status': 302}", 0, "302 LambdaGeneratedResponse"),
        ("raise KeyError('x')", 1, "503 LambdaExecutionError"),
        ("raise KeyError('x')", 1, "is invalid or doesn't have the required permissions."),
        ("raise KeyError('x')", 1, "because     KeyError: "),
        ("return 1", 1, "502 LambdaValidationError"),
        ("return 1", 1, "The json output must be an object type."),
        (
            "e['Records'][0]['cf']['request']['headers'].pop('host'); \
             return e['Records'][0]['cf']['request']",
            1,
            "The function tried to add, delete, or change a read-only header. (headers.host)",
        ),
        ("return {'status': 204, 'body': 'x'}", 1, "with the status 204 must not have a body"),
        ("import os; os._exit(3)", 1, "its worker ended: "),
    ] {
        let main = folder.path().join("code/main.py");
        std::fs::write(main, format!("def run(e, c):\n    {code}\n")).unwrap();
        let zipped = std::process::Command::new("python3")
            .args(["-m", "zipfile", "-c", "../code.zip", "main.py"])
            .current_dir(folder.path().join("code"))
            .status();
        assert!(zipped.unwrap().success());
        let (ended, out, err) = function(folder.path(), &test);
        assert_eq!(ended, status, "{code}: {out}{err}");
        assert!(out.contains(words), "{code}: {words:?} is not in {out}");
    }
    let (no_runtime, no_lambda, no_store) = (
        ["test", "code", "--event", "event.json"],
        ["test", "good.js", "--event", "event.json", "--hook", "origin-request"],
        ["test", "code", "--event", "event.json", "--kv", "a=b"],
    );
    for (args, words) in [
        (&no_runtime[..], "which runtime is it for?"),
        (&no_lambda[..], "is no lambda"),
        (&no_store[..], "are for CloudFront Functions"),
    ] {
        let (code, _, err) = function(folder.path(), args);
        assert_eq!(code, 2, "{args:?}: {err}");
        assert!(err.contains(words), "{args:?}: {err}");
    }
}

#[cfg(feature = "functions")]
#[test]
fn test_finds_lambdas_of_the_configuration_by_name() {
    if !tool::have(&[Tool::Program("node")]) {
        return;
    }
    let folder = folder();
    std::fs::create_dir(folder.path().join("code")).unwrap();
    let code = "exports.handler = async (e) => ({ status: 200, body: process.env.WHO });";
    std::fs::write(folder.path().join("code/index.js"), code).unwrap();
    let lambda = "[lambda.who]\ncode = \"code\"\nhandler = \"index.handler\"\n\
                  runtime = \"nodejs20.x\"\nenvironment = { WHO = \"me\" }\n";
    let config = plain("127.0.0.1:1".parse().unwrap(), lambda);
    std::fs::write(folder.path().join("edge.toml"), config).unwrap();
    write_event(folder.path(), "origin-request");
    let args = ["test", "who", "--event", "event.json", "--config", "edge.toml"];
    let (code, out, err) = function(folder.path(), &args);
    assert_eq!(code, 0, "{out}{err}");
    assert!(out.contains("answers     200 LambdaGeneratedResponse\n"), "{out}");
    assert!(out.contains("\"body\":\"me\""), "{out}");
}
