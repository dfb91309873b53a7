//! Code that takes too much, that breaks out, or that leaves something behind.

use std::sync::Arc;
use std::time::Duration;

use super::{EAGER, World, called, function, handler, patient, request};
use crate::distribution::functions::{FunctionLimits, Level, Runtime};
use crate::functions::engine::Engine;
use crate::functions::event::{CallFailure, Returned};

/// What an attack must come to.
#[derive(Clone, Copy, Debug)]
enum End {
    Late,
    Memory,
    Throws(&'static str),
    /// Stopped by whichever limit it meets first.
    Either,
}

const TOO_LONG: End = End::Throws("RangeError: an array of length");
const NO_TEXT: End = End::Throws("EvalError");

/// Bodies of a handler (§4.3 of the design, and what was found beside it). `await` in a body makes
/// the handler asynchronous.
const ATTACKS: &[(&str, End)] = &[
    ("for (;;);", End::Late),
    ("for (;;) { try { for (;;); } finally { continue } }", End::Late),
    ("try { for (;;); } catch (e) {}", End::Late),
    ("for (;;) await null", End::Late),
    (
        "await new Promise(function () { function f() { Promise.resolve().then(f) } f() })",
        End::Late,
    ),
    ("try { await (async function () { for (;;); })() } catch (e) {}", End::Late),
    ("/(a+)+$/.test('aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaab')", End::Late),
    ("Array.prototype.forEach.call({length: 1e9}, function () {})", End::Late),
    ("Array.prototype.indexOf.call({length: 1e9}, 1)", TOO_LONG),
    ("Array.prototype.includes.call({length: 1e9}, 1)", TOO_LONG),
    ("for (;;) console.log('x')", End::Late),
    ("for (;;) Date.now()", End::Late),
    ("var a = []; for (;;) a.push(a.length + 'x')", End::Either),
    ("var s = 'x'; for (;;) s += s", End::Either),
    ("'x'.repeat(1e9)", End::Memory),
    ("'x'.padStart(1e9)", End::Memory),
    ("new Uint8Array(1e9)", End::Memory),
    ("Math.max.apply(null, {length: 1e9})", End::Throws("RangeError")),
    ("function f() { return f() + 1 } f()", End::Throws("RangeError: Maximum call stack")),
    ("new Array(1e9) + ''", TOO_LONG),
    ("new Array(1e9).reverse()", TOO_LONG),
    ("new Array(1e9).sort()", TOO_LONG),
    ("new Array(1e9).slice()", TOO_LONG),
    ("[].concat(new Array(1e9))", TOO_LONG),
    ("new Array(1e9).fill(0)", TOO_LONG),
    ("Array.prototype.join.call({length: 9007199254740991})", TOO_LONG),
    ("Array.prototype.reverse.call({length: 9007199254740991})", TOO_LONG),
    (
        "var n = 0; Array.prototype.join.call({get length() { return n++ ? 1e15 : 1 }})",
        End::Throws("TypeError: length"),
    ),
    ("JSON.stringify(new Array(1e9))", TOO_LONG),
    ("JSON.stringify({a: [new Array(1e9)]})", TOO_LONG),
    ("String.raw({raw: {length: 1e9}})", End::Throws("Error: ")),
    ("(function () {}).constructor('return 1')", NO_TEXT),
    ("(async function () {}).constructor('return 1')", NO_TEXT),
    ("new Function('return 1')", NO_TEXT),
    ("eval('1')", NO_TEXT),
    ("for (;;) 'x'.normalize()", End::Either),
    ("var x = BigInt(2); for (;;) x *= x", End::Throws("ReferenceError")),
    ("Object.prototype.x = 1", End::Throws("TypeError")),
    ("Object.prototype.toString = 1", End::Throws("TypeError")),
    ("Array.prototype.push = 1", End::Throws("TypeError")),
    (
        "'a'.repeat(500000).indexOf('a'.repeat(250000) + 'b')",
        End::Throws("RangeError: such a search"),
    ),
    ("var s = 'A'.repeat(500000); for (;;) s.toLowerCase()", End::Late),
    (
        "var h = require('crypto'); for (;;) h.createHash('sha256').update('x'.repeat(500000)).digest('hex')",
        End::Either,
    ),
];

#[test]
fn attacks_end() {
    let limits = FunctionLimits { stop: Duration::from_millis(10), ..patient() };
    for level in [Level::CloudFront, Level::Any] {
        let mut engine = Engine::new(limits);
        for (body, wanted) in ATTACKS {
            let source = handler(body);
            let source = if body.contains("await") { format!("async {source}") } else { source };
            let function = function(&source, Runtime::Js2, level);
            engine.prepare(std::slice::from_ref(&function));
            let (returned, _) = World::new().call(&mut engine, &function);
            let is_good = match (wanted, &returned) {
                // Whatever it was to come to, a machine that is busy may stop it before.
                (_, Err(CallFailure::TooLong)) => true,
                (End::Memory | End::Either, Err(CallFailure::TooMuchMemory)) => true,
                (End::Either, Err(CallFailure::Threw(_))) => true,
                (End::Throws(what), Err(CallFailure::Threw(why))) => why.contains(what),
                _ => false,
            };
            assert!(is_good, "{body}: {wanted:?} and {returned:?}");
            // The next call is not the worse for it.
            let next = super::function(&handler("request.uri = '/n'"), Runtime::Js2, level);
            let mut lenient = Ok(Returned::Unchanged);
            for _ in 0..20 {
                lenient = World::new().call(&mut engine, &next).0;
                if lenient != Err(CallFailure::TooLong) {
                    break;
                }
            }
            assert_eq!(request(lenient).uri.as_deref(), Some("/n"), "after {body}");
        }
    }
}

#[test]
fn a_call_leaves_nothing_to_the_next() {
    let source = "var calls = 0; var seen = typeof globalThis.left;
        function handler(event) { calls++; globalThis.left = 1; console.log(calls + seen);
            try { require('crypto').left = 1 } catch (e) { console.log('frozen') }
            event.request.__proto__.left = 1;
            return event.request }";
    let mut engine = Engine::new(patient());
    let function = function(source, Runtime::Js2, Level::CloudFront);
    for _ in 0..2 {
        let (returned, lines) = World::new().call(&mut engine, &function);
        assert_eq!(lines, ["1undefined", "frozen"]);
        // The prototype is the realm's own: writing to it fails, in strict code with an error.
        assert!(matches!(returned, Err(CallFailure::Threw(_))), "{returned:?}");
    }
}

#[test]
fn a_call_that_found_no_memory_leaves_nothing_to_the_next() {
    let mut other = World::new();
    other.request.push("X-Secret", b"s3cret");
    let mut engine = Engine::new(patient());
    let of = |body: &str| function(&handler(body), Runtime::Js2, Level::CloudFront);
    let look = of("console.log(JSON.stringify(event))");
    let plain = of("");
    // Holds all the memory that there is but for some, so that the next call ends somewhere while
    // it puts the event in order.
    for left in 0..64 {
        let hoard = of(&format!(
            "request.u = JSON.stringify(event); var host = request.headers.host; host.junk = null; \
             try {{ for (;;) host.junk = {{j: host.junk}} }} catch (e) {{}} \
             for (var n = 0; n < {left}; n++) host.junk = host.junk.j"
        ));
        engine.prepare(&[Arc::clone(&hoard), Arc::clone(&plain), Arc::clone(&look)]);
        let _ = other.call(&mut engine, &hoard);
        let _ = World::new().call(&mut engine, &plain);
        let (returned, lines) = World::new().call(&mut engine, &look);
        assert!(!lines.concat().contains("s3cret"), "{left}: {lines:?}");
        if returned.is_ok() {
            assert_eq!(lines, [EAGER], "{left}");
        }
    }
}

#[test]
fn what_no_global_leads_to_is_frozen_as_well() {
    let made = ["/a/g[Symbol.matchAll]('a')", "[].values().map(function (x) { return x })"];
    let loose = [
        "new Map().entries()",
        "new Set().values()",
        "Iterator.from({next: function () {}})",
        "Iterator.concat([])",
    ];
    let mut engine = Engine::new(patient());
    let strict = made.iter().map(|one| (*one, Level::CloudFront));
    let any = made.iter().chain(&loose).map(|one| (*one, Level::Any));
    for (one, level) in strict.chain(any) {
        let body = format!("console.log(Object.isFrozen(Object.getPrototypeOf({one})))");
        let function = function(&handler(&body), Runtime::Js2, level);
        assert_eq!(World::new().call(&mut engine, &function).1, ["true"], "{one} {level:?}");
    }
    // What it calls would run in a later call.
    let body = handler("console.log(typeof FinalizationRegistry)");
    let function = function(&body, Runtime::Js2, Level::Any);
    assert_eq!(World::new().call(&mut engine, &function).1, ["undefined"]);
}

#[test]
fn what_an_import_is_bound_to_stays() {
    let source = "import q from 'querystring';
        function handler(event) {
            try { __import0 = {left: 1} } catch (e) {}
            try { q = {left: 1} } catch (e) {}
            console.log(typeof __import0 + typeof q.left); return event.request }";
    for _ in 0..2 {
        assert_eq!(called(&World::new(), source).1, ["undefinedundefined"]);
    }
}

#[test]
fn objects_of_the_code_take_any_property() {
    let body = "var o = {}; o.toString = 'a'; o['__proto__x'] = 1; var e = new Error('x'); e.message = 'm'; e.name = 'N'; \
                function F() {} F.prototype.toString = function () { return 'F!' }; \
                console.log(o.toString + Object.keys(o).length + e + new F())";
    assert_eq!(called(&World::new(), &handler(body)).1, ["a2N: mF!"]);
}

#[test]
fn many_calls_cost_no_memory() {
    let mut engine = Engine::new(patient());
    let source = "function helper(of) { return helper.calls ? of : of }
        function handler(event) { var request = event.request; request.headers.x = {value: helper('y')};
            request.uri += JSON.stringify(request.cookies).length; return request }";
    let function = function(source, Runtime::Js2, Level::CloudFront);
    engine.prepare(std::slice::from_ref(&function));
    for at in 0..20_000 {
        let (returned, _) = World::new().call(&mut engine, &function);
        assert!(returned.is_ok(), "call {at}: {returned:?}");
    }
}

#[test]
fn what_is_not_used_any_more_is_forgotten() {
    let mut engine = Engine::new(patient());
    let one = function(&handler(""), Runtime::Js1, Level::CloudFront);
    let bad = function("(", Runtime::Js2, Level::CloudFront);
    engine.prepare(&[Arc::clone(&one), Arc::clone(&bad)]);
    assert!(engine.realms[0].as_ref().unwrap().compiled(&one.digest).is_some());
    assert!(matches!(World::new().call(&mut engine, &bad).0, Err(CallFailure::NotCompiled(_))));
    engine.prepare(std::slice::from_ref(&bad));
    assert!(engine.realms[0].is_none());
    engine.prepare(&[]);
    assert!(engine.failures.is_empty() && engine.realms[1].is_none());
    // What was never made ready is made so on the first call.
    assert_eq!(World::new().call(&mut engine, &one).0, Ok(Returned::Unchanged));
}
