//! A call that is remembered comes to what the code would have come to.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use proptest::prelude::*;

use super::{MOMENT, Store, function, handler, patient, section};
use crate::distribution::functions::{Function, FunctionLimits, Level, Runtime};
use crate::functions::engine::Engine;
use crate::functions::event::{
    CallFailure, Event, IdFacts, Place, RequestFacts, ResponseFacts, StoreView,
};
use crate::functions::rules::{self, Change, Invalid};
use crate::message::request::Fields;
use crate::semantics::fields::FieldSection;

/// What a function is asked, as far as it differs here.
#[derive(Clone, Debug)]
struct Asked {
    method: &'static str,
    uri: String,
    query: Option<&'static str>,
    fields: FieldSection,
    viewer: IpAddr,
    response: Option<(u16, FieldSection)>,
}

impl Asked {
    fn of(uri: &str) -> Self {
        Self {
            method: "GET",
            uri: uri.into(),
            query: None,
            fields: section(&[("Host", "h.test")]),
            viewer: "192.0.2.1".parse().unwrap(),
            response: None,
        }
    }

    fn event(&self) -> Event<'_> {
        Event {
            place: match self.response {
                Some(_) => Place::ViewerResponse,
                None => Place::ViewerRequest,
            },
            domain_name: Some("d1.cloudfront.net"),
            distribution_id: "E1",
            request_id: IdFacts::Text("rid"),
            viewer: self.viewer,
            request: RequestFacts {
                method: self.method,
                uri: self.uri.as_bytes(),
                query: self.query.map(str::as_bytes),
                fields: Fields::Section(&self.fields),
                extra: &[],
            },
            response: self.response.as_ref().map(|(status, fields)| ResponseFacts {
                status: *status,
                fields: Fields::Section(fields),
            }),
            edge: None,
        }
    }
}

type Judged = Result<Result<Change, Invalid>, CallFailure>;

// What the rules make of all that came back.
fn run(engine: &mut Engine, function: &Function, asked: &Asked) -> Judged {
    let event = asked.event();
    let (returned, _) = engine.call(function, &event, None, MOMENT, &mut |_| {});
    returned.map(|returned| rules::judge(&event, &returned))
}

// As serving asks, and whether the code ran.
fn ask(engine: &mut Engine, function: &Function, asked: &Asked) -> (Judged, bool) {
    let event = asked.event();
    if let Some(recalled) = engine.recall(function, &event) {
        return (Ok(recalled.judged), false);
    }
    let store = Store(BTreeMap::from([("k", "v")]));
    let values = Some(&store as &dyn StoreView);
    let (returned, _) = engine.ask(function, &event, values, MOMENT, &mut |_| {});
    (returned.map(|returned| rules::judge(&event, &returned)), true)
}

// Whether the fourth call of the same is remembered.
fn is_remembered(engine: &mut Engine, function: &Function, asked: &Asked) -> bool {
    let ran: Vec<bool> = (0..4).map(|_| ask(engine, function, asked).1).collect();
    assert!(ran[0] && ran[1], "a result is used once two calls came to it");
    !ran[3]
}

fn new(source: &str) -> std::sync::Arc<Function> {
    function(source, Runtime::Js2, Level::CloudFront)
}

