// Buffer, TextEncoder, TextDecoder, atob, btoa, and the byte strings of runtime 1.0.
(function (global, native, shared, options) {
  "use strict";
  const { Bytes, octets, fill, define, isArray, wellFormed } = shared;
  const View = shared.View;
  const setPrototype = Object.setPrototypeOf;
  const isView = ArrayBuffer.isView;

  function encodingOf(name) {
    const given = name === undefined ? "utf8" : String(name);
    switch (given.toLowerCase()) {
      case "utf8":
      case "utf-8":
        return "utf8";
      case "hex":
      case "base64":
      case "base64url":
        return given.toLowerCase();
    }
    throw new TypeError('"' + given + '" encoding is not supported');
  }

  const HEX = "0123456789abcdef";
  function toHex(of) {
    let all = "";
    for (let at = 0; at < of.length; at++) {
      const octet = of.charCodeAt(at);
      all += HEX[octet >> 4] + HEX[octet & 15];
    }
    return all;
  }
  function fromHex(of) {
    let all = "";
    for (let at = 0; at + 1 < of.length; at += 2) {
      const high = HEX.indexOf(of[at].toLowerCase());
      const low = HEX.indexOf(of[at + 1].toLowerCase());
      if (high < 0 || low < 0) break;
      all += shared.chars(high * 16 + low);
    }
    return all;
  }

  // Octets, as a string of characters up to 255, from text in an encoding, and back.
  function decode(text, encoding) {
    switch (encodingOf(encoding)) {
      case "hex": return fromHex(text);
      case "base64":
      case "base64url": return native.unbase64(text);
    }
    return native.bytes(wellFormed(text));
  }
  function encode(of, encoding) {
    switch (encodingOf(encoding)) {
      case "hex": return toHex(of);
      case "base64": return native.base64(of, false);
      case "base64url": return native.base64(of, true);
    }
    return native.utf8(of);
  }
  shared.decode = decode;
  shared.encode = encode;
  // Octets of what may be text, a buffer or any view; nothing else.
  shared.octetsOf = function (value, encoding) {
    if (typeof value === "string") return decode(value, encoding);
    if (isView(value)) return octets(new Bytes(value.buffer, value.byteOffset, value.byteLength));
    return undefined;
  };
  shared.isBytes = isView;

  function Buffer() { throw new TypeError("Buffer is not a constructor: use Buffer.from"); }
  const methods = Object.create(Bytes.prototype);
  define(Buffer, "prototype", { value: methods, writable: false });
  const make = (size) => setPrototype(new Bytes(size), methods);
  const over = (buffer, start, length) => setPrototype(new Bytes(buffer, start, length), methods);
  const ofOctets = (text) => fill(make(text.length), text);
  shared.buffer = ofOctets;

  function hidden(holder, made) {
    for (const name of shared.keys(made)) {
      define(holder, name, { value: made[name], writable: true, enumerable: false, configurable: true });
    }
  }
  function sizeOf(value) {
    const size = Number(value);
    if (!(size >= 0 && size <= 0x7fffffff)) throw new RangeError("invalid size");
    return Math.floor(size);
  }
  function asBytes(value, name) {
    if (!isView(value)) throw new TypeError(name + " is not a Buffer or Uint8Array");
    return value;
  }
  function order(a, b) {
    const length = Math.min(a.length, b.length);
    for (let at = 0; at < length; at++) if (a[at] !== b[at]) return a[at] < b[at] ? -1 : 1;
    return a.length === b.length ? 0 : a.length < b.length ? -1 : 1;
  }

  hidden(Buffer, {
    alloc(size, value, encoding) {
      const made = make(sizeOf(size));
      return value === undefined ? made : made.fill(value, encoding);
    },
    allocUnsafe(size) { return make(sizeOf(size)); },
    byteLength(value, encoding) {
      if (isView(value) || value instanceof ArrayBuffer) return value.byteLength;
      return decode(String(value), encoding).length;
    },
    compare(a, b) { return order(asBytes(a, "buffer1"), asBytes(b, "buffer2")); },
    concat(list, total) {
      if (!isArray(list)) throw new TypeError("list is not an array");
      let size = 0;
      for (const one of list) size += asBytes(one, "an element of list").length;
      if (total !== undefined) size = sizeOf(total);
      const made = make(size);
      let at = 0;
      for (const one of list) {
        if (at >= size) break;
        made.set(at + one.length > size ? one.subarray(0, size - at) : one, at);
        at += one.length;
      }
      return made;
    },
    from(value, second, third) {
      if (typeof value === "string") return ofOctets(decode(value, second));
      if (value instanceof ArrayBuffer) return over(value, second, third);
      if (isView(value)) {
        const made = make(value.length);
        made.set(value);
        return made;
      }
      if (value !== null && typeof value === "object") {
        if (value.type === "Buffer" && isArray(value.data)) value = value.data;
        if (typeof value.length === "number") {
          const made = make(sizeOf(value.length));
          for (let at = 0; at < made.length; at++) made[at] = value[at];
          return made;
        }
        const primitive = typeof value.valueOf === "function" ? value.valueOf() : value;
        if (primitive !== value) return Buffer.from(primitive, second, third);
      }
      throw new TypeError("first argument " + typeof value + " is not a string or Buffer-like object");
    },
    isBuffer(value) { return value instanceof Buffer; },
    isEncoding(name) {
      return typeof name === "string" && /^(utf-?8|hex|base64|base64url)$/i.test(name);
    },
  });

  function bounds(of, start, end) {
    const length = of.length;
    const place = (value, missing) => {
      let at = value === undefined ? missing : Math.trunc(Number(value)) || 0;
      if (at < 0) at += length;
      return Math.max(0, Math.min(length, at));
    };
    const from = place(start, 0);
    return [from, Math.max(from, place(end, length))];
  }
  function search(of, value, from, encoding, backwards) {
    if (typeof from === "string") { encoding = from; from = undefined; }
    const all = octets(of);
    let wanted;
    if (typeof value === "number") wanted = shared.chars(value & 255);
    else wanted = shared.octetsOf(value, encoding);
    if (wanted === undefined) throw new TypeError("value is not a string, Buffer or number");
    let at = from === undefined ? (backwards ? all.length : 0) : Math.trunc(Number(from)) || 0;
    if (at < 0) at += all.length;
    if (at < 0) return backwards ? -1 : all.indexOf(wanted, 0);
    return backwards ? all.lastIndexOf(wanted, at) : all.indexOf(wanted, at);
  }

  hidden(methods, {
    constructor: Buffer,
    toString(encoding, start, end) {
      const [from, to] = bounds(this, start, end);
      return encode(octets(from === 0 && to === this.length ? this : this.subarray(from, to)), encoding);
    },
    toJSON() { return { type: "Buffer", data: Array.from(this) }; },
    equals(other) { return order(this, asBytes(other, "argument")) === 0; },
    compare(target, tStart, tEnd, start, end) {
      const [a, b] = bounds(asBytes(target, "target"), tStart, tEnd);
      const [c, d] = bounds(this, start, end);
      return order(this.subarray(c, d), target.subarray(a, b));
    },
    copy(target, tStart, start, end) {
      const [from, to] = bounds(this, start, end);
      const at = tStart === undefined ? 0 : Math.trunc(Number(tStart)) || 0;
      if (at < 0) throw new RangeError("targetStart is out of range");
      const count = Math.max(0, Math.min(to - from, asBytes(target, "target").length - at));
      target.set(this.subarray(from, from + count), at);
      return count;
    },
    slice(start, end) { return this.subarray(start, end); },
    subarray(start, end) {
      const [from, to] = bounds(this, start, end);
      return over(this.buffer, this.byteOffset + from, to - from);
    },
    fill(value, start, end, encoding) {
      if (typeof start === "string") { encoding = start; start = undefined; }
      const [from, to] = bounds(this, start, end);
      const what = typeof value === "number" ? shared.chars(value & 255) : shared.octetsOf(value, encoding);
      if (what === undefined) throw new TypeError("value is not a string, Buffer or number");
      for (let at = from; at < to; at++) {
        this[at] = what.length === 0 ? 0 : what.charCodeAt((at - from) % what.length);
      }
      return this;
    },
    includes(value, from, encoding) { return search(this, value, from, encoding, false) >= 0; },
    indexOf(value, from, encoding) { return search(this, value, from, encoding, false); },
    lastIndexOf(value, from, encoding) { return search(this, value, from, encoding, true); },
    write(text, offset, length, encoding) {
      if (typeof offset === "string") { encoding = offset; offset = undefined; }
      if (typeof length === "string") { encoding = length; length = undefined; }
      const at = offset === undefined ? 0 : sizeOf(offset);
      if (at > this.length) throw new RangeError("offset is out of range");
      const what = decode(String(text), encoding);
      const room = Math.min(this.length - at, length === undefined ? what.length : sizeOf(length));
      const count = Math.min(what.length, room);
      for (let n = 0; n < count; n++) this[at + n] = what.charCodeAt(n);
      return count;
    },
  });

  function swapped(width) {
    return function () {
      if (this.length % width !== 0) throw new RangeError("size must be a multiple of " + width * 8 + "-bits");
      for (let at = 0; at < this.length; at += width) {
        for (let low = at, high = at + width - 1; low < high; low++, high--) {
          const octet = this[low];
          this[low] = this[high];
          this[high] = octet;
        }
      }
      return this;
    };
  }
  const view = (of) => new View(of.buffer, of.byteOffset, of.byteLength);
  function place(of, offset, width) {
    const at = offset === undefined ? 0 : Number(offset);
    if (!(at >= 0 && at + width <= of.length && at === Math.floor(at))) {
      throw new RangeError("index is out of bounds");
    }
    return at;
  }
  const numbers = { swap16: swapped(2), swap32: swapped(4), swap64: swapped(8) };
  const kinds = [["Int8", 1], ["Uint8", 1], ["Int16", 2], ["Uint16", 2], ["Int32", 4], ["Uint32", 4],
    ["Float", 4, "Float32"], ["Double", 8, "Float64"]];
  for (const [name, width, called] of kinds) {
    for (const end of width === 1 ? [""] : ["LE", "BE"]) {
      const get = "get" + (called || name);
      const set = "set" + (called || name);
      numbers["read" + name + end] = function (offset) {
        return view(this)[get](place(this, offset, width), end === "LE");
      };
      numbers["write" + name + end] = function (value, offset) {
        const at = place(this, offset, width);
        view(this)[set](at, Number(value), end === "LE");
        return at + width;
      };
    }
  }
  const widthOf = (width) => {
    if (!(width >= 1 && width <= 6)) throw new RangeError("byteLength must be between 1 and 6");
    return Math.floor(width);
  };
  for (const end of ["LE", "BE"]) {
    const at = (n, width) => (end === "LE" ? width - 1 - n : n);
    const read = (of, offset, width) => {
      const from = place(of, offset, widthOf(width));
      let value = 0;
      for (let n = 0; n < width; n++) value = value * 256 + of[from + at(n, width)];
      return value;
    };
    numbers["readUInt" + end] = numbers["readUint" + end] = function (offset, width) {
      return read(this, offset, width);
    };
    numbers["readInt" + end] = function (offset, width) {
      const value = read(this, offset, width);
      const half = Math.pow(2, width * 8 - 1);
      return value >= half ? value - 2 * half : value;
    };
    numbers["writeInt" + end] = numbers["writeUInt" + end] = numbers["writeUint" + end] =
      function (value, offset, width) {
        const from = place(this, offset, widthOf(width));
        let rest = Math.trunc(Number(value)) || 0;
        if (rest < 0) rest += Math.pow(2, width * 8);
        for (let n = width - 1; n >= 0; n--) {
          this[from + at(n, width)] = rest % 256;
          rest = Math.floor(rest / 256);
        }
        return from + width;
      };
  }
  for (const name of shared.keys(numbers)) {
    if (name.includes("Uint")) numbers[name.replace("Uint", "UInt")] = numbers[name];
  }
  hidden(methods, numbers);

  function TextEncoder() { if (!new.target) throw new TypeError("TextEncoder is called with new"); }
  hidden(TextEncoder.prototype, {
    encode(text) {
      const all = native.bytes(wellFormed(text === undefined ? "" : String(text)));
      return fill(new Bytes(all.length), all);
    },
    encodeInto(text, into) {
      let read = 0;
      let written = 0;
      for (const one of wellFormed(String(text))) {
        const all = native.bytes(one);
        if (written + all.length > into.length) break;
        for (let at = 0; at < all.length; at++) into[written++] = all.charCodeAt(at);
        read += one.length;
      }
      return { read, written };
    },
  });
  define(TextEncoder.prototype, "encoding", { value: "utf-8" });
  function TextDecoder(label, given) {
    if (!new.target) throw new TypeError("TextDecoder is called with new");
    if (label !== undefined && !/^utf-?8$/i.test(String(label))) {
      throw new RangeError('The "' + label + '" encoding is not supported');
    }
    this.encoding = "utf-8";
    this.fatal = !!(given && given.fatal);
    this.ignoreBOM = !!(given && given.ignoreBOM);
  }
  hidden(TextDecoder.prototype, {
    decode(of) {
      if (of === undefined) return "";
      const all = of instanceof ArrayBuffer ? octets(new Bytes(of)) : shared.octetsOf(of);
      if (all === undefined || typeof of === "string") throw new TypeError("argument is not a buffer");
      let text = native.utf8(all);
      if (this.fatal && native.bytes(text) !== all) throw new TypeError("The encoded data was not valid");
      if (!this.ignoreBOM && text[0] === "\ufeff") text = text.slice(1);
      return text;
    },
  });

  const latin = /^[\0-\xff]*$/;
  const base64 = {
    atob(text) {
      const plain = String(text).replace(/[\t\n\f\r ]/g, "");
      if (!/^[A-Za-z0-9+/]*={0,2}$/.test(plain) || plain.replace(/=+$/, "").length % 4 === 1) {
        throw new TypeError("the string to be decoded is not correctly encoded");
      }
      return native.unbase64(plain);
    },
    btoa(text) {
      const plain = String(text);
      if (!latin.test(plain)) throw new TypeError("invalid character (>= U+00FF)");
      return native.base64(plain, false);
    },
  };

  if (options.runtime === 2 || options.level === "any") {
    hidden(global, { Buffer, TextEncoder, TextDecoder, atob: base64.atob, btoa: base64.btoa });
  }
  if (options.runtime === 1) {
    // Byte strings: of which each character is one octet.
    const bytesOf = (of) => {
      const text = String(of);
      if (!latin.test(text)) throw new TypeError("the string is not a byte string");
      return text;
    };
    hidden(String, {
      bytesFrom(given, encoding) {
        if (isArray(given) || isView(given)) return shared.apply(shared.chars, null, Array.from(given, (one) => one & 255));
        if (typeof given === "string") return decode(given, encoding);
        throw new TypeError("value must be a string or array");
      },
    });
    hidden(String.prototype, {
      fromBytes(start, end) { return bytesOf(this).slice(start, end); },
      fromUTF8(start, end) {
        const all = bytesOf(this).slice(start, end);
        const text = native.utf8(all);
        return native.bytes(text) === all ? text : null;
      },
      toBytes(start, end) {
        const text = String(this).slice(start, end);
        return latin.test(text) ? text : null;
      },
      toUTF8(start, end) { return native.bytes(wellFormed(String(this).slice(start, end))); },
    });
    // The encoding of a byte string, for digests and the like.
    const toString = String.prototype.toString;
    hidden(String.prototype, {
      toString(encoding) {
        const text = shared.apply(toString, this, []);
        return encoding === undefined ? text : encode(bytesOf(text), encoding);
      },
    });
  }
  shared.Buffer = Buffer;
  shared.modules = Object.create(null);
  shared.modules.buffer = { Buffer };
});
