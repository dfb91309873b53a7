//! Pure: the built-ins that each runtime has, and those that people look for in vain.

use crate::distribution::functions::Runtime;

/// Global names of both runtimes.
const BOTH: &[&str] = &[
    "Array",
    "ArrayBuffer",
    "Boolean",
    "Date",
    "Error",
    "EvalError",
    "Float32Array",
    "Float64Array",
    "Function",
    "Infinity",
    "Int16Array",
    "Int32Array",
    "Int8Array",
    "InternalError",
    "JSON",
    "Math",
    "MemoryError",
    "NaN",
    "Number",
    "Object",
    "Promise",
    "RangeError",
    "ReferenceError",
    "RegExp",
    "String",
    "SyntaxError",
    "TypeError",
    "URIError",
    "Uint16Array",
    "Uint32Array",
    "Uint8Array",
    "Uint8ClampedArray",
    "arguments",
    "console",
    "decodeURI",
    "decodeURIComponent",
    "encodeURI",
    "encodeURIComponent",
    "globalThis",
    "isFinite",
    "isNaN",
    "parseFloat",
    "parseInt",
    "require",
    "undefined",
];

/// Those that came with 2.0.
const SECOND: &[&str] = &[
    "AggregateError",
    "Buffer",
    "DataView",
    "Symbol",
    "TextDecoder",
    "TextEncoder",
    "atob",
    "btoa",
];

/// Names that neither runtime has, and what to use instead.
const ABSENT: &[(&str, &str)] = &[
    ("Map", "use an object"),
    ("Set", "use an object with its keys"),
    ("WeakMap", "use an object"),
    ("WeakSet", "use an object"),
    ("WeakRef", "keep the value itself"),
    ("Proxy", "use functions"),
    ("Reflect", "use the functions of `Object`"),
    ("URL", "take the address apart by `split` or a regular expression"),
    ("URLSearchParams", "use `event.request.querystring` or the module `querystring`"),
    ("Intl", "format by hand"),
    ("structuredClone", "use `JSON.parse(JSON.stringify(value))`"),
    ("BigInt", "use a number or text"),
    ("BigInt64Array", "use a number or text"),
    ("BigUint64Array", "use a number or text"),
    ("Atomics", "a function runs alone"),
    ("SharedArrayBuffer", "use `ArrayBuffer`"),
    ("setTimeout", "a function cannot wait"),
    ("setInterval", "a function cannot wait"),
    ("setImmediate", "a function cannot wait"),
    ("clearTimeout", "a function cannot wait"),
    ("clearInterval", "a function cannot wait"),
    ("queueMicrotask", "use a promise"),
    ("fetch", "there is no network; a Lambda@Edge function has one"),
    ("XMLHttpRequest", "there is no network; a Lambda@Edge function has one"),
    ("WebSocket", "there is no network"),
    ("Request", "change `event.request`"),
    ("Response", "return an object with `statusCode`"),
    ("Headers", "use `event.request.headers`"),
    ("FormData", "a function does not see the body"),
    ("AbortController", "a function cannot wait"),
    ("process", "there is no environment; write the value into the code or a key value store"),
    ("global", "use `globalThis`"),
    ("window", "use `globalThis`"),
    ("self", "use `globalThis`"),
    ("module", "leave it out: `handler` is found by its name"),
    ("exports", "leave it out: `handler` is found by its name"),
    ("__dirname", "there are no files"),
    ("__filename", "there are no files"),
    ("escape", "use `encodeURIComponent`"),
    ("unescape", "use `decodeURIComponent`"),
    ("performance", "time stands still in a call"),
    ("eval", "code from text is refused"),
    ("crypto", "write `import crypto from 'crypto'`"),
    ("querystring", "write `import querystring from 'querystring'`"),
];

/// `Object.name` that is not there.
const STATICS: &[(&str, &str, &str)] = &[
    ("Object", "fromEntries", "fill an object in a loop"),
    ("Object", "hasOwn", "use `Object.prototype.hasOwnProperty.call`"),
    ("Object", "groupBy", "fill an object in a loop"),
    ("Array", "fromAsync", "await in a loop"),
    ("String", "raw", "write the text itself"),
    ("Promise", "withResolvers", "use `new Promise`"),
    ("Promise", "try", "use `new Promise`"),
    ("Error", "captureStackTrace", "use `error.stack`"),
];

/// What the functions of `Promise` were before 2.0.
const FIRST_PROMISES: &[&str] = &["all", "allSettled", "any", "race"];

