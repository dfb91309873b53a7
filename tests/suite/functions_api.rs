//! CloudFront Functions by CloudFront's own calls, by the command line and by the admin listener:
//! what is published is what viewers meet, and nothing else.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::control_plane::{Told, Wanted, cache, call, change, configure, folder};
use super::support::edge::command;
use super::support::origin::fresh;
use super::support::tool::{self, Tool};
use super::support::{Edge, Origin, eventually};

const INDEX: &str = "function handler(event) {
    var request = event.request;
    if (request.uri.endsWith('/')) { request.uri += 'index.html'; }
    return request;
}";
const ARN: &str = "arn:aws:cloudfront::000000000177:function";

pub fn to(path: &str) -> String {
    format!("function handler(event) {{ event.request.uri = '{path}'; return event.request; }}")
}

pub fn body(root: &str, name: &str, config: &str, code: &str) -> String {
    let name = if name.is_empty() { String::new() } else { format!("<Name>{name}</Name>") };
    let code = STANDARD.encode(code);
    format!(
        "<{root} xmlns=\"http://cloudfront.amazonaws.com/doc/2020-05-31/\">{name}<FunctionConfig><Comment>c</Comment>\
         <Runtime>cloudfront-js-2.0</Runtime>{config}</FunctionConfig><FunctionCode>{code}</FunctionCode></{root}>"
    )
}

pub fn create(edge: &Edge, name: &str, code: &str) -> Told {
    call(edge, "POST", "function", &body("CreateFunctionRequest", name, "", code))
}

fn update(edge: &Edge, name: &str, etag: &str, code: &str) -> Told {
    let body = body("UpdateFunctionRequest", "", "", code);
    change(edge, "PUT", &format!("function/{name}"), etag, &body)
}

pub fn publish(edge: &Edge, name: &str, etag: &str) -> Told {
    change(edge, "POST", &format!("function/{name}/publish"), etag, "")
}

// A function that is LIVE; the version of its DEVELOPMENT.
fn live(edge: &Edge, name: &str, code: &str) -> String {
    let etag = create(edge, name, code).expect(201).etag();
    publish(edge, name, &etag).expect(200);
    etag
}

pub fn associated(name: &str, event: &str) -> String {
    format!(
        "<FunctionAssociations><Quantity>1</Quantity><Items><FunctionAssociation><FunctionARN>{ARN}/{name}</FunctionARN>\
         <EventType>{event}</EventType></FunctionAssociation></Items></FunctionAssociations>"
    )
}

fn text(edge: &Edge, host: &str, path: &str) -> String {
    edge.get_with(path, &[&format!("Host: {host}")]).text()
}

// A distribution of the file whose one behavior has this code at the viewer's request.
fn of_file(origin: &Origin, name: &str) -> String {
    super::control_plane::of_file(origin, "file.test")
        + &format!("functions = {{ viewer_request = \"{name}\" }}\n")
}

