//! The language of CloudFront Functions: what each runtime takes and refuses, and tricky places of
//! the grammar. Where njs is at hand, it is asked about the same snippets: it is what CloudFront's
//! engine is taken for.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use foreshore::distribution::functions::{Level, Runtime};
use foreshore::functions::level::{Finding, Severity, check};

use super::support::tool::{Tool, have};

/// Taken by 2.0 without an error.
const ACCEPTED: &[&str] = &[
    "let a = 1; const b = 2; var c = 3;",
    "for (const k in {}) { let v = k; }",
    "for (let i = 0, n = 3; i < n; i++) {}",
    "var f = a => a; var g = (a, b) => { return a + b; }; var h = () => ({ a: 1 });",
    "function f(a, ...rest) { return rest.concat(a); }",
    "var f = (...all) => all; var g = (a, ...more) => more;",
    "var a = 1; var o = { a, ['b' + a]: 2, c() {}, 'd': 3, 4: 5, };",
    "var o = { get a() { return 1; }, set a(v) {}, get: 1, set: 2, async: 3, get if() { return 1; } };",
    "var o = { async a() { await 1; }, get [1 + 1]() { return 2; } }; o.if = o.await;",
    "var a = [1, , 2, ]; function f(x, y, ) {} f(a, a, );",
    "var a = 2 ** 3 ** 2; a **= 2; a = (-a) ** 2; a = null ?? 1; a >>>= 2;",
    "outer: for (;;) { for (;;) { continue outer; } } a: { break a; }",
    "a: b: while (1) { continue a; }",
    "var n = 1_000 + 0xff_ff + 0b11 + 0o17 + 1.5e-3 + .5 + 5. + 1..toFixed(1);",
    "var r = /(?<year>\\d+)/.exec('1').groups.year; r = /(?<=a)b(?<!c)/gimy;",
    "async function f() { await 1; var g = async () => await 2; return g; }",
    "async function f(x) { if (await x) { while (await x) {} } return [await x, { a: await x }]; }",
    "async function f(x) { (await x).y(1); (await x)(1); return x[await x] + (await x ? await x : !await x); }",
    "async function f(x) { for (var i = await x; await x; i++) {} try { throw await x; } catch (e) { await e; } }",
    "async function f(x) { x(async () => { await x; }); x(async function () { await x; }); x(async y => await y); }",
    "async function f(x) { switch (await x) { case await x: break; default: await x; } }",
    "(async () => { await 1; })();",
    "var t = `a${1}b${`c${2 + `d`}`}e`; t = `line\nline \\` \\${ $ { }`;",
    "var t = `${{ a: 1 }.a}${function () { return `}`; }()}`;",
    "function f(s) { return s; } f`x${1}y`;",
    "import crypto from 'crypto'; import qs from 'querystring'; import b from 'buffer'; import cf from 'cloudfront';",
    "var c = require('crypto'); c.createHash('md5').update('a').digest('hex');",
    "import cf from 'cloudfront'\nconst kvs = cf.kvs()\nasync function f(k) { return await kvs.get(k, { format: 'json' }) }",
    "try { } catch (e) { } finally { } try { } finally { }",
    "switch (1) { case 1: let b = 1; default: }",
    "do ; while (0) var a = 1;",
    "if (1) ; else if (2) { } else ;",
    "debugger; ;;; 'use strict'; void 0;",
    "var a, b; a = b\n++b\na\n(b)",
    "function f() { return\n1 }",
    "function f() { var a = 1\n  return a\n}",
    "var x = 1\nvar y = 2\n;[x, y].forEach(function (z) { return z })",
    "var async = 1, of = 2, get = 3, from = 4, as = 5; async = of; async\nof",
    "var f = function g() { return g; }; new f; new f().a; new (f())(1); new f.a.b(1).c;",
    "Buffer.from('a').toString('base64'); new TextEncoder().encode('a'); atob('YQ=='); Symbol.for('a');",
    "Promise.all([]).then(function () {}); Promise.allSettled([]); Object.entries({}); 'a'.replaceAll('a', 'b');",
    "if (typeof setTimeout === 'function') { var a = typeof Map; }",
    "var Map = 1; function f(URL) { return URL + Map; }",
    "var o = { at: function () {} }; o.at(1); o.flat = function () {}; o.flat();",
    "function f() { return arguments.length + this; } console.log('a');",
    "try { null.a; } catch (e) { var e = 1; }",
    "var f = (a, b) => ({ a, b }), x = 1 ? (2) : y => 3, z = 1 ? (p, q) => p : 2, y;",
    "function f(a) { if (a) { var b = 1; } else { var b = 2; } return b; } function g(f) { function f() {} }",
    "var a = { b: 1 }; delete a.b; delete a['b']; a.b++; --a.b; a['b'] += 1; (a.b) = 1; (a) = 1;",
    "for (var i = ('a' in {}); ;) break; for (var j = [1 in [2]]; ;) break;",
    "if (x instanceof Function) { } var x = y in x, y;",
];

