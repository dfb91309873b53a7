// Last of all: nothing that a call does to the engine's own objects may be there for the next one,
// so all of them are frozen. A frozen property is inherited as read-only, so code could not give an
// object of its own a `toString` or a `message`; where that is usual the property becomes a pair of
// accessors of which the setter defines it on the object that it is called on.
(function (global, native, shared) {
  "use strict";
  const { define, describe, ownKeys, parent } = shared;
  const seen = new shared.WeakSet();
  const found = [];

  function loosen(holder, names) {
    if (!holder) return;
    for (const name of names === "*" ? ownKeys(holder) : names.split(" ")) {
      const property = describe(holder, name);
      if (!property || !property.configurable || !("value" in property)) continue;
      const value = property.value;
      define(holder, name, {
        get: ({ get() { return value; } }).get,
        set: ({
          set(given) {
            if (this === holder) throw new TypeError("'" + String(name) + "' is read-only");
            if ((typeof this !== "object" && typeof this !== "function") || this === null) return;
            const own = describe(this, name);
            if (own === undefined) {
              define(this, name, { value: given, writable: true, enumerable: true, configurable: true });
            } else {
              define(this, name, { value: given });
            }
          },
        }).set,
        enumerable: property.enumerable,
        configurable: false,
      });
      find(value);
    }
  }

  function find(value) {
    if (value === null || (typeof value !== "object" && typeof value !== "function")) return;
    if (seen.has(value)) return;
    seen.add(value);
    found.push(value);
  }

  loosen(Object.prototype, "*");
  loosen(Function.prototype, "*");
  loosen(Array.prototype, "constructor toString");
  for (const kind of [Error, EvalError, RangeError, ReferenceError, SyntaxError, TypeError, URIError,
    global.AggregateError, global.InternalError]) {
    if (kind) loosen(kind.prototype, "*");
  }

  find(global);
  for (const one of shared.roots) find(one);
  for (const one of [function () {}, async function () {}, function* () {}, async function* () {},
    [][shared.iterator](), ""[shared.iterator](), "".matchAll ? "".matchAll(/a/g) : null,
    new shared.Bytes(0).values(), (function* () {})(), (async function* () {})()]) {
    if (one !== null) {
      find(parent(one));
      find(parent(parent(one)));
    }
  }
  for (let at = 0; at < found.length; at++) {
    const one = found[at];
    for (const name of ownKeys(one)) {
      const property = describe(one, name);
      if (!property) continue;
      find(property.value);
      find(property.get);
      find(property.set);
    }
    find(parent(one));
  }
  for (const one of found) Object.freeze(one);
});