#[test]
fn a_function_lives_from_create_to_delete() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::start_in(folder(""));
    let made = create(&edge, "index", INDEX).expect(201);
    let first = made.etag();
    assert_eq!(
        (made.element("Status"), made.element("Stage"), made.element("FunctionARN")),
        ("UNPUBLISHED".into(), "DEVELOPMENT".into(), format!("{ARN}/index"))
    );
    assert!(made.field("location").ends_with("/2020-05-31/function/index"), "{}", made.head);
    create(&edge, "index", INDEX).refused(409, "FunctionAlreadyExists");
    call(&edge, "GET", "function/index?Stage=LIVE", "").refused(404, "NoSuchFunctionExists");
    let got = call(&edge, "GET", "function/index", "").expect(200);
    assert_eq!((got.body.as_str(), got.etag()), (INDEX, first.clone()));
    assert_eq!(got.field("content-type"), "application/octet-stream");
    // What is not LIVE stands nowhere.
    let wanted =
        Wanted { behavior: associated("index", "viewer-request"), ..Wanted::new("r", &origin) };
    call(&edge, "POST", "distribution", &wanted.xml()).refused(400, "InvalidFunctionAssociation");
    let published = publish(&edge, "index", &first).expect(200);
    assert_eq!(
        (published.element("Stage"), published.element("Status")),
        ("LIVE".into(), "UNASSOCIATED".into())
    );
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let (id, domain) = (made.element("Id"), made.element("DomainName"));
    assert_eq!(text(&edge, &domain, "/docs/"), "/docs/index.html");
    let described = call(&edge, "GET", "function/index/describe?Stage=LIVE", "").expect(200);
    assert_eq!(described.element("Status"), "DEPLOYED");
    assert_ne!(described.etag(), first, "each stage has versions of its own");
    // A change is nothing to viewers until it is published; then it is theirs at once, and what
    // was stored is there still.
    let changed = update(&edge, "index", &first, &to("/new")).expect(200);
    assert_eq!((changed.field("ettag"), changed.etag() == first), (changed.etag(), false));
    update(&edge, "index", &first, INDEX).refused(412, "PreconditionFailed");
    assert_eq!(cache(&edge, &domain, "/docs/"), (200, "Hit".into()));
    publish(&edge, "index", &first).refused(412, "PreconditionFailed");
    publish(&edge, "index", &changed.etag()).expect(200);
    assert_eq!(text(&edge, &domain, "/docs/"), "/new");
    assert_eq!(cache(&edge, &domain, "/x"), (200, "Hit".into()));
    // All of it outlives a kill.
    let edge = Edge::start_in(edge.kill());
    assert_eq!(text(&edge, &domain, "/docs/"), "/new");
    let development = call(&edge, "GET", "function/index/describe", "").expect(200);
    assert_eq!(development.etag(), changed.etag());
    let delete = |etag: &str| change(&edge, "DELETE", "function/index", etag, "");
    delete(&changed.etag()).refused(409, "FunctionInUse");
    let read = call(&edge, "GET", &format!("distribution/{id}"), "").expect(200);
    let without = Wanted::new("r", &origin);
    let target = format!("distribution/{id}/config");
    change(&edge, "PUT", &target, &read.etag(), &without.xml()).expect(200);
    assert_eq!(text(&edge, &domain, "/docs/"), "/docs/");
    delete(&first).refused(412, "PreconditionFailed");
    delete(&changed.etag()).expect(204);
    call(&edge, "GET", "function/index", "").refused(404, "NoSuchFunctionExists");
    // One of the same name has other versions.
    assert_ne!(create(&edge, "index", INDEX).expect(201).etag(), first);
}