/// Where a token ends, and whether `/` divides.
const LEXING: &[&str] = &[
    "var a = 1, b = 2, g = 3, c = a / b / g;",
    "var a = 1, g = 1; a++ / g / 2; a-- / g;",
    "var a = [1], g = 1; (a) / g / 2; a[0] / g / 2; ({}) / g / 2;",
    "if (1) /x/.test('x'); while (0) /[/\\]]+/g.test('x');",
    "function f() { return /x/.test('x') }",
    "var a = 1\n/x/g.length", // Divides: no semicolon is put there.
    "{ } /x/.test('x'); ; /=/.test('=');",
    "var a = typeof /x/, b = void /x/g, c = !/x/.test('x'), d = [/x/, /y/], e = { f: /z/ };",
    "var f = function () { } / 2, o = { } / 2, t = `x` / 2, s = 'x' / 2, r = /x/ / 2;",
    "var a = 1 ? /x/ : /y/, b = a => /z/, c = a && /w/ || /v/;",
    "switch (1) { case /x/.test('a'): }",
    "var a = 1, b = a/* / */ / /* x */2 // / 3\n;",
    "var a = 1; a /= 2; var b = /=2/;",
    "var r = /\\//, s = /[\\]/]/, t = /a|/;",
    "`${/`/.test('x')}${'}'}${/* } */ 1}`;",
    "`${`${`${1}`}`}` + `a` + ``;",
    "var a = 'a\\\nb', b = \"\\u0041\\x41\\u{1F600}\\0\", c = '\\'\\\"\\\\\\z';",
    "var a = 1?.5:2, b = a?.1:.2;",
    "a: /x/.test('x')\nvar b = 1\n--b",
    "#!/usr/bin/env njs\nvar a;",
    "\u{feff}var\u{a0}a\u{2028}var b",
    "var a = 0, b = 0.1, c = 0e1, d = 0x0, e = 1e+1;",
    "a = b\n/* comment\n*/c\nvar a, b, c",
];