#[test]
fn what_hangs_on_the_event_alone_is_remembered_and_nothing_else() {
    let mut engine = Engine::new(patient());
    for (body, wanted) in [
        ("", true),
        ("request.uri += 'i'", true),
        ("request.headers.host.value += 'i'", true),
        ("return {statusCode: 302, headers: {location: {value: '/' + event.viewer.ip}}}", true),
        ("request.querystring.a = {value: '1'}; request.cookies.s = {value: '2'}", true),
        ("JSON.stringify(request)", true),
        ("require('crypto').createHash('md5').update(request.uri).digest('hex')", true),
        ("require('querystring').parse('a=1')", true),
        ("require('cloudfront').selectRequestOriginById('o')", true),
        ("new Date(0).getTime(); new Date(2020, 1, 1).toString(); Date.UTC(2020)", true),
        ("try { null.x } catch (e) { request.uri = '/caught' }", true),
        ("Date.parse('2020-01-01T10:00'); new Date(0).toLocaleString()", true),
        ("new Date(undefined).getTime()", true),
        ("typeof event.context + Object.keys(event)", true),
        ("Date.now()", false),
        ("Date.call({})", false),
        ("new (Date.bind(null))()", false),
        ("new Date(...[])", false),
        ("new Date(0).constructor.now()", false),
        ("[1].map(Date)", false),
        ("Math['ran' + 'dom']()", false),
        ("'requestId' in event.context", false),
        ("event['con' + 'text'].distributionId", false),
        ("Date()", false),
        ("new Date()", false),
        ("var D = class extends Date {}; new D()", false),
        ("Math.random()", false),
        ("var r = Math.random; [1].map(r)", false),
        ("console.log('x')", false),
        ("event.context.requestId", false),
        ("JSON.stringify(event)", false),
        ("require('cloudfront').kvs()", false),
        ("require('cloudfront').kvs('another')", false),
        ("throw new Error('x')", false),
        ("request.uri = 'no path'", false),
        ("request.uri = 1", false),
    ] {
        let function = new(&handler(body));
        assert_eq!(is_remembered(&mut engine, &function, &Asked::of("/a")), wanted, "{body}");
    }
    for (source, wanted) in [
        ("async function handler(event) { await null; return event.request }", true),
        (
            "import cf from 'cloudfront'; async function handler(event) { \
             event.request.uri = '/' + await cf.kvs().get('k'); return event.request }",
            false,
        ),
        ("var n = Date.now(); function handler(event) { return event.request }", false),
    ] {
        let function = new(source);
        assert_eq!(is_remembered(&mut engine, &function, &Asked::of("/a")), wanted, "{source}");
    }
}

// It equals nothing, so two calls that come to it do not differ by that.
#[test]
fn a_status_that_is_no_number_is_refused_each_time_and_no_difference() {
    let mut engine = Engine::new(patient());
    let function = new("function handler(event) { event.response.statusCode = NaN; \
                        return event.response }");
    let asked = Asked { response: Some((200, section(&[("ETag", "\"1\"")]))), ..Asked::of("/a") };
    assert!(!is_remembered(&mut engine, &function, &asked));
    let (judged, _) = ask(&mut engine, &function, &asked);
    assert!(matches!(judged, Ok(Err(_))), "{judged:?}");
    assert_eq!(engine.kept(&function).differences, 0);
}

#[test]
fn levels_without_a_list_and_those_who_want_none_run_each_time() {
    let mut engine = Engine::new(patient());
    let any = function(&handler("request.uri += 'i'"), Runtime::Js2, Level::Any);
    assert!(!is_remembered(&mut engine, &any, &Asked::of("/a")));
    let mut engine = Engine::new(FunctionLimits { remember: 0, ..patient() });
    let usual = new(&handler("request.uri += 'i'"));
    assert!(!is_remembered(&mut engine, &usual, &Asked::of("/a")));
    assert_eq!(engine.kept(&usual), crate::functions::event::Remembered::default());
}

#[test]
fn what_code_did_not_look_at_makes_no_difference_and_all_else_does() {
    let mut engine = Engine::new(patient());
    let look =
        "if (request.headers.host.value === 'h.test' && request.querystring.a) request.uri = '/q'";
    let function = new(&handler(look));
    let known = Asked { query: Some("a=1&z=1"), ..Asked::of("/a") };
    assert!(is_remembered(&mut engine, &function, &known));
    let fields = section(&[("Host", "h.test"), ("Cookie", "s=1"), ("X", "y")]);
    for (other, ran) in [
        (Asked { query: Some("a=1&z=2"), ..known.clone() }, false),
        (Asked { fields, ..known.clone() }, false),
        (Asked { viewer: "2001:db8::1".parse().unwrap(), ..known.clone() }, false),
        (Asked { query: Some("a=2"), ..known.clone() }, true),
        (Asked { query: Some("a"), ..known.clone() }, true),
        (Asked { query: Some("a=1&a=1"), ..known.clone() }, true),
        (Asked { query: None, ..known.clone() }, true),
        (Asked { fields: section(&[("Host", "h.tes")]), ..known.clone() }, true),
        (Asked { method: "HEAD", ..known.clone() }, true),
        (Asked { uri: "/b".into(), ..known.clone() }, true),
    ] {
        let (judged, has_run) = ask(&mut engine, &function, &other);
        assert_eq!(has_run, ran, "{other:?}");
        assert_eq!(judged, run(&mut engine, &function, &other), "{other:?}");
    }
    // Of code that is made ready anew nothing is known.
    engine.prepare(&[std::sync::Arc::clone(&function)]);
    assert!(ask(&mut engine, &function, &known).1);
}

