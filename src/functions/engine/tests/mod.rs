//! What functions see and what they give back.

mod attacks;
mod memo;
mod modules;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Engine;
use crate::crypto::sigv4::sha256;
use crate::distribution::functions::{Function, FunctionLimits, Kept, Level, Runtime};
use crate::functions::event::{
    BodyOut, CallFailure, CookieOut, EdgeFacts, Event, FieldOut, IdFacts, Place, QueryOut,
    RequestFacts, RequestOut, ResponseFacts, ResponseOut, Returned, StoreView,
};
use crate::message::request::Fields;
use crate::semantics::fields::FieldSection;

const MOMENT: u64 = 1_700_000_000_123;

fn function(source: &str, runtime: Runtime, level: Level) -> Arc<Function> {
    let marked = format!("{runtime:?} {level:?} {source}");
    let hash = sha256(marked.as_bytes());
    let mut digest = [0; 32];
    for (octet, pair) in digest.iter_mut().zip(hash.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    }
    Arc::new(Function {
        name: "f".into(),
        runtime,
        level,
        source: source.into(),
        digest,
        store: None,
        kept: Kept::File,
    })
}

// Time enough for a machine that is busy; what tests the stop has limits of its own.
fn patient() -> FunctionLimits {
    FunctionLimits {
        stop: Duration::from_secs(5),
        budget: Duration::from_millis(1),
        memory: 2 << 20,
        throttle: Duration::ZERO,
        remember: 1 << 20,
    }
}

fn section(lines: &[(&str, &str)]) -> FieldSection {
    let mut fields = FieldSection::new();
    lines.iter().for_each(|(name, value)| fields.push(*name, value.as_bytes()));
    fields
}

struct World {
    request: FieldSection,
    response: Option<FieldSection>,
    query: Option<&'static [u8]>,
    store: Option<Store>,
}

impl World {
    fn new() -> Self {
        let mut request = section(&[
            ("Host", "www.example"),
            ("Accept", "a"),
            ("accept", "b"),
            ("Cookie", "s=1; t=x=y; s=2"),
            ("__proto__", "p"),
        ]);
        request.push("X-Latin", b"gr\xfcn");
        Self { request, response: None, query: Some(b"a=1&b&a=%20&__proto__=z"), store: None }
    }

    fn response() -> Self {
        let fields =
            section(&[("Server", "s"), ("Set-Cookie", "ID=1; Path=/"), ("Set-Cookie", "B=2")]);
        Self { response: Some(fields), ..Self::new() }
    }

    fn call(
        &self,
        engine: &mut Engine,
        function: &Function,
    ) -> (Result<Returned, CallFailure>, Vec<String>) {
        let place =
            if self.response.is_some() { Place::ViewerResponse } else { Place::ViewerRequest };
        let event = Event {
            place,
            domain_name: Some("d1.cloudfront.net"),
            distribution_id: "E1",
            request_id: IdFacts::Text("rid"),
            viewer: "192.0.2.1".parse().unwrap(),
            request: RequestFacts {
                method: "GET",
                uri: b"/x/",
                query: self.query,
                fields: Fields::Section(&self.request),
                extra: &[("cloudfront-viewer-country", "DE".as_bytes())],
            },
            response: self
                .response
                .as_ref()
                .map(|fields| ResponseFacts { status: 200, fields: Fields::Section(fields) }),
            edge: Some(EdgeFacts {
                name: "FRA",
                server: "192.0.2.2".parse().unwrap(),
                region: "eu-central-1",
            }),
        };
        let mut lines = Vec::new();
        let values = self.store.as_ref().map(|store| store as &dyn StoreView);
        let (returned, _) =
            engine.call(function, &event, values, MOMENT, &mut |line| lines.push(line.to_string()));
        (returned, lines)
    }
}

struct Store(BTreeMap<&'static str, &'static str>);

impl StoreView for Store {
    fn id(&self) -> &str {
        "0b5f5f3e"
    }
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).copied()
    }
    fn exists(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }
    fn created(&self) -> u64 {
        1_000
    }
    fn updated(&self) -> u64 {
        2_000
    }
    fn count(&self) -> usize {
        self.0.len()
    }
}

