// The modules `crypto` and `querystring`, and `require`.
(function (global, native, shared, options) {
  "use strict";
  const { encode, define, isArray, put, wellFormed } = shared;
  const modern = options.runtime === 2;
  const given = (value, what) => {
    const octets = shared.octetsOf(value);
    if (octets === undefined) throw new TypeError(what + " is not a string or Buffer-like object");
    return octets;
  };

  // What a hash holds is kept beside it, not in it.
  const inner = new shared.WeakMap();
  const states = { get: inner.get.bind(inner), set: inner.set.bind(inner) };
  function begin(prototype, algorithm, key) {
    const name = String(algorithm).toLowerCase();
    if (name !== "md5" && name !== "sha1" && name !== "sha256") {
      throw new TypeError('not supported algorithm: "' + algorithm + '"');
    }
    const made = Object.create(prototype);
    states.set(made, { name, key, data: "", done: false });
    return made;
  }
  function stateOf(of, method) {
    const state = states.get(of);
    if (state === undefined) throw new TypeError(method + " is called on something else");
    if (state.done) throw new Error("Digest already called");
    return state;
  }
  const shape = {
    update(data, encoding) {
      const state = stateOf(this, "update");
      const octets = shared.octetsOf(data, encoding);
      if (octets === undefined) throw new TypeError('data argument "' + typeof data + '" is not a string or Buffer-like object');
      state.data += octets;
      return this;
    },
    digest(encoding) {
      const state = stateOf(this, "digest");
      const result = native.digest(state.name, state.key, state.data);
      state.done = true;
      state.data = "";
      if (encoding === undefined) return modern ? shared.buffer(result) : result;
      const wanted = String(encoding);
      if (wanted !== "hex" && wanted !== "base64" && wanted !== "base64url") {
        throw new TypeError('Unknown digest encoding: "' + wanted + '"');
      }
      return encode(result, wanted);
    },
  };
  const Hash = Object.assign(Object.create(Object.prototype), shape);
  const Hmac = Object.assign(Object.create(Object.prototype), shape);
  shared.roots.push(Hash, Hmac);
  shared.modules.crypto = {
    createHash(algorithm) { return begin(Hash, algorithm, undefined); },
    createHmac(algorithm, key) { return begin(Hmac, algorithm, given(key, "key")); },
  };

  const unreserved = /[^A-Za-z0-9\-_.!~*'()]/;
  const escape = (text) => {
    const whole = wellFormed(String(text));
    return unreserved.test(whole) ? encodeURIComponent(whole) : whole;
  };
  // What is no valid escape stays as it is; octets that are no UTF-8 become U+FFFD.
  const unescape = (text) => {
    const whole = String(text).replace(/\+/g, " ");
    if (!whole.includes("%")) return whole;
    return native.utf8(native.bytes(wellFormed(whole)).replace(/%([0-9A-Fa-f]{2})/g,
      (_, hex) => shared.chars(parseInt(hex, 16))));
  };
  const query = {
    parse(text, separator, equals, settings) {
      const sep = separator === undefined || separator === null || separator === "" ? "&" : String(separator);
      const eq = equals === undefined || equals === null || equals === "" ? "=" : String(equals);
      const decoded = settings && typeof settings.decodeURIComponent === "function"
        ? settings.decodeURIComponent : query.unescape;
      let most = 1000;
      if (settings && settings.maxKeys !== undefined) {
        most = Number(settings.maxKeys);
        if (!(most > 0)) most = Infinity;
      }
      const plain = (part) => {
        const spaced = part.replace(/\+/g, " ");
        try { return decoded(spaced); } catch (_) { return spaced; }
      };
      const found = {};
      if (typeof text !== "string" || text === "") return found;
      let count = 0;
      for (const part of shared.split(text, sep)) {
        if (count++ >= most) break;
        if (part === "") continue;
        const at = part.indexOf(eq);
        const name = plain(at < 0 ? part : part.slice(0, at));
        const value = at < 0 ? "" : plain(part.slice(at + eq.length));
        if (!shared.hasOwn(found, name)) put(found, name, value);
        else if (isArray(found[name])) found[name].push(value);
        else put(found, name, [found[name], value]);
      }
      return found;
    },
    stringify(of, separator, equals, settings) {
      const sep = separator === undefined || separator === null ? "&" : String(separator);
      const eq = equals === undefined || equals === null ? "=" : String(equals);
      const coded = settings && typeof settings.encodeURIComponent === "function"
        ? settings.encodeURIComponent : query.escape;
      if (of === null || typeof of !== "object") return "";
      const shown = (value) => {
        switch (typeof value) {
          case "string": return coded(value);
          case "number": return isFinite(value) ? coded(String(value)) : "";
          case "boolean": return value ? "true" : "false";
        }
        return "";
      };
      const parts = [];
      for (const name of shared.keys(of)) {
        const value = of[name];
        if (isArray(value)) for (const one of value) parts.push(coded(name) + eq + shown(one));
        else parts.push(coded(name) + eq + shown(value));
      }
      return parts.join(sep);
    },
    escape,
    unescape,
  };
  query.decode = query.parse;
  query.encode = query.stringify;
  shared.modules.querystring = query;

  shared.module = function (name) {
    const known = String(name);
    const buffers = modern || options.level === "any";
    if (!(known in shared.modules) || (known === "buffer" && !buffers)) {
      throw new Error('Cannot find module "' + known + '"');
    }
    return shared.modules[known];
  };
  define(global, "require", { value: ({ require(name) { return shared.module(name); } }).require });
});