/// What 2.0 refuses, by rule.
const REFUSED: &[(&str, &str)] = &[
    ("spread-call", "Math.max(...[1, 2]);"),
    ("spread-call", "new Date(...[1, 2]);"),
    ("spread-array", "var a = [...[1]];"),
    ("spread-object", "var o = { ...{ a: 1 } };"),
    ("default-parameter", "function f(a = 1) { }"),
    ("default-parameter", "var f = (a = 1) => a;"),
    ("default-parameter", "var o = { f(a, b = 2) { } };"),
    ("destructuring", "var { a } = { a: 1 };"),
    ("destructuring", "let [a, b] = [1, 2];"),
    ("destructuring", "const { a: { b = 1 }, ...c } = { a: {} };"),
    ("destructuring", "function f({ a }) { }"),
    ("destructuring", "var f = ({ a, b = 1 }) => a;"),
    ("destructuring", "var f = ([a], { b: [c] }) => a;"),
    ("destructuring", "var f = ({ a = b }) => { let b = a; };"),
    ("destructuring", "var a, b; [a, b] = [b, a];"),
    ("destructuring", "var a, c = {}; ({ a, b: c.b, ['d']: c.d } = {});"),
    ("destructuring", "try { } catch ({ message }) { }"),
    ("destructuring", "for (var [a] in {}) { }"),
    ("for-of", "for (var x of [1]) { }"),
    ("for-of", "var x; for (x of [1]) { }"),
    ("for-await", "async function f(x) { for await (var y of x) { } }"),
    ("class", "class A { }"),
    (
        "class",
        "var A = class extends Object { #a = 1; static b = 2; get c() { return this.#a; } static { } 'd'() { } };",
    ),
    ("generator", "function* g() { yield 1; yield* []; yield }"),
    ("generator", "var o = { *g() { } };"),
    ("generator", "var g = async function* () { };"),
    ("optional-chain", "var o = {}; o?.a.b;"),
    ("optional-chain", "var o = {}; o.a?.[1]?.(2);"),
    ("logical-assignment", "var a; a ??= 1;"),
    ("logical-assignment", "var a; a ||= 1;"),
    ("logical-assignment", "var a; a &&= 1;"),
    ("bigint", "var a = 1n;"),
    ("bigint", "var a = 0xffn;"),
    ("catch-without-binding", "try { } catch { }"),
    ("new-target", "function F() { return new.target; }"),
    ("regex-flag", "var a = /a/u;"),
    ("regex-flag", "var a = /a/s;"),
    ("regex-flag", "var a = /a/v;"),
    ("regex-flag", "var a = /a/dg;"),
    ("named-import", "import { createHash } from 'crypto';"),
    ("named-import", "import { createHash as c, 'x' as d } from 'crypto';"),
    ("namespace-import", "import * as c from 'crypto';"),
    ("bare-import", "import 'crypto';"),
    ("dynamic-import", "import('crypto');"),
    ("import-meta", "import.meta.url;"),
    ("export", "export default 1;"),
    ("export", "export { handler };"),
    ("export", "export const a = 1;"),
    ("top-level-await", "await 1;"),
    ("await-in-arguments", "async function f(x) { x(await x); }"),
    ("await-in-arguments", "async function f(x) { x.y(1 + (await x)); }"),
    ("await-in-arguments", "async function f(x) { x([await x]); }"),
    ("await-in-arguments", "async function f(x) { x({ a: x ? await x : 1 }); }"),
    ("await-in-arguments", "async function f(x) { new x(await x); }"),
    ("await-in-arguments", "async function f(x) { x(1)(await x); }"),
    ("await-in-arguments", "async function f(x) { return `a${x(await x)}`; }"),
    ("await-in-arguments", "async function f(x) { x(`${await x}`); }"),
    ("super", "var o = { a() { return super.a; } };"),
    ("name-beyond-ascii", "var é = 1;"),
    ("name-beyond-ascii", "var \\u0061b = 1;"),
    ("name-beyond-ascii", "var o = {}; o.ü = 1;"),
    ("declared-twice", "function a() { } function a() { }"),
    ("declared-twice", "var a; function a() { }"),
    ("module", "import fs from 'fs';"),
];

/// What 2.0 takes and cannot run: built-ins and modules that are not there.
const ABSENT: &[&str] = &[
    "var a = new Map();",
    "new Set([1]);",
    "new WeakMap();",
    "new Proxy({}, {});",
    "Reflect.ownKeys({});",
    "new URL('https://a');",
    "new URLSearchParams('a=b');",
    "Intl.NumberFormat();",
    "structuredClone({});",
    "Object.fromEntries([]);",
    "[1].flat();",
    "[1].at(-1);",
    "'a'.matchAll(/a/g);",
    "'a'.normalize();",
    "'a'.localeCompare('b');",
    "setTimeout(function () { }, 1);",
    "function f() { return fetch('https://a'); }",
    "new XMLHttpRequest();",
    "process.env.A;",
    "eval('1');",
    "new Function('return 1');",
    "Function('return 1')();",
    "BigInt(1);",
    "console.error('a');",
    "module.exports = 1;",
    "'a'.toUTF8();",
    "function f(Map) { } new Map();",
    "try { } catch (e) { console.error(e); }",
    "try { new Map(); } finally { }",
    "if (typeof Map) { } new Set();",
];

/// The same where the code asks first, or catches what comes of it.
const MET: &[&str] = &[
    "if (typeof(exports) !== 'undefined') { exports.handler = null; }",
    "var a = typeof ( URL ) === 'function' ? new URL('https://a') : null;",
    "if (typeof fetch === 'function') { fetch('https://a'); }",
    "try { new Map(); } catch (e) { }",
    "try { [1].flat(); } catch (e) { } finally { }",
    "try { try { throw 1; } catch (e) { console.error(e); } } catch (e) { }",
    "try { Object.fromEntries([]); } catch (e) { }",
];