#[test]
fn response_functions_stand_at_distributions_of_the_api_too() {
    let origin = Origin::start(|_| fresh(b"page"));
    let edge = Edge::start_in(folder(""));
    let code = "function handler(event) {
        event.response.headers['x-by'] = { value: 'code' };
        return event.response;
    }";
    live(&edge, "by", code);
    let wanted =
        Wanted { behavior: associated("by", "viewer-response"), ..Wanted::new("r", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    let host = format!("Host: {}", made.element("DomainName"));
    for _ in 0..2 {
        let seen = edge.get_with("/a", &[&host]);
        assert_eq!(seen.field("x-by").as_deref(), Some("code"));
    }
}

#[test]
fn what_cannot_run_is_refused_with_its_line() {
    let edge = Edge::start_in(folder(""));
    let bad = "function handler(event) {\n    for (var a of []) {}\n    return event.request;\n}";
    let told = create(&edge, "f", bad);
    told.refused(400, "InvalidArgument");
    assert!(told.element("Message").contains("line 2: "), "{}", told.body);
    let long = format!("{INDEX}{}", " ".repeat(10_240));
    create(&edge, "f", &long).refused(413, "FunctionSizeLimitExceeded");
    create(&edge, "a.b", INDEX).refused(400, "InvalidArgument");
    let old = body("CreateFunctionRequest", "f", "", INDEX).replace("js-2.0", "js-3.0");
    call(&edge, "POST", "function", &old).refused(400, "InvalidArgument");
    let store = "<KeyValueStoreAssociations><Quantity>1</Quantity><Items><KeyValueStoreAssociation><KeyValueStoreARN>arn:aws:cloudfront::000000000177:key-value-store/none</KeyValueStoreARN></KeyValueStoreAssociation></Items></KeyValueStoreAssociations>";
    let with = body("CreateFunctionRequest", "f", store, INDEX);
    call(&edge, "POST", "function", &with).refused(400, "InvalidArgument");
    let etag = create(&edge, "f", INDEX).expect(201).etag();
    call(&edge, "PUT", "function/f", &body("UpdateFunctionRequest", "", "", INDEX))
        .refused(400, "InvalidIfMatchVersion");
    update(&edge, "f", &etag, bad).refused(400, "InvalidArgument");
    let got = call(&edge, "GET", "function/f", "").expect(200);
    assert_eq!((got.body.as_str(), got.etag()), (INDEX, etag));
    call(&edge, "GET", "function/f?Stage=BOTH", "").refused(400, "InvalidArgument");
    call(&edge, "GET", "function/none", "").refused(404, "NoSuchFunctionExists");
}

#[test]
fn a_test_says_what_a_call_comes_to() {
    let edge = Edge::start_in(folder(""));
    let code = "function handler(event) {
        console.log('saw ' + event.request.uri);
        if (event.request.uri === '/bad') { throw new Error('no'); }
        event.request.uri = '/other';
        return event.request;
    }";
    let etag = create(&edge, "f", code).expect(201).etag();
    let test = |stage: &str, etag: &str, event: &str| {
        let event = STANDARD.encode(event);
        let body = format!(
            "<TestFunctionRequest><Stage>{stage}</Stage><EventObject>{event}</EventObject></TestFunctionRequest>"
        );
        change(&edge, "POST", "function/f/test", etag, &body)
    };
    let event = |uri: &str| format!(r#"{{"request":{{"method":"GET","uri":"{uri}"}}}}"#);
    let told = test("DEVELOPMENT", &etag, &event("/a")).expect(200);
    assert_eq!(told.element("member"), "saw /a");
    assert!(told.element("FunctionOutput").contains("/other"), "{}", told.body);
    assert_eq!(told.element("FunctionErrorMessage"), "");
    assert!(told.element("ComputeUtilization").parse::<u8>().is_ok(), "{}", told.body);
    let told = test("DEVELOPMENT", &etag, &event("/bad")).expect(200);
    assert!(told.element("FunctionErrorMessage").contains("no"), "{}", told.body);
    assert_eq!(told.element("FunctionOutput"), "");
    let told = test("DEVELOPMENT", &etag, r#"{"request":{"method":1}}"#);
    told.refused(400, "InvalidArgument");
    assert!(told.element("Message").contains("request.method"), "{}", told.body);
    test("LIVE", &etag, &event("/a")).refused(404, "NoSuchFunctionExists");
    test("DEVELOPMENT", "E0", &event("/a")).refused(412, "PreconditionFailed");
}

#[test]
fn each_stage_is_listed_and_pages_go_on() {
    let edge = Edge::start_in(folder(""));
    live(&edge, "b", INDEX);
    create(&edge, "a", INDEX).expect(201);
    let all = call(&edge, "GET", "function", "").expect(200);
    assert_eq!(all.element("Quantity"), "3");
    let live = call(&edge, "GET", "function?Stage=LIVE", "").expect(200);
    assert_eq!((live.element("Quantity"), live.element("Name")), ("1".into(), "b".into()));
    let first = call(&edge, "GET", "function?MaxItems=2", "").expect(200);
    let next = first.element("NextMarker").replace('#', "%23");
    let rest = call(&edge, "GET", &format!("function?Marker={next}"), "").expect(200);
    assert_eq!((rest.element("Quantity"), rest.element("Stage")), ("1".into(), "LIVE".into()));
}

#[test]
fn a_function_of_the_api_that_a_file_names_may_be_gone() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::start_in(folder(&of_file(&origin, "index")));
    let failed = |edge: &Edge| {
        let seen = edge.get_with("/docs/", &["Host: file.test"]);
        assert_eq!((seen.status, seen.cache().as_str()), (503, "FunctionExecutionError"));
        let (_, status) = edge.admin("GET", "/v1/status", "");
        assert!(status.contains("there is no function index"), "{status}");
    };
    failed(&edge);
    let etag = live(&edge, "index", INDEX);
    assert_eq!(text(&edge, "file.test", "/docs/"), "/docs/index.html");
    let (_, status) = edge.admin("GET", "/v1/status", "");
    assert!(!status.contains("there is no function"), "{status}");
    change(&edge, "DELETE", "function/index", &etag, "").refused(409, "FunctionInUse");
    let folder = edge.kill();
    std::fs::remove_file(folder.path().join("data/api/function/index.json")).unwrap();
    failed(&Edge::start_in(folder));
}

#[test]
fn a_name_of_the_file_is_the_files() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let folder = folder(&of_file(&origin, "index"));
    let edge = Edge::start_in(Arc::clone(&folder));
    live(&edge, "index", &to("/api"));
    assert_eq!(text(&edge, "file.test", "/"), "/api");
    std::fs::write(folder.path().join("own.js"), to("/file")).unwrap();
    configure(
        &folder,
        &format!("[function.index]\nfile = \"own.js\"\n{}", of_file(&origin, "index")),
    );
    let (status, said) = edge.admin("POST", "/v1/reload", "");
    assert!(status == 200 && said.contains("function index (by the API) is left aside"), "{said}");
    assert_eq!(text(&edge, "file.test", "/"), "/file");
    // Distributions of the API may name it, too.
    let wanted =
        Wanted { behavior: associated("index", "viewer-request"), ..Wanted::new("r", &origin) };
    let made = call(&edge, "POST", "distribution", &wanted.xml()).expect(201);
    assert_eq!(text(&edge, &made.element("DomainName"), "/"), "/file");
}