fn called(world: &World, source: &str) -> (Result<Returned, CallFailure>, Vec<String>) {
    thread_local! {
        // Making a realm takes longer than all else that a test does.
        static ENGINE: RefCell<Engine> = RefCell::new(Engine::new(patient()));
    }
    let function = function(source, Runtime::Js2, Level::CloudFront);
    ENGINE.with_borrow_mut(|engine| world.call(engine, &function))
}

fn request(returned: Result<Returned, CallFailure>) -> RequestOut {
    match returned {
        Ok(Returned::Request(request)) => *request,
        other => panic!("not a request: {other:?}"),
    }
}

fn response(returned: Result<Returned, CallFailure>) -> ResponseOut {
    match returned {
        Ok(Returned::Response(response)) => response,
        other => panic!("not a response: {other:?}"),
    }
}

fn field(name: &str, values: &[&str]) -> FieldOut {
    FieldOut { name: name.into(), values: values.iter().map(|value| (*value).into()).collect() }
}

/// Wraps the body of a handler that gives the request back.
fn handler(body: &str) -> String {
    format!("function handler(event) {{ var request = event.request; {body}; return request; }}")
}

const EAGER: &str = concat!(
    r#"{"version":"1.0","context":{"distributionDomainName":"d1.cloudfront.net","distributionId":"E1","#,
    r#""eventType":"viewer-request","requestId":"rid"},"viewer":{"ip":"192.0.2.1"},"request":{"#,
    r#""method":"GET","uri":"/x/","querystring":{"a":{"value":"1","multiValue":[{"value":"1"},"#,
    r#"{"value":"%20"}]},"b":{"value":""},"__proto__":{"value":"z"}},"headers":{"#,
    r#""host":{"value":"www.example"},"accept":{"value":"a","multiValue":[{"value":"a"},"#,
    r#"{"value":"b"}]},"__proto__":{"value":"p"},"x-latin":{"value":"grün"},"#,
    r#""cloudfront-viewer-country":{"value":"DE"}},"cookies":{"s":{"value":"1","#,
    r#""multiValue":[{"value":"1"},{"value":"2"}]},"t":{"value":"x=y"}}}}"#,
);

