// What came back of a call, told as a list: a number says what comes, then follows that itself.
// Of entries only what differs from what the code was given is told.
(function (global, native, shared) {
  "use strict";
  const { isArray, keys, wellFormed } = shared;

  // A value that has not the shape of a request or response.
  class Wrong {
    constructor(path, wanted, found) { this.told = [3, path, wanted, kindOf(found)]; }
  }
  const TEXT = 0, ENTRIES = 1, ENTRY = 2, LIST = 3, NUMBER = 4, EITHER = 5, ANSWER = 6, BODY = 7, ENCODING = 8;
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
      if (flat[at] !== names[n] || !isSameEntry(found[names[n]], flat, at, width)) return false;
      const count = flat[at + 1];
      at += count === "1" ? 2 + width : 2 + count * width;
    }
    return at === flat.length;
  }
  function isSameEntry(value, flat, at, width) {
    if (value === null || typeof value !== "object" || value.value !== flat[at + 2]) return false;
    if (width === 2 && (value.attributes === undefined ? "" : value.attributes) !== flat[at + 3]) return false;
    const many = value.multiValue;
    const count = flat[at + 1];
    if (count === "1") return many === undefined;
    if (!isArray(many) || many.length !== +count) return false;
    for (let m = 0; m < many.length; m++) {
      const one = many[m];
      if (one === null || typeof one !== "object" || one.value !== flat[at + 2 + m * width]) return false;
      if (width === 2 && (one.attributes === undefined ? "" : one.attributes) !== flat[at + 3 + m * 2]) return false;
    }
    return true;
  }
  // Appends [code, how many names, {name, how many values, values…}…] if something differs. Texts
  // go out as they are: the caller has them mended in the rare case that they have to be.
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
      readEntry(out, name, value, path, before, was, width);
    }
    out[start + 1] = count;
  }
  function readEntry(out, name, value, path, before, was, width) {
    if (width === 1 && value !== null && typeof value === "object" && value.multiValue === undefined &&
      typeof value.value === "string") {
      out.push(name, 1, value.value);
      return;
    }
    const all = valuesOf(value, path + "." + name, before, was, width);
    out.push(name, all.length / width);
    for (let m = 0; m < all.length; m++) out.push(all[m]);
  }
  function readBody(out, body) {
    if (body === undefined || body === null) return;
    if (typeof body === "string" || shared.isBytes(body) || body instanceof String) {
      out.push(9, text(body, "response.body"));
      return;
    }
    if (!isObject(body) || isArray(body)) throw new Wrong("response.body", BODY, body);
    const encoding = body.encoding === undefined ? "text" : body.encoding;
    if (encoding !== "text" && encoding !== "base64") throw new Wrong("response.body.encoding", ENCODING, encoding);
    out.push(encoding === "text" ? 9 : 10, text(body.data, "response.body.data"));
  }

  shared.reading = {
    Wrong, NUMBER, EITHER, ANSWER, isObject, text, isSameEntry, readEntries, readEntry, readBody,
  };
});
