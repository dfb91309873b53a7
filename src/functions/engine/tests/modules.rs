//! The modules, the runtimes and the levels.

use std::collections::BTreeMap;

use super::{Store, World, called, function, handler, patient, request};
use crate::distribution::functions::{Level, Runtime};
use crate::functions::engine::Engine;
use crate::functions::event::{CallFailure, OriginChoice, Returned};

#[test]
fn modules_do_what_their_pages_say() {
    let crypto = "var c = require('crypto'); console.log(";
    let query = "var q = require('querystring'); console.log(";
    for (body, wanted) in [
        (format!("{crypto}c.createHash('md5').update('abc').digest('hex'))"), "900150983cd24fb0d6963f7d28e17f72"),
        (format!("{crypto}c.createHash('sha1').update('a').update('bc').digest('base64'))"), "qZk+NkcGgWq6PiVxeFDCbJzQ2J0="),
        (format!("{crypto}c.createHmac('sha256', 'Jefe').update(Buffer.from('what do ya want for nothing?')).digest('base64url'))"), "W9zBRr9gdU5qBCQmCJV1x1oAPwidJzmDnexYuWTsOEM"),
        (format!("{crypto}Buffer.isBuffer(c.createHash('md5').update('').digest()))"), "true"),
        (format!("{query}JSON.stringify(q.parse('a=1&b=%C3%BC+x&a=2&c')))"), r#"{"a":["1","2"],"b":"ü x","c":""}"#),
        (format!("{query}q.stringify({{a: [1, 'ü &'], b: true, c: null}}))"), "a=1&a=%C3%BC%20%26&b=true&c="),
        (format!("{query}q.unescape('%41%zz') + q.escape('/ ') + q.decode('a=b').a + q.encode({{a: 1}}))"), "A%zz%2F%20ba=1"),
        ("console.log(Buffer.from('aGk', 'base64url').toString() + Buffer.from('é').toString('hex'))".into(), "hic3a9"),
        ("console.log(Buffer.concat([Buffer.from([1]), Buffer.alloc(2, 'ab')]).toString('hex'))".into(), "016162"),
        ("console.log(Buffer.from('hello').slice(1, 3).toString() + Buffer.from([1, 2]).readUInt16BE())".into(), "el258"),
        ("console.log(JSON.stringify(Buffer.from('a')) + Buffer.from('ab').equals(Buffer.from('ab')))".into(), r#"{"type":"Buffer","data":[97]}true"#),
        ("console.log(btoa('hi') + atob('aGk='))".into(), "aGk=hi"),
        ("console.log(new TextDecoder().decode(new TextEncoder().encode('é€')))".into(), "é€"),
        ("console.log(new Date().toISOString() + Date.now())".into(), "2023-11-14T22:13:20.123Z1700000000123"),
        ("console.log(new Date(2020, 1, 3, 4).toISOString())".into(), "2020-02-03T04:00:00.000Z"),
        ("console.log({a: [1, 'x']})".into(), r#"{"a":[1,"x"]}"#),
        ("console.log(undefined)".into(), "undefined"),
    ] {
        let (returned, lines) = called(&World::new(), &handler(&body));
        assert_eq!(lines, [wanted], "{body}: {returned:?}");
    }
}

#[test]
fn runtime_one_has_byte_strings_and_not_what_came_later() {
    let mut engine = Engine::new(patient());
    for (body, wanted) in [
        ("console.log(String.bytesFrom('aGk=', 'base64') + String.bytesFrom([104]))", "hih"),
        (
            "console.log('é'.toUTF8().length + '\\u00c3\\u00a9'.fromUTF8() + 'abc'.fromBytes(1) + 'x'.toBytes())",
            "2ébcx",
        ),
        ("console.log(require('crypto').createHash('md5').update('').digest().length)", "16"),
        (
            "console.log(require('crypto').createHash('md5').update('abc').digest('hex'))",
            "900150983cd24fb0d6963f7d28e17f72",
        ),
        (
            "console.log(typeof Buffer + typeof atob + typeof DataView + typeof request.rawQueryString)",
            "undefinedundefinedundefinedundefined",
        ),
    ] {
        let function = function(&handler(body), Runtime::Js1, Level::CloudFront);
        let (returned, lines) = World::new().call(&mut engine, &function);
        assert_eq!(lines, [wanted], "{body}: {returned:?}");
    }
}

#[test]
fn what_cloudfront_has_not_is_absent_unless_the_level_is_any() {
    let absent = "Map Set WeakMap WeakSet Proxy Reflect URL URLSearchParams Intl structuredClone setTimeout \
                  BigInt SharedArrayBuffer Atomics WeakRef queueMicrotask escape Iterator";
    let methods = "[].flat [].at [].flatMap ''.matchAll ''.normalize ''.localeCompare ''.at \
                   Object.fromEntries Object.hasOwn";
    let any = ["Map", "Set", "WeakMap", "WeakSet", "Proxy", "Reflect", "WeakRef", "Iterator"];
    let mut engine = Engine::new(patient());
    for name in absent.split_whitespace().chain(methods.split_whitespace()) {
        let source = handler(&format!("console.log(typeof {name})"));
        let strict = function(&source, Runtime::Js2, Level::CloudFront);
        assert_eq!(World::new().call(&mut engine, &strict).1, ["undefined"], "{name}");
        if any.contains(&name) || methods.contains(name) {
            let loose = function(&source, Runtime::Js2, Level::Any);
            let (_, lines) = World::new().call(&mut engine, &loose);
            assert_ne!(lines, ["undefined"], "{name}");
        }
    }
    let loose = "class A { #x = 1; get x() { return this.#x } }
        const handler = ({request: {uri, ...rest}}) => { console.log(new A().x + [...new Set([1, 1])].length);
            return {...rest, uri: uri?.slice(1) ?? ''} };";
    let (returned, lines) =
        World::new().call(&mut engine, &function(loose, Runtime::Js2, Level::Any));
    assert_eq!(lines, ["2"]);
    assert_eq!(request(returned).uri.as_deref(), Some("x/"));
}

#[test]
fn stores_are_read() {
    let store = Store(BTreeMap::from([("a", "va"), ("j", r#"{"x":1}"#)]));
    let world = World { store: Some(store), ..World::new() };
    let body = |body: &str| {
        format!(
            "import cf from 'cloudfront';\nconst store = cf.kvs();\nasync function handler(event) {{ var text; try {{ text = {body} }} \
             catch (error) {{ text = String(error) }} console.log(text); return event.request }}"
        )
    };
    for (code, wanted) in [
        ("await store.get('a')", "va"),
        ("(await store.get('j', {format: 'json'})).x", "1"),
        ("(await store.get('a', {format: 'bytes'})).toString('hex')", "7661"),
        ("await store.get('no')", "Error: KeyNotFound"),
        (
            "await store.get('a', {format: 'xml'})",
            "TypeError: format is to be string, json or bytes, not xml",
        ),
        ("await store.exists('a') + ',' + await store.exists('x'.repeat(2000))", "true,false"),
        (
            "JSON.stringify(await store.meta())",
            r#"{"creationDateTime":"1970-01-01T00:00:01.000Z","lastUpdatedDateTime":"1970-01-01T00:00:02.000Z","keyCount":2}"#,
        ),
        ("await store.count()", "2"),
        ("(await Promise.all([store.get('a'), cf.kvs('0b5f5f3e').exists('a')])).join()", "va,true"),
        ("typeof cf.kvs('another')", "Error: KVSNamespaceNotFound"),
    ] {
        let (returned, lines) = called(&world, &body(code));
        assert_eq!(
            (lines, returned),
            (vec![wanted.to_string()], Ok(Returned::Unchanged)),
            "{code}"
        );
    }
}

#[test]
fn origins_and_the_place_of_the_edge() {
    let source = |body: &str| format!("import cf from 'cloudfront';\n{}", handler(body));
    let chosen = |body: &str| request(called(&World::new(), &source(body)).0).origin;
    let choice =
        chosen("cf.updateRequestOrigin({domainName: 'b.example', timeouts: {readTimeout: 5}})");
    let Some(OriginChoice::Update(overrides)) = &choice else { panic!("{choice:?}") };
    assert_eq!(
        (overrides.domain_name.as_deref(), overrides.read_timeout),
        (Some("b.example"), Some(5))
    );
    let choice =
        chosen("cf.updateRequestOrigin({domainName: 'a'}); cf.selectRequestOriginById('two')");
    assert!(matches!(&choice, Some(OriginChoice::Select { id, .. }) if id == "two"), "{choice:?}");
    let choice = chosen(
        "cf.createRequestOriginGroup({originIds: [{originId: 'a'}, {originId: 'b'}], \
         failoverCriteria: {statusCodes: [500]}, selectionCriteria: 'default'})",
    );
    assert!(matches!(&choice, Some(OriginChoice::Group { statuses, .. }) if *statuses == [500]));
    let (refused, _) =
        called(&World::new(), &source("cf.updateRequestOrigin({domainName: 'a:1'})"));
    let wanted = "line 2: TypeError: updateRequestOrigin: domainName is not the name of a host";
    assert_eq!(refused, Err(CallFailure::Threw(wanted.into())));
    let (refused, _) = called(&World::response(), &source("cf.updateRequestOrigin({})"));
    assert!(matches!(refused, Err(CallFailure::Threw(_))), "{refused:?}");
    let (_, lines) = called(&World::new(), &source("console.log(cf.edgeLocation)"));
    assert_eq!(lines, [r#"{"name":"FRA","serverIp":"192.0.2.2","region":"eu-central-1"}"#]);
}

// The token of RFC 8392, appendix A.4 is of another algorithm, so one is made here by hand: tag 17
// of [h'a10105', {}, h'a10163666f6f', HMAC].
#[test]
fn tokens_go_round() {
    let source = |body: &str| format!("import cf from 'cloudfront';\n{}", handler(body));
    let claims = "{iss: 'me', '4': 1700000000, '-65537': [1, 'a', true, null, 1.5], n: {b: Buffer.from('xy')}}";
    let round = format!(
        "var t = cf.cwt.generateToken({claims}, {{key: 'k', cwtTag: 61, coseTag: 'MAC0'}}); \
         console.log(t.slice(0, 4).toString('hex')); \
         console.log(JSON.stringify(cf.cwt.validateToken({{key: Buffer.from('k')}}, t)))"
    );
    let wanted = [
        "d83dd184",
        r#"{"protectedHeaders":{"1":5},"unprotectedHeaders":{},"payload":{"4":1700000000,"iss":"me","-65537":[1,"a",true,null,1.5],"n":{"b":{"type":"Buffer","data":[120,121]}}}}"#,
    ];
    assert_eq!(called(&World::new(), &source(&round)).1, wanted);
    let made = "var c = require('crypto'); \
        var mac = c.createHmac('sha256', 'k').update(Buffer.from('84644d41433043a101054046a10163666f6f', 'hex')).digest('hex'); \
        var t = function (mac) { return Buffer.from('d18443a10105a046a10163666f6f5820' + mac, 'hex') }; ";
    for (body, wanted) in [
        ("console.log(cf.cwt.validateToken(t(mac), {key: 'k'})['1'])", "foo"),
        (
            "try { cf.cwt.validateToken(t(mac), {key: 'l'}) } catch (e) { console.log(e.message) }",
            "the token's signature is not valid",
        ),
        (
            "try { cf.cwt.validateToken(t(mac).slice(0, 20), {key: 'k'}) } catch (e) { console.log(e.message) }",
            "the token ends too early",
        ),
        (
            "try { cf.cwt.validateToken(Buffer.alloc(2000), {key: 'k'}) } catch (e) { console.log(e.message) }",
            "the token is longer than 1024 bytes",
        ),
        (
            "try { cf.cwt.validateToken(Buffer.alloc(50, 0x81), {key: 'k'}) } catch (e) { console.log(e.message) }",
            "the token is nested too deeply",
        ),
        (
            "try { cf.cwt.validateToken(t(mac), {}) } catch (e) { console.log(e.message) }",
            "validateToken needs a context with a key",
        ),
    ] {
        let (returned, lines) = called(&World::new(), &source(&format!("{made}{body}")));
        assert_eq!(lines, [wanted], "{body}: {returned:?}");
    }
}

// What CloudFront's guide calls a CWTObject goes in and comes out: the claims are its payload, and
// are found and set on it by their keys as well, as the guide's own samples do.
#[test]
fn tokens_are_objects_with_headers_and_a_payload() {
    let source = |body: &str| format!("import cf from 'cloudfront';\n{}", handler(body));
    let made = "var k = { key: 'k', coseTag: 'MAC0' }; \
        var of = function (what) { return cf.cwt.generateToken(what, k) }; \
        var read = function (token) { return cf.cwt.validateToken(token, { key: 'k' }) }; \
        var t = of({ protected: { 1: '5' }, unprotected: { 4: 'id' }, payload: { 1: 'foo', 4: 10 } }); ";
    for (body, wanted) in [
        // Tag 17 of [h'a10105', {4: "id"}, h'a20163666f6f040a', …].
        (
            "console.log(t.slice(0, 21).toString('hex'))",
            "d18443a10105a10462696448a20163666f6f040a58",
        ),
        (
            "console.log(JSON.stringify(read(t)))",
            r#"{"protectedHeaders":{"1":5},"unprotectedHeaders":{"4":"id"},"payload":{"1":"foo","4":10}}"#,
        ),
        ("var o = read(t); console.log(o[1] + o['4'] + o.payload[4])", "foo1010"),
        ("var o = read(t); o[4] = 20; console.log(read(of(o)).payload[4])", "20"),
        (
            "var o = read(t); o[6] = 7; console.log(JSON.stringify(read(of(o)).payload))",
            r#"{"1":"foo","4":10,"6":7}"#,
        ),
        ("var o = read(t); o.payload[4] = 30; console.log(read(of(o))[4])", "30"),
        (
            "var o = read(t); console.log(Object.keys(read(of(o))).join())",
            "protectedHeaders,unprotectedHeaders,payload",
        ),
        ("console.log(read(of(read(t))).unprotectedHeaders[4])", "id"),
        (
            "try { of({ protected: { 1: 4 }, payload: {} }) } catch (e) { console.log(e.message) }",
            "the algorithm is to be 5, which is HS256",
        ),
        (
            "try { of({ protected: [], payload: {} }) } catch (e) { console.log(e.message) }",
            "protected is not an object",
        ),
        ("try { of('x') } catch (e) { console.log(e.message) }", "the payload is not an object"),
    ] {
        let (returned, lines) = called(&World::new(), &source(&format!("{made}{body}")));
        assert_eq!(lines, [wanted], "{body}: {returned:?}");
    }
}