#[test]
fn publishing_ends_a_throttle() {
    let origin = Origin::start(|_| fresh(b"x"));
    let more =
        format!("[functions]\nthrottle = \"1h\"\nstop = \"2ms\"\n{}", of_file(&origin, "slow"));
    let edge = Edge::start_in(folder(&more));
    let etag = live(&edge, "slow", "function handler(event) { while (true) {} }");
    let word = || edge.get_with("/a", &["Host: file.test"]).cache();
    for _ in 0..10 {
        assert_eq!(word(), "FunctionExecutionError");
    }
    assert_eq!(word(), "FunctionThrottledError");
    publish(&edge, "slow", &etag).expect(200);
    assert_eq!(word(), "FunctionExecutionError", "the same code is run again");
}

#[test]
fn code_reads_a_store_of_the_api_that_stays_while_it_is_read() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::start_in(folder(&of_file(&origin, "flag")));
    let made = call(
        &edge,
        "POST",
        "key-value-store",
        "<CreateKeyValueStoreRequest><Name>flags</Name></CreateKeyValueStoreRequest>",
    )
    .expect(201);
    assert_eq!(edge.admin("PUT", "/v1/kv/flags/keys/to", "{\"value\":\"/there\"}").0, 200);
    let code = "import cf from 'cloudfront';
const kvs = cf.kvs();
async function handler(event) {
    const request = event.request;
    request.uri = await kvs.get('to');
    return request;
}";
    let arn = made.element("ARN");
    let config = format!(
        "<KeyValueStoreAssociations><Quantity>1</Quantity><Items><KeyValueStoreAssociation><KeyValueStoreARN>{arn}</KeyValueStoreARN></KeyValueStoreAssociation></Items></KeyValueStoreAssociations>"
    );
    let created = body("CreateFunctionRequest", "flag", &config, code);
    let told = call(&edge, "POST", "function", &created).expect(201);
    assert_eq!(told.element("KeyValueStoreARN"), arn);
    let described = call(&edge, "GET", "key-value-store/flags", "").expect(200);
    let delete = || change(&edge, "DELETE", "key-value-store/flags", &described.etag(), "");
    delete().refused(409, "CannotDeleteEntityWhileInUse");
    publish(&edge, "flag", &told.etag()).expect(200);
    assert_eq!(text(&edge, "file.test", "/"), "/there");
    assert_eq!(edge.admin("PUT", "/v1/kv/flags/keys/to", "{\"value\":\"/here\"}").0, 200);
    assert_eq!(text(&edge, "file.test", "/"), "/here");
    let edge = Edge::start_in(edge.kill());
    assert_eq!(text(&edge, "file.test", "/"), "/here");
}

