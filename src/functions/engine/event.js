// One call: the event, of which each part is made when it is first touched; the handler; and what
// came back, of which only what differs from what the code was given is told.
(function (global, native, shared, options) {
  "use strict";
  const { define, describe, hasOwn, isArray, keys, put, split, then, wellFormed } = shared;
  const { on, setPrototype } = shared;
  const { Wrong, NUMBER, EITHER, ANSWER, isObject, text, isSameEntry, readEntries, readEntry, readBody } = shared.reading;
  const create = Object.create;

  // What belongs to the call under way. There is never more than one in a realm.
  let place = 0;
  // What was given, to tell a change by: kept where it is needed once the handler has returned.
  let givenMethod, givenUri, givenStatus, givenDescription;
  let settled = 0;
  let outcome;
  let waiting = [];
  shared.place = () => place;

  // The parts that are made when the code first touches them are proxies, so that nothing can be
  // seen of one, or be done to it, without a trap. One of which no trap was called is as new: it
  // serves the next call as well, and a call whose code leaves it alone pays nothing for it.
  //
  // The bits of those that were touched since they were made, and `USED`, if anything else is to be
  // put in order before the next call.
  let touched = 0;
  const USED = 128;
  // Whether there are new proxies that do not stand where they belong yet.
  let isNew = false;

  // From [name, how many, that many times `width` texts, …] an entry for each name.
  function addEntries(made, flat, width, kept) {
    for (let at = 0; at < flat.length;) {
      const name = flat[at];
      const count = flat[at + 1];
      put(made, name, kept !== undefined && hasOwn(kept, name) ? kept[name] : entries(flat, at, width));
      at += count === "1" ? 2 + width : 2 + count * width;
    }
  }
  // That of the name that stands at a place.
  function entries(flat, at, width) {
    const count = flat[at + 1];
    const first = entry(flat, at + 2, width);
    if (count !== "1") {
      const all = [];
      for (let n = 0; n < count; n++) all.push(entry(flat, at + 2 + n * width, width));
      first.multiValue = all;
    }
    return first;
  }
  function entry(flat, at, width) {
    if (width === 1 || flat[at + 1] === "") return { value: flat[at] };
    return { value: flat[at], attributes: flat[at + 1] };
  }
  function lines(text) {
    return text === undefined || text === "" ? [] : split(text, "\n");
  }

  // A part: `given` is what the code has of it, `target` what that stands for.
  function partOf(bit, number, width, fill) {
    const part = {
      bit, number, width, fill, given: undefined, target: undefined, traps: undefined,
      // The names that were looked up before all of them were made: each with its value, with its
      // texts where they are more than that, or with 0 where it has none.
      seen: create(null),
      wasAsked: false,
      isWhole: false,
      // The texts of all, once all were made.
      flat: undefined,
      lazy: undefined,
    };
    const lazy = {};
    for (const trap of keys(on)) {
      const real = on[trap];
      lazy[trap] = (target, a, b, c) => {
        makeWhole(part);
        return real(target, a, b, c);
      };
    }
    if (width > 0) Object.assign(lazy, byName(part));
    part.lazy = lazy;
    renew(part);
    return part;
  }
  function renew(part) {
    if (part.wasAsked) {
      part.seen = create(null);
      part.wasAsked = false;
    }
    part.flat = undefined;
    if (part.given !== undefined && !part.isWhole) {
      // The traps let nothing through but plain properties, so it is as new without them.
      const target = part.target;
      const names = keys(target);
      for (let n = 0; n < names.length; n++) delete target[names[n]];
      return;
    }
    // Any of these may find no memory or be stopped. Until all are there, the part is what it was,
    // one that is to be renewed: the next call tries again and gets nothing of this one's.
    const target = {};
    const traps = create(part.lazy);
    const given = new shared.Proxy(target, traps);
    part.target = target;
    part.traps = traps;
    part.given = given;
    part.isWhole = false;
    isNew = true;
  }
  // Makes all that a part has, in its order. From then on no trap is called any more.
  function makeWhole(part) {
    touched |= part.bit;
    const target = part.target;
    const names = keys(target);
    let kept;
    if (names.length > 0) {
      kept = {};
      for (let n = 0; n < names.length; n++) {
        put(kept, names[n], target[names[n]]);
        delete target[names[n]];
      }
    }
    part.fill(part, kept);
    for (let n = 0; n < names.length; n++) {
      if (!hasOwn(target, names[n])) put(target, names[n], kept[names[n]]);
    }
    // Not before it is true: the code may catch that it ran out of stack or memory above. And not
    // after the traps are gone, because without them only what is whole is made anew.
    part.isWhole = true;
    setPrototype(part.traps, null);
  }
  function fillEntries(part, kept) {
    const flat = lines(native.told(part.number));
    addEntries(part.target, flat, part.width, kept);
    part.flat = flat;
  }
  // What `native.one` gives, as the texts of all have it.
  function textsOf(text, name) {
    if (text === undefined) return undefined;
    return text[0] === "\n" ? split(text.slice(1), "\n") : [name, "1", text];
  }
  // Makes what a part has by one name.
  function bring(part, name) {
    part.wasAsked = true;
    const text = native.one(part.number, name);
    if (text === undefined) part.seen[name] = 0;
    else if (text[0] === "\n") {
      const flat = part.seen[name] = textsOf(text, name);
      put(part.target, name, entries(flat, 0, part.width));
    } else {
      part.seen[name] = text;
      put(part.target, name, { value: text });
    }
  }
  // The traps of what is usual, for which one name is enough.
  function byName(part) {
    const { bit } = part;
    const reach = (target, name) => {
      touched |= bit;
      if (part.seen[name] === undefined && typeof name === "string" && !hasOwn(target, name)) bring(part, name);
    };
    return {
      get(target, name, receiver) {
        if (receiver !== part.given) {
          makeWhole(part);
          return on.get(target, name, receiver);
        }
        touched |= bit;
        const value = target[name];
        // What is inherited is a function, but for the prototype.
        if (typeof value === "object" && name !== "__proto__") return value;
        reach(target, name);
        return target[name];
      },
      has(target, name) {
        reach(target, name);
        return name in target;
      },
      getOwnPropertyDescriptor(target, name) {
        reach(target, name);
        return describe(target, name);
      },
      set(target, name, value, receiver) {
        if (receiver !== part.given || value === undefined || typeof name !== "string" || name === "__proto__") {
          makeWhole(part);
          return on.set(target, name, value, receiver);
        }
        touched |= bit;
        target[name] = value;
        return true;
      },
    };
  }

  // The objects that parts stand in. Reading has no trap, because it changes nothing: as long as the
  // code does nothing else to one, but for setting the properties named, it serves the next call.
  function frameOf(bit, make, settable) {
    const frame = { bit, make, given: undefined, target: undefined, traps: undefined, lazy: {} };
    for (const trap of ["set", "defineProperty", "deleteProperty", "preventExtensions", "setPrototypeOf"]) {
      const real = on[trap];
      frame.lazy[trap] = (target, a, b, c) => {
        touched |= bit;
        setPrototype(frame.traps, null);
        return real(target, a, b, c);
      };
    }
    const { set } = frame.lazy;
    if (settable.length > 0) {
      const [one, other] = settable;
      frame.lazy.set = (target, name, value, receiver) => {
        if ((name !== one && name !== other) || receiver !== frame.given) return set(target, name, value, receiver);
        target[name] = value;
        return true;
      };
    }
    renewFrame(frame);
    return frame;
  }
  function renewFrame(frame) {
    frame.target = frame.make();
    frame.traps = create(frame.lazy);
    frame.given = new shared.Proxy(frame.target, frame.traps);
    isNew = true;
  }

  const QUERY = 1, HEADERS = 2, COOKIES = 4, ANSWERED = 8, SET = 16, CONTEXT = 32, VIEWER = 64;
  const REQUEST = 256, RESPONSE = 512, EVENT = 1024, LATER = 2048;
  const query = partOf(QUERY, 2, 1, fillEntries);
  const headers = partOf(HEADERS, 0, 1, fillEntries);
  const cookies = partOf(COOKIES, 1, 1, fillEntries);
  const answered = partOf(ANSWERED, 4, 1, fillEntries);
  const set = partOf(SET, 5, 2, fillEntries);
  const context = partOf(CONTEXT, 6, 0, (part) => {
    const [domain, distribution, id] = split(native.told(6), "\n");
    const made = part.target;
    if (domain !== "") made.distributionDomainName = domain;
    if (distribution !== "") made.distributionId = distribution;
    made.eventType = place === 0 ? "viewer-request" : "viewer-response";
    if (id !== "") made.requestId = id;
  });
  const viewer = partOf(VIEWER, 7, 0, (part) => { part.target.ip = native.told(7); });

  const rawQueryString = ({ rawQueryString() { return native.told(3); } }).rawQueryString;
  const requestPrototype = options.runtime !== 2 ? Object.prototype : create(Object.prototype, {
    rawQueryString: { value: rawQueryString, writable: true, configurable: true },
  });
  const requests = frameOf(REQUEST, () => {
    const made = create(requestPrototype);
    made.method = "";
    made.uri = "";
    made.querystring = query.given;
    made.headers = headers.given;
    made.cookies = cookies.given;
    return made;
  }, ["uri"]);
  const responses = frameOf(RESPONSE, () => ({
    statusCode: 0,
    statusDescription: "",
    headers: answered.given,
    cookies: set.given,
  }), ["statusCode", "statusDescription"]);
  // That of a viewer request, and that of a viewer response.
  const events = frameOf(EVENT, () => ({
    version: "1.0",
    context: context.given,
    viewer: viewer.given,
    request: requests.given,
  }), []);
  const laterEvents = frameOf(LATER, () => ({
    version: "1.0",
    context: context.given,
    viewer: viewer.given,
    request: requests.given,
    response: responses.given,
  }), []);

  // The same as variables, which cost less to read.
  let request, requestHere, response, responseHere, event, laterEvent;
  function putInOrder() {
    if (touched & QUERY) renew(query);
    if (touched & HEADERS) renew(headers);
    if (touched & COOKIES) renew(cookies);
    if (touched & ANSWERED) renew(answered);
    if (touched & SET) renew(set);
    if (touched & CONTEXT) renew(context);
    if (touched & VIEWER) renew(viewer);
    if (touched & REQUEST) renewFrame(requests);
    if (touched & RESPONSE) renewFrame(responses);
    if (touched & EVENT) renewFrame(events);
    if (touched & LATER) renewFrame(laterEvents);
    if (isNew) putTogether();
    place = 0;
    settled = 0;
    if (waiting.length > 0) waiting = [];
    touched = 0;
  }
  // Puts what may be new where it stands.
  function putTogether() {
    request = requests.given;
    requestHere = requests.target;
    requestHere.querystring = query.given;
    requestHere.headers = headers.given;
    requestHere.cookies = cookies.given;
    response = responses.given;
    responseHere = responses.target;
    responseHere.headers = answered.given;
    responseHere.cookies = set.given;
    for (const { target } of [events, laterEvents]) {
      target.context = context.given;
      target.viewer = viewer.given;
      target.request = request;
    }
    laterEvents.target.response = response;
    event = events.given;
    laterEvent = laterEvents.given;
    isNew = false;
  }
  putTogether();

  // The same of a part of which not all was made: what is not among the names is as it was.
  function readChanged(out, code, part, path) {
    const { target, seen, width } = part;
    const start = out.length;
    let count = 0;
    const names = keys(target);
    for (let n = 0; n < names.length; n++) {
      const name = names[n];
      const value = target[name];
      let before = seen[name];
      if (typeof before === "object" && isSameEntry(value, before, 0, width)) continue;
      if (width === 1 && value !== null && typeof value === "object" && value.multiValue === undefined) {
        const plain = value.value;
        if (typeof plain === "string") {
          if (plain === before) continue;
          if (count++ === 0) out.push(code, 0, name, 1, plain);
          else out.push(name, 1, plain);
          continue;
        }
      }
      // What was set without a look at it is compared where that matters.
      if (typeof before !== "object") before = textsOf(native.one(part.number, name), name);
      if (count++ === 0) out.push(code, 0);
      readEntry(out, name, value, path, before, before === undefined ? -1 : 0, width);
    }
    if (count > 0) out[start + 1] = count;
  }
  // What the code left in the place of a part.
  function readPart(out, code, found, path, part) {
    if (found === part.given) {
      if ((touched & part.bit) === 0) return;
      if (!part.isWhole) return void readChanged(out, code + CHANGED, part, path);
      found = part.target;
    } else if (!part.isWhole && (touched & part.bit) !== 0) makeWhole(part);
    readEntries(out, code, found, path, part.flat, part.width);
  }
  const CHANGED = 10;
  function readQuery(out, found) {
    if (found === undefined) out.push(4, 0);
    else if (typeof found === "string" || shared.isBytes(found) || found instanceof String) {
      out.push(3, text(found, "request.querystring"));
    } else readPart(out, 4, found, "request.querystring", query);
  }
  function readRequest(found, own) {
    const out = [1];
    if (found.method !== undefined && found.method !== givenMethod) out.push(1, text(found.method, "request.method"));
    if (own || found.uri !== undefined) {
      if (found.uri !== givenUri) out.push(2, text(found.uri, "request.uri"));
    }
    readQuery(out, found.querystring);
    if (own || found.headers !== undefined) {
      readPart(out, 5, found.headers === undefined ? {} : found.headers, "request.headers", headers);
    }
    readPart(out, 6, found.cookies === undefined ? {} : found.cookies, "request.cookies", cookies);
    return out;
  }
  function readResponse(found, own) {
    const out = [2];
    const { statusCode, statusDescription } = found;
    if (!own || statusCode !== givenStatus) {
      if (typeof statusCode !== "number") throw new Wrong("response.statusCode", NUMBER, statusCode);
      out.push(7, statusCode);
    }
    if (statusDescription !== undefined && (!own || statusDescription !== givenDescription)) {
      out.push(8, text(statusDescription, "response.statusDescription"));
    }
    readPart(out, 5, found.headers === undefined ? {} : found.headers, "response.headers", answered);
    readPart(out, 6, found.cookies === undefined ? {} : found.cookies, "response.cookies", set);
    readBody(out, found.body);
    return out;
  }
  // The same of those that the code was given, which cost less where the most that it did is usual:
  // look at headers, set some, set the URI.
  function readOwnRequest() {
    const out = [1];
    const { uri } = requestHere;
    if (uri !== givenUri) out.push(2, text(uri, "request.uri"));
    if (headers.isWhole) readPart(out, 5, headers.given, "request.headers", headers);
    else readChanged(out, 5 + CHANGED, headers, "request.headers");
    return out;
  }
  function readOwnResponse() {
    if ((touched & (SET | RESPONSE)) !== 0 || answered.isWhole || responseHere.statusCode !== givenStatus ||
      responseHere.statusDescription !== givenDescription) return readResponse(responseHere, true);
    const out = [2];
    readChanged(out, 5 + CHANGED, answered, "response.headers");
    return out;
  }
  // An event has none of these members: it is returned for its request by mistake.
  function isEither(found) {
    return isObject(found) && !isArray(found) && (found.statusCode !== undefined ||
      found.uri !== undefined || found.headers !== undefined || found.querystring !== undefined ||
      found.cookies !== undefined || found.method !== undefined);
  }
  // Zero where nothing differs.
  function read(found) {
    let out;
    if (place === 1) {
      if (found === response) out = readOwnResponse();
      else if (isObject(found)) out = readResponse(found, false);
      else throw new Wrong("the value", ANSWER, found);
    } else {
      const isOwn = found === request;
      if (!isOwn && !isEither(found)) throw new Wrong("the value", EITHER, found);
      const here = isOwn ? requestHere : found;
      if (isOwn && (touched & (QUERY | COOKIES | REQUEST)) === 0) out = readOwnRequest();
      else out = here.statusCode !== undefined ? readResponse(here, false) : readRequest(here, isOwn);
    }
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
  function isPromise(found) {
    return found !== null && typeof found === "object" && typeof found.then === "function";
  }
  function waitFor(found) {
    touched |= USED;
    then(shared.resolve(found),
      (value) => { settled = 1; outcome = value; },
      (error) => { settled = 2; outcome = error; });
  }

  // Waits for what only the caller can look up: it answers when no job is left.
  shared.ask = function (kind, key, made) {
    return new shared.Promise((resolve, reject) => {
      touched |= USED;
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

  const notFunction = () => new TypeError("`handler` is not a function");
  const noGlobal = Object.freeze(Object.create(null));
  return {
    // Gives a function that makes a fresh instance of the compiled one and gives its handler.
    compile(outer, names, wantsGlobal) {
      const make = outer.apply(undefined, names.map(shared.module));
      return wantsGlobal ? () => make(Object.create(global)) : make;
    },
    // Gives what came back, or `undefined` while a promise is not settled: zero where nothing
    // differs, a text where nothing but the URI does, or a list.
    startRequest(make, moment, method, uri) {
      shared.now = moment;
      if (touched !== 0) putInOrder();
      requestHere.method = method;
      requestHere.uri = uri;
      const handler = make(noGlobal);
      if (typeof handler !== "function") throw notFunction();
      const found = handler(event);
      const isOwn = found === request;
      if (isOwn && (touched & (QUERY | HEADERS | COOKIES | REQUEST)) === 0) {
        const now = requestHere.uri;
        if (now === uri) return 0;
        if (typeof now === "string") return now;
      }
      givenMethod = method;
      givenUri = uri;
      touched |= USED;
      return isOwn || !isPromise(found) ? finish(found) : void waitFor(found);
    },
    startResponse(make, moment, method, uri, status, description) {
      shared.now = moment;
      if (touched !== 0) putInOrder();
      touched = USED;
      place = 1;
      requestHere.method = method;
      requestHere.uri = uri;
      responseHere.statusCode = givenStatus = status;
      responseHere.statusDescription = givenDescription = description;
      const handler = make(noGlobal);
      if (typeof handler !== "function") throw notFunction();
      const found = handler(laterEvent);
      if (found === response && (touched & (ANSWERED | SET | RESPONSE)) === 0 &&
        responseHere.statusCode === status && responseHere.statusDescription === description) return 0;
      return found === response || !isPromise(found) ? finish(found) : void waitFor(found);
    },
    // The same once jobs have run.
    take() {
      if (settled === 0) return undefined;
      const value = outcome;
      outcome = undefined;
      if (settled === 2) throw value;
      return finish(value);
    },
    // Makes every text of what came back well formed.
    mend(told) {
      if (typeof told === "string") return wellFormed(told);
      for (let n = 0; n < told.length; n++) if (typeof told[n] === "string") told[n] = wellFormed(told[n]);
      return told;
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