#[test]
fn a_lazy_event_is_what_an_eager_one_is() {
    let keys = "method,uri,querystring,headers,cookies";
    for (body, wanted) in [
        ("console.log(JSON.stringify(event))", EAGER),
        ("request.cookies; request.headers; console.log(JSON.stringify(event))", EAGER),
        ("console.log(Object.keys(request).join())", keys),
        (
            "request.cookies; var k = []; for (var n in request) k.push(n); console.log(k.join())",
            keys,
        ),
        ("console.log(Object.keys(event).join())", "version,context,viewer,request"),
        ("console.log('headers' in request, 1)", "true"),
        (
            "delete request.headers; console.log(Object.keys(request).join())",
            "method,uri,querystring,cookies",
        ),
        ("delete request.headers; console.log(typeof request.headers)", "undefined"),
        ("request.headers = {}; console.log(JSON.stringify(request.headers))", "{}"),
        ("console.log(JSON.stringify(Object.assign({}, request).cookies.t))", r#"{"value":"x=y"}"#),
        ("console.log(event.viewer.ip + event.context.requestId)", "192.0.2.1rid"),
        ("console.log(request.rawQueryString())", "a=1&b&a=%20&__proto__=z"),
        ("console.log(request.hasOwnProperty('cookies'))", "true"),
        ("console.log(Object.getOwnPropertyDescriptor(request, 'uri').value)", "/x/"),
    ] {
        let (returned, lines) = called(&World::new(), &handler(body));
        assert_eq!(lines, [wanted], "{body}");
        assert!(returned.is_ok(), "{body}: {returned:?}");
    }
    let world = World { query: None, ..World::new() };
    let (_, lines) = called(&world, &handler("console.log(typeof request.rawQueryString())"));
    assert_eq!(lines, ["undefined"]);
}

#[test]
fn what_did_not_change_does_not_come_back() {
    for source in [
        handler(""),
        handler("if (request.headers.host && request.cookies.s && request.querystring.a) {}"),
        handler("request = Object.assign({}, request)"),
        handler("request.headers.accept.value = 'a'"),
        handler("request.uri = '/x/'"),
        "async function handler(event) { return event.request }".to_string(),
        "const handler = async (event) => { await null; return event.request }".to_string(),
        "var handler = function (event) { return Promise.resolve(event.request) };".to_string(),
        "export default function handler(event) { return event.request }".to_string(),
    ] {
        assert_eq!(called(&World::new(), &source).0, Ok(Returned::Unchanged), "{source}");
    }
    let same = "function handler(event) { event.response.headers.server; return event.response }";
    assert_eq!(called(&World::response(), same).0, Ok(Returned::Unchanged));
}

#[test]
fn what_one_call_did_to_the_event_the_next_does_not_see() {
    let look = "console.log(JSON.stringify(event) + Object.isFrozen(request) + Object.isFrozen(request.headers) + \
                typeof request.u + typeof request.headers.u + typeof event.u)";
    let wanted = format!("{EAGER}falsefalseundefinedundefinedundefined");
    for body in [
        "request.uri = '/z'",
        "request.u = 1",
        "event.u = 1",
        "delete request.uri; request.uri = '/z'",
        "event.request = {}",
        "request.headers.u = {value: '1'}; request.headers.host = {value: '2'}",
        "request.headers.host.value = '2'; request.headers.accept.multiValue.pop()",
        "delete request.headers.host",
        "request.headers.host = undefined",
        "request.headers = {}; request.cookies = {}; request.querystring = ''",
        "Object.freeze(request); Object.freeze(request.headers); Object.freeze(event)",
        "Object.defineProperty(request, 'uri', {get: function () { return '/z' }})",
        "Object.setPrototypeOf(request, {u: 1}); Object.setPrototypeOf(request.headers, {u: 1})",
        "request.headers.__proto__ = {value: '1'}; request.__proto__ = {u: 1}",
        "event.context.u = 1; event.viewer.ip = 2; delete event.context.requestId",
        "throw request.headers.host",
    ] {
        let _ = called(&World::new(), &handler(body));
        let (returned, lines) = called(&World::new(), &handler(look));
        assert_eq!(lines, [wanted.as_str()], "after {body}");
        assert_eq!(returned, Ok(Returned::Unchanged), "after {body}");
    }
    let look = "function handler(event) { var r = event.response; console.log(JSON.stringify(r)); return r }";
    for body in [
        "r.statusCode = 500; r.statusDescription = 'x'",
        "r.body = 'b'",
        "r.headers.server = {value: 'x'}; r.headers.z = {value: 'z'}",
        "delete r.cookies; r.headers = {}",
    ] {
        let source =
            format!("function handler(event) {{ var r = event.response; {body}; return r }}");
        let _ = called(&World::response(), &source);
        let (returned, lines) = called(&World::response(), look);
        let wanted = r#"{"statusCode":200,"statusDescription":"OK","headers":{"server":{"value":"s"}},"cookies":{"ID":{"value":"1","attributes":"Path=/"},"B":{"value":"2"}}}"#;
        assert_eq!(lines, [wanted], "after {body}");
        assert_eq!(returned, Ok(Returned::Unchanged), "after {body}");
    }
}

#[test]
fn what_changed_comes_back() {
    let some = |out: RequestOut| Ok(Returned::Request(Box::new(out)));
    let pairs = |of: &[(&str, &str)]| {
        let all = of.iter().map(|(name, value)| (name.to_string(), value.to_string()));
        Some(QueryOut::Pairs(all.collect()))
    };
    let cookie = |name: &str, value: &str| CookieOut {
        name: name.into(),
        value: value.into(),
        attributes: None,
    };
    let rest = [
        field("__proto__", &["p"]),
        field("x-latin", &["gr\u{fc}n"]),
        field("cloudfront-viewer-country", &["DE"]),
    ];
    let headers = |first: &[FieldOut]| Some([first, &rest[..]].concat());
    let host = field("host", &["www.example"]);
    let none = RequestOut::default;
    for (body, wanted) in [
        ("request.uri += 'i'", RequestOut { uri: Some("/x/i".into()), ..none() }),
        ("request.method = 'POST'", RequestOut { method: Some("POST".into()), ..none() }),
        (
            "request.querystring = 'q'",
            RequestOut { query: Some(QueryOut::Text("q".into())), ..none() },
        ),
        ("delete request.querystring", RequestOut { query: pairs(&[]), ..none() }),
        (
            "request.querystring = {}; request.querystring['__proto__'] = 1; request.querystring.c = {value: 'd'}",
            RequestOut { query: pairs(&[("c", "d")]), ..none() },
        ),
        (
            "delete request.querystring.b",
            RequestOut { query: pairs(&[("a", "1"), ("a", "%20"), ("__proto__", "z")]), ..none() },
        ),
        (
            "request.headers.accept.value = 'c'",
            RequestOut {
                headers: headers(&[host.clone(), field("accept", &["c", "b"])]),
                ..none()
            },
        ),
        (
            "request.headers.accept.multiValue = [{value: 'd'}]; request.headers.accept.value = 'e'",
            RequestOut { headers: headers(&[host.clone(), field("accept", &["d"])]), ..none() },
        ),
        (
            "request.headers.accept = {value: 'e'}",
            RequestOut { headers: headers(&[host.clone(), field("accept", &["e"])]), ..none() },
        ),
        (
            "request.headers.host; request.headers.accept = {value: 'e'}; request.headers.x = {value: 'y'}",
            RequestOut {
                headers: Some(
                    [
                        &[host.clone(), field("accept", &["e"])][..],
                        &rest[..],
                        &[field("x", &["y"])][..],
                    ]
                    .concat(),
                ),
                ..none()
            },
        ),
        (
            "delete request.headers.accept",
            RequestOut { headers: headers(std::slice::from_ref(&host)), ..none() },
        ),
        (
            "request.headers = {'X-Up': {value: Buffer.from('b')}}",
            RequestOut { headers: Some(vec![field("X-Up", &["b"])]), ..none() },
        ),
        (
            "delete request.cookies.s",
            RequestOut { cookies: Some(vec![cookie("t", "x=y")]), ..none() },
        ),
        (
            "request.cookies = {}; request.cookies.a = {value: '1', multiValue: [{value: '1'}, {value: '2'}]}",
            RequestOut { cookies: Some(vec![cookie("a", "1"), cookie("a", "2")]), ..none() },
        ),
    ] {
        assert_eq!(called(&World::new(), &handler(body)).0, some(wanted), "{body}");
    }
    let uri = request(called(&World::new(), &handler("request.uri = '\\ud800x'")).0).uri;
    assert_eq!(uri.as_deref(), Some("\u{fffd}x"));
}

#[test]
fn responses_come_back_made_and_changed() {
    let made = "function handler(event) { return { statusCode: 302, statusDescription: 'Found',
        headers: { location: { value: '/y' } },
        cookies: { a: { value: '1', attributes: 'Path=/' } },
        body: { encoding: 'base64', data: 'aGk=' } } }";
    let cookie = |name: &str, value: &str, attributes: Option<&str>| CookieOut {
        name: name.into(),
        value: value.into(),
        attributes: attributes.map(str::to_string),
    };
    assert_eq!(
        response(called(&World::new(), made).0),
        ResponseOut {
            status: Some(302.0),
            status_description: Some("Found".into()),
            headers: Some(vec![field("location", &["/y"])]),
            changed: None,
            cookies: Some(vec![cookie("a", "1", Some("Path=/"))]),
            body: Some(BodyOut::Base64("aGk=".into())),
        }
    );
    let changed = "function handler(event) { var r = event.response; r.statusCode = 404;
        r.headers['x-a'] = { value: event.request.uri }; r.cookies.B.value = '3'; r.body = 'new';
        return r }";
    assert_eq!(
        response(called(&World::response(), changed).0),
        ResponseOut {
            status: Some(404.0),
            status_description: None,
            headers: Some(vec![field("server", &["s"]), field("x-a", &["/x/"])]),
            changed: None,
            cookies: Some(vec![cookie("ID", "1", Some("Path=/")), cookie("B", "3", None)]),
            body: Some(BodyOut::Text("new".into())),
        }
    );
}