/// No JavaScript in strict code.
const NONSENSE: &[&str] = &[
    "with (a) { }",
    "var a = 010;",
    "var a = 08;",
    "var a = '\\07';",
    "var a = '\\8';",
    "delete a;",
    "function f(a, a) { }",
    "var f = (a, a) => 1;",
    "eval = 1;",
    "arguments = 1;",
    "eval++;",
    "var eval;",
    "function f(eval) { }",
    "try { } catch (arguments) { }",
    "var let = 1;",
    "var static;",
    "var yield;",
    "var interface;",
    "var enum;",
    "let a; let a;",
    "let a; var a;",
    "{ var a; } let a;",
    "function f(a) { let a; }",
    "try { } catch (e) { let e; }",
    "{ function a() { } function a() { } }",
    "switch (1) { case 1: let b; default: let b; }",
    "const a;",
    "for (const a; ;) { }",
    "var { a };",
    "if (1) function f() { }",
    "if (1) let a;",
    "while (0) class A { }",
    "a: function f() { }",
    "a: a: ;",
    "break;",
    "continue;",
    "if (1) break;",
    "a: { continue a; }",
    "for (;;) { (function () { break; })(); }",
    "return 1;",
    "function f() { await 1; }",
    "async function f() { return function () { await 1; }; }",
    "throw\n1;",
    "1 = 2;",
    "a++ = 1;",
    "this = 1;",
    "(a, b) = 1;",
    "a + b = 1;",
    "[a + 1] = [2];",
    "({ a: 1 } = {});",
    "({ a = 1 });",
    "f({ a = 1 });",
    "({ a = 1 }).b;",
    "[...a, b] = c;",
    "(a?.b) = 1; a?.b = 1;",
    "-1 ** 2;",
    "typeof 1 ** 2;",
    "a ?? b || c;",
    "a && b ?? c;",
    "a ?? b && c;",
    "(a, );",
    "( );",
    "(...a);",
    "() => ;",
    "() + 1;",
    "var f = ()\n=> 1;",
    "(a + 1) => 1;",
    "((a)) => 1;",
    "(a.b) => 1;",
    "(...a, ) => 1;",
    "(...a = 1) => 1;",
    "() => { } || 1;",
    "1 + () => 1;",
    "!() => 1;",
    "async a\n=> 1;",
    "function f(...a, b) { }",
    "function f(...a, ) { }",
    "function f(...a = 1) { }",
    "var o = { get a(b) { return 1; } };",
    "var o = { set a() { } };",
    "var o = { if };",
    "var o = { 'a' };",
    "var o = { 1 };",
    "var o = { a: };",
    "var a b;",
    "var a = ;",
    "f(a b);",
    "f(,);",
    "[1 2];",
    "if 1 { }",
    "else { }",
    "do { } while;",
    "for (var i = 0; i < 3) { }",
    "for (var i = 0 in {}) { }",
    "for (f() of []) { }",
    "try { }",
    "switch (1) { default: default: }",
    "case 1:",
    "var a = {",
    "function f() {",
    "}",
    ")",
    "var a = 'a",
    "var a = 'a\nb';",
    "var a = `a",
    "var a = `a${1`;",
    "var a = `\\u{zz}`;",
    "var a = `\\01`;",
    "/* a",
    "var a = /a",
    "var a = /a\n/;",
    "var a = /[/;",
    "var a = /a/gg;",
    "var a = /a/x;",
    "var a = 1__0;",
    "var a = 1_;",
    "var a = 0_1;",
    "var a = 0b12;",
    "var a = 0xg;",
    "var a = 1e;",
    "var a = 1.5n;",
    "var a = 3in [];",
    "5.toString();",
    "var a = '\\x4';",
    "var a = '\\u{110000}';",
    "var a = '\\u12';",
    "var \\u0030a;",
    "a @ b;",
    "# ;",
    "a.#b.c d;",
    "<!-- a",
    "var a = 1, b = a <!--a;",
    "new a?.b();",
    "a?.b`c`;",
    "import c from crypto;",
    "function f() { import c from 'crypto'; }",
    "function f() { export var a; }",
    "import c, d from 'crypto';",
    "class A { constructor( }",
    "function () { }",
    "async function () { }",
    "var f = function (a { };",
];

