// The module `cloudfront`: key value stores, origins, the edge's place, and CBOR Web Tokens.
(function (global, native, shared) {
  "use strict";
  const { define, isArray, octets, put, stringify } = shared;

  // Key value stores. A handle says nothing but that the store may be used.
  const isoDate = Date.prototype.toISOString;
  const iso = (millis) => shared.apply(isoDate, new Date(millis), []);
  const reject = (error) => shared.Promise.reject(error);
  function formatted(text, format) {
    switch (format) {
      case "json": return shared.parse(text);
      case "bytes": return shared.buffer(native.bytes(text));
    }
    return text;
  }
  const handle = {
    get(key, settings) {
      const format = settings && settings.format !== undefined ? String(settings.format) : "string";
      if (format !== "string" && format !== "json" && format !== "bytes") {
        return reject(new TypeError("format is to be string, json or bytes, not " + format));
      }
      return shared.ask(0, String(key), (found, text) => {
        if (!found) throw new Error("KeyNotFound");
        return formatted(text, format);
      });
    },
    exists(key) { return shared.ask(1, String(key), (found) => found); },
    meta() {
      return shared.ask(2, "", (found, text) => {
        const [created, updated, count] = shared.split(text, " ");
        return {
          creationDateTime: iso(+created),
          lastUpdatedDateTime: iso(+updated),
          keyCount: +count,
        };
      });
    },
    count() { return shared.ask(2, "", (found, text) => +shared.split(text, " ")[2]); },
  };
  shared.roots.push(handle);
  function kvs(id) {
    const store = native.store();
    if (store === undefined || (id !== undefined && String(id) !== store)) {
      throw new Error("KVSNamespaceNotFound");
    }
    return Object.create(handle);
  }

  // Origins: the last call counts.
  function choose(kind, what, name) {
    if (shared.place() !== 0) throw new Error(name + " is for viewer requests only");
    const mistake = native.origin(kind, stringify(what));
    if (mistake !== undefined) throw new TypeError(name + ": " + mistake);
  }

  // CBOR, as far as tokens need it, and never more than fits into one.
  const MOST = 1024;
  const DEEPEST = 8;
  function head(major, value) {
    const kind = major << 5;
    if (value < 24) return shared.chars(kind | value);
    if (value < 256) return shared.chars(kind | 24, value);
    if (value < 65536) return shared.chars(kind | 25, value >> 8, value & 255);
    const low = value % 4294967296;
    const word = (n) => shared.chars((n >>> 24) & 255, (n >>> 16) & 255, (n >>> 8) & 255, n & 255);
    if (value < 4294967296) return shared.chars(kind | 26) + word(low);
    return shared.chars(kind | 27) + word(Math.floor(value / 4294967296)) + word(low);
  }
  const integer = (value) => (value < 0 ? head(1, -1 - value) : head(0, value));
  const byteText = (of) => head(2, of.length) + of;
  function float(value) {
    const eight = new shared.Bytes(8);
    new shared.View(eight.buffer).setFloat64(0, value);
    return shared.chars(0xfb) + octets(eight);
  }
  const whole = /^(0|-?[1-9]\d{0,14})$/;
  function write(value, depth) {
    if (depth > DEEPEST) throw new Error("the payload is nested too deeply");
    switch (typeof value) {
      case "string": {
        const of = native.bytes(shared.wellFormed(value));
        return head(3, of.length) + of;
      }
      case "number": return Number.isSafeInteger(value) ? integer(value) : float(value);
      case "boolean": return value ? "\xf5" : "\xf4";
      case "object": break;
      default: throw new TypeError("a " + typeof value + " cannot stand in a token");
    }
    if (value === null) return "\xf6";
    if (shared.isBytes(value)) return byteText(shared.octetsOf(value));
    if (isArray(value)) return head(4, value.length) + value.map((one) => write(one, depth + 1)).join("");
    const names = shared.keys(value).filter((name) => value[name] !== undefined);
    let all = head(5, names.length);
    for (const name of names) {
      all += whole.test(name) ? integer(Number(name)) : write(name, depth + 1);
      all += write(value[name], depth + 1);
    }
    return all;
  }

  function reader(all) {
    let at = 0;
    let items = 0;
    function take(count) {
      if (at + count > all.length) throw new Error("the token ends too early");
      at += count;
      return all.slice(at - count, at);
    }
    function number(count) {
      let value = 0;
      for (const octet of take(count)) value = value * 256 + octet.charCodeAt(0);
      if (value > Number.MAX_SAFE_INTEGER) throw new Error("the token has a number that is too large");
      return value;
    }
    function argument(low) {
      if (low < 24) return low;
      if (low > 27) throw new Error("the token has an item of unknown length");
      return number(1 << (low - 24));
    }
    function half(value) {
      const exponent = (value >> 10) & 31;
      const rest = value & 1023;
      const size = exponent === 0 ? rest / 16777216
        : exponent === 31 ? (rest ? NaN : Infinity) : Math.pow(2, exponent - 25) * (1024 + rest);
      return value & 32768 ? -size : size;
    }
    function simple(low) {
      switch (low) {
        case 20: return false;
        case 21: return true;
        case 22: return null;
        case 23: return undefined;
        case 25: return half(number(2));
        case 26: case 27: {
          const size = low === 26 ? 4 : 8;
          const view = new shared.View(shared.fill(new shared.Bytes(size), take(size)).buffer);
          return size === 4 ? view.getFloat32(0) : view.getFloat64(0);
        }
      }
      throw new Error("the token has an unknown simple value");
    }
    function item(depth) {
      if (depth > DEEPEST || ++items > MOST) throw new Error("the token is nested too deeply");
      const first = take(1).charCodeAt(0);
      const low = first & 31;
      switch (first >> 5) {
        case 0: return argument(low);
        case 1: return -1 - argument(low);
        case 2: return { octets: take(argument(low)) };
        case 3: return native.utf8(take(argument(low)));
        case 4: {
          const made = [];
          for (let left = argument(low); left > 0; left--) made.push(item(depth + 1));
          return made;
        }
        case 5: {
          const made = {};
          for (let left = argument(low); left > 0; left--) {
            const name = item(depth + 1);
            if (typeof name !== "string" && typeof name !== "number") {
              throw new Error("the token has a claim without a name");
            }
            put(made, String(name), item(depth + 1));
          }
          return { map: made };
        }
        case 6: return { tag: argument(low), value: item(depth + 1) };
      }
      return simple(low);
    }
    return { item: () => item(0), ended: () => at === all.length };
  }
  function decoded(all) {
    const from = reader(all);
    const value = from.item();
    if (!from.ended()) throw new Error("the token has something after its end");
    return value;
  }
  // What code sees of an item: buffers, plain objects, no tags.
  function shown(value) {
    if (value === null || typeof value !== "object") return value;
    if (isArray(value)) return value.map(shown);
    if (value.octets !== undefined) return shared.buffer(value.octets);
    if (value.tag !== undefined) return shown(value.value);
    for (const name of shared.keys(value.map)) put(value.map, name, shown(value.map[name]));
    return value.map;
  }

  const COSE_MAC0 = 17;
  const CWT = 61;
  const HS256 = 5;
  function mac(key, guarded, payload) {
    const text = (of) => head(3, of.length) + of;
    return native.digest("sha256", key,
      head(4, 4) + text("MAC0") + byteText(guarded) + byteText("") + byteText(payload));
  }
  const isContext = (value) =>
    value !== null && typeof value === "object" && !shared.isBytes(value) && value.key !== undefined;
  function sorted(first, second, name) {
    if (isContext(second)) return [first, second];
    if (isContext(first)) return [second, first];
    throw new TypeError(name + " needs a context with a key");
  }
  function keyOf(context) {
    const key = shared.octetsOf(context.key);
    if (key === undefined || key === "") throw new TypeError("key is not a string or Buffer");
    return key;
  }
  function same(a, b) {
    let difference = a.length ^ b.length;
    for (let at = 0; at < a.length && at < b.length; at++) difference |= a.charCodeAt(at) ^ b.charCodeAt(at);
    return difference === 0;
  }
  // What the guide calls a CWTObject. Its samples look for claims on the object itself, too, and set
  // them there: that is as if it were done to the payload.
  function objectOf(guarded, open, claims) {
    const made = { protectedHeaders: guarded, unprotectedHeaders: open, payload: claims };
    for (const name of shared.keys(claims)) {
      if (shared.hasOwn(made, name)) continue;
      define(made, name, {
        get() { return this.payload[name]; },
        set(value) { put(this.payload, name, value); },
        configurable: true,
      });
    }
    return made;
  }
  const isMap = (value) =>
    value !== null && typeof value === "object" && !isArray(value) && !shared.isBytes(value);
  function headersOf(given, name) {
    const found = given[name] === undefined ? given[name + "Headers"] : given[name];
    if (found === undefined || found === null) return {};
    if (!isMap(found)) throw new TypeError(name + " is not an object");
    return found;
  }
  // The three parts of a token. Claims may stand alone, or be the payload of such an object.
  function partsOf(given) {
    const headers = {};
    if (!isMap(given.payload)) return [write({ 1: HS256 }, 0), write({}, 0), write(given, 0)];
    const guarded = headersOf(given, "protected");
    for (const name of shared.keys(guarded)) put(headers, name, guarded[name]);
    if (headers[1] !== undefined && String(headers[1]) !== String(HS256)) {
      throw new TypeError("the algorithm is to be " + HS256 + ", which is HS256");
    }
    headers[1] = HS256;
    const claims = {};
    for (const name of shared.keys(given.payload)) put(claims, name, given.payload[name]);
    for (const name of shared.keys(given)) if (whole.test(name)) put(claims, name, given[name]);
    return [write(headers, 0), write(headersOf(given, "unprotected"), 0), write(claims, 0)];
  }
  const cwt = {
    validateToken(first, second) {
      const [token, context] = sorted(first, second, "validateToken");
      const key = keyOf(context);
      const all = shared.octetsOf(token, "base64url");
      if (all === undefined) throw new TypeError("the token is not a Buffer");
      if (all.length > MOST) throw new Error("the token is longer than " + MOST + " bytes");
      let outer = decoded(all);
      if (outer && outer.tag === CWT) outer = outer.value;
      if (!outer || outer.tag !== COSE_MAC0) throw new Error("the token is not a COSE_Mac0");
      const parts = outer.value;
      const bytes = (of) => of !== null && typeof of === "object" && of.octets !== undefined;
      if (!isArray(parts) || parts.length !== 4 || !bytes(parts[0]) || !bytes(parts[2]) || !bytes(parts[3])) {
        throw new Error("the token is not a COSE_Mac0");
      }
      const guarded = decoded(parts[0].octets);
      if (!guarded || !guarded.map || guarded.map[1] !== HS256) {
        throw new Error("the token's algorithm is not HS256");
      }
      if (!same(mac(key, parts[0].octets, parts[2].octets), parts[3].octets)) {
        throw new Error("the token's signature is not valid");
      }
      const claims = decoded(parts[2].octets);
      if (!claims || !claims.map) throw new Error("the token's payload is not a map");
      const open = parts[1] && parts[1].map ? shown(parts[1]) : {};
      return objectOf(shown(guarded), open, shown(claims));
    },
    generateToken(first, second) {
      const [payload, context] = sorted(first, second, "generateToken");
      const key = keyOf(context);
      if (context.coseTag !== undefined && context.coseTag !== "MAC0") {
        throw new TypeError("coseTag is to be MAC0");
      }
      if (!isMap(payload)) throw new TypeError("the payload is not an object");
      const [guarded, open, claims] = partsOf(payload);
      const token = head(6, COSE_MAC0) + head(4, 4) + byteText(guarded) + open +
        byteText(claims) + byteText(mac(key, guarded, claims));
      const all = (context.cwtTag ? head(6, CWT) : "") + token;
      if (all.length > MOST) throw new Error("the token is longer than " + MOST + " bytes");
      return shared.buffer(all);
    },
  };

  const cloudfront = {
    kvs,
    updateRequestOrigin(what) { choose(0, [what], "updateRequestOrigin"); },
    selectRequestOriginById(id, what) { choose(1, [id, what], "selectRequestOriginById"); },
    createRequestOriginGroup(what) { choose(2, [what], "createRequestOriginGroup"); },
    cwt,
  };
  define(cloudfront, "edgeLocation", {
    enumerable: true,
    get() {
      const told = native.told(8);
      if (told === undefined) return {};
      const [name, serverIp, region] = shared.split(told, "\n");
      return { name, serverIp, region };
    },
  });
  shared.modules.cloudfront = cloudfront;
});