/// Methods that are on none of a runtime's objects.
const METHODS: &[(&str, &str)] = &[
    ("at", "use an index: `a[a.length - 1]`"),
    ("flat", "use `concat` in a loop"),
    ("flatMap", "use `map` and `concat`"),
    ("findLast", "go through it from the end"),
    ("findLastIndex", "go through it from the end"),
    ("toSorted", "use `slice` and `sort`"),
    ("toReversed", "use `slice` and `reverse`"),
    ("toSpliced", "use `slice` and `splice`"),
    ("matchAll", "use `exec` in a loop"),
    ("normalize", "compare the text as it is"),
    ("localeCompare", "use `<` and `>`"),
    ("toLocaleLowerCase", "use `toLowerCase`"),
    ("toLocaleUpperCase", "use `toUpperCase`"),
    ("trimLeft", "use `trimStart`"),
    ("trimRight", "use `trimEnd`"),
    ("isWellFormed", "do without it"),
    ("toWellFormed", "do without it"),
];

/// Methods of text that 2.0 has no longer.
const FIRST_METHODS: &[(&str, &str)] = &[
    ("bytesFrom", "use `Buffer.from(text, encoding)`"),
    ("fromBytes", "use `Buffer`"),
    ("fromUTF8", "use `Buffer` or `TextDecoder`"),
    ("toBytes", "use `Buffer.from(text, 'latin1')` or a loop"),
    ("toUTF8", "use `Buffer.from(text)`"),
];

/// What becomes of a global name that nothing declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    There,
    /// Not in this runtime; what to do.
    Absent(&'static str),
    /// Nothing that any runtime is known to have.
    Unknown,
}

/// Looks a global name up.
pub(super) fn global(name: &str, runtime: Runtime) -> Global {
    if BOTH.contains(&name) || (runtime == Runtime::Js2 && SECOND.contains(&name)) {
        return Global::There;
    }
    if SECOND.contains(&name) {
        return Global::Absent("use cloudfront-js-2.0");
    }
    match ABSENT.iter().find(|(absent, _)| *absent == name) {
        Some((_, remedy)) => Global::Absent(remedy),
        None => Global::Unknown,
    }
}

/// The remedy, if a built-in object lacks a function of its own.
pub(super) fn absent_static(object: &str, name: &str, runtime: Runtime) -> Option<&'static str> {
    if runtime == Runtime::Js1 {
        match object {
            "Promise" if FIRST_PROMISES.contains(&name) => {
                return Some("use cloudfront-js-2.0, or chain with `then`");
            }
            "Array" if name == "from" => return Some("fill an array in a loop"),
            _ => {}
        }
    }
    let found = STATICS.iter().find(|(of, absent, _)| *of == object && *absent == name);
    found.map(|(_, _, remedy)| *remedy)
}

/// The remedy, if no built-in object has a method.
pub(super) fn absent_method(name: &str, runtime: Runtime) -> Option<&'static str> {
    let of_one: &'static [(&'static str, &'static str)] = match runtime {
        Runtime::Js1 => &[("replaceAll", "use `replace` with the flag `g`")],
        Runtime::Js2 => FIRST_METHODS,
    };
    let found = METHODS.iter().chain(of_one).find(|(absent, _)| *absent == name);
    found.map(|(_, remedy)| *remedy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_name_is_there_and_absent() {
        for (name, remedy) in ABSENT {
            assert!(!BOTH.contains(name) && !SECOND.contains(name), "{name}");
            assert!(!remedy.is_empty());
        }
        assert!(BOTH.iter().all(|name| !SECOND.contains(name)));
    }

    #[test]
    fn runtimes_have_what_their_papers_list() {
        let both = |name| [global(name, Runtime::Js1), global(name, Runtime::Js2)];
        assert_eq!(both("JSON"), [Global::There, Global::There]);
        assert_eq!(both("Buffer"), [Global::Absent("use cloudfront-js-2.0"), Global::There]);
        assert_eq!(both("Map"), [Global::Absent("use an object"); 2]);
        assert_eq!(both("reqeust"), [Global::Unknown; 2]);
        assert!(absent_method("toUTF8", Runtime::Js1).is_none());
        assert!(absent_method("toUTF8", Runtime::Js2).is_some());
        assert!(absent_method("replaceAll", Runtime::Js1).is_some());
        assert!(absent_method("replaceAll", Runtime::Js2).is_none());
        assert!(absent_static("Array", "from", Runtime::Js1).is_some());
        assert!(absent_static("Array", "from", Runtime::Js2).is_none());
        assert!(absent_static("Object", "fromEntries", Runtime::Js2).is_some());
    }
}