/// What 1.0 refuses, by all rules that a snippet breaks.
const FIRST: &[(&[&str], &str)] = &[
    (&["let"], "let a = 1;"),
    (&["const"], "const a = 1;"),
    (&["async"], "async function f() { await 1; }"),
    (&["async"], "var f = async () => 1;"),
    (&["async"], "var o = { async f() { } };"),
    (&["absent"], "Buffer.from('a');"),
    (&["absent"], "Promise.all([]);"),
    (&["absent"], "'a'.replaceAll('a', 'b');"),
    (&["absent"], "Array.from('a');"),
    (&["module"], "import cf from 'cloudfront';"),
    (&["module"], "var b = require('buffer');"),
    (&["for-of", "const"], "for (const a of []) { }"),
    (&[], "var f = (...a) => `${a}`; var c = require('crypto'); 'a'.toUTF8(); 2 ** 3;"),
    (&[], "function require(a) { } require('anything');"),
];

const HANDLER: &str = "\nfunction handler(event) { return event.request; }\n";

fn found(snippet: &str, runtime: Runtime, level: Level) -> Vec<Finding> {
    check(&format!("{snippet}{HANDLER}"), runtime, level)
}

// The rules of all errors.
fn errors(snippet: &str, runtime: Runtime) -> Vec<&'static str> {
    let all = found(snippet, runtime, Level::CloudFront);
    all.iter().filter(|one| one.severity == Severity::Error).map(|one| one.rule).collect()
}

#[test]
fn what_cloudfront_takes_is_taken() {
    for snippet in ACCEPTED.iter().chain(LEXING) {
        let all = found(snippet, Runtime::Js2, Level::CloudFront);
        let bad = all.iter().find(|one| one.severity == Severity::Error);
        assert!(bad.is_none(), "{snippet}\n{}", bad.map(ToString::to_string).unwrap_or_default());
        assert!(found(snippet, Runtime::Js2, Level::Any).is_empty(), "{snippet}");
    }
}

#[test]
fn what_cloudfront_refuses_is_named() {
    let everywhere = ["import-meta", "top-level-await"];
    for (rule, snippet) in REFUSED {
        let errors = errors(snippet, Runtime::Js2);
        assert!(
            errors.iter().all(|one| one == rule) && !errors.is_empty(),
            "{snippet}: {errors:?}"
        );
        let runs_here = found(snippet, Runtime::Js2, Level::Any).is_empty();
        assert_ne!(runs_here, everywhere.contains(rule), "{snippet}");
    }
    for snippet in MET {
        let all = found(snippet, Runtime::Js2, Level::CloudFront);
        let said: Vec<_> = all.iter().map(|one| (one.rule, one.severity)).collect();
        assert_eq!(said, [("absent", Severity::Warning)], "{snippet}");
    }
    for snippet in ABSENT {
        assert_eq!(errors(snippet, Runtime::Js2), ["absent"], "{snippet}");
        assert!(found(snippet, Runtime::Js2, Level::Any).is_empty(), "{snippet}");
    }
}

#[test]
fn what_is_no_javascript_is_one_finding() {
    for snippet in NONSENSE {
        for level in [Level::CloudFront, Level::Any] {
            let all = found(snippet, Runtime::Js2, level);
            assert_eq!(all.len(), 1, "{snippet}");
            assert_eq!(all[0].rule, "syntax", "{snippet}: {}", all[0]);
        }
    }
}

#[test]
fn the_first_runtime_has_less() {
    for (rules, snippet) in FIRST {
        let mut errors = errors(snippet, Runtime::Js1);
        errors.sort_unstable();
        let mut rules = rules.to_vec();
        rules.sort_unstable();
        assert_eq!(errors, rules, "{snippet}");
    }
}