// Has what a function comes to for one event remembered, then asks it for others, again and again:
// each gets what the code says of it. Says whether one of them gets something else than the first.
fn tells_apart(engine: &mut Engine, function: &Function, known: &Asked, others: &[Asked]) -> bool {
    assert!(is_remembered(engine, function, known), "{}", function.source);
    let first = run(engine, function, known);
    let mut is_told_apart = false;
    for _ in 0..3 {
        for other in others {
            let (judged, _) = ask(engine, function, other);
            assert_eq!(judged, run(engine, function, other), "{} {other:?}", function.source);
            is_told_apart |= judged != first;
        }
    }
    assert_eq!(engine.kept(function).differences, 0, "{}", function.source);
    is_told_apart
}

/// Ways by which code learns something of a request, most of them without a plain look at a value.
const GLANCES: &[&str] = &[
    "typeof request.headers.accept.multiValue",
    "JSON.stringify(request.headers.accept.multiValue)",
    "(request.headers.accept.multiValue || []).length",
    "[].concat(request.headers.accept.multiValue).length",
    "'x' in request.headers",
    "'x' in Object.create(request.headers)",
    "JSON.stringify(Object.create(request.headers).x)",
    "request.headers.hasOwnProperty('x')",
    "Object.prototype.toString.call(request.headers.x)",
    "JSON.stringify(Object.getOwnPropertyDescriptor(request.headers, 'x'))",
    "(request.headers.y = request.headers.x, JSON.stringify(request.headers.y))",
    "delete request.headers.x && JSON.stringify(request.headers)",
    "Object.keys(request.headers)",
    "[...Object.keys(request.headers)].sort()",
    "JSON.stringify(request.headers)",
    "(function () { var all = ''; for (var n in request.headers) all += n; return all })()",
    "(function () { var {host, ...rest} = request.headers; return JSON.stringify(rest) })()",
    "(function () { try { return request.headers.x.value.a.b } catch (e) { return e } })()",
    "(function () { try { null[request.headers.host.value] } catch (e) { return e } })()",
    "Object.entries(request.cookies).length",
    "JSON.stringify(Object.values(request.cookies))",
    "JSON.stringify({...request.cookies})",
    "Array.from(Object.keys(request.cookies))",
    "request.cookies.s && request.cookies.s.value",
    "Object.getOwnPropertyNames(request.querystring)",
    "JSON.stringify(request.querystring)",
    "JSON.stringify(Object.assign({}, request.querystring))",
    "request.querystring.propertyIsEnumerable('A')",
    "request.querystring.toString === Object.prototype.toString",
    "request.querystring.__proto__ === Object.prototype",
    "request.querystring.a == null",
    "`${request.querystring.a && request.querystring.a.value}`",
    "require('querystring').stringify({a: (request.querystring.a || {}).value})",
    "request.rawQueryString()",
    "Object.values(event.viewer)",
    "JSON.stringify(event.viewer)",
    "(function () { return arguments[0] }).call(undefined, event.viewer.ip)",
    "arguments[0].request.method",
];

