// First of all: what the other files need of the engine, taken before anything is removed or frozen.
// Each file is a function of the global object, the native functions, what the files share, and the
// options {level: "cloudfront" | "any", runtime: 1 | 2}.
(function (global, native, shared) {
  "use strict";
  const bindCall = Function.prototype.call.bind.bind(Function.prototype.call);

  shared.apply = Reflect.apply;
  shared.construct = Reflect.construct;
  shared.ownKeys = Reflect.ownKeys;
  // What can be done to an object, by the traps of a proxy.
  shared.on = {};
  for (const name of ["get", "set", "has", "deleteProperty", "ownKeys", "getOwnPropertyDescriptor",
    "defineProperty", "preventExtensions", "setPrototypeOf"]) shared.on[name] = Reflect[name];
  shared.setPrototype = Object.setPrototypeOf;
  shared.remove = Reflect.deleteProperty;
  shared.Proxy = Proxy;
  shared.WeakMap = WeakMap;
  shared.WeakSet = WeakSet;
  shared.isArray = Array.isArray;
  shared.keys = Object.keys;
  shared.define = Object.defineProperty;
  shared.describe = Object.getOwnPropertyDescriptor;
  shared.parent = Object.getPrototypeOf;
  shared.hasOwn = bindCall(Object.prototype.hasOwnProperty);
  shared.wellFormed = bindCall(String.prototype.toWellFormed);
  shared.Bytes = Uint8Array;
  shared.View = DataView;
  shared.iterator = Symbol.iterator;
  shared.parse = JSON.parse;
  shared.stringify = JSON.stringify;
  shared.split = bindCall(String.prototype.split);
  shared.then = bindCall(Promise.prototype.then);
  shared.Promise = Promise;
  shared.resolve = Promise.resolve.bind(Promise);
  shared.chars = String.fromCharCode;
  // What is to be frozen although no global leads to it: first the prototypes of iterators.
  shared.roots = [/a/g[Symbol.matchAll](""), new Map().values(), new Set().values(),
    [].values().map((of) => of), Iterator.from({ next() {} }), Iterator.concat([])].map(shared.parent);
  // The moment at which the call began: time stands still while it runs.
  shared.now = 0;

  // Names that viewers choose are defined, never assigned: `__proto__` would be a prototype.
  shared.put = function (object, name, value) {
    if (name === "__proto__") {
      shared.define(object, name, { value, writable: true, enumerable: true, configurable: true });
    } else {
      object[name] = value;
    }
  };

  // Octets as text of which each character is one octet, and back.
  shared.octets = function (bytes) {
    const part = 8192;
    if (bytes.length <= part) return shared.apply(shared.chars, null, bytes);
    let all = "";
    for (let at = 0; at < bytes.length; at += part) {
      all += shared.apply(shared.chars, null, bytes.subarray(at, at + part));
    }
    return all;
  };
  shared.fill = function (bytes, octets) {
    for (let at = 0; at < octets.length; at++) bytes[at] = octets.charCodeAt(at);
    return bytes;
  };
});
