// One call: the event, of which each part is made when it is first touched; the handler; and what
// came back, of which only what differs from what the code was given is told.
(function (global, native, shared, options) {
  "use strict";
  const { define, describe, hasOwn, isArray, keys, ownKeys, put, split, then, wellFormed } = shared;

  // What belongs to the call under way. There is never more than one in a realm.
  let place = 0;
  let request, requestHere, response, responseHere;
  // What was given, to tell a change by: grouped texts, as `told` has them.
  const given = {
    method: "", uri: "", status: 0, description: "",
    headers: undefined, cookies: undefined, query: undefined, answered: undefined, set: undefined,
  };
  let settled = 0;
  let outcome;
  let waiting = [];
  shared.place = () => place;

  // Parts as bits.
  const HEADERS = 1, COOKIES = 2, QUERY = 4, CONTEXT = 1, VIEWER = 2;

  // From [name, how many, that many times `width` texts, …] an object with one entry a name.
  function entries(flat, width) {
    const made = {};
    for (let at = 0; at < flat.length;) {
      const name = flat[at];
      const count = flat[at + 1];
      const first = entry(flat, at + 2, width);
      if (count !== "1") {
        const all = [];
        for (let n = 0; n < count; n++) all.push(entry(flat, at + 2 + n * width, width));
        first.multiValue = all;
      }
      if (name === "__proto__") put(made, name, first);
      else made[name] = first;
      at += count === "1" ? 2 + width : 2 + count * width;
    }
    return made;
  }
  function entry(flat, at, width) {
    if (width === 1 || flat[at + 1] === "") return { value: flat[at] };
    return { value: flat[at], attributes: flat[at + 1] };
  }
  function told(part) {
    const text = native.told(part);
    return text === undefined || text === "" ? [] : split(text, "\n");
  }

  const makers = {
    event(target, bit) {
      if (bit === CONTEXT) {
        const [domain, distribution, id] = split(native.told(6), "\n");
        const made = {};
        if (domain !== "") made.distributionDomainName = domain;
        if (distribution !== "") made.distributionId = distribution;
        made.eventType = place === 0 ? "viewer-request" : "viewer-response";
        if (id !== "") made.requestId = id;
        target.context = made;
      } else target.viewer = { ip: native.told(7) };
    },
    request(target, bit) {
      if (bit === HEADERS) target.headers = entries(given.headers = told(0), 1);
      else if (bit === COOKIES) target.cookies = entries(given.cookies = told(1), 1);
      else target.querystring = entries(given.query = told(2), 1);
    },
    response(target, bit) {
      if (bit === HEADERS) target.headers = entries(given.answered = told(4), 1);
      else target.cookies = entries(given.set = told(5), 2);
    },
  };

  // An object of which some properties are made when they are first touched. For the code it is a
  // plain object: whatever lists properties sees all of them, in the order of an eager one.
  function lazily(make, names, order, self) {
    const bits = Object.assign(Object.create(null), names);
    const whole = shared.keys(names).reduce((all, name) => all | names[name], 0);
    // What is not made yet, of the call under way.
    let left = 0;
    function touch(target, name) {
      const bit = bits[name] & left;
      if (bit !== 0) {
        left &= ~bit;
        make(target, bit);
      }
    }
    const all = (target) => {
      for (const name in names) touch(target, name);
    };
    const traps = {
      get(target, name) {
        if (left !== 0) {
          const bit = bits[name] & left;
          if (bit !== 0) {
            left &= ~bit;
            make(target, bit);
          }
        }
        return target[name];
      },
      set(target, name, value, receiver) {
        if (receiver !== self()) {
          touch(target, name);
          return shared.setOn(target, name, value, receiver);
        }
        left &= ~bits[name];
        target[name] = value;
        return true;
      },
      has(target, name) {
        touch(target, name);
        return name in target;
      },
      deleteProperty(target, name) {
        left &= ~bits[name];
        return delete target[name];
      },
      ownKeys(target) {
        all(target);
        const found = ownKeys(target);
        const first = order.filter((name) => hasOwn(target, name));
        return first.concat(found.filter((name) => !order.includes(name)));
      },
      getOwnPropertyDescriptor(target, name) {
        touch(target, name);
        return describe(target, name);
      },
      defineProperty(target, name, property) {
        touch(target, name);
        define(target, name, property);
        return true;
      },
      preventExtensions(target) {
        all(target);
        Object.preventExtensions(target);
        return true;
      },
    };
    return {
      begin(target) {
        left = whole;
        return new shared.Proxy(target, traps);
      },
      left: () => left,
      isWhole: () => left === whole,
    };
  }
  const requestParts = { querystring: QUERY, headers: HEADERS, cookies: COOKIES };
  const responseParts = { headers: HEADERS, cookies: COOKIES };
  let event;
  const events = lazily(makers.event, { context: CONTEXT, viewer: VIEWER },
    ["version", "context", "viewer", "request", "response"], () => event);
  const requests = lazily(makers.request, requestParts,
    ["method", "uri", "querystring", "headers", "cookies"], () => request);
  const responses = lazily(makers.response, responseParts,
    ["statusCode", "statusDescription", "headers", "cookies"], () => response);
  const rawQueryString = ({ rawQueryString() { return native.told(3); } }).rawQueryString;

  function begin(where, method, uri, status, description) {
    place = where;
    settled = 0;
    if (waiting.length > 0) waiting = [];
    given.method = method;
    given.uri = uri;
    given.status = status;
    given.description = description;
    given.headers = given.cookies = given.query = given.answered = given.set = undefined;
    if (options.runtime === 2) {
      requestHere = Object.create(requestPrototype);
      requestHere.method = method;
      requestHere.uri = uri;
    } else {
      requestHere = { method, uri };
    }
    request = requests.begin(requestHere);
    if (where === 1) {
      responseHere = { statusCode: status, statusDescription: description };
      response = responses.begin(responseHere);
      event = events.begin({ version: "1.0", request, response });
    } else {
      response = undefined;
      event = events.begin({ version: "1.0", request });
    }
  }
  const requestPrototype = Object.create(Object.prototype, {
    rawQueryString: { value: rawQueryString, writable: true, configurable: true },
  });

  // A value that has not the shape of a request or response.
  class Wrong {
    constructor(path, wanted, found) { this.told = [3, path, wanted, kindOf(found)]; }
  }
  const TEXT = 0, ENTRIES = 1, ENTRY = 2, LIST = 3, NUMBER = 4, REQUEST = 5, RESPONSE = 6, BODY = 7, ENCODING = 8;
  function kindOf(value) {
    if (value === null) return "null";
    switch (typeof value) {
      case "undefined": return "undefined";
      case "number": case "boolean": return typeof value + " " + value;
      case "string": return "the text " + wellFormed(JSON.stringify(value.slice(0, 64)));
      case "object": return isArray(value) ? "an array" : "an object";
    }
    return "a " + typeof value;
  }
  function text(value, path) {
    if (typeof value === "string") return value;
    if (value instanceof String) return String(value);
    if (shared.isBytes(value)) return native.utf8(shared.octetsOf(value));
    throw new Wrong(path, TEXT, value);
  }
  const whole = (value, path) => wellFormed(text(value, path));
  const isObject = (value) => value !== null && typeof value === "object" && !shared.isBytes(value);

  // The values of one entry: [text, attributes, …] or [text, …].
  function valuesOf(found, path, flat, at, width) {
    if (!isObject(found) || isArray(found)) throw new Wrong(path, ENTRY, found);
    const many = found.multiValue;
    const count = at < 0 ? 0 : +flat[at + 1];
    if (many !== undefined) {
      if (!isArray(many)) throw new Wrong(path + ".multiValue", LIST, many);
      const all = [];
      for (let n = 0; n < many.length; n++) one(all, many[n], path + ".multiValue[" + n + "]", width);
      if (at < 0 ? all.length > 0 || found.value === undefined : !equal(all, flat, at + 2, count * width)) return all;
    }
    const all = [];
    one(all, found, path, width);
    if (many !== undefined && count > 1) {
      for (let n = width; n < count * width; n++) all.push(flat[at + 2 + n]);
    }
    return all;
  }
  function one(all, found, path, width) {
    if (!isObject(found)) throw new Wrong(path, ENTRY, found);
    all.push(text(found.value, path + ".value"));
    if (width === 2) {
      all.push(found.attributes === undefined || found.attributes === null ? "" : text(found.attributes, path + ".attributes"));
    }
  }
  function equal(all, flat, from, count) {
    if (all.length !== count) return false;
    for (let n = 0; n < count; n++) if (all[n] !== flat[from + n]) return false;
    return true;
  }
  function find(flat, name, width) {
    for (let at = 0; at < flat.length;) {
      if (flat[at] === name) return at;
      at += flat[at + 1] === "1" ? 2 + width : 2 + flat[at + 1] * width;
    }
    return -1;
  }
  // Whether nothing differs: the usual case, and cheaper to find than to tell.
  function isSame(found, flat, width) {
    const names = keys(found);
    let at = 0;
    for (let n = 0; n < names.length; n++) {
      if (flat[at] !== names[n]) return false;
      const value = found[names[n]];
      if (value === null || typeof value !== "object" || value.value !== flat[at + 2]) return false;
      if (width === 2 && (value.attributes === undefined ? "" : value.attributes) !== flat[at + 3]) return false;
      const many = value.multiValue;
      const count = flat[at + 1];
      if (count === "1") {
        if (many !== undefined) return false;
      } else {
        if (!isArray(many) || many.length !== +count) return false;
        for (let m = 0; m < many.length; m++) {
          const one = many[m];
          if (one === null || typeof one !== "object" || one.value !== flat[at + 2 + m * width]) return false;
          if (width === 2 && (one.attributes === undefined ? "" : one.attributes) !== flat[at + 3 + m * 2]) return false;
        }
      }
      at += count === "1" ? 2 + width : 2 + count * width;
    }
    return at === flat.length;
  }
  // Appends [code, how many names, {name, how many values, values…}…] if something differs.
  function readEntries(out, code, found, path, flat, width) {
    if (!isObject(found) || isArray(found)) throw new Wrong(path, ENTRIES, found);
    const before = flat === undefined ? [] : flat;
    if (flat !== undefined && isSame(found, flat, width)) return;
    const start = out.length;
    out.push(code, 0);
    let at = 0;
    let count = 0;
    const names = keys(found);
    for (let n = 0; n < names.length; n++) {
      const name = names[n];
      const value = found[name];
      if (value === undefined) continue;
      count++;
      const was = at < before.length && before[at] === name ? at : find(before, name, width);
      if (was >= 0) at = was + (before[was + 1] === "1" ? 2 + width : 2 + before[was + 1] * width);
      // What was given is well formed.
      const spelled = was >= 0 ? name : wellFormed(name);
      if (width === 1 && value !== null && typeof value === "object" && value.multiValue === undefined &&
        typeof value.value === "string") {
        const plain = value.value;
        out.push(spelled, 1, was >= 0 && plain === before[was + 2] ? plain : wellFormed(plain));
        continue;
      }
      const all = valuesOf(value, path + "." + name, before, was, width);
      out.push(spelled, all.length / width);
      for (let m = 0; m < all.length; m++) out.push(wellFormed(all[m]));
    }
    out[start + 1] = count;
  }
  function readQuery(out, found) {
    if (found === undefined) out.push(4, 0);
    else if (typeof found === "string" || shared.isBytes(found) || found instanceof String) {
      out.push(3, whole(found, "request.querystring"));
    } else readEntries(out, 4, found, "request.querystring", given.query, 1);
  }
  function readRequest(found) {
    const out = [1];
    const own = found === request ? requestHere : undefined;
    const here = own === undefined ? found : own;
    if (here.method !== undefined && here.method !== given.method) out.push(1, whole(here.method, "request.method"));
    if (here.uri !== undefined || own !== undefined) {
      if (here.uri !== given.uri) out.push(2, whole(here.uri, "request.uri"));
    }
    const untouched = own === undefined ? 0 : requests.left();
    if (!(untouched & QUERY)) readQuery(out, here.querystring);
    if (!(untouched & HEADERS) && (own !== undefined || here.headers !== undefined)) {
      readEntries(out, 5, here.headers === undefined ? {} : here.headers, "request.headers", given.headers, 1);
    }
    if (!(untouched & COOKIES)) {
      readEntries(out, 6, here.cookies === undefined ? {} : here.cookies, "request.cookies", given.cookies, 1);
    }
    return out;
  }
  function readBody(out, body) {
    if (body === undefined || body === null) return;
    if (typeof body === "string" || shared.isBytes(body) || body instanceof String) {
      out.push(9, whole(body, "response.body"));
      return;
    }
    if (!isObject(body) || isArray(body)) throw new Wrong("response.body", BODY, body);
    const encoding = body.encoding === undefined ? "text" : body.encoding;
    if (encoding !== "text" && encoding !== "base64") throw new Wrong("response.body.encoding", ENCODING, encoding);
    out.push(encoding === "text" ? 9 : 10, whole(body.data, "response.body.data"));
  }
  function readResponse(found) {
    const out = [2];
    const own = place === 1 && found === response ? responseHere : undefined;
    const here = own === undefined ? found : own;
    if (own === undefined || here.statusCode !== given.status) {
      if (typeof here.statusCode !== "number") throw new Wrong("response.statusCode", NUMBER, here.statusCode);
      out.push(7, here.statusCode);
    }
    if (here.statusDescription !== undefined && (own === undefined || here.statusDescription !== given.description)) {
      out.push(8, whole(here.statusDescription, "response.statusDescription"));
    }
    const untouched = own === undefined ? 0 : responses.left();
    if (!(untouched & HEADERS)) {
      readEntries(out, 5, here.headers === undefined ? {} : here.headers, "response.headers", given.answered, 1);
    }
    if (!(untouched & COOKIES)) {
      readEntries(out, 6, here.cookies === undefined ? {} : here.cookies, "response.cookies", given.set, 2);
    }
    readBody(out, here.body);
    return out;
  }
  function read(found) {
    if (found === request && requests.isWhole() && place === 0 &&
      requestHere.uri === given.uri && requestHere.method === given.method && requestHere.statusCode === undefined) return 0;
    if (!isObject(found)) throw new Wrong("the value", place === 0 ? REQUEST : RESPONSE, found);
    const out = place === 1 || found.statusCode !== undefined ? readResponse(found) : readRequest(found);
    return out.length === 1 ? 0 : out;
  }
  function finish(found) {
    try {
      return read(found);
    } catch (error) {
      if (error instanceof Wrong) return error.told;
      throw error;
    }
  }

  // Waits for what only the caller can look up: it answers when no job is left.
  shared.ask = function (kind, key, made) {
    return new shared.Promise((resolve, reject) => {
      native.ask(kind, wellFormed(key));
      waiting.push([made, resolve, reject]);
    });
  };

  // Console: one argument, as text.
  function shown(value) {
    if (typeof value === "string") return value;
    if (value instanceof Error) return String(value);
    if (typeof value === "object" && value !== null) {
      if (shared.isBytes(value)) return String(value);
      try {
        const json = JSON.stringify(value);
        if (json !== undefined) return json;
      } catch (error) {
        if (native.late()) throw error;
      }
      return "[object Object]";
    }
    return String(value);
  }
  const log = ({ log(value) { native.log(wellFormed(shown(value))); } }).log;
  const console = options.level === "any" ? { log, error: log, warn: log, info: log, debug: log } : { log };
  define(global, "console", { value: console });
  shared.roots.push(requestPrototype, shared.modules);

  const noGlobal = Object.freeze(Object.create(null));
  return {
    // Gives a function that makes a fresh instance of the compiled one and gives its handler.
    compile(outer, names) {
      return outer.apply(undefined, names.map(shared.module));
    },
    // Gives what came back, or `undefined` while a promise is not settled.
    start(make, wantsGlobal, where, method, uri, status, description) {
      shared.now = native.moment();
      begin(where, method, uri, status, description);
      const handler = make(wantsGlobal ? Object.create(global) : noGlobal);
      if (typeof handler !== "function") throw new TypeError("`handler` is not a function");
      const found = handler(event);
      if (found === request || found === response || found === null || typeof found !== "object" ||
        typeof found.then !== "function") return finish(found);
      then(shared.resolve(found),
        (value) => { settled = 1; outcome = value; },
        (error) => { settled = 2; outcome = error; });
      return undefined;
    },
    // The same once jobs have run.
    take() {
      if (settled === 0) return undefined;
      const value = outcome;
      outcome = undefined;
      if (settled === 2) throw value;
      return finish(value);
    },
    // The caller's answer to the first question that waits.
    reply(found, value) {
      const [made, resolve, reject] = waiting.shift();
      try {
        resolve(made(found, value));
      } catch (error) {
        reject(error);
      }
    },
  };
});