// Requests that differ from one another in one thing each.
fn requests() -> Vec<Asked> {
    let fields = |accept: &[&str], x: Option<&[u8]>, cookies: &[&str]| {
        let mut fields = section(&[("Host", "h.test")]);
        accept.iter().for_each(|accept| fields.push("Accept", accept.as_bytes()));
        if let Some(x) = x {
            fields.push("X", x);
        }
        cookies.iter().for_each(|cookie| fields.push("Cookie", cookie.as_bytes()));
        fields
    };
    let (accept, x, cookie) = (&["a", "b"][..], Some(&b"1"[..]), &["s=1; t=2"][..]);
    let plain = fields(accept, x, cookie);
    let plain = Asked { query: Some("a=1&b"), fields: plain, ..Asked::of("/a") };
    let mut all = vec![plain.clone()];
    let accepts: [&[&str]; 3] = [&["b", "a"], &["a, b"], &["a"]];
    for accept in accepts {
        all.push(Asked { fields: fields(accept, x, cookie), ..plain.clone() });
    }
    let values: [Option<&[u8]>; 5] =
        [None, Some(b""), Some(b"2"), Some(b"gr\xfcn"), Some(b"gr\xc3\xbcn")];
    for x in values {
        all.push(Asked { fields: fields(accept, x, cookie), ..plain.clone() });
    }
    let cookies: [&[&str]; 6] =
        [&[], &["t=2; s=1"], &["s=1", "t=2"], &["s=1; s=1; t=2"], &["s=2; t=2"], &["s; t=2"]];
    for cookie in cookies {
        all.push(Asked { fields: fields(accept, x, cookie), ..plain.clone() });
    }
    for query in [
        None,
        Some(""),
        Some("b&a=1"),
        Some("a=1&b="),
        Some("a=1&a=1&b"),
        Some("a=%31&b"),
        Some("A=1&b"),
        Some("a=1&b&toString=1"),
        Some("a=1&b&__proto__=1"),
    ] {
        all.push(Asked { query, ..plain.clone() });
    }
    let turned = section(&[
        ("COOKIE", "s=1; t=2"),
        ("X", "1"),
        ("ACCEPT", "a"),
        ("accept", "b"),
        ("HOST", "h.test"),
    ]);
    all.push(Asked { fields: turned, ..plain.clone() });
    all.push(Asked { fields: section(&[("Host", "other"), ("Accept", "a")]), ..plain.clone() });
    all.push(Asked { viewer: "2001:db8::1".parse().unwrap(), ..plain.clone() });
    all.push(Asked { method: "HEAD", ..plain });
    all
}

#[test]
fn whatever_way_code_learns_of_a_request_by_is_a_read() {
    let mut engine = Engine::new(patient());
    let all = requests();
    for glance in GLANCES {
        let body = format!("request.uri = '/' + encodeURIComponent(String({glance}))");
        let is_told_apart = tells_apart(&mut engine, &new(&handler(&body)), &all[0], &all[1..]);
        assert!(is_told_apart, "{glance}");
    }
    // What a getter of the result looks at is read as late as that.
    let late = "Object.defineProperty(request.cookies, 'z', {enumerable: true, \
                get() { return {value: String(Object.keys(request.headers).length)} }})";
    assert!(tells_apart(&mut engine, &new(&handler(late)), &all[0], &all[1..]), "{late}");
}

#[test]
fn whatever_way_code_learns_of_an_answer_by_is_a_read() {
    let mut engine = Engine::new(patient());
    let of = |status: u16, lines: &[(&str, &str)]| Asked {
        response: Some((status, section(lines))),
        ..Asked::of("/a")
    };
    let (etag, cookie) = (("ETag", "\"1\""), ("Set-Cookie", "ID=1; Path=/"));
    let known = of(200, &[etag, cookie]);
    let others = [
        of(404, &[etag, cookie]),
        of(200, &[cookie]),
        of(200, &[("ETag", "\"2\""), cookie]),
        of(200, &[etag]),
        of(200, &[etag, ("Set-Cookie", "ID=1")]),
        of(200, &[etag, ("Set-Cookie", "ID=1; Path=/a")]),
        of(200, &[etag, cookie, ("Set-Cookie", "ID=2; Path=/")]),
        of(200, &[etag, cookie, ("Set-Cookie", "B=2")]),
        of(200, &[cookie, etag, etag]),
        Asked { viewer: "2001:db8::1".parse().unwrap(), ..known.clone() },
        Asked { query: Some("a=1"), ..known.clone() },
    ];
    for glance in [
        "response.statusCode",
        "response.statusDescription",
        "'etag' in response.headers",
        "JSON.stringify(response.headers)",
        "Object.keys(response.cookies)",
        "JSON.stringify(response.cookies)",
        "response.cookies.ID && response.cookies.ID.attributes",
        "response.cookies.ID && typeof response.cookies.ID.multiValue",
        "JSON.stringify({...response})",
        "Object.keys(request.querystring)",
        "event.viewer.ip",
    ] {
        let source = format!(
            "function handler(event) {{ var request = event.request, response = event.response; \
             var seen = encodeURIComponent(String({glance})); \
             response.headers['x-seen'] = {{value: seen}}; return response }}"
        );
        assert!(tells_apart(&mut engine, &new(&source), &known, &others), "{glance}");
    }
}