#[test]
fn the_command_deploys_lists_tests_and_looks_on() {
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let edge = Edge::start_in(folder(&of_file(&origin, "index")));
    let code = INDEX.replace("var request", "console.log('saw ' + event.request.uri); var request");
    std::fs::write(edge.path().join("index.js"), code).unwrap();
    std::fs::write(edge.path().join("bad.js"), "function handler(event) { class A {} }").unwrap();
    let admin = edge.admin.to_string();
    let function = |args: &[&str]| {
        let door = ["--admin", &admin, "--token-file", "data/admin-token"];
        command(edge.path(), &[&["function"][..], args, &door[..]].concat())
    };
    let (code, out, why) = function(&["deploy", "index.js", "--name", "index", "--draft"]);
    assert!(code == 0 && out.contains("DEVELOPMENT  UNPUBLISHED"), "{out}{why}");
    assert_eq!(edge.get_with("/docs/", &["Host: file.test"]).status, 503);
    let (code, out, why) = function(&["deploy", "index.js", "--name", "index"]);
    assert!(code == 0 && out.contains("LIVE  DEPLOYED"), "{out}{why}");
    assert_eq!(text(&edge, "file.test", "/docs/"), "/docs/index.html");
    let (code, _, why) = function(&["deploy", "bad.js", "--name", "index"]);
    assert!(code == 1 && why.contains("line 1: "), "{why}");
    let (code, out, _) = function(&["list"]);
    assert!(code == 0 && out.contains("at EFILE * viewer-request"), "{out}");
    assert!(out.contains("2 calls, 1 errors"), "{out}");
    let (_, json, _) = function(&["list", "--json"]);
    let listed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed["functions"][0]["counts"]["invocations"], 2, "{listed}");
    eventually("the line is there", || function(&["logs", "index"]).1.contains(" saw /docs/\n"));
    assert_eq!(function(&["logs", "other"]).1, "");
    std::fs::write(
        edge.path().join("event.json"),
        r#"{"request":{"method":"GET","uri":"/a/","querystring":{},"headers":{},"cookies":{}}}"#,
    )
    .unwrap();
    let stage = |stage: &str| {
        let args = [
            "function",
            "test",
            "index",
            "--event",
            "event.json",
            "--stage",
            stage,
            "--config",
            "edge.toml",
        ];
        command(edge.path(), &args)
    };
    let (code, out, why) = stage("development");
    assert!(code == 0 && out.contains("/a/index.html"), "{out}{why}");
    assert_eq!(stage("LIVE").0, 0);
    let (status, _) = edge.admin("DELETE", "/v1/functions/index", "");
    assert_eq!(status, 409, "the file names it");
}

const LAMBDA: &str = "arn:aws:lambda:us-east-1:123456789012:function";

fn with_lambda(event: &str, name: &str, more: &str) -> String {
    format!(
        "<LambdaFunctionAssociations><Quantity>1</Quantity><Items><LambdaFunctionAssociation>\
         <LambdaFunctionARN>{LAMBDA}:{name}</LambdaFunctionARN><EventType>{event}</EventType>{more}\
         </LambdaFunctionAssociation></Items></LambdaFunctionAssociations>"
    )
}

#[test]
fn a_distribution_of_the_api_runs_the_lambdas_of_the_file() {
    if !tool::have(&[Tool::Program("node")]) {
        return;
    }
    let origin = Origin::start(|asked| fresh(asked.target.as_bytes()));
    let lambda = |name: &str, more: &str| {
        format!(
            "[lambda.{name}]\ncode = \"code\"\nhandler = \"index.handler\"\nruntime = \"nodejs20.x\"\n{more}\n"
        )
    };
    let mapped = format!("arn = \"{LAMBDA}:site-rewrite-A1B2\"");
    let folder = folder(&(lambda("own", "") + &lambda("rewrite", &mapped)));
    std::fs::create_dir(folder.path().join("code")).unwrap();
    let code = "exports.handler = async (event) => {
        const request = event.Records[0].cf.request;
        request.uri = `/${process.env.AWS_LAMBDA_FUNCTION_NAME.split('.').pop()}${request.uri}`;
        return request;
    };";
    std::fs::write(folder.path().join("code/index.js"), code).unwrap();
    let edge = Edge::start_in(folder);
    let make = |reference: &str, behavior: String| {
        let wanted = Wanted { behavior, ..Wanted::new(reference, &origin) };
        call(&edge, "POST", "distribution", &wanted.xml())
    };
    // By its name, and by the ARN that the file says.
    for (n, (name, path)) in
        [("own:7", "/own/x"), ("site-rewrite-A1B2:3", "/rewrite/x")].into_iter().enumerate()
    {
        let more = "<IncludeBody>true</IncludeBody>";
        let made = make(&n.to_string(), with_lambda("origin-request", name, more)).expect(201);
        assert_eq!(made.element("LambdaFunctionARN"), format!("{LAMBDA}:{name}"));
        assert_eq!(made.element("IncludeBody"), "true");
        assert_eq!(text(&edge, &made.element("DomainName"), "/x"), path);
    }
    let made = make("default", with_lambda("origin-response", "own:7", "")).expect(201);
    assert_eq!(made.element("IncludeBody"), "false");
    for (event, name, more, words) in [
        ("origin-request", "gone:1", "", "there is no lambda for arn:aws:lambda:"),
        ("origin-request", "own", "", "must end with the version number"),
        ("origin-request", "own:$LATEST", "", "must end with the version number"),
        ("origin-response", "own:1", "<IncludeBody>true</IncludeBody>", "there is no body at"),
    ] {
        let told = make("bad", with_lambda(event, name, more));
        told.refused(400, "InvalidLambdaFunctionAssociation");
        assert!(told.body.contains(words), "{}", told.body);
    }
}
