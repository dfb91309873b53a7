// What CloudFront's engine has not, is taken away; and built-ins that run in C for as long as their
// argument is large, without asking whether the call's time is over, are given a limit.
(function (global, native, shared, options) {
  "use strict";
  const { apply, construct, define, describe, parent, isArray } = shared;
  // No array that fits into a call's memory is longer.
  const LIMIT = 262144;
  // Sorting so many takes longer than any call may.
  const SORTABLE = 8192;
  // Shorter work is not worth looking at the clock.
  const LONG = 1024;
  // Comparisons of characters that a search may come to.
  const SEARCH = 1 << 26;

  function tick() {
    if (native.late()) throw new Error("the function ran for too long");
  }
  function atMost(limit, length) {
    if (length > limit) throw new RangeError("an array of length " + length + " is too long");
    if (length > LONG) tick();
  }

  const proxies = new WeakSet();
  const isProxy = WeakSet.prototype.has.bind(proxies);

  // The length that a built-in will see. What is no array must say it as plain data: a getter could
  // say something else when it is asked again.
  function lengthOf(value) {
    if (isArray(value) && !isProxy(value)) return value.length;
    if (typeof value === "string") return value.length;
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return 0;
    for (let at = value; at !== null; at = parent(at)) {
      if (isProxy(at)) throw new TypeError("a proxy is no array");
      const found = describe(at, "length");
      if (found === undefined) continue;
      if (typeof found.value === "number") return found.value;
      if (ArrayBuffer.isView(value) && at === typed) return value.length;
      throw new TypeError("length is not a number");
    }
    return 0;
  }

  function replace(holder, name, make) {
    const property = holder && describe(holder, name);
    if (!property || typeof property.value !== "function") return;
    const original = property.value;
    const made = make(original);
    define(made, "name", { value: original.name, configurable: true });
    define(made, "length", { value: original.length, configurable: true });
    property.value = made;
    define(holder, name, property);
  }
  function each(holder, names, make) {
    for (const name of names.split(" ")) replace(holder, name, make);
  }
  // Methods, because a method cannot be called with `new`.
  const method = (body) => (original) => ({
    guarded() {
      const changed = body(this, arguments);
      return apply(original, changed === undefined ? this : changed, arguments);
    },
  }).guarded;

  const spreadable = Symbol.isConcatSpreadable;
  const list = Array.prototype;
  const typed = parent(Uint8Array.prototype);
  each(list, "join reverse slice splice fill copyWithin shift unshift indexOf includes lastIndexOf " +
    "toString toLocaleString toReversed toSpliced with flat flatMap",
    method((of) => atMost(LIMIT, lengthOf(of))));
  each(list, "sort toSorted", method((of) => atMost(SORTABLE, lengthOf(of))));
  replace(list, "concat", method((of, others) => {
    let length = lengthOf(of);
    for (let at = 0; at < others.length; at++) {
      const other = others[at];
      if (isArray(other)) length += lengthOf(other);
      else if (other !== null && typeof other === "object" && other[spreadable]) {
        throw new TypeError("only arrays can be spread");
      }
    }
    atMost(LIMIT, length);
  }));
  each(typed, "sort toSorted", method((of) => atMost(LIMIT / 4, lengthOf(of))));
  each(typed, "join toLocaleString indexOf includes lastIndexOf reverse fill set slice copyWithin",
    method((of) => { if (lengthOf(of) > LONG) tick(); }));
  // Nested arrays may be long as well: ours walk in code that can be stopped.
  function flatten(from, depth, to) {
    atMost(LIMIT, lengthOf(from));
    for (const value of from) {
      if (depth > 0 && isArray(value)) flatten(value, depth - 1, to);
      else to.push(value);
    }
    return to;
  }
  replace(list, "flat", () => ({
    flat(depth) { return flatten(this, depth === undefined ? 1 : Math.min(+depth || 0, 64), []); },
  }).flat);
  replace(list, "flatMap", () => ({
    flatMap(made, of) { return flatten(this.map(made, of), 1, []); },
  }).flatMap);
  replace(String, "raw", method((of, given) => {
    const template = given[0];
    atMost(LIMIT, template === null || template === undefined ? 0 : lengthOf(template.raw));
    if (describe(template, "raw") === undefined) throw new TypeError("raw is missing");
  }));

  const text = String.prototype;
  each(text, "indexOf lastIndexOf includes split replace replaceAll toLowerCase toUpperCase repeat " +
    "padStart padEnd normalize localeCompare match matchAll search trim toLocaleLowerCase toLocaleUpperCase",
    method((of, given) => {
      const whole = typeof of === "string" || of === null || of === undefined ? of : String(of);
      if (typeof whole === "string" && whole.length > LONG) {
        tick();
        let wanted = given[0];
        if (typeof wanted === "object" && wanted !== null && !(wanted instanceof RegExp)) {
          wanted = given[0] = String(wanted);
        }
        if (typeof wanted === "string" && wanted.length > 1 && wanted.length * whole.length > SEARCH) {
          throw new RangeError("such a search would take too long");
        }
      }
      return whole === null ? undefined : whole;
    }));
  const spelled = (original) => ({
    guarded(of) {
      const whole = String(of);
      if (whole.length > LONG) tick();
      return original(whole);
    },
  }).guarded;
  each(global, "decodeURI decodeURIComponent encodeURI encodeURIComponent escape unescape", spelled);
  replace(JSON, "parse", method((of, given) => {
    if (typeof given[0] === "string" && given[0].length > LONG) tick();
  }));
  // Asked for each value: arrays may be nested, and what stands in them may be made by getters.
  function measured(value) {
    if (isArray(value)) atMost(LIMIT, lengthOf(value));
    return value;
  }
  replace(JSON, "stringify", (original) => ({
    stringify(value, replacer, space) {
      let asked = (name, of) => measured(of);
      if (typeof replacer === "function") {
        asked = function (name, of) { return measured(apply(replacer, this, [name, of])); };
      } else if (isArray(replacer)) {
        atMost(LIMIT, lengthOf(replacer));
        value = original(value, asked);
        if (value === undefined) return undefined;
        return original(shared.parse(value), replacer, space);
      }
      return original(value, asked, space);
    },
  }).stringify);

  // Code from text.
  function refused() { throw new EvalError("code generation from text is not allowed"); }
  const functions = [function () {}, async function () {}, function* () {}, async function* () {}];
  const Refusing = function Function() { refused(); };
  define(Refusing, "prototype", { value: Function.prototype, writable: false });
  for (const one of functions) {
    define(parent(one), "constructor", { value: Refusing, writable: false, configurable: true });
  }
  define(global, "Function", { value: Refusing, writable: false, enumerable: false });
  define(global, "eval", { value: ({ eval() { refused(); } }).eval, writable: false });

  // Numbers without a limit take time without one.
  function remove(holder, names) {
    if (holder) for (const name of names.split(" ")) shared.remove(holder, name);
  }
  remove(global, "BigInt BigInt64Array BigUint64Array Atomics SharedArrayBuffer");
  // What it calls would run in a later call.
  remove(global, "FinalizationRegistry");
  remove(DataView.prototype, "getBigInt64 setBigInt64 getBigUint64 setBigUint64");
  remove(Date.prototype, "toTemporalInstant");
  remove(Error, "captureStackTrace prepareStackTrace stackTraceLimit");

  if (options.level === "cloudfront") {
    // Of globals there is a list of what stays: a newer engine may have more.
    const globals = ("Object Function Error EvalError RangeError ReferenceError SyntaxError TypeError " +
      "URIError InternalError AggregateError Array parseInt parseFloat isNaN isFinite decodeURI " +
      "decodeURIComponent encodeURI encodeURIComponent Infinity NaN undefined Number Boolean String " +
      "Math Symbol eval globalThis Date RegExp JSON ArrayBuffer Uint8ClampedArray Int8Array " +
      "Uint8Array Int16Array Uint16Array Int32Array Uint32Array Float32Array Float64Array DataView " +
      "Promise").split(" ");
    for (const name of shared.ownKeys(global)) if (!globals.includes(name)) shared.remove(global, name);
    remove(Uint8Array, "fromBase64 fromHex");
    remove(Uint8Array.prototype, "toBase64 toHex setFromBase64 setFromHex");
    remove(Object, "groupBy fromEntries hasOwn");
    remove(Object.prototype, "__defineGetter__ __defineSetter__ __lookupGetter__ __lookupSetter__");
    remove(Error, "isError");
    remove(Array, "fromAsync");
    remove(list, "at with findLast findLastIndex toReversed toSorted toSpliced flatMap flat");
    remove(String, "raw");
    remove(text, "at isWellFormed toWellFormed matchAll normalize localeCompare trimLeft trimRight " +
      "toLocaleLowerCase toLocaleUpperCase anchor big blink bold fixed fontcolor fontsize italics " +
      "link small strike sub sup substrings");
    remove(Math, "f16round sumPrecise");
    remove(RegExp, "escape");
    remove(RegExp.prototype, "compile");
    remove(Promise, "try withResolvers");
    remove(DataView.prototype, "getFloat16 setFloat16");
    remove(ArrayBuffer.prototype, "maxByteLength resizable detached immutable resize " +
      "sliceToImmutable transfer transferToImmutable transferToFixedLength");
    remove(typed, "at with findLast findLastIndex toReversed toSorted");
    if (options.runtime === 1) {
      remove(global, "DataView Symbol AggregateError");
      remove(text, "replaceAll");
      remove(Promise, "all allSettled any race");
    }
  } else {
    // What is a proxy is remembered, because its length may be a lie.
    const note = (made) => { proxies.add(made); return made; };
    const Real = Proxy;
    const Noting = function Proxy(target, traps) {
      if (!new.target) throw new TypeError("Proxy is called with new");
      return note(new Real(target, traps));
    };
    define(Noting, "prototype", { value: undefined });
    Noting.revocable = (target, traps) => {
      const made = Real.revocable(target, traps);
      note(made.proxy);
      return made;
    };
    define(global, "Proxy", { value: Noting, writable: true, configurable: true });
  }

  // What is by chance or of the time is another thing in the next call, which is noted.
  replace(Math, "random", (original) => ({ random() { native.varies(); return original(); } }).random);
  const now = () => { native.varies(); return shared.now; };

  // Time stands still, and every place is at UTC.
  const Real = Date;
  const local = /^\d{4}-\d\d-\d\dT[\d:.]+$/;
  const moment = (value) => (typeof value === "string" && local.test(value) ? value + "Z" : value);
  const Still = function Date(first) {
    if (!new.target) return new Real(now()).toString();
    let made;
    if (arguments.length === 0) made = [now()];
    else if (arguments.length === 1) made = [moment(first)];
    else made = [apply(Real.UTC, Real, arguments)];
    return construct(Real, made, new.target);
  };
  const dates = Real.prototype;
  define(Still, "prototype", { value: dates, writable: false });
  define(Still, "length", { value: 7 });
  const hidden = (holder, name, value) =>
    define(holder, name, { value, writable: true, enumerable: false, configurable: true });
  hidden(Still, "now", ({ now() { return now(); } }).now);
  hidden(Still, "parse", ({ parse(of) { return Real.parse(moment(of)); } }).parse);
  hidden(Still, "UTC", Real.UTC);
  hidden(dates, "constructor", Still);
  for (const part of "FullYear Month Date Day Hours Minutes Seconds Milliseconds".split(" ")) {
    hidden(dates, "get" + part, dates["getUTC" + part]);
    if (dates["setUTC" + part]) hidden(dates, "set" + part, dates["setUTC" + part]);
  }
  hidden(dates, "getTimezoneOffset", ({ getTimezoneOffset() { return 0; } }).getTimezoneOffset);
  const utc = dates.toUTCString;
  const time = dates.getTime;
  const shown = (from, to) => {
    const whole = apply(utc, from, []);
    if (apply(time, from, []) !== apply(time, from, [])) return whole;
    const [week, day, month, year, clock] = whole.replace(",", "").split(" ");
    return to(week + " " + month + " " + day + " " + year, clock + " GMT+0000 (UTC)");
  };
  const ways = {
    String: (day, at) => day + " " + at,
    DateString: (day) => day,
    TimeString: (day, at) => at,
  };
  for (const name of shared.keys(ways)) {
    const made = ({ shown() { return shown(this, ways[name]); } }).shown;
    for (const to of ["to" + name, "toLocale" + name]) {
      define(made, "name", { value: to, configurable: true });
      hidden(dates, to, made);
    }
  }
  define(global, "Date", { value: Still, writable: true, enumerable: false, configurable: true });

  shared.isProxy = isProxy;
});