#[test]
fn a_field_that_is_set_on_answers_is_remembered_whatever_else_they_have() {
    let mut engine = Engine::new(patient());
    let source = "function handler(event) { var response = event.response; \
                  response.headers['x-frame-options'] = {value: 'DENY'}; return response }";
    let function = new(source);
    let of = |age: &str| {
        let fields = section(&[("ETag", "\"1\""), ("Age", age), ("X-Frame-Options", "no")]);
        Asked { response: Some((200, fields)), ..Asked::of("/a") }
    };
    assert!(is_remembered(&mut engine, &function, &of("1")));
    let (judged, has_run) = ask(&mut engine, &function, &of("2"));
    assert!(!has_run);
    assert_eq!(judged, run(&mut engine, &function, &of("2")));
    let Ok(Ok(Change::Response(change))) = judged else { panic!("{judged:?}") };
    let fields = change.fields.unwrap();
    let lines: Vec<(&str, &[u8])> =
        fields.iter().map(|(name, value)| (name.spelled(), value.as_bytes())).collect();
    for line in [("Age", &b"2"[..]), ("ETag", &b"\"1\""[..])] {
        assert!(lines.contains(&line), "{lines:?}");
    }
    let options = lines.iter().filter(|(name, _)| name.eq_ignore_ascii_case("x-frame-options"));
    assert_eq!(options.map(|(_, value)| *value).collect::<Vec<_>>(), [&b"DENY"[..]]);
}

#[test]
fn a_query_that_the_code_did_not_read_counts_for_the_length_all_the_same() {
    let mut engine = Engine::new(patient());
    let function = new(&handler("request.uri += 'x'.repeat(8000)"));
    let known = Asked::of("/a");
    assert!(is_remembered(&mut engine, &function, &known));
    let long: &'static str = Box::leak("q".repeat(400).into_boxed_str());
    let (judged, _) = ask(&mut engine, &function, &Asked { query: Some(long), ..known });
    assert!(matches!(judged, Ok(Err(_))), "{judged:?}");
}

#[test]
fn what_is_kept_has_a_bound_and_rests_where_little_is_asked_twice() {
    let most = 64 << 10;
    let mut engine = Engine::new(FunctionLimits { remember: most, ..patient() });
    let function = new(&handler("request.uri += 'i'"));
    let popular = Asked::of("/popular");
    for n in 0..1_000 {
        let _ = ask(&mut engine, &function, &Asked::of(&format!("/{n}")));
        let _ = ask(&mut engine, &function, &popular);
    }
    let kept = engine.kept(&function);
    assert!(kept.octets <= most as u64 && kept.results > 50, "{kept:?}");
    assert!(!ask(&mut engine, &function, &popular).1, "what is asked for stays");
    assert_eq!(kept.rests, 0);
    for n in 0..12_000 {
        let _ = ask(&mut engine, &function, &Asked::of(&format!("/only/{n}")));
    }
    let kept = engine.kept(&function);
    assert!(kept.rests == 1 && kept.octets <= most as u64, "{kept:?}");
    assert!(ask(&mut engine, &function, &popular).1, "it rests");
}

/// What handlers of requests are put together from.
const STEPS: &[&str] = &[
    "request.uri += 'i'",
    "if (request.headers.host) request.uri = '/' + request.headers.host.value",
    "if (request.cookies.s && request.cookies.s.value === '1') request.uri = '/s'",
    "request.headers['x-n'] = {value: request.querystring.a ? request.querystring.a.value : 'none'}",
    "if (request.querystring.b) return {statusCode: 302, headers: {location: {value: '/b' + event.viewer.ip}}}",
    "for (var n in request.headers) request.uri += n.length",
    "request.querystring = {q: {value: '' + request.rawQueryString()}}",
    "delete request.headers.accept",
    "request.cookies.t = {value: '2'}",
    "request.headers.accept = {value: 'z'}",
    "if ('accept' in request.headers && request.headers.accept.multiValue) request.uri += 'many'",
    "if (request.uri.length > 9) throw new Error('long')",
    "request.uri = request.uri.toLowerCase() + JSON.stringify(request.cookies).length",
    "request = Object.assign({}, request)",
    "if (request.method === 'HEAD') delete request.querystring",
    "request.querystring.c = request.querystring.a",
    "request.uri += Object.keys(request.querystring).join()",
    "if (event.viewer.ip === '192.0.2.2') require('cloudfront').selectRequestOriginById('o')",
    "if (request.cookies.t) request.uri += Math.random() < 2",
];