#[test]
fn what_may_go_wrong_is_a_warning() {
    for (rule, snippet) in [
        ("await-in-template", "async function f(x) { return `${await x}`; }"),
        ("console-arguments", "console.log('a', 1);"),
        ("unlisted", "Array.from('a');"),
        ("undeclared", "reqeust.uri = '/';"),
    ] {
        let all = found(snippet, Runtime::Js2, Level::CloudFront);
        assert_eq!(all.len(), 1, "{snippet}");
        assert_eq!((all[0].rule, all[0].severity), (rule, Severity::Warning), "{snippet}");
    }
}

#[test]
fn a_handler_is_wanted_at_the_top() {
    let rules = |source: &str, level| {
        check(source, Runtime::Js2, level).iter().map(|one| one.rule).collect::<Vec<_>>()
    };
    for source in [
        "function handler(event) { }",
        "async function handler(event) { }",
        "var handler = function () { };",
        "const handler = async event => event.request;",
        "if (1) { var handler = 1; }",
    ] {
        assert!(rules(source, Level::CloudFront).is_empty(), "{source}");
    }
    for source in
        ["", "function main() { }", "function f() { function handler() { } }", "{ let handler; }"]
    {
        assert_eq!(rules(source, Level::CloudFront), ["handler"], "{source}");
        assert_eq!(rules(source, Level::Any), ["handler"], "{source}");
    }
}

#[test]
fn every_mistake_is_told_with_its_line() {
    let source = "import fs from 'fs'\nfunction handler(event) {\n  const { request } = event;\n  \
                  for (const h of request.headers) {\n    console.log(h, 1);\n  }\n  \
                  return request?.uri ? { ...request } : new Map();\n}\n";
    let all = check(source, Runtime::Js2, Level::CloudFront);
    let told: Vec<_> = all.iter().map(|one| (one.line, one.column, one.rule)).collect();
    assert_eq!(
        told,
        [
            (1, 1, "module"),
            (3, 9, "destructuring"),
            (4, 3, "for-of"),
            (5, 13, "console-arguments"),
            (7, 17, "optional-chain"),
            (7, 27, "spread-object"),
            (7, 46, "absent"),
        ]
    );
}

// ---- what others say of the same ----

/// Snippets that njs 0.7.9 reads and we refuse, or the other way round: it looks at these when they
/// run, or not at all, and CloudFront's version is another.
const NJS_IS_LENIENT: &[&str] = &[
    "1 = 2;",
    "a++ = 1;",
    "a + b = 1;",
    "var a = 1, b = a <!--a;",
    "import fs from 'fs';",
    "var a, b; [a, b] = [b, a];",
    "var a, c = {}; ({ a, b: c.b, ['d']: c.d } = {});",
    "var a = '\\07';",
    "eval++;",
    "function f(eval) { }",
    "try { } catch (arguments) { }",
    "var yield;",
    "this = 1;",
    "(a, b) = 1;",
    "var a = `\\01`;",
    "var a = 3in [];",
    "[a + 1] = [2];",
    "({ a: 1 } = {});",
];

// What a program says of a file.
fn says(program: &str, arguments: &[&str], path: &Path) -> String {
    let told = Command::new(program)
        .args(arguments)
        .arg(path)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program}: {error}"));
    format!("{}{}", String::from_utf8_lossy(&told.stdout), String::from_utf8_lossy(&told.stderr))
}

fn written(folder: &tempfile::TempDir, snippet: &str) -> PathBuf {
    let path = folder.path().join("snippet.js");
    std::fs::write(&path, snippet).unwrap();
    path
}

#[test]
fn njs_agrees_about_what_can_be_read() {
    if !have(&[Tool::Program("njs")]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let refuses = |snippet: &str| {
        let path = written(&folder, snippet);
        // It runs what it has read, and some of it runs for ever.
        says("timeout", &["2", "njs", "-t", "module"], &path).contains("SyntaxError")
    };
    for snippet in ACCEPTED.iter().chain(LEXING) {
        // It has no such module, and no lines but those that end with a line feed.
        if !snippet.contains("'cloudfront'") && !snippet.contains('\u{2028}') {
            assert!(!refuses(&format!("{snippet}{HANDLER}")), "njs refuses {snippet}");
        }
    }
    for snippet in NONSENSE.iter().chain(REFUSED.iter().map(|(_, snippet)| snippet)) {
        if !NJS_IS_LENIENT.contains(snippet) {
            assert!(refuses(snippet), "njs takes {snippet}");
        }
    }
}