#[test]
fn a_wrong_shape_is_named_by_its_path() {
    let request = [
        ("return undefined", "the value", "undefined"),
        ("return 'text'", "the value", "the text \"text\""),
        ("return event", "the value", "an object"),
        ("return [event.request]", "the value", "an array"),
        ("request.headers = 5", "request.headers", "number 5"),
        ("request.headers.x = 'y'", "request.headers.x", "the text \"y\""),
        ("request.headers.x = null", "request.headers.x", "null"),
        ("request.headers.x = {}", "request.headers.x.value", "undefined"),
        ("request.headers.x = {value: 5}", "request.headers.x.value", "number 5"),
        ("request.headers.x = {multiValue: 1}", "request.headers.x.multiValue", "number 1"),
        (
            "request.headers.x = {multiValue: [{value: []}]}",
            "request.headers.x.multiValue[0].value",
            "an array",
        ),
        ("request.cookies.x = {value: true}", "request.cookies.x.value", "boolean true"),
        ("request.querystring = []", "request.querystring", "an array"),
        ("request.uri = {}", "request.uri", "an object"),
        ("return {statusCode: '302'}", "response.statusCode", "the text \"302\""),
        ("return {statusCode: 200, body: []}", "response.body", "an array"),
        (
            "return {statusCode: 200, body: {encoding: 'x', data: ''}}",
            "response.body.encoding",
            "the text \"x\"",
        ),
        ("return {statusCode: 200, body: {data: 5}}", "response.body.data", "number 5"),
    ];
    let answered = [
        ("return request", "response.statusCode", "undefined"),
        ("return null", "the value", "null"),
        (
            "event.response.cookies.ID.attributes = 1; return event.response",
            "response.cookies.ID.attributes",
            "number 1",
        ),
    ];
    let all = request.map(|case| (World::new(), case)).into_iter();
    for (world, (body, path, found)) in all.chain(answered.map(|case| (World::response(), case))) {
        match called(&world, &handler(body)).0 {
            Err(CallFailure::WrongShape { path: at, found: there, .. }) => {
                assert_eq!((at.as_str(), there.as_str()), (path, found), "{body}");
            }
            other => panic!("{body}: {other:?}"),
        }
    }
}