/// The same of responses.
const ANSWERS: &[&str] = &[
    "response.headers['x-uri'] = {value: request.uri}",
    "response.headers.server = {value: 's'}",
    "if (response.statusCode === 404) response.statusCode = 410",
    "delete response.cookies.ID",
    "response.cookies.N = {value: '1', attributes: 'Path=/' + request.uri.length}",
    "if (response.headers.etag) response.headers['x-etag'] = {value: response.headers.etag.value}",
    "if (request.cookies.s) response.body = 'b' + request.cookies.s.value",
    "delete response.headers.server",
    "response.statusDescription += 'x'",
];

fn asked() -> impl Strategy<Value = Asked> {
    let lines = (
        prop::sample::select(vec![None, Some("h.test"), Some("H")]),
        prop::sample::select(vec![None, Some("s=1"), Some("s=2; t=1"), Some("s=1; s=2")]),
        prop::sample::select(vec![vec![], vec!["a"], vec!["a", "b"], vec!["a, b"]]),
    );
    let response = (
        any::<bool>(),
        prop::sample::select(vec![200_u16, 404]),
        prop::sample::select(vec![None, Some("\"1\""), Some("\"2\"")]),
        prop::sample::select(vec![None, Some("ID=1; Path=/"), Some("ID=1")]),
    );
    (
        prop::sample::select(vec!["GET", "HEAD"]),
        prop::sample::select(vec!["/", "/a", "/LONG/er"]),
        prop::sample::select(vec![None, Some(""), Some("a=1"), Some("a=1&b"), Some("b=2&a=3&a")]),
        lines,
        prop::sample::select(vec!["192.0.2.1", "192.0.2.2", "2001:db8::1"]),
        response,
    )
        .prop_map(|(method, uri, query, (host, cookie, accept), viewer, response)| {
            let mut fields = FieldSection::new();
            host.iter().for_each(|host| fields.push("Host", host.as_bytes()));
            cookie.iter().for_each(|cookie| fields.push("Cookie", cookie.as_bytes()));
            accept.iter().for_each(|accept| fields.push("Accept", accept.as_bytes()));
            let (is_answered, status, etag, cookie) = response;
            let response = is_answered.then(|| {
                let mut fields = section(&[("Server", "o"), ("Age", "1")]);
                etag.iter().for_each(|etag| fields.push("ETag", etag.as_bytes()));
                cookie.iter().for_each(|cookie| fields.push("Set-Cookie", cookie.as_bytes()));
                (status, fields)
            });
            let viewer = viewer.parse().unwrap();
            Asked { method, uri: uri.into(), query, fields, viewer, response }
        })
}

thread_local! {
    // Making a realm takes longer than all else that a case does.
    static REMEMBERING: RefCell<Engine> = RefCell::new(Engine::new(patient()));
    static FORGETFUL: RefCell<Engine> =
        RefCell::new(Engine::new(FunctionLimits { remember: 0, ..patient() }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(192))]

    #[test]
    fn what_is_remembered_is_what_the_code_says(
        steps in prop::collection::vec(prop::sample::select(STEPS), 1..5),
        answers in prop::collection::vec(prop::sample::select(ANSWERS), 1..4),
        is_async in any::<bool>(),
        events in prop::collection::vec(asked(), 1..12),
        order in prop::collection::vec(any::<prop::sample::Index>(), 60),
    ) {
        let asynchronous = if is_async { "async " } else { "" };
        let source = format!(
            "{asynchronous}function handler(event) {{ var request = event.request, response = event.response; \
             if (response) {{ {}; return response }} {}; return request }}",
            answers.join("; "),
            steps.join("; ")
        );
        let function = new(&source);
        REMEMBERING.with_borrow_mut(|engine| FORGETFUL.with_borrow_mut(|forgetful| {
            engine.prepare(&[std::sync::Arc::clone(&function)]);
            forgetful.prepare(&[std::sync::Arc::clone(&function)]);
            for at in order {
                let asked = at.get(&events);
                let (judged, _) = ask(engine, &function, asked);
                prop_assert_eq!(judged, run(forgetful, &function, asked), "{} {:?}", source, asked);
            }
            prop_assert_eq!(engine.kept(&function).differences, 0);
            Ok(())
        }))?;
    }
}