#[test]
fn what_is_thrown_has_its_line() {
    for (source, wanted) in [
        ("function handler() {\n throw new TypeError('no') }", "line 2: TypeError: no"),
        (
            "async function handler() {\n\n await null; throw new Error('late') }",
            "line 3: Error: late",
        ),
        ("function handler() { throw 'text' }", "text"),
        (
            "import cf from 'cloudfront'; cf.kvs();\nfunction handler() {}",
            "line 1: Error: KVSNamespaceNotFound",
        ),
    ] {
        assert_eq!(
            called(&World::new(), source).0,
            Err(CallFailure::Threw(wanted.into())),
            "{source}"
        );
    }
    for source in [
        "async function handler() { await new Promise(function () {}) }",
        "function handler() { return { then: function () {} } }",
    ] {
        assert_eq!(called(&World::new(), source).0, Err(CallFailure::NeverSettles), "{source}");
    }
}

#[test]
fn what_does_not_compile_says_where() {
    for (source, wanted) in [
        ("function handler(event) {\n return event.; }", "line 2: SyntaxError"),
        ("}; function x() {", ""),
        ("}, function () {", ""),
        ("} m() {", ""),
        ("import fs from 'fs'; function handler() {}", "Error: Cannot find module \"fs\""),
        ("var a;\nvar b = 1n;", "line 2: BigInt literals"),
    ] {
        match called(&World::new(), source).0 {
            Err(CallFailure::NotCompiled(why)) => assert!(why.contains(wanted), "{source}: {why}"),
            other => panic!("{source}: {other:?}"),
        }
    }
    // A source without a handler compiles: what it makes can only be known by running it.
    let missing = called(&World::new(), "var a = 1;").0;
    assert!(
        matches!(&missing, Err(CallFailure::Threw(why)) if why.contains("handler")),
        "{missing:?}"
    );
}
